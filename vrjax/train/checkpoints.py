"""Checkpoints of a run: asynchronous, complete or not there at all, restorable on another mesh.

A checkpoint is a dict of pytrees (`params`, `ema`, `optimizer`, ...) plus two JSON values: where the data iterator
stands and what the run is. On disk every pytree is one Orbax item with a flat, dotted name per array, so that a
checkpoint can be read without the code that made it. Orbax writes into a temporary folder and renames it, hence a
process killed while saving leaves the previous checkpoint as the newest one.
"""

import contextlib
import errno
import gc
import hashlib
import logging
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from vrjax.parallel import processes
from vrjax.train.optim import path_name

SCHEMA = 1
DIGEST_LIMIT = 1 << 30  # bytes; above this the digest would cost more than the save itself

Trees = dict[str, Any]


class Restored(NamedTuple):
    """What `Checkpoints.restore` returns."""

    step: int
    trees: Trees
    data: Any
    meta: dict[str, Any]


class Checkpoints:
    """The `checkpoints/` folder of one run.

    Args:
        folder: created if missing.
        keep: how many complete checkpoints stay on disk.
        say: receives one-line messages for a person.
    """

    def __init__(self, folder: str | pathlib.Path, *, keep: int = 3, say: Callable[[str], None] = print):
        self.folder = pathlib.Path(folder).absolute()
        self._say, self._abandoned = say, False
        logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax logs every save, and errors that are raised too
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True, cleanup_tmp_directories=True)
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    @property
    def latest(self) -> int | None:
        """Step of the newest complete checkpoint."""
        return self._manager.latest_step()

    def save(self, step: int, trees: Trees, *, data: Any, meta: dict[str, Any]) -> None:
        """Starts saving and returns as soon as the arrays are copied; the arrays may be donated afterwards.

        Raises:
            OSError: the disk has no room (checked before anything is written), or an earlier save failed in the
                background. The checkpoints that were complete stay as they are.
        """
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(trees) if hasattr(leaf, "nbytes"))
        free = shutil.disk_usage(self.folder).free
        if free < size + (1 << 20):
            raise OSError(errno.ENOSPC, self._full(step, f"{size / 2**20:.1f} MiB needed, {free / 2**20:.1f} MiB free"))
        flat = {name: _flatten(tree) for name, tree in trees.items()}
        arrays = {name: {k: _describe(x) for k, x in items.items()} for name, items in flat.items()}
        digests = {name: _digest(items) for name, items in flat.items()}
        meta = {**meta, "schema": SCHEMA, "arrays": arrays, "digests": digests}
        items = {name: ocp.args.StandardSave(items) for name, items in flat.items()}
        with self._errors(step):
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    data=ocp.args.JsonSave({"position": data}), meta=ocp.args.JsonSave(meta), **items
                ),
                force=True,
            )

    def wait(self) -> None:
        """Blocks until the save in progress is complete.

        Raises:
            OSError: it failed; see `save`.
        """
        with self._errors(None):
            self._manager.wait_until_finished()

    def check(self) -> None:
        """Raises the `OSError` of a background save that has failed; never blocks."""
        with self._errors(None):
            self._manager.check_for_errors()

    def close(self) -> None:
        """Waits and releases the folder. Errors of the last save are raised."""
        if not self._abandoned:
            with self._errors(None):
                self._manager.close()

    def abandon(self) -> None:
        """Makes `close` do nothing: another process is lost, and a save in progress will never be complete."""
        self._abandoned = True

    def restore(self, like: Trees) -> Restored | None:
        """The newest complete checkpoint, or None when there is none.

        A checkpoint that is complete by name but cannot be read (truncated, a file missing, wrong bits) is set aside as
        `broken-<step>`, said so in one line, and the one before it is tried.

        Args:
            like: the trees to restore, as arrays or `jax.ShapeDtypeStruct` with shardings: where the arrays shall live
                now, whatever mesh they were saved from. A subset of the saved trees is fine.

        Raises:
            ValueError: there are checkpoints but none can be read, or they were made for other shapes or by a newer
                version of the format.
        """
        broken: list[tuple[int, str]] = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            restored, failure = None, "another process cannot read it"
            try:
                with _quiet():
                    restored = self._read(step, like)
            except Mismatch:
                raise
            except Exception as error:  # Orbax and TensorStore raise many kinds, down to bare Exception
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
                failure = f"{type(error).__name__}: {reason}"
            if processes.any_of(restored is None):
                broken.append((step, failure))
                continue
            self._set_aside(broken, f"going on from step {step}")
            return restored
        if broken:
            tried = "; ".join(f"step {step}: {reason}" for step, reason in broken)
            raise ValueError(f"no checkpoint in {self.folder} can be read ({tried}); start over with --fresh")
        return None

    def _read(self, step: int, like: Trees) -> Restored:
        meta = self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))["meta"]
        if meta["schema"] > SCHEMA:
            raise Mismatch(f"{self.folder / str(step)} has format {meta['schema']}, this version reads up to {SCHEMA}")
        flat = {name: _flatten(tree) for name, tree in like.items()}
        self._compare(step, meta["arrays"], flat)
        items = {name: ocp.args.StandardRestore(jax.tree.map(_abstract, items)) for name, items in flat.items()}
        out = self._manager.restore(step, args=ocp.args.Composite(data=ocp.args.JsonRestore(), **items))
        for name in flat:
            saved, found = meta["digests"].get(name), _digest(out[name])
            if saved is not None and found is not None and saved != found:
                raise ValueError(f"the SHA-256 of {name} is {found[:12]}..., expected {saved[:12]}...")
        trees = {name: _unflatten(tree, out[name]) for name, tree in like.items()}
        return Restored(step, trees, out["data"]["position"], meta)

    def _compare(self, step: int, arrays: dict[str, dict[str, str]], flat: dict[str, dict[str, Any]]) -> None:
        """Names, shapes and dtypes asked for against those saved: Orbax would report a difference at length."""
        for name, wanted in flat.items():
            saved, asked = arrays.get(name, {}), {k: _describe(x) for k, x in wanted.items()}
            if saved != asked:
                names = sorted(k for k in {*saved, *asked} if saved.get(k) != asked.get(k))
                first = names[0]
                raise Mismatch(
                    f"{self.folder / str(step)}: {len(names)} arrays of {name} differ from this run's, first {first}: "
                    f"saved {saved.get(first, 'nothing')}, expected {asked.get(first, 'nothing')}"
                )

    def _set_aside(self, broken: list[tuple[int, str]], then: str) -> None:
        for step, reason in broken:
            aside = self.folder / f"broken-{step}"
            if processes.first():
                shutil.rmtree(aside, ignore_errors=True)
                (self.folder / str(step)).rename(aside)
                self._say(f"checkpoint {step} cannot be read ({reason}); set aside as {aside.name}, {then}")
        if broken:
            processes.wait("set aside")
            self._manager.reload()

    def _full(self, step: int | None, why: str) -> str:
        last = self.latest
        at = "" if step is None else f" at step {step}"
        kept = "there is no earlier one" if last is None else f"the last good one, step {last}, is kept"
        return f"checkpoint{at} not written to {self.folder}: {why}; {kept}"

    @contextlib.contextmanager
    def _errors(self, step: int | None) -> Iterator[None]:
        """Background failures become one `OSError` that says what is still on disk."""
        try:
            yield
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            full = isinstance(error, OSError) and error.errno == errno.ENOSPC
            full = full or "No space left" in str(error) or "RESOURCE_EXHAUSTED" in str(error)
            with contextlib.suppress(Exception):
                self._manager.reload()
            why = "no space left on the disk" if full else reason
            raise OSError(errno.ENOSPC if full else errno.EIO, self._full(step, why)) from error


