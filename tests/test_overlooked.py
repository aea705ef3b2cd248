"""What users mistype or overlook is said: uneven classes, words that mean missing, rows without a target."""

import json
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import sklearn
from pages import text_of

import popjax as pj

RATE = {"learning_rate": 0.03, "hidden": 16}


@pytest.fixture(scope="module")
def uneven():
    """A table of 1,500 rows, of which one in 60 is a yes, by two of its four columns."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(1500, 3)), columns=["a", "b", "noise"])
    frame["const"] = 1.0
    score = frame["a"] + frame["b"] + 0.5 * rng.normal(size=len(frame))
    return frame, np.where(score > np.quantile(score, 1 - 1 / 60), "yes", "no")


# What columns are worth


def test_what_columns_are_worth_is_measured_by_the_metric_that_ranks(uneven, tmp_path):
    """Under class weights the loss without them is least where all is predicted as the weights do not."""
    task = pj.supervised(uneven, metrics=["auc"], class_weight="balanced", optimizer="adam", validation=0.3)
    results = pj.search(task, RATE, trials=2, epochs=8, rank=pj.best("val_auc"), out=tmp_path / "run")
    worth = results.summary["columns"]
    assert set(list(worth)[:2]) == {"a", "b"}
    assert worth["const"] == 0
    assert min(worth["a"], worth["b"]) > 0.05 > abs(worth["noise"])
    assert results.summary["columns_by"] == "val_auc"
    assert "winner's val_auc falls" in results.report(tmp_path / "page.html").read_text()


# Constant classifiers


@pytest.mark.parametrize("never", ["yes", None])
def test_classes_that_are_never_predicted_are_said_with_what_helps(uneven, never, command, tmp_path):
    """In the output, in the report and in summary.json; where classes are uneven the balanced accuracy stands there."""
    frame = uneven[0].assign(y=uneven[1]) if never else uneven[0].assign(y=np.where(uneven[0]["a"] > 0, "yes", "no"))
    frame.to_csv(tmp_path / "rows.csv", index=False)
    rates = "learning_rate=0.001" if never else "learning_rate=0.03"
    more = ["--set", rates, "--set", "hidden=8", "--trials", "2", "--epochs", "2", "--quiet", "--out", "run"]
    done = command("sweep", "--dataset", "rows.csv", "--target", "y", *more)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if "never predicts" in line]
    page, summary = (
        (tmp_path / "run" / "report.html").read_text(),
        json.loads((tmp_path / "run/summary.json").read_text()),
    )
    if never is None:
        assert not said
        assert "never predicts" not in page
        assert "test_balanced_accuracy" not in done.stdout.split("\n")[1]
        return
    remedy = "rank by --metric val_auc or val_balanced_accuracy, and train with --class-weight balanced"
    assert said[0] == f"the winner never predicts 'yes', which test rows have; {remedy}"
    assert summary["unpredicted"] == ["yes"]
    assert "test_accuracy 0.9" in done.stdout
    assert "test_balanced_accuracy 0.5000" in done.stdout
    assert "the winner never predicts &#x27;yes&#x27;" in page
    assert "test_balanced_accuracy, on rows that no trial saw" in page


def test_an_ensemble_that_never_predicts_a_class_is_said(uneven, tmp_path):
    task = pj.supervised(uneven)
    results = pj.search(task, RATE | {"learning_rate": 0.001}, trials=3, epochs=2, rank=pj.together())
    assert results.summary["ensemble"]["unpredicted"] == ["yes"]
    assert "the ensemble never predicts 'yes'" in text_of(results.report(tmp_path / "page.html"))


# Words that mean missing


def test_words_that_mean_missing_elsewhere_are_said_once_a_column_the_target_first(doubted):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"mass": rng.normal(size=60), "island": rng.choice(["A", "?", "N/A"], 60)})
    frame["sex"] = rng.choice(["male", "female", "NA"], 60)
    task = pj.supervised(frame, target="sex")
    lines = doubted.lines
    assert lines[0] == (
        "the target 'sex' holds 'NA' as a class of its own; if it means missing, give None in its place"
    )
    assert [line for line in lines if "island" in line] == [
        "the column 'island' holds '?', 'N/A' as a level of its own; if it means missing, give None in its place"
    ]
    assert task.dataset.classes == ("NA", "female", "male")


def test_na_makes_such_targets_missing_and_their_rows_are_left_out_and_counted(command, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"mass": rng.normal(size=60), "sex": rng.choice(["male", "female"], 60)})
    frame.loc[[3, 8, 9], "sex"] = "NA"
    frame.to_csv(tmp_path / "rows.csv", index=False)
    done = command(
        "sweep",
        *["--dataset", "rows.csv", "--target", "sex", "--na", "NA", "--trials", "2", "--epochs", "1", "--out", "run"],
    )
    assert done.returncode == 0, done.stderr
    assert "3 of 60 rows left out: 3 without 'sex'" in done.stdout + done.stderr
    assert "classification, 2 classes" in done.stdout


# Rows without a target, columns without a value


def test_rows_without_a_target_are_left_out_with_all_that_belongs_to_them(doubted):
    """Their groups, their weights, and their places in a given split; rows that lack a feature stay."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2))
    y = 2 * x[:, 0]
    y[[2, 30]] = np.nan
    x[5, 1] = np.nan
    given = {"validation": np.arange(25, 32), "test": np.arange(32, 40), "missing": "median"}
    weights = np.arange(40.0)
    task = pj.supervised((x, y), sample_weight=weights, **given)
    assert "2 of 40 rows left out: 2 without 'y'" in doubted.text
    left = np.delete(np.arange(40), [2, 30])
    assert left[task.split.validation[0]].tolist() == [25, 26, 27, 28, 29, 31]
    assert left[task.split.test].tolist() == list(range(32, 40))
    np.testing.assert_array_equal(np.asarray(task.dataset.y), y[left])
    plain = pj.supervised(
        (np.delete(x, [2, 30], 0), y[left]),
        sample_weight=weights[left],
        validation=task.split.validation[0],
        test=task.split.test,
        missing="median",
    )
    for one, other in zip(jax_leaves(task), jax_leaves(plain), strict=True):
        np.testing.assert_array_equal(one, other)
    grouped = pj.supervised((x, y), groups=np.arange(40) // 4, missing="median")
    assert len(grouped.dataset) == 38


def jax_leaves(task):
    import jax

    return [np.asarray(leaf) for leaf in jax.tree.leaves(task.data)]


def test_a_column_without_a_value_is_left_out_and_named(doubted):
    """It may stand in the rows to predict; with nothing else there is nothing to learn from."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=60), "empty": np.full(60, np.nan), "blank": [None] * 60})
    frame["y"] = 3 * frame["a"]
    task = pj.supervised(frame, target="y")
    assert task.dataset.columns == ("a",)
    for name in ("empty", "blank"):
        assert f"the column '{name}' has no value at all, and is left out" in doubted.text
    winner = pj.search(task, RATE, trials=1, epochs=1).predictor()
    assert winner.predict(frame.drop(columns="y")).shape == (60,)
    with pytest.raises(ValueError, match="no column has a value; give features"):
        pj.supervised(frame[["empty", "y"]], target="y")


def test_an_estimator_goes_on_raising(uneven):
    values = uneven[0]["a"].to_numpy(copy=True)
    values[3] = np.nan
    with pytest.raises(ValueError, match="y has 1 missing cell, the first in row 4; fill them in, or leave such rows"):
        pj.PopulationRegressor(epochs=1, trials=1).fit(uneven[0], values)


# Columns that count the rows, texts that training did not have


def test_whole_numbers_that_count_the_rows_are_said(doubted):
    """In order, in any order without a gap, or ever upwards; not what differs only because it is fine."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=60), "year": np.arange(60) // 2, "price": rng.permutation(10**6)[:60]})
    frame["id"] = np.arange(1, 61)
    frame["shuffled"] = rng.permutation(60)
    frame["upwards"] = np.cumsum(rng.integers(1, 9, 60))
    frame["y"] = 2 * frame["a"] + 0.1
    pj.supervised(frame, target="y")
    said = "the column {!r} counts the rows; if it only names the rows, leave it out"
    assert doubted.lines == [said.format(name) for name in ("id", "shuffled", "upwards")]


def test_texts_that_training_did_not_have_are_said_once_a_column(command, doubted, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=80), "paid": rng.choice(["yes", "no"], 80)})
    frame["y"] = 2 * frame["a"] + (frame["paid"] == "yes")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    winner = pj.search(pj.supervised(frame, target="y"), RATE, trials=1, epochs=1, out=tmp_path / "run").predictor()
    doubted.caught.clear()
    other = frame.assign(paid=["YES", "perhaps", *frame["paid"][2:]])
    winner.predict(other)
    said = (
        "the column 'paid' holds 'YES', 'perhaps', which the training data do not have: it counts as none of its texts"
    )
    assert doubted.lines == [f"{said}; there is 'yes'"]
    assert winner.predict(frame).shape == (80,)
    other.to_csv(tmp_path / "new.csv", index=False)
    done = command("predict", "run", "new.csv", "--out", "told.csv")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [f"popjax: {said}; there is 'yes'"]


