"""A picture of the video problem: what was seen, and what each prior's posterior holds possible."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.inverse.panels import blank, styled
from experiments.inverse.video_names import TASKS
from vrjax.study.tables import Tables

SHAPE = (4, 8, 8)


def films(tables: Tables) -> Figure:
    """A column for each task: the truth, its data, exact draws, and draws of particles by each prior.

    Clips are strips of four frames. Data of averaged frames are two frames; what was not seen is left white.
    """
    priors = [f"{n} clips" for n in tables["sizes"].tolist()] + ["world's velocity"]
    with styled():
        heights = [1.0, 1.0] + [2.6] * (1 + len(priors))
        figure = blank((9.6, 0.72 * sum(heights)))
        grid = figure.subplots(len(heights), len(TASKS), squeeze=False, height_ratios=heights)
        for t, task in enumerate(TASKS):
            rows: list[tuple[str, Any]] = [(f"{task}: truth", strip(tables["shown truth"])), ("data", _data(tables, t))]
            rows.append(("exact draws", _stacked(tables["shown exact"][t])))
            rows += [(name, _stacked(tables["latent shown"][p, t])) for p, name in enumerate(priors)]
            for axis, (title, image) in zip(grid[:, t], rows, strict=True):
                axis.set_axis_off()
                axis.set_title(title, fontsize=9, fontweight="normal", loc="left", pad=3)
                axis.imshow(image, cmap="gray", vmin=-1.2, vmax=1.2)
        return figure


def strip(clip: np.ndarray) -> np.ndarray:
    """A clip of 256 numbers as its frames side by side, a white line between."""
    frames = np.asarray(clip, np.float64).reshape(SHAPE)
    return np.concatenate([np.pad(one, ((0, 0), (0, 1)), constant_values=np.nan) for one in frames], 1)[:, :-1]


def _stacked(clips: np.ndarray) -> np.ndarray:
    return np.concatenate([np.pad(strip(one), ((0, 1), (0, 0)), constant_values=np.nan) for one in clips])[:-1]


def _data(tables: Tables, task: int) -> np.ndarray:
    """Data in the clips' unit: of as many frames as they are of, the rest is not seen."""
    y = np.asarray(tables["shown y"][task], np.float64) * tables["shown norm"][task]
    rows = int(tables["shown rows"][task])
    return strip(np.concatenate([y[:rows], np.full(len(y) - rows, np.nan)]))
