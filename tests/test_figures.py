"""What the figures show, as `results.plot` gives them, and what the page says; test_report.py draws them in a browser.

Inner modules: the importance of hyperparameters and the axes it is of, a law that has no other door.
"""

import dataclasses
import itertools
import warnings

import jax.numpy as jnp
import numpy as np
import optuna
import pytest
from conftest import refused
from optuna.distributions import CategoricalDistribution as Categorical
from optuna.distributions import FloatDistribution as Float
from optuna.importance import PedAnovaImportanceEvaluator
from pages import HOSTILE, SPACE, drawn, figures_of, made, scored, text_of
from sklearn.metrics import confusion_matrix
from stopping import edit

import popjax as pj
from popjax.pages.axes import axes
from popjax.pages.importance import importance


def written(results, directory):
    """The text of the page of results."""
    return text_of(results.report(directory / "page.html"))


def falling(number, hparams, data):
    """An epoch of a loss that falls by the number of epochs, to where x is."""
    return number + 1, {"loss": (hparams["x"] - 0.3) ** 2 + 1 / (number + 1)}


FALLING = pj.Task(lambda key, hparams, data: jnp.float32(0), falling, ())
UNIT = {"x": pj.uniform(0, 1)}


# Curves and panels


def test_every_trial_has_its_curve_and_the_winner_a_band():
    """A trial's curve is the mean of its members, the band one standard error of the folds on each side."""
    results = made(folds=3, repeats=2)
    shown, best, curve = drawn(results, "curves"), results.best.trial, results.curves["val_accuracy"]
    kept = [trial for trial in np.flatnonzero(~results.diverged) if trial != best]
    assert shown["trials"][0][:7] == [1, 2, 3, 4, 5, 6, 7]
    assert np.array(shown["trials"][1], float).reshape(-1, 7)[:, :6] == pytest.approx(curve[kept], rel=1e-4)
    members = results.members["val_accuracy"][best]
    mean, error = members.mean((0, 1)), members.mean(1).std(0, ddof=1) / np.sqrt(3)
    for name, heights in (("winner", mean), ("-", mean - error), ("± standard error", mean + error)):
        assert shown[name][1][:6] == pytest.approx(heights.tolist(), rel=1e-4)
    assert shown["median"][1] == pytest.approx(np.median(curve[~results.diverged], axis=0).tolist(), rel=1e-4)
    assert shown["25 %"][1] == pytest.approx(np.quantile(curve[~results.diverged], 0.25, axis=0).tolist(), rel=1e-4)
    ends = [(x, y) for x, y in zip(*shown["where they broke off"], strict=True) if y is not None]
    ran, lost = results.epochs_run, np.flatnonzero(results.diverged)
    assert np.array(ends) == pytest.approx(np.array([(ran[t], curve[t, ran[t] - 1]) for t in lost if ran[t]]), rel=1e-4)
    assert "± standard error" not in drawn(made(), "curves")
    losses = results.plot("train_loss")
    assert losses.layout.yaxis.type == "log"
    (winner,) = [trace.y[:6] for trace in losses.data if trace.name == "winner"]
    assert winner == pytest.approx(results.curves["train_loss"][best].tolist(), rel=1e-4)


def test_the_middle_half_is_of_the_trials_that_learned(tmp_path):
    """Those that came more than half of the way from a constant to the best."""
    results = made(diverged=0)
    results.summary["constant"] = {"test_accuracy": 0.3}
    last = results.values["val_accuracy"]
    some = abs(last - last.max()) <= (last.max() - 0.3) / 2
    assert 0 < some.sum() < 40
    median = np.median(results.curves["val_accuracy"][some], axis=0)
    assert drawn(results, "curves")["median"][1] == pytest.approx(median.tolist(), rel=1e-4)
    assert "came nearer to the best than to a constant" in written(results, tmp_path)


def test_the_median_goes_on_where_trials_were_left():
    """It is that of the trials that were trained so far."""
    results = pj.search(FALLING, UNIT, trials=18, epochs=6, scheduler=pj.halving(reduction_factor=3, min_epochs=2))
    assert results.pruned.sum() == 12
    median = np.nanmedian(results.curves["loss"], 0)
    assert drawn(results, "curves")["median"][1] == pytest.approx(median.tolist(), rel=1e-3)


