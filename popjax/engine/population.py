"""A population in training, whatever decides. Its one verb is `advance`, which the driver alone calls."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

import jax
import numpy as np

from popjax.core.clock import Clock
from popjax.core.stop import Flag, Stop
from popjax.engine.backends.local import LocalBackend
from popjax.engine.backends.protocol import Backend, Context, Epoch, Message, Segment
from popjax.engine.checkpoint import Checkpoint, restore
from popjax.engine.curves import Curves, trials_of
from popjax.engine.fresh import refreshed
from popjax.engine.kept import KeptStates
from popjax.engine.measure import costs
from popjax.engine.memory import OutOfMemory, total
from popjax.engine.roster import Config, Roster, check_decision
from popjax.engine.trial_table import TrialTable
from popjax.engine.waiting import Waiting
from popjax.scheduler import Decision, Trials
from popjax.space.space import Points, Space
from popjax.store.cohort import Cohort
from popjax.store.commits import Commits
from popjax.store.results import Results
from popjax.task import Task

WAITING = 0.25  # of the memory, for waiting states; beyond it one is given up, and trained again if needed


class EpochResult(NamedTuple):
    """An epoch of some members, as columns (members,).

    Attributes:
        trial, fold, repeat: of each member.
        epoch: which epoch, from 0; a number.
        metrics: name -> values.
        resting: whether each is out of patience, and trains no further.
    """

    trial: np.ndarray
    fold: np.ndarray
    repeat: np.ndarray
    epoch: int
    metrics: dict[str, np.ndarray]
    resting: np.ndarray


class Timer:
    """A run's seconds, and what stops it at the end of an epoch."""

    def __init__(self, stop: Flag | None = None) -> None:
        self.begin = time.perf_counter()
        self.compiling = Clock()
        self.training = Clock()
        self.stop: Flag = stop or Stop()

    def seconds(self) -> dict[str, float]:
        """The figures of the summary."""
        wall = time.perf_counter() - self.begin
        clocks = {"compile_seconds": self.compiling.seconds, "train_seconds": self.training.seconds}
        return {"wall_seconds": wall} | clocks


