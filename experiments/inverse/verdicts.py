"""From kept tables to claims. Every statistic here was fixed before a data set of the study was drawn.

A seed is a group of independent data sets and gives one number to each claim. What a claim reads stands in
`claims.json`, field `how`:

    "of": name of a number in `NUMBERS`                      or, of a claim of several contrasts,
    "contrasts": {contrast: name of a number}
    "beside": {what: name of a number}                       shown beside the estimate, means over seeds

Gates, positive controls and doses are numbers of the same list.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from experiments.inverse import cloud_rows, listings, names, reading, rows, video_rows
from experiments.inverse.config import Inverse
from experiments.inverse.guided_names import ARMS, CHOSEN, LATENT, NOT_RUN, PUBLISHED, SETTINGS, SIGNALS, SLOW
from experiments.inverse.names import EMPIRICAL, GENERATOR
from experiments.inverse.video_names import TASKS
from vrjax.report.claims import Claim
from vrjax.study import listing
from vrjax.study.claims import Finding, settle
from vrjax.study.registration import Registration
from vrjax.study.tables import Tables

RANKED = 19
"""Draws of a pair, `config.Guided.ranked`, of which the central 90 % leave out one at either end."""
COVERED = 0.9
AFFINE, RATES_TO = "gaussian", 1024
"""Of fields: the generator whose class is affine, fitted in Wasserstein-2 by moments; rates are read up to so many."""
EXACT = "latent tempered_smc"
GUIDED_ARMS = tuple(arm for arm, known in ARMS.items() if known.kind == "posterior" and arm not in (*LATENT, *SLOW))
"""Guided arms that mean to sample the posterior and that every seed has."""


class Number(NamedTuple):
    """One number of a seed, and the experiment whose table it is read from."""

    experiment: str
    read: Callable[[Tables], float]


# --------------------------------------------------------------------------------------------------------- closed form


def _gaussian(table: Tables, name: str) -> np.ndarray:
    """Slopes of a distance in each dimension (d,); of posteriors the mean over observations."""
    errors = table[name] if table[name].ndim == 3 else table[name].mean(-1)
    return np.array([reading.slope(table["sizes"], one) for one in errors])


def _gaussian_apart(table: Tables) -> float:
    """Posterior slope less prior slope of W2, mean over dimensions."""
    return float(np.mean(_gaussian(table, "posterior w2") - _gaussian(table, "prior w2")))


# ------------------------------------------------------------------------------------------------------------ the line


def usable(table: Tables, arm: str, k: int) -> np.ndarray:
    """The sizes (n,) at which rates of an arm are read given observation k: five data or more are expected where the
    likelihood is, and of a network the optimiser's part is at most 30 % of the error. None counts where fewer than
    four are left."""
    few = rows.usable([table], arm, k)
    return few if few.sum() >= 4 else np.zeros_like(few)


def inherited(table: Tables, arm: str) -> np.ndarray:
    """Of each observation (k,) the posterior's slope less the prior's, same data sets, W1; NaN where too few sizes are
    usable."""
    out = np.full(len(table["evidence"]), np.nan)
    for k in range(len(out)):
        if (few := usable(table, arm, k)).any():
            sizes, after = table["sizes"][few], table[f"{arm} posterior w1"][few, :, k]
            out[k] = reading.difference(sizes, after, table[f"{arm} prior w1"][few])
    return out


def _inherited(table: Tables, arm: str) -> float:
    found = inherited(table, arm)
    return float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")


def _prior_slope(table: Tables, arm: str) -> float:
    few = rows.usable([table], arm, None)
    return reading.slope(table["sizes"][few], table[f"{arm} prior w1"][few]) if few.sum() >= 2 else float("nan")


def _gap(table: Tables) -> float:
    """Of the density with a gap: W2's slope less W1's."""
    return reading.difference(table["sizes"], table["gap empirical prior w2"], table["gap empirical prior w1"])


def _tightest(table: Tables, arm: str) -> float:
    """The largest posterior W1 as a share of its bound C W1."""
    bound = table[f"{arm} constant"] * table[f"{arm} prior w1"][..., None]
    return reading.tightness(table[f"{arm} posterior w1"], bound)[0]


def _width(table: Tables, name: str, activation: int = 0) -> float:
    """Slope over width of an error of the init that was trained best."""
    best = reading.best(table["train w2"][activation], table[name][activation])
    return reading.slope(table["widths"], best[:, None])


def _widest(table: Tables, activation: int = 0) -> float:
    return float(reading.best(table["train w2"][activation], table["prior w1"][activation])[-1])


# ------------------------------------------------------------------------------------------------- evidence and bounds


def _ratio(table: Tables, arm: str = GENERATOR) -> np.ndarray:
    return table[f"{arm} posterior w1"] / table[f"{arm} prior w1"]


def _against_evidence(table: Tables, values: np.ndarray) -> float:
    return reading.spearman(values, 1.0 / table["evidence"])


def _grows(table: Tables) -> float:
    """Slope of the ratio of posterior W1 to prior W1 over the tail's distance."""
    return reading.slope(table["far"], table["w1_posterior"] / table["w1_prior"])


