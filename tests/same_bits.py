"""Do two checkouts compute the same bits? `python tests/same_bits.py OLD NEW [--cases default,rounds]`.

Each case is one or more commands, run by both in environments of their own (`uv run --project`), in an empty directory,
with an empty HOME and so a cache of their own. A line a case says "same", or what differs first; the exit code is 1 if
anything differs. Columns and keys that only NEW has are named, and allowed. Where a command or a file is called
otherwise in OLD, its case or RENAMED says so.
"""

import argparse
import csv
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

SCRIPT = "go 3\nlearning_rate=0.1\ngo 3\nback 3\nlearning_rate*=0.3\ngo 3\nwatch\nsave\n"
STEERED = """
import importlib, sys
import popjax as pj
from popjax.tuning.person import Change, Person, Steered

ASKED = {
    1: [Change("set", 4, values={"learning_rate": 0.02}), Change("stop", 5)],
    2: [Change("clone", 0, source=2)],
    4: [Change("lift", 5), Change("set", 0, values={"momentum": 0.5})],
}

class Hand(Steered):
    def __init__(self):
        self.person, self.number = Person(), 0
    def decision(self, decision, trials):
        for change in ASKED.get(self.number, ()):
            self.person.ask(change)
        self.number += 1

task = pj.supervised("wine")
space = pj.default_space(2, rows=80)
pj.search(task, space, trials=12, epochs=8, folds=2, scheduler=pj.halving(), every=1, live=Hand(), out=sys.argv[1])
"""
WEIGHTED = """
import sys
import numpy as np
import popjax as pj
from sklearn.datasets import load_wine
x, y = load_wine(return_X_y=True)
weights = np.random.default_rng(0).uniform(0.5, 2, len(y))
groups, counts = np.arange(len(y)) // 3, {0: 1.0, 1: 2.0, 2: 0.5}
task = pj.supervised((x, y), sample_weight=weights, class_weight=counts, groups=groups)
pj.search(task, trials=12, epochs=6, out=sys.argv[1])
"""
SESSION = """
import hashlib, json, sys
import numpy as np
import popjax as pj

several = {"learning_rate": [0.05, 0.1, 0.2, 0.4], "momentum": [0.0, 0.5, 0.9, 0.95], "hidden": [8, 16, 24, 8]}
session = pj.Session(pj.supervised("wine"), several, folds=2, repeats=2, out=sys.argv[1])
session.train(3)
session.set(1, learning_rate=0.02)
session.train(2)
session.clone(2, 0)
session.stop(3)
session.train(3)
session.back(2)
session.lift(3)
session.set(momentum=0.3)
session.train(2)
session.back(6)
session.stop(1)
session.train(4)

def told(session):
    arrays = [session.arrays(trial)[0] for trial in range(session.trials)]
    states = [hashlib.sha256(b"".join(one[name].tobytes() for name in sorted(one))).hexdigest() for one in arrays]
    values = {name: column.tolist() for name, column in session.hparams.items()}
    return {"states": states, "hparams": values, "alive": session.alive.tolist(), "epoch": session.epoch}

before = told(session)
again = pj.Session(pj.supervised("wine"), several, folds=2, repeats=2, out=sys.argv[1], resume=True)
again.back(3)
again.train(2)
with open(sys.argv[1] + "/told.json", "w") as file:
    json.dump({"before": before, "resumed": told(again)}, file)
"""
LOST = """
import sys
from concurrent.futures import Future
import popjax as pj
from popjax.engine.backends.renewable_executor import Traits

class Full:
    traits = Traits(seconds=1e-9)

    def submit(self, fn, *args):
        if set(args[0].members.trial.tolist()) & {2, 7} and args[0].epoch >= 3:
            raise OSError("no room for it")
        future = Future()
        future.set_result(fn(*args))
        return future

rank = pj.best(at="best", patience=3)
asked = {"trials": 12, "epochs": 9, "folds": 2, "scheduler": pj.halving(min_epochs=3), "rank": rank}
pj.search(pj.supervised("wine"), backend=pj.Remote(Full(), retries=1), out=sys.argv[1], **asked)
"""


