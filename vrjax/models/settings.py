"""How a run is sampled: a model's published settings with what one asks for put in their place, checked."""

import dataclasses
import math
import operator
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from vrjax import flow
from vrjax.files import named
from vrjax.flow import grids, solvers

GRIDS = ("shifted", "wan_unipc", "wan_dpmpp", "diffusers_unipc", "diffusers_euler")
_GRIDS = {"unipc": "wan_unipc", "dpmpp_2m": "wan_dpmpp"}  # Wan's own solvers have grids of their own
OF_A_RUN = ("image", "last_image", "seeds", "noise", "dits", "record", "edit", "taps", "edits")  # no settings
SCHEDULER = "scheduler/scheduler_config.json"  # in a folder of diffusers' layout


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
    given: tuple[bool, bool] | None = None,
    size: tuple[int, int] | None = None,
    guidance: float | int | Sequence[float | int] | None = None,
    times: Sequence[float | int] | None = None,
    **options: Any,
) -> Settings:
    """The settings of a run.

    Args:
        folder, factors: the model's folder, and frames and pixels (along a side) to a position of its latents.
        picture: (height, width) of the first frame's picture.
        given: whether there are pictures of the first and the last frame, see `check`; None where it is not known yet.
        size: (height, width) in pixels, multiples of a token's. By default the model's, or, for a picture of another
            aspect, one of the same area.
        guidance: one scale, or one per expert, the high-noise one's first; at least 1, which asks the prompt alone.
        times: the step list of a distilled model, within (0, 1000]; `shift` (5 by default) is applied to it. Guidance
            is then 1 and the solver Euler's unless they are given.
        **options: other fields of `Settings`; None leaves one to the model. Frames are 4 n + 1. A diffusers folder's
            scheduler gives solver, grid and shift by default; another solver runs on the grid that goes with it.

    Raises:
        ValueError: an option that does not fit the model, or a scheduler that has no counterpart.
        TypeError: an option that there is none of.
    """
    names = [field.name for field in dataclasses.fields(Settings)]
    for name in options.keys() - set(names):
        raise TypeError(named.unknown("option", name, sorted({*names, *OF_A_RUN})))
    if size is not None and np.shape(size) != (2,):
        raise ValueError(f"size: found {size!r:.80}, expected (height, width) in pixels")
    asked = {name: value for name, value in options.items() if value is not None}
    if times is not None and asked.keys() & {"steps", "grid"}:
        raise ValueError("times: a step list takes neither steps nor grid, which it sets")
    whole = {name: asked[name] for name in ("steps", "frames", "fps") if name in asked}
    for name, pair in (("size", size), ("picture", picture)):
        whole |= {f"{name}: {side}": part for side, part in zip(("height", "width"), pair or (), strict=False)}
    for name, value in whole.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name}: found {value!r:.80}, expected a whole number of at least 1")
    texts = {"shift": asked.get("shift"), "guidance": guidance}
    for name, value in texts.items():
        if isinstance(value, (str, bytes)):
            raise ValueError(f"{name}: found {value!r:.80}, expected a number")
    if not isinstance(asked.get("negative", ""), str):
        raise ValueError(f"negative: found {asked['negative']!r:.80}, expected text")
    if isinstance(times, (str, bytes)):
        raise ValueError(f"times: found {times!r:.80}, expected a list of numbers")
    count, token = len(folder.networks), tuple(factors[1] * side for side in folder.cfg.patch[1:])
    if size is None and picture is not None:
        size = fit(picture, folder.published.size, token)
    # A scheduler that has no counterpart here only matters where something is left to it.
    found = defaults(folder, size, scheduled=times is None and not asked.keys() >= {"solver", "grid", "shift"})
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
    scale = found.guidance if guidance is None else guidance
    scales = (scale,) if isinstance(scale, (int, float)) else tuple(scale)
    scales = tuple(float(s) for s in (scales * count if len(scales) == 1 else scales))
    if len(scales) != count or not all(np.isfinite(s) and s >= 1 for s in scales):
        below = "; below 1 the video is drawn to the negative prompt" if min(scales, default=1) < 1 else ""
        raise ValueError(
            f"guidance: found {scale}, expected {count} finite scales >= 1 for {folder.name} (1: none{below})"
        )
    height, width = found.size
    asked |= {"size": (int(height), int(width)), "guidance": scales, "shift": float(asked.get("shift", found.shift))}
    if set(scales) == {1.0}:
        if asked.get("negative"):
            raise ValueError(
                f"negative: guidance {scales[0]:g} reads no negative prompt; leave it out, or raise guidance"
            )
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
    if given is not None:
        check(folder, *given, out.frames)
    _ = out.recipe  # the grid checks steps, shift and times
    return out


