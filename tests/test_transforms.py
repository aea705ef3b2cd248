"""What is fitted on training rows and applied to all: equal to scikit-learn's, bounded, from a raw row on."""

import dataclasses
import json
import re
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import nnx
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import QuantileTransformer, RobustScaler

import popjax as pj
from popjax.data.transforms.by_feature import Global, Robust, Standardize, moments
from popjax.data.transforms.named_transforms import TRANSFORMS, transform_of
from popjax.data.transforms.quantile import Quantile
from popjax.supervision import baselines
from popjax.supervision.preprocessing import Recipe


def test_standardized_columns_have_mean_zero_and_scale_one():
    x = np.random.default_rng(0).normal(size=(50, 3)) * [1e-3, 1, 1e6] + [5, 0, -1e6]
    mean, scale = moments(x)
    z = (x - mean) / scale
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(z.std(0), 1, rtol=1e-9)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -1e9 + 0.1, 1e-15, 1e15 / 3])
def test_a_constant_column_has_scale_one(value):
    mean, scale = moments(np.column_stack([np.full(37, value), np.arange(37.0)]))
    assert scale[0] == 1
    assert mean[0] == pytest.approx(value)
    assert scale[1] == pytest.approx(np.sqrt((37**2 - 1) / 12))


@pytest.mark.parametrize("unit", [1e-300, 1e-170, 1e-15, 1e-6, 1e6, 1e15])
def test_the_unit_of_a_column_does_not_matter(unit):
    x = np.random.default_rng(0).normal(size=(20, 1)) + 1
    mean, scale = moments(x * unit)
    expected_mean, expected_scale = moments(x)
    np.testing.assert_allclose((x * unit - mean) / scale, (x - expected_mean) / expected_scale, rtol=1e-9)


def test_pixels_are_standardized_one_by_one():
    x = np.random.default_rng(0).normal(size=(9, 4, 3))
    mean, scale = moments(x)
    np.testing.assert_allclose(mean, x.mean(axis=0))
    np.testing.assert_allclose(scale, x.std(axis=0))


