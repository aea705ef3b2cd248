"""Old winners tried again: the verdict is right where it is known, and unsure where it must be."""

import dataclasses
import json
import shlex
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import warm
from scipy.stats import binomtest

import popjax as pj
from popjax.commands.retest import VALIDATION, train_again
from popjax.tuning.verdict import first_now, gains, judge, mean_and_half

TASK = """
import jax, jax.numpy as jnp
import popjax as pj

def made(optimum):
    # loss: squared distance of the learning rate from its optimum in decades, and noise of the repeat
    def loss(key, hparams):
        distance = jnp.log10(hparams["learning_rate"]) - optimum
        return {"loss": distance**2 + 0.05 * jax.random.normal(key)}
    return pj.objective(loss)

then, now = made(-3.0), made(-1.0)
"""


def retest_of(path):
    return json.loads((path / "retest.json").read_text())


@pytest.mark.parametrize("seed", range(2))
def test_the_same_data_says_keep_and_other_data_tune_again(command, tmp_path, seed):
    """The best learning rate two decades away makes the others' best better than the old best, whatever the seed."""
    (tmp_path / "mine.py").write_text(TASK)
    search = ("--trials", 128, "--set", "learning_rate=log_uniform(1e-5,1)", "--seed", seed, "--out", "run", "--quiet")
    assert command("sweep", "--task", "mine:then", *search).returncode == 0
    for task, verdict, said in (("then", "keep", "keep the old setting"), ("now", "tune_again", "tune again")):
        process = command("retest", "run", "--task", f"mine:{task}")
        assert process.returncode == 0, process.stderr
        found = retest_of(tmp_path / "run")
        assert found["verdict"] == verdict
        assert found["reason"].startswith(said)
        lines = process.stdout.splitlines()
        assert lines[-4] == f"{found['reason'].partition(';')[0]}: the old best has {found['place_says']}"
        assert lines[-3] == f"in figures: {found['reason'].partition('; ')[2]}"
        assert (found["kendall_tau"] > 0.5) == (verdict == "keep")
        assert (found["top_k_overlap"] > 0.5) == (verdict == "keep")
        order = sorted(found["trials"], key=lambda row: row["new"])
        (winner,) = (row for row in order if row["trial"] == pj.Results.load(tmp_path / "run").best.trial)
        assert found["best_now"] == order[0]["trial"]
        assert found["first_place"] == order.index(winner) + 1
        assert (found["first_place"] > 20) == (verdict == "tune_again")
        assert process.stdout.splitlines()[-2].startswith(f"the old best, trial {winner['trial']}, had ")


@pytest.mark.soak
def test_the_same_prices_in_another_unit_say_keep(command, tmp_path):
    """New rows of a CSV whose target is three times as large: standardized, the old setting is as good as it was."""
    rng = np.random.default_rng(0)

    def write(name, scale):
        x = rng.normal(size=(300, 4))
        y = scale * (x @ np.array([1.0, -2.0, 0.5, 0.0])) + rng.normal(size=300) * 0.1 * scale
        lines = [",".join(map(str, [*row, value])) for row, value in zip(x.tolist(), y.tolist(), strict=True)]
        (tmp_path / name).write_text("\n".join(["a,b,c,d,price", *lines]))

    write("then.csv", 1)
    write("now.csv", 3)
    data = ("--dataset", "then.csv", "--target", "price")
    search = command(
        "sweep", *data, "--trials", 40, "--epochs", 5, "--metric", "val_r2", "--mode", "max", "--out", "run"
    )
    assert search.returncode == 0, search.stderr
    for name, same in (("then.csv", True), ("now.csv", False)):
        process = command("retest", "run", "--dataset", name, "--top", 10, "--background", 15)
        assert process.returncode == 0, process.stderr
        found = retest_of(tmp_path / "run")
        assert found["verdict"] == "keep", "r2 does not know the unit of the target"
        assert found["same_data"] is same


