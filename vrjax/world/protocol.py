"""What a world is: a State, and the pure functions `encode`, `step` and `render` around it.

    S_(t+1) = step(S_t, inputs_t, key_t)        frame_t = render(S_(t+1)): an input conditions the frame that follows it

A State is an explicit pytree of fixed shapes that carries nothing global: no clock, no key, no weights. What a world
is made of (odds, weights) are leaves of the World itself, so that they enter compiled programs as arguments.

**Inputs** are of three kinds, the navigation modes of the survey (audio is out of scope). Their type says which:

| kind | type | of one step |
| --- | --- | --- |
| "action" | an array | what the agent does |
| "trajectory" | `Waypoint` | where the agent should be after the step |
| "instruction" | `Instruction` | all that it is told, parsed from text on the host; the State counts what is done |
"""

import abc
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Float, Key

from vrjax.files import named
from vrjax.flow import words

State = Any
"""A pytree of arrays whose shapes and dtypes `step` keeps."""
Decoded = dict[str, Any]
"""Named arrays: what a State says of the agent, of objects, of the goal, in the units that a world states."""


class Space(NamedTuple):
    """The arrays that an input of one kind is made of, for one step.

    Attributes:
        shape: of one step.
        low, high: the range that means something. Numbers outside are clipped by the world, as an actuator would.
        whole: whether they are integers (int32); else float32.
    """

    shape: tuple[int, ...]
    low: float
    high: float
    whole: bool = False


class Waypoint(NamedTuple):
    """Where the agent should be after the step; it goes towards it as far as a step reaches."""

    position: Any


class Instruction(NamedTuple):
    """Rows of codes, one per part of what was said; rows of zeros fill the array."""

    code: Any


Inputs = Any
"""An array, a `Waypoint` or an `Instruction`."""
KINDS = {Waypoint: "trajectory", Instruction: "instruction"}


def kind(inputs: Inputs) -> str:
    """ "action", "trajectory" or "instruction"."""
    return KINDS.get(type(inputs), "action")


class World(abc.ABC):
    """The protocol. Subclasses are frozen dataclasses registered as pytrees, with the four functions below.

    Functions are written for one State; seeds, candidates and worlds of other leaves come from vmap.

    Attributes:
        inputs: the Space of each kind of input that the world understands.
        frame: shape of a frame, (h, w, 3).
        cameras: names of its cameras, the default one first.
        events: names of what can be made to happen at any moment.
        frames_a_step: how many frames a step yields: 1, or those of a clip where each step is a whole one.
    """

    inputs: Mapping[str, Space]
    frame: tuple[int, int, int]
    cameras: tuple[str, ...] = ("room",)
    events: tuple[str, ...] = ()
    frames_a_step: int = 1

    __repr__ = words.line

    @property
    def name(self) -> str:
        """The file that it comes from."""
        return type(self).__module__.rpartition(".")[2]

    @abc.abstractmethod
    def encode(self, observation: Any, key: Key[Array, ""]) -> State:
        """The first State of what was observed: of an exact world, what its `decode` returns."""

    @abc.abstractmethod
    def _step(self, state: State, inputs: Inputs, key: Key[Array, ""]) -> State: ...

    @abc.abstractmethod
    def _render(self, state: State, camera: str) -> Float[Array, "h w 3"]: ...

    def decode(self, state: State) -> Decoded:
        """The State in named arrays. Raises ValueError where a world cannot say."""
        raise ValueError(f"{self.name}: its states cannot be decoded")

    def make(self, key: Key[Array, ""]) -> State:
        """A State to begin with, drawn by key. Raises ValueError where a world needs an observation."""
        raise ValueError(f"{self.name}: cannot begin by itself, encode an observation")

    def _happen(self, state: State, event: str) -> State:
        raise TypeError(f"{self.name}: names the event {event!r} and does not say what it does")

    def happen(self, state: State, event: str) -> State:
        """The State in which something happens now that no input brings about, such as "rain"; what it leads to comes
        with the next steps. `event` is static.

        Raises:
            ValueError: it is not one of the world's `events`.
        """
        if event not in self.events:
            raise ValueError(f"{self.name}: {named.unknown('event', event, self.events or ('none',))}")
        return self._happen(state, event)

    def frames_of_steps(self, state: State, camera: str | None = None) -> Float[Array, "steps h w 3"] | None:
        """What each denoising step took the frame of `state` for, in the order of the steps; the last is the frame.

        The hook of worlds that sample their frames. None, as here: the world draws them in one go, as exact ones do.
        Whether it is None is static.
        """
        del state, camera
        return None

    def step(self, state: State, inputs: Inputs, key: Key[Array, ""]) -> State:
        """The next State.

        Args:
            state: from `encode`, `make` or `step`.
            inputs: of this step, see `inputs` for shapes and ranges.
            key: decides whatever is left to chance, and nothing else does.

        Raises:
            ValueError: inputs of a kind or shape that the world does not understand, or (where they are not traced)
                that are not finite.
        """
        return self._step(state, check(self, inputs), key)

    def render(self, state: State, camera: str | None = None) -> Float[Array, "h w 3"]:
        """The frame that a camera (static; None: the first) sees of a State, float32 in [-1, 1]; the last one of those
        that a step yields.

        Raises:
            ValueError: there is no such camera.
        """
        return self._render(state, self._camera(camera))

    def film(self, state: State, camera: str | None = None) -> Float[Array, "f h w 3"]:
        """All frames that the step to this State yielded, `frames_a_step` of them; `render` shows the last.

        Raises:
            ValueError: there is no such camera.
        """
        return self._film(state, self._camera(camera))

    def _film(self, state: State, camera: str) -> Float[Array, "f h w 3"]:
        return self._render(state, camera)[None]

    def _camera(self, camera: str | None) -> str:
        camera = self.cameras[0] if camera is None else camera
        if camera not in self.cameras:
            raise ValueError(f"{self.name}: {named.unknown('camera', camera, self.cameras)}")
        return camera


