"""Two worlds whose every number is known: what an action does is read off the next frame, or minimised by hand."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.world import Space, World


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
