"""Block-causal Wan: against outputs of the public code, against itself without a cache, and what a cache promises."""

import pathlib
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from vrjax import parallel
from vrjax.flow import Level, Record, grids
from vrjax.models import causal, family, wan
from vrjax.models.causal import cache, chunks, masked, network, streaming

HERE = pathlib.Path(__file__).parent / "fixtures" / "causal"
SHORT = {"steps": (1000, 500), "shift": 5.0}


@pytest.fixture(scope="module")
def dit():
    return causal.load_dit(HERE)


def published(name: str) -> dict[str, Any]:
    """A file of the fixtures with channels last, and its text as the pipelines pad it."""
    with np.load(HERE / f"{name}.npz", allow_pickle=False) as file:
        found = {key: file[key] for key in file}
    for key, at in (("x", 1), ("output", 1), ("clean_x", 1), ("initial_latent", 1), ("noise", 1), ("latents", 1)):
        if key in found:
            found[key] = np.moveaxis(found[key], at, -1)
    for key in ("renoise", "x0"):
        if key in found:
            found[key] = np.moveaxis(found[key], 2, -1)
    rows = found["prompt_rows"]
    return found | {"text": np.pad(rows, ((0, 512 - len(rows)), (0, 0)))}


def inputs(frames: int, seed: int = 0, steps: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Text that is not zero, noise (frames, 4, 4, 16) and what joins between steps."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
    return draw(9, 20), draw(frames, 4, 4, 16), draw(steps - 1, frames, 4, 4, 16)


@pytest.mark.parametrize(
    "name, window, tolerance",
    [
        ("train_block_causal_t0", None, 2e-5),
        ("train_local_window4", 4, 1e-4),
        ("train_teacher_forcing", None, 1e-4),
    ],
)
def test_a_whole_video_is_the_public_codes(dit, name, window, tolerance):
    has = published(name)
    given = {"clean": has["clean_x"], "clean_time": has["aug_t"]} if "clean_x" in has else {}
    lengths = has["chunk_lengths"].tolist()
    v = causal.forward(dit, has["x"], has["timestep"], has["text"], chunks=lengths, window=window, **given)
    np.testing.assert_allclose(v, has["output"], rtol=0, atol=tolerance)


@pytest.mark.parametrize("name, chunk, window", [("rollout_window6_sink0", 3, 6), ("rollout_framewise_image", 1, None)])
def test_rollouts_are_the_public_codes(dit, name, chunk, window):
    has = published(name)
    given = has.get("initial_latent")
    found = causal.rollout(
        dit, has["text"], has["noise"], chunk=chunk, window=window, given=given, renoise=has["renoise"]
    )
    np.testing.assert_allclose(found.x0, has["x0"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.latents[-chunk:], has["latents"][-chunk:], rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.latents, has["latents"], rtol=0, atol=1e-4)
    if given is not None:
        np.testing.assert_array_equal(found.latents[:1], given)
    grid = grids.self_forcing()
    np.testing.assert_allclose(grid.times, has["timesteps"], rtol=1e-7)
    np.testing.assert_allclose(grid.sigmas[:-1], has["sigmas"], rtol=1e-7)


CASES = [
    (7, {"chunk": 2, "first": 1}),
    (12, {"chunk": 3, "window": 7, "sink": 1}),
    (12, {"chunk": 3, "window": 5, "sink": 2, "given": 3}),
    (6, {"chunk": 1, "window": 3, "first_steps": (1000, 800, 300)}),
]


@pytest.mark.parametrize("frames, asked", CASES)
def test_with_a_cache_and_without(dit, frames, asked):
    """Every velocity of a rollout, and what every block holds, is the teacher-forced network's on the rollout's own
    frames, in which each old chunk has its own window."""
    text, noise, _ = inputs(frames)
    given = noise[: asked["given"]] / 2 if "given" in asked else None
    noise = noise[len(given) :] if given is not None else noise
    how = {**SHORT, **asked, "given": given, "key": jax.random.key(1)}
    record, taps = Record(fields=("x", "v")), {"block.*": lambda h: h, "block.1.self_attn": lambda h: h}
    parts = list(causal.stream(dit, text, noise, **how, record=record, taps=taps))
    whole = np.concatenate([np.zeros((0, *noise.shape[1:])) if given is None else given, *(p.latents for p in parts)])
    lengths = chunks.partition(len(whole), asked["chunk"], asked.get("first"))
    before = len(whole) - len(noise)

    @jax.jit
    def alone(x, time):
        return masked.predict(
            dit,
            x,
            time,
            text,
            chunks=lengths,
            window=asked.get("window"),
            sink=asked.get("sink", 0),
            clean=jnp.asarray(whole, jnp.float32),
            taps=taps,
        )

    for back in (1, 2):
        x, time = np.array(whole), np.zeros(len(whole))
        for part in parts:
            own = slice(part.start, part.start + len(part.latents))
            x[own], time[own] = part.trajectory.x[-1 - back], part.trajectory.grid.times[-back]
        v, seen = alone(x.astype(np.float32), time)
        found = np.concatenate([part.trajectory.v[-back] for part in parts])
        np.testing.assert_allclose(found, v[before:], rtol=0, atol=2e-5)
        for name in taps:
            made = np.concatenate([part.trajectory.taps[name][-back] for part in parts], -2)
            # Behind the clean tokens those of the noisy ones, four a frame; given frames are not denoised.
            beside = seen[name][..., 4 * (len(whole) + before) :, :]
            np.testing.assert_allclose(made, beside, rtol=0, atol=2e-5 * max(1, np.abs(made).max()))


@pytest.mark.parametrize(
    "window, sink, chunk, first", [(6, 0, 3, None), (7, 1, 3, None), (8, 2, 3, 1), (5, 2, 1, None), (4, 0, 4, 2)]
)
def test_a_ring_holds_the_window_and_the_sink(window, sink, chunk, first):
    """The set of frames in the public code's words: below S, or from E - (W - S) on."""
    lengths = chunks.partition((first or chunk) + 6 * chunk, chunk, first)
    memory = cache.memory(lengths, window=window, sink=sink)
    assert memory.slots == window - chunk
    nothing = jnp.zeros((1, memory.slots, 1, 1, 2))
    state = cache.State(nothing, nothing, jnp.full(memory.slots, -1), jnp.int32(0))
    end = 0
    for n in lengths:
        start, end = end, end + n
        wanted = [f for f in range(start) if f < sink or f >= end - (window - sink) or end <= window]
        assert chunks.seen(start, end, window, sink) == wanted
        if start:
            held = sorted(f for f in state.frames.tolist() if f >= 0)
            assert held == wanted and int(state.seen) == start
            # Those that hold something come first, and what each holds are the keys of its frame.
            assert (np.asarray(state.frames)[: len(held)] >= 0).all()
            np.testing.assert_array_equal(state.keys[0, : len(held), 0, 0, 0], np.asarray(state.frames)[: len(held)])
        own = jnp.broadcast_to(jnp.arange(start, end, dtype=jnp.float32)[None, :, None, None], (1, n, 1, 2))
        state = cache.written(state, memory, (own, own))


def test_later_noise_leaves_earlier_chunks_as_they_were(dit):
    text, noise, joins = inputs(6)
    other, more = noise.copy(), joins.copy()
    other[4:], more[:, 4:] = 0.3, -1.0
    one, two = (
        causal.rollout(dit, text, x, chunk=2, window=4, renoise=y, **SHORT) for x, y in ((noise, joins), (other, more))
    )
    np.testing.assert_array_equal(one.latents[:4], two.latents[:4])
    assert np.abs(one.latents[4:] - two.latents[4:]).min() > 1e-4


def test_one_chunk_is_the_bidirectional_model(dit):
    text, noise, _ = inputs(3)
    time = np.array([700.0, 250.0, 0.0])
    np.testing.assert_allclose(
        causal.forward(dit, noise, time, text, chunks=(3,)), dit(noise, time, text).v, rtol=0, atol=1e-5
    )
    (chunk,) = causal.stream(dit, text, noise, steps=(1000,), record=Record(fields=("v",)))
    np.testing.assert_allclose(chunk.trajectory.v[0], dit(noise, 1000.0, text).v, rtol=0, atol=1e-5)


def test_a_window_of_all_frames_is_no_window(dit):
    text, noise, joins = inputs(6)
    how = {"chunk": 2, "renoise": joins, **SHORT}
    whole = causal.rollout(dit, text, noise, **how)
    # Other slots are another program; latents of size 5 round by 5e-7, and not alike on all processors.
    np.testing.assert_allclose(causal.rollout(dit, text, noise, window=6, **how).latents, whole.latents, atol=1e-5)
    # Until a frame leaves, its place within the window is its number.
    relative = causal.rollout(dit, text, noise, window=6, positions="relative", **how)
    np.testing.assert_allclose(relative.latents, whole.latents, atol=1e-5)
    narrow = causal.rollout(dit, text, noise, window=4, **how).latents
    np.testing.assert_allclose(narrow[:4], whole.latents[:4], atol=1e-5)
    assert np.abs(narrow[4:] - whole.latents[4:]).max() > 1e-3


def test_relative_positions_count_within_the_window(dit):
    """A cache that has seen more, with the same frames in other slots, asks the same question; and where all frames are
    within the window, it is the one of absolute positions."""
    text, noise, _ = inputs(3)
    memory = cache.Memory(4, window=6, sink=1, positions="relative")
    context = dit.context(text, ahead=True)
    state = cache.empty(dit, memory, 2, 2)
    for frame in noise[:1] * np.array([1, 2, 3, 4])[:, None, None, None]:
        state = cache.after(dit, state, memory, frame[None], 0.0, context)
    assert state.frames.tolist() == [0, 1, 2, 3]
    ask = lambda state: cache.velocity(dit, state, memory, context)(noise[:2], Level(0.5, 500.0)).v
    order = jnp.array([0, 3, 1, 2])
    turned = state._replace(keys=state.keys[:, order], values=state.values[:, order], frames=state.frames[order])
    np.testing.assert_allclose(ask(turned), ask(state), rtol=0, atol=1e-5)
    # Frames 0 and 41, 42, 43 before 44 and 45 stand where 0 to 5 did.
    late = state._replace(frames=jnp.array([0, 41, 42, 43]), seen=jnp.int32(44))
    np.testing.assert_array_equal(ask(late), ask(state))
    short = late._replace(seen=jnp.int32(43), frames=jnp.array([0, 40, 41, 42]))
    np.testing.assert_array_equal(ask(short), ask(state))
    absolute = causal.rollout(dit, text, noise, chunk=1, window=3, key=jax.random.key(0), **SHORT)
    relative = causal.rollout(dit, text, noise, chunk=1, window=3, positions="relative", key=jax.random.key(0), **SHORT)
    np.testing.assert_allclose(relative.latents, absolute.latents, rtol=0, atol=1e-5)


def test_one_program_and_a_flat_memory_however_long(dit):
    """A thousand chunks of one frame: what is alive after each is what was after the tenth, and no program is new."""
    text, _, _ = inputs(1)
    noise = np.random.default_rng(0).normal(size=(1000, 2, 2, 16)).astype(np.float32)
    how = {"chunk": 1, "window": 5, "sink": 1, "steps": (1000,), "shift": 5.0}
    programs: tuple[Any, ...] = (streaming._denoised, streaming._shown)
    before = [program._cache_size() for program in programs]
    alive = {}
    for chunk in causal.stream(dit, text, noise, **how):
        assert np.isfinite(chunk.latents).all()
        if chunk.start in (10, 500, 999):
            alive[chunk.start] = sum(a.nbytes for a in jax.live_arrays())
    assert [program._cache_size() - old for program, old in zip(programs, before, strict=True)] == [1, 1]
    assert max(alive.values()) <= 1.02 * alive[10] and len(alive) == 3
    list(causal.stream(dit, text, noise[:7], **{**how, "chunk": 2, "first": 1}))
    assert [program._cache_size() - old for program, old in zip(programs, before, strict=True)] == [3, 3]


def test_a_state_is_kept_and_taken_up_bit_for_bit(dit, tmp_path):
    """And in several ways at once."""
    text, noise, _ = inputs(4)
    context, memory = dit.context(text, ahead=True), cache.Memory(3, window=4)
    show = jax.jit(lambda state, x: cache.after(dit, state, memory, x, 0.0, context))
    ask = jax.jit(lambda state, x: cache.velocity(dit, state, memory, context)(x, Level(0.5, 500.0)).v)
    state = show(show(cache.empty(dit, memory, 2, 2), noise[:1]), noise[1:2])
    np.savez(tmp_path / "state.npz", **state._asdict())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as file:
        again = cache.State(*(jnp.asarray(file[name]) for name in cache.State._fields))
    chex.assert_trees_all_equal(again, state)
    np.testing.assert_array_equal(ask(again, noise[2:3]), ask(state, noise[2:3]))
    ways = jax.vmap(lambda x: ask(show(state, x), noise[3:4]))(jnp.stack([noise[2:3], noise[3:4]]))
    np.testing.assert_allclose(ways[1], ask(show(state, noise[3:4]), noise[3:4]), rtol=0, atol=1e-5)
    assert np.abs(ways[0] - ways[1]).max() > 1e-3
    assert cache.nbytes(dit, memory, 2, 2) == 2 * 3 * 3 * 4 * 48 * 4 + 4 * 4


def test_seeds_and_an_edit_over_them(dit):
    """Rollouts under vmap are the single ones, and a mean over seeds makes what comes behind it one."""
    text, _, _ = inputs(1)
    noise = np.random.default_rng(3).normal(size=(2, 4, 4, 4, 16)).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), 2)
    how = {"chunk": 2, **SHORT}
    run = lambda edits: jax.vmap(
        lambda x, key: causal.rollout(dit, text, x, key=key, edits=edits, **how), axis_name="seed"
    )(noise, keys)
    plain = run({})
    for i in range(2):
        alone = causal.rollout(dit, text, noise[i], key=keys[i], **how)
        np.testing.assert_allclose(plain.latents[i], alone.latents, rtol=0, atol=1e-5)
    mean = run({"block.2": lambda h: lax.pmean(h, "seed")})
    # Velocities are one, so estimates differ by the noise they start from alone, x0 = x - v.
    np.testing.assert_allclose(mean.x0[0, 0, :2] - mean.x0[1, 0, :2], noise[0, :2] - noise[1, :2], rtol=0, atol=1e-5)
    assert np.abs((plain.x0[0, 0] - plain.x0[1, 0])[:2] - (noise[0] - noise[1])[:2]).max() > 1e-2


