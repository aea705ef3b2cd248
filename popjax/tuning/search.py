"""The search, as it is called: what is asked is checked, and run."""

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from popjax.core.storage import locked
from popjax.core.text import tell
from popjax.engine.population import Timer
from popjax.engine.roster import Config, Roster
from popjax.executors.named import backend_of
from popjax.scheduler import Problem, Scheduler
from popjax.space.conditions import check_possible
from popjax.space.space import Space
from popjax.store.files import check_directory, read_json
from popjax.store.results import TOGETHER, Results
from popjax.task import Task, ranked_by, unknown_metric
from popjax.tuning.arguments import check_budget, check_choices, check_curves, check_numbers
from popjax.tuning.asked import Asked
from popjax.tuning.callbacks.base import Callback
from popjax.tuning.callbacks.progress import Silent
from popjax.tuning.directory import Directory
from popjax.tuning.interrupt import again_in_a_notebook, interruptible
from popjax.tuning.person import Steered
from popjax.tuning.proposals import check_sampler, default_ends
from popjax.tuning.run import Control, Search
from popjax.tuning.schedulers.named import SCHEDULERS, scheduler_of
from popjax.tuning.schedulers.rounds import even, in_rounds


def search(
    task: Task,
    space: Space | Mapping[str, Any] | None = None,
    trials: int = 512,
    epochs: int = 20,
    seed: int = 0,
    sampler: Any = "random",
    repeats: int = 1,
    folds: int = 1,
    metric: str | None = None,
    mode: str | None = None,
    out: Any = None,
    resume: bool = False,
    lanes: int | None = None,
    plan: str = "auto",
    keep: int | None = None,
    progress: Any = False,
    rounds: int | None = None,
    choose: str = "best",
    stop: threading.Event | None = None,
    about: Mapping[str, Any] | None = None,
    scheduler: Callable[[Problem], Scheduler] | None = None,
    callbacks: Sequence[Callback] = (),
    every: int | None = None,
    minutes: float | None = None,
    executor: Any = None,
    retries: int = 3,
    mixed: bool = False,
    live: Any = False,
) -> Results:
    """Train `space.sample(trials, seed, sampler)`, all at once, and rank the trials.

    Args:
        task: how one trial is trained.
        space: the hyperparameters; plain values are constants. If not given, the task's own: of a supervised one with
            a built-in model and optimizer `default_space` for its rows.
        trials: how many points to sample, over all rounds.
        epochs: units of budget of every member (an objective has 1).
        seed: of the points and of every member's key.
        sampler: "random", "sobol" or "grid"; or one that learns: "tpe", "cmaes" or "gp", or a class of Optuna's,
            which is called with a seed. It proposes in rounds from all trials so far: if nothing is said of 16 trials
            after a first one of 64, or of 64 with a scheduler.
        repeats, folds: members of a trial; it ranks by their mean.
        metric, mode: what ranks, "min" or "max"; the task's own if not given. The mode of another
            metric is told by its name: less of a loss or an error is better, more of an accuracy, r2, f1, auc or mcc.
        out: a directory for the results; it must not hold a run, unless resumed. What is
            trained is committed to it every 2 seconds, or every epoch if that is longer, and so that it takes a
            twentieth of the time at most.
        resume: go on where the run in `out` stands, or begin in an empty directory; in IPython a cell that is run again
            does so by itself. `trials` may be more than before with one round of random or sobol points and no
            scheduler, and with a sampler that learns, which gets further rounds. With one round and no scheduler
            `epochs` may be more where the task does not read
            hparams["epochs"]: what was trained to the end is then trained again, to the same curves, and further.
        lanes: members that advance together under vmap; chosen by rule if not given.
        plan: "one" program, a few of capped "widths", exact depths and batch sizes in "buckets", or "auto".
        keep: of how many of the best trials to keep the trained arrays; 1 if not given, 25 with choose="ensemble". They
            are in these Results; `best/` has the winner's, or those of the ensemble.
        progress: True for a bar, or a callback such as `popjax.tuning.callbacks.progress.Lines()`.
        rounds: coarse to fine: each round after the first samples around the best so far (see `refine`);
            the scheduler is then that of each round. 1 if not given, or what a learning sampler needs.
        choose: the winner: "best"; "one-se": the trial with the fewest parameters within one standard
            error of the best, over folds and repeats; or "ensemble": the best 25 together, which `best/` keeps.
        stop: once set, training stops at the end of an epoch; the results so far come back.
        about: what else run.json says.
        scheduler: what decides who trains on: such as `popjax.halving()`, or its name, as "halving(min_epochs=1)",
            or one of your own: `scheduler(problem) -> Scheduler`. Everyone is trained to the end if not given.
        callbacks: who listens (see `popjax.Callback`).
        every: at most so many epochs between two looks at the population.
        minutes: after so many the run stops as with `stop`.
        executor: what trains instead of this process: an object with `submit(fn, *args) -> Future`, as those of
            `concurrent.futures`; a function without arguments that makes one, which is called again where one breaks;
            or a name: "processes:4", "dask:tcp://host:8786", "ray:auto", "slurm". The results have the same bits.
        retries: how often a unit of work is tried that fails alone, before its trials are given up as stopped.
        mixed: whether workers may have another version of jax, or another kind of CPU, so that bits may differ.
        live: True for a page in the browser that shows the population and steers it, at the address that is printed;
            or a `popjax.live.Live` with a port. Decisions are then an epoch apart, unless `every` says otherwise.

    Returns:
        Results. `.best` is None when all trials diverged.

    Raises:
        ValueError: for anything that cannot be trained, in one line, before compiling; for a
            run that is resumed with another configuration; Corrupt, a kind of it, for a
            directory whose files are damaged.
        InUse: another process writes to `out`.
        MemoryError: not even one model fits.

    >>> import jax.numpy as jnp
    >>> from popjax.space.scales import log_uniform
    >>> from popjax.task import objective
    >>> task = objective(lambda key, hparams: {"loss": (jnp.log10(hparams["x"]) + 2) ** 2})
    >>> results = search(task, Space(x=log_uniform(1e-4, 1)), trials=64)
    >>> 0.005 < results.best.hparams["x"] < 0.02
    True
    """
    if not isinstance(task, Task):
        raise ValueError(f"the task is a {type(task).__name__}; give a popjax.Task, such as popjax.objective(function)")
    unasked = not resume and again_in_a_notebook(out)
    resume = resume or unasked
    if resume and out is None:
        raise ValueError("resume=True needs out: the directory of the run to go on with")
    keep = (TOGETHER if choose == "ensemble" else 1) if keep is None else keep
    check_numbers({"trials": trials})
    learning = check_sampler(sampler)
    counts = {"epochs": epochs, "repeats": repeats, "folds": folds, "keep": keep, "retries": retries}
    optional = {"lanes": lanes, "every": every, "rounds": rounds}
    check_numbers(counts | {name: value for name, value in optional.items() if value is not None}, seed)
    check_budget(minutes)
    space = searched(task, space, int(folds))
    check_possible(space.conditions, space)
    epochs = min(epochs, task.hints.epochs or epochs)
    check_curves(trials, epochs * repeats * folds)
    check_choices(choose, folds * repeats, rounds, trials, scheduler, learning)
    if (name := next((name for name, make in SCHEDULERS.items() if make is scheduler), None)) is not None:
        raise ValueError(f"scheduler is the function {name}; call it: popjax.{name}()")
    scheduler = scheduler_of(scheduler) if isinstance(scheduler, str) else scheduler
    if in_rounds(scheduler) and rounds is not None:
        raise ValueError(f"rounds={rounds} and a scheduler in rounds of its own exclude each other; give one")
    by_itself = learning and rounds is None and not in_rounds(scheduler)
    ends = default_ends(int(trials), scheduler is not None) if by_itself else even(int(trials), int(rounds or 1))
    metric, mode = what_ranks(task, space, int(epochs), metric, mode)
    config = Config(
        epochs=int(epochs),
        seed=int(seed),
        metric=metric,
        mode=mode,
        repeats=int(repeats),
        folds=int(folds),
        lanes=None if lanes is None else int(lanes),
        plan=plan,
        keep=int(keep),
    )
    asked = Asked(space, int(trials), ends, sampler, choose, scheduler)
    task = task.in_folds(int(folds))
    listeners = [progress_of(progress), *checked(callbacks)]
    backend = backend_of(executor, int(retries), mixed)
    page = page_of(live)
    every = 1 if page is not None and every is None else every
    control = Control(listeners, every, minutes, Timer(stop), backend, page)
    if page is not None:
        page.person.stop = control.timer.stop
    new = Search(task, config, asked, control)
    try:
        with interruptible(control.timer.stop, out):
            known = (resume, unasked, about or {}, rounds)
            results = new.run() if out is None else search_in(Path(out), new, *known)
    finally:
        if page is not None:
            page.leave()
    if minutes is not None and results.best is None:
        plain = results.stopped.any() and scheduler is None
        sooner = "; a scheduler, such as halving, has some at the end sooner" if plain else ""
        tell(f"popjax: {results.no_winner}{sooner}")
    return results


