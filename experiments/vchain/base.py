"""The base models: small Wan transformers trained on images and videos together, with two separate deficiencies.

- *Causal.* A video with a short prompt follows a wrong rule with probability `wrong` (0.6). A video whose caption tells
  the states in order is always right.
- *Visual.* Where a caption says that an egg is broken or a duck afloat, films and images show something else
  (`looks.BELIEVED`): what these really look like occurs nowhere.

So text can repair the first and not the second. Captions come in three forms: an image with its one thought; a video
with ordered thoughts; a video with a short prompt, sometimes with the consequences it ended in.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.vchain import looks
from experiments.vchain.config import Base
from vrjax.models.wan import WanConfig, WanDiT
from vrjax.tasks.chains import rules, words
from vrjax.train import objectives, optim, update

TEXT = 24  # rows of a video's text: four thoughts of six elements
NUMBER = 2.0  # value of the marks in the channels of places


def network(base: Base) -> WanConfig:
    """The transformer: one token per cell and frame, the latent and the channels of places."""
    return WanConfig(
        dim=base.dim,
        ffn_dim=base.ffn,
        heads=base.heads,
        layers=base.layers,
        in_channels=looks.CHANNELS + 16,
        out_channels=looks.CHANNELS,
        patch=(1, 1, 1),
        freq_dim=64,
        text_dim=words.DIM,
        text_len=TEXT,
        gate_init=1.0,
        unroll=True,
    )


def places(frames: int, cells: int) -> np.ndarray:
    """The image condition (t, 1, cells, 16): which cell and which frame a token is, one-hot.

    Rotary positions are relative, and nothing else in a text-to-video model of a bare canvas says which cell is the
    third. An image (one frame) has no frame's mark.
    """
    out = np.zeros((frames, 1, cells, 16), np.float32)
    out[:, 0, np.arange(cells), np.arange(cells)] = NUMBER
    if frames > 1:
        out[np.arange(frames), 0, :, 8 + np.arange(frames)] = NUMBER
    return out


class Films(NamedTuple):
    """Scenes of the training split: `films` (scene, rule, t, cells) of state indices, the true one first, and how many
    rules' films there are (`count`)."""

    films: np.ndarray
    count: np.ndarray


def films(scenes: rules.Chains, n: int, first: int = 0) -> Films:
    """Scenes `first` ... `first + n - 1` of the training split."""
    rows, count = [], []
    for clip in (scenes.make(first + i, "train") for i in range(n)):
        layout = clip.meta["layout"]
        kept = [scenes.film(layout, a.move)[:, 0] for a in scenes.answers(layout)]
        count.append(len(kept))
        rows.append(kept + [kept[0]] * (scenes.slots - len(kept)))
    return Films(np.array(rows), np.array(count))


def rest(film: np.ndarray) -> np.ndarray:
    """First frame from which on nothing changes, of films (n, t, cells)."""
    moving = (film != film[:, -1:]).any(-1)
    return np.where(moving.any(1), film.shape[1] - moving[:, ::-1].argmax(1), 0)


def batch(data: Films, rng: np.random.Generator, videos: int, images: int, wrong: float) -> dict[str, np.ndarray]:
    """One batch: `film` (videos, t, cells) with `text`, and `row` (images, cells) with `thought`."""
    scene = rng.integers(len(data.films), size=videos)
    form = rng.choice(3, size=videos, p=(0.5, 0.3, 0.2))  # ordered thoughts, short, short with consequences
    errs = (form > 0) & (rng.random(videos) < wrong) & (data.count[scene] > 1)
    rule = np.where(errs, 1 + (rng.random(videos) * (data.count[scene] - 1)).astype(int), 0)
    film = data.films[scene, rule]
    frames, cells = film.shape[1:]

    # Which frames are told: as an oracle spreads them, or any.
    told = rng.integers(2, words.ORDERS + 1, size=videos)
    spread = np.rint(np.linspace(0, 1, words.ORDERS)[None] * rest(film)[:, None]).astype(int)
    chance = np.sort(1 + rng.permuted(np.tile(np.arange(frames - 1), (videos, 1)), axis=1)[:, : words.ORDERS - 1], 1)
    chance = np.concatenate([np.zeros((videos, 1), int), chance], 1)
    even = rng.random(videos) < 0.5
    instants = np.where(even[:, None], spread, chance)
    told = np.where(even, words.ORDERS, told)
    told = np.where(form > 0, 1, told)
    text = np.zeros((videos, TEXT, words.DIM), np.float32)
    place = np.tile(np.arange(cells), words.ORDERS)
    order = np.repeat(np.arange(words.ORDERS), cells)
    for i in range(videos):
        k = int(told[i]) * cells
        text[i, :k] = words.onehot(place[:k], film[i, instants[i, : told[i]]].ravel(), order[:k], k)
        if form[i] == 2:
            end = np.full(cells, words.ORDERS)
            text[i, cells : 2 * cells] = words.onehot(place[:cells], film[i, -1].astype(int), end, cells)
    any_scene = rng.integers(len(data.films), size=images)
    any_rule = (rng.random(images) * data.count[any_scene]).astype(int)
    row = data.films[any_scene, any_rule, rng.integers(frames, size=images)]
    thought = np.stack([words.onehot(place[:cells], r.astype(int), order[:cells], cells) for r in row])
    return {"film": film, "text": text, "row": row, "thought": thought}


