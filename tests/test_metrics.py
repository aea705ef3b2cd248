"""Metrics beyond those that all trials report: against scikit-learn, in the search, in commands, as one's own."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics as reference
from conftest import soaked

import popjax as pj
from popjax.supervision.kinds.classification import Classification
from popjax.supervision.metrics import METRICS

RNG = np.random.default_rng(3)
X = RNG.normal(size=(120, 4))
LABELS = {2: (X[:, 0] + X[:, 1] > 0.4).astype(int), 3: np.digitize(X[:, 0] + 0.5 * RNG.normal(size=120), [-0.7, 0.6])}
VALUES = 40 + 7 * X[:, 0] - 3 * X[:, 1] + RNG.normal(size=120)
SPACE = {"learning_rate": pj.log_uniform(1e-3, 0.3), "hidden": 6}
CLASSES = ["f1", "auc", "log_loss", "mcc"]


def by_scikit_learn(name, chances, labels):
    told, names = chances.argmax(-1), np.arange(chances.shape[-1])
    return {
        "f1": lambda: reference.f1_score(labels, told, average="macro"),
        "auc": lambda: reference.roc_auc_score(labels, *arguments(chances)[0], **arguments(chances)[1]),
        "log_loss": lambda: reference.log_loss(labels, chances, labels=names),
        "mcc": lambda: reference.matthews_corrcoef(labels, told),
    }[name]()


def arguments(chances):
    return ((chances[:, 1],), {}) if chances.shape[-1] == 2 else ((chances,), {"multi_class": "ovr"})


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("classes", soaked([3, 2, 7]))
def test_metrics_of_classes_are_those_of_scikit_learn(x64, name, classes):
    rng = np.random.default_rng(classes)
    for rows in (9, 50, 400):
        labels = np.concatenate([np.arange(classes), rng.integers(0, classes, rows)])
        outputs = rng.normal(size=(len(labels), classes)) * 2
        if classes == 2:
            outputs = np.round(outputs * 2) / 2  # many scores are equal
        found = float(METRICS[name]["classification"](jnp.asarray(outputs), jnp.asarray(labels)))
        expected = by_scikit_learn(name, np.asarray(jax.nn.softmax(outputs)).round(12), labels)
        assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(("classes", "scale"), soaked([(3, 20), (2, 10), (3, 10), (7, 10)]))
def test_so_are_those_of_sure_models_in_single_precision(name, classes, scale):
    """Whose probabilities no single precision can tell from 1."""
    rng = np.random.default_rng(5)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, 500)])
    outputs = (rng.normal(size=(len(labels), classes)) * scale).astype(np.float32)
    outputs[np.arange(len(labels)), labels] += scale
    found = float(METRICS[name]["classification"](jnp.asarray(outputs), jnp.asarray(labels)))
    logits = outputs.astype(float)
    chances = np.exp(logits - logits.max(-1, keepdims=True))
    chances /= chances.sum(-1, keepdims=True)
    if name == "auc":  # of the order that double precision still has
        others = [np.log(np.delete(np.exp(logits - logits.max()), label, 1).sum(1)) for label in range(classes)]
        odds = logits - logits.max() - np.stack(others, 1)
        areas = [reference.roc_auc_score(labels == label, odds[:, label]) for label in range(classes)]
        assert found == pytest.approx(np.mean(areas), abs=1e-6)
    else:
        assert found == pytest.approx(by_scikit_learn(name, chances, labels), rel=1e-6)


def test_the_correlation_of_a_rare_class():
    """Six rows of 20,000, in single precision."""
    labels = np.zeros(20_000, int)
    labels[:6] = 1
    told = labels.copy()
    told[[0, 1, 300, 301, 302]] ^= 1
    found = float(METRICS["mcc"]["classification"](jnp.asarray(np.eye(2, dtype=np.float32)[told]), jnp.asarray(labels)))
    assert found == pytest.approx(reference.matthews_corrcoef(labels, told), abs=1e-6)


def test_areas_count_equal_scores_as_half():
    outputs = jnp.array([[0.0, 1.0], [0.0, 1.0], [0.0, 2.0], [0.0, 0.5]])
    assert METRICS["auc"]["classification"](outputs, jnp.array([0, 1, 1, 0])) == 0.875
    assert METRICS["auc"]["classification"](jnp.zeros((4, 2)), jnp.array([0, 1, 1, 0])) == 0.5


@pytest.mark.parametrize(
    ("name", "labels", "guessing"),
    [("auc", [1, 1, 1], 0.5), ("mcc", [1, 1, 1], 0), ("f1", [1, 1, 1], 0.25), ("log_loss", [2, 2, 2], np.log(3))],
)
def test_rows_of_one_class_alone_give_what_guessing_gives(name, labels, guessing):
    """Where scikit-learn gives NaN, which would be a trial that diverged; f1 there: of 3 rows 1 is told right."""
    outputs = jnp.array([[0.0, 9, 0], [9, 0, 0], [9.0, 0, 0]]) if name == "f1" else jnp.zeros((3, 3))
    assert METRICS[name]["classification"](outputs, jnp.array(labels)) == pytest.approx(guessing, abs=1e-6)


def test_metrics_of_values_are_those_of_scikit_learn(x64):
    targets = RNG.normal(size=80) * 5 + 2
    outputs = targets + RNG.normal(size=80)
    of = lambda name: float(METRICS[name]["regression"](jnp.asarray(outputs), jnp.asarray(targets)))
    assert of("rmse") == pytest.approx(reference.root_mean_squared_error(targets, outputs), rel=1e-9)
    assert of("mape") == pytest.approx(reference.mean_absolute_percentage_error(targets, outputs), rel=1e-9)
    assert of("median_error") == pytest.approx(reference.median_absolute_error(targets, outputs), rel=1e-9)


def test_metrics_of_several_values_are_the_mean_as_scikit_learns(x64):
    targets = RNG.normal(size=(80, 3)) * [5, 0.1, 1000] + 2
    outputs = targets + RNG.normal(size=(80, 3)) * [1, 0.2, 30]
    of = lambda name: float(METRICS[name]["regression"](jnp.asarray(outputs), jnp.asarray(targets)))
    assert of("rmse") == pytest.approx(reference.root_mean_squared_error(targets, outputs), rel=1e-9)
    assert of("mape") == pytest.approx(reference.mean_absolute_percentage_error(targets, outputs), rel=1e-9)
    assert of("median_error") == pytest.approx(reference.median_absolute_error(targets, outputs), rel=1e-9)


def test_metrics_of_labels_without_both_kinds_of_rows_are_what_guessing_gives():
    """Where scikit-learn gives NaN: the area is the mean of the other labels, or a half."""
    outputs = jnp.array([[1.0, -1.0], [2.0, 3.0], [-1.0, 0.5]])
    labels = jnp.array([[True, False], [True, True], [True, True]])
    assert float(METRICS["auc"]["multilabel"](outputs, labels)) == 1
    assert float(METRICS["auc"]["multilabel"](outputs[:, :1], labels[:, :1])) == 0.5
    expected = reference.f1_score(np.asarray(labels), np.asarray(outputs) > 0, average="macro", zero_division=0)
    assert float(METRICS["f1"]["multilabel"](outputs, labels)) == pytest.approx(expected)


@pytest.mark.parametrize("targets", [[0.0, 1e-9, 1.5], [3e-17, 2.0, -4e-12], [0.0, 0.0, 0.0]], ids=str)
def test_shares_of_tiny_targets_are_scikit_learns(targets):
    """Also in single precision, of which the targets and the outputs are then the same."""
    targets = np.array(targets, np.float32)
    outputs = targets + np.array([0.5, -1e-6, 2.0], np.float32)
    expected = reference.mean_absolute_percentage_error(targets.astype(float), outputs.astype(float))
    assert float(METRICS["mape"]["regression"](jnp.asarray(outputs), jnp.asarray(targets))) == pytest.approx(
        expected, rel=1e-6
    )


@pytest.mark.parametrize("classes", soaked([3, 2]))
def test_a_search_reports_them_and_the_winner_earns_them(classes):
    """By folds, of which each standardizes by itself, val_ is of its own rows and test_ of the untouched ones."""
    task = pj.supervised((X, LABELS[classes]), metrics=CLASSES)
    results = pj.search(task, SPACE, trials=4, epochs=3, rank=pj.best("val_log_loss", keep=4))
    assert results.metric.mode == "min"
    assert results.order[0] == results.curves["val_log_loss"][:, -1].argmin()
    parts = task.in_folds(1).split
    for trial in range(4):
        chances = results.predictor(trial).predict_proba(X[parts.validation[0]])
        for name in CLASSES:
            expected = by_scikit_learn(name, chances, LABELS[classes][parts.validation[0]])
            assert results.curves[f"val_{name}"][trial, -1] == pytest.approx(expected, abs=1e-5)
    chances = results.predictor().predict_proba(X[parts.test])
    for name in CLASSES:
        expected = by_scikit_learn(name, chances, LABELS[classes][parts.test])
        assert results.summary["test"][f"test_{name}"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("folds", [1, 3])
def test_values_are_measured_in_the_targets_own_units(folds):
    task = pj.supervised((X, VALUES), metrics={"rmse": "rmse", "share": "mape", "highest": lambda out, y: y.max()})
    results = pj.search(task, SPACE, trials=2, epochs=3, folds=folds, rank=pj.best("val_share", mode="min"))
    parts = task.in_folds(folds).split
    held = [VALUES[rows].max() for rows in parts.validation]
    assert results.curves["val_highest"][:, -1] == pytest.approx(np.mean(held), rel=1e-6)
    predictor, truth = results.predictor(), VALUES[parts.test]
    models = [predictor.of_fold(predictor.recipe.encoded(X[parts.test]), fold)[0] for fold in range(folds)]
    shares = [reference.mean_absolute_percentage_error(truth, found) for found in models]
    errors = [reference.root_mean_squared_error(truth, found) for found in models]
    assert results.summary["test"]["test_share"] == pytest.approx(np.mean(shares), rel=1e-5)
    assert results.summary["test"]["test_rmse"] == pytest.approx(np.mean(errors), rel=1e-5)


def test_errors_of_values_far_from_zero_are_exact():
    """A target of a million and a bit, of which single precision has steps of 0.06."""
    values = 1e6 + X[:, 0] + 0.1 * X[:, 1]
    task = pj.supervised((X, values), metrics=["rmse", "median_error"])
    results = pj.search(task, SPACE, trials=4, epochs=5, rank=pj.best(keep=4))
    rows = task.in_folds(1).split.validation[0]
    for trial in range(4):
        errors = values[rows] - results.predictor(trial).predict(X[rows])
        assert results.curves["val_rmse"][trial, -1] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-5)
        assert results.curves["val_median_error"][trial, -1] == pytest.approx(np.median(abs(errors)), rel=1e-5)
        ours = results.curves["val_mse"][trial, -1] ** 0.5
        assert results.curves["val_rmse"][trial, -1] == pytest.approx(ours, rel=1e-6)


def test_training_does_not_depend_on_what_is_measured():
    plain, more = (
        pj.search(pj.supervised((X, LABELS[3]), metrics=names), SPACE, trials=3, epochs=3) for names in ((), CLASSES)
    )
    for name in plain.curves:
        assert np.array_equal(plain.curves[name], more.curves[name])


def test_predictions_that_are_known_score_as_a_model_does():
    chances = np.array([[0.7, 0.3, 0], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8], [0.4, 0.3, 0.3]])
    labels = np.array([0, 1, 2, 1])
    more = {name: METRICS[name]["classification"] for name in CLASSES}
    scores = Classification(("a", "b", "c")).judged(chances, labels, more)
    for name in CLASSES:
        assert scores[name] == pytest.approx(by_scikit_learn(name, chances, labels), rel=1e-5)
    assert scores["accuracy"] == 0.75


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if "regression" in metric])
def test_a_metric_of_errors_keeps_its_name(name):
    """By which a run tells it from another one."""
    assert pj.supervised((X, VALUES), metrics=[name]).settings["metrics"] == {name: name}


def test_the_task_says_what_it_measures(tmp_path):
    task = pj.supervised((X, LABELS[2]), metrics=["auc"])
    assert task.settings["metrics"] == {"auc": "auc"}
    assert "metrics" not in pj.supervised((X, LABELS[2])).settings
    pj.search(task, SPACE, trials=2, epochs=1, out=tmp_path / "run")
    with pytest.raises(ValueError, match="metrics"):
        pj.search(pj.supervised((X, LABELS[2])), SPACE, trials=2, epochs=1, out=tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("metrics", "says"),
    [
        ("f1", "metrics='f1': give a list of names, or a dict of functions"),
        (["rmse"], "unknown metric of a classification 'rmse'; there are f1, auc, log_loss, mcc"),
        (["accuracy"], "metrics: val_accuracy is reported"),
        ({"f-1": "f1"}, "metrics: 'f-1' is not a name"),
        ({"mine": 3}, "metrics: 'mine' is a int; give a function"),
        ({"rows": lambda outputs, targets: targets}, r"the metric rows of outputs \(12, 2\) has the shape \(12,\)"),
    ],
)
def test_what_is_no_metric_is_refused(metrics, says):
    with pytest.raises(ValueError, match=says):
        pj.search(pj.supervised((X, LABELS[2]), metrics=metrics), SPACE, trials=1, epochs=1)


def test_ranking_by_what_is_not_measured_says_how_it_would_be():
    with pytest.raises(ValueError, match=r"'val_auc'; the task reports .*; write popjax.supervised\(..., metrics="):
        pj.search(pj.supervised((X, LABELS[2])), SPACE, trials=1, epochs=1, rank="val_auc")


@pytest.mark.parametrize("name", ["auc", "accuracy"])
def test_the_name_without_its_part_is_understood(name):
    with pytest.raises(ValueError, match=f"unknown metric '{name}'.*; did you mean 'val_{name}'\\?$"):
        pj.search(pj.supervised((X, LABELS[2])), SPACE, trials=1, epochs=1, rank=name)


@pytest.mark.soak
def test_a_command_measures_what_it_ranks_by(command, tmp_path, refused_in_one_line):
    options = ["--trials", "4", "--epochs", "2", "--out", "run"]
    done = command("sweep", "--dataset", "wine", *options, "--metric", "val_f1", "--metrics", "auc")
    assert done.returncode == 0, done.stderr
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (run["rank"]["metric"], run["rank"]["mode"], run["arguments"]["metrics"]) == ("val_f1", "max", "auc,f1")
    test = json.loads((tmp_path / "run" / "summary.json").read_text())
    for scores in (test["test"], test["constant"], test["ensemble"]["test"]):
        assert {"test_f1", "test_auc"} <= scores.keys()
    again = command("retest", "run", "--top", "2")
    assert again.returncode == 0, again.stderr
    refused_in_one_line(
        "sweep", "--metric", "val_rmse", says=["unknown metric of a classification 'rmse'; there are f1, auc"]
    )
