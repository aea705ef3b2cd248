"""Files as people have them: each loads cell by cell, or is refused in one line; and so are arbitrary bytes."""

import decimal
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from popjax.data.dataset import load
from popjax.data.dates import part_names
from popjax.data.faults import Problems

CORPUS = Path(__file__).parent / "corpus"
NOTHING = 'use missing="median" (--missing median) or missing="drop" (--missing drop)'
MEND = f"mend them, or empty them and {NOTHING}"
NAME = "name it in line 1, or write the file without it (pandas: index=False)"


MANY_TEXTS = tuple(sorted(f"t{at}" for at in range(1001)))
PLACES = [MANY_TEXTS.index(f"t{at}") for at in range(1001)]


class Loads(NamedTuple):
    """What a file holds: its columns (a text column with its levels), encoded rows, and labels or values."""

    columns: dict[str, tuple[str, ...] | None]
    x: list[list[float]]
    y: list
    missing: str = "error"


class Refused(NamedTuple):
    """The error, without the file's name."""

    line: str
    missing: str = "error"


A = {"a": None}
ONE = Loads(A, [[1], [2], [3]], list("uvu"))
EYE = np.eye(5, dtype=int).tolist()

CSV = {
    # numbers
    "plain": Loads({"a": None, "b": None}, [[1, -0.0025], [0.5, 1000], [0, 3]], list("uvu")),
    "zeros": Loads(A, [[0], [-0.0], [0.5], [0.5], [0], [-0.25]], list("uvuvuv")),
    "spaces": Loads(A | {"c": (" p", "p ")}, [[1, 1, 0], [2, 1, 0], [3, 0, 1]], list("uvv")),
    "quoted_numbers": Loads(A, [[1], [2.5], [3]], [3, -1, 3]),
    "regression": Loads(A, [[1], [2], [3]], [0.5, 1.5, 0.5]),
    "many_integers": Loads(A, [[i] for i in range(21)], [float(i) for i in range(21)]),
    "infinity": Refused("infinite values in column 'b', row 2; replace by numbers within 1e+100"),
    "overflow": Refused("infinite values in column 'a', row 2; replace by numbers within 1e+100"),
    "huge": Refused("the value -1e+200 in column 'a', row 3; replace by numbers within 1e+100"),
    "one_bad_cell": Refused(f"column 'a' is numeric but for 1 cell: '1_000' in row 2; {MEND}"),
    "bad_cells": Refused(
        "column 'b' is numeric but for 7 cells: 'n/a' in row 2, '-' in row 4, '?' in row 7, "
        f"'unknown' in row 10, 'NA' in row 12, ...; mend them, or empty them (or name them: --na 'n/a,-,?,unknown,NA') "
        f"and {NOTHING}"
    ),
    "decimal_commas": Refused(
        "column 'a' is numeric but for 2 cells: '1,5' in row 1, '2,25' in row 2; "
        f"write 1.5, with a decimal point, or read them with --decimal ,; {MEND}"
    ),
    "thousands": Refused(
        "column 'a' is numeric but for 3 cells: '1,234.5' in row 1, '2,000' in row 2, '-1,234,567' in row 3; "
        f"read them with --thousands ,; {MEND}"
    ),
    # text
    "text": Loads(
        {"city": ("Bern", "Oslo", "Rome"), "a": None, "size": ("L", "M", "S")},
        [[0, 0, 1, 1, 0, 0, 1], [0, 1, 0, 2, 1, 0, 0], [0, 0, 1, 3, 0, 1, 0], [1, 0, 0, 4, 0, 0, 1]],
        [1.5, 2.5, 3.5, 4.5],
    ),
    "texts_na": Loads(
        {"c": ("-", "NA", "None", "null")},
        [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]],
        list("uvuvu"),
    ),
    "zip": Loads({"zip": ("00501", "00601")}, [[1, 0], [0, 1], [1, 0]], list("uvv")),
    "zip_among_numbers": Loads(
        {"zip": ("00501", "10001", "60601", "90210")},
        [[0, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]],
        list("uvvvu"),
    ),
    "signed_codes": Loads({"c": ("+08", "-007", "7")}, [[0, 1, 0], [1, 0, 0], [0, 0, 1]], list("uvv")),
    "truth_values": Loads({"flag": ("false", "true")}, [[0, 1], [1, 0], [0, 1]], ["False", "True", "False"]),
    "dates": Loads(
        dict.fromkeys(part_names("day")),
        [[2024, 1, 0, 1, 0], [2024, 1, 1, 2, 1], [2024, 1, 0, 1, 0]],
        list("uvv"),
    ),
    "half_numbers": Loads(
        {"c": ("1", "2", "x", "z")}, [[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], list("uvuv")
    ),
    "underscores": Loads({"c": ("1_0", "1_000")}, [[0, 1], [1, 0], [0, 1]], ["1_0", "1_1", "1_0"]),
    "minus_nan": Loads({"c": ("+NaN", "-nan")}, [[0, 1], [1, 0], [0, 1]], list("uvv")),
    "constants": Loads({"a": None, "c": ("same",), "b": None}, [[7, 1, 1], [7, 1, 2], [7, 1, 3]], list("uvu")),
    "thousand_texts": Loads({"c": tuple(f"t{i:04}" for i in range(1000))}, np.eye(1000).tolist(), list("uv") * 500),
    "many_texts": Loads(
        {"id": tuple(f"t{i:04}" for i in range(1001)), "a": None},
        np.column_stack([np.eye(1001), np.arange(1001)]).tolist(),
        list("uv") * 500 + ["u"],
    ),
    # targets
    "labels_na": Loads(A, [[1], [2], [3], [4], [5]], ["NA", "None", "null", "N/A", "NA"]),
    "zip_target": Loads(A, [[1], [2], [3], [4]], ["00501", "10001", "00501", "501"]),
    "single_row_class": Loads(A, [[i] for i in range(20)], ["rare" if i == 7 else "uv"[i % 2] for i in range(20)]),
    "three_rows": Loads(A, [[1], [2], [3]], list("uvw")),
    "two_rows": Refused("2 rows; give at least 3, one each to train, validate and test"),
    "one_class": Refused("the target 'y' has one class only, 'u'; give two or more"),
    "constant_target": Refused("the target 'y' is 2.5 in every row; nothing to learn"),
    "infinite_target": Refused(
        "the target 'y' has infinite values, or some beyond 1e+100; replace them by smaller numbers"
    ),
    "bad_target": Refused(
        "column 'y' is numeric but for 3 cells: 'n/a' in row 21, '21,5' in row 22, '?' in row 23; "
        "mend them, or empty them (or name them: --na 'n/a,?')"
    ),
    # missing cells
    "missing_drop": Loads(A | {"c": ("p", "s")}, [[1, 1, 0], [5, 1, 0], [6, 0, 1]], list("uvu"), "drop"),
    "missing_median": Loads(
        A | {"c": ("p", "q")}, [[1, 0, 1], [4, 1, 0], [4, 1, 0], [8, 0, 1], [4, 1, 0]], list("uvuvu"), "median"
    ),
    "missing_text_spelled": Loads({"c": ("NA",)}, [[1]] * 5, list("uvuvu"), "median"),
    "missing_number": Refused(f"2 missing cells ('a' 1, 'c' 1), the first in column 'a', row 2; {NOTHING}"),
    "missing_text": Refused(f"1 missing cells, the first in column 'c', row 3; {NOTHING}"),
    "missing_target": Refused("2 rows have a 'y'; give at least 3"),
    "two_rows_left": Refused(
        "2 rows left of 4, the others have missing cells; give at least 3, one each to train, validate and test", "drop"
    ),
    "empty_column": Loads(A, [[1], [2], [3]], list("uvu"), "median"),
    # the file
    "bom": ONE,
    "utf32": ONE,
    "utf16": Loads(A | {"city": ("Zürich", "Łódź")}, [[1, 1, 0], [2, 0, 1], [3, 1, 0]], list("uvu")),
    "utf16be": Loads(A, [[1], [2], [3]], ["é", "日本", "é"]),
    "unicode": Loads({"城市": ("κόσμος", "東京")}, [[0, 1], [1, 0], [0, 1]], ["ja", "nein", "ja"]),
    "semicolons": Loads(
        A | {"place": ("Oslo", "Rome, Italy", "x;y")},
        [[1.5, 0, 1, 0], [2.5, 1, 0, 0], [3.5, 0, 0, 1]],
        list("uvu"),
    ),
    "tabs": Loads(A, [[1], [2], [3]], ["u, v", "v", "v"]),
    "crlf": ONE,
    "carriage_returns": ONE,
    "trailing_newline_none": ONE,
    "blank_lines": ONE,
    "quoted_newlines": Loads(
        {"note": ('say "so"', "two\nlines"), "a": None}, [[0, 1, 1], [1, 0, 2], [0, 1, 3]], ["u\r\nv", "w", "w"]
    ),
    "wide_names": Loads({"a\nb": None, "c,d": None, 'e"f': None}, [[1, 2, 3], [4, 5, 6], [7, 8, 9]], list("uvu")),
    "empty": Refused("cannot read {file}: the file is empty"),
    "header_only": Refused("{file} has a header but no rows; add data"),
    "blank_first_line": Refused("cannot read {file} as CSV: no header in line 1; name the columns there"),
    "too_few_fields": Refused("line 3 has 2 fields, the header 3; mend that line"),
    "too_many_fields": Refused("line 3 has 4 fields, the header 3; mend that line"),
    "too_many_after_newlines": Refused("line 6 has 3 fields, the header 2; mend that line"),
    "open_quote": Refused(
        "cannot read {file} as CSV: line 4: unexpected end of data; close its quotes and save it again"
    ),
    "stray_quote": Refused(
        "cannot read {file} as CSV: line 3: ',' expected after '\"'; close its quotes and save it again"
    ),
    "latin1": Refused("cannot read {file} as UTF-8: byte 21 (0xfc, line 3) is not; save it as UTF-8"),
    "utf16_without_mark": Refused("cannot read {file}: byte 1 is NUL, not text; save it as UTF-8"),
    "utf16_cut": Refused("cannot read {file} as UTF-16: byte 32 (0x0a, line 4) is not; save it as UTF-8"),
    "duplicate_name": Refused("the column name 'a' is empty or appears twice; rename it"),
    "empty_name": Refused(f"column 2 has no name; {NAME}"),
    "blank_name": Refused(f"column 2 has no name; {NAME}"),
    "only_the_target": Refused("{file} has no column but the target 'y'; add features"),
    "other_target": Refused("{file} has no column 'y' for the target; it has 'a', 'b'"),
}


