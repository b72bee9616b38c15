"""The procedural program: every script that can be said, performed once, is what it says it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.motion.motion_oracles import forward
from vrjax import motion
from vrjax.motion import program
from vrjax.motion.kinematics import FEET, REST_PELVIS
from vrjax.motion.program import body, curves, predicates, verbs

FRAMES = 61
PERFORM = jax.jit(jax.vmap(lambda key, script: program.perform(key, script, FRAMES)))
RECOGNISE = jax.jit(jax.vmap(predicates.recognise))
AGREES = jax.jit(jax.vmap(predicates.agrees))
ALL = program.Script(*map(np.concatenate, zip(*(program.scripts(split) for split in program.SETS), strict=True)))
LOWER, UPPER = ([row.name for row in rows] for rows in (verbs.LOWER, verbs.UPPER))


@pytest.fixture(scope="module")
def clips() -> program.Performance:
    """Every script, each in its own style."""
    return jax.tree.map(np.asarray, PERFORM(jax.random.split(jax.random.key(0), len(ALL.lower)), ALL))


def named(i: int) -> str:
    return program.caption(program.Script(*(column[i] for column in ALL)))


def test_joints_are_forward_kinematics_of_the_rotations(clips):
    m = clips.motion
    for i in range(0, len(ALL.lower), 97):
        for t in (0, 17, 60):
            exact = forward(m.root[i, t], m.body[i, t], m.transl[i, t], program.OFFSETS, np.array(REST_PELVIS))
            np.testing.assert_allclose(m.joints[i, t], exact, rtol=0, atol=3e-6)
    eye = np.einsum("...ij,...kj->...ik", m.body, m.body) - np.eye(3)
    assert np.abs(eye).max() < 5e-6


def test_a_foot_in_contact_stands_still_on_the_floor(clips):
    toes = clips.motion.joints[:, :, np.array(FEET)]
    both = clips.contacts[:, 1:] & clips.contacts[:, :-1]
    moved = np.linalg.norm(np.diff(toes, axis=1), axis=-1)
    assert moved[both].max() < 5e-6
    assert np.abs(toes[clips.contacts][:, 2] - body.TOE_HEIGHT).max() < 5e-6
    # The others are off the floor or on their way, and no joint is ever below it.
    assert clips.motion.joints[..., 2].min() > 0
    assert toes[..., 2].min() > body.TOE_HEIGHT - 2e-3
    assert 0.5 < clips.contacts.mean() < 0.95
    away = toes[~clips.contacts][:, 2] - body.TOE_HEIGHT
    assert np.mean(away > 0.002) > 0.9


def find(lower: str, **words) -> int:
    """Where a script is in ALL."""
    wanted = np.stack(program.script(lower, **words))
    return int(np.flatnonzero((np.stack(ALL, 1) == wanted).all(1))[0])


def times_off(contacts: np.ndarray) -> list[int]:
    """How often each foot leaves the floor."""
    return np.asarray(predicates.runs(~contacts)).tolist()


def test_who_stands_when(clips):
    """Standing: both feet always; walking: never none, and each in turn; jumping: none in flight, else both."""
    assert clips.contacts[find("stand")].all() and clips.contacts[find("squat", count=3)].all()
    walk = clips.contacts[find("walk")]
    assert walk.any(1).all() and not walk.all(1).all() and min(times_off(walk)) >= 2
    jump = clips.contacts[find("jump", count=2)]
    assert (jump[:, 0] == jump[:, 1]).all() and times_off(jump) == [2, 2]
    hop = clips.contacts[find("hop", side="right", count=3)]
    assert not hop[:, 0].any() and times_off(hop)[1] == 3


def test_flight_is_ballistic(clips):
    at = find("jump")
    flying = ~clips.contacts[at].any(1)
    inside = flying[:-2] & flying[1:-1] & flying[2:]
    fall = np.diff(clips.motion.joints[at, :, 0, 2], n=2) * program.choreography.FPS**2
    assert inside.sum() >= 5
    np.testing.assert_allclose(fall[inside], -curves.GRAVITY, atol=0.05)


def test_motions_are_smooth(clips):
    """No joint is thrown about: steps of centimetres, and few of them change suddenly."""
    joints = clips.motion.joints
    speed = np.linalg.norm(np.diff(joints, axis=1), axis=-1)
    jerk = np.linalg.norm(np.diff(joints, n=2, axis=1), axis=-1)
    worst = int(speed.max((1, 2)).argmax())
    assert speed.max() < 0.45, named(worst)
    assert jerk.max() < 0.3, named(int(jerk.max((1, 2)).argmax()))
    assert 0.001 < jerk.mean() < 0.03
    bones = np.linalg.norm(joints[:, :, 4] - joints[:, :, 1], axis=-1)
    np.testing.assert_allclose(bones, body.THIGH, atol=1e-5)


def test_rows_come_back(clips):
    encode = jax.jit(jax.vmap(lambda *m: motion.to_276(*m, floor=True)))
    decode = jax.jit(jax.vmap(lambda rows: motion.from_276(rows, equal_length=True)))
    there = encode(*(x[::50] for x in clips.motion))
    np.testing.assert_allclose(encode(*decode(there)), there, rtol=0, atol=1e-5)


def test_predicates_see_what_the_script_says(clips):
    """Each script's own performance agrees with it, in every set; and with another script's action only rarely."""
    joints = jnp.asarray(clips.motion.joints)
    right = np.asarray(AGREES(ALL, joints))
    assert right.mean() > 0.998, [named(i) for i in np.flatnonzero(~right)[:20]]
    seen = RECOGNISE(joints)
    lower = np.asarray(seen.lower).any(2)
    others = lower & ~np.eye(len(LOWER), dtype=bool)[ALL.lower]
    assert others.mean() < 0.0005, [(LOWER[b], named(a)) for a, b in zip(*np.nonzero(others), strict=True)][:20]
    free = ALL.lower != LOWER.index("jumping_jack")
    upper = np.asarray(seen.upper).any(2)
    others = (upper & ~np.eye(len(UPPER), dtype=bool)[ALL.upper])[free]
    assert others.mean() < 0.0005, [(UPPER[b], named(a)) for a, b in zip(*np.nonzero(others), strict=True)][:20]


def test_predicates_tell_a_mirror_image(clips):
    """Reflected, a motion shows the same actions of the other side."""
    mirror = np.array([0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20])
    joints = clips.motion.joints
    seen, other = map(RECOGNISE, (joints, joints[:, :, mirror] * np.array([-1, 1, 1], np.float32)))
    same = [np.mean(np.asarray(a) == np.asarray(b)[..., ::-1]) for a, b in zip(seen, other, strict=True)]
    assert min(same) > 0.999


def test_predicates_do_not_depend_on_place_heading_or_size(clips):
    joints = clips.motion.joints
    turn = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]], np.float32)
    moved = 1.05 * joints @ turn.T + np.array([3.0, -2.0, 0.4], np.float32)
    same = [np.mean(np.asarray(a) == np.asarray(b)) for a, b in zip(*map(RECOGNISE, (joints, moved)), strict=True)]
    assert min(same) > 0.995


def test_a_frozen_pose_shows_nothing_but_standing(clips):
    still = clips.motion.joints[find("stand")][:1]
    seen = RECOGNISE(np.broadcast_to(still, clips.motion.joints.shape))
    assert [LOWER[i] for i in np.flatnonzero(np.asarray(seen.lower[0]).any(1))] == ["stand"]
    assert [UPPER[i] for i in np.flatnonzero(np.asarray(seen.upper[0]).any(1))] == ["none"]


def test_a_sample_is_one_of_a_batch(clips):
    """`sample` is `draw` and `perform`, one clip alone as one of many; and equal keys give equal bits."""
    key = jax.random.key(8)
    script, one = jax.jit(lambda key: program.sample(key, "S", FRAMES))(key)
    what, how = jax.random.split(key)
    assert all(map(np.array_equal, script, program.draw(what, "S")))
    keys = jax.random.split(jax.random.key(0), len(ALL.lower))
    scripts = jax.tree.map(lambda x, first: np.append(first, x[1:]), ALL, script)
    again = PERFORM(jnp.concatenate([how[None], keys[1:]]), scripts)
    for batch, single, before in zip(*map(jax.tree.leaves, (again, one, clips)), strict=True):
        np.testing.assert_allclose(batch[0], single, rtol=0, atol=1e-5)
        np.testing.assert_array_equal(batch[1:], before[1:])


def test_the_three_sets():
    """Disjoint; what C composes is known from S, and V has only what neither has."""
    rows = {split: set(zip(*(c.tolist() for c in program.scripts(split)), strict=True)) for split in program.SETS}
    assert not rows["S"] & rows["C"] and not rows["S"] & rows["V"] and not rows["C"] & rows["V"]
    assert min(map(len, rows.values())) > 40
    seen = program.scripts("S")
    known_lower, known_upper = set(seen.lower.tolist()), set(seen.upper.tolist())
    composed = program.scripts("C")
    assert set(composed.lower.tolist()) <= known_lower and set(composed.upper.tolist()) <= known_upper
    new = program.scripts("V")
    assert all((l not in known_lower) or (u not in known_upper) for l, u in zip(new.lower, new.upper, strict=True))
    assert known_lower | set(new.lower.tolist()) == set(range(len(LOWER)))
    # Sides that C holds out are known words, of known verbs' other side.
    assert {LOWER.index(verb) for verb, _ in program.splits.UNSEEN_SIDES} <= known_lower


@pytest.mark.parametrize("split", program.SETS)
def test_draws_are_of_their_set(split):
    drawn = jax.jit(jax.vmap(lambda key: program.draw(key, split)))(jax.random.split(jax.random.key(6), 4000))
    rows = set(zip(*(c.tolist() for c in program.scripts(split)), strict=True))
    found = list(zip(*(np.asarray(c).tolist() for c in drawn), strict=True))
    assert set(found) <= rows
    pairs, counts = np.unique([(r[0], r[4]) for r in found], axis=0, return_counts=True)
    assert len(pairs) == len({(r[0], r[4]) for r in rows})
    mean = 4000 / len(pairs)
    assert np.sum((counts - mean) ** 2 / mean) < len(pairs) + 5 * np.sqrt(2 * len(pairs))  # chi-squared


def test_captions():
    script = program.script("walk", speed="slow", upper="wave", upper_side="left")
    assert program.caption(script) == "a person walks forward slowly while waving the left hand"
    assert program.caption(script, 1) == "someone strolls ahead at a slow pace and waves with the left arm"
    assert program.caption(program.script("kick", side="right", count=2)) == "a person kicks with the right leg twice"
    assert program.caption(program.script("stand"), long=True).startswith(
        "the video shows a person who stands still in"
    )
    for paraphrase in range(verbs.PARAPHRASES):
        texts = [program.caption(program.Script(*row), paraphrase) for row in zip(*ALL, strict=True)]
        assert len(set(texts)) == len(texts) and not any("{" in text for text in texts)
    assert all(len(set(row.words)) == verbs.PARAPHRASES for row in verbs.LOWER + verbs.UPPER[1:])


@pytest.mark.parametrize("long", [False, True])
def test_tokens_are_the_caption(long):
    words = ("", *program.vocabulary())
    paraphrases = np.arange(len(ALL.lower)) % verbs.PARAPHRASES
    tokens = np.asarray(jax.jit(jax.vmap(lambda s, p: program.tokens(s, p, long=long)))(ALL, paraphrases))
    for i in range(0, len(tokens), 7):
        text = program.caption(program.Script(*(c[i] for c in ALL)), int(paraphrases[i]), long=long)
        assert " ".join(words[t] for t in tokens[i] if t).replace(" ,", ",") == text
        used = tokens[i] > 0
        assert not used[used.sum() :].any()


def test_curves():
    x = jnp.linspace(0, 1, 5)
    np.testing.assert_allclose(curves.rise(x), [0, 0.103515625, 0.5, 0.896484375, 1], atol=1e-6)
    np.testing.assert_array_equal(curves.bump(jnp.array([-1.0, 0, 0.5, 1, 2])), [0, 0, 1, 0, 0])
    np.testing.assert_array_equal(curves.pulse(jnp.array([0.0, 0.1, 0.5, 0.9, 1.0]), jnp.float32(0.2)), [0, 0, 1, 0, 0])
    up, drop, done = curves.flight(jnp.array([-2.0, -0.2, 0.0, 0.2, 2.0]), jnp.float32(0.2), jnp.float32(0.25))
    np.testing.assert_allclose(up, [0, 0.2 - 0.02 * 9.81, 0.2, 0.2 - 0.02 * 9.81, 0], atol=1e-6)
    np.testing.assert_allclose(done[jnp.array([0, 2, 4])], [0, 0.5, 1], atol=1e-6)
    assert drop[0] == drop[2] == 0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: program.script("wlak"), "unknown action 'wlak', did you mean 'walk'"),
        (lambda: program.script("walk", side="up"), "unknown side 'up', expected one of left, right"),
        (lambda: program.script("jump", count=4), "count must be 1, 2 or 3, found 4"),
        (lambda: program.draw(jax.random.key(0), "T"), "unknown set of scripts 'T', expected one of S, C, V"),
        (lambda: program.perform(jax.random.key(0), program.script("walk"), 1), "frames must be at least 2, found 1"),
        (lambda: program.caption(program.script("walk"), 4), "paraphrase must be 0 to 3, found 4"),
        (lambda: predicates.index("fly"), "unknown action 'fly', expected one of stand, walk"),
    ],
)
def test_mistakes_are_told_in_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()
