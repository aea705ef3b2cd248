"""scikit-learn estimators: `fit` runs a search, and the best of its trials predict together."""

import dataclasses
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from popjax.core.doubt import OWN, doubt
from popjax.core.text import short
from popjax.data.frames import as_frame
from popjax.data.transforms.applying import accepts_missing
from popjax.metric import Metric
from popjax.models.built_in import MODELS
from popjax.rule import COSTS, Rule
from popjax.rules.best import together
from popjax.rules.named_rules import rule_of
from popjax.rules.pareto import Pareto
from popjax.space.space import Space
from popjax.store.results import Results
from popjax.study.cv_results import cv_results
from popjax.study.effort import effort_of
from popjax.study.refit import refit
from popjax.study.search import search
from popjax.study.targets import as_labels, check_labels, checked_targets
from popjax.supervision.kinds.named_kinds import reported
from popjax.supervision.permuted import rises
from popjax.supervision.predictor import Predictor
from popjax.supervision.supervised import supervised
from popjax.tuning.callbacks.callback import Callback

FITTED = (
    *("results_", "predictor_", "classes_", "best_index_", "best_params_", "best_score_", "cv_results_"),
    *("constant_", "feature_importances_"),
)


class Ended(Callback):
    """Has the results of a search that an interrupt ended, which raises KeyboardInterrupt after them."""

    results: Results | None = None

    def end(self, results: Results) -> None:
        """See Callback."""
        self.results = results


