"""What MLflow, W&B, Trackio and Optuna's dashboard were told of a search, read back by their own packages, offline.

`uv run --with mlflow --with wandb --with trackio --with optuna-dashboard python tests/trackers.py` prints a line for
each, and exits with 1 on a difference.
"""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from engines import rows
from test_tracking import search, series

import popjax as pj


def same(found: dict[str, list[float]], expected: dict[str, list[float]]) -> None:
    """Raise AssertionError where a series is not as expected."""
    for name, values in expected.items():
        np.testing.assert_allclose(found[f"epoch/{name}"], values, rtol=1e-6, err_msg=name)


def mlflow(place: Path) -> None:
    """Series, figures, curves, and the artifacts."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{place}/mlflow.db"
    client = MlflowClient(uri)
    client.create_experiment("mine", artifact_location=(place / "artifacts").as_uri())
    results = search(rows(), out=place / "run", callbacks=[pj.tracking.mlflow("mine", uri, top=2)])
    (run,) = runs_of(client, "mine")
    history = lambda name: [
        m.value for m in sorted(client.get_metric_history(run.info.run_id, name), key=lambda m: m.step)
    ]
    same({f"epoch/{name}": history(f"epoch/{name}") for name in series(results)}, series(results))
    best = results.best.trial
    np.testing.assert_allclose(history(f"trial-{best}/val_loss"), results.curves["val_loss"][best])
    assert run.data.metrics["winner"] == best
    assert run.data.params["trials"] == "30"
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run")
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files == {"trials.csv", "report.html"}
    fails(uri, client)
    interrupted(place, uri, client)


def fails(uri: str, client: Any) -> None:
    """A search that a user's code ends early is no finished run."""

    def scheduler(problem: Any) -> Any:
        def step(state: Any, trials: Any) -> Any:
            if state:
                raise OSError("gone")
            return 1, pj.Decision(add=problem.propose(2), until={0: 1, 1: 1})

        return pj.Scheduler(lambda: 0, step)

    with contextlib.suppress(Exception):
        pj.search(
            pj.supervised(rows()),
            {"learning_rate": 0.1},
            trials=2,
            epochs=2,
            scheduler=scheduler,
            callbacks=[pj.tracking.mlflow("failed", uri)],
        )
    (run,) = runs_of(client, "failed")
    assert run.info.status == "FAILED"


