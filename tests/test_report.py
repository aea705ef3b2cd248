"""The report, as a reader meets it: real pages in a real browser; and the command that draws them, without JAX."""

import csv
import dataclasses
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings

import jax.numpy as jnp
import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution as Categorical
from optuna.distributions import FloatDistribution as Float
from optuna.importance import PedAnovaImportanceEvaluator
from sklearn.metrics import confusion_matrix

import popjax as pj
from popjax.commands.arguments import command_line
from popjax.pages import comparison, drawing, framing, headline, rebuild
from popjax.pages import page as report
from popjax.pages.axes import axes
from popjax.pages.expected import expected_best
from popjax.pages.figures.curves import curves_figure
from popjax.pages.figures.expected import there
from popjax.pages.figures.mattered import values_of
from popjax.pages.figures.zoom import zoomed
from popjax.pages.importance import among_the_best, importance, interaction
from popjax.scheduler import Status
from popjax.space.scales import choice, integers, log_integers, log_uniform, one_minus_log_uniform, uniform
from popjax.space.space import Space
from popjax.store.files import FORMAT, read_json, write_json
from popjax.store.history import History
from popjax.store.results import Results

TOP, BOTTOM = 44, 374  # of an axis of the parallel coordinates
HOSTILE = "</script><b>bold</b><img src=x onerror=\"document.title='hacked'\">"
SPACE = Space(
    learning_rate=log_uniform(1e-4, 1),
    momentum=one_minus_log_uniform(0.9, 0.999),
    hidden=integers(50, 100),
    activation=choice("relu", "tanh"),
    width=7,
)


def made(trials=40, space=SPACE, epochs=6, folds=1, repeats=1, mode="max", diverged=0.2, noise=0.01, seed=0, **more):
    """Results whose metric falls off on both sides of a learning rate of 0.01; the largest rates diverge."""
    rng = np.random.default_rng(seed)
    points = space.sample(trials, seed)
    rate = np.log10(points["learning_rate"].astype(float))
    shape = (trials, folds, repeats, epochs)
    score = (0.95 - 0.1 * (rate + 2) ** 2)[:, None, None, None] * (1 - 0.5 * np.exp(-np.arange(1, epochs + 1) / 2))
    score = score + noise * rng.normal(size=shape)
    ended = np.where(np.argsort(np.argsort(-rate)) < diverged * trials, rng.integers(0, epochs, trials), epochs)
    score[np.arange(epochs) >= np.broadcast_to(ended[:, None, None, None], shape)] = np.nan
    members = {"train_loss": np.exp(9 * (0.8 - score)), "val_accuracy": score, "val_loss": 2 - score}
    arguments = {"dataset": "wine", "trials": trials}
    run = {"space": space.to_dict(), "arguments": arguments, "command": command_line(arguments)} | more.pop("run", {})
    ranks = more.pop("rule", pj.best)("val_accuracy" if mode == "max" else "val_loss", mode)
    return Results(points, members, ranks, run, {"test_value": 0.91, "wall_seconds": 3.2}, **more)


def traces(page, figure):
    """Name -> heights of what plotly drew in a figure, but for the trial in hand."""
    shown = "id => document.getElementById(id).data.filter(t => t.name !== 'in hand').map(t => [t.name, t.x, t.y])"
    return page.evaluate(shown, figure)


def subpaths(page, figure, at):
    """How many pieces the at-th line of a figure has in the drawing itself."""
    paths = page.locator(f"#{figure} .scatterlayer .trace >> nth={at}").locator("path.js-line")
    return sum(paths.nth(i).get_attribute("d").count("M") for i in range(paths.count()))


def names(page, figure):
    """The traces of a figure from the lowest to the topmost."""
    return [name for name, _, _ in traces(page, figure)]


def test_every_trial_has_its_curve(opened):
    """The lines in the drawing are as many as the trials that can be drawn, each with its own heights."""
    results = made()
    page = opened(results)
    best = results.best.trial
    drawn = {name: (x, y) for name, x, y in traces(page, "curves")}
    curve = results.curves["val_accuracy"]
    kept = [trial for trial in np.flatnonzero(~results.diverged) if trial != best]
    assert subpaths(page, "curves", names(page, "curves").index("trials")) == len(kept)
    recorded = (results.diverged & (results.epochs_run > 0)).sum()
    assert subpaths(page, "curves", names(page, "curves").index("diverged")) == recorded
    x, y = drawn["trials"]
    assert x[:7] == [1, 2, 3, 4, 5, 6, 7]
    assert np.array(y, float).reshape(-1, 7)[:, :6] == pytest.approx(curve[kept], rel=1e-4)
    texts = page.evaluate("document.getElementById('curves').data[0].text")
    assert [int(text) for text in texts] == np.repeat(kept, 7).tolist()
    assert drawn["winner"][1][:6] == pytest.approx(curve[best].tolist(), rel=1e-4)
    assert drawn["median"][1] == pytest.approx(np.median(curve[~results.diverged], axis=0).tolist(), rel=1e-4)
    assert drawn["25 %"][1] == pytest.approx(np.quantile(curve[~results.diverged], 0.25, axis=0).tolist(), rel=1e-4)
    lost = np.flatnonzero(results.diverged)
    ends = [(e, v) for e, v in zip(*drawn["where they broke off"], strict=True) if v is not None]
    at = [(results.epochs_run[t], curve[t, results.epochs_run[t] - 1]) for t in lost if results.epochs_run[t]]
    assert np.array(ends) == pytest.approx(np.array(at), rel=1e-4)


def test_a_curve_names_its_trial_under_the_pointer(opened):
    """The pointer on the winner's last record, wherever plotly drew it, says which trial and value that is."""
    results = made(diverged=0)
    page = opened(results)
    spot = """() => {
        const box = document.getElementById('curves'), layout = box._fullLayout, winner = box.data.at(-2);
        const at = box.getBoundingClientRect();
        return [at.left + layout.xaxis._offset + layout.xaxis.d2p(6),
                at.top + layout.yaxis._offset + layout.yaxis.d2p(winner.y[5])];
    }"""
    page.locator("#curves").scroll_into_view_if_needed()
    page.mouse.move(*page.evaluate(spot))
    page.wait_for_selector("#curves .hoverlayer .hovertext")
    said = page.locator("#curves .hoverlayer .hovertext").text_content()
    assert f"trial {results.best.trial}, epoch 6: {results.best.value:.4g}" in said


def test_the_choice_switches_the_metric(opened):
    """Another metric has other heights, and losses are in decades."""
    results = made()
    page = opened(results)
    axis = lambda: page.evaluate("document.getElementById('curves')._fullLayout.yaxis.type")
    assert axis() == "linear"
    page.select_option("#metric", label="train_loss")
    page.wait_for_selector("body[data-drawn]", state="attached")
    assert axis() == "log"
    heights = {name: y for name, _, y in traces(page, "curves")}
    assert heights["winner"][:6] == pytest.approx(results.curves["train_loss"][results.best.trial].tolist(), rel=1e-4)


def test_a_share_is_shown_as_an_error_in_decades(opened):
    """What is left of 1, down to half of the least there is; the switch is hidden for a loss."""
    base = made(diverged=0)
    members = {name: values.copy() for name, values in base.members.items()}
    members["val_accuracy"][base.order[0], ..., -1] = 1.0  # whose error has no place in decades
    results = dataclasses.replace(base, members=members)
    page = opened(results, errors=True)
    axis = lambda name: page.evaluate(f"document.getElementById('{name}')._fullLayout.yaxis.type")
    assert (axis("curves"), axis("panel-0")) == ("log", "log")
    left = 1 - results.curves["val_accuracy"][results.best.trial]
    least = 1 - results.curves["val_accuracy"]
    left[-1] = least[least > 0].min() / 2
    drawn = {name: y for name, _, y in traces(page, "curves")}
    assert drawn["winner"][:6] == pytest.approx(left.tolist(), rel=1e-2)
    assert {name: y for name, _, y in traces(page, "panel-1")}["winner"] == pytest.approx([left[-1]], rel=1e-2)
    page.select_option("#metric", label="val_loss")
    page.wait_for_selector("body[data-drawn]", state="attached")
    assert not page.locator("#switch").is_visible()
    assert axis("panel-0") == "linear"


def test_the_diverged_lie_at_the_worst_end(opened):
    """At the bottom where higher is better, at the top of a loss and of errors; no other point lies there."""
    ends = """() => {
        const { data, _fullLayout } = document.getElementById('panel-0');
        const heights = (over) => data.filter((trace) => (trace.name === 'diverged') === over)
            .flatMap((trace) => trace.y.map((y) => _fullLayout[over ? 'yaxis2' : 'yaxis'].d2p(y)));
        const lost = heights(true), kept = heights(false);
        return [Math.max(...lost) < Math.min(...kept), Math.min(...lost) > Math.max(...kept)];
    }"""
    page = opened(made())
    said = lambda: page.locator(".keys", has_text="diverged, at the").first.inner_text()
    for change, end in ((None, "bottom"), ("errors", "top"), ("val_loss", "top"), ("val_accuracy", "top")):
        if change == "errors":
            page.check("#errors")
        elif change:
            page.select_option("#metric", label=change)
        page.wait_for_selector("body[data-drawn]", state="attached")
        assert page.evaluate(ends) == [end == "top", end == "bottom"], change
        assert f"diverged, at the {end}" in said()


def test_panels_show_the_metric_that_is_chosen(opened):
    results = made()
    page = opened(results)
    page.select_option("#metric", label="val_loss")
    page.wait_for_selector("body[data-drawn]", state="attached")
    kept = np.flatnonzero(~results.diverged)
    for number in range(4):
        y = {name: heights for name, _, heights in traces(page, f"panel-{number}")}["trials"]
        assert y == pytest.approx(np.clip(results.values["val_loss"][kept], min(y), max(y)).tolist(), rel=1e-4)
    assert page.inner_text("h2 .metric") == "val_loss"
    assert page.evaluate("document.getElementById('panel-0').data[0].hovertemplate").count("val_loss") == 1


def test_the_middle_half_is_of_the_trials_that_learned(opened):
    """Those that came more than half of the way from a constant to the best."""
    results = made(diverged=0)
    results.summary["constant"] = {"test_accuracy": 0.3}
    page = opened(results)
    last = results.values["val_accuracy"]
    some = abs(last - last.max()) <= (last.max() - 0.3) / 2
    assert 0 < some.sum() < 40
    median = {name: y for name, _, y in traces(page, "curves")}["median"]
    assert median == pytest.approx(np.median(results.curves["val_accuracy"][some], axis=0).tolist(), rel=1e-4)
    assert "came nearer to the best than to a constant" in page.inner_text("main")


