"""The report page, figures and videos of a run."""

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.chain_of_steps.verdicts import Study
from vrjax.flow import Record, grids, sample
from vrjax.report import figures, html, parts, statistics, video
from vrjax.report.claims import Claim
from vrjax.study.clips import Suite
from vrjax.study.subjects import Subject
from vrjax.study.tables import Bench, Tables

NAMES = {"maze": "Maze", "maze_goals": "Many goals", "tictactoe": "Three in a row", "occluder": "Occluder"}
NAMES |= {"ball": "Bouncing ball", "pick": "Pick the object"}


def showcase(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float) -> Tables:
    """Whole clean estimates and layer energies of a few clips, for looking at: `x0` [n, seed, S, t, h, w, 3], `energy`
    [n, seed, S, block, frame]."""
    grid = grids.shifted(steps, shift=shift)
    frames = suite.rows["solution"].shape[1]
    energy = lambda h: jnp.linalg.norm(h.reshape(frames, -1, h.shape[-1]), axis=-1).mean(-1)

    def one(weights: Any, row: Any) -> Any:
        def run(noise):
            taps = {"block.*": energy} if subject.layers else {}
            traj = sample(subject.velocity(weights, row, taps), noise, grid, record=Record(fields=("x0",)))
            return {"x0": traj.x0} | ({"energy": traj.taps["block.*"]} if subject.layers else {})

        return jax.vmap(run)(row["noise"])

    rows = {k: suite.rows[k] for k in ("image", "text", "noise")}
    return bench.over(
        one, subject.weights, rows, f"{subject.name}: {suite.world.name}, to look at", ("shown", steps, shift)
    )


def case(suite: Suite, shown: Tables, table: Tables, i: int, *, steps: int, shift: float, note: str = "") -> parts.Case:
    """One clip with all its seeds, ready for the scrubber."""
    clip, grid = suite.clips[i], grids.shifted(steps, shift=shift)
    pixels = shown["x0"][i].repeat(4, axis=-3).repeat(4, axis=-2)
    solved = table["solved"][i]
    labels = suite.world.labels(clip)
    told = [labels[a] if a >= 0 else "no answer" for a in table["answer"][i][:, -1]]
    outcomes = [f"solved: {t}" if s else f"not solved: {t}" for s, t in zip(solved[:, -1], told, strict=True)]
    events = []
    for m, line in enumerate(table["answer"][i]):
        changes = np.flatnonzero(np.diff(line)) + 1
        events += [parts.Event(int(s), "reads differently", m) for s in changes[:-1]]
        events += [parts.Event(int(changes[-1]), "commits", m)] if len(changes) else []
    maps = []
    if "energy" in shown:
        maps.append(
            parts.LayerMap(
                "Layers",
                shown["energy"][i],
                "Mean length of the token vectors after each block, per frame; every block on its own scale.",
                relative="row",
            )
        )
    curves = [
        parts.Curve(
            "Candidates held",
            [parts.Series("effective number", table["effective"][i])],
            "How many of the possible answers the estimate mixes (1: committed).",
        )
    ]
    return parts.Case(
        name=f"{NAMES.get(suite.world.name, suite.world.name)} {clip.meta['seed']}",
        prompt=clip.prompt,
        x0=pixels,
        truth=clip.video,
        sigma=grid.sigmas[:-1],
        scores=[1.0 if s else 0.0 for s in solved[:, -1]],
        outcomes=outcomes,
        world=suite.world.name,
        note=note,
        events=events,
        maps=maps,
        curves=curves,
    )


def band(name: str, tables: Sequence[Tables], field: str, resamples: int, role: parts.Role = "model") -> parts.Series:
    """Mean curve over steps with a cluster-bootstrap band; instances are the clusters."""
    rows, clusters = [], []
    for t, table in enumerate(tables):
        values = np.asarray(table[field], np.float64)
        values = values.reshape(len(values), -1, values.shape[-1])
        for i, value in enumerate(values):
            good = value[np.isfinite(value).all(-1)]
            rows.append(good)
            clusters += [f"{t}/{i}"] * len(good)
    estimate = statistics.cluster_bootstrap(np.concatenate(rows), np.array(clusters), resamples=resamples)
    return parts.Series(name, estimate.value, low=estimate.low, high=estimate.high, role=role)


