"""The report page, figures and videos of a run."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.chain_of_steps import verdicts
from experiments.chain_of_steps.config import ChainOfSteps
from experiments.chain_of_steps.verdicts import Measured
from vrjax.flow import grids
from vrjax.report import claims as claim_files
from vrjax.report import parts
from vrjax.study import page as common
from vrjax.study.registration import Registration
from vrjax.study.subjects import Suite
from vrjax.study.tables import Tables

NAMES = {"maze": "Maze", "maze_goals": "Many goals", "tictactoe": "Three in a row", "occluder": "Occluder"}
NAMES |= {"ball": "Bouncing ball", "pick": "Pick the object"}

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
HEAD = ["arm", "evaluations", "solved", "minus single", "95 %", "pairs", "p (Holm)"]


MAZE = "maze/trajectories"
SOLVED = "Share of runs whose clean estimate already shows the right path at this step."
MIXED = (
    "How far the estimate is from every single answer towards a mixture. The null model mixes by itself; only the "
    "excess over it is the network's."
)
INK = "Cells of path colour off the solution in the last frame. The null model draws none."
GHOST = "Trace of the object in the estimate while it is out of sight (1: fully drawn)."
CURVES = (  # title, part, field, caption, range
    ("Solved so far: maze", MAZE, "solved", SOLVED, (0, 1)),
    ("Superposition: many goals", "maze_goals/trajectories", "superposition", MIXED, None),
    ("Wrong ink: maze", MAZE, "ink_off", INK, None),
    ("Ghost of the hidden object: occluder", "occluder/trajectories", "ghost", GHOST, None),
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
    models, nulls, controls = measured

    def band(name: str, tables: Sequence[Tables], field: str, role: parts.Role = "model", n: int = 1000):
        return common.band(name, [t[field] for t in tables], n, role)

    def lines(part: str, field: str) -> list[parts.Series]:
        few = min(resamples, 2000)
        out = [band("model", models[part], field, n=few)]
        if part in nulls:
            out.append(band("null model", nulls[part], field, "null", few))
        return out + [band(name, c[part], field, "control", few) for name, c in controls.items() if part in c]

    contents = [band("still", models[MAZE], "still"), band("moving", models[MAZE], "moving", "control")]
    contents.append(band("moving, null model", nulls[MAZE], "moving", "null"))
    text = "Share of the scene, and of what moves in it, that the estimate already holds."
    out = [parts.Curve(title, lines(part, field), why, y_range=span) for title, part, field, why, span in CURVES]
    return [*out[:3], parts.Curve("Still and moving content: maze", contents, text), *out[3:]]


def maps(measured: Measured) -> list[parts.HeatMap]:
    """Propagation maps of the model and the null model."""
    out = []
    for name, tables in (("model", measured.models), ("null model", measured.nulls)):
        part = "maze_goals/perturbations"
        if part not in tables:
            continue
        far = np.nanmean(np.concatenate([t["cka"] for t in tables[part]]), 0)
        inject = tables[part][0]["steps"]
        hollow = np.arange(far.shape[1])[None] < inject[:, None]
        out.append(
            parts.HeatMap(
                f"Propagation of noise at a step: {name}",
                np.where(hollow, np.nan, far),
                "1 - CKA of later states to the undisturbed run (0 untouched, 1 destroyed), by the step at which all "
                "frames were replaced by noise.",
                x_label="later state",
                y_label="injected at step",
                rows=[int(s) for s in inject],
                columns=list(range(far.shape[1])),
                value_range=(0, 1),
            )
        )
    return out


def site_curves(measured: Measured) -> list[parts.Curve]:
    """Answers changed by each disturbance, over its step."""
    study, nulls, out = measured.models, measured.nulls, []
    for part, title in (("maze/perturbations", "maze"), ("maze_goals/perturbations", "many goals")):
        series = []
        for who, tables in (("model", study), ("null model", nulls)):
            if part not in tables:
                continue
            for kind, words in (("step", "pure noise"), ("renoise", "level-matched")):
                changed = [t[f"{kind}_answer"] != t["clean_answer"][:, None] for t in tables[part]]
                x = tables[part][0]["steps"].astype(float)
                mine: parts.Role = "model" if kind == "renoise" else "control"
                shade: parts.Role = "null" if tables is nulls else mine
                series.append(common.band(f"{words}, {who}", changed, 2000, shade, x))
        out.append(
            parts.Curve(
                f"Answers changed by noise at a step: {title}",
                series,
                "All frames replaced at one step, by pure noise (the paper's protocol) or by noise of the level of "
                "that step.",
                y_range=(0, 1),
                sync=False,
            )
        )
    moved = [t for t in study.get("maze/transplants", []) if len(t["solved"])]
    if moved:
        x = study["maze/perturbations"][0]["steps"].astype(float)
        modes = ("all frames", "last half of the frames", "last frame")
        given = np.concatenate([t["solved"] for t in moved]).mean(0)
        taken = np.concatenate([t["reverse_solved"] for t in moved]).mean(0)
        count = sum(len(t["solved"]) for t in moved)
        series = [parts.Series(f"failing run given {m}", y, x) for m, y in zip(modes, given, strict=True)]
        series += [
            parts.Series(f"succeeding run given {m}", y, x, role="control") for m, y in zip(modes, taken, strict=True)
        ]
        out.append(
            parts.Curve(
                "Solved after a state transplant: maze",
                series,
                "The state of a succeeding run put into a failing run of the same maze at one step, and the reverse "
                f"(dotted); {count} mazes that some seeds solve and some do not. Given all frames, a deterministic run "
                "repeats its donor.",
                y_range=(0, 1),
                sync=False,
            )
        )
    return out


def forest(rows: Sequence[Mapping[str, Any]]) -> parts.Forest:
    """The ensemble arms as differences to the single run."""
    controls = ("oracle", "steps", "temperature", "noise-free")
    return parts.Forest(
        "The training-free ensemble among its rivals",
        [
            parts.Effect(
                f"{r['arm']}  ({r['nfe']} evaluations)",
                r["difference"],
                r["low"],
                r["high"],
                r["pairs"],
                role="control" if r["arm"].startswith(controls) else "model",
                note=f"solved {r['solved']:.3f}",
            )
            for r in rows
            if r["arm"] != "single"
        ],
        "Difference in solved mazes to a single run of the same noise, 95 % interval with training seeds as the unit. "
        "Every seed is continued once.",
        x_label="solved, minus single run",
        reference=0.0,
        reference_label="single run",
    )


def arm_cells(row: Mapping[str, Any]) -> list[Any]:
    """A line of the table of arms."""
    holm = f"{row['holm']:.2g}" if "holm" in row else ""
    interval = f"{row['low']:+.3f} to {row['high']:+.3f}"
    solved, difference = f"{row['solved']:.3f}", f"{row['difference']:+.3f}"
    return [row["arm"], row["nfe"], solved, difference, interval, row["pairs"], holm]


def write(
    folder: pathlib.Path,
    study: ChainOfSteps,
    asked: Registration,
    measured: Measured,
    cases: Sequence[parts.Case],
    *,
    blocks: int,
) -> None:
    """Claims (`results.json`), `report.html`, `figures/*.png` and `videos/*.mp4`."""
    found, missing = verdicts.claims(study, asked, measured)
    rows = verdicts.ensemble_table(measured.models["maze/ensembles"], study.resamples)
    worlds = verdicts.world_table(measured, study.resamples)
    depth = verdicts.layer_table(measured.models, blocks)
    details = {"ensembles": rows, "worlds": worlds, "layers": depth}
    claim_files.write(folder, found, details=details, registered=asked.claims)
    note = "Unique maze. Every seed is continued once; all arms that were run."
    lines, heat, arms = [*curves(measured, study.resamples), *site_curves(measured)], maps(measured), forest(rows)
    page = parts.Page(
        title="Demystifying video reasoning: chain of steps",
        subtitle="A small video model solves puzzles along its denoising steps. Scrub them.",
        intro=INTRO,
        scrubbers=[parts.Scrubber(cases)],
        claims=found,
        curves=lines,
        maps=heat,
        forests=[arms],
        tables=[
            parts.Table("Ensemble arms", HEAD, [arm_cells(r) for r in rows], note),
            common.table("Worlds", worlds, "Solved means: the last frame is right."),
            common.table("Blocks", depth, "One line per transformer block."),
        ],
        notes=[*NOTES, *missing],
        config=dataclasses.asdict(study),
    )
    drawn: dict[str, common.Drawn] = {common.slug(part.title): part for part in lines}
    drawn |= {f"propagation_{i}": part for i, part in enumerate(heat)}
    common.write(folder, page, drawn | {"ensembles": arms})
