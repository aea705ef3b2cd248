"""Convolutions: what plain ones compute, as fast products of matrices."""

import functools
import json
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import strided_cnn
from conftest import soaked
from derivatives import assert_same, slopes
from flax import linen, nnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax import lax
from test_compilations import compilations, epochs_compiled

import popjax as pj
from popjax.core.trees import abstract
from popjax.engine.tracer import Tracer
from popjax.models.layers import Dropout
from popjax.rewriting import blocks
from popjax.rewriting.biases import with_biases
from popjax.rewriting.products import times
from popjax.rewriting.rewrite import rewrite
from popjax.rewriting.windows import Windows
from popjax.rewriting.winograd import by_tiles

EPOCHS = 4


@pytest.mark.parametrize(("inputs", "features", "size"), soaked([(3, 2, 5), (1, 4, 3), (4, 4, 1), (2, 3, 4)]))
def test_by_patches_is_flax_conv(x64, inputs, features, size):
    """Forward and backward, to 1e-9, from the same weights."""
    layer = nnx.Conv(inputs, features, (size, size), param_dtype=float, rngs=nnx.Rngs(0))
    layer.bias[...] = layer.bias[...] + 0.1
    graph, weights = nnx.split(layer)
    x = jax.random.normal(jax.random.key(1), (5, 7, 6, inputs))

    def plain(weights, x):
        return nnx.merge(graph, weights)(x)

    patched = rewrite(plain)
    assert patched(weights, x).shape == (5, 7, 6, features)
    np.testing.assert_allclose(patched(weights, x), plain(weights, x), rtol=1e-9, atol=1e-12)
    gradients = [jax.grad(lambda *a, f=f: jnp.sin(f(*a)).sum(), (0, 1))(weights, x) for f in (patched, plain)]
    for left, right in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-12)


TILED = [
    ((3, 9, 6, 8), (3, 3), [(36, 18, 4), (3, 9, 6, 4)]),  # 3 x 2 tiles of 4 x 4 outputs, of which 3 x 2 are left over
    ((2, 7, 6, 8), (5, 3), [(36, 12, 4), (2, 5, 6, 4)]),
    ((2, 10, 9, 8), (5, 5), [(48, 16, 4), (2, 8, 7, 4)]),
    ((2, 8, 9), (3,), [(6, 4, 4), (2, 8, 4)]),
    ((2, 5, 8), (5,), [(8, 2, 4), (2, 3, 4)]),
    ((1, 5, 4, 7, 8), (3, 3, 3), [(64, 24, 4), (1, 5, 4, 7, 4)]),
]


@pytest.mark.parametrize(("shape", "taps", "shapes"), TILED)
def test_tiles_are_the_convolution(shape, taps, shapes):
    """Tiles that fit and tiles that are padded in one to three dimensions: to 1e-12 in float64, to 1e-5 in float32."""
    windows = Windows(taps, (1,) * len(taps), (1,) * len(taps), ((1, 1),) * len(taps))
    tiled = functools.partial(by_tiles, windows=windows)
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        letters = "DHW"[-len(taps) :]
        x, kernel = rng.normal(size=shape), rng.normal(size=(*taps, shape[-1], 4))
        layout = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
        plain = functools.partial(lax.conv_general_dilated, window_strides=windows.strides, padding=windows.padding,
                                  dimension_numbers=layout)  # fmt: skip
        assert [*products(tiled, x, kernel), tiled(x, kernel).shape] == shapes
        assert_same(tiled, plain, jnp.asarray(x), jnp.asarray(kernel))
        assert_rounds_little(tiled, plain, x, kernel)


def assert_rounds_little(fast, plain, x, kernel):
    """Values and derivatives in float32, which are those in float64 to 1e-5 of the largest."""
    short, slope = (jnp.asarray(x, np.float32), jnp.asarray(kernel, np.float32)), jnp.cos(plain(x, kernel))
    value, back = jax.vjp(fast, *short)
    known, known_back = jax.vjp(plain, x, kernel)
    assert value.dtype == np.float32
    for ours, theirs in zip((value, *back(slope.astype(np.float32))), (known, *known_back(slope)), strict=True):
        assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()


