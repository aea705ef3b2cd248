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
    """A tracker as it is set up where the user has said nothing else, with the curves of so many of the best trials.

    Raises ValueError.
    """
    return lookup(TRACKERS, "tracker", name)(top=top)
