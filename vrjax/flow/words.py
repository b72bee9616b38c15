"""Records in one line, for a person at a prompt: shapes and ranges, never contents.

    def __repr__(self) -> str:
        return words.line(self)                 # Phase(stop=3, velocity=model)

Traced arrays tell their shape only, and so do those that are elsewhere: nothing here waits for a device twice or fails.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jax import core

LARGEST = 1 << 24  # entries of an array that is read for its range
LONGEST = 100  # letters of what is no array


def array(value: Any, ranges: bool = True) -> str:
    """Such as "(4, 9, 10, 10, 3) in -1.02 to 0.99"; what is not finite is said."""
    told = str(tuple(value.shape))
    here = isinstance(value, np.ndarray) or isinstance(value, jax.Array) and not isinstance(value, core.Tracer)
    if not (ranges and here and 0 < value.size <= LARGEST):
        return told
    if isinstance(value, jax.Array) and (value.is_deleted() or not value.is_fully_addressable):
        return told
    if not jnp.issubdtype(value.dtype, np.number):
        return told
    held = np.asarray(value)
    held = held.astype(np.float64) if held.dtype.kind in "fV" else held
    good = np.isfinite(held)
    bad = held.size - int(good.sum())
    if bad:
        told += f" with {bad} of {held.size} not finite"
    if bad == held.size or held.dtype.kind == "c":
        return told
    low, high = held[good].min(), held[good].max()
    return f"{told} {low:.3g}" if low == high else f"{told} in {low:.3g} to {high:.3g}"


def inner(function: Any) -> Any:
    """What `functools.partial` was made of."""
    while (held := getattr(function, "func", None)) is not None:
        function = held
    return function


def name(function: Any) -> str:
    """What a function is called: of one made inside another, that one's name."""
    function = inner(function)
    told = getattr(function, "__qualname__", None) or type(function).__name__
    outer, _, own = told.partition(".<locals>.")
    return outer if own in ("<lambda>", "step", "call") else (own.rpartition(".<locals>.")[2] or outer)


def value(of: Any, ranges: bool = True) -> str:
    """Anything in a few words."""
    if hasattr(of, "shape") and hasattr(of, "dtype"):
        return array(of, ranges) if np.ndim(of) or isinstance(of, core.Tracer) else _scalar(of)
    if isinstance(of, Mapping):
        return "{" + ", ".join(f"{key}: {value(item, ranges)}" for key, item in of.items()) + "}"
    if isinstance(of, (tuple, list)) and type(of).__repr__ in (tuple.__repr__, list.__repr__):
        told = "(" + ", ".join(value(item, ranges) for item in of) + ("," if len(of) == 1 else "") + ")"
    else:
        told = name(of) if callable(of) and not isinstance(of, type) and not dataclasses.is_dataclass(of) else repr(of)
    told = " ".join(told.split())
    return told if len(told) <= LONGEST else told[: LONGEST - 1] + "…"


def _scalar(of: Any) -> str:
    if isinstance(of, jax.Array) and (of.is_deleted() or not of.is_fully_addressable):
        return "()"
    if not jnp.issubdtype(of.dtype, np.number):
        return str(of.dtype)  # a key
    return f"{np.asarray(of).item():.4g}"


@no_type_check
def line(self: Any) -> str:  # so named, because it stands as `__repr__` in classes
    """A NamedTuple or a dataclass, field by field; those that hold nothing are left out."""
    if dataclasses.is_dataclass(self):
        names = [field.name for field in dataclasses.fields(self)]
    else:
        names = self._fields
    held = filled({one: getattr(self, one, None) for one in names})
    return f"{type(self).__name__}({', '.join(f'{one}={value(item)}' for one, item in held.items())})"


def parameters(model: Any) -> str:
    """How many numbers a pytree holds, such as "0.457 million parameters"."""
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(model) if hasattr(leaf, "shape"))
    return f"{count / 1e9:.3g} billion parameters" if count >= 1e9 else f"{count / 1e6:.3g} million parameters"


def module(self: Any) -> str:
    """A network in one line, as its `__repr__`."""
    return f"{type(self).__name__}({parameters(self)})"


def filled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Without those that hold nothing."""
    return {name: item for name, item in fields.items() if not (item is None or isinstance(item, dict) and not item)}
