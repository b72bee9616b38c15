"""Families of operators against NumPy and SciPy, and what they refuse. What all have to do is in `tests/laws`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from vrjax.inverse import operators

RNG = np.random.default_rng(0)
SHAPE = (6, 8, 12, 3)
FILM = RNG.normal(size=SHAPE)


def applied(make):
    """Of the film, in float64."""
    with jax.enable_x64(True):
        operator = make()
        out = np.asarray(operator.apply(FILM))
        assert out.shape == operator.out_shape and out.dtype == np.float64
        return out


KEEP = RNG.random((8, 12)) < 0.4
ANY = RNG.random(SHAPE) < 0.4
CASES = {
    "mask, of space": (lambda: operators.mask(KEEP, SHAPE), lambda: FILM[:, KEEP].ravel()),
    "mask, of any entries": (lambda: operators.mask(ANY, SHAPE), lambda: FILM[ANY]),
    "mask, of a channel": (lambda: operators.mask(np.array([True, False, False]), SHAPE), lambda: FILM[..., 0].ravel()),
    "pool": (
        lambda: operators.pool(SHAPE, 4),
        lambda: sum(FILM[:, i::4, j::4] for i in range(4) for j in range(4)) / 16,
    ),
    "blur": (
        lambda: operators.blur(SHAPE, 1.3),
        lambda: scipy.ndimage.gaussian_filter(FILM, (0, 1.3, 1.3, 0), mode="reflect"),
    ),
    "blur, wider than the picture": (
        lambda: operators.blur(SHAPE, 7.0),
        lambda: scipy.ndimage.gaussian_filter(FILM, (0, 7.0, 7.0, 0), mode="reflect"),
    ),
    "frames_dropped": (lambda: operators.frames_dropped(SHAPE, (0, 5)), lambda: FILM[[0, 5]]),
    "frames_dropped, booleans": (
        lambda: operators.frames_dropped(SHAPE, np.array([True, True, False, False, True, False])),
        lambda: FILM[[0, 1, 4]],
    ),
    "frames_averaged": (
        lambda: operators.frames_averaged(SHAPE, 2),
        lambda: np.stack([FILM[i : i + 2].mean(0) for i in (0, 2, 4)]),
    ),
    "exposure": (
        lambda: operators.exposure(SHAPE, np.array([1.0, 3.0])),
        lambda: 0.25 * FILM[::2] + 0.75 * FILM[1::2],
    ),
    "exposure, sliding": (
        lambda: operators.exposure(SHAPE, np.array([2.0, 1.0, 1.0]), stride=1),
        lambda: scipy.ndimage.correlate1d(FILM, [0.5, 0.25, 0.25], axis=0)[1:-1],
    ),
    "exposure, by twos": (
        lambda: operators.exposure(SHAPE, np.array([2.0, 1.0, 1.0]), stride=2),
        lambda: 0.5 * FILM[[0, 2]] + 0.25 * FILM[[1, 3]] + 0.25 * FILM[[2, 4]],
    ),
    "compose": (
        lambda: operators.compose(operators.pool((3, 8, 12, 3), 2), operators.frames_averaged(SHAPE, 2)),
        lambda: FILM.reshape(3, 2, 4, 2, 6, 2, 3).mean((1, 3, 5)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_equals_its_formula(case):
    make, formula = CASES[case]
    np.testing.assert_allclose(applied(make), formula(), rtol=0, atol=1e-12)


def solved_densely(make, r2, noise2):
    """Whether A A^T is a multiple of the identity, a solve of the operator, and NumPy's with its matrix, in float64."""
    with jax.enable_x64(True):
        operator = make()
        y = RNG.normal(size=operator.out_shape)
        scale = operator.gram_scale
        rows = jax.vmap(operator.adjoint)(jnp.eye(y.size).reshape(-1, *y.shape))
        solved = jax.jit(lambda o, y, a, b: o.gram_solve(y, a, b))(operator, y, r2, noise2)
    matrix = np.asarray(rows).reshape(y.size, -1)
    wanted = np.linalg.solve(r2 * matrix @ matrix.T + noise2 * np.eye(y.size), y.ravel())
    return scale is not None, np.asarray(solved).ravel(), wanted