def test_what_is_written(command, tmp_path):
    """Old and new scores of the old best and of a sample of the others; the new ones are means over the folds."""
    command("sweep", "--dataset", "wine", "--trials", 30, "--epochs", 3, "--out", "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.parquet")}
    process = command("retest", "run", "--top", 5, "--background", 7, "--repeats", 3)
    assert (process.returncode, process.stderr) == (0, "")
    found = retest_of(tmp_path / "run")
    table = pq.read_table(tmp_path / "run" / "trials.parquet").to_pylist()
    best = sorted((row for row in table if row["rank"]), key=lambda row: row["rank"])[:5]
    assert [trial["trial"] for trial in found["trials"] if trial["old_best"]] == [row["trial"] for row in best]
    others = [trial["trial"] for trial in found["trials"] if not trial["old_best"]]
    assert len(set(others)) == 7
    assert not set(others) & {row["trial"] for row in best}
    results, numbers = pj.Results.load(tmp_path / "run"), [trial["trial"] for trial in found["trials"]]
    task = pj.supervised("wine", seed=1).in_folds(3, VALIDATION)
    again = train_again(task, pj.Space.from_dict(results.run["space"]), results, np.array(numbers), 3, 1)
    assert [trial["new"] for trial in found["trials"]] == pytest.approx(again.mean(1).tolist(), rel=1e-6)
    assert [trial["old"] for trial in found["trials"]] == pytest.approx([table[one]["val_accuracy"] for one in numbers])
    assert found["seed"] == 1
    assert found["same_data"] is True
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.parquet")}


@pytest.mark.soak
def test_a_trial_keeps_its_number_and_does_not_depend_on_the_others(rows):
    """Its bits are the same in any company, and those of a session from the same key."""
    import popjax as pj
    from popjax.commands.retest import train_again

    task = pj.supervised(rows, seed=9).in_folds(4, 0.1)
    space = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-1), hidden=pj.integers(3, 9))
    results = pj.search(pj.supervised(rows), space, trials=12, epochs=3)
    again = train_again(task, space, results, np.array([7, 2]), 4, 9)
    alone = train_again(task, space, results, np.array([2]), 4, 9)
    session = pj.Session(task, results.hparams(2), epochs=3, seed=9, space=space, numbers=[2], folds=4)
    session.train(3)
    assert again.shape == (2, 4)
    assert alone[0].tobytes() == again[1].tobytes()
    assert again[1].mean() == pytest.approx(session.curves["val_accuracy"][-1], rel=1e-6)  # a mean in float32
    assert task.split.validation.shape == (4, 17), "a tenth of the rows, not a quarter of those that do not test"
    assert len(set(again.ravel().tolist())) > 2, "the folds validate on rows of their own"


def test_the_others_lead_is_measured_on_repeats_that_did_not_choose():
    value = np.array([[1.0, 1.0, 9.0, 9.0, 9.0], [0.0, 3.0, 1.0, 0.0, 2.0], [2.0, 0.0, 3.0, 1.0, 0.0], [0.5] * 5])
    # the first two choose row 1 (sum 3) and row 2 (sum 2)
    assert gains(value, 2).tolist() == [2.0, 1.0, -2.0]


def test_a_lucky_choice_is_no_lead():
    """Pure noise, however often it is repeated: with 95 % confidence one in forty verdicts is wrong on either side."""
    rng = np.random.default_rng(0)
    for repeats in (3, 5, 10, 20):
        ahead = np.array([mean_and_half(gains(rng.normal(size=(40, repeats)), 20)) for _ in range(2000)])
        for wrong in ((ahead[:, 0] > ahead[:, 1]).sum(), (-ahead[:, 0] > ahead[:, 1]).sum()):
            assert binomtest(int(wrong), 2000, 0.025).pvalue > 1e-3, (repeats, wrong)
    verdicts = [judge(rng.permutation(40), rng.normal(size=(40, 5)), 20, "max")["verdict"] for _ in range(200)]
    assert verdicts.count("unclear") > 150