def test_sums_over_many_tiles_round_little():
    """Of 5 x 5 taps, whose tiles round most."""
    windows = Windows((5, 5), (1, 1), (1, 1), ((2, 2), (2, 2)))
    layout = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": ("NHWC", "HWIO", "NHWC")}
    with jax.enable_x64(True):
        rng = np.random.default_rng(3)
        x, kernel = rng.normal(size=(8, 16, 16, 32)), rng.normal(size=(5, 5, 32, 32))
        tiled = functools.partial(by_tiles, windows=windows)
        assert_rounds_little(tiled, lambda x, kernel: lax.conv_general_dilated(x, kernel, **layout), x, kernel)


def products(function, *arguments):
    """The shapes of a function's matrix products."""

    def found(jaxpr):
        for one in jaxpr.eqns:
            if one.primitive is lax.dot_general_p:
                yield one.outvars[0].aval.shape
            elif one.primitive.name == "custom_jvp_call":
                yield from found(one.params["call_jaxpr"].jaxpr)

    return [*found(jax.make_jaxpr(function)(*arguments).jaxpr)]


@pytest.mark.parametrize(
    ("inputs", "units", "columns", "of_x"), [(70, 20, 32, 70), (17, 40, 40, 32), (16, 50, 64, 16), (64, 16, 16, 64)]
)
def test_columns_are_full_and_the_narrower_matrix_is_copied(x64, inputs, units, columns, of_x):
    """Of a product and of the derivative of its rows: only where less than half of 32 columns is missing."""
    x = jax.random.normal(jax.random.key(0), (9, inputs))
    weights = jax.random.normal(jax.random.key(1), (inputs, units))
    fast = lambda x, weights: times(x, weights, {})
    assert products(fast, x, weights) == [(9, columns)]
    assert_same(fast, jnp.matmul, x, weights)
    narrow, wide = sorted([inputs, units])
    assert {f"f64[{narrow},{wide}]", f"f64[9,{of_x}]"} <= compiled_products(fast, x, weights)


def compiled_products(function, *arguments):
    """The shapes of the compiled products of a function and its derivatives."""
    program = jax.jit(lambda *given: (function(*given), slopes(function, *given))).lower(*arguments).compile()
    return set(re.findall(r" = (f64\[[0-9,]+\])\S* dot\(", program.as_text()))


@pytest.mark.parametrize(
    ("x", "weights", "axes"), [((5, 40), (40, 3), 1), ((2, 5, 40), (40, 4, 3), 1), ((5, 8, 5), (8, 5, 3), 2)]
)
def test_the_derivative_of_a_layer_copies_the_narrower_matrix(x64, x, weights, axes):
    """Of two dimensions and more, with one and with two contracted axes; another product is left as it is."""
    x, weights = (jax.random.normal(jax.random.key(at), shape) for at, shape in enumerate((x, weights)))
    plain = lambda x, weights: jnp.tensordot(x, weights, axes)
    assert_same(rewrite(plain), plain, x, weights)
    assert f"f64[{weights.size // 40},40]" in compiled_products(rewrite(plain), x, weights)
    turned = lambda x, weights: jnp.einsum("ri,ui->ru", x.reshape(-1, 40), weights.reshape(40, -1).T)
    assert_same(rewrite(turned), turned, x, weights)


@pytest.mark.parametrize(
    ("shape", "units", "how", "expected"),
    [
        ((2, 14, 14, 1), 16, {}, (392, 16)),  # patches of nine numbers
        ((2, 14, 14, 3), 16, {}, (392, 48)),  # 14 rows of patches of three times three, three taps of each
        ((2, 28, 28, 32), 32, {}, (36, 98, 32)),  # 7 x 7 tiles of each image
        ((2, 28, 28, 8), 8, {}, (1568, 32)),
        ((2, 28, 16), 16, {}, (6, 14, 16)),
        ((2, 28, 8), 8, {}, (56, 8)),
        ((2, 28, 7), 8, {}, (56, 8)),
        ((2, 3, 3, 16), 5, {}, (18, 15)),
        ((2, 28, 28, 16), 16, {"window_strides": (2, 2)}, (392, 16)),
        ((2, 28, 28, 16), 16, {"rhs_dilation": (2, 2)}, (1568, 48)),
        ((2, 28, 28, 16), 16, {"window_strides": (1, 2)}, (784, 48)),
    ],
)
def test_the_way_of_the_least_cost_is_taken(shape, units, how, expected):
    axes = len(shape) - 2
    x, kernel = jnp.ones(shape), jnp.ones((*(3,) * axes, shape[-1], units))
    layout = {"padding": "SAME", "dimension_numbers": ("NHWC", "HWIO", "NHWC"), "window_strides": (1,) * axes} | how
    if axes == 1:
        layout["dimension_numbers"] = "NWC", "WIO", "NWC"
    assert products(rewrite(lambda x, w: lax.conv_general_dilated(x, w, **layout)), x, kernel) == [expected]
    halves = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    (in_halves,) = products(rewrite(lambda x, w: lax.conv_general_dilated(x, w, **layout)), *halves)
    assert len(in_halves) == 2


