"""Curves over time that the program is made of: all smooth, and exactly 0 or 1 where something stands still."""

import jax.numpy as jnp
from jaxtyping import Array, Float

GRAVITY = 9.81


def rise(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """From 0 at 0 to 1 at 1 with no speed and no acceleration at either end; constant outside (a quintic)."""
    x = jnp.clip(x, 0.0, 1.0)
    return x**3 * (10 - 15 * x + 6 * x**2)


def bump(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """0 outside (0, 1), 1 at a half, with no speed at the ends: (4 x (1 - x))²."""
    x = jnp.clip(x, 0.0, 1.0)
    return (4 * x * (1 - x)) ** 2


def pulse(phase: Float[Array, "*n"], hold: Float[Array, ""]) -> Float[Array, "*n"]:
    """Up and down once in the phase from 0 to 1: 1 while within `hold / 2` of a half, 0 before 0.1 and after 0.9."""
    edge = 0.4 - hold / 2
    return rise((phase - 0.1) / edge) * rise((0.9 - phase) / edge)


def flight(
    time: Float[Array, "*n"], height: Float[Array, ""], width: Float[Array, ""]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"], Float[Array, "*n"]]:
    """A jump whose top is at time 0: how high the body is thrown, how deep it bends before and after, and its progress.

    Args:
        time: in seconds.
        height: of the flight, in metres; 0 is none.
        width: how long the body bends before and after it, in seconds.

    Returns:
        The height over the ground (0 while standing), the drop of the pelvis (0 in flight and long before), which meets
        the flight with its speed, and the progress of the flight from 0 before it to 1 after it.
    """
    half = jnp.sqrt(2 * height / GRAVITY)
    up = jnp.maximum(height - 0.5 * GRAVITY * time**2, 0.0)
    s = jnp.clip(1 - (jnp.abs(time) - half) / width, 0.0, 1.0)
    # s²(1 - s) has slope -1 at s = 1, where the feet leave or land.
    drop = jnp.where(jnp.abs(time) < half, 0.0, GRAVITY * half * width * s**2 * (1 - s))
    return up, drop, rise(0.5 + time / jnp.where(half > 0, 2 * half, 1.0))
