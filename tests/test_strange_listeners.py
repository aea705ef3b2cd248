"""Callbacks, trackers, executors and figures of a stranger are checked where they enter, and told in one line."""

import json
import re
import threading
from concurrent.futures import Future

import numpy as np
import pytest
from strangers import FAILED, one_line, raises

import popjax as pj
from popjax.engine.backends.renewable_executor import Traits
from popjax.engine.backends.work import Done
from popjax.pages.figures.figure import Figure
from popjax.pages.figures.named_figures import FIGURES
from popjax.tracking.apart import Apart
from popjax.tracking.named_trackers import TRACKERS, tracker_of
from popjax.tracking.tracker import Tracker, Writer

SPACE = {"x": pj.uniform(0, 1)}
RATE = {"learning_rate": pj.log_uniform(1e-3, 1e-1)}
OBJECTIVE = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
QUADRATIC = pj.Task(lambda key, hparams, data: 1.0, lambda x, hparams, data: (x - hparams["x"] * x, {"loss": x**2}), ())


# Callbacks and trackers


def callback(**wrong):
    return type("Wrong", (pj.Callback,), wrong)()


CALLBACKS = {
    "behind on_": (
        callback(on_epoch=lambda self, result: None),
        "the callback Wrong: on_epoch is no name .* mean epoch",
    ),
    "misspelt": (callback(ends=lambda self, results: None), "the callback Wrong: ends is no name .* did you mean end"),
    "misspelt value": (callback(esential=True), "the callback Wrong: esential is no name .* did you mean essential"),
    "arguments": (
        callback(epoch=lambda self: None),
        r"the callback Wrong: epoch cannot be called with \(self, result\)",
    ),
    "no method": (callback(epoch=3), "the callback Wrong: epoch is a int; write a method"),
    "nothing heard": (
        callback(after_training=lambda self: None),
        "the callback Wrong has no method that is called; wri",
    ),
}


@pytest.mark.parametrize("name", CALLBACKS)
@pytest.mark.parametrize("where", ["callbacks", "progress"])
def test_a_wrong_callback(name, where):
    given, says = CALLBACKS[name]
    how = {"callbacks": [given]} if where == "callbacks" else {"progress": given}
    with pytest.raises(ValueError, match=says) as error:
        pj.search(OBJECTIVE, SPACE, trials=4, **how)
    one_line(error)


@pytest.mark.parametrize("method", ["begin", "epoch", "decision", "end", "close"])
def test_a_callback_that_fails_is_named_with_its_line(method, capsys):
    """Once, and the run goes on."""
    results = pj.search(QUADRATIC, SPACE, trials=4, epochs=3, callbacks=[callback(**{method: raises()})])
    assert results.best is not None
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(f"popjax: the callback Wrong: {method} {FAILED}; the run goes on", line)


class Sends(pj.Callback):
    """A helper one edit from a name of the contract, which it calls itself."""

    def __init__(self):
        self.sent = []

    def epoch(self, result):
        self.send(result.epoch)

    def send(self, message):
        self.sent.append(message)


class SendsAgain(Sends):
    """Derived from one's own."""


def test_a_callbacks_helpers_are_its_own():
    hears = SendsAgain()
    pj.search(QUADRATIC, SPACE, trials=4, epochs=3, callbacks=[hears])
    assert sorted(set(hears.sent)) == [0, 1, 2]


class Counting(pj.Callback):
    """A base with a helper, for which a class that extends it has the contract's name."""

    def epochs(self):
        return self.heard

    def count(self, result):
        self.heard += 1


class Heard(Counting):
    heard = 0
    epoch = Counting.count


def test_a_helper_above_the_right_name_and_methods_of_an_object_are_right():
    heard, own = Heard(), pj.Callback()
    own.epoch, own.results = lambda result: own.results.append(result.epoch), []
    pj.search(QUADRATIC, SPACE, trials=4, epochs=3, callbacks=[heard, own], backend=pj.Local(lanes=4))
    assert heard.epochs() == len(own.results) == 3


class Right(Writer):
    """Keeps what it is told."""

    def __init__(self):
        self.told = []

    def begin(self, name, config):
        self.append("begin")

    def end(self, whole):
        self.append("end")

    def append(self, word):
        self.told.append(word)


def writer(base=Right, **wrong):
    return type("Wrong", (base,), wrong)()


