"""A guided run of a large model on a mesh: noise to trajectory, for several seeds, one compiled function.

    run, arguments = sampling.make(config, mesh)                  # shapes with shardings only
    compiled = run.lower(*arguments).compile()                    # for a pod that is not here
    trajectory = run(dits, inputs, noise, seeds)                  # or call it on arrays

`vrjax plan` compiles exactly this function.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vrjax import flow
from vrjax.models import family
from vrjax.models.pipeline import denoise
from vrjax.plan import shapes
from vrjax.plan.jobs import Estimate, Job, Latent
from vrjax.plan.topology import Chip

SOLVERS = ("euler", "unipc")


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """A guided run: what is sampled, and where it lives."""

    name: str
    """What the run is called."""
    model: Any
    """The network, a config of any family; `param_dtype` is the dtype its matrices are kept in."""
    latent: tuple[int, ...]
    """(t, h, w, c) of one video's latent, (t, c) of a motion."""
    seeds: int = 1
    """Videos sampled together."""
    steps: int = 50
    """Steps of the solver."""
    shift: float = 5.0
    """Of the noise grid."""
    solver: Literal["euler", "unipc"] = "unipc"
    """One network evaluation (of both branches) a step."""
    guidance: float = 5.0
    """Scale of classifier-free guidance; 1 asks the conditional branch alone."""
    record_steps: tuple[int, ...] | None = None
    """Which steps are kept; None keeps all of them."""
    record_fields: tuple[str, ...] = ("x", "v")
    """What is kept of each (x0 follows from x and v)."""
    boundary: float | None = None
    """Two experts (Wan 2.2): times from 1000 * boundary on belong to the high-noise one. None: one network."""
    mesh: dict[str, int] = field(default_factory=dict)
    """Devices per mesh axis (seed, data, fsdp, context, tensor); empty means one device."""
    rules: dict[str, Any] = field(default_factory=dict)
    """Logical axis to mesh axes; overrides single entries of the built-in rules."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Compute dtype; the state of the run is float32."""

    def __post_init__(self):
        for name, value in (("seeds", self.seeds), ("steps", self.steps)):
            if value < 1:
                raise ValueError(f"config {self.name!r}: {name} must be at least 1, found {value}")
        if self.solver not in SOLVERS:
            raise ValueError(f"config {self.name!r}: unknown solver {self.solver!r}, expected one of {SOLVERS}")
        if self.boundary is not None and not 0.0 < self.boundary < 1.0:
            raise ValueError(f"config {self.name!r}: boundary must lie between 0 and 1, found {self.boundary}")

    @property
    def tokens(self) -> int:
        """Tokens of one video."""
        return family.of(self.model).tokens(self.model, self.latent)

    @property
    def branches(self) -> int:
        """Questions to the network in one step of one video."""
        return 1 if self.guidance == 1.0 else 2

    @property
    def networks(self) -> int:
        """One, or a pair of experts."""
        return 1 if self.boundary is None else 2

    @property
    def kept(self) -> int:
        """Recorded steps."""
        return self.steps if self.record_steps is None else len(self.record_steps)

    @property
    def work(self) -> int:
        """Operations of one step of all videos."""
        return self.branches * self.seeds * family.of(self.model).flops(self.model, self.latent)


Config = SampleConfig


def latent(config: SampleConfig) -> Latent:
    """The config's own."""
    return config.latent


def examples(config: SampleConfig) -> int:
    """Videos."""
    return config.seeds


def wanting(config: SampleConfig) -> list[str]:
    """Nothing: its config names no files."""
    return []


def kind(config: SampleConfig) -> str:
    """What the run is, for people."""
    return f"sampling, {config.steps} steps" + ("" if config.branches == 1 else ", guided")


def job(config: SampleConfig, mesh: Mesh, latent: Latent) -> Job:
    """The run with what it records."""
    config = dataclasses.replace(config, latent=tuple(latent))
    run, arguments = make(config, mesh)
    dits, *inputs = arguments
    parts = {"parameters": dits, "noise and conditions": inputs}
    return Job(kind(config), lambda: run.lower(*arguments), parts, config.work, config.tokens, config.steps)


