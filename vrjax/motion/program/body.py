"""The program's body, 1.7 m tall: its bones, and the pose that puts feet and hands where they shall be.

Its own measures, not SMPL-X's; pelvis at rest and order of joints are SMPL-X's, so that rows of 276 are consistent.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vrjax.motion.kinematics import JOINTS, REST_PELVIS, Motion, aim, forward, local_rotations, two_bone
from vrjax.motion.rotations import about, compose, rotate

_LEFT = {
    "hip": (0.09, -0.08, 0.0),
    "knee": (0.0, -0.40, 0.0),
    "ankle": (0.0, -0.40, 0.0),
    "foot": (0.0, -0.055, 0.13),
    "collar": (0.07, 0.12, 0.0),
    "shoulder": (0.11, 0.03, 0.0),
    "elbow": (0.26, 0.0, 0.0),
    "wrist": (0.25, 0.0, 0.0),
}
_MIDDLE = {
    "pelvis": (0.0, 0.0, 0.0),
    "spine1": (0.0, 0.11, -0.02),
    "spine2": (0.0, 0.13, 0.0),
    "spine3": (0.0, 0.06, 0.0),
    "neck": (0.0, 0.21, -0.02),
    "head": (0.0, 0.10, 0.03),
}
THIGH = SHIN = 0.40
UPPER_ARM, FOREARM = 0.26, 0.25
LEG = 0.985 * (THIGH + SHIN)
"""From hip to ankle of somebody who stands."""
REACH = 0.98 * (UPPER_ARM + FOREARM)
"""From shoulder to wrist of an arm that is all but straight."""
TOE_HEIGHT = 0.015
"""Height of the joints 10 and 11 over the floor when a foot stands on it."""
ANKLE_HEIGHT = TOE_HEIGHT + 0.055
HIP_WIDTH = 0.09
UPRIGHT = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]], np.float32)
"""From the frame of rest (x left, y up, z forward) to a world with z up, facing y."""


def _offsets() -> np.ndarray:
    rows = []
    for name in JOINTS:
        side, _, part = name.partition("_")
        x, y, z = _LEFT[part] if part else _MIDDLE[name]
        rows.append((-x if side == "right" else x, y, z))
    return np.array(rows, np.float32)


OFFSETS = _offsets()
"""Each joint's place in its parent's frame, metres, (22, 3); `kinematics.forward` takes them."""


class Targets(NamedTuple):
    """Where a body shall be, frame by frame; angles in radians, places in metres in the world unless said otherwise.

    Attributes:
        pelvis (t, 3): its place.
        yaw (t,): where the pelvis faces, counter-clockwise from y.
        pitch, roll, twist (t,): the trunk bends forward, to the left, and turns to the left. The pelvis takes a third
            of the pitch.
        ankles (t, 2, 3): left and right.
        foot_yaw, foot_pitch (t, 2): the feet's directions, toes down.
        hands (t, 2, 3): wrists from their shoulders, in the chest's frame, mirrored: (outward, up, forward).
    """

    pelvis: Float[Array, "t 3"]
    yaw: Float[Array, " t"]
    pitch: Float[Array, " t"]
    roll: Float[Array, " t"]
    twist: Float[Array, " t"]
    ankles: Float[Array, "t 2 3"]
    foot_yaw: Float[Array, "t 2"]
    foot_pitch: Float[Array, "t 2"]
    hands: Float[Array, "t 2 3"]


def root_rotation(yaw: Float[Array, " t"], pitch: Float[Array, " t"]) -> Float[Array, "t 3 3"]:
    """The pelvis' rotation."""
    return compose(compose(about("z", yaw), UPRIGHT), about("x", pitch / 3))


def offset(yaw: Array, by: Array) -> Array:
    """(left, forward) in metres as x and y of the world, for a body that faces `yaw`."""
    c, s = jnp.cos(yaw), jnp.sin(yaw)
    return jnp.stack([-c * by[..., 0] - s * by[..., 1], -s * by[..., 0] + c * by[..., 1]], -1)


