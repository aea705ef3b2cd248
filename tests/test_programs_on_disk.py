"""Processes share JAX's cache of programs, and none reads half of what another writes."""

import json
import multiprocessing
import os
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import pytest
from jax._src.lru_cache import LRUCache

import popjax as pj
from popjax.core.private_jax import tell_changed
from popjax.engine.compiler import COMPILER

SIZE = 2**25  # bytes, which take several writes
ROUNDS = 20


def writer(place, written):
    """Writes an entry anew in each round, as another process does that compiles it."""
    from popjax.engine.compiler import COMPILER

    assert COMPILER
    cache = LRUCache(place, max_size=-1)
    for _ in range(ROUNDS):
        written.wait(30)
        cache.put("program", os.urandom(16) * (SIZE // 16))
        written.wait(30)


def test_an_entry_that_is_being_written_is_not_read_in_part(tmp_path):
    context = multiprocessing.get_context("spawn")
    written = context.Barrier(2)
    process = context.Process(target=writer, args=(str(tmp_path), written))
    process.start()
    path = tmp_path / "program-cache"
    for _ in range(ROUNDS):
        path.unlink(missing_ok=True)
        written.wait(30)
        while not path.exists():
            pass
        assert len(path.read_bytes()) == SIZE
        written.wait(30)
    process.join(30)
    assert process.exitcode == 0
    assert [file.name for file in tmp_path.iterdir()] == ["program-cache"]


@pytest.fixture
def cache(tmp_path):
    """A cache of programs of its own."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "programs"))
    jax.experimental.compilation_cache.compilation_cache.reset_cache()
    yield tmp_path / "programs"
    jax.config.update("jax_compilation_cache_dir", before)
    jax.experimental.compilation_cache.compilation_cache.reset_cache()


def test_a_damaged_entry_is_said_once_and_replaced(cache):
    """That of a process that was killed by an earlier version stayed, with a warning in each process after it."""
    assert COMPILER
    compiled = lambda: jax.jit(lambda x: jnp.sin(x) + 3.25).lower(1.5).compile()
    compiled()
    (entry,) = cache.glob("*lambda*-cache")
    whole = entry.read_bytes()
    entry.write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match="Error reading persistent compilation cache entry"):
        compiled()
    with warnings.catch_warnings(action="error"):
        compiled()
    assert pj.search(pj.objective(lambda key, hparams: {"loss": hparams["x"]}), {"x": 0.5}, trials=1).best is not None


FIT = """
import json
import sys
import jax
for name, value in json.loads(sys.argv[1]).items():
    jax.config.update(name, value)
import numpy as np
import popjax as pj
x = np.random.default_rng(0).normal(size=(60, 3))
space = {"learning_rate": 0.01, "hidden": 4, "depth": 1, "batch_size": 16}
model = pj.PopulationClassifier(space, trials=2, epochs=2, folds=1).fit(x, x[:, 0] > 0)
model.predict(x)
"""


def test_the_library_keeps_programs_as_the_commands_do_unless_the_user_has_chosen(tmp_path):
    """A second process compiles none of them; a directory of the user's is used with JAX's own limits, or none."""
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    environment |= {"HOME": str(home)}

    def kept(settings):
        words = [sys.executable, "-c", FIT, json.dumps(settings)]
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        programs = (home / ".cache" / "popjax" / "programs").glob("*-cache")
        return {file.name: file.stat().st_mtime_ns for file in programs}

    mine = {"jax_compilation_cache_dir": str(tmp_path / "mine"), "jax_persistent_cache_min_compile_time_secs": 1e9}
    assert kept(mine) == kept({"jax_enable_compilation_cache": False}) == {}
    assert not list((tmp_path / "mine").glob("*-cache"))
    first = kept({})
    assert any("epoch" in name for name in first)
    assert kept({}) == first


def test_a_cache_that_is_not_as_it_was_is_written_as_jax_does_and_said_once(tmp_path, capsys):
    assert COMPILER
    cache = LRUCache(str(tmp_path), max_size=-1)
    del cache._is_local
    tell_changed.cache_clear()
    for name in ("one", "two"):
        cache.put(name, b"program")
    assert sorted(file.read_bytes() for file in tmp_path.glob("*-cache")) == [b"program"] * 2
    assert capsys.readouterr().err.count("a killed process may leave half a compiled program") == 1
