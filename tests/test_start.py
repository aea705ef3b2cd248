"""Points that a search tries first: known good settings, or the best of another search."""

import json
import signal

import jax.numpy as jnp
import numpy as np
import pytest
import test_resume

import popjax as pj
from popjax.core.storage import Corrupt
from popjax.store.decisions import content_of_line
from popjax.store.files import read_json, write_json
from popjax.tuning.start import start_points

SPACE = pj.Space(
    learning_rate=pj.log_uniform(1e-4, 1),
    kind=pj.choice("a", "b"),
    x=pj.uniform(0, 1).when(kind="a"),
    depth=pj.integers(1, 4).when(kind="b"),
    width=8,
)
START = [{"learning_rate": 0.01, "kind": "b", "depth": 3}, {"x": 0.25}, {}]


def loss(key, hparams):
    own = hparams["x"] if hparams["kind"] == "a" else hparams["depth"] / hparams["width"]
    return {"loss": (hparams["learning_rate"] - 0.1) ** 2 + own}


TASK = pj.objective(loss)


def init(key, hparams, data):
    return hparams["learning_rate"]


def epoch(state, hparams, data):
    return 0.9 * state, {"loss": state**2}


PACED = pj.Task(init, epoch, ())


def rows_of(results, trials):
    return [results.hparams(trial) for trial in trials]


@pytest.mark.parametrize("sampler", ["random", "sobol", "grid"])
def test_they_come_first_and_the_design_begins_after_them(sampler):
    """What a mapping names is its trial's; the others are the points of a search without it."""
    results = pj.search(TASK, SPACE, trials=20, sampler=sampler, start=START)
    first = rows_of(results, range(3))
    assert first[0] == {"learning_rate": 0.01, "kind": "b", "depth": 3, "width": 8}
    assert first[1] == {"x": 0.25, "kind": "a", "learning_rate": first[1]["learning_rate"], "width": 8}
    assert all(SPACE[name].has(value) for one in first for name, value in one.items())
    own = pj.search(TASK, SPACE, trials=17, sampler=sampler)
    assert rows_of(results, range(3, len(results.order))) == rows_of(own, range(len(own.order)))


def test_what_is_left_out_depends_on_the_mappings_place_alone():
    """Neither on the mappings beside it nor on the sampler's points; other places and seeds draw other values."""
    alone = start_points([{}, {}], SPACE, 3)
    assert start_points([{"learning_rate": 0.5}, {}, {}], SPACE, 3)[1] == alone[1] != alone[0]
    assert start_points([{}], SPACE, 4) != alone[:1]
    assert alone[0]["learning_rate"] not in SPACE.sample(1000, 3)["learning_rate"]


def test_what_is_left_out_is_spread_as_the_space_says():
    """Of 400: half are of each kind, half of the rates below the middle of their scale."""
    drawn = start_points([{}] * 400, SPACE, 0, 400)
    assert 160 < sum(one["kind"] == "a" for one in drawn) < 240
    assert 160 < sum(one["learning_rate"] < 0.01 for one in drawn) < 240
    assert all(("x" in one) == (one["kind"] == "a") for one in drawn)


@pytest.mark.parametrize(
    "settings",
    [
        {"sampler": "tpe"},
        {"sampler": "tpe", "scheduler": "rounds(4)"},
        {"scheduler": "rounds(3)"},
        {"scheduler": "halving(min_epochs=1)"},
        {"scheduler": "hyperband(min_epochs=1)"},
        {"scheduler": "pbt"},
    ],
    ids=str,
)
def test_schedulers_and_samplers_that_learn_begin_with_them(tmp_path, settings):
    """More points than a first round holds go on in the second."""
    space = pj.Space(learning_rate=pj.log_uniform(1e-4, 1))
    start = [{"learning_rate": rate} for rate in np.linspace(0.1, 0.9, 17).tolist()]
    pj.search(PACED, space, trials=48, epochs=8, start=start, out=tmp_path / "run", **settings)
    lines = map(content_of_line, (tmp_path / "run" / "decisions.jsonl").read_bytes().splitlines(keepends=True))
    added = [rate for line in lines for rate in line.get("add", {}).get("learning_rate", [])]
    assert len(added) == 48
    assert added[:17] == [one["learning_rate"] for one in start]
    if "sampler" not in settings and "rounds" not in settings["scheduler"]:  # which learn from the first ones
        np.testing.assert_array_equal(added[17:], space.sample(31)["learning_rate"])