WRITERS = {
    "a class": (lambda: Right, "the tracker's writer is Right itself; call it"),
    "no method": (lambda: object(), "the tracker object has no begin; write it"),
    "misspelt": (
        lambda: writer(nows=lambda self, values, step: None),
        "the tracker Wrong: nows is no name .* mean now",
    ),
    "behind on_": (lambda: writer(on_begin=lambda self: None), "the tracker Wrong: on_begin is no name .* mean begin"),
    "arguments": (
        lambda: writer(now=lambda self, values: None),
        "the tracker Wrong: now cannot be called with .self, val",
    ),
    "no picklable class": (
        lambda: Apart(type(writer())),
        "the tracker Wrong cannot be sent: .*; define the class at the",
    ),
    "no picklable setting": (
        lambda: Apart(Right, act=lambda: 0),
        "the tracker Right cannot be sent: .*; define the cl",
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_wrong_tracker(name):
    make, says = WRITERS[name]
    with pytest.raises(ValueError, match=says) as error:
        Tracker(make())
    one_line(error)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (raises(), f"the tracker strange {FAILED}"),
        (lambda top: 3, "the tracker strange returned a int; return a popjax"),
    ],
)
def test_a_wrong_tracker_by_its_name(make, says, monkeypatch):
    monkeypatch.setitem(TRACKERS, "strange", make)
    with pytest.raises(ValueError, match=says):
        tracker_of("strange")


@pytest.mark.parametrize("method", ["begin", "now", "end", "close"])
def test_a_tracker_that_fails_is_named_with_its_line(method, capsys):
    pj.search(QUADRATIC, SPACE, trials=4, epochs=3, callbacks=[Tracker(writer(**{method: raises()}))])
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(f"popjax: the tracker Wrong {FAILED}; the run goes on", line)


def test_a_tracker_that_exits_is_said_and_a_tracker_serves_one_search_after_the_other(capsys):
    """It is not waited for in vain, either."""
    pj.search(QUADRATIC, SPACE, trials=4, epochs=3, callbacks=[Tracker(writer(begin=raises(SystemExit)))])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("popjax: the tracker Wrong raised SystemExit: its own")
    right = Right()
    tracker = Tracker(right)
    for _ in range(2):
        pj.search(QUADRATIC, SPACE, trials=4, epochs=3, callbacks=[tracker])
    assert right.told == ["begin", "end"] * 2


# Executors


class Here:
    """A right one, which works in this process."""

    def submit(self, fn, *args):
        future = Future()
        future.set_result(fn(*args))
        return future

    def shutdown(self, wait=True):
        pass


def executor(**wrong):
    return type("Wrong", (Here,), wrong)


def answering(change):
    """An executor that changes what a worker trained."""

    def changed(fn, unit, blob):
        answer = fn(unit, blob)
        return change(answer, unit) if isinstance(answer, Done) else answer

    return executor(submit=lambda self, fn, *args: Here.submit(self, changed, fn, *args))()


class Stale(Here):
    """Answers each unit as the first one."""

    answer = None

    def submit(self, fn, *args):
        future = Here.submit(self, fn, *args)
        self.answer = self.answer or (future if isinstance(future.result(), Done) else None)
        return self.answer or future


Stale.__name__ = "Wrong"


EXECUTED = {
    "arguments": (
        executor(submit=lambda self, fn: None)(),
        "the executor Wrong: submit cannot be called with .fn, unit",
    ),
    "makes nothing": (lambda: None, "the executor NoneType has no submit; give what has submit"),
    "no shutdown": (executor(shutdown=None), "the executor Wrong has no shutdown; give what has submit"),
    "a function of arguments": (lambda count: Here(), "the executor cannot be called with"),
    "raises": (raises(), f"the executor raises.<locals>.fails {FAILED}"),
    "no future": (executor(submit=lambda self, *args: 3)(), "the executor Wrong: submit returned a int; return a conc"),
    "no answer": (
        executor(submit=lambda self, fn, *args: Here.submit(self, lambda: None))(),
        "the executor Wrong: a future of submit gave a NoneType; let submit.fn, .args. call fn",
    ),
    "traits": (executor(traits={"seconds": 3})(), "the executor Wrong: traits is a dict; give a popjax"),
    "trait": (
        executor(trait=Traits())(),
        "the executor Wrong: trait is no name that popjax looks for; did you mean tra",
    ),
    "the answer before": (Stale(), "the executor Wrong: a future of submit gave the answer for another unit of work"),
    "nothing trained": (
        answering(lambda done, unit: done._replace(epoch=unit.epoch)),
        "the executor Wrong: a future of submit gave epoch 0 after epoch 0; let",
    ),
    "the task left out": (
        executor(submit=lambda self, fn, unit, *rest: Here.submit(self, fn, unit._replace(task="0" * 64), None))(),
        "the executor Wrong: a future of submit gave no epoch: the worker lacks the last argument",
    ),
}


