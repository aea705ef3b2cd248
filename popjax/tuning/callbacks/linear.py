"""A linear model, fitted in the background while a supervised search trains: what its score is worth."""

import threading

import numpy as np

from popjax.core.imports import import_all, wait_for_imports
from popjax.core.text import failure, tell
from popjax.store.results import Results
from popjax.supervision import baselines
from popjax.supervision.problem import Supervised
from popjax.tuning.callbacks.callback import Callback, Run

PAUSE = 1.0  # seconds in which programs are lowered, which needs the interpreter; training hardly does


class Linear(Callback):
    """Fits scikit-learn's linear model in the background while a search trains, for its summary.

    Ridge regression, or logistic regression, to all rows that do not test, by cross-validation of its penalty where
    that is ridge's. What is not ready when training ends is left out: nobody waits for it.

    Args:
        task: what is trained.
        scores: what it scored where the run that goes on had it already; it is not fitted again then.
    """

    def __init__(self, task: Supervised, scores: dict[str, float] | None = None) -> None:
        self.task = task
        self.scores = scores
        self.thread: threading.Timer | None = None
        self.over = self.closed = False

    def begin(self, run: Run) -> None:
        if self.scores is not None:
            return
        rows = self.task.in_folds(run.folds).split.test
        if not baselines.has_linear(self.task, rows):
            return
        self.thread = threading.Timer(PAUSE, self.fit, (rows,))
        self.thread.daemon = True
        self.thread.start()

    def fit(self, rows: np.ndarray) -> None:
        """Fit it, and score it on the test rows; that it failed is said, and the search goes on."""
        if self.over:
            return
        import_all("pyarrow", "sklearn.linear_model")  # scikit-learn looks at pyarrow, also where it is half imported
        try:
            scores = baselines.linear_scores(self.task, rows)
        except Exception as error:
            if not self.closed:  # else nobody waits for it, and Python may be about to end
                tell(f"popjax: the linear model failed ({failure(error)})")
            return
        self.scores = baselines.on_test(scores)

    def end(self, results: Results) -> None:
        self.over = True
        wait_for_imports()
        if self.scores is not None:
            results.summary["linear"] = self.scores

    def close(self) -> None:
        self.closed = True
        if self.thread is not None:
            self.thread.cancel()