# Names of directories


# Frames of any library


def frames(columns):
    import polars as pl
    import pyarrow as pa

    yield pl.DataFrame(columns)
    yield pl.DataFrame(columns).with_columns(pl.col("kind").cast(pl.Categorical))
    yield pa.table(columns)


def test_frames_of_polars_and_arrow_are_as_pandas(doubted):
    """Missing cells, truth values, categories; columns in another order; y as a column, and beside."""
    rng = np.random.default_rng(0)
    columns = {
        "size": [None if at % 9 == 0 else float(value) for at, value in enumerate(rng.normal(size=90))],
        "count": [None if at % 7 == 0 else int(value) for at, value in enumerate(rng.integers(0, 9, 90))],
        "kind": [None if at % 11 == 0 else "ab"[at % 2] for at in range(90)],
        "true": (rng.random(90) < 0.5).tolist(),
        "y": rng.choice(["u", "v"], 90).tolist(),
    }
    usual = pj.supervised(pd.DataFrame(columns), target="y", missing="median")
    trained = pj.search(usual, RATE, trials=1, epochs=2).predictor()
    told = trained.predict_proba(pd.DataFrame(columns).drop(columns="y"))
    for frame in frames(columns):
        task = pj.supervised(frame, target="y", missing="median")
        assert task.dataset.digest == usual.dataset.digest
        assert task.dataset.levels == usual.dataset.levels
        left = frame.select(["true", "kind", "count", "size"])
        assert pj.supervised((left, frame["y"]), missing="median").dataset.classes == ("u", "v")
        np.testing.assert_array_equal(trained.predict_proba(left), told)


