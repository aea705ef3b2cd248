"""Fitted transforms of a user's are tried on a few rows before anything is trained. No JAX here."""

import json
from typing import Any

import numpy as np

from popjax.data.inputs import Inputs, mapped
from popjax.data.transforms.applying import Transforms, proven, the_transform, transformed
from popjax.data.transforms.transform import Transform
from popjax.data.transforms.writing import read_transforms, written_transforms

CLOSE = 1e-5  # share of a column's spread by which two results may differ
ROUNDING = 1e-9  # and share of the largest number


def probed(transforms: Transforms, inputs: Inputs, own: Any) -> Inputs:
    """Rows (rows, ...) as a model receives them, by fitted transforms that are checked on them.

    Args:
        transforms: a Transform, or one for each entry of a dict, like the inputs.
        inputs: a few rows.
        own: the unfitted transforms, from which they are read back.

    Raises ValueError, in one line, for a transform that gives other numbers when it is called again, for some of the
    rows, or once it is read back from what a run keeps of it.
    """
    outputs = mapped(in_company, inputs, transforms)
    back = read_transforms(json.loads(json.dumps(written_transforms(transforms))), own)
    mapped(read_back, inputs, transforms, back, outputs)
    return outputs


def check_still(transforms: Transforms, inputs: Inputs, outputs: Inputs) -> None:
    """Raise ValueError for transforms that give other numbers than the `outputs` before others were fitted."""

    def check(x: np.ndarray, transform: Transform, before: np.ndarray) -> None:
        if not proven(transform) and not near(transformed(x, transform), before, tolerance(x, before)):
            what = f"{the_transform(transform)}: __call__ gives other numbers once another fold is fitted"
            raise ValueError(f"{what}; keep what fit finds in the fields of what it returns")

    mapped(check, inputs, transforms, outputs)


def in_company(x: np.ndarray, transform: Transform) -> np.ndarray:
    """Rows (rows, ...) through a fitted transform, which must give the same for them again, alone, and in company."""
    outputs = transformed(x, transform)
    if proven(transform) or len(x) == 0:
        return outputs
    allowed, what = tolerance(x, outputs), f"{the_transform(transform)}: __call__ gives other numbers"
    if not near(transformed(x, transform), outputs, allowed):
        raise ValueError(f"{what} when it is called again; draw what is random in fit")
    every = np.arange(len(x))
    companies = {
        "the first row alone": every[:1],
        "the last row alone": every[-1:],
        "the first half of the rows": every[: -(-len(x) // 2)],
        "the rows in reverse order": every[::-1],
        "the rows three times": np.tile(every, 3),
    }
    for words, rows in companies.items():
        if not near(transformed(x[rows], transform), outputs[rows], allowed):
            raise ValueError(f"{what} for {words} than for all; transform each row by itself")
    return outputs


def read_back(x: np.ndarray, transform: Transform, back: Transform, outputs: np.ndarray) -> None:
    """Raise ValueError unless a transform that is read back makes of rows (rows, ...) what it made of them before.

    Its first call is for one row, so that nothing can be remembered of others.
    """
    if proven(transform):
        return
    for rows in (slice(0, 1), slice(None)):
        if not near(transformed(x[rows], back), outputs[rows], tolerance(x, outputs)):
            what = f"{the_transform(transform)}: __call__ gives other numbers once its fields are read back"
            raise ValueError(f"{what}; keep all that fit finds as numbers, texts or arrays in a dataclass's fields")


def tolerance(x: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """How far two results (rows, ...) may differ, in the shape of a row: by the spread of each column, and rounding."""
    values = outputs.astype(float)
    spread = values.max(0, initial=-np.inf) - values.min(0, initial=np.inf)
    sizes = [np.abs(np.nan_to_num(each.astype(float))).max(initial=0) for each in (x, outputs)]
    unit = np.finfo(outputs.dtype).eps * 8 if outputs.dtype.kind == "f" else 0.0
    return np.asarray(CLOSE * np.maximum(spread, 0) + max(ROUNDING, unit) * max(sizes))


def near(one: np.ndarray, other: np.ndarray, allowed: np.ndarray) -> bool:
    """True if two results (rows, ...) have the same shape, and differ nowhere by more than is allowed."""
    return one.shape == other.shape and bool((np.abs(one.astype(float) - other.astype(float)) <= allowed).all())
