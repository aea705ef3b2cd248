"""`python -m popjax.sweep`: a whole random search from the command line. Starts without JAX."""

import dataclasses
import errno
import itertools
import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from popjax.commands import cli
from popjax.commands.experiment import Experiment, check_seed, describe_device, listed, open_directory
from popjax.commands.outcome import outcome
from popjax.core.storage import InUse
from popjax.core.text import printable

if TYPE_CHECKING:
    from popjax.space.space import Space
    from popjax.store.results import Results
    from popjax.task import Task

# arguments that change no result
APART = ("out", "resume", "quiet", "json", "minutes", "executor", "retries", "mixed", "track", "live", "live_host")
CHOSEN = ("optimizer", "schedule")  # texts that may be a choice: --optimizer 'choice(sgd,adam)'
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


@dataclasses.dataclass(frozen=True)
class Arguments(Experiment):
    """Train hundreds of small models at once, each with hyperparameters of its own, and rank them.

    Without arguments: a random search over learning rate, momentum, hidden units, layers,
    batch size and decay of an MLP on the digits dataset.
    """

    trials: int = 512
    """points of the search"""
    metric: str | None = None
    """what ranks the trials, such as val_accuracy or val_loss"""
    mode: str | None = None
    """min or max (default: as the metric's name says)"""
    epochs: int = 20
    """passes over the training rows"""
    sampler: str = "random"
    """random, sobol, grid; or one that learns from the trials so far, in rounds: tpe, cmaes, gp (they need optuna)"""
    priority: int = 3
    """what is tuned: 1 learning rate, 2 also momentum, hidden units and batch size, 3 also depth and decay"""
    scheduler: str | None = None
    """who trains on: halving, hyperband, pbt, also with arguments: 'halving(reduction_factor=3)' (default: everyone)"""
    rounds: int | None = None
    """coarse to fine: the trials are split over rounds, each around the best so far"""
    folds: int = 1
    """cross-validation: each trial trains on so many folds and ranks by their mean"""
    repeats: int = 1
    """each trial trains from so many initial weights and ranks by their mean"""
    choose: Literal["best", "one-se", "ensemble"] = "best"
    """the winner: the best, the smallest model within one standard error of it, or the best 25 together"""
    minutes: float | None = None
    """stop after so many, as Ctrl-C does: what is trained is ranked and written, and --resume goes on"""
    space: str | None = None
    """a TOML file: learning_rate = "log_uniform(1e-4, 1)", a line a hyperparameter"""
    set: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """one hyperparameter, as a scale or a value: 'learning_rate=log_uniform(1e-4,1)', momentum=0.9; where others have
    some values alone: 'hidden_3=integers(8,64) when depth=3|4'"""
    out: str | None = None
    """the directory for the results (default: runs/<dataset>-<time>)"""
    resume: bool = False
    """go on where the directory stands"""
    lanes: int | None = None
    """members that advance together under vmap (default: by rule); places of a lane that nobody takes cost as much"""
    executor: str = "threads"
    """what trains: this process (threads), processes:4, dask:tcp://host:8786, ray:auto, slurm; the bits are the same"""
    retries: int = 3
    """how often the work of a worker that dies is tried before its trials are given up"""
    mixed: bool = False
    """accept workers with another version of jax, or another kind of CPU: bits may differ"""
    track: str | None = None
    """also write to tensorboard, mlflow, wandb or trackio, or to several of them: tensorboard,mlflow"""
    live: int | None = None
    """show the population in the browser while it trains, and steer it there; a port may follow (needs popjax[live])"""
    live_host: str | None = None
    """the address of this machine that the page is served at, for others to open it too (default: 127.0.0.1)"""
    plan: Literal["auto", "one", "widths", "buckets"] = "auto"
    """one program for all, a few with capped widths, or one for each depth and batch size"""
    explain: bool = False
    """print what each plan would cost, and train nothing"""
    quiet: bool = False
    """print the winner only"""
    json: bool = False
    """print the summary as JSON, and nothing else, on standard output"""


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    arguments = with_metric(with_choices(cli.parse(Arguments, "sweep", cli.with_port(argv))))
    named = named_scales(arguments)
    check_names(arguments)
    out = open_directory(arguments.out, arguments.stem, arguments.resume)
    sweep = Sweep(arguments, named, out, sys.argv[1:] if argv is None else argv)
    return sweep.run()


