"""Wan 2.2 TI2V 5B, LoRA of rank 32, 704 x 1280 x 121 frames (27,280 tokens), on 16 chips of v6e.

Commands: vrjax plan configs/pods/wan_5b_lora.py --topology v6e:4x4
          vrjax encode VIDEOS clips --model MODEL --size 704x1280 --frames 121
          vrjax train configs/pods/wan_5b_lora.py --start PATH --data.cache clips --distributed --root SHARED
Memory:   19.9 of 31.25 GiB a chip: base 1.17, adapters with average and moments 1.20, activations 2.38, temporaries
          15.1
Time:     at least 0.74 s a step (HBM, an estimate; matrix units alone 0.59 s, network 0.13 s)

These are the plan's figures (JAX 0.10.2, libtpu 0.0.42); no run on such a slice stands behind them.
"""

from vrjax.models.wan import WanConfig
from vrjax.train.config import Data, Lora, Objective, Optim, TrainConfig, Validate

TOPOLOGY = "v6e:4x4"
LATENT = (31, 44, 80, 48)  # cached latents: the VAE and the text encoder are no part of the step


def config() -> TrainConfig:
    """The config of the run."""
    return TrainConfig(
        name="wan-5b-lora",
        model=WanConfig(
            dim=3072, ffn_dim=14336, heads=24, layers=30, in_channels=48, out_channels=48, remat="attention"
        ),
        start="models/Wan2.2-TI2V-5B",
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
