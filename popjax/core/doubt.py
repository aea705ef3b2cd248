"""Warnings about a user's data, as Python's warnings, so that filters work. No JAX here."""

import re
import warnings
from typing import Any

from popjax.core.faults import OWN
from popjax.core.text import printable, tell

FLAGS = re.compile(r" \(--[^()]*\)")  # what a command calls it


class DataWarning(UserWarning):
    """Data that are doubtful, or of which something was left out, such as rows without a target.

    >>> import popjax as pj
    >>> str(pj.DataWarning("the column 'day' looks like dates; leave it out (--drop day)", "day"))
    "the column 'day' looks like dates; leave it out"
    """

    def __str__(self) -> str:
        return FLAGS.sub("", str(self.args[0]))


def doubt(line: str, about: str = "") -> None:
    """Warn of the data. Commands tell flags in brackets, as (--drop day), too, and what is `about` one thing once."""
    warnings.warn(DataWarning(line, about or line), stacklevel=2, skip_file_prefixes=(OWN,))


def print_doubts() -> None:
    """From now on print these warnings on standard error as commands do."""
    show_others, shown = warnings.showwarning, set[str]()

    def show(message: Warning | str, *where: Any, **more: Any) -> None:
        if isinstance(message, DataWarning):
            line, about = message.args
            if about not in shown:
                tell(f"popjax: {printable(line)}")
            shown.add(about)
        else:
            show_others(message, *where, **more)

    warnings.showwarning = show
    warnings.simplefilter("always", DataWarning)
