"""The peers of `real_images.py` in PyTorch: a plain network, a residual one, and the plain family tuned by Optuna."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from picture_fit import THREADS, seconds
from pictures import Pictures
from torch import nn
from torch.nn import functional

torch.set_num_threads(THREADS)
LIMIT = 1e-15


class Block(nn.Module):
    """Two 3 x 3 convolutions with batch normalization, beside a shortcut."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(2))
        same = inputs == channels and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, channels, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(rows, inputs, height, width) -> (rows, channels, ...)."""
        new = functional.relu(self.norms[0](self.first(x)))
        return functional.relu(self.norms[1](self.second(new)) + self.shortcut(x))


class Net:
    """Networks for images (rows, channels, height, width)."""

    @staticmethod
    def plain(
        shape: tuple[int, int, int], labels: int, channels: int = 16, depth: int = 2, dropout: float = 0.0
    ) -> nn.Module:
        """3 x 3 convolutions of growing channels, a pool after each, an affine layer."""
        height, width, inputs = shape
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [nn.Conv2d(inputs, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            height, width, inputs, channels = height // 2, width // 2, channels, 2 * channels
        return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(dropout), nn.Linear(height * width * inputs, labels))

    @staticmethod
    def residual(shape: tuple[int, int, int], labels: int) -> nn.Module:
        """A convolution, three residual blocks of 16, 32 and 64 channels, the mean over the pixels, an affine layer."""
        first = [nn.Conv2d(shape[2], 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        blocks = [Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)]
        return nn.Sequential(*first, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, labels))


class Images:
    """Images as tensors, standardized by the channels' moments of the images to learn from."""

    def __init__(self, train: Pictures) -> None:
        self.mean, self.scale = train.x.mean((0, 1, 2)), train.x.std((0, 1, 2))

    def __call__(self, x: np.ndarray) -> torch.Tensor:
        """uint8 (images, height, width, channels) -> float32 (images, channels, height, width)."""
        return torch.from_numpy(((x - self.mean) / self.scale).astype(np.float32).transpose(0, 3, 1, 2)).contiguous()


def trained(net: nn.Module, x: torch.Tensor, y: torch.Tensor, told: Callable[[int], None] | None, **by: Any) -> None:
    """Train for `epochs` by Adam with decoupled decay; `told` hears of each epoch, and may raise."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=by["rate"], weight_decay=by["decay"])
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, by["epochs"]) if by.get("cosine") else None
    for epoch in range(by["epochs"]):
        net.train()
        for rows in torch.randperm(len(y)).split(by["batch"]):
            optimizer.zero_grad()
            functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
        if falling:
            falling.step()
        if told:
            told(epoch + 1)


def probabilities(net: nn.Module, x: torch.Tensor) -> np.ndarray:
    """(images, labels), in parts."""
    net.eval()
    with torch.no_grad():
        return torch.cat([functional.softmax(net(part), 1) for part in x.split(256)]).numpy().astype(float)


def fitted(make: Callable[..., nn.Module], train: Pictures, seed: int, **by: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Train a network on all images."""
    torch.manual_seed(seed)
    images, y = Images(train), torch.from_numpy(train.y).long()
    net = make(train.x.shape[1:], int(train.y.max()) + 1)
    trained(net, images(train.x), y, None, **by)
    return lambda x: probabilities(net, images(x))


def searched(train: Pictures, seed: int, budget: float) -> Callable[[np.ndarray], np.ndarray]:
    """Optuna's TPE and Hyperband pruner over the plain family, until `budget` CPU seconds are spent."""
    import optuna
    from sklearn.model_selection import train_test_split

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    images, begun, best = Images(train), seconds(), dict[str, Any](loss=np.inf)
    fit, held = train_test_split(np.arange(len(train.y)), test_size=0.1, random_state=seed, stratify=train.y)
    x, y = images(train.x), torch.from_numpy(train.y).long()

    def objective(trial: optuna.Trial) -> float:
        torch.manual_seed(1000 * seed + trial.number)
        rate, decay = trial.suggest_float("rate", 1e-4, 1e-1, log=True), trial.suggest_float("decay", 1e-5, 1, log=True)
        sizes = trial.suggest_int("channels", 8, 32, log=True), trial.suggest_int("depth", 1, 3)
        batch = trial.suggest_categorical("batch", [16, 32, 64, 128])
        net = Net.plain(train.x.shape[1:], int(train.y.max()) + 1, *sizes, trial.suggest_float("dropout", 0, 0.5))
        loss = np.inf

        def told(epoch: int) -> None:
            nonlocal loss
            own = probabilities(net, x[held])[np.arange(len(held)), train.y[held]]
            loss = float(-np.log(np.maximum(own, LIMIT)).mean())
            if loss < best["loss"]:
                best.update(
                    loss=loss, net={name: value.clone() for name, value in net.state_dict().items()}, sizes=sizes
                )
            trial.report(loss, epoch)
            if trial.should_prune() or seconds() - begun > budget:
                raise optuna.TrialPruned

        trained(net, x[fit], y[fit], told, rate=rate, decay=decay, batch=batch, epochs=20)
        return loss

    pruner = optuna.pruners.HyperbandPruner(min_resource=2, max_resource=20, reduction_factor=3)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed), pruner=pruner)
    while seconds() - begun < budget:
        study.optimize(objective, n_trials=1)
    net = Net.plain(train.x.shape[1:], int(train.y.max()) + 1, *best["sizes"])
    net.load_state_dict(best["net"])
    return lambda x: probabilities(net, images(x))
