"""The package as it is installed: its version, its types, its one door to all commands, and what the doctor says."""

import os
import pydoc
import re
import subprocess
import sys
import tomllib
import types
from importlib.metadata import entry_points, version
from importlib.resources import files
from pathlib import Path

import pytest

import popjax as pj
from popjax.commands import cli
from popjax.commands.doctor import of_kernels
from popjax.engine import memory

ROOT = Path(__file__).parent.parent
DOOR = "import runpy; runpy.run_module('popjax', None, '__main__', True)"


def test_help_begins_with_the_public_names():
    begins = pydoc.render_doc(pj, renderer=pydoc.plaintext).partition("PACKAGE CONTENTS")[0]
    assert set(pj.__all__) <= set(re.findall(r"\w+", begins))


def test_versions_and_types():
    assert pj.__version__ == version("popjax")
    assert (files("popjax") / "py.typed").is_file()
    cited = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['version']}\n" in cited
    (script,) = [entry for entry in entry_points(group="console_scripts") if entry.name == "popjax"]
    assert script.load().__module__ == "popjax.commands.entry"


def test_the_door_names_the_commands_and_opens_them(python, tmp_path):
    help_ = python(DOOR, "--help")
    assert help_.returncode == 0, help_.stderr
    for name in ("sweep", "resume", "babysit", "retest", "ls", "clean", "report", "doctor"):
        assert f"\n  {name} " in help_.stdout
    for words in (["--version"], ["sweep", "--version"], ["doctor", "--version"]):
        said = python(DOOR, *words)
        assert (said.returncode, said.stdout, said.stderr) == (0, f"popjax {pj.__version__}\n", "")
    swept = python(DOOR, "sweep", "--dataset", "wine", "--trials", 4, "--epochs", 1, "--out", "run")
    assert swept.returncode == 0, swept.stderr
    drawn = python(DOOR, "report", "run")
    assert drawn.returncode == 0, drawn.stderr
    for wrong, says in (("swep", "did you mean sweep?"), ("--trials", "unknown command '--trials'")):
        refused = python(DOOR, wrong)
        assert refused.returncode == 2
        (line,) = refused.stderr.splitlines()
        assert says in line


@pytest.mark.parametrize(
    ("argv", "environment", "expected"),
    [
        ("/opt/bin/popjax", {"UV": "", "PATH": "/opt"}, "popjax sweep"),
        ("/x/bin/popjax", {"UV": "", "PATH": "/opt"}, "/x/bin/popjax sweep"),
        ("/x y/bin/popjax", {"UV": "", "PATH": "/nowhere"}, "'/x y/bin/popjax' sweep"),
        ("/x/bin/popjax", {"UV": "/opt/uv", "PATH": "/opt"}, "uv run popjax sweep"),
        ("/x/popjax/sweep.py", {"UV": "/opt/uv", "PATH": "/opt"}, "uv run python -m popjax.sweep"),
        ("/x/popjax/sweep.py", {"UV": "/o pt/uv", "PATH": "/nowhere"}, "'/o pt/uv' run python -m popjax.sweep"),
        ("/x/popjax/sweep.py", {"UV": "", "PATH": "/here"}, "python -m popjax.sweep"),
        ("/x/popjax/sweep.py", {"UV": "", "PATH": "/nowhere"}, f"{sys.executable} -m popjax.sweep"),
        ("/x/popjax/sweep.py", {"UV": "", "PATH": "/other"}, f"{sys.executable} -m popjax.sweep"),
    ],
)
def test_printed_commands_are_as_this_one_was_started(monkeypatch, tmp_path, argv, environment, expected):
    monkeypatch.setattr(sys, "argv", [argv])
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = {
        "/opt": {"uv": "/opt/uv", "popjax": "/opt/bin/popjax"},
        "/here": {"python": sys.executable},
        "/other": {"python": "/bin/sh"},
    }
    monkeypatch.setattr("shutil.which", lambda name: found.get(os.environ["PATH"], {}).get(name))
    assert cli.called("sweep") == expected


