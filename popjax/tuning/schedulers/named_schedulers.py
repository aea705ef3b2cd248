"""Schedulers by name, as on a command line: `halving(reduction_factor=3)`. Parsed, never evaluated."""

import ast
import functools
import inspect
from collections.abc import Callable
from typing import Any

from popjax.core.calls import name_of
from popjax.core.text import lookup
from popjax.scheduler import Problem, Scheduler
from popjax.tuning.schedulers.halving import halving
from popjax.tuning.schedulers.hyperband import hyperband
from popjax.tuning.schedulers.pbt import pbt
from popjax.tuning.schedulers.plain import plain
from popjax.tuning.schedulers.rounds import rounds

SCHEDULERS: dict[str, Callable[..., Callable[[Problem], Scheduler]]] = {
    "halving": halving,
    "hyperband": hyperband,
    "pbt": pbt,
    "rounds": rounds,
}


def scheduler_of(text: str) -> Callable[[Problem], Scheduler]:
    """The scheduler of a name, or of a name with arguments; raises ValueError for any other text.

    >>> text_of(scheduler_of("rounds(2, inner=halving(min_epochs=1))"))
    'rounds(n=2, inner=halving(reduction_factor=2, min_epochs=1))'
    """
    try:
        return made(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, TypeError, RecursionError, MemoryError, AttributeError) as error:
        what = f" ({error})" if isinstance(error, TypeError) else ""
        example = "write a name, or a name with arguments: halving(reduction_factor=3)"
        raise ValueError(f"scheduler {text[:80]!r}{what}: {example}") from None


def made(node: ast.expr) -> Callable[[Problem], Scheduler]:
    """The scheduler of a name or a call with literals or schedulers as arguments; SyntaxError for other expressions."""
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    if not isinstance(call.func, ast.Name):
        raise SyntaxError("no name")
    make: Any = lookup(SCHEDULERS, "scheduler", call.func.id)
    if not (call.args or call.keywords) and takes_problem(make):
        return make
    keywords = {str(keyword.arg): argument_of(keyword.value) for keyword in call.keywords}
    return make(*map(argument_of, call.args), **keywords)


def takes_problem(make: Any) -> bool:
    """True for a scheduler itself, a function of a problem, and False for a function of settings that returns one."""
    signature = inspect.signature(make)
    try:
        signature.bind()
    except TypeError:
        return list(signature.parameters)[:1] == ["problem"]
    return False


def argument_of(node: ast.expr) -> Any:
    """The value of an argument: a literal or a scheduler; raises SyntaxError for anything else."""
    if isinstance(node, ast.Call | ast.Name):
        return made(node)
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise SyntaxError("no literal") from None


def text_of(scheduler: Callable[..., Any] | None) -> str | None:
    """A scheduler's name with its arguments, as `scheduler_of` reads it; None for None."""
    if not isinstance(scheduler, functools.partial):
        return name_of(scheduler)
    home = scheduler.func.__module__
    name = next((name for name, make in SCHEDULERS.items() if make.__module__ == home), text_of(scheduler.func))
    written = lambda value: text_of(value) if callable(value) else repr(value)
    given = {key: written(value) for key, value in scheduler.keywords.items()}
    named = [f"{key}={text}" for key, text in given.items() if text != plain.__qualname__]
    return f"{name}({', '.join([*map(str, map(written, scheduler.args)), *named])})"
