"""Do two checkouts compute the same bits? `python tests/same_bits.py OLD NEW [--cases default,rounds]`.

Each case is one or more commands, run by both in environments of their own (`uv run --project`), in an empty directory,
with an empty HOME and so a cache of their own. A line a case says "same", or what differs first; the exit code is 1 if
anything differs. Columns and keys that only NEW has are named, and allowed.
"""

import argparse
import csv
import json
import os
import random
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

SCRIPT = "go 3\nlearning_rate=0.1\ngo 3\nback 3\nlearning_rate*=0.3\ngo 3\nwatch\nsave\n"
STEERED = """
import contextlib, io, re, sys
import popjax as pj
sys.path.append(TESTS)
from asking import Page

ASKED = {
    1: [{"verb": "set", "trial": 4, "values": {"learning_rate": 0.02}}, {"verb": "stop", "trial": 5}],
    2: [{"verb": "clone", "trial": 0, "source": 2}],
    4: [{"verb": "lift", "trial": 5}, {"verb": "set", "trial": 0, "values": {"momentum": 0.5}}],
}

class Hand(pj.Callback):
    number, page = 0, None
    def decision(self, decision, trials):
        self.page = self.page or Page(re.search(r"http://\\S+", printed.getvalue())[0])
        for change in ASKED.get(self.number, ()):
            self.page.ask(**change)
        self.number += 1

task = pj.supervised("wine")
space = pj.default_space(2, rows=80)
asked = {"trials": 12, "epochs": 8, "folds": 2, "scheduler": pj.halving(), "every": 1, "live": True, "out": sys.argv[1]}
with contextlib.redirect_stderr(io.StringIO()) as printed:
    results = pj.search(task, space, callbacks=[Hand()], **asked)
assert results.steered is not None, printed.getvalue()
""".replace("TESTS", repr(os.path.dirname(__file__)))
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

class Full:
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


TPE = "sweep --dataset wine --epochs 6 --rounds 3 --sampler tpe --trials"
BEST = "sweep --dataset wine --at best --folds 2 --repeats 2"
TABLE = "sweep --dataset ../table.csv --target price --missing auto --trials 24 --epochs 8"
CASES = {  # commands, which write to the directory that is called like the case: that of --out, or in the place of OUT
    "default": ("sweep --trials 64",),
    "rounds": ("sweep --trials 48 --rounds 3",),
    "tpe": (f"{TPE} 48", f"{TPE} 80 --resume"),
    "folds": ("sweep --dataset wine --trials 24 --folds 3 --repeats 2",),
    "buckets": ("sweep --trials 24 --epochs 5 --plan buckets",),
    "cnn": ("sweep --model cnn --trials 12 --epochs 3",),
    "regression": ("sweep --dataset diabetes --optimizer adam --trials 32",),
    "halving": ("sweep --dataset wine --trials 48 --scheduler halving",),
    "hyperband": ("sweep --dataset wine --trials 48 --scheduler hyperband",),
    "pbt": ("sweep --dataset wine --trials 16 --epochs 8 --scheduler pbt",),
    "processes": ("sweep --dataset wine --trials 24 --executor processes:2 --scheduler halving",),
    "babysit": ("babysit --script ../script",),
    "steered": ("../steered.py",),
    "table": (TABLE,),
    "groups": (f"{TABLE} --drop room --groups street",),
    "weights": ("../weighted.py",),
    "balanced": ("sweep --dataset wine --class-weight balanced --metrics f1,auc --trials 16 --epochs 6",),
    "one-se": ("sweep --dataset wine --trials 24 --folds 3 --choose one-se --epochs 8",),
    "ensemble": ("sweep --dataset wine --trials 32 --choose ensemble --epochs 8",),
    "best": (f"{BEST} --trials 24 --epochs 12",),
    "best-halving": (f"{BEST} --trials 32 --epochs 16 --scheduler halving",),
    "best-pbt": (f"{BEST} --trials 16 --epochs 12 --scheduler pbt",),
    "best-tpe": (f"{BEST} --trials 32 --epochs 8 --rounds 3 --sampler tpe",),
    "rests": (f"{BEST} --trials 24 --epochs 16 --patience 2 --choose ensemble",),
    "rests-halving": (f"{BEST} --trials 32 --epochs 16 --patience 2 --scheduler halving",),
    "rests-hyperband": (f"{BEST} --trials 32 --epochs 16 --patience 3 --scheduler hyperband",),
    "rests-pbt": (f"{BEST} --trials 16 --epochs 16 --patience 3 --scheduler pbt",),
    "session": ("../session.py",),
    "retest": ("sweep --dataset wine --trials 24 --epochs 8 --scheduler pbt", "retest OUT --top 5 --background 8"),
    "minutes": ("sweep --trials 96 --epochs 80 --minutes 0.25", "sweep --trials 96 --epochs 80 --resume"),
    "lost": ("../lost.py",),
    "longer": (f"{BEST} --patience 3 --trials 16 --epochs 6", f"{BEST} --patience 3 --trials 16 --epochs 14 --resume"),
}
FILES = ("trials.parquet", "curves.parquet", "history.parquet", "best/arrays.safetensors", "best/best.json")
FILES += ("best/ensemble-0.safetensors", "best/ensemble-1.safetensors", "decisions.jsonl", "told.json", "retest.json")
FILES += ("summary.json",)  # scores, and the baselines
DECIDED = ("add", "copy", "fresh", "set", "until", "goal", "stopped")
MEASURED = re.compile("check|files|warnings|device|.*_seconds|.*_version")  # in JSON files, and what was said of them
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
        return {name: value for name, value in read(path.read_text()).items() if not MEASURED.fullmatch(name)}
    if path.suffix == ".jsonl":
        lines = map(read, path.read_text().splitlines())
        decided = [{name: line[name] for name in DECIDED if name in line} for line in lines]
        return {"decisions": [line for line in decided if line]}
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
    for where in both:
        run(case, CASES[case], where)
    old, new = (place / case for _, place in both)
    only: list[str] = []
    for file in FILES:
        before, after = old / file, new / file
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
