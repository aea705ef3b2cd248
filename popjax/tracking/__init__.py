"""A search in another tool's eyes: one search is one run there. A tracker a file, each a callback."""

from popjax.tracking.mlflow_run import mlflow
from popjax.tracking.tensorboard_events import tensorboard
from popjax.tracking.trackio_run import trackio
from popjax.tracking.wandb_run import wandb

__all__ = ["mlflow", "tensorboard", "trackio", "wandb"]
