"""The common page of a study: its report, and figures and videos that stand alone."""

import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from vrjax.data import mp4
from vrjax.files import pixels, writing
from vrjax.report import figures, html, parts, seeds

Drawn = parts.Curve | parts.HeatMap | parts.Forest | Figure


def write(folder: pathlib.Path, page: parts.Page, drawn: Mapping[str, Drawn] | None = None) -> None:
    """`report.html`, `figures/<name>.png`, and for every case of the page its last estimate as a video and, where it
    has several steps, a strip of them; of motions a strip of skeletons.

    Args:
        folder: of the run.
        page: the whole report.
        drawn: name -> what of it is also a picture of its own.
    """
    html.write(folder / "report.html", page)
    for name, part in (drawn or {}).items():
        draw(folder / "figures" / f"{name}.png", part)
    for case in (case for scrubber in page.scrubbers for case in scrubber.cases):
        name = writing.slug(case.name)
        if isinstance(case, parts.Body):
            chosen = np.unique(np.linspace(0, case.joints.shape[1] - 1, 6).round().astype(int))
            figures.save(figures.bodies(case, steps=chosen), folder / "figures" / f"steps_{name}.png")
            continue
        film = pixels.to_float(case.x0[0, -1])
        mp4.write(folder / "videos" / f"{name}.mp4", film, fps=4, upscale=6, codec=mp4.PLAYED)
        steps = case.x0.shape[1]
        if steps > 1:
            chosen = np.unique(np.linspace(0, steps - 1, 6).round().astype(int))
            strip = figures.film_strip(case.x0[0], steps=chosen, sigma=case.sigma, truth=case.truth)
            figures.save(strip, folder / "figures" / f"steps_{name}.png")


def draw(path: pathlib.Path, *drawn: Drawn | Sequence[Drawn], **how: Any) -> pathlib.Path:
    """One picture of one part of a page, or of several under each other, those of a sequence side by side; figures that
    are drawn already are taken as they are. `how` goes to the drawing of curves."""
    rows = [part if isinstance(part, Sequence) else [part] for part in drawn]
    if [len(row) for row in rows] == [1]:
        return figures.save(_figure(rows[0][0], how), path)
    with tempfile.TemporaryDirectory() as scratch:
        file = pathlib.Path(scratch) / "one.png"
        load = lambda part: Image.open(figures.save(_figure(part, how), file)).convert("RGB")
        images = [[load(part) for part in row] for row in rows]
    size = max(sum(i.width for i in row) for row in images), sum(max(i.height for i in row) for row in images)
    canvas, top = Image.new("RGB", size, "white"), 0
    for row in images:
        left = 0
        for image in row:
            canvas.paste(image, (left, top))
            left += image.width
        top += max(image.height for image in row)
    with writing.atomic(path) as out:
        canvas.save(out, optimize=True)
    return path


def _figure(part: Drawn, how: Mapping[str, Any]) -> Figure:
    if isinstance(part, Figure):
        return part
    if isinstance(part, parts.Curve):
        return figures.curve(part, **how)
    return figures.forest(part) if isinstance(part, parts.Forest) else figures.heat_map(part)


def table(title: str, rows: Sequence[Mapping[str, Any]], caption: str = "") -> parts.Table:
    """A table of records, whose columns are the keys of the first."""
    return parts.Table(title, list(rows[0]), [[row[key] for key in rows[0]] for row in rows], caption)


def band(
    name: str,
    runs: Sequence[np.ndarray],
    resamples: int,
    role: parts.Role = "model",
    x: Any = None,
    bounds: seeds.Bounds = None,
) -> parts.Series:
    """A mean curve with its band, at every step the interval of `vrjax.report.seeds`: training seeds are the unit.

    Two of them get no band: by Student's t it would be thirteen standard errors wide, and none where both agree.

    Args:
        name: in the legend.
        runs: one array [instances, ..., steps] per training seed. Instances that are not finite everywhere are left
            out; then every seed keeps its first k, k being the fewest that one of them has.
        resamples: bootstrap draws.
        role: how it is drawn.
        x: of the steps; 0, 1, 2, ... by default.
        bounds: of one entry, where there are any; the band is cut there.

    Raises:
        ValueError: a training seed has no instance that is finite everywhere.
    """
    rows = [np.asarray(values, np.float64) for values in runs]
    rows = [values.reshape(len(values), -1, values.shape[-1]) for values in rows]
    rows = [values[np.isfinite(values).all((1, 2))] for values in rows]
    least = min(len(values) for values in rows)
    if not least:
        raise ValueError(f"{name}: no instance of some training seed is finite at every step")
    stacked = np.stack([values[:least] for values in rows])
    if len(rows) == 2:
        return parts.Series(name, stacked.mean((0, 1, 2)), x, role=role)
    found = seeds.interval(np.moveaxis(stacked, -1, 0), resamples=resamples, bounds=bounds)
    cut = (lambda end: end) if bounds is None else (lambda end: np.clip(end, *bounds))
    low, high = (np.where(np.isfinite(end), cut(end), np.nan) for end in (found.low, found.high))
    return parts.Series(name, found.value, x, low, high, role=role)


def enlarged(video: np.ndarray, factor: int = 4) -> np.ndarray:
    """Every pixel (or block mean) as a square of pixels: what a latent of the block codec decodes to."""
    return video.repeat(factor, axis=-3).repeat(factor, axis=-2)
