"""`popjax predict`: what a predictor of this process says, for files as people have them."""

import concurrent.futures
import csv
import io
import os
import pickle
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flax import nnx

import popjax as pj
from popjax.data import batches

CITIES = ("Lima", "Oslo", "=1+1", "a,b", 'say "hi"')


def table(rows, seed=0):
    """Numbers, texts that are hard to write, truth values, and holes in a column of each kind."""
    rng = np.random.default_rng(seed)
    age, city = rng.integers(18, 80, rows).astype(float), rng.choice(CITIES, rows).astype(object)
    age[::7], city[3::11] = np.nan, None
    return pd.DataFrame({"age": age, "city": city, "income": rng.normal(size=rows), "member": rng.random(rows) < 0.5})


def targets(frame, kind):
    score = frame["income"] + frame["city"].eq("Oslo") + 0.02 * frame["age"].fillna(40)
    return np.where(score > score.median(), "yes", "no") if kind == "classes" else score.to_numpy()


@pytest.fixture(scope="module", params=["classes", "values", "labels", "folds"])
def run(request, tmp_path_factory):
    """A directory, and the predictor of what it holds."""
    place, frame = tmp_path_factory.mktemp("run"), table(400)
    y = targets(frame, request.param if request.param != "folds" else "classes")
    if request.param == "labels":
        y = pd.DataFrame({"late": frame["income"] > 0, "left": frame["age"].fillna(0) > 50})
    task = pj.supervised((frame, y), missing="median")
    folds, rank = (3, pj.together(4)) if request.param == "folds" else (1, None)
    space = {"learning_rate": pj.log_uniform(1e-2, 1e-1), "hidden": 8}
    pj.search(task, space, trials=6, epochs=5, folds=folds, rank=rank, out=place)
    return place, pj.load_best(place)


def written(frame, path):
    """The frame as a file."""
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def columns_of(text, delimiter=","):
    head, *rows = csv.reader(io.StringIO(text), delimiter=delimiter)
    return dict(zip(head, zip(*rows, strict=True), strict=True))


def close(cells, values):
    """Cells of a file equal values: texts as they are, numbers to float32."""
    if np.asarray(values).dtype.kind in "fb":
        spelled = [{"True": 1.0, "False": 0.0}.get(cell, cell) for cell in map(str, cells)]
        np.testing.assert_allclose(np.array(spelled, float), np.asarray(values, float), rtol=1e-5, atol=1e-6)
    else:
        assert list(cells) == list(values)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_it_is_what_the_predictor_predicts(command, tmp_path, run, suffix):
    """Of columns in another order, one too many, levels never seen, and rows in several parts."""
    place, predictor = run
    frame = table(1000, seed=1)
    frame.loc[::13, "city"] = "never seen"
    frame["=cmd()"] = "=2+2"
    file = written(frame[frame.columns[::-1]], tmp_path / f"rows{suffix}")
    ended = command("predict", place, file)
    assert ended.returncode == 0, ended.stderr
    predicted = predictor.predict(frame)
    names = list(predictor.outputs) or ["prediction"]
    found = columns_of(ended.stdout)
    assert list(found) == names
    for name, values in zip(names, predicted.reshape(1000, -1).T, strict=True):
        close(found[name], values)
    if predictor.recipe.kind.chances:
        ended = command("predict", place, file, "--proba", "--out", f"said{suffix}")
        assert ended.stdout == f"said{suffix}\n"
        if suffix == ".parquet":
            found = pq.read_table(tmp_path / "said.parquet").to_pydict()
        else:
            found = columns_of((tmp_path / f"said{suffix}").read_text(), "\t" if suffix == ".tsv" else ",")
        assert list(found) == list(map(str, predictor.classes or predictor.outputs))
        for values, expected in zip(found.values(), predictor.predict_proba(frame).T, strict=True):
            close(values, expected)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_parts_of_any_size_are_the_same_rows(tmp_path, monkeypatch, suffix):
    file = written(table(100), tmp_path / f"rows{suffix}")
    names = ["income", "city"]
    asked = batches.Asked(names, keep=["age"])
    (whole,) = batches.batches_of(file, asked)
    for size in (1, 8, 64, 150):
        monkeypatch.setattr("popjax.data.batches.CHUNK", size)
        monkeypatch.setattr("popjax.data.csv_file.CHUNK", size)
        parts = list(batches.batches_of(file, asked))
        assert len(parts) > 1
        for at, column in enumerate(whole.cells):
            joined = [cell for part in parts for cell in part.cells[at].tolist()]
            assert joined == column.tolist()
        assert [str(cell) for part in parts for cell in part.kept[0]] == [str(cell) for cell in whole.kept[0]]


