"""Whether a world's chance is that of the exact one: draws of one number beside its exact law, situation by situation.

    found = spread.ranks(draws, outcomes, weights)          # (n, m + 1): how the law lies among m draws
    spread.coverage(found, 0.9)                             # (n,), .9 where the draws are draws of the law
    spread.crps(draws, outcomes, weights) - spread.least(outcomes, weights)

The law has finitely many outcomes, each with its probability, as `ladder.chance` enumerates them: nothing here is left
to chance but the draws. All of it is NumPy in float64, on the host.
"""

import numpy as np
from jaxtyping import Float


def _checked(draws, outcomes, weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draws, outcomes, weights = (np.asarray(a, np.float64) for a in (draws, outcomes, weights))
    weights = np.broadcast_to(weights, outcomes.shape)
    if draws.ndim != 2 or outcomes.ndim != 2 or len(draws) != len(outcomes) or not draws.shape[1]:
        raise ValueError(f"spread: draws {draws.shape} and outcomes {outcomes.shape}, expected (n, m) and (n, k)")
    if (weights < 0).any() or not np.allclose(weights.sum(1), 1, atol=1e-5):
        raise ValueError("spread: weights must be probabilities that sum to 1 in each row")
    return draws, outcomes, weights / weights.sum(1, keepdims=True)


def ranks(
    draws: Float[np.ndarray, "n m"], outcomes: Float[np.ndarray, "n k"], weights: Float[np.ndarray, "*lead k"]
) -> Float[np.ndarray, "n ranks"]:
    """The law of an outcome's rank among the draws, 0 to m: uniform where these are independent draws of its law.

    The rank histogram of ensemble forecasts, and Talts et al. 2018 (arXiv 1804.06788). Ties are broken at random, here
    by their expectation: an outcome that equals t draws has t + 1 ranks of equal probability.

    Args:
        draws: of the world that is judged, in n situations.
        outcomes: all that the exact world can come to in each; weights: their probabilities, (n, k) or (k,).

    Raises:
        ValueError: shapes that do not go together, weights that are no probabilities.
    """
    draws, outcomes, weights = _checked(draws, outcomes, weights)
    below = (draws[:, None] < outcomes[..., None]).sum(-1)
    ties = (draws[:, None] == outcomes[..., None]).sum(-1)
    at = np.arange(draws.shape[1] + 1)
    inside = (at >= below[..., None]) & (at <= (below + ties)[..., None])
    return np.einsum("nk,nkr->nr", weights / (ties + 1), inside)


def coverage(ranked: Float[np.ndarray, "n ranks"], level: float) -> Float[np.ndarray, " n"]:
    """The probability that an outcome lies in the central interval of the draws: between the r-th lowest and the r-th
    highest of m, which hold a fresh draw with probability `level` = 1 - 2 r / (m + 1).

    Args:
        ranked: from `ranks`.
        level: of the interval.

    Raises:
        ValueError: no r is whole at this level.
    """
    total = np.shape(ranked)[1]
    out = (1 - level) / 2 * total
    if round(out) < 1 or abs(out - round(out)) > 1e-9:
        raise ValueError(f"spread: level {level} of {total - 1} draws cuts {out:g} at either end, expected 1, 2, ...")
    return np.asarray(ranked, np.float64)[:, round(out) : total - round(out)].sum(1)


def crps(
    draws: Float[np.ndarray, "n m"], outcomes: Float[np.ndarray, "n k"], weights: Float[np.ndarray, "*lead k"]
) -> Float[np.ndarray, " n"]:
    """The expected continuous ranked probability score, E|X - y| - E|X - X'| / 2, in units of the outcome.

    Of two different draws X and X' (the fair score: Ferro 2014), so that its mean does not depend on how many draws
    there are. A world that always says the same has its mean absolute error. Args and raises as `ranks`.
    """
    draws, outcomes, weights = _checked(draws, outcomes, weights)
    m = draws.shape[1]
    far = np.einsum("nk,nkm->n", weights, np.abs(outcomes[..., None] - draws[:, None])) / m
    apart = np.abs(draws[:, :, None] - draws[:, None]).sum((1, 2)) / max(m * (m - 1), 1)
    return far - apart / 2


def least(outcomes: Float[np.ndarray, "n k"], weights: Float[np.ndarray, "*lead k"]) -> Float[np.ndarray, " n"]:
    """The expected CRPS of the law itself, below which none is: E|Y - Y'| / 2."""
    _, outcomes, weights = _checked(outcomes, outcomes, weights)
    apart = np.abs(outcomes[:, :, None] - outcomes[:, None])
    return np.einsum("nk,nl,nkl->n", weights, weights, apart) / 2


def deviation(values: Float[np.ndarray, "n k"], weights: Float[np.ndarray, "*lead k"] | None = None) -> np.ndarray:
    """Standard deviation (n,) of each row: of a law with its weights, of draws without (unbiased in the square)."""
    values = np.asarray(values, np.float64)
    if weights is None:
        return values.std(1, ddof=1)
    _, values, weights = _checked(values, values, weights)
    mean = (weights * values).sum(1, keepdims=True)
    return np.sqrt((weights * (values - mean) ** 2).sum(1))
