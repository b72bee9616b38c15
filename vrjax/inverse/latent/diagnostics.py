"""Whether chains may be believed: R-hat and effective sample sizes, rank-normalised and split, and the gate on both.

Vehtari, Gelman, Simpson, Carpenter & Buerkner 2021, "Rank-normalization, folding, and localization" (arXiv 1903.08008).
The numbers are arviz's to rounding. (blackjax 1.7.1 has the same R-hat, but where chains are slow its effective size is
off by up to some per cent.) The R-hat of 1992 is used nowhere: it sees neither a trend that chains share nor a chain of
another scale.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import ndtri
from jaxtyping import Array, Float

from vrjax.flow import words
from vrjax.inverse.latent.core import Chain


class Gate(NamedTuple):
    """Whether anything may be computed from draws.

    Attributes:
        passed: False means that a caller prints "not tested" instead of a number.
        rhat, ess: the largest R-hat and the smallest effective sample size of all entries; NaN where there is none.
        why: "" where it passed, else one line.
    """

    passed: bool
    rhat: float
    ess: float
    why: str

    __repr__ = words.line


def rhat(z: Float[Array | np.ndarray, "chains k ..."]) -> Float[Array, "..."]:
    """R-hat of each trailing entry: the larger of the rank-normalised split R-hat of the draws and that of their
    distances from the median. NaN for an entry that is constant or has a NaN.

    Raises:
        ValueError: fewer than 2 chains or 4 rows.
    """
    return _each(_rhat, z)


def ess(z: Float[Array | np.ndarray, "chains k ..."]) -> Float[Array, "..."]:
    """Bulk effective sample size of each trailing entry: of all chains together, of rank-normalised split draws.

    For the weight of a mode, give the mode's indicator. 0 for an entry that is constant, NaN for one that has a NaN.

    Raises:
        ValueError: fewer than 2 chains or 4 rows.
    """
    return _each(_ess, z)


RHAT, ESS = 1.01, 400
"""The gate's thresholds: R-hat below the first, an effective size of at least the second."""


def gate(chain: Chain | Float[Array | np.ndarray, "chains k ..."], rhat: float = RHAT, ess: float | int = ESS) -> Gate:
    """The hard gate before any distance, mean or coverage of draws is told: R-hat < `rhat` and ESS >= `ess` in every
    entry, and the log-density of every kept state finite.

    Args:
        chain: a `Chain` of one posterior, or draws (chains, K, ...). Of `tempered_smc`, runs that were vmapped: z
            (runs, C, K, r), whose last rows are looked at, one run a chain; the power must have come to 1 in all.
        rhat, ess: the thresholds.
    """
    blind = lambda why: Gate(False, float("nan"), float("nan"), why)
    z = chain.z if isinstance(chain, Chain) else chain
    if isinstance(chain, Chain):
        if chain.info.tempering is not None:
            power = np.asarray(chain.info.tempering)
            if power.ndim != 2:
                return blind("one run of particles that depend on each other: expected several runs, by vmap")
            if (power[:, -1] < 1).any():
                return blind(f"a power of the likelihood ended at {power[:, -1].min():.3g}, before 1: more steps")
            z = z[:, :, -1]
        elif np.ndim(z) != 3:
            return blind(f"z of shape {np.shape(z)}: expected (chains, K, r), one posterior at a time")
        if not np.isfinite(np.asarray(chain.log_density)).all():
            return blind("the log-density of some kept states is not finite")
    if np.ndim(z) < 2 or z.shape[0] < 2 or z.shape[1] < 4:
        return blind(f"draws of shape {np.shape(z)}: expected at least 2 chains of 4 rows")
    spread = np.ravel(np.asarray(_each(_rhat, z)))
    sizes = np.ravel(np.asarray(_each(_ess, z)))
    # NaN is the worst there can be, and argmax and argmin find it first.
    at, low = int(np.argmax(spread)), int(np.argmin(sizes))
    why = []
    if not spread[at] < rhat:
        why.append(f"R-hat {spread[at]:.3f} of entry {at}, expected below {rhat:g}")
    if not sizes[low] >= ess:
        why.append(f"effective sample size {sizes[low]:.0f} of entry {low}, expected at least {ess:g}")
    return Gate(not why, float(spread[at]), float(sizes[low]), "; ".join(why))


