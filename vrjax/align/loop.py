"""The preference run: `run(config)` starts it, or goes on with it, bit for bit.

The loop is that of training (`vrjax.train.loop`); this file says in which parts a preference run differs: its pairs,
its update, and the watch over the loser shortcut. A checkpoint holds policy, reference, optimiser, key and the place in
the data.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

from vrjax.align import data, logs, ready, step, stored
from vrjax.align.config import AlignConfig
from vrjax.data.batches import Shuffled, pipeline
from vrjax.train import loop as training

Config, wanting = AlignConfig, ready.wanting


def run(
    config: AlignConfig, *, root: str | pathlib.Path = "runs", fresh: bool = False, log: Sequence[str] = ()
) -> dict[str, Any]:
    """Trains a preference run in `root/<name>` to its end and exports the policy to `root/<name>/model`.

    Args, returns and raises as `vrjax.train.loop.run`; also ValueError for pairs that differ trivially, the warning
    `logs.LoserShortcut`, once, when winners get worse while the accuracy rises, and `Diverged` for a collapse: winners'
    error several times the reference's over a window of updates. No state from there on is saved or exported.
    """
    return training.run(config, root=root, fresh=fresh, prepare=prepare, wanting=wanting, log=log)


def prepare(made: training.Made) -> training.Parts:
    """The parts of a preference run: see `vrjax.train.loop.Parts`."""
    config: Any = made.network.config
    state, shardings = step.extended(config, made.state, made.shardings)
    update, watch = step.make(made.network, made.mesh, shardings), logs.Watch(config.preference)
    if config.pairs is None:
        return training.Parts(state, update, training.batches(config, made.rows), watch)
    pairs = data.pairs(config)
    if config.reference.kind == "precomputed":
        pairs = stored.added(pairs, made.network, state.params, made.mesh, made.rows)
    batches = pipeline(Shuffled(pairs, config.seed, "pairs"), batch=config.data.batch, rows=made.rows)
    return training.Parts(state, update, batches, watch)
