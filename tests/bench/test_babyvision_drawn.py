"""Drawn answers: planted ones of every kind, by subtype and by kind of annotation; what is no answer."""

import pathlib

import numpy as np
import pytest

from vrjax.bench import babyvision
from vrjax.bench.babyvision import generated, planted
from vrjax.tasks import puzzles
from vrjax.tasks.puzzles import decoding
from vrjax.tasks.puzzles.canvas import Canvas

SEEDS, SIGNS = 6, "ACEHLPTX478"


def dots(seed, size):
    """Nine things of two colours, of which the blue ones are to be counted."""
    rng, canvas = np.random.default_rng([seed, 5]), Canvas(size)
    places = np.stack(np.meshgrid([0.2, 0.5, 0.8], [0.2, 0.5, 0.8]), -1).reshape(-1, 2)
    blue = rng.random(9) < 0.5
    blue[:2] = True, False
    for place, is_blue in zip(places, blue, strict=True):
        canvas.disc(place, 0.08, "blue" if is_blue else "orange")
    return canvas.pixels(), puzzles.Marks(places, tuple(np.flatnonzero(blue).tolist()))


def letters(seed, size):
    """Two empty slots."""
    rng, canvas = np.random.default_rng([seed, 6]), Canvas(size)
    slots = np.array([[0.05, 0.55, 0.45, 0.95], [0.55, 0.55, 0.95, 0.95]])
    for slot in slots:
        canvas.box(tuple(slot), None, "grey", 0.01)
    canvas.disc((0.5, 0.25), 0.2, "purple")
    return canvas.pixels(), puzzles.Glyphs(slots, tuple(rng.choice(list(SIGNS), 2, replace=False).tolist()), SIGNS)


def by_hand(make, seed, size):
    picture, annotation = make(seed, size)
    return babyvision.Item(seed, "t", "s", picture, "?", "drawn", (), "", annotation=annotation)


MADE = {
    "route": lambda seed, size: puzzles.make("Maze", seed, size=size, difficulty=1 + seed % 3),
    "option": lambda seed, size: puzzles.make("Rotation Patterns", seed, size=size),
    "dots": lambda seed, size: by_hand(dots, seed, size),
    "letters": lambda seed, size: by_hand(letters, seed, size),
}


@pytest.mark.parametrize("size", [64, 256])
@pytest.mark.parametrize("name", MADE)
def test_planted_answers(name, size):
    """All that is right is found in every style, and nothing else is; JPEG at the size that is evaluated on."""
    items = [MADE[name](seed, size) for seed in range(SEEDS if size == 256 else 3 * SEEDS)]
    found = planted.confusion(items, np.random.default_rng(0))["kinds"]
    for kind, (right, count) in found.items():
        if not planted.RIGHT[kind]:
            assert right == 0, kind
        elif kind != "jpeg" or size == 256:
            assert right >= 0.95 * count and count == len(items), kind
    assert sum(count for kind, (_, count) in found.items() if not planted.RIGHT[kind]) >= 2 * len(items)


def test_what_was_marked_is_told():
    item = puzzles.make("Rotation Patterns", 1, size=128)
    assert isinstance(item.annotation, puzzles.Circle) and item.answer_image is not None
    (right,) = item.annotation.right
    found = decoding.decode(item, item.answer_image)
    assert found.marked == (right,) and found.right and found.stray == 0 and found.preservation == float("inf")
    other = (right + 1) % 4
    wrong = puzzles.making.annotated(item.image, item.annotation._replace(right=(other,)), "green")
    assert decoding.decode(item, wrong).marked == (other,) and not decoding.judge(item, wrong)
    both = puzzles.making.annotated(wrong, item.annotation)
    assert decoding.decode(item, both).marked == tuple(sorted((right, other))) and not decoding.judge(item, both)
    nothing = decoding.decode(item, item.image)
    assert nothing.marked == () and not nothing.right
    # a tick in the box, a circle far from any box
    x0, y0, x1, y1 = item.annotation.boxes[right]
    canvas = Canvas.over(item.image)
    canvas.line([(x0 + 0.05, (y0 + y1) / 2), ((x0 + x1) / 2, y1 - 0.05), (x1 - 0.05, y0 + 0.05)], "red", 0.03)
    assert decoding.judge(item, canvas.pixels())
    canvas.disc((0.5, 0.3), 0.1, None, "red", 0.03)
    assert decoding.decode(item, canvas.pixels()).marked == (right,) and not decoding.judge(item, canvas.pixels())


def test_what_is_repainted_is_told_and_is_no_mark():
    """Half as bright, and with another background: the answer still counts, preservation falls; nothing is marked."""
    item = puzzles.make("Rotation Patterns", 2, size=128)
    assert item.answer_image is not None
    dark = (item.answer_image * 0.9).astype(np.uint8)
    found = decoding.decode(item, dark)
    assert found.right and found.preservation < 25
    grey = (item.image * 0.5).astype(np.uint8)
    assert decoding.decode(item, grey).marked == () and decoding.decode(item, grey).preservation < 10
    swapped = item.image[..., ::-1].copy()
    assert not decoding.judge(item, swapped)
    assert decoding.preservation(item.image, grey, np.ones(item.image.shape[:2], bool)) == 0.0


def test_a_route_that_leaves_the_way():
    """Through a wall, with a gap, and along the way but for its last step."""
    item = puzzles.make("Maze", 4, size=256)
    assert isinstance(item.annotation, puzzles.Route)
    way = [item.annotation.nodes[i] for i in item.annotation.path]
    for line, right in ((way, True), ([way[0], way[-1]], False), (way[:-3], False)):
        canvas = Canvas.over(item.image)
        canvas.line(line, "red", 0.02)
        assert decoding.judge(item, canvas.pixels()) is right
    canvas = Canvas.over(item.image)
    canvas.line(way[: len(way) // 2], "red", 0.02)
    canvas.line(way[len(way) // 2 + 2 :], "red", 0.02)
    assert not decoding.judge(item, canvas.pixels())


def test_pictures_of_other_sizes():
    """Four times as large, and padded to a square as the protocol does it."""
    item = puzzles.make("Rotation Patterns", 3, size=128)
    assert item.answer_image is not None
    large = np.kron(item.answer_image, np.ones((4, 4, 1), np.uint8))
    assert decoding.judge(item, large)
    assert decoding.judge(item, generated.padded(item.answer_image, 300))
    for wrong, said in ((large[..., :1], r"expected a picture \(h, w, 3\)"), (large / 255, "of float64")):
        with pytest.raises(ValueError, match=said):
            decoding.decode(item, wrong)
    plain = babyvision.Item(5, "t", "s", pathlib.Path("a.png"), "?", "drawn", (), "")
    with pytest.raises(ValueError, match="item 5: says not what there is to be marked"):
        decoding.decode(plain, large)
    with pytest.raises(ValueError, match="item 5, 'plain': expected an annotation"):
        planted.plant(plain, "plain", np.random.default_rng(0))
