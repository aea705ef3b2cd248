"""The README's library examples run as they stand there and find what they should."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(containing):
    (block,) = [block for block in BLOCKS if containing in block]
    names = {}
    exec(compile(block, "README.md", "exec"), names)
    return names


def test_the_example_with_a_model_of_ones_own(capsys):
    results = run("class Net")["results"]
    assert results.best.value > 0.95
    assert results.summary["test_value"] > 0.94
    assert results.summary["buckets"] == 1
    assert "Best(trial=" in capsys.readouterr().out


def test_the_example_with_an_opaque_objective():
    results = run("rosenbrock")["results"]
    assert results.best.hparams == pytest.approx({"x": 1, "y": 1}, abs=0.1)
    assert len(results.curves["loss"]) == 100_000


def test_the_example_of_steering_a_population():
    """The clone of the best goes on from there: what was the worst member is a good one."""
    names = run("session.clone")
    before, after = names["accuracy"], names["session"].curves["val_accuracy"][:, -1]
    worst = before.argmin()
    assert after[worst] > before[worst] + 0.2
    assert names["session"].hparams["learning_rate"][worst] == 0.05
