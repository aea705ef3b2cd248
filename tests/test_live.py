"""The live page of real runs: what it shows, changes and refuses, and what becomes of a run that is killed.

`popjax.tuning.person`: what a page asks of a search, asked from a callback of the search itself.
"""

import http.client
import json
import re
import shutil
import signal
import socket
import threading
import time
from contextlib import closing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stopping
from asking import CUT, Cable, Page, Run
from conftest import soaked
from steering_task import EPOCHS, SPACE, TASK

import popjax as pj
from popjax.tuning.person import Change

TRIALS, LAST = 24, 20_000
SWEEP = ("sweep", "--dataset", "wine", "--trials", TRIALS, "--epochs", LAST, "--out", "run", "--quiet")
BYTES = ("trials.parquet", "curves.parquet", "history.parquet", "best/arrays.safetensors")


@pytest.fixture
def start(tmp_path, environment):
    """Start a command with a live page; at the end nothing is left of it."""
    runs = []

    def begin(*arguments):
        runs.append(Run(*arguments, place=tmp_path, environment=environment))
        return runs[-1], Page(runs[-1].address)

    yield begin
    for run in runs:
        run.close()


@pytest.fixture
def tab(browser):
    """Open an address; at the end nothing was asked of another host, and nothing was complained of."""
    troubles, contexts = [], []

    def open_tab(address, width=1280, scheme="light", context=None, cut=False):
        if context is None:
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
            contexts.append(context)
        page, host = context.new_page(), address.split("/")[2]
        if not cut:
            page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
        ours = (f"http://{host}/", "data:")
        page.on("request", lambda asked: None if asked.url.startswith(ours) else troubles.append(asked.url))
        page.goto(address)
        page.wait_for_selector("canvas")
        return page

    yield open_tab
    for context in contexts:
        context.close()
    assert troubles == []


def set_to(page, name, value):
    """Set a hyperparameter of the picked trial by its field."""
    row = page.locator("#hparams tr", has=page.get_by_text(name, exact=True))
    row.locator("input[type=number]").fill(str(value))
    row.get_by_role("button", name="Set").click()


def until(page, what):
    """Wait until an expression holds in the page, whose policy forbids what Playwright's own waiting does."""
    for _ in range(1200):
        if page.evaluate(what):
            return
        time.sleep(0.05)
    raise AssertionError(f"never: {what}; {page.inner_text('main')}")


def at_rest(page):
    """The epoch at which a search that was just paused stands: one that was under way may still come."""
    before, now = -1, page.trial(0)["epoch"]
    while now != before:
        time.sleep(0.5)
        before, now = now, page.trial(0)["epoch"]
    return now


def decisions(page):
    """The page's log, the latest first."""
    return page.locator("#log li").all_inner_texts()


def test_curves_grow_and_what_a_person_asks_for_reaches_the_tables(start, tab, command, tmp_path):
    """Set, clone and stop by the buttons of the page; two tabs see it; the end is the report; no other bit changes."""
    run, page = start(*SWEEP)
    first = tab(run.address)
    second = tab(f"http://127.0.0.1:{page.port}/", context=first.context)
    before = first.evaluate("curves[0].length")
    until(first, f"curves[0].length > {before} && curves.every((curve) => curve.length > {before})")
    first.fill("#number", "99")
    first.press("#number", "Enter")
    until(first, "document.getElementById('said').textContent === 'there is no trial 99; choose 0..23'")
    assert first.is_hidden("#picked")
    first.fill("#number", "3")
    first.press("#number", "Enter")
    first.wait_for_selector("#picked:not([hidden])")
    set_to(first, "learning_rate", 0.0123)
    until(first, "document.querySelectorAll('#log li').length === 1")
    first.click("#stop")
    until(first, "document.querySelectorAll('#log li').length === 2")
    first.fill("#number", "7")
    first.press("#number", "Enter")
    until(first, "document.getElementById('stands').textContent.startsWith('trains')")
    first.fill("#target", "7")
    first.click("#clone")
    until(first, "document.getElementById('said').textContent.includes('choose another trial')")
    first.fill("#target", "9")
    first.click("#clone")
    until(first, "document.querySelectorAll('#log li').length === 3")
    said = ["trial 9 became trial 7", "trial 3 stopped", "trial 3 learning_rate = 0.0123"]
    assert decisions(first) == said
    until(second, "document.querySelectorAll('#log li').length === 3")
    assert decisions(second) == said
    assert page.trial(3)["status"] == "s"
    first.click("#end")
    for one in (first, second):
        one.wait_for_selector("h1:has-text('wine: random search')", timeout=60_000)
        assert "Steered by hand: trials 3, 9." in one.inner_text("main")
    assert run.end() == 0
    results = pj.Results.load(tmp_path / "run")
    reached = int(results.done[~results.diverged].max())
    assert np.flatnonzero(results.steered).tolist() == [3, 9]
    assert results.points["learning_rate"][3] == 0.0123
    assert results.trials["status"].to_pylist() == ["stopped" if one else "diverged" for one in ~results.diverged]
    assert results.done[3].max() < reached
    process = command(*SWEEP[:1], "--dataset", "wine", "--trials", TRIALS, "--epochs", reached, "--out", "plain")
    assert process.returncode == 0, process.stderr
    plain = pj.Results.load(tmp_path / "plain")
    others = np.setdiff1d(np.arange(TRIALS), [3, 9])
    both = int(
        results.done[np.setdiff1d(np.flatnonzero(~results.diverged), [3, 9])].min()
    )  # where it was stopped, some are an epoch ahead
    assert both >= reached - 1
    for name, values in plain.members.items():
        assert results.members[name][others, ..., :both].tobytes() == values[others, ..., :both].tobytes()


