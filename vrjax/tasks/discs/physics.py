"""Moving bodies: discs in a box under exact physics, and four ways to break it.

A clip is 16 frames of the centres of one disc ("bounce") or two ("collide"). Coordinates are in sides of the box, time
in seconds; gravity pulls down, the floor gives back a share `restitution` of the speed, walls and discs are elastic,
the box is open above. The simulator jumps from event to event and solves each flight in closed form in float64: there
is no step size. Frames 0 and 1 are always true (they give position *and* velocity), so the true future is unique, and
what breaks the physics begins at frame 1: the condition does not tell a broken clip from a true one.
"""

from typing import NamedTuple

import numpy as np

FRAMES = 16
INTERVAL = 0.1  # seconds between frames
RADIUS = {"bounce": 0.06, "collide": 0.08}
FAMILIES = ("bounce", "collide")
BODIES = {"bounce": 1, "collide": 2}
GRAVITY, RESTITUTION = (1.2, 2.0), (0.75, 0.9)
VIOLATIONS = ("weak gravity", "energy gain", "tunnelling", "freeze")
TRUE = -1  # the kind of a clip that breaks nothing
BELOW = -0.25  # a body that fell through the floor is drawn no lower
SPLITS = ("base", "real", "val", "test")
_EVENTS = 64  # in one interval; more means a body that rests, which these clips do not reach


class Clips(NamedTuple):
    """A set of clips of one family.

    Attributes:
        family: "bounce" or "collide".
        start, speed: (n, bodies, 2) centres at frame 0 and velocities there.
        gravity, restitution: (n,).
        truth: (n, frames, bodies, 2) the exact future.
        kind: (n,) index into `VIOLATIONS`, or `TRUE`.
        path: (n, frames, bodies, 2) what the clip shows: `truth` where the kind is `TRUE`.
    """

    family: str
    start: np.ndarray
    speed: np.ndarray
    gravity: np.ndarray
    restitution: np.ndarray
    truth: np.ndarray
    kind: np.ndarray
    path: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    def take(self, index: np.ndarray) -> "Clips":
        """The clips at these places."""
        return Clips(self.family, *(getattr(self, name)[index] for name in self._fields[1:]))


