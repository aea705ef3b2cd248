"""The reference and the site: every public name by its docstring, with an example; a page's programs run."""

import ast
import builtins
import doctest
import importlib.util
import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import popjax as pj

DOCS = Path(__file__).parent.parent / ".docs"
COMING = re.findall(r"```python\n(.*?)```", (DOCS / "coming.md").read_text(), re.DOTALL)


def script(name):
    """A module of .docs/."""
    source = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    return module


def laid_out(place):
    """The pages of the site, as .docs/pages.py lays them out."""
    script("pages").write_pages(place)
    return place / "pages"


@pytest.mark.parametrize("name", pj.__all__)
def test_a_public_name_has_a_docstring_with_an_example(name):
    """Doctests of its module run with all tests, and fail if the example does."""
    value = getattr(pj, name)
    finder = doctest.DocTestFinder(recurse=False)
    (found,) = finder.find(value, name, module=value if inspect.ismodule(value) else None)
    assert len(found.docstring.splitlines()) > 1
    assert found.examples


def documented(name):
    """A public name's docstring, and those of its public methods, where popjax wrote them."""
    value = getattr(pj, name)
    members = value.__all__ if inspect.ismodule(value) else dir(value) if inspect.isclass(value) else ()
    found = {name: inspect.getdoc(value)}
    for member in members:
        known = inspect.getattr_static(value, member)
        function = getattr(known, "fget", None) or getattr(known, "__func__", known)
        if not member.startswith("_") and str(getattr(function, "__module__", "")).startswith("popjax"):
            found[f"{name}.{member}"] = inspect.getdoc(function) or ""
    return found


def unknown_names(examples):
    """The names that examples use before they define them; with modules that are not public."""
    known, unknown = set(vars(builtins)), set()
    for example in examples:
        nodes = list(ast.walk(ast.parse(example.source)))
        for node in nodes:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                known.add(node.id)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                known.add(node.name)
            elif isinstance(node, ast.arg):
                known.add(node.arg)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                known |= {(one.asname or one.name).split(".")[0] for one in node.names}
                source = getattr(node, "module", None) or ""
                unknown |= {source} if source.startswith("popjax.") and source != "popjax.layers" else set()
        unknown |= {node.id for node in nodes if isinstance(node, ast.Name)} - known
    return unknown


@pytest.mark.parametrize("name", pj.__all__)
def test_an_example_runs_where_it_is_pasted(name):
    """It needs nothing but what it imports, by public paths; that it runs at all is what the doctests show."""
    for member, text in documented(name).items():
        assert not unknown_names(doctest.DocTestParser().get_examples(text)), member


def test_the_reference_lists_what_help_lists(tmp_path):
    pages = laid_out(tmp_path)
    written = "\n".join(page.read_text() for page in (pages / "reference").glob("*.md"))
    listed = re.findall(r"heading: \"pj\.(\w+)\"|^## `(\w+)`", written, re.MULTILINE)
    assert sorted(one or other for one, other in listed) == pj.__all__
    assert [name for name in pj.__all__ if not re.search(rf"\b{name}\b", pj.__doc__)] == []  # by hand, in help(pj)
    assert all(f"{section}:" in (tmp_path / "mkdocs.yml").read_text() for section in pj._PUBLIC)


def test_what_the_reference_leaves_out_exists():
    public = [pj.live.Live, *(value for name in pj.__all__ if inspect.isclass(value := getattr(pj, name)))]
    for name, members in script("pages").INNER.items():
        kin = [value for value in public if name.lower() in (base.__name__.lower() for base in value.__mro__)]
        known = {member for value in kin for member in (*dir(value), *getattr(value, "__annotations__", ()))}
        assert set(members.split()) <= known, name


def test_docstrings_become_pages():
    """An example is a block of code; arguments that are described together are two."""
    pytest.importorskip("griffe")
    assert doctest.testmod(script("examples")).failed == 0


def test_a_fixed_property_is_shown_as_one():
    griffe = pytest.importorskip("griffe")
    extensions = griffe.load_extensions(str(DOCS / "examples.py"))
    records = griffe.load("popjax.store.trial_records", extensions=extensions, search_paths=[DOCS.parent])
    for name in ("values", "diverged", "order", "feasible"):
        assert "property" in records["TrialRecords"][name].labels, name


@pytest.mark.parametrize(("given", "code"), [(["--help"], 0), (["--helo"], 2), ([], 2), (["a", "b"], 2)])
def test_the_site_is_built_into_a_directory_alone(given, code, tmp_path):
    ended = subprocess.run([DOCS / "build", *given], cwd=tmp_path, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout + ended.stderr) == (code, "usage: .docs/build DIRECTORY\n")
    assert list(tmp_path.iterdir()) == []


def test_the_site_has_each_document_and_its_pictures(tmp_path):
    """As they stand in the repository; mkdocs itself, in .ci/nightly, refuses a link that leads nowhere."""
    pages = laid_out(tmp_path)
    for path in DOCS.parent.glob("[a-z]*/[A-Z]*.md"):
        copy = pages / path.relative_to(DOCS.parent)
        assert copy.read_text() == path.read_text()
        assert all((copy.parent / image).exists() for image in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", copy.read_text()))


@pytest.mark.soak
@pytest.mark.parametrize("number", range(len(COMING)))
def test_a_program_of_the_page_for_newcomers_runs(number, tmp_path, environment):
    """There and here find a good model of the same rows."""
    (tmp_path / "program.py").write_text(textwrap.dedent(COMING[number]))
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "program.py"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout.split()[0]) > 0.93
