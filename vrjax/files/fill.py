"""Fills a module's parameters from a file of named arrays: all keys and shapes are checked before the first is read."""

import pathlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from vrjax.files import placing, tensors


class Slot(NamedTuple):
    """Where a parameter comes from.

    Attributes:
        keys: tensor names in the file; several for a parameter stacked over blocks.
        shape: of each of them in the file.
        take: makes the parameter (or its row for one block) of a file's array.
        part: rows of the file's array that belong to the parameter, where several share one.
    """

    keys: tuple[str, ...]
    shape: tuple[int, ...]
    take: Callable[[np.ndarray], np.ndarray] = np.asarray
    part: slice = slice(None)

    def read(self, array: np.ndarray) -> np.ndarray:
        """The parameter, or its row for one block, of a file's array."""
        return self.take(array[self.part] if array.ndim else array)


def module(
    source: tensors.Source,
    abstract: Any,
    slots: Iterable[Slot],
    *,
    prefix: str = "",
    unused: str = "",
) -> Any:
    """The module with its parameters read from `source`.

    Args:
        source: an open file.
        abstract: the module as `jax.eval_shape` gives it; parameters are cast to its dtypes.
        slots: one per leaf of `abstract`, in order.
        prefix: of the module's keys in the file; tensors without it belong to others and are left alone.
        unused: pattern (`re.fullmatch`) of keys that may be in the file and are not read.

    Raises:
        ValueError: missing, unexpected or misshapen tensors; names the file and the first few of them.
    """
    leaves, tree = jax.tree.flatten(abstract)
    slots = list(slots)
    check(source.path, inside(source, prefix), {key: slot.shape for slot in slots for key in slot.keys}, unused)
    values = []
    for leaf, slot in zip(leaves, slots, strict=True):
        stacked = leaf.shape != slot.read(source[prefix + slot.keys[0]]).shape  # a leading axis of blocks
        read = lambda i, slot=slot: slot.read(source[prefix + slot.keys[i]])
        values.append(placing.array(leaf, read, stacked=stacked))
    return jax.tree.unflatten(tree, values)


def check(path: pathlib.Path, shapes: Mapping, expected: Mapping, unused: str = "") -> None:
    """ValueError that names the file and the first keys which are missing, unexpected or misshapen."""
    missing = [key for key in expected if key not in shapes]
    unexpected = [key for key in shapes if key not in expected and not (unused and re.fullmatch(unused, key))]
    complaints = []
    if missing:
        complaints.append(f"{len(missing)} missing tensors ({some(missing)})")
    if unexpected:
        complaints.append(f"{len(unexpected)} unexpected tensors ({some(unexpected)})")
    wrong = [key for key, shape in expected.items() if key in shapes and tuple(shapes[key]) != tuple(shape)]
    complaints += [f"{key} has shape {shapes[key]}, expected {expected[key]}" for key in wrong[:3]]
    if complaints:
        raise ValueError(f"{path}: not the weights of this model: {'; '.join(complaints)}")


def inside(source: tensors.Source, prefix: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors behind a prefix, by key without it: bundled files hold other networks as well."""
    return {key[len(prefix) :]: shape for key, shape in source.shapes.items() if key.startswith(prefix)}


def some(keys: list[str]) -> str:
    """The first few keys, for a message."""
    return ", ".join(key[:99] for key in keys[:3]) + (", ..." if len(keys) > 3 else "")


def layout(source: tensors.Source, anchors: Mapping[str, str], what: str, prefix: str | None = None) -> tuple[str, str]:
    """Layout and key prefix of a file, told by one key per layout.

    Args:
        source: an open file.
        anchors: layout -> a key that only this layout has.
        what: for the message, such as "a Wan VAE".
        prefix: the prefix, where it is known.

    Raises:
        ValueError: no anchor, or several.
    """
    found = [
        (name, key[: -len(anchor)])
        for name, anchor in anchors.items()
        for key in source.shapes
        if (key == anchor or key.endswith("." + anchor)) and prefix in (None, key[: -len(anchor)])
    ]
    if not found:
        known = " nor ".join(f"{key} ({name})" for name, key in anchors.items())
        keys = some(list(source.shapes))
        raise ValueError(f"{source.path}: not {what}: neither {known} among its {len(source.shapes)} tensors ({keys})")
    if len(found) > 1:
        raise ValueError(f"{source.path}: holds {what} more than once: {', '.join(repr(p) for _, p in found[:4])}")
    return found[0]


def blocks(shapes: Iterable[str], start: str, path: pathlib.Path) -> int:
    """Number of blocks `START0.`, `START1.`, ... among the keys.

    Raises:
        ValueError: none, or a gap in their numbers; names the file and the first block that is missing.
    """
    number = re.compile(re.escape(start) + r"(\d{1,6})\.")
    found = {int(match[1]) for key in shapes if (match := number.match(key))}
    missing = next(i for i in range(len(found) + 1) if i not in found)
    if missing != len(found) or not found:
        raise ValueError(f"{path}: no tensors of block {start}{missing}, and {len(found)} other blocks")
    return len(found)


def locate(path: Any, folder: str, patterns: Iterable[str]) -> pathlib.Path:
    """The weights of one part of a model: `path` itself, its subfolder, or the one file in it that fits a pattern.

    Args:
        path: a file, the part's own folder, or a model's root in diffusers' or Wan's original layout.
        folder: name of the part's subfolder in diffusers' layout.
        patterns: names of its files in original layouts, `pathlib.Path.glob` style; the first that is there counts.

    Raises:
        ValueError: several files fit the pattern.
    """
    path = pathlib.Path(path)
    if (path / folder).is_dir():
        return path / folder
    if path.is_dir():
        for pattern in patterns:
            found = sorted(path.glob(pattern))
            if len(found) > 1:
                raise ValueError(
                    f"{path}: {len(found)} candidates for {pattern}: {', '.join(f.name for f in found[:4])}"
                )
            if found:
                return found[0]
    return path


def names(path: Iterable[Any]) -> tuple[Any, ...]:
    """A leaf's path as attribute names and list indices: `("stages", 0, "conv", "kernel")`."""
    parts = (getattr(key, "name", getattr(key, "idx", None)) for key in path)
    return tuple(part for part in parts if part != "value")
