"""The report page of the BabyVision study: what is drawn and when, and what is answered without drawing.

Everything is drawn from kept tables; what was not measured is left out.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.babyvision import drawings, listings, names
from experiments.babyvision.config import BabyVision
from vrjax import tasks
from vrjax.report import html, parts
from vrjax.report.claims import Claim
from vrjax.study import page as common
from vrjax.study.listing import Columns, Rows, cells, effect
from vrjax.study.tables import Tables

INTRO = """Basic visual skills, as in BabyVision, but of puzzles that are made here and whose answers are exact. A small
video model sees the question as one frame and draws the answer over it in the next one: it circles, traces, marks or
writes. What is drawn is read exactly, after every denoising step.

Which skills does such a model learn at all, beside solvers that understand nothing? When is the answer there? Does a
head that reads the same network answer what the network draws? And what do preferences of right over wrong drawings,
or another skill's weights, add?"""
NOTES = (
    "Items of the test split that no training saw; harder ones are of difficulties 2 and 3, which none was trained on.",
    "Trivial solvers saw a thousand items of the training split with their answers; the best of them is chosen on the "
    "very items that are asked.",
    "One of the draws is right where the exact judge may choose among them; as many guesses, so judged, stand beside.",
    "Intervals (95 %) have training seeds as their unit; of skills with fewer than four seeds they are of items alone.",
    "64 x 64 pixels, one recipe of training: no number here is to be put beside the paper's.",
)
LEDES = {
    "curves": "The share of drawings that are right after each denoising step.",
    "forests": "Shares with 95 % intervals. Orange: controls.",
}
LOOK = """Questions as they are asked, and what the network's clean estimate shows after every step. Marks grow out of
nothing, since the network says what has to be added."""
TITLES = {
    "skills": ("What is drawn", "Shares of drawings, four an item, that mark the answer and nothing else."),
    "steps": (
        "When the answer is there",
        "Along the denoising steps; beside it an exact denoiser that knows no answer.",
    ),
    "answers": ("Answers without drawing", "Linear heads on what networks make of the question."),
    "further": ("What goes on", "After more training; each beside its twin."),
}


def skills(rows: Rows) -> parts.Forest:
    """What is drawn rightly, beside the best trivial solver."""
    effects = []
    for row in rows:
        effects.append(effect(row["skill"], row["right"], "model"))
        if row["trivial"] is not None:
            effects.append(effect(f"{row['skill']}: best trivial solver", row["trivial"], "control"))
    return parts.Forest("Answers that are right", effects, x_label="share of items")


def steps(rows: Rows) -> parts.Curve:
    """When answers are there."""
    lines = [parts.Series(row["skill"], np.asarray(row["curve"]), np.arange(len(row["curve"])) + 1.0) for row in rows]
    return parts.Curve("Right after each step", lines, x_label="denoising step", y_label="share", sync=False)


def drawn(study: BabyVision, kept: Mapping[str, Tables]) -> list[list[common.Drawn]]:
    """The README's picture, from kept tables."""
    return [panels(listings.listed(study, kept))]


def panels(listed: Mapping[str, tuple[Columns, Rows]]) -> list[common.Drawn]:
    """What is drawn, and when; what was measured of it."""
    out: list[common.Drawn] = []
    if "skills" in listed:
        out.append(skills(listed["skills"][1]))
    if "steps" in listed:
        out.append(steps(listed["steps"][1]))
    return out


def cases(study: BabyVision, kept: Mapping[str, Tables]) -> list[parts.Case]:
    """A few items of each skill, of the first seed: every step of the first drawing."""
    out = []
    for skill in study.skills:
        table = kept.get(names.part(study.seeds[0], skill.task, names.DRAWN))
        if table is None:
            continue
        own = tasks.get(skill.task)
        for i, clip in enumerate(drawings.made(skill.task, next(iter(names.LEVELS)), len(table["films"]))):
            films = common.enlarged(table["films"][i], 3)[None, :, None]  # (1, step, 1, h, w, 3)
            truth = common.enlarged(own.paint(own.film(clip.meta["layout"], -1))[-1:], 3)
            right = [bool(table[f"{next(iter(names.LEVELS))} right"][i, 0])]
            name = f"{own.subtype} {i + 1}"  # type: ignore[attr-defined]
            out.append(parts.Case(name, clip.prompt, films, truth=truth, solved=right, seeds=["first drawing"]))
    return out


def write(
    folder: pathlib.Path,
    study: BabyVision,
    kept: Mapping[str, Tables],
    claims: Sequence[Claim],
    listed: Mapping[str, tuple[Columns, Rows]],
) -> None:
    """`report.html` and `babyvision.png`.

    Args:
        folder: of the run.
        study: its sizes.
        kept: its parts by name, those that are there.
        claims: those that were found.
        listed: from `listings.listed`.
    """
    every, seen = panels(listed), cases(study, kept)
    page = parts.Page(
        title="Basic visual skills, drawn",
        subtitle="Which does a small video model learn, and when along the denoising steps is the answer there?",
        intro=INTRO,
        scrubbers=[parts.Scrubber(seen, "Watch an answer come about", LOOK, "The drawings")] if seen else [],
        ledes=LEDES,
        claims=list(claims),
        curves=[part for part in every if isinstance(part, parts.Curve)],
        forests=[part for part in every if isinstance(part, parts.Forest)],
        tables=[
            parts.Table(TITLES[name][0], list(columns), cells(columns, rows), TITLES[name][1])
            for name, (columns, rows) in listed.items()
        ],
        notes=list(NOTES),
        config=dataclasses.asdict(study),
    )
    html.write(folder / "report.html", page)
    common.draw(folder / "babyvision.png", every)
