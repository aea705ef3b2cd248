"""The command, as a user meets it: a process, its exit code, what it prints and the files it leaves."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import soaked

import popjax as pj

SMALL = ("--trials", 12, "--epochs", 3, "--out", "run")
SUMMARY = {
    *("trials", "epochs", "seed", "best", "test_value", "wall_seconds", "compile_seconds", "train_seconds"),
    *("model_steps", "steps_run", "buckets", "lanes", "device", "popjax_version", "jax_version"),
}


@pytest.mark.parametrize(
    ("dataset", "arguments", "metric", "columns"),
    soaked(
        [
            ("digits", (), "val_accuracy", ["learning_rate", "momentum", "hidden", "depth", "batch_size", "decay"]),
            (
                "wine",
                ("--optimizer", "adam"),
                "val_accuracy",
                ["learning_rate", "hidden", "depth", "batch_size", "decay"],
            ),
            (
                "breast_cancer",
                ("--schedule", "cosine", "--set", "momentum=0.8"),
                "val_accuracy",
                ["learning_rate", "momentum", "hidden", "depth", "batch_size"],
            ),
            ("diabetes", ("--metric", "val_mae", "--mode", "min", "--sampler", "sobol"), "val_mae", None),
        ]
    ),
)
def test_every_dataset(command, tmp_path, dataset, arguments, metric, columns):
    """The files are read back with pyarrow alone and agree with each other; the winner scores as was said."""
    process = command("sweep", "--dataset", dataset, *SMALL, *arguments, "--json", "--seed", 3)
    assert (process.returncode, process.stderr) == (0, "")
    summary = json.loads(process.stdout)
    assert summary.keys() >= SUMMARY
    run = tmp_path / "run"
    written = json.loads((run / "summary.json").read_text())
    assert len(written.pop("check")) == 64
    assert set(written.pop("files")) == {"run.json", "trials.parquet", "curves.parquet"}
    assert written == {k: v for k, v in summary.items() if k != "out"}
    trials = pq.read_table(run / "trials.parquet").to_pylist()
    curves = pq.read_table(run / "curves.parquet").to_pylist()
    assert len(trials) == 12
    assert len(curves) == 36
    assert columns is None or list(trials[0])[2 : 2 + len(columns)] == columns
    (first,) = [row for row in trials if row["rank"] == 1]
    assert summary["best"]["trial"] == first["trial"]
    assert summary["best"]["value"] == first[metric]
    assert summary["best"]["hparams"] == {name: first[name] for name in summary["best"]["hparams"]}
    last = [row[metric] for row in curves if row["trial"] == first["trial"]][-1]
    assert last == first[metric]
    task = pj.supervised(dataset, seed=3)
    dataset, test = task.dataset, task.split.test
    predicted = pj.load_best(run).predict(dataset.x[test])
    if dataset.classes:
        score = (predicted == np.array(dataset.classes)[dataset.y[test]]).mean()
    else:
        score = abs(predicted - dataset.y[test]).mean()
    assert summary["test_value"] == pytest.approx(score, rel=1e-5)


@pytest.mark.soak
def test_the_command_needs_no_options(command):
    """Also where there is no word behind it at all: 512 trials on digits."""
    done = command("sweep")
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    assert "512 trials" in done.stdout


def test_what_it_prints(command, tmp_path):
    """Device, dataset, progress, the ten best, both scores, the directory; no control characters without a terminal."""
    process = command("sweep", "--trials", 12, "--epochs", 2, "--dataset", "wine")
    assert process.returncode == 0
    lines = process.stdout.splitlines()
    assert lines[0].startswith("device: ")
    assert lines[1] == "dataset: wine, 178 rows, classification, 3 classes"
    assert process.stderr.splitlines()[0] == "compiling 1 program"
    assert "100%" in process.stderr
    assert [line.split()[0] for line in lines if line.strip()[:1].isdigit()][:10] == [str(i) for i in range(1, 11)]
    assert "the best of 12, so optimistic), test_accuracy" in process.stdout
    directory = next(line.split()[1] for line in lines if line.startswith("results: "))
    assert (tmp_path / directory / "run.json").exists()
    assert "\x1b" not in process.stdout + process.stderr
    assert os.listdir(tmp_path / "home") == []
    follow = next(line for line in lines if line.startswith("next: ")).removeprefix("next: ")
    again = subprocess.run(follow, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "learning_rate" in again.stdout


def test_a_csv_of_ones_own(command, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    labels = np.where(x[:, 0] + x[:, 1] > 0, "yes", "no")
    rows = [f"{a},{b},{c},{label}" for (a, b, c), label in zip(x.tolist(), labels, strict=True)]
    (tmp_path / "mine.csv").write_text("\n".join(["a,b,c,bought", *rows]))
    process = command("sweep", "--dataset", "mine.csv", "--target", "bought", "--trials", 30, "--json", "--out", "run")
    assert process.returncode == 0
    assert json.loads(process.stdout)["test_value"] > 0.7
    process = command("sweep", "--dataset", "mine.csv", "--target", "bought", "--trials", 4, "--out", "told")
    nexts = [line.partition("popjax.")[2] for line in process.stdout.splitlines() if line.startswith("next: ")]
    assert nexts[1:] == [
        "babysit --from told --dataset mine.csv --target bought",
        "retest told --dataset mine.csv --target bought --top 2",
    ]
    predicted = pj.load_best(tmp_path / "run").predict(x)
    assert (predicted == labels).mean() > 0.8


def test_npz_space_file_and_seeds(command, tmp_path):
    """One seed, one result, down to the bytes of the tables; another seed, another."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 4, 2))
    np.savez(tmp_path / "mine.npz", x=x, y=x[:, 0, 0] * 3)
    (tmp_path / "space.toml").write_text(
        'learning_rate = "log_uniform(1e-3, 1e-1)"\nhidden = [4, 8]\nactivation = "tanh"\n'
    )
    tables = []
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        process = command(
            "sweep", "--dataset", "mine.npz", "--space", "space.toml", *SMALL[:4], "--out", out, "--seed", seed
        )
        assert process.returncode == 0, process.stderr
        tables.append([(tmp_path / out / f"{name}.parquet").read_bytes() for name in ("trials", "curves")])
    assert tables[0] == tables[1]
    assert tables[0] != tables[2]


