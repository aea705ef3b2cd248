"""Split rows into training, validation and test rows, fold by fold. No JAX here."""

import dataclasses
import hashlib
import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from popjax.data.dataset import Dataset


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of the parts, each sorted.

    Attributes:
        train, validation: int (folds, rows).
        test: int (rows,), the same for all folds.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @property
    def digest(self) -> str:
        """SHA-256 of the row numbers."""
        parts = (self.train, self.validation, self.test)
        return hashlib.sha256(b"|".join(part.astype("<i8").tobytes() for part in parts)).hexdigest()


class Splitting(NamedTuple):
    """How rows are split.

    Attributes:
        validation, test: shares of the rows, or the numbers of the rows; without test rows if `test` is 0.
        seed: seed of the order of the rows.
        groups: int (rows,), group of each row, no group in two parts; None if rows are independent.
        shuffle: True for a random order of the rows; False if their order is time: later rows validate and test.
    """

    validation: Any = 0.1
    test: Any = 0.1
    seed: int = 0
    groups: np.ndarray | None = None
    shuffle: bool = True


def split(dataset: Dataset, splitting: Splitting, folds: int = 1, share: float | None = None) -> Split:
    """Split rows into training, validation and test rows, at least one each, stratified by class.

    Rows are put in random order within their class, and every part takes rows at even
    distances along that order, so its share of each class is exact to within one row. The
    test rows are taken first. With several folds the rest is cut into as many validation
    parts of equal size, and the few rows that remain always train; with a `share` a part has
    at most that share of all rows, or of groups about that. Raises ValueError.
    """
    n = len(dataset)
    fixed = {name: numbers(name, getattr(splitting, name), dataset) for name in ("validation", "test")}
    for name in ("validation", "test"):
        part = getattr(splitting, name)
        if fixed[name] is None and not (0 < part < 1 or (name == "test" and part == 0)):
            raise ValueError(f"{name}={part}: give a share of the rows between 0 and 1, such as 0.1")
    if fixed["validation"] is not None and folds > 1:
        raise ValueError(f"folds={folds} cut their own validation rows; give a share, or folds=1")
    if isinstance(splitting.seed, bool) or not isinstance(splitting.seed, int | np.integer) or splitting.seed < 0:
        raise ValueError(f"seed={splitting.seed!r}: give a whole number of at least 0")
    size = rows_in(n, splitting.test, fixed["test"])
    per_fold = (n - size) // folds if folds > 1 else rows_in(n, splitting.validation, fixed["validation"])
    per_fold = per_fold if share is None else min(per_fold, max(1, round(n * share)))
    if per_fold < 1 or size + per_fold >= n:
        shares = {name: getattr(splitting, name) if fixed[name] is None else "rows" for name in fixed}
        validation = f"folds={folds}" if folds > 1 else f"validation={shares['validation']}"
        raise ValueError(
            f"{validation} and test={shares['test']} leave no row of {n} to train on or to validate; lower them"
        )
    if splitting.groups is not None:
        return by_groups(splitting, fixed, size, per_fold, folds, limited=share is not None)
    if not splitting.shuffle:
        return by_time(n, fixed, size, per_fold, folds)
    rng = np.random.default_rng([splitting.seed, n])
    strata = np.zeros(n) if dataset.classes is None else dataset.y
    order = np.lexsort((rng.random(n), strata))
    kept = np.zeros(0, int) if fixed["validation"] is None or fixed["test"] is not None else fixed["validation"]
    tested, order = _set_aside(order[~np.isin(order, kept)], size, rng, fixed["test"])
    order = np.concatenate([order, kept])
    picked, only_train = _set_aside(order, per_fold * folds, rng, fixed["validation"])
    validations = [picked[fold::folds] for fold in range(folds)]
    trains = [np.concatenate([only_train, *validations[:fold], *validations[fold + 1 :]]) for fold in range(folds)]
    return Split(np.sort(trains, 1), np.sort(validations, 1), np.sort(tested))


