"""What a job needs of a pod or of one GPU, without having it.

| module | what is in it |
| --- | --- |
| `slices` | a config compiled for a TPU slice that is not here: the `Plan`, its table, a plan that fits; config files |
| `jobs` | the kinds of jobs, one file each: training, preference, sampling |
| `single` | a guided run on one GPU, by account: shapes and formulas, nothing compiled |
| `advice` | what to change in a run that does not fit |
| `topology` | TPU chips, slices, and their devices for compilation |
| `accounting`, `hlo` | operations, traffic and collectives of a compiled program, read from its text |
| `shapes` | what is read off shapes: parameters, bytes on a device, how rules divide a mesh |

It speaks to networks through `vrjax.models.family`, and knows none by name.
"""

from vrjax.files import named

__getattr__, __dir__ = named.lazy(__name__)
