"""What the dimensions of blocks' parameters mean, for the rules that place them on a mesh."""

from typing import Any

import jax

Rows = tuple[tuple[tuple[str, ...], tuple[str | None, ...]], ...]

# Logical axes of each kind of parameter, by the end of its path. "embed" is the residual stream's width, "heads" the
# joint width of all heads, "mlp" the feed-forward's; None axes are small and stay whole.
BLOCKS: Rows = (
    (("o", "kernel"), ("heads", "embed")),
    (("o", "bias"), ("embed",)),
    *(((name, "kernel"), ("embed", "heads")) for name in ("q", "k", "v", "k_img", "v_img")),
    *(((name, "bias"), ("heads",)) for name in ("q", "k", "v", "k_img", "v_img")),
    *(((name,), ("heads",)) for name in ("norm_q", "norm_k", "norm_k_img")),
    (("ffn_in", "kernel"), ("embed", "mlp")),
    (("ffn_in", "bias"), ("mlp",)),
    (("ffn_out", "kernel"), ("mlp", "embed")),
    (("modulation",), (None, "embed")),
    (("bias",), ("embed",)),
    (("scale",), ("embed",)),
)


def named(shapes: Any, own: Rows = (), *, stacked: tuple[str, ...] = ("blocks",)) -> dict:
    """Logical axis names of every parameter of a module (or of its shapes), as a nested dict.

    Keys are the attribute names of the module, leaves tuples with one name (or None) per array axis:
    `{"blocks": {"ffn_in": {"kernel": ("layers", "embed", "mlp")}}}`. They are the paths of
    `jax.tree_util.tree_flatten_with_path(module)` without the trailing `.value`.

    Args:
        shapes: the module.
        own: rows like those of `BLOCKS`, of a family's other parameters; they come first.
        stacked: attributes that hold stacks of equal blocks; the leading axis of theirs is "layers".

    Raises:
        ValueError: a parameter that no row names, or names with another number of axes.
    """
    axes: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
        names = tuple(key.name for key in path if key.name != "value")
        found = next((value for end, value in (*own, *BLOCKS) if names[-len(end) :] == end), ())
        found = ("layers", *found) if names[0] in stacked else found
        if len(found) != leaf.ndim:
            raise ValueError(f"{'.'.join(names)}: shape {leaf.shape}, but logical axes {found}")
        node = axes
        for name in names[:-1]:
            node = node.setdefault(name, {})
        node[names[-1]] = found
    return axes
