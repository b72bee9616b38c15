"""Wan 2.1 T2V 14B, all weights, 480 x 832 x 81 frames (32,760 tokens), on 64 chips of v5p.

Commands: vrjax plan configs/pods/wan_14b_train.py --topology v5p:4x4x4
          vrjax encode VIDEOS clips --model MODEL --size 480x832 --frames 81
          vrjax train configs/pods/wan_14b_train.py --data.cache clips --distributed --root SHARED
Memory:   about 16.5 of 95.74 GiB a chip
Time:     about 4.2 s a step, if everything ran at peak

Both are estimates from shapes (`vrjax.plan.advice`): the command has not been run to its end for this file yet.
"""

from vrjax.models.wan import WanConfig
from vrjax.train.config import Data, Objective, Optim, TrainConfig, Validate

TOPOLOGY = "v5p:4x4x4"
LATENT = (21, 60, 104, 16)  # cached latents: the VAE and the text encoder are no part of the step


def config() -> TrainConfig:
    """The config of the run."""
    return TrainConfig(
        name="wan-14b-train",
        model=WanConfig(dim=5120, ffn_dim=13824, heads=40, layers=40, remat="attention"),
        steps=10_000,
        data=Data(cache="clips", batch=16),
        objective=Objective(times="logit_normal", shift=5.0),
        optim=Optim(kind="adamw", lr=1e-5, warmup=500, b2=0.95),
        validate=Validate(every=0, final_clips=0),  # encoded clips have no verifier
        dtype="bfloat16",
        mesh={"fsdp": 16, "context": 4},
        rules={"embed": ("fsdp", "context")},  # weights, average and optimiser are divided over all chips
    )
