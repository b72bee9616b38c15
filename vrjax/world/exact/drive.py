"""MiniDrive as a world: a car on roads among vehicles and pedestrians, seen by six cameras and from above.

    w = exact.get("drive", kind="crossing", height=48, width=80)
    state = w.make(key)                                     # drawn; nobody overlaps anybody
    state = w.step(state, jnp.array([0.5, -0.1]), key)      # half of the pedal, a little to the right
    w.render(state, "BEV")
    drive.render(w.scene(state), w.views)                   # all six at once, with depth, labels and flow

**Rules** are those of `vrjax.drive`, in metres, radians and seconds; a step is `dt` seconds long. **Actions** (2,) in
[-1, 1] are the pedal, 1 being 4 m/s^2 and -1 the hardest braking, 8 m/s^2, and the wheel, 1 being 0.6 rad to the left.
A **waypoint** is a place in metres for the rear axle; **instructions** are carried out by a driver who follows lanes as
traffic does. What was said last stands: who was told to stop stays.

**Chance**: a pedestrian who walks along the road starts to cross within 0.1 s with probability `hazard`, which is drawn
from the step's key. Which way a vehicle turns at a junction is drawn by `make`, with the lane's probabilities.

**Events**: "rain", which changes what is seen, and "pedestrian", one who steps onto the road ahead.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from vrjax import drive as minidrive
from vrjax.drive import roads, traffic
from vrjax.drive.cameras import MOUNTS
from vrjax.drive.state import CROSSING, PEDESTRIAN, Actors
from vrjax.drive.stepping import ACCEL, STEER
from vrjax.files import named
from vrjax.world.exact import _driver
from vrjax.world.exact._exact import ROWS, Exact, Real, coded, parts, probability
from vrjax.world.protocol import Decoded, Instruction, Space, kind

ABOVE = "BEV"
"""The camera above: the ego looks up, three quarters of the way down; the longer side is `WIDE` metres."""
CAMERAS = ("CAM_FRONT", *(name for name in MOUNTS if name != "CAM_FRONT"), ABOVE)
WIDE = 80.0
FARTHEST = 300.0
"""No map reaches so far from where worlds begin, in metres."""
GOAL = 8.0
"""The goal is the last so many metres of the route."""
MARK, KEPT, REST = 10.0, 0.6, 0.05
"""A lane has a mark every so many metres, is kept within so many of its middle; slower than so many m/s is rest."""
STEPS_OUT = 18.0
"""How many metres ahead of the ego the pedestrian of the event is."""
VERBS = ("wait", "right", "straight", "left", "keep", "stop", "go")
SAID = {"keep the lane": "keep", "keep lane": "keep", "turn left": "left", "turn right": "right"}
SAID |= {"go straight on": "straight", "go straight": "straight", "stop": "stop", "go to the goal": "go"}
INKS = {
    "drivable": (-0.55, -0.55, -0.5),
    "lane": (-0.2, -0.2, -0.15),
    "route": (-0.6, 0.1, 0.9),
    "building": (0.25, 0.05, -0.1),
    "vegetation": (-0.6, 0.35, -0.6),
    "pole": (0.9, 0.9, 0.5),
    "vehicle": (0.95, 0.35, -0.75),
    "pedestrian": (1.0, -0.7, 0.6),
    "ego": (1.0, 1.0, 1.0),
}
"""Colours from above, later over earlier; `TERRAIN` where there is nothing."""
TERRAIN = (-0.75, -0.55, -0.75)


class State(NamedTuple):
    """ego (5,): x, y of the rear axle, yaw, v, steering. actors, static, roads, lanes, weather: see `drive.State`.

    route (3,): the lanes that lead to the goal, -1 where there are fewer. time (): of the signals, in s. lane (): the
    one on which the ego is, or was before the junction. told (): see `Exact`.
    """

    ego: Any
    actors: Any
    static: Any
    roads: Any
    lanes: Any
    route: Any
    weather: Any
    time: Any
    lane: Any
    told: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Drive(Exact):
    """The world, see the file. `hazard`, `dt`, the weather and the cameras are leaves."""

    hazard: Any
    dt: Any
    rain: Any
    darkness: Any
    views: Any
    kind: str | None = dataclasses.field(metadata=dict(static=True))
    actors: int = dataclasses.field(metadata=dict(static=True))
    static: int = dataclasses.field(metadata=dict(static=True))
    pedestrians: int | None = dataclasses.field(metadata=dict(static=True))
    cameras: tuple[str, ...] = dataclasses.field(metadata=dict(static=True))

    inputs = {
        "action": Space((2,), -1.0, 1.0),
        "trajectory": Space((2,), -FARTHEST, FARTHEST),
        "instruction": Space((ROWS, 1), 0, len(VERBS) - 1, whole=True),
    }
    events = ("rain", "pedestrian")

    @property
    def frame(self):
        return (*self.views.rays.shape[-2:], 3)

    def _build(self, decoded):
        return State(**decoded)

    def make(self, key) -> State:
        """A world of `vrjax.drive`, see `drive.make`."""
        drawn = minidrive.make(
            key, kind=self.kind, actors=self.actors, static=self.static, pedestrians=self.pedestrians,
            hazard=self.hazard, rain=self.rain, darkness=self.darkness,
        )  # fmt: skip
        none = jnp.zeros((), jnp.int32)
        own = {name: getattr(drawn, name) for name in State._fields if name in drawn._fields}
        return State(**own, lane=drawn.route[0], told=none)

    def scene(self, state: State, key: Any = None) -> minidrive.State:
        """The State as `vrjax.drive` has it, for all its functions; `key` decides about its next step only."""
        own = {name: getattr(state, name) for name in State._fields if name in minidrive.State._fields}
        key = jax.random.key(0) if key is None else key
        return minidrive.State(**own, hazard=self.hazard, key=key, tick=jnp.zeros((), jnp.int32))

    def success(self, state):
        """Whether the ego is on its route and within its last metres."""
        way = _driver.path(state.lanes, state.route)
        s, left, _ = _driver.beside(way, state.ego[0], state.ego[1])
        return (s >= way.length - GOAL) & (jnp.abs(left) <= roads.LANE_WIDTH / 2)

    def _follows(self, state):
        """Of the ego: metres along the route of the nearest place on it, how far to its left and how much turned to its
        left in rad it is, and the route's length; whether it is on the road; which boxes it hits."""
        scene, way = self.scene(state), _driver.path(state.lanes, state.route)
        s, left, yaw = _driver.beside(way, state.ego[0], state.ego[1])
        hit = minidrive.collisions(scene)
        turned = jnp.mod(state.ego[2] - yaw + jnp.pi, 2 * jnp.pi) - jnp.pi
        return {
            "route_along": s, "route_left": left, "route_yaw": turned, "route_length": way.length,
            "on_road": minidrive.on_road(scene), "hit_actors": hit.actors, "hit_static": hit.static,
        }  # fmt: skip

    def usual(self, state):
        """Along the route as traffic drives, behind leads and before red."""
        way = _driver.path(state.lanes, _driver.chain(state.lanes, state.lane, state.route, -1))
        accel, steer = _driver.along(self.scene(state), way, self.dt)
        return jnp.stack([accel / jnp.where(accel < 0, -ACCEL[0], ACCEL[1]), steer / STEER])

    # ------------------------------------------------------------------------------------------------------ dynamics

    def _step(self, state, inputs, key):
        scene, how = self.scene(state, key), kind(inputs)
        if how == "trajectory":
            accel, steer, _ = _driver.towards(state.ego, inputs.position, self.dt)
        elif how == "instruction":
            accel, steer = self._obey(scene, state, inputs)
        else:
            pedal, wheel = jnp.clip(inputs, -1, 1)
            accel, steer = pedal * jnp.where(pedal < 0, -ACCEL[0], ACCEL[1]), wheel * STEER
        moved = minidrive.step(scene, jnp.stack([accel, steer]), self.dt)
        own = {name: getattr(moved, name) for name in ("ego", "actors", "time")}
        after = state._replace(**own, lane=_driver.lane_of(state.lanes, moved.ego, state.lane))
        return self._advance(state, after, inputs) if how == "instruction" else after

    def _happen(self, state, event):
        if event == "rain":
            return state._replace(weather=state.weather._replace(rain=jnp.ones((), jnp.float32)))
        return state._replace(actors=_stepped_out(state))

    # ------------------------------------------------------------------------------------------------------ pictures

    def _render(self, state, camera):
        scene = self.scene(state)
        if camera == ABOVE:
            return _above(scene, *self.frame[:2])
        i, views = self.views.names.index(camera), self.views
        one = minidrive.Cameras(
            views.rotation[i : i + 1], views.centre[i : i + 1], views.intrinsics[i : i + 1],
            views.rays[:, :, i : i + 1], (camera,),
        )  # fmt: skip
        return minidrive.render(scene, one).rgb[0]

    # ---------------------------------------------------------------------------------------------------------- words

    def parse(self, text: str) -> Instruction:
        """Parts "keep the lane", "turn left", "turn right", "go straight on", "stop" and "go to the goal", joined by
        commas or "then".

        A lane is kept where one of its marks, which stand every 10 m, is passed in its middle; a turn is done on the
        lane that leads out of the junction. Turns that a junction has not are never done.

        Raises:
            ValueError: what is not of that grammar, more than 10 parts.
        """
        rows = []
        for part in parts(self.name, text):
            if part not in SAID:
                raise ValueError(f"{self.name}: cannot read {part!r}, expected one of {', '.join(map(repr, SAID))}")
            rows.append((VERBS.index(SAID[part]),))
        return coded(rows)

    def _holds(self, before, state, row):
        lanes, ego = state.lanes, state.ego
        out = _driver.out_of(lanes, before.lane)
        turned = (state.lane != before.lane) & (out >= 0) & (out == state.lane)
        here = _driver.path(lanes, jnp.stack([state.lane, jnp.int32(-1), jnp.int32(-1)]))
        s, left, _ = _driver.beside(here, ego[0], ego[1])
        was, _, _ = _driver.beside(here, before.ego[0], before.ego[1])
        kept = (jnp.floor(s / MARK) > jnp.floor(was / MARK)) & (jnp.abs(left) < KEPT)
        done = jnp.stack([jnp.array(False), *turned, kept, ego[3] < REST, self.success(state)])
        return done[jnp.clip(row[0], 0, len(VERBS) - 1)]

    def _obey(self, scene, state, instruction):
        """What the driver does about the part that is to be done, or, when all is done, about the last."""
        said = jnp.sum(jnp.any(instruction.code != 0, -1))
        verb = instruction.code[jnp.clip(state.told, 0, jnp.maximum(said - 1, 0)), 0]
        turn = jnp.where((verb >= 1) & (verb <= 3), verb - 1, -1)
        way = _driver.path(state.lanes, _driver.chain(state.lanes, state.lane, state.route, turn))
        accel, steer = _driver.along(scene, way, self.dt)
        accel = jnp.where(verb == VERBS.index("stop"), jnp.minimum(accel, -_driver.BRAKING), accel)
        return jnp.where(verb == 0, 0.0, accel), jnp.where(verb == 0, 0.0, steer)


