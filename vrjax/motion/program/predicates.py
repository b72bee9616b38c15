"""What a motion shows, read from its joints alone by exact rules: the judge that needs no network.

    seen = predicates.recognise(joints)
    seen.lower[predicates.index("walk"), 0]          # does it walk?
    predicates.agrees(script, joints)                # does it do what the script says?
    predicates.words(seen)                           # "circle left, wave right"

Lengths are measured in the body's own legs and arms, heights from the lowest toe, directions from its hips, so that
motions of other bodies, or drawn elsewhere, are judged alike. The rules are sharp: a motion halfway between two actions
may show both or neither.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vrjax.motion.program import verbs
from vrjax.motion.program.choreography import FPS, Script
from vrjax.motion.rotations import Real, length, unit


class Facts(NamedTuple):
    """Measures of a motion.

    Attributes:
        forward, leftward: mean speed along and across where it faces, m/s.
        turning: mean turn to the left, rad/s.
        hips (t,): height of the hips over the floor, in leg lengths; upright is about 1.05.
        behind (t,): how far the pelvis is behind the feet, in leg lengths.
        pitch, roll (t,): the trunk's lean forward and to the left, radians.
        toes (t, 2): heights over the floor, metres.
        kicks (t, 2): how far the feet are before the pelvis, in leg lengths.
        apart (t,): how far the left foot is to the left of the right one, in leg lengths.
        hands (t, 2, 3): from their shoulders in the chest's frame, mirrored: (outward, up, forward), in arm lengths.
        palms (t,): how far the hands are from each other, in arm lengths.
    """

    forward: Float[Array, ""]
    leftward: Float[Array, ""]
    turning: Float[Array, ""]
    hips: Float[Array, " t"]
    behind: Float[Array, " t"]
    pitch: Float[Array, " t"]
    roll: Float[Array, " t"]
    toes: Float[Array, "t 2"]
    kicks: Float[Array, "t 2"]
    apart: Float[Array, " t"]
    hands: Float[Array, "t 2 3"]
    palms: Float[Array, " t"]


class Seen(NamedTuple):
    """Which actions a motion shows, and how often.

    Attributes:
        lower (actions, 2): rows of verbs.LOWER, to the left and to the right; equal where an action has no side.
        upper (actions, 2): rows of verbs.UPPER.
        count (actions, 2): repeats of the lower actions; 0 for those that have none.
    """

    lower: Bool[Array, "a 2"]
    upper: Bool[Array, "b 2"]
    count: Int[Array, "a 2"]


def measure(joints: Float[Real, "t 22 3"]) -> Facts:
    """The facts of a motion at 20 frames a second, z up."""
    j = jnp.asarray(joints)
    side = unit((j[:, 1] - j[:, 2]) * jnp.array([1.0, 1.0, 0.0]))  # to the left
    ahead = jnp.stack([side[:, 1], -side[:, 0], jnp.zeros_like(side[:, 0])], -1)
    leg = jnp.mean(length(j[:, 1] - j[:, 4]) + length(j[:, 4] - j[:, 7]))
    arm = jnp.mean(length(j[:, 16] - j[:, 18]) + length(j[:, 18] - j[:, 20]))
    floor = jnp.min(j[:, 10:12, 2])
    way = j[1:, 0] - j[:-1, 0]
    cross = side[:-1, 0] * side[1:, 1] - side[:-1, 1] * side[1:, 0]
    turn = jnp.arctan2(cross, jnp.sum(side[:-1] * side[1:], -1))
    ankles = j[:, 7:9] - j[:, :1]
    before = jnp.sum(ankles * ahead[:, None], -1)
    trunk = j[:, 12] - j[:, 0]
    left = unit(j[:, 16] - j[:, 17])
    up = (j[:, 13] + j[:, 14]) / 2 - j[:, 9]
    up = unit(up - jnp.sum(up * left, -1, keepdims=True) * left)
    arms = j[:, 20:22] - j[:, 16:18]
    outward = jnp.sum(arms * left[:, None], -1) * jnp.array([1.0, -1.0])
    axes = (up[:, None], jnp.cross(left, up)[:, None])
    return Facts(
        forward=jnp.mean(jnp.sum(way * ahead[:-1], -1)) * FPS,
        leftward=jnp.mean(jnp.sum(way * side[:-1], -1)) * FPS,
        turning=jnp.mean(turn) * FPS,
        hips=(jnp.mean(j[:, 1:3, 2], -1) - floor) / leg,
        behind=jnp.mean(before, -1) / leg,
        pitch=jnp.arctan2(jnp.sum(trunk * ahead, -1), trunk[:, 2]),
        roll=jnp.arctan2(jnp.sum(trunk * side, -1), trunk[:, 2]),
        toes=j[:, 10:12, 2] - floor,
        kicks=before / leg,
        apart=jnp.sum((j[:, 7] - j[:, 8]) * side, -1) / leg,
        hands=jnp.stack([outward, *(jnp.sum(arms * axis, -1) for axis in axes)], -1) / arm,
        palms=length(j[:, 20] - j[:, 21]) / arm,
    )


def runs(happens: Bool[Real, "t *n"]) -> Int[Array, "*n"]:
    """How often something begins, along the first axis."""
    happens = jnp.asarray(happens)
    return happens[0].astype(int) + jnp.sum(happens[1:] & ~happens[:-1], 0)


def recognise(joints: Float[Real, "t 22 3"]) -> Seen:
    """The actions that a motion at 20 frames a second, z up, shows; jit- and vmap-able."""
    facts = measure(joints)
    lower, count = _lower(facts)
    rows = [jnp.broadcast_to(lower[row.name], (2,)) for row in verbs.LOWER]
    counts = [jnp.broadcast_to(count.get(row.name, jnp.zeros(2, int)), (2,)) for row in verbs.LOWER]
    upper = _upper(facts)
    hands = [jnp.broadcast_to(upper[row.name], (2,)) for row in verbs.UPPER]
    return Seen(jnp.stack(rows), jnp.stack(hands), jnp.stack(counts))


def agrees(script: Script, joints: Float[Real, "t 22 3"]) -> Bool[Array, ""]:
    """Whether a motion does what a script says: both actions, sides and the count; speed is not judged."""
    seen = recognise(joints)
    counted = jnp.array([row.counted for row in verbs.LOWER])[script.lower]
    right_count = ~counted | (seen.count[script.lower, script.side] == script.count)
    free = jnp.array([row.apart == 0 for row in verbs.LOWER])[script.lower]  # else the arms belong to the action
    return seen.lower[script.lower, script.side] & right_count & (~free | seen.upper[script.upper, script.upper_side])


def words(seen: Seen) -> str:
    """What one motion shows, for people: names of actions with their sides and counts, "no known action" for none."""
    said = []
    for rows, shown in ((verbs.LOWER, seen.lower), (verbs.UPPER, seen.upper)):
        for i, row in enumerate(rows):
            for side in range(2 if row.sided else 1):
                if shown[i, side] and row.name != "none":
                    times = [f"({seen.count[i, side]})"] if getattr(row, "counted", False) else []
                    said.append(" ".join([row.name.replace("_", " "), *verbs.SIDES[side : side + row.sided], *times]))
    return ", ".join(said) or "no known action"


def _lower(f: Facts) -> tuple[dict[str, Array], dict[str, Array]]:
    sign = jnp.array([1.0, -1.0])
    still = (jnp.abs(f.forward) < 0.15) & (jnp.abs(f.leftward) < 0.1)
    straight = jnp.abs(f.turning) < 0.3
    upright = jnp.min(f.hips) > 0.88
    erect = (jnp.max(jnp.abs(f.pitch)) < 0.3) & (jnp.max(jnp.abs(f.roll)) < 0.2)
    flying = jnp.min(f.toes, -1) > 0.02
    high = jnp.max(f.toes, 0)
    grounded = runs(flying) == 0
    planted = jnp.max(high) < 0.02
    feet_apart = runs(f.apart > 0.5)
    one_foot = jnp.min(f.toes, 0)[::-1] > 0.1  # the other foot never comes down
    dips, bows = runs(f.hips < 0.8), runs(f.pitch > 0.35)
    bends = runs(f.roll[:, None] * sign > 0.22)
    kicks = runs((f.kicks > 0.3) & (f.toes > 0.25))
    at_rest = still & straight & planted
    back = jnp.max(f.behind)
    leaps = still & straight & (runs(flying) > 0)
    walks = grounded & upright & (jnp.abs(f.leftward) < 0.2)
    found = {
        "stand": at_rest & upright & erect & (feet_apart == 0),
        "walk": walks & straight & (f.forward > 0.35),
        "walk_back": walks & straight & (f.forward < -0.25),
        "circle": grounded & upright & (f.forward > 0.3) & (f.turning * sign > 0.35),
        "sidestep": grounded & upright & straight & (jnp.abs(f.forward) < 0.15) & (f.leftward * sign > 0.12),
        "turn": grounded & upright & still & (f.turning * sign > 0.6),
        "march": grounded & upright & still & straight & (jnp.min(high) > 0.15) & (jnp.max(f.kicks) < 0.3),
        "sneak": grounded & straight & (f.forward > 0.25) & (jnp.max(f.hips) < 0.92),
        "squat": at_rest & (dips > 0) & (back < 0.22),
        "sit": at_rest & (dips == 1) & (back >= 0.22),
        "bow": at_rest & upright & (bows > 0),
        "bend": at_rest & upright & (bends > 0) & (bends[::-1] == 0),
        "jump": leaps & (jnp.max(jnp.min(f.toes, -1)) > 0.1) & (feet_apart == 0) & ~jnp.any(one_foot),
        "hop": leaps & one_foot,
        "kick": still & straight & grounded & (kicks > 0) & (kicks[::-1] == 0),
        "jumping_jack": leaps & (feet_apart > 0) & (runs(flying) > feet_apart),
    }
    count = {"squat": dips, "bow": bows, "bend": bends, "jump": runs(flying), "hop": runs(flying)}
    return found, count | {"kick": kicks, "jumping_jack": feet_apart}


def _upper(f: Facts) -> dict[str, Array]:
    out, up, ahead = (f.hands[..., i] for i in range(3))
    low = jnp.max(up, 0) < -0.6
    other_low = low[::-1]
    swings = runs(out > jnp.mean(out, 0) + 0.08)
    forward = runs(ahead > 0.75)
    back = runs((ahead < -0.1) & (up > 0.2))
    return {
        "none": jnp.all(jnp.max(up, 0) < -0.76),
        "wave": (jnp.min(up, 0) > 0.2) & (swings >= 3) & other_low,
        "raise": jnp.all((runs(up > 0.7) > 0) & (jnp.min(up, 0) < 0.0)),
        "clap": jnp.all((jnp.min(ahead, 0) > 0.4) & (jnp.max(up, 0) < 0.3)) & (runs(f.palms < 0.35) >= 3),
        "punch": (forward >= 2) & (back == 0) & other_low & (jnp.min(ahead, 0) > 0.2),
        "hips": jnp.all((jnp.max(up, 0) < -0.55) & (jnp.min(up, 0) > -0.76)),
        "reach": jnp.all(jnp.min(ahead, 0) > 0.75),
        "throw": (runs(ahead > 0.6) > 0) & (back > 0) & other_low,
    }


def index(name: str) -> int:
    """The row of an action in verbs.LOWER or verbs.UPPER.

    Raises:
        ValueError: neither has it.
    """
    for rows in (verbs.LOWER, verbs.UPPER):
        for i, row in enumerate(rows):
            if row.name == name:
                return i
    raise ValueError(f"unknown action {name!r}, expected one of {', '.join(r.name for r in verbs.LOWER + verbs.UPPER)}")
