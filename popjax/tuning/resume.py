"""The directory of a run that is in progress, or that is taken up again."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from popjax.core.machine import device, versions
from popjax.core.storage import Corrupt
from popjax.engine.caps import fit
from popjax.engine.population import Config, Run
from popjax.space.space import Space
from popjax.store.commits import Commits
from popjax.store.files import FORMAT, check_format, read_json, write_json

FIXED = ("epochs", "seed", "metric", "mode", "sampler", "repeats", "folds", "choose", "keep")


class Saved:
    """What a run has written, and writes.

    Args:
        directory: of the run.
        about: what else run.json says.

    Attributes:
        recorded: the run.json of the run that is resumed; empty for a new one.
        commits: what is trained.
        warnings: what was lost, and why bits may differ from an uninterrupted run's.
    """

    def __init__(self, directory: Path, about: dict[str, Any]) -> None:
        self.directory = directory
        self.about = about
        self.recorded: dict[str, Any] = {}
        self.warnings: list[str] = []
        if (directory / "run.json").exists():
            self.recorded = read_json(directory / "run.json")
            check_format(directory, self.recorded)
            check_record(directory, self.recorded)
            self.warnings = [str(warning) for warning in self.recorded["warnings"]]
        self.asked: dict[str, Any] = self.recorded.get("asked", {})
        self.commits = Commits.load(directory / "state")
        if not self.recorded and self.commits.number:
            raise Corrupt(f"{str(directory)!r} holds the state of a run but no run.json; choose another directory")
        if self.commits.lost is not None:
            self.warnings.append(f"{self.commits.lost}; what is lost with it is trained again")

    def settle(self, config: Config, space: Space, trials: int) -> Config:
        """The configuration with the lanes, the plan and the caps of before.

        Raises ValueError where another is asked for, and Corrupt for caps that do not fit the space.
        """
        if not self.recorded:
            self.asked = {"lanes": config.lanes, "plan": config.plan}
            return config
        then = {name: self.recorded[name] for name in FIXED}
        now = {name: value for name, value in dataclasses.asdict(config).items() if name in FIXED}
        then |= {"space": self.recorded["space"], "rounds": self.recorded["rounds_in_all"]}
        now |= {"space": space.to_dict(), "rounds": config.rounds}
        for name, value, default in (("lanes", config.lanes, None), ("plan", config.plan, "auto")):
            if value not in (default, self.recorded[name]):
                asked = self.asked.get(name, default)
                then[name], now[name] = self.recorded[name] if asked == default else asked, value
        more = trials > self.recorded["trials"] and config.rounds == 1 and config.sampler != "grid"
        if not more:
            then["trials"], now["trials"] = self.recorded["trials"], trials
        self._refuse(then, now)
        caps = self.recorded.get("caps")
        if caps is not None and not fit(caps, space):
            raise Corrupt(f"cannot resume {str(self.directory)!r}: its run.json has no usable 'caps'")
        return dataclasses.replace(config, lanes=self.recorded["lanes"], plan=self.recorded["plan"], caps=caps)

    def take_up(self, run: Run) -> None:
        """Train as many members at once as before; raises ValueError if the data are others."""
        if not self.recorded:
            return
        now = {"data": run.identity, "task": dict(run.task.settings)}
        then = {name: self.recorded[name] for name in now if self.recorded[name] is not None}
        self._refuse(then, now)
        width = run.plan.width
        width.part, width.narrowed = self.recorded["part"], self.recorded["narrowed"]
        here = {"device": kind(device()), "versions": versions()}
        there = {"device": kind(self.recorded["device"]), "versions": self.recorded["versions"]}
        for name, value in here.items():
            if there[name] != value:
                what = f"{name} was {there[name]}, now {value}"
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
        write_json(self.directory / "run.json", self.extended(run) | {"format": FORMAT})

    def extended(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """A run.json with what the user said and, of the run before, the later rounds and the warnings."""
        known = self.recorded.get("points", {})
        points = {name: [*column, *known.get(name, [])[len(column) :]] for name, column in run["points"].items()}
        rounds = [*run["rounds"], *self.recorded.get("rounds", [])[len(run["rounds"]) :]]
        own = {"points": points, "rounds": rounds, "asked": self.asked, "warnings": self.warnings}
        return self.about | dict(run) | own

    def _refuse(self, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        """Raise ValueError naming what differs."""
        other = [f"{name} was {then[name]}, now {now[name]}" for name in then if then[name] != now[name]]
        if other:
            raise ValueError(f"{str(self.directory)!r} cannot be resumed so: {'; '.join(other)}")


def kind(device: str) -> str:
    """A device without the number of its cores, on which no bit depends."""
    return device.partition(",")[0]


def check_record(directory: Path, recorded: Mapping[str, Any]) -> None:
    """Raise Corrupt unless a run.json has what resuming needs, of the right kinds."""
    kinds = {"points": dict, "space": dict, "part": int, "narrowed": int, "lanes": int, "trials": int, "plan": str}
    kinds |= {"asked": dict, "rounds": list, "warnings": list, "device": str}
    for name in (*FIXED, *kinds, "rounds_in_all", "data", "task", "versions"):
        if name not in recorded or not isinstance(recorded[name], kinds.get(name, object)):
            raise Corrupt(f"cannot resume {str(directory)!r}: its run.json has no usable {name!r}")
    if not all(isinstance(column, list) for column in recorded["points"].values()):
        raise Corrupt(f"cannot resume {str(directory)!r}: its run.json has no usable 'points'")
