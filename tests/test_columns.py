"""Text columns from a file or a frame to a prediction: one coding all the way, in bounded memory."""

import json
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from conftest import soaked
from frames import from_frame

import popjax as pj
from popjax import DataWarning
from popjax.commands.retest import with_texts
from popjax.data.dataset import load


def table(rows=90, seed=0):
    """Raw rows with two text columns, of which one looks like numbers, and labels that depend on the text."""
    rng = np.random.default_rng(seed)
    city = rng.choice(["Rome", "Oslo", "NA"], rows)
    frame = pd.DataFrame({"city": city, "a": rng.normal(size=rows), "zip": rng.choice(["00501", "10001"], rows)})
    return frame.assign(kind=np.where((city == "Rome") | (frame.a > 1), "yes", "no"))


def coded_by_hand(frame):
    """What `Dataset.x` holds of `table`."""
    return np.column_stack([by_hand(frame)[:, :3] @ [0, 1, 2], frame.a, frame.zip == "10001"])


def by_hand(frame):
    """The features that `table` must become."""
    return np.column_stack(
        [
            *(frame.city == level for level in ("NA", "Oslo", "Rome")),
            frame.a,
            frame.zip == "00501",
            frame.zip == "10001",
        ]
    ).astype(float)


@pytest.fixture
def recipe():
    return pj.supervised(table(), target="kind").recipe


# Frames


def test_a_frame_a_csv_and_a_parquet_file_are_one_dataset(tmp_path):
    frame = table()
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    datasets = [from_frame(frame, "kind"), *(load(str(tmp_path / f"t.{s}"), "kind") for s in ("csv", "parquet"))]
    for dataset in datasets:
        assert np.array_equal(dataset.one_hot, by_hand(frame))
        assert dataset.levels == {"city": ("NA", "Oslo", "Rome"), "zip": ("00501", "10001")}
        assert (dataset.columns, dataset.classes) == (("city", "a", "zip"), ("no", "yes"))


@pytest.mark.parametrize(
    "cells",
    [
        np.array(["q", "p", None, "q"], object),
        np.array(["q", "p", float("nan"), "q"], object),
        ["q", "p", "", "q"],
        ["q", "p", " NaN", "q"],
        pd.array(["q", "p", None, "q"], dtype="string"),
        pd.Categorical(["q", "p", None, "q"], categories=["z", "q", "p"]),
    ],
    ids=["None", "nan", "empty", "text nan", "string", "category"],
)
def test_texts_in_a_frame_and_their_missing_cells(cells):
    frame = pd.DataFrame({"c": cells, "y": list("uvuv")})
    filled = from_frame(frame, "y", "median")
    assert filled.levels == {"c": ("p", "q")}
    assert filled.one_hot.tolist() == [[0, 1], [1, 0], [0, 1], [0, 1]]
    assert from_frame(frame, "y", "drop").one_hot.tolist() == [[0, 1], [1, 0], [0, 1]]
    with pytest.raises(ValueError, match=r"^DataFrame: 1 missing cells, the first in column 'c', row 3; use missing"):
        from_frame(frame, "y")


