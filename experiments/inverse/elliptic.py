"""The elliptic problem: pressure at 36 sensors, an unknown permeability whose true law is neither Gaussian nor
stationary, and priors that were made of n of its fields.

Each seed has its own truths, with data made on a finer grid, and its own training fields. The reference is the
posterior of the true prior, sampled in the white noise that this is a map of; beside the priors of data stands the
stationary Matern field, which knows none. Distances between posteriors are told only where both chains pass the gate,
else NaN and why. A prior by flow matching is left out.
"""

import itertools
from typing import Any

import jax
import numpy as np

from experiments.inverse import chains, fields, names
from experiments.inverse.config import Inverse
from experiments.inverse.fields import Frame, Problem
from vrjax.flow import draws
from vrjax.inverse import darcy
from vrjax.study.tables import Bench, Tables

TRUE, MATERN, GAUSSIAN, GENERATOR = "true", "matern", "gaussian", "generator"
"""Priors. Of the last two there is one of each size."""
REPORT = ("train_w2", "optimisation_gap", "approximation", "statistical", "fresh_w2")
"""What is kept of a fit's report."""


def measure(study: Inverse, here: Bench, seed: int) -> Tables:
    """All of a seed.

    Returns:
        `sizes` (n,), of which the first f have a fit; `truth` (t, N, N), `y` (t, 36), `noise_std` (t,); `variance` and
        `left` of `fields.true`. Of each arm, "generator" and "gaussian" with a leading axis of f and n sizes, "matern"
        and, posterior alone, "true" without one:

        - `<arm> prior sliced w1` (), `<arm> prior scalars w1` (3,), each with its floor as `... floor`: against
          as many fields of the true law; `<arm> prior variance` (), over that of the true law;
        - `<arm> posterior sliced w1` (t,), `<arm> posterior scalars w1` (t, 3), each with its floor: against the
          posterior of the true prior, NaN where one of the two fails its gate;
        - `<arm> posterior mean from true` (t,): norm of the means' difference over that of the true posterior's mean;
        - `<arm> posterior <name>` for all else that `chains.posterior` returns but the draws;
        - `<arm> posterior not told` (t,): why there is no distance, "" where there is one;
        - of the fit, `generator <name>` () of `REPORT`, of L2 of the unit square; and `matern left` ().
    """
    return here.part(names.part(seed, names.ELLIPTIC), lambda: _measure(study, here, seed))


def _measure(study: Inverse, here: Bench, seed: int) -> Tables:
    sizes = study.elliptic
    law = here.part(f"{names.ELLIPTIC}-true", lambda: fields.true(study), packed=False)
    frame = Frame(*(law[name] for name in Frame._fields))
    problem = fields.problem(study, seed)
    with here.bar(f"seed {seed}: the elliptic problem", 2 + len(sizes.sizes) + len(sizes.latents)) as tick:
        true = reference(study, here, seed, problem, frame)
        tick(1)
        stationary, left = fields.matern(sizes)
        out: Tables = {"sizes": np.asarray(sizes.sizes), "matern left": np.asarray(left)}
        out |= {"truth": problem.truth, "y": problem.y, "noise_std": problem.noise_std}
        out |= {name: law[name] for name in ("variance", "left")}
        out |= {f"{TRUE} posterior {name}": value for name, value in true.items() if name not in chains.DRAWS}
        out |= _named(MATERN, compared(study, seed, fields.MATERN, stationary, law, problem, true))
        tick(1)
        rows: dict[str, list[Any]] = {}
        for size, latents in itertools.zip_longest(sizes.sizes, sizes.latents):
            data = fields.data_set(study, seed, size)
            found = _named(GAUSSIAN, compared(study, seed, size, fields.gaussian(sizes, data), law, problem, true))
            tick(1)
            if latents:
                params, report = fields.fitted(study, seed, data, latents)
                found |= _named(GENERATOR, compared(study, seed, size, params, law, problem, true))
                found |= {f"{GENERATOR} {name}": getattr(report, name) for name in REPORT}
                tick(1)
            for name, value in found.items():
                rows.setdefault(name, []).append(value)
    return out | {name: np.stack(values) for name, values in rows.items()}


def reference(study: Inverse, here: Bench, seed: int, problem: Problem, frame: Frame) -> Tables:
    """The posteriors of the true prior."""
    prior = darcy.prior(study.elliptic.cells)
    _, _, key = fields.split(study, seed, fields.TRUTHS)
    run = lambda: chains.posterior(study.elliptic, key, chains.white, prior, int(np.prod(prior.shape)), problem, frame)
    return here.part(names.part(seed, f"{names.ELLIPTIC}-reference"), run, packed=False)


