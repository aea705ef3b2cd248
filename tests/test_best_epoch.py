"""The epoch that counts: each member's best, kept inside the program, and members that rest once out of patience.

Imports `popjax.core.trees` for the names of arrays in a state, the command's
`train_again`, the figure of curves, and the bar that counts what is left.
"""

import dataclasses
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pyarrow.parquet as pq
import pytest
import stopping
from conftest import compilations, refused, soaked
from flax import nnx
from four_devices import on_four_devices
from safetensors.numpy import load_file

import popjax as pj
from popjax.commands.retest import train_again
from popjax.core.trees import named_leaves, to_host
from popjax.pages.figures.curves import curves_figure
from popjax.tuning.callbacks.progress import Progress

EPOCHS, TRIALS, FOLDS, REPEATS, SEED = 14, 6, 2, 2, 5
KEPT = ("loss", "val_loss", "val_accuracy")
SPACE = pj.Space(rate=pj.log_uniform(3e-3, 0.3), hidden=pj.choice(3, 6, static=True), blow=pj.uniform(0, 1))


class Net(nnx.Module):
    """One that overfits, with all that a state may hold: parameters, statistics of batches, random keys."""

    def __init__(self, hidden, rngs):
        kind = {"param_dtype": jax.dtypes.canonicalize_dtype(float), "rngs": rngs}
        self.first = nnx.Linear(4, hidden, use_bias=False, **kind)  # one would get no gradient but noise
        self.norm = nnx.BatchNorm(hidden, **kind)
        self.drop = nnx.Dropout(0.2, rngs=rngs)
        self.out = nnx.Linear(hidden, 1, **kind)

    def __call__(self, x):
        return self.out(self.drop(nnx.relu(self.norm(self.first(x)))))[:, 0]


def rows():
    draws = np.random.default_rng(3)
    x = draws.normal(size=(2, 24, 4))
    return {"x": x, "y": (x[..., 0] + 1.5 * draws.normal(size=(2, 24)) > 0).astype(float)}


def net(hparams):
    return Net(hparams["hidden"], nnx.Rngs(0))


def init(key, hparams, data):
    model = Net(hparams["hidden"], nnx.Rngs(key))
    params, rest = nnx.state(model, nnx.Param), nnx.state(model, nnx.Not(nnx.Param))
    wide = lambda leaf: leaf.astype(float) if leaf.dtype == jnp.float32 else leaf  # flax has float32 statistics always
    return {"params": params, "rest": jax.tree.map(wide, rest), "adam": optax.adam(0.1).init(params)}


def loss_of(model, x, y):
    logits = model(x)
    return optax.sigmoid_binary_cross_entropy(logits, y).mean(), ((logits > 0) == y).mean()


def epoch(state, hparams, data):
    take = lambda fold: (jnp.asarray(data["x"])[fold], jnp.asarray(data["y"])[fold])
    graph = nnx.graphdef(net(hparams))
    params, rest, adam = state["params"], state["rest"], state["adam"]

    def loss(params):
        model = nnx.merge(graph, params, rest, copy=True)
        model.train()
        value, _ = loss_of(model, *take(hparams["fold"]))
        return value, nnx.state(model, nnx.Not(nnx.Param))

    for _ in range(3):
        (value, rest), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        updates, adam = optax.adam(hparams["rate"]).update(gradient, adam)
        params = optax.apply_updates(params, updates)
    model = nnx.merge(graph, params, rest, copy=True)
    model.eval()
    val_loss, accuracy = loss_of(model, *take(1 - hparams["fold"]))
    broken = (hparams["blow"] > 0.45) & (adam[0].count > 9)
    metrics = {"loss": jnp.where(broken, jnp.nan, value), "val_loss": val_loss, "val_accuracy": accuracy}
    return {"params": params, "rest": rest, "adam": adam}, metrics


def task():
    return pj.Task(init, epoch, rows())