def test_a_task_of_ones_own(command, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import popjax as pj\ntask = pj.objective(lambda key, hparams: {'loss': (hparams['x'] - 2) ** 2})\nnumber = 3\n"
    )
    process = command("sweep", "--task", "mine:task", "--set", "x=uniform(0,5)", "--trials", 200, "--json")
    assert process.returncode == 0
    assert json.loads(process.stdout)["best"]["hparams"]["x"] == pytest.approx(2, abs=0.2)


def test_the_space_of_a_task_of_ones_own_is_the_default_one(command, tmp_path):
    """As in `search`; what is named on the command line comes in its place."""
    (tmp_path / "mine.py").write_text(
        "import popjax as pj\n"
        "class Mine(pj.Task):\n"
        "    space = pj.Space(x=pj.uniform(1, 2))\n"
        "task = Mine(lambda key, hparams, data: 0.0, lambda x, hparams, data: (x, {'loss': hparams['x']}), ())\n"
    )
    for named, low, high in (([], 1, 2), (["--set", "x=uniform(5,6)"], 5, 6)):
        process = command("sweep", "--task", "mine:task", *named, "--trials", 50, "--epochs", 1, "--json")
        assert process.returncode == 0, process.stderr
        x = json.loads(process.stdout)["best"]["hparams"]["x"]
        assert low <= x <= low + 0.1 * (high - low)


SCORED = """
import jax.numpy as jnp
import popjax as pj

def epoch(x, hparams, data):
    return x - hparams["rate"] * x, {"loss": x**2}

task = pj.Task(lambda key, hparams, data: jnp.ones(()), epoch, (), score=lambda x, hparams, data: {"left": abs(x)})
"""


