"""What a score on the test rows is worth stands beside it: a constant's, a linear model's, and how sure it is."""

import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info

import popjax as pj
from popjax.core.imports import import_all, wait_for_imports
from popjax.pages.headline import better_baseline, compared
from popjax.supervision import baselines
from popjax.tuning.callbacks.beside import Beside

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4))
RARE = (RNG.random(400) < 0.02).astype(int)
VALUES = X[:, 0] * 3 + X[:, 1] ** 2 + 7
SPACE = {"learning_rate": 0.05, "hidden": 8}


def test_rare_classes_no_longer_look_like_success():
    """The share of the largest class among the rows that test, by hand."""
    task = pj.supervised((X, RARE))
    results = pj.search(task, SPACE, trials=2, epochs=2)
    test = task.in_folds(1).split.test
    largest = (RARE[test] == 0).mean()
    assert results.summary["constant"]["test_accuracy"] == largest > 0.9
    assert f"the largest class {largest:.4f}" in compared(results)
    share = results.summary["test"]["test_accuracy"]
    exact = stats.binomtest(round(share * len(test)), len(test)).proportion_ci(method="wilson")
    assert results.summary["test_interval"] == pytest.approx([exact.low, exact.high], abs=1e-6)
    assert f"between {exact.low:.4f} and {exact.high:.4f} with 95% confidence" in compared(results)


def test_the_interval_of_an_accuracy_is_one_of_shares():
    for count in range(1, 300):
        assert 0 == baselines.wilson(0.0, count)[0] <= baselines.wilson(0.0, count)[1] <= 1
        assert 0 <= baselines.wilson(1.0, count)[0] <= baselines.wilson(1.0, count)[1] <= 1


@pytest.mark.parametrize("metric", ["val_mse", "val_mae"])
def test_a_regression_is_compared_with_the_mean_and_its_error_resampled(metric):
    task = pj.supervised((X, VALUES))
    results = pj.search(task, SPACE, trials=2, epochs=3, rank=metric)
    test = task.in_folds(1).split.test
    others = np.delete(VALUES, test)
    assert results.summary["constant"]["test_mse"] == pytest.approx(((VALUES[test] - others.mean()) ** 2).mean())
    errors = np.abs(results.predictor().predict(X[test]) - VALUES[test])
    values = errors**2 if metric == "val_mse" else errors
    found = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    width = found.high - found.low
    assert results.summary["test_interval"] == pytest.approx([found.low, found.high], abs=0.1 * width)
    assert "the mean " in compared(results)
    assert f"R² {results.summary['test']['test_r2']:.4g}" in compared(results)


def test_with_folds_and_repeats_the_interval_is_of_the_score():
    """Which is the mean of the models' errors, not the error of their mean, which is less."""
    noise = np.random.default_rng(0).normal(size=400)
    task = pj.supervised((X, noise), test=0.5)
    space = {"learning_rate": 0.03, "hidden": 100, "momentum": 0.9, "batch_size": 16}
    results = pj.search(task, space, trials=1, epochs=30, folds=4, repeats=3)
    test = task.in_folds(4).split.test
    each = results.predictor().each_of(X[test])
    errors = ((each - noise[test]) ** 2).mean(0)
    assert results.summary["test_value"] == pytest.approx(errors.mean(), rel=1e-4)
    low, high = results.summary["test_interval"]
    assert (low + high) / 2 == pytest.approx(errors.mean(), abs=0.1 * (high - low))
    assert each.mean(0) == pytest.approx(results.predictor().predict(X[test]), abs=1e-9)


