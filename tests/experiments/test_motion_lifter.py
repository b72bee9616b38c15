"""From films to references: the network in NumPy, films that are worn, the body that is put on its feet, a short
training, and the numbers that the command prints."""

import dataclasses
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.ndimage import convolve1d
from scipy.spatial.transform import Rotation

from experiments.vimogen import film, lifter, recogniser, solved
from vrjax.data.motions import Motions
from vrjax.models import motion as motion_models
from vrjax.motion import program, reference
from vrjax.train.config import Data, Objective, TrainConfig, Validate

SPEC = Motions(sets=program.SETS, corrupted=False, rows=24)  # also test_motion_film's
PLACED, LOSS, LIFT = (
    jax.jit(jax.vmap(lifter.placed)),
    jax.jit(lifter.loss),
    jax.jit(jax.vmap(lambda m, x: m(x), (None, 0))),
)


@pytest.fixture(scope="module")
def bank():
    """True films of all sets, their joints, and what is to be lifted of them."""
    made = film.take(np.arange(32, dtype=np.uint32), 9, SPEC, (24, 12))
    joints = jax.jit(jax.vmap(lambda rows: solved.joints_of(rows, "position")))(made["latent"])
    height = joints[:, :, 0, 2] - joints[..., 2].min((1, 2))[:, None]
    return made["film"], lifter.Lifted(made["reference"], height), np.asarray(joints)


