"""The simulator against closed forms and conservation laws, the verifier against known right and wrong clips."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrjax.tasks.discs import physics, pictures, verifier


def scene(position, velocity):
    """One scene of one body."""
    return np.array([[position]], float), np.array([[velocity]], float)


def test_free_fall_and_bounce_are_the_closed_form():
    g, e, r, h, dt = 1.7, 0.8, 0.06, 0.4, 0.05
    at, moving = scene((0.5, r + h), (0.0, 0.0))
    path, speed, bounced = physics.simulate(at, moving, np.array([g]), np.array([e]), r, 30, interval=dt)
    t, hit = np.arange(30) * dt, np.sqrt(2 * h / g)
    again = hit + 2 * e * hit  # a bounce returns after e times the time of both halves of the flight
    first, second = t < hit, (t >= hit) & (t < again)
    height = path[0, :, 0, 1] - r
    assert np.allclose(height[first], h - 0.5 * g * t[first] ** 2, atol=1e-14)
    rise = e * np.sqrt(2 * g * h)
    assert np.allclose(height[second], rise * (t - hit)[second] - 0.5 * g * (t - hit)[second] ** 2, atol=1e-13)
    assert second.sum() > 5 and bounced[0, -1] >= 1
    # The apex after a bounce is e^2 of the height before: energy of any frame of the second flight.
    energy = 0.5 * speed[0, :, 0, 1] ** 2 + g * height
    assert np.allclose(energy[second] / (g * h), e**2, atol=1e-12)


def test_walls_mirror():
    r, dt = 0.06, 0.1
    at, moving = scene((0.5, 0.9), (1.3, 0.0))
    path, _, _ = physics.simulate(at, moving, np.array([1e-6]), np.array([0.9]), r, 16, interval=dt)
    travelled = (0.5 - r) + 1.3 * np.arange(16) * dt
    width = 1 - 2 * r
    expected = r + width - np.abs(travelled % (2 * width) - width)
    assert np.allclose(path[0, :, 0, 0], expected, atol=1e-12)


def test_head_on_discs_swap_velocities():
    r = 0.08
    at = np.array([[[0.3, 0.7], [0.7, 0.7]]])
    moving = np.array([[[0.5, 0.1], [-0.2, 0.1]]])
    path, speed, _ = physics.simulate(at, moving, np.array([1e-9]), np.array([0.9]), r, 8)
    meet = (0.4 - 2 * r) / 0.7
    t = np.arange(8) * physics.INTERVAL
    after = t > meet
    assert np.allclose(speed[0, after, 0, 0], -0.2) and np.allclose(speed[0, after, 1, 0], 0.5)
    assert np.allclose(path[0, after, 0, 0], 0.3 + 0.5 * meet - 0.2 * (t[after] - meet), atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_contact_keeps_momentum_and_energy_and_discs_apart(seed):
    r = physics.RADIUS["collide"]
    start, speed, _, restitution = physics._starts("collide", np.random.default_rng(seed), 8)
    speed[..., 1] *= 0.2
    path, velocity, bounced = physics.simulate(start, speed, np.full(8, 1e-9), restitution, r, 6)
    inside = (path[..., 0] > r + 1e-9).all((1, 2)) & (path[..., 0] < 1 - r - 1e-9).all((1, 2)) & (bounced[:, -1] == 0)
    momentum = velocity.sum(2) - speed.sum(1)[:, None]
    energy = (velocity**2).sum((2, 3)) - (speed**2).sum((1, 2))[:, None]
    walls = (np.abs(momentum[..., 0]) > 1e-7).any(1)  # a wall was touched between frames
    assert np.abs(momentum[inside & ~walls]).max(initial=0) < 1e-7
    assert np.abs(energy).max() < 1e-7  # walls and discs are elastic
    apart = np.linalg.norm(path[:, :, 0] - path[:, :, 1], axis=-1)
    assert apart.min() > 2 * r - 1e-9


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), family=st.sampled_from(physics.FAMILIES))
def test_there_is_no_step_size(seed, family):
    clips = physics.make(family, 4, split="val", seed=seed)
    radius = physics.RADIUS[family]
    fine, _, _ = physics.simulate(
        clips.start, clips.speed, clips.gravity, clips.restitution, radius, 31, interval=physics.INTERVAL / 2
    )
    assert np.abs(fine[:, ::2] - clips.truth).max() < 1e-9


def test_a_body_at_rest_is_an_error():
    at, moving = scene((0.5, 0.06), (0.0, 1e-9))
    with pytest.raises(ValueError, match="64 events"):
        physics.simulate(at, moving, np.array([1.0]), np.array([0.5]), 0.06, 2)


@pytest.mark.parametrize("family", physics.FAMILIES)
def test_clips_are_what_they_say(family):
    clips = physics.make(family, 64, split="base", seed=3, broken=0.5)
    assert np.bincount(clips.kind + 1).tolist() == [32, 8, 8, 8, 8]
    again = physics.make(family, 64, split="base", seed=3, broken=0.5)
    assert np.array_equal(clips.path, again.path)
    # What is given never tells: frames 0 and 1 are true whatever follows.
    assert np.abs(clips.path[:, :2] - clips.truth[:, :2]).max() < 1e-12
    others = [physics.make(family, 64, split=s, seed=n).start for s in physics.SPLITS for n in (3, 4)]
    flat = np.concatenate([o.reshape(64, -1) for o in others])
    assert len(np.unique(flat, axis=0)) == len(flat)  # no condition in two splits
    with pytest.raises(ValueError, match="split"):
        physics.make(family, 2, split="train", seed=0)


@pytest.mark.parametrize("family", physics.FAMILIES)
def test_verifier(family):
    true = physics.make(family, 128, split="test", seed=0)
    right = verifier.judge(true, true.truth)
    assert right.valid().all() and right.error.max() == 0
    # Two discs may graze each other within an interval without a kink that gives it away.
    assert np.nanmax(right.gravity) < (1e-9 if family == "bounce" else 0.1) and right.gain.max() < 0.02
    assert right.below.max() == 0 and right.frozen.max() == 0 and right.motion.min() > 0.02
    wrong = physics.make(family, 128, split="test", seed=0, broken=1.0)
    assert np.array_equal(wrong.truth, true.truth)
    judged = verifier.judge(wrong, wrong.path)
    assert not judged.valid().any()
    kind = [wrong.kind == k for k in range(4)]
    assert (np.nan_to_num(judged.gravity[kind[0]]) > 0.3).mean() > 0.9
    assert (judged.gain[kind[1]] > 0.1).mean() > 0.9
    assert (judged.below[kind[2]] > 0).all()
    assert (judged.frozen[kind[3]] > 0).mean() > 0.9
    still = np.repeat(true.truth[:, :1], physics.FRAMES, 1)
    frozen = verifier.judge(true, still)
    assert not frozen.valid().any() and (frozen.motion == 0).all() and frozen.frozen.min() > 0.8
    hollow = true.truth.copy()
    hollow[0, 5] = np.nan
    assert verifier.judge(true, hollow).valid().tolist() == [False] + [True] * 127
    several = verifier.judge(true, np.stack([true.truth, wrong.path], 1))
    assert several.valid().shape == (128, 2) and several.valid()[:, 0].all() and not several.valid()[:, 1].any()
    with pytest.raises(ValueError, match="expected samples"):
        verifier.judge(true, true.truth[:, :-1])


@pytest.mark.parametrize("family", physics.FAMILIES)
def test_pixels_carry_the_positions(family):
    clips = physics.make(family, 48, split="test", seed=1)
    video = pictures.render(clips.truth, physics.RADIUS[family])
    assert video.shape == (48, physics.FRAMES, 64, 64, 3) and np.abs(video).max() <= 1
    seen = pictures.centroids(video, physics.BODIES[family])
    assert np.quantile(np.abs(seen - clips.truth), 0.98) < 0.01
    assert verifier.false_positives(clips) <= 0.01