def test_curves_name_their_trials_and_sliders_move_values(start, tab):
    """Under the pointer and by a click, among those that train and those that are stopped."""
    run, page = start(*SWEEP)
    there = tab(run.address)
    until(there, "curves[3].length > 2")
    assert page.ask(verb="stop", trial=3)[0] in (200, 202)
    until(there, "document.querySelectorAll('#log li').length === 1")
    there.click("#pause")
    until(there, "document.getElementById('pause').textContent === 'Go on'")
    until(there, f"curves[0].length === {at_rest(page)} && !stale")
    there.locator("#curves").scroll_into_view_if_needed()
    for trial in (3, 7):
        x, y, value = there.evaluate(
            "(trial) => { const box = chart.over.getBoundingClientRect(), value = curves[trial][1]; return ["
            "box.left + chart.valToPos(2, 'x') + 3, box.top + chart.valToPos(value, 'y'), value]; }",
            trial,
        )
        there.mouse.move(x, y)
        until(there, f"nearest !== null && Math.abs(nearest.value - {value}) < 0.02")  # or one that lies there too
        named, epoch, shown = re.fullmatch(r"trial (\d+), epoch (\d+): (\S+)", there.inner_text(".tip")).groups()
        assert epoch == "2"
        assert float(shown) == pytest.approx(there.evaluate(f"curves[{named}][1]"), rel=1e-3)
        there.mouse.down()
        there.mouse.up()
        until(there, f"picked === {named} && details?.trial === {named}")
        assert there.input_value("#number") == named
    row = there.locator("#hparams tr", has=there.get_by_text("learning_rate", exact=True))
    row.locator("input[type=range]").evaluate("slider => { slider.value = 7; slider.oninput(); }")
    (steps,) = there.evaluate("details.hparams.filter((row) => row.name === 'learning_rate').map((row) => row.steps)")
    assert float(row.locator("input[type=number]").input_value()) == steps[7][0]
    standing = [page.trial(trial)["status"] for trial in range(TRIALS)]
    cards = dict(reversed(card.split("\n")) for card in there.locator(".card").all_inner_texts()[1:])
    counts = {"train": "t", "stopped": "s", "diverged": "d", "trained to the end": "e"}
    assert {name: int(cards[name]) for name in counts} == {n: standing.count(letter) for n, letter in counts.items()}
    assert page.ask(verb="end")[0] == 200
    assert run.end() == 0


def test_six_tabs_leave_room_for_what_is_asked(start, tab):
    """A browser has six connections to a server: of more than four tabs those opened first rest, until seen."""
    run, page = start(*SWEEP)
    tabs = [tab(run.address)]
    tabs += [tab(f"http://127.0.0.1:{page.port}/", context=tabs[0].context) for _ in range(5)]
    for one in tabs[:2]:
        until(one, "document.getElementById('link').textContent.startsWith('this tab rests, since 4 others are open')")
    page.wait(0, lambda told: told["epoch"] > 1)  # a run that ends before has no winner
    tabs[-1].click("#pause")
    until(tabs[2], "document.getElementById('pause').textContent === 'Go on'")
    tabs[0].click("#link")
    until(tabs[0], "document.getElementById('link').className === 'lives'")
    until(tabs[0], "document.getElementById('pause').textContent === 'Go on'")
    until(tabs[2], "document.getElementById('link').className === 'cut'")
    assert page.ask(verb="end")[0] == 200
    assert run.end() == 0


def test_the_log_tells_what_the_scheduler_did(start, tab, tmp_path):
    """Copies by their numbers."""
    run, page = start(*SWEEP, "--scheduler", "pbt(warmup=1)")
    there = tab(run.address)
    until(there, "document.querySelectorAll('#log li').length > 0")
    found = re.fullmatch(r"(\d+) trials? became copies of better ones: (.+)", decisions(there)[-1])
    pairs = [tuple(map(int, pair.split(" of "))) for pair in found[2].split(", ")]
    assert len(dict(pairs)) == len(pairs) == int(found[1]), "each is a copy of one"
    assert not {target for target, _ in pairs} & {source for _, source in pairs}
    assert page.ask(verb="end")[0] == 200
    assert run.end() == 0
    written = map(json.loads, (tmp_path / "run" / "decisions.jsonl").read_text().splitlines())
    assert next(line["copy"] for line in written if line.get("copy")) == [list(pair) for pair in pairs]


