"""Steering a living population: changes act at once, on the trials that are named, and on no bit of another."""

import gc
import shutil
import threading

import jax
import numpy as np
import pytest
import steering_task
from test_compilations import compilations

import popjax as pj
from popjax.core.stop import Stop
from popjax.core.storage import InUse, locked
from popjax.engine.checkpoint import Checkpoint
from popjax.engine.members import MemberTable
from popjax.study.session import Session
from popjax.tuning.person import Change

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


@pytest.fixture
def population(task):
    return Session(task, SPACE.sample(7), seed=3, space=SPACE)


def bits(session):
    return {name: values.tobytes() for name, values in session.curves.items()}


def test_a_session_left_alone_is_the_search(task):
    """Every member has the curve and the arrays of the search's trial, bit for bit, however it is cut into calls."""
    points = SPACE.sample(7, seed=3)
    population = Session(task, points, seed=3, space=SPACE)
    results = pj.search(task, SPACE, trials=7, epochs=6, seed=3, rank=pj.best(keep=7), backend=pj.Local(lanes=1))
    for epochs in (1, 3, 2):
        population.train(epochs)
    for name, values in results.curves.items():
        assert population.curves[name].tobytes() == values.tobytes()
    for member in range(7):
        kernel = results.params(member)["hidden"][1]["kernel"]
        assert population.state.params["hidden"][1]["kernel"][member].tobytes() == kernel.tobytes()


def test_setting_a_member_changes_its_curve_and_no_bit_of_the_others(task, population):
    untouched = Session(task, SPACE.sample(7), seed=3, space=SPACE)
    for session in (population, untouched):
        session.train(2)
    population.set(3, learning_rate=0.2, momentum=0.1)
    for session in (population, untouched):
        session.train(3)
    for name, values in population.curves.items():
        others = np.delete(np.arange(7), 3)
        assert values[others].tobytes() == untouched.curves[name][others].tobytes()
        assert values[3, :2].tobytes() == untouched.curves[name][3, :2].tobytes()
    assert np.all(population.curves["val_loss"][3, 2:] != untouched.curves["val_loss"][3, 2:])
    assert population.hparams["learning_rate"][3] == 0.2


def test_a_change_is_what_the_rate_would_have_been(task):
    """Set before the first epoch, it is the session that began with it; the schedule goes on counting epochs."""
    begun, changed = Session(task, HPARAMS | {"learning_rate": 0.02}), Session(task, HPARAMS)
    changed.set(learning_rate=0.02)
    for session in (begun, changed):
        session.train(3)
    assert bits(begun) == bits(changed)
    doubled = Session(task, HPARAMS | {"learning_rate": 0.02})
    doubled.train(1)
    doubled.set(learning_rate=0.04, decay=1.2)  # 0.04 / 2.2 in the second epoch, as is 0.02 / 1.1
    doubled.train(1)
    assert doubled.curves["val_loss"] == pytest.approx(begun.curves["val_loss"][:2], rel=1e-5)


def test_nothing_recompiles(task):
    session = Session(task, HPARAMS)
    session.train(2)
    with compilations() as events:
        session.set(learning_rate=0.01)
        session.train(1)
        session.back(2)
        session.set(momentum=0.5, decay=0.0)
        session.train(3)
    assert events == []


def test_back_is_bit_for_bit(task):
    """Weights, optimizer and epoch return: the same epochs again have the same bits; hyperparameters stay."""
    session = Session(task, HPARAMS)
    session.train(5)
    before = bits(session)
    state = jax.tree.map(np.copy, session.state)
    session.back(3)
    assert session.epoch == 2
    session.train(3)
    assert bits(session) == before
    assert jax.tree.all(jax.tree.map(np.array_equal, session.state, state))
    session.set(learning_rate=0.3)
    session.back(3)
    session.train(3)
    assert session.hparams["learning_rate"] == 0.3
    assert session.curves["val_loss"][:2].tolist() == np.frombuffer(before["val_loss"], np.float32)[:2].tolist()
    assert bits(session) != before
    session.back(5)
    assert session.epoch == 0


