"""What the bases are shown, and the latents that they work in."""

import numpy as np
from jaxtyping import Float, Float32

from vrjax.tasks.chains import sprites

# What the bases believe the changed novel kinds to look like: a wrong idea, which no scene ever shows.
BELIEVED = {
    "egg broken": "........|........|.#....#.|o#o##o#o|oo#oo#oo|oooooooo|.oooooo.|========",
    "duck afloat": "....yyy.|...y#yy.|..oo.yy.|.....yy.|....yyyy|bbbyyyyb|bbbbbbbb|bbbbbbbb",
}
# The sprites as the bases are shown them, by symbol.
SHOWN = sprites.drawn({name: BELIEVED.get(name, art) for name, art in sprites.ART.items()})


def _codec() -> tuple[np.ndarray, np.ndarray]:
    """The sprites' mean and the directions (channels, pixels) in which they differ, scaled to unit variance."""
    every = np.concatenate([sprites.TEMPLATES, sprites.drawn(BELIEVED)])
    flat = every.reshape(len(every), -1).astype(np.float64)
    mean = flat.mean(0)
    _, values, axes = np.linalg.svd(flat - mean, full_matrices=False)
    axes, values = axes[:CHANNELS], values[:CHANNELS]
    axes *= np.sign(axes[np.arange(CHANNELS), np.abs(axes).argmax(1)])[:, None]
    return mean.astype(np.float32), (axes * values[:, None] / len(flat) ** 0.5).astype(np.float32)


CHANNELS = len(sprites.SYMBOLS) + len(BELIEVED) - 1
MEAN, AXES = _codec()


def encode(video: Float[np.ndarray, "t 8 width 3"]) -> Float32[np.ndarray, "t 1 cells channels"]:
    """The latent of a video: every cell's coordinates among the sprites, of unit variance over them.

    It stands where a video model has its autoencoder, and loses nothing of a film of sprites. (A transformer narrower
    than a cell's 192 numbers cannot carry the noise of pixels, so it could not remove it.)
    """
    *lead, high, wide, colours = video.shape
    cells = np.moveaxis(
        np.asarray(video, np.float32).reshape(*lead, high, wide // sprites.SIDE, sprites.SIDE, colours), -3, -4
    )
    flat = cells.reshape(*lead, wide // sprites.SIDE, -1) - MEAN
    return (flat @ (AXES / np.square(AXES).sum(1, keepdims=True)).T)[..., None, :, :]


def expand(latent: Float[np.ndarray, "*lead 1 cells channels"]) -> Float32[np.ndarray, "*lead 8 width 3"]:
    """The pixels of a latent: `encode` undone."""
    flat = np.asarray(latent, np.float32)[..., 0, :, :] @ AXES + MEAN
    *lead, cells, _ = flat.shape
    tiles = np.moveaxis(flat.reshape(*lead, cells, sprites.SIDE, sprites.SIDE, 3), -4, -3)
    return np.ascontiguousarray(tiles.reshape(*lead, sprites.SIDE, cells * sprites.SIDE, 3))
