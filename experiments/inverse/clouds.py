"""Rates with the number of data where laws have no closed form: a true law, and priors made of its data sets.

The law is the image of a latent normal under a known map. Its empirical measure and generators that are fitted in
Wasserstein-2 are compared with it, as priors and as posteriors of fixed observations. Sliced W1 is exact against a
reference of the law. W1 of data is told between two bounds, and that of a generator debiased: in higher dimensions what
two samples of one law are apart is as much as the error itself.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.inverse import names, weighted
from experiments.inverse.config import Clouds
from experiments.inverse.keys import exact
from experiments.inverse.weighted import Pair, Posteriors
from vrjax.flow import draws
from vrjax.inverse import generators
from vrjax.inverse.generators import Generator

FITTED = ("train_w2", "optimisation_gap", "approximation", "fresh_w2")
"""What is kept of a fit's report."""
RATE = 1e-2
"""Of Adam from random starts in the true map's class; the library's own, 3e-3, leaves it far from the minimum."""


class Problem(NamedTuple):
    """A true law and what is observed.

    Attributes:
        true, params: the law as a generator.
        start: the same class, whose fits begin at the true parameters; None where the class is not fitted.
        seen: (s, d), what is observed of x.
        y: (k, s). noise_std: (k,).
        directions: (m, d) of sliced distances; on the line the one there is.
        few: (e,), those of the k observations whose W1 in all dimensions is found.
    """

    true: Generator
    params: Any
    start: Generator | None
    seen: np.ndarray
    y: np.ndarray
    noise_std: np.ndarray
    directions: np.ndarray
    few: np.ndarray


