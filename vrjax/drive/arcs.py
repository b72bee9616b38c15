"""Circular arcs in the plane, straight lines included: what roads are made of, and what a bicycle drives along."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Real = Array | np.ndarray
"""What functions of this room take: arrays of JAX or NumPy."""
Number = Float[Real, "..."] | float | int
"""One number, or an array of them."""


def along(
    x: Number, y: Number, yaw: Number, curvature: Number, distance: Number
) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
    """Pose after a distance along an arc; exact, also where the curvature is 0. Arguments broadcast.

    Args:
        x, y, yaw: where the arc starts, in metres and radians.
        curvature: inverse of the radius in 1/m, positive to the left.
        distance: along the arc, in metres.

    Returns:
        x, y and yaw there; yaw is not wrapped.
    """
    x, y, yaw, curvature, distance = (jnp.asarray(value) for value in (x, y, yaw, curvature, distance))
    turn = curvature * distance
    # The chord is 2 sin(turn / 2) / curvature long and points along the mean of both headings.
    chord = distance * jnp.sinc(turn / (2 * jnp.pi))
    return x + chord * jnp.cos(yaw + turn / 2), y + chord * jnp.sin(yaw + turn / 2), yaw + turn


def across(curvature: Number, x: Number, y: Number) -> Float[Array, "..."]:
    """Distance of points from a full circle, positive to the left of its direction.

    Args:
        curvature: in 1/m, positive to the left; 0 is a line.
        x, y: of the points, in the frame of a pose on the circle: x along it, y to its left.
    """
    x, y = jnp.asarray(x), jnp.asarray(y)
    # radius - |point - centre|, multiplied out: nothing cancels for large radii, and 0 needs no case of its own.
    away = jnp.sqrt((curvature * x) ** 2 + (1 - curvature * y) ** 2)
    return (2 * y - curvature * (x**2 + y**2)) / (1 + away)
