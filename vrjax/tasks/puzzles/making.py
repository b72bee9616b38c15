"""From what a subtype's file draws at random to an item: places of options, letters, the answer drawn in.

    item = making.item(module, "Maze", index=3, split="test", difficulty=1, size=64)

A subtype's file says how one of its puzzles looks and what is right (`Puzzle`), and apart from that how a puzzle is
solved by trying everything (`solve`). A puzzle with another number of solutions than one is drawn again.
"""

import json
import types
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vrjax.tasks.puzzles.canvas import MARKERS, Box, Canvas
from vrjax.tasks.puzzles.item import TYPE_OF, Annotation, Circle, Glyphs, Item, Marks, Route

Paint = Callable[[Canvas], None]
"""Draws in the unit square of a canvas."""
SPLITS = ("train", "val", "test")
DIFFICULTIES = (1, 2, 3)
SIZES = range(32, 1025)
TRIES = 200
"""Puzzles that are drawn for one with a single solution."""
PANEL: Box = (0.02, 0.02, 0.98, 0.66)
"""Where the question's picture is, where there are options; elsewhere it is all of the square."""
ROW, LETTERS = (0.68, 0.92), 0.96
"""Heights between which options lie, and at which their letters do."""
FIRST_ID = 1_000_000
"""Numbers of generated items begin here."""
RED = "red"
ROUND = 0.55
"""Radius of a circle that is drawn round a box, in its longer sides."""


class Puzzle(NamedTuple):
    """One puzzle, in unit squares.

    Attributes:
        question: as a reader is asked.
        prompt: what who draws the answer is asked for.
        paint: the picture. Of a choice it is drawn in a panel that is half as wide again as it is high.
        state: all that `solve` needs, in JSON's types. Of a choice `state["options"]` has what the options are, the
            right one first.
        answer: of a blank, what is to be written.
        reasoning: how one comes to it.
        options: of a choice, paints, the right one first; they are shuffled where they are drawn.
        annotation: of a blank, what is to be drawn, in the picture's unit square; of a choice the option is circled.
    """

    question: str
    prompt: str
    paint: Paint
    state: dict[str, Any]
    answer: str = ""
    reasoning: str = ""
    options: tuple[Paint, ...] = ()
    annotation: Annotation | None = None


def generator(name: str, split: str, difficulty: int, index: int, attempt: int) -> np.random.Generator:
    """The generator of a puzzle's randomness: another one for each of all of these."""
    return np.random.default_rng([zlib.crc32(name.encode()), SPLITS.index(split), difficulty, index, attempt])


def drawn(module: types.ModuleType, split: str, difficulty: int, index: int) -> tuple[Puzzle, int]:
    """The first puzzle of an index that has one solution, the right one; and after how many tries.

    Raises:
        RuntimeError: none of `TRIES` has.
    """
    for attempt in range(TRIES):
        puzzle = module.puzzle(generator(module.NAME, split, difficulty, index, attempt), difficulty)
        if puzzle is None or (getattr(module, "FEW", False) and split_of(puzzle.state) != split):
            continue
        if list(module.solve(puzzle.state)) == ([0] if puzzle.options else [puzzle.answer]):
            return puzzle, attempt
    raise RuntimeError(f"{module.NAME}: none of {TRIES} puzzles has a single solution ({split}, {difficulty}, {index})")


def split_of(state: Mapping[str, Any]) -> str:
    """The split that a puzzle belongs to by its content: of subtypes whose puzzles are few, the same one may be drawn
    for several indices, and must not be in two splits."""
    return SPLITS[zlib.crc32(json.dumps(state, sort_keys=True).encode()) % len(SPLITS)]


