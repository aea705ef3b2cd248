"""A kind of targets of one's own is tried on a few rows before anything is trained."""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from popjax.core.contracts import check_contract, check_written
from popjax.core.faults import calling
from popjax.core.text import short
from popjax.supervision.kinds.classification import Classification
from popjax.supervision.kinds.kind import SHOWN, Kind
from popjax.supervision.kinds.multilabel import Multilabel
from popjax.supervision.kinds.own import Own
from popjax.supervision.kinds.regression import Regression, Values
from popjax.supervision.prepared import per_row
from popjax.task import HParams

PROVEN = (Classification, Multilabel, Own, Regression, Values)  # by tests: no search is to wait for a probe
FIRST, EACH = 64, 8  # rows in all, and of each class
CLOSE = 1e-3  # relative difference of a number in a program, in its floats, and on the host


def check_kind(kind: type[Kind]) -> None:
    """Raise ValueError for a class that lacks a method of a Kind, misspells one, or ranks by what it reports not."""
    if kind in PROVEN:
        return
    what = f"the kind {kind.__name__}"
    check_contract(what, kind, Kind)
    check_written(what, kind, Kind, "targets", "losses", "row_losses", "scores", "score")
    if not isinstance(name := getattr(kind, "name", None), str):
        raise ValueError(f"{what}: name is {short(name)}; write name = 'mine', as its entry in KINDS says")
    for attribute in ("reports", "resampled"):
        if not isinstance(given := getattr(kind, attribute), Mapping):
            raise ValueError(f"{what}: {attribute} is {short(given)}; give a dict with the names of metrics")
    for metric, mode in kind.reports.items():
        if mode not in ("min", "max"):
            raise ValueError(f"{what}: reports[{metric!r}] is {mode!r}; give min or max, whichever is better")
    for name, metrics in (("ranks", [kind.ranks]), ("resampled", kind.resampled)):
        for metric in metrics:
            if metric not in ("loss", *kind.reports):
                raise ValueError(f"{what}: {name} names {metric!r}; reports has {', '.join(kind.reports) or 'none'}")


