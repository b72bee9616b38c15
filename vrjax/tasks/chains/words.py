"""Captions of chains and their fixed encoding: one row per element and sentence, orthogonal by construction.

    "ball held, domino standing, gap"                     a thought: what each cell shows, from left to right
    "ball held, .... Then ball gone, ...."                a story: thoughts in order (`VisualThoughts.story`)
    "ball held, ...; in the end ball gone, ..."           an augmented prompt: the consequences, without their order

A row is one-hot in three parts: which cell, which word, which sentence. Nothing is learned here, so a word that no
training caption held is as clear as any other; what it looks like is the model's business.
"""

import numpy as np
from jaxtyping import Float32, Integer

from vrjax.tasks.chains import sprites

CELLS = 8  # most cells of a row
ORDERS = 4  # most thoughts of a story
DIM = CELLS + len(sprites.SYMBOLS) + ORDERS + 1 + 1  # the last order is "in the end"; one column of padding
THEN, END = ". Then ", "; in the end "


def caption(row: Integer[np.ndarray, " cells"]) -> str:
    """What each cell shows, in words.

    Raises:
        ValueError: a cell that shows nothing (-1).
    """
    if (np.asarray(row) < 0).any():
        raise ValueError(f"caption: cells {np.flatnonzero(np.asarray(row) < 0).tolist()} show nothing to be named")
    return ", ".join(sprites.SYMBOLS[int(s)] for s in row)


def parse(text: str) -> Integer[np.ndarray, " cells"]:
    """The row that a caption names.

    Raises:
        ValueError: a word of no element.
    """
    names = [name.strip() for name in text.strip().removesuffix(".").split(",")]
    for name in names:
        if name not in sprites.INDEX:
            raise ValueError(f"caption: unknown element {name!r} in {text!r}, expected some of {sprites.SYMBOLS}")
    return np.array([sprites.INDEX[name] for name in names])


def augmented(first: str, consequences: str) -> str:
    """A scene's short prompt with what will have become of it."""
    return first + END + consequences


def rows(text: str) -> list[tuple[int, int, int]]:
    """(cell, symbol, order) of every element that a caption, story or augmented prompt names."""
    body, _, end = text.strip().removesuffix(".").partition(END)
    sentences = body.split(THEN)
    if len(sentences) > ORDERS:
        raise ValueError(f"story: {len(sentences)} thoughts, expected at most {ORDERS}")
    parts = [(order, sentence) for order, sentence in enumerate(sentences)] + ([(ORDERS, end)] if end else [])
    found = [(cell, int(s), order) for order, sentence in parts for cell, s in enumerate(parse(sentence))]
    if any(cell >= CELLS for cell, _, _ in found):
        raise ValueError(f"caption: more than {CELLS} elements in {text!r}")
    return found


def encode(text: str, length: int) -> Float32[np.ndarray, "length dim"]:
    """The rows of a text, zeros after the last.

    Raises:
        ValueError: an unknown element, too many thoughts or elements, or more rows than `length`.
    """
    found = rows(text)
    if len(found) > length:
        raise ValueError(f"encode: {len(found)} rows, expected at most {length}: {text!r}")
    cells, symbols, orders = np.array(found).T
    return onehot(cells, symbols, orders, length)


def onehot(cells: np.ndarray, symbols: np.ndarray, orders: np.ndarray, length: int) -> np.ndarray:
    """Rows from their numbers, each scaled to norm sqrt(DIM) as the entries of a trained encoder would be."""
    out = np.zeros((length, DIM), np.float32)
    line = np.arange(len(cells))
    for column in (cells, CELLS + symbols, CELLS + len(sprites.SYMBOLS) + orders):
        out[line, column] = np.sqrt(DIM / 3)
    return out