def test_a_lazy_frame_and_durations_are_one_line():
    import datetime

    import polars as pl

    frame = pl.DataFrame({"day": [datetime.timedelta(1)] * 30, "y": list(range(30))})
    with pytest.raises(ValueError, match=r"the data are a lazy frame of polars; collect\(\) it"):
        pj.supervised(frame.lazy(), target="y")
    with pytest.raises(
        ValueError, match=r"column 'day' holds Duration.*, neither numbers nor text; convert it or drop it"
    ):
        pj.supervised(frame, target="y")


def test_an_estimator_takes_frames_of_polars(uneven):
    import polars as pl

    frame = pl.DataFrame({name: uneven[0][name].to_numpy() for name in uneven[0]}).with_columns(kind=pl.lit("a"))
    labels = np.where(uneven[0]["a"] > 0, "yes", "no")
    fitted = pj.PopulationClassifier(trials=2, epochs=2, folds=2).fit(frame, labels)
    assert fitted.predict(frame).shape == (1500,)
    if tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 9):  # before it reads no names of polars 2
        assert fitted.feature_names_in_.tolist() == frame.columns


# Warnings


def test_warnings_about_data_are_of_one_class_that_filters_know(recwarn):
    import warnings

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=60), "id": np.arange(60), "y": rng.normal(size=60)})
    warnings.simplefilter("always")
    pj.supervised(frame, target="y")
    (warning,) = [each for each in recwarn if issubclass(each.category, pj.DataWarning)]
    assert warning.filename == __file__
    assert "--drop" not in str(warning.message)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pj.DataWarning)
        with pytest.raises(pj.DataWarning):
            pj.supervised(frame, target="y")