def seeds(given: Any) -> tuple[int, ...]:
    """Seeds of the starting noise: a number of them is 0, 1, ... up to it, as in `--seeds 4`; a sequence is itself.

    Raises:
        ValueError: none, or one that a key of 32 bits cannot tell from others.
    """
    try:
        found = tuple(range(operator.index(given))) if np.ndim(given) == 0 else tuple(map(operator.index, given))  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"seeds: found {given!r:.80}, expected how many, or whole numbers such as (0, 3)") from None
    if not found:
        raise ValueError(f"seeds: found {given!r:.80}, expected at least one")
    if far := [seed for seed in found if not 0 <= seed < 2**32]:
        raise ValueError(f"seeds: found {far[0]}, expected whole numbers from 0 to 2**32 - 1")
    return found


def check(folder: Any, image: bool, last: bool, frames: int) -> None:
    """ValueError where the pictures given, a first and a last one, are not those the model takes (`folder.takes`)."""
    first, end = folder.takes
    if first == "no" and (image or last):
        raise ValueError(f"{folder.name} takes no picture: it makes videos from text alone")
    if first == "must" and not image:
        raise ValueError(f"{folder.name} needs a picture to start from (image)")
    if end == "must" and not last:
        raise ValueError(f"{folder.name} needs a picture to end on as well (last_image)")
    if end == "no" and last:
        raise ValueError(f"{folder.name} takes no last picture: Wan2.1-FLF2V and Wan2.2-I2V do")
    if last and frames < 2:
        raise ValueError(f"a first and a last picture need at least 2 frames, found {frames}")


def defaults(folder: Any, size: tuple[int, int] | None = None, *, scheduled: bool = True) -> Settings:
    """How a model is sampled unless one asks for something else.

    Args:
        folder: the model's.
        size: (height, width), on which a shift may depend. None: the model's.
        scheduled: with the solver, grid and shift of a diffusers folder's scheduler; else as published.

    Raises:
        ValueError: a scheduler that has no counterpart here.
    """
    found = folder.published
    h, w = found.size if size is None else size
    if folder.larger is not None and h * w > math.prod(found.size):
        found = dataclasses.replace(found, shift=folder.larger)
    found = dataclasses.replace(found, size=(h, w))
    if folder.scheduler is None or not scheduled:
        return found
    return dataclasses.replace(found, **_schedule(folder.scheduler, folder.root / SCHEDULER))


UNIPC = {
    "prediction_type": "flow_prediction",
    "use_flow_sigmas": True,
    "solver_order": 2,
    "solver_type": "bh2",
    "predict_x0": True,
    "lower_order_final": True,
    "final_sigmas_type": "zero",
}
"""What diffusers' `UniPCMultistepScheduler` must say for the grid `diffusers_unipc` to stand for it."""


def _schedule(scheduler: dict[str, Any], where: pathlib.Path) -> dict[str, Any]:
    """Solver, grid and shift that a diffusers folder's scheduler names, as its pipelines take them.

    Raises:
        ValueError: a scheduler that no grid here stands for; names it and the file.
    """
    name = scheduler.get("_class_name")
    plain = {"use_dynamic_shifting": False, "num_train_timesteps": 1000, "shift_terminal": None}
    plain |= dict.fromkeys(("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"), False)
    if name == "UniPCMultistepScheduler":
        expected = {**UNIPC, "disable_corrector": [], "thresholding": False, **plain}
        choice = {"solver": "unipc", "grid": "diffusers_unipc"}
        shift = scheduler.get("flow_shift", 1.0)
    elif name == "FlowMatchEulerDiscreteScheduler":
        expected = {"stochastic_sampling": False, "invert_sigmas": False, **plain}
        choice = {"solver": "euler", "grid": "diffusers_euler"}
        shift = scheduler.get("shift", 1.0)
    else:
        raise ValueError(
            f"{where}: scheduler {name!r} has no counterpart here, expected UniPCMultistepScheduler or "
            "FlowMatchEulerDiscreteScheduler; choose a solver yourself (solver=, shift=)"
        )
    other = {key: scheduler[key] for key, value in expected.items() if scheduler.get(key, value) != value}
    if other:
        key, value = next(iter(other.items()))
        raise ValueError(f"{where}: {key} is {value!r}, expected {expected[key]!r}; choose a solver yourself (solver=)")
    if isinstance(shift, bool) or not isinstance(shift, (int, float)) or not shift > 0:
        raise ValueError(f"{where}: the shift is {shift!r}, expected a positive number")
    return {"shift": float(shift), **choice}


def fit(picture: tuple[int, int], area: tuple[int, int], multiple: tuple[int, ...]) -> tuple[int, int]:
    """(height, width) of a picture's aspect and about the pixels of `area`, in multiples of the network's patches."""
    h, w = picture
    pixels = area[0] * area[1]
    sides = math.sqrt(pixels * h / w), math.sqrt(pixels * w / h)
    height, width = (max(int(side) // m, 1) * m for side, m in zip(sides, multiple, strict=True))
    return height, width
