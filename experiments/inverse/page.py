"""The report page of the inverse study: rates, bounds, fields behind pressures, guided samplers, claims.

Everything is drawn from kept tables. A section whose experiment was not measured is left out; a further experiment adds
a function to `SECTIONS` and the titles of its tables to `TITLES`.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from experiments.inverse import drawing, films, listings, names, panels, rows
from experiments.inverse.config import Inverse
from vrjax.report import figures, html, parts
from vrjax.report.claims import Claim
from vrjax.study import listing
from vrjax.study import page as common
from vrjax.study.tables import Tables

INTRO = """An inverse problem asks for a cause of which only a blurred, noisy effect was seen: the rock under a field
from the pressure in a few wells. Many causes fit. Bayes' rule says how likely each one is, if it is told before what
causes are like: the prior. Where nobody can write that down, a generative model can learn it from examples.

But a prior that was learned from n examples is a little wrong. How wrong does that make the answer, the posterior? The
claim: the posterior's error falls at the same rate as the prior's when n grows, up to a constant that grows where the
observation was unlikely. Error is here the Wasserstein distance, the least mean way that probability mass has to be
moved: W1, or W2 where ways are squared.

Three kinds of experiments ask whether that holds. On a line and for Gaussians everything is computed without any
sampling, so that rates and bounds can be read exactly. Then permeability is recovered from 36 pressures by an elliptic
equation, with priors that were made of few or of many fields. Last, the samplers by which diffusion and flow models are
steered to data are compared with posteriors that are known exactly, for an exact prior: what errs there is the
sampler."""

NOTES = (
    "Intervals (95 %) have seeds as their unit: each is a group of data sets of its own and gives one number. At "
    "either end the outer one of a bootstrap over seeds and of Student's t.",
    "The paper (Hosseini and Huang, arXiv 2601.17374) was known by its abstract and its first page. Bounds T1 and T3, "
    "densities, sizes and the elliptic problem are ours: this tests its claim, it does not repeat its experiments.",
    "Observations are the same for all sizes, data sets and seeds of a rate; so a rate holds for these observations.",
    "Of a small data set hardly a point lies where an observation looks: slopes are taken where n Z is 5 or more.",
    "A distance between samples is never 0: its floor is what two samples of one law are apart. A distance near it "
    "says that a difference was not seen, not that there is none.",
    "Of the elliptic problem a posterior is told only if its chains agree (R-hat below 1.01, effective size of 400 or "
    "more). Means are of those truths that are told, which may differ from prior to prior.",
    "One grid, one noise and one layout of sensors: nothing here says how errors depend on these.",
    "Guided samplers see the exact velocity of the prior. With a learned one its error, which the rates above are "
    "about, is added. 'Chosen' settings were chosen on other problems of the same kind.",
    "Where a rank test has few truths it hardly rejects: 'calibrated' then means that no fault was seen.",
)
LEDES = {
    "curves": "Errors over what they depend on, both as decimal logarithms: a rate is the slope of a line. Parallel "
    "lines of prior and posterior are what the theory says.",
    "forests": "Numbers with 95 % intervals. The dotted line is what ought to be met.",
    "maps": "All guided samplers on all groups of problems.",
    "pictures": "The posteriors themselves, the chains that gave them, and ratios of errors by evidence.",
    "tables": "Everything that the pictures show, and the floors of all distances.",
}


@dataclasses.dataclass(frozen=True)
class Shown:
    """A picture: its name as a file, what it shows in words, and what a reader should look for."""

    title: str
    file: str
    figure: Figure
    alt: str
    caption: str


@dataclasses.dataclass(frozen=True)
class Section:
    """What one experiment adds to the page."""

    curves: Sequence[parts.Curve] = ()
    maps: Sequence[parts.HeatMap] = ()
    forests: Sequence[parts.Forest] = ()
    pictures: Sequence[Shown] = ()


Listed = Mapping[str, tuple[listings.Columns, listings.Rows]]


def drawn(study: Inverse, kept: Mapping[str, Tables]) -> list[common.Drawn]:
    """The README's picture, from kept tables."""
    return [panels.four(study, kept)]


# ------------------------------------------------------------------------------------------------------------ sections


def gaussian(study: Inverse, kept: Mapping[str, Tables], listed: Listed) -> Section:
    """Gaussian priors in closed form."""
    return Section(curves=drawing.closed_form(study, rows.of(study, kept, names.GAUSSIAN)))


def line(study: Inverse, kept: Mapping[str, Tables], listed: Listed) -> Section:
    """Rates on the line, and all differences of rates."""
    tables = rows.of(study, kept, names.LINE)
    curves = [*drawing.rates(study, tables), *drawing.gap(study, tables)]
    return Section(curves=curves, forests=drawing.differences({name: found for name, (_, found) in listed.items()}))


