"""Hyperparameters that exist only beside some values of others: in samples, programs, tables, figures and searches."""

import functools
import re
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest
import stopping
from conftest import soaked
from flax import nnx
from test_compilations import compilations
from test_space import through_toml

import popjax as pj
from popjax.engine.traced_task import Config
from popjax.space.scales import Scale
from popjax.space.spelling import parse_scale
from popjax.space.values import absent
from popjax.store.results import Results
from popjax.study.replay import train_points
from popjax.task import HParams
from popjax.tuning.zoom import zoom_in

NESTED = pj.Space(
    kind=pj.choice("a", "b"),
    depth=pj.integers(1, 4),
    third=pj.integers(8, 64).when(depth=(3, 4)),
    rate=pj.log_uniform(1e-3, 1).when(kind="a"),
    word=pj.choice("x", "y").when(kind="b", depth=(1, 2)),
    inner=pj.uniform(0, 1).when(third=tuple(range(8, 37))),
    fixed=pj.Constant(3).when(word="x"),
)
PLAIN = pj.Space(**dict(NESTED))


def there(points):
    """Whether each hyperparameter exists (trials,), by hand."""
    deep = np.isin(points["depth"], (3, 4))
    low = deep & np.isin(points["third"], np.arange(8, 37))
    shallow = (points["kind"] == "b") & np.isin(points["depth"], (1, 2))
    on = np.ones(len(deep), bool)
    fixed = shallow & (points["word"] == "x")
    return {"third": deep, "rate": points["kind"] == "a", "word": shallow, "inner": low, "fixed": fixed, "kind": on}


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_what_exists_is_sampled_as_without_conditions(sampler):
    """So each branch has the law of its scale, and the first k of n points are the k points."""
    points, plain = NESTED.sample(500, 3, sampler), PLAIN.sample(500, 3, sampler)
    exists = there(plain)
    for name, column in points.items():
        here = exists.get(name, exists["kind"])
        assert column[here].tolist() == plain[name][here].tolist()
        assert all(absent(value) for value in column[~here].tolist())
        assert here.sum() > 0
        first = NESTED.sample(77, 3, sampler)[name]
        assert [None if absent(v) else v for v in first.tolist()] == [
            None if absent(v) else v for v in column[:77].tolist()
        ]
    filled = NESTED.filled(points)
    assert {name: column.dtype for name, column in filled.items()} == {n: c.dtype for n, c in plain.items()}
    assert set(filled["third"][~exists["third"]].tolist()) == {8}
    assert set(filled["word"][~exists["word"]].tolist()) == {"x"}
    again = NESTED.masked(filled)
    assert all(str(again[name].tolist()) == str(column.tolist()) for name, column in points.items())


def test_a_grid_has_no_point_twice():
    """Points that differ only in what is inactive are one."""
    space = pj.Space(kind=pj.choice("a", "b"), x=pj.integers(1, 4).when(kind="a"))
    points = space.sample(8, 0, "grid")
    assert [str(pair) for pair in zip(points["kind"].tolist(), points["x"].tolist(), strict=True)] == [
        *(f"('a', {x}.0)" for x in (1, 2, 3, 4)),
        "('b', nan)",
    ]


