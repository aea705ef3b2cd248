"""A new X goes where popjax/README.md says: its example, as a file of its own with its line in the registry, works."""

import importlib
import importlib.util
import json
import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import popjax as pj
from popjax.commands.named_commands import main
from popjax.data.dataset import from_table
from popjax.rules import named_rules
from popjax.tracking.named_trackers import tracker_of

GUIDE = (Path(pj.__file__).parent / "README.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (.*?)\n(.*?)(?=^##)", GUIDE, re.DOTALL | re.MULTILINE))
LINE = re.compile(r"^Line: `(.*?),?` in `(\w+)` \(`popjax/(.*?)\.py`\)$", re.MULTILINE)
RATE = pj.log_uniform(1e-3, 1e-1)


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The modules of a section's examples, each from a file, with its line in the registry."""

    def modules(section):
        found = []
        for place, block in re.findall(r"^```python\n# (popjax/.*?)\n(.*?)^```$", SECTIONS[section], re.DOTALL | re.M):
            path = tmp_path / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block)
            name = place.removesuffix(".py").replace("/", ".")
            spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
            module = importlib.util.module_from_spec(spec)
            monkeypatch.setitem(sys.modules, spec.name, module)
            if not (Path(pj.__file__).parent.parent / place).exists():
                monkeypatch.setitem(sys.modules, name, module)
            spec.loader.exec_module(module)
            found.append(module)
        for entry, registry, place in LINE.findall(SECTIONS[section]):
            home = importlib.import_module(f"popjax.{place.replace('/', '.')}")
            known = getattr(home, registry)
            names = vars(home) | vars(found[0])
            new = eval(f"{{{entry}}}", names) if ":" in entry else {names[entry].name: names[entry]}
            assert not new.keys() & known.keys()
            for name, value in new.items():
                monkeypatch.setitem(known, name, value)
        return found

    return modules


def test_every_section_is_tested():
    """By a test that uses what it makes."""
    sections = {name for name in SECTIONS if "```python\n# popjax" in SECTIONS[name]}
    tested = re.findall(r"example\(\"(.*?)\"\)", Path(__file__).read_text(encoding="utf-8"))
    assert sections == set(tested)


def test_a_new_scheduler(example, rows):
    """A third stays after every rung, and the best of all is trained to the end."""
    (module,) = example("A scheduler")
    results = pj.search(pj.supervised(rows), {"learning_rate": RATE}, trials=27, epochs=9, scheduler=module.thirds)
    assert np.unique(results.done, return_counts=True)[0].tolist() == [1, 3, 9]
    assert np.unique(results.done, return_counts=True)[1].tolist() == [18, 6, 3]
    assert results.summary["pruned"] == 24
    short = pj.search(pj.supervised(rows), {"learning_rate": RATE}, trials=5, epochs=1, scheduler=module.thirds)
    assert short.summary["pruned"] == 0
    named = pj.search(pj.supervised(rows), {"learning_rate": RATE}, trials=27, epochs=9, scheduler="thirds")
    assert named.done.tobytes() == results.done.tobytes()


def test_a_new_rule(example, rows, tmp_path):
    """With its line it is chosen by its name and read again; without it is given, also to read."""
    (module,) = example("A rule")
    space = {"learning_rate": RATE, "hidden": pj.integers(3, 40)}
    rule = module.Cheapest("val_loss")
    results = pj.search(pj.supervised(rows), space, trials=16, epochs=9, rank=rule, out=tmp_path / "run")
    values, sizes = results.values["val_loss"], results.parameters
    near = [t for t in results.order if values[t] <= 1.05 * values[results.order[0]]]
    assert results.best.trial == min(near, key=lambda trial: sizes[trial])
    assert pj.Results.load(tmp_path / "run").best == results.best

    del named_rules.RULES["cheapest"]
    with pytest.raises(ValueError, match=r"a rule of your own, 'cheapest'; give it: popjax.Results.load"):
        pj.Results.load(tmp_path / "run")
    assert pj.Results.load(tmp_path / "run", rank=module.Cheapest()).best == results.best


def test_a_new_sampler(example, rows):
    """Its points are spread better than random ones, and the first k rows for n are the rows for k."""
    (module,) = example("A sampler")
    space = pj.Space(learning_rate=RATE, hidden=pj.integers(3, 9))
    many, few = space.sample(100, 3, "halton"), space.sample(40, 3, "halton")
    assert all(np.array_equal(many[name][:40], few[name]) for name in space)
    assert module.halton(3, [], 0).shape == (3, 0)
    results = pj.search(pj.supervised(rows), space, trials=9, epochs=1, sampler="halton", scheduler=pj.rounds(3))
    np.testing.assert_array_equal(results.points["learning_rate"][:3], space.sample(3, 0, "halton")["learning_rate"])


