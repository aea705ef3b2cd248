"""What a run has trained so far, on the disk: killed at any instant, it goes on from its last commit.

A commit is a manifest, written last, that names its files and their SHA-256 digests. Members
that train no further for now, at the end or waiting, stand in files that merge as they grow,
so there are few of them; members in training, and the arrays of the best trials, stand in one
file. Of a member that stands in several files the last one counts. The latest two commits are
kept, so one that is damaged leaves the one before it. No JAX here.
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


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """A cohort with the curves of its members, as a file of a commit holds it.

    Attributes:
        cohort: on the host; at the end of training without a state, which is needed no more.
        curves: metric -> (members, epoch).
    """

    cohort: Cohort
    curves: Arrays

    def take(self, rows: np.ndarray) -> Self:
        """The same of some members."""
        curves = {name: values[rows] for name, values in self.curves.items()}
        return dataclasses.replace(self, cohort=self.cohort.take(rows), curves=curves)

    @property
    def kind(self) -> Any:
        """What members have in common that are alike: bucket, epoch, and the arrays of the state."""
        cohort = self.cohort
        state = {} if cohort.state is None else cohort.arrays()
        shapes = tuple((name, array.shape[1:], array.dtype.str) for name, array in state.items())
        return cohort.bucket, cohort.epoch, shapes

    def arrays(self) -> Arrays:
        """All in one flat dictionary, for a file."""
        cohort = self.cohort
        known = {"members": cohort.members, "bucket": np.array(cohort.bucket), "epoch": np.array(cohort.epoch)}
        state = {} if cohort.state is None else cohort.arrays()
        return known | prefixed("curves", self.curves) | prefixed("state", state)

    @classmethod
    def of(cls, arrays: Arrays) -> Self:
        """The record that `arrays` flattened."""
        held = below("state", arrays)
        state = OnHost(held) if held else None
        cohort = Cohort(int(arrays["bucket"]), arrays["members"], int(arrays["epoch"]), state)
        return cls(cohort, below("curves", arrays))


def joined_records(records: Iterable[Record]) -> list[Record]:
    """The same members in as few records as there are kinds of them."""
    kinds: dict[Any, list[Record]] = {}
    for record in records:
        kinds.setdefault(record.kind, []).append(record)
    found = []
    for alike in kinds.values():
        curves = {name: np.concatenate([one.curves[name] for one in alike]) for name in alike[0].curves}
        found.append(Record(join([one.cohort for one in alike]), curves))
    return found


def flat_records(records: Iterable[Record]) -> Arrays:
    """Records in one flat dictionary, for a file."""
    return {f"{at}.{name}": array for at, one in enumerate(records) for name, array in one.arrays().items()}


def records_of(arrays: Arrays) -> list[Record]:
    """The records that `several` flattened."""
    return [Record.of(below(at, arrays)) for at in sorted({name.partition(".")[0] for name in arrays}, key=int)]


@dataclasses.dataclass(frozen=True, eq=False)
class OnDisk:
    """The training state of members whose latest record is in the settled files of commits."""

    commits: "Commits"
    members: np.ndarray

    @property
    def nbytes(self) -> int:
        """It takes no memory."""
        return 0

    def arrays(self) -> Arrays:
        """Name -> array (members, ...), read from the files; raises Corrupt where one is damaged."""
        mine = (record.cohort for record in self.commits.records(self.members))
        found = of_members(mine, self.members)
        rows = np.searchsorted(found.members, self.members)
        return {name: array[rows] for name, array in found.arrays().items()}


class Commits:
    """The commits of the run in a directory.

    Attributes:
        standing: the records of what is in training.
        kept: member -> name -> array: trained states of the best trials.
        decision: how many of the scheduler's decisions had been applied.
        carrying: the decision that was being carried out; what earlier ones asked for is trained.
        number: of the latest commit; 0 before the first.
        lost: what was damaged, and so was not used; None if nothing was.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.standing: list[Record] = []
        self.kept: dict[int, Arrays] = {}
        self.decision = 0
        self.carrying = 0
        self.lost: str | None = None
        self._files: list[tuple[str, list[Cohort]]] = []  # of the settled, in their order; their states are on the disk
        self._digests: dict[str, str] = {}
        self._new: list[Record] = []
        self._latest: dict[int, Cohort] = {}  # member -> the settled cohort that holds its latest
        self.number = max(commit_numbers(directory), default=0)
        self._manifests: dict[int, list[str]] = {}

    @classmethod
    def load(cls, directory: Path) -> Self:
        """The latest commit that is whole, or else what is whole of the latest.

        Raises Corrupt if there are commits and no manifest can be read, or for a link.
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
            raise Corrupt(f"{commits.lost}; no commit can be read, so begin again in another directory")
        return commits

    def records(self, members: np.ndarray | None = None) -> Iterator[Record]:
        """The records of all members, or the settled ones of some, read file by file."""
        for name, cohorts in self._files:
            masks = [self._live(cohort, members) for cohort in cohorts]
            if any(mask.any() for mask in masks):
                records = records_of(read_arrays(self.directory / name, self._digests[name]))
                yield from (one.take(mask) for one, mask in zip(records, masks, strict=True) if mask.any())
        for record in self._new:
            if (mask := self._live(record.cohort, members)).any():
                yield record.take(mask)
        if members is None:
            yield from self.standing

    def settle(self, record: Record) -> None:
        """Members that train no further for now: at the end, without a state, or waiting with it."""
        self._forget(record.cohort.members)
        self._new = [one for one in self._new if self._live(one.cohort).any()] + [record]
        self._know([record.cohort])

    def stand(self, record: Record) -> None:
        """Members in training, as they stand now."""
        self._forget(record.cohort.members)
        self.standing.append(record)

    def holds(self, cohort: Cohort) -> bool:
        """Whether files have the state of waiting members as they stand."""
        found = [self._latest.get(member) for member in cohort.members.tolist()]
        return all(one is not None and one.epoch == cohort.epoch and isinstance(one.state, OnDisk) for one in found)

    def forget(self) -> None:
        """Drop all that was read: the run begins again, and the next commit says so."""
        self.standing, self.kept, self._new, self._files = [], {}, [], []
        self._latest = {}

    def commit(self) -> None:
        """Write what is new; raises OSError where there is no room, and then the last commit stays."""
        self.directory.mkdir(exist_ok=True)
        number = self.number + 1
        files, records = self._merged()
        listed = {name: self._digests[name] for name, _ in files}
        cohorts = [self._on_disk(one.cohort) for one in records]
        if records:
            files.append((f"settled-{number}.safetensors", cohorts))
            listed[files[-1][0]] = write_arrays(self.directory / files[-1][0], flat_records(records))
        standing = f"standing-{number}.safetensors"
        listed[standing] = write_arrays(self.directory / standing, self._unfinished())
        content = {"number": number, "decision": self.decision, "carrying": self.carrying, "files": listed}
        write_json(self.directory / f"commit-{number}.json", content)
        verify(self.directory, number)
        self.number, self._digests, self._new, self._files = number, listed, [], files
        self._know(cohorts)
        self._manifests[number] = list(listed)
        self._clean()

    def _on_disk(self, cohort: Cohort) -> Cohort:
        """A cohort that is in a file, without its arrays."""
        return dataclasses.replace(cohort, state=None if cohort.state is None else OnDisk(self, cohort.members))

    def _know(self, cohorts: Iterable[Cohort]) -> None:
        """These settled cohorts hold the latest of their members."""
        for cohort in cohorts:
            self._latest.update(dict.fromkeys(cohort.members.tolist(), cohort))

    def _merged(self) -> tuple[list[tuple[str, list[Cohort]]], list[Record]]:
        """The settled files that stay, each larger than the next, so that there are few; the records of a new one."""
        files = [(name, cohorts) for name, cohorts in self._files if any(self._live(one).any() for one in cohorts)]
        if not self._new:
            return files, []
        merged: list[str] = []
        rows = sum(len(one.cohort.members) for one in self._new)
        while files and (more := sum(len(one.members) for one in files[-1][1])) <= rows:
            merged.append(files.pop()[0])
            rows += more
        old = [
            one.take(self._live(cohort))
            for name, cohorts in self._files
            if name in merged
            for one, cohort in zip(
                records_of(read_arrays(self.directory / name, self._digests[name])), cohorts, strict=True
            )
        ]
        new = [one.take(self._live(one.cohort)) for one in self._new]
        return files, joined_records(one for one in [*old, *new] if len(one.cohort.members))

    def _live(self, cohort: Cohort, members: np.ndarray | None = None) -> np.ndarray:
        """Of which members (n,) of a settled cohort nothing later is known; of some members alone, if given."""
        live = np.fromiter((self._latest.get(member) is cohort for member in cohort.members.tolist()), bool)
        return live if members is None else live & np.isin(cohort.members, members)

    def _unfinished(self) -> Arrays:
        """What is in training, and the kept arrays, for one file."""
        kept = {f"{member}.{name}": a for member, arrays in self.kept.items() for name, a in arrays.items()}
        return prefixed("stand", flat_records(self.standing)) | prefixed("kept", kept)

    def _forget(self, members: np.ndarray) -> None:
        for member in members.tolist():
            self._latest.pop(member, None)
        left = [record.take(~np.isin(record.cohort.members, members)) for record in self.standing]
        self.standing = [record for record in left if len(record.cohort.members)]

    def _read(self, number: int, whole: bool) -> None:
        """Read a commit, all of it or else the files that are whole: what is lost is trained again."""
        content = manifest(self.directory, number)
        listed = content["files"]
        intact = {name: digest for name, digest in listed.items() if is_whole(self.directory / name, digest)}
        if whole and intact != listed:
            bad = next(name for name in listed if name not in intact)
            raise Corrupt(f"{str(self.directory / bad)!r} is damaged")
        found = {name: read_arrays(self.directory / name) for name in intact}
        self._latest = {}
        settled = {name: records_of(arrays) for name, arrays in found.items() if not name.startswith("standing")}
        self._files = [(name, [self._on_disk(one.cohort) for one in records]) for name, records in settled.items()]
        for _, cohorts in self._files:
            self._know(cohorts)
        (arrays,) = [arrays for name, arrays in found.items() if name.startswith("standing")] or [{}]
        kept = below("kept", arrays)
        for record in records_of(below("stand", arrays)):
            self.stand(record)
        self.kept = {int(member): below(member, kept) for member in {name.partition(".")[0] for name in kept}}
        self._digests, self._manifests = intact, {number: list(intact)}
        self.decision, self.carrying = content["decision"], content["carrying"]

    def _clean(self) -> None:
        """Remove what none of the latest commits names."""
        self._manifests = dict(sorted(self._manifests.items())[-KEPT:])
        used = {name for names in self._manifests.values() for name in names}
        used |= {f"commit-{number}.json" for number in self._manifests}
        for path in self.directory.iterdir():
            known = FILE.fullmatch(path.name) or MANIFEST.fullmatch(path.name)
            torn = path.name.startswith((".settled-", ".standing-", ".commit-"))
            if path.name not in used and (known or torn):
                path.unlink()


def commit_numbers(directory: Path) -> list[int]:
    """The numbers of the commits in a directory."""
    if not directory.is_dir():
        return []
    found = [MANIFEST.fullmatch(path.name) for path in directory.iterdir()]
    return [int(match[1]) for match in found if match]


def manifest(directory: Path, number: int) -> dict[str, Any]:
    """What a commit says: its files with their digests, and where the decisions stood.

    Raises Corrupt if a byte of it is not what was written.
    """
    path = directory / f"commit-{number}.json"
    try:
        content = json.loads(file_bytes(path))
        listed, said = content["files"], content.pop("check")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Corrupt(f"{str(path)!r} is damaged") from None
    numbers = [content.get(name) for name in ("number", "decision", "carrying")]
    if said != digest_of_json(content) or numbers[0] != number or not all(type(one) is int for one in numbers):
        raise Corrupt(f"{str(path)!r} is damaged")
    for name in listed:
        if not FILE.fullmatch(name):
            raise Corrupt(f"{str(path)!r} names {name!r}, which is no file of a commit")
    return dict(content)


def is_whole(path: Path, digest: str) -> bool:
    """Whether a file is there and has this digest."""
    try:
        return sha256(file_bytes(path)) == digest
    except Corrupt:
        return False


def verify(directory: Path, number: int) -> None:
    """Raise Corrupt unless a commit that was just written is on the disk."""
    for name, digest in manifest(directory, number)["files"].items():
        if not is_whole(directory / name, digest):
            raise Corrupt(f"{str(directory / name)!r} is not what was written; is the disk failing?")


def prefixed(prefix: str, arrays: Arrays) -> Arrays:
    """The arrays under longer names."""
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def below(prefix: str, arrays: Arrays) -> Arrays:
    """The arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(f"{prefix}."): a for name, a in arrays.items() if name.startswith(f"{prefix}.")}
