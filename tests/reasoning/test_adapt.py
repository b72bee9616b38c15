"""Adapters tuned on keyframes: one program equals the loop, prompts do not touch each other, no steps is the base."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vrjax import flow
from vrjax.flow import Level
from vrjax.models import wan
from vrjax.models.wan import WanConfig
from vrjax.reasoning.thoughts import adapt as stage
from vrjax.reasoning.thoughts.keyframes import VisualThoughts
from vrjax.train import lora, objectives
from vrjax.train.optim import path_name

CONFIG = WanConfig(
    dim=16,
    heads=2,
    ffn_dim=16,
    layers=1,
    in_channels=3,
    out_channels=3,
    patch=(1, 2, 2),
    freq_dim=8,
    text_dim=8,
    text_len=4,
    gate_init=1.0,
)
PROMPTS, SEEDS, RANK, STEPS = 3, 2, 4, 8
OPTIONS = {"steps": STEPS, "rank": RANK, "lr": 5e-3, "batch": 2, "keep": (3, STEPS)}
KEYS = jax.random.split(jax.random.key(5), (PROMPTS, SEEDS))


@pytest.fixture(scope="module")
def dit():
    dit = jax.jit(lambda: wan.WanDiT(CONFIG, rngs=nnx.Rngs(0)))()
    dit.head.kernel[...] = 0.3 * jax.random.normal(jax.random.key(1), dit.head.kernel.shape)  # a fresh head is zero
    return dit


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    latents = rng.uniform(-1, 1, (PROMPTS, 3, 1, 4, 4, 3)).astype(np.float32)
    texts = rng.standard_normal((PROMPTS, 3, 4, 8)).astype(np.float32)
    count = np.array([3, 2, 1], np.int32)
    for p, n in enumerate(count):
        latents[p, n:], texts[p, n:] = 0, 0
    return stage.TuningSet(latents, texts, count)


def tuning(**changed):
    """All prompts and seeds side by side, in one program."""

    def one(dit, row, key):
        return stage.adapt(dit, row.latents, row.texts, key, count=row.count, **{**OPTIONS, **changed})

    return jax.jit(jax.vmap(jax.vmap(one, in_axes=(None, None, 0)), in_axes=(None, 0, 0)))


together = tuning()
alone = jax.jit(lambda dit, latents, texts, key, count: stage.adapt(dit, latents, texts, key, count=count, **OPTIONS))


@pytest.fixture(scope="module")
def tuned(dit, data):
    return together(dit, data, KEYS)


def close(a, b, atol=1e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=atol), a, b)


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def at(tree, *index):
    return jax.tree.map(lambda a: a[index], tree)


def test_all_prompts_and_seeds_at_once_equal_the_loop(dit, data, tuned):
    assert tuned.loss.shape == (PROMPTS, SEEDS, STEPS)
    for p in range(PROMPTS):
        for s in range(SEEDS):
            one = alone(dit, data.latents[p], data.texts[p], KEYS[p, s], data.count[p])
            close(at(tuned, p, s), one)
    assert np.ptp(np.asarray(tuned.loss), axis=(0, 1)).min() > 1e-3  # they are different problems


def test_it_is_one_program(dit, data, tuned):
    before = together._cache_size()
    other = jax.tree.map(lambda a: 1.1 * a, dit)
    together(other, data._replace(count=data.count[::-1].copy()), KEYS[::-1])
    assert before == together._cache_size() == 1


def test_one_after_another_gives_the_same(dit, data, tuned):
    one = lambda dit, row: alone.__wrapped__(dit, row[0].latents, row[0].texts, row[1], row[0].count)
    jobs = jax.tree.map(lambda a: jnp.repeat(a, SEEDS, 0), data), KEYS.reshape(-1)
    turns = jax.jit(lambda dit, jobs: jax.lax.map(functools.partial(one, dit), jobs, batch_size=2))(dit, jobs)
    close(jax.tree.map(lambda a: a.reshape(PROMPTS, SEEDS, *a.shape[1:]), turns), tuned)


def test_prompts_do_not_touch_each_other(dit, data, tuned):
    """Adapters start anew for each prompt: with other neighbours, and other filling, a prompt's result is the same."""
    others = jax.tree.map(lambda a: a.copy(), data)
    others.latents[0], others.texts[0] = others.latents[0] * -2, others.texts[0] + 1
    others.latents[1, 2:], others.texts[1, 2:] = 1e3, 1e3
    again = together(dit, others, KEYS)
    equal(at(again, 1), at(tuned, 1))
    equal(at(again, 2), at(tuned, 2))
    assert np.abs(again.loss[0] - tuned.loss[0]).min() > 1e-3


@pytest.fixture(scope="module")
def longer(dit, data):
    """The same seeds and options for more steps."""
    return tuning(steps=80, keep=(STEPS,))(dit, data, KEYS)


