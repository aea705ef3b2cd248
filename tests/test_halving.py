"""Halving, Hyperband and batches beside a sampler that learns: plain loops say which trials go on, and what it costs.

Imports `popjax.tuning.proposals`, the registry in which the guide puts a sampler that learns, and `popjax.tuning.tpe`
for the trials that it compares.
"""

import dataclasses
import itertools
import math

import jax
import numpy as np
import pytest
import stopping
from conftest import compilations, refused, soaked
from scripted import NAN, Decisions, drawn, told

import popjax as pj
from popjax.tuning.proposals import LEARNING, Learning
from popjax.tuning.tpe import good_and_others

# One table of curves, and what plain Python makes of it


def rungs_of(epochs, factor, first):
    return [*itertools.takewhile(lambda rung: rung < epochs, (first * factor**i for i in range(99))), epochs]


def halved(trials, order, rungs, factor):
    """Trial -> the rung that it trains to; `order(trials, epoch)`: those of them that are alive, best first."""
    reached, going = dict.fromkeys(trials, rungs[0]), list(trials)
    for rung, following in itertools.pairwise(rungs):
        going = order(going, rung)[: math.ceil(len(going) / factor)]
        reached |= dict.fromkeys(going, following)
    return reached


def shared(trials, brackets, factor):
    """Trials in proportion to what each bracket costs, by largest remainders."""
    weights = [math.ceil(brackets / (s + 1) * factor**s) for s in reversed(range(brackets))]
    exact = [trials * weight / sum(weights) for weight in weights]
    counts = [int(share) for share in exact]
    for bracket in sorted(range(brackets), key=lambda b: counts[b] - exact[b])[: trials - sum(counts)]:
        counts[bracket] += 1
    return counts


def in_brackets(trials, order, rungs, factor, seed=0):
    """Hyperband by the letter: each bracket's trials are halved on their own, each from a later rung on."""
    counts = shared(len(trials), len(rungs), factor)
    brackets = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(rungs)), counts))
    parts = [np.flatnonzero(brackets == bracket).tolist() for bracket in range(len(rungs))]
    return {t: e for at, part in enumerate(parts) for t, e in halved(part, order, rungs[at:], factor).items()}


class Plain:
    """What counts after an epoch, and which trials come first by it, member by member."""

    def __init__(self, tables, rank):
        self.rank, self.tables = rank, {name: table.mean(1) for name, table in tables.items()}
        self.ends = np.isfinite(self.tables["val_loss"]).cumprod(1).sum(1)  # the first epoch that is not finite
        self.rests = np.full(len(self.ends), 10**9)
        if rank.at == "best":
            for trial, curve in enumerate(self.tables["val_loss"]):
                best = 0
                for epoch in range(self.ends[trial]):
                    best = epoch if curve[epoch] < curve[best] else best
                    if rank.patience and epoch - best == rank.patience:
                        self.rests[trial] = min(self.rests[trial], epoch + 1)
            self.tables["val_loss"] = np.fmin.accumulate(self.tables["val_loss"], 1)

    def key(self, trial, epoch):
        epoch = min(epoch, self.rests[trial])
        accuracy, loss, cost = (self.tables[name][trial, epoch - 1] for name in ("val_accuracy", "val_loss", "cost"))
        beyond = max(cost - 0.25, 0) if self.rank.subject_to else 0
        return beyond, -accuracy if self.rank.metric == "val_accuracy" else loss, loss, trial

    def order(self, trials, epoch):
        alive = [trial for trial in trials if self.ends[trial] >= min(epoch, self.rests[trial])]
        return sorted(alive, key=lambda trial: self.key(trial, epoch))

    def trained(self, reached):
        """Of each trial: a fold that diverges ends, and one that rests."""
        return [min(until, self.rests[trial]) for trial, until in sorted(reached.items())]

    def status(self, reached, epochs):
        """By what a trial was trained to."""
        for trial, until in sorted(reached.items()):
            until = min(until, self.rests[trial])
            complete = until in (epochs, self.rests[trial])
            yield "diverged" if self.ends[trial] < until else "ok" if complete else "pruned"


