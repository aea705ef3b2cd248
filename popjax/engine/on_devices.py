"""Training states on the devices, in the stacked arrays that a program takes."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding

from popjax.core.trees import from_host, named_leaves, to_host, unnamed
from popjax.engine.best_epoch import Training
from popjax.engine.member import SHARDED, mesh
from popjax.engine.plan import Lanes
from popjax.store.cohort import Arrays, OnHost


@dataclasses.dataclass(frozen=True, eq=False)
class OnDevices:
    """The training state of members that stay on the devices between two segments.

    Attributes:
        training: stacked (devices * capacity, ...).
        lanes: devices and capacity of the arrays.
        places: int (members,), the row of each member.
    """

    training: Training
    lanes: Lanes
    places: np.ndarray

    @functools.cached_property
    def nbytes(self) -> int:
        """The bytes of the stacked arrays."""
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self.training))

    def arrays(self) -> Arrays:
        """Name -> array (members, ...), copied to the host."""
        return {name: array[self.places] for name, array in named_leaves(to_host(self.training)).items()}

    def off_devices(self) -> OnHost:
        """A copy on the host."""
        return OnHost(self.arrays())

    def take(self, rows: np.ndarray | slice) -> OnHost:
        """The state of some members, on the host."""
        return self.off_devices().take(rows)


def to_devices(like: Any, arrays: Arrays, places: np.ndarray, devices: int) -> Training:
    """Arrays (members, ...) as stacked JAX arrays like `like`: member i in row places[i], the first in free rows.

    Each of several devices gets its own rows from the host.
    """
    rows = np.zeros(jax.tree.leaves(like)[0].shape[0], int)
    rows[places] = np.arange(len(places))
    stacked: Any = {name: array[rows] for name, array in arrays.items()}
    if devices > 1:
        stacked = jax.device_put(stacked, NamedSharding(mesh(devices), SHARDED))
    training: Training = from_host(like, unnamed(like, stacked))
    return training
