"""What claims and tables are read from: numbers of a seed's kept tables, episode by episode where there are episodes.

    seeds = reading.gathered(study, kept)
    seeds[0].horizon("2 steps")                                       # (episode,) steps until a thing is too far off
    numbers.values(seeds, ["reached", ["2 steps", "meso"], ["exact world", "meso"], 0.9])       # (seed, episode, 1)

Nothing here needs a model.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from experiments.world_model import names
from experiments.world_model.config import Calibration, WorldModel
from vrjax.study.numbers import Missing
from vrjax.study.tables import Tables
from vrjax.world import settling, spread
from vrjax.world.ladder.checks import p2

OUTCOMES, WEIGHTS = "outcomes", "weights"
QUANTILES = 64
FIRST = 6
"""Steps of a rollout within which a student is compared with its teacher: as long as the films of training."""


def errors(table: Tables, arm: str) -> Float[np.ndarray, "episode step"]:
    """The distance of the thing that is farthest off."""
    return np.asarray(table[f"{arm} far"], np.float64).max(-1)


def horizons(table: Tables, arm: str, limit: float) -> Float[np.ndarray, " episode"]:
    """Steps until any thing is first farther off than the limit; all of them where none ever is."""
    return p2.horizon(errors(table, arm), limit).astype(np.float64)


class Scores(NamedTuple):
    """Of a world's draws in each situation.

    Attributes:
        bias: of the draws' mean, less the law's.
        coverage: the probability that an outcome of the exact law is in the draws' central interval, both blurred.
        crps, least: the draws' expected score, and the law's own.
        spread, law: standard deviations of the draws and of the law.
        ranks: (situation, draw + 1), of what is blurred.
    """

    bias: np.ndarray
    coverage: np.ndarray
    crps: np.ndarray
    least: np.ndarray
    spread: np.ndarray
    law: np.ndarray
    ranks: np.ndarray


def blurred(
    draws: np.ndarray, outcomes: np.ndarray, weights: np.ndarray, width: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws (n, m) and a law, outcomes (n, k) of weights (k,), as one sees them whose measure has a normal error of
    `width`: of a draw it is drawn, of an outcome all of it is taken, at `QUANTILES` of equal weight. Draws of the law
    stay draws of the law."""
    if width == 0:
        return draws, outcomes, weights
    error = width * np.random.default_rng(seed).standard_normal(draws.shape)
    at = width * stats.norm.ppf((np.arange(QUANTILES) + 0.5) / QUANTILES)
    seen = (outcomes[..., None] + at).reshape(len(outcomes), -1)
    return draws + error, seen, np.repeat(weights, QUANTILES) / QUANTILES


def scores(law: Tables, drawn: np.ndarray, spec: Calibration, step: int = 0, seed: int = 0) -> Scores:
    """Scores of draws (situation, draw, step) under a law; of the outcome after one of the kept steps, the first."""
    draws = np.asarray(drawn, np.float64)[..., step]
    outcomes, weights = np.asarray(law[OUTCOMES], np.float64)[..., step], np.asarray(law[WEIGHTS], np.float64)
    ranked = spread.ranks(*blurred(draws, outcomes, weights, spec.blur, seed))
    return Scores(
        draws.mean(1) - outcomes @ weights,
        spread.coverage(ranked, spec.level),
        spread.crps(draws, outcomes, weights),
        spread.least(outcomes, weights),
        spread.deviation(draws),
        spread.deviation(outcomes, weights),
        ranked,
    )


def leads(table: Tables, arm: str) -> Float[np.ndarray, " frame"]:
    """By what share of the steps a frame's place is settled before its look; NaN where in the mean there was nothing to
    settle of one of them."""
    where, look = table[f"{arm} where"], table[f"{arm} look"]
    if not all((one[:, 0] - one[:, -1]).mean() > 0 for one in np.asarray([where, look], np.float64)):
        return np.full(len(where), np.nan)
    return settling.lead(where, look)


