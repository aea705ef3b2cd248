"""What differs between runs, by their own records: data first, then options, then versions. No JAX here."""

from collections.abc import Mapping
from typing import Any

from popjax.core.text import cut
from popjax.store.listing import figure_at
from popjax.store.results import Results

OPTIONS = ("trials", "epochs", "seed", "sampler", "repeats", "folds", "rank", "scheduler", "plan", "rounds_in_all")
SAID = {"rounds_in_all": "rounds"}
ELSEWHERE = {
    *("dataset", "task", "out", "resume", "quiet", "json", "config", "print_config", "explain"),
    *("live", "live_host", "track", "track_top", "executor", "retries", "mixed"),
}  # arguments that change no result, or stand elsewhere
LENGTH = 60  # characters of a value


def differing(runs: Mapping[str, Results]) -> list[dict[str, str]]:
    """For each run name -> text of all that is not the same in all of them; empty dicts if nothing is."""
    described = [records(results) for results in runs.values()]
    names = dict.fromkeys(name for record in described for name in record)
    differ = [name for name in names if len({record.get(name, "") for record in described}) > 1]
    return [{name: cut(record.get(name, ""), LENGTH) for name in differ} for record in described] if differ else []


def records(results: Results) -> dict[str, str]:
    """Name -> text of what a run records of its data, options and versions, in this order."""
    run = results.run
    known = mapping(run.get("data"))
    rows = {name: figure_at(results.summary, "rows", name) for name in ("train", "validate", "test")}
    names = known.get("columns")
    data = {
        "rows": ", ".join(f"{count:,.0f} {name}" for name, count in rows.items() if count is not None),
        "columns": f"{len(names)}: {', '.join(map(str, names))}" if isinstance(names, list) and names else "",
        "data": data_digest(results)[:8],
        "split": str(known.get("split") or "")[:8],
        "target": known.get("kind"),
    }
    options = {SAID.get(name, name): run.get(name) for name in OPTIONS} | mapping(run.get("task"))
    arguments = mapping(run.get("arguments"))
    asked = {name: value for name, value in arguments.items() if name not in ELSEWHERE} | options
    later = {**mapping(run.get("versions")), "device": run.get("device")}
    first = {"dataset": arguments.get("task") or arguments.get("dataset")} | data
    return {name: worded(value) for name, value in (first | asked | later).items()}


def data_digest(results: Results) -> str:
    """The digest of a run's rows, or of its task's arrays; empty without one."""
    known = mapping(results.run.get("data"))
    return str(known.get("data") or known.get("arrays") or "")


def mapping(value: Any) -> dict[str, Any]:
    """A mapping as a dict; empty for anything else."""
    return dict(value) if isinstance(value, Mapping) else {}


def worded(value: Any) -> str:
    """A value as text; empty for what is not there."""
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, Mapping):
        value = ", ".join(f"{name} {item}" for name, item in value.items() if item is not None)
    return value if isinstance(value, str) else repr(value)
