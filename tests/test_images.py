"""Images: the built-in CNN is the network of its exact shape, and its training images are moved as NumPy moves them."""

import base64
import json
import struct
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import stopping
from conftest import soaked
from flax import nnx
from jax import lax

import popjax as pj
from popjax.core.trees import abstract
from popjax.data.dataset import built_in, images
from popjax.engine.member import SEED
from popjax.engine.tracer import Tracer
from popjax.pages.page import write_report
from popjax.study.effort import effort_of
from popjax.supervision.augmenting import augmented
from popjax.task import HParams

EPOCHS = 4
SIZE = (10, 9, 2)  # two stages by stages=2: 10 x 9, 5 x 4, 2 x 2


def population(task, results):
    """Of each trial its hyperparameters and its initial state."""
    checker = Tracer(task, results.space, results.points, EPOCHS)
    static = checker.static_names(set())
    for trial in range(len(results.status)):
        hparams = results.hparams(trial)
        member = checker.member(trial, static)
        example = jax.tree.map(lambda aval: jnp.zeros(aval.shape, aval.dtype), member.example)
        values = {name: jnp.asarray(hparams[name], member.dtype(name)) for name in member.dynamic}
        example = example._replace(trial=jnp.int32(trial), values=values)
        yield (
            trial,
            hparams,
            member.init(jnp.asarray(0, SEED.dtype), example, jax.tree.map(jnp.asarray, task.data)).state,
        )


def exact(state, hparams, stages):
    """The arrays of the network of the exact shape within those of a padded member."""
    widths, room = [min(2**stage, 4) * hparams["hidden"] for stage in range(stages)], []
    for at in range(stages * hparams["depth"]):
        stage, i = at % stages, at // stages
        known = state.params["stages"][stage][i]
        layer, norm = known["dense"], known.get("norm", {})
        inputs = widths[stage] if at >= stages else [SIZE[2], *widths][stage]
        units = layer["bias"].shape[0]
        kernel = layer["kernel"].reshape(3, 3, -1, units)
        assert not np.asarray(kernel[:, :, inputs:]).any()
        assert not np.asarray(kernel[..., widths[stage] :]).any()
        room.append((kernel[:, :, :inputs, : widths[stage]], *(
            known[: widths[stage]] for known in (layer["bias"], *(norm[name] for name in ("scale", "bias") if norm))
        )))  # fmt: skip
    padded = state.params["stages"][stages - 1][0]["dense"]["bias"].shape[0]
    out = state.params["out"]["kernel"].reshape(-1, padded, 3)[:, : widths[-1]]
    return [*room, (out.reshape(-1, 3), state.params["out"]["bias"])]


def forward(params, x, hparams, stages, norm, known=None):
    """The logits, and the mean and variance of each norm; these are `known` in evaluation with batch statistics."""
    *layers, (w, b) = params
    moments = []

    def normalized(x, scale, shift):
        axes = (0, 1, 2) if norm == "batch" else (1, 2, 3)
        mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        moments.append((mean, variance))
        if known is not None:
            mean, variance = known[len(moments) - 1]
        return (x - mean) / jnp.sqrt(variance + 1e-5) * scale[None, None, None] + shift[None, None, None]

    def convolved(x, kernel):
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    for stage in range(stages):
        for i in range(hparams["depth"]):
            kernel, bias, *norms = layers[i * stages + stage]
            new = convolved(x, kernel)
            new = nnx.max_pool(new, (2, 2), (2, 2)) if i == 0 else new
            new = new + bias[None, None, None]
            new = jnp.tanh(normalized(new, *norms) if norms else new)
            x = new if i == 0 else x + new
    return x.reshape(len(x), -1) @ w + b[None], moments


