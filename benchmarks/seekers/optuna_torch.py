"""Optuna's TPE and Hyperband pruner + PyTorch: one process of one thread a core, which share a journal file."""

import multiprocessing
import tempfile
import time

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from torch_net import Trial
from workload import BATCHES, DECAY, DEPTH, EPOCHS, HIDDEN, RATES, REST, Told, Workload, cores

STARTED = time.time()


def storage(path: str) -> JournalStorage:
    """The trials in a file."""
    return JournalStorage(JournalFileBackend(path))


def objective(trial: optuna.Trial, work: Workload) -> float:
    """The validation loss of one trial after its last epoch."""
    hparams = {
        "learning_rate": trial.suggest_float("learning_rate", *RATES, log=True),
        "rest": trial.suggest_float("rest", *REST, log=True),
        "hidden": trial.suggest_int("hidden", *HIDDEN),
        "depth": trial.suggest_int("depth", *DEPTH),
        "batch_size": trial.suggest_categorical("batch_size", [size for size in BATCHES if size <= len(work.train)]),
        "decay": trial.suggest_float("decay", *DECAY),
    }
    model = Trial(work, hparams, trial.number)
    loss = float("nan")
    for epoch, loss in enumerate(model, 1):
        trial.report(loss, epoch)
        if epoch == 1:
            trial.set_user_attr("begun", time.time())
        if epoch < EPOCHS and (loss != loss or trial.should_prune()):
            raise optuna.TrialPruned
    trial.set_user_attr("test", model.test())
    return loss


def work_off(path: str, work: Workload, share: int) -> None:
    """Train trials until the time is over."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(
        study_name="quality",
        storage=storage(path),
        sampler=optuna.samplers.TPESampler(seed=cores() * work.seed + share, multivariate=True, constant_liar=True),
        pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=EPOCHS, reduction_factor=3),
    )
    study.optimize(lambda trial: objective(trial, work), timeout=work.seconds - (time.time() - STARTED))


def search(work: Workload, told: Told) -> None:
    """Let the processes search, and collect."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/journal.log"
        study = optuna.create_study(study_name="quality", storage=storage(path))
        fork = multiprocessing.get_context("fork")
        processes = [fork.Process(target=work_off, args=(path, work, share)) for share in range(cores())]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        trials, best = study.trials, study.best_trial
    told.begun = min(trial.user_attrs["begun"] for trial in trials if "begun" in trial.user_attrs)
    complete = [trial for trial in trials if trial.state == optuna.trial.TrialState.COMPLETE]
    for trial in complete:
        told.trial(trial.value, trial.datetime_complete.timestamp())
    epochs = sum(len(trial.intermediate_values) for trial in trials)
    told.found = {"winner": best.user_attrs["test"], "trials": len(trials), "epochs": epochs}
