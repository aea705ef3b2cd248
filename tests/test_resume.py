"""A run that is interrupted and taken up again: to the last bit what it would have been."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading

import jax
import numpy as np
import pytest
import stopping
from conftest import soaked

import popjax as pj
from popjax.core.storage import Corrupt
from popjax.store.decisions import content_of_line, line_of
from popjax.store.files import FORMAT, READ, read_json, read_table, write_json

SPACE = pj.Space(
    learning_rate=pj.log_uniform(1e-3, 1e-1),
    hidden=pj.integers(3, 9),
    depth=pj.integers(1, 2),
    batch_size=pj.choice(8, 16),
)
WIDE = SPACE.replace(hidden=pj.log_integers(2, 32))
TABLES = ("trials.parquet", "curves.parquet", "best/arrays.safetensors", "best/best.json")


@pytest.fixture(scope="module")
def task(rows):
    return pj.supervised(rows)


class StopAt(pj.Callback):
    """Sets the event once so many epochs of members are trained here."""

    def __init__(self, epochs):
        self.epochs = epochs
        self.done = 0
        self.stop = threading.Event()

    def epoch(self, result):
        self.done += len(result.trial)
        if self.done >= self.epochs:
            self.stop.set()


def search(task, out, trials=40, resume=False, stop_at=None, space=SPACE, **settings):
    show = StopAt(stop_at or 10**9)
    settings = {"epochs": 4, **settings}
    return stopping.search(
        task, space, trials=trials, out=out, resume=resume, callbacks=[show], stop=show.stop, **settings
    )


def assert_same_files(left, right):
    for name in TABLES:
        assert (left / name).read_bytes() == (right / name).read_bytes(), name


@pytest.mark.parametrize(
    "settings",
    soaked(
        [
            {"folds": 3, "repeats": 2, "trials": 8},
            {},
            {"scheduler": "rounds(3)", "trials": 120},
            {"backend": pj.Local(plan="buckets"), "rank": pj.best(keep=3)},
            {"space": WIDE, "rank": pj.best(keep=5)},
            {"backend": pj.Local(lanes=4)},
            {"rank": pj.one_se(), "repeats": 3, "trials": 24},
        ]
    ),
    ids=str,
)
def test_stopped_twice_it_ends_as_if_it_had_not_been(task, tmp_path, settings, cheap_programs):
    whole = search(task, tmp_path / "whole", **settings)
    epochs = whole.members["val_loss"].size
    first = search(task, tmp_path / "run", stop_at=epochs // 12, **settings)
    assert first.stopped.sum() > 0
    second = search(task, tmp_path / "run", resume=True, stop_at=1, **settings)
    last = search(task, tmp_path / "run", resume=True, **settings)
    assert_same_files(tmp_path / "whole", tmp_path / "run")
    steps = [results.summary["steps_run"] for results in (first, second, last)]
    assert all(0 < step < whole.summary["model_steps"] for step in steps)
    assert sum(steps) == whole.summary["model_steps"] == last.summary["model_steps"]
    assert whole.summary["test"] == last.summary["test"]


@pytest.mark.soak
def test_width_caps_are_the_recorded_ones_whatever_the_rule_is_now(task, tmp_path, cheap_programs, monkeypatch):
    """Another version, or another kind of device, may choose others; the states on the disk have these."""
    whole = search(task, tmp_path / "whole", space=WIDE)
    search(task, tmp_path / "run", space=WIDE, stop_at=60)
    caps = read_json(tmp_path / "run" / "run.json")["caps"]
    assert len(caps) == whole.summary["buckets"] > 1
    monkeypatch.setattr("popjax.engine.cost.choose", lambda space, *rest: [{"hidden": 7}, {"hidden": 32}])
    assert {"hidden": 7} not in caps
    assert search(task, tmp_path / "run", space=WIDE, resume=True).summary["steps_run"] < whole.summary["model_steps"]
    assert_same_files(tmp_path / "whole", tmp_path / "run")
    again = pj.replay(pj.Results.load(tmp_path / "whole"), 5, task)
    assert again["val_loss"].tobytes() == whole.curves["val_loss"][5].tobytes()


@pytest.mark.parametrize(
    "caps",
    soaked(
        [
            [{"hidden": 32}, {"hidden": 8}],
            7,
            [7],
            [{"hidden": 8}],
            [{"hidden": 8.0}, {"hidden": 32}],
            [{"hidden": 1}, {"hidden": 32}],
            [{"learning_rate": 8}],
            [{"units": 32}],
            [{}, {"hidden": 32}],
        ],
        2,
    ),
    ids=str,
)
def test_caps_that_do_not_fit_the_space_are_refused(task, tmp_path, cheap_programs, caps):
    search(task, tmp_path / "run", space=WIDE, stop_at=40, trials=8)
    path = tmp_path / "run" / "run.json"
    write_json(path, read_json(path) | {"caps": caps})
    with pytest.raises(Corrupt, match="no usable 'caps'"):
        search(task, tmp_path / "run", space=WIDE, trials=8, resume=True)


def test_what_is_stopped_is_ranked_as_far_as_it_came(task, tmp_path):
    results = search(task, tmp_path / "run", trials=160, stop_at=200)
    table = read_table(tmp_path / "run" / "trials.parquet").to_pylist()
    states = {row["status"] for row in table}
    assert states == {"ok", "stopped"}
    assert all((row["rank"] is None) == (row["status"] == "stopped") for row in table)
    loaded = pj.Results.load(tmp_path / "run")
    assert loaded.stopped.tolist() == results.stopped.tolist()
    assert loaded.best == results.best


def test_a_finished_run_takes_more_trials(task, tmp_path):
    """The first ones are not trained again, and all are as if they had been asked for at once."""
    search(task, tmp_path / "run", trials=24)
    more = search(task, tmp_path / "run", trials=40, resume=True)
    whole = search(task, tmp_path / "whole", trials=40)
    assert_same_files(tmp_path / "whole", tmp_path / "run")
    assert more.summary["steps_run"] < whole.summary["steps_run"] / 2
    again = search(task, tmp_path / "run", trials=40, resume=True)
    assert again.summary["steps_run"] == 0
    assert_same_files(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("folds", soaked([2, 1]))
def test_a_finished_run_takes_more_epochs(task, tmp_path, folds):
    """As if they had been asked for at once, also with more trials beside, and stopped on the way."""
    search(task, tmp_path / "run", trials=24, epochs=3, folds=folds, rank=pj.best(keep=4))
    whole = search(task, tmp_path / "whole", trials=40, epochs=6, folds=folds, rank=pj.best(keep=4))
    search(task, tmp_path / "run", trials=24, epochs=5, folds=folds, rank=pj.best(keep=4), resume=True, stop_at=40)
    results = search(task, tmp_path / "run", trials=40, epochs=6, folds=folds, rank=pj.best(keep=4), resume=True)
    assert_same_files(tmp_path / "whole", tmp_path / "run")
    assert results.best == whole.best
    assert results.states.keys() == whole.states.keys()
    assert results.run["epochs"] == 6
    again = search(task, tmp_path / "run", trials=40, epochs=6, folds=folds, rank=pj.best(keep=4), resume=True)
    assert again.summary["steps_run"] == 0


@pytest.mark.parametrize(
    ("settings", "more", "says"),
    [
        ({}, {"epochs": 3}, "epochs was 4, now 3"),
        (
            {"scheduler": "halving"},
            {"epochs": 8},
            r"epochs was 4, now 8: halving\(.*\) decides by what the last epoch is",
        ),
        (
            {"scheduler": "rounds(2)"},
            {"epochs": 8},
            "epochs was 4, now 8: rounds=2 decides by what the last epoch is; start a new run",
        ),
        ({"schedule": "cosine"}, {"epochs": 8}, r"epochs was 4, now 8: the task reads hparams\['epochs'\]"),
    ],
)
def test_what_has_a_horizon_takes_no_more_epochs(rows, tmp_path, settings, more, says):
    settings = dict(settings)
    task = pj.supervised(rows, schedule=settings.pop("schedule", "inverse"))
    search(task, tmp_path / "run", trials=12, **settings)
    before = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(ValueError, match=says):
        search(task, tmp_path / "run", trials=12, resume=True, **settings | more)
    assert (tmp_path / "run" / "run.json").read_bytes() == before


@pytest.mark.parametrize("seed", range(3))
def test_what_has_a_horizon_in_some_trials_takes_no_more_epochs(rows, tmp_path, seed):
    """Whichever schedule the first trial has."""
    space = {"learning_rate": pj.log_uniform(1e-3, 0.1), "hidden": 4, "schedule": pj.choice("inverse", "cosine")}
    asked = dict(trials=8, seed=seed, out=tmp_path / "run")
    results = pj.search(pj.supervised(rows), space, epochs=2, **asked)
    assert set(results.points["schedule"]) == {"inverse", "cosine"}
    with pytest.raises(ValueError, match="the task reads hparams\\['epochs'\\], as schedule cosine does"):
        pj.search(pj.supervised(rows), space, epochs=4, resume=True, **asked)


def test_points_are_read_not_sampled_again(task, tmp_path):
    """Another sampler's hand in between changes nothing: what is written counts."""
    search(task, tmp_path / "run", trials=16, stop_at=20)
    path = tmp_path / "run" / "decisions.jsonl"
    (line,) = path.read_bytes().splitlines(keepends=True)
    content = content_of_line(line)
    content["add"]["learning_rate"][15] = 0.0123
    path.write_bytes(line_of(content))
    results = search(task, tmp_path / "run", trials=16, resume=True)
    assert results.points["learning_rate"][15] == 0.0123


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"epochs": 3}, "epochs was 4, now 3"),
        ({"seed": 3}, "seed was 0, now 3"),
        ({"trials": 30}, "trials was 40, now 30"),
        ({"backend": pj.Local(lanes=2)}, "lanes was 1, now 2"),
        ({"backend": pj.Local(plan="buckets")}, "plan was one, now buckets"),
        ({"space": SPACE.replace(hidden=pj.integers(3, 8))}, "space: hidden was"),
    ],
)
def test_another_configuration_is_refused_naming_both(task, tmp_path, settings, says):
    search(task, tmp_path / "run", stop_at=40)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=says):
        search(task, tmp_path / "run", resume=True, **settings)
    after = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    changed = [path.name for path in before if before[path] != after[path]]
    assert changed in ([], [".lock"])