# Scales, and runs that are finished


# Cuts among equal trials


SPARSE = pj.Task(
    lambda key, hparams, data: 0.0,
    lambda n, hparams, data: (n + 1, {"loss": jnp.where(n < 2, jnp.where(hparams["x"] < 0.3, 0.0, 1.0), hparams["x"])}),
    (),
)


@pytest.mark.parametrize("make", [pj.halving, pj.hyperband])
def test_a_cut_among_equal_trials_is_said_once(make, tmp_path, capsys):
    """In a line, in the notes of the decision, in the report and by simulate; the trials are as ever."""
    how = {"trials": 16, "epochs": 8, "sampler": "sobol"}
    results = pj.search(SPARSE, {"x": pj.uniform(0, 1)}, scheduler=make(), out=tmp_path / "run", **how)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "are equal" in line]
    count = int(line.split()[1])
    assert line.startswith(f"popjax: {count} trials are equal after epoch ")
    assert "the cut falls among them by their numbers: raise min_epochs" in line
    notes = [json.loads(each)["notes"] for each in (tmp_path / "run/decisions.jsonl").read_text().splitlines()]
    assert count in [note.get("tied") for note in notes if note]
    assert results.summary["tied"] == [line.removeprefix("popjax: ")]
    assert "trials are equal after epoch" in (tmp_path / "run/report.html").read_text()
    if make is pj.halving:
        full = pj.search(SPARSE, {"x": pj.uniform(0, 1)}, **how)
        assert pj.simulate(make(), full).notes == tuple(results.summary["tied"])
        assert np.isclose(full.points["x"][:, None] < 0.3, full.curves["loss"][:, :1] == 0).all()
        assert count == (full.points["x"] >= 0.3).sum()


def test_a_cut_that_tells_trials_apart_is_not_said(capsys):
    task = pj.Task(lambda key, hparams, data: 0.0, lambda n, hparams, data: (n + 1, {"loss": hparams["x"] + n}), ())
    results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=16, epochs=8, scheduler=pj.halving())
    assert "tied" not in results.summary
    assert "equal" not in capsys.readouterr().err


# Errors in the words of their cause


@pytest.mark.parametrize("model", ["mlp", "tabular"])
def test_no_rows_have_no_predictions(model):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"a": rng.normal(size=80), "kind": rng.choice(["u", "v"], 80), "y": rng.choice(["no", "yes"], 80)}
    )
    task = pj.supervised(frame, target="y", model=model, transform="quantile")
    winner = pj.search(task, {"learning_rate": 0.01}, trials=1, epochs=1).predictor()
    assert winner.predict(frame.head(0)).shape == (0,)
    assert winner.predict_proba(frame.head(0)).shape == (0, 2)


def test_a_command_that_is_given_an_unknown_metric_suggests_one(refused_in_one_line):
    says = [
        "unknown metric of a classification 'acuracy'; there are f1, auc, log_loss, mcc, and always loss",
        "accuracy?",
    ]
    refused_in_one_line("sweep", "--dataset", "wine", "--metric", "val_acuracy", says=says)


def test_jaxs_search_for_nan_ends_at_the_users_line():
    """The trial and the line where it is not finite first; a search of finite trials is as without the setting."""

    def epoch(x, hparams, data):
        x = x - hparams["x"]
        return x, {"loss": jnp.log(x)}

    task = pj.Task(lambda key, hparams, data: jnp.float32(1.0), epoch, ())
    jax.config.update("jax_debug_nans", True)
    try:
        finite = pj.search(task, {"x": pj.uniform(0.1, 0.2)}, trials=4, epochs=3)
        says = r"trial \d is not finite \(.*test_overlooked.py, line \d+, in .*epoch\): popjax counts such a trial as"
        with pytest.raises(ValueError, match=says):
            pj.search(task, {"x": pj.uniform(0.3, 0.6)}, trials=4, epochs=5)
    finally:
        jax.config.update("jax_debug_nans", False)
    assert finite.best is not None


