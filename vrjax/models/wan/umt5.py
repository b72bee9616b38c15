"""The UMT5 text encoder of Wan: token ids to rows of text features, one prompt per call.

    encoder = wan.load_text_encoder(path)
    text = encoder(ids, mask)                          # (l,), (l,) -> (l, 4096)

T5's encoder with a table of relative positions in every layer, no scaling of the scores, and a gated feed-forward.
Padding is masked as key and its rows come out zero: Wan's transformers were trained on text padded with zero rows.
"""

import dataclasses
import functools
import math
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Shaped

from vrjax.files import tensors, weights
from vrjax.files.weights import Form
from vrjax.models.blocks.layers import rms_norm


@dataclasses.dataclass(frozen=True)
class UMT5Config:
    """Shape of a UMT5 encoder; the default is UMT5-XXL.

    Attributes:
        vocab: rows of the token table.
        dim: width of the residual stream.
        ffn_dim: width inside the feed-forward.
        heads, head_dim: of the attention; their product need not be `dim`.
        layers: number of blocks.
        buckets: rows of each table of relative positions.
        max_distance: tokens from which on all distances share a row.
        eps: of the norms.
        dtype: of matrix products and the residual stream. Norms and softmax are float32.
        param_dtype: of the stored matrices and token table; the rest is float32.
    """

    vocab: int = 256384
    dim: int = 4096
    ffn_dim: int = 10240
    heads: int = 64
    head_dim: int = 64
    layers: int = 24
    buckets: int = 32
    max_distance: int = 128
    eps: float = 1e-6
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self):
        if self.buckets % 4 or self.buckets < 4:
            raise ValueError(f"UMT5Config: buckets must be a multiple of 4, found {self.buckets}")
        if self.max_distance <= self.buckets // 4:
            raise ValueError(f"UMT5Config: max_distance={self.max_distance} must exceed buckets / 4")


class _Block(nnx.Module):
    """Self-attention and gated feed-forward, each behind an RMS norm."""

    def __init__(self, cfg: UMT5Config, key: jax.Array):
        keys = jax.random.split(key, 8)
        inner = cfg.heads * cfg.head_dim

        def matrix(i: int, n_in: int, n_out: int) -> nnx.Param:
            return nnx.Param((jax.random.normal(keys[i], (n_in, n_out)) / np.sqrt(n_in)).astype(cfg.param_dtype))

        self.norm1, self.norm2 = nnx.Param(jnp.ones(cfg.dim)), nnx.Param(jnp.ones(cfg.dim))
        self.q, self.k, self.v = (matrix(i, cfg.dim, inner) for i in range(3))
        self.o = matrix(3, inner, cfg.dim)
        self.positions = nnx.Param(jax.random.normal(keys[4], (cfg.buckets, cfg.heads)))
        self.gate, self.up = matrix(5, cfg.dim, cfg.ffn_dim), matrix(6, cfg.dim, cfg.ffn_dim)
        self.down = matrix(7, cfg.ffn_dim, cfg.dim)

    def __call__(self, cfg: UMT5Config, h: Array, mask: Array, buckets: np.ndarray) -> Array:
        dtype, f32 = cfg.dtype, jnp.float32
        times = lambda x, w: x @ w[...].astype(dtype)

        x = rms_norm(h, self.norm1[...], cfg.eps)
        q, k, v = (times(x, w).reshape(len(x), cfg.heads, cfg.head_dim) for w in (self.q, self.k, self.v))
        scores = jnp.einsum("nhd,mhd->hnm", q, k, preferred_element_type=f32)
        scores = scores + jnp.moveaxis(self.positions[...].astype(f32)[buckets], -1, 0)
        weights = jax.nn.softmax(jnp.where(mask, scores, jnp.finfo(f32).min), axis=-1)
        x = jnp.einsum("hnm,mhd->nhd", weights.astype(dtype), v).reshape(len(x), -1)
        h = h + times(x, self.o)

        x = rms_norm(h, self.norm2[...], cfg.eps)
        return h + times(jax.nn.gelu(times(x, self.gate), approximate=True) * times(x, self.up), self.down)


