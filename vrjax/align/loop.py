"""The preference run: `run(config)` starts it, or goes on with it, bit for bit.

The loop is that of training (`vrjax.train.loop`): its data, update and state are replaced, its checkpoints, rows,
signals and export stay. A checkpoint holds policy, reference, optimiser, average, key and the place in the data.
"""

import dataclasses
import hashlib
import json
import pathlib
from typing import Any

import jax
import numpy as np

from vrjax.align import data, logs, separability, step, stored
from vrjax.align.cache import Encoded
from vrjax.align.config import AlignConfig
from vrjax.files import records, runs
from vrjax.files.content import key
from vrjax.parallel import processes
from vrjax.report import claims
from vrjax.train import config as configs
from vrjax.train import loop as training
from vrjax.train import state as states
from vrjax.train.loop import Diverged as Diverged
from vrjax.train.loop import Stopped as Stopped
from vrjax.train.optim import path_name
from vrjax.train.progress import Line

CHECKED = 64  # pairs looked at before training


def run(config: AlignConfig, *, root: str | pathlib.Path = "runs", fresh: bool = False) -> dict[str, Any]:
    """Trains a preference run in `root/<name>` to its end and exports the policy to `root/<name>/model`.

    Args, returns and raises as `vrjax.train.loop.run`; also ValueError for pairs that differ trivially, and the
    warning `logs.LoserShortcut`, once, when winners get worse while the accuracy rises.
    """
    if processes.several():
        raise ValueError(
            f"config {config.name!r}: preference runs take one process (with any number of devices) so far"
        )
    with training.folder_of(config, root, fresh) as folder:
        done = folder.folder / "results.json"
        for note in folder.notes:
            print(f"{config.name}: {note}")
        if done.exists():
            print(f"{config.name} is finished; see {done} (start over with --fresh)")
            return claims.read_details(done)
        return Loop(config, folder.folder).run()


class Loop(training.Loop):
    """One process of a preference run."""

    def __init__(self, config: AlignConfig, folder: pathlib.Path):
        super().__init__(config, folder)
        self.network, self.state, shardings = step.make_state(config, self.mesh)
        start = self.state.params
        self.update = step.make(self.network, self.mesh, shardings)
        if config.pairs is not None:
            losers = config.clips - 1
            pairs = Encoded(config.pairs, losers=losers, condition=_has_image(config, config.pairs))
            if losers:
                self._separable(pairs)
            if config.reference.kind == "precomputed":
                pairs = _with_tables(config, self, pairs, start)
            self.data = data.pipeline(
                pairs,
                batch=config.data.batch,
                seed=config.seed,
                held=self.rows,
            )
            self.position = self._where()
        self.watch = logs.Watch()

    def _separable(self, pairs: Encoded) -> None:
        """The check before training: a note for what separates, an error for what separates grossly."""
        config: AlignConfig = self.config  # type: ignore[assignment]
        rows = (pairs[i] for i in range(min(len(pairs), CHECKED)))
        if len(pairs) < 2:
            return
        found = separability.check((row["latent"], row["lose"]) for row in rows)
        for note in found.notes:
            print(f"{config.name}: {note}")
        if not config.allow_separable:
            separability.refuse(found, f"config {config.name!r}, pairs {config.pairs}")

    def _look(self, step: int, values: dict[str, jax.Array], line: Line, metrics: runs.Rows) -> None:
        super()._look(step, values, line, metrics)
        said = self.watch.see(step, {k: float(v) for k, v in jax.device_get(values).items()})
        if said is not None:
            line.say(f"{self.config.name}: {said}")

    def _restore(self) -> int:
        restored = self.checkpoints.restore({**self.state.trees(), "key": self.key})
        if restored is None:
            return 0
        self.key = restored.trees.pop("key")
        self.state = dataclasses.replace(self.state, **restored.trees)
        self.position = restored.data
        self.data.set_state(restored.data)
        return restored.step


class _Rows:
    """Encoded pairs with their stored reference errors."""

    def __init__(self, pairs: Encoded, tables: dict[str, np.ndarray]):
        self.pairs, self.tables = pairs, tables

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self.pairs[index] | {name: table[index] for name, table in self.tables.items()}


def _with_tables(config: AlignConfig, loop: Loop, pairs: Encoded, start: Any) -> _Rows:
    """The pairs with the errors of the run's first weights on the bank, measured now or read from the pairs' folder."""
    names = ("reference_win", "reference_lose")
    spec = {"objective": dataclasses.asdict(config.objective), "draws": config.reference.draws, "seed": config.seed}
    spec |= {"low": config.preference.low, "high": config.preference.high, "pairs": pairs.digest}
    spec |= {"weights": digest((start, loop.network.base)), "dtype": states.compute_dtype(config)}
    at = {name: key(kind="errors", name=name, **spec) for name in names}
    if not all(pairs.cache.path("errors", at[name]).is_file() for name in names):
        bank, count = step.make_bank(config), len(pairs)
        assert bank is not None  # the config has been checked
        size = config.data.batch
        rows = lambda first: [pairs[min(i, count - 1)] for i in range(first, first + size)]
        batches = (jax.tree.map(lambda *x: np.stack(x), *rows(first)) for first in range(0, count, size))
        put = lambda batch: {k: jax.device_put(v, loop.sharding) for k, v in batch.items()}
        found = stored.tables(loop.network, bank, start, loop.network.base, map(put, batches), count)
        for name in names:
            pairs.cache.put("errors", name, at[name], found[name], spec, dtype="float32")
        print(f"{config.name}: reference errors of {count} pairs at {bank.draws} draws each are stored")
    return _Rows(pairs, {name: pairs.cache.read("errors", name, at[name]) for name in names})


def digest(tree: Any) -> str:
    """SHA-256 of the names and bits of all arrays."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        total.update(path_name(path).encode())
        total.update(np.ascontiguousarray(jax.device_get(leaf)).tobytes())
    return total.hexdigest()


def load(path: str | pathlib.Path) -> AlignConfig:
    """The `AlignConfig` of a Python config file or of a run's `config.json`.

    Raises:
      FileNotFoundError: no such file. ValueError: it defines something else.
    """
    path = pathlib.Path(path)
    if path.suffix == ".json" and path.is_file():
        try:
            stored_config = json.loads(path.read_text())["config"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{path} is not a run's config.json") from None
        return records.from_dict(AlignConfig, stored_config, str(path))
    config = configs.load(path)
    if not isinstance(config, AlignConfig):
        raise ValueError(f"{path}: config() returned {type(config).__name__}, expected AlignConfig")
    return config


def _has_image(config: AlignConfig, folder: str) -> bool:
    """Whether the model takes the first-frame condition: as many more input channels than the clips have."""
    row = Encoded(folder, losers=0, condition=False)[0]
    channels, stored_image = row["latent"].shape[-1], row["image"].shape[-1]
    if config.model.in_channels == channels + stored_image:
        return False
    if config.model.in_channels == 2 * channels + 1 and not stored_image:
        return True
    raise ValueError(
        f"config {config.name!r}: model.in_channels is {config.model.in_channels}, the pairs in {folder} have "
        f"{channels} channels and {stored_image} of a stored image condition: expected {channels + stored_image}, or "
        f"{2 * channels + 1} for the first frame and its mask"
    )
