"""A run's trajectory written to disk step by step, while the compiled run goes on: no more than a step is held.

    recorder = Recorder(folder, steps=(0, 10, 49), fields=("x0",))
    for seed, folder, final in recorder.stream(pipe, settings, inputs, seeds=[7, 8]):
        ...                                            # folder/seed-7/x0.npy (3, t, h, w, c), index.json

The run calls the host at every step with all that it made, whatever of it is kept: runs that record differently are one
program, and equal bit for bit. Rows go into a `.npy` file that is mapped into memory; a seed's folder gets its name
when all its rows are there.

A recorder that is told what the run is made of also keeps the newest state of the seeds that are being computed, all of
it or nothing, in one file; the next `stream` of the same goes on from there, with the same compiled program.
"""

import contextlib
import json
import os
import pathlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import io_callback

from vrjax import flow
from vrjax.files import tensors, writing
from vrjax.flow import draws, solvers

FIELDS = ("x", "v", "x0", "next")
STATE = ".state.safetensors"  # of the seeds that are being computed
SHARE = 0.05  # of a run's time that may go into writing states


class Recorder:
    """Writes chosen fields of chosen steps under `folder/seed-N/`.

    Args:
        folder: made if missing.
        grid: of the run.
        steps: which steps are kept, rising; their rows stand in this order.
        fields: any of `x`, `v`, `x0`, `next`, see `flow.Record`; () keeps nothing, and only tells of steps.
        shape: of a state.
        on_step: called with (seed, step) after each step of each seed, from a thread of the run; for steps that an
            interrupted run has made, before.
        about: what the run is made of, as JSON, beside its seeds; None: no state is kept.
        say: told where a run goes on, or why it cannot.

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
        about: Mapping[str, Any] | None = None,
        say: Callable[[str], None] = print,
    ):
        unknown = [name for name in fields if name not in FIELDS]
        if unknown:
            raise ValueError(f"record: unknown fields {unknown}, expected any of {', '.join(FIELDS)}")
        self.steps = flow.Record(steps=tuple(steps)).rows(grid)
        self.fields, self.grid, self.shape = tuple(fields), grid, tuple(shape)
        self._folder, self._on_step, self._about, self._say = pathlib.Path(folder), on_step, about, say
        self._rows = {step: row for row, step in enumerate(self.steps)}
        self._files: dict[int, dict[str, np.memmap]] = {}
        self._seen: dict[int, set[int]] = {}
        self._states: dict[int, tuple[int, list[np.ndarray]]] = {}  # until all seeds of the group tell of one step
        self._made_of: dict[str, Any] = {}
        self._free = 0.0  # when the next state may be written
        self._lock = threading.Lock()
        self.error: BaseException | None = None

    @property
    def bytes_per_seed(self) -> int:
        """What one seed takes on disk."""
        return 4 * len(self.steps) * len(self.fields) * int(np.prod(self.shape))

    def record(self, seed: Any) -> flow.Record:
        """What to hand to `flow.sample`; `seed` may be traced. The record must not leave the compiled function."""

        def tell(snapshot: flow.Snapshot) -> tuple:
            state = jax.tree.leaves((snapshot.next, snapshot.state))
            arrays = {name: getattr(snapshot, name) for name in FIELDS}
            io_callback(self._take, None, seed, snapshot.step, arrays, state)
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
        phase: Callable[[str], contextlib.AbstractContextManager] = contextlib.nullcontext,
        **instruments: Any,
    ) -> Iterator[tuple[int, pathlib.Path, np.ndarray]]:
        """Seeds in turn, `together` of them at the same time, each with the folder of its record and its final latent.

        Args:
            pipe: what is run, see `vrjax.models.pipeline.Pipeline`.
            settings, inputs: see `Pipeline.settings` and `Pipeline.prepare`.
            seeds: of the starting noise.
            together: seeds computed at once, over which a collective over "seed" is taken. All, by default.
            phase: entered with the name of what is done next: "loading", "compiling", "sampling".
            **instruments: `edit`, `taps`, `edits`, see `Pipeline.program`.

        Raises:
            ValueError: seeds that `together` does not divide, where an edit could see them; FloatingPointError: latents
            that are not finite; and what went wrong while a step was written.
        """
        together = len(seeds) if together is None else min(together, len(seeds))
        if len(seeds) % together and (instruments.get("edit") is not None or instruments.get("edits")):
            raise ValueError(f"together={together} does not divide the {len(seeds)} seeds that edits may couple")
        init = jax.vmap(solvers.get(settings.recipe.solver).init)
        with phase("loading"):
            dits = pipe.dits
        run, program = pipe.program(settings, record=self.record, **instruments), None
        for begin in range(0, len(seeds), together):
            group = list(seeds[begin : begin + together])
            whole = group + group[-1:] * (together - len(group))  # one shape, one compilation
            with draws.settled(True):
                x = pipe.noise(settings, whole)
                given = (dits, inputs, x, np.array(whole, np.uint32), (np.int32(0), init(x)))
                if program is None:
                    with phase("compiling"):
                        program = jax.jit(lambda *given: run(*given).final).lower(*given).compile()
                given = (*given[:2], *self._resumed(whole, x, given[-1]))
            try:
                with phase("sampling"), draws.settled(True):
                    finals = np.asarray(program(*given))
            except Exception:
                if self.error is not None:
                    raise self.error from None
                raise
            if not np.isfinite(finals).all():
                raise FloatingPointError(f"seeds {group}: the latents are not finite; try --dtype float32")
            done = [(seed, self.finish(seed, final), final) for seed, final in zip(group, finals, strict=False)]
            (self._folder / STATE).unlink(missing_ok=True)
            yield from done

    def _resumed(self, seeds: list[int], x: Any, start: tuple[Any, Any]) -> tuple[Any, Any, tuple[Any, Any]]:
        """The arguments of a group of seeds: where an interrupted run of the same left them, or those of its start."""
        numbers, path = np.array(seeds, np.uint32), self._folder / STATE
        self._made_of = {**(self._about or {}), "seeds": seeds}
        self._states.clear()
        if self._about is None or not path.exists():
            return x, numbers, start
        try:
            found = tensors.read(path)
            then = json.loads(found.metadata["made_of"])
            if changed := writing.differences(then, self._made_of):
                raise ValueError(f"made with another {', '.join(change.split(' ')[0] for change in changed)}")
            leaves = [np.array(found[str(i)]) for i in range(len(found.shapes))]
            step, shapes = int(found.metadata["step"]), [a.shape for a in jax.tree.leaves((x, start[1]))]
            if [a.shape for a in leaves] != shapes or not 0 < step <= self.grid.steps:
                raise ValueError("torn")
            for seed in dict.fromkeys(seeds) if self._rows else ():
                self._open(seed, again=True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._files.clear()
            self._say(f"{path}: not used ({error}); from the first step")
            return x, numbers, start
        self._say(f"seed{'s' * (len(set(seeds)) > 1)} {', '.join(map(str, dict.fromkeys(seeds)))}: on from step {step}")
        for seed in dict.fromkeys(seeds):
            self._seen[seed] = set(range(step))
            for made in range(step if self._on_step is not None else 0):
                self._on_step(seed, made)  # type: ignore[misc]
        x, state = jax.tree.unflatten(jax.tree.structure((x, start[1])), leaves)
        return x, numbers, (np.int32(step), state)

    def _take(self, seed: Any, step: Any, arrays: dict[str, Any], state: Sequence[Any]) -> None:
        seed, step = int(seed), int(step)
        try:
            with self._lock:
                self._seen.setdefault(seed, set()).add(step)
                if self.fields and step in self._rows:
                    files = self._files.get(seed) or self._open(seed)
                    for name in self.fields:
                        files[name][self._rows[step]] = np.asarray(arrays[name])
                if self._about is not None:
                    self._keep(seed, step, state)
            if self._on_step is not None:
                self._on_step(seed, step)
        except BaseException as error:  # the run would hide what it was
            self.error = self.error or error
            raise

    def _keep(self, seed: int, step: int, state: Sequence[Any]) -> None:
        """Writes the state after a step, when all seeds of the group have told of it, unless one was written just now.

        Its rows are on the disk before it is.
        """
        if not self._states and time.monotonic() < self._free:
            return
        self._states[seed] = step, [np.array(a) for a in state]
        seeds = self._made_of["seeds"]
        if set(self._states) < set(seeds) or len({at for at, _ in self._states.values()}) > 1:
            return
        began = time.monotonic()
        for file in [file for files in self._files.values() for file in files.values()]:
            file.flush()
        leaves = {str(i): np.stack([self._states[s][1][i] for s in seeds]) for i in range(len(state))}
        about = {"made_of": json.dumps(self._made_of), "step": str(step + 1)}
        shapes = {name: (a.shape, a.dtype) for name, a in leaves.items()}
        tensors.write(self._folder / STATE, shapes, leaves.values(), about)
        self._states.clear()
        self._free = time.monotonic() + (time.monotonic() - began) / SHARE

    def _open(self, seed: int, again: bool = False) -> dict[str, np.memmap]:
        """A seed's files: new ones, or those of an interrupted run; ValueError where these do not fit."""
        part, shape = self._part(seed), (len(self.steps), *self.shape)
        if not again:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
        make, mode = np.lib.format.open_memmap, "r+" if again else "w+"
        files = {name: make(part / f"{name}.npy", mode=mode, dtype=np.float32, shape=shape) for name in self.fields}
        if wrong := [name for name, file in files.items() if file.shape != shape or file.dtype != np.float32]:
            raise ValueError(f"{part / wrong[0]}.npy does not fit")
        self._files[seed] = files
        return files

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