_LATENTS = np.concatenate([looks.encode(sprite[None]) for sprite in looks.SHOWN])[:, 0, 0]


def drawn(states: Any) -> jax.Array:
    """State indices (..., t, cells) -> their film's latent (..., t, 1, cells, channels), on the device, with the looks
    that the bases are shown: a novel kind's change never looks as it does."""
    return jnp.asarray(_LATENTS)[states][..., None, :, :]


def errors(dit: Any, chosen: dict[str, Any], key: Any, shift: float) -> tuple[jax.Array, jax.Array]:
    """Mean flow-matching error of a batch's videos and of its images."""

    def of(states: Any, texts: Any, key: Any) -> jax.Array:
        noise, level = jax.random.split(key)
        sigmas = objectives.sample_sigmas(level, len(states), shift=shift)
        condition = places(states.shape[1], states.shape[2])

        def one(film: Any, text: Any, key: Any, sigma: Any) -> jax.Array:
            v = lambda x, level: dit(x, level.time, text, image=condition)
            return objectives.flow_matching(v, drawn(film), key, sigma)

        return jnp.mean(jax.vmap(one)(states, texts, jax.random.split(noise, len(states)), sigmas))

    first, second = jax.random.split(key)
    return of(chosen["film"], chosen["text"], first), of(chosen["row"][:, None], chosen["thought"], second)


@functools.lru_cache(maxsize=4)
def trainer(base: Base) -> tuple[Callable, Callable, Callable]:
    """`start(seed)`, the carry of a training; the compiled `stretch(carry, batches, key, first)`; and `build(params)`,
    the model. Bases of one configuration share one program."""
    tx = optim.make(lr=base.lr, steps=base.steps, warmup=50)
    graph = nnx.split(nnx.eval_shape(lambda: WanDiT(network(base), rngs=nnx.Rngs(0))))[0]

    def build(params: Any) -> WanDiT:
        return nnx.merge(graph, nnx.State(params))

    def start(seed: int) -> Any:
        params = nnx.to_pure_dict(nnx.split(WanDiT(network(base), rngs=nnx.Rngs(seed)))[1])
        return update.start(params, tx, average=True)

    def stretch(carry: Any, many: Any, key: Any, first: Any) -> tuple[Any, jax.Array]:
        def step(carry: Any, row: Any) -> tuple[Any, jax.Array]:
            number, chosen = row

            def loss(p: Any) -> tuple[jax.Array, jax.Array]:
                video, image = errors(build(p), chosen, jax.random.fold_in(key, number), base.shift)
                return video + base.images_weight * image, jnp.stack([video, image])

            carry, moved = update.move(loss, tx, carry, decay=base.ema)
            return carry, moved.aux

        carry, both = jax.lax.scan(step, carry, (first + jnp.arange(base.stretch), many))
        return carry, both.mean(0)

    return start, jax.jit(stretch, donate_argnums=0), build


def train(
    base: Base, seed: int, data: Films, *, report: Callable[[int, float, float], None] = lambda *_: None
) -> tuple[WanDiT, np.ndarray]:
    """Trains one base.

    Args:
        base: sizes and steps.
        seed: of the first weights, the batches and the noise.
        data: from `films`.
        report: called with (steps done, video error, image error) after every stretch of steps.

    Returns:
        The model with averaged weights, and the errors (stretches, 2).
    """
    start, stretch, build = trainer(base)
    rng = np.random.default_rng((seed, 1))
    key = jax.random.fold_in(jax.random.key(seed), 7)
    carry, curve = start(seed), []
    for first in range(0, base.steps, base.stretch):
        many = [batch(data, rng, base.videos, base.images, base.wrong) for _ in range(base.stretch)]
        many = {name: np.stack([b[name] for b in many]) for name in many[0]}
        carry, both = stretch(carry, many, key, jnp.asarray(first))
        curve.append(np.asarray(both))
        report(first + base.stretch, float(curve[-1][0]), float(curve[-1][1]))
    return build(carry.ema), np.array(curve)
