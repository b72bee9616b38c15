"""From a script to a motion: where the path leads, when feet step, and what trunk and hands do, all in closed form.

A foot that stands is at one place, computed once for each step: nothing is integrated, so nothing slides.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from vrjax.motion.kinematics import Motion
from vrjax.motion.program import curves, verbs
from vrjax.motion.program.body import (
    ANKLE_HEIGHT,
    HIP_WIDTH,
    LEG,
    OFFSETS,
    Targets,
    offset,
    pose,
    root_rotation,
    within_reach,
)
from vrjax.motion.rotations import Real

FPS = 20
STEP = 0.5  # seconds of a step at normal speed
BOTH = 0.1  # share of a step at each of its ends in which both feet stand
HANGING = np.array(verbs.Upper.ready, np.float32)
ARMS_OUT = np.array([0.24, 0.42, 0.04], np.float32)


class Script(NamedTuple):
    """What a person does: indices into `verbs`. What an action does not have (see there) is ignored.

    Attributes:
        lower: into LOWER.
        side: 0 left, 1 right.
        speed: 0 slow, 1 normal, 2 fast.
        count: repeats, 1 to 3.
        upper: into UPPER.
        upper_side: 0 left, 1 right.
    """

    lower: Int[Real, "*n"]
    side: Int[Real, "*n"]
    speed: Int[Real, "*n"]
    count: Int[Real, "*n"]
    upper: Int[Real, "*n"]
    upper_side: Int[Real, "*n"]


class Style(NamedTuple):
    """How somebody does it: what differs between two performances of one script."""

    heading: Float[Array, ""]
    pace: Float[Array, ""]
    size: Float[Array, ""]
    stance: Float[Array, ""]
    arms: Float[Array, ""]
    phase: Float[Array, ""]


class Performance(NamedTuple):
    """A motion of the program.

    Attributes:
        motion: joints and parameters, `frames` of them.
        contacts (t, 2): whether the left and the right foot stand. Between two such frames a foot does not move.
    """

    motion: Motion
    contacts: Bool[Array, "t 2"]


def _table(rows: tuple) -> dict[str, np.ndarray]:
    """The numbers of rows by field."""
    fields = vars(rows[0]).keys() - {"name", "words"}
    return {f: np.array([getattr(row, f) for row in rows], np.float32) for f in fields if f != "goal"}


LOWER, UPPER = _table(verbs.LOWER), _table(verbs.UPPER)
GOALS = np.array([row.ready if row.goal is None else row.goal for row in verbs.UPPER], np.float32)
SPEEDS = np.array(list(verbs.SPEEDS.values()), np.float32)


def draw_style(key: PRNGKeyArray) -> Style:
    """A style: any heading, pace and size of movements within a tenth, and so on."""
    low = jnp.array([-jnp.pi, 0.9, 0.85, 1.0, 0.7, 0.0])
    high = jnp.array([jnp.pi, 1.1, 1.1, 1.25, 1.2, 1.0])
    return Style(*jax.random.uniform(key, (6,), minval=low, maxval=high))


def perform(
    key: PRNGKeyArray, script: Script, frames: int = 60, *, duration: Int[Array, ""] | int | None = None
) -> Performance:
    """The motion of a script at 20 frames a second, z up, the floor at 0; jit- and vmap-able with static `frames`.

    Args:
        key: for the style.
        script: what to do; `program.draw` and `program.script` make them.
        frames: how many, at least 2. `to_276` makes one row fewer of them.
        duration: how many of them the script takes, 2 to `frames`, which is what it takes if not given; may be traced.
            What comes after goes on somehow: it is there to be cut off.

    Raises:
        ValueError: fewer than 2 frames.
    """
    if frames < 2:
        raise ValueError(f"perform: frames must be at least 2, found {frames}")
    return direct(script, draw_style(key), frames, duration)


def direct(script: Script, style: Style, frames: int, duration: Int[Array, ""] | int | None = None) -> Performance:
    """`perform` in a given style."""
    seconds = ((frames if duration is None else duration) - 1) / FPS
    row = {name: jnp.asarray(column)[script.lower] for name, column in LOWER.items()}
    time = jnp.arange(frames) / FPS
    turn = jnp.where((row["sided"] > 0) & (script.side == 1), -1.0, 1.0)
    pace = style.pace * jnp.where(row["paced"] > 0, jnp.asarray(SPEEDS)[script.speed], 1.0)
    repeats = jnp.where(row["counted"] > 0, script.count, 1)
    period = seconds / repeats
    phase = (time / period) % 1.0
    peak = curves.pulse(phase, row["hold"])
    up, drop, apart = _flights(row, phase, period)

    walking = row["lift"] > 0
    tact = time * jnp.sqrt(pace) / STEP + 2 * style.phase
    gait = jnp.where(walking, jnp.sin(jnp.pi * tact), 0.0)
    yaw, place = _path(row, turn, pace, style, time)
    stepping = _steps(row, turn, pace, style, tact)
    standing = _stands(row, script, style, peak, up, apart, yaw[0], place[0])
    ankles, foot_yaw, foot_pitch, contacts = jax.tree.map(lambda a, b: jnp.where(walking, a, b), stepping, standing)

    pitch = row["lean"] + row["pitch"] * style.size * peak
    # Over the foot that carries: stepping to the right while the left one swings, hopping to the side, kicking away.
    carried = jnp.where(row["tuck"] > 0, 1.0, 0.0) - jnp.where(row["kick_up"] > 0, peak, 0.0)
    aside = 0.8 * HIP_WIDTH * carried * jnp.where(script.side == 0, 1.0, -1.0) - 0.025 * gait
    place = place + offset(yaw, jnp.stack([aside, -row["back"] * peak], -1))
    height = ANKLE_HEIGHT + LEG - OFFSETS[1, 1]
    height = height - row["crouch"] - row["dip"] * style.size * peak - drop + up
    height = within_reach(height, place, root_rotation(yaw, pitch), ankles)
    return Performance(
        pose(
            Targets(
                pelvis=jnp.concatenate([place, height[:, None]], -1),
                yaw=yaw,
                pitch=pitch,
                roll=turn * row["roll"] * style.size * peak,
                twist=0.1 * jnp.where(walking, jnp.cos(jnp.pi * tact), 0.0) * jnp.sign(row["forward"]),
                ankles=ankles,
                foot_yaw=foot_yaw,
                foot_pitch=foot_pitch,
                hands=_hands(row, script, style, time, tact, seconds, pace, apart),
            )
        ),
        contacts,
    )


def _path(row: dict, turn: Array, pace: Array, style: Style, time: Array) -> tuple[Array, Array]:
    """Heading and place at a time: an arc, which is a line where it does not turn."""
    rate = turn * row["yaw"] * pace
    chord = time * jnp.sinc(rate * time / (2 * jnp.pi))
    speed = jnp.stack([turn * row["sideways"] * pace, row["forward"] * pace])
    yaw = style.heading + rate * time
    return yaw, offset(style.heading + rate * time / 2, chord[..., None] * speed)


def _steps(row: dict, turn: Array, pace: Array, style: Style, tact: Array) -> tuple[Array, Array, Array, Array]:
    """Feet that step in turns: each swings from where it stood to where the body is in the middle of its next stand."""
    foot = jnp.arange(2)
    step = 2 * jnp.floor((tact[:, None] - foot) / 2) + foot  # the foot's last step that has begun
    swing = jnp.clip((tact[:, None] - step - BOTH) / (1 - 2 * BOTH), 0.0, 1.0)
    seconds = lambda tact: (tact - 2 * style.phase) * STEP / jnp.sqrt(pace)
    home = jnp.stack([HIP_WIDTH * style.stance * jnp.array([1.0, -1.0]), jnp.zeros(2)], -1)
    ends = []
    for middle in (step - 0.5, step + 1.5):
        yaw, place = _path(row, turn, pace, style, seconds(middle))
        ends.append((yaw, place + offset(yaw, home)))
    (yaw, place), (next_yaw, next_place) = ends
    done = curves.rise(swing)
    lift = row["lift"] * style.size * curves.bump(swing)
    place = jnp.where(done[..., None] == 1, next_place, place + done[..., None] * (next_place - place))
    ankles = jnp.concatenate([place, ANKLE_HEIGHT + lift[..., None]], -1)
    return ankles, yaw + done * (next_yaw - yaw), 0.3 * curves.bump(swing), (swing == 0) | (swing == 1)


def _flights(row: dict, phase: Array, period: Array) -> tuple[Array, Array, Array]:
    """Height over the floor and drop of the pelvis of a repeat's jumps; how far apart they have brought the feet."""
    twice = row["jumps"] > 1
    half = jnp.sqrt(2 * row["jump"] / curves.GRAVITY)
    width = jnp.clip(period / (2 * row["jumps"]) - half, 0.02, 0.25)
    up, drop, apart = curves.flight((phase - jnp.where(twice, 0.25, 0.5)) * period, row["jump"], width)
    up2, drop2, together = curves.flight((phase - 0.75) * period, jnp.where(twice, row["jump"], 0.0), width)
    return up + up2, drop + drop2, jnp.where(twice, apart - together, 0.0)


