"""Teacher forcing: each chunk is denoised beside the clean frames that came before it.

The network is asked once for a whole video: noisy chunks see their own noisy frames and earlier clean ones, which is
what a rollout shows it when everything so far was right. Causal-Forcing (arXiv 2602.02214) trains its autoregressive
teacher so; the mask is Self-Forcing's (its public code, `_prepare_teacher_forcing_mask`).
"""

from typing import Any

from jaxtyping import Array, Float

from vrjax.flow import Level
from vrjax.models.cached import Calls
from vrjax.train.objectives.flow import flow_error, noisy
from vrjax.train.objectives.levels import level_of, of_frames


def teacher_forcing(
    calls: Calls,
    x0: Float[Array, "f *n"],
    noise: Float[Array, "f *n"],
    sigma: Any,
    *,
    clean_noise: Float[Array, "f *n"] | None = None,
    clean_sigma: Any = 0.0,
    weight: Any = None,
    total: Any = None,
) -> Float[Array, ""]:
    """Mean squared error of the velocities of a whole video, of one example.

    Args:
        calls: of the network, its conditions closed over.
        x0: the clean video, whole chunks.
        noise: standard Gaussian of the same shape. Zeros at sigma 1 make a regression of each chunk on those before.
        sigma: noise levels, () or (f,); a chunk's frames have one level where it is to be denoised as in a rollout, see
            `levels.sample_chunk_sigmas`.
        clean_noise, clean_sigma: the clean video is shown at this level with this noise (public code: `aug_t`): what a
            rollout remembers is not quite the truth either. Without noise it is shown as it is.
        weight, total: of frames or elements, see `flow_error`.

    Raises:
        ValueError: shapes that do not fit.
    """
    if clean_noise is None:
        clean_sigma, beside = 0.0, x0
    else:
        beside = noisy(x0, clean_noise, of_frames(clean_sigma, x0)).astype(x0.dtype)
    shown, at = level_of(clean_sigma), level_of(sigma)

    def velocity(x: Array, level: Level) -> Any:
        return calls.forced(x, Level(level.sigma, at.time), beside, shown)

    return flow_error(velocity, x0, noise, Level(of_frames(at.sigma, x0), at.time), weight, total)