def _stepped_out(state: State) -> Actors:
    """The actors, of whom one pedestrian (a slot that is empty, else the farthest) steps off the kerb ahead."""
    now, ego = state.actors, state.ego
    far = jnp.hypot(now.position[:, 0] - ego[0], now.position[:, 1] - ego[1])
    slot = jnp.argmax(jnp.where(now.kind == PEDESTRIAN, jnp.where(now.active, far, jnp.inf), -1.0))
    # The kerb's place that is nearest to a point ahead, to a quarter of a metre.
    piece, side, share = jnp.meshgrid(
        jnp.arange(roads.PIECES), jnp.array([-1.0, 1.0]), jnp.linspace(0.05, 0.95, 801), indexing="ij"
    )
    along = share * state.roads.length[piece]
    x, y, heading = roads.place(state.roads, piece, along, side * (roads.HALF_WIDTH + traffic.KERB))
    ahead = ego[:2] + STEPS_OUT * jnp.stack([jnp.cos(ego[2]), jnp.sin(ego[2])])
    away = jnp.where(state.roads.length[piece] > 0, jnp.hypot(x - ahead[0], y - ahead[1]), jnp.inf)
    i = jnp.argmin(away)
    x, y, heading, piece, side, along = (held.ravel()[i] for held in (x, y, heading, piece, side, along))
    pace = jnp.float32(1.4)
    new = {
        "position": jnp.stack([x, y, now.size[slot, 2] / 2]), "yaw": heading - side * jnp.pi / 2, "v": pace,
        "active": True, "piece": piece, "along": along, "left": side * (roads.HALF_WIDTH + traffic.KERB),
        "side": side, "way": 1.0, "pace": pace, "mode": CROSSING,
    }  # fmt: skip
    return now._replace(**{name: getattr(now, name).at[slot].set(value) for name, value in new.items()})