@pytest.fixture
def strict():
    """A function that sets JAX's strict promotion of dtypes."""
    yield lambda: jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_dtype_promotion", "standard")


@pytest.mark.parametrize("model", ["mlp", "tabular", "cnn"])
def test_strict_promotion_of_dtypes_changes_nothing(uneven, strict, model):
    """Counts and booleans meet real numbers in every built-in model, in schedules and where the best epoch counts."""
    frame, y = uneven
    x = frame.assign(text=np.where(frame["a"] > 0, "up", "down")) if model == "tabular" else frame.to_numpy()
    x = x if model != "cnn" else x[:, :, None, None].repeat(4, 2)
    kwargs = {"trials": 3, "epochs": 3, "rank": pj.best(at="best", patience=1)}

    def found():
        results = pj.search(pj.supervised((x, y), model=model), **kwargs)
        return results.members["val_loss"], results.predictor().predict_proba(x[:50])

    expected = found()
    strict()
    for one, other in zip(found(), expected, strict=True):
        assert one.tobytes() == other.tobytes()


def test_where_jax_compiles_nothing_that_is_one_line():
    task = pj.objective(lambda key, hparams: hparams["x"])
    with jax.disable_jit(), pytest.raises(ValueError, match="jax_disable_jit is set, and popjax compiles what it"):
        pj.search(task, {"x": 1.0}, trials=1)


