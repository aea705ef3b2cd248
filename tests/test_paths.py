"""Whatever happens to a run or a session on its way, it ends as the one that is left alone: in bytes, or exactly."""

import copy
import itertools
import os
import shutil
import signal
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import steering_task
import stopping
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import popjax as pj

BEST = pj.best("loss", at="best", patience=1, keep=6)
SEARCHES = {
    "plain": dict(trials=9, epochs=5, rank=pj.best(keep=3)),
    "kept epochs": dict(trials=8, epochs=6, rank=BEST),
    "rounds": dict(trials=12, epochs=2, scheduler="rounds(3)"),
    "halving": dict(trials=9, epochs=6, scheduler="halving(min_epochs=1)", rank=BEST),
    "pbt": dict(trials=9, epochs=6, scheduler="pbt(warmup=1)", rank=BEST),
    "everything": dict(trials=11, epochs=steering_task.EPOCHS, scheduler=steering_task.everything),
    "tpe": dict(trials=12, epochs=4, scheduler="rounds(3, halving(min_epochs=1))", sampler="tpe"),
}
ALONE = {}  # name -> the directory of the search left alone, and its results
CRASH = st.none() | st.integers(0, 12)


def sizes(quick, whole):
    """A quick test of a machine, and its slow proof."""
    settings = lambda examples, steps: hypothesis.settings(
        max_examples=examples, stateful_step_count=steps, derandomize=True, deadline=None, database=None
    )
    return [settings(*quick), pytest.param(settings(*whole), marks=pytest.mark.soak)]


class Place(RuleBasedStateMachine):
    """A directory that may be copied elsewhere as a kill would leave it."""

    def __init__(self):
        super().__init__()
        self.place, self.numbers = Path(tempfile.mkdtemp()), itertools.count()
        self.run = self.place / "run"

    def killed(self, crash, act):
        """Whether `act` was killed before the rename of that number: the directory is what was left."""
        left = self.place / str(next(self.numbers))
        with stopping.copied_at(self.run, crash, left):
            act()
        if left.exists():
            self.run = left
        return self.run == left

    def teardown(self):
        shutil.rmtree(self.place)


class Epochs(pj.Callback):
    """Sets the event once so many epochs of members are trained."""

    def __init__(self, epochs):
        self.left, self.stop = epochs, threading.Event()

    def epoch(self, result):
        self.left -= len(result.trial)
        if self.left <= 0:
            self.stop.set()


def kept(results):
    """The bytes of the states of all trials that the rule keeps."""
    return {trial: {name: a.tobytes() for name, a in state.items()} for trial, state in results.states.items()}


class Searches(Place):
    """A search that is stopped, killed, damaged, moved, and goes on elsewhere."""

    @initialize(name=st.sampled_from(sorted(SEARCHES)))
    def begin(self, name):
        self.asked = {"seed": 2, "folds": 2, **SEARCHES[name]}
        if name not in ALONE:
            place = Path(tempfile.mkdtemp())
            ALONE[name] = place, self.search(place)
        self.alone, self.whole = ALONE[name]

    def search(self, out, stop=None, **given):
        return stopping.search(steering_task.TASK, steering_task.SPACE, out=out, stop=stop, **self.asked, **given)

    @rule(epochs=st.integers(0, 40), crash=CRASH, elsewhere=st.booleans())
    def goes_on(self, epochs, crash, elsewhere):
        """Until so many epochs are trained, or it is killed; on this or on another executor."""
        show = Epochs(epochs)
        if epochs == 0:
            show.stop.set()
        backend = (lambda: ThreadPoolExecutor(1)) if elsewhere else None
        act = lambda: self.search(self.run, show.stop, callbacks=[show], resume=True, backend=backend)
        if crash is None:
            act()
        else:
            self.killed(crash, act)

    @precondition(lambda self: (self.run / "state").exists())
    @rule(number=st.integers(0), at=st.integers(0), bit=st.integers(0, 7))
    def is_damaged(self, number, at, bit):
        """A bit of a file of states is another one."""
        files = sorted((self.run / "state").glob("*.safetensors"))
        if files and (content := bytearray((path := files[number % len(files)]).read_bytes())):
            content[at % len(content)] ^= 1 << bit
            path.write_bytes(content)

    @precondition(lambda self: self.run.exists())
    @rule(all_states=st.booleans())
    def is_moved(self, all_states):
        """To another directory, with its states or without."""
        moved = self.place / str(next(self.numbers))
        shutil.move(self.run, moved)
        self.run = moved
        if not all_states:
            shutil.rmtree(moved / "state", ignore_errors=True)

    def teardown(self):
        if hasattr(self, "alone"):
            results = self.search(self.run, resume=True)
            stopping.same_files(self.alone, self.run)
            assert results.best == self.whole.best
            assert kept(results) == kept(self.whole)
            again = self.search(self.run, resume=True)
            assert again.best == results.best
            stopping.same_files(self.alone, self.run)
        super().teardown()


@pytest.mark.parametrize("settings", sizes((14, 4), (200, 8)))
def test_a_search_ends_in_the_bytes_of_the_one_left_alone(settings):
    with stopping.always_committed():
        run_state_machine_as_test(Searches, settings=settings)


def adding(state, hparams, data):
    """All sums are exact, so that plain Python has the same."""
    state = state + hparams["way"] * hparams["rate"]
    return state, {"loss": state}


ADDING = pj.Task(lambda key, hparams, data: 0.0, adding, (), metric="loss", mode="min")
WAYS = [1, -1, 1, -1, 1]
RATES = pj.Space(rate=pj.uniform(0, 8), way=pj.choice(1, -1, static=True))


