"""Rules as they are the_rule: what a user's own rule returns is checked at every call. No JAX here."""

import dataclasses
import inspect
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from popjax.core.contracts import check_contract
from popjax.core.faults import calling
from popjax.core.text import plural, short
from popjax.rule import COSTS, Finished, Rule
from popjax.task import Task

type Values = Mapping[str, np.ndarray]  # metric or cost -> (rows,)


def check_rule(rule: Rule, known: Mapping[str, type[Rule]]) -> None:
    """Raise ValueError for a rule that cannot be recorded under a name of its own, or is written wrongly.

    `known`: the rules by their names.
    """
    kind, what = type(rule), the_rule(rule)
    check_contract(what, kind, Rule)
    name = vars(kind).get("name")
    if kind is not Rule and not (isinstance(name, str) and name):
        raise ValueError(f"{what} has no name of its own, and is recorded as {rule.name!r}; write name = 'mine'")
    if known.get(rule.name, kind) is not kind:
        raise ValueError(f"{what}: the name {rule.name!r} is that of {known[rule.name].__name__}; give it another")
    lost = vars(rule).keys() - {field.name for field in dataclasses.fields(rule)}
    if lost:
        remedy = "write @dataclasses.dataclass(frozen=True, repr=False) above the class, and a field for it"
        raise ValueError(f"{what}: {min(lost)} is no field, and would be lost; {remedy}")
    check_settings(rule)


def check_settings(rule: Rule) -> None:
    """Raise ValueError for a setting that is no JSON value, and for needs that are no costs."""
    with calling(f"{the_rule(rule)}: written"):
        written = rule.written()
    for name, value in written.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            remedy = "give numbers, texts, or lists of them, which run.json can hold"
            raise ValueError(f"{the_rule(rule)}: the setting {name!r} is {short(value)}; {remedy}") from None
    needs: Any = inspect.getattr_static(rule, "needs")
    if isinstance(needs, property):  # it may depend on the metric
        with calling(f"{the_rule(rule)}: needs"):
            needs = () if rule.metric is None else rule.needs
    if isinstance(needs, str) or not isinstance(needs, tuple | list):
        raise ValueError(f"{the_rule(rule)}: needs is {short(needs)}; give a tuple, such as ('parameters',)")
    for name in needs:
        if name not in COSTS:
            raise ValueError(f"{the_rule(rule)}: needs names {name!r}; there are {', '.join(COSTS)}")


def rule_for(rule: Rule, task: Task) -> Rule:
    """`Rule.of`: the rule with the task's metric if it has none; raises ValueError for anything else."""
    with calling(f"{the_rule(rule)}: of", ValueError):
        found: Any = rule.of(task)
    if not isinstance(found, Rule) or found.metric is None:
        raise ValueError(f"{the_rule(rule)}: of returned {short(found)}; return the rule with a metric")
    check_settings(found)
    return found


def check_members(rule: Rule, members: int) -> None:
    """`Rule.check`."""
    with calling(f"{the_rule(rule)}: check", ValueError):
        rule.check(members)


def order_of(rule: Rule, values: Values) -> np.ndarray:
    """`Rule.order`: int (rows,), each row number once, best first. Raises ValueError for anything else."""
    return rows_by(rule, "order", values, all_of_them=True)


def front_of(rule: Rule, values: Values) -> np.ndarray:
    """`Rule.front`: int (n,), different row numbers. Raises ValueError for anything else."""
    return rows_by(rule, "front", values, all_of_them=False)


def loss_of(rule: Rule, values: Values) -> np.ndarray:
    """`Rule.loss`: float (rows,), without NaN. Raises ValueError for anything else."""
    if (count := count_of(values)) == 0:
        return np.zeros(0)
    what = f"{the_rule(rule)}: loss"
    with calling(what):
        found: Any = rule.loss(values)
    if not isinstance(found, np.ndarray) or found.shape != (count,) or found.dtype.kind not in "biuf":
        raise ValueError(f"{what} returned {short(found)}; return a number for each of {count} rows")
    if np.isnan(found).any():
        raise ValueError(f"{what} returned NaN for row {int(np.isnan(found).argmax())}; return a number")
    return found


def winner_of(rule: Rule, finished: Finished) -> int:
    """`Rule.winner`: a row number of the finished trials. Raises ValueError for anything else."""
    count = count_of(finished.values)
    with calling(f"{the_rule(rule)}: winner"):
        found: Any = rule.winner(finished)
    whole = isinstance(found, int | np.integer) and not isinstance(found, bool)
    if not whole or not 0 <= found < count:
        given = repr(found.item() if isinstance(found, np.generic) else found)
        raise ValueError(f"{the_rule(rule)}: winner returned {given:.40}; return a place, 0 to {count - 1}")
    return int(found)


def why_of(rule: Rule, count: int, first: str | None) -> str:
    """`Rule.why`; raises ValueError if it is no text."""
    with calling(f"{the_rule(rule)}: why"):
        found: Any = rule.why(count, first)
    if not isinstance(found, str):
        raise ValueError(f"{the_rule(rule)}: why returned {short(found)}; return a text")
    return found


def rows_by(rule: Rule, method: str, values: Values, all_of_them: bool) -> np.ndarray:
    """The result of `order` or `front` as ints (n,); raises ValueError unless it is different row numbers, or all."""
    if (count := count_of(values)) == 0:
        return np.zeros(0, np.int64)
    what = f"{the_rule(rule)}: {method}"
    with calling(what):
        found: Any = getattr(rule, method)(values)
    rows = np.asarray(found) if isinstance(found, np.ndarray | list | tuple) else np.zeros(())
    wanted = f"each of the {plural(count, 'row number')} once" if all_of_them else "different row numbers"
    if rows.ndim != 1 or (rows.dtype.kind not in "iu" and rows.size):
        raise ValueError(f"{what} returned {short(found)}; return {wanted}")
    seen = np.zeros(count, bool)
    seen[rows[(rows >= 0) & (rows < count)].astype(np.int64)] = True
    if seen.sum() < len(rows) or (all_of_them and len(rows) < count):
        raise ValueError(f"{what} returned {short(rows.tolist())} for {plural(count, 'row')}; return {wanted}")
    return rows.astype(np.int64)


def the_rule(rule: Rule) -> str:
    """A rule in the words of an error message."""
    return f"the rule {type(rule).__name__}"


def count_of(values: Values) -> int:
    """Number of rows of columns by name."""
    return len(next(iter(values.values())))
