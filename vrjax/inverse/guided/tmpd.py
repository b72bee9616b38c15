"""Tweedie moment projection: the likelihood of the data estimate, blurred by its exact covariance.

Boys, Girolami, Pidstrigach, Reich, Mosca and Akyildiz, TMLR 2024 (arXiv 2310.06721).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from vrjax.flow.core import Level, Prediction, Velocity
from vrjax.inverse.guided._linear import EXPLICIT, estimate, symmetric_solve
from vrjax.inverse.guided._method import HIGHEST, Traits, at_most, check, observed

TRAITS = Traits(
    kind="posterior",
    form="velocity",
    network_gradient=True,
    linear=True,
    stochastic=False,
    normalised=False,
    coupled=False,
    evaluations=1,
    steps=1000,
    source="Boys et al., TMLR 2024",
)


def tmpd(
    velocity: Velocity,
    operator: Any,
    y: ArrayLike,
    noise_std: ArrayLike,
    *,
    explicit: bool | None = None,
    highest: float = HIGHEST,
    iterations: int = 100,
) -> Velocity:
    """The velocity with the score of `N(y; A x0_hat, A K A^T + noise_std^2 I)` added, taps kept.

    K = sigma^2 / (1 - sigma) J with J the Jacobian of x0_hat is the covariance of x0 given x (Tweedie's second
    formula); its own dependence on x is left out, as published. The result is
    `v - sigma / (1 - sigma) J^T A^T (A K A^T + noise_std^2 I)^-1 (y - A x0_hat)`, exact for Gaussian data and every
    linear operator. A learned J is not symmetric, so the symmetric part of A K A^T is used. The published
    approximation for images, the row sums of A K A^T in place of the matrix, is not made here.

    Args:
        velocity: of the prior; compose guidance such as `cfg` before this.
        operator: linear, with `apply` and `adjoint`.
        y: what was observed, in the shape `operator.apply` gives.
        noise_std: standard deviation of the noise in y, in y's unit.
        explicit: A K A^T as a matrix, one reverse derivative of the network per observed entry in one batch; or, if
            False, CG with one forward and one reverse derivative an iteration. By default up to 32 entries explicit.
        highest: levels above are asked as this one, since J / (1 - sigma) has no value at 1.
        iterations: of CG at most.

    Raises:
        ValueError: a nonlinear operator, y that is not finite or of another shape, noise_std that is not positive.
    """
    y = check("tmpd", operator, y, noise_std, linear=True)

    def guided(x, level: Level) -> Prediction:
        level = at_most(level, highest)
        data, sigma = observed("tmpd", operator, y, x), level.sigma
        x0, pull, prediction = estimate(lambda x: velocity(x, level), x, sigma)
        noise2 = jnp.square(jnp.asarray(noise_std, x.dtype))
        spread = sigma**2 / (1 - sigma)
        small = data.size <= EXPLICIT if explicit is None else explicit
        # The transpose of the reverse derivative is the forward one, from the same evaluation of the network.
        push = None if small else jax.linear_transpose(pull, x0)

        def multiply(u):
            back = operator.adjoint(u)
            blurred = pull(back) if push is None else (pull(back) + push(back)[0]) / 2
            return spread * operator.apply(blurred) + noise2 * u

        missing = data - operator.apply(x0)
        score = pull(operator.adjoint(symmetric_solve(multiply, missing, explicit=small, iterations=iterations)))
        return Prediction(prediction.v - sigma / (1 - sigma) * score, prediction.taps)

    return guided
