"""Training and planning of given points without a search: replays, re-tests, costs of plans."""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from popjax.core.counts import check_number
from popjax.core.trees import abstract
from popjax.engine.backends.local import LocalBackend
from popjax.engine.backends.protocol import Backends
from popjax.engine.cost import explanation
from popjax.engine.identity import check_same
from popjax.engine.members import MemberTable
from popjax.engine.plan import work_of
from popjax.engine.roster import Roster
from popjax.engine.traced_task import Config, TracedTask
from popjax.engine.tracer import Tracer
from popjax.engine.trainer import Timer, Trainer
from popjax.rewriting.rewrite import left_to_xla
from popjax.scheduler import Decision
from popjax.space.space import Space
from popjax.store.decisions import Step
from popjax.store.history import History, alter
from popjax.store.results import Results
from popjax.task import Task


def train_points(
    task: Task,
    space: Space,
    points: Mapping[str, np.ndarray],
    config: Config,
    numbers: np.ndarray | None = None,
    timer: Timer | None = None,
    by_epoch: Mapping[str, np.ndarray] | None = None,
    backend: Backends = LocalBackend,
) -> Results:
    """Results of these points, each trained to the end.

    Args:
        numbers: trial numbers (trials,), from which keys are derived; 0, 1, ... if None.
        by_epoch: name -> (trials, epochs), values of each epoch where they differ from `points`; static
            hyperparameters must not change.
        backend: makes what trains the members.
    """
    first, *others = training(points, by_epoch or {}, config.epochs)
    trainer = Trainer(Roster(TracedTask(task, space, config), points, numbers), timer=timer, backend=backend)
    with contextlib.closing(trainer):
        reached = trainer.begin(Step(first))
        for decision in others:
            reached = reached and trainer.apply(Step(without(decision, trainer.table)))
        trainer.table.unfinished = not reached
        return trainer.results()


def without(decision: Decision, table: MemberTable) -> Decision:
    """A decision that neither sets nor trains trials that are complete."""
    over = set(np.flatnonzero(table.ended()).tolist())
    part = lambda named: {trial: value for trial, value in named.items() if trial not in over}
    return decision._replace(set=part(decision.set), until=part(decision.until))


def training(points: Mapping[str, np.ndarray], by_epoch: Mapping[str, np.ndarray], epochs: int) -> Iterator[Decision]:
    """The decisions that train points to the end, and set hyperparameters where `by_epoch` changes them."""
    trials = range(len(next(iter(points.values()))))
    for epoch, until in itertools.pairwise([*turns(by_epoch, epochs), epochs]):
        changed = {name: values[:, epoch] for name, values in by_epoch.items() if epoch and differ(values, epoch).any()}
        values = {t: {name: column[t] for name, column in changed.items()} for t in trials if changed}
        yield Decision(add={} if epoch else points, set=values, until=dict.fromkeys(trials, until))


def turns(by_epoch: Mapping[str, np.ndarray], epochs: int) -> list[int]:
    """The epochs, from 0, with other hyperparameters than the epoch before; 0 is always one of them."""
    return [0, *(e for e in range(1, epochs) if any(differ(values, e).any() for values in by_epoch.values()))]


def differ(values: np.ndarray, epoch: int) -> np.ndarray:
    """Bool (trials,): values (trials, epochs) that differ from those of the epoch before."""
    return np.asarray(values[:, epoch] != values[:, epoch - 1])


