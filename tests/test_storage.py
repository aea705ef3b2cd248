"""A file is the old one or the new one, and on the disk before its name is."""

import os
import resource
import stat
import subprocess
import sys
import threading

import pyarrow as pa
import pytest

from popjax.core.storage import locked, write_atomic
from popjax.store.files import write_table
from popjax.store.journal import append

OLD, NEW = b"old" * 1000, b"new"


@pytest.fixture
def path(tmp_path):
    """A file with old content, alone in its directory."""
    path = tmp_path / "summary.json"
    path.write_bytes(OLD)
    return path


@pytest.fixture
def small_disk():
    """No file may grow beyond 64 KiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def assert_untouched(path):
    assert path.read_bytes() == OLD
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("content", [NEW, b"", b"\r\n\x00\xff", OLD * 100])
def test_the_content_is_replaced_whole(path, content):
    write_atomic(path, content)
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [path.name]


def test_a_new_file_is_written(tmp_path):
    write_atomic(tmp_path / "new", NEW)
    assert (tmp_path / "new").read_bytes() == NEW
    assert os.listdir(tmp_path) == ["new"]


def test_others_may_read_the_file(path):
    write_atomic(path, NEW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_content_that_is_no_bytes_leaves_the_old_file(path):
    with pytest.raises(TypeError):
        write_atomic(path, "text")
    assert_untouched(path)


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_leaves_the_old_file(path):
    with pytest.raises(OSError, match="File too large"):
        write_atomic(path, b"x" * 100_000)
    assert_untouched(path)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("call", ["fchmod", "fsync", "replace"])
def test_a_failure_at_any_step_before_the_rename_leaves_the_old_file(path, monkeypatch, call, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(type(error)):
        write_atomic(path, NEW)
    monkeypatch.undo()
    assert_untouched(path)


def test_a_directory_in_the_way_stays_and_no_temporary_file_does(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "inside").write_bytes(OLD)
    with pytest.raises(OSError, match="directory"):
        write_atomic(tmp_path / "taken", NEW)
    assert os.listdir(tmp_path) == ["taken"]
    assert (tmp_path / "taken" / "inside").read_bytes() == OLD


def test_an_absent_directory_is_an_error_and_stays_absent(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        write_atomic(tmp_path / "absent" / "file", NEW)
    assert error.value.filename == str(tmp_path / "absent" / "file")
    assert os.listdir(tmp_path) == []


def test_a_directory_that_vanishes_meanwhile_is_an_error(tmp_path, monkeypatch):
    folder, moved = tmp_path / "run", tmp_path / "moved"
    folder.mkdir()
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (sync(file), folder.rename(moved)))
    with pytest.raises(FileNotFoundError):
        write_atomic(folder / "file", NEW)
    assert os.listdir(tmp_path) == ["moved"]


def test_the_file_is_on_the_disk_before_the_rename_and_the_directory_after(path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(file):
        now = os.fstat(file)
        events.append(("fsync", now.st_ino, None if stat.S_ISDIR(now.st_mode) else now.st_size))
        fsync(file)

    def record_replace(source, target):
        events.append(("replace", os.stat(source).st_ino, os.path.dirname(source), os.fspath(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    write_atomic(path, NEW)
    file = path.stat().st_ino
    assert events == [
        ("fsync", file, len(NEW)),
        ("replace", file, str(path.parent), str(path)),
        ("fsync", path.parent.stat().st_ino, None),
    ]


def test_a_reader_never_sees_a_part(path):
    contents = [bytes([letter]) * 300_000 for letter in b"ab"]
    path.write_bytes(contents[0])
    done = threading.Event()

    def write():
        try:
            for turn in range(40):
                write_atomic(path, contents[turn % 2])
        finally:
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not done.is_set():
            assert path.read_bytes() in contents
    finally:
        writer.join()


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts the threads that Linux lists")
def test_reading_a_table_starts_no_thread(tmp_path):
    """One that is still starting when a short command ends aborts it: 34 of 500 under load."""
    write_table(tmp_path / "table.parquet", pa.table({"a": range(1000), "b": [0.5] * 1000}))
    code = (
        "import os, sys, pathlib\n"
        "import pyarrow.parquet\n"
        "from popjax.store.files import read_table\n"
        "from popjax.data.parquet_table import read_parquet\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "threads = lambda: len(os.listdir('/proc/self/task'))\n"
        "before = threads()\n"
        "table = read_table(path)\n"
        "read_parquet('table', path.read_bytes(), 'b')\n"
        "print(len(table), threads() - before)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "table.parquet")]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.stdout.split() == ["1000", "0"], process.stderr


@pytest.mark.usefixtures("small_disk")
def test_a_line_for_which_there_is_no_room_leaves_the_journal(path):
    """Nothing of it stays, so that the next one is a line of its own."""
    path.write_bytes(b"x" * 60_000 + b"\n")
    with pytest.raises(OSError, match="File too large"):
        append(path, b"y" * 10_000 + b"\n")
    append(path, b"short\n")
    assert path.read_bytes() == b"x" * 60_000 + b"\nshort\n"


def test_what_another_process_writes_beside_hides_no_error(tmp_path):
    """A directory that was made for a run is removed after an error, but not what came beside it."""

    def fail():
        (tmp_path / "runs" / "other").mkdir()
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"), locked(tmp_path / "runs" / "mine"):
        fail()
    assert os.listdir(tmp_path / "runs") == ["other"]
