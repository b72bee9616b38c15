"""Specialist of the Chain-of-Steps study: an object of unstated look comes in, hides and goes out as it came in.

Command:        vrjax train configs/chain_of_steps/entrant.py --name entrant-3 --seed 3
                (eight seeds at once: python -m experiments.chain_of_steps.training entrant --seeds 0 1 2 3 4 5 6 7)
Expected time:  about 8 minutes of one core (AMD EPYC, Zen 4).
Expected score: 75 to 92 % of 96 held-out clips solved in 20 Euler steps; with 8 steps much less (.75 against .87 in the
                pilot). Nothing is readable before 200 updates, and both ends agree only from 500 on.

The shipped model's network (`worlds.py`) and recipe; the cosine ends at the last update.
"""

from vrjax.models.wan import WanConfig
from vrjax.train.config import Checkpoint, Data, TrainConfig, Validate


def config() -> TrainConfig:
    """The config of the run."""
    return TrainConfig(
        name="entrant",
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
        data=Data(mix={"entrant": 1.0}, batch=32),
        steps=900,
        validate=Validate(every=0, final_clips=96, steps=20),
        checkpoint=Checkpoint(every=100),
        dtype="float32",  # on every device: the specialists of all seeds are one recipe
    )