ACCURACY, LIMITED = pj.best("val_accuracy"), pj.best("val_loss", subject_to="cost <= 0.25")
CASES = {
    "as documented": (ACCURACY, {"trials": 50, "epochs": 20}, 2, 2),
    "thirds": (ACCURACY, {"trials": 60, "epochs": 20}, 3, 1),
    "fifths of two folds": (ACCURACY, {"trials": 24, "epochs": 12, "folds": 2}, 5, 2),
    "ties": (ACCURACY, {"trials": 40, "epochs": 16, "levels": 3, "dead": 0}, 2, 2),
    "hardly one lives": (ACCURACY, {"trials": 40, "epochs": 9, "dead": 0.9}, 3, 1),
    "none lives": (ACCURACY, {"trials": 30, "epochs": 8, "dead": 1.0}, 2, 1),
    "one trial": (ACCURACY, {"trials": 1, "epochs": 9, "dead": 0}, 2, 1),
    "more rungs than trials": (ACCURACY, {"trials": 3, "epochs": 64}, 2, 1),
    "one epoch": (ACCURACY, {"trials": 7, "epochs": 1}, 2, 1),
    "one rung": (ACCURACY, {"trials": 30, "epochs": 5}, 2, 5),
    "the paper's": (ACCURACY, {"trials": 143, "epochs": 81}, 3, 1),
    "within limits": (LIMITED, {"trials": 50, "epochs": 12, "levels": 16}, 2, 1),
    "best epochs": (pj.best("val_loss", at="best"), {"trials": 40, "epochs": 16, "levels": 32}, 2, 2),
    "patience": (pj.best("val_loss", at="best", patience=1), {"trials": 40, "epochs": 16, "levels": 32}, 2, 2),
    "much patience": (pj.best("val_loss", at="best", patience=5), {"trials": 40, "epochs": 16, "dead": 0}, 3, 1),
}


@pytest.mark.parametrize("name", CASES)
def test_the_trials_that_go_on_are_those_of_a_plain_loop_and_of_a_simulation(name):
    """Also who wins, what is spent, and that a pruned curve is the beginning of the whole one."""
    rank, sizes, factor, first = CASES[name]
    tables, epochs = drawn(len(name), **sizes), sizes["epochs"]
    whole, plain = told(tables, rank), Plain(tables, rank)
    deciders = {pj.halving(factor, first): halved, pj.hyperband(factor, first): in_brackets}
    for scheduler, loop in deciders.items():
        reached = loop(list(range(sizes["trials"])), plain.order, rungs_of(epochs, factor, first), factor)
        real, would = told(tables, rank, scheduler=scheduler), pj.simulate(scheduler, whole)
        asked = np.minimum(plain.trained(reached), epochs)[:, None, None]
        for results in (real, would.results):
            for metric, values in results.members.items():
                expected = np.where(np.arange(epochs) < asked, tables[metric], NAN)
                assert values[:, :, 0].tobytes() == expected.astype(values.dtype).tobytes()
            status = list(plain.status(reached, epochs))
            assert results.trials["status"].to_pylist() == status
            fit = [trial for trial in plain.order(range(sizes["trials"]), epochs) if status[trial] == "ok"]
            assert results.order.tolist() == fit
            assert (None if results.best is None else results.best.trial) == (fit[0] if fit else None)
        assert would.best == (fit[0] if fit else None)
        assert would.spent == real.trained.sum() == asked.sum() * sizes.get("folds", 1)


def test_a_subset_is_simulated_as_its_own_search():
    """In the order in which it is given, by the records of these trials."""
    tables = drawn(3, 60, 16)
    rows = np.random.default_rng(1).permutation(60)[:20]
    would = pj.simulate(pj.halving(), told(tables, ACCURACY), rows)
    plain = Plain({name: table[rows] for name, table in tables.items()}, ACCURACY)
    assert would.rows.tolist() == rows.tolist()
    assert would.epochs.tolist() == list(halved(range(20), plain.order, rungs_of(16, 2, 2), 2).values())
    assert would.best == rows[would.results.best.trial]


