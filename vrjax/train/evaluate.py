"""Solved-rates: sample a video for each held-out clip and let the world's exact verifier judge it."""

import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from vrjax import parallel, tasks
from vrjax.data import worlds as data
from vrjax.flow import Record, euler, grids, sample
from vrjax.models import wan
from vrjax.models.embedded import codec
from vrjax.report import statistics


def clip_noise(clip: tasks.Clip, shape: Sequence[int], seed: int) -> np.ndarray:
    """Initial noise of a clip: it depends on the clip and the seed only, so two models are compared on equal noise."""
    name = f"{clip.meta['world']}/{clip.meta['split']}/{clip.meta['seed']}"
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
    return np.asarray(jax.random.normal(key, tuple(shape), jnp.float32))


class Evaluator:
    """Samples videos of clips with one compiled program per clip shape.

    Args:
      build: weights (any pytree) -> `WanDiT`, pure.
      config: of that model; says how prompts are embedded.
      factor: of the block codec.
      steps, shift: the sampling grid; Euler.
      group: clips per call of the compiled program.
      seed: of the initial noise.
      layout: where the model lives, if on a mesh: clips are then divided over it, and results come to every process.
    """

    def __init__(
        self,
        build: Callable[[Any], wan.WanDiT],
        config: wan.WanConfig,
        *,
        factor: int = 4,
        steps: int = 20,
        shift: float = 3.0,
        group: int = 16,
        seed: int = 0,
        layout: parallel.Layout | None = None,
    ):
        self._config, self._factor, self._group, self._seed = config, factor, group, seed
        self._decode = codec.blocks(factor).decode
        grid = grids.shifted(steps, shift=shift)
        self._clips: dict[tuple[str, str, int], list[tasks.Clip]] = {}

        def run(weights, noise, image, text):
            dit = build(weights)
            one = lambda x, i, t: (
                sample(dit.velocity(t, image=i), x, grid, solver=euler(), record=Record(steps=(), fields=())).final
            )
            return parallel.batch(layout, one)(noise, image, text)

        whole = None if layout is None else NamedSharding(layout.mesh, PartitionSpec())
        self._run = jax.jit(run, out_shardings=whole)

    def videos(self, weights: Any, clips: Sequence[tasks.Clip]) -> list[np.ndarray]:
        """One sampled video (t, h, w, 3) per clip, in order. Clips of different sizes may be mixed."""
        out: list[Any] = [None] * len(clips)
        shapes: dict[tuple[int, ...], list[int]] = {}
        for i, clip in enumerate(clips):
            shapes.setdefault(clip.video.shape, []).append(i)
        for shape, places in shapes.items():
            t, h, w, c = shape
            latent = (t, h // self._factor, w // self._factor, c)
            for start in range(0, len(places), self._group):
                part = places[start : start + self._group]
                full = part + [part[-1]] * (self._group - len(part))  # filled up: one program per shape
                given = [self._given(clips[i]) for i in full]
                noise = np.stack([clip_noise(clips[i], latent, self._seed) for i in full])
                image, text = (np.stack([g[name] for g in given]) for name in ("image", "text"))
                final = np.asarray(self._decode(np.asarray(self._run(weights, noise, image, text))))
                for i, video in zip(part, final, strict=False):
                    out[i] = video
        return out

    def _given(self, clip: tasks.Clip) -> dict[str, np.ndarray]:
        cfg = self._config
        return data.example(clip, codec_factor=self._factor, text_len=cfg.text_len, text_dim=cfg.text_dim)

    def rates(self, weights: Any, worlds: Sequence[str], split: str, clips: int) -> dict[str, dict[str, float]]:
        """Solved-rate of each world: `{"solved", "low", "high", "score", "n"}` with Wilson's 95 % interval.

        `score` is the mean of `world.score`, which also judges the frames before the last. A video with values that are
        not finite counts as unsolved.
        """
        out = {}
        for name in worlds:
            world, here = tasks.get(name), (name, split, clips)
            if here not in self._clips:
                self._clips[here] = [world.make(i, split=split) for i in range(clips)]
            chosen = self._clips[here]
            pairs = list(zip(chosen, self.videos(weights, chosen), strict=True))
            finite = [(c, v) for c, v in pairs if np.isfinite(v).all()]
            solved = sum(world.solved(c, v) for c, v in finite)
            score = math.fsum(world.score(c, v) for c, v in finite) / clips
            rate = statistics.wilson(solved, clips)
            low, high = rate.interval
            out[name] = {"solved": solved / clips, "low": low, "high": high, "score": score, "n": clips}
        return out