class Case(NamedTuple):
    """Commands that write to the directory that is called like the case, and how OLD spells them, if otherwise.

    The directory follows `--out`, or stands in the place of OUT.
    """

    new: tuple[str, ...]
    old: tuple[str, ...] | None = None


TPE = "sweep --dataset wine --epochs 6 --rounds 3 --sampler tpe --trials"
BEST = "sweep --dataset wine --at best --folds 2 --repeats 2"
TABLE = "sweep --dataset ../table.csv --target price --missing median --trials 24 --epochs 8"
CASES = {
    "default": Case(("sweep --trials 64",)),
    "rounds": Case(("sweep --trials 48 --rounds 3",)),
    "tpe": Case((f"{TPE} 48", f"{TPE} 80 --resume")),
    "folds": Case(("sweep --dataset wine --trials 24 --folds 3 --repeats 2",)),
    "buckets": Case(("sweep --trials 24 --epochs 5 --plan buckets",)),
    "cnn": Case(("sweep --model cnn --trials 12 --epochs 3",)),
    "regression": Case(("sweep --dataset diabetes --optimizer adam --trials 32",)),
    "halving": Case(("sweep --dataset wine --trials 48 --scheduler halving",)),
    "hyperband": Case(("sweep --dataset wine --trials 48 --scheduler hyperband",)),
    "pbt": Case(("sweep --dataset wine --trials 16 --epochs 8 --scheduler pbt",)),
    "processes": Case(("sweep --dataset wine --trials 24 --executor processes:2 --scheduler halving",)),
    "babysit": Case(("babysit --script ../script",)),
    "steered": Case(("../steered.py",)),
    "table": Case((TABLE,)),
    "groups": Case((f"{TABLE} --drop room --groups street",)),
    "weights": Case(("../weighted.py",)),
    "balanced": Case(("sweep --dataset wine --class-weight balanced --metrics f1,auc --trials 16 --epochs 6",)),
    "one-se": Case(("sweep --dataset wine --trials 24 --folds 3 --choose one-se --epochs 8",)),
    "ensemble": Case(("sweep --dataset wine --trials 32 --choose ensemble --epochs 8",)),
    "best": Case((f"{BEST} --trials 24 --epochs 12",)),
    "best-halving": Case((f"{BEST} --trials 32 --epochs 16 --scheduler halving",)),
    "best-pbt": Case((f"{BEST} --trials 16 --epochs 12 --scheduler pbt",)),
    "best-tpe": Case((f"{BEST} --trials 32 --epochs 8 --rounds 3 --sampler tpe",)),
    "rests": Case((f"{BEST} --trials 24 --epochs 16 --patience 2 --choose ensemble",)),
    "rests-halving": Case((f"{BEST} --trials 32 --epochs 16 --patience 2 --scheduler halving",)),
    "rests-hyperband": Case((f"{BEST} --trials 32 --epochs 16 --patience 3 --scheduler hyperband",)),
    "rests-pbt": Case((f"{BEST} --trials 16 --epochs 16 --patience 3 --scheduler pbt",)),
    "session": Case(("../session.py",)),
    "retest": Case(
        ("sweep --dataset wine --trials 24 --epochs 8 --scheduler pbt", "retest OUT --top 5 --background 8")
    ),
    "minutes": Case(("sweep --trials 96 --epochs 80 --minutes 0.25", "sweep --trials 96 --epochs 80 --resume")),
    "lost": Case(("../lost.py",)),
    "longer": Case(
        (f"{BEST} --patience 3 --trials 16 --epochs 6", f"{BEST} --patience 3 --trials 16 --epochs 14 --resume")
    ),
}
FILES = ("trials.parquet", "curves.parquet", "history.parquet", "best/arrays.safetensors", "best/best.json")
FILES += ("best/ensemble-0.safetensors", "best/ensemble-1.safetensors", "decisions.jsonl", "told.json", "retest.json")
RENAMED = {"history.parquet": "schedules.parquet"}  # what OLD may call it
KEYS = {"schedule": "history"}  # of JSON objects
DECIDED = ("add", "copy", "fresh", "set", "until", "goal", "stopped")
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