def test_what_is_kept_are_the_adapters_on_the_way(tuned, longer):
    """A long run passes through what a short one ends with."""
    equal(at(tuned.kept, slice(None), slice(None), 1), tuned.adapter)
    assert any(np.abs(leaf["b"][:, :, 0] - leaf["b"][:, :, 1]).max() > 1e-3 for leaf in tuned.kept.values())
    close(at(longer.kept, slice(None), slice(None), 0), tuned.adapter)
    close(longer.loss[..., :STEPS], tuned.loss)


def test_no_steps_is_the_base_to_the_bit(dit, data):
    none = jax.jit(lambda *a: stage.adapt(*a, steps=0, rank=RANK))(dit, data.latents[0], data.texts[0], KEYS[0, 0])
    assert none.loss.shape == (0,)
    equal(stage.merge(dit, none.adapter), dit)
    x = jax.random.normal(jax.random.key(2), (3, 4, 4, 3))
    level = Level(jnp.float32(0.7), jnp.float32(700.0))
    ours = jax.jit(lambda dit, a: stage.velocity(dit, a, data.texts[0, 0])(x, level).v)
    base = jax.jit(lambda dit: dit.velocity(data.texts[0, 0])(x, level).v)
    equal(ours(dit, none.adapter), base(dit))


def test_tuning_lowers_the_error_on_its_own_keyframes(dit, data, longer):
    """The error over a fixed bank of noises and levels falls, on the own prompt more than on the others' (placebo)."""
    bank, sigmas = jax.random.split(jax.random.key(9), 16), (jnp.arange(16) + 0.5) / 16

    @jax.jit
    def errors(dit, adapters):
        """[adapter of prompt, keyframes of prompt], both of seed 0."""

        def error(adapter, latent, text):
            module = stage.merge(dit, adapter)
            v = lambda x, level: module(x, level.time, text)
            return jax.vmap(lambda key, sigma: objectives.flow_matching(v, latent, key, sigma))(bank, sigmas).mean()

        row = lambda adapter: jax.vmap(lambda latent, text: error(adapter, latent, text))(
            jnp.asarray(data.latents[:, 0]), jnp.asarray(data.texts[:, 0])
        )
        return jax.vmap(row)(adapters)

    base = np.asarray(errors(dit, jax.tree.map(lambda a: jnp.zeros_like(a[:, 0]), longer.adapter)))
    table = np.asarray(errors(dit, at(longer.adapter, slice(None), 0)))
    gain = base - table
    assert np.diag(gain).min() > 0.02 * base.max()
    assert (np.diag(gain)[None] > gain + 1e-3)[~np.eye(PROMPTS, dtype=bool)].all()
    assert np.asarray(longer.loss[..., -20:]).mean() < np.asarray(longer.loss[..., :20]).mean()


def test_a_sweep_over_learning_rates_is_a_vmap(dit, data, tuned):
    sweep = jax.jit(
        jax.vmap(
            lambda lr: stage.adapt(dit, data.latents[1], data.texts[1], KEYS[1, 0], count=2, **{**OPTIONS, "lr": lr})
        )
    )
    found = sweep(jnp.array([0.0, 5e-3]))
    close(at(found, 1), at(tuned, 1, 0))
    assert not any(np.asarray(leaf["b"][0]).any() for leaf in found.adapter.values())  # nothing learned at rate 0


# What is drawn -------------------------------------------------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Telltale:
    """A callable pytree whose error tells which keyframe and level were drawn: v = -text (1 - sigma), so the error of a
    clean frame of the text's own constant C is (C sigma)^2, up to the noise."""

    blocks: dict

    def __call__(self, x, time, text):
        return jnp.full_like(x, -text.mean() * (1 - time / 1000.0)) + 0.0 * self.blocks["ffn_in"]["kernel"].sum()


def test_levels_are_logit_normal_and_captions_stay_with_their_frames():
    fake = Telltale({"ffn_in": {"kernel": jnp.ones((4, 4))}})
    size = np.array([1e4, 1e8, np.nan], np.float32)  # the last is filling: never drawn
    latents = np.broadcast_to(size[:, None, None, None, None], (3, 1, 2, 2, 1))
    texts = np.broadcast_to(size[:, None, None], (3, 1, 1))
    mean, std, steps = 0.4, 0.8, 600
    run = jax.jit(
        lambda key: stage.adapt(fake, latents, texts, key, count=2, steps=steps, rank=2, mean=mean, std=std).loss
    )
    root = np.sqrt(np.asarray(run(jax.random.key(3)), np.float64))
    second = root > 1e5  # C sigma: at most 1e4 for the first keyframe
    assert abs(second.mean() - 0.5) < 4 * 0.5 / np.sqrt(steps)
    sigma = np.sort(root / np.where(second, 1e8, 1e4))
    logit = (np.log(sigma / (1 - sigma)) - mean) / std
    from math import erf

    cdf = 0.5 * (1 + np.array([erf(z / np.sqrt(2)) for z in logit]))
    gap = np.abs(cdf - (np.arange(steps) + 0.5) / steps).max()
    assert gap < 1.95 / np.sqrt(steps)  # Kolmogorov-Smirnov at 0.1 %


