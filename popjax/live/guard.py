"""Access control of a live page: which requests may read it, and which may change what it shows."""

import contextlib
import secrets
import socket
from collections.abc import Mapping, Sequence
from typing import NamedTuple

LARGEST, HEADERS = 10_000, 16_000  # largest number of bytes of a request's body, and of its headers
OURS = ("x-popjax", "1")  # a header that no form and no other site's script can send
PAGE = {
    "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Asking(NamedTuple):
    """A request before its body is read.

    Attributes:
        headers: lower-case name -> its values, one or more.
        token: from the address.
        cookies: name -> value.
        arrived: the address of this machine at which it arrived.
    """

    method: str
    path: str
    headers: Mapping[str, Sequence[str]]
    token: str | None
    cookies: Mapping[str, str]
    arrived: str = ""

    def header(self, name: str) -> str | None:
        """The value of a header; None if it is absent or repeated."""
        values = self.headers.get(name, ())
        return values[0] if len(values) == 1 else None


class Guard:
    """The access rules of one server.

    Other sites can make a browser send requests here, also under names that they let point here. So the Host must be a
    name of this machine (DNS rebinding), the Origin must be the page's own (requests forged by another site), and a
    request must have the cookie that the address with the token has set.

    Args:
        host: the address that the server listens at.
        port: the port of the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self.names = names_of(host)
        self.token = secrets.token_urlsafe(32)
        self.secret = secrets.token_urlsafe(32)
        self.cookie = f"popjax-{port}"

    def refusal(self, asking: Asking) -> tuple[int, str] | None:
        """Status and reason of a refusal; None for an allowed request.

        >>> guard = Guard("127.0.0.1", 8000)
        >>> asking = Asking("GET", "/", {"host": ["127.0.0.1:8000"]}, guard.token, {})
        >>> guard.refusal(asking), guard.refusal(asking._replace(token="another"))
        (None, (403, 'open the address that the terminal shows'))
        """
        if sum(len(name) + len(value) for name, values in asking.headers.items() for value in values) > HEADERS:
            return 431, f"give at most {HEADERS} bytes of headers"
        host = asking.header("host")
        if host is None or host_name(host) not in self.names | {bracketed(asking.arrived)}:
            return 403, "this name is not the server's"
        origins = asking.headers.get("origin", ())
        if asking.method not in ("GET", "POST"):
            return 405, "GET or POST"
        if (origins or asking.method == "POST") and list(origins) != [f"http://{host}"]:
            return 403, "the request comes from another site"
        site = asking.headers.get("sec-fetch-site", ("none",))
        entering = asking.method == "GET" and asking.path == "/"
        if not entering and list(site) not in (["none"], ["same-origin"]):
            return 403, "the request comes from another site"
        known = equal(asking.cookies.get(self.cookie), self.secret)
        if not (known or (entering and equal(asking.token, self.token))):
            return 403, "open the address that the terminal shows"
        return self.misshapen(asking) if asking.method == "POST" else None

    def misshapen(self, asking: Asking) -> tuple[int, str] | None:
        """Status and reason to refuse a malformed change from the page itself; None for a well-formed one."""
        if asking.header(OURS[0]) != OURS[1]:
            return 403, "the request comes from another site"
        if (asking.header("content-type") or "").partition(";")[0].strip() != "application/json":
            return 415, "give JSON"
        length = asking.header("content-length") or ""
        if not (length.isascii() and length.isdigit()):
            return 411, "Content-Length is required"
        return (413, f"give at most {LARGEST} bytes") if len(length) > 9 or int(length) > LARGEST else None


def host_name(host: str) -> str:
    """The lower-case name in a Host header; the port is ignored, since a tunnel has another.

    >>> host_name("LocalHost:8000"), host_name("[::1]:8000"), host_name("evil.example")
    ('localhost', '[::1]', 'evil.example')
    """
    name, separator, port = host.rpartition(":")
    return (name if separator and port.isascii() and port.isdigit() else host).lower()


def names_of(host: str) -> frozenset[str]:
    """Accepted names of the server: the local ones and, if it listens to other machines, those of this machine."""
    names = {"127.0.0.1", "localhost", host}
    if host not in ("127.0.0.1", "localhost", "::1"):
        here = socket.gethostname()
        names |= {here, socket.getfqdn()}
        with contextlib.suppress(OSError):  # the machine's own name may not resolve
            names |= {str(known[4][0]) for known in socket.getaddrinfo(here, None)}
    return frozenset(map(bracketed, names))


def bracketed(name: str) -> str:
    """A name or an address as a Host header has it."""
    return f"[{name}]" if ":" in name else name.lower()


def equal(given: str | None, secret: str) -> bool:
    """True if `given` is the secret, compared in constant time."""
    return given is not None and secrets.compare_digest(given.encode(), secret.encode())
