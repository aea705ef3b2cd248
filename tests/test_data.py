"""Rows come in as they were written, are split fairly, and bad ones are refused in one line."""

import contextlib
import csv
import io
import pickle
import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pytest
import sklearn.datasets
from frames import from_frame
from hypothesis import given
from hypothesis import strategies as st

import popjax as pj
from popjax.data.built_in import BUILT_IN
from popjax.data.cells import cell_kind, plain_numbers
from popjax.data.dataset import Dataset, from_arrays, from_table, load, read_file
from popjax.data.notation import Notation
from popjax.data.splits import Splitting, split
from popjax.data.table import Reading

X = np.arange(10.0).reshape(5, 2)
Y = np.array([0, 1, 0, 1, 1])


@contextlib.contextmanager
def refused(*named):
    """A ValueError of one line that names what is wrong."""
    with pytest.raises(ValueError) as caught:
        yield
    message = str(caught.value)
    assert message.splitlines() == [message]
    for part in named:
        assert part in message


@pytest.fixture
def table(tmp_path):
    """Write a file and load it."""

    def write_and_load(content, target="y", missing="error", name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return load(str(path), target, missing)

    return write_and_load


def csv_of(y, header="a,y"):
    """A CSV text with a feature 1, 2, 3, ... and the given target cells."""
    return "\n".join([header, *(f"{row},{cell}" for row, cell in enumerate(y, 1))]) + "\n"


def npz_of(save=np.savez, **arrays):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def npy_of(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def labels(dataset):
    """The targets as they were given."""
    return [dataset.classes[code] for code in dataset.y]


# CSV


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_is_read_cell_by_cell(table, delimiter, quoting, bom, newline):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 3)) * [1e-9, 1, 1e9]
    y = rng.choice(["no", "it's", 'say "so"', f"a{delimiter}b", "日本", "two\nlines"], 30).tolist()
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=newline)
    writer.writerow(["p", "label", "q r", "é"])
    writer.writerows([repr(p), label, repr(q), repr(e)] for (p, q, e), label in zip(x.tolist(), y, strict=True))
    dataset = table(bom + text.getvalue().encode(), "label")
    np.testing.assert_array_equal(dataset.x, x)
    assert labels(dataset) == y
    assert (dataset.columns, dataset.target) == (("p", "q r", "é"), "label")


@pytest.mark.parametrize(
    ("delimiter", "names"),
    [(";", ["a, b", "y"]), (";", ["w, cm", "l, cm", "y"]), (",", ["p;q;r", "y"]), ("\t", ["a;b", "y"])],
)
def test_a_delimiter_within_a_quoted_name_is_part_of_the_name(table, delimiter, names):
    header = delimiter.join(f'"{name}"' for name in names)
    rows = [delimiter.join([str(row)] * (len(names) - 1) + [str(row % 2)]) for row in range(4)]
    dataset = table("\n".join([header, *rows]))
    assert dataset.columns == tuple(names[:-1])
    assert dataset.x[:, -1].tolist() == [0, 1, 2, 3]
    assert labels(dataset) == [0, 1, 0, 1]


@pytest.mark.parametrize("name", ["table.csv", "TABLE.CSV"])
def test_numbers_are_read_in_every_notation(table, name):
    dataset = table("a,y\n1,0\n-2.5e-3,1\n +.5 ,0\n1E3,1\n", name=name)
    assert dataset.x[:, 0].tolist() == [1, -0.0025, 0.5, 1000]


