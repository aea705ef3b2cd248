"""The commands, each by its name, as `python -m popjax` and the console script `popjax` run them. No JAX here."""

import importlib
import sys

from popjax.commands import cli
from popjax.core.text import meant

COMMANDS = {
    "sweep": "train hundreds of small models at once, each with hyperparameters of its own, and rank them",
    "resume": "go on with a sweep: as its command was, to its end, or to more trials or epochs",
    "babysit": "train one model, watch its curve, and steer it",
    "retest": "train the best trials of an earlier search again: is the old setting still the best?",
    "ls": "the runs below a folder: when, on what, which trial won, how each ended",
    "clean": "drop from finished runs what only resuming needs: most of their bytes",
    "report": "draw the page of a run again from its files, or one that compares several runs",
    "predict": "what the winner of a run, or its ensemble, says of the rows of a file",
    "export": "write a winner as an ONNX model, or a run's trials into Optuna, TensorBoard, MLflow, W&B or Trackio",
    "doctor": "devices, memory, versions, what can be written, and what may be installed",
}


def main(argv: list[str] | None = None) -> int:
    """Run the command that the first argument names; return its exit code. Raises ValueError for an unknown one."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name == "--version":
        return cli.version()
    if name == "--completion":
        from popjax.commands.completion import completion

        print(completion(COMMANDS))
        return 0
    if name in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        lines = [f"  {command:{width}}  {what}" for command, what in COMMANDS.items()]
        last = "Each has --help; --version is popjax's, --completion a script for tabs in bash and zsh."
        print("\n".join([f"usage: {cli.called()} COMMAND ...", "", *lines, "", last]))
        return 0
    if name not in COMMANDS:
        raise ValueError(f"unknown command {name!r}; there are {', '.join(COMMANDS)}{meant(name, COMMANDS)}")
    code: int = importlib.import_module(f"popjax.commands.{name}").main(rest)
    return code
