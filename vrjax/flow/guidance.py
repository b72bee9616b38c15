"""Guidance: combinators that turn velocities into a velocity. They nest, and know neither models nor solvers.

Everything is written for one example, so every norm and deviation below is per example. Where two velocities are
combined, the taps are those of the first argument, the most conditional branch.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from vrjax.flow.core import Level, Prediction, Velocity, as_prediction

Scale = Any  # a number, a traced scalar, or a function of Level that returns one
Renorm = Callable[[Any, Any], Any]


def _at(scale: Scale, level: Level):
    return scale(level) if callable(scale) else scale


def _finish(guided, cond: Prediction, renorm: Renorm | None) -> Prediction:
    return Prediction(guided if renorm is None else renorm(guided, cond.v), cond.taps)


def cfg(cond: Velocity, uncond: Velocity, scale: Scale, *, renorm: Renorm | None = None) -> Velocity:
    """Classifier-free guidance (Ho & Salimans 2022): `u + scale (c - u)`, both branches asked at the same state.

    Args:
        cond, uncond: velocities with and without (or with a negative) condition.
        scale: 1 is the conditional velocity, 0 the unconditional; a function of the level for a schedule.
        renorm: `renorm(guided, conditional) -> v`, see `rescale` and `keep_norm`.
    """

    def velocity(x, level: Level) -> Prediction:
        c, u = as_prediction(cond(x, level)), as_prediction(uncond(x, level))
        return _finish(u.v + _at(scale, level) * (c.v - u.v), c, renorm)

    return velocity


def dual(
    full: Velocity,
    image_only: Velocity,
    uncond: Velocity,
    *,
    text_scale: Scale,
    image_scale: Scale,
    renorm: Renorm | None = None,
) -> Velocity:
    """Text and image guidance with one scale each (InstructPix2Pix, Brooks et al. 2023):

    `u + image_scale (i - u) + text_scale (f - i)` with f given text and image, i the image alone, u neither. The nested
    form of BAGEL is a composition: `cfg(cfg(full, no_text, text_scale), no_image, image_scale)`.
    """

    def velocity(x, level: Level) -> Prediction:
        f, i, u = (as_prediction(branch(x, level)) for branch in (full, image_only, uncond))
        guided = u.v + _at(image_scale, level) * (i.v - u.v) + _at(text_scale, level) * (f.v - i.v)
        return _finish(guided, f, renorm)

    return velocity


def rescale(amount: Scale = 0.7) -> Renorm:
    """CFG rescale (Lin et al. 2023, arXiv 2305.08891): pull the guided deviation back to the conditional one.

    `amount (guided std(cond) / std(guided)) + (1 - amount) guided`, deviations over all elements of the example.
    """

    def renorm(guided, cond):
        back = guided * (_std(cond) / _std(guided))
        return amount * back + (1 - amount) * guided

    return renorm


def keep_norm(minimum: float = 0.0) -> Renorm:
    """Norm-preserving guidance: scale the guided velocity by |cond| / |guided|, kept within [minimum, 1].

    The guided velocity never exceeds the conditional one in norm. This is BAGEL's global renormalisation.
    """

    def renorm(guided, cond):
        ratio = jnp.sqrt(_square(cond) / jnp.maximum(_square(guided), jnp.finfo(guided.dtype).tiny))
        return guided * jnp.clip(ratio, minimum, 1.0)

    return renorm


def _square(v):
    # Floored away from 0, where the square root has no gradient.
    return jnp.maximum(jnp.sum(v * v), jnp.finfo(v.dtype).tiny)


def _std(v):
    return jnp.sqrt(_square(v - jnp.mean(v)) / v.size)