class UMT5Encoder(nnx.Module):
    """UMT5's encoder. See the module docstring; `UMT5Config` states every option."""

    def __init__(self, cfg: UMT5Config, *, rngs: nnx.Rngs):
        self.cfg = cfg
        keys = jax.random.split(rngs.params())
        self.tokens = nnx.Param(jax.random.normal(keys[0], (cfg.vocab, cfg.dim)).astype(cfg.param_dtype))
        self.blocks = jax.vmap(lambda key: _Block(cfg, key))(jax.random.split(keys[1], cfg.layers))
        self.norm = nnx.Param(jnp.ones(cfg.dim))

    def __call__(
        self, ids: Shaped[Array | np.ndarray, "l"], mask: Shaped[Array | np.ndarray, "m"]
    ) -> Float[Array, "l d"]:
        """Features of one prompt.

        Args:
            ids: token ids, padded to any length.
            mask: nonzero (or True) at tokens, zero at padding.

        Returns:
            (l, dim) in the config's dtype, zero where the mask is zero.

        Raises:
            ValueError: shapes that differ, ids that are not integers, or (outside jit) an id outside the vocabulary.
        """
        cfg = self.cfg
        if ids.shape != mask.shape or ids.ndim != 1 or not jnp.issubdtype(ids.dtype, jnp.integer):
            raise ValueError(f"ids {ids.shape} {ids.dtype} and mask {mask.shape}, expected integers (l,) and (l,)")
        if isinstance(ids, np.ndarray) and ids.size and not 0 <= ids.min() <= ids.max() < cfg.vocab:
            raise ValueError(f"ids: from {ids.min()} to {ids.max()}, expected 0 to {cfg.vocab - 1}")
        mask = jnp.asarray(mask) != 0
        buckets = relative_buckets(len(ids), cfg.buckets, cfg.max_distance)
        h = self.tokens[...][jnp.asarray(ids)].astype(cfg.dtype)
        h, _ = lax.scan(lambda h, block: (block(cfg, h, mask, buckets), None), h, self.blocks)
        return jnp.where(mask[:, None], rms_norm(h, self.norm[...], cfg.eps), 0)


@functools.lru_cache(maxsize=16)
def relative_buckets(length: int, buckets: int, max_distance: int) -> np.ndarray:
    """Row of the position table (length, length) of each query and key.

    Half the rows are for keys to the right. Of each half, half are for single distances, the rest grow geometrically
    up to `max_distance`. In float32, as the public code computes it.
    """
    distance = np.arange(length)[None] - np.arange(length)[:, None]
    half = buckets // 2
    exact = half // 2
    near = np.abs(distance)
    f32 = np.float32
    ratio = np.log(np.maximum(near, 1).astype(f32) / f32(exact)) / f32(math.log(max_distance / exact))
    far = np.minimum(exact + (ratio * f32(half - exact)).astype(np.int64), half - 1)
    return (half * (distance > 0) + np.where(near < exact, near, far)).astype(np.int32)


@functools.lru_cache(maxsize=16)
def abstract(cfg: UMT5Config) -> UMT5Encoder:
    """A UMT5Encoder whose parameters are shapes only: no memory is allocated."""
    return jax.eval_shape(lambda: UMT5Encoder(cfg, rngs=nnx.Rngs(0)))


# ---------------------------------------------------------------------------------------------------------- reading

