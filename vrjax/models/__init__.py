"""Networks and their public weights, one folder a family, over common blocks. Video models are frozen NNX pytrees.

| what | what is in it |
| --- | --- |
| `family` | the protocol of a family, by which training, alignment and planning speak to any; `shard` on a mesh |
| `cached` | what a family that remembers has besides: a video chunk by chunk |
| `settings` | options of a run over what the authors of a model publish |
| `blocks` | what families share: attention, norms, the stack of equal blocks, named sites, logical axes |
| `wan` | Wan 2.1 / 2.2: the diffusion transformer, its encoders, VAE, readers and writers |
| `causal` | block-causal Wan: Self-Forcing, Causal-Forcing, CausVid; videos chunk by chunk from a cache |
| `motion` | ViMoGen: the motion diffusion transformer, readers and writers |
| `embedded` | conditions without parameters (codec, words), and the small trained models that are shipped |
| `pipeline` | from a folder and a prompt to a trajectory and a video |
"""

from vrjax.files import named
from vrjax.models import wan
from vrjax.models.blocks import attention
from vrjax.models.embedded import conditions, shipped

__all__ = ["attention", "conditions", "shipped", "wan"]

__getattr__, __dir__ = named.lazy(__name__)
