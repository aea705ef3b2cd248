"""`python -m popjax.sweep`: a whole random search from the command line. Starts without JAX."""

import dataclasses
import itertools
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from popjax.commands import cli
from popjax.commands.arguments import (
    CHOSEN,
    Arguments,
    Named,
    about,
    asked_backend,
    asked_rule,
    asked_scheduler,
    check_arguments,
    named_scales,
    parsed,
    trackers,
    with_metric,
)
from popjax.commands.config import toml_of
from popjax.commands.directories import open_directory
from popjax.commands.experiment import describe_device
from popjax.commands.outcome import outcome
from popjax.core.storage import InUse
from popjax.core.text import printable

if TYPE_CHECKING:
    from popjax.space.space import Space
    from popjax.store.results import Results
    from popjax.study.request import SearchRequest
    from popjax.task import Task
    from popjax.tuning.callbacks.callback import Callback


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = parsed(argv)
    named = named_scales(arguments)
    check_arguments(arguments)
    if arguments.print_config:
        print(toml_of(arguments, written_scales(named) if named.whole else None))
        return 0
    with open_directory(arguments.out, arguments.stem, arguments.resume) as out:
        if arguments.resume:
            check_same_kind(arguments, out)
        arguments = with_metric(arguments)
        return Sweep(arguments, named, out, about(arguments)).run()


def written_scales(named: Named) -> dict[str, Any]:
    """Name -> text or value, as a file has them, and the constraints."""
    from popjax.space.space import Space

    return Space(**named.scales).where(*named.where).to_dict()


