"""RealDPO on a public Wan model: losers sampled for real clips, and winners and losers encoded for training.

    pipe = pipeline.open("Wan2.2-I2V-A14B")
    public.sample_losers(pipe, "train_data", count=3, frames=49, size=(480, 720))    # into negative_samples/
    public.encode(pipe, "train_data", "pairs", frames=49, size=(480, 720))           # what `AlignConfig.pairs` names

Both go on where they stopped; a loser made with another model, LoRA, clip, option or code is made again
(`vrjax.files.kept`). Winners and losers pass through one function, and every array is stored under the hash of
what it depends on (`vrjax.align.cache`).
"""

import dataclasses
import functools
import os
import pathlib
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from vrjax import files
from vrjax.align import cache, pairs
from vrjax.align.preprocess import Preprocess
from vrjax.data import latents, mp4
from vrjax.files import kept
from vrjax.files.pixels import to_uint8
from vrjax.flow import Record


def sample_losers(
    pipe: Any,
    root: str | os.PathLike,
    *,
    count: int,
    frames: int,
    size: tuple[int, int],
    seed: int = 0,
    say: Callable[[str], None] = print,
    **options: Any,
) -> int:
    """Samples `count` losers for every winner of a RealDPO folder, from its caption and, where taken, its first frame.

    RealDPO's offline recipe: all samples count as losers. One program serves all clips. Loser k of a clip starts from
    noise of the seed, the clip's name and k, so that an interrupted run goes on where it stopped.

    Args:
        pipe: a `vrjax.models.pipeline.Pipeline`.
        root: the training folder, see `vrjax.align.pairs`.
        count: losers of each winner.
        frames, size: of the losers, in pixels (height, width).
        seed: of the noise.
        say: told of each clip.
        **options: of `Pipeline.settings`, such as steps and guidance.

    Returns:
        How many videos were sampled now.

    Raises:
        ValueError, FileNotFoundError: a folder or options that do not fit; a model with a last picture.
    """
    if pipe.folder.kind == "flf2v":
        raise ValueError(f"{pipe.name}: needs first and last pictures, RealDPO's folders have first ones")
    root, sampled = pathlib.Path(root), 0
    found = pairs.read(root, losers=0)
    settings = pipe.settings(frames=frames, size=size, **options)
    given = pipe.folder.kind != "t2v"
    about = pipe.about | {"model": files.fingerprint(pipe.folder.root), "code": kept.source(__name__), "seed": seed}
    about |= {"settings": dataclasses.asdict(settings)}
    for number, pair in enumerate(found, 1):
        picture = functools.cache(lambda pair=pair: _first_frame(pair, frames, size) if given else None)
        clip = {"name": pair.name, "prompt": pair.prompt, "win": files.fingerprint(pair.win) if given else None}

        def sample(path: pathlib.Path, noise: int, pair: pairs.Pair = pair, picture: Callable = picture) -> None:
            run = {"seeds": [noise], "record": Record(steps=()), "frames": frames, "size": size, **options}
            found = pipe.sample(pair.prompt, image=picture(), **run)
            mp4.write(path, pipe.decode(found.final)[0], fps=pairs.FPS)

        made = 0
        for k in range(count):  # one after another: a video is on disk before the next one starts
            noise = zlib.crc32(f"{seed} {pair.name} {k}".encode()) >> 1
            path = root / "negative_samples" / pair.name / f"{k}.mp4"
            made += kept.file(path, about | clip | {"loser": k}, functools.partial(sample, noise=noise), say=say)
        if made:
            say(f"{number} of {len(found)}: {pair.name}, {made} losers")
        sampled += made
    return sampled


def encode(
    pipe: Any,
    root: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    frames: int,
    size: tuple[int, int],
    losers: int | None = None,
    dtype: str = "bfloat16",
    say: Callable[[str], None] = print,
) -> pathlib.Path:
    """Encodes a RealDPO folder by a model's own VAE, text encoder and picture condition (`vrjax.align.cache.encode`).

    Args:
        pipe: a `vrjax.models.pipeline.Pipeline`; its transformers are not loaded.
        root: the training folder, with its losers.
        folder: of the encoded pairs.
        frames: of a clip, 4 n + 1.
        size: (height, width) in pixels.
        losers: how many of each winner; by default as many as the first one has.
        dtype: arrays are stored in.
        say: told what was done.

    Raises:
        ValueError: a model whose condition is more than channels (CLIP rows, a re-imposed first frame).
    """
    video, text, picture = latents.encoders(pipe, frames=frames, size=size)
    image = picture and picture._replace(encode=lambda film: picture.encode(to_uint8(film[0])))
    return cache.encode(
        pairs.read(root, losers=losers),
        folder,
        preprocess=Preprocess(frames, *size),
        codec=video,
        text=text,
        image=image,
        dtype=dtype,
        say=say,
    )


def _first_frame(pair: pairs.Pair, frames: int, size: tuple[int, int]) -> np.ndarray:
    """The picture the losers are made from: the winner's first frame as the winner is preprocessed."""
    return to_uint8(Preprocess(frames, *size)(pair.win)[0])
