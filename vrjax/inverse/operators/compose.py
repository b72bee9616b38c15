"""One operator after another."""

import dataclasses

import jax

from vrjax.inverse.operators._operator import Operator
from vrjax.inverse.operators.blur import blur
from vrjax.inverse.operators.frames_averaged import frames_averaged


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Compose(Operator):
    """`a(b(x))`."""

    a: Operator
    b: Operator

    @property
    def in_shape(self):
        return self.b.in_shape

    @property
    def out_shape(self):
        return self.a.out_shape

    @property
    def linear(self):
        return self.a.linear and self.b.linear

    @property
    def gram_scale(self):
        a, b = self.a.gram_scale, self.b.gram_scale
        return None if a is None or b is None else a * b

    def _apply(self, x):
        return self.a.apply(self.b.apply(x))

    def _gram_solve(self, y, r2, noise2):
        scale = self.b.gram_scale
        if scale is None:
            return super()._gram_solve(y, r2, noise2)
        return self.a.gram_solve(y, r2 * scale, noise2)

    def _pseudo_inverse(self, y):
        if self.b.gram_scale is None:
            return super()._pseudo_inverse(y)
        return self.b.pseudo_inverse(self.a.pseudo_inverse(y))


def compose(a: Operator, b: Operator) -> Compose:
    """The operator x -> a(b(x)): first b, and then a. It is linear where both are.

    Where b B^T of the first is a multiple of the identity (masks, dropped frames, disjoint means), solves are those of
    `a`, in closed form where it has one; else they are by conjugate gradients. So of two operators that commute, put
    the blur last: `compose(blur(...), frames_averaged(...))`.

    Raises:
        ValueError: `a` does not take what `b` returns.
    """
    if a.in_shape != b.out_shape:
        raise ValueError(f"compose: a takes the shape {a.in_shape}, and b returns {b.out_shape}")
    return Compose(a, b)


def example() -> Compose:
    """Blurred pairs of frames."""
    averaged = frames_averaged((4, 5, 4, 1), 2)
    return compose(blur(averaged.out_shape, 0.8), averaged)