def test_a_tab_that_was_cut_off_catches_up(start, tab):
    """What it missed comes, once; the page says that it is cut off, and that it is not any more."""
    run, page = start(*SWEEP)
    cable = Cable(page.port)
    there = tab(f"http://127.0.0.1:{cable.port}/?token={page.token}", cut=True)
    assert page.ask(verb="stop", trial=2)[0] in (200, 202)
    until(there, "document.querySelectorAll('#log li').length === 1")
    there.fill("#number", "2")
    there.press("#number", "Enter")
    until(there, "details?.status === 's'")
    there.check("#decades")
    there.evaluate("say('heard')")
    cable.cut(False)
    there.wait_for_selector("#link.cut")
    known = there.evaluate("curves[0].length")
    assert page.ask(verb="stop", trial=4)[0] in (200, 202)
    page.wait(0, lambda told: told["epoch"] > known + 3)
    cable.cut(True)
    there.wait_for_selector("#link.lives", timeout=20_000)
    until(there, f"curves[0].length > {known + 3} && document.querySelectorAll('#log li').length === 2")
    assert decisions(there) == ["trial 4 stopped", "trial 2 stopped"]
    assert there.is_checked("#decades"), "as it was left"
    assert there.inner_text("#said") == "heard", "the log's old lines are no news"
    there.click("#pause")
    until(there, "document.getElementById('pause').textContent === 'Go on'")
    at_rest(page)
    told = page.trial(0, "val_accuracy")
    until(there, f"curves[0].length === {told['epoch']}")
    assert there.evaluate("curves[0]") == told["curve"]
    cable.close()
    assert page.ask(verb="end")[0] == 200
    assert run.end() == 0


@pytest.mark.kill
@pytest.mark.soak
def test_killed_amid_steering_it_ends_with_the_same_bytes(start, command, tmp_path):
    """kill -9 after some changes; resumed without a page, as a run that has nothing but the log."""
    run, page = start("sweep", "--dataset", "wine", "--trials", TRIALS, "--epochs", 300, "--out", "run", "--quiet")
    page.wait(0, lambda told: told["epoch"] > 2)
    asked = [
        {"verb": "set", "trial": 3, "values": {"learning_rate": 0.02, "momentum": 0.95}},
        {"verb": "clone", "trial": 5, "source": 3},
        {"verb": "stop", "trial": 8},
        {"verb": "set", "trial": 5, "values": {"learning_rate": 0.3}},
    ]
    for change in asked:
        status, answer = page.ask(**change)
        assert (status, answer) == (200, {}), (change, answer)
    run.process.send_signal(signal.SIGKILL)
    assert run.end() == -signal.SIGKILL
    (tmp_path / "other").mkdir()
    for name in ("run.json", "decisions.jsonl"):
        shutil.copy(tmp_path / "run" / name, tmp_path / "other" / name)
    for name in ("run", "other"):
        again = ("--dataset", "wine", "--trials", TRIALS, "--epochs", 300, "--out", name, "--resume", "--quiet")
        process = command("sweep", *again)
        assert process.returncode == 0, process.stderr
    for name in BYTES:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "other" / name).read_bytes(), name
    results = pj.Results.load(tmp_path / "run")
    assert np.flatnonzero(results.steered).tolist() == [3, 5, 8]
    assert results.trials["status"].to_pylist()[8] == "stopped"
    assert results.points["learning_rate"][[3, 5]].tolist() == [0.02, 0.3]
    assert results.points["momentum"][5] == 0.95
    for trial in (3, 5):
        task = pj.supervised("wine")
        line = results.history.lineage(trial)
        curve = pj.replay(results, trial, task)["val_loss"]
        assert curve.tobytes() == results.curves["val_loss"][line, np.arange(300)].tobytes()


@pytest.fixture(scope="module")
def served():
    """A session of four models and a visitor of its page."""
    lived = session()
    page = Page(lived.live())
    lived.train(1)
    yield lived, page
    lived.page.close()


def told(table):
    """A session whose trial t has the loss table[t, n] after epoch n + 1; (trials, epochs)."""

    def epoch(number, hparams, data):
        loss = data[hparams["row"].astype(int), number]
        return number + 1, {"loss": loss, "double": 2 * loss}

    task = pj.Task(lambda key, hparams, data: jnp.int32(0), epoch, jnp.asarray(table, jnp.float32), metric="loss")
    return pj.Session(task, {"row": [float(row) for row in range(len(table))]})


def test_curves_are_drawn_in_decades_wherever_they_end(tab):
    """Also where the axis would begin just below a decade, from where uPlot counts its ticks for ever.

    Decades are left where a value has none, until the user asks for them.
    """
    mantissas = (1.01, 2.5, 9.6, 9.69, 9.8, 9.97)
    ends = np.log10([mantissa * 10.0**power for power in (-2, -4, -7) for mantissa in mantissas[::-1]])
    lows, high = 10 ** ((ends + 0.05 * np.log10(30)) / 1.05), 30.0  # with 5 % of air they are where the axis ends
    lived = told([[high, *lows, -1.0]])
    page = tab(lived.live())
    shown = "chart !== null && chart.data[1].filter((value) => value !== null).length === "
    for known, end in enumerate([None, *ends], 1):
        lived.train(1)
        until(page, f"{shown}{known}")
        assert page.is_checked("#decades")
        assert page.evaluate("chart.series[1].points.show(chart, 1)") == (known == 1), "of one epoch it is a point"
        if end is not None:
            drawn = page.evaluate("chart.scales.y.min")
            assert drawn <= 10**end * 1.0001
            assert drawn * 10 ** -np.floor(np.log10(drawn * 1.0001)) == pytest.approx(np.floor(10 ** (end % 1) + 1e-3))
    lived.train(1)
    until(page, f"{shown}{len(lows) + 2}")
    assert not page.is_checked("#decades")
    page.check("#decades")
    until(page, f"{shown}{len(lows) + 1}")
    lived.page.close()
    page.wait_for_selector("#link.cut")


