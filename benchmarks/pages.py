# /// script
# requires-python = ">=3.12"
# dependencies = ["popjax", "playwright>=1.50"]
# [tool.uv.sources]
# popjax = { path = ".." }
# ///
"""How long a report takes to answer: from an event to the frame that shows it, with many trials.

    uv run --script benchmarks/pages.py [--trials 2000] [--runs 20]

Wants Debian's chromium.
"""

import argparse
import json
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

import popjax as pj
from popjax.store.results import Results

SPACE = pj.Space(
    learning_rate=pj.log_uniform(1e-4, 1), momentum=pj.one_minus_log_uniform(0.9, 0.999), hidden=pj.integers(50, 100)
)
EVENTS = {  # name -> what is done, as a script of the page
    "a trial is picked": "(at) => document.querySelectorAll('#trials tr[data-trial]')[at % 10].click()",
    "another column sorts": "(at) => document.querySelectorAll('#trials th button')[2 + (at % 3)].click()",
    "a status is chosen": "(at) => { const box = document.getElementById('status'); box.selectedIndex = at % 2; "
    "box.dispatchEvent(new Event('change')); }",
    "a selection moves": "(at) => document.querySelector('#parallel .hit').dispatchEvent("
    "new KeyboardEvent('keydown', { key: at % 2 ? 'ArrowUp' : 'ArrowDown', bubbles: true }))",
    "the table scrolls": "(at) => { document.getElementById('trials').scrollTop = 300 * at; }",
}
TIMED = """async ([event, at]) => {
    const act = eval(event), begin = performance.now();
    act(at);
    await new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)));
    return performance.now() - begin;
}"""


def made(trials: int, epochs: int = 20) -> Results:
    """Results of so many trials, of which a fifth diverged."""
    points = SPACE.sample(trials, 0)
    rng = np.random.default_rng(0)
    best = 0.98 - 0.1 * abs(np.log10(points["learning_rate"]) + 2) + 0.01 * rng.normal(size=trials)
    curves = np.clip(best[:, None] * (1 - np.exp(-np.arange(1, epochs + 1) / 4)), 0, 1)
    curves[rng.random(trials) < 0.2, epochs // 2 :] = np.nan
    members = {"val_accuracy": curves[:, None, None], "val_loss": 1.1 - curves[:, None, None]}
    return Results(points, members, pj.best("val_accuracy"), {"space": SPACE.to_dict()}, {})


def measured(page: Any, event: str, runs: int) -> dict[str, float]:
    """Median and greatest milliseconds from an event to the frame after it."""
    took = []
    for at in range(runs):
        took.append(page.evaluate(TIMED, [event, at]))
        page.wait_for_timeout(400)  # figures that are lit later
    return {"median_ms": round(statistics.median(took), 1), "most_ms": round(max(took), 1)}


def main() -> None:
    """Print a JSON line an interaction."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        path = made(options.trials).report(Path(place) / "page.html")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_context(bypass_csp=True, viewport={"width": 1280, "height": 900}).new_page()
        page.goto(path.as_uri())
        page.wait_for_selector("body[data-drawn]", state="attached")
        print(json.dumps({"trials": options.trials, "bytes": path.stat().st_size}))
        for name, event in EVENTS.items():
            print(json.dumps({"interaction": name, **measured(page, event, options.runs)}), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
