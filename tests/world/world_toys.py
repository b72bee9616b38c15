"""Two worlds whose every number is known: what an action does is read off the next frame, or minimised by hand; and
a learned one and a pipeline's, of the sizes that tests can afford, that have learned nothing."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vrjax.models.causal import CausalConfig, CausalDiT
from vrjax.models.settings import Settings
from vrjax.models.wan import WanConfig, WanDiT
from vrjax.world import Space, World, adapter, learned
from vrjax.world.adapter import samplers
from vrjax.world.learned import patches, reader


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Echo(World):
    """The State is the last action, and the picture is filled with it: what is off by one step shows at once."""

    inputs = {"action": Space((2,), -1.0, 1.0)}
    frame = (2, 2, 3)

    def encode(self, observation, key):
        return jnp.asarray(observation["shown"], jnp.float32)

    def decode(self, state):
        return {"shown": state}

    def make(self, key):
        return jnp.zeros(2)

    def _step(self, state, inputs, key):
        return inputs

    def _render(self, state, camera):
        return jnp.broadcast_to(jnp.append(state, 0.0), self.frame)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Line(World):
    """A point in the plane, moved by half of each action. `noise` scales a normal kick per step, `count` is called on
    the host, with anything, for every step that is taken."""

    noise: Any = 0.0
    count: Any = dataclasses.field(default=None, metadata=dict(static=True))

    inputs = {"action": Space((2,), -1.0, 1.0)}
    frame = (1, 1, 3)

    def encode(self, observation, key):
        return jnp.asarray(observation["x"], jnp.float32)

    def decode(self, state):
        return {"x": state}

    def make(self, key):
        return jnp.zeros(2)

    def _step(self, state, inputs, key):
        if self.count is not None:
            jax.debug.callback(self.count, state + inputs)  # of something mapped: else it is called once for all
        return state + 0.5 * inputs + self.noise * jax.random.normal(key, (2,))

    def _render(self, state, camera):
        return jnp.zeros(self.frame)


WEIGHT = 0.1


def quadratic(decoded, target):
    """Squared distance of the last point to the target, and WEIGHT times the squared steps on the way."""
    x = decoded["x"]
    steps = jnp.diff(x, axis=0, prepend=jnp.zeros((1, 2)))
    return jnp.sum((x[-1] - target) ** 2) + WEIGHT * jnp.sum(steps**2)


def optimum(target, horizon):
    """Its minimum from the origin without noise and limits: equal steps s with `(h s - target) + WEIGHT s = 0`.

    Returns the actions (horizon, 2), which are twice the steps, and the cost.
    """
    step = np.asarray(target) / (horizon + WEIGHT)
    cost = np.sum((horizon * step - target) ** 2) + WEIGHT * horizon * np.sum(step**2)
    return np.tile(2 * step, (horizon, 1)), float(cost)


NETWORK = CausalConfig(
    dim=24, ffn_dim=32, heads=4, layers=2, in_channels=6, out_channels=6, patch=(1, 1, 1), freq_dim=8, text_len=0,
    action=2, chunk=1, window=3, positions="relative", gate_init=1.0,
)  # fmt: skip
SPEC = learned.Spec(world="push", options=(("blocks", 1), ("walls", 0)))


def untrained(seed=0, spec=SPEC, cfg=NETWORK):
    """A learned pushing world with random weights; frames are of 16 tokens, places are read at random."""
    dit = CausalDiT(cfg, rngs=nnx.Rngs(seed))
    dit.head.kernel = nnx.Param(0.3 * jax.random.normal(jax.random.key(seed), dit.head.kernel.shape))
    frames = np.random.default_rng(0).uniform(-1, 1, (8, 16, 16, 3))
    squares, _ = patches.fit(frames, 4, cfg.in_channels)
    return learned.assembled(dit, squares, reader.init(jax.random.key(seed + 1), 3, 6), spec)


class Adapted(adapter.Adapter):
    """An adapter that begins with a picture of noise."""

    def make(self, key):
        return self.encode(jax.random.uniform(key, self.frame, minval=-1.0, maxval=1.0))


jax.tree_util.register_dataclass(Adapted, ["parts", "home"], ["sampler", "say", "read"])


def adapted():
    """Clips of three frames of 8 x 8 pixels, two steps of an untrained network; blocks of two pixels are read."""
    cfg = WanConfig(
        dim=12, ffn_dim=16, heads=2, layers=1, in_channels=7, out_channels=3, patch=(1, 2, 2), freq_dim=8, text_dim=4,
        text_len=2, gate_init=1.0,
    )  # fmt: skip
    dit = WanDiT(cfg, rngs=nnx.Rngs(0))
    dit.head.kernel = nnx.Param(0.3 * jax.random.normal(jax.random.key(0), dit.head.kernel.shape))
    settings = Settings(2, 3.0, (1.0,), (8, 8), 3, 4, None, "euler", "shifted")
    sampler = samplers.Sampler(settings, (3, 4, 4, 3), "blocks", (1, 2), (2, 4))
    say = lambda texts: np.ones((len(texts), 2, 4), np.float32)
    read = lambda frames: {"shade": frames.mean((1, 2, 3))}
    return Adapted(samplers.Parts((dit,), None, None), None, sampler, say, read)
