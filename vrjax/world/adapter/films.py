"""The exact world of a task of `vrjax.tasks`: one asks its question, and the film of the right answer is shown.

    w = of("maze", say=pipe.text)
    state = w.make(key)                                     # one of the task's clips, its first frame
    state = w.step(state, Instruction(state.rows), key)     # the rest of its film
    w.success(state), w.film(state)

A step is the whole film but for its first frame. Whoever says anything but the clip's own prompt sees nothing happen,
and nothing more happens after the film. What is decoded is read off frames, block by block, as the task's verifier
does it.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from vrjax import tasks
from vrjax.flow import words
from vrjax.tasks.core import BLOCK, COLOURS, INDEX, nearest
from vrjax.world.exact import Exact
from vrjax.world.protocol import Instruction, Space

CLIPS = 128
"""How many clips a world is made of; one begins with any of them."""


class State(NamedTuple):
    """film (t, y, x), uint8: the right answer, in palette indices of blocks; rows (l, d): its prompt; shown (t - 1, y,
    x): what the last step showed, at first its first frame."""

    film: Any
    rows: Any
    shown: Any

    __repr__ = words.line


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Films(Exact):
    """The world, see the file. Clips are leaves.

    Attributes:
        clips: the first States of all clips, with a leading axis.
        task, split: which clips they are; static.
        say: texts to rows, on the host; static.
    """

    clips: State
    task: str = dataclasses.field(metadata=dict(static=True))
    split: str = dataclasses.field(metadata=dict(static=True))
    say: Any = dataclasses.field(metadata=dict(static=True))

    @property
    def inputs(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return {"instruction": Space(np.shape(self.clips.rows)[-2:], -float("inf"), float("inf"))}

    @property
    def frame(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        height, width = np.shape(self.clips.film)[-2:]
        return (BLOCK * height, BLOCK * width, 3)

    @property
    def frames_a_step(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return np.shape(self.clips.shown)[-3]

    def _build(self, decoded):
        return State(**decoded)

    def make(self, key):
        """Any of the clips."""
        which = jax.random.randint(key, (), 0, len(self.clips.film))
        return jax.tree.map(lambda a: jnp.asarray(a)[which], self.clips)

    def success(self, state):
        """Whether the frames that decide show the right answer, whatever the frames between: see `Task.solved`."""
        seen = jnp.concatenate([state.film[:1], state.shown])
        decisive = np.array(tasks.get(self.task).decisive)
        return jnp.all(seen[decisive] == state.film[decisive])

    def parse(self, text: str) -> Instruction:
        """A text as the model under test reads it."""
        return Instruction(jnp.asarray(self.say([text])[0], jnp.float32))

    def _step(self, state, inputs, key):
        now = state.shown[-1]
        asked = jnp.all(inputs.code == state.rows) & jnp.all(now == state.film[0])
        return state._replace(shown=jnp.where(asked, state.film[1:], now))

    def _render(self, state, camera):
        return paint(state.shown[-1])

    def _film(self, state, camera):
        return paint(state.shown)

    def _holds(self, before, state, row):
        return self.success(state)

    def obeyed(self, start: State, states: State, instruction: Instruction) -> Int[Array, ""]:
        """1 where the film of the right answer was shown at any time, else 0: an instruction has one part."""
        return jnp.any(jax.vmap(self.success)(states)).astype(jnp.int32)


def paint(raster: Shaped[Array, "*lead y x"]) -> Float[Array, "*lead h w 3"]:
    """Palette indices of blocks as pixels in [-1, 1]."""
    return jnp.repeat(jnp.repeat(jnp.asarray(COLOURS)[raster], BLOCK, -3), BLOCK, -2)


@functools.cache
def reader(task: str) -> Callable[[Float[Array, "f h w 3"]], dict[str, Any]]:
    """What the frames of a step show, `{"shown": (f, y, x)}`: each block's nearest colour of the task by its index,
    as the task's own verifier reads it. ValueError: no such task."""
    index = np.array([INDEX[name] for name in tasks.get(task).colours], np.uint8)

    def read(frames):
        f, h, w, _ = frames.shape
        means = frames.reshape(f, h // BLOCK, BLOCK, w // BLOCK, BLOCK, 3).mean((2, 4))
        gaps = jnp.sum((means[..., None, :] - COLOURS[index]) ** 2, -1)
        return {"shown": jnp.asarray(index)[jnp.argmin(gaps, -1)]}

    return read


def of(
    task: str, *, say: Callable[[Sequence[str]], Any], split: str = "test", clips: int = CLIPS, first: int = 0
) -> Films:
    """The films of a task's clips as a world.

    Args:
        task: its name.
        say: texts to rows, on the host: the model's that is held against it.
        split, clips, first: clips number `first` and the next ones of the split.

    Raises:
        ValueError: an unknown task or split, no clips, or a clip with more than one right answer.
    """
    made = tasks.get(task)
    if clips < 1:
        raise ValueError(f"films: clips={clips}, expected at least 1")
    drawn = [made.make(first + i, split) for i in range(clips)]
    for clip in drawn:
        if (right := int((made.prior(clip) > 0).sum())) != 1:
            raise ValueError(f"films: clips of {task} have {right} right answers, expected a task of one")
    # A film is drawn in blocks of one colour each: one pixel of a block is the block.
    film = np.stack([nearest(clip.video[:, ::BLOCK, ::BLOCK], made.colours) for clip in drawn])
    rows = np.asarray(say([clip.prompt for clip in drawn]), np.float32)
    shown = np.repeat(film[:, :1], film.shape[1] - 1, 1)
    return Films(jax.tree.map(jnp.asarray, State(film, rows, shown)), task, split, say)
