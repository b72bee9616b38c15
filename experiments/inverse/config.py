"""Sizes of the inverse study; the values lie in `configs/inverse`, the defaults are the full run's.

A *seed* is a group of independent data sets: seed k draws `repeats` of them at every size. Observations are fixed over
sizes, repeats and seeds.
"""

import dataclasses
from typing import ClassVar

from experiments.inverse import names
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
class Guided:
    """Of guided samplers on problems with known posteriors: `dimensions` of mixtures, and signals as the last group."""

    dimensions: tuple[int, ...] = (2, 8, 80)
    signal: int = 32
    """Increments of a signal."""
    problems: tuple[int, ...] = (8, 8, 4, 3)
    """Of each group; a group of none is left out."""
    draws: tuple[int, ...] = (768, 768, 256, 256)
    """Of each arm, for a problem's own observation; a multiple of `particles`."""
    pairs: tuple[int, ...] = (16, 16, 16, 16)
    """Of a truth and its data, for each problem."""
    ranked: int = 19
    """Draws for each pair; a truth's rank is among them."""
    arms: tuple[str, ...] = ()
    """Those that are measured, all if there are none."""
    few_draws: int = 45
    few_pairs: int = 1
    """Of D-Flow, whose draw costs 4,000 evaluations and their derivatives; see `guided_names.SLOW` too."""
    particles: int = 64
    """Of a particle filter, and of the tempered particles that give the draws of a pair."""
    lanes: int = 576
    """Draws in one call of a compiled program; a multiple of `particles`."""
    validation: int = 3
    """Problems of each group on which an arm's number is chosen (0: it stays as published), with so many draws:"""
    validation_draws: int = 576
    directions: int = 64
    """Of sliced distances."""
    projections: int = 4
    """Whose ranks are taken."""
    floors: int = 4
    """Pairs of exact samples."""
    gibbs_thin: int = 20
    """Sweeps between the reference's draws of signals."""
    ode_steps: int = 16
    """Heun's steps of the map from latent to state."""
    chains: int = 8
    """Of a latent sampler for a problem's own observation, which give as many draws after `burn` steps."""
    thin: int = 12
    """Steps between two draws of a chain; R-hat and effective size are of all steps."""
    burn: int = 100
    walkers: int = 5
    """Chains for each pair, whose draws are so many steps apart:"""
    apart: int = 12
    rounds: int = 20
    """Of tempered particles, which have to reach the posterior within them."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups of problems."""
        return (*(f"mixtures {d}" for d in self.dimensions), "signals")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """Of particles on known posteriors."""

    problems: int = 3
    """Mixtures of a seed."""
    dimension: int = 8
    """Of the Gaussian problem, one of `Guided.dimensions`."""
    particles: int = 256
    runs: int = 40
    """Of as many particles each, for the weights of modes."""
    rounds: int = 20
    moves: int = 10
    pairs: tuple[int, int, int] = (24, 96, 96)
    """Truths and data for each problem: mixtures, the Gaussian one, signals."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Elliptic:
    """Of the elliptic problem."""

    cells: int = 16
    """A side of the grid of priors and inversion: the true prior has a latent of twice its square."""
    fine: int = 64
    """A side of the grid that data are made on."""
    noise: float = 0.03
    """As a share of the largest pressure."""
    truths: int = 2
    """Of a seed, each with its data: the same for all priors and sizes."""
    sizes: tuple[int, ...] = (64, 256, 1024, 4096)
    rank: int = 64
    """Principal components of fields."""
    widths: tuple[int, ...] = (256, 256)
    latents: tuple[int, ...] = (512, 1024, 2048)
    """Of the fit to each of the first sizes; to the others no network is fitted. There must be more of them than data:
    a network meets the plan's targets, which with fewer are means over several fields, and loses their variance."""
    steps: int = 800
    restarts: int = 2
    known_to: int = 1024
    """The largest size whose statistical error is estimated: that of more is slow."""
    directions: int = 256
    """Of sliced distances."""
    fields: int = 8192
    """Of the true law and of each prior, whose distance they stand for."""
    chains: int = 4
    """An even number: one half of them is compared with the other."""
    burn: int = 200
    rows: int = 1200
    """Of each chain: of 800 the worst R-hat of 600 numbers is just below 1.01."""
    doublings: int = 6
    """Trajectories have up to as many steps as 2 to this power less one: of a network that was fitted to few fields,
    which is rough, all of them have."""
    search: int = 15
    """Steps of the search for the mode."""

    def __post_init__(self):
        if len(self.latents) > len(self.sizes) or self.chains < 2 or self.chains % 2:
            raise ValueError(
                f"elliptic: found {len(self.latents)} latents for {len(self.sizes)} sizes and {self.chains} chains, "
                "expected no more latents than sizes and an even number of chains"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Video:
    """Of the world of clips with two continuations."""

    sizes: tuple[int, ...] = (256, 1024, 4096)
    """Clips that a network is trained on."""
    dim: int = 96
    ffn: int = 192
    heads: int = 2
    layers: int = 2
    batch: int = 128
    steps: int = 2000
    """Of training, whatever the size is."""
    lr: float = 2e-3
    ema: float = 0.995
    evaluations: int = 8
    """Of the network in the map from latent to clip."""
    highest: float = 8.0
    lowest: float = 0.05
    """Noise over data of the first level after pure noise and of the last one, between which levels are spread as
    Karras et al. (2022) do. The exact velocity's draws are then twice their floor from the world (sliced W1), and have
    95 % of its pixels' noise."""
    observations: int = 27
    """Of a seed and task, each of a truth of its own; the same for all priors and arms."""
    few: int = 9
    """The first of them, which all priors and arms are given: others only those of the largest size and the true one
    with latent particles."""
    particles: int = 128
    """Of a latent run."""
    rounds: int = 8
    """Of tempering, within which the posterior has to be reached."""
    moves: int = 4
    """Of a particle in a round."""
    lanes: int = 9
    """Observations in a call of the compiled program."""
    pool: int = 16384
    """Draws of each prior."""
    draws: int = 64
    """Of each arm for a distance, and of each guided arm; a filter's particles."""
    exact: int = 32
    """Exact draws that each of them is compared with."""
    ranked: int = 19
    """Draws for each observation; a truth's rank is among them."""
    directions: int = 128
    """Of sliced distances."""
    arms: tuple[str, ...] = ("pigdm", "dps likelihood", "flowdps normalised", "flowchef normalised", "smc")
    """Guided ones, of `guided_names.ARMS`."""

    def __post_init__(self):
        if min(self.sizes) < 8 or self.steps < 10:
            raise ValueError(
                f"video: found sizes {self.sizes} and steps = {self.steps}, expected at least 8 clips and 10 steps"
            )
        if not 1 <= self.few <= self.observations:
            raise ValueError(f"video: found few = {self.few} of {self.observations} observations, expected 1 or more")
        if max(self.draws, self.ranked) > self.particles:
            raise ValueError(
                f"video: found {self.draws} draws and {self.ranked} ranked of {self.particles} particles, expected no "
                "more than there are"
            )


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
