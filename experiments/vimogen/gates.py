"""Which branch makes a motion, from text or from a film: gates as choices between two arrays, item by item.

    chosen = gates.adaptive(jitter, cosine, study.gate)               # (n,) bool: where the film leads
    gates.mixed(chosen, of_text, of_motion)                           # what came of it

Pure functions of arrays: nothing is sampled for a gate, each of its motions is one of T2M's or M2M's.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from experiments.vimogen.config import SETS, Gate
from vrjax.motion.program import splits, verbs

Chosen = Bool[np.ndarray, "n"]


def adaptive(jitter: Float[Any, " n"], cosine: Float[Any, " n"], gate: Gate) -> Bool[np.ndarray, " n"]:
    """Where the film is trusted: its body is calm enough, and near enough to the text.

    Args:
        jitter: of the bodies that were lifted, m/frame².
        cosine: of the matcher's features of their texts and of them.
        gate: what is calm, and what is near.
    """
    return (np.asarray(jitter) < gate.jitter) & (np.asarray(cosine) > gate.cosine)


def oracle(text: Bool[Any, " n"], motion: Bool[Any, " n"]) -> Bool[np.ndarray, " n"]:
    """Where the film's motion is solved and the text's is not: a gate that knows both ends."""
    return np.asarray(motion, bool) & ~np.asarray(text, bool)


def rates(chosen: Bool[Any, " n"], groups: Int[Any, " n"]) -> Float[np.ndarray, " n"]:
    """The random gate, which has as many of each group led by their films, but not which: for each item how much of its
    group is chosen, the mean over all permutations of the choices within groups."""
    _, which, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return (np.bincount(which, np.asarray(chosen, float)) / sizes)[which]


def groups(scripts: Int[Any, "n 6"], items: int) -> Int[np.ndarray, " n"]:
    """What is permuted among itself: items of one set and, where mocap lacks a verb, of the same unseen verbs.

    Args:
        scripts: fields of `program.Script`, in the order of `SETS`.
        items: of each set.

    Raises:
        ValueError: another number of scripts.
    """
    scripts = np.asarray(scripts)
    if scripts.shape != (len(SETS) * items, 6):
        raise ValueError(f"groups: scripts {scripts.shape}, expected {(len(SETS) * items, 6)}, {items} of each set")
    lower, upper = _lacking(scripts)
    which = np.stack(
        [
            np.repeat(np.arange(len(SETS)), items),
            np.where(lower, scripts[:, 0], -1),
            np.where(upper, scripts[:, 4], -1),
        ],
        1,
    )
    return np.unique(which, axis=0, return_inverse=True)[1].reshape(-1)


def _lacking(scripts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether mocap lacks what the legs do, and what the arms do."""
    lower = np.array([row.name in splits.UNSEEN_VERBS for row in verbs.LOWER])
    upper = np.array([row.name in splits.UNSEEN_VERBS for row in verbs.UPPER])
    return lower[scripts[:, 0]], upper[scripts[:, 4]]


def learnable(scripts: Int[Any, "n 6"], chosen: Bool[Any, " n"]) -> Int[np.ndarray, " n"]:
    """What a student is shown of clips: a clip's number for each of n places.

    A verb that mocap lacks is in a clip only where a film led to it, and right where the film was to be trusted. Clips
    of other prompts with such a verb teach the wrong motion for it; others of that kind stand in their places, in turn,
    or where there is none at all, clips of what mocap knows.

    Raises:
        ValueError: no clip is left.
    """
    lower, upper = _lacking(np.asarray(scripts))
    lacking, chosen = lower | upper, np.asarray(chosen, bool)
    trusted, known = np.flatnonzero(lacking & chosen), np.flatnonzero(~lacking)
    others = trusted if len(trusted) else known
    if not len(others):
        raise ValueError(f"learnable: the gate trusts no film of {len(chosen)} prompts whose verbs mocap lacks")
    index, gone = np.arange(len(chosen)), np.flatnonzero(lacking & ~chosen)
    index[gone] = np.resize(others, len(gone))
    return index


def mixed(chosen: Chosen, text: Any, motion: Any) -> np.ndarray:
    """What a gate ends with: `motion` (n, ...) where it was chosen, `text` elsewhere; of each row of `chosen`."""
    chosen, text, motion = np.asarray(chosen), np.asarray(text), np.asarray(motion)
    return np.where(chosen.reshape(chosen.shape + (1,) * (text.ndim - 1)), motion, text)


def best(
    jitter: Float[Any, " n"],
    cosine: Float[Any, " n"],
    text: Bool[Any, " n"],
    motion: Bool[Any, " n"],
    grid: Sequence[Gate],
) -> Gate:
    """The thresholds with which most items are solved; of equal ones the first.

    Args:
        jitter, cosine: see `adaptive`; of validation items.
        text, motion: whether the motion from each branch is solved.
        grid: thresholds to choose from.
    """
    return max(grid, key=lambda gate: int(mixed(adaptive(jitter, cosine, gate), text, motion).sum()))
