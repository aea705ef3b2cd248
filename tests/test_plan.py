"""The choice of a plan: the same for the same input, explained, and of no effect on the results."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import popjax as pj
from popjax.engine.caps import candidates, choose, levels
from popjax.engine.cost import ACCELERATOR, CPU, Cost, Machine, Work, cheapest, in_lanes
from popjax.engine.plan import Lanes
from popjax.engine.roster import Roster
from popjax.engine.traced_task import Config, TracedTask
from popjax.study.replay import explain
from popjax.supervision.spaces import default_space

ACCELERATOR = dataclasses.replace(ACCELERATOR, lanes=4096)


@pytest.fixture(scope="module")
def task():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 64))
    return pj.supervised((x, rng.integers(0, 10, 900)))


def found(task, space, trials, machine, epochs=20):
    widths = tuple(name for name in space.searched if name.startswith("hidden"))
    return Work(task, space, widths, epochs, machine, {"batch_size": (16, 32, 64, 128)}).costs(space.sample(trials))


def test_arithmetic_by_hand(task):
    """Three times the way forward for every row of every update, at the padded width."""
    space = pj.Space(hidden=pj.integers(3, 10), depth=pj.choice(1, 2), batch_size=pj.choice(20, 40))
    points = {"hidden": np.array([3, 10]), "depth": np.array([1, 2]), "batch_size": np.array([20, 40])}
    work = Work(task, space, ("hidden",), 5, CPU)
    one, widths, buckets = work.costs(points, 2)
    rows = 720
    shallow, deep = 65 * 10 + 11 * 10, 65 * 10 + 11 * 10 + 11 * 10
    assert one.flops == widths.flops == buckets.flops == 5 * 2 * 3 * 2 * rows * (shallow + deep)
    assert (one.programs, widths.programs, buckets.programs) == (1, 1, 2)
    vmapped = dataclasses.replace(work, machine=dataclasses.replace(ACCELERATOR, lanes=4)).costs(points, 2)[0]
    assert vmapped.flops == 5 * 2 * 3 * 2 * rows * 2 * deep


def test_capped_arithmetic_by_hand(task):
    """Each trial pays for the room of its own program."""
    space = pj.Space(hidden=pj.choice(8, 64), depth=1, batch_size=20)
    points = {"hidden": np.array([8, 64, 8]), "depth": np.array([1, 1, 1]), "batch_size": np.array([20, 20, 20])}
    work = Work(task, space, ("hidden",), 1, Machine(flops=2e9, launch=5e-7, program=0.2, branch=0.0))
    assert work.caps() == [{"hidden": 8}, {"hidden": 64}]
    one, widths, _ = work.costs(points)
    wide, narrow = 65 * 64 + 65 * 10, 65 * 8 + 9 * 10
    assert (one.flops, widths.flops) == (3 * 2 * 720 * 3 * wide, 3 * 2 * 720 * (wide + 2 * narrow))
    assert widths.programs == 2


def test_moved_parameters_by_hand(task):
    """Under vmap an update moves every parameter of the deepest; programs of one batch size take that one's updates.

    Idle lanes cost as much as busy ones, and a program of several batch sizes adds up gradients.
    """
    space = pj.Space(hidden=10, depth=pj.choice(1, 2), batch_size=pj.choice(20, 40))
    points = {"hidden": np.array([10, 10]), "depth": np.array([1, 2]), "batch_size": np.array([20, 40])}
    machine = Machine(
        flops=np.inf, launch=0.0, passes=1.0, accumulating=2.0, program=7.0, branch=0.0, lanes=4, branching=False
    )
    one, widths, buckets = Work(task, space, (), 5, machine, {"batch_size": (20, 40)}).costs(points, 3)
    shallow, deep = 65 * 10 + 11 * 10, 65 * 10 + 11 * 10 + 11 * 10
    assert one.train_seconds == pytest.approx(2 * 5 * 3 * 8 / 6 * (36 * deep + 36 * deep))  # six members in fours
    assert widths.train_seconds == pytest.approx(5 * 3 * 4 / 3 * (36 * deep + 18 * deep))  # three in four lanes
    assert buckets.train_seconds == pytest.approx(5 * 3 * 4 / 3 * (36 * shallow + 18 * deep))
    assert [one.compile_seconds, widths.compile_seconds, buckets.compile_seconds] == [7, 14, 14]


@pytest.mark.parametrize(("members", "lanes"), [(1, 8), (3, 8), (8, 8), (9, 8), (260, 300), (600, 300), (601, 300)])
def test_idle_lanes_are_counted_as_they_are_laid_out(members, lanes):
    own = Lanes(lanes, lanes, shrinks=True).of(members).count
    assert in_lanes(members, lanes) == -(-members // own) * own


def test_with_one_lane_buckets_save_nothing_but_cost_programs(task):
    one, widths, buckets = found(task, default_space(), 512, CPU)
    assert one.train_seconds == widths.train_seconds == pytest.approx(buckets.train_seconds)
    assert buckets.programs == 12
    assert cheapest([one, widths, buckets]) == "one"


def test_under_vmap_buckets_pay_for_many_and_not_for_few(task):
    """Micro-batches and depth are wasted there, so it depends on how long the run is."""
    few = found(task, default_space(), 64, ACCELERATOR, epochs=5)
    several = found(task, default_space(), 16384, ACCELERATOR, epochs=200)
    many = found(task, default_space(), 16384, ACCELERATOR, epochs=1000)
    assert [cheapest(costs) for costs in (few, several, many)] == ["one", "widths", "buckets"]
    assert [cost.programs for cost in several] == [1, 4, 12]
    assert found(task, default_space(), 16384, ACCELERATOR, epochs=1000) == many


def test_a_tenth_is_the_least_that_another_plan_must_save():
    one = Cost("one", 1, 1.0, 1.0, 9.0)
    assert cheapest([one, Cost("buckets", 2, 1.0, 1.0, 8.01)]) == "one"
    assert cheapest([one, Cost("widths", 2, 1.0, 1.0, 8.0), Cost("buckets", 2, 1.0, 1.0, 7.99)]) == "buckets"
    assert cheapest([]) == "one"


def test_widths_are_capped_where_they_differ_much(task):
    """The default space is one program, a factor of 64 is several."""
    for scale, several in ((pj.integers(50, 100), False), (pj.log_integers(8, 512), True), (pj.choice(16, 512), True)):
        caps = Work(task, default_space().replace(hidden=scale), ("hidden",), 20, CPU).caps()
        assert (len(caps) > 1) is several
        assert caps[-1] == {"hidden": scale.high}
        assert caps == Work(task, default_space().replace(hidden=scale), ("hidden",), 20, CPU, speed=32).caps()
        assert caps == Work(task, default_space().replace(hidden=scale), ("hidden",), 1000, CPU).caps()
    assert [cap["hidden"] for cap in caps] == [16, 512]


def test_no_other_caps_are_cheaper():
    """The chosen caps are the best of all subsets of the candidates, by trying every one."""
    space = pj.Space(hidden_1=pj.log_integers(8, 200), hidden_2=pj.choice(16, 30, 60, 100))
    widths = ("hidden_1", "hidden_2")
    program = 300.0

    def seconds(points, caps):
        return len(points["hidden_1"]) * caps["hidden_1"] * caps["hidden_2"] / 1000

    points, all_caps = space.sample(256), candidates(space, widths)

    def total(caps):
        level = levels(points, caps)
        parts = [{name: column[level == own] for name, column in points.items()} for own in range(len(caps))]
        return sum(
            program + (seconds(part, cap) if len(part["hidden_1"]) else 0)
            for part, cap in zip(parts, caps, strict=True)
        )

    sizes = range(len(all_caps))
    subsets = [[*part, all_caps[-1]] for size in sizes for part in itertools.combinations(all_caps[:-1], size)]
    chosen = choose(space, widths, seconds, program)
    assert len(all_caps) > 4
    assert 1 < len(chosen) < len(all_caps)
    assert total(chosen) == pytest.approx(min(map(total, subsets)))


def test_a_level_is_the_first_that_holds_all_widths():
    caps = [{"hidden_1": 8, "hidden_2": 4}, {"hidden_1": 16, "hidden_2": 8}, {"hidden_1": 32, "hidden_2": 16}]
    points = {"hidden_1": np.array([8, 9, 3, 17, 32]), "hidden_2": np.array([4, 2, 5, 1, 16]), "momentum": np.zeros(5)}
    assert levels(points, caps).tolist() == [0, 1, 1, 2, 2]


@pytest.mark.soak
def test_on_a_cpu_the_plan_does_not_depend_on_the_trials(task):
    wide = default_space().replace(hidden=pj.log_integers(8, 512))
    config = Config(1, 0, pj.Rule("val_loss"))
    plans = set()
    for trials in (1, 3, 64):
        plans.add(Roster(TracedTask(task, wide, config), wide.sample(trials)).plan.name)
    assert plans == {"widths"}


@pytest.mark.soak
def test_a_capped_winner_predicts_as_it_was_validated(tmp_path, cheap_programs):
    """best/ says which room its arrays have: the wide ones hardly learn here, so a narrow one wins."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 4))
    space = pj.Space(hidden=pj.choice(4, 256), learning_rate=pj.choice(0.05, 1e-7), depth=1)
    task = pj.supervised((x, x[:, 0] > 0))
    narrow = next(seed for seed in range(99) if not (space.sample(4, seed)["hidden"] == 256)[good(space, seed)].any())
    results = pj.search(task, space, trials=4, epochs=8, seed=narrow, out=tmp_path)
    assert results.run["plan"] == "widths"
    assert results.best.hparams["hidden"] == 4
    assert results.params(results.best.trial)["out"]["kernel"].shape[0] == 4
    assert (pj.load_best(tmp_path).predict(x) == (x[:, 0] > 0)).mean() > 0.9