def test_the_best_of_many_that_are_alike_is_not_ahead_of_the_old_best():
    rng = np.random.default_rng(1)
    for repeats in (5, 10):
        says = [
            first_now(np.arange(40), np.zeros(40), rng.normal(size=(40, repeats)), mode)["place_says"]
            for mode in ("min", "max")
            for _ in range(1000)
        ]
        wrong = sum("more than its error" in one for one in says)
        assert binomtest(wrong, 2000, 0.025, "greater").pvalue > 1e-3, (repeats, wrong)
    far = np.where(np.arange(40)[:, None] == 7, 2.0, 0) + 0.1 * rng.normal(size=(40, 5))
    lost = np.where(np.arange(5) == 4, np.nan, 9.0)  # far ahead, until it diverges
    assert first_now(np.arange(41), np.zeros(41), np.vstack([far, lost]), "max")["place_says"].endswith(
        "than its error"
    )
    assert first_now(np.arange(2), np.zeros(2), np.array([lost, far[7]]), "max")["place_says"].endswith("it diverged")
    lost = lost[::-1]
    assert first_now(np.arange(2), np.zeros(2), np.array([lost, far[7]]), "max")["place_says"].endswith("it diverged")
    assert "behind the best by more" in first_now(np.arange(40), np.zeros(40), far, "max")["place_says"]
    assert "behind the best by more" in first_now(np.arange(40), np.zeros(40), -far, "min")["place_says"]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_verdicts_of_made_up_scores(mode):
    rng = np.random.default_rng(1)
    places, quality = np.arange(40), np.linspace(1, 0, 40)[:, None] * (1 if mode == "max" else -1)
    noise = 0.05 * rng.normal(size=(40, 5))
    assert judge(places, quality + noise, 20, mode)["verdict"] == "keep"
    assert judge(places, quality[::-1] + noise, 20, mode)["verdict"] == "tune_again"
    assert judge(places, noise, 20, mode)["verdict"] == "unclear"
    diverged = np.where(np.arange(40)[:, None] < 20, np.nan, quality + noise)
    again = judge(places, diverged, 20, mode)
    assert again["verdict"] == "tune_again"
    assert (
        again["reason"] == "tune again: the old setting is no longer the best; all of the old top 20 diverged this time"
    )
    kept = judge(places, diverged[::-1], 20, mode)
    assert kept["verdict"] == "keep"
    assert kept["reason"] == "keep the old setting; all 20 others diverged this time"
    assert judge(places, np.full((40, 5), np.nan), 20, mode)["verdict"] == "unclear"


def test_the_interval_is_students():
    from scipy.stats import t

    values = np.array([1.0, 2.0, 4.0])
    low, high = t.interval(0.95, 2, values.mean(), values.std(ddof=1) / np.sqrt(3))
    assert mean_and_half(values) == pytest.approx(((low + high) / 2, (high - low) / 2))


BAD = [
    (["nothing"], "'nothing' holds no finished run", ""),
    (["empty"], "'empty' holds no finished run", ""),
    (["wine", "--top", 0], "--top 0", "at least 1"),
    (["wine", "--repeats", 2], "--repeats 2", "at least 3"),
    (["wine", "--top", 30], "--top 30", "give fewer"),
    (["wine", "--seed", -3], "--seed -3", "0 <= seed"),
    (["wine", "--dataset", "digits"], "'digits' lacks the column 'alcohol'", "same columns"),
    (["wine", "--dataset", "other.csv", "--target", "y"], "'other.csv' lacks the column", "same columns"),
    (["file"], "over a file, which must be given again", "popjax.retest file --dataset mine.csv --target y"),
    (["file", "--dataset", "number.csv", "--target", "y"], "is a regression, the search was a classification", "kind"),
    (["file", "--dataset", "more.csv", "--target", "y"], "'more.csv' has the column 'b'", "same columns"),
    (["task"], "a task of your own, which must be given again", "popjax.retest task --task mine:then"),
    ([], "directory", "--help"),
]


@pytest.fixture(scope="module")
def traps(tmp_path_factory):
    """Searches of four trials, and data that do not fit them."""
    place = tmp_path_factory.mktemp("traps")
    rows = [f"{i % 7},{i % 2}" for i in range(40)]
    (place / "mine.csv").write_text("\n".join(["a,y", *rows]))
    (place / "number.csv").write_text("\n".join(["a,y", *(f"{i % 7},{i}.5" for i in range(40))]))
    (place / "more.csv").write_text("\n".join(["a,b,y", *(f"{i % 7},{i % 5},{i % 2}" for i in range(40))]))
    (place / "other.csv").write_text("\n".join(["c,y", *rows]))
    (place / "mine.py").write_text(TASK)
    searches = {
        "wine": ["--dataset", "wine"],
        "file": ["--dataset", "mine.csv", "--target", "y"],
        "task": ["--task", "mine:then", "--set", "learning_rate=log_uniform(1e-5,1)"],
    }
    for name, arguments in searches.items():
        common = ["--trials", "4", "--epochs", "2", "--out", name, "--quiet"]
        assert warm.command("sweep", *arguments, *common, cwd=place, environment=warm.CACHE).returncode == 0
    (place / "empty").mkdir()
    (place / "broken").mkdir()
    (place / "broken" / "run.json").write_text("{")
    return place


