"""What is shared by the tests of what strangers bring: small tasks, and functions that raise an error of their own."""

import jax.numpy as jnp

import popjax as pj

SPACE = {"x": pj.uniform(0, 1)}
RATE = {"learning_rate": pj.log_uniform(1e-3, 1e-1)}
OBJECTIVE = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})


def start(key, hparams, data):
    return jnp.float32(1.0)


def step(x, hparams, data):
    return x - hparams["x"] * x, {"loss": x**2}


QUADRATIC = pj.Task(start, step, ())


def raises(error=ZeroDivisionError):
    """A function of any arguments that raises an error of its author's."""

    def fails(*given, **named):
        raise error("its own")

    return fails


FAILED = ("raised ZeroDivisionError: its own (", "strangers.py, line ", ", in raises.<locals>.fails)")
