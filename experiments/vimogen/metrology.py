"""What do metrics of motion measure? Every metric is fed every defect, planted at three known strengths.

    found = metrology.measure(metrology.walks())
    head, body = metrology.cells(metrology.judge(found))

The motions are walks in closed form: planted feet stand exactly still, on the floor, at any frame rate. A defect is
planted in all of them with a size that is known, and a metric should grow with its own defect, be silent about others,
and not be won by a pose that never moves.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from vrjax.bench import mbench
from vrjax.motion import Motion, constraints, representations

FPS = 20
STEP = 0.5  # seconds between the landings of the two feet
SWING = 0.4  # share of a foot's cycle in the air
THIGH = 0.42  # m, and the shank's
HANDS = (20, 21)
KEYS = 10  # frames from keyframe to keyframe

# Where joints are from the pelvis, at rest: right, forward, up, in metres. Legs follow from hips and toes.
REST = {
    **{0: (0, 0, 0), 1: (-0.09, 0, -0.04), 2: (0.09, 0, -0.04), 3: (0, -0.01, 0.11), 6: (0, 0, 0.24), 9: (0, 0, 0.3)},
    **{12: (0, -0.02, 0.5), 13: (-0.06, 0, 0.44), 14: (0.06, 0, 0.44), 15: (0, 0.03, 0.6), 16: (-0.18, 0, 0.45)},
    **{17: (0.18, 0, 0.45), 18: (-0.2, -0.02, 0.19), 19: (0.2, -0.02, 0.19), 20: (-0.2, 0.04, -0.04)},
    21: (0.2, 0.04, -0.04),
}
UPPER = (3, 6, 9, *range(12, 22))

# Metric -> the defect that it is for.
OWN = {
    "Jitter_Degree": "jitter",
    "Dynamic_Degree": "rate",
    "Foot_Sliding": "slide",
    "Ground_Penetration": "sink",
    "Foot_Floating": "hover",
    "foot skate ratio": "slide",
    "keyframe error": "bones",
    "path error": "heading",
    "end-effector error": "reach",
}
NAMED_OFFICIAL = {name: f"{name}, official path" for name in mbench.NAMES[2:]}  # of those that read an axis
OWN |= {official: OWN[name] for name, official in NAMED_OFFICIAL.items()}
BASE, FROZEN = "none", "frozen pose"
REACTS = 0.1  # of the change that a metric's own strongest defect makes


class Walk(NamedTuple):
    """A walk that can be made anew with a defect: speed in m/s, heading in degrees from forward, frames, and the phase
    of its cycle, from 0 to 1."""

    speed: float
    heading: float = 0.0
    frames: int = 60
    phase: float = 0.0


def walks() -> tuple[Walk, ...]:
    """The walks of the table: slow to brisk, in four directions."""
    return tuple(
        Walk(speed, heading, phase=phase)
        for speed, heading, phase in zip(
            (0.6, 0.8, 1.0, 1.2), (0.0, 70.0, 160.0, 250.0), (0.0, 0.3, 0.55, 0.8), strict=True
        )
    )


def joints(walk: Walk, *, fps: float = FPS, slide: float = 0.0, glide: float = 0.0) -> np.ndarray:
    """Positions (frames, 22, 3) in metres, z up, in float64.

    Args:
        walk: which.
        fps: frames a second; all of them show the same walk.
        slide: metres that a standing foot moves sideways in each 20th of a second; it swings back in the air.
        glide: share of the body's way that a standing foot is carried along.
    """
    cycle = 2 * STEP
    t = np.arange(walk.frames) / fps
    travelled = walk.speed * t
    phase = t / cycle + walk.phase
    root = np.stack([0.02 * np.sin(2 * np.pi * phase), travelled, 0.82 + 0.01 * np.cos(4 * np.pi * phase)], -1)
    out = np.zeros((walk.frames, 22, 3))
    for joint, place in REST.items():
        out[:, joint] = root + np.array(place)
    swing = 0.12 * np.sin(2 * np.pi * phase)
    for elbow, wrist, sign in ((18, 20, -1), (19, 21, 1)):
        out[:, elbow, 1] += sign * swing
        out[:, wrist, 1] += 2.2 * sign * swing
    for hip, knee, ankle, toe, half, side in ((1, 4, 7, 10, 0.0, -0.1), (2, 5, 8, 11, 0.5, 0.1)):
        turns, part = np.divmod(phase + half, 1.0)
        along = np.clip(part / SWING, 0, 1)
        way = along**3 * (10 - 15 * along + 6 * along**2)
        stood = np.where(part < SWING, (1 - SWING) * (1 - way), part - SWING) * cycle  # seconds; undone in the air
        y = walk.speed * cycle * (turns + way - 0.3 - half - walk.phase) + 0.1 + glide * walk.speed * stood
        x = side + slide * FPS * stood
        out[:, toe] = np.stack([x, y, 64 * 0.1 * (along * (1 - along)) ** 3], -1)
        out[:, ankle] = out[:, toe] + (0, -0.13, 0.06)
        leg = out[:, ankle] - out[:, hip]
        forward = np.stack([0 * t, -leg[:, 2], leg[:, 1]], -1)  # across the leg, in the plane of travel
        half_leg = np.linalg.norm(leg, axis=-1, keepdims=True) / 2
        bend = np.sqrt(np.clip(THIGH**2 - half_leg**2, 0, None))
        out[:, knee] = out[:, hip] + leg / 2 + bend * forward / np.linalg.norm(forward, axis=-1, keepdims=True)
    return out @ _about_up(walk.heading).T


def _about_up(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


# -------------------------------------------------------------------------------------------------------------- defects


def _moved(walk: Walk, *, by: Sequence[float], which: Sequence[int] = tuple(range(22))) -> np.ndarray:
    found = joints(walk)
    found[:, list(which)] += np.array(by)
    return found


def _jittered(walk: Walk, size: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(walk.frames, 22, 3))
    return joints(walk) + size * noise


def _grown(walk: Walk, factor: float) -> np.ndarray:
    found = joints(walk)
    found[:, UPPER] = found[:, :1] + factor * (found[:, UPPER] - found[:, :1])
    return found


# Defect -> its unit, three strengths, and the walk that has it.
DEFECTS = {
    "slide": ("m a frame", (0.004, 0.008, 0.016), lambda walk, s: joints(walk, slide=s)),
    "glide": ("of the way", (0.25, 0.5, 1.0), lambda walk, s: joints(walk, glide=s)),
    "sink": ("m", (0.02, 0.04, 0.08), lambda walk, s: _moved(walk, by=(0, 0, -s))),
    "hover": ("m", (0.03, 0.06, 0.12), lambda walk, s: _moved(walk, by=(0, 0, s))),
    "jitter": ("m", (0.002, 0.005, 0.01), _jittered),
    "heading": ("degrees", (5, 15, 45), lambda walk, s: joints(walk) @ _about_up(s).T),
    "rate": ("frames a second", (24, 30, 60), lambda walk, s: joints(_longer(walk, s / FPS), fps=s)),
    "reach": ("m", (0.05, 0.1, 0.2), lambda walk, s: _moved(walk, by=(0, 0, s), which=HANDS)),
    "bones": ("of their length", (1.05, 1.1, 1.2), _grown),
}


def _longer(walk: Walk, factor: float) -> Walk:
    return walk._replace(frames=round(walk.frames * factor))


# ------------------------------------------------------------------------------------------------------------ measuring


def measure(base: Sequence[Walk]) -> dict[str, dict[str, np.ndarray]]:
    """Every metric of every defect: defect -> metric -> means over the walks at the three strengths, (3,).

    `none` and `frozen pose` stand beside the defects, with one value each. Walks must be of equal length.
    """
    truths = [joints(walk) for walk in base]
    fed = {BASE: [truths], FROZEN: [[mbench.frozen(truth) for truth in truths]]}
    fed |= {name: [[make(walk, s) for walk in base] for s in sizes] for name, (_, sizes, make) in DEFECTS.items()}
    flat = [clip for groups in fed.values() for clips in groups for clip in clips]
    read = mbench.batch(flat, up_axis=2)
    values = {name: read[mbench.COLUMNS[0]][name] for name in mbench.NAMES}
    values |= {official: read[mbench.COLUMNS[1]][name] for name, official in NAMED_OFFICIAL.items()}
    again = [truth for groups in fed.values() for _ in groups for truth in truths]
    frames = base[0].frames
    values |= _followed(np.stack([clip[:frames] for clip in flat]), np.stack(again))
    out, start = {}, 0
    for name, groups in fed.items():
        stop = start + len(groups) * len(base)
        out[name] = {m: np.reshape(v[start:stop], (len(groups), len(base))).mean(1) for m, v in values.items()}
        start = stop
    return out


def _followed(clips: np.ndarray, truths: np.ndarray) -> dict[str, np.ndarray]:
    """The constraint metrics: the clip should go through the truth's keyframes, along its path, with its hands."""
    frames = np.arange(0, clips.shape[1], KEYS)

    @jax.jit
    @jax.vmap
    def one(clip: Any, truth: Any) -> dict[str, Any]:
        return {
            "foot skate ratio": constraints.foot_skate_ratio(clip, fps=FPS),
            "keyframe error": constraints.keyframe_error(clip, frames, truth[frames]).mean(),
            "path error": constraints.path_error(clip, np.arange(len(clip)), truth[:, 0, :2]).mean(),
            "end-effector error": constraints.end_effector_error(
                clip, frames, HANDS, truth[frames][:, np.array(HANDS)]
            ).mean(),
        }

    return jax.tree.map(np.asarray, one(clips, truths))