def good(space, seed):
    """Which of four trials learn; at least one, and not all four narrow."""
    points = space.sample(4, seed)
    learn = points["learning_rate"] == 0.05
    return learn if learn.any() and (points["hidden"] == 256).any() else np.ones(4, bool)


@pytest.mark.soak
def test_all_plans_give_the_same(rows, x64, cheap_programs):
    task = pj.supervised(rows)
    space = default_space().replace(batch_size=pj.choice(8, 16), depth=pj.integers(1, 2), hidden=pj.log_integers(3, 30))
    names = ("auto", "one", "widths", "buckets")
    plans = {plan: pj.search(task, space, trials=24, epochs=3, backend=pj.Local(plan=plan)) for plan in names}
    assert [results.run["plan"] for results in plans.values()] == ["widths", "one", "widths", "buckets"]
    assert [results.summary["buckets"] > 1 for results in plans.values()] == [True, False, True, True]
    for name, values in plans["one"].members.items():
        assert plans["widths"].members[name].tobytes() == plans["auto"].members[name].tobytes()
        for plan in ("widths", "buckets"):
            np.testing.assert_allclose(values, plans[plan].members[name], rtol=1e-9, atol=1e-12)


@pytest.mark.soak
def test_in_many_lanes_plan_widths_has_a_program_a_batch_size(rows, x64):
    """Batch sizes are no branches there."""
    task = pj.supervised(rows)
    space = default_space().replace(batch_size=pj.choice(8, 16), hidden=pj.integers(3, 9))
    one, widths = (
        pj.search(task, space, trials=24, epochs=3, backend=pj.Local(plan=plan, lanes=8)) for plan in ("one", "widths")
    )
    assert [results.summary["buckets"] for results in (one, widths)] == [1, 2]
    for name, values in one.members.items():
        np.testing.assert_allclose(values, widths.members[name], rtol=1e-9, atol=1e-12)