def test_blank_lines_are_no_rows(table):
    assert table("a,y\n\n1,0\n\n2,1\n3,0\n\n\n").x[:, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("start", [0, 1])
def test_a_column_without_a_name_that_says_nothing_is_left_out(table, tmp_path, start):
    """As pandas writes an index, and as a comma at the end of each line; one line says so, for each file."""
    frame = pd.DataFrame({"a": [at // 2 for at in range(20)], "y": list("uv") * 10})
    frame.index += start
    frame.to_csv(tmp_path / "index.csv")
    dataset = table((tmp_path / "index.csv").read_text().replace("\n", ", \n"))
    assert dataset.columns == ("a",)
    assert dataset.x[:, 0].tolist() == frame["a"].tolist()
    said = "table.csv': column 1 has no name and counts the rows, column 4 has no name and is empty; left out"
    assert [doubt.endswith(said) for doubt in dataset.doubts] == [True]
    task = pj.supervised(str(tmp_path / "index.csv"), target="y", test=str(tmp_path / "index.csv"))
    assert sum("column 1 has no name and counts" in doubt for doubt in task.dataset.doubts) == 2


def test_an_unclosed_quote_never_swallows_the_rows_after_it(table):
    with refused("table.csv"):
        table(csv_of(["u", "v", "u", "v", '"u', "v", "u"]))


# What is predicted


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        (["v", "u", "v", "u"], ("u", "v")),
        (["True", "False", "True", "False"], ("False", "True")),
        (["NA", "None", "null", "N/A"], ("N/A", "NA", "None", "null")),
        (["3", "-1", "3", "10"], (-1, 3, 10)),
        (["1", "u", "2.5", "1"], ("1", "2.5", "u")),
        (["1_0", "1_1", "1_0", "1_1"], ("1_0", "1_1")),
        ([str(i) for i in range(20)] * 2, tuple(range(20))),
    ],
    ids=repr,
)
def test_texts_truth_values_and_few_integers_are_classes(table, cells, classes):
    dataset = table(csv_of(cells))
    assert dataset.classes == classes
    assert [str(label) for label in labels(dataset)] == cells
    assert dataset.y.dtype.kind == "i"


@pytest.mark.parametrize(
    "cells", [list(range(21)), [0.5, 1.5, 0.5], ["1.0", "2.0", "1.0"], ["1", "2", "2.5"]], ids=repr
)
def test_many_integers_and_reals_are_a_regression(table, cells):
    dataset = table(csv_of(cells))
    assert dataset.classes is None
    assert dataset.y.tolist() == [float(cell) for cell in cells]
    assert dataset.y.dtype == "float64"


ARRAYS = {
    "bool": (np.array([True, False, True, True, False]), (False, True)),
    "int8": (np.array([5, -3, 5, 5, -3], "int8"), (-3, 5)),
    "uint64": (np.array([5, 3, 5, 5, 3], "uint64"), (3, 5)),
    "str": (np.array(["u", "v", "u", "nano", "u"]), ("nano", "u", "v")),
    "object of texts": (np.array(["u", "NA", "u", "None", "u"], object), ("NA", "None", "u")),
    "object of truth values": (np.array([True, False, True, True, False], object), (False, True)),
    "object of integers": (np.array([5, -3, 5, 5, -3], object), (-3, 5)),
    "list": ([1, 0, 1, 1, 0], (0, 1)),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_the_classes_of_an_array(name):
    y, classes = ARRAYS[name]
    dataset = from_arrays(X, y)
    assert repr(dataset.classes) == repr(classes)
    assert labels(dataset) == list(y)


@pytest.mark.parametrize("dtype", ["int64", "float32", "float64", "uint8"])
def test_the_regression_of_an_array(dtype):
    y = np.arange(21, dtype=dtype)
    dataset = from_arrays(np.ones((21, 1)), y)
    assert (dataset.classes, dataset.y.dtype, dataset.y.tolist()) == (None, "float64", list(range(21)))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32"])
def test_features_of_any_numeric_type_and_shape_become_float64(dtype):
    x = np.arange(24).reshape(4, 3, 2).astype(dtype)
    dataset = from_arrays(x, [0, 1, 0, 1])
    assert dataset.x.dtype == "float64"
    np.testing.assert_array_equal(dataset.x, x)


def test_the_digest_sees_every_row_and_target():
    datasets = [from_arrays(X, Y), from_arrays(X + (X == 9), Y), from_arrays(X, 1 - Y)]
    assert len({dataset.digest for dataset in datasets}) == 3
    assert from_arrays(X.copy(), Y.copy()).digest == datasets[0].digest


# Missing cells

EMPTY = pytest.mark.parametrize("cell", ["", " ", "nan", "NaN", "NAN"])


def holed(cell):
    """Five rows whose second has no a and whose fourth has no b."""
    return f"a,b,y\n1,10,u\n{cell},20,v\n4,30,w\n8,{cell},v\n16,50,u\n"


@EMPTY
def test_a_missing_cell_is_an_error_unless_asked_otherwise(table, cell):
    with refused("table.csv", "2 missing", "'a'", "row 2"):
        table(holed(cell))


@EMPTY
def test_drop_leaves_out_rows_with_a_missing_cell(table, cell):
    dataset = table(holed(cell), missing="drop")
    assert dataset.x.tolist() == [[1, 10], [4, 30], [16, 50]]
    assert labels(dataset) == list("uwu")


@EMPTY
def test_median_fills_in_the_median_of_the_column(table, cell):
    dataset = table(holed(cell), missing="median")
    assert dataset.x.tolist() == [[1, 10], [6, 20], [4, 30], [8, 25], [16, 50]]
    assert labels(dataset) == list("uvwvu")


@EMPTY
@pytest.mark.parametrize(
    "kept", [["u", "v", "NA", "None"], ["0", "1", "0", "2"], ["0.5", "1.5", "2.5", "0.5"]], ids=repr
)
def test_a_missing_target_is_dropped_with_its_row_and_changes_no_other(table, cell, kept):
    dataset, whole = table(csv_of([kept[0], cell, *kept[1:]]), missing="drop"), table(csv_of(kept))
    assert dataset.x[:, 0].tolist() == [1, 3, 4, 5]
    assert repr(dataset.classes) == repr(whole.classes)
    assert dataset.y.tolist() == whole.y.tolist()


@EMPTY
@pytest.mark.parametrize("kept", [["u", "v", "v"], ["1", "2", "1"], ["1.5", "2.5", "4.5"]], ids=repr)
def test_a_missing_target_is_never_filled_in(table, cell, kept):
    """Nor do the other cells of its row, which is left out, fill anything in."""
    content = f"a,b,y\n1,1,{kept[0]}\n50,50,{cell}\n2,,{kept[1]}\n3,3,{kept[2]}\n"
    with refused("table.csv", "1 missing cells", "column 'b', row 3"):
        table(content)
    dataset = table(content, missing="median")
    assert dataset.x.tolist() == [[1, 1], [2, 2], [3, 3]]
    assert [str(y) for y in (labels(dataset) if dataset.classes else dataset.y)] == kept
    with refused("table.csv", "0 rows have a 'y'; give at least 3"):
        table(csv_of([cell] * 4), missing="median")


def test_rows_that_are_left_out_are_counted(table):
    content = "a,b,y\n1,1,u\n2,,\n3,,u\n4,4,v\n,,v\n6,6,\n7,7,u\n"
    said = "4 of 7 rows left out: 2 without 'y', 2 with missing cells"
    assert table(content, missing="drop").doubts == (said,)
    assert table(content, missing="median").doubts == ("2 of 7 rows left out: 2 without 'y'",)
    assert table(csv_of("uvu"), missing="drop").doubts == ()


@pytest.mark.parametrize("missing", ["error", "drop", "median", "auto"])
def test_a_column_without_any_value_is_left_out_and_said(table, missing):
    dataset = table("a,b,y\n1,,0\n2,,1\n3,nan,0\n", missing=missing)
    assert dataset.columns == ("a",)
    assert "the column 'b' has no value at all, and is left out" in dataset.doubts


def test_too_few_rows_left_are_refused(table):
    with refused("table.csv", "2 rows"):
        table("a,y\n1,0\n,1\n,0\n4,1\n", missing="drop")


def test_a_row_is_named_by_its_place_in_the_file_after_others_are_dropped(table):
    with refused("'a'", "row 4"):
        table("a,y\n,0\n2,1\n3,\ninf,1\n5,0\n6,1\n", missing="drop")


def test_images_are_filled_in_pixel_by_pixel():
    x = np.arange(24.0).reshape(4, 2, 3)
    x[1, 1, 2] = np.nan
    filled = from_arrays(x, [0, 1, 0, 1], missing="median").x
    x[1, 1, 2] = np.median(x[[0, 2, 3], 1, 2])
    np.testing.assert_array_equal(filled, x)


# NPZ


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("target", [None, "y", "label"])
def test_an_npz_is_read_as_it_was_written(table, save, target):
    x = np.random.default_rng(0).normal(size=(6, 4, 4, 1))
    y = np.array(["u", "v", "w", "u", "v", "w"])
    dataset = table(npz_of(save, x=x, **{target or "y": y}), target, name="table.npz")
    np.testing.assert_array_equal(dataset.x, x)
    assert labels(dataset) == y.tolist()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "empty"),
        (b"no archive", ""),
        (b"\x80\x04N.", ""),
        (npy_of(X), ""),
        (npz_of(x=X, y=Y)[:-30], ""),
        (npz_of(y=Y), "'x'"),
        (npz_of(x=X), "'y'"),
        (npz_of(x=np.array([[1, None]] * 5, object), y=Y), ""),
        (npz_of(x=X, y=np.array([1, None, 2, 3, 4], object)), ""),
        (npz_of(x=np.array([["a"]] * 5), y=Y), "[5, 1]"),
        (npz_of(x=Y, y=Y), "[5]"),
        (npz_of(x=X, y=Y[:4]), "(4,)"),
    ],
    ids=[
        "empty",
        "text",
        "pickle",
        "npy",
        "cut",
        "no x",
        "no y",
        "object x",
        "object y",
        "text x",
        "flat x",
        "short y",
    ],
)
def test_a_bad_npz_is_refused_by_name(table, content, named):
    with refused("table.npz", named):
        table(content, None, name="table.npz")


