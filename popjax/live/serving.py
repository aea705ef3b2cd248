"""The server of a live page, in a thread of its own from the first epoch to the report."""

import os
import socket
import sys
import threading
import time
from typing import Any

from popjax.core.counts import check_number
from popjax.core.text import check_installed, tell
from popjax.live.board import Board
from popjax.live.guard import Guard
from popjax.live.tabs import Tabs

LOCAL, ANY = ("127.0.0.1", "localhost", "::1"), ("0.0.0.0", "::")
CONNECTIONS = 200
FAREWELL = 5.0  # seconds in which open tabs may fetch the report


class Serving:
    """The server of a board.

    Args:
        board: the contents of the page.
        port: port to serve at; any free one if 0.
        host: address of this machine to listen at.

    Raises ValueError if the port is taken, or a package is missing.
    """

    def __init__(self, board: Board, port: int = 0, host: str = "127.0.0.1") -> None:
        check_port(port)
        self.board = board
        self.host = host
        self.socket = bound(host, port)
        self.port: int = self.socket.getsockname()[1]
        self.guard = Guard(host, self.port)
        self.server: Any = None
        self.thread: threading.Thread | None = None
        self.tabs = Tabs()

    @property
    def address(self) -> str:
        """The URL to open in a browser, with the token."""
        name = LOCAL[0] if self.host in ANY else self.host
        return f"http://{f'[{name}]' if ':' in name else name}:{self.port}/?token={self.guard.token}"

    def start(self) -> None:
        """Start serving, and print the address."""
        import uvicorn

        from popjax.live.app import app

        config = uvicorn.Config(
            app(self.board, self.guard, self.tabs),
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            lifespan="off",
            loop="asyncio",
            http="h11",
            ws="none",
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=1,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()
        tell(f"watch and steer: {self.address}")
        if self.host not in LOCAL:
            name = socket.gethostname() if self.host in ANY else self.host
            tell(f"popjax: other machines may open it, unencrypted, at {name}; the address alone lets them steer")
        elif not has_display():
            tell(f"from another machine: {tunnel(self.port)}, then open the address there")

    def close(self) -> None:
        """Stop serving, once open tabs have had `FAREWELL` seconds to fetch the report."""
        if self.thread is None:
            self.socket.close()
            return
        until = time.monotonic() + FAREWELL
        while self.tabs.open and time.monotonic() < until:
            time.sleep(0.05)
        self.server.should_exit = True
        if self.thread is not threading.current_thread():  # a session may be finalized in this thread
            self.thread.join(FAREWELL)
        self.socket.close()


def check_port(port: int) -> None:
    """Raise ValueError for an invalid port or a missing package."""
    check_number("there is no port", port, 2**16)
    for package in ("starlette", "uvicorn"):
        check_installed("the live page", package, "starlette uvicorn")


def bound(host: str, port: int) -> socket.socket:
    """A listening socket at this address. Raises ValueError if it cannot be bound."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        place = socket.socket(family, socket.SOCK_STREAM)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(address)
        place.listen()
    except (OSError, UnicodeError) as error:
        what = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"cannot serve at {host}:{port}: {what}; choose another port or host") from None
    return place


def has_display() -> bool:
    """True if a browser can be opened on this machine."""
    if os.environ.get("SSH_CONNECTION"):
        return False
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def tunnel(port: int) -> str:
    """The ssh command that makes the page reachable from the user's machine."""
    server = os.environ.get("SSH_CONNECTION", "").split()[2:3]
    user = os.environ.get("USER") or os.environ.get("LOGNAME")
    where = server[0] if server else socket.gethostname()
    return f"ssh -L {port}:127.0.0.1:{port} {f'{user}@' if user else ''}{where}"
