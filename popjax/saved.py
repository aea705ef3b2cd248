"""The directory of a run that is in progress, or that is taken up again."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from popjax.commits import Commits
from popjax.executor import cores
from popjax.files import FORMAT, check_format, read_json, write_json
from popjax.machine import device, versions
from popjax.run import Config, Run
from popjax.space import Space
from popjax.storage import Corrupt

FIXED = ("epochs", "seed", "metric", "mode", "sampler", "repeats", "folds", "choose", "keep")


class Saved:
    """What a run has written, and writes.

    Args:
        directory: of the run.
        about: what else run.json says.

    Attributes:
        recorded: the run.json of the run that is resumed; empty for a new one.
        commits: what is trained.
        warnings: why bits may differ from an uninterrupted run's; None for a new run.
    """

    def __init__(self, directory: Path, about: dict[str, Any]) -> None:
        self.directory = directory
        self.about = about
        self.recorded: dict[str, Any] = {}
        self.warnings: list[str] | None = None
        if (directory / "run.json").exists():
            self.recorded = read_json(directory / "run.json")
            self.warnings = []
            check_format(directory, self.recorded)
            check_record(directory, self.recorded)
        self.commits = Commits.load(directory / "state")
        if self.commits.lost is not None and self.warnings is not None:
            self.warnings.append(f"{self.commits.lost}; the commit before it is used")

    def settle(self, config: Config, space: Space, trials: int) -> Config:
        """The configuration with the lanes and the plan of before; raises ValueError where another is asked for."""
        if not self.recorded:
            return config
        then = {name: self.recorded[name] for name in FIXED}
        now = {name: value for name, value in dataclasses.asdict(config).items() if name in FIXED}
        then |= {"space": self.recorded["space"], "rounds": self.recorded["rounds_in_all"]}
        now |= {"space": space.to_dict(), "rounds": config.rounds}
        if config.lanes is not None:
            then["lanes"], now["lanes"] = self.recorded["lanes"], config.lanes
        if config.plan != "auto":
            then["plan"], now["plan"] = self.recorded["plan"], config.plan
        more = trials > self.recorded["trials"] and config.rounds == 1 and config.sampler != "grid"
        if not more:
            then["trials"], now["trials"] = self.recorded["trials"], trials
        self._refuse(then, now)
        return dataclasses.replace(config, lanes=self.recorded["lanes"], plan=self.recorded["plan"])

    def fit(self, run: Run) -> None:
        """Train as many members at once as before; raises ValueError if the data are others."""
        if not self.recorded:
            return
        data = getattr(run.task.recipe, "identity", None)
        self._refuse({"data": self.recorded["data"]}, {"data": data})
        width = run.plan.width
        width.part, width.narrowed = self.recorded["part"], self.recorded["narrowed"]
        now = {"device": device(), "cores": cores(), "versions": versions()}
        for name, value in now.items():
            if name != "cores" and self.recorded[name] != value:
                assert self.warnings is not None
                what = f"{name} was {self.recorded[name]}, now {value}"
                self.warnings.append(f"{what}: bits may differ from an uninterrupted run's")

    def points(self, sampled: Mapping[str, np.ndarray], begin: int) -> dict[str, np.ndarray]:
        """The sampled points, with those that were written in their place."""
        points = {}
        for name, column in sampled.items():
            written = self.recorded.get("points", {}).get(name, [])[begin : begin + len(column)]
            points[name] = column.copy()
            for row, value in enumerate(written):
                points[name][row] = value
        return points

    def begin(self, run: Mapping[str, Any]) -> None:
        """Write what determines a round's results, before it is trained."""
        ranks = {"format": FORMAT}
        write_json(self.directory / "run.json", self.about | dict(run) | ranks)

    def _refuse(self, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        """Raise ValueError naming what differs."""
        other = [f"{name} was {then[name]}, now {now[name]}" for name in then if then[name] != now[name]]
        if other:
            raise ValueError(f"{str(self.directory)!r} cannot be resumed so: {'; '.join(other)}")


def check_record(directory: Path, recorded: Mapping[str, Any]) -> None:
    """Raise Corrupt unless a run.json has what resuming needs, of the right kinds."""
    kinds = {"points": dict, "space": dict, "part": int, "narrowed": int, "lanes": int, "trials": int, "plan": str}
    for name in (*FIXED, *kinds, "rounds_in_all", "data", "device", "versions"):
        if name not in recorded or not isinstance(recorded[name], kinds.get(name, object)):
            raise Corrupt(f"cannot resume {str(directory)!r}: its run.json has no usable {name!r}")
    if not all(isinstance(column, list) for column in recorded["points"].values()):
        raise Corrupt(f"cannot resume {str(directory)!r}: its run.json has no usable 'points'")