class Opens:
    """Unpickling it opens the file `evaluated`."""

    def __reduce__(self):
        return open, ("evaluated", "w")


@pytest.mark.parametrize(
    "content",
    [npz_of(x=X, y=np.array([Opens()] * 5)), npz_of(x=np.array([[Opens()]] * 5), y=Y), pickle.dumps(Opens())],
    ids=["y", "x", "file"],
)
def test_a_pickle_is_never_unpickled(table, content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with refused("table.npz"):
        table(content, None, name="table.npz")
    assert not (tmp_path / "evaluated").exists()


def test_an_archive_of_other_files_is_refused_by_name(table):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("x", "1,2")
        archive.writestr("y", "3")
    with refused("table.npz"):
        table(content.getvalue(), None, name="table.npz")


def bomb(claimed):
    """A small archive whose x unpacks to so many bytes of zeros."""
    content = io.BytesIO(npz_of(y=Y))
    with (
        zipfile.ZipFile(content, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as x,
    ):
        np.lib.format.write_array_header_1_0(x, {"descr": "<f8", "fortran_order": False, "shape": (claimed // 40, 5)})
        piece = bytes(2**20)
        for _ in range(claimed // len(piece)):
            x.write(piece)
    return content.getvalue()


def test_what_unpacks_to_more_than_the_memory_is_not_unpacked(table, monkeypatch):
    monkeypatch.setattr("popjax.data.npz_table.MAX_BYTES", 2**24)
    content = bomb(40 * 2**20)
    assert len(content) < 2**17
    tracemalloc.start()
    with refused("table.npz", "the array 'x' would take 40.0 MiB"):
        table(content, None, name="table.npz")
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()


def test_an_unused_array_is_not_unpacked(table):
    """Reading takes the memory of x and y, not of the whole archive."""
    content = npz_of(np.savez_compressed, x=X, y=Y, other=np.zeros(2**23))
    tracemalloc.start()
    assert table(content, None, name="table.npz").x.tolist() == X.tolist()
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()


def test_a_damaged_npz_is_refused_by_name_whichever_byte_is_wrong(tmp_path):
    path = tmp_path / "table.npz"
    content = npz_of(np.savez_compressed, x=X, y=Y)
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        dataset, message = None, "table.npz"
        try:
            dataset = load(str(path))
        except ValueError as error:
            message = str(error)
        assert message.splitlines() == [message]
        assert "table.npz" in message
        if dataset:  # a byte that means nothing, such as a date
            assert dataset.digest == from_arrays(X, Y).digest


# DataFrame

FRAME = pd.DataFrame({"a": [1, 2, 3, 4], "b": [0.5, 1.5, 2.5, 3.5], "c": [True, False] * 2, "y": list("uvuv")})


def test_a_frame_is_read_column_by_column():
    dataset = from_frame(FRAME[["a", "y", "b", "c"]], "y")
    assert dataset.columns == ("a", "b", "c")
    assert dataset.x.tolist() == [[1, 0.5, 1], [2, 1.5, 0], [3, 2.5, 1], [4, 3.5, 0]]
    assert labels(dataset) == list("uvuv")


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (pd.Categorical(["v", "u", "v", "u"]), ("u", "v")),
        (pd.array(["v", "u", "v", "u"], dtype="string"), ("u", "v")),
        (pd.array([2, 1, 2, 1], dtype="Int64"), (1, 2)),
        (pd.array([True, False, True, False], dtype="boolean"), (False, True)),
        ([0.5, 1.5, 2.5, 0.5], None),
    ],
    ids=["category", "string", "Int64", "boolean", "float"],
)
def test_the_target_of_a_frame(y, classes):
    dataset = from_frame(FRAME.assign(y=y), "y")
    assert repr(dataset.classes) == repr(classes)
    assert (labels(dataset) if classes else dataset.y.tolist()) == list(y)


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (pd.array(["v", None, "u", "v"], dtype="string"), ("u", "v")),
        (pd.array([2, None, 1, 2], dtype="Int64"), (1, 2)),
        (pd.array([True, None, False, True], dtype="boolean"), (False, True)),
        (np.array(["v", None, "u", "v"], object), ("u", "v")),
        (np.array(["v", float("nan"), "u", "v"], object), ("u", "v")),
    ],
    ids=["string", "Int64", "boolean", "object with None", "object with nan"],
)
def test_a_missing_target_in_a_frame_is_dropped_with_its_row(y, classes):
    dataset = from_frame(FRAME.assign(y=y), "y", "drop")
    assert dataset.x[:, 0].tolist() == [1, 3, 4]
    assert repr(dataset.classes) == repr(classes)
    assert labels(dataset) == [classes[1], classes[0], classes[1]]


@pytest.mark.parametrize("a", [[1, None, 2, 6], pd.array([1, None, 2, 6], dtype="Int64")], ids=["float", "Int64"])
def test_a_missing_cell_in_a_frame_is_filled_in(a):
    assert from_frame(FRAME.assign(a=a), "y", "median").x[:, 0].tolist() == [1, 2, 2, 6]
    with refused("'a'", "row 2"):
        from_frame(FRAME.assign(a=a), "y")


def test_the_columns_of_a_frame_may_be_numbered():
    dataset = from_frame(pd.DataFrame(np.arange(12).reshape(4, 3)), "2")
    assert dataset.columns == ("0", "1")
    assert dataset.x[:, 1].tolist() == [1, 4, 7, 10]


@pytest.mark.parametrize(
    ("frame", "target", "named"),
    [
        (FRAME[:0], "y", "DataFrame: x has no rows; give some"),
        (FRAME, None, "needs a target"),
        (FRAME, "z", "'z'"),
        (FRAME.assign(b=pd.timedelta_range("1D", periods=4)), "y", "'b'"),
        (FRAME.assign(y=pd.date_range("2020-01-01", periods=4)), "y", "'y'"),
        (FRAME.assign(y="u"), "y", "'y'"),
        (FRAME.set_axis(["a", "a", "c", "y"], axis=1), "y", "'a'"),
        (FRAME[["a", "b", "y", "y"]], "y", "'y'"),
    ],
    ids=["no rows", "no target", "unknown", "durations", "date target", "one class", "twice", "target twice"],
)
def test_a_bad_frame_is_refused_by_name(frame, target, named):
    with refused(named):
        from_frame(frame, target)


# Built-in


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("digits", (1797, 64), 10),
        ("wine", (178, 13), 3),
        ("breast_cancer", (569, 30), 2),
        ("diabetes", (442, 10), None),
    ],
)
def test_a_built_in_dataset_is_scikit_learns(name, shape, classes):
    dataset = load(name)
    x, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    assert dataset.x.shape == shape
    np.testing.assert_array_equal(dataset.x, x)
    np.testing.assert_array_equal(dataset.y, y)
    assert (len(dataset.columns), dataset.classes and len(dataset.classes)) == (shape[1], classes)


