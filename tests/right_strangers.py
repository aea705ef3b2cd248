"""Right extensions as a stranger writes them from the guide alone: helpers, subclasses of subclasses, NumPy's integers.

Inner modules: those that the guide names to authors of extensions.

Three searches use eleven of them. `train(name, out, kill_at)` trains or resumes one, and kills its own process when it
has heard of so many epochs; `check(name, out)` reads it in another process, and predicts as the winner was scored.
"""

import dataclasses
import functools
import json
import os
import signal
import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from scipy.special import gammaln
from stopping import always_committed

import popjax as pj
from popjax.core.counts import check_text
from popjax.data.targets import Targets
from popjax.data.transforms.transform import Columns, Transform
from popjax.engine.backends.renewable_executor import Traits
from popjax.executors.named_executors import EXECUTORS
from popjax.models.built_in import MODELS, Model
from popjax.pages.drawing import MIDDLE, layout, ruled
from popjax.pages.figures.figure import Figure
from popjax.pages.figures.named_figures import FIGURES
from popjax.pages.markup import section
from popjax.rules.named_rules import RULES
from popjax.scheduler import Decision, Problem, Scheduler, Trials, best_first
from popjax.space.points import category_values, coordinates
from popjax.space.samplers import SAMPLERS
from popjax.supervision.kinds.kind import Kind
from popjax.supervision.kinds.named_kinds import KINDS
from popjax.tracking.named_trackers import TRACKERS
from popjax.tracking.tracker import Tracker, Writer
from popjax.tuning.proposals import LEARNING, Learning
from popjax.tuning.schedulers.named_schedulers import SCHEDULERS

EPOCHS = 12


# A transform, a model, a sampler and a rule: a regression with missing cells


@dataclasses.dataclass(frozen=True)
class Settings:
    bins: int = 6
    clip: float = 1.5


@dataclasses.dataclass(frozen=True, eq=False)
class Columnwise(Transform):
    """Which columns vary, and what stands in for a missing cell."""

    constant: Any = None  # int (n,), may be empty
    varying: Any = None
    middle: Any = None
    missing: ClassVar[bool] = True

    @staticmethod
    def found(x):
        still = np.nanmax(x, 0) == np.nanmin(x, 0)
        return {"constant": np.flatnonzero(still), "varying": np.flatnonzero(~still), "middle": np.nanmedian(x, 0)}

    def filled(self, x):
        return np.where(np.isnan(x), self.middle, x)[:, self.varying]


@dataclasses.dataclass(frozen=True, eq=False)
class Piecewise(Columnwise):
    """A feature for each bin: how far the value has gone through it, from 0 to 1."""

    bins: int = 6
    clip: float = 1.5
    edges: Any = ()  # a list of arrays of several lengths
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings):
        return cls(bins=np.int64(settings.bins), clip=np.float32(settings.clip))

    @property
    def width(self):
        return sum(len(edges) - 1 for edges in self.edges)

    def fit(self, x: np.ndarray, columns: Columns) -> "Piecewise":
        fitted = dataclasses.replace(self, **self.found(x), names=tuple(str(name) for name, text in columns))
        cells = fitted.filled(x)
        edges = [np.unique(np.quantile(column, np.linspace(0, 1, int(self.bins) + 1))) for column in cells.T]
        return dataclasses.replace(fitted, edges=edges)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        cells = self.filled(x)
        parts = [(cells[:, [at]] - edges[:-1]) / np.diff(edges) for at, edges in enumerate(self.edges)]
        parts = [np.clip(part, -self.clip if at == 0 else 0, self.clip) for at, part in enumerate(parts)]
        return np.concatenate([*parts, np.isnan(x).astype(float)], axis=1)


class Masked(nnx.Module):
    """The first `units` of a number of columns are in use."""

    most: int

    def cut(self, x):
        return jnp.where(jnp.arange(self.most)[None] < self.units, x, 0.0)


