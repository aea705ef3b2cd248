"""Limits of rules: feasible trials come first, at rungs and in copies too; costs are known before training."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
import stopping

import popjax as pj
from popjax.rule import Finished, Limit, Rule
from popjax.rules.checking import front_of, loss_of, order_of, winner_of
from popjax.rules.named_rules import read_rule
from popjax.scheduler import Trials
from popjax.tuning.tpe import good_and_others


def deb(values, limits, mode):
    """The order of Deb (2000), pair by pair: feasible before infeasible, those by value, these by violation."""

    def violation(row):
        total = 0.0
        for name, sign, bound in limits:
            beyond = sign * (values[name][row] - bound)
            total += max(beyond, 0) / (abs(bound) or 1)
        return total

    def key(row):
        far = violation(row)
        return (far, values["loss"][row] * (1 if mode == "min" else -1), row)

    return sorted(range(len(values["loss"])), key=key)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("texts", [["cost <= 0.5"], ["cost<=0.5", "gain >= 0.3"], ["loss <= -1"], ["gain >= 0"]])
def test_the_order_is_that_of_pairs(mode, texts):
    draws = np.random.default_rng(0)
    values = {name: draws.normal(0.4, 0.5, 60).round(1) for name in ("loss", "cost", "gain")}
    limits = [Limit.of(text) for text in texts]
    rule = pj.best("loss", mode, subject_to=texts)
    assert order_of(rule, values).tolist() == deb(values, limits, mode)
    places = loss_of(rule, values)
    assert places[order_of(rule, values)].tolist() == list(range(60))
    free = pj.best("loss", mode)
    assert loss_of(free, values).tolist() == (values["loss"] * (1 if mode == "min" else -1)).tolist()


def test_a_users_rule_sees_feasible_rows_alone():
    class Last(Rule):
        name = "last"

        def order(self, values):
            assert (values["cost"] <= 1).all()
            return np.argsort(-values["loss"])

        def winner(self, finished):
            assert (finished.values["cost"] <= 1).all()
            return len(finished.values["loss"]) - 1

    values = {"loss": np.array([1.0, 2.0, 3.0, 4.0]), "cost": np.array([0.5, 3.0, 0.5, 2.0])}
    rule = Last("loss", subject_to=("cost <= 1",))
    order = order_of(rule, values)
    assert order.tolist() == [2, 0, 3, 1]
    assert winner_of(rule, Finished({name: column[order] for name, column in values.items()}, {})) == 1


def test_a_front_is_that_of_the_feasible():
    values = {"val_loss": np.array([0.1, 0.3, 0.2, 0.4]), "parameters": np.array([90, 10, 20, 5])}
    rule = pj.pareto("val_loss", "parameters", subject_to=["parameters <= 50", "val_loss <= 0.35"])
    assert front_of(rule, values).tolist() == [2, 1]
    assert order_of(rule, values)[2:].tolist() == [3, 0]
    none = pj.pareto("val_loss", "parameters", subject_to="parameters <= 4")
    assert front_of(none, values).tolist() == [3]


def test_the_smallest_within_a_standard_error_is_feasible():
    values = {"val_loss": np.array([0.1, 0.11, 0.12]), "parameters": np.array([90, 50, 10]), "x": np.array([1, 1, 9])}
    errors = {name: np.full(3, 0.05) for name in values}
    assert winner_of(pj.one_se("val_loss"), Finished(values, errors)) == 2
    assert winner_of(pj.one_se("val_loss", subject_to="x <= 5"), Finished(values, errors)) == 1


@pytest.mark.parametrize("bound", [0.35, 0.7, 0.9, 0.1])
def test_a_limit_that_is_met_exactly_is_met_in_float32_too(bound):
    """Also by a mean over folds, in float64; a cost is counted exactly."""
    met = pj.best("val_accuracy", subject_to=[f"val_accuracy >= {bound}", f"loss <= {bound}"])
    for value in (np.float32(bound), np.array([bound] * 3, np.float32).mean(dtype=np.float64)):
        assert met.violation({"val_accuracy": np.array([value]), "loss": np.array([value])}).tolist() == [0.0]
    assert met.violation({"val_accuracy": np.array([bound - 1e-4]), "loss": np.array([0.0])}) > 0
    many = pj.best("loss", subject_to="parameters <= 10000000")
    assert many.violation({"loss": np.array([0.0]), "parameters": np.array([10_000_001])}) > 0


@pytest.mark.parametrize("bound", ["1234567890123456", "0.12345678901234567", "1e-30", "-3", "2.5"])
def test_a_bound_is_recorded_as_it_was_given(bound):
    (text,) = pj.best("loss", subject_to=f"flops <= {bound}").subject_to
    assert float(text.split()[-1]) == float(bound)


@pytest.mark.parametrize("text", ["a", "a <= b", "a < 3", "<= 3", "a <= 1 <= 2", "a <= nan", "a <= inf", 3, "a<=1<=2"])
def test_what_is_no_limit_is_one_line(text):
    with pytest.raises(ValueError, match=r"subject_to .*: write name <= number or name >= number") as refused:
        pj.best("loss", subject_to=[text])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("make", [pj.best, pj.one_se, pj.pareto, pj.together])
def test_a_rule_is_recorded_with_its_limits_and_without_as_before(make):
    rule = make(subject_to=["loss<=3", "loss <= 3.0"])
    assert rule.subject_to == ("loss <= 3",)
    assert read_rule(json.loads(json.dumps(rule.written()))) == rule
    assert "loss <= 3" in repr(rule)
    assert "subject_to" not in make().written()


def costly():
    """A loss that is best where `weight` is too high, and a count of parameters."""

    def epoch(weights, h, data):
        return weights, {"loss": (h["x"] - 0.9) ** 2, "weight": h["x"] * 10 + 0 * h["n"]}

    hints = pj.Hints(parameters=lambda h: 100 * h["n"], epochs=1)
    return pj.Task(lambda key, h, data: np.zeros(10_000, np.float32), epoch, (), hints=hints)


SPACE = pj.Space(x=pj.uniform(0, 1), n=pj.integers(1, 100))


@pytest.mark.parametrize("sampler", ["random", "sobol", "tpe"])
def test_points_that_cost_too_much_are_drawn_again(sampler, capsys):
    rule = pj.best("loss", subject_to="parameters <= 1000")
    results = pj.search(costly(), SPACE, trials=80, sampler=sampler, rank=rule)
    assert len(results.trials) == 80
    assert results.points["n"].max() <= 10
    assert results.feasible.all()
    assert "points violate parameters <= 1000, and are drawn again" in capsys.readouterr().err
    plain = SPACE.sample(2000, 0, "sobol" if sampler == "tpe" else sampler)
    first = np.flatnonzero(plain["n"] <= 10)[:16]
    assert results.points["x"][:16].tolist() == plain["x"][first].tolist()


def test_costs_that_are_not_counted_before_training_are_refused():
    task = pj.objective(lambda key, h: {"loss": h["x"] + h["n"]})
    rule = lambda text: pj.best("loss", subject_to=text)
    with pytest.raises(ValueError, match=r"does not count its flops before training; give it hints=popjax.Hints"):
        pj.search(task, SPACE, trials=4, rank=rule("flops <= 3"))
    with pytest.raises(ValueError, match=r"0 of \d+,\d+ points of the space satisfy parameters <= 1; loosen"):
        pj.search(costly(), SPACE, trials=4, rank=rule("parameters <= 1"))
    with pytest.raises(ValueError, match="unknown metric 'nonsense'"):
        pj.search(costly(), SPACE, trials=4, rank=rule("nonsense <= 1"))
    with pytest.raises(ValueError, match=r"start: point 0: costs more than the rule allows"):
        pj.search(costly(), SPACE, trials=4, rank=rule("parameters <= 500"), start=[{"n": 50}])


def test_the_winner_is_the_best_feasible_one_and_nothing_feasible_is_said(tmp_path, capsys):
    rule = pj.best("loss", subject_to="weight <= 6", keep=8)
    results = pj.search(costly(), SPACE, trials=60, rank=rule, out=tmp_path / "run")
    x = results.points["x"]
    assert results.best.trial == np.flatnonzero(x <= 0.6)[np.argmin((x[x <= 0.6] - 0.9) ** 2)]
    assert results.feasible.tolist() == (x <= 0.6).tolist() == results.trials["feasible"].to_pylist()
    assert f"{(x <= 0.6).sum()} of 60 trials satisfy weight <= 6" in capsys.readouterr().err
    assert results.summary["feasible"] == (x <= 0.6).sum()
    assert results.feasible[results.best_trials(60)].all()
    loaded = pj.Results.load(tmp_path / "run")
    assert (loaded.best, loaded.rule) == (results.best, results.rule)
    assert loaded.order.tolist() == results.order.tolist()
    free = results.ranked("loss")
    assert free.best.trial == np.argmin((x - 0.9) ** 2)
    none = pj.search(costly(), SPACE, trials=60, rank=pj.best("loss", subject_to="weight <= -1"))
    assert none.best.trial == np.argmin(none.points["x"])
    assert none.best_trials(5) == [none.best.trial]
    said = capsys.readouterr().err
    assert "no trial of 60 satisfies weight <= -1: the one that violates it least wins" in said
    none.report(tmp_path / "none.html")
    assert capsys.readouterr().err == ""  # every figure was drawn, or has nothing to draw


def curves():
    """Both metrics change with the epochs, so that a rung sees others than the end."""

    def epoch(state, hparams, data):
        state = state + 1.0
        return state, {"loss": (hparams["x"] - 0.9) ** 2 + 0.1 / state, "weight": 10 * hparams["x"] - state * 0.01}

    return pj.Task(lambda key, hparams, data: 0.0, epoch, ())


@pytest.mark.parametrize(
    ("scheduler", "rungs_alone"),
    [(pj.halving(), True), (pj.hyperband(), False), (pj.rounds(2, pj.halving()), False)],
    ids=["halving", "hyperband", "rounds"],
)
def test_rungs_let_the_feasible_go_on(scheduler, rungs_alone):
    """And a simulation says the same; of Hyperband's brackets one has no rung."""
    rule = pj.best("loss", subject_to="weight <= 4")
    results = pj.search(curves(), {"x": pj.uniform(0, 1)}, trials=64, epochs=8, scheduler=scheduler, rank=rule)
    assert 0.3 < results.best.hparams["x"] <= 0.41
    if rungs_alone:
        assert results.points["x"][results.order].max() <= 0.41
        whole = pj.search(curves(), {"x": pj.uniform(0, 1)}, trials=64, epochs=8, rank=rule)
        assert pj.simulate(scheduler, whole).best == results.best.trial


