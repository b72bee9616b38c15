"""Video as an inverse problem: frames that are dropped, blurred or averaged, of a world whose posterior is known.

A small transformer of 4 x 8 x 8 numbers is trained by flow matching on n clips of `occluder`, and its prior is the law
of its map from latent to clip, of 8 evaluations. Tempered particles in the latent sample its posterior exactly, in the
limit of many; guided samplers go through the same network. Everything is done again with the world's own velocity in
the network's place, through the same map: what an arm errs there is the sampler's and the map's, and what it errs more
with the network is the prior's. The world's posterior itself is closed form: no distance has a reference that was
sampled by a chain.

Each seed has its own training clips, and its own truths with their data, which are the same for all priors and arms.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from experiments.inverse import names, occluder, video_arms
from experiments.inverse.config import Inverse, Video
from experiments.inverse.guided_names import ARMS
from experiments.inverse.keys import FIXED, data_sets
from experiments.inverse.occluder import A, Law
from experiments.inverse.video_arms import Particles, Path, Task, Weighed
from experiments.inverse.video_names import TASKS
from vrjax.flow.draws import settled
from vrjax.study.tables import Bench, Tables

TRUTHS, WORLD, VALIDATION, SIDES, LATENTS = range(1, 6)
"""In a size's place: what a seed's truths and data, its samples of the world, and the fixed things are drawn of."""
AXES = 16
"""They hold 97 % of the variance of the means."""
NOWHERE = 0.999
"""A clip is nowhere if it is farther from every mean than this share of the world's clips is from its own."""
ENOUGH = 50
"""Effective draws of a pool, from which on it judges particles."""
EVIDENCE_GAP, CHANCE_GAP = 0.5, 0.07
"""By which particles and pool may disagree: root of the mean square of the log evidence's differences, and the mean
difference of the chance of A, each over the observations for which the pool has `ENOUGH`."""
FEWEST = 3
"""Such observations, for the pool to judge."""
SHOWN = 3
POOL = ("chance", "ess", "log evidence")
GUIDED = ("guided chance", "guided w1", "guided finite")


def measure(study: Inverse, here: Bench, seed: int) -> Tables:
    """All of a seed.

    Returns:
        Over p priors (a network of each of the `sizes` (p - 1,), then the world's own velocity), t tasks, the
        `video_names.TASKS`, o observations of which the first f are given to all, g guided arms and 2 priors for these
        (the largest size's, the world's); chance is the probability of continuation A:

        - `exact` (t, o): the world's chance given each observation; `truth` (o,) whether the truth is of A.
        - Priors: `prior sliced w1` (p,) of their draws and the world's, its `floor` (); `prior chance` (p,); `prior
          variation` (p,), total variation of the components' shares and the true ones; `prior nowhere` (p,), the share
          of draws that are near no mean, see `NOWHERE`; `prior noise` (p,), the mean noise of a pixel over the
          world's; `losses` (p, 10) of training, NaN of the world.
        - Latent particles: `latent chance` (p, t, o) and `latent power`, `latent log evidence`, `latent finite`, the
          last as 0 or 1; NaN where they were not run. By weighting a pool of the prior's draws, with no particles:
          `pool chance`, `pool ess`, `pool log evidence` (p, t, o). `latent why` (p, t): "" where the gate passed, else
          why not, see `gate`.
        - `latent ranks` (p, t, o, q): of truths among `ranked` particles, along the q `projections`; -1 where they were
          not run or the gate failed. `latent w1` (p, t, f): sliced W1 between particles and exact draws, NaN where the
          gate failed; `w1 floor` (t, f) of as many exact draws as particles.
        - Guided arms: `guided chance`, `guided w1` and `guided finite` (2, g, t, f), where a draw that is not finite
          makes the first two NaN; `guided number` (g,), NaN where an arm has none.
        - Along the steps, over draws and the first f observations: `latent path residual` and `latent path above`
          (p, t, s), the means of `Path`; `latent path decided` (p, t, s), the share of draws whose side of that step
          stays to the end; for each guided arm `<arm> path residual` and so on (2, t, steps of its grid); `exact above`
          (t,), the mean of `exact` over the same observations.
        - To be looked at, of the first observation, `SHOWN` clips each in half precision: `shown truth` (256,);
          `shown y` (t, m), of which `shown rows` (t,) are data, times `shown norm` (t,) in the clips' unit;
          `shown exact` (t, s, 256), `latent shown` (p, t, s, 256).
    """
    numbers = choose(study, here)
    plain = {"number": np.nan_to_num(numbers["number"], nan=-1.0).tolist()}
    return here.part(names.part(seed, names.VIDEO), lambda: _measure(study, here, seed, numbers["number"]), of=plain)


