"""The zoom: the range of each round. No JAX here."""

from collections.abc import Mapping, Sequence
from typing import Any

from popjax.pages.axes import Axis, label
from popjax.pages.drawing import round_color, shown
from popjax.pages.figures.figure import Figure, varied
from popjax.pages.markup import section
from popjax.space.scales import Choice, Integers, LogIntegers, Scale
from popjax.space.space import Space
from popjax.store.results import Results


def section_of(results: Results, axes: Sequence[Axis]) -> str:
    """HTML section of the range of each hyperparameter by round, on the user's axis; empty without a zoom."""
    differ, rounds = varied(axes), results.run.get("rounds") or []
    if not differ or not zoomed(rounds):
        return ""
    spaces = [Space.from_dict(entry["space"]) for entry in rounds]
    parts = []
    for axis in differ:
        tracks = []
        for order, space in enumerate(spaces):
            color = round_color(order, len(spaces))
            bars = "".join(
                f'<i style="left:{100 * low:.2f}%;width:{100 * (high - low):.2f}%;background:{color}"></i>'
                for low, high in spans(axis.scale, space[axis.name])
            )
            said = shown(extent(space[axis.name]))
            tracks.append(f'<b>{order + 1}</b><div class="track">{bars}</div><span>{said}</span>')
        parts.append(f'<h3>{shown(axis.name)}</h3><div class="rounds">{"".join(tracks)}</div>')
    notes = [f"<li>Before round {n}: {shown(note)}</li>" for n, e in enumerate(rounds, 1) for note in e["notes"]]
    caption = "A line a round: grey is the range that was asked for, coloured what the round searched of it."
    listed = f"<ul>{''.join(notes)}</ul>" if notes else ""
    return section("What the zoom did", caption, f'<div class="zoom">{"".join(parts)}</div>{listed}')


def zoomed(rounds: Sequence[Mapping[str, Any]]) -> bool:
    """True if a round after the first searched another space, or has notes: others are a scheduler's."""
    return any(entry["space"] != rounds[0]["space"] or entry["notes"] for entry in rounds[1:])


def spans(scale: Scale, narrower: Scale) -> list[tuple[float, float]]:
    """The intervals (low, high) of the unit axis of `scale` that a round's scale covers.

    >>> spans(Choice("a", "b", "c", "d"), Choice("b", "d"))
    [(0.25, 0.5), (0.75, 1.0)]
    """
    if isinstance(scale, Choice):
        units = [scale.to_unit(value) for value in getattr(narrower, "values", [getattr(narrower, "value", None)])]
        return [(unit - 0.5 / len(scale.values), unit + 0.5 / len(scale.values)) for unit in units]
    half = 0.5 / scale.levels if isinstance(scale, Integers) and not isinstance(scale, LogIntegers) else 0.0
    low, high = scale.to_unit(narrower.low), scale.to_unit(narrower.high)
    return [(max(low - half, 0.0), min(high + half, 1.0))]


def extent(scale: Scale) -> str:
    """A scale's values as a short text."""
    if isinstance(scale, Choice):
        return ", ".join(map(str, scale.values))
    low, high = label(scale, scale.low), label(scale, scale.high)
    return low if low == high else f"{low} to {high}"


FIGURE = Figure(section_of)
