"""In a notebook and in research code: what is shown, plotted, interrupted, and gone on with."""

import asyncio
import html
import importlib.util
import os
import re
import textwrap
from concurrent.futures import Future

import nbformat
import numpy as np
import pytest
from conftest import soaked
from flax import nnx
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import popjax as pj
from popjax.engine.backends.renewable_executor import Traits

SPACE = pj.Space(
    learning_rate=pj.log_uniform(1e-3, 0.3),
    depth=pj.integers(1, 3),
    hidden=pj.log_integers(3, 40),
    hidden_3=pj.integers(3, 9).when(depth=3),
    batch_size=pj.choice(8, 16),
)


@pytest.fixture(scope="module")
def results():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    return pj.search(pj.supervised((x, x[:, 0] > x[:, 1])), SPACE, trials=12, epochs=4, rank=pj.best(keep=12))


@pytest.mark.parametrize(
    "settings",
    soaked([{"folds": 2}, {}, *({"backend": pj.Local(plan=plan)} for plan in ("one", "widths", "buckets"))]),
    ids=str,
)
def test_a_trained_trial_goes_on_as_the_search_would_have(rows, settings, tmp_path):
    """Bit for bit, from memory and from the disk, also where the search had programs of its own for it."""
    task = pj.supervised(rows)
    short = pj.search(task, SPACE, trials=8, epochs=2, rank=pj.best(keep=8), out=tmp_path / "run", **settings)
    long = pj.search(task, SPACE, trials=8, epochs=5, **settings)
    best = int(short.best.trial)
    for trial in {0, best}:
        session = pj.Session.of(short, trial)
        assert session.epoch == 2
        assert session.hparams.items() >= short.hparams(trial).items()
        session.train(3)
        for name, curve in long.curves.items():
            assert session.curves[name].tolist() == curve[trial].tolist(), (settings, trial, name)
    loaded = pj.Results.load(tmp_path / "run")
    with pytest.raises(ValueError, match="the results were loaded, so give the task"):
        pj.Session.of(loaded, best)
    session = pj.Session.of(loaded, best, task)
    session.train(3)
    session.back(2)
    assert session.curves["val_loss"].tolist() == long.curves["val_loss"][best, :3].tolist()


def test_a_trial_that_was_not_kept_is_no_session(results):
    with pytest.raises(ValueError, match="trial 99 was not kept"):
        pj.Session.of(results, 99)


def test_top_and_predict_and_a_page_of_its_own(results, tmp_path):
    top = results.top(3)
    assert top["trial"].tolist() == results.order[:3].tolist()
    assert top["rank"].tolist() == [1, 2, 3]
    x = np.random.default_rng(1).normal(size=(9, 5))
    assert results.predict(x).tolist() == results.predictor().predict(x).tolist()
    path = results.report(tmp_path / "page.html")
    assert f"Winner: <b>trial {results.best.trial}</b>" in path.read_text()


def test_top_without_pandas_is_a_table(results, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "pandas" else found(name, *rest)
    )
    assert results.top(2)["trial"].to_pylist() == results.order[:2].tolist()


def test_the_figures_are_plotlys(results):
    """By name: the winner's curve is its curve, a panel has a point a trial, another name is refused."""
    figure = results.plot()
    winner = next(trace for trace in figure.data if trace.name == "winner")
    curve = results.curves["val_accuracy"][results.best.trial]
    assert list(winner.x[:4]) == [1, 2, 3, 4]
    np.testing.assert_allclose(np.array(winner.y[:4], float), curve, rtol=1e-4)
    losses = next(trace for trace in results.plot("val_loss").data if trace.name == "winner")
    np.testing.assert_allclose(np.array(losses.y[:4], float), results.curves["val_loss"][results.best.trial], rtol=1e-4)
    panel = results.plot("hidden_3").data[0]
    assert sum(x is not None for x in panel.x) == int((results.points["depth"] == 3).sum())
    assert len(results.plot("expected").data) == 1
    with pytest.raises(ValueError, match="there is no figure 'tree'; there are curves, train_loss"):
        results.plot("tree")
    x = np.random.default_rng(0).normal(size=(60, 2))
    values = pj.search(pj.supervised((x, x[:, 0])), {"learning_rate": 0.1}, trials=1, epochs=2)
    test = values.task.in_folds(1).split.test
    points = values.plot("predicted").data[1]
    np.testing.assert_allclose([points.x, points.y], [x[test, 0], values.predict(x[test])], rtol=1e-4, atol=1e-5)


