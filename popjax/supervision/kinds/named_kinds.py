"""The kinds of targets by name. To add one, add a file here and a line to KINDS."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from popjax.data.dataset import Dataset
from popjax.supervision.kinds.classification import Classification
from popjax.supervision.kinds.kind import Kind
from popjax.supervision.kinds.multilabel import Multilabel
from popjax.supervision.kinds.own import Own
from popjax.supervision.kinds.regression import Regression, Values

KINDS: Mapping[str, type[Kind]] = {
    "classification": Classification,
    "multilabel": Multilabel,
    "regression": Regression,
    "own": Own,
}


def kind_of(dataset: Dataset, loss: Callable[..., Any] | None, scale: np.ndarray) -> Kind:
    """The kind of a dataset's targets.

    Args:
        loss: the custom loss, or None.
        scale: the standard deviations (folds, ...) of each fold's targets.
    """
    if dataset.kind == "own":
        width = {1: 1, 2: dataset.y.shape[-1]}.get(dataset.y.ndim, 0)
        return Own(loss=loss, width=0 if dataset.mirrored else width)
    if dataset.kind == "regression" and dataset.outputs:
        return Values(names=dataset.outputs, units=tuple(scale.mean(0).tolist()))
    return KINDS[dataset.kind](dataset.classes, dataset.outputs)


def kind_read(content: Mapping[str, Any], loss: Callable[..., Any] | None) -> Kind:
    """The kind from what `Kind.describe` returned; `loss` is the custom loss, or None if it is not known."""
    if content["kind"] == "own":
        return Own(loss=loss, width=content["width"])
    classes, names = content["classes"], tuple(content["outputs"])
    if content["kind"] == "regression" and names:
        return Values(names=names, units=tuple(content["units"]))
    return KINDS[content["kind"]](None if classes is None else tuple(classes), names)
