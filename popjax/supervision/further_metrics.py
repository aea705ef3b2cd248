"""The further metrics that a task is asked for, by name or as functions."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from popjax.core.calls import check_called
from popjax.core.text import meant
from popjax.supervision.kinds.named_kinds import KINDS, reported
from popjax.supervision.kinds.own import Own
from popjax.supervision.kinds.regression import OF_OUTPUTS, Regression
from popjax.supervision.metrics import of_kind


def metrics_of(metrics: Any, kind: str) -> dict[str, Callable[..., Any]]:
    """Name -> function, from names, or name -> function or name; raises ValueError for anything else."""
    if isinstance(metrics, str) or not isinstance(metrics, Mapping | Iterable):
        raise ValueError(f"metrics={metrics!r}: give a list of names, or a dict of functions (outputs, targets)")
    given = metrics if isinstance(metrics, Mapping) else dict(zip(metrics, metrics, strict=True))
    return {metric_name(name, kind): function(name, metric, kind) for name, metric in given.items()}


def metric_name(name: Any, kind: str) -> str:
    """The name; raises ValueError if it is no identifier, or the name of a metric that is reported anyway."""
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"metrics: {name!r} is not a name; give one such as 'f1'")
    if kind == Regression.name and name.endswith(OF_OUTPUTS):
        what = f"val_{name} is reported of an output, or ends as if it were"
        raise ValueError(f"metrics: {what}; leave {name!r} out, or call it otherwise")
    others = kind != Own.name and any(name in each.reports for each in KINDS.values())
    if reported(name, kind) or others:
        raise ValueError(f"metrics: val_{name} is reported, or is of the other kind of problem; leave {name!r} out")
    return name


def function(name: str, metric: Any, kind: str) -> Callable[..., Any]:
    """The function of a metric given by name or as a function; raises ValueError for others."""
    if isinstance(metric, str):
        if not of_kind(kind):
            what = "a custom loss" if kind == Own.name else f"targets of the kind {kind}"
            raise ValueError(f"metrics: {metric!r}: no named metric works with {what}; give name -> function")
        named, always = of_kind(kind), ("loss", *KINDS[kind].reports)
        if metric not in named:
            near = meant(metric, (*named, *always))
            what = f"unknown metric of a {kind} {metric!r}; there are {', '.join(named)}"
            raise ValueError(f"{what}, and always {', '.join(always)}{near}")
        metric = named[metric]
    if not hasattr(metric, "of_errors"):
        check_called(f"metrics: {name!r}", metric, "outputs", "targets")
    function: Callable[..., Any] = metric
    return function
