"""A predictor without popjax: as an ONNX model it predicts in onnxruntime, as a program of JAX in JAX alone."""

import dataclasses
import json

import equinox
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from conftest import soaked
from flax import nnx
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import popjax as pj
from popjax.exporting.onnx_model import onnx_model
from popjax.exporting.operations import OPERATIONS
from popjax.exporting.rows import traced

CLOSE = 1e-5  # of the targets' deviation, or in a probability
RATES = {"learning_rate": pj.log_uniform(0.01, 0.1)}
RNG = np.random.default_rng(3)
IMAGES, DIGITS = RNG.normal(size=(60, 8, 8, 2)), RNG.integers(0, 3, 60)
LEVELS = [f"level {at}" for at in range(12)]


def table(rows=90):
    """Numbers with a large mean, texts of few and of many levels, and missing cells."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"wide": rng.normal(size=rows) * 1e3 + 1e7, "holes": rng.normal(size=rows)})
    frame["few"] = rng.choice(["red", "green", "blue"], rows)
    frame["many"] = rng.choice(LEVELS, rows)
    frame["target"] = frame.wide / 1e3 + 3 * (frame.few == "red") + frame.holes
    frame.loc[::7, "holes"] = np.nan
    frame.loc[::11, "few"] = None
    return frame


class Images(nnx.Module):
    def __init__(self, hparams, rngs):
        self.first = nnx.Conv(2, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.apart = nnx.Conv(4, 4, (3, 3), strides=2, feature_group_count=4, rngs=rngs)
        self.out = nnx.Linear(16, 3, rngs=rngs)

    def __call__(self, x):
        x = nnx.max_pool(nnx.gelu(self.norm(self.first(x))), (2, 2), (2, 2))
        x = nnx.avg_pool(x, (2, 2), (1, 1), "SAME")
        return self.out(nnx.silu(self.apart(x)).reshape(x.shape[0], -1))


class Recurrent(nnx.Module):
    def __init__(self, hparams, rngs):
        self.cells, self.out = nnx.RNN(nnx.GRUCell(16, 8, rngs=rngs)), nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x):
        return self.out(self.cells(x.reshape(*x.shape[:2], 16))[:, -1])


class Attention(nnx.Module):
    def __init__(self, hparams, rngs):
        self.inputs, self.norm = nnx.Linear(16, 8, rngs=rngs), nnx.LayerNorm(8, rngs=rngs)
        self.heads = nnx.MultiHeadAttention(num_heads=2, in_features=8, decode=False, rngs=rngs)
        self.out = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x):
        x = self.inputs(x.reshape(*x.shape[:2], 16))
        return self.out((x + self.heads(self.norm(x))).mean(1))


class Tokens(nnx.Module):
    def __init__(self, hparams, rngs):
        self.words, self.out = nnx.Embed(9, 4, rngs=rngs), nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        return self.out(self.words(x).mean(1))


class Both(nnx.Module):
    def __init__(self, hparams, rngs):
        self.out = nnx.Linear(128 + 5, 3, rngs=rngs)

    def __call__(self, x):
        return self.out(jnp.concatenate([x["image"].reshape(x["image"].shape[0], -1), x["table"]], 1))


class Linen(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(3)(linen.BatchNorm(use_running_average=True)(linen.tanh(linen.Dense(8)(x))))


def equinox_mlp(hparams, key):
    return equinox.nn.MLP(5, 3, 8, 2, key=key)


def classes(x, **options):
    return pj.supervised((x, DIGITS), **options)


def problems():
    """Name -> (problem, further arguments of the search, raw rows)."""
    frame, plain = table(), RNG.normal(size=(60, 5))
    new = pd.concat([frame, frame.iloc[:2].assign(few="never seen", many="nor this", holes=np.nan)])
    words = RNG.integers(0, 9, (60, 6)).astype(np.int32)
    mixed = {"image": IMAGES, "table": plain}
    two = plain[:, :2] @ [[1.0, 100.0], [2.0, -50.0]]
    robust = {"target": "target", "transform": "robust", "missing": "median"}
    several = {"folds": 3, "rank": pj.together(3), "trials": 5}
    return {
        "mlp": (classes(plain), {"space": None, "trials": 4}, plain),
        "several values": (pj.supervised((plain, two)), {}, plain),
        "several labels": (pj.supervised((plain, two > 0)), {}, plain),
        "tabular": (pj.supervised(frame, target="target", model="tabular"), {"space": None, "folds": 2}, new),
        "an ensemble": (pj.supervised(frame, target="target", model="tabular"), {"space": None, **several}, new),
        "texts one-hot": (pj.supervised(frame, **robust), {}, new),
        "the built-in CNN": (classes(IMAGES, model="cnn"), {"space": None}, IMAGES),
        "a CNN": (classes(IMAGES, model=Images), {}, IMAGES),
        "a recurrent net": (classes(IMAGES, model=Recurrent), {}, IMAGES),
        "attention": (classes(IMAGES, model=Attention), {}, IMAGES),
        "tokens": (classes(words, model=Tokens, transform="none"), {}, words),
        "linen": (classes(plain, model=lambda hparams, rngs: Linen()), {}, plain),
        "equinox": (classes(plain, model=equinox_mlp), {}, plain),
        "a dict": (classes(mixed, model=Both), {}, mixed),
    }


NAMES = [*problems()]


@pytest.fixture(scope="module")
def predictors():
    """Name -> (predictor, raw rows), trained when it is first asked for."""
    found = {}

    def get(name):
        if name not in found:
            problem, options, rows = problems()[name]
            space = options.pop("space", RATES)
            results = pj.search(problem, space, **{"trials": 2, "epochs": 3, **options})
            found[name] = results.predictor(), rows
        return found[name]

    return get


def first(rows, count):
    """The first rows of an array, of each array of a dict, or of a table."""
    return {name: x[:count] for name, x in rows.items()} if isinstance(rows, dict) else rows[:count]


@pytest.mark.parametrize("name", soaked(NAMES, 3))
def test_an_onnx_model_predicts_as_the_predictor_does(predictors, name):
    """For other numbers of rows than those that it was traced with, texts that no row had, and missing cells."""
    predictor, rows = predictors(name)
    session = onnxruntime.InferenceSession(predictor.export("onnx"))
    unit = np.std(predictor.mean_of(predictor.recipe.encoded(rows))) if predictor.recipe.kind.scaled else 1
    for count in (1, 23, 10**6):
        encoded = predictor.recipe.encoded(first(rows, count))
        given = encoded if isinstance(encoded, dict) else {"rows": encoded}
        (found,) = session.run(["predictions"], given)
        np.testing.assert_allclose(found, predictor.mean_of(encoded), rtol=0, atol=CLOSE * unit)


@pytest.mark.parametrize("name", NAMES)
def test_a_program_of_jax_predicts_as_the_predictor_does(predictors, name):
    """In this process's floats: of a column with a large mean they hold three digits less."""
    predictor, rows = predictors(name)
    program = jax.export.deserialize(predictor.export())
    assert {"cpu", "cuda", "tpu"} == set(program.platforms)
    unit = np.std(predictor.mean_of(predictor.recipe.encoded(rows))) if predictor.recipe.kind.scaled else 1
    close = 1e-2 if "wide" in predictor.recipe.columns else CLOSE
    for count in (1, 23, 10**6):
        encoded = predictor.recipe.encoded(first(rows, count))
        given = jax.tree.map(lambda x: x.astype(jax.dtypes.canonicalize_dtype(x.dtype)), encoded)
        np.testing.assert_allclose(program.call(given), predictor.mean_of(encoded), rtol=0, atol=close * unit)


