"""The optimiser: AdamW or Muon with Adam beside it, warm-up, cosine, clipping; optax throughout."""

import functools
import inspect
import math
import re
from collections.abc import Sequence
from typing import Any

import jax
import optax
from optax.contrib import MuonDimensionNumbers, muon

# Stacked block kernels are (blocks, in, out): each block's matrix is orthogonalised by itself.
BLOCK_MATRICES = (r"(^|\.)blocks\..*kernel$",)
# The modulation of all blocks comes out of one shared matrix: it is Muon's as well.
MUON_MATRICES = (*BLOCK_MATRICES, r"(^|\.)time_projection\.kernel$")
# `blocks.ffn.up.kernel` for a key path: dict keys, indices and attributes joined by dots.
path_name = functools.partial(jax.tree_util.keystr, simple=True, separator=".")


def schedule(lr: Any, steps: int, warmup: int, final: Any) -> optax.Schedule:
    """Linear warm-up from 0 to `lr` over `warmup` updates, then a cosine down to `final * lr` at update `steps`.

    `lr` and `final` may be traced.
    """
    if steps < 1:
        raise ValueError(f"a learning-rate schedule needs at least 1 step, found {steps}")
    warmup = min(warmup, steps - 1)
    unit = optax.warmup_cosine_decay_schedule(
        0.0 if warmup else 1.0, 1.0, warmup_steps=warmup, decay_steps=steps, end_value=final
    )
    return lambda count: lr * unit(count)


def muon_dimensions(params: Any, patterns: Sequence[str] = MUON_MATRICES) -> Any:
    """Which parameters Muon updates: a pytree like `params` of `MuonDimensionNumbers`, or None for Adam's.

    A parameter is Muon's when its dotted path matches one of `patterns` (`re.search`) and it is a matrix or a stack of
    matrices; the last two axes are (in, out), axes before them are independent matrices. Everything else, such as
    embeddings, norms, biases, the modulation tables and the head, is Adam's.
    """

    def choose(path, leaf):
        name = path_name(path)
        if leaf.ndim >= 2 and any(re.search(p, name) for p in patterns):
            return MuonDimensionNumbers(reduction_axis=leaf.ndim - 2, output_axis=leaf.ndim - 1)
        return None

    return jax.tree_util.tree_map_with_path(choose, params)


def make(
    *,
    kind: str = "muon",
    lr: Any = 3e-3,
    steps: int,
    warmup: int = 50,
    final: Any = 0.02,
    muon_scale: Any = 4.0,
    muon_patterns: Sequence[str] = MUON_MATRICES,
    momentum: float = 0.95,
    b1: float = 0.9,
    b2: float = 0.98,
    weight_decay: Any = 0.01,
    clip: Any = 1.0,
) -> optax.GradientTransformation:
    """The gradient transformation of a run. Learning rates, weight decay and clip may be traced.

    Args:
        kind: "adamw" for every parameter, or "muon": Muon (Nesterov, 5 Newton-Schulz steps, updates scaled by
            `0.2 * sqrt(max(in, out))` so that their size is Adam's) for hidden matrices and Adam for the
            rest (with Nesterov momentum, as optax pairs them).
        lr: peak learning rate of Adam; Muon's is `muon_scale * lr`.
        steps: updates in the whole run: the cosine ends there.
        warmup: updates of linear warm-up.
        final: last learning rate as a fraction of the peak.
        muon_scale: Muon's multiplier (4 was clearly better than 1 on the small video models).
        muon_patterns: regular expressions on dotted parameter paths, see `muon_dimensions`.
        momentum: of Muon.
        b1, b2: of Adam.
        weight_decay: decoupled, times the learning rate; under "adamw" on parameters of two or
            more axes, under "muon" on Muon's matrices only.
        clip: the global gradient norm is clipped to this before anything else; None does not clip.
    """
    if isinstance(lr, (int, float)) and not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"learning rate must be positive, found {lr}")

    def decays(params):
        return jax.tree.map(lambda p: p.ndim >= 2, params)

    if kind == "adamw":
        core = optax.adamw(schedule(lr, steps, warmup, final), b1, b2, weight_decay=weight_decay, mask=decays)
    elif kind == "muon":
        core = muon(
            schedule(lr * muon_scale, steps, warmup, final),
            beta=momentum,
            weight_decay=weight_decay,
            adam_b1=b1,
            adam_b2=b2,
            adam_learning_rate=schedule(lr, steps, warmup, final),
            muon_weight_dimension_numbers=lambda params: muon_dimensions(params, muon_patterns),
            consistent_rms=0.2,
        )
    else:
        raise ValueError(f"unknown optimiser {kind!r}: expected 'muon' or 'adamw'")
    return core if clip is None else optax.chain(optax.clip_by_global_norm(clip), core)


def of(spec: Any, steps: int) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """The optimiser of a config's `optim` in a run of so many updates, and the learning rate that is reported."""
    names = [name for name in inspect.signature(make).parameters if name != "steps"]
    tx = make(steps=steps, **{name: getattr(spec, name) for name in names})
    return tx, schedule(spec.lr, steps, spec.warmup, spec.final)
