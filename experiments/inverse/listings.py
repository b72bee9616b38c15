"""Tables of the README and of the page, from what was kept: rates, bounds, the elliptic problem, guided samplers.

Rows are dicts of numbers (`rows`, `sampled_rows`), so that a picture can be drawn of them; `vrjax.study.listing` makes
text of them. A table whose experiment was not measured is left out. A further experiment adds its columns here and a
line to `listed`.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.inverse import cloud_rows, names, rows, sampled_rows, video_rows
from experiments.inverse.config import Inverse
from experiments.inverse.rows import Rows
from vrjax.study.claims import between
from vrjax.study.listing import Cell, Columns
from vrjax.study.tables import Tables

# ---------------------------------------------------------------------------------------------------------------- cells


def _text(name: Any, none: str = "") -> Cell:
    return lambda row: none if row.get(name) is None else str(row[name])


def _number(name: Any, form: str = ".3f") -> Cell:
    """A number; nothing of None, and a word of what is not finite."""
    return lambda row: "" if row.get(name) is None else _plainly(row[name], form)


def _plainly(value: float, form: str) -> str:
    if math.isnan(value):
        return ""
    if not math.isfinite(value):
        return "infinite"
    text = format(value, form)
    return format(value, ",.0f") if "e+" in text else text


def _over(name: Any, form: str = "z.3f") -> Cell:
    """A number over seeds with its interval."""

    def told(row: Mapping[Any, Any]) -> str:
        found = row.get(name)
        return "" if found is None else between(found["value"], found["interval"], form)

    return told


def _range(name: str) -> Cell:
    return lambda row: "" if row.get(name) is None else f"{row[name][0]} to {row[name][1]}"


def _many(some: str, every: str) -> Cell:
    return lambda row: f"{row[some]} of {row[every]}"


def _floored(name: str) -> Cell:
    return lambda row: f"{row[name, 'error']:.3f} ({row[name, 'floor']:.3f})"


def _field(row: Mapping[Any, Any]) -> str:
    arm = str(row["arm"])
    return sampled_rows.CALLED.get(arm, arm)


def _passed(row: Mapping[Any, Any]) -> str:
    return {True: "yes", False: "no", None: ""}[row["passed"]]


def _coverage(row: Mapping[Any, Any]) -> str:
    if not row["pairs"]:
        return ""
    return between(row["coverage"], (row["low"], row["high"]), ".2f")


SLOPES: Columns = {
    "prior slope [95 %]": _over("prior"),
    "posterior slope [95 %]": _over("posterior"),
    "posterior minus prior [95 %]": _over("difference", "+z.3f"),
}
GAUSSIAN: Columns = {
    "d": _text("d"),
    "distance": lambda row: row["distance"].replace("w", "W", 1) if row["distance"] == "w2" else "sliced W1",
    **SLOPES,
    "prior error, largest n": _number("prior error", ".2g"),
    "posterior error, largest n": _number("posterior error", ".2g"),
}
PLANS: Columns = {
    "d": _text("d"),
    **{
        f"{how}: {name.replace('w2', 'W2')} [95 %]": _over((how, name))
        for how in ("moments", "plan")
        for name in ("prior w2", "posterior w2")
    },
    "W2 to the data": _number("plan train w2"),
    "best known": _number("plan best known"),
    "trace over the data's": _number("plan trace"),
}
LINE: Columns = {
    "prior": _text("arm"),
    "y": _number("y", "g"),
    "noise": _number("noise_std", "g"),
    "Z": _number("Z", ".3g"),
    "n": _range("sizes"),
    "n Z at least": _number("n Z", ".3g"),
    **SLOPES,
    "posterior over prior, largest n": _number("ratio", ".2f"),
    "C": _number("C", ".1f"),
    "floor over error": _number("floor", ".2f"),
}
PRIORS: Columns = {
    "prior": _text("arm"),
    "n": _range("sizes"),
    "slope of W1 [95 %]": _over("w1"),
    "slope of W2 [95 %]": _over("w2"),
    "W1, largest n": _number(("w1", "last"), ".2g"),
    "W2, largest n": _number(("w2", "last"), ".2g"),
    "of it the optimiser": _number("optimisation_gap", ".2g"),
    "W1 floor": _number("floor", ".1g"),
}
WIDTH: Columns = {
    "activation": _text("activation"),
    "of the inits": lambda row: f"{row['choice']} of {row['inits']}",
    "widths": _range("sizes"),
    **SLOPES,
    **{
        f"{name} error, widest (floor)": lambda row, name=name: f"{row[name, 'widest']:.2g} ({row[name, 'floor']:.1g})"
        for name in ("prior", "posterior")
    },
}
EVIDENCE: Columns = {
    "prior": _text("arm"),
    "rank correlation with 1/Z [95 %]": _over("rank", "+z.2f"),
    "at equal noise [95 %]": _over("rank, equal noise", "+z.2f"),
    "ratio, from": _number("least", ".2g"),
    "to": _number("most", ".3g"),
    "largest share of C": _number("of C", ".2f"),
    "largest share of the worst prior's": _number("of worst", ".2f"),
}
COUNTEREXAMPLE: Columns = {
    "tail at K": lambda row: "slope over K" if row["K"] is None else f"{row['K']:g}",
    "posterior W1 over prior W1 [95 %]": _over("over prior w1", ".3g"),
    "posterior W1 over prior W2 [95 %]": _over("over prior w2", ".3g"),
    "T3 broken": lambda row: "" if row["K"] is None else _many("violations", "pairs")(row),
    "largest share of T3": _number("tightness", ".2f"),
}
BOUNDS: Columns = {
    "bound": _text("bound"),
    "held against": _text("where"),
    "broken": _many("violations", "pairs"),
    "largest share": _number("largest"),
    "median share": _number("median"),
}
ELLIPTIC: Columns = {
    "prior": _field,
    "n": _text("n"),
    "prior sliced W1 [95 %]": _over("prior"),
    "prior floor": _number(("prior", "floor")),
    "posterior sliced W1 [95 %]": _over("posterior"),
    "posterior floor": _number(("posterior", "floor")),
    "error of the mean [95 %]": _over("mean error"),
    "CRPS [95 %]": _over("crps"),
    "coverage of 90 % [95 %]": _over("coverage", ".2f"),
    "gate passed": _many("passed", "truths"),
    "compared": lambda row: "" if "compared" not in row else _many("compared", "truths")(row),
    "worst R-hat": _number("rhat", ".3f"),
    "least ESS": _number("ess", ".0f"),
    "solves": _number("solves", ",.0f"),
}
ELLIPTIC_RATES: Columns = {
    "prior": _field,
    "n": _range("sizes"),
    "seeds": _text("seeds"),
    **SLOPES,
    "largest share of a floor": _number("floor", ".2f"),
}
FITS: Columns = {
    "n": _text("n"),
    "W2 to the data": _number("train_w2"),
    "W2 to fresh fields": _number("fresh_w2"),
    "optimiser": _number("optimisation_gap", ".2g"),
    "class": _number("approximation", ".2g"),
    "data": _number("statistical"),
    "variance over the true law's": _number("variance", ".2f"),
}
GUIDED: Columns = {
    "problems": _text("group"),
    "sampler": _text("arm"),
    "aims at": _text("aim"),
    "setting": lambda row: row["setting"] + ("" if math.isnan(row["number"]) else f", {row['number']:g}"),
    "distance over floor": lambda row: _plainly(row["over_floor"], ".2f") or "not tested",
    "worst problem": _number("worst", ".2f"),
    "error of a mode's weight": _number("mode_error"),
    "coverage of 90 %, worst projection [95 %]": _coverage,
    "uniform ranks, p": _number("p", ".2g"),
    "calibrated": _passed,
    "truths (lost)": lambda row: f"{row['pairs']} ({row['lost']})",
    "finite": _number("finite", ".3f"),
    "evaluations": _number("evaluations", ".0f"),
}
LATENT: Columns = {
    "problems": _text("group"),
    "sampler": _text("arm"),
    "gates passed": lambda row: f"{row['passed']} of {row['runs']}",
    "worst R-hat": _number("rhat", ".3f"),
    "least ESS": _number("ess", ".0f"),
    "least ESS of a mode": _number("mode ess", ".0f"),
    "discretisation over floor": _number("prior error", ".2f"),
}

CLOUDS: Columns = {
    "prior": _text("arm"),
    "n": _range("sizes"),
    "sliced W1, prior slope [95 %]": _over("prior"),
    "posterior minus prior, mean [95 %]": _over("difference", "+z.3f"),
    "observations with a rate": _many("observations", "of"),
    "prior error, largest n (floor)": _floored("prior"),
    "posterior error, largest n (floor)": _floored("posterior"),
    "slope of W1 [95 %]": _over("w1"),
    "by its bounds": lambda row: "" if "w1 bounds" not in row else "{:.3f}, {:.3f}".format(*row["w1 bounds"]),
    "debiased W1, largest n (floor)": lambda row: (
        "" if "debiased" not in row else f"{row['debiased']:.3f} ({row['debiased floor']:.3f})"
    ),
    "of W2 the optimiser": _number("optimisation_gap", ".2g"),
    "the class": _number("approximation", ".2g"),
}
DIMENSION: Columns = {"d": _text("d"), **CLOUDS, "slope of the distance to the true map [95 %]": _over("bound")}
VIDEO_PRIORS: Columns = {
    "clips": lambda row: "world's velocity" if row["n"] is None else str(row["n"]),
    "sliced W1 of draws [95 %]": _over("prior sliced w1"),
    "its floor": _number("prior floor"),
    "chance of A [95 %]": _over("prior chance"),
    "total variation of the components [95 %]": _over("prior variation"),
    "noise of a pixel over the world's [95 %]": _over("prior noise", "z.2f"),
    "sliced W1 of posteriors [95 %]": _over("posterior sliced w1"),
    "floor": _number("posterior floor"),
    "gates passed": _many("passed", "gates"),
}
VIDEO_SAMPLERS: Columns = {
    "prior": _text("prior"),
    "task": _text("task"),
    "sampler": _text("sampler"),
    "chance of A less the exact one [95 %]": _over("chance", "+z.3f"),
    "its mean size [95 %]": _over("size"),
    "sliced W1 [95 %]": _over("w1"),
    "floor": _number("floor"),
    "observations": _text("observations"),
}
VIDEO_CALIBRATION: Columns = {
    "prior": _text("prior"),
    "truths": _text("truths"),
    "coverage of 90 %, over seeds [95 %]": _over("coverage"),
    "pooled [Wilson, by truths]": lambda row: (
        "" if "pooled" not in row else between(row["pooled"], (row["low"], row["high"]), ".3f")
    ),
}
VIDEO_ALONG: Columns = {
    "sampler": _text("sampler"),
    "task": _text("task"),
    "share of the steps when nine in ten are settled [95 %]": _over("settled", "z.2f"),
    "residual after the first step": _number("first", ".2f"),
    "at the end": _number("last", ".2f"),
}

KNOWN: Columns = {
    "posteriors": _text("group"),
    "problems": _text("problems"),
    "worst error of a mode's weight": _number("mode error", ".4f"),
    "least effective particles for one": _number("mode ess", ",.0f"),
    "truths": _text("truths"),
    "coverage of 90 % [Wilson, by truths]": lambda row: between(row["coverage"], (row["low"], row["high"]), ".3f"),
    "finite": _number("finite", ".3f"),
}


def best_columns(found: Rows) -> Columns:
    """Of `sampled_rows.guided_best`: distance over floor, worst coverage and verdict, a column for each group."""

    def of(group: str) -> Cell:
        def told(row: Mapping[Any, Any]) -> str:
            if (group, "over_floor") not in row:
                return ""
            far, held = (_plainly(row[group, name], ".2f") for name in ("over_floor", "coverage"))
            return f"{far or 'not tested'}; {held or '-'}; {_passed({'passed': row[group, 'passed']}) or 'too few'}"

        return told

    groups = dict.fromkeys(name[0] for row in found for name in row if isinstance(name, tuple))
    return {
        "sampler": _text("arm"),
        "aims at": _text("aim"),
        "evaluations": _number("evaluations", ".0f"),
        **{f"{group}: over floor; coverage; calibrated": of(group) for group in groups},
    }


# --------------------------------------------------------------------------------------------------------------- tables


def plain(found: Rows) -> list[dict[str, Any]]:
    """Rows as JSON holds them: names of several words in one, and None for what is not finite."""
    words = lambda name: name if isinstance(name, str) else ", ".join(name)
    return [{words(name): _json(value) for name, value in row.items()} for row in found]


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_json(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def listed(study: Inverse, kept: Mapping[str, Tables]) -> dict[str, tuple[Columns, Rows]]:
    """All tables that hold something, by the names of the README's blocks: columns and rows.

    Args:
        study: the sizes that the tables were measured with.
        kept: the run's parts by name, those that are there.
    """
    of = lambda experiment: (study, rows.of(study, kept, experiment))
    guided = sampled_rows.guided(sampled_rows.judged(*of(names.GUIDED)))
    best = sampled_rows.guided_best(guided)
    every = {
        "gaussian": (GAUSSIAN, rows.gaussian(*of(names.GAUSSIAN))),
        "plans": (PLANS, rows.plans(*of(names.GAUSSIAN))),
        "line": (LINE, rows.line(*of(names.LINE))),
        "priors": (PRIORS, rows.priors(*of(names.LINE))),
        "dimension": (DIMENSION, cloud_rows.dimension(*of(names.DIMENSION))),
        "moons": (CLOUDS, cloud_rows.moons(*of(names.MOONS))),
        "width": (WIDTH, rows.width(*of(names.WIDTH))),
        "evidence": (EVIDENCE, rows.evidence(*of(names.EVIDENCE))),
        "counterexample": (COUNTEREXAMPLE, rows.counterexample(*of(names.COUNTEREXAMPLE))),
        "bounds": (BOUNDS, rows.bounds(study, kept)),
        "elliptic": (ELLIPTIC, sampled_rows.elliptic(*of(names.ELLIPTIC))),
        "elliptic_rates": (ELLIPTIC_RATES, sampled_rows.elliptic_rates(*of(names.ELLIPTIC))),
        "fits": (FITS, sampled_rows.fits(*of(names.ELLIPTIC))),
        "guided": (best_columns(best), best),
        "guided_all": (GUIDED, guided),
        "latent": (LATENT, sampled_rows.latent(*of(names.GUIDED))),
        "known": (KNOWN, sampled_rows.known(*of(names.KNOWN))),
        "video_priors": (VIDEO_PRIORS, video_rows.priors(*of(names.VIDEO))),
        "video_calibration": (VIDEO_CALIBRATION, video_rows.calibration(*of(names.VIDEO))),
        "video_samplers": (VIDEO_SAMPLERS, video_rows.samplers(*of(names.VIDEO))),
        "video_along": (VIDEO_ALONG, video_rows.along(*of(names.VIDEO))),
    }
    return {name: one for name, one in every.items() if one[1]}
