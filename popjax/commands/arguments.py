"""The command-line arguments of a sweep, and their checks. No JAX here."""

import contextlib
import dataclasses
import itertools
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import tyro

from popjax.commands import cli
from popjax.commands.config import arguments_in, space_in
from popjax.commands.experiment import Experiment, comma_list
from popjax.commands.options import Number, Text, Whole
from popjax.core.counts import check_seed

if TYPE_CHECKING:
    from popjax.executors.backend import Local, Remote
    from popjax.rule import Rule

MOST_LANES = 2**16
CHOSEN = ("optimizer", "schedule")  # texts that may be a choice: --optimizer 'choice(sgd,adam)'


@dataclasses.dataclass(frozen=True)
class Workers:
    """Options of where members train."""

    executor: str = "threads"
    """where to train: this process (threads), processes:4, dask:tcp://host:8786, ray:auto, slurm; with the same bits"""
    retries: int = 3
    """number of tries of the work of a worker that dies, before its trials are given up"""
    mixed: bool = False
    """accept workers with another version of jax, or another kind of CPU: bits may differ"""


@dataclasses.dataclass(frozen=True)
class Running(Workers):
    """Options of a sweep that do not determine its results, and that resuming does not inherit."""

    minutes: Number = None
    """stop after this time, as Ctrl-C does: the best so far wins, all is written, and `popjax resume` goes on"""
    track: Text = None
    """also write to tensorboard, mlflow, wandb or trackio, or to several of them: tensorboard,mlflow"""
    track_top: int = 0
    """the number of best trials to track the curves of"""
    live: Whole = None
    """show the population in the browser while it trains, and steer it there; a port may follow (the extra live)"""
    live_host: Text = None
    """the address of this machine to serve the page at, for other machines too (default: 127.0.0.1)"""
    quiet: bool = False
    """print the winner, its scores and what is doubtful of them"""
    json: bool = False
    """print the summary as JSON, and nothing else, on standard output"""


@dataclasses.dataclass(frozen=True)
class Arguments(Running, Experiment):
    """Train hundreds of small models at once, each with hyperparameters of its own, and rank them.

    Without arguments: a random search over learning rate, momentum, hidden units, layers,
    batch size and decay of an MLP on the digits dataset.
    """

    trials: int = 512
    """number of trials"""
    metric: Text = None
    """the metric that ranks the trials, such as val_accuracy or val_loss"""
    mode: Text = None
    """min or max (default: as the metric's name says)"""
    epochs: int = 20
    """passes over the training rows"""
    sampler: str = "random"
    """random, sobol, grid; or one that learns from the trials so far, in rounds: tpe, or with optuna cmaes and gp"""
    priority: int = 3
    """what is tuned: 1 learning rate, 2 also momentum, hidden units and batch size, 3 also depth and decay"""
    scheduler: Text = None
    """which trials train on: halving, hyperband, pbt, also as 'halving(reduction_factor=3)' (default: all)"""
    rounds: Whole = None
    """coarse to fine: the trials are split over rounds, each around the best so far"""
    folds: int = 1
    """cross-validation: the number of folds of each trial, which ranks by their mean"""
    repeats: int = 1
    """the number of initial weights of each trial, which ranks by their mean"""
    choose: str = "best"
    """the winner: best, one-se (the smallest within a standard error of it), ensemble (the best 25 together), or
    pareto (of objectives with commas: --metric val_loss,parameters)"""
    at: Literal["last", "best"] = "last"
    """the epoch of a model that counts, for its value and its weights: the last, or its best one"""
    patience: Whole = None
    """with --at best: the number of epochs without a better one after which a model rests"""
    space: Text = None
    """a TOML file: learning_rate = "log_uniform(1e-4, 1)", one line per hyperparameter"""
    set: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """one hyperparameter, as a scale or a value: 'learning_rate=log_uniform(1e-4,1)', momentum=0.9;
    where others have certain values only: 'hidden_3=integers(8,64) when depth=3|4'"""
    where: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """a constraint on the space, which all points satisfy: 'hidden * depth <= 300'"""
    near: tuple[str, ...] = ()
    """directories of earlier results, also over other data: most points are drawn near their best ones"""
    subject_to: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """a limit on a metric, parameters or flops: trials within it come first: 'parameters<=10000'"""
    start: Text = None
    """a directory of results, whose ten best trials within the space are tried first"""
    out: Text = None
    """the directory for the results (default: runs/<dataset>-<time>)"""
    resume: bool = False
    """resume the run in the directory"""
    lanes: Whole = None
    """members that advance together under vmap (default: by rule); unused places cost as much"""
    plan: Literal["auto", "one", "widths", "buckets"] = "auto"
    """one program for all, a few with capped widths, or one for each depth and batch size"""
    explain: bool = False
    """print what each plan would cost, and train nothing"""
    config: Text = None
    """a TOML file of these options, each by its name, and the space as a table; the command line comes first"""
    print_config: bool = False
    """print the options of this command as such a file, and train nothing"""


