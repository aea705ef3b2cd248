"""Fitted transforms are checked_alone on a few rows before anything is trained. No JAX here."""

import json
from typing import Any

import numpy as np

from popjax.data.inputs import Inputs, mapped
from popjax.data.transforms.applying import Transforms, the_transform, transformed
from popjax.data.transforms.transform import Transform
from popjax.data.transforms.writing import read_transforms, written_transforms

CLOSE = 1e-5  # share of a column's spread by which two results may differ
ROUNDING = 8  # of its largest value, in units of the last place


def probed(transforms: Transforms, inputs: Inputs, own: Any) -> Inputs:
    """Rows (rows, ...) as a model receives them, by fitted transforms that are checked on them.

    Args:
        transforms: a Transform, or one for each entry of a dict, like the inputs.
        inputs: a few rows.
        own: the unfitted transforms, from which they are read back.

    Raises ValueError, in one line, for a transform that gives other numbers when it is called again, for a row alone,
    or once it is read back from what a run keeps of it.
    """
    found = mapped(checked_alone, inputs, transforms)
    back = read_transforms(json.loads(json.dumps(written_transforms(transforms))), own)
    mapped(compare, inputs, transforms, back, found)
    return found


def checked_alone(x: np.ndarray, transform: Transform) -> np.ndarray:
    """Rows (rows, ...) through a fitted transform, which must be the same together, again, and alone."""
    found = transformed(x, transform)
    allowed, what = tolerance(found), f"{the_transform(transform)}: __call__ gives other numbers"
    if not near(transformed(x, transform), found, allowed):
        raise ValueError(f"{what} when it is called again; draw what is random in fit")
    if not near(transformed(x[:1], transform), found[:1], allowed):
        raise ValueError(f"{what} for the first row alone than among others; transform each row by itself")
    return found


def compare(x: np.ndarray, transform: Transform, back: Transform, found: np.ndarray) -> None:
    """Raise ValueError unless a transform that is read back makes of rows (rows, ...) what it made of them before."""
    if not near(transformed(x, back), found, tolerance(found)):
        what = f"{the_transform(transform)}: __call__ gives other numbers once its fields are read back"
        raise ValueError(f"{what}; write a dataclass, with a field for all that fit finds")


def tolerance(found: np.ndarray) -> np.ndarray:
    """How far two results (rows, ...) may differ, in the shape of a row: by the spread of each column, and rounding."""
    values = found.astype(float)
    most = np.abs(values).max(0, initial=0)
    spread = values.max(0, initial=-np.inf) - values.min(0, initial=np.inf)
    unit = np.finfo(found.dtype).eps if found.dtype.kind == "f" else 0.0
    return np.asarray(CLOSE * np.where(spread > 0, spread, most) + ROUNDING * unit * most)


def near(one: np.ndarray, other: np.ndarray, allowed: np.ndarray) -> bool:
    """True if two results (rows, ...) have the same shape, and differ nowhere by more than is allowed."""
    return one.shape == other.shape and bool((np.abs(one.astype(float) - other.astype(float)) <= allowed).all())
