"""A network's parameters from a file of named arrays: all keys and shapes are checked before the first is read.

    NETWORK = Network(what="a Wan VAE", names=Names(...), forms=(...), ...)     # what is particular about its files
    vae = NETWORK.open(tensors.read(path), dtype="bfloat16").module()           # all else is done here

Parameters go straight from the file to where they stay, one by one (`tensors.array`): a model may be larger than what
the host can spare twice.
"""

import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from vrjax.files import records, tensors
from vrjax.files.tensors import Place, Source

NONE: Mapping[str, Any] = {}
_LEAF = {"kernel": ".weight", "scale": ".weight", "bias": ".bias", "gamma": ".gamma"}


class Names(NamedTuple):
    """Keys of a network's parameters in its public layouts, one or two.

    Attributes:
        layouts: what they are called.
        top, block: dotted attributes without the leaf -> key in each layout, outside and inside of the blocks.
        blocks: what the blocks are called.
        others: further stacks of blocks, whose parameters have the names of `block`: attribute -> what they are called.
    """

    layouts: tuple[str, ...]
    top: Mapping[str, tuple[str, ...]]
    block: Mapping[str, tuple[str, ...]]
    blocks: tuple[str, ...] = ("blocks", "blocks")
    others: Mapping[str, tuple[str, ...]] = NONE

    def stack(self, path: tuple) -> tuple[str, ...] | None:
        """What the stack of blocks that a parameter belongs to is called, or None outside of all."""
        return self.blocks if path[0] == "blocks" else self.others.get(path[0])

    def key(self, path: tuple, layout: str, block: int | None = None) -> str:
        """File key of a parameter: `key(("blocks", "self_attn", "q", "kernel"), "diffusers", 3)`."""
        n, stack = self.layouts.index(layout), self.stack(path)
        inside = stack is not None
        leaf = _LEAF.get(path[-1], "")
        name = ".".join(map(str, path[inside : len(path) - bool(leaf)]))
        start = "" if stack is None else f"{stack[n]}.{block}."
        return start + (self.block if inside else self.top)[name][n] + leaf


class Form(NamedTuple):
    """How a file holds a parameter.

    Attributes:
        turned: a kernel (*size, in, out) is (out, in, *size) there.
        patch: and its input has these axes there, numbers or names of the config's fields (or is one axis, as here).
        image: and its size has two axes there, as the first of the three has length one.
        before, behind: numbers of axes of length one that the file has more.
        third: it is this one of three parameters that lie there as one array, first axis by first axis.
    """

    turned: bool = False
    patch: tuple[str | int, ...] = ()
    image: bool = False
    before: int = 0
    behind: int = 0
    third: int | None = None


class Slot(NamedTuple):
    """Where a parameter comes from.

    Attributes:
        keys: tensor names in the file; several for a parameter stacked over blocks.
        shape: of each of them in the file.
        like: the shape of the parameter's part there, without axes that the parameter does not have.
        turned: whether the first two axes of that are the parameter's last, the other way round.
        part: rows of the file's array that belong to the parameter, where several share one.
    """

    keys: tuple[str, ...]
    shape: tuple[int, ...]
    like: tuple[int, ...]
    turned: bool = False
    part: slice = slice(None)


