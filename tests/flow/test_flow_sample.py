"""`sample`: recording, edits, phases, transforms, what the compiled program holds, and errors."""

import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import P

from vrjax.flow import (
    Grid,
    Level,
    Phase,
    Prediction,
    Record,
    Trajectory,
    euler,
    grids,
    heun,
    sample,
    sde,
    solvers,
    unipc,
)
from vrjax.flow.sampling import as_phases, check_arguments

KEY = jax.random.key(3)
W = jax.random.normal(jax.random.key(1), (4, 4)) / 4
SHAPE = (3, 2, 4)
X = jax.random.normal(jax.random.key(2), SHAPE)
GRID = grids.shifted(6, shift=3.0)
SOLVERS = {name: solvers.get(name) for name in solvers.names()}


def velocity(x, level: Level) -> Prediction:
    h = jnp.tanh(x @ W + level.time / 1000)
    return Prediction(0.5 * x + h, {"hidden": h, "energy": {"mean": jnp.mean(h * h)}})


def plain(x, level: Level):
    return velocity(x, level).v


def double_early(step, x, key):
    return jnp.where(step == 2, 2.0 * x, x)


def hlo(velocity=plain, x=X, grid=GRID, **options) -> str:
    """Optimised program text without source positions."""
    text = jax.jit(lambda x: sample(velocity, x, grid, **options).final).lower(x).compile().as_text()
    import re

    return re.sub(
        r", metadata=\{[^}]*\}|stack_frame_id=\d+|^(FileNames|FunctionNames|FileLocations|StackFrames).*?\n\n",
        "",
        text,
        flags=re.M | re.S,
    )


# ------------------------------------------------------------------------------------------------------- recording


@pytest.mark.parametrize("name", SOLVERS)
def test_a_subset_is_the_full_record_indexed(name):
    solver, fields = SOLVERS[name], ("x", "v", "x0", "next")
    full = jax.jit(lambda x: sample(velocity, x, GRID, solver=solver, key=KEY, record=Record(fields=fields)))(X)
    steps = (4, 0, 3)
    some = jax.jit(lambda x: sample(velocity, x, GRID, solver=solver, key=KEY, record=Record(steps, fields)))(X)
    assert full.x.shape == (7, *SHAPE) and full.v.shape == (6, *SHAPE) and some.x.shape == some.v.shape == (3, *SHAPE)
    assert some.steps == steps and full.steps == tuple(range(6))
    at = np.array(steps)
    rows = lambda t: {f: getattr(t, f) for f in ("v", "x0", "next", "taps", "log_prob")}
    jax.tree.map(np.testing.assert_array_equal, rows(some), jax.tree.map(lambda a: a[at], rows(full)))
    np.testing.assert_array_equal(some.x, full.x[at])
    np.testing.assert_array_equal(some.final, full.final)
    np.testing.assert_array_equal(full.x[-1], full.final)
    np.testing.assert_array_equal(full.next, full.x[1:])
    sigma = np.asarray(full.sigma)[:-1].reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(full.x0, full.x[:-1] - sigma * full.v, atol=1e-6)


def test_taps_and_states_are_what_the_network_gives():
    trajectory = sample(velocity, X, GRID)
    assert trajectory.taps["hidden"].shape == (6, *SHAPE)
    for s in range(6):
        level = Level(trajectory.sigma[s], trajectory.time[s])
        v, taps = velocity(trajectory.x[s], level)
        np.testing.assert_allclose(trajectory.v[s], v, atol=1e-6)
        np.testing.assert_allclose(trajectory.taps["hidden"][s], taps["hidden"], atol=1e-6)
        np.testing.assert_allclose(trajectory.taps["energy"]["mean"][s], taps["energy"]["mean"], atol=1e-6)


