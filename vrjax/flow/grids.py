"""Noise grids by name. They differ between real pipelines and must not be confused.

A grid carries the sigmas a solver steps with and the times the network is shown. `s(sigma) = shift sigma / (1 +
(shift - 1) sigma)` is the resolution shift of Stable Diffusion 3 that every video pipeline uses.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """The noise levels a run steps through and the times it shows the network.

    The two are separate because published pipelines step with exact sigmas and show the network truncated times.

    Attributes:
        sigmas: `[S + 1]` float64, strictly falling, within [0, 1].
        times: `[S]` float64, one per step; `1000 * sigmas[:-1]` where not given.

    Raises:
        ValueError: for wrong shapes, values outside [0, 1], non-finite values, or sigmas that do not fall strictly.
    """

    sigmas: np.ndarray
    times: np.ndarray = None  # type: ignore[assignment]

    def __post_init__(self):
        sigmas = np.array(self.sigmas, np.float64)
        if sigmas.ndim != 1 or sigmas.size < 2:
            raise ValueError(f"Grid: sigmas must be one row of at least 2 levels, found shape {sigmas.shape}")
        if not np.all(np.isfinite(sigmas)) or sigmas.max() > 1 or sigmas.min() < 0:
            raise ValueError(f"Grid: sigmas must be finite and within [0, 1], found {sigmas}")
        if not np.all(np.diff(sigmas) < 0):
            at = int(np.argmax(np.diff(sigmas) >= 0))
            raise ValueError(
                f"Grid: sigmas must fall strictly, found {sigmas[at]} at {at} followed by {sigmas[at + 1]}"
            )
        times = 1000.0 * sigmas[:-1] if self.times is None else np.array(self.times, np.float64)
        if times.shape != (sigmas.size - 1,):
            raise ValueError(f"Grid: expected {sigmas.size - 1} times, one per step, found shape {times.shape}")
        if not np.all(np.isfinite(times)):
            raise ValueError(f"Grid: times must be finite, found {times}")
        for name, value in (("sigmas", sigmas), ("times", times)):
            value.setflags(write=False)  # a grid is hashed by its content
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        ends = lambda row: f"{row[0]:.4g} to {row[-1]:.4g}"
        return f"Grid({self.steps} steps: sigma {ends(self.sigmas)}, time {ends(self.times)})"

    @property
    def steps(self) -> int:
        return len(self.times)

    def _key(self):
        return self.sigmas.tobytes(), self.times.tobytes()

    def __eq__(self, other):
        return isinstance(other, Grid) and self._key() == other._key()

    def __hash__(self):
        return hash(self._key())


def _checked(steps: int, shift: float) -> None:
    if int(steps) != steps or steps < 1:
        raise ValueError(f"grid: steps must be a whole number of at least 1, found {steps}")
    if not (np.isfinite(shift) and shift > 0):
        raise ValueError(f"grid: shift must be positive and finite, found {shift}")


def shift_sigmas(sigmas, shift: float) -> np.ndarray:
    """`shift sigma / (1 + (shift - 1) sigma)`: keeps 0 and 1, and for shift > 1 spends more steps near noise."""
    sigmas = np.asarray(sigmas, np.float64)
    return np.asarray(shift * sigmas / (1 + (shift - 1) * sigmas))


def shifted(steps: int, shift: float = 1.0) -> Grid:
    """The plain grid: `linspace(1, 0, steps + 1)`, shifted; times are exactly `1000 sigma`."""
    _checked(steps, shift)
    return Grid(shift_sigmas(np.linspace(1.0, 0.0, int(steps) + 1), shift))


def wan_unipc(steps: int, shift: float = 5.0) -> Grid:
    """The grid of Wan's own UniPC: `linspace(0.999, 0, steps + 1)` shifted, the network shown truncated whole times.

    The largest sigma is the training schedule's 0.999, rounded to float32 as the original holds it.
    """
    _checked(steps, shift)
    sigmas = shift_sigmas(np.linspace(np.float32(0.999).astype(np.float64), 0.0, int(steps) + 1), shift)
    return _truncated(sigmas)


def wan_dpmpp(steps: int, shift: float = 5.0) -> Grid:
    """The grid of Wan's own DPM-Solver++: `linspace(1, 0, steps + 1)` shifted, the network shown truncated whole
    times.
    """
    _checked(steps, shift)
    return _truncated(shift_sigmas(np.linspace(1.0, 0.0, int(steps) + 1), shift))


def diffusers_unipc(steps: int, shift: float = 5.0) -> Grid:
    """The grid of diffusers' `UniPCMultistepScheduler(use_flow_sigmas=True, flow_shift=shift)`.

    `linspace(1, 1/1000, steps + 1)` without its last, shifted, the first lowered by 1e-6, and 0 at the end; the
    network is shown truncated whole times.
    """
    _checked(steps, shift)
    sigmas = shift_sigmas(np.linspace(1.0, 1 / 1000, int(steps) + 1)[:-1], shift)
    sigmas[0] -= 1e-6
    return _truncated(np.append(sigmas, 0.0))


def diffusers_euler(steps: int, shift: float = 5.0) -> Grid:
    """The grid of diffusers' `FlowMatchEulerDiscreteScheduler(shift=shift)`, whose times are not rounded.

    `linspace(1, s(1/1000), steps)` shifted, and 0 at the end. The lowest level is shifted twice, since the scheduler
    takes its range from a schedule that is shifted already; that is how the pipelines run.
    """
    _checked(steps, shift)
    lowest = float(np.float32(shift_sigmas(np.float32(1 / 1000), shift)))
    sigmas = shift_sigmas(np.linspace(1.0, lowest, int(steps)), shift)
    return Grid(np.append(sigmas, 0.0), 1000.0 * sigmas)


def vimogen(steps: int, shift: float = 5.0, *, sigma_start: float = 1.0, bf16_times: bool = False) -> Grid:
    """The grid of ViMoGen's Euler sampler: `linspace(sigma_start, 0, steps + 1)` shifted.

    Both flags are mistakes of the public code that a comparison with its samples needs.

    Args:
        steps, shift: see `shifted`, which this is without the flags.
        sigma_start: before the shift. The public sampler passes 0.7, so that its first sigma is 0.921, and yet starts
            from pure noise.
        bf16_times: the network is shown times rounded to bfloat16 (921.05 as 920), as FSDP casts what a model is given.

    Raises:
        ValueError: a start outside of (0, 1].
    """
    _checked(steps, shift)
    if not 0 < sigma_start <= 1:
        raise ValueError(f"grid: sigma_start must lie above 0 and be at most 1, found {sigma_start}")
    sigmas = shift_sigmas(np.linspace(sigma_start, 0.0, int(steps) + 1), shift)
    times = 1000.0 * sigmas[:-1]
    return Grid(sigmas, times.astype(jnp.bfloat16).astype(np.float64) if bf16_times else times)


LIGHTX2V = (1000, 750, 500, 250)
CAUSVID = (999, 934, 862, 756, 603, 410, 250, 140, 74)
SELF_FORCING = (1000, 750, 500, 250)


def few_step(times, shift: float | None = None) -> Grid:
    """The grid of a distilled model: sigmas are `times / 1000`, shifted if a shift is given, and 0 at the end.

    Published lists: `few_step(LIGHTX2V, shift=5)`; `few_step(CAUSVID)`, whose times are shifted already (by 8);
    `few_step(SELF_FORCING, shift=5)`, which its authors call warping. Shown times are 1000 times the sigmas stepped
    with.

    Args:
        times: falling, within (0, 1000].
        shift: applied to `times / 1000`; None to take the times as they are.
    """
    sigmas = np.asarray(times, np.float64) / 1000.0
    if sigmas.ndim != 1 or not sigmas.size:
        raise ValueError(f"few_step: times must be a list of at least one time, found {times!r}")
    if shift is not None:
        _checked(len(sigmas), shift)
        sigmas = shift_sigmas(sigmas, shift)
    return Grid(np.append(sigmas, 0.0))


def self_forcing(times=SELF_FORCING, shift: float | int = 5.0, *, warp: bool = True) -> Grid:
    """The grid of CausVid, Self-Forcing, Causal-Forcing and what follows them, for the solver `renoise`.

    Args:
        times: falling whole numbers within (0, 1000]; a 0 at the end, which configs may have, is left out.
        shift: of the table of 1000 levels that the models were trained on.
        warp: a number k stands for the k-th level from below of that table: as `few_step` with a shift. False: the
            network is shown the numbers themselves (CausVid: 1000, 757, 522 with shift 8), and each stands for the
            nearest level of the table.

    Raises:
        ValueError: times that are no such list.
    """
    given = np.asarray(times, np.float64)
    if given.ndim == 1 and given.size > 1 and given[-1] == 0:
        given = given[:-1]
    if given.ndim != 1 or not given.size or (given % 1).any() or given.min() < 1 or given.max() > 1000:
        raise ValueError(f"self_forcing: times must be whole numbers within 1 to 1000, found {times!r}")
    if warp:
        return few_step(given, float(shift))
    _checked(len(given), float(shift))
    table = shift_sigmas(1 - np.arange(1000) / 1000.0, float(shift))
    nearest = np.argmin(np.abs(1000.0 * table[:, None] - given), axis=0)
    return Grid(np.append(table[nearest], 0.0), given)


def _truncated(sigmas: np.ndarray) -> Grid:
    """A grid whose network times are cut to whole numbers, as tensors of integers in the pipelines do."""
    return Grid(sigmas, np.trunc(1000.0 * sigmas[:-1]))
