"""What the ego's cameras see: rays against the ground and oriented boxes, in closed form.

A camera's rays meet the boxes that it may see, one box after another. A candidate is one integer, the bits of its depth
(which sort as the depths do) with the box' number in the lowest ones, so the nearest hit of every ray is a minimum: no
table of pixels by boxes in memory. Everything about a hit is then computed once, from the winner.
"""

from typing import NamedTuple

import jax
import jax.custom_batching
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vrjax.drive import lanes, texture
from vrjax.drive.boxes import Scene, scene
from vrjax.drive.cameras import CENTRE, NEAREST, Cameras
from vrjax.drive.state import POLE, ROAD, SKY, State

MISS = 0x7FFFFFFF
"""Later than every hit."""


class Views(NamedTuple):
    """Pictures of n cameras.

    Attributes:
        rgb (n, h, w, 3): colours in [-1, 1], each the mean of 2 x 2 points within the pixel.
        depth (n, h, w): z in metres of what the pixel's centre shows; `jnp.inf` in the sky.
        instance (n, h, w): id of the actor or static box there, 0 for ground and sky.
        semantic (n, h, w): label there, an index of `SEMANTIC`.
        flow (n, h, w, 2): motion in pixels (u, v) to where the same point of the same thing is after, seen or not.
    """

    rgb: Float[Array, "n h w 3"]
    depth: Float[Array, "n h w"]
    instance: Int[Array, "n h w"]
    semantic: Int[Array, "n h w"]
    flow: Float[Array, "n h w 2"]


class Frames(NamedTuple):
    """Poses of boxes in the ego's frame: centres, and cosine and sine of the yaw; one entry a box."""

    x: Float[Array, " k"]
    y: Float[Array, " k"]
    z: Float[Array, " k"]
    cos: Float[Array, " k"]
    sin: Float[Array, " k"]


def render(state: State, cameras: Cameras, after: State | None = None) -> Views:
    """Draw a world as its ego's cameras see it.

    Labels and depth are exact at the pixel's centre; colours are rounded to 8 bits before their mean is taken. The
    ego's own box is not drawn, nor is a box that a camera is inside of. Weather and light change colours only. There is
    no gradient in reverse: which box a ray meets is found by a loop.

    Args:
        state: what to draw.
        cameras: from `drive.cameras`.
        after: the same world at another moment, to which `flow` leads. The ground and static boxes stay, a point of an
            actor moves with it, the sky turns as something infinitely far away. Flow is NaN where the point is then at
            or behind the camera's plane, or on an actor that has left. Without `after` nothing moves, and flow is 0.
    """
    # A batch on a CPU is drawn world by world: what a world needs stays in the cache, which 64 at once would not.
    draw = jax.custom_batching.sequential_vmap(_drawn) if jax.default_backend() == "cpu" else _drawn
    return draw(state, cameras, after)


def _drawn(state: State, cameras: Cameras, after: State | None) -> Views:
    boxes = scene(state)
    frames = seen_from(state.ego, boxes)
    rows = jnp.stack([*frames, *(boxes.size.T / 2), boxes.kind.astype(jnp.float32), *_lights(state, boxes).T], -1)

    index, hit = nearest(cameras, frames, boxes)
    hit, depth, rgb, label = _shaded(state, cameras, rows[index], index, hit)
    # One number for each ray instead of three colours and a label: a compiler computes what they share only once.
    centre = (jnp.arange(CENTRE + 1) == CENTRE)[:, None, None, None]
    words = jnp.where(centre, _label_word(label), _colour_word(rgb))
    # Summed by a loop, since what a loop reads must lie in memory; a sum would be fused with all that leads to it.
    words = jax.lax.fori_loop(0, CENTRE + 1, lambda i, total: total + words[i], jnp.zeros_like(words[0]))
    index, hit, depth = index[CENTRE], hit[CENTRE], depth[CENTRE]
    below = jnp.where(jnp.isinf(depth), SKY, ROAD + ((words >> 30) & 3))
    return Views(
        rgb=((words[..., None] >> jnp.array([0, 10, 20], jnp.int32)) & 1023).astype(jnp.float32) / 510 - 1,
        depth=depth,
        instance=jnp.where(hit, boxes.id[index], 0),
        semantic=jnp.where(hit, boxes.kind[index], below),
        flow=_flow(state, after, cameras, boxes, index, hit, depth),
    )


def _colour_word(rgb: list[Array]) -> Int[Array, "..."]:
    """Colours in [0, 1] as words of which four can be added: 8 bits for each of three channels, 10 bits apart."""
    bits = [jnp.round(255 * jnp.clip(value, 0.0, 1.0)).astype(jnp.int32) for value in rgb]
    return bits[0] | (bits[1] << 10) | (bits[2] << 20)


def _label_word(label: Array) -> Int[Array, "..."]:
    """One of the ground's four labels, in the two bits that colours leave."""
    return (label - ROAD).astype(jnp.int32) << 30


