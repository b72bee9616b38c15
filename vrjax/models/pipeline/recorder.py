"""A run's trajectory written to disk step by step, while the compiled run goes on: no more than a step is held.

    recorder = Recorder(folder, steps=(0, 10, 49), fields=("x0",))
    for seed, folder, final in recorder.stream(pipe, settings, inputs, seeds=[7, 8]):
        ...                                            # folder/seed-7/x0.npy (3, t, h, w, c), index.json

The run calls the host at every step with what it made. Rows go into a `.npy` file that is mapped into memory; a
seed's folder gets its name when all its rows are there.
"""

import os
import pathlib
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import io_callback

from vrjax import flow
from vrjax.files import tensors, writing
from vrjax.flow import draws

FIELDS = ("x", "v", "x0", "next")


class Recorder:
    """Writes chosen fields of chosen steps under `folder/seed-N/`.

    Args:
        folder: made if missing.
        grid: of the run.
        steps: which steps are kept, rising; their rows stand in this order.
        fields: any of `x`, `v`, `x0`, `next`, see `flow.Record`; () keeps nothing, and only tells of steps.
        shape: of a state.
        on_step: called with (seed, step) after each step of each seed, from a thread of the run.

    Raises:
        ValueError: unknown fields, or steps that the grid does not have.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        grid: flow.Grid,
        steps: Sequence[int],
        fields: Sequence[str],
        shape: Sequence[int],
        on_step: Callable[[int, int], None] | None = None,
    ):
        unknown = [name for name in fields if name not in FIELDS]
        if unknown:
            raise ValueError(f"record: unknown fields {unknown}, expected any of {', '.join(FIELDS)}")
        self.steps = flow.Record(steps=tuple(steps)).rows(grid)
        self.fields, self.grid, self.shape = tuple(fields), grid, tuple(shape)
        self._folder, self._on_step = pathlib.Path(folder), on_step
        self._rows = {step: row for row, step in enumerate(self.steps)}
        self._files: dict[int, dict[str, np.memmap]] = {}
        self._seen: dict[int, set[int]] = {}
        self._lock = threading.Lock()
        self.error: BaseException | None = None

    @property
    def bytes_per_seed(self) -> int:
        """What one seed takes on disk."""
        return 4 * len(self.steps) * len(self.fields) * int(np.prod(self.shape))

    def record(self, seed: Any) -> flow.Record:
        """What to hand to `flow.sample`; `seed` may be traced. The record must not leave the compiled function."""

        def tell(snapshot: flow.Snapshot) -> tuple:
            io_callback(self._take, None, seed, snapshot.step, {name: getattr(snapshot, name) for name in self.fields})
            return ()

        return flow.Record(steps=(), fn=tell)

    def stream(
        self,
        pipe: Any,
        settings: Any,
        inputs: Any,
        seeds: Sequence[int],
        *,
        together: int | None = None,
        **instruments: Any,
    ) -> Iterator[tuple[int, pathlib.Path, np.ndarray]]:
        """Seeds in turn, `together` of them at the same time, each with the folder of its record and its final latent.

        Args:
            pipe: what is run, see `vrjax.models.pipeline.Pipeline`.
            settings, inputs: see `Pipeline.settings` and `Pipeline.prepare`.
            seeds: of the starting noise.
            together: seeds computed at once, over which a collective over "seed" is taken. All, by default.
            **instruments: `edit`, `taps`, `edits`, see `Pipeline.program`.

        Raises:
            ValueError: seeds that `together` does not divide, where an edit could see them; FloatingPointError: latents
            that are not finite; and what went wrong while a step was written.
        """
        together = len(seeds) if together is None else min(together, len(seeds))
        if len(seeds) % together and (instruments.get("edit") is not None or instruments.get("edits")):
            raise ValueError(f"together={together} does not divide the {len(seeds)} seeds that edits may couple")
        dits, run = pipe.dits, pipe.program(settings, record=self.record, **instruments)
        program = jax.jit(lambda *given: run(*given).final)
        for begin in range(0, len(seeds), together):
            group = list(seeds[begin : begin + together])
            whole = group + group[-1:] * (together - len(group))  # one shape, one compilation
            try:
                with draws.settled(True):
                    finals = np.asarray(program(dits, inputs, pipe.noise(settings, whole), np.array(whole, np.uint32)))
            except Exception:
                if self.error is not None:
                    raise self.error from None
                raise
            if not np.isfinite(finals).all():
                raise FloatingPointError(f"seeds {group}: the latents are not finite; try --dtype float32")
            for seed, final in zip(group, finals, strict=False):
                yield seed, self.finish(seed, final), final

    def _take(self, seed: Any, step: Any, arrays: dict[str, Any]) -> None:
        seed, step = int(seed), int(step)
        try:
            with self._lock:
                self._seen.setdefault(seed, set()).add(step)
                if self.fields and step in self._rows:
                    files = self._files.get(seed) or self._open(seed)
                    for name, array in arrays.items():
                        files[name][self._rows[step]] = np.asarray(array)
            if self._on_step is not None:
                self._on_step(seed, step)
        except BaseException as error:  # the run would hide what it was
            self.error = self.error or error
            raise

    def _open(self, seed: int) -> dict[str, np.memmap]:
        part = self._part(seed)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        shape = (len(self.steps), *self.shape)
        make = np.lib.format.open_memmap
        self._files[seed] = {
            name: make(part / f"{name}.npy", mode="w+", dtype=np.float32, shape=shape) for name in self.fields
        }
        return self._files[seed]

    def _part(self, seed: int) -> pathlib.Path:
        return self._folder / f".seed-{seed}.part"

    def finish(self, seed: int, final: Any = None) -> pathlib.Path:
        """Gives a seed's folder its name, with `final.npy` beside the fields; call it when the run has returned.

        Raises:
            RuntimeError: the run did not tell of all its steps.
            OSError: what went wrong while a step was written.
        """
        jax.effects_barrier()
        if self.error is not None:
            raise self.error
        with self._lock:
            missing = sorted(set(range(self.grid.steps)) - self._seen.get(seed, set()))
            if missing:
                raise RuntimeError(f"record: seed {seed} told nothing of steps {missing}")
            part, target = self._part(seed), self._folder / f"seed-{seed}"
            for file in self._files.pop(seed, {}).values():
                file.flush()
        part.mkdir(parents=True, exist_ok=True)
        if final is not None:
            np.save(part / "final.npy", np.asarray(final))
        index = {"seed": seed, "steps": list(self.steps), "fields": list(self.fields)}
        index |= {"sigma": self.grid.sigmas.tolist(), "time": self.grid.times.tolist()}
        writing.json(part / "index.json", index, indent=1)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(part, target)
        return target


def read(folder: str | os.PathLike) -> dict[str, Any]:
    """A recorded seed: `steps`, `sigma`, `time`, and its fields and `final` as arrays that are read when looked at.

    Raises:
        FileNotFoundError: nothing was recorded there.
        ValueError: an index or an array that cannot be read; names the file.
    """
    folder = pathlib.Path(folder)
    if not (folder / "index.json").is_file():
        raise FileNotFoundError(f"{folder}: no recorded seed (index.json)")
    found: dict[str, Any] = tensors.read_json(folder / "index.json")
    try:
        for name in [*found["fields"], "final"]:
            file = folder / f"{name}.npy"
            if name in FIELDS or name == "final" and file.exists():
                found[name] = np.load(file, mmap_mode="r", allow_pickle=False)
        found["sigma"], found["time"] = np.array(found["sigma"], float), np.array(found["time"], float)
    except (KeyError, TypeError, EOFError, ValueError) as error:
        raise ValueError(f"{folder}: not a recorded seed ({error})") from None
    return found