def oracle(params, key, data, hparams, stages, norm):
    """One network of exact shape in a plain loop of jax's own convolutions; its train_loss by epoch, and val_loss."""
    (x, y), (vx, vy) = data

    def loss(params, x, y, known=None):
        logits, moments = forward(params, x, hparams, stages, norm, known)
        return optax.softmax_cross_entropy(logits, jax.nn.one_hot(y, 3)).mean(), moments

    step, evaluate = jax.jit(jax.value_and_grad(loss, has_aux=True)), jax.jit(loss)
    running = None
    if norm == "batch":
        moments = loss(params, x[:1], y[:1])[1]
        running = [(jnp.zeros_like(mean), jnp.ones_like(variance)) for mean, variance in moments]
    velocity = jax.tree.map(jnp.zeros_like, params)
    size, curves = hparams["batch_size"], ([], [])
    for epoch in range(EPOCHS):
        order = jax.random.permutation(jax.random.split(jax.random.fold_in(key, epoch))[0], len(x))
        rate, losses = hparams["learning_rate"] / (1 + hparams["decay"] * epoch), []
        for at in range(len(x) // size):
            batch = order[at * size : (at + 1) * size]
            (value, moments), g = step(params, x[batch], y[batch])
            if norm == "batch":
                running = jax.tree.map(lambda then, now: 0.9 * then + 0.1 * now, running, moments)
            velocity = jax.tree.map(lambda v, g: hparams["momentum"] * v + g, velocity, g)
            params = jax.tree.map(lambda p, v, rate=rate: p - rate * v, params, velocity)
            losses.append(float(value))
        curves[0].append(np.mean(losses))
        curves[1].append(float(evaluate(params, vx, vy, running)[0]))
    return curves


def problem(**options):
    rng = np.random.default_rng(3)
    y = np.arange(90) % 3
    x = rng.normal(size=(90, *SIZE)) + y[:, None, None, None] * rng.normal(size=(1, *SIZE))
    return pj.supervised((x, y), model="cnn", optimizer="sgd", schedule="inverse", **options)


@pytest.mark.soak
@pytest.mark.parametrize("lanes", soaked([1, 4]))
@pytest.mark.parametrize("norm", ["none", "batch", "group"])
def test_a_mixed_population_of_cnns_equals_a_loop(x64, lanes, norm):
    """Channels, depth and batch size differ within one program; each member is the CNN of its exact shape.

    With statistics of a batch, depth and batch size are alike within a program, and padded channels change nothing.
    """
    task = problem()
    space = pj.Space(
        learning_rate=pj.log_uniform(1e-2, 0.1),
        momentum=pj.uniform(0.5, 0.9),
        decay=pj.uniform(0, 0.2),
        hidden=pj.integers(2, 4),
        depth=2 if norm == "batch" else pj.integers(1, 3),
        batch_size=16 if norm == "batch" else pj.choice(8, 16),
        activation="tanh",
        norm=norm,
        stages=2,
    )
    results = pj.search(task, space, trials=6, epochs=EPOCHS, backend=pj.Local(lanes=lanes))
    assert results.summary["buckets"] == 1
    assert len(set(results.points["hidden"])) > 1
    folds, rows = task.data.folds, task.data.rows
    data = [(rows.x[part[0]], rows.y[part[0]]) for part in (folds.train, folds.validation)]
    for trial, hparams, state in population(task, results):
        train, validation = oracle(exact(state, hparams, 2), state.key, data, hparams, 2, norm)
        np.testing.assert_allclose(results.curves["train_loss"][trial], train, rtol=1e-9)
        np.testing.assert_allclose(results.curves["val_loss"][trial], validation, rtol=1e-9)


@pytest.mark.soak
@pytest.mark.parametrize("norm", ["none", "batch", "group"])
def test_a_padded_cnn_starts_as_the_exact_one(x64, norm):
    """From one seed the exact shape has the curve of the masked one, on validation rows too, and as many parameters.

    With dropout too: the same units are dropped.
    """
    task = problem()
    depth = {} if norm == "batch" else {"depth": pj.integers(1, 3)}
    space = pj.Space(learning_rate=0.1, hidden=pj.integers(2, 5), norm=norm, stages=2, dropout=0.3, **depth)
    masked = pj.search(task, space, trials=3, epochs=3)
    for trial in range(3):
        exact = pj.Session(task, masked.hparams(trial), numbers=[trial])
        exact.train(3)
        np.testing.assert_allclose(exact.curves["val_loss"], masked.curves["val_loss"][trial], rtol=1e-9)
        sizes = sum(leaf.size for leaf in jax.tree.leaves(exact.state.params))
        assert task.hints.parameters(masked.hparams(trial)) == sizes


def test_what_batch_statistics_need_is_static():
    """Trials of several depths and batch sizes train in programs of their own."""
    space = pj.Space(learning_rate=0.01, depth=pj.integers(1, 2), batch_size=pj.choice(16, 32), norm="batch", stages=1)
    results = pj.search(problem(), space, trials=8, epochs=1)
    pairs = set(zip(results.points["depth"].tolist(), results.points["batch_size"].tolist(), strict=True))
    assert results.summary["buckets"] == len(pairs) > 2


@pytest.mark.parametrize(
    ("size", "text"),
    [
        ({"stages": 4}, "stages=4: images of 10 x 9 pixels have 1 to 3"),
        ({"stages": 0}, "stages=0: "),
        ({"norm": "layer"}, "unknown norm 'layer'"),
        ({"augment_shift": 2.0}, "augment_shift=2.0"),
        ({"augment_noise": -1.0}, "augment_noise=-1.0"),
    ],
)
def test_what_images_do_not_allow_is_a_line(size, text):
    with pytest.raises(ValueError, match=text.replace("(", r"\(")) as raised:
        pj.search(problem(), pj.Space(learning_rate=0.1, **size), trials=1, epochs=1)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("shape", [(2, 2), (3, 40, 2), (64, 2, 4)])
def test_narrow_images_are_trained_on(shape):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, *shape))
    results = pj.search(pj.supervised((x, np.arange(60) % 3), model="cnn"), trials=2, epochs=1)
    assert np.isfinite(results.curves["val_loss"]).all()


