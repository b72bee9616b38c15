"""The report page, figures and videos of a run."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.chain_of_steps.config import ChainOfSteps
from experiments.chain_of_steps.verdicts import Measured
from vrjax.flow import grids
from vrjax.report import parts
from vrjax.report.claims import Claim
from vrjax.study import page as common
from vrjax.study.subjects import Suite
from vrjax.study.tables import Tables

NAMES = {"maze": "Maze", "maze_goals": "Many goals", "entrant": "Entrant"}

INTRO = """A video diffusion model starts from noise and removes it step by step. At every step its velocity implies a
guess of the finished video: the clean estimate. Scrub through the steps below and watch that guess form: walls first,
then paths, sometimes wrong ones that fade.

Whether this is reasoning needs a null model: the exact denoiser that knows every possible answer of a puzzle and
averages them by Bayes' rule. It searches nothing, and still it looks undecided early and committed late. Only what a
trained model does beyond it counts here."""

NOTES = (
    "Intervals (95 %) have training seeds as their unit: at either end the outer one of a hierarchical bootstrap and "
    "of Student's t on the seeds' means. With one model they speak of that model only, and give no verdict.",
    "Statistics were fixed before any test clip was sampled (the sizes of the quick run were not): margins and the "
    "ensemble's steps and blocks stand in experiments/chain_of_steps/verdicts.py and configs/chain_of_steps/.",
    "The clips shown are chosen by a rule: the first that corrects itself, the first that some seed does not solve.",
)


MAZE = "maze/trajectories"
SOLVED = "Share of runs whose clean estimate already shows the right path at this step."
MIXED = (
    "How far the estimate is from every single answer towards a mixture. The null model mixes by itself; only the "
    "excess over it is the network's."
)
INK = "Cells of path colour off the solution in the last frame. The null model draws none."
CURVES = (  # title, part, field, caption, range
    ("Solved so far: maze", MAZE, "solved", SOLVED, (0, 1)),
    ("Superposition: many goals", "maze_goals/trajectories", "superposition", MIXED, None),
    ("Wrong ink: maze", MAZE, "ink_off", INK, None),
)


def case(suite: Suite, shown: Tables, table: Tables, *, steps: int, shift: float, note: str) -> parts.Case:
    """The one clip of a suite with all its seeds, ready for the scrubber."""
    clip, grid = suite.clips[0], grids.shifted(steps, shift=shift)
    solved = table["solved"][0]
    labels = suite.task.labels(clip)
    told = [labels[a] if a >= 0 else "no answer" for a in table["answer"][0][:, -1]]
    outcomes = [f"solved: {t}" if s else f"not solved: {t}" for s, t in zip(solved[:, -1], told, strict=True)]
    events = []
    for m, line in enumerate(table["answer"][0]):
        changes = np.flatnonzero(np.diff(line)) + 1
        events += [parts.Event(int(s), "reads differently", m) for s in changes[:-1]]
        events += [parts.Event(int(changes[-1]), "commits", m)] if len(changes) else []
    maps = []
    if "energy" in shown:
        maps.append(
            parts.LayerMap(
                "Layers",
                shown["energy"][0],
                "Mean length of the token vectors after each block, per frame; every block on its own scale.",
                relative="row",
            )
        )
    curves = [
        parts.Curve(
            "Candidates held",
            [parts.Series("effective number", table["effective"][0])],
            "How many of the possible answers the estimate mixes (1: committed).",
        )
    ]
    return parts.Case(
        name=f"{NAMES.get(suite.task.name, suite.task.name)} {clip.meta['seed']}",
        prompt=clip.prompt,
        x0=common.enlarged(shown["x0"][0]),
        truth=clip.video,
        sigma=grid.sigmas[:-1],
        scores=solved[:, -1].astype(float),
        outcomes=outcomes,
        world=suite.task.name,
        note=note,
        events=events,
        maps=maps,
        curves=curves,
    )


def curves(measured: Measured, resamples: int) -> list[parts.Curve]:
    """The curves over denoising steps, each beside its null."""
    few = min(resamples, 2000)

    def lines(part: str, field: str) -> list[parts.Series]:
        who: dict[str, tuple[str, parts.Role]] = {"null": ("null model", "null")}
        who |= {name: (name, "control") for name in measured.others if name != "null"}
        out = [common.band("model", [t[field] for t in measured.models[part]], few)]
        for name, (words, role) in who.items():
            if tables := measured.others.get(name, {}).get(part):
                out.append(common.band(words, [t[field] for t in tables], few, role))
        return out

    return [parts.Curve(title, lines(part, field), why, y_range=span) for title, part, field, why, span in CURVES]


def write(
    folder: pathlib.Path,
    study: ChainOfSteps,
    found: Sequence[Claim],
    measured: Measured,
    cases: Sequence[parts.Case],
    *,
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
    notes: Sequence[str] = (),
) -> None:
    """`report.html`, `figures/*.png` and `videos/*.mp4`.

    Args:
        folder: of the run.
        study: its sizes.
        found: the claims as judged.
        measured: all tables.
        cases: clips to scrub, see `case`.
        tables: records by title.
        notes: what a reader must know beside the usual notes.
    """
    lines = curves(measured, study.resamples)
    page = parts.Page(
        title="Demystifying video reasoning: chain of steps",
        subtitle="A small video model solves puzzles along its denoising steps. Scrub them.",
        intro=INTRO,
        scrubbers=[parts.Scrubber(cases)],
        claims=list(found),
        curves=lines,
        tables=[common.table(title, rows) for title, rows in tables.items() if rows],
        notes=[*NOTES, *notes],
        config=dataclasses.asdict(study),
    )
    common.write(folder, page, {common.slug(part.title): part for part in lines})
