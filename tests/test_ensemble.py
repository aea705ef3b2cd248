"""Several trained trials predict together: as the mean by hand, from the disk too, chosen by validation rows alone."""

import json
import pickle
import re

import numpy as np
import pytest
from conftest import soaked
from sklearn.datasets import load_wine
from sklearn.metrics import balanced_accuracy_score, log_loss, mean_absolute_error, r2_score

import popjax as pj
from popjax.core.storage import Corrupt
from popjax.store.files import write_best
from popjax.supervision import stack
from popjax.supervision.ensemble import selected
from popjax.supervision.kinds.classification import Classification
from popjax.supervision.kinds.regression import Regression

SPACE = pj.Space(
    learning_rate=pj.log_uniform(3e-3, 3e-1),
    hidden=pj.integers(3, 6),
    depth=1,
    batch_size=pj.choice(8, 16),
    activation=pj.choice("relu", "tanh"),
)
TRIALS = 12


def regression(rows):
    x, _ = rows
    return x, 100 + 20 * np.sin(x[:, 0]) + x[:, 3]


@pytest.fixture(params=soaked(["classes", "regression"]))
def data(request, rows):
    return rows if request.param == "classes" else regression(rows)


def search(data, **settings):
    return pj.search(pj.supervised(data), SPACE, trials=TRIALS, epochs=4, **settings)


def by_hand(results, trial, x, fold, member):
    """The outputs of one model for raw rows, from its arrays in NumPy."""
    recipe, width = results.recipes[trial], int(results.points["hidden"][trial])
    arrays = {name: array[member].astype(float) for name, array in results.states[trial].items() if "params" in name}
    fitted = recipe["transforms"][fold]["fields"]
    z = (x - np.array(fitted["mean"])) / np.array(fitted["scale"])
    kernel, bias = arrays["params.hidden.0.kernel"][:, :width], arrays["params.hidden.0.bias"][:width]
    act = np.tanh if results.points["activation"][trial] == "tanh" else lambda a: np.maximum(a, 0)
    out = act(z @ kernel + bias) @ arrays["params.out.kernel"][:width] + arrays["params.out.bias"]
    if recipe["kind"]["kind"] == "regression":
        return out[:, 0] * recipe["y_scale"][fold] + recipe["y_mean"][fold]
    return np.exp(out) / np.exp(out).sum(1, keepdims=True)


@pytest.mark.parametrize(("folds", "repeats"), soaked([(3, 2), (1, 1)]))
def test_it_predicts_the_mean_by_hand(data, folds, repeats, tmp_path):
    """Of trials in two programs, over folds and repeats; the same from the disk."""
    results = search(data, folds=folds, repeats=repeats, rank=pj.together(), out=tmp_path / "run")
    x = data[0]
    trials = results.order[:9].tolist()
    assert len(set(results.points["activation"][trials])) == 2
    models = [(trial, fold, fold * repeats + r) for trial in trials for fold in range(folds) for r in range(repeats)]
    expected = np.mean([by_hand(results, trial, x, fold, member) for trial, fold, member in models], 0)
    together = pj.ensemble(results, size=9)
    assert together.trials == trials
    predicted = together.predict_proba(x) if expected.ndim == 2 else together.predict(x)
    np.testing.assert_allclose(predicted, expected, rtol=2e-4, atol=1e-5)
    if expected.ndim == 2:
        assert together.predict(x).tolist() == expected.argmax(1).tolist()
        assert together.score(x, data[1]) == (expected.argmax(1) == data[1]).mean()
    else:
        assert together.score(x, data[1]) == pytest.approx(r2_score(data[1], expected), abs=1e-3)
    whole, loaded = results.predictor(), pj.load_best(tmp_path / "run")
    assert (
        loaded.trials == whole.trials == results.order.tolist() == pj.Results.load(tmp_path / "run").predictor().trials
    )
    assert loaded.predict(x).tobytes() == whole.predict(x).tobytes()
    one = results.predictor(trials[3])
    assert one.trials == [trials[3]]
    assert not np.array_equal(one.mean_of(x[:9]), loaded.mean_of(x[:9]))


