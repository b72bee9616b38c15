"""What surfaces look like: asphalt and its markings, pavement, grass, the sky, and the sides of boxes.

Everything here is elementwise in points that the renderer has found, in the frame to which the pattern is fixed: the
world's for the ground, the box' own for boxes. Colours are in [0, 1].
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vrjax.drive import roads
from vrjax.drive.arcs import Number
from vrjax.drive.lanes import STOP
from vrjax.drive.roads import HALF_WIDTH, Roads
from vrjax.drive.state import BUILDING, GROUND_PAVEMENT, MARKING, PEDESTRIAN, ROAD, TERRAIN, VEGETATION, VEHICLE

Colour = tuple[Array, ...]
"""Red, green and blue apart: three arrays of the points' shape, which a compiler keeps in vector registers."""
LINE = 0.08
"""Half of the width of a painted line, in metres."""
SUN = (0.45, -0.35, 0.82)
"""Direction to the sun, a unit vector in the world's frame."""


def noise(x: Array, y: Array, seed: Array | int = 0) -> Array:
    """A number in [0, 1) for each cell of an integer grid, by hashing."""
    cell = jnp.floor(x).astype(jnp.int32) * 374761393 + jnp.floor(y).astype(jnp.int32) * 668265263 + seed * 1274126177
    cell = (cell ^ (cell >> 13)) * 1274126177
    return ((cell ^ (cell >> 16)) & 0xFFFF).astype(jnp.float32) / 65536.0


def share(x: Array) -> Array:
    """What is above the whole number below; `jnp.mod` calls a function for each entry, this is one instruction."""
    return x - jnp.floor(x)


def ground(surface: Roads, x: Float[Array, "..."], y: Float[Array, "..."]) -> tuple[Int[Array, "..."], Colour]:
    """Labels and colours of points on the ground, in world coordinates.

    Edge lines are white and the centre line is yellow, dashed on straight pieces and whole on bends; arms of a junction
    begin with a zebra crossing and, for the lane that leads in, a stop line.
    """
    inside = roads.margin(surface, x, y)
    crossing = jnp.any(surface.arms)
    white = jnp.zeros(x.shape, bool)
    yellow = white
    for piece in range(surface.length.shape[-1]):
        at = roads.strip(surface, piece, x, y)
        away = jnp.abs(at.left)
        dashed = (share(at.forward / 8) < 0.5) | (surface.curvature[piece] != 0)
        behind = ~crossing | (at.forward > STOP + 0.4)
        edge = jnp.abs(away - (HALF_WIDTH - 0.25)) < LINE
        zebra = (at.forward > 1.2) & (at.forward < 4.4) & (share(at.left) < 0.5) & (away < HALF_WIDTH - 0.5)
        stop = (at.forward > STOP) & (at.forward < STOP + 0.4) & (at.left > LINE) & (away < HALF_WIDTH - 0.25)
        white |= at.beside & ((edge & behind) | (crossing & (zebra | stop)))
        yellow |= at.beside & (away < LINE) & dashed & behind
    paved = inside >= 0
    walk = inside >= -roads.PAVEMENT
    painted = paved & (white | yellow)
    label = jnp.where(painted, MARKING, jnp.where(paved, ROAD, jnp.where(walk, GROUND_PAVEMENT, TERRAIN)))
    grain = noise(4.0 * x, 4.0 * y)
    blotch = noise(0.5 * x, 0.5 * y, 1)
    joint = jnp.where((share(x / 1.5) < 0.05) | (share(y / 1.5) < 0.05), 0.86, 1.0)
    asphalt = 0.27 + 0.05 * grain + 0.02 * blotch
    slab = (0.58 + 0.05 * grain) * joint * jnp.where(inside > -0.18, 1.18, 1.0)
    grass = 0.75 + 0.2 * grain + 0.25 * blotch
    colours = ((0.93, 0.88, asphalt, slab, 0.33 * grass), (0.93, 0.70, asphalt, 0.97 * slab, 0.44 * grass),
               (0.93, 0.16, 1.05 * asphalt, 0.92 * slab, 0.20 * grass))  # fmt: skip
    return label, tuple(
        jnp.where(paved, jnp.where(white, w, jnp.where(yellow, o, road)), jnp.where(walk, pave, green))
        for w, o, road, pave, green in colours
    )