def test_texts_and_files_say_it_again(tmp_path):
    odd = pj.Space(a=pj.choice("it's", 'say "x"', "a when b=1", "1"), b=pj.choice(3, 2.5, True, "true"))
    odd = odd.replace(c=pj.uniform(0, 1).when(a=("it's", 'say "x"', "a when b=1", "1"), b=(2.5, True)))
    odd = odd.replace(d=0.5).replace(d=pj.Constant(0.5).when(c=0.5), e=pj.choice("x when y", "b").when(b=3))
    for space in (NESTED, odd, PLAIN):
        assert pj.Space.from_dict(space.to_dict()) == space
        assert through_toml(space, tmp_path) == space
    (tmp_path / "tables.toml").write_text(
        'optimizer = ["sgd", "adam"]\n'
        'momentum = {scale = "one_minus_log_uniform(0.9, 0.999)", when = {optimizer = "sgd"}}\n'
        'b2 = {scale = ["0.9", "0.99"], when = {optimizer = ["adam"]}}\n'
        'third = "uniform(0, 1) when optimizer=sgd|adam and momentum=0.9"\n'
    )
    space = pj.Space.from_toml(tmp_path / "tables.toml")
    assert space.conditions == {
        "momentum": {"optimizer": ("sgd",)},
        "b2": {"optimizer": ("adam",)},
        "third": {"optimizer": ("sgd", "adam"), "momentum": (0.9,)},
    }
    assert NESTED != PLAIN
    assert NESTED.only(["depth", "third", "rate"]).conditions == {"third": {"depth": (3, 4)}}
    assert NESTED.replace(third=9).conditions == NESTED.conditions
    assert "third" not in NESTED.replace(third=pj.uniform(0, 1).when()).conditions


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: pj.Space(x=pj.uniform(0, 1).when(y=1)), "x when y=...: there is no 'y'; there are x"),
        (lambda: pj.Space(x=pj.uniform(0, 1).when(x=1)), "depends on itself: x on x"),
        (lambda: pj.Space(x=pj.uniform(0, 1).when(y=1), y=pj.uniform(0, 1).when(x=1)), "depends on itself: "),
        (lambda: pj.uniform(0, 1).when(y=()), r"when y=\(\): no values; give at least one"),
        (lambda: pj.uniform(0, 1).when(y=[[1]]), r"when y=\[1\]: give a finite number, text or truth value"),
        (lambda: pj.uniform(0, 1).when(y=float("nan")), "when y=nan: give a finite number"),
        (lambda: parse_scale("uniform(0, 1) when"), "cannot read"),
        (lambda: parse_scale("uniform(0, 1) when depth"), "write a condition such as: when optimizer=sgd"),
        (lambda: parse_scale("uniform(0, 1) when depth=3 or 4"), "write a condition such as"),
        (lambda: parse_scale("uniform(0, 1) when depth==3"), "write a condition such as"),
        (lambda: parse_scale("uniform(0, 1) when depth=3 and depth=4"), "depth twice; write depth=3|4"),
        (lambda: pj.Space.from_dict({"x": {"scale": "uniform(0, 1)", "if": {}}}), r"write \{scale ="),
        (lambda: pj.Space.from_dict({"x": {"scale": "uniform(0, 1)", "when": 3}}), r"write \{scale ="),
        (lambda: NESTED.filled(NESTED.sample(9) | {"rate": np.full(9, np.nan)}), r"rate: point \d has no value"),
    ],
)
def test_a_condition_that_is_none_is_refused_in_one_line(make, says):
    with pytest.raises(ValueError, match=says) as caught:
        make()
    assert "\n" not in str(caught.value)


def quadratic(reads):
    """A task that reads these names, by [] or by get."""

    def epoch(x, hparams, data):
        rate = reads(hparams)
        return x - rate * x, {"loss": x**2}

    return pj.Task(lambda key, hparams, data: jax.random.normal(key), epoch, ())


KINDS = pj.Space(kind=pj.choice("a", "b"), rate=pj.uniform(0.1, 0.5).when(kind="a"))


def test_a_value_that_the_parent_never_has_is_refused():
    space = pj.Space(kind=pj.choice("a", "b"), rate=pj.uniform(0, 1).when(kind="c"))
    with pytest.raises(ValueError, match=r"rate when kind='c': kind never has this value, it is choice\('a', 'b'\)"):
        pj.search(quadratic(lambda hparams: hparams.get("rate", 0.1)), space, trials=4)


def test_reading_it_beside_a_static_parent_is_an_error_that_names_it():
    """By []; by get it is the default, and it is not in the mapping."""
    with pytest.raises(ValueError, match=r"rate exists only when kind=a; read hparams\.get") as caught:
        pj.search(quadratic(lambda hparams: hparams["rate"]), KINDS, trials=20)
    assert "\n" not in str(caught.value)
    asked = quadratic(lambda hparams: hparams["rate"] if hparams["kind"] == "a" else hparams.get("rate", 0.25))
    results = pj.search(asked, KINDS, trials=20, epochs=3)
    other = results.points["kind"] == "b"
    shrunk = results.curves["loss"][other]
    np.testing.assert_allclose(shrunk[:, 1], shrunk[:, 0] * 0.75**2, rtol=1e-5)
    inside = quadratic(lambda hparams: hparams["rate"] if "rate" in hparams else 0.5)  # noqa: SIM401
    assert pj.search(inside, KINDS.replace(kind=pj.choice("a", "b", static=True)), trials=20).best is not None