def test_a_panel_has_every_trial_at_its_place_on_its_scales_axis():
    """The diverged at their own; constants have no panel."""
    results = made()
    kept, value = np.flatnonzero(~results.diverged), results.values["val_accuracy"]
    shown = drawn(results, "learning_rate")
    x, y = shown["trials"]
    assert x == pytest.approx(((np.log10(results.points["learning_rate"][kept]) + 4) / 4).tolist(), abs=1e-4)
    assert y == pytest.approx(np.clip(value[kept], min(y), max(y)).tolist(), rel=1e-4)
    assert shown["ten best"][1] == pytest.approx(value[results.order[:10]].tolist(), rel=1e-4)
    assert shown["winner"][1] == pytest.approx([results.best.value], rel=1e-4)
    assert len(shown["diverged"][0]) == results.diverged.sum()
    cells = (results.points["activation"][kept] == "tanh").astype(int)
    assert [int(2 * x) for x in drawn(results, "activation")["trials"][0]] == cells.tolist()
    ticks = results.plot("momentum").layout.xaxis.ticktext
    assert [tick.replace("<br>", " ") for tick in ticks] == ["0.9 10 steps", "0.99 100 steps", "0.999 1,000 steps"]
    with refused("there is no figure 'width'", "learning_rate, momentum, hidden, activation"):
        results.plot("width")


def in_rounds(sizes, spaces, **more):
    rounds = [{"trials": n, "space": s.to_dict(), "notes": notes} for n, (s, notes) in zip(sizes, spaces, strict=True)]
    return made(trials=sum(sizes), rounds=np.repeat(np.arange(len(sizes)), sizes), run={"rounds": rounds}, **more)


def colors_by_round(results):
    """Round -> the colours of its trials in a panel."""
    colors = results.plot("learning_rate").data[0].marker.color
    rounds = results.rounds[~results.diverged]
    return {n: {color for color, at in zip(colors, rounds, strict=True) if at == n} for n in np.unique(rounds)}


def test_rounds_have_colours_and_their_ranges(tmp_path):
    """Each round's bar covers its share of the user's axis, the notes are told; neighbours share where there are many.

    A sampler that learns has many, of one space, so that no zoom is drawn.
    """
    narrow = SPACE.replace(
        learning_rate=pj.log_uniform(1e-3, 1e-1), hidden=pj.integers(60, 69), activation=pj.choice("tanh")
    )
    notes = ["learning_rate: the best sit at the low edge; try log_uniform(1e-6, 1)"]
    two = in_rounds([20, 20], [(SPACE, []), (narrow, notes)])
    first, second = colors_by_round(two).values()
    assert (len(first), len(second), len(first | second)) == (1, 1, 2)
    said = written(two, tmp_path)
    assert f"Before round 2: {notes[0]}" in said
    assert "What the zoom did" in said
    many = in_rounds([3] * 13, [(SPACE, [])] * 13)
    colors = colors_by_round(many)
    assert len(set.union(*colors.values())) == 5
    assert all(len(own) == 1 for own in colors.values())
    said = written(many, tmp_path)
    assert all(part in said for part in ("rounds 1 to 3", "rounds 4 to 6", "rounds 12 to 13"))
    assert "What the zoom did" not in said


# The expected best, the tree and what is drawn of predictions


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_expected_best_is_that_of_all_subsets_of_the_first_round(mode, tmp_path):
    """Enumerated, with ties and with two diverged trials that count as the worst; later rounds are no such draws."""
    values = np.array([0.3, np.nan, 0.9, 0.1, 0.9, 0.5, np.nan, 0.99])
    rounds = {"rounds": [{"trials": n, "space": SPACE.to_dict(), "notes": []} for n in (7, 1)]}
    points, run = SPACE.sample(8, 0), {"space": SPACE.to_dict(), **rounds}
    curves = {"m": np.repeat(values[:, None, None, None], 2, axis=3)}
    results = pj.Results(points, curves, pj.best("m", mode), run, rounds=np.repeat([0, 1], [7, 1]))
    filled = np.where(np.isnan(values), 0.1 if mode == "max" else 0.9, values)[:7].tolist()
    pick = max if mode == "max" else min
    means = [np.mean([pick(subset) for subset in itertools.combinations(filled, k)]) for k in range(1, 8)]
    ((x, y),) = drawn(results, "expected").values()
    assert x == list(range(1, 8))
    assert y == pytest.approx(means, rel=1e-4)
    assert "The first round only" in written(results, tmp_path)


def test_no_best_of_k_is_expected_where_trials_were_stopped():
    """They have no value at the end, and where losses rise in training they would be the best."""
    whole = made(trials=12, diverged=0)
    done = np.where(np.arange(12) == 5, 3, 6)[:, None, None]
    ran = np.arange(6) < done[..., None]
    members = {name: np.where(ran, values, np.nan) for name, values in whole.members.items()}
    assert drawn(whole, "expected")
    with refused("there is no figure 'expected'"):
        dataclasses.replace(whole, members=members, done=done, status=None).plot("expected")