def check_on_rows(kind: Kind, y: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> None:
    """Raise ValueError, in one line, for a kind whose methods do not agree on some rows.

    Args:
        kind: of the targets.
        y: the targets (rows, ...), in their own units, of which a few are taken (see `some_rows`).
        mean, scale: the moments of scaled targets, by which programs standardize them; else 0 and 1.
    """
    if type(kind) in PROVEN:
        return
    probe = Probe(kind, y[some_rows(y, kind.classes)], mean, scale)
    predicted = probe.predictions()
    probe.compare(probe.in_programs(), predicted)
    probe.decisions(predicted)
    probe.shown(predicted)
    probe.turn_back(predicted)
    probe.write()


def some_rows(y: np.ndarray, classes: Sequence[Any] | None) -> np.ndarray:
    """The numbers of the rows on which a kind is tried: the first ones, and the first of each class."""
    first = np.arange(min(FIRST, len(y)))
    if classes is None or y.ndim != 1:
        return first
    order = np.argsort(y, kind="stable")
    within = np.arange(len(y)) - np.searchsorted(y[order], y[order])  # of a row among those of its class
    return np.union1d(first, order[within < EACH])


class Probe:
    """The methods of a kind, on outputs that are drawn at random. The arguments are those of `check_on_rows`."""

    def __init__(self, kind: Kind, y: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> None:
        self.kind, self.y, self.rows, self.mean, self.scale = kind, y, len(y), mean, scale
        width = self.called("outputs", lambda: kind.outputs)
        if not isinstance(width, int | np.integer) or width < 1:
            self.fail("outputs", f"is {short(width)}", "give the width of a model's output")
        drawn = np.random.default_rng(0).normal(size=(self.rows, int(width)))
        self.outputs = np.asarray(drawn, jax.dtypes.canonicalize_dtype(float))

    def in_programs(self) -> dict[str, float]:
        """The loss and the metrics by name, as programs compute them; checked."""
        kind, outputs, units = self.kind, jnp.asarray(self.outputs), per_row(jnp.asarray(self.scale))
        targets = jnp.asarray((self.y - self.mean) / self.scale if kind.scaled else self.y)
        self.called("check", lambda: kind.check(outputs, self.rows))
        losses = self.called("losses", lambda: kind.losses(HParams({}), outputs, targets))
        by_output = [outputs.shape] if outputs.shape[1] > 1 else []
        if np.shape(losses) not in ((self.rows,), *by_output):
            what = f"has the shape {np.shape(losses)} for {self.rows} rows"
            self.fail("losses", what, f"return one for each, {(self.rows,)}, or for each of several outputs")
        metrics = self.called("metrics", lambda: kind.metrics(outputs, targets, units))
        if not isinstance(metrics, Mapping) or not kind.reports.keys() <= set(filter(kind.reported, metrics)):
            given = list(metrics) if isinstance(metrics, Mapping) else metrics
            self.fail("metrics", f"returned {short(given, 60)}", f"return those of reports, {list(kind.reports)}")
        for name, value in metrics.items():
            if np.shape(value) != ():
                self.fail("metrics", f"gives {name} of the shape {np.shape(value)}", "return scalars")
        return self.finite("losses", {"loss": losses.mean()}) | self.finite("metrics", metrics)

    def predictions(self) -> np.ndarray:
        """The predictions, in the targets' own units; checked."""
        kind = self.kind
        predicted = np.asarray(self.called("predicted", lambda: kind.predicted(self.outputs)))
        columns = len(kind.classes or ()) if kind.chances else 0
        if predicted.shape[:1] != (self.rows,) or (columns and predicted.shape != (self.rows, columns)):
            wanted = f"probabilities {(self.rows, columns)}" if columns else f"({self.rows}, ...)"
            self.fail("predicted", f"has the shape {predicted.shape} for {self.rows} rows", f"return {wanted}")
        if not np.isfinite(predicted).all():
            self.fail("predicted", "gives NaN or infinity", "return finite numbers")
        if kind.chances and not (predicted.min() >= 0 and predicted.max() <= 1 + CLOSE):
            self.fail(
                "predicted", f"gives {predicted.min():.3g} to {predicted.max():.3g}", "return probabilities, 0 to 1"
            )
        if columns:
            self.agree(
                "predicted", "the sum of a row's probabilities", float(predicted.sum(1).mean()), "of them all", 1.0
            )
        last = np.asarray(self.called("predicted", lambda: kind.predicted(self.outputs[-1:])))
        if last.shape != predicted[-1:].shape or not np.allclose(last, predicted[-1:], CLOSE, CLOSE**2):
            self.fail("predicted", "gives the last row another prediction alone", "let each row be its own")
        return predicted * self.scale + self.mean if kind.scaled else predicted

    def compare(self, reported: Mapping[str, float], predicted: np.ndarray) -> None:
        """Compare what the host says of predictions with what programs say of the outputs, name -> value."""
        kind = self.kind
        losses = self.by_row("row_losses", lambda: kind.row_losses(predicted, self.y))
        scores = self.called("scores", lambda: kind.scores(predicted, self.y))
        needed = [*kind.reports, *([] if kind.scaled else ["loss"])]
        if not isinstance(scores, Mapping) or not set(needed) <= scores.keys():
            given = list(scores) if isinstance(scores, Mapping) else scores
            self.fail("scores", f"returned {short(given, 60)}", f"return {', '.join(needed)} by name")
        scores = self.finite("scores", scores)
        for name in [name for name in reported if name in scores]:
            self.agree("scores", f"the {name}", scores[name], "losses" if name == "loss" else "metrics", reported[name])
        if not kind.scaled:
            self.agree("row_losses", "the mean", float(losses.mean()), "losses", reported["loss"])
        for name, errors in kind.resampled.items():
            each = self.by_row(f"resampled[{name!r}]", functools.partial(errors, predicted, self.y))
            self.agree(f"resampled[{name!r}]", "the mean", float(each.mean()), "scores", scores[name])

    def decisions(self, predicted: np.ndarray) -> None:
        """Check labels or values of predictions, their score, and the constant prediction."""
        kind = self.kind
        decided = np.asarray(self.called("decided", lambda: kind.decided(predicted)))
        if decided.shape[:1] != (self.rows,):
            self.fail("decided", f"has the shape {decided.shape}", f"return one for each of {self.rows} rows")
        if kind.classes is not None:
            self.labels(decided, kind.classes)
        right, wrong = self.score(decided, decided), self.score(np.roll(decided, self.rows // 2, 0), decided)
        if right < wrong:
            self.fail(
                "score",
                f"gives {right:.5g} where all is right, {wrong:.5g} where rows are mixed up",
                "let more be better",
            )
        constant = self.called("constant", lambda: kind.constant(self.y))
        if constant is None:
            return
        if np.shape(constant) != predicted.shape[1:]:
            self.fail("constant", f"has the shape {np.shape(constant)}", f"return that of a row, {predicted.shape[1:]}")
        if not np.isfinite(constant).all():
            self.fail("constant", "gives NaN or infinity", "return finite numbers, or None")

    def score(self, decided: np.ndarray, targets: np.ndarray) -> float:
        """The score of labels or values, a finite number."""
        value = self.called("score", lambda: self.kind.score(decided, targets))
        return self.finite("score", {"a score of": value})["a score of"]

    def labels(self, decided: np.ndarray, classes: Sequence[Any]) -> None:
        """Check the labels of predictions, which must be classes, and those that are certain of their own."""
        others = [label for label in decided.tolist() if label not in classes]
        if others:
            self.fail("decided", f"gives {short(others[0])}", f"return one of {short(classes, 60)}")
        if not self.kind.chances:
            return
        for label, certain in zip(classes, np.eye(len(classes)), strict=True):
            decided_label = np.asarray(self.called("decided", functools.partial(self.kind.decided, certain[None])))
            if decided_label.tolist() != [label]:
                self.fail("decided", f"gives {short(decided_label.tolist())} where {label!r} is certain", "return that")

    def shown(self, predicted: np.ndarray) -> None:
        """Check what the page shows of predictions."""
        drawn = self.called("drawn", lambda: self.kind.drawn(predicted, self.y))
        if not isinstance(drawn, Mapping) or not set(drawn) <= set(SHOWN):
            self.fail("drawn", f"returned {short(drawn, 60)}", f"return a dict with some of {', '.join(SHOWN)}")
        self.to_json("drawn", drawn)

    def turn_back(self, predicted: np.ndarray) -> None:
        """Turn predictions into outputs, which must give them."""
        if self.kind.scaled:
            return
        outputs = np.asarray(self.called("as_outputs", lambda: self.kind.as_outputs(predicted)))
        if outputs.shape != self.outputs.shape:
            self.fail("as_outputs", f"has the shape {outputs.shape}", f"return outputs {self.outputs.shape}")
        if not np.allclose(self.called("predicted", lambda: self.kind.predicted(outputs)), predicted, atol=CLOSE):
            self.fail("as_outputs", "gives the outputs of other predictions", "return what predicted turns back")

    def write(self) -> None:
        """Write the kind as JSON, and read it back."""
        content = self.to_json("describe", self.called("describe", self.kind.describe))
        if self.called("from_json", lambda: type(self.kind).from_json(content, None)) != self.kind:
            self.fail("from_json", "makes another kind of what describe returned", "write all fields, and read them")

    def to_json(self, name: str, value: Any) -> Any:
        """What a method returns, as it is read back."""
        try:
            return json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError) as error:
            self.fail(name, f"returned no JSON value ({error})", "return numbers, texts, lists and dicts of them")

    def called(self, name: str, call: Callable[[], Any]) -> Any:
        """What a method returns."""
        with calling(f"the kind {type(self.kind).__name__}: {name}"):
            return call()

    def fail(self, name: str, what: str, remedy: str) -> NoReturn:
        """Raise ValueError for a method."""
        raise ValueError(f"the kind {type(self.kind).__name__}: {name} {what}; {remedy}")

    def agree(self, name: str, what: str, value: float, other: str, expected: float) -> None:
        """Raise ValueError unless two numbers are equal up to rounding."""
        if not np.isclose(value, expected, rtol=CLOSE, atol=CLOSE**2):
            self.fail(name, f"gives {what} as {value:.5g}, {other} as {expected:.5g}", "let them agree")

    def by_row(self, name: str, call: Callable[[], Any]) -> np.ndarray:
        """A method's finite numbers (rows,)."""
        values = np.asarray(self.called(name, call))
        if values.shape != (self.rows,) or not np.isfinite(values).all():
            fault = "gives NaN or infinity" if values.shape == (self.rows,) else f"has the shape {values.shape}"
            self.fail(name, fault, f"return a finite number for each row, {(self.rows,)}")
        return values

    def finite(self, name: str, values: Mapping[str, Any]) -> dict[str, float]:
        """A method's numbers by name, which must be finite."""
        for key, value in values.items():
            if np.shape(value) != () or not np.issubdtype(np.asarray(value).dtype, np.number) or not np.isfinite(value):
                self.fail(name, f"gives {key} {short(value)}", "return finite numbers")
        return {key: float(value) for key, value in values.items()}
