"""Where things are in a frame: a small network that reads places off pixels, so that costs have something to say.

Each place is the mean of a map of weights over pixels (a soft argmax, Levine et al. 2016, arXiv 1504.00702): it is
finer than a pixel where edges are smooth, and has a gradient.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Key

from vrjax.flow import words

LAYERS = 3
"""Of 3 x 3 pixels each, so that a place is decided by what is within three pixels of it."""
NOISE = 0.05
"""Standard deviation of what joins the pixels in training: a learned world's frames are not quite clean."""
HINTED = 0.5
"""Share of the training in which the pixel of a place counts as well, less and less."""
Draw = Callable[[Key[Array, ""]], tuple[Array, Array]]
"""key -> a frame (H, W, 3) and the places (K, 2) of what is in it, x and y in pixels."""


class Reader(NamedTuple):
    """Its weights: of each layer a matrix of all nine pixels, and of the maps."""

    layers: tuple[tuple[Array, Array], ...]
    maps: tuple[Array, Array]

    __repr__ = words.line


def init(key: Key[Array, ""], count: int, width: int = 24) -> Reader:
    """Random weights for `count` places."""
    keys, sizes = jax.random.split(key, LAYERS + 1), [3, *[width] * LAYERS]
    matrix = lambda key, n, m: (jax.random.normal(key, (n, m)) * (2 / n) ** 0.5, jnp.zeros(m))
    layers = (matrix(key, 9 * n, m) for key, n, m in zip(keys, sizes, sizes[1:], strict=False))
    return Reader(tuple(layers), matrix(keys[-1], width, count))


def maps(reader: Reader, frame: Float[Array, "H W 3"]) -> Float[Array, "H W K"]:
    """Weights of all pixels for each place, as logits."""
    h, (height, width, _) = frame, frame.shape
    for matrix, bias in reader.layers:
        wide = jnp.pad(h, ((1, 1), (1, 1), (0, 0)))
        nine = [wide[i : i + height, j : j + width] for i in range(3) for j in range(3)]
        h = jax.nn.gelu(jnp.concatenate(nine, -1) @ matrix + bias)
    matrix, bias = reader.maps
    return h @ matrix + bias


def read(reader: Reader, frame: Float[Array, "H W 3"]) -> Float[Array, "K 2"]:
    """Places (x, y) in pixels; the centre of the first pixel is (0.5, 0.5)."""
    return _mean(maps(reader, frame))


def _mean(logits: Float[Array, "H W K"]) -> Float[Array, "K 2"]:
    height, width, count = logits.shape
    weights = jax.nn.softmax(logits.reshape(-1, count), axis=0).reshape(logits.shape)
    x, y = weights.sum(0), weights.sum(1)
    along = lambda part: (jnp.arange(len(part)) + 0.5) @ part
    return jnp.stack([along(x), along(y)], -1)


def _loss(reader: Reader, frame: Array, places: Array, hint: Array) -> Array:
    """Huber's of the places, and `hint` times how unlikely their own pixels are, which says from the start where to
    look. It must end: it draws every place to the centre of its pixel (0.14 pixels off, at a weight of 0.05)."""
    logits = maps(reader, frame)
    height, width, count = logits.shape
    near = jnp.mean(optax.huber_loss(_mean(logits), places, delta=0.5))
    log = jax.nn.log_softmax(logits.reshape(-1, count), axis=0).reshape(logits.shape)
    column, row = (jnp.clip(places[:, i].astype(jnp.int32), 0, n - 1) for i, n in enumerate((width, height)))
    return near - hint * jnp.mean(log[row, column, jnp.arange(count)])


def fit(
    key: Key[Array, ""], draw: Draw, count: int, *, updates: int = 800, batch: int = 32, width: int = 24
) -> tuple[Reader, Float[Array, ""]]:
    """A reader of what `draw` draws, trained in one compiled scan.

    Args:
        key: of weights and draws.
        draw: examples; static.
        count: places.
        updates, batch: of Adam, whose rate falls from 5e-3 along a cosine.
        width: of the layers.

    Returns:
        The reader, and its mean distance in pixels on 512 fresh frames without noise.
    """
    tx = optax.adam(optax.cosine_decay_schedule(5e-3, updates, 0.02))

    @jax.jit
    def run(key):
        first, later, last = jax.random.split(key, 3)

        def example(key):
            seen, drawn = jax.random.split(key)
            frame, places = draw(drawn)
            return frame + NOISE * jax.random.normal(seen, frame.shape), places

        def update(carry, at):
            (reader, moments), (key, hint) = carry, at
            frames, places = jax.vmap(example)(jax.random.split(key, batch))
            loss = lambda reader: jnp.mean(jax.vmap(_loss, (None, 0, 0, None))(reader, frames, places, hint))
            change, moments = tx.update(jax.grad(loss)(reader), moments)
            return (optax.apply_updates(reader, change), moments), None

        reader: Any = init(first, count, width)
        hints = 0.05 * jnp.maximum(1.0 - jnp.arange(updates) / (HINTED * updates), 0.0)
        (reader, _), _ = lax.scan(update, (reader, tx.init(reader)), (jax.random.split(later, updates), hints))
        frames, places = jax.vmap(draw)(jax.random.split(last, 512))
        found = jax.vmap(read, (None, 0))(reader, frames)
        return reader, jnp.mean(jnp.linalg.norm(found - places, axis=-1))

    return run(key)
