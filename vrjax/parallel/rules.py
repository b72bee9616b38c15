"""Logical axes: models name what a dimension means, a dict in the config says which mesh axis it is split over."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Rules = Mapping[str, str | tuple[str, ...] | None]
"""Logical axis name -> mesh axis, several mesh axes (first is the major one), or None for "kept whole"."""

DEFAULT_RULES: Rules = {
    "seed": "seed",
    "batch": ("data", "fsdp"),
    "tokens": "context",
    "heads": "tensor",
    "mlp": "tensor",
    "embed": "fsdp",
    "layers": None,
    # small or already-split dimensions of `vrjax.models.wan`
    "embed_in": None,
    "modulation": "tensor",
    "patch": None,
    "text": None,
    "time": None,
    "image": None,
    "image_mlp": "tensor",
}
"""The usual choice for a transformer: data parallel over (data, fsdp), parameters over (fsdp, tensor)."""


class UnevenSharding(UserWarning):
    """A dimension was kept whole because the mesh axes its rule names do not divide it."""


def spec(logical_axes: Sequence[str | None] | None, rules: Rules) -> PartitionSpec:
    """Translate the logical axes of one array into a `PartitionSpec`.

    Args:
        logical_axes: one name per dimension; None for a dimension that is never split. None in place of the whole
            sequence means a replicated array.
        rules: logical name -> mesh axis, tuple of mesh axes, or None.

    Returns:
        The spec. A mesh axis can split only one dimension of an array; where two dimensions ask for the same one, the
        first gets it and the later dimension keeps what is left of its rule (a square kernel `("embed", "embed")` is
        split by rows).

    Raises:
        ValueError: a logical name that has no rule.
    """
    entries: list[Any] = []
    used: set[str] = set()
    for name in logical_axes or ():
        if name is None:
            entries.append(None)
            continue
        if name not in rules:
            raise ValueError(f"logical axis {name!r} has no rule; the rules name {sorted(rules)}")
        rule = rules[name]
        wanted = () if rule is None else (rule,) if isinstance(rule, str) else tuple(rule)
        free = tuple(axis for axis in wanted if axis not in used)
        used.update(free)
        entries.append(None if not free else free[0] if len(free) == 1 else free)
    while entries and entries[-1] is None:
        entries.pop()
    return PartitionSpec(*entries)


def shardings(
    logical_axes: Any,
    mesh: Mesh,
    rules: Rules = DEFAULT_RULES,
    like: Any = None,
    *,
    uneven: str = "warn",
) -> Any:
    """Shardings for a whole tree, for `jax.jit(out_shardings=...)`, `jax.device_put` or a checkpoint's restore target.

    Args:
        logical_axes: pytree whose leaves are tuples of logical names (or None: replicated).
        mesh: where the arrays shall live.
        rules: see `spec`.
        like: pytree of arrays or `jax.ShapeDtypeStruct` with the same paths. Needed to see which dimensions divide;
            without it nothing is checked and JAX complains when the sharding is used. Its own structure is returned, so
            a Flax module or state may be given beside nested dicts of axes with the same names.
        uneven: what to do where mesh axes do not divide a dimension. The rule's minor mesh axes are dropped until the
            rest divides; what was dropped and why is said in one `UnevenSharding` warning ("warn"), in a ValueError
            ("error"), or not at all ("replicate").

    Returns:
        Pytree of `NamedSharding`, in the structure of `like` if given, else of `logical_axes`.

    Raises:
        ValueError: a logical name without a rule, a rule that names no axis of the mesh, a tree `like` that does not
            match, a leaf whose rank is not the number of its logical axes; uneven dimensions with `uneven="error"`.
    """
    if uneven not in ("warn", "error", "replicate"):
        raise ValueError(f"uneven={uneven!r}: expected 'warn', 'error' or 'replicate'")
    paths, treedef = jax.tree_util.tree_flatten_with_path(logical_axes, is_leaf=_is_axes)
    for path, axes in paths:
        if not _is_axes(axes):
            raise ValueError(f"{_name(path)}: found {axes!r}, expected a tuple of logical axis names or None")
    specs = [spec(axes, rules) for _, axes in paths]
    for entry, (path, axes) in zip(specs, paths, strict=True):
        lost = [axis for part in entry for axis in _parts(part) if axis not in mesh.shape]
        if lost:
            raise ValueError(
                f"{_name(path)}: the rules of {axes} name mesh axes {lost}; the mesh has {list(mesh.shape)}"
            )
    if like is None:
        return jax.tree_util.tree_unflatten(treedef, [NamedSharding(mesh, entry) for entry in specs])

    named = {_keys(path): (axes, entry) for (path, axes), entry in zip(paths, specs, strict=True)}
    arrays, treedef = jax.tree_util.tree_flatten_with_path(like)
    missing = [_name(path) for path, _ in arrays if _keys(path) not in named]
    extra = set(named) - {_keys(path) for path, _ in arrays}
    if missing or extra:
        raise ValueError(
            f"shardings: arrays without logical axes: {missing}; "
            f"logical axes without an array: {sorted('/'.join(k) for k in extra)}"
        )
    out, dropped = [], []
    for path, array in arrays:
        name, shape, (axes, entry) = _name(path), tuple(array.shape), named[_keys(path)]
        if axes is not None and len(axes) != len(shape):
            raise ValueError(f"{name}: {len(axes)} logical axes {axes} for an array of shape {shape}")
        kept = []
        for size, part, logical in zip(shape, entry, axes or (), strict=False):
            want = _parts(part)
            have = want
            while have and size % math.prod(mesh.shape[axis] for axis in have):
                have = have[:-1]
            if have != want:
                ways = math.prod(mesh.shape[axis] for axis in want)
                dropped.append(f"{name} {shape}: {logical!r} of size {size} over {want} ({ways} ways)")
            kept.append(None if not have else have[0] if len(have) == 1 else have)
        out.append(NamedSharding(mesh, PartitionSpec(*kept)))
    if dropped and uneven != "replicate":
        text = "dimensions that the mesh does not divide are not split as asked: " + "; ".join(dropped)
        if uneven == "error":
            raise ValueError(text)
        warnings.warn(text, UnevenSharding, stacklevel=2)
    return jax.tree_util.tree_unflatten(treedef, out)


def _is_axes(x: Any) -> bool:
    """True for None and for plain tuples of names; containers (also named tuples) are descended into."""
    return x is None or (type(x) is tuple and all(e is None or isinstance(e, str) for e in x))


def _parts(entry: Any) -> tuple[str, ...]:
    return () if entry is None else (entry,) if isinstance(entry, str) else tuple(entry)


def _keys(path: Any) -> tuple[str, ...]:
    """Names along a path; a Flax variable's trailing `.value` is not counted."""
    keys = tuple(str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))).lstrip(".") for k in path)
    return keys[:-1] if keys[-1:] in (("value",), ("raw_value",)) else keys


def _name(path: Any) -> str:
    return "/".join(_keys(path)) or "<root>"
