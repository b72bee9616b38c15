"""A body that moves at random: no verb, no words, but every pose is one that the program's body can take.

What reads a reference motion should follow whatever it is shown, not only what it has words for. Feet, hands and trunk
each go smoothly from one random pose to the next; some of them stay as in somebody who stands, so that one limb alone
may move. The lower foot stands, so that where a body goes follows from its poses, as it does where people walk; it
never flies, and none of it is a set of `splits`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from vrjax.motion.kinematics import Motion
from vrjax.motion.program import curves
from vrjax.motion.program.body import (
    ANKLE_HEIGHT,
    HIP_WIDTH,
    LEG,
    OFFSETS,
    REACH,
    TOE_HEIGHT,
    Targets,
    offset,
    pose,
    root_rotation,
    steps,
    within_reach,
)
from vrjax.motion.program.choreography import FPS
from vrjax.motion.program.verbs import Upper


class Range(NamedTuple):
    """Where something wanders, metres or radians: between the ends, from `home` and back; how often it stays there."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    home: tuple[float, ...]
    stays: float


TRUNK = Range((-0.2, -0.4, -0.1), (0.8, 0.4, 0.1), (0.0, 0.0, 0.0), 0.5)  # pitch, roll, twist
AHEAD = Range((0.07, -0.3, 0.7), (0.14, 1.3, 1.0), (HIP_WIDTH, 0.0, 1.0), 0.25)  # a leg: outward, angle, share of LEG
ASIDE = Range((0.07, -0.1, 0.0), (0.38, 0.15, 0.2), (HIP_WIDTH, 0.0, 0.0), 0.5)  # a foot: outward, forward, up
FOOT_PITCH = Range((-0.3,), (0.4,), (0.0,), 0.5)
HAND = Range((-0.15, -0.49, -0.2), (0.35, 0.45, 0.48), Upper.ready, 0.4)  # from the shoulder: outward, up, forward
CROUCH = Range((0.0,), (0.25,), (0.0,), 0.5)
GAPS = (0.45, 1.3)  # seconds from one place to the next
HAND_LEAST = 0.12  # metres from the shoulder


def wander(key: PRNGKeyArray, frames: int = 60) -> Motion:
    """A motion of the program's body that nothing describes, 20 frames a second, z up, its lowest joint in each frame
    where soles are; jit- and vmap-able with static `frames`. It faces one random way throughout.

    Raises:
        ValueError: fewer than 2 frames.
    """
    if frames < 2:
        raise ValueError(f"wander: frames must be at least 2, found {frames}")
    motion = pose(targets(key, frames))
    up = TOE_HEIGHT - motion.joints[..., 2].min(-1)
    way = jnp.concatenate([steps(motion.joints - motion.joints[:, :1]), up[:, None]], -1)
    return motion._replace(joints=motion.joints + way[:, None], transl=motion.transl + way)


def targets(key: PRNGKeyArray, frames: int) -> Targets:
    """How such a body shall be, its pelvis over the origin."""
    keys = iter(jax.random.split(key, 13))
    yaw = jnp.full(frames, jax.random.uniform(next(keys), (), minval=-np.pi, maxval=np.pi))
    trunk = _way(next(keys), frames, TRUNK)
    ankles, pitches, hands = [], [], []
    for sign in (1.0, -1.0):
        ahead, aside = (_way(next(keys), frames, where) for where in (AHEAD, ASIDE))
        # Legs go ahead or aside, as both would turn hips as nobody can.
        foot = jnp.where(jax.random.bernoulli(next(keys), 0.3), aside, _foot(ahead))
        ground = offset(yaw, foot[:, :2] * jnp.array([sign, 1.0]))
        ankles.append(jnp.concatenate([ground, ANKLE_HEIGHT + foot[:, 2:]], -1))
        pitches.append(_way(next(keys), frames, FOOT_PITCH)[:, 0])
        hand = _way(next(keys), frames, HAND)
        far = jnp.linalg.norm(hand, axis=-1, keepdims=True)
        hands.append(hand * jnp.clip(far, HAND_LEAST, REACH) / jnp.maximum(far, 1e-3))
    ankles, place = jnp.stack(ankles, 1), jnp.zeros((frames, 2))
    height = ANKLE_HEIGHT + LEG - OFFSETS[1, 1] - _way(next(keys), frames, CROUCH)[:, 0]
    height = within_reach(height, place, root_rotation(yaw, trunk[:, 0]), ankles)
    return Targets(
        pelvis=jnp.concatenate([place, height[:, None]], -1),
        yaw=yaw,
        pitch=trunk[:, 0],
        roll=trunk[:, 1],
        twist=trunk[:, 2],
        ankles=ankles,
        foot_yaw=jnp.stack([yaw, yaw], -1),
        foot_pitch=jnp.stack(pitches, -1),
        hands=jnp.stack(hands, 1),
    )


def _foot(leg: Float[Array, "t 3"]) -> Float[Array, "t 3"]:
    """Outward, forward and up, of a leg that swings about the hip of somebody who stands: in a box of places one that
    is raised would seldom be as straight as a kick's."""
    outward, angle, share = leg.T
    return jnp.stack([outward, share * LEG * jnp.sin(angle), LEG * (1 - share * jnp.cos(angle))], -1)


def _way(key: PRNGKeyArray, frames: int, where: Range) -> Float[Array, "t n"]:
    """A smooth way between random places of a range; all of them are the nearer to its home, the less it moves."""
    keys = jax.random.split(key, 5)
    low, high, home = jnp.asarray(where.low), jnp.asarray(where.high), jnp.asarray(where.home)
    many = int(np.ceil(frames / FPS / GAPS[0])) + 2
    places = jax.random.uniform(keys[0], (many, len(low)), minval=low, maxval=high)
    size = jax.random.uniform(keys[1], (), minval=0.5, maxval=1.0)
    size = jnp.where(jax.random.bernoulli(keys[2], where.stays), 0.0, size)
    places = home + size * (places - home)
    gap = jax.random.uniform(keys[3], (), minval=GAPS[0], maxval=GAPS[1])
    time = jnp.arange(frames) / FPS / gap + jax.random.uniform(keys[4], ())
    before = jnp.floor(time).astype(int)
    share = curves.rise(time - before)[:, None]
    return places[before] + share * (places[before + 1] - places[before])