def test_the_family_tree_and_the_winners_history():
    """A fork where a state was copied, along which the winner's line goes; its hyperparameters epoch by epoch."""

    def copying(problem):
        def step(state, trials):
            if state == 0:
                return 1, pj.Decision(add=problem.propose(4), until=dict.fromkeys(range(4), 2))
            if state == 2:
                return 3, pj.Decision()
            first, last = int(trials.loss.argmin()), int(trials.loss.argmax())
            change = {last: {"x": 0.3, "y": trials.points["y"][first]}}
            return 2, pj.Decision(copy={last: first}, set=change, until=dict.fromkeys(range(4), 4))

        return pj.Scheduler(lambda: 0, step)

    def epoch(number, hparams, data):
        return number + 1, {"loss": falling(number, hparams, data)[1]["loss"] + 0 * hparams["y"]}

    task = pj.Task(FALLING.init, epoch, ())
    results = pj.search(task, {**UNIT, "y": pj.uniform(0, 1)}, trials=4, epochs=4, scheduler=copying)
    loss, best = results.curves["loss"][:, 1], results.best.trial
    first = int(np.argmin(np.where(np.arange(4) == best, np.inf, loss)))
    assert results.points["x"][best] == pytest.approx(0.3)
    lines, winner = (trace for trace in results.plot("tree").data if trace.name != "in hand")
    steps = [x for x, y in zip(winner.x, winner.y, strict=True) if y is not None]
    assert (steps[0], steps[-1], 2 in steps) == (0, 4, True)
    assert list(lines.x).count(4) == 4, "each line of the end comes to the end"
    units = next(trace.y for trace in results.plot("x by epoch").data if len(trace.y) >= 4)
    own = [results.history.values["x"][first, 0]] * 2 + [0.3] * 2
    assert list(results.plot("x by epoch").data[1].y[:4]) == pytest.approx(own, abs=1e-4), units
    with refused("there are curves", "tree, x by epoch, expected"):
        results.plot("y by epoch")  # it never changed


def test_a_library_run_shows_what_its_winner_makes_of_the_rows(tmp_path):
    """The counts are scikit-learn's, the labels those of the data; of a regression the predictions."""
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(200, 3)), np.array([HOSTILE, "<b>two</b>", "3"])
    y = labels[(x[:, 0] > 0).astype(int) + (x[:, 1] > 1)]
    task, asked = pj.supervised((x, y), test=np.arange(40)), {"learning_rate": 0.1, "hidden": 8}
    results = pj.search(task, asked, trials=3, epochs=4, out=tmp_path / "run")
    expected = confusion_matrix(y[:40], results.predict(x[:40]), labels=np.unique(y))
    assert results.summary["confusion"] == expected.tolist()
    counts = ["".join(str(count or "") for count in row) for row in expected.tolist()]
    said = text_of(tmp_path / "run" / "report.html").replace(" ", "")
    assert all((label + row).replace(" ", "") in said for label, row in zip(np.unique(y), counts, strict=True))
    assert "confusion" not in pj.search(task, asked, trials=3, epochs=4).summary
    values = made(mode="min")
    values.run["data"] = {"columns": ["age"], "classes": None, "inputs": [1]}
    values.summary["predicted"] = [[1.0, 1.5], [2.0, 1.75], [4.0, 3.0]]
    line, points = values.plot("predicted").data
    assert [list(points.x), list(points.y)] == [[1.0, 2.0, 4.0], [1.5, 1.75, 3.0]]
    assert list(line.x) == list(line.y) == [1.0, 4.0]


@pytest.mark.parametrize(
    "summary",
    [
        {"rows": "many", "confusion": [[1]], "predicted": "x"},
        {"rows": {"train": HOSTILE}, "confusion": [[1, "x"], [2, 3]], "predicted": [[1, 2], [3]]},
        {"rows": [1], "confusion": [3, 4], "predicted": [[None, 1.0]]},
    ],
)
def test_a_summary_that_says_nonsense_of_the_data_is_not_shown(tmp_path, summary):
    """A directory may come from a stranger."""
    results = made()
    results.run["data"] = {"columns": ["age"], "classes": ["a", "b"], "inputs": [1]}
    results.summary.update(summary)
    page = results.report(tmp_path / "page.html").read_text()
    assert '<table class="confusion' not in page
    assert 'id="predicted"' not in page
    assert "rows train" not in page


