"""The report as a reader uses it: real pages in a real browser; and the command that draws them, without JAX."""

import csv
import dataclasses
import json
import os
import shutil
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from pages import HOSTILE, SPACE, drawn, made, scored
from stopping import edit

import popjax as pj

TOP, BOTTOM = 44, 374  # of an axis of the parallel coordinates


def traces(page, figure):
    """(name, x, y) of what the page drew in a figure, but for the trial in hand."""
    shown = "id => document.getElementById(id).data.filter(t => t.name !== 'in hand').map(t => [t.name, t.x, t.y])"
    return page.evaluate(shown, figure)


def heights(page, figure):
    """Name -> heights of what the page drew in a figure."""
    return {name: y for name, _, y in traces(page, figure)}


def subpaths(page, figure, at):
    """How many pieces the at-th line of a figure has in the drawing itself."""
    paths = page.locator(f"#{figure} .scatterlayer .trace >> nth={at}").locator("path.js-line")
    return sum(paths.nth(i).get_attribute("d").count("M") for i in range(paths.count()))


def until(page, true):
    """Wait for something to be true; the page's policy lets no text be run by `wait_for_function`."""
    for _ in range(200):
        if page.evaluate(true):
            return
        page.wait_for_timeout(25)
    raise AssertionError(true)


def axis_type(page, figure):
    return page.evaluate(f"document.getElementById('{figure}')._fullLayout.yaxis.type")


def choose(page, metric):
    """Show another metric."""
    page.select_option("#metric", label=metric)
    page.wait_for_selector("body[data-drawn]", state="attached")


def trials_in_table(page):
    return [int(cell) for cell in page.locator("#trials tr[data-trial] td:nth-child(2)").all_text_contents()]


def frame(page):
    """Let the page draw what has changed."""
    page.evaluate("new Promise(next => requestAnimationFrame(() => requestAnimationFrame(next)))")


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
    frame(page)
    bar = svg.locator("rect.brush").nth(axis)
    y, height = (float(bar.get_attribute(name)) for name in ("y", "height"))
    if start != end:
        assert [y, y + height] == pytest.approx(sorted(at), abs=1.5)
    return [(BOTTOM - edge) / (BOTTOM - TOP) for edge in (y + height, y)]


def selected(page):
    """The sentence of the selection, and the first ten trials in its table."""
    return page.inner_text("p.selected"), trials_in_table(page)[:10]


def held(page):
    """The card's text, the address, the table's row, and figure -> (x, y) that it lights."""
    lit = page.evaluate(
        """() => [...document.querySelectorAll('.figure')].filter(box => box.data?.at(-1).name === 'in hand'
            && box.data.at(-1).x.length).map(box => [box.id, box.data.at(-1).x, box.data.at(-1).y])"""
    )
    card, row = page.locator("#card"), page.locator("#trials tr[aria-selected=true] td:nth-child(2)")
    text = card.inner_text() if card.is_visible() else ""
    return text, page.url.partition("#")[2], row.all_text_contents(), {name: (x, y) for name, x, y in lit}


def point_at(page, figure, trace, number):
    """Move the pointer to a point of a trace from the top, wherever the page drew it; gives what it says there."""
    page.locator(f"#{figure}").scroll_into_view_if_needed()
    spot = """([figure, trace, number]) => {
        const box = document.getElementById(figure), { xaxis, yaxis } = box._fullLayout, known = box.data.at(trace);
        const at = box.getBoundingClientRect();
        return [at.left + xaxis._offset + xaxis.d2p(known.x[number]),
                at.top + yaxis._offset + yaxis.d2p(known.y[number])];
    }"""
    at = page.evaluate(spot, [figure, trace, number])
    page.mouse.move(*at)
    page.wait_for_selector(f"#{figure} .hoverlayer .hovertext")
    return at, page.locator(f"#{figure} .hoverlayer .hovertext").first.text_content()


def copied_and_changed():
    """Results of population based training: trials were copied, and their x changed with the epochs."""

    def epoch(state, hparams, data):
        return state + hparams["x"], {"loss": 1 / (1 + state)}

    task = pj.Task(lambda key, hparams, data: jnp.float32(0), epoch, ())
    return pj.search(task, {"x": pj.uniform(0, 1)}, trials=8, epochs=4, scheduler=pj.pbt(quantile=0.25, warmup=1))


# What is drawn

