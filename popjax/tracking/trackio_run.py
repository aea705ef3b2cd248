"""Trackio: a run with the search's series and winner, on this machine or in a Hugging Face Space."""

from collections.abc import Mapping
from typing import Any

from popjax.core.text import check_installed
from popjax.tracking.tracker import Tracker, Whole, by_epoch


def trackio(project: str = "popjax", top: int = 0, **settings: Any) -> Tracker:
    """Write a run of Trackio; look at it with `trackio show`.

    Args:
        project: its name.
        top: number of the best trials to write curves of.
        settings: arguments of `trackio.init`, such as space_id.

    Raises ValueError if trackio is not installed.
    """
    check_installed("tracker 'trackio'", "trackio")
    return Tracker(Trackio({"project": project, "embed": False} | settings), top)


class Trackio:
    """Writes a run."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.run: Any = None

    def begin(self, name: str, config: Mapping[str, Any]) -> None:
        import trackio

        self.run = trackio.init(**{"name": name, "config": dict(config)} | self.settings)

    def now(self, values: Mapping[str, float], step: int) -> None:
        self.run.log({f"now/{name}": value for name, value in values.items()}, step=step)

    def end(self, whole: Whole) -> None:
        for epoch, values in by_epoch(whole.series()):
            self.run.log(values, step=epoch)
        self.run.log({f"summary/{name}": value for name, value in whole.summary.items()})
        if hasattr(self.run, "log_artifact"):  # missing in old versions
            for file in whole.files:
                self.run.log_artifact(file, name=f"{self.run.name}-{file.name}", type="search")

    def close(self) -> None:
        if self.run is not None:
            self.run.finish()
