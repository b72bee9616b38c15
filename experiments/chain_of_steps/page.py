"""The report page of a run: clips to scrub, curves beside their nulls, registered claims, tables.

Nothing is computed for what was not measured: a curve, map or forest whose part is not among the tables is left out.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.chain_of_steps import drawing
from experiments.chain_of_steps.config import ChainOfSteps
from experiments.chain_of_steps.verdicts import Measured
from vrjax.files import writing
from vrjax.flow import grids
from vrjax.report import parts
from vrjax.report.claims import Claim
from vrjax.report.guesses import Guess
from vrjax.study import claims as study_claims
from vrjax.study import page as common
from vrjax.study import registration
from vrjax.study.subjects import Suite
from vrjax.study.tables import Tables
from vrjax.tasks import Entrant

NAMES = {"maze": "Maze", "maze_goals": "Several goals", "entrant": "Entrant"}

INTRO = """A video diffusion model starts from noise and removes it step by step. At every step its velocity implies a
guess of the finished video: the clean estimate. Scrub through the steps and watch that guess form.

Two small specialists are shown. One draws the way through mazes it has never seen. The other was taught a world of
memory: something comes in through a door, is wholly hidden behind a screen, and must leave by the other door as it
came in. Its colour and shape stand in no condition, neither in the given first frame nor in the words, so every seed
may invent another object; right is only that both doors agree.

Whether any of this is reasoning needs a null that could do the same without it: an exact denoiser that knows every
possible answer and averages them by Bayes' rule, a believer who holds what the network held at its first step, the
ink behind a wall, the colours of other clips. Only what a trained model does beyond its null counts here."""

LOOK = """At each step the model holds a guess of the finished video, x̂₀. Move through the steps to watch it form.
In the entrant's clips compare frame 1, where something comes in, with the last, where it goes out: nothing that is
given says what it is, and another seed may invent another object."""

NOTES = (
    "Intervals (95 %) have training seeds as their unit. With one model they speak of that model only: numbers, no "
    "verdict. The verdicts beside them are those of the full run, eight training seeds of each specialist.",
    "Statistics, smallest effects, controls and gates were registered before any test clip was sampled: "
    "experiments/chain_of_steps/claims.json. The sizes of a run stand in configs/chain_of_steps/.",
    "The clips shown are chosen by a rule: the first that corrects itself, the first that some seed does not solve.",
)

CAPTIONS = {
    "Worlds": "Solved: every frame that decides is right (both doors for the entrant, the last frame for mazes).",
    "Ensemble": "Unique maze. Every seed is continued once; all arms that were run.",
    "Blocks swapped": "Unique maze and the same maze with another goal, from one noise.",
    "Bill": "From the pilot, as registered.",
}


# ---------------------------------------------------------------------------------------------------------- the clips


def case(
    suite: Suite, shown: Tables, table: Tables, *, steps: int, shift: float, first: int = 0, note: str
) -> parts.Case:
    """The one clip of a suite with all its seeds, ready for the scrubber.

    Args:
        suite: of one clip.
        shown: of `trajectories.showcase`: `x0` [1, seed, step, t, h, w, 3] latents, `energy` where there are blocks.
        table: of `trajectories.measure` for the clip: `effective` [1, seed, step].
        steps, shift: of the grid.
        first: the seed that the scrubber opens with; the others follow.
        note: why this clip.
    """
    task, clip = suite.task, suite.clips[0]
    order = sorted(range(len(shown["x0"][0])), key=lambda seed: (seed != first, seed))
    latents, noise = np.asarray(shown["x0"][0])[order], np.asarray(suite.rows["noise"][0])[order]
    answers, sigmas = suite.answers(latents[None]), grids.shifted(steps, shift=shift).sigmas
    told = looks(task, clip, latents) if isinstance(task, Entrant) else drawn(suite, answers[0])
    curves = []
    if "effective" in table:
        held = [parts.Series("effective number", table["effective"][0][order])]
        caption = "How many of the possible answers the estimate mixes (1: committed)."
        curves.append(parts.Curve("Candidates held", held, caption))
    if isinstance(task, Entrant):
        apart = [parts.Series("excess error", doors_apart(suite, task, latents))]
        caption = "Squared error of the look that fits both doors best, minus that of the best look at each door alone."
        curves.append(parts.Curve("How far both doors are from one look", apart, caption))
        note += " The look of what comes in stands in no condition: every seed may choose its own."
    maps = []
    if "energy" in shown:
        caption = "Mean length of the token vectors after each block, per frame; every block on its own scale."
        maps.append(parts.LayerMap("Layers", shown["energy"][0][order], caption, relative="row"))
    ends = suite.solved(answers)[0, :, -1]
    return parts.Case(
        name=f"{NAMES.get(task.name, task.name)} {clip.meta['seed']}",
        prompt=clip.prompt,
        x0=common.enlarged(latents),
        # Where several answers are right, one of them beside the guess would call the others wrong.
        truth=clip.video if (np.asarray(suite.rows["prior"][0]) > 0).sum() == 1 else None,
        noisy=common.enlarged(states(noise, latents, sigmas)),
        sigma=sigmas[:-1],
        seeds=[f"seed {seed}" for seed in order],
        solved=ends.tolist(),
        guesses=guesses(suite, latents, told),
        other="other path" if task.name.startswith("maze") else "another answer",
        outcomes=[f"{'solved' if s else 'not solved'}: {line[-1]}" for s, line in zip(ends, told, strict=True)],
        world=task.name,
        note=note,
        events=[event for m, line in enumerate(told) for event in turns(m, line)],
        maps=maps,
        curves=curves,
    )


def states(noise: np.ndarray, x0: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """The states x_t that Euler's method passed through, from what it started with and the clean estimates it held.

    Args:
        noise: (seed, ...), at noise level 1.
        x0: (seed, step, ...).
        sigmas: (step + 1,), of the grid.
    """
    x, out = np.asarray(noise, np.float64), []
    for step, (now, then) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        out.append(x)
        x = x + (then - now) * (x - x0[:, step]) / now
    return np.stack(out, axis=1).astype(np.float32)


def guesses(suite: Suite, latents: np.ndarray, told: Sequence[Sequence[str]]) -> list[list[Guess]]:
    """What each estimate of the suite's one clip is, by the suite's verifier (`task.solved` on latents); `told`: in
    words. The entrant's can be read where both doors can."""
    answers, task = suite.answers(latents[None]), suite.task
    right, readable = suite.solved(answers)[0], answers[0] >= 0
    if isinstance(task, Entrant):
        doors = task.exact(suite.clips[0], latents)
        readable = (np.asarray(doors.entrance) >= 0) & (np.asarray(doors.exit) >= 0)
    kinds = np.where(right, "right", np.where(readable, "other", "unreadable"))
    return [[Guess(k, words) for k, words in zip(*run, strict=True)] for run in zip(kinds.tolist(), told, strict=True)]