def test_a_statistic_instead_of_fields():
    fn = lambda s: {"step": s.step, "norm": jnp.sum(s.x0**2), "tap": s.taps["hidden"][0]}
    trajectory = sample(velocity, X, GRID, record=Record(steps=(1, 5), fn=fn))
    full = sample(velocity, X, GRID)
    assert trajectory.x is None and trajectory.v is None and trajectory.x0 is None and trajectory.taps == {}
    np.testing.assert_array_equal(trajectory.stats["step"], [1, 5])
    np.testing.assert_allclose(trajectory.stats["norm"], jnp.sum(full.x0**2, (1, 2, 3))[np.array([1, 5])], rtol=1e-6)
    np.testing.assert_allclose(trajectory.stats["tap"], full.taps["hidden"][np.array([1, 5]), 0], atol=1e-6)
    assert sample(velocity, X, GRID, record=Record(fields=("x", "taps"), fn=fn)).taps["hidden"].shape == (6, *SHAPE)


@pytest.mark.parametrize(
    "record, floats",
    [
        (Record(()), 0),
        (Record((1, 4)), 3 * 2 * X.size),
        (Record((2,), ("x0",)), X.size),
        (Record(), (3 * 6 + 1) * X.size),
        (Record(fn=lambda s: jnp.mean(s.x0)), 6),
    ],
)
def test_memory_is_what_is_recorded(record, floats):
    """Output bytes: the recorded rows, the grid (2 S + 1 numbers), the final state, and 8 a result for the tuple."""
    run = jax.jit(lambda x: sample(plain, x, GRID, record=record)).lower(X).compile()
    results = len(jax.tree.leaves(jax.eval_shape(lambda x: sample(plain, x, GRID, record=record), X)))
    assert run.memory_analysis().output_size_in_bytes == 4 * (floats + 13 + X.size) + 8 * results


def test_temporary_memory_grows_with_what_is_recorded_only():
    x = jnp.ones((64, 64))
    temp = {}
    for name, record in {"nothing": Record(()), "two": Record((0, 90), ("x0",)), "all": Record()}.items():
        run = jax.jit(lambda x, r=record: sample(lambda x, level: jnp.sin(x), x, grids.shifted(100), record=r))
        temp[name] = run.lower(x).compile().memory_analysis().temp_size_in_bytes
    assert temp["two"] - temp["nothing"] <= 4 * x.nbytes  # two rows, the row thrown away, and one in passing
    assert temp["all"] - temp["nothing"] <= 302 * x.nbytes  # 301 rows are the output itself


# ----------------------------------------------------------------------------------------- what is not asked for


def test_without_edit_taps_and_record_the_program_is_the_plain_one():
    """A hand-written Euler scan, and `sample` with features that are off or empty, compile to the same program."""
    nothing = hlo(record=Record(()))
    assert nothing == hlo(record=Record(()), key=KEY)
    assert nothing == hlo(record=Record(()), edit=lambda step, x, key: x)
    assert nothing == hlo(lambda x, level: Prediction(plain(x, level), {}), record=Record(()))
    assert nothing == hlo(velocity, record=Record(()))  # taps that nobody records
    assert nothing == hlo((Phase(6, plain),), record=Record(()))
    dt, times = np.diff(GRID.sigmas).astype(np.float32), GRID.times.astype(np.float32)

    def by_hand(x):
        step = lambda x, row: (x + row[0] * plain(x, Level(None, row[1])), None)
        return jax.lax.scan(step, x, (jnp.asarray(dt), jnp.asarray(times)))[0]

    ours, theirs = (_operations(t) for t in (nothing, jax.jit(by_hand).lower(X).compile().as_text()))
    assert ours == theirs


def _operations(text: str) -> list[str]:
    """Sorted operation names of a program: what it does, whatever its values are called."""
    import re

    return sorted(re.findall(r" = \S+ ([a-z-]+)\(", text))


