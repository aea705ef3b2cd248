"""Commits on the disk: whatever instant a run dies at, whatever byte is flipped, the last good commit is found."""

import errno
import fcntl
import os
import random
import weakref

import numpy as np
import pytest

from popjax.core.storage import Corrupt, InUse, locked
from popjax.store.cohort import Cohort, OnHost
from popjax.store.commits import Commits, Record
from popjax.store.files import read_arrays

EPOCHS = 3


def record(members, epoch, size=5):
    """Members with curves and, before the end, a state that identify them."""
    index = np.array(members)
    curves = {"loss": index[:, None] + np.arange(epoch) / 10}
    state = OnHost({"w": np.repeat(index[:, None], size, 1) + epoch, "scalar": index * 2.0})
    return Record(Cohort(0, index, epoch, None if epoch == EPOCHS else state), curves)


def steps():
    """What a small run tells its commits, one commit after each item."""
    yield lambda commits: commits.stand(record([0, 1], 1))
    yield lambda commits: (commits.stand(record([0, 1], 2)), commits.stand(record([2, 3, 4], 1)))
    yield lambda commits: (commits.settle(record([0, 1], 3)), commits.kept.update({1: {"w": np.ones(3)}}))
    yield lambda commits: commits.stand(record([3], 2))
    yield lambda commits: (commits.settle(record([2, 4], 3)), commits.settle(record([3], 3)))
    yield lambda commits: (
        commits.settle(record([5], 3)),
        commits.kept.pop(1),
        commits.kept.update({5: {"v": np.ones(2)}}),
    )


def content(commits):
    """All that a commit holds, member by member."""
    members = {}
    for one in commits.records():
        for row, member in enumerate(one.cohort.members.tolist()):
            curves = {name: values[row].tolist() for name, values in one.curves.items()}
            arrays = {} if one.cohort.state is None else one.cohort.arrays()
            state = {name: values[row].tolist() for name, values in arrays.items()}
            assert member not in members
            members[member] = (one.cohort.epoch, curves, state)
    kept = {member: {name: a.tolist() for name, a in arrays.items()} for member, arrays in commits.kept.items()}
    return members, kept