def test_numbers_and_a_dict_are_no_images_to_move():
    rows = np.random.default_rng(0).normal(size=(40, 3))
    space = pj.Space(learning_rate=0.1, augment_turn=5.0)
    with pytest.raises(ValueError, match=r"augment_turn is for images .* not rows of shape \(3,\)"):
        pj.search(pj.supervised((rows, np.arange(40) % 2)), space, trials=1, epochs=1)


class Flat(nnx.Module):
    def __init__(self, hparams, rngs):
        self.out = nnx.Linear(64, 2, rngs=rngs)

    def __call__(self, x):
        return self.out(x.reshape(len(x), -1) / 255)


def test_whole_numbers_are_rounded_where_they_are_moved_and_take_no_noise():
    images = jnp.asarray(np.random.default_rng(0).integers(0, 255, (64, 8, 8, 1)), jnp.uint8)
    keys = jax.random.split(jax.random.key(0), 64)
    given = HParams({"augment_turn": 30.0})
    exact = augmented(given, keys, images.astype(float))
    np.testing.assert_array_equal(augmented(given, keys, images), np.round(exact))
    task = pj.supervised((np.asarray(images), np.arange(64) % 2), model=Flat, transform="none")
    with pytest.raises(
        ValueError, match="augment_noise: the images are uint8; give a transform that makes real numbers"
    ):
        pj.search(task, {"learning_rate": 0.1, "augment_noise": 0.1}, trials=1, epochs=1)


def moved(image, draw, hparams):
    """An image as NumPy moves it, pixel by pixel, by the same numbers in [0, 1)."""
    height, width, _ = image.shape
    get = lambda name: float(hparams.get(name, 0.0))
    turn, cut = np.deg2rad(get("augment_turn") * (2 * draw[0] - 1)), get("augment_crop") * draw[1]
    down = height * (get("augment_shift") * (2 * draw[2] - 1) + cut * (2 * draw[3] - 1) / 2)
    right = width * (get("augment_shift") * (2 * draw[4] - 1) + cut * (2 * draw[5] - 1) / 2)
    seen = np.empty_like(image)
    for row in range(height):
        for column in range(width):
            a, b = row - (height - 1) / 2, column - (width - 1) / 2
            b = -b if draw[6] < get("augment_flip") else b
            y = (1 - cut) * (np.cos(turn) * a - np.sin(turn) * b) + (height - 1) / 2 + down
            x = (1 - cut) * (np.sin(turn) * a + np.cos(turn) * b) + (width - 1) / 2 + right
            y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
            top, left = min(int(y), height - 2), min(int(x), width - 2)
            y, x = y - top, x - left
            corners = image[top : top + 2, left : left + 2]
            seen[row, column] = (1 - y) * ((1 - x) * corners[0, 0] + x * corners[0, 1]) + y * (
                (1 - x) * corners[1, 0] + x * corners[1, 1]
            )
    return seen


