"""HumanML3D: captions of a public folder, and its protocol over features of the user's own evaluator.

    items = humanml3d.read("HumanML3D")
    scores = {name: humanml3d.evaluate(features, key) for name, features in rows.items()}   # "ground-truth" among them
    lines = humanml3d.summary(scores)

An evaluator puts texts and motions into one space. Papers' numbers are made by one set of weights, text_mot_match,
which is known to rank some generated motions above real ones; numbers of two evaluators belong in two tables.
`program_matcher()` is a small one for motions of `vrjax.motion.program`, which no number of a paper was made by. The
functions compute in float64 on the host: a Fréchet distance is a small difference of large traces.
"""

import dataclasses
import math
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import cdist

from vrjax.files import given

BATCH, TOP, REPEATS, PAIRS, MANY = 32, 3, 20, 300, 10  # of the public protocol
SHORTEST, LONGEST, FPS = 40, 199, 20  # frames of the motions that it keeps
TRUTH = "ground-truth"
SPLITS = ("train", "val", "test", "train_val", "all")

Points = Float[np.ndarray | jax.Array, "_n _d"]  # of any sizes: which fit is said in one line


class Item(NamedTuple):
    """One caption of a motion: the motion's name, the caption's line, its text and tagged words, and the part of the
    motion that it is about in seconds (0 to 0: all)."""

    name: str
    line: int
    caption: str
    tokens: tuple[str, ...]
    start: float
    end: float


def read(folder: str | os.PathLike, *, split: str = "test") -> list[Item]:
    """The captions of a split: `{split}.txt` names motions, `texts/{name}.txt` holds `caption#word/POS …#start#end`.

    Raises:
        FileNotFoundError: no such folder, split or caption file. ValueError: an unknown split, a line of another form.
    """
    if split not in SPLITS:
        raise ValueError(f"split: expected one of {', '.join(SPLITS)}, found {split!r}")
    root, out = pathlib.Path(folder), []
    names = root / f"{split}.txt"
    if not names.is_file():
        raise FileNotFoundError(f"{names}: no such file; expected HumanML3D's folder with its lists of names")
    for name in filter(None, given.lines(names)):
        path = root / "texts" / f"{name}.txt"
        if pathlib.PurePath(name).name != name:
            raise ValueError(f"{names}: expected names of motions, found {name!r}")
        for number, text in enumerate(given.lines(path)):
            if text:
                out.append(_item(path, name, number, text))
    if not out:
        raise ValueError(f"{names}: names no motion that has a caption")
    return out


def _item(path: pathlib.Path, name: str, number: int, text: str) -> Item:
    parts = text.split("#")
    try:
        caption, tokens, *ends = parts
        start, end = (0.0 if math.isnan(float(x)) else float(x) for x in ends)  # the public files mark "all" by nan too
    except ValueError:
        raise ValueError(
            f"{path}: line {number + 1}: expected caption#tokens#start#end, found {len(parts)} parts: {text[:60]!r}"
        ) from None
    return Item(name, number, caption, tuple(tokens.split()), start, end)


def part(item: Item, rows: Float[np.ndarray, "t *columns"]) -> np.ndarray | None:
    """The frames of a motion that a caption is about; None where the protocol leaves them out: under 40, over 199."""
    if (item.start, item.end) != (0.0, 0.0):
        rows = rows[int(item.start * FPS) : int(item.end * FPS)]
    return rows if SHORTEST <= len(rows) <= LONGEST else None


# ------------------------------------------------------------------------------------------------------------- measures


def r_precision(text: Points, motion: Points, batch: int = BATCH, *, top: int = TOP) -> Float[np.ndarray, " top"]:
    """How often a motion is among the nearest 1, 2, … `top` of its text, in batches as they come.

    Args:
        text, motion: features, of one pair a row, (n, d).
        batch: candidates of each text: its own motion and those of its batch. What fills no batch is left out.
        top: how many ranks.

    Returns:
        Shares, (top,), from 0 to 1. Of motions at the same distance the earlier counts as nearer.

    Raises:
        ValueError: features that are not finite or of two shapes; fewer rows than a batch, or a batch smaller than top.
    """
    text, motion = _pairs(text, motion)
    if not 1 <= top <= batch <= len(text):
        raise ValueError(f"batch: expected {top} to {len(text)}, the number of pairs, found {batch}")
    hits, full = np.zeros(top), len(text) // batch
    for first in range(0, full * batch, batch):
        order = np.argsort(cdist(text[first : first + batch], motion[first : first + batch]), axis=1, kind="stable")
        hits += (order[:, :top] == np.arange(batch)[:, None]).sum(0)
    return np.cumsum(hits) / (full * batch)


