"""The report page of the world-model study: how far, how sure, what for, and what denoising steps settle.

Everything is drawn from kept tables; what was not measured is left out.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.world_model import listings, names, reading
from experiments.world_model.config import WorldModel
from vrjax.report import html, parts
from vrjax.report.claims import Claim
from vrjax.study import page as common
from vrjax.study.listing import Columns, Row, Rows, cells, effect
from vrjax.study.tables import Tables

INTRO = """A world model answers what one does with the next frame. Here a small network learned from films how an agent
pushes a block about, and is asked frame by frame: from noise, in a few denoising steps, with a memory of a few frames.
The world that the films are of is known exactly, so everything that the network answers can be compared with what would
have happened.

Four questions. How many steps until it strays? Can one plan through it, and then act in the true world? Where the true
world leaves something to chance (on a floor so slippery that the agent often stays where it is),
is its chance the same? And along the denoising steps of one frame: is it settled first where things are, and then how
they look?"""

NOTES = (
    "Intervals (95 %) have training seeds as their unit, each with test episodes of its own: at either end the outer "
    "one of a bootstrap over seeds and episodes and of Student's t on the seeds' means.",
    "All places are read off frames by one small network, of learned and of exact frames alike; what it misses stands "
    "in the row of the exact world.",
    "Planners see the exact world's frame before each plan and act in the exact world; what they plan through is the "
    "learned one. Model calls count a gradient step three times.",
    "The law of a walk is enumerated, not drawn: every row of coins with its probability.",
    "One world, 16 x 16 pixels, one recipe of training: nothing here says how answers depend on these.",
)
LEDES = {
    "curves": "Errors over steps, ranks of what may happen among what the world draws, and what is left to settle "
    "along the denoising steps of one frame.",
    "forests": "Shares with 95 % intervals. Orange: controls.",
}
LOOK = """One step of the slippery world, as each denoiser's clean estimate has it after every step. The two exact
denoisers and the planted sequences show what the measure would say without any model."""
TITLES = {
    "horizon": (
        "How far",
        "Steps until agent or block is a pixel from where it is in the exact world, under the same actions.",
    ),
    "planning": (
        "What for",
        "Episodes in which the block came to its goal; in the task one goal follows the other.",
    ),
    "calibration": (
        "How sure",
        "A central interval of 90 % should hold 90 % of what happens; a CRPS is never below that of the law itself.",
    ),
    "settling": (
        "What comes first",
        "The area between what is left to settle of the look and of the place: above 0 the place comes first.",
    ),
    "methods": ("Two planners at equal model calls", "Layouts whose block came to its goal."),
}


def curve_of(name: str, row: Row, key: str, role: parts.Role) -> parts.Series:
    """A mean curve, whose first point is after one step."""
    return parts.Series(name, np.asarray(row[key]), np.arange(len(row[key])) + 1.0, role=role)


def role(arm: str) -> parts.Role:
    """How an arm is drawn."""
    if arm in (names.FROZEN, names.LAW, names.WITHOUT, names.ELSEWHERE):
        return "null"
    controls = (names.EXACT, listings.READ, names.REGRESSOR, names.LONGER, names.WHERE_FIRST, names.LOOK_FIRST)
    return "control" if arm in controls else "model"


def horizon(rows: Rows) -> parts.Curve:
    """Errors over steps."""
    lines = [curve_of(row["arm"], row, "curve", role(row["arm"])) for row in rows]
    return parts.Curve("How far worlds stray", lines, x_label="steps", y_label="pixels", sync=False)


def ranks(rows: Rows) -> parts.Curve:
    """The rank histogram over that of a calibrated world, in ten bins."""
    lines = []
    for row in rows:
        found = np.asarray(row["ranks"])
        bins = next(b for b in (10, 8, 5, 4, 2, 1) if len(found) % b == 0)
        shares = found.reshape(bins, -1).sum(1) * bins
        lines.append(parts.Series(row["arm"], shares, (np.arange(bins) + 0.5) / bins, role=role(row["arm"])))
    caption = "A calibrated world is flat at 1; high ends: too sure."
    what = "rank of what happens among the draws"
    return parts.Curve("Ranks", lines, caption, x_label=what, y_label="density", sync=False)


def settling(rows: Rows) -> list[parts.Curve]:
    """What is left to settle along the steps, of the learned world and of the exact law."""
    out = []
    for row in rows:
        lines = []
        for what in ("place", "look"):
            found = np.asarray(row[what])
            if found[0] > found[-1]:
                left = (found - found[-1]) / (found[0] - found[-1])
                lines.append(parts.Series(what, left, np.arange(len(left)) + 1.0))
        if lines:
            out.append(parts.Curve(f"Left to settle: {row['arm']}", lines, y_label="share", sync=False))
    return out


def planning(rows: Rows) -> parts.Forest:
    """Goals reached, by what is planned through."""
    effects = [effect(row["arm"], row["meso"], role(row["arm"])) for row in rows if row["meso"] is not None]
    return parts.Forest("Goals reached by planning through", effects, x_label="share of episodes")


def methods(rows: Rows) -> parts.Forest:
    """Two planners at equal calls."""
    effects = []
    for row in rows:
        for method in (names.CEM, names.BOTH):
            name = f"{row['arm']}, {row['calls']:,.0f} calls: {method}"
            effects.append(effect(name, row[method], "model" if method == names.BOTH else "control"))
    return parts.Forest("Planners at equal model calls", effects, x_label="share of layouts")


def drawn(study: WorldModel, kept: Mapping[str, Tables]) -> list[list[common.Drawn]]:
    """The README's picture, from kept tables: two beside each other."""
    return paired(panels(listings.listed(study, kept)))


