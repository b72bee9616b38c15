"""Sizes of what is sampled: guided samplers, known posteriors, fields, films. `config` has the others."""

import dataclasses


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
    latents: tuple[int, ...] = (512,)
    """Of the fit to each of the first sizes; to the others no network is fitted. There must be more of them than data:
    a network meets the plan's targets, which with fewer are means over several fields, and loses their variance. Of
    256 fields and more the posterior of a network's latent did not mix in pilots."""
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
