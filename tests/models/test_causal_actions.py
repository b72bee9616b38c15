"""A block-causal network that is told what is done: Wan's own where it is told nothing; each action where it goes."""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vrjax.flow import Level, Record
from vrjax.models import cached, causal, family, wan
from vrjax.models.causal import CausalConfig, CausalDiT, masked

SIZES: dict[str, Any] = {
    "dim": 24, "ffn_dim": 32, "heads": 4, "layers": 2, "in_channels": 3, "out_channels": 3, "patch": (1, 2, 2),
    "freq_dim": 8, "text_dim": 8, "text_len": 4, "gate_init": 1.0,
}  # fmt: skip
WORLD = CausalConfig(**SIZES | {"text_len": 0}, action=2, chunk=1, window=3, positions="relative")
TOLD = CausalConfig(**SIZES, action=2, chunk=2, first=1, window=5, sink=1)
BEFORE = dataclasses.replace(WORLD, previous=True, predicts="change")
FRAMES, SHORT = 5, {"steps": (1000, 500), "shift": 5.0}
STILL = Level(jnp.float32(0), jnp.float32(0))


def network(cfg):
    """Random weights, none of them zero."""
    leaves, tree = jax.tree.flatten(CausalDiT(cfg, rngs=nnx.Rngs(0)))
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return tree.unflatten([x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)])


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


X, ACTIONS, TEXT = drawn(FRAMES, 4, 4, 3), drawn(FRAMES, 2, seed=1), drawn(4, 8, seed=2)


def test_without_actions_it_is_wans_own(tmp_path):
    """The same parameters from the same key, the same bits from either pass, and a file that either reader takes."""
    mine = CausalDiT(CausalConfig(**SIZES, chunk=5), rngs=nnx.Rngs(0))
    theirs = wan.WanDiT(wan.WanConfig(**SIZES), rngs=nnx.Rngs(0))
    head = drawn(*mine.head.kernel.shape, seed=3)
    mine.head.kernel, theirs.head.kernel = nnx.Param(jnp.asarray(head)), nnx.Param(jnp.asarray(head))
    chex.assert_trees_all_equal(jax.tree.leaves(mine), jax.tree.leaves(theirs))
    ask = jax.jit(lambda dit: causal.forward(dit, X, 700.0, TEXT, chunks=(5,)))
    np.testing.assert_array_equal(ask(mine), ask(theirs))
    np.testing.assert_array_equal(jax.jit(lambda dit: dit(X, 700.0, TEXT).v)(mine), ask(theirs))
    np.testing.assert_allclose(ask(mine), theirs(X, 700.0, TEXT).v, rtol=0, atol=1e-5)
    both = [causal.rollout(dit, TEXT, X, chunk=1, key=jax.random.key(0), **SHORT).x0 for dit in (mine, theirs)]
    np.testing.assert_array_equal(*both)
    of = family.get("causal")
    of.save(mine, tmp_path / "mine")
    wan.save_dit(theirs, tmp_path / "theirs.safetensors", layout="original")
    for loaded in (
        of.load(tmp_path / "mine"),
        of.load(tmp_path / "theirs.safetensors"),
        causal.load_dit(tmp_path / "mine"),
    ):
        assert isinstance(loaded, CausalDiT)
        chex.assert_trees_all_equal(jax.tree.leaves(loaded), jax.tree.leaves(theirs))
    assert of.read_config(tmp_path / "theirs.safetensors") == CausalConfig(**SIZES)


