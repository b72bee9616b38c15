"""A small video model that makes films of motions from their captions: the video side of ViMoGen's study.

Command:        python -m experiments.vimogen.film runs/vimogen/films && vrjax train configs/vimogen/film.py
Then:           experiments.vimogen.film.imagine, and experiments/vimogen/lifter.py on what it gives
Expected time:  5 minutes of one core (3.9 updates a second), and two for the films
Expected score: the recogniser sees what was asked for in .58 of bodies lifted of its films of S, .57 of C, .71 of V

4,000 films of all verbs, those that mocap lacks too (sets S, C and V), 15 pictures of 48 x 32 pixels at five a second.
A token is half a picture, as 48 principal components (`film.Components`), 30 tokens a film. Captions and their rows of
text are the motion model's (`small.py`), so that one prompt asks both. With three times as many updates nearly all
films are right, and no gate has anything to do (`experiments/vimogen/tuning.md`).
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
            in_channels=48,
            out_channels=48,
            patch=(1, 1, 1),
            text_dim=96,
            text_len=24,
            gate_init=1.0,
            unroll=True,
        ),
        steps=1000,
        data=Data(cache="runs/vimogen/films", batch=64),
        objective=Objective(shift=3.0, drop=0.1),
        validate=Validate(every=0, final_clips=0),
    )
