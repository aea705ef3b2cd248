"""Supervised learning as a Task: a model, an optimizer, rows."""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from popjax.core.calls import check_called
from popjax.core.text import lookup
from popjax.data.dataset import Dataset, images
from popjax.data.parts import SHARE, parts_of
from popjax.data.scarce import repeated, scarce
from popjax.data.splits import STANDARDIZE, Split, Way, untimely
from popjax.data.splits import split as split_rows
from popjax.models.built_in import MODELS
from popjax.models.networks import check_model
from popjax.space.defaults import SPACED, default_space
from popjax.space.space import Space
from popjax.supervision.fit import Fit
from popjax.supervision.metrics import METRICS, chosen
from popjax.supervision.optimizers import OPTIMIZERS, SCHEDULES
from popjax.supervision.options import ProblemOptions
from popjax.supervision.preprocessing import Recipe
from popjax.supervision.weights import weights_of
from popjax.task import Hints, Metric, Task

LOG = logging.getLogger("popjax")


def supervised(
    data: Any,
    model: str | Callable[..., Any] = "mlp",
    optimizer: str | Callable[..., Any] = "sgd",
    loss: Callable[..., Any] | None = None,
    target: str | None = None,
    validation: Any = 0.1,
    test: Any = 0.1,
    seed: int = 0,
    schedule: str = "inverse",
    missing: str = "error",
    standardize: str | None = None,
    kind: str | None = None,
    groups: Any = None,
    shuffle: bool = True,
    class_weight: Any = None,
    sample_weight: Any = None,
    metrics: Any = (),
) -> Task:
    """A Task that fits a model to rows by mini-batch gradient descent.

    Args:
        data: `(x, y)`, arrays or a DataFrame and a Series; a DataFrame with the column `target`; the name of a CSV,
            Parquet or NPZ file, or of one of scikit-learn's datasets, as "digits"; or a Dataset.
        model: "mlp", "cnn" (for images), or `model(hparams, rngs)` giving an nnx or a linen module
            that makes outputs (rows, classes), or (rows, 1) or (rows,) for a regression, of rows.
        optimizer: "sgd", "nesterov", "adam", "adamw", "rmsprop", or `optimizer(hparams)`
            giving an optax transform; its `learning_rate` is the scheduled one.
        loss: `loss(outputs, targets)`, one value a row (rows,); by default cross-entropy for
            classes and the squared error of standardized targets for a regression.
        target: the column to predict, of a DataFrame or a file.
        validation: the rows that rank the trials: their share, their numbers, truth values, or rows of their own as
            `data` has them.
        test: the rows that no trial sees, scored once for the winner, given in the same ways; 0 for none.
        seed: of the split, which is stratified by class.
        schedule: "inverse", "exponential" or "cosine", if the space does not choose.
        missing: what to do with missing cells: "error", "drop" the rows, or "median".
        standardize: features by the training rows: "feature", each by its own mean and deviation; "global", by one
            scale in all, for images one a channel; or "none". "global" for images if not given, else "feature".
            Standardized features end at 20 deviations, and at 3 where nearly all training rows are alike.
        kind: "classification" or "regression". If not given, texts, truth values, and integers with at most 20
            distinct values are classes; where that is doubtful a warning says so.
        groups: one value a row, in the order of sample_weight, or the name of a column: rows of one group are never
            in two parts.
        shuffle: False for rows in time: the last ones test, those before them validate.
        class_weight: "balanced", or label -> weight: how much rows of a class count in the loss that is trained.
        sample_weight: a weight for each row, beside that; of rows of one's own those of `data` come first, then those
            of `validation` and of `test`. Weights are scaled to a mean of 1, and no metric but
            train_loss knows them.
        metrics: what else is measured of the rows that validate and test, any of which may rank: names, of "f1"
            (macro), "auc", "log_loss" and "mcc" for classes, "rmse", "mape" and "median_error" for a regression; or
            name -> a function of (outputs, targets) in jax.numpy that gives a scalar: of logits (rows, classes) and
            numbers of classes (rows,), or of values (rows,) in the target's own units.

    The metrics are train_loss and val_loss, and val_accuracy (ranked by, max) and
    val_balanced_accuracy, or val_mse (ranked by, min) and val_mae in raw units and val_r2, which
    is 0 where the validation rows have all the same target; and val_<name> of each of `metrics`.
    Raises ValueError for data or names that cannot be used.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> task = supervised((x, x[:, 0] > 0), optimizer="adam")
    >>> task.metric, task.mode
    ('val_accuracy', 'max')
    """
    options = ProblemOptions(
        model=model,
        optimizer=optimizer,
        loss=loss,
        target=target,
        validation=validation,
        test=test,
        seed=seed,
        schedule=schedule,
        missing=missing,
        standardize=standardize,
        kind=kind,
        groups=groups,
        shuffle=shuffle,
        class_weight=class_weight,
        sample_weight=sample_weight,
        metrics=metrics,
    )
    return problem(data, options)


