"""Solvers that understand nothing: what a benchmark gives away to who counts answers, colours or equal pixels.

    solver = trivial.get("pixels")(train)               # from items whose answers are known
    solver(item, rng) -> "B"                            # an answer, always

| name | what it answers |
| --- | --- |
| random | one of the options, or one of the answers that were seen, each as likely |
| frequent | the answer that was seen most often |
| colours | the option whose colours are most like those of the question; else as the seen item whose colours are |
| rare | the option whose colours are least like those of the question; else as `random` |
| pixels | as the seen item whose pixels are nearest |
| odd | the option that is least like the others; else as `random` |
| middle | the option that is most like the others; else as `random` |
"""

import collections
from collections.abc import Callable, Sequence

import numpy as np

from vrjax.tasks.puzzles.item import Circle, Item

Solver = Callable[[Item, np.random.Generator], str]
BINS = 4
"""Of each channel."""


def get(name: str) -> Callable[[Sequence[Item]], Solver]:
    """What makes the solver of that name. Raises ValueError where there is none."""
    if name not in SOLVERS:
        raise ValueError(f"unknown solver {name!r}, expected one of {', '.join(SOLVERS)}")
    return SOLVERS[name]


def solved(make: Callable[[Sequence[Item]], Solver], seen: Sequence[Item], asked: Sequence[Item], seed: int) -> float:
    """The share of items that a solver answers rightly, after it saw others of the same subtype with their answers."""
    solver, rng = make(seen), np.random.default_rng(seed)
    return float(np.mean([solver(item, rng) == item.answer for item in asked]))


def _random(seen: Sequence[Item]) -> Solver:
    answers = sorted({item.answer for item in seen})
    return lambda item, rng: str(rng.choice(item.options or answers))


def _frequent(seen: Sequence[Item]) -> Solver:
    (answer, _) = collections.Counter(item.answer for item in seen).most_common(1)[0]
    return lambda item, rng: answer


def _nearest(look: Callable[[np.ndarray], np.ndarray]) -> Callable[[Sequence[Item]], Solver]:
    def make(seen: Sequence[Item]) -> Solver:
        known = np.stack([look(item.image) for item in seen])
        return lambda item, rng: seen[int(((known - look(item.image)) ** 2).sum(-1).argmin())].answer

    return make


def histogram(pixels: np.ndarray) -> np.ndarray:
    """How often each colour is in a picture: shares, white paper apart."""
    level = pixels.reshape(-1, 3).astype(int) * BINS // 256
    counts = np.bincount(level @ [BINS * BINS, BINS, 1], minlength=BINS**3).astype(float)
    counts[-1] = 0.0
    return counts / max(counts.sum(), 1.0)


def _colours(seen: Sequence[Item]) -> Solver:
    beside = _nearest(histogram)(seen)

    def solve(item: Item, rng: np.random.Generator) -> str:
        far = _unlike(item)
        return item.options[int(np.argmin(far))] if far else beside(item, rng)

    return solve


def _rare(seen: Sequence[Item]) -> Solver:
    other = _random(seen)

    def solve(item: Item, rng: np.random.Generator) -> str:
        far = _unlike(item)
        return item.options[int(np.argmax(far))] if far else other(item, rng)

    return solve


def _unlike(item: Item) -> list[float]:
    """How far the colours of each option are from those of the question; of items without options nothing."""
    panel = histogram(item.image[: int(0.66 * len(item.image))])
    return [float(np.abs(histogram(crop) - panel).sum()) for crop in options(item)]


def _among(sign: int) -> Callable[[Sequence[Item]], Solver]:
    """By how far an option's pixels are from those of the others, in the mean: the farthest, or the nearest."""

    def make(seen: Sequence[Item]) -> Solver:
        other = _random(seen)

        def solve(item: Item, rng: np.random.Generator) -> str:
            crops = options(item)
            if not crops:
                return other(item, rng)
            side = min(min(crop.shape[:2]) for crop in crops)
            rows = np.stack([crop[:side, :side].reshape(-1) for crop in crops]).astype(np.float32)
            far = ((rows[:, None] - rows) ** 2).mean(-1).sum(1)
            return item.options[int(np.argmax(sign * far))]

        return solve

    return make


def options(item: Item) -> list[np.ndarray]:
    """Pictures of the options; of items that have none, none."""
    if item.kind != "choice" or not isinstance(item.annotation, Circle):
        return []
    size = len(item.image)
    corners = np.clip(np.rint(item.annotation.boxes * size), 0, size).astype(int)
    return [item.image[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] for x0, y0, x1, y1 in corners.tolist()]


SOLVERS: dict[str, Callable[[Sequence[Item]], Solver]] = {
    "random": _random,
    "frequent": _frequent,
    "colours": _colours,
    "rare": _rare,
    "pixels": _nearest(lambda image: image.astype(np.float32).reshape(-1)),
    "odd": _among(1),
    "middle": _among(-1),
}
