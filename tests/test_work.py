"""The unit of work: one function of picklable arguments, that gives the same bits in another process."""

import cloudpickle
import numpy as np

import popjax as pj
from popjax.engine.roster import Config, Roster
from popjax.engine.snapshot import Snapshot
from popjax.engine.work import unit, work

SPACE = pj.Space(
    learning_rate=pj.log_uniform(1e-3, 1e-1),
    hidden=pj.integers(3, 9),
    batch_size=pj.choice(8, 16),
    depth=pj.choice(1, 2),
)
ELSEWHERE = """
import sys
import cloudpickle
from popjax.engine.work import work
with open("unit", "rb") as file:
    arguments = cloudpickle.load(file)
first = work(*arguments, 2)
second = work(*arguments[:2], first.snapshot, arguments[3], 5)
with open("trained", "wb") as file:
    cloudpickle.dump((first, second), file)
"""


def test_a_unit_gives_the_same_bits_elsewhere_and_in_pieces(rows, python, tmp_path):
    """Pickled into another process, trained for two epochs and from its snapshot for three more."""
    task = pj.supervised(rows)
    whole = pj.search(task, SPACE, trials=5, epochs=5, seed=3, keep=5)
    roster = Roster(task, SPACE, Config(5, 3, task.metric, task.mode))
    roster.add(SPACE.sample(5, 3))
    index = np.array([3, 1, 4])
    arguments = (task, *unit(roster, Snapshot(0, index)))
    (tmp_path / "unit").write_bytes(cloudpickle.dumps(arguments))
    process = python(ELSEWHERE)
    assert process.returncode == 0, process.stderr
    first, second = cloudpickle.loads((tmp_path / "trained").read_bytes())
    assert (first.snapshot.epoch, second.snapshot.epoch) == (2, 5)
    here = work(*arguments, 5)
    for name, values in whole.members.items():
        assert np.concatenate([first.metrics[name], second.metrics[name]], 1).tobytes() == here.metrics[name].tobytes()
        assert here.metrics[name].tobytes() == values[index, 0, 0].tobytes()
    kernels = second.snapshot.begun.state.params["out"]["kernel"]
    for row, trial in enumerate(index.tolist()):
        assert kernels[row].tobytes() == whole.params(trial)["out"]["kernel"].tobytes()
