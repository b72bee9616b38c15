"""The training runs of this room behind one door: `run(config)` of either kind, as `vrjax learn` calls it."""

import pathlib
from collections.abc import Sequence

from vrjax.world.learned import distill, train
from vrjax.world.learned.distill import DistillConfig
from vrjax.world.learned.train import WorldConfig
from vrjax.world.learned.world import Learned

Config = (WorldConfig, DistillConfig)


def run(
    config: WorldConfig | DistillConfig,
    *,
    root: str | pathlib.Path = "runs",
    fresh: bool = False,
    log: Sequence[str] = (),
) -> Learned:
    """Trains or distils a world in `root/<name>` to its end, or goes on with it; see `train.run`, `distill.run`."""
    of_kind = distill.run if isinstance(config, DistillConfig) else train.run
    return of_kind(config, root=root, fresh=fresh, log=log)  # type: ignore[arg-type]
