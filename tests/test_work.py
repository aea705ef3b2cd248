"""The unit of work: one function of picklable arguments, that gives the same bits in another process."""

import functools
import pickle
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

import popjax as pj
from popjax.engine.backends.protocol import Context, Segment
from popjax.engine.backends.remote import Delivery, RemoteBackend
from popjax.engine.backends.work import Failed, Missing, Refused, error_of, shipped, work
from popjax.engine.roster import Roster
from popjax.engine.traced_task import Config, TracedTask
from popjax.store.cohort import Cohort

SPACE = pj.Space(
    learning_rate=pj.log_uniform(1e-3, 1e-1),
    hidden=pj.integers(3, 9),
    batch_size=pj.choice(8, 16),
    depth=pj.choice(1, 2),
)
ELSEWHERE = """
import pathlib, pickle
from popjax.engine.backends.work import work
unit, blob = pickle.loads(pathlib.Path("unit").read_bytes())
answers = [work(unit), work(unit, blob)]
answers.append(work(unit._replace(epoch=2, state=answers[1].state, until=5)))
pathlib.Path("answers").write_bytes(pickle.dumps(answers))
"""


@pytest.fixture
def remote(rows):
    """A backend of five trials of five epochs, whose executor is not used."""
    task = pj.supervised(rows)
    roster = Roster(TracedTask(task, SPACE, Config(5, 3, pj.Rule(task.metric))), SPACE.sample(5, 3))
    return RemoteBackend(roster, Context(), executor=functools.partial(ThreadPoolExecutor, 1))


def unit_of(remote, index, until):
    """What travels of members that have not begun; the executor's rule for their epochs put aside."""
    start = Cohort(0, np.array(index))
    return remote.unit(Delivery(0, Segment(start, until), start))._replace(until=until)


def test_a_unit_gives_the_same_bits_elsewhere_and_in_pieces(remote, rows, python, tmp_path):
    """By the standard library's pickle into another process: asked for its task, for two epochs, for three."""
    whole = pj.search(pj.supervised(rows), SPACE, trials=5, epochs=5, seed=3, rank=pj.best(keep=5))
    index = [3, 1, 4]
    unit = unit_of(remote, index, 2)
    (tmp_path / "unit").write_bytes(pickle.dumps((unit, remote.blob)))
    process = python(ELSEWHERE)
    assert process.returncode == 0, process.stderr
    missing, first, second = pickle.loads((tmp_path / "answers").read_bytes())
    assert isinstance(missing, Missing)
    assert (first.epoch, second.epoch) == (2, 5)
    assert missing.worker == first.worker == second.worker
    here = work(unit._replace(until=5), remote.blob)
    for name, values in whole.members.items():
        assert np.concatenate([first.metrics[name], second.metrics[name]], 1).tobytes() == here.metrics[name].tobytes()
        assert here.metrics[name].tobytes() == values[index, 0, 0].tobytes()
    assert list(second.state) == list(here.state)
    assert [array.tobytes() for array in second.state.values()] == [array.tobytes() for array in here.state.values()]


def test_jaxs_settings_travel(remote, rows):
    """The same members in both precisions, one after the other, each as a search with that setting has them."""
    settings = unit_of(remote, [0, 1], 2)
    with jax.enable_x64(True):
        exact = unit_of(remote, [0, 1], 2)
    short, long = work(settings, remote.blob), work(exact, remote.blob)
    assert {leaf.dtype.name for leaf in short.state.values() if leaf.dtype.kind == "f"} == {"float32"}
    assert {leaf.dtype.name for leaf in long.state.values() if leaf.dtype.kind == "f"} == {"float64"}
    for wide, answer in ((False, short), (True, long)):
        with jax.enable_x64(wide):
            whole = pj.search(pj.supervised(rows), SPACE, trials=5, epochs=2, seed=3)
        assert answer.metrics["val_loss"].tobytes() == whole.curves["val_loss"][:2].tobytes()


def test_a_unit_of_another_machine_is_refused_before_anything_is_loaded(remote):
    answer = work(unit_of(remote, [0], 1)._replace(kin="jax 9 on a mainframe"), b"not even a pickle")
    assert isinstance(answer, Refused)
    assert answer.kin == remote.kin


def test_what_a_task_raises_is_a_value(remote):
    """With its text alone where the exception itself cannot travel."""

    class Stubborn(Exception):
        def __reduce__(self):
            raise TypeError("stays")

    def failing(kind, text):
        def objective(key, hparams):
            raise kind(text)

        unit = unit_of(remote, [0], 1)._replace(task=f"a task that raises {kind.__name__}")
        return work(unit, shipped(pj.objective(objective)))

    known, unknown = failing(ZeroDivisionError, "mine"), failing(Stubborn, "here")
    assert isinstance(known, Failed)
    assert isinstance(error_of(known), ZeroDivisionError)
    assert str(error_of(known)) == "mine"
    assert isinstance(error_of(unknown), RuntimeError)
    assert str(error_of(unknown)) == "Stubborn: here"