def test_a_new_scale(example, tmp_path):
    """Its samples are uniform in the log odds; it is written and read, zoomed, and shown on the page."""
    (module,) = example("A scale")
    space = pj.Space.from_dict({"share": "logit_uniform(0.01, 0.99)"})
    assert space["share"] == module.LogitUniform(0.01, 0.99)
    assert pj.Space.from_dict(space.to_dict()) == space
    values = space.sample(4000)["share"]
    counts = np.histogram(np.log(values / (1 - values)), 4)[0]
    assert (abs(counts - 1000) < 120).all()
    np.testing.assert_allclose(space["share"].from_unit(space["share"].to_unit(values)), values)
    task = pj.objective(lambda key, hparams: {"loss": (hparams["share"] - 0.9) ** 2})
    results = pj.search(task, space, trials=60, scheduler=pj.rounds(2), out=tmp_path / "run")
    assert results.best.hparams["share"] == pytest.approx(0.9, abs=0.05)
    assert "share" in (tmp_path / "run" / "report.html").read_text()
    with pytest.raises(ValueError, match="log odds"):
        module.LogitUniform(0, 1)


def test_a_new_model(example, tmp_path):
    """It trains by its name, with its transform and space, sees numbers and codes apart, and is loaded by its name."""
    pandas = pytest.importorskip("pandas")
    draws = np.random.default_rng(0)
    frame = pandas.DataFrame({"a": draws.normal(size=200), "side": draws.choice(["n", "s"], 200)})
    frame["colour"], frame["b"] = draws.choice(["red", "green", "blue"], 200), draws.normal(size=200)
    effects = frame["colour"].map({"red": 0.0, "green": 2.0, "blue": -2.0}) + frame["side"].map({"n": 1.0, "s": 0.0})
    frame["y"] = frame["a"] - 3 * frame["b"] + effects
    example("A model")
    task = pj.supervised(frame, target="y", model="linear", optimizer="adam")
    assert task.settings["transform"] == {"numbers": "robust", "codes": "none"}
    assert list(task.space) == ["learning_rate", "batch_size", "decay", "texts"]
    assert task.hints.parameters({}) == 2 + 1 + 3 + 4
    rows = task.recipe.features(task.recipe.encoded(frame[:3]))
    assert rows["numbers"].shape == (3, 2)
    sides, colours = ["n", "s"], ["blue", "green", "red"]
    pairs = zip(frame.side[:3], frame.colour[:3], strict=True)
    assert rows["codes"].tolist() == [[1 + sides.index(side), 1 + colours.index(colour)] for side, colour in pairs]
    pj.search(task, trials=8, epochs=20, out=tmp_path / "run", folds=2)
    winner = pj.load_best(tmp_path / "run")
    assert winner.score(frame, frame["y"]) > 0.8
    other = frame[:2].assign(colour=["violet", "red"])
    assert np.isfinite(winner.predict(other)).all(), "a text that no training row had has a code, too"


def test_a_new_optimizer(example, rows):
    """It trains by its name, also beside another in one search."""
    example("An optimizer")
    space = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-2), weight_decay=pj.uniform(0, 0.1), b1=0.9)
    results = pj.search(pj.supervised(rows, optimizer="lion"), space, trials=4, epochs=10)
    assert results.best.value > 0.8
    mixed = pj.Space(learning_rate=RATE, optimizer=pj.choice("sgd", "lion"))
    both = pj.search(pj.supervised(rows), mixed, trials=8, epochs=2)
    assert set(both.points["optimizer"]) == {"sgd", "lion"}


def test_a_new_transform(example, tmp_path):
    """With its line it has a name, and the winner of its search is loaded without it."""
    (module,) = example("A transform")
    rng = np.random.default_rng(0)
    x = np.exp(rng.normal(size=(200, 3)))
    task = pj.supervised((x, np.log(x[:, 0]) > 0), transform="logs")
    rows = task.split.train[0]
    logs = np.log1p(x - x[rows].min(0))
    expected = (np.log1p(np.maximum(x - x[rows].min(0), 0)) - logs[rows].mean(0)) / logs[rows].std(0)
    np.testing.assert_allclose(task.recipe.features(x), expected, rtol=1e-9)
    results = pj.search(task, {"learning_rate": RATE}, trials=4, epochs=10, out=tmp_path / "run")
    assert isinstance(pj.load_best(tmp_path / "run").recipe.transforms[0], module.LogScale)
    assert pj.load_best(tmp_path / "run").predict(x).tolist() == results.predict(x).tolist()


