"""Bad input: an operator of another shape, data that are not finite, no noise, a prior's file of another shape. Each is
one clear line, said before anything is compiled."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.inverse import inverse_posteriors as exact
from vrjax.flow import grids
from vrjax.inverse import darcy, files, generators, guided, latent, operators

COMPILED: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def listening():
    """Every program that XLA compiles, or that is fetched from the cache, is noted."""
    note = lambda name, seconds, **_: COMPILED.append(name) if "backend_compile" in name else None
    jax.monitoring.register_event_duration_secs_listener(note)
    jax.jit(lambda x: x * 3.25)(jnp.ones(3)).block_until_ready()
    assert COMPILED  # it hears
    yield
    jax.monitoring.clear_event_listeners()


def one_line(call, *words, quietly=True):
    """That `call` raises a ValueError of one line that holds all of these, and compiles nothing before."""
    COMPILED.clear()
    with pytest.raises(ValueError) as error:
        call()
    said = str(error.value)
    assert "\n" not in said and all(word in said for word in words), said
    assert not (quietly and COMPILED), COMPILED


# What calls are given is made here: making an array compiles.
KEY, R = jax.random.key(0), 4
Z0 = jnp.asarray(np.random.default_rng(0).normal(size=(3, R)).astype(np.float32))
MATRIX = np.random.default_rng(1).normal(size=(2, R)).astype(np.float32)
RIGHT, WIDE = operators.dense(MATRIX), operators.dense(np.ones((2, R + 1), np.float32))
Y, HOLE = jnp.asarray(np.ones(2, np.float32)), jnp.asarray(np.array([1.0, np.nan], np.float32))
LONG = jnp.asarray(np.ones(3, np.float32))
X, GRID = Z0[0], grids.shifted(4)
VELOCITY = lambda x, level: x


def log_likelihood(z, operator, y, noise_std):
    return -0.5 * jnp.sum(((y - operator.apply(z)) / noise_std) ** 2)


SAMPLERS = {
    "pcn": functools.partial(latent.pcn, steps=5),
    "elliptical_slice": functools.partial(latent.elliptical_slice, steps=5),
    "laplace_slice": functools.partial(latent.laplace_slice, steps=5),
    "nuts": functools.partial(latent.nuts, steps=5, burn=20),
    "tempered_smc": functools.partial(latent.tempered_smc, steps=5),
    "importance": lambda key, log_likelihood, z0, args: latent.importance(key, log_likelihood, R, 30, args=args),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_latent_samplers(name):
    run = lambda *args: SAMPLERS[name](KEY, log_likelihood, z0=Z0, args=args)
    one_line(lambda: run(RIGHT, HOLE, 0.5), "args[1]: found 1 NaN among 2 numbers, expected none")
    wide = ("dense: x must have shape (5,), found (4,)",)
    if name == "importance":  # its proposal's factor is a program of its own
        return one_line(lambda: run(WIDE, Y, 0.5), *wide, quietly=False)
    one_line(lambda: run(WIDE, Y, 0.5), *wide)
    # Which argument is the noise only the likelihood knows: its value at the starts says it, and what is 0 is named.
    one_line(lambda: run(RIGHT, Y, 0.0), "z0: 3 of 3 starts are not finite", "(args[2] is 0)", quietly=False)


def test_a_log_weight_of_minus_infinity_is_lawful():
    weights = jnp.log(jnp.array([1.0, 0.0, 0.0]))
    chain = latent.pcn(KEY, lambda z, w: jax.nn.logsumexp(w - 0.5 * z[0] ** 2), Z0, 5, args=(weights,))
    assert chain.info.finite.all()


@pytest.mark.parametrize("of", [RIGHT, darcy.operator(6)], ids=["dense", "darcy"])
def test_likelihoods_of_operators(of):
    y = np.ones(of.out_shape, np.float32)
    one_line(lambda: operators.potential(of, y, 0.0), f"{of.name}: noise_std must be finite and above 0, found 0.0")
    one_line(
        lambda: operators.potential(of, y * np.inf, 0.1), f"{of.name}: y must be finite, found {y.size} of {y.size}"
    )
    one_line(lambda: operators.potential(of, y[1:], 0.1), f"{of.name}: y must have shape {of.out_shape}, found")
    phi = operators.potential(of, y, 0.1)
    one_line(lambda: jax.eval_shape(phi, np.ones((3, 3))), f"{of.name}: x must have shape {of.in_shape}, found (3, 3)")


@pytest.mark.parametrize("name", guided.names())
def test_guided_samplers(name):
    def run(operator, y, noise_std):
        options = {"axis_name": "seed"} if name == "smc" else {}
        sample = lambda x: guided.run(name, VELOCITY, operator, y, noise_std, x, GRID, key=KEY, **options)
        return jax.eval_shape(jax.vmap(sample, axis_name="seed"), Z0)

    one_line(lambda: run(RIGHT, HOLE, 0.5), f"{name}: y must be finite, found 1 of 2")
    one_line(lambda: run(RIGHT, Y, 0.0), f"{name}: noise_std must be one positive finite number, found 0.0")
    one_line(lambda: run(RIGHT, LONG, 0.5), f"{name}: y must have the shape", "(2,), found (3,)")
    one_line(lambda: run(WIDE, Y, 0.5), "dense: x must have shape (5,), found (4,)")


def test_the_elliptic_problem():
    truth = np.zeros((8, 8))
    hole = truth.copy()
    hole[2, 3] = np.nan
    one_line(lambda: darcy.problem(KEY, hole, 4), "darcy: no pressure of this truth", "found 1 of 64 that are not")
    one_line(lambda: darcy.problem(KEY, truth, 4, noise=0.0), "noise must be a finite share above 0", "found 0.0")
    one_line(lambda: darcy.operator(4, np.ones((3, 3))), "darcy: points must have shape (k, 2), found (3, 3)")
    one_line(lambda: darcy.operator(4, np.array([[0.5, np.nan]])), "darcy: points must lie in [0, 1]^2, found nan")
    one_line(lambda: darcy.operator(4, source=np.ones((8, 8))), "source must be a number or have shape (4, 4)")


def test_generators():
    data = np.arange(16.0).reshape(8, 2)
    net = generators.affine(2)
    one_line(lambda: generators.fit(KEY, data * np.nan, net), "fit: data must be finite, found 16 of 16")
    one_line(lambda: generators.fit(KEY, data[:, :1], net), "fit: data must be (n, d)", "(2,), found (8, 1)")
    one_line(lambda: generators.pca(data + np.inf, 1), "pca: fields must be finite, found 16 of 16")
    flow = generators.flow_generator(VELOCITY, GRID, shape=(2, 2))
    seen = lambda z: RIGHT.apply(flow.apply((), z))
    one_line(lambda: jax.eval_shape(seen, X), "dense: x must have shape (4,), found (2, 2)")


def test_a_prior_of_another_shape_than_the_operator(tmp_path):
    path = tmp_path / "prior.npz"
    files.write_prior(path, np.ones((5, 8, 8)), {"prior": "layered", "seed": 0, "params": {}})
    operator = darcy.operator(6)
    told = (f"{path}: x must hold draws of the shape (6, 6), found (8, 8)",)
    one_line(lambda: files.read_prior(path, operator.in_shape), *told)
    assert files.read_prior(path, (8, 8)).x.shape == (5, 8, 8)


def test_the_same_program_serves_other_data():
    """The checks are of values, not of the program: other good data compile nothing."""
    options = dict(steps=5, args=exact.GAUSSIAN.args)
    run = lambda centres: latent.pcn(
        KEY,
        exact.log_likelihood,
        exact.starts(3),
        **options | {"args": (options["args"][0], centres, options["args"][2])},
    )
    first, other = exact.GAUSSIAN.args[1], exact.NEAR.args[1]
    run(first)
    COMPILED.clear()
    run(other)
    assert not COMPILED
