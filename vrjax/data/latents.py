"""Clips of a VBVR folder as a video model's own latents, text rows and conditions: made once, read by training.

    latents.encode(pipe, "VBVR/questions", "cache", frames=81, size=(384, 384))
    rows = latents.Cached("cache", text_len=512)       # rows[i]: latent, text, image

A folder holds `clips.json` (clips and the keys of their arrays), `latents/`, `images/` and `text/` with one safetensors
file per key. A key is the SHA-256 of everything the array depends on: the bytes of the sample's files, the
preprocessing, and a fingerprint of the weights that encoded it. Nothing stale can be read, equal prompts share a file,
and an encoding that was killed goes on where it stopped.
"""

import functools
import itertools
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from vrjax.files import pixels, tensors, writing
from vrjax.files.kept import fingerprint, key
from vrjax.files.store import Store

SCHEMA = 1
INDEX = "clips.json"
ARRAY = "array"  # its name in every file


class Encoder(NamedTuple):
    """A function with an identity.

    Attributes:
        name: what it is, down to its weights (a file's SHA-256, or a version): equal names must mean equal results.
        encode: video (t, h, w, 3) in [-1, 1] -> latent (t', h', w', c); or caption -> (l, d).
    """

    name: str
    encode: Callable[[Any], Any]


def encoders(pipe: Any, *, frames: int, size: tuple[int, int]) -> tuple[Encoder, Encoder, Encoder | None]:
    """A model's own encoders of videos, of captions, and of 8-bit pictures (h, w, 3) where it takes any.

    Args:
        pipe: a `vrjax.models.pipeline.Pipeline`; its VAE and encoders are loaded, its transformers are not.
        frames: of a video, 4 n + 1.
        size: (height, width) in pixels.

    Raises:
        ValueError: sizes that do not fit the model, or one whose condition is more than channels (CLIP rows). A TI2V
            model is trained as the text-to-video model that it is without a picture.
    """
    import jax

    from vrjax.models.wan import conditions

    if pipe.folder.kind not in ("t2v", "i2v", "ti2v") or pipe.folder.cfg.image_dim is not None:
        raise ValueError(
            f"{pipe.name}: only clips of text-to-video and two-expert image-to-video models are encoded for training"
        )
    chunk = conditions.chunk_of(pipe.latent_shape(pipe.settings(frames=frames, size=size)), pipe.vae_config)
    run = jax.jit(lambda vae, video: vae.encode(video, chunk=chunk))
    vae = fingerprint(pipe.folder.parts["vae"])
    words = fingerprint(pipe.folder.parts["text_encoder"])

    def condition(picture: Any) -> np.ndarray:
        return np.asarray(pipe.conditions(picture, frames=frames, size=size).image.channels)

    # The layout says how pictures are scaled.
    image = Encoder(f"wan condition {vae} {pipe.folder.layout} {frames} {size}", condition)
    return (
        Encoder(f"wan vae {vae}", lambda video: np.asarray(run(pipe.vae, video))),
        Encoder(f"umt5 {words} {pipe.dtype}", lambda prompt: pipe.text([prompt])[0]),
        image if pipe.folder.kind == "i2v" else None,
    )


