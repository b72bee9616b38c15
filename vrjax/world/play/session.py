"""The core of a drive: a moment, the events since, and the tick that leads to the next moment. It knows no server.

Equal sides, seed and events give equal ticks, bit for bit: step number t has the key `fold_in(key, t)` as in a rollout,
and a reset begins again from the same scene. Nothing is read from a clock but how long things took, which no state
depends on.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from vrjax.world.play import sides as both
from vrjax.world.play.controls import Controls, Event, follow
from vrjax.world.play.sides import Side, finite
from vrjax.world.protocol import World, step_key


class Moment(NamedTuple):
    """Where a drive is.

    Attributes:
        number: ticks since it began, also over resets.
        time: steps since the last reset.
        states: of both worlds.
        controls: what is asked for.
        camera: None, or the one that was asked for last.
        last: number of the last event that was taken.
        driven: metres that the ego has gone since the last reset in each world, None where it cannot say.
        told: what both worlds said of the moment.
    """

    number: int
    time: int
    states: tuple[Any, ...]
    controls: Controls
    camera: str | None
    last: int
    driven: tuple[float | None, ...]
    told: tuple[Any, ...]


class Shown(NamedTuple):
    """One world after a tick.

    Attributes:
        digest: of the State and of the frame, 16 hexadecimal digits each.
        frame: (h, w, 3) uint8.
        steps: (k, h, w, 3) uint8, what the denoising steps took the frame for; None where a world has none.
        step_ms, render_ms: how long it took.
        driven: metres since the last reset. speed: in m/s. None where the world cannot say.
        route: metres along the route, beside it and its length, degrees from its direction; None likewise.
        flags: "off the road", "hit".
    """

    digest: tuple[str, str]
    frame: np.ndarray
    steps: np.ndarray | None
    step_ms: float
    render_ms: float
    driven: float | None
    speed: float | None
    route: dict[str, float | None] | None
    flags: tuple[str, ...]


class Tick(NamedTuple):
    """What a tick brought.

    Attributes:
        number, time: of the moment after it.
        events: that were taken, all that were given.
        action: (pedal, wheel), float32.
        shown: of both worlds.
        apart: how far they are from each other, see `sides.apart`; and "pixels", the mean absolute difference of what
            they show, from 0 to 255, None where sizes differ.
    """

    number: int
    time: int
    events: tuple[Event, ...]
    action: np.ndarray
    shown: tuple[Shown, ...]
    apart: dict[str, float | None]


class Session:
    """Two worlds and a seed, with the programs that step and draw them; every drive goes through `begin` and `tick`.

    Args:
        sides: the worlds.
        seed: of the scene and of all that is left to chance.
        clock: seconds from anywhere, for how long things took.
    """

    def __init__(self, sides: Sequence[Side], seed: int = 0, clock: Callable[[], float] = time.perf_counter):
        for side in sides:
            both.drivable(side)
        self.sides, self.seed, self._clock = tuple(sides), seed, clock
        self._key = jax.random.key(seed)
        worlds = [side.world for side in self.sides]
        self.cameras = tuple(dict.fromkeys(name for w in worlds for name in w.cameras))
        self.events = tuple(dict.fromkeys(name for w in worlds for name in w.events))
        self._start: tuple[Any, ...] | None = None
        self._says: tuple[bool, ...] = ()

    def begin(self) -> Moment:
        """The first moment. The scene is made once."""
        if self._start is None:
            self._start = both.begin([side.world for side in self.sides], self._key)
            self._says = tuple(_says(side.world, state) for side, state in zip(self.sides, self._start, strict=True))
        states = self._start
        told = tuple(self._told(i, state) for i, state in enumerate(states))
        driven = tuple(None if _ego(t) is None else 0.0 for t in told)
        return Moment(0, 0, states, Controls(), None, 0, driven, told)

    def tick(self, moment: Moment, events: Sequence[Event]) -> tuple[Moment, Tick]:
        """All events in order, then one step of both worlds with the action that is asked for.

        Raises:
            ValueError: events whose numbers do not go on from the moment's.
        """
        expected = list(range(moment.last + 1, moment.last + 1 + len(events)))
        if [event.number for event in events] != expected:
            raise ValueError(f"events must have numbers {expected}, found {[event.number for event in events]}")
        for event in events:
            if event.kind == "reset":
                fresh = self.begin()
                moment = moment._replace(time=0, states=fresh.states, driven=fresh.driven, told=fresh.told)
            elif event.kind == "event":
                pairs = zip(self.sides, moment.states, strict=True)
                states = tuple(_happen(s.world, state, event.value) for s, state in pairs)
                moment = moment._replace(states=states)
            elif event.kind == "camera":
                moment = moment._replace(camera=event.value)
        controls, action = follow(moment.controls, events)
        key = step_key(self._key, moment.time)
        found = [self._one(i, moment, action, key) for i in range(len(self.sides))]
        states, told, shown = zip(*found, strict=True)
        after = Moment(
            moment.number + 1, moment.time + 1, states, controls, moment.camera,
            events[-1].number if events else moment.last, tuple(s.driven for s in shown), told,
        )  # fmt: skip
        apart = both.apart(told[0], told[-1]) | {"pixels": _seen_apart(shown[0].frame, shown[-1].frame)}
        tick = Tick(after.number, after.time, tuple(events), action, shown, apart)
        return after, tick

    def _told(self, i: int, state: Any) -> Any:
        """What a world says of a State, in NumPy; None where it cannot."""
        return jax.tree.map(np.asarray, _decoded(self.sides[i].world, state)) if self._says[i] else None

    def _one(self, i: int, moment: Moment, action: np.ndarray, key: Any) -> tuple[Any, Any, Shown]:
        w, before = self.sides[i].world, moment.told[i]
        camera = moment.camera if moment.camera in w.cameras else w.cameras[0]
        began = self._clock()
        state, state_bits = jax.block_until_ready(_step(w, moment.states[i], action, key))
        stepped = self._clock()
        frame, steps, frame_bits = jax.block_until_ready(_drawn(w, state, camera))
        drawn = self._clock()
        told = self._told(i, state)
        here, there = _ego(told), _ego(before)
        driven = moment.driven[i]
        if here is not None and there is not None and driven is not None:
            driven = driven + float(np.hypot(*(here - there)[:2]))
        shown = Shown(
            (_hex(state_bits), _hex(frame_bits)), np.asarray(frame), None if steps is None else np.asarray(steps),
            1e3 * (stepped - began), 1e3 * (drawn - stepped),
            None if driven is None else finite(driven), None if here is None or here.size < 4 else finite(here[3]),
            _route(told), _flags(told),
        )  # fmt: skip
        return state, told, shown


@jax.jit
def _step(w: World, state: Any, action: Any, key: Any) -> tuple[Any, Any]:
    state = w.step(state, action, key)
    return state, digest(state)


def _pixels(frame: Any) -> Any:
    return jnp.round(255 * jnp.clip((frame + 1) / 2, 0.0, 1.0)).astype(jnp.uint8)


@partial(jax.jit, static_argnums=2)
def _drawn(w: World, state: Any, camera: str) -> tuple[Any, Any, Any]:
    frame, steps = w.render(state, camera), w.frames_of_steps(state, camera)
    return _pixels(frame), None if steps is None else _pixels(steps), digest((frame, steps))


@jax.jit
def _decoded(w: World, state: Any) -> Any:
    return w.decode(state)


def _says(w: World, state: Any) -> bool:
    """Whether a world's States can be decoded."""
    try:
        jax.eval_shape(w.decode, state)
    except ValueError:
        return False
    return True