@dataclasses.dataclass(frozen=True)
class Seed:
    """What was kept of one training seed.

    Attributes:
        study: sizes of the run.
        number: of the seed.
        kept: all parts of the run, by name.
    """

    study: WorldModel
    number: int
    kept: Mapping[str, Tables]

    NUMBERS: ClassVar[tuple[str, ...]] = (
        *("horizon", "off", "reached", "solved", "level", "coverage", "bias", "miss", "excess", "spread", "moved"),
        *("lead", "unsettled"),
    )

    def table(self, what: str, arm: str = "") -> Tables | None:
        """The table of a part, or of an arm of it that goes on from the others; None where it is missing."""
        return self.kept.get(names.part(self.number, names.FORCING if arm in names.FURTHER else what))

    def has(self, what: str, *entries: str, arm: str = "") -> bool:
        """Whether a part is there with these entries."""
        table = self.table(what, arm)
        return table is not None and all(entry in table for entry in entries)

    def _entry(self, what: str, entry: str, arm: str) -> Any:
        table = self.table(what, arm)
        if table is None or entry not in table:
            raise Missing(f"{what}: {entry}")
        return table[entry]

    # Each of these gives one number an episode (n,), or one number (1,) where only all of them have a meaning; and
    # raises `Missing` where something was not measured.

    def horizon(self, arm: str) -> np.ndarray:
        """Steps until a thing is farther off than the limit."""
        far = self._entry(names.HORIZON, f"{arm} far", arm)
        return horizons({f"{arm} far": far}, arm, self.study.horizon.limit)

    def off(self, arm: str) -> np.ndarray:
        """Pixels by which the thing that is farthest off is, a mean over the first `FIRST` steps."""
        far = self._entry(names.HORIZON, f"{arm} far", arm)
        return errors({f"{arm} far": far}, arm)[:, :FIRST].mean(1)

    def reached(self, arm: str, scale: str) -> np.ndarray:
        """The share of an episode's goals that were reached."""
        return np.asarray(self._entry(names.PLANNING, f"{arm} {scale}", arm), np.float64).mean(1)

    def solved(self, through: str, method: str, pair: int) -> np.ndarray:
        """Whether a planner reached the goal through a world, at the model calls of a pair."""
        return np.asarray(self._entry(names.METHODS, f"{through} {method} {pair}", ""), np.float64)

    def level(self, through: str, method: str, pair: int, least: float, sign: float) -> np.ndarray:
        """`solved` beyond a level, or with sign -1 the level beyond it."""
        return sign * (self.solved(through, method, pair) - least)

    def scores(self, arm: str, step: int = 0) -> Scores:
        """Of an arm's chance after one of the kept steps, the first."""
        law = self.table(names.CALIBRATION)
        drawn = self._entry(names.CALIBRATION, arm, arm)
        if law is None:
            raise Missing(names.CALIBRATION)
        return scores(law, drawn, self.study.calibration, step, self.number)

    def coverage(self, arm: str) -> np.ndarray:
        """Less what it should be."""
        return self.scores(arm).coverage - self.study.calibration.level

    def bias(self, arm: str) -> np.ndarray:
        """Pixels by which the mean of a situation's draws is off that of the law, whichever way."""
        return np.abs(self.scores(arm).bias)

    def miss(self, arm: str) -> np.ndarray:
        """By how much the mean coverage misses what it should be, whichever way."""
        return np.abs(self.coverage(arm).mean(keepdims=True))

    def excess(self, arm: str) -> np.ndarray:
        """CRPS beyond the least, as a share of the mean least."""
        found = self.scores(arm)
        return (found.crps - found.least) / found.least.mean()

    def spread(self, arm: str) -> np.ndarray:
        """Mean standard deviation of the draws over that of the law."""
        found = self.scores(arm)
        return found.spread.mean(keepdims=True) / found.law.mean()

    def moved(self, what: str, arm: str, before: str) -> np.ndarray:
        """By how much a number of each episode is another one than before, whichever way: what a training does at all.

        Args:
            what: a number of one an episode. arm: what went on. before: what it went on from.
        """
        return np.abs(getattr(self, what)(arm) - getattr(self, what)(before))

    def lead(self, arm: str) -> np.ndarray:
        """See `leads`."""
        every = {f"{arm} {what}": self._entry(names.SETTLING, f"{arm} {what}", "") for what in ("where", "look")}
        return leads(every, arm)

    def unsettled(self, arm: str) -> np.ndarray:
        """Pixels by which the first step has the block elsewhere than the last."""
        return np.asarray(self._entry(names.SETTLING, f"{arm} where", ""), np.float64)[:, 0]


def gathered(study: WorldModel, kept: Mapping[str, Tables]) -> list[Seed]:
    """All seeds."""
    return [Seed(study, number, kept) for number in study.seeds]
