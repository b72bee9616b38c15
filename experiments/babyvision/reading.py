"""What claims and tables are read from: numbers of a seed's kept tables, item by item.

    seeds = reading.gathered(study, kept)
    numbers.values(seeds, ["right", ["draw_maze", "test"], ["draw_maze", "hardest"]])       # (seed, item, 1)

Nothing here needs a model.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from experiments.babyvision import names
from experiments.babyvision.config import BabyVision
from vrjax.study.numbers import Missing
from vrjax.study.tables import Tables

SOLVED = " solved"
"""What entries of trivial solvers end with."""


@dataclasses.dataclass(frozen=True)
class Seed:
    """What was kept of one training seed.

    Attributes:
        study: sizes of the run. number: of the seed. kept: all parts of the run, by name.
    """

    study: BabyVision
    number: int
    kept: Mapping[str, Tables]

    NUMBERS: ClassVar[tuple[str, ...]] = (
        *("right", "first", "best", "guesses", "guess", "trivial", "settled", "answered", "kappa", "further", "moved"),
        "kept_back",
    )

    def table(self, task: str, what: str) -> Tables:
        """The table of a skill's part; raises `Missing`."""
        found = self.kept.get(names.part(self.number, task, what))
        if found is None:
            raise Missing(f"{task}: {what}")
        return found

    def _entry(self, task: str, what: str, entry: str) -> np.ndarray:
        table = self.table(task, what)
        if entry not in table:
            raise Missing(f"{task}: {entry}")
        return np.asarray(table[entry], np.float64)

    # Each of these gives one number an item (n,), or one number (1,) where only all of them have a meaning.

    def right(self, task: str, split: str = "test") -> np.ndarray:
        """The share of an item's drawings that are right."""
        return self._entry(task, names.DRAWN, f"{split} right").mean(1)

    def first(self, task: str) -> np.ndarray:
        """Whether the first drawing is right."""
        return self._entry(task, names.DRAWN, "test right")[:, 0]

    def best(self, task: str) -> np.ndarray:
        """Whether any of an item's drawings is right, as the exact judge chooses among them."""
        return self._entry(task, names.DRAWN, "test right").max(1)

    def guesses(self, task: str) -> np.ndarray:
        """What as many guesses solve, the exact judge choosing among them: what `best` is worth by itself."""
        count = self.study.drawings.draws
        return 1 - (1 - self.guess(task)) ** count

    def guess(self, task: str) -> np.ndarray:
        """What a guess solves."""
        return self._entry(task, names.DRAWN, "guess").reshape(1)

    def trivial(self, task: str) -> np.ndarray:
        """What the trivial solver solves that solves most of these very items, (item,)."""
        table = self.table(task, names.DRAWN)
        found = [np.asarray(table[name], np.float64) for name in table if name.endswith(SOLVED)]
        return max(found, key=np.mean)

    def settled(self, task: str, who: str = "steps") -> np.ndarray:
        """The first step, as a share of them, from which on what is marked is what will be; mean over drawings."""
        found = self._entry(task, names.DRAWN, f"{who} settled").astype(bool)
        stays = np.flip(np.minimum.accumulate(np.flip(found, -1), -1), -1)
        return (stays.argmax(-1) / (found.shape[-1] - 1)).mean(1)

    def answered(self, task: str, arm: str) -> np.ndarray:
        """Whether a head answers rightly."""
        return self._entry(task, names.ANSWERED, f"{arm} answered")

    def kappa(self, task: str, arm: str) -> np.ndarray:
        """Cohen's kappa of a head and the first drawing, in whether they are right: their agreement beyond that of two
        that err apart."""
        one, two = self.answered(task, arm), self._entry(task, names.ANSWERED, "drawn right")
        agree, by_chance = (one == two).mean(), one.mean() * two.mean() + (1 - one.mean()) * (1 - two.mean())
        return np.array([0.0 if by_chance == 1 else (agree - by_chance) / (1 - by_chance)])

    def further(self, task: str, arm: str) -> np.ndarray:
        """The share of an item's drawings that are right, after more training."""
        return self._entry(task, names.FURTHER, f"{arm} right").mean(1)

    def moved(self, task: str, arm: str) -> np.ndarray:
        """The share of an item's drawings that more training made right or wrong: what it does at all."""
        before = self._entry(task, names.DRAWN, "test right")
        return np.abs(self._entry(task, names.FURTHER, f"{arm} right") - before).mean(1)

    def kept_back(self, task: str) -> np.ndarray:
        """PSNR in dB of what is not marked."""
        return self._entry(task, names.DRAWN, "kept").mean(1)


def gathered(study: BabyVision, kept: Mapping[str, Tables]) -> list[Seed]:
    """All seeds."""
    return [Seed(study, number, kept) for number in study.seeds]


def having(seeds: Sequence[Seed], task: str) -> list[Seed]:
    """Those that learned a skill."""
    return [seed for seed in seeds if any(skill.task == task for skill in seed.study.of(seed.number))]
