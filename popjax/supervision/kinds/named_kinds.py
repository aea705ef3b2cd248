"""The kinds of targets by name. To add one, add a file here and a line to KINDS."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from popjax.core.faults import calling
from popjax.core.text import lookup, plural, registry, short
from popjax.data.dataset import Dataset
from popjax.data.targets import Reads, Targets, guessed
from popjax.supervision.kinds.classification import Classification
from popjax.supervision.kinds.kind import Kind
from popjax.supervision.kinds.multilabel import Multilabel
from popjax.supervision.kinds.own import Own
from popjax.supervision.kinds.probing import PROVEN, check_kind
from popjax.supervision.kinds.regression import Regression

KINDS: dict[str, type[Kind]] = registry("kind of targets", (Classification, Multilabel, Regression, Own))


def kind_named(name: Any) -> type[Kind]:
    """The kind of targets of a name; raises ValueError for any other, and for one that misspells its contract."""
    kind = lookup(KINDS, "kind of targets", name)
    check_kind(kind)
    return kind


def reader_of(name: str | None, loss: Callable[..., Any] | None = None) -> Reads:
    """How targets of a kind are read; by a guess if the name is None. Raises ValueError for an unknown kind."""
    if name is None:
        return functools.partial(guessed, own_loss=loss is not None)
    if name == Own.name and loss is None:
        raise ValueError(f'kind="{name}" needs a custom loss; give loss=')
    return functools.partial(read, kind_named(name))


def read(kind: type[Kind], y: np.ndarray, name: str, target: str) -> Targets:
    """Targets of a kind; raises ValueError for values of another, and for a kind that does not return Targets."""
    what = f"the kind {kind.__name__}: targets"
    with calling(what, ValueError):
        targets: Any = kind.targets(y, name, target)
    if not isinstance(targets, Targets) or np.shape(targets.y)[:1] != (len(y),):
        said = f"Targets of {np.shape(targets.y)[:1]}" if isinstance(targets, Targets) else short(targets)
        raise ValueError(f"{what} returned {said} for {plural(len(y), 'row')}; return popjax.data.targets.Targets")
    if kind not in PROVEN:
        check_in_place(what, kind, targets, y, (name, target))
    return targets._replace(kind=kind.name)


def check_in_place(what: str, kind: type[Kind], targets: Targets, y: np.ndarray, names: tuple[str, str]) -> None:
    """Raise ValueError for targets of other rows than they are given, and for classes that are not theirs."""
    with calling(what):
        turned = kind.targets(y[::-1], *names)
    if not np.array_equal(np.asarray(turned.y)[::-1], targets.y, equal_nan=targets.y.dtype.kind == "f"):
        raise ValueError(f"{what} gives a row another target where the rows are in reverse; read each row by itself")
    labels = list(map(str, targets.classes or ()))
    if len(set(labels)) < len(labels):
        raise ValueError(f"{what}: the classes are {short(targets.classes, 60)}; give each a label of its own")
    texts = y.astype(str)
    if y.ndim > 1 or set(labels) != set(texts.tolist()):
        return  # no classes, or others than the values by name
    if (wrong := np.asarray(labels)[targets.y.astype(int)] != texts).any():
        row = int(wrong.argmax())
        mismatch = f"gives row {row} the class {labels[int(targets.y[row])]}, and its target is {texts[row]}"
        raise ValueError(f"{what} {mismatch}; let the classes be in the order of their numbers")


def kind_of(dataset: Dataset, loss: Callable[..., Any] | None, scale: np.ndarray) -> Kind:
    """The kind of a dataset's targets; `loss` and `scale`: see `Kind.of`."""
    return kind_named(dataset.kind).of(dataset, loss, scale)


def kind_read(content: Mapping[str, Any], loss: Callable[..., Any] | None) -> Kind:
    """The kind from what `Kind.describe` returned; `loss` is the custom loss, or None if it is not known."""
    return kind_named(content["kind"]).from_json(content, loss)


def reported(metric: str, kind: str | None = None) -> bool:
    """True for a metric by name that all trials of a kind report, or those of some kind if it is None.

    >>> reported("r2"), reported("price_r2"), reported("f1"), reported("r2", "classification")
    (True, True, False, False)
    """
    kinds = KINDS.values() if kind is None else [kind_named(kind)]
    return any(each.reported(metric) for each in kinds)