NO_RESULT = {"out", "resume", *(field.name for field in dataclasses.fields(Running))}  # they change no result


def command_line(arguments: Any) -> str:
    """The command line with these arguments, without the defaults; empty if there are none.

    >>> command_line({"trials": 90, "dataset": "wine", "epochs": 20, "set": ["decay=uniform(0, 0.1)"]})
    "python -m popjax.sweep --dataset wine --trials 90 --set 'decay=uniform(0, 0.1)'"
    """
    if not isinstance(arguments, Mapping):
        return ""
    words, usual = ["python", "-m", "popjax.sweep"], Arguments()
    if arguments.get("config"):
        with contextlib.suppress(ValueError):  # the file is elsewhere, or was changed
            usual = arguments_in(arguments["config"], Arguments)
        words += ["--config", str(arguments["config"])]
    for field in dataclasses.fields(Arguments):
        default = getattr(usual, field.name)
        if field.name not in NO_RESULT and field.name != "config":
            words += option_words(field.name, arguments.get(field.name, default), default)
    return shlex.join(words)


def option_words(name: str, value: Any, default: Any) -> list[str]:
    """The words that give an option its value, of a list what it has beyond the default; none for the default."""
    value = tuple(value) if isinstance(value, list) else value
    if name in ("set", "where") and value[: len(default)] == default:  # those of the command come after a file's
        value = value[len(default) :]
    if value is None or value in (default, ()):
        return []
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag.removeprefix('--')}"]
    if not isinstance(value, tuple):
        return [flag, str(value)]
    return [flag, *map(str, value)] if name == "near" else [word for each in value for word in (flag, str(each))]


class Named(NamedTuple):
    """What a command says of its space.

    Attributes:
        scales: name -> scale or value.
        where: the constraints.
        whole: True if the hyperparameters that are named are all there are.
    """

    scales: dict[str, Any]
    where: tuple[Any, ...]
    whole: bool


def named_scales(arguments: Arguments) -> Named:
    """What --space, or else the table of --config, and --set and --where say of the space. Raises ValueError."""
    from popjax.space.constraints import constraints_of
    from popjax.space.space import Space, setting

    check_file(arguments.space)
    space = None if arguments.config is None else space_in(arguments.config)
    space = space if arguments.space is None else Space.from_toml(arguments.space)
    scales: dict[str, Any] = {} if space is None else space.entries()
    scales |= dict(setting(text, "--set") for text in arguments.set)
    where = (*(() if space is None else space.constraints), *constraints_of(arguments.where))
    return Named(scales, where, space is not None)


def check_file(space: str | None) -> None:
    """Raise ValueError for a hyperparameter and its scale in the place of a file's name."""
    if space is not None and "=" in space and not Path(space).exists():
        raise ValueError(f"--space {space!r}: name a TOML file; one hyperparameter is given by --set {space!r}")


def parsed(argv: list[str] | None) -> Arguments:
    """The arguments of the command line, over those of --config."""
    argv = cli.with_port(argv)
    check_near(argv)
    file = config_named(argv)
    if file is None:
        return with_choices(cli.parse(Arguments, "sweep", argv))
    below = arguments_in(file, Arguments)
    arguments = cli.parse(Arguments, "sweep", argv, below)
    where = below.where if arguments.space == below.space else ()
    entries: dict[str, Any] = {
        "set": (*lasting(below, arguments), *arguments.set[len(below.set) :]),
        "where": (*where, *arguments.where[len(below.where) :]),
    }
    return with_choices(dataclasses.replace(arguments, **entries))


def check_near(argv: list[str]) -> None:
    """Raise ValueError for --near twice, of which only the last would count, and without a directory."""
    places = [at for at, word in enumerate(argv) if word.partition("=")[0] == "--near"]
    if len(places) > 1:
        raise ValueError("--near stands there twice; name all directories behind one")
    for at in places:
        if "=" not in argv[at] and (at + 1 == len(argv) or argv[at + 1].startswith("--")):
            raise ValueError("--near: name a directory of results, or several")


def lasting(below: Arguments, arguments: Arguments) -> list[str]:
    """The entries of `set` in a file of options, `below`, that the command line leaves.

    With its own --space none, and those of an optimizer or a schedule that it names are not among them.
    """
    if arguments.space != below.space:
        return []
    named = [name for name in CHOSEN if getattr(arguments, name) != getattr(below, name)]
    return [entry for entry in below.set if entry.partition("=")[0].strip() not in named]


def config_named(argv: list[str]) -> str | None:
    """The file of the last --config of a command line; None without one.

    >>> config_named(["--trials", "3", "--config", "a.toml", "--config=b.toml"])
    'b.toml'
    """
    file = ""
    for word, following in itertools.pairwise([*argv, ""]):
        flag, equals, value = word.partition("=")
        if flag == "--config":
            file = value if equals else following
    return file or None


