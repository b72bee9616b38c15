"""Films of motions: the renderer against its own words in NumPy, what it does not see, and films as training data."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from einops import rearrange
from flax import nnx
from scipy.spatial.transform import Rotation

from experiments.vimogen import film, solved, training
from vrjax.data import latents
from vrjax.data.motions import Motions
from vrjax.models import family, wan
from vrjax.motion import JOINTS, program
from vrjax.train import config as configs
from vrjax.train import ready

SMALL = film.Camera(height=24, width=16, metre=10.0, azimuth=0.5, distance=4.0)
FRONT = SMALL._replace(azimuth=0.0)
PICTURES = jax.jit(film.pictures, static_argnames="camera")
SPEC = Motions(sets=program.SETS, corrupted=False, rows=24)  # also test_motion_lifter's
SHAPE = (film.CAMERA.height // 2, film.CAMERA.width // 2, 3)


@pytest.fixture(scope="module")
def made():
    """True films, of all sets."""
    return jax.device_get(film.take(np.arange(32, dtype=np.uint32), 9, SPEC, (24, 12)))


@pytest.fixture(scope="module")
def joints(made):
    """Eight frames of one of these motions."""
    return np.asarray(solved.joints_of(made["latent"][0], "position"), np.float64)[:8]


# What a stick figure is made of, in words: chains of joints by colour.
CHAINS = {
    0: ("pelvis hip knee ankle foot", "spine3 collar shoulder elbow wrist"),
    1: ("pelvis spine1 spine2 spine3 neck head",),
}


def drawn(joints, camera):
    """The film in float64, pixel by pixel: what the module's words say."""
    p = np.asarray(joints, np.float64)
    across = (p[0, 2] - p[0, 1])[:2] / np.hypot(*(p[0, 2] - p[0, 1])[:2])
    turn = np.array([[across[0], across[1], 0], [-across[1], across[0], 0], [0, 0, 1]])
    p = (p - np.concatenate([p[:, :1, :2], np.full((len(p), 1, 1), p[..., 2].min())], -1)) @ turn.T
    c, s = np.cos(camera.azimuth), np.sin(camera.azimuth)
    away = p - [-s * camera.distance, c * camera.distance, camera.level]
    depth = away @ [s, -c, 0]
    u = camera.width / 2 + camera.metre * camera.distance * (away @ [-c, -s, 0]) / depth
    v = camera.height / 2 - camera.metre * camera.distance * away[..., 2] / depth
    pictures = np.zeros((len(p[::4]), camera.height, camera.width, 3))
    for colour, radius, prefix in ((0, 0.045, "left_"), (2, 0.045, "right_"), (1, 0.06, "")):
        limbs = [(15, 15, 0.10)] if colour == 1 else []
        for chain in CHAINS[colour % 2]:
            names = [n if n in JOINTS else prefix + n for n in chain.split()]
            limbs += [(JOINTS.index(a), JOINTS.index(b), radius) for a, b in zip(names, names[1:], strict=False)]
        for picture, frame in zip(pictures, range(0, len(p), 4), strict=True):
            for y, x in np.ndindex(camera.height, camera.width):
                for a, b, r in limbs:
                    start, way = np.array([u[frame, a], v[frame, a]]), np.array([u[frame, b], v[frame, b]])
                    way, here = way - start, np.array([x + 0.5, y + 0.5]) - start
                    part = min(max(here @ way / max(way @ way, 1e-6), 0), 1)
                    cover = min(max(r * camera.metre + 0.5 - np.hypot(*(here - part * way)), 0), 1)
                    picture[y, x, colour] = max(picture[y, x, colour], cover)
    return 2 * pictures - 1


def test_pictures_are_what_the_words_say(joints):
    found = PICTURES(joints, camera=SMALL)
    assert found.shape == (2, 24, 16, 3)
    np.testing.assert_allclose(found, drawn(joints, SMALL), atol=2e-5)
    assert {tuple(np.unique(np.sign(found[..., i]))) for i in range(3)} == {(-1.0, 1.0)}  # each colour is there


def test_the_codec_takes_means_of_four_pixels(joints):
    pixels = np.asarray(PICTURES(joints, camera=SMALL), np.float64)
    means = pixels.reshape(2, 12, 2, 8, 2, 3).mean((2, 4))
    np.testing.assert_allclose(jax.jit(film.shoot, static_argnames="camera")(joints, camera=SMALL), means, atol=1e-6)


