"""Between frames and latents: squares of pixels as their principal components, a linear map with an exact inverse.

One square is one token. With as many components as a square has numbers nothing is lost.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jaxtyping import Array, Float

from vrjax.flow import words


class Patches(NamedTuple):
    """The map of squares of p x p pixels.

    Attributes:
        mean: (3 p²,) of squares.
        basis: (3 p², c), orthonormal columns, those along which squares vary most.
        scale: () by which coefficients are divided, so that latents have a mean square of 1.
    """

    mean: Float[Array, " d"]
    basis: Float[Array, "d c"]
    scale: Float[Array, ""]

    __repr__ = words.line


def fit(frames: Float[np.ndarray, "n H W 3"], size: int, channels: int) -> tuple[Patches, float]:
    """The map for frames like these, in float64 on the host.

    Args:
        frames: in [-1, 1].
        size: side of a square, which divides H and W.
        channels: components that are kept, at most 3 size².

    Returns:
        The map, and the share of variance that it keeps.

    Raises:
        ValueError: sizes that do not fit.
    """
    n, height, width, _ = frames.shape
    if height % size or width % size or not 1 <= channels <= 3 * size**2:
        raise ValueError(
            f"patches: squares of {size} and {channels} channels for frames of {height} x {width}, expected a size "
            f"that divides both and 1 to {3 * size**2} channels"
        )
    rows = _squares(np.asarray(frames, np.float64), size).reshape(-1, 3 * size**2)
    mean = rows.mean(0)
    variances, basis = np.linalg.eigh(np.cov(rows.T, bias=True))
    kept, basis = variances[::-1][:channels], basis[:, ::-1][:, :channels]
    scale = np.sqrt(max(kept.mean(), 1e-12))
    share = float(kept.sum() / max(variances.sum(), 1e-12))
    return Patches(*(jnp.asarray(part, jnp.float32) for part in (mean, basis, scale))), share


def side(patches: Patches) -> int:
    """Pixels along a square."""
    return round((len(patches.mean) / 3) ** 0.5)


def _squares(frames, size: int):
    return rearrange(frames, "... (h p) (w q) c -> ... h w (p q c)", p=size, q=size)


def encode(patches: Patches, frames: Float[Array, "*n H W 3"]) -> Float[Array, "*n h w c"]:
    """Latents of frames."""
    size = side(patches)
    return (_squares(frames, size) - patches.mean) @ patches.basis / patches.scale


def decode(patches: Patches, latent: Float[Array, "*n h w c"]) -> Float[Array, "*n H W 3"]:
    """Frames of latents, not clipped."""
    size = side(patches)
    rows = latent * patches.scale @ patches.basis.T + patches.mean
    return rearrange(rows, "... h w (p q c) -> ... (h p) (w q) c", p=size, q=size)