# Importance


def test_importance_finds_what_was_planted():
    """Of a metric, of the rank among the best alone, and of a choice; whose size does not matter."""
    space = SPACE.replace(depth=pj.log_integers(1, 64), dropout=pj.uniform(0, 0.5))
    shares = importance(made(trials=400, space=space))
    assert list(shares) == [name for name in space if name != "width"]
    assert sum(shares.values()) == pytest.approx(1, abs=1e-12)
    assert shares["learning_rate"] > 0.85
    points = SPACE.sample(500)
    momentum, rate = (SPACE[name].to_unit(points[name]) for name in ("momentum", "learning_rate"))
    worse = -np.where(momentum > 0.9, 2 + momentum, rate)  # the rate decides which of the others are worst
    assert importance(scored(points, worse, SPACE))["momentum"] > 0.8
    squashed = np.where(worse > np.median(worse), 1e30, worse)
    assert importance(scored(points, squashed, SPACE)) == pytest.approx(importance(scored(points, worse, SPACE)))
    space = SPACE.replace(activation=pj.choice("relu", "tanh", "gelu", "elu"))
    points = space.sample(600)
    shares = importance(scored(points, points["activation"] == "tanh", space))
    assert max(shares, key=shares.get) == "activation"


def test_a_pruned_trial_is_behind_those_that_were_trained_further(tmp_path):
    """Where a loss rises in training, its last value is the lowest, and tells nothing of where it would have ended."""

    def rising(number, hparams, data):
        number = number + 1
        return number, {"loss": 0.1 * hparams["late"] * number + 0.02 * hparams["early"]}

    task = pj.Task(lambda key, hparams, data: 0.0, rising, ())
    space = {"late": pj.uniform(0.5, 1.0), "early": pj.uniform(0, 1)}
    for way in (None, "halving"):
        results = pj.search(task, space, trials=256, epochs=16, scheduler=way)
        assert importance(results)["late"] > 0.9
        assert ("How many trials were needed" in written(results, tmp_path)) == (way is None)
    assert results.values["loss"][results.pruned].max() < results.best.value, "else this shows nothing"
    assert results.places[results.best.trial] == 0


@pytest.mark.parametrize(("trials", "diverged"), [(1, 0), (1, 1), (5, 1.1), (2, 0), (3, 0.5), (12, 0.2)])
def test_importance_of_few_trials_is_no_error(trials, diverged):
    """Nothing to compare gives nothing, twelve trials give something."""
    shares = importance(made(trials=trials, diverged=diverged))
    assert shares != {} or trials < 12
    assert shares == {} or (trials > 1 and diverged < 1)


MIXED = pj.Space(
    learning_rate=pj.log_uniform(1e-4, 1),
    momentum=pj.one_minus_log_uniform(0.5, 0.999),
    depth=pj.integers(1, 5),
    batch_size=pj.choice(8, 16, 32),
    activation=pj.choice("relu", "tanh", "gelu"),
    bias=pj.choice(True, False),
    dropout=pj.uniform(0, 0.5).when(activation="relu"),
)


@pytest.mark.parametrize("trials", [3, 12, 40, 400])
@pytest.mark.parametrize("seed", [0, 1])
def test_importance_is_that_of_optuna(trials, seed):
    """PED-ANOVA by another library: of ranges, whole numbers, choices, and what not all trials have."""
    noise, points = np.random.default_rng(seed).normal(size=trials), MIXED.sample(trials, seed)
    loss = np.log(points["learning_rate"]) ** 2 * (1 + points["bias"].astype(int))
    results = scored(points, loss + 9 * np.nan_to_num(points["dropout"], nan=0.3) + noise, MIXED)
    kind = lambda axis: Categorical(axis.scale.values) if axis.name in ("activation", "bias") else Float(0, 1)
    unit = lambda axis, trial: axis.values[trial] if axis.name in ("activation", "bias") else float(axis.units[trial])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    for trial, rank in enumerate(results.places.tolist()):
        own = [axis for axis in axes(results) if axis.values[trial] is not None]
        params, kinds = {axis.name: unit(axis, trial) for axis in own}, {axis.name: kind(axis) for axis in own}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=kinds, value=float(rank)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says where a branch has few trials
        found = PedAnovaImportanceEvaluator().evaluate(study)
    shares = importance(results)
    total = sum(found.get(name, 0.0) for name in shares)  # what is the same in three trials has no importance here
    assert shares == pytest.approx({name: found.get(name, 0.0) / total for name in shares}, abs=1e-9)
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize(("trials", "best"), [(255, 26), (256, 26)])
def test_importance_stands_beside_the_tier_and_says_how_many_trials_carry_it(trials, best, tmp_path):
    results = made(trials=trials)
    said, shares = written(results, tmp_path), importance(results)
    for name, tier in {"learning_rate": "1", "momentum": "2", "hidden": "2", "activation": "-"}.items():
        assert f"{name}{tier} {100 * shares[name]:.0f} %" in said
    assert f"among the best tenth, {best} of {trials} trials" in said
    assert ("the shares move by tens of percent between draws" in said) == (trials < 256)


