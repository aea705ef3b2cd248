"""Warnings about the rows and the text columns of a table, one line each. No JAX here."""

import re
import shlex
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from popjax.core.text import short
from popjax.data.columns import Levels, beyond_floats
from popjax.data.dates import ISO

SIGNED = re.compile(r"\s*[-+]?(?P<sign>[$€£¥])?\s*[-+]?\s*[\d.,]*\d[\d.,]*\s*(?P<last>[%$€£¥])?\s*")
SHORT = "jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec"
MONTH = rf"({SHORT}|january|february|march|april|august|(septem|octo|novem|decem)ber)"
DAY = r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T]\d.*)?|\d{4}[-/](0?[1-9]|1[0-2])"
NAMED = rf"(\d{{1,2}}[. -]+)?{MONTH}[., -]+\d{{1,4}}([., -]+\d{{2,4}})?( \d.*)?"
DATE = re.compile(rf"{DAY}|{NAMED}|\d{{1,2}}:\d\d(:\d\d(\.\d+)?)?( ?[ap]m)?", re.IGNORECASE)
UNIQUE, FEW = 0.5, 20  # distinct texts per row, and in all, from which a column may only name its rows
FEWEST = 8  # columns that a line names
MOST = 0.9  # share of the texts that look like dates, or like numbers with a sign


MEANS_MISSING = frozenset(("na", "n/a", "#n/a", "null", "none", "?", "-", ".", "missing"))  # elsewhere


def missing_words(texts: Sequence[Any]) -> list[str]:
    """Texts that mean a missing cell elsewhere, and here are texts.

    >>> missing_words(["NA", "red", "?"])
    ['NA', '?']
    """
    return [text for text in texts if isinstance(text, str) and text.strip().lower() in MEANS_MISSING]


def doubt_of_words(what: str, becomes: str, texts: Sequence[Any]) -> str:
    """Line for those texts of a column or the target that mean missing elsewhere; empty without any."""
    if not (words := missing_words(texts)):
        return ""
    said, named = ", ".join(map(short, words)), shlex.quote(",".join(word.strip() for word in words))
    return f"{what} holds {said} as a {becomes} of its own; if it means missing, give None in its place (--na {named})"


def doubt_of_spelling(what: str, becomes: str, texts: Sequence[Any]) -> str:
    """Line for texts of a column or the target that differ by spaces or capitals alone; empty without any.

    >>> doubt_of_spelling("the column 'colour'", "level", ["red", "blue", "Red "])
    "the column 'colour' holds 'red' and 'Red ', each as a level of its own; if they mean the same, write them alike"
    """
    alike: dict[str, list[str]] = {}
    for text in texts:
        if isinstance(text, str):
            alike.setdefault("".join(text.split()).casefold(), []).append(text)
    several = [spellings for spellings in alike.values() if len(spellings) > 1]
    if not several:
        return ""
    named = f"{short(several[0][0])} and {short(several[0][1])}"
    more = f" and {sum(map(len, several)) - 2} more like them" if sum(map(len, several)) > 2 else ""
    own = f"each as a {becomes} of its own; if they mean the same, write them alike"
    return f"{what} holds {named}{more}, {own}"


def doubt_of_classes(target: str, classes: Sequence[Any]) -> str:
    """Line for classes that look like dates, or like numbers with a sign; empty for others.

    >>> doubt_of_classes("price", ["$2,062.87", "$-9.50"])
    "the target 'price' holds numbers with $ ('$2,062.87'), each of which is a class; write them without $"
    """
    texts = [label for label in classes if isinstance(label, str)]
    dates = list(filter(DATE.fullmatch, texts))
    if texts and len(dates) >= MOST * len(classes):
        return f"the target {target!r} holds dates ({short(dates[0])}), each of which is a class; make numbers of them"
    if sign := sign_of(texts):
        what = f"holds numbers with {sign} ({short(texts[0])}), each of which is a class"
        return f"the target {target!r} {what}; write them without {sign}"
    return ""


