"""What the live page costs the search, and how smooth it is.

`uv run python benchmarks/live.py`: the default search (512 trials of 20 epochs on digits) in processes of their own, in
turn: left alone; with an epoch between two decisions; the same with the page and a reader of all that it sends;
the same with a Chromium tab, which shares the cores. Wall and CPU seconds of the search, and of these what the server's
thread takes. Then a board of 512 curves that grow by an epoch ten times a second, to 100 epochs, in a
tab: frames a second, and what the server sends.
"""

import argparse
import contextlib
import http.client
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from popjax.core.machine import device
from popjax.live.board import About, Board
from popjax.live.serving import Serving

RESULTS = Path(__file__).parent / "results" / "live.json"
SEARCH = """
import sys, tempfile, time
import popjax as pj
import uvicorn
served, run = [0.0], uvicorn.Server.run
def timed(server, sockets=None):
    run(server, sockets=sockets)
    served.append(time.thread_time())
uvicorn.Server.run = timed
task, how = pj.supervised("digits"), sys.argv[1]
settings = {"alone": {}, "every=1": {"every": 1}}.get(how, {"live": True})
with tempfile.TemporaryDirectory() as place:
    begin, before = time.perf_counter(), time.process_time()
    given = {"trials": int(sys.argv[2]), "epochs": int(sys.argv[3]), "out": place + "/digits"}
    pj.search(task, **given, **settings, callbacks=[pj.Callback()])
    own = time.thread_time()
    print(time.perf_counter() - begin, time.process_time() - before, own, served[-1])
"""
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
FRAMES = """(seconds) => new Promise((done) => {
  const begin = performance.now(), times = [];
  const frame = (now) => {
    times.push(now);
    if (performance.now() - begin < 1000 * seconds) requestAnimationFrame(frame);
    else done(times);
  };
  requestAnimationFrame(frame);
})"""


