"""When a motion is decided: counts of planted readings, feet of true walks, and noises that meet in one program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.vimogen import instruments, recogniser, solved
from vrjax.flow import grids, sample
from vrjax.models import motion as models
from vrjax.motion import program, smoothing
from vrjax.motion.program import predicates, verbs

CFG = models.MotionConfig(
    dim=12, ffn_dim=12, heads=2, layers=2, reference_channels=None, text_dim=12, text_len=24, freq_dim=8,
    predicts="clean", gate_init=1.0,
)  # fmt: skip
ASKED = solved.Asked(steps=2, guidance=1.5, path="position", shift=5.0)
ROWS, NOISES = 24, 2


def reading(verb, stands):
    """Readings of one prompt with planted verbs (k, s) and feet (k, s, t, 2)."""
    verb, stands = np.asarray(verb)[None], np.asarray(stands)[None]
    no = np.zeros(verb.shape, bool)
    return instruments.Reading(verb, 0 * verb, no, no, stands, np.zeros((1, verb.shape[1], stands.shape[3], 22, 3)))


def test_decided_of_planted_readings():
    walk, squat = ([row.name for row in verbs.LOWER].index(name) for name in ("walk", "squat"))
    feet = np.ones((2, 4, 10, 2), bool)
    feet[0, :2, :2] = False  # four of twenty differ until step 2
    feet[1, :3, 0, 0] = False  # one of twenty differs until step 3: as good as decided
    feet[1, :, 9] = False  # where the other noise stands
    found = instruments.decided(reading([[squat, walk, squat, walk], [walk] * 4], feet))
    verb, arms, falls = (found[name] for name in ("verb", "arms", "footfalls"))
    np.testing.assert_allclose(verb.curve, [[0.5, 1, 0.5, 1]])
    assert verb.step == [1.5] and verb.text == [1.0] and arms.step == [0.0]  # steps 3 and 0
    np.testing.assert_allclose(falls.curve, [[(0.8 + 0.95) / 2] * 2 + [(1 + 0.95) / 2, 1]])
    assert falls.step == [1.0] and falls.text == pytest.approx([0.9])  # steps 2 and 0; two of twenty differ at the end
    assert "footfalls" not in instruments.decided(reading([[squat] * 4] * 2, feet))


def test_spread_is_of_bodies_not_of_their_ways():
    pose = np.random.default_rng(0).normal(size=(1, 1, 5, 22, 3))
    both = np.concatenate([pose, pose + np.array([3.0, -2.0, 0.0])], 1)
    assert instruments.spread(both) == pytest.approx([0.0], abs=1e-12)
    both[:, 1, ..., 2] += 0.25
    assert instruments.spread(both) == pytest.approx([0.25])


def test_feet_of_true_walks_stand_where_the_program_planted_them():
    def one(key):
        script = program.draw(key, "S")._replace(lower=jnp.asarray(1))
        clip = program.perform(key, script, 61)
        return instruments.stands(clip.motion.joints), clip.contacts

    found, planted = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 8))
    assert np.mean(found == planted[:, : found.shape[1]]) > 0.9


@pytest.fixture(scope="module")
def made():
    model = models.init(CFG, jax.random.key(0))
    leaves, tree = jax.tree.flatten(model)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    model = tree.unflatten([x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)])
    items = solved.items("S", 8, ROWS, (CFG.text_len, CFG.text_dim))
    return model, recogniser.Recogniser(nnx.Rngs(0)), jax.tree.map(lambda x: x[:2], items)


def test_one_program_reads_what_a_loop_samples(made):
    model, judge, items = made
    sites = instruments.sites(model)
    watch = lambda mixed: jax.tree.map(
        np.asarray, instruments.watch(model, judge, items, ASKED, NOISES, np.float32(mixed))
    )
    alone = watch([0.0] * len(sites))
    noise = jax.random.normal(jax.random.key(0), (NOISES, ROWS, 276))
    script, text = jax.tree.map(lambda x: x[1], (items.script, items.text))
    velocity = model.guided(text, jnp.zeros_like(text), ASKED.guidance, mode="text")
    for k in range(NOISES):
        x0 = sample(velocity, noise[k], grids.vimogen(2, 5.0)).x0
        joints = jax.vmap(lambda rows: solved.joints_of(smoothing.smooth(rows), "position"))(x0)
        np.testing.assert_allclose(alone.last[1, k], joints[-1], atol=1e-4)
        for s in range(2):
            seen = recogniser.recognise(judge, joints[s])
            assert (seen.lower, seen.upper) == (alone.verb[1, k, s], alone.arms[1, k, s])
            assert bool(predicates.agrees(script, joints[s])) == alone.rules[1, k, s]
            assert bool(recogniser.agrees(script, seen).all) == alone.right[1, k, s]
            np.testing.assert_array_equal(instruments.stands(joints[s]), alone.stands[1, k, s])
    met = watch(np.eye(len(sites))[1])
    assert np.ptp(alone.last, axis=1).max() > 1e-2
    np.testing.assert_allclose(met.last[:, 0], met.last[:, 1], atol=1e-5)  # nothing but the noise told them apart
    half = watch(0.5 * np.eye(len(sites))[1])
    apart = [instruments.spread(x.last).mean() for x in (met, half, alone)]
    assert apart[0] < 1e-5 < apart[1] < apart[2]