def test_copies_take_the_feasible():
    space = {"x": pj.uniform(0, 1)}
    rule = pj.best("loss", subject_to="weight <= 4")
    results = pj.search(curves(), space, trials=40, epochs=12, scheduler=pj.pbt(resample=0.0), rank=rule, seed=1)
    free = pj.search(
        curves(), space, trials=40, epochs=12, scheduler=pj.pbt(resample=0.0), rank=pj.best("loss"), seed=1
    )
    assert results.feasible.mean() > 0.8
    assert free.points["x"].mean() > results.points["x"].mean() + 0.2


def test_samplers_that_learn_take_the_infeasible_as_worse():
    """Also a complete one beside a feasible one that was pruned."""
    loss = np.array([3.0, 0.0, 1.0, 2.0, *np.arange(4.0, 20.0)])
    feasible = np.array([False, True, True, False] + [True] * 16)
    trials = Trials({}, np.array([8, 2, 2, 8] + [1] * 16), loss, {}, feasible=feasible)
    good, _ = good_and_others(trials, 0, pj.best("loss"))
    assert good.tolist() == [1, 2]
    results = pj.search(
        curves(),
        {"x": pj.uniform(0, 1)},
        trials=160,
        epochs=2,
        sampler="tpe",
        rank=pj.best("loss", subject_to="weight <= 4"),
    )
    late = results.points["x"][80:]
    assert (late <= 0.5).mean() > 0.9
    assert results.best.hparams["x"] > 0.38


