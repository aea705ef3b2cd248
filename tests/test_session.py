"""Steering a living population: changes act at once, on the trials that are named, and on no bit of another.

`test_paths.py` has what plain Python can follow: stops, copies, ways back, kills, interrupts. Here are models.
"""

import gc
import threading

import jax
import numpy as np
import pytest
from asking import Page
from conftest import compilations, refused
from stopping import held

import popjax as pj

HPARAMS = {"learning_rate": 0.05, "momentum": 0.9, "decay": 0.1, "hidden": 7, "batch_size": 16}
SPACE = pj.Space(
    learning_rate=pj.log_uniform(1e-3, 1e-1),
    momentum=pj.uniform(0.5, 0.95),
    hidden=pj.integers(3, 9),
    batch_size=pj.choice(8, 16, 32),
)


@pytest.fixture(scope="module")
def task(rows):
    return pj.supervised(rows)


def bits(session):
    return {name: values.tobytes() for name, values in session.curves.items()}


@pytest.mark.parametrize(
    ("choices", "asked"),
    [
        ({}, {}),
        pytest.param({"activation": pj.choice("relu", "tanh")}, {"folds": 2, "repeats": 2}, marks=pytest.mark.soak),
    ],
)
def test_a_session_left_alone_is_the_search(task, choices, asked):
    """Every member has the curve and the arrays of the search's trial, bit for bit, however it is cut into calls."""
    space = SPACE.replace(**choices)
    results = pj.search(task, space, trials=7, epochs=6, seed=3, rank=pj.best(keep=7), **asked)
    opened = lambda points, **more: pj.Session(task, points, epochs=6, seed=3, space=space, **asked, **more)
    session, last = (
        opened(results.points),
        opened({name: values[6:] for name, values in results.points.items()}, numbers=[6]),
    )
    for epochs in (1, 3, 2):
        session.train(epochs)
    last.train(6)
    assert last.curves["val_loss"].tobytes() == results.curves["val_loss"][6:].tobytes()
    assert bits(session) == {name: values.tobytes() for name, values in results.curves.items()}
    for trial in range(7):
        arrays, _ = session.arrays(trial)
        assert arrays["params.out.kernel"].tobytes() == results.params(trial)["out"]["kernel"].tobytes()
    assert session.arrays(results.best.trial)[1] == results.winner
    if choices:
        activations = session.hparams["activation"].tolist()
        other = next(trial for trial in range(7) if activations[trial] != activations[0])
        with refused(f"0 to {other}", "shape or code"):
            session.clone(0, other)


def test_setting_a_trial_changes_its_curve_and_no_bit_of_the_others(task):
    population, untouched = (pj.Session(task, SPACE.sample(7), seed=3, space=SPACE) for _ in range(2))
    for session in (population, untouched):
        session.train(2)
    population.set(3, learning_rate=0.2, momentum=0.1)
    for session in (population, untouched):
        session.train(3)
    others = np.delete(np.arange(7), 3)
    for name, values in population.curves.items():
        assert values[others].tobytes() == untouched.curves[name][others].tobytes()
        assert values[3, :2].tobytes() == untouched.curves[name][3, :2].tobytes()
    assert np.all(population.curves["val_loss"][3, 2:] != untouched.curves["val_loss"][3, 2:])
    assert population.hparams["learning_rate"][3] == 0.2


def test_a_change_is_what_the_rate_would_have_been(task):
    """Set before the first epoch, it is the session that began with it; the schedule goes on counting epochs."""
    begun, changed = pj.Session(task, HPARAMS | {"learning_rate": 0.02}), pj.Session(task, HPARAMS)
    changed.set(learning_rate=0.02)
    for session in (begun, changed):
        session.train(3)
    assert bits(begun) == bits(changed)
    doubled = pj.Session(task, HPARAMS | {"learning_rate": 0.02})
    doubled.train(1)
    doubled.set(learning_rate=0.04, decay=1.2)  # 0.04 / 2.2 in the second epoch, as is 0.02 / 1.1
    doubled.train(1)
    assert doubled.curves["val_loss"] == pytest.approx(begun.curves["val_loss"][:2], rel=1e-5)


def test_nothing_recompiles(task):
    session = pj.Session(task, HPARAMS)
    session.train(2)
    first = session.measure(task.watch)
    with compilations() as compiled:
        session.set(learning_rate=0.01)
        session.train(1)
        second = session.measure(task.watch)
        session.back(2)
        session.set(momentum=0.5, decay=0.0)
        session.train(3)
    assert compiled == []
    assert second["loss"] != first["loss"]


