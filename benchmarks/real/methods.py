"""The peers of `real_tables.py`: each a function `(classes, seed, part, options) -> (model, rows -> the model's rows)`.

Those that are bagged train on each of five folds, stopped by the rows held out, and predict together; their folds, and
that of the tuned CatBoost, know groups and time. The others choose penalties or epochs on random rows, as their own
defaults do.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

THREADS = int(os.environ.setdefault("OMP_NUM_THREADS", "2"))
os.environ.setdefault("LOKY_MAX_CPU_COUNT", str(THREADS))

import numpy as np  # noqa: E402  after the number of threads is set
import pandas as pd  # noqa: E402
from tables import Part, cleaned, subset  # noqa: E402

type Predict = Callable[[pd.DataFrame], Any]
type Fit = Callable[[bool, int, Part, dict[str, Any]], tuple[Any, Predict]]
type Stopped = Callable[[bool, int, Part, Part], tuple[Any, Predict]]  # trained on some rows, stopped by others
type Rounds = Callable[[bool, int, Part, int], tuple[Any, Predict]]  # with so many trees

PLACE = tempfile.TemporaryDirectory()  # of what methods write, as long as the process
FOLDS, TREES, ROUNDS = 5, 2000, 50  # of what is bagged: folds, trees at most, rounds without a lower held-out loss
TRIES, SECONDS = 20, 1200  # trials, and processor seconds at most, of a tuned CatBoost
PENALTIES = np.logspace(-1, 4, 6)  # of a linear model on sparse rows
# AutoGluon's models that download no weights
TRAINED = ["GBM", "CAT", "XGB", "FASTAI", "NN_TORCH", "RF", "XT", "LR", "KNN"]


def texts_of(x: pd.DataFrame) -> list[str]:
    """The names of the columns of texts."""
    return [column for column in x.columns if isinstance(x[column].dtype, pd.CategoricalDtype)]


def same(x: pd.DataFrame) -> pd.DataFrame:
    """The rows as they are."""
    return x


def folds_of(part: Part, classes: bool, seed: int) -> Iterator[tuple[Part, Part]]:
    """The rows that train and those held out of each fold; in time each is held out after those that train."""
    from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, TimeSeriesSplit

    shuffled: dict[str, Any] = {"shuffle": True, "random_state": seed}
    if part.timely:
        splits = TimeSeriesSplit(FOLDS, test_size=len(part.y) // (2 * FOLDS)).split(part.x)
    elif part.groups is not None:
        splits = GroupKFold(FOLDS, **shuffled).split(part.x, groups=part.groups)
    else:
        splits = (StratifiedKFold if classes else KFold)(FOLDS, **shuffled).split(part.x, part.y)
    return ((subset(part, train), subset(part, held)) for train, held in splits)


class Bag:
    """The mean of models, each with its own rows."""

    def __init__(self, models: Sequence[tuple[Any, Predict]]) -> None:
        self.models, self.classes_ = models, getattr(models[0][0], "classes_", None)

    def predict(self, x: Any) -> Any:
        """Values (rows,)."""
        return np.mean([np.ravel(model.predict(made(x))) for model, made in self.models], 0)

    def predict_proba(self, x: Any) -> Any:
        """Probabilities (rows, classes)."""
        return np.mean([model.predict_proba(made(x)) for model, made in self.models], 0)


def bagged(stopped: Stopped, again: Rounds | None = None) -> Fit:
    """A method on each fold, all together; in time trees train `again`, on all rows, as else the latest train none.

    Then each fold's model is one of another seed, with as many trees as were best in it.
    """

    def fit(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
        found = [stopped(classes, seed, train, held) for train, held in folds_of(part, classes, seed)]
        if part.timely and again is not None:
            trees = [trees_of(model) for model, _ in found]
            found = [again(classes, seed + 1000 * fold, part, count) for fold, count in enumerate(trees)]
        return Bag(found), same

    return fit


def trees_of(model: Any) -> int:
    """The number of trees that were best on the rows held out: of CatBoost, LightGBM or XGBoost."""
    if hasattr(model, "tree_count_"):
        return max(1, int(model.tree_count_))
    inner = getattr(model, "inner", model)
    return max(1, int(inner.best_iteration_ if hasattr(inner, "best_iteration_") else inner.best_iteration + 1))


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


def sparse_linear(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
    """A linear model on standardized numbers and sparse one-hot texts, its penalty by one fold."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.metrics import log_loss, mean_squared_error
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    def model(penalty: float) -> Any:
        texts = texts_of(part.x)
        encoded = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), texts), remainder=StandardScaler(), sparse_threshold=1.0
        )
        last = LogisticRegression(C=1 / penalty, max_iter=500) if classes else Ridge(penalty, solver="sparse_cg")
        return make_pipeline(encoded, last)

    def held_out(penalty: float) -> float:
        one = model(penalty).fit(made(train.x), train.y)
        if classes:
            return float(log_loss(held.y, one.predict_proba(made(held.x)), labels=one.classes_))
        return float(mean_squared_error(held.y, one.predict(made(held.x))))

    made = lambda rows: cleaned(rows, part.x)
    *_, (train, held) = folds_of(part, classes, seed)
    return model(min(PENALTIES, key=held_out)).fit(made(part.x), part.y), made


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


