"""scikit-learn's built-in tables, read from its files, since importing it takes seconds. No JAX here."""

import gzip
import importlib.util
import io
from pathlib import Path
from typing import Any

import numpy as np

BUILT_IN = ("digits", "wine", "breast_cancer", "diabetes")
WINE = [
    "alcohol",
    "malic_acid",
    "ash",
    "alcalinity_of_ash",
    "magnesium",
    "total_phenols",
    "flavanoids",
    "nonflavanoid_phenols",
    "proanthocyanins",
    "color_intensity",
    "hue",
    "od280/od315_of_diluted_wines",
    "proline",
]
CELL = "radius,texture,perimeter,area,smoothness,compactness,concavity,concave points,symmetry,fractal dimension"
BREAST_CANCER = [
    *(f"mean {name}" for name in CELL.split(",")),
    *(f"{name} error" for name in CELL.split(",")),
    *(f"worst {name}" for name in CELL.split(",")),
]
DIABETES = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]
DIGITS = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]


def built_in_table(name: str) -> tuple[np.ndarray, np.ndarray, tuple[Any, ...] | None, tuple[str, ...]]:
    """Features (rows, columns), targets (rows,), classes and column names, as scikit-learn's loaders return them.

    >>> x, y, classes, columns = built_in_table("wine")
    >>> x.shape, classes
    ((178, 13), ('class_0', 'class_1', 'class_2'))
    """
    if name == "digits":
        cells = np.loadtxt(io.BytesIO(content("digits.csv.gz")), delimiter=",")
        return cells[:, :-1], cells[:, -1].astype(int), tuple(range(10)), tuple(DIGITS)
    if name == "diabetes":
        x = np.loadtxt(io.BytesIO(content("diabetes_data_raw.csv.gz")))
        return unit_length(x), np.loadtxt(io.BytesIO(content("diabetes_target.csv.gz"))), None, tuple(DIABETES)
    file, columns = ("wine_data.csv", WINE) if name == "wine" else ("breast_cancer.csv", BREAST_CANCER)
    first, _, rest = content(file).partition(b"\n")
    cells = np.loadtxt(io.BytesIO(rest), delimiter=",")
    return cells[:, :-1], cells[:, -1].astype(int), tuple(first.decode().strip().split(",")[2:]), tuple(columns)


def content(file: str) -> bytes:
    """Content of a file of scikit-learn, unpacked; raises ValueError if it is not found."""
    spec = importlib.util.find_spec("sklearn")
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    for place in places:
        path = Path(place, "datasets", "data", file)
        if path.exists():
            return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    raise ValueError(f"scikit-learn has no {file} here; give a CSV, or install scikit-learn 1.9")


def unit_length(x: np.ndarray) -> np.ndarray:
    """Columns scaled to mean 0 and length 1, in the order of operations of `sklearn.datasets.load_diabetes`."""
    return (x - x.mean(0)) / x.std(0) / len(x) ** 0.5
