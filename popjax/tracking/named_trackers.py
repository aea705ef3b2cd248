"""Trackers by name, as on a command line: `--track tensorboard`."""

from collections.abc import Callable
from typing import Any

from popjax.core.faults import calling
from popjax.core.text import lookup
from popjax.tracking.mlflow_run import mlflow
from popjax.tracking.tensorboard_events import tensorboard
from popjax.tracking.tracker import Tracker
from popjax.tracking.trackio_run import trackio
from popjax.tracking.wandb_run import wandb

TRACKERS: dict[str, Callable[..., Tracker]] = {
    "tensorboard": tensorboard,
    "mlflow": mlflow,
    "wandb": wandb,
    "trackio": trackio,
}


def tracker_of(name: str, top: int = 0) -> Tracker:
    """The tracker of a name with its default settings, which writes the curves of the `top` best trials.

    Raises ValueError for an unknown name, or if its package is not installed.
    """
    make = lookup(TRACKERS, "tracker", name)
    with calling(f"the tracker {name}"):
        tracker: Any = make(top=top)
    if not isinstance(tracker, Tracker):
        raise ValueError(f"the tracker {name} returned a {type(tracker).__name__}; return a popjax.tracking.Tracker")
    return tracker