@pytest.mark.soak
def test_each_branch_trains_as_a_search_of_its_own(rows):
    """Bit for bit, with the hyperparameters that it has; the tables say null elsewhere."""
    space = pj.default_space(priority=2, optimizer=["sgd", "adam"]).replace(hidden=pj.integers(3, 9))
    assert space.conditions == {"momentum": {"optimizer": ("sgd",)}}
    results = pj.search(pj.supervised(rows), space, trials=24, epochs=3)
    for optimizer in ("sgd", "adam"):
        chosen = np.flatnonzero(results.points["optimizer"] == optimizer)
        own = {n: column[chosen] for n, column in space.filled(results.points).items()}
        own = {n: column for n, column in own.items() if n != "momentum" or optimizer == "sgd"}
        alone = space.only(own).replace(optimizer=pj.choice("sgd", "adam"))
        alone = pj.Space(**dict(alone))
        again = train_points(pj.supervised(rows), alone, own, Config(3, 0, pj.Rule("val_accuracy")), chosen)
        for name, values in again.members.items():
            assert values.tobytes() == results.members[name][chosen].tobytes(), (optimizer, name)
        assert len(chosen) > 5
    table = results.trials["momentum"].to_pylist()
    assert [value is None for value in table] == (results.points["optimizer"] == "adam").tolist()


def layered(rows, **settings):
    """A search in which the third layer has a width of its own, where there is a third layer."""
    space = pj.Space(
        learning_rate=pj.log_uniform(1e-3, 0.3),
        depth=pj.integers(2, 4),
        hidden=pj.integers(4, 9),
        hidden_3=pj.integers(3, 12).when(depth=(3, 4)),
    )
    return stopping.search(
        pj.supervised(rows), space, **{"trials": 16, "epochs": 3, "rank": pj.best(keep=16), **settings}
    )


def test_what_stands_in_its_place_changes_no_bit(rows, monkeypatch):
    """Beside a dynamic parent the program holds some value: the low end of the scale, or any other."""
    low = layered(rows, backend=pj.Local(plan="one"))
    monkeypatch.setattr(Scale, "inactive", property(lambda scale: scale.high))
    high = layered(rows, backend=pj.Local(plan="one"))
    assert low.run["static"] == []
    for name, values in low.members.items():
        assert values.tobytes() == high.members[name].tobytes(), name


@pytest.mark.parametrize("plan", soaked(["buckets", "one"]))
def test_the_kept_trials_predict_what_they_scored(rows, plan, tmp_path):
    """In both branches, also from the disk: the mean of those that were kept."""
    x, y = rows
    held = np.arange(0, len(y), 5)
    task = functools.partial(pj.supervised, rows, validation=held, test=0)
    space = pj.Space(
        learning_rate=pj.log_uniform(1e-2, 0.3),
        depth=pj.integers(2, 3),
        hidden_3=pj.integers(3, 130).when(depth=3),
        optimizer=pj.choice("sgd", "adam"),
        momentum=pj.uniform(0.5, 0.9).when(optimizer="sgd"),
    )
    results = pj.search(
        task(), space, trials=12, epochs=3, rank=pj.together(12), backend=pj.Local(plan=plan), out=tmp_path / "run"
    )
    for trial in results.order.tolist():
        score = results.predictor(trial).score(x[held], y[held])
        assert score == pytest.approx(results.values["val_accuracy"][trial], abs=1e-6)
    assert {"momentum" in results.hparams(trial) for trial in range(12)} == {True, False}
    assert {"hidden_3" in results.hparams(trial) for trial in range(12)} == {True, False}
    there, here = pj.load_best(tmp_path / "run").predict_proba(x), pj.ensemble(results).predict_proba(x)
    np.testing.assert_allclose(there, here, atol=1e-6)


class Bent(nnx.Module):
    """A model that reads what exists only beside some values of a dynamic parent."""

    def __init__(self, hparams, rngs):
        self.out = nnx.Linear(5, 3, rngs=rngs)
        self.slope = nnx.Variable(jnp.where(hparams["bend"] == 2, hparams["slope"], 1.0))

    def __call__(self, x):
        return self.out(jnp.where(x > 0, x, self.slope[...] * x))


