"""The primitive of preference learning: flow errors of a winner and its losers under one noise and one level.

Policy and reference are measured by the same function with the same draw; every loss is a function of the results.
In v-space the error has no weight in the noise level: `mean((v - (eps - x0))^2)`, which is the x0-space error divided
by sigma^2. Written for one pair; batches come from `vmap`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vrjax.flow import Level, Velocity, words
from vrjax.flow.core import as_prediction
from vrjax.train.objectives import flow_error, noisy


class Errors(NamedTuple):
    """Mean squared flow errors of one pair (or of a batch of pairs, with leading axes).

    Attributes:
        win: () of the winner.
        lose: (losers,).
        win_parts, lose_parts: (parts,) and (losers, parts), the errors' means over parts of the clip; None without
            masks.
    """

    win: Any
    lose: Any
    win_parts: Any = None
    lose_parts: Any = None

    __repr__ = words.line


class Measured(NamedTuple):
    """What a loss and the logs are made of: errors of policy and reference at the same draws, a batch of pairs."""

    policy: Errors
    reference: Errors
    sigma: Any

    __repr__ = words.line

    @property
    def win_gap(self) -> Array:
        """(b,): below 0 where the policy likes the winner better than the reference does."""
        return self.policy.win - self.reference.win

    @property
    def lose_gap(self) -> Array:
        """(b, losers)."""
        return self.policy.lose - self.reference.lose

    def part_gaps(self, loss: str) -> tuple[Array, Array]:
        """Gaps of the parts: (b, parts) of winners, (b, losers, parts) of losers; ValueError names the loss without."""
        policy, reference = self.policy, self.reference
        if policy.win_parts is None or policy.lose_parts is None:
            raise ValueError(f"{loss}: the batch has no 'masks' (b, parts, ...)")
        return policy.win_parts - reference.win_parts, policy.lose_parts - reference.lose_parts


def pair_errors(
    velocity: Velocity,
    win: Float[Array, "..."],
    lose: Float[Array, "losers ..."] | None,
    noise: Float[Array, "..."],
    level: Level,
    *,
    masks: Float[Array, "parts ..."] | None = None,
) -> Errors:
    """Errors of one winner and its losers: one batched call of the velocity, the winner in it once.

    Args:
        velocity: `(x, level) -> v | Prediction`, conditions closed over; the pair shares them.
        win: the preferred clip, any shape.
        lose: its losers on a leading axis, or None.
        noise: of the shape of `win`, shared by all of them; or with a leading axis of 1 + losers, one noise each
            (winner first), for the comparison with independent noise.
        level: scalars, shared.
        masks: weights of parts of the clip, each broadcastable to `win`; every part's error is its own weighted mean.

    Raises:
        ValueError: shapes that do not fit each other.
    """
    if lose is not None and lose.shape[1:] != win.shape:
        raise ValueError(f"pair_errors: losers have shape {lose.shape}, expected (losers, {str(win.shape)[1:]}")
    stack = win[None] if lose is None else jnp.concatenate([win[None], lose])
    own = noise.ndim == win.ndim + 1
    if noise.shape not in (win.shape, stack.shape):
        raise ValueError(f"pair_errors: noise has shape {noise.shape}, expected {win.shape} or {stack.shape}")

    def one(x0, noise):
        if masks is None:
            return flow_error(velocity, x0, noise, level), None
        # Asked once, looked at through every mask. One product for all parts: jaxlib 0.10.2 crashes on CPU where the
        # gradient of several weighted means of one array meets in a fused reduction.
        v = as_prediction(velocity(noisy(x0, noise, level.sigma).astype(x0.dtype), level)).v
        error = jnp.square(v.astype(jnp.float32) - (noise - x0).astype(jnp.float32))
        weights = jnp.broadcast_to(masks, (len(masks), *x0.shape)).reshape(len(masks), -1).astype(jnp.float32)
        return jnp.mean(error), weights @ error.reshape(-1) / jnp.sum(weights, -1)

    error, parts = jax.vmap(one, in_axes=(0, 0 if own else None))(stack, noise)
    if parts is None:
        return Errors(error[0], error[1:])
    return Errors(error[0], error[1:], parts[0], parts[1:])