def _stands(row, script, style, peak, up, apart, yaw, place) -> tuple[Array, Array, Array, Array]:
    """Feet that stay, but for the kicking one, the one that is held up, and jumps."""
    foot = jnp.arange(2)
    kick = jnp.where(foot == script.side, style.size * peak[:, None], 0.0)
    tucked = (row["tuck"] > 0) & (foot != script.side)
    outward = HIP_WIDTH * style.stance + row["apart"] * apart[:, None]
    forward = row["kick_forward"] * kick - jnp.where(tucked, 0.15, 0.0)
    raised = row["kick_up"] * kick + jnp.where(tucked, row["tuck"], 0.0) + up[:, None]
    beside = jnp.broadcast_to(outward * jnp.array([1.0, -1.0]), raised.shape)
    ankles = place + offset(yaw, jnp.stack([beside, jnp.broadcast_to(forward, raised.shape)], -1))
    ankles = jnp.concatenate([ankles, ANKLE_HEIGHT + raised[..., None]], -1)
    pitch = jnp.minimum(2 * up[:, None], 0.5) - jnp.sign(row["kick_up"]) * 0.4 * kick + jnp.where(tucked, 0.5, 0.0)
    return ankles, jnp.broadcast_to(yaw, raised.shape), pitch, raised == 0


