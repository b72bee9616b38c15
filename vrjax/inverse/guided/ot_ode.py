"""Training-free linear inverses by flows: pseudo-inverse guidance of the ordinary equation, begun part of the way.

Pokle, Muckley, Chen and Karrer 2023 (arXiv 2310.04432); settings from the public code of PnP-Flow, which compares with
it.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from vrjax.flow.core import Grid, Level, Velocity
from vrjax.inverse.guided._method import HIGHEST, Traits, check, choice, observed
from vrjax.inverse.guided.pigdm import guide

TRAITS = Traits(
    kind="posterior",
    form="velocity",
    network_gradient=True,
    linear=True,
    stochastic=False,
    normalised=False,
    coupled=False,
    evaluations=1,
    steps=80,
    source="Pokle et al. 2023; start, steps and gamma as in the public code of PnP-Flow",
)
START = 0.8


def ot_ode(
    velocity: Velocity,
    operator: Any,
    y: ArrayLike,
    noise_std: ArrayLike,
    *,
    gamma: str = "constant",
    highest: float = HIGHEST,
    iterations: int = 100,
) -> Velocity:
    """`pigdm` with the weight gamma, for Euler's solver on `ot_ode_grid()` from `ot_ode_start(...)`.

    Args:
        velocity, operator, y, noise_std, highest, iterations: see `pigdm`.
        gamma: "constant", 1, or "gamma_t", `sqrt((1 - sigma) / (sigma^2 + (1 - sigma)^2))`; published runs use either,
            by problem.

    Raises:
        ValueError: an unknown gamma, and as `pigdm`.
    """
    choice("ot_ode", "gamma", gamma, ("constant", "gamma_t"))
    y = check("ot_ode", operator, y, noise_std, linear=True)
    weight = 1.0 if gamma == "constant" else _gamma
    return guide("ot_ode", velocity, operator, y, noise_std, 1.0, weight, highest, iterations)


def ot_ode_start(
    operator: Any, y: ArrayLike, noise: Float[Array, "..."], *, sigma: float = START
) -> Float[Array, "..."]:
    """The published start at level sigma: `(1 - sigma) A^T y + sigma noise`, noise standard normal, of a state's shape.

    Raises:
        ValueError: a nonlinear operator, y that is not finite or of another shape.
    """
    data = observed("ot_ode_start", operator, check("ot_ode_start", operator, y, 1.0, linear=True), noise)
    return (1 - sigma) * operator.adjoint(data) + sigma * noise


def ot_ode_grid(steps: int = 100, *, sigma: float = START) -> Grid:
    """The published grid: of `steps` even steps from 1 to 0 those from `sigma` on, 80 by default."""
    return Grid(np.linspace(sigma, 0.0, round(steps * sigma) + 1))


def _gamma(level: Level):
    return jnp.sqrt((1 - level.sigma) / (level.sigma**2 + (1 - level.sigma) ** 2))
