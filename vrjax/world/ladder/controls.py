"""Negative controls: an exact world with one thing wrong, by name. A check that a control passes has not looked.

    w = controls.get("frozen", truth)           # behind the protocol, as any world
    controls.names()

| name | what is wrong |
| --- | --- |
| frozen | shows its first state for ever |
| elsewhere | begins in another scene than the one that was observed |
| ignored | nothing is done, whatever the input |
| delayed | does what was to be done one step before |
| shuffled | shows the last four states out of order |
| blurred | pictures are blurred |
| flat | all cameras show what the first one shows |
| swimming | all bodies move as the agent does |
| forgetful | what is out of sight is gone for good |
| drifting | all that is shown slides away, step by step |
| ghostly | the agent walks through everything, and nothing yields |
| slow | each step takes longer than a frame may |
| sure | the same coins fall in every run |
| biased | coins fall for the rarer face half as often again (exact worlds with a `slip`) |
| fateful | its coins hang on what is done |
| deaf | events do not happen |
| late | events show eight steps later |
| shaken | an event moves everything |
| elastic | two half steps are not one |
| retrieval | replays the nearest of some kept episodes |
| restless | draws from the host beside the key |

All but the last two of that table are one type, `Faulty`, whose faults are numbers: worlds with other faults share
one compiled program, and without a fault it is the world itself.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from vrjax.files import named
from vrjax.world.exact import Exact
from vrjax.world.ladder import facts as kinds
from vrjax.world.protocol import Instruction, Waypoint, World, kind, step_key
from vrjax.world.rollouts import rollout

AMOUNTS = {
    "frozen": 1.0,
    "elsewhere": 1.0,
    "ignored": 1.0,
    "delayed": 1.0,
    "shuffled": 1.0,
    "blurred": 1.0,
    "flat": 1.0,
    "swimming": 1.0,
    "forgetful": 1.0,
    "drifting": 0.04,
    "ghostly": 1.0,
    "slow": 40000.0,
    "sure": 1.0,
    "fateful": 1.0,
    "deaf": 1.0,
    "late": 8.0,
    "shaken": 1.0,
    "elastic": 5.0,
}
"""How much of each fault a control has; drift is in tolerances of a place per step, "late" in steps."""
BIAS = 1.5
LAGS = (0, 3, 1, 2)
EPISODES, LENGTH = 16, 40
NOWHERE = -1000.0
"""Where bodies are put that are gone; worlds of cells clip it to a corner of the wall."""


def names() -> tuple[str, ...]:
    """The controls that exist."""
    return (*AMOUNTS, "biased", "retrieval", "restless")


def get(name: str, truth: Any) -> World:
    """The control called `name` of an exact world.

    Raises:
        ValueError: there is none of that name; a biased coin of a world without a `slip`.
    """
    if name not in names():
        raise ValueError(named.unknown("control", name, names()))
    if name == "retrieval":
        return retrieval(truth)
    if name == "restless":
        return Restless(truth, kinds.get(truth.name))
    if name == "biased":
        if not hasattr(truth, "slip"):
            raise ValueError(f"{truth.name}: has no slip to be biased")
        return faulty(dataclasses.replace(truth, slip=jnp.minimum(BIAS * truth.slip, 1.0)))
    return faulty(truth, **{name: AMOUNTS[name]})


def faulty(truth: Exact, **amounts: float) -> "Faulty":
    """The exact world with faults of these amounts; of none, the world itself."""
    elsewhere = jax.jit(truth.make)(jax.random.key(77))
    told = {name: jnp.float32(amounts.get(name, 0.0)) for name in AMOUNTS}
    return Faulty(truth, told, elsewhere, kinds.get(truth.name))


class State(NamedTuple):
    """now: of the inner world. shown: what is decoded and drawn. first, past (4, ...): shown earlier. gone (n,): bodies
    that are forgotten. last: the action before this one. held: steps for which an event does not show. time ()."""

    now: Any
    shown: Any
    first: Any
    past: Any
    gone: Any
    last: Any
    held: Any
    time: Any


class _Around(World):
    """What a wrapper has of the world within."""

    inner: Any

    @property
    def name(self) -> str:
        return f"{type(self).__name__.lower()} {self.inner.name}"

    @property
    def inputs(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.inputs

    @property
    def frame(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.frame

    @property
    def cameras(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.cameras

    @property
    def events(self):
        return self.inner.events

    @property
    def frames_a_step(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.frames_a_step


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Faulty(_Around):
    """An exact world with faults, each a number of `AMOUNTS`; 0 is none of it."""

    inner: Any
    faults: Any
    elsewhere: Any
    facts: Any = dataclasses.field(metadata=dict(static=True))

    @property
    def dt(self):
        """The inner world's, where it has one."""
        return self.inner.dt

    @property
    def slip(self):
        """The inner world's, where it has one."""
        return self.inner.slip

    def _has(self, name):
        return self.faults[name] > 0

    def _either(self, name, wrong, right):
        return jax.tree.map(lambda a, b: jnp.where(self._has(name), a, b), wrong, right)

    def encode(self, observation, key):
        state = self._either("elsewhere", self.elsewhere, self.inner.encode(observation, key))
        others = self.facts.others(self.inner.decode(state))
        past = jax.tree.map(lambda a: jnp.broadcast_to(a, (len(LAGS), *jnp.shape(a))), state)
        none = jnp.zeros((), jnp.int32)
        return State(state, state, state, past, jnp.zeros(len(others), bool), self._rest(), none, none)

    def _rest(self):
        return jnp.asarray(self.facts.rest(), jnp.float32)

    def decode(self, state):
        return self.inner.decode(state.shown)

    def _inputs(self, state, inputs):
        """What is done instead of what was said, and what is kept of it for the next step."""
        if kind(inputs) == "trajectory":
            here = self.facts.agent(self.inner.decode(state.now))
            return Waypoint(jnp.where(self._has("ignored"), here, inputs.position)), state.last
        if kind(inputs) == "instruction":
            return Instruction(jnp.where(self._has("ignored"), 0, inputs.code)), state.last
        done = jnp.where(self._has("delayed"), state.last, inputs)
        return jnp.where(self._has("ignored"), self._rest(), done), inputs

    def _chance(self, state, inputs, key):
        told = jnp.stack([jnp.sum(leaf.astype(jnp.float32)) for leaf in jax.tree.leaves(inputs)]).sum()
        moved = jax.random.fold_in(key, lax.bitcast_convert_type(told, jnp.int32))
        data = jnp.where(self._has("fateful"), jax.random.key_data(moved), jax.random.key_data(key))
        # Among keys of few steps one would draw the same face again and again: any step's key will do.
        fixed = jax.random.key_data(step_key(jax.random.key(5), state.time))
        return jax.random.wrap_key_data(jnp.where(self._has("sure"), fixed, data), impl=jax.random.key_impl(key))

    def _step(self, state, inputs, key):
        facts, inner = self.facts, self.inner
        done, last = self._inputs(state, inputs)
        if hasattr(inner, "dt"):
            inner = dataclasses.replace(inner, dt=inner.dt * (1 + self.faults["elastic"] * inner.dt))
        before = inner.decode(state.now)
        after = inner.step(state.now, done, self._chance(state, inputs, key))
        told = inner.decode(after)
        agent, others = facts.agent(told), facts.others(told)
        here, there = facts.agent(before), facts.others(before)
        others = others + self.faults["swimming"] * (agent - here)
        if kind(inputs) == "action":
            agent = jnp.where(self._has("ghostly"), self._ghost(here, done), agent)
            others = jnp.where(self._has("ghostly"), there, others)
        touched = self._has("swimming") | self._has("ghostly")
        now = jax.tree.map(lambda a, b: jnp.where(touched, a, b), facts.put(after, agent, others), after)
        time = state.time + 1
        past = jax.tree.map(lambda new, old: jnp.concatenate([new[None], old[:-1]]), now, state.past)
        lag = jnp.array(LAGS)[time % len(LAGS)]
        shown = self._either("shuffled", jax.tree.map(lambda a: a[lag], past), now)
        gone = state.gone | ~facts.seen(inner.decode(now)) if hasattr(facts, "seen") else state.gone
        shown = self._slide(shown, time, gone)
        shown = jax.tree.map(lambda a, b: jnp.where(state.held > 0, a, b), state.shown, shown)
        shown = self._either("frozen", state.first, shown)
        return State(now, self._busy(shown), state.first, past, gone, last, jnp.maximum(state.held - 1, 0), time)

    def _ghost(self, here, action):
        return here + jnp.clip(action, -1, 1)[: here.shape[-1]]

    def _slide(self, shown, time, gone):
        """Drift, and what is forgotten put where nothing is."""
        told = self.inner.decode(shown)
        agent, others = self.facts.agent(told), self.facts.others(told)
        slid = self.faults["drifting"] * self.facts.TOLERANCE * time
        nowhere = jnp.where((self._has("forgetful") & gone)[:, None], NOWHERE, others + slid)
        wrong = self.facts.put(shown, agent + slid, nowhere)
        touched = self._has("drifting") | self._has("forgetful")
        return jax.tree.map(lambda a, b: jnp.where(touched, a, b), wrong, shown)

    def _busy(self, shown):
        """Products that nobody needs but that no compiler may leave out."""
        leaf = jax.tree.leaves(shown)[0]
        seed = lax.stop_gradient(jnp.full((48, 48), 0.01) + 1e-6 * jnp.sum(leaf).astype(jnp.float32))
        turns = self.faults["slow"].astype(jnp.int32)
        worked = lax.fori_loop(0, turns, lambda _, a: jnp.tanh(a @ a), seed)
        leaves, tree = jax.tree.flatten(shown)
        spoilt = jnp.where(jnp.isnan(worked[0, 0]), jnp.zeros_like(leaves[0]), leaves[0])
        return jax.tree.unflatten(tree, [spoilt, *leaves[1:]])

    def _render(self, state, camera):
        return self._shown(state, camera, self.inner.render)

    def _film(self, state, camera):
        return self._shown(state, camera, self.inner.film)

    def _shown(self, state, camera, look):
        picture = look(state.shown, camera)
        if camera != self.cameras[0]:
            picture = jnp.where(self._has("flat"), look(state.shown, self.cameras[0]), picture)
        return jnp.where(self._has("blurred"), blur(picture), picture)

    def _happen(self, state, event):
        after = self.inner.happen(state.now, event)
        told = self.inner.decode(after)
        moved = self.facts.put(after, self.facts.agent(told) + 1.0, self.facts.others(told) + 1.0)
        after = self._either("shaken", moved, after)
        now = self._either("deaf", state.now, after)
        held = self.faults["late"].astype(jnp.int32)
        shown = jax.tree.map(lambda a, b: jnp.where(held > 0, a, b), state.shown, now)
        return state._replace(now=now, shown=shown, held=held)