def compared(
    study: Inverse, seed: int, size: int, params: Any, law: Tables, problem: Problem, true: Tables
) -> dict[str, Any]:
    """A prior, and its posteriors, against the true ones: what `measure` says of an arm.

    Args:
        study, seed: of the chains' keys, and `size`, which stands for the data set or for what else made the prior. Two
            priors of one data set have equal keys, so that their chains start at the same latents.
        params: of `fields.generator`.
        law: `fields.true`.
        problem: of the seed.
        true: its `reference`.
    """
    sizes = study.elliptic
    frame = Frame(*(law[name] for name in Frame._fields))
    arm = fields.generator(sizes)
    with draws.settled(True):
        latents, run = jax.random.split(fields.split(study, seed, size)[2])
    drawn = fields.made(arm.apply, params, np.asarray(draws.normal(latents, (sizes.fields, arm.latent))))
    coordinates, scalars = fields.told(frame, drawn)
    groups = lambda each: each[: len(each) // sizes.chains * sizes.chains].reshape(sizes.chains, -1, each.shape[-1])
    pairs = {"sliced": (coordinates, "coordinates", frame.directions), "scalars": (scalars, "scalars", None)}
    out: dict[str, Any] = {"prior variance": np.mean((drawn - drawn.mean(0)) ** 2, dtype=np.float64) / law["variance"]}
    for name, (found, of, directions) in pairs.items():
        both = apart(groups(found), groups(law[of]), directions)
        out |= dict(zip((f"prior {name} w1", f"prior {name} w1 floor"), both, strict=True))
    after = chains.posterior(sizes, run, arm.apply, params, arm.latent, problem, frame)
    out |= {f"posterior {name}": value for name, value in after.items() if name not in chains.DRAWS}
    why = [_why(one, other) for one, other in zip(after["why"], true["why"], strict=True)]
    out["posterior not told"] = np.asarray(why)
    for name, (_, of, directions) in pairs.items():
        both = [apart(*pair, directions) for pair in zip(after[of], true[of], strict=True)]
        columns = (f"posterior {name} w1", f"posterior {name} w1 floor")
        out |= {column: np.stack(values) for column, values in zip(columns, zip(*both, strict=True), strict=True)}
    away = np.linalg.norm(after["mean"] - true["mean"], axis=(1, 2))
    out["posterior mean from true"] = away / np.linalg.norm(true["mean"], axis=(1, 2))
    return out


def apart(x: np.ndarray, y: np.ndarray, directions: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """W1 of draws (c, k, d) of c chains each: sliced, or with no directions of every entry, and the floor of it.

    The floor is what two runs of one law are apart. It is read from the halves of the chains, which are apart as far
    as draws of theirs depend on each other and chains have not mixed: with h the mean over all ways to halve, and as
    noise falls as the root of the number of draws, `floor^2 = (h(x)^2 + h(y)^2) / 4`.

    Returns:
        the distance and its floor, () or (d,); NaN where there are NaNs among the draws.
    """
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        none = np.full(() if directions is not None else x.shape[-1:], np.nan)
        return none, none
    sides = np.eye(x.shape[-1]) if directions is None else directions
    halves = []
    for each in (x, y):
        ways = [list(way) for way in itertools.combinations(range(len(each)), len(each) // 2) if 0 in way]
        rest = [[at for at in range(len(each)) if at not in way] for way in ways]
        halves.append(np.mean([_w1(each[one], each[other], sides) for one, other in zip(ways, rest, strict=True)], 0))
    lines = np.stack([_w1(x, y, sides), *halves])
    found, one, other = lines if directions is None else lines.mean(1)
    return np.asarray(found), np.asarray(np.sqrt((one**2 + other**2) / 4))


def _w1(x: np.ndarray, y: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Of as many draws on either side, along each direction of length 1; `distances.sliced_w1` is their mean. Here it
    is NumPy's, whose sort is an order of magnitude faster on a CPU, and sorting is all there is to it."""
    along = [np.sort(np.reshape(each, (-1, each.shape[-1])) @ sides.T, 0) for each in (x, y)]
    return np.asarray(np.mean(np.abs(along[0] - along[1]), 0, dtype=np.float64))


def _named(arm: str, found: dict[str, Any]) -> Tables:
    return {f"{arm} {name}": np.asarray(value) for name, value in found.items()}


def _why(own: str, other: str) -> str:
    return "; ".join([str(own)] * bool(own) + [f"the true prior's: {other}"] * bool(other))