def test_a_new_metric(example, rows):
    """With its line it has a curve, ranks, and is scored for the winner, as one's own does without."""
    (module,) = example("A metric")
    for given in (["top2_accuracy"], {"top2_accuracy": module.top2_accuracy}):
        task = pj.supervised(rows, metrics=given)
        results = pj.search(task, {"learning_rate": RATE}, trials=4, epochs=2, rank="val_top2_accuracy")
        assert results.metric.mode == "max"
        assert (results.curves["val_top2_accuracy"] >= results.curves["val_accuracy"]).all()
        assert 0 < results.summary["test"]["test_top2_accuracy"] <= 1


def cumulative(outputs):
    """The probabilities of classes by their definition, in a loop."""
    odds = [outputs[0]]
    for lower in outputs[1:]:
        odds.append(odds[-1] - np.log1p(np.exp(lower)))
    above = [1, *(1 / (1 + np.exp(-odd)) for odd in odds), 0]
    return -np.diff(above)


def test_a_new_kind_of_targets(example, tmp_path, capsys):
    """Of numbers and of texts, by the library and the commands: it ranks, has its baseline and interval, and loads."""
    (module,) = example("A kind of targets")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    level = np.digitize(x @ [1.0, -2.0, 0.5] + rng.normal(0, 0.3, 400), [-1, 1])
    kind = module.Ordered(classes=(0, 1, 2))
    outputs = rng.normal(0, 3, (50, 2))
    chances = np.array([cumulative(row) for row in outputs])
    np.testing.assert_allclose(kind.predicted(outputs), chances, atol=1e-12)
    y = rng.integers(0, 3, 50)
    losses, gradient = jax.value_and_grad(lambda outputs: kind.losses({}, outputs, y).sum())(outputs)
    np.testing.assert_allclose(losses, -np.log(chances[np.arange(50), y]).sum(), rtol=1e-4)
    assert np.isfinite(gradient).all()

    results = pj.search(pj.supervised((x, level), kind="ordered", optimizer="adam"), trials=8, out=tmp_path / "run")
    assert (results.metric, results.metric.mode) == ("val_distance", "min")
    assert results.summary["guess"] == "the shares of the classes"
    assert results.summary["test"]["test_distance"] < 0.3 < results.summary["constant"]["test_distance"]
    low, high = results.summary["test_interval"]
    assert low <= results.summary["test"]["test_distance"] <= high
    loaded = pj.load_best(tmp_path / "run")
    assert loaded.predict_proba(x).tobytes() == results.predictor().predict_proba(x).tobytes()
    assert loaded.score(x, level) > 0.8
    assert (
        pj.search(pj.supervised((x, level), kind="ordered"), trials=2, epochs=1, rank="val_loss").metric == "val_loss"
    )

    table = tmp_path / "levels.csv"
    texts = np.array(["low", "medium", "high"])[level]
    table.write_text(
        "a,b,c,level\n" + "".join(f"{','.join(map(str, row))},{t}\n" for row, t in zip(x, texts, strict=True))
    )
    asked = ("--dataset", table, "--target", "level", "--kind", "ordered", "--trials", "4", "--epochs", "2")
    assert main(["sweep", *map(str, asked), "--metric", "val_distance", "--out", str(tmp_path / "texts")]) == 0
    said = capsys.readouterr().out
    assert "ordered, 3 classes" in said
    assert "the shares of the classes" in said
    assert pj.load_best(tmp_path / "texts").classes == ("low", "medium", "high")
    with pytest.raises(ValueError, match="the target 'y' holds 'lowest'; its classes are 'low', 'medium', 'high'"):
        pj.supervised((x, np.where(texts == "low", "lowest", texts)), target=None, kind="ordered")


