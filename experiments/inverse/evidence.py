"""Evidence: one fitted prior, and observations from likely to unlikely under noise from wide to sharp.

The prior's error is one number then; the posterior's is over a grid of observations, beside T1's constant of each. A
sharp observation of x itself also narrows both posteriors, so that one prior's ratio of errors need not grow as the
evidence falls. What must grow is the ratio of the worst prior: `sharp`, which is at least 1 / Z and at most C.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from experiments.inverse import bumps, line, names
from experiments.inverse.bumps import Bumps
from experiments.inverse.config import Inverse
from experiments.inverse.keys import data_sets, exact
from vrjax.inverse import bounds
from vrjax.study.tables import Bench, Tables


def measure(study: Inverse, here: Bench, seed: int) -> Tables:
    """All of a seed: a data set and a fit.

    Returns:
        `y`, `noise_std`, `evidence`, `sharp` (k,) of the grid's observations; of the arms "empirical" and "generator"
        `<arm> prior w1`, `<arm> prior w2` (), `<arm> posterior w1`, `<arm> constant` (k,); of the fit `line.FITTED` as
        `generator <name>` (); `floor prior w1` (), `floor posterior w1` (k,).
    """
    return here.part(names.part(seed, names.EVIDENCE), lambda: _measure(study, seed))


def _measure(study: Inverse, seed: int) -> Tables:
    sizes = study.evidence
    y, noise_std = (np.ravel(axis) for axis in np.meshgrid(sizes.y, sizes.noise_std, indexing="ij"))
    keys = data_sets(study, names.EVIDENCE, seed, sizes.size, 1)
    data = line.drawn(keys, bumps.mixture(), sizes.size)
    points, reports = line.fitted(keys, data, sizes.fit, sizes.nodes)
    arms = {
        names.EMPIRICAL: (data, line.equal(sizes.size)),
        names.GENERATOR: (points, line.nodes(sizes.nodes)[1]),
    }
    out: Tables = {"y": y, "noise_std": noise_std, "evidence": line.evidence(bumps.mixture(), y, noise_std)}
    out["sharp"] = sharp(bumps.mixture(), y, noise_std, sizes.places)
    for arm, some in arms.items():
        found = line.errors(bumps.mixture(), *some, y, noise_std)
        out |= {f"{arm} {name}": value[0] for name, value in found.items()}
    out |= {f"{names.GENERATOR} {name}": value[0] for name, value in reports.items()}
    least = line.floors(bumps.mixture(), sizes.nodes, y, noise_std)
    return out | {f"floor {name}": value for name, value in least.items()}


def sharp(
    law: Bumps, y: Float[np.ndarray, " k"], noise_std: Float[np.ndarray, " k"], places: int
) -> Float[np.ndarray, " k"]:
    """The least constant that W1 of posteriors over W1 of priors has for all priors near the law.

    Mass that moves from x by h changes the posterior by what moves itself, L(x) h, and by the mass that comes to x from
    all of the posterior or goes there, |L'(x)| h, over a mean distance of E|X - x|; both over Z. The largest sum is
    taken over so many places of the law's interval, the observation's own among them.
    """
    with exact():
        low, high = np.asarray(law.low)[0], np.asarray(law.high)[-1]
        return np.asarray(_sharp(law, np.linspace(low, high, places), y, noise_std))


@jax.jit
def _sharp(law: Bumps, places: Any, y: Any, noise_std: Any) -> Any:
    def one(y: Any, noise: Any) -> Any:
        updated = bumps.posterior(law, y, noise)
        x = jnp.append(places, jnp.clip(y, law.low[0], law.high[-1]))
        mass, first, _ = bumps.moments(updated, x)
        mean = bumps.moments(updated, law.high[-1])[1]
        away = x * mass - first + (mean - first) - x * (1.0 - mass)
        likelihood = jnp.exp(bounds.gaussian_log_likelihood(x, y, noise))
        slope = jnp.abs(x - y) / noise**2 * likelihood
        return jnp.max(likelihood + slope * away) * bumps.total(law) / bumps.total(updated)

    return jax.vmap(one)(y, noise_std)
