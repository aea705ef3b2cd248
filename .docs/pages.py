"""Lay out what the site is made of: the documents as they are, the reference, the settings.

python .docs/pages.py DIRECTORY
"""

import inspect
import re
import shutil
import sys
import tomllib
from pathlib import Path

import popjax as pj

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "popjax/README.md", "popjax/COOKBOOK.md", "benchmarks/README.md", "tests/README.md")
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
    sections = {section: f"reference/{section.lower().replace(' ', '-')}.md" for section in pj._PUBLIC}
    for section, names in pj._PUBLIC.items():
        (pages / "reference").mkdir(exist_ok=True)
        (pages / sections[section]).write_text(f"# {section}\n\n" + "\n".join(map(entry, dict(names))))
    nav = "\n".join(f"      - {section}: {page}" for section, page in sections.items())
    settings = (ROOT / ".docs" / "mkdocs.yml").read_text()
    hooks = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["metadata"]["hooks"]
    address = hooks["custom"]["address"]
    settings += f"\nrepo_url: {address}\n" if address else ""
    (directory / "mkdocs.yml").write_text(re.sub(r" REFERENCE .*", f"\n{nav}", settings))


def copy(source: Path, target: Path) -> None:
    """Copy a file, making the folders above it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def entry(name: str) -> str:
    """The entry of a public name, by the full path of what it stands for, since popjax imports names on first use."""
    value = getattr(pj, name)
    first = next(other for section in pj._PUBLIC.values() for other in section if getattr(pj, other) is value)
    if first != name:
        return f"## `{name}`\n\nAnother name of [`{first}`](#popjax.{first}).\n"
    path = value.__name__ if inspect.ismodule(value) else f"{value.__module__}.{value.__qualname__}"
    return (
        f"<a id='popjax.{name}'></a>\n\n::: {path}\n    options:\n      heading: pj.{name}\n      toc_label: {name}\n"
    )


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
