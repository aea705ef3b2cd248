"""Several objectives: fronts and hypervolume against brute force, what ranks, and what a run shows of it."""

import json

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import popjax as pj
from popjax.rules.named_rules import read_rule
from popjax.rules.pareto import contributions, fronts_of


def dominates(one, other):
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(a < b for a, b in zip(one, other, strict=True))


def brute_fronts(losses):
    """Front numbers, one pair of rows after the other."""
    left, found = set(range(len(losses))), {}
    while left:
        front = {row for row in left if not any(dominates(losses[other], losses[row]) for other in left)}
        found |= dict.fromkeys(front, len(set(found.values())))
        left -= front
    return [found[row] for row in range(len(losses))]


def brute_volume(losses, worst):
    """The cells of the grid through all coordinates that some point dominates."""
    grids = [np.unique([*losses[:, axis][losses[:, axis] < w], w]) for axis, w in enumerate(worst)]
    total = 0.0
    for cell in np.ndindex(*[len(grid) - 1 for grid in grids]):
        low = [grid[place] for grid, place in zip(grids, cell, strict=True)]
        size = np.prod([grid[place + 1] - grid[place] for grid, place in zip(grids, cell, strict=True)])
        total += size * any((point <= low).all() for point in losses)
    return total


@pytest.mark.parametrize("objectives", [2, 3, 4])
@pytest.mark.parametrize("levels", [4, 10**6], ids=["ties", "no ties"])
def test_fronts_and_what_points_add_to_the_hypervolume_equal_brute_force(objectives, levels):
    rng = np.random.default_rng(objectives)
    for count in (1, 2, 9):
        losses = np.floor(rng.random((count, objectives)) * levels) / levels
        worst = losses.max(0) + rng.choice([0, 0.5])
        assert fronts_of(losses).tolist() == brute_fronts(losses.tolist())
        whole = brute_volume(losses, worst)
        without = [brute_volume(np.delete(losses, row, 0), worst) for row in range(count)]
        assert contributions(losses, worst) == pytest.approx([whole - left for left in without], abs=1e-12)


@pytest.mark.soak
def test_a_hundred_thousand_trials_are_ordered():
    """Also where all are one front: neither memory nor time grows as their square."""
    first = np.random.default_rng(0).permutation(100_000) / 100_000
    with pytest.raises(ValueError, match="parameters is no metric but what a trial costs; rank by a metric first"):
        pj.best("parameters", "min")
    rule = pj.pareto("val_loss", "parameters")
    order = rule.order({"val_loss": first, "parameters": 1 - first})
    assert sorted(order.tolist()) == list(range(100_000))
    assert order[:2].tolist() == [first.argmin(), first.argmax()], "the best in either objective"
    lost = rule.order({"val_loss": first, "parameters": first})
    assert lost.tolist() == np.argsort(first).tolist()


def test_a_diverged_trial_is_behind_all_and_changes_no_reference():
    rule = pj.pareto("val_loss", "parameters")
    values = {"val_loss": np.array([0.3, np.nan, 0.1, 0.2]), "parameters": np.array([1, 1000, 9, 5])}
    assert rule.order(values)[-1] == 1
    alive = {name: column[[0, 2, 3]] for name, column in values.items()}
    assert rule.order(values)[:3].tolist() == np.array([0, 2, 3])[rule.order(alive)].tolist()


SPACE = {"learning_rate": pj.log_uniform(1e-3, 0.3), "hidden": pj.integers(2, 60), "batch_size": pj.choice(16, 32)}
ASKED = {"trials": 30, "epochs": 4, "seed": 1}


def test_the_winner_is_the_fronts_best_in_the_first_objective(rows, tmp_path):
    task = pj.supervised(rows)
    columns = rows[0].shape[1]
    results = pj.search(
        task, SPACE | {"depth": 2}, **ASKED, rank=pj.pareto("val_loss", "parameters"), out=tmp_path / "run"
    )
    width = results.points["hidden"]
    assert results.parameters.tolist() == ((columns + 1) * width + (width + 1) * width + (width + 1) * 3).tolist()
    pairs = np.stack([results.values["val_loss"], results.parameters], 1)[results.order]
    front = [
        t for t, pair in zip(results.order.tolist(), pairs, strict=True) if not any(dominates(o, pair) for o in pairs)
    ]
    assert results.front() == sorted(front, key=lambda trial: results.values["val_loss"][trial])
    assert results.best.trial == results.front()[0] == int(np.nanargmin(results.values["val_loss"]))
    assert set(results.order[: len(front)].tolist()) == set(front)
    loaded = pj.Results.load(tmp_path / "run")
    assert loaded.rule == results.rule
    assert loaded.order.tolist() == results.order.tolist()
    assert loaded.front() == results.front()
    assert pj.load_best(tmp_path / "run").hparams == results.best.hparams
    plain = pj.search(task, SPACE | {"depth": 2}, **ASKED)
    assert plain.curves["val_loss"].tobytes() == results.curves["val_loss"].tobytes()


