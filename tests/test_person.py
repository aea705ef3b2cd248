"""A person steers a living search: what is asked for acts in the next decision, on the trials that it names alone.

`popjax.tuning.person`: what a page asks of a search, asked from a callback at the decision that a test chooses.
"""

import shutil
import threading

import numpy as np
import pytest
import stopping
from pages import text_of
from steering_task import EPOCHS, SPACE, TASK
from test_schedulers import FILES, Loop

import popjax as pj
from popjax.tuning.person import Change, Person, Steered

FILES = tuple(name for name in FILES if name != "decisions.jsonl")


class Scripted(Steered):
    """Asks for changes before the decision that comes after a number of decisions."""

    def __init__(self, script):
        self.person, self.script = Person(), script
        self.decisions, self.trials, self.answers = [], [], []

    def decision(self, decision, trials):
        for change in self.script.get(len(self.decisions), ()):
            self.answers.append((change, self.person.ask(change)))
        self.decisions.append(decision)
        self.trials.append(trials)


def search(script=None, out=None, **settings):
    """The results, and the page that steered."""
    page = Scripted(script or {})
    given = {
        "trials": 8,
        "epochs": EPOCHS,
        "seed": 2,
        "folds": 2,
        "rank": pj.best(keep=8),
        "out": out,
        "live": page,
        **settings,
    }
    return pj.search(TASK, SPACE, **given), page


def outcomes(page):
    """What became of each change: nothing, or why not."""
    return [str(error) if (error := answer.exception(0)) else None for _, answer in page.answers]


def alike():
    """Three trials of one shape, and one of another."""
    sizes = SPACE.sample(8, 2)["size"].tolist()
    same = [trial for trial in range(8) if sizes[trial] == sizes[0]]
    return *same[:3], next(trial for trial in range(8) if sizes[trial] != sizes[0])


A, B, C, OTHER = alike()
SCRIPT = {
    1: [Change("set", A, values={"rate": 0.3, "shift": 0.125})],
    3: [Change("clone", B, source=A), Change("set", B, values={"rate": 0.05}), Change("stop", C)],
    5: [Change("lift", C), Change("set", A, values={"rate": 0.02}), Change("clone", B, source=A)],
}


def test_a_steered_search_is_a_plain_loop(x64):
    """Set, clone, stop and lift, over two programs and two folds, as plain Python carries out what the log says."""
    results, page = search(SCRIPT)
    assert outcomes(page) == [None] * 7
    loop = Loop()
    for decision in page.decisions:
        loop.apply(decision)
        loop.train(decision.until)
    losses = np.array(loop.losses, float)
    np.testing.assert_allclose(results.members["loss"][:, :, 0], losses, rtol=1e-9)
    assert loop.epochs == [EPOCHS] * 8
    for name, column in results.points.items():
        assert column.tolist() == [values[name] for values in loop.points]
    assert results.points["rate"][[A, B]].tolist() == [0.02, 0.02]
    assert page.trials[6].epochs[[A, C]].tolist() == [6, 4]


def test_no_other_trial_changes_a_bit_and_the_records_name_the_steered(tmp_path):
    """Trials that are not named, and the others until then; the table, the page and a loaded run name the others."""
    (plain, _), (results, page) = search(), search(SCRIPT)
    named = [A, B, C]
    others = np.setdiff1d(np.arange(8), named)
    for name, values in plain.members.items():
        assert results.members[name][others].tobytes() == values[others].tobytes()
        assert results.members[name][A, ..., :2].tobytes() == values[A, ..., :2].tobytes()
        assert results.members[name][C].tobytes() == values[C].tobytes()  # which was stopped, and went on
        assert results.members[name][A, ..., 2:].tobytes() != values[A, ..., 2:].tobytes()
    assert np.flatnonzero(results.steered).tolist() == sorted(named)
    assert plain.steered is None
    assert "steered" not in plain.trials.column_names
    assert results.trials.column_names == [*plain.trials.column_names, "steered"]
    assert f"Steered by hand: trials {', '.join(map(str, sorted(named)))}." in text_of(
        results.report(tmp_path / "steered.html")
    )
    assert "teered" not in text_of(plain.report(tmp_path / "plain.html"))
    assert [decision.notes["by"] for decision in page.decisions if decision.notes] == ["user"] * 3