class Header(NamedTuple):
    """What an open file says of one network.

    Attributes:
        source: the file.
        layout: of its keys.
        prefix: of its keys; tensors without it belong to others and are left alone.
        shapes: of its tensors, by key without the prefix.
        sizes: places of the tensors that tell the config (`Network.sizes`), by parameter; those that may be missing
            only if they are there.
        blocks: how many there are.
        stated, public: the `config.json` beside it and its content, if there is one.
        options: fields that the caller sets.
    """

    source: Source
    layout: str
    prefix: str
    shapes: dict[str, tuple[int, ...]]
    sizes: Mapping[str, Place] = NONE
    blocks: int = 0
    stated: str = ""
    public: Mapping[str, Any] = NONE
    options: dict[str, Any] = {}

    def said(self, cls: type, table: Mapping[str, str], public: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Fields of a config that the `config.json` states.

        Args:
            cls: the config's class.
            table: names there -> fields of the config.
            public: the part of the file that holds them; all of it, by default.

        Raises:
            ValueError: a value that the field cannot have; names the file and the name there.
        """
        public = self.public if public is None else public
        told = {theirs: ours for theirs, ours in table.items() if theirs in public}
        return {
            ours: records.field(cls, ours, public[theirs], f"{self.stated}: {theirs}") for theirs, ours in told.items()
        }

    def named(self, key: str, known: tuple[str, ...]) -> bool:
        """Whether the `config.json` says that it is of one of `known`.

        Raises:
            ValueError: it is a part's own folder, and says that it is of something else. (Beside a lone file may lie
                the config of another one.)
        """
        found = self.public.get(key)
        if found not in (None, *known) and self.source.path.is_dir():
            raise ValueError(f"{self.stated}: {key} is {found!r:.80}, expected {' or '.join(known)}")
        return found in known


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """What is particular about the files of one network.

    Attributes:
        name, what: of it, for messages: "VAE", "a Wan VAE".
        config: makes its config.
        abstract: config -> the module as `jax.eval_shape` gives it, with the attribute `cfg`.
        names: keys of its parameters, at least of those in `sizes`; all_names: config -> keys of all, where they
            depend on it.
        anchors: layout -> a key that only this layout has.
        sizes: parameters whose shapes tell the config -> how many axes they may have; 0: may be missing.
        fields: an open file -> fields of the config, and where they come from. ValueError: it does not say enough.
        forms: patterns (`re.fullmatch`) of `LAYOUT:PARAMETER` and how such a parameter lies in the file; the first
            counts; one that fits none lies there as here.
        depth: fields of the config whose product (of lists, their lengths) is the number of blocks, at the least.
        unused: layout -> pattern of keys that may be in the file and are not read; `#` in it stands for the number of
            blocks that the module has.
        other: key -> another one under which the tensor may lie.
    """

    name: str
    what: str
    config: Callable[..., Any]
    abstract: Callable[[Any], Any]
    names: Names
    anchors: Mapping[str, str]
    sizes: Mapping[str, tuple[int, ...]]
    fields: Callable[[Header], tuple[dict[str, Any], str]]
    forms: tuple[tuple[str, Form], ...]
    all_names: Callable[[Any], Names] | None = None
    depth: tuple[str, ...] = ("layers",)
    unused: Mapping[str, str] = dataclasses.field(default_factory=dict)
    other: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def open(self, source: Source, *, prefix: str | None = None, **options: Any) -> "Opened":
        """Finds the network in an open file, tells its config, and where its parameters lie. Shapes are not checked.

        The config comes from the metadata if vrjax wrote the file, else from what `fields` makes of it.

        Args:
            source: the file.
            prefix: of the network's keys, where it is known.
            **options: fields of the config that override what was found.

        Raises:
            ValueError: no such network in it, or several; a config that cannot be read, or fits no such file.
        """
        file, origin = self._header(source, prefix), f"{source.path} (metadata)"
        if "vrjax" in source.metadata:
            try:
                found = dict(json.loads(source.metadata["vrjax"]))
            except (ValueError, TypeError, RecursionError):
                raise ValueError(f"{origin}: not valid JSON") from None
        else:
            found, origin = self.fields(self._measured(file)._replace(options=options))
        try:  # JSON knows no tuples
            values = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
            cfg = self.config(**{**values, **options})
            deep = {name: n if isinstance(n := getattr(cfg, name), int) else len(n) for name in self.depth}
        except (TypeError, ValueError) as error:
            raise ValueError(f"{origin}: not a {self.name} config: {error}") from None
        if math.prod(deep.values()) > len(file.shapes):  # before a module of that size is made
            said = " x ".join(f"{n} {name}" for name, n in deep.items())
            raise ValueError(f"{source.path}: the config says {said}, the file has {len(file.shapes)} tensors")
        module, names = self.abstract(cfg), self.all_names(cfg) if self.all_names else self.names
        slots = self._slots(module, names, file.layout, file.shapes)
        unused = self.unused.get(file.layout, "(?!)").replace("#", str(max(len(slot.keys) for slot in slots)))
        return Opened(file, module, slots, unused)

    def slots(self, cfg: Any, layout: str) -> list[Slot]:
        """Where every parameter lies in a file of a layout."""
        return self._slots(self.abstract(cfg), self.all_names(cfg) if self.all_names else self.names, layout, NONE)

    def save(self, file: Any, module: Any, layout: str) -> None:
        """Writes a module's parameters into one safetensors file of a layout, with its config as metadata."""
        found = self.slots(module.cfg, layout)
        pairs = zip(jax.tree.leaves(self.abstract(module.cfg)), found, strict=True)
        shapes = {key: (slot.shape, np.dtype(leaf.dtype)) for leaf, slot in pairs for key in slot.keys}

        def arrays():
            for leaf, slot in zip(jax.tree.leaves(module), found, strict=True):
                for row in np.asarray(leaf).reshape(len(slot.keys), *slot.like[:: -1 if slot.turned else 1]):
                    yield (row.T if slot.turned else row).reshape(slot.shape)

        about = {"format": "pt", "vrjax": json.dumps(dataclasses.asdict(module.cfg))}
        tensors.write(file, shapes, arrays(), about)

    def _header(self, source: Source, prefix: str | None) -> Header:
        """The network in an open file, told by one key per layout. ValueError: none, or several."""
        found = [
            (layout, key[: -len(anchor)])
            for layout, anchor in self.anchors.items()
            for key in source.shapes
            if (key == anchor or key.endswith("." + anchor)) and prefix in (None, key[: -len(anchor)])
        ]
        if not found:
            known = " nor ".join(f"{key} ({name})" for name, key in self.anchors.items())
            keys = f"its {len(source.shapes)} tensors ({some(list(source.shapes))})"
            raise ValueError(f"{source.path}: not {self.what}: neither {known} among {keys}")
        if len(found) > 1:
            raise ValueError(
                f"{source.path}: holds {self.what} more than once: {', '.join(repr(p) for _, p in found[:4])}"
            )
        layout, prefix = found[0]
        shapes = {key[len(prefix) :]: shape for key, shape in source.shapes.items() if key.startswith(prefix)}
        return Header(source, layout, prefix, shapes)

    def _measured(self, file: Header) -> Header:
        """With what tells the config: `sizes`, the number of blocks, and the `config.json` beside the file.

        Raises:
            ValueError: a tensor that is missing or has other axes; no blocks, or a gap in their numbers.
        """
        path, sizes, blocks = file.source.path, {}, set()
        for name, axes in self.sizes.items():
            key = self._there(self.names.key(tuple(name.split(".")), file.layout, 0), file.shapes)
            shape = file.shapes.get(key, ())
            if key in file.shapes or 0 not in axes:
                if not shape or len(shape) not in axes or 0 in shape:
                    expected = " or ".join(str(n) for n in axes if n)
                    raise ValueError(f"{path}: not {self.what}: {key} has shape {shape}, expected {expected} axes")
                sizes[name] = file.source.places[file.prefix + key]
        if self.names.block:
            start = f"{self.names.blocks[self.names.layouts.index(file.layout)]}."
            number = re.compile(re.escape(start) + r"(\d{1,6})\.")
            blocks = {int(match[1]) for key in file.shapes if (match := number.match(key))}
            missing = next(i for i in range(len(blocks) + 1) if i not in blocks)
            if missing != len(blocks) or not blocks:
                raise ValueError(f"{path}: no tensors of block {start}{missing}, and {len(blocks)} other blocks")
        stated = (path if path.is_dir() else path.parent) / "config.json"
        public = tensors.read_json(stated) if stated.exists() else {}
        return file._replace(sizes=sizes, blocks=len(blocks), stated=str(stated), public=public)

    def _slots(self, module: Any, names: Names, layout: str, shapes: Mapping[str, tuple[int, ...]]) -> list[Slot]:
        out = []
        for path, leaf in jax.tree_util.tree_leaves_with_path(module):
            name = attributes(path)
            about = f"{layout}:{'.'.join(map(str, name))}"
            form = next((form for pattern, form in self.forms if re.fullmatch(pattern, about)), Form())
            stacked = names.stack(name) is not None
            numbers = range(leaf.shape[0]) if stacked else (None,)
            keys = tuple(self._there(names.key(name, layout, i), shapes) for i in numbers)
            shape = leaf.shape[stacked:]
            turned, part = form.turned and len(shape) > 1, slice(None)
            like = (*shape[:-3:-1], *shape[:-2]) if turned else shape
            there = (1,) * form.before + (like[:2] + like[3:] if form.image else like) + (1,) * form.behind
            if form.patch and shapes.get(keys[0]) != like:
                axes = [getattr(module.cfg, axis) if isinstance(axis, str) else axis for axis in form.patch]
                there = (like[0], *np.hstack(axes).tolist())
            if form.third is not None:
                there, part = (3 * there[0], *there[1:]), slice(form.third * like[0], (form.third + 1) * like[0])
            out.append(Slot(keys, there, like, turned, part))
        return out

    def _there(self, key: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
        """The key, or the other one if the file has that and not this."""
        return self.other[key] if key not in shapes and self.other.get(key) in shapes else key


class Opened(NamedTuple):
    """An open file of one network, and what is in it.

    Attributes:
        file: its header.
        abstract: the module as `jax.eval_shape` gives it; its config is `abstract.cfg`.
        slots: where its parameters are, one per leaf of the module, in order.
        unused: pattern (`re.fullmatch`) of keys that may be in the file and are not read.
    """

    file: Header
    abstract: Any
    slots: list[Slot]
    unused: str

    @property
    def cfg(self) -> Any:
        """The network's config."""
        return self.abstract.cfg

    @property
    def differences(self) -> tuple[list[str], list[str], list[str]]:
        """Keys that the file lacks, unexpected ones, and those of no use (`unused`)."""
        shapes, expected = self.file.shapes, {key for slot in self.slots for key in slot.keys}
        missing = [key for slot in self.slots for key in slot.keys if key not in shapes]
        others = [key for key in shapes if key not in expected]
        unused = [key for key in others if re.fullmatch(self.unused, key)]
        return missing, [key for key in others if key not in unused], unused

    def check(self, *, strict: bool = True) -> "Opened":
        """Itself; ValueError that names the file and the first keys which are missing, unexpected or misshapen.

        Args:
            strict: whether missing and unexpected ones are an error.
        """
        shapes = self.file.shapes
        expected = {key: slot.shape for slot in self.slots for key in slot.keys}
        missing, unexpected, _ = self.differences if strict else ([], [], [])
        complaints = []
        if missing:
            complaints.append(f"{len(missing)} missing tensors ({some(missing)})")
        if unexpected:
            complaints.append(f"{len(unexpected)} unexpected tensors ({some(unexpected)})")
        wrong = [key for key, shape in expected.items() if key in shapes and tuple(shapes[key]) != tuple(shape)]
        complaints += [f"{key} has shape {shapes[key]}, expected {expected[key]}" for key in wrong[:3]]
        if complaints:
            raise ValueError(f"{self.file.source.path}: not the weights of this model: {'; '.join(complaints)}")
        return self

    def module(self, abstract: Any = None, *, start: Any = None) -> Any:
        """The network, checked and read.

        Args:
            abstract: the module with other dtypes, or with shardings: parameters are cast to those, and go there.
            start: a module whose parameters stand for those that the file lacks; unexpected tensors are then left
                alone (see `differences`). None: the file must have all and nothing else.

        Raises:
            ValueError: see `check`.
        """
        self.check(strict=start is None)
        source, prefix = self.file.source, self.file.prefix
        leaves, tree = jax.tree.flatten(self.abstract if abstract is None else abstract)
        others = [None] * len(leaves) if start is None else jax.tree.leaves(start)
        values = []
        for leaf, slot, other in zip(leaves, self.slots, others, strict=True):
            stacked = leaf.ndim > len(slot.like)  # a leading axis of blocks

            def read(i, slot=slot, other=other, stacked=stacked):
                if other is not None and slot.keys[i] not in self.file.shapes:
                    return np.asarray(other[i] if stacked else other)
                return source.view(prefix + slot.keys[i], slot.part, slot.like, slot.turned)

            values.append(tensors.array(leaf, read, stacked=stacked))
        return jax.tree.unflatten(tree, values)


def some(keys: list[str]) -> str:
    """The first few keys, for a message."""
    return ", ".join(key[:99] for key in keys[:3]) + (", ..." if len(keys) > 3 else "")


def attributes(path: Iterable[Any]) -> tuple[Any, ...]:
    """A leaf's path as attribute names and list indices: `("stages", 0, "conv", "kernel")`."""
    parts = (getattr(key, "name", getattr(key, "idx", None)) for key in path)
    return tuple(part for part in parts if part != "value")