def _hands(row, script, style, time, tact, duration, pace, apart) -> Array:
    """Hands that hang or swing against the legs, and what those of the upper action do."""
    upper = {name: jnp.asarray(column)[script.upper] for name, column in UPPER.items()}
    hand = jnp.arange(2)
    active = (script.upper > 0) & ((upper["sided"] == 0) | (hand == script.upper_side))
    swing = 0.15 * style.arms * row["forward"] * pace * jnp.cos(jnp.pi * tact)[:, None] * jnp.array([1.0, -1.0])
    swing = jnp.where(row["lift"] > 0, swing, 0.0)
    hanging = HANGING + jnp.stack([jnp.zeros_like(swing), 0.15 * jnp.abs(swing), swing], -1)
    beat = jnp.where(upper["beats"] > 0, curves.pulse((time * upper["beats"] / duration) % 1.0, jnp.float32(0.1)), 0.0)
    doing = _arc(upper["ready"], jnp.asarray(GOALS)[script.upper], beat[:, None])
    wave = jnp.sin(2 * jnp.pi * (upper["rate"] * style.pace * time + style.phase))
    doing = doing + style.arms * wave[:, None] * upper["swing"]
    hands = jnp.where(active[:, None], doing[:, None], hanging)
    return jnp.where(row["apart"] > 0, _arc(HANGING, ARMS_OUT, apart[:, None, None]), hands)


def _arc(start: Real, end: Real, amount: Array) -> Array:
    """From one place of a hand to another, outward around the shoulder where it is lifted past it."""
    outward = jnp.array([0.3, 0.0, 0.0]) * jnp.abs(end[1] - start[1])
    return jnp.asarray(start) + amount * (end - start) + 4 * amount * (1 - amount) * outward