@pytest.mark.soak
def test_best_has_a_file_for_each_shape(rows, tmp_path):
    space = SPACE.replace(depth=pj.choice(1, 2))
    task = pj.supervised(rows)
    results = pj.search(
        task, space, trials=TRIALS, epochs=2, backend=pj.Local(plan="buckets"), rank=pj.together(), out=tmp_path / "run"
    )
    assert pj.load_best(tmp_path / "run").predict(rows[0]).tolist() == results.predictor().predict(rows[0]).tolist()
    files = sorted(path.name for path in (tmp_path / "run" / "best").iterdir())
    assert files == ["arrays.safetensors", "best.json", "ensemble-0.safetensors", "ensemble-1.safetensors"]
    path = tmp_path / "run" / "best" / "ensemble-1.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(Corrupt, match=r"ensemble-1\.safetensors.*not those that were written"):
        pj.load_best(tmp_path / "run")
    kept = results.kept(results.best.trial)
    write_best(tmp_path / "run", kept, results.best.value, [kept])
    files = sorted(path.name for path in (tmp_path / "run" / "best").iterdir())
    assert files == ["arrays.safetensors", "best.json", "ensemble-0.safetensors"], "nothing of an earlier end"


def test_its_score_is_that_of_its_predictions_on_the_test_rows(data):
    """And it is the score of the trials that were kept, where these are fewer."""
    results = search(data, rank=pj.best(keep=5), folds=2)
    known = results.summary["ensemble"]
    assert known["trials"] == results.order[:5].tolist()
    together = pj.ensemble(results, size=5)
    rows = results.task.in_folds(2).split.test
    targets = data[1][rows]
    if together.classes is None:
        assert known["test"]["test_mae"] == pytest.approx(mean_absolute_error(targets, together.predict(data[0][rows])))
    else:
        chances = together.predict_proba(data[0][rows])
        assert known["test"]["test_loss"] == pytest.approx(log_loss(targets, chances, labels=[0, 1, 2]))
    assert search(data).summary["ensemble"] is None


def test_metrics_are_scikit_learns(rows):
    rng = np.random.default_rng(0)
    chances, labels = rng.dirichlet(np.ones(4), 50), rng.integers(0, 4, 50)
    found = Classification(tuple("abcd")).scores(chances, labels)
    assert found["loss"] == pytest.approx(log_loss(labels, chances))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, chances.argmax(1)))
    values, targets = rng.normal(size=50), rng.normal(size=50)
    assert Regression().scores(values, targets)["r2"] == pytest.approx(r2_score(targets, values))


def test_permuting_the_test_labels_changes_no_choice(rows, tmp_path):
    x, y = regression(rows)  # of which the split does not depend on the targets
    test = pj.supervised((x, y)).in_folds(1).split.test
    other = y.copy()
    other[test] = np.roll(y[test], 1)
    stored = []
    for number, targets in enumerate((y, other)):
        results = search((x, targets), rank=pj.together(), out=tmp_path / str(number))
        best = json.loads((tmp_path / str(number) / "best" / "best.json").read_text())
        stored.append((best["order"], [program["sha256"] for program in best["ensemble"]], results.best.trial))
        assert len(results.summary["ensemble"]["trials"]) == len(results.order)
    assert stored[0] == stored[1]


def test_greedy_selection_is_a_plain_loop():
    """With replacement, by the log loss of the mean so far; a trial that is nothing but noise is never taken."""
    rng = np.random.default_rng(1)
    targets = rng.integers(0, 3, 60)
    good = np.stack([np.eye(3)[targets] * weight + (1 - weight) / 3 for weight in (0.4, 0.7, 0.6)])
    predicted = np.concatenate([good, rng.dirichlet(np.ones(3), (1, 60))])
    total, expected = np.zeros((60, 3)), []
    for step in range(1, 6):
        losses = [log_loss(targets, (total + one) / step) for one in predicted]
        expected.append(int(np.argmin(losses)))
        total += predicted[expected[-1]]
    assert selected(predicted, targets, 5, Classification(("a", "b", "c")).row_losses) == expected
    assert 3 not in expected


