"""The unit of work that an executor sees: one function of picklable arguments, which plans and decides nothing.

A worker keeps the tasks that it was sent, by their digest, with the programs compiled for them: a unit that comes
without a task that the worker lacks is answered by Missing, and sent again with it. Errors of the user's code come
back as values, so that an exception of a future is the executor's own. All that is sent can be pickled by the standard
library: the user's objects are bytes of cloudpickle, which is imported only here; nothing on a disk is a pickle.
"""

import os
import socket
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle
import jax
import numpy as np

from popjax.core.machine import kin
from popjax.core.text import first_line
from popjax.core.trees import abstract
from popjax.engine.backends.local import Job, train
from popjax.engine.backends.protocol import Context, Epoch, Message, Position, Segment
from popjax.engine.compiler import COMPILER
from popjax.engine.member import MemberFunctions, Members, Programs, on_devices, under
from popjax.engine.memory import OutOfMemory, crowded, ran_out, refused_bytes
from popjax.engine.plan import Lanes
from popjax.store.cohort import Arrays, Cohort, OnHost, join
from popjax.task import Task

TASKS, PLANS = 4, 64  # kept by a worker


class Unit(NamedTuple):
    """Members of a bucket to be trained on.

    Attributes:
        number: of the unit, another one each time that it is sent; its answer has it, too.
        task: the digest of the task's bytes.
        plan: the bytes that `planned` returned for their bucket.
        lanes: the number of members that train at once.
        seed: of the members' keys.
        epoch: the epochs that they have finished.
        state: their state, name -> array (members, ...); None before the first epoch.
        members: their identities and current hyperparameters: arrays (members,).
        until: the epoch to reach.
        settings: JAX's, in the order of SETTINGS.
        kin: the kind of machine and versions of the driver; None if a worker's may differ.
        tuning: the directory of what a GPU's autotuner chose, if workers see the driver's disk; None without a record.
    """

    number: int
    task: str
    plan: bytes
    lanes: Lanes
    seed: int
    epoch: int
    state: Arrays | None
    members: Members
    until: int
    settings: tuple[Any, ...]
    kin: str | None
    tuning: Path | None = None


class Done(NamedTuple):
    """The answer for a trained unit.

    Attributes:
        worker: the name of the worker.
        unit: the number of the unit.
        epoch: the epochs that the members have finished.
        metrics: metric -> (members, epochs), of the epochs that were trained.
        improved: bool (members, epochs), which of these became the best; None if no best epoch is kept.
        state: their state, name -> array (members, ...).
    """

    worker: str
    unit: int
    epoch: int
    metrics: dict[str, np.ndarray]
    improved: np.ndarray | None
    state: Arrays


class Missing(NamedTuple):
    """The answer of a worker that does not have the task."""

    worker: str


class Refused(NamedTuple):
    """The answer of a worker on another kind of machine or versions, `kin`, than the driver."""

    worker: str
    kin: str


class Failed(NamedTuple):
    """The answer with what the user's code raised, as bytes."""

    worker: str
    error: bytes


Answer = Done | Missing | Refused | Failed


class Prepared(NamedTuple):
    """The programs of a bucket, compiled or being compiled, with the context to train its members."""

    programs: Programs
    context: Context
    pace: dict[Any, float]


def shipped(task: Task) -> bytes:
    """A task as bytes; raises ValueError for one that cannot be pickled."""
    try:
        return cloudpickle.dumps(task)
    except Exception as error:  # whatever the objects' own methods raise
        what = first_line(error)
        raise ValueError(
            f"the task cannot be sent to processes: {what}; create such objects in its functions"
        ) from None


def planned(functions: MemberFunctions) -> bytes:
    """The arguments of a bucket's MemberFunctions beside the task, as bytes."""
    names = ("static", "dynamic", "scales", "epochs", "branching", "branches", "inactive", "keeps_best")
    return cloudpickle.dumps({name: getattr(functions, name) for name in names})


def work(unit: Unit, blob: bytes | None = None) -> Answer:
    """Train the members of a unit to an epoch, in the calling process.

    Args:
        unit: see Unit.
        blob: the task as bytes, if the worker may not have it yet.

    The same unit gives the same bits on every machine of a kind and version. An error of the task is returned as
    Failed, not raised.
    """
    worker = name()
    if unit.kin is not None and unit.kin != kin():
        return Refused(worker, kin())
    try:
        with under(unit.settings):
            task = TASK_CACHE.get(unit.task, blob)
            return Missing(worker) if task is None else trained(worker, task, unit)
    except Exception as error:
        return Failed(worker, packed(OutOfMemory(refused_bytes(error)) if ran_out(error) else error))


