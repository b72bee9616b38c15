"""What claims and tables are read from: numbers of a seed's kept tables, episode by episode where there are episodes.

    reading.horizons(table, "2 steps", limit=1.0)            # (episode,) steps until a thing is farther off
    reading.scores(table, "2 steps", level=0.9)              # coverage, CRPS, least CRPS, spread: (situation,)
    reading.leads(table, "slippery")                         # (frame,) by how much the place comes before the look

Nothing here needs a model.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.world_model import names
from vrjax.study.tables import Tables
from vrjax.world import settling, spread
from vrjax.world.ladder.checks import p2

OUTCOMES, WEIGHTS = "outcomes", "weights"


def errors(table: Tables, arm: str) -> Float[np.ndarray, "episode step"]:
    """The distance of the thing that is farthest off."""
    return np.asarray(table[f"{arm} far"], np.float64).max(-1)


def horizons(table: Tables, arm: str, limit: float) -> Float[np.ndarray, " episode"]:
    """Steps until any thing is first farther off than the limit; all of them where none ever is."""
    return p2.horizon(errors(table, arm), limit).astype(np.float64)


class Scores(NamedTuple):
    """Of a world's draws in each situation.

    Attributes:
        coverage: the probability that an outcome of the exact law is in the draws' central interval.
        crps, least: the draws' expected score, and the law's own.
        spread, law: standard deviations of the draws and of the law.
        ranks: (situation, draw + 1).
    """

    coverage: np.ndarray
    crps: np.ndarray
    least: np.ndarray
    spread: np.ndarray
    law: np.ndarray
    ranks: np.ndarray


def scores(law: Tables, drawn: np.ndarray, level: float, step: int = -1) -> Scores:
    """Scores of draws (situation, draw, step) under a law; of the outcome after one step, by default the last."""
    draws = np.asarray(drawn, np.float64)[..., step]
    outcomes, weights = np.asarray(law[OUTCOMES], np.float64)[..., step], law[WEIGHTS]
    ranked = spread.ranks(draws, outcomes, weights)
    return Scores(
        spread.coverage(ranked, level),
        spread.crps(draws, outcomes, weights),
        spread.least(outcomes, weights),
        spread.deviation(draws),
        spread.deviation(outcomes, weights),
        ranked,
    )


def leads(table: Tables, arm: str) -> Float[np.ndarray, " frame"]:
    """By what share of the steps a frame's place is settled before its look."""
    return settling.lead(table[f"{arm} where"], table[f"{arm} look"])


def tables(kept: Mapping[str, Tables], seeds: tuple[int, ...], what: str) -> list[Tables] | None:
    """The tables of a part, one a seed; None where one is missing."""
    found = [kept.get(names.part(seed, what)) for seed in seeds]
    return None if any(one is None for one in found) else [one for one in found if one is not None]
