"""Defects drawn at random by syntax, and which of them the tests notice.

    python tests/mutants.py --since v0.3.0                     # 30 of the lines changed since then
    python tests/mutants.py --number 300 --seed 77 --out DIR   # of every line that the suite runs
    python tests/mutants.py --defects OLD/outcomes.jsonl --out DIR  # the same defects, against other tests
    python tests/mutants.py --compare OLD/outcomes.jsonl NEW/outcomes.jsonl

No part of the suite. First each test file runs under coverage, then each defect is made in a copy of the tree, where
the tests that run its line run until one fails, the special and cheap files first, as far as `--seconds` go. `--out`
keeps what was measured: the same command goes on there. A defect that lives may be an equal program; those in engine/,
store/ and rules/ are printed first, to be looked at.
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

import pytest

ROOT = Path(__file__).parent.parent
LOOKED_AT = ("popjax/engine/", "popjax/store/", "popjax/rules/")
PYTEST = ("-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", "--no-header", "-o", "faulthandler_timeout=0")
SECONDS = "POPJAX_TEST_SECONDS"  # the file in which a run under coverage leaves how long each test takes
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
    """What a test file runs: how long each test takes that passes, and the lines of each module, a bit a line.

    `shared` are lines of module fixtures and of processes, which any of its tests may need.
    """

    seconds: dict[str, float]
    lines: dict[str, dict[str, int]]
    shared: dict[str, int]

    def tests(self, defect: Defect) -> list[str]:
        """Those that run its line, the cheap ones first."""
        runs = lambda lines: lines.get(defect.module, 0) >> defect.line & 1
        found = [test for test in self.seconds if runs(self.shared) or runs(self.lines.get(test, {}))]
        return sorted(found, key=self.seconds.__getitem__)

    def all_lines(self) -> dict[str, int]:
        """Of all its tests."""
        found = dict(self.shared)
        for lines in self.lines.values():
            for module, bits in lines.items():
                found[module] = found.get(module, 0) | bits
        return found


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
    settings = {
        **os.environ,
        "PYTHONPATH": f"{place}{os.pathsep}{place / 'tests'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        **environment,
    }
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


def seen_by(test: str) -> None:
    """Coverage counts what runs from here on as run by this test; "": shared by all of the file.

    The core of `sys.monitoring` reports a line once, unless it is told to begin again.
    """
    from coverage import Coverage

    if (coverage := Coverage.current()) is not None:
        coverage.switch_context(test)
        sys.monitoring.restart_events()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: Any) -> Any:
    """With `-p mutants`, as the two below."""
    seen_by(item.nodeid)
    try:
        return (yield)
    finally:
        seen_by("")


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Any:
    if fixturedef.scope == "function":
        return (yield)
    seen_by("")
    try:
        return (yield)
    finally:
        if isinstance(request._pyfuncitem, pytest.Item):
            seen_by(request._pyfuncitem.nodeid)


def pytest_runtest_logreport(report: Any) -> None:
    with open(os.environ[SECONDS], "a") as stream:
        stream.write(json.dumps([report.nodeid, report.duration, report.outcome]) + "\n")


def covered(place: Path, file: str, out: Path) -> Covered:
    """Run a test file under coverage, with the processes that it starts."""
    from coverage import CoverageData
    from coverage.exceptions import DataError

    data = out / "coverage" / Path(file).stem
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    settings, reports = data.with_suffix(".rc"), data.with_suffix(".seconds")
    settings.write_text(
        f"[run]\nsource = {place}/popjax\nparallel = true\npatch = subprocess, fork, _exit\ncore = sysmon\n"
        f"data_file = {data}/data\ndisable_warnings = no-data-collected, module-not-imported, no-sysmon, "
        "no-sysmon-context\n"
    )
    reports.unlink(missing_ok=True)
    under = ["-m", "coverage", "run", f"--rcfile={settings}", *PYTEST, "-p", "mutants", file]
    done = run(place, under, 3600, **{SECONDS: str(reports)})
    if done.returncode:
        (data.parent / f"{data.name}.log").write_text(done.stdout)
    seconds: dict[str, float] = {}
    failed = set()
    for line in reports.read_text().splitlines():
        test, duration, outcome = json.loads(line)
        seconds[test] = seconds.get(test, 0.0) + duration
        if outcome != "passed":
            failed.add(test)
    result = Covered({test: of for test, of in seconds.items() if test not in failed}, {}, {})
    for part in data.iterdir():
        measured = CoverageData(str(part))
        try:
            measured.read()
        except DataError:  # of a process that was killed as it wrote
            continue
        for name in measured.measured_files():
            module = Path(name).relative_to(place).as_posix()
            for line, contexts in measured.contexts_by_lineno(name).items():
                for test in contexts:
                    lines = result.lines.setdefault(test, {}) if test in result.seconds else result.shared
                    lines[module] = lines.get(module, 0) | 1 << line
    shutil.rmtree(data)
    return result


def chosen(suite: dict[str, Covered], defect: Defect, seconds: float) -> tuple[list[str], float]:
    """The tests that run a defect's line: of special and cheap files first, for about so many seconds in all."""
    found = [(of, tests) for of in suite.values() if (tests := of.tests(defect))]
    cost = lambda of, tests: sum(map(of.seconds.__getitem__, tests)) + 1.0  # importing a file costs too
    special = lambda of: sum(bits.bit_count() for bits in of.all_lines().values())
    found.sort(key=lambda pair: cost(*pair) * special(pair[0]))
    wanted, spent = [], 0.0
    for of, tests in found:
        for test in tests:
            if spent < seconds:
                wanted.append(test)
                spent += of.seconds[test]
    return wanted, spent


