"""The report's figures one by one, as plotly's. No JAX here."""

from typing import Any

from popjax.pages import descent, figures
from popjax.pages.axes import Axis, axes
from popjax.pages.learned_from import predicted_figure
from popjax.pages.panels import panel
from popjax.store.results import Results


def plot(results: Results, name: str = "curves") -> Any:
    """A figure by its name: "curves", another metric's curves by the metric, "expected", a hyperparameter, "predicted".

    Where hyperparameters changed while trials trained there are "tree" and, of each that did, "learning_rate by epoch".

    Raises ValueError for another name, and where there is nothing to draw.
    """
    import plotly.graph_objects as go

    drawn = drawing(results, name)
    return go.Figure(drawn["traces"], drawn["layout"])


def drawing(results: Results, name: str) -> dict[str, Any]:
    """The traces and the layout of a figure."""
    varied = {axis.name: axis for axis in axes(results) if axis.varied}
    if name == "curves" or name in results.members:
        return curves(results, results.metric if name == "curves" else name)
    if results.best is None:
        raise ValueError(f"{results.no_winner}; of such results there are the curves alone to draw")
    if name == "expected":
        return figures.expected_figure(results)
    if name in varied:
        return panel(results, varied[name], figures.thinned(results, figures.CURVES))
    others = beside(results, list(varied.values()))
    if name in others:
        return others[name]
    known = ["curves", *results.members, "expected", *varied, *others]
    raise ValueError(f"there is no figure {name!r}; there are {', '.join(known)}")


def beside(results: Results, varied: list[Axis]) -> dict[str, dict[str, Any]]:
    """The figures that not every search has, by their names."""
    predicted, schedule = predicted_figure(results), results.schedule
    found = {} if predicted is None else {"predicted": predicted}
    if schedule is not None:
        changed = descent.changed(results, varied)
        found["tree"] = descent.tree(results, schedule)
        names = [f"{axis.name} by epoch" for axis in changed]
        found |= dict(zip(names, descent.histories(results, schedule, changed), strict=True))
    return found


def curves(results: Results, metric: str) -> dict[str, Any]:
    """The learning curves of one metric, with the places that the page's script gives them."""
    figure = figures.curves_figure(results)
    (chosen,) = [one for one in figure["metrics"] if one["name"] == metric]
    epochs = figure["epochs"]
    traces = []
    for trace, heights in zip(figure["traces"], chosen["heights"], strict=True):
        kept = {name: value for name, value in trace.items() if name not in ("trials", "ends")}
        x = [at % (epochs + 1) + 1 for at in range(len(heights))]
        x = figure["ended"] if trace.get("ends") else x
        traces.append({**kept, "x": x, "y": heights})
    return {"traces": traces, "layout": {**figure["layout"], "yaxis": chosen["axis"]}}