def choose(study: Inverse, here: Bench) -> Tables:
    """The number of each guided arm, for all seeds alike: of its candidates the one of least mean sliced W1 to exact
    draws over observations of validation, with the world's own velocity; of equals the first.

    Returns:
        `number` (g,), NaN where an arm has none; `validated` (g, c), the means, NaN where there are fewer candidates.
    """
    return here.part(f"{names.VIDEO}-validation", lambda: _choose(study, here))


def _choose(study: Inverse, here: Bench) -> Tables:
    sizes, law = study.video, occluder.world()
    most = max([1, *(len(ARMS[arm].candidates) for arm in sizes.arms)])
    validated, number = np.full((len(sizes.arms), most), np.nan), np.full(len(sizes.arms), np.nan)
    world, sides = _single(law), _sides(study)
    key, rng = _source(study, FIXED, VALIDATION)
    with settled(True), here.bar("video: validation", len(sizes.arms)) as tick:
        posed = problems(sizes, law, rng)
        for a, arm in enumerate(sizes.arms):
            for c, candidate in enumerate(ARMS[arm].candidates):
                gone = []
                for one, own in zip(posed, jax.random.split(key, len(posed)), strict=True):
                    y = one.y[: sizes.few]
                    made = video_arms.steered(sizes, arm, candidate, world, world, one.task, y, own)
                    gone += [sliced(*pair, sides) for pair in zip(made.clips, one.exact, strict=True)]
                validated[a, c] = np.mean(gone) if np.isfinite(gone).all() else np.inf
            if ARMS[arm].candidates:
                number[a] = ARMS[arm].candidates[int(np.nanargmin(validated[a]))]
            tick(1)
    return {"number": number, "validated": validated}


def _measure(study: Inverse, here: Bench, seed: int, number: np.ndarray) -> Tables:
    sizes, law = study.video, occluder.world()
    key, rng = _source(study, seed, TRUTHS)
    posed, sides = problems(sizes, law, rng), _sides(study)
    out: Tables = {"sizes": np.asarray(sizes.sizes), "truth": occluder.continuations(law)[posed[0].which] == A}
    out["exact"] = np.stack([occluder.chances(law, each.task.forward, *_seen(each)) for each in posed])
    out["exact above"] = out["exact"][:, : sizes.few].mean(1)
    pairs = [zip(each.again, each.exact, strict=True) for each in posed]
    out["w1 floor"] = np.array([[sliced(*pair, sides) for pair in each] for each in pairs])
    out["shown truth"] = posed[0].truth[0].astype(np.float16)
    out["shown y"] = np.stack([each.y[0] for each in posed]).astype(np.float16)
    out["shown exact"] = np.stack([each.exact[0, :SHOWN] for each in posed]).astype(np.float16)
    out["shown rows"] = np.array([len(each.task.forward) for each in posed])
    out["shown norm"] = np.array([video_arms.NOISE[task] for task in TASKS]) / [each.task.noise_std for each in posed]
    one, other = np.split(_world(study, seed, law), 2)
    out["prior floor"] = np.asarray(sliced(one, other, sides))
    rows: dict[str, list[Any]] = {}
    steps = (len(sizes.sizes) + 1) * (1 + len(posed)) + 2 * len(sizes.arms)
    with settled(True), here.bar(f"seed {seed}: video", steps) as tick:
        for size in (*sizes.sizes, None):
            prior, pool, found = _prior(study, seed, size, law)
            tick(1)
            whole = size in (sizes.sizes[-1], None)
            # Equal keys for all priors: their particles start at the same latents.
            found |= _latent(sizes, law, prior, pool, posed, sides, jax.random.fold_in(key, 0), whole, tick)
            if whole:
                found |= _guided(sizes, law, prior, posed, sides, number, jax.random.fold_in(key, 1), tick)
            for name, value in found.items():
                rows.setdefault(name, []).append(value)
    return out | {name: np.stack(values) for name, values in rows.items()} | {"guided number": number}


