"""Weights & Biases: a run with the search's series, winner, table and report."""

from collections.abc import Mapping
from typing import Any

from popjax.core.text import check_installed
from popjax.tracking.tracker import Tracker, Whole, by_epoch


def wandb(project: str = "popjax", top: int = 0, **settings: Any) -> Tracker:
    """Write a run of W&B, with as many requests as for one model, for any number of trials.

    Args:
        project: its name.
        top: number of the best trials to write curves of.
        settings: arguments of `wandb.init`, such as mode="offline" or dir.

    Raises ValueError if wandb is not installed.
    """
    check_installed("tracker 'wandb'", "wandb")
    return Tracker(Wandb({"project": project} | settings), top)


class Wandb:
    """Writes a run; each kind of series has its own axis."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.run: Any = None

    def begin(self, name: str, config: Mapping[str, Any]) -> None:
        import wandb

        self.run = wandb.init(**{"name": name, "config": dict(config), "reinit": "create_new"} | self.settings)
        for kind, axis in (("now/*", "epochs_trained"), ("epoch/*", "epoch"), ("trial-*", "epoch")):
            self.run.define_metric(kind, step_metric=axis)

    def now(self, values: Mapping[str, float], step: int) -> None:
        self.run.log({f"now/{name}": value for name, value in values.items()} | {"epochs_trained": step})

    def end(self, whole: Whole) -> None:
        import wandb

        for epoch, values in by_epoch(whole.series()):
            self.run.log(values | {"epoch": epoch})
        self.run.summary.update(whole.summary)
        artifact = wandb.Artifact(f"popjax-{self.run.id}", type="search")
        for file in whole.files:
            artifact.add_file(str(file))
        self.run.log_artifact(artifact)

    def close(self) -> None:
        if self.run is not None:
            self.run.finish()
