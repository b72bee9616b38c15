"""A pipeline as a world: its State is the clip that was seen last and the prompt, a step is the next clip.

    w = wrap(pipeline.open("Wan2.2-I2V-A14B"), frames=81, size=(480, 832))
    state = w.encode({"frames": picture, "prompt": w.parse("a ball rolls to the exit")}, key)
    state = w.step(state, w.parse("it rolls back"), key)

A step goes on from one frame, the last: that is all that such a model takes, and all that it remembers. Models that
take no picture begin anew in every step. An instruction of zeros says nothing new: the prompt stays as it was.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vrjax.flow import Record, Trajectory, words
from vrjax.models import pipeline
from vrjax.models.embedded import shipped
from vrjax.world.adapter import films, samplers
from vrjax.world.exact import Exact
from vrjax.world.protocol import Decoded, Instruction, Space, World

Read = Callable[[Float[Array, "f h w 3"]], Mapping[str, Any]]
"""The frames of a step to what they show, in named arrays; pure JAX."""
UNBOUNDED = float("inf")


class State(NamedTuple):
    """What the world is now.

    Attributes:
        film: the frames that the last step yielded; at first what was observed, its first frame repeated before it.
        rows: the prompt, as the model reads it.
    """

    film: Float[Array, "f h w 3"]
    rows: Any

    __repr__ = words.line


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Adapter(World):
    """The world, see the file; made by `wrap`, `wrap_function` and `of_task`.

    Attributes:
        parts: weights, leaves.
        home: the exact world that it stands for, leaves; None: none. It begins as that one does.
        sampler: `sampler(parts, picture, rows, key) -> new frames`; static.
        say: texts to rows, on the host; static.
        read: what frames show; None: nothing is decoded. Static.
    """

    parts: Any
    home: Exact | None
    sampler: Any = dataclasses.field(metadata=dict(static=True))
    say: Any = dataclasses.field(metadata=dict(static=True))
    read: Read | None = dataclasses.field(metadata=dict(static=True))

    @property
    def name(self) -> str:
        return "adapter"

    @property
    def inputs(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return {"instruction": Space(self.sampler.rows, -UNBOUNDED, UNBOUNDED)}

    @property
    def frame(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.sampler.frame

    @property
    def frames_a_step(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.sampler.frames

    def parse(self, text: str) -> Instruction:
        """A text as the model reads it, on the host. Raises ValueError for a text that it cannot read."""
        if not isinstance(text, str):
            raise ValueError(f"adapter: an instruction is one text, found a {type(text).__name__}")
        return Instruction(jnp.asarray(self.say([text])[0], jnp.float32))

    def encode(self, observation: Any, key: Any = None) -> State:
        """The State in which frames have been seen.

        Args:
            observation: frames (f, h, w, 3) or one of them, in [-1, 1] or uint8; or a dict of "frames" and of the
                "prompt", a text or an instruction.
            key: not used.

        Raises:
            ValueError: frames of another size, something else than frames and a prompt.
        """
        told = observation if isinstance(observation, dict) else {"frames": observation}
        if "frames" not in told or set(told) - {"frames", "prompt"}:
            raise ValueError(f"adapter: observation has {sorted(told)}, expected frames, and a prompt or none")
        frames = jnp.asarray(told["frames"])
        frames = frames / 127.5 - 1 if frames.dtype == jnp.uint8 else frames.astype(jnp.float32)
        frames = frames[None] if frames.ndim == 3 else frames
        if frames.ndim != 4 or frames.shape[1:] != self.frame or not len(frames):
            raise ValueError(
                f"adapter: frames must have shape (f, {', '.join(map(str, self.frame))}), found {frames.shape}"
            )
        film = frames[-self.frames_a_step :]
        film = jnp.concatenate([jnp.repeat(film[:1], self.frames_a_step - len(film), 0), film])
        prompt = told.get("prompt", Instruction(jnp.zeros(self.sampler.rows)))
        rows = jnp.asarray((self.parse(prompt) if isinstance(prompt, str) else prompt)[0], jnp.float32)
        if rows.shape != self.sampler.rows:
            raise ValueError(f"adapter: a prompt must have shape {self.sampler.rows}, found {rows.shape}")
        return State(film, rows)

    def make(self, key: Key[Array, ""]) -> State:
        """What the exact world begins with, seen once. Raises ValueError where it stands for none."""
        return super().make(key) if self.home is None else self.encode(self.home.render(self.home.make(key)))

    def denoise(
        self, state: State, inputs: Instruction, key: Key[Array, ""], record: Record | None = None
    ) -> Trajectory:
        """How the next clip comes about, every step of it; latents. Raises ValueError for a wrapped function."""
        if not isinstance(self.sampler, samplers.Sampler):
            raise ValueError("adapter: a function has no trajectory, expected a pipeline")
        return self.sampler.denoise(self.parts, state.film[-1], self._said(state, inputs), key, record)

    def _said(self, state, inputs):
        return jnp.where(jnp.any(inputs.code != 0), inputs.code, state.rows)

    def _step(self, state, inputs, key):
        if not isinstance(state, State):
            raise ValueError(f"adapter: found a {type(state).__name__}, expected a State of this world")
        rows = self._said(state, inputs)
        return State(jnp.clip(self.sampler(self.parts, state.film[-1], rows, key), -1.0, 1.0), rows)

    def _render(self, state, camera):
        return state.film[-1]

    def _film(self, state, camera):
        return state.film

    def decode(self, state: State) -> Decoded:
        """What the reader says of the frames. Raises ValueError where none was given."""
        if self.read is None:
            raise ValueError(f"{self.name}: its states cannot be decoded, since no reader was given")
        return dict(self.read(state.film))


def wrap(pipe: pipeline.Pipeline, *, home: Exact | None = None, read: Read | None = None, **options: Any) -> Adapter:
    """A pipeline as a world.

    Args:
        pipe: of an embedded model, or of public Wan weights without CLIP: text-to-video models begin anew with every
            step, image-to-video ones go on from the last frame.
        home: the exact world that it stands for, if there is one.
        read: what frames show.
        **options: of `Pipeline.settings`, such as `frames`, `size`, `steps`, `guidance`.

    Raises:
        ValueError: a pipeline that cannot be asked inside a compiled program, options that do not fit it, an exact
            world of other frames.
    """
    sampler, parts = samplers.of_pipeline(pipe, **options)
    return _fitting(Adapter(parts, home, sampler, pipe.text, read))


def wrap_function(
    call: Callable[..., Any],
    *,
    frame: tuple[int, int, int],
    rows: tuple[int, ...],
    parts: Any = None,
    say: Callable[[list[str]], Any] | None = None,
    home: Exact | None = None,
    read: Read | None = None,
) -> Adapter:
    """Any sampler of clips as a world.

    Args:
        call: `call(parts, picture (h, w, 3), rows, key) -> new frames (f, h, w, 3)`, pure JAX; f is static.
        frame: (h, w, 3).
        rows: shape of an instruction.
        parts: weights of `call`; any pytree.
        say: texts to instructions, on the host; None: it reads no text.
        home, read: see `wrap`.

    Raises:
        ValueError: frames of another shape, an exact world of other frames.
    """
    shape = lambda *size: jax.ShapeDtypeStruct(size, jnp.float32)
    made = jax.eval_shape(call, parts, shape(*frame), shape(*rows), jax.random.key(0))
    if made.shape[1:] != tuple(frame) or not made.shape[0]:
        told = f"(f, {', '.join(map(str, frame))})"
        raise ValueError(f"adapter: the function yields frames of shape {made.shape}, expected {told}")
    sampler = samplers.Called(call, frame, made.shape[0], tuple(rows))
    return _fitting(Adapter(parts, home, sampler, _mute if say is None else say, read))


def _mute(texts):
    raise ValueError(f"adapter: this world reads no text, found {texts[0]!r:.80}")


def of_task(model: Any, task: str, *, split: str = "test", clips: int = films.CLIPS, **options: Any) -> Adapter:
    """An embedded model as a world, held against the exact films of a task.

    Args:
        model: name of a shipped one, a folder, or an `EmbeddedPipeline`.
        task: of `vrjax.tasks`, whose clips have one right answer each.
        split, clips: which clips of it are the exact world's.
        **options: of `Pipeline.settings`, such as `steps`.

    Raises:
        ValueError: no such model or task, or a task whose clips have several right answers.
    """
    pipe: Any = model
    if not isinstance(model, pipeline.Pipeline):
        pipe = pipeline.open(shipped.path(model) if model in shipped.names() else model)
    if not isinstance(pipe, pipeline.EmbeddedPipeline):
        raise ValueError(f"adapter: {pipe.name} was trained on no task, expected an embedded model; wrap takes others")
    home = films.of(task, split=split, clips=clips, say=pipe.text)
    sizes = {"size": home.frame[:2], "frames": home.frames_a_step + 1}
    return wrap(pipe, home=home, read=films.reader(task), **(sizes | options))


def _fitting(w: Adapter) -> Adapter:
    if (home := w.home) is None:
        return w
    for what in ("frame", "frames_a_step"):
        if getattr(home, what) != getattr(w, what):
            raise ValueError(f"adapter: {what} is {getattr(w, what)}, that of {home.name} {getattr(home, what)}")
    if (mine := np.shape(jax.eval_shape(home.make, jax.random.key(0)).rows)) != w.sampler.rows:
        raise ValueError(f"adapter: instructions have shape {w.sampler.rows}, those of {home.name} {mine}")
    return w
