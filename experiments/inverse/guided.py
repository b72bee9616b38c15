"""Guided samplers and latent ones on problems whose posterior is known: how far from it, and whether calibrated.

Each problem has an observation that is the same for all seeds: draws given it are compared with exact draws. For
calibration every seed draws truths and data of the prior predictive. The network is the prior's exact velocity
throughout, so that all errors are the samplers' (of latent ones also the flow's discretisation, see `prior error`); the
part that a learned prior would add is not measured here.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.inverse import guided_arms, guided_latent, names, solvable
from experiments.inverse.config import Inverse
from experiments.inverse.guided_names import ARMS, CHOSEN, FEW, LATENT, NOT_FINITE, NOT_RUN, PUBLISHED, SETTINGS, SLOW
from experiments.inverse.keys import FIXED, data_sets
from vrjax.flow.draws import settled
from vrjax.inverse import distances, latent
from vrjax.study.tables import Bench, Tables

VALIDATION = "guided-validation"
"""The part that holds what was chosen, for all seeds."""


def measure(study: Inverse, here: Bench, seed: int) -> Tables:
    """All of a seed.

    Returns:
        Of every group of p problems, with `<group> ` before the name, over the a arms of `ARMS` and both `SETTINGS`
        (the second repeats the first where an arm has no number or the published one was chosen):

        - `distance` (a, 2, p): sliced W1 between draws given the problem's observation and exact ones; NaN where a draw
          is not finite and, as in the others, where an arm was not measured (see `SLOW` and `config.Guided.arms`);
          `floor` (p,) what two exact samples give, `few floor` of as many as the arms `FEW` draw;
        - `modes` (a, 2, p, 3): the mean probability of each component given the draws; `weights` (p, 3) the exact ones
          (both without the last axis' entries, (..., 0), of signals);
        - `finite` (a, 2, p): the share of runs that were (of latent arms: of steps);
        - `ranks` (a, 2, p, pairs, q): of truths among `ranked` draws, along q projections; `NOT_RUN`, `NOT_FINITE`;
        - `evaluations` (a, p) of the network for a draw;
        - of the latent arms (l, p): `rhat`, `ess` of the states, `mode ess` the least of components' probabilities;
        - `prior error` (p,): of the flow's discretisation, sliced W1 between what the latent arms' map makes of points
          and what it makes of the same ones in eight times as many steps;
        - `number` (a, 2): the arm's number, NaN where it has none; `validated` (a, c): see `choose`.
    """
    chosen = choose(study, here)
    return here.part(names.part(seed, names.GUIDED), lambda: _measure(study, here, seed, chosen), of=_plain(chosen))


def choose(study: Inverse, here: Bench) -> Tables:
    """The number of each arm that did best on the problems for validation, for all seeds alike.

    The rule: of the candidates, the one of smallest median over problems of sliced W1 over its floor; a draw that is
    not finite counts as infinitely far; of equals the first.

    Returns:
        of every group `<group> validated` (a, c), these medians, NaN where an arm has fewer candidates or none, and
        `<group> number` (a, 2).
    """
    return here.part(VALIDATION, lambda: _choose(study, here))


def _plain(chosen: Tables) -> dict[str, Any]:
    return {name: np.nan_to_num(value, nan=-1.0).tolist() for name, value in chosen.items() if name.endswith("number")}


def _choose(study: Inverse, here: Bench) -> Tables:
    sizes, out = study.guided, {}
    most = max(len(known.candidates) for known in ARMS.values())
    n = sizes.validation_draws
    with settled(True), here.bar("guided: validation", len(sizes.groups) * len(ARMS)) as tick:
        for at, group in enumerate(sizes.groups):
            posed = solvable.problems(study, group, validation=True) if sizes.problems[at] else []
            keys = data_sets(study, names.GUIDED, FIXED, 1000 * at + 501, len(posed))
            exact = [_exact(study, problem, key, n, n) for problem, key in zip(posed, keys, strict=True)]
            validated = np.full((len(ARMS), most), np.nan)
            number = np.full((len(ARMS), 2), np.nan)
            for a, (arm, known) in enumerate(ARMS.items()):
                for c, candidate in enumerate(known.candidates if posed and _asked(study, arm) else ()):
                    ratios = []
                    for problem, key, (samples, sides, floor, _) in zip(posed, keys, exact, strict=True):
                        y = np.broadcast_to(problem.y, (n, len(problem.y)))
                        x, fine = _draws(arm, problem, y, jax.random.fold_in(key, 1), candidate, sizes)
                        ratios.append(sliced(x, samples, sides) / floor if fine.all() else np.inf)
                    validated[a, c] = np.median(ratios)
                if known.candidates:
                    best = int(np.nanargmin(validated[a])) if np.isfinite(validated[a]).any() else 0
                    number[a] = known.candidates[0], known.candidates[best]
                tick(1)
            out |= {f"{group} validated": validated, f"{group} number": number}
    return out


def _measure(study: Inverse, here: Bench, seed: int, chosen: Tables) -> Tables:
    sizes = study.guided
    out: Tables = {}
    with settled(True), here.bar(f"seed {seed}: guided samplers", sum(sizes.problems) * len(ARMS)) as tick:
        for at, group in enumerate(sizes.groups):
            posed = solvable.problems(study, group)
            if not posed:
                continue
            keys = data_sets(study, names.GUIDED, seed, 1000 * at, len(posed))
            found = []
            for j, (problem, key) in enumerate(zip(posed, keys, strict=True)):
                turn = j % len(study.seeds) == study.seeds.index(seed)
                asked = [arm for arm in ARMS if _asked(study, arm) and (turn or arm not in SLOW)]
                found.append(_problem(study, at, problem, key, chosen[f"{group} number"], asked, tick))
            # Axis of problems after those of arms and settings.
            for name in found[0]:
                axis = {"floor": 0, "few floor": 0, "weights": 0, "prior error": 0}.get(name)
                axis = axis if axis is not None else 1 if name in ("evaluations", "rhat", "ess", "mode ess") else 2
                out[f"{group} {name}"] = np.stack([one[name] for one in found], axis)
            out |= {name: value for name, value in chosen.items() if name.startswith(f"{group} ")}
    return out


def _asked(study: Inverse, arm: str) -> bool:
    return not study.guided.arms or arm in study.guided.arms


def _problem(
    study: Inverse, at: int, problem: solvable.Problem, key: Any, number: Any, asked: list[str], tick: Any
) -> Tables:
    sizes = study.guided
    n, pairs = sizes.draws[at], sizes.pairs[at]
    here, there, arms, back = jax.random.split(key, 4)
    samples, sides, floor, few_floor = _exact(study, problem, here, n, sizes.few_draws)
    truth, data = (np.asarray(a) for a in solvable.predictive(there, problem, pairs))
    along = truth @ problem.projections.T
    shape = (len(ARMS), len(SETTINGS))
    exact_weights = solvable.weights(problem)
    out: Tables = {
        "distance": np.full(shape, np.nan),
        "modes": np.full((*shape, len(exact_weights)), np.nan),
        "finite": np.full(shape, np.nan),
        "ranks": np.full((*shape, pairs, len(problem.projections)), NOT_RUN, np.int8),
        "evaluations": np.full(shape[0], np.nan),
        "floor": np.asarray(floor),
        "few floor": np.asarray(few_floor),
        "weights": exact_weights,
        **{name: np.full(len(LATENT), np.nan) for name in ("rhat", "ess", "mode ess")},
    }

    def keep(a: int, s: int, own: Any, every: Any, few: Any, fine: Any, share: float) -> None:
        out["finite"][a, s] = share
        if np.isfinite(own).all():
            out["distance"][a, s] = sliced(own, samples, sides)
            out["modes"][a, s] = np.mean(responsibilities(problem.prior, every), 0)
        out["ranks"][a, s, : len(few)] = ranked(along[: len(few)], few @ problem.projections.T, fine)

    for a, arm in enumerate(ARMS):
        mine = jax.random.fold_in(arms, a)
        if arm not in asked:
            tick(1)
            continue
        if arm in LATENT:
            drawn = guided_latent.draws(arm, problem, data, mine, sizes, n)
            every = drawn.chains.reshape(-1, drawn.own.shape[-1])
            reached = np.broadcast_to(drawn.reached[:, None], drawn.pairs.shape[:2])
            for s in range(len(SETTINGS)):
                keep(a, s, drawn.own, every, drawn.pairs, reached, drawn.finite)
            out["evaluations"][a] = drawn.evaluations
            for name, value in mixed(problem, drawn.chains, exact_weights).items():
                out[name][LATENT.index(arm)] = value
        else:
            few = arm in FEW
            first, p = (sizes.few_draws, sizes.few_pairs) if few else (n, pairs)
            block = -(-sizes.ranked // sizes.particles) * sizes.particles if arm == "smc" else sizes.ranked
            y = np.concatenate([np.broadcast_to(problem.y, (first, len(problem.y))), np.repeat(data[:p], block, 0)])
            out["evaluations"][a] = guided_arms.evaluations(arm)
            for s, setting in enumerate(SETTINGS):
                if setting == CHOSEN and (
                    np.isnan(number[a, s]) or number[a, s] == number[a, SETTINGS.index(PUBLISHED)]
                ):
                    for name in ("finite", "distance", "modes", "ranks"):
                        out[name][a, s] = out[name][a, 0]
                    continue
                x, fine = _draws(arm, problem, y, mine, number[a, s], sizes)
                of_pairs = x[first:].reshape(p, block, -1), fine[first:].reshape(p, block)
                taken = np.asarray(jax.random.permutation(mine, block))[: sizes.ranked]
                keep(a, s, x[:first], x[:first], of_pairs[0][:, taken], of_pairs[1][:, taken], float(np.mean(fine)))
        tick(1)
    z = jax.random.normal(back, (n, truth.shape[1]))
    here, finer = (guided_latent.push(problem.prior, z, sizes.ode_steps * times) for times in (1, 8))
    out["prior error"] = np.asarray(sliced(np.asarray(here), np.asarray(finer), sides))
    return {name: np.asarray(value) for name, value in out.items()}


def ranked(truth: np.ndarray, draws: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """Ranks (p, q) of truths (p, q) among draws (p, l, q); `NOT_FINITE` of pairs some of whose runs (p, l) were not."""
    ranks = np.sum(draws < truth[:, None], 1).astype(np.int8)
    whole = np.asarray(fine.all(1) & np.isfinite(draws).all((1, 2)))
    return np.where(whole[:, None], ranks, np.int8(NOT_FINITE))


def sliced(x: np.ndarray, y: np.ndarray, directions: np.ndarray) -> float:
    """Sliced W1 of states."""
    return float(_sliced(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32), directions))


_sliced = jax.jit(distances.sliced_w1)
responsibilities = jax.jit(jax.vmap(solvable.responsibilities, (None, 0)))


def _draws(arm: str, problem: Any, y: Any, key: Any, number: float, sizes: Any) -> tuple[np.ndarray, np.ndarray]:
    lanes = min(sizes.lanes, 64) if arm in FEW else sizes.lanes
    return guided_arms.draws(arm, problem, y, key, number, lanes=lanes, particles=sizes.particles)


def _exact(study: Inverse, problem: Any, key: Any, n: int, few: int) -> tuple[np.ndarray, np.ndarray, float, float]:
    """n exact draws, the directions of distances, and mean distances between pairs of independent sets of draws: n and
    n, few and n."""
    sizes = study.guided
    first, second = jax.random.split(key)
    d = problem.operator.in_shape[0]
    # The directions are those of the dimension, for all problems and seeds.
    sides = np.asarray(distances.directions(data_sets(study, names.GUIDED, FIXED, 999, 1)[0], sizes.directions, d))
    samples = solvable.reference(first, problem, n * (sizes.floors + 1), sizes.gibbs_thin).reshape(-1, n, d)
    if not isinstance(problem.prior, solvable.Bumps):  # rows of a Gibbs chain lie together: deal them out
        order = np.asarray(jax.random.permutation(second, n * (sizes.floors + 1)))
        samples = samples.reshape(-1, d)[order].reshape(-1, n, d)
    pairs = list(zip(samples[:-1], samples[1:], strict=True))
    floor = np.mean([sliced(x, y, sides) for x, y in pairs])
    few_floor = np.mean([sliced(x[:few], y, sides) for x, y in pairs])
    return samples[0], sides, float(floor), float(few_floor)


def mixed(problem: Any, own: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """R-hat and effective size of chains of states (chains, k, d), and of the components' probabilities."""
    gate = latent.gate(own)
    there = np.flatnonzero((weights > 0.01) & (weights < 0.99))
    least = np.nan
    if len(there):
        each = np.asarray(responsibilities(problem.prior, own.reshape(-1, own.shape[-1])))
        least = float(np.min(np.asarray(latent.ess(each.reshape(*own.shape[:2], -1)[..., there]))))
    return {"rhat": gate.rhat, "ess": gate.ess, "mode ess": least}
