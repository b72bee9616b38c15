"""What changes during training, where it lives on the mesh, and how a network is made of it."""

import contextlib
import functools
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vrjax import parallel
from vrjax.flow import draws
from vrjax.models import family as families
from vrjax.parallel import processes
from vrjax.train import lora, optim, update
from vrjax.train.config import TrainConfig
from vrjax.train.optim import path_name
from vrjax.train.update import State as State

FRESH, ADAPTER, STEP = 0, 1, 2  # streams of randomness folded into the run's seed


@dataclass(frozen=True)
class Network:
    """The static half of the model: how weights become a module.

    `base` is an empty dict, or the frozen weights that adapters are added to; it is passed to compiled functions as an
    argument so that it is not baked into them. `layout` says where activations live; None on one device.
    """

    config: TrainConfig
    base: Any
    layout: parallel.Layout | None = None

    @property
    def family(self) -> families.Family:
        """Of the config's model."""
        return families.of(self.config.model)

    def build(self, params: Any, base: Any, model: Any = None) -> Any:
        """The module for trained weights `params`: all weights, or adapters of `base`; None is the base without them.

        `model` is the model's config with other run-time options; by default those of training, in the compute dtype.
        """
        cfg = self.config
        if params is None:
            params = base
        elif cfg.lora is not None:
            params = lora.merge(base, params, alpha=cfg.lora.alpha)
        model = self.family.training(cfg.model, compute_dtype(cfg)) if model is None else model
        return nnx.merge(_graph(model, self.layout), nnx.State(params))

    def sampler(self) -> Any:
        """The model's config for sampling while training."""
        return self.family.sampling(self.family.training(self.config.model, compute_dtype(self.config)))

    def plain(self) -> Any:
        """The model's config without the run-time options of training: what is exported."""
        return self.family.sampling(self.config.model)


def compute_dtype(config: TrainConfig) -> str:
    """The dtype of matrix products: what the config says, or bfloat16 on an accelerator and float32 on CPU."""
    if config.dtype != "auto":
        return config.dtype
    return "float32" if jax.default_backend() == "cpu" else "bfloat16"


def run_key(config: TrainConfig, stream: int) -> jax.Array:
    """The key of one stream of randomness; a step's key is `fold_in(run_key(config, STEP), step)`."""
    return jax.random.fold_in(draws.key(config.seed), stream)


def rules(config: TrainConfig) -> dict[str, Any]:
    """Logical axis to mesh axes: the built-in rules, overridden by the config's; unnamed axes stay whole."""
    known = {name: None for name in _names(families.of(config.model).logical_axes(config.model))}
    unknown = sorted(set(config.rules) - set(known) - set(parallel.DEFAULT_RULES))
    if unknown:
        raise ValueError(f"config {config.name!r}: rules for unknown logical axes {unknown}, expected {sorted(known)}")
    return {**known, **parallel.DEFAULT_RULES, **config.rules}


def batch_sharding(config: TrainConfig, mesh: Mesh) -> NamedSharding:
    """Examples are divided over the mesh axes of the logical axis `batch`.

    Raises:
        ValueError: the devices do not divide a micro-batch.
    """
    sharding = NamedSharding(mesh, PartitionSpec({**parallel.DEFAULT_RULES, **config.rules}["batch"]))
    micro = config.data.batch // config.accumulate
    ways = config.data.batch // sharding.shard_shape((config.data.batch,))[0] if micro else 1
    if micro % ways:
        raise ValueError(f"a micro-batch of {micro} examples cannot be divided over {ways} devices")
    return sharding


def fresh_weights(config: TrainConfig) -> dict:
    """Random weights of the config's model as a nested dict, from the run's seed."""
    return _pure(families.of(config.model).init(config.model, run_key(config, FRESH)))


def fits_start(config: TrainConfig) -> None:
    """Reads the headers of the weights that a config starts from, if it does.

    Raises:
        FileNotFoundError, ValueError: they are not there, cannot be read, or are another model's.
    """
    if config.start is not None:
        of = families.of(config.model)
        found, wanted = of.abstract(of.read_config(config.start)), of.abstract(config.model)
        _same_shapes(_pure(found), _pure(wanted), config.start)


def make(config: TrainConfig, mesh: Mesh) -> tuple[Network, State, State]:
    """The network, a fresh state laid out on the mesh, and the state's shardings (a `State` of `NamedSharding`).

    Weights that the config starts from are read here; everything random comes from the seed.
    """
    network, like, shardings = abstract(config, mesh)
    start: Any = None
    if config.start is not None:
        weights = like.params if config.lora is None else network.base
        fits_start(config)
        with _on_host(mesh):
            start = _pure(families.of(config.model).load(config.start))
        start = jax.tree.map(lambda x, to: processes.from_host(np.asarray(x, to.dtype), to.sharding), start, weights)
    state = jax.jit(functools.partial(_init, config), out_shardings=shardings)(start)
    return replace(network, base={} if config.lora is None else start), state, shardings


