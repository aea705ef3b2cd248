"""What a run leaves on the disk: a file is the old one or the new one, and what is lost is trained again or said."""

import errno
import fcntl
import json
import os
import resource
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import stopping
from conftest import refused

import popjax as pj


def add(state, hparams, data):
    state = state + hparams["x"]
    return state, {"loss": state}


TASK = pj.Task(lambda key, hparams, data: 0.0, add, (), metric="loss", mode="min")
SPACE = pj.Space(x=pj.uniform(0, 1))


def search(out, resume=False, **given):
    """Twelve trials in two rounds, of which each epoch is committed."""
    asked = {"trials": 12, "epochs": 3, "scheduler": "rounds(2)", "rank": pj.best(keep=2), **given}
    with stopping.always_committed():
        return pj.search(TASK, SPACE, out=out, resume=resume, **asked)


def content(directory):
    """The bytes of each file below, by name; not of the lock, which names the last process."""
    paths = (path for path in directory.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The run left alone, and what a kill after its third commit would have left."""
    place = tmp_path_factory.mktemp("disk")
    with stopping.copied_at(place / "whole", 10, place / "killed"):
        search(place / "whole")
    return place / "whole", place / "killed"


@pytest.fixture(scope="module")
def whole(both):
    """The run left alone; not to be changed."""
    return both[0]


@pytest.fixture
def run(both, tmp_path):
    """The run that was killed."""
    return Path(shutil.copytree(both[1], tmp_path / "run"))


@pytest.fixture
def small_disk():
    """No file may grow beyond 64 KiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def recorded(monkeypatch):
    """The calls of fsync, by inode, and of replace, by inode and path, from now on."""
    calls = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(file):
        calls.append(("fsync", os.fstat(file).st_ino, os.fstat(file).st_size))
        fsync(file)

    def record_replace(source, target):
        calls.append(("replace", os.stat(source).st_ino, os.fspath(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    return calls


def test_every_file_is_on_the_disk_before_its_name_and_a_manifest_comes_last(tmp_path, monkeypatch):
    """fsync of the whole file, rename, fsync of the directory, for all that a search writes."""
    calls = recorded(monkeypatch)
    search(tmp_path / "run")
    within = str(tmp_path / "run")  # not the programs, which are kept beside all runs
    named = [at for at, call in enumerate(calls) if call[0] == "replace" and call[2].startswith(within)]
    assert len(named) > 15
    there = set()
    for at in named:
        _, file, path = calls[at]
        directory, name = os.path.split(path)
        assert calls[at - 1][:2] == ("fsync", file)
        assert calls[at - 1][2] > 0
        assert calls[at + 1][:2] == ("fsync", os.stat(directory).st_ino)
        there.add(name)
        if name.startswith("commit-"):
            standing = [each for each in there if each.startswith(("settled-", "standing-"))]
            assert max(number(Path(each)) for each in standing) == number(Path(name))
    assert os.path.basename(calls[named[-1]][2]) == "summary.json", "what says that the run is finished"


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("call", ["fsync", "replace", "fdopen"])
def test_a_full_disk_leaves_no_litter_and_the_run_goes_on(whole, tmp_path, monkeypatch, call, error):
    """At the n-th operation, for every n; once there is room, it ends in the same bytes."""
    original, left = getattr(os, call), 0

    def failing(*arguments, **named):
        nonlocal left
        left -= 1
        if left == 0:
            raise OSError(error, os.strerror(error))
        return original(*arguments, **named)

    failures = 0
    for number in range(1, 100):
        directory, left = tmp_path / f"{number}", number
        monkeypatch.setattr(os, call, failing)
        try:
            search(directory)
        except OSError as refused:
            assert refused.errno == error
            failures += 1
        monkeypatch.undo()
        assert [path.name for path in directory.rglob(".*") if path.name != ".lock"] == []
        search(directory, resume=directory.exists())
        stopping.same_files(whole, directory)
        if left > 0:
            break
    assert failures >= 15


def number(path):
    """That of a file of states or of a manifest."""
    return int(path.stem.partition("-")[2])


def linked(path):
    path.rename(path.parent.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent.parent / "elsewhere")


def named_outside(path):
    """The manifest names, in the place of the file, one of the same bytes in another directory."""
    path.rename(path.parent.parent / path.name)
    manifest = max(path.parent.glob("commit-*.json"), key=number)
    stopping.edit(manifest, lambda known: known["files"].update({f"../{path.name}": known["files"].pop(path.name)}))


class Trained(pj.Callback):
    """Counts the epochs of members that are trained."""

    epochs = 0

    def epoch(self, result):
        self.epochs += len(result.trial)


HARMS = {
    "linked": linked,
    "named outside": named_outside,
    "absent": lambda path: path.unlink(),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_state_that_is_lost_is_trained_again(whole, run, harm):
    """Nothing outside the directory is read, and it is said; the end is the same."""
    manifest = json.loads(max((run / "state").glob("commit-*.json"), key=number).read_text())
    (latest,) = (name for name in manifest["files"] if name.startswith("standing-"))
    HARMS[harm](run / "state" / latest)
    trained = Trained()
    results = search(run, resume=True, callbacks=[trained])
    assert "is damaged; what is lost with it is trained again" in " ".join(results.summary["warnings"])
    assert trained.epochs < 12 * 3
    stopping.same_files(whole, run)


def test_without_a_manifest_nothing_is_used_or_changed(run):
    for path in (run / "state").glob("commit-*.json"):
        path.write_bytes(path.read_bytes()[:-5])
    before = content(run)
    with refused("state", "start again in another directory"):
        search(run, resume=True)
    assert content(run) == before


@pytest.mark.parametrize("name", ["state", ".lock"])
def test_a_link_is_not_followed(run, name):
    """A stranger's directory cannot change a file elsewhere."""
    elsewhere = run.parent / "elsewhere"
    (run / name).rename(elsewhere)
    (run / name).symlink_to(elsewhere)
    before = content(elsewhere) if elsewhere.is_dir() else elsewhere.read_bytes()
    with refused(name, "is a link"):
        search(run, resume=True)
    assert before == (content(elsewhere) if elsewhere.is_dir() else elsewhere.read_bytes())


def test_files_stay_few(tmp_path):
    """Those of the finished merge, so that a long run has few."""
    most = 0

    class Count(pj.Callback):
        def decision(self, decision, trials):
            nonlocal most
            most = max(most, len(list((tmp_path / "run" / "state").glob("*"))))

    search(tmp_path / "run", trials=200, epochs=1, scheduler="rounds(100)", callbacks=[Count()])
    assert 4 < most < 2 * 8 + 4


def test_files_too_large_to_be_put_together_stay_apart(tmp_path, monkeypatch):
    """Else all states that were moved to the disk would be in memory at once; what they hold is the same."""
    kept = {}
    for most in (2**28, 0):
        monkeypatch.setattr("popjax.store.commits.MERGED", most)
        search(tmp_path / f"{most}", scheduler="rounds(6)")
        kept[most] = len(list((tmp_path / f"{most}" / "state").glob("settled-*")))
        search(tmp_path / f"{most}", trials=14, scheduler="rounds(7)", resume=True)
    assert kept[2**28] < 6 <= kept[0]
    stopping.same_files(tmp_path / "0", tmp_path / f"{2**28}")


class At(pj.Callback):
    """Calls a function as the run begins."""

    def __init__(self, act):
        self.act = act

    def begin(self, run):
        self.act()


def test_one_process_a_directory(tmp_path):
    caught = []

    def second():
        with refused("'", "run", "in use by process", os.getpid(), error=Exception) as error:
            search(tmp_path / "run", resume=True)
        caught.append(error)

    search(tmp_path / "run", callbacks=[At(second)])
    assert len(caught) == 1
    search(tmp_path / "run", resume=True)


def test_a_lock_that_has_lost_its_name_is_none(tmp_path, monkeypatch):
    """Its last owner took it away between opening and locking: the next process would make another."""
    flock = fcntl.flock

    def late(file, how):
        (tmp_path / "run" / ".lock").unlink()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with refused("released by another process", "try again", error=Exception):
        search(tmp_path / "run")
    monkeypatch.undo()
    search(tmp_path / "run")
    assert (tmp_path / "run" / ".lock").read_text() == str(os.getpid())


def test_a_new_directory_goes_after_an_error_but_not_what_came_beside(tmp_path):
    class Refuses:
        def __call__(self, problem):
            (tmp_path / "runs" / "other").mkdir()
            raise ValueError("wrong")

    with refused("wrong"):
        search(tmp_path / "runs" / "mine", scheduler=Refuses())
    assert os.listdir(tmp_path / "runs") == ["other"]


def test_a_line_for_which_there_is_no_room_leaves_the_journal(whole, tmp_path, small_disk):
    """Nothing of it stays, so that the next one is a line of its own."""
    asked = dict(trials=8000, epochs=1, scheduler="rounds(8)")
    with pytest.raises(OSError, match="File too large"):
        search(tmp_path / "run", **asked)
    journal = (tmp_path / "run" / "decisions.jsonl").read_bytes()
    assert journal.endswith(b"\n")
    assert 0 < len([json.loads(line) for line in journal.splitlines()]) < 8


@pytest.fixture
def report(whole, tmp_path):
    """Results, and a directory where only another report stands."""
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "report.html").write_bytes(b"old")
    return pj.Results.load(whole), tmp_path / "page"


def assert_untouched(place):
    assert os.listdir(place) == ["report.html"]
    assert (place / "report.html").read_bytes() == b"old"


def test_a_file_is_replaced_whole(report):
    """Others may read it."""
    path = pj.write_report(*report)
    assert path.read_bytes().endswith(b"</html>\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(path.parent) == ["report.html"]


def test_a_full_disk_leaves_the_old_file(report, small_disk):
    with pytest.raises(OSError, match="File too large"):
        pj.write_report(*report)
    assert_untouched(report[1])


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("call", ["fchmod", "fsync", "replace"])
def test_a_failure_before_the_rename_leaves_the_old_file(report, monkeypatch, call, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(type(error)):
        pj.write_report(*report)
    monkeypatch.undo()
    assert_untouched(report[1])


def test_a_directory_in_the_way_stays(whole, tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match="directory"):
        pj.write_report(pj.Results.load(whole), tmp_path)
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_directory_that_vanishes_meanwhile_is_an_error(report, tmp_path, monkeypatch):
    results, place = report
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (fsync(file), place.rename(tmp_path / "moved")))
    with pytest.raises(FileNotFoundError):
        pj.write_report(results, place)
    assert not place.exists()


def test_a_reader_never_sees_a_part(report):
    results, place = report
    contents = [b"old", pj.write_report(results, place).read_bytes()]
    done = threading.Event()

    def write():
        try:
            for _ in range(10):
                pj.write_report(results, place)
        finally:
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not done.is_set():
            assert (place / "report.html").read_bytes() in contents
    finally:
        writer.join()


THREADS = """
import os, sys
import pyarrow.parquet
import popjax as pj
before = os.listdir("/proc/self/task")
print(len(pj.Results.load(sys.argv[1]).points["x"]), len(os.listdir("/proc/self/task")) - len(before))
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts the threads that Linux lists")
def test_reading_a_table_starts_no_thread(whole):
    """One that is still starting when a short command ends aborts it: 34 of 500 under load."""
    process = subprocess.run([sys.executable, "-c", THREADS, whole], capture_output=True, text=True)
    assert process.stdout == "12 0\n", process.stderr
