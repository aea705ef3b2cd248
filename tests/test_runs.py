"""Many runs in a person's hands: they are listed, go on by a short command, are cleaned, and their options kept."""

import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest
import stopping
import warm

import popjax as pj

GOLDEN = Path(__file__).parent / "golden"
WINE = ("--dataset", "wine", "--epochs", 2)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder with finished runs, wine and rows, of a built-in dataset and of a file; not to be changed."""
    place = tmp_path_factory.mktemp("shelf")
    (place / "home").mkdir()
    (place / "rows.csv").write_text("a,b,y\n" + "".join(f"{n},{n % 7},{n % 2}\n" for n in range(60)))
    environment = {"HOME": str(place / "home"), "UV": "", **warm.CACHE}
    for name, words in (("wine", WINE), ("rows", ("--dataset", "rows.csv", "--target", "y", "--epochs", 2))):
        done = warm.command(
            "sweep", "--trials", 6, *words, "--out", f"runs/{name}", "--quiet", cwd=place, environment=environment
        )
        assert done.returncode == 0, done.stderr
    return place


@pytest.fixture
def mine(shelf, tmp_path):
    """A copy of them in the directory of the commands."""
    shutil.copytree(shelf / "runs", tmp_path / "runs")
    shutil.copy(shelf / "rows.csv", tmp_path)
    return tmp_path / "runs"


def entries(command, *arguments):
    listed = command("ls", *arguments, "--json")
    assert (listed.returncode, listed.stderr) == (0, ""), listed.stderr
    return {entry["path"]: entry for entry in json.loads(listed.stdout)}


def files(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.name != ".lock")


def test_runs_are_listed_with_what_they_found(command, mine):
    """The one written last first, nested ones too; each figure is that of the run's own files."""
    (mine / "old").mkdir()
    shutil.copytree(mine / "wine", mine / "old" / "wine")
    for path in (mine / "old").rglob("*"):
        os.utime(path, (1e9, 1e9))
    found = entries(command)
    assert list(found)[-1] == "runs/old/wine"
    assert set(found) == {"runs/old/wine", "runs/wine", "runs/rows"}
    for path, entry in found.items():
        results = pj.Results.load(mine.parent / path)
        counts = {"complete": len(results.order), "diverged": int(results.diverged.sum())}
        assert entry["trials"] == {status: count for status, count in counts.items() if count}
        assert (entry["state"], entry["metric"]) == ("finished", str(results.metric))
        assert (entry["value"], entry["hparams"]) == (results.best.value, results.best.hparams)
        assert entry["test"] == results.summary["test_value"]
        assert entry["size"] == sum(file.stat().st_size for file in (mine.parent / path).rglob("*") if file.is_file())
    assert found["runs/rows"]["dataset"] == "rows.csv"
    shown = command("ls").stdout.splitlines()
    assert len(shown) == 4
    assert f"{datetime.datetime.fromtimestamp(1e9):%Y-%m-%d %H:%M}  wine" in shown[-1]
    assert " complete" in shown[-1]
    assert entries(command, "runs/old").keys() == {"runs/old/wine"}


def test_how_each_ended_is_told(command, mine):
    """Also of those that are damaged, of another format, of a session, in use, and of one that a longer one was."""
    for name in ("plain", "plain-interrupted", "session"):
        shutil.copytree(next(GOLDEN.glob(f"*-{name}")), mine / name)
    for name in ("broken", "ancient", "longer", "empty"):
        shutil.copytree(mine / "wine", mine / name)
    (mine / "broken" / "summary.json").write_text("{")
    stopping.edit(mine / "ancient" / "run.json", lambda run: run.update(format=2))
    stopping.edit(mine / "longer" / "run.json", lambda run: run.update(trials=99))
    (mine / "empty" / "summary.json").unlink()
    minutes = command("sweep", "--trials", 6, *WINE, "--out", "runs/minutes", "--minutes", 1e-6, "--quiet")
    assert minutes.returncode in (0, 1), minutes.stderr
    with stopping.held(mine / "rows"):
        states = {Path(path).name: entry["state"] for path, entry in entries(command).items()}
    assert states.pop("broken").startswith("cannot read 'runs/broken/summary.json'")
    assert "format 2" in states.pop("ancient")
    assert states == {
        "wine": "finished",
        "rows": "in use",
        "plain": "finished",
        "plain-interrupted": "unfinished",
        "session": "session",
        "longer": "unfinished",
        "empty": "unfinished",
        "minutes": "stopped by --minutes",
    }
    assert entries(command)["runs/rows"]["state"] == "finished"