def test_another_dataset_is_refused(rows, task, tmp_path):
    search(task, tmp_path / "run", stop_at=40)
    x, y = rows
    with pytest.raises(ValueError, match="data: data differs"):
        search(pj.supervised((x + 1, y)), tmp_path / "run", resume=True)


def test_another_version_goes_on_and_says_that_bits_may_differ(task, tmp_path):
    search(task, tmp_path / "run", stop_at=40)
    path = tmp_path / "run" / "run.json"
    run = read_json(path)
    run["versions"]["jax"] = "0.10.2"
    write_json(path, run)
    results = search(task, tmp_path / "run", resume=True)
    (warning,) = results.summary["warnings"]
    assert "0.10.2" in warning
    assert "bits may differ" in warning
    assert "bits may differ" in json.loads((tmp_path / "run" / "summary.json").read_text())["warnings"][0]


@pytest.mark.parametrize("harm", ["empty", "half", "not json", "no rounds"])
def test_a_damaged_run_json_is_refused_and_nothing_is_changed(task, tmp_path, harm):
    search(task, tmp_path / "run", stop_at=40)
    path = tmp_path / "run" / "run.json"
    text = path.read_text()
    run = json.loads(text)
    del run["rounds"], run["check"]
    path.write_text({"empty": "", "half": text[:200], "not json": "\0", "no rounds": json.dumps(run)}[harm])
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file() and p.name != ".lock"}
    with pytest.raises(Corrupt):
        search(task, tmp_path / "run", resume=True)
    assert before == {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file() and p.name != ".lock"}


