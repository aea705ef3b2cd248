"""The biases of convolutions as a part of them, which saves a way to the memory and back."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from jax.extend.core import Jaxpr, Literal
from jax.extend.core.primitives import add_p, conv_general_dilated_p


def with_biases(jaxpr: Jaxpr) -> Mapping[Any, tuple[Any, Any]]:
    """Sum of a convolution and its bias -> the equation of the convolution, and the variable of the bias.

    Of sums that are read several times, of convolutions that are read by them alone. A sum that is read once is left to
    what reads it, such as a pool, which adds the bias to what it picks.
    """
    read = [*jaxpr.outvars, *(variable for equation in jaxpr.eqns for variable in equation.invars)]
    times = Counter(variable for variable in read if not isinstance(variable, Literal))
    layers = {
        equation.outvars[0]: equation
        for equation in jaxpr.eqns
        if equation.primitive is conv_general_dilated_p
        and equation.params["padding"]
        and not empty(equation)
        and equation.params["feature_group_count"] == times[equation.outvars[0]] == 1
    }
    several = lambda equation: equation.primitive is add_p and times[equation.outvars[0]] > 1
    merged = {addition.outvars[0]: layer_and_bias(addition, layers) for addition in filter(several, jaxpr.eqns)}
    return {outcome: pair for outcome, pair in merged.items() if pair is not None}


def empty(equation: Any) -> bool:
    """True if the result has no numbers."""
    return 0 in equation.outvars[0].aval.shape


def layer_and_bias(addition: Any, layers: Mapping[Any, Any]) -> tuple[Any, Any] | None:
    """The one of `layers` to which an addition adds a number of each unit, and these; None if it does not."""
    for outcome, other in (addition.invars, addition.invars[::-1]):
        layer = None if isinstance(outcome, Literal) else layers.get(outcome)
        if layer is not None:
            units = layer.params["dimension_numbers"].out_spec[1]
            shape = tuple(size if axis == units else 1 for axis, size in enumerate(outcome.aval.shape))
            if other.aval.shape == shape:
                return layer, other
    return None