def test_a_listing_of_strange_folders_is_one_line(command, tmp_path, refused_in_one_line):
    refused_in_one_line("ls", says=["'runs' is no folder"])
    (tmp_path / "runs").mkdir()
    assert command("ls").stdout == "there are no runs in 'runs'\n"
    assert entries(command) == {}
    (tmp_path / "runs" / "a\x1b[31m").mkdir()
    run = tmp_path / "runs" / "a\x1b[31m"
    known = json.loads(next(GOLDEN.glob("*-plain/run.json")).read_text())
    wrong = {"summary": {"best": [], "trials": "x", "test_value": {}}}
    wrong["run"] = {"format": known["format"], "rank": 3, "arguments": {"dataset": FORGED}}
    for name, content in wrong.items():
        (run / f"{name}.json").write_text(json.dumps(content))
    listed = command("ls")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "\x1b" not in listed.stdout
    assert len(listed.stdout.splitlines()) == 2, "a dataset's name makes no row of its own"
    assert len(listed.stdout) < 1000


FORGED = "x\nruns/trusted  finished" + 5000 * "y"


def test_no_run_of_a_stranger_stops_a_listing(command, mine):
    """A pipe, a link, a device, a file too large, numbers of no calendar and no JSON: each is one row."""
    for name in ("pipe", "link", "device", "huge", "far", "nan", "deep"):
        shutil.copytree(mine / "wine", mine / name)
    for name in ("pipe", "link", "device", "huge"):
        (mine / name / "run.json").unlink()
    os.mkfifo(mine / "pipe" / "run.json")
    (mine / "link" / "run.json").symlink_to(mine / "wine" / "run.json")
    (mine / "device" / "run.json").symlink_to("/dev/zero")
    with (mine / "huge" / "run.json").open("wb") as file:
        file.truncate(2**30)
    os.utime(mine / "far" / "summary.json", (1e12, 1e12))
    summary = (mine / "nan" / "summary.json").read_text()
    (mine / "nan" / "summary.json").write_text(summary.replace('"hparams": {', '"hparams": {"a": NaN,'))
    (mine / "deep" / "summary.json").write_text('{"best": {"hparams": ' + 5000 * '{"a": ' + "1" + 5001 * "}" + "}")
    found = entries(command, "runs")
    assert {found[f"runs/{name}"]["state"] for name in ("pipe", "link", "device", "huge")} == {
        "run.json is no plain file, or too large to be read"
    }
    assert found["runs/wine"]["state"] == found["runs/far"]["state"] == "finished"
    assert command("ls").returncode == 0


def test_a_listing_beside_runs_that_write_and_begin(command, mine):
    """Files that come and go meanwhile are no error, and asking whether a directory is in use keeps no process out."""
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"]})
    asked = dict(space={"x": pj.uniform(0, 1)}, trials=2, out=mine / "own")
    pj.search(task, **asked)
    listed = []
    asks = threading.Thread(target=lambda: listed.extend(set(entries(command)) for _ in range(4)))
    asks.start()
    while asks.is_alive():
        (mine / "wine" / "new").write_text("{}")
        os.replace(mine / "wine" / "new", mine / "wine" / "other.json")
        pj.search(task, resume=True, **asked)
    assert listed == 4 * [{"runs/wine", "runs/rows", "runs/own"}]