def plain(hparams, trial, fold, repeat, sign, patience):
    """One model in a plain loop: its records, its best epoch, its state there; and how long it trained."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(SEED), trial), repeat)
    values, data = {**hparams, "rate": np.float64(hparams["rate"]), "fold": fold}, rows()
    step = jax.jit(lambda state: epoch(state, values, data))
    state, records, best = init(key, values, data), [], None
    while len(records) < EPOCHS:
        state, metrics = step(state)
        metrics = {name: float(value) for name, value in metrics.items()}
        if not np.isfinite(list(metrics.values())).all():
            break
        records.append(metrics)
        mark = sign * metrics[{1: "val_loss", -1: "val_accuracy"}[sign]], metrics["val_loss"]
        if best is None or mark < best[0]:
            best = mark, len(records), state
        elif patience is not None and len(records) - best[1] == patience:
            break
    return records, best[1], best[2]


def search(metric="val_accuracy", patience=4, **settings):
    rank = pj.best(metric, at="best", patience=patience, keep=TRIALS)
    given = {"trials": TRIALS, "epochs": EPOCHS, "seed": SEED, "folds": FOLDS, "repeats": REPEATS, "rank": rank}
    return stopping.search(task(), SPACE, **given | settings)


@pytest.mark.parametrize(
    ("lanes", "metric", "patience"), soaked([(1, "val_accuracy", 4), (3, "val_loss", 2), (1, "val_loss", None)])
)
def test_it_is_a_plain_loop(x64, lanes, metric, patience):
    """In float64: state, value, epoch, what rests when; BatchNorm, Dropout, Adam, two buckets, some that diverge."""
    results = search(metric, patience, backend=pj.Local(lanes))
    sign, rests = -1 if metric == "val_accuracy" else 1, 0
    assert results.summary["buckets"] == 2
    for trial in range(TRIALS):
        found, whole = [], []
        for fold in range(FOLDS):
            for repeat in range(REPEATS):
                records, best, state = plain(results.hparams(trial), trial, fold, repeat, sign, patience)
                for name in KEPT:
                    ours = results.members[name][trial, fold, repeat]
                    np.testing.assert_allclose(ours[: len(records)], [one[name] for one in records], rtol=1e-9)
                    assert np.isnan(ours[len(records) :]).all()
                assert results.best_epochs[trial, fold, repeat] == best
                found.append(records[best - 1][metric])
                whole.append(len(records) == EPOCHS or (patience and len(records) - best == patience))
                rests += bool(patience) and len(records) - best == patience and len(records) < EPOCHS
                if trial in results.states:
                    ours = {name: array[fold * REPEATS + repeat] for name, array in results.states[trial].items()}
                    for name, theirs in named_leaves(to_host(state)).items():
                        np.testing.assert_allclose(ours[name], theirs, rtol=1e-9, atol=1e-12, err_msg=name)
        assert (results.trials["status"][trial].as_py() == "ok") == all(whole)
        value = NAN if results.diverged[trial] else np.mean(found)
        assert results.values[metric][trial] == pytest.approx(value, rel=1e-9, nan_ok=True)
    assert results.trials["status"].to_pylist().count("ok") == len(results.states) == len(results.order)
    assert 0 < len(results.order) < TRIALS  # one diverged after a good epoch, and has no rank
    assert rests > 3 or patience is None


def scripted(curves, ties=None):
    """A task whose trial `row` has the losses of that row, and the epoch that it is in as its state."""
    data = {"loss": np.array(curves, float), "val_loss": np.array(curves if ties is None else ties, float)}

    def begin(key, hparams, data):
        return {"epoch": jnp.int32(0), "key": key}

    def advance(state, hparams, data):
        at = hparams["row"], state["epoch"]
        key, _ = jax.random.split(state["key"])
        return {"epoch": state["epoch"] + 1, "key": key}, {name: data[name][at] for name in data}

    return pj.Task(begin, advance, data), pj.Space(row=pj.integers(0, len(curves) - 1))


def told(curves, at="best", patience=None, ties=None, metric="loss", mode="min", **settings):
    """The results of such trials in order: the sampler is a grid."""
    task, space = scripted(curves, ties)
    rank = pj.best(metric, mode, at, patience, keep=len(curves))
    given = {"trials": len(curves), "epochs": len(curves[0]), "sampler": "grid", "rank": rank} | settings
    results = stopping.search(task, space, **given)
    assert results.points["row"].tolist() == list(range(len(curves)))
    return results


NAN, INF = float("nan"), float("inf")
CASES = {  # losses, patience -> status, epochs trained, best epoch, value
    "improves": ([5, 4, 3, 2, 1], 2, "ok", 5, 5, 1),
    "rests": ([5, 4, 6, 7, 1], 2, "ok", 4, 2, 4),
    "never improves": ([1, 2, 3, 4, 5], 1, "ok", 2, 1, 1),
    "equal is no better": ([3, 3, 3, 3, 3], 3, "ok", 4, 1, 3),
    "beyond the end": ([1, 2, 3, 4, 5], 9, "ok", 5, 1, 1),
    "at the end": ([9, 1, 2, 3, 4], 3, "ok", 5, 2, 1),
    "without patience": ([3, 1, 2, 2, 2], None, "ok", 5, 2, 1),
    "diverges after a good epoch": ([3, 1, NAN, 2, 2], None, "diverged", 2, 2, 1),
    "diverges where it would have rested": ([3, 1, 2, NAN, 2], 2, "diverged", 3, 2, 1),
    "rests before it diverges": ([1, 2, 3, NAN, 2], 2, "ok", 3, 1, 1),
    "an infinite loss is divergence": ([3, INF, 1, 1, 1], None, "diverged", 1, 1, 3),
    "diverges at once": ([NAN, 1, 1, 1, 1], 1, "diverged", 0, None, NAN),
}


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("patience", [1, 2, 3, 9, None])
def test_what_counts_of_given_curves(patience, lanes):
    chosen = {name: case for name, case in CASES.items() if case[1] == patience}
    results = told([case[0] for case in chosen.values()], patience=patience, backend=pj.Local(lanes))
    for row, (name, (losses, _, status, trained, best, value)) in enumerate(chosen.items()):
        assert results.trials["status"][row].as_py() == status, name
        assert results.epochs_run[row] == trained, name
        np.testing.assert_array_equal(results.members["loss"][row, 0, 0], losses[:trained] + [NAN] * (5 - trained))
        np.testing.assert_array_equal(results.values["loss"][row], NAN if status == "diverged" else value)
        if status == "ok":
            assert results.best_epochs[row].item() == results.states[row]["epoch"].item() == best, name
            assert results.values["loss"][row] == losses[best - 1]


def test_of_one_epoch_it_is_the_last():
    best, last = told([[3], [1], [2]], patience=1), told([[3], [1], [2]], at="last")
    assert best.best == last.best
    assert {t: s["key"].tolist() for t, s in best.states.items()} == {
        t: s["key"].tolist() for t, s in last.states.items()
    }


def test_ties_go_to_the_validation_loss_then_to_the_earlier_epoch():
    results = told([[1, 1, 1, 1]] * 2, ties=[[5, 4, 4, 3], [5, 4, 4, 6]], metric="loss", mode="max")
    assert results.best_epochs.ravel().tolist() == [4, 2]
    assert [results.states[row]["epoch"].item() for row in (0, 1)] == [4, 2]


def backwards(curves):
    """Such a task of two folds, of which the second one sees the losses backwards."""
    task, space = scripted(curves)
    turned = lambda data, hparams: {n: jnp.where(hparams["fold"] == 1, v[:, ::-1], v) for n, v in data.items()}
    return task._replace(epoch=lambda state, hparams, data: task.epoch(state, hparams, turned(data, hparams))), space


def test_folds_rest_one_by_one_and_the_trial_goes_on():
    """Fold 1 rests, and what counts of it stays while fold 0 trains to the end."""
    task, space = backwards([[5.0, 4, 3, 2, 1, 0.5]])
    results = pj.search(task, space, trials=1, epochs=6, folds=2, rank=pj.best("loss", at="best", patience=2))
    assert results.trained.ravel().tolist() == [6, 3]
    assert results.best_epochs.ravel().tolist() == [6, 1]
    assert results.values["loss"].item() == results.best.value == 0.5
    assert results.trials["status"].to_pylist() == ["ok"]
    assert results.curves["loss"][0].tolist() == [2.75, 2.5, 2.5, 2.0, 1.5, 1.25]  # the last one of fold 1 goes on
    assert results.states[0]["epoch"].tolist() == [6, 1]


LOSSES = np.random.default_rng(2).integers(1, 60, (24, 16)).astype(float) + np.linspace(0, 20, 16)


def rungs(losses, patience, first=2):
    """Halving under patience in plain Python: trial -> how many epochs it trained, and what wins."""
    trained, alive = np.zeros(len(losses), int), list(range(len(losses)))
    rests = {}
    for row, curve in enumerate(losses):
        best = 0
        for epoch in range(1, len(curve)):
            best = epoch if curve[epoch] < curve[best] else best
            if epoch - best >= patience:
                rests[row] = epoch + 1
                break
    over, goals = set(), [*(first * 2**i for i in range(9) if first * 2**i < losses.shape[1]), losses.shape[1]]
    for goal in goals:
        for row in alive:
            trained[row] = min(goal, rests.get(row, goal))
            over |= {row} if rests.get(row, goal + 1) <= goal or goal == losses.shape[1] else set()
        value = lambda row: (losses[row, : trained[row]].min(), row)
        alive = sorted(alive, key=value)[: -(-len(alive) // 2)]
    return trained.tolist(), over, min(over, key=value)


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_in_a_rung_what_rests_takes_a_place_by_its_rank_and_stays_complete_below_the_cut(patience):
    results = told(LOSSES.tolist(), patience=patience, scheduler="halving")
    trained, complete, winner = rungs(LOSSES, patience)
    assert results.epochs_run.tolist() == trained
    assert np.flatnonzero(results.trials["status"].to_pandas() == "ok").tolist() == sorted(complete)
    assert set(results.trials["status"].to_pylist()) == {"ok", "pruned"}
    assert results.best.trial == winner
    assert {trial: state["epoch"].item() for trial, state in results.states.items()} == {
        trial: results.best_epochs[trial].item() for trial in complete
    }


def test_a_scheduler_is_simulated_under_patience_to_what_it_does():
    full = told(LOSSES.tolist(), patience=3)
    for name, make in (("halving", pj.halving()), ("hyperband", pj.hyperband())):
        real, would = told(LOSSES.tolist(), patience=3, scheduler=name), pj.simulate(make, full)
        assert would.best == real.best.trial
        assert would.spent == real.trained.sum()
        assert would.results.trials["status"].to_pylist() == real.trials["status"].to_pylist()
    other = dataclasses.replace(full, rule=pj.best("loss", at="best", patience=4))
    with refused("simulate", "patience=3", "otherwise"):
        pj.simulate(pj.halving(), other)


class Seen(pj.Callback):
    """What schedulers are shown, and what listeners hear."""

    def begin(self, run):
        self.trials, self.heard = [], []

    def decision(self, decision, trials):
        self.trials.append(trials)

    def epoch(self, result):
        self.heard += [(int(t), result.epoch, bool(r)) for t, r in zip(result.trial, result.resting, strict=True)]


def test_what_a_scheduler_and_listeners_see():
    seen = Seen()
    told([[1, 2, 3, 9, 9], [5, 4, 3, 2, 1]], patience=2, every=1, callbacks=[seen])
    *_, last = seen.trials
    assert [trials.epochs.tolist() for trials in seen.trials] == [[]] + [[n, n] for n in (1, 2, 3, 4)]
    assert [trials.complete.tolist() for trials in seen.trials[1:]] == [[False, False]] * 2 + [[True, False]] * 2
    assert [trials.loss.tolist() for trials in seen.trials[1:]] == [[1, 5], [1, 4], [1, 3], [1, 2]]
    assert last.curves["loss"][0, :4].tolist() == [1, 2, 3, 3]  # its last value goes on
    assert last.values["loss"][:, :4].tolist() == [[1, 1, 1, 1], [5, 4, 3, 2]]
    assert last.reached(5).tolist() == [5, 4]
    assert [(epoch, rests) for trial, epoch, rests in seen.heard if trial == 0] == [(0, False), (1, False), (2, True)]
    assert sum(trial == 1 for trial, _, _ in seen.heard) == 5


@pytest.mark.parametrize(
    "decision",
    [
        pj.Decision(copy={0: 1}, until={1: 4}),
        pj.Decision(copy={1: 0}, until={1: 4}),
        pj.Decision(fresh=(0,), until={1: 4}),
        pj.Decision(set={0: {"row": 1}}, until={1: 4}),
    ],
    ids=str,
)
def test_what_is_complete_is_neither_copied_nor_changed(decision):
    def scheduler(problem):
        def step(number, trials):
            points = problem.propose(2)
            return number + 1, pj.Decision(add=points, until={0: 3, 1: 3}) if number == 0 else decision

        return pj.Scheduler(lambda: 0, step)

    with refused("0"):
        told([[1, 2, 3, 9, 9], [5, 4, 3, 2, 1]], patience=2, scheduler=scheduler)


def test_a_trial_that_is_complete_may_be_named_and_trains_no_more():
    results = told([[1, 2, 3, 0, 0], [5, 4, 3, 2, 1]], patience=2, scheduler=one_by_one)
    assert results.trained.ravel().tolist() == [3, 5]
    assert results.values["loss"].tolist() == [1, 1]
    assert results.trials["status"].to_pylist() == ["ok", "ok"]


def one_by_one(problem):
    """All trials an epoch further, whatever became of them."""

    def step(number, trials):
        add = problem.propose(problem.trials) if number == 0 else {}
        going = range(problem.trials) if number < problem.epochs else ()
        return number + 1, pj.Decision(add=add, until=dict.fromkeys(going, number + 1))

    return pj.Scheduler(lambda: 0, step)


@pytest.mark.soak
def test_bits_do_not_depend_on_company():
    """Each trial alone, half as many beside it, and in rungs: the same bits of curves and of the kept state."""
    results = search(patience=3)
    few = search(patience=3, trials=3)
    halved = search(patience=3, scheduler="halving(min_epochs=4)")
    for trial in range(TRIALS):
        again = pj.replay(results, trial, task())
        for name, curve in results.curves.items():
            assert again[name].tobytes() == curve[trial].tobytes()
        for other in (few, halved):
            if trial < len(other.diverged):
                ran = other.epochs_run[trial]
                for name, values in other.members.items():
                    assert values[trial, ..., :ran].tobytes() == results.members[name][trial, ..., :ran].tobytes()
            for name, state in other.states.get(trial, {}).items():
                assert state.tobytes() == results.states[trial][name].tobytes()
    assert set(few.states) | set(halved.states)


FOUR = """
jax.config.update("jax_enable_x64", True)
from test_best_epoch import saved
saved("four")
"""


def saved(out):
    """Write a run of nine trials into a directory, and beside it the states that it kept."""
    results = search(patience=3, backend=pj.Local(lanes=1), trials=9, out=out)
    np.savez(f"{out}/kept.npz", **{f"{trial}.{n}": a for trial, s in results.states.items() for n, a in s.items()})


def read(out):
    """All that `saved` wrote, as arrays by name."""
    tables = {name: pq.read_table(out / f"{name}.parquet") for name in ("trials", "curves")}
    columns = {
        f"{name}.{column}": table[column].to_numpy() for name, table in tables.items() for column in table.column_names
    }
    return columns | dict(np.load(out / "kept.npz")) | load_file(out / "best" / "arrays.safetensors")


@pytest.mark.soak
def test_four_devices_keep_the_same(tmp_path, environment, x64):
    """In float64, to 1e-9: XLA may round otherwise in the program of several devices."""
    on_four_devices(FOUR, tmp_path, environment)
    saved(tmp_path / "one")
    four, one = read(tmp_path / "four"), read(tmp_path / "one")
    assert four.keys() == one.keys()
    for name, values in one.items():
        assert four[name].dtype == values.dtype
        if values.dtype == object:
            assert four[name].tolist() == values.tolist()
        else:
            np.testing.assert_allclose(four[name], values, rtol=1e-9, err_msg=name)


def test_one_program_for_all_rules_that_ask_and_one_for_all_that_do_not():
    """Whatever the metric and the patience, also where the population gets smaller."""
    both = dict(losses=LOSSES.tolist(), ties=LOSSES.tolist())
    asked = [dict(patience=2), dict(patience=5), dict(metric="val_loss", mode="max")]
    others = [dict(rank=pj.best("loss")), dict(rank=pj.pareto("loss", "val_loss")), dict(rank="val_loss")]
    for first, *rest in (asked, others):
        told(both["losses"], ties=both["ties"], **first)
        with compilations() as events:
            for settings in rest:
                told(both["losses"], ties=both["ties"], **settings)
        assert events == []


def test_the_weights_predict_what_the_value_says(rows, tmp_path):
    """Of a supervised task, here and from the directory: the winner's loss on its validation rows is its value."""
    (x, y), validation = rows, np.arange(0, 170, 9)
    rank = pj.best("val_loss", at="best", patience=3)
    space = {"learning_rate": pj.log_uniform(0.03, 1), "momentum": 0.9, "hidden": 64, "batch_size": 8}
    results = pj.search(
        pj.supervised(rows, validation=validation), space, trials=6, epochs=30, rank=rank, out=tmp_path / "run"
    )
    assert results.best_epochs[results.best.trial].item() < results.trained[results.best.trial].item()
    loaded = pj.Results.load(tmp_path / "run")
    for predictor in (results.predictor(), pj.load_best(tmp_path / "run"), loaded.predictor()):
        chance = predictor.predict_proba(x[validation])
        loss = -np.log(chance[np.arange(len(validation)), np.searchsorted(predictor.classes, y[validation])]).mean()
        assert loss == pytest.approx(results.best.value, rel=1e-4)
    assert loaded.best == results.best
    assert loaded.order.tolist() == results.order.tolist()
    assert loaded.best_epochs.tolist() == results.best_epochs.tolist()
    assert loaded.trials.equals(results.trials)
    assert loaded.trials["best_epoch"].to_pylist() == results.best_epochs.ravel().tolist()
    assert set(loaded.trials["status"].to_pylist()) == {"ok"}


