"""Dates in tables: what they become, from files and frames, and that predictors read them as training did."""

import datetime
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import popjax as pj
from popjax.data.dataset import from_table, load, read_file
from popjax.data.dates import day_of, part_names, parts
from popjax.data.parts import as_table
from popjax.data.table import Reading

DAYS = [
    datetime.datetime(2023, 12, 30) + datetime.timedelta(days=int(at), hours=6 * (at % 4)) for at in range(0, 900, 9)
]
SPACE = {"learning_rate": 0.05, "hidden": 8, "depth": 1, "batch_size": 16}


def by_pandas(days, first):
    """Year, month, weekday, day of the year, and days since the first one, as pandas tells them."""
    times = pd.DatetimeIndex(days)
    since = (times - pd.Timestamp(first)) / pd.Timedelta(days=1)
    return np.column_stack([times.year, times.month, times.day_of_week, times.day_of_year, since]).astype(float)


def frame_of(days=DAYS):
    x = np.linspace(0, 1, len(days))
    season = np.array([np.sin(2 * np.pi * day.timetuple().tm_yday / 365) for day in days])
    return pd.DataFrame({"x": x, "day": pd.to_datetime(pd.Series(days)), "y": np.where(season > 0, "high", "low")})


@given(st.lists(st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30)), min_size=1, max_size=20))
def test_parts_are_those_of_the_calendar(days):
    """Of any date that ISO 8601 can write in four digits of a year, with microseconds, before 1970 too."""
    numbers = np.array([day_of(day.isoformat()) for day in days])
    found = parts(numbers, numbers.min())
    for row, day in zip(found.tolist(), days, strict=True):
        assert row[:4] == [day.year, day.month, day.weekday(), day.timetuple().tm_yday]
        assert row[4] == pytest.approx((day - min(days)) / datetime.timedelta(days=1), abs=1e-8)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2024-02-29", datetime.datetime(2024, 2, 29)),
        (" 2024-02-29T13:45:10.5 ", datetime.datetime(2024, 2, 29, 13, 45, 10, 500000)),
        ("2024-02-29 23:30+02:00", datetime.datetime(2024, 2, 29, 21, 30)),
        ("2024-02-29T23:30-0200", datetime.datetime(2024, 3, 1, 1, 30)),
        ("2024-02-29t01:00z", datetime.datetime(2024, 2, 29, 1)),
    ],
)
def test_iso_8601_is_read_as_utc(text, utc):
    assert day_of(text) == (utc - datetime.datetime(1970, 1, 1)) / datetime.timedelta(days=1)


@pytest.mark.parametrize("text", ["29.02.2024", "2024-02-30", "2024-2-9", "2024-02", "20240229", "2024", "x", ""])
def test_nothing_else_is_a_date(text):
    with pytest.raises(ValueError):
        day_of(text)


