"""Preference and reward learning: losses on one primitive, references, rollouts, policy gradients; in training's loop.

| file | what is in it |
| --- | --- |
| `config` | what a preference run is: a training run whose loss compares clips |
| `losses` | one file a loss, found by name |
| `errors` | the primitive: flow errors of a winner and its losers at one noise and level |
| `references` | the policy that a preference is measured against |
| `bank`, `stored` | fixed draws, and a frozen reference's errors on them |
| `rollouts` | losers sampled inside the update |
| `step`, `loop` | the preference update, and the run |
| `policy` | Flow-GRPO, DanceGRPO and SPO on the stochastic sampler |
| `logs` | what a run reports, and its warnings |
| `pairs`, `preprocess`, `cache`, `data` | RealDPO's folders, pixels of a video file, encoded pairs, batches of them |
| `generate`, `public` | losers made before training, by an embedded or a public model |
| `separability`, `ratings` | can the two sides be told apart by no content; a judge's protocol |
"""
