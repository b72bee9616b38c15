"""MiniDrive, learned: what the front camera sees, frame by frame, two denoising steps each.

Command:        vrjax learn configs/world_model/drive.py
Expected time:  11 minutes of one core whose neighbour is busy as well, of which two are for films, odometer and
                measuring
Expected score: the tables of `vrjax/world/learned/weights/drive/README.md`, of that run (seed 0); seed 1 is
                2.24 m off after ten steps

Frames of 48 x 80 are 15 tokens of 96 components. Films are drawn once, 19,200 frames of all kinds of maps and weather
(221 MB in runs/films), and a batch is of short stretches of them.
"""

from vrjax.models.causal import CausalConfig
from vrjax.train.config import Checkpoint, Data, Objective, Optim
from vrjax.world.learned import Spec
from vrjax.world.learned.library import Library
from vrjax.world.learned.train import WorldConfig


def config() -> WorldConfig:
    """The config of the run."""
    return WorldConfig(
        name="world-drive",
        model=CausalConfig(
            dim=160,
            ffn_dim=320,
            heads=4,
            layers=4,
            in_channels=96,
            out_channels=96,
            patch=(1, 1, 1),
            freq_dim=64,
            text_len=0,
            action=2,
            chunk=1,
            window=8,
            positions="relative",
            previous=True,
            predicts="change",
            attention="xla",
            unroll=True,
            gate_init=1.0,
        ),
        spec=Spec(world="drive", options=(("height", 48), ("width", 80)), moving=(), still=(), shift=2.0),
        films=Library(films=480, frames=40, held=32),
        patch=16,
        steps=900,
        frames=8,
        context=0.1,
        counts="frame",
        objective=Objective(shift=2.0, drop=0.0, low=0.4),
        data=Data(batch=8),
        optim=Optim(warmup=50),
        checkpoint=Checkpoint(every=50),
        reading=4000,
        measured=32,
    )