def test_greedy_takes_the_kept_trials_by_rows_that_they_did_not_train_on(rows):
    """Over folds each model is judged on its own validation rows; how often a trial is taken is its weight."""
    results = search(rows, rank=pj.best(keep=6), folds=3)
    together = pj.ensemble(results, size=10, method="greedy")
    assert sum(together.weights) == 10
    assert set(together.trials) <= set(results.order[:6].tolist())
    parts, x, y = results.task.in_folds(3).split, *rows
    held = [[by_hand(results, t, x[part], f, f) for f, part in enumerate(parts.validation)] for t in results.order[:6]]
    targets = np.concatenate([y[part] for part in parts.validation])
    chosen = selected(np.stack([np.concatenate(one) for one in held]), targets, 10, results.task.fit.kind.row_losses)
    counts = np.bincount(chosen, minlength=6)
    assert together.weights == tuple(counts[counts > 0])
    expected = sum(
        n * np.mean([by_hand(results, t, x, f, f) for f in range(3)], 0)
        for t, n in zip(results.order[:6].tolist(), counts, strict=True)
    )
    np.testing.assert_allclose(together.predict_proba(x), expected / 10, rtol=2e-4, atol=1e-5)


class Trio(pj.Rule):
    """A rule of one's own whose trials predict together."""

    name = "trio"
    together = True


def test_a_rule_of_ones_own_may_put_trials_together(rows, tmp_path):
    results = search(rows, rank=Trio(keep=3), out=tmp_path / "run")
    assert list(results.ensemble) == results.order[:3].tolist() == results.predictor().trials
    assert pj.load_best(tmp_path / "run").trials == results.order[:3].tolist()


@pytest.mark.soak
def test_a_rule_may_take_them_greedily_here_and_from_the_directory(rows, tmp_path):
    x, y = rows
    noisy = x, np.where(np.random.default_rng(1).random(len(y)) < 0.4, (y + 1) % 3, y)  # where no trial is best alone
    rank = pj.together(12, method="greedy", at="best")
    results = search(noisy, rank=rank, folds=2, out=tmp_path / "run")
    expected = pj.ensemble(results, size=12, method="greedy")
    assert 1 < len(set(results.ensemble)) < len(results.ensemble) == 12
    loaded = pj.Results.load(tmp_path / "run")
    for predictor in (results.predictor(), loaded.predictor(), pj.load_best(tmp_path / "run")):
        assert (predictor.trials, predictor.weights) == (expected.trials, expected.weights)
        assert predictor.predict_proba(x).tobytes() == expected.predict_proba(x).tobytes()
    assert results.summary["ensemble"]["trials"] == expected.trials
    assert loaded.rule == results.rule
    assert "method='greedy'" in repr(loaded.rule)
    with pytest.raises(ValueError, match="unknown method 'gready'; there are mean, greedy"):
        pj.together(method="gready")
    own = pj.objective(lambda key, hparams: {"loss": hparams["x"]})
    with pytest.raises(ValueError, match="'greedy' needs the rows of a supervised task"):
        pj.search(own, {"x": pj.uniform(0, 1)}, trials=4, rank=pj.together(method="greedy"))


def test_trials_of_one_program_share_its_compilation(rows):
    from test_compilations import compilations

    results = pj.search(pj.supervised(rows), SPACE.replace(activation="relu"), trials=8, epochs=2, rank=pj.best(keep=8))
    pj.ensemble(results, size=2).predict(rows[0])
    together = pj.ensemble(results, size=8)
    with compilations() as events:
        together.predict(rows[0])
    assert sum("outputs" in str(name) for name in events) == 1


def test_wide_outputs_are_computed_for_fewer_rows_at_once(rows, monkeypatch):
    """So that what all models put out for the rows of a call has a bound, and the values are the same."""
    x, _ = rows
    results = pj.search(pj.supervised((x, x[:, :4] ** 2)), SPACE, trials=2, epochs=1, rank=pj.best(keep=2))
    predictor, sizes = pj.ensemble(results, size=2), []
    whole = predictor.of_fold(x, 0)
    padded = stack.padded
    monkeypatch.setattr(stack, "OUTPUTS", 2 * 4 * 32)
    monkeypatch.setattr(stack, "padded", lambda x, rows: sizes.append(rows) or padded(x, rows))
    np.testing.assert_allclose(predictor.of_fold(x, 0), whole, rtol=1e-5)
    assert set(sizes) == {32}


