"""What an embedded model is given of a clip, in NumPy: data workers must not touch an accelerator.

given = conditions.example(clip, text_len=16, text_dim=32)         # "latent", "image", "text"
x = conditions.clip_noise(clip, given["latent"].shape, seed=0)
"""

import functools
import zlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from vrjax import tasks
from vrjax.models.embedded import codec, words


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


def encode(clip: tasks.Clip, factor: int) -> Float[np.ndarray, "t h w 3"]:
    """The clip's latent (`codec.blocks`). Raises ValueError that names the clip, see `example`."""
    video = np.asarray(clip.video, np.float32)
    if video.ndim != 4 or video.shape[-1] != 3:
        raise ValueError(f"{name(clip)}: video has shape {video.shape}, expected (t, h, w, 3)")
    if not np.isfinite(video).all():
        bad = np.argwhere(~np.isfinite(video))[0].tolist()
        raise ValueError(f"{name(clip)}: video[{', '.join(map(str, bad))}] is {video[tuple(bad)]}, expected numbers")
    _, h, w, _ = video.shape
    if h % factor or w % factor:
        raise ValueError(f"{name(clip)}: frames of {h} x {w} pixels are not divisible by codec_factor={factor}")
    return codec.blocks(factor).encode(video)


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


@functools.lru_cache(maxsize=4096)
def text(prompt: str, length: int, dim: int) -> Float[np.ndarray, "length dim"]:
    """`words.encode`, remembered."""
    rows = words.encode(prompt, length, dim)
    rows.setflags(write=False)  # shared
    return rows


def clip_noise(clip: tasks.Clip, shape: Sequence[int], seed: int) -> np.ndarray:
    """Initial noise of a clip: it depends on the clip and the seed only, so two models are compared on equal noise."""
    label = f"{clip.meta['world']}/{clip.meta['split']}/{clip.meta['seed']}"
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(label.encode()))
    return np.asarray(jax.random.normal(key, tuple(shape), jnp.float32))


def name(clip: tasks.Clip) -> str:
    """A clip in a message."""
    meta = clip.meta
    return f"clip {meta.get('world', '?')}/{meta.get('split', '?')} seed {meta.get('seed', '?')}"