def test_a_number_of_each_row_that_dominates_is_said(tmp_path):
    """Such as an account's, by which the rows were sorted once."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"account": rng.permutation(10**6)[:200], "a": rng.normal(size=200)})
    frame["y"] = frame["account"] / 1e5 + 0.1 * frame["a"]
    pj.search(pj.supervised(frame, target="y", validation=0.3), RATE, trials=2, epochs=20, out=tmp_path / "run")
    page = text_of(tmp_path / "run/report.html")
    assert "the column 'account' has another whole number in each row" in page
    assert "leave it out (--drop account)" in page


MESSY = """,id,day,city,area,rooms,empty,same,price
0,A1,2024-01-01,Oslo,"1,5",3,,7,100.5
1,A2,2024-01-02,Rome,2.5,x,,7,200
2,A3,2024-01-02,Rome,3.5,4,,7,300
3,A4,2024-01-05,,4.5,4,,7,
4,A5,2024-01-02,Rome,2.5,2,7,400
5,A6,2024-02-02,,2.5,2,,7,500.25
5,A6,2024-02-02,Bern,,2,,7,500.25
"""


@pytest.mark.parametrize("name", ["doctor", "sweep"])
def test_all_problems_of_a_file_are_told_at_once(command, tmp_path, name):
    """A line each: a row of another length, two columns with mistakes, missing cells of others; then all is well."""
    (tmp_path / "messy.csv").write_text(MESSY)
    words = ["--dataset", "messy.csv", "--target", "price"]
    told = command(name, *words)
    assert told.returncode == 2
    said = told.stderr.splitlines()
    for line, says in zip(
        said,
        (
            "'messy.csv': line 6 has 8 fields, the header 9; mend that line",
            "column 'area' is numeric but for 1 cell: '1,5' in row 1; write 1.5, with a decimal point, or read them",
            "column 'rooms' is numeric but for 1 cell: 'x' in row 2",
            "1 missing cells, the first in column 'city', row 6",
        ),
        strict=True,
    ):
        assert says in line
        assert line.startswith("popjax: 'messy.csv': ")
    with pytest.raises(ValueError) as caught:
        pj.supervised(str(tmp_path / "messy.csv"), target="price")
    assert [line.partition("': ")[2] for line in str(caught.value).splitlines()] == [
        line.partition("': ")[2] for line in said
    ]
    lines = MESSY.replace('"1,5"', "1.5").replace(",x,", ",5,").splitlines(keepends=True)
    (tmp_path / "messy.csv").write_text("".join([*lines[:5], lines[6].replace("5,A6", "4,A6")]))
    more = ["--missing", "median"] if name == "doctor" else ["--missing", "median", "--trials", 1, "--epochs", 1]
    fine = command(name, *words, *more)
    assert fine.returncode == 0, fine.stderr
    for note in (
        "column 1 has no name and counts the rows; left out",
        "the column 'empty' has no value at all, and is left out",
        "1 of 5 rows left out: 1 without 'price'",
        "the same value stands in all rows of 'same'; it tells nothing",
        "the column 'day' holds dates",
    ):
        assert note in fine.stderr
    assert not list(tmp_path.glob("runs/*")) or name == "sweep", "a doctor leaves nothing behind"


def test_the_doctor_tells_what_each_column_becomes(command, tmp_path, refused_in_one_line):
    """As training would read it: with the missing cells of a model that takes them, groups, and what is left out."""
    rows = [
        f"u{at // 2},{('a', 'b', '')[at % 3]},2024-03-{at + 1:02},{'' if at == 4 else at},{at % 2}" for at in range(9)
    ]
    (tmp_path / "rows.csv").write_text("user,kind,day,size,y\n" + "\n".join(rows) + "\n")
    words = ["--dataset", "rows.csv", "--target", "y", "--groups", "user", "--model", "tabular"]
    done = command("doctor", *words)
    assert done.returncode == 0, done.stderr
    head, _, *lines = done.stdout.splitlines()
    assert head == "dataset: rows.csv, 9 rows, classification, 2 classes"
    assert [" ".join(line.split()) for line in lines] == [
        "user groups of rows that stay together -",
        "kind text, 3 levels: '', 'a', 'b' 3",
        "day date, 2024-03-01 to 2024-03-09: year, month, weekday, day of the year, days 0",
        "size number, 0 to 8 1",
        "y target: classification, 2 classes -",
    ]
    for missing in ("drop", "median"):
        counted = command("doctor", *words[:6], "--missing", missing).stdout
        assert "size number, 0 to 8 1" in " ".join(counted.split()), "what the file lacks, whatever is done about it"
    frame = pd.DataFrame({"kind": list("abaab"), "size": [1.0, None, 3.0, 4.0, 5.0], "y": [0, 1, 0, 1, 0]})
    frame.to_parquet(tmp_path / "rows.parquet")
    done = command("doctor", "--dataset", "rows.parquet", "--target", "y", "--drop", "kind", "--missing", "drop")
    assert "left out: as --drop says" in done.stdout
    np.savez(tmp_path / "rows.npz", x=np.zeros((9, 5)) + np.arange(9)[:, None], y=np.arange(9) % 2)
    assert "an array of shape [9, 5]" in command("doctor", "--dataset", "rows.npz").stdout
    refused_in_one_line("doctor", "--target", "y", says=["--target needs --dataset"])
    refused_in_one_line("doctor", "--dataset", "nowhere.csv", "--target", "y", says=["cannot read 'nowhere.csv'"])
    refused_in_one_line("doctor", "--dataset", "rows.csv", says=["needs a target"])


def test_errors_keep_their_rows_beside_rows_of_another_length_and_in_other_processes(tmp_path):
    """A row that cannot be read is counted; the error goes through a pickle, as from a worker."""
    (tmp_path / "rows.csv").write_text("a,b,y\n1,1,0\n2,2\n3,3,1\n4,x,0\n5,5,1\n6,6,0\n")
    with pytest.raises(ValueError) as caught:
        pj.supervised(str(tmp_path / "rows.csv"), target="y")
    first, second = str(caught.value).splitlines()
    assert "line 3 has 2 fields" in first
    assert "'x' in row 4" in second
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), again.lines) == (type(caught.value), caught.value.lines)
