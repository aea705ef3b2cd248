"""Beliefs: laws of what is drawn, their spelling, what a wrong one costs, TPE's prior, and earlier searches."""

import json

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest, truncnorm

import popjax as pj
from popjax.space.beliefs import Belief, density
from popjax.space.spelling import parse_scale

SCALES = {
    "uniform": pj.uniform(-1, 3),
    "log_uniform": pj.log_uniform(1e-4, 1),
    "one_minus_log_uniform": pj.one_minus_log_uniform(0.9, 0.999),
}
CENTRES = {"uniform": 2.0, "log_uniform": 0.5, "one_minus_log_uniform": 0.95}  # one at an edge


@pytest.mark.parametrize("sampler", ["random", "sobol"])
@pytest.mark.parametrize("name", SCALES)
def test_points_follow_the_mixture_on_the_scales_own_axis(name, sampler):
    """A truncated normal around the value with probability `share`, the whole scale else."""
    scale, value, width, share = SCALES[name], CENTRES[name], 0.07, 0.6
    space = pj.Space(x=scale.near(value, width=width, share=share), y=pj.uniform(0, 1))
    units = np.asarray(scale.to_unit(space.sample(4096, 5, sampler)["x"]))
    centre = scale.to_unit(value)
    normal = truncnorm((0 - centre) / width, (1 - centre) / width, centre, width)
    law = lambda u: share * normal.cdf(u) + (1 - share) * u
    assert kstest(units, law).pvalue > 0.01
    assert kstest(units, "uniform").pvalue < 1e-6


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_several_values_count_alike_and_twice_if_named_twice(sampler):
    space = pj.Space(x=pj.uniform(0, 1).near(0.1, 0.9, 0.9, width=0.01))
    x = space.sample(6000, 1, sampler)["x"]
    low, high = (abs(x - 0.1) < 0.05).mean(), (abs(x - 0.9) < 0.05).mean()
    assert low == pytest.approx(0.8 / 3 + 0.2 * 0.1, abs=0.02)
    assert high == pytest.approx(1.6 / 3 + 0.2 * 0.1, abs=0.02)


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_a_choice_takes_its_values_and_integers_their_cells(sampler):
    space = pj.Space(kind=pj.choice("a", "b", "c", "d").near("b", share=0.7), n=pj.integers(1, 9).near(4, width=0.02))
    points = space.sample(8000, 2, sampler)
    shares = [(points["kind"] == value).mean() for value in "abcd"]
    assert shares == pytest.approx([0.075, 0.775, 0.075, 0.075], abs=0.015)
    assert (points["n"] == 4).mean() == pytest.approx(0.8 * 0.995 + 0.2 / 9, abs=0.02)
    assert points["n"].min() == 1
    assert points["n"].max() == 9


def test_beliefs_that_are_wrong_together_cost_five_times_the_trials_too():
    """One point has all that is believed, or nothing: so many points are drawn from the whole space."""
    near = lambda: pj.uniform(0, 1).near(0.05, width=0.01)
    space = pj.Space(a=near(), b=near(), c=near())
    points = space.sample(20_000)
    far = np.logical_and.reduce([points[name] > 0.5 for name in "abc"])
    assert far.mean() == pytest.approx(0.2 / 8, rel=0.15)


def test_the_first_points_are_those_of_fewer_and_other_axes_keep_their_bits():
    plain = pj.Space(x=pj.uniform(0, 1), y=pj.log_uniform(1e-3, 1))
    space = plain.replace(x=pj.uniform(0, 1).near(0.3))
    points = space.sample(300, 4)
    assert space.sample(40, 4)["x"].tolist() == points["x"][:40].tolist()
    assert points["y"].tolist() == plain.sample(300, 4)["y"].tolist()


def test_a_grid_takes_no_beliefs():
    with pytest.raises(
        ValueError, match=r"sampler 'grid' is even, and x is believed near 0.3; use random, sobol or tpe"
    ):
        pj.Space(x=pj.uniform(0, 1).near(0.3)).sample(9, 0, "grid")


def test_the_density_is_that_of_the_points():
    beliefs = {"x": Belief((0.2, 0.7), width=0.1, share=0.5), "y": Belief((0.9,), width=0.2, share=0.8)}
    scales = {"x": pj.uniform(0, 1), "y": pj.uniform(0, 1)}
    at = lambda x, y: density(beliefs, scales, {"x": np.atleast_1d(x), "y": np.atleast_1d(y)})
    side = (np.arange(200) + 0.5) / 200
    x, y = (axis.ravel() for axis in np.meshgrid(side, side))
    assert at(x, y).mean() == pytest.approx(1, abs=1e-3)
    points = pj.Space(x=scales["x"].near(0.2, 0.7, share=0.5), y=scales["y"].near(0.9, width=0.2)).sample(200_000)
    seen, *_ = np.histogram2d(points["x"], points["y"], bins=5, range=[[0, 1], [0, 1]])
    expected = at(x, y).reshape(5, 40, 5, 40).mean((1, 3)).T / 25
    assert seen / 200_000 == pytest.approx(expected, abs=0.004)
    alone = {"y": beliefs["y"]}
    whole, _ = quad(lambda u: density(alone, scales, {"y": np.array([u])}).item(), 0, 1)
    assert whole == pytest.approx(1)
    kinds = pj.choice("a", "b", "c", "d")
    each = density({"k": Belief(("b",))}, {"k": kinds}, {"k": np.asarray(kinds.to_unit(np.array([*"abcd"])))})
    assert each.tolist() == pytest.approx([0.2, 0.2 + 0.8 * 4, 0.2, 0.2])
    assert density(alone, scales, {"y": np.array([np.nan])}).tolist() == [1.0]  # inactive


