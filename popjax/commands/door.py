"""What every command does first, before anything is imported: Ctrl-C ends it at once, with a line and no traceback."""

import signal
from typing import NoReturn

from popjax.commands.leave import leave


def enter(command: str = "named") -> NoReturn:
    """Run a command by its name; "named": the one that the first argument names."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)
    from importlib import import_module

    from popjax.commands import cli

    cli.run(import_module(f"popjax.commands.{command}").main)
