"""The loop that one writes first in JAX: a whole training is one jitted function, called once for each trial."""

import time

import jax
import numpy as np
from jax_trial import columns, trainer
from workload import Outcome, Workload


def search(work: Workload) -> Outcome:
    """Train every trial, one after the other."""
    trials = [np.asarray(column) for column in columns(work)]
    begin = time.perf_counter()
    program = jax.jit(trainer(work)).lower(*(column[0] for column in trials)).compile()
    compiled = time.perf_counter()
    found = [jax.device_get(program(*trial)) for trial in zip(*trials, strict=True)]
    trained = time.perf_counter()
    accuracies, updates = zip(*found, strict=True)
    return Outcome(accuracies, int(sum(updates)), compiled - begin, trained - compiled, "jit")
