"""Policy gradients on the stochastic sampler: Flow-GRPO, DanceGRPO (`losses.grpo`) and SPO (`losses.spo`).

GRPO is two programs with a judge between them: `rollout` samples a group of trajectories per prompt and keeps each
transition and its log-density; somebody scores the final clips (a verifier in NumPy, a reward model); `make` updates on
the recorded transitions. The published methods differ in the sampler, `flow.sde("flow_grpo" | "dance_grpo")`.

Before the first update every ratio is exactly 1: the replayed log-density of the policy that made a trajectory *is* the
recorded one, bit for bit (`flow.log_prob`). Differentiated, the network may round its last bit differently, so an
update on fresh trajectories takes its own value as the old one (`fresh=True`) and reports how far that is from the
recorded one, `replay_error`: anything but rounding there is a mistake in batching, precision or conditions.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from vrjax import flow
from vrjax.align import losses
from vrjax.flow import words
from vrjax.flow.sampling import plan_rows
from vrjax.train import update
from vrjax.train.state import Network, State


class Rollouts(NamedTuple):
    """Trajectories of a batch of prompts, (b, group, ...), and the conditions that made them by name, (b, ...)."""

    trajectory: flow.Trajectory
    conditions: Mapping[str, Any]

    __repr__ = words.line


def rollout(
    network: Network,
    *,
    shape: tuple[int, ...],
    grid: flow.Grid,
    solver: flow.Solver,
    group: int,
    same_noise: bool = False,
) -> Callable[..., Rollouts]:
    """The compiled `(params, base, conditions, key) -> Rollouts`; conditions by name, (b, ...).

    Args:
        network: what samples.
        shape: of a latent.
        grid, solver: the stochastic sampler; the last step to sigma 0 is exact and carries no density.
        group: trajectories per prompt.
        same_noise: start all trajectories of a group from one noise, as DanceGRPO does.
    """
    if not solver.stochastic:
        raise ValueError("rollout: policy gradients need a stochastic solver such as flow.sde()")
    keep = flow.Record(fields=("x",))

    def run(params: Any, base: Any, conditions: Mapping[str, Any], key: Array) -> Rollouts:
        model = network.build(params, base)

        def prompt(given: Any, key: Array) -> flow.Trajectory:
            velocity = network.family.velocity(model, given)
            start, steps = jax.random.split(key)
            starts = jax.random.split(start, group)
            starts = jnp.broadcast_to(starts[:1], starts.shape) if same_noise else starts

            def one(start: Array, key: Array) -> flow.Trajectory:
                x = jax.random.normal(start, shape, jnp.float32)
                return flow.sample(velocity, x, grid, solver=solver, key=key, record=keep)

            return jax.vmap(one)(starts, jax.random.split(steps, group))

        count = len(jax.tree.leaves(conditions)[0])
        return Rollouts(jax.vmap(prompt)(conditions, jax.random.split(key, count)), conditions)

    return jax.jit(run)


def log_probs(network: Network, params: Any, base: Any, rolled: Rollouts) -> Float[Array, "b group steps"]:
    """Log-density of every recorded transition under `params`; 0 for steps without noise."""
    model = network.build(params, base)

    def prompt(trajectory: flow.Trajectory, given: Any) -> Array:
        velocity = network.family.velocity(model, given)
        return jax.vmap(lambda t: flow.log_prob(velocity, t))(trajectory)

    return jax.vmap(prompt)(rolled.trajectory, rolled.conditions)


def make(
    network: Network,
    tx: Any,
    *,
    clip: float = 1e-4,
    kl: float = 0.0,
    fraction: float = 1.0,
) -> Callable[..., tuple[State, Array, dict[str, Array]]]:
    """The compiled update `(state, base, reference, rolled, old, advantage, fresh, key) -> (state, old, metrics)`.

    Args:
        network: what is trained.
        tx: the optimiser; `vrjax.train.update.start(params, tx)` is the first state.
        clip: half-width of the ratios that still have a gradient.
        kl: weight of the divergence from the reference, `mean_D (mu - mu_ref)^2 / (2 std^2)`; 0 asks no reference.
        fraction: share of the stochastic steps that are trained, drawn anew for each trajectory (DanceGRPO: 0.6).

    The arguments of the update: `reference`, weights as `params` (ignored without kl); `old` (b, group, steps), the
    log-densities that ratios are taken against; `advantage` (b, group); `fresh` (traced bool), whether the weights
    still are those that made the trajectories, in which case every ratio is exactly 1 and the returned `old` is the
    value to pass to further updates on the same trajectories.

    Metrics: `loss`, `kl`, `ratio_min`, `ratio_max`, `clipped` (share of trained steps beyond the clip range),
    `replay_error` (largest |log-density - old|), `grad_norm`, `weight_norm`.
    """

    def loss(
        params: Any, base: Any, reference: Any, rolled: Rollouts, old: Array, advantage: Array, fresh: Any, key: Any
    ):
        new = log_probs(network, params, base, rolled)
        error = jnp.max(jnp.abs(lax.stop_gradient(new) - old))
        old = jnp.where(fresh, lax.stop_gradient(new), old)
        trained = _trained(rolled.trajectory, new.shape, fraction, key)
        each = losses.grpo(new, old, advantage[..., None], clip=clip)
        total = jnp.sum(trained * each) / jnp.maximum(jnp.sum(trained), 1)
        away = jnp.zeros(())
        if kl:
            away = _divergence(network, params, reference, base, rolled, trained)
            total = total + kl * away
        ratio = jnp.exp(lax.stop_gradient(new) - old)
        info = {
            "kl": away,
            "ratio_min": jnp.min(ratio),
            "ratio_max": jnp.max(ratio),
            "clipped": jnp.sum(trained * (jnp.abs(ratio - 1) > clip)) / jnp.maximum(jnp.sum(trained), 1),
            "replay_error": error,
        }
        return total, (old, info)

    def move(state: State, base, reference, rolled, old, advantage, fresh, key):
        given = (base, reference, rolled, old, advantage, fresh, key)
        after, moved = update.move(lambda params: loss(params, *given), tx, state)
        old, info = moved.aux
        return after, old, moved.metrics | info

    return jax.jit(move, donate_argnums=0)


def _trained(trajectory: flow.Trajectory, shape: tuple[int, ...], fraction: float, key: Array) -> Array:
    """(b, group, steps) of 0 and 1: stochastic steps, a random share of them for each trajectory."""
    std = plan_rows(trajectory.grid, trajectory.solver)["coefficients"]["std"]
    noisy = jnp.asarray(std > 0, jnp.float32)
    if fraction >= 1.0:
        return jnp.broadcast_to(noisy, shape)
    count = max(1, round(fraction * int((std > 0).sum())))
    order = jax.random.uniform(key, shape) + 2.0 * (1.0 - noisy)  # steps without noise come last
    place = jnp.argsort(jnp.argsort(order, -1), -1)
    return (place < count).astype(jnp.float32) * noisy


def _divergence(network: Network, params: Any, reference: Any, base: Any, rolled: Rollouts, trained: Array) -> Array:
    """Mean divergence of the policy's transitions from the reference's: means differ by `row["v"] (v - v_ref)`."""
    grid, solver = rolled.trajectory.grid, rolled.trajectory.solver
    rows = plan_rows(grid, solver)["coefficients"]
    levels = flow.Level(jnp.asarray(grid.sigmas[:-1], jnp.float32), jnp.asarray(grid.times, jnp.float32))
    policy, frozen = network.build(params, base), network.build(lax.stop_gradient(reference), base)
    velocity = network.family.velocity

    def prompt(x: Array, given: Any) -> Array:
        ours, theirs = velocity(policy, given), velocity(frozen, given)

        def step(_: Any, xs: Any) -> tuple[Any, Array]:
            x, level, c, std = xs
            mean, other = c * ours(x, level).v, c * lax.stop_gradient(theirs(x, level).v)
            return (), jnp.mean(losses.gaussian_kl(mean, other, std))

        xs = (x[:-1], levels, jnp.asarray(rows["v"], jnp.float32), jnp.asarray(rows["std"], jnp.float32))
        return lax.scan(step, (), xs)[1]

    each = jax.vmap(lambda x, given: jax.vmap(lambda x: prompt(x, given))(x))(
        lax.stop_gradient(rolled.trajectory.x), rolled.conditions
    )
    return jnp.sum(trained * each) / jnp.maximum(jnp.sum(trained), 1)


def candidates(
    velocity: Any, x: Float[Array, "..."], grid: flow.Grid, solver: flow.Solver, step: int, key: Array, count: int
) -> tuple[Float[Array, "k ..."], Float[Array, " k"]]:
    """SPO's choice: `count` next states from one state with one stochastic step, and their log-densities.

    The network is asked once. A step-aware reward ranks the candidates, the best and the worst are compared by
    `losses.spo`, and the walk goes on from a random one.

    Raises:
        ValueError: a step without noise.
    """
    if solver.replay is None:
        raise ValueError("candidates: need a stochastic solver such as flow.sde()")
    coefficients = plan_rows(grid, solver)["coefficients"]
    if not coefficients["std"][step] > 0:
        raise ValueError(f"candidates: step {step} of this sampler has no noise")
    row = {name: jnp.asarray(value[step], jnp.float32) for name, value in coefficients.items()}
    level = flow.Level(jnp.float32(grid.sigmas[step]), jnp.float32(grid.times[step]))
    out = velocity(x, level)
    prediction = out if isinstance(out, flow.Prediction) else flow.Prediction(out)

    def one(key: Array) -> tuple[Array, Array]:
        x_next, _, info = solver.step(lambda x, end=False: prediction, x, (), row, key)
        return x_next, info.extra["log_prob"]

    return jax.vmap(one)(jax.random.split(key, count))
