"""Where a run is disturbed: boolean tables over (step, frame) cells.

Noise at a step, at a frame and at random cells are the same operation on different tables, so they are one compiled
program (`perturb.sweep` over a stack of tables) and their dose, the number of replaced cells, can be made equal. It
has to be: a frame at all S steps is S cells, all F frames at one step are F cells. What also has to be controlled:

- *level*: noise late in sampling is plain damage. Compare conditions that use the same steps, or the mean over them.
- *the scored frame*: a frame replaced at the last steps is wrong by construction. Exclude it, or score the other
  frames.

Functions take traced indices and keys unless said otherwise, so they may be built inside the mapped function.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

Cells = Bool[Array, "steps frames"]
StaticCells = Bool[np.ndarray, "steps frames"]


def allowed(
    steps: int, frames: int, *, first: int = 0, stop: int | None = None, exclude_frames: tuple[int, ...] = ()
) -> StaticCells:
    """The window in which cells may be disturbed: steps first ... stop - 1, all frames but `exclude_frames`.

    Raises:
        ValueError: the window is outside the run, or empty.
    """
    stop = steps if stop is None else stop
    if not 0 <= first < stop <= steps:
        raise ValueError(f"need 0 <= first < stop <= {steps} steps, found first={first}, stop={stop}")
    bad = [f for f in exclude_frames if not -frames <= f < frames]
    if bad:
        raise ValueError(f"exclude_frames {bad} are not among {frames} frames")
    table = np.zeros((steps, frames), bool)
    table[first:stop] = True
    table[:, list(exclude_frames)] = False
    if not table.any():
        raise ValueError(f"exclude_frames {exclude_frames} leaves none of {frames} frames")
    return table


def at_step(step: Int[Array, ""] | int, window: StaticCells) -> Cells:
    """Every allowed frame at one step. Cells: the number of allowed frames."""
    return (jnp.arange(window.shape[0]) == step)[:, None] & jnp.asarray(window)


def at_frame(frame: Int[Array, ""] | int, window: StaticCells, at: tuple[int, ...] | None = None) -> Cells:
    """One frame at every allowed step, or at the allowed ones among `at` (static). Cells: the number of those steps."""
    rows = np.ones(window.shape[0], bool) if at is None else np.isin(np.arange(window.shape[0]), at)
    return (jnp.arange(window.shape[1]) == frame)[None] & jnp.asarray(window & rows[:, None])


def spread_steps(count: int, window: StaticCells) -> tuple[int, ...]:
    """`count` steps spread evenly over the window: the `at` that gives a frame the dose of a step (count = frames).

    Raises:
        ValueError: the window has fewer than `count` steps.
    """
    rows = np.flatnonzero(window.any(1))
    if not 0 < count <= len(rows):
        raise ValueError(f"cannot spread {count} cells over {len(rows)} allowed steps")
    return tuple(int(rows[i]) for i in np.floor((np.arange(count) + 0.5) * len(rows) / count).astype(int))


def shuffle_frames(key: Array, cells: Cells, window: StaticCells) -> Cells:
    """The same number of cells at every step, on frames redrawn among the allowed ones.

    The control for "noise at frame": same dose and same noise levels, only the concentration on one frame is gone.
    Every step of `cells` must have no more cells than the window has allowed frames there; else the surplus is lost.
    """
    allowed_cells = jnp.asarray(window)
    score = jnp.where(allowed_cells, jax.random.uniform(key, cells.shape), 2.0)
    rank = jnp.argsort(jnp.argsort(score, 1), 1)
    return (rank < cells.sum(1, keepdims=True)) & allowed_cells
