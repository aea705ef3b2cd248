"""Do two checkouts compute the same bits? `python tests/same_bits.py OLD NEW [--cases default,rounds]`.

Each case is one command, run by both in environments of their own (`uv run --project`), in an empty directory, with an
empty HOME and so a cache of their own. A line a case says "same", or what differs first; the exit code is 1 if
anything differs. Columns and keys that only NEW has are named, and allowed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

SCRIPT = "go 3\nlearning_rate=0.1\ngo 3\nback 3\nlearning_rate*=0.3\ngo 3\nwatch\nsave\n"
CASES = {
    "default": "sweep --trials 64",
    "rounds": "sweep --trials 48 --rounds 3",
    "folds": "sweep --dataset wine --trials 24 --folds 3 --repeats 2",
    "buckets": "sweep --trials 24 --epochs 5 --plan buckets",
    "cnn": "sweep --model cnn --trials 12 --epochs 3",
    "regression": "sweep --dataset diabetes --optimizer adam --trials 32",
    "babysit": "babysit --script ../script",
}
WHERE = """
import importlib.metadata, popjax
print(popjax.__file__)
print(*(f"{n} {importlib.metadata.version(n)}" for n in "jax jaxlib flax optax numpy scipy scikit-learn".split()))
"""


class Different(Exception):
    """What differs."""


def python(checkout: Path, place: Path, *arguments: str) -> str:
    """What Python says in a checkout's environment; `uv` itself has the user's HOME, for its own cache."""
    unset = [word for name in ("JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME", "PYTHONPATH") for word in ("-u", name)]
    command = ["uv", "run", "-q", "--project", str(checkout), "env", *unset, f"HOME={place}", "python", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    process = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    if process.returncode != 0:
        said = (process.stderr.strip().splitlines() or ["nothing"])[-1]
        raise Different(f"{checkout} exits with {process.returncode}: {said}")
    return process.stdout


def check(both: list[tuple[Path, Path]]) -> None:
    """Exit unless each environment has the popjax of its own checkout; say it if the libraries differ."""
    found = [python(*one, "-c", WHERE).splitlines() for one in both]
    for (checkout, _), (home, _) in zip(both, found, strict=True):
        if not Path(home).resolve().is_relative_to(checkout):
            raise SystemExit(f"the environment of {checkout} has the popjax of {home}: uv sync there")
    if found[0][1] != found[1][1]:
        print(f"the libraries differ, so bits may: {found[0][1]} in OLD, {found[1][1]} in NEW", flush=True)


def content(path: Path) -> dict[str, Any]:
    """What is compared of a file: a table's columns in their order, an object's values, the epochs of a journal."""
    read = lambda text: json.loads(text, object_pairs_hook=lambda pairs: dict(sorted(pairs)))
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        return {name: {"type": str(table[name].type), "rows": table[name].to_pylist()} for name in table.column_names}
    if path.suffix == ".json":
        return {name: value for name, value in read(path.read_text()).items() if name != "check"}  # a digest
    if path.suffix == ".jsonl":
        lines = map(read, path.read_text().splitlines())
        return {"epochs": [line for line in lines if line["command"] is None]}
    return {"bytes": path.read_bytes()}


def added(old: Any, new: Any, name: str) -> Iterator[str]:
    """Names of what only NEW has; raises Different. Floats are compared by repr, which is exact and knows -0.0, NaN."""
    if isinstance(old, dict) and isinstance(new, dict):
        if list(old) != [key for key in new if key in old]:
            raise Different(f"{name} has {list(new)}, had {list(old)}")
        for key in old:
            yield from added(old[key], new[key], f"{name} {key}")
        yield from (f"{name} {key}" for key in new if key not in old)
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            raise Different(f"{name} has length {len(new)}, had {len(old)}")
        for at, pair in enumerate(zip(old, new, strict=True)):
            yield from added(*pair, f"{name} {at}")
    elif repr(old) != repr(new):
        raise Different(f"{name}: was {old!r:.80}, is {new!r:.80}")


def compare(case: str, both: list[tuple[Path, Path]]) -> str:
    """Run a case in both; "same", and what only NEW has. Raises Different."""
    name, *arguments = CASES[case].split()
    for one in both:
        python(*one, "-m", f"popjax.{name}", *arguments, "--out", case)
    only: list[str] = []
    tables = ["trials.parquet", "curves.parquet"] if name == "sweep" else ["journal.jsonl"]
    for file in (*tables, "best/arrays.safetensors", "best/best.json"):
        old, new = (place / case / file for _, place in both)
        if not (old.exists() and new.exists()):
            raise Different(f"there is no {file}")
        only += added(content(old), content(new), f"{file}:")
    return f"same (only NEW has {', '.join(only)})" if only else "same"


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--cases", default=",".join(CASES), help="some of %(default)s")
    given = parser.parse_args()
    cases = given.cases.split(",")
    if unknown := set(cases) - set(CASES):
        parser.error(f"unknown cases: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    code = 0
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "script").write_text(SCRIPT)
        both = [(given.old.resolve(), Path(directory, "old")), (given.new.resolve(), Path(directory, "new"))]
        for _, place in both:
            place.mkdir()
        check(both)
        for case in cases:
            try:
                said = compare(case, both)
            except Different as difference:
                code, said = 1, f"DIFFERS: {difference}"
            print(f"{case}: {said}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
