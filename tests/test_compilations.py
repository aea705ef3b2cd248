"""Nothing dynamic is baked in: executables are counted through jax.monitoring.

`popjax.engine`: the program of an epoch itself, whose instructions and memory nothing public shows.
"""

import gc
import re
import sys
from collections import Counter
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import compilations

import popjax as pj
from popjax.core.clock import Clock
from popjax.engine.backends import local
from popjax.engine.plan import BATCH
from popjax.engine.roster import Roster
from popjax.engine.traced_task import Config, TracedTask


@pytest.fixture
def task(rows):
    return pj.supervised(rows)


SPACE = pj.Space(
    learning_rate=pj.log_uniform(1e-3, 1e-1),
    momentum=pj.one_minus_log_uniform(0.9, 0.99),
    hidden=pj.integers(3, 9),
    depth=pj.integers(1, 2),
    batch_size=pj.choice(8, 16),
    decay=pj.uniform(0, 0.2),
)


def epochs_compiled(events):
    return sum("epoch" in str(name) for name in events)


def test_one_epoch_program_for_a_mixed_population(task, nothing_compiled):
    with compilations() as events:
        results = pj.search(task, SPACE, trials=40, epochs=3)
    assert results.summary["buckets"] == 1
    assert epochs_compiled(events) == 1


@pytest.mark.parametrize(("span", "calls"), [(0.0, 3), (1e9, 2)])
def test_the_host_is_asked_once_an_epoch_of_a_batch(task, monkeypatch, span, calls):
    """Neither once a trial nor once a step, and of short epochs once for several; no program calls the host."""
    monkeypatch.setattr(local, "SPAN", span)
    monkeypatch.setattr(local, "threads", lambda: 1)

    class Listener(pj.Callback):
        def epoch(self, result):
            heard.append(len(result.trial))

    heard, called = [], []
    execute = jax.stages.Compiled.__call__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax.stages.Compiled, "__call__", lambda *given: called.append(given[0]) or execute(*given))
        pj.search(task, SPACE, trials=4 * BATCH + 1, epochs=3, callbacks=[Listener()])
    assert sorted(heard) == [1] * 3 + [BATCH] * 12
    trained = 3 if calls == 3 else 1
    assert len(called) == 5 + calls + trained * 4 + 1  # to begin the batches, to train the first and others, to score
    assert not [program for program in set(called) if "callback" in program.as_text()]


def test_one_epoch_program_a_bucket(task, nothing_compiled):
    with compilations() as events:
        results = pj.search(task, SPACE, trials=40, epochs=2, backend=pj.Local(plan="buckets"))
    assert results.summary["buckets"] == 4
    assert epochs_compiled(events) == 4


def test_one_epoch_program_a_width_cap(task, cheap_programs, nothing_compiled):
    """Fewer trials, later rounds and more epochs need no other."""
    wide = SPACE.replace(hidden=pj.log_integers(2, 32))
    with compilations() as events:
        results = pj.search(task, wide, trials=40, epochs=2)
    assert results.run["plan"] == "widths"
    assert epochs_compiled(events) == results.summary["buckets"] > 1
    with compilations() as events:
        pj.search(task, wide, trials=7, epochs=3)
        pj.search(task, wide, trials=40, epochs=2, scheduler=pj.rounds(2))
    assert events == []


def test_a_second_search_compiles_nothing(task):
    """Other learning rates, another range, another seed, more trials, more epochs: the same executables."""
    pj.search(task, SPACE, trials=10, epochs=2)
    with compilations() as events:
        other = SPACE.replace(learning_rate=pj.log_uniform(1e-4, 1), decay=pj.uniform(0, 1))
        pj.search(task, other, trials=33, epochs=3, seed=9)
        pj.search(task, SPACE.replace(learning_rate=pj.log_uniform(1e-5, 1e-2)), trials=1, epochs=2)
    assert events == []


def test_predicting_again_compiles_nothing(rows, task):
    results = pj.search(task, SPACE, trials=4, epochs=1)
    first = results.predict(rows[0])
    with compilations() as events:
        again = results.predict(rows[0])
    assert not events
    assert np.array_equal(first, again)


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="there is no such limit")
def test_a_notebook_of_many_searches_holds_the_programs_of_a_few(task):
    """Further searches take no more memory maps, and so no more memory, than earlier ones gave back."""
    taken = []
    for hidden in range(40, 70):
        pj.search(task, SPACE.replace(hidden=hidden), trials=4, epochs=1)
        gc.collect()
        taken.append(len(Path("/proc/self/maps").read_bytes().splitlines()))
    assert taken[9] - taken[0] > 900
    assert abs(taken[29] - taken[14]) < (taken[9] - taken[0]) / 3


