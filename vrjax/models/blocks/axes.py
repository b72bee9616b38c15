"""What the dimensions of the transformer's parameters mean, for the rules that place them on a mesh."""

from typing import Any

import jax

# Logical axes of each kind of parameter, by the end of its path. Stacked blocks prepend "layers". "embed" is the
# residual stream's width, "heads" the joint width of all heads, "mlp" the feed-forward's, "modulation" the six
# chunks; None axes are small and stay whole.
AXES = (
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


def named(shapes: Any) -> dict:
    """Logical axis names of every parameter of a module (or of its shapes), as a nested dict.

    Keys are the attribute names of the module, leaves tuples with one name (or None) per array axis.
    """
    axes: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
        names = tuple(key.name for key in path if key.name != "value")
        found = next(value for end, value in AXES if names[-len(end) :] == end)
        found = ("layers", *found) if names[0] == "blocks" else found
        assert len(found) == leaf.ndim, (names, found, leaf.shape)
        node = axes
        for name in names[:-1]:
            node = node.setdefault(name, {})
        node[names[-1]] = found
    return axes
