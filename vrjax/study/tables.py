"""The folder that a killed study goes on in: tables kept by what made them, and one compiled program over many rows."""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import pathlib
import time
import types
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vrjax.files import kept, writing

Tables = dict[str, np.ndarray]
FINISHED = "finished.json"
"""Beside the tables of a run that came to its end: which parts it used."""


@contextlib.contextmanager
def running(
    folder: pathlib.Path,
    about: dict[str, Any],
    *,
    kind: str,
    fresh: bool,
    console: Console,
    group: int = 16,
    shared: bool = False,
    registered: Callable[[pathlib.Path], object] | None = None,
) -> Iterator["Bench"]:
    """Opens a run folder, with progress bars, and says at the end how long it took and where to look.

    Args:
        folder: of the run, locked meanwhile. One that holds a run of something else is refused.
        about: what its content depends on, see `made_of`; anything JSON can hold.
        kind: the paper, and which of its runs where it has several; a folder of another kind is refused, never cleared.
        fresh: forget what an earlier run made.
        console: of the user.
        group: instances in one call of a compiled program, see `Bench`.
        shared: other processes work in it too, each on tables of its own.
        registered: is given the tables' folder before anything is measured: `Registration.keep`, which refuses claims
            that have changed since.

    Raises:
        ValueError: the folder was made of something else (the message says what differs), or is no run folder; the
            registration has changed since the tables in it were measured.
        BlockingIOError: another process works in it.
    """
    began = time.monotonic()
    kept.as_loaded()
    columns = (TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with writing.Run(folder, about, kind=kind, fresh=fresh) as run:
        for note in run.notes:
            console.print(note)
        if registered is not None:
            registered(folder / "tables")
        (folder / "tables" / FINISHED).unlink(missing_ok=True)
        if shared:
            run.close()
        with Progress(*columns, console=console, transient=True) as progress:
            bench = Bench(folder, about, group, progress)
            yield bench
        if bench.used and not shared:
            writing.json(folder / "tables" / FINISHED, {"parts": sorted(bench.used)})
    shown = folder / "report.html"
    minutes = (time.monotonic() - began) / 60
    console.print(f"done in {minutes:.1f} min. Look at it: {shown if shown.exists() else folder}")


def made_of(config: Any, **more: Any) -> dict[str, Any]:
    """What a study's measurements depend on: its config (a dataclass), the versions, and what else is named."""
    versions = {"vrjax": importlib.metadata.version("vrjax"), "jax": jax.__version__, "numpy": np.__version__}
    return {"config": dataclasses.asdict(config), "versions": versions, **more}


@dataclasses.dataclass
class Bench:
    """Where a study measures: runs per-instance functions over rows, and keeps the tables they fill.

    Attributes:
        folder: of the run; tables are kept in `tables/`.
        of: what every table depends on beside the code (config, weights, versions); anything JSON can hold.
        group: instances in one call of a compiled program.
        progress: bars for the user, and his console.
        used: names of the parts that were asked for, but for those that are not packed.
    """

    folder: pathlib.Path
    of: Any = None
    group: int = 16
    progress: Progress = dataclasses.field(default_factory=lambda: Progress(disable=True))
    used: set[str] = dataclasses.field(default_factory=set, init=False)
    _programs: dict[Hashable, Callable] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def part(
        self, name: str, make: Callable[[], Tables], *, code: Any = None, of: Any = None, packed: bool = True
    ) -> Tables:
        """`make()`, or what an earlier run of the same code on the same things left in the folder.

        Written whole or not at all: a part that was killed is simply redone.

        Args:
            name: of the table, unique in the folder.
            make: measures it.
            code: the module or function that measures, whose source, with all that it imports, must be the same; by
                default `make` itself, and with it the whole module that it stands in.
            of: what this table depends on beside the bench's `of`.
            packed: whether it is committed with the paper when the run is finished (`vrjax.study.archive`): what claims
                and tables are read from. What the page alone shows, and weights, are not; they lie in
                `tables/unpacked/`.

        Raises:
            ValueError: the file is torn or no table.
        """
        module = make if code is None else code
        source = kept.source(module if isinstance(module, types.ModuleType) else module.__module__)
        about = {"of": self.of, "part": of, "source": source}
        say = functools.partial(self.progress.console.print, soft_wrap=True)
        folder = self.folder / "tables" if packed else self.folder / "tables" / "unpacked"
        if packed:
            self.used.add(name)
        return kept.arrays(folder / f"{name}.npz", about, make, say=say)

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
        task = self.progress.add_task(label, total=total)
        try:
            yield lambda done: self.progress.update(task, advance=done)
        finally:
            self.progress.remove_task(task)


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
