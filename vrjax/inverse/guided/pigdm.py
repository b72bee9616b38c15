"""Pseudo-inverse guidance: the likelihood of the data estimate, blurred by an isotropic guess of its uncertainty.

Song, Vahdat, Mardani and Kautz, ICLR 2023; for flows Pokle et al. 2023 (arXiv 2310.04432).
"""

from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike

from vrjax.flow.core import Level, Prediction, Velocity
from vrjax.inverse.guided._linear import estimate, gram_solve, isotropic
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
    steps=100,
    source="Song et al., ICLR 2023; r^2 and the 100 steps as in InverseBench",
)


def pigdm(
    velocity: Velocity,
    operator: Any,
    y: ArrayLike,
    noise_std: ArrayLike,
    *,
    prior_variance: ArrayLike = 1.0,
    weight: Any = 1.0,
    highest: float = HIGHEST,
    iterations: int = 100,
) -> Velocity:
    """The velocity with the score of `N(y; A x0_hat, r^2 A A^T + noise_std^2 I)` added, taps kept.

    With J the Jacobian of x0_hat: `v - weight sigma / (1 - sigma) J^T A^T (r^2 A A^T + noise_std^2 I)^-1 (y - A
    x0_hat)`. The inverse is the operator's `gram_solve`, else explicit up to 32 observed entries, else CG. The method
    is exact where the data are N(m, prior_variance I). InverseBench runs it with 100 steps and a share .2 of fresh
    noise; here the solver of `flow.sample` decides about both.

    Args:
        velocity: of the prior; compose guidance such as `cfg` before this.
        operator: linear, with `apply` and `adjoint`.
        y: what was observed, in the shape `operator.apply` gives.
        noise_std: standard deviation of the noise in y, in y's unit.
        prior_variance: variance s^2 of the data in `r^2 = s^2 t^2 / (t^2 + s^2 (1 - t)^2)`, t = sigma; 1 as published.
        weight: of the correction, a number or a function of the level; 1 is the score itself.
        highest: levels above are asked as this one, since J / (1 - sigma) has no value at 1.
        iterations: of CG at most.

    Raises:
        ValueError: a nonlinear operator, y that is not finite or of another shape, noise_std that is not positive.
    """
    y = check("pigdm", operator, y, noise_std, linear=True)
    return guide("pigdm", velocity, operator, y, noise_std, prior_variance, weight, highest, iterations)


def guide(
    where: str,
    velocity: Velocity,
    operator: Any,
    y: Any,
    noise_std: Any,
    prior_variance: Any,
    weight: Any,
    highest: float,
    iterations: int,
) -> Velocity:
    """The combinator that `pigdm` and `ot_ode` are, for arguments that are checked."""

    def guided(x, level: Level) -> Prediction:
        level = at_most(level, highest)
        data, sigma = observed(where, operator, y, x), level.sigma
        x0, pull, prediction = estimate(lambda x: velocity(x, level), x, sigma)
        noise2 = jnp.square(jnp.asarray(noise_std, x.dtype))
        r2 = isotropic(sigma, jnp.asarray(prior_variance, x.dtype))
        score = pull(operator.adjoint(gram_solve(operator, data - operator.apply(x0), r2, noise2, iterations)))
        size = weight(level) if callable(weight) else weight
        return Prediction(prediction.v - size * sigma / (1 - sigma) * score, prediction.taps)

    return guided