@pytest.mark.parametrize(
    ("setting", "value", "then"),
    [
        ("jax_enable_x64", True, "False"),
        ("jax_default_prng_impl", "rbg", "threefry2x32"),
        ("jax_threefry_partitionable", False, "True"),
    ],
)
def test_other_random_numbers_are_no_continuation(task, tmp_path, setting, value, then):
    """More trials would be others than in one run; a setting that rounds otherwise is said."""
    search(task, tmp_path / "run", trials=4)
    before = getattr(jax.config, setting)
    jax.config.update(setting, value)
    try:
        with pytest.raises(ValueError, match=f"cannot be resumed so: {setting} was {then}, now {value}"):
            search(task, tmp_path / "run", trials=8, resume=True)
    finally:
        jax.config.update(setting, before)
    with jax.default_matmul_precision("highest"):
        search(task, tmp_path / "run", trials=8, resume=True)
    (warning,) = read_json(tmp_path / "run" / "summary.json")["warnings"]
    assert warning.startswith("jax_default_matmul_precision was None, now highest: bits may differ")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"scheduler": "rounds(2)"}, "its rounds have 3 trials; give rounds=3 with trials=9"),
        ({"scheduler": "halving(min_epochs=1)"}, "decided among all trials; start a new run"),
        ({"sampler": "grid"}, "a grid has all its points; start a new run"),
    ],
)
def test_more_trials_that_would_be_another_run_are_refused_with_the_reason(tmp_path, given, says):
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"]})
    asked = {"space": {"x": pj.uniform(0, 1)}, "out": tmp_path / "run", "rank": pj.best("loss", "min"), **given}
    pj.search(task, trials=6, **asked)
    with pytest.raises(ValueError, match=f"cannot be resumed so: trials was 6, now 8: .*{says}"):
        pj.search(task, trials=8, resume=True, **asked)


