"""One model by hand, as a user meets it: scripts, the keyboard, the journal and its replay."""

import contextlib
import dataclasses
import json
import os
import pty
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import popjax as pj
from popjax.commands.experiment import Experiment
from popjax.store.files import read_json, write_json

SCRIPT = """# warm up first
go 3
learning_rate=0.03
go 2
learning_rate*=0.5
momentum=0.95
back 2
watch
go 3
save
"""


def journal(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def sat(command, tmp_path):
    """A finished session on wine."""
    (tmp_path / "script").write_text(SCRIPT)
    process = command("babysit", "--dataset", "wine", "--script", "script", "--out", "run", "--set", "hidden=20")
    assert (process.returncode, process.stderr) == (0, "")
    return process


def test_a_script_steers_and_the_journal_has_it_all(sat, tmp_path):
    lines = journal(tmp_path / "run" / "journal.jsonl")
    assert [line["command"] for line in lines] == [
        *("start", "go 3", None, None, None, "learning_rate=0.03", "go 2", None, None),
        *("learning_rate*=0.5", "momentum=0.95", "back 2", "watch", "go 3", None, None, None, "save"),
    ]
    assert [line["epoch"] for line in lines if line["command"] is None] == [1, 2, 3, 4, 5, 4, 5, 6]
    assert [line["learning_rate"] for line in lines if line["command"] is None] == [0.01] * 3 + [0.03] * 2 + [0.015] * 3
    assert set(lines[2]) == {
        *("epoch", "learning_rate", "command", "train_loss", "val_loss", "val_accuracy", "val_balanced_accuracy")
    }
    assert lines[0]["hparams"]["hidden"] == 20
    watched = sat.stdout.partition("momentum = 0.95")[2].partition("gradient_norm")[0]
    assert "learning_rate 0.015" in watched
    assert "momentum 0.95" in watched
    for word in ("gradient_norm", "update_to_weight hidden.0", "saved: run/best", "epoch   6  train_loss"):
        assert word in sat.stdout
    assert "\x1b" not in sat.stdout
    assert max(map(len, sat.stdout.splitlines())) < 80


def test_the_journal_is_what_the_library_does(sat, tmp_path):
    """The same commands through Session give the metrics of the journal, bit for bit; and the saved model predicts."""
    from popjax.data.dataset import built_in

    first, *rest = journal(tmp_path / "run" / "journal.jsonl")
    session = pj.Session(pj.supervised(built_in("wine")), first["hparams"])
    session.train(3)
    session.set(learning_rate=0.03)
    session.train(2)
    session.set(learning_rate=0.015, momentum=0.95)
    session.back(2)
    session.train(3)
    recorded = [line["val_loss"] for line in rest if line["command"] is None]
    assert session.curves["val_loss"].tolist() == [*recorded[:3], *recorded[5:]]
    winner = pj.load_best(tmp_path / "run")
    assert winner.hparams["momentum"] == 0.95
    wine = built_in("wine")
    assert (winner.predict(wine.x) == np.array(wine.classes)[wine.y]).mean() > 0.9
    kernel = winner.arrays["params.hidden.0.kernel"]
    assert kernel[0].tobytes() == session.state.params["hidden"][0]["kernel"].tobytes()


def test_a_replay_has_the_same_bits_and_says_so(sat, command, tmp_path):
    process = command("babysit", "--replay", "run", "--out", "again")
    assert process.returncode == 0, process.stderr
    said = [line for line in process.stdout.splitlines() if line.startswith(">")]
    assert said == ["> learning_rate=0.03", "> learning_rate*=0.5", "> momentum=0.95", "> back 2"]
    assert "the same curve as in the journal, bit for bit, over 6 epochs" in process.stdout
    first, second = (journal(tmp_path / name / "journal.jsonl") for name in ("run", "again"))
    epochs = [[line for line in lines if line["command"] is None] for lines in (first, second)]
    assert epochs[0] == epochs[1]
    tampered = (tmp_path / "run" / "journal.jsonl").read_text().replace('": 0.015}]]', '": 0.018}]]')
    (tmp_path / "tampered.jsonl").write_text(tampered)
    process = command("babysit", "--replay", "tampered.jsonl", "--out", "other")
    assert "differs from the journal's, first at epoch 4" in process.stdout


def test_a_session_is_taken_up_again(command, tmp_path):
    """Cut in two, also by a kill in the middle of a line, it has the epochs that it has in one piece."""
    whole = "go 2\nlearning_rate=0.03\ngo 2\nback 1\nlearning_rate*=0.5\ngo 2\n"
    (tmp_path / "whole").write_text(whole)
    (tmp_path / "one").write_text(whole.split("back")[0])
    (tmp_path / "two").write_text("back" + whole.split("back")[1])
    command("babysit", "--dataset", "wine", "--script", "whole", "--out", "at_once")
    first = command("babysit", "--dataset", "wine", "--script", "one", "--out", "begun")
    assert "babysit --resume begun/journal.jsonl\nagain: " in first.stdout
    with (tmp_path / "begun" / "journal.jsonl").open("a") as file:
        file.write('{"epoch": 5, "comm')
    second = command("babysit", "--resume", "begun", "--script", "two", "--out", "ended")
    assert second.returncode == 0, second.stderr
    assert "the same curve as in the journal, bit for bit, over 4 epochs" in second.stdout
    one, other = (
        [line for line in journal(tmp_path / name / "journal.jsonl") if line["command"] is None]
        for name in ("at_once", "ended")
    )
    assert one == other
    rest = command("babysit", "--resume", "ended", "--out", "to_the_horizon")
    assert "epoch  20 " in rest.stdout
    assert "epoch  21 " not in rest.stdout


def test_it_goes_on_from_a_search(command, tmp_path):
    """The winner's hyperparameters, and its curve: the same key, exact widths instead of masked ones."""
    command("sweep", "--dataset", "wine", "--trials", 8, "--epochs", 3, "--out", "search", "--optimizer", "adam")
    results = pj.Results.load(tmp_path / "search")
    for arguments, trial in (((), results.best.trial), (("--trial", 5), 5)):
        process = command("babysit", "--from", "search", *arguments, "--epochs", 3, "--out", f"sat{trial}")
        assert process.returncode == 0, process.stderr
        lines = [line for line in journal(tmp_path / f"sat{trial}" / "journal.jsonl") if line["command"] is None]
        curve = [line["val_loss"] for line in lines]
        assert curve == pytest.approx(results.curves["val_loss"][trial].tolist(), rel=1e-3)
        assert lines[0]["learning_rate"] == results.points["learning_rate"][trial]


@contextlib.contextmanager
def at_most(seconds, command, keyboard, place):
    """A process that is killed after so long, so that who reads its output comes to an end."""
    with subprocess.Popen(command, stdin=keyboard, stdout=subprocess.PIPE, cwd=place, text=True) as process:
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        yield process
        timer.cancel()


def test_commands_are_taken_from_a_terminal_while_it_trains(tmp_path):
    """Typed during an epoch, a change acts at its end; an empty line pauses; a mistake is told and goes on."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "popjax.babysit", "--dataset", "wine", "--epochs", "100000", "--out", "run"]
    with at_most(120, command, follower, tmp_path) as process:
        seen = []

        def until(word):
            for line in process.stdout:
                seen.append(line)
                if word in line:
                    return line
            raise AssertionError(f"{word!r} was not printed: {''.join(seen)[-2000:]}")

        until("nothing is trained yet: an empty line trains 100,000 epochs")
        os.write(leader, b"help\n")
        until("watch | save | help | quit")
        assert not (tmp_path / "run" / "journal.jsonl").read_text().count("train_loss")
        os.write(leader, b"\n")
        until("epoch   3 ")
        os.write(leader, b"learning_rate=0.5\n")
        until("learning_rate = 0.5 from epoch")
        until("train_loss")
        os.write(leader, b"hidden=7\nnonsense\n\n")
        until("hidden fixes a shape or code")
        until("unknown command 'nonsense'; help lists them, such as go 5")
        os.write(leader, b"go 2\n")
        os.write(leader, b"exit\n")
        until("journal: run/journal.jsonl")
        process.wait(60)
    os.close(leader)
    os.close(follower)
    assert process.returncode == 0
    lines = journal(tmp_path / "run" / "journal.jsonl")
    change = next(i for i, line in enumerate(lines) if line["command"] == "learning_rate=0.5")
    assert lines[change - 1]["learning_rate"] == 0.01
    assert lines[change + 1] | {"learning_rate": 0.5, "command": None} == lines[change + 1]
    assert lines[-1]["command"] == "quit"


@pytest.mark.parametrize("columns", [60, 79, 140])
def test_the_same_metrics_stand_in_every_line_and_fit(tmp_path, columns):
    """However many digits their values have: a learning rate of 0.3 takes the loss from 5.3 to 6.519e-09."""
    arguments = [sys.executable, "-m", "popjax.babysit", "--dataset", "wine", "--set", "learning_rate=0.3"]
    environment = os.environ | {"COLUMNS": str(columns)}
    kwargs = {"input": "go 40\n", "capture_output": True, "text": True, "cwd": tmp_path, "env": environment}
    lines = subprocess.run(arguments, **kwargs).stdout.splitlines()
    shown = [line for line in lines if line.startswith("epoch ")]
    assert len(shown) == 40
    assert len({tuple(word for word in line.split() if word[0].isalpha()) for line in shown}) == 1
    assert max(map(len, shown)) < columns
    assert ("val_balanced_accuracy" in shown[0]) == (columns == 140)


def test_ctrl_c_tells_where_the_journal_is(tmp_path):
    command = [sys.executable, "-m", "popjax.babysit", "--dataset", "wine", "--out", "run", "--script", "script"]
    (tmp_path / "script").write_text("go 100000\n")
    with at_most(120, command, subprocess.DEVNULL, tmp_path) as process:
        next(line for line in process.stdout if line.startswith("epoch   3 "))
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        process.wait(60)
    assert process.returncode == 130
    assert "journal: run/journal.jsonl\ngo on: " in rest
    assert rest.endswith("--replay run/journal.jsonl\n")


def test_commands_are_piped_in(tmp_path):
    arguments = [sys.executable, "-m", "popjax.babysit", "--dataset", "wine", "--out", "run"]
    process = subprocess.run(arguments, input="go 2\n", capture_output=True, text=True, cwd=tmp_path)
    assert process.returncode == 0
    assert [line["epoch"] for line in journal(tmp_path / "run" / "journal.jsonl")] == [0, 0, 1, 2]


def test_a_diverged_model_is_told_and_exits_1(command, tmp_path):
    (tmp_path / "script").write_text("go 1\nlearning_rate=1e30\ngo 5\n")
    process = command("babysit", "--dataset", "wine", "--script", "script", "--out", "run")
    assert process.returncode == 1
    assert "diverged: go back and lower the learning rate" in process.stdout
    assert journal(tmp_path / "run" / "journal.jsonl")[-1]["val_loss"] is None


def start(hparams, **others):
    arguments = dataclasses.asdict(Experiment(dataset="wine"))
    line = {"epoch": 0, "learning_rate": 0.1, "command": "start", "arguments": arguments | others}
    return json.dumps(line | {"hparams": hparams, "epochs": 3, "trial": 0}) + "\n"


BAD = [
    (["--from", "nothing"], "'nothing' holds no finished run", ""),
    (["--from", "held", "--trial", 99], "--trial 99", "trials 0..3"),
    (["--trial", 3], "--trial 3", "--from"),
    (["--set", "learning_rate"], "'learning_rate'", "name=value"),
    (["--set", "learning_rate=log_uniform(1e-4,1)"], "log_uniform(1e-4,1)", "learning_rate=0.0001"),
    (["--set", "lerning_rate=0.1"], "lerning_rate is read by nothing", "; did you mean learning_rate?"),
    (["--set", "hiden=20"], "hiden is read by nothing", "; did you mean hidden?"),
    (["--epochs", 0], "--epochs 0", "at least 1"),
    (["--seed", -1], "--seed -1", "0 <= seed"),
    (["--missing", "guess"], "'guess'", "median"),
    (["--script", "nothing.txt"], "'nothing.txt'", "No such file"),
    (["--script", "bad.txt", "--dataset", "wine"], "line 3: unknown command 'jump 5'", "help lists them, such as go 5"),
    (["--script", "shape.txt", "--dataset", "wine"], "hidden fixes a shape", "begin anew"),
    (["--script", "far.txt", "--dataset", "wine"], "back 9", "give at most 1"),
    (["--replay", "nothing.jsonl"], "'nothing.jsonl'", "No such file"),
    (["--replay", "unknown.jsonl"], "momentumm is no hyperparameter", "momentum"),
    (["--replay", "named.jsonl"], "momentumm is read by nothing", "leave it out"),
    (["--replay", "text.jsonl"], "line 1 is no line of a journal", "remove it"),
    (["--replay", "headless.jsonl"], "line 1 does not start it", "whole journal"),
    (["--replay", "file.jsonl"], "over a file, which must be given again", "--replay file.jsonl --dataset /etc/passwd"),
    (["--replay", "module.jsonl"], "a task of your own, which must be given again", "--task os:system"),
    (["--replay", "damaged.jsonl"], "the run's seed is 'x'", "train it again"),
    (["--replay", "empty.jsonl"], "'empty.jsonl' is empty", "journal.jsonl"),
    (["--replay", "named.jsonl", "--set", "momentum=1"], "--replay and --set exclude each other", ""),
    (["--resume", "named.jsonl", "--set", "momentum=1"], "--resume and --set exclude each other", ""),
    (["--resume", "named.jsonl", "--from", "run"], "--resume and --from exclude each other", ""),
    (["--resume", "named.jsonl", "--epochs", "5"], "--resume and --epochs exclude each other", ""),
    (["--replay", "named.jsonl", "--seed", "5"], "--replay and --seed exclude each other", ""),
    (["--resume", "named.jsonl", "--replay", "named.jsonl"], "--replay and --resume exclude each other", ""),
    (["--out", "sat"], "'sat' holds a journal", "another directory"),
    (["--dataset", "irises"], "'irises'", "digits, wine"),
]


@pytest.fixture(scope="module")
def traps(tmp_path_factory):
    """Files that bad input names."""
    place = tmp_path_factory.mktemp("traps")
    pj.search(pj.objective(lambda key, h: {"loss": h["x"]}), {"x": pj.uniform(0, 1)}, trials=4, out=place / "held")
    run = read_json(place / "held" / "run.json")
    write_json(place / "held" / "run.json", run | json.loads(start({})))
    (place / "bad.txt").write_text("go 1\n# a comment\njump 5\n")
    (place / "shape.txt").write_text("hidden=9\n")
    (place / "far.txt").write_text("go 1\nback 9\n")
    known = {"learning_rate": 0.1, "momentum": 0.9}
    command = json.dumps({"epoch": 0, "learning_rate": 0.1, "command": "momentumm=0.5"})
    (place / "unknown.jsonl").write_text(start(known) + command)
    (place / "named.jsonl").write_text(start(known | {"momentumm": 0.9}))
    (place / "text.jsonl").write_text("hello\n")
    (place / "headless.jsonl").write_text(command + "\n")
    (place / "file.jsonl").write_text(start(known, dataset="/etc/passwd"))
    (place / "module.jsonl").write_text(start(known, task="os:system"))
    (place / "damaged.jsonl").write_text(start(known, seed="x"))
    (place / "empty.jsonl").write_text("")
    (place / "sat").mkdir()
    (place / "sat" / "journal.jsonl").write_text(start(known))
    return place


@pytest.mark.parametrize(("arguments", "names", "remedy"), BAD, ids=lambda value: " ".join(map(str, value))[:60])
def test_bad_input_is_one_line_and_exit_2(refused_in_one_line, traps, arguments, names, remedy):
    refused_in_one_line("babysit", *arguments, says=(names, remedy), cwd=traps)


def test_a_trial_of_a_mixed_search_needs_not_read_what_others_read(command, tmp_path):
    """An adam trial of a search over sgd too: its momentum is left out; the schedule has the search's epochs."""
    sgd_or_adam = ["--set", "optimizer=choice(sgd,adam)", "--set", "momentum=uniform(0.5,0.9)", "--schedule", "cosine"]
    process = command("sweep", "--dataset", "wine", "--trials", 8, "--epochs", 4, *sgd_or_adam, "--out", "search")
    assert process.returncode == 0, process.stderr
    results = pj.Results.load(tmp_path / "search")
    trial = results.points["optimizer"].tolist().index("adam")
    process = command("babysit", "--from", "search", "--trial", trial, "--out", "sat")
    assert process.returncode == 0, process.stderr
    lines = [line for line in journal(tmp_path / "sat" / "journal.jsonl") if line["command"] is None]
    curve = [line["val_loss"] for line in lines]
    assert curve == pytest.approx(results.curves["val_loss"][trial].tolist(), rel=1e-3)


def test_the_end_of_the_input_trains_nothing_more(tmp_path):
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "popjax.babysit", "--dataset", "wine", "--epochs", "2", "--out", "run"]
    with at_most(120, command, follower, tmp_path) as process:
        os.write(leader, b"\n")
        for line in process.stdout:
            if line.startswith("epoch   2 "):
                os.write(leader, b"\x04")
                break
        process.stdout.read()
    os.close(leader)
    os.close(follower)
    assert process.returncode == 0
    assert [line["epoch"] for line in journal(tmp_path / "run" / "journal.jsonl") if line["command"] is None] == [1, 2]