def test_a_number_may_be_an_array_without_axes():
    """Of JAX or of NumPy, as a user's code computes it."""
    for number in (jnp.float32(0.25), np.array(0.25), np.float32(0.25)):
        results = pj.search(TASK, SPACE, trials=1, start=[{"learning_rate": number}])
        assert results.points["learning_rate"].tolist() == [0.25]


def test_results_give_their_ten_best_that_lie_in_the_space(tmp_path, capfd):
    """In their order; the better ones outside are said; from memory as from the directory."""
    before = pj.search(TASK, SPACE, trials=60, out=tmp_path / "run")
    narrow = SPACE.replace(learning_rate=pj.log_uniform(1e-2, 1))
    inside = [t for t in before.order.tolist() if before.points["learning_rate"][t] >= 1e-2]
    capfd.readouterr()
    after = pj.search(TASK, narrow, trials=12, start=before)
    said = capfd.readouterr().err
    assert rows_of(after, range(10)) == rows_of(before, inside[:10])
    skipped = [t for t in before.order[: before.order.tolist().index(inside[9])].tolist() if t not in inside]
    assert skipped
    assert f"{len(skipped)} better trial" in said
    assert f"trial {skipped[0]}: learning_rate=" in said
    loaded = pj.search(TASK, narrow, trials=12, start=tmp_path / "run")
    assert rows_of(loaded, range(12)) == rows_of(after, range(12))


@pytest.mark.parametrize(
    ("start", "says"),
    [
        ({"x": 1}, "start is a dict; give a list of mappings"),
        ([], "start is empty"),
        (3, "start is a int"),
        ([0.1], "start: point 0 is a float"),
        ([{}, {"rate": 1}], "start: point 1: rate is no hyperparameter of the space; there are learning_rate, kind"),
        ([{"learning_rate": 3}], "point 0: learning_rate=3 is not in log_uniform(0.0001, 1); give a value within it"),
        ([{"learning_rate": float("nan")}], "learning_rate=nan is not in"),
        ([{"kind": "c"}], "kind='c' is not in choice('a', 'b')"),
        ([{"depth": 2.5}], "depth=2.5 is not in integers(1, 4)"),
        ([{"width": 9}], "width=9 is not in 8"),
        ([{"learning_rate": "0.1"}], "learning_rate='0.1' is not in"),
        ([{"kind": "a", "depth": 2}], "depth=2 does not exist beside the others, it needs kind=b"),
        ([{"x": 0.5, "depth": 2}], "cannot exist beside the others; leave some of x, depth out"),
        ([{}] * 9, "start has 9 points, trials=8; raise trials"),
        ("nowhere", "nowhere"),
    ],
    ids=str,
)
def test_what_is_no_start_is_said_in_one_line(start, says):
    with pytest.raises(ValueError) as raised:
        pj.search(TASK, SPACE, trials=8, start=start)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_of_few_trials_results_give_as_many():
    before = pj.search(TASK, SPACE, trials=60)
    after = pj.search(TASK, SPACE, trials=4, start=before)
    assert rows_of(after, range(4)) == rows_of(before, before.order[:4].tolist())


def test_what_a_mapping_names_exists_however_rarely():
    """The parents that it leaves out have values with which it does."""
    space = pj.Space(k=pj.integers(1, 100_000), y=pj.uniform(0, 1).when(k=77), z=pj.uniform(0, 1).when(k=[77, 78]))
    assert start_points([{"y": 0.5}], space, 0)[0].keys() == {"k", "y", "z"}
    assert {start_points([{"z": 0.5}], space, seed)[0]["k"] for seed in range(20)} == {77, 78}


