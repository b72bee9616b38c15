"""Chance: the exact law of what coins decide, many rollouts in one program, and rare events by tilted samplers.

The exact law comes from the exact world by enumeration: each of the 2^t rows of coins is forced (a `slip` of 0 or 1 a
step), and its probability is a product. So nothing is sampled that a learned world is then compared with.

Two tilted samplers make a rare event frequent and weigh it back; both are unbiased:

- `tilted`: coins of other odds, each row weighted by the ratio of its probabilities. Needs a world with a `slip`.
- `split`: particles that are resampled by `exp(strength * progress)` after every step (Feynman-Kac; Del Moral 2004),
  the event weighted by what was added. Needs nothing of the world but that its steps draw by their own keys, hence it
  serves learned worlds.
"""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from vrjax.world.ladder._core import Lacks
from vrjax.world.protocol import step_key

MERGE = 0.2
"""Outcomes nearer than this are one face."""


class Law(NamedTuple):
    """The outcomes that there are, ascending, and their probabilities; each (k,)."""

    outcomes: np.ndarray
    probabilities: np.ndarray


def odds(truth: Any, name: str = "slip") -> float:
    """The probability of its coin, a leaf of that name. Raises `Lacks` where nothing is left to chance."""
    found = float(getattr(truth, name, 0.0))
    if not 0 < found < 1:
        raise Lacks(f"{truth.name}: nothing is left to chance")
    return found


@partial(jax.jit, static_argnames="facts")
def _forced(truth, state, inputs, bits, *, facts):
    name = getattr(facts, "ODDS", "slip")

    def one(bits):
        def step(carry, at):
            bit, action = at
            now = dataclasses.replace(truth, **{name: bit}).step(carry[0], action, jax.random.key(0))
            return (now, tallied(facts, carry[1], truth.decode(now))), None

        return lax.scan(step, (state, jnp.zeros(())), (bits, inputs))[0][1]

    return jax.vmap(one)(bits)


def tallied(facts: Any, total: Any, decoded: Any) -> Any:
    """The outcome after one more step: the sum over steps, or the last one's."""
    found = jnp.asarray(facts.outcome(decoded), jnp.float32)
    return total + found if getattr(facts, "TALLY", False) else found