def turns(seed: int, line: Sequence[str]) -> list[parts.Event]:
    """The steps at which what a run shows changes, the last of them named otherwise."""
    changes = [s for s in range(1, len(line)) if line[s] != line[s - 1]]
    words = ["reads differently"] * (len(changes) - 1) + ["commits"]
    return [parts.Event(s, word, seed) for s, word in zip(changes, words, strict=False)]


def drawn(suite: Suite, answers: np.ndarray) -> list[list[str]]:
    """The answers [seed, step] that the estimates show, in words."""
    labels = suite.task.labels(suite.clips[0])
    return [[labels[a] if a >= 0 else "no answer" for a in line] for line in answers]


def looks(task: Entrant, clip: Any, latents: np.ndarray) -> list[list[str]]:
    """What each seed's estimate shows at the two doors at each step, in words."""
    name = lambda look: " ".join(task.looks[look]) if look >= 0 else "nothing clear"
    ends = task.exact(clip, latents)
    return [
        [f"{name(a)} in, {name(b)} out" for a, b in zip(*line, strict=True)]
        for line in zip(ends.entrance, ends.exit, strict=True)
    ]


def doors_apart(suite: Suite, task: Entrant, latents: np.ndarray) -> np.ndarray:
    """What it costs to explain both doors by one look, over leading axes: the least squared error (mean over the blocks
    of a door) of a common look minus the sum of the least at either door; 0 where both are nearest to the same."""
    looks, doors = np.asarray(suite.rows["candidates"][0]), task.doors(suite.clips[0].meta["layout"])
    seen = lambda films, f, door: films[..., f, :, :, :][..., door, :]
    entrance, way_out = (
        np.square(seen(latents, f, door)[..., None, :, :] - seen(looks, f, door)).mean((-1, -2))
        for f, door in zip(task.decisive, doors, strict=True)
    )
    return np.maximum((entrance + way_out).min(-1) - entrance.min(-1) - way_out.min(-1), 0)  # but for rounding


# ----------------------------------------------------------------------------------------------------------- the page


def readable(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Records as a person reads them: an interval is one cell, numbers have three places, several stand in one cell."""
    out = []
    for row in rows:
        cells: dict[str, Any] = {}
        for name, value in row.items():
            if name == "low":
                cells["95 %"] = study_claims.between(row["difference"], (value, row["high"])).partition(" ")[2]
            elif isinstance(value, bool):
                cells[name] = "yes" if value else ""
            elif isinstance(value, list | tuple):
                cells[name.replace("_", " ")] = ", ".join(f"{one:.3f}" for one in value)
            elif name != "high":
                cells[name] = f"{value:.3f}" if isinstance(value, float) else value
        out.append(cells)
    names = list(dict.fromkeys(name for cells in out for name in cells))
    return [{name: cells.get(name, "") for name in names} for cells in out]


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
    """Writes `report.html`, `figures/*.png` and `videos/*.mp4`.

    Args:
        folder: of the run.
        study: its sizes.
        found: the registered claims, as judged.
        measured: tables of the models, and of the others beside them.
        cases: the clips to scrub.
        tables: title -> records of equal keys; empty ones are left out.
        notes: what was not measured.
    """
    lines, heat = drawing.curves(measured, study.resamples), drawing.maps(measured)
    forests = drawing.forests(measured, study.resamples)
    bill = [{"arm": arm, "core minutes a seed": f"{cost:g}"} for arm, cost in registration.read(__file__).bill.items()]
    shows = {**tables, "Bill": bill}
    page = parts.Page(
        title="Demystifying video reasoning: chain of steps",
        subtitle="Two small video models, one of mazes and one of memory, along their denoising steps.",
        intro=INTRO,
        scrubbers=[parts.Scrubber(cases, text=LOOK)] if cases else [],
        claims=found,
        curves=lines,
        maps=heat,
        pictures=drawing.films(measured),
        forests=forests,
        tables=[common.table(name, readable(rows), CAPTIONS.get(name, "")) for name, rows in shows.items() if rows],
        notes=[*NOTES, *notes],
        config=dataclasses.asdict(study),
    )
    drawn: dict[str, common.Drawn] = {writing.slug(part.title): part for part in lines}
    drawn |= {writing.slug(part.title): part for part in heat}
    common.write(folder, page, drawn | {writing.slug(part.title): part for part in forests})