# Two hyperparameters together

PAIRED = pj.Space(x=pj.uniform(0, 1), y=pj.log_uniform(0.01, 1), kind=pj.choice("a", "b", "c"))


def squares(results):
    """The axes' names, and (names across, names upwards) -> (best, every) of each square."""
    figure = results.plot("interaction")
    found = {tuple(data[2:]): tuple(data[:2]) for data in figure.data[0].customdata}
    return (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text), found


@pytest.mark.parametrize(
    ("loss", "least", "most"),
    [
        (lambda x, y: np.abs(x - y), 40, 100),  # any x may be the best, for its own y
        (lambda x, y: np.maximum(np.abs(x - 0.5), np.abs(y - 0.5)), 0, 10),  # the best x is 0.5 for every y
    ],
)
def test_the_interaction_of_two_is_in_how_they_are_combined(loss, least, most, tmp_path):
    points = PAIRED.sample(1000)
    results = scored(points, loss(points["x"], PAIRED["y"].to_unit(points["y"])), PAIRED)
    said = written(results, tmp_path)
    before, _, _ = said.partition(" % is in how they are combined")
    share = before.rpartition(" ")[2] if before != said else said.partition(" % of ")[0].rpartition(" ")[2]
    assert set(squares(results)[0]) == {"x", "y"}
    assert least <= float(share) <= most


def test_squares_count_the_best_trials_and_all():
    """By a plain loop: ten squares of a range, one of each choice."""
    points = PAIRED.sample(1000)
    results = scored(points, points["x"] + (points["kind"] == "b"), PAIRED)
    names, found = squares(results)
    assert names == ("x", "kind")
    counted, limit = {}, np.sort(results.values["loss"])[99]
    for x, kind, loss in zip(points["x"], points["kind"], results.values["loss"], strict=True):
        place = min(int(x * 10), 9)
        best, every = counted.get((place, kind), (0, 0))
        counted[place, kind] = best + (loss <= limit), every + 1
    text = lambda place: f"{place / 10:.4g} to {(place + 1) / 10:.4g}"
    assert found == {(text(place), kind): counts for (place, kind), counts in counted.items()}


@pytest.mark.parametrize(
    ("scale", "names"),
    [
        (pj.integers(1, 30), ["1 to 3", "4 to 6", "28 to 30"]),
        (pj.choice(*"abcdefghijkl"), ["a", "b", "l"]),
        (pj.log_integers(1, 8), None),
    ],
)
def test_a_square_says_which_values_it_holds(scale, names):
    """Without overlapping ends; of a log scale by a plain loop, as its cells are not equally wide."""
    space = pj.Space(n=scale, x=pj.uniform(0, 1))
    points = space.sample(1000)
    texts = points["n"].dtype == object
    place = "abcdefghijkl".index if texts else int
    number = np.array([place(n) for n in points["n"]])
    order, found = squares(scored(points, number / number.max() + points["x"], space))
    at = order.index("n")
    counts = {}
    for key, (_, every) in found.items():
        counts[key[at]] = counts.get(key[at], 0) + every
    assert set(names or ()) <= set(counts)
    for said, count in counts.items():
        first, _, last = said.partition(" to ")
        assert ((number >= place(first)) & (number <= place(last or first))).sum() == count


def test_two_of_which_all_trials_are_the_best_have_no_interaction(tmp_path):
    """Of a branch that always wins, by ties: nothing tells its trials apart, and the page is drawn."""
    space = pj.Space(kind=pj.choice("a", "b"), x=pj.uniform(0, 1).when(kind="a"))
    points = space.sample(60)
    results = scored(points, points["kind"] == "b", space)
    assert "What mattered" in written(results, tmp_path)
    with refused("there is no figure 'interaction'"):
        results.plot("interaction")


# What the page says


