"""Shares of solved motions: what the recogniser sees of a motion, what counts as agreement, and the whole table."""

import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest
import tiny
from flax import nnx
from scipy.spatial.transform import Rotation

from experiments.vimogen import recogniser, solved
from vrjax.align.config import AlignConfig, Rollout
from vrjax.data import motions
from vrjax.data.motions import Motions
from vrjax.files import writing
from vrjax.models import motion as motion_models
from vrjax.models.embedded import captions
from vrjax.motion import program
from vrjax.train.config import Data, TrainConfig, Validate

ROWS, TEXT = 24, (24, 12)
FEATURES, LOGITS = jax.jit(recogniser.features), jax.jit(lambda judge, joints: judge(joints))


@pytest.fixture(scope="module")
def judge():
    """Untrained."""
    return recogniser.Recogniser(nnx.Rngs(0))


@pytest.fixture(scope="module")
def items():
    return solved.items("S", 8, ROWS, TEXT, paraphrase=None)


def test_features_do_not_know_where_a_motion_is_drawn(items):
    joints = np.asarray(items.joints[0], np.float64)
    turned = joints @ Rotation.from_euler("z", 0.7).as_matrix().T + [3.0, -2.0, 0.5]
    np.testing.assert_allclose(FEATURES(turned), FEATURES(joints), atol=1e-4)


def test_features_are_the_joints_in_the_bodys_heading(items):
    """The right hip is to the right, and ways are ten times the differences where the heading is held."""
    rows = np.asarray(FEATURES(items.joints[0])).reshape(ROWS, 44, 3)
    joints = np.asarray(items.joints[0])
    np.testing.assert_allclose(
        rows[:, 2, 0] - rows[:, 1, 0], np.hypot(*(joints[:, 2] - joints[:, 1])[:, :2].T), rtol=1e-4
    )
    np.testing.assert_allclose(rows[:, 2, 1], rows[:, 1, 1], atol=1e-5)
    np.testing.assert_allclose(rows[:-1, 22:, 2], 10 * np.diff(joints[..., 2], axis=0), atol=1e-4)
    np.testing.assert_allclose(
        np.linalg.norm(rows[:-1, 22:], axis=-1), 10 * np.linalg.norm(np.diff(joints, axis=0), axis=-1), atol=1e-4
    )


def test_parts_that_a_script_does_not_have_agree_with_everything():
    walk = program.script("walk", upper="wave", upper_side="right")
    other = program.script("walk", side="right", count=3, upper="wave", upper_side="left", speed="fast")
    assert recogniser.agrees(walk, other)._asdict() == {
        "action": True, "arms": True, "side": True, "hand": False, "count": True,
    }  # fmt: skip
    jack = program.script("jumping_jack", count=2)
    found = recogniser.agrees(jack, program.script("jumping_jack", count=3, upper="clap"))
    assert found.arms and not found.count and not found.all
    kick = program.script("kick", side="left")
    assert not recogniser.agrees(kick, program.script("kick", side="right")).side
    assert recogniser.agrees(kick, kick).all


def test_a_recogniser_is_kept(tmp_path, judge, items, monkeypatch):
    monkeypatch.setattr(recogniser, "train", lambda: judge)
    made = recogniser.trained(tmp_path / "new")
    with monkeypatch.context() as then:
        then.setattr(recogniser, "train", lambda: pytest.fail("trained again"))
        again = recogniser.trained(tmp_path / "new")
        then.setattr(recogniser, "STEPS", 7)
        with pytest.raises(pytest.fail.Exception, match="trained again"):
            recogniser.trained(tmp_path / "new")
    given, first, second = (LOGITS(each, items.joints[0]) for each in (judge, made, again))
    for name, row in given.items():
        np.testing.assert_array_equal(first[name], row)
        np.testing.assert_array_equal(second[name], row)
        assert row.shape == (recogniser.SIZES[name],)


def test_recognise_takes_the_likeliest(judge, items):
    seen, rows = jax.jit(recogniser.recognise)(judge, items.joints[0]), LOGITS(judge, items.joints[0])
    assert int(seen.lower) == int(np.argmax(rows["lower"])) and int(seen.count) == int(np.argmax(rows["count"])) + 1


def test_the_nearest_caption_shares_most_words():
    texts = ["a person walks forward", "a person waves", "someone kicks", "someone walks forward quickly"]
    rows = lambda words: np.stack([captions.rows(text, *TEXT) for text in words])
    asked = ["a person walks forward slowly", "someone kicks twice", *texts]
    assert solved.closest(rows(asked), rows(texts)).tolist() == [0, 2, 0, 1, 2, 3]


