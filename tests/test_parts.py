"""Which rows train, validate and test: rows of their own, groups, time; and what a target is taken for."""

import itertools

import jax
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from conftest import soaked
from sklearn.datasets import load_wine

import popjax as pj
from popjax.commands.experiment import Experiment
from popjax.data.dataset import from_arrays, load
from popjax.data.parts import parts_of
from popjax.data.splits import Splitting, split

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 3))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
GROUPS = RNG.integers(0, 14, 90)


def all_parts(cut):
    """Of each fold: train, validation, test."""
    return [(train, validation, cut.test) for train, validation in zip(cut.train, cut.validation, strict=True)]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"validation": np.arange(30, 40)}, "some that train come after some that validate"),
        ({"validation": np.arange(70, 80), "test": np.arange(60, 70)}, "some that train come after some that validate"),
        ({"validation": (X[:9] + 1, Y[:9])}, "some that validate come after some that test"),
        ({"validation": np.arange(70, 80), "test": np.arange(80, 90)}, None),
        ({"test": (X[:9] + 1, Y[:9])}, None),
        ({}, None),
    ],
)
def test_rows_of_ones_own_that_are_not_in_time_are_said_to_be(rows, said, doubted):
    """A score would be of what is known already."""
    pj.supervised((X, Y), shuffle=False, **rows)
    assert doubted.lines == ([f"rows are in time, but {said}"] if said else [])


@pytest.mark.parametrize("folds", [1, 2, 4])
@pytest.mark.parametrize("seed", range(6))
def test_no_group_is_in_two_parts(folds, seed):
    """And no row; the shares are about as asked; another seed parts otherwise."""
    data = from_arrays(X, Y)
    cut = split(data, Splitting(0.2, 0.2, seed, groups=GROUPS), folds)
    for parts in all_parts(cut):
        for one, other in itertools.combinations(parts, 2):
            assert not set(GROUPS[one]) & set(GROUPS[other])
        assert len(set(np.concatenate(parts).tolist())) == sum(map(len, parts)) <= 90
        assert all(len(part) > 0 and (np.diff(part) > 0).all() for part in parts)
    assert 18 <= len(cut.test) < 18 + np.bincount(GROUPS).max()
    whole = sum(len(set(GROUPS[validation])) for validation in cut.validation)
    assert folds == 1 or whole == len(set(GROUPS)) - len(set(GROUPS[cut.test])), "each group validates once"
    others = [split(data, Splitting(0.2, 0.2, other, groups=GROUPS), folds).digest for other in range(6)]
    assert len(set(others)) == 6


def test_few_rows_in_time_are_cut_too():
    """Six of them in five folds: each validates on one; of five there is none to train on."""
    cut = split(from_arrays(X[:6], Y[:6]), Splitting(0.2, 0, shuffle=False), 5)
    assert cut.train.tolist() == [[0], [1], [2], [3], [4]]
    assert cut.validation.tolist() == [[1], [2], [3], [4], [5]]
    with pytest.raises(ValueError, match="folds=5: 5 rows in time are too few to train before each; lower it"):
        split(from_arrays(X[:5], Y[:5]), Splitting(0.2, 0, shuffle=False), 5)