def trained(worker: str, task: Task, unit: Unit) -> Done:
    """Train a unit on this worker, in pieces of at most a batch, one after another."""
    prepared, data = prepare(task, unit), data_of(task, unit)
    state = None if unit.state is None else OnHost(unit.state)
    whole = Cohort(0, np.arange(len(unit.members.trial)), unit.epoch, state)
    reports: list[Any] = []
    stands: list[Cohort] = []
    for piece in whole.cut(unit.lanes.capacity * unit.lanes.devices):
        job = Job.of(
            Segment(piece, unit.until),
            unit.lanes,
            lambda numbers: jax.tree.map(lambda column: column[numbers], unit.members),
            programs=prepared.programs,
            seed=unit.seed,
            data=data,
            pace=prepared.pace,
        )
        said: list[Message] = []
        train(job, prepared.context, said.extend, lambda: False)
        epochs = [(message.metrics, message.improved) for message in said if isinstance(message, Epoch)]
        if epochs:  # none of members that are only to have their first state
            reports.append(jax.tree.map(lambda *columns: np.stack(columns, 1), *epochs))
        stands += [message.cohort.on_host() for message in said if isinstance(message, Position)]
    standing = join(stands)
    metrics, improved = jax.tree.map(lambda *pieces: np.concatenate(pieces), *reports) if reports else ({}, None)
    return Done(worker, unit.number, standing.epoch, metrics, improved, standing.arrays())


def data_of(task: Task, unit: Unit) -> Any:
    """The task's data on the devices, one copy for all its buckets."""
    devices = unit.lanes.devices
    return DATA_CACHE.get((unit.task, devices, unit.settings), lambda: on_devices(task.data, devices))


def prepare(task: Task, unit: Unit) -> Prepared:
    """The programs of a unit's bucket, from the cache if they are there."""
    key = unit.task, unit.plan, unit.lanes.count, unit.lanes.capacity, unit.settings
    return PLAN_CACHE.get(key, lambda: prepared_anew(task, unit))


def prepared_anew(task: Task, unit: Unit) -> Prepared:
    """The programs for the first unit of a bucket."""
    member, context, lanes = MemberFunctions(task, **cloudpickle.loads(unit.plan)), Context(), unit.lanes
    programs = COMPILER.programs(
        member,
        abstract(data_of(task, unit)),
        lanes.capacity,
        lanes.count,
        context.compiling,
        lanes.devices,
        unit.tuning,
    )
    return Prepared(programs, context, {})


class Cache:
    """A cache of the `kept` most recently used values; safe for threads."""

    def __init__(self, kept: int) -> None:
        self.kept = kept
        self._lock = threading.Lock()
        self._known: OrderedDict[Any, Any] = OrderedDict()

    def get(self, key: Any, make: Any) -> Any:
        """The value of a key; if there is none, of `make`: a function, or bytes to unpickle; None if `make` is None."""
        with self._lock:
            if key not in self._known and make is not None:
                if crowded():  # plans hold programs, and so memory maps
                    self._known.clear()
                self._known[key] = cloudpickle.loads(make) if isinstance(make, bytes) else make()
            if key in self._known:
                self._known.move_to_end(key)
            while len(self._known) > self.kept:
                self._known.popitem(last=False)
            return self._known.get(key)


TASK_CACHE, DATA_CACHE, PLAN_CACHE = Cache(TASKS), Cache(TASKS), Cache(PLANS)


def name() -> str:
    """The name of this worker: machine, process and thread."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"


def packed(error: Exception) -> bytes:
    """An exception as bytes; a RuntimeError with its text if it cannot be pickled."""
    try:
        pickled = cloudpickle.dumps(error)
        cloudpickle.loads(pickled)
        return pickled
    except Exception:
        return cloudpickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))


def error_of(answer: Failed) -> Exception:
    """The exception of an answer; a RuntimeError if it cannot be unpickled here."""
    try:
        error: Exception = cloudpickle.loads(answer.error)
    except Exception as other:  # of a class that only the worker knows
        return RuntimeError(f"worker {answer.worker} failed: {other}")
    return error
