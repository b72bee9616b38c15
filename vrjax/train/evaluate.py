"""Solved-rates: sample a video for each held-out clip and let the world's exact verifier judge it."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from vrjax import parallel, tasks
from vrjax.flow import Record, grids
from vrjax.models import family
from vrjax.models.embedded.conditions import blocks, clip_noise, example
from vrjax.models.pipeline import denoise
from vrjax.report import statistics
from vrjax.train.config import TrainConfig
from vrjax.train.state import Network


class Evaluator:
    """Samples videos of clips with one compiled program per clip shape.

    Args:
        build: weights (any pytree) -> network, pure.
        config: of that model; its family says what the network is given of a clip.
        factor: of the block codec.
        steps, shift: the sampling grid; Euler.
        group: clips per call of the compiled program.
        seed: of the initial noise.
        layout: where the model lives, if on a mesh: clips are then divided over it, and results come to every process.
        edits: of the network's sites; inside them the axis "seed" is the seeds of one clip.
    """

    def __init__(
        self,
        build: Callable[[Any], Any],
        config: Any,
        *,
        factor: int = 4,
        steps: int = 20,
        shift: float = 3.0,
        group: int = 16,
        seed: int = 0,
        layout: parallel.Layout | None = None,
        edits: Mapping[str, Callable] = denoise.NONE,
    ):
        self._config, self._factor, self._group, self._seed = config, factor, group, seed
        self._decode = blocks(factor).decode
        self._clips: dict[tuple[str, str, int], list[tasks.Clip]] = {}
        recipe = denoise.Recipe(grids.shifted(steps, shift=shift), "euler", (1.0,))
        seeds = denoise.run(recipe, record=Record(steps=(), fields=()), edits=edits)

        def run(weights, noise, given):
            dit = build(weights)
            one = lambda x, given: seeds((dit,), denoise.Inputs(given), x, jnp.arange(len(x))).final
            return parallel.batch(layout, one)(noise, given)

        whole = None if layout is None else NamedSharding(layout.mesh, PartitionSpec())
        self._run = jax.jit(run, out_shardings=whole)

    def videos(self, weights: Any, clips: Sequence[tasks.Clip], seeds: Sequence[int] | None = None) -> list[np.ndarray]:
        """One sampled video (t, h, w, 3) per clip, in order; of several `seeds`, they are a leading axis.

        Clips of different sizes may be mixed.
        """
        out: list[Any] = [None] * len(clips)
        shapes: dict[tuple[int, ...], list[int]] = {}
        for i, clip in enumerate(clips):
            shapes.setdefault(clip.video.shape, []).append(i)
        for shape, places in shapes.items():
            t, h, w, c = shape
            latent = (t, h // self._factor, w // self._factor, c)
            wanted = family.of(self._config).conditions(self._config, latent)
            words, wide = wanted.get("text", (1, 1))
            for start in range(0, len(places), self._group):
                part = places[start : start + self._group]
                full = part + [part[-1]] * (self._group - len(part))  # filled up: one program per shape
                rows = [example(clips[i], codec_factor=self._factor, text_len=words, text_dim=wide) for i in full]
                numbers = (self._seed,) if seeds is None else seeds
                noise = np.stack([[clip_noise(clips[i], latent, seed) for seed in numbers] for i in full])
                given = {name: np.stack([row[name] for row in rows]) for name in rows[0] if name in wanted}
                final = np.asarray(self._decode(np.asarray(self._run(weights, noise, given))))
                for i, video in zip(part, final, strict=False):
                    out[i] = video[0] if seeds is None else video
        return out

    def rates(
        self, weights: Any, worlds: Sequence[str], split: str, clips: int, seed: int | None = None
    ) -> dict[str, dict[str, float]]:
        """Solved-rate of each world: `{"solved", "low", "high", "score", "n"}` with Wilson's 95 % interval.

        `score` is the mean of `world.score`, which also judges the frames before the last. A video with values that are
        not finite counts as unsolved. `seed` is of the initial noise, by default the evaluator's.
        """
        noise = (self._seed if seed is None else seed,)
        out = {}
        for name in worlds:
            world, here = tasks.get(name), (name, split, clips)
            if here not in self._clips:
                self._clips[here] = [world.make(i, split=split) for i in range(clips)]
            chosen = self._clips[here]
            pairs = list(zip(chosen, (video[0] for video in self.videos(weights, chosen, noise)), strict=True))
            finite = [(c, v) for c, v in pairs if np.isfinite(v).all()]
            solved = sum(world.solved(c, v) for c, v in finite)
            score = math.fsum(world.score(c, v) for c, v in finite) / clips
            rate = statistics.wilson(solved, clips)
            low, high = rate.interval
            out[name] = {"solved": solved / clips, "low": low, "high": high, "score": score, "n": clips}
        return out


def solved_rates(config: TrainConfig, network: Network) -> Callable[[Any, int], dict[str, dict[str, float]]]:
    """`((weights, base), clips) -> {world: rate}`: the config's validation, by sampling."""
    check = config.validate
    evaluator = Evaluator(
        lambda weights: network.build(weights[0], weights[1], network.sampler()),
        config.model,
        factor=config.data.codec_factor,
        steps=check.steps,
        shift=check.shift,
        group=check.group,
        seed=config.seed,
        layout=network.layout,
    )
    return lambda weights, clips: evaluator.rates(weights, sorted(config.data.mix), check.split, clips)