@pytest.mark.parametrize("folds", [1, 3, 5])
def test_what_comes_later_is_set_aside(folds):
    """Each fold trains on as many rows, all before those it validates on, at least half of those before the test's."""
    cut = split(from_arrays(X, Y), Splitting(0.2, 0.1, shuffle=False), folds)
    assert cut.test.tolist() == list(range(81, 90))
    for train, validation, _ in all_parts(cut):
        assert train.max() + 1 == validation.min()
        assert (np.diff(train) == 1).all()
        assert validation.max() < 81
        assert len(train) >= 81 / 2
    assert cut.validation[-1].max() == 80
    assert len(set(cut.validation.ravel().tolist())) == cut.validation.size


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"groups": np.zeros(90, int)}, "groups: 1 are too few .* set others aside; give rows of more groups"),
        ({"groups": GROUPS[:5]}, r"groups has shape \(5,\) for 90 rows; give one a row"),
        ({"groups": np.where(GROUPS == 1, np.nan, GROUPS)}, r"groups: row \d+ has none"),
        ({"groups": [None, *["a"] * 89]}, "groups: row 1 has none; give one to each row"),
        ({"groups": "city"}, "arrays has no column 'city' for the groups"),
        ({"groups": GROUPS, "shuffle": False}, "shuffle=False: True, or False for rows in time, which have no groups"),
        ({"groups": GROUPS, "test": [0, 1]}, r"test: row \d+ is of a group that is in two parts"),
        ({"validation": (X[:, :2], Y)}, r"rows of shape \(2,\) do not fit those of \(3,\)"),
        ({"validation": pd.DataFrame(X).assign(y=Y), "target": "y"}, "a table and an array; give both as tables"),
        (
            {"kind": "classes"},
            "unknown kind of targets 'classes'; there are classification, multilabel, regression, own",
        ),
    ],
)
def test_parts_that_are_none_are_refused_in_one_line(settings, says):
    with pytest.raises(ValueError, match=says) as caught:
        pj.supervised((X, Y), **settings)
    assert "\n" not in str(caught.value)


def test_rows_of_ones_own_validate_and_test():
    """As arrays and as frames: the same split, by hand."""
    given = [(X[a:b], Y[a:b]) for a, b in ((0, 60), (60, 75), (75, 90))]
    by_hand = pj.supervised((X, Y), validation=np.arange(60, 75), test=np.arange(75, 90))
    frames = [pd.DataFrame(x, columns=list("abc")).assign(y=y) for x, y in given]
    pairs = [(frame.drop(columns="y"), frame["y"]) for frame in frames]
    for task in (
        pj.supervised(given[0], validation=given[1], test=given[2]),
        pj.supervised(frames[0], target="y", validation=frames[1], test=frames[2]),
        pj.supervised(pairs[0], validation=pairs[1], test=pairs[2]),
        pj.supervised(frames[0], target="y", validation=pairs[1], test=pairs[2]),
    ):
        assert task.recipe.split_digest == by_hand.recipe.split_digest
        assert task.recipe.data_digest == by_hand.recipe.data_digest
    assert task.recipe.columns == ("a", "b", "c")
    no_test = pj.supervised(given[0], validation=given[1], test=0)
    assert no_test.score is None
    assert pj.search(no_test, {"learning_rate": 0.1}, trials=2, epochs=2).summary["test_value"] is None


def test_a_target_beside_targets_is_refused():
    """Unless it is what they are called, or what a part calls them: it would be ignored, or be a feature."""
    frame = pd.DataFrame(X, columns=list("abc")).assign(y=Y)
    x = frame[["a", "b", "c"]]
    ignored = r"^target='z' beside \(x, y\), which has its targets in y; leave target out$"
    for pair in ((x, frame["y"]), (x, Y), (X, Y)):
        with pytest.raises(ValueError, match=ignored):
            pj.supervised(pair, target="z")
    with pytest.raises(
        ValueError, match=r"^target='y' is a column of x in \(x, y\); give that DataFrame alone, or drop"
    ):
        pj.supervised((frame, frame["y"]), target="y")
    assert pj.supervised((x, frame["y"]), target="y").recipe.columns == ("a", "b", "c")
    assert pj.supervised((x, Y), target="y", test=frame[:9]).recipe.columns == ("a", "b", "c")


def test_texts_and_columns_of_parts_are_one_table():
    """A text that only the test rows have is a feature; the order of columns is the training rows'."""
    train = pd.DataFrame({"c": ["r", "g"] * 20, "n": np.arange(40.0), "y": [0, 1] * 20})
    test = pd.DataFrame({"y": [0, 1], "n": [1.0, 2.0], "c": ["b", "g"]})
    task = pj.supervised(train, target="y", test=test)
    assert task.recipe.levels == {"c": ("b", "g", "r")}
    assert task.recipe.inputs == (2,)
    assert task.fit.inputs == (4,)
    with pytest.raises(ValueError, match="DataFrame lacks the column 'n' that the training rows have"):
        pj.supervised(train, target="y", test=test.drop(columns="n"))
    with pytest.raises(ValueError, match="DataFrame has the column 'z' that the training rows lack"):
        pj.supervised(train, target="y", test=test.assign(z=1))
    with pytest.raises(ValueError, match="column 'c' is text in one part of the data and numbers in another"):
        pj.supervised(train, target="y", test=test.assign(c=1.0))


