"""The epoch that counts: each member's best, kept inside the program, and members that rest once out of patience."""

import dataclasses
import shutil
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pyarrow.parquet as pq
import pytest
import stopping
from conftest import soaked
from flax import nnx
from four_devices import on_four_devices
from safetensors.numpy import load_file
from test_compilations import compilations
from test_resume import StopAt
from test_schedulers import FILES, kills

import popjax as pj
from popjax.commands.retest import train_again
from popjax.core.trees import abstract, named_leaves, to_host
from popjax.data.dataset import from_arrays
from popjax.data.splits import Splitting, split
from popjax.engine.backends.local import Batch as Local
from popjax.engine.checkpoint import Checkpoint, unfinished
from popjax.engine.member import lower
from popjax.engine.members import MemberTable
from popjax.engine.numbering import Numbering
from popjax.engine.plan import member_bytes
from popjax.engine.roster import Roster
from popjax.engine.states import States
from popjax.engine.traced_task import Config, TracedTask
from popjax.engine.tracer import Tracer
from popjax.engine.trainer import Trainer
from popjax.pages.figures.curves import curves_figure
from popjax.scheduler import Status
from popjax.store.cohort import Cohort, OnHost
from popjax.store.commits import Commits
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
    with pytest.raises(ValueError, match=r"simulate: the trials were trained under .*patience=3.*would rest otherwise"):
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
    ("decision", "says"),
    [
        (pj.Decision(copy={0: 1}, until={1: 4}), "trial 0 is trained to the end"),
        (pj.Decision(copy={1: 0}, until={1: 4}), "trial 0 is trained to the end"),
        (pj.Decision(fresh=(0,), until={1: 4}), "trained to the end"),
        (pj.Decision(set={0: {"row": 1}}, until={1: 4}), "it is complete"),
    ],
    ids=str,
)
def test_what_is_complete_is_neither_copied_nor_changed(decision, says):
    def scheduler(problem):
        def step(number, trials):
            points = problem.propose(2)
            return number + 1, pj.Decision(add=points, until={0: 3, 1: 3}) if number == 0 else decision

        return pj.Scheduler(lambda: 0, step)

    with pytest.raises(ValueError, match=says):
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


def test_a_population_that_gets_smaller_compiles_nothing(monkeypatch, nothing_compiled):
    """One program of an epoch for all, and in its lanes fewer and fewer members."""
    lowered, counts = [], []
    monkeypatch.setattr("popjax.engine.compiler.lower", lambda *args: lowered.append(args) or lower(*args))
    trained = Trainer._train
    monkeypatch.setattr(
        Trainer, "_train", lambda self, due: (counts.append(sum(len(c.members) for c, _ in due)), trained(self, due))
    )
    task, space = backwards(LOSSES.tolist())
    rank = pj.best("loss", at="best", patience=2)
    results = pj.search(
        task, space, trials=24, epochs=16, sampler="grid", folds=2, rank=rank, backend=pj.Local(lanes=8)
    )
    assert len(lowered) == 1
    rests = results.trained.ravel()
    assert counts == [int((rests > 2 * look).sum()) for look in range(len(counts))]
    assert counts[0] == 48
    assert counts[-1] < 24


def test_another_metric_and_another_patience_compile_nothing():
    told(LOSSES.tolist(), patience=2)
    with compilations() as events:
        told(LOSSES.tolist(), patience=5)
        told(LOSSES.tolist(), metric="val_loss", mode="max")
    assert events == []


def test_a_rule_that_does_not_ask_changes_no_program():
    """The lowered text is that of a member without a rule; one that asks holds the state twice, and is planned so."""

    def of(rule):
        task, space = scripted(LOSSES.tolist())
        member = Roster(TracedTask(task, space, Config(16, 0, rule)), space.sample(4)).buckets[0]
        return lower(member, abstract(task.data), 4, 1).epoch.as_text(), member_bytes(member)

    text, size = of(pj.best("loss"))
    assert of(pj.one_se("val_loss"))[0] == of(pj.pareto("loss", "val_loss"))[0] == text
    task, space = scripted(LOSSES.tolist())
    plainly = Tracer(task, space, space.sample(4), 16, branching=True).member(0, set())
    assert lower(plainly, abstract(task.data), 4, 1).epoch.as_text() == text
    asked, doubled = of(pj.best("loss", at="best"))
    assert asked != text
    assert doubled == 2 * (size - 1) + 1 + 3 * 4  # the state, whether it is alive, two keys and a counter