def test_at_night_the_page_is_dark(opened):
    """By the system's preference, also when it changes; nothing but the colours is another."""
    page = opened(made(), scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    figure = "document.querySelector('#curves .main-svg').style.background"
    assert page.evaluate(paper) == page.evaluate(figure) == "rgb(20, 24, 29)"
    page.emulate_media(color_scheme="light")
    for _ in range(100):
        if page.evaluate(figure) != "rgb(20, 24, 29)":
            break
        page.wait_for_timeout(50)
    assert page.evaluate(figure) == "rgb(255, 255, 255)"
    assert page.evaluate(paper) == "rgb(255, 255, 255)"


def test_a_table_that_scrolls_says_so(opened):
    said = "getComputedStyle(document.querySelector('.scroll'), '::before').content"
    results = made()
    results.summary["confusion"] = np.eye(12, dtype=int).tolist()
    results.run["data"] = {"columns": ["age"], "classes": [f"class {at}" for at in range(12)], "inputs": [1]}
    results.summary["rows"] = {"train": 1000, "validate": 120, "test": 12}
    assert opened(results, 1280).evaluate(said) == "none"
    page = opened(results, 400)
    assert "scroll sideways" in page.evaluate(said.replace("'.scroll'", "'.scroll.wide'"))


def test_the_data_and_what_the_winner_makes_of_it(opened):
    """Rows of each part, names as they are written, and how many test rows of each class are told to be of each."""
    results = made()
    columns, classes = ["age", HOSTILE], [HOSTILE, "<b>two</b>"]
    results.run["data"] = {"columns": columns, "classes": classes, "inputs": [2]}
    results.summary["rows"] = {"train": 1000, "validate": 120, "test": 50}
    results.summary["confusion"] = [[20, 4], [1, 25]]
    page = opened(results)
    facts = page.locator(".facts").inner_text()
    assert "1,000 rows train, 120 rows validate, 50 rows test" in facts
    assert f"age, {HOSTILE}" in facts
    rows = [page.locator(f".confusion tbody tr:nth-child({at}) td").all_inner_texts() for at in (1, 2)]
    assert rows == [[HOSTILE, "20", "4"], ["<b>two</b>", "1", "25"]]
    shares = page.locator(".cell").evaluate_all("all => all.map(cell => cell.style.getPropertyValue('--share'))")
    assert shares == ["83%", "17%", "4%", "96%"]


def test_a_library_run_shows_what_its_winner_makes_of_the_rows(opened, tmp_path):
    """Though it keeps no trial but the best: the counts are scikit-learn's, the labels those of the data."""
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(200, 3)), np.array([HOSTILE, "<b>two</b>", "3"])
    y = labels[(x[:, 0] > 0).astype(int) + (x[:, 1] > 1)]
    task = pj.supervised((x, y))
    results = pj.search(task, {"learning_rate": 0.1, "hidden": 8}, trials=3, epochs=4, out=tmp_path / "run")
    test = task.in_folds(1).split.test
    expected = confusion_matrix(y[test], results.predict(x[test]), labels=np.unique(y))
    assert results.summary["confusion"] == expected.tolist()
    page = opened(results)
    shown = [page.locator(f".confusion tbody tr:nth-child({at}) td").all_inner_texts() for at in (1, 2, 3)]
    counts = [[str(count or "") for count in row] for row in expected.tolist()]
    assert shown == [[label, *row] for label, row in zip(np.unique(y), counts, strict=True)]
    assert "confusion" not in pj.search(task, {"learning_rate": 0.1, "hidden": 8}, trials=3, epochs=4).summary


def test_trials_without_a_point_and_errors_of_zero_are_spoken_of(opened):
    """What was pruned has no value of the last epoch; of 0 there is no place in decades."""
    results = made(trials=12, diverged=0)
    done = np.where(np.arange(12) % 2 == 0, 6, 2)
    status = np.where(done < 6, Status.PRUNED, Status.COMPLETE)
    results = dataclasses.replace(results, done=done[:, None, None], status=status)
    said = opened(results).inner_text("main")
    assert "6 trials left before the last epoch have no point." in said
    assert "evenly spaced" not in said
    assert "stands at half of the least other one" not in said
    perfect = made(trials=12, diverged=0)
    accuracy = perfect.members["val_accuracy"].copy()
    accuracy[3, ..., -1] = 1
    perfect = dataclasses.replace(perfect, members=perfect.members | {"val_accuracy": accuracy})
    assert "In decades an error of 0 stands at half of the least other one." in opened(perfect).inner_text("main")


def test_seconds_that_overlap_are_said_to():
    """Programs compile while others train, so that together they may be more than the whole."""
    took = {"compile_seconds": 8.3, "train_seconds": 6.6}
    assert headline.seconds_text(took | {"wall_seconds": 10.5}) == "compiling 8.3 s beside training 6.6 s"
    assert headline.seconds_text(took | {"wall_seconds": 15.5}) == "compiling 8.3 s, training 6.6 s"


def test_seconds_after_training_are_said_from_one_on():
    took = {"compile_seconds": 8.3, "train_seconds": 6.6, "wall_seconds": 15.5}
    assert headline.seconds_text(took | {"afterwards_seconds": 0.9}) == "compiling 8.3 s, training 6.6 s"
    assert headline.seconds_text(took | {"afterwards_seconds": 4.0}).endswith(
        "; then 4.0 s to combine models and compare with others"
    )


def test_a_title_names_the_scheduler():
    assert headline.title(made(run={"scheduler": "halving(reduction_factor=2)"})) == (
        "wine: random search over 40 trials, halving"
    )


def test_a_regression_shows_predicted_against_true(opened):
    results = made(mode="min")
    results.run["data"] = {"columns": ["age"], "classes": None, "inputs": [1]}
    results.summary["predicted"] = [[1.0, 1.5], [2.0, 1.75], [4.0, 3.0]]
    page = opened(results)
    line, points = traces(page, "predicted")
    assert points[1:] == [[1.0, 2.0, 4.0], [1.5, 1.75, 3.0]]
    assert line[1] == line[2] == [1.0, 4.0]


@pytest.mark.parametrize(
    "summary",
    [
        {"rows": "many", "confusion": [[1]], "predicted": "x"},
        {"rows": {"train": HOSTILE}, "confusion": [[1, "x"], [2, 3]], "predicted": [[1, 2], [3]]},
        {"rows": [1], "confusion": [3, 4], "predicted": [[None, 1.0]]},
    ],
)
def test_a_summary_that_says_nonsense_of_the_data_is_not_shown(opened, summary):
    """A directory may come from a stranger."""
    results = made()
    results.run["data"] = {"columns": ["age"], "classes": ["a", "b"], "inputs": [1]}
    results.summary.update(summary)
    page = opened(results)
    assert page.locator(".confusion, #predicted").count() == 0
    assert "rows train" not in page.inner_text(".facts")


def test_a_run_of_the_library_shows_the_call_that_made_it(tmp_path):
    """And the call gives the same curves."""
    task = pj.objective(lambda key, hparams: {"loss": (hparams["x"] - 0.3) ** 2 * hparams["kind"]})
    asked = {"trials": 30, "seed": 3, "sampler": "sobol", "repeats": 2, "rank": pj.best(keep=4)}
    results = pj.search(task, {"x": uniform(0, 1), "kind": choice(1, 2)}, **asked)
    code = rebuild.as_code(results)
    names = {"pj": pj, "task": task}
    exec(code, names)
    assert np.array_equal(names["results"].members["loss"], results.members["loss"])
    assert names["results"].rule == results.rule
    assert code in report.page(results).replace("&#x27;", "'")


def asked_of(results):
    """What the page says of the call, and the call."""
    said = rebuild.rebuild_section(results).partition("</p>")[0]
    return said, rebuild.as_code(results)


def test_the_call_is_promised_to_give_the_same_only_where_it_does(tmp_path):
    task = pj.Task(
        lambda key, hparams, data: jnp.float32(1),
        lambda x, hparams, data: (x * hparams["x"], {"loss": x * hparams["x"]}),
        (),
    )
    space = Space(x=uniform(0.1, 1))
    asked = {"trials": 16, "epochs": 4, "sampler": "tpe", "rank": pj.best("loss")}
    said, code = asked_of(beside := pj.search(task, space, scheduler="halving", **asked))
    assert "The same task and call gives the same results" in said
    names = {"pj": pj, "task": task}
    exec(code, names)
    assert np.array_equal(names["results"].members["loss"], beside.members["loss"], equal_nan=True)
    pj.search(task, space, out=tmp_path / "run", **asked)
    longer = pj.search(task, space, out=tmp_path / "run", resume=True, **(asked | {"trials": 18}))
    assert "has other rounds" in asked_of(longer)[0]
    own = pj.search(task, space, scheduler=pj.rounds(2), **(asked | {"sampler": optuna.samplers.RandomSampler}))
    assert "with the sampler of your own gives the same results" in asked_of(own)[0]
    short = dataclasses.replace(beside, contenders=np.ones(16, bool))
    assert "stopped before its end" in asked_of(short)[0]


def test_seconds_are_of_all_processes_of_a_run(tmp_path):
    """Of those that ended: those of a killed one are unknown, and said to be."""
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"]})
    asked = {"space": Space(x=uniform(0, 1)), "out": tmp_path / "run", "rank": pj.best("loss", "min")}
    pj.search(task, trials=4, **asked)
    summary = {name: value for name, value in read_json(tmp_path / "run" / "summary.json").items() if name != "check"}
    long = {"wall_seconds": 7000.0, "compile_seconds": 2000.0, "train_seconds": 5000.0}
    write_json(tmp_path / "run" / "summary.json", summary | long)
    more = pj.search(task, trials=8, resume=True, **asked)
    for name, seconds in long.items():
        assert seconds <= more.summary[name] < seconds + 1000
    assert "seconds" in comparison.lines_of({"one": more, "other": more})
    (tmp_path / "run" / "summary.json").unlink()
    lost = pj.search(task, trials=12, resume=True, **asked)
    assert "since it was resumed" in headline.seconds_text(lost.summary)
    assert "seconds" not in comparison.lines_of({"one": more, "other": lost})


def test_no_best_of_k_is_expected_where_trials_were_stopped():
    """They have no value at the end, and where losses rise in training they would be the best."""
    results = made(trials=12, diverged=0)
    assert there(results)
    status = np.where(np.arange(12) == 5, Status.STOPPED, Status.COMPLETE)
    assert not there(dataclasses.replace(results, status=status))


def test_a_note_of_a_scheduler_is_no_zoom():
    entry = {"trials": 12, "space": {"x": "uniform(0, 1)"}, "notes": ["raise min_epochs"]}
    assert not zoomed([entry])
    assert zoomed([entry, entry])