ROWS = [
    ((2, 14, 9, 6), (5, 5), 1, 2, 10),
    ((2, 14, 9, 6), (5, 5), 2, 17, 96),
    ((2, 9, 5, 6, 4), (3, 2, 3), 2, 2, 6),
]


@pytest.mark.parametrize(("shape", "taps", "dilation", "units", "columns"), ROWS)
def test_row_patches_are_the_convolution(x64, shape, taps, dilation, units, columns):
    """Values, gradients and directional derivatives in two and three dimensions, with a stride along the last axis."""
    rng, letters = np.random.default_rng(0), "DHW"[-len(taps) :]
    x, kernel = jnp.asarray(rng.normal(size=shape)), jnp.asarray(rng.normal(size=(*taps, shape[-1], units)))
    how = {"window_strides": (*(1,) * (len(taps) - 1), 2), "padding": "SAME", "rhs_dilation": (dilation,) * len(taps)}
    how["dimension_numbers"] = f"N{letters}C", f"{letters}IO", f"N{letters}C"
    plain = functools.partial(lax.conv_general_dilated, **how)
    assert products(rewrite(plain), x, kernel)[0][-1] == columns
    assert_same(rewrite(plain), plain, x, kernel)


def test_many_copies_are_made_for_some_images_at_a_time(x64, monkeypatch):
    """To 1e-12 what all at once are, also where a block is not full; and no copy is kept for the gradient.

    By tiles, whole patches and patches of rows.
    """
    x = jax.random.normal(jax.random.key(0), (11, 28, 28, 16))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 16, 16)) / 12

    def temporary(function):
        gradients = jax.jit(lambda *given: slopes(function, *given))
        return gradients.lower(x, kernel).compile().memory_analysis().temp_size_in_bytes

    for how in ({}, {"window_strides": (2, 2)}, {"rhs_dilation": (2, 2)}):
        plain = functools.partial(
            lax.conv_general_dilated, **({"window_strides": (1, 1), "padding": "SAME"} | how),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip
        memory = temporary(rewrite(plain))
        with monkeypatch.context() as patch:
            patch.setattr(blocks, "MANY", 2**15)
            patch.setattr(blocks, "BLOCK", 2**15)
            assert " scan[" in str(jax.make_jaxpr(rewrite(plain))(x, kernel))
            assert_same(rewrite(plain), plain, x, kernel)
            assert 4 * temporary(rewrite(plain)) < 3 * memory  # 0.71 of it with jaxlib 0.11.2, less since


def with_groups(kernel, x):
    how = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "feature_group_count": 2}
    return lax.conv_general_dilated(x, kernel[:, :, :2], (1, 1), "SAME", **how)


def with_channels_first(kernel, x):
    layout = "NCHW", "OIHW", "NCHW"
    x, kernel = x.transpose(0, 3, 1, 2), kernel.transpose(3, 2, 0, 1)
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)


BIASED = {
    "several times": (lambda kernel, bias, x: squared(convolved(kernel, x) + bias), True),
    "the bias first": (lambda kernel, bias, x: squared(bias + convolved(kernel, x)), True),
    "channels first": (
        lambda kernel, bias, x: squared(with_channels_first(kernel, x) + bias.reshape(1, 4, 1, 1)),
        True,
    ),
    "once": (lambda kernel, bias, x: jnp.sin(convolved(kernel, x) + bias), False),
    "without the bias, too": (lambda kernel, bias, x: squared((y := convolved(kernel, x)) + bias) + y, False),
    "returned without the bias": (lambda kernel, bias, x: ((y := convolved(kernel, x)), squared(y + bias)), False),
    "a bias for each row of pixels": (
        lambda kernel, bias, x: squared(convolved(kernel, x) + bias.reshape(1, 4, 1, 1)),
        False,
    ),
    "two convolutions": (
        lambda kernel, bias, x: squared(convolved(kernel, x) + convolved(2 * kernel, bias * x)),
        False,
    ),
    "groups": (lambda kernel, bias, x: squared(with_groups(kernel, x) + bias), False),
}


