"""Exact worlds: pure JAX, whose rules are known. One file a world, found by name, so nothing is registered.

    w = exact.get("push", slip=0.1)
    state = w.make(jax.random.key(0))

| file | what happens there |
| --- | --- |
| push | an agent pushes blocks on a plane; a red one has a place to go to |
| grid | an agent fetches a key, opens a door and walks to a goal, cell by cell |
| drive | MiniDrive: a car among vehicles and pedestrians, seen by six cameras and from above |

A file holds a function of its own name that makes the world, and `example() -> World`, a small one by which
`tests/laws/test_worlds.py` holds it to the law. All of them are `Exact`: they begin by themselves, decode, judge, and
parse text.
"""

from vrjax.files import named
from vrjax.world.exact._exact import Exact as Exact


def names() -> tuple[str, ...]:
    """The exact worlds that exist."""
    return named.names(__name__)


def get(name: str, **options) -> Exact:
    """The world called `name` with its options, e.g. `get("push", blocks=1)`.

    Raises:
        ValueError: there is none of that name, or it refuses its options.
    """
    return getattr(named.module(__name__, name, "world"), name)(**options)


def example(name: str) -> Exact:
    """A small world of the file called `name`. Raises ValueError: there is none of that name."""
    return named.module(__name__, name, "world").example()
