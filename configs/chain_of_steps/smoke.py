"""A run of seconds through every part: data, updates, validation, checkpoints, export. It learns nothing.

Command:        vrjax train configs/chain_of_steps/smoke.py
Expected time:  under a minute on one core, nearly all of it compilation.
Expected score: none; the loss falls from about 2 to below 1.5.
"""

from vrjax.models.wan import WanConfig
from vrjax.train.config import Checkpoint, Data, Optim, TrainConfig, Validate


def config() -> TrainConfig:
    """The config of the run."""
    return TrainConfig(
        name="smoke",
        model=WanConfig(
            dim=16,
            heads=2,
            ffn_dim=32,
            layers=2,
            in_channels=3 + 4,
            out_channels=3,
            freq_dim=32,
            text_dim=32,
            text_len=16,
            gate_init=1.0,
        ),
        data=Data(mix={"maze": 1.0}, batch=4),
        optim=Optim(warmup=5),
        steps=30,
        validate=Validate(every=15, clips=2, final_clips=2, steps=2, group=2),
        checkpoint=Checkpoint(every=10),
    )
