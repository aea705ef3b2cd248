"""Defects drawn at random by syntax, and which of them the tests notice.

    python tests/mutants.py --since v0.3.0                     # 30 of the lines changed since then
    python tests/mutants.py --number 300 --seed 77 --out DIR   # of every line that the suite runs
    python tests/mutants.py --defects OLD/outcomes.jsonl --out DIR  # the same defects, against other tests
    python tests/mutants.py --compare OLD/outcomes.jsonl NEW/outcomes.jsonl

No part of the suite. First each test file runs under coverage, then each defect is made in a copy of the tree, where
the test files that run its line run until one fails. `--out` keeps what was measured: the same command goes on there.
A defect that lives may be an equal program; those in engine/, store/ and rules/ are printed first, to be looked at.
"""

import argparse
import ast
import concurrent.futures
import contextlib
import copy
import json
import math
import os
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
LOOKED_AT = ("popjax/engine/", "popjax/store/", "popjax/rules/")
PYTEST = ("-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", "--no-header", "-o", "faulthandler_timeout=0")
SWAPPED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip


class Defect(NamedTuple):
    """What stands in a module between two offsets, in bytes, and what is put there."""

    module: str
    line: int
    start: int
    end: int
    old: str
    new: str


class Covered(NamedTuple):
    """What a test file runs: lines of each module below the root; how long it takes, and whether it passes."""

    lines: dict[str, list[int]]
    seconds: float
    passed: bool


def variants(node: ast.AST) -> Iterator[ast.AST]:
    """What a defect makes of a node, itself a copy: another operator, constant or condition, or less."""

    def changed(**fields: Any) -> ast.AST:
        other = copy.copy(node)
        for name, value in fields.items():
            setattr(other, name, value)
        return other

    match node:
        case ast.Compare():
            for at, op in enumerate(node.ops):
                yield changed(ops=[*node.ops[:at], SWAPPED[type(op)](), *node.ops[at + 1 :]])
        case ast.BinOp() | ast.AugAssign() | ast.BoolOp() if type(node.op) in SWAPPED:
            yield changed(op=SWAPPED[type(node.op)]())
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            yield node.operand
        case ast.IfExp():
            yield changed(test=ast.UnaryOp(ast.Not(), node.test))
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int()):
            yield ast.Constant(node.value + 1)
        case ast.Constant(value=float()):
            yield ast.Constant(2 * node.value or 1.0)
        case ast.Return(value=ast.expr()):
            yield ast.Return(None)
        case ast.Call():
            for at in range(len(node.keywords)):
                yield changed(keywords=node.keywords[:at] + node.keywords[at + 1 :])
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.Continue() | ast.Break():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
    if isinstance(node, ast.AugAssign):
        yield ast.Pass()


def conditions(node: ast.AST) -> list[ast.expr]:
    """The tests of a statement or comprehension, which a defect turns round."""
    return [node.test] if isinstance(node, ast.If | ast.While) else getattr(node, "ifs", [])


def defects(module: str, source: bytes) -> Iterator[Defect]:
    """Each defect that can be made within a function of a module."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def at(node: Any, new: ast.AST) -> Defect:
        start, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        text = ast.unparse(ast.fix_missing_locations(new))
        return Defect(module, node.lineno, start, end, source[start:end].decode(), text if new_is(new) else f"({text})")

    def new_is(new: ast.AST) -> bool:
        return isinstance(new, ast.stmt | ast.Constant)

    def within(node: ast.AST, inside: bool) -> Iterator[Defect]:
        if inside:
            yield from (at(node, new) for new in variants(node))
            yield from (at(test, ast.UnaryOp(ast.Not(), test)) for test in conditions(node))
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list"):
                continue
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and field == "body"
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                    yield from within(child, inside or function)

    yield from within(ast.parse(source), False)


def drawn(lines: dict[str, set[int]], number: int, seed: int) -> list[Defect]:
    """So many lines at random, and a defect of each: which line comes first depends on the seed and on itself alone."""
    found = []
    for module in sorted(lines):
        possible: dict[int, list[Defect]] = {}
        for defect in defects(module, (ROOT / module).read_bytes()):
            if defect.line in lines[module]:
                possible.setdefault(defect.line, []).append(defect)
        for line, several in possible.items():
            rng = random.Random(f"{seed} {module}:{line}")
            found.append((rng.random(), rng.choice(several)))
    return [defect for _, defect in sorted(found)[:number]]


def changed_since(commit: str) -> dict[str, set[int]]:
    """The lines of each module that differ from a commit's."""
    command = ["git", "diff", "-U0", commit, "--", "popjax/*.py"]
    lines: dict[str, set[int]] = {}
    for text in subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines():
        if text.startswith("+++ b/"):
            module = lines.setdefault(text[6:], set())
        elif match := re.match(r"@@ \S+ \+(\d+)(?:,(\d+))? @@", text):
            first, count = int(match[1]), int(match[2] or 1)
            module.update(range(first, first + count))
    return lines


