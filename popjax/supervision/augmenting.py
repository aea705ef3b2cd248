"""Augmentation: each training image is moved, turned, cropped, mirrored and made noisy anew in each epoch.

Each is a hyperparameter, dynamic or static; one that a space does not name costs nothing. A member draws by keys of its
own, one an image, so what it sees does not depend on its company. Targets stay as they are, an autoencoder's too.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from popjax.task import HParams

AUGMENTED: Mapping[str, tuple[float, float]] = {  # name -> the least and the greatest value; 0 changes nothing
    "augment_shift": (0.0, 1.0),
    "augment_turn": (0.0, 180.0),
    "augment_crop": (0.0, 0.9),
    "augment_flip": (0.0, 1.0),
    "augment_noise": (0.0, np.inf),
}
STREAM = 0x617567  # folded into an image's key: dropout's keys are folded from it by small numbers


def check_augmented(hparams: HParams, x: Any) -> None:
    """Raise ValueError for a value out of range, and for features `x` that are no images (rows, height, width, ...)."""
    for name, (low, high) in AUGMENTED.items():
        hparams.within(name, low, high)
        if name in hparams and jnp.ndim(x) != 4:
            what = "tables and dicts of arrays" if isinstance(x, Mapping) else f"rows of shape {x.shape[1:]}"
            raise ValueError(f"{name} is for images (rows, height, width, channels), not {what}; leave it out")
        if name == "augment_noise" in hparams and not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(
                f"augment_noise: the images are {x.dtype}; give a transform that makes real numbers of them"
            )


def augmented(hparams: HParams, keys: jax.Array, x: jax.Array) -> jax.Array:
    """Images (rows, height, width, channels) as each is drawn by its key of `keys` (rows,).

    `augment_shift`: moved by up to this share of the height, and of the width. `augment_turn`: turned by up to so many
    degrees. `augment_crop`: up to this share of each side is cut away, at a random place, and the rest enlarged.
    `augment_flip`: mirrored left to right with this probability. These are one bilinear sampling; beyond the edge it
    takes the pixel at the edge. `augment_noise`: the deviation of normal noise on each number, of features after their
    transform.

    >>> images = jnp.arange(9.0).reshape(1, 3, 3, 1)
    >>> seen = augmented(HParams({"augment_flip": 1.0}), jax.random.split(jax.random.key(0), 1), images)
    >>> seen[0, :, :, 0].tolist()
    [[2.0, 1.0, 0.0], [5.0, 4.0, 3.0], [8.0, 7.0, 6.0]]
    """
    if not any(name in hparams for name in AUGMENTED):
        return x
    streams = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, STREAM)))(keys)
    if any(name in hparams for name in AUGMENTED if name != "augment_noise"):
        draws = jax.vmap(lambda key: jax.random.uniform(key, (7,)))(streams[:, 0])
        x = jax.vmap(lambda image, draw: sampled(image, *places(image.shape, hparams, draw)))(x, draws)
    if "augment_noise" in hparams:
        noise = jax.vmap(lambda key: jax.random.normal(key, x.shape[1:], x.dtype))(streams[:, 1])
        x = x + hparams["augment_noise"] * noise
    return x


def places(shape: tuple[int, ...], hparams: HParams, draw: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Where each pixel of the new image comes from: rows and columns (height, width); `draw` ~ U(0, 1), (7,)."""
    height, width, _ = shape
    amount = lambda name: hparams.get(name, 0.0)
    both = 2 * draw - 1
    turn = jnp.deg2rad(amount("augment_turn")) * both[0]
    cut = amount("augment_crop") * draw[1]
    down = height * (amount("augment_shift") * both[2] + cut * both[3] / 2)
    right = width * (amount("augment_shift") * both[4] + cut * both[5] / 2)
    side = jnp.where(draw[6] < amount("augment_flip"), -1, 1)
    rows = jnp.arange(height)[:, None] - (height - 1) / 2
    columns = side * (jnp.arange(width)[None] - (width - 1) / 2)
    cosine, sine = (1 - cut) * jnp.cos(turn), (1 - cut) * jnp.sin(turn)
    from_rows = cosine * rows - sine * columns + (height - 1) / 2 + down
    from_columns = sine * rows + cosine * columns + (width - 1) / 2 + right
    return from_rows, from_columns


def sampled(image: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """The image (height, width, channels) at these places, bilinear; beyond the edge, its pixels."""
    height, width, channels = image.shape
    rows, columns = jnp.clip(rows, 0, height - 1), jnp.clip(columns, 0, width - 1)
    top, left = jnp.floor(rows), jnp.floor(columns)
    below, beside = (rows - top)[..., None], (columns - left)[..., None]
    first = (top * width + left).astype(jnp.int32)
    down = jnp.where(top < height - 1, width, 0).astype(jnp.int32)
    across = jnp.where(left < width - 1, 1, 0).astype(jnp.int32)
    pixels = image.reshape(-1, channels)
    upper = pixels[first] * (1 - beside) + pixels[first + across] * beside
    lower = pixels[first + down] * (1 - beside) + pixels[first + down + across] * beside
    drawn = upper * (1 - below) + lower * below
    return (drawn if jnp.issubdtype(image.dtype, jnp.floating) else jnp.round(drawn)).astype(image.dtype)
