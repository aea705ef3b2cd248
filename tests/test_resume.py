"""A run that is interrupted and taken up again: to the last bit what it would have been."""

import contextlib
import dataclasses
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import threading

import jax
import numpy as np
import pyarrow.parquet
import pytest
import stopping
from conftest import refused, soaked

import popjax as pj

SPACE = pj.Space(
    learning_rate=pj.log_uniform(1e-3, 1e-1),
    hidden=pj.integers(3, 9),
    depth=pj.integers(1, 2),
    batch_size=pj.choice(8, 16),
)
MIXED = SPACE.replace(schedule=pj.choice("inverse", "cosine"))
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


@pytest.mark.parametrize("caps", soaked(["7", "[7]", '[{"hidden": 8}]', '[{"units": 32}]', '[{}, {"hidden": 32}]'], 2))
def test_caps_that_do_not_fit_the_space_are_refused(task, tmp_path, cheap_programs, caps):
    """The states on the disk have the recorded ones, whatever the rule is now."""
    search(task, tmp_path / "run", space=WIDE, stop_at=40, trials=8)
    stopping.edit(tmp_path / "run" / "run.json", lambda run: run.update(caps=json.loads(caps)))
    with refused("caps", "run.json", error=Exception):
        search(task, tmp_path / "run", space=WIDE, trials=8, resume=True)


def test_what_is_stopped_is_ranked_as_far_as_it_came(task, tmp_path):
    results = search(task, tmp_path / "run", trials=160, stop_at=200)
    table = pyarrow.parquet.read_table(tmp_path / "run" / "trials.parquet").to_pylist()
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


