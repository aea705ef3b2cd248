"""Hyperparameters of a session's trials, as columns and as their space. No JAX here."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from popjax.core.counts import check_count
from popjax.core.text import plural, short
from popjax.space.scales import Choice, Constant, Scale
from popjax.space.space import Space


def columns_of(hparams: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Name -> column (trials,), from values or lists.

    Raises ValueError for anything but a mapping, if it is empty or lengths differ, and for values of several numbers.
    """
    if not isinstance(hparams, Mapping):
        remedy = "give names with values, one or a list of one a trial: {'learning_rate': [0.1, 0.01]}"
        raise ValueError(f"the hyperparameters are {short(hparams)}; {remedy}")
    if not hparams:
        raise ValueError("no hyperparameters: name at least one")
    if empty := [name for name, value in hparams.items() if np.ndim(value) and len(value) == 0]:
        raise ValueError(f"{empty[0]} has no values; give one a trial")
    trials = max(len(value) if np.ndim(value) else 1 for value in hparams.values())
    columns = {}
    for name, value in hparams.items():
        values = list(value) if np.ndim(value) else [value] * trials
        if len(values) != trials:
            raise ValueError(f"{name} has {len(values)} values for {trials} trials; give one, or one each")
        if several := [value for value in values if not isinstance(value, Hashable)]:
            raise ValueError(f"{name} has the value {short(several[0])}; give a number, a text or a truth value")
        column = np.array(values)
        columns[name] = column if column.dtype.kind in "if" else np.array(values, object)
    return columns


def columns_and_space(hparams: Mapping[str, Any], space: Space | None) -> tuple[dict[str, np.ndarray], Space]:
    """Name -> column (trials,), and the space that contains them, with the scales of `space` where it has them.

    Raises ValueError if there are no hyperparameters or lengths differ.
    """
    columns = columns_of(hparams)
    if space is None:
        return columns, Space(**{name: covering(column) for name, column in columns.items()})
    columns = completed(space, columns)
    own = Space(**{name: covering(column) for name, column in columns.items()})
    known = space.only(own)
    return columns, own.replace(**known).where(*known.constraints)


def numbers_of(given: Any, trials: int) -> np.ndarray:
    """Trial numbers (trials,), each at least 0. Raises ValueError for anything else."""
    numbers = np.asarray(given)
    if numbers.ndim != 1:
        raise ValueError(f"numbers={given!r}: give a list, one number a trial")
    if numbers.shape != (trials,):
        raise ValueError(f"numbers has {plural(numbers.size, 'number')} for {plural(trials, 'trial')}; give one each")
    for number in numbers.tolist():
        check_count("numbers holds a number", number, 0)
    return numbers


def completed(space: Space, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The columns with inactive hyperparameters filled in, as in a search over this space."""
    trials = len(next(iter(columns.values())))
    rest: dict[str, np.ndarray] = {}
    for name, condition in space.conditions.items():
        if name not in columns and condition.keys() <= columns.keys() | rest.keys():
            rest[name] = np.full(trials, None, object)
    return dict(space.only(columns | rest).filled(columns | rest))


def covering(column: np.ndarray) -> Scale:
    """A scale that contains these values: a Choice, or a Constant for one value."""
    values = dict.fromkeys(column.tolist())
    return Choice(*values) if len(values) > 1 else Constant(*values)