@pytest.mark.kill
def test_a_killed_sweep_goes_on_by_a_short_command(command, python, tmp_path):
    """To the files of one that was never killed; nothing that changes no result is inherited, such as --json."""
    (tmp_path / "space.toml").write_text('learning_rate = "log_uniform(1e-3, 1e-1)"\nhidden = "integers(3, 9)"\n')
    words = ["--trials", 24, "--epochs", 3, "--dataset", "wine", "--optimizer", "choice(adam,sgd)", "--seed", 5]
    words += ["--space", "space.toml", "--scheduler", "halving", "--metric", "val_loss", "--json"]
    whole = command("sweep", *words, "--out", "whole")
    assert whole.returncode == 0, whole.stderr
    died = python(stopping.SWEEP, *words, "--out", "run", 9)
    assert died.returncode == -signal.SIGKILL, died.stderr
    (tmp_path / "space.toml").unlink()
    again = command("resume", "run")
    assert again.returncode == 0, again.stderr
    assert "winner: trial" in again.stdout
    stopping.same_files(tmp_path / "run", tmp_path / "whole")
    then, now = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("whole", "run"))
    assert now["command"] == then["command"]
    assert (then["arguments"]["json"], now["arguments"]["json"]) == (True, False)


def test_a_finished_one_goes_on_only_to_more(command, mine, refused_in_one_line):
    """To what a sweep of so many trials and epochs would have been."""
    refused_in_one_line("resume", "runs/wine", says=["'runs/wine' is finished", "--trials or --epochs"])
    refused_in_one_line("resume", "runs/wine", "--minutes", 1, says=["is finished"])
    refused_in_one_line("resume", "runs/wine", "--trials", 3, says=["trials was 6, now 3"])
    for raised in (("--trials", 9), ("--epochs", 3)):
        more = command("resume", "runs/wine", *raised, "--quiet")
        assert more.returncode == 0, more.stderr
    whole = command("sweep", "--dataset", "wine", "--trials", 9, "--epochs", 3, "--out", "whole", "--quiet")
    assert whole.returncode == 0, whole.stderr
    stopping.same_files(mine / "wine", mine.parent / "whole", ("trials.parquet", "curves.parquet"))
    assert sum(entries(command)["runs/wine"]["trials"].values()) == 9


def test_files_and_tasks_are_named_again(command, mine, refused_in_one_line):
    """What a directory names is not opened unasked; the command that is printed does it."""
    says = ["search was over a file, which must be given again"]
    says += ["resume runs/rows --trials 8 --dataset rows.csv --target y"]
    refused_in_one_line("resume", "runs/rows", "--trials", 8, says=says)
    done = command("resume", "runs/rows", "--trials", 8, "--dataset", "rows.csv", "--quiet")
    assert done.returncode == 0, done.stderr
    (mine.parent / "rows.csv").write_text("a,b,y\n" + "".join(f"{n},{n % 5},{n % 2}\n" for n in range(60)))
    other = command("resume", "runs/rows", "--trials", 9, "--dataset", "rows.csv", "--quiet")
    assert (other.returncode, "data: data differs" in other.stderr) == (2, True)
    (mine.parent / "own.py").write_text(OWN)
    task = ("--task", "own:task")
    first = command("sweep", *task, "--set", "x=uniform(0,1)", "--trials", 4, "--out", "runs/own", "--quiet")
    assert first.returncode == 0, first.stderr
    refused_in_one_line("resume", "runs/own", "--trials", 6, says=["a task of your own", "--task own:task"])
    second = command("resume", "runs/own", "--trials", 6, *task, "--quiet")
    assert second.returncode == 0, second.stderr
    assert len(pj.Results.load(mine / "own").points["x"]) == 6


OWN = """
import popjax as pj
task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
"""


