"""Video models as frozen Flax NNX pytrees, and the readers and writers of public weights.

| what | modules |
| --- | --- |
| networks | `wan` (the diffusion transformer of Wan 2.1 / 2.2; every embedded model is a small config of it) with `layers`, `attention`, `sequence`, `sites`; `vae`, `umt5`, `clip` |
| embedded worlds | `words` and `codec`, text encoder and video codec without parameters; `shipped` |
| from a folder to a video | `pipeline`, and its parts `folders`, `defaults`, `settings`, `text`, `conditions`, `denoise`, `recorder` |
| files | `readers`, `tensors`, `pth` and `pickles`, `fill` and `placing`, `vae_readers`, `lora_files`, `convert`, `convert_model`, `pth_writer`, `tokenizer` |
| counts | `flops`, `memory` |
"""  # noqa: E501

from vrjax.models import attention, codec, wan, words

__all__ = ["attention", "codec", "wan", "words"]