# Trained models


SPACE = pj.Space(rate=pj.log_uniform(0.01, 3), size=pj.choice(2, 3, static=True))


def epoch(state, hparams, data):
    x = state - hparams["rate"] * 2 * (state - data[hparams.get("fold", 0)])
    far = abs(x - data[hparams.get("fold", 0)]).sum()
    return x, {"val_accuracy": 1 / (1 + far), "val_loss": far**2}


def start(key, hparams, data):
    return jax.random.normal(key, (hparams["size"],))


TASK = pj.Task(start, epoch, np.array([0.1, -0.4, 0.3]), metric="val_accuracy", mode="max")


def search(trials=40, epochs=11, **settings):
    return stopping.search(TASK, SPACE, trials=trials, epochs=epochs, **settings)


def median_stopping(problem):
    """The median stopping rule (Golovin et al. 2017): a trial behind the median of the others' curves is pruned."""

    def step(epoch, trials):
        if epoch == 0:
            return 1, pj.Decision(add=problem.propose(problem.trials), until=dict.fromkeys(range(problem.trials), 1))
        here = np.flatnonzero((trials.epochs == epoch) & np.isfinite(trials.loss))
        if epoch == problem.epochs or not len(here):
            return epoch, pj.Decision()
        better = here[trials.loss[here] <= np.median(trials.loss[here])].tolist()
        return epoch + 1, pj.Decision(until=dict.fromkeys(better, epoch + 1))

    return pj.Scheduler(lambda: 0, step)


SETTINGS = [{}, {"backend": pj.Local(4, "buckets")}, {"folds": 3, "repeats": 2, "every": 1}, {"seed": 5, "trials": 13}]


@pytest.mark.parametrize("settings", soaked(SETTINGS, quick=3), ids=str)
@pytest.mark.parametrize("scheduler", [pj.halving(), pj.hyperband(), median_stopping])
def test_a_pruned_trial_has_the_bits_of_the_beginning_of_the_whole_one(scheduler, settings, tmp_path):
    """In any company and on any lanes; a simulation and the directory say the same of it."""
    whole, results = search(**settings), search(scheduler=scheduler, out=tmp_path / "run", **settings)
    would = pj.simulate(scheduler, whole)
    assert results.done[:, 0, 0].tolist() == would.epochs.tolist()
    assert would.spent == results.done.sum() < whole.done.sum()
    for name, values in whole.members.items():
        for trial, end in enumerate(would.epochs.tolist()):
            assert values[trial, ..., :end].tobytes() == results.members[name][trial, ..., :end].tobytes()
            assert np.isnan(results.members[name][trial, ..., end:]).all()
    for other in (would.results, pj.Results.load(tmp_path / "run")):
        assert other.trials["status"].to_pylist() == results.trials["status"].to_pylist()
        assert other.order.tolist() == results.order.tolist()


def test_rounds_of_an_inner_scheduler():
    """Each round prunes its own trials; the later one searches around the best of the earlier, pruned ones too."""
    plainly, halves = search(scheduler=pj.rounds(2)), search(scheduler="rounds(2, halving)")
    same = search(scheduler=pj.rounds(2, inner=pj.halving()))
    assert halves.done.tobytes() == same.done.tobytes()
    assert plainly.points["rate"][:20].tolist() == halves.points["rate"][:20].tolist()
    for number in (0, 1):
        assert sorted(halves.done[halves.rounds == number, 0, 0].tolist()) == [2] * 10 + [4] * 5 + [8] * 2 + [11] * 3
    first, second = (halves.points["rate"][halves.rounds == number] for number in (0, 1))
    reached = np.lexsort((-halves.values["val_accuracy"][:20], -halves.done[:20, 0, 0]))
    best = first[[trial for trial in reached if not halves.diverged[trial]][:5]]
    assert best.min() / second.min() < 1.5 > second.max() / best.max()


