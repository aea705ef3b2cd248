"""One model by hand, as a user meets it: scripts, the keyboard, the log and its replay."""

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import soaked
from stopping import edit

import popjax as pj

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


def log(directory):
    """The lines of a log, without their digests."""
    lines = map(json.loads, (directory / "decisions.jsonl").read_text().splitlines())
    return [{name: value for name, value in line.items() if name != "check"} for line in lines]


def curves(directory):
    """Metric -> values by epoch."""
    table = pq.read_table(directory / "curves.parquet")
    return {name: table[name].to_pylist() for name in table.column_names[4:]}


def until(epoch):
    return {"until": [[0, 0, epoch]]}


def changed(**values):
    change = {"verb": "set", "trial": 0, "values": values}
    return {"set": [[0, values]], "notes": {"by": "user", "changes": [change]}}


@pytest.fixture
def sat(command, tmp_path):
    """A finished session on wine."""
    (tmp_path / "script").write_text(SCRIPT)
    process = command("babysit", "--dataset", "wine", "--script", "script", "--out", "run", "--set", "hidden=20")
    assert (process.returncode, process.stderr) == (0, "")
    return process


def test_a_script_steers_and_the_log_has_it_all(sat, tmp_path):
    begun, *lines = log(tmp_path / "run")
    assert begun["add"]["hidden"] == [20]
    assert lines == [
        *(until(1), until(2), until(3), changed(learning_rate=0.03), until(4), until(5)),
        *(changed(learning_rate=0.015), changed(momentum=0.95), {"back": 2}, {"watch": True}),
        *(until(4), until(5), until(6), {"save": True}),
    ]
    metrics = {"train_loss", "val_loss", "val_accuracy", "val_balanced_accuracy"}
    assert {name: len(values) for name, values in curves(tmp_path / "run").items()} == dict.fromkeys(metrics, 6)
    watched = sat.stdout.partition("momentum = 0.95")[2].partition("gradient_norm")[0]
    assert "learning_rate 0.015" in watched
    assert "momentum 0.95" in watched
    for word in ("gradient_norm", "update_to_weight hidden.0", "saved: run/best", "epoch   6  train_loss"):
        assert word in sat.stdout
    assert "\x1b" not in sat.stdout
    assert max(map(len, sat.stdout.splitlines())) < 80


def test_the_curves_are_what_the_library_does(sat, tmp_path):
    """The same commands through Session give the same metrics, bit for bit; and the saved model predicts."""
    began = {name: values[0] for name, values in log(tmp_path / "run")[0]["add"].items()}
    session = pj.Session(pj.supervised("wine"), began)
    session.train(3)
    session.set(learning_rate=0.03)
    session.train(2)
    session.set(learning_rate=0.015, momentum=0.95)
    session.back(2)
    session.train(3)
    assert {n: values.tolist() for n, values in session.curves.items()} == curves(tmp_path / "run")
    winner = pj.load_best(tmp_path / "run")
    assert winner.hparams["momentum"] == 0.95
    kernel = winner.arrays["params.hidden.0.kernel"]
    assert kernel[0].tobytes() == session.state.params["hidden"][0]["kernel"].tobytes()


def test_a_replay_has_the_same_bits_and_says_so(sat, command, tmp_path):
    process = command("babysit", "--replay", "run", "--out", "again")
    assert process.returncode == 0, process.stderr
    said = [line for line in process.stdout.splitlines() if line.startswith(">")]
    assert said == ["> learning_rate = 0.03", "> learning_rate = 0.015", "> momentum = 0.95", "> back 2"]
    assert "the same curve as in run, bit for bit, over 6 epochs" in process.stdout
    remarks = ({"watch": True}, {"save": True})
    assert log(tmp_path / "again") == [line for line in log(tmp_path / "run") if line not in remarks]
    assert curves(tmp_path / "again") == curves(tmp_path / "run")
    (tmp_path / "script").write_text(SCRIPT.replace("*=0.5", "*=0.6"))
    command("babysit", "--dataset", "wine", "--script", "script", "--out", "other", "--set", "hidden=20")
    shutil.copy(tmp_path / "run" / "curves.parquet", tmp_path / "other")
    process = command("babysit", "--replay", "other", "--out", "differs")
    assert "the curve differs from that in other, first at epoch 4" in process.stdout