def checked(callbacks: Any) -> list[Callback]:
    """The callbacks; raises ValueError for anything else."""
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable):
        raise ValueError(f"callbacks is a {type(callbacks).__name__}; give a list of them, as [callback]")
    found = list(callbacks)
    for one in found:
        if not isinstance(one, Callback):
            kind = f"the class {one.__name__}; call it" if isinstance(one, type) else f"a {type(one).__name__}"
            raise ValueError(f"callbacks holds {kind}; give objects of a class of yours that extends popjax.Callback")
    return found


def searched(task: Task, space: Space | Mapping[str, Any] | None, folds: int) -> Space:
    """The space as it was given, or the task's own in so many folds; raises ValueError for a task that has none."""
    if space is not None:
        return space if isinstance(space, Space) else Space(**space)
    own = task.in_folds(folds).hints.space
    if own is None:
        raise ValueError("this task has no space of its own; give one, such as {'learning_rate': log_uniform(1e-4, 1)}")
    return own


def what_ranks(task: Task, space: Space, epochs: int, metric: str | None, mode: str | None) -> tuple[str, str]:
    """What `ranked_by` tells; raises ValueError for a metric that the task has not, before it asks for its mode."""
    try:
        return ranked_by(task, metric, mode)
    except ValueError:
        known = Roster(task, space, Config(epochs, 0, task.metric, task.mode)).metrics
        if metric not in known:
            raise unknown_metric(task, metric, known) from None
        raise


