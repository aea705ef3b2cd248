"""Constraints on the space: what a clause may say, what is drawn, and who obeys: samplers, starts, copies, hands."""

import json

import numpy as np
import pytest

import popjax as pj
from popjax.scheduler import Trials
from popjax.space.constraints import Constraint
from popjax.space.samplers import SAMPLERS
from popjax.tuning.proposals import design

SPACE = pj.Space(hidden=pj.integers(50, 100), depth=pj.integers(2, 4), rate=pj.log_uniform(1e-4, 1))
NARROW = SPACE.where("hidden * depth <= 300", "rate >= 1e-3")


def product(points):
    return points["hidden"] * points["depth"]


@pytest.mark.parametrize(
    ("text", "python"),
    [
        ("a + b * 2 <= 7", lambda a, b: a + b * 2 <= 7),
        ("1 < a < b", lambda a, b: 1 < a < b),
        ("a ** 2 - b // 2 >= -1", lambda a, b: a**2 - b // 2 >= -1),
        ("-a + +b != 0", lambda a, b: -a + b != 0),
        ("(a + b) % 3 == 1", lambda a, b: (a + b) % 3 == 1),
        ("a / b > 0.4", lambda a, b: a / b > 0.4),
        ("1e-3 <= a", lambda a, b: a >= 1e-3),
    ],
)
def test_a_constraint_says_what_python_says(text, python):
    a, b = (axis.ravel() for axis in np.meshgrid(np.arange(-3.0, 6), np.arange(1.0, 7)))
    expected = [python(*pair) for pair in zip(a.tolist(), b.tolist(), strict=True)]
    assert Constraint(text).holds({"a": a, "b": b}).tolist() == expected
    assert Constraint(str(Constraint(text))) == Constraint(text)


def test_what_is_no_number_satisfies_nothing_and_what_is_inactive_everything():
    points = {"a": np.array([0.0, 1.0]), "b": np.array([3, None], object), "c": np.array([np.nan, 2.0])}
    assert Constraint("0 / a <= 5").holds(points).tolist() == [False, True]
    assert Constraint("0 / a != 5").holds(points).tolist() == [False, True]
    assert Constraint("b < 0").holds(points).tolist() == [False, True]
    assert Constraint("c + a < 0").holds(points).tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("__import__('os').system('true') <= 1", "cannot use"),
        ("hidden.__class__ <= 1", "cannot use"),
        ("hidden", "compares nothing"),
        ("hidden <= 1 and depth <= 2", "compares nothing"),
        ("hidden in (1, 2)", "cannot use"),
        ("hidden is 3", "other than"),
        ("hidden <= 'a'", "cannot use"),
        ("hidden <= True", "cannot use"),
        ("hidden <= 1" + "0" * 280, "cannot use"),
        ("1 <= 2", "names no hyperparameter"),
        ("hidden <", "cannot be read"),
        ("hidden <= " + "(" * 150 + "1" + ")" * 150, "characters; give at most 300"),
        ("hidden <= " + "-" * 280 + "1", "0 of 10,240 points"),
        ("hidden ** 9 ** 9 ** 9 <= 1", "0 of 10,240 points"),
        ("width <= 1", "there is no hyperparameter 'width'"),
        ("lambda <= 1", "'lambda' is a word of Python's"),
        ("+".join(["depth"] * 49) + "<=9", "characters; give at most 300"),  # as it is recorded, with spaces
    ],
)
def test_hostile_constraints_are_one_line(text, says):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as refused:
        SPACE.where(text).sample(10)
    assert says in str(refused.value)


def test_ten_thousand_constraints_and_a_text_are_refused():
    with pytest.raises(ValueError, match=r"where: 10,000 constraints; give at most 100"):
        SPACE.where(*(f"hidden <= {bound}" for bound in range(10_000)))
    space = pj.Space(optimizer=pj.choice("sgd", "adam"), rate=pj.uniform(0, 1))
    with pytest.raises(ValueError, match=r"optimizer is choice\('sgd', 'adam'\), no number; use a condition"):
        space.where("optimizer <= 1")
    with pytest.raises(ValueError, match=r"'where' is a reserved name; write constraints as popjax.Space\(...\).where"):
        pj.Space(where=pj.uniform(0, 1))


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_points_are_those_of_the_whole_space_without_the_violating_ones(sampler):
    """In their order, so that the first k of n are the points for k."""
    plain, points = SPACE.sample(4000, 3, sampler), NARROW.sample(500, 3, sampler)
    good = np.flatnonzero((product(plain) <= 300) & (plain["rate"] >= 1e-3))[:500]
    for name, column in points.items():
        assert column.tolist() == plain[name][good].tolist(), name
        assert column[:77].tolist() == NARROW.sample(77, 3, sampler)[name].tolist()


