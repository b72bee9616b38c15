"""What exact worlds have beyond the protocol: a verdict, and words that they understand."""

import abc
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from vrjax.world.protocol import Decoded, Instruction, State, World, count_obeyed

ROWS = 10
"""The longest instruction: so many parts, joined by commas or "then"."""
Real = float | int | Array | np.ndarray


class Exact(World):
    """A world whose rules are known. Its State is a NamedTuple, `decode` is that tuple as a dict (with what follows
    from it, where a world says more), and `encode` takes it back, so that nothing is lost; `told` in it counts the
    parts of an instruction that were carried out as inputs."""

    @abc.abstractmethod
    def success(self, state: State) -> Bool[Array, ""]:
        """Whether the goal is reached in this State."""

    @abc.abstractmethod
    def parse(self, text: str) -> Instruction:
        """Text in the world's small grammar, on the host. Raises ValueError that says what is understood."""

    @abc.abstractmethod
    def _holds(self, before: State, state: State, row: Int[Array, "words"]) -> Bool[Array, ""]:
        """Whether a part of an instruction is true of a step from `before` to `state`."""

    @abc.abstractmethod
    def _build(self, decoded: Decoded) -> State: ...

    def _follows(self, state: State) -> Decoded:
        """What `decode` says beyond the State: all of it follows from the State."""
        del state
        return {}

    def usual(self, state: State) -> Float[Array, " a"] | None:
        """The action of who does here what is usual; None, as here, of a world in which nothing is."""
        del state
        return None

    def encode(self, observation: Decoded, key: Any = None) -> State:
        """The State of what `decode` said, in NumPy or JAX arrays; what only follows from it may be left out.

        Raises:
            ValueError: a name is missing or unknown, or an array has another shape than this world's.
        """
        like = jax.eval_shape(self.make, jax.random.key(0))
        follows = jax.eval_shape(self._follows, like)
        if set(observation) - set(follows) != set(like._fields):
            raise ValueError(f"{self.name}: observation has {sorted(observation)}, expected {sorted(like._fields)}")
        return self._build({name: self._taken(name, observation[name], getattr(like, name)) for name in like._fields})

    def _taken(self, name: str, found: Any, like: Any) -> Any:
        """Arrays of a field, which may be a tuple of named ones."""
        names = getattr(like, "_fields", None)
        if names is None:
            if np.shape(found) != like.shape:
                raise ValueError(f"{self.name}: {name} must have shape {like.shape}, found {np.shape(found)}")
            return jnp.asarray(found, like.dtype)
        if getattr(found, "_fields", None) != names:
            raise ValueError(f"{self.name}: {name} must be a {type(like).__name__}, found {type(found).__name__}")
        parts = zip(names, found, like, strict=True)
        return type(like)(*(self._taken(f"{name}.{part}", *pair) for part, *pair in parts))

    def decode(self, state: State) -> Decoded:
        return state._asdict() | self._follows(state)

    def obeyed(self, start: State, states: State, instruction: Instruction) -> Int[Array, ""]:
        """How many parts of an instruction came true in order, whatever inputs led there.

        Args:
            start: the State before the first step.
            states: after each step, with a leading axis, as `rollout` records them.
            instruction: as parsed.
        """
        before = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b[:-1]]), start, states)
        judge = jax.vmap(jax.vmap(self._holds, (None, None, 0)), (0, 0, None))
        return count_obeyed(judge(before, states, instruction.code), instruction.code)

    def _advance(self, before: State, state: State, instruction: Instruction) -> State:
        """Counts in `told` the part of the instruction that was to be done in this step, where it is done."""
        row = self._row(before, instruction)
        done = jnp.any(row != 0) & self._holds(before, state, row)
        return state._replace(told=before.told + done)

    def _row(self, state: State, instruction: Instruction) -> Array:
        """The part that is to be done now: zeros when all is done."""
        rows = jnp.concatenate([instruction.code, jnp.zeros_like(instruction.code[:1])])
        return rows[jnp.clip(state.told, 0, len(instruction.code))]


def parts(world: str, text: str) -> list[str]:
    """The parts of an instruction in lower case. Raises ValueError where there is none, or more than `ROWS`."""
    found = [part.strip(" .") for part in re.split(r",|;|\bthen\b|\band\b", text.lower())]
    found = [part for part in found if part]
    if not 1 <= len(found) <= ROWS:
        raise ValueError(f"{world}: an instruction has 1 to {ROWS} parts, found {len(found)} in {text!r}")
    return found


def coded(rows: Sequence[Sequence[int]]) -> Instruction:
    """Rows of codes, filled to `ROWS`."""
    out = np.zeros((ROWS, len(rows[0])), np.int32)
    out[: len(rows)] = rows
    return Instruction(jnp.asarray(out))


def probability(world: str, name: str, value: Real) -> Float[Array, "..."]:
    """A probability as a leaf. Raises ValueError where it is known and not in [0, 1]."""
    if not isinstance(value, Tracer) and not np.all((np.asarray(value) >= 0) & (np.asarray(value) <= 1)):
        raise ValueError(f"{world}: {name} must be a probability in [0, 1], found {value}")
    return jnp.asarray(value, jnp.float32)
