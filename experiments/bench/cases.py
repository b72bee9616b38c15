"""What is timed: shapes that both sides read, and nothing that belongs to one of them."""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Case:
    """One timed piece of work on one model shape, with random weights and inputs that both sides share.

    Attributes:
        name: the row's name in the table.
        work: "forward", "train", "guided" (sampling, two branches, every step recorded), "single" (sampling, one seed)
            or "ensemble" (sampling, all seeds coupled); of Wan 2.1's VAE, "encode" or "decode"; "motion" (sampling a
            batch of motions with a ViMoGen, every step recorded).
        heads, head_dim, ffn_dim, layers: shape of the transformer.
        latent: (t, h, w, c) of one example; patches are 1 x 2 x 2.
        text: (rows, width) of the text.
        batch: examples in a train step.
        steps: sampler steps.
        seeds: noises of an ensemble.
        scale: guidance scale.
        shift: of the noise grid.
        dtype: of weights and matrix products, "float32" or "bfloat16".
        video: (frames, h, w) of the VAE's clip.
        width: channels of the VAE's first stage; 96 in the public one.
        motion: (frames, channels) of a motion.
        mode: what a motion is told by: "text", with guidance, or "motion", a reference of half its channels.
        reference_layers: blocks of the reference's own encoder.
        axis: mesh axis over which vrjax divides the work where the CPU's cores are devices; None: it stays on one.
    """

    name: str
    work: str
    heads: int = 4
    head_dim: int = 64
    ffn_dim: int = 1024
    layers: int = 4
    latent: tuple[int, int, int, int] = (5, 32, 32, 16)
    text: tuple[int, int] = (64, 64)
    batch: int = 1
    steps: int = 20
    seeds: int = 8
    scale: float = 5.0
    shift: float = 3.0
    dtype: str = "float32"
    video: tuple[int, int, int] = (33, 128, 128)
    width: int = 96
    motion: tuple[int, int] = (60, 276)
    mode: str = "text"
    reference_layers: int = 3
    axis: str | None = None

    beside = "torch"

    @property
    def vae(self) -> bool:
        """Whether the VAE works, not the transformer."""
        return self.work in ("encode", "decode")

    @property
    def dim(self) -> int:
        return self.heads * self.head_dim

    @property
    def tokens(self) -> int:
        t, h, w, _ = self.latent
        return t * h * w // 4

    def arrays(self) -> dict[str, np.ndarray]:
        """The inputs, float32, equal on both sides: `x`, `noise` (seeds or batch first), `text`, `negative`; of the
        VAE `video` or `z`, a normalised latent; of motions `noise`, `text` and `reference`, a batch of each.
        """
        rng = np.random.default_rng(0)
        draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)
        if self.work == "motion":
            frames, channels = self.motion
            shapes = {"noise": self.motion, "text": self.text, "reference": (frames, channels // 2)}
            return {name: draw(self.batch, *shape) for name, shape in shapes.items()}
        if self.vae:
            frames, h, w = self.video
            video = rng.uniform(-1, 1, (frames, h, w, 3)).astype(np.float32)
            return {"video": video, "z": rng.standard_normal((frames // 4 + 1, h // 8, w // 8, 16)).astype(np.float32)}
        n = max(self.seeds if self.work == "ensemble" else 1, self.batch)
        return {
            "x": draw(n, *self.latent),
            "noise": draw(n, *self.latent),
            "text": draw(n if self.work == "train" else 1, *self.text),
            "negative": draw(1, *self.text),
            "sigma": rng.uniform(0.1, 0.9, n).astype(np.float32),
        }

    def diffusers(self) -> dict[str, Any]:
        """Arguments of diffusers' WanTransformer3DModel."""
        return {
            "patch_size": (1, 2, 2),
            "num_attention_heads": self.heads,
            "attention_head_dim": self.head_dim,
            "in_channels": self.latent[-1],
            "out_channels": self.latent[-1],
            "text_dim": self.text[1],
            "freq_dim": 256,
            "ffn_dim": self.ffn_dim,
            "num_layers": self.layers,
            "cross_attn_norm": True,
            "qk_norm": "rms_norm_across_heads",
            "eps": 1e-6,
        }


def evaluations(case: Case) -> int:
    """Forward passes of the network in one timed call; a training step counts as three."""
    return {
        "forward": 1,
        "train": 3 * case.batch,
        "guided": 2 * case.steps,
        "single": case.steps,
        "ensemble": case.steps * case.seeds,
    }[case.work]


def cpu() -> tuple[Case, ...]:
    """The table for CPUs: minutes on two cores."""
    small: dict[str, Any] = dict(latent=(5, 16, 16, 16), text=(64, 64))
    tiny: dict[str, Any] = dict(heads=2, head_dim=32, ffn_dim=256, layers=6, latent=(9, 10, 10, 4), text=(16, 32))
    return (
        Case("forward", "forward", axis="tensor"),
        Case("train_step", "train"),
        Case("guided_loop", "guided", axis="data", **small),
        Case("single", "single", steps=10, **small),
        Case("ensemble_8", "ensemble", steps=10, **small),
        Case("train_step_embedded", "train", batch=32, **tiny),
        Case("guided_loop_embedded", "guided", axis="data", **tiny),
    )


def vae() -> tuple[Case, ...]:
    """Wan 2.1's VAE on a small clip, random weights in float32; half a minute a pair of rows."""
    return (Case("vae_encode", "encode"), Case("vae_decode", "decode"))


def motion() -> tuple[Case, ...]:
    """Sixteen motions of 3 s at once: a small ViMoGen told by text or by references, and one block of the true size."""
    small: dict[str, Any] = dict(
        head_dim=32, ffn_dim=512, layers=6, text=(24, 96), batch=16, shift=5.0, axis="seed", work="motion"
    )
    true: dict[str, Any] = dict(
        small, heads=12, head_dim=128, ffn_dim=8960, layers=1, reference_layers=1, text=(226, 4096), steps=5
    )
    return (
        Case("motion_text", **small),
        Case("motion_reference", mode="motion", **small),
        Case("motion_block", **true),
    )


def gpu() -> tuple[Case, ...]:
    """The table for one large GPU: Wan 2.1 T2V-1.3B at 480p x 81 frames, random weights, bfloat16."""
    wan: dict[str, Any] = dict(
        heads=12, head_dim=128, ffn_dim=8960, layers=30, latent=(21, 60, 104, 16), text=(512, 4096), dtype="bfloat16"
    )
    seeds: dict[str, Any] = dict(wan, latent=(5, 30, 52, 16))
    return (
        Case("forward", "forward", **wan),
        Case("single", "single", steps=10, **seeds),
        Case("ensemble_8", "ensemble", steps=10, **seeds),
        Case("guided_loop", "guided", steps=4, shift=5.0, **wan),
    )


# Attention alone, compared with float64 before anything is timed on a GPU: (queries, keys, heads, head_dim).
ATTENTION = ((2048, 2048, 12, 128), (2048, 512, 12, 128))


def attention(shape: tuple[int, int, int, int]) -> list[np.ndarray]:
    """q, k, v and the gradient of the output, float32."""
    n, m, heads, d = shape
    rng = np.random.default_rng(1)
    return [rng.standard_normal((rows, heads, d)).astype(np.float32) for rows in (n, m, m, n)]


# What vrjax is measured for alone (`costs_side`, `memory_side`): the row's name, and what its ratio is of.
COSTS = {
    "recording": "time, recording x, v and x0 of every step / recording nothing",
    "recorded_bytes": "bytes returned more / bytes of what is recorded",
    "compiling": "compile time, 200 steps / 10 steps",
    "preference_1": "a preference step, 1 loser, live reference / what its forwards cost in training steps",
    "preference_3": "the same with 3 losers",
    "preference_stored": "the same with 1 loser and stored reference errors",
    "motions": "seconds to make 1,000 procedural motions of 3 s",
    "drive_16": "milliseconds a frame of MiniDrive, 16 boxes in view",
    "drive_28": "the same, 28 boxes in view",
    "drive_worlds": "frames a second of 64 worlds under vmap / of one",
    "learned_drive": "milliseconds a frame of the learned MiniDrive, median",
    "learned_drive_p95": "the same, 95th percentile",
    "memory": "peak memory / what must be there",
}
