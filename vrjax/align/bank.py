"""A fixed bank of (noise, level) draws per pair, so that a frozen reference can be measured once, before training.

Draw k of pair i is a function of the seed, i and k: nothing but the errors is stored. The k levels of a pair are
stratified over the distribution that training uses. With the bank, a live frozen reference and the stored errors give
the same loss; what it costs is that a pair is only ever seen at its own draws.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from vrjax.train.objectives import Draw


@dataclass(frozen=True)
class Bank:
    """`draws` measurements per pair.

    Attributes:
        draws: at least 1.
        key: of all draws.
        levels: `(key, count) -> (count,)` noise levels, stratified, as training draws them.
    """

    draws: int
    key: Any
    levels: Callable[[Any, int], Any]

    def __post_init__(self):
        if self.draws < 1:
            raise ValueError(f"a bank needs at least 1 draw per pair, found {self.draws}")

    def draw(self, pair: Any, which: Any, shape: tuple[int, ...]) -> Draw:
        """Draw number `which` of pair number `pair` (both traced integers): noise of `shape` and a level."""
        level, noise = jax.random.split(jax.random.fold_in(self.key, pair))
        noise = jax.random.normal(jax.random.fold_in(noise, which), shape, jnp.float32)
        return Draw(noise, self.levels(level, self.draws)[which])
