"""What a run has trained so far, on the disk: killed at any instant, it goes on from its last commit.

A commit is a manifest, written last, that names its files and their SHA-256 digests. Members
that train no further for now, at the end or at rest, stand in files that merge as they grow,
so there are few of them; members in training, and the arrays of the best trials, stand in one
file. Of a member that stands in several files the last one counts. The latest two commits are
kept, so one that is damaged leaves the one before it. No JAX here.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np

from popjax.core.storage import Corrupt, write_atomic
from popjax.store.files import arrays_of, digest_of, write_json

Arrays = dict[str, np.ndarray]
FILE = re.compile(r"(finished|settled|standing)-\d{1,12}\.safetensors")  # format 1 wrote finished-*
MANIFEST = re.compile(r"commit-(\d{1,12})\.json")
KEPT = 2


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """Members of a run, and what is known of them.

    Attributes:
        index: their numbers (members,) in the whole run.
        epoch: the epochs that they have finished.
        curves: metric -> (members, epoch).
        state: name -> array (members, ...) of the training state; empty where it is needed no more.
    """

    index: np.ndarray
    epoch: int
    curves: Arrays
    state: Arrays = dataclasses.field(default_factory=dict)

    def take(self, rows: np.ndarray) -> Self:
        """The same of some members."""
        pick = lambda arrays: {name: array[rows] for name, array in arrays.items()}
        return dataclasses.replace(self, index=self.index[rows], curves=pick(self.curves), state=pick(self.state))

    @property
    def kind(self) -> Any:
        """What members have in common that are alike: the epoch, and the arrays of the state."""
        return self.epoch, tuple((name, array.shape[1:], array.dtype.str) for name, array in self.state.items())

    def arrays(self) -> Arrays:
        """All in one flat dictionary, for a file."""
        curves = {f"curves.{name}": values for name, values in self.curves.items()}
        return {"index": self.index, "epoch": np.array(self.epoch), **curves, **prefixed("state", self.state)}

    @classmethod
    def of(cls, arrays: Arrays) -> Self:
        """The record that `arrays` flattened."""
        return cls(arrays["index"], int(arrays["epoch"]), below("curves", arrays), below("state", arrays))


def joined(records: Iterable[Record]) -> list[Record]:
    """The same members in as few records as there are kinds of them."""
    kinds: dict[Any, list[Record]] = {}
    for record in records:
        kinds.setdefault(record.kind, []).append(record)
    return [join(alike) for alike in kinds.values()]


def join(alike: list[Record]) -> Record:
    """Records of one kind as one."""
    first = alike[0]
    if len(alike) == 1:
        return first
    all_of = lambda known: {name: np.concatenate([known(one)[name] for one in alike]) for name in known(first)}
    index = np.concatenate([one.index for one in alike])
    return Record(index, first.epoch, all_of(lambda one: one.curves), all_of(lambda one: one.state))


def several(records: Iterable[Record]) -> Arrays:
    """Records in one flat dictionary, for a file."""
    return {f"{at}.{name}": array for at, one in enumerate(records) for name, array in one.arrays().items()}


def records_of(arrays: Arrays) -> list[Record]:
    """The records that `several` flattened; or the single one that a file of format 1 holds."""
    if "index" in arrays:
        return [Record.of(arrays)]
    return [Record.of(below(at, arrays)) for at in sorted({name.partition(".")[0] for name in arrays}, key=int)]


class Commits:
    """The commits of the run in a directory.

    Attributes:
        standing: the records of what is in training.
        kept: member -> name -> array: trained states of the best trials.
        decision: how many of the scheduler's decisions had been applied; None where nobody counted (format 1).
        carrying: the decision that was being carried out; what earlier ones asked for is trained.
        number: of the latest commit; 0 before the first.
        lost: what was damaged, and so was not used; None if nothing was.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.standing: list[Record] = []
        self.kept: dict[int, Arrays] = {}
        self.decision: int | None = 0
        self.carrying = 0
        self.lost: str | None = None
        self._files: list[tuple[str, list[Record]]] = []  # of the settled, in their order, and what they hold
        self._digests: dict[str, str] = {}
        self._new: list[Record] = []
        self._latest: dict[int, int] = {}  # member -> the id of the settled record that holds its latest
        self.number = max(numbered(directory), default=0)
        self._manifests: dict[int, list[str]] = {}

    @classmethod
    def load(cls, directory: Path) -> Self:
        """The latest commit that is whole, or else what is whole of the latest.

        Raises Corrupt if there are commits and no manifest can be read, or for a link.
        """
        if directory.is_symlink():
            raise Corrupt(f"{str(directory)!r} is a link; choose another directory")
        commits = cls(directory)
        numbers = sorted(numbered(directory), reverse=True)
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

    @property
    def settled(self) -> list[Record]:
        """The records of what trains no further for now."""
        live = [self._live(record) for record in [*(one for _, held in self._files for one in held), *self._new]]
        return [record for record in live if len(record.index)]

    def settle(self, record: Record) -> None:
        """Members that train no further for now: at the end, without a state, or at rest with it."""
        self._forget(record.index)
        self._new = [one for one in self._new if self._known(one)] + [record]
        self._latest.update(dict.fromkeys(record.index.tolist(), id(record)))

    def stand(self, record: Record) -> None:
        """Members in training, as they stand now."""
        self._forget(record.index)
        self.standing.append(record)

    def forget(self) -> None:
        """Drop all that was read: the run begins again, and the next commit says so."""
        self.standing, self.kept, self._new, self._files = [], {}, [], []
        self._latest = {}

    def commit(self) -> None:
        """Write what is new; raises OSError where there is no room, and then the last commit stays."""
        self.directory.mkdir(exist_ok=True)
        number = self.number + 1
        files = self._merged(f"settled-{number}.safetensors")
        listed = {name: self._digests.get(name) or self._write(name, several(held)) for name, held in files}
        standing = f"standing-{number}.safetensors"
        listed[standing] = self._write(standing, self._unfinished())
        content = {"number": number, "decision": self.decision, "carrying": self.carrying, "files": listed}
        write_json(self.directory / f"commit-{number}.json", content)
        verify(self.directory, number)
        self.number, self._files, self._new = number, files, []
        self._digests = listed
        for record in files[-1][1] if files else ():
            self._latest.update(dict.fromkeys(record.index.tolist(), id(record)))
        self._manifests[number] = list(listed)
        self._clean()

    def _merged(self, name: str) -> list[tuple[str, list[Record]]]:
        """The settled files with the new records in the last, each larger than the next, so that there are few."""
        files = [(file, held) for file, held in self._files if any(len(self._live(one).index) for one in held)]
        if not self._new:
            return files
        records = list(self._new)
        while files and rows_in(files[-1][1]) <= rows_in(records):
            records = files.pop()[1] + records
        return [*files, (name, joined(live for one in records if len((live := self._live(one)).index)))]

    def _known(self, record: Record) -> bool:
        """Whether a settled record holds the latest of any member; others need no memory."""
        return any(self._latest.get(member) == id(record) for member in record.index.tolist())

    def _live(self, record: Record) -> Record:
        """The members of a settled record of which nothing later is known."""
        rows = np.fromiter((self._latest.get(member) == id(record) for member in record.index.tolist()), bool)
        return record if rows.all() else record.take(rows)

    def _unfinished(self) -> Arrays:
        """What is in training, and the kept arrays, for one file."""
        kept = {f"{member}.{name}": a for member, arrays in self.kept.items() for name, a in arrays.items()}
        return prefixed("stand", several(self.standing)) | prefixed("kept", kept)

    def _forget(self, index: np.ndarray) -> None:
        for member in index.tolist():
            self._latest.pop(member, None)
        left = [record.take(~np.isin(record.index, index)) for record in self.standing]
        self.standing = [record for record in left if len(record.index)]

    def _write(self, name: str, arrays: Arrays) -> str:
        from safetensors.numpy import save

        content = save({name: np.asarray(array, order="C") for name, array in arrays.items()})
        write_atomic(self.directory / name, content)
        return hashlib.sha256(content).hexdigest()

    def _read(self, number: int, whole: bool) -> None:
        """Read a commit, all of it or else the files that are whole: what is lost is trained again."""
        content = manifest(self.directory, number)
        listed, decision = content["files"], content.get("decision")
        intact = {name: digest for name, digest in listed.items() if is_whole(self.directory / name, digest)}
        if whole and intact != listed:
            bad = next(name for name in listed if name not in intact)
            raise Corrupt(f"{str(self.directory / bad)!r} is damaged")
        settled = [name for name in intact if not name.startswith("standing")]
        self._files = [(name, records_of(read(self.directory / name))) for name in settled]
        self._latest = {member: id(one) for _, held in self._files for one in held for member in one.index.tolist()}
        standing = [name for name in intact if name.startswith("standing")]
        arrays = read(self.directory / standing[0]) if standing else {}
        kept = below("kept", arrays)
        for record in records_of(below("stand", arrays)):
            self.stand(record)
        self.kept = {int(member): below(member, kept) for member in {name.partition(".")[0] for name in kept}}
        self._digests, self.decision = intact, decision
        self.carrying = content.get("carrying", max((decision or 0) - 1, 0))
        self._manifests = {number: list(intact)}

    def _clean(self) -> None:
        """Remove what none of the latest commits names."""
        self._manifests = dict(sorted(self._manifests.items())[-KEPT:])
        used = {name for names in self._manifests.values() for name in names}
        used |= {f"commit-{number}.json" for number in self._manifests}
        for path in self.directory.iterdir():
            known = FILE.fullmatch(path.name) or MANIFEST.fullmatch(path.name)
            torn = path.name.startswith((".finished-", ".settled-", ".standing-", ".commit-"))
            if path.name not in used and (known or torn):
                path.unlink()


