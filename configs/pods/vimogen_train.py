"""ViMoGen, all weights, both branches, motions of 2 to 10 s, on 16 chips of v5e.

Commands: vrjax plan configs/pods/vimogen_train.py --topology v5e:4x4
          vrjax train configs/pods/vimogen_train.py --distributed --root SHARED
Memory:   6.26 of 15.75 GiB a chip: weights, average and moments 2.12, activations 0.41, temporaries 3.61
Time:     at least 1.21 s a step (matrix units; HBM alone 0.79 s, network 0.33 s)

These are the plan's figures (JAX 0.10.2, libtpu 0.0.42); no run on such a slice stands behind them.

The values are those of the public training: AdamW, 100 updates of warm-up and then a constant rate, gradients clipped
at 0.1, no average worth the name (its 0.9999 in bfloat16 hardly moves; here it is float32), 1,024 examples an update,
text withheld from half of them, and references from four fifths, which then learn from their text; its lengths, weights
of channels and of noise levels, corrupted references and captions in the style of videos. The motions themselves are
not those, but procedural ones, made inside the update, and their captions are hashed words in the place of UMT5's rows.
"""

from vrjax.data.motions import Motions
from vrjax.models.motion import MotionConfig
from vrjax.train.config import Data, Ema, Objective, Optim, TrainConfig, Validate

TOPOLOGY = "v5e:4x4"


def config() -> TrainConfig:
    """The config of the run."""
    return TrainConfig(
        name="vimogen-train",
        model=MotionConfig(mode="mixed", remat="attention"),
        steps=40_000,
        data=Data(motions=Motions(rows=200, shortest=40, captions="long"), batch=1024),
        objective=Objective(
            times="uniform",
            shift=5.0,
            drop=0.5,
            drop_others=0.8,
            channel_weights=((258, 3.0),),
            weighting="bsmntw",
        ),
        optim=Optim(kind="adamw", lr=2e-4, b1=0.9, b2=0.95, weight_decay=1e-4, warmup=100, final=1.0, clip=0.1),
        ema=Ema(decay=0.9999),
        validate=Validate(every=0, final_clips=0),
        accumulate=4,
        dtype="bfloat16",
        mesh={"fsdp": 16},
    )
