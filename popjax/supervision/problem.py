"""A supervised problem: rows, how they are split, what is fitted to them; and its Task in so many folds."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from popjax.data.dataset import Dataset
from popjax.data.parts import SHARE
from popjax.data.splits import Split, Way
from popjax.data.splits import split as split_rows
from popjax.models.built_in import MODELS
from popjax.space.space import Space
from popjax.supervision.fit import Fit
from popjax.supervision.metrics import of_kind
from popjax.supervision.preprocessing import Recipe
from popjax.supervision.problem_options import ProblemOptions
from popjax.supervision.spaces import default_space
from popjax.supervision.weights import weights_of
from popjax.task import Hints, Measure, Metric, Task


@dataclasses.dataclass(frozen=True, eq=False)
class Given:
    """What is learned from which rows, and the tasks of it that were made.

    Attributes:
        dataset: the rows.
        way: how they are split.
        options: checked, with the transform, and the further metrics by name.
    """

    dataset: Dataset
    way: Way
    options: ProblemOptions
    made: dict[Any, "Supervised"] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def in_folds(self, folds: int, share: float | None = None) -> "Supervised":
        """The Task of `folds`, which validate on at most that share of the rows if given; made once."""
        if (folds, share) not in self.made:
            self.made[folds, share] = Supervised.of(self, self.split(folds, share))
        return self.made[folds, share]

    def __getstate__(self) -> dict[str, Any]:
        """Without the tasks that were made, of which a pickle holds the one that it is of."""
        return {**vars(self), "made": {}}

    def split(self, folds: int, share: float | None = None) -> Split:
        """Which rows train, validate and test."""
        way = self.way if share is None or folds == 1 else self.way._replace(validation=SHARE)
        return split_rows(self.dataset, way, folds, share)


class Supervised(Task):
    """A Task that fits a model to rows by mini-batch gradient descent, as `popjax.supervised` makes it.

    Attributes:
        given: what is learned, which its tasks in other folds share.
        split: which rows train and validate in each fold, and which test.
        fit: the pure functions of one model.

    >>> import popjax as pj
    >>> task = pj.supervised("wine", transform="robust")
    >>> task.dataset.x.shape, task.split.test.shape, type(task.transform).__name__
    ((178, 13), (18,), 'Robust')
    >>> task.in_folds(4).split.validation.shape
    (4, 40)
    """

    given: Given
    split: Split
    fit: Fit
    _recipe: Recipe

    @classmethod
    def of(cls, given: Given, split: Split) -> Self:
        """The Task whose rows are split so."""
        dataset, options = given.dataset, given.options
        recipe = Recipe.of(dataset, split, options)
        fit = Fit(
            recipe.network(options.model),
            options.optimizer,
            options.loss,
            options.schedule,
            inputs=recipe.sees,
            outputs=recipe.outputs,
            kind=recipe.kind,
            rows=split.train.shape[1],
            folds=len(split.train),
            model=recipe.model,
            more=options.metrics,
            mirrored=recipe.mirrored,
        )
        trained = np.unique(split.train)  # with several folds, each row trains in some
        weights = weights_of(dataset, trained, options.class_weight, options.sample_weight)
        data = recipe.prepare(dataset, split, weights)
        hints = Hints(
            updates=fit.updates,
            shapes=("depth", "batch_size"),
            parameters=fit.parameters,
            flops=fit.flops if recipe.model in MODELS else None,
            branches=("batch_size",),
        )
        metric = Metric.of("validation", recipe.kind.ranks)
        task = cls(fit.init, fit.epoch, data, metric, None, fit.score if len(split.test) else None, hints)
        task.given, task.split, task._recipe, task.fit = given, split, recipe, fit
        return task

    @property
    def recipe(self) -> Recipe:
        """What turns raw rows into a model's inputs, and its outputs into predictions."""
        return self._recipe

    @property
    def dataset(self) -> Dataset:
        """All the rows."""
        return self.given.dataset

    @property
    def transform(self) -> Any:
        """What is fitted to each fold's training rows: a Transform, or of a dict of inputs one for each entry."""
        return self.given.options.transform

    @property
    def more(self) -> Mapping[str, Any]:
        """Name -> function of the metrics that were asked for."""
        metrics: Mapping[str, Any] = self.given.options.metrics
        return metrics

    def judged(self, predicted: np.ndarray, rows: np.ndarray) -> dict[str, float]:
        """Metrics of what is predicted for some of the rows, by name.

        A loss of one's own is of a model's outputs, and not among them unless outputs are the predictions.
        """
        kind = self.fit.kind
        scores = kind.judged(predicted, self.targets(rows), self.more)
        known = self.given.options.loss is None or kind.own
        return scores if known else {name: value for name, value in scores.items() if name != "loss"}

    def combines(self, folds: int) -> bool:
        """The models of so many folds predict the same quantity: not where each learns features of its own."""
        return folds == 1 or not self.dataset.mirrored

    def targets(self, rows: np.ndarray) -> np.ndarray:
        """The targets of some of the rows; features that are targets as the first fold transforms them."""
        if self.dataset.mirrored:
            found: np.ndarray = self.recipe.features(self.dataset.x[rows])
            return found
        return self.dataset.y[rows]

    def in_folds(self, folds: int, share: float | None = None) -> "Supervised":
        """The task with its rows in so many folds, each validating on at most that share of them if given."""
        same = share is None and folds == len(self.split.train)
        return self if same else self.given.in_folds(folds, share)

    @property
    def settings(self) -> Mapping[str, Any]:
        """What tells this task from another over the same rows."""
        return {name: value for name, value in self.given.options.written().items() if value is not None}

    @property
    def space(self) -> Space | None:
        """The default space of a built-in model with a built-in optimizer, for so many training rows."""
        options = self.given.options
        if not isinstance(options.model, str) or not isinstance(options.optimizer, str):
            return None
        return default_space(3, options.optimizer, options.schedule, self.fit.rows, options.model)

    @property
    def watch(self) -> Measure:
        """How training stands."""
        return self.fit.watch

    @property
    def remedies(self) -> Mapping[str, str]:
        """For errors: what to use in the place of flax's dropout, and how another metric is had."""
        names = of_kind(self.fit.kind.name).keys() - self.more.keys()
        others = {Metric.of("validation", name): f"popjax.supervised(..., metrics=[{name!r}])" for name in names}
        return {"dropout": "popjax.layers.Dropout"} | others

    def _replace(self, **fields: Any) -> Self:
        """A copy with some fields replaced."""
        copy = super()._replace(**fields)
        vars(copy).update(vars(self))
        return copy

    __replace__ = _replace
