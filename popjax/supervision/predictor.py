"""The winner of a search as a predictor: raw rows in, labels or values out."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from popjax.core.text import settings
from popjax.core.trees import abstract, from_host, unnamed
from popjax.models.networks import Network
from popjax.space.space import Space
from popjax.store.files import load_best_files, read_json
from popjax.supervision.preprocessing import Recipe
from popjax.task import HParams


def load_best(directory: str | Path, model: Callable[..., Any] | None = None) -> "Winner":
    """The winner of the run in `directory`, ready to predict.

    Args:
        directory: what `--out` or `Results.save` wrote.
        model: the callable that was given to `supervised`, if it was one of your own: a
            directory never names code to run.

    Raises ValueError for a directory that holds no winner, or one without a recipe; Corrupt, a
    kind of it, for one whose files are damaged.

    >>> import tempfile
    >>> import popjax as pj
    >>> from sklearn.datasets import load_iris
    >>> x, y = load_iris(return_X_y=True)
    >>> with tempfile.TemporaryDirectory() as place:
    ...     results = pj.search(pj.supervised((x, y)), {"learning_rate": 0.1}, trials=1, out=f"{place}/run")
    ...     winner = load_best(f"{place}/run")
    >>> bool((winner.predict(x) == y).mean() > 0.9)
    True
    """
    best = Path(directory) / "best"
    if not best.is_dir():
        raise ValueError(f"{str(directory)!r} holds no winner: there is no best/; give a finished run's directory")
    _, arrays, winner = load_best_files(best)
    if winner is None:
        raise ValueError("the winner is of a task of your own; read its arrays with Results.load(dir).params(trial)")
    recipe = Recipe.from_json(winner)
    trained = model or recipe.model
    if trained is None:
        raise ValueError("the winner is of a model of your own; pass it: load_best(dir, model=...)")
    space = Space.from_dict(winner["space"])
    values = read_json(best / "best.json")["hparams"]
    epochs = winner.get("epochs", 0)  # which popjax 0.1.0 did not write
    return Winner(recipe, values, space, frozenset(winner["static"]), arrays, recipe.network(trained), epochs)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Winner:
    """A trained model with its preprocessing.

    Attributes:
        recipe: what standardizes rows and names the classes.
        hparams: the hyperparameters it was trained with.
        arrays: name -> array (members, ...); predictions are averaged over the members.
        epochs: of the whole run.
    """

    recipe: Recipe
    hparams: Mapping[str, Any]
    space: Space
    static: frozenset[str]
    arrays: Mapping[str, np.ndarray]
    network: Callable[..., Network]
    epochs: int

    def __repr__(self) -> str:
        return f"Winner({settings(self.hparams)})"

    @property
    def classes(self) -> tuple[Any, ...] | None:
        """The labels, in the order of `predict_proba`; None for a regression."""
        return self.recipe.classes

    def predict(self, rows: Any) -> np.ndarray:
        """Labels, or values in the target's own units, of raw `rows`.

        Rows are a DataFrame with the training data's columns, in any order, an array (rows,
        columns) of numbers or Python values in their order, or what `Dataset.x` holds. A text
        that no training row had is all zeros; a missing cell becomes the training data's
        median or most frequent text where it was trained with missing="median", and else is
        refused. Raises ValueError for rows that do not fit.
        """
        if self.recipe.classes is None:
            outputs = np.asarray(self._outputs(rows), float)
            outputs = outputs.reshape(len(outputs), -1)
            folds = [self._fold(member) for member in range(len(outputs))]
            return (outputs * self.recipe.y_scale[folds, None] + self.recipe.y_mean[folds, None]).mean(0)
        return np.asarray(self.recipe.classes)[self.predict_proba(rows).argmax(-1)]

    def predict_proba(self, rows: Any) -> np.ndarray:
        """Probabilities (rows, classes), in the order of `classes`; raises ValueError for a regression."""
        if self.recipe.classes is None:
            raise ValueError("predict_proba: the winner is a regression; use predict")
        return np.asarray(jax.nn.softmax(self._outputs(rows), -1).mean(0))

    def _outputs(self, rows: Any) -> jax.Array:
        """The outputs (members, rows, outputs) on raw rows."""
        raw = self.recipe.encoded(rows)
        if len(raw) == 0:
            return jnp.zeros((self._members, 0, self.recipe.outputs))
        apply = jax.jit(self._apply)
        outputs = []
        for member in range(self._members):
            arrays, fold = {name: array[member] for name, array in self.arrays.items()}, self._fold(member)
            outputs.append(apply(arrays, jnp.asarray(self.recipe.features(raw, fold)), jnp.int32(fold)))
        return jnp.stack(outputs)

    @property
    def _members(self) -> int:
        return len(next(iter(self.arrays.values())))

    def _fold(self, member: int) -> int:
        """The fold of a member; they are in order of fold and repeat."""
        return member * len(self.recipe.mean) // self._members

    def _apply(self, arrays: Mapping[str, Any], x: jax.Array, fold: jax.Array) -> jax.Array:
        values = {n: v if n in self.static else jnp.asarray(v) for n, v in self.hparams.items()}
        hparams = HParams(values | {"fold": fold, "epochs": self.epochs}, self.space)
        network = self.network(hparams, jax.random.wrap_key_data(arrays["key"]))  # the key of its training
        template = {"params": network.params, "variables": network.variables}
        state = from_host(abstract(template), unnamed(template, arrays))
        return network.apply(state["params"], state["variables"], x, None)[0]