def test_the_nearest_is_a_motion_of_training(monkeypatch):
    """Captions of training find the motions that they stand beside, true and whole whatever the training's were."""
    monkeypatch.setattr(program, "perform", tiny.performance)
    spec = Motions(rows=ROWS, shortest=9)
    bank = dataclasses.replace(spec, shortest=None)
    made = jax.jit(lambda n: motions.make(bank, 3, n, text=TEXT))(np.arange(100, dtype=np.uint32))
    texts = [row.tobytes() for row in np.asarray(made["text"])]
    places = [7, 64, 99]
    found = solved.nearest(spec, 3, made["text"][np.array(places)], count=100)
    first = np.array([texts.index(texts[place]) for place in places])  # of those with this caption
    np.testing.assert_allclose(found, jax.jit(jax.vmap(solved.joints_of))(made["latent"][first]), atol=1e-5)
    assert np.abs(np.asarray(found[0]) - found[1]).max() > 0.1


def test_a_recogniser_learns_actions(monkeypatch):
    monkeypatch.setattr(program, "perform", tiny.performance)
    judge = recogniser.train(30, frames=9)
    keys = jax.random.split(jax.random.key(1), 64)
    scripts, joints = jax.jit(jax.vmap(lambda key: recogniser.example(key, 9)))(keys)
    parts = recogniser.agrees(scripts, solved.SEEN(judge, joints))
    assert np.mean(parts.action) > 0.9 and np.mean(parts.all) < 0.9  # the rest cannot be seen


def trained_config() -> TrainConfig:
    model = motion_models.MotionConfig(
        mode="mixed", dim=24, ffn_dim=16, heads=4, layers=1, freq_dim=8, text_dim=TEXT[1], text_len=TEXT[0]
    )
    data = Data(motions=Motions(rows=ROWS), batch=4)
    return TrainConfig(name="tiny", model=model, steps=1, data=data, validate=Validate(every=0, final_clips=0))


def test_the_whole_table(tmp_path, judge, items, monkeypatch):
    """Of an untrained model: it solves nothing, the truth almost everything, and a frozen pose what stands still."""
    config, folder = trained_config(), tmp_path / "model"
    folder.mkdir()
    motion_models.save_dit(motion_models.init(config.model, jax.random.key(0)), folder)
    writing.json(folder / "training.json", {"config": writing.to_dict(config)})
    monkeypatch.setattr(recogniser, "trained", lambda out: judge)
    monkeypatch.setattr(solved, "nearest", lambda spec, seed, text: items.joints[::-1])
    solved.main([str(folder), "--clips", "8", "--steps", "2", "--sets", "S", "--out", str(tmp_path)])
    rows = json.loads((tmp_path / "solved.json").read_text())["solved"]["S"]
    assert list(rows) == [solved.TRUTH, solved.FROZEN, solved.NEAREST, solved.TEXT, solved.MOTION]
    assert rows[solved.TRUTH]["predicates"] > rows[solved.FROZEN]["predicates"]
    assert rows[solved.TEXT]["predicates"] == 0 and rows[solved.TEXT]["n"] == 8
    low, high = rows[solved.TRUTH]["predicates interval"]
    assert 0 <= low < rows[solved.TRUTH]["predicates"] <= high <= 1


def test_a_model_after_preferences_is_judged_like_any_other(tmp_path):
    model, own = trained_config().model, Rollout(source="policy")
    config = AlignConfig(name="preferred", model=model, steps=1, data=Data(motions=Motions(rows=ROWS)), rollout=own)
    motion_models.save_dit(motion_models.init(model, jax.random.key(0)), tmp_path)
    writing.json(tmp_path / "training.json", {"config": writing.to_dict(config)})
    found, spec, said = solved.opened(tmp_path)
    assert found.cfg == model and spec == Motions(rows=ROWS) and said == config


def test_models_of_other_data_are_refused(tmp_path, judge):
    config, folder = trained_config(), pathlib.Path(tmp_path) / "model"
    folder.mkdir()
    motion_models.save_dit(motion_models.init(config.model, jax.random.key(0)), folder)
    other = writing.to_dict(config)
    other["data"]["motions"] = None
    writing.json(folder / "training.json", {"config": other})
    with pytest.raises(ValueError, match="data.motions is null, expected a training on procedural motions"):
        solved.judged(folder, judge, clips=1, asked=solved.Asked())


def test_a_model_that_is_not_there_is_one_line(tmp_path, judge, monkeypatch, capsys):
    monkeypatch.setattr(recogniser, "trained", lambda out: judge)
    with pytest.raises(SystemExit, match="2"):
        solved.main([str(tmp_path / "none")])
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("python -m experiments.vimogen.solved: ") and str(tmp_path / "none") in told
