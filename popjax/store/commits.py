"""What a run has trained so far, on the disk: killed at any instant, it goes on from its last commit.

A commit is a manifest, written last, that names its files and their SHA-256 digests. Curves
of finished members stand in files that merge as they grow, so there are few of them; members
in training, and the arrays of the best trials, stand in one file. The latest two commits are
kept, so one that is damaged leaves the one before it. No JAX here.
"""

import dataclasses
import functools
import hashlib
import json
import re
from pathlib import Path
from typing import Self

import numpy as np

from popjax.core.storage import Corrupt, write_atomic
from popjax.store.files import arrays_of, digest_of, write_json

Arrays = dict[str, np.ndarray]
FILE = re.compile(r"(finished|standing)-\d{1,12}\.safetensors")
MANIFEST = re.compile(r"commit-(\d{1,12})\.json")
KEPT = 2


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """Members of a run, and what is known of them.

    Attributes:
        index: their numbers (members,) in the whole run.
        epoch: the epochs that they have finished.
        curves: metric -> (members, epoch).
        state: name -> array (members, ...) of the training state; empty for the finished.
    """

    index: np.ndarray
    epoch: int
    curves: Arrays
    state: Arrays = dataclasses.field(default_factory=dict)

    def without(self, index: np.ndarray) -> Self:
        """The same without the members of `index`."""
        rows = ~np.isin(self.index, index)
        pick = lambda arrays: {name: array[rows] for name, array in arrays.items()}
        return dataclasses.replace(self, index=self.index[rows], curves=pick(self.curves), state=pick(self.state))

    def join(self, other: Self) -> Self:
        """The finished members of both."""
        curves = {name: np.concatenate([values, other.curves[name]]) for name, values in self.curves.items()}
        return dataclasses.replace(self, index=np.concatenate([self.index, other.index]), curves=curves)

    def arrays(self) -> Arrays:
        """All in one flat dictionary, for a file."""
        curves = {f"curves.{name}": values for name, values in self.curves.items()}
        return {"index": self.index, "epoch": np.array(self.epoch), **curves, **prefixed("state", self.state)}

    @classmethod
    def of(cls, arrays: Arrays) -> Self:
        """The record that `arrays` flattened."""
        return cls(arrays["index"], int(arrays["epoch"]), below("curves", arrays), below("state", arrays))


class Commits:
    """The commits of the run in a directory.

    Attributes:
        finished: the records of what is trained to the end.
        standing: the records of what is in training.
        kept: member -> name -> array: trained states of the best trials.
        number: of the latest commit; 0 before the first.
        lost: what was damaged, and so was not used; None if nothing was.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.finished: list[Record] = []
        self.standing: list[Record] = []
        self.kept: dict[int, Arrays] = {}
        self.lost: str | None = None
        self._files: list[str] = []  # of the finished, in their order
        self._digests: dict[str, str] = {}
        self._new: list[Record] = []
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

    def finish(self, record: Record) -> None:
        """Members that are trained to the end."""
        self._forget(record.index)
        self._new.append(record)

    def stand(self, record: Record) -> None:
        """Members in training, as they stand now."""
        self._forget(record.index)
        self.standing.append(record)

    def commit(self) -> None:
        """Write what is new; raises OSError where there is no room, and then the last commit stays."""
        self.directory.mkdir(exist_ok=True)
        number = self.number + 1
        finished = self._merged()
        files = self._files[: len(finished) - bool(self._new)]
        listed = {file: self._digests[file] for file in files}
        if self._new:
            files.append(f"finished-{number}.safetensors")
            listed[files[-1]] = self._write(files[-1], finished[-1].arrays())
        standing = f"standing-{number}.safetensors"
        listed[standing] = self._write(standing, self._unfinished())
        content = {"number": number, "files": listed}
        write_json(self.directory / f"commit-{number}.json", content)
        verify(self.directory, number)
        self.number, self._files, self.finished, self._new = number, files, finished, []
        self._digests = listed
        self._manifests[number] = list(listed)
        self._clean()

    def _merged(self) -> list[Record]:
        """The finished with the new ones as the last record, each larger than the next, so that there are few."""
        finished = list(self.finished)
        if not self._new:
            return finished
        record = functools.reduce(Record.join, self._new)
        while finished and len(finished[-1].index) <= len(record.index):
            record = finished.pop().join(record)
        return [*finished, record]

    def _unfinished(self) -> Arrays:
        """What is in training, and the kept arrays, for one file."""
        stands = {f"{at}.{name}": a for at, one in enumerate(self.standing) for name, a in one.arrays().items()}
        kept = {f"{member}.{name}": a for member, arrays in self.kept.items() for name, a in arrays.items()}
        return prefixed("stand", stands) | prefixed("kept", kept)

    def _forget(self, index: np.ndarray) -> None:
        left = [record.without(index) for record in self.standing]
        self.standing = [record for record in left if len(record.index)]

    def _write(self, name: str, arrays: Arrays) -> str:
        from safetensors.numpy import save

        content = save({name: np.asarray(array, order="C") for name, array in arrays.items()})
        write_atomic(self.directory / name, content)
        return hashlib.sha256(content).hexdigest()

    def _read(self, number: int, whole: bool) -> None:
        """Read a commit, all of it or else the files that are whole: what is lost is trained again."""
        listed = manifest(self.directory, number)
        intact = {name: digest for name, digest in listed.items() if is_whole(self.directory / name, digest)}
        if whole and intact != listed:
            bad = next(name for name in listed if name not in intact)
            raise Corrupt(f"{str(self.directory / bad)!r} is damaged")
        finished = [name for name in intact if name.startswith("finished")]
        self.finished = [Record.of(read(self.directory / name)) for name in finished]
        standing = [name for name in intact if name.startswith("standing")]
        arrays = read(self.directory / standing[0]) if standing else {}
        stands, kept = below("stand", arrays), below("kept", arrays)
        self.standing = [Record.of(below(at, stands)) for at in sorted({n.partition(".")[0] for n in stands}, key=int)]
        self.kept = {int(member): below(member, kept) for member in {name.partition(".")[0] for name in kept}}
        self._files, self._digests = finished, intact
        self._manifests = {number: list(intact)}

    def _clean(self) -> None:
        """Remove what none of the latest commits names."""
        self._manifests = dict(sorted(self._manifests.items())[-KEPT:])
        used = {name for names in self._manifests.values() for name in names}
        used |= {f"commit-{number}.json" for number in self._manifests}
        for path in self.directory.iterdir():
            known = FILE.fullmatch(path.name) or MANIFEST.fullmatch(path.name)
            torn = path.name.startswith((".finished-", ".standing-", ".commit-"))
            if path.name not in used and (known or torn):
                path.unlink()


def numbered(directory: Path) -> list[int]:
    """The numbers of the commits in a directory."""
    if not directory.is_dir():
        return []
    found = [MANIFEST.fullmatch(path.name) for path in directory.iterdir()]
    return [int(match[1]) for match in found if match]


def manifest(directory: Path, number: int) -> dict[str, str]:
    """The files that a commit names and their digests; raises Corrupt if a byte of it is not what was written."""
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
    return dict(listed)


def is_whole(path: Path, digest: str) -> bool:
    """Whether a file is there and has this digest."""
    try:
        return hashlib.sha256(content_of(path)).hexdigest() == digest
    except Corrupt:
        return False


def verify(directory: Path, number: int) -> None:
    """Raise Corrupt unless a commit that was just written is on the disk."""
    for name, digest in manifest(directory, number).items():
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