def encode(
    pipe: Any,
    root: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    frames: int,
    size: tuple[int, int],
    dtype: str = "bfloat16",
    limit: int | None = None,
    say: Callable[[str], None] = print,
) -> pathlib.Path:
    """Encodes the samples below a folder for one model, and writes `clips.json` last.

    Every clip gets the same number of frames: a longer one is thinned out evenly (first and last stay), a shorter one
    holds its last frame. The picture condition is made of the first frame by the model's own rules.

    Args:
        pipe: a `vrjax.models.pipeline.Pipeline`; its VAE and encoders are loaded, its transformers are not.
        root: any tree that `vrjax.data.vbvr` reads; every sample needs a `ground_truth.mp4`.
        folder: of the cache.
        frames: 4 n + 1.
        size: (height, width) in pixels.
        dtype: arrays are stored in.
        limit: at most so many samples.
        say: told of progress.

    Raises:
        FileNotFoundError, ValueError: a sample that cannot be read, or has no video; sizes that do not fit the model.
            What was encoded before stays.
    """
    from vrjax.data import vbvr

    video, text, image = encoders(pipe, frames=frames, size=size)
    store, new, rows = Store(folder, dtype=dtype), 0, []

    def film(sample: pathlib.Path) -> Any:
        (clip,) = vbvr.read(sample, max_frames=frames, size=size)
        return video.encode(np.concatenate([clip.video, np.repeat(clip.video[-1:], frames - len(clip.video), axis=0)]))

    def words(prompt: str) -> Any:
        embedded = text.encode(prompt)
        used = np.flatnonzero(np.abs(embedded).max(-1))  # the rest is padding, and is put back when read
        return embedded[: used[-1] + 1 if len(used) else 1]

    def row(sample: pathlib.Path) -> dict[str, str]:
        truth, first = sample / "ground_truth.mp4", sample / "first_frame.png"
        if not truth.is_file():
            raise FileNotFoundError(f"{truth}: missing, training needs the video")
        prompt = (sample / "prompt.txt").read_text("utf-8").strip()
        parts = {"video": fingerprint(truth), "codec": video.name, "frames": frames, "size": list(size)}
        found = {"latents": store.keep("latents", ARRAY, parts, lambda: film(sample), 4)}
        parts = {"prompt": prompt, "encoder": text.name}
        found["text"] = store.keep("text", ARRAY, parts, lambda: words(prompt), 2)
        if image is not None:
            parts = {"picture": fingerprint(first), "codec": image.name}
            made = functools.partial(image.encode, pixels.read_image(first, formats=("PNG",)))
            found["images"] = store.keep("images", ARRAY, parts, made, 4)
        return found

    for count, sample in enumerate(itertools.islice(vbvr.samples(root), limit), 1):
        before, name = store.made, sample.name if sample == pathlib.Path(root) else sample.relative_to(root)
        rows.append({"name": str(name), **row(sample)})
        new += store.made > before
        if store.made > before and new % 100 == 0:
            say(f"{count} clips, {new} of them encoded now")
    say(f"{len(rows)} clips in {folder}: {new} encoded, the others were there")
    made = {"codec": video.name, "text": text.name, "frames": frames, "size": list(size), "dtype": dtype}
    index = {"schema": SCHEMA, "model": pipe.name, "made": made, "clips": rows}
    path = pathlib.Path(folder) / INDEX
    writing.json(path, index, indent=1)
    return path


class Cached:
    """Random access to encoded clips: `cached[i]` is a row of the training batch, float32.

    A row has `latent` (t, h, w, c), `text` (text_len, d), padded with zero rows as Wan's pipelines do, and `image`
    (t, h, w, c'), the condition's channels, of which there may be none.

    Args:
        folder: holds `clips.json`.
        text_len: rows of text.

    Raises:
        FileNotFoundError: no index, or an array that it lists is missing. ValueError: a malformed index, longer text.
    """

    def __init__(self, folder: str | os.PathLike, *, text_len: int):
        self.folder, self.text_len = pathlib.Path(folder), text_len
        path = self.folder / INDEX
        if not path.is_file():
            raise FileNotFoundError(f"{path}: missing, encode clips first (vrjax encode)")
        index = tensors.read_json(path)
        try:
            self.rows = [
                {k: str(row[k]) for k in ("name", "latents", "text", "images") if k in row} for row in index["clips"]
            ]
            self.made, schema = dict(index["made"]), index["schema"]
            wrong = [row for row in self.rows if not {"name", "latents", "text"} <= set(row)]
        except (KeyError, TypeError, AttributeError):
            raise ValueError(f"{path}: not an index of encoded clips") from None
        if schema != SCHEMA or wrong or not self.rows:
            raise ValueError(
                f"{path}: format {schema!r} with {len(self.rows)} clips, expected format {SCHEMA} and clips"
            )
        self._store = Store(self.folder)
        for row in self.rows:
            for kind in ("latents", "text", "images"):
                if kind in row and not self._store.has(kind, row[kind]):
                    raise FileNotFoundError(f"{self._store.path(kind, row[kind])}: missing, {path} lists it")
        self.digest = key(rows=self.rows, text_len=text_len)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        row = self.rows[index]
        read = lambda kind: self._store.read(kind, ARRAY, row[kind])
        latent, text = read("latents"), read("text")
        if len(text) > self.text_len:
            raise ValueError(f"{self.folder}: {row['name']} has {len(text)} rows of text, the model {self.text_len}")
        padded = np.zeros((self.text_len, text.shape[-1]), np.float32)
        padded[: len(text)] = text
        image = read("images") if "images" in row else latent[..., :0]
        return {"latent": latent, "text": padded, "image": image}