def test_what_cannot_go_on_says_so(command, mine, refused_in_one_line, tmp_path):
    refused_in_one_line("resume", "nowhere", says=["'nowhere' is no directory of a sweep"])
    shutil.copytree(next(GOLDEN.glob("*-session")), mine / "session")
    refused_in_one_line("resume", "runs/session", says=["holds a session", "babysit --resume"])
    pj.search(
        pj.objective(lambda key, hparams: {"loss": hparams["x"]}), {"x": pj.uniform(0, 1)}, trials=2, out=mine / "lib"
    )
    refused_in_one_line("resume", "runs/lib", says=["no command of popjax made it"])
    run = mine / "wine" / "run.json"
    known = run.read_text()
    for name, value in (("epochs", "many"), ("set", "x=1"), ("folds", True), ("at", "worst"), ("live", [])):
        stopping.edit(run, lambda run, wrong={name: value}: run["arguments"].update(wrong))
        refused_in_one_line("resume", "runs/wine", "--trials", 8, says=[f"the run's {name} is {value!r}", "damaged"])
        run.write_text(known)
    stopping.edit(run, lambda run: run.update(lanes=0))
    refused_in_one_line("resume", "runs/wine", "--trials", 8, says=["lanes=0"], code=3)
    run.write_text(known)
    refused_in_one_line(
        "resume", "runs/wine", "--trials", 8, "--test", "rows.csv", says=["--test: the dataset wine has rows"]
    )
    stopping.edit(run, lambda run: run.update(space=[1]))
    refused_in_one_line("resume", "runs/wine", "--trials", 8, says=["no usable 'space'"], code=3)
    with stopping.held(mine / "rows"):
        refused_in_one_line(
            *("resume", "runs/rows", "--dataset", "rows.csv", "--trials", 9), says=["in use by process"], code=4
        )


def test_a_cleaned_run_keeps_all_but_its_future(command, mine, refused_in_one_line):
    """Most of its bytes go; it is read, reported, asked and re-tested as before, and says why it does not go on."""
    before = entries(command)["runs/wine"]
    kept = {name: (mine / "wine" / name).read_bytes() for name in files(mine / "wine") if name.parts[0] != "state"}
    refused_in_one_line("clean", "runs/wine", says=["say --yes", "of 1 run (runs/wine)"])
    done = command("clean", "runs/wine", "runs/rows", "runs/wine", "--yes")
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", 2)
    after = entries(command)["runs/wine"]
    assert after["size"] < before["size"] - 100_000
    assert after.pop("state") == f"{before.pop('state')}, cleaned"
    assert {name: value for name, value in after.items() if name not in ("size", "written")} == {
        name: value for name, value in before.items() if name not in ("size", "written")
    }
    for name, content in kept.items():
        assert (mine / "wine" / name).read_bytes() == content
    says = ["it was cleaned", "start a new run in another directory"]
    refused_in_one_line("resume", "runs/wine", "--trials", 8, says=says)
    refused_in_one_line("sweep", "--trials", 8, *WINE, "--out", "runs/wine", "--resume", says=says)
    for words in (("report", "runs/wine"), ("predict", "runs/rows", "rows.csv"), ("retest", "runs/wine", "--top", 2)):
        assert command(*words).returncode == 0, words
    assert pj.Results.load(mine / "wine").best.value == before["value"]
    assert command("clean", "runs/wine", "--yes").stdout == "runs/wine: 0.0 MB dropped\n"


def test_only_what_is_finished_and_free_is_cleaned(mine, refused_in_one_line):
    """Nothing goes of any of them if one is not, and of a link nothing at all."""
    shutil.copytree(mine / "wine", mine / "killed")
    (mine / "killed" / "summary.json").unlink()
    before = files(mine)
    refused_in_one_line(
        "clean", "runs/wine", "runs/killed", "--yes", says=["'runs/killed' is not finished (unfinished)"]
    )
    refused_in_one_line("clean", "runs", "--yes", says=["'runs' holds no run"])
    refused_in_one_line("clean", says=["name the directories"])
    with stopping.held(mine / "wine"):
        refused_in_one_line("clean", "runs/rows", "runs/wine", "--yes", says=["in use"], code=4)
    assert files(mine) == before
    (mine / "wine" / "state").rename(mine / "elsewhere")
    (mine / "wine" / "state").symlink_to(mine / "elsewhere")
    refused_in_one_line("clean", "runs/wine", "--yes", says=["is a link"], code=3)
    assert list((mine / "elsewhere").iterdir())


