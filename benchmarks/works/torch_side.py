"""PyTorch on one kind of work, a process of one thread a core: `torch_side.py eager|compiled WORK`, one JSON line."""

import functools
import itertools
import json
import multiprocessing
import os
import sys
import time
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}

import numpy as np
import torch
from torch import nn
from work import DECAY, IMAGES, RATE, WORKS, Images, rows_of

SECONDS = 4.0  # of training that is measured, about


def cnn(images: Images) -> nn.Module:
    """Two convolutions, each with a pool, and an affine layer."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise((images.channels, *images.widths)):
        layers += [nn.Conv2d(inputs, outputs, images.taps, padding=images.taps // 2)]
        layers += [*([nn.BatchNorm2d(outputs)] if images.norms else []), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear((images.side // 4) ** 2 * images.widths[1], 10))


def mlp(*sizes: int) -> nn.Module:
    """Affine layers."""
    hidden = (layer for pair in itertools.pairwise(sizes[:-1]) for layer in (nn.Linear(*pair), nn.ReLU()))
    return nn.Sequential(*hidden, nn.Linear(*sizes[-2:]))


class Conv1D(nn.Module):
    """Two convolutions over time, their mean, and an affine layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(4, 32, 5, padding=2), nn.Conv1d(32, 32, 5, padding=2)
        self.out = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs (rows, classes)."""
        return self.out(self.second(self.first(x.transpose(1, 2)).relu()).relu().mean(2))


class GRU(nn.Module):
    """A recurrent layer, its last state, and an affine layer."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.GRU(4, 32, batch_first=True), nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs (rows, classes)."""
        return self.out(self.cell(x)[0][:, -1])


class Attention(nn.Module):
    """One block of a transformer, the mean over time, and an affine layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.after = nn.Linear(4, 32), nn.LayerNorm(32), nn.LayerNorm(32)
        self.attend = nn.MultiheadAttention(32, 4, batch_first=True)
        self.up, self.down, self.out = nn.Linear(32, 64), nn.Linear(64, 32), nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs (rows, classes)."""
        x = self.embed(x)
        normed = self.norm(x)
        x = x + self.attend(normed, normed, normed, need_weights=False)[0]
        return self.out((x + self.down(self.up(self.after(x)).relu())).mean(1))


NETWORKS: dict[str, Any] = {
    "mlp": lambda: mlp(64, 100, 100, 10),
    "mlp256": lambda: mlp(50, 256, 256, 256, 10),
    **{name: functools.partial(cnn, images) for name, images in IMAGES.items()},
    "conv1d": Conv1D,
    "gru": GRU,
    "attention": Attention,
}


def train(way: str, name: str, results: Any) -> None:
    """Seconds an update of one process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    work = WORKS[name]
    rows, labels = rows_of(work)
    x, y = torch.from_numpy(rows), torch.from_numpy(labels)
    model = NETWORKS[name]()
    if x.ndim == 4:
        x = x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=DECAY, fused=True)
    forward = torch.compile(model) if way == "compiled" else model

    def epoch() -> None:
        for batch in torch.randperm(len(x)).split(work.batch):
            loss = nn.functional.cross_entropy(forward(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    begin = time.perf_counter()
    epoch()
    compiled = time.perf_counter() - begin
    wall = time.perf_counter()
    epoch()
    epochs = max(2, round(SECONDS / (time.perf_counter() - wall)))
    wall, used = time.perf_counter(), time.process_time()
    for _ in range(epochs):
        epoch()
    updates = epochs * work.steps
    results.put((compiled, (time.process_time() - used) / updates, (time.perf_counter() - wall) / updates))


def main() -> None:
    """One process a core, their means."""
    cores = len(os.sched_getaffinity(0))
    spawn = multiprocessing.get_context("spawn")
    results = spawn.SimpleQueue()
    processes = [spawn.Process(target=train, args=(*sys.argv[1:3], results)) for _ in range(cores)]
    for process in processes:
        process.start()
    found = np.array([results.get() for _ in processes])
    for process in processes:
        process.join()
    compiled, cpu, wall = found.mean(0)
    print(json.dumps({"compile": compiled, "cpu": cpu, "wall": wall / cores}))


if __name__ == "__main__":
    main()