def test_the_best_of_more_trials_than_are_drawn_is_drawn_too(tab):
    """Whatever metric is looked at; its card has its value, and picks it. No message is above 100 kB."""
    losses = np.linspace(1, 2, 1500)[:, None] * [1.0, 0.5, 0.5, 0.25]
    losses[2] = [0.25, 0.125, 0.125, 0.0625]  # not one of those drawn
    lived = told(losses)
    page = tab(lived.live())
    lived.train(2)
    until(page, "document.getElementById('hint').textContent.startsWith('1000 of 1500 curves are drawn.')")
    drawn = "JSON.stringify(chart?.data.at(-2).filter((value) => value !== null)) === "
    until(page, drawn + "'[0.25,0.125]'")
    page.select_option("#metric", "double")
    until(page, drawn + "'[0.5,0.25]'")
    lived.train(2)
    until(page, drawn + "'[0.5,0.25,0.25,0.125]'")
    lived.back(2)
    until(page, drawn + "'[0.5,0.25]'")
    card = page.locator(".card.winner")
    assert card.inner_text() == "0.125\nloss, trial 2: the best so far, in epoch 2"
    card.click()
    until(page, "picked === 2 && JSON.stringify(details?.curve) === '[0.5,0.25]'")
    page.select_option("#metric", "loss")
    until(page, drawn.replace("-2", "-1") + "'[0.25,0.125]'")
    known = {}

    def whole(message):
        for trial, first, values in message.get("curves", []):
            assert len(known.setdefault(trial, [])) == first
            known[trial] += values
        return len(known) == 1000 and all(len(values) == 2 for values in known.values())

    messages = Page(lived.live()).messages(whole)
    assert {0, 1499} <= known.keys()
    assert max(message["bytes"] for message in messages) < 100_000
    for trial, values in known.items():
        np.testing.assert_allclose(values, losses[trial, :2], rtol=1e-4)
    lived.page.close()
    page.wait_for_selector("#link.cut")


def test_the_picked_trial_follows_whoever_changes_it(tab):
    """Its page shows what a program sets for it, or for all."""
    lived = session()
    page = tab(lived.live())
    lived.train(1)
    page.fill("#number", "1")
    page.press("#number", "Enter")
    rate = "details?.hparams.find((row) => row.name === 'rate').value"
    until(page, f"{rate} === 0.2")
    lived.set(1, rate=0.05)
    until(page, f"{rate} === 0.05")
    lived.set(rate=0.025)
    until(page, f"{rate} === 0.025")
    assert page.input_value("#hparams tr:has-text('rate') input[type=number]") == "0.025"
    lived.page.close()


def halving(problem):
    """Every trial trains on, after each epoch at half the rate."""

    def step(epoch, trials):
        if epoch == 0:
            points = problem.propose(problem.trials)
            return 1, pj.Decision(add=points, until=dict.fromkeys(range(problem.trials), 1))
        every = range(problem.trials if epoch < problem.epochs else 0)
        rates = {trial: {"rate": float(trials.points["rate"][trial]) / 2} for trial in every}
        return epoch + 1, pj.Decision(until=dict.fromkeys(every, epoch + 1), set=rates)

    return pj.Scheduler(lambda: 0, step)


def test_what_a_scheduler_sets_is_in_the_log():
    live = pj.live.Live()
    pj.search(TASK, SPACE, trials=14, epochs=3, scheduler=halving, live=live)
    named = ", ".join(map(str, range(12)))
    lines = [line["text"] for _, line in live.board.lines]
    assert lines.count(f"14 trials got other hyperparameters: {named}, ...") == 2


def change(**keys):
    return json.dumps({"verb": "set", "trial": 0, "values": {"rate": 0.5}} | keys).encode()


SET = change()
HONEST = {"method": "POST", "path": "/change", "headers": {}, "body": SET}  # headers: others than the page's own


def headers(status, **changed):
    """A change with other headers; without those that are None."""
    return status, {"headers": {name.replace("_", "-"): value for name, value in changed.items()}}


def body(status, text):
    return status, {"body": text}


def got(status, path, **changed):
    """A page, a stream or a trial."""
    return status, headers(status, **changed)[1] | {"method": "GET", "path": path, "body": None}