PAIRED = pj.Space(x=pj.uniform(0, 1), kind=pj.choice("a", "b", "c"))


def test_the_page_draws_what_plot_gives(opened):
    """Every figure of a search, line by line and point by point in the drawing itself."""
    results = made()
    page = opened(results)
    panels = {f"panel-{at}": name for at, name in enumerate(("learning_rate", "momentum", "hidden", "activation"))}
    for figure, name in ({"curves": "curves", "expected": "expected"} | panels).items():
        for found, trace in zip(traces(page, figure), results.plot(name).data, strict=True):
            for axis, plain in zip(found[1:], (trace.x, trace.y), strict=True):
                np.testing.assert_allclose(np.array(axis, float), np.array(plain, float), rtol=1e-4, err_msg=figure)
    assert page.locator(".panels > .figure").count() == 4
    best, lost = results.best.trial, results.diverged
    lines = list(heights(page, "curves"))
    assert subpaths(page, "curves", lines.index("trials")) == (~lost).sum() - 1
    assert subpaths(page, "curves", lines.index("diverged")) == (lost & (results.epochs_run > 0)).sum()
    points = page.locator("#panel-0 .scatterlayer .trace >> nth=0").locator("path.point")
    assert points.count() == (~lost).sum()
    ticks = page.locator("#panel-1 .xtick text").all_text_contents()
    assert ticks == ["0.910 steps", "0.99100 steps", "0.9991,000 steps"], "both axes say a window"
    shown = set(page.locator("#parallel text.tick").all_text_contents())
    assert {"0.9 · 10 steps", "0.99 · 100 steps", "0.999 · 1,000 steps"} <= shown
    _, said = point_at(page, "curves", -2, 5)
    assert f"trial {best}, epoch 6: {results.best.value:.4g}" in said
    points = PAIRED.sample(1000)
    paired = scored(points, points["x"] + (points["kind"] == "b"), PAIRED)
    (squares,) = paired.plot("interaction").data
    shown = opened(paired).evaluate("document.getElementById('interaction').data[0]")
    for name in ("x", "y", "base", "customdata"):
        assert shown[name] == [list(one) if name == "customdata" else one for one in squares[name]]
    family = copied_and_changed()
    page = opened(family)
    assert [tuple(found) for _, *found in traces(page, "tree")] == [*drawn(family, "tree").values()]
    assert heights(page, "history-0") == {name: y for name, (_, y) in drawn(family, "x by epoch").items()}
    assert page.evaluate("trialOf('tree', {text: 'trial 0, epoch 2'})") == 0


def test_a_metric_is_chosen_and_the_diverged_lie_at_its_worst_end(opened):
    """Losses and errors are in decades; a share's error goes down to half of the least there is."""
    base = made(diverged=0.2)
    members = {name: values.copy() for name, values in base.members.items()}
    members["val_accuracy"][base.order[0], ..., -1] = 1.0  # whose error has no place in decades
    results = dataclasses.replace(base, members=members)
    best, kept = results.best.trial, np.flatnonzero(~results.diverged)
    page = opened(results)
    ends = """() => {
        const { data, _fullLayout } = document.getElementById('panel-0');
        const heights = (over) => data.filter((trace) => (trace.name === 'diverged') === over)
            .flatMap((trace) => trace.y.map((y) => _fullLayout[over ? 'yaxis2' : 'yaxis'].d2p(y)));
        const lost = heights(true), kept = heights(false);
        return [Math.max(...lost) < Math.min(...kept), Math.min(...lost) > Math.max(...kept)];
    }"""
    for change, end, kind in (
        ("val_accuracy", "bottom", "linear"),
        ("errors", "top", "log"),
        ("val_loss", "top", "linear"),
        ("train_loss", "top", "log"),
        ("val_accuracy", "top", "log"),
    ):
        if change == "errors":
            page.check("#errors")
            page.wait_for_selector("body[data-drawn]", state="attached")
        else:
            choose(page, change)
            assert page.inner_text("h2 .metric") == change
        assert axis_type(page, "curves") == axis_type(page, "panel-0") == kind, change
        assert page.evaluate(ends) == [end == "top", end == "bottom"], change
        assert f"diverged, at the {end}" in page.locator(".keys", has_text="diverged, at the").first.inner_text()
        assert page.locator("#switch").is_visible() == (change in ("val_accuracy", "errors"))
        if "loss" in change:
            curve = results.curves[change][best].tolist()
            assert heights(page, "curves")["winner"][:6] == pytest.approx(curve, rel=1e-4)
            for number in range(4):
                y = heights(page, f"panel-{number}")["trials"]
                assert y == pytest.approx(np.clip(results.values[change][kept], min(y), max(y)).tolist(), rel=1e-4)
    left, least = 1 - results.curves["val_accuracy"][best], 1 - results.curves["val_accuracy"]
    left[-1] = least[least > 0].min() / 2
    assert heights(page, "curves")["winner"][:6] == pytest.approx(left.tolist(), rel=1e-2)
    assert heights(page, "panel-1")["winner"] == pytest.approx([left[-1]], rel=1e-2)


