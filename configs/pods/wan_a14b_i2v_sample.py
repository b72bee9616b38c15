"""Wan 2.2 I2V A14B, both experts, guided, every step kept, 480 x 832 x 81 frames (32,760 tokens), on 64 chips of v5p.

Command:  vrjax plan configs/pods/wan_a14b_i2v_sample.py --topology v5p:4x4x4
          vrjax plan configs/pods/wan_a14b_i2v_sample.py --topology gpu:80 --seeds 1

Memory:   7.66 of 95.74 GiB a chip: weights (bfloat16) 0.86, trajectory 0.20, temporaries 6.49
Time:     at least 1.83 s a denoising step of all 16 videos, 73 s a run (matrix units; HBM alone 0.32 s, network 0.11 s)

These are the plan's figures (JAX 0.10.2, libtpu 0.0.42; 151 s to compile); no run on such a slice stands behind them.
They were made when each video had conditions of its own; the program planned today is the pipeline's, whose videos
share a prompt's. 16 videos over fsdp, each one's tokens over 4 chips of context; weights are divided over all 64 chips.
"""

from vrjax.models.wan import WanConfig
from vrjax.plan.jobs.sampling import SampleConfig

TOPOLOGY = "v5p:4x4x4"


def config() -> SampleConfig:
    """The config of the run."""
    return SampleConfig(
        name="wan-a14b-i2v-sample",
        model=WanConfig(dim=5120, ffn_dim=13824, heads=40, layers=40, in_channels=36, param_dtype="bfloat16"),
        latent=(21, 60, 104, 16),
        seeds=16,
        steps=40,
        shift=5.0,
        guidance=3.5,
        boundary=0.9,
        mesh={"fsdp": 16, "context": 4},
        rules={"embed": ("fsdp", "context")},
    )