def test_a_page_says_what_a_reader_would_ask(tmp_path):
    """Seconds that overlap, the scheduler, trials without a point, and what a page alone has not beside it."""
    took = {"compile_seconds": 8.3, "train_seconds": 6.6, "wall_seconds": 10.5}
    seconds = {
        "compiling 8.3 s beside training 6.6 s": {},
        "compiling 8.3 s, training 6.6 s": {"wall_seconds": 15.5, "afterwards_seconds": 0.9},
        "; then 4.0 s to combine models": {"wall_seconds": 15.5, "afterwards_seconds": 4.0},
    }
    for says, more in seconds.items():
        results = made(trials=12, diverged=0, run={"scheduler": "halving(reduction_factor=2)"})
        results.summary.update(took | more)
        said = written(results, tmp_path)
        assert says in said
        assert "wine: random search over 12 trials, halving" in said
    assert "Beside this page" not in said
    assert 'results.save("DIR")' in said
    halved = pj.search(FALLING, UNIT, trials=9, epochs=6, scheduler=pj.halving(3, min_epochs=2), out=tmp_path / "run")
    said = text_of(tmp_path / "run" / "report.html")
    assert f"{halved.pruned.sum()} trials left before the last epoch have no point." in said
    assert "Beside this page" in said
    assert "The data" not in said
    perfect = made(trials=12, diverged=0)
    members = {name: values.copy() for name, values in perfect.members.items()}
    members["val_accuracy"][3, ..., -1] = 1
    said = written(dataclasses.replace(perfect, members=members), tmp_path)
    assert "In decades an error of 0 stands at half of the least other one." in said


def test_a_page_of_no_winner_says_why_and_what_to_try(tmp_path):
    """That all diverged, with rates below those tried; or that all were stopped, as far as their curves go."""
    results = made(diverged=1.1)
    lowest = results.points["learning_rate"].min()
    said = written(results, tmp_path)
    assert "There is no winner. All 40 trials diverged; try" in said
    assert f"--set 'learning_rate=log_uniform({lowest / 1e4:.3g},{lowest:.3g})'" in said
    assert not any(part in said for part in ("Winner", "What mattered", "How many trials were needed"))
    whole = made()
    members = {name: np.where(np.arange(6) < 3, values, np.nan) for name, values in whole.members.items()}
    stopped = dataclasses.replace(whole, members=members, done=np.full_like(whole.done, 3), status=None)
    assert stopped.best is None
    counts = f"{stopped.stopped.sum()} were stopped before it, {stopped.diverged.sum()} diverged."
    assert f"There is no winner. No trial was trained to the end: {counts}" in written(stopped, tmp_path)
    assert list(stopped.plot("curves").layout.xaxis.range) == [0.5, 3.5]


@pytest.mark.parametrize("rate", [pj.choice(0.1, 1.0), pj.log_uniform(1e-5, 1e-4)], ids=str)
def test_advice_is_below_the_rates_that_were_tried(rate, tmp_path):
    """Also of a rate that not all trials have."""
    space = pj.Space(optimizer=pj.choice("sgd", "adam"), learning_rate=rate.when(optimizer="sgd"))
    points = space.sample(20)
    said = written(scored(points, np.full(20, np.nan), space), tmp_path)
    high = float(said.partition("learning_rate=log_uniform(")[2].partition(")")[0].partition(",")[2])
    tried = [value for value in points["learning_rate"].tolist() if value is not None and np.isfinite(value)]
    assert high == pytest.approx(min(0.01, *tried), rel=0.01)


@pytest.mark.parametrize(
    "results", [made(trials=1, diverged=0), made(trials=1, diverged=1.1), made(trials=2, epochs=1)]
)
def test_the_smallest_searches_have_a_page(tmp_path, results):
    """One trial, one that diverged, one epoch: what makes no sense is left out."""
    page = results.report(tmp_path / "page.html").read_text()
    trials, epochs = len(results.diverged), results.members["val_loss"].shape[-1]
    assert page.count('id="expected"') == (trials > 1 and results.best is not None)
    assert page.count('id="curves"') == (epochs > 1 and bool(results.epochs_run.any()))
    assert page.count('id="parallel"') == (trials > 1)