class Gated(Masked):
    """(rows, *shape) -> (rows, outputs): W x + V (A x * sigmoid(gate B x)), of `units` gated units."""

    def __init__(self, shape, outputs, hparams, rngs, *, slope=1.0):
        width, self.most = int(np.prod(shape)), int(hparams.size("units", 12).high)
        self.units, self.slope = hparams.get("units", 12), slope * hparams.get("gate", 1.0)
        self.linear = nnx.Linear(width, outputs, rngs=rngs)
        self.value, self.gate = (nnx.Linear(width, self.most, rngs=rngs) for _ in range(2))
        self.last = nnx.Linear(self.most, outputs, use_bias=False, rngs=rngs)

    def __call__(self, x):
        x = x.reshape(len(x), -1)
        return self.linear(x) + self.last(self.cut(self.value(x) * jax.nn.sigmoid(self.slope * self.gate(x))))


def gated_parameters(shape, outputs, hparams):
    units, width = hparams.get("units", np.int64(12)), np.prod(shape)
    return (width + 1) * (outputs + 2 * units) + units * outputs


def gated_operations(shape, outputs, hparams: Any, *, per: int = 2):
    units, width = hparams.get("units", 12), np.prod(shape)
    return np.float64(per) * width * (outputs + 2 * units) + per * units * outputs + 5 * units


MODELS["gated"] = Model(
    functools.partial(Gated, slope=np.float32(1.5)),
    "quantile",
    {"units": pj.log_integers(4, 24), "gate": pj.uniform(0.5, 2.0)},
    gated_parameters,
    functools.partial(gated_operations, per=2),
    untuned={"units": np.int64(12), "gate": 1.0, "weight_decay": np.float64(1e-3)},
    optimizer="adamw",
    schedule="flat",
    training={"weight_decay": pj.log_uniform(1e-4, 1e-1)},
    batch=lambda rows: np.int64(16 if rows < 1000 else 64),
)


def golden(axes: int, steps: int = 40) -> np.ndarray:
    """The powers 1/phi, 1/phi², ... of the root of phi^(axes + 1) = phi + 1."""
    phi = functools.reduce(lambda phi, _: (1 + phi) ** (1 / (axes + 1)), range(steps), 2.0)
    return phi ** -np.arange(1.0, axes + 1)


def kronecker(n, levels, seed, *, center=True):
    """Points (n, axes); those of an axis with few levels are moved to the centres of their cells."""
    shift = np.random.default_rng(seed).random(len(levels))
    points = (shift + np.outer(np.arange(1, n + 1), golden(len(levels)))) % 1
    few = np.asarray(levels) <= 16 if center else np.zeros(len(levels), bool)
    points[:, few] = (np.floor(points[:, few] * np.asarray(levels)[few]) + 0.5) / np.asarray(levels)[few]
    return np.minimum(points, 1 - 2**-24).astype(np.float32)


SAMPLERS["kronecker"] = functools.partial(kronecker, center=True)


@dataclasses.dataclass(frozen=True)
class Gap(pj.Rule):
    """By the validation metric, worsened by `weight` times what it is worse than on the training rows."""

    weight: float = np.float64(0.5)
    slack: tuple[float, ...] = (0.02, 0.05)
    name: ClassVar[str] = "gap"

    @property
    def sign(self) -> np.int64:
        return np.int64(1 if (self.mode or self.metric.mode) == "min" else -1)

    @property
    def objectives(self):
        return self.metric, *(pj.Metric(one) for one in ("val_loss", "train_loss") if one != self.metric)

    def penalized(self, values):
        validation, training = values["val_loss"], values["train_loss"]
        return self.sign * values[self.metric] + self.weight * np.maximum(validation - training - self.slack[0], 0)

    def order(self, values):
        return np.lexsort((values["val_loss"], self.penalized(values))).astype(np.int32)

    def loss(self, values):
        return self.penalized(values).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class CheapGap(Gap):
    """Of those within slack[1] of the best penalized value the one of the fewest operations."""

    most: int = 8
    name: ClassVar[str] = "cheap-gap"
    needs: ClassVar[tuple[str, ...]] = ("flops", "parameters")

    def winner(self, finished):
        worse = self.penalized(finished.values)
        near = np.flatnonzero(worse - worse[0] <= self.slack[1])[: self.most]
        return near[np.lexsort((finished.values["parameters"][near], finished.values["flops"][near]))][0]  # np.int64


