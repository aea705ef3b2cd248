"""Single figures of the report, as plotly figures. No JAX here."""

from typing import Any

from popjax.core.faults import calling
from popjax.pages.assembly import check_drawing
from popjax.pages.axes import axes
from popjax.pages.figures.named_figures import FIGURES
from popjax.store.results import Results


def plot(results: Results, name: str = "curves") -> Any:
    """A plotly figure by name: "curves", a metric for its curves, "expected", "front", a hyperparameter, "predicted".

    "interaction" shows the two hyperparameters that matter most. If hyperparameters changed during training, also
    "tree" and, for each that did, "learning_rate by epoch".

    Raises ValueError for an unknown name, and if there is nothing to draw.

    >>> import popjax as pj
    >>> task = pj.objective(lambda key, hparams: {"loss": (hparams["x"] - 0.3) ** 2})
    >>> results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=16)
    >>> figure = pj.plot(results, "x")
    >>> type(figure).__name__, figure.layout.xaxis.title.text
    ('Figure', 'x')
    """
    import plotly.graph_objects as go

    columns, known, broken = axes(results), list[str](), list[str]()
    for called, figure in FIGURES.items():
        try:
            with calling("it"):
                plots = figure.functions(results, columns)
                known += plots
                if name in plots:
                    check_drawing(name, drawn := plots[name]())
                    return go.Figure(drawn["traces"], drawn["layout"])
        except ValueError as error:  # perhaps of a figure that was not asked for
            broken.append(f"the figure {called}: {error}")
    if broken:
        raise ValueError(broken[0])
    if results.best is None:
        raise ValueError(f"{results.no_winner}; of such results there are the curves alone to draw")
    raise ValueError(f"there is no figure {name!r}; there are {', '.join(known)}")
