"""RealDPO on Wan 2.1 T2V 1.3B: encoded pairs of real clips and the base model's samples, LoRA, the base as reference.

Command:        vrjax align configs/realdpo/wan.py --start PATH/TO/Wan2.1-T2V-1.3B-Diffusers/transformer --pairs PAIRS
Expected time:  not measured: it needs the public weights, encoded pairs and accelerators.
Expected score: none published for this base (RealDPO's own is CogVideoX-5B).

What is the released recipe's and what is not:
- released: 3 losers per winner, one noise and one level for all of them, the cleaner half of the levels, AdamW with
  betas (0.9, 0.95), weight decay 1e-4, clip 1, 100 updates of warm-up, accumulation 4;
- ours: adapters of rank 128 with their base as the reference (the released run trains all weights beside a copy), the
  mean over losers instead of the sum of their gradients, and a small anchor on the winner's own error.
"""

from vrjax.align.config import AlignConfig, Preference, Reference
from vrjax.models.wan import WanConfig
from vrjax.train.config import Checkpoint, Data, Lora, Optim


def config() -> AlignConfig:
    """The config of the run."""
    return AlignConfig(
        name="realdpo_wan",
        model=WanConfig(remat="full"),
        start="Wan2.1-T2V-1.3B-Diffusers/transformer",
        pairs="realdpo_pairs",
        lora=Lora(rank=128, alpha=64.0),
        data=Data(batch=16),
        accumulate=4,
        preference=Preference(loss="reg_dpo", beta=5000.0, anchor=0.1, losers=3, low=0.0, high=0.5),
        reference=Reference(kind="lora_off"),
        optim=Optim(kind="adamw", lr=1e-5, b1=0.9, b2=0.95, weight_decay=1e-4, warmup=100, final=1.0, clip=1.0),
        steps=1000,
        checkpoint=Checkpoint(every=100),
        mesh={"data": -1},
    )