def test_where_a_motion_is_and_leads_is_not_in_its_film(joints):
    turned = joints @ Rotation.from_euler("z", 2.1).as_matrix().T + [3.0, -2.0, 0.5]
    np.testing.assert_allclose(PICTURES(turned, camera=SMALL), PICTURES(joints, camera=SMALL), atol=2e-4)
    led = joints + np.arange(8)[:, None, None] * [0.1, -0.3, 0.0]
    np.testing.assert_allclose(PICTURES(led, camera=SMALL), PICTURES(joints, camera=SMALL), atol=2e-4)
    up = joints + np.arange(8)[:, None, None] * [0.0, 0.0, 0.1]  # a jump is
    assert np.abs(PICTURES(up, camera=SMALL) - PICTURES(joints, camera=SMALL)).max() > 0.5


def test_a_mirrored_body_from_the_front_is_the_mirrored_picture(joints):
    other = [JOINTS.index(_other(name)) for name in JOINTS]
    found = PICTURES(joints[:, other] * [-1, 1, 1], camera=FRONT)
    np.testing.assert_allclose(found, PICTURES(joints, camera=FRONT)[:, :, ::-1, ::-1], atol=2e-4)


def _other(name):
    return name.replace("left", "r").replace("right", "left").replace("r_", "right_") if "_" in name else name


def test_a_limb_covers_its_area_wherever_it_lies():
    """Anti-aliased: the sum over pixels does not know where their centres are."""
    cover = jax.jit(lambda points: jnp.sum(film.draw(points, SMALL)[..., 2] + 1) / 2)
    radius = film.LIMB * SMALL.metre
    for place, way in (((4.2, 6.3), (6.0, 0.0)), ((4.7, 5.9), (5.1, 9.3)), ((9.5, 18.1), (-3.3, -8.2))):
        points = np.tile(np.asarray(place, np.float32), (22, 1))
        points[JOINTS.index("right_wrist")] += way
        area = 2 * radius * np.hypot(*way) + np.pi * (radius**2 + 1 / 12)
        np.testing.assert_allclose(cover(points), area, rtol=0.05)


def test_gradients_are_those_of_the_float64_words(joints, monkeypatch):
    """Of trunk and head: with all limbs, which are drawn alike, it would take seconds to compile."""
    limbs = film.limbs
    monkeypatch.setattr(film, "limbs", lambda colour: [] if colour else limbs(colour))
    rng = np.random.default_rng(0)
    weights, way = rng.standard_normal((1, 24, 16)), rng.standard_normal((4, 22, 3))
    joints = joints[:4] + 0.01 * rng.standard_normal(way.shape)  # feet that stand are all the lowest: no gradient there
    grad = jax.jit(jax.grad(lambda j: jnp.sum(film.pictures(j, SMALL)[..., 1] * weights)))(joints.astype(np.float32))
    told = [np.sum(drawn(joints + step * way, SMALL)[..., 1] * weights) for step in (1e-6, -1e-6)]
    np.testing.assert_allclose(np.sum(grad * way), (told[0] - told[1]) / 2e-6, rtol=2e-3)
    one_point = jax.jit(jax.grad(lambda points: film.draw(points, SMALL).sum()))(jnp.full((22, 2), 8.5))
    assert np.isfinite(one_point).all()


def test_no_motion_leaves_the_picture(made):
    joints = jax.vmap(lambda rows: solved.joints_of(rows, "position"))(made["latent"])
    points = np.asarray(jax.jit(jax.vmap(film.seen))(joints))
    assert points.min() > 0 and (points < [film.CAMERA.width, film.CAMERA.height]).all()
    assert np.ptp(points[..., 1], axis=-1).mean() > 0.5 * film.CAMERA.height  # and it is large in it


def test_films_are_encoded_clips_that_are_written_once(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "perform", tiny.performance)
    monkeypatch.setattr(film, "GROUP", 4)
    spec, text, told = Motions(sets=("S", "V"), corrupted=False, rows=8), (24, 12), []
    film.write(tmp_path / "films", 6, spec=spec, text=text, say=told.append)
    rows = latents.Cached(tmp_path / "films", text_len=24)
    assert len(rows) == 6 and told[-1].startswith("6 of 6 films")
    truth = film.take(np.arange(4, dtype=np.uint32), film.SEED, spec, text)
    codec = film.read(tmp_path / "films")
    for i in range(4):
        np.testing.assert_allclose(rows[i]["latent"], codec.encode(truth["film"][i]), atol=1e-2)  # half precision
        np.testing.assert_allclose(rows[i]["text"], truth["text"][i], atol=2e-3)
        assert rows[i]["image"].shape == (2, film.HALVES, 1, 0)
    film.write(tmp_path / "films", 6, spec=spec, text=text, say=told.append)
    assert told[-1] == "6 of 6 films, 0 files written" and latents.Cached(tmp_path / "films", text_len=24).digest
    film.write(tmp_path / "films", 4, spec=spec, text=text, say=told.append)
    assert len(latents.Cached(tmp_path / "films", text_len=24)) == 4