def replay(results: Results, trial: int, task: Task) -> dict[str, np.ndarray]:
    """Train one trial of a finished run again, alone; returns metric -> (epochs,) as in `results.curves`.

    On a CPU with the same lanes and library versions the curve is equal bit for bit. If a scheduler copied states, the
    trial's ancestors are replayed too (see `Results.history`): epoch e of the curve is that of trial `lineage[e]`.
    Raises ValueError for an unknown trial, and for another task than that of the run.

    >>> import popjax as pj
    >>> task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
    >>> results = pj.search(task, pj.Space(x=pj.uniform(0, 1)), trials=4)
    >>> bool(pj.replay(results, 3, task)["loss"][0] == results.curves["loss"][3, 0])
    True
    """
    trial = check_number("replay: there is no trial", trial, len(results.diverged))
    config = Config.of_run(results.run, results.rule)
    task = task.in_folds(config.folds)
    space = Space.from_dict(results.run["space"])
    check_same(results.run, task, f"replay of trial {trial}")
    if results.history is None:
        points = {name: column[[trial]] for name, column in results.points.items()}
        again = train_points(task, space, points, config, np.array([trial]))
        return {name: curve[0] for name, curve in again.curves.items()}
    line = results.history.lineage(trial)
    trials = np.unique(line)
    place = np.searchsorted(trials, line)
    first, *others = map(Step, descent(space, results.history, trial, trials, place.tolist()))
    traced = TracedTask(task, space, dataclasses.replace(config, open_ended=True))
    trainer = Trainer(Roster(traced, first.decision.add, trials))
    trainer.begin(first)
    for epoch, step in enumerate(others, 1):  # each ancestor trains only in its own epochs
        trainer.apply(step)
        trainer.pass_by(epoch)
    return {name: curve[place, np.arange(len(place))] for name, curve in trainer.table.means().items()}


def descent(space: Space, history: History, trial: int, trials: np.ndarray, place: Sequence[int]) -> Iterator[Decision]:
    """The decisions that reproduce a trial along its lineage, epoch by epoch.

    Args:
        trials: the trial and its ancestors, numbered 0, 1, ... in these decisions.
        place: index into `trials` of the one that trains in each epoch.
    """
    begin = {name: values[trials, 0] for name, values in history.values.items()}
    yield Decision(add=begin)
    had = {name: column.copy() for name, column in space.filled(begin).items()}
    now = space.filled(history.of(trial))
    for epoch, here in enumerate(place):
        before = place[epoch - 1] if epoch else here
        changed = {name: values[epoch] for name, values in now.items() if values[epoch] != had[name][before]}
        fresh = (here,) if history.fresh[trials[here], epoch] else ()
        copy = {here: before} if here != before else {}
        decision = Decision(copy=copy, fresh=fresh, set={here: changed}, until={here: epoch + 1})
        alter(decision, had)
        yield decision


def explain(task: Task, space: Space, trials: int, config: Config, sampler: str = "random") -> str:
    """Text on members, padding, the cost of each plan, the chosen one, and what is slow; nothing is compiled."""
    traced = TracedTask(task, space, config)
    points = space.filled(space.sample(trials, config.seed, sampler))
    roster = Roster(traced, points)
    flops = 0 if task.hints.flops is None else np.sum(task.hints.flops(points))
    exact = config.epochs * config.numbering.each * float(flops)
    count = len(next(iter(points.values())))
    plan_costs = work_of(traced.tracer, roster.plan.lanes).costs(points, config.numbering.each)
    costs = explanation(plan_costs, count * config.numbering.each, exact, roster.plan.name)
    return "\n".join([costs, *slow_parts(traced.tracer)])


def slow_parts(tracer: Tracer) -> list[str]:
    """A line on what XLA computes slowly in a loop on a CPU, if the programs have that.

    With convolutions a Python loop of jitted steps is faster: 70 ms an update, not 189 (benchmarks/README.md, cnn28).
    """
    member, data = tracer.trace(tracer.static_names(set())), abstract(tracer.task.data)
    program = member.epoch.trace(member.trace(data).training, member.example, data)
    slow = left_to_xla(program.jaxpr.jaxpr)
    what = f"left to XLA, whose own is slow on a CPU: {' and '.join(sorted(slow))}"
    if "convolution" in slow:
        what += ", so that a Python loop of jitted steps of one model would be faster"
    why = "it is in a derivative of your own, or a Task's that is not wrapped in popjax.rewrite"
    if tracer.task.settings.get("rewrite") == "none":
        why = "the model is trained as it is written, rewrite='none'"
    return [f"{what}; {why}"] if slow else []