def test_the_score_of_a_task_is_printed_and_resume_asks_for_the_task(command, tmp_path):
    (tmp_path / "scored.py").write_text(SCORED)
    begun = ["sweep", "--trials", 4, "--epochs", 3, "--out", "run", "--set", "rate=uniform(0.1,0.9)"]
    process = command(*begun, "--task", "scored:task")
    left = json.loads((tmp_path / "run" / "summary.json").read_text())["test"]["left"]
    assert f"(the best of 4, so optimistic), left {left:.4f}\n" in process.stdout
    refused = command(*begun[:-2], "--resume")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "over a task of your own, which must be given again: --task scored:task" in refused.stderr
    assert command("sweep", "--dataset", "wine", *SMALL, "--out", "rows").returncode == 0
    refused = command("sweep", *begun[1:5], *begun[7:], "--out", "rows", "--resume", "--task", "scored:task")
    assert "the search was over rows of a dataset; resume it without --task" in refused.stderr


def test_all_diverged_exits_1_with_advice(command):
    process = command("sweep", "--dataset", "wine", *SMALL, "--set", "learning_rate=1e30")
    assert process.returncode == 1
    assert "; try smaller learning rates" in process.stdout


BAD = [
    (["--trails", 3], "--trails", "did you mean --trials?"),
    (["--trials", "x"], "'x'", "--trials"),
    (["--trials", 0], "--trials 0", "at least 1"),
    (["--resume"], "--resume needs --out", "the directory of the run"),
    (["--out", ""], "--out ''", "name a directory"),
    (["--out", "x" * 300], "File name too long", "choose another directory"),
    (["--task", "mine:task", "--optimizer", "adam"], "--optimizer adam", "leave one out"),
    (["--trials", -5], "--trials -5", "at least 1"),
    (["--epochs", 0], "--epochs 0", "at least 1"),
    (["--seed", -1], "--seed -1", "0 <= seed"),
    (["--trials", "1e99"], "'1e99'", "--trials"),
    (["--trials", 10**14], "100000000000000 trials", "lower trials or epochs"),
    (["--epochs", 10**20], "100000000000000000000 epochs", "lower trials or epochs"),
    (["--set", "hidden=100000000000"], "hidden=100000000000", "choose a smaller one"),
    (["--set", "hidden=1000000000"], "hidden=1000000000", "choose a smaller one"),
    (["--plan", "two"], "'two'", "'auto', 'one', 'widths', 'buckets'"),
    (["--dataset", "irises"], "'irises'", "digits, wine"),
    (["--dataset", "nothing.csv"], "'nothing.csv'", "No such file"),
    (["--dataset", "empty.csv", "--target", "y"], "'empty.csv'", "empty"),
    (["--dataset", "good.csv"], "'good.csv'", "name the column to predict, one of 'a', 'y'"),
    (["--dataset", "good.csv", "--target", "z"], "'z'", "'a', 'y'"),
    (["--dataset", "nan.csv", "--target", "y"], "column 'a', row 2", "(--missing median) or"),
    (["--dataset", "text.csv", "--target", "y"], "'blue'", "mend them"),
    (["--dataset", "one.csv", "--target", "y"], "'y' has one class only, 1", "two or more"),
    (["--dataset", "bad.npz"], "'bad.npz'", "NPZ"),
    (["--dataset", "folder.csv", "--target", "y"], "'folder.csv'", "directory"),
    (["--optimizer", "adamm"], "'adamm'", "adamw"),
    (["--schedule", "steps"], "'steps'", "cosine"),
    (["--model", "cnn9"], "'cnn9'", "mlp"),
    (["--sampler", "latin"], "'latin'", "sobol"),
    (["--metric", "accuracy"], "'accuracy'", "val_accuracy"),
    (["--mode", "best"], "'best'", "min or max"),
    (["--set", "learning_rate=uniform(2,1)"], "uniform(2, 1)", "uniform(1, 2)"),
    (["--set", "learning_rate=log_uniform(0,1)"], "log_uniform(0, 1)", "above 0"),
    (["--set", "momentum=one_minus_log_uniform(0.9,1)"], "one_minus_log_uniform(0.9, 1)", "below 1"),
    (["--set", "learning_rate=__import__('os').system('touch hacked')"], "__import__", "scale"),
    (["--set", "learning_rate"], "'learning_rate'", "name=value"),
    (["--set", "lerning_rate=0.1"], "lerning_rate", "read by nothing"),
    (["--optimizer", "adam", "--set", "momentum=0.9"], "momentum", "read by nothing"),
    (["--set", "batch_size=2000"], "batch_size=2000", "1437 training rows"),
    (["--set", "fold=1"], "'fold'", "reserved"),
    (["--space", "nothing.toml"], "'nothing.toml'", "No such file"),
    (["--space", "bad.toml"], "'bad.toml'", ""),
    (["--space", "momentum=0.5"], "'momentum=0.5'", "--set"),
    (["--task", "nothing:task", "--set", "x=1"], "'nothing:task'", "No module"),
    (["--task", "mine", "--set", "x=1"], "'mine'", "module:attribute"),
    (["--task", "broken:task", "--set", "x=1"], "ZeroDivisionError: division by zero", "broken.py, line 1"),
    (["--task", "faulty:task", "--set", "x=1.0"], "TypeError: ", "faulty"),
    (["--task", "faulty:number", "--set", "x=1.0"], "'faulty:number' is a int", "make it a popjax.Task"),
    (["--task", "faulty:task"], "no space of its own", "--set"),
    (["--out", "good.csv"], "'good.csv'", "choose another"),
    (["--out", "held"], "'held'", "holds a run"),
    (["--out", "/proc/popjax"], "'/proc/popjax'", "cannot be written"),
]


