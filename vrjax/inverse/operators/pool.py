"""Lower resolution in space: means over blocks."""

import dataclasses

import jax
import jax.numpy as jnp

from vrjax.inverse.operators._operator import Operator, shape_of, whole


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Pool(Operator):
    """Means over blocks of `factor x factor` pixels."""

    in_shape: tuple[int, ...] = dataclasses.field(metadata=dict(static=True))
    factor: int = dataclasses.field(metadata=dict(static=True))

    @property
    def out_shape(self):
        *lead, h, w, c = self.in_shape
        return (*lead, h // self.factor, w // self.factor, c)

    @property
    def gram_scale(self):
        return 1 / self.factor**2

    def _apply(self, x):
        *lead, h, w, c = self.out_shape
        return jnp.mean(x.reshape(*lead, h, self.factor, w, self.factor, c), axis=(-4, -2))


def pool(shape: tuple[int, ...], factor: int) -> Pool:
    """Average pooling in space; the pseudo-inverse repeats every mean over its block.

    Args:
        shape: (t, h, w, c), or any other that ends in (h, w, c).
        factor: side of a block; it divides h and w.

    Raises:
        ValueError: fewer than 3 axes, or a factor that is not a whole number or does not divide both sides.
    """
    shape = shape_of("pool", shape, least=3)
    for side in shape[-3:-1]:
        factor = whole("pool", "factor", factor, side)
    return Pool(shape, factor)


def example() -> Pool:
    """A video of 2 frames, 4 x 6 pixels, by 2."""
    return pool((2, 4, 6, 2), 2)