def test_the_weights_predict_what_the_value_says(rows, tmp_path):
    """Of a supervised task, here and from the directory: the winner's loss on its validation rows is its value."""
    rank = pj.best("val_loss", at="best", patience=3)
    space = {"learning_rate": pj.log_uniform(0.03, 1), "momentum": 0.9, "hidden": 64, "batch_size": 8}
    results = pj.search(pj.supervised(rows), space, trials=6, epochs=30, rank=rank, out=tmp_path / "run")
    assert results.best_epochs[results.best.trial].item() < results.trained[results.best.trial].item()
    x, y = rows
    validation = split(from_arrays(x, y), Splitting(0.1, 0.1, 0), 1).validation[0]
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
    with pytest.raises(ValueError, match="trial 0 was not kept"):
        again.params(0)
    back = best.ranked("loss")
    assert back.best == last.best
    assert back.order.tolist() == last.order.tolist()
    rested = told(losses, patience=2)
    assert rested.ranked(pj.best("loss", at="best", patience=2, keep=2)).best == rested.best
    for other in ("loss", pj.best("loss", at="best"), pj.best("val_loss", at="best", patience=2)):
        with pytest.raises(ValueError, match="would rest otherwise; search again"):
            rested.ranked(other)
    with pytest.raises(ValueError, match="would rest otherwise; search again"):
        best.ranked(pj.best("loss", at="best", patience=2))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: pj.best(at="first"), "at='first'; choose last or best"),
        (lambda: pj.best(patience=3), "patience=3 needs at='best'"),
        (lambda: pj.one_se(at="best", patience=0), "patience=0"),
        (lambda: pj.together(at="best", patience=2.5), "patience=2.5"),
        (lambda: dataclasses.replace(pj.pareto(), at="best"), "no one best epoch"),
    ],
)
def test_rules_that_cannot_be_are_refused_in_one_line(make, says):
    with pytest.raises(ValueError, match=says) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--patience", 3], "patience=3 needs at='best'"),
        (["--at", "best", "--patience", 0], "patience=0"),
        (["--at", "best", "--choose", "pareto"], "no one best epoch"),
    ],
    ids=str,
)
def test_the_command_refuses_them(refused_in_one_line, flags, says):
    refused_in_one_line("sweep", *flags, says=[says])


@pytest.mark.soak
def test_the_command_trains_under_them(command, tmp_path):
    flags = ["--dataset", "wine", "--trials", 12, "--epochs", 12, "--at", "best", "--patience", 2, "--out", "run"]
    process = command("sweep", *flags, "--metric", "val_loss", "--choose", "ensemble")
    assert process.returncode == 0, process.stderr
    results = pj.Results.load(tmp_path / "run")
    assert repr(results.rule) == "together(metric='val_loss', mode='min', size=25, at='best', patience=2)"
    assert (results.trained < 12).any()
    assert "--at best --patience 2" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.kill
@pytest.mark.parametrize(
    ("moments", "every", "waiting"),
    soaked(
        [
            ([(where, 1) for where in ("before", "after", "torn", "after")], 2.0, 0.25),  # of decisions
            ([("commit", number) for number in (1, 2, 1, 3, 1, 2)], 0.0, 0.25),
            ([("commit", number) for number in (3, 1, 2)], 0.0, 0.0),  # states that wait are given up, and made again
        ]
    ),
    ids=["decisions", "commits", "given up"],
)
def test_killed_anywhere_it_ends_as_the_run_left_alone(python, tmp_path, moments, every, waiting):
    """Under halving, with two folds that rest at different epochs."""
    run = "from test_best_epoch import rung_by_rung; rung_by_rung(sys.argv[3])"
    kills(python, moments, every, waiting, run)
    rung_by_rung(tmp_path / "whole")
    for name in FILES:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    status = pj.Results.load(tmp_path / "whole").trials["status"].to_pylist()
    assert {"ok", "pruned"} <= set(status)


def rung_by_rung(out):
    return search(patience=2, trials=16, scheduler="halving(min_epochs=3)", out=out, resume=True)


@pytest.mark.kill
def test_stopped_it_goes_on_to_the_same_bytes(tmp_path):
    """What rests is complete, what a stop left is not; counters go on."""

    stopper = StopAt(180)
    half = search(patience=1, trials=12, out=tmp_path / "run", stop=stopper.stop, callbacks=[stopper])
    assert half.stopped.any()
    assert len(half.order) > 0
    results = search(patience=1, trials=12, out=tmp_path / "run", resume=True)
    whole = search(patience=1, trials=12, out=tmp_path / "whole")
    assert results.best == whole.best
    assert results.summary["model_steps"] == whole.summary["model_steps"]
    for name in FILES[:-1]:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.kill
def test_what_a_damaged_commit_lost_of_a_fold_that_rests_is_trained_again(tmp_path):
    """Each file of the latest commits in turn loses its bytes."""

    whole = search(patience=2, trials=12)
    stopper = StopAt(230)
    search(patience=2, trials=12, out=tmp_path / "half", stop=stopper.stop, callbacks=[stopper], every=2)
    files = sorted((tmp_path / "half" / "state").glob("*.safetensors"))
    assert files
    for damaged in files:
        run = tmp_path / damaged.stem
        shutil.copytree(tmp_path / "half", run)
        (run / "state" / damaged.name).write_bytes(b"")
        results = search(patience=2, trials=12, out=run, resume=True, every=2)
        assert results.best == whole.best
        assert bits(results) == bits(whole)


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


