"""The CLIP image encoder of Wan 2.1's image-to-video models: ViT-H/14, rows of its last block but one.

    encoder = wan.load_image_encoder(path)
    rows = encoder(preprocess(image))                  # (257, 1280), for `wan.Image(clip=rows)`

The last block, the norm after it and the projection are in the public files; nothing here reads them.
"""

import dataclasses
import functools
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Shaped

from vrjax.files import tensors, weights
from vrjax.files.pixels import to_uint8
from vrjax.files.weights import Form
from vrjax.flow import words
from vrjax.models.blocks.attention import attend
from vrjax.models.blocks.layers import LayerNorm, Linear

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


@dataclasses.dataclass(frozen=True)
class CLIPConfig:
    """Shape of a CLIP vision tower; the default is ViT-H/14.

    Attributes:
        dim: width of the residual stream.
        ffn_dim: width inside the feed-forward.
        heads: attention heads.
        layers: blocks of the public model, of which all but the last run.
        image_size: side of the image in pixels.
        patch: side of a patch in pixels.
        eps: of all norms.
        dtype: of matrix products and the residual stream. Norms and softmax are float32.
        param_dtype: of the stored matrices; the rest is float32.
    """

    dim: int = 1280
    ffn_dim: int = 5120
    heads: int = 16
    layers: int = 32
    image_size: int = 224
    patch: int = 14
    eps: float = 1e-5
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self):
        if self.heads < 1 or self.dim % self.heads:
            raise ValueError(f"CLIPConfig: dim={self.dim} must be a multiple of heads={self.heads}")
        if self.layers < 2:
            raise ValueError(f"CLIPConfig: layers={self.layers}, expected at least 2, as the last does not run")
        if self.image_size % self.patch:
            raise ValueError(f"CLIPConfig: image_size={self.image_size} must be a multiple of patch={self.patch}")

    @property
    def rows(self) -> int:
        """Rows of the result: patches and the class token."""
        return (self.image_size // self.patch) ** 2 + 1


class _Block(nnx.Module):
    """Self-attention and feed-forward with the exact (erf) GELU, each behind a layer norm."""

    def __init__(self, cfg: CLIPConfig, key: jax.Array):
        keys = jax.random.split(key, 6)
        xavier = nnx.initializers.xavier_uniform()
        self.norm1, self.norm2 = LayerNorm(cfg.dim, cfg.eps), LayerNorm(cfg.dim, cfg.eps)
        self.q, self.k, self.v, self.o = (Linear(xavier, keys[i], cfg.dim, cfg.dim, cfg.param_dtype) for i in range(4))
        self.fc1 = Linear(xavier, keys[4], cfg.dim, cfg.ffn_dim, cfg.param_dtype)
        self.fc2 = Linear(xavier, keys[5], cfg.ffn_dim, cfg.dim, cfg.param_dtype)

    def __call__(self, cfg: CLIPConfig, h: Array) -> Array:
        x = self.norm1(h)
        q, k, v = (linear(x, cfg.dtype).reshape(len(x), cfg.heads, -1) for linear in (self.q, self.k, self.v))
        h = h + self.o(attend(q, k, v).reshape(len(x), -1), cfg.dtype)
        x = jax.nn.gelu(self.fc1(self.norm2(h), cfg.dtype), approximate=False)
        return h + self.fc2(x, cfg.dtype)


class CLIPEncoder(nnx.Module):
    """CLIP's vision tower. See the module docstring; `CLIPConfig` states every option."""

    __repr__ = words.module

    def __init__(self, cfg: CLIPConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        keys = jax.random.split(rngs.params(), 4)
        small = nnx.initializers.normal(cfg.dim**-0.5)
        self.patch_embedding = nnx.Param(small(keys[0], (3 * cfg.patch**2, cfg.dim), cfg.param_dtype))
        self.class_token = nnx.Param(small(keys[1], (cfg.dim,)))
        self.positions = nnx.Param(small(keys[2], (cfg.rows, cfg.dim)))
        self.norm = LayerNorm(cfg.dim, cfg.eps)
        self.blocks = jax.vmap(lambda key: _Block(cfg, key))(jax.random.split(keys[3], cfg.layers - 1))

    def __call__(self, pixels: Float[Array | np.ndarray, "h w c"]) -> Float[Array, "rows d"]:
        """Hidden rows before the last block, class token first.

        Args:
            pixels: (image_size, image_size, 3), normalised by `preprocess`.

        Returns:
            (rows, dim) in the config's dtype.

        Raises:
            ValueError: another shape.
        """
        cfg, pixels = self.cfg, jnp.asarray(pixels)
        expected = (cfg.image_size, cfg.image_size, 3)
        if pixels.shape != expected:
            raise ValueError(f"pixels: shape {pixels.shape}, expected {expected}; see clip.preprocess")
        patches = rearrange(pixels, "(h p) (w q) c -> (h w) (c p q)", p=cfg.patch, q=cfg.patch).astype(cfg.dtype)
        patches = patches @ self.patch_embedding[...].astype(cfg.dtype)
        h = jnp.concatenate([self.class_token[...].astype(cfg.dtype)[None], patches])
        h = self.norm(h + self.positions[...].astype(cfg.dtype)).astype(cfg.dtype)
        return lax.scan(lambda h, block: (block(cfg, h), None), h, self.blocks)[0]


@functools.lru_cache(maxsize=16)
def abstract(cfg: CLIPConfig) -> CLIPEncoder:
    """A CLIPEncoder whose parameters are shapes only: no memory is allocated."""
    return jax.eval_shape(lambda: CLIPEncoder(cfg, rngs=nnx.Rngs(0)))


# ---------------------------------------------------------------------------------------------------- preprocessing


def preprocess(
    image: Shaped[Array | np.ndarray, "h w c"], *, size: int = 224, style: str = "original"
) -> Float[Array | np.ndarray, "size size c"]:
    """An image as the encoder takes it: resized, and normalised by CLIP's mean and deviation.

    Args:
        image: (h, w, 3), floats in [-1, 1], or 8-bit.
        size: side of the result.
        style: "original" squeezes the whole image into the square by bicubic interpolation, as Wan's own code does
            (no antialiasing, a = -0.75; any array, also under jit). "transformers" scales the shorter side with
            Pillow's antialiased bicubic filter on 8-bit pixels and crops the centre, as the diffusers pipelines do.

    Raises:
        ValueError: another shape, or an unknown style.
    """
    if image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ValueError(f"image: shape {image.shape}, expected (h, w, 3)")
    if style == "original":
        unit = jnp.asarray(image, jnp.float32) / 255 if image.dtype == np.uint8 else jnp.asarray(image) * 0.5 + 0.5
        rows, columns = (_bicubic(n, size) for n in image.shape[:2])
        unit = jnp.einsum("ih,hwc->iwc", rows, unit, precision="highest")
        unit = jnp.einsum("jw,iwc->ijc", columns, unit, precision="highest")
    elif style == "transformers":
        unit = _centre(np.asarray(image), size).astype(np.float32) / 255
    else:
        raise ValueError(f"style: found {style!r}, expected 'original' or 'transformers'")
    return (unit - MEAN) / STD


@functools.lru_cache(maxsize=16)
def _bicubic(n_in: int, n_out: int) -> np.ndarray:
    """Keys' cubic interpolation with a = -0.75 as a matrix (n_out, n_in); pixels beyond the border repeat it."""
    place = (np.arange(n_out) + 0.5) * n_in / n_out - 0.5
    first, a = np.floor(place).astype(int), -0.75
    matrix = np.zeros((n_out, n_in))
    for tap in range(-1, 3):
        x = np.abs(place - first - tap)
        near = ((a + 2) * x - (a + 3)) * x**2 + 1
        far = a * (((x - 5) * x + 8) * x - 4)
        np.add.at(matrix, (np.arange(n_out), np.clip(first + tap, 0, n_in - 1)), np.where(x <= 1, near, far))
    return matrix.astype(np.float32)


def _centre(image: np.ndarray, size: int) -> np.ndarray:
    """The middle (size, size, 3) of the image with its shorter side scaled to `size`, 8-bit."""
    from PIL import Image

    if image.dtype != np.uint8:
        image = to_uint8(image)
    h, w = image.shape[:2]
    new = (size, int(size * h / w)) if w <= h else (int(size * w / h), size)  # (width, height)
    scaled = np.asarray(Image.fromarray(image).resize(new, Image.Resampling.BICUBIC))
    top, left = (scaled.shape[0] - size) // 2, (scaled.shape[1] - size) // 2
    return scaled[top : top + size, left : left + size]


# ---------------------------------------------------------------------------------------------------------- reading

FILES = ("models_clip_*.pth", "*clip*vision*.safetensors")
NAMES = weights.Names(
    ("original", "transformers"),
    {
        "patch_embedding": ("patch_embedding.weight", "embeddings.patch_embedding.weight"),
        "class_token": ("cls_embedding", "embeddings.class_embedding"),
        "positions": ("pos_embedding", "embeddings.position_embedding.weight"),
        "norm": ("pre_norm", "pre_layrnorm"),
    },
    {
        "norm1": ("norm1", "layer_norm1"),
        **{name: ("attn.to_qkv", f"self_attn.{name}_proj") for name in "qkv"},
        "o": ("attn.proj", "self_attn.out_proj"),
        "norm2": ("norm2", "layer_norm2"),
        "fc1": ("mlp.0", "mlp.fc1"),
        "fc2": ("mlp.2", "mlp.fc2"),
    },
    ("transformer", "encoder.layers"),
)
key_of = NAMES.key


def _fields(file: weights.Header) -> tuple[dict[str, Any], str]:
    """The config as the tensors' shapes have it, and heads of `config.json`, else of ViT-H's size of 80."""
    sizes, path = file.sizes, str(file.source.path)
    dim, _, patch, _ = sizes["patch_embedding"].shape
    found: dict[str, Any] = {
        "dim": dim,
        "ffn_dim": sizes["blocks.fc1.kernel"].shape[0],
        "heads": dim // 80 if dim % 80 == 0 else None,
        "layers": file.blocks,
        "image_size": round((sizes["positions"].shape[-2] - 1) ** 0.5) * patch,
        "patch": patch,
        "param_dtype": str(sizes["blocks.fc1.kernel"].dtype),
    }
    public = file.public.get("vision_config") or file.public
    if isinstance(public, Mapping) and public.get("hidden_size") == dim:
        table = {"num_attention_heads": "heads", "layer_norm_eps": "eps", "image_size": "image_size"}
        found |= file.said(CLIPConfig, table, public)
        if public.get("hidden_act", "gelu") != "gelu":
            raise ValueError(f"{file.stated}: hidden_act is {public['hidden_act']!r}, expected 'gelu'")
    if not (found | file.options)["heads"]:
        raise ValueError(f"{path}: no config.json, and dim {dim} is not a multiple of 80: pass heads=")
    return found, path


NETWORK = weights.Network(
    name="CLIP",
    what="a CLIP vision tower",
    config=CLIPConfig,
    abstract=abstract,
    names=NAMES,
    anchors={"original": "cls_embedding", "transformers": "embeddings.class_embedding"},
    sizes={"patch_embedding": (4,), "positions": (2, 3), "blocks.fc1.kernel": (2,)},
    fields=_fields,
    forms=(
        (r".*:patch_embedding", Form(turned=True, patch=(3, "patch", "patch"))),
        (r"original:class_token", Form(before=2)),
        (r"original:positions", Form(before=1)),
        *((rf"original:blocks\.{name}\..*", Form(turned=True, third=i)) for i, name in enumerate("qkv")),
        (r".*\.kernel", Form(turned=True)),
    ),
    unused={  # `#`: the last block, which does not run
        "original": r"post_norm\.(weight|bias)|head|transformer\.#\..*",
        "transformers": r"post_layernorm\.(weight|bias)|visual_projection\.weight|embeddings\.position_ids"
        r"|encoder\.layers\.#\..*",
    },
)


def load_image_encoder(path: str | os.PathLike, **options: Any) -> CLIPEncoder:
    """Loads the vision tower of CLIP in transformers' or Wan's original layout, the last block left out.

    Args:
        path: a `.pth` or `.safetensors` file, an `image_encoder` folder, or a model's root folder in either layout.
            The heads come from `config.json`, else from ViT-H's head size of 80; the rest from the tensors' shapes.
        **options: fields of CLIPConfig that override what was found. `param_dtype` is the file's own by default.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: a torn or hostile file; missing, unexpected or misshapen tensors (names the file and the first of
            them); a config that cannot be read, or asks for another activation.
    """
    return NETWORK.open(tensors.read(tensors.locate(path, "image_encoder", FILES)), **options).module()


def public_config(cfg: CLIPConfig) -> dict:
    """`config.json` of transformers' CLIPVisionModel."""
    return {
        "architectures": ["CLIPVisionModel"],
        "model_type": "clip_vision_model",
        "hidden_size": cfg.dim,
        "intermediate_size": cfg.ffn_dim,
        "num_attention_heads": cfg.heads,
        "num_hidden_layers": cfg.layers,
        "image_size": cfg.image_size,
        "patch_size": cfg.patch,
        "layer_norm_eps": cfg.eps,
        "hidden_act": "gelu",
        "num_channels": 3,
        "torch_dtype": cfg.param_dtype,
    }
