"""Laws on the line that are sums of Gaussian bumps and a constant on a few intervals, with all that is exact of them.

The mass, first and second moment below any point are closed form; so are W1 and W2 to a discrete measure once the
quantiles at its levels are found (bisection). A Gaussian likelihood of the point itself makes bumps of bumps, so a
posterior is a law of the same kind. Everything is pure JAX and means to be run in float64: see `keys.exact`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import erf
from jaxtyping import Array, Float, Key

HALVINGS = 44  # of the support: a quantile to 2e-13 of an interval of length 4


class Bumps(NamedTuple):
    """The density `sum_k weight_k exp(-((t - mean_k) / std_k)^2 / 2) + level` on the intervals, up to a factor.

    Attributes:
        weight, mean, std: (k,) heights, places and widths.
        level: () the constant.
        low, high: (s,) ends of disjoint intervals in order.
    """

    weight: Any
    mean: Any
    std: Any
    level: Any
    low: Any
    high: Any


def mixture(gap: bool = False) -> Bumps:
    """The study's law, as NumPy: two bumps and a constant on [-2, 2], or with a gap on [-2, -1/2] and [1/2, 2]."""
    std = np.array([0.25, 0.35])
    low, high = ([-2.0, 0.5], [-0.5, 2.0]) if gap else ([-2.0], [2.0])
    return Bumps(np.array([0.6, 0.4]) / std, np.array([-0.7, 0.8]), std, np.array(0.02), np.array(low), np.array(high))


def density(law: Bumps, t: Float[Array | np.ndarray, "..."]) -> Float[Array, "..."]:
    """The normalised density at points of any shape; 0 outside of the intervals."""
    t = jnp.asarray(t)
    inside = jnp.any((t[..., None] >= law.low) & (t[..., None] <= law.high), -1)
    bent = jnp.exp(-0.5 * ((t[..., None] - law.mean) / law.std) ** 2)
    return jnp.where(inside, jnp.sum(law.weight * bent, -1) + law.level, 0.0) / total(law)


def total(law: Bumps) -> Float[Array, ""]:
    """The integral of the density as it is written."""
    return _below(law, jnp.asarray(law.high)[-1], 1)[0]


def moments(law: Bumps, t: Float[Array | np.ndarray, "..."]) -> tuple[Array, Array, Array]:
    """Mass, first and second moment of the normalised law below points of any shape."""
    whole = total(law)
    mass, first, second = _below(law, jnp.asarray(t), 3)
    return mass / whole, first / whole, second / whole


def posterior(law: Bumps, y: Any, noise_std: Any) -> Bumps:
    """The law times the likelihood `exp(-((y - t) / noise_std)^2 / 2)`, so that `total` of both gives the evidence."""
    weight, mean, std = (jnp.asarray(item) for item in law[:3])
    variance = 1.0 / (1.0 / std**2 + 1.0 / noise_std**2)
    height = weight * jnp.exp(-0.5 * (y - mean) ** 2 / (std**2 + noise_std**2))
    place = variance * (mean / std**2 + y / noise_std**2)
    one = lambda value: jnp.asarray(value, weight.dtype)[None]
    return Bumps(
        jnp.concatenate([height, one(law.level)]),
        jnp.concatenate([place, one(y)]),
        jnp.concatenate([jnp.sqrt(variance), one(noise_std)]),
        jnp.zeros_like(weight, shape=()),
        law.low,
        law.high,
    )


def quantile(law: Bumps, u: Float[Array | np.ndarray, "..."]) -> Float[Array, "..."]:
    """Quantiles of levels in [0, 1], by bisection; somewhere in a gap where the level is that of the gap."""
    wanted = jnp.asarray(u) * total(law)

    def halve(_, ends):
        low, high = ends
        middle = 0.5 * (low + high)
        less = _below(law, middle, 1)[0] < wanted
        return jnp.where(less, middle, low), jnp.where(less, high, middle)

    ends = jnp.full_like(wanted, jnp.asarray(law.low)[0]), jnp.full_like(wanted, jnp.asarray(law.high)[-1])
    low, high = lax.fori_loop(0, HALVINGS, halve, ends)
    return 0.5 * (low + high)


