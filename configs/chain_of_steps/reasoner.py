"""Specialist of the Chain-of-Steps study: mazes with one path, and mazes with several equally good goals.

Command:        vrjax train configs/chain_of_steps/reasoner.py --name reasoner-3 --seed 3
                (eight seeds at once: python -m experiments.chain_of_steps.training reasoner --seeds 0 1 2 3 4 5 6 7)
Expected time:  about 24 minutes of one core (AMD EPYC, Zen 4).
Expected score: 60 to 97 % of 96 held-out mazes of either kind solved in 20 Euler steps. With 1,100 updates, and 35 %
                of the clips with several goals, two pilot seeds solved 37 % and 39 % of them
                (experiments/chain_of_steps/training.md).

The shipped model's network (`worlds.py`) and recipe; the cosine ends at the last update.
"""

from vrjax.models.wan import WanConfig
from vrjax.train.config import Checkpoint, Data, TrainConfig, Validate


def config() -> TrainConfig:
    """The config of the run."""
    return TrainConfig(
        name="reasoner",
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
        data=Data(mix={"maze": 0.55, "maze_goals": 0.45}, batch=32),
        steps=2400,
        validate=Validate(every=0, final_clips=96, steps=20),
        checkpoint=Checkpoint(every=100),
        dtype="float32",  # on every device: the specialists of all seeds are one recipe
    )
