"""TabPack's own code on one split of one table, in a process of its own: prints its scores and seconds as JSON.

The directory is a clone of the repository of Gorishniy et al. 2026 ("TabPack", arXiv 2607.05380), which is not a
package; it needs delu, loguru, optuna, rtdl_num_embeddings, rtdl_revisiting_models, tabm, tensorboard, torch and tqdm.
The settings are those of its experiments on a laptop, in float32, with the log loss as the score of classes and a
fifth of the training rows as validation rows.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fit import processor_seconds
from methods import THREADS, texts_of
from sklearn.model_selection import train_test_split
from tables import TABLES, cleaned, parted

MODELS, BATCH = 64, 256
SPACE: dict[str, Any] = {
    "model": {
        "num_embeddings": {
            "d_embedding": ["_tune_", "int", 8, 32, 4],
            "init_scale": ["_tune_", "loguniform", 0.01, 10.0],
        },
        "n_blocks": ["_tune_", "int", 1, 3],
        "dropout": ["_tune_", "?uniform", 0.0, 0.0, 0.5],
    },
    "optimizer": {
        "lr": ["_tune_", "loguniform", 0.0001, 0.005],
        "weight_decay": ["_tune_", "loguniform", 0.001, 1.0],
        "muon_lr": ["_tune_", "loguniform", 0.001, 0.1],
    },
}
ENSEMBLE = {
    "type": "greedy",
    "update_type": "latest",
    "include_current_ensemble_in_pool": True,
    "patience": 32,
    "options": {"max_ensemble_size": 32},
}


def write_dataset(path: Path, name: str, split: int) -> None:
    """The rows, targets and parts of a split as the files that TabPack reads."""
    given, tested = parted(name, split)
    classes, y = TABLES[name].classes, given.y
    rows = pd.concat([cleaned(given.x, given.x), cleaned(tested.x, given.x)], ignore_index=True)
    texts = texts_of(rows)
    numbers = rows.drop(columns=texts)
    targets = np.concatenate([y, tested.y])
    number = np.arange(len(y))
    train, validation = train_test_split(number, test_size=0.2, random_state=split, stratify=y if classes else None)
    parts = {"train": train, "val": validation, "test": np.arange(len(y), len(targets))}
    (path / "splits" / "default").mkdir(parents=True)
    for part, places in parts.items():
        np.save(path / "splits" / "default" / f"{part}.npy", np.sort(places).astype(np.int32))
    if numbers.shape[1]:
        np.save(path / "x_num.npy", numbers.to_numpy(np.float32))
    if texts:
        np.save(path / "x_cat.npy", rows[texts].astype(str).to_numpy(np.str_))
    levels, codes = np.unique(targets, return_inverse=True)
    np.save(path / "y.npy", codes.astype(np.int64) if classes else targets.astype(np.float32))
    kind = "regression" if not classes else "binclass" if len(levels) == 2 else "multiclass"
    task = {"type": kind, "score": "cross-entropy" if classes else "rmse"}
    (path / "info.json").write_text(json.dumps({"task": task}))


def settings(path: Path, seed: int) -> dict[str, Any]:
    """The configuration of a run on the dataset at `path`."""
    texts = {"cat_policy": "ordinal"} if (path / "x_cat.npy").exists() else {}
    return {
        "seed": seed,
        "data": {
            "path": str(path),
            "extract_bin_from_num": True,
            "num_policy": "noisy-quantile",
            "bin_policy": "convert-to-cat",
            "cache": False,
            **texts,
        },
        "n_models": MODELS,
        "model": {"num_embeddings": {"type": "CosineEmbeddingsPack"}, "activation": "ReLU", "d_block": 384},
        "optimizer": {"type": "MuonAdamWPack", "shared_step": True},
        "batch_size": BATCH,
        "n_epochs": -1,
        "patience": 16,
        "online_ensembles": {"greedy": ENSEMBLE},
        "sampler": {"type": "RandomSampler", "space": SPACE},
        "save_final_predictions": False,
    }


def main() -> None:
    """Fit, take the scores of the test rows from its report, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="a clone of TabPack's repository")
    parser.add_argument("table", choices=list(TABLES))
    parser.add_argument("split", type=int)
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.directory / "src"))
    os.chdir(arguments.directory)  # it looks for its project there
    import torch

    torch.set_num_threads(THREADS)
    import lib.experiment
    from project import tabpack

    folder = Path(tempfile.mkdtemp())
    write_dataset(folder / "data", arguments.table, arguments.split)
    run = lib.experiment.create(folder / "run", config=settings(folder / "data", arguments.split))
    wall, used = time.perf_counter(), processor_seconds()
    with contextlib.redirect_stdout(sys.stderr):
        report = lib.experiment.run(tabpack.main, None, run)
    seconds = {"wall": time.perf_counter() - wall, "cpu": processor_seconds() - used}
    tested = report["online_ensembles"]["greedy"]["report"]["metrics"]["test"]
    names = ("accuracy", "cross-entropy") if TABLES[arguments.table].classes else ("r2", "rmse")
    found = dict(zip(("score", "loss"), (tested[name] for name in names), strict=True)) | seconds
    print(json.dumps({name: round(float(value), 6) for name, value in found.items()}))


if __name__ == "__main__":
    main()