RULES["cheap-gap"] = CheapGap


def cells():
    rng = np.random.default_rng(3)
    x = [rng.normal(size=300), rng.integers(0, 3, 300), rng.exponential(size=300), np.full(300, 4.0)]
    x = np.stack(x, 1)
    y = np.sin(2 * x[:, 0]) + 0.3 * x[:, 1] ** 2 + np.log1p(x[:, 2]) + 0.1 * rng.normal(size=300)
    x[rng.random(x.shape) < 0.05] = np.nan
    return x, y


def regression():
    task = pj.supervised(cells(), transform=Piecewise.of(Settings(bins=5)), model="gated")
    rank = CheapGap("val_loss", keep=3, weight=np.float64(0.25), slack=(np.float64(0.01), 0.1))
    return task, {"sampler": "kronecker", "rank": rank, "folds": 2}, []


def check_regression(out, task, results, winner):
    rule, mine = results.rule, pj.load_best(out, transform=Piecewise())
    assert (type(rule), rule.weight, tuple(rule.slack), rule.most) == (CheapGap, 0.25, (0.01, 0.1), 8)
    assert (results.run["sampler"], mine.recipe.model) == ("kronecker", "gated")
    x, test = task.dataset.x, task.split.test
    alone = np.concatenate([mine.predict(x[[row]]) for row in test])
    np.testing.assert_allclose(alone, mine.predict(x[test]), atol=1e-5)
    return mine


# A kind, a scheduler, a figure and a callback: counts


def off_by(predicted, targets):
    return np.abs(predicted[:, 0] - targets)


@dataclasses.dataclass(frozen=True)
class Counts(Kind):
    """Counts 0, 1, ...; the first output is the log of the rate, cut at 12."""

    ranks = "loss"
    reports = {"mae": "min", "zeros": "min"}  # noqa: RUF012
    resampled = {"mae": off_by}  # noqa: RUF012
    guess = "the mean count"
    most = 12.0

    @classmethod
    def targets(cls, y, name, target):
        if y.ndim != 1 or y.dtype.kind not in "iuf" or (y < 0).any() or (y % 1).any():
            raise ValueError(f"{name}: {target} has other values than counts 0, 1, ...")
        return Targets(y.astype(np.float64), cls.name)

    @property
    def outputs(self):
        return np.int64(1)

    def metrics(self, outputs, targets, units):
        told = self.predicted(outputs)
        empty = jnp.abs(self.empty(told).mean() - (targets == 0).mean())
        return {"mae": jnp.abs(told[:, 0] - targets).mean(), "zeros": empty}

    def predicted(self, outputs):
        xp = outputs.__array_namespace__()
        return xp.exp(xp.clip(outputs, -self.most, self.most))

    def decided(self, predicted):
        return predicted[:, 0]

    def scores(self, predicted, targets):
        empty = np.float32(abs(self.empty(predicted).mean() - (targets == 0).mean()))
        losses = self.row_losses(predicted, targets)
        return {"loss": losses.mean(), "mae": off_by(predicted, targets).mean(), "zeros": empty}

    def score(self, predicted, targets):
        return 1 - np.abs(predicted - targets).mean() / np.abs(np.median(targets) - targets).mean()


