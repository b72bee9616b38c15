"""One step of the world."""

import math

import jax.numpy as jnp
import numpy as np
from jax import core
from jaxtyping import Array, Float

from vrjax.drive import traffic
from vrjax.drive.arcs import Real
from vrjax.drive.dynamics import bicycle
from vrjax.drive.state import State

ACCEL = (-8.0, 4.0)
"""The ego's hardest braking and acceleration in m/s^2; what is asked beyond is clipped."""
STEER = 0.6
"""Its largest steering angle in rad, to either side; clipped too."""


def step(state: State, action: Float[Real, "..."], dt: Float[Real, ""] | float | int = 0.1) -> State:
    """The world `dt` seconds later.

    The ego is a kinematic bicycle, see `drive.bicycle`; vehicles follow their lanes and leads, pedestrians walk and
    cross, see `drive.traffic`. All of them act on what was at the beginning of the step, with inputs held over it. The
    ego drives through whatever it hits: read `drive.collisions` and `drive.on_road`.

    Equal states and actions give equal states. With equal keys and other actions the same pedestrians start to cross at
    the same steps and the same vehicles turn the same ways, so what differs is what the ego has caused.

    Args:
        state: from `drive.make` or an earlier step.
        action: acceleration in m/s^2 and steering angle in rad, positive to the left; clipped to what a car can do.
        dt: in s; inputs are read 10 times a second by default.

    Raises:
        ValueError: an action of another shape; an action or dt that is known now and not finite, or a dt not above 0.
    """
    if jnp.shape(action) != (2,):
        raise ValueError(f"drive: action must have shape (2,), acceleration and steering, found {jnp.shape(action)}")
    if not isinstance(action, core.Tracer) and not np.all(np.isfinite(action)):
        raise ValueError(f"drive: action must be finite, found {np.asarray(action)}")
    if not isinstance(dt, core.Tracer) and not (math.isfinite(dt) and float(dt) > 0):
        raise ValueError(f"drive: dt must be a finite number of seconds above 0, found {dt}")
    action = jnp.asarray(action, jnp.float32)
    accel, steer = jnp.clip(action[0], *ACCEL), jnp.clip(action[1], -STEER, STEER)
    wishes = traffic.accelerations(state)
    moved = traffic.pedestrians(traffic.vehicles(state, wishes, dt), dt)
    ego: Array = jnp.append(bicycle(state.ego[:4], accel, steer, dt), steer)
    return moved._replace(ego=ego, tick=state.tick + 1, time=state.time + jnp.asarray(dt, jnp.float32))
