"""What an image-to-video model is given besides text: masked latents, CLIP rows, or a clean first latent frame.

    given = make(folder, vae, size=(480, 832), frames=81, image=picture, clip=encoder)
    given.image, given.first                           # what `vrjax.models.pipeline.denoise.phases` takes

Pictures are 8-bit (h, w, 3). They are brought to the video's size as the folder's own code does it: diffusers squeezes
them by Pillow's Lanczos filter; Wan's code interpolates bicubically, and for its 5 B model covers and crops.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped

from vrjax.flow import words
from vrjax.models.wan import clip as clips
from vrjax.models.wan.dit import Image
from vrjax.models.wan.folders import Folder
from vrjax.models.wan.vae import VAEConfig, WanVAE

CACHE = 2**25  # bytes of the VAE's widest array up to which a whole clip is taken at once: a CPU's last cache


class Conditions(NamedTuple):
    """`image`: channels and CLIP rows for the transformer. `first` (h, w, z): the clean first latent frame, or None."""

    image: Image = Image()
    first: Any = None

    __repr__ = words.line


def scaled(
    picture: Shaped[np.ndarray, "h w c"], size: tuple[int, int], style: str
) -> Float[np.ndarray, "height width c"]:
    """A picture at the video's size, in [-1, 1] (bicubic interpolation may leave it a little).

    Args:
        picture: 8-bit.
        size: (height, width).
        style: "lanczos" squeezes it with Pillow's filter; "bicubic" interpolates without antialiasing; "cover" scales
            by Lanczos until it covers the size, and crops the centre.

    Raises:
        ValueError: not a picture, or an unknown style.
    """
    if picture.ndim != 3 or picture.shape[-1] != 3 or picture.dtype != np.uint8 or not picture.size:
        raise ValueError(f"picture: {picture.dtype} {picture.shape}, expected 8-bit (h, w, 3)")
    h, w = picture.shape[:2]
    if style == "bicubic":
        unit = picture.astype(np.float32) / 255
        unit = np.einsum("ih,hwc->iwc", clips._bicubic(h, size[0]), unit)
        return (np.einsum("jw,iwc->ijc", clips._bicubic(w, size[1]), unit) - 0.5) / 0.5
    if style == "lanczos":
        return _lanczos(picture, size).astype(np.float32) / 255 * 2 - 1
    if style != "cover":
        raise ValueError(f"style: found {style!r}, expected 'lanczos', 'bicubic' or 'cover'")
    factor = max(size[0] / h, size[1] / w)
    new = max(round(h * factor), size[0]), max(round(w * factor), size[1])
    top, left = (new[0] - size[0]) // 2, (new[1] - size[1]) // 2
    cut = _lanczos(picture, new)[top : top + size[0], left : left + size[1]]
    return (cut.astype(np.float32) / 255 - 0.5) / 0.5


def _lanczos(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image as Pictures

    return np.asarray(Pictures.fromarray(picture).resize((size[1], size[0]), Pictures.Resampling.LANCZOS))


def mask(frames: int, size: tuple[int, int], time_factor: int, *, last: bool) -> Float[np.ndarray, "t h w m"]:
    """1 where a pixel frame is given, for each of the `time_factor` pixel frames of a latent frame.

    The first latent frame holds one pixel frame, counted `time_factor` times.

    Args:
        frames: pixel frames, 1 + time_factor * n.
        size: (h, w) of a latent frame.
        last: whether the last pixel frame is given too.
    """
    given = np.zeros(frames, np.float32)
    given[0] = 1
    if last:
        given[-1] = 1
    rows = np.concatenate([np.repeat(given[:1], time_factor), given[1:]]).reshape(-1, time_factor)
    return np.broadcast_to(rows[:, None, None], (len(rows), *size, time_factor))


def chunk_of(latent: tuple[int, ...], cfg: VAEConfig) -> int | None:
    """Latent frames the VAE takes at a time for a latent (t, h, w, ...): all of a small clip's (None), else one.

    Its convolutions go over the same arrays again and again. A clip's that do not stay in a cache are fetched from
    memory each time, a latent frame's mostly are not: 33 frames of 128 x 128 are decoded in 3.2 s on two cores a frame
    at a time, in 4.4 to 8.4 s at once. It needs the memory of one frame too. What fits is taken at once, which compiles
    faster, as there is one program for all frames.

    Args:
        latent: shape of the latent.
        cfg: of the VAE.
    """
    return None if widest(latent, cfg) <= CACHE else 1


def widest(latent: tuple[int, ...], cfg: VAEConfig) -> int:
    """Bytes of the VAE's widest array for a latent (t, h, w, ...) that is taken at once, in float32."""
    t, h, w = latent[:3]
    frames, across = 1 + cfg.time_factor * (t - 1), cfg.space_factor // cfg.patch
    return 4 * frames * h * w * across**2 * max(cfg.dim, cfg.decoder_dim) * cfg.multipliers[0]


def make(
    folder: Folder,
    vae: WanVAE,
    *,
    size: tuple[int, int],
    frames: int,
    image: Shaped[np.ndarray, "h w c"],
    last_image: Shaped[np.ndarray, "h2 w2 c"] | None = None,
    clip: Any = None,
) -> Conditions:
    """The conditions of one clip.

    Args:
        folder: the model.
        vae: its VAE.
        size, frames: of the video in pixels; see `vrjax.models.pipeline` for what is allowed.
        image, last_image: the first and the last frame.
        clip: the CLIP encoder of Wan 2.1's models, or None.

    Raises:
        ValueError: the CLIP encoder that the model needs is missing.
    """
    ours = folder.layout == "original"
    style = "lanczos" if not ours else "cover" if folder.kind == "ti2v" else "bicubic"
    first = scaled(image, size, style)
    if folder.kind == "ti2v":
        return Conditions(first=_encode(vae, first[None], None)[0])
    video = np.zeros((frames, *size, 3), np.float32)
    video[0] = first
    if last_image is not None:
        video[-1] = scaled(last_image, size, "cover" if ours else style)
    factor = vae.cfg.time_factor, vae.cfg.space_factor
    shape = (frames - 1) // factor[0] + 1, size[0] // factor[1], size[1] // factor[1]
    latent = _encode(vae, video, chunk_of(shape, vae.cfg))
    given = mask(frames, shape[1:], factor[0], last=last_image is not None)
    rows = None
    if folder.cfg.image_dim is not None:
        if clip is None:
            raise ValueError(f"{folder.root}: this model needs the CLIP rows of its picture")
        look = "original" if ours else "transformers"
        pictures = [p for p in (image, last_image) if p is not None]
        prepare = lambda p: jnp.asarray(clips.preprocess(p, size=clip.cfg.image_size, style=look))
        rows = jnp.concatenate([_look(clip, prepare(p)) for p in pictures])
    return Conditions(Image(jnp.concatenate([jnp.asarray(given), latent], -1), rows))


@functools.partial(jax.jit, static_argnames="chunk")
def _encode(vae: WanVAE, video: Any, chunk: int | None) -> jax.Array:
    return vae.encode(video, chunk=chunk)


@jax.jit
def _look(clip: clips.CLIPEncoder, pixels: Any) -> jax.Array:
    return clip(pixels)
