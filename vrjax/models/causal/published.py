"""How the public causal models were trained to be sampled, by name.

    how = published.get("self_forcing")
    causal.rollout(dit, text, noise, key=key, **how.options)

| name | weights |
| --- | --- |
| self_forcing | `self_forcing_dmd.pt` (Huang et al. 2025, arXiv 2506.08009) |
| causal_forcing | chunk-wise `causal_forcing.pt` (Zhu et al. 2026, arXiv 2602.02214): the generator, not its average |
| causal_forcing_framewise | frame by frame, with a picture in front if there is one |
| causal_forcing_2, causal_forcing_1 | Causal-Forcing++ (arXiv 2605.15141): two steps or one, the first frame four |
| causvid | `autoregressive_checkpoint/model.pt` (Yin et al. 2025, arXiv 2412.07772), three steps |

Weights that were trained chunk by chunk are worse frame by frame, and the other way round. All of them were trained on
21 latent frames: 81 frames of 480 x 832 pixels.
"""

import dataclasses
from typing import Any

from vrjax.files import named
from vrjax.flow import grids


@dataclasses.dataclass(frozen=True)
class Published:
    """How a model is sampled.

    Attributes:
        chunk, steps, shift, warp, first_steps: see `causal.stream`.
        network: which one of a file with several; None: see `readers.load_dit`.
    """

    chunk: int = 3
    steps: tuple[int, ...] = grids.SELF_FORCING
    shift: float = 5.0
    warp: bool = True
    first_steps: tuple[int, ...] | None = None
    network: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """As `causal.stream` takes them."""
        names = ("chunk", "steps", "shift", "warp", "first_steps")
        return {name: getattr(self, name) for name in names}


MODELS = {
    "self_forcing": Published(),
    "causal_forcing": Published(network="generator"),
    "causal_forcing_framewise": Published(chunk=1),
    "causal_forcing_2": Published(chunk=1, steps=(1000, 500), first_steps=grids.SELF_FORCING),
    "causal_forcing_1": Published(chunk=1, steps=(1000,), first_steps=grids.SELF_FORCING),
    "causvid": Published(steps=(1000, 757, 522), shift=8.0, warp=False, network="generator"),
}


def get(name: str) -> Published:
    """The model of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in MODELS:
        raise ValueError(named.unknown("causal model", name, tuple(MODELS)))
    return MODELS[name]
