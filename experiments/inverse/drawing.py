"""Curves, maps and forests of the page, from kept tables and the rows of `listings`; one function a picture.

Axes of a page's curves are linear: rates are drawn as decimal logarithms of both. A line is the mean over seeds of the
log of a seed's mean error, its band the interval over seeds. What cannot be drawn is left out.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.inverse import cloud_rows, names, rows, sampled_rows, video_rows
from experiments.inverse.config import Inverse
from experiments.inverse.rows import Rows
from experiments.inverse.video_names import TASKS
from vrjax.report import parts
from vrjax.study import page as common
from vrjax.study.tables import Tables

DRAWS = 2000  # of a band, at most: it has many points
LOGS: dict[str, Any] = {"y_label": "log10 of the error", "sync": False}


def series(
    study: Inverse, name: str, x: np.ndarray, errors: Iterable[np.ndarray], role: parts.Role = "model"
) -> list[parts.Series]:
    """A line with its band over seeds, both axes as logs; none where no seed is positive and finite everywhere.

    Args:
        study: how many resamples a band has.
        name: in the legend.
        x: (n,), above 0 and increasing.
        errors: of each seed (n,).
        role: how it is drawn.
    """
    runs = [np.asarray(each, np.float64) for each in errors]
    runs = [np.log10(each)[None] for each in runs if np.isfinite(each).all() and (each > 0).all()]
    if not runs:
        return []
    return [common.band(name, runs, min(study.resamples, DRAWS), role, x=np.log10(np.asarray(x, np.float64)))]


def reference(name: str, x: np.ndarray, slope: float, through: float) -> parts.Series:
    """A dotted line of a slope from the first point of another."""
    at = np.log10(np.asarray(x, np.float64))[[0, -1]]
    return parts.Series(name, through + slope * (at - at[0]), at, role="control")


def slope(found: Mapping[str, Any] | None) -> str:
    """What a legend says of a slope over seeds."""
    return "no slope" if found is None else f"slope {found['value']:.2f}".replace("-", "\N{MINUS SIGN}")


# -------------------------------------------------------------------------------------------------------------- curves


def closed_form(study: Inverse, tables: Sequence[Tables]) -> list[parts.Curve]:
    """W2 of priors and posteriors over n, in the lowest and in the highest dimension."""
    if not tables:
        return []
    found, sizes, lines = rows.gaussian(study, tables), tables[0]["sizes"], []
    dimensions = tables[0]["dimensions"].tolist()
    for at in dict.fromkeys((0, len(dimensions) - 1)):
        (row,) = [r for r in found if r["d"] == dimensions[at] and r["distance"] == "w2"]
        for which in ("prior", "posterior"):
            errors = [table[f"{which} w2"][at].reshape(len(sizes), -1).mean(1) for table in tables]
            lines += series(study, f"d = {dimensions[at]}, {which}: {slope(row[which])}", sizes, errors)
    if not lines:
        return []
    lines.append(reference("n to the power -1/2", sizes, -0.5, float(lines[0].y[0])))
    return [parts.Curve("Gaussian priors: W2 over n", lines, GAUSSIAN, x_label="log10 of n", **LOGS)]


def rates(study: Inverse, tables: Sequence[Tables]) -> list[parts.Curve]:
    """W1 over n of the first observation of the line, one curve for each noise."""
    out, found = [], rows.line(study, tables)
    for k in observations(tables):
        sizes, lines = tables[0]["sizes"], []
        for arm in (names.EMPIRICAL, names.GENERATOR):
            row = of_observation(found, tables, arm, k)
            for which in ("prior", "posterior"):
                errors = [mean_errors(table, arm, which, k) for table in tables]
                lines += series(study, f"{arm}, {which}: {slope(row.get(which))}", sizes, errors)
        if lines:
            lines.append(reference("n to the power -1/2", sizes, -0.5, float(lines[0].y[0])))
            said = f"y = {tables[0]['y'][k]:g}, noise {tables[0]['noise_std'][k]:g}, Z = {tables[0]['evidence'][k]:.2g}"
            out.append(parts.Curve(f"The line: {said}", lines, RATES, x_label="log10 of n", **LOGS))
    return out


def observations(tables: Sequence[Tables]) -> list[int]:
    """Positions of the first y, one for each noise."""
    return np.flatnonzero(tables[0]["y"] == tables[0]["y"][0]).tolist() if tables else []


def of_observation(found: Rows, tables: Sequence[Tables], arm: str, k: int) -> dict[Any, Any]:
    """The row of `rows.line` of an arm and an observation."""
    same = lambda row: all(row[name] == float(tables[0][name][k]) for name in ("y", "noise_std"))
    return next(row for row in found if row["arm"] == arm and same(row))


def mean_errors(table: Tables, arm: str, which: str, k: int) -> np.ndarray:
    """W1 (n,) of the line, the mean over data sets."""
    found = table[f"{arm} {which} w1"]
    return (found if which == "prior" else found[..., k]).mean(1)


def gap(study: Inverse, tables: Sequence[Tables]) -> list[parts.Curve]:
    """W1 and W2 of the empirical measure, of the density and of the one with a gap."""
    if not tables:
        return []
    lines, found = [], {row["arm"]: row for row in rows.priors(study, tables)}
    for arm, density in ((names.EMPIRICAL, "whole"), (rows.GAP, "with a gap")):
        for distance in ("w1", "w2"):
            errors = [table[f"{arm} prior {distance}"].mean(1) for table in tables]
            name = f"{density}, {distance.upper()}: {slope(found[arm].get(distance))}"
            lines += series(study, name, tables[0]["sizes"], errors)
    return [parts.Curve("A density with a gap", lines, GAPPED, x_label="log10 of n", **LOGS)] if lines else []


def widths(study: Inverse, tables: Sequence[Tables]) -> list[parts.Curve]:
    """W1 over the width of a network that is fitted to the law itself, one curve for each activation."""
    out = []
    for a, activation in enumerate(study.width.activations if tables else ()):
        lines = []
        chosen: tuple[tuple[str, parts.Role], ...] = (("best", "model"), ("median", "control"))
        for choice, role in chosen:
            for which in ("prior", "posterior"):
                errors = [rows.chosen(table, f"{which} w1", choice)[a] for table in tables]
                lines += series(study, f"{which}, {choice} init", tables[0]["widths"], errors, role)
        if lines:
            out.append(parts.Curve(f"Width: {activation}", lines, WIDTH, x_label="log10 of the width", **LOGS))
    return out


def tails(study: Inverse, tables: Sequence[Tables]) -> list[parts.Curve]:
    """Posterior error over prior error in W1 and in W2 where only one coordinate is seen, over the tail's place."""
    if not tables:
        return []
    lines = []
    for name in ("w1", "w2"):
        errors = [np.median(table["w1_posterior"] / table[f"{name}_prior"], 1) for table in tables]
        lines += series(study, f"posterior W1 over prior {name.upper()}", tables[0]["far"], errors)
    bounds = [np.median(table["t3"] / table["w2_prior"], 1) for table in tables]
    lines += series(study, "what T3 allows over W2", tables[0]["far"], bounds, "control")
    how: dict[str, Any] = {**LOGS, "y_label": "log10 of the ratio"}
    return [parts.Curve("Partial observation", lines, TAILS, x_label="log10 of K", **how)] if lines else []


