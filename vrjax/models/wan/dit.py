"""The video diffusion transformer of Wan 2.1 / 2.2: one class from half a million to 14 billion parameters.

    dit = WanDiT(WanConfig(dim=64, ffn_dim=256, heads=2, layers=6, ...), rngs=nnx.Rngs(0))
    v, taps = dit(x, time, text, image=image)          # x (t, h, w, c); one example, batches by jax.vmap

The module is a frozen pytree: it is never mutated in a call, and goes through raw `jax.jit`, `grad`, `vmap` and
`lax.scan`. Blocks are stacked on a leading axis of their parameters. The architecture is Wan's own, so public weights
load into it (`load_dit`): text-to-video, image-to-video by channel concatenation, the CLIP image branch, and one time
per token. Text of any length is taken as given: Wan's pipelines pad it with zero rows to 512 and do not mask them.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from vrjax.flow import Prediction, words
from vrjax.models.blocks import parameterization, stack
from vrjax.models.blocks.conditioned import Conditioned, guided
from vrjax.models.blocks.layers import PARTS, Block, LayerNorm, Linear, layer_norm, rotary_angles, spread
from vrjax.models.blocks.sites import Sites
from vrjax.parallel.layout import Layout, place

IMAGE_EPS = 1e-5  # of the image branch's two norms, whatever the config's eps


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
        predicts: what the head says: "velocity", as Wan's does; "clean", the latent itself; or "change", what has to be
            added to the latent of the picture that is given, the last channels of `image`: see
            `blocks.parameterization`.
    """

    family: ClassVar[str] = "wan"
    TARGETS: ClassVar[tuple[str, ...]] = (r"(^|\.)blocks\..*kernel$",)
    # The modulation of all blocks comes out of one shared matrix: Muon updates it as well.
    MUON: ClassVar[tuple[str, ...]] = (*TARGETS, r"(^|\.)time_projection\.kernel$")
    GUIDED: ClassVar[tuple[str, ...]] = ("text",)
    BEFORE: ClassVar[str] = "the picture that is given, which needs as many channels of image as of velocity"

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
    predicts: str = parameterization.PREDICTS[0]

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
        if self.remat not in stack.REMAT:
            raise ValueError(f"WanConfig: unknown remat {self.remat!r}, expected one of {sorted(stack.REMAT)}")
        if self.image_positions is not None and self.image_dim is None:
            raise ValueError("WanConfig: image_positions needs image_dim")
        if self.predicts not in parameterization.PREDICTS:
            known = ", ".join(parameterization.PREDICTS)
            raise ValueError(f"{type(self).__name__}: predicts={self.predicts!r}, expected one of {known}")
        if self.predicts == "change" and not self.changes:
            raise ValueError(f"{type(self).__name__}: predicts='change' adds to {self.BEFORE}")

    @property
    def changes(self) -> bool:
        """Whether there is something that a change can be added to: the picture that is given."""
        return self.in_channels >= 2 * self.out_channels

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads

    @property
    def patch_size(self) -> int:
        return self.patch[0] * self.patch[1] * self.patch[2]


class Image(NamedTuple):
    """Image conditions: `channels` (t, h, w, c) is concatenated to x, `clip` (n, image_dim) feeds the image branch."""

    channels: Any = None
    clip: Any = None

    __repr__ = words.line


class Context(NamedTuple):
    """What cross-attention reads, computed from the conditions once: see `WanDiT.context`.

    `rows` are embedded text (l, dim) and CLIP rows (n, dim) or None. `pairs`, if not None, are every block's keys and
    values of them, (layers, l | n, heads, head_dim) each. `blocks`, if not None, are the weights of every block by
    itself, for unrolled blocks.
    """

    rows: tuple
    pairs: tuple | None = None
    blocks: list | None = None

    __repr__ = words.line