def simulate(
    position: np.ndarray,
    velocity: np.ndarray,
    gravity: np.ndarray,
    restitution: np.ndarray,
    radius: float,
    frames: int,
    *,
    floor: np.ndarray | None = None,
    interval: float = INTERVAL,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exact motion of n scenes at once.

    Args:
        position, velocity: (n, bodies, 2) at frame 0; x to the right, y up, inside the box.
        gravity, restitution: (n,), both above 0.
        radius: of every disc; all have the same mass.
        frames: to return, the first included.
        floor: (n,) whether there is a floor; everywhere by default.

    Returns:
        positions and velocities (n, frames, bodies, 2), and (n, frames) how many floor bounces there were until then.

    Raises:
        ValueError: more than 64 events between two frames.
    """
    p, v = np.array(position, np.float64), np.array(velocity, np.float64)
    n, bodies = p.shape[:2]
    g, e = np.asarray(gravity, np.float64)[:, None], np.asarray(restitution, np.float64)[:, None]
    floor = np.ones(n, bool) if floor is None else np.asarray(floor, bool)
    out_p, out_v, bounced = [p.copy()], [v.copy()], [np.zeros(n, int)]
    count = np.zeros(n, int)
    for _ in range(frames - 1):
        left = np.full(n, float(interval))
        for _ in range(_EVENTS):
            if not left.any():
                break
            times = _times(p, v, g, radius, floor)  # (n, events): floor and wall of every body, then the pair
            which = np.argmin(times, 1)
            tau = np.minimum(times[np.arange(n), which], left)
            hit = (times[np.arange(n), which] <= left) & (left > 0)
            p[..., 0] += v[..., 0] * tau[:, None]
            p[..., 1] += v[..., 1] * tau[:, None] - 0.5 * g * tau[:, None] ** 2
            v[..., 1] -= g * tau[:, None]
            left = np.where(hit, left - tau, 0.0)
            for body in range(bodies):
                at = hit & (which == body)
                p[at, body, 1] = radius
                v[at, body, 1] *= -e[at, 0]
                count[at] += 1
                at = hit & (which == bodies + body)
                p[at, body, 0] = np.where(v[at, body, 0] > 0, 1 - radius, radius)
                v[at, body, 0] *= -1
            if bodies == 2:
                _exchange(p, v, hit & (which == 2 * bodies))
        else:
            raise ValueError(f"simulate: more than {_EVENTS} events between two frames; does a body rest?")
        out_p.append(p.copy())
        out_v.append(v.copy())
        bounced.append(count.copy())
    return np.stack(out_p, 1), np.stack(out_v, 1), np.stack(bounced, 1)


def _times(p: np.ndarray, v: np.ndarray, g: np.ndarray, radius: float, floor: np.ndarray) -> np.ndarray:
    """(n, events) seconds to the next floor and wall contact of every body, and to that of the pair; inf if none."""
    height = np.maximum(p[..., 1] - radius, 0.0)  # rounding may leave a body a hair below
    down = (v[..., 1] + np.sqrt(v[..., 1] ** 2 + 2 * g * height)) / g
    down = np.where(floor[:, None] & (down > 0), down, np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.where(v[..., 0] > 0, 1 - radius - p[..., 0], radius - p[..., 0])
        side = np.where(v[..., 0] != 0, np.maximum(gap / v[..., 0], 0.0), np.inf)
        if p.shape[1] == 1:
            return np.concatenate([down, side], 1)
        # All bodies fall alike, so relative motion is straight: |d + w t| = 2 radius.
        d, w = p[:, 0] - p[:, 1], v[:, 0] - v[:, 1]
        a, b = (w * w).sum(1), (d * w).sum(1)
        c = np.maximum((d * d).sum(1) - 4 * radius**2, 0.0)
        root = b * b - a * c
        meet = np.where((b < 0) & (root >= 0), c / (-b + np.sqrt(np.maximum(root, 0.0))), np.inf)
    return np.concatenate([down, side, meet[:, None]], 1)


def _exchange(p: np.ndarray, v: np.ndarray, at: np.ndarray) -> None:
    """Elastic contact of two equal discs: velocities along the line of centres are exchanged."""
    normal = p[at, 0] - p[at, 1]
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    along = ((v[at, 0] - v[at, 1]) * normal).sum(-1, keepdims=True) * normal
    v[at, 0] -= along
    v[at, 1] += along


def _starts(family: str, rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    """Candidates for first frames: centres, velocities, gravity, restitution."""
    gravity, restitution = rng.uniform(*GRAVITY, n), rng.uniform(*RESTITUTION, n)
    if family == "bounce":
        x, y = rng.uniform(0.15, 0.85, n), rng.uniform(0.45, 0.9, n)
        u, w = rng.uniform(-0.6, 0.6, n), rng.uniform(-0.4, 0.4, n)
        return np.stack([x, y], -1)[:, None], np.stack([u, w], -1)[:, None], gravity, restitution
    left, right = rng.uniform(0.12, 0.32, n), rng.uniform(0.68, 0.88, n)
    y, offset = rng.uniform(0.5, 0.85, n), rng.uniform(-0.06, 0.06, n)
    u, w = rng.uniform(0.25, 0.6, (2, n)), rng.uniform(-0.2, 0.3, n)
    start = np.stack([np.stack([left, y], -1), np.stack([right, y + offset], -1)], 1)
    return start, np.stack([np.stack([u[0], w], -1), np.stack([-u[1], w], -1)], 1), gravity, restitution


def make(family: str, n: int, *, split: str, seed: int, broken: float = 0.0) -> Clips:
    """n clips of a family; a share `broken` of them shows one of the violations, in equal numbers.

    Every clip bounces off the floor between frames 2 and 12, and nothing happens before frame 1; two discs also meet.

    Args:
        split: one of `SPLITS`; different splits and seeds give different clips.
        seed: of the clips.
        broken: share of clips that break physics, spread evenly over the violations.

    Raises:
        ValueError: an unknown family or split.
    """
    if family not in FAMILIES or split not in SPLITS:
        raise ValueError(f"discs: expected a family of {FAMILIES} and a split of {SPLITS}, found {family}, {split}")
    rng = np.random.default_rng([FAMILIES.index(family), SPLITS.index(split), seed])
    radius, kept, have = RADIUS[family], [], 0
    while have < n:
        some = _starts(family, rng, 2 * n + 16)
        path, _, bounced = simulate(*some, radius, FRAMES)
        good = (bounced[:, 1] == 0) & (bounced[:, 12] > 0) & _undisturbed(*some, path)
        if family == "collide":
            good &= _met(some[1], path, bounced)
        kept.append([a[good] for a in (*some, path)])
        have += int(good.sum())
    start, speed, gravity, restitution, truth = (np.concatenate(a)[:n] for a in zip(*kept, strict=True))
    kind = np.full(n, TRUE)
    count = round(broken * n)
    kind[rng.permutation(n)[:count]] = np.arange(count) % len(VIOLATIONS)
    path = violate(family, start, speed, gravity, restitution, truth, kind, rng)
    return Clips(family, start, speed, gravity, restitution, truth, kind, path)


def _undisturbed(start: np.ndarray, speed: np.ndarray, gravity: np.ndarray, _: np.ndarray, path: np.ndarray):
    """Whether the first interval is one free flight."""
    free = start + speed * INTERVAL
    free[..., 1] -= 0.5 * gravity[:, None] * INTERVAL**2
    return np.abs(path[:, 1] - free).max((1, 2)) < 1e-9


def _met(speed: np.ndarray, path: np.ndarray, bounced: np.ndarray) -> np.ndarray:
    """Whether the discs met by frame 10: the gap across, which shrinks until they do, has grown."""
    gap = np.abs(path[:, :, 0, 0] - path[:, :, 1, 0])
    closing = gap[:, :1] + np.arange(FRAMES) * INTERVAL * (speed[:, 1, 0] - speed[:, 0, 0])[:, None]
    return (gap[:, 10] > closing[:, 10] + 1e-6) & (gap.min(1) > 0)


def violate(
    family: str,
    start: np.ndarray,
    speed: np.ndarray,
    gravity: np.ndarray,
    restitution: np.ndarray,
    truth: np.ndarray,
    kind: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """(n, frames, bodies, 2): the clips with the physics of their kind from frame 1 on.

    Weak gravity: 0.2 to 0.5 of the true one. Energy gain: floor bounces give back 1.15 to 1.35 of the speed.
    Tunnelling: there is no floor. Freeze: from a frame between 4 and 9 on, nothing moves.
    """
    n = len(start)
    now = truth[:, 1]
    then = np.array(speed, np.float64)
    then[..., 1] -= gravity[:, None] * INTERVAL  # the first interval is free flight
    g = np.where(kind == 0, gravity * rng.uniform(0.2, 0.5, n), gravity)
    e = np.where(kind == 1, rng.uniform(1.15, 1.35, n), restitution)
    after, _, _ = simulate(now, then, g, e, RADIUS[family], FRAMES - 1, floor=kind != 2)
    path = np.concatenate([truth[:, :1], after], 1)
    stop = rng.integers(4, 10, n)
    held = np.minimum(np.arange(FRAMES)[None], np.where(kind == 3, stop, FRAMES)[:, None])
    path = np.take_along_axis(path, np.minimum(held, FRAMES - 1)[:, :, None, None], 1)
    path[..., 1] = np.maximum(path[..., 1], BELOW)
    return np.where((kind == TRUE)[:, None, None, None], truth, path)
