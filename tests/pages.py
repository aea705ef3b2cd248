"""Results of known shape, what their page says as text, and the data of its figures."""

import html
import json
import re

import numpy as np

import popjax as pj

HOSTILE = "</script><b>bold</b><img src=x onerror=\"document.title='hacked'\">"
SPACE = pj.Space(
    learning_rate=pj.log_uniform(1e-4, 1),
    momentum=pj.one_minus_log_uniform(0.9, 0.999),
    hidden=pj.integers(50, 100),
    activation=pj.choice("relu", "tanh"),
    width=7,
)


def made(trials=40, space=SPACE, epochs=6, folds=1, repeats=1, mode="max", diverged=0.2, noise=0.01, seed=0, **more):
    """Results whose metric falls off on both sides of a learning rate of 0.01; the largest rates diverge."""
    rng = np.random.default_rng(seed)
    points = space.sample(trials, seed)
    rate = np.log10(points["learning_rate"].astype(float))
    shape = (trials, folds, repeats, epochs)
    score = (0.95 - 0.1 * (rate + 2) ** 2)[:, None, None, None] * (1 - 0.5 * np.exp(-np.arange(1, epochs + 1) / 2))
    score = score + noise * rng.normal(size=shape)
    ended = np.where(np.argsort(np.argsort(-rate)) < diverged * trials, rng.integers(0, epochs, trials), epochs)
    score[np.arange(epochs) >= np.broadcast_to(ended[:, None, None, None], shape)] = np.nan
    members = {"train_loss": np.exp(9 * (0.8 - score)), "val_accuracy": score, "val_loss": 2 - score}
    arguments = {"dataset": "wine", "trials": trials}
    command = f"python -m popjax.sweep --dataset wine --trials {trials}"
    run = {"space": space.to_dict(), "arguments": arguments, "command": command} | more.pop("run", {})
    rank = more.pop("rule", pj.best)("val_accuracy" if mode == "max" else "val_loss", mode)
    return pj.Results(points, members, rank, run, {"test_value": 0.91, "wall_seconds": 3.2}, **more)


def scored(points, loss, space=None):
    """Results of one epoch: points name -> (trials,), a loss (trials,)."""
    run = {} if space is None else {"space": space.to_dict()}
    return pj.Results(points, {"loss": np.asarray(loss, float)[:, None, None, None]}, pj.best("loss", "min"), run)


def text_of(page):
    """What a page says, without its scripts and tags."""
    body = re.sub(r"<(script|style)\b.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", body)).split())


def figures_of(page):
    """The data of a page's figures, which are strict JSON."""
    text = re.search(r'id="figures">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)[1]
    assert "<" not in text
    return json.loads(text, parse_constant=lambda name: 1 / 0)


def drawn(results, name):
    """Name -> (x, y) of the traces of a figure, y from below."""
    return {trace.name: (list(trace.x), list(trace.y)) for trace in results.plot(name).data}
