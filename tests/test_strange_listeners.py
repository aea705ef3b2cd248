"""Callbacks, trackers, executors and figures of a stranger: what is wrong in one is said where it enters, in one line.

Inner modules: what the author of a tracker, an executor or a figure imports.
"""

import json
import threading
from concurrent.futures import Future

import numpy as np
import pytest
from conftest import refused
from strangers import FAILED, OBJECTIVE, QUADRATIC, SPACE, raises

import popjax as pj
from popjax.engine.backends.renewable_executor import Traits
from popjax.engine.backends.work import Done
from popjax.pages.figures.figure import Figure
from popjax.tracking.apart import Apart
from popjax.tracking.named_trackers import tracker_of
from popjax.tracking.tracker import Tracker, Writer


def said(text, *names):
    """One line is told, which begins with "popjax:" and has these names."""
    (line,) = text.splitlines()
    assert line.startswith("popjax: ")
    assert [name for name in names if name not in line] == [], line


# Callbacks and trackers


def callback(**wrong):
    return type("Wrong", (pj.Callback,), wrong)()


CALLBACKS = {
    "behind on_": ({"on_epoch": lambda self, result: None}, "on_epoch is no name", "mean epoch"),
    "misspelt": ({"ends": lambda self, results: None}, "ends is no name", "did you mean end"),
    "misspelt value": ({"esential": True}, "esential is no name", "did you mean essential"),
    "arguments": ({"epoch": lambda self: None}, "epoch cannot be called with (self, result)"),
    "no method": ({"epoch": 3}, "epoch is a int", "write a method"),
    "nothing heard": ({"after_training": lambda self: None}, "has no method that is called", "wri"),
}


@pytest.mark.parametrize("name", CALLBACKS)
@pytest.mark.parametrize("progress", [False, True])
def test_a_wrong_callback(name, progress):
    given, *names = CALLBACKS[name]
    how = {"progress": callback(**given)} if progress else {"callbacks": [callback(**given)]}
    with refused("the callback Wrong", *names):
        pj.search(OBJECTIVE, SPACE, trials=4, **how)


