"""The biases of convolutions as a part of them, which saves a way to the memory and back."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from jax.extend.core import Jaxpr, Literal
from jax.extend.core.primitives import add_p, conv_general_dilated_p


def with_biases(jaxpr: Jaxpr) -> list[Any]:
    """The equations; where the sum of a convolution and its bias is read several times, one with a third input.

    A sum that is read once is left to what reads it, such as a pool, which adds the bias to what it picks.
    """
    outputs = [variable for variable in jaxpr.outvars if not isinstance(variable, Literal)]
    times = Counter([*outputs, *(variable for equation in jaxpr.eqns for variable in variables_of(equation))])
    layers = {
        equation.outvars[0]: equation
        for equation in jaxpr.eqns
        if equation.primitive is conv_general_dilated_p
        and equation.params["padding"]
        and equation.params["feature_group_count"] == times[equation.outvars[0]] == 1
    }
    several = lambda equation: equation.primitive is add_p and times[equation.outvars[0]] > 1
    merged = [with_bias(equation, layers) if several(equation) else equation for equation in jaxpr.eqns]
    needed = {*outputs, *(variable for equation in merged for variable in variables_of(equation))}
    return [equation for equation in merged if needed.issuperset(layers.keys() & {*equation.outvars})]


def with_bias(addition: Any, layers: Mapping[Any, Any]) -> Any:
    """The convolution with a bias, of an addition that adds one to one of `layers`, or the addition that it is."""
    for outcome, other in (addition.invars, addition.invars[::-1]):
        layer = None if isinstance(outcome, Literal) else layers.get(outcome)
        if layer is not None:
            units = layer.params["dimension_numbers"].out_spec[1]
            shape = tuple(size if axis == units else 1 for axis, size in enumerate(outcome.aval.shape))
            if other.aval.shape == shape:
                return layer.replace(invars=[*layer.invars, other], outvars=addition.outvars)
    return addition


def variables_of(equation: Any) -> list[Any]:
    """Its inputs that are no numbers."""
    return [variable for variable in equation.invars if not isinstance(variable, Literal)]
