"""Drawn answers of which it is known whether they are right: what decoders are validated by.

    for kind in planted.KINDS:
        picture = planted.plant(item, kind, rng)            # right where planted.RIGHT[kind]
    planted.confusion(items, rng)                           # counts by kind, precision and recall

A right answer is drawn in some style: colour, width, and how exactly it sits. Wrong ones are right answers to another
question (another option, a way that leaves the route for a while, another text), nothing at all, one mark too many, or
a right answer under paint that hides the picture.
"""

import io
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from vrjax.tasks.puzzles import decoding
from vrjax.tasks.puzzles.canvas import Canvas
from vrjax.tasks.puzzles.item import Annotation, Circle, Item, Marks, Route
from vrjax.tasks.puzzles.making import ROUND

RIGHT: Mapping[str, bool] = {
    "plain": True,
    "styled": True,
    "jpeg": True,
    "noisy": True,
    "wrong": False,
    "missing": False,
    "one too many": False,
    "one too few": False,
    "scribbled": False,
}
"""Kinds of planted answers, and whether they are right."""
KINDS = tuple(RIGHT)
QUALITY = 50
INKS = ("red", "green", (255, 0, 0), (0, 200, 0), (0, 60, 255), (220, 40, 30))


def plant(item: Item, kind: str, rng: np.random.Generator) -> np.ndarray | None:
    """A picture with an answer of that kind; None where there is none of it (of one thing to mark none is too few).

    Raises:
        ValueError: an item without an annotation, an unknown kind.
    """
    annotation = item.annotation
    if annotation is None or kind not in RIGHT:
        raise ValueError(f"item {item.task_id}, {kind!r}: expected an annotation, and one of {', '.join(KINDS)}")
    if kind in ("wrong", "one too many", "one too few"):
        annotation = changed(annotation, kind, rng)
        if annotation is None:
            return None
    style = Style(rng) if kind not in ("plain", "missing") else Style(None)
    if kind == "missing":
        return item.image.copy()
    picture = draw(item.image, annotation, style)
    if kind == "scribbled":
        canvas = Canvas.over(picture)
        ends = rng.uniform(0.05, 0.95, (7, 2))
        canvas.line(ends, style.colour, 0.05)
        picture = canvas.pixels()
    if kind == "jpeg":
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=QUALITY)
        picture = np.asarray(Image.open(file).convert("RGB")).copy()
    if kind == "noisy":
        noise = rng.normal(0, 8, picture.shape)
        picture = np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)
    return picture


class Style:
    """How an answer is drawn: at random, or without a generator as `making.annotated` does."""

    def __init__(self, rng: np.random.Generator | None):
        self.rng = rng
        self.colour: Any = "red" if rng is None else INKS[int(rng.integers(len(INKS)))]
        self.width = 0.022 if rng is None else float(rng.uniform(0.018, 0.035))
        self.scale = 1.0 if rng is None else float(rng.uniform(0.92, 1.12))
        self.gap = 0.0 if rng is None else float(rng.uniform(0.0, 0.5))

    def shaken(self, point: Any, by: float) -> np.ndarray:
        """A place, moved by chance."""
        moved = np.zeros(2) if self.rng is None else self.rng.normal(0, by, 2)
        return np.asarray(point, float) + moved


def draw(image: np.ndarray, annotation: Annotation, style: Style) -> np.ndarray:
    """An answer over a picture."""
    canvas = Canvas.over(image)
    if isinstance(annotation, Circle):
        for which in annotation.right:
            x0, y0, x1, y1 = annotation.boxes[which]
            radius = ROUND * max(x1 - x0, y1 - y0) * style.scale
            x, y = style.shaken(((x0 + x1) / 2, (y0 + y1) / 2), 0.05 * radius)
            begin = 0.0 if style.rng is None else style.rng.uniform(0, 2 * np.pi)
            turn = begin + np.linspace(0, 2 * np.pi - style.gap, 48)
            canvas.line(np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], 1), style.colour, style.width)
    elif isinstance(annotation, Route):
        places = [style.shaken(annotation.nodes[i], 0.004) for i in annotation.path]
        canvas.line(places, style.colour, style.width)
    elif isinstance(annotation, Marks):
        for which in annotation.right:
            canvas.disc(style.shaken(annotation.places[which], 0.005), 0.024 * style.scale, style.colour)
    else:
        for (x0, y0, x1, y1), text in zip(annotation.slots, annotation.texts, strict=True):
            centre = style.shaken(((x0 + x1) / 2, (y0 + y1) / 2), 0.004)
            canvas.text(centre, text, 0.75 * (y1 - y0) * min(style.scale, 1.05), style.colour)
    return canvas.pixels()