class PopulationEstimator(BaseEstimator):
    """Base class of `PopulationClassifier`, which documents the arguments, and `PopulationRegressor`."""

    kind: str
    predictor_: Predictor

    def __init__(
        self,
        space: Space | Mapping[str, Any] | None = None,
        trials: int | None = None,
        epochs: int | None = None,
        *,
        model: str | Callable[..., Any] = "tabular",
        optimizer: str | Callable[..., Any] = "adamw",
        schedule: str | None = None,
        scheduler: Any = "auto",
        sampler: Any = "random",
        rank: Rule | str | None = None,
        folds: int | None = None,
        validation: Any = 0.1,
        shuffle: bool = True,
        class_weight: Any = None,
        missing: str | None = None,
        input_transform: Any = None,
        minutes: float | None = None,
        refit: bool | None = None,
        random_state: Any = 0,
        verbose: bool = False,
        importances: bool = False,
    ) -> None:
        self.space = space
        self.trials = trials
        self.epochs = epochs
        self.model = model
        self.optimizer = optimizer
        self.schedule = schedule
        self.scheduler = scheduler
        self.sampler = sampler
        self.rank = rank
        self.folds = folds
        self.validation = validation
        self.shuffle = shuffle
        self.class_weight = class_weight
        self.missing = missing
        self.input_transform = input_transform
        self.minutes = minutes
        self.refit = refit
        self.random_state = random_state
        self.verbose = verbose
        self.importances = importances

    def fit(
        self,
        X: Any,
        y: Any,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight: Any = None,
        groups: Any = None,
    ) -> Self:
        """Search on rows `X` (rows, columns) with targets `y` (rows,), or (rows, outputs) for several labels or values.

        Args:
            X: array, or DataFrame with columns of texts.
            y: labels or values.
            X_val, y_val: rows that rank the trials, instead of folds.
            sample_weight: weights (rows,) in the training loss.
            groups: one value per row of X; rows of a group are never split over two parts.

        After `minutes` or an interrupt the best so far are taken, with a ConvergenceWarning; in a script the
        interrupt is raised then, as KeyboardInterrupt.

        Raises ValueError for data that cannot be trained on, if no trial has a value, and as `popjax.refit` does.
        """
        X, y = self._checked(X, y, reset=True)
        for name in FITTED:
            self.__dict__.pop(name, None)
        self._check_importances(X)
        constant = self._constant(y)
        if constant is not None:
            self.constant_ = constant
            doubt(f"y is {short(constant.tolist())} in every row: that is what is predicted, and nothing is searched")
            if self.importances:
                self.feature_importances_ = np.zeros(self.n_features_in_)
            return self
        weights = None if sample_weight is None else self._weights(sample_weight, X, y_val)
        own = X_val is not None
        if own != (y_val is not None):
            raise ValueError("X_val and y_val belong together; give both, or neither")
        rows = self._checked(X_val, y_val, reset=False) if own else self.validation
        if own and groups is not None and len(groups) == len(y):
            groups = np.array([*groups, *(f"validation row {row}" for row in range(len(rows[1])))], object)
        begun = time.perf_counter()
        ended = Ended()
        try:
            results = self._search((X, y), rows, own, weights, groups, ended)
        except KeyboardInterrupt:
            if ended.results is None or ended.results.best is None:
                raise
            self._fitted(ended.results, y, begun)
            raise
        self._fitted(results, y, begun)
        if results.cut_short:
            return self
        if self.importances:
            self.feature_importances_ = importances_of(results, self.predictor_, column_names(X))
        usual = not self.shuffle and self.minutes is None and results.history is None
        if self.refit or (self.refit is None and usual):
            self.predictor_ = refit(results)
        return self

    def _check_importances(self, X: Any) -> None:
        """Raise ValueError for rows whose columns cannot be permuted."""
        if self.importances and not hasattr(as_frame(X), "columns") and np.ndim(X) != 2:
            raise ValueError(f"importances=True: X has {np.ndim(X)} axes; give rows and columns, or leave it out")

    def _constant(self, y: np.ndarray) -> np.ndarray | None:
        """What is predicted of targets that leave nothing to search; None for all others."""
        return None

    def _fitted(self, results: Results, y: np.ndarray, begun: float) -> None:
        """Take the results of a search that began at a time. Raises ValueError if there is no winner."""
        if results.best is None:
            lower = "give a space with lower learning rates"
            raise ValueError(f"{results.no_winner}; {'fit again, longer' if results.stopped.any() else lower}")
        if results.cut_short:
            line = f"{results.cut_short}; fit again, longer"
            warnings.warn(line, ConvergenceWarning, stacklevel=2, skip_file_prefixes=(OWN,))
        self.results_ = results
        self.predictor_ = results.predictor()
        if self.kind == "classification":
            several = np.arange(len(self.predictor_.outputs))
            self.classes_ = several if y.ndim > 1 else as_labels(self.predictor_.classes or (), y.dtype)
        self._type = y.dtype
        self.best_index_, self.best_params_, _ = results.best
        self.cv_results_ = cv_results(results, time.perf_counter() - begun)
        self.best_score_ = self.cv_results_["mean_test_score"][self.best_index_]

    def _rule(self, usual: Rule) -> Rule:
        """The rule, by default the `usual` one with `rank` as its metric; "auc" means that of the validation rows."""
        if self.rank is None:
            return usual
        asked = Metric(self.rank) if isinstance(self.rank, str) else None
        rule = rule_of(self.rank) if asked is None else dataclasses.replace(usual, metric=asked, mode=None)
        if rule.metric is not None:
            rule = dataclasses.replace(rule, metric=on_validation(rule.metric))
        if isinstance(rule, Pareto):
            rule = dataclasses.replace(rule, others=tuple(map(on_validation, rule.others)))
        limits = [limit._replace(name=str(on_validation(Metric(limit.name)))) for limit in rule.limits]
        return dataclasses.replace(rule, subject_to=tuple(map(str, limits)))

    def _search(self, data: Any, validation: Any, own: bool, weights: Any, groups: Any, ended: Ended) -> Results:
        """Results of the search of `fit`; `own`: rows that rank the trials are given, so that there are no folds."""
        asked = [metric.name for metric in self._rule(together()).metrics if metric is not None]
        seed = self._seed()
        task = supervised(
            data,
            self.model,
            self.optimizer,
            validation=validation,
            test=0,
            seed=seed,
            schedule=self.schedule,
            missing=self.missing,
            transform=self.input_transform,
            kind="multilabel" if self.kind == "classification" and np.ndim(data[1]) > 1 else self.kind,
            groups=groups,
            shuffle=self.shuffle,
            class_weight=self.class_weight,
            sample_weight=weights,
            metrics=[name for name in asked if not reported(name)],
        )
        effort = effort_of(task, self.epochs, 1 if own else self.folds)
        return search(
            task,
            effort.space if self.space is None else self.space,
            trials=effort.trials if self.trials is None else self.trials,
            epochs=effort.epochs,
            seed=seed,
            sampler=self.sampler,
            folds=effort.folds,
            rank=self._rule(effort.rule),
            scheduler=effort.scheduler if self.scheduler == "auto" else self.scheduler,
            minutes=self.minutes,
            progress=bool(self.verbose),
            callbacks=[ended],
        )

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[Any, np.ndarray]:
        """Rows and targets, checked as scikit-learn requires; a DataFrame stays one, for its text columns."""
        if self.kind == "classification":
            check_labels(y)
        if hasattr(as_frame(X), "columns"):
            X, y = validate_data(self, X, reset=reset, skip_check_array=True), np.asarray(y)
        else:
            how = {"y_numeric": self.kind == "regression", "multi_output": True}
            X, y = validate_data(self, X, y, reset=reset, **how, **self._arrays())
        y = checked_targets(y, self.kind)
        if reset and len(X) < 2:
            raise ValueError(f"n_samples={len(X)}: a search trains on some rows and ranks by others; give at least 2")
        return X, y

    def _arrays(self) -> dict[str, Any]:
        """Keywords of `validate_data` for arrays: numbers of any shape; NaN only if missing cells are accepted."""
        finite: Any = "allow-nan" if self._missing else True
        return {"dtype": "numeric", "allow_nd": True, "ensure_all_finite": finite}

    @property
    def _missing(self) -> bool:
        """True if rows may have missing cells: they are filled in or dropped, or the transform accepts them."""
        usual = MODELS[self.model].missing if self.model in MODELS else "error"  # type: ignore[index]
        return (self.missing or usual) != "error" or accepts_missing(self.input_transform)

    def _weights(self, sample_weight: Any, X: Any, y_val: Any) -> np.ndarray:
        """Weights of the rows, followed by their mean for the rows of `y_val`, which train only in a refit."""
        weights = np.full(len(X), sample_weight) if np.isscalar(sample_weight) else sample_weight
        weights = check_array(weights, ensure_2d=False, dtype=float, input_name="sample_weight")
        return np.concatenate([weights, np.full(0 if y_val is None else len(y_val), weights.mean())])

    def _seed(self) -> int:
        """The seed of the split, the points and the models."""
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31))

    def _rows(self, X: Any) -> Any:
        """Rows to predict, checked against those of `fit`."""
        check_is_fitted(self)
        texts = hasattr(as_frame(X), "columns") or (
            not hasattr(self, "constant_") and self.predictor_.recipe.levels
        )  # which scikit-learn would refuse as numbers
        how: dict[str, Any] = {"skip_check_array": True} if texts else self._arrays()
        return validate_data(self, X, reset=False, **how)

    def __getstate__(self) -> dict[str, Any]:
        """The state without the results' task, which holds the rows."""
        state = super().__getstate__()
        if "results_" in state:
            state = {**state, "results_": dataclasses.replace(state["results_"], task=None)}
        return dict(state)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._missing
        tags.target_tags.multi_output = True
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = True
        return tags


