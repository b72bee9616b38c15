"""Where in a run was its answer decided? One number per denoising step, block and token, from one backward pass.

A *site* is what one block adds to one token at one step. It is ablated by a **dose**: at dose 1 the three increments
of the block (`layers.INCREMENTS`) at that token become their mean over all tokens, so that what is special to the token
is gone and what every token gets stays; at dose 0 nothing happens. One more row stands behind the blocks: the clean
estimate itself, which at dose 1 says at that token what the still scene says. It is there for every velocity, so that
the null model, which has no blocks, can be looked at in the same way.

All sites of a run have their dose in one array [steps, rows, tokens]. Then

    effect of a site       margin(its dose 1, all others 0) - margin(no dose)      a run from that step on, per site
    attribution of a site  d margin / d dose at no dose                            all sites, one backward pass

and the attribution is the first-order estimate of the effect: exact where the margin is linear in what was changed, 0
where nothing depends on the site. The backward pass goes through every step of the sampler; each step is recomputed in
it (`jax.checkpoint`), so that memory holds one step and the states between steps. A size of activations is a rival that
costs nothing (`sizes`), and it is no importance.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange, repeat
from jaxtyping import Array, Bool, Float, Int

from vrjax.flow import Grid, Level, Prediction, Record, Solver, Trajectory, Velocity, sample, words
from vrjax.models.wan import indexed
from vrjax.reasoning.instruments import layers, perturb

Dose = Float[Array, "steps rows tokens"]
Video = Float[Array, "t h w c"]
Model = Callable[..., Velocity]
Patch = tuple[int, int, int]

TEMPERATURE = 0.25  # of `margin`


# --------------------------------------------------------------------------------------------------------- what is read


def margin(
    x: Float[Array, "*any t h w c"],
    films: Float[Array, "k t h w c"],
    answer: Int[Array, ""] | int,
    rivals: Bool[Array, " k"],
    temperature: float = TEMPERATURE,
) -> Float[Array, "*any"]:
    """How far an estimate is on the side of one film, against the nearest of its rivals; smooth in x.

    Against one rival it is (|x - rival|^2 - |x - answer|^2) / |rival - answer|^2: 1 at the answer, -1 at the rival, 0
    half way between, linear in x. Over the rivals the soft minimum of these is taken, -T log mean exp(-m / T).

    Args:
        x: estimate, such as the final state.
        films: of the answer and of all rivals.
        answer: which film is the answer.
        rivals: which films are rivals; the answer is none, whatever is said here.
        temperature: T, in units of m. Rivals much nearer than T to the nearest one share the gradient with it.
    """
    truth = films[answer]
    apart = films - truth
    gap = jnp.square(apart).sum((-4, -3, -2, -1))
    there = rivals & (gap > 0)
    # (2 x - rival - answer) . (answer - rival), without the cancellation of two large distances
    middle = (films + truth) / 2
    side = -2 * jax.vmap(lambda m, d: ((x - m) * d).sum((-4, -3, -2, -1)), out_axes=-1)(middle, apart)
    each = side / jnp.where(there, gap, 1.0)
    soft = jax.nn.logsumexp(-each / temperature, axis=-1, where=there)
    return -temperature * (soft - jnp.log(there.sum()))


def choose(x: Video, films: Float[Array, "k t h w c"], mask: Bool[Array, " k"]) -> Int[Array, ""]:
    """The film that is nearest to an estimate (forced choice among those that are there)."""
    return jnp.where(mask, jax.vmap(lambda film: jnp.square(x - film).sum())(films), jnp.inf).argmin()


# ---------------------------------------------------------------------------------------------------------------- doses


def tokens(x: Float[Array, "t h w c"], patch: Patch) -> Float[Array, "tokens width"]:
    """A state as its tokens see it, in (t, h, w) order."""
    p, q, r = patch
    return rearrange(x, "(t p) (h q) (w r) c -> (t h w) (p q r c)", p=p, q=q, r=r)


def _over_tokens(row: Float[Array, " tokens"], like: Video, patch: Patch) -> Float[Array, "t h w 1"]:
    """A number per token, at every position of the state that the token covers."""
    (p, q, r), (t, h, w) = patch, like.shape[:3]
    shape: dict[str, int] = {"t": t // p, "h": h // q, "w": w // r}
    return repeat(row, "(t h w) -> (t p) (h q) (w r) 1", p=p, q=q, r=r, **shape)


def step_at(grid: Grid, level: Level) -> Int[Array, ""]:
    """The step of the grid that starts at this level."""
    return jnp.argmin(jnp.abs(jnp.asarray(grid.sigmas[:-1], jnp.float32) - level.sigma))


def fade(row: Float[Array, "blocks tokens"]) -> layers.Edits:
    """Edits that bring a block's increments at a token to their mean over tokens, by the dose of that site."""
    edit = indexed(lambda h, k: h + row[k][:, None].astype(h.dtype) * (h.mean(0) - h))
    return {site: edit for site in layers.INCREMENTS}


