"""What each public Wan model is sampled with, as its authors publish it, and the step lists of few-step models.

Numbers are those of Wan's own `generate.py`, `wan/configs` and README (for the 1.3 B model, whose README asks for
more shift and guidance than the script's default).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from vrjax.flow import grids

NEGATIVE = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，"
    "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，"
    "杂乱的背景，三条腿，背景人很多，倒着走"
)
_SHAKE, _CUT = (
    "镜头晃动，",
    "镜头切换，",
)  # "the camera shakes", "the shot cuts": put first for single-expert image models

KINDS = ("t2v", "i2v", "flf2v", "ti2v")


@dataclasses.dataclass(frozen=True)
class Defaults:
    """How a model is sampled unless one asks for something else.

    Attributes:
        steps, shift: of the noise grid.
        guidance: scale of each network, the high-noise expert's first.
        size: (height, width) in pixels; its area counts where the picture given has another aspect.
        frames, fps: of the video.
        negative: the negative prompt.
        solver, grid: names, see `vrjax.flow.solvers` and `vrjax.flow.grids`.
    """

    steps: int = 50
    shift: float = 5.0
    guidance: tuple[float, ...] = (5.0,)
    size: tuple[int, int] = (720, 1280)
    frames: int = 81
    fps: int = 16
    negative: str = NEGATIVE
    solver: str = "unipc"
    grid: str = "wan_unipc"


_SMALL = (480, 832)
_TABLE = {  # kind, experts
    ("t2v", 1): Defaults(),
    ("i2v", 1): Defaults(steps=40, size=_SMALL, negative=_SHAKE + NEGATIVE),
    ("flf2v", 1): Defaults(shift=16.0, negative=_CUT + _SHAKE + NEGATIVE),
    ("ti2v", 1): Defaults(frames=121, fps=24, size=(704, 1280)),
    ("t2v", 2): Defaults(steps=40, shift=12.0, guidance=(4.0, 3.0)),
    ("i2v", 2): Defaults(steps=40, shift=5.0, guidance=(3.5, 3.5)),
}
BOUNDARIES = {"t2v": 0.875, "i2v": 0.9}  # of Wan 2.2's pairs, in units of time / 1000


def of(kind: str, experts: int, *, small: bool = False, size: tuple[int, int] | None = None) -> Defaults:
    """The published defaults of a kind of model.

    Args:
        kind: one of `KINDS`.
        experts: 1, or 2 for Wan 2.2's pairs.
        small: whether it is the 1.3 B model.
        size: (height, width) that will be sampled, on which the shift of Wan 2.1's image-to-video model depends.

    Raises:
        ValueError: there is no such model.
    """
    if (kind, experts) not in _TABLE:
        raise ValueError(f"no defaults for {experts} {kind!r} networks, expected one of {sorted(_TABLE)}")
    found = _TABLE[kind, experts]
    if (kind, experts) == ("t2v", 1) and small:
        found = dataclasses.replace(found, shift=8.0, guidance=(6.0,), size=_SMALL)
    if (kind, experts) == ("i2v", 1):
        h, w = size or found.size
        if h * w <= _SMALL[0] * _SMALL[1]:
            found = dataclasses.replace(found, shift=3.0)
    return found


def with_scheduler(found: Defaults, scheduler: Mapping[str, Any] | None, where: Any) -> Defaults:
    """Defaults with the solver, grid and shift that a diffusers folder's scheduler names, as its pipelines do.

    Raises:
        ValueError: a scheduler that no grid here stands for; names it and the file.
    """
    if scheduler is None:
        return found
    name = scheduler.get("_class_name")
    plain = {"use_dynamic_shifting": False, "num_train_timesteps": 1000, "shift_terminal": None}
    plain |= dict.fromkeys(("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"), False)
    if name == "UniPCMultistepScheduler":
        expected = {
            "prediction_type": "flow_prediction",
            "use_flow_sigmas": True,
            "solver_order": 2,
            "solver_type": "bh2",
            "predict_x0": True,
            "lower_order_final": True,
            "disable_corrector": [],
            "final_sigmas_type": "zero",
            "thresholding": False,
            **plain,
        }
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
    return dataclasses.replace(found, shift=float(shift), **choice)


class FewStep(NamedTuple):
    """How a distilled model is sampled: its list of times, the shift applied to it, its solver; no guidance."""

    times: tuple[int, ...]
    shift: float
    solver: str


# Distilled models that see the whole clip at once, as Wan does. Self-Forcing, CausVid and their kin are not among
# them: they were trained to make a clip block by block from a cache of finished blocks, and run so only.
PRESETS = {"lightx2v": FewStep(grids.LIGHTX2V, 5.0, "euler")}

_GRIDS = {"unipc": "wan_unipc", "dpmpp_2m": "wan_dpmpp"}  # Wan's own solvers have grids of their own


def grid_of(solver: str, found: Defaults) -> str:
    """The grid that goes with a solver: the model's own for its own solver, Wan's for Wan's, else the plain one."""
    return found.grid if solver == found.solver else _GRIDS.get(solver, "shifted")
