"""One file per solver, named as the factory it holds. `get` finds a solver by that name, so nothing is registered."""

from vrjax.files import named
from vrjax.flow.core import Solver


def names() -> tuple[str, ...]:
    """The solvers that exist."""
    return named.names(__name__)


def get(name: str, **options) -> Solver:
    """The solver called `name` with its options, e.g. `get("unipc", order=3)`.

    Raises:
        ValueError: there is none of that name.
    """
    return getattr(named.module(__name__, name, "solver"), name)(**options)
