"""The law of guided samplers: every file of `vrjax/inverse/guided` that is named as a method obeys it."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.inverse.inverse_guided import Dense, Gaussian, Square
from vrjax.flow import Record, Trajectory, grids, sample
from vrjax.inverse import guided

PRIOR = Gaussian([0.3, -0.5], [[1.0, 0.4], [0.4, 0.6]])
A, Y, NOISE, SEEDS, STEPS = np.array([[1.0, -0.5]]), np.array([3.0]), 0.3, 4, 6
KEYS = jax.random.split(jax.random.key(0), SEEDS)
X = jax.random.normal(jax.random.key(1), (SEEDS, 2))
QUICK = {"d_flow": {"iterations": 4, "memory": 4}, "daps": {"langevin_steps": 4, "lr": 0.03, "tau": 0.3}}


def one(name, x, key, y, breaks, noise_std=NOISE, matrix=A):
    """A run of one seed, with a tap, a field and a statistic of the caller's kept."""
    traits = guided.traits(name)
    options = dict(QUICK.get(name, {}), **({"step": "normalised"} if traits.normalised else {}))
    fn = lambda snapshot: {"residual": jnp.linalg.norm(y - matrix @ snapshot.x0)}
    record = Record(fields=("x", "v", "x0", "next", "taps"), fn=fn)
    grid = grids.shifted(STEPS)
    operator = Dense(matrix, breaks)
    return guided.run(name, PRIOR.v, operator, y, noise_std, x, grid, key=key, record=record, **options)


@functools.cache
def program(name):
    """All seeds of a method as one program of its start, keys, observation and where the operator breaks."""
    return jax.jit(jax.vmap(functools.partial(one, name), axis_name="seed", in_axes=(0, 0, None, None)))


def ran(name, breaks=np.inf, keys=KEYS) -> Trajectory:
    return program(name)(X, keys, jnp.asarray(Y, jnp.float32), jnp.float32(breaks))


@pytest.mark.parametrize("name", guided.names())
def test_obeys(name):
    obeys(name)


def obeys(name):
    """What every method must do; called for methods that somebody adds as well."""
    traits = guided.traits(name)
    assert traits.kind in ("posterior", "map") and traits.form in ("velocity", "solver", "sampler")
    assert traits.evaluations >= 1 and traits.steps >= 1 and "20" in traits.source  # a year
    parameters = inspect.signature(guided.get(name)).parameters
    leading = ("operator", "y", "noise_std") if traits.form == "solver" else ("velocity", "operator", "y", "noise_std")
    assert tuple(parameters)[: len(leading)] == leading
    assert ("step" in parameters) == traits.normalised
    text = inspect.getdoc(guided.get(name)) or ""
    assert "Args:" in text and "Raises:" in text

    found = ran(name)
    assert isinstance(found, Trajectory) and found.final.shape == X.shape
    for field in (found.x0, found.next, found.taps["x0"]):
        assert field.shape[:1] == (SEEDS,) and field.shape[2:] == (2,) and np.all(np.isfinite(field))
    assert np.all(found.stats["finite"])
    residual = found.stats["record"]["residual"]
    assert residual.shape == found.x0.shape[:2]

    again = ran(name)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(again), strict=True))
    other = ran(name, keys=KEYS[::-1])
    # Few particles may end as copies of one, whatever their keys: the way there is compared.
    assert np.array_equal(found.x, other.x) != traits.stochastic

    closer_than_the_prior(name, found)
    says_what_is_not_finite(name)
    refuses(name, traits)


def closer_than_the_prior(name, found):
    """Draws explain the observation better than unguided ones from the same starts."""
    free = jax.vmap(lambda x: sample(PRIOR.v, x, grids.shifted(STEPS)).final)(X)
    misfit = lambda x: np.abs(Y - np.asarray(x) @ A.T).mean()
    assert misfit(found.final) < 0.7 * misfit(free), (name, misfit(found.final), misfit(free))


def says_what_is_not_finite(name):
    """The operator breaks where the first entry is large: the flag falls, stays down, and nothing is filled in."""
    during = after = False
    for breaks in (0.8, 1.2, 1.6, 2.0, 2.4, 2.8):
        broken = ran(name, breaks)
        flags, whole = np.asarray(broken.stats["finite"]), np.isfinite(np.asarray(broken.final)).all(-1)
        assert np.all(flags[:, 1:] <= flags[:, :-1])
        assert np.all(whole[flags[:, -1]])
        if guided.traits(name).form != "sampler":  # of these the last operation may be one that moves nothing any more
            assert not np.any(whole[~flags[:, -1]])
        during |= bool(np.any(flags[:, 0] & ~flags[:, -1]))
        after |= not flags[:, -1].all()
    # in the midst of a run, but for a line search, which does not go where the loss is not finite
    assert after if name == "d_flow" else during


def refuses(name, traits):
    def call(operator, y, noise_std):
        fn = lambda x, key: guided.run(name, PRIOR.v, operator, y, noise_std, x, grids.shifted(STEPS), key=key)
        jax.eval_shape(jax.vmap(fn, axis_name="seed"), X, KEYS)

    for operator, y, noise_std, message in (
        (Dense(A), np.zeros(2), NOISE, rf"{name}: y must have the shape the operator gives, \(1,\), found \(2,\)"),
        (Dense(A), np.array([np.inf]), NOISE, f"{name}: y must be finite, found 1 of 1"),
        (Dense(A), Y, -1.0, f"{name}: noise_std must be one positive finite number, found -1.0"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            call(operator, y, noise_std)
        assert "\n" not in str(error.value).split("-----")[0].strip()
    if traits.linear:
        with pytest.raises(ValueError, match=f"{name}: .* needs a linear operator .* found a nonlinear one, Square"):
            call(Square(A), Y, NOISE)
    else:
        call(Square(A), Y, NOISE)


def test_table():
    table = guided.table()
    assert tuple(table) == guided.names() and len(table) >= 10
    assert {name for name, traits in table.items() if traits.kind == "map"} == {"pnp_flow", "d_flow"}
    assert {name for name, traits in table.items() if not traits.network_gradient} == {
        "daps",
        "flowchef",
        "flowdps",
        "pnp_flow",
    }


METHOD = '''
    """The posterior mean of a standard normal variable, whatever the network says."""

    import jax.numpy as jnp

    from vrjax.flow.core import as_prediction
    from vrjax.inverse.guided._linear import gram_solve
    from vrjax.inverse.guided._method import Traits, at_most, check, observed

    TRAITS = Traits("posterior", "velocity", False, True, False, False, False, 1, 10, "nobody, 2026")


    def shrunk(velocity, operator, y, noise_std):
        """Moves x0.

        Args:
            velocity, operator, y, noise_std: as for any.

        Raises:
            ValueError: as for any.
        """
        y = check("shrunk", operator, y, noise_std, linear=True)

        def guided(x, level):
            base = as_prediction(velocity(x, level))
            x0 = x - level.sigma * base.v
            missing = observed("shrunk", operator, y, x) - operator.apply(x0)
            move = operator.adjoint(gram_solve(operator, missing, 1.0, jnp.square(noise_std), 10))
            return base._replace(v=base.v - move)

        return guided
'''


def test_a_method_is_one_file(tmp_path):
    from tests.laws.test_adding import added

    with added("vrjax.inverse.guided", "shrunk", METHOD, tmp_path):
        assert "shrunk" in guided.table()
        obeys("shrunk")
    assert "shrunk" not in guided.names()
