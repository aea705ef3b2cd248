"""What `real_tables.py` and `real_images.py` keep of their fits: the lines, the commit and the machine."""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
OURS = "popjax"


def commit() -> str:
    """The last commit that changed `popjax/`, with a plus sign if files differ from it."""
    git = lambda *words: subprocess.run(["git", *words], cwd=HERE, check=True, capture_output=True, text=True).stdout
    return git("log", "-1", "--abbrev=10", "--format=%h", "--", "../../popjax").strip() + (
        "+" if git("status", "--porcelain", "--", "../../popjax") else ""
    )


def machine() -> str:
    """The processor and the number of cores."""
    from popjax.core.machine import cores, cpu_kind

    return f"{cpu_kind()}, {cores()} cores"


def kept(path: Path) -> list[dict[str, Any]]:
    """The fits measured so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def check_judging(parser: argparse.ArgumentParser, final: bool, what: str) -> None:
    """Print the commit that is judged on the final `what`; ends the command without --final, or before a commit."""
    if not final:
        parser.error(f"popjax fits the final {what} only with --final, once; leave them out")
    if commit().endswith("+"):
        parser.error("there are uncommitted changes in popjax/; commit them first")
    print(f"judging commit {commit()}")