def test_a_session_is_taken_up_again(command, tmp_path):
    """Cut in two, also by a kill in the middle of a line, it has the epochs that it has in one piece."""
    whole = "go 2\nlearning_rate=0.03\ngo 2\nback 1\nlearning_rate*=0.5\ngo 2\n"
    (tmp_path / "whole").write_text(whole)
    (tmp_path / "one").write_text(whole.split("back")[0])
    (tmp_path / "two").write_text("back" + whole.split("back")[1])
    command("babysit", "--dataset", "wine", "--script", "whole", "--out", "at_once")
    first = command("babysit", "--dataset", "wine", "--script", "one", "--out", "ended")
    assert "babysit --resume ended\nagain: " in first.stdout
    with (tmp_path / "ended" / "decisions.jsonl").open("a") as file:
        file.write('{"until": [[0, 0, 5')
    second = command("babysit", "--resume", "ended", "--script", "two")
    assert second.returncode == 0, second.stderr
    assert "resumed after epoch 4\nlearning_rate = 0.015 from epoch 4 on\nepoch   4  " in second.stdout
    assert curves(tmp_path / "ended") == curves(tmp_path / "at_once")
    assert log(tmp_path / "ended") == log(tmp_path / "at_once")
    rest = command("babysit", "--resume", "ended")
    assert "epoch  20 " in rest.stdout
    assert "epoch  21 " not in rest.stdout


@contextlib.contextmanager
def at_most(seconds, command, keyboard, place):
    """A process that is killed after so long, so that reading its output ends."""
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

        def said(word):
            for line in process.stdout:
                seen.append(line)
                if word in line:
                    return line
            raise AssertionError(f"{word!r} was not printed: {''.join(seen)[-2000:]}")

        said("nothing is trained yet: an empty line trains 100,000 epochs")
        os.write(leader, b"help\n")
        said("watch | save | help | quit")
        assert len(log(tmp_path / "run")) == 1
        os.write(leader, b"\n")
        said("epoch   3 ")
        os.write(leader, b"learning_rate=0.5\n")
        said("learning_rate = 0.5 from epoch")
        said("train_loss")
        os.write(leader, b"hidden=7\nnonsense\n\n")
        said("hidden fixes a shape or code")
        said("unknown command 'nonsense'; help lists them, such as go 5")
        os.write(leader, b"go 2\n")
        os.write(leader, b"exit\n")
        said("log: run/decisions.jsonl")
        process.wait(60)
    os.close(leader)
    os.close(follower)
    assert process.returncode == 0
    lines = log(tmp_path / "run")
    at = lines.index(changed(learning_rate=0.5))
    assert lines[at - 1]["until"][0][2] + 1 == lines[at + 1]["until"][0][2]
    assert [line for line in lines[1:] if line != lines[at]] == [until(n) for n in range(1, len(lines) - 1)]


@pytest.mark.parametrize("columns", soaked([79, 60, 140]))
def test_the_same_metrics_stand_in_every_line_and_fit(tmp_path, columns):
    """However many digits their values have: a learning rate of 0.2 takes the loss from 1.1 to 1.3e-08."""
    arguments = [sys.executable, "-m", "popjax.babysit", "--dataset", "wine", "--set", "learning_rate=0.2"]
    environment = os.environ | {"COLUMNS": str(columns)}
    kwargs = {"input": "go 40\n", "capture_output": True, "text": True, "cwd": tmp_path, "env": environment}
    lines = subprocess.run(arguments, **kwargs).stdout.splitlines()
    shown = [line for line in lines if line.startswith("epoch ")]
    assert len(shown) == 40
    assert len({tuple(word for word in line.split() if word[0].isalpha()) for line in shown}) == 1
    assert max(map(len, shown)) < columns
    assert ("val_balanced_accuracy" in shown[0]) == (columns == 140)