def test_many_trials_are_thinned_and_the_page_says_so(tmp_path):
    """5,000 trials of 20 epochs: 600 curves, the ten best among them, and the limits of size hold."""
    results = made(trials=5000, epochs=20)
    page = results.report(tmp_path / "page.html")
    shown = drawn(results, "curves")
    curves = np.array(shown["trials"][1], float).reshape(-1, 21)[:, :20]
    for trial in results.order[1:10]:
        assert np.isclose(curves, results.curves["val_accuracy"][trial], rtol=1e-3).all(1).any()
    count = len(curves) + 1 + len(shown["diverged"][0]) // 21
    assert f"{count} of 5,000 curves drawn" in text_of(page)
    assert 600 <= count <= 610
    median = np.median(results.curves["val_accuracy"][results.order], axis=0)
    assert shown["median"][1] == pytest.approx(median.tolist(), rel=1e-4)
    assert page.stat().st_size < 5e6
    results = made(
        trials=512, epochs=20, space=SPACE.replace(decay=pj.uniform(0, 0.2), batch_size=pj.integers(16, 128))
    )
    loss = results.members["val_loss"]
    results.members.update(val_mse=2 * loss, val_r2=1 - loss)  # as many as a regression has
    page = results.report(tmp_path / "page.html")
    assert page.stat().st_size < 2e6, "the table of all trials and their curves take a tenth"
    heights = [v for line in figures_of(page)["curves"]["metrics"][0]["heights"] for v in line if v is not None]
    assert max(len(repr(v).replace("0.", "").replace("-", "")) for v in heights) <= 6


# How to get the results again


def called(results, directory, task):
    """The results of the call that a page shows, and what the page says of it."""
    said = written(results, directory)
    code = (directory / "page.html").read_text().partition("<pre tabindex=0>space = ")[2].partition("</pre>")[0]
    names = {"pj": pj, "task": task}
    exec("space = " + code.replace("&#x27;", "'").replace("&quot;", '"').replace("&lt;", "<"), names)
    return names["results"], said


def test_the_call_on_the_page_gives_the_same_results(tmp_path):
    task = pj.objective(lambda key, hparams: {"loss": (hparams["x"] - 0.3) ** 2 * hparams["kind"]})
    asked = {"trials": 30, "seed": 3, "sampler": "sobol", "repeats": 2, "rank": pj.best(keep=4)}
    results = pj.search(task, UNIT | {"kind": pj.choice(1, 2)}, **asked)
    again, _ = called(results, tmp_path, task)
    assert np.array_equal(again.members["loss"], results.members["loss"])
    assert again.rule == results.rule
    asked = {"trials": 16, "epochs": 4, "sampler": "tpe", "rank": pj.best("loss")}
    halved = pj.search(FALLING, UNIT, scheduler="halving", **asked)
    again, said = called(halved, tmp_path, FALLING)
    assert "The same task and call gives the same results" in said
    assert np.array_equal(again.members["loss"], halved.members["loss"], equal_nan=True)
    pj.search(FALLING, UNIT, out=tmp_path / "run", **asked)
    pj.search(FALLING, UNIT, out=tmp_path / "run", resume=True, **(asked | {"trials": 18}))
    assert "has other rounds" in text_of(tmp_path / "run" / "report.html")
    own = pj.search(FALLING, UNIT, scheduler=pj.rounds(2), **(asked | {"sampler": optuna.samplers.RandomSampler}))
    assert "with the sampler of your own gives the same results" in written(own, tmp_path)
    short = dataclasses.replace(halved, contenders=np.ones(16, bool))
    assert "stopped before its end" in written(short, tmp_path)


def test_seconds_are_of_all_processes_of_a_run(tmp_path):
    """Of those that ended: those of a killed one are unknown, and said to be."""
    task, run = pj.objective(lambda key, hparams: {"loss": hparams["x"]}), tmp_path / "run"
    asked = {"space": UNIT, "out": run, "rank": pj.best("loss", "min"), "resume": True}
    pj.search(task, trials=4, **asked)
    long = {"wall_seconds": 7000.0, "compile_seconds": 2000.0, "train_seconds": 5000.0}
    edit(run / "summary.json", lambda known: known.update(long))
    more = pj.search(task, trials=8, **asked)
    for name, seconds in long.items():
        assert seconds <= more.summary[name] < seconds + 1000
    (run / "summary.json").unlink()
    pj.search(task, trials=12, **asked)
    assert "since it was resumed" in text_of(run / "report.html")


# Several runs


def lines_of(command, directory, runs):
    """The page that compares runs, and figure -> [(x, y)] of its lines."""
    for name, results in runs.items():
        results.save(directory / name)
    done = command("report", *runs)
    assert (done.returncode, done.stdout) == (0, "comparison.html\n"), done.stderr
    plots = figures_of(directory / "comparison.html").get("plots", {})
    lines = {name: [(trace["x"], trace["y"]) for trace in plot["traces"]] for name, plot in plots.items()}
    return text_of(directory / "comparison.html"), lines