def with_choices(arguments: Arguments) -> Arguments:
    """The arguments with 'choice(...)' of an optimizer or a schedule moved to --set; its first value remains."""
    for name in CHOSEN:
        text = getattr(arguments, name) or ""
        if text.startswith("choice("):
            from popjax.space.scales import bare
            from popjax.space.space import setting

            _, scale = setting(f"{name}={text}", "--set")
            first = str(getattr(bare(scale), "values", (text,))[0])
            changed: dict[str, Any] = {name: first, "set": (*arguments.set, f"{name}={text}")}
            arguments = dataclasses.replace(arguments, **changed)
    return arguments


def with_metric(arguments: Arguments) -> Arguments:
    """The arguments with metrics that rank or are limited added to --metrics, where no trial reports them by itself."""
    from popjax.metric import Metric
    from popjax.rule import COSTS, Limit

    others = comma_list("metrics", arguments.metrics)
    limited = [limit.name for limit in map(Limit.of, arguments.subject_to) if limit.name not in COSTS]
    metrics = [Metric(name) for name in [*(arguments.metric or "").split(","), *limited]]
    names = [metric.name for metric in metrics if metric.rows == "validation" and metric.name not in others]
    if arguments.task is not None or not names:
        return arguments
    from popjax.supervision.kinds.named_kinds import reported

    new = [name for name in names if not reported(name, arguments.kind)]
    return dataclasses.replace(arguments, metrics=",".join((*others, *new))) if new else arguments


def check_arguments(arguments: Arguments) -> None:
    """Raise ValueError for invalid arguments, before JAX is imported."""
    from popjax.space.defaults import PRIORITIES
    from popjax.tuning.proposals import check_sampler

    for name in ("trials", "epochs", "rounds", "folds", "repeats", "lanes", "retries"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} {value}: give at least 1")
    if arguments.lanes is not None and arguments.lanes > MOST_LANES:
        raise ValueError(f"--lanes {arguments.lanes}: give at most {MOST_LANES:,}; unused places cost as much")
    check_seed(arguments.seed, "--seed ")
    arguments.check()
    arguments.check_notation()
    if arguments.resume and arguments.out is None:
        raise ValueError("--resume needs --out: the directory of the run to go on with")
    check_sampler(arguments.sampler)
    asked_backend(arguments)
    trackers(arguments)
    cli.check_live(arguments.live, arguments.live_host)
    asked_scheduler(arguments)
    if arguments.priority not in PRIORITIES:
        raise ValueError(f"--priority {arguments.priority}: choose 1, 2 or 3")
    asked_rule(arguments)


def asked_rule(arguments: Arguments, keep: int | None = None) -> "Rule":
    """The rule of --choose, --metric, --mode, --at and --patience; keeps its own number of trials if `keep` is None.

    Raises ValueError for what the rule does not take.
    """
    from popjax.core.text import registered
    from popjax.rule import Rule
    from popjax.rules.named_rules import RULES

    options = {name: getattr(arguments, name) for name in ("mode", "at", "patience", "subject_to")}
    return registered(RULES, "rule", arguments.choose, Rule).asked(arguments.metric, keep, **options)


def asked_scheduler(arguments: Arguments) -> Any:
    """The scheduler of --scheduler, in the rounds of --rounds; None without both. Raises ValueError."""
    from popjax.tuning.schedulers.named_schedulers import scheduler_of
    from popjax.tuning.schedulers.rounds import rounds

    inner = None if arguments.scheduler is None else scheduler_of(arguments.scheduler)
    return inner if arguments.rounds is None else rounds(arguments.rounds, inner)


def asked_backend(arguments: Any) -> "Local | Remote":
    """The backend of --executor, --retries, --mixed, and of --lanes and --plan where a command has them.

    A command that trains elsewhere leaves a GPU's memory to the workers. Raises ValueError.
    """
    from popjax.executors.backend import Local, Remote
    from popjax.executors.named_executors import THREADS

    if arguments.executor == THREADS:
        for option, value in (("--retries", arguments.retries), ("--mixed", arguments.mixed)):
            if value != getattr(Workers, option[2:]):
                raise ValueError(f"{option} needs --executor: this process loses no worker, and is of one kind")
        return Local.given(arguments)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    return Remote.given(arguments)


def trackers(arguments: Arguments) -> list[Any]:
    """The trackers of --track. Raises ValueError for an unknown one."""
    if arguments.track_top < 0 or (arguments.track_top and arguments.track is None):
        what = "give at least 0" if arguments.track else "needs --track: the tracker"
        raise ValueError(f"--track-top {arguments.track_top}: {what}")
    if arguments.track is None:
        return []
    from popjax.tracking.named_trackers import tracker_of

    return [tracker_of(name, arguments.track_top) for name in comma_list("track", arguments.track)]


def about(arguments: Arguments) -> dict[str, Any]:
    """The entries of run.json about the command."""
    settings = dataclasses.asdict(arguments)
    return {"arguments": settings, "command": command_line(settings)}