def check(world: World, inputs: Inputs, lead: tuple[int | None, ...] = ()) -> Inputs:
    """Inputs as arrays of the world's dtypes, refused where they are not what it understands.

    Args:
        world: whose `inputs` say what is expected.
        inputs: of one step, or with further axes before it.
        lead: those axes; None where any length will do.

    Raises:
        ValueError: an unknown kind, another shape, or numbers that are not finite where they can be read.
    """
    which = kind(inputs)
    if which not in world.inputs:
        raise ValueError(f"{world.name}: {named.unknown('input', which, world.inputs)}")
    space = world.inputs[which]
    (value,) = inputs if type(inputs) in KINDS else (inputs,)
    shape, wanted = np.shape(value), (*lead, *space.shape)
    if len(shape) != len(wanted) or any(w not in (None, s) for s, w in zip(shape, wanted, strict=True)):
        told = ", ".join("steps" if size is None else str(size) for size in wanted)
        raise ValueError(f"{world.name}: {which} must have shape ({told}), found {shape}")
    if not isinstance(value, Tracer) and getattr(value, "is_fully_addressable", True):
        found = np.asarray(value)
        bad = 0 if found.dtype.kind in "iub" else int((~np.isfinite(found)).sum())
        if bad:
            raise ValueError(f"{world.name}: {which} must be finite, found {bad} of {found.size} numbers that are not")
    value = jnp.asarray(value, jnp.int32 if space.whole else jnp.float32)
    return type(inputs)(value) if type(inputs) in KINDS else value


def follow(points: Any, steps: int) -> Waypoint:
    """A trajectory through points, as one waypoint per step: at constant speed along the line that joins them.

    Args:
        points: (n, d), at least two, the first being where the agent is.
        steps: the last waypoint is the last point.

    Returns:
        A `Waypoint` of (steps, d).

    Raises:
        ValueError: fewer than two points, or steps below 1.
    """
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or len(points) < 2:
        raise ValueError(f"follow: points must be (n, d) with n at least 2, found shape {points.shape}")
    if steps < 1:
        raise ValueError(f"follow: steps must be at least 1, found {steps}")
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at = np.linspace(0, length[-1], steps + 1)[1:]
    return Waypoint(jnp.asarray(np.stack([np.interp(at, length, x) for x in points.T], 1), jnp.float32))


def repeat(inputs: Inputs, steps: int) -> Inputs:
    """The same inputs at each of so many steps: an instruction that stands, a button that is held."""
    return jax.tree.map(lambda a: jnp.broadcast_to(a, (steps, *jnp.shape(a))), inputs)


def step_key(key: Key[Array, ""], time: Any) -> Key[Array, ""]:
    """The key of step number `time` of a run: no step's key depends on how many there are, or on where a run began."""
    return jax.random.fold_in(key, time)


def count_obeyed(holds: Any, rows: Any) -> Any:
    """How many rows of an instruction have come true, in order: `holds` (t, rows) says which does after which step.

    A row counts from the step after the one before it on. Rows that are all zero are never waited for.
    """
    said = jnp.sum(jnp.any(rows != 0, axis=-1))

    def look(done, held):
        now = jnp.minimum(done, held.shape[0] - 1)
        return done + jnp.where((done < said) & held[now], 1, 0), None

    return lax.scan(look, jnp.zeros((), jnp.int32), holds)[0]