def test_numbers_of_rows_count_those_that_were_given():
    """Also where rows with missing cells are left out, which a number would else miss by as many."""
    x = X.copy()
    x[[3, 10, 50], 1] = np.nan
    dataset = from_arrays(x, Y, missing="drop")
    assert dataset.dropped.tolist() == [3, 10, 50]
    cut = split(dataset, Splitting([2, 3, 4, 51, 89], [11, 60]))
    kept = np.delete(np.arange(90), [3, 10, 50])
    assert kept[cut.validation[0]].tolist() == [2, 4, 51, 89]
    assert kept[cut.test].tolist() == [11, 60]
    with pytest.raises(ValueError, match=r"validation: there is no row 90; choose 0\.\.89"):
        split(dataset, Splitting([90]))
    with pytest.raises(ValueError, match="test: all its rows were left out"):
        split(dataset, Splitting(0.1, [3, 10]))
    given = parts_of((x, Y), (X[:5], Y[:5]), (x[:11], Y[:11]), None, None, "drop", None)
    cut = split(given.dataset, Splitting(given.validation, given.test))
    assert (len(cut.train[0]), len(cut.validation[0]), len(cut.test)) == (87, 5, 9)
    grouped = parts_of((x, Y), 0.2, 0.2, GROUPS, None, "drop", None)
    assert grouped.groups.shape == (87,)


def test_too_few_groups_for_the_folds_are_said_to_be():
    with pytest.raises(ValueError, match=r"groups: 4 are too few .*; lower the folds"):
        pj.supervised((X, Y), groups=np.arange(90) % 4).in_folds(4)


def test_truth_values_are_the_rows_where_they_hold():
    """As a list, an array or a Series; of the rows that were given, also where some are left out."""
    x = X.copy()
    x[[3, 10, 50], 1] = np.nan
    late = np.arange(90) >= 45
    by_numbers = pj.supervised((x, Y), missing="drop", test=np.flatnonzero(late))
    for mask in (late, late.tolist(), pd.Series(late)):
        task = pj.supervised((x, Y), missing="drop", test=mask)
        assert task.recipe.split_digest == by_numbers.recipe.split_digest
    with pytest.raises(ValueError, match=r"test: give a share of the rows.* or a truth value for each of the rows"):
        pj.supervised((x, Y), missing="drop", test=late[:80])


def test_folds_and_retests_follow_the_test_rows_and_groups(tmp_path):
    """No fold trains on a test row; a task that is cut anew for a retest keeps them apart, too."""
    task = pj.supervised((X[:70], Y[:70]), test=(X[70:], Y[70:]))
    for folds, share in ((3, None), (5, 0.1)):
        cut = task.in_folds(folds, share).split
        assert cut.test.tolist() == list(range(70, 90))
        assert cut.train.max() < 70
    named = pj.supervised((X[:70], Y[:70]), validation=(X[70:], Y[70:]), test=0.2)
    with pytest.raises(ValueError, match="folds=3 cut their own validation rows"):
        named.in_folds(3)
    assert named.in_folds(5, 0.1) is not None, "tested again, all rows that are not the test's are rows as others"
    grouped = pj.supervised((X, Y), groups=GROUPS)
    for train, validation, test in all_parts(grouped.in_folds(3, 0.1).split):
        assert not set(GROUPS[train]) & set(GROUPS[validation])
        assert not set(GROUPS[test]) & set(GROUPS[np.concatenate([train, validation])])