def test_a_nearly_constant_column_ends_at_one():
    """On rows where it is far from what training rows had; others end at 20, in all folds, also in `predict`."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)) * [1, 1e3, 0]
    x[[5, 250, 390], 2] = 1e-3
    x[7, 1], y = 1e9, (x[:, 0] > 0).astype(int)
    for folds in (1, 3):
        task = pj.supervised((x, y)).in_folds(folds)
        recipe, parts = task.recipe, task.split
        for fold, rows in enumerate(parts.train):
            z = (x - x[rows].mean(0)) / np.where(x[rows].std(0) > 0, x[rows].std(0), 1)
            expected = np.clip(z, [-20, -20, -1], [20, 20, 1])
            np.testing.assert_allclose(recipe.features(x, fold), expected, rtol=1e-9, atol=1e-12)
            again = Recipe.from_json(json.loads(json.dumps(recipe.describe())))
            assert again.features(x, fold).tobytes() == recipe.features(x, fold).tobytes()
        if folds == 1:
            np.testing.assert_allclose(task.data.test.x, expected[parts.test], rtol=1e-9, atol=1e-12)


def test_a_fold_trains_on_what_it_predicts_from(rows):
    """The program standardizes and cuts off in each fold as `features` does."""
    x = rows[0].copy()
    x[:, 4] = 0
    x[::40, 4] = np.linspace(1e-3, 1, len(x[::40]))
    results = pj.search(pj.supervised((x, rows[1])), {"learning_rate": 0.05}, trials=1, epochs=3, folds=3)
    test = results.task.in_folds(3).split.test
    chances = results.predictor()
    found = [chances.of_fold(x[test], fold)[0] for fold in range(3)]
    losses = [-np.log(one[np.arange(len(test)), rows[1][test]]).mean() for one in found]
    assert np.mean(losses) == pytest.approx(results.summary["test"]["test_loss"], rel=1e-4)


def test_images_have_one_scale_a_channel():
    x = np.random.default_rng(1).normal(size=(30, 5, 6, 3)) * [1, 10, 100]
    fitted = Global().fit(x, ())
    np.testing.assert_allclose(fitted.scale, np.broadcast_to(x.std((0, 1, 2)), (5, 6, 3)))
    assert (fitted.limit == 20).all()
    task = pj.supervised((x, np.arange(30) % 2), model="cnn")
    assert task.settings["transform"] == "global"


def columns(rows=500, seed=0):
    """Columns (rows, 5): normal, of heavy tails, with many equal values, nearly constant, constant."""
    rng = np.random.default_rng(seed)
    several = rng.integers(0, 4, rows).astype(float)
    rare = np.zeros(rows)
    rare[:3] = 1e-3
    return np.column_stack([rng.normal(5, 2, rows), rng.standard_cauchy(rows), several, rare, np.full(rows, 7.0)])


def test_robust_is_the_scaler_of_scikit_learn_before_its_bend():
    x, others = columns()[:, :3], columns(200, seed=1)[:, :3]
    fitted = Robust().fit(x, ())
    expected = RobustScaler().fit(x).transform(others)
    np.testing.assert_allclose(fitted.scaled(others), expected, rtol=1e-6)
    np.testing.assert_allclose(fitted(others), expected / np.sqrt(1 + (expected / 3) ** 2), rtol=1e-9)


@pytest.mark.parametrize("rows", [80, 500, 4000])
def test_quantile_is_the_transformer_of_scikit_learn_but_for_its_noise(rows):
    x, others = columns(rows)[:, :3], columns(200, seed=1)[:, :3]
    fitted = Quantile(noise=0).fit(x, ())
    theirs = QuantileTransformer(n_quantiles=len(fitted.quantiles), output_distribution="normal").fit(x)
    np.testing.assert_allclose(fitted(others), theirs.transform(others), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(fitted(x), theirs.transform(x), rtol=1e-6, atol=1e-6)


def test_the_noise_of_quantiles_is_of_the_seed_and_small():
    x = columns(4000)
    first, same, other = (transform_of("quantile", seed).fit(x, ()) for seed in (1, 1, 2))
    assert first(x).tobytes() == same(x).tobytes() != other(x).tobytes()
    plain = Quantile(noise=0).fit(x, ())
    middle = np.abs(plain(x)[:, 0]) < 2
    assert 0 < np.abs(first(x) - plain(x))[middle, 0].max() < 0.03
    values = np.unique(first(x)[:, 2])
    assert len(values) == 4, "equal values stay equal"


def test_what_tells_a_text_has_no_rank():
    x = np.column_stack([np.arange(40.0), np.arange(40) % 2])
    fitted = Quantile().fit(x, [("size", None), ("colour", "red")])
    assert fitted(x)[:, 1].tolist() == x[:, 1].tolist()
    assert fitted(x)[:, 0].tolist() != x[:, 0].tolist()


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_row_alone_is_as_among_a_million_and_so_is_one_read_again(name):
    x = columns()
    fitted = transform_of(name).fit(x, ())
    every = fitted(np.tile(x, (200, 1)))
    for row in (0, 7, 499):
        assert fitted(x[row : row + 1]).tobytes() == every[row + 100 * 500 :][:1].tobytes()
    again = type(fitted).from_json(json.loads(json.dumps(fitted.to_json())))
    assert again(x).tobytes() == fitted(x).tobytes()


@pytest.mark.parametrize(("name", "far"), [("standardize", 20), ("robust", 3), ("quantile", 5.2)])
def test_what_an_outlier_may_move_is_bounded(name, far):
    """A coordinate of 1e6 deviations is at the end, and where it is a training row the others hardly move."""
    x = columns()
    fitted = transform_of(name).fit(x, ())
    wild = x.copy()
    wild[:, :4] += 1e6 * x.std(0)[:4]
    assert np.abs(fitted(wild)).max() <= far + 1e-2
    assert np.abs(fitted(wild)[:, 3]).max() <= 1
    assert np.abs(fitted(x)[:, 4]).max() == 0
    assert np.isfinite(fitted(np.full((1, 5), 1e100))).all()
    if name == "standardize":
        return  # its deviation is what the outlier makes of it
    x[:, 1] = np.random.default_rng(5).normal(size=500)
    spoiled = x.copy()
    spoiled[9, :2] = 1e6
    then = transform_of(name).fit(x, ())(x)[:, :2]
    moved = np.abs(transform_of(name).fit(spoiled, ())(x)[:, :2] - then)
    assert moved[np.abs(then) < 2].max() < 0.6


@pytest.mark.soak
@pytest.mark.parametrize("name", ["standardize", "robust", "quantile"])
def test_a_nearly_constant_column_costs_little_where_it_is_another(name):
    """Six normal columns, and one that is 0 but for three rows of 0.001: of rows where it is 1 as many are right."""
    lost = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(600, 7))
        y = (x[:, :6] @ rng.normal(size=6) + 0.3 * rng.normal(size=600) > 0).astype(int)
        x[:, 6] = 0
        x[rng.choice(400, 3, replace=False), 6] = 0.001
        task = pj.supervised((x, y), test=np.arange(400, 600), transform=name, seed=seed)
        predictor = pj.ensemble(pj.search(task, trials=24, epochs=20, seed=seed, rank=pj.together(10)))
        other = x[400:].copy()
        other[:, 6] = 1
        lost.append(predictor.score(x[400:], y[400:]) - predictor.score(other, y[400:]))
    assert np.mean(lost) <= 0.05, lost


@pytest.mark.parametrize("name", ["robust", "quantile", "standardize"])
@pytest.mark.parametrize("folds", [1, 3])
def test_folds_train_on_what_each_predicts_from(rows, name, folds):
    """What acts in the program, and what acts before it, fold by fold: the metrics are those of the predictions."""
    x = rows[0].copy()
    x[::40, 4] = 50
    task = pj.supervised((x, rows[1]), transform=name)
    results = pj.search(task, {"learning_rate": 0.05}, trials=1, epochs=3, folds=folds)
    predictor, split = results.predictor(), task.in_folds(folds).split
    for part, metrics in (("validation", results.members), ("test", {})):
        losses = []
        for fold in range(folds):
            own = split.test if part == "test" else split.validation[fold]
            chances = predictor.of_fold(x[own], fold)[0]
            losses.append(-np.log(chances[np.arange(len(own)), rows[1][own]]).mean())
            if metrics:
                assert losses[-1] == pytest.approx(metrics["val_loss"][0, fold, 0, -1], rel=1e-4)
    assert np.mean(losses) == pytest.approx(results.summary["test"]["test_loss"], rel=1e-4)


@dataclasses.dataclass(frozen=True, eq=False)
class Squares(pj.Transform):
    """The features and their squares, over their largest training row."""

    power: float = 2.0
    most: np.ndarray | None = None

    def fit(self, x, columns):
        return Squares(self.power, np.abs(x).max(0))

    def __call__(self, x):
        return np.hstack([x / self.most, np.abs(x / self.most) ** self.power])


@pytest.mark.parametrize("folds", [1, 3])
def test_a_transform_of_ones_own_adds_columns_and_goes_with_the_winner(rows, tmp_path, folds):
    task = pj.supervised(rows, transform=Squares(3.0))
    assert task.settings["transform"] == {"called": "Squares", "power": 3.0}
    assert task.data.rows.x.shape[-1] == 2 * rows[0].shape[1]
    results = pj.search(task, {"learning_rate": 0.05}, trials=2, epochs=3, folds=folds, out=tmp_path / "run")
    expected = results.predictor().predict_proba(rows[0])
    again = pj.load_best(tmp_path / "run", transform=Squares())
    assert again.predict_proba(rows[0]).tobytes() == expected.tobytes()
    with pytest.raises(ValueError, match=r"has a transform of your own, Squares; pass it: transform=\.\.\."):
        pj.load_best(tmp_path / "run")


@dataclasses.dataclass(frozen=True, eq=False)
class Marks(pj.Transform):
    """Numbers with the median in the place of missing ones, and a column for each that says where."""

    missing: ClassVar[bool] = True
    median: np.ndarray | None = None

    def fit(self, x, columns):
        assert [name for name, _ in columns] == ["a", "b", "colour", "colour"]
        return Marks(np.nanmedian(x, 0))

    def __call__(self, x):
        return np.hstack([np.where(np.isnan(x), self.median, x), np.isnan(x)])


@pytest.mark.parametrize("folds", [1, 3])
def test_a_transform_may_take_missing_cells_and_add_columns(tmp_path, folds):
    """Of numbers; a missing text is none of its column's. Where it takes none, a cell that is missing is refused."""
    pandas = pytest.importorskip("pandas")
    draws = np.random.default_rng(0)
    frame = pandas.DataFrame({"a": draws.normal(size=120), "b": draws.normal(size=120)})
    frame["colour"] = draws.choice(["red", "blue"], 120)
    frame["y"] = frame["a"] > 0
    frame.loc[::5, "a"] = np.nan
    frame.loc[7, "colour"] = None
    with pytest.raises(
        ValueError, match=r"25 missing cells \('a' 24, 'colour' 1\), the first in column 'a', row 1; use missing="
    ):
        pj.supervised(frame, target="y", transform="robust")
    task = pj.supervised(frame, target="y", transform=Marks())
    assert task.data.rows.x.shape[-1] == 8
    results = pj.search(task, {"learning_rate": 0.05}, trials=2, epochs=5, folds=folds, out=tmp_path / "run")
    winner = pj.load_best(tmp_path / "run", transform=Marks())
    assert winner.predict_proba(frame).tobytes() == results.predictor().predict_proba(frame).tobytes()
    np.testing.assert_allclose(winner.predict_proba(frame[5:6]), winner.predict_proba(frame)[5:6], rtol=1e-5)
    test = task.split.test
    filled = frame[["a", "b"]].fillna(frame[["a", "b"]].drop(index=test).mean())
    colours = np.stack([frame["colour"] == "blue", frame["colour"] == "red"], 1)
    x = np.hstack([filled.to_numpy(), colours])
    others = np.delete(np.arange(120), test)
    z = (x - x[others].mean(0)) / x[others].std(0)
    linear = LogisticRegression(max_iter=1000).fit(z[others], frame["y"].iloc[others])
    assert baselines.linear_scores(task, test)["accuracy"] == linear.score(z[test], frame["y"].iloc[test])
    assert np.isnan(winner.recipe.encoded(frame[:1])).sum() == 1
    assert winner.recipe.seen(winner.recipe.encoded(frame[7:8]))[0, 2:].tolist() == [0, 0]


