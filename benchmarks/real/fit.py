"""One method on one split of one table, in a process of its own: prints its scores and seconds as JSON."""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

THREADS = int(os.environ.get("REAL_TABLES_THREADS", "2"))
os.environ |= {"OMP_NUM_THREADS": str(THREADS), "LOKY_MAX_CPU_COUNT": str(THREADS)}

import numpy as np  # noqa: E402  after the number of threads is set
import pandas as pd  # noqa: E402
from sklearn.metrics import r2_score, root_mean_squared_error  # noqa: E402
from tables import LARGE, LARGE_FINAL, TABLES, Part, cleaned, parted  # noqa: E402

type Predict = Callable[[pd.DataFrame], Any]
type Fit = Callable[[bool, int, Part, dict[str, Any]], tuple[Any, Predict]]


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


def linear(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
    """A linear model, its penalty by cross-validation."""
    from sklearn.linear_model import LogisticRegressionCV, RidgeCV

    made = as_numbers(part.x)
    if not classes:
        return RidgeCV(alphas=np.logspace(-3, 5, 17)).fit(made(part.x), part.y), made
    return LogisticRegressionCV(Cs=10, cv=5, scoring="neg_log_loss", max_iter=2000).fit(made(part.x), part.y), made


def networks(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
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
    made, y = as_numbers(part.x), part.y
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
    search.fit(made(part.x), y if classes else (y - scale[0]) / scale[1])
    get_reusable_executor().shutdown(wait=True)  # so that its processes' seconds are counted
    return (search if classes else Rescaled(search, *scale)), made


class Rescaled:
    """A regressor of standardized targets, in their own units."""

    def __init__(self, inner: Any, mean: float, scale: float) -> None:
        self.inner, self.mean, self.scale = inner, mean, scale

    def predict(self, x: np.ndarray) -> Any:
        """Values (rows,)."""
        return self.inner.predict(x) * self.scale + self.mean


def boosting(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
    """scikit-learn's HistGradientBoosting at its defaults."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    return kind(random_state=seed).fit(part.x, part.y), same


def lightgbm(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
    """LightGBM at its defaults."""
    return lightgbm_model(classes, seed).fit(part.x, part.y), same


def lightgbm_model(classes: bool, seed: int, **given: Any) -> Any:
    """LightGBM at its defaults, but for `given`."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    return (LGBMClassifier if classes else LGBMRegressor)(random_state=seed, n_jobs=THREADS, verbose=-1, **given)


def catboost(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
    """CatBoost at its defaults; a missing text is a level of its own."""
    made = texts_filled(part.x)
    return catboost_model(classes, seed, part.x).fit(made(part.x), part.y), made


def catboost_model(classes: bool, seed: int, x: pd.DataFrame) -> Any:
    """CatBoost at its defaults, for rows like `x`."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    kind = CatBoostClassifier if classes else CatBoostRegressor
    texts, place = texts_of(x), tempfile.mkdtemp()
    return kind(random_seed=seed, thread_count=THREADS, verbose=False, cat_features=texts, train_dir=place)


def texts_filled(x: pd.DataFrame) -> Predict:
    """Rows like `x` -> rows in which a missing text is a level of its own."""
    texts = texts_of(x)
    return lambda rows: rows.assign(**{name: rows[name].astype(object).fillna("missing") for name in texts})


def bagged_lightgbm(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
    """LightGBM on each of five folds, at most 2,000 trees, stopped by the rows held out."""
    from lightgbm import early_stopping

    models = []
    for train, held in folds_of(part, classes, seed):
        model, stop = lightgbm_model(classes, seed, n_estimators=2000), early_stopping(50, verbose=False)
        own = [(part.x.iloc[held], part.y[held])]
        models.append(model.fit(part.x.iloc[train], part.y[train], eval_set=own, callbacks=[stop]))
    return Bag(models), same


def bagged_catboost(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
    """CatBoost on each of five folds, stopped by the rows held out."""
    made, models = texts_filled(part.x), []
    for train, held in folds_of(part, classes, seed):
        own = (made(part.x.iloc[held]), part.y[held])
        model = catboost_model(classes, seed, part.x)
        models.append(model.fit(made(part.x.iloc[train]), part.y[train], eval_set=own, early_stopping_rounds=50))
    return Bag(models), made


class Bag:
    """The mean of models."""

    def __init__(self, models: Sequence[Any]) -> None:
        self.models, self.classes_ = models, getattr(models[0], "classes_", None)

    def predict(self, x: Any) -> Any:
        """Values (rows,)."""
        return np.mean([model.predict(x) for model in self.models], 0)

    def predict_proba(self, x: Any) -> Any:
        """Probabilities (rows, classes)."""
        return np.mean([model.predict_proba(x) for model in self.models], 0)


def folds_of(part: Part, classes: bool, seed: int, folds: int = 5) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows that train and those held out of each fold; in time each is held out after those that train."""
    from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, TimeSeriesSplit

    if part.timely:
        return TimeSeriesSplit(folds, test_size=len(part.y) // (2 * folds)).split(part.x)
    if part.groups is not None:
        return GroupKFold(folds, shuffle=True, random_state=seed).split(part.x, groups=part.groups)
    return (StratifiedKFold if classes else KFold)(folds, shuffle=True, random_state=seed).split(part.x, part.y)


def pytabkit(name: str, **given: Any) -> Fit:
    """A network of pytabkit's at its tuned defaults, but for `given`."""

    def fit(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
        import pytabkit
        import torch

        torch.set_num_threads(THREADS)
        kind = getattr(pytabkit, f"{name}_{'Classifier' if classes else 'Regressor'}")
        made = lambda rows: cleaned(rows, part.x)
        more = given if classes else {}
        model = kind(device="cpu", random_state=seed, n_threads=THREADS, tmp_folder=tempfile.mkdtemp(), **more)
        return model.fit(made(part.x), part.y, cat_col_names=texts_of(part.x)), made

    return fit


def population(**given: Any) -> Fit:
    """popjax's estimators at their defaults, but for `given`."""

    def fit(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
        import popjax as pj

        kind = pj.PopulationClassifier if classes else pj.PopulationRegressor
        made = (lambda rows: cleaned(rows, part.x)) if "model" in given else same
        model = kind(random_state=seed, shuffle=not part.timely, **given | options)
        return model.fit(made(part.x), part.y, groups=part.groups), made

    return fit


def varied(schedule: str | None = None, **scales: Any) -> Fit:
    """popjax's classifier or regressor in its default space, but for the schedule and `scales`."""

    def fit(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
        import popjax as pj
        from popjax.study.effort import effort_of

        kind = "classification" if classes else "regression"
        usual = effort_of(pj.supervised((part.x, part.y), "tabular", "adamw", test=0, kind=kind)).space
        return population(space=pj.Space(**usual.entries() | scales), schedule=schedule)(classes, seed, part, options)

    return fit


def together(size: int, method: str) -> Fit:
    """popjax's classifier or regressor, which predicts by `size` trials, chosen by `method`."""

    def fit(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
        import popjax as pj

        rule = pj.together(size, method, "val_loss", at="best", patience=16)
        return population(rank=rule)(classes, seed, part, options)

    return fit


def unscaled(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
    """popjax's classifier or regressor with the scales of the inputs held at 1."""
    from popjax.models import tabular

    tabular.FASTER = 0.0
    return population()(classes, seed, part, options)


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
    "LightGBM, bagged": bagged_lightgbm,
    "CatBoost, bagged": bagged_catboost,
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
    part, test = parted(arguments.table, arguments.split)
    classes = TABLES[arguments.table].classes
    wall, used = time.perf_counter(), processor_seconds()
    model, made = ALL[arguments.method](classes, arguments.split, part, arguments.options)
    seconds = {"wall": time.perf_counter() - wall, "cpu": processor_seconds() - used}
    rows = made(test.x)
    found, losses = judged(classes, model, rows, test.y)
    if arguments.method == "popjax" and arguments.table not in LARGE | LARGE_FINAL:
        other, made_linear = linear(classes, arguments.split, part, {})
        found |= behind(losses, judged(classes, other, made_linear(test.x), test.y)[1])
    if arguments.out:
        np.save(arguments.out, model.predict_proba(rows) if classes else model.predict(rows))
    found["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({name: round(float(value), 6) for name, value in {**found, **seconds}.items()}))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
