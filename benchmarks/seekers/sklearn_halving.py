"""scikit-learn: HalvingRandomSearchCV over its own networks, with epochs as the resource, one process a core.

They have no decay of the learning rate with momentum, so it is constant.
"""

import time
import warnings
from typing import Any

import numpy as np
from scipy.stats import loguniform
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingRandomSearchCV, PredefinedSplit
from sklearn.neural_network import MLPClassifier, MLPRegressor
from workload import BATCHES, DEPTH, EPOCHS, HIDDEN, RATES, REST, Told, Workload, scores

CANDIDATES, FIRST = 512, 2  # as popjax's halving: so many begin, with so many epochs


class Momentum:
    """1 - a logarithmic rest."""

    def rvs(self, random_state: Any = None) -> float:
        """One value."""
        return float(1 - loguniform(*REST).rvs(random_state=random_state))


class Silent:
    """A network that does not warn in its worker processes that it has not converged, and fails as a bad one."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> Any:
        """Train."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            return super().fit(x, y)  # type: ignore[misc]


class Classifier(Silent, MLPClassifier):
    """Of classes."""


class Regressor(Silent, MLPRegressor):
    """Of values."""


def loss(model: Any, x: np.ndarray, y: np.ndarray) -> float:
    """The validation loss with a minus; very bad for a network that diverged."""
    found = -scores(predicted(model, x), y, hasattr(model, "classes_"))["loss"]
    return found if np.isfinite(found) else -1e9


def predicted(model: Any, x: np.ndarray) -> np.ndarray:
    """Probabilities or values."""
    return np.asarray(model.predict_proba(x) if hasattr(model, "classes_") else model.predict(x))


def search(work: Workload, told: Told) -> None:
    """Search; it tells nothing before it is through."""
    x, y = work.standardized()
    network = Classifier if work.classes else Regressor
    model = network(solver="sgd", nesterovs_momentum=False, alpha=0, tol=0, n_iter_no_change=EPOCHS + 1, random_state=0)
    space = {
        "learning_rate_init": loguniform(*RATES),
        "momentum": Momentum(),
        "hidden_layer_sizes": [
            (h,) * d for h in range(HIDDEN[0], HIDDEN[1] + 1) for d in range(DEPTH[0], DEPTH[1] + 1)
        ],
        "batch_size": [size for size in BATCHES if size <= len(work.train)],
    }
    rows = np.concatenate([work.train, work.validation])
    fold = PredefinedSplit(np.repeat([-1, 0], [len(work.train), len(work.validation)]))
    tuner = HalvingRandomSearchCV(
        model,
        space,
        n_candidates=CANDIDATES,
        factor=3,
        resource="max_iter",
        min_resources=FIRST,
        max_resources=EPOCHS,
        scoring=loss,
        cv=fold,
        refit=False,
        random_state=work.seed,
        error_score=-1e9,
        n_jobs=-1,
    )
    told.begun = time.time()
    found = tuner.fit(x[rows], y[rows]).cv_results_
    last = np.flatnonzero(found["iter"] == found["iter"].max())
    best = int(last[np.argmax(found["mean_test_score"][last])])
    told.trial(-found["mean_test_score"][best])
    model.set_params(**found["params"][best]).fit(x[work.train], y[work.train])
    told.found = {
        "winner": scores(predicted(model, x[work.test]), y[work.test], work.classes),
        "trials": CANDIDATES,
        "epochs": int(found["n_resources"].sum()),
    }