def test_a_built_in_datasets_labels_belong_to_its_codes():
    raw = sklearn.datasets.load_breast_cancer()
    assert labels(load("breast_cancer")) == raw.target_names[raw.target].tolist()


# What is refused


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "empty"),
        ("\n", ""),
        ("a,y\n", "header"),
        ("a,y\n\n\n", "header"),
        (b"a,y\n1,\xff\n", "byte 6"),
        ("a,y\n1,0\n2,1\n3\n4,1\n", "line 4"),
        ("a,y\n1,0\n2,1,7\n", "line 3"),
        ('a,y\n1,"two\nlines"\n2,1,7\n', "line 4"),
        ("a,b\n1,0\n2,1\n3,0\n", "'y'"),
        ("y\n0\n1\n0\n", "'y'"),
        ("a,a,y\n1,1,0\n2,2,1\n3,3,0\n", "'a'"),
        ("y,a,y\n1,1,0\n2,2,1\n3,3,0\n", "'y'"),
        ("a,,y\n1,1,0\n2,2,1\n3,2,0\n", "column 2 has no name; name it in line 1"),
        ("a, ,y\n1,,0\n2,1,1\n3,,0\n", "column 2 has no name"),
        (",a,y,\n0,1,0,\n1,2,1,\n2,3,0,x\n", "column 4 has no name"),
        (",a,y\n2,1,0\n3,2,1\n4,3,0\n", "column 1 has no name"),
        ("a,b,y\n1,1,0\n2,red,1\n3,3,0\n", "'b' is numeric but for 1 cell: 'red' in row 2; mend"),
        ("a,b,y\n1,NA,0\n2,2,1\n3,3,0\n", "'b' is numeric but for 1 cell: 'NA' in row 1; mend"),
        ('a,y\n1,0\n"two\nlines",1\n3,0\n', r"'two\nlines' in row 2"),
        ("a,y\n1,0\n2,1\n-inf,0\n", "'a', row 3"),
        ("a,y\n1,0.5\n2,inf\n3,1.5\n", "'y'"),
        ("a,y\n1,u\n2,u\n3,u\n", "'y' has one class only"),
        ("a,y\n1,7\n2,7\n3,7\n", "7"),
        ('a,y\n1,"u\nv"\n2,"u\nv"\n3,"u\nv"\n', "'y' has one class only"),
        ("a,y\n1,0.5\n2,0.5\n3,0.5\n", "0.5"),
        ("a,y\n1,0\n2,1\n", "2 rows"),
        (f"a,y\n{'1' * 200_000},0\n2,1\n3,0\n", ""),
    ],
    ids=lambda p: repr(p)[:40],
)
def test_a_bad_csv_is_refused_by_name(table, content, named):
    with refused("table.csv", named):
        table(content)