def by_then(results):
    """The share of all training and the best value by each moment: by a plain loop over rounds and epochs.

    A trial counts by its last record until then, a pruned one while it trains; others count as training alone.
    """
    had, moments, done = np.zeros(len(results.diverged), int), [], results.trained.min((1, 2))
    ends = {number: done[results.rounds == number].max() for number in np.unique(results.rounds)}
    for number, end in ends.items():
        for epoch in range(1, end + 1):
            had = np.where(results.rounds == number, np.minimum(done, epoch), had)
            until = [epoch if at == number else ends[at] for at in results.rounds]
            alive = [t for t in range(len(done)) if had[t] and not results.diverged[t] and done[t] >= until[t]]
            values = [results.curves[results.metric][t, had[t] - 1] for t in alive]
            moments.append((had.sum() / done.sum(), min(values)))
    return np.array(moments).T


def test_runs_are_compared_by_the_best_by_then(command, tmp_path):
    """Of rounds with pruned and diverged trials, over updates and seconds; and how they searched."""

    def epoch(number, hparams, data):
        _, record = falling(number, hparams, data)
        return number + 1, {"loss": jnp.where((hparams["y"] > 0.8) & (number > 0), jnp.nan, record["loss"])}

    task, space = pj.Task(FALLING.init, epoch, ()), {"x": pj.uniform(0, 1), "y": pj.uniform(0, 1)}
    ways = {"one": "halving", "two": pj.rounds(3, pj.halving())}
    runs = {name: pj.search(task, space, trials=24, epochs=6, seed=3, scheduler=way) for name, way in ways.items()}
    for results in runs.values():
        results.summary.update(model_steps=1000, wall_seconds=3.2)
        assert results.pruned.any()
        assert results.diverged.any()
    said, lines = lines_of(command, tmp_path, runs)
    for figure, most in (("updates", 1000), ("seconds", 3.2)):
        for (x, y), name in zip(lines[figure], runs, strict=True):
            share, best = by_then(pj.Results.load(tmp_path / name))
            assert x == pytest.approx((share * most).tolist(), rel=1e-4)
            assert y == pytest.approx(best.tolist(), rel=1e-4)
    assert "(sampler)randomrandom" in said
    assert "(seed)33" in said
    assert "xuniform(0, 1)uniform(0, 1)" in said
    runs["two"].summary.update(seconds_lost=True)
    assert "seconds" not in lines_of(command, tmp_path, runs)[1]


def test_runs_without_a_feasible_trial_are_compared(command, tmp_path):
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"], "harm": hparams["x"]})
    rank = pj.best("loss", subject_to="harm <= 0.1")
    search = lambda seed: pj.search(task, {"x": pj.uniform(0.5, 1)}, trials=4, seed=seed, rank=rank)
    runs = {"a": search(0), "b": search(1)}
    _, lines = lines_of(command, tmp_path, runs)
    for found in lines.values():
        for (_, y), results in zip(found, runs.values(), strict=True):
            assert min(y) == pytest.approx(results.values["loss"].min(), rel=1e-4)
    cards = figures_of(tmp_path / "comparison.html")["cards"]
    assert [(card["place"], card["lines"]) for card in cards] == [("rank 1, the winner", [])] * 2


def test_runs_over_different_data_say_what_differs_before_the_metrics_they_share(command, tmp_path):
    """Data, then options, then versions; metrics of one of them alone are left out, and no lines are drawn beside."""
    words = {
        "wine": ("--dataset", "wine", "--metrics", "mcc", "--trials", 4),
        "cancer": ("--dataset", "breast_cancer", "--metric", "val_loss", "--trials", 3),
    }
    for name, asked in words.items():
        done = command("sweep", *asked, "--epochs", 1, "--out", name, "--quiet")
        assert done.returncode == 0, done.stderr
    edit(tmp_path / "cancer" / "run.json", lambda run: run["versions"].update(optax="0.0.1"))
    optax = pj.Results.load(tmp_path / "wine").run["versions"]["optax"]
    assert command("report", *words).returncode == 0
    said = text_of(tmp_path / "comparison.html")
    assert "over different data and rank by different metrics" in said
    rows = "datasetwinebreast_cancerrows142 train, 18 validate, 18 test455 train, 57 validate, 57 test"
    order = [said.index(part) for part in (rows, "trials43", "metricval_loss", f"optax{optax}0.0.1", "Outcomes")]
    assert order == sorted(order)
    head = said.partition("Outcomes")[2].partition("wine")[0]
    assert "runval_accuracyval_loss" in head
    assert "test_accuracy" in head
    assert "mcc" not in head
    assert not figures_of(tmp_path / "comparison.html").get("plots")