class Population:
    """Members in training, or waiting between two decisions.

    Args:
        task, space: what is trained, and over which hyperparameters.
        config: how.
        numbers, expected: see Roster.
        paced: whether all trials keep pace, as those of a session: one that a decision does not name passes an epoch
            by, with its state as it is; and there is no last epoch, after which only the states of the best stay.
        commits: where progress is written.
        timer: the run's.
        tell: is called with every EpochResult.
        backend: what trains; this process, if not given.

    Attributes:
        roster: the trials, and what trains them.
        table: what is known of their members.
        applied: how many decisions have changed the population; the last of them may still be in training.

    >>> import jax.numpy as jnp
    >>> def epoch(x, hparams, data):
    ...     return x - hparams["rate"] * x, {"loss": x**2}
    >>> task = Task(lambda key, hparams, data: jnp.ones(()), epoch, ())
    >>> from popjax.rule import Rule
    >>> population = Population(task, Space(rate=0.5), Config(epochs=3, seed=0, rule=Rule("loss")))
    >>> population.advance(0, Decision(add={"rate": np.array([0.5, 0.1])}, until={0: 3, 1: 1}))
    True
    >>> population.trials().epochs.tolist()
    [3, 1]
    """

    checkpoint: Checkpoint | None = None

    def __init__(
        self,
        task: Task,
        space: Space,
        config: Config,
        *,
        numbers: np.ndarray | None = None,
        expected: int = 1,
        paced: bool = False,
        commits: Commits | None = None,
        timer: Timer | None = None,
        tell: Callable[[EpochResult], None] | None = None,
        backend: Backend | None = None,
    ) -> None:
        self.roster = Roster(task, space, config, numbers, expected)
        self.config = config
        self.paced = paced
        self.commits = commits
        self.timer = timer or Timer()
        self.tell = tell
        self.backend = backend or LocalBackend()
        self.applied = 0
        last = None if paced else config.epochs
        self.table = TrialTable(
            config.numbering,
            Curves((), config.numbering, 0, np.dtype(float), config.rule),
            Waiting(None if paced else int(WAITING * total())),
            KeptStates(config.numbering, config.rule),
            last,
        )

    def check(self, decision: Decision) -> None:
        """Raise ValueError for a decision that cannot be carried out; nothing is changed or compiled."""
        table = self.table
        check_decision(decision, self.roster, table.curves.done, table.ended.all(1), table.last)

    def advance(self, number: int, decision: Decision) -> bool:
        """Carry out a decision, unless it is applied already, and train until all stand where it says.

        Stops at the end of an epoch once the timer's `stop` is set; advancing again goes on.
        Where memory runs out all goes on narrower, from where it stood.

        Returns whether training goes on: the decision names trials, and nothing stopped it.
        """
        if number >= self.applied:
            if not self._with_states([*decision.copy.values(), *decision.fresh, *decision.set]):
                return False
            self._apply(decision)
            self.applied = number + 1
        if self.checkpoint is not None:
            self.checkpoint.commits.decision, self.checkpoint.commits.carrying = self.applied, number
            if self.paced and (decision.copy or decision.fresh):  # a person's, which no scheduler decides again
                self.checkpoint.commit()
        self.table.named[:] = False
        self.table.named[list(decision.until)] = True
        reached = self._train_until(decision.until)
        if self.paced and decision.until and reached:
            self._pass_by(max(decision.until.values()))
        return bool(decision.until) and not self.timer.stop.is_set()

    def prepare(self, decisions: Iterable[Decision]) -> None:
        """Know the trials, and their hyperparameters, as these decisions left them: the first ones of a run."""
        for decision in decisions:
            self._change(decision)
            self.applied += 1

    def take_up(self) -> None:
        """Stand where the commits say that the population stood.

        Raises Corrupt for the commits of another task.
        """
        assert self.checkpoint is not None
        buckets = self.roster.bucket.repeat(self.config.numbering.each)
        self.table.waiting.put(restore(self.checkpoint, buckets, self.roster.abstract))
        self.table.fulfil()
        if self.paced:
            self._with_states(range(len(self.roster)))

    def trials(self) -> Trials:
        """All trials as they stand, the mean over the members of each."""
        roster, table = self.roster, self.table
        trials = trials_of(self.points(), table.curves, table.last, table.costs)
        return trials._replace(stopped=table.stopped.copy(), bucket=roster.bucket.copy(), settable=roster.settable)

    def points(self) -> dict[str, np.ndarray]:
        """The hyperparameters as they are now, one column (trials,) each; see `Space.masked` for what is inactive."""
        return self.roster.space.masked({name: column.copy() for name, column in self.roster.points.items()})

    def results(self) -> Results:
        """What was found, without what the run knows of itself."""
        config, table = self.config, self.table
        return Results(
            self.points(),
            dict(table.curves.metrics),
            config.rule,
            states=table.kept.complete(),
            rounds=table.rounds,
            done=table.curves.epochs,
            pruned=~(table.ended.all(1) | table.named | table.stopped),
            costs=table.costs,
        )

    def go_back(self, cohorts: Sequence[Cohort], stopped: np.ndarray) -> None:
        """Let all members stand as in these cohorts, and these trials be stopped, as if nothing had come after."""
        self.table.waiting.put(cohorts)
        self.table.stopped[:] = stopped
        for cohort in cohorts:
            self.table.curves.cut(cohort.members, cohort.epoch)
        self._settle(cohorts)
        self.commit()

    def close(self) -> None:
        """Cancel all pending work."""
        self.backend.close()

    def commit(self) -> None:
        """Make all that is known durable, where there are commits."""
        if self.checkpoint is not None:
            self.checkpoint.commit()

    def _change(self, decision: Decision) -> None:
        """Change the trials: new ones, and other hyperparameters."""
        table = self.table
        if decision.add:
            self._add(decision.add, decision.notes)
        sources = list(decision.copy.values())
        table.curves.descend(list(decision.copy), sources, table.targets[sources])
        table.targets[list(decision.until)] = list(decision.until.values())
        self.roster.alter(decision)
        table.costs = costs(self.roster, self.config.rule.needs)
        if touched := [*decision.copy, *decision.fresh, *decision.set]:
            table.needed[touched] = True

    def _add(self, points: Points, notes: object) -> None:
        first = len(self.roster)
        self.roster.add(points)
        if first == 0:
            self._begin()
        self.table.add(self.roster.bucket[first:], notes.get("round", 0) if isinstance(notes, dict) else 0)

    def _begin(self) -> None:
        """With the first trials the metrics are known."""
        timer, dtype = self.timer, jax.dtypes.canonicalize_dtype(float)
        self.table.curves = Curves(
            self.roster.metrics, self.config.numbering, self.table.last or 1, dtype, self.config.rule
        )
        context = Context(timer.compiling, timer.training, timer.stop)
        if self.commits is not None:
            self.checkpoint = Checkpoint(self.commits, self.table)
            context = dataclasses.replace(context, request=self.checkpoint.request)
        self.backend.begin(self.roster, context)

    def _apply(self, decision: Decision) -> None:
        """What happens between two segments."""
        if self.checkpoint is not None:
            self.checkpoint.settle_waiting(set(decision.set) - set(decision.copy))
        before = len(self.roster)
        copied = self.table.copies(decision.copy, decision.copy.values()) if decision.copy else []
        self._change(decision)
        self._replace(copied)
        if decision.fresh:
            numbering, roster = self.config.numbering, self.roster
            taken = self.table.waiting.take(numbering.members(decision.fresh))
            numbers = lambda cohort: roster.numbers[numbering.trials(cohort.members)]
            self._replace([refreshed(one, numbers(one), roster.abstract(one.bucket)) for one in taken])
        if self.paced:
            self._with_states(range(before, len(self.roster)))

    def _replace(self, cohorts: list[Cohort]) -> None:
        """Let members stand elsewhere than training left them."""
        self.table.waiting.replace(cohorts)
        self._settle(cohorts)

    def _settle(self, cohorts: Iterable[Cohort]) -> None:
        """Members stand here now, for the curves and the next commit."""
        for cohort in cohorts:
            self.table.curves.stand(cohort.members, cohort.epoch)
            if self.checkpoint is not None:
                self.checkpoint.settle(cohort)

    def _pass_by(self, epoch: int) -> None:
        """Let all trials stand at an epoch that others have reached; their curves have a gap."""
        taken = self.table.waiting.take(np.arange(self.table.curves.epochs.size), lambda cohort: cohort.epoch < epoch)
        self._replace([dataclasses.replace(cohort, epoch=epoch) for cohort in taken])

    def _train_until(self, until: Mapping[int, int]) -> bool:
        """Train the trials that are named to their epochs, but for those that are given up meanwhile.

        Whether they got there: False where the run was stopped before.
        """
        table = self.table
        if self.paced and until:
            table.curves.reach(max(until.values()))
        while not self.timer.stop.is_set() and (due := table.waiting.due(table.goals(until))):
            self._train(due)
        reached = bool((table.curves.epochs.ravel() >= table.goals(until)).all())
        table.fulfil()
        return reached

    def _with_states(self, trials: Sequence[int]) -> bool:
        """Train the trials that have no state now to where they stand; False if the run is stopped meanwhile."""
        if not trials:
            return True
        self.table.needed[list(trials)] = True
        before = self.table.stopped.copy()
        while behind := self.table.behind(trials):
            self._train([(cohort, cohort.epoch) for cohort in behind])
            if self.timer.stop.is_set():
                return False
            if lost := np.flatnonzero(self.table.stopped & ~before).tolist():
                raise RuntimeError(f"trial {lost[0]} is to be copied or changed, but the workers that train it die")
        return True

    def _train(self, due: list[tuple[Cohort, int]]) -> None:
        """Train members to an epoch each; those that do not reach it wait, for another try."""
        patience = self.config.rule.patience
        looks = [(cohort, next_look(cohort, until, patience)) for cohort, until in due]
        segments = [Segment(piece, until) for cohort, until in looks for piece in self.backend.pieces(cohort)]
        waiting = set(segments)
        try:
            with closing(self.backend.train(segments)) as told:
                for messages in filter(None, told):
                    for message in messages:
                        self._hear(message, waiting)
                    if self.checkpoint is not None:
                        self.checkpoint.save()
        except OutOfMemory as error:
            self.roster.plan.lanes.narrow(error.needed)
        finally:
            for segment in segments:
                if segment in waiting:  # which no worker took
                    self.table.stand(segment.cohort)

    def _hear(self, message: Message, waiting: set[Segment]) -> None:
        """What a worker said: into the table, to the listeners, and towards the disk."""
        members, complete = message.segment.cohort.members, list[Cohort]()
        if isinstance(message, Epoch):
            going = ~self.table.curves.rests(members)
            self.table.curves.add(members, message.epoch, message.metrics)
            if self.tell is not None and message.epoch >= message.segment.cohort.epoch and going.any():
                self.tell(heard(message, going, self.table))
        elif message.ended:
            waiting.discard(message.segment)
            complete = self.table.stand(message.cohort)
            if message.lost:
                self.table.stopped[self.config.numbering.trials(members)] = True
        if self.checkpoint is not None:
            self.checkpoint.take(message)
            for cohort in complete:
                self.checkpoint.finish(cohort)


def next_look(cohort: Cohort, until: int, patience: int | None) -> int:
    """The epoch to train to before members that rest by then are left out."""
    return until if patience is None else min(until, cohort.epoch + patience)


def heard(message: Epoch, going: np.ndarray, table: TrialTable) -> EpochResult:
    """What listeners hear of an epoch: of those members (members,) that did not rest before it."""
    members, metrics = message.segment.cohort.members, message.metrics
    if not going.all():
        members, metrics = members[going], {name: values[going] for name, values in metrics.items()}
    return EpochResult(*table.numbering.places(members), message.epoch, metrics, table.curves.rests(members))
