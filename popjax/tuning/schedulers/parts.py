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
    """A decision on a part in the numbers of all trials; `rows` also holds the numbers of the trials it adds.

    Raises ValueError for a trial that the part does not have.
    """
    numbers = rows.tolist()

    def number(trial: int) -> int:
        if not 0 <= trial < len(numbers):
            raise ValueError(f"there is no trial {trial}; a part has trials 0 to {len(numbers) - 1}, numbered anew")
        return int(numbers[trial])

    return decision._replace(
        copy={number(target): number(source) for target, source in decision.copy.items()},
        fresh=tuple(map(number, decision.fresh)),
        set={number(trial): values for trial, values in decision.set.items()},
        until={number(trial): epoch for trial, epoch in decision.until.items()},
    )