def test_a_member_knows_its_fold_in_what_is_exported(predictors):
    """Folds transform rows differently: with each other's transforms the mean is another."""
    predictor, rows = predictors("tabular")
    encoded = predictor.recipe.encoded(rows)
    exchanged = dataclasses.replace(predictor.recipe, transforms=predictor.recipe.transforms[::-1])
    other = dataclasses.replace(predictor, recipe=exchanged)
    assert np.abs(other.mean_of(encoded) - predictor.mean_of(encoded)).max() > 0.1
    session = onnxruntime.InferenceSession(other.export("onnx"))
    np.testing.assert_allclose(session.run(None, {"rows": encoded})[0], other.mean_of(encoded), atol=CLOSE)


def test_a_missing_cell_becomes_the_median_in_what_is_exported(predictors):
    predictor, rows = predictors("texts one-hot")
    encoded = predictor.recipe.encoded(rows)
    coded = np.where(rows[["wide", "holes", "few", "many"]].isna(), np.nan, encoded)
    assert np.isnan(coded).any(0).tolist() == [False, True, True, False]
    session = onnxruntime.InferenceSession(predictor.export("onnx"))
    np.testing.assert_array_equal(*(session.run(None, {"rows": x})[0] for x in (coded, encoded)))


FUNCTIONS = [
    lambda x: jnp.abs(x) + jnp.sign(x) - jnp.square(x) * -x,
    lambda x: jnp.arcsin(x / 9) + jnp.arccos(x / 9) + jnp.arctan(x) + jnp.arctanh(x / 9) + jnp.arcsinh(x),
    lambda x: jnp.arccosh(jnp.abs(x) + 2) + jnp.sin(x) + jnp.cos(x) + jnp.tan(x / 9) + jnp.sinh(x) + jnp.cosh(x),
    lambda x: jnp.floor(x) + jnp.ceil(x) + jnp.round(x) + jnp.exp2(x) + jnp.expm1(x) + jnp.log1p(jnp.exp(x)),
    lambda x: jnp.sqrt(jnp.abs(x)) + lax.rsqrt(x * x + 1) + jnp.log(x * x + 1) + jax.nn.sigmoid(x) + jnp.tanh(x),
    lambda x: lax.erf(x) + lax.erfc(x) + lax.integer_pow(x, 3) + lax.pow(jnp.abs(x), x) + jnp.clip(x, -0.5, 0.5),
    lambda x: jnp.where(
        (x > 0) & (x < 1) | ~(x != x[0, 0]) ^ (x <= 0) | (x >= 2), x, jnp.maximum(-x, jnp.minimum(x, 1))
    ),
    lambda x: jnp.where(jnp.isfinite(jnp.where(x == x[0, 1], jnp.nan, 1 / jnp.floor(x))), x, 7.0),
    lambda x: jnp.argmax(x, 1) * 10 + jnp.argmin(x, 1) + jnp.cumsum(x, 1)[:, 2] + jnp.cumsum(x, 1)[:, ::-1][:, 0],
    lambda x: x.max(1) + x.min(1) + x.sum(1) + x.prod(1) + (x > 0).any(1) + (x > -1).all(1),
    lambda x: jnp.concatenate([x.T, x.T], 0).T[:, 1::2] + jnp.pad(x, ((0, 0), (1, 2)), constant_values=3)[:, 3:],
    lambda x: jnp.stack([a + b for a, b in zip(jnp.split(x, 2, 1), jnp.split(x, [2], 1), strict=True)], 2).sum(2),
    lambda x: sum(column * at for at, column in enumerate(x.T)) + jnp.arange(x.shape[0]) * 0.5,
    lambda x: lax.rev(x, (1,)) + jnp.eye(4)[jnp.argmax(x, 1)] + jnp.arange(8.0)[jnp.argmax(x, 1) * 5][:, None],
    lambda x: jnp.take(x, jnp.argmax(x, 1) * 2 - 1, 1) + jnp.take(jnp.arange(4) > 1, jnp.argmax(x, 1) * 2)[:, None],
    lambda x: jnp.arange(12.0).reshape(4, 3)[:, jnp.argmax(x, 1) % 4 - 1].T.sum(1) + x[:, 0],
    lambda x: jnp.einsum("ri,rj,ik->rjk", x, x, jnp.eye(4)[:, :2]).sum((1, 2)) + (x @ jnp.ones((4, 2)))[:, 1],
    lambda x: lax.scan(lambda carry, one: (carry * 0.5 + one, carry), x[:, 0], x.T, reverse=True)[1].T,
    lambda x: lax.fori_loop(0, 3, lambda at, x: x + x[:, at][:, None], x) - x.mean(0, keepdims=True),
    lambda x: lax.cond(True, jnp.sin, jnp.cos, x) + lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x),
    lambda x: lax.switch(jnp.argmax(x[0]), [jnp.sin, jnp.cos, jnp.tanh, lambda x: x * 2], x) > 0.3,
    lambda x: lax.conv_general_dilated(x[:, None], jnp.ones((2, 1, 2)), (1,), [(1, 0)], rhs_dilation=(2,))[:, 0],
    lambda x: lax.reduce_window(x[:, :, None], -jnp.inf, lax.max, (1, 2, 1), (1, 2, 1), "VALID")[:, :, 0],
    lambda x: (
        lax.optimization_barrier(lax.stop_gradient(checkpoint_name(x, "named")))
        + jnp.array(x, copy=True)
        + lax.expand_dims(x[:, 0], (1,))
    ),
    lambda x: (jnp.floor(x).astype(int) & 3 | 4 ^ ~jnp.floor(x).astype(int)) + jnp.where(x > 0, x > 1, x < -1),
    lambda x: jnp.pad(x, ((0, 0), (1, 1)), mode="edge") * 2,
    lambda x: jnp.where(lax.max(x > 0, x < -1) & lax.min(x > -2, x < 1), x, 0),
    lambda x: lax.slice_in_dim(jnp.concatenate([x, x[:1]]), 1, x.shape[0] + 1) + lax.squeeze(x[:, :1], (1,))[:, None],
]


