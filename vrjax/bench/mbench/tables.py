"""MBench's table: what is published of scores, with the rows without which they say little."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vrjax.bench.mbench.formulas import COLUMNS, CORRECT, Joints, frozen
from vrjax.bench.mbench.lists import DIMENSIONS, HIGHER, Item, Score, aggregate

TRUTH, FROZEN, NEAREST = CONTROLS = ("ground-truth", "frozen-pose", "nearest-neighbour")


def controls(
    items: Sequence[Item], motions: Mapping[int, Joints], captions: Sequence[str], pool: Sequence[Joints]
) -> dict[str, dict[int, Joints]]:
    """The control rows that can be made for any list: motions by id, for `evaluate`.

    Args:
        items: of the list.
        motions: the model's, by id: their first frames are held.
        captions, pool: texts and motions of a training set, one to one: each prompt takes the motion of `nearest` text.
    """
    if len(captions) != len(pool):
        raise ValueError(f"pool: expected {len(captions)} motions, one a caption, found {len(pool)}")
    prompts = {item.id: item.prompt for item in items}
    found = nearest(list(prompts.values()), captions)
    return {
        FROZEN: {number: frozen(motions[number]) for number in prompts},
        NEAREST: {number: pool[place] for number, place in zip(prompts, found, strict=True)},
    }


def nearest(prompts: Sequence[str], captions: Sequence[str]) -> list[int]:
    """For each prompt the place of the caption that is nearest in words: cosine of counts, rare words weighing more.

    Of captions at the same distance the first is taken.

    Raises:
        ValueError: no captions.
    """
    if not captions:
        raise ValueError("captions: expected at least one, found none")
    words = [re.findall(r"\w+", text.lower()) for text in (*captions, *prompts)]
    index = {word: place for place, word in enumerate(sorted({w for text in words for w in text}))}
    counts = np.zeros((len(words), len(index)))
    for row, text in zip(counts, words, strict=True):
        np.add.at(row, [index[word] for word in text], 1)
    known, asked = counts[: len(captions)], counts[len(captions) :]
    counts *= np.log((1 + len(captions)) / (1 + (known > 0).sum(0))) + 1
    counts /= np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-12)
    return np.argmax(asked @ known.T, axis=1).tolist()


def summary(scores: Mapping[str, list[Score]]) -> list[dict[str, Any]]:
    """One line per row and control: of every dimension mean, population standard deviation and number, as published.

    Args:
        scores: row -> scores. A row has all items of a dimension or none; a control that is missing gets an empty line,
            so that a table shows that it was left out.

    Returns:
        Lines with `row` and, for each column ("correct axis", "official path"), dimension -> {"mean", "std",
        "num_samples"}.

    Raises:
        ValueError: no scores, or rows with different items.
    """
    wanted: dict[str, set[Item]] = {}
    for found in scores.values():
        for score in found:
            wanted.setdefault(score.item.dimension, set()).add(score.item)
    if not wanted:
        raise ValueError("scores: expected scores of at least one row, found none")
    lines = []
    for row in (*scores, *(name for name in CONTROLS if name not in scores)):
        line: dict[str, Any] = {"row": row, **{column: {} for column in COLUMNS}}
        for dimension in (name for name in DIMENSIONS if name in wanted):
            found = sorted((s for s in scores.get(row, ()) if s.item.dimension == dimension), key=lambda s: s.item)
            if not found:
                continue
            if {score.item for score in found} != wanted[dimension] or len(found) != len(wanted[dimension]):
                raise ValueError(f"scores: {row} has other items of {dimension} than other rows ({len(found)} scores)")
            for column in COLUMNS:
                line[column][dimension] = aggregate([s.value if column == CORRECT else s.official for s in found])
        lines.append(line)
    return lines


def cells(lines: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and body of the table, as text: two lines a row, one for each reading of the axis."""
    shown = [name for name in DIMENSIONS if any(name in line[column] for line in lines for column in COLUMNS)]
    head = ["row", "axis", *(f"{name.replace('_', ' ')} {'↑' if name in HIGHER else '↓'}" for name in shown)]
    body = []
    for line in lines:
        for column in COLUMNS:
            found = line[column]
            body.append([line["row"], column, *(f"{found[n]['mean']:.4f}" if n in found else "-" for n in shown)])
    return head, body
