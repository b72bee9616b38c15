"""RealDPO on Wan 2.1 T2V 1.3B: adapters, 3 stored losers, the base as reference, 480p x 81 frames, 16 chips of v5p.

Commands: vrjax plan configs/pods/wan_1_3b_realdpo.py --topology v5p:2x2x4
          vrjax losers REALS --model MODEL --pairs realdpo_pairs --size 480x832 --frames 81
          vrjax align configs/pods/wan_1_3b_realdpo.py --start PATH --pairs realdpo_pairs --distributed --root SHARED
Memory:   30.4 of 95.74 GiB a chip: base 1.32, adapters with average and moments 2.61, activations 5.67, temporaries
          20.7
Time:     at least 3.24 s an update of 4 pairs (matrix units; HBM alone 0.90 s, network 0.08 s)

These are the plan's figures (JAX 0.10.2, libtpu 0.0.42); no run on such a slice stands behind them.
"""

from vrjax.align.config import AlignConfig, Preference, Reference
from vrjax.models.wan import WanConfig
from vrjax.train.config import Data, Lora, Optim

TOPOLOGY = "v5p:2x2x4"
LATENT = (21, 60, 104, 16)  # cached latents: the VAE and the text encoder are no part of the step


def config() -> AlignConfig:
    """The config of the run."""
    return AlignConfig(
        name="wan-1.3b-realdpo",
        model=WanConfig(dim=1536, ffn_dim=8960, heads=12, layers=30, remat="attention"),
        start="models/Wan2.1-T2V-1.3B",
        pairs="realdpo_pairs",
        lora=Lora(rank=128, alpha=64.0),
        data=Data(batch=4),
        preference=Preference(loss="reg_dpo", beta=5000.0, anchor=0.1, losers=3, low=0.0, high=0.5),
        reference=Reference(kind="lora_off"),
        optim=Optim(kind="adamw", lr=1e-5, b1=0.9, b2=0.95, weight_decay=1e-4, warmup=100, final=1.0, clip=1.0),
        steps=1000,
        dtype="bfloat16",
        mesh={"fsdp": 4, "context": 4},
    )