@pytest.mark.parametrize("method", ["begin", "epoch", "decision", "end", "close"])
def test_a_callback_that_fails_is_named_with_its_line(method, capsys):
    """Once, and the run goes on."""
    results = pj.search(QUADRATIC, SPACE, trials=4, epochs=3, callbacks=[callback(**{method: raises()})])
    assert results.best is not None
    said(capsys.readouterr().err, f"the callback Wrong: {method} ", *FAILED, "; the run goes on")


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
    "a class": (lambda: Right, "the tracker's writer is Right itself", "call it"),
    "no method": (lambda: object(), "the tracker object has no begin", "write it"),
    "misspelt": (lambda: writer(nows=lambda self, values, step: None), "Wrong: nows is no name", "mean now"),
    "behind on_": (lambda: writer(on_begin=lambda self: None), "Wrong: on_begin is no name", "mean begin"),
    "arguments": (lambda: writer(now=lambda self, values: None), "Wrong: now cannot be called with (self, val"),
    "no picklable class": (lambda: Apart(type(writer())), "Wrong cannot be sent", "define the class at the"),
    "no picklable setting": (lambda: Apart(Right, act=lambda: 0), "Right cannot be sent", "define the cl"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_wrong_tracker(name):
    make, *names = WRITERS[name]
    with refused(*names):
        Tracker(make())


@pytest.mark.parametrize(
    ("make", "names"), [(raises(), FAILED), (lambda top: 3, ("returned a int", "return a popjax"))]
)
def test_a_wrong_tracker_by_its_name(make, names, register):
    register("tracker", "strange", make)
    with refused("the tracker strange", *names):
        tracker_of("strange")


@pytest.mark.parametrize("method", ["begin", "now", "end", "close"])
def test_a_tracker_that_fails_is_named_with_its_line(method, capsys):
    pj.search(QUADRATIC, SPACE, trials=4, epochs=3, callbacks=[Tracker(writer(**{method: raises()}))])
    said(capsys.readouterr().err, "the tracker Wrong", *FAILED, "; the run goes on")


def test_a_tracker_that_exits_is_said_and_a_tracker_serves_one_search_after_the_other(capsys):
    """It is not waited for in vain, either."""
    pj.search(QUADRATIC, SPACE, trials=4, epochs=3, callbacks=[Tracker(writer(begin=raises(SystemExit)))])
    said(capsys.readouterr().err, "the tracker Wrong raised SystemExit: its own")
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


def emptied(self, fn, unit, *rest):
    """A worker that has never had the task, and does not get it."""
    return Here.submit(self, fn, unit._replace(task="0" * 64), None)


EXECUTED = {
    "arguments": (executor(submit=lambda self, fn: None)(), "Wrong: submit cannot be called with (fn, unit"),
    "makes nothing": (lambda: None, "the executor NoneType has no submit", "give what has submit"),
    "no shutdown": (executor(shutdown=None), "the executor Wrong has no shutdown", "give what has submit"),
    "a function of arguments": (lambda count: Here(), "the executor cannot be called with"),
    "raises": (raises(), "the executor raises.<locals>.fails", *FAILED),
    "no future": (executor(submit=lambda self, *args: 3)(), "Wrong: submit returned a int", "a conc"),
    "no answer": (executor(submit=lambda self, *args: Here.submit(self, lambda: None))(), "gave a NoneType", "call fn"),
    "traits": (executor(traits={"seconds": 3})(), "the executor Wrong: traits is a dict", "give a popjax"),
    "trait": (executor(trait=Traits())(), "trait is no name", "did you mean tra"),
    "the answer before": (Stale(), "a future of submit gave the answer for another unit of work"),
    "nothing trained": (answering(lambda done, unit: done._replace(epoch=unit.epoch)), "gave epoch 0 after epoch 0"),
    "the task left out": (executor(submit=emptied)(), "gave no epoch", "the worker lacks the last argument"),
}


@pytest.mark.parametrize("name", EXECUTED)
def test_a_wrong_executor(name):
    given, *names = EXECUTED[name]
    with refused(*names):
        pj.search(QUADRATIC, SPACE, trials=4, epochs=2, backend=given)


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


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"seconds": "2"}, {"keeps": 1}, {"patience": -1}])
def test_wrong_traits(wrong):
    ((name, value),) = wrong.items()
    with refused("traits: ", f"{name}={value!r}", "give "):
        Traits(**wrong)


def test_right_traits():
    assert Traits(np.float32(3), False, float("inf")).patience == float("inf")


def test_an_executor_that_refuses_all_work_is_named_with_its_line(caplog):
    results = pj.search(QUADRATIC, SPACE, trials=4, epochs=2, backend=executor(submit=raises())())
    assert results.best is None
    names = ("given up after 3 failed tries: the executor Wrong: submit ", *FAILED)
    assert [name for name in names if name not in caplog.text] == []


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

    with refused("the task cannot be sent to processes", "create such objects in its func"):
        pj.search(QUADRATIC._replace(epoch=epoch), SPACE, trials=2, epochs=2, backend=Here())


# Figures


def box(*names):
    return "<section>" + "".join(f'<div class="figure" id="{name}"></div>' for name in names) + "</section>"


def figure(drawing=None, name="mine", section=None):
    """A figure with one plot, in a box of its name."""
    drawing = {"traces": [{"type": "bar", "x": [1], "y": [2]}], "layout": {}} if drawing is None else drawing
    html = box(name) if section is None else section
    return Figure(lambda results, axes: html, lambda results, axes: {name: lambda: drawing})


def with_data(data):
    return Figure(lambda results, axes: box("x"), data=lambda results, axes: data)


def with_plots(plots):
    return Figure(lambda results, axes: box("x"), lambda results, axes: plots)


