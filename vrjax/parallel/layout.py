"""Where activations live: one static object that model code carries along and asks for placement.

A `Layout` is a mesh and its logical-axis rules. Model code says what the dimensions of a value mean,

    h = place(layout, h, "tokens", None)

and without a layout this returns `h` itself: the traced program is the same as if the line were not there. A layout is
hashable, so it may be a static part of a module, and compiled functions are compiled anew for another mesh.
"""

import contextvars
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from vrjax.parallel.rules import DEFAULT_RULES, Rules

_batched: contextvars.ContextVar[frozenset[str]] = contextvars.ContextVar("batched", default=frozenset())
"""Mesh axes over which a surrounding `Layout.batch` divides its examples."""


@dataclass(frozen=True)
class Layout:
    """A mesh and the mesh axes of each logical axis; make it by `Layout.of`.

    Attributes:
        mesh: where everything lives.
        rules: pairs of a logical axis and its mesh axes, major one first.
    """

    mesh: Mesh
    rules: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def of(cls, mesh: Mesh, rules: Rules = DEFAULT_RULES) -> "Layout | None":
        """The layout of a mesh under the rules; None for a mesh of one device, where there is nothing to place.

        Raises:
            ValueError: a rule names no axis of the mesh.
        """
        flat = {name: () if r is None else (r,) if isinstance(r, str) else tuple(r) for name, r in rules.items()}
        lost = {name: parts for name, parts in flat.items() if set(parts) - set(mesh.axis_names)}
        if lost:
            raise ValueError(f"rules {lost} name axes that the mesh does not have; it has {list(mesh.axis_names)}")
        return None if mesh.size == 1 else cls(mesh, tuple(sorted(flat.items())))

    def here(self) -> Mesh | AbstractMesh:
        """The mesh as the code being traced sees it: inside `shard_map` some axes are taken (manual) already.

        Raises:
            ValueError: the code is traced under another mesh.
        """
        context = jax.sharding.get_abstract_mesh()
        if context.empty:
            return self.mesh
        if dict(context.shape) != dict(self.mesh.shape):
            raise ValueError(f"the layout's mesh is {dict(self.mesh.shape)}, the surrounding one {dict(context.shape)}")
        return context

    def free(self) -> frozenset[str]:
        """Mesh axes that no surrounding `shard_map` has taken."""
        mesh = self.here()
        return frozenset(n for n, t in zip(mesh.axis_names, mesh.axis_types, strict=True) if t != AxisType.Manual)

    def axes(self, name: str | None, *, but: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Mesh axes larger than 1 over which a logical axis is split, except those that a surrounding `shard_map` or
        `batch` has taken, or in `but`.

        Raises:
            ValueError: the logical axis has no rule.
        """
        if name is None:
            return ()
        rules = dict(self.rules)
        if name not in rules:
            raise ValueError(f"logical axis {name!r} has no rule; the rules name {sorted(rules)}")
        free = self.free() - _batched.get()
        return tuple(a for a in rules[name] if self.mesh.shape[a] > 1 and a in free and a not in but)

    def ways(self, *axes: str) -> int:
        """Into how many parts these mesh axes split a dimension."""
        return math.prod(self.mesh.shape[a] for a in axes)

    def spec(self, *names: str | None) -> PartitionSpec:
        """The `PartitionSpec` of a value; a mesh axis that two dimensions ask for goes to the first."""
        used: tuple[str, ...] = ()
        entries = []
        for name in names:
            axes = self.axes(name, but=used)
            used += axes
            entries.append(entry(axes))
        return PartitionSpec(*entries)

    def place(self, x: Any, *names: str | None) -> Any:
        """`x` with its dimensions split as their logical names say; sizes need not divide (the compiler pads)."""
        return lax.with_sharding_constraint(x, NamedSharding(self.here(), self.spec(*names)))

    def video(self, x: Any, name: str = "tokens") -> Any:
        """A latent (t, h, w, c), or (t, c), split over the axes of its tokens, along the first of t, h, w they divide.

        Where they divide none of them it is kept whole.
        """
        axes = self.axes(name)
        ways = self.ways(*axes)
        at = next((i for i in range(x.ndim - 1) if x.shape[i] % ways == 0), None)
        entries = [None] * x.ndim if at is None else [entry(axes) if i == at else None for i in range(x.ndim)]
        return lax.with_sharding_constraint(x, NamedSharding(self.here(), PartitionSpec(*entries)))

    def batch_axes(self, size: int, *, seeds: bool = False) -> tuple[str, ...]:
        """The mesh axes of the logical axis "batch" (before them, of `seeds`, those of "seed"), as many of the leading
        ones as divide `size`.
        """
        first = self.axes("seed") if seeds else ()
        axes = first + self.axes("batch", but=first)
        while size % self.ways(*axes):
            axes = axes[:-1]
        return axes

    def batch(self, fn: Callable, in_axes: Any = 0, *, axis_name: str | None = None) -> Callable:
        """`jax.vmap(fn, in_axes, axis_name=axis_name)` whose examples are divided over the mesh axes of "batch".

        A plain `jax.vmap` computes the same, but what `fn` does inside `shard_map` (attention) is then done for all
        examples by every group of devices. A batch within another divides over the axes that the outer one leaves.

        Seeds of one run are a batch with `axis_name="seed"`: they are divided over the mesh axes of "seed" and then
        those of "batch", and a collective of `fn` over "seed" spans them all, wherever they are.
        """

        def mapped(*args: Any) -> Any:
            spec = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
            kinds = [(a, i) for a, i in zip(args, spec, strict=True) if isinstance(i, int)]
            sizes = {leaf.shape[i] for a, i in kinds for leaf in jax.tree.leaves(a)}
            axes = self.batch_axes(min(sizes, default=1), seeds=axis_name == "seed")
            token = _batched.set(_batched.get() | set(axes))
            try:
                return jax.vmap(fn, in_axes=in_axes, axis_name=axis_name, spmd_axis_name=axes or None)(*args)
            finally:
                _batched.reset(token)

        return mapped


def entry(axes: tuple[str, ...]) -> Any:
    """One dimension's entry of a `PartitionSpec`."""
    return None if not axes else axes[0] if len(axes) == 1 else axes


def place(layout: Layout | None, x: Any, *names: str | None) -> Any:
    """`layout.place(x, *names)`, or `x` itself where there is no layout."""
    return x if layout is None else layout.place(x, *names)


def batch(layout: Layout | None, fn: Callable, in_axes: Any = 0, *, axis_name: str | None = None) -> Callable:
    """`layout.batch(fn, in_axes, axis_name=axis_name)`, or a plain `jax.vmap` where there is no layout.

    A batch of one example on one device is computed without the axis, unless it has a name: under `vmap` XLA:CPU lays
    out activations for the weights' gradients, and a training step of 1,280 tokens takes a quarter longer.
    """
    if layout is not None:
        return layout.batch(fn, in_axes, axis_name=axis_name)
    whole = jax.vmap(fn, in_axes=in_axes, axis_name=axis_name)
    if axis_name is not None:
        return whole

    def mapped(*args: Any) -> Any:
        axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
        if any(not (axis == 0 or axis is None) for axis in axes):
            return whole(*args)
        given = list(zip(args, axes, strict=True))
        if any(len(leaf) != 1 for a, axis in given if axis == 0 for leaf in jax.tree.leaves(a)):
            return whole(*args)
        out = fn(*(jax.tree.map(lambda x: x[0], a) if axis == 0 else a for a, axis in given))
        return jax.tree.map(lambda x: jnp.asarray(x)[None], out)

    return mapped


def as_rules(rules: Mapping[str, Any]) -> dict[str, Any]:
    """The built-in rules with some of them replaced."""
    return {**DEFAULT_RULES, **rules}
