"""What trackers are told of a search, read back by TensorBoard; the others' by trackers.py, with their own packages."""

import os
import re
import shutil
import signal
import threading

import numpy as np
import pytest

import popjax as pj
from popjax.tracking import tracker
from popjax.tracking.apart import Apart
from popjax.tracking.tensorboard_events import TensorBoard
from popjax.tracking.tracker import Tracker

SPACE = pj.Space(
    learning_rate=pj.log_uniform(1e-3, 1e4), hidden=pj.integers(3, 9), activation=pj.choice("relu", "tanh")
)
ASKED = dict(trials=30, epochs=4, scheduler="halving(min_epochs=1)", rank="val_loss")


def search(rows, **more):
    """Halving, some of whose trials diverge."""
    results = pj.search(pj.supervised(rows), SPACE, **ASKED, **more)
    assert results.diverged.any()
    assert results.pruned.any()
    return results


def series(results):
    """What each epoch came to, from the curves, by plain loops."""
    found = {name: [] for name in ("best", "lower_quartile", "median", "upper_quartile", "trained", "diverged")}
    for column in results.curves[results.metric].T:
        known = sorted(value for value in column.tolist() if np.isfinite(value))
        at = lambda share, known=known: float(np.percentile(known, 100 * share))
        values = (known[0], at(0.25), at(0.5), at(0.75), len(known), np.isnan(column[results.diverged]).sum())
        for name, value in zip(found, values, strict=True):
            found[name].append(float(value))
    return found