def within_reach(height: Array, place: Array, root: Array, ankles: Array) -> Array:
    """The pelvis' height, lowered smoothly until both feet can be reached: a smooth minimum, never above the least."""
    softness = 0.006
    bounds = [height]
    for side in (0, 1):
        hip = rotate(root, OFFSETS[1 + side])
        away = jnp.sum((place + hip[:, :2] - ankles[:, side, :2]) ** 2, -1)
        tall = jnp.sqrt(jnp.maximum((0.995 * (THIGH + SHIN)) ** 2 - away, 1e-4))
        bounds.append(ankles[:, side, 2] + tall - hip[:, 2])
    return -softness * jax.nn.logsumexp(-jnp.stack(bounds) / softness, axis=0)


def pose(targets: Targets) -> Motion:
    """The motion that reaches its targets: rotations by inverse kinematics, joints by forward kinematics of them.

    A foot or hand that is out of reach ends on the line to its target.
    """
    root = root_rotation(targets.yaw, targets.pitch)
    bend = compose(about("x", targets.pitch * (2 / 9)), about("z", -targets.roll / 3))
    bend = compose(bend, about("y", targets.twist / 3))
    spines = [compose(root, bend)]
    for _ in range(2):
        spines.append(compose(spines[-1], bend))
    chest = spines[-1]
    places = {0: targets.pelvis}
    for joint, parent, turn in ((3, 0, root), (6, 3, spines[0]), (9, 6, spines[1]), (13, 9, chest), (14, 9, chest)):
        places[joint] = places[parent] + rotate(turn, OFFSETS[joint])
    found = {0: root, 3: spines[0], 6: spines[1], 9: chest, 13: chest, 14: chest}
    found[12] = found[15] = compose(chest, about("x", -0.4 * targets.pitch))
    for side, sign in ((0, 1.0), (1, -1.0)):
        hip = targets.pelvis + rotate(root, OFFSETS[1 + side])
        knee_pole = rotate(root, jnp.array([0.0, math.sin(0.3), math.cos(0.3)]))
        found[1 + side], found[4 + side] = _limb(
            (hip, targets.ankles[:, side]), (THIGH, SHIN), knee_pole, (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)
        )
        foot = compose(compose(about("z", targets.foot_yaw[:, side]), UPRIGHT), about("x", targets.foot_pitch[:, side]))
        found[7 + side] = found[10 + side] = foot
        shoulder = places[13 + side] + rotate(chest, OFFSETS[16 + side])
        mirror = jnp.array([sign, 1.0, 1.0])
        hand = shoulder + rotate(chest, targets.hands[:, side] * mirror)
        elbow_pole = rotate(chest, jnp.array([0.4, -0.6, -0.6]) * mirror)
        found[16 + side], found[18 + side] = _limb(
            (shoulder, hand), (UPPER_ARM, FOREARM), elbow_pole, (sign, 0.0, 0.0), (0.0, 0.0, -1.0)
        )
        found[20 + side] = found[18 + side]
    rotations = jnp.stack([found[joint] for joint in range(22)], -3)
    root, body = local_rotations(rotations)
    transl = targets.pelvis - jnp.asarray(REST_PELVIS, targets.pelvis.dtype)
    return Motion(forward(root, body, transl, OFFSETS), root, body, transl)


def _limb(ends, lengths, pole, rest_bone, rest_pole):
    """Rotations in the world of a limb's two bones, whose hinge is square to the plane that the pole spans."""
    middle, end = two_bone(ends[0], ends[1], lengths[0], lengths[1], pole)
    hinge, rest = jnp.cross(pole, ends[1] - ends[0]), np.cross(rest_pole, rest_bone)
    bone = jnp.asarray(rest_bone)
    return aim(bone, rest, middle - ends[0], hinge), aim(bone, rest, end - middle, hinge)
