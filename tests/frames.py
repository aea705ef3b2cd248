"""A DataFrame with its target as a Dataset, without a task."""

from popjax.data.dataset import from_table
from popjax.data.table import frame_table


def from_frame(frame, target, missing="error"):
    return from_table(frame_table(frame, target), missing)
