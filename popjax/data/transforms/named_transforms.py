"""The transforms that have a name. A new one is a file beside this one, and a line in TRANSFORMS."""

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
    """A transform that is not fitted, by its name, which draws from this seed, or as it is; raises ValueError."""
    if isinstance(given, str):
        return lookup(TRANSFORMS, "transform", given)().seeded(seed)
    if isinstance(given, Transform):
        return given
    what = f"{given.__name__} itself" if isinstance(given, type) else f"a {type(given).__name__}"
    raise ValueError(f"the transform is {what}; give a popjax.Transform, or one of {', '.join(TRANSFORMS)}")


def transform_name(transform: Transform) -> str | None:
    """The name of a transform; None of one of one's own."""
    return next((name for name, kind in TRANSFORMS.items() if type(transform) is kind), None)
