"""Fewer frames: means over windows of time."""

import dataclasses

import jax
import jax.numpy as jnp

from vrjax.inverse.operators._operator import Operator, shape_of, whole


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FramesAveraged(Operator):
    """Means over disjoint windows of `window` frames."""

    in_shape: tuple[int, ...] = dataclasses.field(metadata=dict(static=True))
    window: int = dataclasses.field(metadata=dict(static=True))

    @property
    def out_shape(self):
        return (self.in_shape[0] // self.window, *self.in_shape[1:])

    @property
    def gram_scale(self):
        return 1 / self.window

    def _apply(self, x):
        return jnp.mean(x.reshape(-1, self.window, *self.in_shape[1:]), axis=1)


def frames_averaged(shape: tuple[int, ...], window: int) -> FramesAveraged:
    """Means over disjoint windows of time; the pseudo-inverse repeats every mean. Windows that overlap, or have
    weights, are `exposure`.

    Args:
        shape: (t, h, w, c), or any other whose first axis is time.
        window: frames of a window; it divides t.

    Raises:
        ValueError: a window that is not a whole number or does not divide t.
    """
    shape = shape_of("frames_averaged", shape)
    return FramesAveraged(shape, whole("frames_averaged", "window", window, shape[0]))


def example() -> FramesAveraged:
    """Six frames by threes."""
    return frames_averaged((6, 2, 3, 2), 3)
