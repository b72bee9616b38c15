"""Where else a run's values go: TensorBoard, Weights & Biases; optional (the extra `log`), imported when asked for.

A logger is anything with these two methods; another one is a function here and a line in `LOGGERS`.
"""

import pathlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from vrjax.files import writing


@runtime_checkable
class Logger(Protocol):
    """Takes the values of a run as they come."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """The values after `step` updates."""

    def close(self) -> None:
        """Sends what is left."""


class _TensorBoard:
    def __init__(self, folder: pathlib.Path, config: Any, done: int):
        try:
            import tensorboardX  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise ImportError("--log tensorboard needs tensorboardX: pip install 'vrjax[log]'") from None
        # what an earlier process logged after its last checkpoint is drawn no more
        self._writer = tensorboardX.SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, folder: pathlib.Path, config: Any, done: int):
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise ImportError("--log wandb needs wandb: pip install 'vrjax[log]'") from None
        kept = folder / "wandb-id"  # the same run there after a kill here
        if not kept.exists():
            writing.text(kept, uuid.uuid4().hex[:12])
        name, given = config.name, writing.to_dict(config)
        self._run = wandb.init(
            project="vrjax", name=name, id=kept.read_text().strip(), resume="allow", dir=str(folder), config=given
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


LOGGERS: dict[str, Callable[[pathlib.Path, Any, int], Logger]] = {"tensorboard": _TensorBoard, "wandb": _Wandb}


def opened(names: Sequence[str], folder: pathlib.Path, config: Any, done: int) -> list[Logger]:
    """The loggers of these names, for a run that goes on after `done` updates.

    Raises:
        ValueError: an unknown name. ImportError: its package is not installed, with the command that installs it.
    """
    if unknown := [name for name in names if name not in LOGGERS]:
        raise ValueError(f"log: unknown {unknown[0]!r}, expected one of {', '.join(LOGGERS)}")
    return [LOGGERS[name](folder, config, done) for name in dict.fromkeys(names)]
