"""Mistakes of calls, told in one line where they are made and not deep inside a trace."""

import contextlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from vrjax.flow import words


def call(what: str, fn: Any, *arguments: str) -> None:
    """Checks that `fn` can be called with these positional arguments, as far as its signature tells.

    Raises:
        ValueError: it is no function, or takes others.
    """
    form = f"{what}({', '.join(arguments)})"
    if not callable(fn):
        raise ValueError(f"{what}: must be a function, called as {form}, found {words.value(fn)}")
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):  # some builtins tell nothing
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise ValueError(f"{what}: {words.name(fn)}{signature} is called as {form}: {error}") from None


def shape(what: str, made: Any, like: Any) -> None:
    """Checks that a function gave back an array of the shape it was given.

    Raises:
        ValueError: nothing came back, or another shape.
    """
    try:
        found = "nothing (is a `return` missing?)" if made is None else f"shape {jnp.shape(made)}"
        if made is not None and jnp.shape(made) == jnp.shape(like):
            return
    except (TypeError, ValueError):
        found = words.value(made)
    raise ValueError(f"{what} must return the shape it is given, {jnp.shape(like)}, found {found}")


def key(what: str, given: Any) -> None:
    """Checks that something is one random key, typed or raw.

    Raises:
        ValueError: it is something else.
    """
    dtype, found = getattr(given, "dtype", None), getattr(given, "shape", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and found == ()
    if not typed and not (dtype == jnp.uint32 and len(found or ()) == 1):
        raise ValueError(f"{what}: expected one key, such as jax.random.key(0), found {words.value(given)}")


@contextlib.contextmanager
def axes() -> Iterator[None]:
    """A collective over an axis that nobody mapped, such as `lax.pmean(h, "seed")` in a run of one seed, is told so.

    Raises:
        ValueError: instead of JAX's NameError.
    """
    try:
        yield
    except NameError as error:
        unbound = re.search(r"unbound axis name: (\w+)", str(error))
        if unbound is None:
            raise
        raise ValueError(
            f"a collective over {unbound[1]!r}, which nothing maps here: run it under over_seeds(fn, keys), whose axis "
            "is 'seed', or by Pipeline.sample(seeds=...)"
        ) from None