class Plain(nnx.Module):
    def __init__(self, hparams, rngs):
        self.kernel, self.out = nnx.Param(jnp.ones((2, 1, 3, 3))), nnx.Linear(2, 3, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.convolved(self.kernel[...], x.transpose(0, 3, 1, 2))).mean((2, 3)))

    def convolved(self, kernel, x):
        return jax.lax.conv(x, kernel, (1, 1), "SAME")


class Hidden(Plain):
    """In a derivative of one's own."""

    def convolved(self, kernel, x):
        conv = jax.custom_vjp(super().convolved)
        conv.defvjp(lambda *given: (conv(*given), given), lambda given, slope: (0 * given[0], 0 * given[1]))
        return conv(kernel, x)


def test_explain_says_what_is_slow():
    data = np.zeros((40, 6, 6, 1)), np.arange(40) % 3
    tasks = [pj.supervised(data, Plain), pj.supervised(data, Hidden), pj.supervised(data, Plain, rewrite="none")]
    told = [explain(task, pj.Space(learning_rate=0.1), 4, Config(2, 0, pj.best("val_loss"))) for task in tasks]
    assert "left to XLA" not in told[0]
    slow, faster = "left to XLA, whose own is slow on a CPU: convolution", "a Python loop of jitted steps of one model"
    assert told[1].splitlines()[-1].startswith(f"{slow}, so that {faster} would be faster; it is in a derivative of")
    assert told[2].endswith("would be faster; the model is trained as it is written, rewrite='none'")


def test_explain_trains_nothing_and_says_what_is_chosen(command, tmp_path):
    process = command("sweep", "--explain", "--dataset", "wine", "--trials", "40", "--repeats", "2")
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert "members: 80" in lines
    assert sum(line.startswith("plan ") and "padding, about compiling" in line for line in lines) == 3
    assert lines[-1] == "chosen: one"
    assert not (tmp_path / "runs").exists()
