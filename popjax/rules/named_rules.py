"""Rules by their names in `--choose` and run.json."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from popjax.core.text import registered, registry
from popjax.metric import Metric
from popjax.rule import Rule
from popjax.rules.best import OneSe, Together
from popjax.rules.entering import check_rule
from popjax.rules.pareto import Pareto

RULES: dict[str, type[Rule]] = registry("rule", (Rule, OneSe, Together, Pareto))


def rule_of(rank: Any) -> Rule:
    """The Rule of `search(rank=)`: a Rule, or a metric's name or None for `best`; raises ValueError for others."""
    if rank is None or isinstance(rank, str):
        return Rule(rank)  # type: ignore[arg-type]
    if isinstance(rank, Rule):
        check_rule(rank, RULES)
        return rank
    name = getattr(rank, "__name__", None)
    what = f"{name} itself; call it: {name}()" if callable(rank) and name else f"a {type(rank).__name__}"
    raise ValueError(f"rank is {what}; give a metric's name, or a rule such as popjax.best('val_loss')")


def read_rule(written: Mapping[str, Any], given: Rule | None = None) -> Rule:
    """The rule recorded by `Rule.written`; or `given`, with the recorded metric and mode if it has no metric.

    Raises ValueError for a recorded custom rule, which a file only names, if `given` is None, and for a `given` with
    another metric, `at` or `patience`, or of the same rule with other settings.
    """
    if given is not None:
        check_rule(given, RULES)
        now = json.loads(json.dumps(given.written()))
        settings = written.keys() & now.keys() - {"rule", "metric", "mode", "modes", "keep", "units"}
        own = sorted(settings) if now["rule"] == written["rule"] else []
        for name in [*(["metric"] if given.metric else []), "at", "patience", "subject_to", *own]:
            if now.get(name) != written.get(name):
                what = f"rank has {name}={now.get(name)!r}, the run {name}={written.get(name)!r}"
                raise ValueError(f"{what}; give the run's, and then use Results.ranked")
        name, mode = given.metric or written["metric"], given.mode or written["mode"]
        unit = written.get("units", {}).get(name, "")
        return dataclasses.replace(given, metric=Metric(name, mode, unit), mode=mode)
    if written["rule"] not in RULES:
        what = f"the run was ranked by a rule of your own, {written['rule']!r}"
        raise ValueError(f"{what}; give it: popjax.Results.load(directory, rank=...)")
    units, modes = written.get("units", {}), written.get("modes", {})
    measured = lambda name: Metric(name, modes.get(name), units.get(name, ""))
    fields = {name: value for name, value in written.items() if name not in ("rule", "units", "modes")}
    fields |= {"metric": measured(fields["metric"])} if fields["metric"] else {}
    fields |= {"others": tuple(map(measured, fields["others"]))} if "others" in fields else {}
    return registered(RULES, "rule", written["rule"], Rule)(**fields)


def written_rule(rank: Any) -> dict[str, Any] | None:
    """The value of `search(rank=)` in run.json: `Rule.written` as it is read from there, or None for None."""
    return None if rank is None else json.loads(json.dumps(rule_of(rank).written()))
