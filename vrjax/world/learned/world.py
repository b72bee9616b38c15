"""A learned world: a causal network denoises the next frame, its cache is the State, a linear map shows it.

    w = learned.load("runs/push/world")
    state = w.encode(frames, key)                           # (f, H, W, 3), or one frame
    state = w.step(state, action, key)                      # a few denoising steps, then the frame is remembered
    picture = w.render(state)

An action conditions exactly the frame that follows it. What does not move (a goal that a block may hide) is read once,
where a State begins; what moves is read off each frame, so that one can plan through what the network believes.
"""

import dataclasses
import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Key

from vrjax import flow
from vrjax.flow import Grid, Level, Record, Trajectory, draws, grids, words
from vrjax.models import cached, family
from vrjax.train.objectives import level_of, noisy
from vrjax.world import exact
from vrjax.world.exact import Exact
from vrjax.world.learned import odometry, practice, reader
from vrjax.world.learned import patches as squares
from vrjax.world.protocol import Decoded, World

CLEAN = Level(jnp.float32(0.0), jnp.float32(0.0))
BESIDE = 2
"""What is folded into a step's key for the noise of the memory; the denoising splits it in two."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """What a learned world was learned from, and how it is asked.

    Attributes:
        world, options: the exact world, as `exact.get` takes them; its inputs, frames and first States.
        moving, still: things whose places are decoded; the first one that moves is the agent. None of either: the
            world decodes nothing, and films are of an agent that only wanders.
        scale: pixels that are a unit of the world.
        steps: denoising steps of a frame.
        shift: of their levels.
        solver: "euler", or "renoise" of a network that was distilled to few steps.
        regression: the network was trained to answer at once, without noise: a control that knows no chance.
        context: level of the noise under which frames are remembered, and said to be: what is wrong in them is not
            built upon as if it were seen. The training's `context` is the highest level that the network knows.
    """

    world: str = "push"
    options: tuple[tuple[str, int | float | str], ...] = ()
    moving: tuple[str, ...] = ("agent", "blocks")
    still: tuple[str, ...] = ("goal",)
    scale: float = 1.0
    steps: int = 2
    shift: float = 1.0
    solver: Literal["euler", "renoise"] = "euler"
    regression: bool = False
    context: float = 0.0

    def __post_init__(self):
        if not 0.0 <= self.context < 1.0:
            raise ValueError(f"learned: context={self.context}, expected a level in [0, 1)")
        if self.steps < 1 or (self.regression and self.steps != 1):
            expected = "1: a regression answers at once" if self.regression else "at least 1"
            raise ValueError(f"learned: steps={self.steps}, expected {expected}")
        if not self.scale > 0:
            raise ValueError(f"learned: scale={self.scale}, expected pixels above 0")

    @property
    def home(self) -> Exact:
        """The exact world. ValueError: there is none of that name, or it refuses its options."""
        return _home(self.world, self.options)

    @property
    def names(self) -> tuple[str, ...]:
        """All things that are read, the agent first."""
        return (*self.moving, *self.still)

    @property
    def grid(self) -> Grid:
        """The levels of a frame's denoising."""
        return grids.shifted(self.steps, self.shift)

    def asked_in(self, steps: int, least: float | None = None) -> "Spec":
        """The same, in so many denoising steps; their levels are shifted so far that none is below `least`, since a
        network knows no lower ones than it was trained on. By default that is the lowest level of this spec's own.

        Raises:
            ValueError: fewer steps than 1, or `least` outside [0, 1).
        """
        if least is None:
            least = float(self.grid.sigmas[-2]) if self.steps > 1 else 0.0
        if steps < 1 or not 0.0 <= least < 1.0:
            raise ValueError(f"learned: asked in {steps} steps, least={least}: expected at least 1, a level in [0, 1)")
        share = 1 / steps  # the last level of even steps
        shift = max(1.0, self.shift, least * (1 - share) / (share * (1 - least)))
        return dataclasses.replace(self, steps=steps, shift=shift)


@functools.cache
def _home(world: str, options: tuple[tuple[str, int | float | str], ...]) -> Exact:
    """Made once, and of arrays: also where what asks for it is being traced."""
    with jax.ensure_compile_time_eval():
        return exact.get(world, **dict(options))


