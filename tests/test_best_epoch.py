"""The epoch that counts: each member's best, kept inside the program, and members that rest once out of patience."""





import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import warm
from flax import nnx

import popjax as pj
from popjax.core.trees import named, to_host
from popjax.engine.member import lower
from popjax.engine.plan import member_bytes
from popjax.engine.roster import Config, Roster

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
    return pj.search(task(), SPACE, **given | settings)


@pytest.mark.parametrize(("lanes", "metric", "patience"), [(1, "val_accuracy", 4), (3, "val_loss", 2), (1, "val_loss", None)])
def test_it_is_a_plain_loop(x64, lanes, metric, patience):
    """In float64: state, value and epoch, what rests when; BatchNorm, Dropout and Adam, two buckets, one that diverges."""
    results = search(metric, patience, lanes=lanes)
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
                    for name, theirs in named(to_host(state)).items():
                        np.testing.assert_allclose(ours[name], theirs, rtol=1e-9, atol=1e-12, err_msg=name)
        assert (results.trials["status"][trial].as_py() == "ok") == all(whole)
        assert results.values[metric][trial] == pytest.approx(np.mean(found), rel=1e-9)
    assert results.trials["status"].to_pylist().count("ok") == len(results.states) == len(results.order)
    assert 0 < len(results.order) < TRIALS  # one diverged after a good epoch, and has no rank
    assert rests > 3 or patience is None
