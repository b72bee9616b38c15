"""The pushing world, learned: frame by frame, two denoising steps each, from films that are drawn on the fly.

Command:        python -c "from configs.world_model.push import config; from vrjax.world.learned import train;
                train.run(config())"
Expected time:  ten minutes of one core (3.2 updates a second), of which one is for the reader and the measuring
Expected score: not run to its end yet. After 1,000 updates of a cosine that ended there the agent is 0.23 pixels off
                after one step and 0.85 after six (0.76 and 2.78 where nothing moves), the block 0.19 and 0.50 (0.21
                and 0.93), of which 0.15 are the reader's; one seed

One block, no walls, no slips. Frames are 16 tokens of 24 components, which keep 99.6 % of the variance. What decides is
that the network predicts the frame: predicting velocities (levels shifted by 3, one seed each) the agent's error stayed
that of a world in which nothing moves, without the frame before after 900 updates and with it after 450.
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
            dim=64,
            ffn_dim=256,
            heads=2,
            layers=4,
            in_channels=24,
            out_channels=24,
            patch=(1, 1, 1),
            freq_dim=64,
            text_len=0,
            action=2,
            chunk=1,
            window=3,
            positions="relative",
            previous=True,
            predicts="clean",
            attention="xla",
            unroll=True,
            gate_init=1.0,
        ),
        spec=Spec(world="push", options=(("blocks", 1), ("walls", 0)), moving=("agent", "blocks"), still=("goal",)),
        steps=1800,
        frames=6,
        context=0.15,
        objective=Objective(shift=2.0, drop=0.0, low=0.15),
        data=Data(batch=32),
        optim=Optim(warmup=50),
        checkpoint=Checkpoint(every=100),
    )
