"""The installed jaxlib computes right numbers where 0.10.2 did not (github.com/jax-ml/jax/issues/39103).

On the CPU it got a compiled, vmapped matrix-vector product followed by a reduction wrong,
silently, for many rows. This file needs no part of popjax.
"""

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import pytest


def energies(matrix, vectors):
    """|Mv|² of every row v."""
    return jax.vmap(lambda v: jnp.sum(jnp.square(matrix @ v)))(vectors)


@pytest.mark.parametrize(
    ("dtype", "rows", "size"), [("float32", 36000, 3), ("float64", 20000, 3), ("float64", 20000, 5)]
)
def test_vmapped_product_then_sum(dtype, rows, size):
    rng = np.random.default_rng(3)
    matrix, vectors = rng.normal(size=(size, size)).astype(dtype), rng.normal(size=(rows, size)).astype(dtype)
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        ours = np.asarray(jax.jit(energies)(matrix, vectors))
    right = np.square(vectors.astype(float) @ matrix.astype(float).T).sum(axis=1)
    wrong = ~np.isclose(ours, right, rtol=1e-3 if dtype == "float32" else 1e-9, atol=1e-5)
    assert ours.dtype == dtype
    if wrong.any():
        pytest.fail(
            f"jaxlib {jaxlib.__version__} computes wrong numbers on the CPU, here in {wrong.sum()} of {rows} rows "
            f"(jax issue #39103), and jax >= 0.11.2 is needed.",
            pytrace=False,
        )
