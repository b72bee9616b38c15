"""Decoded videos, numbers and the page of Chain-of-Steps' runs on real weights."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console

from vrjax.data import mp4, vbvr
from vrjax.files.writing import atomic
from vrjax.reasoning.instruments.stepping import spread
from vrjax.report import claims, html, tables

INTRO = """A public video model, looked into along its denoising steps: the clean estimate of each step, how far noise
at one step or in one frame carries, what a block of another run does, and seeds that think together for a moment."""


def decode(pipe: Any, clips: Sequence[Any], partners: dict[int, Any], folder: pathlib.Path, options: Any) -> None:
    """Final videos of all runs, and the clean estimates at some steps."""
    for clip in clips:
        sample = clip.sample
        for each in clip.runs(partners[id(clip)]):
            target = folder / "videos" / each.name / sample.file
            if not target.is_file():
                film, root = pipe.decode(clip.final(each.name)), folder / "videos" / each.name
                (given,) = vbvr.read(sample.folder, max_frames=1)
                size = tuple(given.meta["vbvr"]["size"])  # of the true video, in which the kit's rules measure
                vbvr.write_prediction(root, sample.split, sample.task, sample.index, film, size=size)
        where = folder / "steps" / sample.split / sample.task / f"{sample.index:05d}_steps"
        for step in spread(options.decode, clip.stepper.grid.steps):
            if not (where / f"step_{step:03d}.mp4").is_file():
                film = pipe.decode(np.asarray(clip.x0()[step]))
                mp4.write(where / f"step_{step:03d}.mp4", film, fps=vbvr.FPS, codec=mp4.PLAYED)


def distances(clip: Any, other: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """For each run: how far its last state lies from the clean one's and, for swaps, on the way to the other clip's."""
    clean = clip.final("clean")
    away = lambda a, b: float(np.linalg.norm(a - b) / np.linalg.norm(b))
    lines = []
    for name in names:
        last = clip.final(name)
        line: dict[str, Any] = {"clip": clip.sample.file, "run": name, "distance": away(last, clean)}
        if name.startswith("swap-") and other is not None:
            target = other.final("clean")
            near, far = np.linalg.norm(last - clean), np.linalg.norm(last - target)
            line |= {"other": other.sample.file, "towards the other": float(near / (near + far))}
        lines.append(line)
    return lines


def write(
    folder: pathlib.Path, about: dict, clips: Sequence[Any], partners: dict, options: Any, console: Console
) -> None:
    """results.json, arrays.npz and the page."""
    lines, arrays, cases, curves, maps = [], {}, [], [], []
    for clip in clips:
        names = [each.name for each in clip.runs(partners[id(clip)])]
        lines += distances(clip, partners[id(clip)], names[1:])
        energy, label = clip.rows("clean", "energy"), clip.sample.file.removesuffix(".mp4")
        arrays[f"{label}/energy"] = energy
        series = []
        for name in names[1:]:
            away = clip.rows(name, "distance")
            arrays[f"{label}/{name}"] = away
            if name.startswith("noise-"):
                x = np.arange(clip.stepper.grid.steps - len(away), clip.stepper.grid.steps)
                role = "model" if "step" in name else "control"
                series.append(html.Series(name.removeprefix("noise-"), away[:, 0], x=x, role=role))
        if series:
            text = "Relative L2 distance of the clean estimate from the undisturbed run's. Dotted: noise in one frame."
            curves.append(html.Curve(f"{label}: distance after noise", series, text))
        maps.append(
            html.HeatMap(
                f"{label}: token energy",
                energy.mean(-1).T,
                "Mean L2 norm of the stream after each block (prompt branch). A norm is a size, not an importance.",
                x_label="denoising step",
                y_label="block",
                step_axis="x",
            )
        )
        cases.append(_case(folder, clip, energy, options))
    with atomic(folder / "arrays.npz") as scratch, open(scratch, "wb") as file:
        np.savez_compressed(file, **arrays)
    claims.write(folder / "results.json", [], details={**about, "distances": lines})
    head = ["clip", "run", "distance", "towards the other"]
    body = [
        [line["clip"], line["run"], f"{line['distance']:.3f}"]
        + [f"{line['towards the other']:.3f}" if "towards the other" in line else ""]
        for line in lines
    ]
    note = (
        "Distance: relative L2 of the last latent from the clean run's. Towards the other: 0 is the clip's own clean "
    )
    note += "latent, 1 the other clip's."
    page = html.Page(
        f"Chain-of-Steps: {about['model']}",
        intro=INTRO,
        scrubbers=[html.Scrubber(cases)],
        curves=curves,
        maps=maps,
        tables=[html.Table("Runs", head, body, note)] if body else [],
        notes=[
            "Described, not judged: no null model of these weights exists. Score the rows with experiments.vbvr's kit."
        ],
        config=about,
    )
    html.write(folder, page)
    console.print(tables.rich(head, body, note, colours={}))
    console.print(f"{folder / 'report.html'}; videos per run: {folder / 'videos'}")


def _case(folder: pathlib.Path, clip: Any, energy: np.ndarray, options: Any) -> html.Case:
    """The clean estimates at the decoded steps, small enough for a page."""
    steps = spread(options.decode, clip.stepper.grid.steps)
    where = folder / "steps" / clip.sample.split / clip.sample.task / f"{clip.sample.index:05d}_steps"
    films = [mp4.decode(where / f"step_{step:03d}.mp4")[0] for step in steps]
    stride = max(1, len(films[0]) // 16)
    small = np.stack([_small(film[::stride]) for film in films])
    prompt = (clip.sample.folder / "prompt.txt").read_text("utf-8").strip()
    values = energy[steps][None]
    layer = html.LayerMap("Token energy", values, "Per block and latent frame.", relative="row")
    sigma = np.asarray(clip.stepper.grid.sigmas)[steps]
    return html.Case(clip.sample.file, prompt, small[None], steps=np.array(steps), sigma=sigma, maps=[layer])


def _small(film: np.ndarray, side: int = 160) -> np.ndarray:
    """8-bit frames with at most `side` pixels along the longer side, by block means."""
    factor = -(-max(film.shape[1:3]) // side)
    h, w = (n // factor * factor for n in film.shape[1:3])
    blocks = film[:, :h, :w].reshape(len(film), h // factor, factor, w // factor, factor, 3)
    return np.round(blocks.mean((2, 4))).astype(np.uint8)
