"""Linear CKA and how far a disturbance of the state travels: the propagation map [inject step, later step].

Linear centred kernel alignment (Kornblith et al. 2019) of X (n, p) and Y (n, q), columns centred:

    CKA = |Y^T X|_F^2 / (|X^T X|_F |Y^T Y|_F)   in [0, 1]

It is 1 for X = Y and unchanged by rotating or uniformly scaling the columns. `1 - CKA` is the dissimilarity: 0
untouched, 1 nothing linear in common. What rows and columns the Chain-of-Steps paper used is not published, so `rows`
is an option and a relative L2 distance stands beside every CKA: CKA is blind to a change of scale, L2 is not.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vrjax.flow import words


class Moments(NamedTuple):
    """Sufficient statistics of a set of rows: what CKA needs, at a size that does not grow with the rows."""

    count: Float[Array, ""]
    mean_x: Float[Array, " p"]
    mean_y: Float[Array, " q"]
    xx: Float[Array, "p p"]  # centred: sum over rows of (x - mean)(x - mean)^T
    yy: Float[Array, "q q"]
    xy: Float[Array, "p q"]

    __repr__ = words.line


def moments(x: Float[Array, "n p"], y: Float[Array, "n q"]) -> Moments:
    """The centred moments of a set of rows."""
    mean_x, mean_y = x.mean(0), y.mean(0)
    x, y = x - mean_x, y - mean_y
    return Moments(jnp.asarray(x.shape[0], x.dtype), mean_x, mean_y, x.T @ x, y.T @ y, x.T @ y)


def from_moments(m: Moments) -> Float[Array, ""]:
    """Linear CKA from moments. NaN if either side has no variance: the quantity is undefined there."""
    # Norms first, then the quotient: squares of squares would leave float32 for large activations.
    nx, ny = jnp.linalg.norm(m.xx), jnp.linalg.norm(m.yy)
    return jnp.square(jnp.linalg.norm(m.xy) / jnp.sqrt(nx) / jnp.sqrt(ny))


def linear_cka(x: Float[Array, "n p"], y: Float[Array, "m q"]) -> Float[Array, ""]:
    """Linear CKA of two tables with the same rows, columns centred.

    Works through the smaller Gram matrices: (p, q) when columns are few, (n, n) when they are many.

    Returns:
        A number in [0, 1] up to rounding; NaN where either table has no variance.

    Raises:
        ValueError: the numbers of rows differ, or there are fewer than two.
    """
    if x.shape[0] != y.shape[0] or x.shape[0] < 2:
        raise ValueError(f"CKA compares two or more equal rows, found {x.shape} and {y.shape}")
    if max(x.shape[1], y.shape[1]) <= x.shape[0]:
        return from_moments(moments(x, y))
    x, y = x - x.mean(0), y - y.mean(0)
    kx, ky = x @ x.T, y @ y.T
    kx, ky = kx / jnp.linalg.norm(kx), ky / jnp.linalg.norm(ky)
    return jnp.vdot(kx, ky)


def as_table(
    video: Float[Array, "*batch t h w c"], rows: str = "tokens", patch: tuple[int, int, int] = (1, 1, 1)
) -> Float[Array, "*batch n p"]:
    """A video as the table that CKA compares.

    Args:
        rows: "tokens": one row per (t, h, w) patch, columns are its channels; "positions": one row per (h, w) patch,
            columns are frames and channels; "frames": one row per frame patch, columns are everything in it.
        patch: frames, rows and columns of one patch, whose contents join the channels.

    Raises:
        ValueError: unknown `rows`, or a patch that does not divide the video.
    """
    *batch, t, h, w, c = video.shape
    pt, ph, pw = patch
    if t % pt or h % ph or w % pw:
        raise ValueError(f"patch {patch} does not divide a video of {t} x {h} x {w}")
    n = len(batch)
    split = video.reshape(*batch, t // pt, pt, h // ph, ph, w // pw, pw, c)
    # Axes after the batch: 0 t, 1 pt, 2 h, 3 ph, 4 w, 5 pw, 6 c. Rows come first, everything else is a column.
    kept = {"tokens": (0, 2, 4), "positions": (2, 4), "frames": (0,)}
    if rows not in kept:
        raise ValueError(f"rows must be one of {sorted(kept)}, found {rows!r}")
    first = kept[rows]
    order = first + tuple(a for a in range(7) if a not in first)
    count = 1
    for axis in first:
        count *= split.shape[n + axis]
    return split.transpose(*range(n), *(n + a for a in order)).reshape(*batch, count, -1)


def relative_l2(x: Float[Array, "..."], reference: Float[Array, "..."]) -> Float[Array, ""]:
    """|x - reference| / |reference| over all elements."""
    return jnp.linalg.norm((x - reference).ravel()) / jnp.linalg.norm(reference.ravel())


class Divergence(NamedTuple):
    """How far states have left the clean run, one number per state (leading axes: injection sites)."""

    cka: Float[Array, "*sites steps"]  # 1 - CKA: 0 untouched, 1 destroyed; NaN where a state has no variance
    l2: Float[Array, "*sites steps"]  # relative L2 distance

    __repr__ = words.line


def divergence(
    states: Float[Array, "s t h w c"],
    clean: Float[Array, "s t h w c"],
    rows: str = "tokens",
    patch: tuple[int, int, int] = (1, 1, 1),
) -> Divergence:
    """One row of the propagation map: a disturbed run beside the clean one, state by state.

    Give it `traj.x` (the states) or `traj.x0` (the clean estimates) of both. Called on the run inside a sweep,
    only two numbers per state leave the compiled program, never the states: see `perturb.sweep`.
    """

    # The two extra passes per state are small beside the network's; a scan keeps one state's table in memory at a time.
    def one(pair):
        a, b = pair
        return Divergence(1.0 - linear_cka(as_table(a, rows, patch), as_table(b, rows, patch)), relative_l2(a, b))

    return jax.lax.map(one, (states, clean))


def sensitivity(dissimilarity: Float[Array, "sites s"], inject: Int[Array, " sites"]) -> Float[Array, " sites"]:
    """Per injection step, the mean dissimilarity over the states strictly after it (the paper's curve over steps).

    The injected state itself is left out: it differs by construction. NaN where nothing comes after.
    """
    later = jnp.arange(dissimilarity.shape[1])[None] > inject[:, None]
    return jnp.where(later, dissimilarity, 0.0).sum(1) / later.sum(1)
