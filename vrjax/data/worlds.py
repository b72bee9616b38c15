"""Training batches from procedural worlds: one deterministic stream of clips behind a Grain iterator.

The stream is a pure function: clip number i depends on the arguments of `pipeline` and on i, on nothing that happened
before. Resuming, prefetching and splitting over hosts are therefore only arithmetic on i.
"""

import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import grain
import numpy as np

from vrjax import tasks
from vrjax.models.embedded import conditions

_ENDLESS = 2**53  # clips in a stream without end: no run gets there, and every reader of JSON can hold the number


def pipeline(
    mix: Mapping[str, float],
    *,
    batch: int,
    seed: int,
    split: str = "train",
    codec_factor: int = 4,
    text_len: int = 16,
    text_dim: int = 32,
    process_index: int = 0,
    process_count: int = 1,
    rows: Sequence[int] | None = None,
    clips: int | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    extras: bool = False,
    prefetch: int = 4,
    num_workers: int = 0,
) -> grain.DatasetIterator:
    """An endless iterator of batches of a mixture of worlds.

    Args:
        mix: world name -> weight, 0 leaves a world out. Worlds are spread evenly: among any n clips in a row (of one
            host, too) a world's share is its weight up to O(log n) clips.
        batch: clips in a batch *over all processes*; a process gets `batch / process_count` of them.
        seed: chooses which clips of the split are seen, and in what order.
        split: split of every world (see `tasks`).
        codec_factor: side of the pixel blocks whose mean is a latent (as `models.codec.blocks`).
        text_len, text_dim: shape of the hashed word embeddings (as `models.words.encode`).
        process_index, process_count: this host, of how many (`jax.process_index(), jax.process_count()`). Process p has
            rows `[p * batch / process_count, ...)` of each batch that a single process would have, which is the order
            `jax.make_array_from_process_local_data` wants; a run resumed on another number of hosts sees the same
            batches.
        rows: which rows of each batch this process makes, where that is not a plain division: processes may share rows
            (their devices divide each clip) or hold scattered ones. Replaces `process_index` and `process_count`.
        clips: None: every clip is new, for ever. A number: only that many different clips, all of them once per epoch,
            in an order that changes from epoch to epoch; they are kept in memory (about 1 byte per latent) once made.
        options: world name -> options of `tasks.get`.
        extras: adds "world" (array of names) and "clip" (list of `tasks.Clip`) to each batch, for evaluation.
        prefetch: batches made ahead of time by a background thread.
        num_workers: 0 makes the batches in this process (right almost always: a batch of 32 takes tens of milliseconds,
            while a step takes more). Above 0, Grain spawns that many processes, each of which imports everything anew:
            seconds to start; needs the usual `if __name__ == "__main__":` guard in scripts and `close()` at the end;
            absl's flags are marked as parsed, as Grain's workers read them; the state is then one of that many workers
            and restores only into as many. Batches are the same either way.

    Returns:
        A Grain iterator. `next(it)` is a dict of float32 arrays: "latent" (b, t, h, w, 3), the clip; "image"
        (b, t, h, w, 4), the first-frame condition, mask first; "text" (b, text_len, text_dim). `it.get_state()` is
        JSON-able and counts batches; `it.set_state(state)` continues right there, in any process.

    Raises:
        ValueError: unknown world, option or split, weights that are negative or not finite, worlds of different
            geometry, sizes that do not divide; and, from `next`, a clip with values that are not finite or a wrong
            shape (the message names world, split and seed of the clip).
    """
    if not 0 <= process_index < process_count:
        raise ValueError(f"process_index={process_index}: expected 0 to process_count - 1 = {process_count - 1}")
    if batch < 1 or batch % process_count:
        raise ValueError(f"batch={batch} is not a positive multiple of process_count={process_count}")
    local = batch // process_count
    chosen = tuple(range(process_index * local, (process_index + 1) * local)) if rows is None else tuple(rows)
    if not chosen or not set(chosen) <= set(range(batch)):
        raise ValueError(f"rows={chosen}: expected some of the {batch} rows of a batch")
    stream = Stream(mix, split, seed, codec_factor, text_len, text_dim, clips, options or {})
    source = grain.MapDataset.source(_Rows(stream, batch, chosen))
    dataset = source.batch(len(chosen), batch_fn=functools.partial(_stack, extras=extras))
    # One thread: rendering holds the GIL, more would only contend. Grain's default would keep 500 batches.
    dataset = dataset.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=max(1, prefetch)))
    if num_workers:
        from absl import flags

        if not flags.FLAGS.is_parsed():
            flags.FLAGS(["vrjax"], known_only=True)
        dataset = dataset.mp_prefetch(grain.MultiprocessingOptions(num_workers=num_workers))
    return iter(dataset)


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
        self._offset = _hash(seed, "mix")
        shapes = {w.name: conditions.encode(w.make(0, split), codec_factor).shape for w in self.worlds}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"worlds of one mix share a batch, but their latents (t, h, w, c) differ: {shapes}")
        self.shape = shapes[self.names[0]]

    def __len__(self) -> int:
        return _ENDLESS

    def item(self, i: int) -> int:
        """Which of the different clips stands at place i: i itself, or its place in the epoch's permutation."""
        if self.clips is None or self.clips == 1:
            return i if self.clips is None else 0
        epoch, place = divmod(i, self.clips)
        seed = _hash(self.seed, "epoch", epoch) % 2**32
        return grain.experimental.index_shuffle(place, max_index=self.clips - 1, seed=seed, rounds=4)

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
        return self.worlds[self.world(item)].make(_hash(self.seed, "clip", item) >> 1, self.split)

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

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_made": {}}  # a worker process starts with an empty memory


class _Rows:
    """The rows of each batch that belong to one process, as a source of their own."""

    def __init__(self, stream: Stream, batch: int, rows: tuple[int, ...]):
        self.stream, self.batch, self.rows = stream, batch, rows

    def __len__(self) -> int:
        return len(self.stream) // self.batch * len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        step, row = divmod(int(index), len(self.rows))
        return self.stream[step * self.batch + self.rows[row]]

    def __repr__(self) -> str:
        return f"worlds({', '.join(self.stream.names)})"


def _stack(rows: Sequence[dict[str, Any]], *, extras: bool) -> dict[str, Any]:
    out: dict[str, Any] = {name: np.stack([row[name] for row in rows]) for name in ("latent", "image", "text")}
    if extras:
        out["world"] = np.array([row["world"] for row in rows])
        out["clip"] = [row["clip"]() for row in rows]
    return out


def _hash(*parts: object) -> int:
    """64 bits that depend on all parts, the same on every machine and Python."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")