def test_on_a_mesh(dit):
    """Tokens of a chunk and heads divided over devices."""
    text, noise, joins = inputs(4)
    how = {"chunk": 2, "window": 3, "sink": 1, "renoise": joins, **SHORT}
    on = family.shard(dit, parallel.mesh({"data": 2, "context": 2, "tensor": 2}))
    np.testing.assert_allclose(
        causal.rollout(on, text, noise, **how).latents, causal.rollout(dit, text, noise, **how).latents, atol=2e-5
    )


def test_gradients_reach_every_weight_but_what_a_mask_hides(dit):
    text, noise, _ = inputs(4)

    def loss(dit, clean):
        return jnp.sum(causal.forward(dit, noise, 600.0, text, chunks=(2, 2), clean=clean)[:2] ** 2)

    of_dit, of_clean = jax.jit(jax.grad(loss, (0, 1)))(dit, noise[::-1].copy())
    chex.assert_tree_all_finite((of_dit, of_clean))
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(of_dit))
    # The first noisy chunk sees no clean frame.
    assert not np.asarray(of_clean).any()


def test_lists_of_times():
    np.testing.assert_allclose(grids.self_forcing().times, [1000, 937.5, 2500 / 3, 625], rtol=1e-12)
    np.testing.assert_allclose(grids.self_forcing(shift=8).times, [1000, 960, 8000 / 9, 8000 / 11], rtol=1e-12)
    old = grids.self_forcing((1000, 757, 522, 0), 8, warp=False)
    np.testing.assert_array_equal(old.times, [1000, 757, 522])
    np.testing.assert_allclose(old.sigmas, [1, 0.75676, 0.52174, 0], atol=5e-6)