class PopulationClassifier(ClassifierMixin, PopulationEstimator):
    """Classifier by hyperparameter search: hundreds of small models train at once, and the best predict together.

    Args:
        space: space of the search. If None, one that the rows and the model decide; for a custom model or optimizer
            `popjax.default_space` for the rows.
        trials, epochs, folds: their numbers; if None, the rows and columns, or pixels, decide. A trial ranks by the
            mean of its folds, and predicts by the mean of its models.
        scheduler: as in `popjax.search`; "auto" halves the trials of "tabular" and "cnn", and trains all of others.
        sampler, minutes: as in `popjax.search`.
        model, optimizer, schedule, missing, shuffle, class_weight: as in `popjax.supervised`.
        refit: True to train those that predict once more on all rows, those of X_val too, as `popjax.refit` does, after
            the `minutes` of the search, but not where these or an interrupt ended it. If None, where `shuffle` is
            False, as else the latest rows would train nothing, there are no `minutes`, and nothing changes
            hyperparameters on the way.
        input_transform: its `transform`; scikit-learn takes an object with an attribute `transform` for a transformer.
        rank: a metric ("loss", "accuracy", "balanced_accuracy", "f1", "auc", "mcc"...) by which the best trials are
            found that predict together; or a rule, such as `popjax.best("auc")` for the best one alone. If None, the
            loss for "tabular" and "cnn", else the accuracy, of a regression the squared error.
        validation: with folds=1, the share or the numbers of the rows that rank the trials.
        random_state: seed of the split, the points and the models; the same seed and rows give the same bits.
        verbose: True to show a progress bar.
        importances: True for `feature_importances_`, which take some time.

    Attributes:
        classes_: labels (classes,) in the order of `predict_proba`; output numbers (outputs,) for several labels.
        predictor_: the `popjax` predictor, trained once more if `refit` says so.
        results_: the `popjax.Results` of the search, whose models did not train on all rows.
        best_params_, best_index_, best_score_: hyperparameters, number and score of the best trial by the metric that
            ranks, a loss with its sign turned.
        cv_results_: all trials in the format of scikit-learn's searches; "test" means the rows that rank, and NaN a
            trial that was not trained to the end.
        n_features_in_, feature_names_in_: number and names of the columns of the rows; names of polars 2 since
            scikit-learn 1.9.
        feature_importances_: with `importances`, (columns,): by how much the metric that ranks becomes worse for the
            rows that rank, at most 2,000 of them, predicted by models that did not train on them, where a column's
            cells are permuted; below 0 if it becomes better. Of two columns that say the same both may seem worthless.
            Not there if `minutes` or an interrupt ended the search.

    >>> import popjax as pj
    >>> from sklearn.datasets import load_wine
    >>> x, y = load_wine(return_X_y=True)
    >>> classifier = pj.PopulationClassifier({"learning_rate": 0.01, "hidden": 16}, trials=2, epochs=10).fit(x, y)
    >>> classifier.score(x, y) > 0.9
    True
    """

    kind = "classification"

    def predict(self, X: Any) -> np.ndarray:
        """Labels (rows,), or indicators (rows, labels) for several labels, in the dtype of y."""
        chances = self.predict_proba(X)
        if self.predictor_.outputs:
            return self.predictor_.recipe.kind.decided(chances).astype(self._type)
        return np.asarray(self.classes_[chances.argmax(-1)])

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (rows, classes) in the order of `classes_`, or (rows, labels) for several labels."""
        rows = self._rows(X)
        return np.asarray(self.predictor_.predict_proba(rows))


class PopulationRegressor(RegressorMixin, PopulationEstimator):
    """Regressor by hyperparameter search, with the arguments of `PopulationClassifier` except class_weight.

    `rank` may be "loss", "mse", "mae", "r2", "rmse", "mape"... If y is one value in all rows, that is what is
    predicted, with a DataWarning; nothing is searched then, so that there are no results_.

    >>> import popjax as pj
    >>> from sklearn.datasets import load_diabetes
    >>> x, y = load_diabetes(return_X_y=True)
    >>> regressor = pj.PopulationRegressor({"learning_rate": 0.01, "hidden": 16}, trials=2, epochs=10).fit(x, y)
    >>> regressor.score(x, y) > 0.4
    True
    """

    kind = "regression"

    def predict(self, X: Any) -> np.ndarray:
        """Values (rows,) or (rows, outputs), in the units of the targets."""
        rows = self._rows(X)
        if hasattr(self, "constant_"):
            return np.repeat(self.constant_[None], len(rows), 0)
        return np.asarray(self.predictor_.predict(rows))

    def _constant(self, y: np.ndarray) -> np.ndarray | None:
        """The value of targets (rows,), or (outputs,) of several, that are the same in all rows."""
        known = y.dtype.kind in "biuf" and bool(np.isfinite(y).all())
        return np.asarray(y[0], float) if known and not (y != y[0]).any() else None


def on_validation(metric: Metric) -> Metric:
    """A metric without a split as that of the validation rows; a cost, or one with a split, as it is."""
    plain = metric not in COSTS and metric.rows is None
    return Metric(Metric.of("validation", metric.name), metric.given, metric.unit) if plain else metric


def column_names(X: Any) -> list[str]:
    """The names of the columns of a frame, or the places of those of an array."""
    names = getattr(as_frame(X), "columns", None)
    return [str(name) for name in (range(np.shape(X)[1]) if names is None else names)]


def importances_of(results: Results, predictor: Predictor, names: Sequence[str]) -> np.ndarray:
    """By how much the metric becomes worse where a column's cells are permuted (columns,); 0 of an empty one."""
    importances = rises(results.task, predictor, results.metric, least=1, cells=None)
    return np.array([importances.pop(name, 0.0) for name in names])