class Reference(NamedTuple):
    """Weighted points of the true law and of its posteriors."""

    prior: np.ndarray
    after: Posteriors

    def laws(self, few: Int[np.ndarray, " e"]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Points and weights of the prior, then of a few posteriors."""
        after = [(self.after.points[k], self.after.weights[k]) for k in few]
        return [(self.prior, weighted.equal(len(self.prior))), *after]


class Prior(NamedTuple):
    """Weighted points and their weights: of a prior, and of each of its k posteriors."""

    points: np.ndarray
    weights: np.ndarray
    after: list[tuple[np.ndarray, np.ndarray]]


def rates(
    sizes: Clouds,
    one: Problem,
    fixed: Key[Array, ""],
    keys: Callable[[int], Key[Array, " r"]],
    arms: dict[str, Generator],
    tick: Callable[[int], None],
) -> dict[str, np.ndarray]:
    """All that is measured of a problem.

    Args:
        sizes: how much.
        one: the problem.
        fixed: key of the references, which are the same for all seeds.
        keys: of the data sets of each size, and of size 0 for what else is drawn.
        arms: the generators that are fitted, by name.
        tick: is called after each size.

    Returns:
        of "empirical" with r data sets of each of the n sizes, of each generator with r of each of the first f:

        - `<arm> prior sliced w1` (n, r), `<arm> posterior sliced w1` (n, r, k);
        - `floor prior sliced w1` (), `floor posterior sliced w1` (k,): of the true map in place of a generator;
        - `empirical prior w1 low`, `empirical prior w1 high` (p, r), `empirical posterior w1 low`, `... high`
          (p, r, e): of some data sets of the first p sizes; W1 lies between the means of both;
        - of generators `<arm> prior w1 debiased`, `<arm> prior w1 floor` (f, r), `<arm> posterior w1 debiased`,
          `... floor` (f, r, e): the floor is what was subtracted;
        - `FITTED` (f, r) as `<arm> <name>`; `<arm> khat`, `<arm> ess` (f, r, k) of the weights of posteriors;
        - `<arm> bound` (f, r) of a generator of the true map's class: the mean of |T(z) - S(z)|, at least W1;
        - `noise_std`, `evidence`, `reference khat`, `reference ess` (k,).
    """
    *places, own = _split(fixed, 3)
    law, held = (reference(one, place, sizes) for place in places)
    rng = weighted.numbers(keys(0)[0])
    both = zip(law.laws(one.few), held.laws(one.few), strict=True)
    pairs = [weighted.pair(rng, *each, sizes.debiased) for each in both]
    priors: dict[str, list[Prior]] = {name: [] for name in (names.EMPIRICAL, *arms)}
    rows: dict[str, list[Any]] = {}

    def keep(arm: str, found: dict[str, Any]) -> None:
        for name, value in found.items():
            rows.setdefault(f"{arm} {name}", []).append(np.asarray(value, np.float64))

    for size in sizes.sizes:
        several = keys(size)
        data = drawn(one, several, size)
        for at, each in enumerate(data):
            _, plan, fit = _split(several[at], 3)
            prior = empirical(one, each)
            priors[names.EMPIRICAL].append(prior)
            if at < sizes.plans and size <= sizes.plans_to:
                keep(names.EMPIRICAL, bounded(sizes, one, law, held, prior, plan))
            for name, generator in arms.items() if at < sizes.fits and size <= sizes.fits_to else ():
                prior, found = fitted(sizes, one, pairs, generator, each, fit)
                priors[name].append(prior)
                keep(name, found)
        tick(1)
    out: dict[str, np.ndarray] = {}
    for name, values in rows.items():
        each = sizes.plans if name.startswith(names.EMPIRICAL) else sizes.fits
        out[name] = np.reshape(values, (-1, each, *np.shape(values[0])))
    floor = pushed(one, one.true, one.params, own, sizes)[0]
    least, *every = sliced(one, law, [floor, *itertools.chain(*priors.values())])
    out |= {"floor prior sliced w1": least[0], "floor posterior sliced w1": least[1:]}
    for name, some in priors.items():
        each = sizes.repeats if name == names.EMPIRICAL else sizes.fits
        mine, every = np.reshape(every[: len(some)], (-1, each, len(least))), every[len(some) :]
        out |= {f"{name} prior sliced w1": mine[..., 0], f"{name} posterior sliced w1": mine[..., 1:]}
    out |= {"noise_std": one.noise_std, "evidence": law.after.evidence}
    return out | {"reference khat": law.after.khat, "reference ess": law.after.ess}


def reference(one: Problem, key: Key[Array, ""], sizes: Clouds) -> Reference:
    """Points that stand for the true law and its posteriors."""
    z = weighted.nodes(key, sizes.blocks * sizes.block, one.true.latent)
    after = weighted.posteriors(one.true, one.params, _blocks(z, sizes), one.seen, one.y, one.noise_std)
    return Reference(weighted.pushed(one.true, one.params, z), after)


def drawn(one: Problem, keys: Key[Array, " r"], size: int) -> Float[np.ndarray, "r n d"]:
    """A data set of each key, float64."""
    with exact():
        params = jax.tree.map(jnp.asarray, one.params)
        return np.asarray(_drawn(keys, params, generator=one.true, size=size))


def empirical(one: Problem, data: Float[np.ndarray, "n d"]) -> Prior:
    """The measure of a data set."""
    after = weighted.reweighted(data, one.seen, one.y, one.noise_std)
    return Prior(data, weighted.equal(len(data)), [(data, weights) for weights in after])


def pushed(
    one: Problem, generator: Generator, params: Any, key: Key[Array, ""], sizes: Clouds
) -> tuple[Prior, Posteriors]:
    """A generator's law on the first block of its points, and its posteriors on all blocks."""
    z = weighted.nodes(key, sizes.blocks * sizes.block, generator.latent)
    after = weighted.posteriors(generator, params, _blocks(z, sizes), one.seen, one.y, one.noise_std)
    first = slice(sizes.block)
    few = [(points[first], weights[first]) for points, weights in zip(after.points, after.weights, strict=True)]
    return Prior(weighted.pushed(generator, params, z[first]), weighted.equal(sizes.block), few), after


def fitted(
    sizes: Clouds, one: Problem, pairs: list[Pair], generator: Generator, data: Float[np.ndarray, "n d"], key: Any
) -> tuple[Prior, dict[str, Any]]:
    """A generator fitted to a data set: its law, and what `rates` tells of it but sliced distances.

    Args:
        pairs: draws of the true prior and of a few posteriors.
    """
    fit, place, more, dealt = _split(key, 4)
    options = {
        "mode": "sorted" if data.shape[1] == 1 else "plan",
        "latents": sizes.latents,
        "steps": sizes.steps,
        "restarts": sizes.restarts,
    }
    with draws.settled(True):
        if generator is one.true:
            params, report = _least(one, data, fit, options)
        else:
            params, report = generators.fit(fit, data, generator, **options)
    prior, after = pushed(one, generator, params, place, sizes)
    out: dict[str, Any] = {name: getattr(report, name) for name in FITTED}
    out |= {"khat": after.khat, "ess": after.ess}
    z = weighted.nodes(more, sizes.blocks * sizes.block, generator.latent)
    law = Reference(weighted.pushed(generator, params, z), after)
    if generator is one.true:
        out["bound"] = np.mean(np.linalg.norm(law.prior - weighted.pushed(one.true, one.params, z), axis=1))
    rng = weighted.numbers(dealt)
    own = [weighted.pair(rng, *weighted.halves(*each), sizes.debiased) for each in law.laws(one.few)]
    found, floor = np.transpose([weighted.debiased(each, true) for each, true in zip(own, pairs, strict=True)])
    out |= {"prior w1 debiased": found[0], "prior w1 floor": floor[0]}
    return prior, out | {"posterior w1 debiased": found[1:], "posterior w1 floor": floor[1:]}


def _least(one: Problem, data: np.ndarray, key: Any, options: dict[str, Any]) -> tuple[Any, generators.Report]:
    """The fit of the true map's class that is nearest to the data, of random starts and of one at the true parameters.

    From random starts Adam ends in local minima, far from the least W2 in many dimensions. What that costs is the
    report's optimisation gap; the criterion's own error is that of its minimum.
    """
    near, known = generators.fit(key, data, one.start or one.true, **{**options, "restarts": 1})
    params, report = generators.fit(key, data, one.true, **options, learning_rate=RATE, best_known=known.train_w2)
    if known.train_w2 < report.train_w2:  # of equal keys, hence on the same points of the latent
        return near, report._replace(train_w2=known.train_w2, fresh_w2=known.fresh_w2)
    return params, report


def bounded(
    sizes: Clouds, one: Problem, law: Reference, held: Reference, prior: Prior, key: Key[Array, ""]
) -> dict[str, np.ndarray]:
    """Bounds of W1 of a data set's measure and of a few of its posteriors, see `weighted.between`; on the line both are
    W1 to the reference."""
    pairs = [(prior.points, prior.weights), *(prior.after[k] for k in one.few)]
    true = law.laws(one.few)
    if prior.points.shape[1] == 1:
        exactly = [weighted.sliced(*of, [each], one.directions)[0] for of, each in zip(true, pairs, strict=True)]
        low = high = np.asarray(exactly)
    else:
        rng, number = weighted.numbers(key), sizes.ratio * len(prior.points)
        found = []
        for (x, weights), of, other in zip(pairs, true, held.laws(one.few), strict=True):
            several = weighted.resampled(rng, *of, number)
            found.append(weighted.between(x, weights, several, weighted.resampled(rng, *other, sizes.fresh)))
        low, high = np.transpose(found)
    ends = {"low": low, "high": high}
    out = {f"prior w1 {end}": values[0] for end, values in ends.items()}
    return out | {f"posterior w1 {end}": values[1:] for end, values in ends.items()}


def sliced(one: Problem, law: Reference, priors: list[Prior]) -> Float[np.ndarray, "n k1"]:
    """Sliced W1 of n priors, and of their k posteriors: (n, 1 + k)."""
    laws = law.laws(np.arange(len(one.y)))
    found = [weighted.sliced(*laws[0], [each[:2] for each in priors], one.directions)]
    for k, posterior in enumerate(laws[1:]):
        found.append(weighted.sliced(*posterior, [each.after[k] for each in priors], one.directions))
    return np.stack(found, 1)


def _blocks(z: np.ndarray, sizes: Clouds) -> np.ndarray:
    return z.reshape(sizes.blocks, sizes.block, -1)


def _split(key: Any, number: int) -> Any:
    with draws.settled(True):
        return jax.random.split(key, number)


@jax.jit(static_argnames=("generator", "size"))
def _drawn(keys: Any, params: Any, *, generator: Generator, size: int) -> Any:
    normal = lambda key: jax.random.normal(key, (size, generator.latent), jnp.float64)
    return jax.vmap(lambda key: jax.vmap(generator.apply, (None, 0))(params, normal(key)))(keys)