def test_a_task_of_ones_own_keeps_as_many_as_are_together(command, tmp_path):
    """`--choose ensemble` keeps 25, of a task that popjax cannot predict with too."""
    code = "import popjax as pj\ntask = pj.objective(lambda key, hparams: {'loss': hparams['x']})"
    (tmp_path / "mine.py").write_text(code)
    arguments = ["--task", "mine:task", "--set", "x=uniform(0,1)", "--trials", 30, "--out", "run"]
    for choose, kept in (("ensemble", 25), ("best", 1)):
        process = command("sweep", *arguments[:-1], choose, "--choose", choose)
        assert process.returncode == 0, process.stderr
        assert json.loads((tmp_path / choose / "run.json").read_text())["rank"]["keep"] == kept


def test_what_cannot_be_put_together_is_said(rows, tmp_path):
    results = search(rows, out=tmp_path / "run")
    rank2 = int(results.order[1])
    loaded = pj.Results.load(tmp_path / "run")
    for given, remedy in ((results, ", or give"), (loaded, " and out=")):
        said = re.escape(f"trial {rank2}, of rank 2, was not kept; search with rank=popjax.together(){remedy}")
        with pytest.raises(ValueError, match=said):
            pj.ensemble(given)
    with pytest.raises(ValueError, match="size=0: give a whole number of at least 1"):
        pj.ensemble(results, size=0)
    with pytest.raises(ValueError, match="unknown method 'median'; there are mean, greedy"):
        pj.ensemble(results, method="median")
    with pytest.raises(ValueError, match="greedy: it needs the validation rows"):
        pj.ensemble(pj.Results.load(tmp_path / "run"), size=1, method="greedy")
    own = pj.search(
        pj.objective(lambda key, hparams: {"loss": hparams["x"]}),
        {"x": pj.uniform(0, 1)},
        trials=9,
        rank=pj.best(keep=3),
    )
    with pytest.raises(ValueError, match="a custom task"):
        pj.ensemble(own, size=3)
    with pytest.raises(ValueError, match="give one a row"):
        results.predictor().score(rows[0], rows[1][:3])


def test_the_command_says_what_the_best_score_together(command, tmp_path):
    done = command("sweep", "--dataset", "wine", "--trials", 30, "--epochs", 3, "--set", "hidden=8", "--out", "run")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("the best 25 together: test_loss ")]
    assert line.endswith("; to keep them: --choose ensemble")
    assert pj.load_best(tmp_path / "run").trials == [pj.Results.load(tmp_path / "run").best.trial]


def test_one_of_several_predicts_as_alone_and_compiles_nothing():
    x, y = load_wine(return_X_y=True)
    space = {"learning_rate": pj.log_uniform(1e-3, 1e-1), "hidden": 8}
    results = pj.search(pj.supervised((x, y)), space, trials=4, epochs=2, rank=pj.best(keep=4))
    several = pj.ensemble(results, size=4)
    several.predict(x)
    (stack,) = {id(stack): stack for stack in several._stacks.values()}.values()
    for trial in results.order.tolist():
        one = several.only(trial)
        assert np.array_equal(one.predict_proba(x), results.predictor(trial).predict_proba(x))
        assert one.trials == [trial]
        assert one._stacks is several._stacks
    assert stack.apply._cache_size() == 1
    confusion = np.array(results.summary["confusion"])
    rows = results.task.in_folds(1).split.test
    told = results.predictor(results.best.trial).predict(x[rows])
    assert [confusion[a, b] for a in range(3) for b in range(3)] == [
        int(((y[rows] == a) & (told == b)).sum()) for a in range(3) for b in range(3)
    ]


def test_an_ensemble_from_a_directory_travels(rows, tmp_path):
    """As one in this process does, and a winner alone."""
    x, _ = rows
    space = {"learning_rate": pj.log_uniform(1e-3, 0.1), "hidden": 4}
    pj.search(pj.supervised(rows), space, trials=4, epochs=2, rank=pj.together(), out=tmp_path / "run")
    loaded = pj.load_best(tmp_path / "run")
    assert pickle.loads(pickle.dumps(loaded)).predict_proba(x).tobytes() == loaded.predict_proba(x).tobytes()
