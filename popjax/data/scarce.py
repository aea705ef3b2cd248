"""Warnings about the training rows: too few of a class, or repeated in other parts; a line each. No JAX here."""

import hashlib
from collections.abc import Iterator

import numpy as np

from popjax.data.columns import some
from popjax.data.dataset import Dataset
from popjax.data.inputs import entries
from popjax.data.splits import Split, Splitting

LEAST = 2  # training rows of a class, for a model to learn it
PART = 1024  # rows that are compared at once


def scarce(dataset: Dataset, split: Split) -> str:
    """Line for the classes or labels with fewer than two training rows; empty if there are none."""
    trained = dataset.y[split.train[0]]
    if dataset.labelled:
        few = [name for name, count in zip(dataset.outputs, trained.sum(0), strict=True) if count < LEAST]
        what = f"fewer than {LEAST} rows that train have the label {some(few)}"
        return f"{what}: give more, or leave it out" if few else ""
    if dataset.classes is None:
        return ""
    counts = np.bincount(trained, minlength=len(dataset.classes))
    few = [label for label, count in zip(dataset.classes, counts, strict=True) if count < LEAST]
    return f"fewer than {LEAST} rows train of the class {some(few)}: give more, or leave such rows out" if few else ""


def repeated(dataset: Dataset, splitting: Splitting, split: Split) -> Iterator[str]:
    """A line for each part given by its rows of which some are also training rows, cell by cell."""
    for name, rows in (("validation", split.validation[0]), ("test", split.test)):
        if np.ndim(getattr(splitting, name)):
            trained = set(digests(dataset, split.train[0]))
            both = sum(row in trained for row in digests(dataset, rows))
            if both:
                what = f"{both} of the {len(rows)} {name} rows also train"
                yield f"{what}, so they score too well; leave them out of either"


def digests(dataset: Dataset, rows: np.ndarray) -> Iterator[bytes]:
    """A digest of each row with its target, equal if the cells are; of large images the rows themselves take memory."""
    arrays = [*entries(dataset.x), dataset.y]
    for begin in range(0, len(rows), PART):
        part = rows[begin : begin + PART]
        table = np.column_stack([array[part].reshape(len(part), -1) for array in arrays]).astype(float)
        table += 0.0  # -0.0 has other bytes than 0.0
        yield from (hashlib.blake2b(row, digest_size=16).digest() for row in table)
