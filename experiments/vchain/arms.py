"""The programs of the study: tuning, sampling, conditioned sampling, each over all scenes and noises at once."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from experiments.vchain import looks
from experiments.vchain.base import TEXT, places
from experiments.vchain.config import VChain
from vrjax.flow import Level, Prediction, Record, Velocity, grids, sample
from vrjax.reasoning.thoughts import adapt, pictures
from vrjax.reasoning.thoughts.keyframes import VisualThoughts
from vrjax.study.tables import Bench
from vrjax.tasks.chains import rules, sprites, words


def noises(study: VChain, seeds: Sequence[int], count: int) -> Float[np.ndarray, "scenes count t 1 cells channels"]:
    """Initial noises of scenes: they follow from the scene's number and the noise's, so all arms share them."""
    shape = (study.frames, 1, study.cells, looks.CHANNELS)
    root = jax.random.key(study.seed)

    def one(scene: Any, number: Any) -> jax.Array:
        return jax.random.normal(jax.random.fold_in(jax.random.fold_in(root, scene), number), shape)

    many = jax.vmap(lambda s: jax.vmap(lambda m: one(s, m))(jnp.arange(count)))
    return np.asarray(jax.jit(many)(jnp.asarray(seeds)))


def encode(text: str) -> np.ndarray:
    """A video's text, padded as in training."""
    return words.encode(text, TEXT)


def tuning_set(chains: Sequence[VisualThoughts], cells: int) -> adapt.TuningSet:
    """All chains; a keyframe's text has one row per element, as images had in training."""
    size = (sprites.SIDE, cells * sprites.SIDE)
    data = adapt.tuning_set(chains, looks.encode, lambda text: words.encode(text, cells), size=size)
    missing = words.ORDERS - data.latents.shape[1]  # one shape whatever the chains: one compiled program
    if missing > 0:
        fill = lambda a: np.pad(a, ((0, 0), (0, missing), *((0, 0),) * (a.ndim - 2)))
        data = data._replace(latents=fill(data.latents), texts=fill(data.texts))
    return data


class Programs:
    """Tuning and sampling, each compiled once and used for every base and arm.

    Args:
        study: sizes.
        bench: runs them, a group of scenes at a time.
    """

    def __init__(self, study: VChain, bench: Bench):
        self.study, self.bench = study, bench

    def tune(
        self, dit: Any, data: adapt.TuningSet, seeds: Sequence[int], keep: tuple[int, ...] = (), **changed: Any
    ) -> Any:
        """Adapters of all scenes, each from fresh ones: (scenes, ...), or with `keep` (scenes, kept, ...).

        Args:
            changed: options of `adapt.adapt` other than the study's.
        """
        study = self.study
        options: dict[str, Any] = {"steps": study.tuning, "rank": study.rank, "lr": study.lr, "batch": study.batch}
        options |= {"mean": study.logit_mean, "image": places(1, study.cells), "keep": keep} | changed

        def one(dit: Any, row: Any) -> adapt.Adapted:
            return adapt.adapt(dit, row["latents"], row["texts"], row["key"], count=row["count"], **options)

        root = jax.random.fold_in(jax.random.key(study.seed), 99)
        keys = jax.vmap(lambda s: jax.random.fold_in(root, s))(jnp.asarray(seeds))
        tuned = self.bench.over(one, dit, data._asdict() | {"key": keys}, "adapters of scenes")
        return tuned.kept if keep else tuned.adapter

    def sample(self, dit: Any, texts: Any, noise: Any, **more: Any) -> np.ndarray:
        """Videos (scenes, noises, t, h, w, 3) of the base.

        Args:
            **more: `adapter`, each scene's own; `known` (scenes, t, h, w, 3) and `mask` (scenes, t), frames that are
                given.
        """
        grid = grids.shifted(self.study.steps, shift=self.study.shift)
        condition = places(self.study.frames, self.study.cells)
        if "known" in more:
            more["known"] = looks.encode(more["known"])

        def one(dit: Any, row: Any) -> Any:
            velocity = dit.velocity(row["text"], condition)
            if "adapter" in row:
                velocity = adapt.velocity(dit, row["adapter"], row["text"], image=condition)
            if "mask" in row:
                velocity = pinned(velocity, row["known"], row["mask"])
            return jax.vmap(lambda x: sample(velocity, x, grid, record=Record(steps=())).final)(row["noise"])

        return looks.expand(self.bench.over(one, dit, {"text": texts, "noise": noise, **more}, "videos of scenes"))


def pinned(velocity: Velocity, known: Any, mask: Any) -> Velocity:
    """Keyframe-conditioned sampling: frames of `mask` move straight to `known`, a latent (t, h, w, c).

    The network sees them at the level of the others, `(1 - sigma) known + sigma noise`, as it saw all frames in
    training.
    """

    def of(x: Any, level: Level) -> Prediction:
        v = velocity(x, level)
        v = v.v if isinstance(v, Prediction) else v
        towards = (x - known) / jnp.where(level.sigma > 0, level.sigma, 1.0)
        return Prediction(jnp.where(mask[:, None, None, None], towards, v), {})

    return of


def interpolated(chain: VisualThoughts, frames: int, how: str) -> Float[np.ndarray, "t h w 3"]:
    """Keyframes placed evenly over the video ("w/o sparse tuning"; VChain gives no times), "linear" or "nearest"."""
    stills = np.stack([pictures.to_float(frame) for frame in chain.frames])
    at = np.linspace(0, len(stills) - 1, frames)
    if how == "nearest":
        return stills[np.rint(at).astype(int)]
    if how != "linear":
        raise ValueError(f"interpolated: unknown way {how!r}, expected 'linear' or 'nearest'")
    low = np.minimum(np.floor(at).astype(int), max(len(stills) - 2, 0))
    share = (at - low)[:, None, None, None].astype(np.float32)
    return (1 - share) * stills[low] + share * stills[np.minimum(low + 1, len(stills) - 1)]


def matching(videos: Float[np.ndarray, "k t h w 3"], chain: VisualThoughts) -> int:
    """Which of k videos shows the keyframes best: the least squared distance over all placements of the keyframes on
    frames in order, the first on frame 0. It is given what VChain is given, and no times."""
    stills = np.stack([pictures.to_float(frame) for frame in chain.frames])
    far = np.square(videos[:, :, None] - stills[None, None]).mean((-3, -2, -1))  # k, t, keyframes
    best = np.full(far.shape[:2], np.inf)
    best[:, 0] = far[:, 0, 0]
    for number in range(1, len(stills)):
        before = np.minimum.accumulate(best, 1)
        best = np.full_like(best, np.inf)
        best[:, 1:] = before[:, :-1] + far[:, 1:, number]
    return int(best.min(1).argmin())


def strangers(novel: Sequence[frozenset[str]]) -> Int[np.ndarray, " scenes"]:
    """For each scene the next other one with none of its changed novel kinds: whose keyframes are the placebo.

    Raises:
        ValueError: a scene has no such other.
    """
    n, out = len(novel), []
    for i in range(n):
        others = [j % n for j in range(i + 1, i + n) if not novel[i] & novel[j % n]]
        if not others:
            raise ValueError(f"placebo: scene {i} shares a novel kind with every other of {n} scenes; take more scenes")
        out.append(others[0])
    return np.array(out)


def changed_kinds(kinds: Sequence[str], frames: int) -> frozenset[str]:
    """The novel kinds that change in a scene."""
    film = rules.unfold(kinds, frames)
    return frozenset(rules.KIND[s] for s in film[rules.novel(film)])
