"""What a preference run needs, seen before anything is loaded or compiled: see `vrjax.train.ready`."""

from vrjax.align import data
from vrjax.align.config import AlignConfig
from vrjax.train import ready


def wanting(config: AlignConfig) -> list[str]:
    """What a run lacks on this machine, but for its devices: weights to start from, pairs or clips."""
    if config.pairs is None:
        return ready.wanting(config)
    return [*ready.start(config), *ready.told(lambda: data.opened(config), "--pairs")]