def test_folds_show_the_mean_and_a_band(opened):
    """A trial's curve is the mean of its members, the winner's band one standard error on each side."""
    results = made(folds=3, repeats=2)
    page = opened(results)
    best = results.best.trial
    members = results.members["val_accuracy"][best].reshape(6, -1)
    folds = results.members["val_accuracy"][best].mean(1)
    error = folds.std(0, ddof=1) / np.sqrt(3)
    drawn = {name: y for name, _, y in traces(page, "curves")}
    assert drawn["winner"][:6] == pytest.approx(members.mean(0).tolist(), rel=1e-4)
    assert drawn["-"] == pytest.approx((members.mean(0) - error).tolist(), rel=1e-4)
    assert drawn["± standard error"] == pytest.approx((members.mean(0) + error).tolist(), rel=1e-4)
    assert f"{results.best.value:.4f} ± {error[-1]:.3g}" in page.locator(".card").first.inner_text().replace("\n", " ")
    assert "in each of 3 folds × 2 repeats" in page.inner_text("main")


def test_one_member_has_no_band(opened):
    page = opened(made())
    assert "± standard error" not in names(page, "curves")
    assert "±" not in page.inner_text("main")


def test_a_panel_for_each_hyperparameter_that_varies(opened):
    """Every trial stands at its place on its scale's own axis; constants have no panel."""
    results = made()
    page = opened(results)
    assert page.locator(".panels > .figure").count() == 4
    drawn = {name: (x, y) for name, x, y in traces(page, "panel-0")}
    kept = np.flatnonzero(~results.diverged)
    x, y = drawn["trials"]
    assert x == pytest.approx(((np.log10(results.points["learning_rate"][kept]) + 4) / 4).tolist(), abs=1e-4)
    value = results.values["val_accuracy"]
    assert y == pytest.approx(np.clip(value[kept], min(y), max(y)).tolist(), rel=1e-4)
    assert page.locator("#panel-0 .scatterlayer .trace >> nth=0").locator("path.point").count() == len(kept)
    assert drawn["ten best"][1] == pytest.approx(value[results.order[:10]].tolist(), rel=1e-4)
    assert drawn["winner"][1] == pytest.approx([results.best.value], rel=1e-4)
    assert len(drawn["diverged"][0]) == results.diverged.sum()
    spread = np.array(traces(page, "panel-3")[0][1])
    cells = (results.points["activation"][kept] == "tanh").astype(int)
    assert (spread * 2 // 1).astype(int).tolist() == cells.tolist()


def test_the_axis_of_a_beta_says_its_window(opened):
    """0.99 averages over 100 steps, and both axes say so."""
    page = opened(made())
    ticks = page.locator("#panel-1 .xtick text").all_text_contents()
    assert ticks == ["0.910 steps", "0.99100 steps", "0.9991,000 steps"]
    assert {"0.9 · 10 steps", "0.99 · 100 steps", "0.999 · 1,000 steps"} <= set(
        page.locator("#parallel text.tick").all_text_contents()
    )


def brush(page, axis, start, end):
    """Drag along an axis of the parallel coordinates; gives the least and the greatest unit coordinate it covers."""
    svg = page.locator("#parallel svg")
    svg.scroll_into_view_if_needed()
    box = svg.bounding_box()
    x = box["x"] + float(svg.locator(f"line.axis[y1='{TOP}'][y2='{BOTTOM}']").nth(axis).get_attribute("x1"))
    at = [round(BOTTOM - unit * (BOTTOM - TOP)) for unit in (start, end)]
    page.mouse.move(x, box["y"] + at[0])
    page.mouse.down()
    page.mouse.move(x, box["y"] + sum(at) / 2)
    page.mouse.move(x, box["y"] + at[1])
    page.mouse.up()
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    bar = svg.locator("rect.brush").nth(axis)
    y, height = (float(bar.get_attribute(name)) for name in ("y", "height"))
    if start != end:
        assert [y, y + height] == pytest.approx(sorted(at), abs=1.5)
    return [(BOTTOM - edge) / (BOTTOM - TOP) for edge in (y + height, y)]


def selected(page):
    """The sentence of the selection, and the trials in its table."""
    rows = page.locator("#trials tr[data-trial] td:nth-child(2)").all_text_contents()
    return page.inner_text("p.selected"), [int(row) for row in rows][:10]


def test_brushes_select_exactly_the_trials_between_their_ends(opened):
    """One brush, two together, and one freed by a click; the table holds the ten best of them, best first."""
    results = made(trials=120)
    page = opened(results)
    rank = {trial: at for at, trial in enumerate(results.order.tolist())}
    rate = (np.log10(results.points["learning_rate"]) + 4) / 4
    hidden = (results.points["hidden"] - 50 + 0.5) / 51

    def expected(mask):
        trials = np.flatnonzero(mask).tolist()
        best = sorted((trial for trial in trials if trial in rank), key=rank.get)
        return f"{len(trials)} of 120 trials selected", best[:10]

    assert selected(page)[0] == "120 of 120 trials selected: drag along an axis to select"
    low, high = brush(page, 0, 0.3, 0.6)
    among = (rate >= low) & (rate <= high)
    assert 10 < among.sum() < 60
    assert selected(page) == expected(among)
    low, high = brush(page, 2, 0.8, 0.2)
    other = (hidden >= low) & (hidden <= high)
    both = among & other
    assert 10 < both.sum() < among.sum()
    assert selected(page) == expected(both)
    brush(page, 0, 0.5, 0.5)
    assert selected(page) == expected(other)


def test_the_metric_has_an_axis_too_and_the_diverged_their_place_below(opened):
    results = made(trials=60)
    page = opened(results)
    low, high, _ = framing.framed(results)
    edge, _ = brush(page, 4, 0.9, 1.01)
    left = np.log10(1 - np.clip(results.values["val_accuracy"][results.order], low, high))
    begin, end = np.log10(1 - low), np.log10(1 - high)
    count = (left <= begin + edge * (end - begin)).sum()
    assert 1 < count < 30
    assert selected(page)[0] == f"{count} of 60 trials selected"
    brush(page, 4, -0.04, -0.12)
    assert selected(page)[0].startswith(f"{results.diverged.sum()} of 60")


def test_trials_without_an_epoch_are_not_at_the_place_of_the_diverged(opened):
    """A run that was stopped early, with folds: what diverged has no value, and no error of one."""
    results = made(trials=60, folds=2)
    never = (np.arange(60) % 10 == 3) & ~results.diverged
    members = {name: np.where(never[:, None, None, None], np.nan, values) for name, values in results.members.items()}
    done = np.broadcast_to(np.where(never, 0, 6)[:, None, None], (60, 2, 1))
    status = np.select([never, results.diverged], [Status.STOPPED, Status.DIVERGED], Status.COMPLETE)
    stopped = dataclasses.replace(results, members=members, done=done, status=status)
    page = opened(stopped)
    brush(page, 4, -0.04, -0.12)
    assert selected(page)[0].startswith(f"{stopped.diverged.sum()} of 60")
    lost = page.locator("#trials tr[data-trial]", has_text="diverged").all_inner_texts()
    assert lost
    assert not any("±" in row for row in lost)


def test_brushed_lines_stay_and_the_others_fade(opened):
    """On the canvas: a selection of none leaves no line in the winner's colour, and one of all leaves it."""
    page = opened(made())
    strong = """() => {
        const canvas = document.querySelector('#parallel canvas');
        const copy = Object.assign(document.createElement('canvas'), {width: canvas.width, height: canvas.height});
        const pen = copy.getContext('2d', {willReadFrequently: true});
        pen.drawImage(canvas, 0, 0);
        const bytes = pen.getImageData(0, 0, canvas.width, canvas.height).data;
        let count = 0;
        for (let i = 0; i < bytes.length; i += 4) count += bytes[i] > 200 && bytes[i + 2] < 40 && bytes[i + 3] > 200;
        return count;
    }"""
    before = page.evaluate(strong)
    brush(page, 0, 1.015, 1.005)
    assert selected(page) == ("0 of 40 trials selected", [])
    assert before > 500
    assert page.evaluate(strong) == 0


def brute_force(values, mode, k):
    """The mean best over all subsets of k."""
    pick = max if mode == "max" else min
    return np.mean([pick(subset) for subset in itertools.combinations(values, k)])


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_expected_best_is_that_of_all_subsets(mode):
    """Enumerated, with ties and with two diverged trials that count as the worst."""
    values = np.array([0.3, np.nan, 0.9, 0.1, 0.9, 0.5, np.nan])
    worst = 0.1 if mode == "max" else 0.9
    filled = np.where(np.isnan(values), worst, values).tolist()
    sizes = np.arange(1, 8)
    assert expected_best(values, mode, sizes) == pytest.approx([brute_force(filled, mode, k) for k in sizes], rel=1e-12)


def test_the_expected_best_is_drawn_of_the_first_round(opened):
    """Later rounds are no independent draws."""
    rounds = np.repeat([0, 1], [12, 28])
    spaces = [{"trials": n, "space": SPACE.to_dict(), "notes": []} for n in (12, 28)]
    results = made(rounds=rounds, run={"rounds": spaces})
    page = opened(results)
    ((_, k, best),) = traces(page, "expected")
    values = np.where(results.diverged, np.nan, results.values["val_accuracy"])[:12]
    assert k == list(range(1, 13))
    assert best[-1] == pytest.approx(np.nanmax(values), rel=1e-4)
    assert best == pytest.approx(expected_best(values, "max", np.arange(1, 13)).tolist(), rel=1e-4)
    assert "The first round only" in page.inner_text("main")


def test_the_family_tree_and_the_winners_history(opened):
    """A fork where a state was copied, along which the winner's line goes; its hyperparameters epoch by epoch."""
    plain = made(trials=4, epochs=4, diverged=0, noise=0)
    best = plain.best.trial
    other, third, _ = sorted({*range(4)} - {best})
    parents = np.tile(np.arange(4)[:, None], 4)
    parents[best, 2] = other  # and the winner's own beginning is lost
    parents[third, 3] = best
    values = {name: np.tile(column[:, None], 4) for name, column in plain.points.items()}
    for name in values.keys() - {"learning_rate"}:
        values[name][:] = values[name][other, 0]  # a copy has what its source had
    values["learning_rate"] = values["learning_rate"] * np.array([0.125, 0.25, 0.5, 1])
    history = History(parents, parents != np.arange(4)[:, None], values)
    page = opened(dataclasses.replace(plain, history=history))
    lines, winner = traces(page, "tree")
    steps = [(x, y) for x, y in zip(*winner[1:], strict=True) if x is not None]
    assert [x for x, _ in steps] == [0, 0, 2, 2, 2, 3, 3, 3, 4]
    assert lines[1].count(4) == 4, "each line of the end comes to the end"
    assert lines[1].count(0) == 2 * 2, "of two founders"
    _, (_, epochs, units) = traces(page, "history-0")
    expected = [values["learning_rate"][other, :2], values["learning_rate"][best, 2:]]
    assert epochs[:4] == [1, 2, 3, 4]
    assert units[:4] == pytest.approx(SPACE["learning_rate"].to_unit(np.concatenate(expected)).tolist(), abs=1e-4)
    assert page.locator("#history-1").count() == 0, "what never changed has no history"
    alone = dataclasses.replace(plain, history=history).plot("learning_rate by epoch")
    assert list(alone.data[1].y[:4]) == pytest.approx(units[:4])
    with pytest.raises(ValueError, match=r"there are curves, .*, tree, learning_rate by epoch, expected$"):
        dataclasses.replace(plain, history=history).plot("momentum by epoch")


def test_rounds_have_colours_and_their_ranges(opened):
    """Points are coloured by round, each round's bar covers its share of the user's axis, the notes are told."""
    narrow = SPACE.replace(learning_rate=log_uniform(1e-3, 1e-1), hidden=integers(60, 69), activation=choice("tanh"))
    notes = ["learning_rate: the best sit at the low edge; try log_uniform(1e-6, 1)"]
    rounds = [{"trials": 20, "space": s.to_dict(), "notes": n} for s, n in ((SPACE, []), (narrow, notes))]
    results = made(rounds=np.repeat([0, 1], 20), run={"rounds": rounds})
    page = opened(results)
    colors = page.evaluate("document.getElementById('panel-0').data[0].marker.color")
    kept = results.rounds[~results.diverged]
    assert colors == [drawing.ROUNDS[number] for number in kept]
    bars = page.locator(".track:nth-child(5) i").evaluate_all("all => all.map(i => [i.style.left, i.style.width])")
    assert [[float(text.rstrip("%")) for text in bar] for bar in bars] == [
        [25, 50],
        [0, 100],
        pytest.approx([100 * 10 / 51, 100 * 10 / 51], abs=0.01),
        [50, 50],
    ]
    assert f"Before round 2: {notes[0]}" in page.inner_text("main")


def test_rounds_that_follow_one_another_share_a_colour_where_there_are_many(opened):
    """Of a sampler that learns: all rounds search one space, so no zoom is drawn."""
    rounds = [{"trials": 3, "space": SPACE.to_dict(), "notes": []}] * 12
    results = made(rounds=np.arange(40) * 12 // 40, run={"rounds": rounds})
    page = opened(results)
    colors = page.evaluate("document.getElementById('panel-0').data[0].marker.color")
    assert colors == [drawing.ROUNDS[number * 5 // 12] for number in results.rounds[~results.diverged]]
    said = page.inner_text("main")
    legend = "rounds 1 to 3", "rounds 4 to 5", "rounds 6 to 8", "rounds 9 to 10", "rounds 11 to 12"
    assert all(part in said for part in legend)
    assert "What the zoom did" not in said


def test_importance_finds_the_planted_hyperparameter():
    """The loss depends on the learning rate alone: its share is nearly all, and the shares sum to one."""
    space = SPACE.replace(depth=log_integers(1, 64), dropout=uniform(0, 0.5))
    shares = importance(made(trials=400, space=space))
    assert list(shares) == [name for name in space if name != "width"]
    assert sum(shares.values()) == pytest.approx(1, abs=1e-12)
    assert shares["learning_rate"] > 0.85


@pytest.mark.parametrize("mode", ["max", "min"])
def test_importance_is_of_being_among_the_best(mode):
    """The momentum decides which are good, the learning rate which of the others are worst."""
    results = made(trials=500, diverged=0)
    unit = SPACE["momentum"].to_unit(results.points["momentum"])
    rate = SPACE["learning_rate"].to_unit(results.points["learning_rate"])
    score = np.where(unit > 0.9, 2 + unit, rate) * (1 if mode == "max" else -1)
    shares = importance(Results(results.points, {"m": score[:, None, None, None]}, pj.best("m", mode), results.run))
    assert shares["momentum"] > 0.8


def test_importance_finds_a_planted_choice():
    """Texts are categories: here the activation alone decides."""
    results = made(trials=600, space=SPACE.replace(activation=choice("relu", "tanh", "gelu", "elu")))
    value = (results.points["activation"] == "tanh") + 0.01 * np.random.default_rng(9).random(600)
    planted = Results(results.points, {"m": value[:, None, None, None]}, pj.best("m", "max"), results.run)
    shares = importance(planted)
    assert max(shares, key=shares.get) == "activation"


def test_a_pruned_trial_is_behind_those_that_were_trained_further():
    """Where a loss rises in training, its last value is the lowest, and tells nothing of where it would have ended."""

    def epoch(number, hparams, data):
        number = number + 1
        return number, {"loss": 0.1 * hparams["late"] * number + 0.02 * hparams["early"]}

    task = pj.Task(lambda key, hparams, data: 0.0, epoch, ())
    space = Space(late=uniform(0.5, 1.0), early=uniform(0, 1))
    whole, halved = (pj.search(task, space, trials=256, epochs=16, scheduler=way) for way in (None, "halving"))
    assert halved.values["loss"][halved.pruned].max() < halved.best.value, "else this shows nothing"
    assert halved.places[halved.best.trial] == 0
    assert among_the_best(halved)[halved.order[:10]].all()
    assert comparison.reached(halved)[1][-1] == halved.best.value
    for results in (whole, halved):
        assert importance(results)["late"] > 0.9
    assert "How many trials were needed" in report.page(whole)
    assert "How many trials were needed" not in report.page(halved), "it would be of values that are no ends"


@pytest.mark.parametrize(("trials", "diverged"), [(1, 0), (1, 1), (5, 1.1), (2, 0), (3, 0.5), (12, 0.2)])
def test_importance_of_few_trials_is_no_error(trials, diverged):
    """Nothing to compare gives nothing, twelve trials give something."""
    shares = importance(made(trials=trials, diverged=diverged))
    assert shares != {} or trials < 12
    assert shares == {} or (trials > 1 and diverged < 1)


MIXED = Space(
    learning_rate=log_uniform(1e-4, 1),
    momentum=one_minus_log_uniform(0.5, 0.999),
    depth=integers(1, 5),
    batch_size=choice(8, 16, 32),
    activation=choice("relu", "tanh", "gelu"),
    bias=choice(True, False),
    dropout=uniform(0, 0.5).when(activation="relu"),
)


def losses_of(space, trials, loss, seed=0):
    """Results of one epoch whose loss is `loss(points)` (trials,)."""
    points = space.sample(trials, seed)
    values = loss(points)[:, None, None, None]
    return Results(points, {"loss": values}, pj.best("loss", "min"), {"space": space.to_dict()})


@pytest.mark.parametrize("trials", [3, 12, 40, 400])
@pytest.mark.parametrize("seed", [0, 1])
def test_importance_is_that_of_optuna(trials, seed):
    """PED-ANOVA by another library: of ranges, whole numbers, choices, and what not all trials have."""
    noise = np.random.default_rng(seed).normal(size=trials)
    worse = lambda points: np.log(points["learning_rate"]) ** 2 * (1 + points["bias"].astype(int))
    results = losses_of(
        MIXED, trials, lambda points: worse(points) + 9 * np.nan_to_num(points["dropout"], nan=0.3) + noise, seed
    )
    kind = lambda axis: Categorical(axis.scale.values) if axis.name in ("activation", "bias") else Float(0, 1)
    unit = lambda axis, trial: axis.values[trial] if axis.name in ("activation", "bias") else float(axis.units[trial])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    for trial, rank in enumerate(results.places.tolist()):
        own = [axis for axis in axes(results) if axis.values[trial] is not None]
        params, kinds = {axis.name: unit(axis, trial) for axis in own}, {axis.name: kind(axis) for axis in own}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=kinds, value=float(rank)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says where a branch has few trials
        found = PedAnovaImportanceEvaluator().evaluate(study)
    shares = importance(results)
    total = sum(found.get(name, 0.0) for name in shares)  # what is the same in three trials has no importance here
    assert shares == pytest.approx({name: found.get(name, 0.0) / total for name in shares}, abs=1e-9)
    assert sum(shares.values()) == pytest.approx(1)


PAIRED = Space(x=uniform(0, 1), y=log_uniform(0.01, 1), kind=choice("a", "b", "c"))


@pytest.mark.parametrize(
    ("loss", "least", "most"),
    [
        (lambda x, y: np.abs(x - y), 0.4, 1),  # any x may be the best, for its own y
        (lambda x, y: np.maximum(np.abs(x - 0.5), np.abs(y - 0.5)), 0, 0.1),  # the best x is 0.5 for every y
    ],
)
def test_the_interaction_of_two_is_in_how_they_are_combined(loss, least, most):
    planted = losses_of(PAIRED, 1000, lambda points: loss(points["x"], PAIRED["y"].to_unit(points["y"])))
    pair = interaction(planted)
    assert {axis.name for axis in pair.axes} == {"x", "y"}
    assert least <= pair.combined <= most


def test_two_of_which_all_trials_are_the_best_have_no_interaction():
    """Of a branch that always wins, by ties: nothing tells its trials apart, and the page is drawn."""
    space = Space(kind=choice("a", "b"), x=uniform(0, 1).when(kind="a"))
    results = losses_of(space, 60, lambda points: (points["kind"] == "b").astype(float))
    assert interaction(results) is None
    assert "What mattered" in report.page(results)


def test_a_square_says_which_values_it_holds():
    """Whole numbers and choices without overlapping ends."""
    space = Space(n=integers(1, 30), kind=choice(*"abcdefghijkl"), x=uniform(0, 1))
    known = {axis.name: axis for axis in axes(losses_of(space, 100, lambda points: points["x"]))}
    assert values_of(known["n"], 3) == ["1 to 10", "11 to 20", "21 to 30"]
    assert values_of(known["kind"], 3) == ["a to d", "e to h", "i to l"]
    assert values_of(known["kind"], 12) == list("abcdefghijkl")
    assert values_of(known["x"], 2) == ["0 to 0.5", "0.5 to 1"]


def test_squares_of_few_whole_numbers_on_a_log_scale_are_named_by_what_they_hold():
    """Their cells are not equally wide: by a plain loop over the trials."""
    space = Space(n=log_integers(1, 8), x=uniform(0, 1))
    results = losses_of(space, 300, lambda points: points["n"] + points["x"])
    pair = interaction(results)
    at = [axis.name for axis in pair.axes].index("n")
    counts = pair.every.sum(1 - at)
    said = values_of(pair.axes[at], len(counts))
    held = [range(int(text.split(" to ")[0]), int(text.split(" to ")[-1]) + 1) if text else [] for text in said]
    assert [int(np.isin(results.points["n"], [*each]).sum()) for each in held] == counts.tolist()
    assert sorted(number for each in held for number in each) == list(range(1, 9))


def test_squares_count_the_best_trials_and_all():
    """By a plain loop: ten squares of a range, one of each choice."""
    results = losses_of(PAIRED, 1000, lambda points: points["x"] + (points["kind"] == "b"))
    pair = interaction(results)
    assert [axis.name for axis in pair.axes] == ["x", "kind"]
    best, every = np.zeros((10, 3), int), np.zeros((10, 3), int)
    limit = np.sort(results.values["loss"])[99]
    for x, kind, loss in zip(results.points["x"], results.points["kind"], results.values["loss"], strict=True):
        place = min(int(x * 10), 9), "abc".index(kind)
        every[place] += 1
        best[place] += loss <= limit
    np.testing.assert_array_equal(pair.best, best)
    np.testing.assert_array_equal(pair.every, every)


def test_the_page_shows_the_two_that_matter_most(opened):
    """A square a bar, which lies where the square is; at the mouse its values and its trials."""
    results = losses_of(PAIRED, 1000, lambda points: points["x"] + (points["kind"] == "b"))
    page, pair = opened(results), interaction(results)
    drawn = page.evaluate("document.getElementById('interaction').data[0]")
    places = [(x * 10 - 0.5, base * 3) for x, base in zip(drawn["x"], drawn["base"], strict=True)]
    assert [drawn["customdata"][at][:2] for at in range(len(places))] == [
        [pair.best[round(x), round(base)], pair.every[round(x), round(base)]] for x, base in places
    ]
    assert drawn["customdata"][0][2:] == ["0 to 0.1", "a"]
    assert page.inner_text("main").count("is in how they are combined") == 1


def test_the_best_tenth_needs_no_size():
    """A loss of 1e30 weighs as any bad one: the shares are those of the ranks."""
    results = made(trials=200, mode="min")
    squashed = {"val_loss": np.where(results.members["val_loss"] > 1.3, 1e30, results.members["val_loss"])}
    wild = Results(results.points, squashed, pj.best("val_loss", "min"), results.run)
    assert importance(wild) == pytest.approx(importance(results))


def test_importance_stands_beside_the_tier(opened):
    results = made(trials=100)
    page = opened(results)
    shares = importance(results)
    rows = page.locator(".shares tbody tr").all_inner_texts()
    tiers = {"learning_rate": "1", "momentum": "2", "hidden": "2", "activation": "-"}
    assert [row.split() for row in rows] == [
        [name, tiers[name], f"{100 * shares[name]:.0f}", "%"] for name in sorted(tiers, key=lambda name: -shares[name])
    ]


@pytest.mark.parametrize(("trials", "best"), [(255, 26), (256, 26)])
def test_importance_says_how_many_trials_carry_it(trials, best):
    said = report.page(made(trials=trials))
    assert f"among the best tenth, {best} of {trials} trials" in said
    assert ("the shares move by tens of percent between draws" in said) == (trials < 256)


def test_trials_as_good_as_the_last_of_the_best_tenth_are_in_it():
    loss = np.array([0.1, 0.2, 0.2, 0.2, *range(1, 17)], float)[:, None, None, None]
    best = among_the_best(Results({"x": np.arange(20.0)}, {"loss": loss}, pj.best("loss", "min")))
    assert np.flatnonzero(best).tolist() == [0, 1, 2, 3]


def test_the_ten_best_with_all_hyperparameters(opened):
    """The table is the order of the results; the winner says what it is, also where it is not of rank 1."""
    setting = {"trials": 300, "folds": 3, "noise": 0.05, "seed": 1}
    second = made(**setting).order[1]
    parameters = np.where(np.arange(300) == second, 10, 999)
    results = made(**setting, rule=pj.one_se, costs={"parameters": parameters})
    page = opened(results)
    rows = [row.split("\t") for row in page.locator("#trials tr[data-trial]").all_inner_texts()[:10]]
    assert [int(row[1]) for row in rows] == results.order[:10].tolist()
    assert [int(row[0]) for row in rows] == list(range(1, 11))
    assert page.locator("#trials tr.winner td:nth-child(2)").all_inner_texts() == [str(second)]
    first = results.hparams(int(results.order[0]))
    assert rows[0][4:6] == [str(first["hidden"]), first["activation"]]
    assert "The same in all: width 7." in page.inner_text("main")
    error = results.errors["val_accuracy"][results.order[0]]
    assert rows[0][-3:] == ["999", "6", "complete"]
    value, beside = rows[0][6].split(" ± ")
    assert float(value) == pytest.approx(results.values["val_accuracy"][results.order[0]], rel=1e-4)
    assert float(beside) == pytest.approx(error, rel=1e-2)
    assert results.best.trial == second
    head = page.inner_text(".cards")
    assert f"the smallest model within one standard error of trial {results.order[0]}" in head
    assert f"Winner: trial {results.best.trial}, " in page.inner_text("main")
    assert "0.9100" in head


def test_hostile_texts_show_as_text_and_run_nothing(opened):
    """Dataset, choice values, metric and notes: each is on the page as it is written."""
    space = SPACE.replace(activation=choice(HOSTILE, "<a href='javascript:alert(1)'>x</a>", "&lt;b&gt;"))
    rounds = [{"trials": 40, "space": space.to_dict(), "notes": [HOSTILE]}] * 2
    base = made(space=space, rounds=np.repeat([0, 1], 20))
    metric = "<i>val</i>_%{x}"
    members = {metric: base.members["val_accuracy"], "</script>": base.members["val_loss"]}
    arguments = {"dataset": HOSTILE, "target": HOSTILE}
    run = base.run | {"arguments": arguments, "command": command_line(arguments), "rounds": rounds, "device": HOSTILE}
    results = Results(base.points, members, pj.best(metric, "max"), run, {}, rounds=base.rounds)
    page = opened(results)
    assert page.title() == f"{HOSTILE}: random search over 40 trials"
    assert page.inner_text("h1") == page.title()
    assert page.locator("main img, main b b, main a[href^=javascript], main i:not(.keys i):not(.track i)").count() == 0
    said = page.inner_text("main")
    assert HOSTILE[:31] + "…" in page.locator("#trials td").all_inner_texts()
    assert f"Before round 1: {HOSTILE}" in said
    assert f"--dataset '{HOSTILE[:8]}" in said
    assert page.locator("#curves .ytitle").text_content() == metric
    labels = page.locator("#panel-3 .xtick text").all_text_contents()
    assert labels == [HOSTILE[:17] + "…", "<a href='javascri…", "&lt;b&gt;"]
    assert HOSTILE[:21] + "…" in page.locator("#parallel text.tick").all_text_contents()
    assert page.locator("#metric option").all_text_contents() == [metric, "</script>"]
    marks = page.locator("#panel-3 .scatterlayer .trace >> nth=0").locator("path.point")
    marks.first.scroll_into_view_if_needed()
    marks.first.hover(force=True)
    page.wait_for_selector("#panel-3 .hoverlayer .hovertext")
    assert f"{metric} " in page.locator("#panel-3 .hoverlayer .hovertext").first.text_content()


def test_the_policy_refuses_a_script_that_was_slipped_in(browser, tmp_path):
    """Even if an escape were forgotten: neither an inline handler nor a script of its own runs."""
    whole = report.page(made())
    (tmp_path / "slipped.html").write_text(whole.replace("<main>", f"<main>{HOSTILE[9:]}<script>window.bad=1</script>"))
    page = browser.new_page()
    refused = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto((tmp_path / "slipped.html").as_uri())
    page.wait_for_selector("body[data-drawn]", state="attached")
    assert page.evaluate("window.bad") is None
    assert page.title().startswith("wine")
    assert sum("Content Security Policy" in text for text in refused) >= 2
    page.close()


def test_many_trials_are_thinned_and_the_page_says_so(opened):
    """5,000 trials of 20 epochs: 600 curves, the ten best among them, and the limits of size hold."""
    results = made(trials=5000, epochs=20)
    page = opened(results)
    said = page.inner_text("main")
    drawn = framing.thinned(results, framing.CURVES)
    assert set(results.order[:10]) <= set(drawn)
    assert 600 <= len(drawn) <= 610
    assert f"{len(drawn)} of 5,000 curves drawn" in said
    kept = (~results.diverged[drawn]).sum() - 1
    assert subpaths(page, "curves", names(page, "curves").index("trials")) == kept
    assert "of 5,000 trials drawn" in said
    assert selected(page)[0].startswith("5,000 of 5,000 trials")
    whole = (~results.diverged)[results.order].sum()
    assert whole == len(results.order) == 4000
    median = {name: y for name, _, y in traces(page, "curves")}["median"]
    assert median == pytest.approx(np.median(results.curves["val_accuracy"][results.order], axis=0).tolist(), rel=1e-4)
    assert len(report.page(results).encode()) < 5e6
    results = made(trials=512, epochs=20, space=SPACE.replace(decay=uniform(0, 0.2), batch_size=integers(16, 128)))
    loss = results.members["val_loss"]
    results.members.update(val_mse=2 * loss, val_r2=1 - loss)  # as many as a regression has
    assert len(report.page(results).encode()) < 2e6, "the table of all trials and their curves take a tenth"


def until(page, true):
    """Wait for something to be true; the page's policy lets no text be run by `wait_for_function`."""
    for _ in range(100):
        if page.evaluate(true):
            return
        page.wait_for_timeout(50)
    raise AssertionError(true)


def held(page):
    """The trial in hand in each place: the card, the address, the table's row, and the figures that light one."""
    lit = page.evaluate(
        """() => [...document.querySelectorAll('.figure')].filter(box => box.data?.at(-1).name === 'in hand'
            && box.data.at(-1).x.length).map(box => [box.id, box.data.at(-1).x, box.data.at(-1).y])"""
    )
    card = page.locator("#card")
    row = page.locator("#trials tr[aria-selected=true] td:nth-child(2)").all_text_contents()
    text = card.inner_text() if card.is_visible() else ""
    return text, page.url.partition("#")[2], row, {name: (x, y) for name, x, y in lit}


def test_a_trial_in_hand_is_lit_in_all_figures(opened):
    """Picked in the table, in a panel, among the curves and on the parallel lines; Escape puts it back."""
    results = made(trials=60)
    page = opened(results)
    third = int(results.order[2])
    page.locator(f"#trials tr[data-trial='{third}']").click()
    until(page, "document.getElementById('curves').data.at(-1).x.length > 0")
    page.wait_for_timeout(500)
    text, address, row, lit = held(page)
    assert text.splitlines()[1] == f"trial {third}, rank 3 of {len(results.order)}"
    assert "trained to the end" in text
    assert (address, row) == (f"trial={third}", [str(third)])
    assert lit["curves"][1] == pytest.approx(results.curves["val_accuracy"][third].tolist(), rel=1e-4)
    assert {name for name in lit if name.startswith("panel")} == {f"panel-{at}" for at in range(4)}
    for name, value in results.hparams(third).items():
        assert name in text
        assert (f"{value:.4g}" if isinstance(value, float) else str(value)) in text
    assert lit["panel-1"][1] == pytest.approx([results.values["val_accuracy"][third]], rel=1e-4)
    page.keyboard.press("Escape")
    until(page, "document.getElementById('curves').data.at(-1).x.length === 0")
    assert held(page)[:3] == ("", "", [])
    point = """() => {
        const box = document.getElementById('panel-0'), {xaxis, yaxis} = box._fullLayout, star = box.data.at(-2);
        const at = box.getBoundingClientRect();
        return [at.left + xaxis._offset + xaxis.d2p(star.x[0]), at.top + yaxis._offset + yaxis.d2p(star.y[0])];
    }"""
    page.locator("#panel-0").scroll_into_view_if_needed()
    page.mouse.move(*page.evaluate(point))
    page.wait_for_selector("#panel-0 .hoverlayer .hovertext")
    page.mouse.click(*page.evaluate(point))
    until(page, "location.hash !== ''")
    assert held(page)[1] == f"trial={results.best.trial}"
    assert f"trial {results.best.trial}, rank 1, the winner" in held(page)[0]
    page.locator("#card button").click()
    assert held(page)[1] == ""
    lines = page.locator("#parallel svg")
    lines.scroll_into_view_if_needed()
    across, upwards = page.evaluate("""() => {
        const axes = PAGE.parallel.axes, box = document.querySelector('#parallel svg').getBoundingClientRect();
        const trial = PAGE.parallel.winner, place = (at) => 46 + (at * (box.width - 150)) / (axes.length - 1);
        const level = (at) => 44 + 330 - axes[at].units[trial] * 330;
        return [box.left + (place(0) + place(1)) / 2, box.top + (level(0) + level(1)) / 2];
    }""")
    page.mouse.click(across, upwards)
    assert held(page)[1].startswith("trial=")


@pytest.mark.parametrize("at", ["last", "best"])
def test_a_pruned_trial_says_where_it_stood(opened, at):
    """Its place among those that were trained as far, and how many of them went on: as halving had it."""
    loss = lambda x, hparams, data: (x * 7 % 1, {"loss": (x - 0.3) ** 2})
    task = pj.Task(lambda key, hparams, data: hparams["x"], loss, ())
    halving, rank = pj.halving(reduction_factor=3, min_epochs=2), pj.best("loss", "min", at=at)
    results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=27, epochs=18, scheduler=halving, rank=rank)
    page = opened(results)
    curves = results.curves["loss"][:, :2]
    then = curves.min(1) if at == "best" else curves[:, 1]
    trial = int(np.flatnonzero(results.pruned & (results.epochs_run == 2) & (curves[:, 0] < curves[:, 1]))[0])
    page.evaluate("trial => { location.hash = `#trial=${trial}`; }", trial)
    page.wait_for_selector("#card:not([hidden])")
    place = int((then < then[trial]).sum()) + 1
    said = page.locator("#card").inner_text()
    assert "pruned after epoch 2 of 18, where loss was" in said
    assert f"place {place} of 27 there, of which 9 were trained on" in said


def test_a_trial_pruned_in_a_bracket_has_no_place_among_all(opened):
    loss = lambda x, hparams, data: (x, {"loss": (x - 0.3) ** 2})
    task = pj.Task(lambda key, hparams, data: hparams["x"], loss, ())
    results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=27, epochs=9, scheduler="hyperband", rank="loss")
    page = opened(results)
    page.evaluate("trial => { location.hash = `#trial=${trial}`; }", int(np.flatnonzero(results.pruned)[0]))
    page.wait_for_selector("#card:not([hidden])")
    said = page.locator("#card").inner_text()
    assert "pruned after epoch" in said
    assert "place " not in said


def test_an_address_with_a_trial_opens_it_and_one_without_such_a_trial_nothing(opened):
    results = made(trials=20)
    page = opened(results)
    lost = int(np.flatnonzero(results.diverged)[0])
    page.evaluate("trial => { location.hash = `#trial=${trial}`; }", lost)
    page.wait_for_selector("#card:not([hidden])")
    text = page.locator("#card").inner_text()
    assert "diverged in epoch " in text
    assert "not finite" in text
    page.evaluate("location.hash = '#trial=20'")
    page.evaluate("location.hash = '#trial=<b>'")
    assert f"trial {lost}" in page.locator("#card").inner_text()
    address = page.url.partition("#")[0] + "#trial=3"
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector("#card:not([hidden])")
    assert page.locator("#card h3").inner_text().startswith("trial 3")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_are_accessible(opened, accessible, browser, tmp_path, scheme, width):
    """axe finds nothing serious on a report with a trial in hand, and a comparison; figures tell what they show."""
    results = made(trials=60)
    page = opened(results, width, scheme=scheme)
    page.locator("#trials tr[data-trial]").nth(2).click()
    accessible(page)
    said = page.locator(".figure[role=group]").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    assert f"the winner, trial {results.best.trial}" in said[0]
    assert f"to {results.best.value:.4g} in val_accuracy" in said[0]
    assert any(text.startswith("val_accuracy against learning_rate: of the ten best") for text in said)
    assert page.locator(".modebar-btn[tabindex='0'], .modebar-btn:not([tabindex])").count() == 0
    runs = {name: made(seed=seed, trials=20) for name, seed in (("one", 1), ("two", 2))}
    beside = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    beside.goto(report.write_comparison(runs, tmp_path / "comparison.html").as_uri())
    beside.wait_for_selector("body[data-drawn]", state="attached")
    accessible(beside)
    drawn = beside.evaluate("document.getElementById('epochs').data.map(t => [t.line.dash, t.marker.symbol])")
    assert len({tuple(one) for one in drawn}) == 2, "by more than colour"
    beside.evaluate("document.getElementById('epochs').emit('plotly_click', { points: [{ curveNumber: 1 }] })")
    best = runs["two"].best
    assert f"two: trial {best.trial}, rank 1, the winner" in beside.locator("#card").inner_text()
    accessible(beside)
    beside.keyboard.press("Escape")
    assert beside.locator("#card").is_hidden()
    beside.set_content(
        f"<html lang=en><title>a notebook</title><main><h1>a cell</h1>{results._repr_html_()}</main></html>"
    )
    accessible(beside)
    beside.close()


def test_names_of_any_length_and_direction_leave_the_table_as_it_is(opened):
    """10,000 characters, from the right, and a script's end: cut in cells, whole in the card."""
    long, right = "x" * 10_000, "שלום </script>"
    results = made(trials=20, space=SPACE.replace(activation=choice(long, right)))
    page = opened(results)
    assert page.locator("#trials table").evaluate("table => table.scrollWidth") < 2500
    trial = next(trial for trial in range(20) if results.points["activation"][trial] == right)
    page.locator(f"#trials tr[data-trial='{trial}']").click()
    assert right in page.locator("#card dd").all_inner_texts()


def test_axes_are_selected_on_by_keys(opened):
    """What is selected moves, changes its lower end, and is freed, as by dragging."""
    results = made(trials=120)
    page = opened(results)
    axis = page.locator("#parallel .hit").first
    axis.focus()
    frame = "new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)))"
    rate = (np.log10(results.points["learning_rate"]) + 4) / 4
    page.keyboard.press("ArrowUp")
    page.evaluate(frame)
    assert selected(page)[0] == f"{int((rate >= 0.05).sum())} of 120 trials selected"
    for _ in range(4):
        page.keyboard.press("Shift+ArrowUp")
    page.evaluate(frame)
    assert selected(page)[0] == f"{int((rate >= 0.25).sum())} of 120 trials selected"
    page.keyboard.press("ArrowDown")
    page.evaluate(frame)
    below = ((rate >= 0.2) & (rate <= 0.95)).sum()
    assert selected(page)[0] == f"{int(below)} of 120 trials selected"
    assert axis.get_attribute("aria-valuetext") == "20 to 95 percent of the axis"
    for _ in range(5):
        page.keyboard.press("ArrowUp")
    page.evaluate(frame)
    low, high = map(int, axis.get_attribute("aria-valuetext").removesuffix(" percent of the axis").split(" to "))
    assert (high - low, high > 100) == (75, True), "as wide as it was, also where the axis ends"
    page.keyboard.press("Delete")
    page.evaluate(frame)
    assert selected(page)[0].startswith("120 of 120 trials")


def test_the_table_is_sorted_filtered_downloaded_and_walked_by_keys(opened, tmp_path):
    """By any column, both ways, what is absent last; the file has what is shown, in its order."""
    results = made(trials=200)
    page = opened(results)
    shown = lambda: [int(cell) for cell in page.locator("#trials tr[data-trial] td:nth-child(2)").all_text_contents()]
    rates = results.points["learning_rate"]
    page.get_by_role("button", name="learning_rate").click()
    assert shown()[:5] == np.argsort(rates, kind="stable")[:5].tolist()
    assert page.locator("#trials th[aria-sort=ascending]").inner_text().startswith("learning_rate")
    page.get_by_role("button", name="learning_rate").click()
    assert shown()[:5] == np.argsort(-rates, kind="stable")[:5].tolist()
    page.get_by_role("button", name="val_accuracy", exact=True).click()
    assert not results.diverged[shown()[0]]
    page.select_option("#status", "diverged")
    lost = int(results.diverged.sum())
    assert page.inner_text("#kept") == f"{lost} of 200 trials"
    with page.expect_download() as download:
        page.locator("#download").click()
    download.value.save_as(tmp_path / "trials.csv")
    rows = list(csv.DictReader((tmp_path / "trials.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["status"] for row in rows} == {"diverged"}
    assert {row["rank"] for row in rows} == {""}, "what is absent is an empty cell"
    assert sorted(int(row["trial"]) for row in rows) == np.flatnonzero(results.diverged).tolist()
    page.select_option("#status", "")
    page.get_by_role("button", name="rank").click()
    page.locator("#trials tr[tabindex='0']").focus()
    for _ in range(150):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.url.endswith(f"#trial={results.order[150]}"), "also of rows that were not there yet"
    page.wait_for_selector(f"#trials tr[data-trial='{results.order[150]}'][aria-selected=true]")  # the page hears of it
    page.evaluate("document.getElementById('trials').scrollTop = 0")
    page.wait_for_selector(f"#trials tr[data-trial='{results.order[0]}'][tabindex='0']")
    page.locator("#trials tr[tabindex='0']").focus()
    page.keyboard.press("Enter")
    assert page.url.endswith(f"#trial={results.order[0]}"), "the row that has the focus, wherever the last one was"
    assert page.locator("#trials tr[data-trial]").count() < 60, "only the rows in sight are made"


def test_a_choice_of_numbers_and_a_word_is_sorted_by_its_numbers(opened):
    batches = ["8", "16", "128", "auto"]
    space = Space(learning_rate=log_uniform(1e-4, 1), batch=choice(*batches[::-1]))
    page = opened(made(trials=16, space=space, diverged=0, seed=2))
    for order in (batches, batches[::-1]):
        page.locator("#trials th button", has_text="batch").click()
        cells = page.locator("#trials tr[data-trial] td:nth-child(4)").all_text_contents()
        assert list(dict.fromkeys(cells)) == order


def test_all_diverged_is_told_with_the_rates_to_try(opened):
    """No winner, no panels, no table; what can be said is said."""
    results = made(diverged=1.1)
    page = opened(results)
    said = page.inner_text("main")
    lowest = results.points["learning_rate"].min()
    assert "There is no winner. All 40 trials diverged; try" in said
    assert f"--set 'learning_rate=log_uniform({lowest / 1e4:.3g},{lowest:.3g})'" in said
    assert page.locator(".panels, #parallel, #expected, .shares").count() == 0
    assert "Winner" not in said
    assert subpaths(page, "curves", 0) == (results.epochs_run > 0).sum()


@pytest.mark.parametrize(
    "results", [made(trials=1, diverged=0), made(trials=1, diverged=1.1), made(trials=2, epochs=1)]
)
def test_the_smallest_searches_have_a_page(opened, results):
    """One trial, one that diverged, one epoch: what makes no sense is left out, without a complaint."""
    page = opened(results)
    trials, epochs = len(results.diverged), results.members["val_loss"].shape[-1]
    assert page.locator("#expected").count() == (trials > 1 and results.best is not None)
    assert page.locator("#curves").count() == (epochs > 1 and bool(results.epochs_run.any()))
    assert page.locator("#parallel").count() == (trials > 1)


def test_a_first_round_that_diverged_expects_nothing(opened):
    """The trials that worked are of a later one."""
    results = made(trials=20)
    page = opened(dataclasses.replace(results, rounds=np.where(results.diverged, 0, 1)))
    assert page.locator("#expected").count() == 0
    assert page.locator("#parallel").count() == 1


@pytest.mark.parametrize("kind", ["report", "comparison", "notebook"])
def test_a_page_asks_no_server_and_offers_no_upload(browser, tmp_path, kind):
    """Neither as it opens nor as all of its buttons are pressed."""
    results = made(trials=20)
    path = tmp_path / "page.html"
    if kind == "notebook":
        path.write_text(results.plot("curves").to_html())
    elif kind == "report":
        results.report(path)
    else:
        report.write_comparison({"one": results, "two": made(seed=1, trials=20)}, path)
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector(".modebar-btn", state="attached")
    buttons = page.locator(".modebar-btn").evaluate_all("all => all.map(one => one.dataset.title ?? one.dataset.attr)")
    assert "Zoom" in buttons
    assert not any(word in str(name).lower() for name in buttons for word in ("share", "cloud", "upload"))
    page.locator(".modebar-btn").evaluate_all("all => all.forEach(one => one.click())")
    page.wait_for_timeout(200)
    assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []
    page.close()


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_scrolls_sideways_but_the_boxes_made_for_it(opened, width):
    """No element sticks out of the page, and each figure is as wide as its column."""
    page = opened(made(folds=2, rule=pj.one_se, costs={"parameters": np.arange(40)}), width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for name in ("curves", "panel-0", "expected"):
        assert page.evaluate(f"document.querySelector('#{name} .main-svg').getBoundingClientRect().right") <= width
    assert page.evaluate("document.querySelector('#parallel').scrollWidth > 500")


def test_the_command_line_that_made_the_run():
    """Only what differs from the defaults, quoted for a shell; where it wrote and how it spoke change nothing."""
    arguments = {
        "trials": 64,
        "dataset": "my data.csv",
        "target": "a'b",
        "epochs": 20,
        "rounds": 2,
        "choose": "best",
        "set": ["learning_rate=log_uniform(1e-4, 1)", "momentum=0.9"],
        "out": "runs/x",
        "quiet": True,
        "json": False,
    }
    line = command_line(arguments)
    assert line == (
        "python -m popjax.sweep --dataset 'my data.csv' --target 'a'\"'\"'b' --trials 64 --rounds 2 "
        "--set 'learning_rate=log_uniform(1e-4, 1)' --set momentum=0.9"
    )
    from popjax.commands.arguments import Arguments
    from popjax.commands.cli import parse

    read = parse(Arguments, "sweep", shlex.split(line)[3:])
    assert (read.trials, read.dataset, read.target, read.rounds) == (64, "my data.csv", "a'b", 2)
    assert list(read.set) == arguments["set"]
    assert command_line(None) == command_line("text") == ""


def test_the_best_by_then_is_that_of_a_loop_over_rounds_and_epochs():
    """A trial counts by its last record until then, a pruned one while it trains; others count as training alone."""
    whole = made(trials=12, epochs=6)
    done = np.where(np.arange(12) % 3 == 0, 6, 2)
    rounds = np.arange(12) // 5
    status = np.where((done < 6) & ~whole.diverged, Status.PRUNED, whole.status)
    results = dataclasses.replace(whole, done=done[:, None, None], status=status, rounds=rounds)
    share, best = comparison.reached(results)
    had, moments = np.zeros(12, int), []
    for number in range(3):
        for epoch in range(1, done[rounds == number].max() + 1):
            had = np.where(rounds == number, np.minimum(done, epoch), had)
            until = [epoch if rounds[t] == number else done[rounds == rounds[t]].max() for t in range(12)]
            alive = [t for t in range(12) if had[t] and not results.diverged[t] and done[t] >= until[t]]
            values = [results.curves["val_accuracy"][t, had[t] - 1] for t in alive]
            moments.append((had.sum() / done.sum(), max(values)))
    assert list(zip(share.tolist(), best.tolist(), strict=True)) == moments


def test_a_page_speaks_of_what_there_is(tmp_path):
    """No rows of an objective, no files beside a page alone, no score of a winner that there is not."""
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
    results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=8, out=tmp_path / "run")
    beside = (tmp_path / "run" / "report.html").read_text()
    (tmp_path / "alone").mkdir()
    alone = results.report(tmp_path / "alone" / "page.html").read_text()
    assert "Beside this page" in beside
    assert "Beside this page" not in alone
    assert 'results.save("DIR")' in alone
    assert all("<h2>The data" not in one for one in (beside, alone))
    stopped = pj.search(pj.supervised("wine"), trials=4, epochs=1_000_000, minutes=1e-6)
    page = stopped.report(tmp_path / "alone" / "page.html").read_text()
    assert "Rows that test were seen by no trial.<" in page


def test_several_runs_are_compared_on_one_page(browser, command, tmp_path):
    """A line and a column a run; the figures show what `reached` tells, over updates and seconds."""
    seeds = {"one": 1, "<b>two</b>": 2}
    runs = {n: made(seed=seed, trials=20, run={"sampler": "sobol", "seed": seed}) for n, seed in seeds.items()}
    for name, results in runs.items():
        results.summary["model_steps"] = 1000
        results.save(tmp_path / name.replace("/", "-"))
    process = command("report", *(name.replace("/", "-") for name in runs))
    assert (process.returncode, process.stdout) == (0, "comparison.html\n"), process.stderr
    page, troubles = browser.new_page(), []
    page.on("console", lambda message: troubles.append(message.text))
    page.goto((tmp_path / "comparison.html").as_uri())
    page.wait_for_selector("body[data-drawn]", state="attached")
    for figure, most in (("updates", 1000), ("seconds", 3.2)):
        drawn = traces(page, figure)
        for (_, x, y), results in zip(drawn, runs.values(), strict=True):
            share, best = comparison.reached(results)
            assert x == pytest.approx((share * most).tolist(), rel=1e-4)
            assert y == pytest.approx(best.tolist(), rel=1e-4)
    differ, rows, spaces = (
        [row.split("\t") for row in page.locator("table").nth(at).locator("tbody tr").all_inner_texts()]
        for at in range(3)
    )
    assert differ == [["seed", "1", "2"]]
    assert [row[:2] for row in rows] == [
        [name.replace("/", "-"), headline.metric_text(results.best.value)] for name, results in runs.items()
    ]
    assert spaces[:3] == [["(sampler)", "sobol", "sobol"], ["(rounds)", "1", "1"], ["(seed)", "1", "2"]]
    assert spaces[3] == ["learning_rate", "log_uniform(0.0001, 1)", "log_uniform(0.0001, 1)"]
    assert troubles == []
    page.close()


def test_runs_over_different_data_say_what_differs_before_the_metrics_they_share(browser, command, tmp_path):
    """Data, then options, then versions; metrics of one of them alone are left out, and no lines are drawn beside."""
    words = {
        "wine": ("--dataset", "wine", "--metrics", "mcc", "--trials", 4),
        "cancer": ("--dataset", "breast_cancer", "--metric", "val_loss", "--trials", 3),
    }
    for name, asked in words.items():
        done = command("sweep", *asked, "--epochs", 1, "--out", name, "--quiet")
        assert done.returncode == 0, done.stderr
    run = tmp_path / "cancer" / "run.json"
    known = read_json(run)
    write_json(run, known | {"versions": known["versions"] | {"optax": "0.0.1"}})
    assert command("report", *words).returncode == 0
    page = browser.new_page()
    page.goto((tmp_path / "comparison.html").as_uri())
    page.wait_for_selector("body[data-drawn]", state="attached")
    assert "over different data and rank by different metrics" in page.locator("p.caption").nth(0).inner_text()
    differ = [row.split("\t") for row in page.locator("table").nth(0).locator("tbody tr").all_inner_texts()]
    optax = pj.Results.load(tmp_path / "wine").run["versions"]["optax"]
    assert [differ[0], differ[-1]] == [["dataset", "wine", "breast_cancer"], ["optax", optax, "0.0.1"]]
    assert ["trials", "4", "3"] in differ
    assert ["metric", "", "val_loss"] in differ
    assert differ[1] == ["rows", "142 train, 18 validate, 18 test", "455 train, 57 validate, 57 test"]
    head = page.locator("table").nth(1).locator("th").all_inner_texts()
    assert head[1:3] == ["val_accuracy", "val_loss"]
    assert "test_accuracy" in head
    assert not any("mcc" in name for name in head)
    assert page.locator(".figure").count() == 0
    page.close()


def test_runs_that_cannot_be_compared_are_refused_in_one_line(saved, refused_in_one_line):
    made(diverged=1.1).save(saved.parent / "lost")
    refused_in_one_line("report", "run", "lost", says=["lost: it has no winner; leave it out"])
    refused_in_one_line("report", "run", "./run", says=["'run' is named twice; name each run once"])
    refused_in_one_line("report", says=["name the directory of a run"])
    (saved.parent / "notes.md").write_text("mine")
    refused_in_one_line("report", "run", "--out", "notes.md", says=["'notes.md' is there, and is no page"])
    refused_in_one_line("report", "run", "--out", "nowhere/page.html", says=["No such file"])


@pytest.fixture
def saved(tmp_path):
    """A saved run with choices of several types, which its table keeps as texts."""
    space = SPACE.replace(activation=choice("relu", True, 0.123456789))
    made(space=space, folds=2, rule=pj.one_se, costs={"parameters": np.arange(40)}).save(tmp_path / "run")
    return tmp_path / "run"


def test_the_command_draws_the_same_page_without_jax(saved):
    """The same bytes as before the results were saved, and again; JAX is not imported for it."""
    space = SPACE.replace(activation=choice("relu", True, 0.123456789))
    first = report.page(made(space=space, folds=2, rule=pj.one_se, costs={"parameters": np.arange(40)}))
    code = (
        "import sys, runpy\nsys.argv = ['report', 'run']\n"
        "try:\n    runpy.run_module('popjax.report', run_name='__main__')\n"
        "except SystemExit as stop:\n    print(stop.code, 'jax' in sys.modules, 'optuna' in sys.modules)"
    )
    for _ in range(2):
        process = subprocess.run([sys.executable, "-c", code], cwd=saved.parent, capture_output=True, text=True)
        assert process.stdout.splitlines() == [os.path.join("run", "report.html"), "0 False False"]
        assert process.stderr == ""
        assert (saved / "report.html").read_text(encoding="utf-8") == first


def truncate(run):
    whole = (run / "trials.parquet").read_bytes()
    (run / "trials.parquet").write_bytes(whole[: len(whole) // 2])


def flip(run):
    whole = bytearray((run / "curves.parquet").read_bytes())
    whole[len(whole) // 3] ^= 0xFF
    (run / "curves.parquet").write_bytes(whole)


def shorten(run):
    made(trials=8, folds=2).save(run / "other")
    shutil.copy(run / "other" / "trials.parquet", run)


BROKEN = {
    "missing directory": (shutil.rmtree, "there is no run.json", 2),
    "empty directory": (lambda run: [path.unlink() for path in run.iterdir()], "there is no run.json", 2),
    "truncated trials": (truncate, "trials.parquet'", 3),
    "flipped bit": (flip, "curves.parquet'", 3),
    "no trials": (lambda run: (run / "trials.parquet").unlink(), "there is no trials.parquet", 2),
    "another run's trials": (shorten, "trials.parquet': its bytes are not those", 3),
    "no JSON": (lambda run: (run / "run.json").write_text("{"), "run.json'", 3),
    "another JSON": (lambda run: (run / "run.json").write_text("[1]"), "it is not a JSON object", 3),
    "no format": (lambda run: (run / "run.json").write_text("{}"), "names no format", 3),
    "no space": (lambda run: (run / "run.json").write_text(json.dumps({"format": FORMAT})), "'space' is missing", 3),
    "a file": (lambda run: (shutil.rmtree(run), run.write_text("")), "run.json'", 3),
}


@pytest.mark.parametrize(("broken", "names", "code"), BROKEN.values(), ids=BROKEN)
def test_a_directory_without_a_run_is_2_and_a_damaged_one_3_in_one_line(saved, command, broken, names, code):
    broken(saved)
    process = command("report", "run", timeout=60)
    assert process.returncode == code, process.stderr
    (line,) = process.stderr.splitlines()
    assert line.startswith("popjax: ")
    assert "run" in line
    assert names in line
    assert process.stdout == ""
    assert not (saved / "report.html").exists()


def test_the_data_of_the_figures_is_strict_json(opened):
    """No NaN, no unescaped tag, and few digits."""
    text = re.search(r'id="figures">(.*?)</script>', report.page(made()), re.DOTALL)[1]
    assert "<" not in text
    data = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    heights = [v for line in data["curves"]["metrics"][0]["heights"] for v in line if v is not None]
    assert max(len(repr(v).replace("0.", "").replace("-", "")) for v in heights) <= 6


def test_a_run_in_which_no_trial_reached_the_end_says_so_and_shows_how_far(opened):
    """Not that all diverged: the stopped ones, and their curves as far as they go."""
    whole = made()
    done = np.full_like(whole.done, 3)
    members = {name: values.copy() for name, values in whole.members.items()}
    for values in members.values():
        values[..., 3:] = np.nan
    results = dataclasses.replace(whole, members=members, done=done, status=None)
    assert results.best is None
    page = opened(results)
    stopped, lost = int(results.stopped.sum()), int(results.diverged.sum())
    why = f"No trial was trained to the end: {stopped} were stopped before it, {lost} diverged."
    said = f"There is no winner. {why}"
    assert said in page.inner_text("main")
    assert subpaths(page, "curves", names(page, "curves").index("trials")) == stopped
    assert page.evaluate("document.getElementById('curves')._fullLayout.xaxis.range") == [0.5, 3.5]


@pytest.mark.parametrize("rate", [pj.choice(0.1, 1.0), pj.log_uniform(1e-5, 1e-4)], ids=str)
def test_advice_is_below_the_rates_that_were_tried(rate):
    """Also of a rate that not all trials have."""
    space = pj.Space(optimizer=pj.choice("sgd", "adam"), learning_rate=rate.when(optimizer="sgd"))
    points = space.sample(20)
    nan = {"loss": np.full((20, 1, 1, 1), np.nan)}
    told = headline.advice(pj.Results(points, nan, pj.best("loss")))[1]
    high = float(told.rpartition(",")[2].rstrip(")'"))
    assert high <= min(0.01, rate.high)
    tried = [value for value in points["learning_rate"].tolist() if value is not None and np.isfinite(value)]
    assert high == pytest.approx(min(0.01, *tried), rel=0.01)


def test_a_table_that_was_scrolled_shows_the_few_that_are_left(opened):
    """And the keyboard reaches them, though the row it was on is not among those made."""
    results = made(trials=400)
    page = opened(results)
    page.evaluate("document.getElementById('trials').scrollTop = 9000")
    page.locator("#trials tr[aria-rowindex='300']").wait_for()
    page.select_option("#status", "diverged")
    shown = page.evaluate(
        "[...document.querySelectorAll('#trials tr[data-trial]')].map((row) => Number(row.dataset.trial))"
    )
    lost = int(results.diverged.sum())
    assert set(shown) <= set(np.flatnonzero(results.diverged).tolist())
    assert len(shown) >= min(lost, 5)
    assert page.locator("#trials tr[tabindex='0']").count() == 1
    page.select_option("#status", "")
    page.evaluate("document.getElementById('trials').scrollTop = 9000")
    page.locator("#trials tr[aria-rowindex='300']").wait_for()
    assert page.locator("#trials tr[tabindex='0']").count() == 1


def test_brushes_stay_where_the_page_is_drawn_anew(opened):
    page = opened(made(trials=60))
    brush(page, 0, 0.3, 0.6)
    before = selected(page)
    assert not before[0].startswith("60 of")
    for change in (
        lambda: page.emulate_media(color_scheme="dark"),
        lambda: page.set_viewport_size({"width": 700, "height": 900}),
    ):
        change()
        page.wait_for_timeout(300)
        assert selected(page) == before
    brush(page, 0, 0.5, 0.5)
    assert selected(page)[0].startswith("60 of 60")
    assert page.inner_text("#kept") == "60 of 60 trials"


def test_the_first_trial_is_picked_in_the_tree_too(opened):
    plain = made(trials=3, epochs=3, diverged=0)
    parents = np.tile(np.arange(3)[:, None], 3)
    parents[1, 2] = 0
    values = {name: np.tile(column[:, None], 3) for name, column in plain.points.items()}
    page = opened(dataclasses.replace(plain, history=History(parents, parents != np.arange(3)[:, None], values)))
    assert page.evaluate("[trialOf('tree', {text: 'trial 0, epoch 2'}), trialOf('tree', {text: 'no trial'})]") == [
        0,
        None,
    ]


def test_the_median_goes_on_where_trials_were_left(opened):
    """It is that of the trials that were trained so far."""
    results = made(trials=20, epochs=6, diverged=0)
    worst = results.order[10:]
    members = {name: values.copy() for name, values in results.members.items()}
    for values in members.values():
        values[worst, ..., 3:] = np.nan
    status, done = results.status.copy(), results.done.copy()
    status[worst], done[worst] = Status.PRUNED, 3
    left = dataclasses.replace(results, members=members, status=status, done=done)
    heights = curves_figure(left)["metrics"][0]["heights"]
    curve = left.curves[left.metric]
    expected = [*np.median(curve[:, :3], 0), *np.median(curve[left.order, 3:], 0)]
    assert any(np.allclose(one, expected, rtol=1e-3) for one in heights if len(one) == 6)


def test_runs_without_a_feasible_trial_and_of_other_costs_are_compared(tmp_path):
    cost = lambda key, hparams: {"loss": hparams["x"], "harm": hparams["x"]}
    task, space = pj.objective(cost), {"x": pj.uniform(0.5, 1)}
    rank = pj.best("loss", subject_to="harm <= 0.1")
    runs = {name: pj.search(task, space, trials=4, seed=at, rank=rank) for at, name in enumerate("ab")}
    _, _, data = comparison.comparison(runs)
    assert len(data["plots"]) >= 1
    for run, results in runs.items():
        (trace,) = [one for one in next(iter(data["plots"].values()))["traces"] if one["name"] == run]
        assert min(trace["y"]) == pytest.approx(results.values["loss"].min(), rel=1e-4)
    assert [card["place"] for card in data["cards"]] == ["rank 1, the winner"] * 2
    assert all(card["lines"] == [] for card in data["cards"])