def command_line(arguments: Any) -> str:
    """The command line whose arguments these are, without the defaults; empty if there are none.

    >>> command_line({"trials": 90, "dataset": "wine", "epochs": 20, "set": ["decay=uniform(0, 0.1)"]})
    "python -m popjax.sweep --dataset wine --trials 90 --set 'decay=uniform(0, 0.1)'"
    """
    if not isinstance(arguments, Mapping):
        return ""
    words = ["python", "-m", "popjax.sweep"]
    for field in dataclasses.fields(Arguments):
        given = arguments.get(field.name, field.default)
        if field.name in APART or given == field.default:
            continue
        for one in given if isinstance(given, list | tuple) else [given]:
            words += [f"--{field.name.replace('_', '-')}", *([] if one is True else [str(one)])]
    return shlex.join(words)


def named_scales(arguments: Arguments) -> dict[str, Any]:
    """The hyperparameters of --space and --set."""
    from popjax.space.space import Space, setting

    scales: dict[str, Any] = Space.from_toml(arguments.space).entries() if arguments.space else {}
    return scales | dict(setting(text, "--set") for text in arguments.set)


def with_choices(arguments: Arguments) -> Arguments:
    """The arguments with an optimizer or a schedule that is a choice among what --set names."""
    for name in CHOSEN:
        text = getattr(arguments, name)
        if text.startswith("choice("):
            from popjax.space.space import setting

            _, scale = setting(f"{name}={text}", "--set")
            first = str(getattr(scale, "values", (text,))[0])
            changed: dict[str, Any] = {name: first, "set": (*arguments.set, f"{name}={text}")}
            arguments = dataclasses.replace(arguments, **changed)
    return arguments


def with_metric(arguments: Arguments) -> Arguments:
    """The arguments with what ranks among what is measured, where no trial reports it by itself."""
    from popjax.data.targets import REPORTED

    name = (arguments.metric or "").removeprefix("val_")
    others = listed("metrics", arguments.metrics)
    if arguments.task is not None or name in ("", "train_loss", *REPORTED, *others) or name == arguments.metric:
        return arguments
    return dataclasses.replace(arguments, metrics=",".join((*others, name)))


def check_names(arguments: Arguments) -> None:
    """Refuse what is wrong before JAX is imported."""
    from popjax.executors.named import executor_of
    from popjax.space.defaults import PRIORITIES
    from popjax.tuning.proposals import check_sampler
    from popjax.tuning.schedulers.named import scheduler_of

    for name in ("trials", "epochs", "rounds", "folds", "repeats", "lanes", "retries"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} {value}: give at least 1")
    check_seed(arguments.seed)
    arguments.check()
    if arguments.resume and arguments.out is None:
        raise ValueError("--resume needs --out: the directory of the run to go on with")
    check_sampler(arguments.sampler)
    executor_of(arguments.executor)
    trackers(arguments)
    cli.check_live(arguments.live, arguments.live_host)
    if arguments.scheduler is not None:
        scheduler_of(arguments.scheduler)
    if arguments.priority not in PRIORITIES:
        raise ValueError(f"--priority {arguments.priority}: choose 1, 2 or 3")
    if arguments.mode not in (None, "min", "max"):
        raise ValueError(f"unknown mode {arguments.mode!r}; choose min or max")


def trackers(arguments: Arguments) -> list[Any]:
    """The trackers of --track; raises ValueError for one that there is not."""
    if arguments.track is None:
        return []
    from popjax.tracking.named import tracker_of

    return [tracker_of(name) for name in listed("track", arguments.track)]


def about(arguments: Arguments) -> dict[str, Any]:
    """What run.json says of the command."""
    given = dataclasses.asdict(arguments)
    return {"arguments": given, "command": command_line(given)}