def test_a_csv_without_a_target_lists_its_columns(table):
    with refused("table.csv", "'a', 'y'"):
        table(csv_of([0, 1, 0]), None)


@pytest.mark.parametrize("name", ["absent.csv", "absent.npz", "folder.csv"])
def test_an_unreadable_file_is_refused_by_name(tmp_path, name):
    (tmp_path / "folder.csv").mkdir()
    with refused(repr(str(tmp_path / name))):
        load(str(tmp_path / name), "y")


def test_what_separates_columns_is_said_where_nothing_does(table):
    with refused("table.csv", "line 1 is one column with '|' in it, 'a|y'; write commas, semicolons or tabs between"):
        table("a|y\n1|0\n2|1\n3|0\n")
    assert table("a|b,y\n1,0\n2,1\n3,0\n").columns == ("a|b",)


NOTATIONS = [
    Notation(),
    Notation(",", "."),
    Notation(".", ","),
    Notation(None, ","),
    Notation("'", "."),
    Notation(" ", ","),
]


@pytest.mark.parametrize("notation", NOTATIONS, ids=str)
@given(st.text("0123456789.,' -+eE", max_size=9))
def test_a_cell_is_a_number_alone_and_among_others(notation, cell):
    """Whether all cells of a column are numbers or one is missing: the same number of a cell, or none."""
    try:
        together = plain_numbers([cell, "1"], notation)[0]
    except ValueError:
        together = None
    kind, alone = cell_kind(cell, notation, dated=False)
    assert together is None or np.isnan(together) or (kind, alone) == ("number", together)


@pytest.mark.parametrize(
    ("thousands", "decimal", "cell", "number"),
    [
        (",", ".", "1,234,567.5", 1234567.5),
        (".", ",", "-1.234,25", -1234.25),
        ("'", ".", "12'345", 12345.0),
        (",", ".", "1,00,000", 100000.0),
        (None, ",", "0,5", 0.5),
        (".", ",", "0.512", None),
        (",", ".", "1,23", None),
        (None, ",", "1.5", None),
    ],
)
def test_numbers_of_a_notation(thousands, decimal, cell, number):
    kind, found = cell_kind(cell, Notation(thousands, decimal), dated=False)
    assert (kind == "number", None if kind != "number" else found) == (number is not None, number)


def test_a_column_in_another_notation_is_no_column_of_texts(tmp_path):
    """Of a file that was said to have commas for decimals; nothing becomes a level in silence."""
    (tmp_path / "rows.csv").write_text("a;y\n" + "".join(f"{at}.5;{at % 2}\n" for at in range(9)))
    with refused("'a' is numeric but for 9 cells: '0.5' in row 1", "no numbers as --thousands and --decimal have them"):
        from_table(read_file(str(tmp_path / "rows.csv"), "y", Reading(notation=Notation(None, ","))))