def test_a_column_of_dates_becomes_its_parts(tmp_path, command):
    """Of a CSV and of Parquet, of frames of pandas and polars, with time zones; a missing date is missing in all."""
    frame = frame_of()
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_parquet(tmp_path / "rows.parquet")
    berlin = frame.assign(day=frame["day"].dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin"))
    expected = by_pandas(DAYS, "2023-12-30")
    sources = [load(str(tmp_path / f"rows.{suffix}"), "y") for suffix in ("csv", "parquet")]
    sources += [pj.supervised(one, target="y").dataset for one in (frame, pl.from_pandas(frame), berlin)]
    day = pl.col("day").dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin")
    sources += [pj.supervised(pl.from_pandas(frame).with_columns(day), target="y").dataset]
    for dataset in sources:
        assert dataset.columns == ("x", *part_names("day"))
        np.testing.assert_allclose(dataset.x[:, 1:], expected, atol=1e-9)
        assert not dataset.levels
    lines = [line for line in sources[0].doubts if "'day'" in line]
    assert lines == [
        "the column 'day' holds dates: it becomes year, month, weekday, day of the year and days since 2023-12-30; "
        "as texts they are levels (--dates none)"
    ]
    assert not any("day" in line for dataset in sources[1:] for line in dataset.doubts), "what is a date is no guess"
    frame.loc[3, "day"] = None
    holed = pj.supervised(frame, target="y", missing="auto", model="tabular").dataset
    assert np.isnan(holed.x[3, 1:]).all()
    assert np.isfinite(np.delete(holed.x, 3, 0)).all()


def csv(rows):
    return "day,x,y\n" + "".join(f"{day},{at},{at % 2}\n" for at, day in enumerate(rows))


@pytest.mark.parametrize(
    ("rows", "words", "says"),
    [
        (["2024-01-01"] * 20 + ["soon"], [], "column 'day' holds dates but for 1 cell: 'soon' in row 21; write them"),
        (["2024-01-01"] * 20 + ["soon"], [], "(or name them: --na soon), or keep them as texts (--dates none"),
        (["2024-01-01", "soon", "late"] * 9, ["--dates", "day"], "'day' holds dates but for 18 cells: 'soon' in row 2"),
        (["1.2.2024"] * 20, ["--dates", "day"], "column 'day' holds dates but for 20 cells: '1.2.2024'"),
        (["2024-01-01"] * 20, ["--dates", "month"], "'month', named as dates, is no column; there are 'day', 'x', 'y'"),
        (["2024-01-01"] * 20, ["--dates", "day,"], "--dates 'day,': write names with commas"),
    ],
)
def test_dates_with_mistakes_are_refused(tmp_path, refused_in_one_line, rows, words, says):
    (tmp_path / "rows.csv").write_text(csv(rows))
    refused_in_one_line("sweep", "--dataset", "rows.csv", "--target", "y", *words, says=[says])


def test_dates_are_texts_on_request_or_among_texts(command, tmp_path):
    """With --dates none, and where most of a column's cells are other texts; named ones alone are dates."""
    mixed = [("2024-01-01", "soon", "late")[at % 3] for at in range(40)]
    rows = "".join(f"2024-01-{1 + at % 9:02},2024-02-{1 + at % 7:02},{mixed[at]},{at % 2}\n" for at in range(40))
    (tmp_path / "rows.csv").write_text("a,b,c,y\n" + rows)
    for dates, texts in (("none", {"a", "b", "c"}), ("b", {"a", "c"}), ("auto", {"c"})):
        words = ["--trials", 1, "--epochs", 1, "--dates", dates, "--out", dates, "--quiet"]
        done = command("sweep", "--dataset", "rows.csv", "--target", "y", *words)
        assert done.returncode == 0, done.stderr
        assert set(pj.load_best(tmp_path / dates).recipe.levels) == texts
        told = command("predict", dates, "rows.csv")
        assert (told.returncode, len(told.stdout.splitlines())) == (0, 41), told.stderr
    assert (
        "looks like dates ('2024-01-01'), each of which is a level of its own"
        in command(
            "sweep", "--dataset", "rows.csv", "--target", "y", "--dates", "none", "--trials", 1, "--epochs", 1
        ).stderr
    )


def test_a_predictor_reads_dates_as_training_did(command, tmp_path):
    """From files, frames and arrays of Python values alike, since the same day; a text that is none is refused."""
    frame = frame_of()
    frame.to_csv(tmp_path / "rows.csv", index=False)
    later = frame_of([day + datetime.timedelta(days=400) for day in DAYS]).drop(columns="y")
    later.to_csv(tmp_path / "later.csv", index=False)
    later.to_parquet(tmp_path / "later.parquet")
    words = ["--trials", 3, "--epochs", 8, "--out", "run", "--quiet", "--seed", 1]
    done = command("sweep", "--dataset", "rows.csv", "--target", "y", *words)
    assert done.returncode == 0, done.stderr
    winner = pj.load_best(tmp_path / "run")
    by_hand = np.column_stack([later["x"], by_pandas(later["day"], "2023-12-30")])
    expected = winner.predict(by_hand).tolist()
    texts = later.assign(day=later["day"].map(str))
    arrow = pl.from_pandas(later)
    for rows in (later, later[["day", "x"]], texts, arrow, later.to_numpy(object), texts.to_numpy(object)):
        assert winner.predict(rows).tolist() == expected
    for name in ("later.csv", "later.parquet"):
        told = command("predict", "run", name)
        assert told.stdout.splitlines()[1:] == expected, told.stderr
    with pytest.raises(ValueError, match="column 'day' is a date, but row 1 holds 'soon'; give one as 2024-01-31"):
        winner.predict(texts.assign(day="soon"))
    with pytest.raises(ValueError, match="the rows lack the column 'day'"):
        winner.predict(later[["x"]])
    with pytest.raises(ValueError, match="of the 2 columns 'x', 'day', with dates in 'day'"):
        winner.predict(np.zeros((2, 3)))


def test_days_count_from_the_same_day_in_all_parts(tmp_path):
    """Rows that validate and test in frames of their own: days since the earliest of all; earlier ones are negative."""
    frame = frame_of()
    task = pj.supervised(frame[40:], target="y", validation=frame[20:40], test=frame[:20])
    np.testing.assert_allclose(np.sort(task.dataset.x[:, -1]), np.sort(by_pandas(DAYS, "2023-12-30")[:, -1]), atol=1e-9)
    results = pj.search(task, SPACE, trials=1, epochs=1)
    early = frame.assign(day=frame["day"] - pd.Timedelta(days=5000))
    assert len(results.predict(early.drop(columns="y"))) == len(frame)


def test_an_estimator_takes_frames_with_dates():
    frame = frame_of()
    fitted = pj.PopulationClassifier(SPACE, trials=2, epochs=10, folds=2, random_state=0)
    for rows in (frame[["x", "day"]], pl.from_pandas(frame[["x", "day"]])):
        chances = fitted.fit(rows, frame["y"]).predict_proba(rows)
        np.testing.assert_allclose(chances, fitted.predict_proba(rows), atol=0)
        assert fitted.predictor_.recipe.dates == {"day": 19721.0}


def test_the_coding_of_an_exported_model_says_what_a_date_becomes(command, tmp_path):
    """Coded by its description alone, ONNX says what the predictor says."""
    import onnxruntime

    frame = frame_of()
    frame.to_csv(tmp_path / "rows.csv", index=False)
    words = ["--trials", 2, "--epochs", 4, "--out", "run", "--quiet"]
    assert command("sweep", "--dataset", "rows.csv", "--target", "y", *words).returncode == 0
    done = command("export", "run", "--to", "onnx")
    assert done.returncode == 0, done.stderr
    coding = json.loads((tmp_path / "run" / "model.onnx.json").read_text())
    assert coding["columns"] == ["x", *coding["dates"]["day"]["columns"]]
    coded = np.column_stack([frame["x"], by_pandas(DAYS, coding["dates"]["day"]["since"])])
    session = onnxruntime.InferenceSession(str(tmp_path / "run" / "model.onnx"))
    (told,) = session.run(None, {session.get_inputs()[0].name: coded})
    np.testing.assert_allclose(told, pj.load_best(tmp_path / "run").predict_proba(frame[["x", "day"]]), atol=1e-5)


def test_parquet_keeps_the_types_of_its_columns(tmp_path):
    """ISO texts in Parquet are texts unless they are named; a date in a group or with a name that is taken is told."""
    table = pa.table({"day": ["2024-01-01", "2024-01-02"] * 10, "x": range(20), "y": [0, 1] * 10})
    pq.write_table(table, tmp_path / "rows.parquet")
    assert load(str(tmp_path / "rows.parquet"), "y").levels == {"day": ("2024-01-01", "2024-01-02")}
    typed = frame_of()[:9]
    typed.to_parquet(tmp_path / "typed.parquet")
    as_texts = from_table(read_file(str(tmp_path / "typed.parquet"), "y", Reading(dates=())))
    assert as_texts.levels["day"][:2] == ("2023-12-30T00:00:00", "2024-01-08T06:00:00")
    with pytest.raises(ValueError, match="the target 'day' holds dates; give numbers or truth values"):
        as_table(str(tmp_path / "typed.parquet"), ["x", "day"])
    with pytest.raises(ValueError, match="'y', named as dates, is the target, which is no date"):
        read_file(str(tmp_path / "typed.parquet"), "y", Reading(dates=("y",)))
    frame = frame_of().rename(columns={"x": "day.year"})
    with pytest.raises(ValueError, match=r"the date 'day' becomes a column 'day.year', and there is one; rename it"):
        pj.supervised(frame, target="y")


def test_a_table_without_dates_reads_no_calendar(tmp_path):
    """A recipe of a table without dates has no word of them, as those of earlier runs."""
    x = np.random.default_rng(0).normal(size=(60, 2))
    results = pj.search(pj.supervised((x, x[:, 0])), SPACE, trials=1, epochs=1, out=tmp_path / "run")
    assert "dates" not in json.loads((tmp_path / "run" / "best" / "best.json").read_text())["winner"]
    assert pj.load_best(tmp_path / "run").predict(x).tolist() == results.predict(x).tolist()


def test_reading_a_file_of_dates_imports_no_jax(tmp_path):
    (tmp_path / "rows.csv").write_text(csv([f"2024-01-{at:02}" for at in range(1, 31)]))
    code = "import sys; from popjax.data.dataset import load; load('rows.csv', 'y'); assert 'jax' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_dates_of_python_in_a_frame_are_dates():
    """In a column of objects, as of a list of datetime.date, with holes; the same as typed ones."""
    frame = frame_of()
    days = frame["day"].dt.normalize()
    objects = frame.assign(day=pd.Series([day.date() for day in days], dtype=object))
    objects.loc[2, "day"] = None
    typed = frame.assign(day=days.mask(frame.index == 2))
    found, expected = (
        pj.supervised(one, target="y", missing="auto", model="tabular").dataset for one in (objects, typed)
    )
    np.testing.assert_array_equal(found.x, expected.x)
    results = pj.search(pj.supervised(objects.drop(index=2), target="y"), SPACE, trials=1, epochs=1)
    predicted = [results.predict(one.drop(index=2)[["x", "day"]]).tolist() for one in (objects, typed)]
    assert predicted[0] == predicted[1]


def test_what_is_missing_of_a_date_is_counted_once():
    """Under the name that the file has, when it is read and when rows are predicted."""
    frame = frame_of()
    frame.loc[[3, 5], "day"] = None
    with pytest.raises(ValueError, match=r"2 missing cells, the first in column 'day', row 4"):
        pj.supervised(frame, target="y")
    results = pj.search(pj.supervised(frame.dropna(), target="y"), SPACE, trials=1, epochs=1)
    with pytest.raises(ValueError, match="a cell is missing, column 'day', row 4"):
        results.predict(frame[["x", "day"]])


def test_dates_where_they_are_no_features_are_doubted(tmp_path):
    """A target of dates is no matter of course, nor are dates that are texts in Parquet."""
    frame = frame_of().assign(y=lambda rows: rows["day"].map(str).str[:10])
    frame.drop(columns="day").to_csv(tmp_path / "rows.csv", index=False)
    assert any(
        "the target 'y' holds dates ('2023-12-30')" in line for line in load(str(tmp_path / "rows.csv"), "y").doubts
    )
    texts = pa.table({"day": ["2024-01-01", "2024-01-02"] * 10, "y": range(20)})
    pq.write_table(texts, tmp_path / "rows.parquet")
    assert any("read them as dates (--dates day)" in line for line in load(str(tmp_path / "rows.parquet"), "y").doubts)


def test_the_row_of_a_date_that_is_none_is_named(refused_in_one_line, tmp_path):
    """Its number in the file, not among the different texts."""
    days = ["2024-01-01"] * 3 + ["soon"] + ["2024-01-02"] * 16
    pd.DataFrame({"day": days, "x": range(20), "y": [0, 1] * 10}).to_parquet(tmp_path / "t.parquet")
    refused_in_one_line(
        "sweep", "--dataset", "t.parquet", "--target", "y", "--dates", "day", says=["row 4 holds 'soon'"]
    )