def fields(study: Inverse, tables: Sequence[Tables]) -> list[parts.Curve]:
    """Sliced W1 of priors and posteriors of fields over n, beside those of the stationary field."""
    if not tables:
        return []
    lines, sizes = [], tables[0]["sizes"]
    for arm in (sampled_rows.GENERATOR, sampled_rows.GAUSSIAN):
        many = [at for name, _, at in sampled_rows.arms(tables) if name == arm and at is not None]
        for which in ("prior", "posterior") if many else ():
            lines += series(study, f"{label(arm)}, {which}", sizes[many], [sliced(t, arm, which) for t in tables])
    for which in ("prior", "posterior"):
        flat = [np.repeat(sliced(table, sampled_rows.MATERN, which), len(sizes)) for table in tables]
        lines += series(study, f"stationary, {which}", sizes, flat, "control")
    how: dict[str, Any] = {**LOGS, "y_label": "log10 of sliced W1"}
    return [parts.Curve("Fields: sliced W1 over n", lines, FIELDS, x_label="log10 of n", **how)] if lines else []


def sliced(table: Tables, arm: str, which: str) -> np.ndarray:
    """(n,) of a prior's sizes, the mean over truths of posteriors that are told; NaN of none."""
    found = np.atleast_1d(table[f"{arm} {which} sliced w1"])
    if which == "prior":
        return found
    return np.array([rows.mean(each) for each in np.atleast_2d(found)])


def dimensions(study: Inverse, tables: Sequence[Tables]) -> list[parts.Curve]:
    """W1 in all dimensions of the measure of the data over n, a line for each dimension: the middle of its bounds."""
    lines: list[parts.Series] = []
    every = [cloud_rows.each_dimension(table) for table in tables]
    for d in every[0] if every else ():
        ends = [[one[d][f"{names.EMPIRICAL} prior w1 {end}"] for end in ("low", "high")] for one in every]
        errors = [np.mean(both, 0).mean(1) for both in ends]
        lines += series(study, f"d = {d}", every[0][d]["sizes"][: len(errors[0])], errors)
    if not lines:
        return []
    how: dict[str, Any] = {**LOGS, "y_label": "log10 of W1"}
    return [parts.Curve("W1 of n data in d dimensions", lines, DIMENSIONS, x_label="log10 of n", **how)]


