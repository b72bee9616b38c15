"""Wan 2.1 T2V 1.3B, all weights, 480 x 832 x 81 frames (32,760 tokens), on 64 chips of v5e.

Commands: vrjax plan configs/pods/wan_1_3b_train.py --topology v5e:8x8
          vrjax encode VIDEOS clips --model MODEL --size 480x832 --frames 81
          vrjax train configs/pods/wan_1_3b_train.py --data.cache clips --distributed --root SHARED
Memory:   5.60 of 15.75 GiB a chip: weights, average and moments 1.33, activations 1.42, temporaries 2.73
Time:     at least 1.56 s a step (matrix units; HBM alone 0.44 s, network 0.08 s)

These are the plan's figures (JAX 0.10.2, libtpu 0.0.42); no run on such a slice stands behind them.
"""

from vrjax.models.wan import WanConfig
from vrjax.train.config import Data, Objective, Optim, TrainConfig, Validate

TOPOLOGY = "v5e:8x8"
LATENT = (21, 60, 104, 16)  # cached latents: the VAE and the text encoder are no part of the step


def config() -> TrainConfig:
    """The config of the run."""
    return TrainConfig(
        name="wan-1.3b-train",
        model=WanConfig(dim=1536, ffn_dim=8960, heads=12, layers=30, remat="attention"),
        steps=10_000,
        data=Data(cache="clips", batch=16),
        objective=Objective(times="logit_normal", shift=5.0),
        optim=Optim(kind="adamw", lr=1e-5, warmup=500, b2=0.95),
        validate=Validate(every=0, final_clips=0),  # encoded clips have no verifier
        dtype="bfloat16",
        mesh={"fsdp": 16, "context": 4},
    )
