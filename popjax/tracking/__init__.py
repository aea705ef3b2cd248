"""Trackers, one per file: callbacks that record a search as one run of another tool."""

from popjax.tracking.mlflow_run import mlflow
from popjax.tracking.tensorboard_events import tensorboard
from popjax.tracking.trackio_run import trackio
from popjax.tracking.wandb_run import wandb

__all__ = ["mlflow", "tensorboard", "trackio", "wandb"]
