"""The winner's predictor, built again from what is kept, has the scores that were recorded in training."""

from typing import Any

import jax
import jax.numpy as jnp

from popjax.core.text import failure, tell
from popjax.data.inputs import entries, mapped, taken
from popjax.data.transforms.applying import proven
from popjax.metric import Metric
from popjax.models.built_in import PROVEN as PROVEN_MODELS
from popjax.store.results import Results
from popjax.supervision.kinds.probing import PROVEN as PROVEN_KINDS
from popjax.supervision.predictor import Predictor
from popjax.supervision.problem import Supervised
from popjax.task import HParams

WITHIN = 2e-3  # of a metric; products of several sizes and precisions round differently
FLIPPED = 2  # rows that rounding may decide otherwise, by which a share differs


def check_predictor(results: Results) -> None:
    """Say it in a line if the winner's predictor scores otherwise on the rows that validated than training did.

    Its rows come in halves and reversed, so that a model whose outputs depend on the other rows shows. Only tasks with
    a model, transform or kind from outside popjax are checked.
    """
    task, best = results.task, results.best
    if not isinstance(task, Supervised) or best is None or best.trial not in results.order or not from_outside(task):
        return
    task = task.in_folds(results.members[results.metric].shape[1])
    if best.trial not in results.states:
        return
    remedy = "a model or transform may depend on a row and its arrays alone: not on other rows, nor on random numbers"
    try:
        other = differing(results, task, results.predictor(best.trial))
    except Exception as error:
        tell(f"popjax: the predictor of trial {best.trial} cannot be checked ({failure(error)}); {remedy}")
        return
    if other:
        name, (recorded, predicted) = next(iter(other.items()))
        what = f"the predictor of trial {best.trial} has {name} {predicted:.4g} on the rows that validated"
        tell(f"popjax: {what}, training recorded {recorded:.4g}: do not use it; {remedy}")


def from_outside(task: Supervised) -> bool:
    """True if the task has a model, transform or kind that is not popjax's."""
    transforms = [transform for fold in task.recipe.transforms for transform in entries(fold)]
    own = task.recipe.model in PROVEN_MODELS and type(task.fit.kind) in PROVEN_KINDS and all(map(proven, transforms))
    return not own


def differing(results: Results, task: Supervised, winner: Predictor) -> dict[str, tuple[float, float]]:
    """Metric -> (recorded, of the predictor) of a member for which it differs, where it differs.

    By the same function of outputs as in training: probabilities would lose how wrong a row is.
    """
    different: dict[str, tuple[float, float]] = {}
    share, modes = FLIPPED / task.split.validation.shape[1], {Metric.of("validation", "loss"): "min", **task.modes}
    for number, rows in enumerate(task.split.validation):
        fold = task.fit.fold(HParams({"fold": number}), task.data)
        targets = task.fit.taken(task.data.rows, fold.validation, fold).y
        for repeat, outputs in enumerate(in_halves(winner, taken(task.dataset.x, rows), number)):
            for name, value in task.fit.measured_of(outputs, targets, fold, task.data, "validation").items():
                recorded, predicted = float(results.of_members[name][winner.trials[0], number, repeat]), float(value)
                allowed = WITHIN * max(abs(recorded), abs(predicted)) + (1e-6 if modes.get(name) == "min" else share)
                if abs(recorded - predicted) > allowed:
                    different[name] = recorded, predicted
    return different


def in_halves(winner: Predictor, x: Any, fold: int) -> list[jax.Array]:
    """The outputs (rows, ...) of each model of a fold, where each half of the rows is given alone, reversed."""
    rows = len(entries(x)[0])
    half = -(-rows // 2)
    back = mapped(lambda each: each[::-1], x)
    parts = (winner.outputs_plainly(taken(back, part), fold) for part in (slice(half), slice(rows - half, None)))
    return [jnp.concatenate([first, second[2 * half - rows :]])[::-1] for first, second in zip(*parts, strict=True)]
