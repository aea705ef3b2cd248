"""The search, as it is called."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from popjax.core.stop import Flag
from popjax.engine.population import Timer
from popjax.executors.named import backend_of
from popjax.live.search import Live
from popjax.rule import Rule
from popjax.rules.named import refuse_gone
from popjax.scheduler import NONE, Problem, Scheduler
from popjax.space.space import Space
from popjax.store.results import Results
from popjax.study.asked import Asked
from popjax.study.run import Search
from popjax.task import Task
from popjax.tuning.callbacks.base import Callback
from popjax.tuning.callbacks.cell import Cell, in_notebook
from popjax.tuning.callbacks.progress import Bar, Silent
from popjax.tuning.interrupt import again_in_a_notebook, in_ipython, interruptible
from popjax.tuning.options import BackendOptions, SearchOptions
from popjax.tuning.person import Steered


def search(
    task: Task,
    space: Space | Mapping[str, Any] | None = None,
    trials: int = 512,
    epochs: int = 20,
    seed: int = 0,
    sampler: Any = "random",
    repeats: int = 1,
    folds: int = 1,
    rank: Rule | str | None = None,
    out: Any = None,
    resume: bool = False,
    lanes: int | None = None,
    plan: str = "auto",
    progress: Any = False,
    rounds: int | None = None,
    stop: Flag | None = None,
    about: Mapping[str, Any] | None = None,
    scheduler: Callable[[Problem], Scheduler] | None = None,
    callbacks: Sequence[Callback] = (),
    every: int | None = None,
    minutes: float | None = None,
    executor: Any = None,
    retries: int = 3,
    mixed: bool = False,
    live: Any = False,
    **gone: Any,
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
        rank: what counts as best: a metric's name, or a rule: `popjax.best(metric, keep=5)`, `popjax.one_se()`,
            `popjax.together()`, or one of your own. By the task's own metric if not given. Whether less or more is
            better is told by the metric's name: less of a loss or an error, more of an accuracy, r2, f1, auc or mcc.
            The trained arrays that the rule keeps are in these Results; `best/` has the winner's, or all that are
            together.
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
        progress: True for a bar, or a callback such as `popjax.tuning.callbacks.progress.Lines()`.
        rounds: coarse to fine: each round after the first samples around the best so far (see `refine`);
            the scheduler is then that of each round. 1 if not given, or what a learning sampler needs.
        stop: once set, training stops at the end of an epoch; the results so far come back.
        about: what else run.json says.
        scheduler: what decides which trials train on: such as `popjax.halving()`, its name, as "halving(min_epochs=1)",
            or one of your own: `scheduler(problem) -> Scheduler`. All are trained to the end if not given.
        callbacks: are told how it goes (see `popjax.Callback`).
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
    refuse_gone("search", gone)
    unasked = not resume and again_in_a_notebook(out)
    if resume and out is None:
        raise ValueError("resume=True needs out: the directory of the run to go on with")
    options = SearchOptions(
        trials=trials,
        epochs=epochs,
        seed=seed,
        sampler=sampler,
        repeats=repeats,
        folds=folds,
        rank=rank,
        rounds=rounds,
        scheduler=scheduler,
        every=every,
        minutes=minutes,
    )
    backend = BackendOptions(lanes=lanes, plan=plan, executor=executor, retries=retries, mixed=mixed)
    asked = Asked.of(task, space, options, backend)
    listeners = [progress_of(progress), *checked(callbacks)]
    timer = Timer(stop)
    new = Search(asked, backend_of(executor, retries, mixed), timer, listeners, page_of(live))
    with interruptible(timer.stop, words(out), silent=in_ipython()):
        return new.run(None if out is None else Path(out), about or NONE, resume or unasked, unasked)


def words(out: Any) -> str:
    """What an interrupt is answered with."""
    if not in_ipython():
        return "stopping after this epoch; interrupt again to stop at once"
    on = "; to go on, run the cell again" if out is not None else "; with out=DIR the cell would go on"
    return f"stopping after this epoch, with the results so far{on}; interrupt again to stop at once"


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


def page_of(live: Any) -> Steered | None:
    """The live page, if one is asked for; raises ValueError where it cannot be."""
    if live is False:
        return None
    if live is True:
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
        return Cell() if in_notebook() else Bar()
    if not isinstance(progress, Callback):
        raise ValueError(f"progress is a {type(progress).__name__}; give True, or a popjax.Callback")
    return progress
