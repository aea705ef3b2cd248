"""The journal of a model steered by hand: a JSON line for every epoch and every command. No JAX here."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from popjax.store.files import jsonable


class Journal:
    """Lines with the keys `epoch`, `learning_rate` (the base rate, before the schedule), `command` and the metrics.

    An epoch's line has no command, a command's line no metrics; one that changes a hyperparameter
    holds the decision too. The first line's command is "start", with all that replays it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("x", encoding="utf-8")

    def write(self, epoch: int, learning_rate: float | None, command: str | None = None, **others: Any) -> None:
        """Add a line, at once on its way to the disk; a number that is not finite becomes null."""
        entry = {"epoch": epoch, "learning_rate": learning_rate, "command": command}
        entry |= {name: jsonable(value) for name, value in others.items()}
        self._file.write(json.dumps(entry, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """No line comes any more."""
        self._file.close()


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal, the first one a "start", without a last one that a kill has cut off.

    Raises ValueError naming the first line that is none.
    """
    return list(_lines(path))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the journal {str(path)!r}: {error}") from None
    texts = content.splitlines()
    if not texts:
        raise ValueError(f"the journal {str(path)!r} is empty; give the journal.jsonl that popjax.babysit wrote")
    for number, text in enumerate(texts, 1):
        try:
            entry = json.loads(text)
        except (ValueError, RecursionError):
            entry = None
        if entry is None and 1 < number == len(texts) and not content.endswith("\n"):
            return
        if not isinstance(entry, dict) or not isinstance(entry.get("epoch"), int) or "command" not in entry:
            raise ValueError(f"the journal {str(path)!r}: line {number} is no line of a journal; remove it")
        if number == 1 and not (entry["command"] == "start" and isinstance(entry.get("hparams"), Mapping)):
            raise ValueError(f"the journal {str(path)!r}: line 1 does not start it; give the whole journal")
        yield entry
