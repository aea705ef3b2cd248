"""The choice of a plan: the same for the same input, explained, and of no effect on the results."""

import numpy as np
import pytest

import popjax as pj
from popjax.cost import ACCELERATOR, Cost, cheaper, costs, cpu
from popjax.defaults import default_space


@pytest.fixture(scope="module")
def task():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 64))
    return pj.supervised((x, rng.integers(0, 10, 900)))


def found(task, space, trials, lanes, machine, epochs=20):
    return costs(task, space, space.sample(trials), epochs, 1, lanes, machine)


def test_arithmetic_by_hand(task):
    """Three times the way forward for every row of every update, at the padded width."""
    space = pj.Space(hidden=pj.integers(3, 10), depth=pj.choice(1, 2), batch_size=pj.choice(20, 40))
    points = {"hidden": np.array([3, 10]), "depth": np.array([1, 2]), "batch_size": np.array([20, 40])}
    one, buckets = costs(task, space, points, 5, 2, 1, cpu(2))
    rows = 720
    shallow, deep = 65 * 10 + 11 * 10, 65 * 10 + 11 * 10 + 11 * 10
    assert one.flops == buckets.flops == 5 * 2 * 3 * 2 * rows * (shallow + deep)
    assert (one.programs, buckets.programs) == (1, 2)
    (vmapped, _) = costs(task, space, points, 5, 2, 4, ACCELERATOR)
    assert vmapped.flops == 5 * 2 * 3 * 2 * rows * 2 * deep


def test_with_one_lane_buckets_save_nothing_but_cost_programs(task):
    one, buckets = found(task, default_space(), 512, 1, cpu(2))
    assert one.train_seconds == buckets.train_seconds
    assert buckets.programs == 12
    assert cheaper([one, buckets]) == "one"


def test_under_vmap_buckets_pay_for_many_and_not_for_few(task):
    """Micro-batches and depth are wasted there, so it depends on how long the run is."""
    few = found(task, default_space(), 64, 4096, ACCELERATOR, epochs=5)
    many = found(task, default_space(), 16384, 4096, ACCELERATOR, epochs=1000)
    assert cheaper(few) == "one"
    assert cheaper(many) == "buckets"
    assert found(task, default_space(), 16384, 4096, ACCELERATOR, epochs=1000) == many


def test_a_tenth_is_the_least_that_buckets_must_save():
    one = Cost("one", 1, 1.0, 1.0, 9.0)
    assert cheaper([one, Cost("buckets", 2, 1.0, 1.0, 8.01)]) == "one"
    assert cheaper([one, Cost("buckets", 2, 1.0, 1.0, 7.99)]) == "buckets"
    assert cheaper([]) == "one"


def test_all_plans_give_the_same(rows, x64):
    task = pj.supervised(rows)
    space = default_space().replace(batch_size=pj.choice(8, 16), hidden=pj.integers(3, 9))
    plans = {plan: pj.search(task, space, trials=24, epochs=3, plan=plan) for plan in ("auto", "one", "buckets")}
    assert {plan: results.run["plan"] for plan, results in plans.items()} == {
        "auto": "one",
        "one": "one",
        "buckets": "buckets",
    }
    for name, values in plans["one"].members.items():
        assert values.tobytes() == plans["auto"].members[name].tobytes()
        np.testing.assert_allclose(values, plans["buckets"].members[name], rtol=1e-9, atol=1e-12)


def test_explain_trains_nothing_and_says_what_is_chosen(command, tmp_path):
    process = command("sweep", "--explain", "--dataset", "wine", "--trials", "40", "--repeats", "2")
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert "members: 80" in lines
    assert sum(line.startswith("plan ") and "padding, about compiling" in line for line in lines) == 2
    assert lines[-1] == "chosen: one"
    assert not (tmp_path / "runs").exists()