@pytest.mark.soak
@pytest.mark.parametrize("repeats", [1, 3])
def test_a_session_stands_at_the_kept_epoch_and_trains_on_as_the_search_did(repeats):
    results = search("val_loss", None, repeats=repeats, folds=1)
    trial = int(results.best.trial)
    ends = results.best_epochs[trial].ravel()
    assert (ends < EPOCHS).all()
    session = pj.Session.of(results, trial)
    assert session.epoch == ends.max()
    left = EPOCHS - int(ends.max())
    session.train(left)
    ours = session.trainer.table.metrics["val_loss"][0].reshape(repeats, -1)
    whole = results.members["val_loss"][trial].reshape(repeats, -1)
    for own, theirs, end in zip(ours, whole, ends.tolist(), strict=True):
        assert own[:end].tobytes() == theirs[:end].tobytes()
        assert own[ends.max() : ends.max() + left].tobytes() == theirs[end : end + left].tobytes()


def test_a_finished_run_is_ranked_by_its_best_epochs_as_far_as_its_states_allow():
    losses = [[5, 1, 2, 3], [4, 3, 2, 2.5], [9, 8, 7, 6]]
    last, best = told(losses, at="last"), told(losses)
    again = last.ranked(pj.best("loss", at="best"))
    assert again.order.tolist() == best.order.tolist() == [0, 1, 2]
    assert again.best == best.best
    assert again.best_epochs.tolist() == best.best_epochs.tolist()
    assert set(again.states) == {2}  # of the others the last epoch is kept, which does not count
    with refused("trial 0", "kept"):
        again.params(0)
    back = best.ranked("loss")
    assert back.best == last.best
    assert back.order.tolist() == last.order.tolist()
    rested = told(losses, patience=2)
    assert rested.ranked(pj.best("loss", at="best", patience=2, keep=2)).best == rested.best
    for other in ("loss", pj.best("loss", at="best"), pj.best("val_loss", at="best", patience=2)):
        with refused("otherwise", "search again"):
            rested.ranked(other)
    with refused("otherwise", "search again"):
        best.ranked(pj.best("loss", at="best", patience=2))


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: pj.best(at="first"), ["at='first'", "last", "best"]),
        (lambda: pj.best(patience=3), ["patience=3", "at='best'"]),
        (lambda: pj.one_se(at="best", patience=0), ["patience=0"]),
        (lambda: pj.together(at="best", patience=2.5), ["patience=2.5"]),
        (lambda: dataclasses.replace(pj.pareto(), at="best"), ["best epoch"]),
    ],
)
def test_rules_that_cannot_be_are_refused(make, names):
    with refused(*names):
        make()


