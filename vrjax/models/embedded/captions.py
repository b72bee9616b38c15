"""Captions of motions as rows of text: the encoder, without weights, in the slot of UMT5.

    captions.rows("a person walks forward while waving the left hand", 24, 96)     # NumPy, any string
    captions.of_tokens(program.tokens(script, 1), 24, 96)                          # the same inside jit

A row is a word between its neighbours: three hashed words (`conditions.embed`) side by side. Attention does not see the
order of rows, and a left hand and a left leg are told apart by the word beside them.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from vrjax.models.embedded import conditions
from vrjax.motion import program


def rows(caption: str, length: int, dim: int) -> Float32[np.ndarray, "length dim"]:
    """A caption as rows of text; rows after the last word are zero, and so is the empty caption.

    Args:
        caption: any string. Case is ignored.
        length: number of rows.
        dim: width of a row, at least 3; what is left of it after three equal parts is zero.

    Raises:
        ValueError: a width below 3; more words than rows.
    """
    _check(dim)
    words = conditions.text(caption, length, dim // 3)
    return _beside(np, words, len(conditions.tokenize(caption)), dim)


def of_tokens(tokens: Int[Array | np.ndarray, " words"], length: int, dim: int) -> Float[Array, "length dim"]:
    """`rows` of a caption of the program, given as numbers of words (`program.tokens`); jit- and vmap-able.

    Raises:
        ValueError: as `rows`, but for any caption of that style.
    """
    _check(dim)
    if len(tokens) > length:
        raise ValueError(f"captions: the longest has {len(tokens)} words, expected at most length={length}")
    tokens = jnp.pad(tokens, (0, length - len(tokens)))
    return _beside(jnp, jnp.asarray(_table(dim // 3))[tokens], jnp.sum(tokens > 0), dim)


def _check(dim: int) -> None:
    if dim < 3:
        raise ValueError(f"captions: dim must be at least 3, found {dim}")


def _beside(xp, words, count, dim):
    """Each word's row between those of the words before and after it; nothing where there is no word."""
    none = xp.zeros_like(words[:1])
    before, after = xp.concatenate([none, words[:-1]]), xp.concatenate([words[1:], none])
    three = xp.where(xp.arange(len(words))[:, None] < count, xp.concatenate([before, words, after], -1), 0.0)
    return xp.pad(three, ((0, 0), (0, dim - three.shape[-1])))


@functools.cache
def _table(dim: int) -> np.ndarray:
    """The rows of all words of the program by their numbers; that of 0, padding, is zero."""
    found = [conditions.embed(word, dim) * np.float32(np.sqrt(dim)) for word in program.vocabulary()]
    return np.stack([np.zeros(dim, np.float32), *found])
