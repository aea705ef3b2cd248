"""Models steered by hand while they train: one ("panda"), or each member of a living population.

What a sweep decides before training is decided here between epochs: a hyperparameter is an
element of an array that the program takes, so a change needs no new program.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from popjax.core.clock import Clock
from popjax.core.trees import abstract, from_host, named, to_host
from popjax.engine.backend import threads
from popjax.engine.compiler import COMPILER
from popjax.engine.member import Member, Members, Training
from popjax.engine.plan import check_memory, checker_for, member_bytes
from popjax.engine.population import check_numbers, check_sizes
from popjax.engine.tracer import Checker, check_read
from popjax.space.scales import Choice, Constant, Scale
from popjax.space.space import Space
from popjax.task import Task

MEMORY = 2**31  # bytes of earlier states to keep, for `back`


class Session:
    """Models in training that one can watch, change, and take back.

    Member m trains as trial m of `search` with the same task, values, ranges and seed does.

    Args:
        task: how one model is trained.
        hparams: name -> value, for one model; or name -> values (members,), for several
            (a single value is everyone's).
        epochs: the horizon of schedules that have one; training may go on beyond it.
        seed: of the members' keys.
        space: ranges to make room for where they are wider than the values.
        trials: the members' numbers, from which their keys are made; 0, 1, ... if not given.

    Raises:
        ValueError: for anything that cannot be trained.

    >>> def epoch(x, hparams, data):
    ...     return x - hparams["learning_rate"] * 2 * x, {"loss": x**2}
    >>> session = Session(Task(lambda key, hparams, data: jnp.ones(()), epoch, ()), {"learning_rate": 0.25})
    >>> session.train(2)
    >>> session.set(learning_rate=0.5)
    >>> session.train(2)
    >>> session.curves["loss"].tolist()
    [1.0, 0.25, 0.0625, 0.0]
    >>> session.back(2)
    >>> session.epoch, session.state.item()
    (2, 0.25)
    """

    def __init__(
        self,
        task: Task,
        hparams: Mapping[str, Any],
        epochs: int = 20,
        seed: int = 0,
        space: Space | None = None,
        trials: Sequence[int] | None = None,
    ) -> None:
        check_numbers({"epochs": epochs}, seed)
        self.task = task
        self.single = all(np.ndim(value) == 0 for value in hparams.values())
        self._columns = columns_of(hparams)
        self.members = len(next(iter(self._columns.values())))
        self.space = Space(**{name: covering(column) for name, column in self._columns.items()})
        check_sizes(self.space)
        if space is not None:
            self.space = self.space.replace(**space.only(self.space))
        self._trials = np.arange(self.members) if trials is None else np.asarray(trials)
        checker, lanes = checker_for(task, self.space, self._columns, epochs, None)
        self._member = self._settle(checker)
        check_memory(self._member)
        self._data = jax.tree.map(jnp.asarray, task.data)
        lanes = min(lanes, self.members)
        self._slices = even_slices(self.members, lanes, threads())
        self._room = -(-max(len(rows) for rows in self._slices) // lanes) * lanes
        self._programs = COMPILER.programs(self._member, abstract(self._data), self._room, lanes, Clock())
        self._pool = ThreadPoolExecutor(len(self._slices))
        start = self._programs.init.result()
        self._trainings = self._each(lambda i, *who: start(np.uint32(seed), *who))
        self._records: list[dict[str, np.ndarray]] = []
        self._measures: dict[Any, Any] = {}
        bytes_each = self.members * member_bytes(self._member)
        self._moments = deque([self._gather()], maxlen=max(2, MEMORY // bytes_each))

    def _settle(self, checker: Checker) -> Member:
        """The one program's functions; raises ValueError if the members need several."""
        static = checker.settle(set())
        for name in static:
            if len(set(self._columns[name].tolist())) > 1:
                raise ValueError(f"{name} fixes a shape or code: give all members one value, or a session each")
        member = checker.member(0, static)
        check_read(self.space, checker.read_by([member]))
        return member

    @property
    def epoch(self) -> int:
        """How many epochs are trained."""
        return len(self._records)

    @property
    def curves(self) -> dict[str, np.ndarray]:
        """Metric -> (epochs,) for one model, (members, epochs) for several; NaN where a member rested."""
        names = self._records[0] if self._records else {}
        stacked = {name: np.stack([record[name] for record in self._records], 1) for name in names}
        return {name: values[0] if self.single else values for name, values in stacked.items()}

    @property
    def state(self) -> Any:
        """The task's state on the host; several members are stacked."""
        state = self._moments[-1].state
        return jax.tree.map(lambda array: array[0], state) if self.single else state

    @property
    def alive(self) -> Any:
        """Whether (members,) they train on: neither stopped nor diverged."""
        alive = self._moments[-1].alive
        return bool(alive[0]) if self.single else alive.copy()

    @property
    def hparams(self) -> dict[str, Any]:
        """The hyperparameters now: values for one model, columns for several."""
        if self.single:
            return {name: column.tolist()[0] for name, column in self._columns.items()}
        return {name: column.copy() for name, column in self._columns.items()}

    @property
    def dynamic(self) -> tuple[str, ...]:
        """The hyperparameters that may be set."""
        return tuple(self._member.dynamic)

    def train(self, epochs: int = 1) -> None:
        """Train so many epochs more; a member that was stopped or diverged rests."""
        check_numbers({"epochs": epochs})
        advance = self._programs.epoch.result()
        for _ in range(epochs):
            stepped = self._each(lambda i, *who: advance(self._trainings[i], *who))
            self._trainings = [training for training, _ in stepped]
            metrics = self._join([jax.tree.map(np.asarray, values) for _, values in stepped])
            finite = np.all([np.isfinite(values) for values in metrics.values()], axis=0)
            self._records.append({name: np.where(finite, values, np.nan) for name, values in metrics.items()})
            self._moments.append(self._gather())

    def set(self, member: int | None = None, /, **values: Any) -> None:
        """Change hyperparameters from the next epoch on: of one member, or of all.

        Raises ValueError for one that does not exist, fixes a shape, or is out of range;
        nothing is changed then.
        """
        rows = slice(None) if member is None else self._row(member)
        for name, value in values.items():
            self._check(name, value)
        for name, value in values.items():
            self._columns[name][rows] = value

    def back(self, epochs: int) -> None:
        """Return to the states of so many epochs ago; the hyperparameters stay as they are now."""
        check_numbers({"back": epochs})
        kept = len(self._moments) - 1
        if epochs > kept:
            raise ValueError(
                f"back {epochs}: only {kept} of {self.epoch} epochs can be taken back; give at most {kept}"
            )
        for _ in range(epochs):
            self._moments.pop()
            self._records.pop()
        self._load(self._moments[-1])

    def clone(self, source: int, target: int) -> None:
        """Overwrite a member by another one: state, random key and hyperparameters.

        Until one of them is set otherwise, both train alike.
        """
        source, target = self._row(source), self._row(target)
        rows = np.arange(self.members)
        rows[target] = source
        self._load(jax.tree.map(lambda array: array[rows], self._moments[-1]))
        for column in self._columns.values():
            column[target] = column[source]

    def stop(self, member: int) -> None:
        """Let a member rest: it keeps its state, and its curves are NaN from here on."""
        alive = self._moments[-1].alive.copy()
        alive[self._row(member)] = False
        self._load(self._moments[-1]._replace(alive=alive))

    def measure(self, function: Any) -> dict[str, Any]:
        """`function(state, hparams, data) -> dict` of the first member as it stands, compiled on first use."""
        state = jax.tree.map(lambda leaf: leaf[0], self._trainings[0].state)
        who = jax.tree.map(lambda column: column[0], self._members(0))
        if function not in self._measures:
            self._measures[function] = jax.jit(
                lambda state, who, data: function(state, self._member.hparams(who), data)
            )
        return jax.tree.map(np.asarray, self._measures[function](state, who, self._data))

    def arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any] | None]:
        """The state's arrays by name (members, ...), and what makes a predictor of them, if the task knows it."""
        arrays = named(self._moments[-1].state)
        if self.task.recipe is None:
            return arrays, None
        member = self._member
        known = {"space": self.space.to_dict(), "static": list(member.static), "epochs": member.epochs}
        return arrays, self.task.recipe.describe() | known

    def _row(self, member: Any) -> int:
        if isinstance(member, bool) or not isinstance(member, int | np.integer) or not 0 <= member < self.members:
            raise ValueError(f"member {member!r}: choose 0..{self.members - 1}")
        return int(member)

    def _check(self, name: str, value: Any) -> None:
        """Raise ValueError unless `name` may become `value`; the task looks at its range as before training."""
        if name not in self._columns:
            raise ValueError(f"{name} is no hyperparameter of this session; there are {', '.join(self._columns)}")
        if name not in self._member.dynamic:
            raise ValueError(f"{name} fixes a shape or code of the program; begin anew with another {name}")
        try:
            scale = Constant(value)
            check_sizes(Space(**{name: scale}))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if not scale.numeric:
            raise ValueError(f"{name}={value!r}: give a number")
        if self._member.dynamic[name] is int and not scale.whole:
            raise ValueError(f"{name}={value!r}: it began as a whole number; give one, or begin anew with {name}=1.0")
        if name in self._member.sizes:
            room = self.space[name]
            if not room.low <= value <= room.high or room.from_unit(room.to_unit(value)) != value:
                raise ValueError(f"{name}={value}: there is room for {room}")
            return
        scales = {**self.space, name: scale}
        probe = Member(self.task, self._member.static, self._member.dynamic, scales, self._member.epochs)
        jax.eval_shape(probe.init, np.uint32(0), probe.example, abstract(self._data))

    def _members(self, part: int) -> Members:
        """Who the members of a part are, the last one again where there is room."""
        rows = self._slices[part]
        rows = np.pad(rows, (0, self._room - len(rows)), mode="edge")
        values = {name: self._columns[name][rows].astype(self._member.dtype(name)) for name in self._member.dynamic}
        zeros = np.zeros(self._room, np.int32)
        return Members(self._trials[rows].astype(np.int32), zeros, zeros, values)

    def _each(self, step: Any) -> list[Any]:
        """`step(part, members, data, count)` of every part, one thread each."""
        who = [(self._members(i), self._data, np.array([len(rows)], np.int32)) for i, rows in enumerate(self._slices)]
        x64 = jax.config.jax_enable_x64

        def work(part: int) -> Any:
            with jax.enable_x64(x64):
                return jax.block_until_ready(step(part, *who[part]))

        return list(self._pool.map(work, range(len(who))))

    def _join(self, parts: list[Any]) -> Any:
        """Stacked arrays of the parts as those of all members."""
        counts = [len(rows) for rows in self._slices]
        trimmed = [jax.tree.map(lambda a, n=n: a[:n], part) for part, n in zip(parts, counts, strict=True)]
        return jax.tree.map(lambda *arrays: np.concatenate(arrays), *trimmed)

    def _gather(self) -> Training:
        """All members as they stand, on the host."""
        return self._join([to_host(training) for training in self._trainings])

    def _load(self, moment: Training) -> None:
        """Let all members stand as in `moment`, which becomes the latest."""
        self._moments[-1] = moment
        padded = [np.pad(rows, (0, self._room - len(rows)), mode="edge") for rows in self._slices]
        self._trainings = [
            from_host(self._trainings[0], jax.tree.map(lambda a, rows=rows: a[rows], moment)) for rows in padded
        ]


def columns_of(hparams: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Name -> column (members,) of values or of lists of values; raises ValueError where lengths differ."""
    if not hparams:
        raise ValueError("no hyperparameters: name at least one")
    members = max(len(value) if np.ndim(value) else 1 for value in hparams.values())
    columns = {}
    for name, value in hparams.items():
        values = list(value) if np.ndim(value) else [value] * members
        if len(values) != members:
            raise ValueError(f"{name} has {len(values)} values for {members} members; give one, or one each")
        column = np.array(values)
        columns[name] = column if column.dtype.kind in "if" else np.array(values, object)
    return columns


def covering(column: np.ndarray) -> Scale:
    """A scale with room for these values."""
    values = dict.fromkeys(column.tolist())
    return Choice(*values) if len(values) > 1 else Constant(*values)


def even_slices(members: int, lanes: int, parts: int) -> list[np.ndarray]:
    """The rows of each part, at most `parts` of them, in whole lanes."""
    chunks = -(-members // lanes)
    each = -(-chunks // parts) * lanes
    return [np.arange(at, min(at + each, members)) for at in range(0, members, each)]
