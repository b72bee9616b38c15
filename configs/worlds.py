"""The shipped model: one small video DiT for all embedded worlds.

Command:        vrjax train configs/worlds.py
Expected time:  (the lead completes this sentence)
Expected score: (the lead completes this sentence)

Clips of 9 frames, 40 x 40 pixels, every 4 x 4 block of one colour: the block codec makes 9 x 10 x 10 latents, that is
225 tokens. The unique-solution maze is the main task and gets almost half of the clips; it is the one with room above
and below.
"""

from vrjax.models.wan import WanConfig
from vrjax.train.config import Checkpoint, Data, TrainConfig, Validate

OTHERS = ("maze_goals", "tictactoe", "occluder", "ball", "pick")


def config() -> TrainConfig:
    """The config of the run."""
    return TrainConfig(
        name="worlds",
        model=WanConfig(
            dim=64,
            heads=2,
            ffn_dim=256,
            layers=6,
            in_channels=3 + 4,  # noisy latent; mask and first frame
            out_channels=3,
            text_dim=32,
            text_len=16,
            gate_init=1.0,  # residual branches on from the start
            unroll=True,  # a quarter less CPU time per update than scanned blocks
        ),
        data=Data(mix={"maze": 0.45, **{name: 0.55 / len(OTHERS) for name in OTHERS}}, batch=32),
        steps=3000,
        validate=Validate(every=250, clips=16, final_clips=100, steps=8),
        checkpoint=Checkpoint(every=50),
    )
