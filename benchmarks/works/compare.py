"""The sides in turn on each kind of work: seconds an update, and popjax's over the best of the others."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
POPJAX = "popjax"
JAX = ("JAX loop", "JAX scan")
SIDES = [POPJAX, *JAX, "JAX vmap", "PyTorch eager", "PyTorch compiled"]


def seconds(side: str, work: str, torch: list[str]) -> dict[str, float]:
    """The seconds of one side, in a process of its own: to compile, and CPU and wall seconds an update."""
    library, _, way = side.partition(" ")
    command = [sys.executable, str(HERE / "jax_sides.py"), side, work]
    if library == "PyTorch":
        command = [*torch, str(HERE / "torch_side.py"), way, work]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{side}, {work}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(work: str, pairs: int, torch: list[str]) -> dict[str, Any]:
    """Medians of each side over interleaved runs; popjax's ratios to the best of PyTorch's and of the loop's ways."""
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(pairs):
        for side in SIDES:
            found[side].append(seconds(side, work, torch))
            print(json.dumps({"work": work, "side": side} | found[side][-1]), file=sys.stderr, flush=True)
    row: dict[str, Any] = {"work": work, "pairs": pairs}
    for side in SIDES:
        row[side] = {name: float(np.median([one[name] for one in found[side]])) for name in ("compile", "cpu", "wall")}
    for name, ways in {"PyTorch": [side for side in SIDES if side.startswith("PyTorch")], "loop": JAX}.items():
        best = min(ways, key=lambda side: row[side]["cpu"])
        ratios = [ours["cpu"] / other["cpu"] for ours, other in zip(found[POPJAX], found[best], strict=True)]
        row[f"over {name}"] = {"best": best, "median": float(np.median(ratios)), "upper": float(max(ratios))}
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """The figures as Markdown: microseconds of CPU an update (seconds to compile); ratios (their upper ends)."""
    lines = [["", *SIDES, "over PyTorch", "over the loop"], ["---"] * (len(SIDES) + 3)]
    for row in rows:
        cells = [f"{row[side]['cpu'] * 1e6:.0f} ({row[side]['compile']:.1f} s)" for side in SIDES]
        ratios = [
            f"{row[f'over {name}']['median']:.2f} ({row[f'over {name}']['upper']:.2f})" for name in ("PyTorch", "loop")
        ]
        lines.append([row["work"], *cells, *ratios])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