@dataclasses.dataclass(frozen=True)
class Poisson(Counts):
    name = "poisson"

    def losses(self, hparams, outputs, targets):
        log = jnp.clip(outputs[:, 0], -self.most, self.most)
        return jnp.exp(log) - targets * log + jax.lax.lgamma(targets + 1.0)

    def row_losses(self, predicted, targets):
        return predicted[:, 0] - targets * np.log(predicted[:, 0]) + gammaln(targets + 1)

    def empty(self, predicted):
        xp = predicted.__array_namespace__()
        return xp.exp(-predicted[:, 0])

    def as_outputs(self, predicted):
        return np.log(predicted)

    def constant(self, targets):
        return np.array([targets.mean()])


KINDS["poisson"] = Poisson


@dataclasses.dataclass(frozen=True)
class Racing:
    rungs: tuple[int, ...] = (2, 5, 10)
    patience: int = 2
    cool: float = 0.5


def race(problem: Problem, settings: Racing = Racing()) -> Scheduler:
    """After each rung a trial above the median gets a warning; with `patience` of them it is left."""
    rungs = [rung for rung in settings.rungs if rung < problem.epochs] + [problem.epochs]

    def init():
        return {"rung": np.int64(0), "warned": {}, "history": (), "best": {"trial": None, "loss": (None, None)}}

    def step(state, trials: Trials):
        rung = state["rung"]
        if rung == 0:
            points = problem.propose(problem.trials)
            start = {np.int64(trial): np.int64(rungs[0]) for trial in range(problem.trials)}
            return state | {"rung": rung + 1}, Decision(add=points, until=start, notes={"rungs": tuple(rungs)})
        left = best_first(problem, trials, rungs[rung - 1])  # int64 (n,)
        if rung == len(rungs) or not len(left):
            return state | {"rung": rung + 1}, Decision()
        median = np.median(trials.loss[left])
        warned = {trial: list(places) for trial, places in state["warned"].items()}
        for trial in left[trials.loss[left] > median]:
            warned.setdefault(str(trial), []).append(np.int64(rungs[rung - 1]))
        stay = [trial for trial in left if len(warned.get(str(trial), ())) < settings.patience]
        rate = trials.points["learning_rate"]
        settable = "learning_rate" in trials.settable
        colder = {trial: {"learning_rate": rate[trial] * np.float32(settings.cool)} for trial in stay[:2] if settable}
        history = (*state["history"], (rungs[rung - 1], median))
        best = {"trial": left[0], "loss": (trials.loss[left[0]], median)}
        notes = {"median": np.float32(median), "left": tuple(left[:3]), "warned": {1: np.bool_(True)}}
        until = dict.fromkeys(stay, np.int32(rungs[rung]))
        after = {"rung": rung + 1, "warned": warned, "history": history, "best": best}
        return after, Decision(set=colder, until=until, notes=notes)

    return Scheduler(init, step)


SCHEDULERS["racing"] = lambda patience=2, cool=0.5: functools.partial(race, settings=Racing((3, 6), patience, cool))


class Drawing:
    """A helper class with the settings of a drawing."""

    height = np.int64(320)

    def __init__(self, results):
        self.results = results
        ends = np.maximum(results.epochs_run - 1, 0)[:, None]
        self.losses = [np.take_along_axis(results.curves[name], ends, 1)[:, 0] for name in ("train_loss", "val_loss")]

    def scattered(self):
        training, validation = self.losses
        names = np.array([f"trial {trial}" for trial in range(len(training))])
        style = {"color": MIDDLE, "size": np.int32(6)}
        marks = {"type": "scatter", "mode": "markers", "x": training, "y": validation, "text": names, "marker": style}
        low, high = np.float32(np.nanmin(training)), np.nanmax(training)
        line = {"type": "scatter", "mode": "lines", "x": (low, np.nan, high), "y": [low, None, high]}
        axes = {"xaxis": ruled("train_loss"), "yaxis": ruled("val_loss", type="log")}
        return {"traces": (marks, line), "layout": layout(height=self.height, **axes)}


def gap_section(results, axes, title="The gap"):
    return section(title, "Validation against training loss.", '<div class="figure" id="gap"></div>')


