"""Files of a run directory: written atomically, verified on reading. No JAX here."""

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from popjax.core.storage import Corrupt, sha256, write_atomic
from popjax.space.values import python_value

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 9
READ = (8, 9)  # the formats of this minor version and of the one before, which are read, though not resumed
KINDS = {f"{letter}{8 * size}": f"{letter.lower()}{size}" for letter in "IU" for size in (1, 2, 4, 8)}
KINDS |= {"BOOL": "?", "F16": "f2", "F32": "f4", "F64": "f8", "C64": "c8", "BF16": "bfloat16"}  # safetensors -> NumPy
KINDS |= {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu"}
KINDS |= {"F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz"}


def check_format(directory: Path, run: Mapping[str, Any]) -> None:
    """Raise ValueError for a run in a format that is not read, Corrupt for one without a format."""
    written = run.get("format")
    if not isinstance(written, int):
        raise Corrupt(f"cannot read the run in {str(directory)!r}: its run.json names no format")
    if written not in READ:
        remedy = "upgrade popjax" if written > FORMAT else "search again, or read it with the popjax that wrote it"
        formats = f"{READ[0]} to {FORMAT}"
        raise ValueError(f"{str(directory)!r} has format {written}, this popjax reads {formats}; {remedy}")


STATE, TUNING, SUMMARY = "state", "autotuning", "summary.json"  # in a run's directory
HOLDS = {"run": "run.json", "session": "session.json"}  # what a directory may hold -> the file that marks it


def check_directory(directory: Path, resumed: str | None = None) -> None:
    """Raise ValueError if results cannot be written to `directory`, which need not exist yet.

    Args:
        resumed: "run" or "session" if one that the directory holds is resumed.
    """
    name = repr(str(directory))
    try:
        held = [kind for kind, file in HOLDS.items() if (directory / file).exists() and kind != resumed]
    except OSError as error:
        raise ValueError(f"{name} cannot be written: {error.strerror}; choose another directory") from None
    if held:
        how = {"run": "--resume, in Python resume=True", "session": "babysit --resume, in Python Session(resume=True)"}
        remedy = f"choose another directory, or go on with it: {how[held[0]]}"
        raise ValueError(f"{name} holds a {held[0]}; {remedy}")
    existing = directory
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise ValueError(f"{name} cannot be written: {str(existing)!r} is a file; choose another directory")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise ValueError(f"{name} cannot be written: {error.strerror}; choose another directory") from None


class KeptTrial(NamedTuple):
    """A trained trial that a run keeps.

    Attributes:
        trial: its number.
        hparams: name -> value, without inactive hyperparameters.
        arrays: name -> array (members, ...).
        recipe: JSON values that rebuild it as a predictor; None if the task has none.
        tree: the containers of its state, see `core/containers.py`; None in a file of an earlier popjax.
        history: name -> values that it was trained with, by epoch, if they changed.
    """

    trial: int
    hparams: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    recipe: Mapping[str, Any] | None
    tree: Any = None
    history: Mapping[str, list[Any]] = MappingProxyType({})


def write_best(directory: Path, winner: KeptTrial, value: float | None, together: Sequence[KeptTrial] = ()) -> None:
    """Write best/: the winner, and the trials of an ensemble, one file per program. Raises Corrupt if it is a link."""
    best = directory / "best"
    if best.is_symlink():
        raise Corrupt(f"{str(best)!r} is a link; remove it")
    best.mkdir(exist_ok=True)
    known: dict[str, Any] = {"trial": winner.trial, "hparams": winner.hparams, "value": value, "winner": winner.recipe}
    known |= {"tree": winner.tree} | ({"history": dict(winner.history)} if winner.history else {})
    known["sha256"] = write_arrays(best / "arrays.safetensors", winner.arrays)
    if together:
        known["order"] = [trial.trial for trial in together]
        once = list({trial.trial: trial for trial in together}.values())
        known["ensemble"] = [write_program(best, number, alike) for number, alike in enumerate(programs_of(once))]
    write_json(best / "best.json", known)
    named = [program["file"] for program in known.get("ensemble", ())]
    for path in best.glob("ensemble-*.safetensors"):  # of an earlier end with more programs
        if path.name not in named:
            path.unlink()


def programs_of(kept: Sequence[KeptTrial]) -> list[list[KeptTrial]]:
    """Group trials that share a program: recipe, containers, and the names, shapes and dtypes of their arrays."""
    programs: dict[Any, list[KeptTrial]] = {}
    for trial in kept:
        shapes = tuple((name, array.shape, str(array.dtype)) for name, array in trial.arrays.items())
        described = json.dumps([trial.recipe, trial.tree], sort_keys=True)
        programs.setdefault((described, shapes), []).append(trial)
    return list(programs.values())


def write_program(best: Path, number: int, alike: Sequence[KeptTrial]) -> dict[str, Any]:
    """Write the arrays of trials that share a program, name -> (trials, members, ...); returns their description."""
    file = f"ensemble-{number}.safetensors"
    stacked = {name: np.stack([trial.arrays[name] for trial in alike]) for name in alike[0].arrays}
    digest = write_arrays(best / file, stacked)
    trials, hparams = [trial.trial for trial in alike], [dict(trial.hparams) for trial in alike]
    known = {"file": file, "sha256": digest, "trials": trials, "hparams": hparams}
    return known | {"winner": alike[0].recipe, "tree": alike[0].tree}


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """Write a safetensors file; returns its SHA-256."""
    from safetensors.numpy import save

    content = save({name: np.asarray(array, order="C") for name, array in arrays.items()})
    write_atomic(path, content)
    return sha256(content)


def read_arrays(path: Path, digest: str | None = None) -> dict[str, np.ndarray]:
    """Read a safetensors file; raises Corrupt if it is missing, broken, or has another SHA-256."""
    from safetensors import SafetensorError

    try:
        content = path.read_bytes()
        if digest not in (None, sha256(content)):
            raise Corrupt(f"{str(path)!r} is damaged: its bytes are not those that were written")
        return arrays_of(content)
    except (OSError, SafetensorError) as error:
        raise Corrupt(f"{str(path)!r} is damaged: {error}") from None


def file_bytes(path: Path) -> bytes:
    """Bytes of a file; raises Corrupt if it is a link or cannot be read."""
    if path.is_symlink():
        raise Corrupt(f"{str(path)!r} is a link")
    try:
        return path.read_bytes()
    except OSError as error:
        raise Corrupt(f"cannot read {str(path)!r}: {error.strerror}") from None


def load_best_files(best: Path) -> KeptTrial:
    """The winner in best/."""
    description = read_json(best / "best.json")
    arrays = read_arrays(best / "arrays.safetensors", description.get("sha256"))
    described = {name: description[name] for name in ("tree", "history") if name in description}
    return KeptTrial(description["trial"], description["hparams"], arrays, description["winner"], **described)


def load_ensemble_files(best: Path) -> list[KeptTrial]:
    """Trials of the ensemble in best/, in order, each as often as it counts; empty without one. Raises Corrupt."""
    description = read_json(best / "best.json")
    trials: dict[int, KeptTrial] = {}
    try:
        for number, program in enumerate(description.get("ensemble", [])):
            stacked = read_arrays(best / f"ensemble-{number}.safetensors", program["sha256"])
            for row, (trial, hparams) in enumerate(zip(program["trials"], program["hparams"], strict=True)):
                arrays = {name: array[row] for name, array in stacked.items()}
                trials[trial] = KeptTrial(trial, hparams, arrays, program["winner"], program.get("tree"))
        return [trials[trial] for trial in description.get("order", [])]
    except (KeyError, TypeError, IndexError, ValueError) as error:
        if isinstance(error, Corrupt):
            raise
        raise Corrupt(f"cannot read {str(best)!r}: its ensemble is damaged ({error})") from None


def arrays_of(content: bytes) -> dict[str, np.ndarray]:
    """Arrays by name from the bytes of a safetensors file, including bfloat16; raises SafetensorError."""
    import ml_dtypes  # noqa: F401  registers bfloat16 with NumPy
    from safetensors import SafetensorError, deserialize

    arrays = {}
    for name, array in sorted(deserialize(content), key=lambda pair: pair[0]):  # whose order is another in each process
        if array["dtype"] not in KINDS:
            raise SafetensorError(f"{name!r} is of an unknown type, {array['dtype']}")
        arrays[name] = np.frombuffer(array["data"], KINDS[array["dtype"]]).reshape(array["shape"])
    return arrays


def jsonable(value: Any) -> Any:
    """The value for JSON: of NumPy and JAX Python's own, and None for a float that is not finite."""
    value = python_value(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, content: Mapping[str, Any]) -> str:
    """Write a JSON object with the digest of its content, for `read_json`; returns the digest.

    Raises ValueError for NaN and infinity.
    """
    written = json.loads(json.dumps(content, allow_nan=False))
    digest = digest_of_json(written)
    write_atomic(path, json.dumps(written | {"check": digest}, indent=1).encode() + b"\n")
    return digest


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises ValueError if it is missing, Corrupt if it is broken or was changed."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{str(path.parent)!r} holds no finished run: there is no {path.name}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise Corrupt(f"cannot read {str(path)!r}: {error}") from None
    if not isinstance(content, dict):
        raise Corrupt(f"cannot read {str(path)!r}: it is not a JSON object")
    digest = content.pop("check", None)
    if digest is not None and digest != digest_of_json(content):
        raise Corrupt(f"cannot read {str(path)!r}: its content is not what was written")
    return content


def digest_of_json(content: Mapping[str, Any]) -> str:
    """SHA-256 of the content of a JSON object, whatever its layout and key order."""
    return sha256(json.dumps(content, sort_keys=True).encode())


def write_table(path: Path, table: "pa.Table") -> str:
    """Write a Parquet file with page checksums; returns its SHA-256, since the checksums omit the footer."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True)
    content = sink.getvalue().to_pybytes()
    write_atomic(path, content)
    return sha256(content)


def read_table(path: Path, digest: str | None = None) -> "pa.Table":
    """Read a Parquet file; raises ValueError if it is missing, Corrupt if it is broken or has another SHA-256."""
    try:
        content = path.read_bytes()
        if digest is not None and sha256(content) != digest:
            raise Corrupt(f"cannot read {str(path)!r}: its bytes are not those that summary.json names")
        return parquet(content)
    except Corrupt:
        raise
    except FileNotFoundError:
        raise ValueError(f"{str(path.parent)!r} holds no finished run: there is no {path.name}") from None
    except (OSError, ValueError) as error:  # as pyarrow raises them
        raise Corrupt(f"cannot read {str(path)!r}: {error}") from None


def parquet(content: bytes) -> "pa.Table":
    """Table from the bytes of a Parquet file, page checksums verified; raises pyarrow's errors.

    Reads without threads: one that is still starting when a short command ends aborts the process.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True, pre_buffer=False)
    return file.read(use_threads=False)
