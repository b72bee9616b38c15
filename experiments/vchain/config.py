"""Sizes of the VChain study; the values lie in `configs/vchain`.

What was tuned was tuned on the validation split; all of it was fixed before a test scene was sampled.
"""

import dataclasses
from typing import ClassVar

from vrjax.study.sizes import Study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Base:
    """A base model and its training."""

    dim: int = 64
    ffn: int = 192
    heads: int = 2
    layers: int = 3
    steps: int = 1200
    stretch: int = 50
    """Updates between two reports; `steps` is a multiple of it."""
    videos: int = 32
    images: int = 64
    """Examples per update, of either kind."""
    images_weight: float = 0.5
    """Of the images' error beside the videos'."""
    lr: float = 3e-3
    shift: float = 3.0
    """Of the noise levels, as in sampling."""
    ema: float = 0.99
    wrong: float = 0.6
    """Probability that a video with a short prompt follows a wrong rule: the causal deficiency."""
    scenes: int = 1500
    """Training scenes of each base (each base has its own)."""

    def __post_init__(self):
        if self.steps % self.stretch or min(self.steps, self.stretch, self.videos, self.images, self.scenes) < 1:
            raise ValueError(
                f"vchain: a base of {self.steps} steps in stretches of {self.stretch}, {self.videos} videos, "
                f"{self.images} images, {self.scenes} scenes: expected 1 or more of each, and whole stretches"
            )
        if not 0.0 <= self.wrong <= 1.0:
            raise ValueError(f"vchain: wrong is {self.wrong}, expected a probability")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VChain(Study):
    """What is measured, and how much."""

    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = ("seed", "rates", "noisy_tries")

    bases: tuple[int, ...]
    """Training seeds of the bases; each has scenes of its own, which are numbered by its seed."""
    shipped: bool = False
    """Whether base 0 comes with the package instead of being trained."""
    base: Base = Base()
    split: str = "test"
    scenes: int = 125
    """Scenes per base; in about half of them a novel kind changes."""
    noises: int = 3
    """Initial noises per scene."""
    frames: int = 8
    cells: int = 6
    steps: int = 10
    """Sampler steps (Euler)."""
    shift: float = 3.0
    rank: int = 8
    lr: float = 1e-2
    """Of the adapters."""
    tuning: int = 40
    """Updates of the adapters."""
    batch: int = 4
    """Keyframes per update."""
    logit_mean: float = 1.0
    """Of the logit of sigma in tuning, by the search; the deviation is 1. (The paper's are 0 and 1.)"""
    curve: tuple[int, ...] = (5, 10, 20, 40, 80, 160, 320)
    """Updates at which the trade-off is measured."""
    curve_scenes: int = 50
    """Scenes per base for it, one noise each."""
    rates: tuple[float, ...] = (0.1, 0.25, 0.5)
    """Error rates of the noisy reasoner."""
    noisy_tries: tuple[float, ...] = (0.1, 0.25, 0.5)
    """Those of them at which best of k is run with the same wrong thoughts."""
    transitions: int = 2000
    """Of the learned reasoner."""
    resamples: int = 10_000
    group: int = 25
    """Scenes in one call of a compiled program."""
    seed: int = 0
    """Of noises, adapters and errors."""

    def __post_init__(self):
        super().__post_init__()
        if len(set(self.bases)) < len(self.bases):
            raise ValueError(f"vchain: bases is {self.bases}, expected each once")
        if self.shipped and self.bases != (0,):
            raise ValueError(f"vchain: the shipped base is number 0, found bases {self.bases}")
        if list(self.curve) != sorted(set(self.curve)) or self.curve[0] < 1:
            raise ValueError(f"vchain: curve is {self.curve}, expected increasing numbers of updates")
        if self.tuning not in self.curve:
            raise ValueError(f"vchain: tuning is {self.tuning}, expected one of curve {self.curve}")
        if not set(self.noisy_tries) <= set(self.rates):
            raise ValueError(f"vchain: noisy_tries is {self.noisy_tries}, expected some of rates {self.rates}")

    @property
    def tokens(self) -> int:
        """Of a video."""
        return self.frames * self.cells

    def tuning_cost(self, updates: int) -> float:
        """Forward equivalents of tuning one adapter: an update costs three forward passes (one forward, two for the
        backward pass) of `batch` images, and an image is `cells` of a video's `tokens` tokens."""
        return updates * self.batch * 3 * self.cells / self.tokens

    @property
    def tries(self) -> int:
        """k of best-of-k: as many whole videos as VChain's tuning and sampling together pay for."""
        return max(2, round((self.tuning_cost(self.tuning) + self.steps) / self.steps))
