"""Tables of numbers, kept by what made them, and one compiled program over many rows, with a progress bar."""

import contextlib
import dataclasses
import functools
import hashlib
import pathlib
import types
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import Progress

from vrjax.files import kept

Tables = dict[str, np.ndarray]


class Bench:
    """Runs per-instance functions over rows, and keeps the tables they fill.

    Args:
        folder: where tables are kept.
        of: what every table depends on beside the code (config, weights, versions); anything JSON can hold.
        group: instances in one call of a compiled program.
        progress: a rich progress bar, or None.
    """

    def __init__(self, folder: pathlib.Path, *, of: Any = None, group: int = 16, progress: Progress | None = None):
        self.folder, self.of, self.group, self.progress = folder, of, group, progress
        self._programs: dict[Hashable, Callable] = {}

    def part(self, name: str, make: Callable[[], Tables], *, code: Any = None, of: Any = None) -> Tables:
        """`make()`, or what an earlier run of the same code on the same things left in the folder.

        Written whole or not at all: a part that was killed is simply redone.

        Args:
            name: of the table, unique in the folder.
            make: measures it.
            code: the module or function that measures, whose source, with all that it imports, must be the same; by
                default `make` itself, and with it the whole module that it stands in.
            of: what this table depends on beside the bench's `of`.

        Raises:
            ValueError: the file is torn or no table.
        """
        module = make if code is None else code
        source = kept.source(module if isinstance(module, types.ModuleType) else module.__module__)
        say = self.progress.console.print if self.progress else print
        about = {"of": self.of, "part": of, "source": source}
        return kept.arrays(self.folder / f"{name}.npz", about, make, say=say)

    def over(self, fn: Callable[[Any, Any], Any], weights: Any, rows: Mapping[str, Any], label: str) -> Any:
        """`fn(weights, row) -> pytree of arrays` for every row: one program, vmapped over a group, results as NumPy.
        An entry of `rows` is an array with a leading axis, or a pytree of such.

        The last group is filled up with its last row, so that there is one compiled program. Functions of the same code
        that close over the same things share that program (see `identity`): what differs from model to model and from
        clip to clip, weights above all, belongs into the arguments.
        """
        run = self._programs.setdefault(identity(fn), jax.jit(jax.vmap(fn, in_axes=(None, 0))))
        n = len(jax.tree.leaves(rows)[0])
        parts = []
        with self.bar(label, n) as tick:
            for start in range(0, n, self.group):
                index = np.minimum(np.arange(start, start + self.group), n - 1)
                few = jax.tree.map(lambda a, index=index: a[index], dict(rows))
                done = min(self.group, n - start)
                parts.append(jax.tree.map(lambda a, done=done: np.asarray(a)[:done], run(weights, few)))
                tick(done)
        return jax.tree.map(lambda *a: np.concatenate(a), *parts)

    @contextlib.contextmanager
    def bar(self, label: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """A progress bar for a while; calling what it gives moves it on."""
        if self.progress is None:
            yield lambda done: None
            return
        task = self.progress.add_task(label, total=total)
        try:
            yield lambda done: self.progress.update(task, advance=done) if self.progress else None
        finally:
            self.progress.remove_task(task)


@dataclasses.dataclass(frozen=True)
class Running:
    """An open run folder: where a study measures, and to whom it talks.

    Attributes:
        folder: of the run.
        bench: keeps its tables.
        progress: its bars.
        console: of the user.
    """

    folder: pathlib.Path
    bench: Bench
    progress: Progress
    console: Console

    def say(self, text: str) -> None:
        """A line for the user."""
        self.console.print(text, highlight=False)


# ------------------------------------------------------------------------------------------- what makes two programs


@dataclasses.dataclass(frozen=True, eq=False)
class _Same:
    """Equal to itself alone, and kept alive, so that no other object gets its identity."""

    thing: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.thing is other.thing

    def __hash__(self) -> int:
        return id(self.thing)


def identity(thing: Any) -> Hashable:
    """What a function is, for a cache of programs: its code, its defaults, and all that it closes over by value.

    Numbers, text, containers, dataclasses, arrays and functions are compared by content; any other object, a model for
    instance, only with itself. So equal identities mean equal programs, and a forgotten name in a key cannot hand one
    model the program of another.
    """
    if isinstance(thing, types.FunctionType):
        cells = [cell.cell_contents for cell in thing.__closure__ or ()]
        return thing.__module__, thing.__code__, *map(identity, (cells, thing.__defaults__, thing.__kwdefaults__))
    if isinstance(thing, types.MethodType):
        return identity(thing.__func__), identity(thing.__self__)
    if isinstance(thing, functools.partial):
        return identity((thing.func, thing.args, thing.keywords))
    if isinstance(thing, np.ndarray | jax.Array) and not jnp.issubdtype(thing.dtype, jax.dtypes.extended):
        value = np.asarray(thing)
        return "array", value.shape, str(value.dtype), hashlib.sha256(value.tobytes()).digest()
    if isinstance(thing, dict):
        return "dict", tuple((key, identity(value)) for key, value in thing.items())
    if isinstance(thing, tuple | list):
        return type(thing), tuple(map(identity, thing))
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return type(thing), tuple(identity(getattr(thing, field.name)) for field in dataclasses.fields(thing))
    if thing is None or isinstance(thing, bool | int | float | str | bytes | range | np.generic):
        return type(thing), thing
    return _Same(thing)
