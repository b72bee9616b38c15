"""The pieces of a diffusion transformer: norms, rotary positions, attention, and the block. One example, tokens first.

`cfg` is the family's config. Attention and the block read of it `dim`, `heads`, `head_dim`, `ffn_dim`, `image_dim`,
`eps`, `qk_norm`, `cross_norm`, `gate_init`, `attention`, `sequence`, `dtype` and `param_dtype`: `vrjax.models.wan`'s
`WanConfig` says what each means.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array

from vrjax.models.blocks import sequence
from vrjax.parallel.layout import Layout, place

PARTS = ("", ".self_attn", ".cross_attn", ".ffn")
"""The sites of a `Block`: the residual stream behind it, and its three increments, gated."""


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

    def __init__(self, cfg: Any, key: jax.Array, image: bool):
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

    def keys_values(self, cfg: Any, text: Array, clip: Array | None) -> tuple:
        """Keys and values of the context; they depend on neither x nor time."""
        pairs = [
            (self._split(cfg, self.k(text, cfg.dtype), self.norm_k), self._split(cfg, self.v(text, cfg.dtype), None))
        ]
        if clip is not None and self.k_img is not None and self.v_img is not None:
            k, v = self.k_img(clip, cfg.dtype), self.v_img(clip, cfg.dtype)
            pairs.append((self._split(cfg, k, self.norm_k_img), self._split(cfg, v, None)))
        return tuple(pairs)

    def across(self, cfg: Any, x: Array, pairs: tuple, layout: Layout | None, length: Any = None) -> Array:
        """Keys of the context from number `length` on are hidden."""
        q = self._split(cfg, self.q(x, cfg.dtype), self.norm_q)
        parts = [sequence.across(q, k, v, length=length, impl=cfg.attention, layout=layout) for k, v in pairs]
        return self.o(functools.reduce(jnp.add, parts).reshape(len(x), -1), cfg.dtype)

    def within(
        self,
        cfg: Any,
        x: Array,
        rope: tuple | None,
        groups: np.ndarray | None,
        layout: Layout | None,
        length: Any,
        attend: Callable | None = None,
    ) -> Array:
        """Without `rope` positions are the input's affair; tokens from number `length` on are no keys. `attend(q, k,
        v)`, each (n, heads, head_dim) and turned by `rope`, takes the place of attention to all tokens of x."""
        turned = (lambda x: x) if rope is None else functools.partial(rotate, rope=rope)
        q = turned(self._split(cfg, self.q(x, cfg.dtype), self.norm_q))
        k = turned(self._split(cfg, self.k(x, cfg.dtype), self.norm_k))
        v = self._split(cfg, self.v(x, cfg.dtype), None)
        if attend is None:
            how = {"impl": cfg.attention, "layout": layout, "kind": cfg.sequence}
            out = sequence.within(q, k, v, groups=groups, length=length, **how)
        else:
            out = attend(q, k, v)
        return self.o(out.reshape(len(x), -1), cfg.dtype)


class Block(nnx.Module):
    """Self-attention, cross-attention and feed-forward; the first and the last are modulated and gated by the time.

    A family whose blocks attend to more overrides `attended`. Without `across` there is no cross-attention.
    """

    def __init__(self, cfg: Any, key: jax.Array, *, across: bool = True):
        keys = jax.random.split(key, 5)
        xavier = nnx.initializers.xavier_uniform()
        self.self_attn = Attention(cfg, keys[0], image=False)
        self.cross_attn = Attention(cfg, keys[1], image=cfg.image_dim is not None) if across else None
        self.norm3 = LayerNorm(cfg.dim, cfg.eps) if across and cfg.cross_norm else None
        self.ffn_in = Linear(xavier, keys[2], cfg.dim, cfg.ffn_dim, cfg.param_dtype)
        self.ffn_out = Linear(xavier, keys[3], cfg.ffn_dim, cfg.dim, cfg.param_dtype)
        modulation = jax.random.normal(keys[4], (6, cfg.dim)) / np.sqrt(cfg.dim)
        if cfg.gate_init is not None:
            modulation = modulation.at[jnp.array([2, 5])].set(cfg.gate_init)
        self.modulation = nnx.Param(modulation)

    def attended(self, cfg: Any, h: Array, context: Any, layout: Layout | None) -> Array:
        """What cross-attention adds to h; `context` are the pairs of `Attention.keys_values`."""
        assert self.cross_attn is not None
        x = h if self.norm3 is None else self.norm3(h).astype(h.dtype)
        return self.cross_attn.across(cfg, x, context, layout)

    def __call__(self, cfg, h, time6, context, rope, groups, layout, visit, length=None, attend=None) -> Array:
        """h (tokens, dim), time6 (1 | frames | tokens, 6, dim) -> h.

        `context` is what `attended` reads, `visit(part, h)` applies taps and edits; see `Attention.within` for the
        rest.
        """
        m = self.modulation[...].astype(jnp.float32) + time6
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = (spread(m[:, i], len(h)) for i in range(6))
        f32, dtype = jnp.float32, h.dtype

        x = (layer_norm(h, cfg.eps) * (1 + scale_a) + shift_a).astype(dtype)
        seen = self.self_attn.within(cfg, x, rope, groups, layout, length, attend)
        x = visit(".self_attn", seen.astype(f32) * gate_a)
        h = (h.astype(f32) + x).astype(dtype)

        if self.cross_attn is not None:
            h = (h + visit(".cross_attn", self.attended(cfg, h, context, layout))).astype(dtype)

        x = (layer_norm(h, cfg.eps) * (1 + scale_f) + shift_f).astype(dtype)
        x = place(layout, jax.nn.gelu(self.ffn_in(x, cfg.dtype), approximate=True), "tokens", "mlp")
        x = visit(".ffn", self.ffn_out(x, cfg.dtype).astype(f32) * gate_f)
        return place(layout, visit("", (h.astype(f32) + x).astype(dtype)), "tokens", None)
