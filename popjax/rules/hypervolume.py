"""Hypervolume: the volume that a set of points dominates, up to a reference point."""

import numpy as np

from popjax.rules.nondominated import fronts_of


def hypervolume(losses: np.ndarray, worst: np.ndarray) -> float:
    """The volume that points (n, objectives) dominate, up to `worst` (objectives,); less is better.

    Computed slice by slice along the last objective.

    >>> hypervolume(np.array([[0.0, 2.0], [1.0, 1.0]]), np.array([3.0, 3.0]))
    5.0
    """
    losses = losses[(losses < worst).all(1)]
    if len(losses) == 0:
        return 0.0
    if losses.shape[1] == 1:
        return float(worst[0] - losses.min())
    losses = losses[np.argsort(losses[:, -1], kind="stable")]
    ends = np.append(losses[1:, -1], worst[-1])
    heights = ends - losses[:, -1]
    if losses.shape[1] == 2:
        return float((heights * (worst[0] - np.minimum.accumulate(losses[:, 0]))).sum())
    slices = [hypervolume(losses[: n + 1, :-1], worst[:-1]) if height else 0.0 for n, height in enumerate(heights)]
    return float(heights @ np.array(slices))


def contributions(losses: np.ndarray, worst: np.ndarray) -> np.ndarray:
    """What each point (n,) of a front (n, objectives) adds to the hypervolume of the others; none is beyond `worst`.

    With two objectives this is a rectangle between two neighbours; with more, a point's box less the part that the
    others dominate (While et al. 2012, "A fast way of calculating exact hypervolumes").

    >>> contributions(np.array([[0.0, 2.0], [1.0, 1.0]]), np.array([3.0, 3.0])).tolist()
    [1.0, 2.0]
    """
    if losses.shape[1] == 2:
        order = np.lexsort(losses.T[::-1])
        x, y = losses[order].T
        added = np.empty(len(losses))
        added[order] = (np.append(x[1:], worst[0]) - x) * (np.append(worst[1], y[:-1]) - y)
        return added
    return np.array([own_volume(losses[row], np.delete(losses, row, 0), worst) for row in range(len(losses))])


def own_volume(point: np.ndarray, others: np.ndarray, worst: np.ndarray) -> float:
    """The volume of the box from a point (objectives,) to `worst` that no other point (n, objectives) dominates."""
    box = float(np.prod(worst - point))
    if box == 0:
        return 0.0
    within = np.unique(np.maximum(others, point), axis=0)
    return box - hypervolume(within[fronts_of(within) == 0], worst)
