"""Some frames are seen, the others are not."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from vrjax.inverse.operators._operator import Operator, shape_of


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FramesDropped(Operator):
    """The kept frames, in their order. Which they are is a leaf, as of `Mask`."""

    index: Array
    in_shape: tuple[int, ...] = dataclasses.field(metadata=dict(static=True))

    gram_scale = 1.0

    @property
    def out_shape(self):
        return (self.index.shape[-1], *self.in_shape[1:])

    def _apply(self, x):
        return x.at[self.index].get(mode="clip", unique_indices=True, indices_are_sorted=True)


def frames_dropped(shape: tuple[int, ...], keep: Sequence[int] | Sequence[bool] | np.ndarray) -> FramesDropped:
    """The frames of a video that `keep` names; the adjoint (and pseudo-inverse) puts black (0) between.

    Args:
        shape: (t, h, w, c), or any other whose first axis is time.
        keep: numbers of frames, rising, each once; or t booleans.

    Raises:
        ValueError: nothing is kept, numbers do not rise or are out of range, or there are not t booleans.
    """
    shape = shape_of("frames_dropped", shape)
    kept = np.asarray(keep)
    if kept.dtype == bool:
        if kept.shape != shape[:1]:
            raise ValueError(f"frames_dropped: keep must have {shape[0]} booleans, found the shape {kept.shape}")
        kept = np.flatnonzero(kept)
    right = kept.ndim == 1 and kept.size and kept.dtype.kind in "iu"
    if not (right and kept[0] >= 0 and kept[-1] < shape[0] and np.all(np.diff(kept) > 0)):
        raise ValueError(f"frames_dropped: keep must be rising frames within 0 ... {shape[0] - 1}, found {keep}")
    return FramesDropped(jnp.asarray(kept, jnp.int32), shape)


def example() -> FramesDropped:
    """First and last of 5 frames, and the one before the middle."""
    return frames_dropped((5, 2, 3, 2), (0, 1, 4))