def _happen(w: World, state: Any, event: str) -> Any:
    """The State in which it happens; a world that has no such event goes on as it is."""
    return w.happen(state, event) if event in w.events else state


def _seen_apart(a: np.ndarray, b: np.ndarray) -> float | None:
    return float(np.abs(a.astype(np.int16) - b).mean()) if a.shape == b.shape else None


def _ego(told: Any) -> np.ndarray | None:
    found = None if told is None else told.get("ego")
    return None if found is None else np.asarray(found, np.float64)


def _route(told: Any) -> dict[str, float | None] | None:
    names = ("route_along", "route_left", "route_length", "route_yaw")
    if told is None or not set(names) <= set(told):
        return None
    along, left, length, yaw = (float(told[name]) for name in names)
    return {"along": finite(along), "left": finite(left), "length": finite(length), "degrees": finite(np.degrees(yaw))}


def _flags(told: Any) -> tuple[str, ...]:
    told = {} if told is None else told
    hit = any(np.any(told[name]) for name in ("hit_actors", "hit_static") if name in told)
    return (*(("off the road",) if "on_road" in told and not told["on_road"] else ()), *(("hit",) if hit else ()))


def digest(tree: Any) -> Any:
    """Two 32-bit words of all bits of a pytree of arrays, computed where the arrays are.

    Sums, modulo 2^32, of the arrays' words times odd numbers that differ from place to place: one changed bit always
    changes them, and no order of adding does.
    """
    total = jnp.zeros(2, jnp.uint32)
    for number, leaf in enumerate(jax.tree.leaves(tree)):
        leaf = jnp.asarray(leaf)
        if leaf.dtype == jnp.bool_ or leaf.dtype.itemsize < 4:
            wide = jnp.float32 if jnp.issubdtype(leaf.dtype, jnp.floating) else jnp.int32
            leaf = leaf.astype(wide)  # exact, and of 32 bits
        words = lax.bitcast_convert_type(leaf, jnp.uint32).reshape(-1)
        place = jnp.arange(words.size, dtype=jnp.uint32) + jnp.uint32(1 + 7919 * number)
        odd = jnp.stack([2 * place + 1, (place * jnp.uint32(2654435761)) | 1])
        total = total + jnp.sum(odd * words, -1, dtype=jnp.uint32)
    return total


def _hex(words: Any) -> str:
    return "".join(f"{int(word):08x}" for word in np.asarray(words))
