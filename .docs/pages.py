"""Lay out what the site is made of: the documents as they are, the reference, the settings.

python .docs/pages.py DIRECTORY
"""

import inspect
import json
import re
import shutil
import sys
import tomllib
from pathlib import Path

import popjax as pj

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "popjax/README.md", "popjax/COOKBOOK.md", "benchmarks/README.md", "tests/README.md")
INNER = {  # methods that other parts of popjax call, which the reference leaves out
    "Task": "recipe beside afterwards remedies",
    "Supervised": "of recipe more judged combines targets beside afterwards remedies problem split fit",
    "Space": "entries violated accepted good active inactive masked filled check_conditions",
    "Scale": "ordered scaled up_to along levels numeric whole inactive",
    "Results": "recipes states trees",
    "Predictor": "network trained weights mean_and_spread_of of_fold outputs_plainly each_of built",
    "Rule": "asked of check why written",
    "Local": "made written",
    "Remote": "made",
    "Session": "obey remark measure arrays",
    "live": "asked refresh begin decision epoch end close",
}
IMAGE = re.compile(r"!\[[^\]]*\]\(([^)]+)\)")


def write_pages(directory: Path) -> None:
    """Write `pages/` and the settings into an empty directory."""
    pages = directory / "pages"
    for name in DOCUMENTS:
        copy(ROOT / name, pages / name)
        for image in IMAGE.findall((ROOT / name).read_text()):
            copy((ROOT / name).parent / image, (pages / name).parent / image)
    copy(ROOT / ".docs" / "coming.md", pages / "coming.md")
    copy(ROOT / ".docs" / "iframe-worker.js", pages / "javascripts" / "iframe-worker.js")
    copy(ROOT / ".docs" / "examples.py", directory / "examples.py")
    (pages / "reference").mkdir()
    sections = {section: f"{section.lower().replace(' ', '-')}.md" for section in pj._PUBLIC}
    for section, names in pj._PUBLIC.items():
        (pages / "reference" / sections[section]).write_text(f"# {section}\n\n" + "\n".join(map(entry, names)))
    (pages / "reference" / "index.md").write_text(index(sections))
    listed = {"All names": "index.md", **sections}
    nav = "\n".join(f"      - {section}: reference/{page}" for section, page in listed.items())
    settings = (ROOT / ".docs" / "mkdocs.yml").read_text()
    hooks = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["metadata"]["hooks"]
    address = hooks["custom"]["address"]
    settings += f"\nrepo_url: {address}\n" if address else ""
    (directory / "mkdocs.yml").write_text(re.sub(r" REFERENCE .*", f"\n{nav}", settings))


def copy(source: Path, target: Path) -> None:
    """Copy a file, making the folders above it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def index(sections: dict[str, str]) -> str:
    """The page of all names, each with the first line of its docstring."""
    parts = ["# Reference", "`import popjax as pj`; a name is imported when it is first used."]
    for section, names in pj._PUBLIC.items():
        lines = [f"| [{name}]({sections[section]}#popjax.{name}) | {first_line(name)} |" for name in names]
        parts += [f"## {section}", "\n".join(["| name | what it is |", "| --- | --- |", *lines])]
    return "\n\n".join(parts) + "\n"


def first_line(name: str) -> str:
    """The first line of a public name's docstring."""
    return (inspect.getdoc(getattr(pj, name)) or "").split("\n")[0].replace("|", "\\|")


def entry(name: str) -> str:
    """The entry of a public name, by the full path of what it stands for, since popjax imports names on first use."""
    value = getattr(pj, name)
    first = next(other for section in pj._PUBLIC.values() for other in section if getattr(pj, other) is value)
    if first != name:
        return f"## `{name}` {{ #popjax.{name} }}\n\nAnother name of [`{first}`](#popjax.{first}).\n"
    path = value.__name__ if inspect.ismodule(value) else f"{value.__module__}.{value.__qualname__}"
    bases = [base.__name__ for base in getattr(value, "__mro__", ())]
    inner = [member for one in {name, *bases} for member in INNER.get(one, "").split()]
    options = {"heading": f"pj.{name}", "toc_label": name}
    options |= {"filters": ["!^_", f"!^({'|'.join(sorted(inner))})$"]} if inner else {}
    told = "".join(f"      {key}: {json.dumps(value)}\n" for key, value in options.items())
    return f"<a id='popjax.{name}'></a>\n\n::: {path}\n    options:\n{told}"


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