def test_a_grid_leaves_them_out():
    plain, points = SPACE.sample(100, 0, "grid"), NARROW.sample(100, 0, "grid")
    good = (product(plain) <= 300) & (plain["rate"] >= 1e-3)
    assert product(points).tolist() == product(plain)[good].tolist()
    with pytest.raises(ValueError, match=r"0 of \d+ points of the space satisfy hidden > 1000"):
        SPACE.where("hidden > 1000").sample(20, 0, "grid")


def test_one_in_a_thousand_is_enough_and_fewer_are_refused():
    space = pj.Space(x=pj.uniform(0, 1))
    assert (space.where("x <= 2e-3").sample(40)["x"] <= 2e-3).all()
    with pytest.raises(ValueError, match=r"points of the space satisfy x <= 0.0001; loosen one of them, or narrow"):
        space.where("x <= 0.0001").sample(40)
    with pytest.raises(ValueError, match=r"20,000 points that satisfy x <= 0.0015 are too many to draw; give fewer"):
        space.where("x <= 0.0015").sample(20_000)
    started = [pj.search(planted(), UNITS.where("x <= 0.002"), trials=2, start=[{"y": 0.5}], seed=s) for s in range(9)]
    assert max(results.points["x"].max() for results in started) <= 0.002


def test_a_space_keeps_its_constraints():
    assert pj.Space.from_dict(json.loads(json.dumps(NARROW.to_dict()))) == NARROW != SPACE
    assert NARROW.to_dict()["where"] == ["hidden * depth <= 300", "rate >= 0.001"]
    assert (product(NARROW.replace(rate=0.1).sample(50)) <= 300).all()
    assert NARROW.where("hidden*depth<=300").constraints == NARROW.constraints
    assert [str(one) for one in NARROW.only(["rate", "depth"]).constraints] == ["rate >= 0.001"]
    assert "hidden * depth <= 300" in repr(NARROW)
    assert "hidden * depth &lt;= 300" in NARROW._repr_html_()


def test_a_toml_file_has_them_under_a_key_of_their_own(tmp_path):
    (tmp_path / "space.toml").write_text('where = ["a + b <= 1"]\na = "uniform(0, 1)"\nb = "uniform(0, 1)"\n')
    points = pj.Space.from_toml(tmp_path / "space.toml").sample(30)
    assert (points["a"] + points["b"] <= 1).all()
    (tmp_path / "space.toml").write_text('where = 3\na = "uniform(0, 1)"\n')
    with pytest.raises(ValueError, match="where is 3; give a list of texts"):
        pj.Space.from_toml(tmp_path / "space.toml")


def planted():
    """The best point of the whole space lies where the constraint forbids it."""
    return pj.objective(lambda key, hparams: {"loss": (hparams["x"] - 0.9) ** 2 + (hparams["y"] - 0.9) ** 2})


UNITS = pj.Space(x=pj.uniform(0, 1), y=pj.uniform(0, 1)).where("x + y <= 1")


@pytest.mark.parametrize(
    "settings",
    [
        {"sampler": "sobol"},
        {"sampler": "tpe"},
        {"sampler": "tpe", "scheduler": pj.rounds(4)},
        {"scheduler": pj.rounds(3)},
    ],
    ids=["sobol", "tpe", "tpe in rounds", "rounds"],
)
def test_all_trials_of_a_search_satisfy_them(settings):
    results = pj.search(planted(), UNITS, trials=120, seed=2, **settings)
    assert len(results.trials) == 120
    assert (results.points["x"] + results.points["y"] <= 1).all()
    assert results.best.value < 0.36  # at (0.5, 0.5) it is 0.32
    if "scheduler" in settings and settings.get("sampler") is None:
        assert pj.refine(UNITS, results).constraints == UNITS.constraints


