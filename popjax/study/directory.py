"""The directory of a run: run.json, decisions and commits, and the checks on resume."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from popjax.core.machine import UNKNOWN, device, versions
from popjax.core.storage import Corrupt
from popjax.core.text import plural, printable, tell
from popjax.core.trees import abstract
from popjax.engine.caps import caps_fit
from popjax.engine.identity import differences, identity, other_code
from popjax.engine.member import OTHER_NUMBERS, SETTINGS, jax_settings
from popjax.engine.roster import Roster
from popjax.engine.trainer import Trainer
from popjax.executors.backend import Local
from popjax.space.space import Space
from popjax.store.cleaning import check_not_cleaned
from popjax.store.files import FORMAT, HOLDS, SUMMARY, check_format, read_json, write_json
from popjax.store.journal import Journal
from popjax.study.request import SearchRequest
from popjax.tuning.proposals import learns
from popjax.tuning.schedulers.named_schedulers import text_of
from popjax.tuning.schedulers.rounds import even, further
from popjax.tuning.search_options import SearchOptions

REQUIRED = ("epochs", "seed", "sampler", "repeats", "folds")


class Recorded:
    """The files of a run or a session, new or resumed.

    Args:
        path: the directory.
        kind: "run" or "session".
        space: the space of the points that decisions add.

    Attributes:
        recorded: what it began with, as run.json or session.json says; empty for a new one.
        journal: the decisions, and the commits of members.
    """

    def __init__(self, path: Path, kind: str, space: Space) -> None:
        self.path = path
        self.file = path / HOLDS[kind]
        self.recorded: dict[str, Any] = {}
        if self.file.exists():
            self.recorded = read_json(self.file)
            check_format(path, self.recorded)
            check_minor_version(path, self.recorded)
        check_not_cleaned(path)
        self.journal = Journal(space, path)
        assert self.journal.commits is not None
        self.commits = self.journal.commits
        if not self.recorded:
            if self.commits.number:
                raise Corrupt(f"{str(path)!r} holds a state but no {self.file.name}; choose another directory")
            self.journal.cut([])  # of one that died before it was written what it is

    def begin(self, record: Mapping[str, Any]) -> None:
        """Write what it began with, before the first decision."""
        write_json(self.file, {"versions": versions(), **record, "format": FORMAT})

    def refuse(self, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        """Raise ValueError naming the entries that differ, if any."""
        if other := differences(then, now):
            raise ValueError(f"{str(self.path)!r} cannot be resumed so: {'; '.join(other)}")

    def other_settings(self) -> list[str]:
        """A line for each setting of JAX that is another now, under which bits may differ.

        Raises ValueError for settings that give other random numbers, or other kinds of numbers.
        """
        recorded = (self.recorded.get("code") or {}).get("settings", ())
        then = dict(zip(SETTINGS, recorded, strict=False))
        now = {name: str(value) for name, value in zip(SETTINGS, jax_settings(), strict=True) if name in then}
        self.refuse({name: then[name] for name in now if name in OTHER_NUMBERS}, now)
        return [f"{line}: bits may differ from an uninterrupted run's" for line in differences(then, now)]


class Directory(Recorded):
    """The files of a search.

    Args:
        path, space: see Recorded.
        about: further entries of run.json.
        unasked: True if resumed by running a notebook cell again, without resume=True.

    Attributes:
        longer: True if resumed with a later last epoch.
        changed: the functions that decide, "scheduler" and "sampler", whose code was changed since.
        warnings: what was lost, and why bits may differ from those of an uninterrupted run.
    """

    def __init__(self, path: Path, space: Space, about: Mapping[str, Any], unasked: bool = False) -> None:
        super().__init__(path, "run", space)
        if self.recorded:
            check_record(path, self.recorded)
        self.unasked = unasked
        self.about = dict(about)
        self.longer = False
        self.changed: list[str] = []
        self.warnings = [str(warning) for warning in self.recorded.get("warnings", ())]
        self.told = len(self.warnings)
        self.asked: dict[str, Any] = self.recorded.get("asked", {})
        if self.commits.lost is not None:
            self.warnings.append(f"{self.commits.lost}; what is lost with it is trained again")

    def as_before(self, request: SearchRequest) -> SearchRequest:
        """The request with the recorded rounds, lanes, plan and caps; unchanged for a new run.

        Raises ValueError if it differs from the recorded run, and Corrupt for caps that do not fit the space.
        """
        if not self.recorded:
            self.asked = {"lanes": request.lanes, "plan": request.plan}
            return request
        deciders = self.recorded.get("deciders", {})
        self.changed = [what for what, code in request.deciders.items() if deciders.get(what, code) != code]
        request = dataclasses.replace(self._in_rounds(request), beside=bool(self.recorded.get("beside")))
        now = request.options.written() | {"rounds": len(request.ends), "space": request.space.to_dict()}
        then = {name: self.recorded.get(name) for name in now} | {"rounds": self.recorded["rounds_in_all"]}
        for name, default in Local().written().items():
            value = getattr(request, name)
            if value not in (default, self.recorded[name]):
                before = self.asked.get(name, default)
                then[name], now[name] = self.recorded[name] if before == default else before, value
        for name in self._may_change(request):
            del then[name], now[name]
        request = self._started(request, then.pop("start"), now.pop("start"))
        self.refuse(then, now)
        caps = self.recorded.get("caps")
        if caps is not None and not caps_fit(caps, request.space):
            raise Corrupt(f"cannot resume {str(self.path)!r}: its run.json has no usable 'caps'")
        return dataclasses.replace(request, lanes=self.recorded["lanes"], plan=self.recorded["plan"], caps=caps)

    def _started(self, request: SearchRequest, then: Any, now: Any) -> SearchRequest:
        """The request with the recorded points to start with. Raises ValueError if it names others."""
        if now not in (None, then):
            what = f"start was {then!s:.60}, now {now!s:.60}; leave it out"
            raise ValueError(f"{str(self.path)!r} cannot be resumed so: {what}")
        if then is not None and not (isinstance(then, list) and all(isinstance(point, dict) for point in then)):
            raise Corrupt(f"cannot resume {str(self.path)!r}: its run.json has no usable 'start'")
        return dataclasses.replace(request, options=dataclasses.replace(request.options, start=then))

    def _in_rounds(self, request: SearchRequest) -> SearchRequest:
        """The request with the recorded rounds; a learning sampler appends rounds, if `rounds` agrees or is None."""
        options, ends = request.options, ends_recorded(self.recorded)
        if not learns(options.sampler):
            return request
        named = options.rounds
        if named is not None and (named > len(ends) or further(ends[:named], ends[-1]) != ends):
            return request  # other rounds than recorded, refused later
        return dataclasses.replace(request, ends=further(ends, options.trials))

    def _may_change(self, request: SearchRequest) -> list[str]:
        """Options that may exceed the recorded ones; sets `longer`. Raises ValueError if more epochs are impossible."""
        options, ends = request.options, ends_recorded(self.recorded)
        plain = len(request.ends) == 1 and options.inner is None
        self.longer = options.epochs > self.recorded["epochs"]
        if self.longer and not plain:
            horizon = text_of(options.inner) or f"rounds={len(request.ends)}"
            raise ValueError(self._no_longer(options.epochs, f"{horizon} decides by what the last epoch is"))
        further_rounds = 1 < len(ends) < len(request.ends) and request.ends[: len(ends)] == ends
        more = options.trials > self.recorded["trials"] and plain and options.sampler != "grid"
        if options.trials > self.recorded["trials"] and not (more or further_rounds):
            raise ValueError(self._no_more(options, ends))
        names = ["epochs"] if self.longer else []
        return names + (["trials", "rounds"] if further_rounds else ["trials"] if more else [])

    def _no_more(self, options: SearchOptions, ends: tuple[int, ...]) -> str:
        """The message of an error where more trials would be another run."""
        changed = f"trials was {self.recorded['trials']}, now {options.trials}"
        if len(ends) > 1 and ends[-1] % len(ends):
            remedy = "its rounds differ in size; start a new run"
        elif len(ends) > 1:
            size = ends[0]
            rounds = -(-options.trials // size)
            remedy = f"its rounds have {plural(size, 'trial')}; give rounds={rounds} with trials={rounds * size}"
        elif options.sampler == "grid":
            remedy = "a grid has all its points; start a new run"
        else:
            remedy = f"{text_of(options.inner)} decided among all trials; start a new run"
        return f"{str(self.path)!r} cannot be resumed so: {changed}: {remedy}"

    def take_up(self, trainer: Trainer) -> int | None:
        """Restore the members from the commits; return the first decision that may not be carried out yet.

        None for a new run, and one that was stopped before its first decision.

        As many members train at once as recorded. Raises ValueError for other data, another task or epochs that
        cannot be added, Corrupt for commits that do not belong to the decisions.
        """
        steps, commits = self.journal.steps, self.commits
        if not steps:
            return None
        if commits.decision > len(steps):
            raise Corrupt(f"{str(self.path)!r} has lost decisions; start again in another directory")
        applied = [step.decision for step in steps[: commits.decision]]
        changed = any(decision.copy or decision.fresh or decision.set for decision in applied)
        if commits.lost is not None and changed:  # copied trials cannot be trained again alone
            commits.forget()
        self._check(trainer.roster)
        if self.longer:
            if changed:
                why = "it was steered by hand, and what was changed cannot be trained again further"
                raise ValueError(self._no_longer(trainer.config.epochs, why))
            self._check_horizon(trainer.roster)
        trainer.resume()
        if self.unasked:
            tell(f"{str(self.path)!r} holds a run: resuming it; give another search its own directory")
        for warning in self.warnings[self.told :]:
            tell(f"popjax: {printable(warning)}")
        return 0 if commits.lost is not None else commits.carrying

    def _check(self, roster: Roster) -> None:
        """Raise ValueError for other data or another task; restore the capacity of the lanes, and collect warnings."""
        now = {"data": identity(roster.task), "task": dict(roster.task.settings)}
        then = {name: self.recorded[name] for name in now if self.recorded[name] is not None}
        self.refuse(then, now)
        self.warnings += self.other_settings()
        changed = [*(["task"] if other_code(self.recorded, roster.traced) else []), *self.changed]
        if changed:
            what = f"the code of the {' and of the '.join(changed)} was changed since"
            if self.unasked:
                remedy = "give another directory, or resume=True, which ranks trials of both together"
                raise ValueError(f"{str(self.path)!r} cannot be resumed: {what}; {remedy}")
            self.warnings.append(f"{what}: trials of both rank together")
        lanes = roster.plan.lanes
        lanes.capacity, lanes.narrowed = self.recorded["part"], self.recorded["narrowed"]
        here = {"device": without_cores(device()), "versions": libraries(versions())}
        there = {"device": without_cores(self.recorded["device"]), "versions": libraries(self.recorded["versions"])}
        for name, value in here.items():
            if there[name] != value:
                what = f"{name} was {there[name]}, now {value}"
                self.warnings.append(f"{what}: bits may differ from an uninterrupted run's")

    def _check_horizon(self, roster: Roster) -> None:
        """Raise ValueError if the task reads the number of epochs, so that a longer run differs from the beginning."""
        for functions in roster.buckets:  # each bucket records its own reads
            functions.trace(abstract(roster.task.data))
        if any("epochs" in functions.reads for functions in roster.buckets):
            why = "the task reads hparams['epochs'], as schedule cosine does, so a longer run differs from its start"
            raise ValueError(self._no_longer(roster.config.epochs, why))

    def _no_longer(self, epochs: int, why: str) -> str:
        """The message of an error where more epochs would be another run."""
        changed = f"epochs was {self.recorded['epochs']}, now {epochs}"
        return f"{str(self.path)!r} cannot be resumed so: {changed}: {why}; start a new run"

    def extended(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """The entries of run.json with `about`, the requested lanes and plan, and the warnings."""
        began = self.recorded.get("versions", {}).get("popjax")
        first = {"versions": run["versions"] | {"popjax": began}} if began else {}
        return self.about | dict(run) | first | {"asked": self.asked, "warnings": self.warnings}

    def summary(self) -> dict[str, Any]:
        """The summary.json of the run that is resumed; empty if it is missing or unreadable."""
        try:
            return read_json(self.path / SUMMARY)
        except ValueError:
            return {}

    def scored_before(self) -> list[dict[str, Any]]:
        """The winners of earlier ends of this run, which its budget or an interrupt cut short, with their scores."""
        summary = self.summary()
        earlier: list[dict[str, Any]] = list(summary.get("scored_before") or [])
        cut: dict[str, Any] = {name: summary[name] for name in ("cut_short", "best", "test") if name in summary}
        return [*earlier, cut] if summary.get("cut_short") and summary.get("best") else earlier


def check_minor_version(directory: Path, recorded: Mapping[str, Any]) -> None:
    """Raise ValueError for a run that another minor version of popjax began, since it would go on with other bits.

    Raises Corrupt for a record whose versions are none.
    """
    kept = recorded.get("versions", {})
    then, now = kept.get("popjax", UNKNOWN) if isinstance(kept, dict) else None, versions()["popjax"]
    if not isinstance(then, str):
        raise Corrupt(f"cannot resume {str(directory)!r}: its record has no usable 'versions'")
    minor = [version.split(".")[:2] for version in (then, now)]
    if recorded["format"] != FORMAT or (UNKNOWN not in (then, now) and minor[0] != minor[1]):
        by = "an earlier popjax" if then == UNKNOWN else f"popjax {then}"
        raise ValueError(f"{str(directory)!r} cannot be resumed: {by} began it, this is {now}; begin anew elsewhere")


def check_record(directory: Path, recorded: Mapping[str, Any]) -> None:
    """Raise Corrupt if run.json lacks an entry that resuming needs, or holds another type."""
    kinds = {"space": dict, "part": int, "narrowed": int, "lanes": int, "trials": int, "plan": str}
    kinds |= {"rank": dict, "asked": dict, "rounds": list, "warnings": list, "device": str, "versions": dict}
    for name in (*REQUIRED, *kinds, "rounds_in_all", "data", "task"):
        if name not in recorded or not isinstance(recorded[name], kinds.get(name, object)):
            raise Corrupt(f"cannot resume {str(directory)!r}: its run.json has no usable {name!r}")
    for name in ("lanes", "part"):
        if recorded[name] < 1:
            raise Corrupt(f"cannot resume {str(directory)!r}: its run.json has {name}={recorded[name]}")


def ends_recorded(recorded: Mapping[str, Any]) -> tuple[int, ...]:
    """Recorded cumulative number of trials at the end of each round. Raises Corrupt."""
    ends = recorded.get("ends", list(even(recorded["trials"], recorded["rounds_in_all"])))
    whole = isinstance(ends, list) and all(type(end) is int for end in ends)
    if not whole or [0, *ends] != sorted({0, *ends}) or ends[-1:] != [recorded["trials"]]:
        raise Corrupt(f"run.json: ends={ends!s:.60} are no ends of rounds; start again in another directory")
    return tuple(ends)


def libraries(known: Mapping[str, str]) -> dict[str, str]:
    """The versions without popjax's own, whose patches change no bit."""
    return {name: version for name, version in known.items() if name != "popjax"}


def without_cores(device: str) -> str:
    """The description of a device without its number of cores, on which no bit depends.

    >>> without_cores("CPU, 2 cores, 4 devices")
    'CPU, 4 devices'
    """
    return re.sub(r", \d+ cores", "", device)
