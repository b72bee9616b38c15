"""The shape and run-time options of a WanDiT."""

import dataclasses
from typing import ClassVar

from vrjax.models.blocks.stack import REMAT


@dataclasses.dataclass(frozen=True)
class WanConfig:
    """Shape and run-time options of a WanDiT.

    Attributes:
        dim: width of the residual stream; a multiple of `heads`, with an even head size.
        ffn_dim: width inside the feed-forward.
        heads: attention heads (Wan: head size 128).
        layers: number of blocks.
        in_channels: channels of x together with the channels of `image`, if there are any.
        out_channels: channels of the velocity.
        patch: (t, h, w) size of one token.
        freq_dim: width of the time sinusoid.
        text_dim: width of a text row.
        text_len: rows the pipeline pads text to. The module itself takes any length.
        image_dim: width of a CLIP row; None leaves the image branch out.
        image_positions: rows of the learned position added to CLIP rows (first-last-frame models: 514), or None.
        eps: of all norms (the image branch uses 1e-5, as Wan does).
        qk_norm: RMS norm of queries and keys over all heads jointly.
        cross_norm: affine layer norm before cross-attention.
        dtype: of matrix products and the residual stream. Norms, modulation and softmax are always float32.
        param_dtype: of the stored matrices; norms and modulation are always stored in float32.
        attention: implementation, see `vrjax.models.blocks.attention.attend`.
        sequence: how self-attention works when a layout divides the tokens over devices: "ulysses" (all-to-all over
            heads), "ring" (keys and values travel) or "auto", see `vrjax.models.blocks.sequence.within`.
        causal: block-causal over frames: a token attends to its own and earlier frames only. A control model, not
            part of Wan.
        remat: what the backward pass recomputes per block: "none" (nothing), "full" (everything), "attention"
            (everything but attention itself, whose output is kept: for long sequences the dearest part by far), "dots"
            (all but matrix products), "dots_no_batch" (all but matrix products with weights).
        unroll: run the blocks as a Python loop over the stacked parameters instead of `lax.scan`. Faster training on
            CPU, longer compilation.
        gate_init: None initialises like Wan's public code. A number initialises the gates of the block modulation
            to it (1.0 switches all residual branches on from the start) and every linear layer by Xavier's rule, for
            small models trained from scratch. The output projection starts at zero either way.
    """

    family: ClassVar[str] = "wan"

    dim: int = 1536
    ffn_dim: int = 8960
    heads: int = 12
    layers: int = 30
    in_channels: int = 16
    out_channels: int = 16
    patch: tuple[int, int, int] = (1, 2, 2)
    freq_dim: int = 256
    text_dim: int = 4096
    text_len: int = 512
    image_dim: int | None = None
    image_positions: int | None = None
    eps: float = 1e-6
    qk_norm: bool = True
    cross_norm: bool = True
    dtype: str = "float32"
    param_dtype: str = "float32"
    attention: str = "auto"
    sequence: str = "auto"
    causal: bool = False
    remat: str = "none"
    unroll: bool = False
    gate_init: float | None = None

    def __post_init__(self):
        if self.dim % self.heads or (self.dim // self.heads) % 2:
            raise ValueError(f"WanConfig: dim={self.dim} must be heads={self.heads} times an even head size")
        if self.head_dim < 6:
            raise ValueError(
                f"WanConfig: head size {self.head_dim} leaves no rotary pair per axis, expected at least 6"
            )
        if self.freq_dim % 2:
            raise ValueError(f"WanConfig: freq_dim must be even, found {self.freq_dim}")
        if len(self.patch) != 3:
            raise ValueError(f"WanConfig: patch must be (t, h, w), found {self.patch}")
        if self.remat not in REMAT:
            raise ValueError(f"WanConfig: unknown remat {self.remat!r}, expected one of {sorted(REMAT)}")
        if self.image_positions is not None and self.image_dim is None:
            raise ValueError("WanConfig: image_positions needs image_dim")

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads

    @property
    def patch_size(self) -> int:
        return self.patch[0] * self.patch[1] * self.patch[2]