# What is said


def deciding(*decisions):
    """A scheduler of these decisions."""
    return lambda problem: pj.Scheduler(lambda: 0, lambda number, trials: (number + 1, decisions[number]))


def test_what_cannot_be_simulated_is_refused():
    tables = drawn(0, 12, 11, dead=0)
    whole, pruned = told(tables, ACCURACY), told(tables, ACCURACY, scheduler="halving")
    patient = lambda patience: pj.best("val_loss", at="best", patience=patience)
    rested = dataclasses.replace(told(tables, patient(3)), rule=patient(4))
    begin = pj.Decision(add=whole.points, until=dict.fromkeys(range(12), 2))
    then = lambda **decision: deciding(begin, pj.Decision(**decision))
    for scheduler, results, subset, *says in [
        (pj.halving(), pruned, None, "trained to the end"),
        (pj.halving(), rested, None, "patience=3", "would rest otherwise"),
        (pj.halving(), whole, [0, 12], "no trial 12"),
        (pj.halving(), whole, [1, 1], "different trial numbers"),
        (pj.rounds(2), whole, None, "another space"),
        (then(copy={1: 0}), whole, None, "copies or changes"),
        (then(set={1: {"row": 1}}), whole, None, "copies or changes"),
        (then(until={12: 4}), whole, None, "no trial 12", "0..11"),
        (then(until={0: 12}), whole, None, "trial 0 ends at epoch 11", "at most 11"),
        (then(until={0: 1}), whole, None, "trial 0 is at epoch 2", "later"),
        (then(add=whole.points), whole, None, "other than the recorded ones"),
        (pj.halving(), search(trials=40, scheduler=pj.rounds(2)), None, "later rounds", "one round"),
        (pj.halving(), search(trials=80, sampler="tpe"), None, "later rounds"),
        (pj.halving(), search(trials=8, scheduler="pbt"), None, "changed", "where none did"),
    ]:
        with refused(*says):
            pj.simulate(scheduler, results, subset)


