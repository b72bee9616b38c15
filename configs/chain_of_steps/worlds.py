"""The shipped model `worlds`: one small video DiT for six worlds at once (the entrant has a specialist of its own).

Command:        vrjax train configs/chain_of_steps/worlds.py
Expected time:  about 45 minutes of one core (AMD EPYC, Zen 4).
Expected score: 89 % of 200 held-out mazes solved in 20 Euler steps, pick 99 %, maze_goals 48 %, tictactoe 18 %,
                occluder and ball below 1 %.

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
