"""MiniDrive once more in NumPy and float64, by other means: polygons instead of formulas, loops instead of vectors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from vrjax import drive

MAKE = jax.jit(jax.vmap(drive.make))
STEP = jax.jit(drive.step)
VIEWS = jax.jit(drive.render)
HEIGHT, WIDTH = 24, 40


@functools.cache
def worlds():
    """256 worlds of mixed kinds in one batch, which every test shares."""
    return MAKE(jax.random.split(jax.random.key(0), 256))


def few(count):
    """The first of them."""
    return jax.tree.map(lambda leaf: leaf[:count], worlds())


@functools.cache
def world(kind):
    """The first of them that is of this kind."""
    batch = worlds()
    roads = batch.roads
    arms = np.asarray(roads.arms).sum(-1)
    bends = (np.asarray(roads.curvature) != 0).any(-1)
    found = {"straight": (arms == 0) & ~bends, "curve": bends, "t": arms == 3, "crossing": arms == 4}[kind]
    return at(batch, int(np.argmax(found)))


def at(tree, i):
    return jax.tree.map(lambda leaf: leaf[i], tree)


@functools.cache
def six():
    return drive.cameras(HEIGHT, WIDTH)


def double(leaf):
    return np.asarray(leaf, np.float64)


def turn(yaw):
    return np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])


def rectangle(box):
    """Corners of x, y, length, width, yaw, counter-clockwise."""
    x, y, length, width, yaw = box
    local = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * [length / 2, width / 2]
    return local @ turn(yaw).T + [x, y]


def clipped(subject, clip):
    """Sutherland and Hodgman: the part of a polygon inside of a convex one."""
    out = list(subject)
    for a, b in zip(clip, np.roll(clip, -1, 0), strict=True):
        side = lambda p, a=a, b=b: (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])
        held, out = out, []
        for p, q in zip(held, held[1:] + held[:1], strict=True):
            if (side(p) >= 0) != (side(q) >= 0):
                out.append(p + (q - p) * side(p) / (side(p) - side(q)))
            if side(q) >= 0:
                out.append(q)
    return np.array(out)


def area(polygon):
    if len(polygon) < 3:
        return 0.0
    x, y = polygon.T
    return 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def inside(points, polygon):
    """Whether points are in a polygon, by counting the edges that a ray to the right crosses."""
    x, y = points[:, :1], points[:, 1:]
    (x0, y0), (x1, y1) = polygon.T, np.roll(polygon, -1, 0).T
    spans = (y0 > y) != (y1 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = x < (x1 - x0) * (y - y0) / (y1 - y0) + x0
    return (spans & crossing).sum(1) % 2 == 1


def road_polygons(roads, widen=0.0):
    """The drivable area of one world as polygons of many corners, from centres and radii of circles."""
    half, corner = 3.5 + widen, 6.0 - widen
    out = []
    for start, heading, curvature, length in zip(*map(double, roads[:4]), strict=True):
        if length == 0:
            continue
        if curvature == 0:
            s, n = np.array([0, length]), turn(heading)
            line = np.stack([s, 0 * s], -1) @ n.T + start
            normal = np.tile(n[:, 1], (2, 1))
        else:
            radius = 1 / abs(curvature)
            centre = start + turn(heading)[:, 1] / curvature
            first = np.arctan2(*(start - centre)[::-1])
            angle = first + np.sign(curvature) * np.linspace(0, length / radius, 800)
            out_ward = np.stack([np.cos(angle), np.sin(angle)], -1)
            line, normal = centre + radius * out_ward, -np.sign(curvature) * out_ward
        out.append(np.concatenate([line + half * normal, (line - half * normal)[::-1]]))
    arms = np.asarray(roads.arms)
    if arms.any():
        reach, shape = 9.5, []
        for j in range(4):  # along the edge of arm j, then the corner between it and the next
            rotate = turn(j * np.pi / 2)
            after = arms[(j + 1) % 4]
            if arms[j]:
                shape += list(np.array([[reach, -half], [reach, half]]) @ rotate.T)
            if arms[j] and after:
                angle = np.linspace(-np.pi / 2, -np.pi, 400)
                shape += list((reach + corner * np.stack([np.cos(angle), np.sin(angle)], -1)) @ rotate.T)
            elif arms[j]:
                shape += list(np.array([[reach, half]]) @ rotate.T)
        out.append(np.array(shape) @ turn(double(roads.heading[0])).T + double(roads.centre))
    return out


def drivable(roads, points, widen=0.0):
    return np.any([inside(points, polygon) for polygon in road_polygons(roads, widen)], 0)


def extrinsics(ego, mount):
    """World to camera as homogeneous 4 x 4 matrices, by the chain of frames."""
    ahead, left, degrees = mount
    to_ego = np.eye(4)
    to_ego[:2, :2], to_ego[:2, 3] = turn(ego[2]), ego[:2]
    to_mount = np.eye(4)
    to_mount[:2, :2], to_mount[:3, 3] = turn(np.radians(degrees)), [ahead, left, 1.65]
    axes = np.eye(4)
    axes[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]  # x forward, y left, z up -> x right, y down, z forward
    return axes @ np.linalg.inv(to_ego @ to_mount)


def boxes(state):
    """Active boxes of a world: id, label, centre, half sizes, yaw."""
    out = []
    for held in (state.actors, state.static):
        for i in np.flatnonzero(np.asarray(held.active)):
            out.append((int(held.id[i]), int(held.kind[i]), double(held.position[i]), double(held.size[i]) / 2,
                        float(held.yaw[i])))  # fmt: skip
    return out


def cast(state, mount, uv):
    """Instance, label of a box (0: none), depth and point in the world of rays through pixels (n, 2), one by one."""
    to_world = np.linalg.inv(extrinsics(double(state.ego), mount))
    focal = WIDTH / 2 / np.tan(np.radians(75) / 2)
    found = boxes(state)
    ids, labels, depths, points = [], [], [], []
    for u, v in uv:
        ray = to_world[:3, :3] @ [(u - WIDTH / 2) / focal, (v - HEIGHT / 2) / focal, 1]
        origin = to_world[:3, 3]
        best = (np.inf, 0, 0) if ray[2] >= 0 else (-origin[2] / ray[2], 0, 0)
        for number, label, centre, half, yaw in found:
            away = np.eye(3)
            away[:2, :2] = turn(-yaw)
            o, d = away @ (origin - centre), away @ ray
            low, high = np.sort(np.stack([(-half - o) / d, (half - o) / d]), 0)
            if 0 < low.max() <= high.min() and low.max() < best[0]:
                best = (low.max(), number, label)
        ids.append(best[1])
        labels.append(best[2])
        depths.append(best[0])
        points.append(origin + ray * (best[0] if np.isfinite(best[0]) else 0.0))
    return np.array(ids), np.array(labels), np.array(depths), np.array(points)


@jax.jit
def SCAN(state, actions):
    """The state after some steps."""
    return jax.lax.scan(lambda state, action: (drive.step(state, action), None), state, actions)[0]


@jax.jit
@jax.vmap
def COURSES(state, action):
    """The actors after each of 60 steps with one action, in every world of a batch."""

    def one(state, _):
        state = drive.step(state, action)
        return state, state.actors

    return jax.lax.scan(one, state, length=60)[1]


@functools.cache
def courses(accel=0.0, steer=0.0):
    """Of the first 128 worlds."""
    return COURSES(few(128), jnp.broadcast_to(jnp.array([accel, steer], jnp.float32), (128, 2)))
