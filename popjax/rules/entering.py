"""A rule is checked where it enters, before anything is trained. No JAX here."""

import dataclasses
import functools
import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from popjax.core.contracts import check_contract
from popjax.core.faults import calling
from popjax.core.text import short
from popjax.metric import Metric, mode_told
from popjax.rule import COSTS, Finished, Improvement, Rule
from popjax.rules.checking import front_of, loss_of, order_of, proven_rule, the_rule, winner_of
from popjax.task import Task

ROWS = 8  # made-up trials on which a user's rule is tried
TYPOS = (NameError, KeyError, AttributeError, TypeError)  # errors that no other values would mend


def check_rule(rule: Rule, known: Mapping[str, type[Rule]]) -> None:
    """Raise ValueError for a rule that cannot be recorded under a name of its own, or is written wrongly.

    `known`: the rules by their names.
    """
    if proven_rule(rule):
        return
    kind, what = type(rule), the_rule(rule)
    check_contract(what, kind, Rule)
    name = vars(kind).get("name")
    if not (isinstance(name, str) and name):
        raise ValueError(f"{what} has no name of its own, and is recorded as {rule.name!r}; write name = 'mine'")
    if known.get(rule.name, kind) is not kind:
        raise ValueError(f"{what}: the name {rule.name!r} is that of {known[rule.name].__name__}; give it another")
    fields = {field.name: field for field in dataclasses.fields(rule)}
    cached = {name for name in vars(rule) if isinstance(getattr(kind, name, None), functools.cached_property)}
    if lost := vars(rule).keys() - fields.keys() - cached:
        remedy = "write @dataclasses.dataclass(frozen=True, repr=False) above the class, and a field for it"
        raise ValueError(f"{what}: {min(lost)} is no field, and would be lost; {remedy}")
    for name, field in fields.items():
        if (value := getattr(kind, name, field.default)) is not field.default:
            remedy = f"write @dataclasses.dataclass(frozen=True, repr=False) above it, or {kind.__name__}({name}=...)"
            raise ValueError(f"{what}: the class's {name} = {short(value)} is hidden by that of an object; {remedy}")
    check_settings(rule)


def check_settings(rule: Rule) -> None:
    """Raise ValueError for a setting that is no JSON value or not written, for needs that are no costs, and for
    objectives that are no metrics.
    """
    what = the_rule(rule)
    check_needs(rule)
    check_objectives(rule)
    with calling(f"{what}: improvement"):
        unknown = rule.metric is None or (
            rule.mode is None and mode_told(rule.metric) is None
        )  # the task tells it later
        improvement: Any = None if unknown else rule.improvement
    if not isinstance(improvement, Improvement | None):
        raise ValueError(f"{what}: improvement is {short(improvement)}; give a popjax.rule.Improvement, or None")
    if not unknown and (improvement is None) != (rule.at == "last"):
        contradiction = f"improvement is {short(improvement)} with at={rule.at!r}"
        remedy = "return None with at='last', and else what says which epoch is better"
        raise ValueError(f"{what}: {contradiction}; {remedy}")
    with calling(f"{what}: written"):
        written: Any = rule.written()
    names = {field.name for field in dataclasses.fields(rule)} - {"subject_to"}  # written if there is one
    if not isinstance(written, dict) or written.get("rule") != rule.name or not names <= written.keys():
        raise ValueError(f"{what}: written returned {short(written, 60)}; return super().written() | what is yours")
    for name, value in written.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            remedy = "give finite numbers, texts, or lists of them, which run.json can hold"
            raise ValueError(f"{what}: the setting {name!r} is {short(value)}; {remedy}") from None


def check_objectives(rule: Rule) -> None:
    """Raise ValueError for objectives that are no metrics."""
    what = the_rule(rule)
    with calling(f"{what}: objectives"):
        objectives: Any = () if rule.metric is None else rule.objectives
    for each in objectives if isinstance(objectives, tuple | list) else [objectives]:
        if not isinstance(each, Metric):
            raise ValueError(f"{what}: objectives has {short(each)}; give a tuple of popjax.Metric")


def check_needs(rule: Rule) -> None:
    """Raise ValueError for needs that are no costs."""
    what, needs = the_rule(rule), inspect.getattr_static(rule, "needs")
    if hasattr(needs, "__get__"):  # a property, which may depend on the metric
        with calling(f"{what}: needs"):
            needs = () if rule.metric is None else rule.needs
    if isinstance(needs, str) or not isinstance(needs, tuple | list):
        raise ValueError(f"{what}: needs is {short(needs)}; give a tuple, such as ('parameters',)")
    for name in needs:
        if name not in COSTS:
            raise ValueError(f"{what}: needs names {name!r}; there are {', '.join(COSTS)}")


def rule_for(rule: Rule, task: Task) -> Rule:
    """`Rule.of`: the rule with the task's metric if it has none; raises ValueError for anything else."""
    with calling(f"{the_rule(rule)}: of", ValueError):
        ready: Any = rule.of(task)
    if type(ready) is not type(rule) or ready.metric is None:
        raise ValueError(f"{the_rule(rule)}: of returned {short(ready)}; return the rule with a metric")
    check_settings(ready)
    return ready


def check_members(rule: Rule, members: int) -> None:
    """`Rule.check`."""
    with calling(f"{the_rule(rule)}: check", ValueError):
        rule.check(members)


def check_on_metrics(rule: Rule, metrics: Sequence[str], members: int) -> None:
    """Raise ValueError for a typo in a user's rule, by trying it on made-up trials with these metrics.

    What they say is not judged, and an error that other values might not raise is none yet.
    """
    if proven_rule(rule):
        return
    names, draws = dict.fromkeys([*metrics, *rule.costs]), np.random.default_rng(0)
    values = {name: draws.uniform(0.1, 0.9, ROWS) for name in names}
    try:
        loss_of(rule, values)
        order = order_of(rule, values)
        front_of(rule, values)
        ordered = {name: column[order] for name, column in values.items()}
        errors = {} if members == 1 else {name: column / 100 for name, column in ordered.items()}
        winner_of(rule, Finished(ordered, errors))
    except ValueError as error:
        if isinstance(error.__cause__, TYPOS):
            raise


def check_patience(what: str, trained: Rule, asked: Rule) -> None:
    """Raise ValueError if trials trained under one rule would have rested at other epochs under another."""
    then, now = (None if rule.patience is None else rule.improvement for rule in (trained, asked))
    if then != now:
        raise ValueError(f"{what}: the trials were trained under {trained}, and would rest otherwise; search again")
