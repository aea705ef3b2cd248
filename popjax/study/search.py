"""`popjax.search`, and the checks of its arguments."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from popjax.core.contracts import check_contract
from popjax.core.text import tell
from popjax.engine.trainer import Timer
from popjax.executors.backend import backend_of
from popjax.live.search import Live
from popjax.rule import Rule
from popjax.scheduler import NONE, Problem, Scheduler
from popjax.space.space import Space
from popjax.store.results import Results
from popjax.study.request import SearchRequest
from popjax.study.run import Search
from popjax.task import Task
from popjax.tuning.callbacks.callback import HOOKS, Callback, hears
from popjax.tuning.callbacks.cell import Cell, in_notebook
from popjax.tuning.callbacks.progress import Bar, Silent
from popjax.tuning.interrupt import again_in_a_notebook, in_ipython, interruptible
from popjax.tuning.person import Steered
from popjax.tuning.search_options import SearchOptions


def search(
    task: Task,
    space: Space | Mapping[str, Any] | None = None,
    *,
    trials: int = 512,
    epochs: int = 20,
    seed: int = 0,
    folds: int = 1,
    repeats: int = 1,
    sampler: Any = "random",
    scheduler: Callable[[Problem], Scheduler] | str | None = None,
    rank: Rule | str | None = None,
    backend: Any = None,
    out: Any = None,
    resume: bool = False,
    minutes: float | None = None,
    every: int | None = None,
    start: Any = None,
    callbacks: Sequence[Callback] = (),
    progress: Any = False,
    live: Any = False,
) -> Results:
    """Train trials sampled from a space, all at once, and rank them.

    The points are `space.sample(trials, seed, sampler)`, unless the sampler learns or the scheduler adds trials itself.

    Args:
        task: how one trial is trained.
        space: the space of hyperparameters; plain values are constants. If None, the task's own: `default_space` for a
            supervised task with a built-in model and optimizer.
        trials: number of points to sample, over all rounds.
        epochs: number of epochs of each member (an objective has 1).
        seed: seed of the points and of each member's key.
        folds: members of a trial, each validated on another part of the rows; it ranks by their mean.
        repeats: further members of a trial, with other random keys.
        sampler: "random", "sobol" or "grid"; or one that learns: "tpe", "cmaes", "gp", or an Optuna sampler class,
            which is called with a seed. It proposes from all trials so far, in rounds: "tpe" 64 trials first, or a
            quarter of fewer than 256, then 16 at a time (64 with a scheduler, 32 with `halving`, where earlier ones
            train on meanwhile); Optuna's 16 from the beginning, "cmaes" a generation; or the rounds of `popjax.rounds`.
        scheduler: decides which trials train on: `popjax.halving()` or another one, its name, as in
            "halving(min_epochs=1)", or a function `scheduler(problem) -> Scheduler`. `popjax.rounds(n, inner)` searches
            coarse to fine. If None, all trials train to the end.
        rank: the metric's name, or a rule: `popjax.best(metric, keep=5)`, `popjax.one_se()`, `popjax.together()`,
            `popjax.pareto(...)`, or a subclass of `popjax.Rule`. If None, the task's own metric. The metric's name
            tells its mode: less is better for a loss or an error, more for an accuracy, r2, f1, auc or mcc. The Results
            hold the states of the trials that the rule keeps; `best/` has the winner's, or those of the ensemble.
        backend: where members train: `popjax.Local(lanes, plan)`, the default; an object with
            `submit(fn, *args) -> Future`, as in `concurrent.futures`; a function without arguments that returns one; a
            name: "processes:4", "dask:tcp://host:8786", "ray:auto", "slurm"; or one of these with retries,
            `popjax.Remote(executor, retries, mixed)`. Results have the same bits with each.
        out: directory for the results, which must not hold a run except on resume. States are committed to it every 2
            seconds, within a twentieth of the time, or after every epoch that takes longer.
        resume: resume the run in `out`, or begin one in an empty directory; running a cell again in IPython does so by
            itself. `trials` may be raised: by any number with a random or sobol sampler, one round and no scheduler; of
            several rounds, and of a sampler that learns, by further rounds of the recorded size. `epochs` may be raised
            with one round, no scheduler and a task that does not read hparams["epochs"]: complete trials are then
            trained again, to the same curves, and further.
        minutes: time after which training stops at the end of an epoch, as at an interrupt; of the results so far the
            best win (see `Results.cut_short`).
        every: largest number of epochs between two decisions, and so between two calls of a callback and two changes by
            a person; the scheduler is asked where its own steps end.
        start: points that are tried first, counted in `trials`: mappings, whose missing hyperparameters are drawn, or
            Results or a run's directory, of which the ten best trials that lie in the space are taken. The sampler's
            first point comes after them.
        callbacks: `popjax.Callback` objects that follow the search.
        progress: True for a bar, or a `popjax.Callback` that shows it.
        live: True for a page in the browser that shows and steers the population, at the address that is printed; or a
            `popjax.live.Live` with a port. Decisions are then an epoch apart if `every` is None.

    Returns:
        Results. `.best` is None if no trial was trained to the end without diverging, or, with `minutes` and at an
        interrupt, if none has finished an epoch.

    Raises:
        ValueError: for anything that cannot be trained, in one line, before compiling; for a run that is resumed with
            another configuration; its subclass Corrupt for a directory with damaged files.
        InUse: another process writes to `out`.
        KeyboardInterrupt: after Ctrl-C in a script, when all is written to `out`; a notebook has the results so far.
        MemoryError: not even one model fits.

    >>> import popjax as pj
    >>> import jax.numpy as jnp
    >>> task = pj.objective(lambda key, hparams: {"loss": (jnp.log10(hparams["x"]) + 2) ** 2})
    >>> results = pj.search(task, pj.Space(x=pj.log_uniform(1e-4, 1)), trials=64)
    >>> 0.005 < results.best.hparams["x"] < 0.02
    True
    """
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
        scheduler=scheduler,
        every=every,
        minutes=minutes,
        start=start,
    )
    trains = backend_of(backend)
    request = SearchRequest.of(task, space, options, trains)
    listeners = [progress_of(progress), *checked_callbacks(callbacks)]
    timer = Timer()
    new = Search(request, trains.made, timer, listeners, page_of(live))
    with interruptible(timer.stop, interrupt_words(out), silent=in_ipython()):
        results = new.run(None if out is None else Path(out), NONE, resume or unasked, unasked)
    if results.best is None:
        tell(f"popjax: {results.no_winner}; results.best is None")
    return results


def interrupt_words(out: Any) -> str:
    """The message printed at an interrupt."""
    if not in_ipython():
        on = "" if out is None else f"; resume=True goes on with what is in {str(out)!r}"
        return f"stopping after this epoch{on}; interrupt again to stop at once"
    on = "; to resume, run the cell again" if out is not None else "; with out=DIR running the cell again would resume"
    return f"stopping after this epoch, with the results so far{on}; interrupt again to stop at once"


def checked_callbacks(callbacks: Any) -> list[Callback]:
    """The callbacks as a list. Raises ValueError for anything else."""
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable):
        raise ValueError(f"callbacks is a {type(callbacks).__name__}; give a list of them, as [callback]")
    checked = list(callbacks)
    for callback in checked:
        if not isinstance(callback, Callback):
            kind = (
                f"the class {callback.__name__}; call it"
                if isinstance(callback, type)
                else f"a {type(callback).__name__}"
            )
            raise ValueError(f"callbacks holds {kind}; give objects of a class of yours that extends popjax.Callback")
        check_contract(what := f"the callback {type(callback).__name__}", type(callback), Callback)
        if not any(hears(callback, name) for name in HOOKS):
            raise ValueError(f"{what} has no method that is called; write one of {', '.join(HOOKS)}")
    return checked


def page_of(live: Any) -> Steered | None:
    """The live page, or None. Raises ValueError for another object, or a page that was used before."""
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
    """The callback that shows the progress, a silent one for False. Raises ValueError for anything else."""
    if not progress:
        return Silent()
    if progress is True:
        return Cell() if in_notebook() else Bar()
    if not isinstance(progress, Callback):
        raise ValueError(f"progress is a {type(progress).__name__}; give True, or a popjax.Callback")
    return checked_callbacks([progress])[0]