def squared(x):
    return x * x


@pytest.mark.parametrize("name", soaked(BIASED, 4))
def test_a_bias_is_a_part_of_its_convolution_where_their_sum_is_read_several_times(x64, monkeypatch, name):
    """Also in blocks."""
    plain, one = BIASED[name]
    rng = np.random.default_rng(0)
    kernel, bias, x = (jnp.asarray(rng.normal(size=shape)) / 4 for shape in ((3, 3, 4, 4), (1, 1, 1, 4), (3, 4, 5, 4)))
    merged = with_biases(jax.make_jaxpr(plain)(kernel, bias, x).jaxpr)
    assert [layer.primitive.name for layer, _ in merged.values()] == ["conv_general_dilated"] * one
    assert_same(rewrite(plain), plain, kernel, bias, x)
    monkeypatch.setattr(blocks, "MANY", 1)
    monkeypatch.setattr(blocks, "BLOCK", 2**11)
    assert_same(rewrite(plain), plain, kernel, bias, x)


def test_a_blocks_derivative_is_copied_before_it_is_used():
    """By one barrier backward, and by none forward, where it would be a copy more."""
    double = lambda x: blocks.in_blocks(lambda x: 2 * x, x, blocks.MANY)
    assert "optimization_barrier" not in str(jax.make_jaxpr(double)(jnp.ones((3, 2))))
    assert str(jax.make_jaxpr(lambda x: slopes(double, x))(jnp.ones((3, 2)))).count("optimization_barrier") == 1


def test_a_convolution_without_pixels_is_left_to_xla():
    plain = lambda x, w: lax.conv_general_dilated(x, w, (), (), dimension_numbers=("NC", "IO", "NC"))
    x, kernel = jnp.arange(6.0).reshape(2, 3), jnp.arange(12.0).reshape(3, 4)
    np.testing.assert_allclose(rewrite(plain)(x, kernel), x @ kernel)


def test_channels_by_themselves_are_sums_over_the_taps():
    """No product and no patches: three slices along the last axis are copied, for nine taps."""
    plain = functools.partial(lax.conv_general_dilated, window_strides=(1, 1), padding="SAME", feature_group_count=6,
                              dimension_numbers=("NHWC", "HWIO", "NHWC"))  # fmt: skip
    depthwise = rewrite(plain)
    x, kernel = jnp.ones((2, 5, 5, 6)), jnp.ones((3, 3, 1, 12))
    assert products(depthwise, x, kernel) == []
    copied = [one for one in jax.make_jaxpr(depthwise)(x, kernel).eqns if one.primitive.name == "optimization_barrier"]
    assert [one.outvars[0].aval.shape for one in copied] == 3 * [(2, 7, 5, 12)] + [(2, 5, 5, 12)]
    assert len(products(depthwise, x, jnp.ones((9, 8, 1, 6)))) == 1  # too many to write out
    unlike = x * jnp.arange(6.0)[None, None, None], kernel * jnp.arange(12.0)[None, None, None]
    np.testing.assert_allclose(depthwise(*unlike), plain(*unlike), rtol=1e-6)
    halves = depthwise(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))
    assert (halves.dtype, float(halves[0, 2, 2, 0])) == (jnp.bfloat16, 9.0)


