"""Transforms by name. To add one, write a file beside this one and a line in TRANSFORMS."""

import inspect
from collections.abc import Mapping
from typing import Any

from popjax.core.contracts import check_contract, check_written, overrides
from popjax.core.faults import calling
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
        kind = lookup(TRANSFORMS, "transform", given)
        check_transform(kind)
        with calling(f"the transform {kind.__name__}, made without arguments,"):
            return kind().seeded(seed)
    if isinstance(given, Transform):
        check_transform(type(given))
        return given
    what = f"{given.__name__} itself" if isinstance(given, type) else f"a {type(given).__name__}"
    raise ValueError(f"the transform is {what}; give a popjax.Transform, or one of {', '.join(TRANSFORMS)}")


def check_transform(kind: type[Transform]) -> None:
    """Raise ValueError for a class that lacks a method of a Transform, or misspells one."""
    what = f"the transform {kind.__name__}"
    check_contract(what, kind, Transform)
    check_written(what, kind, Transform, "fit", "__call__")
    for parent in kind.__mro__[: kind.__mro__.index(Transform)]:
        fields = inspect.get_annotations(parent).keys() - vars(Transform).keys()
        plain = "__dataclass_params__" not in vars(parent) and (fields or "__init__" in vars(parent))
        if plain and not overrides(kind, Transform, "from_json"):
            remedy = "write @dataclasses.dataclass(frozen=True, eq=False) above it"
            raise ValueError(f"{what}: the class {parent.__name__} is no dataclass, and a run keeps fields; {remedy}")


def transform_name(transform: Transform) -> str | None:
    """Name of a transform; None for a user-defined one."""
    return next((name for name, kind in TRANSFORMS.items() if type(transform) is kind), None)