class Posed(NamedTuple):
    """A task's problems: `truth` (o, 256) and the components `which` (o,) they are of, the same for all tasks; data `y`
    (o, m); for the first f of them independent draws of the world's posterior, `again` (f, draws, 256) and `exact`, of
    which there are `sizes.exact` times as many."""

    truth: np.ndarray
    which: np.ndarray
    task: Task
    y: np.ndarray
    exact: np.ndarray
    again: np.ndarray


def problems(sizes: Video, law: Law, rng: np.random.Generator) -> list[Posed]:
    """Those of all tasks."""
    truth, which = occluder.draw(rng, law, sizes.observations)
    found = []
    for task in video_arms.tasks().values():
        y = video_arms.observed(rng, task, truth)
        number = (sizes.exact + 1) * sizes.draws
        drawn = np.stack([occluder.draw_after(rng, after(law, task, one), number) for one in y[: sizes.few]])
        found.append(Posed(truth, which, task, y, drawn[:, sizes.draws :], drawn[:, : sizes.draws]))
    return found


def _source(study: Inverse, seed: int, what: int) -> tuple[Any, np.random.Generator]:
    """A key, and a generator of NumPy's, which costs no compilation."""
    (key,) = data_sets(study, names.VIDEO, seed, what, 1)
    return key, np.random.default_rng(np.asarray(jax.random.key_data(key)))


def _sides(study: Inverse) -> np.ndarray:
    """Directions of sliced distances, the same for all seeds, within the leading `AXES` principal axes of the means. Of
    256 dimensions a direction at random would see little but the noise of pixels, whatever the ball does."""
    _, rng = _source(study, FIXED, SIDES)
    found = rng.normal(size=(study.video.directions, AXES)) @ axes(occluder.world())
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def axes(law: Law) -> np.ndarray:
    """The leading principal axes of the means, (AXES, 256)."""
    away = law.means - law.weights @ law.means
    return np.linalg.svd(np.sqrt(law.weights)[:, None] * away, full_matrices=False)[2][:AXES]


def _world(study: Inverse, seed: int, law: Law) -> np.ndarray:
    """Clips of the world, as many as two pools."""
    return occluder.draw(_source(study, seed, WORLD)[1], law, 2 * study.video.pool)[0]


def _single(law: Law) -> Law:
    return Law(*(np.asarray(part, np.float32) for part in law))


def _seen(posed: Posed) -> tuple[np.ndarray, float]:
    """Data without the rows that say nothing, and their noise."""
    return posed.y[:, : len(posed.task.forward)], posed.task.noise_std


def after(law: Law, task: Task, y: np.ndarray) -> occluder.After:
    """The world's posterior given an observation."""
    return occluder.posterior(law, task.forward, y[: len(task.forward)], task.noise_std)