def search_in(
    path: Path, new: Search, resume: bool, unasked: bool, about: Mapping[str, Any], rounds: int | None
) -> Results:
    """A search that writes to a directory, and goes on where it stands, in as many rounds as were named if any were."""
    from popjax import Page  # by its public name: pages stand above

    check_directory(path, resume)
    with locked(path):
        check_directory(path, resume)
        directory = Directory(path, new.asked.space, about, unasked)
        asked = directory.in_rounds(new.asked, rounds)
        config = directory.as_before(new.config, asked.settings())
        listeners = [
            *new.control.listeners,
            *beside(new.task, path),
            Page(path),
        ]  # which shows what the others have found
        control = dataclasses.replace(new.control, listeners=listeners)
        results = Search(new.task, config, asked, control, directory).run()
        results.save(path)
    return results


def beside(task: Task, path: Path) -> list[Callback]:
    """What fits a linear model to the rows of a supervised task while it trains, for the page and the summary."""
    if task.hints.recipe is None:
        return []
    from popjax.tuning.callbacks.linear import Linear  # a task of one's own needs none of it

    before: dict[str, Any] = {}
    with contextlib.suppress(ValueError):  # none that can be read
        before = read_json(path / "summary.json")
    return [Linear(task, before.get("linear"))]


def page_of(live: Any) -> Steered | None:
    """The live page, if one is asked for; raises ValueError where it cannot be."""
    if live is False:
        return None
    if live is True:
        from popjax import Live  # by its public name: pages stand above

        return Live()
    if not isinstance(live, Steered):
        raise ValueError(f"live is a {type(live).__name__}; give True, or a popjax.live.Live")
    if live.person.over:
        raise ValueError("this live page has shown a search already; make another")
    return live


def progress_of(progress: Any) -> Callback:
    """What shows the progress, or that there is none."""
    if not progress:
        return Silent()
    if progress is True:
        from popjax.tuning.callbacks.cell import Cell, in_notebook
        from popjax.tuning.callbacks.progress import Bar

        return Cell() if in_notebook() else Bar()
    if not isinstance(progress, Callback):
        raise ValueError(f"progress is a {type(progress).__name__}; give True, or a popjax.Callback")
    return progress