@pytest.mark.parametrize("name", EXECUTED)
def test_a_wrong_executor(name):
    given, says = EXECUTED[name]
    with pytest.raises(ValueError, match=says) as error:
        pj.search(QUADRATIC, SPACE, trials=4, epochs=2, backend=given)
    one_line(error)


class Leaving(Here):
    """The first unit ends its worker, by SystemExit; shutdown takes no argument, and fails."""

    left = False

    def submit(self, fn, *args):
        if self.left:
            return Here.submit(self, fn, *args)
        type(self).left = True
        future = Future()
        future.set_exception(SystemExit(1))
        return future

    def shutdown(self):
        raise OSError("no way down")


def test_a_worker_that_exits_costs_a_try_and_an_executor_that_does_not_shut_down_is_said(capsys):
    there = pj.search(QUADRATIC, SPACE, trials=4, epochs=2, backend=Leaving)
    here = pj.search(QUADRATIC, SPACE, trials=4, epochs=2)
    assert there.curves["loss"].tobytes() == here.curves["loss"].tobytes()
    assert "popjax: the executor Leaving: shutdown raised OSError: no way down" in capsys.readouterr().err


TRAITS = {
    "seconds=0": {"seconds": 0},
    "seconds='2'": {"seconds": "2"},
    "keeps=1": {"keeps": 1},
    "patience=-1": {"patience": -1},
}


@pytest.mark.parametrize("name", TRAITS)
def test_wrong_traits(name):
    with pytest.raises(ValueError, match=f"traits: {name}; give ") as error:
        Traits(**TRAITS[name])
    one_line(error)


def test_right_traits():
    assert Traits(np.float32(3), False, float("inf")).patience == float("inf")


def test_an_executor_that_refuses_all_work_is_named_with_its_line(caplog):
    results = pj.search(QUADRATIC, SPACE, trials=4, epochs=2, backend=executor(submit=raises())())
    assert results.best is None
    said = r"trials? [\d, ]+: given up after 3 failed tries: the executor Wrong: submit"
    assert re.search(f"{said} {FAILED}", caplog.text)


def test_a_class_is_a_function_that_makes_an_executor():
    there = pj.search(QUADRATIC, SPACE, trials=4, epochs=2, backend=Here)
    here = pj.search(QUADRATIC, SPACE, trials=4, epochs=2)
    assert there.curves["loss"].tobytes() == here.curves["loss"].tobytes()


def test_a_task_that_cannot_be_sent_is_one_line():
    """Before anything is trained."""
    lock = threading.Lock()

    def epoch(x, hparams, data):
        assert not lock.locked()
        return x * hparams["x"], {"loss": x}

    with pytest.raises(ValueError, match=r"the task cannot be sent to processes: .*; create such objects in its func"):
        pj.search(QUADRATIC._replace(epoch=epoch), SPACE, trials=2, epochs=2, backend=Here())


# Figures


def box(*names):
    return "<section>" + "".join(f'<div class="figure" id="{name}"></div>' for name in names) + "</section>"


def figure(drawing=None, name="mine", section=None):
    """A figure with one plot, in a box of its name."""
    drawing = {"traces": [{"type": "bar", "x": [1], "y": [2]}], "layout": {}} if drawing is None else drawing
    html = box(name) if section is None else section
    return Figure(lambda results, axes: html, lambda results, axes: {name: lambda: drawing})


