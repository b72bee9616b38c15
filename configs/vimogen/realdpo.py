"""RealDPO on motions: real ones are the program's, losers are the model's own samples, drawn inside the update.

Commands:       vrjax train configs/vimogen/small.py
                vrjax align configs/vimogen/realdpo.py
Then:           python -m experiments.vimogen.solved runs/vimogen-realdpo/model
Expected time:  about 10 minutes on one core
Expected score: see experiments/vimogen/README.md

A winner is a procedural motion, its loser what the policy makes of the same text in ten guided steps; both get the same
noise and level. The anchor keeps the winner's own error in the loss (experiments/realdpo: without it DPO may get worse
on both). From text alone: `mode` is "text", and the weights of the reference's branch stay as they were.
"""

from vrjax.align.config import AlignConfig, Preference, Reference, Rollout
from vrjax.data.motions import Motions
from vrjax.models.motion import MotionConfig
from vrjax.train.config import Data, Objective, Optim


def config() -> AlignConfig:
    """The config of the run."""
    return AlignConfig(
        name="vimogen-realdpo",
        model=MotionConfig(
            mode="text",
            dim=96,
            ffn_dim=384,
            heads=4,
            layers=4,
            reference_layers=2,
            text_dim=96,
            text_len=24,
            predicts="clean",
            gate_init=1.0,
            unroll=True,
        ),
        start="runs/vimogen-small/model",
        data=Data(motions=Motions(sets=("S",), rows=60, corrupted=False), batch=8),
        objective=Objective(shift=5.0, drop=0.0),
        preference=Preference(loss="reg_dpo", beta=500.0, anchor=1.0, losers=1),
        reference=Reference(kind="frozen"),
        rollout=Rollout(source="policy", steps=10, shift=5.0, guidance=2.0),
        optim=Optim(kind="adamw", lr=1e-4, warmup=10, final=1.0),
        steps=200,
    )
