"""MLflow: a run with its series, its winner, its table and its report."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from popjax.core.text import needed
from popjax.tracking.tracker import Tracker, Whole, by_epoch

BATCH = 1000  # metrics that MLflow takes at once


def mlflow(experiment: str = "popjax", uri: str | None = None, top: int = 0) -> Tracker:
    """Write a run of MLflow.

    Args:
        experiment: by its name; made if there is none.
        uri: of the tracking server or the store; MLflow's own if not given.
        top: of how many of the best trials the curves are written.

    Raises ValueError where MLflow is not installed.
    """
    needed("tracker 'mlflow'", "mlflow")
    return Tracker(MLflow(experiment, uri), top)


class MLflow:
    """Writes a run through a client, beside whatever run is active."""

    def __init__(self, experiment: str, uri: str | None) -> None:
        self.experiment = experiment
        self.uri = uri
        self.run = ""

    def begin(self, name: str, config: Mapping[str, Any]) -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient(self.uri)
        known = self.client.get_experiment_by_name(self.experiment)
        number = self.client.create_experiment(self.experiment) if known is None else known.experiment_id
        self.run = self.client.create_run(number, run_name=name).info.run_id
        for name, value in config.items():
            self.client.log_param(self.run, name, value)

    def now(self, values: Mapping[str, float], step: int) -> None:
        self._log((f"now/{name}", value, step) for name, value in values.items())

    def end(self, whole: Whole) -> None:
        rows = by_epoch(whole.series())
        self._log((name, value, epoch) for epoch, values in rows for name, value in values.items())
        for name, value in whole.summary.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                self.client.log_metric(self.run, name, value)
            else:
                self.client.set_tag(self.run, name, value)
        for file in whole.files:
            self.client.log_artifact(self.run, str(file))

    def close(self) -> None:
        if self.run:
            self.client.set_terminated(self.run)

    def _log(self, points: Iterable[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, step) for name, value, step in points]
        for begin in range(0, len(metrics), BATCH):
            self.client.log_batch(self.run, metrics[begin : begin + BATCH])
