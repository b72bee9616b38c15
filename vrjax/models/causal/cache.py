"""What a causal network remembers of the frames before a chunk: keys and values of every block, in a ring of slots.

The cache is a pytree of arrays and the whole state of a video that goes on: keep it, and the video can be continued
from there, in several ways at once under `vmap`, or taken back. It is written only when a chunk is finished. While a
chunk is denoised its own keys stand beside the cache, so that nothing is copied between the steps.

Order means nothing to attention, so frames are never moved: the sink has the first slots, and behind it a frame takes
the place of the one that leaves the window. Keys lie there as attention sees them, turned by the frame's own number
("absolute", as the models were trained); or not turned, and then every call turns them by their place within the window
("relative"), which is not what they were trained on but has no last frame.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vrjax.flow import words
from vrjax.models.blocks.layers import rotate
from vrjax.models.causal import chunks as frames_of
from vrjax.models.causal import network
from vrjax.models.wan.dit import WanDiT

POSITIONS = ("absolute", "relative")


class State(NamedTuple):
    """Of one video.

    Attributes:
        keys, values: (blocks, slots, tokens of a frame, heads, head_dim).
        frames: (slots,) the number of the frame in each slot; -1: none.
        seen: () frames that there have been: the number of the next one.
    """

    keys: Float[Array, "b s n heads d"]
    values: Float[Array, "b s n heads d"]
    frames: Int[Array, " s"]
    seen: Int[Array, ""]

    __repr__ = words.line


@dataclasses.dataclass(frozen=True)
class Memory:
    """How far a chunk sees; static.

    Attributes:
        slots: frames that are remembered: those of the window without a chunk's own, or all but the last chunk's.
        window: frames that a chunk sees, its own and the sink's included; None: all that there were.
        sink: frames at the beginning that never leave.
        positions: one of `POSITIONS`.
    """

    slots: int
    window: int | None = None
    sink: int = 0
    positions: str = "absolute"

    def __post_init__(self):
        if self.positions not in POSITIONS:
            raise ValueError(f"positions: found {self.positions!r}, expected 'absolute' or 'relative'")
        if self.positions == "relative" and self.window is None:
            raise ValueError("positions: 'relative' counts within a window, which must be given")
        if self.positions == "relative" and self.window is not None and self.window > network.TABLE:
            raise ValueError(f"window: {self.window} frames, of which only {network.TABLE} have rotary positions")


def memory(chunks: tuple[int, ...], *, window: int | None = None, sink: int = 0, positions: str = "absolute") -> Memory:
    """The memory that a video of these chunks needs.

    Args:
        chunks: their lengths, all but the first one equal.
        window, sink, positions: see `Memory`.

    Raises:
        ValueError: a window that cannot hold its sink and a chunk; without a window or with absolute positions, more
            frames than there are positions for; see `Memory`.
    """
    frames_of.check_window(window, sink, chunks)
    if positions == "absolute" and sum(chunks) > network.TABLE:
        raise ValueError(
            f"causal: {sum(chunks)} frames, expected at most {network.TABLE}, the public table of rotary positions; "
            "positions='relative' with a window counts within that instead (no public model was trained so)"
        )
    return Memory(sum(chunks) - chunks[-1] if window is None else window - chunks[-1], window, sink, positions)


def empty(dit: WanDiT, memory: Memory, rows: int, columns: int) -> State:
    """Nothing seen, for frames of rows x columns tokens."""
    cfg = dit.cfg
    shape = (cfg.layers, memory.slots, rows * columns, cfg.heads, cfg.head_dim)
    keys, values = jnp.zeros(shape, cfg.dtype), jnp.zeros(shape, cfg.dtype)
    return State(keys, values, jnp.full(memory.slots, -1, jnp.int32), jnp.int32(0))


def attended(dit: WanDiT, state: State, memory: Memory, frames: int, rows: int, columns: int) -> tuple[Any, Any]:
    """What a chunk of the next `frames` frames attends to.

    Returns:
        `attend` and `rope` of `network.run`, whose `memory` are the keys and values of the state.
    """
    size, cfg, each = rows * columns, dit.cfg, network.across(dit)
    relative = memory.positions == "relative"
    gone = jnp.maximum(state.seen + frames - memory.window, 0) if memory.window is not None and relative else 0
    mine = network.angles(state.seen - gone + jnp.arange(frames), rows, columns, cfg.head_dim)
    length = (frames + jnp.minimum(state.seen, memory.slots)) * size
    there = mine
    if relative:
        at = jnp.where(state.frames < memory.sink, state.frames, state.frames - gone)
        there = network.angles(jnp.maximum(at, 0), rows, columns, cfg.head_dim)  # of an empty slot: hidden

    def attend(q: Array, k: Array, v: Array, remembered: tuple[Array, Array]) -> Array:
        if not memory.slots:
            q, k = (rotate(q, mine), rotate(k, mine)) if relative else (q, k)
            return each(q, k, v)
        keys, values = (a.reshape(-1, cfg.heads, cfg.head_dim) for a in remembered)
        if relative:
            q, k, keys = rotate(q, mine), rotate(k, mine), rotate(keys, there)
        return each(q, jnp.concatenate([k, keys]), jnp.concatenate([v, values]), length=length)

    return attend, None if relative else mine


def written(state: State, memory: Memory, pairs: tuple[Array, Array]) -> State:
    """The state behind a finished chunk.

    Args:
        state: before it.
        memory: of the state.
        pairs: keys and values (blocks, tokens, heads, head_dim) of the chunk, from `network.run`.
    """
    size = state.keys.shape[2]
    chunk = pairs[0].shape[1] // size
    ring = memory.slots - memory.sink
    number = state.seen + jnp.arange(chunk)
    # A frame that the next chunk will not see has a slot behind the last one: it is dropped.
    slot = jnp.where(
        number >= state.seen + chunk - ring, memory.sink + (number - memory.sink) % max(ring, 1), memory.slots
    )
    slot = jnp.where(number < memory.sink, number, slot)
    put = lambda old, new: old.at[:, slot].set(new.reshape(len(old), chunk, *old.shape[2:]), mode="drop")
    keys, values = (put(old, new) for old, new in zip(state[:2], pairs, strict=True))
    return State(keys, values, state.frames.at[slot].set(number, mode="drop"), state.seen + chunk)


def after(
    dit: WanDiT, state: State, memory: Memory, x: Any, time: Any, context: Any, *, actions: Any = None, **how: Any
) -> State:
    """The state behind a chunk x (f, h, w, c) that is given, or was made: the network's own keys of it at a time.

    The pass has the text and the actions (f, size), which it needs: without them keys from the second block on are
    others.
    """
    frames, rows, columns = network.grid_of(dit, x)
    attend, rope = attended(dit, state, memory, frames, rows, columns)
    told = network.actions_of(dit, actions, frames)
    given = {"rope": rope, "memory": (state.keys, state.values), "keeps": True, "actions": told, **how}
    _, pairs = network.run(dit, [(x, time)], context, attend, **given)
    assert pairs is not None
    return written(state, memory, pairs)


def velocity(dit: WanDiT, state: State, memory: Memory, context: Any, *, actions: Any = None, **how: Any) -> Any:
    """The velocity of the chunk that comes next: `(x (f, h, w, c), level) -> Prediction`.

    `actions` (f, size) are those of its frames; `how`: taps and edits.
    """

    def velocity(x, level):
        frames, rows, columns = network.grid_of(dit, x)
        attend, rope = attended(dit, state, memory, frames, rows, columns)
        told = network.actions_of(dit, actions, frames)
        given = {"rope": rope, "memory": (state.keys, state.values), "actions": told, **how}
        return network.run(dit, [(x, level.time)], context, attend, **given)[0]

    return velocity


def nbytes(dit: WanDiT, memory: Memory, rows: int, columns: int) -> int:
    """Bytes of the cache of one video."""
    leaves = jax.tree.leaves(jax.eval_shape(lambda: empty(dit, memory, rows, columns)))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