@pytest.mark.soak
def test_the_command_trains_under_them(command, tmp_path):
    flags = ["--dataset", "wine", "--trials", 12, "--epochs", 12, "--at", "best", "--patience", 2, "--out", "run"]
    process = command("sweep", *flags, "--metric", "val_loss", "--choose", "ensemble")
    assert process.returncode == 0, process.stderr
    results = pj.Results.load(tmp_path / "run")
    assert repr(results.rule) == "together(metric='val_loss', mode='min', size=25, at='best', patience=2)"
    assert (results.trained < 12).any()
    assert "--at best --patience 2" in (tmp_path / "run" / "report.html").read_text()


def test_on_resume_a_scheduler_sees_what_rested_where_its_trial_was_to_be(tmp_path):
    """It rested at epoch 3 of the 6 that the first decision asked for."""

    def twice(problem):
        def step(number, trials):
            add = {} if number else problem.propose(problem.trials)
            return number + 1, pj.Decision(add=add, until={0: 6, 1: 6} if number == 0 else {1: 8} if number < 2 else {})

        return pj.Scheduler(lambda: 0, step)

    class Stopper(Seen):
        def epoch(self, result):
            if result.epoch == 6:
                stop.set()

    stop, seen = threading.Event(), Seen()
    curves = [[1, 2, 3, 9, 9, 9, 9, 9], [8, 7, 6, 5, 4, 3, 2, 1]]
    told(curves, patience=2, scheduler=twice, out=tmp_path / "run", stop=stop, callbacks=[Stopper()])
    told(curves, patience=2, scheduler=twice, out=tmp_path / "run", resume=True, callbacks=[seen])
    first = seen.trials[0]
    assert (first.epochs[0], first.complete[0]) == (6, True)


