"""The training of one trial in PyTorch, at its best for a model this small.

The rows are tensors in memory, batches are taken by index without a DataLoader, the optimizer
is fused, and the process has one thread: a second one makes a model of this size slower.
"""

import numpy as np
import torch
from torch import nn
from torch_network import network as network_of
from workload import BATCH, SIZES, Workload


def tensors(work: Workload) -> list[torch.Tensor]:
    """Training and validation rows."""
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in work[:4]]


def train(work: Workload, trial: int) -> tuple[float, int]:
    """Validation accuracy and updates of a trial."""
    torch.set_num_threads(1)
    torch.manual_seed(trial)
    x, y, x_validation, y_validation = tensors(work)
    network = network_of(SIZES)
    rate, momentum = float(work.learning_rate[trial]), float(work.momentum[trial])
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=momentum, fused=True)
    updates = 0
    for _ in range(work.epochs):
        order = torch.randperm(len(x))
        for rows in order[: work.steps * BATCH].split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
            updates += 1
    with torch.no_grad():
        right = network(x_validation).argmax(1) == y_validation
    return right.float().mean().item(), updates