def test_compile_time_does_not_grow_with_steps():
    texts, seconds = {}, {}
    for steps in (10, 200):
        run = jax.jit(
            lambda x, n=steps: sample(velocity, x, grids.shifted(n, 3.0), solver=unipc(3), record=Record((0, 5)))
        )
        begin = time.perf_counter()
        lowered = run.lower(X)
        texts[steps] = lowered.as_text()
        seconds[steps] = time.perf_counter() - begin
    counts = {n: len(t.splitlines()) for n, t in texts.items()}
    assert counts[10] == counts[200]
    assert seconds[200] < 3 * seconds[10] + 1.0  # loose: the machine is shared


# ----------------------------------------------------------------------------------------------- edits and phases


@pytest.mark.parametrize("name", SOLVERS)
def test_an_edit_changes_its_step_and_what_follows(name):
    run = lambda edit: sample(plain, X, GRID, solver=SOLVERS[name], key=KEY, edit=edit)
    without, edited = run(None), run(double_early)
    np.testing.assert_array_equal(edited.x[:2], without.x[:2])
    np.testing.assert_array_equal(edited.v[:2], without.v[:2])
    np.testing.assert_allclose(edited.x[2], 2 * without.x[2], rtol=1e-6)
    assert np.abs(edited.x[3:] - without.x[3:]).max((1, 2, 3)).min() > 1e-3


def test_edits_get_their_own_key_and_do_not_disturb_the_solver():
    seen = Record((), fn=lambda s: s.extra["noise"])
    seen = dataclasses.replace(seen, steps=None)
    noise = lambda edit: sample(plain, X, GRID, solver=sde(), key=KEY, edit=edit, record=seen).stats
    np.testing.assert_array_equal(noise(None), noise(lambda s, x, key: x + jax.random.normal(key, x.shape)))
    keys = sample(plain, X, GRID, key=KEY, edit=lambda s, x, key: jax.random.uniform(key, x.shape)).x[:-1]
    assert len(np.unique(np.asarray(keys))) == keys.size
    assert sample(plain, X, GRID, edit=lambda s, x, key: x if key is None else 0 * x).final.any()


def test_a_sweep_over_edited_steps_is_one_vmap():
    run = lambda at: sample(plain, X, GRID, edit=lambda s, x, key: jnp.where(s == at, 2 * x, x)).final
    swept = jax.vmap(run)(jnp.arange(6))
    np.testing.assert_allclose(swept, jnp.stack([run(s) for s in range(6)]), atol=1e-6)


@pytest.mark.parametrize("name", SOLVERS)
def test_phases_of_the_same_velocity_are_one_run(name):
    whole = sample(velocity, X, GRID, solver=SOLVERS[name], key=KEY)
    parts = sample((Phase(1, velocity), Phase(4, velocity), Phase(6, velocity)), X, GRID, solver=SOLVERS[name], key=KEY)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), parts, whole)


def test_phases_change_the_velocity_at_their_steps():
    other = lambda x, level: Prediction(-x, {"only": jnp.sum(x)})
    trajectory = sample([Phase(2, velocity), Phase(6, other)], X, GRID)
    np.testing.assert_allclose(trajectory.v[2:], -trajectory.x[2:-1], atol=1e-6)
    first = sample(velocity, X, GRID)
    np.testing.assert_allclose(trajectory.x[:3], first.x[:3], atol=1e-6)
    assert np.isnan(trajectory.taps["hidden"][2:]).all() and np.isnan(trajectory.taps["only"][:2]).all()
    np.testing.assert_allclose(trajectory.taps["only"][2:], jnp.sum(trajectory.x[2:-1], (1, 2, 3)), rtol=1e-5)


# ------------------------------------------------------------------------------------------------------ transforms


def averaged(step, x, key):
    return jnp.where(step < 3, jax.lax.pmean(x, "seed"), x)