@pytest.mark.parametrize(
    ("y", "kind", "classes", "doubt"),
    [
        (np.tile([0.0, 1.0], 45), None, None, "has 2 different real values, so it is taken as a regression"),
        (np.tile([0.0, 1.0], 45), "classification", (0.0, 1.0), ""),
        (np.tile([0.0, 1.0, 2.0], 30), None, None, "has 3 different real values, so it is taken as a regression"),
        (np.tile([0.5, 1.0, 2.0], 30), None, None, ""),
        (np.arange(90) % 30, None, None, "has 30 different whole values, so it is taken as a regression"),
        (np.arange(90) % 30, "classification", tuple(range(30)), ""),
        (np.arange(90) % 30, "regression", None, ""),
        (np.arange(90) % 3, None, (0, 1, 2), ""),
        (np.arange(90) % 3, "regression", None, ""),
        (X[:, 0], None, None, ""),
        (np.arange(90) % 2 == 0, "regression", None, ""),
        (np.arange(90) % 2 == 0, None, (False, True), ""),
    ],
    ids=str,
)
def test_what_a_target_is_taken_for(y, kind, classes, doubt, doubted):
    """What the user says; else by its values, and a doubtful guess is said in one line that names the option."""
    task = pj.supervised((X, y), kind=kind)
    assert task.recipe.classes == classes
    assert task.metric == ("val_mse" if classes is None else "val_accuracy")
    lines = [line for line in doubted.lines if "taken as" in line]
    assert len(lines) == bool(doubt)
    for line in lines:
        assert doubt in line
        assert line.endswith('say kind="classification"')


@pytest.mark.parametrize(("rare", "said"), [(0, True), (1, True), (2, False)])
def test_classes_that_hardly_train_are_named(rare, said, doubted):
    """Of the third class so many rows train; the others test or validate."""
    y = Y.copy()
    y[: rare + 6] = 2
    held = {"validation": np.arange(rare, rare + 3), "test": np.arange(rare + 3, rare + 6)}
    pj.supervised((X, np.array(["a", "b", "c"])[y]), **held)
    line = "fewer than 2 rows train of the class 'c': give more, or leave such rows out"
    assert doubted.lines == [line] * said


@pytest.mark.parametrize("part", ["validation", "test"])
def test_rows_of_a_part_that_also_train_are_counted(part, doubted):
    """Those with another target do not, nor those that no user set aside."""
    x, y = np.concatenate([X, X[:9]]), np.concatenate([Y, 1 - Y[:4], Y[4:9]])
    pj.supervised((x, y))
    assert not doubted.lines
    pj.supervised((X, Y), **{"validation": [0, 1], "test": 0} | {part: (x[75:], y[75:])})
    (line,) = doubted.lines
    assert line == f"20 of the 24 {part} rows also train, so they score too well; leave them out of either"


def test_a_target_of_texts_is_no_regression():
    with pytest.raises(ValueError, match="the target 'y' holds 'a', so no regression"):
        pj.supervised((X, np.where(Y == 1, "a", "a").astype(object)), kind="regression")


@pytest.fixture
def files(tmp_path):
    """Rows in three files, with names, dates, cities, and cells that mean nothing."""
    frame = pd.DataFrame(X, columns=list("abc")).assign(
        name=[f"n{i}" for i in range(90)], city=[f"c{g}" for g in GROUPS], label=Y.astype(float)
    )
    frame["b"] = frame["b"].astype(str)
    frame.loc[[4, 62], "b"] = ["NA", "n/a"]
    for name, rows in (("train", frame[:60]), ("valid", frame[60:75]), ("test", frame[75:])):
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
        rows.to_parquet(tmp_path / f"{name}.parquet")
    return tmp_path


COMMON = ("--drop", "name,city", "--na", "NA,n/a", "--missing", "median", "--kind", "classification")