def test_a_steered_trial_is_replayed_to_the_last_bit():
    """Along the trials that it descends from."""
    results, _ = search(SCRIPT)
    assert results.history.lineage(B).tolist() == [A] * 6 + [B] * 2
    for trial in (A, B, C, OTHER):
        line = results.history.lineage(trial)
        for name, curve in results.replay(trial).items():
            assert curve.tobytes() == results.curves[name][line, np.arange(EPOCHS)].tobytes()


@pytest.mark.kill
def test_the_log_alone_gives_the_same_bytes_whenever_it_is_killed(python, tmp_path):
    """A run of which nothing is left but what was decided, killed at its commits, ends as the one that was steered."""
    search(SCRIPT, out=tmp_path / "steered")
    assert np.flatnonzero(pj.Results.load(tmp_path / "steered").steered).tolist() == sorted([A, B, C])
    (tmp_path / "run").mkdir()
    for name in ("run.json", "decisions.jsonl"):
        shutil.copy(tmp_path / "steered" / name, tmp_path / "run" / name)
    code = "from test_person import search; search(out=sys.argv[1], resume=True)"
    stopping.killed_often(python, code, (2, 4, 5))
    for name in (*FILES, "decisions.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "steered" / name).read_bytes(), name


def test_a_stop_holds_until_it_is_lifted(tmp_path):
    """Over the end of the run and its resume; lifted there, the trial ends with the bits of one never stopped."""
    results, _ = search({2: [Change("stop", C)]}, out=tmp_path / "run")
    assert results.trials["status"].to_pylist().count("stopped") == 1
    assert results.trials["epochs"].to_pylist()[C] == 3
    again, _ = search(out=tmp_path / "run", resume=True)
    assert again.trials["status"].to_pylist()[C] == "stopped"
    loaded = pj.Results.load(tmp_path / "run")
    assert loaded.trials["status"].to_pylist()[C] == "stopped"
    lifted, page = search({0: [Change("lift", C)]}, out=tmp_path / "run", resume=True)
    assert outcomes(page) == [None]
    plain, _ = search()
    assert lifted.members["loss"].tobytes() == plain.members["loss"].tobytes()
    assert lifted.trials["status"].to_pylist() == ["ok"] * 8


def test_stopping_the_last_trials_ends_the_search_which_may_be_resumed(tmp_path):
    results, page = search({2: [Change("stop", trial) for trial in range(8)]}, out=tmp_path / "run")
    assert outcomes(page) == [None] * 8
    assert results.trials["status"].to_pylist() == ["stopped"] * 8
    again, _ = search(out=tmp_path / "run", resume=True)
    assert again.trials["status"].to_pylist() == ["stopped"] * 8
    lifted, page = search({0: [Change("lift", trial) for trial in range(8)]}, out=tmp_path / "run", resume=True)
    assert outcomes(page) == [None] * 8
    assert lifted.members["loss"].tobytes() == search()[0].members["loss"].tobytes()


def test_it_works_beside_halving():
    """A stopped trial is left out of later rungs, a changed one trains on, a clone takes part in the next rung."""
    scheduler = pj.halving(min_epochs=2)
    plain, whole = search(scheduler=scheduler)
    best, second = plain.order[:2].tolist()
    source = next(trial for trial in np.flatnonzero(plain.done[:, 0] == 4).tolist() if trial in (A, B, C))
    target = next(trial for trial in (A, B, C) if plain.done[trial, 0] == 2)
    script = {
        0: [Change("stop", best)],
        1: [Change("clone", target, source=source)],
        3: [Change("set", second, values={"shift": 0.0})],
    }
    results, page = search(script, scheduler=scheduler)
    assert outcomes(page) == [None] * 3
    assert results.trials["status"].to_pylist()[best] == "stopped"
    assert results.done[best].max() == 1
    assert results.members["loss"][second, ..., :4].tobytes() == plain.members["loss"][second, ..., :4].tobytes()
    assert (results.members["loss"][second, ..., 4:] != plain.members["loss"][second, ..., 4:]).all()
    assert results.done[second].max() == EPOCHS
    assert results.history.lineage(target).tolist()[:4] == 2 * [source] + 2 * [target]
    assert min(results.done[target].max(), results.done[source].max()) >= 4, "plainly it ends with the first rung"
    rungs = [decision.notes["epoch"] for decision in page.decisions if decision.notes and "epoch" in decision.notes]
    assert rungs == [decision.notes["epoch"] for decision in whole.decisions if decision.notes]


def test_it_works_beside_population_based_training():
    results, page = search(
        {3: [Change("set", A, values={"rate": 0.25}), Change("stop", C)]}, scheduler=pj.pbt(warmup=2)
    )
    assert outcomes(page) == [None, None]
    assert results.history.values["rate"][A, 4] == 0.25
    assert results.done[C].max() == 4
    for decision in page.decisions[4:]:
        assert C not in {*decision.copy, *decision.copy.values(), *decision.until}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (Change("set", 8, values={"rate": 0.1}), "there is no trial 8; choose 0..7"),
        (Change("stop", -1), "there is no trial -1; choose 0..7"),
        (Change("stop", True), "there is no trial True"),
        (Change("set", A), "name a hyperparameter"),
        (Change("set", A, values={"size": 2}), "size fixes a shape or code"),
        (Change("set", A, values={"momentum": 0.9}), "momentum is no hyperparameter here"),
        (Change("set", A, values={"rate": "fast"}), "give a number"),
        (Change("set", A, values={"rate": float("nan")}), "rate"),
        (Change("clone", A, source=OTHER), "they differ in what fixes a shape"),
        (Change("clone", A, source=A), "choose another trial"),
        (Change("clone", A, source=8), "there is no trial 8"),
        (Change("clone", A), "there is no trial None"),
        (Change("lift", A), "is not stopped"),
        (Change("explode", A), "unknown verb 'explode'; there are set, clone, stop, lift"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line_and_changes_nothing(change, says):
    plain, _ = search()
    results, page = search({2: [change]})
    (refused,) = outcomes(page)
    assert says in refused
    assert "\n" not in refused
    assert results.members["loss"].tobytes() == plain.members["loss"].tobytes()
    assert results.steered is None


def test_a_trial_without_a_state_to_change_is_refused():
    """A trial that rests, one that was stopped twice, one at another epoch, and all of them when the search is over."""
    script = {1: [Change("stop", A)], 2: [Change("stop", A), Change("clone", A, source=B)], 7: [Change("stop", B)]}
    _, page = search(script)
    first, twice, behind, over = outcomes(page)
    assert first is None
    assert "is stopped already" in twice
    assert "copy one at the same epoch" in behind
    assert "the search is over" in over
    assert str(page.person.ask(Change("stop", B)).exception(0)) == over
    worst = int(np.argmax(pj.search(TASK, SPACE, trials=8, epochs=2, seed=2, folds=2).values["loss"]))
    _, page = search({2: [Change("set", worst, values={"rate": 0.1})]}, scheduler=pj.halving(min_epochs=2))
    assert "where its scheduler left it" in outcomes(page)[0]


def test_a_paused_search_waits_and_then_goes_on_with_what_was_asked_for_meanwhile():
    class Paused(Scripted):
        def decision(self, decision, trials):
            super().decision(decision, trials)
            if len(self.decisions) == 2:
                self.person.ask(Change("pause"))
                threading.Timer(0.5, self.go_on).start()

        def go_on(self):
            self.waited = len(self.decisions)
            self.script[2] = ()
            self.answers.append((None, self.person.ask(Change("stop", A))))
            self.person.ask(Change("resume"))

    page = Paused({})
    results = pj.search(TASK, SPACE, trials=8, epochs=EPOCHS, seed=2, folds=2, live=page)
    assert page.waited == 2
    assert outcomes(page) == [None]
    assert results.done[A].max() == 2


def test_a_paused_search_can_be_stopped():
    class Paused(Scripted):
        def decision(self, decision, trials):
            super().decision(decision, trials)
            self.person.ask(Change("pause"))
            threading.Timer(0.2, self.person.stop.set).start()

    results = pj.search(TASK, SPACE, trials=8, epochs=EPOCHS, seed=2, folds=2, live=Paused({}))
    assert results.done.max() == 1
    assert results.trials["status"].to_pylist() == ["stopped"] * 8


def test_a_steered_run_takes_no_more_epochs(tmp_path):
    """A trial changed on the way cannot be trained again from its first epoch on."""
    search(SCRIPT, out=tmp_path / "run")
    with pytest.raises(ValueError, match="it was steered by hand"):
        search(out=tmp_path / "run", resume=True, epochs=EPOCHS + 2)


def test_the_other_rounds_come_though_some_were_stopped():
    """A trial that rests does not hold back the round after its own, nor a sampler that learns."""
    results, page = search({2: [Change("stop", C)]}, trials=8, scheduler=pj.rounds(2))
    assert outcomes(page) == [None]
    assert (results.done.min((1, 2)) < EPOCHS).nonzero()[0].tolist() == [C]
    assert results.rounds.tolist() == [0] * 4 + [1] * 4


def test_it_works_beside_hyperband():
    """A clone of a trial of another bracket trains as far as its target would; a lifted one goes on with the others."""
    scheduler = pj.hyperband(reduction_factor=2, min_epochs=1)
    _, whole = search(scheduler=scheduler, trials=16, every=EPOCHS)
    goals = dict(whole.decisions[0].until)
    assert len(set(goals.values())) > 1
    far, near = max(goals, key=goals.get), min((t for t in goals if goals[t] > 1), key=goals.get)
    assert (goals[near], goals[far]) == (2, EPOCHS)
    sizes = SPACE.sample(16, 2)["size"]
    source = next(t for t in goals if goals[t] == goals[far] and t != far and sizes[t] == sizes[near])
    script = {0: [Change("clone", near, source=source), Change("stop", far)], 3: [Change("lift", far)]}
    results, page = search(script, scheduler=scheduler, trials=16)
    assert outcomes(page) == [None] * 3
    assert results.best is not None
    assert results.done[far].max() > 1
    assert page.trials[3].epochs[[near, source]].tolist() == [2, 3]


def test_a_run_begun_without_a_page_is_steered_on_resume(tmp_path):
    """Its one long decision is cut where it stands; no trial is shown twice, and the log alone gives the same bytes."""
    stop = threading.Event()
    stop.set()
    given = {"trials": 8, "epochs": EPOCHS, "seed": 2, "folds": 2, "rank": pj.best(keep=8)}
    stopping.search(TASK, SPACE, **given, out=tmp_path / "run", stop=stop)
    results, page = search({1: [Change("set", A, values={"rate": 0.25})]}, out=tmp_path / "run", resume=True)
    assert outcomes(page) == [None]
    assert results.points["rate"][A] == 0.25
    assert not page.decisions[0].add, "they are there already"
    assert len(page.decisions) > 3
    (tmp_path / "other").mkdir()
    for name in ("run.json", "decisions.jsonl"):
        shutil.copy(tmp_path / "run" / name, tmp_path / "other" / name)
    search(out=tmp_path / "other", resume=True)
    for name in FILES:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "other" / name).read_bytes(), name


def test_a_steered_search_tells_nothing_of_other_schedulers():
    results, _ = search(SCRIPT)
    with pytest.raises(ValueError, match="hyperparameters changed while these trials trained"):
        pj.simulate(pj.halving(), results)
