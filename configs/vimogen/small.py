"""A small ViMoGen: both branches, told by text or by a reference motion, on procedural motions that never repeat.

Command:        vrjax train configs/vimogen/small.py
Then:           python -m experiments.vimogen.solved runs/vimogen-small/model --path position
Expected time:  about 40 minutes on one core (two updates a second)
Expected score: of 200 seen scripts (S) the recogniser sees 98 %, the exact rules 90 % (joints by position); of unseen
                compositions (C) 38 % and 35 %, the nearest caption's motion none

Motions are made inside the update (`vrjax.motion.program`, the set S). An example whose reference is withheld
(`objective.drop_others`) learns from its text. The last channels, root and translation, count three times, and middle
noise levels more, as in the public training; its learning rate, clipping and share of withheld text are for forty
thousand updates of 1,024 motions, and ours for 4,500 of 32.
"""

from vrjax.data.motions import Motions
from vrjax.models.motion import MotionConfig
from vrjax.train.config import Data, Objective, Optim, TrainConfig, Validate


def config() -> TrainConfig:
    """The config of the run."""
    return TrainConfig(
        name="vimogen-small",
        model=MotionConfig(
            mode="mixed",
            dim=96,
            ffn_dim=384,
            heads=4,
            layers=4,
            reference_layers=2,
            text_dim=96,
            text_len=24,
            predicts="clean",  # 96 is less than a row's 276 channels, whose noise a velocity would have to name
            gate_init=1.0,
            unroll=True,
        ),
        steps=4500,
        data=Data(motions=Motions(sets=("S",), rows=60), batch=32),
        objective=Objective(shift=5.0, drop=0.1, drop_others=0.7, channel_weights=((258, 3.0),), weighting="bsmntw"),
        optim=Optim(kind="muon", lr=3e-3),
        validate=Validate(every=0, final_clips=0),
    )