FIGURES["gap"] = Figure(
    functools.partial(gap_section, title="Training &amp; validation"),
    lambda results, axes: {"gap": Drawing(results).scattered},
)


class Leaders(pj.Callback):
    """The leader of each epoch."""

    essential: ClassVar[bool] = np.bool_(False)
    path: Path | None = None

    def begin(self, run):
        self.metric = run.metric
        self.values = np.full((run.trials, run.epochs), np.nan)
        self.path = run.out and run.out.with_name(run.out.name + "-leaders.json")

    @property
    def table(self):
        known = ~np.isnan(self.values).all(0)
        return {int(epoch): int(np.nanargmin(self.values[:, epoch])) for epoch in np.flatnonzero(known)}

    def epoch(self, result):
        self.values[result.trial, result.epoch] = result.metrics[self.metric]

    def leaders(self):
        """The number of epochs with a leader: a helper."""
        return np.int64(len(self.table))

    def end(self, results):
        self.path.write_text(json.dumps(self.table))


class Stalls(Leaders):
    """A subclass of one's own class; resumed, it reads the epochs before from the first decision's trials."""

    window: ClassVar[int] = np.int64(3)

    def __init__(self):
        self.decisions = 0

    def decision(self, decision, trials):
        if not self.decisions and trials.epochs.any():
            curves = trials.curves[self.metric]
            self.values[: len(curves), : curves.shape[1]] = curves
        self.decisions += 1


def counts():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 4))
    y = np.where(rng.random(300) < 0.3, 0, rng.poisson(np.exp(0.8 * x[:, 0] + np.sin(x[:, 1]))))
    task = pj.supervised((x, y), kind="poisson", optimizer="adam", test=0.2)
    return task, {"space": SPACE, "scheduler": "racing(patience=1)"}, [Stalls()]


def check_counts(out, task, results, winner):
    page = Path(out, "report.html").read_text()
    assert 'id="gap"' in page
    assert "Training &amp; validation" in page
    results.plot("gap")
    leaders = json.loads(Path(f"{out}-leaders.json").read_text())
    curves = results.curves["val_loss"]
    assert leaders == {str(epoch): int(np.nanargmin(curves[:, epoch])) for epoch in range(EPOCHS)}
    assert results.history is not None
    return winner


# A sampler that learns, an executor and a tracker: classes