def item(module: types.ModuleType, index: int, *, split: str, difficulty: int, size: int) -> Item:
    """The item of an index. Raises ValueError for a split, difficulty, index or size that there is not."""
    for name, value, known in (("split", split, SPLITS), ("difficulty", difficulty, DIFFICULTIES)):
        if value not in known:
            raise ValueError(f"{module.NAME}: {name} is {value!r}, expected one of {', '.join(map(str, known))}")
    for name, value, allowed in (("size", size, SIZES), ("index", index, range(FIRST_ID))):
        if isinstance(value, bool) or value not in allowed:
            raise ValueError(f"{module.NAME}: {name} is {value!r}, expected {allowed.start} to {allowed.stop - 1}")
    puzzle, attempt = drawn(module, split, difficulty, index)
    canvas, letters, annotation, answer = Canvas(size), "", puzzle.annotation, puzzle.answer
    state = dict(puzzle.state) | {"difficulty": difficulty, "split": split, "index": index}
    if puzzle.options:
        order = shuffled(module, split, difficulty, index, attempt, len(puzzle.options))
        boxes = option_boxes(len(order))
        puzzle.paint(canvas.part(PANEL))
        letters = "".join(chr(65 + i) for i in range(len(order)))
        for place, which in enumerate(order):
            x0, y0, x1, y1 = boxes[place]
            puzzle.options[which](canvas.part(boxes[place]))
            canvas.box(boxes[place], None, "grey", 0.008)
            canvas.text(((x0 + x1) / 2, LETTERS), letters[place], 0.05)
        right = int(np.argmin(order))
        annotation, answer = Circle(np.array(boxes), (right,)), letters[right]
        state["order"] = order.tolist()
    else:
        puzzle.paint(canvas)
    pixels = canvas.pixels()
    return Item(
        task_id=FIRST_ID + index,
        type=TYPE_OF[module.NAME],
        subtype=module.NAME,
        image=pixels,
        question=puzzle.question,
        kind="choice" if puzzle.options else "blank",
        options=tuple(letters),
        answer=answer,
        reasoning=puzzle.reasoning,
        prompt=puzzle.prompt,
        annotation=annotation,
        answer_image=None if annotation is None else annotated(pixels, annotation),
        state=state,
    )


def shuffled(module: types.ModuleType, split: str, difficulty: int, index: int, attempt: int, count: int) -> np.ndarray:
    """Which option lies at each place: drawn apart from the puzzle, so that no place says anything."""
    return generator(f"{module.NAME}, places", split, difficulty, index, attempt).permutation(count)


def option_boxes(count: int) -> list[Box]:
    """Where options lie: in a row, squares."""
    side = min(ROW[1] - ROW[0], 0.96 / count - 0.02)
    gap = (1 - count * side) / (count + 1)
    middle = (ROW[0] + ROW[1]) / 2
    lefts = [gap + i * (side + gap) for i in range(count)]
    return [(x, middle - side / 2, x + side, middle + side / 2) for x in lefts]


def annotated(pixels: np.ndarray, annotation: Annotation, colour: str = RED) -> np.ndarray:
    """A picture with the answer drawn over it in a marker's colour, and nothing else changed."""
    if colour not in MARKERS:
        raise ValueError(f"answers are drawn in {' or '.join(MARKERS)}, found {colour!r}")
    canvas, width = Canvas.over(pixels), 0.022
    if isinstance(annotation, Circle):
        for which in annotation.right:
            x0, y0, x1, y1 = annotation.boxes[which]
            radius = ROUND * max(x1 - x0, y1 - y0)
            canvas.disc(((x0 + x1) / 2, (y0 + y1) / 2), radius, None, colour, width)
    elif isinstance(annotation, Route):
        canvas.line([annotation.nodes[i] for i in annotation.path], colour, width)
    elif isinstance(annotation, Marks):
        for which in annotation.right:
            canvas.disc(annotation.places[which], 0.024, colour)
    else:
        assert isinstance(annotation, Glyphs)
        for (x0, y0, x1, y1), text in zip(annotation.slots, annotation.texts, strict=True):
            canvas.text(((x0 + x1) / 2, (y0 + y1) / 2), text, 0.75 * (y1 - y0), colour)
    return canvas.pixels()


def found(state: Mapping[str, Any], fits: Callable[[Any], bool]) -> list[int]:
    """For `solve` of choices: which of `state["options"]` fit."""
    return [i for i, option in enumerate(state["options"]) if fits(option)]


def one_of(rng: np.random.Generator, among: Sequence[Any]) -> Any:
    """An element, drawn; of lists of lists as well, which NumPy would make arrays of."""
    return among[int(rng.integers(len(among)))]
