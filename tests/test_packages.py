"""Packages know only what is theirs to know."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

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
