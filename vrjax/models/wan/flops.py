"""Floating-point operations of a WanDiT, counted from its shapes: one multiply-add is two operations."""

from vrjax.models.wan.dit import WanConfig


def forward(cfg: WanConfig, tokens: int, text: int, image: int = 0) -> int:
    """Operations of the matrix products of one forward pass of one example.

    Norms, activations and softmax are left out, as usual in figures of model-FLOPs utilisation. A training step is
    three times this (PaLM, Chowdhery et al. 2022, appendix B); recomputation is not counted.

    Args:
        cfg: shape of the model.
        tokens: latent patches, t * h * w of the token grid.
        text: rows of text.
        image: rows of the CLIP branch; 0 without one.
    """
    d, n = cfg.dim, tokens
    own = 8 * n * d * d + 4 * n * n * d  # q, k, v, o; scores and their product with the values
    context = text + image
    across = 4 * n * d * d + 4 * context * d * d + 4 * n * context * d  # q, o; k, v; scores and products
    block = own + across + 4 * n * d * cfg.ffn_dim
    ends = 2 * n * d * cfg.patch_size * (cfg.in_channels + cfg.out_channels)
    time = 2 * (cfg.freq_dim * d + d * d + 6 * d * d)
    words = 2 * text * (cfg.text_dim * d + d * d)
    pictures = 0 if cfg.image_dim is None else 2 * image * (cfg.image_dim**2 + cfg.image_dim * d)
    return cfg.layers * block + ends + time + words + pictures