def _breaks(table: Tables, bound: str) -> float:
    return float(reading.violations(table["w1_posterior"], table[bound]))


def _slack(table: Tables) -> float:
    return 1.0 - reading.tightness(table["w1_posterior"], table["t1"])[0]


# ----------------------------------------------------------------------------------------------- fields of permeability


def _sizes(table: Tables) -> np.ndarray:
    """Which sizes rates are read at: at 4,096 fields the prior's distance is its floor."""
    return table["sizes"] <= RATES_TO


def _field(table: Tables, name: str) -> float:
    """Slope over sizes of a distance of the affine generator: of a posterior's the mean over truths, those that were
    told at all sizes. NaN where there are none."""
    errors = table[f"{AFFINE} {name}"][_sizes(table)]
    errors = errors.reshape(len(errors), -1)
    told = np.isfinite(errors).all(0)
    return reading.slope(table["sizes"][_sizes(table)], errors[:, told]) if told.any() else float("nan")


def _told(table: Tables) -> float:
    """Share of the posteriors of truth, affine generators and stationary field that passed the gate."""
    every = [table["true posterior why"], table["matern posterior why"]]
    every.append(table[f"{AFFINE} posterior why"][_sizes(table)])
    return float(np.mean(np.concatenate([np.ravel(why) for why in every]) == ""))


def _crps(table: Tables) -> float:
    """CRPS of the stationary field's posterior less that of the affine generator of 1,024 fields, over the former; same
    truths, those of which both were told."""
    stationary, own = table["matern posterior crps"], table[f"{AFFINE} posterior crps"][_sizes(table)][-1]
    both = np.isfinite(stationary) & np.isfinite(own)
    return float(1 - own[both].mean() / stationary[both].mean()) if both.any() else float("nan")


def _network(table: Tables) -> float:
    """Decimal logarithm of the affine generator's posterior distance over the network's, fitted to the same fields, the
    fewest; mean over truths of which both were told."""
    affine, network = (table[f"{arm} posterior sliced w1"][0] for arm in (AFFINE, GENERATOR))
    both = np.isfinite(affine) & np.isfinite(network)
    return float(np.mean(np.log10(affine[both] / network[both]))) if both.any() else float("nan")


# ----------------------------------------------------------------------------------------------------- guided samplers


def _groups(table: Tables, *, known: bool = False) -> list[str]:
    """Groups of problems; the `known` ones are mixtures, on which particles mix, which stand for exact draws."""
    every = [name.removesuffix(" ranks") for name in table if name.endswith(" ranks")]
    return [group for group in every if group != SIGNALS or not known]


def coverage(table: Tables, arm: str, setting: str = CHOSEN) -> float:
    """The share of truths in the central 90 % of an arm's draws, over mixtures of all dimensions, problems, pairs and
    projections; a run that was not finite covers nothing. NaN of an arm that was not run."""
    at = list(ARMS).index(arm), SETTINGS.index(setting)
    ranks = np.concatenate([np.ravel(table[f"{group} ranks"][at]) for group in _groups(table, known=True)])
    ranks = ranks[ranks != NOT_RUN]
    return float(np.mean((ranks >= 1) & (ranks <= RANKED - 1))) if ranks.size else float("nan")


def _calibration(table: Tables) -> float:
    """By how much the coverage of the best guided arm misses .90, less by how much that of tempered particles does."""
    misses = [abs(coverage(table, arm) - COVERED) for arm in GUIDED_ARMS]
    return float(np.nanmin(misses)) - abs(coverage(table, EXACT) - COVERED)


def _over_floor(table: Tables, arm: str, setting: str, *, known: bool = False) -> float:
    """Mean over groups and problems of the decimal logarithm of distance over floor; NaN where a draw was not finite
    or the arm was not measured. `known` as in `_groups`."""
    at = list(ARMS).index(arm), SETTINGS.index(setting)
    shares = [table[f"{group} distance"][at] / table[f"{group} floor"] for group in _groups(table, known=known)]
    return float(np.mean(np.log10(np.concatenate(shares))))


def _farther(table: Tables) -> float:
    """`_over_floor` of mixtures, the least of the guided arms at the chosen setting, less that of particles."""
    found = [_over_floor(table, arm, CHOSEN, known=True) for arm in GUIDED_ARMS]
    return float(np.nanmin(found) - _over_floor(table, EXACT, CHOSEN, known=True))