@pytest.fixture
def traps(tmp_path):
    """Files that bad input names."""
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "good.csv").write_text("a,y\n" + "1,0\n2,1\n3,0\n4,1\n" * 9)
    (tmp_path / "nan.csv").write_text("a,y\n1,0\n,1\n3,0\n4,1\n")
    (tmp_path / "text.csv").write_text("a,y\n1,0\nblue,1\n3,0\n")
    (tmp_path / "one.csv").write_text("a,y\n1,1\n2,1\n3,1\n")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nonsense")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "broken.py").write_text("task = 1 / 0\n")
    body = "import popjax as pj\ntask = pj.objective(lambda key, hparams: hparams['x'] + 'text')\nnumber = 3\n"
    (tmp_path / "faulty.py").write_text(body)
    (tmp_path / "bad.toml").write_text("learning_rate = uniform(")
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "run.json").write_text("{}")


@pytest.mark.parametrize(("arguments", "names", "remedy"), BAD, ids=lambda value: " ".join(map(str, value))[:60])
def test_bad_input_is_one_line_and_exit_2(refused_in_one_line, tmp_path, traps, arguments, names, remedy):
    refused_in_one_line("sweep", *arguments, says=(names, remedy))
    assert not (tmp_path / "hacked").exists()
    assert not (tmp_path / "runs").exists()


IN_FRONT = (  # a background shell starts its children deaf to SIGINT
    "import runpy, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "runpy.run_module('popjax.sweep', run_name='__main__', alter_sys=True)"
)


@pytest.mark.kill
@pytest.mark.parametrize("moment", ["compiling", "trained"])
def test_ctrl_c_exits_130_without_a_traceback(tmp_path, moment):
    with (
        (tmp_path / "printed").open("w") as out,
        subprocess.Popen(
            [sys.executable, "-c", IN_FRONT, "--trials", "100", "--epochs", "400", "--dataset", "wine"],
            cwd=tmp_path,
            env={**os.environ, "UV": "", "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")},
            stderr=subprocess.PIPE,
            stdout=out,
            text=True,
        ) as process,
    ):
        for line in process.stderr:
            if line.startswith(moment):
                break
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    python = r"go on: \S*python -m popjax\.resume runs/wine-"
    assert re.match(python, rest.splitlines()[-1])
    assert "again to stop at once" in rest
    printed = (tmp_path / "printed").read_text()
    ranks = [line.split()[0] for line in printed.splitlines() if re.match(r" *(rank|\d+) ", line)]
    if moment == "compiling":
        assert (ranks, "no trial has finished an epoch" in printed) == ([], True)
    else:
        assert ranks == ["rank", *map(str, range(1, len(ranks)))]
        assert "\nwinner: trial " in printed
        assert "popjax: stopped before its end: " in rest
    assert "Traceback" not in rest


