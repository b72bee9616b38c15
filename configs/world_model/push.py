"""The pushing world, learned: frame by frame, two denoising steps each, from films that are drawn on the fly.

Command:        python -c "from configs.world_model.push import config; from vrjax.world.learned import train;
                train.run(config())"
Expected time:  about ten minutes of one core
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