def curves(study: Study, nulls: Study, controls: Mapping[str, Study], resamples: int) -> list[parts.Curve]:
    """The curves over denoising steps, each beside its null."""

    def lines(part: str, field: str) -> list[parts.Series]:
        few = min(resamples, 2000)
        out = [band("model", study[part], field, few)]
        if part in nulls:
            out.append(band("null model", nulls[part], field, few, "null"))
        return out + [band(name, c[part], field, few, "control") for name, c in controls.items() if part in c]

    maze, goals, hidden = "maze/trajectories", "maze_goals/trajectories", "occluder/trajectories"
    return [
        parts.Curve(
            "Solved so far: maze",
            lines(maze, "solved"),
            "Share of runs whose clean estimate already shows the right path at this step.",
            y_range=(0, 1),
        ),
        parts.Curve(
            "Superposition: many goals",
            lines(goals, "superposition"),
            "How far the estimate is from every single answer towards a mixture. The null model mixes by itself; "
            "only the "
            "excess over it is the network's.",
        ),
        parts.Curve(
            "Wrong ink: maze",
            lines(maze, "ink_off"),
            "Cells of path colour off the solution in the last frame. The null model draws none.",
        ),
        parts.Curve(
            "Still and moving content: maze",
            [
                *(band("still", study[maze], "still", 1000),),
                *(band("moving", study[maze], "moving", 1000, "control"),),
                *(band("moving, null model", nulls[maze], "moving", 1000, "null"),),
            ],
            "Share of the scene, and of what moves in it, that the estimate already holds.",
        ),
        parts.Curve(
            "Ghost of the hidden object: occluder",
            lines(hidden, "ghost"),
            "Trace of the object in the estimate while it is out of sight (1: fully drawn).",
        ),
    ]


def maps(study: Study, nulls: Study, steps: int) -> list[parts.HeatMap]:
    """Propagation maps of the model and the null model."""
    out = []
    for name, tables in (("model", study), ("null model", nulls)):
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
                "1 - CKA of later states to the undisturbed run (0 untouched, 1 destroyed), by the step at which "
                "all frames "
                "were replaced by noise.",
                x_label="later state",
                y_label="injected at step",
                rows=[int(s) for s in inject],
                columns=list(range(far.shape[1])),
                value_range=(0, 1),
            )
        )
    return out


def site_curves(study: Study, nulls: Study) -> list[parts.Curve]:
    """Answers changed by each disturbance, over its step."""
    out = []
    for part, title in (("maze/perturbations", "maze"), ("maze_goals/perturbations", "many goals")):
        series = []
        for who, tables in (("model", study), ("null model", nulls)):
            if part not in tables:
                continue
            for kind, words in (("step", "pure noise"), ("renoise", "level-matched")):
                values = np.concatenate([t[f"{kind}_answer"] != t["clean_answer"][:, None] for t in tables[part]])
                estimate = statistics.cluster_bootstrap(values.astype(float), resamples=2000)
                x = tables[part][0]["steps"].astype(float)
                mine: parts.Role = "model" if kind == "renoise" else "control"
                shade: parts.Role = "null" if tables is nulls else mine
                series.append(
                    parts.Series(f"{words}, {who}", estimate.value, x, estimate.low, estimate.high, role=shade)
                )
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
                f"The state of a succeeding run put into a failing run of the same maze at one step, and the "
                f"reverse (dotted); "
                f"{count} mazes that some seeds solve and some do not. Given all frames, a deterministic run "
                f"repeats its donor.",
                y_range=(0, 1),
                sync=False,
            )
        )
    return out


def slug(title: str) -> str:
    """A title as a file name: lower case letters and digits, joined by underscores."""
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")


def forest(rows: Sequence[Mapping[str, Any]]) -> parts.Forest:
    """The ensemble arms as differences to the single run."""
    controls = ("oracle", "steps", "temperature", "noise-free")
    return parts.Forest(
        "The training-free ensemble among its rivals",
        [
            parts.Arm(
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
        "Difference in solved mazes to a single run of the same noise, 95 % interval over training seeds, instances "
        "and "
        "noises. Every seed is continued once.",
        x_label="solved, minus single run",
        reference=0.0,
        reference_label="single run",
    )


def write(
    folder: pathlib.Path,
    *,
    scrubber: parts.Scrubber,
    claims: Sequence[Claim],
    all_curves: Sequence[parts.Curve],
    all_maps: Sequence[parts.HeatMap],
    arms: parts.Forest,
    tables: Sequence[parts.Table],
    config: Mapping[str, Any],
    intro: str,
    notes: Sequence[str],
) -> None:
    """`report.html`, `figures/*.png` and `videos/*.mp4`."""
    html.write(
        folder / "report.html",
        parts.Page(
            title="Demystifying video reasoning: chain of steps",
            subtitle="A small video model solves puzzles along its denoising steps. Scrub them.",
            intro=intro,
            scrubbers=[scrubber],
            claims=list(claims),
            curves=list(all_curves),
            maps=list(all_maps),
            forests=[arms],
            tables=list(tables),
            notes=list(notes),
            config=dict(config),
        ),
    )
    for part in all_curves:
        figures.save(figures.curve(part), folder / "figures" / f"{slug(part.title)}.png")
    for i, part in enumerate(all_maps):
        figures.save(figures.heat_map(part), folder / "figures" / f"propagation_{i}.png")
    figures.save(figures.forest(arms), folder / "figures" / "ensembles.png")
    for shown in scrubber.cases:
        name = slug(shown.name)
        video.save(folder / "videos" / f"{name}.mp4", shown.x0[0, -1], fps=4, scale=6)
        chosen = np.unique(np.linspace(0, shown.x0.shape[1] - 1, 6).round().astype(int))
        figures.save(
            figures.film_strip(shown.x0[0], steps=chosen, sigma=shown.sigma, truth=shown.truth),
            folder / "figures" / f"steps_{name}.png",
        )