class Mismatch(ValueError):
    """A readable checkpoint of something else."""


def _flatten(tree: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    flat = {path_name(path) or "value": leaf for path, leaf in leaves}
    if len(flat) != len(leaves):
        raise ValueError("two arrays of a checkpoint have the same dotted path")
    return flat


def _unflatten(like: Any, flat: dict[str, Any]) -> Any:
    paths, treedef = jax.tree_util.tree_flatten_with_path(like)
    return jax.tree_util.tree_unflatten(treedef, [flat[path_name(path) or "value"] for path, _ in paths])


def _describe(x: Any) -> str:
    return f"{x.dtype}[{','.join(map(str, x.shape))}]"


def _abstract(x: Any) -> jax.ShapeDtypeStruct:
    sharding = getattr(x, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)


def _digest(items: dict[str, Any]) -> str | None:
    """SHA-256 of all names and bits, or None where this process does not hold them all or they are very large."""
    if sum(x.nbytes for x in items.values()) > DIGEST_LIMIT:
        return None
    total = hashlib.sha256()
    for name in sorted(items):
        x = items[name]
        if not getattr(x, "is_fully_addressable", True):
            return None
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x = jax.random.key_data(x)
        total.update(name.encode())
        total.update(np.ascontiguousarray(np.asarray(x)).tobytes())
    return total.hexdigest()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TensorStore's threads outlive a failed read and complain to stderr about the closed event loop."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        yield
    finally:
        gc.collect()
        sys.unraisablehook = hook
