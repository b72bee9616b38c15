"""BabyVision's 22 basic visual skills as procedural puzzles with exact answers (NumPy and Pillow only).

    item = puzzles.make("Maze", 3)                     # Item: image, question, answer, annotation, answer_image
    puzzles.subtypes()                                 # those that there are, by their canonical names

After arXiv 2601.06521, whose items are not in here. A puzzle is a pure function of subtype, index, split and
difficulty; the size says how large it is drawn. Each has exactly one solution, by trying everything. A new subtype is
one file:

| name in it | what it is |
| --- | --- |
| NAME | the canonical subtype, see `item.SUBTYPES` |
| CHANCE | how often who guesses is right |
| FEW | if True, there are so few puzzles that splits are told apart by content |
| puzzle | `puzzle(rng, difficulty) -> making.Puzzle`, or None where what was drawn is no puzzle |
| solve | `solve(state) -> answers`: all that are right, from `Puzzle.state` alone, by trying everything |

Beside these are `canvas`, `item` and `making`, of which items are made; `decoding`, which reads drawn answers; and
`drawing`, which makes tasks of puzzles: `tasks.get("draw_maze")`.

Of a choice `solve` says which of `state["options"]` are right, and the right one is the first of them: positions are
drawn elsewhere. `tests/laws/test_puzzles.py` holds every file to it.
"""

import functools
import types

from vrjax.files import named
from vrjax.tasks.puzzles import making
from vrjax.tasks.puzzles.item import SUBTYPES, TYPE_OF, TYPES, Circle, Glyphs, Item, Marks, Route, canonical
from vrjax.tasks.puzzles.making import DIFFICULTIES, SPLITS, Puzzle

__all__ = [
    "DIFFICULTIES",
    "SPLITS",
    "SUBTYPES",
    "TYPES",
    "TYPE_OF",
    "Circle",
    "Glyphs",
    "Item",
    "Marks",
    "Puzzle",
    "Route",
    "canonical",
    "get",
    "make",
    "subtypes",
]
COMMON = ("canvas", "decoding", "drawing", "item", "making")
"""Files of the room that are no subtype."""


def files() -> tuple[str, ...]:
    """The names of the subtypes' files."""
    return tuple(name for name in named.names(__name__) if name not in COMMON)


def named_so(file: str) -> str:
    """The subtype of a file."""
    return str(named.module(__name__, file, "puzzle").NAME)


@functools.cache
def _files() -> dict[str, types.ModuleType]:
    found = [named.module(__name__, name, "puzzle") for name in files()]
    return {module.NAME: module for module in found}


def subtypes() -> tuple[str, ...]:
    """The subtypes of which puzzles can be made, in the taxonomy's order."""
    return tuple(name for name in SUBTYPES if name in _files())


def get(subtype: str) -> types.ModuleType:
    """The file of a subtype, however it is spelled. Raises ValueError where there is none."""
    name = canonical(subtype)
    if name not in _files():
        raise ValueError(named.unknown("puzzle", name, subtypes()))
    return _files()[name]


def make(subtype: str, index: int, *, split: str = "test", difficulty: int = 1, size: int = 64) -> Item:
    """One item.

    Args:
        subtype: of `subtypes()`, in any spelling.
        index: 0 to 999,999.
        split: "train", "val" or "test".
        difficulty: 1, 2 or 3.
        size: pixels of a side, 32 to 1024; 64 to train on, 256 to evaluate on.

    Raises:
        ValueError: an argument that there is not.
    """
    return making.item(get(subtype), index, split=split, difficulty=difficulty, size=size)
