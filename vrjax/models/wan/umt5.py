"""From prompts to the rows Wan's transformers read: cleaned text, token ids, the UMT5 encoder, what is kept on disk.

    rows = encode(folder, ["a maze seen from above", ""])      # (2, 512, 4096) float32
    ids, mask = Tokenizer(folder)("a maze, seen")              # (512,), (512,) int32, as Wan's pipelines make them
    rows = wan.load_text_encoder(path)(ids, mask)              # (512, 4096), one prompt per call

The encoder has 5.7 billion parameters, so it is loaded only for prompts that the cache does not hold, and let go of
afterwards. A prompt's entry is named by the hash of its token ids and of the encoder's weights: another wording that
cleans to the same text shares it, another encoder does not.

The network: T5's encoder with a table of relative positions in every layer, no scaling of the scores, and a gated
feed-forward. Padding is masked as key; its rows are zero: Wan's transformers were trained on text padded so.
"""

import dataclasses
import functools
import hashlib
import html
import math
import os
import pathlib
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Int, Shaped

from vrjax.files import fingerprint, tensors, weights, writing
from vrjax.files.weights import Form
from vrjax.models.blocks.layers import rms_norm

# What ftfy.fix_text, which the public pipelines call first, does to text in a sound encoding. It also guesses at text
# that was decoded wrongly ("donâ€™t"); such text is left as it is here.
_QUOTES = {ord(c): "'" for c in "\u02bc\u2018\u2019\u201a\u201b"} | {ord(c): '"' for c in "\u201c\u201d\u201e\u201f"}
_LIGATURES = {
    0x132: "IJ", 0x133: "ij", 0x149: "'n", 0x1F1: "DZ", 0x1F2: "Dz", 0x1F3: "dz", 0x1C4: "D\u017d", 0x1C5: "D\u017e",
    0x1C6: "d\u017e", 0x1C7: "LJ", 0x1C8: "Lj", 0x1C9: "lj", 0x1CA: "NJ", 0x1CB: "Nj", 0x1CC: "nj", 0xFB00: "ff",
    0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "\u017ft", 0xFB06: "st",
}  # fmt: skip
_WIDTH = {0x3000: " "} | {c: unicodedata.normalize("NFKC", chr(c)) for c in range(0xFF01, 0xFFF0)}
_C1 = {c: bytes([c]).decode("cp1252", "ignore") or chr(c) for c in range(0x80, 0xA0)}  # Latin-1 read, Windows meant
_LINES = {0x85: "\n", 0x2028: "\n", 0x2029: "\n"}
_ENTITY = re.compile(r"&#?[0-9A-Za-z]{1,24};")
_CONTROL = dict.fromkeys(
    [*range(0x00, 0x09), 0x0B, *range(0x0E, 0x20), 0x7F, *range(0x206A, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFD)]
)
_TERMINAL = re.compile("\033\\[((?:\\d|;)*)([a-zA-Z])")
_SURROGATES = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def cache_folder() -> pathlib.Path:
    """Where embeddings are kept: `$VRJAX_CACHE/text`, else `vrjax/text` in the user's cache folder."""
    if os.environ.get("VRJAX_CACHE"):
        return pathlib.Path(os.environ["VRJAX_CACHE"]) / "text"
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "vrjax" / "text"


def encode(
    folder: Any, prompts: Sequence[str], *, dtype: str = "float32", cache: str | os.PathLike | bool | None = None
) -> Float[np.ndarray, "n l d"]:
    """Text rows of each prompt, cut at its end and padded with zero rows to the model's text length.

    Args:
        folder: the model.
        prompts: as a person writes them; cleaned as upstream does.
        dtype: of the encoder's matrix products.
        cache: the folder of the cache; None for `cache_folder()`, False for none.

    Raises:
        FileNotFoundError: the folder has no tokenizer or text encoder.
        ValueError: one that cannot be read, or whose rows are not of the transformer's width.
    """
    tokenizer = Tokenizer(folder.root, folder.cfg.text_len)
    tokens = [tokenizer(prompt) for prompt in prompts]
    path = folder.parts["text_encoder"]
    place = cache_folder() if cache is None or cache is True else pathlib.Path(cache) if cache else None
    found: dict[str, np.ndarray] = {}
    names = [_name(ids, mask, dtype, path) for ids, mask in tokens]
    if place is not None:
        found = {name: rows for name in set(names) if (rows := _read(place / name, folder.cfg.text_dim)) is not None}
    if set(names) - set(found):
        if place is not None:
            writing.writable(place, "set VRJAX_CACHE, or use --no-cache")
        encoder = load_text_encoder(path, dtype=dtype)
        if encoder.cfg.dim != folder.cfg.text_dim:
            raise ValueError(f"{path}: rows of {encoder.cfg.dim}, the transformer reads {folder.cfg.text_dim}")
        for name, (ids, mask) in zip(names, tokens, strict=True):
            if name not in found:
                found[name] = np.asarray(_run(encoder, ids, mask))[: int(mask.sum())]
                if place is not None:
                    shape = {"rows": (found[name].shape, found[name].dtype)}
                    tensors.write(place / name, shape, [found[name]], {"format": "np"})
    out = np.zeros((len(prompts), folder.cfg.text_len, folder.cfg.text_dim), np.float32)
    for row, name in zip(out, names, strict=True):
        row[: len(found[name])] = found[name]
    return out


