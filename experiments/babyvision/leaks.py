"""Whether puzzles give their answers away: a probe that is trained on all that surrounds the question.

    rows = leaks.probed(seen, asked)               # Probed(options, file, chance): shares solved, of what is not seen

Of choices the options are shown to it, without the question: pixels, colours, how large each is as a file, and all
that beside the mean of the others. Of every item the file is: its bytes as PNG and as JPEG, its index, how bright it
is. A probe is ridge regression, its penalty chosen on a fifth of what it is trained on; where options tell nothing it
is right as often as who guesses.
"""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import stats

from vrjax.bench.babyvision import trivial
from vrjax.files import pixels
from vrjax.report.statistics import wilson
from vrjax.tasks import puzzles
from vrjax.tasks.puzzles import making
from vrjax.tasks.puzzles.item import Item

SIDE = 12
"""Of an option as a probe sees it."""
PENALTIES = (1e1, 1e2, 1e3, 1e4)


class Share(NamedTuple):
    """Of items solved, with its Wilson interval of 95 %, and what who guesses solves."""

    solved: float
    low: float
    high: float
    chance: float

    def __str__(self) -> str:
        return f"{self.solved:.2f} [{self.low:.2f}, {self.high:.2f}]"


def unique(name: str, count: int) -> tuple[int, int]:
    """Of how many puzzles of all difficulties, test split, the number that have another number of solutions than one,
    or another solution than theirs; and how many there were."""
    module, wrong, levels = puzzles.get(name), 0, making.DIFFICULTIES
    for level in levels:
        for index in range(count):
            puzzle, _ = making.drawn(module, "test", level, index)
            wrong += list(module.solve(puzzle.state)) != ([0] if puzzle.options else [puzzle.answer])
    return wrong, count * len(levels)


def places(name: str, count: int) -> float | None:
    """The p-value of places of right options being equally likely (chi-squared), over items; None of blanks."""
    module, found, options = puzzles.get(name), [], 0
    for index in range(count):
        puzzle, attempt = making.drawn(module, "test", 1, index)
        options = len(puzzle.options)
        if not options:
            return None
        found.append(int(np.argmin(making.shuffled(module, "test", 1, index, attempt, options))))
    return float(stats.chisquare(np.bincount(found, minlength=options)).pvalue)


def by_options(seen: Sequence[Item], asked: Sequence[Item]) -> Share | None:
    """What is solved of choices by a probe that sees the options alone; None of blanks."""
    if not asked[0].options:
        return None
    rows, wanted = zip(*(_options(item) for item in seen), strict=True)
    weights = _fitted(np.concatenate(rows), np.concatenate(wanted), len(rows[0]))
    right = sum(int(np.argmax(weights(_options(item)[0])) == ord(item.answer) - ord("A")) for item in asked)
    return _share(right, len(asked), 1 / len(asked[0].options))


def by_file(seen: Sequence[Item], asked: Sequence[Item]) -> Share:
    """What is solved by a probe that sees the file's size and the item's number; chance is what one answer solves at
    best."""
    answers = sorted({item.answer for item in seen})
    wanted = np.array([[float(item.answer == answer) for answer in answers] for item in seen])
    weights = _fitted(np.stack([_file(item) for item in seen]), wanted, 1)
    right = sum(answers[int(np.argmax(weights(_file(item)[None])[0]))] == item.answer for item in asked)
    often = max(sum(item.answer == answer for item in asked) for answer in answers)
    return _share(right, len(asked), often / len(asked))


def chunks(item: Item) -> set[str]:
    """The kinds of chunks of an item's file: nothing but the picture may be in it."""
    data, found, at = pixels.png(item.image), set(), 8
    while at < len(data):
        found.add(data[at + 4 : at + 8].decode("ascii"))
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return found


def _share(right: int, count: int, chance: float) -> Share:
    found = wilson(right, count)
    return Share(right / count, float(found.low), float(found.high), chance)


def _options(item: Item) -> tuple[np.ndarray, np.ndarray]:
    """Features (options, n) of each option and of its distance to the others, and whether it is right."""
    looks = []
    for crop in trivial.options(item):
        small = Image.fromarray(crop).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
        size = len(pixels.png(crop)) / 1000
        looks.append(np.concatenate([np.asarray(small, float).reshape(-1) / 255, trivial.histogram(crop), [size]]))
    rows = np.stack(looks)
    beside = rows - (rows.sum(0) - rows) / (len(rows) - 1)
    right = np.arange(len(rows)) == ord(item.answer) - ord("A")
    return np.concatenate([rows, beside, np.abs(beside), beside**2], -1), right.astype(float) - 1 / len(rows)


def _file(item: Item) -> np.ndarray:
    """Features of an item's file and number."""
    jpeg = io.BytesIO()
    Image.fromarray(item.image).save(jpeg, "JPEG", quality=80)
    digits = [float(item.task_id % n) / n for n in (2, 3, 4, 5, 7, 10)]
    bright = item.image.mean((0, 1)) / 255
    return np.array([len(pixels.png(item.image)) / 1000, len(jpeg.getvalue()) / 1000, *digits, *bright])


def _fitted(rows: np.ndarray, wanted: np.ndarray, together: int):
    """Ridge regression from rows (m, n) to wanted (m, ...), its penalty chosen on the last fifth; as a function.
    `together` rows belong to one item."""
    mean, scale = rows.mean(0), rows.std(0) + 1e-6
    x = np.concatenate([(rows - mean) / scale, np.ones((len(rows), 1))], -1)
    cut = len(rows) // together * 4 // 5 * together

    def solve(count: int, penalty: float) -> np.ndarray:
        gram = x[:count].T @ x[:count] + penalty * np.eye(x.shape[1])
        return np.linalg.solve(gram, x[:count].T @ wanted[:count])

    off = [float(((x[cut:] @ solve(cut, penalty) - wanted[cut:]) ** 2).mean()) for penalty in PENALTIES]
    best = solve(len(x), PENALTIES[int(np.argmin(off))])
    return lambda more: np.concatenate([(more - mean) / scale, np.ones((len(more), 1))], -1) @ best
