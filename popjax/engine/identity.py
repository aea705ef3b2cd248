"""What tells the task of a run from another one: its data, its settings and its code."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from popjax.core.trees import abstract, digest_of_tree
from popjax.engine.member import jax_settings
from popjax.engine.roster import Config, Roster
from popjax.rule import Rule
from popjax.space.space import Space
from popjax.task import Task

HASH = 64  # letters of a SHA-256


def identity(task: Task) -> dict[str, Any]:
    """What tells the data from other data."""
    recipe = task.recipe
    return {"arrays": digest_of_tree(jax.tree.map(as_trained, task.data))} if recipe is None else recipe.identity


def as_trained(leaf: Any) -> Any:
    """An array of a task's data in the type that it has on a device, where it may have no room twice."""
    if isinstance(leaf, jax.Array):
        return leaf
    array = np.asarray(leaf)
    return array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)


def code(roster: Roster) -> dict[str, Any] | None:
    """What tells the code from other code, where the same JAX traces it; None where one process alone knows it."""
    key = roster.first.trace(abstract(roster.task.data)).key()
    traced = {"jax": jax.__version__, "settings": list(map(str, jax_settings())), "branching": roster.first.branching}
    return None if key.objects else traced | {"digest": key.digest}


def other_code(run: Mapping[str, Any], roster: Roster) -> bool:
    """Whether a task certainly computes otherwise than the one whose run.json this is."""
    then, now = dict(run.get("code") or {}), dict(code(roster) or {})
    one, other = then.pop("digest", None), now.pop("digest", None)
    return then == now and one != other


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In what two descriptions differ, a few words each; of what is known by its digest, that it is another.

    >>> differences({"seed": 0, "task": {"optimizer": "sgd"}}, {"seed": 1, "task": {"optimizer": "adam"}})
    ['seed was 0, now 1', 'task: optimizer was sgd, now adam']
    >>> differences({"data": {"split": 64 * "0"}}, {"data": {"split": 64 * "1"}})
    ['data: split is another']
    """
    found = []
    for name, before in then.items():
        after = now.get(name)
        if before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            names = {one: before.get(one) for one in dict.fromkeys([*before, *after])}
            found += [f"{name}: {words}" for words in differences(names, after)]
        elif isinstance(before, str) and isinstance(after, str) and len(before) == len(after) == HASH:
            found.append(f"{name} is another")
        else:
            found.append(f"{name} was {before}, now {after}")
    return found


def check_same(run: Mapping[str, Any], task: Task, what: str) -> None:
    """Raise ValueError where a task is not the one whose run.json this is; `what` was to be done with it."""
    now = {"data": identity(task), "task": dict(task.settings)}
    then = {name: run[name] for name in now if run.get(name) is not None}
    found = differences(then, now)
    if not found and run.get("code"):
        names = ("epochs", "seed", "lanes", "folds", "repeats")
        ranks = Rule(run["rank"]["metric"], run["rank"]["mode"])
        config = Config(rule=ranks, **{name: run[name] for name in names})
        found = ["its code is another"] if other_code(run, Roster(task, Space.from_dict(run["space"]), config)) else []
    if found:
        raise ValueError(f"{what}: this is not the task of the run: {'; '.join(found)}; give the one that was trained")
