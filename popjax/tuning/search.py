"""The driver: sample, train, zoom in, choose, score."""

import dataclasses
import functools
import itertools
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from popjax.core.machine import cores, device, versions
from popjax.core.storage import locked
from popjax.engine.cost import explanation
from popjax.engine.memory import total
from popjax.engine.plan import fitting, rows_of, work_of
from popjax.engine.population import Config, Run, Watch, check_numbers, prepare
from popjax.space.space import Space, take
from popjax.store.files import check_directory, plain
from popjax.store.results import CHOICES, Results
from popjax.task import Task, ranked_by
from popjax.tuning.progress import Quiet
from popjax.tuning.resume import Saved
from popjax.tuning.zoom import zoom_in

CURVE_BYTES = 32  # four metrics in float64
FEW = 8  # models at once, below which one is better steered by hand than many left alone


def search(
    task: Task,
    space: Space | Mapping[str, Any],
    trials: int = 512,
    epochs: int = 20,
    seed: int = 0,
    sampler: str = "random",
    repeats: int = 1,
    folds: int = 1,
    metric: str | None = None,
    mode: str | None = None,
    out: Any = None,
    resume: bool = False,
    lanes: int | None = None,
    plan: str = "auto",
    keep: int = 1,
    progress: Any = False,
    rounds: int = 1,
    choose: str = "best",
    stop: threading.Event | None = None,
    about: Mapping[str, Any] | None = None,
) -> Results:
    """Train `space.sample(trials, seed, sampler)`, all at once, and rank the trials.

    Args:
        task: how one trial is trained.
        space: the hyperparameters; plain values are constants.
        trials: how many points to sample, over all rounds.
        epochs: units of budget of every member (an objective has 1).
        seed: of the points and of every member's key.
        sampler: "random", "sobol" or "grid".
        repeats, folds: members of a trial; it ranks by their mean.
        metric, mode: what ranks, "min" or "max"; the task's own if not given. The mode of another
            metric is told by its name: less of a loss, mse, mae or error is better, more of an accuracy or r2.
        out: a directory for the results; it must not hold a run, unless resumed. What is
            trained is committed to it every 2 seconds, or every epoch if that is longer.
        resume: go on where the run in `out` stands, or begin in an empty directory. `trials`
            may be more than before (one round, random or sobol).
        lanes: members that advance together under vmap; chosen by rule if not given.
        plan: "one" program, a few of capped "widths", exact depths and batch sizes in "buckets", or "auto".
        keep: of how many of the best trials to keep the trained arrays.
        progress: True for a bar, or an object as in `popjax.tuning.progress`.
        rounds: coarse to fine: each round after the first samples around the best so far (see `refine`).
        choose: the winner: "best", or "one-se": the trial with the fewest parameters within
            one standard error of the best, over folds and repeats.
        stop: once set, training stops at the end of an epoch; the results so far come back.
        about: what else run.json says.

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
    if resume and out is None:
        raise ValueError("resume=True needs out: the directory of the run to go on with")
    space = space if isinstance(space, Space) else Space(**space)
    counts = {"trials": trials, "epochs": epochs, "repeats": repeats, "folds": folds, "keep": keep, "rounds": rounds}
    check_numbers(counts | ({} if lanes is None else {"lanes": lanes}), seed)
    epochs = min(epochs, task.epochs or epochs)
    check_curves(trials, epochs * repeats * folds)
    if rounds > trials:
        raise ValueError(f"rounds={rounds}: there are {trials} trials; give at least one to each round")
    if choose not in CHOICES:
        raise ValueError(f"unknown choose {choose!r}; there are {', '.join(CHOICES)}")
    if choose == "one-se" and folds * repeats == 1:
        raise ValueError("choose='one-se': one member has no standard error; use folds or repeats of at least 2")
    trials, epochs, seed, repeats, folds, keep, rounds = map(int, (trials, epochs, seed, repeats, folds, keep, rounds))
    metric, mode = ranked_by(task, metric, mode)
    config = Config(
        epochs=epochs,
        seed=seed,
        metric=metric,
        mode=mode,
        sampler=sampler,
        repeats=repeats,
        folds=folds,
        rounds=rounds,
        choose=choose,
        lanes=None if lanes is None else int(lanes),
        plan=plan,
        keep=keep,
    )
    task = task if folds == 1 or task.folded is None else task.folded(folds)
    watch = Watch(stop)
    if out is None:
        return Search(task, space, config, trials).run(progress, watch)
    from popjax import write_report

    directory = Path(out)
    check_directory(directory, resume)
    with locked(directory):
        check_directory(directory, resume)
        saved = Saved(directory, dict(about or {}))
        results = Search(task, space, saved.settle(config, space, trials), trials, saved).run(progress, watch)
        results.save(out)
        write_report(results, out)
    return results


def replay(results: Results, trial: int, task: Task) -> dict[str, np.ndarray]:
    """Train one trial of a finished run again, alone; metric -> (epochs,) as in `results.curves`.

    On a CPU with the same lanes and library versions the curve is the same to the last bit.
    Raises ValueError for a trial that there is not.

    >>> from popjax.space.scales import uniform
    >>> from popjax.task import objective
    >>> task = objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
    >>> results = search(task, Space(x=uniform(0, 1)), trials=4)
    >>> bool(replay(results, 3, task)["loss"][0] == results.curves["loss"][3, 0])
    True
    """
    count = len(results.diverged)
    if isinstance(trial, bool) or not isinstance(trial, int | np.integer) or not 0 <= trial < count:
        raise ValueError(f"replay: there is no trial {trial!r}; choose 0..{count - 1}")
    names = [field.name for field in dataclasses.fields(Config) if field.name in results.run]
    config = Config(**{name: results.run[name] for name in names if name != "rounds"})
    task = task if config.folds == 1 or task.folded is None else task.folded(config.folds)
    points = {name: column[[trial]] for name, column in results.points.items()}
    again = prepare(task, Space.from_dict(results.run["space"]), points, config, np.array([trial])).train()
    return {name: curve[0] for name, curve in again.curves.items()}


def explain(task: Task, space: Space, trials: int, config: Config) -> str:
    """Members, padding, what each plan would cost, and the choice; nothing is compiled."""
    task = task if config.folds == 1 or task.folded is None else task.folded(config.folds)
    run = prepare(task, space, space.sample(trials, config.seed, config.sampler), config)
    each = config.folds * config.repeats
    flops = 0 if task.flops is None else np.sum(task.flops(run.points))
    exact = config.epochs * each * float(flops)
    found = work_of(run.checker, run.plan.width).costs(run.points, each)
    return explanation(found, len(run.ids) * each, exact, run.plan.name)


def check_curves(trials: int, records: int) -> None:
    """Raise ValueError if the curves of so many records a trial could not be held."""
    needed = trials * records * CURVE_BYTES
    if needed > total():
        what = f"{trials} trials of {records} epochs need {needed / 2**30:.3g} GiB for their curves alone"
        raise ValueError(f"{what}, this machine has {total() / 2**30:.3g}; lower trials or epochs")


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """A search of one or more rounds."""

    task: Task
    space: Space
    config: Config
    trials: int
    saved: Saved | None = None

    def run(self, progress: Any, watch: Watch) -> Results:
        """Train every round, choose the winner and score it."""
        from popjax.tuning.progress import Bar

        show = Bar() if progress is True else progress or Quiet()
        results: Results | None = None
        runs: list[Run] = []
        rounds = []
        for begin, end in self.slices():
            if runs and watch.stop.is_set():
                break
            space, notes = self.zoomed(results)
            first = 0 if results is None else len(results.diverged)
            points = self.points(space, begin, end, first)
            ids = first + rows_of(points)
            run = runs[0].at(points, ids) if runs else prepare(self.task, self.space, points, self.config, ids)
            if not runs and self.saved is not None:
                self.saved.take_up(run)
            if not runs and (members := fitting(run.plan.buckets[0].member)) < FEW:
                show.few(members)
            if self.config.rounds > 1:
                show.round(len(runs) + 1, self.config.rounds, space, notes)
            runs.append(run)
            rounds.append({"trials": len(ids), "space": space.to_dict(), "notes": notes})
            if self.saved is not None:
                known = {} if results is None else results.points
                self.saved.begin(self.describe({n: [*known.get(n, ()), *c] for n, c in points.items()}, runs, rounds))
            found = run.train(watch, show, self.saved.commits if self.saved else None)
            results = found if results is None else results.join(found, self.config.keep)
        assert results is not None
        return self.finish(results, runs, rounds, watch)

    def slices(self) -> list[tuple[int, int]]:
        """The first trial of every round, and the one after its last."""
        ends = np.linspace(0, self.trials, self.config.rounds + 1).round().astype(int).tolist()
        return list(itertools.pairwise(ends))

    def zoomed(self, results: Results | None) -> tuple[Space, list[str]]:
        """The space of the next round, and what the zoom noticed; the user's own while nothing has worked."""
        if results is None or len(results.order) == 0:
            return self.space, []
        return zoom_in(self.space, results)

    def points(self, space: Space, begin: int, end: int, first: int) -> dict[str, np.ndarray]:
        """A round's points: the design goes on where the last round ended; a grid begins anew.

        What an interrupted run has written, from trial `first` on, is not sampled again.
        """
        sampled = self.sampled(space, begin, end)
        return sampled if self.saved is None else self.saved.points(sampled, first)

    def sampled(self, space: Space, begin: int, end: int) -> dict[str, np.ndarray]:
        """A round's points from the sampler."""
        if self.config.sampler == "grid":
            return space.sample(end - begin, self.config.seed, "grid")
        points = space.sample(end, self.config.seed, self.config.sampler)
        return {name: column[begin:] for name, column in points.items()}

    def finish(self, results: Results, runs: list[Run], rounds: list[dict[str, Any]], watch: Watch) -> Results:
        """Score the winner, and describe the run."""
        test: dict[str, float] = {}
        run = self.describe(results.points, runs, rounds)
        best, rebuilt = results.best, None
        if best is not None:
            its = next(run for run in runs if best.trial in run.ids)
            row = best.trial - int(its.ids[0])
            rebuilt = its.rebuilt(row)
            states = results.states
            if best.trial not in states and not watch.stop.is_set():
                alone = its.at(take(its.points, np.array([row])), np.array([best.trial]))
                again = alone.train(watch).states  # none, if it is stopped
                states = states | {best.trial: again[0]} if again else states
            if best.trial in states:
                results = dataclasses.replace(results, states=states)
                test = its.score(row, states[best.trial], watch)
        return dataclasses.replace(
            results,
            run=run if self.saved is None else self.saved.extended(run),
            summary=self.summary(results, runs, test, watch),
            winner=rebuilt,
            again=functools.partial(replay, task=self.task),
        )

    def describe(self, points: Mapping[str, Any], runs: list[Run], rounds: list[dict[str, Any]]) -> dict[str, Any]:
        """What determines the results, for run.json."""
        settings = dataclasses.asdict(self.config)
        plan = runs[0].plan
        return {
            **{key: value for key, value in settings.items() if key not in ("lanes", "plan", "caps", "rounds")},
            "trials": self.trials,
            "space": self.space.to_dict(),
            "rounds": rounds,
            "rounds_in_all": self.config.rounds,
            "points": {name: np.asarray(column).tolist() for name, column in points.items()},
            "plan": plan.name,
            "caps": plan.caps,
            "static": list(plan.static),
            "buckets": buckets(runs),
            "lanes": plan.width.lanes,
            "part": plan.width.part,
            "narrowed": plan.width.narrowed,
            "cores": cores(),
            "device": device(),
            "versions": versions(),
            "data": runs[0].identity,
            "task": dict(runs[0].task.settings),
        }

    def summary(self, results: Results, runs: list[Run], test: dict[str, float], watch: Watch) -> dict[str, Any]:
        """The figures of summary.json."""
        best = results.best
        metric = self.config.metric
        steps = [run.steps(results.members[metric][run.ids], results.done[run.ids]) for run in runs]
        total = None if None in steps else sum(step for step in steps if step is not None)
        test_name = self.config.metric.replace("val_", "test_", 1)
        return {
            "trials": len(results.diverged),
            "epochs": self.config.epochs,
            "seed": self.config.seed,
            "metric": self.config.metric,
            "best": None if best is None else {"trial": best.trial, "value": best.value, "hparams": best.hparams},
            "test_value": plain(test.get(test_name)),
            "test": {name: plain(value) for name, value in test.items()},
            "diverged": int(results.diverged.sum()),
            **watch.seconds(),
            "model_steps": total,
            "steps_run": watch.steps_run,
            "stopped": int(results.stopped.sum()),
            "resumed": bool(self.saved and self.saved.recorded),
            "warnings": self.saved.warnings if self.saved else [],
            "buckets": buckets(runs),
            "lanes": runs[0].plan.width.lanes,
            "device": device(),
            "popjax_version": versions()["popjax"],
            "jax_version": versions()["jax"],
        }


def buckets(runs: list[Run]) -> int:
    """How many buckets there were, over all rounds."""
    return len({id(bucket.member) for run in runs for bucket in run.plan.buckets})
