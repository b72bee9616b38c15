"""MiniDrive, distilled: the world of `configs/world_model/drive.py` goes on behind its own frames, in two denoising
steps each, where its distribution is to be the teacher's (the same world's).

Command:        vrjax learn configs/world_model/drive_student.py
Expected time:  10 minutes of one core whose neighbour is busy as well
Expected score: hardly a gain. Of seed 1 (`--seed 1 --world runs/world-drive-1/world`) places are 2.22 m off after ten
                steps, of its teacher, asked in sixteen steps or in two, 2.34 (`experiments/world_model/fewer.md`)

It needs the run folder of the world itself, runs/world-drive, and the films that it was trained on (runs/films). Levels
are no lower than the teacher has been trained on.
"""

from configs.world_model import drive
from vrjax.train.config import Data, Optim
from vrjax.world.learned.distill import DistillConfig


def config() -> DistillConfig:
    """The config of the run."""
    taught = drive.config()
    return DistillConfig(
        name="world-drive-student",
        model=taught.model,
        world="runs/world-drive/world",
        few=taught.spec.steps,
        shift=taught.spec.shift,
        frames=taught.frames,
        films=taught.films,
        steps=200,
        objective=taught.objective,
        data=Data(batch=8),
        optim=Optim(kind="adamw", lr=2e-4, b1=0.0, b2=0.99, warmup=20, weight_decay=0.0),
        critic_lr=2e-4,
        checkpoint=taught.checkpoint,
        dtype=taught.dtype,
        measured=taught.measured,
    )