def wrong(gives):
    """A transform that gives what a test says."""

    class Wrong(pj.Transform):
        def fit(self, x, columns):
            return self

        def __call__(self, x):
            return gives(x)

    return Wrong()


@pytest.mark.parametrize(
    ("transform", "says"),
    [
        ("rows", "unknown transform 'rows'; there are standardize, global, none, robust, quantile"),
        (Robust, "the transform is Robust itself; give a popjax.Transform, or one of standardize"),
        (RobustScaler(), "the transform is a RobustScaler; give a popjax.Transform"),
        ({"a": "none"}, "a dict is for rows that are a dict of arrays; give a name or one transform"),
        (wrong(lambda x: np.ones(3)), r"the transform Wrong: __call__ gives float64\[3\] for 64 rows; give an array"),
        (wrong(lambda x: "x"), "the transform Wrong: __call__ gives a str for 64 rows; give an array of numbers"),
    ],
)
def test_what_is_no_transform_is_refused_in_a_line(rows, transform, says):
    with pytest.raises(ValueError, match=says), np.errstate(all="ignore"):
        pj.supervised(rows, transform=transform)


def test_a_row_that_becomes_infinite_is_named(rows):
    """By what is in it: the rows that train are numbered otherwise than the user's."""
    x, y = rows
    transform = wrong(lambda given: np.where((given == x[17]).all(1, keepdims=True), np.inf, given))
    with pytest.raises(ValueError, match=re.escape(f"gives no finite number for the row {x[17].tolist()!r:.50}")):
        pj.supervised((x, y), transform=transform)