@contextlib.contextmanager
def tab(address: str) -> Iterator[Any]:
    """A tab of headless Chromium at an address."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(address)
        yield page
        browser.close()


def read(address: str) -> None:
    """All that a page sends, as one tab would ask for it."""
    parts = urlsplit(address)
    here = http.client.HTTPConnection(str(parts.hostname), parts.port or 80)
    here.request("GET", f"/?{parts.query}")
    answer = here.getresponse()
    answer.read()
    cookie = str(answer.getheader("set-cookie")).partition(";")[0]
    here.request("GET", "/events", headers={"Cookie": cookie})
    answer = here.getresponse()
    while line := answer.readline():
        if line.startswith(b'data: {"over"'):
            break
    here.close()


def searched(how: str, trials: int, epochs: int) -> tuple[float, float, float, float]:
    """Wall and CPU seconds of one search, and CPU seconds of its main thread and its server; with a visitor."""
    words = [sys.executable, "-c", SEARCH, how, str(trials), str(epochs)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        if how in ("reader", "tab"):
            address = next(found[0] for line in process.stderr if (found := re.search(r"http://\S+", line)))
        if how == "reader":
            threading.Thread(target=read, args=(address,), daemon=True).start()
        if how == "tab":
            with tab(address) as page:
                while process.poll() is None:
                    page.wait_for_timeout(100)
        wall, cpu, own, served = map(float, process.stdout.read().split()[-4:])
    return wall, cpu, own, served


def smooth(trials: int, epochs: int, seconds: float) -> dict[str, float]:
    """Frames a second while many curves grow, and the largest message and how many come a second."""
    rng = np.random.default_rng(0)
    heights = 1 - np.exp(-np.outer(rng.uniform(0.01, 0.3, trials), np.arange(1, epochs + 1)))
    curves = heights + 0.02 * rng.normal(size=heights.shape)
    board = Board()
    board.begin(About("many", ("accuracy",), "max", {}, epochs, ()), lambda change: None)  # type: ignore[arg-type]
    board.show({"accuracy": np.full((trials, epochs), np.nan)}, np.zeros(trials, int), "t" * trials, {}, ())
    board.figures = {"counts": {"train": trials}, "best": {"trial": 0, "value": 0.5}}
    serving = Serving(board)
    serving.start()

    def grow() -> None:
        for epoch in range(epochs):
            time.sleep(0.9 * seconds / epochs)
            board.add(np.arange(trials), epoch, {"accuracy": curves[:, epoch]})

    with tab(serving.address) as page:
        page.evaluate(
            "() => { window.sizes = []; stream.addEventListener('message', (e) => sizes.push(e.data.length)); }"
        )
        growing = threading.Thread(target=grow)
        growing.start()
        times = page.evaluate(FRAMES, seconds)
        growing.join()
        sizes = page.evaluate("sizes")
        drawn = page.evaluate("curves.reduce((sum, curve) => sum + curve.length, 0)")
        still = page.evaluate(FRAMES.replace("times.push(now);", "times.push(now); stale = true;"), 3.0)
    board.finish()
    serving.close()
    gaps = np.diff(times)
    return {
        "frames_a_second": round(1000 * len(gaps) / gaps.sum(), 1),
        "longest_gap_ms": round(float(gaps.max()), 1),
        "frames_a_second_if_each_redraws_all": round(1000 * (len(still) - 1) / (still[-1] - still[0]), 1),
        "values_drawn": drawn,
        "messages_a_second": round(len(sizes) / seconds, 2),
        "largest_message_bytes": max(sizes),
    }


def own(page: list[tuple[float, ...]], alone: list[tuple[float, ...]]) -> float:
    """What the page itself takes, as a share of the search without it: all that runs in the main thread and the server.

    The rest, training, is the same work in both; its CPU seconds vary by more than the page takes.
    """
    median = lambda runs, at: statistics.median(one[at] for one in runs)
    return (median(page, 2) - median(alone, 2) + median(page, 3)) / median(alone, 1)


def picture(path: Path) -> None:
    """The page of the default search while it trains, one trial picked and changed, as a picture."""
    words = [sys.executable, "-c", SEARCH, "tab", "512", "60"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = next(found[0] for line in process.stderr if (found := re.search(r"http://\S+", line)))
        with tab(address) as page:
            while page.evaluate("Math.max(0, ...curves.map((curve) => curve.length))") < 20:
                page.wait_for_timeout(200)
            page.evaluate("pick(figures.best.trial)")
            page.wait_for_selector("#picked:not([hidden])")
            page.evaluate("ask({ verb: 'set', trial: picked, values: { learning_rate: 0.001 } })")
            page.evaluate("ask({ verb: 'stop', trial: (picked + 1) % 512 })")
            page.wait_for_timeout(4000)
            page.screenshot(path=path, clip={"x": 0, "y": 0, "width": 1280, "height": 1420}, full_page=True)
            page.evaluate("ask({ verb: 'end' })")
            page.wait_for_timeout(1000)


def main() -> None:
    """Print one JSON object, and write it beside the others unless --quick."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few trials, once")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--picture", type=Path, help="a file for a picture of the page, and nothing else")
    options = parser.parse_args()
    if CHROMIUM is None:
        sys.exit("there is no chromium: apt-get install chromium")
    if options.picture is not None:
        picture(options.picture)
        return
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    size = (16, 4) if options.quick else (512, 20)
    found: dict[str, list[tuple[float, float, float, float]]] = {"alone": [], "every=1": [], "reader": [], "tab": []}
    searched("alone", *size)  # fills the compilation cache
    for _ in range(1 if options.quick else options.turns):
        for how, each in found.items():
            each.append(searched(how, *size))
            print(how, [round(one, 2) for one in each[-1]], file=sys.stderr, flush=True)
    ratio = lambda one, other, at: round(
        statistics.median(a[at] / b[at] for a, b in zip(found[one], found[other], strict=True)), 3
    )
    told = {
        "device": device(),
        "search": {how: [[round(one, 2) for one in pair] for pair in each] for how, each in found.items()},
        "wall_of_every=1_over_alone": ratio("every=1", "alone", 0),
        "cpu_of_reader_over_every=1": ratio("reader", "every=1", 1),
        "cpu_of_tab_over_every=1": ratio("tab", "every=1", 1),
        "wall_of_reader_over_every=1": ratio("reader", "every=1", 0),
        "wall_of_tab_over_every=1": ratio("tab", "every=1", 0),
        "page's_own_cpu_over_every=1": round(own(found["tab"], found["every=1"]), 4),
        "512_curves": smooth(512, 100, 3.0 if options.quick else 12.0),
    }
    if not options.quick:
        RESULTS.write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told))


if __name__ == "__main__":
    main()
