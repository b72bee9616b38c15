"""What the readers of Wan's networks share: names in two layouts, an open file, a config from what was found."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from vrjax.files import fill, tensors
from vrjax.files.fill import Slot

_LEAF = {"kernel": ".weight", "scale": ".weight", "bias": ".bias"}


class Names(NamedTuple):
    """Keys of a network's parameters in its two public layouts.

    Attributes:
        layouts: what they are called.
        top, block: dotted attributes without the leaf -> key in either layout, outside and inside of the blocks.
        blocks: what the blocks are called.
    """

    layouts: tuple[str, str]
    top: Mapping[str, tuple[str, str]]
    block: Mapping[str, tuple[str, str]]
    blocks: tuple[str, str] = ("blocks", "blocks")

    def key(self, path: tuple, layout: str, block: int | None = None) -> str:
        """File key of a parameter: `key(("blocks", "self_attn", "q", "kernel"), "diffusers", 3)`."""
        n, inside = self.layouts.index(layout), path[0] == "blocks"
        leaf = _LEAF.get(path[-1], "")
        name = ".".join(path[inside : len(path) - bool(leaf)])
        start = f"{self.blocks[n]}.{block}." if inside else ""
        return start + (self.block if inside else self.top)[name][n] + leaf

    def rows(self, abstract: Any, layout: str) -> Iterator[tuple[tuple, tuple[int, ...], tuple[str, ...]]]:
        """Every parameter: its path, its shape (in one block), and its keys, one a block."""
        for path, leaf in jax.tree_util.tree_leaves_with_path(abstract):
            name = fill.names(path)
            if name[0] == "blocks":
                yield name, leaf.shape[1:], tuple(self.key(name, layout, i) for i in range(leaf.shape[0]))
            else:
                yield name, leaf.shape, (self.key(name, layout),)


class Opened(NamedTuple):
    """An open file of one network, and what its keys and shapes say.

    Attributes:
        source: the file.
        cfg: of the network.
        layout, prefix: of its keys.
        slots: where its parameters are, see `fill.module`.
        unused: pattern of keys that nobody reads.
    """

    source: tensors.Source
    cfg: Any
    layout: str
    prefix: str
    slots: list[Slot]
    unused: str = ""

    def check(self) -> None:
        """ValueError where keys or shapes are not those of the slots."""
        expected = {key: slot.shape for slot in self.slots for key in slot.keys}
        fill.check(self.source.path, fill.inside(self.source, self.prefix), expected, self.unused)

    def module(self, abstract: Any) -> Any:
        """The network, checked and read; see `fill.module`."""
        return fill.module(self.source, abstract, self.slots, prefix=self.prefix, unused=self.unused)


def matrix(array: np.ndarray) -> np.ndarray:
    """A kernel over patches, or a linear one, as the matrix (in, out)."""
    return array.reshape(len(array), -1).T


def beside(source: tensors.Source) -> tuple[str, dict]:
    """The name and content of the `config.json` beside an open file; empty where there is none."""
    file = (source.path if source.path.is_dir() else source.path.parent) / "config.json"
    return str(file), tensors.read_json(file) if file.exists() else {}


def fields(public: Mapping[str, Any], table: Mapping[str, str]) -> dict[str, Any]:
    """The fields that a public config states; `table` maps their names to ours."""
    return {ours: public[theirs] for theirs, ours in table.items() if theirs in public}


def config(make: Callable[..., Any], found: Mapping[str, Any], origin: Any, what: str) -> Any:
    """`make(**found)`; JSON knows no tuples. ValueError: it names `origin` and says that this is no `what` config."""
    try:
        return make(**{name: tuple(value) if isinstance(value, list) else value for name, value in found.items()})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{origin}: not a {what} config: {error}") from None
