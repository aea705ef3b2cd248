"""popjax: one call of `search`, with its cache of compiled programs wherever the environment says."""

import json

import numpy as np
from workload import Outcome, Workload

from popjax.space.space import Space
from popjax.study.search import search as search_popjax
from popjax.supervision.supervised import supervised


def search(work: Workload) -> Outcome:
    """Train all trials."""
    task = supervised((work.raw["x"], work.raw["y"]))
    assert np.allclose(task.data.rows.x[task.data.folds.train[0]], work.x, atol=1e-5), "other training rows"
    space = Space.from_dict(json.loads(work.raw["space"].item()))
    results = search_popjax(task, space, trials=work.trials, epochs=work.epochs)
    assert np.array_equal(results.points["learning_rate"], work.learning_rate)
    assert np.array_equal(results.points["momentum"], work.momentum)
    summary = results.summary
    seconds = summary["compile_seconds"], summary["train_seconds"]
    return Outcome(results.values["val_accuracy"], summary["model_steps"], *seconds, f"{summary['lanes']} lanes")
