"""A live run and its page, asked over plain HTTP as a browser would ask, or as another program would."""

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

CUT = 0  # for a status: the server closed the connection before it had read all


class Page:
    """One visitor of a live page, at the printed address."""

    def __init__(self, address):
        parts = urlsplit(address)
        self.address, self.host, self.port = address, parts.hostname, parts.port
        self.token = parse_qs(parts.query)["token"][0]
        status, headers, self.html = self.raw("GET", f"/?token={self.token}", {"Host": f"{self.host}:{self.port}"})
        assert status == 200, status
        self.cookie = headers["set-cookie"].partition(";")[0]

    def honest(self):
        """The headers of the page's own requests."""
        origin = f"http://{self.host}:{self.port}"
        own = {"Host": f"{self.host}:{self.port}", "Origin": origin, "Cookie": self.cookie}
        return own | {"Content-Type": "application/json", "X-Popjax": "1"}

    def raw(self, method, path, headers, body=None):
        """Status, headers and body of a request with exactly these headers; CUT if nothing is answered."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                for one in value if isinstance(value, list) else [value]:
                    connection.putheader(name, one)
            if body is not None and "Content-Length" not in headers and "Transfer-Encoding" not in headers:
                connection.putheader("Content-Length", str(len(body)))
            try:
                connection.endheaders(body)
                answer = connection.getresponse()
                return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
            except (ConnectionResetError, BrokenPipeError):
                return CUT, {}, b""

    def ask(self, **change):
        """Ask for a change: the status, and what is answered."""
        status, _, body = self.raw("POST", "/change", self.honest(), json.dumps(change).encode())
        return status, json.loads(body)

    def trial(self, number, metric=None):
        """What the page shows of a trial."""
        path = f"/trial/{number}" + ("" if metric is None else f"?curve={metric}")
        status, _, body = self.raw("GET", path, self.honest())
        return json.loads(body) if status == 200 else None

    def messages(self, until, metric=None):
        """The messages of a stream until one of them is the last."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", "/events" + (f"?metric={metric}" if metric else ""), headers=self.honest())
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            found = []
            while line := answer.readline():
                if line.startswith(b"data: "):
                    found.append(json.loads(line[6:]) | {"bytes": len(line)})
                    if until(found[-1]):
                        break
            return found

    def wait(self, trial, says):
        """Wait until a trial stands so."""
        for _ in range(1200):
            if (told := self.trial(trial)) is not None and says(told):
                return told
            time.sleep(0.05)
        raise AssertionError(f"trial {trial} never did: {told}")


class Run:
    """A command with --live, in a process of its own.

    Args:
        command: its name.
        arguments: its arguments beside --live.
        place: the directory.
        environment: as of `command`.
    """

    def __init__(self, command, *arguments, place, environment, stdin=subprocess.DEVNULL):
        words = [sys.executable, "-m", f"popjax.{command}", "--live", *map(str, arguments)]
        known = {"cwd": place, "env": os.environ | environment, "text": True, "stdin": stdin}
        self.out = Path(place) / "stdout.txt"
        with self.out.open("w") as out:
            self.process = subprocess.Popen(words, stdout=out, stderr=subprocess.PIPE, **known)
        self.said = []
        self.address = None
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(r"http://\S+", line):
                self.address = found[0]
                break
        assert self.address is not None, self.said
        self.thread = threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True)
        self.thread.start()

    def end(self, timeout=120):
        """Wait for its end; the exit code."""
        code = self.process.wait(timeout)
        self.thread.join(10)
        self.process.stderr.close()
        return code

    def close(self):
        """Leave nothing behind."""
        self.process.kill()
        self.end()


class Cable:
    """A line to a port that can be cut, and mended."""

    def __init__(self, port):
        self.to = port
        self.ends = []
        self.plug = socket.create_server(("127.0.0.1", 0))
        self.port = self.plug.getsockname()[1]
        self.whole = True
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        with contextlib.suppress(OSError):
            while True:
                here, _ = self.plug.accept()
                if not self.whole:
                    here.close()
                    continue
                there = socket.create_connection(("127.0.0.1", self.to))
                self.ends += [here, there]
                for source, sink in ((here, there), (there, here)):
                    threading.Thread(target=self.carry, args=(source, sink), daemon=True).start()

    def carry(self, source, sink):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self, whole):
        """Cut it, or mend it."""
        self.whole = whole
        for end in self.ends if not whole else ():
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.ends = [] if not whole else self.ends

    def close(self):
        self.cut(False)
        self.plug.close()
