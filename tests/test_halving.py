"""Halving and Hyperband train less: which trials go on, what that costs, and that no curve is another one for it."""

import functools
import itertools
import math
import threading

import numpy as np
import pytest
import stopping
from four_devices import on_four_devices
from test_compilations import compilations

import popjax as pj
from popjax.scheduler import Problem, Trials
from popjax.store.results import Results
from popjax.tuning.schedulers.halving import rungs_of
from popjax.tuning.schedulers.hyperband import shares
from popjax.tuning.schedulers.named_schedulers import scheduler_of, text_of

SPACE = pj.Space(rate=pj.log_uniform(0.01, 3), size=pj.choice(2, 3, static=True))
FILES = ("trials.parquet", "curves.parquet", "decisions.jsonl", "best/arrays.safetensors")


def epoch(state, hparams, data):
    x = state - hparams["rate"] * 2 * (state - data[hparams.get("fold", 0)])
    far = abs(x - data[hparams.get("fold", 0)]).sum()
    return x, {"val_accuracy": 1 / (1 + far), "val_loss": far**2}


def start(key, hparams, data):
    import jax

    return jax.random.normal(key, (hparams["size"],))


TASK = pj.Task(start, epoch, np.array([0.1, -0.4, 0.3]), metric="val_accuracy", mode="max")


def search(trials=40, epochs=11, **settings):
    return stopping.search(TASK, SPACE, trials=trials, epochs=epochs, **settings)


def survivors(curves, metric, mode, rungs, factor):
    """The rungs (trials,) that halving by these curves (trials, epochs) comes to: an oracle of ten lines."""
    sign = -1 if mode == "max" else 1
    dead = ~np.isfinite(curves[metric])
    reached = np.full(len(dead), rungs[0])
    going = list(range(len(dead)))
    for at, following in itertools.pairwise(rungs):
        fit = [t for t in going if not dead[t, :at].any()]
        fit.sort(key=lambda t: (sign * curves[metric][t, at - 1], curves.get("val_loss", curves[metric])[t, at - 1], t))
        going = fit[: math.ceil(len(going) / factor)]
        reached[going] = following
    return reached


def recorded(seed, trials, epochs, folds=1, ties=False, dead=0.2):
    """Results of a search whose curves are drawn at random, some with an end, many alike if `ties`."""
    rng = np.random.default_rng(seed)
    shape = (trials, folds, 1, epochs)
    levels = 3 if ties else 10**9
    members = {name: np.floor(rng.random(shape) * levels) / levels for name in ("val_accuracy", "val_loss")}
    ends = np.where(rng.random(shape[:3]) < dead, rng.integers(0, epochs, shape[:3]), epochs)
    for values in members.values():
        values[np.arange(epochs) >= ends[..., None]] = np.nan
    space = pj.Space(x=pj.uniform(0, 1))
    run = {"space": space.to_dict(), "seed": seed, "epochs": epochs}
    return Results(space.sample(trials, seed), members, pj.best("val_accuracy", "max"), run)


