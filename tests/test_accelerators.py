"""What the programs of accelerators are made of: JAX lowers them here for CUDA, and a CPU runs them."""

import contextvars
import json
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import soaked
from programs import CASES, WITH_GYMNAX, Program, digest, lowered

import popjax as pj
from popjax.core.clock import Clock
from popjax.engine.backends.work import PLAN_CACHE
from popjax.engine.compiler import COMPILER, TUNING
from popjax.engine.identity import code
from popjax.engine.traced_task import Config, TracedTask
from popjax.models.texts import embedded
from popjax.rewriting.target import made_for
from popjax.rule import Rule

OURS = {name: case for name, case in (CASES | WITH_GYMNAX).items() if "by hand" not in name}
RECORDED = json.loads((Path(__file__).parent.parent / "benchmarks" / "results" / "compiled.json").read_text())


def operations(op):
    """All operations within one, itself included."""
    yield op
    for region in op.regions:
        for block in region:
            for inner in block:
                yield from operations(inner.operation)


def is_constant(value):
    """Whether a value is a constant, or chosen between constants by one, as where a platform chooses."""
    op = value.owner
    if op.name == "stablehlo.case":
        ends = [list(block)[-1].operands[0] for region in op.regions for block in region]
        return is_constant(op.operands[0]) and all(map(is_constant, ends))
    return op.name == "stablehlo.constant"


def slow_there(program):
    """The operations of a program that are slow or wrong on accelerators."""
    found = []
    for op in operations(lowered(program).compiler_ir("stablehlo").operation):
        if op.name in ("stablehlo.scatter", "stablehlo.select_and_scatter"):
            found.append(op.name)
        if op.name == "stablehlo.convolution":
            groups = [op.attributes[f"{which}_group_count"].value for which in ("feature", "batch")]
            found += [f"convolution in {count} groups" for count in groups if count > 1]
        if op.name in ("stablehlo.case", "stablehlo.if") and not is_constant(op.operands[0]):
            found.append(f"{op.name} of a computed branch")
    return found


@pytest.mark.parametrize("name", soaked(list(OURS), quick=2))
def test_no_update_scatters_or_branches_or_convolves_in_groups(name):
    """Scatters are slow or wrong under vmap there, a branch waits for the host, a grouped convolution is slow."""
    if name in WITH_GYMNAX:
        pytest.importorskip("gymnax")
    with made_for("cuda"):
        programs = OURS[name](512)
        assert [slow_there(program) for program in programs] == [[]] * len(programs)