def test_an_unknown_transform_is_refused(refused_in_one_line):
    refused_in_one_line(
        *("sweep", "--dataset", "wine", "--transform", "rows"),
        says=["unknown transform 'rows'; there are standardize, global, none, robust, quantile"],
    )


def test_what_a_transform_does_tells_a_run_from_another(rows, tmp_path):
    """Its settings, its noise, and its code, which a directory does not hold."""
    shared = {"shuffle": False}
    one, other = (pj.supervised(rows, transform="quantile", seed=seed, **shared) for seed in (0, 1))
    assert one.recipe.identity["transform"] != other.recipe.identity["transform"]
    assert pj.supervised(rows, transform=Quantile(noise=0.5)).settings["transform"]["noise"] == 0.5
    assert pj.supervised(rows, transform=Quantile()).settings["transform"] == "quantile"

    def squares(factor):
        kind = type("Squares", (Squares,), {"__call__": lambda self, x: Squares.__call__(self, x) * factor})
        return type("Squares", (kind,), {"fit": lambda self, x, columns: kind(self.power, np.abs(x).max(0))})()

    given = {"trials": 2, "epochs": 1, "out": tmp_path / "run"}
    pj.search(pj.supervised(rows, transform=squares(1.0)), {"learning_rate": 0.1}, **given)
    with pytest.raises(ValueError, match="data: transform differs"):
        pj.search(pj.supervised(rows, transform=squares(9.0)), {"learning_rate": 0.1}, **given, resume=True)