def test_rounds_of_several_sizes_take_no_more(tmp_path):
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"]})
    asked = {"space": {"x": pj.uniform(0, 1)}, "out": tmp_path / "run", "rank": pj.best("loss", "min")}
    pj.search(task, trials=7, scheduler="rounds(2)", **asked)
    with pytest.raises(ValueError, match="trials was 7, now 12: its rounds differ in size; start a new run"):
        pj.search(task, trials=12, scheduler="rounds(3)", resume=True, **asked)


def test_the_command_goes_on_in_rounds_of_the_same_size(command, tmp_path):
    asked = ("--dataset", "wine", "--epochs", "1", "--quiet")
    assert command("sweep", *asked, "--rounds", "2", "--trials", "6", "--out", "run").returncode == 0
    assert command("resume", "run", "--trials", "9").returncode == 0
    assert command("sweep", *asked, "--rounds", "3", "--trials", "9", "--out", "whole").returncode == 0
    assert_same_files(tmp_path / "whole", tmp_path / "run")


def test_without_a_commit_it_begins_again_with_the_points_of_then(task, tmp_path):
    search(task, tmp_path / "run", stop_at=40)
    shutil.rmtree(tmp_path / "run" / "state")
    search(task, tmp_path / "run", resume=True)
    search(task, tmp_path / "whole")
    assert_same_files(tmp_path / "whole", tmp_path / "run")


@pytest.mark.kill
def test_resume_begins_where_there_is_nothing(task, tmp_path):
    assert search(task, tmp_path / "run", trials=4, resume=True).best is not None


RUN = (
    stopping.DIES
    + """
take = popjax.engine.checkpoint.Checkpoint.take
def take_and_commit(self, message):
    take(self, message)
    self.commit()
popjax.engine.checkpoint.Checkpoint.take = take_and_commit  # after everything a worker says
import jax, jax.numpy as jnp
import popjax as pj
def init(key, hparams, data):
    return {"x": jax.random.normal(key, (3,)), "key": key}
def epoch(state, hparams, data):
    noise = jax.random.normal(jax.random.fold_in(state["key"], 1), (3,))
    x = state["x"] - hparams["learning_rate"] * (state["x"] + 0.1 * noise)
    return {"x": x, "key": jax.random.fold_in(state["key"], 2)}, {"loss": (x**2).sum()}
class Count(pj.Callback):
    epochs = 0
    def epoch(self, result):
        self.epochs += len(result.trial)
counts = Count()
def run(**options):
    pj.search(pj.Task(init, epoch, ()), pj.Space(learning_rate=pj.log_uniform(1e-3, 1)), trials=40, epochs=5,
              out=sys.argv[1], resume=sys.argv[2] == "resume", rank=pj.best(keep=2), callbacks=[counts], **options)
    print(counts.epochs)
"""
)


@pytest.mark.kill
@pytest.mark.parametrize("kills", [(1,), (2,), (5, 3), (9, 4, 8), (14,), (23, 2, 2), (31,), (36, 1), (38,)], ids=str)
def test_killed_at_any_write_it_goes_on(python, tmp_path, kills):
    """SIGKILL before the n-th rename, up to three times in one run; then the tables are the same bytes."""
    for number, kill_at in enumerate(kills):
        died = python(RUN + "run()", "run", "resume" if number else "new", kill_at)
        assert died.returncode == -signal.SIGKILL, died.stderr
    epochs = []
    for out in ("run", "whole"):
        ended = python(RUN + "run()", out, "resume", 0)
        assert ended.returncode == 0, ended.stderr
        epochs.append(int(ended.stdout))
    assert_same_files(tmp_path / "whole", tmp_path / "run")
    assert epochs[1] == 40 * 5
    assert epochs[0] < epochs[1] or max(kills) < 9, "by then some are committed, which are not trained again"


