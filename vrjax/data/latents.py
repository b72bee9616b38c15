"""Clips of a VBVR folder as a video model's own latents, text rows and conditions: made once, read by training.

    latents.encode(pipe, "VBVR/questions", "cache", frames=81, size=(384, 384))
    rows = latents.Cached("cache", text_len=512)       # rows[i]: latent, text, image; `pipeline(rows, batch=...)`

A folder holds `clips.json` (clips and the keys of their arrays), `latents/`, `images/` and `text/` with one safetensors
file per key. A key is the SHA-256 of everything the array depends on: the bytes of the sample's files, the
preprocessing, and a fingerprint of the weights that encoded it. Nothing stale can be read, equal prompts share a file,
and an encoding that was killed goes on where it stopped.
"""

import hashlib
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import grain
import jax.numpy as jnp
import numpy as np

from vrjax.files import pixels, tensors, writing
from vrjax.files.content import fingerprint, key
from vrjax.files.store import DTYPES, Store

SCHEMA = 1
INDEX = "clips.json"
_ARRAY = "array"  # its name in every file
_ENDLESS = 2**53
_FILES = ("first_frame.png", "ground_truth.mp4")  # of a sample, on which its latents depend


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
    import jax

    from vrjax.data import vbvr
    from vrjax.models.wan import conditions

    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r}: expected one of {', '.join(DTYPES)}")
    shape = pipe.latent_shape(pipe.settings(frames=frames, size=size))  # refuses what the model cannot take
    folder = pathlib.Path(folder)
    takes = pipe.folder.kind != "t2v"
    if pipe.folder.kind not in ("t2v", "i2v") or pipe.folder.cfg.image_dim is not None:
        raise ValueError(
            f"{pipe.name}: only text-to-video and two-expert image-to-video models are trained from a cache"
        )
    made = {
        "vae": fingerprint(pipe.folder.part("vae")),
        "text": fingerprint(pipe.folder.part("text_encoder")),
        "frames": frames,
        "size": list(size),
        "dtype": dtype,
        "layout": pipe.folder.layout,  # which says how pictures are scaled
    }
    run = jax.jit(lambda vae, video, chunk: vae.encode(video, chunk=chunk), static_argnums=2)
    rows, new = [], 0
    store = Store(folder, dtype=dtype)
    for count, sample in enumerate(vbvr.samples(root)):
        if limit is not None and count >= limit:
            break
        if not (sample / "ground_truth.mp4").is_file():
            raise FileNotFoundError(f"{sample / 'ground_truth.mp4'}: missing, training needs the video")
        files = {name: fingerprint(sample / name) for name in _FILES}
        prompt = (sample / "prompt.txt").read_text("utf-8").strip()
        common = {name: made[name] for name in ("vae", "frames", "size", "dtype", "layout")}
        at = {
            "latents": key(kind="latent", video=files["ground_truth.mp4"], **common),
            "text": key(kind="text", prompt=prompt, encoder=made["text"], dtype=dtype, rows=pipe.dtype),
        }
        if takes:
            at["images"] = key(kind="image", first=files["first_frame.png"], **common)
        if not all(store.has(kind, name) for kind, name in at.items()):
            (clip,) = vbvr.read(sample, max_frames=frames, size=size)
            video = np.asarray(clip.video)
            video = np.concatenate([video, np.repeat(video[-1:], frames - len(video), axis=0)])
            chunk = conditions.chunk_of(shape)
            if not store.has("latents", at["latents"]):
                store.put("latents", _ARRAY, at["latents"], np.asarray(run(pipe.vae, jnp.asarray(video), chunk)))
            if takes and not store.has("images", at["images"]):
                picture = pixels.to_uint8(next(vbvr.read(sample, max_frames=1)).first_frame)
                given = pipe.conditions(picture, frames=frames, size=size)
                store.put("images", _ARRAY, at["images"], np.asarray(given.image.channels))
            if not store.has("text", at["text"]):
                embedded = pipe.text([prompt])[0]
                used = np.flatnonzero(np.abs(embedded).max(-1))  # the rest is padding, and is put back when read
                store.put("text", _ARRAY, at["text"], embedded[: used[-1] + 1 if len(used) else 1])
            new += 1
            if new % 100 == 0:
                say(f"{count + 1} clips, {new} of them encoded now")
        rows.append({"name": str(sample.relative_to(root) if sample != pathlib.Path(root) else sample.name), **at})
    say(f"{len(rows)} clips in {folder}: {new} encoded, the others were there")
    index = {"schema": SCHEMA, "model": pipe.name, "made": made, "clips": rows}
    writing.json(folder / INDEX, index, indent=1)
    return folder / INDEX


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
        read = lambda kind: self._store.read(kind, _ARRAY, row[kind])
        latent, text = read("latents"), read("text")
        if len(text) > self.text_len:
            raise ValueError(f"{self.folder}: {row['name']} has {len(text)} rows of text, the model {self.text_len}")
        padded = np.zeros((self.text_len, text.shape[-1]), np.float32)
        padded[: len(text)] = text
        image = read("images") if "images" in row else latent[..., :0]
        return {"latent": latent, "text": padded, "image": image}


def pipeline(
    clips: Any, *, batch: int, seed: int, rows: Sequence[int] | None = None, prefetch: int = 2
) -> grain.DatasetIterator:
    """An endless iterator of batches; every clip once per epoch, in an order that changes with the epoch.

    Args:
        clips: random access to rows, such as `Cached`.
        batch: clips in a batch over all processes.
        seed: of the order.
        rows: which rows of each batch this process makes (`vrjax.parallel.processes.local_rows`); by default all.
        prefetch: batches made ahead of time.

    Returns:
        A Grain iterator of dicts of stacked rows, with `get_state` (JSON-able) and `set_state`.

    Raises:
        ValueError: rows that a batch does not have, or no clips; from `next`, clips of different shapes.
    """
    chosen = tuple(range(batch)) if rows is None else tuple(rows)
    if not chosen or not set(chosen) <= set(range(batch)):
        raise ValueError(f"rows={chosen}: expected some of the {batch} rows of a batch")
    if not len(clips):
        raise ValueError("no clips")
    dataset = grain.MapDataset.source(_Rows(clips, seed, batch, chosen)).batch(len(chosen), batch_fn=_stack)
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=max(1, prefetch))))


class _Rows:
    """The rows of each batch that belong to one process, as a source."""

    def __init__(self, clips: Any, seed: int, batch: int, rows: tuple[int, ...]):
        self.clips, self.seed, self.batch, self.rows = clips, seed, batch, rows

    def __len__(self) -> int:
        return _ENDLESS // self.batch * len(self.rows)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        step, row = divmod(int(index), len(self.rows))
        epoch, place = divmod(step * self.batch + self.rows[row], len(self.clips))
        return self.clips[self.order(epoch, place)]

    def order(self, epoch: int, place: int) -> int:
        """Which clip stands at a place of an epoch."""
        if len(self.clips) == 1:
            return 0
        digest = hashlib.blake2b(repr((self.seed, "clips", epoch)).encode(), digest_size=4).digest()
        seed = int.from_bytes(digest, "little")
        return grain.experimental.index_shuffle(place, max_index=len(self.clips) - 1, seed=seed, rounds=4)

    def __repr__(self) -> str:
        return f"clips({len(self.clips)})"


def _stack(rows: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    for name in rows[0]:
        shapes = sorted({row[name].shape for row in rows})
        if len(shapes) > 1:
            raise ValueError(f"clips of one batch must have one shape of {name}, found {shapes}; encode them alike")
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