@pytest.mark.parametrize(
    "hparams",
    [
        {"augment_shift": 0.3},
        {"augment_turn": 40.0},
        {"augment_crop": 0.5},
        {"augment_flip": 0.5},
        {"augment_shift": 0.1, "augment_turn": 15.0, "augment_crop": 0.2, "augment_flip": 0.5},
    ],
    ids=lambda hparams: "+".join(name.removeprefix("augment_") for name in hparams),
)
def test_images_are_moved_as_numpy_moves_them(x64, hparams):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(12, 7, 6, 2))
    keys = jax.random.split(jax.random.key(4), 12)
    seen = np.asarray(augmented(HParams(hparams), keys, jnp.asarray(images)))
    streams = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, 0x617567)))(keys)
    draws = np.asarray(jax.vmap(lambda key: jax.random.uniform(key, (7,)))(streams[:, 0]))
    for image, draw, own in zip(images, draws, seen, strict=True):
        np.testing.assert_allclose(own, moved(image, draw, hparams), rtol=1e-9, atol=1e-12)
    assert not np.array_equal(seen, images)


def test_noise_has_its_deviation_and_nothing_changes_nothing(x64):
    images = jnp.asarray(np.random.default_rng(0).normal(size=(400, 8, 8, 1)))
    keys = jax.random.split(jax.random.key(1), 400)
    noise = augmented(HParams({"augment_noise": 0.3}), keys, images) - images
    assert abs(float(noise.mean())) < 0.01
    assert abs(float(noise.std()) - 0.3) < 0.01
    nothing = {f"augment_{name}": 0.0 for name in ("shift", "turn", "crop", "flip", "noise")}
    assert np.array_equal(augmented(HParams(nothing), keys, images), images)
    assert augmented(HParams({"dropout": 0.5}), keys, images) is images


def test_only_training_images_are_moved(x64):
    """With a rate of 0 nothing is learned: the loss of the training images changes, that of the validation rows not."""
    space = pj.Space(learning_rate=0.0, augment_shift=0.5, norm="none")
    rank = pj.best("val_loss", keep=2)
    results = pj.search(problem(), space, trials=2, epochs=3, rank=rank)
    still = pj.search(problem(), space.replace(augment_shift=0.0), trials=2, epochs=3, rank=rank)
    assert np.ptp(results.curves["train_loss"], 1).min() > 1e-6
    assert np.ptp(results.curves["val_loss"], 1).max() < 1e-12
    np.testing.assert_allclose(results.curves["val_loss"], still.curves["val_loss"], rtol=1e-12)
    predicted = [one.predictor(0).predict_proba(np.zeros((3, *SIZE))) for one in (results, still)]
    np.testing.assert_allclose(*predicted, rtol=1e-12)


def test_a_trial_sees_the_same_images_in_any_company():
    space = pj.Space(
        learning_rate=pj.log_uniform(1e-3, 1e-2), augment_shift=pj.uniform(0, 0.2), augment_turn=pj.uniform(0, 20),
        augment_noise=pj.uniform(0, 0.1), augment_flip=0.5, augment_crop=0.1, norm="batch", hidden=4,
    )  # fmt: skip
    task = problem()
    together = pj.search(task, space, trials=5, epochs=2)
    points = {name: column[3:4] for name, column in together.points.items()}
    alone = pj.Session(task, points, numbers=[3], space=space)
    alone.train(2)
    for name, curve in alone.curves.items():
        np.testing.assert_array_equal(np.ravel(curve), np.ravel(together.curves[name][3]))