@pytest.mark.parametrize("cells", [[1, 2.5, None, True], [Decimal("1"), Decimal("2.5"), None, np.int8(1)]], ids=repr)
def test_numbers_that_a_frame_holds_as_objects(cells):
    frame = pd.DataFrame({"a": np.array(cells, object), "y": list("uvuv")})
    assert from_frame(frame, "y", "drop").x.tolist() == [[1], [2.5], [1]]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([1, "x", 3, 4], "column 'a' is numeric but for 1 cell: 'x' in row 2; make"),
        (["p", 5, "q", 6.5], "column 'a' is numeric but for 2 cells: 'p' in row 1, 'q' in row 3; make"),
        (["p", 5, "q", "r"], "column 'a' is text but for 1 cell: 5 in row 2; make"),
        ([[1], "q", "r", "s"], "column 'a' is text but for 1 cell: \\[1\\] in row 1; make"),
        ([1j, 2, 3, 4], "column 'a' is numeric but for 1 cell: 1j in row 1; make"),
        ([10**400, 2, 3, 4], "column 'a' holds an integer too large"),
        (pd.timedelta_range("1D", periods=4), "column 'a' holds timedelta64.*, neither numbers nor text"),
        (pd.period_range("2020-01-01", periods=4), "column 'a' is numeric but for 4 cells: Period"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_frames_column_of_neither_kind_is_refused(cells, said):
    with pytest.raises(ValueError, match=f"^DataFrame: {said}[^\n]*$"):
        from_frame(
            pd.DataFrame({"a": pd.Series(cells, dtype=object if isinstance(cells, list) else None)}).assign(
                y=list("uvuv")
            ),
            "y",
        )


# Coding


def test_many_texts_are_no_features_but_codes():
    """A thousand become one-hot at most; the model for tables takes more."""
    rows = pd.DataFrame({"id": [f"t{at}" for at in range(1001)], "y": np.arange(1001) % 2})
    said = "column 'id' is text with 1001 distinct values, at most 1000 become one-hot; they would take 7.6 MiB, so dro"
    with pytest.raises(ValueError, match=said):
        pj.supervised(rows, target="y")
    task = pj.supervised(rows, "tabular", target="y")
    assert task.data.rows.x["codes"].shape == (901, 1)
    assert task.fit.inputs["codes"] == (1002,)


# Raw rows again


@pytest.mark.parametrize(
    "given",
    [
        lambda frame: frame,
        lambda frame: frame[["zip", "kind", "a", "city"]],
        lambda frame: frame.astype({"city": "category", "zip": "string"}),
        lambda frame: frame.drop(columns="kind").to_numpy(object),
        lambda frame: frame.drop(columns="kind").to_numpy().astype(str),
        lambda frame: frame.drop(columns="kind").to_numpy().tolist(),
    ],
    ids=["frame", "shuffled", "other types", "objects", "texts", "lists"],
)
def test_raw_rows_are_encoded_as_they_were(recipe, given):
    frame = table(20, seed=1)
    assert np.array_equal(recipe.encoded(given(frame)), coded_by_hand(frame))
    assert np.array_equal(recipe.seen(recipe.encoded(given(frame))), by_hand(frame))


def test_a_text_that_no_training_row_had_is_all_zeros(recipe):
    assert recipe.seen(recipe.encoded([["Paris", 1.5, "501"]])).tolist() == [[0, 0, 0, 1.5, 0, 0]]


@pytest.mark.parametrize("missing", [None, float("nan"), "", "NaN", pd.NA])
def test_a_missing_cell_is_filled_in_as_it_was_or_refused(recipe, missing):
    frame = table()
    filled = pj.supervised(frame, target="kind", missing="median").recipe
    often, median = frame.city.value_counts().idxmax(), frame.a.median()
    rows = pd.DataFrame({"city": [missing, "Oslo"], "a": [1.5, missing], "zip": ["00501", "00501"]}, dtype=object)
    expected = by_hand(rows.assign(city=[often, "Oslo"], a=[1.5, median]))
    assert np.array_equal(filled.seen(filled.encoded(rows)), expected)
    with pytest.raises(ValueError, match=r"^a cell is missing, column 'city', row 1; give one, or train with missing="):
        recipe.encoded(rows)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (table(3).assign(zip=501), "column 'zip' is text, but row 1 holds 501; give a text"),
        (table(3).assign(city=True), "column 'city' is text, but row 1 holds True; give a text"),
        (table(3).assign(a="1,5"), "column 'a' is numeric, but row 1 holds '1,5'; give a number"),
        (table(3).drop(columns="zip"), "the rows lack the column 'zip'"),
        (
            np.zeros((3, 3)),
            r"rows of shape \(3, 3\) do not fit; give .* the 3 columns 'city', 'a', 'zip', with text in 'city', 'zip'",
        ),
        ([[1.0, 2.0]], r"rows of shape \(1, 2\) do not fit; give .* the 3 columns 'city', 'a', 'zip', with text in"),
    ],
    ids=["number", "truth value", "comma", "lacking", "numbers", "few"],
)
def test_rows_of_another_kind_are_refused_by_name(recipe, rows, said):
    with pytest.raises(ValueError, match=f"^{said}[^\n]*$"):
        recipe.encoded(rows)


def test_an_images_missing_pixel_is_filled_in_with_its_median():
    x = np.random.default_rng(0).normal(size=(20, 4, 4))
    recipe = pj.supervised((x, np.arange(20) % 2), model="cnn", missing="median").recipe
    row = x[:1].copy()
    row[0, 1, 2] = np.nan
    assert recipe.encoded(row)[0, 1, 2, 0] == np.median(x[:, 1, 2])


def test_other_texts_are_other_data():
    """A run is not resumed on rows that only have other names."""
    frame = table()
    renamed = frame.replace({"city": {"NA": "Madrid", "Oslo": "Paris", "Rome": "Turin"}})
    one, other = (pj.supervised(each, target="kind").recipe.identity for each in (frame, renamed))
    assert one["data"] == other["data"]
    assert one != other


# Training


@pytest.mark.parametrize("seed", range(4))
def test_a_class_with_a_single_row_trains(seed):
    """Wherever its row falls: to train, to validate, to test."""
    frame = table(30).assign(kind=["rare", *(["u", "v"] * 15)[1:]])
    results = pj.search(pj.supervised(frame, target="kind", seed=seed), {"learning_rate": 0.1}, trials=1, epochs=2)
    assert np.isfinite(results.curves["val_loss"]).all()
    assert np.isfinite(results.summary["test_value"])


