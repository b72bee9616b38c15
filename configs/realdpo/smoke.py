"""Every part of a preference run in a minute: real winners, losers sampled in the update, a slow reference.

Command:        vrjax align configs/realdpo/smoke.py
Expected time:  about a minute on one core, most of it compilation.
Expected score: none; the first loss is log 2 (0.693), and it learns nothing worth keeping.

The winners are clips of the embedded maze world, the losers are samples of the model itself, and the model is the
shipped one. The anchor keeps the winner's error in the loss: without it DPO may lower its loss by getting worse on
both.
"""

from vrjax.align.config import AlignConfig, Preference, Reference, Rollout
from vrjax.models.embedded import shipped
from vrjax.models.wan import WanConfig
from vrjax.train.config import Checkpoint, Data, Lora, Optim


def config() -> AlignConfig:
    """The config of the run."""
    return AlignConfig(
        name="realdpo_smoke",
        model=WanConfig(
            dim=64,
            heads=2,
            ffn_dim=256,
            layers=6,
            in_channels=3 + 4,
            out_channels=3,
            text_dim=32,
            text_len=16,
            gate_init=1.0,
        ),
        start=str(shipped.FOLDER / "worlds"),
        lora=Lora(rank=4),
        data=Data(mix={"maze": 1.0}, batch=2),
        preference=Preference(loss="reg_dpo", beta=500.0, anchor=1.0, losers=1),
        reference=Reference(kind="lora_off"),
        rollout=Rollout(source="policy", steps=4, shift=3.0),
        optim=Optim(kind="adamw", lr=1e-4, warmup=1, final=1.0),
        steps=4,
        checkpoint=Checkpoint(every=2),
    )
