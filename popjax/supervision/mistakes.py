"""The images of the test rows that the winner gets wrong, for the report."""

import base64
from typing import Any

import numpy as np

from popjax.core.png import KINDS, png
from popjax.store.results import Results
from popjax.supervision.problem import Supervised

MOST = 24  # images that are shown
LARGEST = 128  # pixels of a side, from which on they are not kept with the run


def mistakes(results: Results) -> dict[str, Any]:
    """`mistakes`, an entry of summary.json: the test rows that the winner gets wrong, those it is surest of first.

    `count`, the number of them, and `images`: of each its `row` among the test rows from 0, what it `is`, what the
    winner `says`, its chance by the winner (`sure`), and the picture as a PNG file in base64 (`png`), from the
    least to the greatest number of all test images. Empty for what is no class or no image of one or three channels,
    and without test rows.
    """
    task: Supervised = results.task
    best = results.best
    data, rows = task.dataset, task.split.test
    images = isinstance(data.x, np.ndarray) and data.x.ndim == 4
    if not images or best is None or data.classes is None or not len(rows):
        return {}
    if data.x.shape[3] not in KINDS or max(data.x.shape[1:3]) > LARGEST:
        return {}
    x, y = data.x[rows], data.y[rows]
    chances = results.predictor(best.trial).predict_proba(x)
    said = chances.argmax(1)
    sure = chances[np.arange(len(said)), said]
    wrong = np.flatnonzero(said != y)
    low, high = float(x.min()), float(x.max())
    shown = lambda image: np.round(255 * (image - low) / max(high - low, 1e-30)).astype(np.uint8)
    classes = data.classes
    kept = [
        {
            "row": int(row),
            "is": str(classes[y[row]]),
            "says": str(classes[said[row]]),
            "sure": round(float(sure[row]), 4),
            "png": base64.b64encode(png(shown(x[row]))).decode(),
        }
        for row in wrong[np.argsort(-sure[wrong], kind="stable")][:MOST]
    ]
    return {"mistakes": {"count": len(wrong), "images": kept}}