def events(directory):
    """Tag -> steps and values, and the metadata, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(directory))
    accumulator.Reload()
    scalars = {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]}
    return scalars, accumulator


def test_tensorboard_shows_the_search(rows, tmp_path, monkeypatch):
    """The series are those of the curves; the best trials are rows of its HParams page, with curves if asked for."""
    from tensorboard.plugins.hparams import plugin_data_pb2

    monkeypatch.setattr(tracker, "EVERY", 0)
    results = search(rows, out=tmp_path / "mine", callbacks=[pj.tracking.tensorboard(tmp_path / "board", top=3)])
    scalars, accumulator = events(tmp_path / "board" / "mine")
    for name, values in series(results).items():
        assert [step for step, _ in scalars[f"epoch/{name}"]] == [1, 2, 3, 4]
        np.testing.assert_allclose([value for _, value in scalars[f"epoch/{name}"]], values, rtol=1e-6, err_msg=name)
    steps = [step for step, _ in scalars["now/begun"]]
    assert steps == sorted(steps)
    assert steps[-1] <= results.done.sum()
    said = accumulator.Tensors("summary/text_summary")[0].tensor_proto.string_val[0].decode()
    assert f"winner: {results.best.trial}\n" in said
    assert str(tmp_path / "mine" / "report.html") in said
    lines = accumulator.Tensors("trials/text_summary")[0].tensor_proto.string_val[0].decode().splitlines()
    head, rows = lines[0].strip("| ").split(" | "), [line.strip("| ").split(" | ") for line in lines[2:]]
    assert [int(row[0]) for row in rows] == results.order[:20].tolist()
    assert [float(row[head.index("val_loss")]) for row in rows] == pytest.approx(
        results.values["val_loss"][results.order[:20]].tolist(), rel=1e-3
    )
    left = [value for _, value in scalars["now/left"]]
    assert left[0] == 30
    assert left[-1] < 30
    for trial in results.order[:3].tolist():
        scalars, accumulator = events(tmp_path / "board" / "mine" / f"trial-{trial}")
        curve = [value for _, value in scalars["trial/val_loss"]]
        np.testing.assert_allclose(curve, results.curves["val_loss"][trial], rtol=1e-6)
        begun = accumulator.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        hparams = plugin_data_pb2.HParamsPluginData.FromString(begun).session_start_info.hparams
        assert hparams["hidden"].number_value == results.hparams(trial)["hidden"]
        assert hparams["activation"].string_value == results.hparams(trial)["activation"]
    assert len(list((tmp_path / "board" / "mine").glob("trial-*"))) == len(results.order[:20]) > 3
    without, _ = events(tmp_path / "board" / "mine" / f"trial-{results.order[3]}")
    assert "trial/val_loss" not in without


def test_a_resumed_search_goes_on_over_the_epochs_trained_before(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(tracker, "EVERY", 0)
    asked = {"out": tmp_path / "mine", "callbacks": [pj.tracking.tensorboard(tmp_path / "board")]}
    space = {"learning_rate": pj.log_uniform(1e-3, 1e-1), "hidden": 4}
    pj.search(pj.supervised(rows), space, trials=6, epochs=2, **asked)
    before = set((tmp_path / "board").iterdir())
    pj.search(pj.supervised(rows), space, trials=10, epochs=2, resume=True, **asked)
    (second,) = set((tmp_path / "board").iterdir()) - before
    steps = [step for step, _ in events(second)[0]["now/begun"]]
    assert steps[0] > 12
    assert steps[-1] <= 20


def test_two_searches_of_a_name_do_not_mix(rows, tmp_path):
    for name in ("search", "search-2", "search-3"):
        search(rows, callbacks=[pj.tracking.tensorboard(tmp_path)])
        scalars, _ = events(tmp_path / name)
        assert [step for step, _ in scalars["epoch/best"]] == [1, 2, 3, 4]
    one = pj.tracking.tensorboard(tmp_path / "one")
    for _ in range(2):
        search(rows, callbacks=[one])
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["search", "search-2"]


def test_what_a_trackers_package_raises_is_one_line(rows, tmp_path, refused_in_one_line):
    search(rows, out=tmp_path / "run")
    (tmp_path / "runs").write_text("a file where a directory is to be")
    refused_in_one_line("export", "run", "--to", "tensorboard", says=["--to tensorboard: ", "runs"])
    refused_in_one_line(
        "export", "run", "--to", "onx", says=["unknown --to 'onx'; there are onnx, optuna, tensorboard"]
    )
    for tool, option in (("onnx", "--top"), ("optuna", "--top"), ("mlflow", "--out")):
        refused_in_one_line("export", "run", "--to", tool, option, "3", says=[f"{option} 3: --to {tool} has no use"])
    refused_in_one_line("export", "run", "--to", "tensorboard", "--top", "0", says=["--top 0: give at least 1"])
    missing = ("export", "run", "--to", "optuna", "--out", "missing/study.db")
    refused_in_one_line(*missing, says=["'missing/study.db'", "there is no directory 'missing'"])


class Broken:
    """A writer that fails at one of its methods."""

    def __init__(self, at):
        self.at = at
        self.called = []

    def __getattr__(self, name):
        def call(*arguments):
            self.called.append(name)
            assert threading.current_thread() is not threading.main_thread()
            if name == self.at:
                raise OSError("no route\nto the host")

        return call


@pytest.mark.parametrize("at", ["begin", "now", "end", "close"])
def test_a_tracker_that_fails_changes_nothing(at, rows, capsys):
    """It is said once, and nothing more is asked of it than to close."""
    writer = Broken(at)
    there, here = search(rows, callbacks=[Tracker(writer)]), search(rows)
    assert here.curves["val_loss"].tobytes() == there.curves["val_loss"].tobytes()
    said = re.findall(r"popjax: the tracker Broken raised OSError: no route \((.*)\); the run", capsys.readouterr().err)
    assert len(said) == 1
    assert "test_tracking.py, line" in said[0]
    order = [name for place, name in enumerate(writer.called) if writer.called.index(name) == place]
    written = {"begin": ["begin"], "now": ["begin", "now"]}.get(at, ["begin", "now", "end"])
    assert order == [*written, "close"]
    assert writer.called.count("close") == 1


def test_no_search_waits_for_a_slow_tracker(rows, capsys, monkeypatch):
    """It is left behind, and that is said."""
    monkeypatch.setattr(tracker, "PATIENCE", 0.1)
    over = threading.Event()

    class Slow(Broken):
        def begin(self, name, config):
            over.wait(60)

    there = search(rows, callbacks=[Tracker(Slow(None))])
    over.set()
    assert there.best is not None
    assert "popjax: Slow is not done after 0 s; it is left behind" in capsys.readouterr().err


def apart(directory):
    """TensorBoard's writer in a process of its own."""
    return Tracker(Apart(TensorBoard, directory=str(directory)), 2, "TensorBoard")