def test_at_night_the_page_is_dark_and_brushes_stay(opened):
    """By the system's preference, also when it changes; nothing but the colours is another."""
    page = opened(made(trials=60), scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    figure = "document.querySelector('#curves .main-svg').style.background"
    assert page.evaluate(paper) == page.evaluate(figure) == "rgb(20, 24, 29)"
    brush(page, 0, 0.3, 0.6)
    before = selected(page)
    assert not before[0].startswith("60 of")
    page.emulate_media(color_scheme="light")
    until(page, f"{figure} === 'rgb(255, 255, 255)'")
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    assert selected(page) == before
    page.set_viewport_size({"width": 700, "height": 900})
    until(page, "document.querySelector('#curves .main-svg').getBoundingClientRect().right <= 700")
    assert selected(page) == before
    brush(page, 0, 0.5, 0.5)
    assert selected(page)[0].startswith("60 of 60")


# What is selected


STRONG = """() => {
    const canvas = document.querySelector('#parallel canvas');
    const copy = Object.assign(document.createElement('canvas'), {width: canvas.width, height: canvas.height});
    const pen = copy.getContext('2d', {willReadFrequently: true});
    pen.drawImage(canvas, 0, 0);
    const bytes = pen.getImageData(0, 0, canvas.width, canvas.height).data;
    let count = 0;
    for (let i = 0; i < bytes.length; i += 4) count += bytes[i] > 200 && bytes[i + 2] < 40 && bytes[i + 3] > 200;
    return count;
}"""  # the pixels of the winner's colour


def test_brushes_select_exactly_the_trials_between_their_ends(opened):
    """One, two together, one freed by a click, by keys, on the metric's axis; the others fade on the canvas."""
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
    assert page.evaluate(STRONG) > 500
    low, high = brush(page, 0, 0.3, 0.6)
    among = (rate >= low) & (rate <= high)
    assert selected(page) == expected(among)
    low, high = brush(page, 2, 0.8, 0.2)
    other = (hidden >= low) & (hidden <= high)
    assert 10 < (among & other).sum() < among.sum() < 60
    assert selected(page) == expected(among & other)
    brush(page, 0, 0.5, 0.5)
    assert selected(page) == expected(other)
    brush(page, 2, 0.5, 0.5)
    brush(page, 4, -0.04, -0.12)
    assert selected(page)[0].startswith(f"{results.diverged.sum()} of 120"), "the diverged have their place below"
    edge, _ = brush(page, 4, 0.9, 1.01)
    values = heights(page, "panel-0")["trials"]
    left = np.log10(1 - np.clip(results.values["val_accuracy"][results.order], min(values), max(values)))
    begin, end = np.log10(1 - min(values)), np.log10(1 - max(values))
    count = (left <= begin + edge * (end - begin)).sum()
    assert 1 < count < 60
    assert selected(page)[0] == f"{count} of 120 trials selected"
    brush(page, 4, 0.5, 0.5)
    brush(page, 0, 1.015, 1.005)
    assert selected(page) == ("0 of 120 trials selected", [])
    assert page.evaluate(STRONG) == 0
    page.keyboard.press("Delete")
    axis = page.locator("#parallel .hit").first
    axis.focus()
    page.keyboard.press("Delete")
    for keys, low, high in (
        (["ArrowUp"], 0.05, 1),
        (["Shift+ArrowUp"] * 4, 0.25, 1),
        (["ArrowDown"], 0.2, 0.95),
    ):
        for key in keys:
            page.keyboard.press(key)
        frame(page)
        assert selected(page) == expected((rate >= low) & (rate <= high)), keys
    assert axis.get_attribute("aria-valuetext") == "20 to 95 percent of the axis"
    for _ in range(5):
        page.keyboard.press("ArrowUp")
    low, high = map(int, axis.get_attribute("aria-valuetext").removesuffix(" percent of the axis").split(" to "))
    assert (high - low, high > 100) == (75, True), "as wide as it was, also where the axis ends"
    page.keyboard.press("Delete")
    frame(page)
    assert selected(page)[0].startswith("120 of 120 trials")


def test_trials_without_an_epoch_are_not_at_the_place_of_the_diverged(opened):
    """A run that was stopped early, with folds: what diverged has no value, and no error of one."""
    results = made(trials=60, folds=2)
    never = (np.arange(60) % 10 == 3) & ~results.diverged
    members = {name: np.where(never[:, None, None, None], np.nan, values) for name, values in results.members.items()}
    done = np.broadcast_to(np.where(never, 0, 6)[:, None, None], (60, 2, 1))
    stopped = dataclasses.replace(results, members=members, done=done, status=None)
    assert stopped.stopped.sum() == never.sum()
    page = opened(stopped)
    brush(page, 4, -0.04, -0.12)
    assert selected(page)[0].startswith(f"{stopped.diverged.sum()} of 60")
    lost = page.locator("#trials tr[data-trial]", has_text="diverged").all_inner_texts()
    assert lost
    assert not any("±" in row for row in lost)


# A trial in hand


def test_a_trial_in_hand_is_lit_in_all_figures(opened):
    """Picked in the table, in a panel and on the parallel lines, or by the address; Escape puts it back."""
    results = made(trials=60)
    page = opened(results)
    third, lost = int(results.order[2]), int(np.flatnonzero(results.diverged)[0])
    page.locator(f"#trials tr[data-trial='{third}']").click()
    for figure in ("curves", "panel-0", "panel-1", "panel-2", "panel-3"):
        until(page, f"document.getElementById('{figure}').data.at(-1).x.length > 0")
    text, address, row, lit = held(page)
    assert text.splitlines()[1] == f"trial {third}, rank 3 of {len(results.order)}"
    assert "trained to the end" in text
    assert (address, row) == (f"trial={third}", [str(third)])
    assert lit["curves"][1] == pytest.approx(results.curves["val_accuracy"][third].tolist(), rel=1e-4)
    assert {name for name in lit if name.startswith("panel")} == {f"panel-{at}" for at in range(4)}
    assert lit["panel-1"][1] == pytest.approx([results.values["val_accuracy"][third]], rel=1e-4)
    for name, value in results.hparams(third).items():
        assert name in text
        assert (f"{value:.4g}" if isinstance(value, float) else str(value)) in text
    page.keyboard.press("Escape")
    until(page, "document.getElementById('curves').data.at(-1).x.length === 0")
    assert held(page)[:3] == ("", "", [])
    at, _ = point_at(page, "panel-0", -2, 0)
    page.mouse.click(*at)
    until(page, "location.hash !== ''")
    assert held(page)[1] == f"trial={results.best.trial}"
    assert f"trial {results.best.trial}, rank 1, the winner" in held(page)[0]
    page.locator("#card button").click()
    assert held(page)[1] == ""
    page.locator("#parallel svg").scroll_into_view_if_needed()
    page.mouse.click(
        *page.evaluate("""() => {
        const axes = PAGE.parallel.axes, box = document.querySelector('#parallel svg').getBoundingClientRect();
        const trial = PAGE.parallel.winner, place = (at) => 46 + (at * (box.width - 150)) / (axes.length - 1);
        const level = (at) => 44 + 330 - axes[at].units[trial] * 330;
        return [box.left + (place(0) + place(1)) / 2, box.top + (level(0) + level(1)) / 2];
    }""")
    )
    assert held(page)[1].startswith("trial=")
    page.evaluate("trial => { location.hash = `#trial=${trial}`; }", lost)
    until(page, f"document.getElementById('card').innerText.includes('trial {lost}')")
    assert "diverged in epoch " in held(page)[0]
    assert "not finite" in held(page)[0]
    for nothing in ("60", "<b>"):
        page.evaluate(f"location.hash = '#trial={nothing}'")
    assert f"trial {lost}" in held(page)[0]
    address = page.url.partition("#")[0] + "#trial=3"
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector("#card:not([hidden])")
    assert page.locator("#card h3").inner_text().startswith("trial 3")


@pytest.mark.parametrize(("at", "scheduler"), [("last", "halving"), ("best", "halving"), ("last", "hyperband")])
def test_a_pruned_trial_says_where_it_stood(opened, at, scheduler):
    """Its place among those trained as far, and how many of them went on: as halving had it; in a bracket none."""
    epoch = lambda x, hparams, data: (x * 7 % 1, {"loss": (x - 0.3) ** 2})
    task = pj.Task(lambda key, hparams, data: hparams["x"], epoch, ())
    way = pj.halving(reduction_factor=3, min_epochs=2) if scheduler == "halving" else scheduler
    rank = pj.best("loss", "min", at=at)
    results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=27, epochs=18, scheduler=way, rank=rank)
    page = opened(results)
    curves, first = results.curves["loss"][:, :2], results.epochs_run[results.pruned].min()
    then = curves.min(1) if at == "best" else curves[:, 1]
    fell = (first == 1) | (curves[:, 0] < curves[:, 1])
    trial = int(np.flatnonzero(results.pruned & (results.epochs_run == first) & fell)[0])
    page.evaluate("trial => { location.hash = `#trial=${trial}`; }", trial)
    page.wait_for_selector("#card:not([hidden])")
    said = page.locator("#card").inner_text()
    assert f"pruned after epoch {first} of 18, where loss was" in said
    stood = f"place {int((then < then[trial]).sum()) + 1} of 27 there, of which 9 were trained on"
    assert (stood in said, "place " in said) == ((True, True) if scheduler == "halving" else (False, False))


