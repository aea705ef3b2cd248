"""A linear model as a baseline, fitted in the background while a supervised search trains."""

import threading

import numpy as np

from popjax.core.imports import import_all, wait_for_imports
from popjax.core.text import failure, tell
from popjax.store.results import Results
from popjax.supervision import baselines
from popjax.supervision.problem import Supervised
from popjax.tuning.callbacks.callback import Callback, Run

PAUSE = 1.0  # seconds before the fit: lowering programs needs the interpreter, training hardly does


class Linear(Callback):
    """Fits scikit-learn's linear model in the background while a search trains, for its summary.

    Ridge regression with its penalty by cross-validation, or logistic regression, on all rows outside the test set.
    The search does not wait for it: scores that are not ready when training ends are left out.

    Args:
        task: the task that is trained.
        scores: its scores in the recorded run, on resume: it is not fitted again; None: it is fitted.
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
        """Fit it and score it on the test rows (n,); a failure is reported, and the search goes on."""
        if self.over:
            return
        import_all("pyarrow", "sklearn.linear_model")  # scikit-learn uses pyarrow, even when half imported
        try:
            scores = baselines.linear_scores(self.task, rows)
        except Exception as error:
            if not self.closed:  # else its result is not used, and Python may be about to end
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
