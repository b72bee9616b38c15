"""Approximation: networks of growing width fitted to the law itself, so that nothing but their class and Adam errs.

The data are the quantiles of `bumps.mixture`, so many that they are the law. Each network starts from several inits,
all of which are kept: the best is chosen by what it was trained on.
"""

import jax
import numpy as np

from experiments.inverse import bumps, line, names
from experiments.inverse.config import Inverse
from experiments.inverse.keys import data_sets, exact
from vrjax.inverse import generators
from vrjax.study.tables import Bench, Tables


def measure(study: Inverse, here: Bench, seed: int) -> Tables:
    """All of a seed.

    Returns:
        `widths` (w,); of each activation a, width and init i: `prior w1`, `prior w2`, `posterior w1`, `constant` (of
        T1), `train w2`, `fresh w2` (a, w, i); `evidence` (); `floor prior w1`, `floor posterior w1` (), of the
        true map's images in place of a network's.
    """
    return here.part(names.part(seed, names.WIDTH), lambda: _measure(study, here, seed))


def _measure(study: Inverse, here: Bench, seed: int) -> Tables:
    sizes = study.width
    y, noise_std = np.array([sizes.y]), np.array([sizes.noise_std])
    with exact():
        data = np.asarray(bumps.quantile(bumps.mixture(), (np.arange(sizes.data) + 0.5) / sizes.data))
    shape = (len(sizes.activations), len(sizes.widths), sizes.inits)
    points, train, fresh = np.zeros((*shape, sizes.nodes)), np.zeros(shape), np.zeros(shape)
    with here.bar(f"seed {seed}: width", points[..., 0].size) as tick:
        for a, w, i in np.ndindex(shape):
            width = sizes.widths[w]
            generator = generators.mlp(1, widths=(width,) * sizes.layers, activation=sizes.activations[a])
            key = data_sets(study, names.WIDTH, seed, width, sizes.inits)[i]
            params, report = generators.fit(
                jax.random.fold_in(key, a),
                data,
                generator,
                mode="sorted",
                latents=sizes.latents,
                steps=sizes.steps,
                restarts=1,
            )
            points[a, w, i] = line.pushed(generator, params, sizes.nodes)
            train[a, w, i], fresh[a, w, i] = report.train_w2, report.fresh_w2
            tick(1)
    weights = line.nodes(sizes.nodes)[1]
    found = [
        line.errors(bumps.mixture(), some, weights, y, noise_std) for some in points.reshape(-1, *points.shape[2:])
    ]
    out = {name: np.stack([one[name] for one in found]).reshape(shape) for name in found[0]}
    out |= {"widths": np.asarray(sizes.widths), "train w2": train, "fresh w2": fresh}
    out["evidence"] = line.evidence(bumps.mixture(), y, noise_std)[0]
    least = line.floors(bumps.mixture(), sizes.nodes, y, noise_std)
    return out | {f"floor {name}": np.squeeze(value) for name, value in least.items()}
