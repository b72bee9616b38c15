"""Videos chunk by chunk: each is denoised in a few steps, then shown to the network once more for what it remembers.

    for chunk in causal.stream(dit, text, noise, chunk=3, window=21, key=key):
        show(chunk.latents)                                   # (3, h, w, c), as soon as they are there
    video = causal.rollout(dit, text, noise, key=key).latents

Self-Forcing, Causal-Forcing(++) and CausVid sample so; they differ in weights, lengths of chunks and lists of times
(`vrjax.models.causal.published`). One compiled program serves every chunk, however many there are.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vrjax import flow
from vrjax.flow import Grid, Record, Trajectory, grids, mistakes, words
from vrjax.flow import renoise as renoise_by
from vrjax.models.causal import cache, network
from vrjax.models.causal import chunks as frames_of
from vrjax.models.causal.cache import Memory, State
from vrjax.models.causal.network import NONE
from vrjax.models.wan.dit import Context, WanDiT


class Chunk(NamedTuple):
    """A finished chunk.

    Attributes:
        start: number of its first frame in the video, given frames included.
        latents: (f, h, w, c).
        trajectory: how it was denoised, see `vrjax.flow.Trajectory`.
    """

    start: int
    latents: Array
    trajectory: Trajectory

    __repr__ = words.line


class Rollout(NamedTuple):
    """A finished video.

    Attributes:
        latents: (g + G, h, w, c), given frames in front.
        x0: (steps, G, h, w, c), the data estimate of every step. Where the first chunk has another number of steps, as
            many rows as the longer list has; a chunk of fewer steps fills the last ones, and NaN stands before them.
    """

    latents: Float[Array, "f h w c"]
    x0: Float[Array, "steps g h w c"]

    __repr__ = words.line


def stream(
    dit: WanDiT,
    text: Float[Array | np.ndarray, "l d"] | None,
    noise: Float[Array | np.ndarray, "G h w c"],
    *,
    chunk: int = 3,
    first: int | None = None,
    steps: Sequence[float | int] = grids.SELF_FORCING,
    shift: float | int = 5.0,
    warp: bool = True,
    first_steps: Sequence[float | int] | None = None,
    window: int | None = None,
    sink: int = 0,
    positions: str = "absolute",
    context_noise: float | int = 0.0,
    given: Float[Array | np.ndarray, "g h2 w2 c2"] | None = None,
    done: Float[Array | np.ndarray, "made h3 w3 c3"] | None = None,
    actions: Float[Array | np.ndarray, "all a"] | None = None,
    key: Key[Array, ""] | None = None,
    renoise: Float[Array | np.ndarray, "s g4 h4 w4 c4"] | None = None,
    first_renoise: Float[Array | np.ndarray, "s5 n h5 w5 c5"] | None = None,
    record: Record = Record(fields=("x0",)),  # noqa: B008 (frozen)
    edit: Callable | None = None,
    taps: Mapping[str, Callable] = NONE,
    edits: Mapping[str, Callable] = NONE,
) -> Iterator[Chunk]:
    """Chunks of a video, each as soon as it is made. What is asked is checked before the first one.

    Args:
        dit: the network.
        text: (l, text_dim), padded with zero rows as in training; None of a network without text.
        noise: (G, h, w, c) of the frames to be made.
        chunk, first: lengths of the chunks, see `partition`; those of given frames count among them.
        steps, shift, warp: the list of times of a chunk, see `vrjax.flow.grids.self_forcing`.
        first_steps: that of the first chunk that is made, where it is another one (Causal-Forcing++).
        window, sink, positions: see `cache.Memory`. A longer window than the model was trained with, or a sink that it
            was not, is asking for something new.
        context_noise: the time, 0 ... 1000, at which a finished chunk is shown to the network once more.
        given: (g, h, w, c), whole chunks in front: a picture or a beginning. They are shown at time 0.
        done: (d, h, w, c), whole chunks behind those, which this very call made before it was interrupted: they are
            remembered as they were then, and not made again.
        actions: (g + G, size) of a `CausalDiT`, each of the frame that it leads to.
        key: of the noise that joins between steps, where it is not given.
        renoise: (len(steps) - 1, G, h, w, c), that noise; of the first chunk with `first_steps` it is not read.
        first_renoise: (len(first_steps) - 1, n, h, w, c), that of the first chunk's n frames, with `first_steps`.
        record, edit: of every chunk's run, see `vrjax.flow.sample`.
        taps, edits: as of `WanDiT`, in every denoising step; the last pass, for what is remembered, has the edits too.

    Raises:
        ValueError: shapes, lists and windows that do not fit; frames that do not fall into chunks, or for which there
            are no positions; neither key nor noise where some joins.
    """
    if getattr(dit.cfg, "previous", False):
        raise ValueError(
            "causal: a network that is told the frame before each goes on by cached calls, not by a stream"
        )
    noise, beginning = jnp.asarray(noise), None if given is None else jnp.asarray(given)
    grid = grids.self_forcing(steps, shift, warp=warp)
    opening = grid if first_steps is None else grids.self_forcing(first_steps, shift, warp=warp)
    _, rows, columns = network.grid_of(dit, noise)
    before = 0
    if beginning is not None:
        network.grid_of(dit, beginning)
        if beginning.shape[1:] != noise.shape[1:]:
            raise ValueError(f"given: frames {beginning.shape[1:]}, expected those of the noise, {noise.shape[1:]}")
        before = len(beginning)
    chunks = frames_of.partition(before + len(noise), chunk, first)
    ends = np.cumsum(chunks).tolist()
    if before and before not in ends:
        raise ValueError(
            f"given: {before} frames are not whole chunks, which end at {', '.join(map(str, ends[:4]))} ..."
        )
    if before == ends[-1]:
        raise ValueError("noise: no frame is left to be made")
    memory = cache.memory(chunks, window=window, sink=sink, positions=positions)
    if not 0 <= context_noise <= 1000:
        raise ValueError(f"context_noise: found {context_noise}, expected a time within 0 ... 1000")
    begin = ends.index(before) + 1 if before else 0
    there = None if done is None else jnp.asarray(done)
    over = before + (0 if there is None else len(there))
    if there is not None and (there.shape[1:] != noise.shape[1:] or (over > before and over not in ends)):
        raise ValueError(f"done: shape {there.shape}, expected whole chunks of frames {noise.shape[1:]}")
    fresh = _fresh(key, renoise, first_renoise, (grid, opening), noise.shape, chunks[begin], first_steps is not None)
    told = network.actions_of(dit, actions, before + len(noise))
    each = lambda start, end: None if told is None else told[start:end]
    how = _Static(memory, record, edit, tuple(taps.items()), tuple(edits.items()))

    def made() -> Iterator[Chunk]:
        said = None if text is None else jnp.asarray(text)
        context, state = _begun(dit, said, noise[0, 0, 0, 0], memory=memory, rows=rows, columns=columns)
        for i, (end, frames) in enumerate(zip(ends, chunks, strict=True)):
            start = end - frames
            own_actions = each(start, end)
            if beginning is not None and i < begin:
                state = _shown(dit, state, context, beginning[start:end], jnp.float32(0), own_actions, how=how)
                continue
            at = slice(start - before, end - before)
            if there is not None and end <= over:
                if end < ends[-1]:
                    state = _shown(dit, state, context, there[at], jnp.float32(context_noise), own_actions, how=how)
                continue
            own, joins = fresh(i - begin, at)
            at_levels = opening if i == begin else grid
            run = _denoised(dit, state, context, noise[at], own, joins, own_actions, grid=at_levels, how=how)
            if end < ends[-1]:
                state = _shown(dit, state, context, run.final, jnp.float32(context_noise), own_actions, how=how)
            yield Chunk(start, run.final, run)

    return made()


def rollout(
    dit: WanDiT,
    text: Float[Array | np.ndarray, "l d"] | None,
    noise: Float[Array | np.ndarray, "G h w c"],
    **options: Any,
) -> Rollout:
    """A whole video; options are those of `stream`, which it wraps and raises as, but for `record` and `done`."""
    if other := sorted(options.keys() & {"record", "done"}):
        raise ValueError(f"rollout: gives the whole video with the estimate of every step; stream takes {other[0]}")
    parts = list(stream(dit, text, noise, **options))
    latents, estimates = [part.latents for part in parts], [part.trajectory.x0 for part in parts]
    most, given = max(map(len, estimates)), options.get("given")
    pad = lambda x: jnp.pad(x, ((most - len(x), 0), *[(0, 0)] * 4), constant_values=jnp.nan)
    whole = latents if given is None else [jnp.asarray(given, latents[0].dtype), *latents]
    return Rollout(jnp.concatenate(whole), jnp.concatenate([pad(x) for x in estimates], axis=1))


class _Static(NamedTuple):
    """What compiled programs are made for."""

    memory: Memory
    record: Record
    edit: Callable | None
    taps: tuple
    edits: tuple


def _fresh(
    key: Any, every: Any, of_first: Any, lists: tuple[Grid, Grid], shape: tuple[int, ...], frames: int, apart: bool
) -> Callable[[int, slice], tuple[Any, Any]]:
    """`(number of the chunk, its frames) -> (key, noise)`: of the two one is what joins between steps."""
    grid, opening = lists
    wanted = {"renoise": (every, grid.steps - 1, shape[0]), "first_renoise": (of_first, opening.steps - 1, frames)}
    arrays: dict[str, Any] = {}
    for name, (array, rows, many) in wanted.items():
        arrays[name] = None if array is None else jnp.asarray(array)
        expected = (rows, many, *shape[1:])
        if array is not None and arrays[name].shape != expected:
            raise ValueError(f"{name}: shape {arrays[name].shape}, expected {expected}")
    if of_first is not None and not apart:
        raise ValueError("first_renoise: there are no first_steps, expected renoise alone")
    if key is not None:
        mistakes.key("causal: key", key)
    elif (every is None and grid.steps > 1) or (apart and of_first is None and opening.steps > 1):
        raise ValueError("causal: noise joins between steps, expected key= or renoise=, and first_renoise= beside it")

    def of(number: int, at: slice) -> tuple[Any, Any]:
        own = None if key is None else jax.random.fold_in(key, number)
        if number == 0 and apart:
            array, steps = arrays["first_renoise"], opening.steps
        else:
            array, steps = arrays["renoise"], grid.steps
            array = None if array is None else array[:, at]
        if array is None and steps == 1:
            array = jnp.zeros((0, at.stop - at.start, *shape[1:]))
        return own, array

    return of


@functools.partial(jax.jit, static_argnames=("memory", "rows", "columns"))
def _begun(dit: WanDiT, text: Any, number: Any, *, memory: Memory, rows: int, columns: int) -> tuple[Any, State]:
    state = cache.empty(dit, memory, rows, columns)
    # Zeros that hang on a number of the noise: under vmap every video has a state of its own, which can be donated.
    none = jnp.where(number > 0, 0, 0).astype(state.keys.dtype)
    return tuple(dit.context(text, ahead=True)), state._replace(keys=state.keys + none, values=state.values + none)


@functools.partial(jax.jit, static_argnames=("grid", "how"))
def _denoised(
    dit: WanDiT, state: State, context: Any, x: Any, key: Any, joins: Any, actions: Any, *, grid: Grid, how: _Static
) -> Trajectory:
    sites = {"taps": dict(how.taps), "edits": dict(how.edits)}
    velocity = cache.velocity(dit, state, how.memory, Context(*context), actions=actions, **sites)
    return flow.sample(velocity, x, grid, solver=renoise_by(joins), key=key, edit=how.edit, record=how.record)


@functools.partial(jax.jit, static_argnames="how", donate_argnames="state")
def _shown(dit: WanDiT, state: State, context: Any, x: Any, time: Any, actions: Any, *, how: _Static) -> State:
    return cache.after(dit, state, how.memory, x, time, Context(*context), actions=actions, edits=dict(how.edits))
