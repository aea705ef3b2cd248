"""Run directories stay readable for two minor versions, and of the present one go on: finished, and killed.

Each holds `command.json`, the arguments that made it without --out; a killed one also `expected/`, the tables that the
same command wrote when it was left alone, and the optimizer updates that were left to do. MINOR-machine.json says
where they were made, by make_goldens.py.
"""

import functools
import json
import shutil
import signal
from importlib.metadata import version
from pathlib import Path

import jax
import make_goldens
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stopping
from conftest import refused, soaked
from make_goldens import MINOR
from sklearn.datasets import load_wine

import popjax as pj

GOLDEN = Path(__file__).parent / "golden"
MAJOR, NUMBER = MINOR.split(".")
KINDS = [f"{MINOR}-{kind}" for kind in make_goldens.COMMANDS]
OLDER = [f"{MAJOR}.{int(NUMBER) - 1}-{kind}" for kind in make_goldens.COMMANDS]
TABLES = ("trials.parquet", "curves.parquet")
LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn")
VECTORS = ("sse", "ssse", "avx", "fma", "f16c", "amx")


def machine():
    """What the bits depend on. A model name can stand for several CPUs, so their vector instructions are there too."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    about = dict(map(str.strip, line.split(":", 1)) for line in lines if ":" in line)  # the last core's
    return {
        "cpu": about.get("model name"),
        "vectors": sorted(flag for flag in about.get("flags", "").split() if flag.startswith(VECTORS)),
        "backend": jax.default_backend(),
        "versions": {name: version(name) for name in LIBRARIES},
    }


def same_machine(name):
    """Whether a golden directory was made on a machine like this."""
    return machine() == json.loads((GOLDEN / f"{name.split('-')[0]}-machine.json").read_text())


def trials_written(golden):
    """How many trials' points a directory holds."""
    lines = map(json.loads, (golden / "decisions.jsonl").read_text().splitlines())
    return sum(len(line["add"]["learning_rate"]) for line in lines if "add" in line)


@pytest.fixture
def run(tmp_path):
    """`run(name)` copies a golden directory to `run`, as it was written; gives the arguments that made it."""

    def copy(name):
        shutil.copytree(GOLDEN / name, tmp_path / "run", ignore=shutil.ignore_patterns("expected", "command.json"))
        shutil.copy(GOLDEN / "task_of_golden.py", tmp_path)
        return json.loads((GOLDEN / name / "command.json").read_text())

    return copy


def assert_same_bits(old, new):
    """All columns of a Parquet file, with their types, in another one, which may have more; repr is exact.

    But the standard errors, in which these runs counted the repeats of a fold as folds.
    """
    left, right = pq.read_table(old), pq.read_table(new)
    for name in left.column_names:
        assert left[name].type == right[name].type, name
        if name.endswith("_se"):
            continue
        assert list(map(repr, left[name].to_pylist())) == list(map(repr, right[name].to_pylist())), name


def assert_close(old, new, trials):
    """The metrics and hyperparameters of the first trials, in two Parquet files, but for a tenth of them."""
    rows = [table.filter(pa.array(table["trial"].to_numpy() < trials)) for table in map(pq.read_table, (old, new))]
    floats = [field.name for field in rows[0].schema if pa.types.is_floating(field.type)]
    names = [name for name in floats if not name.endswith("_se")]  # see `assert_same_bits`
    left, right = (np.stack([table[name].to_numpy() for name in names]).astype(float) for table in rows)
    assert np.isclose(left, right, rtol=1e-2, equal_nan=True).mean() >= 0.9


@pytest.mark.parametrize("kind", [*KINDS, *OLDER])
def test_a_finished_run_is_read(kind, tmp_path):
    """Saved again, its tables have the same values; its winner predicts."""
    results = pj.Results.load(GOLDEN / kind)
    results.save(tmp_path / "again")
    for table in TABLES:
        assert_same_bits(GOLDEN / kind / table, tmp_path / "again" / table)
    told = json.loads((GOLDEN / kind / "summary.json").read_text())["best"]
    assert results.best._asdict() == told
    assert set(results.params(told["trial"]))
    if not kind.endswith("objective"):
        winner, wine = pj.load_best(GOLDEN / kind), load_wine()
        assert winner.hparams == told["hparams"]
        assert (winner.predict(wine.data) == wine.target_names[wine.target]).mean() > 0.75


@pytest.mark.parametrize("kind", soaked([*KINDS, *OLDER]))
def test_a_finished_run_is_drawn_and_predicts(kind, run, command, tmp_path):
    """The page has the bytes of that of the same run in today's format."""
    run(kind)
    pj.Results.load(tmp_path / "run").save(tmp_path / "now")
    for out in ("run", "now"):
        drawn = command("report", out)
        assert drawn.returncode == 0, drawn.stderr
    page = (tmp_path / "run" / "report.html").read_bytes()
    assert b"Winner: <b>trial" in page
    assert page == (tmp_path / "now" / "report.html").read_bytes()
    if not kind.endswith("objective"):
        wine = load_wine()
        rows = [",".join(wine.feature_names), *(",".join(map(str, row)) for row in wine.data)]
        (tmp_path / "rows.csv").write_text("\n".join(rows))
        assert command("predict", "run", "rows.csv", "--out", "told.csv").returncode == 0
        told = [line.split(",")[0] for line in (tmp_path / "told.csv").read_text().splitlines()[1:]]
        assert (np.array(told) == wine.target_names[wine.target]).mean() > 0.75