def test_a_diverged_model_comes_back(task):
    """Weights, optimizer and epoch are those of then; hyperparameters stay until they are set."""
    session = pj.Session(task, HPARAMS)
    session.train(2)
    state = jax.tree.map(np.copy, session.state)
    session.set(learning_rate=1e30)
    session.train(2)
    assert not session.alive
    session.back(2)
    assert jax.tree.all(jax.tree.map(np.array_equal, session.state, state))
    assert session.hparams["learning_rate"] == 1e30
    session.set(learning_rate=0.01)
    session.train(1)
    assert session.alive
    assert np.isfinite(session.curves["val_loss"]).all()


def test_watch_is_what_numpy_says(x64, rows):
    """Loss, gradient norm and each layer's next step, written out by hand for a linear model."""
    from flax import nnx

    task = pj.supervised(rows, model=lambda hparams, rngs: nnx.Linear(5, 3, param_dtype=float, rngs=rngs))
    session = pj.Session(task, {"learning_rate": 0.1, "momentum": 0.5})
    session.train(1)
    watched = session.measure(task.watch)
    kernel, bias = (np.asarray(session.state.params[name]) for name in ("kernel", "bias"))
    inside = task.data.folds.train[0]
    x, y = task.data.rows.x[inside], task.data.rows.y[inside]
    logits = x @ kernel + bias
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    delta = (p - np.eye(3)[y]) / len(y)
    gradients = x.T @ delta, delta.sum(0)
    assert watched["loss"] == pytest.approx(-np.log(p[np.arange(len(y)), y]).mean())
    assert watched["gradient_norm"] == pytest.approx(np.sqrt(sum((g**2).sum() for g in gradients)))
    assert set(watched) == {"loss", "gradient_norm", "update_to_weight kernel", "update_to_weight bias"}
    (trace,) = [leaf for leaf in jax.tree.leaves(session.state.opt_state) if leaf.shape == kernel.shape]
    step = np.linalg.norm(0.1 * (gradients[0] + 0.5 * trace)) / np.linalg.norm(kernel)
    assert watched["update_to_weight kernel"] == pytest.approx(step)


@pytest.mark.parametrize(
    ("act", "names"),
    [
        (lambda s: s.set(hidden=9), ["hidden", "shape or code"]),
        (lambda s: s.set(lerning_rate=9), ["lerning_rate", "learning_rate,"]),
        (lambda s: s.set(learning_rate=-0.1), ["learning_rate=-0.1", "choose 0 <= learning_rate"]),
        (lambda s: s.set(momentum=1.0), ["momentum=1.0", "choose"]),
        (lambda s: s.set(learning_rate=1e300), ["learning_rate=1e+300", "float32", "1.2e-38"]),
        (lambda s: s.set(learning_rate="fast"), ["learning_rate='fast'", "give a number"]),
        (lambda s: s.set(learning_rate=float("nan")), ["learning_rate", "nan"]),
        (lambda s: s.set(5, learning_rate=0.1), ["trial 5", "0..0"]),
        (lambda s: s.back(3), ["back 3", "at most 2"]),
        (lambda s: s.back(0), ["back=0", "whole number"]),
        (lambda s: s.train(0), ["epochs=0", "whole number"]),
        (lambda s: s.stop(1), ["trial 1", "0..0"]),
        (lambda s: s.lift(1), ["trial 1", "0..0"]),
    ],
)
def test_what_cannot_be_done_is_one_line_and_changes_nothing(task, act, names):
    session = pj.Session(task, HPARAMS)
    session.train(2)
    before = bits(session), session.hparams
    with refused(*names):
        act(session)
    assert (bits(session), session.hparams) == before


@pytest.mark.parametrize(
    ("hparams", "asked", "names"),
    [
        ({}, {}, ["no hyperparameters"]),
        ({"learning_rate": []}, {}, ["learning_rate", "give one"]),
        ([{"learning_rate": 0.1}], {}, ["[{'learning_rate': 0.1}]", "names with values"]),
        ({"learning_rate": [[0.1, 0.2]]}, {}, ["learning_rate", "[0.1, 0.2]", "a number"]),
        ({"learning_rate": {"a": 0.1}}, {}, ["learning_rate", "{'a': 0.1}", "a number"]),
        ({"learning_rate": [0.1, 0.2], "momentum": [0.1, 0.2, 0.3]}, {}, ["learning_rate", "2 values", "3 trials"]),
        ({"learning_rate": 0.1, "nonsense": 1.0}, {}, ["nonsense"]),
        ({"learning_rate": 0.1, "batch_size": 900}, {}, ["batch_size=900", "136"]),
        ({"learning_rate": [0.1, 0.2]}, {"numbers": [1]}, ["1 number", "2 trials"]),
        ({"learning_rate": [0.1, 0.2]}, {"numbers": [1, -2]}, ["numbers", "-2", "whole number"]),
        (HPARAMS, {"epochs": 0}, ["epochs=0", "at least 1"]),
        (HPARAMS, {"seed": -1}, ["seed=-1", "0 <= seed"]),
        (HPARAMS, {"resume": True}, ["resume", "out"]),
    ],
)
def test_what_cannot_begin_is_one_line(task, hparams, asked, names):
    with refused(*names):
        pj.Session(task, hparams, **asked)