def mm_dist(text: Points, motion: Points) -> float:
    """Mean Euclidean distance of the features of a text and of its motion, both (n, d)."""
    text, motion = _pairs(text, motion)
    return float(np.linalg.norm(text - motion, axis=1).mean())


def fid(a: Points, b: Points) -> float:
    """Fréchet distance of Gaussians fitted to two sets of features, (n, d) and (m, d): at least 0, and symmetric.

    |mean_a - mean_b|² + tr(C_a + C_b - 2 (C_a C_b)^½), with unbiased covariances. The trace of the root is taken from
    the eigenvalues of C_a^½ C_b C_a^½, which are real where the product's own root is not.

    Raises:
        ValueError: features that are not finite, of two widths, or of fewer than two rows.
    """
    a, b = _features(a, "a", least=2), _features(b, "b", least=2)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"b: expected {a.shape[1]} features as a has, found {b.shape[1]}")
    first, second = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    overlap = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0, None)).sum()
    gap = a.mean(0) - b.mean(0)
    return float(max(gap @ gap + np.trace(first) + np.trace(second) - 2 * overlap, 0.0))


def diversity(features: Points, pairs: int = PAIRS, *, key: jax.Array | None = None) -> float:
    """Mean distance of random pairs of features (n, d): two draws of `pairs` rows, each without replacement.

    Args:
        features: of motions.
        pairs: how many; at most n.
        key: of the draws; `jax.random.key(0)` by default.

    Raises:
        ValueError: features that are not finite; more pairs than rows.
    """
    features = _features(features, "features")
    first, second = _draws(key, len(features), pairs, "features")
    return float(np.linalg.norm(features[first] - features[second], axis=1).mean())


def multimodality(
    features: Float[np.ndarray | jax.Array, "texts repeats d"], pairs: int = MANY, *, key: jax.Array | None = None
) -> float:
    """Mean distance of random pairs of motions of the same text.

    Args:
        features: of several motions a text; the protocol's are 100 texts with 30 motions each.
        pairs: how many, the same for all texts; at most the number of repeats.
        key: of the draws; `jax.random.key(0)` by default.

    Raises:
        ValueError: features that are not finite or have other axes; more pairs than repeats.
    """
    features = _features(features, "features", axes=3)
    first, second = _draws(key, features.shape[1], pairs, "features")
    return float(np.linalg.norm(features[:, first] - features[:, second], axis=2).mean())


