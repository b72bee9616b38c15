"""The video diffusion transformer of Wan 2.1 / 2.2: one class from half a million to 14 billion parameters.

    dit = WanDiT(WanConfig(dim=64, ffn_dim=256, heads=2, layers=6, ...), rngs=nnx.Rngs(0))
    v, taps = dit(x, time, text, image=image)          # x (t, h, w, c); one example, batches by jax.vmap

The module is a frozen pytree: it is never mutated in a call, and goes through raw `jax.jit`, `grad`, `vmap` and
`lax.scan`. Blocks are stacked on a leading axis of their parameters. The architecture is Wan's own, so public weights
load into it (`load_dit`): text-to-video, image-to-video by channel concatenation, the CLIP image branch, and one time
per token. Text of any length is taken as given: Wan's pipelines pad it with zero rows to 512 and do not mask them.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from vrjax.flow.core import Prediction
from vrjax.models.attention import attend
from vrjax.models.readers import load_dit, save_dit
from vrjax.models.sites import Sites, indexed

__all__ = ["Image", "WanConfig", "WanDiT", "first_frame_condition", "indexed", "load_dit", "logical_axes", "save_dit"]

IMAGE_EPS = 1e-5  # of the image branch's two norms, whatever the config's eps
REMAT = {
    "none": None,
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_saveable,
    "dots_no_batch": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


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
        attention: implementation, see `vrjax.models.attention.attend`.
        causal: block-causal over frames: a token attends to its own and earlier frames only. A control model, not
            part of Wan.
        remat: what the backward pass recomputes per block: "none" (nothing), "full" (everything), "dots" (all but
            matrix products), "dots_no_batch" (all but matrix products with weights).
        unroll: run the blocks as a Python loop over the stacked parameters instead of `lax.scan`. Faster training on
            CPU, longer compilation.
        gate_init: None initialises like Wan's public code. A number initialises the gates of the block modulation
            to it (1.0 switches all residual branches on from the start) and every linear layer by Xavier's rule, for
            small models trained from scratch. The output projection starts at zero either way.
    """

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


class Image(NamedTuple):
    """Image conditions: `channels` (t, h, w, c) is concatenated to x, `clip` (n, image_dim) feeds the image branch."""

    channels: Any = None
    clip: Any = None


def first_frame_condition(latent_first: Float[Array | np.ndarray, "h w c"], frames: int) -> Float[Array, "t h w c1"]:
    """The embedded models' `image`: a mask channel (1 on frame 0, else 0), then the first frame's latent everywhere.

    Args:
        latent_first: clean latent of the first frame.
        frames: number of frames t of the video.

    Returns:
        (t, h, w, 1 + c), mask first.
    """
    latent_first = jnp.asarray(latent_first)
    h, w, c = latent_first.shape
    mask = jnp.zeros((frames, h, w, 1), latent_first.dtype).at[0].set(1)
    return jnp.concatenate([mask, jnp.broadcast_to(latent_first, (frames, h, w, c))], -1)


# ---------------------------------------------------------------------------------------------------------- pieces


class Linear(nnx.Module):
    """y = x W + b, W (in, out)."""

    def __init__(self, init: Callable, key: jax.Array, n_in: int, n_out: int, dtype: Any = jnp.float32):
        self.kernel = nnx.Param(init(key, (n_in, n_out), dtype))
        self.bias = nnx.Param(jnp.zeros(n_out, dtype))

    def __call__(self, x: Array, dtype: Any) -> Array:
        return x.astype(dtype) @ self.kernel[...].astype(dtype) + self.bias[...].astype(dtype)


class LayerNorm(nnx.Module):
    """Affine layer norm in float32."""

    def __init__(self, dim: int, eps: float):
        self.scale, self.bias = nnx.Param(jnp.ones(dim)), nnx.Param(jnp.zeros(dim))
        self.eps = eps

    def __call__(self, x: Array) -> Array:
        return layer_norm(x, self.eps) * self.scale[...] + self.bias[...]


def layer_norm(x: Array, eps: float) -> Array:
    """Layer norm without parameters, in float32."""
    x = x.astype(jnp.float32)
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + eps)


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    """RMS norm: statistics in float32, the weight applied in x's dtype."""
    x32 = x.astype(jnp.float32)
    return (x32 * lax.rsqrt(jnp.square(x32).mean(-1, keepdims=True) + eps)).astype(x.dtype) * weight.astype(x.dtype)