@pytest.mark.parametrize("suffix", soaked(["csv", "parquet"]))
def test_the_command_trains_on_text_and_its_winner_takes_raw_rows(command, tmp_path, suffix):
    """The predictions are those of the winner's arrays on rows that are encoded and standardized by hand."""
    frame = table()
    getattr(frame, f"to_{suffix}")(tmp_path / f"mine.{suffix}", index=False)
    arguments = ("--target", "kind", "--trials", 8, "--epochs", 6, "--set", "depth=1", "--out", "run", "--quiet")
    process = command("sweep", "--dataset", f"mine.{suffix}", *arguments)
    assert process.returncode == 0, process.stderr
    winner, raw = pj.load_best(tmp_path / "run"), table(40, seed=1)
    fitted = winner.recipe.transforms[0]
    x = (by_hand(raw) - fitted.mean) / fitted.scale
    arrays = {name: array[0] for name, array in winner.arrays.items()}
    hidden = np.maximum(x @ arrays["params.hidden.0.kernel"] + arrays["params.hidden.0.bias"], 0)
    outputs = hidden @ arrays["params.out.kernel"] + arrays["params.out.bias"]
    expected = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
    np.testing.assert_allclose(winner.predict_proba(raw[["kind", "zip", "a", "city"]]), expected, atol=1e-5)
    assert winner.predict(raw).tolist() == np.array(["no", "yes"])[expected.argmax(1)].tolist()
    assert (winner.predict(raw) == raw.kind).mean() > 0.8


@pytest.mark.soak
def test_a_retest_keeps_the_searchs_features(command, tmp_path):
    """Rows with other texts: new ones are zeros and said, and the old ones keep their place."""
    table().to_csv(tmp_path / "then.csv", index=False)
    new = table(120, seed=2)
    new.loc[:4, "city"] = "Paris"
    new[new.zip == "00501"].to_csv(tmp_path / "now.csv", index=False)
    search = ("--target", "kind", "--trials", 6, "--epochs", 2, "--set", "batch_size=8", "--out", "run", "--quiet")
    assert command("sweep", "--dataset", "then.csv", *search).returncode == 0
    process = command("retest", "run", "--dataset", "now.csv", "--top", 2, "--background", 2, "--repeats", 3)
    assert process.returncode == 0, process.stderr
    assert "'city' has texts new to the search, encoded as zeros: 'Paris'" in process.stdout.splitlines()
    recorded = json.loads((tmp_path / "run" / "run.json").read_text())["data"]
    x = with_texts(from_frame(new, "kind"), recorded["levels"]).one_hot
    assert np.array_equal(x, by_hand(new))
    then = from_frame(table(), "kind")
    assert with_texts(then, recorded["levels"]).digest == then.digest == recorded["data"]


# Memory

LOADING = """
import sys
from pathlib import Path
from popjax.data.dataset import load
try:
    print(load(sys.argv[1], "y").x.shape)
except ValueError as error:
    print(error)
(peak,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(int(peak.split()[1]) // 1024)  # ru_maxrss would count the process that started this one
"""


def loaded(path):
    """What loading prints, and the peak of its memory in MiB."""
    process = subprocess.run([sys.executable, "-c", LOADING, path], capture_output=True, text=True, check=True)
    *said, peak = process.stdout.splitlines()
    return said, int(peak)


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.soak
@LINUX
def test_ten_million_cells_take_bounded_memory(tmp_path):
    """Their texts alone would take 500 MiB, and a list of them 80 more; the float64 array takes 69."""
    header = ",".join("abcdefghi") + ",y\n"
    rows = "".join(f"{','.join([f'{i}.5'] * 9)},{i % 2}\n" for i in range(100))
    (tmp_path / "t.csv").write_text(header + rows * 10_000)
    said, peak = loaded(tmp_path / "t.csv")
    assert said == ["(1000000, 9)"]
    assert peak < 500


@pytest.mark.soak
@LINUX
def test_many_columns_of_distinct_texts_are_refused_in_bounded_memory(tmp_path):
    """All are named, and of none more texts are kept than may be read, and those of one chunk."""
    lines = (",".join(f"{name}{row}-{'x' * 40}" for name in "abcdefghij") + f",{row % 2}\n" for row in range(100_000))
    (tmp_path / "t.csv").write_text(",".join("abcdefghij") + ",y\n" + "".join(lines))
    said, peak = loaded(tmp_path / "t.csv")
    words = "is text with more than 20000 distinct values; drop or group them"
    assert [line.partition(": ")[2] for line in said] == [f"column {name!r} {words}" for name in "abcdefghij"]
    assert peak < 190


