"""Random numbers that a seed alone decides, whatever JAX's own settings are in a process.

`jax_default_prng_impl`, `jax_threefry_partitionable` and `jax_enable_x64` each change what `jax.random.normal(key(7))`
gives: the same seed would be another video in another person's notebook. So what a run starts from names its generator.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

GENERATOR = "threefry2x32"
ABOUT = {"generator": f"{GENERATOR}, partitionable", "dtype": "float32"}
"""What a run's config says of its noise."""

settled = jax.threefry_partitionable
"""`with settled(True): program(...)` is how a program is called that draws numbers while it runs."""


def key(seed: int | Array) -> PRNGKeyArray:
    """The key of a seed."""
    return jax.random.key(seed, impl=GENERATOR)


def normal(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Standard normal numbers in float32, to be called outside of compiled functions."""
    with settled(True):
        return jax.random.normal(key, shape, jnp.float32)
