"""What a file of rows becomes: a line a column, without training. No JAX here."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from popjax.commands.experiment import Experiment, comma_list, is_file
from popjax.core.text import aligned, cell, plural, short
from popjax.data.columns import check_one_hot

if TYPE_CHECKING:
    from popjax.data.dataset import Dataset

FEW = 4  # levels that a line names


def examined(experiment: Experiment) -> str:
    """A table of the columns of the rows, after a line on these; raises ValueError with a line for each error.

    What is doubtful is told on standard error, as by a sweep.
    """
    dataset = experiment.load().dataset
    if experiment.model == Experiment.model:
        check_one_hot(dataset.name, len(dataset), dataset.levels)
    if not dataset.columns:
        return f"{experiment.rows(dataset)}\nan array of shape {list(np.shape(dataset.x))}"
    whole = experiment if not is_file(experiment.dataset) else dataclasses.replace(experiment, missing="auto")
    as_given = whole.parts().dataset  # no cell is filled in, and no row dropped for one
    rows = [["column", "becomes", "missing"]]
    rows += [[name, *becomes(experiment, as_given, name)] for name in raw_names(experiment, as_given)]
    return f"{experiment.rows(dataset)}\n{aligned(rows, str.ljust)}"


def raw_names(experiment: Experiment, dataset: "Dataset") -> list[str]:
    """The names of the columns of the rows, as the file has them."""
    from popjax.data.batches import READERS, columns_of
    from popjax.data.dates import raw_columns

    if is_file(experiment.dataset) and Path(experiment.dataset).suffix.lower() in READERS:
        return columns_of(Path(experiment.dataset))
    return [*raw_columns(dataset.columns, dataset.dates), dataset.target]


def becomes(experiment: Experiment, dataset: "Dataset", name: str) -> list[str]:
    """What a column becomes, and how many of its cells are missing, in words."""
    from popjax.data.dates import day_text, part_names

    if name in (dataset.target, *dataset.outputs):
        return [f"target: {dataset.words}", "-"]
    if name in dataset.dates:
        days = column_of(dataset, part_names(name)[-1]) + dataset.dates[name]
        span = f"{day_text(np.nanmin(days))} to {day_text(np.nanmax(days))}"
        return [f"date, {span}: year, month, weekday, day of the year, days", lost(days)]
    if name in dataset.levels:
        levels, values = dataset.levels[name], column_of(dataset, name)
        said = ", ".join(map(short, levels[:FEW])) + (", ..." if len(levels) > FEW else "")
        empty = int((values == 0).sum()) if levels[0] == "" else int(np.isnan(values).sum())
        return [f"text, {plural(len(levels), 'level')}: {said}", str(empty)]
    if name in dataset.columns:
        values = column_of(dataset, name)
        return [f"number, {cell(float(np.nanmin(values)))} to {cell(float(np.nanmax(values)))}", lost(values)]
    if name == experiment.groups:
        return ["groups of rows that stay together", "-"]
    dropped = name in map(str.strip, comma_list("drop", experiment.drop))
    return [f"left out: {'as --drop says' if dropped else 'it has no value, or none where the target has one'}", "-"]


def column_of(dataset: "Dataset", name: str) -> np.ndarray:
    """The coded values (rows,) of a column."""
    return np.asarray(dataset.x[:, dataset.columns.index(name)])


def lost(values: np.ndarray) -> str:
    """The number of missing cells, in words."""
    return f"{int(np.isnan(values).sum()):,}"