def test_a_model_of_ones_own_predicts_where_it_holds_a_filler(rows, tmp_path):
    x, y = rows
    held = np.arange(0, len(y), 5)
    task = pj.supervised(rows, model=Bent, validation=held, test=0)
    space = pj.Space(learning_rate=0.05, bend=pj.choice(1, 2), slope=pj.uniform(-1, 0).when(bend=2))
    results = pj.search(task, space, trials=8, epochs=3, rank=pj.best(keep=8))
    assert {"slope" in results.hparams(trial) for trial in range(8)} == {True, False}
    for trial in range(8):
        score = results.predictor(trial).score(x[held], y[held])
        assert score == pytest.approx(results.values["val_accuracy"][trial], abs=1e-6)


def same(one, other):
    return str(one.tolist()) == str(other.tolist())


@pytest.mark.parametrize(
    "settings", soaked([{"folds": 2}, {}, {"backend": pj.Local(plan="buckets")}, {"scheduler": "rounds(2)"}]), ids=str
)
def test_a_run_is_loaded_and_goes_on_as_it_was(rows, settings, tmp_path):
    whole = layered(rows, out=tmp_path / "whole", **settings)

    class Stopper(pj.Callback):
        def epoch(self, result):
            stop.set()

    stop = threading.Event()
    layered(rows, out=tmp_path / "run", stop=stop, callbacks=[Stopper()], **settings)
    layered(rows, out=tmp_path / "run", resume=True, **settings)
    for name in ("trials.parquet", "curves.parquet", "decisions.jsonl", "best/arrays.safetensors", "best/best.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    loaded = Results.load(tmp_path / "run")
    assert all(same(column, loaded.points[name]) for name, column in whole.points.items())
    assert loaded.trials["hidden_3"].type == pa.int64()
    assert loaded.trials["hidden_3"].null_count == int((whole.points["depth"] == 2).sum()) > 0
    assert loaded.hparams(int(loaded.order[0])) == whole.hparams(int(whole.order[0]))
    again = pj.replay(loaded, 1, pj.supervised(rows))
    assert again["val_loss"].tobytes() == whole.curves["val_loss"][1].tobytes()


def test_the_zoom_looks_at_those_that_have_it():
    points = NESTED.sample(200, 1)
    order = np.flatnonzero((points["kind"] == "a") & (points["rate"] > 0.1))[:20]
    narrow = zoom_in(NESTED, points, order).space
    assert 0.05 < narrow["rate"].low < 0.2
    assert narrow["word"] == NESTED["word"], "none of the best has it"
    assert narrow.conditions == NESTED.conditions
    assert narrow["kind"].values == ("a",)


def test_a_decision_adds_a_column_of_each():
    space = pj.Space(kind=pj.choice("a", "b"), x=pj.uniform(0, 1).when(kind="a"))
    task = pj.objective(lambda key, hparams: {"loss": hparams.get("x", 0.5)})

    def adding(**columns):
        first = pj.Decision(add=columns, until={0: 1, 1: 1})
        return lambda problem: pj.Scheduler(list, lambda state, trials: ([1], pj.Decision() if state else first))

    kind, x = np.array(["a", "b"], object), np.array([0.5, None], object)
    assert pj.search(task, space, trials=2, scheduler=adding(kind=kind, x=x)).points["x"][0] == 0.5
    with pytest.raises(ValueError, match="add: there is no column x; give one of each hyperparameter, with None where"):
        pj.search(task, space, trials=2, scheduler=adding(kind=kind))


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_samplers_that_learn_know_what_exists(sampler):
    """They propose nothing for what is not there, and find the optimum of the branch that is better."""
    space = pj.Space(
        kind=pj.choice("a", "b"),
        x=pj.uniform(0, 1).when(kind="a"),
        y=pj.uniform(0, 1).when(kind="b"),
        z=pj.uniform(0, 1),
    )

    def loss(key, hparams):
        own = (hparams["x"] - 0.7) ** 2 + 0.5 if hparams["kind"] == "a" else (hparams["y"] - 0.2) ** 2
        return {"loss": own + (hparams["z"] - 0.4) ** 2}

    results = pj.search(pj.objective(loss), space, trials=96, sampler=sampler)
    assert (np.isnan(results.points["x"]) == (results.points["kind"] == "b")).all()
    assert (np.isnan(results.points["y"]) == (results.points["kind"] == "a")).all()
    best = results.best.hparams
    assert list(best) == ["kind", "y", "z"]
    assert abs(best["y"] - 0.2) < 0.1
    assert same(results.points["y"], pj.search(pj.objective(loss), space, trials=96, sampler=sampler).points["y"])


def test_importance_finds_what_matters_in_one_branch():
    from popjax.pages.importance import importance

    space = pj.Space(kind=pj.choice("a", "b"), x=pj.uniform(0, 1).when(kind="a"), y=pj.uniform(0, 1))
    results = pj.search(
        pj.objective(lambda key, h: {"loss": (h["x"] - 0.5) ** 2 if h["kind"] == "a" else 1.0 + 0 * h["y"]}),
        space.replace(y=pj.uniform(0, 1).when(kind="b")),
        trials=400,
    )
    shares = importance(results)
    assert shares["x"] > 0.3 > shares["y"]


def test_the_page_leaves_gaps(opened, rows):
    results = layered(rows, trials=20, rank=pj.best(keep=1))
    page = opened(results)
    where = page.evaluate("PAGE.panels.findIndex(p => p.layout.xaxis.title.text === 'hidden_3')")
    drawn = page.evaluate(f"document.getElementById('panel-{where}').data[0].x")
    assert drawn.count(None) == int((results.points["depth"] == 2).sum())
    units = page.evaluate("PAGE.parallel.axes.find(a => a.name === 'hidden_3').units")
    assert [unit is None for unit in units] == (results.points["depth"] == 2).tolist()
    words = page.inner_text("main")
    assert "A trial in which a hyperparameter is inactive has no point there." in words
    assert "Where a hyperparameter is inactive a line has a gap." in words


def test_pbt_draws_what_becomes_active_anew():
    """A parent that is set between epochs decides; what is inactive is NaN in the history, and replayed the same."""
    space = pj.Space(level=pj.choice(1, 2, 3), rate=pj.uniform(0.2, 0.9).when(level=(2, 3)), shift=pj.uniform(0, 1))

    def epoch(x, hparams, data):
        rate = jnp.where(hparams["level"] > 1, hparams["rate"], 0.05 * hparams["shift"])
        return x - rate * x, {"loss": x**2 + hparams["level"]}

    task = pj.Task(lambda key, hparams, data: jax.random.normal(key), epoch, ())
    results = pj.search(task, space, trials=20, epochs=10, scheduler=pj.pbt(quantile=0.5))
    history = results.history
    levels, rates = history.values["level"], history.values["rate"]
    assert (np.isnan(rates) == (levels == 1)).all()
    became = (levels[:, 1:] > 1) & (np.isnan(rates[:, :-1]) | (levels[:, :-1] == 1))
    assert became.any()
    assert (rates[levels > 1] >= 0.2).all()
    for trial in (0, 7, int(results.best.trial)):
        line = history.lineage(trial)
        again = results.replay(trial)["loss"]
        assert again.tobytes() == results.curves["loss"][line, np.arange(10)].tobytes()


def test_a_session_of_such_a_trial_trains_as_it_did(rows):
    results = layered(rows, backend=pj.Local(plan="one"))
    space = results.space
    for trial in (int(np.flatnonzero(results.points["depth"] == 2)[0]), 3):
        session = pj.Session(pj.supervised(rows), results.hparams(trial), epochs=3, space=space, numbers=[trial])
        session.train(3)
        np.testing.assert_allclose(session.curves["val_loss"], results.curves["val_loss"][trial], rtol=1e-5)


def test_conditions_compile_nothing_more(rows):
    """One program for all depths, though one of them has a hyperparameter more."""
    with compilations() as events:
        results = layered(rows, seed=5, trials=20, backend=pj.Local(plan="one"))
    assert results.summary["buckets"] == 1
    assert len([event for event in events if re.search("epoch", event)]) <= 1


@pytest.mark.soak
def test_the_command_knows_optimizers_and_conditions(command, tmp_path):
    """A choice of optimizers makes the default space conditional by itself; the run is tested again and steered."""
    done = command(
        *(
            "sweep",
            "--dataset",
            "wine",
            "--trials",
            14,
            "--epochs",
            3,
            "--optimizer",
            "choice(sgd, adam)",
            "--out",
            "run",
        ),
        *("--set", "hidden=8", "--set", "hidden_3=integers(3, 6) when depth=3|4"),
    )
    assert done.returncode == 0, done.stderr
    results = Results.load(tmp_path / "run")
    assert (np.isnan(results.points["momentum"]) == (results.points["optimizer"] == "adam")).all()
    assert (np.isnan(results.points["hidden_3"]) == (results.points["depth"] == 2)).all()
    assert {"momentum", "hidden_3"} <= results.run["space"].keys()
    again = command("retest", "run", "--top", 3, "--background", 3, "--repeats", 3)
    assert again.returncode == 0, again.stderr
    for trial in (int(np.flatnonzero(results.points["optimizer"] == name)[0]) for name in ("sgd", "adam")):
        steered = command("babysit", "--from", "run", "--trial", trial, "--epochs", 2, "--out", f"one-{trial}")
        assert steered.returncode == 0, steered.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "hidden_3=integers(3,6) when height=3"], "there is no 'height'"),
        (["--set", "hidden_3=integers(3,6) when depth=7"], "hidden_3 when depth=7: depth never has this value"),
        (["--set", "decay=uniform(0,1) when decay=0"], "depends on itself"),
        (["--set", "decay=uniform(0,1) when"], "cannot read"),
        (["--optimizer", "choice(sgd, adamx)"], "unknown optimizer 'adamx'"),
        (["--optimizer", "choice(sgd"], "cannot read"),
    ],
)
def test_the_command_refuses_them_in_one_line(refused_in_one_line, arguments, says):
    refused_in_one_line("sweep", "--dataset", "wine", "--trials", 4, *arguments, says=[says])