def _tuned(table: Tables) -> float:
    """Published less chosen `_over_floor`, mean over the arms that have a number and were finite with either."""
    arms = [arm for arm in GUIDED_ARMS if ARMS[arm].candidates]
    gained = np.array([_over_floor(table, arm, PUBLISHED) - _over_floor(table, arm, CHOSEN) for arm in arms])
    return float(np.mean(gained[np.isfinite(gained)])) if np.isfinite(gained).any() else float("nan")


NUMBERS: dict[str, Number] = {
    "gaussian: posterior slope less prior slope": Number(names.GAUSSIAN, _gaussian_apart),
    "gaussian: prior slope": Number(names.GAUSSIAN, lambda t: float(np.mean(_gaussian(t, "prior w2")))),
    "gaussian: least prior slope over dimensions": Number(
        names.GAUSSIAN, lambda t: float(np.min(_gaussian(t, "prior w2")))
    ),
    "gaussian: largest posterior slope over dimensions": Number(
        names.GAUSSIAN, lambda t: float(np.max(_gaussian(t, "posterior w2")))
    ),
    **{
        f"line, {arm}: {what}": Number(names.LINE, lambda t, arm=arm, read=read: read(t, arm))
        for arm in (EMPIRICAL, GENERATOR)
        for what, read in {
            "posterior slope less prior slope": _inherited,
            "prior slope": _prior_slope,
            "largest share of the bound": _tightest,
            "observations with a rate": lambda t, arm: float(np.isfinite(inherited(t, arm)).sum()),
        }.items()
    },
    "line, gap: W2 slope less W1 slope": Number(names.LINE, _gap),
    "width, relu: posterior slope less prior slope": Number(
        names.WIDTH, lambda t: _width(t, "posterior w1") - _width(t, "prior w1")
    ),
    "width, relu: prior slope": Number(names.WIDTH, lambda t: _width(t, "prior w1")),
    "width, relu: prior error of the widest": Number(names.WIDTH, _widest),
    "evidence: rank correlation of ratio and 1/Z": Number(names.EVIDENCE, lambda t: _against_evidence(t, _ratio(t))),
    "evidence: rank correlation of the worst prior's ratio and 1/Z": Number(
        names.EVIDENCE, lambda t: _against_evidence(t, t["sharp"])
    ),
    "evidence: rank correlation of ratio and 1/Z at equal noise": Number(
        names.EVIDENCE, lambda t: rows.alike(_ratio(t), t)
    ),
    "evidence: violations of T1": Number(
        names.EVIDENCE,
        lambda t: float(
            reading.violations(t["generator posterior w1"], t["generator constant"] * t["generator prior w1"])
        ),
    ),
    "counterexample: slope of the ratio over the tail's distance": Number(names.COUNTEREXAMPLE, _grows),
    "counterexample: violations of T3": Number(names.COUNTEREXAMPLE, lambda t: _breaks(t, "t3")),
    "counterexample: prior W2 at the farthest tail over that at the nearest": Number(
        names.COUNTEREXAMPLE, lambda t: float(t["w2_prior"][-1].mean() / t["w2_prior"][0].mean())
    ),
    "field: posterior slope": Number(names.ELLIPTIC, lambda t: _field(t, "posterior sliced w1")),
    "field: prior slope": Number(names.ELLIPTIC, lambda t: _field(t, "prior sliced w1")),
    "field: posterior slope less prior slope": Number(
        names.ELLIPTIC, lambda t: _field(t, "posterior sliced w1") - _field(t, "prior sliced w1")
    ),
    "field: posteriors that passed the gate": Number(names.ELLIPTIC, _told),
    "field: gain in CRPS over the stationary field": Number(names.ELLIPTIC, _crps),
    "field: log distance of the affine generator over that of the network": Number(names.ELLIPTIC, _network),
    "guided: miss of the best coverage less that of tempered particles": Number(names.GUIDED, _calibration),
    "guided: coverage of tempered particles less .90": Number(names.GUIDED, lambda t: coverage(t, EXACT) - COVERED),
    "guided: log distance of the best arm less that of tempered particles": Number(names.GUIDED, _farther),
    "guided: gain by choosing the number": Number(names.GUIDED, _tuned),
    **{
        f"guided: coverage of {arm}": Number(names.GUIDED, lambda t, arm=arm: coverage(t, arm))
        for arm in (*GUIDED_ARMS, EXACT)
    },
    **{
        f"{experiment}, {arm}: posterior slope less prior slope": Number(
            experiment, lambda t, arm=arm: cloud_rows.apart(t, arm)
        )
        for experiment, some in ((names.DIMENSION, cloud_rows.ARMS), (names.MOONS, cloud_rows.ARMS[:2]))
        for arm in some
    },
    "dimension, empirical: W1 slope in the highest dimension less that in the lowest": Number(
        names.DIMENSION, cloud_rows.flattened
    ),
    "dimension, restricted: slope of the distance to the true map in the highest dimension, plus one half": Number(
        names.DIMENSION, lambda t: cloud_rows.restricted(t) + 0.5
    ),
    **{
        f"moons, {arm}: prior slope": Number(names.MOONS, lambda t, arm=arm: cloud_rows.slopes(t, arm)[0])
        for arm in cloud_rows.ARMS[:2]
    },
    **{
        f"video, {task}: chance of A by particles less the exact one": Number(
            names.VIDEO, lambda t, at=at: video_rows.chance_error(t, at)
        )
        for at, task in enumerate(TASKS)
    },
    "video: coverage of particles less .90": Number(names.VIDEO, lambda t: video_rows.coverage(t) - COVERED),
    "video: coverage of particles through the network less .90": Number(
        names.VIDEO, lambda t: video_rows.coverage(t, -2) - COVERED
    ),
    "video: particles that passed the gate": Number(names.VIDEO, video_rows.passed),
    "video: particles of the world's velocity that passed the gate": Number(
        names.VIDEO, lambda t: video_rows.passed(t, video_rows.WORLD)
    ),
    "video: prior slope": Number(names.VIDEO, lambda t: video_rows.slope(t, "prior")),
    "video: posterior slope": Number(names.VIDEO, lambda t: video_rows.slope(t, "posterior")),
    "video: posterior slope less prior slope": Number(
        names.VIDEO, lambda t: video_rows.slope(t, "posterior") - video_rows.slope(t, "prior")
    ),
    "video: distance of the best guided sampler over that of particles": Number(names.VIDEO, video_rows.guided_gap),
    "bounds: violations of T1": Number(names.BOUNDS, lambda t: _breaks(t, "t1")),
    "bounds: violations of T3": Number(names.BOUNDS, lambda t: _breaks(t, "t3")),
    "bounds: 1 less the largest share of T1": Number(names.BOUNDS, _slack),
    "bounds: pairs": Number(names.BOUNDS, lambda t: float(len(t["t1"]))),
}
"""Numbers of a seed by name."""


