"""Coverage, scores and ranks under an exact law, against integrals, drawn ranks and NumPy."""

import numpy as np
import pytest

from vrjax.world import spread

OUTCOMES = np.array([[0.0, 1.0, 1.0, 3.0], [2.0, 2.5, 4.0, 4.5]])
WEIGHTS = np.array([0.1, 0.4, 0.3, 0.2])
DRAWS = np.array([[1.0, 0.5, 3.0], [2.0, 2.0, 5.0]])


def test_ranks_are_those_of_drawn_outcomes_with_ties_broken_at_random():
    rng, found = np.random.default_rng(0), spread.ranks(DRAWS, OUTCOMES, WEIGHTS)
    assert found.shape == (2, 4) and found.sum(1) == pytest.approx(1)
    for draws, outcomes, told in zip(DRAWS, OUTCOMES, found, strict=True):
        y = rng.choice(outcomes, 60_000, p=WEIGHTS)[:, None]
        rank = (draws < y).sum(1) + rng.integers((draws == y).sum(1) + 1)
        np.testing.assert_allclose(told, np.bincount(rank, minlength=4) / len(y), atol=0.01)


def test_draws_of_the_law_are_covered_as_they_should_be():
    """Over many sets of draws of the law itself, atoms and all, the central 50 % of three draws hold half of it."""
    rng = np.random.default_rng(1)
    draws = rng.choice(OUTCOMES[0], (4000, 3), p=WEIGHTS)
    ranked = spread.ranks(draws, np.tile(OUTCOMES[0], (4000, 1)), WEIGHTS)
    assert spread.coverage(ranked, 0.5).mean() == pytest.approx(0.5, abs=0.01)
    np.testing.assert_allclose(ranked.mean(0), 0.25, atol=0.01)
    sure = spread.ranks(np.full((1, 3), -9.0), OUTCOMES[:1], WEIGHTS)
    assert sure.tolist() == [[0, 0, 0, 1]] and spread.coverage(sure, 0.5).tolist() == [0]


def test_scores_are_integrals_of_distribution_functions():
    x = np.linspace(-2, 7, 90_001)
    for draws, outcomes in zip(DRAWS, OUTCOMES, strict=True):
        below = (draws <= x[:, None]).mean(1)
        each = [np.trapezoid((below - (y <= x)) ** 2, x) for y in outcomes]
        apart = np.abs(draws[:, None] - draws).sum()
        fair = WEIGHTS @ each - apart * (1 / 6 - 1 / 9) / 2  # of 3 x 2 pairs, not of 3 x 3
        assert spread.crps(draws[None], outcomes[None], WEIGHTS)[0] == pytest.approx(fair, abs=1e-3)
        law = (WEIGHTS * (outcomes <= x[:, None])).sum(1)
        least = np.trapezoid(law * (1 - law), x)
        assert spread.least(outcomes[None], WEIGHTS)[0] == pytest.approx(least, abs=1e-3)
    one = spread.crps(np.full((1, 1), 1.5), OUTCOMES[:1], WEIGHTS)
    assert one[0] == pytest.approx(WEIGHTS @ np.abs(OUTCOMES[0] - 1.5))


def test_deviations():
    np.testing.assert_allclose(spread.deviation(DRAWS), DRAWS.std(1, ddof=1))
    for told, outcomes in zip(spread.deviation(OUTCOMES, WEIGHTS), OUTCOMES, strict=True):
        assert told == pytest.approx(np.sqrt(np.cov(outcomes, aweights=WEIGHTS, ddof=0)))


def test_what_is_refused():
    with pytest.raises(ValueError, match="weights must be probabilities"):
        spread.least(OUTCOMES, 2 * WEIGHTS)
    with pytest.raises(ValueError, match=r"level 0.9 of 3 draws cuts 0.2 at either end"):
        spread.coverage(spread.ranks(DRAWS, OUTCOMES, WEIGHTS), 0.9)