@pytest.mark.parametrize("truths", [("True", "False"), ("TRUE", "FALSE")])
def test_truth_values_that_pandas_made_of_texts_are_those_texts(tmp_path, truths):
    """A CSV's column of True and False is text here, and of truth values where pandas reads the same file."""
    rows = [f"{i % 7},{truths[i % 2]},{'yes' if i % 2 else 'no'}" for i in range(60)]
    (tmp_path / "mine.csv").write_text("\n".join(["a,garden,bought", *rows]))
    task = pj.supervised(load(str(tmp_path / "mine.csv"), "bought"))
    pj.search(task, {"learning_rate": 0.1}, trials=1, out=tmp_path / "run")
    winner, frame = pj.load_best(tmp_path / "run"), pd.read_csv(tmp_path / "mine.csv")
    assert frame["garden"].dtype == bool
    texts = pd.read_csv(tmp_path / "mine.csv", dtype={"garden": str})
    assert winner.predict_proba(frame).tolist() == winner.predict_proba(texts).tolist()
    assert (winner.predict(frame) == frame["bought"]).all()


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([f"2024-01-{day:02}" for day in range(1, 31)] * 2, "'c' looks like dates ('2024-01-01')"),
        ([f"{day}/3/24 12:30" for day in range(1, 31)] * 2, "'c' looks like dates"),
        ([f"{day} Jan 2020" for day in range(1, 31)] * 2, "'c' looks like dates ('1 Jan 2020')"),
        ([f"September {day}, 2020" for day in range(1, 31)] * 2, "'c' looks like dates"),
        ([f"{year}-01" for year in range(1990, 2020)] * 2, "'c' looks like dates ('1990-01')"),
        ([f"{hour}:{minute:02}" for hour in range(10) for minute in (0, 15, 30)] * 2, "'c' looks like dates ('0:00')"),
        (
            [f"${at}.50" for at in range(60)],
            "'c' holds numbers with $ ('$0.50'), each of which is a level of its own; write",
        ),
        (
            [f"{at % 4}%" for at in range(60)],
            "'c' holds numbers with % ('0%'), each of which is a level of its own; write",
        ),
        ([f"1.{at:03},5 €" for at in range(60)], "'c' holds numbers with €"),
        ([f"$-1,0{at:02}.62" for at in range(60)], "'c' holds numbers with $ ('$-1,000.62')"),
        ([f"person {at}" for at in range(60)], "'c' has 60 different texts in 60 rows"),
        ([f"person {at % 29}" for at in range(60)], None),
        (["1-2", "3-4"] * 30, None),
        (["red", "blue", "7"] * 20, None),
    ],
)
def test_texts_that_are_dates_or_names_of_rows_are_doubted(texts, said, doubted):
    frame = pd.DataFrame({"a": np.arange(60.0) // 2, "c": pd.Series(texts, dtype=str), "y": ["no", "yes"] * 30})
    dataset = from_frame(frame, "y")
    assert len(dataset.doubts) == (said is not None)
    pj.supervised(frame, target="y")
    lines = doubted.lines
    assert lines == [str(DataWarning(line)) for line in dataset.doubts]
    for line in lines:
        assert said in line
        assert line.endswith("leave it out")
    assert all(line.endswith("leave it out (--drop c)") for line in dataset.doubts)


def test_a_target_of_numbers_with_a_sign_is_doubted():
    for y, sign in (([f"$2,0{at:02}.87" for at in range(60)], "$"), ([f"€-{at}" for at in range(60)], "€")):
        line = (
            f"the target 'y' holds numbers with {sign} ('{y[0]}'), each of which is a class; write them without {sign}"
        )
        assert line in from_frame(pd.DataFrame({"a": np.arange(60.0) % 7, "y": y}), "y").doubts
    assert not from_frame(pd.DataFrame({"a": np.arange(60.0) % 7, "y": ["$ 1", "red", "blue"] * 20}), "y").doubts


def test_texts_in_two_spellings_are_said_of_a_column_and_of_the_target(tmp_path, doubted):
    rows = [f"{at % 7},{('red', 'Red ', 'blue')[at % 3]},{(' yes', 'yes', 'no')[at // 3 % 3]}" for at in range(63)]
    (tmp_path / "mine.csv").write_text("\n".join(["a,colour,bought", *rows]))
    pj.supervised(str(tmp_path / "mine.csv"), target="bought")
    target, column = doubted.lines
    assert "the target 'bought' holds ' yes' and 'yes', each as a class of its own" in target
    assert "the column 'colour' holds 'Red ' and 'red', each as a level of its own" in column
