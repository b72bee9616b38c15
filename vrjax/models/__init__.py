"""Video models as frozen Flax NNX pytrees, and the readers of public weights.

`wan` is the video diffusion transformer of Wan 2.1 / 2.2 (every embedded model is a small config of it), `attention`
its attention kernels, `words` and `codec` the parameter-free text encoder and video codec of the embedded worlds.
"""

from vrjax.models import attention, codec, wan, words

__all__ = ["attention", "codec", "wan", "words"]