@pytest.mark.kill
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_the_epoch_end_and_tells_how_to_go_on(sent, code, command, tmp_path):
    arguments = [sys.executable, "-m", "popjax.babysit", "--dataset", "wine", "--out", "run", "--script", "script"]
    (tmp_path / "script").write_text("go 100000\n")
    with at_most(120, arguments, subprocess.DEVNULL, tmp_path) as process:
        next(line for line in process.stdout if line.startswith("epoch   3 "))
        process.send_signal(sent)
        rest = process.stdout.read()
        process.wait(60)
    assert process.returncode == code
    assert "log: run/decisions.jsonl\ngo on: " in rest
    assert rest.endswith("--replay run\n")
    trained = len(curves(tmp_path / "run")["val_loss"])
    none_left = [until(trained + 1), {"back": 1}]  # of an epoch that had not begun
    assert log(tmp_path / "run")[-1] == until(trained) or log(tmp_path / "run")[-2:] == none_left
    (tmp_path / "script").write_text("go 1\n")
    again = command("babysit", "--resume", "run", "--script", "script")
    assert f"resumed after epoch {trained}\nepoch {trained + 1:3} " in again.stdout


@pytest.mark.kill
def test_ctrl_c_ends_what_waits_for_a_line(tmp_path):
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "popjax.babysit", "--dataset", "wine", "--out", "run"]
    with at_most(120, command, follower, tmp_path) as process:
        next(line for line in process.stdout if line.startswith("nothing is trained yet"))
        process.stdout.read(len("epoch 0> "))
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        process.wait(60)
    os.close(leader)
    os.close(follower)
    assert process.returncode == 130
    assert "log: run/decisions.jsonl\n" in rest


def test_a_diverged_model_is_told_and_exits_1(command, tmp_path):
    (tmp_path / "script").write_text("go 1\nlearning_rate=1e30\ngo 5\n")
    process = command("babysit", "--dataset", "wine", "--script", "script", "--out", "run")
    assert process.returncode == 1
    assert "diverged: go back and lower the learning rate" in process.stdout
    assert np.isnan(curves(tmp_path / "run")["val_loss"][-1])


BAD = [
    (["--from", "nothing"], "'nothing' holds no finished run", ""),
    (["--from", "held", "--trial", 99], "--trial 99", "trials 0..3"),
    (["--trial", 3], "--trial 3", "--from"),
    (["--set", "learning_rate"], "'learning_rate'", "name=value"),
    (["--set", "learning_rate=log_uniform(1e-4,1)"], "log_uniform(1e-4,1)", "learning_rate=0.0001"),
    (["--set", "lerning_rate=0.1"], "lerning_rate is read by nothing", "; did you mean learning_rate?"),
    (["--set", "hiden=20"], "hiden is read by nothing", "; did you mean hidden?"),
    (["--epochs", 0], "--epochs=0", "at least 1"),
    (["--seed", -1], "--seed -1", "0 <= seed"),
    (["--missing", "guess"], "'guess'", "median"),
    (["--script", "nothing.txt"], "'nothing.txt'", "No such file"),
    (["--script", "bad.txt", "--dataset", "wine"], "line 3: unknown command 'jump 5'", "help lists them, such as go 5"),
    (["--script", "shape.txt", "--dataset", "wine"], "hidden fixes a shape", "start a new run"),
    (["--script", "far.txt", "--dataset", "wine"], "back 9", "give at most 1"),
    (["--script", "none.txt", "--dataset", "wine"], "line 1: go='x'", "a whole number of at least 1"),
    (["--replay", "nothing"], "'nothing' holds no session", "give the directory of one"),
    (["--resume", "held"], "'held' holds no session", "give the directory of one"),
    (["--replay", "file"], "over a file, which must be given again", "--replay file --dataset /etc/passwd"),
    (["--resume", "module"], "a task of your own, which must be given again", "--task os:system"),
    (["--replay", "damaged"], "the run's seed is 'x'", "train it again"),
    (["--resume", "sat", "--dataset", "breast_cancer"], "sat' cannot be resumed so: data: ", "columns was "),
    (["--replay", "sat", "--set", "momentum=1"], "--replay and --set exclude each other", ""),
    (["--resume", "sat", "--out", "new"], "--resume and --out exclude each other", ""),
    (["--resume", "sat", "--replay", "sat"], "--replay and --resume exclude each other", ""),
    (["--out", "sat"], "'sat' holds a session", "another directory"),
    (["--dataset", "irises"], "'irises'", "digits, wine"),
]
DAMAGED = [
    (["--resume", "torn"], "line 1 is damaged", "start again in another directory"),
    (["--resume", "changed"], "its content is not what was written", ""),
    (["--replay", "headless"], "the decision that adds the model is missing", ""),
    (["--replay", "trialless"], "trial=-1: give a whole number", ""),
]


