"""VChain's stages 2 and 3 (arXiv 2510.05094): tune adapters on a few keyframes, then sample with the whole story.

    data = tuning_set(chains, vae.encode, encode_text, size=(480, 832))     # each keyframe is a one-frame video
    one = lambda dit, row, key: adapt(dit, row.latents, row.texts, key, count=row.count, steps=200)
    tuned = jax.jit(jax.vmap(one, in_axes=(None, 0, 0)))(dit, data, jax.random.split(key, prompts))
    v = velocity(dit, jax.tree.map(lambda a: a[p], tuned.adapter), story)   # story: `VisualThoughts.story`, embedded
    flow.sample(v, x, grid)

Flow matching on single frames teaches the model what the states of this scene look like; the base is frozen, and every
prompt starts from fresh adapters, so nothing of one scene reaches another. Too few steps do nothing; too many teach the
model that videos stand still: `keep` gives the adapters along the way, for the trade-off in one run.

The paper's time runs from noise (0) to data (1); here sigma = 1 - t. The paper does not state its number of steps.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Key

from vrjax.flow import words
from vrjax.reasoning.thoughts import keyframes, pictures
from vrjax.reasoning.thoughts.keyframes import VisualThoughts
from vrjax.train import lora, objectives, update

# The matrices that the paper's trainer adapts: q, k, v, o of both attentions, ffn.0 and ffn.2 (not the image branch's).
TARGETS = (
    r"(^|\.)blocks\.(self_attn|cross_attn)\.(q|k|v|o)\.kernel$",
    r"(^|\.)blocks\.(ffn_in|ffn_out)\.kernel$",
)


class TuningSet(NamedTuple):
    """What the adapters of `prompts` prompts are tuned on; shorter chains are filled up with zeros.

    Attributes:
        latents: of the keyframes as videos of one frame.
        texts: of each keyframe's own caption, not of the story.
        count: keyframes of each prompt.
    """

    latents: Any  # (prompts, keyframes, 1, h, w, c) float32
    texts: Any  # (prompts, keyframes, l, d) float32
    count: Any  # (prompts,) int32

    __repr__ = words.line


class Adapted(NamedTuple):
    """The result of tuning.

    Attributes:
        adapter: as `vrjax.train.lora` has it.
        loss: of each step, before its update, (steps,).
        kept: adapters after the steps of `keep`, on a leading axis; empty without.
    """

    adapter: lora.Adapter
    loss: Any
    kept: Any

    __repr__ = words.line


def tuning_set(
    chains: Sequence[VisualThoughts],
    encode_video: Callable[[np.ndarray], Any],
    encode_text: Callable[[str], Any],
    *,
    size: tuple[int, int],
) -> TuningSet:
    """The chains of several prompts, encoded and stacked.

    Args:
        chains: one per prompt.
        encode_video: video (1, H, W, 3) float32 in [-1, 1] -> latent (1, h, w, c), for example `vae.encode`.
        encode_text: caption -> (l, d), equal l for all.
        size: (H, W) of the videos; keyframes of another size are scaled to cover it and cropped about the centre.

    Raises:
        ValueError: no chains, chains that are not whole, or encoders whose shapes differ or have another number of
            axes.
    """
    if not chains:
        raise ValueError("tuning_set: no chains")
    latents, texts = [], []
    for i, chain in enumerate(chains):
        keyframes.check(chain, f"chain {i}")
        videos = [pictures.to_float(pictures.fit(frame, size))[None] for frame in chain.frames]
        latents.append([np.asarray(encode_video(video), np.float32) for video in videos])
        texts.append([np.asarray(encode_text(caption), np.float32) for caption in chain.captions])
    count = np.array([len(row) for row in latents], np.int32)
    return TuningSet(_filled(latents, "latent (1, h, w, c)", 4), _filled(texts, "text (l, d)", 2), count)


def adapt(
    dit: Any,
    latents: Float[Array | np.ndarray, "keyframes 1 h w c"],
    texts: Float[Array | np.ndarray, "captions l d"],
    key: Key[Array, ""],
    *,
    steps: int,
    count: Any = None,
    rank: int = 16,
    alpha: float | None = None,
    lr: Any = 1e-4,
    batch: int = 1,
    mean: float = 0.0,
    std: float = 1.0,
    weight_decay: float = 0.01,
    patterns: Sequence[str] = TARGETS,
    image: Any = None,
    keep: Sequence[int] = (),
) -> Adapted:
    """Tunes fresh adapters on one prompt's keyframes. Pure: jit it, vmap it over prompts, seeds or learning rates.

    Each step draws `batch` keyframes, noises and logit-normal levels, and takes one AdamW step at a constant rate.

    Args:
        dit: the frozen base: a callable pytree `(x, time, text) -> v | Prediction` such as `WanDiT` (or any module
            whose matrices match `patterns`).
        latents, texts: the keyframes as one-frame videos, and their captions.
        key: of the adapters' first values and of all draws.
        steps: updates. 0: adapters that change nothing.
        count: how many keyframes are there, where the rest is filling (traced); None: all.
        rank, alpha: of the adapters; alpha is the rank by default (the paper: 16 and 16). Give it to `velocity` too.
        lr: learning rate, traced if you like (the paper: 1e-4 for Wan 2.1).
        batch: keyframes per step.
        mean, std: of the logit of sigma.
        weight_decay: on the adapters (0.01 is the default of the paper's trainer).
        patterns: which matrices, see `lora.targets`.
        image: passed to `dit` at every call, for models with an image condition: channels of one frame.
        keep: numbers of updates, increasing, 1 ... steps, after which the adapters are kept.

    Raises:
        ValueError: shapes or numbers that do not fit, no matrix that matches.
    """
    if steps < 0 or batch < 1:
        raise ValueError(f"adapt: steps is {steps} and batch {batch}, expected 0 or more and 1 or more")
    if list(keep) != sorted(set(keep)) or not all(1 <= k <= steps for k in keep):
        raise ValueError(f"adapt: keep is {tuple(keep)}, expected increasing numbers of updates from 1 to {steps}")
    if not len(latents) or len(latents) != len(texts):
        raise ValueError(f"adapt: {len(latents)} latents and {len(texts)} texts, expected one text per keyframe")
    latents, texts = jnp.asarray(latents), jnp.asarray(texts)
    count = jnp.asarray(len(latents) if count is None else count)
    start, draws = jax.random.split(key)
    fresh = lora.init(_weights(dit), start, rank=rank, patterns=patterns)
    tx = optax.adamw(lr, weight_decay=weight_decay)
    condition = {} if image is None else {"image": image}

    def loss(adapter: lora.Adapter, key: Array) -> tuple[Array, None]:
        which, noise, level = jax.random.split(key, 3)
        module = merge(dit, adapter, alpha=alpha)
        chosen = jax.random.randint(which, (batch,), 0, count)
        sigmas = objectives.sample_sigmas(level, batch, kind="logit_normal", mean=mean, std=std)

        def one(index: Array, key: Array, sigma: Array) -> Array:
            v = lambda x, level: module(x, level.time, texts[index], **condition)
            return objectives.flow_matching(v, latents[index], key, sigma)

        return jnp.mean(jax.vmap(one)(chosen, jax.random.split(noise, batch), sigmas)), None

    # Where each update's adapters go among those kept; one past the end is dropped.
    slots = np.full(steps, len(keep), np.int32)
    slots[np.asarray(keep, np.int32) - 1] = np.arange(len(keep))

    def step(carry: tuple, row: tuple) -> tuple[tuple, Array]:
        state, kept = carry
        number, slot = row
        state, moved = update.move(lambda p: loss(p, jax.random.fold_in(draws, number)), tx, state)
        if keep:
            kept = jax.tree.map(lambda k, a: k.at[slot].set(a, mode="drop"), kept, state.params)
        return (state, kept), moved.loss

    kept = jax.tree.map(lambda a: jnp.zeros((len(keep), *a.shape), a.dtype), fresh)
    rows = (jnp.arange(steps), jnp.asarray(slots))
    (state, kept), losses = lax.scan(step, (update.start(fresh, tx), kept), rows)
    return Adapted(state.params, losses, kept)


def merge(dit: Any, adapter: lora.Adapter, *, alpha: float | None = None) -> Any:
    """The model with the adapters merged into its weights; see `lora.merge` for alpha and what is raised."""
    if not isinstance(dit, nnx.Module):
        return lora.merge(dit, adapter, alpha=alpha)
    graph, state = nnx.split(dit)
    return nnx.merge(graph, nnx.State(lora.merge(nnx.to_pure_dict(state), adapter, alpha=alpha)))


def velocity(
    dit: Any,
    adapter: lora.Adapter,
    story: Float[Array | np.ndarray, "l d"],
    *,
    alpha: float | None = None,
    negative: Float[Array | np.ndarray, "l d"] | None = None,
    guidance: Any = 1.0,
    image: Any = None,
) -> Callable:
    """Stage 3: the adapted model's velocity for the concatenated captions, ready for `flow.sample`.

    Args:
        dit: the base, a `WanDiT`.
        adapter: of one prompt and seed.
        story: the embedded `VisualThoughts.story` (any other text gives the controls: short prompt, another scene).
        alpha: as in `adapt`.
        negative, guidance: with both, classifier-free guidance (`WanDiT.guided`); without `negative`, none.
        image: as in a call.
    """
    adapted = merge(dit, adapter, alpha=alpha)
    if negative is None:
        return adapted.velocity(story, image)
    return adapted.guided(story, negative, guidance, image)


def _weights(dit: Any) -> Any:
    return nnx.to_pure_dict(nnx.split(dit)[1]) if isinstance(dit, nnx.Module) else dit


def _filled(rows: list[list[np.ndarray]], what: str, ndim: int) -> np.ndarray:
    """Stacked with zeros after the end of each row, (rows, longest, ...)."""
    shapes = {array.shape for row in rows for array in row}
    shape = next(iter(shapes))
    if len(shapes) != 1 or len(shape) != ndim or (ndim == 4 and shape[0] != 1):
        raise ValueError(f"tuning_set: the encoder gives {sorted(shapes)}, expected one shape, {what}")
    filled = np.zeros((len(rows), max(map(len, rows)), *shape), np.float32)
    for i, row in enumerate(rows):
        filled[i, : len(row)] = np.stack(row)
    return filled
