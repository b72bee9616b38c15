"""Two formulas of motion: the kinematic bicycle, integrated exactly, and the intelligent driver model."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from vrjax.drive import arcs
from vrjax.drive.arcs import Number, Real

WHEELBASE = 2.7
"""Of the ego, in metres. The centre of its box is half of it ahead of the rear axle."""


class IDM(NamedTuple):
    """Parameters of the intelligent driver model (Treiber, Hennecke & Helbing 2000); numbers, or arrays of them.

    Attributes:
        v0: desired speed in m/s.
        T: desired time gap in s.
        s0: gap at rest in m.
        a_max: largest acceleration in m/s^2.
        b: comfortable braking in m/s^2, positive.
    """

    v0: Number = 11.0
    T: Number = 1.2
    s0: Number = 2.0
    a_max: Number = 1.5
    b: Number = 2.0


def advance(v: Number, accel: Number, dt: Number) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Distance driven and speed after `dt` seconds of constant acceleration; who comes to rest stays there.

    Args:
        v: speed in m/s; below 0 counts as 0.
        accel: in m/s^2.
        dt: in s.
    """
    v = jnp.maximum(jnp.asarray(v), 0.0)
    accel = jnp.asarray(accel)
    braking = jnp.minimum(accel, -1e-6)
    rests = v + accel * dt < 0
    driven = jnp.where(rests, v**2 / (-2 * braking), v * dt + accel * dt**2 / 2)
    return driven, jnp.where(rests, 0.0, v + accel * dt)


def bicycle(
    pose: Float[Real, "4"],
    accel: Float[Real, ""] | float | int,
    steer: Float[Real, ""] | float | int,
    dt: Float[Real, ""] | float | int,
    *,
    wheelbase: Float[Real, ""] | float | int = WHEELBASE,
) -> Float[Array, "4"]:
    """The kinematic bicycle after `dt` seconds of held inputs: x' = v cos yaw, y' = v sin yaw, yaw' = v tan(steer) / L.

    With the steering held the path is an arc whatever the speed does, so the result is exact for every dt: two steps of
    dt / 2 end where one of dt does.

    Args:
        pose: x, y of the rear axle in m, yaw in rad, v in m/s.
        accel: v' in m/s^2. The speed is clipped at 0: who comes to rest within the step stays there.
        steer: angle of the front wheel in rad, positive to the left, between -pi/2 and pi/2.
        dt: in s.
        wheelbase: L in m.

    Returns:
        The pose then; yaw is not wrapped.
    """
    pose = jnp.asarray(pose)
    driven, v = advance(pose[3], accel, dt)
    x, y, yaw = arcs.along(pose[0], pose[1], pose[2], jnp.tan(steer) / wheelbase, driven)
    return jnp.stack([x, y, yaw, v])


def idm(gap: Number, v: Number, lead_v: Number, parameters: IDM) -> Float[Array, "..."]:
    """Acceleration of a driver behind a lead: a_max (1 - (v/v0)^4 - (s*/gap)^2), arguments broadcast.

    The wanted gap is s* = s0 + max(0, v T + v (v - lead_v) / (2 sqrt(a_max b))).

    Args:
        gap: to the lead in m, bumper to bumper; `jnp.inf` for a free road. Below 1 mm counts as 1 mm: it brakes as hard
            as numbers can say, where the formula would divide by 0 or let boxes that overlap drive on.
        v, lead_v: own and lead's speed in m/s.
        parameters: of the driver.

    Returns:
        In m/s^2; not clipped.
    """
    v0, T, s0, a_max, b = (jnp.asarray(value) for value in parameters)
    v = jnp.asarray(v)
    wanted = s0 + jnp.maximum(0.0, v * T + v * (v - lead_v) / (2 * jnp.sqrt(a_max * b)))
    return a_max * (1 - (v / v0) ** 4 - (wanted / jnp.maximum(gap, 1e-3)) ** 2)
