"""Pooling: what flax's computes, forward and backward, and what was computed number by number before it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import soaked
from derivatives import assert_same
from flax import linen, nnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax import lax

from popjax.models.layers import max_pool
from popjax.rewriting import pools
from popjax.rewriting.rewrite import rewrite


def test_max_pool_is_flax_pool(x64):
    """Also where several pixels are the largest: the first has the slope."""
    for x in (jax.random.normal(jax.random.key(0), (3, 7, 4, 2)), jnp.ones((1, 4, 5, 1))):
        assert_same(max_pool, lambda x: nnx.max_pool(x, (2, 2), (2, 2)), x)


POOLS = [
    ((2, 2), (2, 2), "VALID"),
    ((3, 3), (2, 2), "SAME"),
    ((3, 2), (1, 3), ((1, 0), (2, 1))),
    ((1, 4), (1, 1), "SAME"),
]


@pytest.mark.parametrize(("window", "strides", "padding"), soaked(POOLS, 2))
def test_pooling_is_flax_pooling(x64, window, strides, padding):
    """Of largest numbers, many of which are equal, and of means; no window is reduced by XLA."""
    x = jnp.round(jax.random.normal(jax.random.key(0), (3, 7, 8, 2)), 0)
    for pool in (nnx.max_pool, nnx.avg_pool, linen.max_pool, linen.avg_pool):
        plain = lambda x, pool=pool: pool(x, window, strides, padding)
        assert "reduce_window" not in str(jax.make_jaxpr(rewrite(plain))(x))
        assert_same(rewrite(plain), plain, x)


def test_what_comes_before_a_narrow_pool_is_not_computed_again_for_its_gradient():
    """As it is for 16 channels, where that is faster than to write it down; of windows that share pixels."""

    def subtractions(channels):
        pool = rewrite(lambda x, mean: nnx.max_pool(nnx.relu(x - mean), (3, 3), (2, 2)))
        slope = jax.jit(jax.grad(lambda x, mean: (pool(x, mean) ** 2).sum(), (0, 1)))
        lowered = slope.lower(jnp.zeros((8, 12, 12, channels)), jnp.zeros((1, 1, 1, channels)))
        return lowered.compile().as_text().count(" subtract(")

    assert subtractions(12) == subtractions(15) < subtractions(16)


def test_pooling_goes_on_for_integers_and_large_windows(x64):
    x = jnp.arange(2 * 30 * 30).reshape(2, 30, 30, 1) % 7
    plain = lambda x: lax.reduce_window(x, np.iinfo(int).min, lax.max, (1, 2, 3, 1), (1, 1, 2, 1), "SAME")
    np.testing.assert_array_equal(rewrite(plain)(x), plain(x))
    any_of = lambda x: lax.reduce_window(x, False, lax.max, (1, 2, 3, 1), (1, 1, 2, 1), "SAME")
    np.testing.assert_array_equal(rewrite(any_of)(x == 0), any_of(x == 0))
    assert "reduce_window" not in str(jax.make_jaxpr(rewrite(any_of))(x == 0))
    whole = rewrite(lambda x: nnx.max_pool(x, (30, 30)))
    assert "reduce_window" in str(jax.make_jaxpr(whole)(x.astype(float)))
    assert whole(x.astype(float)).tolist() == [[[[6.0]]], [[[6.0]]]]


@pytest.fixture
def few_channels(monkeypatch):
    """A pool picks, however few its channels are."""
    monkeypatch.setattr(pools, "pays", lambda x, sizes: True)


PICKS = [
    ((4, 6, 12), nnx.relu, (2, 2, 1), True),
    ((4, 6, 11), nnx.relu, (2, 2, 1), False),
    ((4, 6, 16), nnx.gelu, (2, 2, 1), True),
    ((4, 6, 15), nnx.gelu, (2, 2, 1), False),
    ((4, 6, 12), lambda x: nnx.relu(jnp.exp(x)), (2, 2, 1), False),
    ((4, 6, 16), nnx.relu, (1, 2, 2), False),
    ((4, 6, 16), lambda x: jnp.flip(x, 1), (2, 2, 1), False),
]


@pytest.mark.parametrize(("shape", "before", "window", "expected"), PICKS)
def test_pools_pick_where_that_is_faster(shape, before, window, expected):
    """Not of channels that are too few for loops over them, nor along the channels."""
    pool = rewrite(lambda x: lax.reduce_window(before(x), -jnp.inf, lax.max, (1, *window), (1, *window), "VALID"))
    slope = jax.make_jaxpr(jax.grad(lambda x: (pool(x) ** 2).sum()))(jnp.ones((2, *shape)))
    assert (":i8[" in str(slope)) == expected


def normalized(x, scale):
    """With an activation, as before most pools."""
    moments = x.mean((0, 1, 2), keepdims=True), x.var((0, 1, 2), keepdims=True)
    return nnx.relu((x - moments[0]) * lax.rsqrt(moments[1] + 1e-5) * scale + 0.1)


@jax.custom_jvp
def straight_through(x):
    return jnp.maximum(x, 0)


straight_through.defjvp(lambda given, moved: (jnp.maximum(given[0], 0), moved[0]))


def deep(x, scale):
    """A chain that is longer than what is computed anew, of operations that read their input twice."""
    for _ in range(80):
        x = x * nnx.sigmoid(x * scale) * 1.7
    return x


BEFORE = {
    "normalized": normalized,
    "elu": lambda x, scale: nnx.elu(x * scale),
    "gelu": lambda x, scale: nnx.gelu(x + scale),
    "leaky relu": lambda x, scale: nnx.leaky_relu(x - scale),
    "softplus": lambda x, scale: nnx.softplus(x * scale),
    "a derivative of one's own": lambda x, scale: straight_through(x * scale),
    "beside a skip": lambda x, scale: nnx.relu(jnp.cos(x) * scale + x),
    "a mask": lambda x, scale: jnp.where(jnp.flip(x > 0, 1), x, 0) * scale,
    "a pattern": lambda x, scale: nnx.relu(x * scale + np.sin(np.arange(42.0)).reshape(1, 7, 6, 1)),
    "integers": lambda x, scale: jnp.flip(jnp.floor(x).astype(int), 1) * scale + x,
    "rows by themselves": lambda x, scale: x * x.mean((1, 2, 3), keepdims=True) * scale,
    "columns by themselves": lambda x, scale: x * x.mean((0, 1, 3), keepdims=True) * scale,
    "pixels of all rows": lambda x, scale: nnx.tanh(x + x.mean(0, keepdims=True) * scale),
    "one channel": lambda x, scale: x * jnp.sin(x[..., :1]) * scale,
    "clipped": lambda x, scale: jnp.clip(x * scale, -0.5, 0.5),
    "nothing": lambda x, scale: x,
    "a number": lambda x, scale: jnp.broadcast_to(scale, x.shape),
    "deep": deep,
}


@pytest.mark.parametrize("name", soaked(BEFORE, 6))
def test_what_is_before_a_pool_has_its_derivatives(x64, name, few_channels):
    """Of odd sizes and of windows with equal numbers, whatever is computed anew for the pixels that are picked."""
    x = jnp.round(jax.random.normal(jax.random.key(0), (3, 7, 6, 4)) * 4) / 4
    scale = jnp.asarray([0.5, -1.0, 2.0, 0.0]).reshape(1, 1, 1, 4)
    for window in ((2, 2), (3, 2), (1, 4)):
        plain = lambda x, scale, window=window: nnx.max_pool(BEFORE[name](x, scale), window, window)
        assert_same(rewrite(plain), plain, x, scale)


@settings(max_examples=25, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_pools_of_any_sizes_are_those_of_xla(x64, few_channels, data):
    """Of one to three axes of pixels; also where no window fits."""
    sizes = data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=3))
    window = tuple(data.draw(st.integers(1, 4)) for _ in sizes)
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    x, scale = jnp.asarray(rng.integers(-2, 3, (2, *sizes, 3)) / 2.0), jnp.asarray(rng.normal(size=3))
    scale = scale.reshape(*[1] * (x.ndim - 1), 3)
    plain = lambda x, scale: nnx.max_pool(nnx.relu(x * scale), window, window)
    assert_same(rewrite(plain), plain, x, scale)


def test_a_long_chain_before_a_pool_is_not_computed_anew(x64, few_channels):
    """By as many calls as it has operations, of which Python allows a thousand."""

    def plain(x):
        for _ in range(1200):
            x = x + 0.1
        return nnx.max_pool(x, (2, 2), (2, 2))

    assert_same(rewrite(plain), plain, jax.random.normal(jax.random.key(0), (1, 4, 4, 1)))


def test_second_derivatives_of_a_pool(x64, few_channels):
    x = jax.random.normal(jax.random.key(0), (2, 4, 5, 3))
    plain = lambda x: (nnx.max_pool(jnp.sin(3 * x), (2, 2), (2, 2)) ** 2).sum()
    turned = [jax.grad(lambda x, f=f: (jax.grad(f)(x) * jnp.cos(x)).sum())(x) for f in (rewrite(plain), plain)]
    np.testing.assert_allclose(*turned, rtol=1e-12, atol=1e-12)
    assert turned[0].any()


@pytest.mark.parametrize("place", range(4))
def test_a_pool_of_what_is_not_a_number_is_none_when_it_is_differentiated(place, few_channels):
    """Or the loss of a member that has diverged would look like one."""
    x = jnp.arange(8.0).reshape(1, 2, 4, 1).at[0, place // 2, place % 2, 0].set(jnp.nan)
    pool = rewrite(lambda x: nnx.max_pool(nnx.relu(x), (2, 2), (2, 2)))
    found = jax.vjp(pool, x)[0].ravel()
    np.testing.assert_array_equal(found, pool(x).ravel())
    np.testing.assert_array_equal(jnp.isnan(found), [True, False])


def test_the_derivative_of_what_is_before_a_pool_is_summed_over_the_pixels_that_are_picked(few_channels):
    x, scale = jnp.ones((2, 8, 8, 3)), jnp.ones((1, 1, 1, 3))

    def summed(function):
        pool = function(lambda x, scale: nnx.max_pool(nnx.relu(x * scale), (2, 2), (2, 2)))
        program = jax.make_jaxpr(jax.grad(lambda x, scale: (pool(x, scale) ** 2).sum(), 1))(x, scale)
        return {equation.invars[0].aval.shape for equation in equations(program.jaxpr, "reduce_sum")}

    assert (2, 8, 8, 3) in summed(lambda function: function)
    assert (2, 8, 8, 3) not in summed(rewrite)


def equations(jaxpr, name):
    """Those of a primitive, also of inner programs."""
    inner = [value for equation in jaxpr.eqns for value in equation.params.values() if hasattr(value, "eqns")]
    found = [equation for equation in jaxpr.eqns if equation.primitive.name == name]
    return found + [equation for program in inner for equation in equations(program, name)]
