"""Rules as they are called: what a user's own rule returns is checked at every call. No JAX here.

The limits of `Rule.subject_to` are applied here, for all rules alike: a rule's methods see feasible rows alone.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from popjax.core.contracts import overrides
from popjax.core.faults import calling
from popjax.core.text import plural, short
from popjax.rule import Finished, Rule
from popjax.rules.best import OneSe, Together
from popjax.rules.pareto import Pareto

type Values = Mapping[str, np.ndarray]  # metric or cost -> (rows,)

PROVEN = (Rule, OneSe, Pareto, Together)  # by tests


def proven_rule(rule: Rule) -> bool:
    """True for a rule of popjax's, False for a user's."""
    return type(rule) in PROVEN


def order_of(rule: Rule, values: Values) -> np.ndarray:
    """`Rule.order`: int (rows,), each row number once, best first. Raises ValueError for anything else.

    Rows that violate a limit come after all others, by the sum of their relative violations, of equal ones by the
    metric that ranks, as in `pj.best`.
    """
    if not rule.limits:
        return rows_by(rule, "order", values, all_of_them=True)
    violation = rule.violation(values)
    good, others = np.flatnonzero(violation == 0), np.flatnonzero(violation > 0)
    order = good[rows_by(rule, "order", rows_of(values, good), all_of_them=True)]
    others = others[Rule.order(rule, rows_of(values, others))]
    return np.concatenate([order, others[np.argsort(violation[others], kind="stable")]])


def front_of(rule: Rule, values: Values) -> np.ndarray:
    """`Rule.front`: int (n,), different row numbers; of rows that all violate a limit the one that does least.

    Raises ValueError for anything else.
    """
    if not rule.limits:
        return rows_by(rule, "front", values, all_of_them=False)
    good = np.flatnonzero(rule.violation(values) == 0)
    if len(good) == 0:
        return order_of(rule, values)[:1]
    return good[rows_by(rule, "front", rows_of(values, good), all_of_them=False)]


def places_alone(rule: Rule) -> bool:
    """True if a rule orders without a loss of its own."""
    return bool(rule.limits) or (overrides(type(rule), Rule, "order") and not overrides(type(rule), Rule, "loss"))


def loss_of(rule: Rule, values: Values) -> np.ndarray:
    """`Rule.loss`: float (rows,), without NaN; the place in the order of a rule that orders without a loss of its own,
    and under limits.

    Raises ValueError for anything else.
    """
    if (count := count_of(values)) == 0:
        return np.zeros(0)
    if places_alone(rule):
        places = np.empty(count)
        places[order_of(rule, values)] = np.arange(count)
        return places
    what = f"{the_rule(rule)}: loss"
    losses: Any = twice(what, rule, "loss", values)
    if not isinstance(losses, np.ndarray) or losses.shape != (count,) or losses.dtype.kind not in "biuf":
        raise ValueError(f"{what} returned {short(losses)}; return a number for each of {count} rows")
    if np.isnan(losses).any():
        raise ValueError(f"{what} returned NaN for row {int(np.isnan(losses).argmax())}; return a number")
    return losses


def winner_of(rule: Rule, finished: Finished) -> int:
    """`Rule.winner`: a row number of the finished trials, among those that violate no limit if there are any.

    Raises ValueError for anything else.
    """
    if rule.limits:
        feasible = int((rule.violation(finished.values) == 0).sum())  # they come first
        if feasible == 0:
            return 0
        finished = Finished(*(rows_of(columns, np.arange(feasible)) for columns in finished))
    count, what = count_of(finished.values), f"{the_rule(rule)}: winner"
    place: Any = twice(what, rule, "winner", finished)
    whole = isinstance(place, int | np.integer) and not isinstance(place, bool)
    if not whole or not 0 <= place < count:
        raise ValueError(f"{what} returned {short(place)}; return a place, 0 to {count - 1}")
    return int(place)


def why_of(rule: Rule, count: int, first: str | None) -> str:
    """`Rule.why`; raises ValueError if it is no text."""
    with calling(f"{the_rule(rule)}: why"):
        text: Any = rule.why(count, first)
    if not isinstance(text, str):
        raise ValueError(f"{the_rule(rule)}: why returned {short(text)}; return a text")
    return text


def rows_by(rule: Rule, method: str, values: Values, all_of_them: bool) -> np.ndarray:
    """The result of `order` or `front` as ints (n,); raises ValueError unless it is different row numbers, or all."""
    if (count := count_of(values)) == 0:
        return np.zeros(0, np.int64)
    if proven_rule(rule):
        return np.asarray(getattr(rule, method)(values), np.int64)
    what = f"{the_rule(rule)}: {method}"
    answer: Any = twice(what, rule, method, values)
    rows = np.asarray(answer) if isinstance(answer, np.ndarray | list | tuple) else np.zeros(())
    wanted = f"each of the {plural(count, 'row number')} once" if all_of_them else "different row numbers"
    if rows.ndim != 1 or (rows.dtype.kind not in "iu" and rows.size):
        raise ValueError(f"{what} returned {short(answer)}; return {wanted}")
    seen = np.zeros(count, bool)
    seen[rows[(rows >= 0) & (rows < count)].astype(np.int64)] = True
    if seen.sum() < len(rows) or (all_of_them and len(rows) < count):
        raise ValueError(f"{what} returned {short(rows.tolist())} for {plural(count, 'row')}; return {wanted}")
    return rows.astype(np.int64)


def twice(what: str, rule: Rule, method: str, given: Any) -> Any:
    """What a method returns; raises ValueError for a user's that returns something else when it is called again."""
    with calling(what):
        answer = getattr(rule, method)(given)
        again = answer if proven_rule(rule) else getattr(rule, method)(given)
    first, second = np.asarray(answer), np.asarray(again)
    if np.array_equal(first, second, equal_nan=first.dtype.kind == second.dtype.kind == "f"):
        return answer
    raise ValueError(f"{what} returns something else when it is called again; let it follow from its arguments alone")


def the_rule(rule: Rule) -> str:
    """A rule in the words of an error message."""
    return f"the rule {type(rule).__name__}"


def rows_of(values: Values, rows: np.ndarray) -> Values:
    """The columns by name, of these rows (n,)."""
    return {name: column[rows] for name, column in values.items()}


def count_of(values: Values) -> int:
    """Number of rows of columns by name."""
    return len(next(iter(values.values())))
