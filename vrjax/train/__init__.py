"""Training: one update body, objectives, adapters and averages of pytrees, runs that go on where they stopped.

| file | what is in it |
| --- | --- |
| `config` | what a training run is: frozen dataclasses, from `configs/`, JSON and flags |
| `loop` | `run(config)`: starts a run or goes on with it, bit for bit |
| `update` | one update of any training: gradient, clipping, optimiser, average |
| `step` | the update of a training run: the objective on a batch of clips |
| `objectives` | what a network learns at a noise level |
| `optim` | AdamW, or Muon with Adam beside it; warm-up, cosine |
| `lora`, `ema` | low-rank adapters and moving averages of any pytree |
| `state` | what changes during training, and where it lies on the mesh |
| `checkpoints` | asynchronous, complete or absent, restorable on another mesh |
| `evaluate` | solved-rates of held-out clips |
| `progress` | what a person sees of a run |
"""
