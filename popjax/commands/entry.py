"""Entry of every command, before other imports: Ctrl-C ends it at once, with one line and no traceback."""

import signal
from typing import NoReturn

from popjax.commands.leave import leave


def enter(command: str = "named_commands") -> NoReturn:
    """Run a command by its name; "named_commands" runs the one that the first argument names."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)
    from importlib import import_module

    from popjax.commands import cli

    cli.run(import_module(f"popjax.commands.{command}").main)