def numbers(name: str, part: Any, dataset: Dataset) -> np.ndarray | None:
    """Row numbers in the dataset, from row numbers or a bool mask of all rows; None for a share.

    All rows: also those that were dropped, which are in no part. Raises ValueError for others.
    """
    rows = len(dataset) + len(dataset.dropped)
    if isinstance(part, bool) or not np.ndim(part):
        if isinstance(part, bool) or not isinstance(part, int | float | np.number):
            raise ValueError(f"{name}={part!r}: give a share such as 0.1, row numbers, or a file such as rows.csv")
        return None
    wanted = np.asarray(part)
    if wanted.dtype == bool and wanted.shape == (rows,):
        wanted = np.flatnonzero(wanted)
    if wanted.ndim != 1 or wanted.dtype.kind not in "iu" or len(wanted) == 0 or len(set(wanted.tolist())) < len(wanted):
        what = "a list of different row numbers, or a truth value for each of the rows"
        raise ValueError(f"{name}: give a share of the rows, such as 0.1, {what}")
    if not 0 <= wanted.min() <= wanted.max() < rows:
        wrong = wanted.max() if wanted.max() >= rows else wanted.min()
        raise ValueError(f"{name}: there is no row {wrong}; choose 0..{rows - 1}")
    kept = wanted[~np.isin(wanted, dataset.dropped)]
    if len(kept) == 0:
        raise ValueError(f"{name}: all its rows were left out; give some without missing cells")
    return kept - np.searchsorted(dataset.dropped, kept)


def rows_in(rows: int, part: Any, fixed: np.ndarray | None) -> int:
    """Number of rows of a part: at least one, or 0 for a share of 0."""
    if fixed is not None:
        return len(fixed)
    return 0 if part == 0 else max(1, round(rows * part))


def by_groups(
    splitting: Splitting,
    fixed: Mapping[str, np.ndarray | None],
    size: int,
    per_fold: int,
    folds: int,
    limited: bool,
) -> Split:
    """Split rows group by group, in random order, until a part has its share.

    Folds get their groups largest first, each into the smallest fold; since all folds train and validate on equally
    many rows, those beyond the smallest fold's are left out. All groups that do not test are in a fold, or if the
    folds are `limited` enough for `per_fold` rows of each; the others only train. Raises ValueError for too few groups.
    """
    groups = splitting.groups
    assert groups is not None
    counts = np.bincount(groups)
    order = np.random.default_rng([splitting.seed, len(groups)]).permutation(len(counts))
    reserved = np.unique(groups[[] if fixed["validation"] is None else fixed["validation"]])
    reserved = reserved if fixed["test"] is None else reserved[:0]  # no group of the given validation rows tests
    tested, order = _groups_of("test", fixed["test"], groups, order[~np.isin(order, reserved)], size)
    order = np.concatenate([order, reserved])
    if folds == 1:
        validated, order = _groups_of("validation", fixed["validation"], groups, order, per_fold)
        parts = [validated]
    else:
        enough = int(np.searchsorted(counts[order].cumsum(), per_fold * folds)) + 1
        picked = order[: max(folds, enough)] if limited else order
        parts = dealt(picked[np.argsort(-counts[picked], kind="stable")], counts, folds)
    if min(map(len, parts)) == 0 or len(order) == 0 or (folds > 1 and len(order) < folds):
        remedy = "lower the folds" if folds > 1 else "give rows of more groups, or a smaller share of each part"
        raise ValueError(f"groups: {len(counts)} are too few to train on some and to set others aside; {remedy}")
    rows = [np.flatnonzero(np.isin(groups, part)) for part in parts]
    trains = [np.flatnonzero(np.isin(groups, order) & ~np.isin(groups, part)) for part in parts]
    return Split(_even(trains), _even(rows), np.flatnonzero(np.isin(groups, tested)))


