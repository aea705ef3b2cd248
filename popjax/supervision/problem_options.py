"""The options of a supervised problem (see `popjax.supervised`)."""

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from typing import Any

import numpy as np

from popjax.core.calls import name_of
from popjax.core.options import FREE, Options
from popjax.core.trees import digest_of_tree
from popjax.data.transforms.by_feature import Known
from popjax.data.transforms.filled import Filled
from popjax.data.transforms.named_transforms import transform_name
from popjax.data.transforms.transform import Transform
from popjax.supervision.weights import BALANCED


def class_weight_text(weights: Any) -> Any:
    """The weights of classes in run.json: "balanced", label -> weight, or None."""
    return {str(k): float(v) for k, v in weights.items()} if isinstance(weights, Mapping) else weights and BALANCED


def sample_weight_text(weights: Any) -> str | None:
    """The SHA-256 of the weights of rows; None without weights."""
    return None if weights is None else digest_of_tree(np.asarray(weights, float))


def metrics_text(metrics: Mapping[str, Any]) -> dict[str, str | None] | None:
    """Further metrics (see `further_metrics`) in run.json: name -> name of the function; None if there are none."""
    return {name: name_of(measure) for name, measure in metrics.items()} or None


def transform_text(transform: Any) -> Any:
    """An unfitted transform in run.json: its name; for a custom one or changed settings, its class and settings."""
    if isinstance(transform, Filled):
        return transform_text(transform.inner)
    if isinstance(transform, Known):
        return "none"
    if not isinstance(transform, Transform):
        return transform and {name: transform_text(entry) for name, entry in transform.items()}
    name = transform_name(transform)
    usual = type(transform)().to_json() if name else {}
    set_to = {field: value for field, value in transform.to_json().items() if value not in (None, usual.get(field))}
    if name and not set_to.keys() - {"seed"}:  # the seed is that of the split
        return name
    return {"called": name_of(type(transform))} | set_to


@dataclasses.dataclass(frozen=True, eq=False)
class ProblemOptions(Options):
    """The options of `popjax.supervised`. FREE ones are covered by the digests of data and split in run.json."""

    model: Any = field(default="mlp", metadata={"text": name_of})
    optimizer: Any = field(default=None, metadata={"text": name_of})
    loss: Any = field(default=None, metadata={"text": name_of})
    target: Any = field(default=None, metadata=FREE)
    validation: Any = field(default=0.1, metadata=FREE)
    test: Any = field(default=0.1, metadata=FREE)
    seed: int = field(default=0, metadata=FREE)
    schedule: Any = field(default=None, metadata={"text": name_of})
    missing: str | None = field(default=None, metadata=FREE)
    transform: Any = field(default=None, metadata={"text": transform_text})
    kind: str | None = field(default=None, metadata=FREE)
    groups: Any = field(default=None, metadata=FREE)
    shuffle: bool = field(default=True, metadata=FREE)
    class_weight: Any = field(default=None, metadata={"text": class_weight_text})
    sample_weight: Any = field(default=None, metadata={"text": sample_weight_text})
    metrics: Any = field(default=(), metadata={"text": metrics_text})
    rewrite: str = "fast"