FILES = ("models_t5_umt5-xxl-enc-*.pth", "*umt5*.safetensors")
NAMES = weights.Names(
    ("original", "transformers"),
    {
        "tokens": ("token_embedding.weight", "shared.weight"),
        "norm": ("norm.weight", "encoder.final_layer_norm.weight"),
    },
    {
        "norm1": ("norm1.weight", "layer.0.layer_norm.weight"),
        **{name: (f"attn.{name}.weight", f"layer.0.SelfAttention.{name}.weight") for name in "qkvo"},
        "positions": ("pos_embedding.embedding.weight", "layer.0.SelfAttention.relative_attention_bias.weight"),
        "norm2": ("norm2.weight", "layer.1.layer_norm.weight"),
        "gate": ("ffn.gate.0.weight", "layer.1.DenseReluDense.wi_0.weight"),
        "up": ("ffn.fc1.weight", "layer.1.DenseReluDense.wi_1.weight"),
        "down": ("ffn.fc2.weight", "layer.1.DenseReluDense.wo.weight"),
    },
    ("blocks", "encoder.block"),
)
key_of = NAMES.key


def _fields(file: weights.Header) -> tuple[dict[str, Any], str]:
    """The config as the tensors' shapes have it, and `config.json` where they do not tell."""
    sizes, public = file.sizes, file.public
    buckets, heads = sizes["blocks.positions"].shape
    found: dict[str, Any] = {
        "vocab": sizes["tokens"].shape[0],
        "dim": sizes["tokens"].shape[1],
        "ffn_dim": sizes["blocks.gate"].shape[0],
        "heads": heads,
        "head_dim": sizes["blocks.q"].shape[0] // heads,
        "layers": file.blocks,
        "buckets": buckets,
        "param_dtype": str(sizes["blocks.q"].dtype),
    }
    if public.get("d_model"):
        table = {"layer_norm_epsilon": "eps", "relative_attention_max_distance": "max_distance"}
        found |= {ours: public[theirs] for theirs, ours in table.items() if theirs in public}
    return found, str(file.source.path)


NETWORK = weights.Network(
    name="UMT5",
    what="a UMT5 encoder",
    config=UMT5Config,
    abstract=abstract,
    names=NAMES,
    anchors={"original": "token_embedding.weight", "transformers": "encoder.final_layer_norm.weight"},
    sizes=dict.fromkeys(("tokens", "blocks.positions", "blocks.gate", "blocks.q"), (2,)),
    fields=_fields,
    forms=((r".*:blocks\.(q|k|v|o|gate|up|down)", Form(turned=True)),),
    # transformers' files hold the tied token table once or twice; single files may bring the tokenizer along.
    unused={"transformers": r"(encoder\.embed_tokens|shared)\.weight|spiece_model"},
    other={"shared.weight": "encoder.embed_tokens.weight"},
)


def load_text_encoder(path: str | os.PathLike, **options: Any) -> UMT5Encoder:
    """Loads a UMT5 encoder in transformers' or Wan's original layout.

    Args:
        path: a `.pth` or `.safetensors` file, an index, a `text_encoder` folder, or a model's root folder in either
            layout. The shape is told by the tensors.
        **options: fields of UMT5Config that override what was found. `param_dtype` is the file's own by default, so
            that public bfloat16 weights take 11 GB and not 23.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: a torn or hostile file; missing, unexpected or misshapen tensors (names the file and the first of
            them); options that do not fit.
    """
    return NETWORK.open(tensors.read(tensors.locate(path, "text_encoder", FILES)), **options).module()


def public_config(cfg: UMT5Config) -> dict:
    """`config.json` of transformers' UMT5EncoderModel."""
    return {
        "architectures": ["UMT5EncoderModel"],
        "model_type": "umt5",
        "vocab_size": cfg.vocab,
        "d_model": cfg.dim,
        "d_ff": cfg.ffn_dim,
        "d_kv": cfg.head_dim,
        "num_heads": cfg.heads,
        "num_layers": cfg.layers,
        "relative_attention_num_buckets": cfg.buckets,
        "relative_attention_max_distance": cfg.max_distance,
        "layer_norm_epsilon": cfg.eps,
        "feed_forward_proj": "gated-gelu",
        "is_gated_act": True,
        "dense_act_fn": "gelu_new",
        "is_encoder_decoder": False,
        "use_cache": False,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "torch_dtype": cfg.param_dtype,
    }
