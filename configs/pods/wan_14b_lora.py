"""Wan 2.1 T2V 14B, LoRA of rank 32, 480 x 832 x 81 frames (32,760 tokens), on 16 chips of v5p.

Commands: vrjax plan configs/pods/wan_14b_lora.py --topology v5p:2x2x4
          vrjax encode VIDEOS clips --model MODEL --size 480x832 --frames 81
          vrjax train configs/pods/wan_14b_lora.py --start PATH --data.cache clips --distributed --root SHARED
Memory:   49.8 of 95.74 GiB a chip: base 3.34, adapters with average and moments 2.29, activations 6.30, temporaries
          37.8
Time:     at least 3.80 s a step (matrix units; HBM alone 1.45 s, network 0.23 s)

These are the plan's figures (JAX 0.10.2, libtpu 0.0.42); no run on such a slice stands behind them.
"""

from vrjax.models.wan import WanConfig
from vrjax.train.config import Data, Lora, Objective, Optim, TrainConfig, Validate

TOPOLOGY = "v5p:2x2x4"
LATENT = (21, 60, 104, 16)  # cached latents: the VAE and the text encoder are no part of the step


def config() -> TrainConfig:
    """The config of the run."""
    return TrainConfig(
        name="wan-14b-lora",
        model=WanConfig(dim=5120, ffn_dim=13824, heads=40, layers=40, remat="attention"),
        start="models/Wan2.1-T2V-14B",
        lora=Lora(rank=32),
        steps=2_000,
        data=Data(cache="clips", batch=4),
        objective=Objective(times="logit_normal", shift=5.0),
        optim=Optim(kind="adamw", lr=1e-4, warmup=100, weight_decay=0.0),
        validate=Validate(every=0, final_clips=0),  # encoded clips have no verifier
        dtype="bfloat16",
        mesh={"fsdp": 4, "context": 4},
        rules={"embed": ("fsdp", "context")},  # the frozen weights are divided over all chips
    )