def abstract(config: TrainConfig, mesh: Mesh) -> tuple[Network, State, State]:
    """As `make`, with every array a `jax.ShapeDtypeStruct` that carries its sharding: nothing is allocated or read.

    The mesh may be of devices that this machine does not have (`jax.experimental.topologies`), and `config.start` need
    not exist: base weights are those of the config's model in float32.
    """
    like, weights = _weights(config, mesh)
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.float32), like)
    shape = jax.eval_shape(functools.partial(_init, config), None if config.start is None else like)
    shardings = _shardings(config, shape, weights, mesh)
    base = {} if config.lora is None else placed(like, weights)
    return Network(config, base, _layout(config, mesh)), placed(shape, shardings), shardings


def _on_host(mesh: Mesh) -> Any:
    """Weights for many devices are read into the host's memory: one device may not hold them."""
    with contextlib.suppress(RuntimeError):  # JAX_PLATFORMS may leave the CPU out
        if mesh.size > 1:
            return jax.default_device(jax.local_devices(backend="cpu")[0])
    return contextlib.nullcontext()


def _whole(config: TrainConfig, mesh: Mesh) -> bool:
    """One device holds everything, and there are no rules to check."""
    return mesh.size == 1 and not config.rules


def _layout(config: TrainConfig, mesh: Mesh) -> parallel.Layout | None:
    return None if _whole(config, mesh) else parallel.Layout.of(mesh, rules(config))


def _weights(config: TrainConfig, mesh: Mesh) -> tuple[Any, Any]:
    """Shapes and shardings of all weights of the config's model."""
    like = jax.eval_shape(lambda: fresh_weights(config))
    if _whole(config, mesh):
        return like, jax.tree.map(lambda _: NamedSharding(mesh, PartitionSpec()), like)
    return like, parallel.shardings(families.of(config.model).logical_axes(config.model), mesh, rules(config), like)


def _init(config: TrainConfig, start: Any) -> State:
    """The first state, from given weights or from the seed; pure."""
    params = fresh_weights(config) if start is None else start
    if config.lora is not None:
        spec = config.lora
        params = lora.init(start, run_key(config, ADAPTER), rank=spec.rank, patterns=spec.patterns or ())
    tx, _ = optim.of(config.optim, config.steps)
    return update.start(params, tx, average=config.ema.decay > 0)


def _shardings(config: TrainConfig, shape: State, weights: Any, mesh: Mesh) -> State:
    whole = NamedSharding(mesh, PartitionSpec())
    if _whole(config, mesh):
        return jax.tree.map(lambda _: whole, shape)
    params = weights if config.lora is None else jax.tree.map(lambda _: whole, shape.params)
    average = params if jax.tree.leaves(shape.ema) else {}
    return State(whole, params, average, _like_params(shape.optimizer, shape.params, params, whole))


def placed(shapes: Any, shardings: Any) -> Any:
    """Shapes that say where they would lie."""
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings)


@functools.lru_cache(maxsize=8)
def _graph(model: Any, layout: parallel.Layout | None) -> Any:
    return nnx.split(families.of(model).abstract(model, layout))[0]


def _pure(module: Any) -> dict:
    return nnx.to_pure_dict(nnx.split(module)[1])


def _names(axes: Any) -> set[str]:
    leaves = jax.tree.leaves(axes, is_leaf=lambda x: isinstance(x, tuple))
    return {name for leaf in leaves for name in leaf if name is not None}


def _same_shapes(found: Any, expected: Any, path: str) -> None:
    shapes = lambda tree: {path_name(p): tuple(x.shape) for p, x in jax.tree_util.tree_leaves_with_path(tree)}
    a, b = shapes(found), shapes(expected)
    if a != b:
        name = sorted(k for k in {*a, *b} if a.get(k) != b.get(k))[0]
        raise ValueError(f"{path}: {name} is {a.get(name, 'missing')}, the config's model has {b.get(name, 'none')}")


def _like_params(tree: Any, params: Any, shardings: Any, other: Any) -> Any:
    """Shardings for optimiser state: moments lie where their parameter lies, counters everywhere.

    A moment is recognised by its path, which ends in the parameter's path, and by its shape.
    """
    known = {}
    for (path, leaf), s in zip(jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(shardings), strict=True):
        known[path_name(path)] = (leaf.shape, s)

    def place(path, leaf):
        names = path_name(path).split(".")
        for start in range(len(names)):
            shape, s = known.get(".".join(names[start:]), (None, None))
            if shape == leaf.shape:
                return s
        return other

    return jax.tree_util.tree_map_with_path(place, tree)