def blur(picture):
    """A picture (..., h, w, 3) under the binomial filter (1 2 1) / 4 along both axes, its edge repeated."""
    wide = jnp.pad(picture, [(0, 0)] * (picture.ndim - 3) + [(1, 1), (1, 1), (0, 0)], mode="edge")
    rows = (wide[..., :-2, :, :] + 2 * wide[..., 1:-1, :, :] + wide[..., 2:, :, :]) / 4
    return (rows[..., :-2, :] + 2 * rows[..., 1:-1, :] + rows[..., 2:, :]) / 4


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Retrieval(_Around):
    """Replays the kept episode whose first state is nearest to what was observed: sharp, and blind to inputs and to
    events."""

    inner: Any
    episodes: Any
    facts: Any = dataclasses.field(metadata=dict(static=True))

    def _happen(self, state, event):
        return state

    def encode(self, observation, key):
        def places(decoded):
            bodies = [self.facts.agent(decoded)[None], self.facts.others(decoded)]
            return jnp.concatenate(bodies).astype(jnp.float32)

        like = getattr(self.facts, "likeness", places)
        asked = like(self.inner.decode(self.inner.encode(observation, key)))
        first = jax.tree.map(lambda a: a[:, 0], self.episodes)
        gaps = jax.vmap(lambda state: jnp.sum((like(self.inner.decode(state)) - asked) ** 2))(first)
        return jnp.stack([jnp.argmin(gaps), 0]).astype(jnp.int32)

    def _at(self, state):
        return jax.tree.map(lambda a: a[state[0], state[1]], self.episodes)

    def decode(self, state):
        return self.inner.decode(self._at(state))

    def _step(self, state, inputs, key):
        last = jax.tree.leaves(self.episodes)[0].shape[1] - 1
        return jnp.stack([state[0], jnp.minimum(state[1] + 1, last)])

    def _render(self, state, camera):
        return self.inner.render(self._at(state), camera)

    def _film(self, state, camera):
        return self.inner.film(self._at(state), camera)


