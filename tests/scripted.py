"""Trials whose curves are given, so that plain Python knows what becomes of them."""

import jax
import jax.numpy as jnp
import numpy as np
import stopping

import popjax as pj

NAN, INF = float("nan"), float("inf")


def scripted(tables, costs=None):
    """A task whose trial `row` reports its rows of the tables, and the space: metric -> (trials, [folds,] epochs).

    Its state is the epoch that it is in, and a key; `costs`: how many parameters each trial says to have.
    """
    data = {name: np.asarray(table, float) for name, table in tables.items()}
    data = {name: table if table.ndim == 3 else table[:, None] for name, table in data.items()}

    def init(key, hparams, data):
        return {"epoch": jnp.int32(0), "key": key}

    def epoch(state, hparams, data):
        at = hparams["row"], hparams.get("fold", 0), state["epoch"]
        key, _ = jax.random.split(state["key"])
        return {"epoch": state["epoch"] + 1, "key": key}, {name: table[at] for name, table in data.items()}

    hints = pj.Hints() if costs is None else pj.Hints(parameters=lambda hparams: costs[hparams["row"]])
    rows = len(next(iter(data.values())))
    return pj.Task(init, epoch, data, hints=hints), pj.Space(row=pj.integers(0, rows - 1))


def told(tables, rank=None, costs=None, **settings):
    """The results of such trials, in the order of the rows."""
    tables = tables if isinstance(tables, dict) else {"loss": tables}
    task, space = scripted(tables, costs)
    rows, folds, epochs = next(iter(task.data.values())).shape
    asked = {"trials": rows, "folds": folds, "epochs": epochs, "sampler": "grid", "rank": rank}
    return stopping.search(task, space, **asked | settings)


def drawn(seed, trials, epochs, folds=1, levels=2**20, dead=0.2):
    """Tables of three metrics, with few levels many alike; so many members diverge on their way."""
    rng = np.random.default_rng(seed)
    shape = trials, folds, epochs
    tables = {name: np.floor(rng.random(shape) * levels) / levels for name in ("val_accuracy", "val_loss", "cost")}
    ends = np.where(rng.random(shape[:2]) < dead, rng.integers(0, epochs, shape[:2]), epochs)
    for table in tables.values():
        table[np.arange(epochs) >= ends[..., None]] = NAN
    return tables


class Decisions(pj.Callback):
    """What each decision was made from, and what it was."""

    def begin(self, run):
        self.seen = []

    def decision(self, decision, trials):
        self.seen.append((trials, decision))


class StopAt(pj.Callback):
    """Sets an event at the n-th decision."""

    def __init__(self, stop, decisions):
        self.stop, self.left = stop, decisions

    def decision(self, decision, trials):
        self.left -= 1
        if self.left == 0:
            self.stop.set()