@pytest.mark.parametrize("suffix", soaked(["csv", "parquet"]))
def test_the_command_takes_parts_as_files(command, files, suffix):
    """Columns left out, cells that mean nothing, a kind that is said; tested again with the same files, on demand."""
    named = ("--validation", f"valid.{suffix}", "--test", f"test.{suffix}")
    rows = ("--dataset", f"train.{suffix}", "--target", "label", *named)
    small = ("--trials", 6, "--epochs", 2, "--set", "hidden=4")
    done = command("sweep", *rows, *COMMON, *small, "--out", "run")
    assert done.returncode == 0, done.stderr
    files_of = " + ".join(f"{name}.{suffix}" for name in ("train", "valid", "test"))
    assert f"dataset: {files_of}, 90 rows, classification, 2 classes" in done.stdout.splitlines()
    assert "popjax.retest run --dataset" in done.stdout
    recipe = pj.load_best(files / "run").recipe
    assert recipe.columns == ("a", "b", "c")
    few = ("--top", 2, "--background", 2, "--repeats", 3)
    again = command("retest", "run", *few)
    assert again.returncode == 2
    what = "the search was over files, which must be given again: python -m popjax.retest run --dataset"
    assert what in again.stderr
    again = command("retest", "run", *rows, *few)
    assert again.returncode == 0, again.stderr
    steered = command("babysit", "--from", "run", *rows, "--epochs", 1)
    assert steered.returncode == 0, steered.stderr


def test_the_command_says_what_the_library_warns_of(command, files):
    """Of the 60 rows and the 60 that test a tenth validates."""
    rows = ("--dataset", "train.csv", "--target", "label", "--test", "train.csv", *COMMON)
    done = command("sweep", *rows, "--trials", 2, "--epochs", 1, "--set", "hidden=4")
    assert done.returncode == 0, done.stderr
    said = "popjax: 48 of the 60 test rows also train, so they score too well; leave them out of either"
    assert said in done.stderr.splitlines()


def test_the_command_keeps_groups_and_time(command, files):
    done = command(
        *("sweep", "--dataset", "train.csv", "--target", "label", "--groups", "city", "--drop", "name", "--na", "NA"),
        *("--missing", "drop", "--trials", 4, "--epochs", 1, "--set", "hidden=4", "--out", "grouped", "--folds", 2),
    )
    assert done.returncode == 0, done.stderr
    assert "has 2 different real values, so it is taken as a regression" in done.stderr
    assert "city" not in pj.load_best(files / "grouped").recipe.columns
    done = command(
        *("sweep", "--dataset", "train.parquet", "--target", "label", "--ordered", "--drop", "name,city", "--na", "NA"),
        *("--missing", "drop", "--trials", 4, "--epochs", 1, "--set", "hidden=4", "--out", "ordered"),
    )
    assert done.returncode == 0, done.stderr
    frame = pd.read_parquet(files / "train.parquet").drop(columns=["name", "city"]).drop(index=4)
    by_hand = pj.supervised(frame.assign(b=frame["b"].astype(float)), target="label", shuffle=False)
    split_of = pj.Results.load(files / "ordered").run["data"]["split"]
    assert split_of == by_hand.recipe.split_digest


def test_columns_with_spaces_around_their_names_are_left_out(tmp_path):
    """An exact name goes before one without the spaces around it, which a list may have."""
    frame = pd.DataFrame(X, columns=[" a one", "a one", "c"]).assign(label=Y)
    frame.to_csv(tmp_path / "spaces.csv", index=False)
    drops = lambda drop: Experiment(dataset=str(tmp_path / "spaces.csv"), target="label", drop=drop)
    assert drops(" a one").load().dataset.columns == ("a one", "c")
    assert drops("a one").load().dataset.columns == (" a one", "c")
    assert drops("a one, c").load().dataset.columns == (" a one",)
    with pytest.raises(ValueError, match="has no column 'a' to leave out"):
        drops(" a ").load()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--dataset", "wine", "--drop", "x"],
            "--drop: the dataset wine has rows and targets of its own; leave it out",
        ),
        (["--dataset", "wine", "--kind", "regression"], "--kind: the dataset wine has rows and targets of its own"),
        (
            ["--dataset", "wine", "--validation", "x.csv"],
            "--validation: the dataset wine has rows and targets of its own",
        ),
        (["--drop", "nose"], "has no column 'nose' to leave out"),
        (["--drop", "label"], "'label' is the target"),
        (["--drop", "a,,b"], "write names with commas between them"),
        (["--test", "gone.csv"], "cannot read 'gone.csv'"),
        (["--test", "0.2"], "--test '0.2' is no file of rows (.csv,"),
        (["--validation", "0.2"], "--validation '0.2' is no file of rows (.csv,"),
        (["--groups", "town"], "has no column 'town' for the groups"),
        (["--drop", "name", "--groups", "city", "--missing", "median", "--ordered"], "which have no groups"),
    ],
)
def test_the_command_refuses_them_in_one_line(refused_in_one_line, files, arguments, says):
    rows = () if "wine" in arguments else ("--dataset", "train.csv", "--target", "label", "--na", "NA,n/a")
    refused_in_one_line("sweep", *rows, "--kind", "classification", *arguments, "--trials", 4, says=[says])


