"""Training: one update body, one loop, and what they are made of. A network is of any family (`vrjax.models.family`).

| file | what is in it |
| --- | --- |
| `config` | `TrainConfig`: what a run is |
| `update` | the update of any training: gradient in micro-batches, optimiser, average; numbers are arguments |
| `step` | the update of a training run: flow matching on clips |
| `objectives` | losses, noise levels, condition dropout |
| `state` | what changes during training, where it lives, how a network is made of it |
| `loop` | `run(config)`; `Parts`, where another kind of training hooks in (`vrjax.align.loop`) |
| `ready` | what a run lacks before it begins: start, data, devices |
| `optim`, `ema`, `lora` | transforms of pytrees: the optimiser, the moving average, adapters |
| `checkpoints` | complete or not there at all, restorable on another mesh |
| `evaluate` | solved-rates by sampling |
| `telling` | all that a run says: rows on disk, the line on screen (`progress`), its `page`, `loggers` elsewhere |
| `watch`, `stopping` | who looks at the rows while it goes, and how a person stops it |
"""

from vrjax.files import named

__getattr__, __dir__ = named.lazy(__name__)