def box(
    kind: Int[Array, "..."],
    seed: Int[Array, "..."],
    colour: Colour,
    point: tuple[Array, ...],
    half: tuple[Array, ...],
) -> tuple[Colour, Array, Array, Array]:
    """Colours of points on boxes, before any light.

    Args:
        kind, seed: of the box that each point is on: what it is, and its id, which varies patterns.
        colour: of the box.
        point: in the box' frame, in metres.
        half: of its length, width and height.

    Returns:
        The colour, and the face's outward normal in the box' frame, of which one entry is 1 or -1.
    """
    a, b, c = (p / jnp.maximum(h, 1e-6) for p, h in zip(point, half, strict=True))
    end = (jnp.abs(a) >= jnp.abs(b)) & (jnp.abs(a) >= jnp.abs(c))
    top = ~end & (jnp.abs(c) > jnp.abs(b))
    side = ~end & ~top
    up = point[2] + half[2]
    height = (c + 1) / 2
    # Where along the face: the other horizontal coordinate, as a share and in metres.
    flat = jnp.where(end, b, a)
    metres = jnp.where(end, point[1], point[0])

    pick = lambda mask, new, old: tuple(jnp.where(mask, n, o) for n, o in zip(new, old, strict=True))
    grey = lambda value: (value, value, value)
    scaled = lambda by: tuple(by * one for one in colour)

    # A vehicle: a band of glass, wheels, lamps, and a stripe that is its own.
    stripe = jnp.where(share(height * 6 + 0.37 * seed) < 0.18, 0.82, 1.0)
    car = scaled(stripe)
    glass = ~top & (height > 0.56) & (height < 0.92) & (jnp.abs(flat) < jnp.where(end, 0.82, 0.66))
    glass &= side | (jnp.abs(flat) < 0.82)
    car = pick(glass & (jnp.abs(flat - 0.04) > jnp.where(side, 0.04, -1.0)), (0.10, 0.13, 0.17), car)
    car = pick(top & ((a > 0.35) & (a < 0.62) | (a < -0.62) & (a > -0.8)), (0.12, 0.15, 0.19), car)
    lamp = end & (height > 0.34) & (height < 0.5) & (jnp.abs(b) > 0.58) & (jnp.abs(b) < 0.95)
    car = pick(lamp & (a > 0), (1.0, 0.97, 0.82), pick(lamp, (0.85, 0.05, 0.05), car))
    wheel = jnp.abs(jnp.abs(point[0]) - 0.6 * half[0])
    car = pick(side & (wheel**2 + (up - 0.36) ** 2 < 0.36**2), grey(0.05), car)
    car = pick(~top & (up < 0.2), grey(0.07), car)

    # A pedestrian: head, shirt with arms, trousers.
    arms = jnp.where(~top & (jnp.abs(flat) > 0.66), 0.7, 1.0)
    walker = scaled(arms)
    legs = jnp.where(end & (jnp.abs(b) < 0.12), 0.35, 1.0)
    walker = pick(height < 0.47, (0.14 * legs, 0.15 * legs, 0.24 * legs), walker)
    walker = pick(height > 0.85, (0.86, 0.66, 0.52), walker)
    walker = pick(top | (height > 0.95) | (height > 0.85) & end & (a < 0), (0.20, 0.13, 0.08), walker)

    # A building: rows of windows; some are lit.
    u, v = metres / 2.4 + 0.5, up / 2.8
    pane = ~top & (jnp.abs(share(u) - 0.5) < 0.27) & (jnp.abs(share(v) - 0.55) < 0.25)
    lit = noise(u, v, seed) < 0.25
    house = pick(top, grey(0.42), pick(pane & lit, (0.80, 0.72, 0.48), pick(pane, (0.22, 0.29, 0.37), colour)))

    # A hedge is mottled; a pole carries its light on top.
    hedge = scaled(0.7 + 0.6 * noise(4.0 * metres, 4.0 * up + 64.0 * c * top, seed))
    pole = pick(up > 2 * half[2] - 0.9, colour, grey(0.30))

    found = pick(kind == VEHICLE, car, pick(kind == PEDESTRIAN, walker, pick(kind == BUILDING, house, pole)))
    found = pick(kind == VEGETATION, hedge, found)
    sign = lambda value, face: jnp.where(face, jnp.sign(value), 0.0)
    return found, sign(a, end), sign(b, side), sign(c, top)


def sky(elevation: Array, rain: Number, darkness: Number) -> Colour:
    """Colours of directions above the horizon.

    Args:
        elevation: its sine.
        rain, darkness: the weather.
    """
    high = jnp.sqrt(jnp.clip(elevation, 0.0, 1.0))
    level = horizon(rain, darkness)
    zenith = ((0.28, 0.55), (0.50, 0.58), (0.86, 0.62))
    day = 1 - 0.85 * darkness
    return tuple(
        low + high * ((clear + rain * (grey - clear)) * day - low)
        for low, (clear, grey) in zip(level, zenith, strict=True)
    )


def horizon(rain: Number, darkness: Number) -> Colour:
    """The colour that distance fades to."""
    day = 1 - 0.85 * darkness
    return tuple(
        jnp.asarray((clear + rain * (grey - clear)) * day) for clear, grey in ((0.80, 0.60), (0.87, 0.62), (0.93, 0.64))
    )
