"""Baselines that are fitted in the background while a search trains."""

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from popjax.core.imports import wait_for_imports
from popjax.core.text import failure, tell
from popjax.store.results import Results
from popjax.tuning.callbacks.callback import Callback, Run

PAUSE = 1.0  # seconds before the first fit: lowering programs needs the interpreter, training hardly does


class Beside(Callback):
    """Fits baselines in the background while a search trains, for its summary (see `Task.beside`).

    The search does not wait for them: scores that are not ready when training ends are left out.

    Args:
        baselines: name -> function that fits a baseline and returns its test scores.
        known: name -> scores in the recorded run, on resume: these are not fitted again.
    """

    def __init__(self, baselines: Mapping[str, Callable[[], Any]], known: Mapping[str, Any]) -> None:
        self.scores = {name: known[name] for name in baselines if known.get(name) is not None}
        self.baselines = {name: fit for name, fit in baselines.items() if name not in self.scores}
        self.thread: threading.Timer | None = None
        self.over = self.closed = False

    def begin(self, run: Run) -> None:
        if self.baselines:
            self.thread = threading.Timer(PAUSE, self.fit)
            self.thread.daemon = True
            self.thread.start()

    def fit(self) -> None:
        """Fit them, one after another; a failure is reported, and the search goes on."""
        for name, fit in self.baselines.items():
            if self.over:
                return
            try:
                scores = fit()
                json.dumps(scores, allow_nan=False)  # it is written to summary.json
                self.scores[name] = scores
            except Exception as error:
                if not self.closed:  # else its result is not used, and Python may be about to end
                    tell(f"popjax: the {name} model failed ({failure(error)})")

    def end(self, results: Results) -> None:
        self.over = True
        wait_for_imports()
        results.summary.update(self.scores)

    def close(self) -> None:
        self.closed = True
        if self.thread is not None:
            self.thread.cancel()
