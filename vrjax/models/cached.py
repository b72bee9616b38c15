"""The cached calls of a family: a video chunk by chunk, each seeing those before it. Not every family has them.

    calls = cached.calls(model, {"actions": actions}, latent=(8, 16, 16, 3))
    state = calls.begin()
    v = calls.chunk(state, x, level, start).v            # of the frames from `start` on, which come next
    state = calls.after(state, x0, clean, start)         # remembered, whatever made them

What a rollout remembers and what one pass over a whole clean video shows are the same: `calls.forced` beside
`calls.chunk` (teacher forcing). Objectives over these calls (`vrjax.train.objectives`) name no family.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jax import lax

from vrjax.flow import Level, Prediction
from vrjax.models import family

NONE: Mapping[str, Any] = {}


@runtime_checkable
class Cached(Protocol):
    """What `family.py` defines of a family that remembers, beside what `family.Family` asks.

    Conditions that have a row for each frame are named in `FRAMES` of its config's class; each call is given the rows
    of its own frames. The others are read by `begin` and need not be given again.
    """

    def chunks(self, cfg: Any, frames: int) -> tuple[int, ...]:
        """Lengths of the chunks of a video. Raises ValueError: it does not fall into chunks."""
        ...

    def begin(self, model: Any, conditions: Mapping[str, Any], latent: tuple[int, ...]) -> Any:
        """The state before the first chunk of a video of this shape: a pytree of fixed shapes."""
        ...

    def chunk(
        self,
        model: Any,
        state: Any,
        x: Any,
        level: Level,
        conditions: Mapping[str, Any] = NONE,
        *,
        taps: Mapping = NONE,
        edits: Mapping = NONE,
    ) -> Prediction:
        """The velocity of the chunk that comes next; the state stays as it is."""
        ...

    def after(
        self,
        model: Any,
        state: Any,
        x: Any,
        level: Level,
        conditions: Mapping[str, Any] = NONE,
        *,
        edits: Mapping = NONE,
    ) -> Any:
        """The state behind a chunk x that is shown at a level (0: as it is)."""
        ...

    def forced(
        self,
        model: Any,
        x: Any,
        level: Level,
        conditions: Mapping[str, Any],
        *,
        clean: Any,
        clean_level: Level,
        taps: Mapping = NONE,
        edits: Mapping = NONE,
    ) -> Prediction:
        """The velocity of a whole video each of whose chunks sees its own noisy frames and the clean ones before it."""
        ...


class Calls(NamedTuple):
    """The cached calls of one model, its conditions closed over; what objectives take.

    Attributes:
        model: its weights, a pytree: what is differentiated.
        chunks: lengths of the chunks, static.
        of: `Cached`, or any object with such functions `begin(model)`, `chunk(model, state, x, level, start)`,
            `after(model, state, x, level, start)` and `forced(model, x, level, clean, clean_level)`.
    """

    model: Any
    chunks: tuple[int, ...]
    of: Any

    def begin(self) -> Any:
        """The state before the first chunk."""
        return self.of.begin(self.model)

    def chunk(self, state: Any, x: Any, level: Level, start: Any) -> Prediction:
        """The velocity of x, the frames from number `start` (may be traced) on."""
        return self.of.chunk(self.model, state, x, level, start)

    def after(self, state: Any, x: Any, level: Level, start: Any) -> Any:
        """The state behind x."""
        return self.of.after(self.model, state, x, level, start)

    def forced(self, x: Any, level: Level, clean: Any, clean_level: Level) -> Prediction:
        """The velocity of a whole video beside a clean one."""
        return self.of.forced(self.model, x, level, clean, clean_level)

    def frozen(self) -> "Calls":
        """The same numbers, through which no gradient reaches the weights."""
        return self._replace(model=lax.stop_gradient(self.model))


class _Closed(NamedTuple):
    """A family's calls over whole conditions: rows of frames are cut where they are asked for."""

    of: Cached
    given: Mapping[str, Any]
    frames: tuple[str, ...]
    latent: tuple[int, ...]

    def _rows(self, start: Any, count: int) -> dict[str, Any]:
        cut = lambda name: lax.dynamic_slice_in_dim(self.given[name], start, count)
        return {name: cut(name) for name in self.frames if name in self.given}

    def begin(self, model: Any) -> Any:
        return self.of.begin(model, self.given, self.latent)

    def chunk(self, model: Any, state: Any, x: Any, level: Level, start: Any) -> Prediction:
        return self.of.chunk(model, state, x, level, self._rows(start, len(x)))

    def after(self, model: Any, state: Any, x: Any, level: Level, start: Any) -> Any:
        return self.of.after(model, state, x, level, self._rows(start, len(x)))

    def forced(self, model: Any, x: Any, level: Level, clean: Any, clean_level: Level) -> Prediction:
        return self.of.forced(model, x, level, self.given, clean=clean, clean_level=clean_level)


def of(cfg: Any) -> Cached:
    """The cached calls of the family of a network's config.

    Raises:
        ValueError: the object is no family's config, or its family has no cached calls.
    """
    found = family.of(cfg)
    if not isinstance(found, Cached):
        name = type(cfg).family
        raise ValueError(f"model family {name!r} has no cached calls, expected one of {', '.join(names())}")
    return found


def names() -> tuple[str, ...]:
    """The families that have cached calls, sorted."""
    return tuple(name for name in family.names() if isinstance(family.get(name), Cached))


def calls(model: Any, conditions: Mapping[str, Any], latent: tuple[int, ...]) -> Calls:
    """The cached calls of a model.

    Args:
        model: of a family that has them.
        conditions: of one example, whole.
        latent: shape of the video, frames first.

    Raises:
        ValueError: see `of`; frames that do not fall into chunks; conditions of frames that are not so many.
    """
    found, frames = of(model.cfg), getattr(type(model.cfg), "FRAMES", ())
    for name in frames:
        if name in conditions and len(conditions[name]) != latent[0]:
            raise ValueError(f"{name}: {len(conditions[name])} rows, expected one for each of {latent[0]} frames")
    given = {name: jnp.asarray(value) for name, value in conditions.items()}
    return Calls(model, found.chunks(model.cfg, latent[0]), _Closed(found, given, frames, latent))