def changed(annotation: Annotation, kind: str, rng: np.random.Generator) -> Annotation | None:
    """Another answer: a wrong one, or one with a mark too many or too few; None where there is no such."""
    if isinstance(annotation, Circle | Marks):
        places = annotation[0]
        others = sorted(set(range(len(places))) - set(annotation.right))
        right = list(annotation.right)
        drop = right[int(rng.integers(len(right)))] if right else None
        if kind != "one too few" and not others:
            return None
        if kind in ("wrong", "one too few"):
            if drop is None or (kind == "one too few" and len(right) < 2):
                return None
            right.remove(drop)
        if kind in ("wrong", "one too many"):
            right.append(others[int(rng.integers(len(others)))])
        return annotation._replace(right=tuple(right))
    if isinstance(annotation, Route):
        return _rerouted(annotation, kind, rng)
    texts = list(annotation.texts)
    at = int(rng.integers(len(texts)))
    if kind == "one too many":
        return None
    same = [letter for letter in annotation.alphabet if letter not in texts[at]]
    texts[at] = "" if kind == "one too few" else same[int(rng.integers(len(same)))]
    return annotation._replace(texts=tuple(texts))


def _rerouted(annotation: Route, kind: str, rng: np.random.Generator) -> Route | None:
    """A path that ends early, or that goes on along an edge that is not of it."""
    path = list(annotation.path)
    if kind == "one too few":
        return annotation._replace(path=tuple(path[: max(2, len(path) // 2)])) if len(path) > 2 else None
    beside = [
        (a, b) if a in path else (b, a) for a, b in np.asarray(annotation.edges).tolist() if (a in path) != (b in path)
    ]
    if not beside:
        return _elsewhere(annotation, path) if kind == "wrong" else None
    at, to = beside[int(rng.integers(len(beside)))]
    place = path.index(at)
    out = [*path[: place + 1], to] if kind == "wrong" else [*path[: place + 1], to, *path[place:]]
    return annotation._replace(path=tuple(out)) if len(out) > 1 else None


def _elsewhere(annotation: Route, path: list[int]) -> Route | None:
    """Another line of a graph whose lines do not meet."""
    edges = [pair for pair in np.asarray(annotation.edges).tolist() if not set(pair) & set(path)]
    if not edges:
        return None
    ends = [node for node in sorted({n for pair in edges for n in pair}) if sum(node in pair for pair in edges) == 1]
    out = [ends[0] if ends else edges[0][0]]
    while True:
        on = [(set(pair) - {out[-1]}).pop() for pair in edges if out[-1] in pair]
        following = [node for node in on if node not in out]
        if not following:
            return annotation._replace(path=tuple(out))
        out.append(following[0])


def confusion(items: Iterable[Item], rng: np.random.Generator, judge: Callable = decoding.judge) -> dict[str, Any]:
    """How planted answers are judged.

    Returns:
        `{"kinds": {kind: (judged right, planted)}, "precision": ..., "recall": ...}`: of what was judged right how much
        is, and of what is right how much was judged so.
    """
    counts = {kind: [0, 0] for kind in KINDS}
    for item in items:
        for kind in KINDS:
            picture = plant(item, kind, rng)
            if picture is None:
                continue
            counts[kind][0] += bool(judge(item, picture))
            counts[kind][1] += 1
    true = sum(counts[kind][0] for kind in KINDS if RIGHT[kind])
    said = sum(found for found, _ in counts.values())
    there = sum(counts[kind][1] for kind in KINDS if RIGHT[kind])
    precision, recall = true / max(said, 1), true / max(there, 1)
    return {"kinds": {kind: tuple(each) for kind, each in counts.items()}, "precision": precision, "recall": recall}