@pytest.mark.soak
def test_what_is_printed_next_works_as_printed(command, tmp_path):
    """Line by line, each in a shell of its own."""
    import subprocess

    done = command("sweep", "--dataset", "wine", "--trials", 8, "--epochs", 1, "--set", "hidden=4", "--out", "my run")
    lines = [line.removeprefix("next: ") for line in done.stdout.splitlines() if line.startswith("next: ")]
    assert len(lines) == 3
    environment = os.environ | {
        "HOME": str(tmp_path / "home"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for line in lines:
        ran = subprocess.run(line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, input="")
        assert ran.returncode == 0, (line, ran.stderr)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Control groups made of files, on a machine with 64 GiB of which 40 are free."""
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    monkeypatch.setattr(memory, "SELF", tmp_path / "self")
    monkeypatch.setattr(memory, "available", lambda: 40 * 2**30)
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 2**24, "SC_PAGE_SIZE": 4096}.__getitem__)

    def group(path, **figures):
        (tmp_path / path).mkdir(parents=True, exist_ok=True)
        for name, content in figures.items():
            (tmp_path / path / name.replace("__", ".")).write_text(f"{content}\n")

    return group, tmp_path / "self"


GIB = 2**30


@pytest.mark.parametrize(
    ("lines", "groups", "total", "free"),
    [
        ("0::/\n", {"": {"memory__max": "max", "memory__current": GIB}}, 64, 40),
        ("0::/\n", {"": {"memory__max": 8 * GIB, "memory__current": 3 * GIB}}, 8, 5),
        (
            "0::/a/b\n",
            {
                "a": {"memory__max": 8 * GIB, "memory__current": 6 * GIB},
                "a/b": {"memory__max": "max", "memory__current": 1},
            },
            8,
            2,
        ),
        (
            "0::/a/b\n",
            {
                "a": {"memory__max": 16 * GIB, "memory__current": GIB},
                "a/b": {
                    "memory__max": 4 * GIB,
                    "memory__current": 3 * GIB,
                    "memory__stat": f"anon 1\ninactive_file {GIB}",
                },
            },
            4,
            2,
        ),
        (
            "4:cpu,memory:/a\n0::/\n",
            {
                "memory": {"memory__limit_in_bytes": 2**63 - 4096, "memory__usage_in_bytes": GIB},
                "memory/a": {"memory__limit_in_bytes": 6 * GIB, "memory__usage_in_bytes": GIB},
            },
            6,
            5,
        ),
        ("0::/on/the/host\n", {"": {"memory__max": 8 * GIB, "memory__current": GIB}}, 8, 7),
        (None, {"": {"memory__max": 8 * GIB, "memory__current": GIB}}, 8, 7),
        (None, {}, 64, 40),
    ],
)
def test_memory_is_what_the_control_groups_leave(machine, lines, groups, total, free):
    """Version 2 and 1, nested: the narrowest bound holds; files in memory are given up on demand."""
    group, own = machine
    if lines is not None:
        own.write_text(lines)
    for path, figures in groups.items():
        group(path, **figures)
    assert memory.total() == total * GIB
    assert memory.free() == free * GIB


def test_the_doctor_says_what_there_is(command, tmp_path, environment):
    done = command("doctor")
    assert done.returncode == 0, done.stderr
    assert f"popjax {pj.__version__}, Python {sys.version.split()[0]}" in done.stdout
    assert "device: CPU" in done.stdout
    assert "GiB free now" in done.stdout
    assert done.stdout.splitlines()[-1] == "all is well"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("", "XLA_FLAGS=--xla_gpu_exclude_nondeterministic_ops=true makes them so"),
        ("--xla_gpu_deterministic_ops=true", "set by --xla_gpu_deterministic_ops"),
    ],
)
def test_the_doctor_knows_the_flags_of_a_gpu_and_the_faults_of_a_card(monkeypatch, flags, said):
    card = types.SimpleNamespace(platform="gpu", compute_capability="12.0")
    monkeypatch.setattr("jax.devices", lambda: [card])
    monkeypatch.setenv("XLA_FLAGS", flags)
    first, last = of_kernels()
    assert first == f"kernels that give the same bits each time: {said}"
    assert "openxla/xla#44517" in last


@pytest.mark.parametrize("name", ["sweep", "doctor"])
def test_a_cache_on_a_remote_disk_is_refused(tmp_path, environment, name):
    import warm

    remote = {**environment, "JAX_COMPILATION_CACHE_DIR": "gs://bucket/programs"}
    done = warm.command(name, cwd=tmp_path, environment=remote)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(
        "JAX_COMPILATION_CACHE_DIR=gs://bucket/programs: give a directory of this machine, or unset it"
    )
    assert not (tmp_path / "gs:").exists()


def test_the_doctor_says_where_nothing_can_be_written(tmp_path, environment):
    import warm

    unwritable = {**environment, "JAX_COMPILATION_CACHE_DIR": "/proc/nowhere"}
    done = warm.command("doctor", cwd=tmp_path, environment=unwritable)
    assert done.returncode == 2
    assert "cannot write to '/proc/nowhere'" in done.stdout


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["popjax", "re"], {"resume", "retest", "report"}),
        (["popjax", "babysit", "--from", "x", "--re"], {"--replay", "--resume", "--rewrite"}),
        (["popjax", "sweep", "--class"], {"--class-weight"}),
        (["popjax", "report", "runs/a", "--o"], {"--out"}),
        (["popjax", "sweep", "--dataset", "hou"], {"houses.csv"}),
    ],
)
def test_the_shell_completes_commands_options_and_files(command, tmp_path, words, found):
    """In a real bash, with the script that is printed."""
    script = command("__main__", "--completion")
    assert (script.returncode, script.stderr) == (0, "")
    (tmp_path / "houses.csv").touch()
    given = " ".join(f"'{word}'" for word in words)
    code = f"{script.stdout}\nCOMP_WORDS=({given}); COMP_CWORD={len(words) - 1}; _popjax; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (set(done.stdout.split()), done.stderr) == (found, "")