def test_a_sampler_that_learns_is_asked_again_and_then_left_alone(monkeypatch):
    """One that only proposes what violates: random points stand in."""
    from popjax.tuning.proposals import LEARNING, Learning

    asked = []

    def stubborn(seed, n, trials, space, epochs):
        asked.append(n)
        return {name: np.full(n, 0.9) for name in space.searched}

    monkeypatch.setitem(LEARNING, "stubborn", Learning(stubborn))
    results = pj.search(planted(), UNITS, trials=24, sampler="stubborn", scheduler=pj.rounds(2))
    assert (results.points["x"] + results.points["y"] <= 1).all()
    assert asked == [12] * 20  # ten times, and each is checked by a second call


def test_a_users_sampler_is_drawn_from_until_there_are_enough(monkeypatch):
    monkeypatch.setitem(SAMPLERS, "mine", lambda n, levels, seed: np.random.default_rng(seed).random((n, len(levels))))
    points = design("mine", UNITS, 4)(30)
    assert len(points["x"]) == 30
    assert (points["x"] + points["y"] <= 1).all()


def test_what_is_drawn_again_is_said(capsys):
    pj.search(planted(), UNITS, trials=50)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("popjax: ")
    assert line.endswith("points violate x + y <= 1, and are drawn again")


def test_points_to_start_with_obey():
    with pytest.raises(ValueError, match=r"start: point 1: violates x \+ y <= 1; change it, or leave it out"):
        pj.search(planted(), UNITS, trials=8, start=[{"x": 0.2}, {"x": 0.7, "y": 0.7}])
    results = pj.search(planted(), UNITS, trials=8, start=[{"x": 0.95}, {"x": 0.3, "y": 0.4}])
    assert results.points["x"][:2].tolist() == [0.95, 0.3]
    assert results.points["y"][0] <= 0.05


def test_earlier_trials_that_violate_are_no_start(capsys):
    free = pj.search(planted(), pj.Space(x=pj.uniform(0, 1), y=pj.uniform(0, 1)), trials=100)
    started = pj.search(planted(), UNITS, trials=20, start=free)
    assert (started.points["x"] + started.points["y"] <= 1).all()
    assert "left out; trial " in capsys.readouterr().err


def momentum_task():
    def epoch(x, hparams, data):
        return x - hparams["rate"] * (x - hparams["shift"]), {"loss": (x - 0.3) ** 2}

    return pj.Task(lambda key, hparams, data: 1.0, epoch, ())


def test_copies_of_pbt_obey_by_other_draws_or_the_sources_values():
    space = pj.Space(rate=pj.uniform(0, 1), shift=pj.uniform(0, 1)).where("0.4 <= rate + shift <= 0.5")
    results = pj.search(momentum_task(), space, trials=20, epochs=12, scheduler=pj.pbt(), seed=3)
    changed = 0
    for trial in range(20):
        values = results.history.of(trial)
        total = values["rate"] + values["shift"]
        assert (total >= 0.4).all()
        assert (total <= 0.5).all()
        changed += len(set(total.tolist())) - 1
    assert changed > 5


def test_a_scheduler_and_a_hand_are_told_once(capsys):
    space = pj.Space(rate=pj.uniform(0, 1), shift=pj.uniform(0, 1)).where("rate + shift <= 1")

    def beyond(problem):
        def step(number, trials):
            if number == 0:
                points = {"rate": np.array([0.9, 0.1]), "shift": np.array([0.9, 0.1])}
                return 1, pj.Decision(add=points, until={0: 1, 1: 1})
            if number == 1:
                return 2, pj.Decision(set={1: {"rate": 0.95, "shift": 0.5}}, until={0: 2, 1: 2})
            return 3, pj.Decision()

        return pj.Scheduler(lambda: 0, step)

    pj.search(momentum_task(), space, trials=2, epochs=2, scheduler=beyond)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "violates" in line]
    assert line.endswith("gives a point that violates rate + shift <= 1; it is trained so, and said once")
    session = pj.Session(momentum_task(), {"rate": [0.1, 0.2], "shift": [0.1, 0.2]}, space=space)
    session.set(0, rate=0.95)
    assert capsys.readouterr().err == "popjax: a point violates rate + shift <= 1 now; it is trained so\n"
    for wrong in ({"other": 1}, {"rate": {}}, {"rate": 10**400}, {"rate": "a"}, {"rate": [1, 2]}):
        with pytest.raises(ValueError, match=r"^[^\n]*$"):
            session.set(**wrong)
    session.set(1, rate=0.3)
    assert capsys.readouterr().err == ""