def _shaded(
    state: State, cameras: Cameras, row: Array, index: Array, hit: Array
) -> tuple[Array, Array, list[Array], Array]:
    """What one ray of every pixel meets, given the row of the box that it enters first.

    Returns:
        Whether it meets that box, the depth, the colour's three channels, and the ground's label there.
    """
    dx, dy, dz = cameras.rays
    held, half = Frames(*(row[..., i] for i in range(5))), tuple(row[..., i] for i in (5, 6, 7))
    kind, paint = row[..., 8].astype(jnp.int32), tuple(row[..., i] for i in (9, 10, 11))
    start, ray = _start(cameras, held), _local(held, dx, dy, dz)
    depth_box = _entry(start, tuple(1 / d for d in ray), half)[0]
    height = cameras.centre[:, 2, None, None]
    down = jnp.where(dz < 0, -height / jnp.where(dz < 0, dz, 1.0), jnp.inf)
    hit &= depth_box < down
    depth = jnp.where(hit, depth_box, down)
    sky = ~hit & (dz >= 0)

    # Where on the ground, in the world's frame; and where on the box.
    near = jnp.where(sky | hit, 0.0, down)
    cos, sin = jnp.cos(state.ego[2]), jnp.sin(state.ego[2])
    gx, gy = cameras.centre[:, 0, None, None] + near * dx, cameras.centre[:, 1, None, None] + near * dy
    label, earth = texture.ground(state.roads, state.ego[0] + cos * gx - sin * gy, state.ego[1] + sin * gx + cos * gy)
    along = jnp.where(hit, depth, 0.0)
    point = tuple(s + along * d for s, d in zip(start, ray, strict=True))

    body, *normal = texture.box(kind, index, paint, point, half)
    yaw_cos, yaw_sin = held.cos * cos - held.sin * sin, held.sin * cos + held.cos * sin
    sun_x = normal[0] * yaw_cos - normal[1] * yaw_sin
    sun_y = normal[0] * yaw_sin + normal[1] * yaw_cos
    sun = sun_x * texture.SUN[0] + sun_y * texture.SUN[1] + normal[2] * texture.SUN[2]
    light = 0.62 + 0.38 * jnp.maximum(sun, 0.0)

    rain, darkness = state.weather
    length = jnp.sqrt(dx**2 + dy**2 + dz**2)
    clear = jnp.exp(-jnp.where(sky, 0.0, depth) * length * (0.0035 + 0.012 * rain))
    day = (1 - 0.8 * darkness) * (1 - 0.25 * rain)
    parts = zip(texture.sky(dz / length, rain, darkness), texture.horizon(rain, darkness), earth, body, strict=True)
    rgb = [jnp.where(sky, s, h + clear * (jnp.where(hit, light * b, g) * day - h)) for s, h, g, b in parts]
    return hit, depth, rgb, label


def seen_from(ego: Float[Array, "5"], boxes: Scene) -> Frames:
    """Boxes in the frame of an ego."""
    cos, sin = jnp.cos(ego[2]), jnp.sin(ego[2])
    x, y = boxes.position[:, 0] - ego[0], boxes.position[:, 1] - ego[1]
    turn = boxes.yaw - ego[2]
    return Frames(cos * x + sin * y, cos * y - sin * x, boxes.position[:, 2], jnp.cos(turn), jnp.sin(turn))


def nearest(cameras: Cameras, frames: Frames, boxes: Scene) -> tuple[Int[Array, "s n h w"], Bool[Array, "s n h w"]]:
    """The box that each ray enters first, and whether it enters any.

    Depths that differ by less than a few millionths count as equal here, and then the first box wins.
    """
    order, seen = _in_view(cameras, frames, boxes)
    count = boxes.yaw.shape[0]
    bits = (1 << max(count - 1, 1).bit_length()) - 1
    dx, dy, dz = cameras.rays
    upward = 1 / dz

    def closer(j: Array, best: Array) -> Array:
        k = order[:, j]
        one = jax.tree.map(lambda row: row[k][:, None, None], frames)
        half = tuple(boxes.size[k, i][:, None, None] / 2 for i in range(3))
        start, (x, y, _) = _start(cameras, one), _local(one, dx, dy, dz)
        enter, leave = _entry(start, (1 / x, 1 / y, upward), half)
        first = jnp.where(j < seen, NEAREST, jnp.inf)[:, None, None]
        met = (enter <= leave) & (enter > first)
        word = (jax.lax.bitcast_convert_type(enter, jnp.int32) & ~bits) | k[:, None, None]
        return jnp.minimum(best, jnp.where(met, word, MISS))

    best = jax.lax.fori_loop(0, jnp.max(seen), closer, jnp.full(dx.shape, MISS, jnp.int32))
    return jnp.minimum(best & bits, count - 1), best != MISS


