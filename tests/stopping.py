"""Searches that are interrupted, and programs that are killed, as by a person."""

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

import pytest

import popjax as pj


class Interrupt(pj.Callback):
    """Ctrl-C at the first call after `stop` is set; keeps the results so far."""

    def __init__(self, stop):
        self.stop, self.done, self.answered, self.stderr = stop, False, threading.Event(), sys.stderr

    def write(self, text):
        """What stderr gets: the answer to Ctrl-C is a line."""
        if self.done:
            self.answered.set()
        return self.stderr.write(text)

    def flush(self):
        self.stderr.flush()

    def look(self, *_):
        if self.stop.is_set() and not self.done:
            self.done = True
            signal.raise_signal(signal.SIGINT)
            self.answered.wait(60)

    begin = epoch = decision = look

    def end(self, results):
        self.results = results


def search(task, space=None, *, stop=None, callbacks=(), **given):
    """`pj.search`; once `stop` is set, it ends with the results so far."""
    if stop is None:
        return pj.search(task, space, callbacks=callbacks, **given)
    interrupt = Interrupt(stop)
    try:
        with contextlib.redirect_stderr(interrupt):
            return pj.search(task, space, callbacks=[*callbacks, interrupt], **given)
    except KeyboardInterrupt:
        return interrupt.results


DIES = """
import os, signal, sys
import popjax.engine.checkpoint
popjax.engine.checkpoint.EVERY, popjax.engine.checkpoint.SHARE = 0.0, float("inf")
left, replace = int(sys.argv.pop()), os.replace
def counting(source, target):
    global left
    left -= os.path.abspath(target).startswith(os.getcwd())  # not the programs, which are kept beside all runs
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = counting
"""
"""The beginning of a program that is killed before its n-th rename in its directory; n, its last argument; 0: never."""

SWEEP = (
    DIES
    + """
from popjax.commands.sweep import main
sys.exit(main(sys.argv[1:]))
"""
)


def killed_often(python, code, kills):
    """A program over the directory "run", killed before so many of its renames, each time anew, and then left alone."""
    here = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})"
    for kill_at in (*kills, 0):
        ended = python(f"{here}\n{DIES}\n{code}", "run", kill_at)
        assert ended.returncode == (-signal.SIGKILL if kill_at else 0), ended.stderr


def killed(python, command, asked, kills):
    """`popjax sweep` in the directory "run", killed so often, each time before so many renames, and then resumed."""
    for number, kill_at in enumerate(kills):
        died = python(SWEEP, *asked, "--out", "run", *(["--resume"] if number else []), kill_at)
        assert died.returncode == -signal.SIGKILL, died.stderr
    resumed = command("resume", "run")
    assert resumed.returncode == 0, resumed.stderr


def same_files(left, right, names=("trials.parquet", "curves.parquet", "decisions.jsonl")):
    """The tables of two runs, and what predicts of them, have the same bytes."""
    best = sorted(path.relative_to(left).as_posix() for path in (left / "best").glob("*"))
    assert best == sorted(path.relative_to(right).as_posix() for path in (right / "best").glob("*"))
    for name in (*names, *best):
        assert (left / name).read_bytes() == (right / name).read_bytes(), name


def edit(path, change):
    """Change what a JSON file of a run holds, and leave out the digest that it was written with."""
    known = json.loads(path.read_text())
    known.pop("check", None)
    change(known)
    path.write_text(json.dumps(known))


@contextlib.contextmanager
def held(directory):
    """Another process writes to a directory; BlockingIOError where one does."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@contextlib.contextmanager
def always_committed():
    """Whatever is trained is committed at once, so that short runs have as many commits as long ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("popjax.engine.checkpoint.EVERY", 0.0)
        patch.setattr("popjax.engine.checkpoint.SHARE", float("inf"))
        yield


@contextlib.contextmanager
def copied_at(directory, number, copy):
    """What a kill would leave: the directory as it is before its `number`-th rename meanwhile; no copy without."""
    replace, left = os.replace, itertools.count(-number, 1)

    def counting(source, target):
        if Path(target).is_relative_to(directory) and next(left) == 0:
            shutil.copytree(directory, copy, symlinks=True)
        replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", counting)
        yield