def test_a_constant_rate_is_not_baked_in(task):
    """Also where the user writes a whole number."""
    pj.search(task, SPACE.replace(learning_rate=1), trials=4, epochs=2)
    with compilations() as events:
        pj.search(task, SPACE.replace(learning_rate=2), trials=4, epochs=2)
    assert events == []


def test_one_trace_a_bucket(rows):
    """The task's Python runs once for each of its functions."""
    calls = {"init": 0, "epoch": 0}

    def init(key, hparams, data):
        calls["init"] += 1
        return jax.random.normal(key)

    def epoch(x, hparams, data):
        calls["epoch"] += 1
        return x * (1 - hparams["learning_rate"]), {"loss": x**2}

    task = pj.Task(init, epoch, data=np.zeros(3))
    pj.search(task, {"learning_rate": pj.uniform(0, 1)}, trials=50, epochs=4)
    assert calls == {"init": 1, "epoch": 1}


def step_of(program):
    """How many instructions of each kind run in one step of training: those of the loop with most products."""
    computations = re.split(r"\n(?=%|ENTRY)", program.as_text())
    body = max(computations, key=lambda text: len(re.findall(r" dot\(|_fusion\S* = .*dot_general", text)))
    kinds = Counter(re.findall(r" = (?:\(.*?\)|\S+) ([a-z-]+)\(", body))
    free = ("get-tuple-element", "parameter", "tuple", "constant", "bitcast")
    return {kind: count for kind, count in kinds.items() if kind not in free}


def by_hand(params, velocity, rate, momentum, x, y, order):
    """An epoch of SGD with momentum as one would write it for a single network, with nothing that may vary."""

    def loss(params, x, y):
        for w, b in params[:-1]:
            x = jax.nn.relu(x @ w + b[None])
        w, b = params[-1]
        return -(jax.nn.log_softmax(x @ w + b[None]) * jax.nn.one_hot(y, 10)).sum(1).mean()

    def step(carry, rows):
        params, velocity = carry
        value, gradient = jax.value_and_grad(loss)(params, x[rows], y[rows])
        velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, gradient)
        return (jax.tree.map(lambda p, v: p - rate * v, params, velocity), velocity), value

    return jax.lax.scan(step, (params, velocity), order)


def test_a_step_has_the_instructions_of_one_by_hand():
    """Neither the masks of padded widths, nor keys, metrics or a population cost an instruction in the hot loop.

    By hand it has two more: XLA copies the weights that the way back reads, before it updates them.
    """
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(800, 64)), rng.integers(0, 10, 800)
    space = pj.Space(learning_rate=pj.uniform(0, 1), momentum=pj.uniform(0, 0.9), decay=pj.uniform(0, 1), batch_size=32)
    sizes = [(64, 100), (100, 100), (100, 10)]
    params = [(jax.ShapeDtypeStruct(size, np.float32), jax.ShapeDtypeStruct(size[1:], np.float32)) for size in sizes]
    number = jax.ShapeDtypeStruct((), np.float32)
    rows = jax.ShapeDtypeStruct((640, 64), np.float32), jax.ShapeDtypeStruct((640,), np.int32)
    order = jax.ShapeDtypeStruct((20, 32), np.int32)
    expected = step_of(jax.jit(by_hand).lower(params, params, number, number, *rows, order).compile())
    assert sum(expected.values()) > 30
    expected["copy"] -= 2
    for hidden in (100, pj.integers(50, 100)):
        own = space.replace(hidden=hidden, depth=2)
        traced = TracedTask(pj.supervised((x, y)), own, Config(2, 0, pj.Rule("val_loss")))
        roster = Roster(traced, own.sample(3))
        assert step_of(roster.programs(0, roster.lanes(0), Clock()).epoch.result()) == expected


@pytest.mark.soak
def test_many_lanes_share_one_copy_of_the_data():
    """Under vmap, as on accelerators, memory beside the states does not grow by the data for every lane."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3000, 40)), rng.integers(0, 2, 3000)
    space = pj.Space(hidden=pj.integers(2, 4), batch_size=pj.choice(8, 16), dropout=pj.uniform(0, 0.5))
    traced = TracedTask(pj.supervised((x, y)), space, Config(2, 0, pj.Rule("val_loss"), lanes=16))
    roster = Roster(traced, space.sample(16))
    program = roster.programs(0, roster.lanes(0), Clock()).epoch.result()
    assert program.memory_analysis().temp_size_in_bytes < 3 * np.float32(x).nbytes