def test_the_live_page_shows_the_best_so_far_and_where_each_rests():
    page = pj.live.Live(port=0)
    told([[1, 2, 3, 0, 0, 0], [6, 5, 4, 3, 3.5, 4], [9, 9, 9, NAN, 1, 1]], patience=2, live=page)
    figures = page.board.figures
    assert figures["best"] == {"trial": 0, "value": 1.0}
    assert (figures["counts"]["done"], figures["counts"]["diverged"]) == (3, 0)
    assert page.board.epochs.tolist() == [3, 6, 3]
    assert page.board.curves["loss"][0, :3].tolist() == [1, 2, 3]


@pytest.mark.parametrize("every", [None, 1])
def test_the_way_to_go_gets_shorter_where_members_rest(every):
    """Of 24 trials of 16 epochs with two folds; at the end all of it is done."""
    task, space = backwards(LOSSES.tolist())
    bar, rank = Progress(), pj.best("loss", at="best", patience=2)
    results = pj.search(
        task, space, trials=24, epochs=16, sampler="grid", folds=2, rank=rank, progress=bar, every=every
    )
    assert bar.done == bar.total == results.trained.sum()
    assert bar.leader() == (results.best.trial, results.best.value)
    assert bar.resting.sum() == results.counted.resting.sum() > 20


