"""Parts of the trials, for schedulers that use other schedulers."""

from typing import Any

import numpy as np

from popjax.scheduler import Decision, Trials


def part_of(trials: Trials, rows: np.ndarray) -> Trials:
    """The trials of these rows, renumbered 0, 1, ... in this order."""
    part = lambda columns: {name: column[rows] for name, column in columns.items()}
    names = ("epochs", "loss", "stopped", "bucket", "complete", "feasible")
    tables = ("points", "curves", "values", "costs")
    columns: dict[str, Any] = {name: getattr(trials, name)[rows] for name in names}
    return trials._replace(**columns | {name: part(getattr(trials, name)) for name in tables})


def renumbered(decision: Decision, rows: np.ndarray) -> Decision:
    """A decision on a part in the numbers of all trials; `rows` also holds the numbers of the trials it adds."""
    number = rows.tolist()
    return decision._replace(
        copy={number[target]: number[source] for target, source in decision.copy.items()},
        fresh=tuple(number[trial] for trial in decision.fresh),
        set={number[trial]: values for trial, values in decision.set.items()},
        until={number[trial]: epoch for trial, epoch in decision.until.items()},
    )