def copied(place: Path) -> Path:
    """A copy of what git knows of, and of what is new."""
    if not place.exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0"):
            if (ROOT / name).is_file():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, place / name)
    return place


def run(place: Path, arguments: list[str], timeout: float, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a copy, at most so many seconds, and end whatever it started."""
    settings = {**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    where = {"cwd": place, "env": settings, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen([sys.executable, *arguments], start_new_session=True, **where)
    try:
        said, code = process.communicate(timeout=timeout)[0], process.returncode
    except subprocess.TimeoutExpired:
        said, code = "hangs", -1
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(arguments, code, said, "")


def covered(place: Path, file: str, out: Path) -> Covered:
    """Run a test file under coverage, with the processes that it starts."""
    from coverage import CoverageData
    from coverage.exceptions import DataError

    data = out / "coverage" / Path(file).stem
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    settings = data.with_suffix(".rc")
    settings.write_text(
        f"[run]\nsource = {place}/popjax\nparallel = true\npatch = subprocess, fork, _exit\ncore = sysmon\n"
        f"data_file = {data}/data\ndisable_warnings = no-data-collected, module-not-imported, no-sysmon\n"
    )
    started = time.perf_counter()
    done = run(place, ["-m", "coverage", "run", f"--rcfile={settings}", *PYTEST, file], 3600)
    seconds = time.perf_counter() - started
    lines: dict[str, set[int]] = {}
    for part in data.iterdir():
        measured = CoverageData(str(part))
        try:
            measured.read()
        except DataError:  # of a process that was killed as it wrote
            continue
        for name in measured.measured_files():
            module = Path(name).relative_to(place).as_posix()
            lines.setdefault(module, set()).update(measured.lines(name) or ())
    if done.returncode:
        (data.parent / f"{data.name}.log").write_text(done.stdout)
    shutil.rmtree(data)
    return Covered({module: sorted(numbers) for module, numbers in lines.items()}, seconds, done.returncode == 0)


def made(place: Path, defect: Defect, suite: dict[str, Covered]) -> dict[str, Any]:
    """Make a defect, run the test files that run its line until one fails, and take it back."""
    files = [file for file, of in suite.items() if of.passed and defect.line in of.lines.get(defect.module, ())]
    files.sort(key=lambda file: suite[file].seconds * sum(map(len, suite[file].lines.values())))  # special ones first
    source = (place / defect.module).read_bytes()
    started = time.perf_counter()
    try:
        (place / defect.module).write_bytes(source[: defect.start] + defect.new.encode() + source[defect.end :])
        done = run(place, [*PYTEST, "-x", *files], 120 + 4 * sum(suite[file].seconds for file in files))
    finally:
        (place / defect.module).write_bytes(source)
    by = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE) or [done.stdout[-200:]]
    caught = done.returncode != 0
    return {"caught": caught, "by": by[0] if caught else "", "files": len(files),
            "seconds": round(time.perf_counter() - started), **defect._asdict()}  # fmt: skip


def measured(out: Path, names: list[str], wanted: Any, workers: int) -> Iterator[dict[str, Any]]:
    """The outcome of each defect that `wanted` draws of the lines that the suite runs, as they come."""
    places: queue.Queue[Path] = queue.Queue()
    for number in range(workers):
        places.put(copied(out / f"copy-{number}"))
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:

        def each(work: Any, items: list[Any]) -> Iterator[Any]:
            def on(item: Any) -> Any:
                place = places.get()
                try:
                    return work(place, item)
                finally:
                    places.put(place)

            try:
                yield from (
                    done.result() for done in concurrent.futures.as_completed(pool.submit(on, i) for i in items)
                )
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

        file = out / "covered.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        missing = [name for name in names if name not in known]
        for name, result in each(lambda place, name: (name, covered(place, name, out)), missing):
            known[name] = result
            file.write_text(json.dumps(known))
            print(f"{result.seconds:6.0f} s {name}{'' if result.passed else ' FAILS and is left out'}", flush=True)
        suite = {name: Covered(*known[name]) for name in names}
        lines: dict[str, set[int]] = {}
        for result in suite.values():
            for module, numbers in result.lines.items():
                lines.setdefault(module, set()).update(numbers)
        outcomes = out / "outcomes.jsonl"
        before = read(outcomes) if outcomes.exists() else []
        done = {Defect(*(one[name] for name in Defect._fields)) for one in before}
        yield from before
        todo = [defect for defect in wanted(lines) if defect not in done]
        for outcome in each(lambda place, defect: made(place, defect, suite), todo):
            with outcomes.open("a") as stream:
                stream.write(json.dumps(outcome) + "\n")
            yield outcome


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def compared(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> str:
    """The difference of two shares of caught defects, paired, with its 95 % interval."""
    key = lambda one: tuple(one[name] for name in Defect._fields)
    before, after = ({key(one): one["caught"] for one in outcomes} for outcomes in (old, new))
    both = sorted(before.keys() & after.keys())
    differences = [after[one] - before[one] for one in both]
    mean = sum(differences) / len(both)
    error = math.sqrt(sum((value - mean) ** 2 for value in differences) / (len(both) - 1) / len(both))
    shares = (sum(before[one] for one in both) / len(both), sum(after[one] for one in both) / len(both))
    return (
        f"{len(both)} defects: {shares[0]:.1%} caught before, {shares[1]:.1%} after; {differences.count(1)} newly, "
        f"{differences.count(-1)} no longer; difference {mean:+.1%}, from {mean - 1.96 * error:+.1%} to "
        f"{mean + 1.96 * error:+.1%}"
    )


def main() -> None:
    """Print a line a defect, then those that live and the share that is caught."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    everything = [f"tests/{path.name}" for path in sorted((ROOT / "tests").glob("test_*.py"))]
    parser.add_argument("tests", nargs="*", default=everything, help="test files, tests/test_x.py; all without")
    parser.add_argument("--since", metavar="COMMIT", help="only of lines that differ from this commit's")
    parser.add_argument("--number", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--defects", type=Path, help="those of these outcomes, instead of drawing")
    parser.add_argument("--out", type=Path, help="where coverage, copies and outcomes are kept")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("OLD", "NEW"))
    options = parser.parse_args()
    if options.compare:
        print(compared(*map(read, options.compare)))
        return

    def wanted(lines: dict[str, set[int]]) -> list[Defect]:
        if options.defects:
            return [Defect(*(one[name] for name in Defect._fields)) for one in read(options.defects)]
        if options.since:
            changed = changed_since(options.since)
            lines = {module: numbers & changed[module] for module, numbers in lines.items() if module in changed}
        return drawn(lines, options.number, options.seed)

    with tempfile.TemporaryDirectory() as temporary:
        outcomes = []
        for one in measured((options.out or Path(temporary)).absolute(), options.tests, wanted, options.workers):
            outcomes.append(one)
            what = f"caught by {one['by'].splitlines()[-1]}" if one["caught"] else f"LIVES in {one['files']} files"
            print(f"{len(outcomes):3} {one['seconds']:4} s {one['module']}:{one['line']} {what}", flush=True)
    living = [one for one in outcomes if not one["caught"]]
    for one in sorted(living, key=lambda one: (not one["module"].startswith(LOOKED_AT), one["module"], one["line"])):
        print(f"\n{one['module']}:{one['line']}\n- {one['old']}\n+ {one['new']}")
    print(f"\n{len(outcomes) - len(living)} of {len(outcomes)} caught")


if __name__ == "__main__":
    main()