def test_the_config_takes_these_films(tmp_path, monkeypatch):
    """Of the true size: the cache fits the model, and the model its latents."""
    config, frames = configs.load(pathlib.Path("configs/vimogen/film.py")), film.SPEC.rows // film.EVERY
    shape = (frames, film.HALVES, 1, film.COMPONENTS)
    pictures = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, frames, *SHAPE)), jnp.float32)
    made = {"film": pictures, "text": jnp.ones((2, *film.TEXT))}
    monkeypatch.setattr(film, "take", lambda *_: made)
    film.write(tmp_path / "films", 2, say=lambda line: None)
    data = dataclasses.replace(config.data, cache=str(tmp_path / "films"))
    clips = ready.clips(dataclasses.replace(config, data=data))
    assert clips[0]["latent"].shape == shape and clips[0]["text"].shape == film.TEXT
    assert family.of(config.model).tokens(config.model, shape) == 30
    model = family.of(config.model).abstract(config.model)
    found = jax.eval_shape(lambda m, x, text: m(x, 500.0, text).v, model, jnp.zeros(shape), jnp.zeros(film.TEXT))
    assert found.shape == shape
    index = json.loads((tmp_path / "films" / latents.INDEX).read_text())
    assert index["made"]["spec"]["sets"] == list(program.SETS)


def test_films_and_teachers_are_of_the_small_models_sizes():
    """One text serves all of them, and the study's teacher is the network of the small config, branch by branch."""
    small = configs.load(pathlib.Path("configs/vimogen/small.py")).model
    assert dataclasses.replace(training.MODEL, mode="mixed") == small
    assert film.TEXT == training.TEXT == (small.text_len, small.text_dim)


def test_the_codec_is_principal_components_of_halves(monkeypatch):
    """By a singular value decomposition of all pictures at once; nothing is lost of pictures that have few of them."""
    rng = np.random.default_rng(0)
    few, pixels = 12, int(np.prod(SHAPE)) // 2
    ways = np.linalg.qr(rng.standard_normal((2, pixels, few)))[0] * np.linspace(0.5, 2, few)
    halves = np.einsum("bfnk,ndk->bfnd", rng.standard_normal((8, 5, 2, few)), ways) * 0.05 + 0.1
    films = jnp.asarray(rearrange(halves, "b f n (h w c) -> b f (n h) w c", w=SHAPE[1], c=3), jnp.float32)
    monkeypatch.setattr(film, "take", lambda numbers, *_: {"film": films[numbers]})
    monkeypatch.setattr(film, "GROUP", 4)
    monkeypatch.setattr(film, "COMPONENTS", few)
    codec = film.fit(8)
    for half in (0, 1):
        data = halves[:, :, half].reshape(-1, pixels)
        np.testing.assert_allclose(codec.mean[half], data.mean(0), atol=1e-5)
        _, sizes, found = np.linalg.svd(data - data.mean(0), full_matrices=False)
        agree = np.abs(np.einsum("kd,dk->k", found[:few], codec.basis[half]))
        np.testing.assert_allclose(agree, 1, atol=1e-3)
    latent = jax.vmap(codec.encode)(films)
    assert latent.shape == (8, 5, 2, 1, few) and float(jnp.std(latent)) == pytest.approx(1, abs=0.01)
    assert np.all(np.sum(codec.basis**3, 1) > 0)
    np.testing.assert_allclose(jax.vmap(codec.decode)(latent), films, atol=1e-5)
    assert float(codec.decode(100 * latent[0]).max()) == 1


def test_a_model_imagines_a_film_for_each_text():
    width = film.COMPONENTS
    cfg = wan.WanConfig(
        **{"dim": 12, "ffn_dim": 8, "heads": 2, "layers": 1, "in_channels": width, "out_channels": width},
        **{"patch": (1, 1, 1), "freq_dim": 8, "text_dim": 6},
    )
    model = jax.tree.map(lambda x: x + 0.1, wan.WanDiT(cfg, rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(0)
    text = rng.standard_normal((3, 4, 6)).astype(np.float32)
    basis = rng.standard_normal((film.HALVES, int(np.prod(SHAPE)) // film.HALVES, width)).astype(np.float32) / 20
    codec = film.Components(basis[..., 0], basis, np.float32(1))
    found = film.imagine(model, codec, text, steps=2, frames=2)
    assert found.shape == (3, 2, *SHAPE) and np.abs(found).max() <= 1 and np.ptp(found) > 0.1
    again = film.imagine(model, codec, text[::-1], steps=2, frames=2)
    assert np.abs(again[1] - found[1]).max() < 1e-5 < np.abs(again[0] - found[0]).max()  # a text, and its own noise