SOLVES = {
    "conjugate gradients": lambda: operators.compose(
        operators.pool((2, 4, 6, 1), 2), operators.blur((2, 4, 6, 1), 1.0)
    ),
    "closed form through two": lambda: operators.compose(
        operators.pool((2, 4, 6, 1), 2), operators.frames_averaged((4, 4, 6, 1), 2)
    ),
    "disjoint exposures": lambda: operators.exposure((6, 2, 1, 1), np.array([1.0, 3.0])),
    "more data than unknowns": lambda: operators.dense(np.random.default_rng(1).normal(size=(7, 3))),
}


@pytest.mark.parametrize("case", SOLVES)
def test_solves_that_the_examples_leave_out(case):
    scaled, ours, numpys = solved_densely(SOLVES[case], 1.3, 0.02)
    np.testing.assert_allclose(ours, numpys, rtol=0, atol=1e-9 * np.abs(numpys).max())
    assert scaled == (case in ("closed form through two", "disjoint exposures"))


def test_a_solve_that_does_not_converge_is_nan():
    """A wide blur before a pool, without noise: singular to machine precision."""
    blurred = operators.compose(operators.pool((1, 16, 16, 1), 1), operators.blur((1, 16, 16, 1), 3.0))
    solve = jax.jit(lambda y, noise2: blurred.gram_solve(y, 1.0, noise2))
    y = jnp.asarray(RNG.normal(size=blurred.out_shape), jnp.float32)
    assert np.all(np.isfinite(solve(y, 1e-2))) and np.all(np.isnan(solve(y, 0.0)))
    assert np.all(np.isnan(jax.grad(lambda noise2: solve(y, noise2)[0, 0, 0, 0])(0.0)))


def test_conjugate_gradients_differentiate_as_the_inverse():
    """With respect to the right-hand side and to the matrix, each against NumPy's formulas."""
    rng = np.random.default_rng(5)
    root, b, c = rng.normal(size=(5, 5)), rng.normal(size=5), rng.normal(size=5)
    matrix = root @ root.T + 0.5 * np.eye(5)

    def loss(matrix, b):
        x = operators.conjugate_gradients(lambda x: matrix @ x, b, diagonal=jnp.diag(matrix))
        return c @ x

    with jax.enable_x64(True):
        by_matrix, by_b = jax.jit(jax.grad(loss, (0, 1)))(jnp.asarray(matrix), jnp.asarray(b))
    inverse = np.linalg.inv(matrix)
    np.testing.assert_allclose(by_b, inverse @ c, rtol=1e-9)
    np.testing.assert_allclose(by_matrix, -np.outer(inverse @ c, inverse @ b), rtol=1e-9, atol=1e-11)


def test_a_preconditioner_changes_the_steps_and_not_the_solution():
    rng = np.random.default_rng(6)
    root, b = rng.normal(size=(6, 6)), rng.normal(size=6)
    matrix = root @ root.T + np.diag(10.0 ** np.arange(6))
    with jax.enable_x64(True):
        matvec, inverse = lambda x: jnp.asarray(matrix) @ x, jnp.asarray(np.linalg.inv(matrix))
        solve = functools.partial(operators.conjugate_gradients, matvec, jnp.asarray(b), max_steps=2)
        np.testing.assert_allclose(solve(preconditioner=lambda r: inverse @ r), np.linalg.solve(matrix, b), rtol=1e-8)
        assert np.isnan(solve(diagonal=jnp.diag(jnp.asarray(matrix)))).all()
        with pytest.raises(ValueError, match="found diagonal and preconditioner, expected one of them"):
            solve(diagonal=jnp.ones(6), preconditioner=lambda r: r)


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(0, 23), min_size=9, max_size=9))
def test_a_mask_keeps_what_it_is_told(kept):
    """NumPy's indexing is the oracle; all subsets of one size share the compiled programs."""
    keep = np.isin(np.arange(24), list(kept)).reshape(2, 3, 4)
    x = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4) + 1
    seen = operators.mask(keep, x.shape)
    np.testing.assert_array_equal(seen.apply(x), x[keep])
    np.testing.assert_array_equal(seen.pseudo_inverse(seen.apply(x)), np.where(keep, x, 0))