def test_an_empty_line_of_one_column_is_a_missing_cell(command, tmp_path):
    """So a spreadsheet writes it; lines at the end of the file are none."""
    x = np.random.default_rng(0).normal(size=(60, 1))
    frame = pd.DataFrame({"a": x[:, 0], "y": x[:, 0]})
    frame.loc[3, "a"] = None
    pj.search(
        pj.supervised(frame, target="y", missing="median"), {"hidden": 4}, trials=1, epochs=1, out=tmp_path / "run"
    )
    (tmp_path / "asked.csv").write_text("a\n\n1.0\n\n\n3.0\n\n\n")
    ended = command("predict", "run", "asked.csv")
    asked = pd.DataFrame({"a": [np.nan, 1.0, np.nan, np.nan, 3.0]})
    close(ended.stdout.split()[1:], pj.load_best(tmp_path / "run").predict(asked))


def test_a_text_column_is_text_whatever_its_cells_look_like(command, tmp_path, monkeypatch):
    """Postcodes, of which one begins with 0: a file, or a part of one, in which none does is no column of numbers."""
    rng = np.random.default_rng(0)
    codes, income = rng.choice(["00501", "10001", "90210"], 120), rng.normal(size=120)
    rows = [f"{code},{value},{'yes' if code == '10001' else 'no'}" for code, value in zip(codes, income, strict=True)]
    (tmp_path / "rows.csv").write_text("\n".join(["zip,income,y", *rows]) + "\n")
    first = ("--dataset", "rows.csv", "--target", "y", "--trials", "2", "--epochs", "1", "--quiet", "--out", "run")
    assert command("sweep", *first).returncode == 0
    asked = pd.DataFrame({"zip": ["90210", "10001", "12345"], "income": [1.0, 0.5, 0.0]})
    asked.to_csv(tmp_path / "asked.csv", index=False)
    ended = command("predict", "run", "asked.csv")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split()[1:] == pj.load_best(tmp_path / "run").predict(asked).tolist()


