"""Rewriting: what it is for each platform, what it leaves as it is written, and that a run is of one kind."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from derivatives import assert_same
from flax import nnx
from jax import lax

import popjax as pj
from popjax.engine.identity import code, other_code
from popjax.engine.traced_task import Config, TracedTask
from popjax.rewriting.rewrite import rewrite
from popjax.rewriting.target import made_for

BATCH = 16


class Net(nnx.Module):
    """As users write them."""

    def __init__(self, hparams, rngs):
        how = {"rngs": rngs, "param_dtype": float}
        self.first, self.second = nnx.Conv(1, 16, (3, 3), **how), nnx.Conv(16, 16, (3, 3), **how)
        self.out = nnx.Linear(16, 3, **how)

    def __call__(self, x):
        x = nnx.max_pool(nnx.relu(self.first(x)), (2, 2), (2, 2))
        return self.out(nnx.relu(self.second(x)).mean((1, 2)))


def rows():
    """Of three classes; no rows test."""
    x = np.random.default_rng(0).normal(size=(60, 8, 8, 1))
    return x, np.arange(60) % 3


def network(kernel, bias, x):
    """A convolution whose sum with its bias is read several times, a pool, and a product."""
    x = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias
    x = nnx.max_pool(nnx.relu(x * x), (2, 2), (2, 2))
    return x.reshape(len(x), -1) @ jnp.ones((x[0].size, 3))


def operations(function, *arguments):
    """A function and its derivative as text."""
    return str(jax.make_jaxpr(lambda *given: jax.vjp(function, *given)[1](jnp.ones((2, 3))))(*arguments))


@pytest.fixture
def arrays():
    """A kernel, a bias, images."""
    shapes = ((3, 3, 2, 16), (1, 1, 1, 16), (2, 6, 6, 2))
    return [jax.random.normal(jax.random.key(n), shape) for n, shape in enumerate(shapes)]


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_it_is_the_same_function_on_each_platform(x64, arrays, platform):
    with made_for(platform):
        assert_same(rewrite(network), network, *(array.astype(float) for array in arrays))


def test_an_accelerator_gets_patches_and_slices_and_all_else_as_it_is_written(arrays):
    """No barriers, which keep XLA from fusing, no tiles, no pool that computes anew what it picks."""
    with made_for("cuda"):
        found = operations(rewrite(network), *arrays)
    for name in ("conv_general_dilated", "reduce_window", "select_and_scatter", "optimization_barrier"):
        assert name not in found
    with made_for("cpu"):
        assert "optimization_barrier" in operations(rewrite(network), *arrays)


def test_a_task_is_not_said_to_be_another_since_it_is_rewritten_for_another_platform():
    """So a run is taken up on another machine; on the same platform other code is told."""
    space, config = pj.Space(learning_rate=0.1, batch_size=BATCH), Config(2, 0, pj.Rule("val_loss"))
    traced = lambda **how: TracedTask(pj.supervised(rows(), model=Net, **how), space, config)
    here = code(traced())
    with made_for("cuda"):
        assert code(traced())["digest"] != here["digest"]
        assert not other_code({"code": here}, traced())
    assert not other_code({"code": here}, traced())
    assert other_code({"code": here}, traced(optimizer="adam"))


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_what_is_no_real_number_and_what_has_no_output_go_on(platform):
    """Relu of integers and of a number in the program, a function without a derivative, and a print."""

    @jax.custom_jvp
    def stubborn(x):
        return jnp.maximum(x, 0)

    @stubborn.defjvp
    def _refused(primals, tangents):
        raise TypeError("it has no derivative")

    def body(total, row):
        jax.debug.print("row {}", row[0, 0])
        return total + row.sum(), row

    def plain(x):
        jax.debug.print("sum {}", x.sum())
        total, rows = lax.scan(body, 0, x)
        x = nnx.relu(rows - 2) + nnx.relu(0.5) + stubborn(total)
        return nnx.max_pool(x.astype(float), (2, 2), (2, 2))

    x = jnp.arange(32).reshape(1, 4, 8, 1)
    with made_for(platform):
        np.testing.assert_array_equal(rewrite(plain)(x), plain(x))


def straight_through(x):
    """Relu, with the derivative 1."""

    @jax.custom_jvp
    @jax.jit
    def relu(x):
        return jnp.maximum(x, 0)

    @relu.defjvp
    def _relu(primals, tangents):
        return relu(*primals), tangents[0]

    return relu(x)


def test_a_straight_through_relu_before_a_pool_keeps_its_derivative(x64):
    """Its operations are those of relu."""
    x = jax.random.normal(jax.random.key(0), (2, 4, 6, 16)) - 1
    pool = lambda relu: lambda x: nnx.max_pool(relu(x), (2, 2), (2, 2))
    assert_same(rewrite(pool(straight_through)), pool(straight_through), x)
    differ = [jax.grad(lambda x, f=f: rewrite(pool(f))(x).sum())(x) for f in (straight_through, nnx.relu)]
    assert (differ[0] != differ[1]).any()


def in_a_loop(session, epochs, optimizer):
    """The parameters and the validation loss of Net, trained from the session's beginning by flax and optax alone."""
    data, state = session.task.data, session.state
    x, y = map(jnp.asarray, (data.rows.x, data.rows.y))
    train, validation = data.folds.train[0], data.folds.validation[0]
    module = Net({}, nnx.Rngs(0))
    nnx.update(module, jax.tree.map(jnp.asarray, state.params))
    graph, params = nnx.split(module)
    loss = lambda params, rows: optax.softmax_cross_entropy_with_integer_labels(
        nnx.merge(graph, params)(x[rows]), y[rows]
    )
    step, key = optimizer.init(params), jax.random.wrap_key_data(jnp.asarray(state.key))
    for epoch in range(epochs):
        order = train[jax.random.permutation(jax.random.split(jax.random.fold_in(key, epoch))[0], len(train))]
        for batch in range(len(train) // BATCH):
            rows = order[batch * BATCH : (batch + 1) * BATCH]
            slope = jax.grad(lambda params, rows=rows: loss(params, rows).mean())(params)
            updates, step = optimizer.update(slope, step)
            params = optax.apply_updates(params, updates)
    return nnx.to_pure_dict(params), loss(params, validation).mean()


def trained(session, epochs):
    """The same of the session's own training."""
    session.train(epochs)
    return session.state.params, session.curves["val_loss"][-1]


def begun(rewriting, **how):
    """A session before its first epoch, and the optimizer that it has."""
    task = pj.supervised(rows(), model=Net, transform="none", rewrite=rewriting, **how)
    return pj.Session(task, {"learning_rate": 0.05, "momentum": 0.9, "batch_size": BATCH}), optax.sgd(0.05, 0.9)


@pytest.mark.parametrize("rewriting", ["none", "fast"])
def test_a_custom_model_trains_as_in_a_plain_loop_of_flax_and_optax(x64, rewriting):
    """In float64 to 1e-9."""
    session, optimizer = begun(rewriting)
    expected = in_a_loop(session, 3, optimizer)
    close = lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    jax.tree.map(close, trained(session, 3), expected)


def test_an_update_in_float32_is_that_of_flax_and_optax():
    """To 1e-6, of a model that is trained as it is written."""
    session, optimizer = begun("none", validation=np.arange(60) >= BATCH, test=0)
    assert len(session.task.data.folds.train[0]) == BATCH
    expected = in_a_loop(session, 1, optimizer)
    close = lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    jax.tree.map(close, trained(session, 1), expected)


def test_a_run_is_of_one_kind(tmp_path, command):
    """It is recorded, and resuming under the other is one line."""
    options = ("--model", "cnn", "--trials", "4", "--epochs", "1", "--out", "run", "--quiet")
    assert command("sweep", *options, "--rewrite", "none").returncode == 0
    again = command("sweep", *options, "--resume")
    assert again.returncode == 2
    assert "rewrite was none, now fast" in again.stderr
    assert len(again.stderr.splitlines()) == 1
    assert pj.load_best(tmp_path / "run").recipe.rewrite == "none"


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (2, 2, 8, 3), (2, 2, 2, 3)])
def test_a_result_without_numbers_has_the_shape_of_xlas(shape):
    def layer(x, kernel, bias):
        x = lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias
        return nnx.relu(x) + x, nnx.max_pool(x, (2, 2), (1, 1))

    given = (jnp.ones(shape), jnp.ones((3, 3, 3, 4)), jnp.ones((1, 1, 1, 4)))
    shapes = [[one.shape for one in function(*given)] for function in (layer, pj.rewrite(layer))]
    assert shapes[0] == shapes[1]