@pytest.mark.parametrize(
    ("how", "dependent"), [({"groups": np.arange(400) // 8}, True), ({"shuffle": False}, True), ({}, False)]
)
def test_an_interval_of_rows_that_belong_together_is_said_to_take_them_apart(how, dependent, tmp_path):
    """In the command's line, and so on the page, which is drawn from what is written."""
    results = pj.search(pj.supervised((X, VALUES), **how), SPACE, trials=2, epochs=2, out=tmp_path / "run")
    for known in (results, pj.Results.load(tmp_path / "run")):
        assert ("with 95% confidence, were the rows independent; the mean" in compared(known)) == dependent
    assert ("were the rows independent" in (tmp_path / "run" / "report.html").read_text()) == dependent


@pytest.mark.parametrize("y", [RARE, VALUES, (X[:, 0] + X[:, 2] > 0).astype(int)], ids=["rare", "values", "classes"])
def test_the_linear_model_is_scikit_learns_on_the_same_rows(y):
    task = pj.supervised((X, y))
    test = task.in_folds(1).split.test
    found = baselines.linear_scores(task, test)
    others = np.delete(np.arange(400), test)
    scaler = StandardScaler().fit(X[others])
    model = LogisticRegression(max_iter=1000) if y.dtype.kind == "i" else RidgeCV(alphas=np.logspace(-3, 3, 13))
    model.fit(scaler.transform(X[others]), y[others])
    name = "accuracy" if y.dtype.kind == "i" else "r2"
    assert found[name] == pytest.approx(model.score(scaler.transform(X[test]), y[test]), abs=1e-9)


HALF = """
import sys, numpy as np, popjax as pj
from popjax.supervision import baselines
seen = []
baselines.linear_scores = lambda task, rows: seen.append(hasattr(sys.modules.get("pyarrow"), "Table")) or {}
from popjax.tuning.callbacks.beside import Beside
beside = Beside(pj.supervised((np.eye(90, 5), np.arange(90) % 3)).beside(), {})
assert "pyarrow" not in sys.modules
beside.fit()
print(seen)
"""


@pytest.mark.soak
def test_the_linear_model_never_meets_half_of_pyarrow():
    """Which another thread may be importing: scikit-learn looks for its Table wherever the module is known."""
    process = subprocess.run([sys.executable, "-c", HALF], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stdout == "[True]\n"


def test_modules_are_imported_one_after_the_other_in_the_background(tmp_path, monkeypatch):
    """Of two threads that import parts of SciPy at once, one sees half a module."""
    names = ("slow_one", "slow_other")
    for name in names:
        code = "import time\nbegin = time.monotonic()\ntime.sleep(0.2)\nend = time.monotonic()\n"
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    threads = [threading.Thread(target=import_all, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    while not (begun := [name for name in names if hasattr(sys.modules.get(name), "begin")]):
        time.sleep(0.001)
    wait_for_imports()
    assert hasattr(sys.modules[begun[0]], "end")
    for thread in threads:
        thread.join()
    first, last = sorted((sys.modules[name].begin, sys.modules[name].end) for name in names)
    assert first[1] <= last[0]


def test_no_search_waits_for_the_linear_model(monkeypatch):
    """One that is ready in time is told; of one that is not, nothing."""
    task = pj.supervised((X, RARE))
    monkeypatch.setattr("popjax.tuning.callbacks.beside.PAUSE", 0.0)

    class Waits(pj.Callback):
        def end(self, results):
            ready.wait(60)

    ready = threading.Event()
    monkeypatch.setattr(baselines, "linear_scores", lambda task, rows: (ready.set(), {"accuracy": 0.5})[1])
    told = Beside(task.beside(), {})
    fit = told.fit
    told.fit = lambda: (fit(), ready.set())
    results = pj.search(task, SPACE, trials=2, epochs=2, callbacks=[Waits(), told])
    assert results.summary["linear"] == {"test_accuracy": 0.5}
    assert "a linear model 0.5000" in compared(results)

    never = threading.Event()
    monkeypatch.setattr(baselines, "linear_scores", lambda task, rows: (never.wait(60), {})[1])
    late = Beside(task.beside(), {})
    results = pj.search(task, SPACE, trials=2, epochs=2, callbacks=[late])
    assert "linear" not in results.summary
    never.set()


def test_a_search_with_a_directory_fits_it_for_its_page(tmp_path, monkeypatch):
    """As the command does; one that writes no page takes no time for it."""
    monkeypatch.setattr("popjax.tuning.callbacks.beside.PAUSE", 0.0)
    ready, fits, fit, linear = threading.Event(), [], Beside.fit, baselines.linear_scores
    begun, begin = [], Beside.begin
    monkeypatch.setattr(Beside, "begin", lambda self, run: (begin(self, run), begun.append(self.thread))[1])
    monkeypatch.setattr(Beside, "fit", lambda self: (fit(self), ready.set()))
    monkeypatch.setattr(baselines, "linear_scores", lambda task, rows: (fits.append(rows), linear(task, rows))[1])

    class Waits(pj.Callback):
        def end(self, results):
            ready.wait(60)

    task = pj.supervised((X, RARE))
    results = pj.search(task, SPACE, trials=2, epochs=2, callbacks=[Waits()], out=tmp_path / "run")
    test = task.in_folds(1).split.test
    scores = linear(task, test)
    assert results.summary["linear"] == baselines.on_test(scores)
    assert f"a linear model {scores['accuracy']:.4f}" in (tmp_path / "run" / "report.html").read_text()
    again = pj.search(task, SPACE, trials=2, epochs=2, out=tmp_path / "run", resume=True)
    assert again.summary["linear"] == results.summary["linear"]
    assert [thread is not None for thread in begun] == [True, False]
    assert len(fits) == 1
    begun.clear()
    assert "linear" not in pj.search(task, SPACE, trials=2, epochs=2).summary
    assert not any(begun)


def test_a_fit_that_fails_is_said_while_it_is_waited_for(capsys, monkeypatch):
    """Once the search is over it may fail as Python ends, which is not reported."""

    def fails(task, rows):
        raise RuntimeError("can't register atexit after shutdown")

    monkeypatch.setattr(baselines, "linear_scores", fails)
    linear = Beside(pj.supervised((X, RARE)).beside(), {})
    linear.fit()
    assert "popjax: the linear model failed (RuntimeError: can't register atexit" in capsys.readouterr().err
    linear.close()
    linear.fit()
    assert capsys.readouterr().err == ""


def test_large_data_and_tasks_of_ones_own_have_none(monkeypatch):
    task = pj.supervised((X, RARE))
    monkeypatch.setattr(baselines, "LARGEST", 100)
    linear = Beside(task.beside(), {})
    results = pj.search(task, SPACE, trials=2, epochs=1, callbacks=[linear])
    assert linear.thread is None
    assert "linear" not in results.summary
    own = pj.search(pj.objective(lambda key, hparams: {"loss": hparams["x"]}), {"x": 1.0}, trials=1)
    assert compared(own) == ""


@pytest.mark.parametrize(("classes", "fitted"), [(250, False), (2, True)])
def test_names_of_rows_have_no_linear_model(classes, fitted):
    """scikit-learn would warn of them, in the middle of what the search prints."""
    task = pj.supervised((X, np.arange(400) % classes), kind="classification")
    linear = Beside(task.beside(), {})
    pj.search(task, SPACE, trials=2, epochs=1, callbacks=[linear])
    assert (linear.thread is not None) == fitted


def test_the_command_and_the_page_say_it(command, tmp_path):
    done = command("sweep", "--dataset", "wine", "--trials", 6, "--epochs", 2, "--set", "hidden=8", "--out", "run")
    assert done.returncode == 0, done.stderr
    results = pj.Results.load(tmp_path / "run")
    line = compared(results)
    assert "the largest class 0." in line
    assert line in done.stdout.splitlines()
    assert line in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("folds", [1, 3])
def test_what_a_column_is_worth_is_the_rise_of_the_error_where_its_cells_are_permuted(tmp_path, folds):
    """By hand: the models of a fold, on the rows that it validates, column by column, in the order of the permutations.

    One column is a text, one says nothing; the greatest comes first.
    """
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(X, columns=["strong", "weak", "nothing", "gone"]).drop(columns="gone")
    frame["text"] = rng.choice(["low", "high"], len(X))
    values = 3 * frame["strong"] + 0.5 * frame["weak"] + (frame["text"] == "high")
    task = pj.supervised((frame, values.to_numpy()), "mlp", "adamw", kind="regression", validation=0.2)
    results = pj.search(task, {"learning_rate": 0.02, "hidden": 16}, trials=2, epochs=20, folds=folds, out=tmp_path)
    winner, task = results.predictor(), task.in_folds(folds)
    draws, rises = np.random.default_rng(0), np.zeros((folds, 4))
    for fold, rows in enumerate(task.split.validation):
        x, y = task.dataset.x[rows], task.dataset.y[rows]
        loss = lambda x, fold=fold, y=y: ((winner.of_fold(x, fold)[0] - y) ** 2).mean()
        for column in range(4):
            changed = [np.array(x) for _ in range(3)]
            for one in changed:
                one[:, column] = draws.permutation(x[:, column])
            rises[fold, column] = np.mean([loss(one) for one in changed]) - loss(x)
    found = results.summary["columns"]
    expected = dict(zip(["strong", "weak", "nothing", "text"], rises.mean(0), strict=True))
    assert found == {name: pytest.approx(expected[name], rel=1e-4, abs=1e-6) for name in expected}
    assert list(found) == sorted(found, key=found.get, reverse=True)
    assert next(iter(found)) == "strong"
    assert abs(found["nothing"]) < 0.1 * found["text"]
    page = (tmp_path / "report.html").read_text()
    assert "What the columns are worth" in page
    assert page.index("<td>strong</td>") < page.index("<td>text</td>")


def test_what_is_no_table_of_ones_own_or_too_wide_says_nothing_of_columns(tmp_path):
    wide = RNG.normal(size=(250, 1000))
    small, large = pj.supervised((X[:90], VALUES[:90])), pj.supervised((wide, wide[:, 0]), validation=0.2)
    for at, task in enumerate([pj.supervised("digits"), small, large]):
        results = pj.search(task, SPACE, trials=1, epochs=1, out=tmp_path / str(at))
        assert "columns" not in results.summary
        assert ("trees" in results.summary) == (task is large)


def test_trees_are_fitted_by_one_thread(monkeypatch):
    """Several wait for each other for minutes where other processes are at work."""
    threads = []

    def trees(kind, x, y, texts):
        threads.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp")

    rows = np.random.default_rng(0).normal(size=(300, 3))
    task = pj.supervised((rows, rows[:, 0] > 0))
    monkeypatch.setattr(type(task.fit.kind), "trees", trees)
    assert baselines.trees_scores(task, task.split.test) == {}
    assert threads
    assert set(threads) == {1}


def test_a_class_of_one_row_has_no_trees_and_a_baseline_that_fails_costs_nothing(tmp_path, monkeypatch, capsys):
    """The run is written, and what failed is said."""
    labels = np.array(["usual", "other"])[RARE]
    labels[7] = "single"
    task = pj.supervised((X, labels))
    rows = np.setdiff1d(task.split.test, [7])
    assert baselines.trees_scores(task, rows) == {}
    monkeypatch.setattr("sklearn.ensemble.HistGradientBoostingRegressor.fit", lambda *_: 1 / 0)
    own = pj.supervised((X, VALUES), validation=0.2)
    results = pj.search(own, SPACE, trials=1, epochs=1, out=tmp_path)
    assert "trees" not in results.summary
    assert "columns" in pj.Results.load(tmp_path).summary
    assert "popjax: boosted trees failed (ZeroDivisionError: division by zero)" in capsys.readouterr().err


def test_an_interval_of_many_rows_is_that_of_all_at_once(monkeypatch):
    """Bit for bit: resamples in parts, for whose row numbers there is memory."""
    values = np.random.default_rng(1).normal(size=501)
    whole = baselines.bootstrap(values)
    monkeypatch.setattr("popjax.supervision.baselines.DRAWN", 7 * 501)
    assert baselines.bootstrap(values) == whole


@pytest.mark.parametrize(
    ("rows", "network", "trees", "better"),
    [(30, 29, 30, False), (30, 24, 30, True), (1000, 967, 1000, True), (1000, 967, 975, False), (30, 30, 30, False)],
)
def test_a_baseline_is_named_if_it_is_better_by_more_than_chance(rows, network, trees, better):
    """A perfect one lies beyond every interval that does not reach 1: 30 of 30 are no better than 29."""
    summary = {"rows": {"test": rows}, "test": {"test_accuracy": network / rows}}
    summary |= {"test_interval": baselines.wilson(network / rows, rows), "trees": {"test_accuracy": trees / rows}}
    values = {"val_accuracy": np.full((1, 1, 1, 2), 0.5)}
    results = pj.Results({"x": np.ones(1)}, values, pj.Rule("val_accuracy"), summary=summary)
    assert better_baseline(results) == ["boosted trees do better here than the network: use that"] * better