@pytest.fixture(scope="module")
def traps(tmp_path_factory):
    """Files that bad input names."""
    place = tmp_path_factory.mktemp("traps")
    task = pj.objective(lambda key, h: {"loss": h["x"]})
    pj.search(task, {"x": pj.uniform(0, 1)}, trials=4, out=place / "held")
    (place / "bad.txt").write_text("go 1\n# a comment\njump 5\n")
    (place / "shape.txt").write_text("hidden=9\n")
    (place / "far.txt").write_text("go 1\nback 9\n")
    (place / "none.txt").write_text("go x\n")
    begun = [sys.executable, "-m", "popjax.babysit", "--dataset", "wine", "--set", "learning_rate=0.1", "--out", "sat"]
    subprocess.run(begun, input="go 1\n", cwd=place, text=True, capture_output=True, check=True)
    arguments = json.loads((place / "sat" / "session.json").read_text())["arguments"]
    edit(place / "held" / "run.json", lambda run: run.update(arguments=arguments))
    others = {"file": {"dataset": "/etc/passwd"}, "module": {"task": "os:system"}, "damaged": {"seed": "x"}}
    for name in (*others, "trialless"):
        shutil.copytree(place / "sat", place / name)
        edit(place / name / "session.json", lambda about, name=name: about["arguments"].update(others.get(name, {})))
    edit(place / "trialless" / "session.json", lambda about: about.update(trial=-1))
    for name in ("torn", "changed", "headless"):
        shutil.copytree(place / "sat", place / name)
    log = (place / "sat" / "decisions.jsonl").read_bytes()
    (place / "torn" / "decisions.jsonl").write_bytes(log.replace(b'"learning_rate"', b'"learning_mate"'))
    (place / "changed" / "session.json").write_text((place / "sat" / "session.json").read_text().replace("20", "21"))
    (place / "headless" / "decisions.jsonl").write_bytes(b"".join(log.splitlines(keepends=True)[1:]))
    return place


@pytest.mark.parametrize(("arguments", "names", "remedy"), DAMAGED, ids=lambda value: " ".join(map(str, value))[:60])
def test_a_damaged_session_is_one_line_and_exit_3(refused_in_one_line, traps, arguments, names, remedy):
    refused_in_one_line("babysit", *arguments, says=(names, remedy), cwd=traps, code=3)


@pytest.mark.parametrize(("arguments", "names", "remedy"), BAD, ids=lambda value: " ".join(map(str, value))[:60])
def test_bad_input_is_one_line_and_exit_2(refused_in_one_line, traps, arguments, names, remedy):
    refused_in_one_line("babysit", *arguments, says=(names, remedy), cwd=traps)


@pytest.mark.soak
def test_a_trial_of_a_mixed_search_needs_not_read_what_others_read(command, tmp_path):
    """An adam trial of a search over sgd too: its momentum is left out; the schedule has the search's epochs."""
    sgd_or_adam = ["--set", "optimizer=choice(sgd,adam)", "--set", "momentum=uniform(0.5,0.9)", "--schedule", "cosine"]
    process = command("sweep", "--dataset", "wine", "--trials", 8, "--epochs", 4, *sgd_or_adam, "--out", "search")
    assert process.returncode == 0, process.stderr
    results = pj.Results.load(tmp_path / "search")
    trial = results.points["optimizer"].tolist().index("adam")
    process = command("babysit", "--from", "search", "--trial", trial, "--out", "sat")
    assert process.returncode == 0, process.stderr
    curve = curves(tmp_path / "sat")["val_loss"]
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
    assert log(tmp_path / "run")[1:] == [until(1), until(2)]
