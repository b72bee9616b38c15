"""A world over time: one scan of `step`, and what is recorded on the way."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Key

from vrjax.files import named
from vrjax.flow import words
from vrjax.world.protocol import Inputs, State, World, check, step_key

FIELDS = ("states", "decoded", "frames", "films")


class History(NamedTuple):
    """What was recorded after each step, with a leading axis of steps; None where it was not asked for.

    Entry t follows input t: the State before the first input is not in it.

    Attributes:
        states: the pytree.
        decoded: what the world's `decode` says.
        frames: (steps, h, w, 3).
        films: (steps, frames a step, h, w, 3), of worlds whose steps yield several.
    """

    states: Any = None
    decoded: Any = None
    frames: Any = None
    films: Any = None

    __repr__ = words.line


def rollout(
    w: World,
    state: State,
    inputs: Inputs,
    key: Key[Array, ""],
    *,
    start: Any = 0,
    record: tuple[str, ...] = ("decoded",),
    camera: str | None = None,
) -> tuple[State, History]:
    """Steps through inputs in time.

    Many futures are one `vmap`, over keys (seeds), inputs (candidates) or both.

    Args:
        w: the world. Its leaves are arguments of the compiled program, so that others of its kind share it.
        state: where it begins.
        inputs: with a leading axis of steps.
        key: of the whole run. Step number t has the key `fold_in(key, t)`.
        start: number of the first step. A rollout that is cut at step s and goes on with the same key, the State it
            had there and `start=s` is the rollout that was not cut, bit for bit.
        record: any of "states", "decoded", "frames", "films", static. Memory grows with what is recorded only.
        camera: of frames and films, static.

    Returns:
        The last State, and the `History`.

    Raises:
        ValueError: inputs that the world does not understand, or that are not finite where they can be read; an
            unknown name in `record`; an unknown camera.
    """
    for name in record:
        if name not in FIELDS:
            raise ValueError(f"rollout: {named.unknown('record', name, FIELDS)}")
    inputs = check(w, inputs, (None,))
    return _rollout(w, state, inputs, key, jnp.asarray(start, jnp.int32), record=tuple(record), camera=camera)


@partial(jax.jit, static_argnames=("record", "camera"))
def _rollout(w, state, inputs, key, start, *, record, camera):
    def one(state, at):
        time, now = at
        state = w.step(state, now, step_key(key, time))
        told = {"states": lambda: state, "decoded": lambda: w.decode(state)}
        told |= {"frames": lambda: w.render(state, camera), "films": lambda: w.film(state, camera)}
        return state, History(**{name: told[name]() for name in record})

    steps = jax.tree.leaves(inputs)[0].shape[0]
    return lax.scan(one, state, (start + jnp.arange(steps), inputs))