def dimension(study: Inverse, kept: Mapping[str, Tables], listed: Listed) -> Section:
    """Rates in d dimensions."""
    return Section(curves=drawing.dimensions(study, rows.of(study, kept, names.DIMENSION)))


def moons(study: Inverse, kept: Mapping[str, Tables], listed: Listed) -> Section:
    """Two moons."""
    return Section(curves=drawing.moons(study, rows.of(study, kept, names.MOONS)))


def width(study: Inverse, kept: Mapping[str, Tables], listed: Listed) -> Section:
    """Networks of growing width."""
    return Section(curves=drawing.widths(study, rows.of(study, kept, names.WIDTH)))


def evidence(study: Inverse, kept: Mapping[str, Tables], listed: Listed) -> Section:
    """Ratios of errors over the evidence."""
    panel = panels.evidence(study, kept)
    if panel is None:
        return Section()
    alt = "Scatter of posterior over prior error against one over the evidence: measured priors, the worst prior's "
    alt += "constant, and the bound."
    caption = "Every point is an observation: y from the bulk to the tail, noise from wide to sharp. The bound allows "
    caption += "what some prior near the truth needs (triangles), not what these priors do. Against T1: a point above "
    caption += "its bound. A ratio that falls to the right is no fault: a sharp observation narrows both posteriors."
    shown = Shown("Errors over the evidence", "evidence", panels.single(panel), alt, caption)
    return Section(pictures=[shown])


def counterexample(study: Inverse, kept: Mapping[str, Tables], listed: Listed) -> Section:
    """Partial observation of an unbounded prior."""
    return Section(curves=drawing.tails(study, rows.of(study, kept, names.COUNTEREXAMPLE)))


def elliptic(study: Inverse, kept: Mapping[str, Tables], listed: Listed) -> Section:
    """Fields behind pressures: of the first seed, its truths."""
    tables = rows.of(study, kept, names.ELLIPTIC)
    if not tables:
        return Section()
    first = tables[0]
    called = ", ".join(drawing.label(arm, n) for arm, n, _ in panels.shown(first))
    pictures = [
        Shown(
            f"Field {t + 1} of the first seed",
            f"field_{t + 1}",
            panels.maps(first, t),
            f"The true field and the pressure at 36 sensors; posterior mean, deviation and draws by prior: {called}.",
            MAPS,
        )
        for t in range(len(first["truth"]))
    ]
    alt = f"u in the middle of the plate along the chains of each posterior, by prior: {called}."
    pictures.append(Shown("The chains", "chains", panels.chains(first), alt, CHAINS))
    scores = drawing.scores(listed["elliptic"][1])
    return Section(curves=drawing.fields(study, tables), forests=scores, pictures=pictures)


def guided(study: Inverse, kept: Mapping[str, Tables], listed: Listed) -> Section:
    """Guided samplers against exact posteriors."""
    if "guided" not in listed:
        return Section()
    found = listed["guided"][1]
    return Section(maps=drawing.distances(found), forests=drawing.coverages(found))


def video(study: Inverse, kept: Mapping[str, Tables], listed: Listed) -> Section:
    """Clips with two continuations."""
    tables = rows.of(study, kept, names.VIDEO)
    if not tables:
        return Section()
    alt = "Strips of four frames for each task: the truth, its data, draws of the exact posterior and of each prior's."
    shown = Shown("Clips of the first seed", "clips", films.films(tables[0]), alt, FILMS)
    return Section(curves=drawing.video(study, tables), pictures=[shown])


