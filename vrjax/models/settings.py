"""How a run is sampled: a model's published settings with what one asks for put in their place, checked."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vrjax import flow
from vrjax.flow import grids, solvers

GRIDS = ("shifted", "wan_unipc", "wan_dpmpp", "diffusers_unipc", "diffusers_euler")
_GRIDS = {"unipc": "wan_unipc", "dpmpp_2m": "wan_dpmpp"}  # Wan's own solvers have grids of their own


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is fixed when a run is compiled.

    Attributes:
        grid: noise levels, and the times the network is shown.
        solver: its name, see `vrjax.flow.solvers`.
        guidance: scale of each network, the high-noise expert's first; 1 asks the conditional branch alone.
        boundary: time / 1000 from which on the high-noise expert is asked; None for one network.
    """

    grid: flow.Grid
    solver: str = "unipc"
    guidance: tuple[float, ...] = (5.0,)
    boundary: float | None = None

    def __post_init__(self):
        if len(self.guidance) != (1 if self.boundary is None else 2):
            raise ValueError(f"Recipe: guidance {self.guidance} for boundary {self.boundary}, expected one per network")

    @property
    def high_steps(self) -> int:
        """Steps of the high-noise expert (all of them, for one network)."""
        if self.boundary is None:
            return self.grid.steps
        return int((self.grid.times >= 1000.0 * self.boundary).sum())


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a model is sampled.

    Attributes:
        steps, shift: of the noise grid.
        guidance: scale of each network, the high-noise expert's first.
        size: (height, width) in pixels. Of a model's own, the area counts where the picture given has another aspect.
        frames, fps: of the video.
        negative: the negative prompt; None where no guidance reads it.
        solver, grid: names, see `vrjax.flow.solvers` and `vrjax.flow.grids` ("few_step": `times`, shifted).
        boundary: see `Recipe`.
        times: the step list of a distilled model, or None.
    """

    steps: int
    shift: float
    guidance: tuple[float, ...]
    size: tuple[int, int]
    frames: int
    fps: int
    negative: str | None
    solver: str
    grid: str
    boundary: float | None = None
    times: tuple[float, ...] | None = None

    @property
    def recipe(self) -> Recipe:
        """What is compiled in."""
        if self.times is not None:
            grid = grids.few_step(self.times, self.shift)
        else:
            grid = getattr(grids, self.grid)(self.steps, shift=self.shift)
        return Recipe(grid, self.solver, self.guidance, self.boundary)


def resolve(
    folder: Any,
    factors: tuple[int, int],
    *,
    picture: tuple[int, int] | None = None,
    size: tuple[int, int] | None = None,
    guidance: float | int | Sequence[float | int] | None = None,
    times: Sequence[float | int] | None = None,
    **options: Any,
) -> Settings:
    """The settings of a run.

    Args:
        folder, factors: the model's folder, and frames and pixels (along a side) to a position of its latents.
        picture: (height, width) of the first frame's picture.
        size: (height, width) in pixels, multiples of a token's. By default the model's, or, for a picture of another
            aspect, one of the same area.
        guidance: one scale, or one per expert, the high-noise one's first.
        times: the step list of a distilled model, within (0, 1000]; `shift` (5 by default) is applied to it. Guidance
            is then 1 and the solver Euler's unless they are given.
        **options: other fields of `Settings`; None leaves one to the model. Frames are 4 n + 1. A diffusers folder's
            scheduler gives solver, grid and shift by default; another solver runs on the grid that goes with it.

    Raises:
        ValueError: an option that does not fit the model, or a scheduler that has no counterpart.
        TypeError: an option that there is none of.
    """
    asked = {name: value for name, value in options.items() if value is not None}
    if times is not None and asked.keys() & {"steps", "grid"}:
        raise ValueError("times: a step list takes neither steps nor grid, which it sets")
    count, token = len(folder.networks), tuple(factors[1] * side for side in folder.cfg.patch[1:])
    if size is None and picture is not None:
        size = fit(picture, folder.published().size, token)
    # A scheduler that has no counterpart here only matters where something is left to it.
    found = folder.published(size, scheduled=times is None and not asked.keys() >= {"solver", "grid", "shift"})
    if times is not None:
        shown = tuple(float(t) for t in times)
        scales = (1.0,) * count
        few = {"solver": "euler", "shift": 5.0, "guidance": scales, "grid": "few_step", "steps": len(shown)}
        found = dataclasses.replace(found, times=shown, **few)
    elif asked.get("solver", found.solver) != found.solver:
        asked.setdefault("grid", _GRIDS.get(asked["solver"], "shifted"))
    if "solver" in asked:
        solvers.get(asked["solver"])  # it must be there
    if asked.get("grid", GRIDS[0]) not in GRIDS:
        raise ValueError(f"unknown grid {asked['grid']!r}, expected one of {', '.join(GRIDS)}")
    given = found.guidance if guidance is None else guidance
    scales = (given,) if isinstance(given, (int, float)) else tuple(given)
    scales = tuple(float(s) for s in (scales * count if len(scales) == 1 else scales))
    if len(scales) != count or not all(np.isfinite(s) and s >= 0 for s in scales):
        raise ValueError(f"guidance: found {given}, expected {count} finite scales >= 0 for {folder.name}")
    height, width = size or found.size
    asked |= {"size": (int(height), int(width)), "guidance": scales, "shift": float(asked.get("shift", found.shift))}
    if set(scales) == {1.0}:
        asked["negative"] = None
    out = dataclasses.replace(found, **asked)

    time = factors[0]
    if out.frames < 1 or (out.frames - 1) % time:
        near = max(out.frames - 1, 0) // time * time + 1
        raise ValueError(f"frames: found {out.frames}, expected {time} n + 1, such as {near} or {near + time}")
    for side, step, what in zip(out.size, token, ("height", "width"), strict=True):
        if side < step or side % step:
            near = max(side // step, 1) * step
            raise ValueError(f"size: {what} {side}, expected a multiple of {step} for {folder.name}, such as {near}")
    if out.fps < 1:
        raise ValueError(f"fps: found {out.fps}, expected at least 1")
    _ = out.recipe  # the grid checks steps, shift and times
    return out


def fit(picture: tuple[int, int], area: tuple[int, int], multiple: tuple[int, ...]) -> tuple[int, int]:
    """(height, width) of a picture's aspect and about the pixels of `area`, in multiples of the network's patches."""
    h, w = picture
    pixels = area[0] * area[1]
    sides = math.sqrt(pixels * h / w), math.sqrt(pixels * w / h)
    height, width = (max(int(side) // m, 1) * m for side, m in zip(sides, multiple, strict=True))
    return height, width
