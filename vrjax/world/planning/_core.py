"""What all planners share: how candidates are judged, what is counted, and the loop of iterations.

A planner is a `Method` of pure functions `(init, step)` over a search of inputs, which the files of this folder make.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Key

from vrjax.flow import words
from vrjax.parallel import over_seeds
from vrjax.world.protocol import State, World
from vrjax.world.rollouts import rollout

Cost = Callable[..., Any]
"""`cost(decoded, *args) -> scalar`, pure: `decoded` is what the world's `decode` says after each step, in time."""
BACKWARD = 2
"""Model calls that one step costs backward, beside the one forward: a reverse pass takes about twice the operations."""


class Planned(NamedTuple):
    """What planning returns.

    Attributes:
        inputs: (horizon, ...) the best candidate that was seen, in the world's range.
        cost: () its cost, under the chance of the iteration that saw it; infinite where no candidate was finite.
        history: (iterations,) the best cost so far.
        finite: (iterations,) the share of candidates whose cost was finite.
        calls: () int32, calls of the model's `step` in all, see `calls`.
    """

    inputs: Any
    cost: Any
    history: Any
    finite: Any
    calls: Any

    __repr__ = words.line


class Judge(NamedTuple):
    """How a method looks at candidates; both take (n, horizon, ...) and the key of the iteration.

    All candidates of an iteration meet the same chance (common random numbers), so that they differ by their inputs
    alone; another iteration meets another.

    Attributes:
        costs: (n,) of candidates, infinite where they are not finite.
        descent: the same, with the gradients, zero where cost or gradient is not finite.
        low, high: the range of inputs; a method keeps what it proposes within.
    """

    costs: Callable[[Any, Any], Any]
    descent: Callable[[Any, Any], tuple[Any, Any]]
    low: float
    high: float


class Best(NamedTuple):
    """The best candidate so far."""

    inputs: Any
    cost: Any

    def among(self, inputs: Any, costs: Any) -> "Best":
        """The best of this one and those; of equals, the older."""
        at = jnp.argmin(costs)
        better = costs[at] < self.cost
        return Best(jnp.where(better, inputs[at], self.inputs), jnp.where(better, costs[at], self.cost))


class Method(NamedTuple):
    """A planner.

    Attributes:
        init: `init(start (horizon, ...), key) -> carry`.
        step: `step(judge, carry, best, key) -> (carry, best, share of finite candidates)`: one iteration.
        calls: model calls of one iteration, per step of the horizon.
    """

    init: Callable[[Any, Any], Any]
    step: Callable[[Judge, Any, Best, Any], tuple[Any, Best, Any]]
    calls: int


def judge(w: World, state: State, cost: Cost, args: tuple, mesh: Mesh | None) -> Judge:
    """Candidates judged by rollouts through `w` from `state`.

    With a mesh, those whose number its axis "seed" divides are spread over it; the others, such as a few elites, are
    looked at by every device.
    """
    space = w.inputs["action"]

    def one(inputs, key, rest):
        w, state, args = rest
        _, history = rollout(w, state, inputs, key, record=("decoded",))
        found = jnp.asarray(cost(history.decoded, *args), jnp.float32)
        if found.shape:
            raise ValueError(f"cost: found a value of shape {found.shape}, expected a scalar")
        return found

    def each(fn, inputs, key):
        rest = (w, state, args)
        if mesh is None or len(inputs) % mesh.shape["seed"]:
            return jax.vmap(fn, (0, None, None))(inputs, key, rest)
        at_seed = lambda _, inputs, key, rest: fn(inputs[lax.axis_index("seed")], key, rest)
        keys = jax.random.split(key, len(inputs))  # their number says how many there are; chance is common
        return over_seeds(at_seed, keys, "mesh", args=(inputs, key, rest), mesh=mesh)

    def costs(inputs, key):
        found = each(one, inputs, key)
        return jnp.where(jnp.isfinite(found), found, jnp.inf)

    def descent(inputs, key):
        found, slope = each(jax.value_and_grad(one), inputs, key)
        fine = jnp.isfinite(found) & jnp.all(jnp.isfinite(slope), range(1, slope.ndim))
        wide = fine.reshape(-1, *[1] * (slope.ndim - 1))
        return jnp.where(jnp.isfinite(found), found, jnp.inf), jnp.where(wide, slope, 0.0)

    return Judge(costs, descent, space.low, space.high)


def search(judge: Judge, method: Method, start: Any, key: Key[Array, ""], iterations: int) -> Planned:
    """The loop: `iterations` steps of a method from `start`."""
    first, later = jax.random.split(key)

    def one(carry, key):
        inner, best = carry
        inner, best, finite = method.step(judge, inner, best, key)
        return (inner, best), (best.cost, finite)

    begin = (method.init(start, first), Best(start, jnp.array(jnp.inf)))
    (_, best), (history, finite) = lax.scan(one, begin, jax.random.split(later, iterations))
    calls = jnp.array(method.calls * iterations * len(start), jnp.int32)
    return Planned(best.inputs, best.cost, history, finite, calls)


class Moments(NamedTuple):
    """Of Adam: running means of slopes and of their squares, and how many there were."""

    mean: Any
    square: Any
    steps: Any


def still(x: Any) -> Moments:
    """Before the first step."""
    return Moments(jnp.zeros_like(x), jnp.zeros_like(x), jnp.zeros(()))


def adam(judge: Judge, x: Any, slope: Any, moments: Moments, rate: Any) -> tuple[Any, Moments]:
    """One step of Adam (Kingma & Ba 2015; decay 0.9 and 0.99), clipped to the range."""
    t = moments.steps + 1
    mean, square = 0.9 * moments.mean + 0.1 * slope, 0.99 * moments.square + 0.01 * slope**2
    size = (mean / (1 - 0.9**t)) / (jnp.sqrt(square / (1 - 0.99**t)) + 1e-8)
    return jnp.clip(x - rate * size, judge.low, judge.high), Moments(mean, square, t)


def propose(judge: Judge, mean: Any, std: Any, key: Any, candidates: int) -> Any:
    """Normal candidates within the range, the first of them the mean itself."""
    noise = jax.random.normal(key, (candidates, *mean.shape)).at[0].set(0.0)
    return jnp.clip(mean + std * noise, judge.low, judge.high)
