"""Bytes on disk.

| file | what is in it |
| --- | --- |
| `writing` | files and folders that appear whole or not at all; a run's: `Run` (lock, config, resume), `Rows`; `slug` |
| `records` | configs from JSON, strictly |
| `given` | files of others: what stands in place of what the name says; text; weights of a folder |
| `hub` | models by their ids: in the Hugging Face hub's cache, or downloaded when that is allowed |
| `kept` | results reused only when all they came from is the same: `fingerprint` of files, `source` of an instrument |
| `leaves` | small networks of this house, a safetensors file each; `keep` trains them once |
| `named` | a folder whose files are found by name: every extension point |
| `pixels` | floats in [-1, 1] and 8-bit; still pictures: `read_image`, `decode`, `png` |
| `store` | arrays in a folder, addressed by what they depend on |
| `tensors` | any weight file as named arrays (`Source`), read lazily onto devices; safetensors checked and written |
| `pth`, `pickles`, `pth_writer` | what `torch.save` wrote, read without running pickle code; and written |
| `scaled` | weights in eight bits and their scales |
| `adapters` | low-rank adapters, as PEFT names them |
| `weights` | the network in an open file: what is particular about its files (`Network`); found, checked, read |
"""

from vrjax.files import named as named
from vrjax.files.kept import fingerprint as fingerprint
from vrjax.files.pixels import read_image as read_image

__getattr__, __dir__ = named.lazy(__name__)