@pytest.mark.parametrize(
    "asked, message",
    [
        ({"chunk": 3}, "4 frames are not chunks of 3; 3 or 6 are"),
        ({"chunk": 3, "first": 2}, "4 frames are not 2 and then chunks of 3; 2 or 5 are"),
        ({"chunk": 0}, "expected 1 or more"),
        ({"chunk": 2, "window": 1}, "window: 1 frames cannot hold a sink of 0 and a chunk of 2"),
        ({"chunk": 2, "sink": 1}, "sink: found 1 with window None"),
        ({"chunk": 2, "positions": "absolut"}, "positions: found 'absolut'"),
        ({"chunk": 2, "positions": "relative"}, "'relative' counts within a window"),
        ({"chunk": 2, "key": None}, "expected key= or renoise="),
        ({"chunk": 2, "steps": (1000, 250.5)}, "whole numbers"),
        ({"chunk": 2, "context_noise": -1.0}, "context_noise: found -1"),
        ({"chunk": 2, "renoise": np.zeros((2, 4, 4, 4, 16))}, r"renoise: shape .*, expected \(1, 4, 4, 4, 16\)"),
        ({"chunk": 2, "first_renoise": np.zeros((1, 2, 4, 4, 16))}, "there are no first_steps"),
        ({"chunk": 2, "given": np.zeros((1, 4, 4, 16))}, "5 frames are not"),
        ({"chunk": 1, "given": np.zeros((1, 4, 2, 16))}, "given: frames"),
        ({"chunk": 3, "first": 2, "given": np.zeros((1, 4, 4, 16))}, "given: 1 frames are not whole chunks"),
        ({"taps": {"block.9": lambda h: h}}, "unknown site 'block.9'"),
    ],
)
def test_what_does_not_fit_is_refused(dit, asked, message):
    text, noise, _ = inputs(4)
    with pytest.raises(ValueError, match=message):
        list(causal.stream(dit, text, noise, **{"key": jax.random.key(0), "chunk": 2, **SHORT, **asked}))


