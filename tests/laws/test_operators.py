"""What every observation operator must do: transpose exactly, solve as NumPy does with its dense matrix, refuse what is
not of its shapes. A new family is one file: its `example()` is held to this law."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vrjax.inverse import operators

R2, NOISE2 = 0.7, 0.3


@functools.partial(jax.jit, static_argnames="matrix")
def answers(operator, x, z, y, r2, noise2, matrix):
    """All that an operator says of two points and data, in one program."""
    out, push = jax.jvp(operator.apply, (x,), (z,))
    phi = operators.potential(operator, y, jnp.sqrt(noise2))
    told = {"out": out, "push": push, "vjp": operator.vjp(x, y), "pull": jax.grad(phi)(x)}
    if operator.linear:
        told |= {
            "z": operator.apply(z),
            "both": operator.apply(2 * x - 3 * z),
            "adjoint": operator.adjoint(y),
            "solved": operator.gram_solve(y, r2, noise2),
            "inverse": operator.pseudo_inverse(y),
        }
    if matrix:
        told["rows"] = jax.vmap(operator.adjoint)(jnp.eye(y.size).reshape(-1, *y.shape))
    return told


def obeys(make):
    """The law, for the operator that `make()` returns in float64."""
    with jax.enable_x64(True):
        operator = make()
        assert isinstance(operator, operators.Operator)
        rng = np.random.default_rng(3)
        x, z = (jnp.asarray(0.5 * rng.normal(size=operator.in_shape)) for _ in range(2))
        y = jnp.asarray(rng.normal(size=operator.out_shape))
        told = jax.tree.map(np.asarray, answers(operator, x, z, y, R2, NOISE2, operator.linear))
        assert {a.dtype for a in told.values()} == {np.dtype("float64")}
        assert told["out"].shape == operator.out_shape and told["vjp"].shape == operator.in_shape
        near = functools.partial(np.testing.assert_allclose, rtol=0)
        # <J z, y> = <z, J^T y>, and the gradient of the potential is the adjoint of the residual.
        left, right = np.vdot(told["push"], y), np.vdot(z, told["vjp"])
        near(left, right, atol=1e-10 * max(1, np.linalg.norm(told["push"]) * np.linalg.norm(y)))
        pull = operator.vjp(x, (told["out"] - y) / NOISE2)
        near(told["pull"], pull, atol=1e-10 * max(1, np.abs(pull).max()))
        refuses(operator, x, y)
        if operator.linear:
            linear(operator, told, x, y, near)
    compiles_once(operator, x)


def linear(operator, told, x, y, near):
    near(told["vjp"], told["adjoint"], atol=1e-12)
    near(told["push"], told["z"], atol=1e-12)
    near(told["both"], 2 * told["out"] - 3 * told["z"], atol=1e-12)
    matrix = told["rows"].reshape(y.size, x.size)
    near(matrix @ x.ravel(), told["out"].ravel(), atol=1e-12)
    gram = matrix @ matrix.T
    solved = np.linalg.solve(R2 * gram + NOISE2 * np.eye(y.size), y.ravel())
    near(told["solved"].ravel(), solved, atol=1e-9)
    inverse = np.linalg.pinv(matrix) @ y.ravel()
    near(told["inverse"].ravel(), inverse, atol=1e-8 * np.abs(inverse).max())
    if operator.gram_scale is not None:
        near(gram, float(operator.gram_scale) * np.eye(y.size), atol=1e-12)


def refuses(operator, x, y):
    def line(match, call):
        with pytest.raises(ValueError, match=match) as error:
            call()
        assert "\n" not in str(error.value) and str(error.value).startswith(f"{operator.name}:")

    line("x must have shape", lambda: operator.apply(jnp.zeros((*x.shape, 1))))
    line("y must have shape", lambda: operator.vjp(x, jnp.zeros((*y.shape, 1))))
    line("y must have shape", lambda: operators.potential(operator, jnp.zeros((*y.shape, 1)), 0.1))
    line("y must be finite, found 1 of", lambda: operators.potential(operator, y.at[(0,) * y.ndim].set(jnp.nan), 0.1))
    for wrong in (0.0, -1.0, np.inf, jnp.nan):
        line("noise_std must be finite and above 0", lambda wrong=wrong: operators.potential(operator, y, wrong))
    line("noise_std must be one number", lambda: operators.potential(operator, y, jnp.ones(2)))
    if not operator.linear:
        line("vjp", lambda: operator.adjoint(y))
        line("needs a linear operator", lambda: operator.gram_solve(y, 1.0, 1.0))
        line("needs a linear operator", lambda: operator.pseudo_inverse(y))


def compiles_once(operator, x):
    """Its arrays are arguments: another of the same shapes, and a batch, need no program of their own."""
    traced = []
    with jax.enable_x64(True):

        @jax.jit
        def both(operator, xs):
            traced.append(operator.name)
            return jax.vmap(operator.apply)(xs)

        xs = jnp.stack([x, -x])
        first = both(operator, xs)
        again = both(jax.tree.map(jnp.copy, operator), xs)
        np.testing.assert_array_equal(first, again)
        assert traced == [operator.name]
        np.testing.assert_allclose(first[0], operator.apply(x), rtol=0, atol=1e-12)
        assert "Array" not in repr(operator) and len(repr(operator)) < 400


@pytest.mark.parametrize("name", operators.names())
def test_the_law(name):
    obeys(lambda: operators.example(name))
    assert operators.example(name).name == name


def test_an_unknown_family():
    with pytest.raises(ValueError, match="unknown operator 'pol', did you mean 'pool'?"):
        operators.get("pol")
    with pytest.raises(ValueError, match="unknown operator"):
        operators.example("_cg")