def _name(ids: np.ndarray, mask: np.ndarray, dtype: str, path: pathlib.Path) -> str:
    text = hashlib.sha256(ids[: int(mask.sum())].tobytes() + dtype.encode())
    text.update(fingerprint(path).encode())
    return text.hexdigest()[:40] + ".safetensors"


def _read(file: pathlib.Path, width: int) -> np.ndarray | None:
    """A cached entry, or None where there is none, or one that is torn."""
    try:
        rows = np.array(tensors.read(file)["rows"])
    except (OSError, ValueError, KeyError):
        return None
    return rows if rows.ndim == 2 and rows.shape[1] == width else None


# ------------------------------------------------------------------------------------------------------------- tokens


def clean(text: str) -> str:
    """The prompt as Wan's public pipelines clean it: Unicode repairs, HTML entities, and single spaces.

    Straight quotes, ligatures spelled out, half- and full-width forms at their normal width, no control characters,
    NFC; entities are resolved twice more, as upstream does.
    """
    if "<" not in text:
        text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    text = _TERMINAL.sub("", text).translate(_C1).translate(_LIGATURES | _WIDTH | _QUOTES)
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_LINES)
    text = _SURROGATES.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)
    text = re.sub("[\ud800-\udfff]", "\ufffd", text).translate(_CONTROL)
    text = unicodedata.normalize("NFC", text)
    return re.sub(r"\s+", " ", html.unescape(html.unescape(text))).strip()


class Tokenizer:
    """UMT5's tokenizer with Wan's cleaning and padding.

    Args:
        path: its `tokenizer.json`, the file's folder, or a model's root folder (`tokenizer/` or `google/umt5-xxl/` in
            it).
        length: ids of every result; longer prompts are cut, and still end in the end token.

    Raises:
        FileNotFoundError: no tokenizer.json there.
        ValueError: one that cannot be read; names it.
        ImportError: the `tokenizers` package is missing.
    """

    def __init__(self, path: str | os.PathLike, length: int = 512):
        try:
            import tokenizers
        except ImportError:
            raise ImportError("reading a tokenizer needs the `tokenizers` package: pip install tokenizers") from None

        path, name = pathlib.Path(path), "tokenizer.json"
        places = (path, *(path / folder / name for folder in ("", "tokenizer", "google/umt5-xxl")))
        file = next((place for place in places if place.is_file()), None)
        if file is None:
            raise FileNotFoundError(f"{path}: no {name}, tokenizer/{name} or google/umt5-xxl/{name}")
        if length < 2:
            raise ValueError(f"Tokenizer: length {length}, expected at least 2")
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises bare Exception
            raise ValueError(f"{file}: not a tokenizer: {error}") from None
        pad = self._tokenizer.token_to_id("<pad>")
        if pad is None:
            raise ValueError(f"{file}: not a tokenizer: no <pad> token in this vocabulary")
        self._tokenizer.enable_truncation(max_length=length)
        self._tokenizer.enable_padding(length=length, pad_id=pad, pad_token="<pad>")

    def __call__(self, text: str) -> tuple[Int[np.ndarray, "l"], Int[np.ndarray, "l"]]:
        """Ids and mask (1 at tokens, 0 at padding) of a prompt, int32; what `UMT5Encoder` takes."""
        encoding = self._tokenizer.encode(clean(text))
        return np.array(encoding.ids, np.int32), np.array(encoding.attention_mask, np.int32)


# ------------------------------------------------------------------------------------------------------------ network


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


_run = jax.jit(UMT5Encoder.__call__)


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
    sizes = file.sizes
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
    if file.named("model_type", ("umt5",)):
        found |= file.said(UMT5Config, {"layer_norm_epsilon": "eps", "relative_attention_max_distance": "max_distance"})
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
    found = {"vocab_size": cfg.vocab, "d_model": cfg.dim, "d_ff": cfg.ffn_dim, "d_kv": cfg.head_dim}
    found |= {"num_heads": cfg.heads, "num_layers": cfg.layers, "relative_attention_num_buckets": cfg.buckets}
    found |= {"relative_attention_max_distance": cfg.max_distance, "layer_norm_epsilon": cfg.eps}
    kind = {"architectures": ["UMT5EncoderModel"], "model_type": "umt5", "feed_forward_proj": "gated-gelu"}
    kind |= {"is_gated_act": True, "dense_act_fn": "gelu_new", "is_encoder_decoder": False, "use_cache": False}
    return found | kind | {"pad_token_id": 0, "eos_token_id": 1, "torch_dtype": cfg.param_dtype}