def test_the_page_draws_the_front(rows, browser, tmp_path):
    """All finished trials, the front as a line from cheap to dear, and what they were trained with at the pointer."""
    rule = pj.pareto("val_loss", "parameters", "val_accuracy")
    results = pj.search(pj.supervised(rows), SPACE, **ASKED, rank=rule, out=tmp_path / "run")
    page = browser.new_page()
    page.goto((tmp_path / "run" / "report.html").as_uri())
    page.wait_for_selector("body[data-drawn]", state="attached")
    for name, other in (("front", results.parameters), ("front-1", results.values["val_accuracy"])):
        drawn = page.evaluate(f"document.querySelector('#{name}').data.map(one => [one.x, one.y])")
        trials, front, winner, in_hand = drawn
        assert in_hand == [[], []]
        assert len(trials[0]) == len(results.order)
        assert front[0] == sorted(front[0])
        assert sorted(front[0]) == pytest.approx(sorted(other[results.front()]), rel=1e-4)
        assert winner == [
            [pytest.approx(other[results.best.trial], rel=1e-4)],
            [pytest.approx(results.best.value, rel=1e-4)],
        ]
    told = page.evaluate("document.querySelector('#front').data[1].customdata.map(one => one[1])")
    assert all("learning_rate" in text and "hidden" in text for text in told)
    assert results.plot("front").data[1].x == pytest.approx(sorted(results.parameters[results.front()]), rel=1e-4)
    page.close()


def test_a_rule_given_to_a_loaded_run_has_its_settings(tmp_path):
    cost = lambda key, hparams: {"loss": hparams["x"], "error": 1 - hparams["x"], "other": hparams["x"] ** 2}
    space = {"x": pj.uniform(0, 1)}
    pj.search(pj.objective(cost), space, trials=8, rank=pj.pareto("loss", "error"), out=tmp_path / "run")
    again = pj.Results.load(tmp_path / "run", rank=pj.pareto("loss", "error"))
    assert again.best == pj.Results.load(tmp_path / "run").best
    with pytest.raises(ValueError, match=r"rank has others=\['other'\], the run others=\['error'\]; give the run's"):
        pj.Results.load(tmp_path / "run", rank=pj.pareto("loss", "other"))


def test_halving_lets_the_front_go_on(rows):
    """What a scheduler sees is the place in the order, by the values at its rung and the costs."""
    rule = pj.pareto("val_loss", "parameters")
    seen = []

    class Look(pj.Callback):
        def decision(self, decision, trials):
            seen.append(trials)

    task = pj.supervised(rows)
    halved = pj.halving(min_epochs=2)
    results = pj.search(task, SPACE, **ASKED, rank=rule, scheduler=halved, callbacks=[Look()])
    first = next(trials for trials in seen if len(trials.epochs) and (trials.epochs == 2).all())
    values = {"val_loss": first.curves["val_loss"][:, 1], "parameters": results.parameters}
    fit = np.isfinite(values["val_loss"])
    order = np.flatnonzero(fit)[rule.order({name: column[fit] for name, column in values.items()})]
    assert first.loss[order].tolist() == list(range(len(order)))
    assert set(np.flatnonzero(results.done[:, 0, 0] > 2).tolist()) == set(order[:15].tolist())
    assert order[0] == first.curves["val_loss"][:, 1].argmin(), "which would win now is not pruned"
    full = pj.search(task, SPACE, **ASKED, rank=rule)
    assert pj.simulate(halved, full).results.done.tolist() == results.done.tolist()


def test_a_copy_has_the_costs_of_its_source(rows):
    """A copied trial has its source's width, and so its number of parameters."""
    rule = pj.pareto("val_loss", "parameters")
    results = pj.search(pj.supervised(rows), SPACE | {"depth": 2}, trials=20, epochs=9, rank=rule, scheduler="pbt")
    width, columns = results.points["hidden"], rows[0].shape[1]
    assert (results.history.values["hidden"][:, 0] != width).any()
    assert results.parameters.tolist() == ((columns + 1) * width + (width + 1) * width + (width + 1) * 3).tolist()


