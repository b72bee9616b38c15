"""Sources and Grain pipelines. Import the module you need.

| module | what is in it |
| --- | --- |
| `batches` | rows of any source as batches: shuffled, endless, restartable, divided over processes |
| `worlds` | clips of `vrjax.tasks` as one deterministic stream of training batches |
| `motions` | procedural motions as training data, made inside the compiled update |
| `latents` | clips of a VBVR folder as a model's latents and conditions, made once, read by training |
| `vbvr` | VBVR's folders, read into clips and written from them |
| `mp4` | video files, strictly |
"""

from vrjax.files import named

__getattr__, __dir__ = named.lazy(__name__)
