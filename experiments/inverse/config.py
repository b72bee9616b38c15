"""Sizes of the inverse study; the values lie in `configs/inverse`, the defaults are the full run's.

A *seed* is a group of independent data sets: seed k draws `repeats` of them at every size. Observations are fixed over
sizes, repeats and seeds.
"""

import dataclasses
from typing import ClassVar

from experiments.inverse import names
from experiments.inverse.sampled_config import Elliptic, Guided, Known, Video
from vrjax.study.sizes import Study

SIZES = tuple(2**k for k in range(5, 13))
FEW = (names.WIDTH, names.VIDEO)
"""Experiments that take long and carry no primary claim."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Of the linear Gaussian problem."""

    dimensions: tuple[int, ...] = (1, 2, 8, 32)
    sizes: tuple[int, ...] = tuple(2**k for k in range(5, 15))
    repeats: int = 32
    observations: int = 3
    noise_std: float = 0.3
    directions: int = 256
    """Of sliced distances."""
    plan_dimensions: tuple[int, ...] = (2, 8)
    """In which an affine generator is fitted by exact plans too, beside the moments."""
    plan_size: int = 64
    plan_latents: int = 512
    plan_steps: int = 800
    plan_longer: int = 4
    """The fit that stands for the best one known has so many times the steps."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """A fit on the line: hidden layers, latent points, steps of Adam."""

    widths: tuple[int, ...] = (24, 24)
    latents: int = 512
    steps: int = 800
    restarts: int = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """Of rates on the line."""

    sizes: tuple[int, ...] = SIZES
    repeats: int = 32
    """Data sets of every size; those of the density with a gap come from the same uniform numbers."""
    fits: int = 6
    """To so many of them a generator is fitted."""
    y: tuple[float, ...] = (0.1, -0.8, 1.1)
    """The sheet's observation and two draws of the prior predictive, rounded."""
    noise_std: tuple[float, ...] = (0.4, 0.1)
    fit: Fit = Fit()
    large: Fit = Fit(widths=(48, 48), steps=2000)
    large_from: int = 512
    """Data sets of this size and above are fitted by `large`: at these the small fit's own error shows."""
    nodes: int = 4096
    """Points of the latent whose images stand for a generator's law."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clouds:
    """Of rates where laws are told by points."""

    sizes: tuple[int, ...]
    repeats: int = 8
    """Data sets of each size."""
    plans: int = 2
    """To so many of them W1 in all dimensions is found."""
    plans_to: int = 1024
    """Of data sets up to this size."""
    fits: int = 1
    """To so many of them generators are fitted."""
    fits_to: int = 512
    """Of data sets up to this size."""
    latents: int = 512
    steps: int = 800
    restarts: int = 2
    block: int = 4096
    """Points of the latent whose images stand for a generator's law."""
    blocks: int = 8
    """Of as many points each, for the true law."""
    directions: int = 128
    """Of sliced distances."""
    ratio: int = 4
    """Draws of the true law for each point of a data set, in a plan between them."""
    fresh: int = 8192
    """Draws on which the plan's potential is tried."""
    debiased: int = 512
    """Draws of a generator's law, in each of two sets, beside as many of the true law."""

    def __post_init__(self):
        for name in ("plans", "fits"):
            if getattr(self, name) > self.repeats:
                raise ValueError(
                    f"{type(self).__name__.lower()}: {name} is {getattr(self, name)}, expected at most repeats, "
                    f"{self.repeats}"
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dimension(Clouds):
    """Of rates in d dimensions."""

    sizes: tuple[int, ...] = tuple(2**k for k in range(5, 12))
    dimensions: tuple[int, ...] = (1, 2, 3, 5, 8)
    ridges: int = 4
    """Of the true map, and of the restricted class."""
    observations: int = 3
    noise_std: tuple[float, ...] = (0.3, 1.0)
    """Each observation under each: in eight dimensions the first leaves a thousandth of the data."""
    exact: int = 1
    """Of so many observations under each noise W1 in all dimensions is found, beside the sliced one of all."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Moons(Clouds):
    """Of two moons in the plane."""

    sizes: tuple[int, ...] = tuple(2**k for k in range(5, 11))
    fits_to: int = 1024
    debiased: int = 2000
    around: float = 0.08
    """Standard deviation around the curves."""
    y: tuple[float, ...] = (0.2, -0.6, 0.9)
    """The sheet's observation and two draws of the prior predictive, rounded."""
    noise_std: float = 0.3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Width:
    """Of approximation: the law itself is the data."""

    widths: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
    activations: tuple[str, ...] = ("relu", "tanh")
    layers: int = 2
    inits: int = 10
    latents: int = 1024
    steps: int = 2000
    data: int = 1 << 16
    """Quantiles that stand for the law."""
    nodes: int = 8192
    y: float = 0.1
    noise_std: float = 0.4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """Of the posterior's error where an observation is unlikely or sharp."""

    size: int = 256
    fit: Fit = Fit()
    nodes: int = 32768
    y: tuple[float, ...] = (-0.7, -0.35, 0.0, 0.4, 0.8, 1.2, 1.6, 1.95)
    """From the bulk to the tail."""
    places: int = 2001
    """Where mass is moved for the worst prior."""
    noise_std: tuple[float, ...] = (1.0, 0.6, 0.36, 0.22, 0.13, 0.08, 0.05, 0.03)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counterexample:
    """Of partial observation of an unbounded prior."""

    far: tuple[float, ...] = (4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
    """Where the tail begins."""
    pairs: int = 32
    """Of priors, at every distance."""
    bulk: int = 24
    tail: int = 6
    power: float = 2.5
    """The tail's mass is `far ** -power`: above 2, so that second moments are bounded."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bounds:
    """Of random pairs of discrete measures on the line."""

    pairs: int = 2000
    atoms: int = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inverse(Study):
    """What is measured, and how much."""

    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = ("seeds", "seed")

    seeds: tuple[int, ...]
    experiments: tuple[str, ...] = names.EXPERIMENTS
    """Which of them are measured."""
    gaussian: Gaussian = Gaussian()
    line: Line = Line()
    dimension: Dimension = Dimension()
    width: Width = Width()
    evidence: Evidence = Evidence()
    counterexample: Counterexample = Counterexample()
    moons: Moons = Moons()
    bounds: Bounds = Bounds()
    guided: Guided = Guided()
    elliptic: Elliptic = Elliptic()
    video: Video = Video()
    known: Known = Known()
    few: int | None = None
    """How many of the seeds measure the experiments of `FEW`; None: all."""
    resamples: int = 10_000
    seed: int = 0
    """Of all data sets."""

    def __post_init__(self):
        super().__post_init__()
        if self.line.fits > self.line.repeats:
            raise ValueError(
                f"inverse: line.fits is {self.line.fits}, expected at most line.repeats, {self.line.repeats}"
            )
        if strange := [name for name in self.experiments if name not in names.EXPERIMENTS]:
            raise ValueError(f"inverse: experiments: found {strange[0]!r}, expected some of {names.EXPERIMENTS}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"inverse: seeds is {self.seeds}, expected each once")

    def seeds_of(self, experiment: str) -> tuple[int, ...]:
        """The seeds that measure an experiment."""
        return self.seeds[: self.few] if experiment in FEW else self.seeds
