"""What every observation operator answers, and what follows from `_apply` alone."""

import abc
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vrjax.flow import words
from vrjax.flow.varying import vary_as
from vrjax.inverse.operators import _cg

Real = Array | np.ndarray
Number = float | int | Array | np.ndarray


class Operator(abc.ABC):
    """A map A from an array of `in_shape` to one of `out_shape`, for one example; batches come from vmap.

    Subclasses are frozen dataclasses registered as pytrees: arrays inside are leaves (arguments of compiled programs,
    stacked and mapped like others), shapes and other whole numbers are static. A subclass states both shapes and
    `_apply`; all else follows, and is overridden where it is cheaper. Whatever is computed has the wider precision of
    the argument and of the operator's arrays.

    Attributes:
        in_shape, out_shape: shapes of x and of y = A(x).
        linear: whether A is linear. Where it is not, `adjoint`, `gram_solve` and `pseudo_inverse` raise ValueError.
        gram_scale: the number c where A A^T = c I (a choice or disjoint averages of entries), else None.
    """

    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    linear: bool = True
    gram_scale: Number | None = None

    __repr__ = words.line

    @property
    def name(self) -> str:
        """The file that it comes from."""
        return type(self).__module__.rpartition(".")[2]

    @abc.abstractmethod
    def _apply(self, x: Array) -> Array:
        """A(x), of an x whose shape is right."""

    def apply(self, x: Float[Real, "..."]) -> Float[Array, "..."]:
        """A(x), of `out_shape`. Raises ValueError where x is not of `in_shape`."""
        return self._apply(self._of(x, self.in_shape, "x"))

    def adjoint(self, y: Float[Real, "..."]) -> Float[Array, "..."]:
        """A^T y, of `in_shape`: the exact transpose of `apply`, by JAX. Raises ValueError where A is not linear, or y
        not of `out_shape`."""
        self._needs_linear("adjoint", ", see vjp(x, y)")
        y = self._of(y, self.out_shape, "y")
        # Inside shard_map, data and operator may vary over different mesh axes.
        x = vary_as(jnp.zeros(self.in_shape, y.dtype), y)
        like = jax.eval_shape(self._apply, x)
        (out,) = jax.linear_transpose(self._apply, vary_as(x, like))(vary_as(y.astype(like.dtype), like))
        return out

    def vjp(self, x: Float[Real, "..."], y: Float[Real, "..."]) -> Float[Array, "..."]:
        """J(x)^T y with J the derivative of A at x; the adjoint where A is linear."""
        if self.linear:
            return self.adjoint(y)
        out, back = jax.vjp(self._apply, self._of(x, self.in_shape, "x"))
        return back(self._of(y, self.out_shape, "y").astype(out.dtype))[0]

    def gram_solve(self, y: Float[Real, "..."], r2: Number, noise2: Number) -> Float[Array, "..."]:
        """(r2 A A^T + noise2 I)^-1 y, of `out_shape`: the precision of y under a prior of variance r2.

        In closed form where `gram_scale` is a number or the family has one; else by conjugate gradients, to a relative
        residual of 1e-6 (float64: 1e-12), and NaN throughout where 1,000 steps do not reach it.

        Args:
            y: data or residual.
            r2: variance in x, a number at least 0.
            noise2: variance of the noise, a number above 0; 0 only where A has full row rank.

        Raises:
            ValueError: A is not linear, or y is not of `out_shape`.
        """
        self._needs_linear("gram_solve")
        y = self._of(y, self.out_shape, "y")
        return self._gram_solve(y, jnp.asarray(r2, y.dtype), jnp.asarray(noise2, y.dtype))

    def _gram_solve(self, y: Array, r2: Array, noise2: Array) -> Array:
        if self.gram_scale is not None:
            return y / (r2 * self.gram_scale + noise2)
        system = lambda y: r2 * self._apply(self.adjoint(y)) + noise2 * y
        return _cg.conjugate_gradients(system, y.astype(jax.eval_shape(system, y).dtype))

    def pseudo_inverse(self, y: Float[Real, "..."]) -> Float[Array, "..."]:
        """The smallest x among those with the smallest |A x - y| (Moore and Penrose), of `in_shape`.

        Where a family says nothing else it is A^T (A A^T)^-1 y, for an A of full row rank: `adjoint(y) / gram_scale`,
        or by conjugate gradients, NaN throughout where 1,000 steps are not enough. Noise in directions that A damps is
        amplified without limit.

        Raises:
            ValueError: A is not linear, or y is not of `out_shape`.
        """
        self._needs_linear("pseudo_inverse")
        return self._pseudo_inverse(self._of(y, self.out_shape, "y"))

    def _pseudo_inverse(self, y: Array) -> Array:
        return self.adjoint(self.gram_solve(y, 1.0, 0.0))

    def _of(self, value: Any, shape: tuple[int, ...], what: str) -> Array:
        if jnp.shape(value) != shape:
            raise ValueError(f"{self.name}: {what} must have shape {shape}, found {jnp.shape(value)}")
        return jnp.asarray(value)

    def _needs_linear(self, what: str, hint: str = "") -> None:
        if not self.linear:
            raise ValueError(f"{self.name}: {what} needs a linear operator, and this one is not{hint}")


def shape_of(name: str, shape: Any, least: int = 1) -> tuple[int, ...]:
    """A shape as a tuple of whole numbers; ValueError unless it has at least `least` axes, none of them empty."""
    shape = tuple(int(n) for n in shape)
    if len(shape) < least or min(shape, default=0) < 1:
        raise ValueError(f"{name}: shape must have at least {least} axes, each 1 or longer, found {shape}")
    return shape


def whole(name: str, what: str, value: Any, of: int | None = None) -> int:
    """A whole number of at least 1 that divides `of`; ValueError else."""
    if int(value) != value or value < 1 or (of is not None and of % int(value)):
        raise ValueError(f"{name}: {what} must be a whole number of at least 1{_divides(of)}, found {value}")
    return int(value)


def _divides(of: int | None) -> str:
    return "" if of is None else f" that divides {of}"


def entries(shape: tuple[int, ...]) -> int:
    """How many entries an array of this shape has."""
    return math.prod(shape)
