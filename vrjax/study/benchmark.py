"""What a model is given of a benchmark's clip: its first picture, and how many frames to make."""

from typing import Any

import numpy as np

from vrjax.files.pixels import to_uint8
from vrjax.tasks import Clip

MAX_FRAMES = 209  # of VBVR's fine-tune; videos beyond it are cut


def picture(clip: Clip) -> np.ndarray:
    """The first frame, 8-bit."""
    return to_uint8(clip.first_frame)


def frames(clip: Clip, pipe: Any, asked: int | None) -> int:
    """As many as the true video has (or was asked for), and a few more to fill the last latent frame."""
    factor = pipe.vae_config.time_factor
    count = min(asked or clip.meta["vbvr"]["frames"] or pipe.defaults.frames, MAX_FRAMES)
    return -(-(count - 1) // factor) * factor + 1
