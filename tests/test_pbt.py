"""Population-based training is a plain loop: what is copied, what is changed, and what the records say of it."""

import copy
import math
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stopping
from conftest import compilations, soaked
from four_devices import on_four_devices

import popjax as pj
from popjax.store.results import Results

EPOCHS = 9
SPACE = pj.Space(
    rate=pj.log_uniform(0.05, 3),
    beta=pj.one_minus_log_uniform(0.5, 0.99),
    shift=pj.uniform(0.1, 1),
    steps=pj.integers(1, 4),
    level=pj.choice(0.5, 0.1, 0.2),
    width=pj.integers(1, 3),
    size=pj.choice(2, 3, static=True),
    fixed=0.25,
)
SETTABLE = ("rate", "beta", "shift", "steps", "level")
DATA = np.array([0.25, -0.5])
FILES = ("trials.parquet", "curves.parquet", "decisions.jsonl", "best/arrays.safetensors", "history.parquet")


def init(key, hparams, data):
    width = hparams.size("width", 3)
    x = jax.random.normal(key, (hparams["size"], int(width.high))) * (jnp.arange(width.high) < hparams["width"])[None]
    return {"x": x, "mean": jnp.zeros_like(x), "key": jax.random.fold_in(key, 7)}


def epoch(state, hparams, data):
    noise = hparams["level"] * jax.random.normal(state["key"], state["x"].shape)
    gradient = state["x"] - hparams["shift"] + noise + hparams["fixed"] + data[hparams["fold"]]
    mean = hparams["beta"] * state["mean"] + (1 - hparams["beta"]) * gradient
    x = state["x"] - hparams["rate"] * hparams["steps"] * (gradient + 0.1 * mean)
    loss = (x**2).sum()
    loss = jnp.where(loss > 1e4, jnp.nan, loss)
    return {"x": x, "mean": mean, "key": jax.random.fold_in(state["key"], 1)}, {"loss": loss, "first": x[0, 0]}


TASK = pj.Task(init, epoch, DATA)


def search(out=None, scheduler=None, **settings):
    given = {"trials": 24, "epochs": EPOCHS, "seed": 3, "folds": 2, "rank": pj.best(keep=24), "out": out, **settings}
    return stopping.search(TASK, SPACE, scheduler=scheduler or pj.pbt(interval=2, quantile=0.3, warmup=3), **given)


