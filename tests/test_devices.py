"""Members spread over several devices, and memory that runs out: the results are the same.

`popjax.engine.memory` and a batch on a device: what an allocator says, and states that it loses, without a card.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import types
from collections import Counter

import jax
import numpy as np
import pytest
from conftest import refused, soaked
from steering_task import sets_once

import popjax as pj
from popjax.engine import memory
from popjax.engine.backends.local import Batch

DEVICES = jax.local_device_count()  # .ci/nightly runs this file on four, too
ALONE = {name: value for name, value in os.environ.items() if name != "JAX_NUM_CPU_DEVICES"}
SPACE = pj.Space(
    learning_rate=pj.log_uniform(1e-3, 1e-1),
    hidden=pj.integers(3, 9),
    depth=pj.integers(1, 2),
    batch_size=pj.choice(8, 16),
)

SEARCH = """
import sys
import jax
import numpy as np
if int(sys.argv[1]) > 1:
    jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
import popjax as pj
if int(sys.argv[1]) == 0:  # one core of those that there are
    import os
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
rng = np.random.default_rng(7)
x = rng.normal(size=(170, 5))
task = pj.supervised((x, (x[:, 0] > 0).astype(int)))
space = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-1), hidden=pj.integers(3, 9), batch_size=pj.choice(8, 16))
lanes = pj.Local(lanes=int(sys.argv[3]))
results = pj.search(task, space, trials=int(sys.argv[2]), epochs=3, backend=lanes, rank=pj.best(keep=2))
sys.stdout.write(json.dumps({
    "devices": jax.local_device_count(),
    "curves": {name: curve.tolist() for name, curve in results.curves.items()},
    "test": results.summary["test_value"],
    "kept": [results.params(trial)["out"]["kernel"].tolist() for trial in results.order[:2].tolist()],
}))
"""

STEERED = """
import json
import sys
import jax
import numpy as np
if int(sys.argv[1]) > 1:
    jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
import popjax as pj
rng = np.random.default_rng(7)
x = rng.normal(size=(170, 5))
space = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-1), hidden=pj.integers(3, 9), batch_size=pj.choice(8, 16))
hparams = space.sample(13, 1) | {"batch_size": np.full(13, 8)}
session = pj.Session(pj.supervised((x, (x[:, 0] > 0).astype(int))), hparams, epochs=4, folds=2, space=space)
session.train(2)
session.set(3, learning_rate=0.05)
session.stop(5)
session.clone(0, 7)
session.train(1)
session.lift(5)
session.back(1)
session.train(2)
sys.stdout.write(json.dumps({
    "devices": jax.local_device_count(),
    "curves": {name: curve.tolist() for name, curve in session.curves.items()},
    "arrays": [session.arrays(member)[0]["params.out.kernel"].tolist() for member in range(13)],
}))
"""


def searched(devices, trials, lanes):
    """The results of a search in a process of its own, which has so many CPU devices."""
    return found("import json" + SEARCH, devices, trials, lanes)


def found(code, devices, *arguments):
    """What a process that has so many CPU devices writes."""
    command = [sys.executable, "-c", code, *map(str, (devices, *arguments))]
    process = subprocess.run(command, capture_output=True, text=True, env=ALONE, timeout=300)
    assert process.returncode == 0, process.stderr
    answer = json.loads(process.stdout)
    assert answer.pop("devices") == max(1, devices)
    return answer


@pytest.mark.soak
@pytest.mark.parametrize(("trials", "lanes"), [(67, 1), (5, 4), (2, 1)])
def test_four_devices_give_what_one_gives(trials, lanes):
    """To the last bit: every member runs through the same loop on whichever device."""
    assert searched(4, trials, lanes) == searched(1, trials, lanes)


@pytest.mark.soak
def test_a_session_on_four_devices_is_a_session_on_one():
    """To the last bit: also what is set, stopped, cloned, taken back and let go on."""
    assert found(STEERED, 4) == found(STEERED, 1)


ON_DEVICES = """
import os
import signal
import sys
import jax
devices, out, commits = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if devices > 1:
    jax.config.update("jax_num_cpu_devices", devices)
