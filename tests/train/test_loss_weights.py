"""ViMoGen's loss in the update: masks, channels and levels against a float64 restatement of the public formulas."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx

from vrjax import parallel
from vrjax.data.motions import Motions
from vrjax.files import records, writing
from vrjax.flow import Prediction
from vrjax.models import family
from vrjax.models import motion as motion_models
from vrjax.models.motion import MotionConfig
from vrjax.motion import program
from vrjax.plan.jobs import training
from vrjax.train import loop, objectives, ready, state, step, update
from vrjax.train.config import Data, Objective, Optim, TrainConfig, Validate

MODEL = MotionConfig(
    mode="mixed", dim=24, ffn_dim=16, heads=4, layers=2, reference_layers=1, freq_dim=8, text_dim=12, text_len=24
)
PUBLIC = Objective(shift=5.0, drop=0.5, drop_others=0.6, channel_weights=((258, 3.0),), weighting="bsmntw")
CONFIG = tiny.config(
    model=MODEL,
    data=Data(motions=Motions(rows=12, shortest=8), batch=8),
    objective=PUBLIC,
    optim=Optim(kind="adamw", warmup=2),
    validate=Validate(every=0, final_clips=0),
)


def public_weights(shift=5.0):
    """Levels and weights of the 1000 steps of the public schedule, in float64."""
    sigma = np.linspace(1, 0, 1001)[:-1]
    sigma = shift * sigma / (1 + (shift - 1) * sigma)
    y = np.exp(-2 * ((1000 * sigma - 500) / 1000) ** 2)
    y = y - y.min()
    return sigma, y * len(y) / y.sum()


def test_levels_are_weighted_as_published():
    sigma, weight = public_weights()
    np.testing.assert_allclose(weight[[0, 250, 500, 750, 999]], [0, 0.39795, 1.02486, 1.91404, 0.03188], atol=5e-6)
    np.testing.assert_allclose(objectives.level_weight(sigma, 5.0), weight, atol=2e-5)
    assert abs(float(jnp.max(objectives.level_weight(sigma, 5.0))) - 2.0764) < 5e-5


def test_weighted_clean_all_levels_err_alike():
    """Errors of the velocity, so weighted, are those of the clean example, up to one number."""
    sigma, schedule = np.array([0.1, 0.4, 0.9]), public_weights()[0]
    weight = np.asarray(objectives.level_weight(sigma, 5.0, "clean"))
    np.testing.assert_allclose(weight, sigma**2 / np.mean(schedule**2), rtol=1e-5)


@pytest.fixture(scope="module")
def batch():
    """Padded examples of two sources: one is told by text less often and, then, teaches the first channels alone."""
    draw, length = np.random.default_rng(0), np.array([8, 12, 9, 12, 10, 11, 8, 12])
    mask, noisy = np.arange(12) < length[:, None], np.arange(8) % 2 == 1
    made = {
        "latent": draw.normal(size=(8, 12, 276)) * mask[..., None],
        "text": draw.normal(size=(8, 24, 12)),
        "reference": draw.normal(size=(8, 12, 138)) * mask[..., None],
        "mask": mask,
        "drop_others": np.where(noisy, 0.4, 0.8),
        "channels_alone": np.where(noisy[:, None], np.arange(276) < 126, 1),
    }
    made = {name: jnp.asarray(x, jnp.float32) for name, x in made.items()} | {"length": jnp.asarray(length)}
    return jax.jit(lambda key, made: step.draw(CONFIG, key, made))(jax.random.key(2), made)


def test_the_loss_is_the_public_one(batch, monkeypatch):
    """Sum of mask x level weight x channel weight x squared error over the sum of the mask, in one part and in four.

    The mask leaves out padding, and the channels from 126 on of noisy examples without a reference.
    """
    rows, drawn = batch
    of = family.of(MODEL)
    monkeypatch.setattr(of, "predict", lambda model, x, level, given: Prediction(jnp.sin(3 * x) * model))
    network = state.Network(CONFIG, {})
    monkeypatch.setattr(state.Network, "build", lambda self, params, base: params)
    x0, noise, sigma = (np.asarray(x, np.float64) for x in (rows["latent"], drawn.noise, drawn.sigma))
    levels = sigma[:, None, None]
    error = (0.7 * np.sin(3 * ((1 - levels) * x0 + levels * noise)) - (noise - x0)) ** 2
    grid = np.linspace(1, 0, 1001)[:-1]
    grid = 5 * grid / (1 + 4 * grid)
    bell = lambda s: np.exp(-2 * (s - 0.5) ** 2) - np.exp(-0.5)
    mask = np.asarray(rows["mask"], np.float64)[..., None] * np.ones(276)
    alone = ~np.asarray(rows["reference"]).any((1, 2))
    noisy = np.arange(8) % 2 == 1
    assert {(True, True), (True, False), (False, True)} <= set(zip(alone.tolist(), noisy.tolist(), strict=True))
    mask[alone & noisy, :, 126:] = 0
    channel = np.where(np.arange(276) < 258, 1.0, 3.0)
    expected = (mask * (bell(levels) / bell(grid).mean()) * channel * error).sum() / mask.sum()
    loss = lambda params, *given: (step.batch_error(network, params, {}, *given), None)
    for parts in (1, 4):
        found, _, slope = update.gradient(loss, jnp.float32(0.7), batch, parts=parts)
        np.testing.assert_allclose(found, expected, rtol=2e-6)
        assert np.isfinite(slope)
    zero = (mask * (bell(levels) / bell(grid).mean()) * channel * (1 + x0**2)).mean() / mask.mean()
    found = objectives.zero_velocity_error(rows["latent"], weight=rows["weight"])
    np.testing.assert_allclose(found, zero, rtol=2e-6)


def test_without_options_there_is_no_weight(batch):
    rows, drawn = batch
    assert objectives.example_weights(rows["latent"], drawn.sigma) is None
    ones = objectives.example_weights(rows["latent"], drawn.sigma, mask=jnp.ones((8, 12)))
    np.testing.assert_array_equal(ones, np.ones((8, 12, 1)))
    assert step.taught(CONFIG, {"latent": rows["latent"]}) is None


def test_masks_of_films():
    """A mask has the first axes of the latent, whatever comes after them."""
    weight = objectives.example_weights(jnp.ones((2, 3, 4, 4, 5)), jnp.ones(2), mask=jnp.array([[1, 1, 0], [1, 0, 0]]))
    assert weight is not None and weight.shape == (2, 3, 1, 1, 1)
    np.testing.assert_allclose(weight[:, :, 0, 0, 0], [[2, 2, 0], [2, 0, 0]])
    channels = jnp.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], jnp.float32)
    weight = objectives.example_weights(jnp.ones((2, 3, 4, 4, 5)), jnp.ones(2), channel_mask=channels)
    assert weight is not None and weight.shape == (2, 1, 1, 1, 5)
    np.testing.assert_allclose(weight[:, 0, 0, 0], channels / 0.8)


def test_a_run_from_its_data_to_its_model(tmp_path, monkeypatch):
    """Numbers go in, a network comes out: every weight that the loss reaches has moved, in two micro-batches."""
    monkeypatch.setattr(program, "perform", tiny.performance)
    config = dataclasses.replace(CONFIG, steps=2, accumulate=2)
    loop.run(config, root=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "tiny" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2] and all(0.5 < row["relative"] < 3 for row in rows)
    model = motion_models.load_dit(tmp_path / "tiny" / "model")
    assert dataclasses.replace(model.cfg, dtype=MODEL.dtype) == MODEL
    made, fresh = nnx.to_pure_dict(nnx.split(model)[1]), state.fresh_weights(config)
    for part in ("blocks", "reference_encoder", "motion_embedding", "motion_head"):
        moved = [
            np.any(np.asarray(a) != np.asarray(b))
            for a, b in zip(*map(jax.tree.leaves, (made[part], fresh[part])), strict=True)
        ]
        assert np.mean(moved) > 0.9, part


def test_a_plan_of_it_has_numbers_for_a_batch():
    _, (*_, batch, _) = step.abstract(CONFIG, parallel.run_mesh({}), CONFIG.data.motions.latent)
    found = {name: (x.shape, x.dtype) for name, x in batch.items()}
    assert found == {"seed": ((8,), np.uint32), "number": ((8,), np.uint32)}
    assert training.latent(CONFIG) == (12, 276)


def test_its_config_goes_through_json():
    sources = Motions(sets=("S", "V"), told_by_text=(0.8, 0.4), noisy=("V",), captions="long")
    config = dataclasses.replace(CONFIG, data=Data(motions=sources, batch=8))
    assert records.from_dict(TrainConfig, json.loads(json.dumps(writing.to_dict(config)))) == config


def test_branches_and_texts_are_withheld_as_often_as_said(batch):
    """One of 5 has neither: an empty text, and no reference."""
    many = {"latent": jnp.ones((4000, 1, 276)), "text": jnp.ones((4000, 1, 1)), "reference": jnp.ones((4000, 1, 1))}
    rows, *_ = step.drop(CONFIG, jax.random.key(0), many)
    text, reference = (np.asarray(rows[name]).any((1, 2)) for name in ("text", "reference"))
    assert text.mean() == pytest.approx(0.5, abs=0.03) and reference.mean() == pytest.approx(0.4, abs=0.03)
    assert (text & reference).mean() == pytest.approx(0.2, abs=0.03)
    assert "length" in step.conditions(MODEL, batch[0])


def test_sources_have_their_own_rates():
    rates = np.repeat(np.float32([0.8, 0.4]), 4000)
    many = {"latent": jnp.ones((8000, 1, 276)), "text": jnp.ones((8000, 1, 1)), "reference": jnp.ones((8000, 1, 1))}
    rows, *_ = step.drop(CONFIG, jax.random.key(0), many | {"drop_others": jnp.asarray(rates)})
    text, reference = (np.asarray(rows[name]).any((1, 2)).reshape(2, 4000).mean(1) for name in ("text", "reference"))
    np.testing.assert_allclose(reference, [0.2, 0.6], atol=0.03)
    np.testing.assert_allclose(text, [0.5, 0.5], atol=0.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: objectives.channel_weights(((9, 1.0),), 9), r"channels \[9\], expected rising ones of 0 to 8"),
        (lambda: objectives.channel_weights(((3, 1.0), (2, 1.0)), 9), r"channels \[3, 2\], expected rising"),
        (lambda: objectives.channel_weights(((2, -1.0),), 9), "weight -1.0, expected a finite number >= 0"),
        (lambda: objectives.example_weights(jnp.ones((1, 2)), jnp.ones(1), weighting="x"), "found 'x', expected one"),
        (
            lambda: dataclasses.replace(CONFIG, validate=Validate()),
            "motions have no verifier: set validate.every, validate.final_clips to 0",
        ),
        (
            lambda: dataclasses.replace(CONFIG, data=Data(cache="x", motions=Motions())),
            "found data.cache and data.motions, expected one of them",
        ),
        (
            lambda: ready.refuse(dataclasses.replace(CONFIG, model=dataclasses.replace(MODEL, text_len=16))),
            "cannot be trained here: captions: the longest has 22 words, expected at most length=16",
        ),
        (lambda: ready.refuse(dataclasses.replace(CONFIG, model=tiny.MODEL)), "motions have 276 channels and text"),
        (lambda: tiny.align(objective=PUBLIC), "preferences have no use for objective.channel_weights"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