class Loop:
    """PBT of this task in plain Python, member by member, from the paper and the documented streams alone.

    Of each member it knows its present loss, and the best one so far: (loss, after which epoch, state), what was `now`
    its `since`; with `patience` it trains no further once that is reached, and a trial of such members is left alone.
    """

    def __init__(
        self,
        trials=24,
        seed=3,
        interval=2,
        quantile=0.3,
        resample=0.25,
        factors=(0.8, 1.2),
        warmup=3,
        patience=math.inf,
    ):
        self.settings = seed, quantile, resample, factors
        self.patience = patience
        self.hparams = [dict(zip(SPACE, row, strict=True)) for row in zip(*SPACE.sample(trials, seed).values())]  # noqa: B905
        key = lambda trial: jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), trial), 0)
        self.states = [
            [init(key(t), self.seen(values, fold), DATA) for fold in (0, 1)] for t, values in enumerate(self.hparams)
        ]
        self.losses = np.full((trials, 2, EPOCHS), np.nan)
        self.best = [[(math.inf, 0, None)] * 2 for _ in range(trials)]
        self.since = [[0, 0] for _ in range(trials)]
        self.present = [[math.nan, math.nan] for _ in range(trials)]
        self.parents, self.copies = [], 0
        begun = 0
        for end in [*range(max(warmup, interval), EPOCHS, interval), EPOCHS]:
            for now in range(begun, end):
                self.train(now)
            if end < EPOCHS:
                self.select(end)
            begun = end

    def seen(self, values, fold):
        exact = lambda name, v: v if name in ("size", "width") else np.float64(v)
        return pj.HParams({n: exact(n, v) for n, v in values.items()} | {"fold": fold}, SPACE)

    def train(self, now):
        for trial, values in enumerate(self.hparams):
            for fold in (0, 1):
                if now and not np.isfinite(self.present[trial][fold]) and self.alive(trial, fold) is False:
                    continue
                if self.since[trial][fold] >= self.patience:
                    continue
                self.states[trial][fold], metrics = epoch(self.states[trial][fold], self.seen(values, fold), DATA)
                loss = self.present[trial][fold] = float(metrics["loss"])
                self.losses[trial, fold, now] = loss
                self.since[trial][fold] += math.isfinite(loss)
                if loss < self.best[trial][fold][0]:
                    self.best[trial][fold] = loss, now + 1, self.states[trial][fold]
                    self.since[trial][fold] = 0

    def alive(self, trial, fold):
        return bool((self.states[trial][fold]["x"] ** 2).sum() <= 1e4)

    def select(self, now):
        seed, quantile, resample, factors = self.settings
        known = (self.states, self.best, self.since, self.present)
        before = [(*map(list, own), dict(values)) for *own, values in zip(*known, self.hparams, strict=True)]
        complete = [all(since >= self.patience for since in both) for both in self.since]
        for size in (2, 3):
            bucket = [t for t, values in enumerate(self.hparams) if values["size"] == size and not complete[t]]
            loss = {t: np.mean(self.present[t]) for t in bucket}
            fit = sorted((t for t in bucket if math.isfinite(loss[t])), key=lambda t: (loss[t], t))
            dead = [t for t in bucket if not math.isfinite(loss[t])]
            count = min(math.ceil(quantile * len(bucket)), len(bucket) // 2)
            best = fit[:count]
            worst = (fit + dead)[max(len(bucket) - max(count, len(dead)), len(best)) :]
            for target in worst if best else ():
                draws = lambda purpose, target=target: np.random.default_rng([seed, now, target, purpose, 3])
                source = best[draws(0).integers(len(best))]
                self.become(target, source, now, before, draws, resample, factors)

    def become(self, target, source, now, before, draws, resample, factors):
        self.copies += 1
        states, self.best[target], self.since[target], self.present[target], values = map(copy.copy, before[source])
        other = lambda key: jax.random.fold_in(jax.random.fold_in(key, target), now)
        self.states[target] = [state | {"key": other(state["key"])} for state in states]
        self.hparams[target] = dict(values)
        for axis, name in enumerate(SPACE.searched, 1):
            if name in SETTABLE:
                stream = draws(axis)
                anew, unit, factor = stream.random() < resample, stream.random(), factors[stream.integers(len(factors))]
                self.hparams[target][name] = SPACE[name].from_unit(unit) if anew else moved(name, values[name], factor)


def moved(name, value, factor):
    """By hand, for each hyperparameter of this space."""
    if name == "beta":
        return min(max(1 - (1 - value) * factor, 0.5), 0.99)
    if name == "steps":
        return min(max(math.ceil(value * factor) if factor > 1 else math.floor(value * factor), 1), 4)
    if name == "level":
        return (0.5, 0.1, 0.2)[min(max((0.5, 0.1, 0.2).index(value) + (1 if factor > 1 else -1), 0), 2)]
    low, high = {"rate": (0.05, 3), "shift": (0.1, 1)}[name]
    return min(max(value * factor, low), high)


def test_it_is_a_plain_loop(x64):
    """In float64: two shapes, two folds, sizes that go with the weights, trials that diverge and are overwritten."""
    loop, results = Loop(), search()
    assert loop.copies > 10
    np.testing.assert_allclose(results.members["loss"][:, :, 0], loop.losses, rtol=1e-9)
    assert np.isnan(loop.losses).any()
    for name, column in results.points.items():
        np.testing.assert_allclose(column.astype(float), [values[name] for values in loop.hparams], rtol=1e-12)
    for trial, states in enumerate(loop.states):
        if trial in results.states:
            kept = results.params(trial)["x"]
            np.testing.assert_allclose(kept, [state["x"] for state in states], rtol=1e-9)
    assert results.trials["status"].to_pylist().count("ok") == len(results.states) > 15


def kept_best(patience=None):
    return pj.best("loss", at="best", patience=patience, keep=24)


@pytest.mark.parametrize("patience", [None, 1, 2])
def test_a_copy_takes_the_best_epoch_and_its_counter(x64, patience):
    """It ranks by the present values; in the end each lineage counts once, with its hyperparameters."""
    loop, results = Loop(patience=patience or math.inf), search(rank=kept_best(patience))
    assert loop.copies > 3
    np.testing.assert_allclose(results.members["loss"][:, :, 0], loop.losses, rtol=1e-9)
    alive = np.isfinite(np.array(loop.present)).all(1)
    values = np.array([[fold[0] for fold in both] for both in loop.best]).mean(1)
    epochs = np.array([[fold[1] for fold in both] for both in loop.best])
    assert np.array_equal(results.trials["status"].to_pandas() == "ok", alive)
    np.testing.assert_allclose(results.values["loss"][alive], values[alive], rtol=1e-9)
    assert results.best_epochs[alive, :, 0].tolist() == epochs[alive].tolist()
    states = {}  # of different best epochs, best first
    for trial in sorted(np.flatnonzero(alive).tolist(), key=lambda trial: (values[trial], trial)):
        states.setdefault(tuple(id(fold[2]) for fold in loop.best[trial]), trial)
    assert results.best_trials(24) == list(states.values())
    assert set(results.states) == set(states.values())
    assert len(states) < alive.sum() or patience == 1
    for trial in results.states:
        ours, theirs = results.params(trial)["x"], [fold[2]["x"] for fold in loop.best[trial]]
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
        keys = [jax.random.key_data(fold[2]["key"]).tolist() for fold in loop.best[trial]]
        assert results.params(trial)["key"].tolist() == keys
        then = results.history.of(trial)
        for name, column in results.points.items():
            assert column[trial] == then[name][epochs[trial].max() - 1]


@pytest.mark.parametrize(
    "settings",
    soaked(
        [{}, {"backend": pj.Local(lanes=4)}, {"repeats": 2, "folds": 1}, {"rank": kept_best()}, {"rank": kept_best(2)}]
    ),
    ids=str,
)
def test_a_trial_is_trained_again_along_its_ancestors_to_the_same_bits(settings, tmp_path):
    results = search(out=tmp_path / "run", **settings)
    loaded = Results.load(tmp_path / "run")
    lines = [results.history.lineage(trial) for trial in range(24)]
    several = [trial for trial, line in enumerate(lines) if len(set(line.tolist())) > 1]
    assert several
    for trial in [*several[:4], int(results.best.trial)]:
        again = pj.replay(loaded, trial, TASK)
        for name, curve in results.curves.items():
            line = lines[trial]
            assert again[name].tobytes() == curve[line, np.arange(len(line))].tobytes(), (trial, name)
            assert len(line) == EPOCHS or results.rule.patience


def test_the_table_says_what_each_epoch_was_trained_with(tmp_path):
    """The decisions, carried out by hand on the points; loaded as they were."""
    results = search(out=tmp_path / "run")
    loaded = Results.load(tmp_path / "run")
    for name, values in results.history.values.items():
        assert values.tolist() == loaded.history.values[name].tolist()
        assert values[:, -1].tolist() == results.points[name].tolist()
    assert results.history.parents.tolist() == loaded.history.parents.tolist()
    assert results.history.fresh.tolist() == loaded.history.fresh.tolist()
    first = SPACE.sample(24, 3)
    assert all(results.history.values[n][:, e].tolist() == first[n].tolist() for n in SPACE for e in (0, 1, 2))
    copied = results.history.parents != np.arange(24)[:, None]
    assert copied.any(0).tolist() == [epoch in (3, 5, 7) for epoch in range(EPOCHS)]
    assert (copied == results.history.fresh).all()
    for trial, epoch in zip(*np.nonzero(copied), strict=True):
        parent = results.history.parents[trial, epoch]
        for name in ("width", "size", "fixed"):
            assert results.history.values[name][trial, epoch] == results.history.values[name][parent, epoch - 1]
    best = results.best.trial
    followed = results.history.of(best)
    assert followed["rate"][-1] == results.points["rate"][best]


@pytest.mark.soak
def test_the_winners_files_know_its_schedule(rows, tmp_path):
    task = pj.supervised(rows)
    space = {"learning_rate": pj.log_uniform(1e-3, 1), "batch_size": pj.choice(8, 16, 32), "hidden": pj.integers(3, 9)}
    results = pj.search(task, space, trials=12, epochs=5, scheduler="pbt", out=tmp_path / "run")
    winner = pj.load_best(tmp_path / "run")
    followed = results.history.of(results.best.trial)
    assert winner.history == {name: values.tolist() for name, values in followed.items()}
    assert len(set(results.history.values["batch_size"].ravel().tolist())) == 3
    changed = results.history.values["batch_size"][:, 1:] != results.history.values["batch_size"][:, :-1]
    same = results.history.parents[:, 1:] == np.arange(12)[:, None]
    assert not (changed & same).any()
    assert changed.any(), "what branches changes no shape, so it is explored too"
    assert {len(set(values.tolist())) for values in [followed["hidden"]]} == {1}


@pytest.mark.soak
def test_the_winners_files_know_a_schedule_with_gaps(rows, tmp_path):
    """An inactive hyperparameter has no value there, in `best/` as elsewhere."""
    space = pj.Space(
        learning_rate=pj.log_uniform(1e-3, 0.1),
        optimizer=pj.choice("sgd", "adam"),
        momentum=pj.uniform(0.5, 0.9).when(optimizer="sgd"),
        hidden=8,
    )
    winners = set()
    for seed in range(4):
        results = pj.search(
            pj.supervised(rows), space, trials=12, epochs=4, seed=seed, scheduler="pbt", out=tmp_path / str(seed)
        )
        winner = pj.load_best(tmp_path / str(seed))
        winners.add(winner.hparams["optimizer"])
        for name, values in results.history.of(results.best.trial).items():
            assert winner.history[name] == [None if value != value else value for value in values.tolist()]
    assert "adam" in winners


@pytest.mark.kill
@pytest.mark.parametrize("rank", ["pj.best(keep=24)", "kept_best(2)"])
def test_killed_often_it_ends_as_the_run_left_alone(python, tmp_path, rank):
    search(out=tmp_path / "whole", rank=eval(rank))
    code = f"from test_pbt import kept_best, pj, search; search(out=sys.argv[1], resume=True, rank={rank})"
    stopping.killed_often(python, code, (2, 4, 5))
    for name in FILES:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_stopped_by_the_user_it_goes_on_with_the_same_bytes(tmp_path):
    whole = search(out=tmp_path / "whole")

    class Stopper(pj.Callback):
        def decision(self, decision, trials):
            if decision.copy:
                stop.set()

    stop = threading.Event()
    half = search(out=tmp_path / "run", stop=stop, callbacks=[Stopper()])
    assert half.stopped.any()
    results = search(out=tmp_path / "run", resume=True)
    assert results.best == whole.best
    for name in FILES:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_four_devices_do_the_same(tmp_path, environment):
    on_four_devices('from test_pbt import search; search(out="run")', tmp_path, environment)
    there, here = Results.load(tmp_path / "run"), search()
    assert there.history.parents.tolist() == here.history.parents.tolist()
    np.testing.assert_allclose(there.members["loss"], here.members["loss"], rtol=1e-3, atol=1e-5)


def test_selections_compile_nothing():
    search()
    with compilations() as events:
        search(seed=4)
    assert events == []


def test_looking_more_often_and_rounds_of_it():
    """`every` changes no bit; in rounds each population selects among its own."""
    whole, cut = search(), search(every=1)
    for name, values in whole.members.items():
        assert values.tobytes() == cut.members[name].tobytes()
    rounds = search(scheduler=pj.rounds(2, pj.pbt()))
    for number in (0, 1):
        mine = rounds.rounds == number
        assert mine[rounds.history.parents[mine]].all()


def test_a_person_who_stops_a_trial_is_heard():
    """No trial is copied onto it or from it, and it does not train on."""
    space = pj.Space(x=pj.uniform(0, 1))
    problem = pj.Problem(space, 10, 8, 0, pj.best("loss"), lambda n, trials=None: space.sample(n))
    loss = np.arange(10) / 10
    stopped = np.isin(np.arange(10), (0, 9))
    epochs = np.where(stopped, 1, 2)
    curves = {"loss": np.repeat(loss[:, None], 8, 1)}
    trials = pj.Trials(space.sample(10), epochs, loss, curves, stopped, settable=("x",))
    state, decision = pj.pbt()(problem).step(2, trials)
    assert state == 3
    assert dict(decision.until) == dict.fromkeys(range(1, 9), 3)
    assert set(decision.copy) == {7, 8}
    assert set(decision.copy.values()) <= {1, 2}
    assert set(decision.set) == {7, 8} == set(decision.fresh)


def test_values_are_moved_on_their_own_scale():
    for scale, value, factor, expected in [
        (pj.log_uniform(1e-4, 1), 0.01, 1.2, 0.012),
        (pj.log_uniform(1e-4, 1), 0.9, 1.2, 1.0),
        (pj.uniform(0, 0.5), 0.3, 0.8, 0.24),
        (pj.one_minus_log_uniform(0.9, 0.999), 0.99, 0.8, 0.992),
        (pj.one_minus_log_uniform(0.9, 0.999), 0.999, 0.8, 0.999),
        (pj.one_minus_log_uniform(0.9, 0.999), 0.91, 1.2, 0.9),
        (pj.integers(1, 10), 1, 1.2, 2),
        (pj.integers(1, 10), 1, 0.8, 1),
        (pj.integers(-9, 10), -5, 1.2, -6),
        (pj.integers(-9, 10), 0, 1.2, 0),
        (pj.log_integers(1, 100), 10, 0.8, 8),
        (pj.choice(16, 32, 64), 32, 0.8, 16),
        (pj.choice(16, 32, 64), 64, 1.2, 64),
        (pj.Constant(3), 3, 1.2, 3),
    ]:
        found = scale.scaled(value, factor)
        assert found == pytest.approx(expected, rel=1e-12), (scale, value, factor)
        assert type(found) is type(value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"interval": 0}, "pbt: interval=0: give a whole number of at least 1"),
        ({"interval": True}, "pbt: interval=True: give a whole number"),
        ({"warmup": -1}, "pbt: warmup=-1: give a whole number of at least 0"),
        ({"quantile": 0.6}, "pbt: quantile=0.6; give a share above 0 and at most 0.5"),
        ({"quantile": 0}, "pbt: quantile=0; give a share"),
        ({"resample": 2}, "pbt: resample=2; give a probability, 0 to 1"),
        ({"factors": ()}, r"pbt: factors=\(\); give numbers above 0"),
        ({"factors": (0.8, -1)}, "give numbers above 0"),
        ({"factors": "ab"}, "give numbers above 0"),
    ],
)
def test_numbers_that_make_no_selection_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        pj.pbt(**arguments)


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_command_refuses_a_run_that_ends_before_a_selection(refused_in_one_line, epochs):
    says = ["the first selection comes after 2 epochs", f"the last epoch is {epochs}", "train longer"]
    refused_in_one_line(
        "sweep", "--dataset", "wine", "--trials", 4, "--epochs", epochs, "--scheduler", "pbt", says=says
    )


@pytest.mark.soak
def test_the_command_trains_tests_again_and_draws(command, tmp_path):
    """The lines, the page and the second test of a run whose hyperparameters changed."""
    small = ("--set", "hidden=8", "--set", "depth=1")
    done = command(
        "sweep", "--dataset", "wine", "--trials", 12, "--epochs", 5, "--scheduler", "pbt", *small, "--out", "run"
    )
    assert done.returncode == 0, done.stderr
    assert Results.load(tmp_path / "run").history is not None
    assert done.stderr.count("trained 10%") <= 1
    again = command("retest", "run", "--top", 3, "--background", 3, "--repeats", 3)
    assert again.returncode == 0, again.stderr


def test_a_width_goes_with_its_weights(rows):
    """A copy has its source's, and none is explored: a wider layer would be of untrained units."""
    space = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-1), hidden=pj.integers(3, 60))
    results = pj.search(pj.supervised(rows), space, trials=12, epochs=8, scheduler=pj.pbt(interval=2))
    begun, ended = space.sample(12), results.history.at(np.full(12, 7))
    assert set(ended["hidden"]) < set(begun["hidden"])
    assert not set(ended["learning_rate"]) <= set(begun["learning_rate"])
