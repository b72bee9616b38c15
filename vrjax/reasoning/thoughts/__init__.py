"""Visual thoughts (VChain): keyframes that say how a scene goes on, and models adapted to them.

| module | what is in it |
| --- | --- |
| `keyframes` | the loop that asks for thoughts, and what a reasoner and an imager are |
| `reasoners` | one file a way to come by thoughts |
| `endpoint` | the server that the reasoner `http` asks |
| `files` | the paper's layout of keyframes and captions |
| `pictures` | still images on the host |
| `adapt` | adapters tuned on a few keyframes, then sampled with |
"""

from vrjax.files import named

__getattr__, __dir__ = named.lazy(__name__)
