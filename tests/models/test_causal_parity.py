"""Block-causal Wan beside a plain PyTorch statement with the fixture's weights: masked passes and cached rollouts."""

import functools
import pathlib

import jax
import numpy as np
import pytest

from vrjax.models import causal

pytestmark = pytest.mark.parity

HERE = pathlib.Path(__file__).parent / "fixtures" / "causal"

# What is asked of a masked pass; "clean" says whether a clean video is beside the noisy one.
MASKED = {
    "full": {"chunks": (3, 3, 3)},
    "window": {"chunks": (3, 3, 3), "window": 4},
    "window_sink": {"chunks": (3, 3, 3), "window": 5, "sink": 1},
    "first_1": {"chunks": (1, 3, 3)},
    "first_1_window_sink": {"chunks": (1, 3, 3), "window": 5, "sink": 2},
    "framewise": {"chunks": (1,) * 6},
    "framewise_window_sink": {"chunks": (1,) * 6, "window": 3, "sink": 1},
    "teacher": {"chunks": (3, 3, 3), "clean": True},
    "teacher_window": {"chunks": (2, 2, 2, 2), "window": 3, "clean": True},
    "teacher_first_1_window_sink": {"chunks": (1, 2, 2, 2), "window": 4, "sink": 1, "clean": True},
}

# Frames to be made, how many are given before them, and what is asked of a rollout.
SHORT = {"steps": (1000, 500)}
ROLLOUTS = {
    "full": (9, 0, {"chunk": 3}),
    "window_sink": (15, 0, {"chunk": 3, "window": 7, "sink": 1}),
    "window_two_sinks": (12, 0, {"chunk": 2, "window": 5, "sink": 2, **SHORT}),
    "rolling": (24, 0, {"chunk": 2, "window": 4, **SHORT}),
    "image_framewise": (5, 1, {"chunk": 1}),
    "image_then_chunks": (6, 1, {"chunk": 3, "first": 1, **SHORT}),
    "extension": (6, 6, {"chunk": 3, "window": 7, "sink": 1, **SHORT}),
    "first_1": (7, 0, {"chunk": 3, "first": 1}),
    "first_steps": (5, 0, {"chunk": 1, **SHORT, "first_steps": (1000, 750, 500, 250)}),
    "first_steps_of_an_extension": (4, 2, {"chunk": 2, "steps": (1000,), "first_steps": (1000, 500), "window": 4}),
    "context_noise": (6, 0, {"chunk": 2, "context_noise": 80.0, **SHORT}),
    "context_noise_given": (6, 2, {"chunk": 2, "context_noise": 80.0, "window": 5, "sink": 1, **SHORT}),
    "causvid": (9, 0, {"chunk": 3, "steps": (1000, 757, 522, 0), "shift": 8.0, "warp": False}),
}
BOUND = 1.5e-4  # five times what is measured; most of that is the sinusoid of a time, of which float32 keeps less


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The oracle's products are so small that a second thread costs ten times what it saves."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@functools.cache
def weights():
    from tests.models import torch_causal

    return torch_causal.Weights(HERE)


@pytest.fixture(scope="module")
def dit():
    return causal.load_dit(HERE)


masked_ours = jax.jit(causal.forward, static_argnames=("chunks", "window", "sink"))