class Trials:
    """What a session is, in plain Python."""

    def __init__(self):
        self.rates, self.sums = [0.5, 1.0, 0.25, 2.0, 4.0], [0.0] * 5
        self.stopped, self.curves = [False] * 5, []
        self.past = []
        self.stand()

    def stand(self):
        """The states to which `back` returns are those as an epoch was left."""
        del self.past[len(self.curves) :]
        self.past.append((self.sums.copy(), self.stopped.copy()))

    def train(self):
        if not all(self.stopped):
            steps = [way * rate for way, rate in zip(WAYS, self.rates, strict=True)]
            self.sums = [
                x if rests else x + step for x, step, rests in zip(self.sums, steps, self.stopped, strict=True)
            ]
            row = [np.nan if rests else x for x, rests in zip(self.sums, self.stopped, strict=True)]
            self.curves.append(row)
            self.stand()

    def set(self, trial, rate):
        for each in range(5) if trial is None else [trial]:
            self.rates[each] = rate

    def clone(self, source, target):
        for column in (self.rates, self.sums, self.stopped):
            column[target] = column[source]
        self.stand()

    def rest(self, trial, stopped):
        self.stopped[trial] = stopped
        self.stand()

    def back(self, epochs):
        del self.curves[len(self.curves) - epochs :]
        self.sums, self.stopped = (column.copy() for column in self.past[len(self.curves)])
        self.stand()

    def seen(self):
        """Comparable with what `of` sees of a session."""
        curves = np.array(self.curves).reshape(-1, 5).T
        return (curves.tobytes(), self.rates, [not rests for rests in self.stopped], self.sums)


def of(session):
    curves = session.curves.get("loss", np.zeros((5, 0))).astype(float)
    sums = [np.ravel(state).item() for state in session.state]
    return curves.tobytes(), session.hparams["rate"].tolist(), session.alive.tolist(), sums


class Sessions(Place):
    """A session that is steered, interrupted, killed at any rename and opened again."""

    def __init__(self):
        super().__init__()
        self.patch = pytest.MonkeyPatch()

    def teardown(self):
        self.patch.undo()
        super().teardown()

    @initialize(kept=st.booleans(), little=st.booleans())
    def begin(self, kept, little):
        """In a directory or in none; where there is little memory, earlier states are trained again."""
        if little:
            self.patch.setattr("popjax.study.timeline.MEMORY", 1)
        self.known = Trials()
        self.out = self.run if kept else None
        self.session = self.opened()

    def opened(self, resume=False):
        out = None if self.out is None else self.run
        hparams = {"rate": [0.5, 1.0, 0.25, 2.0, 4.0], "way": WAYS}
        return pj.Session(ADDING, hparams, space=RATES, out=out, resume=resume)

    def act(self, crash, act, *changes):
        """After a kill it is as it was before, or after one of the changes."""
        before = [copy.deepcopy(self.known)]
        for change in changes:
            change(self.known)
            before.append(copy.deepcopy(self.known))
        if crash is None or self.out is None:
            act(self.session)
        elif self.killed(crash, lambda: act(self.session)):
            self.session = self.opened(resume=True)
            (self.known, *_) = [one for one in before if one.seen() == of(self.session)] or [self.known]

    @rule(epochs=st.integers(1, 3), crash=CRASH)
    def trains(self, epochs, crash):
        self.act(crash, lambda session: session.train(epochs), *[Trials.train] * epochs)

    @precondition(lambda self: not all(self.known.stopped))
    @rule(seconds=st.floats(0, 0.03))
    def is_interrupted(self, seconds):
        """After the epoch in training."""

        def interrupt():
            while signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                time.sleep(0.001)
            time.sleep(seconds)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            self.session.train(10_000)
        for _ in range(self.session.epoch - len(self.known.curves)):
            self.known.train()

    @rule(trial=st.none() | st.integers(0, 4), rate=st.sampled_from([0.25, 0.5, 1.5, 3.0]), crash=CRASH)
    def is_set(self, trial, rate, crash):
        self.act(
            crash,
            lambda session: session.set(*[] if trial is None else [trial], rate=rate),
            lambda known: known.set(trial, rate),
        )

    @rule(source=st.integers(0, 4), into=st.integers(0, 4), crash=CRASH)
    def is_cloned(self, source, into, crash):
        if WAYS[source] != WAYS[into]:
            with pytest.raises(ValueError, match=f"copy {source} to {into}"):
                self.session.clone(source, into)
        else:
            self.act(crash, lambda session: session.clone(source, into), lambda known: known.clone(source, into))

    @rule(trial=st.integers(0, 4), stopped=st.booleans(), crash=CRASH)
    def rests(self, trial, stopped, crash):
        name = "stop" if stopped else "lift"
        self.act(crash, lambda session: getattr(session, name)(trial), lambda known: known.rest(trial, stopped))

    @rule(epochs=st.integers(1, 4), crash=CRASH)
    def goes_back(self, epochs, crash):
        if epochs > len(self.known.curves):
            with pytest.raises(ValueError, match=str(epochs)):
                self.session.back(epochs)
        else:
            self.act(crash, lambda session: session.back(epochs), lambda known: known.back(epochs))

    @precondition(lambda self: self.out is not None)
    @rule()
    def is_opened_again(self):
        self.session = self.opened(resume=True)

    @invariant()
    def it_is_what_plain_python_says(self):
        if hasattr(self, "session"):
            assert of(self.session) == self.known.seen()


@pytest.mark.parametrize("settings", sizes((20, 8), (300, 20)))
def test_a_session_is_what_plain_python_says(settings):
    with stopping.always_committed():
        run_state_machine_as_test(Sessions, settings=settings)
