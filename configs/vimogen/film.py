"""A small video model that makes films of motions from their captions: the video side of ViMoGen's study.

Command:        python -m experiments.vimogen.film runs/vimogen/films && vrjax train configs/vimogen/film.py
Then:           experiments.vimogen.film.imagine, and experiments/vimogen/lifter.py on what it gives
Expected time:  about 30 minutes of one core (1.2 updates a second, measured over 12 of them)
Expected score: not measured

4,000 films of all verbs, those that mocap lacks too (sets S, C and V), 15 pictures of 48 x 32 pixels at five a second.
The codec is a mean over 2 x 2 pixels; a token is 4 x 4 of its numbers of one picture, 360 a film. Captions and their
rows of text are the motion model's (`small.py`), so that one prompt asks both.
"""

from vrjax.models.wan import WanConfig
from vrjax.train.config import Data, Objective, TrainConfig, Validate


def config() -> TrainConfig:
    """The config of the run."""
    return TrainConfig(
        name="vimogen-film",
        model=WanConfig(
            dim=96,
            ffn_dim=384,
            heads=4,
            layers=4,
            in_channels=3,
            out_channels=3,
            patch=(1, 4, 4),
            text_dim=96,
            text_len=24,
            gate_init=1.0,
            unroll=True,
        ),
        steps=2000,
        data=Data(cache="runs/vimogen/films", codec_factor=2, batch=16),
        objective=Objective(shift=3.0, drop=0.1),
        validate=Validate(every=0, final_clips=0),
    )