def estimate(config: SampleConfig, mesh: Mapping[str, int], chip: Chip, latent: Latent) -> Estimate:
    """Crude: weights, records, keys of the conditions and one block; products and exchanges."""
    config = dataclasses.replace(config, latent=tuple(latent))
    needs, (count, size) = family.of(config.model).needs(config.model, latent), shapes.weights(config.model)
    split, tensor = shapes.ways(config, mesh, "embed", "mlp"), shapes.ways(config, mesh, "heads")
    context = shapes.ways(config, mesh, "tokens")
    seeds = config.seeds / math.gcd(config.seeds, shapes.ways(config, mesh, "seed", "batch"))
    width = jnp.dtype(config.dtype).itemsize
    here = config.tokens / context * seeds * config.branches
    kept = 4 * math.prod(latent) * (config.kept * len(config.record_fields) + 6) * seeds / context
    words = config.networks * config.branches * needs.context * width / tensor
    gathered = 2 * 2 * count / needs.layers / tensor
    memory = config.networks * size / split + kept + words + shapes.block(needs, here, width) + gathered
    compute = config.work / config.seeds * seeds / context / tensor / chip.flops
    weights = 2 * count / tensor * (1 - 1 / max(1, split // tensor))
    exchange = 2 * here * needs.dim * needs.layers * ((4 if context > 1 else 0) + (8 if tensor > 1 else 0))
    return Estimate(memory, compute + (weights + exchange) / chip.ici_bandwidth)


def grid(config: SampleConfig) -> flow.Grid:
    """The noise grid of a config: Wan's own for UniPC, else the shifted linear one."""
    make = flow.grids.wan_unipc if config.solver == "unipc" else flow.grids.shifted
    return make(config.steps, shift=config.shift)


def make(config: SampleConfig, mesh: Mesh) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The compiled run `(dits, inputs, noise, seeds) -> Trajectory`, and its arguments as shapes with shardings.

    It is what `vrjax.models.pipeline` compiles for one prompt.

    Args:
        config: the run.
        mesh: where everything lives; its devices need not be here.

    Returns:
        `run`, and
        `dits`: a tuple of one network, or of the high- and the low-noise expert, on the mesh (`family.shard`);
        `inputs`: `denoise.Inputs` of one prompt; the unconditional branch has another `text`, or other conditions
        altogether where the family has no text;
        `noise`: (seeds, *latent), and `seeds`: (seeds,) whole numbers.
        Seeds are divided over the mesh axes of "seed" and "batch"; tokens, and with them everything recorded, over
        those of "tokens".

    Raises:
        ValueError: see `family.shard`.
    """
    of = family.of(config.model)
    model = of.sampling(of.training(config.model, config.dtype))
    dit = family.shard(of.abstract(model), mesh, config.rules)
    record = flow.Record(steps=config.record_steps, fields=config.record_fields)
    recipe = denoise.Recipe(grid(config), config.solver, (config.guidance,) * config.networks, config.boundary)

    axes = () if dit.layout is None else dit.layout.batch_axes(config.seeds, seeds=True)
    put = lambda shape, dtype=jnp.float32, *over: jax.ShapeDtypeStruct(
        shape, dtype, sharding=NamedSharding(mesh, PartitionSpec(*over))
    )
    given = {name: put(shape) for name, shape in of.conditions(model, config.latent).items()}
    negative = {name: given[name] for name in config.model.GUIDED}
    inputs = denoise.Inputs(given, None if config.branches == 1 else negative)
    noise = put((config.seeds, *config.latent), jnp.float32, axes or None)
    seeds = put((config.seeds,), jnp.int32, axes or None)
    return jax.jit(denoise.run(recipe, record=record)), ((dit,) * config.networks, inputs, noise, seeds)