def test_whole_numbers_end_where_int32_does():
    task = pj.Task(lambda key, h, data: h["n"] * 1.0, lambda state, h, data: (state, {"loss": h["n"] * 1.0}), ())
    with refused(2147483647):
        pj.Session(task, {"n": 2**31})
    session = pj.Session(task, {"n": 5})
    with refused(2147483647):
        session.set(n=2**31)
    with refused("n=0.5", "whole number", "n=1.0"):
        session.set(n=0.5)
    assert session.hparams == {"n": 5}


def test_reals_end_where_float32_does():
    """Below its least number all would train as 0, beyond its greatest as infinity, and the table would not say so."""
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"]})
    for scale in (pj.log_uniform(1e-60, 1e-45), pj.uniform(-1e300, 1), pj.choice(1.0, 1e200), 1e-50):
        with refused("x", "float32"):
            pj.search(task, {"x": scale}, trials=2)
    with jax.enable_x64(True):
        assert pj.search(task, {"x": 1e-50}, trials=2).best.value == 1e-50
    assert pj.search(task, {"x": 0.0}, trials=2).best.value == 0


def test_another_session_is_not_resumed_and_changed_code_is_said(task, tmp_path, capsys):
    points = SPACE.sample(3)

    def opened(points=points, task=task, **asked):
        return pj.Session(task, points, space=SPACE, out=tmp_path / "run", resume=True, **asked)

    def epoch(state, hparams, data):
        state, metrics = task.epoch(state, hparams, data)
        return state, metrics | {"val_loss": 2 * metrics["val_loss"]}

    opened().train(1)
    for other in (SPACE.sample(4), SPACE.sample(3, seed=4)):
        with refused("3 trials", "give those"):
            opened(other)
    for asked in ({"numbers": [5, 7, 8]}, {"seed": 5}, {"folds": 2}):
        with refused(*asked):
            opened(**asked)
    with jax.default_prng_impl("rbg"), refused("jax_default_prng_impl", "threefry2x32", "rbg"):
        opened()
    assert opened().epoch == 1
    assert "changed" not in capsys.readouterr().err
    opened(task=task._replace(epoch=epoch))
    assert "the code of the task was changed" in capsys.readouterr().err
    with jax.default_matmul_precision("highest"):
        opened()
    assert "jax_default_matmul_precision was None, now highest" in capsys.readouterr().err


def test_the_session_that_was_opened_last_has_the_directory(task, tmp_path):
    """As a cell that is run again opens it; the one before says so, and writes no more."""
    run = tmp_path / "run"
    opened = lambda: pj.Session(task, {"learning_rate": 0.1}, out=run, resume=True)
    files = lambda: {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    first = opened()
    first.train(2)
    second = opened()
    second.train(1)
    before = files()
    for use in (first.train, lambda: first.set(learning_rate=0.2), lambda: first.back(1), first.commit):
        with refused("another session", "'"):
            use()
    assert files() == before
    assert opened().epoch == 3


def test_a_directory_that_another_process_writes_to_is_refused(task, tmp_path):
    """Given up, it is free."""
    opened = lambda: pj.Session(task, {"learning_rate": 0.1}, out=tmp_path / "run")
    with held(tmp_path / "run"), pytest.raises(Exception, match=r"run' is in use"):
        opened()
    session = opened()
    with pytest.raises(BlockingIOError), held(tmp_path / "run"):
        pass
    del session
    gc.collect()
    with held(tmp_path / "run"):
        pass


def test_a_flag_ends_a_pause(task):
    """As Ctrl-C does, which sets the session's own flag while a person has paused it on the page."""
    flag = threading.Event()
    session = pj.Session(task, HPARAMS, stop=flag)
    assert Page(session.live()).ask(verb="pause")[0] == 200
    training = threading.Thread(target=session.train, args=(3,), daemon=True)
    training.start()
    flag.set()
    training.join(30)
    assert not training.is_alive()
    assert session.epoch == 0


def test_numbers_of_numpy_and_jax_are_taken_with_a_directory_too(task, tmp_path):
    session = pj.Session(task, HPARAMS, out=tmp_path / "run")
    session.train(1)
    session.set(np.int64(0), learning_rate=np.float32(0.25))
    session.set(learning_rate=jax.numpy.float32(0.125), momentum=np.float64(0.5))
    session.stop(np.int64(0))
    session.lift(np.argmax([1.0]))
    session.train(1)
    assert session.hparams["learning_rate"] == 0.125
    assert pj.Session(task, HPARAMS, out=tmp_path / "run", resume=True).hparams == session.hparams
