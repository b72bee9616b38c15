"""Looking into the blocks of a video transformer, and rewriting one block at a time.

Everything here is a tap `h -> pytree` or a table of edits `{site: fn}` for a model that names its sites like `WanDiT`
(h is (tokens, dim); `block.*` is the residual stream after each block, `block.*.self_attn`, `.cross_attn` and `.ffn`
are the increments a block adds, so that a block's output is its input plus the three).

**Reading.** `energy` and `token_energy`; the result of a tap on `block.*` has the blocks as its leading axis, and the
trajectory puts the steps before it.

**Rewriting.** `swap` puts activations of another run into one block, `ablate` silences one. The block is a traced index
k, so a sweep over all blocks is one program, `sweep(run, layers)`; k = -1 touches nothing and is the reference inside
it.

| swap mode | at block k is replaced | what it tests |
| --- | --- | --- |
| "stream" | the whole residual stream | little: later blocks see only the other run, at *every* k |
| "tokens" | the stream, at marked tokens | whether those tokens carry the answer at depth k |
| "increment" | what the block adds | whether block k computes the answer |
| "attention" | what its attention adds | whether it arrives by attention |

The paper's protocol is "stream" at the first step. Which of these it means by latent swapping is not known in detail;
report all four.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vrjax.flow import Grid, Phase, Record, Solver, euler, sample
from vrjax.models.wan import indexed
from vrjax.reasoning.instruments import perturb

Tap = Callable[[Array], Any]
Edits = dict[str, Callable]

STREAM = ("block.*",)
ATTENTION = ("block.*.self_attn", "block.*.cross_attn")
INCREMENTS = (*ATTENTION, "block.*.ffn")
MODES: dict[str, tuple[str, ...]] = {
    "stream": STREAM,
    "tokens": STREAM,
    "increment": INCREMENTS,
    "attention": ATTENTION,
}

# ------------------------------------------------------------------------------------------------------------- taps


def token_energy(h: Float[Array, "tokens dim"]) -> Float[Array, " tokens"]:
    """Tap: L2 norm over channels of every token, float32. (A norm is a size, not an importance.)"""
    return jnp.linalg.norm(h.astype(jnp.float32), axis=-1)


def energy(frames: int) -> Tap:
    """Tap: mean token energy of each frame, [frames]. Tokens lie in (t, h, w) order."""

    def tap(h: Float[Array, "tokens dim"]) -> Float[Array, " frames"]:
        if h.shape[0] % frames:
            raise ValueError(f"energy: {h.shape[0]} tokens do not divide into {frames} frames")
        return token_energy(h).reshape(frames, -1).mean(axis=1)

    return tap


def recorder(mode: str | Sequence[str]) -> dict[str, Tap]:
    """Taps that keep whole activations, for the sites that a swap mode replaces (or for the sites named).

    Memory is blocks x tokens x dim per site and recorded step: record only the steps to be swapped.
    """
    return {site: lambda h: h for site in (_sites(mode) if isinstance(mode, str) else mode)}


# ------------------------------------------------------------------------------------------------------------ edits


def _sites(mode: str) -> tuple[str, ...]:
    if mode not in MODES:
        raise ValueError(f"mode: expected one of {tuple(MODES)}, found {mode!r}")
    return MODES[mode]


def swap(
    mode: str,
    other: Mapping[str, Float[Array, "blocks tokens dim"]],
    block: Int[Array, ""] | int,
    *,
    mask: Bool[Array | np.ndarray, " tokens"] | None = None,
) -> Edits:
    """Edits that put another run's activations into one block.

    Args:
        mode: see the table at the top.
        other: what `recorder(mode)` kept of the other run at this step: {site: [blocks, tokens, dim]}.
        block: k, static or traced; a number that is no block (-1) leaves everything as it is.
        mask: the tokens to replace; required by "tokens", allowed for the other modes.

    Raises:
        ValueError: unknown mode, a site missing from `other`, "tokens" without a mask.
    """
    sites = _sites(mode)
    if mode == "tokens" and mask is None:
        raise ValueError("swap: mode 'tokens' needs a mask of the tokens to replace")
    if missing := [site for site in sites if site not in other]:
        raise ValueError(f"swap: mode {mode!r} needs activations at {missing[0]!r}, found {sorted(other)}")

    def edit(site: str) -> Callable:
        stack = other[site]

        def replace(h: Array, index: Array) -> Array:
            here = jnp.asarray(index == block)
            chosen = here if mask is None else here & jnp.asarray(mask)[:, None]
            return jnp.where(chosen, stack[index].astype(h.dtype), h)

        return indexed(replace)

    return {site: edit(site) for site in sites}


def ablate(block: Int[Array, ""] | int, sites: Sequence[str] = INCREMENTS) -> Edits:
    """Edits that skip one block: its increments become 0, the residual stream passes unchanged.

    Args:
        block: k, static or traced; -1 skips none.
        sites: wildcard increment sites to silence, by default all three.
    """
    if unknown := [site for site in sites if site not in INCREMENTS]:
        raise ValueError(f"ablate: expected sites out of {INCREMENTS}, found {unknown[0]!r}")
    silence = indexed(lambda h, index: jnp.where(index == block, jnp.zeros((), h.dtype), h))
    return {site: silence for site in sites}


# ----------------------------------------------------------------------------------------------------------- sweeps


def sweep(run: Callable[[Array], Any], layers: int, *, how: str = "vmap", group: int | None = None) -> Any:
    """`run(k)` for k = -1 (no block: the reference), 0, ..., layers - 1, as one compiled program.

    Args:
        run: traced block index -> any pytree of arrays.
        how: "vmap" computes all blocks side by side, "map" in turn (`group` at a time), right for CPU.

    Returns:
        The pytree with a leading axis of layers + 1; entry 0 is the reference.
    """
    return perturb.sweep(run, jnp.arange(-1, layers), how=how, group=group)


def swap_sweep(
    base: Callable[..., Any],
    other: Callable[..., Any],
    x: Float[Array, "t *rest"],
    grid: Grid,
    *,
    layers: int,
    mode: str,
    steps: int = 1,
    mask: Bool[Array | np.ndarray, " tokens"] | None = None,
    solver: Solver | None = None,
    how: str = "vmap",
    group: int | None = None,
) -> Array:
    """Latent swapping at every block: runs under `base` whose first steps carry activations of a run under `other`.

    Args:
        base, other: `(taps={...}, edits={...}) -> velocity`, the model under the two conditions, for example
            `functools.partial(dit.velocity, text, image)`.
        x: the initial noise of both runs.
        layers: number of blocks.
        mode, mask: as in `swap`.
        steps: how many steps, from the first, are swapped (the paper: 1).

    Returns:
        Final states [layers + 2, ...]: the run under `other`, the run under `base`, then block 0, 1, ... swapped.
    """
    if not 1 <= steps <= grid.steps:
        raise ValueError(f"steps: expected 1..{grid.steps}, found {steps}")
    solver = euler() if solver is None else solver
    first = tuple(range(steps))
    kept = sample(other(taps=recorder(mode)), x, grid, solver=solver, record=Record(steps=first, fields=()))

    def run(block: Array) -> Array:
        swapped = [
            Phase(s + 1, base(edits=swap(mode, {site: a[s] for site, a in kept.taps.items()}, block, mask=mask)))
            for s in first
        ]
        rest = [Phase(grid.steps, base())] if steps < grid.steps else []
        return sample((*swapped, *rest), x, grid, solver=solver, record=Record(steps=())).final

    return jnp.concatenate([kept.final[None], sweep(run, layers, how=how, group=group)])


def ablation_sweep(
    model: Callable[..., Any],
    x: Float[Array, "t *rest"],
    grid: Grid,
    *,
    layers: int,
    sites: Sequence[str] = INCREMENTS,
    start: int = 0,
    stop: int | None = None,
    solver: Solver | None = None,
    how: str = "vmap",
    group: int | None = None,
) -> Array:
    """Final states without one block, [layers + 1, ...]; entry 0 is with all blocks.

    Args:
        model: `(edits={...}) -> velocity`.
        sites: the increments that are silenced, by default all of the block's.
        start, stop: the block is skipped in steps start .. stop - 1, by default in all.
    """
    stop = grid.steps if stop is None else stop
    if not 0 <= start < stop <= grid.steps:
        raise ValueError(f"expected 0 <= start < stop <= {grid.steps} steps, found {start} and {stop}")

    def run(block: Array) -> Array:
        phases = [Phase(stop, model(edits=ablate(block, sites)))]
        phases = ([Phase(start, model())] if start else []) + phases
        phases += [Phase(grid.steps, model())] if stop < grid.steps else []
        solve = euler() if solver is None else solver
        return sample(tuple(phases), x, grid, solver=solve, record=Record(steps=())).final

    return sweep(run, layers, how=how, group=group)
