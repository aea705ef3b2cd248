"""Trackers, one per file: callbacks that record a search as one run of another tool.

Each needs the extra of its name, such as `tensorboard`.

>>> import tempfile
>>> from pathlib import Path
>>> import popjax as pj
>>> task = pj.objective(lambda key, hparams: {"loss": (hparams["x"] - 0.3) ** 2})
>>> with tempfile.TemporaryDirectory() as place:
...     tracker = pj.tracking.tensorboard(place)
...     results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=16, callbacks=[tracker])
...     any(Path(place).rglob("*tfevents*"))
True
"""

from popjax.tracking.mlflow_run import mlflow
from popjax.tracking.tensorboard_events import tensorboard
from popjax.tracking.trackio_run import trackio
from popjax.tracking.wandb_run import wandb

__all__ = ["mlflow", "tensorboard", "trackio", "wandb"]
