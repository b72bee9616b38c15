"""A shutter that stays open over several frames: weighted means in time."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vrjax.inverse.operators._operator import Operator, Real, shape_of, whole


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Exposure(Operator):
    """`y_i = sum_j shutter_j x_(i stride + j)`, for every i whose window lies within the video."""

    shutter: Array
    in_shape: tuple[int, ...] = dataclasses.field(metadata=dict(static=True))
    stride: int = dataclasses.field(metadata=dict(static=True))

    @property
    def out_shape(self):
        return ((self.in_shape[0] - self.shutter.shape[-1]) // self.stride + 1, *self.in_shape[1:])

    @property
    def gram_scale(self):
        return jnp.sum(self.shutter**2) if self.stride >= self.shutter.shape[-1] else None

    def _apply(self, x):
        reach = self.stride * (self.out_shape[0] - 1) + 1
        seen = [self.shutter[j] * x[j : j + reach : self.stride] for j in range(self.shutter.shape[-1])]
        return functools.reduce(jnp.add, seen)

    def _gram_solve(self, y, r2, noise2):
        if self.gram_scale is not None:
            return super()._gram_solve(y, r2, noise2)
        # Pixels are independent of each other: one small symmetric system in time serves them all.
        times = self._apply(jnp.eye(self.in_shape[0], dtype=self.shutter.dtype))
        system = r2 * jnp.matmul(times, times.T, precision="highest") + noise2 * jnp.eye(
            self.out_shape[0], dtype=self.shutter.dtype
        )
        factor = jax.scipy.linalg.cho_factor(system)
        return jax.scipy.linalg.cho_solve(factor, y.reshape(self.out_shape[0], -1)).reshape(self.out_shape)


def exposure(shape: tuple[int, ...], shutter: Float[Real, " k"], *, stride: int | None = None) -> Exposure:
    """Frames as a camera takes them whose shutter is open over k frames of the video.

    Args:
        shape: (t, h, w, c), or any other whose first axis is time.
        shutter: how open it is in each of k frames, at least 0; scaled here to a sum of 1, so that what stands still
            stays as it is.
        stride: frames from one exposure to the next, k by default (disjoint). With less, exposures overlap, and solves
            are by a dense factorisation in time alone.

    Raises:
        ValueError: k is longer than t, weights are negative, not finite or all 0, or stride is not a whole number.
    """
    shape = shape_of("exposure", shape)
    weights = np.asarray(shutter, np.float64)
    if not (0 < weights.size <= shape[0]):
        raise ValueError(f"exposure: shutter must have 1 to {shape[0]} weights (frames), found {weights.size}")
    if not (np.all(np.isfinite(weights)) and weights.min() >= 0 and weights.sum() > 0):
        raise ValueError(f"exposure: shutter must be finite, at least 0 and not all 0, found {weights.tolist()}")
    stride = weights.size if stride is None else whole("exposure", "stride", stride)
    return Exposure(jnp.asarray(weights / weights.sum()), shape, stride)


def example() -> Exposure:
    """Three frames each, with two frames of overlap."""
    return exposure((6, 2, 3, 2), np.array([1.0, 2.0, 0.5]), stride=1)
