"""Each program of the cookbook, copied out and run as it stands: it prints what the page says, and asserts a number."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parent.parent / "popjax" / "COOKBOOK.md").read_text(encoding="utf-8")
PROGRAM = re.compile(r"^## (.*?)\n.*?```python\n(.*?)```\n\n```text\n(.*?)```", re.MULTILINE | re.DOTALL)
PROGRAMS = {title: (code, printed) for title, code, printed in PROGRAM.findall(PAGE)}
NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")


def test_every_section_has_a_program_and_is_linked():
    titles = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    assert titles == list(PROGRAMS) == re.findall(r"^- \[(.*?)\]", PAGE, re.MULTILINE)


@pytest.mark.parametrize("title", PROGRAMS)
def test_a_program_is_short_and_asserts(title):
    lines = [line for line in PROGRAMS[title][0].split("\n") if line]
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 120
    assert any(line.strip().startswith("assert ") for line in lines)


@pytest.mark.soak
@pytest.mark.parametrize("title", PROGRAMS)
def test_a_program_runs_as_it_stands(tmp_path, environment, title):
    """In an empty directory, with an empty HOME; the numbers may differ on another machine, the words may not."""
    code, printed = PROGRAMS[title]
    if "import gymnax" in code and importlib.util.find_spec("gymnax") is None:
        pytest.skip("gymnax is not installed; .ci/run installs it for this program alone")
    (tmp_path / "program.py").write_text(code)
    ended = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env={"PATH": "", **environment}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    told = ("watch and steer: http://", "from another machine: ssh ")  # where a live page is
    assert [line for line in ended.stderr.splitlines() if not line.startswith(told)] == []
    assert NUMBER.sub("#", ended.stdout.strip()).split() == NUMBER.sub("#", printed.strip()).split()