@pytest.mark.parametrize(
    "text",
    [
        "log_uniform(0.0001, 1) near 0.01",
        "log_uniform(0.0001, 1) near 0.01|0.1, width=0.05, share=0.9",
        "choice('a near b', 'c') near 'a near b', share=0.5 when optimizer=sgd",
        "integers(1, 9) near 4|4|5 when depth=3|4",
        "choice('a, width=1', 'b') near 'a, width=1', share=0.5",
    ],
)
def test_a_belief_is_read_as_it_is_written(text):
    assert str(parse_scale(text)) == text
    assert parse_scale(str(parse_scale(text))) == parse_scale(text)
    space = pj.Space(optimizer=pj.choice("sgd", "adam"), depth=pj.integers(2, 4), x=parse_scale(text))
    assert pj.Space.from_dict(json.loads(json.dumps(space.to_dict()))) == space
    assert space.beliefs.keys() == {"x"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("uniform(0, 1) near 2", "2 is not in uniform(0, 1)"),
        ("choice('a', 'b') near c", "'c' is not in choice"),
        ("uniform(0, 1) near 0.5, share=1", "share=1; give the share of the points"),
        ("uniform(0, 1) near 0.5, share=0", "share=0; give"),
        ("uniform(0, 1) near 0.5, width=0", "width=0; give"),
        ("uniform(0, 1) near 0.5, width=x", "width='x'; give"),
        ("uniform(0, 1) near 0.5, depth=3", "write a belief such as"),
        ("0.3 near 0.3", "it has one value only"),
        ("uniform(0, 1) near 0.5 near 0.2", "near, width or share twice"),
        ("uniform(0, 1) near 0.5, width=0.1, width=0.2", "near, width or share twice"),
        ("uniform(0, 1) near 0.5, width=1e-300", "width=1e-300; give"),
    ],
)
def test_what_is_no_belief_is_one_line(text, says):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as refused:
        pj.Space.from_dict({"x": text})
    assert str(refused.value).startswith("x: ")
    assert says in str(refused.value)


def test_a_scale_that_is_replaced_takes_its_belief_with_it():
    space = pj.Space(x=pj.uniform(0, 1).near(0.3).when(y=1), y=pj.integers(1, 2))
    assert not space.replace(x=pj.uniform(0, 0.5)).beliefs
    assert space.replace(y=1).beliefs == space.beliefs
    assert space.replace(x=pj.uniform(0, 1).near(0.5)).conditions == space.conditions
    assert space.only(["x"]).beliefs == space.beliefs


def bowl(centre):
    return pj.objective(lambda key, hparams: {"loss": (hparams["x"] - centre) ** 2 + (hparams["y"] - centre) ** 2})


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_right_belief_pays_and_a_wrong_one_is_overcome(sampler):
    plain = pj.Space(x=pj.uniform(0, 1), y=pj.uniform(0, 1))
    believed = plain.replace(x=plain["x"].near(0.3), y=plain["y"].near(0.3))
    best = lambda space, centre, trials: np.median(
        [pj.search(bowl(centre), space, trials=trials, seed=s, sampler=sampler).best.value for s in range(9)]
    )
    assert best(believed, 0.35, 24) < best(plain, 0.35, 24) / 2
    assert best(believed, 0.95, 240) < best(plain, 0.95, 24)


def test_tpe_weighs_a_prior_less_with_each_trial():
    """The power is a tenth of the trials of the search over those so far (Hvarfner et al. 2022)."""
    from popjax.scheduler import Trials
    from popjax.tuning.tpe import tpe

    space = pj.Space(x=pj.uniform(0, 1).near(0.9, width=0.05))

    def proposed(count, budget):
        x = (np.arange(count) + 0.5) / count
        trials = Trials({"x": x}, np.ones(count, int), np.zeros(count), {"loss": np.zeros((count, 1))})  # all are alike
        return np.concatenate([tpe(seed, 8, trials, space, 1, pj.best("loss"), budget)["x"] for seed in range(12)])

    strong, weak, none = (abs(proposed(40, budget) - 0.9) for budget in (4000, 400, 0))
    assert np.median(strong) < np.median(weak) < np.median(none)
    assert np.median(strong) < 0.1