def test_what_is_slow_there_is_seen():
    """Each of these is what one would write."""
    x = jax.ShapeDtypeStruct((4, 8, 8, 2), np.float32)
    kernel = jax.ShapeDtypeStruct((4, 3, 3, 2, 5), np.float32)
    index = jax.ShapeDtypeStruct((4,), np.int32)
    convolve = lambda x, kernel: jax.lax.conv_general_dilated(
        x[None], kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    assert slow_there(Program(jax.vmap(convolve), (x, kernel), 4)) == ["convolution in 4 groups"]
    gather = jax.grad(lambda x, index: x[index].sum())
    assert slow_there(Program(gather, (x, index), 4)) == ["stablehlo.scatter"]
    pool = jax.grad(lambda x: jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID").sum())
    assert slow_there(Program(pool, (x,), 4)) == ["stablehlo.select_and_scatter"]
    branch = lambda index, x: jax.lax.cond(index[0] > 0, lambda x: x, lambda x: 2 * x, x)
    assert slow_there(Program(branch, (index, x), 4)) == ["stablehlo.case of a computed branch"]


def test_the_derivative_of_embedded_texts_is_that_of_a_gather(x64):
    """Also where a level occurs twice, and where a cell is missing."""
    codes = jax.numpy.array([3, 0, 3, 1])
    levels, weights = jax.random.normal(jax.random.key(0), (5, 8)), jax.random.normal(jax.random.key(1), (4, 8))
    with made_for("cuda"):
        there = jax.grad(lambda levels: (embedded(codes, levels) * weights).sum())(levels)
    expected = np.zeros((5, 8))
    np.add.at(expected, [2, 2, 0], np.asarray(weights)[[0, 2, 3]])
    np.testing.assert_allclose(there, expected, rtol=1e-12)


@pytest.mark.soak
@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: case["case"])
def test_what_was_compiled_is_of_this_code(case):
    if RECORDED["jax"] != jax.__version__:
        pytest.skip(f"compiled.json is of jax {RECORDED['jax']}")
    with made_for("cuda"):
        now = digest(CASES[case["case"]](case["members"]))
    assert now == case["digest"], "compiled.json is of other code: uv run --script benchmarks/compiled.py"


@pytest.mark.parametrize("plan", ["one", "widths", "buckets"])
def test_a_cpu_runs_an_accelerators_programs(plan, rows, x64):
    """Vmapped lanes without branches give what a CPU's own programs give."""
    task = lambda: pj.supervised(rows)
    space = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-1), hidden=pj.integers(3, 9), batch_size=pj.choice(8, 16))
    search = lambda: pj.search(task(), space, trials=12, epochs=4, scheduler=pj.halving(), backend=pj.Local(plan=plan))
    here = search()
    with made_for("cuda"):
        there = search()
    assert there.run["lanes"] > 1
    assert there.status.tolist() == here.status.tolist()
    for name, curve in here.curves.items():
        np.testing.assert_allclose(there.curves[name], curve, rtol=1e-9, err_msg=name)


def test_a_run_of_one_trial_goes_on_with_its_own_program(rows, tmp_path):
    """One member is one lane there, and no branch is real: also on resume, whose lanes are recorded."""
    task = pj.supervised(rows)
    space = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-1), batch_size=pj.choice(8, 16))
    with made_for("cuda"):
        run = pj.search(task, space, trials=1, epochs=1, out=tmp_path).run
        assert run["lanes"] == 1
        again = TracedTask(task, space, Config.of_run(run, Rule("loss", "min")))
        assert code(again) == run["code"]


class Here(ThreadPoolExecutor):
    """An executor of one thread, for which programs are made for the same platform as in the caller's."""

    def submit(self, fn, *args):
        return super().submit(contextvars.copy_context().run, fn, *args)


@pytest.mark.parametrize("workers", soaked([False, True]))
def test_a_run_and_its_workers_keep_what_a_gpus_autotuner_chose(rows, tmp_path, monkeypatch, workers):
    """Each program is compiled with its directory, by an option that XLA knows; beside a CPU's run there is none."""
    options, compiled = [], COMPILER._compile
    record = lambda lowered, clock, given: options.append(given) or compiled(lowered, clock, given)
    monkeypatch.setattr(COMPILER, "_compile", record)
    task, kwargs = pj.supervised(rows), {"trials": 4, "epochs": 1}
    search = lambda name: pj.search(task, **kwargs, out=tmp_path / name, backend=Here(1) if workers else None)
    search("cpu")
    assert not (tmp_path / "cpu" / "autotuning").exists()
    assert not any(TUNING in given for given in options)
    options.clear()
    COMPILER._forget()
    PLAN_CACHE._known.clear()
    with made_for("cuda"):
        search("gpu")
    assert (tmp_path / "gpu" / "autotuning").is_dir()
    assert len(options) >= 3  # to begin, for an epoch, to score
    assert all(Path(given[TUNING]).samefile(tmp_path / "gpu" / "autotuning") for given in options)


class Counted:
    """A lowered program that says how many are compiled at once."""

    now, most = 0, 0

    def compile(self, compiler_options):
        Counted.now += 1
        Counted.most = max(Counted.most, Counted.now)
        time.sleep(0.1)
        Counted.now -= 1


def test_an_accelerator_compiles_one_program_at_once():
    """Its autotuner times kernels."""
    with made_for("cuda"):
        wait([COMPILER._compile(Counted(), Clock(), {}) for _ in range(3)])
    assert Counted.most == 1