@pytest.mark.parametrize(
    ("rows", "flags"),
    [
        ("a;b;y\n0,177;47,069;1,5\n0,2;1,25;2,25\n0,3;2,5;3\n", "--decimal ,"),
        ("a;b;y\n1.234,5;47,069;1\n2.000,25;1,25;2\n0,3;2,5;3\n", "--decimal , --thousands ."),
        ("a;b;y\n47,069;1;1\n1,250;2;2\n2,500;3;3\n", "--decimal ,"),
        ('a,b,y\n"47,069",1,1\n"1,250",2,2\n"2,500",3,3\n', "--thousands ,"),
        ('a,b,y\n"1,234.5",1,1\n"1,250",2,2\n"2,500",3,3\n', "--thousands ,"),
    ],
)
def test_a_file_has_one_notation(tmp_path, rows, flags):
    """All of its columns name the same options, and these read it, each cell as its number."""
    path = tmp_path / "rows.csv"
    path.write_text(rows)
    with pytest.raises(ValueError) as caught:
        from_table(read_file(str(path), "y"))
    assert {line.partition("read them with ")[2].partition(";")[0] for line in str(caught.value).splitlines()} == {
        flags
    }
    notation = Notation(
        "," if "--thousands ," in flags else "." if "." in flags else None, "," if "decimal" in flags else "."
    )
    column = read_file(str(path), "y", Reading(notation=notation)).columns["a"].values
    cells = [row[0] for row in csv.reader(rows.splitlines()[1:], delimiter=rows[1])]
    swap = str.maketrans(",.", ".,") if "decimal" in flags else {}
    assert column.tolist() == [float(cell.translate(swap).replace(",", "")) for cell in cells]


DOTTED = ["983", "2.581", "1.049", "7", "12.500"]


@pytest.mark.parametrize(
    ("rows", "doubted"),
    [
        ([f"{cell};1;{at}" for at, cell in enumerate(DOTTED)], True),
        ([f"x;1;{cell}" for cell in DOTTED], True),  # the target
        ([f"{cell},1,{at}" for at, cell in enumerate(DOTTED)], False),  # a file with commas between its columns
        ([f"{cell};2.5;{at}" for at, cell in enumerate(DOTTED)], False),  # whose points are those of decimals
        ([f"{cell};1;{at}" for at, cell in enumerate([*DOTTED, "0.125"])], False),
        ([f"{cell};1;{at}" for at, cell in enumerate([*DOTTED, "2500"])], False),  # thousands without a point
        ([f"{cell};1;{at}" for at, cell in enumerate([*DOTTED, "A7"] * 3)], False),  # texts
    ],
)
def test_points_that_may_stand_between_thousands_are_doubted(tmp_path, rows, doubted):
    path = tmp_path / "rows.csv"
    path.write_text("\n".join([("," if "," in rows[0] else ";").join("aby"), *rows]))
    name = "y" if rows[0].startswith("x") else "a"
    line = f"the points in '{name}' ('2.581') are read as those of decimals; if they stand between thousands, read them"
    assert read_file(str(path), "y").notes == ((f"{line} with --thousands . --decimal ,",) if doubted else ())
    if doubted:
        meant = read_file(str(path), "y", Reading(notation=Notation(".", ",")))
        assert meant.notes == ()
        assert (meant.y if name == "y" else meant.columns["a"].values).tolist() == [983, 2581, 1049, 7, 12500]