def lightgbm_model(classes: bool, seed: int, **given: Any) -> Any:
    """LightGBM at its defaults, but for `given`."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    return (LGBMClassifier if classes else LGBMRegressor)(random_state=seed, n_jobs=THREADS, verbose=-1, **given)


def lightgbm(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
    """LightGBM at its defaults."""
    return lightgbm_model(classes, seed).fit(part.x, part.y), same


def balanced_lightgbm(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
    """LightGBM with weights by which all classes count alike."""
    return lightgbm_model(classes, seed, class_weight="balanced").fit(part.x, part.y), same


def stopped_lightgbm(classes: bool, seed: int, train: Part, held: Part) -> tuple[Any, Predict]:
    """LightGBM, stopped by the rows held out."""
    from lightgbm import early_stopping

    stop = early_stopping(ROUNDS, verbose=False)
    model = lightgbm_model(classes, seed, n_estimators=TREES)
    return model.fit(train.x, train.y, eval_set=[(held.x, held.y)], callbacks=[stop]), same


class Coded:
    """XGBoost's classifier with labels that are texts."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def fit(self, x: pd.DataFrame, y: np.ndarray, held: Part | None = None) -> "Coded":
        """Fit, stopped by the rows held out if there are some."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        more = {} if held is None else {"eval_set": [(held.x, np.searchsorted(self.classes_, held.y))]}
        self.inner.fit(x, codes, verbose=False, **more)
        return self

    def predict_proba(self, x: pd.DataFrame) -> Any:
        """Probabilities (rows, classes)."""
        return self.inner.predict_proba(x)


def lightgbm_of(classes: bool, seed: int, part: Part, trees: int) -> tuple[Any, Predict]:
    """LightGBM with so many trees."""
    return lightgbm_model(classes, seed, n_estimators=trees).fit(part.x, part.y), same


def xgboost_model(classes: bool, seed: int, **given: Any) -> Any:
    """XGBoost at its defaults, but for `given`; texts are categories."""
    from xgboost import XGBClassifier, XGBRegressor

    kind = XGBClassifier if classes else XGBRegressor
    return kind(random_state=seed, n_jobs=THREADS, enable_categorical=True, **given)


def xgboost(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
    """XGBoost at its defaults."""
    model = xgboost_model(classes, seed)
    return (Coded(model) if classes else model).fit(part.x, part.y), same


def stopped_xgboost(classes: bool, seed: int, train: Part, held: Part) -> tuple[Any, Predict]:
    """XGBoost, stopped by the rows held out."""
    model = xgboost_model(classes, seed, n_estimators=TREES, early_stopping_rounds=ROUNDS)
    if classes:
        return Coded(model).fit(train.x, train.y, held), same
    return model.fit(train.x, train.y, eval_set=[(held.x, held.y)], verbose=False), same


def xgboost_of(classes: bool, seed: int, part: Part, trees: int) -> tuple[Any, Predict]:
    """XGBoost with so many trees."""
    model = xgboost_model(classes, seed, n_estimators=trees)
    return (Coded(model) if classes else model).fit(part.x, part.y), same


def texts_filled(x: pd.DataFrame) -> Predict:
    """Rows like `x` -> rows in which a missing text is a level of its own."""
    texts = texts_of(x)
    return lambda rows: rows.assign(**{name: rows[name].astype(object).fillna("missing") for name in texts})


def catboost_model(classes: bool, seed: int, x: pd.DataFrame, **given: Any) -> Any:
    """CatBoost at its defaults, but for `given`, for rows like `x`."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    kind = CatBoostClassifier if classes else CatBoostRegressor
    usual: dict[str, Any] = {"thread_count": THREADS, "verbose": False, "allow_writing_files": False}
    return kind(random_seed=seed, cat_features=texts_of(x), **usual, **given)