def test_a_finished_run_is_ranked_by_several_metrics(rows, tmp_path):
    """Without training: metrics are there, costs where the run has them."""
    results = pj.search(pj.supervised(rows), SPACE, **ASKED)
    again = results.ranked(pj.pareto("val_loss", "val_accuracy"))
    there = pj.search(pj.supervised(rows), SPACE, **ASKED, rank=pj.pareto("val_loss", "val_accuracy"))
    assert again.order.tolist() == there.order.tolist()
    assert again.front() == there.front()
    with pytest.raises(ValueError, match=r"pareto: the run does not know the flops of its trials; search with rank="):
        results.ranked(pj.pareto("val_loss", "flops"))
    best = results.values[results.metric] == results.best.value
    assert results.front() == [trial for trial in results.order.tolist() if best[trial]]  # of one objective


def test_flops_count_and_a_task_that_does_not_tell_them_is_said(rows):
    results = pj.search(pj.supervised(rows), SPACE, **ASKED, rank=pj.pareto("val_loss", "flops"))
    wide = np.argsort(results.points["hidden"], kind="stable")
    same = results.points["batch_size"][wide] == 16
    assert (np.diff(results.costs["flops"][wide[same]]) >= 0).all()
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"]})
    with pytest.raises(ValueError, match="rank by flops: the task does not define them"):
        pj.search(task, {"x": pj.uniform(0, 1)}, trials=4, rank=pj.pareto("loss", "flops"))


def test_a_rule_is_written_as_the_call_that_makes_it():
    """So that the report's code runs, and a message names what to write."""
    rules = [pj.best(), pj.best("val_loss", keep=3), pj.best("speed", "max"), pj.one_se("val_mse"), pj.together(4)]
    rules += [pj.best(at="best"), pj.one_se("val_loss", at="best", patience=3), pj.together(method="greedy")]
    rules += [pj.pareto(), pj.pareto("val_loss", "flops", keep=2), pj.pareto("val_loss", "val_f1", "parameters")]
    for rule in rules:
        assert eval(repr(rule), vars(pj) | {name: getattr(pj, name) for name in pj.__all__}) == rule
        again = read_rule(json.loads(json.dumps(rule.written())))
        assert (again, again.written()) == (rule, rule.written())
    measured = pj.pareto(pj.Metric("speed", "max", "m/s"), pj.Metric("val_loss", unit="nat"), "parameters")
    assert [one.unit for one in read_rule(measured.written()).objectives] == ["m/s", "nat", ""]
    with pytest.raises(ValueError, match="metric 3 is a int; give a name such as 'val_loss'"):
        pj.best(3)


@pytest.mark.parametrize(
    ("objectives", "says"),
    [
        (("val_loss",), "one objective alone"),
        (("parameters", "val_loss"), "'val_loss'"),
        (("val_loss", "speed"), "speed"),
    ],
)
def test_what_is_no_front_is_said(rows, objectives, says):
    with pytest.raises(ValueError, match=says):
        pj.search(pj.supervised(rows), SPACE, trials=2, epochs=1, rank=pj.pareto(*objectives))


def test_the_command_ranks_by_several(command, tmp_path):
    arguments = ["--dataset", "wine", "--trials", 12, "--epochs", 3, "--choose", "pareto", "--out", "run"]
    process = command("sweep", *arguments, "--metric", "val_loss,parameters")
    assert process.returncode == 0, process.stderr
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["rank"] == {
        "rule": "pareto",
        "metric": "val_loss",
        "mode": "min",
        "keep": 25,
        "at": "last",
        "patience": None,
        "others": ["parameters"],
    }
    results = pj.Results.load(tmp_path / "run")
    assert results.best.trial == results.front()[0] == results.order[0]
    assert "(the front's best in val_loss, of 12, so optimistic)" in process.stdout
    resumed = command("sweep", *arguments, "--metric", "val_loss,flops", "--resume")
    assert resumed.returncode == 2
    assert "rank: others was ['parameters'], now ['flops']" in resumed.stderr


def test_the_modes_of_all_objectives_are_kept(tmp_path):
    """A run knows them when it is loaded, and is not resumed with the opposite ones."""
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"], "speed": hparams["x"] ** 2})
    space = {"x": pj.uniform(0, 1)}
    rule = pj.pareto("loss", pj.Metric("speed", "max"))
    results = pj.search(task, space, trials=8, rank=rule, out=tmp_path / "run")
    assert repr(rule) == "pareto('loss', Metric('speed', 'max'))"
    loaded = pj.Results.load(tmp_path / "run")
    assert [one.mode for one in loaded.rule.objectives] == ["min", "max"]
    assert loaded.order.tolist() == results.order.tolist()
    other = pj.pareto("loss", pj.Metric("speed", "min"))
    with pytest.raises(ValueError, match=r"cannot be resumed so: .*rank"):
        pj.search(task, space, trials=8, rank=other, out=tmp_path / "run", resume=True)
    assert results.ranked(other).order.tolist() != results.order.tolist()