FORGED = {  # name: the status, and what differs from an honest change
    "no cookie": headers(403, Cookie=None),
    "another cookie": headers(403, Cookie="popjax-{port}=guessed"),
    "the token as a cookie": headers(403, Cookie="popjax-{port}={token}"),
    "the token in the address": (403, {"path": "/change?token={token}", "headers": {"Cookie": None}}),
    "no host": headers(400, Host=None),
    "two hosts": headers(400, Host=["127.0.0.1:{port}", "evil.example"]),
    "another host": headers(403, Host="evil.example:{port}"),
    "a host that begins like ours": headers(403, Host="127.0.0.1.evil.example"),
    "another origin": headers(403, Origin="http://evil.example"),
    "another port's origin": headers(403, Origin="http://127.0.0.1:1"),
    "a rebound name": headers(403, Host="evil.example", Origin="http://evil.example"),
    "the origin of a file": headers(403, Origin="null"),
    "two origins": headers(403, Origin=["http://127.0.0.1:{port}"] * 2),
    "no origin": headers(403, Origin=None),
    "without our header": headers(403, X_Popjax=None),
    "a form": headers(415, Content_Type="application/x-www-form-urlencoded"),
    "plain text": headers(415, Content_Type="text/plain"),
    "another site by fetch": headers(403, Sec_Fetch_Site="cross-site"),
    "a neighbour by fetch": headers(403, Sec_Fetch_Site="same-site"),
    "an endless length": headers(413, Content_Length="9" * 9),
    "no length": headers(411, Transfer_Encoding="chunked"),
    "an oversized header": headers(431, X_Long="a" * 30_000),
    "GET for a change": got(405, "/change"),
    "PUT": (405, {"method": "PUT"}),
    "OPTIONS": (405, {"method": "OPTIONS", "body": None}),
    "an oversized body": body(413, b" " * 20_000 + SET),
    "no JSON": body(400, b"verb=set"),
    "half of it": body(400, SET[:-5]),
    "deep JSON": body(400, b"[" * 3000 + b"]" * 3000),
    "a list": body(400, b"[1]"),
    "no text": body(400, b"\xff\xfe"),
    "an unknown verb": body(400, change(verb="delete")),
    "a verb of others": body(400, change(verb="lift")),
    "no verb": body(400, b'{"trial": 0}'),
    "no epoch": body(400, b'{"verb": "back", "epochs": 0}'),
    "an unknown key": body(400, b'{"verb": "stop", "trial": 0, "code": "1"}'),
    "a text for a trial": body(400, change(trial="0")),
    "a truth for a trial": body(400, change(trial=True)),
    "a negative trial": body(400, change(trial=-1)),
    "a huge trial": body(400, change(trial=99999999999)),
    "not a number": body(400, SET.replace(b"0.5", b"NaN")),
    "infinity": body(400, SET.replace(b"0.5", b"1e999")),
    "a text for a value": body(400, change(values={"rate": "0.5"})),
    "a hostile name": body(400, change(values={"<img src=x onerror=alert(1)>": 1})),
    "many names": body(400, change(values={f"a{n}": 1 for n in range(60)})),
    "the page without a token": got(403, "/", Cookie=None, Origin=None, X_Popjax=None),
    "the page with another token": got(403, "/?token=guessed", Cookie=None, Origin=None, X_Popjax=None),
    "the stream without a cookie": got(403, "/events", Cookie=None),
    "the stream with the token": got(403, "/events?token={token}", Cookie=None),
    "the script without a cookie": got(403, "/live.js", Cookie=None),
    "a trial by another site": got(403, "/trial/0", Origin="http://evil.example"),
    "a file outside": got(404, "/../../etc/passwd"),
    "a file outside, spelled": got(404, "/%2e%2e%2fboard.py"),
    "a trial that there is not": got(404, "/trial/4"),
    "a trial of 5,000 digits": got(404, "/trial/" + 5000 * "9"),
    "a trial that is no number": got(404, "/trial/one"),
    "a metric that there is not": got(404, "/events?metric=<b>"),
}
UNREAD = (400, 411, 413, 431)  # refused before the body was read, so that the answer may be lost


@pytest.mark.parametrize("name", soaked(FORGED, 12))
def test_a_forged_request_is_refused_and_changes_nothing(served, name):
    """And the next honest one is heard."""
    lived, page = served
    before = lived.hparams["rate"][0]
    status, differs = FORGED[name]
    method, path, changed, text = (HONEST | differs).values()
    fill = lambda word: word.replace("{port}", str(page.port)).replace("{token}", page.token)
    sent = page.honest() | changed
    sent = {
        key: [*map(fill, value)] if isinstance(value, list) else fill(value) for key, value in sent.items() if value
    }
    found, answered, answer = page.raw(method, fill(path), sent, text)
    assert found == status or (found == CUT and status in UNREAD), answer
    assert lived.hparams["rate"][0] == before
    assert "set-cookie" not in answered
    assert page.token.encode() not in answer
    assert len(answer) < 500
    rate = 0.3 if before != 0.3 else 0.2
    assert page.ask(verb="set", trial=0, values={"rate": rate}) == (200, {})
    assert lived.hparams["rate"][0] == rate


def test_the_cookie_and_the_policy_are_strict(served):
    _, page = served
    status, headers, _ = page.raw("GET", f"/?token={page.token}", {"Host": f"127.0.0.1:{page.port}"})
    assert status == 200
    assert "HttpOnly" in headers["set-cookie"]
    assert "SameSite=strict" in headers["set-cookie"]
    assert page.token not in headers["set-cookie"]
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; ")
    for name, value in (("x-frame-options", "DENY"), ("referrer-policy", "no-referrer"), ("cache-control", "no-store")):
        assert headers[name] == value
    assert b"<script>" not in page.html


