"""Commits of a run on disk: a run that is killed at any instant resumes from its last commit.

A commit is a manifest, written last, that names its files and their SHA-256 digests. Members
that are not in training, complete or waiting, are in settled files, which merge as they grow, so
there are few; members in training, and the arrays of the best trials, are in one standing file.
If several files hold a member, the last record counts. The latest two commits are kept, so that a
damaged one leaves the one before it. No JAX here.
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from popjax.core.storage import Corrupt, sha256
from popjax.store.cohort import Arrays, Cohort, OnHost, join, of_members
from popjax.store.files import digest_of_json, file_bytes, read_arrays, write_arrays, write_json

FILE = re.compile(r"(settled|standing)-\d{1,12}\.safetensors")
MANIFEST = re.compile(r"commit-(\d{1,12})\.json")
KEPT = 2
MERGED = 2**28  # bytes of settled files that are put together, at most: they are in memory then


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """A cohort with the curves of its members, as stored in a file of a commit.

    Attributes:
        cohort: on the host; at the end of training without a state, which is no longer needed.
        curves: metric -> (members, epoch).
        improved: bool (members, epoch), the epochs that became the best; None if no best epoch is kept.
    """

    cohort: Cohort
    curves: Arrays
    improved: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> Self:
        """The record of some of the members."""
        curves = {name: values[rows] for name, values in self.curves.items()}
        improved = None if self.improved is None else self.improved[rows]
        return dataclasses.replace(self, cohort=self.cohort.take(rows), curves=curves, improved=improved)

    @property
    def kind(self) -> Any:
        """Key of the records that can be joined: bucket, epoch, and names, shapes and dtypes of the state's arrays."""
        cohort = self.cohort
        state = {} if cohort.state is None else cohort.arrays()
        shapes = tuple((name, array.shape[1:], array.dtype.str) for name, array in state.items())
        return cohort.bucket, cohort.epoch, shapes

    def arrays(self) -> Arrays:
        """All arrays as one flat dict, for a file."""
        cohort = self.cohort
        known = {"members": cohort.members, "bucket": np.array(cohort.bucket), "epoch": np.array(cohort.epoch)}
        state = {} if cohort.state is None else cohort.arrays()
        known |= {} if self.improved is None else {"improved": self.improved}
        return known | prefixed("curves", self.curves) | prefixed("state", state)

    @classmethod
    def of(cls, arrays: Arrays) -> Self:
        """Inverse of `arrays`."""
        stored = unprefixed("state", arrays)
        state = OnHost(stored) if stored else None
        cohort = Cohort(int(arrays["bucket"]), arrays["members"], int(arrays["epoch"]), state)
        return cls(cohort, unprefixed("curves", arrays), arrays.get("improved"))


def joined_records(records: Iterable[Record]) -> list[Record]:
    """The same members with records of one kind joined."""
    kinds: dict[Any, list[Record]] = {}
    for record in records:
        kinds.setdefault(record.kind, []).append(record)
    joined = []
    for alike in kinds.values():
        curves = {name: np.concatenate([record.curves[name] for record in alike]) for name in alike[0].curves}
        improved = None if alike[0].improved is None else np.concatenate([record.improved for record in alike])
        joined.append(Record(join([record.cohort for record in alike]), curves, improved))
    return joined


def flat_records(records: Iterable[Record]) -> Arrays:
    """Records as one flat dict, for a file."""
    return {f"{at}.{name}": array for at, record in enumerate(records) for name, array in record.arrays().items()}


def records_of(arrays: Arrays) -> list[Record]:
    """Inverse of `flat_records`."""
    return [Record.of(unprefixed(at, arrays)) for at in sorted({name.partition(".")[0] for name in arrays}, key=int)]


@dataclasses.dataclass(frozen=True, eq=False)
class OnDisk:
    """Training state of members that is held by the settled files of commits."""

    commits: "Commits"
    members: np.ndarray

    @property
    def nbytes(self) -> int:
        """0: it takes no memory."""
        return 0

    def arrays(self) -> Arrays:
        """Name -> array (members, ...), read from the files; raises Corrupt if one is damaged."""
        mine = (record.cohort for record in self.commits.records(self.members))
        cohort = of_members(mine, self.members)
        rows = np.searchsorted(cohort.members, self.members)
        return {name: array[rows] for name, array in cohort.arrays().items()}

    def off_devices(self) -> Self:
        """Itself."""
        return self

    def take(self, rows: np.ndarray | slice) -> "OnDisk":
        """The state of some members, which is not read yet."""
        return OnDisk(self.commits, self.members[rows])


