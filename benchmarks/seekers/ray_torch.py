"""Ray Tune's ASHA + PyTorch: one core a trial, and worker processes that are used again."""

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
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from torch_net import Trial
from workload import BATCHES, DECAY, DEPTH, EPOCHS, HIDDEN, RATES, REST, Told, Workload, cores

STARTED = time.time()
SPACE = {
    "learning_rate": tune.loguniform(*RATES),
    "rest": tune.loguniform(*REST),
    "hidden": tune.randint(HIDDEN[0], HIDDEN[1] + 1),
    "depth": tune.randint(DEPTH[0], DEPTH[1] + 1),
    "decay": tune.uniform(*DECAY),
    "seed": tune.randint(0, 2**31),
}


def search(work: Workload, told: Told) -> None:
    """Start Ray on this machine and let Tune train until the time is over."""

    def trainable(config: dict[str, float]) -> None:
        model = Trial(ray.get(shared), config, config["seed"])
        for epoch, loss in enumerate(model, 1):
            found = {"loss": loss, "time": time.time(), "epoch": epoch}
            tune.report(found | ({"test": model.test()} if epoch == EPOCHS else {}))
            if loss != loss:
                return

    ray.init(num_cpus=cores(), include_dashboard=False, log_to_driver=False)
    shared = ray.put(work)
    space = SPACE | {"batch_size": tune.choice([size for size in BATCHES if size <= len(work.train)])}
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space=space,
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                num_samples=-1,
                scheduler=ASHAScheduler(time_attr="epoch", max_t=EPOCHS, grace_period=1, reduction_factor=3),
                time_budget_s=work.seconds - (time.time() - STARTED),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        results = [result.metrics for result in tuner.fit() if result.metrics]
    ray.shutdown()
    full = [metrics for metrics in results if metrics.get("epoch") == EPOCHS and metrics["loss"] == metrics["loss"]]
    told.begun = min(metrics["time"] for metrics in results if "time" in metrics)
    for metrics in full:
        told.trial(metrics["loss"], metrics["time"])
    best = min(full, key=lambda metrics: metrics["loss"])
    epochs = sum(metrics.get("epoch", 0) for metrics in results)
    told.found = {"winner": best["test"], "trials": len(results), "epochs": epochs}
