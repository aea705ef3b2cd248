"""One method on one split of a set of images, in a process of its own: prints its scores and seconds as JSON."""

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from typing import Any

THREADS = int(os.environ.get("REAL_IMAGES_THREADS", "2"))
os.environ |= {"OMP_NUM_THREADS": str(THREADS), "LOKY_MAX_CPU_COUNT": str(THREADS)}

import numpy as np  # noqa: E402  after the number of threads is set
from pictures import Pictures, parted  # noqa: E402

type Predict = Callable[[np.ndarray], np.ndarray]  # images -> probabilities (images, labels)
type Options = dict[str, Any]


def plain(train: Pictures, seed: int, options: Options) -> dict[str, Predict]:
    """A first network, at its defaults: two convolutions, Adam at 1e-3, 12 epochs."""
    from torch_nets import Net, fitted

    return {"plain": fitted(Net.plain, train, seed, rate=1e-3, decay=0.0, batch=64, epochs=12)}


def residual(train: Pictures, seed: int, options: Options) -> dict[str, Predict]:
    """A small residual network with batch normalization, AdamW, a cosine, 20 epochs."""
    from torch_nets import Net, fitted

    return {"residual": fitted(Net.residual, train, seed, rate=3e-3, decay=1e-2, batch=64, epochs=20, cosine=True)}


def tuned(train: Pictures, seed: int, options: Options) -> dict[str, Predict]:
    """The plain family tuned by Optuna for `seconds` of CPU time, of which the best trial predicts."""
    from torch_nets import searched

    return {"optuna": searched(train, seed, options["seconds"])}


def support_vectors(train: Pictures, seed: int, options: Options) -> dict[str, Predict]:
    """scikit-learn's SVM on the standardized pixels."""
    from joblib.externals.loky import get_reusable_executor
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC

    flat = lambda x: (x.reshape(len(x), -1) - mean) / scale
    mean, scale = train.x.mean(), train.x.std()
    grid = {"C": [1, 10, 100]}
    svm = GridSearchCV(SVC(probability=True, random_state=seed), grid, cv=3, n_jobs=THREADS)
    svm.fit(flat(train.x), train.y)
    get_reusable_executor().shutdown(wait=True)  # so that its processes' seconds are counted
    return {"svm": lambda x: svm.predict_proba(flat(x))}


def trees(train: Pictures, seed: int, options: Options) -> dict[str, Predict]:
    """scikit-learn's histogram gradient boosting on the pixels."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(random_state=seed, early_stopping=True)
    model.fit(train.x.reshape(len(train.x), -1), train.y)
    return {"trees": lambda x: model.predict_proba(x.reshape(len(x), -1))}


def ours(train: Pictures, seed: int, options: Options) -> dict[str, Predict]:
    """The estimator at its defaults: its winner alone, and the trials that predict together."""
    import popjax as pj

    space = options.pop("space", None)
    if space is not None:
        space = pj.default_space(model="cnn", rows=len(train.y) // 2).replace(
            **{n: parsed(v) for n, v in space.items()}
        )
    model = pj.PopulationClassifier(space, model="cnn", random_state=seed, **options).fit(train.x, train.y)
    winner = model.results_.predictor(model.best_index_)
    return {"popjax": model.predict_proba, "popjax, its winner": winner.predict_proba}


def parsed(value: Any) -> Any:
    """A scale from a text, as `--set` takes it."""
    from popjax.space.spelling import parse_scale

    return parse_scale(value) if isinstance(value, str) and "(" in value else value


METHODS: dict[str, Callable[[Pictures, int, Options], dict[str, Predict]]] = {
    "plain": plain,
    "residual": residual,
    "optuna": tuned,
    "svm": support_vectors,
    "trees": trees,
    "popjax": ours,
}


def seconds() -> float:
    """CPU seconds of this process and of its children so far."""
    return sum(sum(resource.getrusage(each)[:2]) for each in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def main() -> None:
    """Fit, score the images that test, and print a list of JSON objects, one a predictor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("split", type=int)
    parser.add_argument("method", choices=list(METHODS))
    parser.add_argument("--options", type=json.loads, default={})
    given = parser.parse_args()
    train, test = parted(given.name, given.split)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = cache
        cpu, wall = seconds(), time.perf_counter()
        predictors = METHODS[given.method](train, given.split, given.options)
        cpu, wall = seconds() - cpu, time.perf_counter() - wall
        lines = []
        for name, predict in predictors.items():
            probability = np.maximum(predict(test.x), 1e-15)
            own = probability[np.arange(len(test.y)), test.y]
            error, loss = float((probability.argmax(1) != test.y).mean()), float(-np.log(own).mean())
            lines.append({"method": name, "error": error, "loss": loss, "cpu": round(cpu, 1), "wall": round(wall, 1)})
    print(json.dumps(lines))


if __name__ == "__main__":
    main()