def draw(key: Key[Array, ""], law: Bumps, number: int) -> Float[Array, " n"]:
    """Independent draws."""
    return quantile(law, jax.random.uniform(key, (number,), jnp.asarray(law.mean).dtype))


def wasserstein(
    law: Bumps, points: Float[Array | np.ndarray, " n"], weights: Float[Array | np.ndarray, " n"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Exact W1 and W2 (not squared) between the law and a discrete measure, whose points may lie anywhere.

    W1 is the area between the distribution functions: between two points that of the measure is constant and that of
    the law passes it once, at a quantile. W2 is the sum over points of the law's squared distance to the point, over
    the share of the law between the point's two levels.

    Args:
        points: in any order.
        weights: that sum to 1.
    """
    order = jnp.argsort(points)
    x, level = jnp.asarray(points)[order], jnp.minimum(jnp.cumsum(jnp.asarray(weights)[order]), 1.0)[:-1]
    bottom, top = jnp.asarray(law.low)[:1], jnp.asarray(law.high)[-1:]
    cut = quantile(law, level)
    edges = jnp.concatenate([bottom, cut, top])
    # Where either distribution function has a kink, in order: below level, the points, where the two meet, above.
    end = jnp.maximum(x[-1:], top)
    kinks = jnp.concatenate([edges, x, jnp.clip(cut, x[:-1], x[1:]), end])
    mass, first, second = moments(law, kinks)  # once: a program of many moments is long to compile
    inner = slice(0, len(edges))
    share, mean, square = (jnp.diff(item[inner]) for item in (mass, first, second))
    w2 = jnp.sqrt(jnp.maximum(jnp.sum(square - 2 * x * mean + x**2 * share), 0.0))
    # The integral of the law's distribution function up to t is t F(t) - E[X; X < t].
    area = kinks * mass - first
    at_x, at_meets, at_end = jnp.split(area[len(edges) :], [len(x), 2 * len(x) - 1])
    meets = kinks[len(edges) + len(x) : -1]
    left = level * (meets - x[:-1]) - (at_meets - at_x[:-1])
    right = (at_x[1:] - at_meets) - level * (x[1:] - meets)
    outside = at_x[0] + (end[0] - x[-1]) - (at_end[0] - at_x[-1])
    return jnp.sum(left + right) + outside, w2


def _below(law: Bumps, t: Array, number: int) -> list[Array]:
    """The first `number` moments below t, of the density as it is written."""
    ends = jnp.clip(t[..., None], jnp.asarray(law.low), jnp.asarray(law.high))
    upper, lower = _primitives(law, ends, number), _primitives(law, jnp.asarray(law.low), number)
    return [jnp.sum(above - below, -1) for above, below in zip(upper, lower, strict=True)]


def _primitives(law: Bumps, t: Array, number: int) -> list[Array]:
    """Antiderivatives of the density, of t and of t^2 times it."""
    u = (t[..., None] - law.mean) / law.std
    normal = np.sqrt(np.pi / 2) * erf(u / np.sqrt(2))  # the antiderivative of the bump
    scaled = law.weight * law.std
    out = [jnp.sum(scaled * normal, -1) + law.level * t]
    if number > 1:
        bump = jnp.exp(-0.5 * u**2)
        mean, std = jnp.asarray(law.mean), jnp.asarray(law.std)
        out.append(jnp.sum(scaled * (mean * normal - std * bump), -1) + law.level * t**2 / 2)
        around = (mean**2 + std**2) * normal - std * (mean + t[..., None]) * bump
        out.append(jnp.sum(scaled * around, -1) + law.level * t**3 / 3)
    return out