class State(NamedTuple):
    """What the world is now.

    Attributes:
        memory: what the network remembers of all frames so far, this one included: of the cached calls.
        latent: (h, w, c) this frame.
        still: places of what does not move, by name.
        mark: of the weights that it belongs to.
        steps: (k, h, w, c) what each denoising step took this frame for.
        pose: (4,) x, y, yaw and v of a car, added up of what frames show; None of a world without an odometer.
    """

    memory: Any
    latent: Float[Array, "h w c"]
    still: dict[str, Array]
    mark: Any
    steps: Float[Array, "k h w c"]
    pose: Any

    __repr__ = words.line


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Learned(World):
    """The world, see the file; made by `files.assembled` and `files.load`. All but `spec` are leaves.

    Attributes:
        network: of any family with cached calls, one frame a chunk.
        patches: between frames and latents.
        reader: of places; None where nothing is read.
        mark: a number made of all weights, by which a State of another model is told.
        odometer: of how far a car has come; None of a world that is no road.
        spec: static.
    """

    network: Any
    patches: squares.Patches
    reader: reader.Reader | None
    mark: Any
    odometer: odometry.Odometer | None
    spec: Spec = dataclasses.field(metadata=dict(static=True))

    @property
    def name(self) -> str:
        return "learned"

    @property
    def inputs(self):  # type: ignore[override]
        """Actions, as the exact world has them."""
        return {"action": self.spec.home.inputs["action"]}

    @property
    def frame(self) -> tuple[int, int, int]:  # type: ignore[override]
        return self.spec.home.frame

    @property
    def cameras(self) -> tuple[str, ...]:  # type: ignore[override]
        """The first one of the exact world."""
        return self.spec.home.cameras[:1]

    # -------------------------------------------------------------------------------------------------------- begin

    def encode(self, observation: Any, key: Any = None) -> State:
        """The State behind frames that were seen.

        Args:
            observation: frames (f, H, W, 3) in [-1, 1], or one (H, W, 3); or a mapping of `frames` and the `actions`
                (f, a) that led to each (zeros of the first), without which all count as zeros; and, of a world with an
                odometer, `ego`: x, y, yaw and v in the last of them, from where it counts, else from zeros.
            key: of the noise under which frames are remembered; None: of seed 0. Without such noise it is not read.

        Raises:
            ValueError: shapes that are not this world's.
        """
        told = observation if isinstance(observation, dict) else {"frames": observation}
        frames, size = jnp.asarray(told["frames"], jnp.float32), self.inputs["action"].shape
        frames = frames[None] if frames.ndim == 3 else frames
        if frames.shape[1:] != self.frame or not len(frames):
            raise ValueError(
                f"learned: frames must have shape (f, {', '.join(map(str, self.frame))}), found {frames.shape}"
            )
        actions = jnp.asarray(told.get("actions", jnp.zeros((len(frames), *size))), jnp.float32)
        if actions.shape != (len(frames), *size):
            raise ValueError(f"learned: actions must have shape {(len(frames), *size)}, found {actions.shape}")
        latents = squares.encode(self.patches, frames)
        keys = jax.random.split(draws.key(0) if key is None else key, len(frames))
        show = lambda memory, row: (self._remembered(memory, *row), None)
        memory, _ = jax.lax.scan(show, self._begun(), (latents, actions, keys))
        places = self._read(latents[-1])
        still = {name: places[name] for name in self.spec.still} if places else {}
        pose = None if self.odometer is None else jnp.asarray(told.get("ego", np.zeros(4)), jnp.float32)[:4]
        seen = jnp.broadcast_to(latents[-1], (self.spec.steps, *latents.shape[1:]))
        return State(memory, latents[-1], still, jnp.asarray(self.mark), seen, pose)

    def _begun(self) -> Any:
        """Nothing seen: shapes are those of one window, however many frames there will be."""
        cfg, (height, width, _) = self.network.cfg, self.frame
        side = squares.side(self.patches)
        latent = (max(cfg.window or 1, 1), height // side, width // side, self.patches.basis.shape[1])
        return cached.of(cfg).begin(self.network, {}, latent)

    def _remembered(self, memory: Any, latent: Array, action: Array, key: Array) -> Any:
        """The memory after a frame (h, w, c), as `spec.context` has it."""
        sigma, level = self.spec.context, CLEAN
        if sigma:
            latent = noisy(latent, jax.random.normal(key, latent.shape, latent.dtype), sigma)
            level = level_of(sigma)
        of = cached.of(self.network.cfg)
        return of.after(self.network, memory, latent[None], level, {"actions": action[None]})

    def make(self, key: Key[Array, ""]) -> State:
        """What the exact world begins with, seen once."""
        home = self.spec.home
        begun = home.make(key)
        seen = {"frames": home.render(begun)}
        return self.encode(seen if self.odometer is None else {**seen, "ego": begun.ego}, key)

    # --------------------------------------------------------------------------------------------------------- step

    def denoise(
        self,
        state: State,
        action: Float[Array, " a"],
        key: Key[Array, ""],
        record: Record = Record(steps=()),  # noqa: B008
    ) -> Trajectory:
        """How the frame that an action leads to comes about; its `final` is (1, h, w, c)."""
        spec, of = self.spec, cached.of(self.network.cfg)
        noise, join = jax.random.split(key)
        start = jax.random.normal(noise, (1, *state.latent.shape)) * (not spec.regression)
        velocity = lambda x, level: of.chunk(self.network, state.memory, x, level, {"actions": action[None]})
        solver = flow.renoise() if spec.solver == "renoise" else flow.euler()
        return flow.sample(velocity, start, spec.grid, solver=solver, key=join, record=record)

    def _step(self, state, inputs, key):
        self._check(state)
        found = self.denoise(state, inputs, key, Record(fields=("x0",)))
        (made,) = found.final
        memory = self._remembered(state.memory, made, inputs, jax.random.fold_in(key, BESIDE))
        after = state._replace(memory=memory, latent=made, steps=found.x0[:, 0])
        if self.odometer is None:
            return after
        way = odometry.read(self.odometer, state.latent, made)
        return after._replace(pose=odometry.moved(state.pose, way, getattr(self.spec.home, "dt", 1.0)))

    def _check(self, state: Any) -> None:
        """ValueError: no State, or one of another model, as far as it can be told."""
        if not isinstance(state, State):
            raise ValueError(f"learned: found a {type(state).__name__}, expected a State of this world")
        if not isinstance(self.mark, Tracer) and not isinstance(state.mark, Tracer):
            if int(state.mark) != int(self.mark):
                raise ValueError(
                    f"learned: the State is of another model ({int(state.mark):08x}), expected {int(self.mark):08x}"
                )
            return
        like = jax.eval_shape(self._begun)
        shapes = lambda tree: [leaf.shape for leaf in jax.tree.leaves(tree)]
        if shapes(state.memory) != shapes(like):
            raise ValueError(f"learned: the State remembers {shapes(state.memory)}, expected {shapes(like)}")

    # --------------------------------------------------------------------------------------------------------- shown

    def _render(self, state, camera):
        return self._shown(state.latent)

    def _shown(self, latent: Array) -> Array:
        return jnp.clip(squares.decode(self.patches, latent), -1.0, 1.0)

    def frames_of_steps(self, state, camera=None):
        """See `World.frames_of_steps`. Of a State that was just encoded all are the frame."""
        return self._shown(state.steps)

    def _read(self, latent: Array) -> Decoded:
        if self.reader is None:
            return {}
        spec, out, at = self.spec, {}, 0
        places = reader.read(self.reader, squares.decode(self.patches, latent)) / spec.scale
        for name, shape in practice.check(spec.home, spec.names).items():
            count = 1 if len(shape) == 1 else shape[0]
            out[name] = places[at : at + count].reshape(shape)
            at += count
        return out

    def decode(self, state: State) -> Decoded:
        """Places of all that is read, as the exact world has them: what moves off this frame, what does not as it was
        read at first; of a car, as "ego", x, y, yaw and v. ValueError: this world reads nothing."""
        found = self._read(state.latent) | ({} if self.odometer is None else {"ego": state.pose})
        if not found:
            raise ValueError(f"{self.name}: its states cannot be decoded, since it has no reader")
        return found | state.still


def fits(spec: Spec, cfg: Any) -> None:
    """Raises ValueError where a network cannot be this world's."""
    cached.of(cfg)
    home = spec.home
    (size,) = home.inputs["action"].shape
    if getattr(cfg, "action", size) != size:
        raise ValueError(f"learned: a network of {cfg.action} numbers an action, {spec.world} has {size}")
    names = family.of(cfg).conditions(cfg, (1, 1, 1, family.of(cfg).channels(cfg)))
    if set(names) != {"actions"}:
        raise ValueError(f"learned: a network of conditions {sorted(names)}, expected actions alone")
    if set(cached.of(cfg).chunks(cfg, 4)) != {1}:
        raise ValueError("learned: a network of several frames a chunk, expected one frame for each action")
    if spec.names:
        practice.check(home, spec.names)
