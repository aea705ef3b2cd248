"""A writer in a process of its own, for a package whose import would hold the search up. No JAX here.

Calls go there as lines of JSON, one after another, and an error comes back as one.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from popjax.core.text import failure
from popjax.tracking.tracker import Trial, Whole, Writer


class Apart:
    """Passes what it is told to a writer in another process; raises RuntimeError with what that raises.

    Args:
        kind: the writer's class, at the top of its file.
        settings: what it is made with, as JSON has it.
    """

    process: Any

    def __init__(self, kind: type[Writer], **settings: Any) -> None:
        self.kind = kind
        self.settings = settings

    def begin(self, name: str, config: Mapping[str, Any]) -> None:
        module, kind = self.kind.__module__, self.kind.__name__
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from {module} import {kind}; from {__name__} import serve; serve({kind})"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},  # it finds what we find
            process_group=0,  # a Ctrl-C is the search's, which tells its trackers how it ended
        )
        self._send(self.settings)
        self._call("begin", name, dict(config))

    def now(self, values: Mapping[str, float], step: int) -> None:
        self._call("now", dict(values), step)

    def end(self, whole: Whole) -> None:
        self._call("end", whole)

    def close(self) -> None:
        if self.process.returncode is None:
            self._call("close")
            self.process.communicate()

    def _call(self, method: str, *arguments: Any) -> None:
        """Ask for one thing; the process ends with what fails in it."""
        try:
            self._send(method, *arguments)
            answer = self.process.stdout.readline()
            error = json.loads(answer) if answer else "its process is gone"
        except BrokenPipeError:
            error = "its process is gone"
        if error:
            self.process.communicate()
            raise RuntimeError(error)

    def _send(self, *words: Any) -> None:
        print(json.dumps(words, default=plain), file=self.process.stdin, flush=True)


def plain(value: Any) -> Any:
    """An array as a list, a path as a string."""
    return str(value) if isinstance(value, Path) else value.tolist()


def whole_of(summary: Any, epochs: Any, best: Any, curves: bool, files: list[str]) -> Whole:
    """A search that is over, from its parts as JSON has them."""
    trials = [Trial(number, hparams, arrays(of)) for number, hparams, of in best]
    return Whole(summary, arrays(epochs), trials, curves, [Path(file) for file in files])


def arrays(lists: Mapping[str, list[float]]) -> dict[str, np.ndarray]:
    """Series as arrays (epochs,)."""
    return {name: np.array(values, float) for name, values in lists.items()}


def serve(kind: type[Writer]) -> None:
    """Serve a writer, made as the first line says, until it is closed, or until nobody speaks any more."""
    lines, answers = sys.stdin, sys.stdout
    sys.stdout = sys.stderr  # what a package prints is no answer
    (settings,) = json.loads(lines.readline())
    writer = kind(**settings)
    for line in lines:
        method, *arguments = json.loads(line)
        if method == "end":
            arguments = [whole_of(*arguments[0])]
        error = ""
        try:
            getattr(writer, method)(*arguments)
        except Exception as raised:
            error = failure(raised)
        with contextlib.suppress(BrokenPipeError):  # who asked was killed
            print(json.dumps(error), file=answers, flush=True)
        if method == "close":
            os._exit(0)  # all is written, and MLflow takes most of a second to leave