def test_points_between_thousands_are_named_beside_decimal_commas(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a;b;y\n1.604;1,6;1\n983;2,5;2\n2.581;3,5;3\n")
    with refused("read them with --decimal , --thousands .;"):
        from_table(read_file(str(path), "y"))
    with refused(
        "'a' is numeric but for 2 cells: '1.604' in row 1, '2.581' in row 3; read them with --thousands . too"
    ):
        from_table(read_file(str(path), "y", Reading(notation=Notation(None, ","))))


def test_a_tsv_is_separated_by_tabs_alone(table):
    content = "a, b, c\ty\n1\t0\n2\t1\n3\t0\n"
    assert table(content, name="table.tsv").columns == ("a, b, c",)
    with refused("has no column 'y' for the target; it has 'a', ' b', ' c"):
        table(content)


def test_a_line_for_excel_is_to_be_left_out(table):
    with refused("as CSV: line 1 is 'sep=;', which is for Excel alone; leave this line out"):
        table("sep=;\na;y\n1;0\n2;1\n")


def test_a_packed_file_is_to_be_unpacked(table):
    with refused("table.csv.gz", "it is packed (.gz); unpack it, and give what is in it"):
        table("a,y\n1,0\n", name="table.csv.gz")


@pytest.mark.parametrize("cells", [["1,5", "?", "2,25"], ["1,500", "2,500", "7,5"]], ids=["half", "thousands"])
def test_a_point_is_suggested_where_most_bad_cells_have_a_decimal_comma(table, cells):
    content = "a;y\n" + "".join(f"{cell};{at % 2}\n" for at, cell in enumerate([*cells, *range(5)]))
    with pytest.raises(ValueError, match="'a' is numeric but for 3 cells") as caught:
        table(content)
    number = "1.5" if "?" in cells else "7.5"  # where one cell has decimals, 1,500 has three
    assert f"; write {number}, with a decimal point, or read them with --decimal ,; mend" in str(caught.value)


@pytest.mark.parametrize("source", ["iris", "table.xls", "", "Digits"])
def test_an_unknown_dataset_is_refused_by_name(source):
    with refused(repr(source), *BUILT_IN):
        load(source)


def test_a_built_in_dataset_has_its_own_target():
    with refused("'alcohol'", "wine"):
        load("wine", "alcohol")


def test_an_unknown_treatment_of_missing_cells_is_refused_by_name():
    with refused("'mean'", "error, drop, median"):
        load("wine", missing="mean")
    for data in ("wine", from_arrays(X, Y), (X, Y)):
        with refused("'mean'", "error, drop, median"):
            pj.supervised(data, missing="mean")
    with refused("'mean'", "error, drop, median"):
        pj.PopulationClassifier(missing="mean").fit(X, Y)


@pytest.mark.parametrize(
    ("x", "y", "named"),
    [
        (X[:, 0], Y, "[5]"),
        (X[:, :0], Y, "[5, 0]"),
        (X[:0], Y[:0], "arrays: x has no rows; give some"),
        (X.astype(str), Y, "<U"),
        (X + 1j, Y, "complex128"),
        (X, Y[:3], "(3,)"),
        (X, Y[:, None], "(5, 1)"),
        (X, Y + 1j, "complex128"),
        (np.where(X == 7, np.inf, X), Y, "column 1, row 4"),
        (np.where(X == 7, np.nan, X), Y, "column 1, row 4"),
        (X, np.array([0, 1, np.inf, 1, 0]), "'y'"),
        (X, np.full(5, 2.5), "2.5"),
        (X, np.full(5, 7), "7"),
    ],
    ids=range(13),
)
def test_bad_arrays_are_refused_by_name(x, y, named):
    with refused(named):
        from_arrays(x, y)


# Splits

ROWS = {
    "regression": lambda n: Dataset(np.zeros((n, 1)), np.linspace(0, 1, n), None),
    "classes": lambda n: Dataset(np.zeros((n, 1)), np.arange(n) % 3, ("a", "b", "c")),
}
KINDS = pytest.mark.parametrize("kind", ROWS)


def parts(a_split, fold=0):
    return [a_split.train[fold], a_split.validation[fold], a_split.test]


@KINDS
@given(n=st.integers(3, 300), seed=st.integers(0, 2**32))
def test_every_row_is_in_exactly_one_part(kind, n, seed):
    a_split = split(ROWS[kind](n), Splitting(0.1, 0.1, seed))
    assert sorted(np.concatenate(parts(a_split)).tolist()) == list(range(n))
    assert all(np.all(np.diff(part) > 0) for part in parts(a_split))


@KINDS
@pytest.mark.parametrize("n", [10, 15, 100, 178, 1797])
@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.1), (0.2, 0.05), (0.05, 0.4)])
def test_every_part_has_its_share_of_the_rows(kind, n, validation, test):
    a_split = split(ROWS[kind](n), Splitting(validation, test, 0))
    assert a_split.validation.shape[1] == max(1, round(n * validation))
    assert len(a_split.test) == max(1, round(n * test))


@KINDS
@pytest.mark.parametrize("seed", range(5))
def test_three_rows_give_one_to_each_part(kind, seed):
    assert [len(part) for part in parts(split(ROWS[kind](3), Splitting(0.1, 0.1, seed)))] == [1, 1, 1]


@given(counts=st.lists(st.integers(2, 80), min_size=2, max_size=6), seed=st.integers(0, 2**32))
def test_every_class_has_its_share_of_a_part_to_within_one_row(counts, seed):
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    a_split = split(Dataset(np.zeros((len(y), 1)), y, tuple(range(len(counts)))), Splitting(0.1, 0.1, seed))
    left = np.array(counts)
    for part in (a_split.test, a_split.validation[0]):
        got = np.bincount(y[part], minlength=len(counts))
        assert np.all(np.abs(got - left * len(part) / left.sum()) < 1)
        left = left - got


@KINDS
def test_the_seed_decides_the_split(kind):
    dataset = ROWS[kind](200)
    first, again, other = (split(dataset, Splitting(0.1, 0.1, seed)) for seed in (3, 3, 4))
    assert first.digest == again.digest != other.digest
    assert all(map(np.array_equal, parts(first), parts(again)))
    assert not any(map(np.array_equal, parts(first), parts(other)))


@KINDS
def test_every_row_is_equally_likely_to_be_in_any_part(kind):
    n, seeds = 20, 2000
    splits = [split(ROWS[kind](n), Splitting(0.1, 0.1, seed)) for seed in range(seeds)]
    for name in ("validation", "test"):
        counts = np.bincount(np.concatenate([getattr(s, name).ravel() for s in splits]), minlength=n)
        assert np.all(np.abs(counts - seeds * 0.1) < 5 * np.sqrt(seeds * 0.1 * 0.9))


def test_a_split_of_a_regression_does_not_look_at_the_targets():
    left, right = ROWS["regression"](50), Dataset(np.zeros((50, 1)), np.arange(50.0)[::-1], None)
    assert split(left, Splitting(0.1, 0.1, 0)).digest == split(right, Splitting(0.1, 0.1, 0)).digest


def test_the_digest_tells_the_parts_apart():
    whole = split(ROWS["regression"](10), Splitting(0.1, 0.1, 0))
    swapped = type(whole)(whole.train, whole.test[None], whole.validation[0])
    assert whole.digest != swapped.digest