def snapshot(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def restore(directory, files):
    directory.mkdir(parents=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The directory, what it held around every operation with how many commits were whole, and these."""
    directory = tmp_path / "state"
    states, taken, contents = [], [], []

    def recording(name):
        original = getattr(os, name)

        def call(*arguments, **named):
            taken.append((snapshot(directory), len(contents)))
            result = original(*arguments, **named)
            taken.append((snapshot(directory), len(contents)))
            return result

        monkeypatch.setattr(os, name, call)

    directory.mkdir()
    for name in ("replace", "fsync", "unlink"):
        recording(name)
    commits = Commits(directory)
    contents.append(content(commits))
    for step in steps():
        step(commits)
        commits.commit()
        contents.append(content(commits))
        states.append(snapshot(directory))
    monkeypatch.undo()
    return directory, taken, contents


def test_after_every_operation_there_is_the_last_commit_or_the_new_one(run, tmp_path):
    _, taken, contents = run
    assert len(taken) > 60
    for number, (files, whole) in enumerate(taken):
        found = content(Commits.load(restore(tmp_path / f"crash-{number}", files)))
        assert found in contents[whole - 1 : whole + 1], number


def test_a_write_that_is_torn_is_never_read(run, tmp_path):
    """The file that is being written, cut anywhere, is not there for the reader."""
    _, taken, contents = run
    rng, seen = random.Random(0), 0
    for number, (files, whole) in enumerate(taken):
        temporary = [name for name in files if name.startswith(".")]
        seen += len(temporary)
        for name in temporary:
            torn = files | {name: files[name][: rng.randrange(len(files[name]) + 1)]}
            found = content(Commits.load(restore(tmp_path / f"torn-{number}", torn)))
            assert found == contents[whole - 1]
    assert seen > 10


def test_every_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """fsync of the file, rename, fsync of the directory; the manifest comes last."""
    log = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (log.append("fsync"), fsync(handle))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (log.append(b.name.partition("-")[0]), replace(a, b))[1])
    commits = Commits(tmp_path)
    commits.settle(record([0], 3))
    commits.stand(record([1], 1))
    commits.commit()
    assert log == [step for name in ("settled", "standing", "commit") for step in ("fsync", name, "fsync")]


@pytest.mark.parametrize("name", ["fsync", "replace", "fdopen"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_leaves_the_last_commit_and_no_litter(tmp_path, monkeypatch, name, error):
    """At the n-th operation, for every n; once there is room, the run goes on."""
    original = getattr(os, name)
    failures = 0
    for bad in range(100):
        directory = tmp_path / f"{bad}"
        calls = 0

        def failing(*arguments, bad=bad, **named):
            nonlocal calls
            calls += 1
            if calls == bad + 1:
                raise OSError(error, os.strerror(error))
            return original(*arguments, **named)

        commits = Commits(directory)
        good = content(commits)
        monkeypatch.setattr(os, name, failing)
        failed = False
        for step in steps():
            step(commits)
            try:
                commits.commit()
            except OSError as refused:
                assert refused.errno == error
                failed = True
                assert not [path for path in directory.iterdir() if path.name.startswith(".")]
                assert content(Commits.load(directory)) in (good, content(commits))
                commits.commit()
            good = content(commits)
        monkeypatch.undo()
        assert content(Commits.load(directory)) == good
        failures += failed
        if not failed:
            break
    assert failures >= 15


def flips(size, rng):
    """Every byte of a header and a sample of the rest."""
    return sorted({*range(min(size, 120)), *(rng.randrange(size) for _ in range(60))})


def test_a_flipped_byte_is_found_and_the_commit_before_is_used(run, tmp_path):
    directory, _, contents = run
    files = snapshot(directory)
    latest = max(int(name[7:-5]) for name in files if name.startswith("commit"))
    rng = random.Random(1)
    found = {"kept": 0, "before": 0, "part": 0}
    members, kept = contents[-1]
    for name, original in files.items():
        for number, at in enumerate(flips(len(original), rng)):
            flipped = bytearray(original)
            flipped[at] ^= 1 << rng.randrange(8)
            copy = restore(tmp_path / f"{name}-{number}", files | {name: bytes(flipped)})
            commits = Commits.load(copy)
            assert snapshot(copy) == files | {name: bytes(flipped)}
            if commits.lost is None:
                assert content(commits) == contents[-1]
                assert f"-{latest - 1}." in name
                found["kept"] += 1
                continue
            assert name in commits.lost
            if content(commits) == contents[-2]:
                found["before"] += 1
            else:  # a file that both commits share: the other members are there
                left, kept_left = content(commits)
                assert all(members[member] == known for member, known in left.items())
                assert kept_left in (kept, {})
                assert (left, kept_left) != contents[-1]
                found["part"] += 1
            commits.stand(record([9], 1))
            commits.commit()
            assert 9 in content(Commits.load(copy))[0]
    assert found["before"] > 200
    assert found["part"] > 100


def test_without_a_manifest_nothing_is_used_or_changed(run):
    directory, _, _ = run
    for path in directory.glob("commit-*.json"):
        path.write_bytes(path.read_bytes()[:-5])
    before = snapshot(directory)
    with pytest.raises(Corrupt, match="start again in another directory"):
        Commits.load(directory)
    assert snapshot(directory) == before


@pytest.mark.parametrize("harm", ["link", "outside", "absent"])
def test_nothing_outside_the_directory_is_read(run, tmp_path, harm):
    """A link in the place of a file, a manifest that names another place, a file that is gone."""
    directory, _, contents = run
    name = max((path for path in directory.iterdir() if path.name.startswith("standing")), key=lambda p: p.name)
    if harm == "link":
        (tmp_path / "elsewhere").write_bytes(name.read_bytes())
        name.unlink()
        name.symlink_to(tmp_path / "elsewhere")
    elif harm == "absent":
        name.unlink()
    else:
        import json

        from popjax.store.files import digest_of_json

        (tmp_path / "standing-1.safetensors").write_bytes(name.read_bytes())
        manifest = max((p for p in directory.iterdir() if p.name.startswith("commit")), key=lambda p: p.name)
        listed = json.loads(manifest.read_text())
        listed.pop("check")
        listed["files"]["../standing-1.safetensors"] = listed["files"].pop(name.name)
        manifest.write_text(json.dumps(listed | {"check": digest_of_json(listed)}))
    commits = Commits.load(directory)
    assert content(commits) == contents[-2]
    assert commits.lost is not None


def test_what_is_superseded_before_a_commit_takes_no_memory(tmp_path):
    """Where all settle again and again between two commits, the latest state of each is held, once."""
    commits = Commits(tmp_path / "state")
    alike = [record([0, 1], 1), record([2, 3], 1), record([0, 1], 2), record([1, 2], 2)]
    first, other, second = (weakref.ref(one) for one in alike[:3])
    for one in alike:
        commits.settle(one)
    del alike, one
    assert first() is None
    assert other() is not None, "member 3 is in it"
    assert second() is not None, "member 0 is in it"
    commits.commit()
    known, _ = content(Commits.load(tmp_path / "state"))
    assert {member: epoch for member, (epoch, _, _) in known.items()} == {0: 2, 1: 2, 2: 2, 3: 1}


def test_files_stay_few(tmp_path):
    """Those of the finished merge, so a long run has few, and every member is there once."""
    commits = Commits(tmp_path)
    for member in range(200):
        commits.settle(record([member], 3))
        commits.commit()
    assert len(list(tmp_path.iterdir())) < 2 * 12 + 4
    assert sorted(content(Commits.load(tmp_path))[0]) == list(range(200))


def test_one_process_a_directory(tmp_path):
    with (
        locked(tmp_path / "run"),
        pytest.raises(InUse, match=f"in use by process {os.getpid()}"),
        locked(tmp_path / "run"),
    ):
        pass
    assert not (tmp_path / "run").exists()
    with locked(tmp_path / "run"):
        pass


def test_a_lock_that_has_lost_its_name_is_none(tmp_path, monkeypatch):
    """Its last owner took it away between opening and locking: the next process would make another."""
    flock = fcntl.flock

    def late(file, how):
        (tmp_path / ".lock").unlink()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(InUse, match="released by another process"), locked(tmp_path):
        pass
    monkeypatch.undo()
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    """A stranger's directory cannot empty a file elsewhere."""
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(Corrupt, match="is a link"), locked(tmp_path / "run"):
        pass
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_state_that_is_a_link_is_not_followed(run, tmp_path):
    directory, _, _ = run
    (tmp_path / "link").symlink_to(directory)
    with pytest.raises(Corrupt, match="is a link"):
        Commits.load(tmp_path / "link")


@pytest.mark.parametrize("most", [2**28, 0])
def test_files_beyond_a_size_are_not_put_together(most, tmp_path, monkeypatch):
    """Else all states that were moved to the disk would be in memory at once; what they hold is the same."""
    monkeypatch.setattr("popjax.store.commits.MERGED", most)
    monkeypatch.setattr("popjax.store.commits.read_arrays", reading := Reading(read_arrays))
    written = Commits(tmp_path)
    for member in range(6):
        written.settle(record([member], 1))
        written.commit()
    files = len([*tmp_path.glob("settled-*")])
    assert files == 6 if most == 0 else files < 6
    reading.alive.clear()
    found = Commits.load(tmp_path)
    assert reading.most < max(files, 4), "one file after the other"
    assert content(found) == content(written)
    assert sorted(content(found)[0]) == list(range(6))


class Reading:
    """Counts the arrays of files that are in memory at the same time."""

    def __init__(self, read):
        self.read, self.alive, self.most = read, [], 0

    def __call__(self, *given):
        found = self.read(*given)
        array = next(iter(found.values()), None)
        if array is not None:
            self.alive.append(weakref.ref(array))
        self.most = max(self.most, sum(one() is not None for one in self.alive))
        return found