# The table


def test_the_table_is_that_of_the_results(opened):
    """In their order; the winner says what it is, also where it is not of rank 1."""
    setting = {"trials": 300, "folds": 3, "noise": 0.05, "seed": 1}
    second = made(**setting).order[1]
    parameters = np.where(np.arange(300) == second, 10, 999)
    results = made(**setting, rule=pj.one_se, costs={"parameters": parameters})
    assert results.best.trial == second
    page = opened(results)
    rows = [row.split("\t") for row in page.locator("#trials tr[data-trial]").all_inner_texts()[:10]]
    assert [[int(cell) for cell in row[:2]] for row in rows] == [[at + 1, t] for at, t in enumerate(results.order[:10])]
    assert page.locator("#trials tr.winner td:nth-child(2)").all_inner_texts() == [str(second)]
    first = results.hparams(int(results.order[0]))
    assert rows[0][4:6] == [str(first["hidden"]), first["activation"]]
    assert rows[0][-3:] == ["999", "6", "complete"]
    value, beside = map(float, rows[0][6].split(" ± "))
    assert value == pytest.approx(results.values["val_accuracy"][results.order[0]], rel=1e-4)
    assert beside == pytest.approx(results.errors["val_accuracy"][results.order[0]], rel=1e-2)
    head = page.inner_text(".cards")
    assert f"the smallest model within one standard error of trial {results.order[0]}" in head
    said = page.inner_text("main")
    for part in ("The same in all: width 7.", "in each of 3 folds", f"Winner: trial {second}, ", "0.9100"):
        assert part in said