def test_a_page_that_fails_says_so_and_holds_nothing_up(capsys):
    """The search goes on, also if it was to pause, and what is asked for there is refused."""

    class Failing(pj.live.Live):
        def epoch(self, result):
            if result.epoch == 3:
                self.person.ask(Change("pause"))
                self.waiting = self.person.ask(Change("stop", 0))
                raise RuntimeError("no room")

    page, stop = Failing(), threading.Event()
    guard = threading.Timer(30, stop.set)  # else a search that waits would wait for ever
    guard.start()
    results = stopping.search(TASK, SPACE, trials=4, epochs=EPOCHS, folds=2, live=page, stop=stop)
    guard.cancel()
    assert results.trials["status"].to_pylist() == ["ok"] * 4
    said = capsys.readouterr().err
    assert re.search(r"popjax: the callback Failing: epoch raised RuntimeError: no room \(.*\); the run goes on", said)
    assert page.board.over == "no more updates; the run's terminal says why"
    with pytest.raises(ValueError, match="its page failed"):
        page.waiting.result(timeout=0)


def test_what_is_asked_for_in_vain_is_said(start):
    """In the answer where it comes at once, in the log where it is found out later; 202 while it waits."""
    run, page = start(*SWEEP)
    page.wait(0, lambda told: told["epoch"] > 1)
    for change, says in [
        ({"verb": "set", "trial": 0, "values": {"hidden": 60}}, "hidden fixes a shape or code"),
        ({"verb": "set", "trial": 99, "values": {"learning_rate": 0.1}}, "there is no trial 99; choose 0..23"),
        ({"verb": "clone", "trial": 1, "source": 1}, "choose another trial"),
        ({"verb": "lift", "trial": 1}, "trial 1 is not stopped"),
    ]:
        status, answer = page.ask(**change)
        assert status == 200
        assert says in answer["refused"]
    assert page.ask(verb="pause") == (200, {})
    assert page.ask(verb="stop", trial=1) == (202, {"waits": True})
    assert page.ask(verb="lift", trial=2) == (202, {"waits": True})
    assert page.ask(verb="pause") == (200, {})
    assert page.ask(verb="resume") == (200, {})
    page.wait(1, lambda told: told["status"] == "s")
    assert page.ask(verb="end")[0] == 200
    assert run.end() == 0
    assert "go on: " in "".join(run.said)


HOSTILE = "<img src=x onerror=alert(1)>"
OF_TEXTS = f"""
import jax.numpy as jnp
import popjax as pj
def epoch(state, hparams, data):
    state = state * (hparams["rate"] if hparams["kind"] == {HOSTILE!r} else 0.5)
    return state, {{"loss": state}}
task = pj.Task(lambda key, hparams, data: jnp.ones(()), epoch, ())
"""


def test_a_hostile_name_is_shown_and_not_obeyed(start, tab, tmp_path):
    """A directory, and values of a choice."""
    (tmp_path / "mine.py").write_text(OF_TEXTS)
    (tmp_path / "space.toml").write_text(f"rate = 'uniform(0.1, 0.9)'\nkind = 'choice(\"{HOSTILE}\", \"<b>1</b>\")'\n")
    sweep = ("sweep", "--task", "mine:task", "--trials", 8, "--epochs", LAST, "--space", "space.toml", "--quiet")
    run, page = start(*sweep, "--out", HOSTILE)
    there = tab(run.address)
    assert there.inner_text("h1") == f"{HOSTILE}: 8 trials"
    assert there.title() == f"{HOSTILE}: 8 trials"
    there.fill("#number", "0")
    there.press("#number", "Enter")
    kind = there.locator("#hparams tr", has=there.get_by_text("kind", exact=True))
    assert {HOSTILE, "<b>1</b>"} & {*re.split(r"\s*[\t\n]\s*", kind.inner_text())}
    assert there.query_selector("#hparams img, #hparams b") is None
    assert page.ask(verb="end")[0] == 200
    assert run.end() in (0, 1), "1 if no trial has finished an epoch by then"


def session(**settings):
    """Four models of one shape."""
    rates = {"rate": [0.1, 0.2, 0.3, 0.4], "shift": 0.5, "size": 2}
    return pj.Session(TASK, rates, space=SPACE, seed=1, **settings)


def test_a_session_is_steered_at_once_and_as_by_hand():
    """What the page does between and within trainings is to the last bit what the methods do."""
    lived, by_hand = session(), session()
    page = Page(lived.live())
    assert lived.live() == page.address
    lived.train(2)
    for change in [
        {"verb": "set", "trial": 1, "values": {"rate": 0.05}},
        {"verb": "clone", "trial": 2, "source": 0},
        {"verb": "stop", "trial": 3},
    ]:
        assert page.ask(**change) == (200, {})
    assert page.trial(3)["status"] == "s"
    lived.train(3)
    assert page.ask(verb="back", epochs=2) == (200, {})
    assert page.trial(0)["epoch"] == lived.epoch == 3
    lived.train(1)
    by_hand.train(2)
    by_hand.set(1, rate=0.05)
    by_hand.clone(0, 2)
    by_hand.stop(3)
    by_hand.train(3)
    by_hand.back(2)
    by_hand.train(1)
    for name, curves in by_hand.curves.items():
        assert lived.curves[name].tobytes() == curves.tobytes()
    status, answer = page.ask(verb="back", epochs=40)
    assert (status, answer["refused"].startswith("back 40: only")) == (200, True)
    assert page.ask(verb="clone", trial=9, source=0) == (200, {"refused": "there is no trial 9; choose 0..3"})
    assert page.trial(1, "loss")["curve"] == [float(f"{v:.5g}") for v in lived.curves["loss"][1].tolist()]
    lived.page.close()


