"""Beliefs from earlier searches, also over other data: good values are expected where theirs were. No JAX here."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from popjax.space.beliefs import SHARE
from popjax.space.scales import Choice, Range, Scale
from popjax.space.space import Space
from popjax.space.values import present
from popjax.store.results import Results
from popjax.tuning.zoom import best_share, three_digits

QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of a run's best values, which stand for them: one vote a run


def near(space: Space, *results: Any, share: float = SHARE) -> Space:
    """A Space with beliefs from earlier searches, also over other data: the function behind `Space.near`.

    Args:
        space: the space of the coming search.
        results: Results or directories of runs, as of `Space.near`.
        share: the share of the points that is drawn near their best.

    Raises ValueError as `Space.near`.

    >>> import popjax as pj
    >>> space = pj.Space(x=pj.uniform(0, 1))
    >>> task = pj.objective(lambda key, hparams: {"loss": (hparams["x"] - 0.3) ** 2})
    >>> sorted(pj.near(space, pj.search(task, space, trials=64)).beliefs)
    ['x']
    """
    if not isinstance(space, Space):
        raise ValueError(f"near: the space is a {type(space).__name__}; give a popjax.Space")
    if not results:
        raise ValueError("near: no results; give Results, or directories of runs")
    runs = [loaded(one) for one in results]
    names = [name for name in space.searched if space[name].levels > 1]
    votes = {name: [value for run in runs for value in best_values(run, name, space[name])] for name in names}
    if not any(votes.values()):
        theirs = ", ".join(dict.fromkeys(name for run in runs for name in run.points))
        ours = ", ".join(space.searched) or "a space without scales"
        what = f"near: the runs searched {theirs or 'nothing'}, and none of it within {ours}"
        raise ValueError(f"{what}; name runs over the same hyperparameters")
    entries: dict[str, Any] = {
        name: entry.near(*votes[name], share=share) if votes.get(name) and name not in space.beliefs else entry
        for name, entry in space.entries().items()
    }
    return Space(**entries).where(*space.constraints)


def loaded(given: Any) -> Results:
    """Results, or those of a directory. Raises ValueError for anything else, and for a run in which no trial ranks."""
    results = Results.load(given) if isinstance(given, str | Path) else given
    if not isinstance(results, Results):
        raise ValueError(f"near: {type(given).__name__} is no result of a search; give Results, or a run's directory")
    if not len(results.order):
        where = f"{str(given)!r}: " if isinstance(given, str | Path) else ""
        raise ValueError(f"near: {where}{results.no_winner}; leave it out")
    return results


def best_values(results: Results, name: str, scale: Scale) -> Iterable[Any]:
    """The values of a scale that stand for those of a run's best trials; none if the run did not search it."""
    if name not in results.points or len({str(value) for value in results.points[name].tolist()}) < 2:
        return []
    best = best_share(results.eligible, len(results.diverged))
    column = results.points[name][best]
    values = [value for value in column[present(column)].tolist() if scale.has(value)]
    if not values:
        return []
    if isinstance(scale, Choice):
        places = np.quantile(np.arange(len(values)), QUANTILES, method="nearest").astype(int)
        return np.array(sorted(values, key=scale.values.index), object)[places].tolist()
    assert isinstance(scale, Range)
    units = np.quantile(np.asarray(scale.to_unit(np.array(values))), QUANTILES)
    return [min(max(three_digits(scale, value), scale.low), scale.high) for value in scale.from_unit(units).tolist()]
