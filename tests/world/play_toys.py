"""Two cars of a few numbers each: an exact one, and one that samples its frames and slides; and sessions of them."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vrjax.world import Space, World
from vrjax.world.exact import Exact
from vrjax.world.play import Session, Side

INPUTS = {"action": Space((2,), -1.0, 1.0)}
TRACED: list[str] = []
"""A name for each time that a step was traced."""


class State(NamedTuple):
    ego: Any
    rain: Any


def moved(ego, action, grip, kick):
    """x, y, yaw, v a tick later: 4 m/s^2 at most, 0.1 s, `grip` times the turn that is asked for."""
    x, y, yaw, v = ego
    v = jnp.maximum(v + 0.4 * action[0] + kick, 0.0)
    yaw = yaw + grip * 0.1 * v * action[1]
    return jnp.stack([x + 0.1 * v * jnp.cos(yaw), y + 0.1 * v * jnp.sin(yaw), yaw, v])


def picture(ego, shape):
    return jnp.broadcast_to(jnp.tanh(jnp.stack([ego[0] / 9, ego[1] / 9, ego[2]])), shape)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Car(Exact):
    """`shake` scales a kick of the speed, drawn from the step's key."""

    shake: Any = 0.0

    inputs = INPUTS
    frame = (4, 6, 3)
    cameras = ("front", "back")
    events = ("rain",)

    def make(self, key):
        return State(jnp.append(jax.random.uniform(key, (3,)), 5.0), jnp.array(False))

    def _build(self, decoded):
        return State(**decoded)

    def _step(self, state, inputs, key):
        TRACED.append("car")
        return state._replace(ego=moved(state.ego, inputs, 1.0, self.shake * jax.random.normal(key)))

    def _render(self, state, camera):
        return (picture(state.ego, self.frame) - 0.2 * state.rain) * (1 if camera == "front" else -1)

    def _happen(self, state, event):
        return state._replace(rain=jnp.array(True))

    def success(self, state):
        raise AssertionError("a drive asks for actions alone")

    parse = _holds = success


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dream(World):
    """Begins from a picture and a place, turns less than it should, and shows three denoising steps."""

    grip: Any = 0.5

    inputs = INPUTS
    frame = (2, 3, 3)
    cameras = ("front",)

    def encode(self, observation, key):
        assert observation["frames"].shape == (1, 4, 6, 3)
        return observation["ego"]

    def decode(self, state):
        return {"ego": state}

    def _step(self, state, inputs, key):
        return moved(state, inputs, self.grip, 0.0)

    def _render(self, state, camera):
        return picture(state, self.frame)

    def frames_of_steps(self, state, camera=None):
        frame = self.render(state, camera)
        return jnp.stack([0.0 * frame, 0.5 * frame, frame])


def sides(shake=0.0, grip=0.5):
    about = {"world": "car", "shake": shake}
    return (
        Side("exact", Car(jnp.float32(shake)), about),
        Side("learned", Dream(jnp.float32(grip)), {"world": "dream", "grip": grip}),
    )


def session(seed=0, **options):
    return Session(sides(**options), seed)


def heading(action, ego):
    """The exact car in floats of Python: a reference."""
    x, y, yaw, v = ego
    v = max(v + 0.4 * action[0], 0.0)
    yaw += 0.1 * v * action[1]
    return x + 0.1 * v * math.cos(yaw), y + 0.1 * v * math.sin(yaw), yaw, v
