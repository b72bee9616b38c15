"""One skill: a small video model draws the answer to one subtype's puzzles over the question.

Command:        vrjax train configs/babyvision/specialist.py --name draw-maze --data.mix draw_maze 1
Expected time:  not measured yet
Expected score: not measured yet

Question and answer are two frames of 64 x 64 pixels; a token holds 8 x 8 pixels of both (64 tokens). The network says
what has to be added to the question, and errors count as those of the picture at every noise level: what stays is for
nothing, and no noise has to pass through its narrow stream.
"""

from vrjax.models.wan import WanConfig
from vrjax.train.config import Checkpoint, Data, Objective, TrainConfig, Validate


def config() -> TrainConfig:
    """The config of the run."""
    return TrainConfig(
        name="draw-maze",
        model=WanConfig(
            dim=128,
            heads=4,
            ffn_dim=384,
            layers=6,
            in_channels=3 + 4,  # noisy picture; mask and question
            out_channels=3,
            patch=(2, 8, 8),
            freq_dim=64,
            text_dim=32,
            text_len=28,
            gate_init=1.0,
            unroll=True,
            predicts="change",
        ),
        data=Data(mix={"draw_maze": 1.0}, batch=32, codec_factor=1),
        steps=1500,
        objective=Objective(shift=6.0, low=0.05, drop=0.0, weighting="clean"),
        validate=Validate(every=250, clips=32, final_clips=64, steps=8),
        checkpoint=Checkpoint(every=100),
        dtype="float32",
    )
