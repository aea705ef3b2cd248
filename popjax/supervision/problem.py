"""A supervised problem: rows, their split, the options; and its Task in a number of folds."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np

from popjax.core.text import plural
from popjax.data.dataset import Dataset
from popjax.data.parts import SHARE
from popjax.data.splits import Split, Splitting
from popjax.data.splits import split as split_rows
from popjax.metric import Metric
from popjax.models.built_in import MODELS
from popjax.space.space import Space
from popjax.supervision.fit import Fit
from popjax.supervision.kinds.probing import check_on_rows
from popjax.supervision.metrics import of_kind
from popjax.supervision.preprocessing import Recipe
from popjax.supervision.problem_options import ProblemOptions
from popjax.supervision.spaces import default_space
from popjax.supervision.weights import weights_of
from popjax.task import Hints, Measure, Task


@dataclasses.dataclass(frozen=True, eq=False)
class SupervisedProblem:
    """A supervised problem, and a cache of its tasks.

    Attributes:
        dataset: the rows.
        splitting: how they are split.
        options: checked, with the unfitted transform, and the further metrics as name -> function.
        beside, afterwards: what its tasks do then; functions, since these know the tasks' class.
        made: (folds, share) -> task.
    """

    dataset: Dataset
    splitting: Splitting
    options: ProblemOptions
    beside: Callable[["Supervised"], Mapping[str, Any]]
    afterwards: Callable[[Any, bool], dict[str, Any]]
    made: dict[Any, "Supervised"] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def in_folds(self, folds: int, share: float | None = None) -> "Supervised":
        """The Task in `folds` folds, each validating on at most `share` of the rows if not None; made once."""
        if (folds, share) not in self.made:
            self.made[folds, share] = Supervised.of(self, self.split(folds, share))
        return self.made[folds, share]

    def __getstate__(self) -> dict[str, Any]:
        """Without the cached tasks, so that a pickled task does not hold the others."""
        return {**vars(self), "made": {}}

    def split(self, folds: int, share: float | None = None) -> Split:
        """Which rows train, validate and test; with a `share` and folds, rows named to validate are ignored."""
        splitting = self.splitting if share is None or folds == 1 else self.splitting._replace(validation=SHARE)
        return split_rows(self.dataset, splitting, folds, share)


class Supervised(Task):
    """A Task that fits a model to rows by mini-batch gradient descent (see `popjax.supervised`).

    Attributes:
        problem: the options and the rows, shared with its tasks in other folds.
        split: which rows train and validate in each fold, and which test.
        fit: the pure functions that train one model.
        replaced: the fields that `_replace` changed, in tasks of other folds too.

    >>> import popjax as pj
    >>> task = pj.supervised("wine", transform="robust")
    >>> task.dataset.x.shape, task.split.test.shape, type(task.transform).__name__
    ((178, 13), (18,), 'Robust')
    >>> task.in_folds(4).split.validation.shape
    (4, 40)
    """

    problem: SupervisedProblem
    split: Split
    fit: Fit
    _recipe: Recipe
    replaced: Mapping[str, Any] = {}

    @classmethod
    def of(cls, problem: SupervisedProblem, split: Split) -> Self:
        """The Task of a problem with this split."""
        dataset, options = problem.dataset, problem.options
        recipe = Recipe.of(dataset, split, options)
        check_on_rows(recipe.kind, dataset.y, recipe.y_mean[0], recipe.y_scale[0])
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
        trained = np.unique(split.train)  # the rows that train in any fold
        weights = weights_of(dataset, trained, options.class_weight, options.sample_weight)
        data = recipe.prepare(dataset, split, weights)
        model = MODELS.get(recipe.model or "")
        hints = Hints(
            updates=fit.updates,
            shapes=("depth", "batch_size"),
            parameters=fit.parameters,
            flops=fit.flops if recipe.model in MODELS else None,
            branches=("batch_size",),
            copies=model is None or not model.images,  # a micro-batch of images is work enough
        )
        metric = Metric(Metric.of("validation", recipe.kind.ranks), recipe.kind.reports.get(recipe.kind.ranks))
        task = cls(fit.init, fit.epoch, data, metric, None, fit.score if len(split.test) else None, hints)
        task.problem, task.split, task._recipe, task.fit = problem, split, recipe, fit
        return task

    @property
    def recipe(self) -> Recipe:
        """The preprocessing: raw rows -> a model's inputs, and its outputs -> predictions."""
        return self._recipe

    @property
    def dataset(self) -> Dataset:
        """All the rows."""
        return self.problem.dataset

    @property
    def transform(self) -> Any:
        """The unfitted Transform, or for a dict of inputs one for each entry."""
        return self.problem.options.transform

    @property
    def more(self) -> Mapping[str, Any]:
        """The further metrics, as given by `metrics`: name -> function (outputs, targets)."""
        metrics: Mapping[str, Any] = self.problem.options.metrics
        return metrics

    def judged(self, predicted: np.ndarray, rows: np.ndarray) -> dict[str, float]:
        """Metrics by name of predictions for some of the rows.

        A custom loss is a function of outputs, so it is left out unless outputs are the predictions (kind "own").
        """
        kind = self.fit.kind
        scores = kind.judged(predicted, self.targets(rows), self.more)
        known = self.problem.options.loss is None or kind.own
        return scores if known else {name: value for name, value in scores.items() if name != "loss"}

    def combines(self, folds: int) -> bool:
        """True if models of all folds predict the same quantity; False if each learns its own transformed features."""
        return folds == 1 or not self.dataset.mirrored

    def targets(self, rows: np.ndarray) -> np.ndarray:
        """The targets of some of the rows; if these are the features, as the first fold transforms them."""
        if self.dataset.mirrored:
            features: np.ndarray = self.recipe.features(self.dataset.x[rows])
            return features
        return self.dataset.y[rows]

    def in_folds(self, folds: int, share: float | None = None) -> "Supervised":
        """The task in `folds` folds, each validating on at most `share` of the rows if not None."""
        same = share is None and folds == len(self.split.train)
        return self if same else self._as_replaced(self.problem.in_folds(folds, share))

    def on_all_rows(self) -> "Supervised":
        """The task that trains on all rows that do not test; those of the last fold validate, and train too."""
        rows = np.setdiff1d(np.arange(len(self.dataset)), self.split.test)
        split = Split(rows[None], self.split.validation[-1:], self.split.test)
        return self._as_replaced(Supervised.of(self.problem, split))

    def _as_replaced(self, other: "Supervised") -> "Supervised":
        """Another task of the same problem, with what was replaced in this one. Raises ValueError for its data."""
        if "data" in self.replaced:
            folds = len(self.split.train)
            raise ValueError(f"the task's data were replaced in {plural(folds, 'fold')}; search with folds={folds}")
        return other._replace(**self.replaced) if self.replaced else other

    def beside(self) -> Mapping[str, Any]:
        """A linear model, if it can be fitted in little time."""
        return self.problem.beside(self)

    def afterwards(self, results: Any, page: bool = False) -> dict[str, Any]:
        """What the rows that test say: see `popjax.supervision.afterwards`."""
        return self.problem.afterwards(results, page)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The options that distinguish tasks over the same rows, as JSON values; without those that are None."""
        return {name: value for name, value in self.problem.options.written().items() if value is not None}

    @property
    def space(self) -> Space | None:
        """The default space for the number of training rows; None for a custom model, optimizer or schedule."""
        options = self.problem.options
        if not all(isinstance(given, str) for given in (options.model, options.optimizer, options.schedule)):
            return None
        return default_space(3, options.optimizer, options.schedule, self.fit.rows, options.model)

    @property
    def watch(self) -> Measure:
        """Diagnostics of a model in training (see `Fit.watch`)."""
        return self.fit.watch

    @property
    def modes(self) -> Mapping[str, str]:
        """The mode of each metric that the kind of the targets reports."""
        return {Metric.of("validation", name): mode for name, mode in self.fit.kind.reports.items()}

    @property
    def remedies(self) -> Mapping[str, str]:
        """For error messages: what to use instead of flax's dropout, and how to get a metric that is not reported."""
        names = [name for name in of_kind(self.fit.kind.name) if name not in self.more]
        others = {Metric.of("validation", name): f"popjax.supervised(..., metrics=[{name!r}])" for name in names}
        return {"dropout": "popjax.layers.Dropout"} | others

    def _replace(self, **fields: Any) -> Self:
        """A copy with some fields replaced."""
        copy = super()._replace(**fields)
        vars(copy).update(vars(self))
        copy.replaced = {**self.replaced, **fields}
        return copy

    __replace__ = _replace
