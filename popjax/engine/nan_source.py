"""Where NaN comes from, if jax_debug_nans is set: a diverged trial trained again, with a check after each operation."""

import contextlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
from jax.experimental import checkify

from popjax.core.faults import is_users
from popjax.engine.roster import Roster

LINE = re.compile(r"^(.*):(\d+) \((.*)\)$", re.MULTILINE)
FLOATS = checkify.nan_checks
CHECKS = ("jax_debug_nans", "jax_debug_infs")


@contextlib.contextmanager
def unchecked() -> Iterator[dict[str, bool]]:
    """Context without JAX's checks, in all threads: programs hold NaN for members that rest. Gives those that were set.

    They are as before at the end, here and in the other threads.
    """
    asked = {name: True for name in CHECKS if getattr(jax.config, name)}
    with ThreadPoolExecutor(1) as fresh:  # a thread without settings of its own, as `jax.debug_nans` makes them
        everywhere = [name for name in CHECKS if fresh.submit(getattr, jax.config, name).result()]
    for name in everywhere:
        jax.config.update(name, False)
    try:
        with jax.debug_nans(False), jax.debug_infs(False):
            yield asked
    finally:
        for name in everywhere:
            jax.config.update(name, True)


def nan_error(roster: Roster, trial: int) -> ValueError:
    """The error of a diverged trial, with the user's line if it is found."""
    remedy = "popjax counts such a trial as diverged; unset jax_debug_nans and jax_debug_infs to train the others"
    with unchecked():  # the checks of `checkify` find it
        place = place_of_nan(roster, trial)
    return ValueError(f"trial {trial} is not finite{place}: {remedy}")


def place_of_nan(roster: Roster, trial: int) -> str:
    """The user's line that is not finite first, in brackets; "" for a trial that stays finite."""
    bucket = int(roster.bucket[trial])
    functions, data = roster.buckets[bucket], roster.task.data
    for number in roster.config.numbering.members([trial]).tolist():
        member = roster.member(bucket, number)
        hparams = functions.hparams(member)
        epoch = checkify.checkify(lambda state, data, of=hparams: roster.task.epoch(state, of, data), FLOATS)
        state = functions._init(jnp.uint32(roster.config.seed), member, data).state
        for _ in range(roster.config.epochs):
            error, (state, _) = epoch(state, data)
            if (exception := error.get_exception()) is not None:
                lines = LINE.findall(str(exception.traceback_info))
                users = [f" ({file}, line {line}, in {name})" for file, line, name in lines if is_users(file)]
                return "".join(users[:1])  # the innermost one
    return ""
