"""Training batches from procedural worlds: one deterministic stream of clips behind a Grain iterator.

The stream is a pure function: clip number i depends on the arguments of `pipeline` and on i, on nothing that happened
before.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vrjax import tasks
from vrjax.data import batches
from vrjax.models.embedded import conditions


def pipeline(
    mix: Mapping[str, float],
    *,
    batch: int,
    seed: int,
    split: str = "train",
    codec_factor: int = 4,
    text_len: int = 16,
    text_dim: int = 32,
    rows: Sequence[int] | None = None,
    clips: int | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    extras: bool = False,
    prefetch: int = 4,
) -> Any:
    """An endless iterator of batches of a mixture of worlds.

    Args:
        mix: world name -> weight, 0 leaves a world out. Worlds are spread evenly: among any n clips in a row (of one
            host, too) a world's share is its weight up to O(log n) clips.
        batch: clips in a batch *over all processes*.
        seed: chooses which clips of the split are seen, and in what order.
        split: split of every world (see `tasks`).
        codec_factor: side of the pixel blocks whose mean is a latent (as `models.conditions.blocks`).
        text_len, text_dim: shape of the hashed word embeddings (as `models.conditions.text`).
        rows: which rows of each batch this process makes, see `batches.pipeline`.
        clips: None: every clip is new, for ever. A number: only that many different clips, all of them once per epoch,
            in an order that changes from epoch to epoch; they are kept in memory (about 1 byte per latent) once made.
        options: world name -> options of `tasks.get`.
        extras: adds "world" (array of names) and "clip" (list of `tasks.Clip`) to each batch, for evaluation.
        prefetch: batches made ahead of time by a background thread.

    Returns:
        A Grain iterator. `next(it)` is a dict of float32 arrays: "latent" (b, t, h, w, 3), the clip; "image"
        (b, t, h, w, 4), the first-frame condition, mask first; "text" (b, text_len, text_dim).

    Raises:
        ValueError: unknown world, option or split, weights that are negative or not finite, worlds of different
            geometry, sizes that do not divide; and, from `next`, a clip with values that are not finite or a wrong
            shape (the message names world, split and seed of the clip).
    """
    stream = Stream(mix, split, seed, codec_factor, text_len, text_dim, clips, options or {})
    stack = functools.partial(_stack, extras=extras)
    return batches.pipeline(stream, batch=batch, rows=rows, prefetch=prefetch, stack=stack)


class Stream:
    """Random access to the stream of clips: `stream[i]` is the i-th, whoever asks and in whatever order."""

    def __init__(
        self,
        mix: Mapping[str, float],
        split: str,
        seed: int,
        codec_factor: int,
        text_len: int,
        text_dim: int,
        clips: int | None,
        options: Mapping[str, Mapping[str, Any]],
    ):
        if not any(mix.values()) or any(not (math.isfinite(w) and w >= 0) for w in mix.values()):
            raise ValueError(f"mix={dict(mix)}: expected world names with finite weights >= 0, not all of them 0")
        if clips is not None and clips < 1:
            raise ValueError(f"clips={clips}: expected a positive number or None")
        stray = sorted(set(options) - set(mix))
        if stray:
            raise ValueError(f"options: for {stray}, which are not in the mix {list(mix)}")
        for name in mix:
            tasks.get(name)  # a misspelt name is an error even with weight 0
        self.names = tuple(sorted(n for n in mix if mix[n]))  # the order in which a dict was written does not matter
        self.worlds = tuple(tasks.get(name, **options.get(name, {})) for name in self.names)
        self.edges = np.cumsum([mix[name] for name in self.names]) / math.fsum(mix.values())
        self.split, self.seed, self.factor = split, seed, codec_factor
        self.text_shape, self.clips = (text_len, text_dim), clips
        self._made: dict[int, tuple[np.ndarray, np.ndarray, str]] = {}
        self._offset = batches.digest(seed, "mix")
        shapes = {w.name: conditions.encode(w.make(0, split), codec_factor).shape for w in self.worlds}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"worlds of one mix share a batch, but their latents (t, h, w, c) differ: {shapes}")
        self.shape = shapes[self.names[0]]

    def item(self, i: int) -> int:
        """Which of the different clips stands at place i: i itself, or its place in the epoch's permutation."""
        if self.clips is None:
            return i
        return batches.place(i, self.clips, lambda epoch: batches.digest(self.seed, "epoch", epoch) % 2**32)

    def world(self, item: int) -> int:
        """Index of the world that makes clip `item`: a golden-ratio sequence, spread evenly at every scale.

        Unlike a round robin it stays even when a host reads every n-th clip only; unlike a draw it has no clumps.
        """
        u = (item * 0x9E3779B97F4A7C15 + self._offset) % 2**64 / 2**64
        return min(int(np.searchsorted(self.edges, u, side="right")), len(self.worlds) - 1)

    def clip(self, i: int) -> tasks.Clip:
        """The clip at place i."""
        return self._clip(self.item(i))

    def _clip(self, item: int) -> tasks.Clip:
        return self.worlds[self.world(item)].make(batches.digest(self.seed, "clip", item) >> 1, self.split)

    def __getitem__(self, i: int) -> dict[str, Any]:
        item = self.item(i)
        world = self.names[self.world(item)]
        if item in self._made:
            colours, index, prompt = self._made[item]
            latent = colours[index]
        else:
            clip = self._clip(item)
            latent, prompt = self._checked(clip), clip.prompt
            if self.clips is not None:
                colours, index = np.unique(latent.reshape(-1, latent.shape[-1]), axis=0, return_inverse=True)
                kind = np.uint8 if len(colours) <= 256 else np.uint16 if len(colours) <= 65536 else np.uint32
                self._made[item] = colours, index.reshape(latent.shape[:-1]).astype(kind), prompt
        image, text = conditions.first_frame(latent[0], len(latent)), conditions.text(prompt, *self.text_shape)
        row = {"latent": latent, "image": image, "text": text, "world": world}
        return row | {"clip": functools.partial(self._clip, item)}  # made only for those who ask for extras

    def _checked(self, clip: tasks.Clip) -> np.ndarray:
        latent = conditions.encode(clip, self.factor)
        if latent.shape != self.shape:
            raise ValueError(f"{conditions.name(clip)}: latent has shape {latent.shape}, expected {self.shape}")
        return latent

    def __repr__(self) -> str:
        return f"worlds({', '.join(self.names)})"


def _stack(rows: Sequence[dict[str, Any]], *, extras: bool) -> dict[str, Any]:
    out: dict[str, Any] = batches.stack([{name: row[name] for name in ("latent", "image", "text")} for row in rows])
    if extras:
        out["world"] = np.array([row["world"] for row in rows])
        out["clip"] = [row["clip"]() for row in rows]
    return out
