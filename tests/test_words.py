"""One name has one meaning, equal code stands once, and texts are in the field's words."""

import ast
import re
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


PEOPLE = r"who|whom|whoever|nobody|somebody|anybody|everybody|everyone|anyone|of before"  # arrays and processes are not
TEXTS = [
    *(path for kind in ("py", "js", "html") for path in ROOT.rglob(f"*.{kind}") if ".min." not in path.name),
    *(ROOT.parent / name for name in ("README.md", "popjax/README.md", "benchmarks/README.md", "tests/README.md")),
]


def test_arrays_and_processes_are_no_people():
    found = [
        f"{path.relative_to(ROOT.parent)}:{at}: {line.strip()}"
        for path in TEXTS
        for at, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(rf"\b({PEOPLE})\b", line, re.IGNORECASE)
    ]
    assert found == []


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


MEANINGS = {  # a word of the glossary as an argument or a field -> what it may be annotated with
    "scheduler": r"Scheduler|CheckedScheduler|str|Any|Callable",
    "schedule": "str|Any",  # of the learning rate
    "segment": "Segment",
    "epochs": r"int|np\.ndarray|dict\[str, np\.ndarray\]",  # a count, or counts by trial
    "history": r"History|Mapping\[str, ",
    "member": r"int|Members|Any",  # a number, or one row of the arrays
    "lanes": r"int|Lanes|dict\[int, Lanes\]",
    "bucket": r"int|np\.ndarray",
    "rule": "Rule",
    "cohort": "Cohort",
}


def annotated():
    """(name, annotation, place) of each argument and field of the package."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            name = node.arg if isinstance(node, ast.arg) else getattr(getattr(node, "target", None), "id", None)
            if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
                yield name, ast.unparse(node.annotation).strip("'"), f"{path.relative_to(ROOT)}:{node.lineno}"


def test_the_words_of_the_glossary_have_one_meaning():
    wrong = [one for one in annotated() if one[0] in MEANINGS and not re.match(MEANINGS[one[0]], one[1])]
    assert wrong == []


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
