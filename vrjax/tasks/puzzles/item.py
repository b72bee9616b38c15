"""What a puzzle is: its item, as a benchmark and a generator have it, what is drawn to answer it, and its taxonomy.

Taxonomy, counts and spellings are BabyVision's (arXiv 2601.06521, Figure 5 and Table 4, and the files of its
repository): 4 types, 22 subtypes.
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from vrjax.files import named, pixels

TYPES: Mapping[str, tuple[str, ...]] = {
    "Fine-grained Discrimination": (
        "2D Pattern Completion",
        "Count Clusters",
        "Count Same Patterns",
        "Find the different",
        "Find the same",
        "Find the shadow",
        "Pattern and Color Completion",
        "Reconstruction",
    ),
    "Visual Tracking": ("Connect the lines", "Lines Observation", "Maze", "Metro map", "Recognize numbers and letters"),
    "Spatial Perception": ("3D Cube Unfold", "3D Pattern Completion", "3D Views", "Count 3D blocks", "Paper Folding"),
    "Visual Pattern Recognition": ("Logic Patterns", "Mirroring Patterns", "Overlay Patterns", "Rotation Patterns"),
}
SUBTYPES = tuple(subtype for subtypes in TYPES.values() for subtype in subtypes)
ALIASES = {"find the same components": "Reconstruction"}
"""Other names of subtypes, in small letters: BabyVision-Gen's own for Reconstruction."""
TYPE_OF = {subtype: type for type, subtypes in TYPES.items() for subtype in subtypes}
_KNOWN = {subtype.casefold(): subtype for subtype in SUBTYPES} | ALIASES


def canonical(subtype: str) -> str:
    """The one spelling of a subtype, whatever capitals, spaces and aliases it is written with.

    Raises:
        ValueError: no such subtype; names the nearest.
    """
    found = _KNOWN.get(" ".join(str(subtype).split()).casefold())
    if found is None:
        raise ValueError(named.unknown("subtype", subtype, SUBTYPES))
    return found


DIGITS = "0123456789"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + DIGITS


class Circle(NamedTuple):
    """To be circled. Attributes: boxes (n, 4): all that could be, in the unit square; right: which of them are."""

    boxes: Float[np.ndarray, "n 4"]
    right: tuple[int, ...]


class Route(NamedTuple):
    """To be traced. Attributes: nodes (n, 2): places in the unit square; edges (m, 2): pairs of nodes that lines join;
    path: the nodes of the route in their order."""

    nodes: Float[np.ndarray, "n 2"]
    edges: Any
    path: tuple[int, ...]


class Glyphs(NamedTuple):
    """To be written. Attributes: slots (n, 4): boxes in the unit square; texts: what belongs into each; alphabet: the
    letters that there are, of which no two are taken for each other where that can be helped."""

    slots: Float[np.ndarray, "n 4"]
    texts: tuple[str, ...]
    alphabet: str = ALPHABET


class Marks(NamedTuple):
    """To be counted by a dot on each. Attributes: places (n, 2) in the unit square; right: which of them count."""

    places: Float[np.ndarray, "n 2"]
    right: tuple[int, ...]


Annotation = Circle | Route | Glyphs | Marks


class Item:
    """One question about a picture.

    Args:
        task_id: its number.
        type, subtype: of the taxonomy, in the canonical spelling.
        image: its picture, pixels (h, w, 3) of 8 bits or a file (its path, or its bytes), which is read when `image` is
            first asked for.
        question: as a reader is asked.
        kind: whether one chooses, writes or draws.
        options: of a choice, by their order; empty otherwise.
        answer: the letter of the right option, or what is to be written.
        reasoning: how one comes to it.
        prompt: what who draws the answer is asked for.
        annotation: what is to be drawn, where that is known.
        answer_image: the picture with the answer in it, pixels or a file.
        state: of a generated item, what it was drawn from, in JSON's types.

    Attributes are called so as well; `source` and `drawn` are both pictures as they were given. Items are equal whose
    words and pictures are; files are compared by their paths, or bytes.
    """

    def __init__(
        self,
        task_id: int,
        type: str,
        subtype: str,
        image: np.ndarray | pathlib.Path | bytes,
        question: str,
        kind: Literal["choice", "blank", "drawn"],
        options: Sequence[str],
        answer: str,
        *,
        reasoning: str = "",
        prompt: str = "",
        annotation: Annotation | None = None,
        answer_image: np.ndarray | pathlib.Path | bytes | None = None,
        state: Mapping[str, Any] | None = None,
    ):
        self.task_id, self.type, self.subtype, self.source = task_id, type, subtype, image
        self.question, self.kind, self.options, self.answer = question, kind, tuple(options), answer
        self.reasoning, self.prompt, self.annotation = reasoning, prompt, annotation
        self.drawn, self.state = answer_image, state

    @functools.cached_property
    def image(self) -> UInt8[np.ndarray, "h w 3"]:
        """The picture; a file is read when it is first asked for. Raises ValueError for one that is none."""
        return self._pixels(self.source)

    @functools.cached_property
    def answer_image(self) -> UInt8[np.ndarray, "h w 3"] | None:
        """The picture with the answer in it; None where there is none."""
        return None if self.drawn is None else self._pixels(self.drawn)

    def _pixels(self, source: np.ndarray | pathlib.Path | bytes) -> UInt8[np.ndarray, "h w 3"]:
        if isinstance(source, bytes):
            return pixels.decode(source, f"item {self.task_id}: a picture")
        return source if isinstance(source, np.ndarray) else pixels.read_image(source)

    @property
    def _words(self) -> tuple[Any, ...]:
        pictures = [one.tobytes() if isinstance(one, np.ndarray) else one for one in (self.source, self.drawn)]
        told = (self.question, self.kind, self.options, self.answer, self.reasoning, self.prompt)
        return (self.task_id, self.type, self.subtype, *pictures, *told)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Item) and self._words == other._words

    def __hash__(self) -> int:
        return hash((self.task_id, self.subtype, self.question, self.answer))

    def __repr__(self) -> str:
        return f"Item({self.task_id}, {self.subtype}, {self.kind}: {self.answer!r})"