def interrupted(place: Path, uri: str, client: Any) -> None:
    """A Ctrl-C, which a terminal sends to all processes of a command, ends the search, and its tracker is told."""
    words = ["--trials", "64", "--epochs", "100000", "--dataset", "wine", "--out", str(place / "long")]
    with subprocess.Popen(
        [sys.executable, "-m", "popjax.sweep", *words, "--quiet", "--track", "mlflow"],
        cwd=place,
        env=os.environ | {"MLFLOW_TRACKING_URI": uri},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as command:
        while not any("now/best" in run.data.metrics for run in runs_of(client, "popjax")):
            assert command.poll() is None
            time.sleep(0.2)
        os.killpg(command.pid, signal.SIGINT)
    assert command.returncode == 130
    (run,) = runs_of(client, "popjax")
    assert (run.info.status, run.info.run_name) == ("FINISHED", "long")
    assert "epoch/best" in run.data.metrics


def runs_of(client: Any, name: str) -> list[Any]:
    """The runs of an experiment, once there is one."""
    experiment = client.get_experiment_by_name(name)
    return [] if experiment is None else list(client.search_runs([experiment.experiment_id]))


def records(path: Path) -> list[bytes]:
    """The records of a file of W&B's: blocks of 32 KiB, in which each part has its checksum, length and kind.

    W&B's own process writes it, and may not be through with the last one yet.
    """
    content, found, part = path.read_bytes(), [], b""
    at = 7  # behind the file's own header
    while at + 7 <= len(content):
        if 2**15 - at % 2**15 < 7:
            at += 2**15 - at % 2**15
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        if at + 7 + length > len(content):
            time.sleep(0.2)
            return records(path)
        part += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            found.append(part)
            part = b""
    return found


def wandb(place: Path) -> None:
    """Series with axes of their own, and figures, from the file of an offline run."""
    from wandb.proto import wandb_internal_pb2

    results = search(rows(), callbacks=[pj.tracking.wandb("mine", mode="offline", dir=str(place))])
    (path,) = place.glob("wandb/offline-run-*/run-*.wandb")
    found: dict[str, list[float]] = {}
    summary: dict[str, object] = {}
    for content in records(path):
        record = wandb_internal_pb2.Record.FromString(content)
        for item in record.history.item:
            found.setdefault("/".join(item.nested_key) or item.key, []).append(json.loads(item.value_json))
        for item in record.summary.update:
            summary["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
    same(found, series(results))
    assert found["epoch"] == [1, 2, 3, 4]
    assert len(found["epochs_trained"]) == len(found["now/begun"])
    assert summary["winner"] == results.best.trial


def trackio(place: Path) -> None:
    """Series, figures and the artifacts, from its database."""
    from trackio.sqlite_storage import SQLiteStorage

    results = search(rows(), out=place / "run", callbacks=[pj.tracking.trackio("mine")])
    logs = SQLiteStorage.get_logs("mine", "run")
    told = [log for log in logs if "epoch/best" in log]
    same({name: [log[name] for log in told] for name in told[0] if name.startswith("epoch/")}, series(results))
    assert [log["step"] for log in told] == [1, 2, 3, 4]
    assert [log["summary/winner"] for log in logs if "summary/winner" in log] == [results.best.trial]
    files = {artifact["name"] for artifact in SQLiteStorage.get_artifacts("mine")}
    assert files == {"run-trials.csv", "run-report.html"}


def dashboard(place: Path) -> None:
    """A study that `popjax export` wrote, as optuna-dashboard serves it."""
    results = search(rows(), out=place / "run")
    study = ["popjax.export", str(place / "run"), "--to", "optuna", "--out", str(place / "study.db")]
    subprocess.run([sys.executable, "-m", *study], check=True, stdout=subprocess.DEVNULL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = f"import optuna_dashboard as d; d.run_server('sqlite:///{place}/study.db', host='127.0.0.1', port={port})"
    with subprocess.Popen(
        [sys.executable, "-c", serve], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            (known,) = asked(port, "studies")["study_summaries"]
            whole = asked(port, f"studies/{known['study_id']}?after=0")
        finally:
            server.terminate()
    assert known["study_name"] == "run"
    states = [trial["state"].lower() for trial in whole["trials"]]
    expected = {"ok": "complete", "pruned": "pruned", "diverged": "fail", "stopped": "fail"}
    assert states == [expected[status] for status in results.trials["status"].to_pylist()]
    assert whole["best_trials"][0]["number"] == results.best.trial


def asked(port: int, what: str) -> dict:
    """What a dashboard answers, once it does."""
    for _ in range(300):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{what}") as answer:
            return json.load(answer)
        time.sleep(0.1)
    raise AssertionError("the dashboard does not answer")


TRACKERS = {"dashboard": dashboard, "mlflow": mlflow, "wandb": wandb, "trackio": trackio}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    failed = False
    with tempfile.TemporaryDirectory() as place:
        os.environ |= {"TRACKIO_DIR": f"{place}/trackio", "HF_HUB_OFFLINE": "1", "WANDB_SILENT": "true"}
        for name in sys.argv[1:] or TRACKERS:
            own = Path(place, name)
            own.mkdir()
            try:
                TRACKERS[name](own)
                print(f"{name}: what was told", flush=True)
            except AssertionError as error:
                failed = True
                print(f"{name}: SOMETHING ELSE: {error}", flush=True)
    sys.exit(int(failed))