def test_files_are_given_by_name(tmp_path):
    """A table, and the rows that validate and test, as texts or paths: what the frames would give."""
    frame = pd.DataFrame(X, columns=list("abc")).assign(kind=np.where(Y == 1, "yes", "no"))
    parts = {"data": frame[:60], "validation": frame[60:75], "test": frame[75:]}
    for name, rows in parts.items():
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
    files = {name: tmp_path / f"{name}.csv" for name in parts} | {"test": str(tmp_path / "test.csv")}
    of_files, of_frames = (pj.supervised(target="kind", **given) for given in (files, parts))
    jax.tree.map(np.testing.assert_array_equal, of_files.data, of_frames.data)
    named, given = pj.supervised("wine"), pj.supervised(load_wine(return_X_y=True))
    jax.tree.map(np.testing.assert_array_equal, named.data, given.data)
    for wrong, says in (("no.csv", "cannot read 'no.csv'"), ("iris", "unknown dataset 'iris'; give one of digits")):
        with pytest.raises(ValueError, match=says):
            pj.supervised(wrong, target="kind")


DAYS = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=60), "x": np.sin(range(60)), "y": np.cos(range(60))})
IDS = pd.DataFrame({"patient_id": np.arange(200) % 40, "x": RNG.normal(size=200), "y": RNG.normal(size=200)})


@pytest.mark.parametrize(
    ("frame", "options", "said"),
    [
        (DAYS, {}, "the rows are in the order of 'day', and split at random"),
        (DAYS.sample(frac=1, random_state=0), {}, None),
        (DAYS, {"shuffle": False}, None),
        (DAYS, {"validation": [1, 2], "test": [3]}, None),
        (IDS, {}, "groups='patient_id'"),
        (IDS.assign(patient_id=IDS["patient_id"].map("p{}".format)), {}, "200 rows have 40 different 'patient_id'"),
        (IDS, {"groups": "patient_id"}, None),
        (IDS.rename(columns={"patient_id": "grid"}), {}, None),
        (IDS.assign(patient_id=IDS["patient_id"] % 3), {}, None),
    ],
    ids=["days", "mixed", "in time", "named rows", "ids", "texts", "groups", "another name", "few"],
)
def test_a_random_split_of_rows_in_time_or_of_an_id_is_doubted(frame, options, said, doubted):
    pj.supervised(frame, target="y", **options)
    assert (said in doubted.text and len(doubted.lines) == 1) if said else not doubted.lines


def test_targets_of_parts_are_found_by_name():
    """Those of the rows that validate may stand in another order, and no others may stand there."""
    rng = np.random.default_rng(0)
    x, y = pd.DataFrame({"x": rng.normal(size=60)}), pd.DataFrame({"a": rng.normal(size=60), "b": rng.normal(size=60)})
    there = pj.supervised((x[:40], y[:40]), validation=(x[40:], y[40:]))
    turned = pj.supervised((x[:40], y[:40]), validation=(x[40:], y[40:][["b", "a"]]))
    assert turned.dataset.y.tolist() == there.dataset.y.tolist()
    with pytest.raises(ValueError, match=r"the targets 'b', 'c' do not fit 'a', 'b'; give the same targets"):
        pj.supervised((x[:40], y[:40]), validation=(x[40:], y[40:].rename(columns={"a": "c"})[["b", "c"]]))


