"""Supervised learning as a Task: a model, an optimizer, rows."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from popjax.core.calls import check_called
from popjax.core.doubt import doubt
from popjax.core.text import lookup
from popjax.data.checks import AUTO
from popjax.data.columns import check_one_hot
from popjax.data.dataset import Dataset, images
from popjax.data.dependent import dependent
from popjax.data.parts import parts_of
from popjax.data.scarce import repeated, scarce
from popjax.data.splits import Splitting, untimely
from popjax.data.transforms.applying import missing_for, transforms_of, unchanged
from popjax.data.transforms.by_feature import Known
from popjax.models.built_in import MODELS, Model, model_named
from popjax.models.networks import check_model
from popjax.supervision.further_metrics import metrics_of
from popjax.supervision.kinds.named_kinds import reader_of
from popjax.supervision.optimizers import OPTIMIZERS, SCHEDULES
from popjax.supervision.preprocessing import seen
from popjax.supervision.problem import Supervised, SupervisedProblem
from popjax.supervision.problem_options import ProblemOptions

REWRITES = ("fast", "none")


def supervised(
    data: Any,
    model: str | Callable[..., Any] = "mlp",
    optimizer: str | Callable[..., Any] | None = None,
    loss: Callable[..., Any] | None = None,
    target: Any = None,
    validation: Any = 0.1,
    test: Any = 0.1,
    seed: int = 0,
    schedule: str | Callable[..., Any] | None = None,
    missing: str | None = None,
    transform: Any = None,
    kind: str | None = None,
    groups: Any = None,
    shuffle: bool = True,
    class_weight: Any = None,
    sample_weight: Any = None,
    metrics: Any = (),
    rewrite: str = "fast",
) -> Supervised:
    """A Task that fits a model to rows by mini-batch gradient descent.

    Args:
        data: `(x, y)`, arrays or a DataFrame and a Series; a DataFrame with the column `target`, of pandas, polars,
            Arrow or what else narwhals reads; the name of a CSV, TSV, Parquet or NPZ file, or of one of scikit-learn's
            datasets, such as "digits"; or a Dataset. Rows without a target and columns without a value are left out.
            `x` may be a dict
            of arrays (rows, ...) for a custom model, which receives a dict of batches; integers in it stay integers, as
            do those of an array with a custom model and transform="none". If `y` is the same object as `x`, as for an
            autoencoder, the targets of `loss` are the transformed features.
        model: "mlp", "tabular" (for tables), "cnn" (for images), `model(hparams, rngs)` that returns an nnx or a linen
            module, or `model(hparams, key)` that returns an equinox module of one row; it maps rows to outputs (rows,
            classes), (rows, 1) or (rows,) for a regression, (rows, outputs) for several labels or values, and (rows,
            ...) for a `loss` of the kind "own".
        optimizer: "sgd", "nesterov", "adam", "adamw", "rmsprop", or `optimizer(hparams)` that returns an optax
            transform; `hparams["learning_rate"]` is the scheduled rate. If None, "adamw" for "tabular" and
            "cnn", else "sgd".
        loss: `loss(outputs, targets)`, one value a row (rows,), without hyperparameters, since it compares trials; if
            None, cross-entropy for classes and labels, and the squared error of standardized values.
        target: the column to predict, in a DataFrame or a file; a list of columns for several labels or values.
        validation: the rows that rank the trials: a share, row numbers, truth values, or other rows in any form of
            `data`.
        test: the rows that no trial sees, scored once for the winner, in the same forms; 0 for none.
        seed: of the split, which is stratified by class, and of the transform.
        schedule: "inverse", "exponential", "cosine", or "flat", which falls as a cosine in the second half; or
            `schedule(hparams, epoch)`, the factor of the learning rate, where `epoch` counts from 0, and to
            `hparams["epochs"]`. A hyperparameter `schedule` overrides it. If None, "flat" for "tabular"
            and "cnn", else "inverse".
        missing: what to do with missing cells: "error", "drop" the rows, or "median" of all rows, of texts the most
            frequent one; "auto": a missing text is a level of its own, a missing number the median of each fold's
            training rows, with an indicator as a further feature. If None, "auto" for "tabular", else "error", unless
            `transform` takes missing cells.
        transform: of the features, fitted to the training rows of each fold: "standardize", each by its own mean and
            deviation; "global", by those of all features, for images of each channel; "robust", by median and
            quartiles; "quantile", to a normal distribution; "none"; or a Transform. If None, "robust" for
            `model="tabular"`, "global" for images, else "standardize". For a dict of arrays entry -> transform; a
            single one applies to all entries but integers. Standardized features are clipped at 20 deviations, and at 1
            if they are nearly constant on training rows.
        kind: "classification", "multilabel" (truth values (rows, labels)), "regression" of one value (rows,) or of
            several (rows, outputs), each standardized by its training rows; or "own": targets (rows, ...) for a custom
            `loss`, unchanged. If None, texts, truth values, and integers with at most 20 distinct values are classes;
            truth values, and integers 0 and 1, (rows, labels) are labels; several columns with a `loss` are "own". A
            warning says where this is doubtful.
        groups: one value a row, in the order of `sample_weight`, or the name of a column: rows of one group are never
            in two parts.
        shuffle: False for rows in order of time: the last ones test, those before them validate.
        class_weight: "balanced", or label -> weight of the rows of a class, or of one of several labels, in the
            training loss.
        sample_weight: a weight for each row, times that of `class_weight`; rows of `data` come first, then other rows
            of `validation` and of `test`. Weights are scaled to a mean of 1, and affect no metric but train_loss.
        metrics: further metrics on the validation and test rows, any of which may rank: names, of "f1" (macro), "auc",
            "log_loss" and "mcc" for classes, "f1" and "auc" for labels, "rmse", "mape" and "median_error" for a
            regression; or name -> a jax.numpy function of (outputs, targets) that returns a scalar: of logits (rows,
            classes) and class indices (rows,), of log odds and truth values (rows, labels), or of values (rows, ...) in
            the targets' own units.
        rewrite: "fast" to compute the convolutions, pools and products of "cnn" or a custom model in ways that are
            faster in a population, equal to rounding (1e-5 of float32); "none" to train it as it is written.

    The metrics are train_loss and val_loss, and for

    - classes: val_accuracy, which ranks (max), and val_balanced_accuracy;
    - one value: val_mse, which ranks (min), and val_mae in the target's units, and val_r2, which is 0 where the
      validation rows all have the same target;
    - several values: val_loss ranks (min), the mean of their standardized squared errors; val_r2, and with at most 10
      outputs an mse, mae and r2 of each, such as val_price_r2;
    - labels: val_loss ranks (min); val_accuracy is the share of rows with all labels right;
    - a loss of the kind "own": val_loss ranks (min);

    and val_<name> of each of `metrics`. Raises ValueError for data or names that cannot be used.

    >>> import popjax as pj
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> task = pj.supervised((x, x[:, 0] > 0), optimizer="adam")
    >>> task.metric, task.mode
    ('val_accuracy', 'max')
    """
    options = ProblemOptions(
        model=model,
        optimizer=optimizer,
        loss=loss,
        target=target,
        validation=validation,
        test=test,
        seed=seed,
        schedule=schedule,
        missing=missing,
        transform=transform,
        kind=kind,
        groups=groups,
        shuffle=shuffle,
        class_weight=class_weight,
        sample_weight=sample_weight,
        metrics=metrics,
        rewrite=rewrite,
    )
    return of_data(data, options)


def of_data(data: Any, options: ProblemOptions) -> Supervised:
    """The Task of `supervised` from its options; warns of doubtful data."""
    if not isinstance(options.model, str):
        check_model(options.model)
    if not isinstance(options.optimizer, str | None):
        check_called("the optimizer", options.optimizer, "hparams")
    if not isinstance(options.schedule, str | None):
        check_called("the schedule", options.schedule, "hparams", "epoch")
    if options.loss is not None:
        check_called("the loss", options.loss, "outputs", "targets")
    if options.rewrite not in REWRITES:
        raise ValueError(f"rewrite={options.rewrite!r}; choose {' or '.join(map(repr, REWRITES))}")
    model = model_named(options.model) if isinstance(options.model, str) else None
    options = settled(options, model)
    transform = options.transform if options.transform is not None or model is None else model.transform
    missing = missing_for(transform, options.missing, "error" if model is None else model.missing)
    dataset, validation, test, groups = parts_of(
        data,
        options.validation,
        options.test,
        options.groups,
        options.target,
        missing,
        reader_of(options.kind, options.loss),
        own_loss=options.loss is not None and options.kind in (None, "own"),
        whole=model is None and unchanged(transform),
    )
    if dataset.kind == "own" and options.loss is None:
        raise ValueError("targets of the kind own need a custom loss; give loss=")
    if options.kind not in (None, dataset.kind):
        raise ValueError(f"kind={options.kind!r}: {dataset.name} is a {dataset.kind} already; leave kind out")
    for line in () if isinstance(data, Dataset) else dataset.doubts:
        doubt(line)
    dataset = images(dataset) if model is not None and model.images else dataset
    if isinstance(options.optimizer, str):
        lookup(OPTIMIZERS, "optimizer", options.optimizer)
    if isinstance(options.schedule, str):
        lookup(SCHEDULES, "schedule", options.schedule)
    inputs = model_inputs(dataset, model)
    transform, shuffle = transforms_of(transform, inputs, options.seed, missing == AUTO), options.shuffle
    if model is not None and model.apart and dataset.levels:
        transform = {**transform, "codes": Known()}
    if not isinstance(shuffle, bool) or (options.groups is not None and not shuffle):
        raise ValueError(f"shuffle={shuffle!r}: True, or False for rows in time, which have no groups; choose one")
    splitting = Splitting(validation, test, options.seed, groups, shuffle)
    more = metrics_of(options.metrics, dataset.kind)
    options = dataclasses.replace(options, transform=transform, metrics=more)
    task = SupervisedProblem(dataset, splitting, options, beside, afterwards).in_folds(1)
    notes = (
        None if shuffle else untimely(task.split),
        scarce(dataset, task.split),
        *repeated(dataset, splitting, task.split),
        *dependent(dataset, splitting),
    )
    for note in filter(None, notes):
        doubt(note)
    return task


def settled(options: ProblemOptions, model: Model | None) -> ProblemOptions:
    """The options with the optimizer and the schedule of the model where none are given."""
    usual = MODELS["mlp"] if model is None else model
    optimizer = usual.optimizer if options.optimizer is None else options.optimizer
    return dataclasses.replace(options, optimizer=optimizer, schedule=options.schedule or usual.schedule)


def model_inputs(dataset: Dataset, model: Model | None) -> Any:
    """The rows as the transforms of a model take them; raises ValueError if they do not fit the model."""
    split_up = model is not None and model.apart
    if split_up and isinstance(dataset.x, Mapping):
        raise ValueError(f"{dataset.name}: the model takes a table, not a dict of arrays; give a custom model")
    if not split_up:
        check_one_hot(dataset.name, len(dataset), dataset.levels)
    return seen(dataset.x, dataset.columns, dataset.levels, split_up)


def beside(task: Supervised) -> Mapping[str, Any]:
    """See `Task.beside`; imported as training begins."""
    from popjax.supervision.afterwards import fitted_beside

    return fitted_beside(task)


def afterwards(results: Any, page: bool) -> dict[str, Any]:
    """See `Task.afterwards`; imported as training has ended."""
    from popjax.supervision.afterwards import summary_entries

    return summary_entries(results, page)
