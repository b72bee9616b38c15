"""Checks at the room's doors: a wrong shape is told in one line that names the argument."""

from typing import Any

import jax.numpy as jnp


def expect(where: str, **arguments: tuple[Any, tuple[int | str, ...]]) -> dict[str, int]:
    """Checks that shapes fit, and returns the sizes of the dimensions that have names.

    Args:
        where: the function that is called.
        **arguments: under the name that the caller knows, the array and its dimensions: numbers, or names, whose size
            is the same wherever they stand.

    Raises:
        ValueError: a shape that does not fit.
    """
    sizes: dict[str, int] = {}
    for name, (value, dims) in arguments.items():
        found = tuple(jnp.shape(value))
        wanted = [sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in dims]
        if len(found) != len(wanted) or any(w != f for w, f in zip(wanted, found, strict=True) if isinstance(w, int)):
            raise ValueError(f"{where}: {name} has shape {found}, expected ({', '.join(map(str, wanted))})")
        sizes |= {dim: size for dim, size in zip(dims, found, strict=True) if isinstance(dim, str)}
    return sizes
