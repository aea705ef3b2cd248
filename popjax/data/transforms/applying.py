"""Transforms of a model's inputs: chosen, fitted, applied, written and read. No JAX here."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from popjax.core.text import lookup, plural
from popjax.data.inputs import Inputs, mapped
from popjax.data.transforms.affine import Affine
from popjax.data.transforms.filled import Filled, filling
from popjax.data.transforms.known import Known
from popjax.data.transforms.named_transforms import TRANSFORMS, transform_name, transform_of
from popjax.data.transforms.transform import Columns, Transform
from popjax.data.transforms.unchanged import Unchanged

type Transforms = Any  # Transform | dict[str, Transform], like the inputs


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
        return given in TRANSFORMS and TRANSFORMS[given].missing
    return isinstance(given, Transform) and given.missing


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
    return mapped(lambda x, transform: transform.fit(as_given(transform, x), columns), inputs, transforms)


def shaped(transforms: Transforms, inputs: Inputs) -> Inputs:
    """Rows of zeros as a model receives them; only their shapes and dtypes have a meaning."""
    with np.errstate(all="ignore"):
        return mapped(lambda x, transform: transform(as_given(transform, x)), inputs, transforms)


def applied(transforms: Transforms, inputs: Inputs) -> Inputs:
    """Rows as a model receives them; raises ValueError for another number of rows, or for non-finite numbers."""
    return mapped(transformed, inputs, transforms)


def transformed(x: np.ndarray, transform: Transform) -> np.ndarray:
    """Rows (rows, ...) through a fitted transform, checked; raises ValueError."""
    found = transform(as_given(transform, x))
    if not isinstance(found, np.ndarray) or found.shape[:1] != x.shape[:1] or found.dtype.kind not in "biuf":
        shape = f"{found.dtype}{list(found.shape)}" if isinstance(found, np.ndarray) else f"a {type(found).__name__}"
        what = f"the transform {type(transform).__name__} gives {shape} for {plural(len(x), 'row')}"
        raise ValueError(f"{what}; give an array of numbers with as many rows")
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        row = x[np.argmin(np.isfinite(found).reshape(len(found), -1).all(1))].tolist()
        what = f"the transform {type(transform).__name__} gives no finite number for the row {row!r:.60}"
        raise ValueError(f"{what}; give one")
    return found


def as_given(transform: Transform, x: np.ndarray) -> np.ndarray:
    """Rows in the dtype that a transform receives: float64, but for the identity and codes their own."""
    return x if isinstance(transform, Unchanged) else x.astype(float, copy=False)


def written_transforms(transforms: Transforms) -> Any:
    """Fitted transforms as JSON values, for `read_transforms`; raises ValueError for a field that JSON cannot hold."""
    if isinstance(transforms, Mapping):
        return {"entries": {name: written_transforms(one) for name, one in transforms.items()}}
    if isinstance(transforms, Known):
        return {"codes": transforms.to_json()}
    if isinstance(transforms, Filled):
        return written_transforms(transforms.inner) | {"filled": transforms.to_json()}
    fields = transforms.to_json()
    for field, value in fields.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            what = f"the field {field!r} of the transform {type(transforms).__name__} is {value!r:.40}"
            raise ValueError(f"{what}; keep finite numbers, texts, lists of them and arrays of numbers") from None
    return {"name": transform_name(transforms), "called": type(transforms).__name__, "fields": fields}


def read_transforms(content: Mapping[str, Any], own: Any = None) -> Transforms:
    """The transforms that `written_transforms` wrote.

    Args:
        own: the user-defined transforms, as they were passed for training.

    Raises ValueError for a user-defined transform that is not passed.
    """
    if "entries" not in content:
        return one_read(content, own)
    given = own if isinstance(own, Mapping) else {}
    return {name: one_read(one, given.get(name, None if given else own)) for name, one in content["entries"].items()}


def one_read(content: Mapping[str, Any], own: Any) -> Transform:
    """Transform from its name and its fields; raises ValueError."""
    if "filled" in content:
        inner = one_read({name: value for name, value in content.items() if name != "filled"}, own)
        known = content["filled"]
        lacking, trained = (np.asarray(known[name], bool) for name in ("lacking", "trained"))
        return Filled(inner, lacking, np.asarray(known["median"], float), trained)
    if "codes" in content:
        return Known.from_json(content["codes"])
    if content["name"] is not None:
        return lookup(TRANSFORMS, "transform", content["name"]).from_json(content["fields"])
    if own is None:
        raise ValueError(f"the winner has a transform of your own, {content['called']}; pass it: transform=...")
    if isinstance(own, Mapping):
        raise ValueError("the winner has one transform for all; give one: transform=...")
    kind = type(transform_of(own))
    if kind.__name__ != content["called"]:
        raise ValueError(f"the winner's transform is {content['called']}, not {kind.__name__}; give that one")
    return kind.from_json(content["fields"])