CASES = [
    *({"trials": 50, "epochs": 20, "factor": factor, "first": first} for factor in (2, 3, 5) for first in (1, 2, 7)),
    {"trials": 40, "epochs": 16, "factor": 2, "first": 2, "ties": True, "dead": 0.0},
    {"trials": 40, "epochs": 9, "factor": 3, "first": 1, "dead": 0.9},
    {"trials": 30, "epochs": 8, "factor": 2, "first": 1, "dead": 1.0},
    {"trials": 1, "epochs": 9, "factor": 2, "first": 1, "dead": 0.0},
    {"trials": 3, "epochs": 64, "factor": 2, "first": 1},
    {"trials": 7, "epochs": 1, "factor": 2, "first": 1},
    {"trials": 30, "epochs": 5, "factor": 2, "first": 5},
    {"trials": 24, "epochs": 12, "factor": 2, "first": 2, "folds": 3},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_trials_that_go_on_are_those_of_a_plain_loop(case):
    case = dict(case)
    factor, first = case.pop("factor"), case.pop("first")
    for seed in range(5):
        results = recorded(seed, **case)
        would = pj.simulate(pj.halving(factor, first), results)
        rungs = rungs_of(case["epochs"], factor, first)
        expected = survivors(results.curves, "val_accuracy", "max", rungs, factor)
        assert would.epochs.tolist() == expected.tolist()
        assert would.spent == expected.sum() * case.get("folds", 1)
        assert would.results.order.tolist() == [t for t in results.order if expected[t] == case["epochs"]]


@pytest.mark.parametrize(
    "settings",
    [{}, {"backend": pj.Local(4, "buckets")}, {"folds": 3}, {"repeats": 2}, {"every": 1}, {"seed": 5, "trials": 13}],
    ids=str,
)
@pytest.mark.parametrize("scheduler", ["halving", "hyperband", "halving(3, min_epochs=1)"])
def test_a_real_run_is_what_was_simulated_and_its_curves_are_prefixes(scheduler, settings):
    """Bit for bit: a pruned trial's curve is the beginning of its whole one, and only the fully trained win."""
    whole = search(**settings)
    results = search(scheduler=scheduler, **settings)
    would = pj.simulate(scheduler_of(scheduler), whole)
    assert results.done[:, 0, 0].tolist() == would.epochs.tolist()
    assert results.done.sum() == would.spent < whole.done.sum()
    assert results.order.tolist() == would.results.order.tolist()
    assert results.trials["status"].to_pylist() == would.results.trials["status"].to_pylist()
    assert results.best.trial == would.best
    for name, values in whole.members.items():
        for trial, end in enumerate(would.epochs.tolist()):
            assert values[trial, ..., :end].tobytes() == results.members[name][trial, ..., :end].tobytes()
            assert np.isnan(results.members[name][trial, ..., end:]).all()


def test_rungs_compile_nothing():
    """The trials that are left take the programs of all."""
    search(scheduler=pj.halving())
    with compilations() as events:
        search(seed=1, scheduler=pj.halving())
        search(seed=2, scheduler=pj.hyperband())
    assert events == []


def test_stopped_at_a_rung_it_goes_on(tmp_path):
    """With the same bytes; and with another factor it is not the same run."""
    whole = search(out=tmp_path / "whole", scheduler=pj.halving())

    class Stopper(pj.Callback):
        def decision(self, decision, trials):
            if decision.notes["rung"] == 3:
                stop.set()

    for _ in range(2):
        stop = threading.Event()
        search(out=tmp_path / "run", resume=True, scheduler=pj.halving(), stop=stop, callbacks=[Stopper()])
    with pytest.raises(ValueError, match=r"scheduler was halving\(reduction_factor=2, min_epochs=2\), now halving"):
        search(out=tmp_path / "run", resume=True, scheduler=pj.halving(3))
    results = search(out=tmp_path / "run", resume=True, scheduler="halving")
    assert results.summary["pruned"] == whole.summary["pruned"] > 20
    for name in FILES:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_four_devices_do_the_same(tmp_path, environment):
    on_four_devices('from test_halving import search; search(scheduler="hyperband", out="run")', tmp_path, environment)
    there, here = pj.Results.load(tmp_path / "run"), search(scheduler="hyperband")
    assert there.epochs_run.tolist() == here.epochs_run.tolist()
    np.testing.assert_array_equal(there.members["val_loss"], here.members["val_loss"])


def test_a_person_who_stops_a_trial_is_heard():
    """It is not trained on, and its place goes to the next."""
    problem = Problem(SPACE, 4, 8, 0, pj.best("val_loss"), lambda n, trials=None: SPACE.sample(n))
    loss = np.array([0.1, 0.2, 0.3, 0.4])
    curves = {"val_loss": np.repeat(loss[:, None], 8, 1)}
    stopped = np.array([True, False, False, False])
    state, decision = pj.halving()(problem).step(1, Trials(SPACE.sample(4), np.full(4, 2), loss, curves, stopped))
    assert (state, dict(decision.until)) == (2, {1: 4, 2: 4})


def test_rounds_of_halvings():
    """Each round halves its own trials; the second one searches around the best of the first."""
    results = search(trials=40, scheduler="rounds(2, halving)")
    same = search(trials=40, scheduler=pj.rounds(2, inner=pj.halving()))
    assert results.done.tobytes() == same.done.tobytes()
    for number in (0, 1):
        assert sorted(results.done[results.rounds == number, 0, 0].tolist()) == [2] * 10 + [4] * 5 + [8] * 2 + [11] * 3
    first, second = (results.points["rate"][results.rounds == number] for number in (0, 1))
    reached = np.lexsort((-results.values["val_accuracy"][:20], -results.done[:20, 0, 0]))
    best = first[[trial for trial in reached if not results.diverged[trial]][:5]]  # those of earlier rungs too
    assert best.min() / second.min() < 1.5 > second.max() / best.max()


def brackets_of(results, factor, first):
    """Hyperband by the letter: each bracket's trials through the oracle of halving."""
    epochs = results.members["val_loss"].shape[-1]
    rungs = rungs_of(epochs, factor, first)
    counts = shares(len(results.diverged), len(rungs), factor)
    brackets = np.random.default_rng(results.run["seed"]).permutation(np.repeat(np.arange(len(rungs)), counts))
    reached = np.zeros(len(brackets), int)
    for bracket in range(len(rungs)):
        rows = np.flatnonzero(brackets == bracket)
        own = {name: curve[rows] for name, curve in results.curves.items()}
        reached[rows] = survivors(own, "val_accuracy", "max", rungs[bracket:], factor)
    return reached


@pytest.mark.parametrize(("trials", "epochs", "factor", "first"), [(143, 81, 3, 1), (60, 20, 3, 1), (5, 9, 2, 2)])
def test_hyperband_is_its_brackets_side_by_side(trials, epochs, factor, first):
    for seed in range(5):
        results = recorded(seed, trials, epochs)
        would = pj.simulate(pj.hyperband(factor, first), results)
        assert would.epochs.tolist() == brackets_of(results, factor, first).tolist()


@pytest.mark.parametrize("trials", [1, 2, 3, 4, 10, 143, 512])
@pytest.mark.parametrize(("brackets", "factor"), [(5, 3), (3, 4), (1, 2)])
def test_all_trials_are_shared_out(trials, brackets, factor):
    counts = shares(trials, brackets, factor)
    assert counts.sum() == trials
    assert (np.diff(counts) <= 0).all()
    assert trials < brackets or counts[0] > 0


def test_what_cannot_be_simulated_is_refused():
    whole = search(trials=12)
    pruned = search(trials=12, scheduler=pj.halving())
    cannot = functools.partial(pytest.raises, ValueError)
    with cannot(match=r"simulate: trial \d+ was not trained to the end; give a search that was"):
        pj.simulate(pj.halving(), pruned)
    with cannot(match="points of another space"):
        pj.simulate(pj.rounds(2), whole)
    with cannot(match="there is no trial 12"):
        pj.simulate(pj.halving(), whole, [0, 12])
    with cannot(match="different trial numbers"):
        pj.simulate(pj.halving(), whole, [1, 1])

    def deciding(*decisions):
        return lambda problem: pj.Scheduler(lambda: 0, lambda n, trials: (n + 1, decisions[n]))

    begin = pj.Decision(add=whole.points, until=dict.fromkeys(range(12), 2))
    for more, says in [
        (pj.Decision(copy={1: 0}), "copies or changes"),
        (pj.Decision(set={1: {"rate": 0.1}}), "copies or changes"),
        (pj.Decision(until={12: 4}), r"there is no trial 12; choose 0\.\.11"),
        (pj.Decision(until={0: 12}), "trial 0 ends at epoch 11; give at most 11"),
        (pj.Decision(until={0: 1}), "trial 0 is at epoch 2; give a later one"),
        (pj.Decision(add=whole.points), "other than the recorded ones"),
    ]:
        with cannot(match=says):
            pj.simulate(deciding(begin, more), whole)


def test_where_all_diverge_none_is_said_to_have_been_stopped():
    """A diverged trial is left at its first rung, and is none that was left behind."""
    epoch = lambda state, hparams, data: (state, {"loss": hparams["x"] / 0})
    task = pj.Task(lambda key, hparams, data: 0.0, epoch, ())
    results = pj.search(task, {"x": pj.uniform(1, 2)}, trials=6, epochs=4, scheduler=pj.halving())
    assert results.no_winner.startswith("all 6 trials diverged (not finite: ")


@pytest.mark.parametrize("how", [{"sampler": "tpe"}, {"scheduler": pj.rounds(2)}])
def test_a_search_in_rounds_is_not_simulated(how):
    """Its later points followed from what the earlier ones came to: another scheduler would have had others."""
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
    results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=80, **how)
    with pytest.raises(ValueError, match="simulate: the points of later rounds depend on the results of"):
        pj.simulate(pj.halving(), results)


