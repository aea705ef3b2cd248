"""A space: the hyperparameters of a search, each with its scale. No JAX here."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from popjax.core.storage import write_atomic
from popjax.space import samplers
from popjax.space.scales import Choice, Constant, Scale, number
from popjax.space.spelling import parse_scale, written

Points = Mapping[str, np.ndarray]  # one column (trials,) a hyperparameter
RESERVED = ("trial", "fold", "repeat", "round", "epoch", "epochs", "status", "rank", "value", "parameters")


class Space(Mapping[str, Scale]):
    """An ordered mapping of hyperparameter names to scales; a plain value is a constant.

    Raises ValueError for a name that is reserved or no identifier.

    >>> from popjax.space.scales import integers, log_uniform
    >>> space = Space(learning_rate=log_uniform(1e-4, 1), hidden=integers(50, 100), momentum=0.9)
    >>> {name: column.dtype.kind for name, column in space.sample(3).items()}
    {'learning_rate': 'f', 'hidden': 'i', 'momentum': 'f'}
    """

    def __init__(self, /, **scales: Any) -> None:
        self._scales: dict[str, Scale] = {}
        for name, scale in scales.items():
            if name in RESERVED:
                raise ValueError(f"{name!r} is a reserved name; call the hyperparameter something else")
            if not name.isidentifier():
                raise ValueError(f"{name!r} is no name for a hyperparameter; use letters, digits and underscores")
            try:
                self._scales[name] = scale if isinstance(scale, Scale) else Constant(scale)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None

    def __getitem__(self, name: str) -> Scale:
        return self._scales[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._scales)

    def __len__(self) -> int:
        return len(self._scales)

    def __repr__(self) -> str:
        return f"Space({', '.join(f'{name}={scale}' for name, scale in self.items())})"

    def replace(self, /, **scales: Any) -> "Space":
        """A copy with the named scales set or added."""
        return Space(**{**self, **scales})

    def only(self, names: Any) -> "Space":
        """A copy with the named hyperparameters alone, in this space's order."""
        return Space(**{name: scale for name, scale in self.items() if name in names})

    @property
    def searched(self) -> tuple[str, ...]:
        """The names that are not constants."""
        return tuple(name for name, scale in self.items() if not isinstance(scale, Constant))

    def sample(self, n: int, seed: int = 0, sampler: str = "random") -> dict[str, np.ndarray]:
        """`n` points as columns: float64, int64, or objects for choices.

        For "random" and "sobol" the first k of n points are the k points. A "grid" has at
        most n points, spread as evenly over the axes as that allows. Raises ValueError.
        """
        if len(self) == 0:
            raise ValueError("the space is empty: name at least one hyperparameter")
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise ValueError(f"trials={n!r}: give at least one trial")
        if seed < 0:
            raise ValueError(f"seed={seed}: give a whole number of at least 0")
        names = self.searched
        levels = [self[name].levels for name in names]
        columns = samplers.draw(sampler, n, levels, seed)
        units = dict(zip(names, columns.T, strict=True))
        rows = len(columns)
        return {name: scale.from_unit(units.get(name, np.zeros(rows))) for name, scale in self.items()}

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> Self:
        """The space of `{name: text or value}`, a text read as `parse_scale` reads it."""
        scales: dict[str, Any] = {}
        for name, entry in entries.items():
            try:
                scales[name] = parse_scale(entry) if isinstance(entry, str) else entry
                scales[name] = Choice(*entry) if isinstance(entry, list) else scales[name]
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return cls(**scales)

    def to_dict(self) -> dict[str, Any]:
        """The space as `{name: text or value}`, for `from_dict`."""
        return {name: written(scale) for name, scale in self.items()}

    @classmethod
    def from_toml(cls, path: str | Path) -> Self:
        """The space in a TOML file, a line a hyperparameter: `learning_rate = "log_uniform(1e-4, 1)"`.

        A list is a choice. Raises ValueError naming the file.
        """
        try:
            return cls.from_dict(tomllib.loads(Path(path).read_text(encoding="utf-8")))
        except OSError as error:
            raise ValueError(f"cannot read the space {str(path)!r}: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"cannot read the space {str(path)!r}: {error}") from None

    def to_toml(self, path: str | Path) -> None:
        """Write the space for `from_toml`."""
        lines = [
            f"{name if name.isascii() else _toml(name)} = {_toml(entry)}\n" for name, entry in self.to_dict().items()
        ]
        write_atomic(Path(path), "".join(lines).encode())


def take(points: Points, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The points of these rows."""
    return {name: column[rows] for name, column in points.items()}


def group(columns: list[list[Any]], rows: int) -> dict[tuple[Any, ...], np.ndarray]:
    """Row numbers by the values that they share, by first appearance."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for row, values in enumerate(zip(*columns, strict=True) if columns else [()] * rows):
        groups.setdefault(values, []).append(row)
    return {values: np.array(rows) for values, rows in groups.items()}


def setting(text: str, where: str) -> tuple[str, Scale]:
    """Name and scale of `name=value` or `name=scale`; raises ValueError that says where it stands."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name:
        raise ValueError(f"{where} {text!r}: write name=value or name=scale, such as momentum=0.9")
    return name, Space.from_dict({name: value})[name]


def _toml(entry: Any) -> str:
    if isinstance(entry, bool):
        return str(entry).lower()
    if number(entry):
        return repr(entry)
    escaped = "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08X}" for c in entry)
    return f'"{escaped}"'
