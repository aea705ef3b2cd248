"""Ray Tune + PyTorch: one core a trial, one report at its end, and worker processes that are used again."""

import os
import tempfile
import time

os.environ |= {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # the workers share this process's environment
}

import ray
import torch_trial
from ray import tune
from workload import Outcome, Workload, cores


def search(work: Workload) -> Outcome:
    """Start Ray on this machine and let Tune train the trials."""

    def trainable(config: dict[str, int]) -> dict[str, float]:
        accuracy, updates = torch_trial.train(ray.get(shared), config["trial"])
        return {"accuracy": accuracy, "updates": updates}

    begin = time.perf_counter()
    ray.init(num_cpus=cores(), include_dashboard=False, log_to_driver=False)
    shared = ray.put(work)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space={"trial": tune.grid_search(list(range(work.trials)))},
            tune_config=tune.TuneConfig(metric="accuracy", mode="max", reuse_actors=True),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        results = tuner.fit()
        for error in results.errors:
            raise error
        found = {result.config["trial"]: result.metrics for result in results}
    trained = time.perf_counter()
    ray.shutdown()
    accuracies = [found[trial]["accuracy"] for trial in range(work.trials)]
    updates = sum(metrics["updates"] for metrics in found.values())
    return Outcome(
        accuracies, updates, 0.0, trained - started, f"{cores()} actors, start of Ray {started - begin:.1f} s"
    )