def _above(scene: minidrive.State, height: int, width: int) -> Float[Array, "h w 3"]:
    """The raster of `vrjax.drive` in colours."""
    size = max(height, width)
    top = min(max(size // 2 - 3 * height // 4, 0), size - height)
    left = (size - width) // 2
    layers = minidrive.raster(scene, size, WIDE)[top : top + height, left : left + width]
    picture = jnp.broadcast_to(jnp.array(TERRAIN, jnp.float32), (height, width, 3))
    for name, ink in INKS.items():
        layer = layers[..., minidrive.LAYERS.index(name), None]
        picture = jnp.where(layer > 0, jnp.array(ink, jnp.float32), picture)
    return picture


def drive(
    *,
    kind: str | None = None,
    actors: int = 12,
    static: int = 16,
    pedestrians: int | None = None,
    hazard: Real = 0.01,
    rain: Real | None = None,
    darkness: Real | None = None,
    dt: Real = 0.1,
    height: int = 48,
    width: int = 80,
    cameras: tuple[str, ...] = CAMERAS,
) -> Drive:
    """The world of this file.

    Args:
        kind: of the map, "straight", "curve", "t" or "crossing"; None draws one.
        actors, static, pedestrians: slots for them, see `drive.make`.
        hazard: probability that a walking pedestrian starts to cross within 0.1 s.
        rain, darkness: from 0 to 1; None draws.
        dt: seconds of a step.
        height, width: of all frames, in pixels.
        cameras: some of `CAMERAS`, the default one first; at least one of them on the car.

    Raises:
        ValueError: numbers outside these ranges, an unknown kind or camera.
    """
    if kind is not None and kind not in minidrive.KINDS:
        raise ValueError(f"drive: {named.unknown('kind', kind, minidrive.KINDS)}")
    for name, value, low, high in (
        ("actors", actors, 1, 32), ("static", static, 1, 64), ("height", height, 1, 4096), ("width", width, 1, 4096),
        ("pedestrians", 0 if pedestrians is None else pedestrians, 0, actors),
    ):  # fmt: skip
        if not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"drive: {name} must be {low} to {high}, found {value!r}")
    if not isinstance(dt, Tracer) and not (np.all(np.isfinite(dt)) and np.all(np.asarray(dt) > 0)):
        raise ValueError(f"drive: dt must be a finite number of seconds above 0, found {dt}")
    cameras = tuple(cameras)
    for name in cameras:
        if name not in CAMERAS or cameras.count(name) > 1:
            raise ValueError(f"drive: cameras must be different ones of {', '.join(CAMERAS)}, found {name!r}")
    if not set(cameras) & set(MOUNTS):
        raise ValueError(f"drive: cameras must have one on the car, found {', '.join(cameras) or 'none'}")
    views = minidrive.cameras(height, width, [name for name in cameras if name != ABOVE])
    some = lambda name, value: None if value is None else probability("drive", name, value)
    return Drive(
        probability("drive", "hazard", hazard), jnp.asarray(dt, jnp.float32), some("rain", rain),
        some("darkness", darkness), views, kind, actors, static, pedestrians, cameras,
    )  # fmt: skip


def example(*cameras: str) -> Drive:
    """A crossing with a car and a pedestrian who crosses often enough to count, in pictures of 12 x 20, ahead and from
    above unless other cameras are named. Raises as `drive`."""
    size: Any = {"actors": 2, "static": 4, "pedestrians": 1, "height": 12, "width": 20}
    return drive(kind="crossing", hazard=0.3, cameras=cameras or ("CAM_FRONT", ABOVE), **size)


def cost(decoded: Decoded, speed: Real = 8.0) -> Float[Array, ""]:
    """For `plan`: along the middle of the route at a speed, on the road, without hitting anything; mean over time.

    Args:
        decoded: of a rollout, with a leading axis of time.
        speed: in m/s.

    Returns:
        0 for a perfect drive; standing costs 1, half a lane beside the middle 1, off the road 4, a hit 8. The last two
        are flags, whose gradient is zero.
    """
    pace = ((decoded["ego"][:, 3] - speed) / speed) ** 2
    aside = (decoded["route_left"] / (roads.LANE_WIDTH / 2)) ** 2
    hit = jnp.any(decoded["hit_actors"], -1) | jnp.any(decoded["hit_static"], -1)
    return jnp.mean(pace + aside + 4.0 * ~decoded["on_road"] + 8.0 * hit)
