"""The oracle: one model trained by a plain Python loop of numpy, in float64. No line of popjax.

The model has its exact shape, and gradients are written out by hand. Random numbers come
from bare jax, by the documented derivation of keys.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

ACTIVATIONS = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2),
    "softplus": (lambda z: np.log1p(np.exp(-abs(z))) + np.maximum(z, 0), lambda z: 1 / (1 + np.exp(-z))),
}


def rate_of(hparams, schedule, epoch, epochs):
    rate = hparams["learning_rate"]
    decay = hparams.get("decay")
    if schedule == "cosine":
        rate *= (1 + np.cos(np.pi * epoch / epochs)) / 2
    elif schedule == "flat":
        rate *= (1 + np.cos(np.pi * max(0, 2 * (epoch + 0.5) / epochs - 1))) / 2
    elif decay is not None:
        rate *= 1 / (1 + decay * epoch) if schedule == "inverse" else decay**epoch
    return rate * min(1, (epoch + 1) / hparams["warmup"]) if "warmup" in hparams else rate


class Optimizer:
    """torch.optim's formulas on a list of arrays."""

    def __init__(self, name, hparams, params):
        self.name, self.h, self.t = name, hparams, 0
        self.m = [np.zeros_like(p) for p in params]
        self.v = [np.zeros_like(p) for p in params]

    def step(self, params, gradients, rate):
        self.t += 1
        h, new = self.h, []
        wd = h.get("weight_decay", 0)
        for i, (p, g) in enumerate(zip(params, gradients, strict=True)):
            if self.name == "adamw":
                p = p * (1 - rate * wd)
            else:
                g = g + wd * p
            if self.name in ("sgd", "nesterov"):
                beta = h.get("momentum", 0.9)
                self.m[i] = beta * self.m[i] + g
                move = g + beta * self.m[i] if self.name == "nesterov" else self.m[i]
            elif self.name == "rmsprop":
                b2 = h.get("b2", 0.99)
                self.v[i] = b2 * self.v[i] + (1 - b2) * g * g
                move = g / (np.sqrt(self.v[i]) + 1e-8)
            else:
                b1, b2 = h.get("b1", 0.9), h.get("b2", 0.999)
                self.m[i] = b1 * self.m[i] + (1 - b1) * g
                self.v[i] = b2 * self.v[i] + (1 - b2) * g * g
                move = (self.m[i] / (1 - b1**self.t)) / (np.sqrt(self.v[i] / (1 - b2**self.t)) + 1e-8)
            new.append(p - rate * move)
        return new


def standardized(x, y, train, validation, classes):
    """((x, y), (x, y), y_scale) of explicit training and validation rows, by the training rows' statistics."""
    mean, scale = x[train].mean(0), x[train].std(0)
    x = (x - mean) / scale
    y_mean, y_scale = (0, 1) if classes else (y[train].mean(), y[train].std())
    y = y if classes else (y - y_mean) / y_scale
    return (x[train], y[train]), (x[validation], y[validation]), y_scale


def forward(params, x, activation, masks):
    """Outputs, and what the backward pass needs; params is [W1, b1, W2, b2, ...]."""
    act, _ = ACTIVATIONS[activation]
    inputs, before = [x], []
    for layer in range(len(params) // 2 - 1):
        z = inputs[-1] @ params[2 * layer] + params[2 * layer + 1]
        before.append(z)
        inputs.append(act(z) * masks[layer])
    return inputs[-1] @ params[-2] + params[-1], inputs, before


def backward(params, inputs, before, activation, masks, delta):
    _, slope = ACTIVATIONS[activation]
    gradients = [None] * len(params)
    for layer in reversed(range(len(params) // 2)):
        gradients[2 * layer] = inputs[layer].T @ delta
        gradients[2 * layer + 1] = delta.sum(0)
        if layer:
            delta = (delta @ params[2 * layer].T) * masks[layer - 1] * slope(before[layer - 1])
    return gradients


def log_softmax(z):
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def losses(outputs, y, classes, smoothing=0.0):
    """The loss of every row, and its gradient with respect to the outputs."""
    if classes is None:
        error = outputs[:, 0] - y
        return error**2, 2 * error[:, None]
    target = np.eye(classes)[y] * (1 - smoothing) + smoothing / classes
    logs = log_softmax(outputs)
    return -(target * logs).sum(1), np.exp(logs) - target


def dropout_masks(key, positions, rate, widths):
    """A mask a layer: every row has its own key, every layer folds its number into it."""
    if not rate:
        return [np.ones((len(positions), width)) for width in widths]
    keep = [keep_units(key, positions, layer, rate, width) for layer, width in enumerate(widths)]
    return [np.asarray(units) / (1 - rate) for units in keep]


@partial(jax.jit, static_argnames="rows")
def permuted(key, rows):
    return jax.random.permutation(key, rows)


@partial(jax.jit, static_argnames="width")
def keep_units(key, positions, layer, rate, width):
    def row(position):
        own = jax.random.fold_in(jax.random.fold_in(key, position), layer)
        return jax.random.bernoulli(own, 1 - rate, (width,))

    return jax.vmap(row)(positions)


def train(params, key, data, hparams, optimizer, schedule, epochs, classes, horizon=None):
    """Train one model of exact shape; gives curves and the trained arrays, with `ema` their running mean.

    data: ((x, y) to train, (x, y) to validate, y's scale); horizon: of the schedule, `epochs` if None.
    """
    (x, y), (vx, vy), y_scale = data
    activation, batch = hparams.get("activation", "relu"), hparams["batch_size"]
    widths = [p.shape[1] for p in params[:-2:2]]
    state, ema = Optimizer(optimizer, hparams, params), hparams.get("ema", 0)
    summed, updates, mean = [0.0 * p for p in params], 0, params
    curves = {"train_loss": [], "val_loss": []}
    for epoch in range(epochs):
        shuffle_key, dropout_key = jax.random.split(jax.random.fold_in(key, epoch))
        order = np.asarray(permuted(shuffle_key, len(x)))
        rate, seen = rate_of(hparams, schedule, epoch, horizon or epochs), []
        for step in range(len(x) // batch):
            positions = jnp.arange(step * batch, (step + 1) * batch)
            rows = order[step * batch : (step + 1) * batch]
            masks = dropout_masks(dropout_key, positions, hparams.get("dropout", 0), widths)
            outputs, inputs, before = forward(params, x[rows], activation, masks)
            loss, delta = losses(outputs, y[rows], classes, hparams.get("label_smoothing", 0))
            seen.append(loss.mean())
            gradients = backward(params, inputs, before, activation, masks, delta / batch)
            params = state.step(params, gradients, rate)
            updates += 1
            summed = [ema * s + (1 - ema) * p for s, p in zip(summed, params, strict=True)]
            mean = [s / (1 - ema**updates) for s in summed]
        curves["train_loss"].append(np.mean(seen))
        outputs, _, _ = forward(mean, vx, activation, [1] * len(widths))
        curves["val_loss"].append(losses(outputs, vy, classes)[0].mean())
        if classes is None:
            error = (outputs[:, 0] - vy) * y_scale
            curves.setdefault("val_mae", []).append(abs(error).mean())
            curves.setdefault("val_mse", []).append((error**2).mean())
            curves.setdefault("val_r2", []).append(1 - (error**2).mean() / (vy * y_scale).var())
        else:
            right = outputs.argmax(1) == vy
            curves.setdefault("val_accuracy", []).append(right.mean())
            recalls = [right[vy == c].mean() for c in np.unique(vy)]
            curves.setdefault("val_balanced_accuracy", []).append(np.mean(recalls))
    return curves, mean