@pytest.mark.kill
def test_signals_stop_the_command_after_its_epoch(command, python, tmp_path):
    """SIGINT once, then SIGTERM: results so far, the command to go on with, 130 and 143; the end is the same."""
    arguments = ["--trials", "64", "--epochs", "20", "--dataset", "wine", "--set", "hidden=integers(50,60)"]
    whole = command("sweep", *arguments, "--out", "whole")
    assert whole.returncode == 0, whole.stderr
    steps = []
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        stopped = python(SLOW, 0.02, int(number), 1, *arguments, "--out", "run", "--resume")
        assert stopped.returncode == code, stopped.stderr
        assert "Traceback" not in stopped.stderr
        assert "go on: python -m popjax.resume run" in stopped.stderr
        steps.append(json.loads((tmp_path / "run" / "summary.json").read_text())["steps_run"])
    last = command("sweep", *arguments, "--out", "run", "--resume", "--json")
    summary = json.loads(last.stdout)
    assert sum(steps) + summary["steps_run"] == summary["model_steps"]
    assert_same_files(tmp_path / "whole", tmp_path / "run")


SAVING = """
import os, runpy, signal, sys
import popjax.engine.checkpoint
popjax.engine.checkpoint.EVERY, popjax.engine.checkpoint.SHARE = 0.0, float("inf")
name, number, times = sys.argv.pop(1), int(sys.argv.pop(1)), int(sys.argv.pop(1))
replace = os.replace
def signalling(source, target):
    global times
    while name in str(target) and times:
        times -= 1
        os.kill(os.getpid(), number)
    replace(source, target)
os.replace = signalling
runpy.run_module("popjax.sweep", run_name="__main__")
"""


@pytest.mark.kill
@pytest.mark.soak
def test_signals_while_a_file_is_written_lose_nothing(command, python, tmp_path):
    """SIGINT in a commit, SIGINT twice in a later one, SIGTERM in the final tables; the end is the same."""
    arguments = ["--trials", "48", "--epochs", "8", "--dataset", "wine", "--set", "hidden=50"]
    steps = [
        ("commit-1.json", signal.SIGINT, 1),
        ("standing-", signal.SIGINT, 2),
        ("trials.parquet", signal.SIGTERM, 1),
    ]
    ran = []
    for name, number, times in steps:
        stopped = python(SAVING, name, int(number), times, *arguments, "--out", "run", "--resume")
        assert stopped.returncode == (143 if number == signal.SIGTERM else 130), stopped.stderr
        assert "Traceback" not in stopped.stderr
        assert not [path for path in (tmp_path / "run").rglob(".*") if path.name != ".lock"]
        if times == 1:
            ran.append(json.loads((tmp_path / "run" / "summary.json").read_text())["steps_run"])
    assert ran[0] > 0
    assert command("sweep", *arguments, "--out", "run", "--resume").returncode == 0
    assert command("sweep", *arguments, "--out", "whole").returncode == 0
    assert_same_files(tmp_path / "whole", tmp_path / "run")


SLOW = """
import os, runpy, signal, sys, threading, time
from popjax.engine.backends import local
train, said = local.train, threading.Event()
def slow(job, context, say, stopping):
    def told(message):
        say(message)
        said.set()
        time.sleep(pause)
    train(job, context, told, stopping)
local.train = slow
def send():
    said.wait()
    time.sleep(0.2)
    for _ in range(times):
        os.kill(os.getpid(), number)
        time.sleep(0.3)
pause, number, times = float(sys.argv.pop(1)), int(sys.argv.pop(1)), int(sys.argv.pop(1))
threading.Thread(target=send, daemon=True).start()
runpy.run_module("popjax.sweep", run_name="__main__")
"""


