"""Coarse to fine: the zoom finds what matters, stays where it may, and says when it hits an edge."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from test_compilations import compilations

import popjax as pj
from popjax.space.scales import LogIntegers, LogUniform, OneMinusLogUniform
from popjax.store.results import Results
from popjax.tuning.zoom import refine, zoom_in

RATES = pj.log_uniform(1e-6, 1)


def results_of(points, loss):
    """Results of one epoch with the given losses."""
    return Results(points, {"loss": np.asarray(loss, float)[:, None, None, None]}, pj.best("loss", "min"))


def planted(optimum):
    """A task whose loss is the squared distance, in decades, of the learning rate from the optimum; and noise."""

    def loss(key, hparams):
        return {"loss": (jnp.log10(hparams["learning_rate"]) - optimum) ** 2 + 1e-6 * hparams["noise"]}

    return pj.objective(loss)


@pytest.mark.parametrize("seed", range(8))
def test_an_optimum_planted_anywhere_is_found(seed):
    """The last round's median lies within 0.3 decade of it; the first round's middle half does not."""
    optimum = np.random.default_rng(seed).uniform(-5.7, -0.3)
    space = pj.Space(learning_rate=RATES, noise=pj.uniform(0, 1))
    results = pj.search(planted(optimum), space, trials=120, scheduler=pj.rounds(3), seed=seed)
    decades = np.log10(results.points["learning_rate"])
    first, last = (decades[results.rounds == number] for number in (0, 2))
    assert len(first) == len(last) == 40
    assert abs(np.median(last) - optimum) < 0.3
    assert max(abs(np.quantile(first, [0.25, 0.75]) - optimum)) > 0.3
    spread = [np.ptp(results.points["noise"][results.rounds == number]) for number in (0, 2)]
    assert spread[1] > 0.25 * spread[0], "what does not matter stays wide, but for chance"


def test_rounds_are_one_table_and_later_ones_compile_nothing(rows, nothing_compiled):
    """Widths, depths and batch sizes zoom in too, within the room of the one program."""
    task = pj.supervised(rows)
    space = pj.Space(
        learning_rate=pj.log_uniform(1e-4, 1),
        hidden=pj.integers(3, 9),
        depth=pj.integers(1, 3),
        batch_size=pj.choice(8, 16, 32),
        activation=pj.choice("relu", "tanh"),
    )
    with compilations() as events:
        results = pj.search(task, space, trials=61, epochs=3, scheduler=pj.rounds(3))
    assert sum("epoch" in str(name) for name in events) == results.summary["buckets"] == 2
    table = results.trials
    assert table["trial"].to_pylist() == list(range(61))
    assert np.bincount(table["round"].to_numpy()).tolist() == [20, 21, 20]
    assert [entry["trials"] for entry in results.run["rounds"]] == [20, 21, 20]
    assert sorted(table["rank"].drop_null().to_pylist()) == list(range(1, len(results.order) + 1))
    again = pj.Space.from_dict(results.run["rounds"][2]["space"])
    assert again["learning_rate"].low > 1e-4
    for name in ("learning_rate", "hidden", "depth", "batch_size"):
        values = results.points[name][results.rounds == 2]
        assert again[name].low <= min(values) <= max(values) <= again[name].high


def test_rounds_share_their_programs_where_there_are_lanes():
    """Batch sizes are no branches then: one bucket, traced once for all rounds and the score."""
    calls = []

    class Net(nnx.Module):
        def __init__(self, hparams, rngs):
            calls.append(1)
            self.conv = nnx.Conv(1, 2, (3, 3), rngs=rngs)
            self.out = nnx.Linear(2, 3, rngs=rngs)

        def __call__(self, x):
            return self.out(self.conv(x).mean((1, 2)))

    x = np.random.default_rng(0).normal(size=(60, 4, 4, 1))
    task = pj.supervised((x, np.arange(60) % 3), model=Net)
    space = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-1), batch_size=pj.choice(8, 16))
    once = pj.search(task, space, trials=6, epochs=1, backend=pj.Local(lanes=16))
    single = len(calls)
    thrice = pj.search(task, space, trials=6, epochs=1, backend=pj.Local(lanes=16), scheduler=pj.rounds(3))
    assert once.summary["lanes"] == 16
    assert (once.summary["buckets"], thrice.summary["buckets"]) == (1, 1)
    assert len(calls) - single == single


def test_a_round_does_not_change_the_one_before(rows):
    """The first third of three rounds is a search of its own, bit for bit; the design goes on where it ended."""
    task = pj.supervised(rows)
    space = pj.Space(learning_rate=pj.log_uniform(1e-4, 1), hidden=pj.integers(3, 9))
    three = pj.search(task, space, trials=30, epochs=3, scheduler=pj.rounds(3))
    one = pj.search(task, space, trials=10, epochs=3)
    assert three.members["val_loss"][:10].tobytes() == one.members["val_loss"].tobytes()
    units = space["learning_rate"].to_unit(space.sample(30)["learning_rate"])[10:20]
    zoomed = pj.Space.from_dict(three.run["rounds"][1]["space"])["learning_rate"]
    assert zoomed.to_unit(three.points["learning_rate"][10:20]) == pytest.approx(units)


def test_the_winner_of_an_early_round_is_kept_and_scored(rows):
    """Its arrays survive later rounds that are worse."""
    task = pj.supervised(rows)
    results = pj.search(
        task, {"learning_rate": pj.log_uniform(1e-3, 1e-1)}, trials=12, epochs=4, scheduler=pj.rounds(4), seed=1
    )
    best = results.best.trial
    assert results.rounds[best] < 3, "else this shows nothing"
    assert set(results.states) == {best}
    every = pj.search(
        task, {"learning_rate": pj.log_uniform(1e-3, 1e-1)}, trials=12, epochs=4, scheduler=pj.rounds(4), seed=1,
        rank=pj.best(keep=12),
    )  # fmt: skip
    assert every.states[best].keys() == results.states[best].keys()
    for name, array in every.states[best].items():
        assert results.states[best][name].tobytes() == array.tobytes()
    predicted, test = results.predictor().predict(rows[0][task.split.test]), rows[1][task.split.test]
    assert results.summary["test_value"] == pytest.approx((predicted == test).mean(), rel=1e-6)


SCALES = st.one_of(
    st.tuples(st.floats(-5, 5), st.floats(0.01, 5)).map(lambda p: pj.uniform(p[0], p[0] + p[1])),
    st.tuples(st.floats(-8, 0), st.floats(0.01, 6)).map(lambda p: pj.log_uniform(10 ** p[0], 10 ** (p[0] + p[1]))),
    st.tuples(st.floats(0, 2), st.floats(0.01, 3)).map(
        lambda p: pj.one_minus_log_uniform(1 - 10 ** -p[0], 1 - 10 ** -(p[0] + p[1]))
    ),
    st.tuples(st.integers(-9, 50), st.integers(1, 99)).map(lambda p: pj.integers(p[0], p[0] + p[1])),
    st.tuples(st.integers(1, 50), st.integers(1, 99)).map(lambda p: pj.log_integers(p[0], p[0] + p[1])),
    st.lists(st.integers(0, 99), min_size=1, max_size=6, unique=True).map(lambda v: pj.choice(*v)),
)


@given(scale=SCALES, n=st.integers(1, 80), seed=st.integers(0, 99))
def test_the_zoom_holds_the_best_and_stays_inside(scale, n, seed):
    """For any scale: within the user's range, of the same kind, around every one of the best; whole stays whole."""
    space = pj.Space(x=scale, c=0.5)
    points = space.sample(n, seed)
    loss = np.random.default_rng(seed).permutation(n)
    results = results_of(points, loss)
    zoomed = zoom_in(space, results.points, results.order).space
    best = points["x"][np.argsort(loss)[: max(5, -(-n // 10))]]
    narrow = zoomed["x"]
    assert list(zoomed) == ["x", "c"]
    assert zoomed["c"] == space["c"]
    assert type(narrow) is type(scale)
    assert scale.low <= narrow.low <= narrow.high <= scale.high
    assert min(best) >= narrow.low
    assert max(best) <= narrow.high
    if hasattr(scale, "values"):
        assert set(narrow.values) == set(best)
    if scale.whole:
        assert isinstance(narrow.low, int)


def test_the_margin_is_the_mean_distance_of_the_best():
    """Eleven best evenly from 0.3 to 0.5 leave a margin of 0.02 on either side, on the scale's own axis."""
    units = np.concatenate([np.linspace(0.3, 0.5, 11), np.linspace(0.6, 1, 99)])
    points = {"x": RATES.from_unit(units)}
    narrow = refine(pj.Space(x=RATES), results_of(points, np.arange(110)))["x"]
    assert RATES.to_unit(np.array([narrow.low, narrow.high])) == pytest.approx([0.28, 0.52])


@pytest.mark.parametrize(
    ("scale", "best", "advice"),
    [
        (LogUniform(1e-4, 1), "high", "the best sit at the upper edge of log_uniform(0.0001, 1); try log_uniform("),
        (
            LogUniform(1e-4, 1),
            "low",
            "the best sit at the lower edge of log_uniform(0.0001, 1); try log_uniform(1e-05,",
        ),
        (OneMinusLogUniform(0.9, 0.999), "high", "try one_minus_log_uniform("),
        (pj.uniform(0.1, 0.5), "low", "try uniform(0.0,"),
        (pj.integers(50, 100), "high", "try integers("),
        (LogIntegers(10, 1000), "low", "try log_integers(3,"),
    ],
)
def test_the_best_at_an_edge_are_told_with_the_range_to_try(scale, best, advice, caplog):
    points = pj.Space(x=scale).sample(200)
    units = scale.to_unit(points["x"])
    results = results_of(points, units if best == "low" else 1 - units)
    narrow = refine(pj.Space(x=scale), results)["x"]
    (record,) = caplog.records
    assert record.getMessage().startswith("x: the best sit at the ")
    assert advice in record.getMessage()
    assert scale.low <= narrow.low <= narrow.high <= scale.high


def test_no_edge_is_told_where_the_best_sit_inside_or_anywhere(caplog):
    space = pj.Space(inside=RATES, anywhere=pj.uniform(0, 1), depth=pj.integers(1, 3), zero=pj.uniform(0, 0.2))
    points = space.sample(300)
    loss = (np.log10(points["inside"]) + 3) ** 2 + points["zero"]
    refine(space, results_of(points, loss))
    assert [record.getMessage() for record in caplog.records] == [], "0 is a bound of what cannot be negative"


def test_extending_moves_beyond_the_edge_until_the_optimum_is_inside():
    """The optimum lies a decade and a half above the user's range; a size stays in its room."""
    space = pj.Space(x=pj.log_uniform(1e-6, 1e-3), n=pj.integers(10, 90))
    points, loss = space.sample(60), None
    for _ in range(6):
        loss = (np.log10(points["x"]) + 1.5) ** 2 - 0.001 * points["n"]
        narrow = refine(space, results_of(points, loss), extend=True)
        more = narrow.sample(60, seed=len(loss))
        points = {name: np.concatenate([column, more[name]]) for name, column in points.items()}
    assert abs(np.median(np.log10(points["x"][-60:])) + 1.5) < 0.3
    assert narrow["n"].high <= 90
    assert refine(space, results_of(points, (np.log10(points["x"]) + 1.5) ** 2))["x"].high <= 1e-3


def test_a_share_stays_a_share_when_extended():
    points = pj.Space(x=pj.uniform(0.5, 0.95)).sample(100)
    assert refine(pj.Space(x=pj.uniform(0.5, 0.95)), results_of(points, 1 - points["x"]), extend=True)["x"].high <= 1
    points = pj.Space(x=pj.uniform(0.05, 0.5)).sample(100)
    assert refine(pj.Space(x=pj.uniform(0.05, 0.5)), results_of(points, points["x"]), extend=True)["x"].low == 0


def test_what_cannot_be_zoomed_is_one_line():
    space = pj.Space(x=RATES)
    points = space.sample(9)
    with pytest.raises(ValueError, match="without diverging: there is nothing to zoom in on"):
        refine(space, results_of(points, np.full(9, np.nan)))
    with pytest.raises(ValueError, match="top=0: give a share"):
        refine(space, results_of(points, np.arange(9)), top=0)
    with pytest.raises(ValueError, match="no hyperparameter 'y'; they have x"):
        refine(pj.Space(y=RATES), results_of(points, np.arange(9)))


def test_rounds_go_on_where_everything_diverged(rows):
    """With nothing to zoom in on, the next round samples the user's range further."""
    results = pj.search(
        pj.supervised(rows), {"learning_rate": pj.uniform(1e20, 1e30)}, trials=6, epochs=3, scheduler=pj.rounds(2)
    )
    assert results.best is None
    assert results.run["rounds"][1]["space"] == results.run["space"]