def doubts(levels: Levels, rows: int) -> tuple[str, ...]:
    """A line for each column of texts that mean missing, are spelt in two ways, nearly all differ, look like dates, or
    are signed numbers.

    >>> for line in doubts({"day": ("2024-01-31", "2024-02-01"), "colour": ("blue", "red")}, 100):
    ...     print(line)
    the column 'day' looks like dates ('2024-01-31'), each of which is a level of its own; read them as dates \
(--dates day), in a DataFrame by pandas.to_datetime, or leave it out (--drop day)
    """
    asked = [(f"the column {name!r}", "level", texts) for name, texts in levels.items()]
    lines = [doubt_of(*each) for each in asked for doubt_of in (doubt_of_words, doubt_of_spelling)]
    for name, texts in levels.items():
        if sum(DATE.fullmatch(text) is not None for text in texts) >= MOST * len(texts):
            dates = [text for text in texts if text.strip()]  # the empty text is a missing cell
            iso = all(map(ISO.fullmatch, dates))
            first = next(filter(DATE.fullmatch, dates))
            oddity = f"looks like dates ({short(first)})"
            ways = f"read them as dates (--dates {shlex.quote(name)}), in a DataFrame by pandas.to_datetime, or"
            remedy = ways if iso else "make numbers of them, or"
        elif sign := sign_of(texts):
            oddity, remedy = f"holds numbers with {sign} ({short(texts[0])})", f"write them without {sign}, or"
        elif len(texts) >= max(FEW, UNIQUE * rows):
            oddity, remedy = f"has {len(texts)} different texts in {rows} rows", "if it only names the rows,"
        else:
            continue
        lines.append(
            f"the column {name!r} {oddity}, each of which is a level of its own; {remedy} "
            f"leave it out (--drop {shlex.quote(name)})"
        )
    return tuple(filter(None, lines))


def doubts_of_numbers(x: np.ndarray, columns: Sequence[str], levels: Levels, parts: Collection[str]) -> tuple[str, ...]:
    """A line for each column (rows,) of numbers that count the rows, but for `parts` of dates."""
    asked = [(at, name) for at, name in enumerate(columns) if name not in levels and name not in parts]
    return tuple(doubt_of_counts(name, "counts the rows") for at, name in asked if counts_rows(x[:, at]))


def doubt_of_constants(x: np.ndarray, columns: Sequence[str], parts: Collection[str]) -> str:
    """Line for the columns (rows,) with one value in all rows and none missing, but for `parts` of dates; or empty.

    >>> doubt_of_constants(np.array([[1.0, 2.0, 7.0], [1.0, 3.0, 7.0]]), ("a", "b", "c"), ())
    "the same value stands in all rows of 'a', 'c'; they tell nothing"
    >>> doubt_of_constants(np.array([[2.0**60], [2.0**60 + 7]]), ("id",), ())
    "the same value stands in all rows of 'id' (of a number 16 digits are read); it tells nothing"
    """
    same = {name: x[0, at] for at, name in enumerate(columns) if name not in parts and (x[:, at] == x[0, at]).all()}
    if not same:
        return ""
    read = " (of a number 16 digits are read)" if beyond_floats(np.array([*same.values()])) else ""
    more = f" and {len(same) - FEWEST} more" if len(same) > FEWEST else ""
    said = ", ".join(map(short, [*same][:FEWEST])) + more
    return f"the same value stands in all rows of {said}{read}; {'it tells' if len(same) == 1 else 'they tell'} nothing"


def different_numbers(values: np.ndarray) -> bool:
    """True if the values (rows,) of a column are whole numbers that all differ, in FEW rows at least."""
    whole = len(values) >= FEW and not np.isnan(values).any() and not (values % 1).any()
    return bool(whole and len(np.unique(values)) == len(values))


def counts_rows(values: np.ndarray) -> bool:
    """True if whole numbers only count the rows: from one to the next without a gap in any order, or ever upwards.

    >>> counts_rows(np.arange(40.0)), counts_rows(np.arange(40.0)[::-1]), counts_rows(np.arange(40.0) // 2)
    (True, True, False)
    """
    return different_numbers(values) and bool(np.ptp(values) == len(values) - 1 or (np.diff(values) > 0).all())


def doubt_of_counts(name: str, why: str) -> str:
    """Line for a column of whole numbers that may only name the rows."""
    return f"the column {name!r} {why}; if it only names the rows, leave it out (--drop {shlex.quote(name)})"


def sign_of(texts: Sequence[str]) -> str:
    """Sign that most of the texts have beside a number, such as % or $; empty if there is none.

    >>> sign_of(["$-1.50", "$20"]), sign_of(["12 %", "7 %"]), sign_of(["7", "red"])
    ('$', '%', '')
    """
    matches = [SIGNED.fullmatch(text) for text in texts]
    signs = Counter(match["sign"] or match["last"] for match in matches if match is not None)
    del signs[None]
    sign, count = max(signs.items(), key=lambda item: item[1], default=("", 0))
    return sign if count >= MOST * len(texts) else ""


def left_out(rows: int, dropped: int, unknown: int, target: str) -> str:
    """Line for the rows that were left out, `unknown` of them for a missing target; empty if there are none.

    >>> left_out(90, 5, 2, "y")
    "5 of 90 rows left out: 2 without 'y', 3 with missing cells"
    """
    whys = [(unknown, f"without {target!r}"), (dropped - unknown, "with missing cells")]
    said = ", ".join(f"{count} {why}" for count, why in whys if count)
    return f"{dropped} of {rows} rows left out: {said}" if dropped else ""
