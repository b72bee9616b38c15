"""ViMoGen from text, guided, 16 motions of 5 s at a time with every step kept, on 16 chips of v5e.

Command:  vrjax plan configs/vimogen/pod_sample.py --topology v5e:4x4
          vrjax plan configs/vimogen/pod_sample.py --topology gpu:24
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
        mesh={"fsdp": 16},
    )