@st.composite
def convolutions(draw):
    """Shapes and the rest of a convolution in one to three dimensions, some without a pixel that is left."""
    spatial = draw(st.integers(1, 3))
    groups, inputs, outputs = draw(st.sampled_from([(1, 3, 2), (1, 16, 3), (2, 4, 2), (3, 3, 6), (4, 4, 4)]))
    sizes = lambda low, high: st.lists(st.integers(low, high), min_size=spatial, max_size=spatial).map(tuple)
    pixels, taps = draw(sizes(1, 6)), draw(sizes(1, 3))
    around = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=spatial, max_size=spatial)
    padding = draw(st.sampled_from(["SAME", "VALID"]) | around)
    how = {"window_strides": draw(sizes(1, 3)), "padding": padding, "rhs_dilation": draw(sizes(1, 2))}
    inner = (1,) * spatial if isinstance(padding, str) else draw(sizes(1, 2))
    how |= {"lhs_dilation": inner, "feature_group_count": groups}
    letters = "DHW"[-spatial:]
    how["dimension_numbers"] = draw(st.sampled_from([(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
                                                     (f"NC{letters}", f"OI{letters}", f"NC{letters}")]))  # fmt: skip
    x, kernel = (2, *pixels, inputs), (*taps, inputs // groups, outputs)
    if how["dimension_numbers"][0].startswith("NC"):
        x, kernel = (2, inputs, *pixels), (outputs, inputs // groups, *taps)
    return x, kernel, how


@pytest.mark.soak
@settings(max_examples=25, derandomize=True, suppress_health_check=list(HealthCheck))
@given(convolutions())
def test_drawn_convolutions_are_those_of_xla(x64, drawn):
    """Values and gradients to 1e-12, and the gradient against finite differences."""
    shape, kernel, how = drawn
    rng = np.random.default_rng(0)
    x, w = jnp.asarray(rng.normal(size=shape)), jnp.asarray(rng.normal(size=kernel))
    plain = lambda x, w: lax.conv_general_dilated(x, w, **how)
    if any(size <= 0 for size in jax.eval_shape(plain, x, w).shape):
        return
    patched = rewrite(plain)
    np.testing.assert_allclose(patched(x, w), plain(x, w), rtol=1e-12, atol=1e-12)
    ours, theirs = slopes(patched, x, w), slopes(plain, x, w)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), ours, theirs)
    toward = jnp.asarray(rng.normal(size=kernel))
    along = lambda step: jnp.sin(patched(x, w + step * toward) + 0.3).sum()
    found = (along(1e-5) - along(-1e-5)) / 2e-5
    np.testing.assert_allclose((ours[1] * toward).sum(), found, rtol=1e-6, atol=1e-6)


class Residual(nnx.Module):
    """A block of a ResNet with a stride, and its pool."""

    def __init__(self, rngs):
        conv = functools.partial(nnx.Conv, use_bias=False, param_dtype=float, rngs=rngs)
        self.first, self.second = conv(3, 6, (3, 3), strides=2), conv(6, 6, (3, 3))
        self.short = conv(3, 6, (1, 1), strides=2)
        self.norms = nnx.List([nnx.BatchNorm(6, param_dtype=float, rngs=rngs) for _ in range(3)])

    def __call__(self, x):
        inner = nnx.relu(self.norms[0](self.first(x)))
        x = nnx.relu(self.norms[1](self.second(inner)) + self.norms[2](self.short(x)))
        return nnx.max_pool(x, (3, 3), (2, 2), "SAME")


class Separable(nnx.Module):
    """A depthwise convolution, and one of single pixels."""

    def __init__(self, rngs):
        self.deep = nnx.Conv(3, 3, (3, 3), feature_group_count=3, param_dtype=float, rngs=rngs)
        self.wide = nnx.Conv(3, 5, (1, 1), param_dtype=float, rngs=rngs)

    def __call__(self, x):
        return nnx.avg_pool(nnx.gelu(self.wide(self.deep(x))), (2, 2), (2, 2))


class UNet(nnx.Module):
    """Down by a pool, up by a transposed convolution, beside what was there."""

    def __init__(self, rngs):
        self.down = nnx.Conv(3, 4, (3, 3), param_dtype=float, rngs=rngs)
        self.up = nnx.ConvTranspose(4, 4, (2, 2), strides=(2, 2), param_dtype=float, rngs=rngs)
        self.out = nnx.Conv(7, 2, (3, 3), param_dtype=float, rngs=rngs)

    def __call__(self, x):
        low = nnx.max_pool(nnx.relu(self.down(x)), (2, 2), (2, 2))
        return self.out(jnp.concatenate([x, self.up(low)], -1))


@pytest.mark.parametrize("block", soaked([Residual, Separable, UNet]))
def test_known_blocks_are_those_of_flax(x64, block):
    """Outputs, gradients and the state of the batch's moments; nothing is left to XLA."""
    graph, params, rest = nnx.split(block(nnx.Rngs(0)), nnx.Param, ...)
    rest = jax.tree.map(lambda leaf: leaf.astype(float), rest)
    x = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))

    def plain(params, rest, x):
        model = nnx.merge(graph, params, rest, copy=True)
        return model(x), nnx.state(model, nnx.Not(nnx.Param))

    patched = rewrite(plain)
    program = str(jax.make_jaxpr(patched)(params, rest, x))
    assert "conv_general_dilated" not in program
    assert "reduce_window" not in program
    assert_same(patched, plain, params, rest, x)