BOX, EMPTY = box("mine"), {"traces": [], "layout": {}}
FIGURES_GIVEN = {
    "another box": (figure(section=box("yours")), "its section has no box for 'mine'", "write <div"),
    "popjax's name": (figure(name="expected"), "the figure expected has the id 'expected', too", "another name"),
    "popjax's box": (figure(name="curves"), "the figure curves has the id 'curves', too", "another name"),
    "popjax's data": (with_data({"curves": 3}), "its data have 'curves'", "give plots"),
    "the page's own words": (with_data({"tree": EMPTY}), "its data have 'tree'", "report.js"),
    "section raises": (Figure(raises()), *FAILED),
    "no text": (Figure(lambda results, axes: None), "section returned a NoneType", "return HTML"),
    "plots raise": (Figure(lambda results, axes: BOX, raises()), *FAILED),
    "drawing raises": (with_plots({"x": raises()}), *FAILED),
    "an object": (figure({"traces": [{"x": object()}], "layout": {}}), "it draws a object", "numbers, texts, array"),
    "no Figure": (lambda results, axes: BOX, "its entry in FIGURES is <function", "give a popjax.pages.figures"),
    "nothing": (None, "its entry in FIGURES is None", "give a popjax"),
    "the page's id": (figure(name="metric"), "the page has the id 'metric', too", "another name"),
    "one id twice": (figure(section=box("mine", "mine")), "its section has the id 'mine', too", "another name"),
    "a box in a comment": (figure(section=f"<p><!-- {BOX} --></p>"), "its section has no box for 'mine'"),
    "an open comment": (figure(section=BOX + "<!-- open"), "in its section ", "is not closed", "close it"),
    "an open tag": (figure(section=BOX + "<div>"), "in its section <div> is not closed", "close it"),
    "an open attribute": (figure(section=BOX + '<b title="x>'), "in its section ", "is not closed", "close it"),
    "another's end": (figure(section=BOX + "</div>"), "in its section </div> closes no element", "close what"),
    "no layout": (figure({"traces": []}), "its plot 'mine' is {'traces': []}", "'layout': {"),
    "traces of numbers": (figure({"traces": [3], "layout": {}}), "its plot 'mine' is ", "return {'traces'"),
    "no function": (with_plots({"x": EMPTY}), "ValueError: plots returned ", "a dict, name -> function"),
}


@pytest.fixture(scope="module")
def searched():
    return pj.search(QUADRATIC, SPACE, trials=12, epochs=2)


def figures_of(page):
    """The data of a page's figures."""
    return json.loads(page.read_text().split('id="figures">')[1].split("</script>")[0])


@pytest.mark.parametrize("name", FIGURES_GIVEN)
def test_a_wrong_figure_costs_the_report_nothing_else(name, searched, register, tmp_path, capsys):
    """It is named on the page, too; all other figures are as without it."""
    given, *names = FIGURES_GIVEN[name]
    usual = figures_of(searched.report(tmp_path / "usual.html"))
    register("figure", "strange", given)
    page = searched.report(tmp_path / "page.html")
    said(capsys.readouterr().err, "the figure strange: ", *names, "; the page is written without it")
    assert "The figure strange" in page.read_text()
    assert figures_of(page) == usual


def test_a_figure_of_arrays_with_gaps_is_on_the_page_as_results_plot_has_it(searched, register, tmp_path):
    values = np.array([[1.0, np.nan], [np.inf, 2.0]])
    trace = {"type": "scatter", "x": np.arange(2), "y": values[0], "text": np.array(["a", "b"]), "ids": (np.int64(1),)}
    register("figure", "strange", figure({"traces": [trace], "layout": {"meta": values}}))
    drawn = figures_of(searched.report(tmp_path / "page.html"))["plots"]["mine"]
    assert drawn["traces"] == [{"type": "scatter", "x": [0, 1], "y": [1.0, None], "text": ["a", "b"], "ids": [1]}]
    assert drawn["layout"]["meta"] == [[1.0, None], [None, 2.0]]
    assert searched.plot("mine").data[0].y.tolist()[0] == 1.0


@pytest.mark.parametrize("given", [Figure(lambda r, a: "", raises()), figure({"traces": 3})])
def test_a_figure_that_cannot_be_plotted_is_named(given, searched, register):
    register("figure", "strange", given)
    with refused("the figure strange"):
        searched.plot("mine")
    assert len(searched.plot("curves").data)
