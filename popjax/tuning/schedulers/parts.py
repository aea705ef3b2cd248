"""Schedulers of schedulers: some of the trials as if there were no others."""

from typing import Any

import numpy as np

from popjax.scheduler import Decision, Trials


def part_of(trials: Trials, rows: np.ndarray) -> Trials:
    """These trials, numbered 0, 1, ... in this order."""
    part = lambda columns: {name: column[rows] for name, column in columns.items()}
    names, tables = ("epochs", "loss", "stopped", "bucket", "complete"), ("points", "curves", "values", "costs")
    columns: dict[str, Any] = {name: getattr(trials, name)[rows] for name in names}
    return trials._replace(**columns | {name: part(getattr(trials, name)) for name in tables})


def renumbered(decision: Decision, rows: np.ndarray) -> Decision:
    """A decision on the trials of a part, for all trials; `rows` holds the numbers of those that it adds, too."""
    number = rows.tolist()
    return decision._replace(
        copy={number[target]: number[source] for target, source in decision.copy.items()},
        fresh=tuple(number[trial] for trial in decision.fresh),
        set={number[trial]: values for trial, values in decision.set.items()},
        until={number[trial]: epoch for trial, epoch in decision.until.items()},
    )