def scanned(kernel, x):
    return lax.scan(lambda x, kernel: (jnp.tanh(convolved(kernel, x)), x.sum()), x, kernel)


def convolved(kernel, x):
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


BODIES = {
    "scan": scanned,
    "checkpoint": jax.checkpoint(lambda kernel, x: convolved(kernel[1], jnp.tanh(convolved(kernel[0], x)))),
    "cond": lambda kernel, x: lax.cond(x.sum() > 0, convolved, lambda kernel, x: 2 * x, kernel[0], x),
    "jit in a scan": jax.jit(lambda kernel, x: jax.jit(scanned)(kernel, x)[0]),
    "vmap": jax.vmap(lambda kernel, x: nnx.max_pool(convolved(kernel, x), (2, 2), (2, 2)), (0, None)),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies_of_loops_branches_and_checkpoints_are_fast_too(x64, name):
    kernel, x = (
        jax.random.normal(jax.random.key(size), (size, *shape)) for size, shape in ((3, (3, 3, 2, 2)), (4, (6, 5, 2)))
    )
    plain, patched = BODIES[name], rewrite(BODIES[name])
    assert "conv_general_dilated" in str(jax.make_jaxpr(plain)(kernel, x))
    assert "conv_general_dilated" not in str(jax.make_jaxpr(patched)(kernel, x))
    assert_same(patched, plain, kernel, x)


def test_the_body_of_a_loop_without_a_known_end_is_fast_too(x64):
    """Which has directional derivatives alone."""
    kernel, x = (jax.random.normal(jax.random.key(0), shape) for shape in ((3, 3, 2, 2), (4, 6, 5, 2)))
    plain = lambda x: lax.while_loop(lambda x: (x**2).sum() > 1, lambda x: jnp.tanh(0.05 * convolved(kernel, x)), x)
    assert "conv_general_dilated" not in str(jax.make_jaxpr(rewrite(plain))(x))
    for ours, theirs in zip(*(jax.jvp(f, (x,), (jnp.cos(x),)) for f in (rewrite(plain), plain)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
        assert not np.array_equal(theirs, x)


LAYOUTS = [
    (("NHWC", "HWIO", "NHWC"), (2, 9, 8, 4), (3, 2, 4, 6), 1),
    (("NCHW", "OIHW", "NCHW"), (2, 4, 9, 8), (6, 4, 3, 2), 1),
    (("NHWC", "HWIO", "NCHW"), (2, 9, 8, 4), (3, 2, 2, 6), 2),
    (("NHWC", "HWIO", "NHWC"), (2, 9, 8, 4), (3, 2, 1, 8), 4),
    (("NWC", "WIO", "NWC"), (2, 9, 4), (3, 4, 6), 1),
]


@pytest.mark.parametrize(("layout", "shape", "kernel", "groups"), soaked(LAYOUTS, 2))
def test_by_patches_is_the_convolution(x64, layout, shape, kernel, groups):
    """Strides, padding and both dilations, forward and backward, inside jit and beside other operations."""
    rng = np.random.default_rng(0)
    x, w = jnp.asarray(rng.normal(size=shape)), jnp.asarray(rng.normal(size=kernel))
    spatial = len(shape) - 2
    for stride, padding, inner, outer in [(1, (0, 0), 1, 1), (2, (1, 2), 1, 3), (1, (1, 2), 2, 1), (2, (0, 0), 2, 3)]:
        dilations = (inner,) * spatial, (outer,) * spatial
        how = {"dimension_numbers": layout, "feature_group_count": groups}

        def plain(x, w, stride=stride, padding=padding, dilations=dilations, how=how):
            return {
                "out": jax.nn.relu(
                    lax.conv_general_dilated(x, w, (stride,) * spatial, [padding] * spatial, *dilations, **how)
                )
            }

        if any(size <= 0 for size in jax.eval_shape(plain, x, w)["out"].shape):
            continue
        patched = rewrite(jax.jit(plain))
        assert "conv_general_dilated" not in str(jax.make_jaxpr(patched)(x, w))
        np.testing.assert_allclose(patched(x, w)["out"], plain(x, w)["out"], rtol=1e-9, atol=1e-12)
        gradients = [jax.grad(lambda *a, f=f: jnp.sin(f(*a)["out"]).sum(), (0, 1))(x, w) for f in (patched, plain)]
        for left, right in zip(*gradients, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-12)


def test_by_patches_is_for_functions_that_are_not_yet_differentiated():
    def forward(w, x):
        how = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "feature_group_count": 4}
        return lax.conv_general_dilated(x, w, (1, 1), "SAME", **how).sum()

    with pytest.raises(ValueError, match="wrap the function before it is differentiated"):
        rewrite(jax.grad(forward))(jnp.ones((3, 3, 1, 4)), jnp.ones((2, 5, 5, 4)))


def program_of_an_epoch(task, space):
    member = Tracer(task, space, space.sample(1), 2).member(0, set())
    data = abstract(task.data)
    return member.epoch.lower(member.trace(data).training, member.example, data).compile().as_text()


def test_no_convolution_and_no_scatter_in_the_population():
    """What is naive in a loop on a CPU is not there: neither conv nor select-and-scatter."""
    x = np.random.default_rng(0).normal(size=(60, 6, 6))
    task = pj.supervised((x, np.arange(60) % 3), model="cnn")
    space = pj.Space(learning_rate=0.1, hidden=pj.integers(2, 4), depth=2)
    program = program_of_an_epoch(task, space)
    assert " convolution(" not in program
    assert " select-and-scatter(" not in program


class OwnNnx(nnx.Module):
    def __init__(self, hparams, rngs):
        self.first = nnx.Conv(1, 3, (3, 3), strides=2, rngs=rngs, param_dtype=float)
        self.second = nnx.Conv(3, 3, (3, 2), feature_group_count=3, rngs=rngs, param_dtype=float)
        self.drop = Dropout(hparams["dropout"], rngs=rngs)
        self.out = nnx.Linear(3, 3, rngs=rngs, param_dtype=float)

    def __call__(self, x):
        x = nnx.relu(self.first(x))
        return self.out(self.drop(jax.nn.gelu(self.second(x)).mean((1, 2))))


class OwnLinen(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(3)(linen.relu(linen.Conv(4, (3, 3))(x)).mean((1, 2)))


@pytest.mark.soak
@pytest.mark.parametrize("model", [OwnNnx, lambda hparams, rngs: OwnLinen()], ids=["nnx", "linen"])
def test_a_users_plain_convolution_is_made_fast(x64, model):
    """It trains as it would have trained, to 1e-9, and no convolution is left."""
    x = np.random.default_rng(0).normal(size=(60, 6, 6, 1))
    data = x, np.arange(60) % 3
    space = pj.Space(learning_rate=pj.log_uniform(1e-2, 1e-1), batch_size=16)
    space = space.replace(dropout=pj.uniform(0, 0.5)) if model is OwnNnx else space
    task = pj.supervised(data, model=model)
    fast = pj.search(task, space, trials=3, epochs=3)
    assert " convolution(" not in program_of_an_epoch(task, space)
    plain = pj.supervised(data, model=model, rewrite="none")
    assert " convolution(" in program_of_an_epoch(plain, space)
    for name, values in pj.search(plain, space, trials=3, epochs=3).curves.items():
        np.testing.assert_allclose(fast.curves[name], values, rtol=1e-9)


def test_a_cnn_does_not_depend_on_its_company_and_compiles_once(nothing_compiled):
    task, space = strided_cnn.task(), strided_cnn.SPACE
    with compilations() as events:
        results = pj.search(task, space, trials=6, epochs=3)
    assert epochs_compiled(events) == 1
    with compilations() as events:
        more, alone = pj.search(task, space, trials=11, epochs=3), results.replay(4)
    assert events == []
    for name, curve in results.curves.items():
        np.testing.assert_array_equal(curve, more.curves[name][:6])
        np.testing.assert_array_equal(curve[4], alone[name])


@pytest.mark.soak
def test_a_cnn_on_four_devices_is_a_cnn_on_one():
    told = {}
    for devices in (1, 4):
        command = [sys.executable, strided_cnn.__file__, str(devices)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        count, told[devices] = json.loads(done.stdout)
        assert count == devices
    assert told[1] == told[4]
