"""Attribution: exact where the network is linear, the derivative elsewhere, 0 where nothing depends on a site."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny
from vrjax.flow import Record, grids, sample
from vrjax.reasoning.instruments import attribution, layers, null
from vrjax.reasoning.instruments.attribution import Sites

PATCH = (1, 2, 2)
SHAPE = (3, 4, 4, 2)  # 12 tokens
BLOCKS = 2
GRID = grids.shifted(4, shift=3.0)
KEYS = jax.random.split(jax.random.key(3), 8)
X, STILL = (jax.random.normal(key, SHAPE) for key in KEYS[:2])
FILMS = jax.random.normal(KEYS[2], (3, *SHAPE)).at[:, 0].set(STILL[0])  # frame 0 is given, as on the tasks


def linear(edits):
    """A "network" whose blocks mix tokens and channels linearly, each part reading what entered the block."""
    mixes = 0.3 * jax.random.normal(KEYS[3], (BLOCKS, 3, 12, 12))
    turns = 0.5 * jax.random.normal(KEYS[4], (BLOCKS, 3, 8, 8))

    def velocity(x, level):
        h = attribution.tokens(x, PATCH)
        for k in range(BLOCKS):
            parts = [mixes[k, i] @ h @ turns[k, i] for i in range(3)]
            h = h + sum(
                edits.get(site, lambda part, k: part)(part, k)
                for site, part in zip(layers.INCREMENTS, parts, strict=True)
            )
        v = h.reshape(3, 2, 2, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5).reshape(SHAPE)  # tokens back into place
        return v * (1 + level.sigma)

    return velocity


def read(x, rivals=(False, True, False)):
    return attribution.margin(x, FILMS, 0, jnp.asarray(rivals))


LINEAR = {"blocks": BLOCKS, "still": STILL, "patch": PATCH}
EVERY = Sites(*(jnp.asarray(a.ravel(), jnp.int32) for a in np.mgrid[:4, : BLOCKS + 1, :12]))


@pytest.fixture(scope="module")
def exact():
    clean = sample(linear({}), X, GRID)
    found = attribution.attribute(lambda edits: linear(edits), read, X, GRID, **LINEAR)
    effects = jax.jit(lambda sites: attribution.ablate(lambda edits: linear(edits), read, clean, GRID, sites, **LINEAR))
    return found, np.asarray(effects(EVERY)).reshape(found.map.shape), clean


def test_a_linear_network_is_attributed_exactly(exact):
    found, effects, clean = exact
    assert found.map.shape == (4, BLOCKS + 1, 12)
    np.testing.assert_allclose(found.margin, read(clean.final), rtol=1e-5)
    scale = np.abs(effects).max()
    assert scale > 0.01
    np.testing.assert_allclose(found.map, effects, atol=1e-4 * scale)


def test_sites_on_which_nothing_depends_get_nothing(exact):
    found, effects, _ = exact
    # what the last step says of frame 0 is read by nobody: all films agree there; one step earlier other tokens see it
    assert not found.map[-1, -1, :4].any() and not effects[-1, -1, :4].any()
    assert (found.map[-1, -1, 4:] != 0).all() and (found.map[-2, -1, :4] != 0).all()


def test_one_site_is_changed_and_only_from_its_step_on():
    dose = jnp.zeros((4, BLOCKS + 1, 12)).at[2, 1, 5].set(1.0)
    plain, changed = (
        sample(attribution.dosed(linear, d, GRID, STILL, PATCH), X, GRID, record=Record(fields=("x", "v")))
        for d in (0 * dose, dose)
    )
    assert np.array_equal(plain.x[:3], changed.x[:3])
    far = np.abs(np.asarray(attribution.tokens(plain.v[2] - changed.v[2], PATCH))).max(1) > 1e-6
    assert far[5] and far.sum() == 1  # behind the last block nothing is mixed any more
    said = attribution.dosed(linear, jnp.zeros((4, 3, 12)).at[0, 2].set(1.0), GRID, STILL, PATCH)
    still = sample(said, X, GRID, record=Record(steps=(0,), fields=("x0",))).x0[0]
    np.testing.assert_allclose(still, STILL, atol=1e-5)


# ------------------------------------------------------------------------------------------------------------ a network


@pytest.fixture(scope="module")
def network():
    """A random DiT: its map with and without recomputation, and what doses do."""
    keys = jax.random.split(jax.random.key(5), 5)
    shape, grid = tiny.SHAPE, grids.shifted(3, shift=3.0)
    text, image = jax.random.normal(keys[0], (16, 8)), jax.random.normal(keys[1], (*shape[:-1], 4))
    films, noise = jax.random.normal(keys[2], (4, *shape)), jax.random.normal(keys[3], shape)
    dit = tiny.dit()
    model = functools.partial(dit.velocity, text, image)
    of = {"blocks": dit.cfg.layers, "still": films[3], "patch": dit.cfg.patch}
    score = lambda x: attribution.margin(x, films, 0, jnp.ones(4, bool))
    found = {
        remat: jax.jit(lambda remat=remat: attribution.attribute(model, score, noise, grid, **of, remat=remat))()
        for remat in (True, False)
    }
    run = lambda dose: score(sample(attribution.dosed(model, dose, grid, films[3], dit.cfg.patch), noise, grid).final)
    clean = sample(model(taps=attribution.TAPS), noise, grid)
    return found, jax.jit(run), (model, score, clean, grid, of)


def test_recomputing_steps_changes_nothing(network):
    found, _, _ = network
    np.testing.assert_allclose(found[True].map, found[False].map, rtol=1e-4, atol=1e-7)
    assert found[True].margin == pytest.approx(float(found[False].margin), abs=1e-6)


def test_it_is_the_derivative_of_the_run(network):
    found, run, _ = network
    slopes = found[True].map
    assert run(0 * slopes) == pytest.approx(float(found[True].margin), abs=1e-6)
    along = jax.random.normal(jax.random.key(0), slopes.shape)
    alone = jnp.zeros_like(slopes).at[np.unravel_index(int(jnp.abs(slopes[:, :-1]).argmax()), slopes[:, :-1].shape)]
    for direction, size in ((along, 3e-3), (alone.set(1.0), 3e-2)):
        difference = (run(size * direction) - run(-size * direction)) / (2 * size)
        assert difference == pytest.approx(float((slopes * direction).sum()), rel=0.02)


def test_ablations_are_whole_doses_and_one_program(network):
    found, run, (model, score, clean, grid, of) = network
    traced = []

    def counted(edits):
        traced.append(1)
        return model(edits=edits)

    effects = jax.jit(lambda sites: attribution.ablate(counted, score, clean, grid, sites, **of))
    sites = Sites(*(jnp.array(a) for a in ((0, 1, 2, 2), (0, 1, 1, 2), (3, 15, 0, 7))))
    ablated = effects(sites)
    before = len(traced)
    assert before < 12 and np.isfinite(effects(Sites(sites.step, sites.row, sites.token[::-1]))).all()
    assert len(traced) == before
    zeros = jnp.zeros_like(found[True].map)
    for i in range(4):
        site = tuple(int(a[i]) for a in sites)
        np.testing.assert_allclose(ablated[i], run(zeros.at[site].set(1.0)) - found[True].margin, atol=1e-5)


def test_sizes(network):
    _, _, (model, _, clean, grid, of) = network
    record = Record(fields=(), fn=attribution.recorded_sizes(of["still"], of["patch"]))
    sizes = sample(model(taps=attribution.TAPS), clean.x[0], grid, record=record).stats
    after, before = clean.taps["block.*"][:, 1], clean.taps["block.*"][:, 0]
    norm = functools.partial(np.linalg.norm, axis=-1)
    assert {a.shape for a in sizes} == {(3, 3, 16)}
    np.testing.assert_allclose(sizes.stream[:, 1], norm(after), rtol=1e-4)
    np.testing.assert_allclose(sizes.increment[:, 1], norm(after - before), rtol=1e-3, atol=1e-5)
    moved = norm(attribution.tokens(clean.x0[0] - of["still"], of["patch"]))
    np.testing.assert_allclose(sizes.increment[0, 2], moved, rtol=1e-6)  # a sum in another order


# ------------------------------------------------------------------------------------------------------ margin and null


def test_margin():
    apart = FILMS[1] - FILMS[0]
    for share, wanted in ((0.0, 1.0), (0.5, 0.0), (1.0, -1.0)):
        assert read(FILMS[0] + share * apart) == pytest.approx(wanted, abs=1e-5)
    every = (True, True, True)  # the answer itself is no rival
    assert read(FILMS[0], every) == pytest.approx(1.0, abs=1e-5)
    assert read(FILMS[1], every) < -0.5 and read(FILMS[2], every) < -0.5
    assert read(jnp.stack([FILMS[0], FILMS[1]])).shape == (2,)
    assert attribution.choose(FILMS[2] + 0.1, FILMS, jnp.array([True, True, True])) == 2
    assert attribution.choose(FILMS[2], FILMS, jnp.array([True, True, False])) != 2


def test_the_null_model_has_the_row_of_the_estimate():
    model = lambda edits: null.velocity(FILMS)
    found = attribution.attribute(model, read, X, GRID, blocks=0, still=STILL, patch=PATCH)
    assert found.map.shape == (4, 1, 12) and np.isfinite(found.map).all() and found.map.any()
    sure = attribution.attribute(  # whoever knows the answer decides nothing before the last step
        lambda edits: null.velocity(FILMS, jnp.array([1.0, 0, 0])), read, X, GRID, blocks=0, still=STILL, patch=PATCH
    )
    assert np.abs(sure.map[:-1]).max() < 1e-5 and sure.map[-1].any()
