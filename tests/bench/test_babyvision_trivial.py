"""Solvers that understand nothing, on items by hand of which the answer is what they look at."""

import numpy as np
import pytest

from vrjax.bench import babyvision
from vrjax.bench.babyvision import trivial
from vrjax.tasks import puzzles
from vrjax.tasks.puzzles.canvas import Canvas
from vrjax.tasks.puzzles.making import PANEL, option_boxes

RNG = np.random.default_rng(0)


def choice(panel, options, right):
    """A picture with a panel of one colour and options of one each."""
    canvas, boxes = Canvas(64), option_boxes(len(options))
    canvas.box(PANEL, panel)
    for box, colour in zip(boxes, options, strict=True):
        canvas.box(box, colour)
    letters, annotation = tuple("ABCD"[: len(options)]), puzzles.Circle(np.array(boxes), (right,))
    return babyvision.Item(1, "t", "s", canvas.pixels(), "?", "choice", letters, letters[right], annotation=annotation)


def blank(colour, answer):
    canvas = Canvas(64)
    canvas.box((0.2, 0.2, 0.8, 0.8), colour)
    return babyvision.Item(2, "t", "s", canvas.pixels(), "?", "blank", (), answer)


def test_each_finds_what_it_looks_at():
    seen = [choice("blue", ["orange", "blue", "teal"], 1)] * 3 + [choice("teal", ["orange", "blue", "teal"], 2)]
    item = choice("orange", ["blue", "teal", "orange"], 2)
    assert trivial.get("colours")(seen)(item, RNG) == "C"
    assert trivial.get("rare")(seen)(item, RNG) in "AB"
    assert trivial.get("frequent")(seen)(item, RNG) == "B"
    odd = choice("white", ["navy", "yellow", "navy"], 1)
    assert trivial.get("odd")(seen)(odd, RNG) == "B" and trivial.get("middle")(seen)(odd, RNG) in "AC"
    known = [blank("blue", "3"), blank("orange", "5")]
    for name in ("colours", "pixels"):
        assert trivial.get(name)(known)(blank("orange", "5"), RNG) == "5"
    assert {trivial.get("random")(known)(blank("blue", "3"), RNG) for _ in range(50)} == {"3", "5"}
    assert {trivial.get("random")(known)(item, RNG) for _ in range(90)} == {"A", "B", "C"}
    asked = [choice("blue", ["blue", "teal"], 0), choice("blue", ["teal", "blue"], 0)]
    assert trivial.solved(trivial.get("colours"), seen, asked, 0) == 0.5
    with pytest.raises(ValueError, match="unknown solver 'luck', expected one of random"):
        trivial.get("luck")


def test_options_say_nothing_of_which_is_right():
    """Over all choices: the odd one out and the one in the middle are right as often as chance says."""
    chosen = [name for name in puzzles.subtypes() if puzzles.make(name, 0).kind == "choice"]
    assert len(chosen) >= 10
    items = [puzzles.make(name, i) for name in chosen for i in range(24)]
    chance = np.mean([1 / len(item.options) for item in items])
    for name in ("odd", "middle"):
        found = trivial.solved(trivial.get(name), items, items, 0)
        assert abs(found - chance) < 4 * np.sqrt(chance * (1 - chance) / len(items)), name
