"""A task of two shapes, and a scheduler that does everything that a scheduler may do; run by test_schedulers.py."""

import jax
import numpy as np
import stopping

import popjax as pj

EPOCHS = 8
SPACE = pj.Space(rate=pj.log_uniform(0.01, 0.5), shift=pj.uniform(-1, 1), size=pj.choice(2, 3, static=True))
DATA = np.array([0.25, -0.5])


def init(key, hparams, data):
    x = jax.random.normal(key, (hparams["size"],))
    return {"x": x, "key": jax.random.fold_in(key, 7), "keys": jax.random.split(key, 2)}


def epoch(state, hparams, data):
    noise = jax.random.normal(state["key"], state["x"].shape) + jax.random.normal(state["keys"][1], ())
    x = state["x"] - hparams["rate"] * (state["x"] - hparams["shift"] + 0.1 * noise + data[hparams["fold"]])
    key = jax.random.fold_in(state["key"], 1)
    return {"x": x, "key": key, "keys": state["keys"]}, {"loss": (x**2).sum(), "first": x[0]}


TASK = pj.Task(init, epoch, DATA)


def alike(trials, rows):
    """Two trials of these that share their shape: the second and the first."""
    for row in rows:
        same = [other for other in rows if trials.points["size"][other] == trials.points["size"][row]]
        if len(same) > 1:
            return same[:2]
    raise AssertionError("no two trials are alike")


def everything(problem):
    """Rests, goes on, copies (exact and fresh), sets and adds late, in steps that the state counts."""

    def step(number, trials):
        return number + 1, [begin, leave, exact, fresh, late, level, end, nothing][number](trials)

    def begin(trials):
        return pj.Decision(add=problem.propose(8), until=dict.fromkeys(range(8), 2))

    def leave(trials):  # 4 to 7 rest
        return pj.Decision(until=dict.fromkeys(range(4), 4), notes={"why": "the others rest"})

    def exact(trials):  # they go on, one of them as another
        source, target = alike(trials, range(4, 8))
        return pj.Decision(copy={target: source}, until=dict.fromkeys(range(4, 8), 4))

    def fresh(trials):  # a swap, of which one side goes other ways, and other rates
        one, other = alike(trials, range(8))
        rates = {trial: {"rate": 0.9 * trials.points["rate"][trial]} for trial in (0, 5)}
        return pj.Decision(
            copy={one: other, other: one}, fresh=(one, 3), set=rates, until=dict.fromkeys((0, 1, 3, 6), 5)
        )

    def late(trials):  # three come late; the worst of the others rest for good
        better = np.argsort(trials.loss, kind="stable")[:6].tolist()
        new = problem.propose(3, trials)
        return pj.Decision(add=new, until=dict.fromkeys(better, 6) | dict.fromkeys(range(8, 11), 3))

    def level(trials):
        behind = np.flatnonzero((trials.epochs == 3) | (trials.epochs == 6)).tolist()
        return pj.Decision(set={9: {"shift": 0.5}}, until=dict.fromkeys(behind, 7))

    def end(trials):
        return pj.Decision(until=dict.fromkeys(np.flatnonzero(trials.epochs == 7).tolist(), EPOCHS))

    def nothing(trials):
        return pj.Decision()

    return pj.Scheduler(lambda: 0, step)


def search(out=None, **settings):
    given = {"trials": 11, "epochs": EPOCHS, "seed": 2, "folds": 2, "rank": pj.best(keep=11), "out": out, **settings}
    return stopping.search(TASK, SPACE, scheduler=everything, **given)


def sets_once(trials, trial, ends=(1, 2), **values):
    """A scheduler of so many trials that sets hyperparameters of one of them at the first of two ends."""

    def scheduler(problem):
        def step(state, now):
            if state == 0:
                return 1, pj.Decision(add=problem.propose(trials), until=dict.fromkeys(range(trials), ends[0]))
            until = dict.fromkeys(range(trials), ends[1])
            return 2, pj.Decision() if state == 2 else pj.Decision(set={trial: values}, until=until)

        return pj.Scheduler(int, step)

    return scheduler
