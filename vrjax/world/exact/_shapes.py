"""Rounded boxes on a plane: how far they overlap, and how they look. One formula serves bodies and pictures."""

import jax.numpy as jnp
from jaxtyping import Array, Float

TINY = 1e-12


def distance(offset: Float[Array, "*n 2"], half: Float[Array, "*#n 2"], radius: float) -> Float[Array, "*n"]:
    """Signed distance of points from a box with sides `2 half`, thickened by `radius`; `offset` is from its centre."""
    q = jnp.abs(offset) - half
    outside = jnp.sqrt(jnp.sum(jnp.maximum(q, 0.0) ** 2, -1) + TINY)
    return outside + jnp.minimum(jnp.max(q, -1), 0.0) - radius


def contact(
    offset: Float[Array, "*n 2"], half: Float[Array, "*#n 2"], radius: float
) -> tuple[Float[Array, "*n 2"], Float[Array, "*n"]]:
    """Of two convex bodies, one at `offset` from the other, whose Minkowski sum is that thick box.

    Returns:
        The unit vector along which the first leaves the other soonest, and how deep they overlap (negative: the gap).
    """
    q = jnp.abs(offset) - half
    out = jnp.maximum(q, 0.0)
    far = jnp.sqrt(jnp.sum(out**2, -1) + TINY)
    deep = jnp.max(q, -1)
    inside = deep <= 0  # within the box of the centres: out through the nearest face
    face = jnp.stack([q[..., 0] > q[..., 1], q[..., 0] <= q[..., 1]], -1).astype(offset.dtype)
    normal = jnp.where(inside[..., None], face, out / far[..., None]) * jnp.where(offset < 0, -1.0, 1.0)
    return normal, radius - jnp.where(inside, deep, far)


def cover(distance: Float[Array, "*n"], pixel: float = 1.0) -> Float[Array, "*n"]:
    """Which share of a pixel of that width a shape covers whose edge is at that signed distance from its centre."""
    return jnp.clip(0.5 - distance / pixel, 0.0, 1.0)


def paint(
    canvas: Float[Array, "*n 3"], share: Float[Array, "*n"], colour: tuple[float, float, float]
) -> Float[Array, "*n 3"]:
    """A colour over a canvas."""
    return canvas + share[..., None] * (jnp.array(colour, jnp.float32) - canvas)