def values_at(rows):
    """Numbers (rows, 4), the same first ones for any number of rows."""
    return np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32) * 2


@pytest.mark.parametrize("at", range(len(FUNCTIONS)))
def test_operations_compute_what_jax_computes(at):
    function = FUNCTIONS[at]
    session = onnxruntime.InferenceSession(onnx_model(function, {"x": ((4,), np.float32)}, "y"))
    for rows in (2, 11):
        x = values_at(rows)
        found, wanted = session.run(None, {"x": x})[0], np.asarray(function(jnp.asarray(x)))
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def primitives(program):
    """The names of a program's operations, also in its inner programs."""
    found = set()
    for equation in program.equations:
        inner = [one for one in jax.tree.leaves(equation.params, is_leaf=is_function) if is_function(one)]
        found |= {equation.primitive.name}.union(*map(primitives, inner))
    return found


def is_function(value):
    return hasattr(value, "equations")


def test_every_operation_is_computed_by_one_of_these():
    arguments = lambda rows: [jax.ShapeDtypeStruct((rows, 4), np.float32)]
    covered = set().union(*(primitives(traced(function, arguments)) for function in FUNCTIONS))
    assert OPERATIONS.keys() <= covered


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda x: jnp.sort(x, 1), "'sort'"),
        (lambda x: lax.while_loop(lambda x: x.sum() < 9, lambda x: x + 1, x), "'while'"),
        (lambda x: lax.scan(lambda carry, row: (carry + row.sum(), row), 0.0, x)[1], "loop over its rows"),
        (
            lambda x: x * np.arange(4.0 * x.shape[0]).reshape(-1, 4),
            "constant that is another for other numbers of rows",
        ),
        (lambda x: x * 2 if x.shape[0] > 5 else x + 1, "operations are others"),
        (lambda x: x[: x.shape[0] // 2], "let it grow evenly"),
        (lambda x: lax.dynamic_slice_in_dim(x, jnp.argmax(x[0]), 2, 1), "at a place that it computes"),
        (lambda x: x[jnp.argmax(x, 1), jnp.argmax(x, 1)], "computed places of several axes"),
        (lambda x: lax.pad(x, 0.0, [(0, 0, 0), (0, 0, 1)]), "pads between numbers"),
        (lambda x: lax.round(x), "halves away from zero"),
    ],
)
def test_what_cannot_be_written_says_why(function, says):
    with pytest.raises(ValueError, match="this cannot be written as ONNX") as caught:
        onnx_model(function, {"x": ((4,), np.float32)}, "y")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@dataclasses.dataclass(frozen=True, eq=False)
