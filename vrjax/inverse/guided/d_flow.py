"""D-Flow: descend the misfit through the whole flow, over its start. A maximum a posteriori point in latent space.

Ben-Hamu, Puny, Gat, Karrer, Singer and Lipman, ICML 2024 (arXiv 2402.14017).
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import optax
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from vrjax.flow.core import Grid, Level, Prediction, Record, Trajectory, Velocity, as_prediction
from vrjax.flow.sampling import sample
from vrjax.inverse.guided._method import Traits, all_finite, check, finite, keeping, norm, observed
from vrjax.inverse.guided._midpoint import doubled, midpoint

TRAITS = Traits(
    kind="map",
    form="sampler",
    network_gradient=True,
    linear=False,
    stochastic=False,
    normalised=False,
    coupled=False,
    evaluations=10,
    steps=400,
    source="Ben-Hamu et al., ICML 2024; nodes, L-BFGS, weight .01 and blend .1 as in the public code of PnP-Flow",
)


def d_flow(
    velocity: Velocity,
    operator: Any,
    y: ArrayLike,
    noise_std: ArrayLike,
    x: Float[Array, "..."],
    grid: Grid | None = None,
    *,
    key: Any = None,
    iterations: int = 400,
    memory: int = 100,
    trials: int = 25,
    regularisation: ArrayLike | None = 0.01,
    record: Record | None = None,
) -> Trajectory:
    """Minimises `|y - A(T(z))|^2 + regularisation (|z|^2 / 2 - (d - 1) log |z|)` over the start z of the flow T.

    T is the midpoint rule on six nodes; L-BFGS with a line search for the strong Wolfe conditions, all in one scan; the
    network is differentiated through all of T. The bracket is minus the log-density of the length of d standard normal
    numbers. (In the public code of PnP-Flow it enters with the other sign, which rewards unlikely lengths.) Published
    runs make 20 calls of 20 iterations with a memory of 100; here they are one run of 400 iterations.

    Args:
        velocity: of the prior.
        operator: anything with a differentiable `apply`.
        y: what was observed, in the shape `operator.apply` gives.
        noise_std: standard deviation of the noise in y, in y's unit; used if regularisation is None only.
        x: where z starts; published as `d_flow_start(...)`.
        grid: of the midpoint rule, middles included, by default `Grid(linspace(1, 0, 11))`.
        key: not used; it is there so that samplers are called alike.
        iterations, memory: of L-BFGS.
        trials: of one line search at most.
        regularisation: its weight, .01 as published; None for 2 noise_std^2, with which the minimum is the posterior's
            mode in the length and direction of z.
        record: as in `sample`, of the flow from the best z; its x starts with z.

    Returns:
        The trajectory of T from the z found, whose `stats` hold `finite` [iterations] and `loss` [iterations] of the
        descent, and if `record` has a function "record", what it gives.

    Raises:
        ValueError: an odd grid, y that is not finite or of another shape, noise_std that is not positive.
    """
    y = check("d_flow", operator, y, noise_std)
    grid = doubled(6) if grid is None else grid
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    data = observed("d_flow", operator, y, x)
    weight = 2 * jnp.square(jnp.asarray(noise_std, x.dtype)) if regularisation is None else regularisation

    def loss(z):
        end = sample(velocity, z, grid, solver=midpoint(), record=Record(())).final
        length = norm(z)
        prior = length**2 / 2 - (z.size - 1) * jnp.log(length + 1e-5)
        return jnp.sum(jnp.square(data - operator.apply(end))) + weight * prior

    search = optax.scale_by_zoom_linesearch(max_linesearch_steps=trials, initial_guess_strategy="one")
    optimiser = optax.lbfgs(memory_size=memory, linesearch=search)
    again = optax.value_and_grad_from_state(loss)

    def descend(carry, _):
        z, state, fine = carry
        value, slope = again(z, state=state)
        moves, state = optimiser.update(slope, state, z, value=value, grad=slope, value_fn=loss)
        z = optax.apply_updates(z, moves)
        fine = fine & all_finite(value, slope, z)
        return (z, state, fine), {"loss": value, "finite": fine}

    (z, _, _), descent = lax.scan(descend, (x, optimiser.init(x), all_finite(x)), length=iterations)
    found = sample(velocity, z, grid, solver=midpoint(), record=keeping(record, lambda s: {"finite": finite(s)}))
    kept = {} if found.stats is None else {n: a for n, a in found.stats.items() if n == "record"}
    return dataclasses.replace(found, stats={**descent, **kept})


def d_flow_start(
    velocity: Velocity,
    operator: Any,
    y: ArrayLike,
    noise: Float[Array, "..."],
    *,
    blend: float = 0.1,
    nodes: int = 6,
) -> Float[Array, "..."]:
    """The published start, `sqrt(blend) T^-1(A^T y) + sqrt(1 - blend) noise`, noise standard normal of a state's shape.

    T^-1 follows the flow from data to noise, by the midpoint rule with as many nodes (published: an adaptive rule). It
    asks the network at level 0, with time 1000 sigma.

    Raises:
        ValueError: a nonlinear operator, y that is not finite or of another shape.
    """
    data = observed("d_flow_start", operator, check("d_flow_start", operator, y, 1.0, linear=True), noise)

    def backward(x, level: Level) -> Prediction:
        sigma = 1 - level.sigma
        return Prediction(-as_prediction(velocity(x, Level(sigma, 1000 * sigma))).v)

    latent = sample(backward, operator.adjoint(data), doubled(nodes), solver=midpoint(), record=Record(())).final
    return jnp.sqrt(blend) * latent + jnp.sqrt(1 - blend) * noise