def test_frames_without_positions_are_refused(dit):
    text = inputs(1)[0]
    noise = np.zeros((1026, 2, 2, 16), np.float32)
    with pytest.raises(ValueError, match="1026 frames, expected at most 1024, .* positions='relative'"):
        causal.stream(dit, text, noise, chunk=3, window=6, key=jax.random.key(0))
    with pytest.raises(ValueError, match="expected at most 1024"):
        causal.forward(dit, noise, 0.0, text, chunks=(3,) * 342)
    # Whoever goes on by hand gets no number that looks like one.
    cos, _ = network.angles(np.array([0, 1023, 1024, -1]), 1, 1, 12)
    assert np.isfinite(cos[:2]).all() and np.isnan(cos[2:, 0]).all()


@pytest.mark.parametrize(
    "given, message",
    [
        ({"chunks": (2, 1)}, r"found \(2, 1\) for 4 frames"),
        ({"chunks": (2, 2), "window": 1}, "window: 1"),
        ({"chunks": (2, 2), "clean": np.zeros((3, 4, 4, 16))}, "clean: shape"),
    ],
)
def test_a_forward_pass_refuses_too(dit, given, message):
    text, noise, _ = inputs(4)
    with pytest.raises(ValueError, match=message):
        causal.forward(dit, noise, 0.0, text, **given)


def test_only_text_to_video(dit):
    other = wan.abstract(wan.WanConfig(dim=48, heads=4, ffn_dim=8, layers=1, in_channels=20, out_channels=16))
    with pytest.raises(ValueError, match="20 channels in and 16 out, expected a text-to-video"):
        network.grid_of(other, np.zeros((1, 4, 4, 20)))
    with pytest.raises(ValueError, match="latent of shape"):
        network.grid_of(dit, np.zeros((1, 3, 4, 16)))
