"""One name has one meaning, and equal code stands once."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

import popjax as pj

ROOT = Path(pj.__file__).parent
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}
CONTRACTS = {  # names that a file has because its folder's contract says so
    "commands": {"main", "Arguments"},
    "pages/figures": {"section_of", "plots_of", "data_of"},
    "models": {"parameters", "operations"},
}


def folder(path):
    return path.parent.relative_to(ROOT).as_posix()


def defined():
    """Name -> the files that define a function or a class of it, but for what a contract asks for."""
    found = defaultdict(list)
    for path, tree in TREES.items():
        for node in tree.body:
            named = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("__")
            if named and node.name not in CONTRACTS.get(folder(path), ()):
                found[node.name].append(path.relative_to(ROOT).as_posix())
    return found


def test_no_two_functions_or_classes_share_a_name():
    assert {name: files for name, files in defined().items() if len(files) > 1} == {}


def test_no_three_modules_share_a_name():
    found = defaultdict(list)
    for path in TREES:
        if path.stem not in ("__init__", "__main__"):
            found[path.stem].append(folder(path))
    assert {name: places for name, places in found.items() if len(places) > 2} == {}


def shape(function):
    """A function's body without its docstring, its names by their order."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    order = {}
    for node in (node for statement in body for node in ast.walk(statement)):
        for field in ("id", "arg", "attr", "name"):
            if isinstance(name := getattr(node, field, None), str):
                setattr(node, field, str(order.setdefault(name, len(order))))
    return "\n".join(map(ast.dump, body))


def alike(trees):
    """The functions whose bodies of more than six lines are equal but for names."""
    found = defaultdict(list)
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                if body and body[-1].end_lineno - body[0].lineno >= 6:
                    found[shape(node)].append(f"{path}:{node.lineno} {node.name}")
    return [places for places in found.values() if len(places) > 1]


def test_no_two_functions_are_equal_but_for_names():
    assert alike({path: ast.parse(path.read_text(encoding="utf-8")) for path in TREES}) == []


@pytest.mark.parametrize(("last", "equal"), [("return total", True), ("return -total", False)])
def test_equal_functions_are_found(last, equal):
    lines = ["for {a} in {b}:", "    if {a}:", "        {c} += {a}", "    else:", "        {c} -= 1", "{c} = 2 * {c}"]
    made = lambda name, end, **names: "\n    ".join(["def {name}({b}, {c}):", *lines, end]).format(name=name, **names)
    one = made("f", "return {c}", a="x", b="xs", c="total")
    other = made("g", last.replace("total", "{c}"), a="y", b="ys", c="sum")
    assert bool(alike({"one": ast.parse(one), "other": ast.parse(other)})) is equal
