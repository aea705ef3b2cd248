"""The images of the test rows that the winner gets wrong, for the report."""

import base64
import struct
import zlib
from typing import Any

import numpy as np

from popjax.supervision.predictor import Predictor
from popjax.supervision.problem import Supervised

MOST = 24  # images that are shown
LARGEST = 128  # pixels of a side, from which on they are not kept with the run
COLOURS = {1: 0, 3: 2}  # channels -> the colour type of PNG


def mistakes(task: Supervised, winner: Predictor) -> dict[str, Any]:
    """`mistakes`, an entry of summary.json: the test rows that the winner gets wrong, those it is surest of first.

    `count`, the number of them, and `images`: of each its `row` among the test rows from 0, what it `is`, what the
    winner `says`, its chance by the winner (`sure`), and the picture as a PNG file in base64 (`png`), from the
    least to the greatest number of all test images. Empty for what is no class or no image of one or three channels,
    and without test rows.
    """
    data, rows = task.dataset, task.split.test
    images = isinstance(data.x, np.ndarray) and data.x.ndim == 4
    if not images or data.classes is None or not len(rows):
        return {}
    if data.x.shape[3] not in COLOURS or max(data.x.shape[1:3]) > LARGEST:
        return {}
    x, y, classes = data.x[rows], data.y[rows], data.classes
    chances = winner.mean_of(x)
    said = chances.argmax(1)
    sure = chances[np.arange(len(said)), said]
    wrong = np.flatnonzero(said != y)
    low, high = float(x.min()), float(x.max())
    shown = lambda image: np.round(255 * (image - low) / max(high - low, 1e-30)).astype(np.uint8)
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


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of pixels uint8 (height, width, channels), of one channel or three (ISO/IEC 15948).

    >>> png(np.zeros((2, 3, 1), np.uint8))[:4]
    b'\\x89PNG'
    """
    height, width, channels = pixels.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], 1)  # 0: no filter
    header = struct.pack(">IIBBBBB", width, height, 8, COLOURS[channels], 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    chunk = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in parts)
