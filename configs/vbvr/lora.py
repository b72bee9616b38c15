"""VBVR's recipe on Wan 2.2 I2V A14B: adapters of rank 32 for each of the two experts, on encoded clips.

Commands:       vrjax encode VBVR/questions vbvr-cache --model Wan2.2-I2V-A14B --size 384x384 --frames 81
                vrjax train configs/vbvr/lora.py
                vrjax train configs/vbvr/lora.py --name vbvr_lora_low --start Wan2.2-I2V-A14B/low_noise_model \
                    --objective.low 0 --objective.high 0.642
Expected time:  not measured: it needs the public weights, encoded clips and accelerators.
Expected score: none of ours. Published: VBVR-Bench 0.371 for the base model, 0.685 after 1,000,000 clips.

The published recipe: rank 32 on q, k, v, o and both feed-forward matrices of every block, learning rate 1e-4, one
epoch, 384 x 384 pixels, up to 209 frames; the high-noise expert on the first 0.358 of the unshifted levels (sigma 0.9
and above after the shift of 5), the low-noise expert on the rest. Ours: every clip has 81 frames, thinned out evenly or
held at its end (a batch needs one shape; `--frames 209` encodes the longest); levels are uniform before the shift, not
weighted; the learning rate stays constant after its warm-up. Both end in `runs/NAME/adapter.safetensors`:

    vrjax sample --model Wan2.2-I2V-A14B --lora high=runs/vbvr_lora/adapter.safetensors \
        --lora low=runs/vbvr_lora_low/adapter.safetensors --prompt "..." --image first_frame.png
"""

from vrjax.models.wan import WanConfig
from vrjax.train.config import Checkpoint, Data, Lora, Objective, Optim, TrainConfig, Validate

LATENT = (21, 48, 48, 16)
TARGETS = (r"blocks\.(self|cross)_attn\.[qkvo]\.kernel$", r"blocks\.ffn_(in|out)\.kernel$")


def config() -> TrainConfig:
    """The high-noise expert's run; the low-noise expert's differs in `start` and the objective's levels."""
    return TrainConfig(
        name="vbvr_lora",
        model=WanConfig(dim=5120, ffn_dim=13824, heads=40, layers=40, in_channels=36, remat="attention"),
        start="Wan2.2-I2V-A14B/high_noise_model",
        lora=Lora(rank=32, patterns=TARGETS),
        data=Data(cache="vbvr-cache", batch=16),
        steps=62_500,  # one epoch of a million clips
        objective=Objective(times="uniform", shift=5.0, low=0.642, high=1.0, drop=0.0),
        optim=Optim(kind="adamw", lr=1e-4, b2=0.999, weight_decay=0.01, warmup=100, final=1.0),
        validate=Validate(every=0, final_clips=0),
        checkpoint=Checkpoint(every=500),
        dtype="bfloat16",
        mesh={"fsdp": -1},
    )