@dataclasses.dataclass(frozen=True)
class Sweep:
    """One run of the command.

    Attributes:
        arguments: of the command line.
        named: what it says of the space.
        out: the directory.
        about: entries of run.json about the command.
    """

    arguments: Arguments
    named: Named
    out: Path
    about: dict[str, Any]

    def run(self) -> int:
        """Load, plan, train, write and print; return the exit code."""
        arguments = self.arguments
        task, space = self.users_task() if arguments.task else self.supervised_task()
        if arguments.near:
            space = space.near(*arguments.near)
        space = space.where(*self.named.where)
        request = self.request(task, space)
        if arguments.explain:
            return self.explain(request)
        if arguments.sampler == "grid":
            self.say(distinct(space, arguments.trials, arguments.seed))
        stop = cli.SignalledStop()
        try:
            with cli.stopping(stop):
                results = self.searched(request, stop)
        except Exception as error:
            if isinstance(error, OSError) and error.errno in cli.NO_SPACE:
                cli.fail_to_write(f"--out {str(self.out)!r}", error)
            if arguments.task is None or isinstance(error, ValueError | MemoryError | InUse):
                raise
            raise arguments.fault_of(error) from None
        if arguments.json:
            print(json.dumps(results.summary | {"out": str(self.out)}, allow_nan=False))
        else:
            for line, short in outcome(results, self.out, arguments):
                print(line) if short else self.say(line)
        if stop.is_set():
            self.tell_how_to_go_on()
        if stop.code:
            return stop.code
        return cli.ALL_DIVERGED if results.best is None else 0

    def request(self, task: "Task", space: "Space") -> "SearchRequest":
        """The checked request of the command line."""
        from popjax.rules.best import TOGETHER
        from popjax.study.request import SearchRequest
        from popjax.tuning.search_options import SearchOptions

        arguments = self.arguments
        keep = None if arguments.task is not None else TOGETHER
        rank, scheduler = asked_rule(arguments, keep), asked_scheduler(arguments)
        options = SearchOptions.given(arguments, rank=rank, scheduler=scheduler)
        return SearchRequest.of(task, space, options, asked_backend(arguments))

    def searched(self, request: "SearchRequest", stop: cli.SignalledStop) -> "Results":
        """Results of the search."""
        from popjax.engine.trainer import Timer
        from popjax.study.run import Search

        arguments = self.arguments
        search = Search(
            request,
            asked_backend(arguments).made,
            Timer(stop),
            [*self.progress(), *trackers(arguments)],
            self.page(),
        )
        return search.run(self.out, self.about, arguments.resume)

    def page(self) -> Any:
        """The live page of --live; None without it."""
        if self.arguments.live is None:
            return None
        from popjax.live.search import Live

        return Live(self.arguments.live, self.arguments.live_host or cli.HERE)

    def say(self, line: str) -> None:
        """Print a line, except with --json or --quiet."""
        if not (self.arguments.json or self.arguments.quiet):
            print(printable(line), flush=True)

    def progress(self) -> "list[Callback]":
        """The callback that shows the progress: silent, a bar on a terminal, or lines."""
        from popjax.tuning.callbacks.progress import Bar, Lines, Silent

        if self.arguments.json or self.arguments.quiet:
            return [Silent()]
        return [Bar() if sys.stderr.isatty() else Lines()]

    def supervised_task(self) -> "tuple[Task, Space]":
        """The Task on the dataset, and the space: the default one with the named scales."""
        from popjax.space.defaults import BATCH_SIZES

        arguments = self.arguments
        parts = arguments.load()
        dataset, task = parts.dataset, arguments.supervised(parts, arguments.folds)
        rows = task.data.folds.train.shape[1]
        space = self.full_space(task, rows)
        self.say(f"device: {describe_device()}")
        self.say(arguments.rows(dataset))
        if "batch_size" not in self.named.scales and rows < max(BATCH_SIZES):
            self.say(f"batch sizes above the {rows} training rows are left out")
        return task, space

    def full_space(self, task: "Task", rows: int) -> "Space":
        """The named scales, and those of the default space that the model, the optimizer and the schedule read."""
        from popjax.engine.traced_task import check_sizes
        from popjax.engine.tracer import Tracer
        from popjax.space.space import Space
        from popjax.supervision.spaces import default_space

        arguments = self.arguments
        named = self.named.scales
        if self.named.whole:
            return Space(**named)
        optimizers, schedules = (self.values(name) for name in CHOSEN)
        default = default_space(arguments.priority, optimizers, schedules, rows, arguments.model)
        space = default.replace(**named)
        check_sizes(space)
        pairs = list(itertools.product(optimizers, schedules))
        if len(pairs) == 1 and named.keys() <= default.keys():
            return space  # all of it is read, whatever the values are
        reads = set(named)
        for pair in pairs:
            variant = space.replace(**{name: value for name, value in zip(CHOSEN, pair, strict=True) if name in space})
            reads |= Tracer(task, variant, variant.sample(1), arguments.epochs).reads()
        return space.only(reads)

    def values(self, name: str) -> list[str]:
        """All values that the optimizer or the schedule may have."""
        from popjax.space.scales import bare

        scale = bare(self.named.scales.get(name))
        usual = getattr(self.arguments, name) or self.arguments.usual(name)
        levels = getattr(scale, "values", (getattr(scale, "value", usual),))
        return [str(value) for value in levels]

    def users_task(self) -> "tuple[Task, Space]":
        """The Task that --task names, and the space that is named, else its own. Raises ValueError without a space."""
        from popjax.study.request import space_asked

        task = self.arguments.users_task()
        space = space_asked(task, self.named.scales or None, self.arguments.folds)
        self.say(f"device: {describe_device()}")
        return task, space

    def explain(self, request: "SearchRequest") -> int:
        """Print what the plans would cost; return the exit code."""
        from popjax.study.replay import explain
        from popjax.tuning.proposals import learns

        sampler = "sobol" if learns(self.arguments.sampler) else self.arguments.sampler  # of the first round
        print(explain(request.task, request.space, self.arguments.trials, request.config, sampler))
        return 0

    def tell_how_to_go_on(self) -> None:
        """Print the command that resumes a run that was stopped before its end."""
        command = shlex.join([str(self.out), *self.arguments.untold()])
        print(printable(f"go on: {cli.called('resume')} {command}"), file=sys.stderr, flush=True)


def check_same_kind(arguments: Arguments, out: Path) -> None:
    """Raise ValueError if the recorded run had a task of the user's and this command names none, or the other way."""
    from popjax.store.files import HOLDS, read_json

    path = out / HOLDS["run"]
    if not path.exists():  # nothing is begun yet
        return
    recorded = (read_json(path).get("arguments") or {}).get("task")
    if recorded is not None and arguments.task is None:
        what = "the search was over a task of your own, which must be given again"
        raise ValueError(f"--out {str(out)!r}: {what}: --task {printable(str(recorded))}, with its space")
    if recorded is None and arguments.task is not None:
        raise ValueError(f"--out {str(out)!r}: the search was over rows of a dataset; resume it without --task")


def distinct(space: "Space", trials: int, seed: int) -> str:
    """Text: the number of distinct values that a grid gives each hyperparameter, beside random's."""
    from popjax.space.values import present

    grid, random = space.sample(trials, seed, "grid"), space.sample(trials, seed)
    count = lambda column: len(set(column[present(column)].tolist()))
    counts = [f"{name} {count(grid[name])} (random {count(random[name])})" for name in space.searched]
    points = len(next(iter(grid.values())))
    return printable(f"grid: {points} of {trials} trials; distinct values: {', '.join(counts)}")