@pytest.mark.parametrize("name", ["heun", "unipc", "sde"])
def test_vmap_pmap_and_shard_map_agree(name):
    """Eight seeds with a `pmean` edit, on eight (fake) devices and on one."""
    xs, keys = jax.random.normal(KEY, (8, *SHAPE)), jax.random.split(KEY, 8)
    record = Record((0, 3, 5), ("x", "x0"))

    def run(x, key):
        return sample(velocity, x, GRID, solver=SOLVERS[name], key=key, edit=averaged, record=record)

    one = lambda x, key: jax.tree.map(lambda a: a[None], run(x[0], key[0]))
    mesh = jax.make_mesh((8,), ("seed",), axis_types=(jax.sharding.AxisType.Auto,))
    mapped = jax.jit(jax.vmap(run, axis_name="seed"))(xs, keys)
    sharded = jax.jit(jax.shard_map(one, mesh=mesh, in_specs=P("seed"), out_specs=P("seed")))(xs, keys)
    pmapped = jax.pmap(run, axis_name="seed")(xs, keys)
    assert mapped.x.shape == (8, 3, *SHAPE)
    for other in (sharded, pmapped):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(np.asarray(a), b, atol=1e-5), other, mapped)


def test_a_sharded_network_may_start_from_an_unsharded_state():
    mesh = jax.make_mesh((8,), ("seed",), axis_types=(jax.sharding.AxisType.Auto,))
    scales = jnp.linspace(0.5, 1.5, 8)
    run = lambda x, scale: sample(lambda y, level: scale * plain(y, level), x, GRID, solver=unipc()).final
    body = lambda x, scale: run(x, scale[0])[None]
    sharded = jax.jit(jax.shard_map(body, mesh=mesh, in_specs=(P(), P("seed")), out_specs=P("seed")))(X, scales)
    np.testing.assert_allclose(np.asarray(sharded), jax.vmap(run, (None, 0))(X, scales), atol=1e-5)


def test_checkpoint_and_grad_give_the_same_gradient():
    def loss(w, wrap):
        v = wrap(lambda x, level: jnp.tanh(x @ w) + 0.1 * x)
        return jnp.sum(sample(v, X, GRID, solver=heun()).x0 ** 2)

    plain_gradient = jax.jit(jax.grad(lambda w: loss(w, lambda f: f)))(W)
    kept_nothing = jax.jit(jax.grad(lambda w: loss(w, jax.checkpoint)))(W)
    assert np.isfinite(plain_gradient).all()
    np.testing.assert_allclose(kept_nothing, plain_gradient, rtol=1e-4, atol=1e-5)


def test_the_start_can_be_donated():
    run = jax.jit(lambda x, key: sample(plain, x, GRID, solver=sde(), key=key), donate_argnums=0)
    x = X + 0
    trajectory = run(x, KEY)
    assert x.is_deleted() and not KEY.is_deleted()
    np.testing.assert_allclose(trajectory.final, sample(plain, X, GRID, solver=sde(), key=KEY).final, atol=1e-6)


def test_half_precision_is_raised_and_level_is_shown_in_the_precision_of_the_state():
    seen = []

    def velocity(x, level):
        seen.append((x.dtype, level.sigma.dtype, level.time.dtype))
        return x.astype(jnp.bfloat16)

    assert sample(velocity, X.astype(jnp.bfloat16), GRID).x.dtype == jnp.float32
    with jax.enable_x64(True):
        assert sample(velocity, np.asarray(X, np.float64), GRID).x.dtype == jnp.float64
    assert {str(d) for group in seen[:1] for d in group} == {"float32"}
    assert {str(d) for group in seen[-1:] for d in group} == {"float64"}


def test_a_trajectory_is_a_pytree():
    trajectory = sample(velocity, X, GRID, solver=unipc())
    again = jax.tree.map(lambda a: a + 0, trajectory)
    assert isinstance(again, Trajectory) and again.grid == GRID and again.solver is unipc()
    mixed = jax.tree.map(lambda a, b: a - b, trajectory, sample(velocity, X, GRID, solver=unipc()))
    assert all(not np.any(a) for a in jax.tree.leaves(mixed))


