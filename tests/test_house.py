"""Rooms know only what is theirs to know, and mutants break what stands there."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
from mutants import MUTANTS

import popjax as pj

ENGINE = sorted((Path(pj.__file__).parent / "engine").rglob("*.py"))
SUPERVISED = re.compile(r"\b(depth|batch_size|dropout|val_|test_)")


def words(tree):
    """Every name, attribute, argument and text of the code, without docstrings."""
    scopes = ast.Module | ast.ClassDef | ast.FunctionDef
    docstrings = {node.body[0].value for node in ast.walk(tree) if isinstance(node, scopes) and ast.get_docstring(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
            yield node.value
        for field in ("id", "attr", "arg", "name", "asname", "module"):
            if isinstance(word := getattr(node, field, None), str):
                yield word


def supervised(tree):
    """What in the code speaks of supervised learning."""
    return {word for word in words(tree) if SUPERVISED.search(word)}


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: path.name)
def test_the_engine_knows_no_supervised_learning(path):
    assert not supervised(ast.parse(path.read_text()))


def test_the_search_for_words_finds_them():
    code = "def f(depth):\n    'val_loss'\n    x.batch_size = y['val_' + z]\n    return 'use dropout,'\nt = 'interval_'"
    assert supervised(ast.parse(code)) == {"depth", "batch_size", "val_", "use dropout,"}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_breaks_what_stands_there(mutant):
    """Code moves, and a defect that can no longer be made is a test that is no longer tested."""
    code = (Path(pj.__file__).parent / f"{mutant.module}.py").read_text()
    assert code.count(mutant.old) == 1
    assert mutant.new != mutant.old
    file, _, selection = mutant.tests.partition(" -k ")
    tests = (Path(__file__).parent / file.split()[0]).read_text(encoding="utf-8")
    assert all(word in tests for word in re.findall(r"\w+", selection))


def lines_of(node, source):
    """The lines of a function's body or of a class that hold code: no docstring, no comment, nothing empty."""
    spans = [range(node.lineno, node.end_lineno + 1)]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        spans = [range(one.lineno, one.end_lineno + 1) for one in node.body]
    texts = [one for one in ast.walk(node) if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)]
    apart = {line for one in texts for line in range(one.lineno, one.end_lineno + 1)}
    written = {line for span in spans for line in span} - apart
    return sum(bool(source[line - 1].split("#")[0].strip()) for line in written)


def test_nothing_else_lies_at_the_top():
    """What a command leaves where it runs is committed sooner than one thinks."""
    root = Path(pj.__file__).parent.parent
    if not (root / ".git").exists():
        pytest.skip("no checkout")
    done = subprocess.run(
        ["git", "ls-tree", "--name-only", "HEAD"], cwd=root, capture_output=True, text=True, check=True
    )
    seen = {name for name in done.stdout.split() if not name.startswith(".")}
    named = {"pyproject.toml", "popjax", "benchmarks", "tests", "README.md", "LICENSE", "CITATION.cff"}
    assert seen == named


def test_no_call_has_more_than_eight_arguments_without_their_names():
    for path in sorted(Path(pj.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                assert len(node.args) <= 8, (path.name, node.lineno)


def test_no_function_is_longer_than_60_lines_and_no_class_than_200():
    for path in sorted(Path(pj.__file__).parent.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                most = 200 if isinstance(node, ast.ClassDef) else 60
                assert lines_of(node, source.splitlines()) <= most, (path.name, node.name)