def retrieval(truth: Exact, episodes: int = EPISODES, steps: int = LENGTH) -> Retrieval:
    """The control of that name, from so many episodes of random inputs; their first states are kept too."""
    facts = kinds.get(truth.name)
    truth = facts.library(truth) if hasattr(facts, "library") else truth
    steps = min(steps, getattr(facts, "STEPS", steps))

    @jax.jit
    @jax.vmap
    def record(key):
        start, act, run = jax.random.split(key, 3)
        state = truth.make(start)
        _, history = rollout(truth, state, facts.act(act, state, steps), run, record=("states",))
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), state, history.states)

    return Retrieval(truth, record(jax.random.split(jax.random.key(55), episodes)), facts)


_HOST = np.random.default_rng(0)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Restless(_Around):
    """Kicks all bodies by draws of the host, which no key decides."""

    inner: Any
    facts: Any = dataclasses.field(metadata=dict(static=True))

    def encode(self, observation, key):
        return self.inner.encode(observation, key)

    def decode(self, state):
        return self.inner.decode(state)

    def _step(self, state, inputs, key):
        after = self.inner.step(state, inputs, key)
        told = self.inner.decode(after)
        agent = self.facts.agent(told)
        draw = lambda place: np.asarray(_HOST.integers(-1, 2, np.shape(place)), np.float32)
        kick = jax.pure_callback(draw, jax.ShapeDtypeStruct(agent.shape, jnp.float32), agent, vmap_method="expand_dims")
        return self.facts.put(after, agent + kick, self.facts.others(told))

    def _happen(self, state, event):
        return self.inner.happen(state, event)

    def _render(self, state, camera):
        return self.inner.render(state, camera)

    def _film(self, state, camera):
        return self.inner.film(state, camera)