def rows_in(records: Iterable[Record]) -> int:
    """How many members records hold."""
    return sum(len(record.index) for record in records)


def numbered(directory: Path) -> list[int]:
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
        content = json.loads(content_of(path))
        listed, said = content["files"], content.pop("check")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Corrupt(f"{str(path)!r} is damaged") from None
    if said != digest_of(content) or content.get("number") != number:
        raise Corrupt(f"{str(path)!r} is damaged")
    for name in listed:
        if not FILE.fullmatch(name):
            raise Corrupt(f"{str(path)!r} names {name!r}, which is no file of a commit")
    return dict(content)


def is_whole(path: Path, digest: str) -> bool:
    """Whether a file is there and has this digest."""
    try:
        return hashlib.sha256(content_of(path)).hexdigest() == digest
    except Corrupt:
        return False


def verify(directory: Path, number: int) -> None:
    """Raise Corrupt unless a commit that was just written is on the disk."""
    for name, digest in manifest(directory, number)["files"].items():
        if not is_whole(directory / name, digest):
            raise Corrupt(f"{str(directory / name)!r} is not what was written; is the disk failing?")


def content_of(path: Path) -> bytes:
    """The bytes of a file; raises Corrupt if it is not there, or leads elsewhere."""
    if path.is_symlink():
        raise Corrupt(f"{str(path)!r} is a link")
    try:
        return path.read_bytes()
    except OSError as error:
        raise Corrupt(f"{str(path)!r}: {error.strerror}") from None


def read(path: Path) -> Arrays:
    """The arrays of a file whose digest is right."""
    from safetensors import SafetensorError

    try:
        return arrays_of(content_of(path))
    except SafetensorError as error:
        raise Corrupt(f"{str(path)!r} is damaged: {error}") from None


def prefixed(prefix: str, arrays: Arrays) -> Arrays:
    """The arrays under longer names."""
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def below(prefix: str, arrays: Arrays) -> Arrays:
    """The arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(f"{prefix}."): a for name, a in arrays.items() if name.startswith(f"{prefix}.")}