@pytest.mark.parametrize(
    ("name", "share"),
    [("validation", 0), *((name, share) for name in ("validation", "test") for share in (1, -0.1, 1.5, float("nan")))],
)
def test_a_share_outside_zero_to_one_is_refused_by_name(name, share):
    with refused(f"{name}={share}"):
        split(ROWS["classes"](10), Splitting(**{name: share}))


def test_shares_that_leave_no_row_to_train_on_are_refused():
    with refused("validation=0.6", "test=0.4"):
        split(ROWS["classes"](10), Splitting(0.6, 0.4, 0))


@KINDS
@given(n=st.integers(12, 300), folds=st.integers(2, 8), seed=st.integers(0, 2**32))
def test_folds_validate_on_equal_disjoint_parts_of_what_is_not_tested(kind, n, folds, seed):
    cut, whole = split(ROWS[kind](n), Splitting(0.1, 0.1, seed), folds), split(ROWS[kind](n), Splitting(0.1, 0.1, seed))
    assert np.array_equal(cut.test, whole.test)
    each = (n - len(cut.test)) // folds
    assert cut.validation.shape == (folds, each)
    validated = cut.validation.ravel().tolist()
    assert len(set(validated)) == folds * each
    for fold in range(folds):
        assert sorted(np.concatenate(parts(cut, fold)).tolist()) == list(range(n))


@given(counts=st.lists(st.integers(8, 60), min_size=2, max_size=5), folds=st.integers(2, 6), seed=st.integers(0, 2**32))
def test_folds_are_stratified(counts, folds, seed):
    """A fold holds its share of every class to within two rows: one of the test part's, one of its own."""
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    cut = split(Dataset(np.zeros((len(y), 1)), y, tuple(range(len(counts)))), Splitting(0.1, 0.1, seed), folds)
    for part in cut.validation:
        got = np.bincount(y[part], minlength=len(counts))
        assert np.all(np.abs(got - np.array(counts) * len(part) / len(y)) < 2)


def test_a_share_bounds_what_a_fold_validates_on():
    """Five folds of a tenth: 80 of 100 rows train in each, as in a single split."""
    cut = split(ROWS["classes"](100), Splitting(0.1, 0.1, 0), 5, 0.1)
    assert (cut.train.shape, cut.validation.shape) == ((5, 80), (5, 10))
    assert len(set(cut.validation.ravel().tolist())) == 50
    assert split(ROWS["classes"](100), Splitting(0.1, 0.1, 0), 20, 0.1).validation.shape == (20, 4)


def test_more_folds_than_rows_are_refused():
    with refused("folds=20"):
        split(ROWS["classes"](12), Splitting(0.1, 0.1, 0), 20)


# Rows of one's own


def test_parts_may_be_named_by_row_numbers(rows):
    """They validate and test, in the order of the rows; all others train."""
    task = pj.supervised(rows, validation=[3, 1, 2], test=np.arange(100, 120))
    parts = task.in_folds(1).split
    assert parts.validation.tolist() == [[1, 2, 3]]
    assert parts.test.tolist() == list(range(100, 120))
    assert parts.train[0].tolist() == [row for row in range(170) if row not in {1, 2, 3, *range(100, 120)}]
    folded = pj.supervised(rows, test=[0, 5]).in_folds(4).split
    assert folded.test.tolist() == [0, 5]
    assert not set(folded.train.ravel().tolist()) & {0, 5}
    shares = pj.supervised(rows).in_folds(1).split
    again = pj.supervised(rows, validation=shares.validation[0], test=shares.test).in_folds(1).split
    assert again.digest == shares.digest


def test_without_test_rows_nothing_is_scored(rows, tmp_path):
    results = pj.search(
        pj.supervised(rows, test=0),
        {"learning_rate": 0.1},
        trials=3,
        epochs=2,
        rank=pj.best(keep=3),
        out=tmp_path / "run",
    )
    assert (results.summary["test"], results.summary["test_value"], results.summary["ensemble"]) == ({}, None, None)
    parts = results.task.in_folds(1).split
    assert len(parts.test) == 0
    assert len(parts.train[0]) + len(parts.validation[0]) == 170
    assert pj.load_best(tmp_path / "run").score(*rows) > 0.5


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"test": [3, 170]}, "test: there is no row 170; choose 0..169"),
        ({"test": [-1]}, "test: there is no row -1"),
        ({"test": [1, 1]}, "a list of different row numbers"),
        ({"test": [0.5]}, "a list of different row numbers"),
        ({"test": []}, "a list of different row numbers"),
        ({"test": True}, "test=True: give a share"),
        ({"test": "all"}, "test='all': give a share"),
        ({"test": 1.0}, "test=1.0: give a share"),
        ({"validation": 0}, "validation=0: give a share"),
        ({"test": [1, 2], "validation": [2, 3]}, "row 2 is a validation row and a test row"),
        ({"test": list(range(170))}, "leave no row of 170"),
    ],
)
def test_wrong_parts_are_refused(rows, settings, says):
    with pytest.raises(ValueError, match=r".") as caught:
        pj.supervised(rows, **settings)
    assert says in str(caught.value)


def test_named_validation_rows_are_no_folds(rows):
    with pytest.raises(ValueError, match="folds=3 cut their own validation rows"):
        pj.search(pj.supervised(rows, validation=[1, 2]), {"learning_rate": 0.1}, trials=2, folds=3)