def test_what_is_shown_is_small_and_escaped(results):
    """No dump of arrays; texts of a stranger's columns stay texts."""
    shown = {
        "results": results._repr_html_(),
        "space": SPACE._repr_html_(),
        "predictor": results.predictor()._repr_html_(),
        "ensemble": pj.ensemble(results, size=7)._repr_html_(),
        "session": pj.Session.of(results, 0)._repr_html_(),
        "task": results.task._repr_html_(),
    }
    assert max(map(len, shown.values())) < 3000
    assert f"winner: trial {results.best.trial}" in shown["results"]
    assert shown["results"].count("<tr>") == 6
    assert "<td>hidden_3</td><td>integers(3, 9)</td><td>depth=3</td>" in shown["space"]
    assert "Predictor of 2 classes by trial" in shown["predictor"]
    assert "by 7 trials (" in shown["ensemble"]
    assert ", ...)" in shown["ensemble"]
    assert "..." not in pj.ensemble(results, size=3)._repr_html_()
    assert "1 model after 4 epochs" in shown["session"]
    several = pj.Session(results.task, {"learning_rate": [1e-4, 0.1], "depth": 1})
    several.train(2)
    ends = several.curves["val_accuracy"][:, -1]
    assert f"the best is {ends.argmax()}, val_accuracy {ends.max():.4g}" in several._repr_html_()
    assert "; the largest class " in shown["results"]
    assert "ranked by val_accuracy, max" in shown["task"]
    hostile = pj.Space(x=pj.choice("<b>&", "y"))
    assert html.escape("choice('<b>&', 'y')") in hostile._repr_html_()
    assert "<b>" not in hostile._repr_html_()
    lost = pj.search(pj.objective(lambda key, h: {"loss": h["x"] / 0}), {"x": 1.0}, trials=2)
    assert "no winner" in lost._repr_html_()


def test_minutes_that_end_without_a_winner_say_so(capsys):
    results = pj.search(pj.supervised("wine"), trials=8, epochs=1_000_000, minutes=1e-6)
    assert results.best is None
    assert f"popjax: {results.no_winner}; results.best is None" in capsys.readouterr().err
    assert "no trial has finished an epoch" in results.no_winner


class Loses:
    """Takes no work after the first epoch."""

    traits = Traits(seconds=1e-9)  # units of one member and epoch each

    def submit(self, fn, *args):
        if args[0].epoch:
            raise OSError("no room for it")
        future = Future()
        future.set_result(fn(*args))
        return future


def test_a_search_without_a_winner_shows_the_best_so_far():
    """Not that all diverged: none did. What needs a winner says in a line why there is none."""
    task, backend = pj.supervised("wine"), pj.Remote(Loses(), retries=1)
    results = pj.search(task, {"learning_rate": pj.log_uniform(1e-3, 1)}, trials=12, epochs=50, backend=backend)
    assert results.best is None
    stopped, lost = int(results.stopped.sum()), int(results.diverged.sum())
    why = f"no trial was trained to the end: {stopped} were stopped before it, {lost} diverged"
    assert why in repr(results)
    assert why in results._repr_html_()
    last = [
        (-values[np.isfinite(values)][-1], t)
        for t, values in enumerate(results.curves["val_accuracy"])
        if np.isfinite(values).any()
    ]
    ties = results.values["val_loss"]
    best = sorted(last, key=lambda pair: (pair[0], ties[pair[1]]))[:3]
    assert results.top(3)["trial"].tolist() == [trial for _, trial in best]
    assert len(results.plot("curves").data) > 0
    for act in (lambda: results.predict(np.zeros((1, 13))), lambda: results.plot("expected")):
        with pytest.raises(ValueError, match=why):
            act()
    with pytest.raises(ValueError, match=r"no trial was trained to the end without diverging.*; train longer"):
        pj.refine(results.space, results)
    with pytest.raises(ValueError, match=r"trial 0 was not kept .*; it was stopped, and only a search with out="):
        results.params(0)
    with pytest.raises(ValueError, match="top=-1: give a whole number of at least 1"):
        results.top(-1)


