"""The pushing world, learned: frame by frame, two denoising steps each, from films that are drawn on the fly.

Command:        vrjax learn configs/world_model/push.py
Expected time:  55 minutes of one quiet core (3.7 updates a second), of which two are for the reader and the measuring
Expected score: after one step the agent is 0.10 pixels off, the block 0.06, after six 0.30 and 0.31, after twelve 0.61
                and 0.87 (seed 0; 5.5 and 3.9 where nothing moves). `configs/world_model/push_longer.py` goes on from
                here to the shipped world. What was tried is in `experiments/world_model/tuning.md`

One block, no walls, no slips. Frames are 4 tokens of 96 components. What decided, one seed each, after 600 updates:
that errors are counted by frame and the memory is shown with little noise (0.15 of it hide where things are within a
pixel), and that the network predicts the change of the frame before. Squares of 8 pixels learn as well as squares of 4,
in half of the time.
"""

from vrjax.models.causal import CausalConfig
from vrjax.train.config import Checkpoint, Data, Objective, Optim
from vrjax.world.learned import Spec
from vrjax.world.learned.train import WorldConfig


def config() -> WorldConfig:
    """The config of the run."""
    return WorldConfig(
        name="world-push",
        model=CausalConfig(
            dim=128,
            ffn_dim=384,
            heads=4,
            layers=4,
            in_channels=96,
            out_channels=96,
            patch=(1, 1, 1),
            freq_dim=64,
            text_len=0,
            action=2,
            chunk=1,
            window=3,
            positions="relative",
            previous=True,
            predicts="change",
            attention="xla",
            unroll=True,
            gate_init=1.0,
        ),
        spec=Spec(world="push", options=(("blocks", 1), ("walls", 0)), moving=("agent", "blocks"), still=("goal",)),
        steps=12_000,
        frames=6,
        context=0.03,
        counts="frame",
        patch=8,
        objective=Objective(shift=4.0, drop=0.0, low=0.08),
        data=Data(batch=32),
        optim=Optim(warmup=50),
        checkpoint=Checkpoint(every=100),
        measured=1024,
    )