@pytest.mark.parametrize("cfg", [BEFORE, TOLD], ids=["world", "told"])
def test_with_a_cache_and_without(cfg):
    """Velocities, and what taps see behind an edit; cached calls are `forced`, and one step of a stream is a call."""
    dit, text = network(cfg), TEXT if cfg.text_len else None
    given = {"actions": ACTIONS} | ({} if text is None else {"text": text})
    of, level = cached.of(cfg), Level(jnp.float32(0.6), jnp.float32(600.0))
    how: Any = {"taps": {"block.*": lambda h: h, "embed": lambda h: h}, "edits": {"block.0.ffn": lambda h: 0.5 * h}}

    @jax.jit
    def ask(dit, x, clean):
        state, at, out = of.begin(dit, given, X.shape), 0, []
        for n in of.chunks(cfg, FRAMES):
            own = {"actions": ACTIONS[at : at + n]}
            out.append(of.chunk(dit, state, x[at : at + n], level, own, **how))
            state = of.after(dit, state, clean[at : at + n], STILL, own, edits=how["edits"])
            at += n
        return out, of.forced(dit, x, level, given, clean=clean, clean_level=STILL, **how), state

    clean = drawn(*X.shape, seed=4)
    parts, whole, state = ask(dit, X, clean)
    np.testing.assert_allclose(np.concatenate([part.v for part in parts]), whole.v, rtol=0, atol=2e-5)
    for name, seen in whole.taps.items():
        made = np.concatenate([part.taps[name] for part in parts], -2)
        beside = seen[..., 4 * FRAMES :, :]  # behind the clean tokens, four a frame
        np.testing.assert_allclose(made, beside, rtol=0, atol=2e-5 * max(1, np.abs(made).max()))
    assert int(state.cache.seen) == FRAMES
    if cfg.previous:
        with pytest.raises(ValueError, match="told the frame before each goes on by cached calls"):
            next(causal.stream(dit, text, X, actions=ACTIONS))
        return
    memory = {"window": cfg.window, "sink": cfg.sink, "positions": cfg.positions}
    record = Record(fields=("x", "v"))
    stream = {"chunk": cfg.chunk, "first": cfg.first, "actions": ACTIONS, "key": jax.random.key(0), "record": record}
    first, *_, last = causal.stream(dit, text, X, **stream, **memory, **SHORT, edits=how["edits"])
    calls = cached.calls(dit, given, X.shape)
    alone = of.chunk(dit, calls.begin(), X[: len(first.latents)], Level(1.0, 1000.0), {"actions": ACTIONS[:1]}, **how)
    np.testing.assert_allclose(first.trajectory.v[0], alone.v, rtol=0, atol=1e-5)
    assert last.start + len(last.latents) == FRAMES


@pytest.mark.parametrize("clean", [None, drawn(*X.shape, seed=4)])
def test_a_mask_hides_what_chunks_do_not_see(monkeypatch, clean):
    """Of short videos, in place of a product for each chunk; derivatives included."""
    dit = network(dataclasses.replace(WORLD, attention="xla"))

    def asked(tokens):
        monkeypatch.setattr(masked, "SHORT", tokens)
        error = lambda dit: jnp.sum(dit(X, 600.0, actions=ACTIONS, clean=clean).v ** 2)
        return jax.jit(jax.value_and_grad(error))(dit)

    def products():
        return str(jax.make_jaxpr(lambda: dit(X, 600.0, actions=ACTIONS, clean=clean).v)()).count("dot_general")

    (one, slopes), fewer = asked(masked.SHORT), products()
    (other, others), more = asked(0), products()
    assert fewer < more and one == pytest.approx(float(other), rel=1e-5)
    for a, b in zip(jax.tree.leaves(slopes), jax.tree.leaves(others), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * max(1, np.abs(b).max()))


def test_an_action_reaches_its_frame_and_those_behind_it():
    """Exactly: derivatives of frames before it are zero, those of its own and of the next ones are not. With a window
    of three, frame t + 3 hears of it through what t + 1 and t + 2 remember."""
    dit = network(WORLD)
    frames = lambda actions: jax.jit(lambda a: dit(X, 600.0, actions=a).v)(actions).reshape(FRAMES, -1)
    slopes = np.abs(jax.jacrev(lambda a: jnp.sum(frames(a) * drawn(FRAMES, 48, seed=5), -1))(ACTIONS)).max(-1)
    assert (np.triu(slopes, 1) == 0).all()  # (frame, action)
    assert (slopes[np.tril_indices(FRAMES)] > 1e-6).all()
    moved = ACTIONS + 0.5 * np.eye(FRAMES)[2][:, None].astype(np.float32)
    np.testing.assert_array_equal(frames(moved)[:2], frames(ACTIONS)[:2])
    assert np.abs(frames(moved)[2] - frames(ACTIONS)[2]).max() > 1e-3


def test_a_predicted_frame_is_the_estimate():
    """At any level but the least, x - sigma v is what the head says: the same as the other network's velocity."""
    one, other = network(WORLD), network(dataclasses.replace(WORLD, predicts="clean"))
    for time, sigma in ((800.0, 0.8), (np.full(FRAMES, 300.0, np.float32), 0.3), (10.0, 0.05)):
        said = one(X, time, actions=ACTIONS).v
        np.testing.assert_allclose(X - sigma * other(X, time, actions=ACTIONS).v, said, rtol=0, atol=1e-5)


def test_a_predicted_change_joins_the_frame_before():
    """Which is nothing before the first one."""
    ask = lambda predicts: network(dataclasses.replace(BEFORE, predicts=predicts))(X, 500.0, actions=ACTIONS).v
    before = np.concatenate([np.zeros_like(X[:1]), X[:-1]])
    np.testing.assert_allclose(-0.5 * (ask("change") - ask("clean")), before, rtol=0, atol=1e-5)


