"""Small networks in one safetensors file, each parameter under its place in the module: `over_time.0.kernel`.

    leaves.write(file, judge, {"seed": "7"})
    judge = leaves.read(file, lambda: Recogniser(nnx.Rngs(0)))
    judge = leaves.keep(file, about, train, lambda: Recogniser(nnx.Rngs(0)))      # read, or trained and kept

For networks of this house alone: `vrjax.files.weights` is for those whose files others write.
"""

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.files import kept, tensors, weights

N = TypeVar("N")


def write(file: str | os.PathLike, network: Any, about: Mapping[str, str] | None = None, *, dtype: Any = None) -> None:
    """Writes the parameters of a network.

    Args:
        file: whole or not at all.
        network: a module, or any pytree of arrays whose nodes have names or numbers.
        about: how it was made; stands in the file's header.
        dtype: of the file; each parameter's own by default.
    """
    found = {name: np.asarray(leaf) for name, leaf in _named(network).items()}
    shapes = {name: (leaf.shape, np.dtype(dtype or leaf.dtype)) for name, leaf in found.items()}
    tensors.write(file, shapes, found.values(), about or {})


def read(file: str | os.PathLike, make: Callable[[], N], what: str = "") -> N:
    """The network of a file that `write` has written, in the dtypes that it has in the house.

    Args:
        file: of it.
        make: a network of its sizes; no array of it is made.
        what: its name, for messages; by default the type's.

    Raises:
        FileNotFoundError: none there. ValueError: a torn file, or one of other tensors; names the file and one of them.
    """
    source, like = tensors.read(file), jax.eval_shape(make)
    wanted = _named(like)
    for name in [*wanted, *source.shapes]:
        here, there = source.shapes.get(name), wanted[name].shape if name in wanted else None
        if here != there:
            raise ValueError(f"{file}: {name} is {here}, expected {there} of {what or type(like).__name__}")
    return jax.tree.structure(like).unflatten(jnp.array(source[name], leaf.dtype) for name, leaf in wanted.items())


def keep(file: str | os.PathLike, about: Mapping[str, Any], train: Callable[[], N], make: Callable[[], N]) -> N:
    """`train()`, or what an earlier call has trained of the same and left in `file`.

    Args:
        file: of the network.
        about: what it depends on (`vrjax.files.kept.file`).
        train: gives the network.
        make: see `read`.

    Raises:
        ValueError: a file that is torn, changed or was not made here.
    """

    def written(scratch: pathlib.Path) -> None:
        write(scratch, train())

    kept.file(file, about, written)
    return read(file, make)


def _named(network: Any) -> dict[str, Any]:
    """Leaves in the pytree's order."""
    rows = jax.tree_util.tree_leaves_with_path(network)
    return {".".join(map(str, weights.attributes(path))): leaf for path, leaf in rows}