def test_a_prediction_does_not_depend_on_the_company_of_rows():
    """Batch statistics are those of training; a constant image is one too."""
    results = pj.search(problem(), pj.Space(learning_rate=0.05, hidden=4), trials=1, epochs=2)
    x = np.random.default_rng(1).normal(size=(7, *SIZE))
    x[3] = 0.5
    together = results.predictor().predict_proba(x)
    alone = np.concatenate([results.predictor().predict_proba(x[row : row + 1]) for row in range(7)])
    np.testing.assert_allclose(together, alone, rtol=1e-5)


@pytest.mark.parametrize("y", ["classes", "values", "labels", "several"])
def test_estimators_take_images_of_any_targets(y):
    rng = np.random.default_rng(0)
    bright = rng.uniform(0, 200, 80)
    x = np.clip(bright[:, None, None] + rng.normal(0, 20, (80, 8, 8)), 0, 255).astype(
        np.uint16 if y == "values" else np.uint8
    )
    targets = {
        "classes": np.where(bright > 100, "day", "night"),
        "values": bright,
        "labels": np.stack([bright > 60, bright > 120], 1).astype(int),
        "several": np.stack([bright, -bright], 1),
    }[y]
    kind = pj.PopulationRegressor if y in ("values", "several") else pj.PopulationClassifier
    model = kind(model="cnn", trials=4, epochs=8, folds=2).fit(x, targets)
    assert model.predict(x).shape == targets.shape
    assert model.score(x, targets) > 0.6  # of labels, all of a row; of values, R²
    np.testing.assert_array_equal(model.predict(x[..., None]), model.predict(x))


def test_the_effort_of_images_follows_from_rows_and_pixels():
    def effort(rows, size):
        x = np.broadcast_to(np.zeros((1, size, size, 1)), (rows, size, size, 1))
        return effort_of(pj.supervised((x, np.arange(rows) % 2), "cnn", test=0))

    small, large = effort(300, 28), effort(4000, 96)
    assert (small.trials, small.epochs, small.folds, small.scheduler) == (8, 20, 3, "halving(2, 2)")
    assert large.epochs * large.folds < 20 * 3
    assert small.rule.at == "best"


def test_the_report_shows_what_the_winner_gets_wrong(tmp_path):
    """The surest first, as pictures that can be read again; none where nothing is wrong."""
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    x = rng.integers(0, 256, (200, 6, 5, 3))
    results = pj.search(pj.supervised((x, np.array(["<b>", "dog"])[y]), model="cnn"), trials=2, epochs=2, out=tmp_path)
    images = results.summary["mistakes"]["images"]
    test = results.task.split.test
    wrong = results.predictor().predict(x[test]) != np.array(["<b>", "dog"])[y[test]]
    assert results.summary["mistakes"]["count"] == wrong.sum() > 0
    assert sorted(one["row"] for one in images) == np.flatnonzero(wrong).tolist()[: len(images)]
    assert [one["sure"] for one in images] == sorted((one["sure"] for one in images), reverse=True)
    seen = pixels_of(base64.b64decode(images[0]["png"]))
    own = x[test][images[0]["row"]]
    np.testing.assert_allclose(seen, np.round(255 * (own - x[test].min()) / np.ptp(x[test])), atol=1)
    page = (tmp_path / "report.html").read_text()
    assert page.count('src="data:image/png;base64,') == len(images)
    assert "<b><b></b>" not in page
    (tmp_path / "summary.json").write_text(
        json.dumps(
            results.summary | {"mistakes": {"count": 1, "images": [images[0] | {"png": '"><script>'}]}}, default=str
        )
    )
    assert "What the winner gets wrong" not in report_of(tmp_path)


def report_of(directory):
    """The page of a run, written anew."""
    write_report(pj.Results.load(directory), directory)
    return (directory / "report.html").read_text()


