# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "numpy"]
# ///
"""Writes pytorch_curves.json: curves of torch.optim's optimizers, the law that test_pytorch.py holds popjax to.

One MLP 6-12-9-3 in float64, on the CPU; its rows, their order and its first weights are
written beside the curves. Run it by `uv run tests/make_pytorch_curves.py`; a run has
popjax's name of the optimizer and popjax's names of the hyperparameters.
"""

import itertools
import json
from pathlib import Path

import numpy as np

WIDTHS = (6, 12, 9, 3)
EPOCHS, BATCH, TRAIN, VAL = 10, 16, 96, 24

# Name of the run: popjax's optimizer and hyperparameters, torch's class and its arguments.
RUNS = {
    "sgd": ("sgd", {"learning_rate": 0.05, "momentum": 0.9}, "SGD", {"lr": 0.05, "momentum": 0.9}),
    "nesterov_decay": (
        "nesterov",
        {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.01},
        "SGD",
        {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    ),
    "adam": ("adam", {"learning_rate": 0.005}, "Adam", {"lr": 0.005}),
    "adam_decay": (
        "adam",
        {"learning_rate": 0.005, "weight_decay": 0.01},
        "Adam",
        {"lr": 0.005, "weight_decay": 0.01},
    ),
    "adamw": (
        "adamw",
        {"learning_rate": 0.005, "weight_decay": 0.05},
        "AdamW",
        {"lr": 0.005, "weight_decay": 0.05},
    ),
    "rmsprop": ("rmsprop", {"learning_rate": 0.005}, "RMSprop", {"lr": 0.005}),
}


def make_data():
    """Rows of three noisy classes, the order of the training rows per epoch, and [W1, b1, ...] with W of (in, out)."""
    rng = np.random.default_rng(20)
    x = rng.normal(size=(TRAIN + VAL, WIDTHS[0]))
    scores = np.tanh(x) @ rng.normal(size=(WIDTHS[0], WIDTHS[-1])) + rng.normal(size=(TRAIN + VAL, WIDTHS[-1]))
    y = scores.argmax(axis=1)
    weights = []
    for inputs, outputs in itertools.pairwise(WIDTHS):
        weights += [rng.normal(size=(inputs, outputs)) / np.sqrt(inputs), rng.normal(size=outputs) / 10]
    return {
        "batch_size": BATCH,
        "x": x[:TRAIN],
        "y": y[:TRAIN],
        "x_val": x[TRAIN:],
        "y_val": y[TRAIN:],
        "order": np.stack([rng.permutation(TRAIN) for _ in range(EPOCHS)]),
        "weights": weights,
    }


def train(data, kind, arguments):
    """Both curves of one run."""
    import torch  # here, since pytest imports this file to look for doctests
    from torch import nn

    x, y, x_val, y_val, order = (torch.tensor(data[name]) for name in ("x", "y", "x_val", "y_val", "order"))
    layers = [nn.Linear(*widths, dtype=torch.float64) for widths in itertools.pairwise(WIDTHS)]
    with torch.no_grad():
        for i, layer in enumerate(layers):
            layer.weight.copy_(torch.tensor(data["weights"][2 * i].T))
            layer.bias.copy_(torch.tensor(data["weights"][2 * i + 1]))
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    optimizer = getattr(torch.optim, kind)(model.parameters(), **arguments)
    loss_of = nn.CrossEntropyLoss()

    curves = {"train_loss": [], "val_loss": []}
    for rows in order:
        losses = []
        for batch in rows.split(data["batch_size"]):
            optimizer.zero_grad()
            loss = loss_of(model(x[batch]), y[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        curves["train_loss"].append(float(np.mean(losses)))
        with torch.no_grad():
            curves["val_loss"].append(loss_of(model(x_val), y_val).item())
    return curves


def main():
    import torch

    torch.set_num_threads(1)
    data = make_data()
    runs = {
        name: {"optimizer": optimizer, "hparams": hparams, **train(data, kind, arguments)}
        for name, (optimizer, hparams, kind, arguments) in RUNS.items()
    }
    content = {"torch": torch.__version__, **data, "runs": runs}
    text = json.dumps(content, separators=(",", ":"), default=lambda array: array.tolist())
    Path(__file__).with_name("pytorch_curves.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