def write_inputs(place: Path) -> None:
    """What the cases read: scripts, and a table with texts, missing cells and rows that belong together."""
    (place / "script").write_text(SCRIPT)
    (place / "steered.py").write_text(STEERED)
    (place / "weighted.py").write_text(WEIGHTED)
    (place / "session.py").write_text(SESSION)
    (place / "lost.py").write_text(LOST)
    rng = random.Random(0)
    with (place / "table.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["area", "rooms", "side", "room", "street", "price"])
        for row in range(240):
            area, rooms, side = rng.uniform(20, 200), rng.randint(1, 6), rng.choice(["north", "south", "east"])
            price = 10 * area + 300 * rooms + (500 if side == "south" else 0) + rng.gauss(0, 100)
            shown = "" if rng.random() < 0.1 else f"{area:.1f}"
            named = "" if rng.random() < 0.1 else side
            table.writerow([shown, rooms, named, rng.choice("abcd"), f"street {row // 4}", f"{price:.2f}"])


def run(case: str, commands: tuple[str, ...], where: tuple[Path, Path]) -> None:
    """Run a case's commands, one after another."""
    for command in commands:
        name, *arguments = shlex.split(command)
        where_to = [] if "OUT" in arguments else ["--out", case]
        words = [name, case]
        if not name.endswith(".py"):
            words = ["-m", f"popjax.{name}", *(case if word == "OUT" else word for word in arguments), *where_to]
        python(*where, *words)


def content(path: Path) -> dict[str, Any]:
    """What is compared of a file: a table's columns in their order, an object's values, what was decided."""
    read = lambda text: json.loads(text, object_pairs_hook=lambda pairs: dict(sorted(pairs)))
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        return {name: {"type": str(table[name].type), "rows": table[name].to_pylist()} for name in table.column_names}
    if path.suffix == ".json":
        told = as_before(read(path.read_text()))
        return dict(sorted((KEYS.get(name, name), value) for name, value in told.items() if name != "check"))
    if path.suffix == ".jsonl":
        lines = map(read, path.read_text().splitlines())
        decided = [{name: line[name] for name in DECIDED if name in line} for line in lines]
        return {"decisions": [line for line in decided if line]}
    return {"bytes": path.read_bytes()}


def as_before(told: Any) -> Any:
    """A recipe's affine transforms as it had them before they had a name: an array (folds, ...) for each field."""
    if isinstance(told, list):
        return [as_before(one) for one in told]
    if not isinstance(told, dict):
        return told
    told = {name: as_before(value) for name, value in told.items()}
    if "transforms" in told:
        folds = [one["fields"] for one in told.pop("transforms")]
        told |= {name: [fold[name] for fold in folds] for name in ("mean", "scale", "limit")}
        told["classes"] = told["kind"]["classes"]
    return dict(sorted(told.items()))


def curves_of(run: Path) -> dict[str, Any]:
    """The curves of a babysat model as it stands: of its table, or of a journal, in which epochs are taken back."""
    if not (run / "journal.jsonl").exists():
        table = pq.read_table(run / "curves.parquet").to_pydict()
        return {name: values for name, values in table.items() if name not in ("trial", "fold", "repeat", "epoch")}
    found: dict[str, list[float]] = {}
    for line in map(json.loads, (run / "journal.jsonl").read_text().splitlines()):
        for name, value in line.items() if line["command"] is None else ():
            if name not in ("epoch", "learning_rate", "command"):
                found[name] = [*found.get(name, [])[: line["epoch"] - 1], value]
    return found


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
    known = CASES[case]
    for where, commands in zip(both, (known.old or known.new, known.new), strict=True):
        run(case, commands, where)
    old, new = (place / case for _, place in both)
    only: list[str] = []
    sat = known.new[0].startswith("babysit")
    if sat:
        only += added(curves_of(old), curves_of(new), "curves")
    for file in FILES[3:5] if sat else FILES:
        before, after = (run / file if (run / file).exists() else run / RENAMED.get(file, file) for run in (old, new))
        if before.exists() != after.exists():
            raise Different(f"{file} is in one of both alone")
        if before.exists():
            only += added(content(before), content(after), f"{file}:")
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
        write_inputs(Path(directory))
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