def test_a_new_dataset_format(example, tmp_path):
    """Numbers, texts and a missing cell come in as from a CSV, and a bad file is one line."""
    (module,) = example("A dataset format")
    rows = [{"size": 1 + i, "colour": "red" if i % 2 else "blue", "price": i / 2} for i in range(8)]
    rows[3]["size"] = None
    content = "\n".join(map(json.dumps, rows)).encode()
    dataset = from_table(module.read_jsonl("'rows.jsonl'", content, "price"), "median")
    assert dataset.columns == ("size", "colour")
    assert dataset.levels == {"colour": ("blue", "red")}
    assert dataset.one_hot[:4].tolist() == [[1, 1, 0], [2, 0, 1], [3, 1, 0], [5, 0, 1]]
    assert dataset.y.tolist() == [i / 2 for i in range(8)]
    for bad in (b"{", b"[1]\n", b"3\n"):
        with pytest.raises(ValueError, match="JSON lines"):
            module.read_jsonl("'rows.jsonl'", bad, "price")
    with pytest.raises(ValueError, match="no column"):
        module.read_jsonl("'rows.jsonl'", content, "weight")
    (tmp_path / "rows.jsonl").write_bytes(content)
    task = pj.supervised(tmp_path / "rows.jsonl", target="price", missing="median")
    assert task.dataset.columns == ("size", "colour")


def test_a_new_callback(example, rows):
    """What it heard is what the results say."""
    (module,) = example("A callback")
    listener = module.Quartiles()
    results = pj.search(pj.supervised(rows), {"learning_rate": RATE}, trials=8, epochs=3, callbacks=[listener])
    assert list(listener.quartiles) == [0, 1, 2]
    for epoch, values in listener.quartiles.items():
        np.testing.assert_allclose(
            values, np.quantile(results.curves["val_accuracy"][:, epoch], [0.25, 0.5, 0.75]), rtol=1e-6
        )


def test_a_new_tracker(example, rows, tmp_path):
    """By its name and by its function; its lines say what the results say."""
    (module,) = example("A tracker")
    assert isinstance(tracker_of("json_lines").writer, module.JsonLines)
    path = tmp_path / "mine.jsonl"
    results = pj.search(
        pj.supervised(rows), {"learning_rate": RATE}, trials=8, epochs=3, callbacks=[module.json_lines(path)]
    )
    first, *_, last = map(json.loads, path.read_text().splitlines())
    assert (first["trials"], first["space/learning_rate"]) == (8, str(RATE))
    assert last["series"]["best"] == pytest.approx(results.curves["val_accuracy"].max(0).tolist())
    assert last["winner"] == results.best.trial


def test_a_new_figure(example, rows, opened):
    """In the report, beside those that are drawn alike, and by its name."""
    example("A figure")
    space = {"learning_rate": RATE, "hidden": pj.integers(3, 40)}
    results = pj.search(pj.supervised(rows), space, trials=12, epochs=2, rank=pj.pareto("val_loss", "parameters"))
    page = opened(results)
    for name in ("histogram", "front", "expected"):
        assert page.evaluate("name => document.getElementById(name).data.length > 0", name), name
    assert sum(page.evaluate("document.getElementById('histogram').data[0].y")) == 12
    assert sum(results.plot("histogram").data[0].y) == 12


@pytest.mark.engine
def test_a_new_executor(example, rows):
    """By its name it trains to the same bits, and a bad count is one line."""
    example("An executor")
    space = pj.Space(learning_rate=RATE, batch_size=pj.choice(16, 32))
    here = pj.search(pj.supervised(rows), space, trials=6, epochs=2)
    there = pj.search(pj.supervised(rows), space, trials=6, epochs=2, backend="standard:1")
    assert all(here.curves[name].tobytes() == there.curves[name].tobytes() for name in here.curves)
    with pytest.raises(ValueError, match="standard='many': give a whole number"):
        pj.search(pj.supervised(rows), space, trials=6, backend="standard:many")


def test_a_new_command(example, tmp_path, monkeypatch, capsys):
    """Through its door it counts, and a mistake is one line and exit code 2."""
    command, door = example("A command")
    task = pj.objective(lambda key, hparams: {"loss": 1 / (hparams["x"] > 0.5)})
    results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=9, out=tmp_path / "run")
    lost = int(results.diverged.sum())
    assert 0 < lost < 9
    source = Path(door.__file__).read_text()

    def through_the_door(*arguments):
        monkeypatch.setattr(sys, "argv", ["tally", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            exec(compile(source, "tally.py", "exec"), {"__name__": "__main__"})
        return stop.value.code

    assert through_the_door(tmp_path / "run") == 0
    assert capsys.readouterr().out.splitlines() == [f"diverged: {lost}", f"ok: {9 - lost}"]
    assert through_the_door(tmp_path / "nothing") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert through_the_door("--colour") == 2
    assert command.main([str(tmp_path / "run")]) == 0
    capsys.readouterr()
    monkeypatch.setitem(sys.modules, "popjax.commands.tally", command)
    assert main(["tally", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out.splitlines() == [f"diverged: {lost}", f"ok: {9 - lost}"]
