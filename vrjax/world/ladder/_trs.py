"""The survey's three questions of a condition, as numbers: Temporality, content Independence (R), Spatial reasoning.

    numbers = trs(way, reordered, other, transplanted, wished)

All arguments are displacements of the agent since the beginning, (runs, steps, d), in one order of runs:
`way` under a request, `reordered` under the same wishes in another order, `other` under another run's request in the
same scene, `transplanted` under the same request in another scene, `wished` what the request itself asks for.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.world import protocol
from vrjax.world.ladder._core import far

T, R, S = 0.2, 0.7, 0.7
"""From which number on a condition has the property; starting values of ours."""


class Trs(NamedTuple):
    """T: how far apart two orders of the same wishes lead, over how far two requests do; R, S: correlations."""

    T: float
    R: float
    S: float

    @property
    def marks(self) -> tuple[bool, bool, bool]:
        """Which of the three it has; what is not a number it has not."""
        return self.T >= T, self.R >= R, self.S >= S


def correlation(a: Any, b: Any) -> float:
    """Pearson's, of all numbers about their common zero, which is the beginning; NaN where either does not move."""
    a, b = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm > 1e-9 else float("nan")


def trs(way: Any, reordered: Any, other: Any, transplanted: Any, wished: Any) -> Trs:
    """The three numbers, see the file."""
    apart = far(way, other).mean()
    order = float(far(way, reordered).mean() / apart) if apart > 1e-9 else float("nan")
    return Trs(order, correlation(way, transplanted), correlation(way, wished))


def request(number: int, steps: int, reordered: bool = False) -> np.ndarray:
    """Moves (steps, 2) of two straight pieces at a right angle, of half of the steps each, the second first where
    `reordered`; all eight pairs of directions come in turn."""
    ways = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], np.float32)
    first = number % 4
    pair = (first, (first + (1 if number % 8 < 4 else 3)) % 4)
    return np.repeat(ways[list(pair[::-1] if reordered else pair)], steps // 2, 0)


def measured(subject: Any, kind: str, states: Any, runs: int, part: int) -> Trs:
    """The three numbers of one kind of input of a world.

    Args:
        subject: a `Subject`.
        kind: of input.
        states: of the truth, one a run, with free way about the agent.
        runs: how many requests.
        part: of the key.
    """
    facts, own = subject.facts, np.arange(runs)
    away = np.roll(own, 3)  # another request, and a scene that is another one
    scenes, said = np.concatenate([own, own, own, away]), np.concatenate([own, own, away, own])
    states = jax.tree.map(lambda a: jnp.asarray(a)[scenes], states)
    host = jax.tree.map(np.asarray, states)
    told = [
        asked(facts, kind, number, runs <= i < 2 * runs, jax.tree.map(lambda a, i=i: a[i], host))
        for i, number in enumerate(said)
    ]
    inputs = jax.tree.map(lambda *a: jnp.stack(a), *(inputs for inputs, _ in told))
    found = jax.tree.map(np.asarray, subject.play(states, inputs, part))
    relative = getattr(facts, "relative", lambda first, path: path - np.asarray(facts.agent(first)))
    ways = []
    for i in range(len(said)):
        first, decoded = (jax.tree.map(lambda a, i=i: a[i], one) for one in (found.first, found.decoded))
        ways.append(relative(first, np.asarray(jax.vmap(facts.agent)(decoded), np.float64)))
    ways = np.stack(ways).reshape(4, runs, -1, 2)
    way, reordered, other, transplanted = ways
    return trs(way, reordered, other, transplanted, np.stack([wished for _, wished in told[:runs]]))


def asked(facts: Any, kind: str, number: Any, reordered: bool, state: Any) -> tuple[Any, np.ndarray]:
    """Inputs of one request, in its order or the other, and the way that it asks for (steps, 2)."""
    if hasattr(facts, "requested"):
        return facts.requested(kind, int(number), reordered, state)
    moves = request(int(number), facts.REQUEST, reordered)
    inputs = facts.asked(kind, moves, state)
    return protocol.repeat(inputs, len(moves)) if kind == "instruction" else inputs, np.cumsum(moves, 0)
