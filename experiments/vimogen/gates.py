"""Which motions come from a reference and which from text: the gate, the best one, and one that does not look.

All of it is NumPy on a choice per item, true where the reference leads. Groups are the kinds of prompts within which a
gate that does not look is to send as many as the gate does.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from experiments.vimogen.config import SETS, Gate
from vrjax.motion.program import verbs
from vrjax.motion.program.splits import UNSEEN_VERBS


def adaptive(jitter: Float[np.ndarray, " n"], cosine: Float[np.ndarray, " n"], gate: Gate) -> Bool[np.ndarray, " n"]:
    """Films that are trusted, see `Gate`."""
    return (np.asarray(jitter) < gate.jitter) & (np.asarray(cosine) > gate.cosine)


def oracle(text: Bool[np.ndarray, " n"], motion: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Items that are solved from a reference alone."""
    return np.asarray(motion, bool) & ~np.asarray(text, bool)


def mixed(chosen: Bool[np.ndarray, " n"], text: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """Rows of `motion` where chosen, else of `text`."""
    return np.where(np.reshape(chosen, (-1, *[1] * (np.ndim(text) - 1))), motion, text)


def groups(script: Int[np.ndarray, "n 6"], each: int) -> Int[np.ndarray, " n"]:
    """The kind of each prompt by number: its set, of `each` items in the order S, C, V, and the unseen verbs in it."""
    rows = np.asarray(script)
    of = lambda names, column: np.where(
        np.isin(column, [i for i, row in enumerate(names) if row.name in UNSEEN_VERBS]), column + 1, 0
    )
    kinds = np.stack(
        [np.repeat(np.arange(len(SETS)), each), of(verbs.LOWER, rows[:, 0]), of(verbs.UPPER, rows[:, 4])], 1
    )
    return np.unique(kinds, axis=0, return_inverse=True)[1].reshape(-1)


def rates(chosen: Bool[np.ndarray, " n"], groups: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The share of each item's group that is chosen: what all permutations within groups send there on average."""
    return (np.bincount(groups, np.asarray(chosen, float)) / np.bincount(groups))[groups]