@pytest.mark.kill
def test_ctrl_c_after_the_results_shows_no_traceback(tmp_path):
    """Pressed once more than it takes: the command ends as it would."""
    arguments = ["--dataset", "wine", "--trials", "4", "--epochs", "1"]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with subprocess.Popen([sys.executable, "-c", IN_FRONT, *arguments], cwd=tmp_path, **pipes) as process:
        assert any(line.startswith("results:") for line in process.stdout)
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.01)
        said = process.stderr.read()
    assert process.returncode in (0, 130)
    assert "Traceback" not in said


def test_a_model_that_cannot_fit_exits_5_with_the_bytes(refused_in_one_line):
    refused_in_one_line(
        "sweep",
        "--set",
        "hidden=integers(1,2000000)",
        says=("one model in training takes", "bytes, this machine has", "lower the trials or the sizes"),
        code=5,
    )


def test_help_imports_no_numpy(tmp_path):
    """What makes --help instant: neither JAX nor numpy is imported for it."""
    code = (
        "import sys, runpy\nsys.argv = ['sweep', '--help']\n"
        "try:\n    runpy.run_module('popjax.sweep', run_name='__main__')\n"
        "except SystemExit as stop:\n    print(stop.code, [m for m in ('jax', 'numpy') if m in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.stdout.splitlines()[-1] == "0 []"
    assert "--trials" in process.stdout


@pytest.mark.parametrize("name", ["sweep", "resume", "babysit", "report", "retest", "ls", "clean", "doctor"])
def test_a_shell_starts_the_commands(tmp_path, name):
    command, env = [sys.executable, "-m", f"popjax.{name}", "--help"], {**os.environ, "UV": ""}
    process = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    python = shutil.which("python")
    here = python is None or os.path.realpath(python) == os.path.realpath(sys.executable)
    assert process.stdout.startswith(f"usage: {'python' if here else sys.executable} -m popjax.{name} ")


@pytest.mark.kill
def test_training_goes_on_when_the_progress_is_not_read(tmp_path):
    """Standard error into a pipe that is closed: the results are written all the same."""
    command = [sys.executable, "-m", "popjax.sweep", "--dataset", "wine", *map(str, SMALL), "--out", "run"]
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=write, text=True)
    os.close(write)
    assert process.returncode == 0
    assert "winner: trial" in process.stdout
    assert (tmp_path / "run" / "summary.json").exists()


def test_a_closed_standard_output_is_told(tmp_path):
    """As a shell tells of a program that a pipe ended."""
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [sys.executable, "-m", "popjax.sweep", "--dataset", "wine", *map(str, SMALL), "--out", "run"],
        cwd=tmp_path,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert process.returncode == 141
    assert "Traceback" not in process.stderr


def test_a_command_that_is_recorded_repeats_what_stood_in_a_file(command, tmp_path):
    """Also an option by which the command line returned to popjax's own default, and scales of both."""
    lines = ("epochs = 3", "ordered = true", 'set = ["momentum=0.5"]', "[space]", "learning_rate = 0.1")
    (tmp_path / "a.toml").write_text("\n".join(lines))
    own = ("--epochs", "20", "--no-ordered", "--trials", "2", "--set", "decay=0", "--dataset", "wine", "--out", "one")
    record = lambda out: json.loads((tmp_path / out / "run.json").read_text())
    assert command("sweep", "--config", "a.toml", *own).returncode == 0
    again = shlex.split(record("one")["command"])[3:]
    assert "--epochs" in again
    assert "momentum=0.5" not in again
    assert command("sweep", *again, "--out", "two").returncode == 0
    for name in ("arguments", "space"):
        one, two = (record(out)[name] for out in ("one", "two"))
        assert {**one, "out": None} == {**two, "out": None}


def test_a_grid_counts_the_values_that_are_there(command):
    """And says of no point that it violates what was not asked for."""
    fixed = ("learning_rate=0.1", "momentum=0.9", "batch_size=32", "hidden=8", "decay=0")
    scales = ("depth=choice(2,3)", "hidden_3=choice(8,16) when depth=3", *fixed)
    words = [word for scale in scales for word in ("--set", scale)]
    told = command("sweep", "--dataset", "wine", "--trials", 12, "--epochs", 1, "--sampler", "grid", *words)
    assert "grid: 3 of 12 trials; distinct values: depth 2 (random 2), hidden_3 2 (random 2)" in told.stdout
    assert "violate" not in told.stderr
