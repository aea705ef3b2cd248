"""What the documents say is so: their examples run as they stand, their commands parse, their links lead somewhere."""

import importlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from popjax.commands import cli

ROOT = Path(__file__).parent.parent
NAMES = ("README.md", "popjax/README.md", "benchmarks/README.md", "tests/README.md")
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in NAMES}
BLOCKS = {
    language: [
        (name, block)
        for name, text in TEXTS.items()
        for block in re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    ]
    for language in ("python", "bash")
}
COMMANDS = sorted({line.strip() for _, block in BLOCKS["bash"] for line in block.splitlines()})
LINKS = sorted({(name, link) for name, text in TEXTS.items() for link in re.findall(r"\]\(([^)\s]+)\)", text)})


def run(containing):
    """The names that an example leaves behind."""
    ((name, block),) = [(name, block) for name, block in BLOCKS["python"] if containing in block]
    names = {}
    exec(compile(block, name, "exec"), names)
    return names


def anchors(text):
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_example_with_a_table_of_ones_own(command, tmp_path, monkeypatch):
    """The commands as they stand, on fewer trials, and the winner on a raw row."""
    rng = np.random.default_rng(0)
    rows = [f"{a:.1f},{r},{'north' if n else 'south'}" for a, r, n in rng.integers((40, 1, 0), (200, 6, 2), (90, 3))]
    cells = [f"{row},{2000 * float(row.split(',')[0]) + 1e5 * row.endswith('north'):.0f}" for row in rows]
    cells[7] = ",3,north,290000"
    (tmp_path / "houses.csv").write_text("\n".join(["area,rooms,district,price", *cells]) + "\n")
    (line,) = [line for line in COMMANDS if "houses.csv" in line]
    process = command("sweep", *shlex.split(line.partition("popjax sweep ")[2]), "--trials", 24, "--epochs", 10)
    assert process.returncode == 0, process.stderr
    (tmp_path / "asked.csv").write_text("district,rooms,area\nnorth,4,120\n")
    (line,) = [line for line in COMMANDS if "asked.csv" in line]
    process = command("predict", *shlex.split(line.partition("popjax predict ")[2]))
    assert process.returncode == 0, process.stderr
    monkeypatch.chdir(tmp_path)
    names = run("runs/houses")
    assert names["prices"] == pytest.approx([340_000], rel=0.2)
    assert (tmp_path / "prices.csv").read_text() == f"prediction\n{float(names['prices'][0])!r}\n"


def test_the_example_with_a_model_of_ones_own(capsys):
    results = run("class Net")["results"]
    assert results.best.value > 0.95
    assert results.summary["test_value"] > 0.94
    assert results.summary["buckets"] == 1
    printed = capsys.readouterr()
    assert "Best(trial=" in printed.out
    assert not printed.err  # a right model is not accused


def test_the_example_with_an_opaque_objective():
    results = run("rosenbrock")["results"]
    assert results.best.hparams == pytest.approx({"x": 1, "y": 1}, abs=0.1)
    assert len(results.curves["loss"]) == 100_000


def test_the_example_of_steering_a_population():
    """The clone of the best goes on from there: what was the worst member is a good one."""
    names = run("session.clone")
    before, after = names["loss"], names["session"].curves["val_loss"][:, -1]
    worst = np.nanargmax(before)
    assert after[worst] < before[worst] - 0.5
    assert names["session"].hparams["learning_rate"][worst] == 0.05


def test_the_example_with_a_task_of_ones_own():
    results = run("def epoch(x, hparams, data)")["results"]
    assert results.best.value < 1e-6


def test_the_example_beside_scikit_learn(capsys):
    run("cross_val_score")
    scores = [float(word) for word in capsys.readouterr().out.strip(" []\n").split()]
    assert len(scores) == 3
    assert min(scores) > 0.9


def test_the_example_with_a_convolution_of_ones_own():
    """Inside the image a kernel of ones sums nine ones."""
    outputs = run("@pj.rewrite")["outputs"]
    assert outputs.shape == (2, 8, 8, 4)
    assert (outputs[:, 1:-1, 1:-1] == 9).all()


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_one(line):
    """Its arguments are known, or the scripts that it runs are there."""
    words = shlex.split(line)
    scripts = [word for word in words if word.endswith(".py")]
    assert all((ROOT / script).exists() for script in scripts)
    said = re.fullmatch(r"(?:\S*uv run (?:--\S+ )*)?(?:popjax |python -m popjax\.)(\w+)(.*)", line)
    if said and "--help" not in words:
        cli.parse(importlib.import_module(f"popjax.commands.{said[1]}").Arguments, said[1], shlex.split(said[2]))
    assert said or scripts or {"pytest", "uv", "pip", "lint-imports", "ruff", "mypy", ".ci/run"} & set(words)


@pytest.mark.parametrize(("name", "link"), LINKS, ids=lambda value: value)
def test_a_link_leads_somewhere(name, link):
    if link.startswith("https://"):
        return
    page, _, anchor = link.partition("#")
    path = (ROOT / name).parent / page if page else ROOT / name
    assert path.exists()
    if anchor:
        assert anchor in anchors(path.read_text(encoding="utf-8"))