def spread(rows: Array, tokens: int) -> Array:
    """Repeats rows (1 | frames | tokens, ...) to one per token; a single row broadcasts by itself."""
    return rows if len(rows) in (1, tokens) else jnp.repeat(rows, tokens // len(rows), axis=0)


@functools.lru_cache(maxsize=64)
def rotary_angles(grid: tuple[int, int, int], head_dim: int) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin (tokens, head_dim / 2) of a static (t, h, w) token grid, computed in float64.

    Of the head's channels, 2 * (head_dim // 6) encode h, as many w, and the rest t; each axis has its own
    theta = 10000 table.
    """
    side = 2 * (head_dim // 6)
    angles = []
    for axis, (length, width) in enumerate(zip(grid, (head_dim - 2 * side, side, side), strict=True)):
        table = np.arange(length)[:, None] / 10000.0 ** (np.arange(0, width, 2) / width)
        shape = [1, 1, 1, width // 2]
        shape[axis] = length
        angles.append(np.broadcast_to(table.reshape(shape), (*grid, width // 2)))
    flat = np.concatenate(angles, -1).reshape(-1, head_dim // 2)
    return np.cos(flat).astype(np.float32), np.sin(flat).astype(np.float32)


def rotate(x: Array, rope: tuple) -> Array:
    """Rotates the channel pairs (2i, 2i + 1) of x (n, heads, d) by the angles of each token."""
    cos, sin = (jnp.asarray(a)[:, None] for a in rope)
    a, b = x[..., 0::2].astype(jnp.float32), x[..., 1::2].astype(jnp.float32)
    return jnp.stack([a * cos - b * sin, a * sin + b * cos], -1).reshape(x.shape).astype(x.dtype)


def sinusoid(time: Array, width: int) -> Array:
    """[cos, sin] of time * 10000^(-i / half), float32; time (n,) on the scale 0 .. 1000."""
    frequency = np.power(10000.0, -np.arange(width // 2) / (width // 2)).astype(np.float32)
    angle = time.astype(jnp.float32)[:, None] * frequency
    return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], -1)


class Attention(nnx.Module):
    """Self-attention with rotary positions, or cross-attention to text and, optionally, to image rows."""

    def __init__(self, cfg: WanConfig, key: jax.Array, image: bool):
        keys = jax.random.split(key, 6)
        linear = lambda i: Linear(nnx.initializers.xavier_uniform(), keys[i], cfg.dim, cfg.dim, cfg.param_dtype)
        self.q, self.k, self.v, self.o = linear(0), linear(1), linear(2), linear(3)
        self.k_img, self.v_img = (linear(4), linear(5)) if image else (None, None)
        gain = lambda on: nnx.Param(jnp.ones(cfg.dim)) if on else None
        self.norm_q, self.norm_k = gain(cfg.qk_norm), gain(cfg.qk_norm)
        self.norm_k_img = gain(cfg.qk_norm and image)

    def _split(self, cfg, x, norm):
        if norm is not None:
            x = rms_norm(x, norm[...], cfg.eps)
        return x.reshape(len(x), cfg.heads, cfg.head_dim)

    def keys_values(self, cfg: WanConfig, text: Array, clip: Array | None) -> tuple:
        """Keys and values of the context; they depend on neither x nor time."""
        pairs = [
            (self._split(cfg, self.k(text, cfg.dtype), self.norm_k), self._split(cfg, self.v(text, cfg.dtype), None))
        ]
        if clip is not None and self.k_img is not None and self.v_img is not None:
            k, v = self.k_img(clip, cfg.dtype), self.v_img(clip, cfg.dtype)
            pairs.append((self._split(cfg, k, self.norm_k_img), self._split(cfg, v, None)))
        return tuple(pairs)

    def across(self, cfg: WanConfig, x: Array, pairs: tuple) -> Array:
        q = self._split(cfg, self.q(x, cfg.dtype), self.norm_q)
        parts = [attend(q, k, v, impl=cfg.attention) for k, v in pairs]
        return self.o(functools.reduce(jnp.add, parts).reshape(len(x), -1), cfg.dtype)

    def within(self, cfg: WanConfig, x: Array, rope: tuple, groups: np.ndarray | None) -> Array:
        q = rotate(self._split(cfg, self.q(x, cfg.dtype), self.norm_q), rope)
        k = rotate(self._split(cfg, self.k(x, cfg.dtype), self.norm_k), rope)
        v = self._split(cfg, self.v(x, cfg.dtype), None)
        return self.o(attend(q, k, v, causal_groups=groups, impl=cfg.attention).reshape(len(x), -1), cfg.dtype)


class Block(nnx.Module):
    """Self-attention, cross-attention and feed-forward; the first and the last are modulated and gated by the time."""

    def __init__(self, cfg: WanConfig, key: jax.Array):
        keys = jax.random.split(key, 5)
        xavier = nnx.initializers.xavier_uniform()
        self.self_attn = Attention(cfg, keys[0], image=False)
        self.cross_attn = Attention(cfg, keys[1], image=cfg.image_dim is not None)
        self.norm3 = LayerNorm(cfg.dim, cfg.eps) if cfg.cross_norm else None
        self.ffn_in = Linear(xavier, keys[2], cfg.dim, cfg.ffn_dim, cfg.param_dtype)
        self.ffn_out = Linear(xavier, keys[3], cfg.ffn_dim, cfg.dim, cfg.param_dtype)
        modulation = jax.random.normal(keys[4], (6, cfg.dim)) / np.sqrt(cfg.dim)
        if cfg.gate_init is not None:
            modulation = modulation.at[jnp.array([2, 5])].set(cfg.gate_init)
        self.modulation = nnx.Param(modulation)

    def __call__(self, cfg, h, time6, text, clip, rope, groups, visit) -> Array:
        """h (tokens, dim), time6 (1 | frames | tokens, 6, dim) -> h. `visit(part, h)` applies taps and edits."""
        m = self.modulation[...].astype(jnp.float32) + time6
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = (spread(m[:, i], len(h)) for i in range(6))
        f32, dtype = jnp.float32, h.dtype

        x = (layer_norm(h, cfg.eps) * (1 + scale_a) + shift_a).astype(dtype)
        x = visit(".self_attn", self.self_attn.within(cfg, x, rope, groups).astype(f32) * gate_a)
        h = (h.astype(f32) + x).astype(dtype)

        x = h if self.norm3 is None else self.norm3(h).astype(dtype)
        x = visit(".cross_attn", self.cross_attn.across(cfg, x, self.cross_attn.keys_values(cfg, text, clip)))
        h = (h + x).astype(dtype)

        x = (layer_norm(h, cfg.eps) * (1 + scale_f) + shift_f).astype(dtype)
        x = self.ffn_out(jax.nn.gelu(self.ffn_in(x, cfg.dtype), approximate=True), cfg.dtype)
        x = visit(".ffn", x.astype(f32) * gate_f)
        return visit("", (h.astype(f32) + x).astype(dtype))


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


# ------------------------------------------------------------------------------------------------------- the model


class WanDiT(nnx.Module):
    """Wan's diffusion transformer. See the module docstring; `WanConfig` states every option."""

    def __init__(self, cfg: WanConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        keys = jax.random.split(rngs.params(), 9)
        xavier = nnx.initializers.xavier_uniform()
        small = nnx.initializers.normal(0.02) if cfg.gate_init is None else xavier
        self.patch_embedding = Linear(xavier, keys[0], cfg.in_channels * cfg.patch_size, cfg.dim, cfg.param_dtype)
        self.text_in = Linear(small, keys[1], cfg.text_dim, cfg.dim, cfg.param_dtype)
        self.text_out = Linear(small, keys[2], cfg.dim, cfg.dim, cfg.param_dtype)
        self.time_in = Linear(small, keys[3], cfg.freq_dim, cfg.dim)
        self.time_out = Linear(small, keys[4], cfg.dim, cfg.dim)
        self.time_projection = Linear(xavier, keys[5], cfg.dim, 6 * cfg.dim)
        self.image_embedding = ImageEmbedding(cfg, keys[6]) if cfg.image_dim is not None else None
        self.blocks = jax.vmap(lambda key: Block(cfg, key))(jax.random.split(keys[7], cfg.layers))
        self.head_modulation = nnx.Param(jax.random.normal(keys[8], (2, cfg.dim)) / np.sqrt(cfg.dim))
        zeros = nnx.initializers.zeros_init()
        self.head = Linear(zeros, keys[8], cfg.dim, cfg.patch_size * cfg.out_channels, cfg.param_dtype)

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
        cfg = self.cfg
        image = image if isinstance(image, Image) else Image(channels=image)
        x, text, clip, grid = self._check(x, text, image)
        tokens = grid[0] * grid[1] * grid[2]
        sites = Sites(taps, edits, cfg.layers)
        out: dict[str, Any] = {}

        p, q, r = cfg.patch
        patches = rearrange(x, "(t p) (h q) (w r) c -> (t h w) (c p q r)", p=p, q=q, r=r)
        h = sites.embed(self.patch_embedding(patches, cfg.dtype), out)
        time = jnp.asarray(time, jnp.float32)
        if time.shape not in ((), (grid[0],), (tokens,)):
            raise ValueError(
                f"time: shape {time.shape}, expected () or ({grid[0]},) per frame or ({tokens},) per token"
            )
        f32 = jnp.float32
        e = self.time_out(jax.nn.silu(self.time_in(sinusoid(time.reshape(-1), cfg.freq_dim), f32)), f32)
        time6 = self.time_projection(jax.nn.silu(e), f32).reshape(-1, 6, cfg.dim)
        context = self.text_out(jax.nn.gelu(self.text_in(text, cfg.dtype), approximate=True), cfg.dtype)
        context_clip = None if self.image_embedding is None or clip is None else self.image_embedding(cfg, clip)
        rope = rotary_angles(grid, cfg.head_dim)
        groups = np.repeat(np.arange(grid[0]), grid[1] * grid[2]) if cfg.causal else None

        h, inside = self._stack(h, (time6, context, context_clip, rope, groups), sites)
        out.update(inside)

        m = self.head_modulation[...].astype(f32) + e[:, None]
        shift, scale = spread(m[:, 0], tokens), spread(m[:, 1], tokens)
        v = self.head((layer_norm(h, cfg.eps) * (1 + scale) + shift).astype(h.dtype), cfg.dtype).astype(f32)
        t, hh, w = grid
        return Prediction(rearrange(v, "(t h w) (p q r c) -> (t p) (h q) (w r) c", t=t, h=hh, w=w, p=p, q=q, r=r), out)

    def velocity(
        self,
        text: Any,
        image: Any = None,
        taps: Mapping[str, Callable] = {},  # noqa: B006
        edits: Mapping[str, Callable] = {},  # noqa: B006
    ) -> Callable:
        """Closes the conditions over: a velocity `(x, level) -> Prediction` that shows the network `level.time`."""

        def velocity(x, level):
            return self(x, level.time, text, image=image, taps=taps, edits=edits)

        return velocity

    def _stack(self, h: Array, conditions: tuple, sites: Sites) -> tuple[Array, dict]:
        """Runs the blocks and gathers the taps inside them."""
        cfg = self.cfg

        def step(index, carry, block):
            h, slots = carry
            slots, rows = dict(slots), {}
            visit = lambda part, h: sites.visit(part, h, index, slots, rows)
            return (block(cfg, h, *conditions, visit), slots), rows

        def remat(step):
            if cfg.remat == "none":
                return step
            # A scan body is compiled on its own: nothing outside it could be merged with the recomputation.
            return jax.checkpoint(step, policy=REMAT[cfg.remat], prevent_cse=cfg.unroll)

        if not cfg.unroll:
            index = jnp.arange(cfg.layers) if sites.inside else None
            body = remat(lambda carry, row: step(row[0], carry, row[1]))
            (h, slots), rows = lax.scan(body, (h, sites.slots(h)), (index, self.blocks))
            return h, {**slots, **rows}

        leaves, tree = jax.tree.flatten(self.blocks)
        per_block = zip(*(jnp.unstack(leaf) for leaf in leaves), strict=True)
        carry, stacked = (h, {}), []
        for i, block in enumerate(per_block):
            carry, rows = remat(functools.partial(step, i))(carry, jax.tree.unflatten(tree, block))
            stacked.append(rows)
        return carry[0], {**carry[1], **jax.tree.map(lambda *r: jnp.stack(r), *stacked)}

    def _check(self, x: Any, text: Any, image: Image) -> tuple[Array, Array, Array | None, tuple[int, int, int]]:
        """Arrays with the image's channels joined to x, and the token grid; ValueError where a shape does not fit."""
        cfg = self.cfg
        channels, clip = (None if a is None else jnp.asarray(a) for a in image)
        x, text = jnp.asarray(x), jnp.asarray(text)
        if x.ndim != 4:
            raise ValueError(f"x: shape {x.shape}, expected (t, h, w, c); batches go through jax.vmap")
        if channels is not None:
            if channels.shape[:-1] != x.shape[:-1]:
                raise ValueError(f"image: shape {channels.shape} does not match x {x.shape} in (t, h, w)")
            x = jnp.concatenate([x, channels.astype(x.dtype)], -1)
        if x.shape[-1] != cfg.in_channels:
            raise ValueError(f"x (with image) has {x.shape[-1]} channels, expected in_channels={cfg.in_channels}")
        t, h, w = x.shape[:-1]
        if t % cfg.patch[0] or h % cfg.patch[1] or w % cfg.patch[2] or not x.size:
            raise ValueError(f"x: (t, h, w) = {(t, h, w)} is not divisible by the patch {cfg.patch}")
        if text.ndim != 2 or text.shape[-1] != cfg.text_dim or not len(text):
            raise ValueError(f"text: shape {text.shape}, expected (l, text_dim={cfg.text_dim}) with l >= 1")
        if clip is not None:
            if cfg.image_dim is None:
                raise ValueError("image.clip: this model has no image branch (image_dim is None)")
            if clip.ndim != 2 or clip.shape[-1] != cfg.image_dim or not len(clip):
                raise ValueError(f"image.clip: shape {clip.shape}, expected (n, image_dim={cfg.image_dim})")
            if cfg.image_positions not in (None, len(clip)):
                raise ValueError(f"image.clip: {len(clip)} rows, expected image_positions={cfg.image_positions}")
        return x, text, clip, (t // cfg.patch[0], h // cfg.patch[1], w // cfg.patch[2])


# ---------------------------------------------------------------------------------------------------- logical axes

# Logical axes of each kind of parameter, by the end of its path. Stacked blocks prepend "layers". "embed" is the
# residual stream's width, "heads" the joint width of all heads, "mlp" the feed-forward's, "modulation" the six
# chunks; None axes are small and stay whole.
_AXES = (
    (("patch_embedding", "kernel"), ("patch", "embed")),
    (("text_in", "kernel"), ("text", "embed")),
    (("time_in", "kernel"), ("time", "embed")),
    (("text_out", "kernel"), ("embed_in", "embed")),
    (("time_out", "kernel"), ("embed_in", "embed")),
    (("time_projection", "kernel"), ("embed", "modulation")),
    (("time_projection", "bias"), ("modulation",)),
    (("linear_in", "kernel"), ("image", "image_mlp")),
    (("linear_in", "bias"), ("image_mlp",)),
    (("linear_out", "kernel"), ("image_mlp", "embed")),
    (("norm_in", "scale"), ("image",)),
    (("norm_in", "bias"), ("image",)),
    (("positions",), (None, "image")),
    (("o", "kernel"), ("heads", "embed")),
    (("o", "bias"), ("embed",)),
    *(((name, "kernel"), ("embed", "heads")) for name in ("q", "k", "v", "k_img", "v_img")),
    *(((name, "bias"), ("heads",)) for name in ("q", "k", "v", "k_img", "v_img")),
    *(((name,), ("heads",)) for name in ("norm_q", "norm_k", "norm_k_img")),
    (("ffn_in", "kernel"), ("embed", "mlp")),
    (("ffn_in", "bias"), ("mlp",)),
    (("ffn_out", "kernel"), ("mlp", "embed")),
    (("modulation",), (None, "embed")),
    (("head_modulation",), (None, "embed")),
    (("head", "kernel"), ("embed", "patch")),
    (("head", "bias"), ("patch",)),
    (("bias",), ("embed",)),
    (("scale",), ("embed",)),
)


def abstract(cfg: WanConfig) -> WanDiT:
    """A WanDiT whose parameters are shapes only: no memory is allocated, whatever the config."""
    return jax.eval_shape(lambda: WanDiT(cfg, rngs=nnx.Rngs(0)))


def logical_axes(cfg: WanConfig) -> dict:
    """Logical axis names of every parameter, as a nested dict `{"blocks": {"ffn_in": {"kernel": (...)}}}`.

    Keys are the attribute names of the module, leaves tuples with one name (or None) per array axis; use it with
    `jax.tree_util.tree_flatten_with_path(dit)`, whose paths are the same names with a trailing `.value`.
    """
    axes: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(abstract(cfg)):
        names = tuple(key.name for key in path if key.name != "value")
        found = next(value for end, value in _AXES if names[-len(end) :] == end)
        found = ("layers", *found) if names[0] == "blocks" else found
        assert len(found) == leaf.ndim, (names, found, leaf.shape)
        node = axes
        for name in names[:-1]:
            node = node.setdefault(name, {})
        node[names[-1]] = found
    return axes