def test_an_ensemble_has_feasible_members_only(rows):
    rule = pj.together(25, "greedy", subject_to="parameters <= 200")
    task = pj.supervised(rows)
    space = {"learning_rate": pj.log_uniform(1e-3, 0.3), "hidden": pj.integers(2, 40), "depth": 2}
    unlimited = pj.search(task, space, trials=24, epochs=2, seed=1, rank=pj.together(25, "greedy"))
    results = pj.search(task, space, trials=24, epochs=2, seed=1, rank=rule, start=[{"hidden": 5}])
    assert results.feasible.all()
    greedy = pj.together(24, "greedy", metric="val_loss", subject_to="train_loss <= 0.9")
    results = pj.search(task, space, trials=24, epochs=2, seed=1, rank=greedy)
    assert not results.feasible[list(results.states)].all(), "else this shows nothing"
    assert results.feasible[list(set(results.ensemble))].all()
    assert unlimited.ranked(pj.together(25, "greedy")).ensemble == ()
    limited = pj.together(25, "mean", metric="val_loss", subject_to="train_loss <= 0.9")
    results = pj.search(task, space, trials=24, epochs=2, seed=1, rank=limited)
    chosen = np.array(results.ensemble)
    assert 0 < len(chosen) < 24
    assert (results.values["train_loss"][chosen] <= 0.9).all()