def parquet(columns, **how):
    """The bytes of a Parquet file of Arrow or Python columns, in order."""
    sink = io.BytesIO()
    table = pa.table(columns) if isinstance(columns, dict) else columns
    pq.write_table(table, sink, write_page_checksum=True, **how)
    return sink.getvalue()


def flipped(content, place):
    """The bytes with one of them changed."""
    return content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]


def cell(type_):
    """Three rows of one value of a type that is neither number nor text."""
    values = {"timestamp": 0, "date": 0, "list": [1], "struct": {"k": 1}, "binary": b"x"}
    return parquet({"when": pa.array([values[str(type_).split("[")[0].split("<")[0].split("32")[0]]] * 3, type_), **UV})


def npz(**arrays):
    """The bytes of an NPZ file."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


UV = {"y": list("uvu")}
MIXED = {
    "flag": [True, False, True],
    "small": pa.array([1, -2, 3], pa.int8()),
    "large": pa.array([2**53, 0, 1], pa.uint64()),
    "half": pa.array(np.array([0.5, 1.5, -2], "float16")),
    "money": pa.array([decimal.Decimal("1.25"), decimal.Decimal("-3"), decimal.Decimal("0.5")], pa.decimal128(9, 2)),
    "c": ["q", "p", "q"],
    "big": pa.array(["00501", "NA", "1.5"], pa.large_string()),
    "cat": pa.DictionaryArray.from_arrays(pa.array([2, 1, 2]), ["unused", "None", "m"]),
    "codes": pa.DictionaryArray.from_arrays(pa.array([1, 0, 1]), pa.array([10, 20])),
}
HOLED = {
    "a": pa.array([1.0, None, 4.0, float("nan")]),
    "n": pa.array([None, 2, 4, 9]),
    "c": ["q", None, " ", "p"],
    "y": ["u", "v", "u", "v"],
}
FRAME = pd.DataFrame({"a": [1, 2, 3], "c": pd.Categorical(["p", "q", "p"]), "y": list("uvu")}, index=[7, 8, 9])
GOOD = parquet({"a": [1.5, 2.5, 3.5], "c": ["p", "q", "p"], **UV}, compression="none", use_dictionary=False)

PARQUET = {
    "types": (
        parquet(MIXED | UV),
        Loads(
            dict.fromkeys(MIXED) | {"c": ("p", "q"), "big": ("00501", "1.5", "NA"), "cat": ("None", "m")},
            [
                [1, 1, 2**53, 0.5, 1.25, 0, 1, 1, 0, 0, 0, 1, 20],
                [0, -2, 0, 1.5, -3, 1, 0, 0, 0, 1, 1, 0, 10],
                [1, 3, 1, -2, 0.5, 0, 1, 0, 1, 0, 0, 1, 20],
            ],
            list("uvu"),
        ),
    ),
    "groups": (
        parquet({"a": range(6), "c": list("pqprqp"), "y": list("uvuvuv")}, row_group_size=2, compression="gzip"),
        Loads(
            A | {"c": ("p", "q", "r")},
            [[0, 1, 0, 0], [1, 0, 1, 0], [2, 1, 0, 0], [3, 0, 0, 1], [4, 0, 1, 0], [5, 1, 0, 0]],
            list("uvuvuv"),
        ),
    ),
    "pandas": (
        parquet(pa.Table.from_pandas(FRAME, preserve_index=False)),
        Loads(A | {"c": ("p", "q")}, [[1, 1, 0], [2, 0, 1], [3, 1, 0]], list("uvu")),
    ),
    "good": (GOOD, Loads(A | {"c": ("p", "q")}, [[1.5, 1, 0], [2.5, 0, 1], [3.5, 1, 0]], list("uvu"))),
    "integer labels": (parquet(A | {"a": [1, 2, 3], "y": [7, -7, 7]}), Loads(A, [[1], [2], [3]], [7, -7, 7])),
    "truth labels": (
        parquet({"a": [1, 2, 3], "y": [True, False, True]}),
        Loads(A, [[1], [2], [3]], [True, False, True]),
    ),
    "real target": (
        parquet({"a": [1, 2, 3], "y": pa.array([1, 2, 1], pa.float32())}),
        Loads(A, [[1], [2], [3]], [1.0, 2.0, 1.0]),
    ),
    "integers with nulls": (
        parquet({"a": [1, 2, 3, 4], "y": pa.array([7, None, 8, 7])}),
        Loads(A, [[1], [3], [4]], [7, 8, 7], "drop"),
    ),
    "texts with nulls": (
        parquet({"a": [1, 2, 3, 4, 5], "y": ["u", None, "NA", "nan", "u"]}),
        Loads(A, [[1], [3], [5]], ["u", "NA", "u"], "drop"),
    ),
    "holed": (
        parquet(HOLED),
        Loads(
            {"a": None, "n": None, "c": ("p", "q")},
            [[1, 4, 0, 1], [2.5, 2, 1, 0], [4, 4, 1, 0], [2.5, 9, 1, 0]],
            list("uvuv"),
            "median",
        ),
    ),
    "holed, unasked": (
        parquet(HOLED),
        Refused(f"5 missing cells ('a' 2, 'n' 1, 'c' 2), the first in column 'n', row 1; {NOTHING}"),
    ),
    "null column": (
        parquet({"a": pa.nulls(3), "b": [1, 2, 3], **UV}),
        Loads({"b": None}, [[1], [2], [3]], list("uvu"), "median"),
    ),
    "times": (
        cell(pa.timestamp("us")),
        Loads(dict.fromkeys(part_names("when")), [[1970, 1, 3, 1, 0]] * 3, list("uvu")),
    ),
    "days": (
        cell(pa.date32()),
        Loads(dict.fromkeys(part_names("when")), [[1970, 1, 3, 1, 0]] * 3, list("uvu")),
    ),
    "lists": (
        cell(pa.list_(pa.int64())),
        Refused("column 'when' holds list<element: int64>, neither numbers nor text; convert it or drop it"),
    ),
    "structs": (
        cell(pa.struct({"k": pa.int8()})),
        Refused("column 'when' holds struct<k: int8>, neither numbers nor text; convert it or drop it"),
    ),
    "bytes": (
        cell(pa.binary()),
        Refused("column 'when' holds binary, neither numbers nor text; convert it or drop it"),
    ),
    "no UTF-8": (
        parquet({"c": pa.array([b"p", b"\xff", b"q"]).cast(pa.string(), safe=False), **UV}),
        Refused("cannot read {file} as Parquet: "),
    ),
    "many texts": (
        parquet({"id": [f"t{i}" for i in range(1001)], "y": [i % 2 for i in range(1001)]}),
        Loads({"id": MANY_TEXTS}, np.eye(1001)[PLACES].tolist(), [0, 1] * 500 + [0]),
    ),
    "no rows": (
        parquet({"a": pa.array([], pa.int64()), "y": pa.array([], pa.int64())}),
        Refused("{file} has columns but no rows; add data"),
    ),
    "same names": (
        parquet(pa.table([[1, 2, 3]] * 2 + [list("uvu")], names=["a", "a", "y"])),
        Refused("the column name 'a' is empty or appears twice; rename it"),
    ),
    "other target": (
        parquet({"a": [1], "b": [1]}),
        Refused("{file} has no column 'y' for the target; it has 'a', 'b'"),
    ),
    "a flipped byte": (
        flipped(GOOD, GOOD.index(np.float64(2.5).tobytes())),
        Refused(
            "cannot read {file} as Parquet: could not verify page integrity, CRC checksum verification failed for "
        ),
    ),
    "cut": (GOOD[:-9], Refused("cannot read {file} as Parquet: ")),
    "text": (b"a,y\n1,u\n2,v\n3,u\n", Refused("cannot read {file} as Parquet: ")),
}

NPZ = {
    "table": (npz(x=[[1, 2], [3, 4], [5, 6]], y=list("uvu")), Loads({}, [[1, 2], [3, 4], [5, 6]], list("uvu"))),
    "images": (
        npz(x=np.arange(12).reshape(3, 2, 2), y=[0.5, 1.5, 2.5]),
        Loads({}, [[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[8, 9], [10, 11]]], [0.5, 1.5, 2.5]),
    ),
    "holed": (
        npz(x=[[1, np.nan], [3, 4], [np.nan, 6]], y=[1, 0, 1]),
        Loads({}, [[1, 5], [3, 4], [2, 6]], [1, 0, 1], "median"),
    ),
    "texts": (
        npz(x=[["p"], ["q"], ["p"]], y=list("uvu")),
        Refused("x is <U1[3, 1]; give numbers of shape (rows, features)"),
    ),
}

FILES = {("csv", name): ((CORPUS / f"{name}.csv").read_bytes(), expected) for name, expected in CSV.items()}
FILES |= {("parquet", name): entry for name, entry in PARQUET.items()}
FILES |= {("npz", name): entry for name, entry in NPZ.items()}


@pytest.mark.parametrize(("suffix", "name"), FILES, ids=lambda part: part.replace(" ", "-"))
def test_a_file_of_the_corpus(tmp_path, suffix, name):
    content, expected = FILES[suffix, name]
    path = tmp_path / f"table.{suffix}"
    path.write_bytes(content)
    if isinstance(expected, Refused):
        with pytest.raises(ValueError) as caught:
            load(str(path), "y", expected.missing)
        line = expected.line if "{file}" in expected.line else "{file}: " + expected.line
        line = line.format(file=repr(str(path)))
        message = str(caught.value)
        assert message.splitlines() == [message]
        assert message == line or (line.endswith(" ") and message.startswith(line))
        return
    dataset = load(str(path), "y", expected.missing)
    assert dataset.x.dtype == "float64"
    assert dataset.one_hot.tolist() == expected.x
    assert dataset.columns == tuple(expected.columns)
    assert dataset.levels == {column: levels for column, levels in expected.columns.items() if levels}
    if isinstance(expected.y[0], float):
        assert (dataset.classes, dataset.y.tolist()) == (None, expected.y)
    else:
        assert repr(dataset.classes) == repr(tuple(sorted(set(expected.y))))
        assert [dataset.classes[code] for code in dataset.y] == expected.y


def test_the_corpus_is_whole():
    """Every file on the disk has its outcome, there are at least 40, and half or more load."""
    assert {path.name for path in CORPUS.iterdir()} == {f"{name}.csv" for name in CSV}
    loads = sum(isinstance(expected, Loads) for _, expected in FILES.values())
    assert len(CSV) >= 40
    assert 2 * loads >= len(FILES)


# Arbitrary bytes


def only_value_error(path, content, missing="median"):
    """Load it: whatever it holds, it is a Dataset of finite numbers or a ValueError of lines that name the file."""
    path.write_bytes(content)
    try:
        dataset = load(str(path), "y", missing)
    except ValueError as error:
        assert type(error) in (ValueError, Problems)
        for message in getattr(error, "lines", (str(error),)):
            assert message.splitlines() == [message]
            assert repr(str(path)) in message
    else:
        assert np.isfinite(dataset.x).all()
        assert dataset.x.shape[0] == len(dataset.y) >= 3
        assert dataset.x.shape[1:] == (len(dataset.columns),) or not dataset.columns


MANY = settings(max_examples=300, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SUFFIX = pytest.mark.parametrize("suffix", ["csv", "parquet", "npz"])


@pytest.mark.soak
@SUFFIX
@MANY
@given(content=st.binary(max_size=300))
@example(b"\xff\xfe\x00")
@example(b"PAR1PAR1PAR1")
@example(b"PK\x05\x06" + bytes(18))
def test_arbitrary_bytes(tmp_path, suffix, content):
    only_value_error(tmp_path / f"table.{suffix}", content)


@SUFFIX
@MANY
@given(data=st.data())
def test_damaged_files(tmp_path, suffix, data):
    """Bytes of a good file changed, cut out, or put in."""
    name = data.draw(st.sampled_from([n for s, n in FILES if s == suffix and isinstance(FILES[s, n][1], Loads)]))
    content = FILES[suffix, name][0]
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 4))
        content = content[:start] + data.draw(st.binary(max_size=4)) + content[start + length :]
    only_value_error(tmp_path / f"table.{suffix}", content)


CELLS = st.one_of(
    st.text(max_size=6),
    st.floats().map(repr),
    st.integers().map(str),
    st.sampled_from(["", "nan", "NA", "00501", "1_0", "1,5", "inf", "9" * 400, "-nan", "\u0661", '"', "\r"]),
)


@MANY
@given(
    rows=st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=12),
    missing=st.sampled_from(["error", "drop", "median"]),
)
def test_tables_of_arbitrary_cells(tmp_path, rows, missing):
    """Well-formed rows of odd cells: the checks behind the parser raise nothing else either."""
    text = io.StringIO(newline="")
    pd.DataFrame(rows, columns=["a", "b", "y"]).to_csv(text, index=False, quoting=1)
    only_value_error(tmp_path / "table.csv", text.getvalue().encode("utf-8", "surrogatepass"), missing)
