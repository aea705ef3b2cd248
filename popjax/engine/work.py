"""The unit of work that an executor sees: one function of picklable arguments, which plans and decides nothing."""

from collections.abc import Mapping
from threading import Event
from typing import Any, NamedTuple

import numpy as np

from popjax.core.clock import Clock
from popjax.core.trees import abstract
from popjax.engine.backends.base import Context
from popjax.engine.backends.local import train
from popjax.engine.batch import Batch, Epoch, Job, Rest
from popjax.engine.compiler import COMPILER
from popjax.engine.member import Member, Members, on_devices
from popjax.engine.plan import Lanes
from popjax.engine.roster import Roster
from popjax.engine.snapshot import Snapshot
from popjax.space.space import Space
from popjax.task import Task


class Plan(NamedTuple):
    """How the members of a bucket are trained: all that decides their bits, beside the task and who they are."""

    static: Mapping[str, Any]
    dynamic: Mapping[str, type]
    scales: Space
    epochs: int
    branching: bool
    branches: Mapping[str, tuple[int, ...]]
    lanes: Lanes
    seed: int
    inactive: Mapping[str, str]


class Trained(NamedTuple):
    """What came of a unit.

    Attributes:
        metrics: metric -> (members, epochs), of the epochs that were trained.
        snapshot: where the members stand now.
    """

    metrics: dict[str, np.ndarray]
    snapshot: Snapshot


def unit(roster: Roster, snapshot: Snapshot) -> tuple[Plan, Snapshot, Members]:
    """What `work` needs beside the task to train the members of a snapshot, which fill one batch at the most."""
    member, lanes = roster.buckets[snapshot.bucket], roster.lanes(snapshot.bucket)
    plan = Plan(
        member.static,
        member.dynamic,
        member.scales,
        member.epochs,
        member.branching,
        member.branches,
        lanes,
        roster.config.seed,
        member.inactive,
    )
    return plan, snapshot, roster.members(snapshot.bucket, Batch(snapshot, lanes).stacked())


def work(task: Task, plan: Plan, snapshot: Snapshot, members: Members, until: int) -> Trained:
    """Train the members of a snapshot to an epoch, in whichever process this is called.

    Args:
        task: how one trial is trained.
        plan: what the driver decided about their bucket.
        snapshot: where they stand.
        members: who they are, with their hyperparameters now: arrays (capacity,).
        until: the epoch to reach.

    The same arguments give the same bits on every machine of a kind and version. Raises what the task raises.
    """
    known = (plan.static, plan.dynamic, plan.scales, plan.epochs, plan.branching, plan.branches)
    member, clock, lanes = Member(task, *known, inactive=plan.inactive), Clock(), plan.lanes
    data = on_devices(task.data, lanes.devices)
    programs = COMPILER.programs(member, abstract(data), lanes.capacity, lanes.count, clock, lanes.devices)
    said: list[Epoch | Rest] = []
    batch = Batch(snapshot, lanes)
    train(Job(batch, members, programs, until), Context(plan.seed, data, clock, Event()), said.append, lambda: False)
    epochs = [message.metrics for message in said if isinstance(message, Epoch)]
    metrics = {name: np.stack([one[name] for one in epochs], 1) for name in (epochs[0] if epochs else ())}
    return Trained(metrics, batch.snapshot())
