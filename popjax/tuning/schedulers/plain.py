"""All trials to the last epoch: the scheduler of a search that names none."""

import numpy as np

from popjax.scheduler import Decision, Problem, Scheduler, Trials


def plain(problem: Problem) -> Scheduler:
    """Train all points to the last epoch.

    State: int, the number of points asked for; on resume with more trials the missing ones are added.
    """

    def step(asked: int, trials: Trials) -> tuple[int, Decision]:
        begun = len(trials.epochs)
        new = problem.propose(problem.trials - asked, trials) if asked < problem.trials else {}
        count = len(next(iter(new.values()))) if new else 0
        behind = np.flatnonzero((trials.epochs < problem.epochs) & ~trials.stopped & ~trials.complete).tolist()
        until = dict.fromkeys([*behind, *range(begun, begun + count)], problem.epochs)
        return problem.trials, Decision(add=new, until=until)

    return Scheduler(lambda: 0, step)