def test_another_transform_than_was_trained_is_refused(rows, tmp_path):
    pj.search(
        pj.supervised(rows, transform=Squares()), {"learning_rate": 0.1}, trials=1, epochs=1, out=tmp_path / "run"
    )
    with pytest.raises(ValueError, match="transform is Squares, not Marks; give that one"):
        pj.load_best(tmp_path / "run", transform=Marks())


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_unit_of_a_feature_and_no_rows_do_not_matter(name):
    x = np.random.default_rng(0).normal(size=(200, 2))
    fitted = transform_of(name).fit(x * 2e-9, ())
    if name != "none":
        np.testing.assert_allclose(fitted(x * 2e-9), transform_of(name).fit(x, ())(x), rtol=1e-6, atol=1e-6)
    assert fitted(x[:0]).shape == (0, 2)
    rounding = transform_of(name).fit(np.where(x > 0, 0.3, 0.1 + 0.2), ())
    assert name in ("none", "global") or np.abs(rounding(np.full((1, 2), 0.1 + 0.2))).max() < 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class Bins(pj.Transform):
    """Positive features as logarithms, with fields of all sorts."""

    ends: tuple = (0.1, 0.9)
    edges: list | None = None
    widest: int | None = None

    def fit(self, x, columns):
        return Bins(self.ends, [[1.0], [2.0, 3.0]], x.var(0).argmax())

    def __call__(self, x):
        return np.log(x)


def test_fields_of_all_sorts_come_back_and_others_are_named(tmp_path):
    """Also of one that is not defined where all is zero, which no row is."""
    x = np.exp(np.random.default_rng(0).normal(size=(60, 2)))
    problem = ((x, x[:, 0] > 1), {"learning_rate": 0.1})
    pj.search(pj.supervised(problem[0], transform=Bins()), problem[1], trials=2, epochs=1, out=tmp_path / "run")
    pj.search(
        pj.supervised(problem[0], transform=Bins()), problem[1], trials=2, epochs=1, out=tmp_path / "run", resume=True
    )
    again = pj.load_best(tmp_path / "run", transform=Bins()).recipe.transforms[0]
    assert [edges.tolist() for edges in again.edges] == [[1.0], [2.0, 3.0]]
    assert again.widest == x.var(0).argmax()
    with pytest.raises(ValueError, match=r"field 'ends' of the transform Bins is \[0.1, inf\]; keep finite numbers"):
        pj.supervised(problem[0], transform=Bins((0.1, np.inf))).recipe.describe()


class Cubes(Standardize):
    """Derived from one that programs apply."""

    def __call__(self, x):
        return super().__call__(x) ** 3


def test_a_transform_derived_from_a_built_in_one_acts_as_itself_in_folds(rows):
    task = pj.supervised(rows, transform=Cubes()).in_folds(2)
    z = (rows[0] - rows[0][task.split.train[1]].mean(0)) / rows[0][task.split.train[1]].std(0)
    kept = np.delete(np.arange(170), task.split.test)
    np.testing.assert_allclose(task.data.rows.x[len(kept) :], z[kept] ** 3, rtol=1e-9)
    np.testing.assert_allclose(task.recipe.features(rows[0], 1), z**3, rtol=1e-9)


@dataclasses.dataclass(frozen=True, eq=False)
class Wider(pj.Transform):
    """Another width in each fold."""

    widths: ClassVar = iter([2, 3])
    width: int = 0

    def fit(self, x, columns):
        return Wider(next(self.widths))

    def __call__(self, x):
        return x[:, : self.width]


def test_a_transform_of_another_width_in_each_fold_is_one_line(rows):
    task = pj.supervised(rows)
    options = dataclasses.replace(task.problem.options, transform=Wider())
    with pytest.raises(ValueError, match=r"rows of \(2,\) and \(3,\) of different folds; give rows of one shape"):
        type(task).of(dataclasses.replace(task.problem, options=options), task.in_folds(2).split)