SECTIONS = (gaussian, line, dimension, moons, width, evidence, counterexample, elliptic, guided, video)
FILMS = """A ball goes behind a wall and comes out above (.7) or below (.3). A good posterior shows both continuations
where the data do not tell, and clean frames; with few clips a network repeats some of them."""
MAPS = """Means and draws have the colours of the truth. A good prior gives draws that look like the truth and a
deviation that is small where the mean is right; a prior of few fields gives draws of those fields alone. Three draws
prove nothing: distances, CRPS and coverage stand in the tables."""
CHAINS = """Each colour is a chain, from a start of its own; the dotted line is the truth. Chains that lie on each other
have mixed. Where they keep apart the gate refuses the posterior, and nothing is told of it."""
TITLES = {
    "gaussian": (
        "Gaussian priors in closed form",
        "Mean and covariance of n points as the prior. Against the claim: a slope away from -1/2 in any dimension, or "
        "a difference whose interval leaves out 0 by more than a few hundredths.",
    ),
    "plans": (
        "Two ways to fit a Gaussian",
        "Moments, and a fit that minimises W2 to the data itself by exact plans, on the same data. The fit loses some "
        "variance (trace below 1) since points are not a Gaussian.",
    ),
    "line": (
        "Rates on the line",
        "Slopes of mean W1 over n for six observations; Z is how likely each was. No slopes where fewer than two sizes "
        "have n Z of 5 or more, or where the fit's own error is above 30 % of the prior's.",
    ),
    "priors": (
        "Priors of the line",
        "W1 falls as n to the power -1/2 for all; W2 does so only where no region between is empty.",
    ),
    "dimension": (
        "Rates in d dimensions",
        "Sliced W1 falls at one rate in all dimensions; W1 of the data does not. The restricted class holds the truth. "
        "Against the claim: a difference away from 0.",
    ),
    "moons": (
        "Two moons",
        "The height is observed, three times. Debiased W1 below its floor says that a difference was not seen.",
    ),
    "width": (
        "Error over the width of a network",
        "The law itself is the data. Widths whose error is not well above the floor of the distance are left out. "
        "Against the claim: a difference away from 0.",
    ),
    "evidence": (
        "Errors over the evidence",
        "Ratio of posterior to prior error over the grid of observations. That the constant must grow as 1/Z is a "
        "statement on the worst prior; whether it does for a given one, the rank correlations say.",
    ),
    "counterexample": (
        "Partial observation of an unbounded prior",
        "Medians over pairs of priors. A slope of 0 in the first column would refute the counterexample; T3 must never "
        "be broken.",
    ),
    "bounds": (
        "All bounds, everywhere",
        "How often a posterior's error was above its bound, and how much of the bound it reached. One break would "
        "refute the bound or the code.",
    ),
    "elliptic": (
        "Fields behind 36 pressures",
        "Distances to the true law and to its posterior, both by coordinates of fields; errors against the truths. "
        "Solves are those of the pressure's equation for one posterior.",
    ),
    "elliptic_rates": (
        "Rates of fields",
        "Over training fields, of the truths that are told at all sizes. With a floor near 1 a slope is that of noise.",
    ),
    "fits": (
        "Fits of fields",
        "W2 in the norm of the unit square, and its parts: Adam's, the class's, and that n fields are not the law.",
    ),
    "guided": (
        "Guided samplers",
        "At the setting that was chosen on other problems: median distance to exact draws over its floor; coverage of "
        "90 % in the worst projection; whether it is calibrated.",
    ),
    "guided_all": (
        "Guided samplers, all settings",
        "Median over problems; 'published' is the number in the method's own code or paper. A distance over floor of 1 "
        "is as good as exact. Methods that aim at a mode were not made to sample a posterior.",
    ),
    "known": (
        "Particles on known posteriors",
        "Tempered particles through the exact flow: weights of modes against closed forms, and coverage of truths.",
    ),
    "video_priors": (
        "Priors on clips",
        "Networks of 96 numbers a token, trained on n clips of the world, and the world's own velocity, all through a "
        "map of eight evaluations.",
    ),
    "video_calibration": (
        "Coverage on clips",
        "Tempered particles whose gates passed, over tasks, observations and four projections.",
    ),
    "video_samplers": (
        "The odds of two continuations",
        "Against the exact chance, which is known. With the world's velocity an error is the sampler's; with the "
        "network the prior's is added. Guided arms see fewer observations.",
    ),
    "video_along": (
        "When a continuation is settled",
        "Along the steps, through the largest network: residuals are over the noise's norm, 1 is as good as the truth.",
    ),
    "latent": (
        "Latent chains of the guided problems",
        "Chains through the flow on the problems' own observations, and what the flow's few steps cost by themselves.",
    ),
}


def write(
    folder: pathlib.Path, study: Inverse, kept: Mapping[str, Tables], claims: Sequence[Claim], listed: Listed
) -> None:
    """`report.html`, `inverse.png`, and the page's pictures in `figures/`.

    Args:
        folder: of the run.
        study: its sizes.
        kept: its parts by name, those that are there.
        claims: those that were found.
        listed: from `listings.listed`.
    """
    sections = [make(study, kept, listed) for make in SECTIONS]
    pictures = []
    for shown in (shown for section in sections for shown in section.pictures):
        path = figures.save(shown.figure, folder / "figures" / f"{shown.file}.png")
        pictures.append(parts.Picture(shown.title, path, shown.alt, shown.caption))
    page = parts.Page(
        title="Learned priors in inverse problems",
        subtitle="Does a posterior inherit the error of its prior, and its rate?",
        intro=INTRO,
        ledes=LEDES,
        claims=list(claims),
        curves=[part for section in sections for part in section.curves],
        maps=[part for section in sections for part in section.maps],
        forests=[part for section in sections for part in section.forests],
        tables=[
            parts.Table(TITLES[name][0], list(columns), listing.cells(columns, found), TITLES[name][1])
            for name, (columns, found) in listed.items()
        ],
        pictures=pictures,
        notes=list(NOTES),
        config=dataclasses.asdict(study),
    )
    html.write(folder / "report.html", page)
    common.draw(folder / "inverse.png", panels.four(study, kept, listed["guided"][1] if "guided" in listed else None))
