"""Read the recorded session of one model, to repeat or resume it. No JAX here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from popjax.core.counts import check_count
from popjax.core.storage import Corrupt
from popjax.space.space import Space
from popjax.store.decisions import NAME as LOG
from popjax.store.decisions import Remark, Step, read_lines
from popjax.store.files import HOLDS, check_format, read_json, read_table

NAME, CURVES = HOLDS["session"], "curves.parquet"


class Recorded(NamedTuple):
    """A recorded session of one model.

    Attributes:
        about: content of session.json.
        hparams: its initial hyperparameters.
        epochs: the last epoch to train to.
        trial: number from which the model's random key is made.
        lines: its log; the first line adds the model.
        curves: metric -> (epochs,), as of the last commit.
    """

    about: Mapping[str, Any]
    hparams: dict[str, Any]
    epochs: int
    trial: int
    lines: Sequence[Step | Remark]
    curves: Mapping[str, np.ndarray]


def read_session(directory: Path) -> Recorded:
    """The session in a directory; raises ValueError if there is none, Corrupt if its files are damaged."""
    if not (directory / NAME).exists():
        raise ValueError(f"{str(directory)!r} holds no session: there is no {NAME}; give the directory of one")
    about = read_json(directory / NAME)
    check_format(directory, about)
    try:
        lines, _ = read_lines(directory / LOG, Space.from_dict(about["space"]))
        added = lines[0].decision.add if lines and isinstance(lines[0], Step) else {}
        hparams = {name: column.tolist()[0] for name, column in added.items()}
        epochs, trial = check_count("epochs", about["epochs"]), check_count("trial", about.get("trial", 0), 0)
        if not hparams:
            raise ValueError("the decision that adds the model is missing")
    except Corrupt:
        raise
    except (KeyError, ValueError, TypeError, AttributeError, OSError) as error:
        raise Corrupt(f"cannot read the session in {str(directory)!r}: {error}") from None
    return Recorded(about, hparams, epochs, trial, lines, read_curves(directory / CURVES))


def read_curves(path: Path) -> dict[str, np.ndarray]:
    """Metric -> (epochs,) of the first model; empty before the first commit."""
    if not path.exists():
        return {}
    table = read_table(path)
    first = (table["trial"].to_numpy() == 0) & (table["fold"].to_numpy() == 0) & (table["repeat"].to_numpy() == 0)
    return {name: table[name].to_numpy()[first] for name in table.column_names[4:]}
