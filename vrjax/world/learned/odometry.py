"""How far a car has come, read off what it sees: of two frames, one after the other, the metres driven and the turn.

A world that is learned has no places beyond its frames; this gives it a pose, by adding up what its frames show. What
is read wrong, or drawn wrong, adds up too: that is the distance between a learned world and the exact one.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Key

from vrjax.drive import arcs
from vrjax.flow import words

UNITS = (1.0, 0.1)
"""Metres and radians that count as 1."""
APART = 2
"""Steps between two frames of a film, at most, in training."""
NOISE = 0.05
"""Standard deviation of what joins latents in training: a learned world's are not quite clean."""
TINY = 1e-6
"""Metres below which nobody has moved."""
WIDTHS = 48, 64
"""Of what is made of each token, and of all of them."""


class Odometer(NamedTuple):
    """Its weights: of a token in both frames, of its place, of all tokens, of the two numbers."""

    tokens: Float[Array, "2c k"]
    places: Float[Array, "n k"]
    mixed: Float[Array, "nk m"]
    bias: Float[Array, " m"]
    last: Float[Array, "m 2"]
    mean: Float[Array, "2"]

    __repr__ = words.line


def init(key: Key[Array, ""], count: int, channels: int) -> Odometer:
    """Random weights for frames of `count` tokens."""
    keys, (each, whole) = jax.random.split(key, 3), WIDTHS
    matrix = lambda key, n, m: jax.random.normal(key, (n, m)) * n**-0.5
    tokens, mixed = matrix(keys[0], 2 * channels, each), matrix(keys[1], count * each, whole)
    last = matrix(keys[2], whole, 2)
    return Odometer(tokens, jnp.zeros((count, each)), mixed, jnp.zeros(whole), last, jnp.zeros(2))


def read(odometer: Odometer, before: Float[Array, "h w c"], after: Float[Array, "h w c"]) -> Float[Array, "2"]:
    """Metres driven and radians turned to the left between two latents."""
    both = jnp.concatenate([before, after], -1)
    h = jax.nn.gelu(both.reshape(-1, both.shape[-1]) @ odometer.tokens + odometer.places)
    h = jax.nn.gelu(h.reshape(-1) @ odometer.mixed + odometer.bias)
    return (h @ odometer.last + odometer.mean) * jnp.array(UNITS)


def moved(pose: Float[Array, "4"], way: Float[Array, "2"], dt: Any) -> Float[Array, "4"]:
    """The pose x, y, yaw, v after an arc of those metres and that turn."""
    driven, turned = jnp.maximum(way[0], 0.0), way[1]
    far = jnp.maximum(driven, TINY)
    x, y, _ = arcs.along(pose[0], pose[1], pose[2], turned / far, far)
    return jnp.stack([x, y, pose[2] + turned, driven / dt])


def ways(poses: Float[Array | np.ndarray, "*n f 4"]) -> Float[Array, "*n f1 2"]:
    """Metres driven and radians turned between poses, one after the other: what `moved` takes."""
    poses = jnp.asarray(poses)
    step = poses[..., 1:, :] - poses[..., :-1, :]
    turned = jnp.mod(step[..., 2] + jnp.pi, 2 * jnp.pi) - jnp.pi
    driven = jnp.hypot(step[..., 0], step[..., 1]) / jnp.sinc(turned / (2 * jnp.pi))
    return jnp.stack([driven, turned], -1)


def fit(
    key: Key[Array, ""],
    latents: Float[Array | np.ndarray, "n f h w c"],
    poses: Float[Array | np.ndarray, "n f 4"],
    *,
    updates: int = 3000,
    batch: int = 128,
) -> Odometer:
    """An odometer of films, trained in one compiled scan.

    Two frames of a film are up to `APART` steps apart, in either order, and then way and turn are negative: so the same
    scene has many answers, and none can be known by the look of the scene. (Of neighbours alone, on 17,000 pairs, it
    was 0.07 m wrong on the films that it had seen and 0.23 m on others.)

    Args:
        key: of weights and draws.
        latents, poses: of n films.
        updates, batch: of Adam, whose rate falls from 3e-3 along a cosine.
    """
    count, length, height, width, channels = latents.shape
    tx = optax.adamw(optax.cosine_decay_schedule(3e-3, updates, 0.01), weight_decay=1e-3)
    gone = jnp.concatenate([jnp.zeros((count, 1, 2)), jnp.cumsum(ways(poses), 1)], 1)

    @jax.jit
    def run(key, latents, gone):
        first, later = jax.random.split(key)

        def loss(odometer, before, after, way):
            found = jax.vmap(read, (None, 0, 0))(odometer, before, after)
            return jnp.mean(optax.huber_loss((found - way) / jnp.array(UNITS), delta=0.3))

        def update(carry, key):
            odometer, moments = carry
            which, when, gap, *noise = jax.random.split(key, 5)
            film = jax.random.randint(which, (batch,), 0, count)
            at = jax.random.randint(when, (batch,), 0, length)
            then = jnp.clip(at + jax.random.randint(gap, (batch,), -APART, APART + 1), 0, length - 1)
            seen = [
                latents[film, i] + NOISE * jax.random.normal(key, (batch, *latents.shape[2:]))
                for i, key in zip((at, then), noise, strict=True)
            ]
            change, moments = tx.update(
                jax.grad(loss)(odometer, *seen, gone[film, then] - gone[film, at]), moments, odometer
            )
            return (optax.apply_updates(odometer, change), moments), None

        odometer: Any = init(first, height * width, channels)
        (odometer, _), _ = lax.scan(update, (odometer, tx.init(odometer)), jax.random.split(later, updates))
        return odometer

    return run(key, jnp.asarray(latents), gone)