def test_what_a_copy_is_set_to_is_judged_by_its_source():
    from popjax.tuning.schedulers.bounds import broken

    space = pj.Space(a=pj.uniform(1, 100), b=pj.uniform(0, 10)).where("a * b <= 100")
    points = {"a": np.array([100.0, 10.0]), "b": np.array([1.0, 5.0])}
    decision = pj.Decision(copy={0: 1}, set={0: {"b": 6.0}}, until={0: 2})
    assert broken(space, decision, points) == ""
    assert broken(space, decision._replace(copy={}), points) == "a * b <= 100"
    swapped = {name: column[::-1] for name, column in points.items()}
    assert broken(space, decision, swapped) == "a * b <= 100"


def test_a_grid_says_what_it_leaves_out(capsys):
    task = pj.objective(lambda key, hparams: {"loss": 0.0 * hparams["x"]})
    for text in ("x <= 3", "x >= 3"):
        pj.search(task, pj.Space(x=pj.integers(1, 5)).where(text), trials=5, sampler="grid")
        assert capsys.readouterr().err == f"popjax: 2 of 5 points violate {text}, and are left out\n"


def test_a_zoomed_space_is_drawn_within_them():
    results = pj.search(planted(), UNITS, trials=60)
    narrow = pj.refine(UNITS, results)
    points = narrow.sample(200)
    assert (points["x"] + points["y"] <= 1).all()
    assert narrow["x"].low > 0


def test_a_command_keeps_them_through_resume_and_a_file_of_options(command, tmp_path):
    begun = ["--dataset", "wine", "--epochs", "1", "--where", "hidden * depth <= 160", "--quiet", "--out", "run"]
    assert command("sweep", *begun, "--trials", "4").returncode == 0
    assert command("resume", "run", "--trials", "9", "--quiet").returncode == 0
    results = pj.Results.load(tmp_path / "run")
    assert len(results.trials) == 9
    assert (product(results.points) <= 160).all()
    printed = command("sweep", *begun, "--print-config").stdout
    (tmp_path / "options.toml").write_text(printed)
    assert command("sweep", "--config", "options.toml", "--trials", "5", "--out", "again").returncode == 0
    assert (product(pj.Results.load(tmp_path / "again").points) <= 160).all()


def test_a_file_of_options_loses_its_constraints_with_its_space(command, tmp_path):
    (tmp_path / "options.toml").write_text('dataset = "wine"\nwhere = ["hidden <= 60"]\ntrials = 3\nepochs = 1\n')
    (tmp_path / "space.toml").write_text('learning_rate = "log_uniform(1e-3, 0.1)"\n')
    whole = command("sweep", "--config", "options.toml", "--out", "whole", "--quiet")
    own = command("sweep", "--config", "options.toml", "--space", "space.toml", "--out", "own", "--quiet")
    assert (whole.returncode, own.returncode) == (0, 0), own.stderr
    assert pj.Results.load(tmp_path / "whole").points["hidden"].max() <= 60
    assert not pj.Results.load(tmp_path / "own").space.constraints


def test_a_command_says_what_is_wrong_with_one(refused_in_one_line):
    wine = ("--dataset", "wine", "--trials", "4")
    refused_in_one_line("sweep", *wine, "--where", "hidden", says=["where 'hidden': compares nothing"])
    refused_in_one_line("sweep", *wine, "--where", "width <= 3", says=["there is no hyperparameter 'width'"], code=2)


def test_trials_seen_by_a_scheduler_are_feasible_by_default():
    assert Trials({}, np.zeros(3, int), np.zeros(3), {}).feasible.tolist() == [True] * 3