def test_a_killed_search_ends_as_one_never_killed(tmp_path):
    rule = pj.best("loss", subject_to=["weight <= 4", "weight >= 1"])
    search = lambda out, **more: pj.search(
        curves(), {"x": pj.uniform(0, 1)}, trials=32, epochs=8, scheduler=pj.halving(), rank=rule, out=out, **more
    )
    with stopping.always_committed(), stopping.copied_at(tmp_path / "run", 8, tmp_path / "killed"):
        whole = search(tmp_path / "run")
    assert not (tmp_path / "killed" / "trials.parquet").exists()
    again = search(tmp_path / "killed", resume=True)
    assert again.best == whole.best
    assert again.order.tolist() == whole.order.tolist()
    assert again.feasible.tolist() == whole.feasible.tolist()


def test_pages_trackers_and_exports_show_it(rows, opened, tmp_path):
    task = pj.supervised(rows)
    space = {"learning_rate": pj.log_uniform(1e-3, 0.3), "hidden": pj.integers(2, 40), "depth": 2}
    rule = pj.best("val_loss", subject_to="train_loss <= 0.9")
    results = pj.search(task, space, trials=16, epochs=2, seed=1, rank=rule)
    ranked, violating = len(results.order), int((~results.feasible[results.order]).sum())
    assert 0 < violating < ranked
    page = opened(results)
    assert f"{ranked - violating} of {ranked} trials satisfy train_loss <= 0.9" in page.inner_text("body")
    page.select_option("#status", label="infeasible")
    page.wait_for_function(f"document.querySelectorAll('#trials tbody tr').length === {violating}")
    pytest.importorskip("optuna")
    import optuna

    from popjax.tracking.optuna_study import storage_in, write_study

    write_study(results, tmp_path / "study.log", "limited")
    study = optuna.load_study(study_name="limited", storage=storage_in(tmp_path / "study.log"))
    assert study.user_attrs["subject_to"] == ["train_loss <= 0.9"]
    beyond = [next(iter(trial.system_attrs["constraints"])) for trial in study.trials]
    assert [value <= 0 for value in beyond] == results.feasible.tolist()
    assert study.best_trial.number == results.best.trial


def test_a_command_takes_limits_and_adds_their_metrics(command, tmp_path):
    wine = ("--dataset", "wine", "--trials", "12", "--epochs", "2", "--quiet", "--out", "run")
    limits = ("--subject-to", "parameters<=5000", "--subject-to", "val_f1>=0.5")
    process = command("sweep", *wine, *limits)
    assert process.returncode == 0, process.stderr
    results = pj.Results.load(tmp_path / "run")
    assert results.rule.subject_to == ("parameters <= 5000", "val_f1 >= 0.5")
    assert results.costs["parameters"].max() <= 5000
    assert "val_f1" in results.values
    assert command("resume", "run", "--trials", "20", "--quiet").returncode == 0
    more = pj.Results.load(tmp_path / "run")
    assert more.costs["parameters"].max() <= 5000
    assert more.rule == results.rule


def test_a_diverged_trial_is_not_feasible():
    """Also where what it reported before was within the limits."""

    def epoch(epochs, h, data):
        return epochs + 1, {"loss": h["x"] + 0 * epochs, "cost": jnp.where(h["x"] > 0.5, 1 / (1 - epochs), 0.0)}

    task = pj.Task(lambda key, h, data: 0.0, epoch, ())
    results = pj.search(
        task, {"x": pj.uniform(0, 1)}, trials=20, epochs=3, rank=pj.best("loss", subject_to="cost <= 5")
    )
    assert results.diverged.any()
    assert not results.feasible[results.diverged].any()


def test_retest_names_the_limits_that_leave_nothing_to_compare(command, refused_in_one_line):
    wine = ("--dataset", "wine", "--trials", "12", "--epochs", "1", "--quiet", "--metric", "val_loss", "--out")
    assert command("sweep", *wine, "few", "--subject-to", "val_accuracy>=0.6").returncode == 0
    refused_in_one_line(
        "retest", "few", says=["--top 20: the search has", "within val_accuracy >= 0.6, so there are no others"]
    )


def test_what_mattered_is_told_of_the_trials_within_the_limits():
    from popjax.pages.comparison import reached
    from popjax.pages.importance import among_the_best

    cost = lambda key, hparams: {"loss": hparams["x"], "harm": 1 - hparams["x"]}
    rank = pj.best("loss", subject_to="harm <= 0.5")
    results = pj.search(pj.objective(cost), {"x": pj.uniform(0, 1)}, trials=32, rank=rank)
    outside = ~results.feasible
    assert outside.any()
    assert results.places[outside].min() > results.places[~outside].max()
    assert not among_the_best(results)[outside].any()
    assert reached(results)[1].min() == results.best.value
    none = dataclasses.replace(results, rule=pj.best(pj.Metric("loss", "min"), subject_to="harm <= -1"))
    assert len(np.unique(none.places)) == 32