@pytest.mark.parametrize(("arguments", "names", "remedy"), BAD, ids=lambda value: " ".join(map(str, value))[:60])
def test_bad_input_is_one_line_and_exit_2(refused_in_one_line, traps, arguments, names, remedy):
    refused_in_one_line("retest", *arguments, says=(names, remedy), cwd=traps)


def test_a_damaged_directory_is_3(refused_in_one_line, traps):
    refused_in_one_line("retest", "broken", says=("'broken/run.json'", "cannot read"), cwd=traps, code=3)


def test_where_it_is_time_to_tune_again_it_says_with_what(command, tmp_path):
    """Of a run whose worst trials were recorded as its best: the next search begins near what it found."""
    rates = ("--set", "learning_rate=log_uniform(1e-5,0.1)", "--set", "momentum=0.9", "--set", "batch_size=16")
    settings = ("--trials", 64, "--epochs", 6, "--metric", "val_loss", *rates, "--quiet", "--out", "run")
    done = command("sweep", "--dataset", "wine", *settings)
    assert done.returncode == 0, done.stderr
    results = pj.Results.load(tmp_path / "run")
    members = {name: 10 - values if name == "val_loss" else values for name, values in results.members.items()}
    dataclasses.replace(results, members=members).save(tmp_path / "run")
    process = command("retest", "run", "--repeats", 8)
    assert process.returncode == 0, process.stderr
    assert retest_of(tmp_path / "run")["verdict"] == "tune_again"
    line = process.stdout.splitlines()[-1]
    assert line.endswith(" --dataset wine --near run")
    words = shlex.split(line.partition("sweep ")[2])
    again = command("sweep", *words, "--trials", 4, "--epochs", 1, "--out", "again", "--quiet")
    assert again.returncode == 0, again.stderr
    assert pj.Results.load(tmp_path / "again").space.beliefs


@pytest.mark.parametrize("rule", ["one-se", "pareto"])
def test_the_winner_is_the_old_best(command, tmp_path, rule):
    """Where it is not the first in the order; of several objectives also the others are the best by the first one."""
    metric = ("--metric", "val_loss,parameters") if rule == "pareto" else ()
    settings = (
        "--dataset",
        "wine",
        "--trials",
        24,
        "--epochs",
        3,
        "--folds",
        2,
        "--seed",
        7,
        "--choose",
        rule,
        *metric,
    )
    assert command("sweep", *settings, "--quiet", "--out", "run").returncode == 0
    results = pj.Results.load(tmp_path / "run")
    by_loss = np.argsort(results.values["val_loss"], kind="stable").tolist()
    differs = results.best.trial != results.order[0] if rule == "one-se" else results.order.tolist() != by_loss
    assert differs, "else this shows nothing"
    process = command("retest", "run", "--repeats", 3, "--top", 3)
    assert process.returncode == 0, process.stderr
    tried = retest_of(tmp_path / "run")["trials"]
    assert f"the old best, trial {results.best.trial}, had" in process.stdout
    best = [results.best.trial, *(trial for trial in results.order.tolist() if trial != results.best.trial)]
    if rule == "pareto":
        best = by_loss
    assert [one["trial"] for one in tried if one["old_best"]] == best[:3]


def test_a_run_that_cannot_be_written_is_refused_before_training(command, tmp_path):
    assert (
        command("sweep", "--dataset", "wine", "--trials", 4, "--epochs", 1, "--quiet", "--out", "run").returncode == 0
    )
    code = """
import resource
from popjax.commands import retest
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # root may write anywhere, but no longer files
retest.main(["run", "--top", "2"])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode
    assert "cannot write to 'run': File too large, where retest.json is to be; copy the run" in done.stderr
    assert "training" not in done.stdout


def test_no_trial_that_ranks_fits_fewer_rows(tmp_path):
    from popjax.commands.retest import chosen_trials

    results = pj.search(pj.supervised("wine"), {"learning_rate": pj.log_uniform(1e-3, 1)}, trials=4, epochs=1)
    with pytest.raises(ValueError, match="no trial that ranks fits these rows; give more rows"):
        chosen_trials(results, np.array([], int), 2, 2, 0)
