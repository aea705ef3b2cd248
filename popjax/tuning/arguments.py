"""What is wrong with a search's arguments, in one line each."""

from collections.abc import Mapping
from typing import Any

from popjax.core.counts import check_count
from popjax.engine.memory import total
from popjax.store.results import CHOICES

CURVE_BYTES = 32  # four metrics in float64


def check_numbers(counts: Mapping[str, Any], seed: Any = 0) -> None:
    """Raise ValueError unless these are whole numbers of at least 1, and `seed` is one that a key can be made of."""
    for name, value in [*counts.items(), ("seed", seed)]:
        check_count(name, value, 0 if name == "seed" else 1)
    if seed >= 2**32:
        raise ValueError(f"seed={seed}: choose 0 <= seed < 2**32")


def check_curves(trials: int, records: int) -> None:
    """Raise ValueError if the curves of so many records a trial could not be held."""
    needed = trials * records * CURVE_BYTES
    if needed > total():
        what = f"{trials} trials of {records} epochs need {needed / 2**30:.3g} GiB for their curves alone"
        raise ValueError(f"{what}, this machine has {total() / 2**30:.3g}; lower trials or epochs")


def check_choices(choose: str, each: int, rounds: int | None, trials: int, scheduler: Any, learning: bool) -> None:
    """Raise ValueError for choices that exclude each other; `learning`: whether the sampler looks at the trials."""
    if learning and rounds == 1 and trials > 1:
        raise ValueError("rounds=1: a sampler that learns has nothing to learn from; give at least 2, or leave it out")
    if rounds is not None and rounds > trials:
        raise ValueError(f"rounds={rounds}: there are {trials} trials; give at least one to each round")
    if scheduler is not None and not callable(scheduler) and not isinstance(scheduler, str):
        raise ValueError(f"the scheduler is a {type(scheduler).__name__}; give one such as popjax.halving()")
    if choose not in CHOICES:
        raise ValueError(f"unknown choose {choose!r}; there are {', '.join(CHOICES)}")
    if choose == "one-se" and each == 1:
        raise ValueError("choose='one-se': one member has no standard error; use folds or repeats of at least 2")


def check_budget(minutes: Any) -> None:
    """Raise ValueError unless this is a time, or none."""
    if minutes is None:
        return
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 < minutes < 1e6:
        raise ValueError(f"minutes={minutes!r}: give a number above 0")
