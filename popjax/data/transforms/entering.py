"""A user's transform is checked where it enters, before it is fitted. No JAX here."""

import dataclasses
import functools
import inspect
from typing import Any

from popjax.core.contracts import check_contract, check_written, overrides
from popjax.core.faults import calling
from popjax.core.text import short
from popjax.data.transforms.transform import Transform


def check_class(kind: type[Transform]) -> None:
    """Raise ValueError for a class that lacks a method of a Transform, misspells one, or has fields in no dataclass."""
    what = f"the transform {kind.__name__}"
    check_contract(what, kind, Transform)
    check_written(what, kind, Transform, "fit", "__call__")
    for parent in kind.__mro__[: kind.__mro__.index(Transform)]:
        fields = inspect.get_annotations(parent).keys() - vars(Transform).keys()
        if fields and "__dataclass_params__" not in vars(parent) and not overrides(kind, Transform, "from_json"):
            remedy = "write @dataclasses.dataclass(frozen=True, eq=False) above it"
            raise ValueError(f"{what}: the class {parent.__name__} is no dataclass, and a run keeps fields; {remedy}")


def check_object(transform: Transform) -> None:
    """Raise ValueError for a transform that holds more than its fields, which a run would not keep."""
    fields = {field.name for field in dataclasses.fields(transform)}
    kept = functools.cached_property  # of what follows from the fields
    lost = {name for name in vars(transform).keys() - fields if not isinstance(getattr(type(transform), name, 0), kept)}
    if lost and not overrides(type(transform), Transform, "from_json"):
        what = f"the transform {type(transform).__name__}: {min(lost)} is no field"
        raise ValueError(f"{what}, and a run would not keep it; write a dataclass, with a field for it")


def seeded_by(transform: Transform, seed: int) -> Transform:
    """The transform that draws by a seed; raises ValueError if `seeded` returns anything else."""
    what = f"the transform {type(transform).__name__}: seeded"
    with calling(what):
        seeded: Any = transform.seeded(seed)
    if type(seeded) is not type(transform):
        raise ValueError(f"{what} returned {short(seeded)}; return one of the same class")
    return seeded
