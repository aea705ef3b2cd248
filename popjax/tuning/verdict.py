"""Does an old ranking still hold? Judged from scores of the old best and of others, trained again. No JAX here."""

from typing import Any

import numpy as np

CONFIDENCE = 0.95
KEEP, TUNE_AGAIN, UNCLEAR = "keep", "tune_again", "unclear"
MEANING = {
    KEEP: "keep the old setting",
    TUNE_AGAIN: "tune again: the old setting is no longer the best",
    UNCLEAR: "unclear, more repeats may tell",
}


def judge(places: np.ndarray, new: np.ndarray, top: int, mode: str) -> dict[str, Any]:
    """The verdict on the old best trials, the first `top` rows, against the other rows, with its figures.

    The best of the old best is compared with the best of the others. Both are chosen on the first
    half of the repeats and compared on the rest, so that a lucky choice is no advantage.
    "tune_again" if the others are ahead with confidence; else "keep" if the old best are ahead
    with confidence or the old order persists (Kendall's tau); else "unclear". A side that
    diverged altogether loses; "unclear" if both did.

    Args:
        places: int (trials,), the old places, 0 for the best; those that diverged come last.
        new: the new values (trials, repeats), at least 3 repeats, NaN for diverged.
        top: number of rows that are the old best.
        mode: "min" or "max".

    >>> new = np.array([[0.9, 0.8, 0.5, 0.4]] * 3).T
    >>> judge(np.arange(4), new, 2, "max")["verdict"]
    'keep'
    """
    sign = 1 if mode == "max" else -1
    value = sign * new.astype(float)
    if not np.isfinite(value).any():
        return {"verdict": UNCLEAR, "reason": "unclear: every trial diverged this time; try smaller learning rates"}
    others, best = (value[top:], f"all {len(places) - top} others"), (value[:top], f"all of the old top {top}")
    for verdict, (values, side) in {KEEP: others, TUNE_AGAIN: best}.items():
        if not np.isfinite(values).any():
            return {"verdict": verdict, "reason": f"{MEANING[verdict]}; {side} diverged this time"}
    value = np.where(np.isfinite(value), value, value[np.isfinite(value)].min())
    gain, half = mean_and_half(gains(value, top))
    tau, p = kendall(-places, value.mean(1))
    verdict = UNCLEAR
    if gain - half > 0:
        verdict = TUNE_AGAIN
    elif gain + half < 0 or (tau is not None and tau > 0 and p < 1 - CONFIDENCE):
        verdict = KEEP
    again = np.argsort(-value.mean(1), kind="stable")[:top]
    return {
        "verdict": verdict,
        "others_ahead_by": gain,
        "others_ahead_half_width": half,
        "kendall_tau": tau,
        "top_k_overlap": float(np.mean(again < top)),
        "reason": sentence(verdict, top, len(places) - top, gain, half, tau),
    }


def first_now(trials: np.ndarray, old: np.ndarray, new: np.ndarray, mode: str) -> dict[str, Any]:
    """The place of the old winner, the first row, among all trials trained again, and the best one now.

    Args:
        trials: the numbers (trials,) of the trials trained again.
        old: their old values (trials,), NaN for diverged.
        new, mode: as in `judge`.

    >>> old, new = np.array([0.9, 0.8, 0.7]), np.array([[0.5] * 3, [0.75] * 3, [0.25] * 3])
    >>> found = first_now(np.array([4, 1, 6]), old, new, "max")
    >>> found["first_says"]
    'the old best, trial 4, had 0.9 and has 0.5 ± 0, place 2 of 3; the best now is trial 1, which has 0.75 ± 0'
    >>> found["place_says"]
    'place 2 of 3 now, behind the best by more than its error'
    """
    signed = (new if mode == "max" else -new).astype(float)
    order = best_first(signed)
    place, best = int(np.flatnonzero(order == 0)[0]) + 1, int(order[0])
    says = f"the old best, trial {trials[0]}, had {old[0]:.4g} and {now(new[0])}"
    says += f", place {place} of {len(trials)}"
    says += "" if best == 0 else f"; the best now is trial {trials[best]}, which {now(new[best])}"
    choosing, whole = choosing_repeats(signed), np.isfinite(signed).all(1)
    rival = best_first(np.where(whole[:, None], signed, np.nan)[:, :choosing])[0]
    lead = (signed[rival] - signed[0])[choosing:]
    beside = place_says(place, len(trials), lead if whole[0] else np.full(len(lead), np.nan))
    return {"first_place": place, "best_now": int(trials[best]), "first_says": says, "place_says": beside}


def best_first(values: np.ndarray) -> np.ndarray:
    """The rows of values (trials, repeats) by their means, best first; those that are not finite last."""
    mean = values.mean(1)
    return np.argsort(-np.where(np.isfinite(mean), mean, -np.inf), kind="stable")


def choosing_repeats(values: np.ndarray) -> int:
    """How many of the repeats of values (trials, repeats) choose, the first ones; the others compare."""
    return values.shape[1] // 2


def place_says(place: int, trials: int, lead: np.ndarray) -> str:
    """The place of the old best, and whether its rival leads it by more than its error.

    `lead`: (n,), by how much the trial leads that is the best of the repeats that choose, in each of the others; NaN if
    the old best diverged.

    >>> place_says(2, 40, np.array([0.1, -0.1, 0.1]))
    'place 2 of 40 now, within its error of the best'
    """
    if place == 1:
        return f"place 1 of {trials} again"
    mean, half = mean_and_half(lead.astype(float))
    if not np.isfinite(mean):
        return f"place {place} of {trials} now, since it diverged"
    near = "within its error of the best" if mean <= half else "behind the best by more than its error"
    return f"place {place} of {trials} now, {near}"


def now(values: np.ndarray) -> str:
    """The mean of a trial's new values (repeats,) and its half-width, in words."""
    mean, half = mean_and_half(values.astype(float))
    return f"has {mean:.4g} ± {half:.2g}" if np.isfinite(mean) else "diverged this time"


def gains(value: np.ndarray, top: int) -> np.ndarray:
    """The lead (n,) of the others' best over the old best, on the repeats that did not choose them."""
    choosing = choosing_repeats(value)
    best, other = best_first(value[:top, :choosing])[0], top + best_first(value[top:, :choosing])[0]
    return value[other, choosing:] - value[best, choosing:]


def mean_and_half(values: np.ndarray) -> tuple[float, float]:
    """The mean of values (n,) and half the width of its 95% interval by Student's t."""
    from scipy.stats import t

    n = values.shape[-1]
    half = t.ppf((1 + CONFIDENCE) / 2, n - 1) * values.std(-1, ddof=1) / np.sqrt(n)
    return float(values.mean(-1)), float(half)


def kendall(old: np.ndarray, new: np.ndarray) -> tuple[float | None, float]:
    """Kendall's tau (1938) of two rankings and its p-value; (None, 1.0) if one of them is constant."""
    from scipy.stats import kendalltau

    if len(set(old.tolist())) < 2 or len(set(new.tolist())) < 2:
        return None, 1.0
    tau, p = kendalltau(old, new)
    return float(tau), float(p)


def sentence(verdict: str, top: int, others: int, gain: float, half: float, tau: float | None) -> str:
    """The verdict in one sentence."""
    lead = f"{abs(gain):.3g} ± {half:.2g} {'ahead of' if gain > 0 else 'behind'}"
    order = "nothing to rank" if tau is None else f"Kendall's tau {tau:.2f}"
    return f"{MEANING[verdict]}; the best of {others} others is {lead} the best of the old top {top} ({order})"