@contextlib.contextmanager
def nothing_changes(run):
    """Every file below has the same bytes afterwards, but for the lock."""
    content = lambda: {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    before = content()
    yield
    assert content() == before


@pytest.mark.parametrize(
    ("then", "now", "names"),
    [
        ({}, {"epochs": 3}, ["epochs was 4, now 3"]),
        ({}, {"seed": 3}, ["seed was 0, now 3"]),
        ({}, {"trials": 8}, ["trials was 12, now 8"]),
        ({}, {"backend": pj.Local(lanes=2)}, ["lanes was 1, now 2"]),
        ({}, {"backend": pj.Local(plan="buckets")}, ["plan was one, now buckets"]),
        ({}, {"space": SPACE.replace(hidden=pj.integers(3, 8))}, ["space", "hidden was"]),
        ({}, {"schedule": "cosine"}, ["schedule was inverse, now cosine"]),
        ({"scheduler": "halving"}, {"epochs": 8}, ["epochs was 4, now 8", "halving"]),
        ({"scheduler": "rounds(2)"}, {"epochs": 8}, ["epochs was 4, now 8", "rounds=2", "new run"]),
        ({"schedule": "cosine"}, {"epochs": 8}, ["epochs was 4, now 8", "hparams['epochs']"]),
        ({"space": MIXED, "seed": 0}, {"epochs": 8}, ["hparams['epochs']", "schedule cosine"]),
        ({"space": MIXED, "seed": 1}, {"epochs": 8}, ["hparams['epochs']", "schedule cosine"]),
        ({"scheduler": "rounds(2)"}, {"trials": 18}, ["trials was 12, now 18", "rounds=3"]),
        (
            {"scheduler": "rounds(2)", "trials": 7},
            {"scheduler": "rounds(3)", "trials": 12},
            ["differ in size", "new run"],
        ),
        ({"scheduler": "halving"}, {"trials": 18}, ["trials was 12, now 18", "new run"]),
        ({"sampler": "grid"}, {"trials": 18}, ["trials was 12, now 18", "grid", "new run"]),
    ],
    ids=str,
)
def test_what_would_be_another_run_is_refused_naming_both(rows, tmp_path, then, now, names):
    def once(trials=12, schedule=None, space=SPACE, resume=False, **given):
        task = pj.supervised(rows, **({"schedule": schedule} if schedule else {}))
        search(task, tmp_path / "run", trials, resume, space=space, **given)

    once(**then)
    with nothing_changes(tmp_path / "run"), refused(*names):
        once(resume=True, **then | now)


def test_other_data_are_refused(rows, task, tmp_path):
    x, y = rows
    search(task, tmp_path / "run", stop_at=40)
    with refused("data differs"):
        search(pj.supervised((x + 1, y)), tmp_path / "run", resume=True)


def test_points_are_read_not_sampled_again(task, tmp_path):
    """Another sampler's hand in between changes nothing: what is written counts."""
    search(task, tmp_path / "run", trials=16, stop_at=20)
    path = tmp_path / "run" / "decisions.jsonl"
    (line,) = map(json.loads, path.read_text().splitlines())
    del line["check"]
    line["add"]["learning_rate"][15] = 0.0123
    digest = hashlib.sha256(json.dumps(line, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(line | {"check": digest}) + "\n")
    results = search(task, tmp_path / "run", trials=16, resume=True)
    assert results.points["learning_rate"][15] == 0.0123


def test_another_version_goes_on_and_says_that_bits_may_differ(task, tmp_path):
    search(task, tmp_path / "run", stop_at=40)
    stopping.edit(tmp_path / "run" / "run.json", lambda run: run["versions"].update(jax="0.10.2"))
    (warning,) = search(task, tmp_path / "run", resume=True).summary["warnings"]
    assert "0.10.2" in warning
    assert "bits may differ" in warning
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["warnings"] == [warning]


def without_rounds(text):
    run = json.loads(text)
    del run["rounds"], run["check"]
    return json.dumps(run)


HARMS = {"empty": lambda text: "", "half": lambda text: text[:200], "no JSON": lambda text: "\0", "no": without_rounds}


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_run_json_is_refused_and_nothing_is_changed(task, tmp_path, harm):
    search(task, tmp_path / "run", stop_at=40)
    path = tmp_path / "run" / "run.json"
    path.write_text(HARMS[harm](path.read_text()))
    with nothing_changes(tmp_path / "run"), refused("run", error=Exception):
        search(task, tmp_path / "run", resume=True)


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
        with refused(f"{setting} was {then}, now {value}"):
            search(task, tmp_path / "run", trials=8, resume=True)
    finally:
        jax.config.update(setting, before)
    with jax.default_matmul_precision("highest"):
        search(task, tmp_path / "run", trials=8, resume=True)
    (warning,) = json.loads((tmp_path / "run" / "summary.json").read_text())["warnings"]
    assert "jax_default_matmul_precision was None, now highest" in warning


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
@pytest.mark.parametrize("kills", [(2,), (5, 3), (9, 4, 8), (23, 2, 2), (36, 1)], ids=str)
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
        assert "-m popjax.resume run" in stopped.stderr
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


def test_a_directory_in_use_is_refused_with_4(refused_in_one_line, tmp_path):
    with stopping.held(tmp_path / "run"):
        refused_in_one_line("sweep", "--out", "run", "--resume", says=("'run'", "in use by"), code=4)


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
    refused_in_one_line("sweep", "--out", "held", "--resume", says=("'held'",), code=3)
    assert (tmp_path / "held" / "run.json").read_text() == "{}"


@pytest.mark.parametrize(("newer", "remedy"), [(-9, "search again"), (1, "upgrade popjax")])
def test_a_directory_of_another_format_is_refused(task, tmp_path, newer, remedy):
    search(task, tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    number = json.loads(path.read_text())["format"] + newer
    stopping.edit(path, lambda run: run.update(format=number))
    for use in (pj.Results.load, lambda run: search(task, run, resume=True)):
        with refused(f"format {number}", remedy):
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
    settings = {"trials": 75, "epochs": 30, "scheduler": "rounds(3)", "sampler": sampler}
    pj.search(task, SPACE, out=tmp_path / "whole", **settings)
    for resume in (False, True):
        show = StopInRound(2)
        stopping.search(task, SPACE, out=tmp_path / "run", resume=resume, callbacks=[show], stop=show.stop, **settings)
        run = json.loads((tmp_path / "run" / "run.json").read_text())
        assert len(run["rounds"]) == 2
        lines = map(json.loads, (tmp_path / "run" / "decisions.jsonl").read_text().splitlines())
        assert [len(line["add"]["learning_rate"]) for line in lines] == [one["trials"] for one in run["rounds"]]
    show = StopInRound(1, at_once=True)  # nothing of the second round is forgotten
    stopping.search(task, SPACE, out=tmp_path / "run", resume=True, callbacks=[show], stop=show.stop, **settings)
    assert len(json.loads((tmp_path / "run" / "run.json").read_text())["rounds"]) == 2
    last = pj.search(task, SPACE, out=tmp_path / "run", resume=True, **settings)
    assert_same_files(tmp_path / "whole", tmp_path / "run")
    assert last.summary["steps_run"] < last.summary["model_steps"]


def test_state_without_its_run_json_is_not_another_runs(task, tmp_path):
    search(task, tmp_path / "run", stop_at=40)
    (tmp_path / "run" / "run.json").unlink()
    with refused("no run.json", error=Exception):
        search(task, tmp_path / "run", epochs=9)


def test_another_array_of_a_task_of_ones_own_is_refused(tmp_path):
    def task(data):
        loss = lambda state, hparams, data: (state, {"loss": data["at"] + hparams["x"]})
        return pj.Task(lambda key, hparams, data: key, loss, {"at": data})

    space = {"x": pj.uniform(0, 1)}
    pj.search(task(3.0), space, trials=3, epochs=1, out=tmp_path / "run")
    with refused("arrays differs"):
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
