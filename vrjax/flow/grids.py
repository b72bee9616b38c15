"""Noise grids by name. They differ between real pipelines and must not be confused.

A grid carries the sigmas a solver steps with and the times the network is shown. `s(sigma) = shift sigma / (1 + (shift - 1)
sigma)` is the resolution shift of Stable Diffusion 3 that every video pipeline uses.
"""

import numpy as np

from vrjax.flow.core import Grid


def _checked(steps: int, shift: float) -> None:
    if int(steps) != steps or steps < 1:
        raise ValueError(f"grid: steps must be a whole number of at least 1, found {steps}")
    if not (np.isfinite(shift) and shift > 0):
        raise ValueError(f"grid: shift must be positive and finite, found {shift}")


def shift_sigmas(sigmas, shift: float) -> np.ndarray:
    """`shift sigma / (1 + (shift - 1) sigma)`: keeps 0 and 1, and for shift > 1 spends more steps near noise."""
    sigmas = np.asarray(sigmas, np.float64)
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def shifted(steps: int, shift: float = 1.0) -> Grid:
    """The plain grid: `linspace(1, 0, steps + 1)`, shifted; times are exactly `1000 sigma`."""
    _checked(steps, shift)
    return Grid(shift_sigmas(np.linspace(1.0, 0.0, int(steps) + 1), shift))