def test_a_subset_is_simulated_as_its_own_search():
    """In the order in which it is given, by the records of these trials."""
    results = recorded(3, 60, 16)
    rows = np.random.default_rng(1).permutation(60)[:20]
    would = pj.simulate(pj.halving(), results, rows)
    own = {name: curve[rows] for name, curve in results.curves.items()}
    assert would.epochs.tolist() == survivors(own, "val_accuracy", "max", rungs_of(16, 2, 2), 2).tolist()
    assert would.best in rows


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("halfing", "unknown scheduler 'halfing'; there are halving, hyperband, pbt, rounds"),
        ("halving(1)", "halving: reduction_factor=1: give a whole number of at least 2"),
        ("halving(min_epochs=0)", "halving: min_epochs=0: give a whole number of at least 1"),
        ("halving(2.5)", "halving: reduction_factor=2.5: give a whole number"),
        ("halving(speed=3)", "unexpected keyword argument 'speed'"),
        ("halving(", "write a name, or a name with arguments: halving(reduction_factor=3)"),
        ("__import__('os').getcwd()", "write a name, or a name with arguments"),
        ("halving(open('x'))", "unknown scheduler 'open'"),
        ("halving(**{})", "halving"),
        ("1 + 1", "write a name"),
        ("", "write a name"),
        ("\0", "write a name"),
        ("(" * 999, "write a name"),
    ],
)
def test_a_scheduler_that_is_none_is_refused_in_one_line(text, says):
    with pytest.raises(ValueError, match=r".") as caught:
        scheduler_of(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["halving(reduction_factor=3, min_epochs=1)", "rounds(n=2, inner=hyperband(reduction_factor=2, min_epochs=3))"],
)
def test_a_schedulers_text_makes_it_again(text):
    assert text_of(scheduler_of(text)) == text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--scheduler", "halving(1)"], "reduction_factor=1"),
        (["--scheduler", "halving(min_epochs=30)"], "min_epochs=30: the last epoch is 20; give at most that"),
        (["--scheduler", "asha"], "unknown scheduler 'asha'"),
    ],
)
def test_the_command_refuses_it_in_one_line(refused_in_one_line, arguments, says):
    refused_in_one_line("sweep", "--dataset", "wine", "--trials", 4, *arguments, says=[says])


