"""The trainings of ViMoGen's study: what an update is shown, and that arms differ in half of it alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from experiments.vimogen import training
from experiments.vimogen.config import Trainings, ViMoGen
from vrjax.flow import draws
from vrjax.motion import program, reference, rep276
from vrjax.study.tables import Bench

LENGTHS = Trainings(teacher=6, every=3, short=2, batch=4)
STUDY = ViMoGen(name="small", seeds=(0, 1), trainings=LENGTHS)
SMALL = dataclasses.replace(training.MODEL, dim=12, ffn_dim=8, heads=1, layers=1, reference_layers=1, text_dim=8)


@pytest.fixture(scope="module", autouse=True)
def small():
    """A model of three thousand weights, and motions that compile in no time."""
    with pytest.MonkeyPatch.context() as other:
        other.setattr(training, "MODEL", SMALL)
        other.setattr(training, "TEXT", (24, 8))
        other.setattr(program, "perform", tiny.performance)
        still = tiny.performance(jax.random.key(5), program.script("bow"), training.ROWS + 1).motion
        other.setattr(program, "wander", lambda key, frames: still)
        training.program.cache_clear()
        training._graph.cache_clear()
        yield
        training.program.cache_clear()
        training._graph.cache_clear()


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def taught(bench):
    return training.teacher(STUDY, bench, 0)


def filled(value, *, estimated):
    shape = (8, training.ROWS, rep276.WIDTH)
    return training.bank(np.full(shape, value, np.float32), np.full((8, 24, 8), value, np.float32), estimated=estimated)


def batch(mode, number, shown=None):
    made = jax.jit(training._batch, static_argnums=(0, 1))
    key = jax.random.fold_in(draws.key(0), training.FURTHER)
    return jax.device_get(made(LENGTHS, mode, jnp.uint32(0), jnp.uint32(number), key, shown))


def test_further_trainings_differ_in_half_of_a_batch():
    first, second = filled(1.0, estimated=False), filled(2.0, estimated=True)
    a, b = (batch("text", 7, shown) for shown in (first, second))
    for name in ("latent", "text", "channels_alone"):
        np.testing.assert_array_equal(a[name][:2], b[name][:2])
    assert (a["latent"][2:] == 1).all() and (b["latent"][2:] == 2).all() and (b["text"][2:] == 2).all()
    assert (a["channels_alone"] == 1).all() and (b["channels_alone"][2:] == (np.arange(276) < 126)).all()
    assert np.abs(batch("text", 8, first)["latent"][:2] - a["latent"][:2]).max() > 0.01  # other motions each time


def test_a_bank_is_drawn_from_all_over():
    rows = np.arange(8, dtype=np.float32)[:, None, None] * np.ones((1, training.ROWS, rep276.WIDTH), np.float32)
    shown = training.bank(rows, np.zeros((8, 24, 8), np.float32), estimated=False)
    seen = {float(x) for number in range(20) for x in batch("text", number, shown)["latent"][2:, 0, 0]}
    assert seen == set(range(8))
    both = training.joined(shown, filled(9.0, estimated=True))
    assert both.latent.shape[0] == 16 and both.alone[8:].sum() == 8 * 126 and both.alone[:8].all()


def test_a_teacher_is_shown_references_of_what_wanders_too():
    made = [batch("motion", number) for number in range(20)]
    wanders = np.concatenate([~x["text"].any((1, 2)) for x in made])
    assert 20 < wanders.sum() < 60  # half of 80
    latent, shown = (np.concatenate([x[name] for x in made]) for name in ("latent", "reference"))
    off = np.abs(shown - np.asarray(reference.reference(latent))).max(-1)
    assert 0.1 < (off > 0).mean() < 0.5  # corrupted
    assert batch("text", 0).keys() == {"latent", "text"}


def test_weights_are_kept_and_a_model_is_made_of_them(bench, taught):
    assert taught["curve.text"].shape == (1,) and taught["curve.motion"].shape == (1,)
    assert all(np.isfinite(x).all() for x in taught.values())
    again = training.teacher(STUDY, bench, 0)
    assert again.keys() == taught.keys() and all((again[name] == taught[name]).all() for name in taught)
    fresh, params = jax.device_get(training.fresh(0)), training.weights(taught)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), fresh, params)
    assert moved["reference_embedding"]["kernel"] > 0 and moved["text_in"]["kernel"] > 0
    told = jax.jit(lambda dit: dit(jnp.ones((training.ROWS, 276)), 500.0, jnp.ones((24, 8)), mode="text")[0])
    assert np.abs(told(training.model(params)) - told(training.model(fresh))).max() > 1e-4


def test_a_further_training_starts_from_the_teacher_and_knows_its_bank(bench, taught, monkeypatch):
    told = []
    monkeypatch.setattr(training, "_trained", lambda *args: told.append(args) or {"a.b": np.float32(1)})
    for value in (1.0, 1.0, 2.0):
        training.further(STUDY, bench, 0, "student", taught, filled(value, estimated=False))
    assert len(told) == 2  # the same bank is not trained on again
    start, modes = told[0][4:6]
    np.testing.assert_array_equal(start["text_in"]["kernel"], taught["text_in.kernel"])
    assert modes == ["text"] * LENGTHS.short


def test_blocks():
    np.testing.assert_allclose(training.blocks(np.arange(5.0), 2), [0.5, 2.5, 4.0])


def test_the_control_has_motions_of_its_own():
    one, other = (training.more_mocap(seed, 4) for seed in (0, 1))
    assert one.latent.shape == (4, training.ROWS, 276) and one.alone.all()
    assert np.abs(one.latent - other.latent).max() > 0.01
