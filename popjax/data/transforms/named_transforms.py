"""Transforms by name. To add one, write a file beside this one and a line in TRANSFORMS."""

from collections.abc import Mapping
from typing import Any

from popjax.core.text import lookup
from popjax.data.transforms.affine import Global, Standardize
from popjax.data.transforms.quantile import Quantile
from popjax.data.transforms.robust import Robust
from popjax.data.transforms.transform import Transform
from popjax.data.transforms.unchanged import Unchanged

TRANSFORMS: Mapping[str, type[Transform]] = {
    "standardize": Standardize,
    "global": Global,
    "none": Unchanged,
    "robust": Robust,
    "quantile": Quantile,
}


def transform_of(given: Any, seed: int = 0) -> Transform:
    """Unfitted transform by its name, with this seed, or the given Transform; raises ValueError for anything else."""
    if isinstance(given, str):
        return lookup(TRANSFORMS, "transform", given)().seeded(seed)
    if isinstance(given, Transform):
        return given
    what = f"{given.__name__} itself" if isinstance(given, type) else f"a {type(given).__name__}"
    raise ValueError(f"the transform is {what}; give a popjax.Transform, or one of {', '.join(TRANSFORMS)}")


def transform_name(transform: Transform) -> str | None:
    """Name of a transform; None for a user-defined one."""
    return next((name for name, kind in TRANSFORMS.items() if type(transform) is kind), None)