class Logs(pj.Transform):
    def fit(self, x, columns):
        return self

    def __call__(self, x):
        return np.log1p(np.abs(x))


@dataclasses.dataclass(frozen=True, eq=False)
class EitherLogs(Logs):
    def __call__(self, x):
        return x.__array_namespace__().log1p(abs(x))


@pytest.mark.parametrize("to", ["jax", "onnx"])
def test_a_transform_of_ones_own_is_exported_if_jax_can_compute_it(rows, to):
    found = {
        kind: pj.search(pj.supervised(rows, transform=kind()), RATES, trials=1, epochs=1) for kind in (Logs, EitherLogs)
    }
    assert found[EitherLogs].predictor().export(to)
    with pytest.raises(ValueError, match="the transform Logs computes with NumPy alone"):
        found[Logs].predictor().export(to)


def test_the_transform_that_cannot_be_exported_is_named_alone():
    """Not those beside it, of missing cells and of the codes of texts."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=80), "city": rng.choice(["a", "b"], 80), "y": rng.integers(0, 2, 80)})
    task = pj.supervised(frame, "tabular", "adamw", target="y", transform="quantile")
    predictor = pj.search(task, {"learning_rate": 0.01, "depth": 1}, trials=1, epochs=1).predictor()
    with pytest.raises(ValueError, match=": the transform Quantile computes with NumPy alone"):
        predictor.export("onnx")


def test_a_model_that_needs_the_number_of_rows_is_no_program_of_jax(rows):
    class Counting(nnx.Module):
        def __init__(self, hparams, rngs):
            self.out = nnx.Linear(5, 3, rngs=rngs)

        def __call__(self, x):
            return self.out(x.reshape(len(x), -1))

    predictor = pj.search(pj.supervised(rows, model=Counting), RATES, trials=1, epochs=1).predictor()
    assert predictor.export("onnx")
    with pytest.raises(ValueError, match=r"write x\.shape\[0\] for len\(x\)"):
        predictor.export()
    with pytest.raises(ValueError, match="unknown format 'pmml'"):
        predictor.export("pmml")


def test_the_command_writes_the_model_and_the_coding_of_its_rows(command, refused_in_one_line, tmp_path):
    """A newcomer to the file codes texts by what stands beside it, and gets what `popjax predict` says."""
    frame = table()
    frame.to_csv(tmp_path / "rows.csv", index=False)
    given = ("--dataset", "rows.csv", "--target", "target", "--model", "tabular", "--trials", "3", "--epochs", "2")
    assert command("sweep", *given, "--choose", "ensemble", "--out", "run").returncode == 0
    done = command("export", "run", "--to", "onnx", "--out", "houses.onnx")
    assert (done.returncode, done.stdout) == (0, "houses.onnx\nhouses.onnx.json\n"), done.stderr
    coding = json.loads((tmp_path / "houses.onnx.json").read_text())
    assert coding == json.loads({p.key: p.value for p in onnx.load(tmp_path / "houses.onnx").metadata_props}["popjax"])
    codes = {name: {text: at for at, text in enumerate(texts)} for name, texts in coding["levels"].items()}
    columns = [
        [
            codes[name].get(value, coding["unknown"]) if name in codes else float(value)
            for value in frame[name].fillna("")
        ]
        if name in codes
        else frame[name]
        for name in coding["columns"]
    ]
    session = onnxruntime.InferenceSession(tmp_path / "houses.onnx")
    found = session.run(None, {"rows": np.array(columns, float).T})[0]
    predicted = command("predict", "run", "rows.csv", "--out", "told.csv")
    assert predicted.returncode == 0, predicted.stderr
    np.testing.assert_allclose(found, pd.read_csv(tmp_path / "told.csv").prediction, atol=CLOSE * frame.target.std())
    refused_in_one_line("export", "run", "--to", "onnx", "--out", "nowhere/a.onnx", says=["nowhere/a.onnx"])
    refused_in_one_line("export", "nothing", "--to", "onnx", says=["nothing"])
