"""Video as an inverse problem: the world's closed forms against general ones, samplers against them, and the table."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats
from scipy.special import logsumexp

from experiments.inverse import occluder, video, video_arms
from experiments.inverse.config import Inverse, Video
from experiments.inverse.keys import exact
from experiments.inverse.occluder import SIZE, Law
from experiments.inverse.video_arms import Particles, Path, Weighed
from experiments.inverse.video_names import AVERAGED, DROPPED, TASKS
from vrjax.flow import Level
from vrjax.flow.draws import settled
from vrjax.inverse import distances
from vrjax.inverse.exact import mixture
from vrjax.models.wan import WanDiT
from vrjax.study.tables import Bench

TINY = Video(
    sizes=(16, 32),
    dim=24,
    ffn=24,
    layers=1,
    batch=16,
    steps=40,
    evaluations=3,
    observations=3,
    few=2,
    particles=20,
    rounds=3,
    moves=1,
    lanes=2,
    pool=128,
    draws=8,
    exact=2,
    directions=8,
    arms=("flowdps normalised",),
)
STUDY = Inverse(name="tiny", seeds=(0,), video=TINY)


@pytest.fixture(scope="module")
def law() -> Law:
    return occluder.world()


def some(law: Law) -> Law:
    """Four components and every eighth pixel."""
    return Law(law.weights[:4] / law.weights[:4].sum(), law.means[:4, ::8], law.std)


def general(law: Law) -> mixture.Mixture:
    return mixture.isotropic(jnp.asarray(law.weights), jnp.asarray(law.means), law.std)


def test_the_world_is_two_continuations_of_one_beginning(law):
    assert law.means.shape == (48, SIZE) and np.isclose(law.weights.sum(), 1)
    a, b = (law.means[occluder.continuations(law) == side].reshape(-1, 4, 8, 8) for side in (occluder.A, occluder.B))
    np.testing.assert_array_equal(a[:, :2], b[:, :2])
    assert (np.abs(a - b)[:, 3].sum((1, 2)) > 8).all() and (np.abs(law.means) <= 1).all()
    np.testing.assert_allclose(law.weights[occluder.continuations(law) == occluder.A].sum(), 0.7)
    for frame in a, b:
        assert (frame[..., list(occluder.WALL)] == 0).all()
    rows = np.arange(8)[:, None]
    height = lambda clips: ((clips[:, 3, :, 6:] + 1) * rows).sum((1, 2)) / (clips[:, 3, :, 6:] + 1).sum((1, 2))
    assert (height(a) < height(b)).all()  # A is above
    clips, which = occluder.draw(np.random.default_rng(0), law, 4000)
    np.testing.assert_allclose(np.mean(which % 2 == occluder.A), 0.7, atol=0.03)
    np.testing.assert_allclose(np.std(clips - law.means[which]), law.std, rtol=0.01)


def test_a_shape_is_drawn_to_a_fraction_of_a_pixel():
    """The mass of a ball of radius r with a ramp of one pixel is pi (r^2 + 1 / 12), times the contrast 2, and its
    middle is where it was put."""
    for row, place in ((3.0, 1.7), (3.3, 1.8), (3.5, 1.75)):
        ball = occluder.clip(row, place - occluder.PLACES[0], 1.2, 1.0)[0, :, :4, 0] + 1
        np.testing.assert_allclose(ball.sum(), 2 * np.pi * (1.2**2 + 1 / 12), rtol=0.06)
        np.testing.assert_allclose(ball.sum(1) @ np.arange(8) / ball.sum(), row, atol=0.02)
        np.testing.assert_allclose(ball.sum(0) @ np.arange(4) / ball.sum(), place, atol=0.06)


def test_operators_are_the_familys_over_their_norm(law):
    x = occluder.draw(np.random.default_rng(1), law, 1)[0][0]
    assert tuple(video_arms.tasks()) == TASKS
    for name, task in video_arms.tasks().items():
        family = video_arms.families()[name]
        seen = np.asarray(family.apply(x.reshape(occluder.SHAPE).astype(np.float32))).ravel()
        norm = video_arms.NOISE[name] / task.noise_std
        rows = len(task.forward)
        assert rows == seen.size and task.operator.in_shape == occluder.SHAPE and task.operator.out_shape == (SIZE,)
        np.testing.assert_allclose(task.forward @ x * norm, seen, atol=1e-5)
        out = np.asarray(task.operator.apply(x.reshape(occluder.SHAPE).astype(np.float32)))
        np.testing.assert_allclose(out[:rows] * norm, seen, atol=1e-5)
        assert (out[rows:] == 0).all()
        np.testing.assert_allclose(np.linalg.norm(task.forward, 2), 1)
    assert [len(task.forward) for task in video_arms.tasks().values()] == [128, 256, 128]


def test_the_chance_of_a_continuation_by_enumeration(law):
    rng = np.random.default_rng(2)
    for name, task in video_arms.tasks().items():
        clips, _ = occluder.draw(rng, law, 200)
        y = video_arms.observed(rng, task, clips)
        assert (y[:, len(task.forward) :] == 0).all()
        y = y[:, : len(task.forward)]
        found = occluder.chances(law, task.forward, y, task.noise_std)
        cov = law.std**2 * task.forward @ task.forward.T + task.noise_std**2 * np.eye(len(task.forward))
        noise = stats.multivariate_normal(np.zeros(len(cov)), cov)
        each = np.array([noise.pdf(y[0] - task.forward @ m) for m in law.means])
        each *= law.weights / np.max(each)
        np.testing.assert_allclose(found[0], each[0::2].sum() / each.sum(), rtol=1e-6)
        if name == DROPPED:
            np.testing.assert_allclose(found, 0.7)
        else:
            np.testing.assert_allclose(found.mean(), 0.7, atol=0.1)  # the mean of posteriors is the prior
            assert np.std(found) > 0.15


def test_posterior_and_flow_are_the_general_mixtures(law):
    few, noise_std, rng = some(law), 0.6, np.random.default_rng(3)
    forward = rng.normal(size=(20, few.means.shape[1])) / 4
    y = forward @ occluder.draw(rng, few, 1)[0][0] + noise_std * rng.normal(size=20)
    after = occluder.posterior(few, forward, y, noise_std)
    with exact():
        wanted = mixture.posterior(general(few), jnp.asarray(forward), jnp.asarray(y), noise_std)
        np.testing.assert_allclose(after.weights, wanted.weights, atol=1e-9)
        np.testing.assert_allclose(after.means, wanted.means, atol=1e-9)
        np.testing.assert_allclose(after.root @ after.root.T, wanted.covariances[2], atol=1e-9)
        evidence = logsumexp(occluder.log_evidences(few, forward, y[None], noise_std))
        other = mixture.log_evidence(general(few), jnp.asarray(forward), jnp.asarray(y), noise_std)
        np.testing.assert_allclose(evidence, other, rtol=1e-9)
        x, level = jnp.asarray(rng.normal(size=few.means.shape[1])), Level(jnp.asarray(0.3), 300.0)
        found = occluder.velocity(few)(x.reshape(4, -1), level).ravel()
        np.testing.assert_allclose(found, mixture.velocity(general(few))(x, level), atol=1e-9)
        near = jnp.asarray(0.6 * few.means[1] + 0.4 * few.means[0])
        np.testing.assert_allclose(
            occluder.responsibilities(few, near), mixture.responsibilities(general(few), near), atol=1e-9
        )
    drawn = occluder.draw_after(rng, after, 20_000)
    np.testing.assert_allclose(drawn.mean(0), after.weights @ after.means, atol=0.03)


def test_a_network_that_has_learned_nothing_is_the_gaussian_of_the_clips(law):
    """Its last layer is 0. Then the velocity is that of N(mean, variance I), whatever the other weights are."""
    clips = occluder.draw(np.random.default_rng(4), law, 64)[0]
    params = nnx.to_pure_dict(nnx.split(WanDiT(video_arms.network(TINY), rngs=nnx.Rngs(0)))[1])
    variance = np.mean((clips - clips.mean(0)) ** 2)
    prior = {
        "network": params,
        "mean": clips.mean(0).reshape(occluder.SHAPE).astype(np.float32),
        "variance": np.float32(variance),
    }
    x, level = (
        np.random.default_rng(5).normal(size=SIZE).astype(np.float32),
        Level(jnp.float32(0.4), jnp.float32(400.0)),
    )
    found = video_arms.velocity(TINY, prior)(x.reshape(occluder.SHAPE), level).ravel()
    # E[n - x0 | x] of a Gaussian, written out.
    gain = 0.6 * variance / (0.6**2 * variance + 0.4**2)
    x0 = clips.mean(0) + gain * (x - 0.6 * clips.mean(0))
    np.testing.assert_allclose(found, (x - x0) / 0.4, atol=1e-4)


def test_particles_and_pool_find_the_worlds_posterior(law):
    """Through the exact velocity: chance and evidence, against closed forms, and the gate passes."""
    sizes = dataclasses.replace(TINY, evaluations=8, particles=128, rounds=8, moves=3, lanes=6)
    single = Law(*(np.asarray(part, np.float32) for part in law))
    rng = np.random.default_rng(6)
    pool = occluder.draw(rng, law, 8192)[0]
    likely = video.chance(law, pool)
    task = video_arms.tasks()[AVERAGED]
    y = video_arms.observed(rng, task, occluder.draw(rng, law, 6)[0])
    seen = y[:, : len(task.forward)]
    wanted = occluder.chances(law, task.forward, seen, task.noise_std)
    logs = logsumexp(occluder.log_evidences(law, task.forward, seen, task.noise_std), axis=1)
    logs += len(task.forward) / 2 * np.log(2 * np.pi * task.noise_std**2)
    weighed = video_arms.weighed(task, pool, likely, y)
    np.testing.assert_allclose(weighed.log_evidence, logs, atol=0.4)
    np.testing.assert_allclose(weighed.chance, wanted, atol=0.2)
    with settled(True):
        made = video_arms.particles(sizes, law, single, task, y, jax.random.key(1))
    assert (made.power == 1).all() and made.finite.all() and made.path.above.shape == (6, 128, 8)
    chance = video.chance(law, made.clips).mean(1)
    assert np.abs(np.mean(chance - wanted)) < 0.1 and np.mean(np.abs(chance - wanted)) < 0.15
    assert np.sqrt(np.mean((made.log_evidence - logs) ** 2)) < 0.5
    np.testing.assert_allclose(made.path.above[..., -1].mean(), chance.mean(), atol=0.03)
    # The noise's norm is 1 in its own unit, and draws of the posterior miss y by about as much.
    np.testing.assert_allclose(made.path.residual[..., -1].mean(), 1, atol=0.2)
    assert video.gate(made, weighed, chance) == ""


def test_the_gate_says_what_is_wrong():
    path = Path(np.zeros((4, 2, 3)), np.zeros((4, 2, 3), bool))
    made = Particles(np.zeros((4, 2, SIZE)), path, np.ones(4), np.zeros(4), np.ones(4, bool))
    pool = Weighed(np.full(4, 0.5), np.full(4, 100.0), np.zeros(4))
    chances = np.full(4, 0.5)
    assert video.gate(made, pool, chances) == ""
    assert "before 1" in video.gate(made._replace(power=np.array([1, 1, 0.5, 1])), pool, chances)
    assert "not finite" in video.gate(made._replace(finite=np.array([True, False, True, True])), pool, chances)
    assert "evidence" in video.gate(made._replace(log_evidence=np.array([1.0, -1, 1, -1])), pool, chances)
    assert "chance" in video.gate(made, pool, chances + 0.1)
    assert "effective draws" in video.gate(made, pool._replace(ess=np.array([100, 100, 10, 10])), chances)
    # A pool that is too thin for an observation does not judge it.
    away = made._replace(log_evidence=np.array([0, 0, 0, 9.0]))
    assert video.gate(away, pool._replace(ess=np.array([99, 99, 99, 9.0])), chances) == ""


def test_instruments():
    above = np.array([[True, False, True, True], [False, False, False, False]])
    np.testing.assert_allclose(video.decided(above), [0.5, 0.5, 1, 1])
    rng = np.random.default_rng(7)
    x, y, sides = rng.normal(size=(20, 3)), rng.normal(size=(20, 3)), np.eye(3)
    np.testing.assert_allclose(video.sliced(x, y, sides), distances.sliced_w1(x, y, sides), rtol=1e-5)
    assert np.isnan(video.sliced(x * np.nan, y, sides))
    away = occluder.world().means - occluder.world().weights @ occluder.world().means
    kept = away @ video.axes(occluder.world()).T
    share = (occluder.world().weights @ kept**2).sum() / (occluder.world().weights @ away**2).sum()
    np.testing.assert_allclose(share, 0.97, atol=0.005)
    with pytest.raises(ValueError, match="at least 8 clips"):
        Video(sizes=(4, 16))
    with pytest.raises(ValueError, match="steps = 5"):
        Video(steps=5)
    with pytest.raises(ValueError, match="few = 30 of 27"):
        Video(few=30)
    with pytest.raises(ValueError, match="expected no more than"):
        Video(draws=200)


def test_all_of_a_seed(tmp_path):
    """Names, shapes, what is not measured, and one program for all sizes and tasks."""
    programs: tuple[Any, ...] = (video_arms._trained, video_arms._tempered, video_arms._guided)
    before = [program._cache_size() for program in programs]
    table = video.measure(STUDY, Bench(tmp_path), 0)
    # Particles and guided arms: one of the network and one of the world's own velocity.
    assert [program._cache_size() - old for program, old in zip(programs, before, strict=True)] == [1, 2, 2]
    assert table["exact"].shape == (3, 3) and table["truth"].shape == (3,)
    np.testing.assert_allclose(table["exact"][0], 0.7)
    np.testing.assert_allclose(table["exact above"], table["exact"][:, :2].mean(1))
    for name in ("sliced w1", "chance", "variation", "nowhere", "noise"):
        assert table[f"prior {name}"].shape == (3,) and np.isfinite(table[f"prior {name}"]).all()
    # The map of the exact velocity has the world's components, if not their noise; a network of 40 steps has not.
    assert 0 < table["prior floor"] < table["prior sliced w1"][0]
    assert (
        table["prior sliced w1"][2] < table["prior sliced w1"][0]
        and table["prior nowhere"][2] < table["prior nowhere"][0]
    )
    assert table["losses"].shape == (3, 10) and (table["losses"][:2, -1] < table["losses"][:2, 0]).all()
    for name in ("chance", "power", "log evidence", "finite"):
        value = table[f"latent {name}"]
        assert value.shape == (3, 3, 3) and np.isnan(value[0, :, 2]).all() and np.isfinite(value[1:]).all()
    for name in ("chance", "ess", "log evidence"):
        assert table[f"pool {name}"].shape == (3, 3, 3) and np.isfinite(table[f"pool {name}"]).all()
    # The gate fails where rounds are too few or the pool is too small: then nothing is told but why.
    assert table["latent why"].shape == (3, 3) and table["latent ranks"].shape == (3, 3, 3, 4)
    assert table["latent w1"].shape == (3, 3, 2) and table["w1 floor"].shape == (3, 2)
    failed = table["latent why"] != ""
    assert failed.any() and (table["latent ranks"][failed] == -1).all() and np.isnan(table["latent w1"][failed]).all()
    assert np.isfinite(table["latent w1"][~failed]).all()
    assert table["guided chance"].shape == table["guided w1"].shape == (2, 1, 3, 2)
    assert ((table["guided chance"] >= 0) & (table["guided chance"] <= 1)).all() and (table["guided finite"] == 1).all()
    assert table["guided number"][0] in (1.0, 0.5, 0.25, 0.1)
    for name in ("residual", "above", "decided"):
        assert table[f"latent path {name}"].shape == (3, 3, 3)
        assert table[f"flowdps normalised path {name}"].shape == (2, 3, 28)
    assert (table["latent path decided"][..., -1] == 1).all()
    assert table["latent shown"].shape == (3, 3, 3, SIZE) and table["shown exact"].shape == (3, 3, SIZE)
    # What is shown of the data is the first truth's, in its own unit, but for the noise.
    truth, seen = table["shown truth"].astype(float), table["shown y"][0] * table["shown norm"][0]
    assert np.std(seen[:128] - truth[:128]) == pytest.approx(video_arms.NOISE[DROPPED], rel=0.2)
    # The last estimate is the clip itself.
    last = table["latent chance"][2, :, :2].mean(1)
    np.testing.assert_allclose(table["latent path above"][2, :, -1], last, atol=0.05)