def test_a_fold_that_rests_and_has_no_state_is_trained_again(tmp_path):
    """As where a file is damaged that held the other one: the trial is complete no more."""
    numbering, rule = Numbering(folds=2), pj.best("loss", at="best", patience=1)
    table = MemberTable(("loss",), numbering, rule, epochs=6, last=6)
    table.grow(2)
    rested, improved = np.array([[1.0, 2.0]]), np.array([[True, False]])
    for member in (0, 2, 3):  # of trial 0 the other fold is lost; trial 1 is complete
        table.load(np.array([member]), 2, {"loss": rested}, improved)
    table.recount()
    table.judge(table.finite().ravel())
    fresh = np.array([False, True, False, False])
    checkpoint = Checkpoint(Commits(tmp_path), table, States(table, None))
    assert unfinished(checkpoint, [Cohort(0, np.array([0, 2, 3]), 2)], fresh) == []
    assert fresh.tolist() == [True, True, False, False]
    assert table.epochs.ravel().tolist() == [0, 0, 2, 2]
    assert [Status(one) for one in table.status] == [Status.WAITING, Status.COMPLETE]


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
    for name in FILES[:2]:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert {t: s["epoch"].tolist() for t, s in longer.states.items()} == {
        t: s["epoch"].tolist() for t, s in whole.states.items()
    }


@pytest.fixture
def snapshots(monkeypatch, tmp_path):
    """The directory of a run as it stood after each of its commits, of which there are as many as there can be."""
    places = []

    def commit(self):
        whole(self)
        if self.directory.parent.name == "run":
            places.append(tmp_path / f"snapshot-{len(places)}")
            shutil.copytree(self.directory.parent, places[-1])

    whole = Commits.commit
    monkeypatch.setattr("popjax.engine.checkpoint.EVERY", 0.0)
    monkeypatch.setattr("popjax.engine.checkpoint.SHARE", float("inf"))
    monkeypatch.setattr(Commits, "commit", commit)
    return places


def bits(results):
    return {trial: {name: a.tobytes() for name, a in state.items()} for trial, state in results.states.items()}


def test_from_each_commit_all_kept_states_are_the_same(snapshots, tmp_path, monkeypatch):
    """Also from those in the middle of a segment, in which members have run out of patience."""
    reach = Local.reach
    monkeypatch.setattr(Local, "reach", lambda self, trained, epoch: (reach(self, trained, epoch), time.sleep(0.03)))
    curves = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [2, 1, 3, 4, 5, 6, 7, 8, 9], [9, 8, 7, 6, 5, 4, 3, 2, 1.5]]
    whole = told(curves, patience=3, out=tmp_path / "run")
    monkeypatch.setattr(Local, "reach", reach)
    assert len(snapshots) > 5
    for place in list(snapshots):
        again = told(curves, patience=3, out=place, resume=True)
        assert again.best == whole.best
        assert bits(again) == bits(whole), place.name


@pytest.mark.kill
@pytest.mark.parametrize("seed", [6, 7])
def test_from_each_commit_copies_come_to_the_same(snapshots, tmp_path, seed):
    """Of two folds, of which one rests before its trial is copied."""
    task, space = backwards(LOSSES.tolist())
    asked = dict(trials=12, epochs=16, seed=seed, folds=2, scheduler=pj.pbt(interval=2, warmup=2, quantile=0.4))
    asked |= dict(rank=pj.best("loss", at="best", patience=3, keep=12))
    whole = pj.search(task, space, out=tmp_path / "run", **asked)
    for place in snapshots[:: max(len(snapshots) // 8, 1)]:
        again = pj.search(task, space, out=place, resume=True, **asked)
        assert bits(again) == bits(whole)
        for name in FILES[:2]:
            assert (place / name).read_bytes() == (tmp_path / "run" / name).read_bytes(), (place.name, name)


def test_what_is_heard_twice_counts_once():
    """As where memory ran out within a segment, and its members go on from where it began."""
    numbering, rule = Numbering(), pj.best("loss", at="best", patience=3)
    table = MemberTable(("loss",), numbering, rule, epochs=9, last=9)
    table.grow(2)
    losses = np.array([[3.0, 2, 4, 4, 4, 1], [6.0, 5, 4, 3, 2, 1]])
    improved = np.array([[True, True, False, False, False, False], [True] * 6])
    both = np.array([0, 1])
    hear = lambda epoch: table.report(both, epoch, {"loss": losses[:, epoch]}, improved[:, epoch])
    for epoch in range(4):
        hear(epoch)
    assert table.since.ravel().tolist() == [2, 0]
    States(table, None).take_back(Cohort(0, both, 2, OnHost({"state": np.zeros(2), "alive": np.ones(2, bool)})))
    assert table.since.ravel().tolist() == [0, 0]
    assert np.isnan(table.metrics["loss"][:, 0, 0, 2:]).all()
    for epoch in range(2, 5):
        hear(epoch)
    assert table.resting.ravel().tolist() == [True, False]


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
