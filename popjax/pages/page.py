"""The report of a run: a page of figures for any browser, offline. No JAX here."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from popjax.core.imports import wait_for_imports
from popjax.tuning.callbacks.callback import Callback

if TYPE_CHECKING:
    from popjax.pages.axes import Axis
    from popjax.store.results import Results

NAME = "report.html"


class Page(Callback):
    """Callback that writes the page of a run into its directory when it ends."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = directory

    def end(self, results: "Results") -> None:
        wait_for_imports()
        write_report(results, self.directory)


def write_report(results: "Results", path: str | Path) -> Path:
    """Write the page of results to a file, or as report.html into a directory; returns its path.

    The page is one file of about 2 MB, with nothing to fetch. Raises OSError if it cannot be written.

    >>> import tempfile
    >>> import popjax as pj
    >>> task = pj.objective(lambda key, hparams: {"loss": (hparams["x"] - 0.3) ** 2})
    >>> results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=16)
    >>> with tempfile.TemporaryDirectory() as place:
    ...     path = pj.write_report(results, place)
    ...     path.name, "Winner: <b>trial" in path.read_text()
    ('report.html', True)
    """
    from popjax.core.storage import write_atomic

    path = Path(path)
    path = path / NAME if path.is_dir() else path
    write_atomic(path, page(results, alone=not (path.parent / "run.json").exists()).encode())
    return path


def page(results: "Results", alone: bool = False) -> str:
    """The whole page as HTML: plotly, the figures and the text, with nothing to fetch.

    With `alone` it does not mention the files of a run beside it.

    >>> import popjax as pj
    >>> import numpy as np
    >>> from popjax.store.results import Results
    >>> losses = np.array([3.0, 1.0, 2.0])[:, None, None, None]
    >>> run = {"space": {"x": "uniform(0, 1)"}}
    >>> drawn = page(Results({"x": np.array([0.1, 0.5, 0.9])}, {"loss": losses}, pj.best("loss"), run=run))
    >>> "Winner: <b>trial 1</b>, x 0.5" in drawn
    True
    """
    from popjax.pages.axes import axes
    from popjax.pages.headline import title

    return document(title(results), *contents(results, axes(results), alone))


def write_comparison(runs: "Mapping[str, Results]", path: str | Path) -> Path:
    """Write a page that compares runs, name -> Results; returns its path. Raises ValueError if incomparable."""
    from popjax.core.storage import write_atomic
    from popjax.pages.comparison import comparison

    write_atomic(Path(path), document(*comparison(runs)).encode())
    return Path(path)


def document(title: str, body: str, figures: Mapping[str, Any]) -> str:
    """A page as HTML with all scripts, styles and data that it needs."""
    from popjax.pages.drawing import shown

    scripts = [asset("plotly/plotly-basic.min.js"), asset("parallel.js"), asset("trials.js"), asset("report.js")]
    policy = (
        f"default-src 'none'; script-src {' '.join(map(script_policy, scripts))}; style-src 'unsafe-inline'; "
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


def contents(results: "Results", columns: "Sequence[Axis]", alone: bool) -> tuple[str, dict[str, Any]]:
    """The sections as HTML in their order, and the data of their figures; those with nothing to show are left out."""
    from popjax.pages.assembly import parts_of_page
    from popjax.pages.drawing import DIVERGED, WINNER
    from popjax.pages.figures.named_figures import FIGURES
    from popjax.pages.headline import head
    from popjax.pages.rebuild import rebuild_section

    sections, drawn = parts_of_page(FIGURES, results, columns)
    drawn |= {"colors": {"winner": WINNER, "diverged": DIVERGED, "faded": "#dde1e5"}}
    of_metric = "".join(said for name, said in sections.items() if getattr(FIGURES[name], "of_metric", False))
    if results.epochs_run.any():  # the choice of the metric applies to these alone
        of_metric = f"<div>{control(results)}{of_metric}</div>"
    others = "".join(said for name, said in sections.items() if not getattr(FIGURES[name], "of_metric", False))
    return f"{head(results, columns)}{of_metric}{others}{rebuild_section(results, alone)}", drawn


def control(results: "Results") -> str:
    """HTML controls for the metric of curves and panels, and for showing a share of 1 as an error."""
    from popjax.pages.drawing import shown
    from popjax.pages.framing import errors, metrics

    options = "".join(f'<option value="{at}">{shown(name)}</option>' for at, name in enumerate(metrics(results)))
    chosen = " checked" if errors(results, results.metric) is not None else ""
    switch = (
        f'<label id="switch"><input type="checkbox" id="errors" autocomplete="off"{chosen}> errors in decades</label>'
    )
    choice = f'<label>Metric <select id="metric" autocomplete="off">{options}</select></label>'
    return f'<div class="control">{choice} {switch}</div>\n'


def asset(name: str) -> str:
    """The text of a file that the page contains."""
    return (files("popjax.pages") / name).read_text(encoding="utf-8")


def script_policy(script: str) -> str:
    """The source expression of a content security policy that allows this script alone."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