def dosed(model: Model, dose: Dose, grid: Grid, still: Video, patch: Patch) -> Velocity:
    """The velocity of a model whose sites have these doses.

    Args:
        model: `model(edits={...}) -> velocity`, such as `functools.partial(dit.velocity, text, image)`. With one row of
            doses (no blocks) it is called without edits' sites.
        dose: [steps, blocks + 1, tokens]; the last row is the estimate's.
        grid: of the run.
        still: what the estimate says at dose 1, such as the first frame in every frame.
        patch: of the tokens.
    """

    def velocity(x: Array, level: Level) -> Prediction:
        row = dose[step_at(grid, level)]
        out = model(edits=fade(row[:-1]) if dose.shape[1] > 1 else {})(x, level)
        v, taps = out if isinstance(out, Prediction) else (out, {})
        said = x - level.sigma * v
        # the sampler asks at levels above 0 only
        return Prediction(v + _over_tokens(row[-1], x, patch) * (said - still) / level.sigma, taps)

    return velocity


# ---------------------------------------------------------------------------------------------------------- instruments


class Attribution(NamedTuple):
    """A run's margin and what each site has to do with it."""

    margin: Float[Array, ""]
    map: Dose  # d margin / d dose

    __repr__ = words.line


def attribute(
    model: Model,
    read: Callable[[Video], Float[Array, ""]],
    x: Video,
    grid: Grid,
    *,
    blocks: int,
    still: Video,
    patch: Patch,
    solver: Solver | None = None,
    remat: bool = True,
) -> Attribution:
    """The gradient of what is read off the final state with respect to the dose of every site.

    It costs two passes forward and one backward of every step; see `dosed` for model, grid, still and patch.

    Args:
        read: final state -> a smooth number, such as `margin` with everything else closed over.
        x: where the run starts.
        blocks: of the model; 0 leaves the row of the estimate alone.
        solver: deterministic; Euler by default.
        remat: recompute each step in the backward pass instead of keeping all its activations. The same numbers.
    """
    shape = (grid.steps, blocks + 1, tokens(x, patch).shape[0])

    def run(dose: Dose) -> Array:
        velocity = dosed(model, dose, grid, still, patch)
        if remat:
            velocity = jax.checkpoint(velocity, prevent_cse=False)  # it stands in a scan
        return read(sample(velocity, x, grid, solver=solver, record=Record(steps=())).final)

    return Attribution(*jax.value_and_grad(run)(jnp.zeros(shape, x.dtype)))


class Sites(NamedTuple):
    """Chosen sites, arrays of one length."""

    step: Int[Array | np.ndarray, " n"]
    row: Int[Array | np.ndarray, " n"]  # block, or the number of blocks for the estimate
    token: Int[Array | np.ndarray, " n"]


def ablate(
    model: Model,
    read: Callable[[Video], Float[Array, ""]],
    clean: Trajectory,
    grid: Grid,
    sites: Sites,
    *,
    blocks: int,
    still: Video,
    patch: Patch,
    solver: Solver | None = None,
) -> Float[Array, " n"]:
    """The effect of dose 1 at every site, each alone: what is read of the final state minus the same without it.

    Up to its step the record answers instead of the network (`perturb.replay`), so that a site at step s costs the
    steps from s on; under `jax.vmap` over clips too, if they share steps and rows (their tokens may differ).
    Most effects are small, and another program of the same run rounds differently: each is taken against a run of the
    same program without a dose, that begins at the same step (one per step of the grid).

    Args:
        clean: the run without dose, with `x` and `v` of every step.
    """
    shape = (grid.steps, blocks + 1, tokens(clean.final, patch).shape[0])
    clean = dataclasses.replace(clean, taps={})  # nobody asks a disturbed run for them

    def run(site: Sites) -> Array:
        dose = jnp.zeros(shape, clean.final.dtype).at[site].set(1.0, mode="drop")
        velocity = perturb.replay(dosed(model, dose, grid, still, patch), clean, grid, jnp.asarray(site.step))
        return read(sample(velocity, clean.x[0], grid, solver=solver, record=Record(steps=())).final)

    step = jnp.arange(grid.steps, dtype=sites.step.dtype)
    nowhere = Sites(step, jnp.full_like(step, blocks + 1), jnp.zeros_like(step))
    found = perturb.sweep(run, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), nowhere, sites), how="map")
    return found[grid.steps :] - found[sites.step]


class Sizes(NamedTuple):
    """How large things are at each site, [steps, rows, tokens], in the channels' L2 norm."""

    stream: Dose  # the residual stream behind the block; the state, in the estimate's row
    increment: Dose  # what the block adds; the estimate minus the still scene, in the estimate's row
    edit: Dose  # what dose 1 takes away: the increment minus its mean over tokens


TAPS = {"embed": lambda h: h, "block.*": lambda h: h}
"""Taps that a run needs for `recorded_sizes`."""


def recorded_sizes(still: Video, patch: Patch) -> Callable[[Any], Sizes]:
    """A `Record.fn` for a run under `TAPS`, or under no taps for a velocity without blocks."""
    norm = functools.partial(jnp.linalg.norm, axis=-1)

    def of(snapshot: Any) -> Sizes:
        said = norm(tokens(snapshot.x0 - still, patch))[None]
        rows = [norm(tokens(snapshot.x, patch))[None], said, said]
        if "block.*" in snapshot.taps:
            after = snapshot.taps["block.*"]
            before = jnp.concatenate([snapshot.taps["embed"][None], after[:-1]])
            added = after - before
            blocks = (after, added, added - added.mean(1, keepdims=True))
            rows = [jnp.concatenate([norm(a), own]) for a, own in zip(blocks, rows, strict=True)]
        return Sizes(*rows)

    return of
