"""Couplings over the seed axis: exact where members agree, equal to their formulas elsewhere; votes by brute force."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from vrjax.flow import Level, Phase, Record, grids, sample
from vrjax.models import wan
from vrjax.parallel.seeds import over_seeds
from vrjax.reasoning.instruments import arms as table
from vrjax.reasoning.instruments import ensemble, null

SHAPE = (2, 4, 4, 3)
LAYERS, STEPS = 3, 4
GRID = grids.shifted(STEPS, shift=3.0)


@pytest.fixture(scope="module")
def dit():
    cfg = wan.WanConfig(
        dim=16,
        ffn_dim=32,
        heads=2,
        layers=LAYERS,
        in_channels=3,
        out_channels=3,
        text_dim=8,
        freq_dim=16,
        gate_init=1.0,
    )
    model = wan.WanDiT(cfg, rngs=nnx.Rngs(0))
    # The output layer starts at zero, which would make every velocity zero: give it weights.
    model.head.kernel.set_value(jax.random.normal(jax.random.key(9), model.head.kernel.shape) * 0.3)
    return model


@pytest.fixture(scope="module")
def problem(dit):
    text = jax.random.normal(jax.random.key(1), (5, 8))
    return table.Problem(functools.partial(dit.velocity, text), lambda n: grids.shifted(n, shift=3.0))


@pytest.fixture(scope="module")
def oracle():
    """The exact denoiser of four candidates, the first twice as likely."""
    videos = jax.random.normal(jax.random.key(2), (4, *SHAPE))
    return videos, null.velocity(videos, jnp.array([0.4, 0.2, 0.2, 0.2]))


def seeds(fn, *inputs):
    return jax.jit(jax.vmap(fn, axis_name="seed"))(*inputs)


def bits(a):
    return np.asarray(a, np.float32).view(np.uint32)


# ------------------------------------------------------------------------------------------------------------ mean


@pytest.mark.parametrize("members", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_mean_of_equal_members_is_exact(members, dtype):
    x = (
        jax.random.normal(jax.random.key(members), (513,))
        * 10.0 ** jax.random.randint(jax.random.key(1), (513,), -6, 6)
    ).astype(dtype)
    same = jnp.broadcast_to(x, (members, 513))
    got = seeds(ensemble.mean, same)
    assert got.dtype == dtype
    np.testing.assert_array_equal(bits(got), bits(same))


def test_plain_pmean_would_not_be_exact():
    """Why `mean` is not `lax.pmean`: the sum of three equal numbers, divided by three, rounds away from them."""
    x = jnp.broadcast_to(jax.random.normal(jax.random.key(0), (4096,)), (3, 4096))
    assert (np.asarray(seeds(lambda a: jax.lax.pmean(a, "seed"), x)) != np.asarray(x)).any()


@pytest.mark.parametrize("how", ["vmap", "map", "pmap", "mesh"])
def test_mean_is_the_mean_however_the_seeds_run(how):
    keys = jax.random.split(jax.random.key(3), 4)
    draws = np.stack([jax.random.normal(k, (6,)) for k in keys])
    got = over_seeds(lambda key: ensemble.mean(jax.random.normal(key, (6,))), keys, how=how)
    np.testing.assert_allclose(got, np.broadcast_to(draws.mean(0), (4, 6)), atol=1e-6)


# ----------------------------------------------------------------------------------------------------------- x0 mean


def linear(x, level):
    return 0.3 * x + level.sigma * jnp.tanh(x)


def test_x0_mean_is_its_formula_and_finite_at_sigma_zero():
    x = jax.random.normal(jax.random.key(4), (3, 5))

    def at(sigma):
        return seeds(lambda x: ensemble.x0_mean(linear)(x, Level(sigma, 1000 * sigma)).v, x)

    sigma = jnp.float32(0.7)
    x0 = x - sigma * linear(x, Level(sigma, 0))
    np.testing.assert_allclose(at(sigma), (x - x0.mean(0)) / sigma, atol=1e-6)
    np.testing.assert_array_equal(at(jnp.float32(0)), linear(x, Level(jnp.float32(0), 0)))
    slope = jax.grad(lambda x, s: seeds(lambda x: ensemble.x0_mean(linear)(x, Level(s, s)).v, x).sum(), argnums=(0, 1))
    for sigma in (0.0, 1e-6, 1.0):
        assert all(np.isfinite(g).all() for g in slope(x, jnp.float32(sigma)))


def test_x0_mean_to_the_end_brings_all_members_to_one_video(oracle):
    _, velocity = oracle
    x = jax.random.normal(jax.random.key(5), (3, *SHAPE))
    final = seeds(lambda x: sample(ensemble.x0_mean(velocity), x, GRID).final, x)
    np.testing.assert_allclose(final, np.broadcast_to(final[0], final.shape), atol=1e-5)


# ------------------------------------------------------------------------------------------------------- latent mean


def test_latent_mean_at_the_start_is_the_run_from_the_mean_noise(oracle):
    _, velocity = oracle
    x = jax.random.normal(jax.random.key(6), (3, *SHAPE))
    traj = seeds(lambda x: sample(velocity, x, GRID, edit=ensemble.latent_mean(0)), x)
    single = sample(velocity, x.mean(0), GRID)
    np.testing.assert_allclose(traj.final, np.broadcast_to(single.final, x.shape), atol=1e-5)
    big = jax.random.normal(jax.random.key(7), (3, 40_000))
    edited = seeds(lambda x: ensemble.latent_mean(0)(jnp.int32(0), x, None), big)
    assert float(edited.std()) == pytest.approx(3**-0.5, rel=0.02)
    untouched = seeds(lambda x: ensemble.latent_mean(0)(jnp.int32(1), x, None), big)
    np.testing.assert_array_equal(untouched, big)


@pytest.mark.parametrize("step", [0, 2])
def test_latent_mean_restores_the_noise(step):
    """With the true x0 known: the edit keeps the mean signal and gives the noise its power back."""
    sigma = float(GRID.sigmas[step])
    x0 = jax.random.normal(jax.random.key(8), (3, 20_000))
    eps = jax.random.normal(jax.random.key(9), (3, 20_000))

    def one(x, x0, eps):
        edit = ensemble.latent_mean(step, restore=lambda x, level: eps - x0, grid=GRID)
        return edit(jnp.int32(step), x, None)

    got = seeds(one, (1 - sigma) * x0 + sigma * eps, x0, eps)
    noise = (got - (1 - sigma) * x0.mean(0)) / sigma
    assert float(jnp.sqrt(jnp.mean(noise**2))) == pytest.approx(float(jnp.sqrt(jnp.mean(eps**2))), rel=1e-4)
    direction = eps.mean(0) / jnp.linalg.norm(eps.mean(0))
    assert float(noise[0] @ direction / jnp.linalg.norm(noise[0])) == pytest.approx(1.0, abs=1e-4)


def test_latent_mean_needs_a_grid():
    with pytest.raises(ValueError, match="needs the grid"):
        ensemble.latent_mean(0, restore=linear)
    with pytest.raises(ValueError, match="4 steps and step 4"):
        ensemble.latent_mean(4, restore=linear, grid=GRID)


# ------------------------------------------------------------------------------------------------------- hidden mean


@pytest.mark.parametrize("how", ["vmap", "mesh"])
def test_hidden_mean_equalises_the_chosen_blocks_in_the_chosen_steps(dit, how):
    text = jax.random.normal(jax.random.key(1), (5, 8))
    taps = {"block.*": lambda h: h}
    inside = dit.velocity(text, taps=taps, edits=ensemble.hidden_mean([1]))
    phases = ensemble.window(inside, dit.velocity(text, taps=taps), 1, 3, STEPS)
    assert [p.stop for p in phases] == [1, 3, 4]
    keys = jax.random.split(jax.random.key(3), 2)
    h = over_seeds(lambda key: sample(phases, jax.random.normal(key, SHAPE), GRID).taps["block.*"], keys, how=how)
    gap = np.abs(np.asarray(h[0] - h[1])).max(axis=(-1, -2))  # [step, block]
    assert (gap[1:3, 1] == 0).all()
    assert (gap[[0, 3]] > 1e-3).all() and (gap[1:3, 0] > 1e-3).all()


def test_window_phases():
    a, b = linear, lambda x, level: x
    assert ensemble.window(a, b, 0, 4, 4) == (Phase(4, a),)
    assert ensemble.window(a, b, 0, 1, 4) == (Phase(1, a), Phase(4, b))
    assert ensemble.window(a, b, 3, 4, 4) == (Phase(3, b), Phase(4, a))
    assert ensemble.window(a, b, 2, 2, 4) == (Phase(4, b),)
    with pytest.raises(ValueError, match="window"):
        ensemble.window(a, b, 2, 5, 4)


# -------------------------------------------------------------------------------------------------------------- arms


COUPLED = {
    "hidden": dict(window=(0, 2), blocks=(1, 2)),
    "x0": dict(window=(0, 2)),
    "latent": dict(window=(1, 2)),
    "latent_restored": dict(window=(1, 2)),
}


@pytest.mark.parametrize("couple", COUPLED)
@pytest.mark.parametrize("members", [1, 3])
def test_identical_seeds_equal_the_single_run_bit_for_bit(problem, couple, members):
    """Also for M = 1: the ensemble of one is a no-op. Both sides run batched alike: only the coupling differs."""
    x = jnp.broadcast_to(jax.random.normal(jax.random.key(11), SHAPE), (members, *SHAPE))
    arm = table.Arm("coupled", STEPS, members=members, couple=couple, **COUPLED[couple])
    alone = seeds(lambda x: table.run(table.Arm("single", STEPS), problem, x).final, x)
    together = seeds(lambda x: table.run(arm, problem, x).final, x)
    np.testing.assert_array_equal(bits(together), bits(alone))


@pytest.mark.parametrize("couple", COUPLED)
def test_different_seeds_do_couple(problem, couple):
    """The counterpart of the test above: what is exact for equal seeds is not simply off."""
    x = jax.random.normal(jax.random.key(12), (3, *SHAPE))
    arm = table.Arm("coupled", STEPS, members=3, couple=couple, **COUPLED[couple])
    alone = seeds(lambda x: table.run(table.Arm("single", STEPS), problem, x).final, x)
    together = seeds(lambda x: table.run(arm, problem, x).final, x)
    assert float(jnp.abs(together - alone).max()) > 1e-3
    if couple.startswith("latent"):
        np.testing.assert_allclose(together, np.broadcast_to(together[0], together.shape), atol=1e-5)


def test_start_arms_and_renoising(oracle):
    _, velocity = oracle
    simple = table.Problem(lambda edits: velocity, lambda n: grids.shifted(n, shift=3.0))
    x, key = jax.random.normal(jax.random.key(13), SHAPE), jax.random.key(14)

    @jax.jit
    def everything(x):
        go = lambda **how: table.run(table.Arm("x", STEPS, **how), simple, x, key, record=Record())
        cold = sample(velocity, 0.3 * x, GRID).final
        return cold, go(temperature=0.3).final, go(temperature=0.0).final, sample(velocity, x, GRID), go(renoise=(2,))

    cold, by_arm, free, clean, traj = everything(x)
    np.testing.assert_allclose(by_arm, cold, atol=1e-6)
    np.testing.assert_array_equal(everything(-x)[2], free)
    np.testing.assert_allclose(traj.x[:2], clean.x[:2], atol=1e-6)
    sigma = GRID.sigmas[2]
    eps = (traj.x[2] - (1 - sigma) * clean.x0[2]) / sigma
    assert 0.7 < float(eps.std()) < 1.3 and abs(np.corrcoef(eps.ravel(), np.ravel(clean.x[2]))[0, 1]) < 0.35
    np.testing.assert_array_equal(everything(x)[4].final, traj.final)


def test_low_temperature_seeks_the_mode_of_the_oracle_and_so_does_latent_averaging(oracle):
    """The known trap: on a model without any reasoning, averaging states "helps", by temperature alone."""
    videos, velocity = oracle
    simple = table.Problem(lambda edits: velocity, lambda n: grids.shifted(n, shift=5.0))
    x = jax.random.normal(jax.random.key(15), (600, *SHAPE))

    def best(arm, group):
        fn = jax.vmap(lambda x: table.run(arm, simple, x).final, axis_name="seed")
        final = jax.jit(jax.vmap(fn))(x.reshape(-1, group, *SHAPE))[:, 0]
        gap = jnp.square(final[:, None] - videos).sum((-1, -2, -3, -4))
        return float((gap.argmin(1) == 0).mean())

    single = best(table.Arm("single", 20), 1)
    cold = best(table.Arm("cold", 20, temperature=0.3), 1)
    averaged = best(table.Arm("latent", 20, members=3, couple="latent", window=(0, 1)), 3)
    assert single == pytest.approx(0.4, abs=0.08)
    assert cold > single + 0.1 and averaged > single + 0.05


def test_network_evaluations_are_counted_by_calling(oracle):
    _, velocity = oracle
    calls = []

    def counting(x, level):
        jax.debug.callback(lambda _: calls.append(1), x.ravel()[0])  # of x, so that it is called for each seed
        return velocity(x, level)

    simple = table.Problem(lambda edits: counting, lambda n: grids.shifted(n, shift=3.0))
    x = jax.random.normal(jax.random.key(16), SHAPE)
    for arm in (table.Arm("a", 4), table.Arm("b", 2, temperature=0.5), table.Arm("c", 4, renoise=(1, 3))):
        calls.clear()
        jax.block_until_ready(table.run(arm, simple, x, jax.random.key(0)).final)
        jax.effects_barrier()
        assert len(calls) == arm.nfe
    # Coupled runs call the network for every member to the end; one answer needs the others only up to the coupling.
    for couple, extra in (("x0", 0), ("latent", 0), ("latent_restored", 3)):
        calls.clear()
        arm = table.Arm("d", 4, members=3, couple=couple, window=(1, 2))
        xs = jnp.broadcast_to(x, (3, *SHAPE))
        jax.block_until_ready(jax.vmap(lambda x, arm=arm: table.run(arm, simple, x).final, axis_name="seed")(xs))
        jax.effects_barrier()
        needed = 2 if couple == "x0" else 1  # steps that need all three members
        assert len(calls) == 3 * 4 + extra
        assert arm.nfe == len(calls) - 2 * (4 - needed)


def test_costs_of_the_pilot_table():
    rows = {arm.name: arm for arm in table.arms(20, 6)}
    assert rows["single"].nfe == 20 and rows["noise-free start"].nfe == 20
    hidden = [a for a in rows.values() if a.couple == "hidden" and a.blocks == (2, 3) and a.window[0] == 0]
    assert [a.nfe for a in hidden] == [22, 26, 32, 60]
    assert rows["majority of 3"].nfe == rows["oracle pass@3"].nfe == rows["x0 mean, all steps"].nfe == 60
    assert rows["steps 60"].nfe == 60 and rows["latent mean at 0"].nfe == 20
    assert rows["latent mean at 5"].nfe == 30 and rows["latent mean at 5, variance restored"].nfe == 33
    assert rows["re-noised at 5"].nfe == 21


@pytest.mark.parametrize("steps, layers, members", [(20, 6, 3), (2, 3, 2), (50, 40, 8), (7, 4, 5)])
def test_tables_are_sound(steps, layers, members):
    rows = table.arms(steps, layers, members=members)
    names = [a.name for a in rows]
    assert len(set(names)) == len(names) == len({dataclass_key(a) for a in rows})
    assert rows[0].program == rows[0].program and rows[0].name == "single"
    share = [a.name for a in rows if a.program == rows[0].program]
    assert share == ["single", f"majority of {members}", f"oracle pass@{members}"]
    first, middle, last = table.thirds(layers)
    assert [*first, *middle, *last] == list(range(layers)) and min(map(len, (first, middle, last))) > 0


def dataclass_key(arm):
    return (arm.steps, arm.members, arm.couple, arm.window, arm.blocks, arm.temperature, arm.renoise, arm.select)


@pytest.mark.parametrize(
    "bad, message",
    [
        (dict(couple="x0"), "window"),
        (dict(window=(0, 1)), "window"),
        (dict(couple="x0", window=(0, 5)), "window"),
        (dict(couple="latent", window=(0, 2)), "at one step"),
        (dict(couple="hidden", window=(0, 1)), "blocks"),
        (dict(blocks=(1,)), "blocks"),
        (dict(renoise=(4,)), "outside 0..3"),
        (dict(renoise=(1,), couple="x0", window=(0, 1)), "combined"),
        (dict(temperature=-0.1), "temperature"),
        (dict(members=0), "member"),
        (dict(couple="median", window=(0, 1)), "'median'"),
        (dict(select="best"), "'best'"),
    ],
)
def test_bad_arms(bad, message):
    with pytest.raises(ValueError, match=f"arm 'x'.*{message}"):
        table.Arm("x", 4, **bad)


def test_bad_runs_and_tables(problem):
    arm = table.Arm("x", STEPS, members=3, couple="x0", window=(0, 1))
    with pytest.raises(ValueError, match="couples 3 members, found an axis of 2"):
        seeds(lambda x: table.run(arm, problem, x).final, jnp.zeros((2, *SHAPE)))
    with pytest.raises(ValueError, match="at least 2 steps"):
        table.arms(20, 2)
    with pytest.raises(ValueError, match="no window"):
        table.arms(4, 6, early=(9,))


# ---------------------------------------------------------------------------------------------------- votes, pass@k


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_vote_by_brute_force(answers):
    winners = np.asarray(ensemble.vote(np.array(answers)))
    for r in range(len(answers)):
        line = answers[r:] + answers[:r]
        best = max(line, key=line.count)  # max keeps the first of equals
        assert answers[winners[r]] == best
        assert winners[r] == (r + line.index(best)) % len(answers)


def test_vote_on_maps_and_without_agreement():
    maps = np.array([[[0, 1], [2, 3]], [[0, 1], [2, 4]], [[0, 1], [2, 3]]])
    assert np.asarray(ensemble.vote(maps)).tolist() == [0, 2, 2]
    assert np.asarray(ensemble.vote(np.arange(3))).tolist() == [0, 1, 2]


def test_codes_of_host_answers():
    answers = [{"path": [1, 2], "grid": np.zeros(2)}, None, {"grid": np.zeros(2), "path": (1, 2)}, None, {"path": [1]}]
    got = ensemble.codes(answers)
    assert got[0] == got[2] and len(set(got.tolist())) == 4
    assert np.asarray(ensemble.vote(got)).tolist() == [0, 2, 2, 0, 0]


def test_outcomes():
    each = table.Arm("single", 4)
    majority = table.Arm("majority", 4, members=3, select="majority")
    oracle = table.Arm("oracle", 4, members=3, select="oracle")
    scores, answers = [1.0, 0.0, 1.0], ["a", "b", "a"]
    assert table.outcomes(each, scores).tolist() == [1, 0, 1]
    assert table.outcomes(majority, scores, answers).tolist() == [1, 1, 1]
    assert table.outcomes(majority, [1.0, 0.0, 0.0], ["a", "b", "c"]).tolist() == [1, 0, 0]
    assert table.outcomes(oracle, [0.0, 0.0, 1.0]).tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="3 decoded answers, found none"):
        table.outcomes(majority, scores)
    with pytest.raises(ValueError, match="expected 3"):
        table.outcomes(oracle, [1.0])
