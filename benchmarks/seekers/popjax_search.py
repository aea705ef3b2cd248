"""popjax: one call of `search`, with its cache of compiled programs wherever the environment says."""

import time
from typing import Any

import numpy as np
from workload import EPOCHS, Told, Workload, scores

import popjax as pj

ADAPTIVE = {"trials": 65536, "sampler": "tpe"}  # until the time is over
METHODS: dict[str, dict[str, Any]] = {
    "full": {},
    "halving": {"scheduler": pj.halving()},
    "hyperband": {"scheduler": pj.hyperband()},
    "tpe": ADAPTIVE,
    "tpe+halving": ADAPTIVE | {"scheduler": pj.halving()},
}


class Watch(pj.Callback):
    """Tells the loss of every trial when its last epoch is over."""

    def __init__(self, told: Told) -> None:
        self.told = told

    def epoch(self, result: Any) -> None:
        self.told.epoch()
        if result.epoch == EPOCHS - 1:
            now = time.time()
            for loss in result.metrics["val_loss"].tolist():
                self.told.trial(loss, now)


def search(work: Workload, told: Told, method: str) -> None:
    """Search, and score the winner and the best 25 together."""
    task = pj.supervised((work.x, work.y), validation=work.validation, test=work.test)
    options = METHODS[method] | {"minutes": (work.seconds - (time.time() - STARTED)) / 60}
    results = pj.search(
        task, None, epochs=EPOCHS, seed=work.seed, rank=pj.best("val_loss", keep=25), callbacks=[Watch(told)], **options
    )
    searched = time.time()
    found = {"winner": judged(results.predictor(results.best.trial), work, "test")}
    together = pj.ensemble(results)
    found |= {"together": judged(together, work, "test"), "together_validation": judged(together, work, "validation")}
    found |= {"searched": searched, "trials": len(results.trials), "epochs": int(results.epochs_run.sum())}
    told.found = found


def judged(predictor: Any, work: Workload, part: str) -> dict[str, float]:
    """What a predictor scores on some of the rows; the loss of a regression as the search measures it."""
    rows = getattr(work, part)
    if work.classes:
        return scores(predictor.predict_proba(work.x[rows]), work.y[rows], work.classes)
    unit = work.y[work.train].std()
    return scores(np.asarray(predictor.predict(work.x[rows])) / unit, work.y[rows] / unit, 0)


STARTED = time.time()