@dataclasses.dataclass(frozen=True)
class Sweep:
    """One run of the command."""

    arguments: Arguments
    named: dict[str, Any]
    out: Path
    argv: list[str]

    def run(self) -> int:
        """Load, plan, train, write and tell; returns the exit code."""
        task, space = self.users_task() if self.arguments.task else self.supervised_task()
        import popjax as pj

        arguments = self.arguments
        if arguments.explain:
            return self.explain(task, space)
        if arguments.sampler == "grid":
            self.say(distinct(space, arguments.trials, arguments.seed))
        try:
            with cli.stopping() as stop:
                results = pj.search(
                    task,
                    space,
                    arguments.trials,
                    arguments.epochs,
                    arguments.seed,
                    arguments.sampler,
                    metric=arguments.metric,
                    mode=arguments.mode,
                    repeats=arguments.repeats,
                    folds=arguments.folds,
                    scheduler=arguments.scheduler,
                    rounds=arguments.rounds,
                    choose=arguments.choose,
                    lanes=arguments.lanes,
                    plan=arguments.plan,
                    keep=self.keep(),
                    progress=self.progress(),
                    out=self.out,
                    resume=arguments.resume,
                    stop=stop,
                    minutes=arguments.minutes,
                    about=about(arguments),
                    callbacks=self.callbacks(task),
                    executor=arguments.executor,
                    retries=arguments.retries,
                    mixed=arguments.mixed,
                    live=self.page(),
                )
        except Exception as error:
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                cli.fail(f"--out {str(self.out)!r}: {error.strerror}; free some space or choose another", cli.NO_ROOM)
            if arguments.task is None or isinstance(error, ValueError | MemoryError | InUse):
                raise
            raise arguments.fault(error) from None
        for warning in results.summary["warnings"]:
            print(f"popjax: {printable(warning)}", file=sys.stderr)
        if stop.is_set():
            self.tell_how_to_go_on(results)
            return stop.code
        if arguments.json:
            print(json.dumps(results.summary | {"out": str(self.out)}, allow_nan=False))
        else:
            for line, short in outcome(results, self.out, self.arguments):
                print(line) if short else self.say(line)
        return cli.ALL_DIVERGED if results.best is None else 0

    def keep(self) -> int | None:
        """Of how many trials to keep the arrays: as before, or of as many as are scored together."""
        from popjax.store.files import read_json
        from popjax.store.results import TOGETHER

        if (self.out / "run.json").exists():
            keep = read_json(self.out / "run.json").get("keep")
            return keep if isinstance(keep, int) else None
        return TOGETHER if self.arguments.task is None else None

    def callbacks(self, task: "Task") -> list[Any]:
        """Who listens beside the progress: what fits a linear model meanwhile, and trackers."""
        from popjax.tuning.callbacks.linear import Linear

        return [*([] if task.hints.recipe is None else [Linear(task)]), *trackers(self.arguments)]

    def page(self) -> Any:
        """The live page, if it is wanted."""
        if self.arguments.live is None:
            return False
        from popjax.live.search import Live

        return Live(self.arguments.live, self.arguments.live_host or cli.HERE)

    def say(self, line: str) -> None:
        """Print a line, unless the summary alone is wanted."""
        if not (self.arguments.json or self.arguments.quiet):
            print(printable(line), flush=True)

    def progress(self) -> Any:
        """What shows the progress here."""
        from popjax.tuning.callbacks.progress import Bar, Lines

        if self.arguments.json or self.arguments.quiet:
            return None
        return Bar() if sys.stderr.isatty() else Lines()

    def supervised_task(self) -> "tuple[Task, Space]":
        """The Task on the dataset, and the space: the default one with what was named."""
        from popjax.space.defaults import BATCH_SIZES

        arguments = self.arguments
        parts = arguments.load()
        dataset, task = parts.dataset, arguments.supervised(parts, arguments.folds)
        rows = task.data.folds.train.shape[1]
        space = self.full_space(task, rows)
        self.say(f"device: {describe_device()}")
        self.say(f"dataset: {dataset.name}, {len(dataset.y)} rows, {dataset.kind}")
        if "batch_size" not in self.named and rows < max(BATCH_SIZES):
            self.say(f"batch sizes above the {rows} training rows are left out")
        return task, space

    def full_space(self, task: "Task", rows: int) -> "Space":
        """What is named, beside what the model, the optimizer and the schedule read of the default space."""
        from popjax.engine.roster import check_sizes
        from popjax.engine.tracer import Tracer
        from popjax.space.defaults import default_space
        from popjax.space.space import Space

        arguments = self.arguments
        if arguments.space:
            return Space(**self.named)
        optimizers, schedules = (self.values(name) for name in CHOSEN)
        default = default_space(arguments.priority, optimizers, schedules, rows, arguments.model)
        default = self.recorded() or default
        space = default.replace(**self.named)
        check_sizes(space)
        pairs = list(itertools.product(optimizers, schedules))
        if len(pairs) == 1 and self.named.keys() <= default.keys():
            return space  # of which all is read, whatever the values are
        reads = set(self.named)
        for pair in pairs:
            one = space.replace(**{name: value for name, value in zip(CHOSEN, pair, strict=True) if name in space})
            reads |= Tracer(task, one, one.sample(1), arguments.epochs).reads()
        return space.only(reads)

    def recorded(self) -> "Space | None":
        """The space of the run that is gone on with, for what is not named: defaults may have changed since."""
        from popjax.space.space import Space
        from popjax.store.files import read_json

        if not (self.out / "run.json").exists():
            return None
        space = read_json(self.out / "run.json").get("space")
        return Space.from_dict(space) if isinstance(space, dict) else None

    def values(self, name: str) -> list[str]:
        """All that the optimizer or the schedule may be."""
        scale = self.named.get(name)
        given = getattr(scale, "values", (getattr(scale, "value", getattr(self.arguments, name)),))
        return [str(value) for value in given]

    def users_task(self) -> "tuple[Task, Space]":
        """The Task that --task names, and its space."""
        from popjax.space.space import Space

        task = self.arguments.users_task()
        if not self.named:
            raise ValueError("--task needs a space: name the hyperparameters with --space or --set")
        self.say(f"device: {describe_device()}")
        return task, Space(**self.named)

    def explain(self, task: "Task", space: "Space") -> int:
        """Print what the plans would cost."""
        from popjax.engine.roster import Config
        from popjax.task import ranked_by
        from popjax.tuning.again import explain
        from popjax.tuning.proposals import learns

        given = dataclasses.asdict(self.arguments)
        names = {field.name for field in dataclasses.fields(Config)}
        ranks = dict(zip(("metric", "mode"), ranked_by(task, self.arguments.metric, self.arguments.mode), strict=True))
        config = Config(**{name: given[name] for name in names & given.keys()} | ranks)
        sampler = "sobol" if learns(self.arguments.sampler) else self.arguments.sampler  # of the first round
        print(explain(task, space, self.arguments.trials, config, sampler))
        return 0

    def tell_how_to_go_on(self, results: "Results") -> None:
        """What a run that was stopped has found so far, and the command that goes on with it."""
        done, all_of_them = len(results.order) + int(results.diverged.sum()), results.summary["trials"]
        print(f"stopped: {done} of {all_of_them} trials are trained; ranked and written: {self.out}", file=sys.stderr)
        arguments = [argument for argument in self.argv if argument != "--resume"]
        out = [] if self.arguments.out else ["--out", str(self.out)]
        command = shlex.join([*arguments, *out, "--resume"])
        print(f"go on: {cli.called('sweep')} {command}", file=sys.stderr, flush=True)


def distinct(space: "Space", trials: int, seed: int) -> str:
    """How many distinct values a grid gives each hyperparameter, beside random's."""
    grid, random = space.sample(trials, seed, "grid"), space.sample(trials, seed)
    counts = [f"{name} {len(set(grid[name]))} (random {len(set(random[name]))})" for name in space.searched]
    points = len(next(iter(grid.values())))
    return printable(f"grid: {points} of {trials} trials; distinct values: {', '.join(counts)}")
