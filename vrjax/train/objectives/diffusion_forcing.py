"""Diffusion forcing: every frame has a noise level of its own (Chen et al. 2024, arXiv 2407.01392).

One pass over noisy frames, each of which a later one may see at any level: hence a rollout may remember frames that are
not quite clean, and half as many tokens are computed as in teacher forcing.
"""

from typing import Any

from jaxtyping import Array, Float

from vrjax.flow import Level, Velocity
from vrjax.train.objectives.flow import flow_error
from vrjax.train.objectives.levels import level_of, of_frames


def diffusion_forcing(
    velocity: Velocity,
    x0: Float[Array, "f *n"],
    noise: Float[Array, "f *n"],
    sigma: Float[Array, " levels"],
    *,
    weight: Any = None,
    total: Any = None,
) -> Float[Array, ""]:
    """Mean squared error of the velocities of a whole video at one level a frame, of one example.

    Args:
        velocity: `(x, level) -> v`, whose `level.time` is (f,); what a frame sees is its affair (`family.velocity` of a
            block-causal network).
        x0: the clean video.
        noise: standard Gaussian of the same shape.
        sigma: (f,); frames of a chunk have one level in the public causal models, see `levels.sample_chunk_sigmas`.
        weight, total: of frames or elements, see `flow_error`.

    Raises:
        ValueError: shapes that do not fit.
    """
    if sigma.shape != x0.shape[:1]:
        raise ValueError(f"diffusion_forcing: sigma has shape {sigma.shape}, expected one for each of {len(x0)} frames")
    at = level_of(sigma)
    return flow_error(velocity, x0, noise, Level(of_frames(at.sigma, x0), at.time), weight, total)
