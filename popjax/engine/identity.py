"""The identity of a run's task: its data, its settings and its code."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from popjax.core.trees import abstract, digest_of_tree
from popjax.engine.member import jax_settings
from popjax.engine.traced_task import Config, TracedTask
from popjax.rewriting.target import target
from popjax.rule import Rule
from popjax.space.space import Space
from popjax.task import Task

HASH = 64  # characters of a SHA-256 digest


def identity(task: Task) -> dict[str, Any]:
    """The identity of a task's data, as JSON values: the recipe's, else the digest of the arrays."""
    recipe = task.recipe
    return {"arrays": digest_of_tree(jax.tree.map(as_trained, task.data))} if recipe is None else recipe.identity


def as_trained(leaf: Any) -> Any:
    """An array with the dtype that it has on a device; not copied there, since the data may not fit twice."""
    if isinstance(leaf, jax.Array):
        return leaf
    array = np.asarray(leaf)
    return array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)


def code(traced: TracedTask) -> dict[str, Any] | None:
    """The identity of the code, comparable under the same JAX, settings and platform; None if of this process alone."""
    key = traced.first.trace(abstract(traced.task.data)).key()
    under = {"jax": jax.__version__, "settings": list(map(str, jax_settings())), "branching": traced.first.branching}
    under |= {"platform": target()}  # for which it is rewritten
    return None if key.objects else under | {"digest": key.digest}


def other_code(run: Mapping[str, Any], traced: TracedTask) -> bool:
    """True if a task certainly computes something else than the task of run.json `run`."""
    then, now = dict(run.get("code") or {}), dict(code(traced) or {})
    one, other = then.pop("digest", None), now.pop("digest", None)
    return then == now and one != other


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The differences of two descriptions, a few words each; a digest "differs".

    >>> differences({"seed": 0, "task": {"optimizer": "sgd"}}, {"seed": 1, "task": {"optimizer": "adam"}})
    ['seed was 0, now 1', 'task: optimizer was sgd, now adam']
    >>> differences({"data": {"split": 64 * "0"}}, {"data": {"split": 64 * "1"}})
    ['data: split differs']
    """
    lines = []
    for name, before in then.items():
        after = now.get(name)
        if before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            names = {one: before.get(one) for one in dict.fromkeys([*before, *after])}
            lines += [f"{name}: {words}" for words in differences(names, after)]
        elif isinstance(before, str) and isinstance(after, str) and len(before) == len(after) == HASH:
            lines.append(f"{name} differs")
        else:
            lines.append(f"{name} was {before}, now {after}")
    return lines


def check_same(run: Mapping[str, Any], task: Task, what: str) -> None:
    """Raise ValueError unless a task is that of run.json `run`; `what`: the action that the message begins with."""
    now = {"data": identity(task), "task": dict(task.settings)}
    then = {name: run[name] for name in now if run.get(name) is not None}
    faults = differences(then, now)
    if not faults and run.get("code"):
        config = Config.of_run(run, Rule(run["rank"]["metric"], run["rank"]["mode"]))
        faults = (
            ["its code differs"] if other_code(run, TracedTask(task, Space.from_dict(run["space"]), config)) else []
        )
    if faults:
        raise ValueError(f"{what}: this is not the task of the run: {'; '.join(faults)}; give the one that was trained")