def test_the_command_halves_and_says_so(command, tmp_path):
    """Also that a first rung while all warm up compares little."""
    done = command(
        *("sweep", "--dataset", "wine", "--trials", 20, "--epochs", 8, "--out", "run"),
        *("--scheduler", "halving(min_epochs=1)", "--set", "warmup=3", "--set", "hidden=8"),
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert "rung 1 of 4: 20 of 20 trials to epoch 1" in lines
    assert "rung 4 of 4: 3 of 5 trials to epoch 8" in lines
    assert [line for line in lines if line.startswith("warmup=3: the first rung, after 1 epoch, compares models")]
    assert pj.Results.load(tmp_path / "run").run["scheduler"] == "halving(reduction_factor=2, min_epochs=1)"


@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        (pj.halving(min_epochs=1), "after 1 epoch,"),
        (pj.hyperband(), "after 1 epoch,"),
        (pj.rounds(2, pj.halving(min_epochs=2)), "after 2 epochs,"),
        (pj.halving(min_epochs=4), None),
        (None, None),
    ],
    ids=["halving", "hyperband", "rounds", "later", "plain"],
)
def test_a_first_rung_within_the_warm_up_is_said_once_where_no_progress_is_shown(scheduler, said, capsys):
    space = SPACE.replace(warmup=3)
    read = lambda state, hparams, data: epoch(state + 0 * hparams["warmup"], hparams, data)
    pj.search(TASK._replace(epoch=read), space, trials=12, epochs=9, scheduler=scheduler)
    lines = [line for line in capsys.readouterr().err.splitlines() if "warmup" in line]
    assert len(lines) == (said is not None)
    for line in lines:
        assert line.startswith("popjax: warmup=3: the first rung, ")
        assert said in line
