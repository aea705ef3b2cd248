"""Transforms by name. To add one, write a file beside this one and a line in TRANSFORMS."""

from typing import Any

from popjax.core.faults import calling
from popjax.core.text import registered
from popjax.data.transforms.by_feature import Global, Robust, Standardize, Unchanged
from popjax.data.transforms.entering import check_class, check_object, seeded_by
from popjax.data.transforms.quantile import Quantile
from popjax.data.transforms.transform import Transform

TRANSFORMS: dict[str, type[Transform]] = {
    "standardize": Standardize,
    "global": Global,
    "none": Unchanged,
    "robust": Robust,
    "quantile": Quantile,
}
BUILT_IN = frozenset((Global, Quantile, Robust, Standardize, Unchanged))


def transform_of(given: Any, seed: int = 0) -> Transform:
    """Unfitted transform by its name, or the given one, with the seed of the split; raises ValueError for others.

    One of popjax's that is given keeps its own seed.
    """
    if isinstance(given, str):
        kind = registered(TRANSFORMS, "transform", given, Transform)
        check_class(kind)
        with calling(f"the transform {kind.__name__}, made without arguments,"):
            made = kind()
        return seeded_by(made, seed)
    if isinstance(given, Transform):
        check_class(type(given))
        check_object(given)
        return given if type(given) in BUILT_IN else seeded_by(given, seed)
    what = f"{given.__name__} itself" if isinstance(given, type) else f"a {type(given).__name__}"
    raise ValueError(f"the transform is {what}; give a popjax.Transform, or one of {', '.join(TRANSFORMS)}")


def transform_name(transform: Transform) -> str | None:
    """Name of a transform; None for a user-defined one."""
    return next((name for name, kind in TRANSFORMS.items() if type(transform) is kind), None)
