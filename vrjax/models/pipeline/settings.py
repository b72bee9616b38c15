"""The options of a run: a model's published defaults with what one asks for put in their place, checked."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from vrjax.flow import grids, solvers
from vrjax.models.pipeline.denoise import Recipe
from vrjax.models.wan import conditions, defaults

GRIDS = ("shifted", "wan_unipc", "wan_dpmpp", "diffusers_unipc", "diffusers_euler")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The options of a run, resolved.

    Attributes:
        size: (height, width) in pixels.
        frames, fps: of the video.
        steps, shift, solver, grid: of the noise grid and its solver, by name ("few_step": `times`, shifted).
        times: the step list of a distilled model, or None.
        guidance: of each network, the high-noise expert's first.
        negative: the negative prompt; None where no guidance reads it.
        boundary: see `denoise.Recipe`.
    """

    size: tuple[int, int]
    frames: int
    fps: int
    steps: int
    shift: float
    solver: str
    grid: str
    guidance: tuple[float, ...]
    negative: str | None
    boundary: float | None
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
    vae: Any,
    *,
    size: tuple[int, int] | None = None,
    frames: int | None = None,
    fps: int | None = None,
    steps: int | None = None,
    shift: float | int | None = None,
    solver: str | None = None,
    grid: str | None = None,
    guidance: float | int | Sequence[float | int] | None = None,
    negative: str | None = None,
    times: Sequence[float | int] | None = None,
    picture: tuple[int, int] | None = None,
) -> Settings:
    """The settings of a run.

    Args:
        folder, vae: the model's folder and its video codec's `time_factor` and `space_factor`, see `Pipeline`.
        size: (height, width) in pixels, multiples of `multiple`. By default the model's, or, for a picture of another
            aspect, one of the same area.
        frames: 4 n + 1.
        steps, shift, solver, grid: of the noise grid and its solver. A diffusers folder's scheduler gives the defaults
            of the last three; a solver that is not its own runs on the grid that goes with it.
        guidance: one scale, or one per expert, the high-noise one's first.
        times: the step list of a distilled model, within (0, 1000]; `shift` (5 by default) is applied to it. Guidance
            is then 1 and the solver Euler's unless they are given.
        picture: (height, width) of the first frame's picture.
        fps, negative: as in `Settings`.

    Raises:
        ValueError: an option that does not fit the model, or a scheduler that has no counterpart.
    """
    if times is not None and (steps is not None or grid is not None):
        raise ValueError("times: a step list takes neither steps nor grid, which it sets")
    count = len(folder.networks)
    if size is None:
        area: tuple[int, int] = folder.published().size
        size = area if picture is None else conditions.fit(picture, area, multiple(folder, vae))
    found = folder.published(size)
    if times is not None:
        found = dataclasses.replace(found, solver="euler", shift=5.0, guidance=(1.0,) * count)
    elif None in (solver, grid, shift):  # something is left to the folder's scheduler
        found = folder.defaults(size)
    solver = solver or found.solver
    if solver not in solvers.names():
        raise ValueError(f"unknown solver {solver!r}, expected one of {', '.join(solvers.names())}")
    grid = "few_step" if times is not None else grid or defaults.grid_of(solver, found)
    if grid not in (*GRIDS, "few_step"):
        raise ValueError(f"unknown grid {grid!r}, expected one of {', '.join(GRIDS)}")
    scales = _guidance(folder, found.guidance if guidance is None else guidance)
    read = any(scale != 1 for scale in scales)
    out = Settings(
        size=(int(size[0]), int(size[1])),
        frames=found.frames if frames is None else frames,
        fps=found.fps if fps is None else fps,
        steps=len(times) if times is not None else found.steps if steps is None else steps,
        shift=float(found.shift if shift is None else shift),
        solver=solver,
        grid=grid,
        guidance=scales,
        negative=(found.negative if negative is None else negative) if read else None,
        boundary=folder.boundary,
        times=None if times is None else tuple(float(t) for t in times),
    )
    _check(folder, vae, out)
    return out


def multiple(folder: Any, vae: Any) -> tuple[int, int]:
    """Height and width of videos are multiples of these: a token's pixels."""
    _, p, q = folder.cfg.patch
    return vae.space_factor * p, vae.space_factor * q


def _guidance(folder: Any, given: Any) -> tuple[float, ...]:
    count = len(folder.networks)
    scales = (given,) if isinstance(given, (int, float)) else tuple(given)
    scales = scales * count if len(scales) == 1 else scales
    if len(scales) != count or not all(np.isfinite(s) and s >= 0 for s in scales):
        raise ValueError(f"guidance: found {given}, expected {count} finite scales >= 0 for {folder.name}")
    return tuple(float(s) for s in scales)


def _check(folder: Any, vae: Any, out: Settings) -> None:
    time = vae.time_factor
    if out.frames < 1 or (out.frames - 1) % time:
        near = max(out.frames - 1, 0) // time * time + 1
        raise ValueError(f"frames: found {out.frames}, expected {time} n + 1, such as {near} or {near + time}")
    for side, step, what in zip(out.size, multiple(folder, vae), ("height", "width"), strict=True):
        if side < step or side % step:
            near = max(side // step, 1) * step
            raise ValueError(f"size: {what} {side}, expected a multiple of {step} for {folder.name}, such as {near}")
    if out.fps < 1:
        raise ValueError(f"fps: found {out.fps}, expected at least 1")
    _ = out.recipe  # the grid checks steps, shift and times