def moons(study: Inverse, tables: Sequence[Tables]) -> list[parts.Curve]:
    """Sliced W1 of priors and posteriors of the moons over n."""
    lines: list[parts.Series] = []
    for arm in cloud_rows.arms(tables[0]) if tables else ():
        for which in ("prior", "posterior"):
            found = [table[f"{arm} {which} sliced w1"] for table in tables]
            errors = [each.reshape(len(each), -1).mean(1) for each in found]
            lines += series(study, f"{arm}, {which}", tables[0]["sizes"][: len(errors[0])], errors)
    how: dict[str, Any] = {**LOGS, "y_label": "log10 of sliced W1"}
    return [parts.Curve("Two moons", lines, MOONS, x_label="log10 of n", **how)] if lines else []


def video(study: Inverse, tables: Sequence[Tables]) -> list[parts.Curve]:
    """Sliced W1 of networks and of their posteriors over clips; along the steps, for each task, the share of draws that
    are of continuation A."""
    if not tables:
        return []
    sizes, lines = tables[0]["sizes"], []
    for which, at in (("prior", 0), ("posterior", 1)):
        found = [video_rows.errors(table)[at] for table in tables]
        found = [each.reshape(len(each), -1) for each in found]
        lines += series(study, which, sizes, [each.mean(1) for each in found if each.size])
    how: dict[str, Any] = {**LOGS, "y_label": "log10 of sliced W1"}
    out = [parts.Curve("Clips: sliced W1 over n", lines, CLIPS, x_label="log10 of clips", **how)] if lines else []
    for t, task in enumerate(TASKS):
        lines = []
        for arm in ("latent", *study.video.arms):
            curves = [table[f"{arm} path above"][-2, t] for table in tables]
            x = np.arange(1, len(curves[0]) + 1) / len(curves[0])
            name = "tempered particles" if arm == "latent" else arm
            lines.append(common.band(name, [each[None] for each in curves], min(study.resamples, DRAWS), "model", x=x))
        level = rows.mean([table["exact above"][t] for table in tables])
        lines.append(parts.Series("exact", np.full(2, level), np.array([0.0, 1.0]), role="control"))
        how = {"x_label": "share of the steps", "y_label": "share of draws nearer to A", "sync": False}
        out.append(parts.Curve(f"Along the steps: {task}", lines, ALONG, **how))
    return out


# ------------------------------------------------------------------------------------------------------------- forests


def effect(name: str, found: Mapping[str, Any], role: parts.Role = "model", note: str = "") -> parts.Effect:
    """A number over seeds."""
    return parts.Effect(name, found["value"], *(found["interval"] or (None, None)), role=role, note=note)


def differences(found: Mapping[str, Rows]) -> list[parts.Forest]:
    """Slope of the posterior's error less that of the prior's, from the rows of all tables of rates."""
    tell: dict[str, tuple[str, Callable[[Mapping[Any, Any]], str]]] = {
        "line": ("the line", lambda row: f"{row['arm']}, y {row['y']:g}, noise {row['noise_std']:g}"),
        "gaussian": ("Gaussian priors", lambda row: f"d = {row['d']}, {row['distance'].upper().replace('S', 's')}"),
        "width": ("width", lambda row: f"{row['activation']}, {row['choice']} init"),
        "elliptic_rates": ("fields", lambda row: label(row["arm"])),
    }
    out = []
    for table, (title, name) in tell.items():
        arms = [
            effect(name(row), row["difference"], "control" if row.get("choice") == "median" else "model")
            for row in found.get(table, ())
            if row.get("difference")
        ]
        if arms:
            how = {"x_label": "slope of the posterior's error minus the prior's", "reference": 0.0}
            out.append(parts.Forest(f"Difference of rates: {title}", arms, DIFFERENCES, **how, reference_label="equal"))
    return out


def scores(found: Rows) -> list[parts.Forest]:
    """CRPS and coverage of the elliptic posteriors, by prior."""
    out = []
    of_name = {"crps": ("Fields: CRPS", CRPS, None), "coverage": ("Fields: coverage of 90 %", COVERAGE, 0.9)}
    for name, (title, caption, line) in of_name.items():
        arms = [
            effect(
                label(row["arm"], row["n"]),
                row[name],
                "model" if row["arm"] == sampled_rows.GENERATOR else "control",
                f"{row['passed']} of {row['truths']} passed the gate",
            )
            for row in found
            if row[name]
        ]
        if arms:
            out.append(parts.Forest(title, arms, caption, x_label=name.replace("crps", "CRPS"), reference=line))
    return out