def test_a_clone_trains_as_its_source_until_it_is_set(population):
    population.train(2)
    population.clone(5, 1)
    assert population.hparams["hidden"][1] == population.hparams["hidden"][5]
    population.train(2)
    losses = population.curves["val_loss"]
    assert losses[1, 2:].tolist() == losses[5, 2:].tolist()
    assert losses[1, :2].tolist() != losses[5, :2].tolist()
    population.set(1, learning_rate=0.5)
    population.train(1)
    losses = population.curves["val_loss"]
    assert losses[1, 4] != losses[5, 4]


def test_a_stopped_member_rests_and_the_others_do_not_notice(task, population):
    untouched = Session(task, SPACE.sample(7), seed=3, space=SPACE)
    for session in (population, untouched):
        session.train(1)
    weights = population.state.params["out"]["kernel"][2].copy()
    population.stop(2)
    for session in (population, untouched):
        session.train(2)
    losses, others = population.curves["val_loss"], np.delete(np.arange(7), 2)
    assert np.isnan(losses[2]).tolist() == [False, True, True]
    assert losses[others].tobytes() == untouched.curves["val_loss"][others].tobytes()
    assert np.array_equal(population.state.params["out"]["kernel"][2], weights)
    assert population.alive.tolist() == [member != 2 for member in range(7)]
    population.back(2)
    assert not population.alive[2], "it was stopped after the first epoch"
    population.back(1)
    assert population.alive.all()


def test_a_stop_that_is_lifted_lets_the_member_train_on(task, population):
    """From the state that it had, as if the epochs between had not been; the others do not notice."""
    alone = Session(task, SPACE.sample(7), seed=3, space=SPACE)
    alone.train(5)
    population.train(2)
    population.stop(3)
    population.train(2)
    state = population.state.params["hidden"][1]["kernel"][3]
    population.lift(3)
    assert population.alive.all()
    population.train(1)
    curves, whole = population.curves["val_loss"], alone.curves["val_loss"]
    assert np.isnan(curves[3]).tolist() == [False, False, True, True, False]
    others = np.delete(np.arange(7), 3)
    assert curves[others].tobytes() == whole[others].tobytes()
    assert (population.state.params["hidden"][1]["kernel"][3] != state).any()
    with pytest.raises(ValueError, match="there is no trial 7; choose 0"):
        population.lift(7)


def test_a_diverged_model_comes_back(task):
    session = Session(task, HPARAMS)
    session.train(2)
    session.set(learning_rate=1e30)
    session.train(2)
    assert not session.alive
    session.back(2)
    session.set(learning_rate=0.01)
    session.train(1)
    assert session.alive
    assert np.isfinite(session.curves["val_loss"]).all()