def test_the_table_is_sorted_filtered_downloaded_and_walked_by_keys(opened, tmp_path):
    """By any column, both ways, numbers as numbers, what is absent last; the file has what is shown, in its order."""
    batches = ["8", "16", "128", "auto"]
    results = made(trials=400, space=SPACE.replace(batch=pj.choice(*batches[::-1])))
    page = opened(results)
    rates = results.points["learning_rate"]
    for direction in (rates, -rates):
        page.get_by_role("button", name="learning_rate").click()
        assert trials_in_table(page)[:5] == np.argsort(direction, kind="stable")[:5].tolist()
    for order in (batches, batches[::-1]):
        page.get_by_role("button", name="batch").click()
        assert page.locator("#trials tr[data-trial] td:nth-child(7)").first.inner_text() == order[0]
    page.get_by_role("button", name="val_accuracy", exact=True).click()
    assert not results.diverged[trials_in_table(page)[0]]
    page.evaluate("document.getElementById('trials').scrollTop = 9000")
    page.locator("#trials tr[aria-rowindex='300']").wait_for()
    page.select_option("#status", "diverged")
    lost = np.flatnonzero(results.diverged).tolist()
    assert page.inner_text("#kept") == f"{len(lost)} of 400 trials"
    assert set(trials_in_table(page)) <= set(lost), "also where the table was scrolled"
    assert len(trials_in_table(page)) >= 5
    assert page.locator("#trials tr[tabindex='0']").count() == 1
    with page.expect_download() as download:
        page.locator("#download").click()
    download.value.save_as(tmp_path / "trials.csv")
    rows = list(csv.DictReader((tmp_path / "trials.csv").read_text(encoding="utf-8").splitlines()))
    assert {(row["status"], row["rank"]) for row in rows} == {("diverged", "")}, "what is absent is an empty cell"
    assert sorted(int(row["trial"]) for row in rows) == lost
    page.select_option("#status", "")
    page.get_by_role("button", name="rank").click()
    page.locator("#trials tr[tabindex='0']").focus()
    for _ in range(150):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    for place in (150, 0):  # of a row that was not there yet, and of the one that has the focus
        assert page.url.endswith(f"#trial={results.order[place]}")
        page.wait_for_selector(f"#trials tr[data-trial='{results.order[place]}'][aria-selected=true]")
        page.evaluate("document.getElementById('trials').scrollTop = 0")
        page.wait_for_selector(f"#trials tr[data-trial='{results.order[0]}'][tabindex='0']")
        page.locator("#trials tr[tabindex='0']").focus()
        page.keyboard.press("Enter")
    assert page.locator("#trials tr[data-trial]").count() < 60, "only the rows in sight are made"


