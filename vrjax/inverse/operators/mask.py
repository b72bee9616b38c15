"""Some entries are seen, the others are not."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from vrjax.inverse.operators._operator import Operator, Real, entries, shape_of


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Mask(Operator):
    """The kept entries as a vector, in the order of the flattened array. Which they are is a leaf: masks of equally
    many entries share one compiled program and may be stacked."""

    index: Array
    in_shape: tuple[int, ...] = dataclasses.field(metadata=dict(static=True))

    gram_scale = 1.0

    @property
    def out_shape(self):
        return (self.index.shape[-1],)

    def _apply(self, x):
        return x.reshape(-1).at[self.index].get(mode="clip", unique_indices=True, indices_are_sorted=True)


def mask(keep: Bool[Real, "..."], shape: tuple[int, ...]) -> Mask:
    """The entries of `shape` where `keep` is true, as a vector `(k,)`: data are what was seen, and nothing else.

    `adjoint` (which is also the pseudo-inverse) puts them back with zeros between.

    Args:
        keep: booleans, known on the host, that broadcast to `shape` by NumPy's rules; of shape (h, w) on a video
            (t, h, w, c) it is the same for all frames and channels.
        shape: of x.

    Raises:
        ValueError: `keep` does not broadcast to `shape`, or keeps nothing.
    """
    shape = shape_of("mask", shape)
    keep = np.asarray(keep)
    given = keep.shape
    if keep.ndim == 2 and len(shape) == 4:
        keep = keep[:, :, None]
    try:
        kept = np.flatnonzero(np.broadcast_to(keep, shape))
    except ValueError:
        raise ValueError(f"mask: keep must broadcast to the shape {shape}, found {given}") from None
    if not kept.size:
        raise ValueError(f"mask: keep must keep at least one of {entries(shape)} entries, found none")
    return Mask(jnp.asarray(kept, jnp.int32), shape)


def example() -> Mask:
    """About half of the pixels of a video, the same in all frames."""
    return mask(np.random.default_rng(1).random((4, 3)) < 0.5, (2, 4, 3, 2))