class Crossing:
    """Each new point takes each axis from one of the best quarter, with a little noise."""

    noise: ClassVar[float] = 0.05

    def __call__(self, seed, n, trials, space, epochs):
        rng = np.random.default_rng((seed, len(trials.epochs)))
        known = np.flatnonzero(np.isfinite(trials.loss))
        best = known[np.argsort(trials.loss[known])][: max(len(known) // 4, 2)]
        places = {name: coordinates(space[name], trials.points[name])[best] for name in space.searched}
        return {name: self.crossed(rng, found, n, space[name]) for name, found in places.items()}

    def crossed(self, rng, found, n, scale):
        if category_values(scale):  # the coordinate of a choice of texts is its index
            return rng.choice(found, n)
        return np.clip(rng.choice(found, n) + rng.normal(0, self.noise, n), 0, 1 - 1e-9)


LEARNING["crossing"] = Learning(Crossing())


class Calm(ThreadPoolExecutor):
    """A pool with traits of NumPy's numbers."""

    seconds: float = np.float64(0.5)

    def __init__(self, count):
        super().__init__(count)
        self.sent = 0

    @property
    def traits(self):
        return Traits(seconds=self.seconds, patience=np.int64(120))

    def submit(self, fn, /, *args, **named):
        self.sent += 1
        return super().submit(fn, *args, **named)


class Clumsy(Calm):
    """The third unit is lost."""

    def submit(self, fn, /, *args, **named):
        if self.sent == 2:
            self.sent += 1
            lost = Future()
            lost.set_exception(ConnectionError("lost"))
            return lost
        return super().submit(fn, *args, **named)


EXECUTORS["clumsy"] = lambda text: functools.partial(Clumsy, check_text("clumsy", text))


class Tables(Writer):
    """Where rows go."""

    columns: ClassVar = {
        "configs": "run, name, value",
        "nows": "run, step, name, value",
        "trials": "run, hparams",
    }

    @property
    def run(self) -> int:
        return self.number


class Sqlite(Tables):
    """Writes into a file; a search that is resumed is its next run."""

    def __init__(self, path):
        self.path, self.base, self.number = Path(path), None, 0

    def begin(self, name, config):
        self.base = sqlite3.connect(self.path)
        for table, columns in self.columns.items():
            self.base.execute(f"create table if not exists {table} ({columns})")
        self.number = self.base.execute("select count(distinct run) from configs").fetchone()[0]
        self.rows("configs", [("name", name), *((key, str(value)) for key, value in config.items())])

    def now(self, values, step):
        self.rows("nows", [(np.int64(step).item(), name, float(value)) for name, value in values.items()])

    def end(self, whole):
        self.rows("trials", [(json.dumps(one.hparams),) for one in whole.best[: whole.curves]])

    def rows(self, table, rows):
        marks = ", ".join("?" * len(self.columns[table].split(",")))
        self.base.executemany(f"insert into {table} values ({marks})", [(self.run, *row) for row in rows])
        self.base.commit()

    def close(self):
        if self.base is not None:
            self.base.close()


def sqlite(path="search.sqlite", top=0):
    """Write into the tables of an SQLite file."""
    return Tracker(Sqlite(path), top=top, name="sqlite")


TRACKERS["sqlite"] = sqlite
SPACE = pj.Space(learning_rate=pj.log_uniform(1e-4, 1e-1), hidden=pj.integers(8, 64), batch_size=16)


def classes():
    task = pj.supervised("wine", optimizer="adam")
    space = pj.Space(**SPACE, depth=pj.choice(1, 2), activation=pj.choice("relu", "tanh"))
    backend = pj.Remote("clumsy:1", retries=3)
    return task, {"space": space, "sampler": "crossing", "backend": backend}, [sqlite("search.sqlite", top=np.int64(3))]


def check_classes(out, task, results, winner):
    base = sqlite3.connect("search.sqlite")
    counts = {
        table: base.execute(f"select count(*) from {table} where run = 1").fetchone()[0] for table in Tables.columns
    }
    assert counts["trials"] == 3
    assert counts["nows"] > 0
    assert results.run["sampler"] == "crossing"
    return winner


SEARCHES = {
    "regression": (regression, check_regression),
    "counts": (counts, check_counts),
    "classes": (classes, check_classes),
}


class Killed(pj.Callback):
    """Kills its own process when it has heard of so many epochs."""

    def __init__(self, after):
        self.after = after

    def epoch(self, result):
        self.after -= 1
        if self.after == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def train(name, out, kill_at=0):
    """Train, or resume what is in `out`; everything that is trained is committed at once."""
    task, options, callbacks = SEARCHES[name][0]()
    space = options.pop("space", None)
    more = [*callbacks, Killed(kill_at)] if kill_at else callbacks
    with always_committed():
        return pj.search(task, space, trials=16, epochs=EPOCHS, out=out, resume=True, callbacks=more, **options)


def check(name, out):
    """Read the results and the winner; its members predict the test rows as they were scored in training."""
    make, look = SEARCHES[name]
    task = make()[0]
    results = pj.Results.load(out)
    winner = look(out, task, results, pj.load_best(out) if name != "regression" else None)
    test = task.split.test
    each = [task.judged(predicted, test) for predicted in winner.each_of(task.dataset.x[test])]
    for metric, scored in results.summary["test"].items():
        name = metric.removeprefix("test_")
        if name in each[0]:
            np.testing.assert_allclose(np.mean([one[name] for one in each]), scored, rtol=1e-4, atol=1e-6)