def test_earlier_searches_one_vote_each(tmp_path):
    space = pj.Space(x=pj.uniform(0, 1), y=pj.uniform(0, 1), z=pj.choice(1, 2, 3), w=0.5)
    task = lambda centre: pj.objective(
        lambda key, hparams: {
            "loss": (hparams["x"] - centre) ** 2
            + 0.1 * (hparams["z"] - 2) ** 2
            + 0 * sum(hparams.get(name, 0) for name in "yw")
        }
    )
    many = pj.search(task(0.2), {"x": pj.uniform(0, 1), "z": pj.choice(1, 2)}, trials=200, out=tmp_path / "many")
    few = pj.search(task(0.8), {"x": pj.uniform(0, 2), "z": pj.choice(2, 5)}, trials=30, seed=1)
    believed = space.near(tmp_path / "many", few)
    assert believed.beliefs.keys() == {"x", "z"}
    x = np.array(believed.beliefs["x"].values)
    assert len(x) == 10
    assert abs(x[:5] - 0.2).max() < 0.15
    assert abs(x[5:] - 0.8).max() < 0.35
    assert set(believed.beliefs["z"].values) == {2}
    assert space.near(many).beliefs["x"].values == tuple(x[:5].tolist())
    assert believed.near(few) == believed  # what is believed already stays
    own = space.replace(x=pj.uniform(0, 1).near(0.5)).near(many)
    assert own.beliefs["x"].values == (0.5,)
    assert own.beliefs["z"] == space.near(many).beliefs["z"]
    assert pj.Space.from_dict(believed.to_dict()) == believed
    assert pj.search(task(0.2), believed, trials=8, seed=3).space == believed


def test_what_gives_no_belief_is_one_line(tmp_path):
    space = pj.Space(x=pj.uniform(0, 1))
    other = pj.search(pj.objective(lambda key, h: {"loss": h["q"]}), {"q": pj.uniform(0, 1)}, trials=8)
    far = pj.search(pj.objective(lambda key, h: {"loss": h["x"]}), {"x": pj.uniform(5, 6)}, trials=8)
    lost = pj.search(pj.objective(lambda key, h: {"loss": h["x"] / 0}), {"x": pj.uniform(0, 1)}, trials=4)
    with pytest.raises(ValueError, match=r"near: the space is a dict; give a popjax.Space"):
        pj.near({"x": pj.uniform(0, 1)}, far)
    known = pj.Space(x=pj.uniform(5, 6), n=pj.integers(8, 8)).near(far)
    assert known.beliefs.keys() == {"x"}
    for given, says in (
        ((), "near: no results"),
        ((3,), "near: int is no result"),
        ((other,), "the runs searched q, and none of it within x"),
        ((far,), "none of it within x"),
        ((lost,), "all 4 trials diverged"),
        ((tmp_path,), "holds no finished run"),
    ):
        with pytest.raises(ValueError, match=r"^[^\n]*$") as refused:
            space.near(*given)
        assert says in str(refused.value)


def test_near_stands_once_and_with_directories(refused_in_one_line):
    wine = ("--dataset", "wine", "--trials", "4")
    refused_in_one_line("sweep", *wine, "--near", "a", "--near", "b", says=["--near stands there twice; name all"])
    refused_in_one_line("sweep", *wine, "--near", says=["--near: name a directory"])


def test_the_optimizer_may_be_believed_too(command, tmp_path):
    wine = ("--dataset", "wine", "--epochs", "1", "--trials", "9", "--quiet")
    for number, given in enumerate((["--set"], ["--optimizer"])):
        text = "choice(sgd, adam) near adam" if given == ["--optimizer"] else "optimizer=choice(sgd, adam) near adam"
        done = command("sweep", *wine, *given, text, "--out", f"run{number}")
        assert done.returncode == 0, done.stderr
        space = pj.Results.load(tmp_path / f"run{number}").space
        assert space.beliefs["optimizer"].values == ("adam",)
        assert space.conditions["momentum"] == {"optimizer": ("sgd",)}


def test_commands_record_the_beliefs_and_resume_needs_no_old_run(command, tmp_path):
    wine = ("--dataset", "wine", "--epochs", "1", "--quiet")
    assert command("sweep", *wine, "--trials", "6", "--out", "old").returncode == 0
    again = command("sweep", *wine, "--trials", "4", "--near", "old", "--set", "decay=uniform(0,0.2)", "--out", "new")
    assert again.returncode == 0, again.stderr
    (tmp_path / "old").rename(tmp_path / "gone")
    more = command("resume", "new", "--trials", "7", "--quiet")
    assert more.returncode == 0, more.stderr
    space = pj.Results.load(tmp_path / "new").space
    assert space.beliefs
    assert (pj.Results.load(tmp_path / "new").points["hidden"] == space.sample(7)["hidden"]).all()
