"""One way to tune PPO, in a process of its own: prints when it found which mean return, as JSON.

`python sides.py SIDE ENVIRONMENT LONGEST EPOCHS SETTINGS SEED BEGUN`; the time counts from BEGUN, imports and compiling
included.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ppo import PPO, UPDATES

import popjax as pj

SPACE = {
    "learning_rate": pj.log_uniform(1e-4, 1e-2),
    "gamma": pj.one_minus_log_uniform(0.9, 0.999),
    "entropy": pj.log_uniform(1e-4, 1e-1),
}
SIDE, ENVIRONMENT = sys.argv[1:3]
LONGEST, EPOCHS, SETTINGS, SEED = map(int, sys.argv[3:7])
BEGUN = float(sys.argv[7])
AGENT = PPO(ENVIRONMENT, LONGEST)
FOUND: list[tuple[float, float]] = []  # (seconds, mean return)


def note(value: Any) -> None:
    """Note a mean return, and when it was there."""
    FOUND.append((time.time() - BEGUN, float(value)))


class Noting(pj.Callback):
    """Notes the best mean return of each epoch."""

    def epoch(self, result: Any) -> None:
        note(np.nanmax(result.metrics["return"]))


def searched(scheduler: Any) -> None:
    """By popjax."""

    def epoch(state: Any, hparams: Any, data: Any) -> Any:
        state, value = AGENT.epoch(state, hparams)
        return state, {"return": value}

    task = pj.Task(lambda key, hparams, data: AGENT.init(key), epoch, (), metric=pj.Metric("return", mode="max"))
    pj.search(task, SPACE, trials=SETTINGS, epochs=EPOCHS, scheduler=scheduler, seed=SEED, callbacks=[Noting()])


def run(key: jax.Array, hparams: Any) -> jax.Array:
    """The mean return of a setting at the end of its training."""

    def epoch(state: Any, _: Any) -> Any:
        state, _ = jax.lax.scan(lambda state, _: (AGENT.update(state, hparams), None), state, length=UPDATES)
        return state, None

    state, _ = jax.lax.scan(epoch, AGENT.init(key), length=EPOCHS)
    return AGENT.returns(state["weights"], jax.random.fold_in(key, 1))


def points() -> tuple[jax.Array, dict[str, jax.Array]]:
    """Random keys and settings of all runs."""
    values = pj.Space(**SPACE).sample(SETTINGS, seed=SEED)
    return jax.random.split(jax.random.key(SEED), SETTINGS), {name: jnp.asarray(one) for name, one in values.items()}


def by_vmap() -> None:
    """All settings in one program, as PureJaxRL does."""
    note(np.nanmax(jax.jit(jax.vmap(run))(*points())))


def by_loop() -> None:
    """One setting after the other, in one program."""
    compiled, (keys, values) = jax.jit(run), points()
    for at, key in enumerate(keys):
        note(compiled(key, {name: one[at] for name, one in values.items()}))


def by_optuna() -> None:
    """Optuna's proposals, two at once, each in that program."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    compiled, keys, lock = jax.jit(run), points()[0], threading.Lock()

    def objective(trial: Any) -> float:
        hparams = {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
            "gamma": 1 - trial.suggest_float("rest", 0.001, 0.1, log=True),
            "entropy": trial.suggest_float("entropy", 1e-4, 1e-1, log=True),
        }
        value = float(compiled(keys[trial.number], {name: jnp.float32(one) for name, one in hparams.items()}))
        with lock:
            note(value)
        return value

    sampler = optuna.samplers.TPESampler(seed=SEED, constant_liar=True)
    optuna.create_study(direction="maximize", sampler=sampler).optimize(objective, SETTINGS, n_jobs=2)


SIDES: dict[str, Callable[[], None]] = {
    "full": lambda: searched(None),
    "halving": lambda: searched("halving"),
    "pbt": lambda: searched("pbt"),
    "vmap": by_vmap,
    "loop": by_loop,
    "optuna": by_optuna,
}

if __name__ == "__main__":
    SIDES[SIDE]()
    print(json.dumps({"wall": time.time() - BEGUN, "found": FOUND}))