ROWS = "age,city,income,member\n30,Oslo,1,True\n"
BAD = [
    ("age,city,income\n1,Oslo,2\n", "lacks the column 'member', which the winner reads; it has 'age', 'city'"),
    (ROWS + "30,Oslo,much,True\n", "column 'income' is numeric, but row 2 holds 'much'; give a number"),
    (ROWS + "30,Oslo,=1+1,True\n", "row 2 holds '=1+1'"),
    (ROWS + "30,Oslo,inf,True\n", "a cell is infinite, column 'income', row 2"),
    (ROWS + "30,Oslo,1\n", "line 3 has 3 fields, the header 4"),
    (ROWS + '30,"Oslo,1,True\n', "close its quotes"),
    ("age,age,city,income,member\n", "age"),
    ("age,city,income,member\n", "has columns but no rows"),
    ("", "no header"),
    (b"age,city,income,member\n30,\xff,1,True\n", "byte 26 (0xff, line 2) is not"),
    (ROWS.encode() + b"30,\0,1,True\n", "is NUL"),
]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The directory of a search on complete columns."""
    place, frame = tmp_path_factory.mktemp("plain"), table(200).dropna()
    task = pj.supervised((frame.assign(member=frame["member"].astype(str)), targets(frame, "classes")))
    pj.search(task, {"learning_rate": 0.01, "hidden": 8}, trials=1, epochs=2, out=place)
    return place


@pytest.mark.parametrize(("content", "says"), BAD, ids=[says for _, says in BAD])
def test_a_bad_file_is_one_line(refused_in_one_line, tmp_path, plain, content, says):
    (tmp_path / "rows.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    refused_in_one_line("predict", plain, "rows.csv", says=["rows.csv", says])


def test_a_bad_row_of_a_later_part_is_named_by_its_number(refused_in_one_line, tmp_path, plain):
    """Also where nothing of the file may be left behind."""
    lines = "30,Oslo,1,True\n" * 40_000
    (tmp_path / "rows.csv").write_text(f"age,city,income,member\n{lines}30,Oslo,,True\n")
    refused_in_one_line("predict", plain, "rows.csv", "--out", "said.csv", says=["column 'income', row 40001"])
    assert not [name for name in os.listdir(tmp_path) if "said" in name]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.csv"], "cannot read 'nowhere.csv': no such file"),
        (["bytes.parquet"], "column 'city' holds bytes that are no UTF-8"),
        (["rows.npz"], "is no file of columns; give one of .csv, .tsv, .parquet"),
        (["damaged.parquet"], "cannot read 'damaged.parquet' as Parquet"),
        (["times.parquet"], "column 'income' is numeric, but row 1 holds datetime.datetime(1970"),
        (["rows.csv", "--out", "said.xlsx"], "--out 'said.xlsx' is no file of columns"),
        (["rows.csv", "--out", "./rows.csv"], "is the file that is read; name another one"),
        (["rows.csv", "--out", "nowhere/said.csv"], "is in no directory; name a file in one that is there"),
        (["rows.csv", "--out", "folder.csv"], "is a directory; name a file in one that is there"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_cannot_be_read_or_written_is_one_line(refused_in_one_line, tmp_path, plain, arguments, says):
    (tmp_path / "rows.csv").write_text(ROWS)
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 nothing PAR1")
    times = pa.table({"age": [1.0], "city": ["Oslo"], "income": pa.array([0], pa.timestamp("s")), "member": ["True"]})
    pq.write_table(times, tmp_path / "times.parquet")
    city = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.int32([0, 1]).tobytes()), pa.py_buffer(b"\xff")]
    )
    broken = pa.table({"age": [1.0], "city": city, "income": [1.0], "member": ["True"]})
    pq.write_table(broken, tmp_path / "bytes.parquet")
    (tmp_path / "folder.csv").mkdir()
    refused_in_one_line("predict", plain, *arguments, says=[says])


@pytest.mark.kill
def test_sigterm_leaves_nothing_behind(environment, tmp_path, plain):
    """Also amid a long file."""
    (tmp_path / "rows.csv").write_text("age,city,income,member\n" + "30,Oslo,1,True\n" * 3_000_000)
    arguments = [sys.executable, "-m", "popjax.predict", str(plain), "rows.csv", "--out", "said.csv"]
    process = subprocess.Popen(arguments, cwd=tmp_path, env={**os.environ, **environment})
    while process.poll() is None and not list(tmp_path.glob(".said.csv.*")):
        time.sleep(0.05)
    process.terminate()
    assert process.wait(60) == 143
    assert not [name for name in os.listdir(tmp_path) if "said" in name]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_standard_output_is_one_line(environment, tmp_path, plain):
    (tmp_path / "rows.csv").write_text(ROWS)
    arguments = [sys.executable, "-m", "popjax.predict", str(plain), "rows.csv"]
    with open("/dev/full", "wb") as full:
        where = {"cwd": tmp_path, "env": {**os.environ, **environment}, "text": True}
        process = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, **where)
    assert process.returncode == 5
    (line,) = process.stderr.splitlines()
    assert "standard output: No space left on device" in line


def test_a_winner_without_columns_or_classes_says_so(refused_in_one_line, tmp_path, rows):
    (tmp_path / "rows.csv").write_text(ROWS)
    space = {"learning_rate": 0.01, "hidden": 4}
    pj.search(pj.supervised(rows), space, trials=1, epochs=1, out=tmp_path / "arrays")
    refused_in_one_line("predict", "arrays", "rows.csv", says=["was trained on arrays", "popjax.load_best"])
    frame = table(60).dropna()
    pj.search(pj.supervised((frame, frame["income"])), space, trials=1, epochs=1, out=tmp_path / "values")
    refused_in_one_line("predict", "values", "rows.csv", "--proba", says=["--proba", "leave it out"])
    refused_in_one_line("predict", "nothing", "rows.csv", says=["nothing"])


def test_texts_that_mean_a_missing_cell_are_those_of_the_run(command, tmp_path):
    frame = table(120).dropna()
    written(frame.assign(y=targets(frame, "classes")).replace({"city": {"Lima": "n/a"}}), tmp_path / "rows.csv")
    first = ("--dataset", "rows.csv", "--target", "y", "--missing", "median", "--na", "n/a", "--trials", "2")
    assert command("sweep", *first, "--epochs", "1", "--quiet", "--out", "run").returncode == 0
    assert "n/a" not in pj.load_best(tmp_path / "run").recipe.levels["city"]
    (tmp_path / "holes.csv").write_text("age,city,income,member\nn/a,n/a,1,True\n")
    assert command("predict", "run", "holes.csv").returncode == 0
    assert command("predict", "run", "holes.csv", "--na", "-").returncode == 2
    told = ("--dataset", "rows.csv", "--target", "y", "--missing", "median", "--na", "n/a", "--out", "one")
    (tmp_path / "script.txt").write_text("go 1\nsave\n")
    assert command("babysit", *told, "--script", "script.txt").returncode == 0
    assert command("predict", "one", "holes.csv").returncode == 0


@pytest.mark.soak
def test_a_million_rows_need_less_than_a_gibibyte(python, tmp_path, plain):
    part = "\n".join(f"{age},{'Oslo' if age % 3 else 'Lima'},{age / 7},{age % 2 == 0}" for age in range(1000))
    with (tmp_path / "rows.csv").open("w") as file:
        file.write("age,city,income,member\n")
        for _ in range(1000):
            file.write(part + "\n")
    code = (
        "import atexit, resource, runpy, sys\n"
        "told = lambda: open('peak', 'w').write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))\n"
        "atexit.register(told)\n"
        "runpy.run_module('popjax.predict', None, '__main__', True)\n"
    )
    ended = python(code, plain, "rows.csv", "--out", "said.csv")
    assert ended.returncode == 0, ended.stderr
    with (tmp_path / "said.csv").open() as file:
        assert sum(1 for _ in file) == 1_000_001
    assert int((tmp_path / "peak").read_text()) < 2**20  # KiB


def test_threads_that_share_a_predictor_predict_what_one_thread_does(rows):
    """Also its first predictions, which compile."""
    several = {"folds": 2, "repeats": 2, "rank": pj.together(3)}
    predictor = pj.search(pj.supervised(rows), trials=6, epochs=3, **several).predictor()
    x, _ = rows
    asked = [x[begin : begin + count] for count in (1, 3, 40, 100) for begin in range(0, 60, 5)]
    wanted = [pickle.loads(pickle.dumps(predictor)).predict_proba(one) for one in asked[::12]]
    shared = pickle.loads(pickle.dumps(predictor))
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        found = [*pool.map(shared.predict_proba, asked)]
    for one, same in zip(found[::12], wanted, strict=True):
        np.testing.assert_array_equal(one, same)
    for one, question in zip(found, asked, strict=True):
        np.testing.assert_array_equal(one, shared.predict_proba(question))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_of_the_file_are_kept_beside_the_predictions(command, tmp_path, run, suffix):
    """As the file has them, in the order that was asked for, or all; of Parquet with their types."""
    place, predictor = run
    frame = table(200, seed=2).assign(id=[f"00{at}" for at in range(200)], count=range(200))
    file = written(frame, tmp_path / f"rows{suffix}")
    names = list(predictor.outputs) or ["prediction"]
    for keep, kept in (("id,count", ["id", "count"]), ("all", list(frame.columns))):
        ended = command("predict", place, file, "--keep", keep, "--out", f"said{suffix}")
        assert ended.returncode == 0, ended.stderr
        if suffix == ".parquet":
            found = pq.read_table(tmp_path / "said.parquet")
            assert found.schema.field("count").type == pa.int64()
            found = found.to_pydict()
            assert found["id"] == frame["id"].tolist()
        else:
            found = columns_of((tmp_path / "said.csv").read_text())
            given = columns_of(file.read_text())
            assert all(found[name] == given[name] for name in kept)
        assert list(found) == [*kept, *names]
        for name, values in zip(names, predictor.predict(frame).reshape(200, -1).T, strict=True):
            close(found[name], values)


def test_what_cannot_be_kept_is_one_line(tmp_path, run, refused_in_one_line):
    place, predictor = run
    name = (list(predictor.outputs) or ["prediction"])[0]
    written(table(20).assign(**{name: 1}), tmp_path / "rows.csv")
    refused_in_one_line("predict", place, "rows.csv", "--keep", "ident", says=["has no column 'ident' to keep"])
    refused_in_one_line("predict", place, "rows.csv", "--keep", "all", says=[f"--keep {name}: a column of the pred"])
    refused_in_one_line("predict", place, "rows.csv", "--keep", "age,,city", says=["--keep 'age,,city': write names"])


@pytest.mark.parametrize("words", [[], ["--proba"]], ids=["decided", "chances"])
def test_the_spread_is_that_of_all_models(command, tmp_path, run, words):
    """Of the probability of the class that is predicted, of each, or of values: by hand, over trials and folds."""
    place, predictor = run
    frame = table(50, seed=3)
    file = written(frame, tmp_path / "rows.csv")
    ended = command("predict", place, file, "--spread", *words)
    kind = predictor.recipe.kind
    if sum(one.members for one in predictor.trained) == 1 or (words and not kind.chances):
        assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
        return
    assert ended.returncode == 0, ended.stderr
    assert "it is no interval" in ended.stderr
    alone = [predictor.only(trial).each_of(predictor.recipe.encoded(frame)) for trial in predictor.trials]
    spread = np.concatenate(alone).std(0)
    np.testing.assert_allclose(predictor.spread(frame), spread, rtol=1e-6, atol=1e-9)
    chances = predictor.predict_proba(frame)
    expected = spread.T if words else [spread[np.arange(50), chances.argmax(-1)]]
    names = list(map(str, predictor.classes)) if words else ["prediction"]
    found = columns_of(ended.stdout)
    assert list(found) == [*names, *(f"{name}_spread" for name in names)]
    for name, values in zip(names, expected, strict=True):
        close(found[f"{name}_spread"], values)


def test_numbers_are_read_as_those_of_the_run(command, tmp_path, refused_in_one_line):
    """With commas for decimals, as in training; a cell that is a number in another notation alone is refused."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 2)) * 5000
    spelled = lambda value: f"{value:,.2f}".translate(str.maketrans(",.", ".,"))
    rows = "".join(f"{spelled(a)};{spelled(b)};{spelled(a + b)}\n" for a, b in x)
    (tmp_path / "rows.csv").write_text("a;b;y\n" + rows)
    plain = "".join(f"{round(a, 2)};{round(b, 2)};{round(a + b, 2)}\n" for a, b in x)
    (tmp_path / "plain.csv").write_text("a;b;y\n" + plain)
    words = ["--target", "y", "--trials", 3, "--epochs", 2, "--set", "hidden=4", "--quiet"]
    signs = ["--decimal", ",", "--thousands", "."]
    done = command("sweep", "--dataset", "rows.csv", *signs, *words, "--out", "run")
    assert done.returncode == 0, done.stderr
    assert command("sweep", "--dataset", "plain.csv", *words, "--out", "plain").returncode == 0
    assert pj.Results.load(tmp_path / "run").best.value == pj.Results.load(tmp_path / "plain").best.value
    told, plainly = command("predict", "run", "rows.csv"), command("predict", "plain", "plain.csv")
    assert told.returncode == 0, told.stderr
    assert told.stdout == plainly.stdout
    says = ["'plain.csv': column 'a' is numeric, but row 1 holds", "no number as --thousands and --decimal have them"]
    refused_in_one_line("predict", "run", "plain.csv", says=says)
    assert command("predict", "run", "plain.csv", "--decimal", ".", "--thousands", ",").stdout == plainly.stdout


