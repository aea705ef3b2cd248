"""Writes tests/golden/MINOR-*: run directories as they are written today, which later versions must read.

Not part of the suite: `python tests/make_goldens.py`, once for each minor version, on a quiet machine (with
the names of kinds it draws those alone). See test_golden.py.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import popjax as pj

GOLDEN = Path(__file__).parent / "golden"
MINOR = ".".join(pj.__version__.split(".")[:2])  # the minor version of popjax
WINE = ["--epochs", "6", "--dataset", "wine", "--set", "hidden=integers(3,5)", "--set", "depth=choice(1,2)"]
WINE += ["--set", "batch_size=choice(16,32)", "--set", "momentum=0.9", "--quiet"]
RATE = ["--set", "learning_rate=log_uniform(1e-3,3e-2)"]
COMMANDS = {
    "plain": ["--trials", "36", *WINE, "--set", "learning_rate=choice(0.003,0.01,0.03,1e30)"],
    "rounds": ["--trials", "30", "--rounds", "3", *WINE, *RATE],
    "folds": ["--trials", "9", "--folds", "2", "--repeats", "2", *WINE, *RATE],
    "buckets": ["--trials", "32", "--plan", "buckets", *WINE, *RATE],
    "objective": [
        *("--task", "task_of_golden:task", "--trials", "48", "--epochs", "8", "--quiet"),
        *("--set", "learning_rate=choice(0.125,0.25,0.375)"),
    ],
}
COMMANDS["rests"] = ["--trials", "24", "--folds", "2", "--at", "best", "--patience", "1", *WINE, *RATE]
COMMANDS["pbt"] = ["--trials", "12", "--scheduler", "pbt", *WINE, *RATE]
SCRIPT = ["go 3", "learning_rate=0.1", "go 2", "back 2", "learning_rate*=0.3", "momentum=0.8", "go 3", "watch", "save"]
SESSION = ["--dataset", "wine", "--set", "hidden=8"]
COMMIT = 1  # at which the killed ones die
KILLED = f"""
import os, signal, sys
from importlib import import_module
from popjax.engine import checkpoint
from popjax.engine.backends import local
checkpoint.EVERY, local.SPAN, replace, count = 0.0, 0.0, os.replace, 0
def counting(source, target):
    global count
    replace(source, target)
    count += "commit-" in os.path.basename(target)
    if count == {COMMIT}:
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = counting
name, *arguments = sys.argv[1:]
sys.exit(import_module("popjax.commands." + name).main(arguments))
"""


def run(place: Path, arguments: list[str], killed: str | None = None, name: str = "sweep", typed: str = "") -> int:
    """The exit code of a command in a directory where the golden task can be imported; below 0 if it was killed."""
    environment = os.environ | {"PYTHONPATH": f"{place}:{GOLDEN.parent.parent}"}
    command = [sys.executable, *(["-c", killed, name] if killed else ["-m", f"popjax.{name}"]), *arguments]
    kwargs = {"input": typed, "text": True, "stdout": subprocess.DEVNULL}
    return subprocess.run(command, cwd=place, env=environment, **kwargs).returncode


def make(kind: str, arguments: list[str], place: Path) -> None:
    """A finished run, a killed one, and what the killed one must come to."""
    shutil.copy(GOLDEN / "task_of_golden.py", place)
    whole, killed = place / f"{MINOR}-{kind}", place / f"{MINOR}-{kind}-interrupted"
    assert run(place, [*arguments, "--out", whole.name]) == 0
    assert run(place, [*arguments, "--out", killed.name], KILLED) < 0
    shutil.copytree(killed, place / "again")
    assert run(place, [*arguments, "--out", "again", "--resume"]) == 0
    expected = killed / "expected"
    expected.mkdir()
    for table in ("trials.parquet", "curves.parquet"):
        assert (whole / table).read_bytes() == (place / "again" / table).read_bytes()
        shutil.copy(whole / table, expected)
    steps = json.loads((place / "again" / "summary.json").read_text())["steps_run"]
    assert steps > 0, f"{kind} was killed when nothing was left to train: the machine is busy, try again"
    (expected / "steps.json").write_text(json.dumps(steps))
    keep(kind, arguments, [whole, killed])


def make_session(place: Path) -> None:
    """A finished babysitter and a killed one, which has gone back and goes on with the rest of the script."""
    whole, killed = place / f"{MINOR}-session", place / f"{MINOR}-session-interrupted"
    assert run(place, [*SESSION, "--out", whole.name], name="babysit", typed="\n".join(SCRIPT)) == 0
    typed = "\n".join([*SCRIPT[:6], "save"])
    late = KILLED.replace(f"== {COMMIT}:", "== 10:")
    assert run(place, [*SESSION, "--out", killed.name], late, "babysit", typed) < 0
    (killed / "expected").mkdir()
    shutil.copy(whole / "curves.parquet", killed / "expected")
    keep("session", SESSION, [whole, killed])


def keep(kind: str, arguments: list[str], directories: list[Path]) -> None:
    """Put directories in the place of the golden ones of their kind."""
    for old in GOLDEN.glob(f"{MINOR}-{kind}*"):
        shutil.rmtree(old)
    for directory in directories:
        (directory / "command.json").write_text(json.dumps(arguments))
        for name in ("report.html", ".lock"):
            (directory / name).unlink(missing_ok=True)
        shutil.copytree(directory, GOLDEN / directory.name)


def main() -> None:
    """All kinds, and the machine on which they were made."""
    from test_golden import machine

    for kind in sys.argv[1:] or ["session", *COMMANDS]:
        with tempfile.TemporaryDirectory() as place:
            if kind == "session":
                make_session(Path(place))
            else:
                make(kind, COMMANDS[kind], Path(place))
    (GOLDEN / f"{MINOR}-machine.json").write_text(json.dumps(machine(), indent=1) + "\n")


if __name__ == "__main__":
    main()