class Commits:
    """The commits of a run in a directory.

    Attributes:
        standing: records of the members in training.
        kept: member -> name -> array, trained states of the best trials.
        decision: number of the journal's steps that are applied.
        carrying: index of the step that is carried out; the training of earlier steps is complete.
        number: number of the latest commit; 0 before the first.
        lost: description of damage, which was not used; None if there is none.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.standing: list[Record] = []
        self.kept: dict[int, Arrays] = {}
        self.decision = 0
        self.carrying = 0
        self.lost: str | None = None
        self._files: list[tuple[str, list[Cohort]]] = []  # settled files in order, states on disk
        self._digests: dict[str, str] = {}
        self._new: list[Record] = []
        self._most = 0  # records in `_new`, beyond which those without a live member are let go
        self._latest: dict[int, Cohort] = {}  # member -> settled cohort with its latest record
        self.number = max(commit_numbers(directory), default=0)
        self._manifests: dict[int, list[str]] = {}

    @classmethod
    def load(cls, directory: Path) -> Self:
        """The latest commit that is whole, or else the whole files of the latest that can be read.

        Raises Corrupt if there are commits but no manifest can be read, or for a link.
        """
        if directory.is_symlink():
            raise Corrupt(f"{str(directory)!r} is a link; choose another directory")
        commits = cls(directory)
        numbers = sorted(commit_numbers(directory), reverse=True)
        for whole in (True, False):
            for number in numbers:
                try:
                    commits._read(number, whole)
                except Corrupt as error:
                    commits.lost = commits.lost or str(error)
                    continue
                return commits
        if numbers:
            raise Corrupt(f"{commits.lost}; no commit can be read, so start again in another directory")
        return commits

    def records(self, members: np.ndarray | None = None) -> Iterator[Record]:
        """Iterate over the records of all members, or the settled ones of `members`, file by file."""
        for name, cohorts in self._files:
            masks = [self._live(cohort, members) for cohort in cohorts]
            if any(mask.any() for mask in masks):
                records = self._records(name)
                yield from (record.take(mask) for record, mask in zip(records, masks, strict=True) if mask.any())
        for record in self._new:
            if (mask := self._live(record.cohort, members)).any():
                yield record.take(mask)
        if members is None:
            yield from self.standing

    def settle(self, record: Record) -> None:
        """Take the record of members that are not in training: complete, without a state, or waiting, with it."""
        self._forget(record.cohort.members)
        self._new.append(record)
        self._register([record.cohort])
        if len(self._new) > self._most:
            self._new = [new for new in self._new if self._live(new.cohort).any()]
            self._most = 2 * len(self._new)

    def stand(self, record: Record) -> None:
        """Take the record of members in training, in their current state."""
        self._forget(record.cohort.members)
        self.standing.append(record)

    def holds(self, cohort: Cohort) -> bool:
        """True if files hold the current state of all these waiting members."""
        latest = [self._latest.get(member) for member in cohort.members.tolist()]
        return all(own is not None and own.epoch == cohort.epoch and isinstance(own.state, OnDisk) for own in latest)

    def forget(self) -> None:
        """Drop all that was read: the run starts again, and the next commit records that."""
        self.standing, self.kept, self._new, self._files = [], {}, [], []
        self._latest = {}
        self.decision = self.carrying = 0

    def commit(self) -> None:
        """Write a commit with all new records; raises OSError if the disk is full, and then the last commit stays."""
        self.directory.mkdir(exist_ok=True)
        number = self.number + 1
        files, records = self._merged()
        listed = {name: self._digests[name] for name, _ in files}
        cohorts = [self._on_disk(record.cohort) for record in records]
        if records:
            files.append((f"settled-{number}.safetensors", cohorts))
            listed[files[-1][0]] = write_arrays(self.directory / files[-1][0], flat_records(records))
        standing = f"standing-{number}.safetensors"
        listed[standing] = write_arrays(self.directory / standing, self._unfinished())
        content = {"number": number, "decision": self.decision, "carrying": self.carrying, "files": listed}
        write_json(self.directory / f"commit-{number}.json", content)
        verify(self.directory, number)
        self.number, self._digests, self._new, self._files = number, listed, [], files
        self._register(cohorts)
        self._manifests[number] = list(listed)
        self._clean()

    def _on_disk(self, cohort: Cohort) -> Cohort:
        """The cohort with its state in a file."""
        return dataclasses.replace(cohort, state=None if cohort.state is None else OnDisk(self, cohort.members))

    def _register(self, cohorts: Iterable[Cohort]) -> None:
        """Register settled cohorts as the latest of their members."""
        for cohort in cohorts:
            self._latest.update(dict.fromkeys(cohort.members.tolist(), cohort))

    def _merged(self) -> tuple[list[tuple[str, list[Cohort]]], list[Record]]:
        """The settled files to keep, and the records for a new file; merged so that each is larger than the next.

        What is merged is in memory at once, so files of more than MERGED bytes together are not.
        """
        files = [(name, cohorts) for name, cohorts in self._files if any(self._live(each).any() for each in cohorts)]
        if not self._new:
            return files, []
        merged: list[str] = []
        rows, size = sum(len(record.cohort.members) for record in self._new), 0
        while files and (more := sum(len(cohort.members) for cohort in files[-1][1])) <= rows:
            size += (self.directory / files[-1][0]).stat().st_size
            if size > MERGED:
                break
            merged.append(files.pop()[0])
            rows += more
        old = [
            record.take(self._live(cohort))
            for name, cohorts in self._files
            if name in merged
            for record, cohort in zip(self._records(name), cohorts, strict=True)
        ]
        new = [record.take(self._live(record.cohort)) for record in self._new]
        return files, joined_records(record for record in [*old, *new] if len(record.cohort.members))

    def _records(self, name: str) -> list[Record]:
        """The records of a settled file."""
        return records_of(read_arrays(self.directory / name, self._digests[name]))

    def _live(self, cohort: Cohort, members: np.ndarray | None = None) -> np.ndarray:
        """bool (n,): members of a settled cohort without a later record; with `members` only those among them."""
        live = np.fromiter((self._latest.get(member) is cohort for member in cohort.members.tolist()), bool)
        return live if members is None else live & np.isin(cohort.members, members)

    def _unfinished(self) -> Arrays:
        """Records of members in training, and the kept arrays, as one flat dict for a file."""
        kept = {f"{member}.{name}": a for member, arrays in self.kept.items() for name, a in arrays.items()}
        return prefixed("stand", flat_records(self.standing)) | prefixed("kept", kept)

    def _forget(self, members: np.ndarray) -> None:
        for member in members.tolist():
            self._latest.pop(member, None)
        left = [record.take(~np.isin(record.cohort.members, members)) for record in self.standing]
        self.standing = [record for record in left if len(record.cohort.members)]

    def _read(self, number: int, whole: bool) -> None:
        """Read a commit, the whole or else its undamaged files; members that are lost are trained again.

        Raises Corrupt if its manifest, or with `whole` any of its files, is damaged.
        """
        content = manifest(self.directory, number)
        listed = content["files"]
        intact = {name: digest for name, digest in listed.items() if is_whole(self.directory / name, digest)}
        if whole and intact != listed:
            bad = next(name for name in listed if name not in intact)
            raise Corrupt(f"{str(self.directory / bad)!r} is damaged")
        self._latest, self._files = {}, []
        for name in [name for name in intact if not name.startswith("standing")]:  # one at a time in memory
            records = records_of(read_arrays(self.directory / name))
            self._files.append((name, [self._on_disk(record.cohort) for record in records]))
            self._register(self._files[-1][1])
        (arrays,) = [read_arrays(self.directory / name) for name in intact if name.startswith("standing")] or [{}]
        kept = unprefixed("kept", arrays)
        for record in records_of(unprefixed("stand", arrays)):
            self.stand(record)
        self.kept = {int(member): unprefixed(member, kept) for member in {name.partition(".")[0] for name in kept}}
        self._digests, self._manifests = intact, {number: list(intact)}
        self.decision, self.carrying = content["decision"], content["carrying"]

    def _clean(self) -> None:
        """Remove files of commits that none of the latest names."""
        self._manifests = dict(sorted(self._manifests.items())[-KEPT:])
        used = {name for names in self._manifests.values() for name in names}
        used |= {f"commit-{number}.json" for number in self._manifests}
        for path in self.directory.iterdir():
            known = FILE.fullmatch(path.name) or MANIFEST.fullmatch(path.name)
            torn = path.name.startswith((".settled-", ".standing-", ".commit-"))
            if path.name not in used and (known or torn):
                path.unlink()


def commit_numbers(directory: Path) -> list[int]:
    """Numbers of the commits in a directory; empty if it does not exist."""
    if not directory.is_dir():
        return []
    names = [MANIFEST.fullmatch(path.name) for path in directory.iterdir()]
    return [int(match[1]) for match in names if match]


def manifest(directory: Path, number: int) -> dict[str, Any]:
    """Content of a commit's manifest: its files with their digests, and the counts of decisions.

    Raises Corrupt if it is damaged, or names a file that is none of a commit.
    """
    path = directory / f"commit-{number}.json"
    try:
        content = json.loads(file_bytes(path))
        listed, digest = content["files"], content.pop("check")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Corrupt(f"{str(path)!r} is damaged") from None
    numbers = [content.get(name) for name in ("number", "decision", "carrying")]
    if digest != digest_of_json(content) or numbers[0] != number or not all(type(one) is int for one in numbers):
        raise Corrupt(f"{str(path)!r} is damaged")
    for name in listed:
        if not FILE.fullmatch(name):
            raise Corrupt(f"{str(path)!r} names {name!r}, which is not a file of a commit")
    return dict(content)


def is_whole(path: Path, digest: str) -> bool:
    """True if the file is there and has this SHA-256."""
    try:
        return sha256(file_bytes(path)) == digest
    except Corrupt:
        return False


def verify(directory: Path, number: int) -> None:
    """Raise Corrupt if the files of a commit that was just written are not what was written."""
    for name, digest in manifest(directory, number)["files"].items():
        if not is_whole(directory / name, digest):
            raise Corrupt(f"{str(directory / name)!r} is not what was written; is the disk failing?")


def prefixed(prefix: str, arrays: Arrays) -> Arrays:
    """The arrays under names that begin with the prefix and a dot."""
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def unprefixed(prefix: str, arrays: Arrays) -> Arrays:
    """Inverse of `prefixed`: the arrays with this prefix, without it."""
    return {name.removeprefix(f"{prefix}."): a for name, a in arrays.items() if name.startswith(f"{prefix}.")}