def _each(diagnose: Callable[[Any], Any], z: Any) -> Any:
    z = jnp.asarray(z)
    if z.ndim < 2 or z.shape[0] < 2 or z.shape[1] < 4:
        raise ValueError(f"z: found shape {z.shape}, expected (chains, K, ...) of at least 2 chains and 4 rows")
    flat = z.reshape(*z.shape[:2], -1).astype(jnp.promote_types(z.dtype, jnp.float32))
    return diagnose(flat).reshape(z.shape[2:])


def _halves(z):
    """Each chain as two; of an odd number of rows the middle one belongs to neither."""
    half = z.shape[1] // 2
    return jnp.concatenate([z[:, :half], z[:, -half:]], 0)


def _normal(z):
    """Normal scores of the ranks among all draws, ties sharing theirs."""

    def score(column):
        order = jnp.argsort(column)
        new = jnp.diff(column[order]) != 0
        at, edge = jnp.arange(column.size), jnp.ones(1, bool)
        first = lax.cummax(jnp.where(jnp.concatenate([edge, new]), at, 0))
        last = lax.cummin(jnp.where(jnp.concatenate([new, edge]), at, column.size), reverse=True)
        rank = jnp.zeros_like(column).at[order].set(0.5 * (first + last).astype(column.dtype) + 1)
        return jnp.where(jnp.isnan(column).any(), jnp.nan, ndtri((rank - 0.375) / (column.size + 0.25)))

    return jax.vmap(score, in_axes=1, out_axes=1)(z.reshape(-1, z.shape[-1])).reshape(z.shape)


@jax.jit
def _rhat(z):
    def reduction(z):
        within = jnp.mean(jnp.var(z, 1, ddof=1), 0)
        between = jnp.var(jnp.mean(z, 1), 0, ddof=1)
        n = z.shape[1]
        return jnp.sqrt((n - 1) / n + between / within)

    folded = jnp.abs(z - jnp.median(z, (0, 1)))
    return jnp.maximum(reduction(_normal(_halves(z))), reduction(_normal(_halves(folded))))


@jax.jit
def _ess(z):
    z = _normal(_halves(z))
    chains, n, _ = z.shape
    away = z - jnp.mean(z, 1, keepdims=True)
    # Autocovariances of every lag; padding keeps the ends apart.
    power = jnp.abs(jnp.fft.rfft(away, 2 * n, axis=1)) ** 2
    lags = jnp.mean(jnp.fft.irfft(power, 2 * n, axis=1)[:, :n], 0) / n  # (n, entries)
    whole = lags[0] + jnp.var(jnp.mean(z, 1), 0, ddof=1)
    rho = 1 - (lags[0] * n / (n - 1) - lags) / whole
    rho = rho.at[0].set(1)
    # Geyer's sequences: sums of pairs, up to the first that is not positive, each at most the one before.
    pairs = rho[: 2 * (n // 2)].reshape(n // 2, 2, -1).sum(1)
    at = jnp.arange(n // 2)[:, None]
    last = max((n - 3) // 2, 0)
    stop = jnp.min(jnp.where((pairs <= 0) | (at >= last), at, n), 0)
    monotone = jnp.where(at < stop, lax.cummin(pairs), 0)
    beyond = jnp.maximum(jnp.take_along_axis(rho, 2 * stop[None], 0)[0], 0)
    time = jnp.maximum(2 * monotone.sum(0) - 1 + beyond, 1 / np.log10(chains * n))
    constant = (z == z[0, 0]).all((0, 1))
    return jnp.where(constant, 0, jnp.where(jnp.isnan(whole), jnp.nan, chains * n / time))
