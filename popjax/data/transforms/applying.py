"""Transforms of a model's inputs: chosen, fitted and applied. No JAX here."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from popjax.core.faults import calling
from popjax.core.text import lookup, plural, short
from popjax.data.checks import KEEP
from popjax.data.inputs import Inputs, mapped
from popjax.data.transforms.by_feature import Affine, Known, Unchanged
from popjax.data.transforms.filled import Filled, filling
from popjax.data.transforms.named_transforms import BUILT_IN, TRANSFORMS, transform_name, transform_of
from popjax.data.transforms.transform import Columns, Transform

type Transforms = Any  # Transform | dict[str, Transform], like the inputs

PROVEN = BUILT_IN | {Known}


def transforms_of(given: Any, inputs: Inputs, seed: int, fill: bool = False) -> Transforms:
    """Unfitted transform of an array, or of each entry of a dict; raises ValueError for an invalid one.

    Args:
        given: a name or a Transform, in a dict of inputs for all entries that are not integers; entry -> one of these;
            or None: "global" for images and sequences, else "standardize".
        inputs: arrays (rows, ...).
        seed: seed of the named transforms that draw random numbers.
        fill: True to fill in missing cells first (see `Filled`).
    """
    if fill:
        return mapped(lambda x, one: filling(one, x), inputs, transforms_of(given, inputs, seed))
    if not isinstance(inputs, Mapping):
        if isinstance(given, Mapping):
            raise ValueError("transform: a dict is for rows that are a dict of arrays; give a name or one transform")
        return transform_of(usual(inputs) if given is None else given, seed)
    named = given if isinstance(given, Mapping) else {}
    for name in named:
        lookup(inputs, "entry of transform", name)
    rest = None if isinstance(given, Mapping) else given

    def one_of(name: str, x: np.ndarray) -> Transform:
        whole = "none" if x.dtype.kind in "biu" else rest
        choice = named.get(name, whole)
        return transform_of(usual(x) if choice is None else choice, seed)

    return {name: one_of(name, x) for name, x in inputs.items()}


def unchanged(given: Any) -> bool:
    """True if the identity transform was asked for."""
    return given == "none" or type(given) is Unchanged


def accepts_missing(given: Any) -> bool:
    """True if a transform that accepts missing cells was asked for."""
    if isinstance(given, Mapping):
        return any(map(accepts_missing, given.values()))
    if isinstance(given, str):
        return given in TRANSFORMS and getattr(TRANSFORMS[given], "missing", False)
    return isinstance(given, Transform) and given.missing


def missing_for(transform: Any, given: str | None, usual: str = "error") -> str:
    """What to do with missing cells: as `given`, else the model's default; kept for a transform that takes them."""
    return KEEP if given in (None, "error") and accepts_missing(transform) else given or usual


def in_programs(transform: Transform) -> bool:
    """True if compiled programs apply it themselves, fold by fold: a named affine transform, or the identity."""
    return isinstance(transform, Affine | Unchanged) and transform_name(transform) is not None


def usual(x: np.ndarray) -> str:
    """Name of the default transform of features (rows, ...)."""
    return "global" if x.ndim > 2 else "standardize"


def looking(transforms: Transforms, inputs: Inputs, rows: np.ndarray) -> Transforms:
    """The transforms, to be fitted in folds of `rows`; what fills in missing cells notes which features lack any."""
    return mapped(lambda x, one: one.looking(x[rows]) if isinstance(one, Filled) else one, inputs, transforms)


def fitted(transforms: Transforms, inputs: Inputs, columns: Columns = ()) -> Transforms:
    """The transforms fitted to training rows."""
    return mapped(lambda x, transform: fitted_to(x, transform, columns), inputs, transforms)