def dealt(order: np.ndarray, counts: np.ndarray, folds: int) -> list[np.ndarray]:
    """Groups dealt to folds in this order, each to the fold with the fewest rows."""
    parts: list[list[int]] = [[] for _ in range(folds)]
    sizes = np.zeros(folds, int)
    for group in order.tolist():
        smallest = int(sizes.argmin())
        parts[smallest].append(group)
        sizes[smallest] += counts[group]
    return [np.array(part, int) for part in parts]


def _groups_of(
    name: str, rows: np.ndarray | None, groups: np.ndarray, order: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Groups of a part, those of its rows or, if None, enough to hold `size` rows; and the other groups."""
    if rows is None:
        counts = np.bincount(groups)[order].cumsum()
        taken = order[: int(np.searchsorted(counts, size)) + 1] if size else order[:0]
    else:
        taken = np.unique(groups[rows])
        split_up = np.setdiff1d(np.flatnonzero(np.isin(groups, taken)), rows)
        if len(split_up) or not np.isin(taken, order).all():
            raise ValueError(f"{name}: row {int([*split_up, *rows][0])} is of a group that is in two parts")
    return taken, order[~np.isin(order, taken)]


def by_time(n: int, fixed: Mapping[str, np.ndarray | None], size: int, per_fold: int, folds: int) -> Split:
    """Split rows in time: the last ones test, those before them validate, and the first ones train.

    With folds each validates on rows later than its training rows, which are at least half of those that do not test
    where there are rows enough; all folds train on equally many rows.
    """
    free = np.setdiff1d(np.arange(n), [] if fixed["validation"] is None else fixed["validation"])
    test = free[len(free) - size :] if fixed["test"] is None else np.sort(fixed["test"])
    rest = np.setdiff1d(np.arange(n), test)
    if fixed["validation"] is not None:
        both = np.intersect1d(fixed["validation"], test)
        if len(both):
            raise ValueError(f"row {both[0]} is a validation row and a test row; give each row one part")
        return Split(np.setdiff1d(rest, fixed["validation"])[None], np.sort(fixed["validation"])[None], test)
    per_fold = per_fold if folds == 1 else min(per_fold, max(1, len(rest) // (2 * folds)))
    first = len(rest) - folds * per_fold
    if per_fold < 1 or first < 1:
        raise ValueError(f"folds={folds}: {len(rest)} rows in time are too few to train before each; lower it")
    starts = first + per_fold * np.arange(folds)
    trains = [rest[start - first : start] for start in starts]
    return Split(np.array(trains), np.array([rest[start : start + per_fold] for start in starts]), test)


def untimely(split: Split) -> str | None:
    """Warning if some rows that train come after some that validate, or either after some that test; else None."""
    parts = [("train", split.train[0]), ("validate", split.validation[0]), ("test", split.test)]
    for (name, rows), (other, others) in itertools.combinations(parts, 2):
        if len(others) and rows.max() > others.min():
            return f"rows are in time, but some that {name} come after some that {other}"
    return None


def _even(parts: list[np.ndarray]) -> np.ndarray:
    """Array (folds, rows): of each part as many rows as the smallest has, at even distances."""
    size = min(map(len, parts))
    return np.array([part[np.floor(np.arange(size) * len(part) / size).astype(int)] for part in parts])


def _set_aside(
    order: np.ndarray, size: int, rng: np.random.Generator, fixed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`size` rows at even distances along `order`, or the fixed rows, and the rest of it; raises ValueError."""
    if fixed is not None:
        taken = np.setdiff1d(fixed, order)
        if len(taken):
            raise ValueError(f"row {taken[0]} is a validation row and a test row; give each row one part")
        return fixed, order[~np.isin(order, fixed)]
    picked = np.floor((np.arange(size) + rng.random()) * len(order) / size).astype(int)
    return order[picked], np.delete(order, picked)
