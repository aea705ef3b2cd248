"""A trained trial of a predictor."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from popjax.space.space import Space
from popjax.store.files import KeptTrial


class Trained(NamedTuple):
    """A trained trial.

    Attributes:
        trial: its number.
        hparams: its hyperparameters; if they changed, those of the epoch that counts.
        space: the space of the run.
        static: the names of the static hyperparameters.
        arrays: name -> array (members, ...); predictions are averaged over the members.
        epochs: number of epochs of the run.
        history: name -> its values, epoch by epoch, of hyperparameters that changed.
    """

    trial: int
    hparams: Mapping[str, Any]
    space: Space
    static: frozenset[str]
    arrays: Mapping[str, np.ndarray]
    epochs: int
    history: Mapping[str, Sequence[Any]]

    @classmethod
    def of(cls, kept: KeptTrial) -> "Trained":
        """The trial from what a run keeps."""
        recipe = kept.recipe or {}
        return cls(
            kept.trial,
            kept.hparams,
            space=Space.from_dict(recipe["space"]),
            static=frozenset(recipe["static"]),
            arrays=kept.arrays,
            epochs=recipe["epochs"],
            history=dict(kept.history),
        )

    @property
    def fixed(self) -> dict[str, Any]:
        """The static hyperparameters."""
        return {name: self.hparams[name] for name in self.static}

    @property
    def inactive(self) -> dict[str, str]:
        """The hyperparameters that do not exist with those static values: name -> what it depends on."""
        return self.space.inactive(self.fixed)

    @property
    def values(self) -> dict[str, Any]:
        """The dynamic hyperparameters as in training: name -> value, a placeholder where one does not exist."""
        elsewhere = [name for name in self.space.conditions if name not in self.hparams and name not in self.inactive]
        dynamic = {name: value for name, value in self.hparams.items() if name not in self.static}
        return dynamic | {name: self.space[name].inactive for name in elsewhere}

    @property
    def members(self) -> int:
        """The number of models: folds times repeats."""
        return len(next(iter(self.arrays.values())))

    @property
    def program(self) -> str:
        """A key of its program, as JSON: static values, space, epochs, and shapes of arrays."""
        fixed = {name: repr(self.hparams[name]) for name in sorted(self.static)}
        shapes = {name: array.shape[1:] for name, array in self.arrays.items()}
        return json.dumps([fixed, self.space.to_dict(), self.epochs, shapes])
