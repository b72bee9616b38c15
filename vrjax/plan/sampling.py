"""One guided run of a large video model on a mesh: noise to trajectory, for several seeds, one compiled function.

    run, arguments = sampling.make(config, mesh)              # shapes with shardings only
    compiled = run.lower(*arguments).compile()                # for a pod that is not here
    trajectory = run(dits, text, negative, image, keys)       # or call it on arrays

`vrjax plan` compiles exactly this function.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vrjax import flow, parallel
from vrjax.models import wan
from vrjax.models.wan import WanConfig

SOLVERS = {"euler": flow.euler, "unipc": flow.unipc}


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """A guided run: what is sampled, and where it lives."""

    name: str
    """What the run is called."""
    model: WanConfig
    """The network; `param_dtype` is the dtype its matrices are kept in."""
    latent: tuple[int, int, int, int]
    """(t, h, w, c) of one video's latent."""
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
            raise ValueError(f"config {self.name!r}: unknown solver {self.solver!r}, expected {sorted(SOLVERS)}")
        if self.boundary is not None and not 0.0 < self.boundary < 1.0:
            raise ValueError(f"config {self.name!r}: boundary must lie between 0 and 1, found {self.boundary}")
        if self.latent[-1] != self.model.out_channels:
            raise ValueError(
                f"config {self.name!r}: a latent of {self.latent[-1]} channels, the model's velocity has "
                f"{self.model.out_channels}"
            )

    @property
    def tokens(self) -> int:
        """Latent patches of one video."""
        patches = [size // patch for size, patch in zip(self.latent[:3], self.model.patch, strict=True)]
        return patches[0] * patches[1] * patches[2]


def grid(config: SampleConfig) -> flow.Grid:
    """The noise grid of a config: Wan's own for UniPC, else the shifted linear one."""
    make = flow.grids.wan_unipc if config.solver == "unipc" else flow.grids.shifted
    return make(config.steps, shift=config.shift)


def phases(config: SampleConfig, velocities: tuple[Any, ...]) -> tuple[flow.Phase, ...]:
    """One phase, or the high-noise expert followed by the low-noise one."""
    times = grid(config).times
    if config.boundary is None:
        return (flow.Phase(config.steps, velocities[0]),)
    high = int((times >= 1000.0 * config.boundary).sum())
    spans = ((high, velocities[0]), (config.steps, velocities[1]))
    return tuple(flow.Phase(stop, v) for i, (stop, v) in enumerate(spans) if stop > (0 if i == 0 else high))


def make(config: SampleConfig, mesh: Mesh) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The compiled run `(dits, text, negative, image, keys) -> Trajectory`, and its arguments as shapes with shardings.

    Args:
        config: the run.
        mesh: where everything lives; its devices need not be here.

    Returns:
        `run`, and
        `dits`: a tuple of one module, or of the high- and the low-noise expert, on the mesh (`wan.shard`);
        `text`, `negative`: (seeds, text_len, text_dim);
        `image`: (seeds, t, h, w, in_channels - c) image channels, of which there may be none;
        `keys`: (seeds,) keys of the starting noise.
        Seeds are divided over the mesh axes of "batch"; tokens, and with them everything recorded, over those of
        "tokens".

    Raises:
        ValueError: see `wan.shard`.
    """
    model = dataclasses.replace(config.model, dtype=config.dtype, unroll=False, remat="none")
    dit = wan.shard(wan.abstract(model), mesh, config.rules)
    layout, levels = dit.layout, grid(config)
    record = flow.Record(steps=config.record_steps, fields=config.record_fields)

    def one(dits: Any, text: Any, negative: Any, image: Any, key: Any) -> flow.Trajectory:
        x = jax.random.normal(key, config.latent, jnp.float32)
        x = x if layout is None else layout.video(x)
        velocities = tuple(
            d.velocity(text, image) if config.guidance == 1.0 else d.guided(text, negative, config.guidance, image)
            for d in dits
        )
        return flow.sample(phases(config, velocities), x, levels, solver=SOLVERS[config.solver](), record=record)

    def run(dits: Any, text: Any, negative: Any, image: Any, keys: Any) -> flow.Trajectory:
        return parallel.batch(layout, one, (None, 0, 0, 0, 0))(dits, text, negative, image, keys)

    axes = () if layout is None else layout.batch_axes(config.seeds)
    over_seeds = NamedSharding(mesh, PartitionSpec(axes or None))
    shape = lambda *s: jax.ShapeDtypeStruct((config.seeds, *s), jnp.float32, sharding=over_seeds)
    text = shape(model.text_len, model.text_dim)
    image = shape(*config.latent[:-1], model.in_channels - config.latent[-1])
    key = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), config.seeds))
    keys = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=over_seeds)
    dits = (dit,) * (1 if config.boundary is None else 2)
    return jax.jit(run), (dits, text, text, image, keys)