def projections(law: Law) -> np.ndarray:
    """Unit vectors (4, 256) along which truths are ranked: from B to A in the last frame, the main direction of the
    means in the first two frames, and one direction at random in the last frame and one in all."""
    rng = np.random.default_rng(0)
    frames = np.arange(occluder.SIZE) // (occluder.SIZE // occluder.SHAPE[0])
    turned = (law.means[0::2] - law.means[1::2]).mean(0) * (frames == 3)
    away = (law.means - law.weights @ law.means) * (frames < 2)
    main = np.linalg.svd(away, full_matrices=False)[2][0]
    found = np.stack([turned, main, rng.normal(size=occluder.SIZE) * (frames == 3), rng.normal(size=occluder.SIZE)])
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def sliced(x: np.ndarray, y: np.ndarray, sides: np.ndarray) -> float:
    """Sliced W1 of draws and others, as many or a multiple; NaN where one is not finite."""
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return float("nan")
    first, second = (np.sort(np.asarray(each, np.float32) @ sides.T.astype(np.float32), 0) for each in (x, y))
    # A draw stands for as many of the others.
    return float(np.mean(np.abs(np.repeat(first, len(second) // len(first), 0) - second), dtype=np.float64))


def decided(above: np.ndarray) -> np.ndarray:
    """The share of draws whose side of a step stays to the end, (s,) of sides (..., s)."""
    same = np.asarray(above) == np.asarray(above)[..., -1:]
    stays = np.logical_and.accumulate(same[..., ::-1], -1)[..., ::-1]
    return stays.reshape(-1, stays.shape[-1]).mean(0)


def gate(particles: Particles, pool: Weighed, chances: np.ndarray) -> str:
    """Whether particles may be believed: "" or why not.

    All runs must have been finite and have reached the posterior, and where a pool of the same prior's draws, weighted
    by the likelihood, has `ENOUGH` effective draws, evidence and chance of A must be the same for both.

    Args:
        particles: of n observations.
        pool: of the same ones.
        chances: (n,) of A, by the particles.
    """
    if not particles.finite.all():
        return f"the likelihood of {np.sum(~particles.finite)} runs was not finite"
    if (particles.power < 1).any():
        return f"the power of the likelihood ended at {particles.power.min():.3g} in a run, before 1"
    judged = pool.ess >= ENOUGH
    if judged.sum() < FEWEST:
        return f"{judged.sum()} observations have a pool of {ENOUGH} effective draws, expected {FEWEST}"
    away = (particles.log_evidence - pool.log_evidence)[judged]
    gap = float(np.sqrt(np.mean(away**2)))
    if gap > EVIDENCE_GAP:
        return f"the log evidence differs from the pool's by {gap:.2f}, expected at most {EVIDENCE_GAP}"
    gap = float(np.abs(np.mean((chances - pool.chance)[judged])))
    if gap > CHANCE_GAP:
        return f"the chance of A differs from the pool's by {gap:.2f}, expected at most {CHANCE_GAP}"
    return ""


def chance(law: Law, clips: np.ndarray) -> np.ndarray:
    """How likely clips (..., 256) are of continuation A under the world's law, (...)."""
    near = occluder.responsibilities(_single(law), jnp.asarray(clips, jnp.float32))
    return np.asarray(near[..., occluder.continuations(law) == A].sum(-1))


def _prior(study: Inverse, seed: int, size: int | None, law: Law) -> tuple[Any, np.ndarray, dict[str, Any]]:
    """A prior, a pool of its draws, and what is told of them."""
    sizes = study.video
    prior, losses = _single(law), np.full(10, np.nan)
    if size is not None:
        key, rng = _source(study, seed, size)
        prior, losses = video_arms.train(sizes, key, occluder.draw(rng, law, size)[0], max(sizes.sizes))
    # Of all priors of a seed the same latents.
    _, latents = _source(study, seed, LATENTS)
    pool = video_arms.push(sizes, prior, latents.normal(size=(sizes.pool, occluder.SIZE)).astype(np.float32))
    which = np.asarray(occluder.responsibilities(_single(law), jnp.asarray(pool))).argmax(1)
    square = np.sum((pool - law.means[which]) ** 2, 1) / law.std**2
    shares = np.bincount(which, minlength=len(law.weights)) / len(pool)
    return (
        prior,
        pool,
        {
            "losses": losses,
            "prior sliced w1": sliced(pool, _world(study, seed, law)[: len(pool)], _sides(study)),
            "prior chance": chance(law, pool).mean(),
            "prior variation": 0.5 * np.abs(shares - law.weights).sum(),
            "prior nowhere": np.mean(square > stats.chi2.ppf(NOWHERE, occluder.SIZE)),
            "prior noise": np.sqrt(np.median(square) / occluder.SIZE),
        },
    )


def _latent(
    sizes: Video,
    law: Law,
    prior: Any,
    pool: np.ndarray,
    posed: list[Posed],
    sides: np.ndarray,
    key: Any,
    whole: bool,
    tick: Any,
) -> dict[str, Any]:
    """Particles of a prior in all tasks, given all observations or the first few."""
    along, likely, o = projections(law), chance(law, pool), sizes.observations
    rows: list[dict[str, Any]] = []
    for each, own in zip(posed, jax.random.split(key, len(posed)), strict=True):
        run, pick = jax.random.split(own)
        n = o if whole else sizes.few
        made = video_arms.particles(sizes, law, prior, each.task, each.y[:n], run)
        weighed = video_arms.weighed(each.task, pool, likely, each.y)
        why = gate(made, Weighed(*(part[:n] for part in weighed)), chance(law, made.clips).mean(1))
        full = lambda values, n=n: np.concatenate([values, np.full(o - n, np.nan)])
        taken = np.asarray(jax.random.permutation(pick, sizes.particles))
        ranks = np.full((o, len(along)), -1)
        if not why:
            few = made.clips[:, taken[: sizes.ranked]] @ along.T
            ranks[:n] = np.sum(few < (each.truth[:n] @ along.T)[:, None], 1)
        pairs = zip(made.clips[:, taken[: sizes.draws]], each.exact, strict=False)
        w1 = np.array([np.nan if why else sliced(*pair, sides) for pair in pairs])
        path = Path(*(part[: sizes.few] for part in made.path))
        rows.append(
            {
                "latent chance": full(chance(law, made.clips).mean(1)),
                "latent power": full(made.power),
                "latent log evidence": full(made.log_evidence),
                "latent finite": full(made.finite.astype(float)),
                **{f"pool {name}": getattr(weighed, name.replace(" ", "_")) for name in POOL},
                "latent why": why,
                "latent ranks": ranks,
                "latent w1": w1,
                "latent shown": made.clips[0, taken[:SHOWN]].astype(np.float16),
                **_along("latent", path),
            }
        )
        tick(1)
    return {name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]}


def _guided(
    sizes: Video, law: Law, prior: Any, posed: list[Posed], sides: np.ndarray, number: np.ndarray, key: Any, tick: Any
) -> dict[str, Any]:
    """Guided arms through a prior in all tasks, given the first few observations."""
    out: dict[str, Any] = {name: np.full((len(sizes.arms), len(posed), sizes.few), np.nan) for name in GUIDED}
    for a, arm in enumerate(sizes.arms):
        paths = []
        keys = jax.random.split(jax.random.fold_in(key, a), len(posed))
        for t, (each, own) in enumerate(zip(posed, keys, strict=True)):
            made = video_arms.steered(sizes, arm, number[a], _single(law), prior, each.task, each.y[: sizes.few], own)
            fine = np.all(made.finite, axis=1)
            out["guided finite"][a, t] = made.finite.mean(1)
            out["guided chance"][a, t] = np.where(fine, chance(law, made.clips).mean(1), np.nan)
            for f, pair in enumerate(zip(made.clips, each.exact, strict=True)):
                out["guided w1"][a, t, f] = sliced(*pair, sides) if made.finite[f].all() else np.nan
            paths.append(_along(arm, made.path))
        out |= {name: np.stack([path[name] for path in paths]) for name in paths[0]}
        tick(1)
    return out


def _along(arm: str, path: Path) -> dict[str, np.ndarray]:
    """What is told of paths (..., s), each as (s,)."""
    mean = lambda values: np.mean(values, tuple(range(values.ndim - 1)), dtype=np.float64)
    found = {"residual": mean(path.residual), "above": mean(path.above), "decided": decided(path.above)}
    return {f"{arm} path {name}": value for name, value in found.items()}