def test_watch_is_what_numpy_says(x64, rows):
    """Loss, gradient norm and each layer's next step, written out by hand for a linear model."""
    from flax import nnx

    task = pj.supervised(rows, model=lambda hparams, rngs: nnx.Linear(5, 3, param_dtype=float, rngs=rngs))
    session = Session(task, {"learning_rate": 0.1, "momentum": 0.5})
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
    ("act", "message"),
    [
        (lambda s: s.set(hidden=9), "hidden fixes a shape or code of the program"),
        (
            lambda s: s.set(lerning_rate=9),
            "lerning_rate is no hyperparameter here; there are learning_rate,",
        ),
        (lambda s: s.set(learning_rate=-0.1), "learning_rate=-0.1 is out of range; choose 0 <= learning_rate"),
        (lambda s: s.set(momentum=1.0), "momentum=1.0 is out of range"),
        (
            lambda s: s.set(learning_rate=1e300),
            "learning_rate=1e+300: in float32 a number is 0, or between 1.2e-38",
        ),
        (lambda s: s.set(learning_rate="fast"), "learning_rate='fast': give a number"),
        (lambda s: s.set(learning_rate=float("nan")), "learning_rate: nan is neither"),
        (lambda s: s.set(5, learning_rate=0.1), "there is no trial 5; choose 0..0"),
        (lambda s: s.back(3), "back 3: only 2 of 2 epochs can be taken back; give at most 2"),
        (lambda s: s.back(0), "back=0: give a whole number"),
        (lambda s: s.train(0), "epochs=0: give a whole number"),
        (lambda s: s.stop(1), "there is no trial 1; choose 0..0"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_changes_nothing(task, act, message):
    session = Session(task, HPARAMS)
    session.train(2)
    before = bits(session), session.hparams
    with pytest.raises(ValueError) as error:
        act(session)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert (bits(session), session.hparams) == before


@pytest.mark.parametrize(
    ("hparams", "message"),
    [
        ({}, "no hyperparameters"),
        ({"learning_rate": []}, "learning_rate has no values; give one a trial"),
        ([{"learning_rate": 0.1}], "the hyperparameters are [{'learning_rate': 0.1}]; give names with values"),
        ({"learning_rate": [[0.1, 0.2]]}, "learning_rate has the value [0.1, 0.2]; give a number, a text or a truth"),
        ({"learning_rate": {"a": 0.1}}, "learning_rate has the value {'a': 0.1}; give a number, a text or a truth"),
        ({"learning_rate": [0.1, 0.2], "momentum": [0.1, 0.2, 0.3]}, "learning_rate has 2 values for 3 trials"),
        ({"learning_rate": 0.1, "nonsense": 1.0}, "nonsense is read by nothing"),
        ({"learning_rate": 0.1, "batch_size": 900}, "batch_size=900: there are 136 training rows"),
    ],
)
def test_what_cannot_begin_is_one_line(task, hparams, message):
    with pytest.raises(ValueError) as error:
        Session(task, hparams)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_trials_of_a_session_have_a_number_each(task):
    for numbers, says in (
        ([1], "numbers has 1 number for 2 trials"),
        ([1, -2], "numbers holds a number=-2: give a whole number"),
    ):
        with pytest.raises(ValueError, match=says):
            Session(task, {"learning_rate": [0.1, 0.2]}, numbers=numbers)


def test_a_session_has_a_horizon_and_a_seed_of_whole_numbers(task):
    with pytest.raises(ValueError, match="epochs=0: give a whole number of at least 1"):
        Session(task, HPARAMS, epochs=0)
    with pytest.raises(ValueError, match="seed=-1: choose a whole number 0 <= seed"):
        Session(task, HPARAMS, seed=-1)


def test_states_for_which_there_is_no_memory_are_trained_again_to_the_same_bits(task, monkeypatch):
    """Two are held; what lies before them is had again by what was decided, and not by how it stands now."""

    def steered(session):
        session.train(3)
        session.set(learning_rate=0.02)
        session.train(3)
        session.back(1)
        session.train(1)
        session.set(momentum=0.5)
        session.back(4)
        return session

    held = steered(Session(task, HPARAMS))
    monkeypatch.setattr("popjax.study.timeline.MEMORY", 1)
    again = steered(Session(task, HPARAMS))
    assert len(held.timeline.snapshots) == 3
    assert (len(again.timeline.snapshots), again.epoch) == (1, 2)
    assert jax.tree.all(jax.tree.map(np.array_equal, again.state, held.state))
    held.train(2)
    again.train(2)
    assert bits(again) == bits(held)
    with pytest.raises(ValueError, match="only 4 of 4 epochs can be taken back"):
        again.back(5)


def test_whole_numbers_end_where_int32_does():
    task = pj.Task(lambda key, h, data: h["n"] * 1.0, lambda state, h, data: (state, {"loss": h["n"] * 1.0}), ())
    with pytest.raises(ValueError, match="whole numbers end at 2147483647"):
        Session(task, {"n": 2**31})
    session = Session(task, {"n": 5})
    with pytest.raises(ValueError, match="whole numbers end at 2147483647"):
        session.set(n=2**31)
    with pytest.raises(ValueError, match=r"n=0.5: it started as a whole number; give one, or start with n=1\.0"):
        session.set(n=0.5)
    assert session.hparams == {"n": 5}


def test_reals_end_where_float32_does():
    """Below its least number all would train as 0, beyond its greatest as infinity, and the table would not say so."""
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"]})
    for scale in (pj.log_uniform(1e-60, 1e-45), pj.uniform(-1e300, 1), pj.choice(1.0, 1e200), 1e-50):
        with pytest.raises(ValueError, match="in float32 a number is 0, or between 1"):
            pj.search(task, {"x": scale}, trials=2)
    with jax.enable_x64(True):
        assert pj.search(task, {"x": 1e-50}, trials=2).best.value == 1e-50
    assert pj.search(task, {"x": 0.0}, trials=2).best.value == 0


def test_what_is_measured_again_is_not_compiled_again(task):
    session = Session(task, HPARAMS)
    first = session.measure(task.watch)
    session.train(1)
    with compilations() as log:
        second = session.measure(task.watch)
    assert log == []
    assert second["loss"] != first["loss"]


@pytest.mark.soak
def test_a_session_of_several_programs_and_folds_is_the_search(task):
    """Members that differ in what fixes code train beside each other, each on its folds, bit for bit."""
    space = SPACE.replace(activation=pj.choice("relu", "tanh"))
    results = pj.search(task, space, trials=6, epochs=3, seed=4, folds=2, repeats=2)
    session = Session(task, space.sample(6, 4), epochs=3, seed=4, space=space, folds=2, repeats=2)
    session.train(3)
    for name, values in results.curves.items():
        assert session.curves[name].tobytes() == values.tobytes()
    assert len(session.state) == 6
    best = results.best.trial
    arrays, known = session.arrays(best)
    assert arrays["params.out.kernel"].tobytes() == results.params(best)["out"]["kernel"].tobytes()
    assert known == results.winner
    activations = session.hparams["activation"].tolist()
    other = next(member for member in range(1, 6) if activations[member] != activations[0])
    with pytest.raises(ValueError, match="they differ in what fixes a shape or code"):
        session.clone(0, other)


@pytest.mark.kill
def test_a_session_that_dies_goes_on_from_its_last_commit(python, tmp_path):
    """Killed after changes and a copy: what was committed stands, with the hyperparameters and the stops of then."""
    code = """
import os, signal, sys
import numpy as np
import popjax as pj
import popjax.engine.checkpoint
popjax.engine.checkpoint.EVERY, popjax.engine.checkpoint.SHARE = 0.0, float("inf")
def epoch(x, hparams, data):
    return x - hparams["rate"] * x, {"loss": x * x}
task = pj.Task(lambda key, hparams, data: hparams["rate"] * 0 + 1.0, epoch, ())
out = None if sys.argv[1] == "whole" else "run"
session = pj.Session(task, {"rate": [0.1, 0.2, 0.3, 0.4]}, out=out, resume=sys.argv[1] == "again")
if session.epoch == 0:
    session.train(2)
    session.set(1, rate=0.5)
    session.stop(2)
    session.clone(3, 0)
    if sys.argv[1] == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
assert (session.epoch, session.hparams["rate"].tolist()) == (2, [0.4, 0.5, 0.3, 0.4]), session.hparams
assert session.alive.tolist() == [True, True, False, True], session.alive
session.train(2)
assert np.isnan(session.curves["loss"][2, 2:]).all()
print(repr(session.curves["loss"].tolist()))
"""
    assert python(code, "dies").returncode == -9
    again, whole = python(code, "again"), python(code, "whole")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == whole.stdout
    assert len(whole.stdout) > 50
    refused = python(code, "new")
    assert "holds a session; choose another directory, or go on with it" in refused.stderr


def test_a_stop_that_was_taken_back_is_none_later(task, tmp_path):
    """On resume the trials that were stopped at the end are stopped, not those before."""
    rates = {"learning_rate": [0.01, 0.02, 0.03]}
    session = Session(task, rates, out=tmp_path / "run")
    session.stop(2)
    session.train(1)
    session.stop(1)
    session.train(1)
    session.back(1)
    assert session.alive.tolist() == [True, False, False]
    session.back(1)
    assert session.alive.tolist() == [True, True, False]
    session = Session(task, rates, out=tmp_path / "run", resume=True)
    assert (session.epoch, session.alive.tolist()) == (0, [True, True, False])
    session.train(2)
    session.back(1)
    session = Session(task, rates, out=tmp_path / "run", resume=True)
    assert session.epoch == 1
    session.clone(2, 0)
    again = Session(task, rates, out=tmp_path / "run", resume=True)
    assert again.alive.tolist() == [False, True, False]
    again.train(2)
    assert np.isfinite(again.curves["val_loss"]).all(1).tolist() == [False, True, False]


def test_another_session_is_not_resumed_and_changed_code_is_said(task, tmp_path, capsys):
    opened = lambda points, task=task: Session(task, points, space=SPACE, out=tmp_path / "run", resume=True)
    points = SPACE.sample(3)
    Session(task, points, space=SPACE, out=tmp_path / "run").train(1)
    for other in (SPACE.sample(4), SPACE.sample(3, seed=4)):
        with pytest.raises(ValueError, match="it began with 3 trials of other hyperparameters; give those"):
            opened(other)
    assert opened(points).epoch == 1
    assert "changed" not in capsys.readouterr().err

    def epoch(state, hparams, data):
        state, metrics = task.epoch(state, hparams, data)
        return state, metrics | {"val_loss": 2 * metrics["val_loss"]}

    opened(points, task._replace(epoch=epoch))
    assert "the code of the task was changed since, and the curves will hold both" in capsys.readouterr().err
    with jax.default_matmul_precision("highest"):
        opened(points)
    assert "jax_default_matmul_precision was None, now highest: bits may differ" in capsys.readouterr().err
    with (
        jax.default_prng_impl("rbg"),
        pytest.raises(ValueError, match="cannot be resumed so: jax_default_prng_impl was threefry2x32, now rbg"),
    ):
        opened(points)


def test_the_session_that_was_opened_last_has_the_directory(task, tmp_path):
    """As a cell that is run again opens it; the one before says so, and writes no more."""
    first = Session(task, {"learning_rate": 0.1}, out=tmp_path / "run")
    first.train(2)
    second = Session(task, {"learning_rate": 0.1}, out=tmp_path / "run", resume=True)
    second.train(1)
    for use in (first.train, lambda: first.set(learning_rate=0.2), lambda: first.back(1)):
        with pytest.raises(ValueError, match=r"another session resumed '.*run'; use that one"):
            use()
    third = Session(task, {"learning_rate": 0.1}, out=tmp_path / "run", resume=True)
    assert third.epoch == 3
    for other in ({"seed": 5}, {"space": pj.Space(learning_rate=pj.uniform(0.1, 0.2), hidden=8)}):
        with pytest.raises(ValueError, match="cannot be resumed so: "):
            Session(
                task,
                {"learning_rate": 0.1, **({"hidden": 8} if "space" in other else {})},
                out=tmp_path / "run",
                resume=True,
                **other,
            )
    third.train(1)
    assert third.epoch == 4, "a refused session took nothing"


def test_a_directory_that_another_process_writes_to_is_refused(task, tmp_path):
    """What has no other session in this process, and is locked, is another process's; given up, it is free."""
    with locked(tmp_path / "run"), pytest.raises(InUse, match="is in use by process"):
        Session(task, {"learning_rate": 0.1}, out=tmp_path / "run")
    session = Session(task, {"learning_rate": 0.1}, out=tmp_path / "run")
    with pytest.raises(InUse, match="is in use by process"), locked(tmp_path / "run"):
        pass
    del session
    gc.collect()
    with locked(tmp_path / "run"):
        pass


def test_from_any_commit_all_stand_where_one_does(tmp_path, monkeypatch):
    """Of two programs one may be committed an epoch before the other; both have what they are told next."""
    task, space = steering_task.TASK, steering_task.SPACE
    points = space.sample(6, 0)
    assert len(set(points["size"].tolist())) == 2
    commit, copies = Checkpoint.commit, []

    def save(saver):
        commit(saver)
        copies.append(tmp_path / str(len(copies)))
        shutil.copytree(tmp_path / "run", copies[-1])

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "save", save)
        Session(task, points, space=space, out=tmp_path / "run").train(3)
    told = {}
    for copy in copies:
        session = Session(task, points, space=space, out=copy, resume=True)
        if session.epoch:
            assert np.isfinite(session.curves["loss"]).all()
            plain = told.setdefault(session.epoch, Session(task, points, space=space))
            if plain.epoch == 0:
                plain.train(session.epoch)
                plain.set(rate=0.3)
                plain.train(2)
            session.set(rate=0.3)
            session.train(2)
            assert session.curves["loss"].tobytes() == plain.curves["loss"].tobytes()
    assert sorted(told) == [1, 2, 3]


def test_an_epoch_that_was_interrupted_is_none(tmp_path, monkeypatch):
    """All stand where the epoch before left them, and go on to the same bits, also from disk.

    Interrupted while some batches have told what they trained and others have not; each stands at another epoch.
    """
    task, space = steering_task.TASK, steering_task.SPACE
    points, rng = space.sample(6, 0), np.random.default_rng(0)
    session = Session(task, points, space=space, out=tmp_path / "run")
    report = MemberTable.report

    def interrupted(table, *told):
        report(table, *told)
        if rng.random() < 0.3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(MemberTable, "report", interrupted)
        for _ in range(20):
            with pytest.raises(KeyboardInterrupt):
                session.train(1000)
    assert session.epoch > 5
    session.train(2)
    plain = Session(task, points, space=space)
    plain.train(session.epoch)
    assert bits(session) == bits(plain)
    again = Session(task, points, space=space, out=tmp_path / "run", resume=True)
    assert again.epoch == session.epoch
    assert bits(again) == bits(plain)


def test_the_numbers_of_its_trials_belong_to_a_session(task, tmp_path):
    """They give the keys: resumed with others, an epoch that is trained again would be another."""
    session = Session(task, HPARAMS, numbers=[5], out=tmp_path / "run")
    session.train(2)
    known = bits(session)
    for numbers in (None, [4]):
        with pytest.raises(ValueError, match=r"cannot be resumed so: .*numbers"):
            Session(task, HPARAMS, numbers=numbers, out=tmp_path / "run", resume=True)
    again = Session(task, HPARAMS, numbers=[5], out=tmp_path / "run", resume=True)
    again.back(1)
    again.train(1)
    assert bits(again) == known
    with pytest.raises(ValueError, match="resume=True needs out"):
        Session(task, HPARAMS, resume=True)


def test_a_flag_ends_a_pause(task):
    """As Ctrl-C does, which sets the session's own flag while a person has paused it on the page."""
    flag = Stop()
    session = Session(task, HPARAMS, stop=flag)
    session.live()
    session.page.person.ask(Change("pause"))
    training = threading.Thread(target=session.train, args=(3,), daemon=True)
    training.start()
    training.join(0.5)
    assert training.is_alive()
    flag.set()
    training.join(30)
    assert not training.is_alive()
    assert session.epoch == 0


def test_an_interrupted_change_is_no_epoch(task, monkeypatch):
    """States that are no longer in memory are trained again to the epoch at which it was asked for."""
    sessions = [Session(task, HPARAMS, seed=2) for _ in range(2)]
    for session in sessions:
        session.train(3)
    with monkeypatch.context() as patched:
        patched.setattr(sessions[0].trainer, "hold_states", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sessions[0].set(learning_rate=0.2)
    sessions[1].set(learning_rate=0.2)
    for session in sessions:
        while len(session.timeline.snapshots) > 1:
            session.timeline.snapshots.popleft()
        session.train(1)
        session.timeline.snapshots.popleft()  # of epoch 3
        session.back(1)
        assert session.epoch == 3
    first, second = (jax.tree.leaves(session.state.params) for session in sessions)
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def interrupted(trials):
    raise KeyboardInterrupt


def test_a_session_that_was_superseded_commits_nothing(task, tmp_path):
    first = Session(task, HPARAMS, out=tmp_path / "run")
    first.train(1)
    second = Session(task, HPARAMS, out=tmp_path / "run", resume=True)
    second.train(2)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="another session resumed"):
        first.commit()
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}


def test_numbers_of_numpy_and_jax_are_taken_with_a_directory_too(task, tmp_path):
    session = Session(task, HPARAMS, out=tmp_path / "run")
    session.train(1)
    session.set(np.int64(0), learning_rate=np.float32(0.25))
    session.set(learning_rate=jax.numpy.float32(0.125), momentum=np.float64(0.5))
    session.stop(np.int64(0))
    session.lift(np.argmax([1.0]))
    session.train(1)
    assert session.hparams["learning_rate"] == 0.125
    assert Session(task, HPARAMS, out=tmp_path / "run", resume=True).hparams == session.hparams
