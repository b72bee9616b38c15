"""Who is measured, and on what.

`Subject`: trained models, their controls, and the null model, all as velocities under the same instruments. `Suite`:
held-out clips of one task as arrays, and its verifier for whole arrays of estimates.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from vrjax import tasks
from vrjax.flow import Velocity
from vrjax.models import wan
from vrjax.models.embedded.conditions import clip_noise, example
from vrjax.reasoning.instruments import null
from vrjax.tasks.core import block_mean, nearest

FACTOR = tasks.BLOCK  # side of the codec's blocks: latents are block means, exact on the embedded worlds


def _network(dit: wan.WanDiT, row: Mapping[str, Any], taps: Mapping = {}, edits: Mapping = {}) -> Velocity:  # noqa: B006
    return dit.velocity(row["text"], row["image"], taps, edits)


def _oracle(weights: None, row: Mapping[str, Any], taps: Mapping = {}, edits: Mapping = {}) -> Velocity:  # noqa: B006
    return null.velocity(row["candidates"], row["prior"])


@dataclasses.dataclass(frozen=True)
class Subject:
    """Something that maps the conditions of an instance to a velocity.

    Attributes:
        name: unique in the run; names the files of its tables.
        weights: pytree handed to the compiled programs as an argument: a network (None for the null model).
        kind: "model", "null" or "control".
        velocity: `velocity(weights, row, taps={}, edits={})` -> velocity; `row` is one instance of a `Suite`.
    """

    name: str
    weights: Any
    kind: str = "model"
    velocity: Callable[..., Velocity] = _network

    @property
    def layers(self) -> int:
        """Blocks; 0 for the null model, which has no sites."""
        return self.weights.cfg.layers if self.weights is not None else 0


NULL = Subject("null", None, "null", _oracle)


def untrained(like: Subject, seed: int = 0) -> Subject:
    """The same architecture with fresh random weights, its output projection drawn too (else its velocity is zero)."""
    cfg = like.weights.cfg
    dit = wan.WanDiT(cfg, rngs=nnx.Rngs(seed))
    key = jax.random.key(seed)
    scale = (2.0 / (cfg.dim + cfg.patch_size * cfg.out_channels)) ** 0.5
    dit.head.kernel = nnx.Param(scale * jax.random.normal(key, dit.head.kernel[...].shape))
    return Subject("untrained", dit, "control")


@dataclasses.dataclass(frozen=True)
class Suite:
    """N clips of a task, as the models see them.

    Attributes:
        task: its verifier.
        clips: the N clips.
        rows: arrays with leading axis N: `image`, `text` (the conditions), `solution` [t, h, w, c] and `candidates`
            [K, t, h, w, c] as latents, `prior` [K], `mask` [K] (candidates that exist), `noise` [M, t, h, w, c]
            (initial states of M seeds), `key` (randomness of perturbations).
        films: palette indices [N, K, d, h, w] of the candidates' decisive frames (`task.decisive`).
    """

    task: tasks.Task
    clips: tuple[tasks.Clip, ...]
    rows: dict[str, Any]
    films: np.ndarray

    def answers(self, x0: np.ndarray) -> np.ndarray:
        """Which candidate each estimate shows in the frames that decide it (`task.decisive`).

        Args:
            x0: [N, ..., t, h, w, c], whole estimates as latents: some tasks are decided by more than the last frame.

        Returns:
            int [N, ...], a candidate's index, or -1 for an estimate that is none of them. Equals what `task.solved`
            reads: a latent is the mean of its block.

        Raises:
            ValueError: the estimates are not whole, or not of these clips.
        """
        whole, n = np.asarray(self.rows["solution"]).shape[1:], len(self.clips)
        if x0.shape[-4:] != whole or x0.shape[0] != n or x0.ndim < 5:
            raise ValueError(f"answers: expected whole estimates [{n}, ..., {whole}], found shape {x0.shape}")
        shown = np.asarray(x0[..., list(self.task.decisive), :, :, :], np.float32)
        rasters = nearest(shown, self.task.colours)
        flat = rasters.reshape(n, -1, *rasters.shape[-3:])
        same = (flat[:, :, None] == self.films[:, None]).all((-1, -2, -3))  # [N, ..., K]
        same &= np.asarray(self.rows["mask"])[:, None]
        found = np.where(same.any(-1), same.argmax(-1), -1)
        return found.reshape(rasters.shape[:-3])

    def only(self, index: Sequence[int]) -> "Suite":
        """The suite of some of its clips."""
        rows = {k: v[np.asarray(index)] for k, v in self.rows.items()}
        return Suite(self.task, tuple(self.clips[i] for i in index), rows, self.films[np.asarray(index)])

    def solved(self, answers: np.ndarray) -> np.ndarray:
        """Whether each answer [N, ...] is a right one (positive prior)."""
        prior = np.asarray(self.rows["prior"])
        flat = answers.reshape(len(self.clips), -1)
        right = np.take_along_axis(prior > 0, np.maximum(flat, 0), 1) & (flat >= 0)
        return right.reshape(answers.shape)


def suite(task: str, split: str, n: int, seeds: int, cfg: wan.WanConfig, first: int = 0, seed: int = 0) -> Suite:
    """The clips `first` ... `first + n - 1` of a split with `seeds` initial noises each.

    The noise of a clip depends on the clip and the seed number alone, so all subjects start from the same states.
    """
    here = tasks.get(task)
    clips = [here.make(first + i, split) for i in range(n)]
    films = np.stack([np.stack([block_mean(v) for v in here.candidates(c)]) for c in clips]).astype(np.float32)
    rows = {
        "candidates": films,
        "prior": np.stack([here.prior(c) for c in clips]).astype(np.float32),
        "mask": np.stack([[bool(label) for label in here.labels(c)] for c in clips]),
        "key": jax.random.split(jax.random.fold_in(jax.random.key(seed), 1), n),
    }
    decisive = nearest(films[:, :, list(here.decisive)], here.colours)
    given = [example(c, codec_factor=FACTOR, text_len=cfg.text_len, text_dim=cfg.text_dim) for c in clips]
    for name, what in (("image", "image"), ("text", "text"), ("solution", "latent")):
        rows[name] = np.stack([g[what] for g in given])
    shape = rows["solution"].shape[1:]
    rows["noise"] = np.stack([[clip_noise(c, shape, seed + m) for m in range(seeds)] for c in clips])
    return Suite(here, tuple(clips), rows, decisive)