@pytest.mark.kill
def test_a_second_ctrl_c_is_out_at_once(python, tmp_path):
    arguments = ["--trials", "64", "--epochs", "200", "--dataset", "wine", "--set", "hidden=50", "--out", "run"]
    out = python(SLOW, 2, int(signal.SIGINT), 2, *arguments, timeout=120)
    assert out.returncode == 130, out.stderr
    assert "again to stop at once" in out.stderr
    assert "Traceback" not in out.stderr
    assert not (tmp_path / "run" / "summary.json").exists()


def test_a_directory_in_use_is_refused_with_4(command, tmp_path):
    from popjax.core.storage import locked

    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run"):
        second = command("sweep", "--out", "run", "--resume")
    assert second.returncode == 4
    assert f"in use by process {os.getpid()}" in second.stderr
    assert len(second.stderr.splitlines()) == 1


def test_results_say_what_stopped_means():
    """One diverged member makes a trial diverged, also where others were stopped."""
    members = np.array([[1.0, 2, np.nan], [1, np.nan, np.nan], [1, 2, 3]]).reshape(3, 1, 1, 3)
    done = np.array([3, 1, 3]).reshape(3, 1, 1)
    results = pj.Results({"x": np.arange(3.0)}, {"loss": members}, pj.best("loss", "min"), done=done)
    assert results.diverged.tolist() == [True, False, False]
    assert results.stopped.tolist() == [False, True, False]
    assert results.order.tolist() == [2]
    assert dataclasses.replace(results, done=None, status=None).diverged.tolist() == [True, True, False]


ENDS = """
import atexit, os, signal, sys
from popjax.commands import cli
def main():
    with cli.stopping(cli.SignalledStop()):
        os.kill(os.getpid(), signal.SIGTERM)
    print(signal.getitimer(signal.ITIMER_REAL)[0] > 0)
    return 143
atexit.register(lambda: print(signal.getitimer(signal.ITIMER_REAL)))
cli.run(main)
"""


@pytest.mark.kill
def test_the_timer_of_sigterm_ends_with_the_command(environment, tmp_path):
    """Else it ends Python's own end by SIGALRM, whose handler is gone by then: exit -14 in the place of 143."""
    kwargs = {"capture_output": True, "text": True, "cwd": tmp_path, "env": environment}
    ended = subprocess.run([sys.executable, "-c", ENDS], **kwargs)
    assert (ended.returncode, ended.stdout) == (143, "True\n(0.0, 0.0)\n"), ended.stderr


def test_a_damaged_directory_is_3(refused_in_one_line, tmp_path):
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "run.json").write_text("{}")
    refused_in_one_line("sweep", "--out", "held", "--resume", says=("'held'", "no format"), code=3)
    assert (tmp_path / "held" / "run.json").read_text() == "{}"


@pytest.mark.parametrize(("number", "says"), [(READ[0] - 1, "search again"), (FORMAT + 1, "upgrade popjax")])
def test_a_directory_of_another_format_is_refused(task, tmp_path, number, says):
    search(task, tmp_path / "run")
    run = read_json(tmp_path / "run" / "run.json")
    write_json(tmp_path / "run" / "run.json", run | {"format": number})
    for use in (pj.Results.load, lambda run: search(task, run, resume=True)):
        with pytest.raises(ValueError, match=f"has format {number}, this popjax reads {READ[0]} to {FORMAT}; {says}"):
            use(tmp_path / "run")


class StopInRound(pj.Callback):
    """Sets the event at the first report of a round, or as it begins."""

    def __init__(self, number, at_once=False):
        self.number = number
        self.at_once = at_once
        self.now = 0
        self.stop = threading.Event()

    def decision(self, decision, trials):
        self.now = decision.notes["round"] + 1
        if self.at_once:
            self.stop.set()

    def epoch(self, result):
        if self.now == self.number:
            self.stop.set()


