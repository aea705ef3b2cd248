"""Whether less or more of a metric is better, by its name. No JAX here."""

LESS, MORE = ("loss", "mse", "mae", "mape", "error"), ("accuracy", "r2", "f1", "auc", "mcc")


def mode_of(metric: str) -> str:
    """ "min" or "max", by how the name ends; raises ValueError where that does not tell.

    >>> mode_of("val_loss"), mode_of("val_accuracy")
    ('min', 'max')
    """
    for ends, mode in ((LESS, "min"), (MORE, "max")):
        if metric.endswith(ends):
            return mode
    raise ValueError(f"metric {metric!r}: is less or more of it better? give mode min or max")