@pytest.mark.parametrize(
    ("name", "values", "low", "high"),
    [
        ("learning_rate", [0.1, 0.01, 0.03], 1e-4, 1.0),
        ("learning_rate", [5.0, 0.01, 0.01], 1e-3, 50.0),
        ("decay", [0.3, 0.1, 0.1], 0.01, 3.0),
        ("shift", [0.5, -0.5, 0.0], -1.0, 1.0),
        ("copies", [4, 2, 8], 2, 8),
    ],
)
def test_a_slider_of_given_values_reaches_beyond_them_in_order(name, values, low, high):
    """Of several models whose values were given: what is searched by default, or some air; sizes as they are."""
    task = pj.Task(lambda key, hparams, data: 0.0, lambda x, hparams, data: (x, {"loss": 1.0 * hparams[name]}), ())
    lived = pj.Session(task, {name: values})
    (row,) = Page(lived.live()).trial(0)["hparams"]
    lived.page.close()
    steps = [step for step, _ in row["steps"]]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == pytest.approx((low, high))


def test_a_session_that_trains_is_paused_steered_and_ended():
    """While `train` runs in another thread; it returns after the epoch in which it is told to."""
    lived = session()
    page = Page(lived.live())
    thread = threading.Thread(target=lived.train, args=(100_000,))
    thread.start()
    page.wait(0, lambda told: told["epoch"] > 3)
    assert page.ask(verb="pause") == (200, {})
    assert page.ask(verb="set", trial=0, values={"rate": 0.01}) == (200, {})
    here = page.trial(0)["epoch"]
    assert page.ask(verb="back", epochs=1) == (200, {})
    assert page.trial(0)["epoch"] == here - 1
    assert page.ask(verb="end") == (200, {})
    thread.join(60)
    assert not thread.is_alive()
    assert lived.page.board.figures["ending"] is False, "its button can be pressed again"
    assert page.ask(verb="end") == (200, {})
    assert lived.page.board.figures["ending"] is False, "nothing trains"
    assert lived.hparams["rate"][0] == 0.01
    lived.page.person.ask(Change("resume"))
    before = lived.epoch
    lived.train(2)
    assert lived.epoch == before + 2
    lived.page.close()


def test_a_search_serves_until_it_is_over():
    """Its page is the report then, and its port is free."""
    addresses = []

    class Asked(pj.Callback):
        def epoch(self, result):
            addresses.append(page.serving.address)

    page = pj.live.Live()
    pj.search(TASK, SPACE, trials=4, epochs=2, live=page, callbacks=[Asked()])
    assert page.board.over == "the run is over"
    assert "<h1>" in page.board.report
    host, port = addresses[0].split("/")[2].split(":")
    with pytest.raises(ConnectionRefusedError), socket.create_connection((host, int(port)), 5):
        pass


def test_a_session_that_is_gone_serves_no_more():
    lived = session()
    page = Page(lived.live())
    del lived
    with pytest.raises(OSError):
        page.wait(0, lambda told: False)


def test_babysitting_by_the_page_is_in_the_log_and_replays(start, command, tmp_path):
    """Set, go, back, save and the end, asked for on the page, are what is typed on a keyboard."""
    run, page = start("babysit", "--dataset", "wine", "--out", "sat", "--set", "hidden=20")
    asked = [
        {"verb": "go", "epochs": 5},
        {"verb": "set", "trial": 0, "values": {"learning_rate": 0.125}},
        {"verb": "back", "epochs": 2},
        {"verb": "go", "epochs": 4},
    ]
    assert page.ask(**asked[0])[0] == 200
    page.wait(0, lambda told: told["epoch"] == 5)
    assert page.ask(**asked[1]) == (200, {})
    assert page.ask(**asked[2]) == (200, {})
    assert page.trial(0)["epoch"] == 3
    status, answer = page.ask(verb="back", epochs=90)
    assert (status, "only 3 of 3 epochs" in answer["refused"]) == (200, True), answer
    assert page.ask(**asked[3])[0] == 200
    page.wait(0, lambda told: told["epoch"] == 7)
    assert page.ask(verb="save", trial=0) == (200, {})
    assert page.ask(verb="end") == (200, {})
    assert run.end() == 0
    lines = [json.loads(line) for line in (tmp_path / "sat" / "decisions.jsonl").read_text().splitlines()]
    said = [next((name for name in ("add", "until", "set", "back", "save") if name in line), "stand") for line in lines]
    assert said == ["add", *["until"] * 5, "set", "back", *["until"] * 4, "save"]
    assert lines[6]["notes"] == {"by": "user", "changes": [asked[1]]}
    assert pj.load_best(tmp_path / "sat").hparams["learning_rate"] == 0.125
    process = command("babysit", "--replay", "sat", "--out", "again")
    assert "the same curve as in sat, bit for bit, over 7 epochs" in process.stdout


