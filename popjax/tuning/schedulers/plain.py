"""Everyone to the end: what a search does when no scheduler is named."""

import numpy as np

from popjax.scheduler import Decision, Problem, Scheduler, Trials


def plain(problem: Problem) -> Scheduler:
    """Train all points to the last epoch.

    The state counts the points that were asked for; where a run goes on with more trials, the missing are added.
    """

    def step(asked: int, trials: Trials) -> tuple[int, Decision]:
        begun = len(trials.epochs)
        new = problem.propose(problem.trials - asked, trials) if asked < problem.trials else {}
        count = len(next(iter(new.values()))) if new else 0
        behind = np.flatnonzero((trials.epochs < problem.epochs) & ~trials.stopped & ~trials.complete).tolist()
        until = dict.fromkeys([*behind, *range(begun, begun + count)], problem.epochs)
        return problem.trials, Decision(add=new, until=until)

    return Scheduler(lambda: 0, step)
