"""Beliefs: values near which good ones are expected, so that most points are drawn near them."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from popjax.core.text import short
from popjax.space.values import is_number, python_value, word

NEAR = " near "
WIDTH, SHARE = 0.1, 0.8
NARROWEST = 1e-4


class Axis(Protocol):
    """What a belief needs of its scale."""

    @property
    def levels(self) -> float: ...

    @property
    def ordered(self) -> bool: ...

    def has(self, value: Any) -> bool: ...

    def to_unit(self, value: Any) -> Any: ...


@dataclasses.dataclass(frozen=True)
class Belief:
    """Where good values of a scale are expected.

    A share of the points is drawn near the values: on the scale's own axis by normals truncated to its range, or of a
    choice these values themselves. The rest is drawn from the whole scale, so a belief that is wrong costs at most
    1 / (1 - share) times the trials.

    Attributes:
        values: the values; one that stands there twice counts twice.
        width: standard deviation of the normals, as a share of the scale's axis.
        share: share of the points that is drawn near.

    Raises ValueError for no values, a width that is not 0.0001 to 1, and a share not between 0 and 1.
    """

    values: tuple[Any, ...]
    width: float = WIDTH
    share: float = SHARE

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(map(python_value, self.values)))
        for value in self.values:
            if isinstance(value, list | tuple | set | np.ndarray):
                raise ValueError(f"near: {short(value)} is no value; write several as near(0.01, 0.1)")
        if not self.values:
            raise ValueError("near: no values; give at least one")
        if not is_number(self.width) or not NARROWEST <= self.width <= 1:
            raise ValueError(f"near: width={self.width!r}; give a share of the scale's axis, {NARROWEST} to 1")
        if not is_number(self.share) or not 0 < self.share < 1:
            raise ValueError(f"near: share={self.share!r}; give the share of the points that is near, between 0 and 1")

    def __str__(self) -> str:
        given = {"width": (self.width, WIDTH), "share": (self.share, SHARE)}
        others = "".join(f", {name}={value!r}" for name, (value, usual) in given.items() if value != usual)
        return f"{NEAR}{'|'.join(map(word, self.values))}{others}"

    def check(self, scale: Axis) -> None:
        """Raise ValueError for a value that the scale does not have, and for a constant."""
        if scale.levels == 1:
            raise ValueError(f"{scale} near {short(self.values[0])}: it has one value only; leave the belief out")
        for value in self.values:
            if not scale.has(value):
                raise ValueError(f"near: {short(value)} is not in {scale}; name values that are")

    def near(self, scale: Axis, u: np.ndarray) -> np.ndarray:
        """Unit coordinates (n,) near the values, from uniform ones (n,)."""
        from scipy.special import ndtr, ndtri  # SciPy takes a quarter of a second

        part = u * len(self.values)
        number = np.minimum(part.astype(int), len(self.values) - 1)
        within = part - number
        centres = self._centres(scale)[number]
        if not scale.ordered:
            return np.asarray(centres + (within - 0.5) / scale.levels)
        below, up_to = ndtr(-centres / self.width), ndtr((1 - centres) / self.width)
        return np.clip(centres + self.width * ndtri(below + within * (up_to - below)), 0, 1)

    def density_near(self, scale: Axis, units: np.ndarray) -> np.ndarray:
        """Density (n,) at unit coordinates (n,) of the points that `near` draws; 1 at NaN."""
        from scipy.special import ndtr

        centres = self._centres(scale)
        apart = units[:, None] - centres
        if not scale.ordered:
            densities = scale.levels * (abs(apart) * scale.levels <= 0.5)
        else:
            mass = ndtr((1 - centres) / self.width) - ndtr(-centres / self.width)
            densities = np.exp(-((apart / self.width) ** 2) / 2) / (np.sqrt(2 * np.pi) * self.width * mass)
        return np.where(np.isnan(units), 1.0, densities.mean(1))

    def _centres(self, scale: Axis) -> np.ndarray:
        return np.array([scale.to_unit(value) for value in self.values])


def density(beliefs: Mapping[str, Belief], scales: Mapping[str, Axis], units: Mapping[str, np.ndarray]) -> np.ndarray:
    """Density (n,) of the points of a space with beliefs at unit coordinates, each (n,): 1 without beliefs.

    A point has what is believed in all hyperparameters whose share exceeds one number that is drawn for it.

    >>> from popjax.space.scales import uniform
    >>> beliefs = {"x": Belief((0.5,), width=0.01), "y": Belief((0.5,), width=0.01)}
    >>> scales = {"x": uniform(0, 1), "y": uniform(0, 1)}
    >>> density(beliefs, scales, {"x": np.array([0.5, 0.0]), "y": np.array([0.0, 0.0])}).round(3).tolist()
    [0.2, 0.2]
    """
    near = {name: belief.density_near(scales[name], units[name]) for name, belief in beliefs.items()}
    total: Any = 0.0
    for low, high in itertools.pairwise(sorted({0.0, 1.0, *(belief.share for belief in beliefs.values())})):
        together = [near[name] for name, belief in beliefs.items() if belief.share >= high]
        total = total + (high - low) * np.prod(together, axis=0)
    return np.asarray(total, float)
