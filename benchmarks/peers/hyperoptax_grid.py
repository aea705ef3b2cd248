"""Hyperoptax: its grid search over the numbers of the trials, so that it trains the trials of all others.

The search is jitted as a whole, as its documentation has it for functions that can be traced.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
from hyperoptax.grid import GridSearch
from hyperoptax.spaces import DiscreteSpace
from jax_trial import columns, trainer
from workload import Outcome, Workload

PARALLEL = 16  # at once: the fastest of 8, 16 and 64 on two cores


def search(work: Workload) -> Outcome:
    """Train the trials, as many at once as is fastest here."""
    parallel = next(size for size in range(min(PARALLEL, work.trials), 0, -1) if work.trials % size == 0)
    seeds, rates, momenta = columns(work)
    train = trainer(work)

    def objective(key, params):  # type: ignore[no-untyped-def]
        trial = params["trial"]
        return train(seeds[trial], rates[trial], momenta[trial])[0]

    state, optimizer = GridSearch.init({"trial": DiscreteSpace(tuple(range(work.trials)))}, n_parallel=parallel)

    def run(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        _, (params, results) = optimizer.optimize_scan(state, key, objective, work.trials // parallel)
        return params["trial"], results

    begin = time.perf_counter()
    program = jax.jit(run).lower(jax.random.key(0)).compile()
    compiled = time.perf_counter()
    order, found = jax.device_get(program(jax.random.key(0)))
    trained = time.perf_counter()
    assert np.array_equal(order.ravel(), jnp.arange(work.trials))
    updates = work.trials * work.epochs * work.steps
    return Outcome(found.ravel(), updates, compiled - begin, trained - compiled, f"optimize_scan, {parallel} at once")
