"""The embedded worlds' models: codec and words without parameters, and the small trained models that are shipped.

| file | what is in it |
| --- | --- |
| `codec` | means of pixel blocks, in the place of a VAE |
| `words` | hashed word embeddings, in the place of a text encoder |
| `conditions` | what a model is given of a clip: latent, first frame, words, starting noise |
| `folders` | what lies in a trained model's folder: its network and how it was trained |
| `shipped` | the models that come with the package |

`vrjax.models.pipeline` samples them like public models.
"""
