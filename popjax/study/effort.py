"""What the estimators train by default: trials, epochs, folds and batches, by a rule of rows and columns."""

import dataclasses
import itertools
import math

import numpy as np

from popjax.core.counts import check_count
from popjax.models.tabular import batch
from popjax.rule import Rule
from popjax.rules.best import together
from popjax.space.space import Space
from popjax.supervision.problem import Supervised
from popjax.supervision.problem_options import ProblemOptions
from popjax.supervision.spaces import default_space, table_space

KEPT, PATIENCE = 25, 16
NARROW, WIDE, FEW = 64, 128, 1500  # width of the layers: NARROW below FEW rows
LARGE = 10_000  # rows, beyond which a search may take longer
EMA, MANY = 0.98, 8000  # the running mean of the weights, from MANY rows on; of fewer it gains nothing
TOGETHER = together()


@dataclasses.dataclass(frozen=True)
class Effort:
    """What a search trains; `space` is None for that of `popjax.search`."""

    trials: int
    epochs: int
    folds: int
    scheduler: str | None = None
    rule: Rule = TOGETHER
    space: Space | None = None


@dataclasses.dataclass(frozen=True)
class Levels:
    """The efforts of a model.

    Attributes:
        trials, epochs, folds: from the most down.
        operations: of a search, at most; `per_row` more for every row beyond LARGE.
        rungs: the first rung of halving is the last epoch over so many.
        share: of the epochs of all trials, that halving trains.
    """

    trials: tuple[int, ...]
    epochs: tuple[int, ...]
    folds: tuple[int, ...]
    operations: float
    rungs: int
    share: float
    per_row: float = 0.0

    def affordable(self, epoch: float, rows: int) -> tuple[int, int, int]:
        """Trials, epochs and folds for so many rows, and a member whose epoch takes so many operations."""
        folds = [folds for folds in self.folds if folds <= rows]
        levels = list(itertools.product(self.trials, self.epochs, folds))
        most = self.operations + self.per_row * max(0, rows - LARGE)
        return next((level for level in levels if epoch * self.share * math.prod(level) <= most), levels[-1])


PLAIN = Effort(trials=64, epochs=30, folds=5)
SECOND = 2.8e10  # operations of the tabular model in a second of a processor
TABLES = Levels(
    (32, 16, 8),
    (32, 16),
    (5, 3, 2),
    operations=3.3e12,  # 45 s on two cores
    rungs=8,
    share=10 / 32,
    per_row=2e-3 * SECOND,  # two seconds of a processor for 1,000 rows
)
IMAGES = Levels((8,), (20, 10), (3, 2), operations=6e13, rungs=10, share=0.275)  # ten minutes on two cores


def effort_of(task: Supervised, epochs: int | None = None, folds: int | None = None) -> Effort:
    """The default effort for a task's model and rows; `epochs` and `folds` are kept where they are not None.

    Of the models for tables and for images as many trials, epochs and folds as their `Levels` allow, by their cost
    model, so that equal data train equal members on every machine; the best epochs of the trials that are left are
    combined by a greedy selection (benchmarks/real_tables.py, real_images.py). Where rows or classes have different
    weights, which the loss on validation rows has not, those that are left count equally, at their last epoch: to
    choose epochs by that loss would undo the weights. Raises ValueError for counts below 1.
    """
    options = task.problem.options
    for name, asked in (("epochs", epochs), ("folds", folds)):
        if asked is not None:
            check_count(name, asked)
    if options.model not in ("tabular", "cnn"):
        folds = min(PLAIN.folds, len(task.dataset)) if folds is None else folds
        own = (options.model, options.optimizer) == ("mlp", "adamw")
        space = table_space(task.in_folds(folds).fit.rows) if own else None
        return dataclasses.replace(PLAIN, epochs=PLAIN.epochs if epochs is None else epochs, folds=folds, space=space)
    rows = len(task.dataset)
    width = NARROW if rows < FEW else WIDE
    images = options.model == "cnn"
    sizes = {"batch_size": 1} | ({} if images else {"hidden": width})
    levels = IMAGES if images else TABLES
    trials, *usual = levels.affordable(float(task.fit.flops(sizes)), rows)
    epochs, folds = (value if asked is None else asked for value, asked in zip(usual, (epochs, folds), strict=True))
    scheduler = f"halving(2, {max(1, epochs // levels.rungs)})"
    rule = together(KEPT, "greedy", "val_loss", at="best", patience=PATIENCE)
    weight = task.data.weight
    if weight is not None and np.ptp(weight) > 0:
        rule = together(KEPT, "mean", "val_loss")
    space = None if images else space_for_effort(options, rows, task.in_folds(folds).fit.rows, width)
    return Effort(trials, epochs, folds, scheduler, rule, space)


def space_for_effort(options: ProblemOptions, rows: int, trained: int, width: int) -> Space | None:
    """The default space of the tabular model, with layers, batches and a mean of the weights for so many rows.

    None for a custom optimizer or schedule. `trained`: rows that train in each fold.
    """
    if not isinstance(options.optimizer, str) or not isinstance(options.schedule, str):
        return None
    usual = default_space(3, options.optimizer, options.schedule, trained, "tabular").entries()
    sizes = {"hidden": width, "batch_size": max(1, min(batch(rows), trained // 4))}
    return Space(**usual | sizes | ({"ema": EMA} if rows >= MANY else {}))
