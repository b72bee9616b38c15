"""Preference and reward learning on the loop of `vrjax.train`.

| file | what is in it |
| --- | --- |
| `config` | `AlignConfig`: a training run whose loss compares clips |
| `losses` | one file a loss, found by name; pure functions and what each needs |
| `references` | what the policy is compared with |
| `errors` | flow errors of winner and losers under one noise and one level |
| `step`, `loop` | the update, and the parts of a run |
| `rollouts` | losers sampled inside the update |
| `policy` | policy gradients on the stochastic sampler: GRPO |
| `bank`, `stored` | fixed draws, and a frozen reference's errors on them |
| `pairs`, `preprocess`, `cache`, `data` | RealDPO's folders, pixels, encoded pairs, their checks |
| `ready` | what a run lacks before it begins |
| `public` | losers and pairs of a public model |
| `separability`, `logs` | the check before training, and the watch during it |
"""

from vrjax.files import named

__getattr__, __dir__ = named.lazy(__name__)
