"""Motions as training data: the rows of the motion that the caption tells of, normalised, padded, never repeated."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import tiny

from vrjax import motion
from vrjax.data import batches, motions
from vrjax.data.motions import Motions
from vrjax.flow import draws
from vrjax.models.embedded import captions
from vrjax.motion import program, reference, rep276
from vrjax.motion.program import choreography, predicates, scale

TEXT = (24, 12)
PLAIN = Motions(corrupted=False)
PADDED = Motions(
    sets=("S", "V"), rows=40, shortest=20, captions="long", told_by_text=(0.75, 0.25), noisy=("V",), paraphrases=1
)


@pytest.fixture(scope="module")
def plain():
    return jax.device_get(jax.jit(lambda n: motions.make(PLAIN, 0, n, text=TEXT))(np.arange(200, dtype=np.uint32)))


@pytest.fixture(scope="module")
def padded():
    make = jax.jit(lambda n: motions.make(PADDED, 0, n, text=(40, 12)))
    with pytest.MonkeyPatch.context() as other:
        other.setattr(program, "perform", tiny.performance)
        return jax.device_get(make(np.arange(64, dtype=np.uint32)))


def texts(split, shape, *, long=False):
    """Of all scripts of a set in all paraphrases of training (n, 3, l, d)."""
    rows = lambda script, p: captions.of_tokens(program.tokens(script, p, long=long), *shape)
    run = jax.jit(jax.vmap(jax.vmap(rows, (None, 0)), (0, None)))
    return np.asarray(run(program.scripts(split), np.arange(3)))


def test_a_motion_is_what_its_caption_says(plain):
    """Read back from the latent alone: the one script of the set that has this caption agrees with the joints."""
    assert plain.keys() == {"latent", "text", "reference"}
    every, known = program.scripts("S"), texts("S", TEXT)
    joints = jax.jit(jax.vmap(lambda x: motion.from_276(rep276.denormalise(x, scale.load())).joints))(plain["latent"])
    place = {text.tobytes(): i for i, row in enumerate(known) for text in row}
    assert len(place) == known.shape[0] * known.shape[1]
    found = np.array([place[text.tobytes()] for text in plain["text"]])
    assert np.all(jax.jit(jax.vmap(predicates.agrees))(program.Script(*(column[found] for column in every)), joints))
    ways = np.linalg.norm(np.diff(joints, axis=1), axis=-1)
    assert ways.max() < 0.4  # metres a frame: nothing jumps


def test_normalised_with_the_committed_statistics(plain):
    """Fresh motions have mean 0 and deviation 1 by the file that `scale` wrote, columns that never move apart."""
    made = np.asarray(plain["latent"], np.float64)
    moving = scale.load().std > scale.LEAST * 1.01
    assert np.abs(made.mean((0, 1)))[moving].mean() < 0.15
    assert np.median(made.std((0, 1))[moving]) == pytest.approx(1, abs=0.15)
    again = made.std((0, 1)) * scale.load().std
    np.testing.assert_allclose(np.maximum(again, scale.LEAST), scale.load().std, rtol=0.4, atol=2e-3)
    np.testing.assert_array_equal(scale.load().std[~moving], np.float32(scale.LEAST))


def test_the_file_is_made_of_all_rows(monkeypatch, tmp_path):
    """Of other motions, against float64; a joint that does not turn has the least deviation."""

    def sample(key, split, frames):
        a, b, c = jax.random.split(key, 3)
        turned = motion.matrix(jax.random.normal(a, (frames, 22, 6))).at[:, 21].set(np.eye(3))
        joints = jax.random.normal(b, (frames, 22, 3))
        found = motion.Motion(joints, turned[:, 0], turned[:, 1:], jax.random.normal(c, (frames, 3)))
        return None, program.Performance(found, np.ones((frames, 2), bool))

    monkeypatch.setattr(scale, "sample", sample)
    monkeypatch.setattr(scale, "FILE", tmp_path / "scale.npy")
    monkeypatch.setattr(scale, "CLIPS", 100)
    scale.main()
    key = lambda n: jax.random.fold_in(draws.key(scale.SEED), n)
    rows = jax.vmap(lambda n: motion.to_276(*sample(key(n), "S", scale.ROWS + 1)[1].motion))
    rows = jax.jit(rows)(np.arange(100))
    rows = np.asarray(rows, np.float64).reshape(-1, 276)
    mean, std = np.load(scale.FILE)
    np.testing.assert_allclose(mean, rows.mean(0), atol=1e-5)
    np.testing.assert_allclose(std, np.maximum(rows.std(0, ddof=1), scale.LEAST), rtol=1e-4)
    assert (std[120:126] == np.float32(scale.LEAST)).all() and (std[:120] > 0.1).all()


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
    angle = np.arccos(np.asarray(rep276.denormalise(latent, scale.load()))[:, 0, 0])
    np.testing.assert_allclose(angle, 0.01 * (length + 1), atol=1e-4)  # n + 1 frames are n rows


def test_sets_have_their_own_share_of_text_and_their_own_channels(padded):
    """Of the scripts of V, named in `noisy`, only the first 126 channels count without a reference."""
    known = texts("V", (40, 12), long=True)[:, 0]
    from_v = np.array([(np.abs(known - text).max((1, 2)) < 1e-5).any() for text in padded["text"]])
    assert 16 < from_v.sum() < 48
    np.testing.assert_array_equal(padded["drop_others"], np.where(from_v, np.float32(0.25), np.float32(0.75)))
    np.testing.assert_array_equal(padded["channels_alone"], (np.arange(276) < 126) | ~from_v[:, None])


def test_some_motions_wander(monkeypatch):
    """They have a zero text and always a reference; the others are what they are without them."""
    other = tiny.performance(jax.random.key(0), program.script("walk"), 21).motion
    monkeypatch.setattr(program, "perform", tiny.performance)
    monkeypatch.setattr(program, "wander", lambda key, frames: other._replace(transl=other.transl + 1))
    plain = dataclasses.replace(PLAIN, rows=20)
    spec = dataclasses.replace(plain, wander=0.5, told_by_text=(0.75,))
    make = jax.jit(motions.make, static_argnames=("spec", "text"))
    made, known = (jax.device_get(make(each, 0, np.arange(200, dtype=np.uint32), text=TEXT)) for each in (spec, plain))
    wanders = ~made["text"].any((1, 2))
    assert 70 < wanders.sum() < 130 and known["text"].any((1, 2)).all()
    np.testing.assert_array_equal(made["drop_others"], np.where(wanders, 0, np.float32(0.75)))
    for name in ("latent", "text", "reference"):
        np.testing.assert_allclose(made[name][~wanders], known[name][~wanders], atol=1e-4)  # over deviations of mm
    np.testing.assert_array_equal(made["reference"], reference.reference(made["latent"]))
    assert np.abs(made["latent"][wanders] - known["latent"][wanders]).max((1, 2)).min() > 0.5


def test_a_shorter_motion_has_all_its_repeats():
    """The script ends with the motion: three jumps in 1.5 s of 3 s are three jumps."""
    script = program.script("bow", count=3)
    perform = jax.jit(lambda n: program.perform(jax.random.key(0), script, 61, duration=n).motion.joints)
    agrees = jax.jit(predicates.agrees)
    for frames in (41, 61):
        assert agrees(script, perform(frames)[:frames])
    assert not agrees(script, perform(61)[:41])


def test_a_shorter_motion_is_one_of_fewer_frames(monkeypatch):
    """Where pelvis, feet and hands shall be, of every script of S; a pose does not know of time."""
    monkeypatch.setattr(choreography, "pose", lambda targets: targets)
    every = program.scripts("S")
    keys = jax.random.split(jax.random.key(0), len(every.lower))
    perform = lambda frames: jax.vmap(lambda k, s, n: program.perform(k, s, frames, duration=n), (0, 0, None))
    cut = jax.jit(lambda n: jax.tree.map(lambda x: x[:, :41], perform(61)(keys, every, n)))(41)
    whole = jax.jit(lambda: perform(41)(keys, every, None))()
    for found, expected in zip(cut.motion, whole.motion, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(cut.contacts, whole.contacts)


def test_numbers_are_the_whole_state(plain):
    data = batches.pipeline(motions.Numbers(7), batch=4)
    first, state = next(data), data.get_state()
    assert first["number"].dtype == np.uint32 and first["number"].tolist() == [0, 1, 2, 3]
    assert first["seed"].dtype == np.uint32 and first["seed"].tolist() == [7] * 4
    assert json.loads(json.dumps(state)) == state
    other = batches.pipeline(motions.Numbers(7), batch=4, rows=(1, 3))
    other.set_state(state)
    assert next(other)["number"].tolist() == [5, 7]
    kept = {x.tobytes() for x in plain["latent"]}
    assert len(kept) == 200


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sets": ("S", "T")}, "found .*'T'.*, expected some of S, C, V"),
        ({"sets": ()}, "expected some of S, C, V"),
        ({"rows": 40, "shortest": 41}, "shortest 41 and rows 40, expected 1 <= shortest <= rows"),
        ({"paraphrases": 5}, "found 5, expected 1 to 4"),
        ({"told_by_text": (0.5, 0.5)}, r"found \(0.5, 0.5\), expected one of 0 to 1 for each of S"),
        ({"told_by_text": (1.5,)}, r"told_by_text: found \(1.5,\), expected one of 0 to 1"),
        ({"wander": 1.5}, "wander: found 1.5, expected a share, 0 to 1"),
        ({"wander": 0.5}, "wander: found 0.5 without told_by_text, expected both or neither"),
        ({"sets": ("S", "C"), "noisy": ("V",)}, "noisy: found .*'V'.*, expected some of S, C"),
    ],
)
def test_impossible_data(fields, message):
    with pytest.raises(ValueError, match=message):
        Motions(**fields)


def test_captions_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="the longest has 22 words, expected at most length=16"):
        motions.check(Motions(), (16, 12))
