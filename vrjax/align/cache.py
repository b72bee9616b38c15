"""Encoded pairs on disk, addressed by content: what preference training reads.

    <folder>/
      pairs.json                          the pairs: names, captions, keys of their arrays
      latents/<key>.safetensors           one clip each, key `latent` (t, h, w, c)
      text/<key>.safetensors              one caption each, key `text` (l, d)
      errors/<key>.safetensors            stored reference errors (`vrjax.align.stored`)

A key is the SHA-256 of everything the array depends on: the bytes of the video file, the preprocessing (frames, size,
crop), the codec's identity and the stored dtype; for a caption, its text, the encoder's identity and the dtype.
Changing any of them makes other files; nothing stale can be read. A run that was killed while encoding goes on where it
stopped.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from vrjax.align.pairs import Pair
from vrjax.align.preprocess import Preprocess
from vrjax.data.latents import Encoder as Encoder
from vrjax.files import tensors, writing
from vrjax.files.kept import fingerprint, key
from vrjax.files.store import Store
from vrjax.models.embedded.conditions import first_frame

SCHEMA = 1


class Cache(Store):
    """The arrays of one folder of pairs: a store that encodes what it does not have."""

    def latent(self, path: str | os.PathLike, preprocess: Preprocess, codec: Encoder) -> str:
        """The key of a video file's latent, which is encoded if it is not there yet."""
        parts = {"file": fingerprint(path), "preprocess": dataclasses.asdict(preprocess), "codec": codec.name}
        return self.keep("latents", "latent", parts, lambda: codec.encode(preprocess(path)), 4)

    def text(self, prompt: str, encoder: Encoder) -> str:
        """The key of a caption's embedding, which is computed if it is not there yet."""
        parts = {"prompt": prompt, "encoder": encoder.name}
        return self.keep("text", "text", parts, lambda: encoder.encode(prompt), 2)


def encode(
    pairs: Iterable[Pair],
    folder: str | os.PathLike,
    *,
    preprocess: Preprocess,
    codec: Encoder,
    text: Encoder,
    image: Encoder | None = None,
    dtype: str = "float32",
    say: Callable[[str], None] = print,
) -> pathlib.Path:
    """Encodes the files of pairs, winners and losers by the same function, and writes `pairs.json` last.

    Args:
        pairs: what `vrjax.align.pairs.read` returned.
        folder: of the cache.
        preprocess, codec: of winners and losers alike.
        text: of captions.
        image: the model's own image condition, winner's pixels -> (t', h', w', c''), where it is not the first-frame
            condition of the embedded models.
        dtype: arrays are stored in.
        say: receives one line at the end.

    Nothing is skipped: a file that cannot be read stops the run with its name; what was encoded before stays.
    """
    cache = Cache(folder, dtype=dtype)
    rows = []
    for pair in pairs:
        rows.append(
            {
                "name": pair.name,
                "prompt": pair.prompt,
                "latent": cache.latent(pair.win, preprocess, codec),
                "lose": [cache.latent(path, preprocess, codec) for path in pair.lose],
                "text": cache.text(pair.prompt, text),
                **({} if image is None else {"image": cache.latent(pair.win, preprocess, image)}),
            }
        )
    say(f"{len(rows)} pairs in {folder}: {cache.made} arrays encoded, the others were there")
    made = {"preprocess": dataclasses.asdict(preprocess), "codec": codec.name, "text": text.name}
    made |= {} if image is None else {"image": image.name}
    return write_index(folder, rows, dtype=dtype, made=made)


def write_index(
    folder: str | os.PathLike, rows: list[dict[str, Any]], *, dtype: str, made: dict[str, Any]
) -> pathlib.Path:
    """Writes `pairs.json`, whole or not at all.

    Raises:
        ValueError: no pairs, or pairs with different numbers of losers.
    """
    counts = {len(row["lose"]) for row in rows}
    if len(counts) != 1:
        raise ValueError(f"{folder}: pairs must all have the same number of losers, found {sorted(counts)}")
    path = pathlib.Path(folder) / "pairs.json"
    value = {"schema": SCHEMA, "dtype": dtype, "made": made, "pairs": rows}
    writing.json(path, value, indent=1)
    return path


class Encoded:
    """Random access to encoded pairs: `encoded[i]` is a row of the preference step's batch.

    A row has `latent`, `lose` (losers, ...), `text`, `image` (the stored one, or the first-frame condition of the
    winner if `condition`, or no channels), `pair` (its number), and `weight` where the index has one.

    Args:
        folder: holds `pairs.json`.
        losers: how many losers of each pair to take, the first ones.
        condition: whether to add `image`, mask channel and first frame (`embedded.conditions.first_frame`).

    Raises:
        FileNotFoundError: no index, or an array that it lists is missing. ValueError: a malformed index, too few
            losers.
    """

    def __init__(self, folder: str | os.PathLike, *, losers: int, condition: bool = True):
        path = pathlib.Path(folder) / "pairs.json"
        if not path.is_file():
            raise FileNotFoundError(f"{path}: missing, encode the pairs first")
        index = tensors.read_json(path)
        try:
            self.rows = [(str(r["name"]), r["latent"], list(r["lose"]), r["text"]) for r in index["pairs"]]
            self.prompts = [str(r["prompt"]) for r in index["pairs"]]
            self.weights = [r.get("weight") for r in index["pairs"]]
            self.images = [r.get("image") for r in index["pairs"]]
            self.made, schema = dict(index["made"]), index["schema"]
        except (KeyError, TypeError, AttributeError):
            raise ValueError(f"{path}: not an index of encoded pairs") from None
        if schema != SCHEMA:
            raise ValueError(f"{path}: format {schema!r}, this version reads {SCHEMA}")
        few = [name for name, _, lose, _ in self.rows if len(lose) < losers]
        if few or not self.rows:
            raise ValueError(f"{path}: {len(few)} of {len(self.rows)} pairs have fewer than {losers} losers")
        self.cache = Cache(folder, dtype=str(index.get("dtype", "float32")))
        self.losers, self.condition = losers, condition
        for (_, win, lose, text), image in zip(self.rows, self.images, strict=True):
            latents = [win, *lose[:losers], *([] if image is None else [image])]
            for kind, at in (*(("latents", k) for k in latents), ("text", text)):
                file = self.cache.path(kind, at)
                if not file.is_file():
                    raise FileNotFoundError(f"{file}: missing, {path} lists it")
        self.digest = key(rows=self.rows, losers=losers)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        name, win, lose, text = self.rows[index]
        latent = self.cache.read("latents", "latent", win)
        losers = [self.cache.read("latents", "latent", at) for at in lose[: self.losers]]
        wrong = [x.shape for x in losers if x.shape != latent.shape]
        if wrong:
            raise ValueError(f"pair {name}: a loser's latent is {wrong[0]}, the winner's {latent.shape}")
        row = {"latent": latent, "text": self.cache.read("text", "text", text), "pair": np.asarray(index, np.int32)}
        if self.losers:
            row["lose"] = np.stack(losers)
        row["image"] = self._image(index, latent)
        if self.weights[index] is not None:
            row["weight"] = np.asarray(self.weights[index], np.float32)
        return row

    def _image(self, index: int, latent: np.ndarray) -> np.ndarray:
        if self.images[index] is not None:
            return self.cache.read("latents", "latent", self.images[index])
        return first_frame(latent[0], len(latent)) if self.condition else np.zeros((*latent.shape[:-1], 0), np.float32)
