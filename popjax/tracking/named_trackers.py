"""Trackers by name, as on a command line: `--track tensorboard`."""

from collections.abc import Callable

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
    return lookup(TRACKERS, "tracker", name)(top=top)