CELL = """
import builtins, os, signal, sys
if sys.argv[1] == "notebook":
    builtins.__IPYTHON__ = True
import popjax as pj
from popjax.data.dataset import built_in
class Interrupts(pj.Callback):
    def __init__(self, times):
        self.times = times
    def epoch(self, result):
        if self.times:
            self.times -= 1
            os.kill(os.getpid(), signal.SIGINT)
task = pj.supervised(built_in("wine"))
results = pj.search(task, {"learning_rate": pj.log_uniform(1e-3, 1)}, trials=40, epochs=50, out=sys.argv[1],
                    callbacks=[Interrupts(int(sys.argv[2]))])
print("results", results.stopped.any(), signal.getsignal(signal.SIGINT) is signal.default_int_handler)
again = pj.search(task, {"learning_rate": pj.log_uniform(1e-3, 1)}, trials=40, epochs=50, out=sys.argv[1], resume=True)
print("again", again.stopped.any(), len(again.order))
"""


@pytest.mark.kill
def test_an_interrupted_cell_gives_what_was_found(python):
    """And says how to go on, which works; a second interrupt is one; a script ends as it always did."""
    once = python(CELL, "notebook", 1)
    assert once.returncode == 0, once.stderr
    assert once.stdout.splitlines()[0] == "results True True"
    assert once.stdout.splitlines()[1].startswith("again False ")
    assert "stopping after this epoch, with the results so far; to resume, run the cell again" in once.stderr
    script = python(CELL, "script", 1)
    assert script.returncode != 0
    assert "KeyboardInterrupt" in script.stderr


CELLS = (
    """
    import numpy as np
    import popjax as pj
    from pathlib import Path
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    task = pj.supervised((x, x[:, 0] > x[:, 1]))
    space = {"learning_rate": pj.log_uniform(1e-3, 0.3), "hidden": 8}
    results = pj.search(task, space, trials=8, epochs=3, progress=True, out="first")
    results
    """,
    "results.top(3)",
    "results.plot()",
    """
    class Begun(pj.Callback):
        def epoch(self, result):
            Path("begun").touch()

    long = pj.search(
        task, {"learning_rate": 0.01, "hidden": 8}, trials=2, epochs=1_000_000, callbacks=[Begun()], out="run",
        progress=True
    )
    """,
    "print(long.summary['stopped'], 0 < int(long.done.max()) < 1_000_000)",
    """
    same = pj.search(task, space, trials=8, epochs=3, out="first", progress=True)
    print(same.order.tolist() == results.order.tolist(), same.summary["steps_run"])
    """,
    'pj.search(task, {"learning_rate": 0.5, "hidden": 8}, trials=8, epochs=3, out="first")',
)


@pytest.mark.notebook
def test_a_notebook_shows_is_interrupted_and_goes_on(tmp_path, environment):
    """In a real kernel: pages of HTML, a bar that moves in its place, an interrupt that gives what was found."""

    async def run():
        async with client.async_setup_kernel(env={**os.environ, **environment}):
            for index, cell in enumerate(notebook.cells[:3]):
                await client.async_execute_cell(cell, index)
            running = asyncio.ensure_future(client.async_execute_cell(notebook.cells[3], 3))
            while not (tmp_path / "begun").exists():
                assert not running.done(), running.result()
                await asyncio.sleep(0.05)
            await client.km.interrupt_kernel()
            await running
            await client.async_execute_cell(notebook.cells[4], 4)
            await client.async_execute_cell(notebook.cells[5], 5)
            with pytest.raises(CellExecutionError, match="learning_rate"):
                await client.async_execute_cell(notebook.cells[6], 6)

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(code)) for code in CELLS])
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    asyncio.run(run())
    first, top, figure, stopped, partial, again, _ = (
        [dict(output) for output in cell.outputs] for cell in notebook.cells
    )
    bar, shown = (output["data"]["text/html"] for output in first)  # and no warning of Optuna's
    assert re.fullmatch(r'<progress value="24" max="24"></progress> 100%, best now [\d.]+, 0 s left', bar)
    assert "8 trials" in shown
    assert len(shown) < 5000
    assert "<table" in top[0]["data"]["text/html"]
    assert "application/vnd.plotly.v1+json" in figure[0]["data"]
    assert "stopping after this epoch, with the results so far; to resume, run the cell again" in str(stopped)
    (left,) = [output["data"]["text/html"] for output in stopped if "data" in output and "text/html" in output["data"]]
    assert re.fullmatch(r"stopped at \d+%, best now [\d.]+", left)
    assert partial[0]["text"] == "2 True\n"
    assert "'first' holds a run: resuming it" in again[0]["text"]
    assert again[1]["text"] == "True 0\n"  # and no bar, which would stay at "compiling"
    assert len(again) == 2