def test_results_without_a_point_in_the_space_are_refused():
    before = pj.search(TASK, SPACE, trials=8)
    with pytest.raises(ValueError, match=r"start: none of the 8 trials lies in the space; trial \d: learning_rate="):
        pj.search(TASK, SPACE.replace(learning_rate=pj.log_uniform(5, 6)), trials=8, start=before)


def test_a_resumed_run_reads_the_recorded_ones(tmp_path):
    """It need not be told them again; others are refused; more trials go on with the design."""
    rate = pj.Space(learning_rate=pj.log_uniform(1e-4, 1))
    start = [{"learning_rate": 0.3}, {}]
    pj.search(PACED, rate, trials=10, epochs=2, start=start, out=tmp_path / "run")
    recorded = json.loads((tmp_path / "run" / "run.json").read_text())["start"]
    assert recorded[0] == {"learning_rate": 0.3}
    more = pj.search(PACED, rate, trials=20, epochs=2, out=tmp_path / "run", resume=True)
    whole = pj.search(PACED, rate, trials=20, epochs=2, start=start)
    np.testing.assert_array_equal(more.points["learning_rate"], whole.points["learning_rate"])
    with pytest.raises(ValueError, match=r"cannot be resumed so: start was \[.*, now \[.*; leave it out"):
        pj.search(PACED, rate, trials=20, epochs=2, start=[{}], out=tmp_path / "run", resume=True)
    other = pj.Space(learning_rate=pj.log_uniform(1e-4, 0.1))
    with pytest.raises(ValueError, match=r"cannot be resumed so: space\.learning_rate was|cannot be resumed so: space"):
        pj.search(PACED, other, trials=20, epochs=2, out=tmp_path / "run", resume=True)
    write_json(tmp_path / "run" / "run.json", read_json(tmp_path / "run" / "run.json") | {"start": "elsewhere"})
    with pytest.raises(Corrupt, match="no usable 'start'"):
        pj.search(PACED, rate, trials=20, epochs=2, out=tmp_path / "run", resume=True)


@pytest.mark.kill
@pytest.mark.parametrize("sampler", ["random", "sobol", "tpe"])
def test_killed_at_any_write_it_ends_as_the_run_left_alone(python, tmp_path, sampler):
    code = test_resume.RUN + (
        f'run(sampler="{sampler}", start=None if sys.argv[2] == "resume" else [{{"learning_rate": 0.5}}, {{}}])'
    )
    whole = python(code, "whole", "new", 0)
    assert whole.returncode == 0, whole.stderr
    for number, kill_at in enumerate((3, 4, 7)):
        died = python(code, "run", "resume" if number else "new", kill_at)
        assert died.returncode == -signal.SIGKILL, died.stderr
    ended = python(code, "run", "resume", 0)
    assert ended.returncode == 0, ended.stderr
    test_resume.assert_same_files(tmp_path / "whole", tmp_path / "run")


def test_a_command_starts_from_a_directory(command, tmp_path):
    first = ("--dataset", "wine", "--epochs", "1", "--quiet")
    assert command("sweep", *first, "--trials", "12", "--out", "one").returncode == 0
    ended = command("sweep", *first, "--trials", "16", "--out", "two", "--start", "one", "--seed", "3")
    assert ended.returncode == 0, ended.stderr
    one, two = pj.Results.load(tmp_path / "one"), pj.Results.load(tmp_path / "two")
    assert rows_of(two, range(10)) == rows_of(one, one.order[:10].tolist())


def test_a_command_refuses_what_is_no_directory_of_results(refused_in_one_line):
    refused_in_one_line("sweep", "--dataset", "wine", "--start", "nowhere", says=["nowhere"])


@pytest.mark.parametrize("seed", range(12))
def test_a_parent_has_a_value_for_all_that_is_named(seed):
    space = pj.Space(
        p=pj.choice(1, 2, 3), a=pj.uniform(0, 1).when(p=(1, 2)), b=pj.uniform(0, 1).when(p=(2, 3)), c=pj.uniform(0, 1)
    )
    (point,) = start_points([{"a": 0.5, "b": 0.25}], space, seed, 8, None)
    assert (point["p"], point["a"], point["b"]) == (2, 0.5, 0.25)
