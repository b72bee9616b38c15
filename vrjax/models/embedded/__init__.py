"""The embedded worlds' models: conditions without parameters, and the small trained models that are shipped.

| file | what is in it |
| --- | --- |
| `conditions` | what a model is given: latent (in the place of a VAE's), first frame, hashed words, starting noise |
| `captions` | captions of motions as rows of text, of any string and inside jit |
| `folders` | what lies in a trained model's folder: its network and how it was trained |
| `shipped` | the models that come with the package |
| `matcher` | captions and motions in one space: an evaluator for HumanML3D's protocol |

`vrjax.models.pipeline` samples them like public models.
"""

from vrjax.files import named

__getattr__, __dir__ = named.lazy(__name__)
