"""MLflow: a run with the search's series, winner, table and report."""

import itertools
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from popjax.core.text import check_installed
from popjax.tracking.apart import Apart
from popjax.tracking.tracker import Tracker, Whole, by_epoch

BATCH = 1000  # maximum number of metrics per call
FEW = 100  # of parameters or tags


def mlflow(experiment: str = "popjax", uri: str | None = None, top: int = 0) -> Tracker:
    """Write a run of MLflow, in a process of its own; in this one, if it has imported MLflow already.

    Args:
        experiment: its name; created if it does not exist.
        uri: of the tracking server or the store; if None, MLflow's default.
        top: number of the best trials to write curves of.

    Raises ValueError if MLflow is not installed.
    """
    check_installed("tracker 'mlflow'", "mlflow")
    if "mlflow" in sys.modules:  # the user may have configured it, which another process would not know
        return Tracker(MLflow(experiment, uri), top)
    return Tracker(Apart(MLflow, experiment=experiment, uri=uri), top, "MLflow")


class MLflow:
    """Writes a run through a client, independently of the active run."""

    def __init__(self, experiment: str, uri: str | None) -> None:
        self.experiment = experiment
        self.uri = uri
        self.run = ""

    def begin(self, name: str, config: Mapping[str, Any]) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self.client = MlflowClient(self.uri)
        known = self.client.get_experiment_by_name(self.experiment)
        number = self.client.create_experiment(self.experiment) if known is None else known.experiment_id
        self.run = self.client.create_run(number, run_name=name).info.run_id
        self.status = "FAILED"  # unless all is written
        self._batches("params", FEW, [Param(name, str(value)) for name, value in config.items()])

    def now(self, values: Mapping[str, float], step: int) -> None:
        self._log((f"now/{name}", value, step) for name, value in values.items())

    def end(self, whole: Whole) -> None:
        from mlflow.entities import RunTag

        rows = by_epoch(whole.series())
        self._log((name, value, epoch) for epoch, values in rows for name, value in values.items())
        figure = lambda value: isinstance(value, int | float) and not isinstance(value, bool)
        self._log((name, value, 0) for name, value in whole.summary.items() if figure(value))
        words = {name: str(value) for name, value in whole.summary.items() if not figure(value)}
        self._batches("tags", FEW, [RunTag(name, value) for name, value in words.items()])
        for file in whole.files:
            self.client.log_artifact(self.run, str(file))
        self.status = "FINISHED"

    def close(self) -> None:
        if self.run:
            self.client.set_terminated(self.run, self.status)

    def _log(self, points: Iterable[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._batches("metrics", BATCH, [Metric(name, value, now, step) for name, value, step in points])

    def _batches(self, kind: str, size: int, all_of_them: list[Any]) -> None:
        """Log metrics, params or tags in batches: each call is a transaction, or a request."""
        for batch in itertools.batched(all_of_them, size):
            self.client.log_batch(self.run, **{kind: batch})