@pytest.mark.parametrize("sampler", ["random", "grid"])
def test_a_later_round_goes_on_with_its_own_points(task, tmp_path, sampler):
    """Stopped in the second round twice; a grid's rounds may hold fewer points than were asked for."""
    settings = {
        "trials": 75,
        "epochs": 30,
        "scheduler": "rounds(3)",
        "sampler": sampler,
    }  # long enough to be stopped on the way
    pj.search(task, SPACE, out=tmp_path / "whole", **settings)
    for resume in (False, True):
        show = StopInRound(2)
        stopping.search(task, SPACE, out=tmp_path / "run", resume=resume, callbacks=[show], stop=show.stop, **settings)
        run = json.loads((tmp_path / "run" / "run.json").read_text())
        assert len(run["rounds"]) == 2
        lines = map(content_of_line, (tmp_path / "run" / "decisions.jsonl").read_bytes().splitlines(keepends=True))
        assert [len(line["add"]["learning_rate"]) for line in lines] == [one["trials"] for one in run["rounds"]]
    show = StopInRound(1, at_once=True)  # nothing of the second round is forgotten
    stopping.search(task, SPACE, out=tmp_path / "run", resume=True, callbacks=[show], stop=show.stop, **settings)
    assert len(json.loads((tmp_path / "run" / "run.json").read_text())["rounds"]) == 2
    last = pj.search(task, SPACE, out=tmp_path / "run", resume=True, **settings)
    assert_same_files(tmp_path / "whole", tmp_path / "run")
    assert last.summary["steps_run"] < last.summary["model_steps"]


def test_another_schedule_is_refused(rows, task, tmp_path):
    """Also where the space names nothing that would tell."""
    search(task, tmp_path / "run", stop_at=40)
    with pytest.raises(ValueError, match="task: schedule was inverse, now cosine"):
        search(pj.supervised(rows, schedule="cosine"), tmp_path / "run", resume=True)


def test_state_without_its_run_json_is_not_another_runs(task, tmp_path):
    search(task, tmp_path / "run", stop_at=40)
    (tmp_path / "run" / "run.json").unlink()
    with pytest.raises(Corrupt, match=r"no run\.json"):
        search(task, tmp_path / "run", epochs=9)


def test_another_array_of_a_task_of_ones_own_is_refused(tmp_path):
    def task(data):
        loss = lambda state, hparams, data: (state, {"loss": data["at"] + hparams["x"]})
        return pj.Task(lambda key, hparams, data: key, loss, {"at": data})

    space = {"x": pj.uniform(0, 1)}
    pj.search(task(3.0), space, trials=3, epochs=1, out=tmp_path / "run")
    with pytest.raises(ValueError, match="data: arrays differs"):
        pj.search(task(50.0), space, trials=6, epochs=1, out=tmp_path / "run", resume=True)
    assert pj.search(task(3.0), space, trials=6, epochs=1, out=tmp_path / "run", resume=True).values["loss"].max() < 4


@pytest.mark.soak
def test_a_winner_whose_folds_are_lost_in_part_is_trained_again(task, tmp_path):
    """Trial 3, which wins, has two of its ten folds in a part that is finished, whose states are lost."""
    settings = {"trials": 5, "folds": 10, "seed": 3}
    assert search(task, tmp_path / "whole", **settings).best.trial == 3
    search(task, tmp_path / "run", stop_at=150, **settings)
    for path in (tmp_path / "run" / "state").glob("standing-*"):
        path.write_bytes(path.read_bytes() + b"x")
    last = search(task, tmp_path / "run", resume=True, **settings)
    assert "trained again" in " ".join(last.summary["warnings"])
    assert_same_files(tmp_path / "whole", tmp_path / "run")


def test_stopped_before_it_begins_it_goes_on(task, tmp_path):
    stop = threading.Event()
    stop.set()
    first = stopping.search(task, SPACE, trials=8, epochs=2, out=tmp_path / "run", stop=stop)
    assert first.stopped.all()
    assert first.best is None
    pj.search(task, SPACE, trials=8, epochs=2, out=tmp_path / "run", resume=True)
    pj.search(task, SPACE, trials=8, epochs=2, out=tmp_path / "whole")
    assert_same_files(tmp_path / "whole", tmp_path / "run")


def test_what_a_damaged_commit_lost_of_an_earlier_round_is_trained_in_two_tries(task, tmp_path):
    """The first try stops half-way, with a commit that is whole: the second still trains what is missing."""
    settings = {"trials": 60, "scheduler": "rounds(3)"}
    search(task, tmp_path / "whole", **settings)
    search(task, tmp_path / "run", **settings)
    for path in (tmp_path / "run" / "state").glob("settled-*"):
        path.write_bytes(path.read_bytes() + b"x")
    search(task, tmp_path / "run", resume=True, stop_at=1, **settings)
    search(task, tmp_path / "run", resume=True, **settings)
    assert_same_files(tmp_path / "whole", tmp_path / "run")
