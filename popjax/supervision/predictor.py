"""Trained trials as a predictor: raw rows -> labels or values."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from popjax.core.mixing import mixing
from popjax.core.programs_on_disk import keep_programs
from popjax.core.text import hparams_text, lookup, plural
from popjax.core.trees import abstract, from_host, unnamed
from popjax.data.frames import as_frame, series_of
from popjax.data.inputs import Inputs, entries, mapped, taken
from popjax.models.network import Network
from popjax.supervision.exported import FORMATS, TrainedModel
from popjax.supervision.preprocessing import Recipe
from popjax.supervision.stack import Stack, rows_at_once, side_by_side
from popjax.supervision.standardizing import Standardizing
from popjax.supervision.trained import Trained
from popjax.task import HParams


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Predictor:
    """Trained trials with their preprocessing; it predicts the weighted mean of their predictions.

    Attributes:
        recipe: the preprocessing of rows and the kind of targets.
        network: `(hparams, key) -> Network`.
        trained: the trials, best first.
        weights: the weight of each trial in the mean.

    >>> import popjax as pj
    >>> from sklearn.datasets import load_wine
    >>> x, y = load_wine(return_X_y=True)
    >>> results = pj.search(pj.supervised((x, y)), {"learning_rate": 0.1, "hidden": 8}, trials=2, epochs=10)
    >>> predictor = results.predictor()
    >>> predictor.predict(x).shape, predictor.predict_proba(x).shape
    ((178,), (178, 3))
    >>> predictor.score(x, y) > 0.9
    True
    >>> predictor.module()(predictor.recipe.features(predictor.recipe.encoded(x), 0)).shape
    (178, 3)
    """

    recipe: Recipe
    network: Callable[..., Network]
    trained: tuple[Trained, ...]
    weights: tuple[float, ...]

    def __repr__(self) -> str:
        if len(self.trained) == 1:
            return f"Predictor({hparams_text(self.hparams)})"
        return f"Predictor({plural(len(self.trained), 'trial')}, {self.trials})"

    def _repr_html_(self) -> str:
        import popjax as pj

        return str(pj.as_html(self))

    @property
    def trials(self) -> list[int]:
        """The numbers of the trials, best first."""
        return [trained.trial for trained in self.trained]

    def only(self, trial: int) -> "Predictor":
        """A predictor of one of the trials, sharing compiled programs; raises ValueError for an unknown trial."""
        alone = dataclasses.replace(self, trained=(self._of("only", trial),), weights=(1.0,))
        alone.__dict__["_stacks"] = self._stacks
        return alone

    @property
    def hparams(self) -> Mapping[str, Any]:
        """The hyperparameters of the first trial; if they changed, those of the epoch that counts."""
        return self.trained[0].hparams

    @property
    def history(self) -> Mapping[str, Sequence[Any]]:
        """Name -> the values of the first trial, epoch by epoch; empty if they never changed."""
        return self.trained[0].history

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """The arrays of the first trial: name -> array (members, ...)."""
        return self.trained[0].arrays

    @property
    def classes(self) -> tuple[Any, ...] | None:
        """The labels of a classification, in the order of `predict_proba`; else None."""
        return self.recipe.classes

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of several labels or values, in the order of the columns of predictions."""
        return self.recipe.kind.names

    def predict(self, rows: Any) -> np.ndarray:
        """Labels (rows,), truth values (rows, labels), or values in the targets' own units, for raw `rows`.

        Rows are a DataFrame with the training data's columns, in any order, an array (rows,
        columns) of numbers or Python values in their order, or rows as in `Dataset.x`. A text that
        the training data does not have is encoded as zeros. A missing cell becomes the training
        data's median or most frequent text if it was trained with missing="median", and is passed to
        a transform that takes missing cells. Of the kind "own" the outputs of the model are returned.
        Raises ValueError for rows that do not fit, and for other missing cells.
        """
        return self.recipe.kind.decided(self._mean(rows))

    def predict_proba(self, rows: Any) -> np.ndarray:
        """Probabilities (rows, classes), in the order of `classes`, or (rows, labels), in that of `outputs`.

        Raises ValueError for a regression and for the kind "own".
        """
        if not self.recipe.kind.chances:
            what = "of a custom loss" if self.recipe.kind.own else f"a {self.recipe.kind.name}"
            raise ValueError(f"predict_proba: the winner is {what}; use predict")
        return self._mean(rows)

    def score(self, rows: Any, targets: Any) -> float:
        """The share of rows with all labels right, or R² of values, as in scikit-learn's estimators.

        Of the kind "own" the negative mean of the custom loss; if the features are the targets, `targets` are raw rows.
        Raises ValueError for targets that do not fit the rows, and for a custom loss that this process does not have.
        """
        kind, predicted = self.recipe.kind, self.predict(rows)
        mirrored = self.recipe.mirrored
        targets = self.recipe.features(self.recipe.encoded(targets)) if mirrored else in_order(targets, self.outputs)
        if targets.shape[:1] != predicted.shape[:1] or (targets.shape != predicted.shape and not kind.own):
            what = "one a row" if predicted.ndim == 1 or kind.own else f"{predicted.shape[1]} a row"
            raise ValueError(f"score: {len(predicted)} rows have targets of shape {targets.shape}; give {what}")
        return kind.score(predicted, targets)

    def spread(self, rows: Any) -> np.ndarray:
        """The standard deviation, over all its models, of what they predict for raw rows.

        Of probabilities (rows, classes) or (rows, labels), or of values in their own units. It tells where the models
        disagree, and is no interval: what all of them do not know is not in it. Raises ValueError as `predict`.
        """
        return self.mean_and_spread_of(self.recipe.encoded(rows))[1]

    def _mean(self, rows: Any) -> np.ndarray:
        """The mean prediction for raw rows (see `mean_of`)."""
        return self.mean_of(self.recipe.encoded(rows))

    def mean_of(self, encoded: Inputs) -> np.ndarray:
        """The mean prediction for encoded rows: probabilities (rows, classes), or values (rows, ...).

        Raises ValueError if the features are the targets and there are several folds, which transform them differently.
        """
        return np.concatenate([self._mean_of_each(each) for each in self._parts(encoded)])

    def mean_and_spread_of(self, encoded: Inputs) -> tuple[np.ndarray, np.ndarray]:
        """The mean prediction for encoded rows, and the standard deviation over all models, of the same shape.

        Raises ValueError as `mean_of`.
        """
        parts = [(self._mean_of_each(each), self._spread_of_each(each)) for each in self._parts(encoded)]
        mean, spread = zip(*parts, strict=True)
        return np.concatenate(mean), np.concatenate(spread)

    def _parts(self, encoded: Inputs) -> Iterator[list[np.ndarray]]:
        """What `_each` returns, for so few rows at a time that the predictions of all models fit into memory."""
        self._check_mean()
        rows, models = len(entries(encoded)[0]), sum(trained.members for trained in self.trained)
        features = sum(math.prod(x.shape[1:]) for x in entries(self.recipe.example))
        size = rows_at_once(self.recipe.width * models, self.recipe.folds * features)
        for begin in range(0, max(rows, 1), size):
            yield self._each(taken(encoded, slice(begin, begin + size)), range(self.recipe.folds))

    def _check_mean(self) -> None:
        """Raise ValueError if the features are the targets and there are several folds."""
        if self.recipe.mirrored and self.recipe.folds > 1:
            what = "each fold's models learned features that it transformed for itself, which have no mean"
            raise ValueError(f"{what}; search with folds=1, or take what of_fold predicts")

    def _mean_of_each(self, each: Sequence[np.ndarray]) -> np.ndarray:
        """The weighted mean (rows, ...) of what the trials' models predict (folds, repeats, rows, ...)."""
        total: Any = 0.0
        for weight, predicted in zip(self.weights, each, strict=True):
            total += weight * self._in_units(predicted.mean(1), range(self.recipe.folds)).mean(0)
        return np.asarray(total) / sum(self.weights)

    def _spread_of_each(self, each: Sequence[np.ndarray]) -> np.ndarray:
        """The weighted standard deviation (rows, ...) of what the trials' models predict."""
        units = [self._in_units(predicted, range(self.recipe.folds)) for predicted in each]
        models = np.concatenate([values.reshape(-1, *values.shape[2:]) for values in units])
        counts = [trained.members for trained in self.trained]
        shares = np.repeat([weight / count for weight, count in zip(self.weights, counts, strict=True)], counts)
        mean = np.average(models, 0, shares)
        return np.asarray(np.sqrt(np.average((models - mean) ** 2, 0, shares)))

    def of_fold(self, encoded: Inputs, fold: int) -> np.ndarray:
        """Each trial's mean prediction by its models of a fold, for encoded rows: (trials, rows, ...)."""
        return np.stack([self._in_units(each.mean(1), [fold])[0] for each in self._each(encoded, [fold])])

    @mixing
    def outputs_plainly(self, encoded: Inputs, fold: int) -> list[jax.Array]:
        """The outputs (rows, ...) of each model of the first trial in a fold, operation by operation.

        No program is compiled for that.
        """
        x = mapped(jnp.asarray, self.recipe.features(encoded, fold))
        models = [model for model in self._models(self.trained[0], 1.0) if model.fold == fold]
        return [model.network.apply(model.state["params"], model.state["variables"], x, None)[0] for model in models]

    def each_of(self, encoded: Inputs) -> np.ndarray:
        """What each model of the first trial predicts: (folds x repeats, rows, ...)."""
        folds = range(self.recipe.folds)
        (each,) = self.only(self.trials[0])._each(encoded, folds)
        return self._in_units(each, folds).reshape(-1, *each.shape[2:])

    def _each(self, encoded: Inputs, folds: Sequence[int]) -> list[np.ndarray]:
        """Of each trial what its models predict (folds, repeats, rows, ...): probabilities or standardized values."""
        x = side_by_side([self.recipe.features(encoded, fold) for fold in folds])
        trials: dict[str, list[int]] = {}
        for trial in self.trials:
            trials.setdefault(self._stacks[trial].program, []).append(trial)
        of_trial: dict[int, np.ndarray] = {}
        for alike in trials.values():
            outputs = self._stacks[alike[0]].outputs(alike, folds, x)
            predicted = self.recipe.kind.predicted(outputs.reshape(-1, *outputs.shape[4:]))
            shaped = predicted.reshape(*outputs.shape[:4], *predicted.shape[1:])
            of_trial |= dict(zip(alike, shaped, strict=True))
        return [of_trial[trial] for trial in self.trials]

    def _in_units(self, values: np.ndarray, folds: Sequence[int]) -> np.ndarray:
        """Predictions (folds, ...) in the targets' own units; unchanged if these are not standardized."""
        recipe = self.recipe
        if not recipe.kind.scaled:
            return values
        scale, mean = (each[list(folds)] for each in (recipe.y_scale, recipe.y_mean))
        room = (len(folds), *(1,) * (values.ndim - scale.ndim), *scale.shape[1:])
        return np.asarray(values * scale.reshape(room) + mean.reshape(room))

    def __getstate__(self) -> dict[str, Any]:
        """Without compiled programs."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @functools.cached_property
    def _stacks(self) -> dict[int, Stack]:
        """Trial -> the stacked models of all trials with its program."""
        keep_programs()
        alike: dict[str, list[Trained]] = {}
        for trained in self.trained:
            alike.setdefault(trained.program, []).append(trained)
        stacks: dict[int, Stack] = {}
        for program, group in alike.items():
            model = functools.partial(self._applied, group[0])
            stack = Stack.of(program, group, self.recipe.folds, self.recipe.width, model)
            stacks |= {trained.trial: stack for trained in group}
        return stacks

    def _applied(self, trained: Trained, arrays: Any, values: Any, fold: Any, x: Any) -> Any:
        """The outputs (rows, ...) of a model with the program of this trial."""
        built, state = self._restored(trained, arrays, values, fold)
        return built.apply(state["params"], state["variables"], x, None)[0]

    @mixing
    def built(self, trained: Trained, arrays: Any, values: Any = None, fold: Any = 0) -> Network:
        """The network of a trial with its initial arrays; `values` replaces its dynamic hyperparameters."""
        dynamic = trained.values if values is None else values
        active = {**trained.fixed, **dynamic, "fold": fold, "epochs": trained.epochs}
        hparams = HParams(active, trained.space, inactive=trained.inactive)
        return self.network(hparams, jax.random.wrap_key_data(arrays["key"]))  # as in training

    def _restored(self, trained: Trained, arrays: Any, values: Any, fold: Any) -> tuple[Network, Any]:
        """The network of a trial, and its trained arrays {"params", "variables"}."""
        built = self.built(trained, arrays, values, fold)
        template = {"params": built.params, "variables": built.variables}
        return built, from_host(abstract(template), unnamed(template, arrays))

    def module(self, trial: int | None = None, raw: bool = False) -> Any:
        """The trained module of a trial, by default the first, in evaluation mode; of linen, its variables; of equinox,
        beside the state if it has some.

        It maps standardized rows (`Recipe.features`) to logits, or to standardized values of a regression. With `raw`
        it maps encoded rows (`Recipe.encoded`) to logits, or to values in the target's own units. With folds or repeats
        a list of modules, fold by fold. Raises ValueError for a trial that is not in the predictor, and with `raw` for
        a linen module and for a transform that is not affine.
        """
        trained = self.trained[0] if trial is None else self._of("module", trial)
        modules = []
        for network, state, fold, _ in self._models(trained, 1):
            module = network.module(state["params"], state["variables"])
            if raw and not isinstance(module, nnx.Module):
                raise ValueError("module: raw=True needs an nnx module; apply others to standardized rows")
            modules.append(Standardizing(module, self.recipe, fold) if raw else module)
        return modules[0] if len(modules) == 1 else modules

    def _of(self, what: str, trial: int) -> Trained:
        """What was trained of a trial; raises ValueError, its message starting with `what`, for an unknown one."""
        if trial not in self.trials:
            raise ValueError(f"{what}: there is no trial {trial!r}; there are {', '.join(map(str, self.trials))}")
        return self.trained[self.trials.index(trial)]

    def _models(self, trained: Trained, weight: float) -> Iterator[TrainedModel]:
        """The models of a trial with this weight, fold by fold."""
        values = {name: jnp.asarray(value) for name, value in trained.values.items()}
        for member in range(trained.members):
            arrays = {name: array[member] for name, array in trained.arrays.items()}
            fold = member // (trained.members // self.recipe.folds)
            restored = self._restored(trained, arrays, values, jnp.int32(fold))
            yield TrainedModel(*restored, fold, weight / trained.members)

    def export(self, to: Literal["jax", "onnx"] = "jax") -> bytes:
        """What predicts without popjax: a program of `jax.export`, or with `to="onnx"` the content of an ONNX file.

        It maps encoded rows to probabilities, or to values in the targets' own units, as `predict_proba` and `predict`
        give them, with the transform inside: `Recipe.encoded` of raw rows, texts by their places in `Recipe.levels`, -1
        for one that is not there, NaN for a missing cell; a missing text is "", if the levels have it. The program of
        JAX runs where JAX does, on any device, and computes in the floats of this process; ONNX transforms rows in
        float64.

        Raises ValueError for what cannot be exported, such as a transform that only NumPy computes, and if the package
        of the format is missing.

        >>> import jax
        >>> import numpy as np
        >>> import popjax as pj
        >>> from sklearn.datasets import load_wine
        >>> x, y = load_wine(return_X_y=True)
        >>> predictor = pj.search(pj.supervised((x, y)), {"learning_rate": 0.1}, trials=1, epochs=1).predictor()
        >>> program = jax.export.deserialize(predictor.export())
        >>> bool(np.allclose(program.call(x.astype(np.float32)), predictor.predict_proba(x), atol=1e-5))
        True
        """
        self._check_mean()
        shares = [weight / sum(self.weights) for weight in self.weights]
        models = [model for pair in zip(self.trained, shares, strict=True) for model in self._models(*pair)]
        return lookup(FORMATS, "format", to)(self.recipe, models)


def in_order(targets: Any, outputs: Sequence[str]) -> np.ndarray:
    """Targets (rows, ...) of a score; columns of a frame are found by the names of the outputs, if it has these."""
    frame = as_frame(targets)
    names = [str(name) for name in getattr(frame, "columns", ())]
    if len(outputs) < 2 or sorted(names) != sorted(outputs):
        return np.asarray(targets)
    return np.column_stack([np.asarray(series_of(frame, names.index(name))) for name in outputs])
