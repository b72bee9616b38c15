"""Evidence: one fitted prior, and observations from likely to unlikely under noise from wide to sharp.

The prior's error is one number then; the posterior's is over a grid of observations, beside T1's constant of each.
"""

import numpy as np

from experiments.inverse import bumps, line, names
from experiments.inverse.config import Inverse
from experiments.inverse.keys import data_sets
from vrjax.study.tables import Bench, Tables


def measure(study: Inverse, here: Bench, seed: int) -> Tables:
    """All of a seed: a data set and a fit.

    Returns:
        `y`, `noise_std`, `evidence` (k,) of the grid's observations; of the arms "empirical" and "generator"
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
    arms = {names.EMPIRICAL: data, names.GENERATOR: points}
    out: Tables = {"y": y, "noise_std": noise_std, "evidence": line.evidence(bumps.mixture(), y, noise_std)}
    for arm, some in arms.items():
        found = line.errors(bumps.mixture(), some, y, noise_std)
        out |= {f"{arm} {name}": value[0] for name, value in found.items()}
    out |= {f"{names.GENERATOR} {name}": value[0] for name, value in reports.items()}
    least = line.floors(bumps.mixture(), sizes.nodes, y, noise_std)
    return out | {f"floor {name}": value for name, value in least.items()}
