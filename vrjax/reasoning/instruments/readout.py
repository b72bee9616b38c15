"""What a clean estimate x0_hat says: which candidates it holds, what is drawn where it should not be, what it keeps.

Device side: pure functions on arrays. Every `x0` may carry leading axes (steps, seeds, sites): (*steps, t, h, w, c)
gives a result per step, so the readouts of a whole trajectory are `f(traj.x0, ...)`. What needs a task's verifier
(which answer is decoded, whether it is right) is counted on the host, in `vrjax.reasoning.instruments.counts`.

Candidates are (K, t, h, w, c). Sets of different sizes are padded: `mask` [K] is False on rows that are not there.
The mask says which candidates exist; it is not the prior, because a distractor (prior 0) is exactly what one looks
for.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vrjax.flow import words
from vrjax.reasoning.instruments.null import entropy

Estimate = Float[Array, "*steps t h w c"]
Video = Float[Array, "t h w c"]
Candidates = Float[Array, "k t h w c"]
Mask = Bool[Array, " k"]
Region = Bool[Array, "t h w"]
PerStep = Float[Array, "*steps"]


def _flat(x0: Array) -> Array:
    return x0.reshape(*x0.shape[:-4], -1)


def squared_distances(x0: Estimate, candidates: Candidates) -> Float[Array, "*steps k"]:
    """|x0 - c_k|^2 summed over all elements, candidate by candidate (no cancellation, one difference in memory)."""
    distances = jax.lax.map(lambda c: jnp.square(x0 - c).sum((-4, -3, -2, -1)), candidates)
    return jnp.moveaxis(distances, 0, -1)


# Which candidates --------------------------------------------------------------------------------------------------


def _to_simplex(w: Float[Array, "*batch k"]) -> Float[Array, "*batch k"]:
    """Euclidean projection onto the probability simplex; entries of -inf stay out (Held et al. 1974)."""
    ordered = -jnp.sort(-w, axis=-1)
    rank = jnp.arange(1, w.shape[-1] + 1)
    finite = jnp.isfinite(ordered)
    sums = jnp.cumsum(jnp.where(finite, ordered, 0.0), -1)
    kept = jnp.sum(finite & (jnp.where(finite, ordered, 0.0) - (sums - 1.0) / rank > 0), -1, keepdims=True)
    threshold = (jnp.take_along_axis(sums, kept - 1, -1) - 1.0) / kept
    return jnp.maximum(jnp.where(jnp.isfinite(w), w, threshold) - threshold, 0.0)


def mixture_weights(
    x0: Estimate, candidates: Candidates, mask: Mask | None = None, *, iterations: int = 300
) -> Float[Array, "*steps k"]:
    """The mixture of candidates nearest to the estimate: argmin over the simplex of |x0_hat - sum_k w_k c_k|^2.

    No noise level has to be assumed. For the null model it returns the posterior itself, whenever no candidate lies
    in the affine span of the others (else the minimiser is not unique and one of them is returned). Copies of a
    candidate, as padding often is, must be masked: they would share its weight. Solved by accelerated projected
    gradient (FISTA) on the K x K Gram matrix, `iterations` fixed.
    """
    k = candidates.shape[0]
    alive = jnp.ones(k, bool) if mask is None else mask
    # On the simplex the origin may be moved anywhere; the mean candidate keeps the Gram matrix small and precise.
    centre = jnp.tensordot(alive / alive.sum(), candidates, 1)
    table = jnp.where(alive[:, None], _flat(candidates - centre), 0.0)
    gram = table @ table.T
    target = _flat(x0 - centre) @ table.T
    # No eigenvalue of a symmetric matrix exceeds its largest absolute row sum. (LAPACK's batched kernels would give
    # the eigenvalue itself, but they can deadlock on two cores: each waits in a pool thread for pool threads.)
    step = 1.0 / jnp.maximum(jnp.abs(gram).sum(-1).max(), jnp.finfo(gram.dtype).tiny)

    def improve(_, carry):
        w, y, t = carry
        new = _to_simplex(jnp.where(alive, y - step * (y @ gram - target), -jnp.inf))
        t_new = 0.5 * (1.0 + jnp.sqrt(1.0 + 4.0 * t * t))
        # Restart the momentum where it points uphill (O'Donoghue and Candes 2015), each problem of the batch by itself.
        uphill = ((y - new) * (new - w)).sum(-1, keepdims=True) > 0
        t_new = jnp.where(uphill, 1.0, t_new)
        y = new + jnp.where(uphill, 0.0, (t - 1.0) / t_new) * (new - w)
        return new, y, t_new

    start = jnp.broadcast_to(alive / alive.sum(), target.shape).astype(target.dtype)
    ones = jnp.ones((*target.shape[:-1], 1), target.dtype)
    return jax.lax.fori_loop(0, iterations, improve, (start, start, ones))[0]


def effective_number(weights: Float[Array, "*steps k"]) -> PerStep:
    """N_eff = exp(entropy): 1 when one candidate holds everything, K when all hold the same."""
    return jnp.exp(entropy(weights))


class Exploration(NamedTuple):
    """Per step: what mixture of candidates an estimate is."""

    weights: Float[Array, "*steps k"]  # nearest mixture, see `mixture_weights`
    effective: PerStep  # exp(entropy(weights)), between 1 and K
    leader: Int[Array, "*steps"]  # index of the single nearest candidate
    superposition: PerStep  # see `explore`
    residual: PerStep  # what no mixture explains, in the same units as superposition

    __repr__ = words.line


def explore(x0: Estimate, candidates: Candidates, mask: Mask | None = None) -> Exploration:
    """Exploration, commitment and superposition of an estimate against a known candidate set.

    With r1 = min_k |x0 - c_k|^2, rh = min over mixtures, and V = mean_k |c_k - mean c|^2 (the spread of the set):
    `superposition = (r1 - rh) / V`. It is 0 when the estimate is a candidate (plus anything no mixture could explain)
    and 1 at the plain mean of equally distant candidates. It is not bounded by 1 for very unequal distances.
    `residual = rh / V` says how much of the estimate lies outside all mixtures: blur, errors, unlisted answers.
    The null model has residual 0 at every step, and superposition without any reasoning: report the excess over it.
    """
    alive = jnp.ones(candidates.shape[0], bool) if mask is None else mask
    weights = mixture_weights(x0, candidates, mask)
    distance = jnp.where(alive, squared_distances(x0, candidates), jnp.inf)
    inside = jnp.square(x0 - jnp.tensordot(weights, candidates, 1)).sum((-4, -3, -2, -1))
    centre = jnp.tensordot(alive / alive.sum(), candidates, 1)
    spread = jnp.where(alive, jnp.square(candidates - centre).sum((-4, -3, -2, -1)), 0.0).sum() / alive.sum()
    return Exploration(
        weights,
        effective_number(weights),
        distance.argmin(-1),
        jnp.maximum(distance.min(-1) - inside, 0.0) / spread,
        inside / spread,
    )


# What is drawn -----------------------------------------------------------------------------------------------------


def ink(x0: Estimate, background: Float[Array, "*_ h w c"], colour: Float[Array, " c"]) -> Float[Array, "*steps t h w"]:
    """How much of `colour` stands on every cell: 0 the background, 1 the full colour, clipped to [0, 1].

    The estimate's difference from the background is projected on the direction from the background to the colour.
    Cells whose background already is that colour hold no ink.
    """
    direction = colour - background
    size = jnp.square(direction).sum(-1)
    amount = ((x0 - background) * direction).sum(-1) / jnp.where(size > 0, size, 1.0)
    return jnp.where(size > 0, jnp.clip(amount, 0.0, 1.0), 0.0)


def off_solution_ink(
    x0: Estimate,
    solution: Video,
    background: Float[Array, "*_ h w c"],
    colour: Float[Array, " c"],
    where: Region | None = None,
) -> Float[Array, "*steps t"]:
    """Ink on cells the solution leaves blank, summed over the cells of each frame, in cells.

    Args:
        where: cells that count (e.g. floor only); all when None.
    """
    blank = ink(solution, background, colour) < 0.5
    counted = blank if where is None else blank & where
    return (ink(x0, background, colour) * counted).sum((-2, -1))


# What is known, and when -------------------------------------------------------------------------------------------


def explained(x0: Estimate, target: Video, baseline: Video, where: Region | None = None) -> PerStep:
    """Share of the way from `baseline` to `target` that an estimate has gone, by squared error, inside `where`.

    1 - |x0 - target|^2 / |baseline - target|^2: 1 exact, 0 no better than the baseline, negative worse. NaN where
    target and baseline agree on the whole region. Half-drawn content gives 0.75.
    """
    region = jnp.ones(target.shape[:3], bool) if where is None else where
    weight = region[..., None]
    error = (jnp.square(x0 - target) * weight).sum((-4, -3, -2, -1))
    return 1.0 - error / (jnp.square(baseline - target) * weight).sum()


class Content(NamedTuple):
    """How much of the still and of the moving content an estimate holds, per step; 1 is all of it."""

    still: PerStep
    moving: PerStep

    __repr__ = words.line


def still_and_moving(x0: Estimate, solution: Video, blank: Float[Array, "h w c"]) -> Content:
    """The two halves of "perception before action".

    Still: cells (frame > 0) on which the solution never leaves its first frame and which differ from `blank` (an empty
    scene, or the mean first frame of the data): `explained` relative to the blank. Moving: cells (frame > 0) that
    differ from the first frame: `explained` relative to the frozen first frame. Each is NaN if there are no such
    cells. Frame 0 is left out: it is given. Steps at which each reaches a threshold: `first_reach`.
    """
    frozen = jnp.broadcast_to(solution[:1], solution.shape)
    empty = jnp.broadcast_to(blank, solution.shape)
    seen = jnp.arange(solution.shape[0])[:, None, None] > 0
    changed = jnp.abs(solution - frozen).max(-1) > 1e-6
    still = seen & ~changed.any(0)
    return Content(explained(x0, frozen, empty, still), explained(x0, solution, frozen, seen & changed))


def first_reach(progress: Float[Array, "s *batch"], threshold: float) -> Int[Array, "*batch"]:
    """First step (axis 0) from which `progress` stays at or above `threshold` to the end; S if it never does.

    NaN counts as below.
    """
    below = ~(progress >= threshold)
    steps = progress.shape[0]
    last_below = steps - 1 - jnp.argmax(below[::-1], 0)
    return jnp.where(below.any(0), last_below + 1, 0)


class Memory(NamedTuple):
    """What an estimate holds of something hidden, per step."""

    coefficient: PerStep  # 0: as if it had never been there; 1: the whole of it
    correlation: PerStep  # Pearson, between the trace and the hidden content, over the elements of the region

    __repr__ = words.line


def memory(x0: Estimate, present: Video, absent: Video, where: Region) -> Memory:
    """The trace of something unseen: regression of `x0 - absent` on `present - absent` over the cells `where`.

    Two uses, with the same definition:
    - *through the occluder*: `where` = frames and cells in which the object is hidden; `absent` = the true video (the
      occluder alone); `present` = the same with the object drawn where it is. A positive trace is a ghost of the
      hidden object.
    - *on return*: `where` = the cells in which the object reappears; `absent` = the video in which it never
      comes back; `present` = the true one. The trace says how early and how fully the return is drawn.

    Both numbers are NaN where present and absent agree on the region; the correlation also where the trace or the
    content is constant over it (one uniform patch): then read the coefficient.
    """
    weight = where[..., None]
    elements = where.sum() * present.shape[-1]
    content = (present - absent) * weight
    trace = (x0 - absent) * weight
    axes = (-4, -3, -2, -1)
    coefficient = (trace * content).sum(axes) / jnp.square(content).sum()
    centred_content = (content - content.sum() / elements) * weight
    centred_trace = (trace - trace.sum(axes, keepdims=True) / elements) * weight
    scale = jnp.sqrt(jnp.square(centred_content).sum() * jnp.square(centred_trace).sum(axes))
    return Memory(coefficient, (centred_trace * centred_content).sum(axes) / scale)