def test_an_estimator_takes_missing_cells_where_its_transform_does():
    x = np.random.default_rng(0).normal(size=(60, 2))
    y = x[:, 0] > 0
    x[::4, 1] = np.nan

    class Filled(Marks):
        def fit(self, x, columns):
            return Filled(np.nanmedian(x, 0))

    space = {"learning_rate": 0.1, "hidden": 4, "batch_size": 8}
    fitted = pj.PopulationClassifier(space, 2, 4, folds=1, input_transform=Filled()).fit(x, y)
    assert fitted.predict(x).shape == (60,)
    with pytest.raises(ValueError, match="contains NaN"):
        pj.PopulationClassifier(space, 2, 4, folds=1, model="mlp").fit(x, y)


def test_a_transform_of_ones_own_beside_missing_cells():
    """By default the tabular model fills them in, and the transform gets none."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=list("abc"))
    frame.loc[5, "a"] = np.nan
    task = pj.supervised(frame.assign(y=np.arange(60) % 2), "tabular", target="y", transform=Squares())
    predictor = pj.search(task, {"learning_rate": 0.01}, trials=1, epochs=1).predictor()
    assert set(predictor.predict(frame)) <= {0, 1}


class Sums(nnx.Module):
    def __init__(self, hparams, rngs):
        self.out = nnx.Linear(3, 2, rngs=rngs)

    def __call__(self, x):
        return self.out(jnp.concatenate([x["pair"], x["single"][:, None]], 1))


@pytest.mark.parametrize("name", [None, "robust", "quantile"])
def test_an_entry_of_numbers_without_a_shape_is_predicted_from(name):
    """Each entry as if it had one column; popjax's own transforms are read back from numbers, too."""
    rng = np.random.default_rng(0)
    x = {"pair": rng.normal(size=(80, 2)), "single": rng.normal(3, 2, 80)}
    task = pj.supervised((x, (x["single"] > 3).astype(int)), model=Sums, optimizer="adam", transform=name)
    results = pj.search(task, {"learning_rate": 0.05}, trials=1, epochs=30)
    assert results.predictor().score(x, (x["single"] > 3).astype(int)) > 0.9
    fitted = transform_of(name or "standardize", 0).fit(x["single"], ())
    read = type(fitted).from_json(json.loads(json.dumps(fitted.to_json())))
    np.testing.assert_array_equal(read(x["single"]), fitted(x["single"]))


def test_missing_cells_of_an_entry_are_predicted_from_where_its_own_transform_takes_them():
    rng = np.random.default_rng(0)
    x = {"pair": rng.normal(size=(80, 2)), "single": rng.normal(size=80)}
    x["pair"][3, 0] = np.nan
    task = pj.supervised((x, np.arange(80) % 2), model=Sums, optimizer="adam", transform={"pair": Zeros()})
    predictor = pj.search(task, {"learning_rate": 0.05}, trials=1, epochs=1).predictor()
    assert predictor.predict(x).shape == (80,)
    with pytest.raises(ValueError, match="entry 'single' of the rows: a cell is missing, row 5; give one"):
        predictor.predict(x | {"single": np.where(np.arange(80) == 4, np.nan, x["single"])})


class Zeros(pj.Transform):
    missing = True

    def fit(self, x, columns):
        return self

    def __call__(self, x):
        return np.nan_to_num(x)


@pytest.mark.parametrize("name", ["quantile", "global", "robust", "standardize"])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_table_of_texts_alone_has_any_transform(name):
    frame = pd.DataFrame({"colour": list("abcd") * 20, "y": [0, 1] * 40})
    task = pj.supervised(frame, "tabular", target="y", transform=name)
    assert pj.search(task, {"learning_rate": 0.05}, trials=1, epochs=20).predictor().score(frame, frame.y) > 0.9


class Forgets(pj.Transform):
    def fit(self, x, columns):
        self.mean = x.mean(0)

    def __call__(self, x):
        return x


@pytest.mark.parametrize("model", ["mlp", "tabular"])
def test_a_fit_that_returns_nothing_is_named(rows, model):
    with pytest.raises(ValueError, match="the transform Forgets: fit returned None; return the fitted transform"):
        pj.supervised(rows, model, transform=Forgets())


def test_an_export_names_the_transform_that_only_numpy_computes(rows):
    predictor = pj.search(
        pj.supervised(rows, transform="quantile"), {"learning_rate": 0.1}, trials=1, epochs=1
    ).predictor()
    with pytest.raises(ValueError, match="the transform Quantile computes with NumPy alone"):
        predictor.export("jax")