# Texts of strangers


def test_hostile_texts_show_as_text_and_run_nothing(opened):
    """Dataset, choice values, classes, metric and notes, of any length and direction: each as it is written."""
    long, right = "x" * 10_000, "שלום </script>"
    choices = (HOSTILE, "<a href='javascript:alert(1)'>x</a>", "&lt;b&gt;", long, right)
    space = SPACE.replace(activation=pj.choice(*choices))
    rounds = [{"trials": 40, "space": space.to_dict(), "notes": [HOSTILE]}] * 2
    base = made(space=space, rounds=np.repeat([0, 1], 20))
    metric = "<i>val</i>_%{x}"
    members = {metric: base.members["val_accuracy"], "</script>": base.members["val_loss"]}
    run = base.run | {
        "arguments": {"dataset": HOSTILE, "target": HOSTILE},
        "command": HOSTILE,
        "rounds": rounds,
        "device": HOSTILE,
        "data": {"columns": ["age", HOSTILE], "classes": [HOSTILE, "<b>two</b>"], "inputs": [2]},
    }
    summary = {"rows": {"train": 1000, "validate": 120, "test": 50}, "confusion": [[20, 4], [1, 25]]}
    results = pj.Results(base.points, members, pj.best(metric, "max"), run, summary, rounds=base.rounds)
    page = opened(results)
    assert page.title() == f"{HOSTILE}: random search over 40 trials"
    assert page.inner_text("h1") == page.title()
    assert page.locator("main img, main b b, main a[href^=javascript], main i:not(.keys i):not(.track i)").count() == 0
    said = page.inner_text("main")
    assert f"Before round 1: {HOSTILE}" in said
    assert HOSTILE in page.inner_text("pre")
    facts = page.locator(".facts").inner_text()
    assert "1,000 rows train, 120 rows validate, 50 rows test" in facts
    assert f"age, {HOSTILE}" in facts
    confusion = [page.locator(f".confusion tbody tr:nth-child({at}) td").all_inner_texts() for at in (1, 2)]
    assert confusion == [[HOSTILE, "20", "4"], ["<b>two</b>", "1", "25"]]
    shares = page.locator(".cell").evaluate_all("all => all.map(cell => cell.style.getPropertyValue('--share'))")
    assert shares == ["83%", "17%", "4%", "96%"]
    assert HOSTILE[:31] + "…" in page.locator("#trials td").all_inner_texts()
    assert page.locator("#curves .ytitle").text_content() == metric
    assert page.locator("#panel-3 .xtick text").all_text_contents()[0] == HOSTILE[:17] + "…"
    assert HOSTILE[:21] + "…" in page.locator("#parallel text.tick").all_text_contents()
    assert page.locator("#metric option").all_text_contents() == [metric, "</script>"]
    assert page.locator("#trials table").evaluate("table => table.scrollWidth") < 2500
    _, said = point_at(page, "panel-3", -2, 0)
    assert f"{metric} " in said
    of_right = next(t for t in range(40) if results.points["activation"][t] == right)
    page.evaluate("trial => { location.hash = `#trial=${trial}`; }", of_right)
    page.wait_for_selector("#card:not([hidden])")
    assert right in page.locator("#card dd").all_inner_texts()