@pytest.fixture(scope="module")
def codec():
    """Keeps pictures up to half a grey."""
    basis = np.random.default_rng(0).standard_normal((2, int(np.prod(lifter.SIZE)) // 2, 8)).astype(np.float32)
    return film.Components(np.zeros(basis.shape[:2], np.float32), np.linalg.qr(basis)[0], np.float32(1))


@pytest.fixture(scope="module")
def untrained():
    return lifter.Lifter(nnx.Rngs(0))


@pytest.fixture
def from_bank(bank, monkeypatch):
    """Examples are those of the bank."""
    films, true, _ = bank
    monkeypatch.setattr(lifter, "examples", lambda numbers, *_: jax.tree.map(lambda x: x[numbers % 4], (films, true)))
    monkeypatch.setattr(lifter, "BATCH", 8)


def test_examples_are_films_with_what_is_in_them(bank, monkeypatch):
    films, true, joints = bank
    kept = {"film": films, "latent": None, "reference": true.reference}
    monkeypatch.setattr(film, "take", lambda *_: kept)
    monkeypatch.setattr(solved, "joints_of", lambda rows, path: rows)
    kept["latent"] = jnp.asarray(joints)
    found, given = lifter.examples(np.arange(32), 9, SPEC)
    assert found is films and given.reference is true.reference
    lowest = joints[..., 2].min((1, 2))
    np.testing.assert_allclose(given.height, joints[:, :, 0, 2] - lowest[:, None], atol=1e-6)
    assert 0.3 < np.min(given.height) < np.max(given.height) < 1.2


def test_four_frames_of_each_picture(untrained):
    """The network restated in float64."""
    rng = np.random.default_rng(0)
    pictures = rng.uniform(-1, 1, (5, *lifter.SIZE))
    dense = lambda layer, x: x @ np.asarray(layer.kernel[...], np.float64) + np.asarray(layer.bias[...], np.float64)
    h = dense(untrained.look, 2 * (pictures.reshape(5, -1) + 1))
    for layer, step in zip(untrained.over_time, lifter.SPREAD, strict=True):
        normed = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-6)
        at = lambda by, x=normed: x[np.clip(np.arange(5) + by, 0, 4)]
        out = dense(layer, np.concatenate([at(-step), at(0), at(step)], -1))
        h = h + 0.5 * out * (1 + np.tanh(np.sqrt(2 / np.pi) * (out + 0.044715 * out**3)))
    rows = dense(untrained.out, h).reshape(20, 139)
    found = jax.jit(lambda m, x: m(x))(untrained, pictures.astype(np.float32))
    assert found.reference.shape == (20, reference.WIDTH)
    np.testing.assert_allclose(found.reference, rows[:, :138], atol=2e-4)
    np.testing.assert_allclose(found.height, 0.9 + 0.1 * rows[:, 138], atol=2e-5)


def test_worn_films_are_coded_blurred_and_noisy(bank, codec, monkeypatch):
    keys = jax.random.split(jax.random.key(3), 8)
    coded = np.asarray([jax.random.bernoulli(jax.random.split(key, 5)[4], 0.5) for key in keys])
    assert 0 < coded.sum() < 8
    films = np.asarray(bank[0][:8], np.float64)
    films[coded] = jax.jit(jax.vmap(lambda x: codec.decode(codec.encode(x))))(bank[0][:8])[coded]
    wear = lambda: np.asarray(jax.jit(jax.vmap(lifter.worn, (0, 0, None)))(keys, bank[0][:8], codec))
    noisy = wear()
    monkeypatch.setattr(lifter, "NOISE", 0.0)
    blurred = wear()
    spread = (noisy - blurred).std((1, 2, 3, 4))
    shares = np.asarray([[jax.random.uniform(k) for k in jax.random.split(key, 5)[:3]] for key in keys])
    np.testing.assert_allclose(spread, 0.25 * shares[:, 2] ** 2, rtol=0.05)
    for before, after, (space, time, _) in zip(films, blurred, shares, strict=True):
        for axis, share in ((1, 0.5 * space), (2, 0.5 * space), (0, 0.5 * time)):
            before = (1 - share) * before + share * convolve1d(before, [0.25, 0.5, 0.25], axis, mode="nearest")
        np.testing.assert_allclose(after, before, atol=1e-5)


def test_true_references_are_put_on_their_feet(bank):
    """Bodies are the true ones, the lower ankle stands, and what walks gets where it went."""
    _, true, joints = bank
    found = np.asarray(PLACED(true))
    true_to_pelvis = joints - joints[:, :, :1]
    np.testing.assert_allclose(found - found[:, :, :1], true_to_pelvis, atol=2e-5)
    ankles = found[:, :, np.array([7, 8])]
    lower = np.argmin(ankles[:, :-1, :, 2] + ankles[:, 1:, :, 2], -1)
    moved = np.linalg.norm(np.diff(ankles[..., :2], axis=1), axis=-1)
    assert np.take_along_axis(moved, lower[..., None], 2).max() < 1e-5
    floor = joints[..., 2].min((1, 2))[:, None, None]
    np.testing.assert_allclose(found[..., 2], joints[..., 2] - floor, atol=2e-5)
    way = np.linalg.norm(joints[:, -1, 0, :2] - joints[:, 0, 0, :2], axis=-1)
    off = np.linalg.norm((found - joints)[:, -1, 0, :2], axis=-1)
    assert way.max() > 0.8 and off.max() < 0.15 and np.median(off) < 0.03


def test_a_lifter_learns(from_bank, bank, codec):
    """From films that it trains on, worn; in the end it knows more of them than their mean."""
    films, true = jax.tree.map(lambda x: x[:4], bank[:2])
    spread = true.reference - true.reference.mean((0, 1)), (true.height - true.height.mean()) / lifter.TENTH
    mean = float(sum(jnp.mean(x**2) for x in spread))
    assert float(LOSS(lifter.Lifter(nnx.Rngs(lifter.SEED)), films, true)) > 2 * mean
    assert float(LOSS(lifter.train(codec, 80), films, true)) < 0.5 * mean


def test_lifters_of_other_motions_lie_beside_each_other():
    also = dataclasses.replace(SPEC, sets=("S",), wander=0.5, told_by_text=(0.0,))
    specs = SPEC, dataclasses.replace(SPEC, sets=("S",)), also
    assert [lifter.named(spec) for spec in specs] == ["lifter-SCV", "lifter-S", "lifter-S-wander"]


def test_a_lifter_is_kept(tmp_path, untrained, bank, codec, monkeypatch):
    monkeypatch.setattr(lifter, "train", lambda *_: untrained)
    made = lifter.trained(tmp_path, codec, SPEC)
    with monkeypatch.context() as then:
        then.setattr(lifter, "train", lambda *_: pytest.fail("trained again"))
        again = lifter.trained(tmp_path, codec, SPEC)
        for other in (Motions(sets=("S",), corrupted=False, rows=24), Motions(sets=program.SETS, rows=28)):
            with pytest.raises(pytest.fail.Exception, match="trained again"):
                lifter.trained(tmp_path, codec, other)
        with pytest.raises(pytest.fail.Exception, match="trained again"):
            lifter.trained(tmp_path, codec._replace(scale=np.float32(2)), SPEC)
    given, *others = (LIFT(each, bank[0][:2]) for each in (untrained, made, again))
    for found in others:
        np.testing.assert_array_equal(found.reference, given.reference)


def test_errors_are_in_their_units(untrained, bank, monkeypatch):
    """Of a truth that is known: the lifter's own answer, and off it by given amounts."""
    films = bank[0][:4]
    ours = LIFT(untrained, films)
    theirs = lifter.Lifted(ours.reference + 1, ours.height - 0.02)
    monkeypatch.setattr(lifter, "examples", lambda *_: (films, theirs))
    found = lifter.errors(untrained, "S", 4)
    np.testing.assert_allclose([found["reference"], found["height"]], [1, 0.02], rtol=1e-4)
    a, b = (jax.device_get(jax.jit(jax.vmap(lifter.pose))(x.reference)) for x in (ours, theirs))
    apart = lambda p, q: np.degrees(
        (Rotation.from_matrix(p.reshape(-1, 3, 3)) * Rotation.from_matrix(q.reshape(-1, 3, 3)).inv()).magnitude()
    )
    np.testing.assert_allclose(found["pose"], apart(a.body, b.body).mean(), rtol=1e-3)
    np.testing.assert_allclose(found["root"], apart(a.root, b.root).mean(), rtol=1e-3)
    np.testing.assert_allclose(found["joints"], np.linalg.norm(a.joints - b.joints, axis=-1).mean(), rtol=1e-4)


def test_a_model_is_led_by_what_is_lifted(tmp_path, untrained, bank, monkeypatch):
    """Each row of the table is of the right motions, and what leads the model is what was lifted."""
    films, _, joints = jax.tree.map(lambda x: x[:4], bank)
    cfg = motion_models.MotionConfig(mode="mixed", dim=24, ffn_dim=16, heads=4, layers=1, text_dim=12, text_len=24)
    given = {"data": Data(motions=Motions(rows=24), batch=4), "validate": Validate(every=0, final_clips=0)}
    config = TrainConfig(name="tiny", model=cfg, steps=1, objective=Objective(shift=4.0), **given)
    monkeypatch.setattr(solved, "opened", lambda folder: (SimpleNamespace(cfg=cfg), config.data.motions, config))
    corrupted, text, asked = jnp.ones((4, 24, 138)), jnp.zeros((4, 24, 12)), []
    test = solved.Items(program.script("walk"), text, jnp.asarray(joints), corrupted)
    monkeypatch.setattr(
        solved, "items", lambda split, clips, rows, shape: test if (rows, shape) == (24, (24, 12)) else None
    )

    def generate(model, items, how, branch):
        asked.append((how.shift, branch))
        return items.reference

    monkeypatch.setattr(solved, "generate", generate)
    monkeypatch.setattr(solved, "shares", lambda judge, script, motions: {"of": np.asarray(motions)})
    monkeypatch.setattr(solved, "line", lambda split, name, row: f"{split} {name}")
    empty, told = -jnp.ones((4, 6, *lifter.SIZE)), []
    monkeypatch.setattr(
        film, "imagine", lambda video, codec, words: video if words is text and codec == "codec" else None
    )
    ask = {"clips": 4, "asked": solved.Asked(steps=2), "video": (empty, "codec"), "sets": ("C",), "say": told.append}
    rows = lifter.judged(untrained, tmp_path, None, **ask)["C"]
    wanted = {solved.TRUTH: joints, solved.MOTION: corrupted}
    for which, pictures in ((lifter.TRUE, films), (lifter.IMAGINED, empty)):
        found = LIFT(untrained, pictures)
        wanted |= {f"{which}, lifted": PLACED(found), f"{which}, leads": found.reference}
    assert told == [f"C {name}" for name in wanted] and list(rows) == list(wanted)
    for name, motions in wanted.items():
        np.testing.assert_allclose(rows[name]["of"], motions, atol=1e-4, err_msg=name)
    assert asked == [(4.0, solved.MOTION)] * 3


def test_the_command(tmp_path, untrained, monkeypatch, capsys):
    told = []
    monkeypatch.setattr(film, "read", lambda folder: folder.name)
    monkeypatch.setattr(lifter, "trained", lambda out, codec, spec: told.append((codec, spec)) or untrained)
    monkeypatch.setattr(lifter, "errors", lambda lift, split, clips: {"pose": np.float32(len(split) + clips)})
    monkeypatch.setattr(lifter, "judged", lambda lift, model, judge, **ask: {"S": {"n": ask["clips"]}})
    monkeypatch.setattr(recogniser, "trained", lambda out: None)
    lifter.main(["--clips", "5", "--knows", "S", "C", "--films", "some/films", "--out", str(tmp_path)])
    found = json.loads((tmp_path / "lifter-SC.json").read_text())
    assert found == {
        "clips": 5,
        "knows": ["S", "C"],
        "errors": {s: {"pose": 6} for s in "SCV"},
        "solved": {"S": {"n": 5}},
    }
    ((codec, spec),) = told
    assert codec == "films" and spec.sets == ("S", "C") and not spec.corrupted
    assert "V  pose 6.000" in capsys.readouterr().out


def test_a_model_that_is_not_there_is_one_line(tmp_path, untrained, monkeypatch, capsys):
    monkeypatch.setattr(film, "read", lambda folder: None)
    monkeypatch.setattr(lifter, "trained", lambda *_: untrained)
    monkeypatch.setattr(lifter, "errors", lambda *_: {})
    monkeypatch.setattr(recogniser, "trained", lambda out: None)
    with pytest.raises(SystemExit, match="2"):
        lifter.main(["--model", str(tmp_path / "none"), "--out", str(tmp_path)])
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("python -m experiments.vimogen.lifter: ") and str(tmp_path / "none") in told