def test_the_limits_of_a_run_are_not_forgotten_when_it_is_loaded(tmp_path, rows):
    space = {"hidden": pj.integers(2, 9), "learning_rate": 0.1}
    pj.search(
        pj.supervised(rows), space, trials=4, epochs=1, rank=pj.best(subject_to="parameters <= 60"), out=tmp_path / "a"
    )
    with pytest.raises(ValueError, match=r"rank has subject_to=None, the run subject_to=\['parameters <= 60'\]"):
        pj.Results.load(tmp_path / "a", rank=pj.best())
    pj.search(pj.supervised(rows), space, trials=4, epochs=1, repeats=2, out=tmp_path / "b")
    with pytest.raises(ValueError, match="the run does not know the parameters of its trials"):
        pj.Results.load(tmp_path / "b", rank=pj.one_se())


def test_a_cut_that_sizes_decide_is_no_tie():
    """Trials of the same value but of different costs are not equal."""
    task = pj.Task(
        lambda key, h, data: jnp.zeros(192),
        lambda x, h, data: (x, {"accuracy": x[0] + 0 * h["hidden"]}),
        (),
        hints=pj.Hints(parameters=lambda h: 3 * h["hidden"]),
    )
    said = []

    class Listening(pj.Callback):
        def decision(self, decision, trials):
            said.extend(decision.notes.get("notes", []) if decision.notes else [])

    asked = {"space": {"hidden": pj.integers(1, 64)}, "trials": 8, "epochs": 8, "scheduler": pj.halving()}
    results = pj.search(task, **asked, rank=pj.pareto("accuracy", "parameters"), callbacks=[Listening()])
    assert len(set(results.points["hidden"].tolist())) == 8
    assert not [line for line in said if "equal" in line]
    pj.search(task, **asked, rank=pj.best("accuracy"), callbacks=[Listening()])
    assert [line for line in said if "equal" in line]


def optimized(optimizer, nested=True, hints=None):
    """A task whose state is a network of `width` and an optimizer's moments; `init` reads a traced number, too."""

    def init(key, hparams, data):
        weights = {"a": jnp.zeros((8, hparams["width"])), "b": jnp.zeros(hparams["width"])}
        start = hparams["x"].astype(jnp.float32)  # a 0-d array, wherever it is called
        moments = (optax.adam(0.1) if optimizer == "adam" else optax.sgd(0.1)).init(weights), start
        return {"params": weights, "moments": moments} if nested else (weights, moments)

    task = pj.Task(init, lambda state, hparams, data: (state, {"loss": hparams["x"]}), ())
    return task if hints is None else task._replace(hints=pj.Hints(parameters=hints))


WIDTHS = pj.Space(width=pj.choice(8, 16, 32, static=True), x=pj.uniform(0, 1))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize(
    ("nested", "hints"),
    [(True, None), (True, lambda hparams: 9 * hparams["width"]), (False, lambda hparams: 9 * hparams["width"])],
)
def test_parameters_are_what_a_task_names_as_such(optimizer, nested, hints, tmp_path):
    """Not the optimizer's moments: the same network has the same number under each."""
    rule = pj.pareto("loss", "parameters")
    results = pj.search(optimized(optimizer, nested, hints), WIDTHS, trials=8, rank=rule, out=tmp_path / "run")
    assert results.parameters.tolist() == (9 * results.points["width"]).tolist()
    assert pj.Results.load(tmp_path / "run").trials["parameters"].to_pylist() == results.parameters.tolist()


def test_where_a_task_names_none_the_numbers_of_its_state_are_called_so(tmp_path):
    """In the table, the page and its figure; read again, they rank as before."""
    rule = pj.pareto("loss", "parameters")
    results = pj.search(optimized("sgd", nested=False), WIDTHS, trials=8, rank=rule, out=tmp_path / "run")
    loaded = pj.Results.load(tmp_path / "run")
    assert results.parameters.tolist() == (9 * results.points["width"] + 1).tolist()
    for one in (results, loaded):
        assert one.trials["numbers_in_state"].to_pylist() == results.parameters.tolist()
        assert "parameters" not in one.trials.column_names
        assert one.plot("front").layout.xaxis.title.text == "numbers_in_state"
        assert one.order.tolist() == results.order.tolist()
    assert "The task names no parameters" in (tmp_path / "run" / "report.html").read_text()
