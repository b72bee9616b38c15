"""Mean and standard deviation of the program's rows, by which a network's motions are normalised.

    normalised = rep276.normalise(rows, scale.load())

They are of the program's own body: ViMoGen's are of SMPL-X bodies. `python -m vrjax.motion.program.scale` makes the
file again: 4,000 performances of the set S, seed 0, 60 rows each.
"""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.flow import draws
from vrjax.motion.program.splits import sample
from vrjax.motion.rep276 import Statistics, statistics, to_276

FILE = pathlib.Path(__file__).with_name("scale.npy")
CLIPS, ROWS, SEED = 4000, 60, 0
LEAST = 3e-3
"""The least standard deviation: columns that hardly move (wrists never do) would be rounding errors made large."""


@functools.cache
def load() -> Statistics:
    """What the file holds, as NumPy arrays (276,) in float32."""
    return Statistics(*np.load(FILE, allow_pickle=False))


def measure(clips: int) -> Statistics:
    """The statistics of the first `clips` performances."""

    def rows(number):
        return to_276(*sample(jax.random.fold_in(draws.key(SEED), number), "S", ROWS + 1)[1].motion)

    made = jax.lax.map(rows, jnp.arange(clips), batch_size=100)
    return statistics(made.reshape(-1, made.shape[-1]), LEAST)


def main() -> None:
    """Writes the file."""
    np.save(FILE, np.stack([np.asarray(x, np.float32) for x in jax.jit(measure, static_argnums=0)(CLIPS)]))


if __name__ == "__main__":
    main()