def _in_view(cameras: Cameras, frames: Frames, boxes: Scene) -> tuple[Int[Array, "n k"], Int[Array, " n"]]:
    """For each camera the boxes with those that it may see first, and how many these are: balls against its pyramid."""
    radius = jnp.sqrt(jnp.sum(boxes.size**2, -1)) / 2
    at = jnp.stack([frames.x, frames.y, frames.z], -1) - cameras.centre[:, None]
    right, down, ahead = (jnp.sum(cameras.rotation[:, i, None] * at, -1) for i in range(3))
    # The pyramid's sides go through the picture's edges: the principal point is in its middle.
    wide = cameras.intrinsics[:, :1, 2] / cameras.intrinsics[:, 0, :1]
    high = cameras.intrinsics[:, 1:2, 2] / cameras.intrinsics[:, 1:2, 1]
    inside = lambda side, slope: jnp.abs(side) - slope * ahead <= radius * jnp.sqrt(1 + slope**2)
    seen = boxes.active & (ahead > -radius) & inside(right, wide) & inside(down, high)
    return jnp.argsort(~seen, axis=-1, stable=True).astype(jnp.int32), jnp.sum(seen, -1)


def _local(frame: Frames, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
    """A vector of the ego's frame in a box' frame."""
    return frame.cos * x + frame.sin * y, frame.cos * y - frame.sin * x, z


def _start(cameras: Cameras, frame: Frames) -> tuple[Array, Array, Array]:
    """Where the cameras are in a box' frame."""
    x, y, z = (cameras.centre[:, i, None, None] for i in range(3))
    return _local(frame, x - frame.x, y - frame.y, z - frame.z)


def _entry(start: tuple, inverses: tuple, half: tuple) -> tuple[Array, Array]:
    """Depths at which rays enter and leave a box about the origin; they miss it where they leave before they enter.

    Args:
        start: where the rays start.
        inverses: of their directions' entries.
        half: of the box' length, width and height.
    """
    sides = [((-h - o) * inverse, (h - o) * inverse) for o, inverse, h in zip(start, inverses, half, strict=True)]
    low, high = [jnp.minimum(*pair) for pair in sides], [jnp.maximum(*pair) for pair in sides]
    enter = jnp.maximum(jnp.maximum(low[0], low[1]), low[2])
    return enter, jnp.minimum(jnp.minimum(high[0], high[1]), high[2])


def _lights(state: State, boxes: Scene) -> Float[Array, "k 3"]:
    """Colours of all boxes now: a pole's is its lamp's, and a signal's lamp is green or red."""
    go = lanes.green(state.lanes, state.time)
    signal = state.static.signal
    lamp = jnp.where(go[signal][:, None], jnp.array([0.10, 0.95, 0.35]), jnp.array([0.95, 0.12, 0.10]))
    lamp = jnp.where((signal >= 0)[:, None], lamp, jnp.array([0.95, 0.92, 0.78]))
    static = jnp.where((state.static.kind == POLE)[:, None], lamp, state.static.colour)
    return jnp.concatenate([state.actors.colour, static])


def _flow(
    state: State, after: State | None, cameras: Cameras, boxes: Scene, index: Array, hit: Array, depth: Array
) -> Float[Array, "n h w 2"]:
    if after is None:
        return jnp.zeros((*depth.shape, 2))
    # The ground is the last of the boxes, which stays where the world's origin is.
    later = scene(after)
    origin = lambda held: Scene(*(jnp.concatenate([row, jnp.zeros_like(row[:1])]) for row in held))
    there = jnp.append(later.active, True)
    index = jnp.where(hit, index, boxes.yaw.shape[0])
    now = Frames(*(row[index] for row in seen_from(state.ego, origin(boxes))))
    then = Frames(*(row[index] for row in seen_from(after.ego, origin(later))))
    far = jnp.isinf(depth)
    dx, dy, dz = cameras.rays[:, CENTRE]
    ox, oy, oz = (cameras.centre[:, i, None, None] for i in range(3))
    z = jnp.where(far, 1.0, depth)
    base = jnp.where(far, 0.0, 1.0)
    # Directions in the sky have no place, so neither the camera's nor the frames' origins count for them.
    x, y, up = _local(now, z * dx + base * (ox - now.x), z * dy + base * (oy - now.y), z * dz + base * (oz - now.z))
    px = then.cos * x - then.sin * y + base * (then.x - ox)
    py = then.sin * x + then.cos * y + base * (then.y - oy)
    pz = up + base * (then.z - oz)
    turned = [sum(cameras.rotation[:, i, j, None, None] * p for j, p in enumerate((px, py, pz))) for i in range(3)]
    seen = (turned[2] > NEAREST) & there[index]
    inverse = 1 / jnp.where(seen, turned[2], 1.0)
    old = [sum(cameras.rotation[:, i, j, None, None] * d for j, d in enumerate((dx, dy, dz))) for i in range(2)]
    focal = cameras.intrinsics[:, 0, 0, None, None]
    moved = [jnp.where(seen, focal * (turned[i] * inverse - old[i]), jnp.nan) for i in range(2)]
    return jnp.stack(moved, -1)