def panels(listed: Mapping[str, tuple[Columns, Rows]]) -> list[common.Drawn]:
    """How far, what for, how sure, what comes first, and planners; those that were measured."""
    rows = lambda name: listed[name][1] if name in listed else []
    out: list[common.Drawn] = []
    if rows("horizon"):
        out.append(horizon(rows("horizon")))
    if any(row["meso"] is not None for row in rows("planning")):
        out.append(planning(rows("planning")))
    if rows("calibration"):
        out.append(ranks(rows("calibration")))
    out += settling([row for row in rows("settling") if row["arm"] == names.SLIPPERY])
    if rows("methods"):
        out.append(methods(rows("methods")))
    return out


def paired(found: Sequence[common.Drawn]) -> list[list[common.Drawn]]:
    """Two in a row."""
    return [list(found[i : i + 2]) for i in range(0, len(found), 2)]


def cases(table: Tables) -> list[parts.Case]:
    """The frames of a seed whose every denoising step was kept, a denoiser in the place of a noise."""
    arms = [arm for arm in listings.SETTLED if f"{arm} frames" in table]
    out = []
    for i in range(len(table[f"{arms[0]} frames"]) if arms else 0):
        x0 = np.stack([common.enlarged(table[f"{arm} frames"][i], 8) for arm in arms])[:, :, None]
        name = f"step {i + 1}"
        out.append(parts.Case(name, "a step straight on; the agent may stay", x0, sigma=table["sigma"], seeds=arms))
    return out


def write(
    folder: pathlib.Path,
    study: WorldModel,
    kept: Mapping[str, Tables],
    claims: Sequence[Claim],
    listed: Mapping[str, tuple[Columns, Rows]],
) -> None:
    """`report.html` and `world_model.png`.

    Args:
        folder: of the run.
        study: its sizes.
        kept: its parts by name, those that are there.
        claims: those that were found.
        listed: from `listings.listed`.
    """
    every = panels(listed)
    first = next((seed.table(names.SETTLING) for seed in reading.gathered(study, kept)), None)
    seen = cases(first) if first is not None else []
    more = settling(listed["settling"][1]) if "settling" in listed else []
    curves = [part for part in every if isinstance(part, parts.Curve) and not part.title.startswith("Left")]
    page = parts.Page(
        title="Learned world models as simulators",
        subtitle="How far, how sure, and what for?",
        intro=INTRO,
        scrubbers=[parts.Scrubber(seen, "Watch a frame come about", LOOK, "The denoisers, for one step")]
        if seen
        else [],
        ledes=LEDES,
        claims=list(claims),
        curves=[*curves, *more],
        forests=[part for part in every if isinstance(part, parts.Forest)],
        tables=[
            parts.Table(TITLES[name][0], list(columns), cells(columns, rows), TITLES[name][1])
            for name, (columns, rows) in listed.items()
        ],
        notes=list(NOTES),
        config=dataclasses.asdict(study),
    )
    html.write(folder / "report.html", page)
    common.draw(folder / "world_model.png", *paired(every))
