"""Running one compiled program over many instances, in groups, with a progress bar and results kept on disk."""

import pathlib
import zipfile
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import numpy as np
from rich.progress import Progress

from vrjax.files.writing import atomic

Tables = dict[str, np.ndarray]


class Bench:
    """Runs per-instance functions over the rows of a suite.

    Args:
        folder: where tables are kept; a part that is there already is read, not run again.
        group: instances in one call of a compiled program.
        progress: a rich progress bar, or None.
    """

    def __init__(self, folder: pathlib.Path, *, group: int = 16, progress: Progress | None = None):
        self.folder, self.progress = folder, progress
        self.group = group
        self._programs: dict[Hashable, Callable] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def part(self, name: str, make: Callable[[], Tables]) -> Tables:
        """`make()`, or what an earlier run of it left in the folder. Written atomically: a killed part is simply
        redone."""
        path = self.folder / f"{name}.npz"
        if path.exists():
            try:
                with np.load(path) as stored:
                    return {k: stored[k] for k in stored.files}
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                raise ValueError(
                    f"{path}: not a table of this experiment ({error}); delete it to measure again"
                ) from None
        tables = make()
        with atomic(path) as scratch, open(scratch, "wb") as file:
            np.savez_compressed(file, **tables)  # type: ignore[arg-type]
        return tables

    def over(
        self, fn: Callable[[Any, Any], Any], weights: Any, rows: Mapping[str, Any], label: str, key: Hashable = None
    ) -> Any:
        """`fn(weights, row) -> pytree of arrays` for every row: one program, vmapped over a group, results as NumPy.

        The last group is filled up with its last row, so that there is one compiled program. Calls with an equal
        `key` say
        that their `fn` is the same function of its arguments, and share that program too.
        """
        run = self._programs.get(key) if key is not None else None
        if run is None:
            run = jax.jit(jax.vmap(fn, in_axes=(None, 0)))
            if key is not None:
                self._programs[key] = run
        n = len(next(iter(rows.values())))
        task = self.progress.add_task(label, total=n) if self.progress else None
        parts = []
        for start in range(0, n, self.group):
            index = np.minimum(np.arange(start, start + self.group), n - 1)
            chosen = {k: v[index] for k, v in rows.items()}
            out = jax.tree.map(np.asarray, run(weights, chosen))
            kept = min(self.group, n - start)
            parts.append(jax.tree.map(lambda a, kept=kept: a[:kept], out))
            if self.progress and task is not None:
                self.progress.update(task, advance=kept)
        if self.progress and task is not None:
            self.progress.remove_task(task)
        return jax.tree.map(lambda *a: np.concatenate(a), *parts)
