"""Read NPZ files: an array of features and one of targets. No JAX here."""

import contextlib
import io
import zipfile
from collections.abc import Iterator

import numpy as np

from popjax.data.columns import MAX_BYTES, size_text
from popjax.data.table import PLAINLY, Reading, Table


def read_npz(source: str, content: bytes, target: str | None, how: Reading = PLAINLY) -> Table:
    """Table of the arrays x and y of an NPZ file; `target` names another array than y.

    Raises ValueError in one line, also for `how.drop` and `how.groups`, since an array has no columns.
    """
    names = "x", target or "y"
    for name in [*how.drop, *([how.groups] if how.groups else []), *(how.dates or ())]:
        raise ValueError(f"{source} holds arrays, which have no column {name!r}; give a table")
    with as_npz(source):
        archive = zipfile.ZipFile(io.BytesIO(content))
        stored = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
    for name in names:
        if name not in stored:
            known = ", ".join(map(repr, stored)) or "none"
            raise ValueError(f"{source} has no array {name!r}; it has {known}")
        if stored[name].file_size > MAX_BYTES:
            what = f"{source}: the array {name!r} would take {size_text(stored[name].file_size)}"
            raise ValueError(f"{what}; at most {size_text(MAX_BYTES)}, so take fewer rows")
    with as_npz(source):
        x, y = (array_in(archive, stored[name]) for name in names)
    return Table({}, x, y, source, names[1])


@contextlib.contextmanager
def as_npz(source: str) -> Iterator[None]:
    """Turn any exception into a ValueError of one line: a damaged archive fails in many ways."""
    try:
        yield
    except Exception as error:
        what = " ".join(str(error).split())
        raise ValueError(f"cannot read {source} as NPZ: {what}; save it with numpy.savez") from None


def array_in(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """Array of an entry of an archive; raises ValueError if bytes follow it."""
    with archive.open(entry) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):  # reaching the end also verifies the checksum
            raise ValueError(f"{entry.filename!r} has data after its array")
    return array
