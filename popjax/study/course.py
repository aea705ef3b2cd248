"""The course of a session: epochs are trained one by one, taken back, and reproduced."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from popjax.engine.checkpoint import check_arrays
from popjax.engine.plan import member_bytes
from popjax.engine.population import Population, Snapshot
from popjax.scheduler import Decision, Status
from popjax.store.cohort import Cohort, OnHost
from popjax.store.commits import Commits
from popjax.store.decisions import Log, Remark, Step

MEMORY = 2**31  # bytes of earlier states held on the host


class Course:
    """A paced population, trained epoch by epoch, and its latest moments.

    A moment that is no longer held is reproduced bit for bit by carrying out the log up to it.

    Args:
        make: `(log=..., commits=...) -> Population`, paced and without trials.
        log: the log of decisions and of epochs taken back.
        commits: where progress is written; None to write nothing.

    Attributes:
        population: the members in training.
        moments: the latest moments, the current one last; empty before the first decision.
    """

    def __init__(self, make: Callable[..., Population], log: Log, commits: Commits | None = None) -> None:
        self.make = make
        self.log = log
        self.population = make(log=log, commits=commits)
        self.moments: deque[Snapshot] = deque()
        self.base: Snapshot | None = None  # set by `stand`; no logged decision led to it

    @property
    def epoch(self) -> int:
        """Number of epochs that all members have finished."""
        return self.moments[-1].epoch if self.moments else 0

    @property
    def stopped(self) -> np.ndarray:
        """Bool (trials,): stopped by a person."""
        return self.population.table.status == Status.STOPPED

    def act(self, step: Step) -> bool:
        """Log a step and carry it out; False if its epoch was interrupted, which is then taken back.

        Raises ValueError for an invalid step, which is not logged.
        """
        self.population.check(step.decision)
        self.log.write(step)
        return self._carry_out(len(self.log.steps) - 1)

    def take_back(self, epochs: int) -> None:
        """Return all members to their states `epochs` epochs ago; the hyperparameters keep their current values.

        Raises ValueError if there are fewer epochs, and KeyboardInterrupt if the run is stopped while the earlier
        moment is reproduced; nothing is changed then.
        """
        most = self.epoch - (0 if self.base is None else self.base.epoch)
        if epochs > most:
            what = f"only {most} of {self.epoch} epochs can be taken back; give at most {most}"
            raise ValueError(f"back {epochs}: {what}")
        self._return(epochs, self._moment(self.epoch - epochs))

    def stand(self, arrays: Mapping[str, np.ndarray], curves: Mapping[str, np.ndarray]) -> None:
        """Place the only trial at the end of these curves (folds, repeats, epochs), with these arrays (members, ...).

        A member with shorter curves is placed at the same epoch, with the state at the end of its own curves. No logged
        decision led there, so earlier epochs cannot be taken back. Raises ValueError for arrays of another task.
        """
        check_arrays(self.population.roster.abstract(0).state, arrays)
        epoch = next(iter(curves.values())).shape[-1]
        models, table = self.population.config.numbering.members([0]), self.population.table
        table.reach(epoch)
        table.load(models, epoch, {name: values.reshape(len(models), -1) for name, values in curves.items()})
        alive = np.isfinite([values.reshape(len(models), -1) for values in curves.values()]).all(0).any(-1)
        held = {f"state.{name}" if name else "state": array for name, array in arrays.items()} | {"alive": alive}
        table.judge(alive)
        self.base = Snapshot(epoch, [Cohort(0, models, epoch, OnHost(held))], table.status.copy())
        self._stand(self.base)

    def take_up(self) -> None:
        """Resume from the last commit to the end of the log.

        Steps after the commit are carried out again, as is the last applied one, which may be trained in part.
        """
        commits = self.population.commits
        assert commits is not None
        applied = max(commits.decision, 1)
        self.population.prepare([step.decision for step in self.log.steps[:applied]])
        self.population.take_up()
        number, lines = -1, iter(list(self.log.lines))
        for line in lines:
            if isinstance(line, Step):
                number += 1
                if number >= applied - 1:
                    self._carry_out(number)
            elif line.verb == "back" and number >= applied - 1:
                number += 1
                moment = self._moment(self.epoch - line.value)
                if next(lines, None) is None:
                    self.log.write(return_to(moment))
                self._return_by(number, moment)

    def repeat(self, lines: Sequence[Step | Remark], tell: Callable[[Step | Remark], None] = lambda line: None) -> None:
        """Carry out the lines of another log. Raises KeyboardInterrupt if the run is stopped.

        `tell` is called with each step and each "back" after it is carried out.
        """
        following = iter(lines)
        for line in following:
            if isinstance(line, Step):
                if not self.act(line):
                    raise KeyboardInterrupt
            elif line.verb == "back":
                self.take_back(line.value)
                next(following, None)  # the step that logs the return
            else:
                continue
            tell(line)

    def _carry_out(self, number: int) -> bool:
        """Carry out a logged step; False if its epoch was interrupted, which is then taken back."""
        step = self.log.steps[number]
        goal = max(step.decision.until.values(), default=0)
        try:
            self.population.carry_out(number)
        except BaseException:
            self._interrupted()
            raise
        table = self.population.table
        if (table.epochs < goal).any():
            self._interrupted()
            return False
        if not goal and self.moments:
            if not step.decision.copy and self.moments[-1].stopped == step.stopped:
                return True
            self.moments.pop()
        self._hold()
        return True

    def _hold(self) -> None:
        """Append the current moment, and drop the oldest beyond `MEMORY` bytes; at least two are kept."""
        self.moments.append(self.population.snapshot())
        size = max(member_bytes(self.population.roster.buckets[0]) * self.population.table.epochs.size, 1)
        while len(self.moments) > max(2, MEMORY // size):
            self.moments.popleft()

    def _interrupted(self) -> None:
        """Take back an unfinished epoch."""
        if self.moments:
            self._return(1, self.moments[-1])

    def _return(self, epochs: int, moment: Snapshot) -> None:
        """Log that `epochs` epochs are taken back, and return to a moment."""
        self.log.remark("back", epochs)
        self.log.write(return_to(moment))
        self._return_by(len(self.log.steps) - 1, moment)

    def _return_by(self, number: int, moment: Snapshot) -> None:
        """Return to a moment by its logged step; the commit that follows contains both or neither."""
        self.population.carry_out(number)
        self._stand(moment)

    def _stand(self, moment: Snapshot) -> None:
        """Restore a moment as the current one, and commit it."""
        while self.moments and self.moments[-1].epoch >= moment.epoch:
            self.moments.pop()
        self.moments.append(moment)
        self.population.restore(moment)

    def _moment(self, epoch: int) -> Snapshot:
        """The moment at an epoch of the current course, reproduced if it is no longer held."""
        for moment in self.moments:
            if moment.epoch == epoch:
                return moment
        again, lines = Course(self.make, Log(self.log.space)), self.log.lines
        again.repeat(lines[:1])
        if self.base is not None:
            again.base = self.base
            again._stand(self.base)
        again.repeat(lines[1 : end_of(lines, epoch, again.epoch)])
        return again.moments[-1]


def return_to(moment: Snapshot) -> Step:
    """The step that trains nothing and logs the return to a moment."""
    return Step(Decision(), stopped=moment.stopped)


def end_of(lines: Sequence[Step | Remark], epoch: int, begin: int = 0) -> int:
    """Number of leading log lines after which the final course is at `epoch`; the log begins at epoch `begin`.

    >>> until = lambda epoch: Step(Decision(until={0: epoch}))
    >>> end_of([Step(Decision()), until(1), until(2), Remark("back", 1), Step(Decision()), until(2)], 1)
    5
    """
    ends = [0]
    for number, line in enumerate(lines, 1):
        if isinstance(line, Remark):
            del ends[len(ends) - (line.value if line.verb == "back" else 0) :]
        elif line.decision.until:
            ends.append(number)
        else:
            ends[-1] = number
    return ends[epoch - begin]