def test_trained_again_a_trial_counts_by_the_recorded_rule():
    """In re-tests, by its best epoch until it rests; and where its hyperparameters changed, no further than that."""
    results = told(LOSSES.tolist(), patience=2)
    task, space = scripted(LOSSES.tolist())
    again = train_again(task, space, results, np.array([5, 3, 8]), repeats=2, seed=7)
    best = np.array([LOSSES[row, : results.trained[row].item()].min() for row in (5, 3, 8)])
    np.testing.assert_allclose(again, np.stack([best, best], 1), rtol=1e-6)
    rank = pj.best("loss", at="best", patience=3)
    pbt = pj.search(task, space, trials=24, epochs=16, rank=rank, scheduler=pj.pbt(interval=2))
    rows = np.array([int(pbt.best.trial), 1, 2])
    assert np.isfinite(train_again(task, space, pbt, rows, repeats=2, seed=7)).all()


@pytest.mark.soak
def test_an_estimator_scores_by_its_best_epochs(rows):
    x, y = rows
    rank = pj.together(3, metric="loss", at="best", patience=2)
    estimator = pj.PopulationClassifier(trials=6, epochs=20, folds=2, rank=rank).fit(x, y)
    results = estimator.results_
    assert (results.trained < 20).any()
    least = np.nanmin(results.members["val_loss"], -1)[..., 0]
    scored = np.stack([estimator.cv_results_[f"split{fold}_test_score"] for fold in range(2)], 1)
    np.testing.assert_allclose(scored[results.order], -least[results.order])
    assert estimator.best_score_ == pytest.approx(-results.best.value)
    assert estimator.predictor_.trials == results.order[:3].tolist()