import numpy as np
import popjax as pj
from popjax.engine import checkpoint
from popjax.store.commits import Commits
commit, checkpoint.EVERY = Commits.commit, 0.0
def until_killed(own):
    global commits
    commit(own)
    commits -= 1
    if commits == 0:
        os.kill(os.getpid(), signal.SIGKILL)
Commits.commit = until_killed
assert jax.local_device_count() == devices
rng = np.random.default_rng(7)
x = rng.normal(size=(170, 5))
task = pj.supervised((x, (x[:, 0] > 0).astype(int)))
space = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-1), hidden=pj.integers(3, 9), batch_size=8)
pj.search(task, space, trials=13, epochs=6, scheduler=pj.pbt(), out=out, resume=True)
"""


@pytest.mark.kill
def test_a_run_goes_on_with_another_number_of_devices(tmp_path):
    """To the last bit: 13 members share no number of devices evenly, and copies of others' states cross them."""
    kwargs = {"cwd": tmp_path, "capture_output": True, "text": True, "env": ALONE}
    on = lambda *arguments: subprocess.run([sys.executable, "-c", ON_DEVICES, *map(str, arguments)], **kwargs)
    alone = on(1, "alone", -1)
    assert alone.returncode == 0, alone.stderr
    for devices, commits in ((4, 3), (3, 2), (1, 1)):
        killed = on(devices, "run", commits)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert on(4, "run", -1).returncode == 0
    parents = pj.Results.load(tmp_path / "run").history.parents
    assert ((parents >= 0) & (parents != np.arange(13)[:, None])).any()
    for name in ("trials.parquet", "curves.parquet", "decisions.jsonl", "best/arrays.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes(), name


@pytest.mark.soak
def test_one_thread_gives_what_all_give():
    assert searched(0, 40, 1) == searched(1, 40, 1)


@pytest.fixture
def refuse(monkeypatch):
    """Let every epoch of more than `most` members a device run out of memory, after so many that pass."""
    run = jax.stages.Compiled.__call__

    def start(most, after=0, says="Out of memory while trying to allocate 987654321 bytes."):
        log, passed = [], Counter()

        def call(program, *given):
            trial = getattr(given[1], "trial", None) if len(given) == 5 else None
            if trial is None:
                return run(program, *given)
            if len(trial) > most * DEVICES:
                if passed[program] == after:
                    raise jax.errors.JaxRuntimeError(f"RESOURCE_EXHAUSTED: {says}")
                passed[program] += 1
            log.append(len(trial) // DEVICES)
            return run(program, *given)

        monkeypatch.setattr(jax.stages.Compiled, "__call__", call)
        return log

    return start


@pytest.mark.parametrize("after", soaked([3, 0]))
def test_what_runs_out_of_memory_goes_on_narrower_and_loses_nothing(rows, refuse, after):
    """The parts halve until they fit, go on from the epoch where they stood, and give the same bits."""
    task = pj.supervised(rows)
    whole = pj.search(task, SPACE, trials=40 * DEVICES, epochs=4, rank=pj.best(keep=3))
    log = refuse(most=4, after=after)
    narrow = pj.search(task, SPACE, trials=40 * DEVICES, epochs=4, rank=pj.best(keep=3))
    assert (whole.run["part"], whole.run["narrowed"]) == (16, 0)
    assert (narrow.run["part"], narrow.run["narrowed"]) == (4, 2)
    assert set(log) == ({4} if after == 0 else {16, 8, 4})
    for name, values in whole.members.items():
        assert values.tobytes() == narrow.members[name].tobytes()
    assert whole.summary["test_value"] == narrow.summary["test_value"]
    for trial in whole.order[:3].tolist():
        kept = narrow.states[trial]
        for name, array in whole.states[trial].items():
            assert array.tobytes() == kept[name].tobytes()
    if after:
        assert log.count(4) < 40  # epochs of parts of four, had all begun again


def test_a_session_that_runs_out_of_memory_goes_on_narrower(rows, refuse):
    hparams = SPACE.sample(40 * DEVICES, 0) | {"depth": np.full(40 * DEVICES, 1)}
    sessions = [pj.Session(pj.supervised(rows), hparams, epochs=4, space=SPACE) for _ in range(2)]
    sessions[0].train(4)
    log = refuse(most=4, after=3)
    sessions[1].train(4)
    assert set(log) == {16, 8, 4}
    for name, values in sessions[0].curves.items():
        assert values.tobytes() == sessions[1].curves[name].tobytes()


@pytest.mark.soak
def test_lanes_halve_too(rows, refuse):
    task = pj.supervised(rows)
    refuse(most=3)
    results = pj.search(task, SPACE, trials=9, epochs=2, backend=pj.Local(lanes=8))
    assert (results.run["lanes"], results.run["part"], results.run["narrowed"]) == (2, 2, 3)
    assert np.isfinite(results.curves["val_loss"]).all()


@pytest.mark.soak
@pytest.mark.parametrize(
    ("says", "size"),
    [
        ("Out of memory while trying to allocate 5520758552 bytes.", "5520758552 bytes"),
        ("Out of memory while trying to allocate 176.00MiB.", "184549376 bytes"),
        ("Failed to allocate request for 32.00MiB (33554433B) on device ordinal 0", "33554433 bytes"),
        ("Out of memory allocating 1024 bytes.", "1024 bytes"),
        ("Ran out of memory in memory space hbm", "does not fit"),
        ("Cannot allocate 3.5GB", "does not fit"),
    ],
)
def test_one_member_that_does_not_fit_is_named(rows, refuse, says, size):
    refuse(most=0, says=says)
    with refused("a single model", size, error=MemoryError):
        pj.search(pj.supervised(rows), SPACE, trials=9, epochs=2)


def test_a_program_that_needs_more_than_four_fifths_of_what_is_free_is_not_run(rows, monkeypatch):
    """By XLA's own analysis, before anything is allocated."""
    task = pj.supervised(rows)
    whole = pj.search(task, SPACE, trials=20 * DEVICES, epochs=2)
    needs = []
    analysed = memory.executable_bytes
    monkeypatch.setattr(
        "popjax.engine.memory.executable_bytes", lambda executable: needs.append(analysed(executable)) or needs[-1]
    )
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(jax.tree.map(jax.numpy.asarray, task.data)))
    monkeypatch.setattr("popjax.engine.memory.free", lambda: int((needs[0] - held) / 0.8) - 2)
    narrow = pj.search(task, SPACE, trials=20 * DEVICES, epochs=2)
    assert (narrow.run["part"], narrow.run["narrowed"]) == (8, 1)
    assert whole.curves["val_loss"].tobytes() == narrow.curves["val_loss"].tobytes()


def test_a_changed_trial_whose_state_is_lost_is_not_trained_as_another(rows, refuse, monkeypatch, tmp_path):
    """It would be, with what it was changed to from its first epoch on; a resume has the state of a commit."""
    task = pj.supervised(rows)
    scheduler = sets_once(16 * DEVICES, 0, ends=(4, 8), learning_rate=0.01)
    search = lambda out, resume=False: pj.search(
        task, SPACE, trials=16 * DEVICES, epochs=8, scheduler=scheduler, out=tmp_path / out, resume=resume
    )
    whole = search("whole")
    monkeypatch.setattr("popjax.engine.checkpoint.EVERY", 0.0)
    monkeypatch.setattr("popjax.engine.backends.local.threads", lambda: 1)
    refuse(most=8, after=6)
    stopped = Batch.stopped

    def lost(progress, until):
        if progress.training is not None and progress.epoch < until:
            progress.saved = dataclasses.replace(progress.saved, state=None)
            jax.tree.map(lambda array: array.delete(), progress.training)
        return stopped(progress, until)

    with monkeypatch.context() as card:
        card.setattr(Batch, "stopped", lost)
        with pytest.raises(MemoryError, match="the state of trial 0, which was copied or changed, is lost: resume"):
            search("narrow")
    narrow = search("narrow", resume=True)
    for name, values in whole.members.items():
        assert values.tobytes() == narrow.members[name].tobytes()


def in_two_segments(problem):
    def step(number, trials):
        add = problem.propose(problem.trials) if number == 0 else {}
        until = dict.fromkeys(range(problem.trials), 2 * (number + 1)) if number < 2 else {}
        return number + 1, pj.Decision(add=add, until=until)

    return pj.Scheduler(lambda: 0, step)


@pytest.mark.parametrize("scheduler", [None, in_two_segments])
def test_what_a_device_without_memory_does_not_give_back_is_trained_again(rows, refuse, monkeypatch, scheduler):
    """Where not even the states can be read back, their members begin again: none is lost."""
    task = pj.supervised(rows)
    whole = pj.search(task, SPACE, trials=40 * DEVICES, epochs=4, scheduler=scheduler)
    refuse(most=4, after=7 if scheduler else 3)  # its first segment makes six calls

    stopped, asked = Batch.stopped, []

    def stopping(progress, until):
        if progress.training is not None and progress.epoch < until:
            asked.append(progress.origin.state is not None)
            monkeypatch.setattr(progress, "cohort", refusing, raising=False)
        return stopped(progress, until)

    def refusing():
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 99 bytes.")

    monkeypatch.setattr(Batch, "stopped", stopping)
    narrow = pj.search(task, SPACE, trials=40 * DEVICES, epochs=4, scheduler=scheduler)
    assert bool(scheduler) in asked
    assert not narrow.stopped.any()
    for name, values in whole.members.items():
        assert values.tobytes() == narrow.members[name].tobytes()


def test_what_a_commit_copied_to_the_host_goes_back(rows, refuse, monkeypatch, tmp_path):
    """Where the arrays are lost with the program that failed: they were donated to it."""
    task, trials = pj.supervised(rows), 16 * DEVICES
    whole = pj.search(task, SPACE, trials=trials, epochs=8)
    monkeypatch.setattr("popjax.engine.checkpoint.EVERY", 0.0)  # each epoch is one to commit
    monkeypatch.setattr("popjax.engine.backends.local.threads", lambda: 1)
    log, stopped, epochs = refuse(most=8, after=6), Batch.stopped, []

    def lost(progress, until):
        if progress.training is not None and progress.epoch < until:
            jax.tree.map(lambda array: array.delete(), progress.training)
            epochs.append(progress.saved.epoch)
        return stopped(progress, until)

    monkeypatch.setattr(Batch, "stopped", lost)
    narrow = pj.search(task, SPACE, trials=trials, epochs=8, out=tmp_path / "run")
    assert epochs[0] >= 1
    assert log == [16] * 6 + [8] * 2 * (8 - epochs[0])
    for name, values in whole.members.items():
        assert values.tobytes() == narrow.members[name].tobytes()


class Card:
    """An accelerator whose allocator says so much."""

    platform, local_hardware_id = "gpu", 0

    def __init__(self, statistics):
        self.memory_stats = lambda: statistics


@pytest.mark.parametrize("statistics", [None, {}, {"bytes_limit": 0, "bytes_in_use": 7}])
def test_an_accelerators_memory_that_is_not_known_is_never_the_machines(rows, refuse, monkeypatch, statistics):
    """Then the allocator decides, and members go on in narrower parts where it refuses."""
    monkeypatch.setattr(memory, "first_device", lambda: Card(statistics))
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert memory.total() is memory.free() is None
    refuse(most=4)
    narrow = pj.search(pj.supervised(rows), SPACE, trials=20 * DEVICES, epochs=1)
    assert (narrow.run["part"], narrow.run["narrowed"]) == (4, 2)


def test_an_accelerators_memory_is_its_allocators_or_else_nvmls(monkeypatch):
    monkeypatch.setattr(memory, "first_device", lambda: Card({"bytes_limit": 60, "bytes_in_use": 20}))
    assert (memory.total(), memory.free()) == (60, 40)
    monkeypatch.setattr(memory, "first_device", lambda: Card({"bytes_limit": 0}))
    nvml = types.SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetMemoryInfo=lambda handle: types.SimpleNamespace(total=80 + handle),
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert (memory.total(), memory.free()) == (80, None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-7")
    assert memory.total() == 83
