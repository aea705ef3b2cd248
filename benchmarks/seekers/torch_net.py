"""One trial in PyTorch, at its best for a model this small, for Optuna and Ray.

The rows are tensors in memory, batches are taken by index without a DataLoader, the optimizer
is fused, and the process has one thread: a second one makes a model of this size slower.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch_network import network
from workload import EPOCHS, Workload, scores


class Trial:
    """A network in training; iterating trains an epoch and gives the validation loss."""

    def __init__(self, work: Workload, hparams: dict[str, Any], seed: int) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self.hparams, self.classes = hparams, work.classes
        x, y = (torch.from_numpy(array) for array in work.standardized())
        self.parts = {
            name: (x[rows], y[rows]) for name in ("train", "validation", "test") for rows in [getattr(work, name)]
        }
        self.network = network([x.shape[1], *[hparams["hidden"]] * hparams["depth"], work.classes or 1])

    def __iter__(self) -> Iterator[float]:
        x, y = self.parts["train"]
        rate, batch = self.hparams["learning_rate"], self.hparams["batch_size"]
        momentum = 1 - self.hparams["rest"]
        optimizer = torch.optim.SGD(self.network.parameters(), lr=rate, momentum=momentum, fused=True)
        for epoch in range(EPOCHS):
            optimizer.param_groups[0]["lr"] = rate / (1 + self.hparams["decay"] * epoch)
            for rows in torch.randperm(len(x)).split(batch):
                if len(rows) == batch:
                    optimizer.zero_grad()
                    self.loss(x[rows], y[rows]).backward()
                    optimizer.step()
            with torch.no_grad():
                yield float(self.loss(*self.parts["validation"]))

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Of some rows."""
        outputs = self.network(x)
        if self.classes:
            return nn.functional.cross_entropy(outputs, y)
        return nn.functional.mse_loss(outputs[:, 0], y)

    def test(self) -> dict[str, float]:
        """The scores on the test rows."""
        x, y = self.parts["test"]
        with torch.no_grad():
            outputs = self.network(x)
        predicted = outputs.softmax(1) if self.classes else outputs[:, 0]
        return scores(predicted.numpy(), y.numpy(), self.classes)