def rows(steps: int, p: float, first: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Rows of coins (k, steps), float32, and their probabilities (k,): all 2^steps, or, where only the first 1 counts,
    one for each place that it may have, and none."""
    if first:
        bits = np.concatenate([np.eye(steps), np.zeros((1, steps))]).astype(np.float32)
        before = np.where(bits.any(1), bits.argmax(1), steps)
        return bits, (1 - p) ** before * np.where(bits.any(1), p, 1.0)
    bits = ((np.arange(2**steps)[:, None] >> np.arange(steps)) & 1).astype(np.float32)
    return bits, np.prod(np.where(bits > 0, p, 1 - p), -1)


def weights(bits: Any, p: Any) -> Any:
    """The probability of each row of coins whose face 1 has probability p."""
    return jnp.prod(jnp.where(jnp.asarray(bits) > 0, p, 1 - p), -1)


def law(truth: Any, state: Any, inputs: Any, facts: Any) -> Law:
    """The exact law of a kind's outcome after these inputs, by enumeration; outcomes within `MERGE` are one."""
    p = odds(truth, getattr(facts, "ODDS", "slip"))
    bits, chance = rows(len(inputs), p, getattr(facts, "FIRST", False))
    found = np.asarray(_forced(truth, state, inputs, bits, facts=facts), np.float64)
    order = np.argsort(found)
    found, chance = found[order], chance[order]
    group = np.concatenate([[0], np.cumsum(np.diff(found) > MERGE)])
    total = np.bincount(group, chance)
    return Law(np.bincount(group, chance * found) / total, total)


@partial(jax.jit, static_argnames=("see", "facts", "count"))
def outcomes(w, truth, state, inputs, key, *, see, facts, count):
    """(count,) outcomes of so many rollouts: one compiled program."""

    def one(key):
        begin, run = jax.random.split(key)

        def step(carry, at):
            now = w.step(carry[0], at[1], step_key(run, at[0]))
            return (now, tallied(facts, carry[1], w.decode(now))), None

        times = jnp.arange(inputs.shape[0])
        return lax.scan(step, (see(w, truth, state, begin), jnp.zeros(())), (times, inputs))[0][1]

    return jax.vmap(one)(jax.random.split(key, count))


def threshold(law: Law, rare: float = 1e-2) -> tuple[float, float]:
    """A bound that the outcome reaches with the largest probability up to `rare`, and that probability.

    Raises:
        Lacks: there is no such outcome.
    """
    tail = np.cumsum(law.probabilities[::-1])[::-1]
    at = np.flatnonzero(tail <= rare)
    if not len(at):
        raise Lacks(f"no outcome at the upper end is rarer than {rare}: the last has {tail[-1]:.2g}")
    below = law.outcomes[at[0] - 1] if at[0] else law.outcomes[0] - 1
    return float((law.outcomes[at[0]] + below) / 2), float(tail[at[0]])


class Estimate(NamedTuple):
    """An estimated probability and its standard error; `ess`: how many equal weights the weights are worth."""

    value: Any
    error: Any
    ess: Any


@partial(jax.jit, static_argnames=("facts", "count"))
def tilted(truth, state, inputs, bound, p, tilt, key, *, facts, count, sign=1.0) -> Estimate:
    """The probability that the outcome, times `sign`, reaches a bound, by coins of odds `tilt` instead of `p`."""
    bits = jax.random.bernoulli(key, tilt, (count, inputs.shape[0])).astype(jnp.float32)
    ratio = weights(bits, p) / weights(bits, tilt)
    hits = jnp.where(sign * _forced(truth, state, inputs, bits, facts=facts) >= bound, ratio, 0.0)
    ess = hits.sum() ** 2 / jnp.maximum((hits**2).sum(), 1e-30)
    return Estimate(hits.mean(), hits.std() / jnp.sqrt(count), ess)


@partial(jax.jit, static_argnames=("see", "facts", "count", "groups"))
def split(w, truth, state, inputs, bound, strength, key, *, see, facts, count, groups=10, sign=1.0) -> Estimate:
    """The same by particles of any world: `groups` independent populations, whose spread is the error.

    Args:
        w: any world that decodes the outcome.
        truth, state: where it begins, as `see` makes it of them.
        inputs: (t, ...).
        bound, sign: the event is an outcome, times `sign`, of at least `bound` at the end.
        strength: of the tilt; 0 is plain sampling. Numbers and key are arguments.
        see, facts, count, groups: static; `count` particles in all.
    """
    size = count // groups

    def population(key):
        begin, chain = jax.random.split(key)
        state_of_w = jax.vmap(lambda key: see(w, truth, state, key))(jax.random.split(begin, size))
        told = jax.vmap(lambda total, now: tallied(facts, total, w.decode(now)))

        def one(carry, at):
            now, last, log = carry
            time, action = at
            moved, drawn = jax.random.split(jax.random.fold_in(chain, time))
            now = jax.vmap(lambda s, key: w.step(s, action, key))(now, jax.random.split(moved, size))
            progress = told(last, now)
            gain = strength * sign * (progress - last)
            top = jnp.max(gain)
            mass = jnp.exp(gain - top)
            log = log + top + jnp.log(mass.mean())
            # Systematic resampling: the number of children has the right mean for every particle.
            places = (jnp.arange(size) + jax.random.uniform(drawn)) / size
            chosen = jnp.clip(jnp.searchsorted(jnp.cumsum(mass) / mass.sum(), places), 0, size - 1)
            return (jax.tree.map(lambda a: a[chosen], now), progress[chosen], log), None

        # Of a tally nothing is there at first; what the last step alone decides begins as it is.
        first = jnp.zeros(size) if getattr(facts, "TALLY", False) else told(jnp.zeros(size), state_of_w)
        (_, last, log), _ = lax.scan(one, (state_of_w, first, jnp.zeros(())), (jnp.arange(inputs.shape[0]), inputs))
        back = jnp.exp(log - strength * sign * (last - first[0]))
        return jnp.where(sign * last >= bound, back, 0.0).mean(), (sign * last >= bound).mean()

    values, hits = jax.vmap(population)(jax.random.split(key, groups))
    return Estimate(values.mean(), values.std(ddof=1) / jnp.sqrt(groups), hits.mean() * count)


# ------------------------------------------------------------------------------------------------------- calibration


def faces(found: Any, law: Law, reach: float) -> np.ndarray:
    """How many outcomes are nearest to each of the law's, (k + 1,): the last counts those farther than `reach`."""
    found = np.asarray(found, np.float64)
    gap = np.abs(found[:, None] - law.outcomes)
    near = gap.argmin(1)
    # What is not a number is nowhere.
    near = np.where(gap[np.arange(len(found)), near] <= reach, near, len(law.outcomes))
    return np.bincount(near, minlength=len(law.outcomes) + 1)


def total_variation(counts: Any, probabilities: Any) -> float:
    """Half of the sum of absolute differences of shares; counts may have further faces of probability 0."""
    counts = np.asarray(counts, np.float64)
    p = np.zeros(len(counts))
    p[: len(probabilities)] = probabilities
    return float(0.5 * np.abs(counts / counts.sum() - p).sum())


def chi_squared(counts: Any, probabilities: Any, least: float = 5.0) -> float:
    """Pearson's test: the p-value of counts under known probabilities.

    Faces with fewer than `least` expected are taken together; a count of a face that cannot be gives 0.
    """
    from scipy import stats

    counts = np.asarray(counts, np.float64)
    p = np.zeros(len(counts))
    p[: len(probabilities)] = probabilities
    if counts[p == 0].sum():
        return 0.0
    expected = p * counts.sum()
    small = expected < least
    join = lambda a: np.append(a[~small], a[small].sum()) if small.any() else a
    seen, expected = join(counts), join(expected)
    seen, expected = seen[expected > 0], expected[expected > 0]
    return float(stats.chi2.sf(((seen - expected) ** 2 / expected).sum(), max(len(seen) - 1, 1)))