def test_what_is_refined_can_be_searched():
    """What exists for values that the best did not use is left out, with what depends on it; other values are not."""
    space = pj.Space(
        kind=pj.choice("a", "b", "c"),
        x=pj.uniform(0, 1).when(kind=("a", "b")),
        y=pj.integers(1, 4).when(kind="c"),
        z=pj.uniform(0, 1).when(y=(1, 2)),
    ).where("x <= 0.9", "y * z <= 3")
    cost = {"a": 0.0, "b": 1.0, "c": 2.0}
    read = lambda hparams: sum(0 * hparams.get(name, 0.0) for name in ("x", "y", "z"))
    task = pj.objective(lambda key, hparams: {"loss": cost[hparams["kind"]] + read(hparams)})
    narrow = pj.refine(space, pj.search(task, space, trials=40))
    assert list(narrow) == ["kind", "x"]
    assert narrow.conditions == {"x": {"kind": ("a",)}}
    assert [str(one) for one in narrow.constraints] == ["x <= 0.9"]
    assert set(pj.search(task, narrow, trials=4).points) == {"kind", "x"}


def test_a_replaced_value_exists(rows):
    """A schedule multiplies the default rate of trials whose rate does not exist, and a model's own defaults count."""
    hparams = HParams({"hidden": 3}, inactive={"learning_rate": "optimizer=sgd"})
    assert hparams.replace(learning_rate=0.5)["learning_rate"] == 0.5
    with pytest.raises(ValueError, match="learning_rate exists only when optimizer=sgd"):
        hparams.replace(hidden=4)["learning_rate"]
    space = pj.Space(optimizer=pj.choice("sgd", "adam"), learning_rate=pj.log_uniform(0.01, 0.1).when(optimizer="sgd"))
    plain, cosine = (
        pj.search(pj.supervised(rows, schedule=schedule), space, trials=6, epochs=3)
        for schedule in ("inverse", "cosine")
    )
    adam = plain.points["optimizer"] == "adam"
    assert adam.any()
    assert (plain.curves["val_loss"][adam, -1] != cosine.curves["val_loss"][adam, -1]).all()
    pixels = np.random.default_rng(0).normal(size=(40, 8, 8, 1)), np.arange(40) % 2
    sizes = {"norm": pj.choice("batch", "group"), "depth": pj.integers(1, 2).when(norm="group"), "learning_rate": 0.01}
    assert not pj.search(pj.supervised(pixels, "cnn"), sizes, trials=4, epochs=1).diverged.any()
