"""Sizes of the world-model study; the values lie in `configs/world_model`.

Lengths, horizons and budgets of planners were chosen on the exact world with layouts of their own (`tuning.md`), and
lengths of trainings on pilot seeds; all of it was fixed before a test episode was drawn.
"""

import dataclasses
from typing import ClassVar

from experiments.world_model import names
from vrjax.study.sizes import Study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trainings:
    """Of a seed's worlds."""

    recipes: tuple[str, str] = ("push", "slippery")
    """Files of `configs/world_model` that say how the plain and the slippery base are trained."""
    steps: int = 2
    """Denoising steps of a frame, where an arm says nothing else."""
    lowest: tuple[float, float] = (0.26, 0.2)
    """The lowest level of either training: with more steps than the usual ones levels are shifted so far that none lies
    below."""
    updates: int | None = None
    """Of the plain base, in the place of its recipe's; so are `batch` and `reading`, of both."""
    slippery: int | None = None
    """Of the slippery base; None: as many as of the plain one."""
    batch: int | None = None
    reading: int | None = None
    stay: float = 0.5
    """The probability that the agent stays in a step of the slippery world, whatever it does."""
    extra: int = 300
    """Updates of each training that goes on; 0: there is none."""
    lr: float = 3e-4
    """Of those but for self-forcing."""
    forced_lr: float = 1e-4
    """Of self-forcing, and of its critic."""
    critic_steps: int = 3
    regressor: int = 600
    """Updates of the regressor, which begins as the slippery world."""

    def of(self, base: str) -> tuple[str, float]:
        """The recipe of a base and the lowest level of its training."""
        which = int(base == names.SLIPPERY)
        return self.recipes[which], self.lowest[which]

    def __post_init__(self):
        if not 0 < self.stay < 1 or not min(self.lr, self.forced_lr) > 0:
            raise ValueError(f"world_model: stay={self.stay}, lr={self.lr}, expected a probability and rates above 0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Horizon:
    """Of how far a world strays."""

    episodes: int = 64
    steps: int = 24
    limit: float = 1.0
    """Pixels: where any thing is farther off than this, the world is of no use any more."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """Of walks in which the agent may stay."""

    situations: int = 64
    draws: int = 39
    """Of each situation; the central 90 % leave out two at either end."""
    steps: int = 3
    """Of a walk: all 2^steps rows of coins are enumerated."""
    level: float = 0.9
    blur: float = 0.2
    """Pixels, the standard deviation of what is added alike to draws and to what happens before coverage is counted:
    whether an outcome that is exact to a tenth of a pixel is the other one is no question then."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settling:
    """Of the denoising steps of one frame."""

    frames: int = 96
    steps: int = 12
    bank: int = 256
    """Frames of no moment in particular."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """One planner.

    Attributes:
        method: a name of `world.planning`. horizon, candidates, iterations: as `world.plan` has them.
        elites, refine, rate: of CEM; refine is 0 without gradients.
    """

    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = ("refine",)

    method: str = names.CEM
    horizon: int = 12
    candidates: int = 32
    iterations: int = 2
    elites: int = 4
    refine: int = 0
    rate: float = 0.1

    @property
    def options(self) -> dict:
        """For `world.plan` and `world.control`."""
        gradient = {"refine": self.refine, "rate": self.rate} if self.refine else {}
        sizes = {"horizon": self.horizon, "candidates": self.candidates, "iterations": self.iterations}
        return {"method": self.method, **sizes, "elites": self.elites, **gradient}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Planning:
    """Of control through a world, from layouts that the world draws."""

    episodes: int = 16
    steps: int = 24
    """For each goal."""
    act: int = 2
    """Actions of a plan that are taken."""
    goals: int = 3
    """One after the other in the task; the first of them is the meso scale's."""
    search: Search = Search()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Methods:
    """Of two planners at equal model calls, one plan for the whole way."""

    exact: int = 32
    """Layouts planned through the exact world; learned: through the learned one."""
    learned: int = 16
    act: int = 2
    steps: int = 24
    pairs: tuple[tuple[Search, Search], ...] = ()
    """CEM and gradient + CEM of equal calls."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorldModel(Study):
    """What is measured, and how much."""

    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = ("seeds", "seed", "windows")

    seeds: tuple[int, ...]
    """Training seeds; each has test episodes of its own."""
    trainings: Trainings = Trainings()
    parts: tuple[str, ...] = names.PARTS
    """Which of them are measured."""
    steps: tuple[int, ...] = (1, 2, 4, 16)
    """Denoising steps of a frame; the recipe's own number is what the other arms take."""
    windows: tuple[int, ...] = (1, 2)
    """Frames that are seen, fewer than the recipe's."""
    planned: tuple[str, ...] = (names.steps(1), names.steps(2), names.window(1))
    """Arms through which is planned."""
    horizon: Horizon = Horizon()
    calibration: Calibration = Calibration()
    settling: Settling = Settling()
    planning: Planning = Planning()
    methods: Methods = Methods()
    resamples: int = 10_000
    group: int = 16
    """Episodes in one call of a compiled program."""
    seed: int = 0
    """Of episodes and chance."""

    def __post_init__(self):
        super().__post_init__()
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"world_model: seeds is {self.seeds}, expected each once")
        if strange := [name for name in self.parts if name not in names.PARTS]:
            raise ValueError(f"world_model: parts: found {strange[0]!r}, expected some of {names.PARTS}")
        if self.usual not in self.arms:
            raise ValueError(
                f"world_model: steps is {self.steps}, expected {self.trainings.steps}, the usual number, in it"
            )
        known = (*self.arms, names.FROZEN)
        if strange := [arm for arm in self.planned if arm not in known]:
            raise ValueError(f"world_model: planned: found {strange[0]!r}, expected some of {', '.join(known)}")

    @property
    def usual(self) -> str:
        """The arm that is asked as the recipe says."""
        return names.steps(self.trainings.steps)

    @property
    def arms(self) -> tuple[str, ...]:
        """All ways in which a world is asked."""
        return (*map(names.steps, self.steps), *map(names.window, self.windows))
