"""Block-causal Wan: videos chunk by chunk, with a cache of keys and values in place of the frames before.

| what | modules |
| --- | --- |
| which frames a chunk sees | `chunks` |
| the network on chunks | `network`; `masked`, the whole video at once; `cache`, chunk after chunk |
| told what is done | `dit`: `CausalDiT`, one action a frame; `family`, by which training speaks to it |
| sampling | `streaming` |
| files | `readers` |

The weights are those of `vrjax.models.wan`: `load_dit` returns a `WanDiT`, and all of this takes a `CausalDiT` as well.
"""

from vrjax.files import named
from vrjax.models.causal.cache import Memory, State
from vrjax.models.causal.chunks import partition
from vrjax.models.causal.dit import CausalConfig, CausalDiT
from vrjax.models.causal.masked import forward
from vrjax.models.causal.readers import load_dit
from vrjax.models.causal.streaming import Chunk, Rollout, rollout, stream

__all__ = [
    "CausalConfig",
    "CausalDiT",
    "Chunk",
    "Memory",
    "Rollout",
    "State",
    "forward",
    "load_dit",
    "partition",
    "rollout",
    "stream",
]

__getattr__, __dir__ = named.lazy(__name__)
