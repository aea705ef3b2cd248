"""A training state in the stacked arrays that a program takes."""

import dataclasses
from typing import Any

import jax
import numpy as np

from popjax.core.trees import from_host, named_leaves, to_host, unnamed
from popjax.engine.best_epoch import Training
from popjax.engine.plan import Lanes
from popjax.store.cohort import Arrays


@dataclasses.dataclass(frozen=True, eq=False)
class OnDevices:
    """Where members stay between two segments.

    Attributes:
        training: their state, stacked (devices * capacity, ...).
        lanes: how many members the arrays hold.
        places: where (members,) each member's rows are.
    """

    training: Training
    lanes: Lanes
    places: np.ndarray

    @property
    def nbytes(self) -> int:
        """The memory that the arrays take."""
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self.training))

    def arrays(self) -> Arrays:
        """Name -> array (members, ...), copied to the host."""
        return {name: array[self.places] for name, array in named_leaves(to_host(self.training)).items()}


def to_devices(like: Any, arrays: Arrays, places: np.ndarray) -> Training:
    """Arrays (members, ...) on the devices, each member's rows at its place, as the program takes them; see `like`."""
    rows = np.zeros(jax.tree.leaves(like)[0].shape[0], int)
    rows[places] = np.arange(len(places))
    training: Training = from_host(like, unnamed(like, {name: array[rows] for name, array in arrays.items()}))
    return training
