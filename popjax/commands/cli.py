"""Shared by the commands: typed arguments, one-line errors, exit codes, Ctrl-C. No JAX here."""

import contextlib
import errno
import gc
import io
import itertools
import logging
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from popjax.commands.leave import CTRL_C, leave
from popjax.core.doubt import print_doubts
from popjax.core.stop import Stop
from popjax.core.storage import Corrupt, InUse, leave_nothing_unfinished
from popjax.core.text import printable, tell

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
ALL_DIVERGED, BAD_INPUT, CORRUPT, IN_USE, NO_ROOM, CLOSED_PIPE, TERMINATED = 1, 2, 3, 4, 5, 141, 143
HERE = "127.0.0.1"  # default address of a live page
PATIENCE = 10  # seconds that SIGTERM gives the epochs in progress


def fail(*messages: str, code: int = BAD_INPUT) -> NoReturn:
    """Print each message as one line on standard error and exit."""
    for message in messages:
        line = " ".join(printable(message).split())
        print(f"popjax: {line}", file=sys.stderr, flush=True)
    raise SystemExit(code)


def fail_to_write(what: str, error: OSError) -> NoReturn:
    """Exit with one line on what cannot be written: for want of room, or for another reason."""
    full = error.errno in NO_SPACE
    remedy = "free some space or choose another" if full else "choose another"
    fail(f"{what}: {error.strerror}; {remedy}", code=NO_ROOM if full else BAD_INPUT)


def parse[Arguments](
    arguments: type[Arguments], command: str, argv: list[str] | None = None, default: Arguments | None = None
) -> Arguments:
    """The command line as a dataclass, with its docstrings as help; exit with a one-line error for a mistake.

    What the command line does not name is as in `default`.
    """
    if (sys.argv[1:] if argv is None else argv) == ["--version"]:
        raise SystemExit(version())
    import tyro

    complaint = io.StringIO()
    with contextlib.redirect_stderr(complaint):
        try:
            # --no-quiet, where a default says quiet
            pairs = () if default is not None else (tyro.conf.FlagCreatePairsOff,)
            config = (*pairs, tyro.conf.OmitArgPrefixes)
            parsed: Arguments = tyro.cli(arguments, prog=called(command), args=argv, default=default, config=config)  # type: ignore[assignment]
            return parsed
        except SystemExit as stop:
            if stop.code == 0:
                raise
    fail(one_line(complaint.getvalue()) + f"; see {called(command)} --help")


def version() -> int:
    """Print popjax's version; return the exit code."""
    from popjax import __version__

    print(f"popjax {__version__}")
    return 0


def with_port(argv: list[str] | None) -> list[str]:
    """The command line with a port after each --live: 0, any free one, if none follows.

    >>> with_port(["--live", "--trials", "3", "--live", "8000"])
    ['--live', '0', '--trials', '3', '--live', '8000']
    >>> with_port([])
    []
    """
    words = sys.argv[1:] if argv is None else argv
    return [
        part
        for word, following in itertools.pairwise([*words, ""])
        for part in ([word, "0"] if word == "--live" and not following.isdecimal() else [word])
    ]


def check_live(port: int | None, host: str | None) -> None:
    """Raise ValueError for --live-host without --live, an invalid port, or a missing package."""
    if host is not None and port is None:
        raise ValueError(f"--live-host {host} needs --live")
    if port is not None:
        from popjax.live.serving import check_port

        check_port(port)


def called(command: str = "") -> str:
    """The shell text that starts a command as this one was started: by the console script, by uv, or by Python."""
    if Path(sys.argv[0]).name == "popjax":
        return f"{started('popjax', sys.argv[0])} {command}".rstrip()
    return f"{python()} -m {'.'.join(filter(None, ('popjax', command)))}"


def python() -> str:
    """The shell text that starts this Python."""
    return started("python", sys.executable)


def started(name: str, path: str) -> str:
    """The shell text that starts a program: by uv, by name, or by path if the shell does not find it by name."""
    if uv := os.environ.get("UV"):  # set by `uv run`
        return f"{'uv' if shutil.which('uv') else shlex.quote(uv)} run {name}"
    executable = shutil.which(name)
    here = executable is not None and os.path.realpath(executable) == os.path.realpath(path)
    return name if here else shlex.quote(path)


def one_line(box: str) -> str:
    """The message in the argument parser's box, in one line."""
    content = re.sub(r"\x1b\[[0-9;]*m", "", box)
    rows = [row.strip("│ ").strip() for row in content.splitlines() if row.startswith("│")]
    said = " ".join(rows)
    message = re.split(r"─{5,}", said)[0].strip().rstrip(".")
    meant = re.search(r"Perhaps you meant:\s*─*\s*(--[\w-]+)", said)
    return message + (f"; did you mean {meant[1]}?" if meant else "")


class Told(logging.Handler):
    """A log handler that prints the library's warnings as the commands print theirs."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(f"popjax: {printable(record.getMessage())}")


class SignalledStop(Stop):
    """A stop requested by a signal; `code` is the exit code of the command."""

    code = 0


def leave_now(*_: Any) -> NoReturn:
    """Exit at once, and remove files that are being written."""
    leave_nothing_unfinished()
    leave()


def terminated(*_: Any) -> NoReturn:
    """Exit at once, as SIGTERM asks, and remove files that are being written."""
    leave_nothing_unfinished()
    os._exit(TERMINATED)


@contextlib.contextmanager
def stopping(stop: SignalledStop, after: str = "segment") -> Iterator[None]:
    """Context: the first Ctrl-C sets `stop`, the second one exits; SIGTERM sets it, and exits after 10 s at most."""

    def ask(number: int, frame: Any) -> None:
        if number == signal.SIGINT and stop.is_set():
            leave_now()
        stop.code = CTRL_C if number == signal.SIGINT else TERMINATED
        stop.set()
        if number == signal.SIGINT:
            os.write(2, f"stopping after this {after}; again to stop at once\n".encode())
        else:
            signal.signal(signal.SIGALRM, terminated)
            signal.setitimer(signal.ITIMER_REAL, PATIENCE)

    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(main: Callable[[], Any]) -> NoReturn:
    """Run a command and exit: an error becomes one line and a code, a closed pipe ends it silently."""
    if signal.getsignal(signal.SIGINT) is leave:
        signal.signal(signal.SIGINT, leave_now)
    logging.getLogger("popjax").addHandler(Told())
    print_doubts()
    try:
        code = main()
        if sys.stdout is not None:
            sys.stdout.flush()
    except Corrupt as error:
        fail(str(error), code=CORRUPT)
    except ValueError as error:
        fail(*getattr(error, "lines", (str(error),)))
    except InUse as error:
        fail(str(error), code=IN_USE)
    except MemoryError as error:
        fail(f"out of memory: {error}; lower the trials or the sizes", code=NO_ROOM)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = CLOSED_PIPE
    except OSError as error:
        if error.errno in NO_SPACE and error.filename is None:  # else Python tries again at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        file = repr(os.fspath(error.filename)) if error.filename is not None else "standard output"
        fail(f"{file}: {error.strerror or error}", code=NO_ROOM if error.errno in NO_SPACE else BAD_INPUT)
    finally:  # all is printed
        gc.freeze()  # Python's last collections would search JAX's objects for 0.6 s
        signal.setitimer(signal.ITIMER_REAL, 0)  # its handler is removed before Python exits
        if signal.getsignal(signal.SIGINT) is leave_now:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise SystemExit(code)
