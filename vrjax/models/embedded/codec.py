"""Block codec: the parameter-free video codec of the embedded worlds, in the slot of the VAE."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Codec(NamedTuple):
    """A pair of pure functions between pixels (t, h, w, c) and latents (t, h / factor, w / factor, c).

    They take any leading axes before (h, w, c), so a single frame may be encoded. NumPy arrays stay NumPy arrays.
    """

    encode: Callable
    decode: Callable
    factor: int

    @property
    def time_factor(self) -> int:
        """Frames of a latent frame."""
        return 1

    @property
    def space_factor(self) -> int:
        """Pixels along a side of a latent position."""
        return self.factor


def blocks(factor: int = 4) -> Codec:
    """Mean over `factor` x `factor` pixel blocks, and nearest upsampling back.

    `encode(decode(z)) == z`, and `decode(encode(video)) == video` exactly for videos whose every block has one colour
    (all embedded worlds), as the mean is taken relative to the block's first pixel.
    """
    if factor < 1:
        raise ValueError(f"codec.blocks: factor must be positive, found {factor}")

    def encode(video: Float[Array | np.ndarray, "*lead h w c"]) -> Float[Array | np.ndarray, "*lead h_z w_z c"]:
        *lead, h, w, c = video.shape
        if h % factor or w % factor:
            raise ValueError(f"codec.encode: frames of {h} x {w} pixels are not divisible by the factor {factor}")
        tiles = video.reshape(*lead, h // factor, factor, w // factor, factor, c)
        corner = tiles[..., :1, :, :1, :]
        # Summing many equal floats rounds; summing their differences to one of them does not.
        return (corner + (tiles - corner).mean((-4, -2), keepdims=True)).squeeze((-4, -2))

    def decode(latent: Float[Array | np.ndarray, "*lead h w c"]) -> Float[Array | np.ndarray, "*lead h_x w_x c"]:
        repeat = np.repeat if isinstance(latent, np.ndarray) else jnp.repeat
        return repeat(repeat(latent, factor, -3), factor, -2)

    return Codec(encode, decode, factor)
