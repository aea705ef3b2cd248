"""Processes share JAX's cache of programs, and none reads half of what another writes."""

import multiprocessing
import os
import warnings

import jax
import jax.numpy as jnp
import pytest
from jax._src.lru_cache import LRUCache

import popjax as pj
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