REDEFINED = """
import builtins, sys
builtins.__IPYTHON__ = True
import popjax as pj
shift = float(sys.argv[1])
def loss(key, hparams):
    return {"loss": (hparams["x"] - shift) ** 2}
results = pj.search(pj.objective(loss), {"x": pj.uniform(-1, 1)}, trials=int(sys.argv[2]), out="run",
                    resume=len(sys.argv) > 3)
print(results.summary["warnings"])
"""


def test_a_cell_whose_code_was_changed_does_not_go_on_with_what_the_old_code_found(python):
    """A function by the same name is another one; an explicit resume=True says so."""
    assert python(REDEFINED, 0, 8).stdout == "[]\n"
    again = python(REDEFINED, 0, 12)
    assert (again.stdout, again.returncode) == ("[]\n", 0)
    assert "'run' holds a run: resuming it" in again.stderr
    changed = python(REDEFINED, 1, 12)
    assert changed.returncode == 1
    assert "ValueError: 'run' cannot be resumed: the code of the task was changed since" in changed.stderr
    assert "going on" not in changed.stderr
    asked = python(REDEFINED, 1, 16, "resume")
    assert asked.stdout == "['the code of the task was changed since: trials of both rank together']\n"
    assert "popjax: the code of the task was changed since" in asked.stderr


MINE = """
import sys
import numpy as np
import popjax as pj
from popjax.tuning.proposals import LEARNING
{above}
def stop_after(n):
    def make(problem):
        def step(state, trials):
            if not state:
                until = dict.fromkeys(range(problem.trials), n)
                return 1, pj.Decision(add=problem.propose(problem.trials), until=until)
            best = np.argsort(trials.loss)[:KEPT] if state == 1 else []
            return 2, pj.Decision(until={{int(trial): problem.epochs for trial in best}})
        return pj.Scheduler(lambda: 0, step)
    return make
def middle(seed, n, trials, space, epochs):
    return {{"x": np.full(n, HALF)}}
HALF, KEPT, LEARNING["middle"] = {half}, {kept}, middle
task = pj.Task(lambda key, hparams, data: hparams["x"], lambda x, hparams, data: (x, {{"loss": x}}), ())
given = {{"scheduler": stop_after({n})}} if sys.argv[1] == "scheduler" else {{"sampler": "middle"}}
results = pj.search(task, {{"x": pj.uniform(0, 1)}}, trials=6, epochs=6, out=sys.argv[1], resume=True, **given)
print(results.summary["warnings"])
"""


@pytest.mark.parametrize(
    ("what", "other"), [("scheduler", {"n": 3}), ("scheduler", {"kept": 3}), ("sampler", {"half": 0.25})]
)
def test_a_changed_scheduler_or_sampler_of_the_same_name_is_said(python, what, other):
    """Its code, and what it closes over or reads of its module; lines that moved are no change."""
    same = {"n": 2, "kept": 2, "half": 0.5, "above": ""}
    for code in (same, same | {"above": "# a line more"}):
        assert python(MINE.format(**code), what).stdout == "[]\n"
    changed = python(MINE.format(**same | other), what)
    assert changed.stdout == f"['the code of the {what} was changed since: trials of both rank together']\n"
    assert f"popjax: the code of the {what} was changed since" in changed.stderr


def test_another_task_than_that_of_the_run_is_not_gone_on_with(tmp_path):
    """Rows, optimizer, or code: a session and a replay of loaded results name what differs."""

    def net(factor):
        class Net(nnx.Module):
            def __init__(self, rngs):
                self.out = nnx.Linear(13, 3, rngs=rngs)

            def __call__(self, x):
                return factor * self.out(x)

        return lambda hparams, rngs: Net(rngs)

    space, model = {"learning_rate": pj.log_uniform(0.01, 0.1)}, net(1.0)
    pj.search(pj.supervised("wine", model), space, trials=2, epochs=2, out=tmp_path / "run")
    loaded = pj.Results.load(tmp_path / "run")
    best, again = loaded.best.trial, pj.supervised("wine", net(1.0))
    assert pj.replay(loaded, best, again)["val_loss"].tobytes() == loaded.curves["val_loss"][best].tobytes()
    others = {
        "split differs": pj.supervised("wine", model, seed=1),
        "optimizer was sgd, now adam": pj.supervised("wine", model, optimizer="adam"),
        "its code differs": pj.supervised("wine", net(2.0)),
    }
    for says, other in others.items():
        for act in (pj.replay, lambda results, trial, task: pj.Session.of(results, trial, task)):
            with pytest.raises(ValueError, match=f"this is not the task of the run: .*{says}"):
                act(loaded, best, other)
