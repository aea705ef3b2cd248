"""The network of the peers in PyTorch."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def network(sizes: Sequence[int]) -> nn.Sequential:
    """An MLP of these sizes with relu and He's normal initialization."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        linear = nn.Linear(inputs, outputs)
        nn.init.normal_(linear.weight, std=(2 / inputs) ** 0.5)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
