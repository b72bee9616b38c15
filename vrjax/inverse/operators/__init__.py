"""Observation operators, `y = A(x) + noise`: one file a family, named as the function that makes it.

    blurred = operators.blur((t, h, w, c), sigma=3.0)
    y = blurred.apply(x)                                # also .adjoint, .vjp, .gram_solve, .pseudo_inverse
    phi = operators.potential(blurred, y, noise_std=0.05)

| family | y | solves with A A^T |
| --- | --- | --- |
| dense | a matrix times the flattened x | its singular values |
| mask | the kept entries, as a vector | closed form |
| pool | means over blocks in space | closed form |
| blur | Gaussian in space, mirrored at the border | cosine transform |
| frames_dropped | the kept frames | closed form |
| frames_averaged | means over windows of time | closed form |
| exposure | weighted means in time, which may overlap | closed form, or dense in time |
| compose | one after the other | the second's after a mask or mean, else conjugate gradients |

`get` finds a family by its file's name, so nothing is registered: a file holds a function of its own name that returns
an `Operator`, and `example() -> Operator`, a small one that `tests/laws/test_operators.py` holds to the law. What is
not linear answers the same protocol (`vrjax.inverse.darcy.operator`), with `vjp(x, y)` for an adjoint.
"""

from typing import Any

from vrjax.files import named
from vrjax.inverse.operators._cg import conjugate_gradients as conjugate_gradients
from vrjax.inverse.operators._likelihood import check as check
from vrjax.inverse.operators._likelihood import potential as potential
from vrjax.inverse.operators._operator import Operator as Operator
from vrjax.inverse.operators.blur import blur as blur
from vrjax.inverse.operators.compose import compose as compose
from vrjax.inverse.operators.dense import dense as dense
from vrjax.inverse.operators.exposure import exposure as exposure
from vrjax.inverse.operators.frames_averaged import frames_averaged as frames_averaged
from vrjax.inverse.operators.frames_dropped import frames_dropped as frames_dropped
from vrjax.inverse.operators.mask import mask as mask
from vrjax.inverse.operators.pool import pool as pool


def names() -> tuple[str, ...]:
    """The families that exist."""
    return named.names(__name__)


def get(name: str, *arguments: Any, **options: Any) -> Operator:
    """An operator of the family called `name`, e.g. `get("pool", (4, 8, 8, 1), factor=2)`.

    Raises:
        ValueError: there is none of that name, or the family refuses its arguments.
    """
    return getattr(named.module(__name__, name, "operator"), name)(*arguments, **options)


def example(name: str) -> Operator:
    """A small operator of the family called `name`. Raises ValueError: there is none of that name."""
    return named.module(__name__, name, "operator").example()