KILLED = """
import os, pathlib, runpy, signal
unlink = pathlib.Path.unlink
def once(self):
    unlink(self)
    os.kill(os.getpid(), signal.SIGKILL)
pathlib.Path.unlink = once
runpy.run_module("popjax.clean", run_name="__main__")
"""


@pytest.mark.kill
def test_cleaning_that_is_killed_is_said_and_finished_by_the_next(command, python, mine, refused_in_one_line):
    died = python(KILLED, "runs/wine", "--yes")
    assert died.returncode == -signal.SIGKILL
    assert len(list((mine / "wine" / "state").iterdir())) > 1
    refused_in_one_line("resume", "runs/wine", "--trials", 8, says=["it was cleaned"])
    assert command("clean", "runs/wine", "--yes").returncode == 0
    assert [path.name for path in (mine / "wine" / "state").iterdir()] == ["cleaned"]


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", True), (b"\n", True), (b"y\n", False)])
def test_a_terminal_is_asked(mine, answer, left):
    terminal, of_process = os.openpty()
    os.write(terminal, answer)
    words = [sys.executable, "-m", "popjax.clean", "runs/wine"]
    done = subprocess.run(words, cwd=mine.parent, stdin=of_process, capture_output=True)
    assert (done.returncode, b"nothing is dropped" in done.stderr) == (0, left)
    assert b"MB of 1 run (runs/wine), which can then no longer be resumed? [y/N]" in done.stderr
    assert any((mine / "wine" / "state").glob("*.safetensors")) == left


CONFIG = """
dataset = "wine"
trials = 7
epochs = 2
track-top = 0
set = ["momentum=0.5"]
quiet = true

[space]
learning_rate = "log_uniform(1e-3, 1e-1)"
hidden = [4, 8]
depth = 2
decay = {scale = "uniform(0, 0.1)", when = {hidden = 8}}
"""


def test_options_come_from_a_file_and_the_command_line_comes_first(command, tmp_path):
    """The same bits as of the command that names them; its own --print-config is that file again."""
    (tmp_path / "mine.toml").write_text(CONFIG)
    done = command("sweep", "--config", "mine.toml", "--trials", 5, "--out", "run")
    assert done.returncode == 0, done.stderr
    (tmp_path / "space.toml").write_text(CONFIG.partition("[space]")[2])
    words = ["--space", "space.toml", "--set", "momentum=0.5", *WINE, "--trials", 5, "--out", "plain", "--quiet"]
    assert command("sweep", *words).returncode == 0
    stopping.same_files(tmp_path / "run", tmp_path / "plain")
    printed = command("sweep", "--config", "mine.toml", "--print-config")
    assert (printed.returncode, printed.stderr) == (0, "")
    (tmp_path / "again.toml").write_text(printed.stdout)
    assert command("sweep", "--config", "again.toml", "--print-config").stdout == printed.stdout
    content = tomllib.loads(printed.stdout)
    assert (content["trials"], content["dataset"], content["quiet"]) == (7, "wine", True)
    assert pj.Space.from_dict(content["space"])["decay"] == pj.uniform(0, 0.1)
    (tmp_path / "sets.toml").write_text('set = ["optimizer=choice(sgd,adam)", "hidden=3"]')
    for more, left in ((["--optimizer", "adam"], ["hidden=3"]), (["--set", "depth=1"], None)):
        content = tomllib.loads(command("sweep", "--config", "sets.toml", *more, "--print-config").stdout)
        assert content["set"] == (left or ["optimizer=choice(sgd,adam)", "hidden=3", "depth=1"])
    both = command("sweep", "--config", "sets.toml", "--space", "space.toml", "--print-config").stdout
    assert tomllib.loads(both)["space"]["hidden"] == "choice(4, 8)", (
        "a space of the command line comes before the file's"
    )
    loud = command("sweep", "--config", "mine.toml", "--no-quiet", "--print-config")
    assert tomllib.loads(loud.stdout)["quiet"] is False, "also a switch is turned off by the command line"
    again = command("sweep", "--config", "again.toml", "--trials", 5, "--out", "again")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again" / "trials.parquet").read_bytes() == (tmp_path / "run" / "trials.parquet").read_bytes()