@pytest.mark.parametrize("kind", soaked(KINDS))
def test_a_finished_run_trains_nothing_more(kind, run, command, tmp_path):
    arguments = run(kind)
    resumed = command("sweep", *arguments, "--out", "run", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps_run"] == 0
    for table in TABLES:
        assert_same_bits(GOLDEN / kind / table, tmp_path / "run" / table)


def test_a_run_of_an_older_version_is_not_resumed(run, refused_in_one_line):
    arguments = run(OLDER[0])
    says = [f"cannot be resumed: popjax {MAJOR}.{int(NUMBER) - 1}.", "began it, this is"]
    refused_in_one_line("sweep", *arguments, "--out", "run", "--resume", says=says)


@pytest.mark.parametrize("kind", ["run", "session"])
def test_a_run_of_another_minor_version_is_not_resumed(kind, run, command, refused_in_one_line, tmp_path):
    """One of another patch is."""
    name = KINDS[0] if kind == "run" else f"{MINOR}-session-interrupted"
    arguments = run(name)
    asked = ("sweep", *arguments, "--out", "run", "--resume") if kind == "run" else ("babysit", "--resume", "run")
    (tmp_path / "script").write_text("")
    if kind == "session":
        asked += ("--script", "script")
    major, minor, patch = pj.__version__.split(".")
    for then in (f"{major}.{minor}9.{patch}", f"{major}.{minor}.{patch}9"):
        stopping.edit(tmp_path / "run" / f"{kind}.json", lambda known, then=then: known["versions"].update(popjax=then))
        if minor == then.split(".")[1]:
            assert command(*asked).returncode == 0
        else:
            refused_in_one_line(*asked, says=[f"popjax {then} began it"])


@pytest.mark.parametrize("versions", [None, [], "0.3.0", {"popjax": 0.3}], ids=repr)
def test_a_record_without_usable_versions_is_damaged(run, versions, tmp_path):
    run(KINDS[0])
    stopping.edit(tmp_path / "run" / "run.json", lambda known: known.update(versions=versions))
    task = pj.objective(lambda key, hparams: {"loss": hparams["learning_rate"]})
    with refused("versions", error=Exception):
        pj.search(task, {"learning_rate": pj.uniform(0, 1)}, out=tmp_path / "run", resume=True)


@pytest.mark.kill
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_goes_on(kind, run, command, tmp_path):
    """It ends with the tables that it would have had, and trains only what its last commit has not."""
    golden = GOLDEN / f"{kind}-interrupted"
    arguments = run(golden.name)
    resumed = command("sweep", *arguments, "--out", "run", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert not [warning for warning in summary["warnings"] if "bits may differ" not in warning]
    assert 0 < summary["steps_run"] < summary["model_steps"]
    exact = same_machine(kind) or kind.endswith("objective")  # whose arithmetic has no rounding
    if exact:
        assert summary["steps_run"] == json.loads((golden / "expected" / "steps.json").read_text())
    # Other CPUs and other versions of XLA round otherwise, which training magnifies, so there the tables are nearly
    # the same: of the trials whose points were written, as a later round's points follow from the ranking so far.
    for table in TABLES:
        if exact:
            assert_same_bits(golden / "expected" / table, tmp_path / "run" / table)
        else:
            assert_close(golden / "expected" / table, tmp_path / "run" / table, trials_written(golden))


@pytest.mark.kill
def test_a_killed_run_that_goes_on_is_killed_again(run, python, command, tmp_path):
    """Its first commit says from where to go on, also where those that it found did not."""
    golden = GOLDEN / f"{MINOR}-rounds-interrupted"
    arguments = [*run(golden.name), "--out", "run", "--resume"]
    again = python(make_goldens.KILLED, "sweep", *arguments)
    assert again.returncode == -signal.SIGKILL, again.stderr
    once = python(make_goldens.KILLED.replace("== 1:", "== 3:"), "sweep", *arguments)
    assert once.returncode == -signal.SIGKILL, once.stderr
    shutil.copytree(GOLDEN / golden.name, tmp_path / "once", ignore=shutil.ignore_patterns("expected", "command.json"))
    for out in ("run", "once"):
        resumed = command("sweep", *arguments[:-2], out, "--resume")
        assert resumed.returncode == 0, resumed.stderr
    for table in TABLES:
        assert_same_bits(tmp_path / "once" / table, tmp_path / "run" / table)


@pytest.mark.parametrize("kind", soaked([kind for kind in KINDS if kind.endswith(("plain", "folds"))]))
def test_a_finished_run_is_tested_again(kind, run, command, tmp_path):
    """To the bytes that the same run has in today's format."""
    run(kind)
    pj.Results.load(tmp_path / "run").save(tmp_path / "now")
    for out in ("run", "now"):
        again = command("retest", out, "--top", 4, "--background", 4, "--repeats", 3)
        assert again.returncode == 0, again.stderr
    found = (tmp_path / "run" / "retest.json").read_bytes()
    assert len(json.loads(found)["trials"]) == 8
    assert found == (tmp_path / "now" / "retest.json").read_bytes()


@pytest.mark.kill
def test_a_session_is_replayed_and_a_killed_one_goes_on(run, command, tmp_path):
    name = f"{MINOR}-session"
    run(name)
    replayed = command("babysit", "--replay", "run", "--out", "again")
    assert replayed.returncode == 0, replayed.stderr
    exact = same_machine(name)
    assert not exact or "the same curve as in run, bit for bit" in replayed.stdout
    shutil.rmtree(tmp_path / "run")
    golden = GOLDEN / f"{name}-interrupted"
    run(golden.name)
    (tmp_path / "script").write_text("\n".join(make_goldens.SCRIPT[6:]))
    resumed = command("babysit", "--resume", "run", "--script", "script")
    assert resumed.returncode == 0, resumed.stderr
    assert "resumed after epoch 3\n" in resumed.stdout
    compare = assert_same_bits if exact else functools.partial(assert_close, trials=1)
    compare(golden / "expected" / "curves.parquet", tmp_path / "run" / "curves.parquet")
