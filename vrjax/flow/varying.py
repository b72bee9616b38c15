"""Types inside shard_map: which mesh axes a value varies over. Everywhere else these functions return what they got."""

from typing import Any

import jax
from jax import lax


def vary_as(a: Any, like: Any) -> Any:
    """Mark `a` as varying over the mesh axes that `like` varies over. Carries and branches must agree in this."""
    return vary(a, axes(like))


def vary(a: Any, over: frozenset) -> Any:
    """Mark `a` as varying over these mesh axes, those it varies over already included."""
    missing = over - axes(a)
    return lax.pcast(a, tuple(sorted(missing)), to="varying") if missing else a


def axes(a: Any) -> frozenset:
    """The mesh axes that an array, or a shape from `jax.eval_shape`, varies over."""
    aval = a if isinstance(a, jax.ShapeDtypeStruct) else jax.typeof(a)
    kind = getattr(aval, "manual_axis_type", None)  # the older name of the attribute is vma
    return frozenset(getattr(aval, "vma", None) or () if kind is None else kind.varying)