def test_the_papers_matrices_are_adapted():
    shapes = wan.abstract(dataclasses.replace(CONFIG, image_dim=8))
    pure = nnx.to_pure_dict(nnx.split(shapes)[1])
    assert sorted(lora.targets(pure, stage.TARGETS)) == sorted(
        [f"blocks.{a}_attn.{m}.kernel" for a in ("self", "cross") for m in "qkvo"]
        + ["blocks.ffn_in.kernel", "blocks.ffn_out.kernel"]
    )
    every = [path_name(p) for p, _ in jax.tree_util.tree_leaves_with_path(pure)]
    assert any("k_img.kernel" in name for name in every)


# Stage 3 -------------------------------------------------------------------------------------------------------------


def test_sampling_with_the_story(dit, data, tuned):
    """The velocity is the merged model's, at the strength asked for, guided or not; and a run uses it."""
    adapter, text, negative = at(tuned.adapter, 0, 0), data.texts[0, 0], data.texts[1, 0]
    x = jax.random.normal(jax.random.key(2), (3, 4, 4, 3))
    level = Level(jnp.float32(0.6), jnp.float32(600.0))

    @jax.jit
    def values(dit, adapter):
        merged = stage.merge(dit, adapter, alpha=8.0)
        plain = [merged(x, level.time, t).v for t in (text, negative)]
        ours = stage.velocity(dit, adapter, text, alpha=8.0)(x, level).v
        guided = stage.velocity(dit, adapter, text, alpha=8.0, negative=negative, guidance=3.0)(x, level).v
        weight = merged.blocks.ffn_in.kernel[...] - dit.blocks.ffn_in.kernel[...]
        final = flow.sample(stage.velocity(dit, adapter, text), x, flow.grids.shifted(2, shift=1.0)).final
        base = flow.sample(dit.velocity(text), x, flow.grids.shifted(2, shift=1.0)).final
        return plain, ours, guided, weight, final, base

    (cond, away), ours, guided, weight, final, base = values(dit, adapter)
    close(ours, cond)
    close(guided, away + 3.0 * (cond - away))
    pair = adapter["blocks.ffn_in.kernel"]
    close(weight, 8.0 / RANK * pair["a"] @ pair["b"], 1e-6)
    assert final.shape == x.shape and np.isfinite(final).all() and np.abs(final - base).max() > 1e-3


# The tuning set ------------------------------------------------------------------------------------------------------


def chain(n, size=(4, 6)):
    frames = tuple(np.full((*size, 3), 50 * i, np.uint8) for i in range(n))
    return VisualThoughts("p", "", "", "", "caption 0", tuple(f"caption {i}" for i in range(1, n)), frames)


def encode_text(caption):
    return np.full((2, 3), float(caption.split()[1]))


def test_keyframes_become_one_frame_videos():
    chains = [chain(3), chain(1, (8, 8))]
    seen = []

    def encode_video(video):
        seen.append(video)
        return video[:, ::2, ::2, :2]

    found = stage.tuning_set(chains, encode_video, encode_text, size=(4, 4))
    assert found.latents.shape == (2, 3, 1, 2, 2, 2) and found.texts.shape == (2, 3, 2, 3)
    np.testing.assert_array_equal(found.count, [3, 1])
    assert all(video.shape == (1, 4, 4, 3) and video.dtype == np.float32 for video in seen)
    np.testing.assert_allclose(found.latents[0, :, 0, 0, 0, 0], np.array([0, 50, 100]) / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(found.texts[0, :, 0, 0], [0, 1, 2])  # each frame its own caption
    assert not found.latents[1, 1:].any() and not found.texts[1, 1:].any()


def test_mistakes_are_named(dit, data):
    video = lambda v: v
    with pytest.raises(ValueError, match="no chains"):
        stage.tuning_set([], video, encode_text, size=(4, 4))
    with pytest.raises(ValueError, match=r"expected one shape, latent \(1, h, w, c\)"):
        stage.tuning_set([chain(2)], lambda v: v[0], encode_text, size=(4, 4))
    with pytest.raises(ValueError, match=r"expected one shape, text \(l, d\)"):
        stage.tuning_set([chain(2)], video, lambda t: np.zeros((int(t[-1]) + 1, 2)), size=(4, 4))
    with pytest.raises(ValueError, match="chain 0: 1 frames for 1"):
        stage.tuning_set([chain(2)._replace(frames=chain(1).frames)], video, encode_text, size=(4, 4))
    args = (dit, data.latents[0], data.texts[0], KEYS[0, 0])
    for options, match in (
        ({"steps": -1}, "steps is -1"),
        ({"steps": 1, "batch": 0}, "batch 0"),
        ({"steps": 4, "keep": (2, 5)}, "keep is"),
        ({"steps": 4, "keep": (3, 2)}, "keep is"),
        ({"steps": 4, "rank": 99}, "rank 99 does not fit"),
        ({"steps": 4, "patterns": ("nothing",)}, "no matrix matches"),
    ):
        with pytest.raises(ValueError, match=match):
            stage.adapt(*args, **{"rank": RANK, **options})
    with pytest.raises(ValueError, match="3 latents and 2 texts"):
        stage.adapt(dit, data.latents[0], data.texts[0][:2], KEYS[0, 0], steps=1)
