"""ViMoGen from text, guided, 16 motions of 5 s at a time with every step kept, on 16 chips of v5e.

Commands: vrjax plan configs/pods/vimogen_sample.py --topology v5e:4x4
          vrjax plan configs/pods/vimogen_sample.py --topology gpu:24
Memory:   0.38 of 15.75 GiB a chip: weights (bfloat16) 0.27, trajectory and temporaries 0.10
Time:     at least 0.012 s a denoising step of all motions (network; HBM alone 0.0033 s, matrix units 0.0026 s)

These are the plan's figures (JAX 0.10.2, libtpu 0.0.42); no run on such a slice stands behind them. More operations are
useful than compiled: the formula counts the text's keys and values in every step, the program computes them once.
"""

from vrjax.models.motion import MotionConfig
from vrjax.plan.jobs.sampling import SampleConfig

TOPOLOGY = "v5e:4x4"


def config() -> SampleConfig:
    """The config of the run."""
    return SampleConfig(
        name="vimogen-sample",
        model=MotionConfig(mode="text", param_dtype="bfloat16"),
        latent=(100, 276),
        seeds=16,
        steps=50,
        solver="euler",
        guidance=5.0,
        mesh={"fsdp": 16},  # a motion and a sixteenth of the weights on each chip
    )