def round_trips(motions: Motion) -> dict[str, dict[str, float]]:
    """What becomes of motions that are kept in a representation: name -> largest change of every metric, and `joints`,
    the largest distance in metres of a joint from where it was, once place and direction are what they were.

    Args:
        motions: several of them, on a leading axis, z up.
    """
    before = np.asarray(motions.joints[:, :-1], np.float64)
    values = mbench.batch(list(before))[mbench.COLUMNS[0]]
    out = {}
    for name in representations.names():
        found = representations.get(name)
        after = np.asarray(jax.jit(jax.vmap(lambda m, f=found: f.decode(f.encode(m))))(motions), np.float64)
        again = mbench.batch(list(after))[mbench.COLUMNS[0]]
        out[name] = {metric: float(np.abs(again[metric] - values[metric]).max()) for metric in mbench.NAMES}
        back = [_placed(a, b) for a, b in zip(after, before, strict=True)]
        out[name]["joints"] = float(np.linalg.norm(np.stack(back) - before, axis=-1).max())
    return out


def _placed(found: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Joints moved and turned about the vertical so that pelvis and hips of frame 0 are where others have them."""
    heading = lambda x: np.degrees(np.arctan2(*(x[0, 2] - x[0, 1])[1::-1]))
    return (found - found[0, 0]) @ _about_up(heading(like) - heading(found)).T + like[0, 0]


# -------------------------------------------------------------------------------------------------------------- judging


class Verdict(NamedTuple):
    """What a metric does.

    Attributes:
        metric, own: its name, and the defect that it is for.
        values: without a defect, and at the three strengths of its own.
        monotone: whether it gets worse with each of them.
        reacts: other defects that move it by a tenth or more of what its own strongest one does, and the sign of that:
            "worse" or "better".
        frozen: of the frozen pose.
        frozen_wins: whether that is better than what a walk without a defect has.
    """

    metric: str
    own: str
    values: tuple[float, ...]
    monotone: bool
    reacts: dict[str, str]
    frozen: float
    frozen_wins: bool


def judge(found: Mapping[str, Mapping[str, np.ndarray]]) -> list[Verdict]:
    """What `measure` found, metric by metric."""
    out = []
    for metric, own in OWN.items():
        worse = -1.0 if metric.startswith("Dynamic_Degree") else 1.0
        base = float(found[BASE][metric][0])
        change = {name: worse * (found[name][metric] - base) for name in DEFECTS}
        values = (base, *map(float, found[own][metric]))
        scale = max(abs(change[own][-1]), 1e-6)
        moved = {name: c[np.argmax(np.abs(c))] for name, c in change.items() if name != own}
        frozen = float(found[FROZEN][metric][0])
        out.append(
            Verdict(
                metric,
                own,
                values,
                bool(np.all(np.diff([0.0, *change[own]]) > 1e-9)),
                {name: "worse" if c > 0 else "better" for name, c in moved.items() if abs(c) >= REACTS * scale},
                frozen,
                worse * (frozen - base) < 0,
            )
        )
    return out


def cells(verdicts: Sequence[Verdict]) -> tuple[list[str], list[list[str]]]:
    """Head and body of the table, as text."""
    head = ["metric", "own defect", "none", "three strengths", "monotone", "gets worse by", "gets better by", "frozen"]
    said = lambda v, how: ", ".join(name for name, sign in v.reacts.items() if sign == how) or "-"
    body = [
        [
            v.metric,
            v.own,
            f"{v.values[0]:.4f}",
            " / ".join(f"{value:.4f}" for value in v.values[1:]),
            "yes" if v.monotone else "no",
            said(v, "worse"),
            said(v, "better"),
            f"{v.frozen:.4f}" + (" wins" if v.frozen_wins else ""),
        ]
        for v in verdicts
    ]
    return head, body