def made(place: Path, defect: Defect, suite: dict[str, Covered], seconds: float) -> dict[str, Any]:
    """Make a defect, run the tests that run its line until one fails, and take it back."""
    tests, spent = chosen(suite, defect, seconds)
    source, names = (place / defect.module).read_bytes(), place / "chosen-tests"
    names.write_text("\n".join(tests))
    started = time.perf_counter()
    try:
        (place / defect.module).write_bytes(source[: defect.start] + defect.new.encode() + source[defect.end :])
        done = run(place, [*PYTEST, "-x", f"@{names}"], 120 + 4 * spent)
    finally:
        (place / defect.module).write_bytes(source)
    by = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE) or [done.stdout[-200:]]
    caught = done.returncode != 0
    return {"caught": caught, "by": by[0] if caught else "", "tests": len(tests),
            "seconds": round(time.perf_counter() - started), **defect._asdict()}  # fmt: skip


def each(work: Any, items: list[Any], places: list[Path]) -> Iterator[Any]:
    """What `work(place, item)` gives, as it comes; each place is used by one at a time."""
    free: queue.Queue[Path] = queue.Queue()
    for place in places:
        free.put(place)

    def on(item: Any) -> Any:
        place = free.get()
        try:
            return work(place, item)
        finally:
            free.put(place)

    with concurrent.futures.ThreadPoolExecutor(len(places)) as pool:
        try:
            for done in concurrent.futures.as_completed([pool.submit(on, item) for item in items]):
                yield done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def measured_suite(out: Path, names: list[str], places: list[Path]) -> dict[str, Covered]:
    """What each test file runs; what is in `covered.jsonl` is not measured again."""
    file = out / "covered.jsonl"
    known = {one["file"]: Covered(*one["covered"]) for one in read(file)}
    missing = [name for name in names if name not in known]
    for name, result in each(lambda place, name: (name, covered(place, name, out)), missing, places):
        known[name] = result
        append(file, {"file": name, "covered": result})
        print(f"{sum(result.seconds.values()):6.0f} s {name}", flush=True)
    return {name: known[name] for name in names}


def measured(out: Path, names: list[str], wanted: Any, seconds: float, workers: int) -> Iterator[dict[str, Any]]:
    """The outcome of each defect that `wanted` draws of the lines that the suite runs, as they come."""
    places = [copied(out / f"copy-{number}") for number in range(workers)]
    suite = measured_suite(out, names, places)
    lines: dict[str, set[int]] = {}
    for of in suite.values():
        for module, bits in of.all_lines().items():
            lines.setdefault(module, set()).update(line for line in range(bits.bit_length()) if bits >> line & 1)
    outcomes = out / "outcomes.jsonl"
    before = read(outcomes)
    done = {Defect(*(one[name] for name in Defect._fields)) for one in before}
    yield from before
    todo = [defect for defect in wanted(lines) if defect not in done]
    for outcome in each(lambda place, defect: made(place, defect, suite, seconds), todo, places):
        append(outcomes, outcome)
        yield outcome


def append(file: Path, line: dict[str, Any]) -> None:
    with file.open("a") as stream:
        stream.write(json.dumps(line) + "\n")


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


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
    parser.add_argument("--seconds", type=float, default=120.0, help="of tests for each defect, at most about so many")
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
        out = (options.out or Path(temporary)).absolute()
        for one in measured(out, options.tests, wanted, options.seconds, options.workers):
            outcomes.append(one)
            what = f"caught by {one['by'].splitlines()[-1]}" if one["caught"] else f"LIVES in {one['tests']} tests"
            print(f"{len(outcomes):3} {one['seconds']:4} s {one['module']}:{one['line']} {what}", flush=True)
    living = [one for one in outcomes if not one["caught"]]
    for one in sorted(living, key=lambda one: (not one["module"].startswith(LOOKED_AT), one["module"], one["line"])):
        print(f"\n{one['module']}:{one['line']}\n- {one['old']}\n+ {one['new']}")
    print(f"\n{len(outcomes) - len(living)} of {len(outcomes)} caught")


if __name__ == "__main__":
    main()