def test_a_network_begins_as_the_one_without_actions():
    """From public weights: what is added begins at zero, and has a gradient."""
    cfg = dataclasses.replace(TOLD, gate_init=None)
    dit = CausalDiT(cfg, rngs=nnx.Rngs(0))
    dit.head.kernel = nnx.Param(jnp.asarray(drawn(*dit.head.kernel.shape)))
    loss = jax.jit(lambda dit, a: jnp.sum(dit(X, 600.0, TEXT, actions=a).v ** 2))
    assert loss(dit, ACTIONS) == loss(dit, 0 * ACTIONS)
    assert np.abs(jax.grad(loss)(dit, ACTIONS).action_in.kernel[...]).max() > 1e-4


def test_without_text_there_is_no_cross_attention():
    dit, of = CausalDiT(WORLD, rngs=nnx.Rngs(0)), family.get("causal")
    assert dit.text_in is None and dit.blocks.cross_attn is None
    assert not any("cross_attn" in site for site in of.sites(WORLD)) and "block.0.ffn" in of.sites(WORLD)
    shorter = dataclasses.replace(WORLD, window=1)
    assert (
        of.flops(shorter, X.shape)
        < of.flops(WORLD, X.shape)
        < of.flops(dataclasses.replace(WORLD, text_len=4), X.shape)
    )
    n, d = 4, WORLD.dim  # tokens of a frame
    pairs = 1 + 2 + 3 + 3 + 3  # frames that frames see
    linear = FRAMES * n * (8 * d * d + 4 * d * WORLD.ffn_dim)
    ends = 2 * FRAMES * (n * d * 4 * 6 + 8 * d + 7 * d * d + 2 * d)
    assert of.flops(WORLD, X.shape) == WORLD.layers * (linear + 4 * n * n * pairs * d) + ends


def test_guidance_over_actions():
    dit, of = network(WORLD), family.get("causal")
    level = Level(jnp.float32(0.6), jnp.float32(600.0))
    ask = lambda actions: of.velocity(dit, {"actions": actions})(X, level).v
    both = of.guided(dit, {"actions": ACTIONS}, {"actions": 0 * ACTIONS}, 2.0)(X, level).v
    one, other = ask(ACTIONS), ask(0 * ACTIONS)
    np.testing.assert_allclose(both, other + 2 * (one - other), rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match=r"guided: .* found \['image'\]"):
        of.guided(dit, {"actions": ACTIONS}, {"image": X}, 2.0)


@pytest.mark.parametrize(
    "cfg, call, message",
    [
        (WORLD, lambda dit: dit(X, 0.0), r"actions: found none, expected shape \(5, 2\), a row for every frame"),
        (WORLD, lambda dit: dit(X, 0.0, actions=ACTIONS[:4]), r"actions: found \(4, 2\), expected shape \(5, 2\)"),
        (WORLD, lambda dit: dit(X, 0.0, TEXT, actions=ACTIONS), r"text: found shape \(4, 8\), expected None"),
        (TOLD, lambda dit: dit(X, 0.0, actions=ACTIONS), r"text: found none, expected \(l, 8\)"),
        (
            TOLD,
            lambda dit: dit(X[:4], 0.0, TEXT, actions=ACTIONS[:4]),
            "chunks: 4 frames are not 1 and then chunks of 2",
        ),
        (
            CausalConfig(**SIZES),
            lambda dit: dit(X[:3], 0.0, TEXT, actions=ACTIONS[:3]),
            "this network knows no actions",
        ),
    ],
)
def test_what_does_not_fit_is_refused(cfg, call, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: call(CausalDiT(cfg, rngs=nnx.Rngs(0))))


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"in_channels": 7}, "expected text-to-video"),
        ({"causal": True}, "causal=True.* expected text-to-video .* left alone"),
        ({"action": -1}, "action=-1"),
        ({"window": 2, "chunk": 3}, "window: 2 frames cannot hold"),
        ({"positions": "relative"}, "'relative' counts within a window"),
        ({"chunk": 0}, "chunk 0"),
        ({"predicts": "noise"}, "predicts='noise', expected one of velocity, clean, change"),
        ({"predicts": "change"}, "adds to the frame before, which needs previous=True"),
        ({"previous": True}, "previous needs chunks of one frame, found None and 3"),
    ],
)
def test_configs_that_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        CausalConfig(**SIZES | wrong)
