"""A family as small as one can be: an MLP-mixer on latents that is told where to go by a vector, `goal`."""

import dataclasses
import json
import pathlib
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vrjax import flow
from vrjax.files import records, tensors
from vrjax.models import family
from vrjax.models.blocks import axes, stack
from vrjax.models.blocks import sites as named
from vrjax.models.blocks.layers import Linear, layer_norm, sinusoid
from vrjax.parallel.layout import place

PARTS = ("", ".across", ".ffn")


@dataclasses.dataclass(frozen=True)
class Config:
    """Shape of a mixer: it mixes a fixed number of tokens, the cells of its latents."""

    family: ClassVar[str] = "toy"
    TARGETS = MUON = (r"(^|\.)blocks\..*kernel$",)
    GUIDED = ("goal",)
    latent: tuple[int, ...] = (2, 4, 4, 3)
    goal: int = 5
    dim: int = 16
    layers: int = 2
    dtype: str = "float32"


class Mix(nnx.Module):
    """One block: across tokens, then within each."""

    def __init__(self, cfg, key):
        keys, n = jax.random.split(key, 3), tokens(cfg, cfg.latent)
        sizes = (n, n), (cfg.dim, 2 * cfg.dim), (2 * cfg.dim, cfg.dim)
        made = [Linear(nnx.initializers.xavier_uniform(), key, *size) for key, size in zip(keys, sizes, strict=True)]
        self.across, self.ffn_in, self.ffn_out = made

    def __call__(self, cfg, h, visit):
        h = h + visit(".across", self.across(layer_norm(h, 1e-6).T, cfg.dtype).T)
        wide = jax.nn.gelu(self.ffn_in(layer_norm(h, 1e-6), cfg.dtype))
        return visit("", h + visit(".ffn", self.ffn_out(wide, cfg.dtype)))


class Mixer(nnx.Module):
    """The network."""

    def __init__(self, cfg, key, layout=None):
        self.cfg, self.layout, keys = cfg, layout, jax.random.split(key, 5)
        make = lambda i, n_in, n_out: Linear(nnx.initializers.xavier_uniform(), keys[i], n_in, n_out)
        self.cells, self.goal, self.time = (make(i, n, cfg.dim) for i, n in enumerate((cfg.latent[-1], cfg.goal, 8)))
        self.blocks = jax.vmap(lambda key: Mix(cfg, key))(jax.random.split(keys[3], cfg.layers))
        self.out = make(4, cfg.dim, cfg.latent[-1])

    def __call__(self, x, time, goal, taps, edits):
        cfg, found, out = self.cfg, named.Sites(taps, edits, self.cfg.layers, PARTS), {}
        when = self.time(sinusoid(jnp.asarray(time, jnp.float32).reshape(1), 8), cfg.dtype)
        h = self.cells(x.reshape(-1, x.shape[-1]), cfg.dtype) + self.goal(jnp.asarray(goal), cfg.dtype) + when
        h = found.embed(place(self.layout, h, "tokens", None), out)
        run = lambda h, block, visit: block(cfg, h, visit)
        h, inside = stack.run(run, h, self.blocks, found, unroll=False, remat="none")
        return flow.Prediction(self.out(h, "float32").reshape(x.shape), out | inside)


init = Mixer
abstract = lambda cfg, layout=None: jax.eval_shape(lambda: Mixer(cfg, jax.random.key(0), layout))
training = lambda cfg, dtype: dataclasses.replace(cfg, dtype=dtype)
sampling = lambda cfg: cfg
conditions = lambda cfg, latent: {"goal": (cfg.goal,)}
predict = lambda model, x, level, conditions: velocity(model, conditions)(x, level)
channels = lambda cfg: cfg.latent[-1]
tokens = lambda cfg, latent: latent[0] * latent[1] * latent[2]
needs = lambda cfg, latent: family.Needs(layers=cfg.layers, dim=cfg.dim, inner=2 * cfg.dim, heads=1)
save_adapters = lambda adapters, path, *, alpha: _write(path, adapters, alpha=str(alpha))
sites = lambda cfg: named.names(cfg.layers, PARTS)


def velocity(model, conditions, *, taps={}, edits={}):  # noqa: B006
    return lambda x, level: model(x, level.time, conditions["goal"], taps, edits)


def guided(model, conditions, negative, scale, *, renorm=None, taps={}, edits={}):  # noqa: B006
    other = velocity(model, {**conditions, **negative}, edits=edits)
    return flow.cfg(velocity(model, conditions, taps=taps, edits=edits), other, scale, renorm=renorm)


def flops(cfg, latent):
    n = tokens(cfg, latent)
    return 2 * n * cfg.dim * (2 * latent[-1] + cfg.layers * (n + 4 * cfg.dim))


def logical_axes(cfg):
    own = {"across": (None, None), "out": ("embed", None), **dict.fromkeys(("cells", "goal", "time"), (None, "embed"))}
    leaves = (((name, leaf), value) for name, v in own.items() for leaf, value in (("kernel", v), ("bias", v[1:])))
    return axes.named(abstract(cfg), tuple(leaves))


def save(model, folder):
    (file := pathlib.Path(folder) / "model.safetensors").parent.mkdir(parents=True, exist_ok=True)
    _write(file, model, config=json.dumps(dataclasses.asdict(model.cfg)))


def _write(path, tree, **metadata):
    arrays = {jax.tree_util.keystr(at): np.asarray(leaf) for at, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    tensors.write(path, {name: (x.shape, x.dtype) for name, x in arrays.items()}, arrays.values(), metadata)


def read_config(path):
    source = tensors.read(pathlib.Path(path) / "model.safetensors")
    return records.from_dict(Config, json.loads(source.metadata["config"]), str(path))


def load(path):
    source, like = tensors.read(pathlib.Path(path) / "model.safetensors"), abstract(read_config(path))
    return jax.tree_util.tree_map_with_path(lambda at, _: jnp.asarray(source[jax.tree_util.keystr(at)]), like)
