"""Drawing a world: a map, the ego on it, and who and what else is there; nobody overlaps anybody at the start."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import core
from jaxtyping import Array, Bool, Float, Key

from vrjax.drive import lanes as lane_graph
from vrjax.drive import maps, roads, traffic
from vrjax.drive.dynamics import WHEELBASE
from vrjax.drive.state import BUILDING, PEDESTRIAN, POLE, VEGETATION, VEHICLE, Actors, State, Static, Weather

POSTS = 4
"""Slots of static boxes that are posts: signals where there is a junction, street lamps elsewhere."""


def make(
    key: Key[Array, ""],
    *,
    kind: str | None = None,
    actors: int = 12,
    static: int = 16,
    pedestrians: int | None = None,
    hazard: Float[Array, ""] | float = 0.01,
    rain: Float[Array, ""] | float | None = None,
    darkness: Float[Array, ""] | float | None = None,
) -> State:
    """Draw a world. Worlds of all kinds have equal shapes, so `jax.vmap(drive.make)(keys)` mixes kinds.

    The map is turned by a random angle. The ego drives in a lane at half of the speed that traffic desires, before the
    curve or the junction where there is one. Others are more often near than far.

    Args:
        key: of all that is random, now and later.
        kind: "straight", "curve", "t" or "crossing"; None draws one.
        actors: slots for vehicles and pedestrians, 1 to 32. A slot stays empty where the map has no place for it.
        static: slots for static boxes, 1 to 64: four posts, then two buildings for each hedge.
        pedestrians: how many of the actors' slots, the last ones, are for pedestrians; a third by default.
        hazard: probability that a walking pedestrian starts to cross within 0.1 s.
        rain, darkness: in [0, 1]; None draws: half of all worlds are dry, and half are in full daylight.

    Raises:
        ValueError: an unknown kind, a number of slots out of its range, more pedestrians than actors, or a hazard, rain
            or darkness that is known now and lies outside of [0, 1].
    """
    if kind is not None and kind not in maps.KINDS:
        raise ValueError(f"drive: kind must be one of {', '.join(maps.KINDS)} or None, found {kind!r}")
    if not 1 <= actors <= 32 or not 1 <= static <= 64:
        raise ValueError(f"drive: a world has 1 to 32 actors and 1 to 64 static boxes, found {actors} and {static}")
    walkers = actors // 3 if pedestrians is None else pedestrians
    if not 0 <= walkers <= actors:
        raise ValueError(f"drive: pedestrians must be 0 to {actors}, the number of actors, found {pedestrians}")
    for name, value in (("hazard", hazard), ("rain", rain), ("darkness", darkness)):
        if value is not None and not isinstance(value, core.Tracer) and not 0 <= float(value) <= 1:
            raise ValueError(f"drive: {name} must lie in [0, 1], found {value}")
    kind_key, map_key, ego_key, actor_key, static_key, weather_key, own = jax.random.split(key, 7)
    which = jax.random.randint(kind_key, (), 0, len(maps.KINDS)) if kind is None else maps.KINDS.index(kind)
    drawn = maps.draw(map_key, which)
    where, turn = jax.random.split(ego_key)
    start = jax.random.uniform(where, minval=drawn.span[0], maxval=drawn.span[1])
    lanes = drawn.lanes
    x, y, yaw = lane_graph.at(lanes, drawn.first, start)
    v = lanes.limit[drawn.first] / 2
    back = WHEELBASE / 2
    ego = jnp.stack([x - back * jnp.cos(yaw), y - back * jnp.sin(yaw), yaw, v, 0.0])
    after = lane_graph.choice(lanes, drawn.first, jax.random.uniform(turn))
    last = jnp.where(after >= 0, lane_graph.choice(lanes, after, 0.0), -1)
    state = State(
        ego=ego,
        actors=_actors(actor_key, own, drawn, start, (x, y), actors, walkers),
        static=_static(static_key, drawn.roads, (x, y), static, actors + 1),
        roads=drawn.roads,
        lanes=lanes,
        route=jnp.stack([drawn.first, after, last]).astype(jnp.int32),
        weather=_weather(weather_key, rain, darkness),
        hazard=jnp.asarray(hazard, jnp.float32),
        key=own,
        tick=jnp.int32(0),
        time=jnp.float32(0.0),
    )
    return state


def _weather(key: Array, rain, darkness) -> Weather:
    draws = jnp.maximum(jax.random.uniform(key, (2,), minval=-1.0), 0.0)
    pick = lambda given, i: draws[i] if given is None else jnp.asarray(given, jnp.float32)
    return Weather(pick(rain, 0), pick(darkness, 1))


def _pick(key: Array, fits: Bool[Array, "..."], near: Float[Array, "..."], count: int) -> tuple[Array, Array]:
    """Indices of `count` different places, near ones more often by exp(-metres / 25), and whether each fits."""
    score = jnp.where(fits, jax.random.gumbel(key, fits.shape) - near / 25.0, -jnp.inf).ravel()
    missing = max(count - score.shape[0], 0)
    best, index = jax.lax.top_k(jnp.pad(score, (0, missing), constant_values=-jnp.inf), count)
    return index, jnp.isfinite(best)


def _colours(key: Array, count: int) -> Float[Array, "k 3"]:
    """Colours whose hues are far apart: steps of the golden ratio from a random first one."""
    first, strong, bright = jax.random.split(key, 3)
    hue = jnp.mod(jax.random.uniform(first) + 0.618034 * jnp.arange(count), 1.0)
    wheel = jnp.clip(jnp.abs(jnp.mod(6 * hue[:, None] + jnp.array([0.0, 4.0, 2.0]), 6.0) - 3.0) - 1.0, 0.0, 1.0)
    depth = jax.random.uniform(strong, (count, 1), minval=0.55, maxval=0.95)
    return (1 - depth * (1 - wheel)) * jax.random.uniform(bright, (count, 1), minval=0.6, maxval=0.95)


def _actors(key: Array, own: Array, drawn: maps.Map, start: Array, ego: tuple, count: int, walkers: int) -> Actors:
    """Vehicles first, then pedestrians; each on a place of its own out of evenly spaced ones."""
    place_key, jitter_key, size_key, speed_key, walk_key, step_key, way_key, pace_key, hue_key = jax.random.split(
        key, 9
    )
    lanes, surface = drawn.lanes, drawn.roads
    cars = count - walkers
    # Places every 15 m along every lane, each moved by up to 2 m. Vehicles are 7 m long at most, so 4 m of air remain.
    s = 8 + 15.0 * jnp.arange(16) + jax.random.uniform(jitter_key, (lane_graph.LANES, 16), minval=-2.0, maxval=2.0)
    x, y, _ = jax.vmap(lambda lane, row: lane_graph.at_each(lanes, jnp.full(16, lane), row))(
        jnp.arange(lane_graph.LANES), s
    )
    fits = s + 16.0 < lanes.along[:, -1:]
    clear = (jnp.arange(lane_graph.LANES)[:, None] != drawn.first) | (jnp.abs(s - start) > 13.0)
    index, there = _pick(place_key, fits & clear, jnp.hypot(x - ego[0], y - ego[1]), cars)
    lane, along = (index // 16).astype(jnp.int32), s.ravel()[index]
    x, y, yaw = lane_graph.at_each(lanes, lane, along)
    successor = jax.vmap(lambda slot, one: lane_graph.choice(lanes, one, traffic.chosen(own, slot, 0)))(
        jnp.arange(cars), lane
    )
    truck = jax.random.bernoulli(size_key, 0.2, (cars, 1))
    vary = jax.random.uniform(size_key, (cars, 3), minval=-1.0, maxval=1.0)
    size = jnp.where(truck, jnp.array([6.7, 2.3, 2.9]), jnp.array([4.4, 1.85, 1.55]))
    size = size + vary * jnp.array([0.3, 0.1, 0.1])
    speed = lanes.limit[lane] * jax.random.uniform(speed_key, (cars,), minval=0.4, maxval=0.7)

    # On each pavement places every 8 m.
    steps = 6 + 8.0 * jnp.arange(29)
    piece, side, row = jnp.meshgrid(jnp.arange(roads.PIECES), jnp.array([-1.0, 1.0]), jnp.arange(29), indexing="ij")
    s = steps[row] + jax.random.uniform(step_key, row.shape, minval=-1.5, maxval=1.5)
    left = side * (roads.HALF_WIDTH + traffic.KERB)
    wx, wy, _ = roads.place(surface, piece, s, left)
    fits = s + 4.0 < surface.length[piece]
    at, walks = _pick(walk_key, fits, jnp.hypot(wx - ego[0], wy - ego[1]), walkers)
    piece, side, left, s = (held.ravel()[at] for held in (piece, side, left, s))
    way = jnp.where(jax.random.bernoulli(way_key, 0.5, (walkers,)), 1.0, -1.0)
    wx, wy, heading = roads.place(surface, piece, s, left)
    pace = jax.random.uniform(pace_key, (walkers,), minval=1.0, maxval=1.7)

    join = lambda a, b: jnp.concatenate([jnp.broadcast_to(a, (cars, *jnp.shape(a)[1:])), b])
    size = join(size, jnp.broadcast_to(jnp.array([0.55, 0.65, 1.75]), (walkers, 3)))
    flat = jnp.zeros(cars)
    none = jnp.zeros(walkers, jnp.int32)
    return Actors(
        position=jnp.stack([join(x, wx), join(y, wy), size[:, 2] / 2], -1),
        size=size,
        yaw=join(yaw, jnp.where(way > 0, heading, heading + jnp.pi)),
        v=join(speed, pace) * join(there, walks),
        kind=jnp.where(jnp.arange(count) < cars, VEHICLE, PEDESTRIAN).astype(jnp.int32),
        id=jnp.arange(1, count + 1, dtype=jnp.int32),
        colour=_colours(hue_key, count),
        active=join(there, walks),
        lane=join(lane, none),
        successor=join(successor.astype(jnp.int32), none - 1),
        turns=jnp.zeros(count, jnp.int32),
        along=join(along, s),
        piece=join(jnp.zeros(cars, jnp.int32), piece.astype(jnp.int32)),
        left=join(flat, left),
        side=join(flat, side),
        way=join(flat, way),
        pace=join(flat, pace),
        mode=jnp.zeros(count, jnp.int32),
    )


def _static(key: Array, surface: roads.Roads, ego: tuple, count: int, first: int) -> Static:
    """Posts on the pavement, then buildings and hedges behind it; none reaches onto any road or pavement."""
    post_key, building_key, hedge_key, size_key, colour_key = jax.random.split(key, 5)
    behind = roads.HALF_WIDTH + roads.PAVEMENT
    vary = jax.random.uniform(size_key, (count, 3))

    def places(first: float, gap: float, number: int, left: float) -> tuple[Array, ...]:
        piece, side, row = jnp.meshgrid(
            jnp.arange(roads.PIECES), jnp.array([-1.0, 1.0]), jnp.arange(number), indexing="ij"
        )
        s = first + gap * row
        return piece, s, side * left, *roads.place(surface, piece, s, side * left)

    def drawn(key: Array, held: tuple[Array, ...], size: np.ndarray, number: int) -> tuple[Array, Array, Array]:
        piece, s, _, x, y, yaw = held
        half = size[0] / 2 + 0.5
        fits = (s > half) & (s + half < surface.length[piece])
        if size[1] > 0:
            # The largest box that may come to stand here, seen by points on its outline.
            across = jnp.linspace(-0.5, 0.5, 5)
            u, v = (grid.ravel() for grid in jnp.meshgrid(size[0] * across, size[1] * across))
            c, sn = jnp.cos(yaw)[..., None], jnp.sin(yaw)[..., None]
            inside = roads.margin(surface, x[..., None] + c * u - sn * v, y[..., None] + sn * u + c * v)
            fits &= jnp.all(inside < -roads.PAVEMENT, -1)
        index, there = _pick(key, fits, jnp.hypot(x - ego[0], y - ego[1]), number)
        at = [held.ravel()[index] for held in (x, y, yaw)]
        return jnp.stack(at[:2], -1), at[2], there

    posts = min(POSTS, count)
    arms = jnp.arange(posts)
    crossing = jnp.any(surface.arms)
    beside = roads.HALF_WIDTH + 0.5
    sx, sy, syaw = roads.place(surface, arms, jnp.full(posts, lane_graph.STOP), jnp.full(posts, beside))
    lamp, lamp_yaw, lit = drawn(post_key, places(8.0, 24.0, 10, beside), np.array([0.3, 0.0]), posts)
    spot = jnp.where(crossing, jnp.stack([sx, sy], -1), lamp)
    post = jnp.where(crossing, jnp.array([0.35, 0.35, 3.4]), jnp.array([0.2, 0.2, 5.0])) * jnp.ones((posts, 1))
    signal = jnp.where(crossing & surface.arms[:posts], arms, -1)
    active = jnp.where(crossing, surface.arms[:posts], lit)

    rest = count - posts
    hedges = rest // 3
    largest = np.array([13.0, 12.0])
    rooms, rooms_yaw, rooms_there = drawn(
        building_key, places(17.0, 17.0, 13, behind + 1.5 + float(largest[1]) / 2), largest, rest - hedges
    )
    green, green_yaw, green_there = drawn(hedge_key, places(8.5, 17.0, 14, behind + 0.9), np.array([7.0, 1.0]), hedges)
    low, high = jnp.array([9.0, 8.0, 5.0]), jnp.array([13.0, 12.0, 14.0])
    building = low + vary[posts : count - hedges] * (high - low)
    hedge = jnp.array([4.0, 1.0, 1.0]) + vary[count - hedges :] * jnp.array([3.0, 0.0, 0.7])
    size = jnp.concatenate([post, building, hedge])
    ground = jnp.concatenate([spot, rooms, green])
    wall = jnp.array([0.62, 0.5, 0.42]) + 0.3 * (_colours(colour_key, rest - hedges) - 0.5)
    leaf = jnp.array([0.13, 0.36, 0.12]) + 0.1 * vary[count - hedges :, :1]
    kind = jnp.repeat(jnp.array([POLE, BUILDING, VEGETATION]), np.array([posts, rest - hedges, hedges]),
                      total_repeat_length=count)  # fmt: skip
    return Static(
        position=jnp.concatenate([ground, size[:, 2:] / 2], -1),
        size=size,
        yaw=jnp.concatenate([jnp.where(crossing, syaw, lamp_yaw), rooms_yaw, green_yaw]),
        kind=kind.astype(jnp.int32),
        id=(first + jnp.arange(count)).astype(jnp.int32),
        colour=jnp.concatenate([jnp.full((posts, 3), 0.35), wall, leaf]),
        active=jnp.concatenate([active, rooms_there, green_there]),
        signal=jnp.concatenate([signal, jnp.full(rest, -1)]).astype(jnp.int32),
    )
