"""Optuna + PyTorch: one process of one thread a core, which share the trials over a journal file.

Two processes of one thread are about twice as fast on two cores as one process with two of
PyTorch's threads, which gain nothing. All trials are enqueued, so the sampler decides nothing.
"""

import multiprocessing
import tempfile
import time

import optuna
import torch_trial
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from workload import Outcome, Workload, cores


def storage(path: str) -> JournalStorage:
    """The trials in a file."""
    return JournalStorage(JournalFileBackend(path))


def work_off(path: str, work: Workload, share: int) -> None:
    """Train a share of the enqueued trials."""
    number = {rate: trial for trial, rate in enumerate(work.learning_rate.tolist())}

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("learning_rate", 1e-4, 1, log=True)
        trial.suggest_float("momentum", 0, 1)
        accuracy, updates = torch_trial.train(work, number[rate])
        trial.set_user_attr("updates", updates)
        return accuracy

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name="peers", storage=storage(path), sampler=optuna.samplers.RandomSampler())
    study.optimize(objective, n_trials=share)


def search(work: Workload) -> Outcome:
    """Enqueue the trials, let the processes train them, and collect."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/journal.log"
        study = optuna.create_study(study_name="peers", storage=storage(path), direction="maximize")
        for rate, momentum in zip(work.learning_rate.tolist(), work.momentum.tolist(), strict=True):
            study.enqueue_trial({"learning_rate": rate, "momentum": momentum})
        shares = [len(range(core, work.trials, cores())) for core in range(cores())]
        fork = multiprocessing.get_context("fork")
        processes = [fork.Process(target=work_off, args=(path, work, share)) for share in shares if share]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        trials = study.trials
    seconds = time.perf_counter() - begin
    updates = sum(trial.user_attrs["updates"] for trial in trials)
    return Outcome([trial.value for trial in trials], updates, 0.0, seconds, f"{len(processes)} processes of 1 thread")
