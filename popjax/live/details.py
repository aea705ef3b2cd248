"""One trial on the live page: its hyperparameters, with a slider along the scale of each."""

from typing import Any

import numpy as np

from popjax.live.board import Board
from popjax.pages.axes import label, ticks
from popjax.space.defaults import SEARCHED
from popjax.space.scales import Choice, Constant, LogUniform, OneMinusLogUniform, Scale, Uniform
from popjax.space.values import absent

STEPS = 100  # of a slider
REACH = 10.0  # factor by which a slider reaches below and above a constant


def details(board: Board, number: int, metric: str | None = None) -> dict[str, Any]:
    """A trial as JSON values, with its curve if `metric` is known. Raises ValueError for an unknown trial."""
    trial = board.trial(number, metric)
    values, settable = trial.pop("values"), set(trial.pop("settable"))
    scales = {} if board.about is None else board.about.scales
    rows = [
        value_row(name, scales[name], value, name in settable) for name, value in values.items() if not absent(value)
    ]
    return trial | {"hparams": rows}


def value_row(name: str, scale: Scale, value: Any, settable: bool) -> dict[str, Any]:
    """A hyperparameter: its value and, if it is a number that may be set, the values of its slider."""
    shown = label(scale, value)
    known: dict[str, Any] = {"name": name, "value": value, "label": shown}
    if not settable or not isinstance(value, int | float) or isinstance(value, bool):
        return known
    scale = axis_of(name, scale, value)
    steps = [[step, label(scale, step)] for step in along(scale, value)]
    ends = [steps[0][1], steps[-1][1]]
    if isinstance(scale, OneMinusLogUniform):
        ends = [f"{tick.value}, {tick.window}" for tick in (ticks(scale)[0], ticks(scale)[-1])]
    return known | {"steps": steps, "ends": ends}


def axis_of(name: str, scale: Scale, value: float) -> Scale:
    """The scale of a slider: for a Constant or a Choice of floats the default range, if it contains all values.

    Otherwise the Constant itself, or a range that reaches beyond the values of the Choice.
    """
    if not isinstance(scale, Constant | Choice):
        return scale
    values, searched = getattr(scale, "values", (value,)), SEARCHED.get(name)
    if isinstance(scale, Choice) and not all(isinstance(one, float) for one in values):
        return scale
    low, high = min(values), max(values)
    if searched is not None and not isinstance(searched, Choice) and searched.low <= low and high <= searched.high:
        return searched
    if isinstance(scale, Constant):
        return scale
    return LogUniform(low / REACH, high * REACH) if low > 0 else Uniform(1.5 * low - high / 2, 1.5 * high - low / 2)


def along(scale: Scale, value: float) -> list[float]:
    """The values of a slider: equal steps along the scale; for a Constant equal factors around it.

    >>> from popjax.space.scales import log_uniform
    >>> along(log_uniform(1e-4, 1), 0.1)[::25]
    [0.0001, 0.001, 0.01, 0.1, 1.0]
    """
    if isinstance(scale, Choice):
        values = sorted(one for one in scale.values if isinstance(one, int | float))
    elif isinstance(scale, Constant):
        around = np.geomspace(1 / REACH, REACH, STEPS + 1) * value if value else np.linspace(0, 1, STEPS + 1)
        values = [round(one) for one in around.tolist()] if isinstance(value, int) else around.tolist()
    else:
        values = scale.from_unit(np.linspace(0, 1, STEPS + 1)).tolist()
    return list(dict.fromkeys(one if isinstance(one, int) else float(label(scale, one)) for one in values))