def test_operators_of_one_structure_are_stacked_and_mapped():
    """Twenty problems in one program: matrices factorised on the host, and inside the program."""
    matrices = RNG.normal(size=(4, 3, 5)).astype(np.float32)
    y = RNG.normal(size=(4, 3)).astype(np.float32)
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *[operators.dense(m) for m in matrices])
    solve = jax.jit(jax.vmap(lambda o, y: o.gram_solve(y, 0.5, 0.1)))
    inside = jax.jit(jax.vmap(lambda m, y: operators.dense(m).gram_solve(y, 0.5, 0.1)))
    wanted = [np.linalg.solve(0.5 * m @ m.T + 0.1 * np.eye(3), b) for m, b in zip(matrices, y, strict=True)]
    np.testing.assert_allclose(solve(stacked, y), wanted, rtol=2e-4, atol=1e-4)
    np.testing.assert_allclose(inside(matrices, y), wanted, rtol=2e-4, atol=1e-4)


def test_inside_shard_map():
    """Operators, data or both differ from device to device; an adjoint must not be summed over them."""
    mesh = jax.make_mesh((4,), ("seed",), axis_types=(jax.sharding.AxisType.Auto,))
    cut = jax.sharding.PartitionSpec("seed")
    blurred = operators.blur((1, 4, 3, 1), 1.0)
    twice = operators.compose(blurred, blurred)
    matrices = jax.tree.map(lambda *a: jnp.stack(a), *[operators.dense(RNG.normal(size=(3, 5))) for _ in range(4)])
    y = jnp.asarray(RNG.normal(size=(4, *twice.out_shape)), jnp.float32)

    def each(matrices, y):
        solved = jax.vmap(lambda y: jax.grad(lambda y: jnp.sum(twice.gram_solve(y, 1.0, 0.5) ** 2))(y))(y)
        return solved, jax.vmap(lambda m: m.adjoint(jnp.ones(3)))(matrices)

    parts = jax.jit(jax.shard_map(each, mesh=mesh, in_specs=cut, out_specs=cut))(matrices, y)
    for found, wanted in zip(parts, jax.jit(each)(matrices, y), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: operators.pool((2, 4, 6, 1), 4), "pool: factor must be a whole number of at least 1 that divides 6"),
        (lambda: operators.pool((4, 6), 2), "pool: shape must have at least 3 axes"),
        (lambda: operators.blur((2, 4, 6, 1), 0.0), "blur: sigma must be finite and above 0, found 0.0"),
        (lambda: operators.blur((2, 4, 6, 1), np.inf), "blur: sigma must be finite and above 0, found inf"),
        (lambda: operators.mask(np.zeros((4, 6), bool), (2, 4, 6, 1)), "mask: keep must keep at least one of 48"),
        (lambda: operators.mask(np.ones((5, 6), bool), (2, 4, 6, 1)), r"mask: keep must broadcast .* found \(5, 6\)"),
        (
            lambda: operators.frames_dropped((4, 2), (0, 4)),
            r"frames_dropped: keep must be rising frames within 0 \.\.\. 3",
        ),
        (lambda: operators.frames_dropped((4, 2), (1, 0)), "frames_dropped: keep must be rising"),
        (lambda: operators.frames_dropped((4, 2), ()), "frames_dropped: keep must be rising"),
        (lambda: operators.frames_dropped((4, 2), np.array([True])), "frames_dropped: keep must have 4 booleans"),
        (lambda: operators.frames_averaged((5, 2), 2), "frames_averaged: window must be .* that divides 5, found 2"),
        (
            lambda: operators.exposure((5, 2), np.ones(6)),
            r"exposure: shutter must have 1 to 5 weights \(frames\), found 6",
        ),
        (lambda: operators.exposure((5, 2), np.array([1.0, -1.0])), "exposure: shutter must be finite, at least 0"),
        (lambda: operators.exposure((5, 2), np.ones(2), stride=0), "exposure: stride must be a whole number"),
        (lambda: operators.dense(np.full((2, 2), np.nan)), "dense: matrix must be finite"),
        (lambda: operators.dense(np.ones((2, 3)), in_shape=(4,)), r"dense: .* needs 3 entries, found the shape \(4,\)"),
        (
            lambda: operators.compose(operators.pool((4, 4, 1), 2), operators.pool((4, 4, 1), 2)),
            r"compose: a takes the shape \(4, 4, 1\), and b returns \(2, 2, 1\)",
        ),
    ],
)
def test_refuses_in_one_line(make, match):
    with pytest.raises(ValueError, match=match) as error:
        make()
    assert "\n" not in str(error.value)
