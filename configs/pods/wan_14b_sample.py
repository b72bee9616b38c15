"""Wan 2.1 T2V 14B, guided sampling with every step kept, 480 x 832 x 81 frames (32,760 tokens), on 16 chips of v5e.

Command:  vrjax plan configs/pods/wan_14b_sample.py --topology v5e:4x4
Memory:   5.02 of 15.75 GiB a chip: weights (bfloat16) 1.69, trajectory 0.21, temporaries 3.06
Time:     at least 2.13 s a denoising step of both videos, 106 s a run (matrix units; HBM alone 1.12 s, network 0.19 s)

These are the plan's figures (JAX 0.10.2, libtpu 0.0.42); no run on such a slice stands behind them. They were made when
each video had conditions of its own; the program planned today is the pipeline's, whose videos share a prompt's. As a
function to call on arrays: `vrjax.plan.jobs.sampling.make`.
"""

from vrjax.models.wan import WanConfig
from vrjax.plan.jobs.sampling import SampleConfig

TOPOLOGY = "v5e:4x4"


def config() -> SampleConfig:
    """The config of the run."""
    return SampleConfig(
        name="wan-14b-sample",
        model=WanConfig(dim=5120, ffn_dim=13824, heads=40, layers=40, param_dtype="bfloat16"),
        latent=(21, 60, 104, 16),
        seeds=2,
        steps=50,
        mesh={"fsdp": 2, "context": 8},
        rules={"embed": ("fsdp", "context")},  # the weights are divided over all chips
    )