FIGURES_GIVEN = {
    "another box": (figure(section=box("yours")), "its section has no box for 'mine'; write <div"),
    "popjax's name": (figure(name="expected"), "the figure expected has the id 'expected', too; give another name"),
    "popjax's box": (figure(name="curves"), "the figure curves has the id 'curves', too; give another name"),
    "popjax's data": (
        Figure(lambda r, a: box("x"), data=lambda r, a: {"curves": 3}),
        "its data have 'curves', which report.js reads for popjax's figures alone; give plots",
    ),
    "the page's own words": (
        Figure(lambda r, a: box("x"), data=lambda r, a: {"tree": {"traces": [], "layout": {}}}),
        "its data have 'tree', which report.js reads",
    ),
    "section raises": (Figure(raises()), f"it {FAILED}"),
    "no text": (Figure(lambda results, axes: None), "section returned a NoneType; return HTML"),
    "plots raise": (Figure(lambda results, axes: box("x"), raises()), f"it {FAILED}"),
    "drawing raises": (Figure(lambda results, axes: box("x"), lambda results, axes: {"x": raises()}), f"it {FAILED}"),
    "an object": (figure({"traces": [{"x": object()}], "layout": {}}), "it draws a object; give numbers, texts, array"),
    "no Figure": (lambda results, axes: box("x"), "its entry in FIGURES is <function .*; give a popjax.pages.figures"),
    "nothing": (None, "its entry in FIGURES is None; give a popjax"),
    "the page's id": (figure(name="metric"), "the page has the id 'metric', too; give another name"),
    "one id twice": (figure(section=box("mine", "mine")), "its section has the id 'mine', too; give another name"),
    "a box in a comment": (figure(section="<p><!-- " + box("mine") + " --></p>"), "its section has no box for 'mine'"),
    "an open comment": (figure(section=box("mine") + "<!-- open"), "in its section .*is not closed; close it"),
    "an open tag": (figure(section=box("mine") + "<div>"), "in its section <div> is not closed; close it"),
    "an open attribute": (figure(section=box("mine") + '<b title="x>'), "in its section .*is not closed; close it"),
    "another's end": (figure(section=box("mine") + "</div>"), "in its section </div> closes no element; close what"),
    "no layout": (figure({"traces": []}), "its plot 'mine' is {'traces': ..}; return {'traces': .dicts., 'layout': {"),
    "traces of numbers": (figure({"traces": [3], "layout": {}}), "its plot 'mine' is .*; return {'traces'"),
    "no function": (
        Figure(lambda results, axes: box("x"), lambda results, axes: {"x": {"traces": [], "layout": {}}}),
        "it raised ValueError: plots returned .*; return a dict, name -> function that draws",
    ),
}


@pytest.fixture(scope="module")
def searched():
    return pj.search(QUADRATIC, SPACE, trials=12, epochs=2)


@pytest.mark.parametrize("name", FIGURES_GIVEN)
def test_a_wrong_figure_costs_the_report_nothing_else(name, searched, monkeypatch, tmp_path, capsys):
    """It is named on the page, too; all other figures are as without it."""
    given, says = FIGURES_GIVEN[name]
    usual = figures_of(searched.report(tmp_path / "usual.html"))
    monkeypatch.setitem(FIGURES, "strange", given)
    page = searched.report(tmp_path / "page.html")
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(f"popjax: the figure strange: {says}.*; the page is written without it", line)
    assert "The figure strange" in page.read_text()
    assert figures_of(page) == usual


def figures_of(page):
    """The data of a page's figures."""
    return json.loads(page.read_text().split('id="figures">')[1].split("</script>")[0])


def test_a_figure_of_arrays_with_gaps_is_on_the_page_as_results_plot_has_it(searched, monkeypatch, tmp_path):
    values = np.array([[1.0, np.nan], [np.inf, 2.0]])
    trace = {"type": "scatter", "x": np.arange(2), "y": values[0], "text": np.array(["a", "b"]), "ids": (np.int64(1),)}
    monkeypatch.setitem(FIGURES, "strange", figure({"traces": [trace], "layout": {"meta": values}}))
    drawn = figures_of(searched.report(tmp_path / "page.html"))["plots"]["mine"]
    assert drawn["traces"] == [{"type": "scatter", "x": [0, 1], "y": [1.0, None], "text": ["a", "b"], "ids": [1]}]
    assert drawn["layout"]["meta"] == [[1.0, None], [None, 2.0]]
    assert searched.plot("mine").data[0].y.tolist()[0] == 1.0


@pytest.mark.parametrize("given", [Figure(lambda r, a: "", raises()), figure({"traces": 3})])
def test_a_figure_that_cannot_be_plotted_is_named(given, searched, monkeypatch):
    monkeypatch.setitem(FIGURES, "strange", given)
    with pytest.raises(ValueError, match="the figure strange") as error:
        searched.plot("mine")
    one_line(error)
    assert len(searched.plot("curves").data)
