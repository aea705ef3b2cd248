"""Fitted transforms as JSON values, and back. No JAX here."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from popjax.core.faults import calling
from popjax.core.text import lookup, short
from popjax.data.transforms.applying import Transforms, the_transform
from popjax.data.transforms.by_feature import Known
from popjax.data.transforms.filled import Filled
from popjax.data.transforms.named_transforms import TRANSFORMS, transform_name, transform_of
from popjax.data.transforms.transform import Transform


def written_transforms(transforms: Transforms) -> Any:
    """Fitted transforms as JSON values, for `read_transforms`; raises ValueError for a field that JSON cannot hold."""
    if isinstance(transforms, Mapping):
        return {"entries": {name: written_transforms(transform) for name, transform in transforms.items()}}
    if isinstance(transforms, Known):
        return {"codes": transforms.to_json()}
    if isinstance(transforms, Filled):
        return written_transforms(transforms.inner) | {"filled": transforms.to_json()}
    fields = json_fields(transforms)
    for field, value in fields.items():
        try:
            if json.loads(json.dumps(value, allow_nan=False)) != value:
                raise ValueError  # such as keys that become texts
        except (TypeError, ValueError):
            what = f"the field {field!r} of {the_transform(transforms)} is {short(value)}"
            raise ValueError(f"{what}; keep finite numbers, texts, lists of them and arrays of numbers") from None
    return {"name": transform_name(transforms), "called": type(transforms).__name__, "fields": fields}


def json_fields(transform: Transform) -> dict[str, Any]:
    """The fields of a transform as JSON values; raises ValueError if `to_json` gives anything else."""
    what = f"{the_transform(transform)}: to_json"
    with calling(what):
        fields: Any = transform.to_json()
    if not isinstance(fields, dict) or not all(isinstance(name, str) for name in fields):
        raise ValueError(f"{what} returned {short(fields)}; return a dict with texts as keys")
    return fields


def read_transforms(content: Mapping[str, Any], own: Any = None) -> Transforms:
    """The transforms that `written_transforms` wrote.

    Args:
        own: the user-defined transforms, as they were passed for training.

    Raises ValueError for a user-defined transform that is not passed.
    """
    if "entries" not in content:
        return one_read(content, own)
    own_entries = own if isinstance(own, Mapping) else {}
    return {
        name: one_read(entry, own_entries.get(name, None if own_entries else own))
        for name, entry in content["entries"].items()
    }


def one_read(content: Mapping[str, Any], own: Any) -> Transform:
    """Transform from its name and its fields; raises ValueError."""
    if "filled" in content:
        own = own.inner if isinstance(own, Filled) else own
        inner = one_read({name: value for name, value in content.items() if name != "filled"}, own)
        known = content["filled"]
        lacking, trained = (np.asarray(known[name], bool) for name in ("lacking", "trained"))
        return Filled(inner, lacking, np.asarray(known["median"], float), trained)
    if "codes" in content:
        return Known.from_json(content["codes"])
    if content["name"] is not None:
        return from_fields(lookup(TRANSFORMS, "transform", content["name"]), content["fields"])
    if own is None:
        raise ValueError(f"the winner has a transform of your own, {content['called']}; pass it: transform=...")
    if isinstance(own, Mapping):
        raise ValueError("the winner has one transform for all; give one: transform=...")
    kind = type(transform_of(own))
    if kind.__name__ != content["called"]:
        raise ValueError(f"the winner's transform is {content['called']}, not {kind.__name__}; give that one")
    return from_fields(kind, content["fields"])


def from_fields(kind: type[Transform], fields: Mapping[str, Any]) -> Transform:
    """A fitted transform from its fields as JSON values; raises ValueError."""
    with calling(f"the transform {kind.__name__}: from_json"):
        return kind.from_json(fields)