def label(prior: str, n: int | None = None) -> str:
    """What a prior of fields is called."""
    return sampled_rows.CALLED.get(prior, prior) + ("" if n is None else f", n = {n}")


def coverages(found: Rows) -> list[parts.Forest]:
    """Coverage of the guided samplers of posteriors, a forest for each group, from the rows of `guided_best`."""
    groups = dict.fromkeys(name[0] for row in found for name in row if isinstance(name, tuple))
    out = []
    for group in groups:
        arms = [
            parts.Effect(
                row["arm"],
                row[group, "coverage"],
                *_around(row[group, "low"], row[group, "coverage"], row[group, "high"]),
                role="model" if row[group, "passed"] else "control",
                note=f"{row[group, 'setting']}, distance over floor {row[group, 'over_floor']:.2f}",
            )
            for row in found
            if row["aim"] != "map" and (group, "coverage") in row and math.isfinite(row[group, "coverage"])
        ]
        if arms:
            how = {"x_label": "share of truths in the central 90 %", "reference": 0.9, "reference_label": "exact"}
            out.append(parts.Forest(f"Coverage: {group}", arms, CALIBRATED, **how))
    return out


def _around(low: float, middle: float, high: float) -> tuple[float, float]:
    """Ends that hold the number: Wilson's may miss it by rounding."""
    return min(low, middle), max(middle, high)


def distances(found: Rows) -> list[parts.HeatMap]:
    """Distance over floor of the guided samplers by group, from the rows of `guided_best`."""
    groups = list(dict.fromkeys(name[0] for row in found for name in row if isinstance(name, tuple)))
    values = np.array([[row.get((group, "over_floor"), math.nan) for group in groups] for row in found])
    values = np.log10(np.where(np.isfinite(values), values, np.nan)) if values.size else values
    if not np.isfinite(values).any():
        return []
    arms = [row["arm"] for row in found]
    how: dict[str, Any] = {"rows": arms, "columns": groups, "unit": "log10 of distance over floor"}
    return [parts.HeatMap("Guided samplers: how far from exact", values, HEAT, **how)]


# ------------------------------------------------------------------------------------------------------------ captions

GAUSSIAN = """Everything is in closed form, the observations' mean is drawn. Against the claim: a posterior line that is
not parallel to its prior's, or a slope away from -1/2 in any dimension."""
RATES = """Error against the true law, no sampling noise in it; band: interval over seeds. Slopes are over sizes with n
Z of 5 or more. Against the claim: a posterior that falls more slowly than its prior. The fitted network cannot beat its
data: where it leaves the empirical line, its own error shows."""
GAPPED = """An empty middle slows W2 to a slope of -1/4, since mass must cross it, and leaves W1 at -1/2. So a bound of
the posterior by W2 alone would promise too little here."""
WIDTH = """Networks fitted to the law itself: what is left is what the class and Adam cannot do. Against the claim: a
posterior that is not parallel to its prior. Dotted: the median of the inits, which optimisation rules."""
TAILS = """Only the first coordinate is observed, the tail is K away in the second, and the prior's mass moves a little.
The ratio in W1 grows without end: no constant holds. Against T3: a line in W2 that rises above the dotted one."""
FIELDS = """Distance of priors and posteriors to those of the true law, the mean of truths that are told. Against the
claim: posteriors that do not fall with their priors. The stationary field sees no data: more fields cannot help it."""
DIFFERENCES = "At 0 the posterior inherits its prior's rate; above, it is slower, which speaks against the claim."
CRPS = "Less is better. Against the use of a learned prior: a stationary field, which knows no data, that does as well."
COVERAGE = "Share of cells whose truth lies in the central 90 % of the posterior's draws; below .9 it is too sure."
DIMENSIONS = """The measure of n points lies about as n to the power -1/d from its law: the more dimensions, the
flatter. Middle of a lower and an upper bound, which a table tells apart; sliced W1 does not see dimensions."""
MOONS = """Sliced W1 to a large reference; the posterior's is the mean over three observations. Against the claim: a
posterior that falls more slowly than its prior. The network levels off at its own error."""
CLIPS = """Networks trained on n clips of an exact world, and their posteriors by particles that passed their gates.
Against the claim: posteriors that do not fall with their priors."""
ALONG = """Through the largest network, means over observations. A sampler whose curve ends away from the dotted line
gets the odds of the two continuations wrong; where it bends one sees when they are decided."""
CALIBRATED = """Worst of four projections, with Wilson's interval that holds for all of them together; blue arms are
calibrated, which asks for uniform ranks too. A sampler that is too sure lies to the left."""
HEAT = """0: no farther from exact draws than other exact draws are; 1: ten times as far. White: not measured, or not
finite. Samplers that are calibrated in more groups come first, those that aim at a mode last."""
