"""What all tests share: rank promotion raises, warnings are errors (pyproject), float64 on request."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from popjax.cost import Machine

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def x64():
    """Everything in float64, where equality of two ways to compute is meant to 1e-9."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def rows():
    """A small classification: (x, y), 170 rows, 5 features, 3 classes."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(170, 5)) * [1, 2, 0.5, 3, 1] + [0, 1, -1, 5, 0]
    y = (x[:, 0] + 0.5 * x[:, 1] > 0).astype(int) + (x[:, 3] > 6)
    return x, y


@pytest.fixture
def cheap_programs(monkeypatch):
    """Arithmetic is slow and compiling fast, so width caps pay for small models too."""
    monkeypatch.setattr("popjax.plan.CPU", Machine(flops=2e9, launch=5e-7, program=0.2, branch=0.0))


@pytest.fixture
def command(tmp_path):
    """Run a popjax command in an empty directory with an empty HOME; gives the finished process."""

    def run(name, *arguments, timeout=300, cwd=tmp_path):
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        environment = {**os.environ, "HOME": str(home), "JAX_COMPILATION_CACHE_DIR": CACHE}
        return subprocess.run(
            [sys.executable, "-m", f"popjax.{name}", *map(str, arguments)],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture
def refused_in_one_line(command):
    """Run a command on bad input: exit code 2, if no other is named, and one line that holds all of these texts."""

    def check(name, *arguments, says, code=2, **how):
        process = command(name, *arguments, timeout=60, **how)
        assert process.returncode == code, process.stdout + process.stderr
        (line,) = process.stderr.splitlines()
        for text in says:
            assert text in line
        assert "Traceback" not in process.stderr

    return check


CACHE = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"popjax-test-cache-{os.getuid()}")
