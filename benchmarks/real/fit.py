"""One method on one split of one table, in a process of its own: prints its scores and seconds as JSON."""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

THREADS = int(os.environ.get("REAL_TABLES_THREADS", "2"))
os.environ |= {"OMP_NUM_THREADS": str(THREADS), "LOKY_MAX_CPU_COUNT": str(THREADS)}

import numpy as np  # noqa: E402  after the number of threads is set
import pandas as pd  # noqa: E402
from sklearn.metrics import r2_score, root_mean_squared_error  # noqa: E402
from tables import TABLES, cleaned, parted  # noqa: E402

type Predict = Callable[[pd.DataFrame], Any]
type Fit = Callable[[bool, int, pd.DataFrame, np.ndarray, dict[str, Any]], tuple[Any, Predict]]


def texts_of(x: pd.DataFrame) -> list[str]:
    """The names of the columns of texts."""
    return [column for column in x.columns if isinstance(x[column].dtype, pd.CategoricalDtype)]


def same(x: pd.DataFrame) -> pd.DataFrame:
    """The rows as they are."""
    return x


def as_numbers(x: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
    """Rows -> cleaned, texts one-hot, standardized by the rows `x`."""
    from sklearn.preprocessing import StandardScaler

    encode = lambda rows: pd.get_dummies(cleaned(rows, x)).to_numpy(float)
    scaler = StandardScaler().fit(encode(x))
    return lambda rows: scaler.transform(encode(rows))


def linear(classes: bool, seed: int, x: pd.DataFrame, y: np.ndarray, options: dict[str, Any]) -> tuple[Any, Predict]:
    """A linear model, its penalty by cross-validation."""
    from sklearn.linear_model import LogisticRegressionCV, RidgeCV

    made = as_numbers(x)
    if not classes:
        return RidgeCV(alphas=np.logspace(-3, 5, 17)).fit(made(x), y), made
    return LogisticRegressionCV(Cs=10, cv=5, scoring="neg_log_loss", max_iter=2000).fit(made(x), y), made


def networks(classes: bool, seed: int, x: pd.DataFrame, y: np.ndarray, options: dict[str, Any]) -> tuple[Any, Predict]:
    """A random search of 20 scikit-learn MLPs, over three folds."""
    from joblib.externals.loky import get_reusable_executor
    from scipy.stats import loguniform
    from sklearn.model_selection import RandomizedSearchCV
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    scales = {
        "hidden_layer_sizes": [(50,), (100,), (50, 50), (100, 100)],
        "learning_rate_init": loguniform(1e-4, 1e-1),
        "alpha": loguniform(1e-6, 1e-1),
        "batch_size": [16, 32, 64, 128],
    }
    network = (MLPClassifier if classes else MLPRegressor)(max_iter=30, random_state=seed)
    made = as_numbers(x)
    scale = (0.0, 1.0) if classes else (float(y.mean()), float(y.std()))
    search = RandomizedSearchCV(
        network,
        scales,
        n_iter=20,
        cv=3,
        n_jobs=THREADS,
        random_state=seed,
        scoring="neg_log_loss" if classes else None,
        error_score="raise",
    )
    search.fit(made(x), y if classes else (y - scale[0]) / scale[1])
    get_reusable_executor().shutdown(wait=True)  # so that its processes' seconds are counted
    return (search if classes else Rescaled(search, *scale)), made


class Rescaled:
    """A regressor of standardized targets, in their own units."""

    def __init__(self, inner: Any, mean: float, scale: float) -> None:
        self.inner, self.mean, self.scale = inner, mean, scale

    def predict(self, x: np.ndarray) -> Any:
        """Values (rows,)."""
        return self.inner.predict(x) * self.scale + self.mean


def boosting(classes: bool, seed: int, x: pd.DataFrame, y: np.ndarray, options: dict[str, Any]) -> tuple[Any, Predict]:
    """scikit-learn's HistGradientBoosting at its defaults."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    return kind(random_state=seed).fit(x, y), same


def lightgbm(classes: bool, seed: int, x: pd.DataFrame, y: np.ndarray, options: dict[str, Any]) -> tuple[Any, Predict]:
    """LightGBM at its defaults."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    return (LGBMClassifier if classes else LGBMRegressor)(random_state=seed, n_jobs=THREADS, verbose=-1).fit(x, y), same


def catboost(classes: bool, seed: int, x: pd.DataFrame, y: np.ndarray, options: dict[str, Any]) -> tuple[Any, Predict]:
    """CatBoost at its defaults; a missing text is a level of its own."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    texts = texts_of(x)
    made = lambda rows: rows.assign(**{name: rows[name].astype(object).fillna("missing") for name in texts})
    kind = CatBoostClassifier if classes else CatBoostRegressor
    model = kind(
        random_seed=seed, thread_count=THREADS, verbose=False, cat_features=texts, train_dir=tempfile.mkdtemp()
    )
    return model.fit(made(x), y), made


def pytabkit(name: str, **given: Any) -> Fit:
    """A network of pytabkit's at its tuned defaults, but for `given`."""

    def fit(classes: bool, seed: int, x: pd.DataFrame, y: np.ndarray, options: dict[str, Any]) -> tuple[Any, Predict]:
        import pytabkit
        import torch

        torch.set_num_threads(THREADS)
        kind = getattr(pytabkit, f"{name}_{'Classifier' if classes else 'Regressor'}")
        made = lambda rows: cleaned(rows, x)
        more = given if classes else {}
        model = kind(device="cpu", random_state=seed, n_threads=THREADS, tmp_folder=tempfile.mkdtemp(), **more)
        return model.fit(made(x), y, cat_col_names=texts_of(x)), made

    return fit


def population(**given: Any) -> Fit:
    """popjax's estimators at their defaults, but for `given`."""

    def fit(classes: bool, seed: int, x: pd.DataFrame, y: np.ndarray, options: dict[str, Any]) -> tuple[Any, Predict]:
        import popjax as pj

        kind = pj.PopulationClassifier if classes else pj.PopulationRegressor
        made = (lambda rows: cleaned(rows, x)) if "model" in given else same
        return kind(random_state=seed, **given | options).fit(made(x), y), made

    return fit


def varied(schedule: str | None = None, **scales: Any) -> Fit:
    """popjax's classifier or regressor in its default space, but for the schedule and `scales`."""

    def fit(classes: bool, seed: int, x: pd.DataFrame, y: np.ndarray, options: dict[str, Any]) -> tuple[Any, Predict]:
        import popjax as pj
        from popjax.study.effort import effort_of

        kind = "classification" if classes else "regression"
        usual = effort_of(pj.supervised((x, y), "tabular", "adamw", test=0, kind=kind)).space
        return population(space=pj.Space(**usual.entries() | scales), schedule=schedule)(classes, seed, x, y, options)

    return fit


def together(size: int, method: str) -> Fit:
    """popjax's classifier or regressor, which predicts by `size` trials, chosen by `method`."""

    def fit(classes: bool, seed: int, x: pd.DataFrame, y: np.ndarray, options: dict[str, Any]) -> tuple[Any, Predict]:
        import popjax as pj

        rule = pj.together(size, method, "val_loss", at="best", patience=16)
        return population(rank=rule)(classes, seed, x, y, options)

    return fit


def unscaled(classes: bool, seed: int, x: pd.DataFrame, y: np.ndarray, options: dict[str, Any]) -> tuple[Any, Predict]:
    """popjax's classifier or regressor with the scales of the inputs held at 1."""
    from popjax.models import tabular

    tabular.FASTER = 0.0
    return population()(classes, seed, x, y, options)


VARIANTS: dict[str, Fit] = {
    "popjax, no embeddings": varied(embedding=1),
    "popjax, no scales of inputs": unscaled,
    "popjax, constant rate": varied("inverse", decay=0.0),
    "popjax, no dropout": varied(dropout=0.0),
    "popjax, no decay": varied(weight_decay=0.0),
    "popjax, relu": varied(activation="relu"),
    "popjax, b2 = 0.999": varied(b2=0.999),
    "popjax, standardized": population(input_transform="standardize"),
    "popjax, 64 epochs": population(epochs=64),
    "popjax, 8 folds": population(folds=8),
    "popjax, 3 folds": population(folds=3),
    "popjax, 16 trials": population(trials=16),
    "popjax, not halved": population(scheduler=None),
    "popjax, greedy in 40 steps": together(40, "greedy"),
    "popjax, mean of the best 4": together(4, "mean"),
    "popjax, the best one": together(1, "mean"),
    "popjax, labels smoothed": varied(label_smoothing=0.1),
}
METHODS: dict[str, Fit] = {
    "popjax": population(),
    "popjax mlp": population(model="mlp"),
    "linear": linear,
    "HistGradientBoosting": boosting,
    "LightGBM": lightgbm,
    "CatBoost": catboost,
    "20 scikit-learn MLPs": networks,
    "RealMLP-TD": pytabkit("RealMLP_TD"),
    "RealMLP-TD, log loss": pytabkit("RealMLP_TD", use_ls=False, val_metric_name="cross_entropy"),
    "TabM-D": pytabkit("TabM_D"),
}
ALL = METHODS | VARIANTS
OF_CLASSES = ("popjax, labels smoothed", "RealMLP-TD, log loss")  # they are of no other tables


def processor_seconds() -> float:
    """Processor seconds of this process and of its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def judged(classes: bool, model: Any, rows: Any, y: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """The scores on test rows, and the loss of each: its log loss or squared error."""
    if not classes:
        told = np.asarray(model.predict(rows), float).ravel()
        scores = {"score": float(r2_score(y, told)), "loss": float(root_mean_squared_error(y, told))}
        return scores, (told - y) ** 2
    chances = np.asarray(model.predict_proba(rows), float)
    chances = np.clip(chances, 1e-7, 1)
    chances /= chances.sum(1, keepdims=True)
    labels = np.asarray(model.classes_).astype(str)
    losses = -np.log(chances[labels == y[:, None]])
    return {"score": float((labels[chances.argmax(1)] == y).mean()), "loss": float(losses.mean())}, losses


def behind(losses: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """By how much the mean of `losses` is above that of `others`, and the standard error of this paired difference."""
    difference = losses - others
    return {"behind_linear": difference.mean(), "error": difference.std(ddof=1) / len(difference) ** 0.5}


def main() -> None:
    """Fit, predict the test rows, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=list(TABLES))
    parser.add_argument("split", type=int)
    parser.add_argument("method", choices=list(ALL))
    parser.add_argument("--options", type=json.loads, default={}, help="of popjax's estimators, as JSON")
    parser.add_argument("--out", type=Path, help="keeps the predictions for the test rows, in a .npy file")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    x, y, x_test, y_test = parted(arguments.table, arguments.split)
    classes = TABLES[arguments.table].classes
    wall, used = time.perf_counter(), processor_seconds()
    model, made = ALL[arguments.method](classes, arguments.split, x, y, arguments.options)
    seconds = {"wall": time.perf_counter() - wall, "cpu": processor_seconds() - used}
    rows = made(x_test)
    found, losses = judged(classes, model, rows, y_test)
    if arguments.method == "popjax":
        other, made_linear = linear(classes, arguments.split, x, y, {})
        found |= behind(losses, judged(classes, other, made_linear(x_test), y_test)[1])
    if arguments.out:
        np.save(arguments.out, model.predict_proba(rows) if classes else model.predict(rows))
    print(json.dumps({name: round(float(value), 6) for name, value in {**found, **seconds}.items()}))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