def test_the_policy_refuses_a_script_that_was_slipped_in(browser, tmp_path):
    """Even if an escape were forgotten: neither an inline handler nor a script of its own runs."""
    path = made().report(tmp_path / "slipped.html")
    path.write_text(path.read_text().replace("<main>", f"<main>{HOSTILE[9:]}<script>window.bad=1</script>"))
    page, refused = browser.new_page(), []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-drawn]", state="attached")
    assert page.evaluate("window.bad") is None
    assert page.title().startswith("wine")
    assert sum("Content Security Policy" in text for text in refused) >= 2
    page.close()


# Any reader, any width, no server


@pytest.fixture
def compared(command, tmp_path):
    """The page that the command draws of two runs."""
    for name, seed in (("one", 1), ("two", 2)):
        made(seed=seed, trials=20).save(tmp_path / name)
    assert command("report", "one", "two").returncode == 0
    return tmp_path / "comparison.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_are_accessible(opened, accessible, browser, compared, scheme, width):
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
    beside = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    beside.goto(compared.as_uri())
    beside.wait_for_selector("body[data-drawn]", state="attached")
    accessible(beside)
    lines = beside.evaluate("document.getElementById('epochs').data.map(t => [t.line.dash, t.marker.symbol])")
    assert len({tuple(one) for one in lines}) == 2, "by more than colour"
    beside.evaluate("document.getElementById('epochs').emit('plotly_click', { points: [{ curveNumber: 1 }] })")
    best = pj.Results.load(compared.parent / "two").best
    assert f"two: trial {best.trial}, rank 1, the winner" in beside.locator("#card").inner_text()
    accessible(beside)
    beside.keyboard.press("Escape")
    assert beside.locator("#card").is_hidden()
    cell = f"<html lang=en><title>a notebook</title><main><h1>a cell</h1>{results._repr_html_()}</main></html>"
    beside.set_content(cell)
    accessible(beside)
    beside.close()


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_scrolls_sideways_but_the_boxes_made_for_it(opened, width):
    """No element sticks out, each figure is as wide as its column, and a table that scrolls says so."""
    results = made(folds=2, rule=pj.one_se, costs={"parameters": np.arange(40)})
    results.summary.update(confusion=np.eye(12, dtype=int).tolist(), rows={"train": 1000, "validate": 120, "test": 12})
    results.run["data"] = {"columns": ["age"], "classes": [f"class {at}" for at in range(12)], "inputs": [1]}
    page = opened(results, width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for name in ("curves", "panel-0", "expected"):
        assert page.evaluate(f"document.querySelector('#{name} .main-svg').getBoundingClientRect().right") <= width
    assert page.evaluate("document.querySelector('#parallel').scrollWidth > 500")
    wide = page.locator(".scroll.wide")
    assert (wide.count() > 0) == (width == 400)
    for said in wide.evaluate_all("all => all.map(one => getComputedStyle(one, '::before').content)"):
        assert "scroll sideways" in said


@pytest.mark.parametrize("kind", ["report", "comparison", "notebook"])
def test_a_page_asks_no_server_and_offers_no_upload(browser, tmp_path, compared, kind):
    """Neither as it opens nor as all of its buttons are pressed."""
    results, path = made(trials=20), tmp_path / "page.html"
    if kind == "notebook":
        path.write_text(results.plot("curves").to_html())
    elif kind == "report":
        results.report(path)
    else:
        path = compared
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector(".modebar-btn", state="attached")
    buttons = page.locator(".modebar-btn").evaluate_all("all => all.map(one => one.dataset.title ?? one.dataset.attr)")
    assert "Zoom" in buttons
    assert not any(word in str(name).lower() for name in buttons for word in ("share", "cloud", "upload"))
    page.locator(".modebar-btn").evaluate_all("all => all.forEach(one => one.click())")
    frame(page)
    assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []
    page.close()


# The command


def of_many_types(**more):
    """Results with choices of several types, which a table on disk keeps as texts."""
    space = SPACE.replace(activation=pj.choice("relu", True, 0.123456789))
    return made(space=space, folds=2, rule=pj.one_se, costs={"parameters": np.arange(40)}, **more)


@pytest.fixture
def saved(tmp_path):
    of_many_types().save(tmp_path / "run")
    return tmp_path / "run"


def test_the_command_draws_the_same_page_without_jax(saved, tmp_path):
    """The same bytes as before the results were saved, and again; JAX is not imported for it."""
    first = of_many_types().report(saved / "report.html").read_bytes()
    code = (
        "import sys, runpy\nsys.argv = ['report', 'run']\n"
        "try:\n    runpy.run_module('popjax.report', run_name='__main__')\n"
        "except SystemExit as stop:\n    print(stop.code, 'jax' in sys.modules, 'optuna' in sys.modules)"
    )
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout.splitlines() == [os.path.join("run", "report.html"), "0 False False"]
        assert done.stderr == ""
        assert (saved / "report.html").read_bytes() == first


def truncate(run):
    whole = (run / "trials.parquet").read_bytes()
    (run / "trials.parquet").write_bytes(whole[: len(whole) // 2])


def flip(run):
    whole = bytearray((run / "curves.parquet").read_bytes())
    whole[len(whole) // 3] ^= 0xFF
    (run / "curves.parquet").write_bytes(whole)


def of_another(run):
    made(trials=8, folds=2).save(run / "other")
    shutil.copy(run / "other" / "trials.parquet", run)


BROKEN = {
    "no directory": (shutil.rmtree, "run.json", 2),
    "empty directory": (lambda run: [path.unlink() for path in run.iterdir()], "run.json", 2),
    "truncated trials": (truncate, "trials.parquet", 3),
    "flipped bit": (flip, "curves.parquet", 3),
    "no trials": (lambda run: (run / "trials.parquet").unlink(), "trials.parquet", 2),
    "another run's trials": (of_another, "trials.parquet", 3),
    "no JSON": (lambda run: (run / "run.json").write_text("{"), "run.json", 3),
    "another JSON": (lambda run: (run / "run.json").write_text("[1]"), "object", 3),
    "no format": (lambda run: (run / "run.json").write_text("{}"), "format", 3),
    "no space": (lambda run: edit(run / "run.json", lambda known: known.pop("space")), "'space'", 3),
    "a file": (lambda run: (shutil.rmtree(run), run.write_text("")), "run.json", 3),
}


@pytest.mark.parametrize(("broken", "names", "code"), BROKEN.values(), ids=BROKEN)
def test_a_directory_without_a_run_is_2_and_a_damaged_one_3(saved, refused_in_one_line, broken, names, code):
    broken(saved)
    refused_in_one_line("report", "run", says=["run", names], code=code)
    assert not (saved / "report.html").exists()


def test_runs_that_cannot_be_compared_are_refused_in_one_line(saved, refused_in_one_line):
    made(diverged=1.1).save(saved.parent / "lost")
    refused_in_one_line("report", "run", "lost", says=["lost", "no winner"])
    refused_in_one_line("report", "run", "./run", says=["'run'", "once"])
    refused_in_one_line("report", says=["name the directory"])
    (saved.parent / "notes.md").write_text("mine")
    refused_in_one_line("report", "run", "--out", "notes.md", says=["'notes.md'", "no page"])
    refused_in_one_line("report", "run", "--out", "nowhere/page.html", says=["No such file"])


def test_the_command_that_made_a_run_is_told_in_its_page(command, tmp_path):
    """Only what differs from the defaults, quoted for a shell; where it wrote and how it spoke change nothing."""
    (tmp_path / "my data.csv").write_text("a,a'b\n" + "".join(f"{n},{n % 2}\n" for n in range(60)))
    asked = ("--dataset", "my data.csv", "--target", "a'b", "--trials", 4, "--epochs", 1, "--set", "momentum=0.9")
    asked += ("--set", "learning_rate=log_uniform(1e-4, 1)", "--choose", "best", "--out", "run", "--quiet")
    done = command("sweep", *asked)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["command"] == (
        "python -m popjax.sweep --dataset 'my data.csv' --target 'a'\"'\"'b' --trials 4 --epochs 1 "
        "--set momentum=0.9 --set 'learning_rate=log_uniform(1e-4, 1)'"
    )
