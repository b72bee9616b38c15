"""How many pairs a comparison of two solved-rates needs, and how often it then finds a difference; for `mcnemar`."""

import math

import numpy as np
from scipy import stats


def _share(name: str, value: float) -> None:
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name}: expected a number between 0 and 1, found {value}")


def _paired_rates(difference: float, discordant: float) -> None:
    if not 0.0 < discordant <= 1.0:
        raise ValueError(f"discordant: expected a share above 0 and up to 1, found {discordant}")
    if not abs(difference) <= discordant:
        raise ValueError(f"difference: cannot exceed the discordant share {discordant}, found {difference}")


def paired_power(pairs: int, difference: float, discordant: float, alpha: float = 0.05) -> float:
    """Probability that the exact two-sided McNemar test finds a difference between two solved-rates.

    Exact: summed over the number of discordant pairs, no normal approximation.

    Args:
        pairs: independent pairs.
        difference: true rate(a) - rate(b), for example 0.03.
        discordant: share of pairs that only one arm solves, for example 0.2.
        alpha: level of the test.
    """
    _paired_rates(difference, discordant)
    _share("alpha", alpha)
    if pairs < 1:
        raise ValueError(f"pairs: expected at least 1, found {pairs}")
    m = np.arange(pairs + 1)
    # The largest count of the rarer kind at which 2 * P(X <= count) <= alpha; -1 where no count is rare enough.
    limit = stats.binom.ppf(alpha / 2, m, 0.5)
    limit = np.where(2 * stats.binom.cdf(limit, m, 0.5) <= alpha, limit, limit - 1)
    share = (discordant + difference) / (2 * discordant)
    reject = stats.binom.cdf(limit, m, share) + stats.binom.sf(m - limit - 1, m, share)
    reject = np.where(limit < 0, 0.0, reject)
    return float(np.sum(stats.binom.pmf(m, pairs, discordant) * reject))


def pairs_needed(difference: float, discordant: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Pairs for a given power of McNemar's test, by the usual normal formula (Connor 1987).

    `n = (z_{alpha/2} sqrt(psi) + z_{power} sqrt(psi - d^2))^2 / d^2` with difference d and discordant share psi. Three
    points at 20 % discordant pairs need 1,742 (with the exact test's conservatism about 1,750 to 1,800: check with
    `paired_power`).
    """
    _paired_rates(difference, discordant)
    _share("alpha", alpha)
    if difference == 0:
        raise ValueError("difference: 0 cannot be detected with any number of pairs")
    _share("power", power)
    reach = stats.norm.isf(alpha / 2) * math.sqrt(discordant)
    reach += stats.norm.ppf(power) * math.sqrt(discordant - difference**2)
    return math.ceil((reach / difference) ** 2)