TEXTS = {  # what is written -> what is recorded, or what the line about it names
    "halving": "halving(reduction_factor=2, min_epochs=2)",
    "halving(3, 1)": "halving(reduction_factor=3, min_epochs=1)",
    "rounds(2, inner=hyperband(2))": "hyperband(reduction_factor=2, min_epochs=1)",
    "pbt(2)": "pbt(interval=2, quantile=0.2, resample=0.25, factors=(0.8, 1.2), warmup=2)",
    "halfing": ("unknown scheduler 'halfing'", "halving, hyperband, pbt, rounds"),
    "halving(1)": ("reduction_factor=1", "at least 2"),
    "halving(min_epochs=0)": ("min_epochs=0", "at least 1"),
    "halving(2.5)": ("reduction_factor=2.5", "whole number"),
    "halving(min_epochs=30)": ("min_epochs=30", "the last epoch is 4"),
    "halving(speed=3)": ("speed", "argument"),
    "rounds(50)": ("rounds=50", "40 trials"),
    "halving(open('x'))": ("unknown scheduler 'open'",),
    **dict.fromkeys(["halving(", "__import__('os').getcwd()", "1 + 1", "", "\0", "(" * 999], ("write a name",)),
    "halving(**{})": ("halving",),
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_schedulers_text_is_read_and_never_evaluated(text):
    objective = pj.Task(lambda key, h, data: h["x"], lambda x, h, data: (x, {"loss": x}), ())
    run = lambda text: pj.search(objective, {"x": pj.uniform(0, 1)}, trials=40, epochs=4, scheduler=text).run
    if isinstance(TEXTS[text], str):
        assert run(text)["scheduler"] == run(TEXTS[text])["scheduler"] == TEXTS[text]
    else:
        with refused(*TEXTS[text]):
            run(text)


@pytest.mark.parametrize("scheduler", [f"halving(min_epochs={n})" for n in (1, 30)])
def test_the_command_tells_its_rungs_or_refuses_them(command, refused_in_one_line, tmp_path, scheduler):
    """Also that a first rung while all warm up compares little."""
    asked = ("--dataset", "wine", "--trials", 20, "--epochs", 8, "--out", "run", "--scheduler", scheduler)
    if "30" in scheduler:
        refused_in_one_line("sweep", *asked, says=["min_epochs=30", "the last epoch is 8"])
        return
    done = command("sweep", *asked, *(f"--set={one}" for one in ("warmup=3", "hidden=8", "depth=1")))
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert "rung 1 of 4: 20 of 20 trials to epoch 1" in lines
    assert "rung 4 of 4: 3 of 5 trials to epoch 8" in lines
    assert [line for line in lines if line.startswith("warmup=3: the first rung, after 1 epoch, compares models")]


FIRST_RUNGS = {
    "after 1 epoch,": [pj.halving(min_epochs=1), pj.hyperband()],
    "after 2 epochs,": [pj.rounds(2, pj.halving(min_epochs=2))],
    None: [pj.halving(min_epochs=4), None],
}


@pytest.mark.parametrize(("said", "schedulers"), FIRST_RUNGS.items())
def test_a_first_rung_within_the_warm_up_is_said_once_where_no_progress_is_shown(said, schedulers, capsys):
    read = lambda state, hparams, data: epoch(state + 0 * hparams["warmup"], hparams, data)
    for scheduler in schedulers:
        task, space = TASK._replace(epoch=read), SPACE.replace(warmup=3)
        pj.search(task, space, trials=12, epochs=9, scheduler=scheduler)
        lines = [line for line in capsys.readouterr().err.splitlines() if "warmup" in line]
        assert len(lines) == (said is not None)
        assert all("warmup=3" in line and said in line for line in lines)


def test_where_all_diverge_none_is_said_to_have_been_stopped():
    results = told(np.full((6, 4), NAN), scheduler=pj.halving())
    assert results.best is None
    assert "all 6 trials diverged" in results.no_winner


# Batches beside a sampler that learns


RATES = pj.Space(rate=pj.log_uniform(1e-3, 1.5), shift=pj.uniform(-1, 1))


def nears(x, hparams, data):
    return x - hparams["rate"] * (x - hparams["shift"]), {"loss": abs(x - 0.3)}


def in_batches(task=None, **settings):
    asked = {"trials": 96, "epochs": 12, "seed": 2, "sampler": "tpe", "scheduler": "halving"}
    return pj.search(task or pj.Task(lambda key, hparams, data: 1.0, nears, ()), RATES, **asked | settings)


def going_on(epochs, curve, rungs, factor):
    """Trial -> next rung by a plain loop: the best share of all that ever reached a rung, those that wait there."""
    found = {}
    for rung, following in itertools.pairwise(rungs):
        reached = [trial for trial in range(len(epochs)) if epochs[trial] >= rung]
        alive = [trial for trial in reached if np.isfinite(curve[trial, : epochs[trial]]).all()]
        alive.sort(key=lambda trial: (curve[trial, rung - 1], trial))
        best = alive[: math.ceil(len(reached) / factor)]
        found |= {trial: following for trial in best if epochs[trial] == rung}
    return found


@pytest.mark.parametrize(("factor", "first"), [(2, 2), (3, 1)])
def test_a_batch_is_proposed_from_all_that_is_known_while_a_plain_loops_trials_go_on(factor, first, monkeypatch):
    """Also later than they arrived, and among all so far."""
    known = []

    def spy(seed, n, trials, space, epochs):
        known.append((n, trials.epochs.tolist()))
        return {name: np.random.default_rng(seed).random(n) for name in space.searched}

    monkeypatch.setitem(LEARNING, "spy", Learning(spy))
    decisions, rungs = Decisions(), rungs_of(12, factor, first)
    results = in_batches(scheduler=pj.halving(factor, first), sampler="spy", callbacks=[decisions])
    batches, later = [], []
    for trials, decision in decisions.seen:
        count = len(trials.epochs)
        expected = going_on(trials.epochs, trials.curves["loss"], rungs, factor) if count else {}
        new = [trial for trial in decision.until if trial >= count]
        assert decision.until == expected | dict.fromkeys(new, rungs[0])
        batches.extend([(len(new), trials.epochs.tolist())] if new else [])
        last = count - batches[-1][0] if batches else 0
        later.extend(trial for trial in expected if trial < last and trials.epochs[trial] == rungs[0])
    assert known[::2] == known[1::2] == batches[1:], "each answer is checked by a second"
    assert sum(size for size, _ in batches) == len(results.trials) == 96
    assert np.bincount(results.rounds).tolist() == [size for size, _ in batches]
    assert all(len({*epochs}) > 1 for _, epochs in batches[2:]), "some were on their way to the end"
    assert later, "a trial went on since worse ones came"
    assert going_on(results.done[:, 0, 0], results.curves["loss"], rungs, factor) == {}


def test_more_trials_are_further_batches(tmp_path):
    """A run that has ended goes on: what it trained stays, and what it left may still go on."""
    first = in_batches(out=tmp_path / "run")
    more = in_batches(trials=150, out=tmp_path / "run", resume=True)
    assert more.run["rounds_in_all"] > first.run["rounds_in_all"]
    for name, column in first.points.items():
        assert more.points[name][:96].tolist() == column.tolist()
    assert (more.done[:96] >= first.done).all()
    assert going_on(more.done[:, 0, 0], more.curves["loss"], (2, 4, 8, 12), 2) == {}


def test_rounds_that_are_asked_for_come_one_after_another():
    results = in_batches(scheduler=pj.rounds(4, pj.halving()))
    for number in range(4):
        done = sorted(results.done[results.rounds == number, 0, 0].tolist())
        assert done == [2] * 12 + [4] * 6 + [8] * 3 + [12] * 3


def test_a_cut_among_equal_trials_is_said_once(capsys):
    equal = lambda x, hparams, data: (x, {"loss": x + 0 * hparams["rate"] + 0 * hparams["shift"]})
    in_batches(pj.Task(lambda key, hparams, data: 1.0, equal, ()))
    assert capsys.readouterr().err.count("the cut falls among them by their numbers") == 1


def test_batches_compile_nothing(nothing_compiled):
    with compilations() as few:
        in_batches(trials=48)
    with compilations() as more:
        in_batches(trials=192)
    assert sum("epoch" in name for name in few) == 1
    assert sum("epoch" in name for name in more) <= 1, "for other lanes"


def compared(epochs, curve, feasible=None):
    """The good ones of trials with these epochs and losses, and the others."""
    epochs, curve = np.array(epochs), np.array(curve)
    loss = curve[np.arange(len(epochs)), epochs - 1]
    return good_and_others(pj.Trials({}, epochs, loss, {"loss": curve}, feasible=feasible), 0, pj.best("loss"))


def test_trials_are_compared_after_the_epoch_that_enough_have_reached():
    """One that was left before it is neither good nor bad; a diverged one is bad, and so is an infeasible one."""
    enough, count = 32, 64
    epochs = np.where(np.arange(count) < enough + 2, 4, 2)
    epochs[:3] = 8
    curve = np.tile(np.linspace(1, 2, count)[:, None], 8)
    curve[:, 3] = curve[::-1, 3]  # after epoch 4 it is the other way round
    curve[5, 3:] = np.inf
    good, others = compared(epochs, curve)
    assert good.tolist() == list(range(enough + 2 - 4, enough + 2))
    assert others.tolist() == list(range(enough + 2 - 4))
    few = enough - 2
    assert compared(epochs[:few], curve[:few])[0].tolist() == [0, 1, 2], "the furthest"
    feasible = np.isin(np.arange(few), [3, 4, 20])
    assert compared(epochs[:few], curve[:few], feasible)[0].tolist() == [3, 4, 20], "before complete ones"