def pixels_of(content):
    """The pixels (height, width, channels) of a PNG file of 8-bit numbers without filters."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    at, parts = 8, {}
    while at < len(content):
        size, name = struct.unpack(">I4s", content[at : at + 8])
        parts[name] = data = content[at + 8 : at + 8 + size]
        assert struct.unpack(">I", content[at + 8 + size : at + 12 + size])[0] == zlib.crc32(name + data)
        at += 12 + size
    width, height, depth, kind = struct.unpack(">IIBB", parts[b"IHDR"][:10])
    assert (depth, kind) == (8, 2)
    lines = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(height, 1 + 3 * width)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape(height, width, 3)


@pytest.mark.kill
@pytest.mark.parametrize("kills", [(3,), (9, 4)], ids=str)
def test_a_killed_search_of_moved_images_ends_as_one_never_killed(python, command, tmp_path, kills):
    """Batch statistics and what each epoch drew are where they were."""
    asked = ("--model", "cnn", "--trials", "4", "--epochs", "6", "--scheduler", "halving", "--at", "best",
             "--set", "hidden=4", "--set", "augment_noise=uniform(0,0.2)", "--set", "augment_crop=0.1")  # fmt: skip
    whole = command("sweep", *asked, "--out", "whole")
    assert whole.returncode == 0, whole.stderr
    stopping.killed(python, command, asked, kills)
    for name in ("trials.parquet", "curves.parquet", "best/arrays.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.soak
def test_the_command_trains_a_cnn_on_digits(command, tmp_path):
    process = command("sweep", "--model", "cnn", "--trials", 6, "--epochs", 6, "--out", "run")
    assert process.returncode == 0, process.stderr
    results = pj.Results.load(tmp_path / "run")
    assert {"augment_shift", "weight_decay"} <= results.points.keys()
    assert results.summary["test_value"] > 0.95
    digits = built_in("digits")
    winner = pj.load_best(tmp_path / "run")
    assert (winner.predict(digits.x) == digits.y).mean() > 0.95
    assert np.array_equal(winner.predict(images(digits).x), winner.predict(digits.x))


def test_tables_are_no_images(command):
    process = command("sweep", "--model", "cnn", "--dataset", "wine", "--trials", 2)
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert "wine: rows of shape (13,) are not images; give (height, width)" in line


def test_the_cnn_is_trained_by_one_copy_of_the_network_for_all_batch_sizes():
    """Each copy takes seconds to compile; of rows of numbers, where a product is small, each size has its own."""
    rng = np.random.default_rng(0)
    products = {}
    for name, rows in (("images", rng.normal(size=(200, 6, 6, 1))), ("numbers", rng.normal(size=(200, 4)))):
        task = pj.supervised((rows, np.arange(200) % 3), model="cnn" if name == "images" else "mlp")
        for batch_size in (pj.choice(16, 32, 64), 16):
            space = pj.Space(learning_rate=0.1, batch_size=batch_size, **({"norm": "none"} if name == "images" else {}))
            member = Tracer(task, space, space.sample(1), 2, branching=True).member(0, {"norm"} & set(space))
            training = member.trace(abstract(task.data)).training
            traced = member.epoch.trace(training, member.example, abstract(task.data))
            products[name, batch_size == 16] = str(traced.jaxpr).count("dot_general")
    assert products["images", False] == products["images", True]
    assert products["numbers", False] > 2 * products["numbers", True]
    space = pj.Space(learning_rate=0.1, batch_size=pj.choice(16, 32, 64), norm="none")
    images = pj.supervised((rng.normal(size=(200, 6, 6, 1)), np.arange(200) % 3), model="cnn")
    assert "batch_size" in pj.Session(images, space.sample(2), space=space).trainer.roster.settable


def test_a_line_of_pixels_is_no_image():
    """Pooling would leave nothing of it."""
    with pytest.raises(ValueError, match=r"rows of shape \(1, 20\) are not images; .*2 pixels at least"):
        pj.supervised((np.zeros((30, 1, 20)), np.arange(30) % 2), model="cnn")


@pytest.mark.parametrize("seed", range(4))
def test_what_is_static_does_not_depend_on_the_first_trial(seed):
    """Beside batch statistics depth is static, also where the first trial has none."""
    space = pj.Space(learning_rate=0.01, norm=pj.choice("group", "batch"), depth=pj.integers(1, 2), hidden=2, stages=1)
    results = pj.search(problem(), space, trials=4, epochs=1, seed=seed)
    pairs = zip(results.points["norm"].tolist(), results.points["depth"].tolist(), strict=True)
    assert results.summary["buckets"] == len(set(pairs))