def problem(data: Any, options: ProblemOptions) -> Task:
    """The Task of `supervised`."""
    if not isinstance(options.model, str):
        check_model(options.model)
    if not isinstance(options.optimizer, str):
        check_called("the optimizer", options.optimizer, "hparams")
    dataset, validation, test, groups = parts_of(
        data, options.validation, options.test, options.groups, options.target, options.missing, options.kind
    )
    for doubt in () if isinstance(data, Dataset) else dataset.doubts:
        LOG.warning(doubt)
    if isinstance(options.model, str) and lookup(MODELS, "model", options.model).images:
        dataset = images(dataset)
    if isinstance(options.optimizer, str):
        lookup(OPTIMIZERS, "optimizer", options.optimizer)
    lookup(SCHEDULES, "schedule", options.schedule)
    how, shuffle = options.standardize or ("global" if dataset.x.ndim > 2 else "feature"), options.shuffle
    if how not in STANDARDIZE:
        raise ValueError(f"unknown standardize {how!r}; there are {', '.join(STANDARDIZE)}")
    if not isinstance(shuffle, bool) or (options.groups is not None and not shuffle):
        raise ValueError(f"shuffle={shuffle!r}: True, or False for rows in time, which have no groups; choose one")
    way = Way(validation, test, options.seed, groups, shuffle)
    more = chosen(options.metrics, dataset.classes is not None)
    folded = Folded(dataset, way, dataclasses.replace(options, standardize=how, metrics=more))
    task = folded(1)
    parts = folded.parts(1)
    notes = (None if shuffle else untimely(parts), scarce(dataset, parts), *repeated(dataset, way, parts))
    for note in filter(None, notes):
        LOG.warning(note)
    return task


@dataclasses.dataclass(frozen=True, eq=False)
class Folded:
    """The Task of a problem, cut into so many folds.

    Attributes:
        dataset: the rows.
        way: how they are split.
        options: checked, with what standardizes, and the further metrics by name.
    """

    dataset: Dataset
    way: Way
    options: ProblemOptions
    made: dict[Any, Task] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def __call__(self, folds: int, share: float | None = None) -> Task:
        """The Task of `folds`, which validate on at most that share of the rows if given; made once."""
        if (folds, share) not in self.made:
            self.made[folds, share] = self.make(folds, share)
        return self.made[folds, share]

    def __getstate__(self) -> dict[str, Any]:
        """Without the tasks that were made, of which a pickle holds the one that it is of."""
        return {**vars(self), "made": {}}

    def parts(self, folds: int, share: float | None = None) -> Split:
        """Which rows train, validate and test."""
        way = self.way if share is None or folds == 1 else self.way._replace(validation=SHARE)
        return split_rows(self.dataset, way, folds, share)

    def make(self, folds: int, share: float | None) -> Task:
        """A Task with its own split and preprocessing."""
        split, options, how = self.parts(folds, share), self.options, str(self.options.standardize)
        recipe = Recipe.of(self.dataset, split, options.model, how)
        fit = Fit(
            recipe.network(options.model),
            options.optimizer,
            options.loss,
            options.schedule,
            inputs=recipe.inputs,
            outputs=recipe.outputs,
            classification=recipe.classes is not None,
            rows=split.train.shape[1],
            folds=folds,
            model=recipe.model,
            more=options.metrics,
        )
        trained = np.unique(split.train)  # with several folds, each row trains in some
        weights = weights_of(self.dataset, trained, options.class_weight, options.sample_weight)
        data = recipe.prepare(self.dataset, split, how, weights)
        metric = Metric.of("validation", "accuracy" if fit.classification else "mse")
        score = fit.score if len(split.test) else None
        return Task(fit.init, fit.epoch, data, metric, None, score, self.hints(fit, recipe))

    def space(self, rows: int) -> Space | None:
        """The default space of a built-in model with a built-in optimizer, for so many training rows."""
        model, optimizer = self.options.model, self.options.optimizer
        if model not in SPACED or not isinstance(optimizer, str):
            return None
        return default_space(3, optimizer, self.options.schedule, rows, str(model))

    def hints(self, fit: Fit, recipe: Recipe) -> Hints:
        """What the Task says of itself."""
        same = {name for name, each in METRICS.items() if each.classification == fit.classification}
        others = same - {*self.options.metrics}
        return Hints(
            updates=fit.updates,
            shapes=("depth", "batch_size"),
            parameters=fit.parameters,
            flops=fit.flops if recipe.model in MODELS else None,
            folded=self,
            watch=fit.watch,
            branches=("batch_size",),
            settings={name: value for name, value in self.options.written().items() if value is not None},
            recipe=recipe,
            remedies={"dropout": "popjax.layers.Dropout"}
            | {Metric.of("validation", name): f"popjax.supervised(..., metrics=[{name!r}])" for name in others},
            space=self.space(fit.rows),
        )
