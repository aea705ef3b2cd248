"""A space: the hyperparameters of a search, each with its scale. No JAX here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np

from popjax.core.counts import check_count
from popjax.core.text import short
from popjax.core.toml import read_toml
from popjax.space import samplers
from popjax.space.beliefs import SHARE, Belief
from popjax.space.constraints import Constraint, constraints_of
from popjax.space.scales import Constant, Entry, Scale, bare
from popjax.space.spelling import read_scale, written_scale
from popjax.space.values import Condition, clauses, ordered, present

Points = Mapping[str, np.ndarray]  # one column (trials,) per hyperparameter
WHERE = "where"  # the key of the constraints among the entries of a space
JUDGED, FEWEST = 10_000, 1000  # points after which at most one in FEWEST that is accepted is too few
MOST = 2**22  # points that are drawn at once
RESERVED = (
    "trial",
    "fold",
    "repeat",
    "round",
    "epoch",
    "epochs",
    "best_epoch",
    "status",
    "rank",
    "value",
    "parameters",
    "flops",
    "feasible",
    "steered",
    WHERE,
)


class Space(Mapping[str, Scale]):
    """An ordered mapping of hyperparameter names to scales; a plain value becomes a Constant.

    A hyperparameter with a condition (`scale.when(parent=value)`) is inactive elsewhere: NaN in its column, or None in
    a column of objects. With a belief (`scale.near(0.01)`) most of its points are drawn near some values. Constraints
    between hyperparameters are added by `where`. Raises ValueError for a name that is reserved or not an identifier, a
    value that is neither a scale nor a valid constant, a parent that is not in the space, and a cycle of conditions.

    Attributes:
        conditions: name -> parent -> values, of the conditional hyperparameters, each after its parents.
        beliefs: name -> Belief, of the hyperparameters that have one.
        constraints: what every point satisfies.

    >>> import popjax as pj
    >>> space = pj.Space(learning_rate=pj.log_uniform(1e-4, 1), hidden=pj.integers(50, 100), momentum=0.9)
    >>> {name: column.dtype.kind for name, column in space.sample(3).items()}
    {'learning_rate': 'f', 'hidden': 'i', 'momentum': 'f'}
    """

    def __init__(self, /, **scales: Any) -> None:
        self._scales: dict[str, Scale] = {}
        self.beliefs: dict[str, Belief] = {}
        self.constraints: tuple[Constraint, ...] = ()
        conditions: dict[str, Condition] = {}
        for name, scale in scales.items():
            if name == WHERE:
                raise ValueError(f"{name!r} is a reserved name; write constraints as popjax.Space(...).where('a <= b')")
            if name in RESERVED:
                raise ValueError(f"{name!r} is a reserved name; call the hyperparameter something else")
            if not name.isidentifier():
                raise ValueError(f"{name!r} is no name for a hyperparameter; use letters, digits and underscores")
            if name != (usual := normalize("NFKC", name)):  # as Python reads it in code and in a constraint
                raise ValueError(f"{name!r} is no name for a hyperparameter; write {usual!r}")
            if isinstance(scale, Entry):
                if scale.belief is not None:
                    self.beliefs[name] = scale.belief
                conditions[name], scale = scale.condition, scale.scale
            try:
                self._scales[name] = scale if isinstance(scale, Scale) else Constant(scale)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        conditions = {name: condition for name, condition in conditions.items() if condition}
        self.conditions = {name: conditions[name] for name in ordered(conditions, self._scales)}

    def __getitem__(self, name: str) -> Scale:
        return self._scales[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._scales)

    def __len__(self) -> int:
        return len(self._scales)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Space):
            return NotImplemented
        return (self.entries(), self.constraints) == (other.entries(), other.constraints)

    def __repr__(self) -> str:
        where = (
            f".where({', '.join(repr(str(constraint)) for constraint in self.constraints)})" if self.constraints else ""
        )
        return f"Space({', '.join(f'{name}={scale}' for name, scale in self.entries().items())}){where}"

    def _repr_html_(self) -> str:
        import popjax as pj

        return str(pj.as_html(self))

    def entries(self) -> dict[str, Scale | Entry]:
        """Name -> scale, as an Entry if it has a condition or a belief."""
        beside = {
            name: Entry(scale, self.conditions.get(name, {}), self.beliefs.get(name)) for name, scale in self.items()
        }
        return {n: entry if entry.condition or entry.belief is not None else entry.scale for n, entry in beside.items()}

    def where(self, *constraints: str | Constraint) -> "Space":
        """A copy with further constraints, such as "hidden * depth <= 300": each point that is drawn satisfies them.

        A constraint that reads an inactive hyperparameter holds. See `Constraint` for what may stand in one.

        Raises ValueError for an invalid constraint, and one that reads what is not in the space, or has no numbers.

        >>> import popjax as pj
        >>> space = pj.Space(hidden=pj.integers(50, 100), depth=pj.integers(2, 4)).where("hidden * depth <= 300")
        >>> points = space.sample(100)
        >>> len(points["hidden"]), bool((points["hidden"] * points["depth"] <= 300).all())
        (100, True)
        """
        combined = constraints_of([*self.constraints, *constraints])
        for constraint in combined:
            for name in constraint.names:
                if name not in self:
                    there = ", ".join(self) or "none"
                    raise ValueError(f"where {constraint}: there is no hyperparameter {name!r}; there are {there}")
                if not self[name].numeric:
                    raise ValueError(
                        f"where {constraint}: {name} is {self[name]}, no number; use a condition, `scale.when`"
                    )
        copy = Space(**self.entries())
        copy.constraints = combined
        return copy

    def near(self, *results: Any, share: float = SHARE) -> "Space":
        """A copy with beliefs (`Scale.near`) from earlier searches, also over other data.

        Args:
            results: Results or directories of runs. The best tenth of each, at least 5 trials, stands for it by five of
                its values of each hyperparameter that both search: one vote a run. Values beyond a scale are left out.
            share: the share of the points that is drawn near them.

        Beliefs that the space has already stay. Being part of the space, the new ones are recorded with it: a resumed
        search needs no earlier results. Raises ValueError without results, for a run in which no trial ranks, and if
        they share no hyperparameter.

        >>> import numpy as np
        >>> import popjax as pj
        >>> space = pj.Space(x=pj.uniform(0, 1))
        >>> task = pj.objective(lambda key, hparams: {"loss": (hparams["x"] - 0.3) ** 2})
        >>> believed = space.near(pj.search(task, space, trials=64))
        >>> bool(np.median(abs(believed.sample(100)["x"] - 0.3)) < 0.15)
        True
        """
        import popjax as pj

        nearer: Space = pj.near(self, *results, share=share)
        return nearer

    def violated(self, points: Points) -> np.ndarray:
        """bool (trials,): the points violate a constraint."""
        rows = len(next(iter(points.values()), ()))
        return ~np.logical_and.reduce(
            [np.ones(rows, bool), *(constraint.holds(points) for constraint in self.constraints)]
        )

    def replace(self, /, **scales: Any) -> "Space":
        """A copy with the named scales set or added.

        A scale without a condition keeps that of its name; `scale.when()`, without a belief, removes it. A belief goes
        with its scale.
        """
        entries = {**self.entries(), **{name: self._kept(name, scale) for name, scale in scales.items()}}
        return Space(**entries).where(*self.constraints)

    def _kept(self, name: str, scale: Any) -> Any:
        """The new scale of a name, with the name's condition so far if the scale has none of its own."""
        if name not in self.conditions or (isinstance(scale, Entry) and scale.belief is None):
            return scale
        own = scale if isinstance(scale, Scale | Entry) else Constant(scale)
        return own if isinstance(own, Entry) and own.condition else own.when(**self.conditions[name])

    def only(self, names: Any) -> "Space":
        """A copy with only the named hyperparameters, in this space's order; without what is said of others."""
        kept: dict[str, Any] = {}
        for name, entry in self.entries().items():
            if name in names and isinstance(entry, Entry):
                mine = {parent: values for parent, values in entry.condition.items() if parent in names}
                entry = Entry(entry.scale, mine, entry.belief)
            if name in names:
                kept[name] = entry
        return Space(**kept).where(
            *(constraint for constraint in self.constraints if set(constraint.names) <= kept.keys())
        )

    @property
    def searched(self) -> tuple[str, ...]:
        """Names of the hyperparameters that are not constants."""
        return tuple(name for name, scale in self.items() if not isinstance(scale, Constant))

    def sample(self, n: int, seed: int = 0, sampler: str = "random") -> dict[str, np.ndarray]:
        """`n` points as columns (n,): float64, int64, or objects for choices; inactive values as in `masked`.

        For "random" and "sobol" the first k of n points are the points for k. A "grid" has at most n points, spread
        as evenly over the axes as that allows. Points that violate a constraint are drawn again, or left out of a grid.

        Raises ValueError for an empty space, an n below 1, a seed below 0, an unknown sampler, a grid over beliefs, and
        constraints that fewer than one in a thousand of 10,000 points satisfy.
        """
        return self.accepted(n, seed, sampler)[0]

    def accepted(
        self,
        n: int,
        seed: int = 0,
        sampler: str = "random",
        accepts: Callable[[Points], np.ndarray] | None = None,
        limits: tuple[str, ...] = (),
    ) -> tuple[dict[str, np.ndarray], int]:
        """The points of `sample` that `accepts` takes too, bool (n,) of columns (n,), and the number drawn for them.

        `limits`: what `accepts` looks at, in words. Raises ValueError as `sample` does.
        """
        points = self._drawn(n, seed, sampler)
        if not self.constraints and accepts is None:
            return points, len(next(iter(points.values()), ()))
        drawn, good = n, self.good(points, accepts)
        while good.sum() < n and sampler != "grid":
            if drawn >= JUDGED and (good.sum() * FEWEST < drawn or drawn > MOST):
                break
            drawn *= 2
            points = self._drawn(drawn, seed, sampler)
            good = self.good(points, accepts)
        if not good.any() or (good.sum() < n and sampler != "grid"):
            wanted = " and ".join([*map(str, self.constraints), *limits])
            if good.sum() * FEWEST >= drawn:
                raise ValueError(f"{n:,} points that satisfy {wanted} are too many to draw; give fewer, or loosen one")
            what = f"{int(good.sum())} of {len(good):,} points of the space satisfy {wanted}"
            raise ValueError(f"{what}; loosen one of them, or narrow the scales to where they hold")
        rows = np.flatnonzero(good)[:n]
        return take(points, rows), len(good) if sampler == "grid" else int(rows[-1]) + 1

    def good(self, points: Points, accepts: Callable[[Points], np.ndarray] | None = None) -> np.ndarray:
        """bool (trials,): the points satisfy the constraints, and `accepts` takes them."""
        good = ~self.violated(points)
        if accepts is not None and good.any():
            good[good] = accepts(take(points, np.flatnonzero(good)))
        return good

    def _drawn(self, n: int, seed: int, sampler: str) -> dict[str, np.ndarray]:
        """`sample` without constraints. One more axis says which points have what is believed."""
        if len(self) == 0:
            raise ValueError("the space is empty: name at least one hyperparameter")
        check_count("trials", n)
        check_count("seed", seed, 0)
        names = self.searched
        if self.beliefs and sampler == "grid":
            name, belief = next(iter(self.beliefs.items()))
            raise ValueError(f"sampler 'grid' is even, and {name} is believed{belief}; use random, sobol or tpe")
        axes = [*(self[name].levels for name in names), *([np.inf] if self.beliefs else [])]
        columns = samplers.draw(sampler, n, axes, seed)
        units = dict(zip(names, columns.T, strict=False))
        for name, belief in self.beliefs.items():
            units[name] = np.where(columns[:, -1] < belief.share, belief.near(self[name], units[name]), units[name])
        count = len(columns)
        points = {name: scale.from_unit(units.get(name, np.zeros(count))) for name, scale in self.items()}
        if sampler == "grid" and self.conditions:  # points that differ only in inactive values are one point
            apart = group(self._told_apart(points), count)
            points = take(points, np.sort(np.array([rows[0] for rows in apart.values()])))
        return self.masked(points)

    def _told_apart(self, points: Points) -> list[list[Any]]:
        """The columns as lists, with None where a hyperparameter is inactive."""
        active, everywhere = self.active(points), np.ones(len(next(iter(points.values()))), bool)
        return [np.where(active.get(n, everywhere), c.astype(object), None).tolist() for n, c in points.items()]  # type: ignore[call-overload]

    def active(self, points: Points) -> dict[str, np.ndarray]:
        """Name -> bool (trials,), active, of the conditional hyperparameters; `points` has a column of every name."""
        active: dict[str, np.ndarray] = {}
        for name, condition in self.conditions.items():
            one_of = [np.isin(points[p].astype(object), np.array([*v], object)) for p, v in condition.items()]
            active[name] = np.logical_and.reduce([*one_of, *(active[p] for p in condition if p in active)])
        return active

    def inactive(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Name -> its condition as a str, of the hyperparameters that cannot exist beside `values`."""
        inactive: dict[str, str] = {}
        for name, condition in self.conditions.items():
            never = [
                p for p, allowed in condition.items() if p in inactive or (p in values and values[p] not in allowed)
            ]
            if never:
                inactive[name] = clauses(condition)
        return inactive

    def masked(self, points: Points) -> dict[str, np.ndarray]:
        """The points with NaN, or None in a column of objects, where inactive; NaN makes a column of ints float64."""
        columns = dict(points)
        for name, active in self.active(points).items() if self.conditions else ():
            column = columns[name]
            if column.dtype != object and not active.all():
                columns[name] = np.where(active, column, np.nan)
            elif not active.all():
                columns[name] = np.array([v if on else None for v, on in zip(column, active, strict=True)], object)
        return columns

    def filled(self, points: Points) -> Points:
        """The points as arrays hold them, with `Scale.inactive` where a hyperparameter is inactive.

        Raises ValueError for an active one without a value.
        """
        if not self.conditions:
            return points
        columns = dict(points)
        for name, active in self.active(points).items():
            scale, column = self[name], points[name]
            for row in np.flatnonzero(active & ~present(column))[:1].tolist():
                raise ValueError(f"{name}: point {row} has no value, and it is active there; give one")
            columns[name] = scale.from_unit(np.zeros(len(column)))
            columns[name][active], columns[name][~active] = column[active], scale.inactive
        return columns

    def check_conditions(self) -> None:
        """Raise ValueError for a condition on a value that its parent never has."""
        for name, condition in self.conditions.items():
            for parent, values in condition.items():
                for value in values:
                    if not self[parent].has(value):
                        what = f"{name} when {parent}={value!r}: {parent} never has this value, it is {self[parent]}"
                        raise ValueError(f"{what}; name one of its values")

    def possible(self) -> "Space":
        """A copy without conditions on values that their parents never have, and without what could never exist.

        >>> import popjax as pj
        >>> space = pj.Space(kind=pj.choice("a", "b"), x=pj.uniform(0, 1).when(kind="a"), y=0.5)
        >>> list(space.replace(kind="b").possible())
        ['kind', 'y']
        """
        entries, gone = self.entries(), set[str]()
        for name, condition in self.conditions.items():  # parents before what depends on them
            kept = {parent: tuple(filter(self[parent].has, values)) for parent, values in condition.items()}
            if gone & kept.keys() or not all(kept.values()):
                gone.add(name)
            else:
                entries[name] = Entry(self[name], kept, self.beliefs.get(name))
        left = {name: entry for name, entry in entries.items() if name not in gone}
        return Space(**left).where(*(constraint for constraint in self.constraints if not gone & {*constraint.names}))

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> "Space":
        """The space of `{name: str or value}`, each read by `read_scale`; raises ValueError naming the entry.

        The entry "where" is a list of constraints.
        """
        scales: dict[str, Any] = {}
        for name, entry in ((name, entry) for name, entry in entries.items() if name != WHERE):
            try:
                scales[name] = read_scale(entry)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        space = cls(**scales)
        if WHERE not in entries:
            return space
        if not isinstance(entries[WHERE], str | list | tuple):
            raise ValueError(f'where is {short(entries[WHERE])}; give a list of texts, as ["hidden * depth <= 300"]')
        return space.where(*constraints_of(entries[WHERE]))

    def to_dict(self) -> dict[str, Any]:
        """The space as `{name: str or value}`, for `from_dict`."""
        written = {name: written_scale(entry) for name, entry in self.entries().items()}
        return written | ({WHERE: [str(constraint) for constraint in self.constraints]} if self.constraints else {})

    @classmethod
    def from_toml(cls, path: str | Path) -> "Space":
        """The space in a TOML file, one line per hyperparameter: `learning_rate = "log_uniform(1e-4, 1)"`.

        A list is a choice; `{scale = "uniform(0, 1)", when = {depth = [3, 4]}}` has a condition; `where` is the list of
        constraints. Raises ValueError naming the file.
        """
        content = read_toml(path, "space")
        try:
            return cls.from_dict(content)
        except ValueError as error:
            raise ValueError(f"cannot read the space {str(path)!r}: {error}") from None


def take(points: Points, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The points of these rows, as columns (rows,)."""
    return {name: column[rows] for name, column in points.items()}


def together(parts: Sequence[Points]) -> dict[str, np.ndarray]:
    """Points one after another; a column of ints with gaps elsewhere is float64."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def group(columns: list[list[Any]], rows: int) -> dict[tuple[Any, ...], np.ndarray]:
    """Values -> numbers of the rows that share them, in order of first appearance."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for row, values in enumerate(zip(*columns, strict=True) if columns else [()] * rows):
        groups.setdefault(values, []).append(row)
    return {values: np.array(rows) for values, rows in groups.items()}


def setting(text: str, where: str) -> tuple[str, Scale | Entry]:
    """Name and scale of `name=value` or `name=scale`, given at `where`; raises ValueError for anything else."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name:
        raise ValueError(f"{where} {text!r}: write name=value or name=scale, such as momentum=0.9")
    try:
        scale = read_scale(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    Space(**{name: bare(scale)})  # checks the name
    return name, scale
