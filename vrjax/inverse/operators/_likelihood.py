"""The Gaussian likelihood of data, and what data have to be."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from vrjax.inverse.operators._operator import Number, Operator, Real


def check(operator: Operator, y: Float[Real, "..."], noise_std: Number) -> None:
    """That y may be data of the operator, with noise of this standard deviation.

    Shapes are always checked; traced values are not known, and those two of the rules are left out.

    Raises:
        ValueError: y is not of `operator.out_shape` or not finite, or noise_std is not one finite number above 0.
    """
    if jnp.shape(y) != operator.out_shape:
        raise ValueError(f"{operator.name}: y must have shape {operator.out_shape}, found {jnp.shape(y)}")
    if not isinstance(y, Tracer) and (bad := int(np.sum(~np.isfinite(y)))):
        raise ValueError(f"{operator.name}: y must be finite, found {bad} of {np.size(y)} values that are not")
    if jnp.shape(noise_std) != ():
        raise ValueError(f"{operator.name}: noise_std must be one number, found the shape {jnp.shape(noise_std)}")
    if not isinstance(noise_std, Tracer) and not (np.isfinite(noise_std) and noise_std > 0):
        raise ValueError(f"{operator.name}: noise_std must be finite and above 0, found {noise_std}")


def potential(
    operator: Operator, y: Float[Real, "..."], noise_std: Number
) -> Callable[[Float[Array, "..."]], Float[Array, ""]]:
    """The likelihood potential of `y = A(x) + noise_std * normal`: Phi(x) = |y - A(x)|^2 / (2 noise_std^2).

    The likelihood is `exp(-Phi(x))`, at most 1: its normalising constant, the same for every x, is left out.

    Args:
        operator: A; linear or not.
        y: data, of `operator.out_shape`, finite.
        noise_std: standard deviation of the noise, one number above 0.

    Raises:
        ValueError: as `check`, at once; a wrong shape of x, when it is called.
    """
    check(operator, y, noise_std)

    def phi(x):
        return 0.5 * jnp.sum(((jnp.asarray(y) - operator.apply(x)) / noise_std) ** 2)

    return phi