def catboost(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
    """CatBoost at its defaults; a missing text is a level of its own."""
    made = texts_filled(part.x)
    return catboost_model(classes, seed, part.x).fit(made(part.x), part.y), made


def stopped_catboost(classes: bool, seed: int, train: Part, held: Part, **given: Any) -> tuple[Any, Predict]:
    """CatBoost, stopped by the rows held out."""
    made, model = texts_filled(train.x), catboost_model(classes, seed, train.x, iterations=TREES, **given)
    own = (made(held.x), held.y)
    return model.fit(made(train.x), train.y, eval_set=own, early_stopping_rounds=ROUNDS), made


def catboost_of(classes: bool, seed: int, part: Part, trees: int, **given: Any) -> tuple[Any, Predict]:
    """CatBoost with so many trees."""
    made = texts_filled(part.x)
    return catboost_model(classes, seed, part.x, iterations=trees, **given).fit(made(part.x), part.y), made


def tuned_catboost(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
    """CatBoost tuned by Optuna on one fold, then trained on all rows with as many trees as were best there."""
    import optuna

    *_, (train, held) = folds_of(part, classes, seed)
    end = time.process_time() + SECONDS

    def loss(trial: Any) -> float:
        given = {
            "learning_rate": trial.suggest_float("learning_rate", 5e-3, 0.3, log=True),
            "depth": trial.suggest_int("depth", 3, 9),
            "l2_leaf_reg": trial.suggest_float("l2_leaf_reg", 0.1, 30, log=True),
            "random_strength": trial.suggest_float("random_strength", 0, 5),
            "bagging_temperature": trial.suggest_float("bagging_temperature", 0, 1),
        }
        model, _ = stopped_catboost(classes, seed, train, held, **given)
        trial.set_user_attr("trees", model.tree_count_)
        if time.process_time() > end:
            trial.study.stop()
        return float(model.get_best_score()["validation"]["Logloss" if binary else "MultiClass" if classes else "RMSE"])

    binary = classes and len(np.unique(part.y)) == 2
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(loss, n_trials=TRIES)
    best = study.best_trial
    return catboost_of(classes, seed, part, best.user_attrs["trees"], **best.params)


def pytabkit_model(name: str, classes: bool, seed: int, **given: Any) -> Any:
    """A network of pytabkit's at its tuned defaults, but for `given`."""
    import pytabkit
    import torch

    torch.set_num_threads(THREADS)
    kind = getattr(pytabkit, f"{name}_{'Classifier' if classes else 'Regressor'}")
    place = tempfile.mkdtemp(dir=PLACE.name)
    return kind(device="cpu", random_state=seed, n_threads=THREADS, tmp_folder=place, **given)


def pytabkit(name: str, **given: Any) -> Fit:
    """A network of pytabkit's; `given` are settings for classes."""

    def fit(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
        made = lambda rows: cleaned(rows, part.x)
        model = pytabkit_model(name, classes, seed, **(given if classes else {}))
        return model.fit(made(part.x), part.y, cat_col_names=texts_of(part.x)), made

    return fit


def stopped_pytabkit(name: str, **given: Any) -> Stopped:
    """A network of pytabkit's, its epoch chosen by the rows held out; `given` are settings for classes."""

    def fit(classes: bool, seed: int, train: Part, held: Part) -> tuple[Any, Predict]:
        made = lambda rows: cleaned(rows, train.x)
        model = pytabkit_model(name, classes, seed, **(given if classes else {}))
        texts = texts_of(train.x)
        return model.fit(made(train.x), train.y, made(held.x), held.y, cat_col_names=texts), made

    return fit


def autogluon(preset: str) -> Fit:
    """AutoGluon with a preset, in `options["seconds"]`, without models whose weights are downloaded."""

    def fit(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
        from autogluon.tabular import TabularPredictor

        frame = part.x.assign(target=part.y)
        metric = "log_loss" if classes else "root_mean_squared_error"
        known: dict[str, Any] = {} if classes else {"problem_type": "regression"}  # counts are no classes
        known |= {} if part.groups is None else {"groups": "group"}
        known |= {"eval_metric": metric, "path": tempfile.mkdtemp(dir=PLACE.name), "verbosity": 0}
        predictor = TabularPredictor("target", **known)
        frame = frame if part.groups is None else frame.assign(group=part.groups % FOLDS)
        predictor.fit(
            frame,
            presets=preset,
            time_limit=options["seconds"],
            num_cpus=THREADS,
            num_gpus=0,
            included_model_types=TRAINED,
        )
        return (Labelled(predictor) if classes else predictor), same

    return fit


class Labelled:
    """AutoGluon's predictor with scikit-learn's names."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.classes_ = inner, np.asarray(inner.class_labels)

    def predict_proba(self, x: pd.DataFrame) -> Any:
        """Probabilities (rows, classes)."""
        return self.inner.predict_proba(x)[self.inner.class_labels].to_numpy()


BY_LOG_LOSS = {"use_ls": False, "val_metric_name": "cross_entropy"}
PEERS: dict[str, Fit] = {
    "linear": linear,
    "linear, sparse": sparse_linear,
    "HistGradientBoosting": boosting,
    "LightGBM": lightgbm,
    "LightGBM, balanced": balanced_lightgbm,
    "CatBoost": catboost,
    "XGBoost": xgboost,
    "20 scikit-learn MLPs": networks,
    "RealMLP-TD": pytabkit("RealMLP_TD"),
    "RealMLP-TD, log loss": pytabkit("RealMLP_TD", **BY_LOG_LOSS),
    "TabM-D": pytabkit("TabM_D"),
    "LightGBM, bagged": bagged(stopped_lightgbm, lightgbm_of),
    "CatBoost, bagged": bagged(stopped_catboost, catboost_of),
    "XGBoost, bagged": bagged(stopped_xgboost, xgboost_of),
    "RealMLP-TD, bagged": bagged(stopped_pytabkit("RealMLP_TD", **BY_LOG_LOSS)),
    "TabM-D, bagged": bagged(stopped_pytabkit("TabM_D")),
    "CatBoost, tuned": tuned_catboost,
    "AutoGluon, good": autogluon("good_quality"),
    "AutoGluon, best": autogluon("best_quality"),
}