# Levels that almost touch, few and many: float64, because a multistep solver may amplify rounding on them.
@pytest.mark.parametrize("inner", [(0.5,), (0.336, 0.334, 0.031), (0.99, 0.7, 0.699, 0.01)])
def test_a_constant_velocity_is_walked_exactly(inner):
    """If eps - x0 is one constant, every solver lands on x0 and on the straight line at every level, on any grid."""
    grid = Grid(np.array([1.0, *inner, 0.0]))
    with jax.enable_x64(True):
        eps, x0 = np.random.default_rng(len(inner)).normal(size=(2, 5))
        line = grid.sigmas[:, None] * eps + (1 - grid.sigmas[:, None]) * x0
        for name in [name for name, solver in SOLVERS.items() if not solver.stochastic]:
            run = jax.jit(lambda x, name=name: sample(lambda x, level: eps - x0, x, grid, solver=SOLVERS[name]))(eps)
            # UniPC takes sigma 1 for 1 - 1e-6, as diffusers does
            np.testing.assert_allclose(run.x, line, atol=1e-5 if name == "unipc" else 1e-12)


# ---------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: sample(plain, X, GRID, record=Record((6,))),
            r"steps \[6\] are out of range, the grid has steps 0 to 5",
        ),
        (lambda: sample(plain, X, GRID, record=Record((-1,))), "out of range"),
        (lambda: Record((1, 1)), "steps must differ"),
        (
            lambda: sample(plain, X, GRID, record=Record(fields=("z",))),
            r"unknown fields \['z'\], this solver offers next, taps",
        ),
        (lambda: sample(plain, X, GRID, record=Record(fields=("noise",))), "unknown fields"),
        (lambda: sample((Phase(3, plain),), X, GRID), r"end at the 6 steps, found \[3\]"),
        (
            lambda: sample((Phase(4, plain), Phase(4, plain), Phase(6, plain)), X, GRID),
            r"must rise .* found \[4, 4, 6\]",
        ),
        (lambda: sample((Phase(0, plain), Phase(6, plain)), X, GRID), "must rise"),
        (lambda: sample((), X, GRID), "at least one Phase"),
        (lambda: as_phases("unipc", GRID), "velocity must be callable"),
        (lambda: check_arguments("unipc", GRID, None), "solver must be a Solver such as euler"),
        (lambda: check_arguments(unipc, GRID, None), "solver must be a Solver"),
        (lambda: check_arguments(euler(), 50, None), "grid must be a Grid"),
        (lambda: sample(plain, X, GRID, solver=sde()), "stochastic and needs key"),
        (lambda: sample(lambda x, level: x[0], X, GRID), r"return the shape of x, \(3, 2, 4\), found \(2, 4\)"),
        (lambda: sample(plain, X, GRID, edit=lambda s, x, k: x[:1]), r"edit must return the shape it is given"),
        (lambda: sample(plain, jnp.arange(3), GRID), "must be a real floating point array, found int32"),
        (lambda: Grid(np.array([1.0, 0.5, 0.5, 0.0])), "must fall strictly, found 0.5 at 1 followed by 0.5"),
        (lambda: Grid(np.array([1.2, 0.0])), "within"),
        (lambda: Grid(np.array([np.nan, 0.0])), "finite"),
        (lambda: Grid(np.array([1.0])), "at least 2 levels"),
        (lambda: Grid(np.array([1.0, 0.0]), np.array([1.0, 2.0])), "expected 1 times"),
    ],
)
def test_errors_say_what_was_found_and_what_was_expected(call, message):
    """Arguments of a wrong type are checked below `sample`: in tests its annotations refuse them before it can."""
    with pytest.raises(ValueError, match=message):
        call()


def test_phases_whose_taps_disagree_are_refused():
    tapped = lambda n: lambda x, level: Prediction(x, {"t": jnp.zeros(n)})
    with pytest.raises(ValueError, match="tap 't'"):
        sample((Phase(2, tapped(3)), Phase(6, tapped(4))), X, GRID)


def test_euler_is_the_default():
    np.testing.assert_array_equal(sample(plain, X, GRID).final, sample(plain, X, GRID, solver=euler()).final)