def test_one_model_in_the_browser(start, tab, accessible):
    """Train, set and go back by the buttons; its curve grows and shrinks; axe finds nothing serious."""
    run, _ = start("babysit", "--dataset", "wine", "--out", "sat", "--set", "hidden=20")
    there = tab(run.address)
    accessible(there)
    assert there.is_hidden("#cloning")
    there.fill("#epochs", "6")
    there.click("#go")
    until(there, "curves[0].length === 6")
    set_to(there, "learning_rate", 0.25)
    until(there, "document.querySelectorAll('#log li').length === 1")
    there.fill("#epochs", "4")
    there.click("#back")
    until(there, "curves[0].length === 2")
    assert decisions(there)[1].endswith("learning_rate = 0.25")
    assert decisions(there)[0].endswith("back to epoch 2")
    assert there.evaluate("details.hparams.find((row) => row.name === 'learning_rate').value") == 0.25
    there.click("#end")
    assert run.end() == 0
    there.wait_for_selector("#link.cut")


WRONG = {
    "a taken port": (("sweep", "--live", "{port}"), ["cannot serve at 127.0.0.1:", "choose another port or host"]),
    "no port": (("sweep", "--live", "99999"), ["there is no port 99999; choose 0..65535"]),
    "another machine's address": (("sweep", "--live", "--live-host", "203.0.113.9"), ["cannot serve at 203.0.113.9:"]),
    "a host alone": (("babysit", "--live-host", "0.0.0.0"), ["--live-host 0.0.0.0 needs --live"]),
    "a replay": (("babysit", "--replay", "sat", "--live"), ["--replay and --live exclude each other"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_page_that_cannot_be_is_refused_before_anything_is_trained(name, refused_in_one_line, tmp_path):
    (command, *arguments), says = WRONG[name]
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        given = (argument.format(port=taken.getsockname()[1]) for argument in arguments)
        refused_in_one_line(command, "--dataset", "wine", *given, says=says)
    assert not (tmp_path / "runs").exists()


def test_others_are_let_in_by_this_machines_names_alone(capsys):
    """With --live-host; and that it is so is said."""
    lived = session()
    page = Page(lived.live(host="0.0.0.0"))
    assert f"other machines may open it, unencrypted, at {socket.gethostname()}" in capsys.readouterr().err
    for host, status in ((socket.gethostname(), 200), ("evil.example", 403), ("127.0.0.2", 403)):
        found, _, _ = page.raw("GET", "/live.js", {"Host": f"{host}:{page.port}", "Cookie": page.cookie})
        assert found == status
    with closing(http.client.HTTPConnection("127.0.0.2", page.port, timeout=10)) as there:
        there.request("GET", "/live.js", headers={"Host": f"127.0.0.2:{page.port}", "Cookie": page.cookie})
        assert there.getresponse().status == 200
    lived.page.close()


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_without_the_extra_one_line_says_what_to_install(python, tmp_path, package):
    code = f"""
import runpy, sys
sys.modules[{package!r}] = None
sys.argv = ["sweep", "--live", "--dataset", "wine"]
runpy.run_module("popjax.sweep", None, "__main__", True)
"""
    process = python(code)
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert package in line
    assert "pip install" in line
    assert not (tmp_path / "runs").exists()


def test_the_line_for_ssh_is_said_where_there_is_no_display(monkeypatch, capsys):
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    here = session()
    here.live()
    here.page.close()
    assert "from another machine" not in capsys.readouterr().err
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.7 22")
    monkeypatch.setenv("USER", "ada")
    lived = session()
    port = Page(lived.live()).port
    assert f"from another machine: ssh -L {port}:127.0.0.1:{port} ada@192.0.2.7, then open" in capsys.readouterr().err
    lived.page.close()


def test_a_change_on_the_page_is_computed_as_the_session_is(monkeypatch):
    """In float64, where an earlier state is trained again: settings of JAX are a thread's own."""
    monkeypatch.setattr("popjax.study.timeline.MEMORY", 0)
    with jax.enable_x64(True):
        task, hparams = pj.supervised("wine"), {"learning_rate": 0.1, "hidden": 8}
        lived, by_hand = pj.Session(task, hparams), pj.Session(task, hparams)
        page = Page(lived.live())
        lived.train(6)
        by_hand.train(6)
        assert page.ask(verb="back", epochs=4) == (200, {})
        by_hand.back(4)
        lived.train(4)
        by_hand.train(4)
        assert by_hand.curves["val_loss"].dtype == np.float64
        assert lived.curves["val_loss"].tobytes() == by_hand.curves["val_loss"].tobytes()
        lived.page.close()


def test_a_page_whose_search_was_refused_is_not_taken_again(tmp_path):
    task, space = pj.objective(lambda key, hparams: {"loss": hparams["x"]}), {"x": pj.uniform(0, 1)}
    pj.search(task, space, trials=4, out=tmp_path / "run")
    live = pj.live.Live()
    with pytest.raises(ValueError, match="holds a run"):
        pj.search(task, space, trials=4, out=tmp_path / "run", live=live)
    with pytest.raises(ValueError, match="this live page has shown a search already; make another"):
        pj.search(task, space, trials=4, live=live)
