"""The preference run: `run(config)` starts it, or goes on with it, bit for bit.

The loop is that of training (`vrjax.train.loop`); this file says in which parts a preference run differs: its pairs,
its update, and the watch over the loser shortcut. A checkpoint holds policy, reference, optimiser, key and the place in
the data.
"""

import pathlib
from typing import Any

from jax.sharding import Mesh

from vrjax.align import data, logs, step, stored
from vrjax.align.config import AlignConfig
from vrjax.data.batches import Shuffled, pipeline
from vrjax.train import loop as training
from vrjax.train.loop import Diverged as Diverged
from vrjax.train.loop import Stopped as Stopped


def run(config: AlignConfig, *, root: str | pathlib.Path = "runs", fresh: bool = False) -> dict[str, Any]:
    """Trains a preference run in `root/<name>` to its end and exports the policy to `root/<name>/model`.

    Args, returns and raises as `vrjax.train.loop.run`; also ValueError for pairs that differ trivially, and the
    warning `logs.LoserShortcut`, once, when winners get worse while the accuracy rises.
    """
    return training.run(config, root=root, fresh=fresh, prepare=prepare)


def prepare(config: AlignConfig, mesh: Mesh, rows: tuple[int, ...]) -> training.Parts:
    """The parts of a preference run: see `vrjax.train.loop.Parts`."""
    network, state, shardings = step.make_state(config, mesh)
    update, watch = step.make(network, mesh, shardings), logs.Watch().see
    if config.pairs is None:
        return training.Parts(network, state, update, training.batches(config, rows), watch)
    pairs = data.pairs(config)
    if config.reference.kind == "precomputed":
        pairs = stored.added(pairs, network, state.params, mesh, rows)
    batches = pipeline(Shuffled(pairs, config.seed, "pairs"), batch=config.data.batch, rows=rows)
    return training.Parts(network, state, update, batches, watch)