@pytest.mark.parametrize("patience", [None, 2])
def test_a_finished_run_takes_more_epochs(tmp_path, patience):
    """What rests stays as it is, also beside a fold that goes on; the others are trained again, and further."""
    task, space = backwards(LOSSES.tolist())
    asked = dict(trials=24, sampler="sobol", folds=2, rank=pj.best("loss", at="best", patience=patience, keep=24))
    pj.search(task, space, epochs=6, out=tmp_path / "run", **asked)
    longer = pj.search(task, space, epochs=16, out=tmp_path / "run", resume=True, **asked)
    whole = pj.search(task, space, epochs=16, out=tmp_path / "whole", **asked)
    assert longer.best == whole.best
    stopping.same_files(tmp_path / "run", tmp_path / "whole", ("trials.parquet", "curves.parquet"))
    assert {t: s["epoch"].tolist() for t, s in longer.states.items()} == {
        t: s["epoch"].tolist() for t, s in whole.states.items()
    }


def test_the_axis_reaches_to_the_winners_value():
    """Which is the mean of its folds' best ones, and may lie beyond every point of its curve."""
    task, space = backwards([[0.5, 0.1, 0.6, 0.7, 0.8, 0.001], [0.5, 0.6, 0.5, 0.6, 0.5, 0.6]])
    results = pj.search(
        task, space, trials=2, epochs=6, sampler="grid", folds=2, rank=pj.best("loss", at="best", keep=2)
    )
    figure = curves_figure(results)
    (metric,) = [one for one in figure["metrics"] if one["name"] == "loss"]
    low, high = sorted(metric["axis"]["range"])
    low, high = (10**low, 10**high) if metric["axis"].get("type") == "log" else (low, high)
    assert low <= results.best.value <= high
    assert metric["heights"][-1][0] == pytest.approx(results.best.value, rel=1e-4)