def fitted_to(x: np.ndarray, transform: Transform, columns: Columns) -> Transform:
    """A transform fitted to rows (rows, ...); raises ValueError if `fit` returns anything else."""
    inner = inner_of(transform)
    before, kind = class_attributes(inner), type(inner).__name__
    with calling(f"{the_transform(transform)}: fit"):
        fitted: Any = transform.fit(as_given(transform, x), columns)
    if changed := [name for name, value in class_attributes(inner).items() if before.get(name) is not value]:
        what = f"{the_transform(transform)}: fit writes the class's {changed[0]}"
        raise ValueError(f"{what}, which a run does not keep; return what it finds in fields")
    inner = inner_of(fitted)
    if not isinstance(inner, Transform):
        raise ValueError(f"{the_transform(transform)}: fit returned {short(inner)}; return the fitted transform")
    if type(inner).__name__ != kind and transform_name(inner) is None:
        what = f"fit returned a {type(inner).__name__}"
        raise ValueError(f"{the_transform(transform)}: {what}; return one of the same class, which reads it back")
    return fitted


def shaped(transforms: Transforms, inputs: Inputs) -> Inputs:
    """Rows of zeros as a model receives them; only their shapes and dtypes have a meaning."""
    with np.errstate(all="ignore"):
        return mapped(result, inputs, transforms)


def applied(transforms: Transforms, inputs: Inputs) -> Inputs:
    """Rows as a model receives them; raises ValueError for another number of rows, or for non-finite numbers."""
    return mapped(transformed, inputs, transforms)


def transformed(x: np.ndarray, transform: Transform) -> np.ndarray:
    """Rows (rows, ...) through a fitted transform, checked; raises ValueError."""
    values = result(x, transform)
    if isinstance(values, np.ma.MaskedArray):
        what = f"{the_transform(transform)}: __call__ gives a masked array"
        raise ValueError(f"{what}, whose mask would be lost; give .filled(value), and missing = True for missing cells")
    if not isinstance(values, np.ndarray) or values.shape[:1] != x.shape[:1] or values.dtype.kind not in "biuf":
        shape = (
            f"{values.dtype}{list(values.shape)}" if isinstance(values, np.ndarray) else f"a {type(values).__name__}"
        )
        what = f"{the_transform(transform)}: __call__ gives {shape} for {plural(len(x), 'row')}"
        raise ValueError(f"{what}; give an array of numbers with as many rows")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        row = x[np.argmin(np.isfinite(values).reshape(len(values), -1).all(1))].tolist()
        what = f"{the_transform(transform)}: __call__ gives no finite number for the row {short(row, 60)}"
        raise ValueError(f"{what}; give one")
    return values


def result(x: np.ndarray, transform: Transform) -> Any:
    """What a fitted transform makes of rows (rows, ...)."""
    with calling(f"{the_transform(transform)}: __call__"):
        return transform(as_given(transform, x))


def as_given(transform: Transform, x: np.ndarray) -> np.ndarray:
    """Rows in the dtype that a transform receives: float64, but for the identity and codes their own.

    Those of a user's are a copy, into which it may write.
    """
    copy = not proven(transform)
    return x.astype(x.dtype if isinstance(transform, Unchanged) else float, copy=copy)


def proven(transform: Transform) -> bool:
    """True for a transform of popjax's, which its tests prove row by row, so that no search tries it."""
    return type(transform) in PROVEN or (isinstance(transform, Filled) and proven(transform.inner))


def class_attributes(transform: Transform) -> dict[str, Any]:
    """The attributes of a user's class and of those that it extends, by name."""
    parents = type(transform).__mro__[: type(transform).__mro__.index(Transform)]
    return (
        {} if proven(transform) else {name: value for parent in parents[::-1] for name, value in vars(parent).items()}
    )


def the_transform(transform: Transform) -> str:
    """A transform in the words of an error message."""
    return f"the transform {type(inner_of(transform)).__name__}"


def inner_of(transform: Any) -> Any:
    """The transform itself, without what fills in missing cells before it."""
    return transform.inner if isinstance(transform, Filled) else transform
