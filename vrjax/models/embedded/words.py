"""Hashed word embeddings: the parameter-free text encoder of the embedded worlds, in the slot of UMT5."""

import functools
import hashlib
import re

import numpy as np
from jaxtyping import Float32

_WORD = re.compile(r"[^\W_]+|[^\w\s]|_")


def tokenize(prompt: str) -> list[str]:
    """Lower-cased words and single punctuation marks, in order."""
    return _WORD.findall(prompt.lower())


@functools.lru_cache(maxsize=4096)
def embed(word: str, dim: int) -> Float32[np.ndarray, " dim"]:
    """Unit-norm Gaussian direction of one word, drawn from a generator seeded by the word's SHA-256 digest."""
    seed = int.from_bytes(hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()[:16], "little")
    vector = np.random.Generator(np.random.Philox(seed)).standard_normal(dim)
    vector = (vector / np.linalg.norm(vector)).astype(np.float32)
    vector.setflags(write=False)  # the cached array is shared
    return vector


def encode(prompt: str, length: int = 16, dim: int = 32) -> Float32[np.ndarray, "length dim"]:
    """Embeds a prompt as one row per word; rows after the last word are zero.

    The same word always has the same row, on every machine; two different words are almost orthogonal. Rows are
    scaled to norm sqrt(dim), so that entries are of order one like those of a trained text encoder.

    Args:
        prompt: any string. Case is ignored.
        length: number of rows.
        dim: width of a row.

    Returns:
        float32 (length, dim).

    Raises:
        ValueError: the prompt has more words than `length` (a silent cut would change the task), or a size is not
            positive.
    """
    if length < 1 or dim < 1:
        raise ValueError(f"words.encode: length and dim must be positive, found length={length}, dim={dim}")
    tokens = tokenize(prompt)
    if len(tokens) > length:
        raise ValueError(f"words.encode: prompt has {len(tokens)} words, expected at most length={length}: {prompt!r}")
    rows = np.zeros((length, dim), np.float32)
    for i, word in enumerate(tokens):
        rows[i] = embed(word, dim) * np.float32(np.sqrt(dim))
    return rows