# --------------------------------------------------------------------------------------------------------------- claims


def judged(study: Inverse, asked: Registration, kept: Mapping[str, Tables]) -> tuple[list[Claim], dict[str, str]]:
    """Claims and tables of a run, from its kept parts alone: see `vrjax.study.judging`."""
    return claims(study, asked, kept), listing.told(listings.listed(study, kept))


def values(study: Inverse, kept: Mapping[str, Tables], name: str) -> list[float] | None:
    """A number of every seed; None where an experiment of a seed is missing.

    Raises:
        ValueError: no such number.
    """
    if name not in NUMBERS:
        raise ValueError(f"{name!r}: no number of this study, expected one of {', '.join(sorted(NUMBERS))}")
    one = NUMBERS[name]
    parts = [names.part(seed, one.experiment) for seed in study.seeds_of(one.experiment)]
    return [one.read(kept[part]) for part in parts] if all(part in kept for part in parts) else None


def claims(study: Inverse, asked: Registration, kept: Mapping[str, Tables]) -> list[Claim]:
    """The claims of `claims.json`, in order; those whose experiments were not measured are left out.

    A number that a seed could not tell, since its gate failed there, counts as 0, and the claim must have the gate
    "<number>: seeds that tell", which fails then; a quick run, which has no verdicts, leaves the claim out. As a check,
    or beside an estimate, it was not measured.
    """
    checks = {name: found for name in NUMBERS if (found := values(study, kept, name)) is not None}
    telling = {f"{name}: seeds that tell": np.isfinite(found).tolist() for name, found in checks.items()}
    checks = telling | {name: found for name, found in checks.items() if np.isfinite(found).all()}
    out = {}
    for claim in asked.claims:
        how = claim["how"]
        several: Mapping[str, str] = how.get("contrasts", {claim["id"]: how.get("of")})
        found = {contrast: values(study, kept, name) for contrast, name in several.items()}
        if any(one is None or (study.quick and not np.isfinite(one).all()) for one in found.values()):
            continue
        beside = {what: float(np.mean(checks[name])) for what, name in how.get("beside", {}).items() if name in checks}
        shaped = {
            contrast: np.nan_to_num(np.asarray(one, np.float64))[:, None, None] for contrast, one in found.items()
        }
        value = shaped if "contrasts" in how else shaped[claim["id"]]
        out[claim["id"]] = Finding(value, measured=checks, beside=beside)
    return settle(asked, out, quick=study.quick, resamples=study.resamples)
