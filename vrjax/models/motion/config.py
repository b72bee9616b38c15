"""Shape and run-time options of ViMoGen's transformer."""

import dataclasses
from typing import ClassVar

from vrjax.models.blocks import parameterization, stack

MODES = ("text", "motion", "mixed")
PREDICTS = parameterization.PREDICTS[:2]


@dataclasses.dataclass(frozen=True)
class MotionConfig:
    """Shape and run-time options of a MotionDiT; the defaults are ViMoGen's (WanModelTM2M).

    Attributes:
        dim: width of the residual stream, a multiple of `heads`.
        ffn_dim: width inside the feed-forward.
        heads: attention heads.
        layers: number of blocks.
        channels: of a frame of motion, in and out.
        reference_channels: of a frame of reference motion. None leaves that branch out (the public class WanModelT2M).
        reference_layers: blocks of the reference's own encoder; by default half of `layers`, at least one.
        local_channels: the first channels of the output have a head of their own, whose answer the head of the others
            is told (the public `split_head`: 126). None: one head for all.
        freq_dim: width of the time sinusoid.
        text_dim: width of a text row.
        text_len: rows that pipelines pad text to, at least. The module itself takes any number.
        eps: of all norms.
        qk_norm: RMS norm of queries and keys over all heads jointly.
        cross_norm: affine layer norm before either cross-attention.
        predicts: what the heads predict: "velocity", as ViMoGen does; or "clean", the motion itself, of which the
            velocity is made, see `blocks.parameterization`. A residual stream that is narrower than `channels` cannot
            hand through the noise that is part of a velocity.
        mode: of a call that names none, and of what goes through the family's protocol (`MotionDiT.__call__`).
        dtype, param_dtype, attention, sequence, remat, unroll, gate_init: see `vrjax.models.wan.WanConfig`.
    """

    family: ClassVar[str] = "motion"
    TARGETS: ClassVar[tuple[str, ...]] = (r"(^|\.)(blocks|reference_encoder)\..*kernel$",)
    MUON: ClassVar[tuple[str, ...]] = (*TARGETS, r"(^|\.)time_projection\.kernel$")
    GUIDED: ClassVar[tuple[str, ...]] = ("text",)
    SIZES: ClassVar[tuple[str, ...]] = ("length",)
    image_dim: ClassVar[None] = None  # what `blocks.layers` asks of every config

    dim: int = 1536
    ffn_dim: int = 8960
    heads: int = 12
    layers: int = 30
    channels: int = 276
    reference_channels: int | None = 138
    reference_layers: int | None = None
    local_channels: int | None = None
    freq_dim: int = 256
    text_dim: int = 4096
    text_len: int = 226
    eps: float = 1e-6
    qk_norm: bool = True
    cross_norm: bool = True
    predicts: str = "velocity"
    mode: str = "text"
    dtype: str = "float32"
    param_dtype: str = "float32"
    attention: str = "auto"
    sequence: str = "auto"
    remat: str = "none"
    unroll: bool = False
    gate_init: float | None = None

    def __post_init__(self):
        if self.reference_layers is None or self.reference_channels is None:  # a stored config says what was meant
            half = None if self.reference_channels is None else max(1, self.layers // 2)
            object.__setattr__(self, "reference_layers", half)
        if self.dim % self.heads or self.dim % 2:
            raise ValueError(f"MotionConfig: dim={self.dim} must be even and a multiple of heads={self.heads}")
        if self.freq_dim % 2:
            raise ValueError(f"MotionConfig: freq_dim must be even, found {self.freq_dim}")
        if self.reference_layers is not None and not 1 <= self.reference_layers <= self.layers:
            found = f"reference_layers={self.reference_layers}"
            raise ValueError(f"MotionConfig: {found}, expected 1 to layers={self.layers}")
        if self.local_channels is not None and not 0 < self.local_channels < self.channels:
            raise ValueError(f"MotionConfig: local_channels={self.local_channels}, expected 1 to {self.channels - 1}")
        if self.remat not in stack.REMAT:
            raise ValueError(f"MotionConfig: unknown remat {self.remat!r}, expected one of {sorted(stack.REMAT)}")
        if self.predicts not in PREDICTS:
            raise ValueError(f"MotionConfig: predicts={self.predicts!r}, expected one of {', '.join(PREDICTS)}")
        check_mode(self, self.mode)

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads

    @property
    def encoder_layers(self) -> int:
        """Blocks of the reference's encoder."""
        return self.reference_layers or 0


def check_mode(cfg: MotionConfig, mode: str) -> None:
    """ValueError: no mode, or one that the network has no branch for."""
    if mode not in MODES:
        raise ValueError(f"mode: found {mode!r}, expected one of {MODES}")
    if mode != "text" and cfg.reference_channels is None:
        raise ValueError(f"mode: found {mode!r}, but this model has no reference branch, expected 'text'")