def test_the_options_of_a_plain_command_are_printed(command, tmp_path):
    """All of them, without the data being there; what it prints is what it is without the file."""
    words = ["--dataset", "missing.csv", "--target", 'a "b"\\', "--set", "hidden=3", "--optimizer", "choice(sgd,adam)"]
    printed = command("sweep", *words, "--ordered", "--minutes", 1.5, "--print-config")
    assert (printed.returncode, printed.stderr) == (0, "")
    content = tomllib.loads(printed.stdout)
    assert content["set"] == ["hidden=3", "optimizer=choice(sgd,adam)"]
    assert (content["target"], content["ordered"], content["minutes"]) == ('a "b"\\', True, 1.5)
    assert "space" not in content
    flags = command("sweep", "--help").stdout
    named = [line.strip("# ").partition(" =")[0] for line in printed.stdout.splitlines()]
    assert {"scheduler", "track-top", "live-host", "class-weight"} <= set(named)
    assert all(f"--{name}" in flags for name in named)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epoch = 3", ["unknown option 'epoch'", "did you mean epochs?"]),
        ("track_to = 3", ["did you mean track-top?"]),
        ('epochs = "3"', ["epochs is '3'", "a whole number"]),
        ("[epochs]\nlow = 1", ["epochs is {'low': 1}"]),
        ("minutes = true", ["minutes is True", "a number"]),
        ("folds = true", ["folds is True", "a whole number"]),
        ('set = "a=1"', ["set is 'a=1'", "a list of texts"]),
        ('rewrite = "slow"', ["rewrite is 'slow'", "one of fast, none"]),
        ("track_top = 1\ntrack-top = 2", ["with - and with _"]),
        ('config = "other.toml"', ["unknown option 'config'"]),
        ('[space]\nlearning_rate = "log(1)"', ["config 'c.toml': space: learning_rate: unknown scale"]),
        ("[space]\nhidden = {}", ["space: hidden"]),
        ("trials = 0", ["--trials 0: give at least 1"]),
        ("trials = ", ["cannot read the config 'c.toml'"]),
        ("a" * 2**20 + "=1", ["1,048,578 bytes; at most 1,048,576"]),
        (None, ["cannot read the config 'c.toml': No such file"]),
    ],
)
def test_a_hostile_file_of_options_is_one_line(tmp_path, refused_in_one_line, text, says):
    if text is not None:
        (tmp_path / "c.toml").write_text(text)
    refused_in_one_line("sweep", "--config", "c.toml", "--print-config", says=says)


def test_a_file_of_a_gigabyte_and_a_device_are_not_read(tmp_path, refused_in_one_line):
    with (tmp_path / "big.toml").open("wb") as file:
        file.truncate(2**30)
    os.mkfifo(tmp_path / "pipe.toml")
    for option in ("config", "space"):
        refused_in_one_line("sweep", f"--{option}", "big.toml", says=[f"the {option} 'big.toml': 1,073,741,824 bytes"])
        for name in ("pipe.toml", "/dev/zero", "."):
            refused_in_one_line("sweep", f"--{option}", name, says=["it is no file"])
