"""Motions as training data: the rows of the motion that the caption tells of, normalised, padded, never repeated."""

import json

import jax
import numpy as np
import pytest

from vrjax import motion
from vrjax.data import batches, motions
from vrjax.data.motions import Motions
from vrjax.models.embedded import captions
from vrjax.motion import program, reference, rep276
from vrjax.motion.program import predicates, scale

TEXT = (24, 12)
PLAIN = Motions(rows=40, corrupted=False)
PADDED = Motions(sets=("S", "V"), rows=40, shortest=20, captions="long")


@pytest.fixture(scope="module")
def plain():
    return jax.device_get(jax.jit(lambda n: motions.make(PLAIN, 0, n, text=TEXT))(np.arange(64, dtype=np.uint32)))


@pytest.fixture(scope="module")
def padded():
    make = jax.jit(lambda n: motions.make(PADDED, 0, n, text=(36, 12)))
    return jax.device_get(make(np.arange(64, dtype=np.uint32)))


def test_a_motion_is_what_its_caption_says(plain):
    """Read back from the latent alone: the one script of the set that has this caption agrees with the joints."""
    assert plain.keys() == {"latent", "text", "reference"}
    every = program.scripts("S")
    rows = lambda script, p: captions.of_tokens(program.tokens(script, p), *TEXT)
    texts = np.asarray(jax.jit(jax.vmap(jax.vmap(rows, (None, 0)), (0, None)))(every, np.arange(3)))
    joints = jax.jit(jax.vmap(lambda x: motion.from_276(rep276.denormalise(x, scale.load())).joints))(plain["latent"])
    agrees, seen = jax.jit(predicates.agrees), 0
    for text, moved in zip(plain["text"][:16], np.asarray(joints), strict=False):
        (where, _), *more = np.argwhere(np.abs(texts - text).max((2, 3)) < 1e-5)
        assert not more
        seen += bool(agrees(program.Script(*(column[where] for column in every)), moved))
    assert seen >= 14  # two seconds are short for the longest scripts


def test_normalised_with_the_committed_statistics(plain):
    """Fresh motions have mean 0 and deviation 1 by the file that `scale` wrote, columns that never move apart."""
    made = np.asarray(plain["latent"], np.float64)
    moving = scale.load().std > scale.LEAST * 1.01
    assert np.abs(made.mean((0, 1)))[moving].mean() < 0.15
    assert np.median(made.std((0, 1))[moving]) == pytest.approx(1, abs=0.15)
    again = scale.measure(200)
    np.testing.assert_allclose(again.std, scale.load().std, rtol=0.4, atol=2e-3)
    np.testing.assert_array_equal(scale.load().std[~moving], np.float32(scale.LEAST))


def test_the_reference_is_the_motion_or_a_poor_estimate_of_it(plain, padded):
    np.testing.assert_array_equal(plain["reference"], reference.reference(plain["latent"]))
    true = np.asarray(reference.reference(padded["latent"]))
    changed = np.abs(padded["reference"] - true).max(-1) > 0
    valid = padded["mask"] > 0
    assert 0.1 < changed[valid].mean() < 0.5 and not changed[~valid].any()


def test_padding(padded):
    latent, mask, length = padded["latent"], padded["mask"], padded["length"]
    np.testing.assert_array_equal(mask, np.arange(40) < length[:, None])
    assert length.min() >= 20 and length.max() <= 40 and len(set(length.tolist())) > 8
    assert not latent[mask == 0].any() and np.abs(latent[mask > 0]).max(-1).min() > 0


def test_a_shorter_motion_has_all_its_repeats():
    """The script ends with the motion: three jumps in 1.5 s of 3 s are three jumps."""
    script = program.script("bow", count=3)
    perform = jax.jit(lambda n: program.perform(jax.random.key(0), script, 61, duration=n).motion.joints)
    for frames in (41, 61):
        assert predicates.agrees(script, perform(frames)[:frames])
    assert not predicates.agrees(script, perform(61)[:41])
    whole = jax.jit(lambda: program.perform(jax.random.key(0), script, 41).motion.joints)()
    np.testing.assert_allclose(perform(41)[:41], whole, atol=1e-5)


def test_numbers_are_the_whole_state(plain):
    data = batches.pipeline(motions.Numbers(), batch=4)
    first, state = next(data), data.get_state()
    assert first["number"].dtype == np.uint32 and first["number"].tolist() == [0, 1, 2, 3]
    assert json.loads(json.dumps(state)) == state
    other = batches.pipeline(motions.Numbers(), batch=4, rows=(1, 3))
    other.set_state(state)
    assert next(other)["number"].tolist() == [5, 7]
    kept = {x.tobytes() for x in plain["latent"]}
    assert len(kept) == 64


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sets": ("S", "T")}, "found .*'T'.*, expected some of S, C, V"),
        ({"sets": ()}, "expected some of S, C, V"),
        ({"rows": 40, "shortest": 41}, "shortest 41 and rows 40, expected 1 <= shortest <= rows"),
        ({"paraphrases": 5}, "found 5, expected 1 to 4"),
    ],
)
def test_impossible_data(fields, message):
    with pytest.raises(ValueError, match=message):
        Motions(**fields)


def test_captions_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="the longest has 22 words, expected at most length=16"):
        motions.check(Motions(), (16, 12))
