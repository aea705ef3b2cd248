"""Predictors of what was trained: of results in this process, and of a run's directory."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from popjax.core.calls import name_of
from popjax.core.faults import calling
from popjax.core.trees import named_leaves, to_words
from popjax.store.files import KeptTrial, check_format, load_best_files, load_ensemble_files, read_json
from popjax.store.results import Results
from popjax.supervision.predictor import Predictor
from popjax.supervision.preprocessing import Code, Recipe
from popjax.supervision.problem import Supervised
from popjax.supervision.trained import Trained

LOG = logging.getLogger("popjax")


def load_best(directory: str | Path, model: Callable[..., Any] | None = None, transform: Any = None) -> Predictor:
    """The winner of the run in `directory` as a predictor; the ensemble, if the run was ranked by `together`.

    Args:
        directory: what `--out` or `Results.save` wrote.
        model: the callable that was passed to `supervised`, if it was a custom one: a directory
            never names code to run.
        transform: likewise a custom transform, or entry -> Transform; fitted or not.

    Raises ValueError for a directory without a winner, for a winner without a recipe, and for another model than the
    one that was trained, naming an array in which they differ; its subclass Corrupt for damaged files. Warns of a model
    with another name.

    >>> import tempfile
    >>> import popjax as pj
    >>> from sklearn.datasets import load_iris
    >>> x, y = load_iris(return_X_y=True)
    >>> with tempfile.TemporaryDirectory() as place:
    ...     results = pj.search(pj.supervised((x, y)), {"learning_rate": 0.1}, trials=1, out=f"{place}/run")
    ...     winner = pj.load_best(f"{place}/run")
    >>> bool((winner.predict(x) == y).mean() > 0.9)
    True
    """
    best = Path(directory) / "best"
    if not best.is_dir():
        raise ValueError(f"{str(directory)!r} holds no winner: there is no best/; give a finished run's directory")
    if (Path(directory) / "run.json").exists():
        check_format(Path(directory), read_json(Path(directory) / "run.json"))
    kept = load_ensemble_files(best) or [load_best_files(best)]
    counts = Counter(trial.trial for trial in kept)
    trials = list({trial.trial: trial for trial in kept}.values())
    return predictor_of(trials, Code(model, transform), tuple(map(float, counts.values())))


def predictor(
    results: Results, trial: int | None = None, model: Callable[..., Any] | None = None, transform: Any = None
) -> Predictor:
    """A trained trial of `results` as a predictor; the winner if `trial` is None.

    Args:
        results: of a search, or loaded.
        trial: the number of a trial that the rule kept; the winner if None.
        model: the callable that was passed to `supervised`, for loaded results of a custom model.
        transform: likewise for a custom transform.

    Raises ValueError where there is no winner, for a trial that was not kept, and for a task without a recipe.

    >>> import popjax as pj
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(200, 3))
    >>> task = pj.supervised((x, x[:, 0] > 0))
    >>> results = pj.search(task, {"learning_rate": pj.log_uniform(1e-3, 1), "hidden": 8}, trials=4, epochs=5)
    >>> pj.predictor(results).predict(x[:5]).shape
    (5,)
    """
    if trial is None and results.best is None:
        raise ValueError(f"{results.no_winner}; there is no winner to predict with")
    trial = results.best.trial if trial is None and results.best is not None else trial
    return predictor_of([results.kept(trial)], own_of(results, model, transform))  # type: ignore[arg-type]


def own_of(results: Results, model: Callable[..., Any] | None = None, transform: Any = None) -> Code:
    """The custom model, transform and loss: as given, else those of the task in this process."""
    task = results.task
    if not isinstance(task, Supervised):
        return Code(model, transform)
    options = task.problem.options
    trained = options.model if callable(options.model) else None
    return Code(model or trained, task.transform if transform is None else transform, options.loss)


def predictor_of(kept: Sequence[KeptTrial], own: Code, weights: tuple[float, ...] = ()) -> Predictor:
    """The predictor of kept trials; raises ValueError for a task without a recipe, and a missing or wrong model."""
    model = own.model
    if any(trial.recipe is None for trial in kept):
        raise ValueError("the winner is of a custom task; read its arrays with Results.load(dir).params(trial)")
    recipe = Recipe.from_json(kept[0].recipe, own)  # type: ignore[arg-type]
    if recipe.model is not None and model not in (None, recipe.model):
        raise ValueError(f"the winner was trained with the built-in model {recipe.model!r}; leave model out")
    trained = model or recipe.model
    if trained is None:
        raise ValueError("the winner is of a custom model; pass it: load_best(dir, model=...)")
    predictor = Predictor(recipe, recipe.network(trained), tuple(map(Trained.of, kept)), weights or (1.0,) * len(kept))
    if recipe.model is None:
        check_same_model(predictor, name_of(model))
    return predictor


def check_same_model(predictor: Predictor, name: str | None) -> None:
    """Raise ValueError for a model with other arrays than the trained ones; warn if it has another name."""
    then = predictor.recipe.called
    for one in {one.program: one for one in predictor.trained}.values():

        def build(arrays: Any, one: Trained = one) -> Any:
            network = predictor.built(one, arrays)
            return to_words({"params": network.params, "variables": network.variables})

        first = {array: values[0] for array, values in one.arrays.items()}
        with calling(f"the model {name}", surely=False):
            built = named_leaves(jax.eval_shape(build, first))
        needed = {path: leaf.shape for path, leaf in built.items()}
        stored = {path: array.shape for path, array in first.items() if path.startswith(("params.", "variables."))}
        for path in sorted(needed.keys() | stored.keys()):
            if needed.get(path) != stored.get(path):
                trained, now = (str(list(s[path])) if path in s else "none" for s in (stored, needed))
                what = f"its array {path!r} is {trained} as trained, {now} in the model that is given"
                raise ValueError(f"the winner was trained with another model ({then}): {what}; give that model")
    if name is not None and then is not None and name != then:
        LOG.warning(f"the winner's model was called {then}, the one that is given {name}; it has the same arrays")
