"""A task survives a pickle, also where its model is defined in a script, and trains to the same bits afterwards."""

import subprocess
import sys

import cloudpickle
import numpy as np
import pytest

import popjax as pj

SPACE = {"learning_rate": pj.log_uniform(1e-3, 1e-1), "batch_size": pj.choice(8, 16)}
SCRIPT = """
import jax, numpy as np, optax, popjax as pj
from flax import nnx

class Net(nnx.Module):
    def __init__(self, hidden, rngs):
        self.first = nnx.Linear(5, hidden, rngs=rngs)
        self.drop = nnx.Dropout(0.1, rngs=rngs)
        self.out = nnx.Linear(hidden, 3, rngs=rngs)

    def __call__(self, x):
        return self.out(self.drop(nnx.relu(self.first(x))))

def optimizer(hparams):
    return optax.lion(hparams["learning_rate"])

def task(rows):
    return pj.supervised(rows, lambda hparams, rngs: Net(7, rngs), optimizer)
"""


def task_of_a_script(rows):
    scope = {"__name__": "__main__"}
    exec(SCRIPT, scope)
    return scope["task"](rows)


@pytest.mark.soak
@pytest.mark.parametrize("make", [pj.supervised, task_of_a_script], ids=["built in", "own"])
@pytest.mark.parametrize("folds", [1, 3])
def test_a_task_from_a_pickle_trains_to_the_same_bits(rows, make, folds):
    task = make(rows)
    copy = cloudpickle.loads(cloudpickle.dumps(task.in_folds(3) if folds == 3 else task))
    one, other = (pj.search(each, SPACE, trials=4, epochs=2, folds=folds) for each in (task, copy))
    assert one.curves.keys() == other.curves.keys()
    for name, values in one.members.items():
        assert values.tobytes() == other.members[name].tobytes()
    assert one.summary["test"] == other.summary["test"]
    assert one.run["task"] == other.run["task"]
    assert one.run["data"] == other.run["data"]


@pytest.mark.soak
def test_a_task_from_a_file_trains_to_the_same_bits_in_a_fresh_process(rows, tmp_path):
    """Which knows nothing of the script that defined it, and cuts it into folds itself."""
    task = task_of_a_script(rows)
    (tmp_path / "task.pkl").write_bytes(cloudpickle.dumps((task, task.in_folds(3), SPACE)))
    code = """
import pathlib, cloudpickle, numpy as np, popjax as pj
task, folded, space = cloudpickle.loads(pathlib.Path("task.pkl").read_bytes())
found = [pj.search(task, space, trials=4, epochs=2, folds=folds) for folds in (1, 3)]
found.append(pj.search(folded, space, trials=4, epochs=2, folds=3))
np.savez("found.npz", *[results.members["val_loss"] for results in found])
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=300)
    with np.load(tmp_path / "found.npz") as found:
        own = [pj.search(task, SPACE, trials=4, epochs=2, folds=n).members["val_loss"] for n in (1, 3)]
        for name, values in zip(("arr_0", "arr_1", "arr_2"), [*own, own[1]], strict=True):
            assert found[name].tobytes() == values.tobytes()


def test_a_pickle_holds_no_task_that_was_made_of_it(rows):
    task = pj.supervised(rows)
    alone = len(cloudpickle.dumps(task))
    for folds in (2, 3, 4):
        task.in_folds(folds)
    assert len(cloudpickle.dumps(task)) == alone
    assert task.in_folds(3) is task.in_folds(3)
    assert task.in_folds(1) is task