def test_outputs_of_a_custom_loss_have_a_column_each(command, tmp_path):
    """Whose number the model's output has: the file's header fits its rows."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=["x", "a", "b"])
    frame.to_csv(tmp_path / "t.csv", index=False)
    loss = lambda outputs, targets: ((outputs - targets) ** 2).mean(-1)
    task = pj.supervised(str(tmp_path / "t.csv"), target=["a", "b"], loss=loss)
    results = pj.search(task, {"learning_rate": 0.1, "hidden": 4}, trials=1, epochs=1, out=tmp_path / "run")
    expected = results.predictor().predict(frame[["x"]])
    told = pd.read_csv(io.StringIO(command("predict", "run", "t.csv").stdout))
    assert list(told.columns) == ["prediction_0", "prediction_1"]
    np.testing.assert_allclose(told.to_numpy(), expected, rtol=1e-6)


def test_a_score_finds_targets_by_name_and_rows_are_named_once():
    x = np.random.default_rng(0).normal(size=(80, 2))
    frame = pd.DataFrame(x, columns=["a", "b"])
    y = pd.DataFrame({"u": 2 * x[:, 0], "v": -x[:, 1]})
    predictor = pj.search(pj.supervised((frame, y)), {"learning_rate": 0.05}, trials=1, epochs=10).predictor()
    assert predictor.score(frame, y[["v", "u"]]) == predictor.score(frame, y) > 0.5
    with pytest.raises(ValueError, match="the rows have 2 columns 'a'; keep one"):
        predictor.predict(pd.concat([frame, frame[["a"]]], axis=1))


@pytest.mark.parametrize("spelling", [("True", "False"), ("TRUE", "FALSE")])
def test_a_score_of_labels_reads_truth_values_and_refuses_other_kinds(tmp_path, spelling):
    x = np.random.default_rng(0).normal(size=120)
    rows = [f"{value},{spelling[int(value < 0)]}" for value in x]
    (tmp_path / "rows.csv").write_text("\n".join(["a,y", *rows]))
    task = pj.supervised(str(tmp_path / "rows.csv"), target="y")
    predictor = pj.search(task, {"learning_rate": 0.1}, trials=1, epochs=20).predictor()
    frame = pd.read_csv(tmp_path / "rows.csv")
    assert frame.y.dtype == bool
    assert (
        predictor.score(frame, frame.y) == predictor.score(frame, pd.read_csv(tmp_path / "rows.csv", dtype=str).y) > 0.9
    )
    with pytest.raises(
        ValueError, match=r"score: 0 is no class, nor is another target; the classes are '(False|FALSE)'"
    ):
        predictor.score(frame, np.zeros(120, int))


class Pixels(nnx.Module):
    def __init__(self, hparams, rngs):
        self.out = nnx.Linear(3, 2, rngs=rngs)

    def __call__(self, x):
        return self.out(x["pixels"] / 255)


def test_rows_that_are_no_numbers_or_out_of_range_are_said_to_be():
    x = np.random.default_rng(0).integers(0, 200, (40, 3)).astype(np.uint8)
    task = pj.supervised(({"pixels": x}, np.arange(40) % 2), Pixels)
    predictor = pj.search(task, {"learning_rate": 0.01}, trials=1, epochs=1).predictor()
    with pytest.raises(ValueError, match="hold 1 to 300; uint8, as in training, has 0 to 255"):
        predictor.predict({"pixels": np.array([[1, 300, 2]])})
    plain = pj.search(pj.supervised((x, np.arange(40) % 2)), {"learning_rate": 0.01}, trials=1, epochs=1).predictor()
    with pytest.raises(ValueError, match="the rows hold a cell that is no number"):
        plain.predict(pd.DataFrame({"a": [1, "x"], "b": [1, 2], "c": [1, 2]}))