class ImageEmbedding(nnx.Module):
    """CLIP rows (n, image_dim) to context rows (n, dim): norm, two linear layers with the exact (erf) GELU, norm."""

    def __init__(self, cfg: WanConfig, key: jax.Array):
        keys = jax.random.split(key)
        xavier = nnx.initializers.xavier_uniform()
        assert cfg.image_dim is not None
        self.norm_in, self.norm_out = LayerNorm(cfg.image_dim, IMAGE_EPS), LayerNorm(cfg.dim, IMAGE_EPS)
        self.linear_in = Linear(xavier, keys[0], cfg.image_dim, cfg.image_dim, cfg.param_dtype)
        self.linear_out = Linear(xavier, keys[1], cfg.image_dim, cfg.dim, cfg.param_dtype)
        rows = cfg.image_positions
        self.positions = None if rows is None else nnx.Param(jnp.zeros((rows, cfg.image_dim)))

    def __call__(self, cfg: WanConfig, clip: Array) -> Array:
        if self.positions is not None:
            clip = clip + self.positions[...]
        x = jax.nn.gelu(self.linear_in(self.norm_in(clip), cfg.dtype), approximate=False)
        return self.norm_out(self.linear_out(x, cfg.dtype)).astype(cfg.dtype)


class WanDiT(Conditioned):
    """Wan's diffusion transformer. See the module docstring; `WanConfig` states every option.

    `layout` says where activations live on a mesh (`shard` sets it together with the parameters'); None: one device.
    """

    def __init__(self, cfg: WanConfig, *, rngs: nnx.Rngs, layout: Layout | None = None):
        keys = jax.random.split(rngs.params(), 9)
        super().__init__(cfg, keys[1:6], layout)
        xavier = nnx.initializers.xavier_uniform()
        self.patch_embedding = Linear(xavier, keys[0], cfg.in_channels * cfg.patch_size, cfg.dim, cfg.param_dtype)
        self.image_embedding = ImageEmbedding(cfg, keys[6]) if cfg.image_dim is not None else None
        self.blocks = jax.vmap(lambda key: Block(cfg, key))(jax.random.split(keys[7], cfg.layers))
        self.head_modulation = nnx.Param(jax.random.normal(keys[8], (2, cfg.dim)) / np.sqrt(cfg.dim))
        zeros = nnx.initializers.zeros_init()
        self.head = Linear(zeros, keys[8], cfg.dim, cfg.patch_size * cfg.out_channels, cfg.param_dtype)

    def __repr__(self) -> str:
        return f"WanDiT({self.cfg.layers} blocks of width {self.cfg.dim}, {words.parameters(self)})"

    def __call__(
        self,
        x: Float[Array | np.ndarray, "t h w c"],
        time: Any,
        text: Float[Array | np.ndarray, "l d"],
        *,
        image: Any = None,
        taps: Mapping[str, Callable] = {},  # noqa: B006 (never mutated)
        edits: Mapping[str, Callable] = {},  # noqa: B006
    ) -> Prediction:
        """Velocity of one example.

        Args:
            x: noisy latent (t, h, w, c), each of t, h, w a multiple of the patch.
            time: 0 .. 1000, a scalar, or one per latent patch-frame (t / patch_t,), or one per token (tokens,) in
                (t, h, w) row-major order. Kept in float32. One per frame costs no more than a scalar.
            text: (l, text_dim), any l >= 1, no mask.
            image: channels (t, h, w, c_y) concatenated after those of x, or an `Image`.
            taps: site -> fn(h); results in `Prediction.taps`, those of `block.*` sites stacked over blocks.
            edits: site -> fn(h) -> h, applied before the taps of the same site. Sites: `embed`, `block.I`, and
                `block.I.self_attn`, `.cross_attn`, `.ffn` (the gated increments), with `*` for every block.

        Returns:
            Prediction(v (t, h, w, out_channels) float32, taps).

        Raises:
            ValueError: shapes that do not fit the config, or an unknown site.
        """
        image = image if isinstance(image, Image) else Image(channels=image)
        return self._run(x, time, self.context(text, image.clip), image.channels, taps, edits)

    def context(self, text: Any, clip: Any = None, *, ahead: bool = False) -> Context:
        """Embeds the conditions that depend on neither x nor time.

        Args:
            text: (l, text_dim).
            clip: (n, image_dim), or None.
            ahead: also compute every block's keys and values, which then are read by each call instead of computed in
                it. That pays when the network is asked more than once; it keeps 2 * layers * (l + n) * dim numbers.

        Raises:
            ValueError: shapes that do not fit the config.
        """
        cfg = self.cfg
        text, clip = self._check_context(text, clip)
        rows = self.embed_text(text)
        pictures = None if self.image_embedding is None or clip is None else self.image_embedding(cfg, clip)
        if not ahead:
            return Context((rows, pictures))
        # Cut up here, outside of the sampler's loop: XLA would cut (and copy) the stacked weights again in every step.
        blocks = stack.unstacked(self.blocks) if cfg.unroll else None
        # One block after the other: sharded weights are then gathered a block at a time.
        pairs = lax.map(lambda block: block.cross_attn.keys_values(cfg, rows, pictures), self.blocks)
        return Context((rows, pictures), pairs, blocks)

    def _run(self, x, time, context: Context, channels, taps, edits) -> Prediction:
        cfg, noisy = self.cfg, x
        x, grid = self._check(x, channels)
        sites = Sites(taps, edits, cfg.layers, PARTS)
        out: dict[str, Any] = {}
        h = sites.embed(self.patches(x), out)
        e, time6 = self.embed_time(time, len(h), grid[0])
        groups = np.repeat(np.arange(grid[0]), grid[1] * grid[2]) if cfg.causal else None
        rest = (rotary_angles(grid, cfg.head_dim), groups, self.layout)
        h, inside = self._stack(h, time6, context, rest, sites)
        v = self.read_out(h, e, grid)
        if cfg.predicts != parameterization.PREDICTS[0]:
            given = None if channels is None else channels[..., -cfg.out_channels :]
            sigma = parameterization.spread(time, grid, cfg.patch)
            v = parameterization.velocity(cfg.predicts, v, noisy, sigma, given)
        return Prediction(v, {**out, **inside})

    def patches(self, x: Array) -> Array:
        """Embedded patches (tokens, dim) of a latent (t, h, w, c), in (t, h, w) row-major order."""
        p, q, r = self.cfg.patch
        rows = rearrange(x, "(t p) (h q) (w r) c -> (t h w) (c p q r)", p=p, q=q, r=r)
        rows = place(self.layout, rows, "tokens", None)
        return place(self.layout, self.patch_embedding(rows, self.cfg.dtype), "tokens", None)

    def read_out(self, h: Array, e: Array, grid: tuple[int, int, int]) -> Array:
        """The velocity (t, h, w, out_channels), float32, of the stream behind the last block and the rows of time."""
        cfg, layout, f32 = self.cfg, self.layout, jnp.float32
        m = self.head_modulation[...].astype(f32) + e[:, None]
        shift, scale = spread(m[:, 0], len(h)), spread(m[:, 1], len(h))
        v = self.head((layer_norm(h, cfg.eps) * (1 + scale) + shift).astype(h.dtype), cfg.dtype).astype(f32)
        (t, hh, w), (p, q, r) = grid, cfg.patch
        v = place(layout, v, "tokens", None)
        v = rearrange(v, "(t h w) (p q r c) -> (t p) (h q) (w r) c", t=t, h=hh, w=w, p=p, q=q, r=r)
        return v if layout is None else layout.video(v)

    def velocity(
        self,
        text: Any,
        image: Any = None,
        taps: Mapping[str, Callable] = {},  # noqa: B006
        edits: Mapping[str, Callable] = {},  # noqa: B006
    ) -> Callable:
        """Closes the conditions over: a velocity `(x, level) -> Prediction` that shows the network `level.time`.

        For sampling: keys and values of the conditions are computed here, once for all calls. Where the network is
        asked a single time, as in training, call the module itself.
        """
        image = image if isinstance(image, Image) else Image(channels=image)
        context = self.context(text, image.clip, ahead=True)

        def velocity(x, level):
            return self._run(x, level.time, context, image.channels, taps, edits)

        return velocity

    def guided(
        self,
        text: Any,
        negative: Any,
        scale: Any,
        image: Any = None,
        *,
        renorm: Callable | None = None,
        taps: Mapping[str, Callable] = {},  # noqa: B006
        edits: Mapping[str, Callable] = {},  # noqa: B006
    ) -> Callable:
        """Classifier-free guidance, see `vrjax.models.blocks.conditioned.guided`.

        Args:
            text, negative: conditions of the two branches, of one shape (l, text_dim).
            scale, renorm: see `vrjax.flow.cfg`.
            image: as in a call, the same for both branches.
            taps, edits: as in a call; edits act on both branches, taps read the conditional one.

        Raises:
            ValueError: conditions that do not fit the config or each other.
        """
        image = image if isinstance(image, Image) else Image(channels=image)
        text, negative = jnp.asarray(text), jnp.asarray(negative)
        if text.shape != negative.shape:
            raise ValueError(f"guided: text {text.shape} and negative {negative.shape}, expected one shape")
        of_blocks = (0, 1, None)  # keys and values stay block by block, as they are used
        contexts = jax.vmap(lambda rows: tuple(self.context(rows, image.clip, ahead=True)), out_axes=of_blocks)(
            jnp.stack([text, negative])
        )

        run = lambda x, level, *of: self._run(x, level.time, Context(*of), image.channels, taps, edits)
        return guided(self.layout, run, contexts, of_blocks, scale, renorm)

    def _stack(self, h: Array, time6: Array, context: Context, rest: tuple, sites: Sites) -> tuple[Array, dict]:
        """Runs the blocks and gathers the taps inside them."""
        cfg = self.cfg

        def block(h, row, visit):
            block, pairs = row
            if pairs is None:
                pairs = block.cross_attn.keys_values(cfg, *context.rows)
            return block(cfg, h, time6, pairs, *rest, visit)

        rows: Any = (self.blocks, context.pairs)
        if context.blocks is not None:
            rows = list(zip(context.blocks, stack.unstacked(context.pairs), strict=True))
        return stack.run(block, h, rows, sites, unroll=cfg.unroll, remat=cfg.remat)

    def _check(self, x: Any, channels: Any) -> tuple[Array, tuple[int, int, int]]:
        """x with the image's channels joined to it, and the token grid; ValueError where a shape does not fit."""
        cfg = self.cfg
        x = jnp.asarray(x)
        if x.ndim != 4:
            raise ValueError(f"x: shape {x.shape}, expected (t, h, w, c); batches go through jax.vmap")
        if channels is not None:
            channels = jnp.asarray(channels)
            if channels.shape[:-1] != x.shape[:-1]:
                raise ValueError(f"image: shape {channels.shape} does not match x {x.shape} in (t, h, w)")
            x = jnp.concatenate([x, channels.astype(x.dtype)], -1)
        if x.shape[-1] != cfg.in_channels:
            raise ValueError(f"x (with image) has {x.shape[-1]} channels, expected in_channels={cfg.in_channels}")
        t, h, w = x.shape[:-1]
        if t % cfg.patch[0] or h % cfg.patch[1] or w % cfg.patch[2] or not x.size:
            raise ValueError(f"x: (t, h, w) = {(t, h, w)} is not divisible by the patch {cfg.patch}")
        return x, (t // cfg.patch[0], h // cfg.patch[1], w // cfg.patch[2])

    def _check_context(self, text: Any, clip: Any) -> tuple[Array, Array | None]:
        cfg = self.cfg
        text = jnp.asarray(text)
        if text.ndim != 2 or text.shape[-1] != cfg.text_dim or not len(text):
            raise ValueError(f"text: shape {text.shape}, expected (l, text_dim={cfg.text_dim}) with l >= 1")
        if clip is not None:
            clip = jnp.asarray(clip)
            if cfg.image_dim is None:
                raise ValueError("image.clip: this model has no image branch (image_dim is None)")
            if clip.ndim != 2 or clip.shape[-1] != cfg.image_dim or not len(clip):
                raise ValueError(f"image.clip: shape {clip.shape}, expected (n, image_dim={cfg.image_dim})")
            if cfg.image_positions not in (None, len(clip)):
                raise ValueError(f"image.clip: {len(clip)} rows, expected image_positions={cfg.image_positions}")
        return text, clip


def abstract(cfg: WanConfig, layout: Layout | None = None) -> WanDiT:
    """A WanDiT whose parameters are shapes only: no memory is allocated, whatever the config."""
    return jax.eval_shape(lambda: WanDiT(cfg, rngs=nnx.Rngs(0), layout=layout))
