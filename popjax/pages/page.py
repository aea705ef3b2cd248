"""A page of figures from a run's results, for any browser, offline. No JAX here."""

import base64
import hashlib
import json
import threading
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from popjax.pages.importance import import_later
from popjax.tuning.callbacks.base import Callback, Run

if TYPE_CHECKING:
    from popjax.pages.axes import Axis
    from popjax.store.results import Results

NAME = "report.html"
LOWERED = 1.0  # seconds in which programs are lowered, which needs the interpreter; training hardly does


class Page(Callback):
    """Writes the page of a run into its directory when it ends."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = directory
        self.importing: threading.Timer | None = None

    def begin(self, run: Run) -> None:
        self.importing = import_later(LOWERED)

    def end(self, results: "Results") -> None:
        write_report(results, self.directory)

    def close(self) -> None:
        if self.importing is not None:
            self.importing.cancel()


def write_report(results: "Results", directory: str | Path) -> Path:
    """Write report.html into the directory; returns its path."""
    return write_page(results, Path(directory) / NAME)


def write_page(results: "Results", path: str | Path) -> Path:
    """Write the page of results to a file of any name; returns its path."""
    from popjax.core.storage import write_atomic

    path = Path(path)
    write_atomic(path, page(results, alone=not (path.parent / "run.json").exists()).encode())
    return path


def page(results: "Results", alone: bool = False) -> str:
    """The whole page as HTML: plotly, the figures and the words, with nothing to fetch.

    Where it is to stand `alone` it does not speak of the files of a run beside it.

    >>> import numpy as np
    >>> from popjax.store.results import Results
    >>> losses = np.array([3.0, 1.0, 2.0])[:, None, None, None]
    >>> run = {"space": {"x": "uniform(0, 1)"}}
    >>> drawn = page(Results({"x": np.array([0.1, 0.5, 0.9])}, {"loss": losses}, "loss", "min", run=run))
    >>> "Winner: <b>trial 1</b>, x 0.5" in drawn
    True
    """
    from popjax.pages.axes import axes
    from popjax.pages.headline import title

    return document(title(results), *contents(results, axes(results), alone))


def write_comparison(runs: "Mapping[str, Results]", path: str | Path) -> Path:
    """Write a page that compares runs, by the names they are shown with; returns its path. Raises ValueError."""
    from popjax.core.storage import write_atomic
    from popjax.pages.comparison import comparison

    write_atomic(Path(path), document(*comparison(runs)).encode())
    return Path(path)


def document(title: str, body: str, figures: Mapping[str, Any]) -> str:
    """A page as HTML with all that it needs."""
    from popjax.pages.figures import shown

    scripts = [asset("plotly/plotly-basic.min.js"), asset("parallel.js"), asset("report.js")]
    policy = (
        f"default-src 'none'; script-src {' '.join(map(digest, scripts))}; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )
    data = json.dumps(figures, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return "".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f"<title>{shown(title)}</title>\n",
            f'<link rel="icon" href="data:,">\n<style>\n{asset("report.css")}</style>\n</head>\n<body>\n<main>\n',
            f'{body}</main>\n<script type="application/json" id="figures">{data}</script>\n',
            *(f"<script>{script}</script>\n" for script in scripts),
            "</body>\n</html>\n",
        ]
    )


def contents(results: "Results", columns: "list[Axis]", alone: bool) -> tuple[str, dict[str, Any]]:
    """The sections in their order, and the data of their figures; what makes no sense here is left out."""
    from popjax.pages import descent, figures, sections
    from popjax.pages.headline import head
    from popjax.pages.importance import importance
    from popjax.pages.learned_from import data_section, predicted_figure, told
    from popjax.pages.panels import heights, panels
    from popjax.pages.parallel_coordinates import parallel

    varied = [axis for axis in columns if axis.varied]
    parts = [head(results, columns)]
    drawn: dict[str, Any] = {"colors": {"winner": figures.WINNER, "diverged": figures.DIVERGED, "faded": "#dde1e5"}}
    if results.epochs_run.any():
        parts.append(f"<div>{sections.control(results)}")
    if results.members[results.metric].shape[-1] > 1 and results.epochs_run.any():
        parts.append(sections.curves_section(results))
        drawn["curves"] = figures.curves_figure(results)
    if results.best is not None and varied:
        parts.append(sections.panels_section(results, varied))
        drawn["panels"] = panels(results, varied)
        drawn["heights"] = heights(results)
    if results.epochs_run.any():
        parts.append("</div>")  # below which the choice of the metric stands no more
    if results.best is not None and varied:
        parts.append(sections.parallel_section(results, columns))
        drawn["parallel"] = parallel(results, varied)
    if results.schedule is not None and results.best is not None:
        lived = descent.changed(results, varied)
        parts.append(sections.descent_section(results, lived))
        drawn["tree"] = descent.tree(results, results.schedule)
        drawn["histories"] = descent.histories(results, results.schedule, lived)
    if (results.rounds[results.order] == 0).any() and len(results.diverged) > 1:
        parts.append(sections.expected_section(results))
        drawn["expected"] = figures.expected_figure(results)
    if results.best is not None and varied:
        parts.append(sections.importance_section(results, varied, importance(results)))
    if varied and sections.zoomed(results):
        parts.append(sections.zoom_section(results, varied))
    if told(results, "inputs"):
        parts.append(data_section(results))
        drawn |= {"predicted": figure} if (figure := predicted_figure(results)) else {}
    parts.append(sections.rebuild_section(results, alone))
    return "".join(parts), drawn


def asset(name: str) -> str:
    """A file that the page holds."""
    return (files("popjax.pages") / name).read_text(encoding="utf-8")


def digest(script: str) -> str:
    """What the page's policy lets run: this script and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