def _draws(key: Any, count: int, pairs: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    if not 1 <= pairs <= count:
        raise ValueError(f"pairs: expected 1 to {count}, the number of {name}, found {pairs}")
    keys = jax.random.split(jax.random.key(0) if key is None else key)
    first, second = (np.asarray(jax.random.permutation(each, count))[:pairs] for each in keys)
    return first, second


def _features(value: Any, name: str, *, axes: int = 2, least: int = 1) -> np.ndarray:
    found = np.asarray(value, np.float64)
    if found.ndim != axes or len(found) < least:
        raise ValueError(f"{name}: expected {axes} axes and at least {least} rows, found shape {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"{name}: expected finite features, found {found[~np.isfinite(found)][0]}")
    return found


def _pairs(text: Any, motion: Any) -> tuple[np.ndarray, np.ndarray]:
    text, motion = _features(text, "text"), _features(motion, "motion")
    if text.shape != motion.shape:
        raise ValueError(f"motion: expected {text.shape}, the shape of text, found {motion.shape}")
    return text, motion


# ------------------------------------------------------------------------------------------------------------- protocol


@runtime_checkable
class Evaluator(Protocol):
    """Puts captions and motions into one space.

    Attributes:
        name: which one; numbers of two names belong in two tables.
        texts: captions -> their features (n, d).
        motions: motions of one length, (n, t, 22, 3) -> their features (n, d).
    """

    name: str

    def texts(self, captions: Sequence[str], /) -> np.ndarray: ...

    def motions(self, joints: Any, /) -> np.ndarray: ...


class Features(NamedTuple):
    """What an evaluator says of one row of the table.

    Attributes:
        text (n, d): of the captions.
        motion (n, d): of the motions made for them.
        truth (m, d): of real motions, in no order.
        many (texts, repeats, d): of several motions a text, or None: then there is no multimodality.
    """

    text: np.ndarray
    motion: np.ndarray
    truth: np.ndarray
    many: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Score:
    """The measures of one replication; multimodality is None where there are no repeats of a text."""

    repeat: int
    top1: float
    top2: float
    top3: float
    fid: float
    mm_dist: float
    diversity: float
    multimodality: float | None


def program_matcher(folder: str | os.PathLike | None = None) -> Evaluator:
    """The evaluator of procedural motions, `vrjax.models.embedded.matcher`, which is trained elsewhere.

    Args:
        folder: with its weights; by default those that come with the package.

    Raises:
        FileNotFoundError, ValueError: no such weights, or others.
    """
    from vrjax.models.embedded import matcher

    return matcher.load() if folder is None else matcher.load(folder)


def encode(
    evaluator: Evaluator,
    captions: Sequence[str],
    joints: Float[np.ndarray | jax.Array, "n t 22 3"],
    truth: Float[np.ndarray | jax.Array, "m s 22 3"],
    many: Float[np.ndarray | jax.Array, "texts repeats t 22 3"] | None = None,
) -> Features:
    """What an evaluator says of one row of the table.

    Args:
        evaluator: of captions and joints.
        captions: n of them.
        joints: the motions made for them, as the evaluator takes them.
        truth: real motions, none of them the very ones of `joints`, or a distance to them is less than it should be.
        many: several motions a text.
    """
    motions = lambda x: np.asarray(evaluator.motions(x))
    repeated = None if many is None else motions(many.reshape(-1, *many.shape[2:])).reshape(*many.shape[:2], -1)
    return Features(np.asarray(evaluator.texts(captions)), motions(joints), motions(truth), repeated)


HEADS = {
    **{"top1": "R@1 ↑", "top2": "R@2 ↑", "top3": "R@3 ↑", "fid": "FID ↓", "mm_dist": "MM-Dist ↓"},
    **{"diversity": "Diversity →", "multimodality": "MultiModality ↑"},  # → : the nearer to real motions' the better
}


def evaluate(
    features: Features | Callable[[int], Features],
    key: jax.Array,
    *,
    repeats: int = REPEATS,
    batch: int = BATCH,
    pairs: int = PAIRS,
    many: int = MANY,
) -> list[Score]:
    """The protocol: in every replication pairs are shuffled, and full batches are measured.

    Args:
        features: a function is asked for those of each replication (motions sampled anew); one set serves for all, and
            then the intervals show the spread of batches and pairs only.
        key: of shuffles and draws.
        repeats: replications.
        batch, pairs, many: see `r_precision`, `diversity`, `multimodality`.
    """
    out = []
    for repeat in range(repeats):
        found = features(repeat) if callable(features) else features
        shuffle, spread, modes = jax.random.split(jax.random.fold_in(key, repeat), 3)
        text, motion = _pairs(found.text, found.motion)
        order = np.asarray(jax.random.permutation(shuffle, len(text)))[: len(text) // batch * batch]
        text, motion = text[order], motion[order]
        out.append(
            Score(
                repeat,
                *map(float, r_precision(text, motion, batch)),
                fid=fid(motion, found.truth),
                mm_dist=mm_dist(text, motion),
                diversity=diversity(motion, pairs, key=spread),
                multimodality=None if found.many is None else multimodality(found.many, many, key=modes),
            )
        )
    return out


def summary(scores: Mapping[str, list[Score]]) -> list[dict[str, Any]]:
    """One line per row: each measure's mean over replications, and `<measure> interval`, 1.96 σ / √n to each side.

    Args:
        scores: row -> scores, of the same replications in every row, `ground-truth` (real motions as the row's motions)
            among them: an evaluator's own floor.

    Raises:
        ValueError: no such row, or rows with other replications.
    """
    if TRUTH not in scores:
        raise ValueError(f"scores: the row {TRUTH} is missing, found {', '.join(scores) or 'none'}")
    wanted = sorted(score.repeat for score in scores[TRUTH])
    lines = []
    for row, found in scores.items():
        found = sorted(found, key=lambda score: score.repeat)
        if not found or [score.repeat for score in found] != wanted or len(set(wanted)) != len(wanted):
            raise ValueError(f"scores: {row} has other replications than {TRUTH} ({len(found)} and {len(wanted)})")
        line: dict[str, Any] = {"row": row, "n": len(found)}
        for name in HEADS:
            values = [getattr(score, name) for score in found]
            known = None not in values
            line[name] = float(np.mean(values)) if known else None
            line[f"{name} interval"] = float(1.96 * np.std(values) / math.sqrt(len(values))) if known else None
        lines.append(line)
    return lines


def cells(lines: Sequence[Mapping[str, Any]], by: str = "") -> tuple[list[str], list[list[str]]]:
    """Head and body of the table, as text; `by` is the name of the evaluator, which then stands in the head."""
    said = lambda line, name: "-" if line[name] is None else f"{line[name]:.3f} ± {line[f'{name} interval']:.3f}"
    return [f"row, by {by}" if by else "row", *HEADS.values(), "n"], [
        [line["row"], *(said(line, name) for name in HEADS), str(line["n"])] for line in lines
    ]