def drawn(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def text_of(rng):
    """Nine rows that are not zero, and seven of padding."""
    return np.pad(drawn(rng, 9, 20), ((0, 7), (0, 0)))


def as_tensors(asked):
    import torch

    return {name: torch.tensor(a).double() if isinstance(a, np.ndarray) else a for name, a in asked.items()}


def masked_inputs(case, near):
    """Arrays x, time and text, and options. Near 0 the sinusoid of a time does not round in float32."""
    rng, asked = np.random.default_rng(5), dict(MASKED[case])
    frames = sum(asked["chunks"])
    times = lambda high: rng.choice([0.0, 1.5], frames) if near else rng.uniform(0, high, frames)
    x, time, text = drawn(rng, frames, 4, 4, 16), times(1000).astype(np.float32), text_of(rng)
    if asked.pop("clean", False):
        clean_time = np.full(frames, 1.5) if near else times(120)
        asked |= {"clean": drawn(rng, frames, 4, 4, 16), "clean_time": clean_time.astype(np.float32)}
    return {"x": x, "time": time, "text": text}, asked


def masked_theirs(arrays, asked):
    import torch

    from tests.models import torch_causal

    with torch.no_grad():
        return torch_causal.forward_masked(weights(), **as_tensors(arrays), **as_tensors(asked)).numpy()


def masked_tolerance(near):
    return 2e-5 if near else 1.5e-4


@pytest.mark.parametrize("case", MASKED)
def test_masked_passes(dit, case):
    for near in (True, False):
        arrays, asked = masked_inputs(case, near)
        expected = masked_theirs(arrays, asked)
        assert 2 < np.abs(expected).max() < 20  # the tolerances are meant for outputs of this order
        found = masked_ours(dit, **arrays, **asked)
        np.testing.assert_allclose(found, expected, rtol=0, atol=masked_tolerance(near))


@pytest.mark.parametrize(
    "case, other",
    [
        ("full", {"chunks": (1,) * 9}),
        ("full", {"chunks": (9,)}),
        ("window", {"window": 5}),
        ("window", {"window": None}),
        ("window_sink", {"window": 6}),  # a sink beside the window, not in it
        ("window_sink", {"sink": 0}),
        ("first_1", {"chunks": (3, 3, 1)}),
        ("teacher", {"clean": None, "clean_time": None}),
        ("teacher", {"clean_time": np.zeros(9, np.float32)}),
        ("teacher_window", {"window": None}),
    ],
)
def test_the_tolerance_sees_another_mask(case, other):
    arrays, asked = masked_inputs(case, near=False)
    moved = np.abs(masked_theirs(arrays, asked) - masked_theirs(arrays, asked | other)).max()
    assert moved > 10 * masked_tolerance(near=False)


def rollout_inputs(case):
    """Arrays text and noise, and options, among them all noise that joins between steps."""
    frames, given, asked = ROLLOUTS[case]
    rng, steps = np.random.default_rng(7), asked.get("steps", (1000, 750, 500, 250))
    joins = len([t for t in steps if t]) - 1
    arrays = {"text": text_of(rng), "noise": drawn(rng, frames, 4, 4, 16)}
    asked = asked | {"renoise": drawn(rng, joins, frames, 4, 4, 16)}
    if given:
        asked["given"] = drawn(rng, given, 4, 4, 16) / 2
    if "first_steps" in asked:
        asked["first_renoise"] = drawn(rng, len(asked["first_steps"]) - 1, asked["chunk"], 4, 4, 16)
    return arrays, asked


def rollout_theirs(arrays, asked, **wrong):
    """Latents, and a list per chunk of its data estimates."""
    import torch

    from tests.models import torch_causal

    with torch.no_grad():
        latents, estimates = torch_causal.rollout(weights(), **as_tensors(arrays), **as_tensors(asked), **wrong)
    return latents.numpy(), [[x0.numpy() for x0 in chunk] for chunk in estimates]


@pytest.mark.parametrize("case", ROLLOUTS)
def test_rollouts(dit, case):
    arrays, asked = rollout_inputs(case)
    latents, estimates = rollout_theirs(arrays, asked)
    assert 2 < np.abs(latents).max() < 20
    found = causal.rollout(dit, **arrays, **asked)
    last = len(estimates[-1][-1])
    np.testing.assert_allclose(found.latents[-last:], latents[-last:], rtol=0, atol=BOUND)
    np.testing.assert_allclose(found.latents, latents, rtol=0, atol=BOUND)
    rows, start = max(map(len, estimates)), 0
    assert found.x0.shape == (rows, *arrays["noise"].shape)
    for made in estimates:
        own = np.asarray(found.x0[:, start : start + len(made[0])])
        assert np.isnan(own[: rows - len(made)]).all()
        np.testing.assert_allclose(own[rows - len(made) :], made, rtol=0, atol=BOUND)
        start += len(made[0])


@pytest.mark.parametrize("refresh", ["zero text", "no text", "none"])
@pytest.mark.parametrize("case", ["full", "window_sink", "image_framewise", "first_steps"])
def test_the_bound_sees_a_wrong_refresh(case, refresh):
    """The first chunk is made before anything is refreshed; the last one moves far."""
    arrays, asked = rollout_inputs(case)
    (right, chunks), (wrong, _) = rollout_theirs(arrays, asked), rollout_theirs(arrays, asked, refresh=refresh)
    same, last = len(asked.get("given", ())) + len(chunks[0][0]), len(chunks[-1][0])
    np.testing.assert_array_equal(wrong[:same], right[:same])
    assert np.abs(wrong[-last:] - right[-last:]).max() > 10 * BOUND


@pytest.mark.parametrize(
    "case, other",
    [
        ("window_sink", {"window": 8}),  # a sink beside the window, not in it
        ("window_sink", {"sink": 0}),
        ("window_two_sinks", {"sink": 1}),
        ("rolling", {"window": None}),
        ("extension", {"window": None, "sink": 0}),
        ("context_noise", {"context_noise": 0.0}),
        ("causvid", {"shift": 5.0}),
    ],
)
def test_the_bound_sees_another_cache(case, other):
    arrays, asked = rollout_inputs(case)
    (right, chunks), (wrong, _) = rollout_theirs(arrays, asked), rollout_theirs(arrays, asked | other)
    last = len(chunks[-1][0])
    assert np.abs(wrong[-last:] - right[-last:]).max() > 10 * BOUND


PUBLIC_MASKED = {"train_block_causal_t0": None, "train_local_window4": 4, "train_teacher_forcing": None}
PUBLIC_ROLLOUTS = {
    "rollout_window6_sink0": {"chunk": 3, "window": 6},
    "rollout_framewise_image": {"chunk": 1},
}


def published(name):
    """A file of the fixtures with channels last, and its text padded to 512 rows."""
    with np.load(HERE / f"{name}.npz", allow_pickle=False) as file:
        has = {key: file[key] for key in file}
    for key in ("x", "output", "clean_x", "initial_latent", "noise", "latents"):
        if key in has:
            has[key] = np.moveaxis(has[key], 1, -1)
    for key in ("renoise", "x0"):
        if key in has:
            has[key] = np.moveaxis(has[key], 2, -1)
    return has, np.pad(has["prompt_rows"], ((0, 512 - len(has["prompt_rows"])), (0, 0)))


@pytest.mark.parametrize("name", PUBLIC_MASKED)
def test_the_oracle_is_the_public_codes_masked_pass(name):
    has, text = published(name)
    asked = {"chunks": has["chunk_lengths"].tolist(), "window": PUBLIC_MASKED[name]}
    if "clean_x" in has:
        asked |= {"clean": has["clean_x"], "clean_time": np.broadcast_to(has["aug_t"], has["timestep"].shape).copy()}
    found = masked_theirs({"x": has["x"], "time": has["timestep"], "text": text}, asked)
    np.testing.assert_allclose(found, has["output"], rtol=0, atol=masked_tolerance("t0" in name))


@pytest.mark.parametrize("name", PUBLIC_ROLLOUTS)
def test_the_oracle_is_the_public_codes_rollout(name):
    has, text = published(name)
    asked = PUBLIC_ROLLOUTS[name] | {"renoise": has["renoise"]}
    if "initial_latent" in has:
        asked["given"] = has["initial_latent"]
    latents, estimates = rollout_theirs({"text": text, "noise": has["noise"]}, asked)
    np.testing.assert_allclose(latents, has["latents"], rtol=0, atol=BOUND)
    x0 = np.concatenate([np.stack(chunk) for chunk in estimates], 1)
    np.testing.assert_allclose(x0, has["x0"], rtol=0, atol=BOUND)
