"""What an embedded model is given of a clip, in NumPy: data workers must not touch an accelerator.

given = conditions.example(clip, text_len=16, text_dim=32)         # "latent", "image", "text"
x = conditions.clip_noise(clip, given["latent"].shape, seed=0)
conditions.blocks(4).decode(x)                                     # a video again

Nothing here has parameters: the codec, in the slot of the VAE, is a mean over blocks of pixels; the text encoder, in
the slot of UMT5, has a random row for every word.
"""

import functools
import hashlib
import re
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from vrjax import tasks
from vrjax.flow import draws

_WORD = re.compile(r"[^\W_]+|[^\w\s]|_")


def example(
    clip: tasks.Clip, *, codec_factor: int = 4, text_len: int = 16, text_dim: int = 32
) -> dict[str, np.ndarray]:
    """What a model is given for one clip: float32 "latent" (t, h, w, 3), "image" (t, h, w, 4), "text" (l, d).

    The same arrays as a row of `vrjax.data.worlds.pipeline`'s batches.

    Raises:
        ValueError: a video that is not (t, h, w, 3) with sides divisible by `codec_factor` or not finite, or a prompt
            of more than `text_len` words.
    """
    latent = encode(clip, codec_factor)
    return {
        "latent": latent,
        "image": first_frame(latent[0], len(latent)),
        "text": text(clip.prompt, text_len, text_dim),
    }


def clip_noise(clip: tasks.Clip, shape: Sequence[int], seed: int) -> np.ndarray:
    """Initial noise of a clip: it depends on the clip and the seed only, so two models are compared on equal noise."""
    label = f"{clip.meta['world']}/{clip.meta['split']}/{clip.meta['seed']}"
    key = jax.random.fold_in(draws.key(seed), zlib.crc32(label.encode()))
    return np.asarray(draws.normal(key, tuple(shape)))


def name(clip: tasks.Clip) -> str:
    """A clip in a message."""
    meta = clip.meta
    return f"clip {meta.get('world', '?')}/{meta.get('split', '?')} seed {meta.get('seed', '?')}"


# ------------------------------------------------------------------------------------------------------------- pictures


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
        raise ValueError(f"conditions.blocks: factor must be positive, found {factor}")

    def encode(video: Float[Array | np.ndarray, "*lead h w c"]) -> Float[Array | np.ndarray, "*lead h_z w_z c"]:
        *lead, h, w, c = video.shape
        if h % factor or w % factor:
            raise ValueError(f"blocks.encode: frames of {h} x {w} pixels are not divisible by the factor {factor}")
        tiles = video.reshape(*lead, h // factor, factor, w // factor, factor, c)
        corner = tiles[..., :1, :, :1, :]
        # Summing many equal floats rounds; summing their differences to one of them does not.
        return (corner + (tiles - corner).mean((-4, -2), keepdims=True)).squeeze((-4, -2))

    def decode(latent: Float[Array | np.ndarray, "*lead h w c"]) -> Float[Array | np.ndarray, "*lead h_x w_x c"]:
        repeat = np.repeat if isinstance(latent, np.ndarray) else jnp.repeat
        return repeat(repeat(latent, factor, -3), factor, -2)

    return Codec(encode, decode, factor)


def encode(clip: tasks.Clip, factor: int) -> Float[np.ndarray, "t h w 3"]:
    """The clip's latent (`blocks`). Raises ValueError that names the clip, see `example`."""
    video = np.asarray(clip.video, np.float32)
    if video.ndim != 4 or video.shape[-1] != 3:
        raise ValueError(f"{name(clip)}: video has shape {video.shape}, expected (t, h, w, 3)")
    if not np.isfinite(video).all():
        bad = np.argwhere(~np.isfinite(video))[0].tolist()
        raise ValueError(f"{name(clip)}: video[{', '.join(map(str, bad))}] is {video[tuple(bad)]}, expected numbers")
    _, h, w, _ = video.shape
    if h % factor or w % factor:
        raise ValueError(f"{name(clip)}: frames of {h} x {w} pixels are not divisible by codec_factor={factor}")
    return blocks(factor).encode(video)


def first_frame(latent: Float[np.ndarray, "h w c"], frames: int) -> Float[np.ndarray, "t h w c1"]:
    """The `image` condition: a mask channel (1 on frame 0, else 0), then the first frame's latent everywhere.

    Args:
        latent: clean, of the first frame.
        frames: number of frames t of the video.

    Returns:
        (t, h, w, 1 + c), mask first.
    """
    image = np.empty((frames, *latent.shape[:-1], latent.shape[-1] + 1), np.float32)
    image[..., 0] = 0.0
    image[0, ..., 0] = 1.0
    image[..., 1:] = latent
    return image


# ---------------------------------------------------------------------------------------------------------------- words


def tokenize(prompt: str) -> list[str]:
    """Lower-cased words and single punctuation marks, in order."""
    return _WORD.findall(prompt.lower())


@functools.lru_cache(maxsize=4096)
def embed(word: str, dim: int) -> Float32[np.ndarray, " dim"]:
    """Unit-norm Gaussian direction of one word, drawn from a generator seeded by the word's SHA-256 digest."""
    seed = int.from_bytes(hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()[:16], "little")
    vector = np.random.Generator(np.random.Philox(seed)).standard_normal(dim)
    vector = (vector / np.linalg.norm(vector)).astype(np.float32)
    vector.setflags(write=False)  # the cached array is shared
    return vector


@functools.lru_cache(maxsize=4096)
def text(prompt: str, length: int = 16, dim: int = 32) -> Float32[np.ndarray, "length dim"]:
    """Embeds a prompt as one row per word; rows after the last word are zero.

    The same word always has the same row, on every machine; two different words are almost orthogonal. Rows are
    scaled to norm sqrt(dim), so that entries are of order one like those of a trained text encoder.

    Args:
        prompt: any string. Case is ignored.
        length: number of rows.
        dim: width of a row.

    Returns:
        float32 (length, dim), remembered and shared, hence not to be written to.

    Raises:
        ValueError: the prompt has more words than `length` (a silent cut would change the task), or a size is not
            positive.
    """
    if length < 1 or dim < 1:
        raise ValueError(f"conditions.text: length and dim must be positive, found length={length}, dim={dim}")
    tokens = tokenize(prompt)
    if len(tokens) > length:
        raise ValueError(
            f"conditions.text: prompt has {len(tokens)} words, expected at most length={length}: {prompt!r}"
        )
    rows = np.zeros((length, dim), np.float32)
    for i, word in enumerate(tokens):
        rows[i] = embed(word, dim) * np.float32(np.sqrt(dim))
    rows.setflags(write=False)
    return rows