def test_a_writer_in_a_process_of_its_own_is_told_the_same(rows, tmp_path, monkeypatch):
    """All that is told, but for the moments at which a search is looked at."""
    monkeypatch.setattr(tracker, "EVERY", 0)
    told = []
    for tracked in (pj.tracking.tensorboard(tmp_path / "here", top=2), apart(tmp_path / "there")):
        results = search(rows, out=tmp_path / "run", callbacks=[tracked])
        board = tmp_path / ("there" if told else "here") / "run"
        scalars, accumulator = events(board)
        assert scalars["now/left"][0][1] == 30
        texts = [accumulator.Tensors(f"{name}/text_summary")[0].tensor_proto for name in ("config", "trials")]
        curves = [events(board / f"trial-{trial}")[0] for trial in results.order[:2].tolist()]
        series = {name: values for name, values in scalars.items() if not name.startswith("now/")}
        told.append((series, [text.string_val[0] for text in texts], curves))
        shutil.rmtree(tmp_path / "run")
    assert told[0] == told[1]


def test_what_fails_in_a_process_of_its_own_is_said_as_anywhere(rows, tmp_path, capsys):
    (tmp_path / "board").write_text("a file where a directory is to be")
    assert search(rows, callbacks=[apart(tmp_path / "board")]).best is not None
    assert "popjax: the tracker TensorBoard raised RuntimeError: NotADirectoryError: " in capsys.readouterr().err


@pytest.mark.kill
def test_a_search_outlives_its_trackers_process(rows, tmp_path, capsys):
    class Killed(Apart):
        def begin(self, name, config):
            super().begin(name, config)
            os.kill(self.process.pid, signal.SIGKILL)

    writer = Killed(TensorBoard, directory=str(tmp_path))
    assert search(rows, callbacks=[Tracker(writer, name="TensorBoard")]).best is not None
    said = capsys.readouterr().err
    assert said.count("popjax: the tracker TensorBoard raised ") == 1
    assert said.count("\n") == 1


def test_a_tracker_that_is_none_is_refused(refused_in_one_line, monkeypatch):
    refused_in_one_line("sweep", "--track", "aim", says=["unknown tracker 'aim'; there are tensorboard, mlflow, wandb"])
    refused_in_one_line("sweep", "--track-top", "3", says=["--track-top 3: needs --track: the tracker"])
    refused_in_one_line(
        "sweep", "--track", "tensorboard", "--track-top", "-1", says=["--track-top -1: give at least 0"]
    )
    refused_in_one_line("sweep", "--track", "tensorboard,", says=["--track 'tensorboard,': write names with commas"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs mlflow, which is not installed: (uv )?pip install mlflow"):
        pj.tracking.mlflow()


@pytest.mark.soak
def test_the_command_tracks(command, tmp_path):
    """And what it trains is the same without."""
    small = ["--trials", 6, "--epochs", 1, "--dataset", "wine", "--quiet"]
    for out, more in (("here", []), ("there", ["--track", "tensorboard", "--track-top", "2"])):
        process = command("sweep", *small, "--out", out, *more)
        assert process.returncode == 0, process.stderr
    table = (tmp_path / "here" / "trials.parquet").read_bytes()
    assert (tmp_path / "there" / "trials.parquet").read_bytes() == table
    scalars, _ = events(tmp_path / "runs" / "tensorboard" / "there")
    results = pj.Results.load(tmp_path / "there")
    assert scalars["epoch/best"] == [(1, pytest.approx(results.best.value))]
    for trial in results.order[:2].tolist():
        curves, _ = events(tmp_path / "runs" / "tensorboard" / "there" / f"trial-{trial}")
        assert curves["trial/val_loss"] == [(1, pytest.approx(results.curves["val_loss"][trial, 0], rel=1e-6))]