@pytest.mark.parametrize("folds", [2, 5])
def test_a_share_of_rows_in_groups_leaves_the_others_to_train(folds):
    task = pj.supervised((X, Y), groups=GROUPS, test=0.1)
    few, all_ = task.in_folds(folds, 0.1).split, task.in_folds(folds).split
    rows = len(X) - len(few.test)
    assert few.validation.shape[1] <= 0.1 * len(X) + np.bincount(GROUPS).max()
    assert few.train.shape[1] > all_.train.shape[1]
    for train, validation in zip(few.train, few.validation, strict=True):
        assert not set(GROUPS[train]) & set(GROUPS[validation])
        assert len(train) + len(validation) >= rows - np.bincount(GROUPS).max() * folds


@pytest.mark.parametrize("kind", ["frame", "parquet", "csv"])
def test_groups_of_numbers_that_floats_do_not_tell_apart_are_told_apart(tmp_path, kind):
    rng = np.random.default_rng(0)
    ids = 2**60 + np.arange(120) // 4
    frame = pd.DataFrame({"a": rng.normal(size=120), "id": ids, "y": rng.normal(size=120)})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_parquet(tmp_path / "rows.parquet")
    split = pj.supervised(frame if kind == "frame" else tmp_path / f"rows.{kind}", target="y", groups="id").split
    parts = [set(ids[rows].tolist()) for rows in (split.train[0], split.validation[0], split.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 30


def test_a_column_of_groups_may_have_any_number_of_texts_and_of_kinds(tmp_path):
    """As --groups does: of a frame and of a file, by name."""
    rng = np.random.default_rng(0)
    kinds = [f"A{row // 4}" if row % 8 else row // 4 for row in range(120)]
    frame = pd.DataFrame({"a": rng.normal(size=120), "id": kinds, "y": rng.normal(size=120)})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    kept = [pj.supervised(data, target="y", groups="id").split for data in (frame, tmp_path / "rows.csv")]
    assert kept[0].test.tolist() == kept[1].test.tolist()
    trained = {str(kinds[row]) for row in kept[0].train[0]}
    assert not trained & {str(kinds[row]) for row in kept[0].test}
    many = pd.DataFrame({"a": rng.normal(size=20_500), "id": [f"p{row}" for row in range(20_500)]})
    assert pj.supervised(many.assign(y=many.a), target="y", groups="id").dataset.x.shape == (20_500, 1)
    with pytest.raises(ValueError, match=r"groups: row 2 has none"):
        pj.supervised((rng.normal(size=(4, 2)), np.arange(4.0)), groups=pd.Series(["a", pd.NA] * 2, dtype="string"))


def test_groups_beside_a_dataset_count_the_rows_that_were_left_out(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=60), "y": rng.normal(size=60)})
    frame.loc[[3, 50], "a"] = np.nan
    frame.to_csv(tmp_path / "rows.csv", index=False)
    dataset = load(tmp_path / "rows.csv", "y", missing="drop")
    groups = np.arange(60) // 3
    whole = pj.supervised(dataset, groups=groups)
    left = pj.supervised(dataset, groups=np.delete(groups, [3, 50]))
    assert whole.split.test.tolist() == left.split.test.tolist()
    with pytest.raises(ValueError, match=r"groups has shape \(59,\) for 58 rows"):
        pj.supervised(dataset, groups=groups[:59])


@pytest.mark.parametrize(
    ("y", "classes", "left"),
    [
        (np.array(["a", "b", "", "nan"] * 15), ("a", "b"), 30),
        (np.array(["a", "b", "", None] * 15, object), ("a", "b"), 30),
        (pd.Series([1, 0, pd.NA, 1] * 15, dtype="Int64"), (0, 1), 45),
    ],
)
def test_a_missing_target_beside_an_array_leaves_its_row_out(y, classes, left):
    with pytest.warns(pj.DataWarning, match="of 60 rows left out"):
        dataset = pj.supervised((np.arange(120.0).reshape(60, 2), y)).dataset
    assert (dataset.classes, len(dataset)) == (classes, left)


def test_sparse_rows_are_refused_in_one_line():
    x = scipy.sparse.csr_matrix(np.eye(9))
    with pytest.raises(ValueError, match=r"x is sparse; give x.toarray\(\)"):
        pj.supervised((x, np.arange(9.0)))
    with pytest.raises(ValueError, match=r"y is sparse; give y.toarray\(\)"):
        pj.supervised((np.eye(9), x))
