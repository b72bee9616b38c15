"""Pipelines without torch: what a folder is, its defaults, text and pictures, runs and their records, and misuse."""

import contextlib
import json
import re
import shutil
import types

import chex
import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests import tiny
from tests.models import tiny_wan
from tests.models.test_tokenizer import written
from vrjax import files, flow, parallel, tasks
from vrjax.flow import draws
from vrjax.models import pipeline, wan
from vrjax.models import settings as settings_of
from vrjax.models.embedded import conditions as conditions_of
from vrjax.models.pipeline import denoise, recorder
from vrjax.models.wan import conditions, folders, lora_files, umt5

SMALL = {"size": (16, 32), "frames": 5, "steps": 3}
PROMPT = "a maze seen from above"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tiny_wan.build(tmp_path_factory.mktemp("t2v") / "model")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return tiny_wan.build(tmp_path_factory.mktemp("pair") / "model", "i2v", experts=2)


@pytest.fixture(scope="module")
def pipe(root):
    return pipeline.open(root, cache=root / "cache")


def picture(seed: int = 0, shape=(20, 30)):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


# ------------------------------------------------------------------------------------------------------ which model


@pytest.mark.parametrize(
    ("kind", "experts", "clip", "name"),
    [
        ("t2v", 1, False, "Wan2.1-T2V-dim24"),
        ("t2v", 2, False, "Wan2.2-T2V-dim24"),
        ("i2v", 1, True, "Wan2.1-I2V-dim24"),
        ("i2v", 2, False, "Wan2.2-I2V-dim24"),
        ("flf2v", 1, True, "Wan2.1-FLF2V-dim24"),
        ("ti2v", 1, False, "Wan2.2-TI2V-dim24"),
    ],
)
def test_what_a_diffusers_folder_is(kind, experts, clip, name, tmp_path):
    found = folders.find(tiny_wan.build(tmp_path / "m", kind, experts=experts, clip=clip))
    assert (found.kind, found.name, found.layout, len(found.networks)) == (kind, name, "diffusers", experts)
    assert found.boundary == (0.9 if experts == 2 else None)
    chosen = settings_of.defaults(found)
    assert (chosen.solver, chosen.grid, chosen.shift) == ("unipc", "diffusers_unipc", tiny_wan.SHIFT)


def test_what_an_original_folder_is(tmp_path):
    for name in ("high_noise_model", "low_noise_model"):
        wan.save_dit(tiny_wan.network("i2v"), tmp_path / "pair" / name, layout="original")
    found = folders.find(tmp_path / "pair")
    assert (found.kind, found.layout, found.boundary) == ("i2v", "original", 0.9)
    assert [path.name for path in found.networks] == ["high_noise_model", "low_noise_model"]
    assert found.published.grid == "wan_unipc" and found.published.guidance == (3.5, 3.5)

    wan.save_dit(tiny_wan.network("t2v"), tmp_path / "one", layout="original")
    found = folders.find(tmp_path / "one")
    assert (found.kind, found.boundary, len(found.networks)) == ("t2v", None, 1)

    wan.save_dit(tiny_wan.network("t2v", in_channels=48, out_channels=48), tmp_path / "five", layout="original")
    assert folders.find(tmp_path / "five").kind == "ti2v"


def test_published_settings(tmp_path, monkeypatch):
    """Wan's generate.py, configs and README."""
    for name in ("two/high_noise_model", "two/low_noise_model", "one"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "one" / "diffusion_pytorch_model.safetensors").touch()

    def of(kind, experts, dim=5120, **options):
        z = 48 if kind == "ti2v" else 16
        more = {"image_dim": 1280} if kind in ("i2v", "flf2v") and experts == 1 else {}
        more |= {"image_positions": 514} if kind == "flf2v" else {}
        channels = z + (z + 4 if kind in ("i2v", "flf2v") else 0)
        cfg = wan.WanConfig(dim=dim, heads=dim // 128, in_channels=channels, out_channels=z, **more)
        opened = types.SimpleNamespace(cfg=cfg, check=lambda: opened)
        monkeypatch.setattr(folders.tensors, "read", lambda path: path)
        monkeypatch.setattr(folders.readers, "NETWORK", types.SimpleNamespace(open=lambda source: opened))
        folder = folders.find(tmp_path / ("one", "two")[experts - 1])
        assert folder.kind == kind
        return settings_of.defaults(folder, **options)

    t2v = of("t2v", 1)
    assert (t2v.steps, t2v.shift, t2v.guidance, t2v.frames, t2v.fps, t2v.size) == (50, 5.0, (5.0,), 81, 16, (720, 1280))
    small = of("t2v", 1, dim=1536)
    assert (small.shift, small.guidance, small.size) == (8.0, (6.0,), (480, 832))
    assert [of("i2v", 1, size=s).shift for s in ((480, 832), (832, 480), (720, 1280))] == [3.0, 3.0, 5.0]
    assert of("i2v", 1).steps == 40 and of("i2v", 1).negative.startswith("镜头晃动，色调艳丽，")
    flf2v = of("flf2v", 1)
    assert (flf2v.steps, flf2v.shift) == (50, 16.0) and flf2v.negative.startswith("镜头切换，镜头晃动，色调艳丽，")
    assert of("t2v", 2).guidance == (4.0, 3.0) and of("t2v", 2).shift == 12.0  # high noise first
    five = of("ti2v", 1, dim=3072)
    assert (five.frames, five.fps, five.size, five.negative) == (121, 24, (704, 1280), folders.NEGATIVE)
    assert [of(kind, 2).boundary for kind in ("t2v", "i2v")] == [0.875, 0.9]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: (root / "model_index.json").unlink(), "not a folder of Wan weights"),
        (lambda root: (root / "model_index.json").write_text("[]"), "expected a JSON object"),
        (lambda root: edit(root, _class_name="WanVACEPipeline"), "_class_name is 'WanVACEPipeline', expected one of"),
        (lambda root: edit(root, _class_name=None), "_class_name is None, expected one of WanPipeline"),
        (lambda root: edit(root, _class_name="WanImageToVideoPipeline"), "but the transformer is a t2v model"),
        (lambda root: edit(root, expand_timesteps="false"), "expand_timesteps is 'false', expected true or false"),
        (lambda root: bare(root, _class_name="FluxTransformer2DModel"), "config.json: _class_name is 'Flux"),
        (lambda root: bare(root, num_attention_heads=None), "config.json: num_attention_heads: found null"),
        (lambda root: bare(root, num_attention_heads="2"), 'num_attention_heads: found "2", expected a whole number'),
        (lambda root: bare(root, num_layers=-2), "config.json: num_layers: found -2, expected at least 1"),
        (lambda root: bare(root, num_layers=True), "config.json: num_layers: found true, expected a whole number"),
        (lambda root: bare(root, eps="1e-6"), 'config.json: eps: found "1e-6", expected a number'),
        (lambda root: bare(root, patch_size=[1, 2]), "config.json: patch_size: found a list, expected a list of 3"),
        (lambda root: edit(root, "vae/config.json", num_res_blocks="x"), 'num_res_blocks: found "x", expected'),
        (lambda root: edit(root, "vae/config.json", _class_name="AutoencoderKL"), "expected AutoencoderKLWan"),
        (lambda root: edit(root, transformer=[None, None]), "names no transformer"),
        (lambda root: edit(root, transformer_2=7), "transformer_2 is 7, expected a library and a class"),
        (lambda root: edit(root, boundary_ratio=0.9), "1 transformers and boundary_ratio 0.9"),
        (lambda root: edit(root, transformer_2=["diffusers", "X"], boundary_ratio=0.9), "transformer_2: named in"),
        (lambda root: edit(root, "scheduler/scheduler_config.json", _class_name="DDIMScheduler"), "DDIMScheduler"),
        (lambda root: edit(root, "scheduler/scheduler_config.json", solver_order=3), "solver_order is 3, expected 2"),
        (lambda root: edit(root, "scheduler/scheduler_config.json", flow_shift="a"), "the shift is 'a'"),
        (lambda root: edit(root, "scheduler/scheduler_config.json", use_karras_sigmas=True), "use_karras_sigmas is"),
    ],
)
def test_damaged_folders(change, said, tmp_path):
    root = tiny_wan.build(tmp_path / "m")
    change(root)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(said)):
        pipeline.open(root).settings()


CONFIG = "transformer/config.json"


def bare(root, **values):
    """Other values in the transformer's config, of a file whose metadata do not state it."""
    file = root / "transformer" / "diffusion_pytorch_model.safetensors"
    save_file(load_file(file), file)
    edit(root, CONFIG, **values)


def test_what_wans_own_config_says(tmp_path):
    root = tiny_wan.build_original(tmp_path / "m")
    for said, found in (("t2v", "t2v"), ("i2v", None), ("vace", None)):
        if (root / "config.json").exists():
            edit(root, "config.json", model_type=said)
        else:
            (root / "config.json").write_text(json.dumps({"model_type": said}))
        if found:
            assert pipeline.open(root).folder.kind == found
        else:
            with pytest.raises(ValueError, match=f"model_type is '{said}', the transformer is a t2v model"):
                pipeline.open(root)


def edit(root, file="model_index.json", **values):
    found = json.loads((root / file).read_text())
    (root / file).write_text(json.dumps(found | values))


def test_missing_parts_are_named(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        pipeline.open(tmp_path / "nowhere")
    other = tiny_wan.build(tmp_path / "m")
    (other / "vae").rename(other / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"no VAE, expected vae/"):
        pipeline.open(other).settings()
    (other / "text_encoder").rename(other / "gone")
    with pytest.raises(FileNotFoundError, match=r"no text encoder, expected text_encoder/"):
        pipeline.open(other, cache=False).text(["a"])


# ----------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"frames": 8}, "frames: found 8, expected 4 n + 1, such as 5 or 9"),
        ({"size": (20, 32)}, "height 20, expected a multiple of 16"),
        ({"size": (32, 40)}, "width 40, expected a multiple of 16"),
        ({"solver": "magic"}, "unknown solver 'magic'"),
        ({"grid": "magic"}, "unknown grid 'magic'"),
        ({"guidance": (4.0, 3.0)}, "expected 1 finite scales"),
        ({"guidance": -1}, "expected 1 finite scales"),
        ({"guidance": 0}, "(1: none; below 1 the video is drawn to the negative prompt)"),
        ({"guidance": 0.5}, "found 0.5, expected 1 finite scales >= 1"),
        ({"steps": 0}, "steps: found 0, expected a whole number of at least 1"),
        ({"frames": 5.0}, "frames: found 5.0, expected a whole number"),
        ({"fps": float("nan")}, "fps: found nan, expected a whole number"),
        ({"picture": (0, 0)}, "picture: height: found 0, expected"),
        ({"times": b"x"}, "times: found b'x', expected a list of numbers"),
        ({"guidance": 1, "negative": "blurred"}, "negative: guidance 1 reads no negative prompt"),
        ({"shift": 0}, "shift must be positive"),
        ({"times": (1000, 500), "steps": 4}, "takes neither steps nor grid"),
        ({"times": (500, 1000)}, "sigmas must fall strictly"),
        ({"fps": 0}, "fps: found 0"),
    ],
)
def test_options_are_checked(pipe, options, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        pipe.settings(**options)


def test_settings(pipe, pair):
    found = pipe.settings(size=(16, 32), frames=5)
    assert (found.steps, found.shift, found.guidance, found.negative) == (50, 5.0, (6.0,), folders.NEGATIVE)
    assert found.recipe.grid == flow.grids.diffusers_unipc(50, shift=5.0) and pipe.latent_shape(found) == (2, 2, 4, 2)
    assert pipe.settings(solver="euler").grid == "shifted" and pipe.settings(solver="dpmpp_2m").grid == "wan_dpmpp"
    assert pipe.settings(guidance=1).negative is None
    few = pipe.settings(times=flow.grids.LIGHTX2V)
    assert (few.solver, few.guidance, few.steps, few.negative) == ("euler", (1.0,), 4, None)
    assert few.recipe.grid == flow.grids.few_step(flow.grids.LIGHTX2V, shift=5.0)
    both = pipeline.open(pair).settings(times=flow.grids.LIGHTX2V, picture=(20, 30))
    assert both.recipe.high_steps == 2  # 1000 and 937.5 lie above the boundary of 900
    assert pipeline.open(pair).settings(guidance=4).guidance == (4.0, 4.0)


def test_a_pictures_aspect_is_kept():
    assert settings_of.fit((480, 832), (480, 832), (16, 16)) == (480, 832)
    for shape in ((100, 300), (1000, 400), (77, 77)):
        h, w = settings_of.fit(shape, (480, 832), (32, 16))
        assert h % 32 == w % 16 == 0 and 0.9 * 480 * 832 < h * w <= 480 * 832
        assert abs(np.log(h / w) - np.log(shape[0] / shape[1])) < 0.1


# ----------------------------------------------------------------------------------------------------- text, pictures


def test_text_is_encoded_once(pipe, monkeypatch, tmp_path):
    cached = pipeline.open(pipe.folder.root, cache=tmp_path)
    rows = cached.text([PROMPT, "a  maze seen from&nbsp;above", "maze"])
    assert rows.shape == (3, 16, tiny_wan.TEXT) and rows.dtype == np.float32
    np.testing.assert_array_equal(rows[0], rows[1])  # the same once cleaned
    assert np.abs(rows[2] - rows[0]).max() > 0.1
    length = 6  # five words and the end token
    assert np.abs(rows[0, :length]).min(-1).max() > 0 and not rows[0, length:].any()
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2

    loads = []
    real = umt5.load_text_encoder
    monkeypatch.setattr(umt5, "load_text_encoder", lambda *a, **k: loads.append(a) or real(*a, **k))
    np.testing.assert_array_equal(cached.text([PROMPT, "maze"]), rows[[0, 2]])
    assert not loads
    files[0].write_bytes(files[0].read_bytes()[:-3])  # torn: made anew
    np.testing.assert_array_equal(cached.text([PROMPT, "maze"]), rows[[0, 2]])
    assert len(loads) == 1
    pipeline.open(pipe.folder.root, cache=False).text([PROMPT])
    assert len(loads) == 2


def test_a_cache_that_cannot_be_written_is_said_before_the_encoder_is_loaded(root, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(umt5, "load_text_encoder", lambda *args, **options: pytest.fail("it was loaded"))
    with pytest.raises(OSError, match="file.text cannot be written .*set VRJAX_CACHE, or use --no-cache"):
        pipeline.open(root, cache=tmp_path / "file" / "text").text(["anything"])


def test_another_encoder_has_its_own_entries(pipe, tmp_path):
    other = tiny_wan.build(tmp_path / "m")
    first = pipeline.open(other, cache=tmp_path / "c").text([PROMPT])
    file = other / "text_encoder" / "model.safetensors"
    data = bytearray(file.read_bytes())
    weights = np.frombuffer(data, np.float32, offset=len(data) - 4 * 600)
    weights *= 1.5
    file.write_bytes(bytes(data))
    assert np.abs(pipeline.open(other, cache=tmp_path / "c").text([PROMPT]) - first).max() > 1e-3
    assert len(list((tmp_path / "c").iterdir())) == 2


def test_mask_of_given_frames():
    """One channel per pixel frame of a latent frame; the first latent frame is one pixel frame four times."""
    first = conditions.mask(9, (2, 3), 4, last=False)
    assert first.shape == (3, 2, 3, 4) and first[0].all() and not first[1:].any()
    both = conditions.mask(9, (2, 3), 4, last=True)
    assert both[0].all() and both[2, ..., 3].all() and both.sum() == 2 * 3 * 5


def test_scaled_pictures():
    plain = np.full((20, 30, 3), 128, np.uint8)
    for style in ("lanczos", "bicubic", "cover"):
        out = conditions.scaled(plain, (16, 48), style)
        assert out.shape == (16, 48, 3) and np.abs(out - (128 / 127.5 - 1)).max() < 1e-6
    left = np.zeros((20, 40, 3), np.uint8)
    left[:, 20:] = 255
    for style in ("lanczos", "bicubic"):
        out = conditions.scaled(left, (16, 16), style)  # squeezed: both halves are there
        assert out[:, :6].max() < -0.9 and out[:, 10:].min() > 0.9
    tall = np.zeros((40, 20, 3), np.uint8)
    tall[:10] = 255
    assert conditions.scaled(tall, (16, 16), "cover").max() < -0.9  # covered: the ends are cut off
    with pytest.raises(ValueError, match="style: found 'warp'"):
        conditions.scaled(plain, (16, 16), "warp")
    with pytest.raises(ValueError, match="expected 8-bit"):
        conditions.scaled(plain.astype(np.float32), (16, 16), "cover")


def test_conditions_of_a_picture(pair, tmp_path):
    """The masked latents are the VAE's of the picture and grey frames; a file and its pixels are the same picture."""
    from PIL import Image

    pipe = pipeline.open(pair)
    Image.fromarray(picture()).save(tmp_path / "a.png")
    found = pipe.conditions(tmp_path / "a.png", frames=5, size=(16, 32)).image
    again = pipe.conditions(picture(), frames=5, size=(16, 32)).image
    np.testing.assert_array_equal(found.channels, again.channels)
    assert found.clip is None and found.channels.shape == (2, 2, 4, 4 + tiny_wan.Z)
    video = np.zeros((5, 16, 32, 3), np.float32)
    video[0] = conditions.scaled(picture(), (16, 32), "lanczos")
    np.testing.assert_allclose(found.channels[..., 4:], pipe.vae.encode(video), atol=1e-5)
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"b\.png: cannot be read as a picture"):
        pipe.conditions(tmp_path / "b.png", frames=5, size=(16, 32))
    with pytest.raises(FileNotFoundError, match="no such picture"):
        pipe.conditions(tmp_path / "c.png", frames=5, size=(16, 32))


@pytest.mark.parametrize(
    ("kind", "clip", "image", "last", "said"),
    [
        ("t2v", False, True, False, "takes no picture"),
        ("i2v", False, False, False, "needs a picture to start from"),
        ("i2v", True, True, True, "takes no last picture"),
        ("flf2v", True, True, False, "needs a picture to end on"),
        ("ti2v", False, True, True, "takes no last picture"),
        ("ti2v", False, False, False, None),
        ("i2v", False, True, True, None),
    ],
)
def test_which_pictures_a_model_takes(kind, clip, image, last, said, tmp_path):
    experts = 2 if kind == "i2v" and not clip else 1
    folder = folders.find(tiny_wan.build(tmp_path / "m", kind, experts=experts, clip=clip))
    if said is None:
        settings_of.check(folder, image, last, 5)
    else:
        with pytest.raises(ValueError, match=said):
            settings_of.check(folder, image, last, 5)


# -------------------------------------------------------------------------------------------------------------- runs


def test_seeds_do_not_depend_on_each_other(pipe):
    options = SMALL | {"guidance": 4.0}
    both = pipe.sample(PROMPT, seeds=[3, 8], **options)
    one = pipe.sample(PROMPT, seeds=[8], **options)
    assert both.x.shape == (2, 4, 2, 2, 4, 2) and np.isfinite(both.final).all()
    np.testing.assert_allclose(both.final[1], one.final[0], atol=2e-5)
    assert np.abs(both.final[0] - both.final[1]).max() > 0.1
    videos = pipe.decode(both.final)
    assert videos.shape == (2, 5, 16, 32, 3) and np.abs(videos).max() <= 1
    np.testing.assert_allclose(videos[0], pipe.vae.decode(both.final[0]), atol=1e-5)
    with pytest.raises(ValueError, match=r"noise: shape .* expected \(n, 2, 2, 4, 2\)"):
        pipe.sample(PROMPT, noise=np.zeros((1, 2, 2, 3, 2), np.float32), **options)


@pytest.mark.parametrize(
    ("name", "value"),
    [("jax_enable_x64", True), ("jax_default_prng_impl", "rbg"), ("jax_threefry_partitionable", False)],
)
def test_a_seed_alone_decides_the_noise(name, value, pipe):
    """Whatever a process has set; the run's config says what it was drawn by."""
    settings = pipe.settings(**SMALL)
    clip = tasks.get("maze").make(0, "test")
    with _setting(name, value):
        found = pipe.noise(settings, [7])
        other = conditions_of.clip_noise(clip, (2, 3), seed=4)
        key = draws.key(3)
    assert found.dtype == other.dtype == np.float32
    shape = pipe.latent_shape(settings)
    np.testing.assert_array_equal(found[0], jax.random.normal(jax.random.key(7), shape))
    np.testing.assert_array_equal(other, conditions_of.clip_noise(clip, (2, 3), seed=4))
    np.testing.assert_array_equal(jax.random.key_data(key), jax.random.key_data(jax.random.key(3)))
    assert pipe.about["noise"] == {"generator": "threefry2x32, partitionable", "dtype": "float32"}


def test_noise_within_a_run_is_settled_too(pipe):
    """A stochastic solver draws while the compiled program runs."""
    options = SMALL | {"guidance": 1, "solver": "sde"}
    expected = pipe.sample(PROMPT, seeds=[3], **options).final
    with _setting("jax_threefry_partitionable", False):
        np.testing.assert_array_equal(pipe.sample(PROMPT, seeds=[3], **options).final, expected)


@contextlib.contextmanager
def _setting(name, value):
    before = getattr(jax.config, name)
    jax.config.update(name, value)
    try:
        yield
    finally:
        jax.config.update(name, before)


def test_guidance_is_two_branches(pipe):
    """One batch of both branches is `flow.cfg` of the two; scale 1 is the prompt's branch alone."""
    settings = pipe.settings(**SMALL, guidance=4.0)
    inputs, noise = pipe.prepare(PROMPT, settings), pipe.noise(settings, [0])
    found = pipe.program(settings)(pipe.dits, inputs, noise, np.arange(1)).final[0]
    (dit,) = pipe.dits
    velocity = flow.cfg(dit.velocity(inputs.given["text"]), dit.velocity(inputs.negative["text"]), 4.0)
    expected = flow.sample(velocity, noise[0], settings.recipe.grid, solver=flow.unipc()).final
    np.testing.assert_allclose(found, expected, atol=1e-5)
    alone = pipe.settings(**SMALL, guidance=1)
    found = pipe.program(alone)(pipe.dits, pipe.prepare(PROMPT, alone), noise, np.arange(1)).final[0]
    plain = flow.sample(dit.velocity(inputs.given["text"]), noise[0], settings.recipe.grid, solver=flow.unipc()).final
    np.testing.assert_allclose(found, plain, atol=1e-5)
    assert np.abs(plain - expected).max() > 0.01


def test_on_a_mesh(root, pipe, tmp_path):
    """Sharded over devices, recorded by the same callbacks: the same numbers."""
    settings = pipe.settings(**SMALL, guidance=2.0)
    noise = pipe.noise(settings, [0])
    expected = pipe.sample(PROMPT, noise=noise, guidance=2.0, **SMALL)
    there = pipeline.open(
        root, cache=root / "cache", mesh=parallel.mesh({"fsdp": 2, "tensor": 2}, devices=jax.devices()[:4])
    )
    kept = recorder.Recorder(
        tmp_path, grid=settings.recipe.grid, steps=(1,), fields=("x0",), shape=pipe.latent_shape(settings)
    )
    run = there.program(settings, record=kept.record)
    final = run(there.dits, there.prepare(PROMPT, settings), noise, np.arange(1)).final
    np.testing.assert_allclose(final, expected.final, atol=1e-5)
    found = recorder.read(kept.finish(0, np.asarray(final)[0]))
    np.testing.assert_allclose(found["x0"][0], expected.x0[0, 1], atol=1e-5)


def test_experts_are_phases(pair):
    pipe = pipeline.open(pair, cache=pair / "cache")
    settings = pipe.settings(**SMALL, guidance=(3.0, 2.0), picture=(20, 30))
    inputs, noise = pipe.prepare(PROMPT, settings, picture()), pipe.noise(settings, [0])
    recipe = settings.recipe
    assert 0 < recipe.high_steps < 3
    found = pipe.program(settings)(pipe.dits, inputs, noise, np.arange(1))
    high, low = (
        dit.guided(inputs.given["text"], inputs.negative["text"], scale, inputs.given["image"])
        for dit, scale in zip(pipe.dits, (3.0, 2.0), strict=True)
    )
    run = flow.sample(
        (flow.Phase(recipe.high_steps, high), flow.Phase(3, low)), noise[0], recipe.grid, solver=flow.unipc()
    )
    np.testing.assert_allclose(found.final[0], run.final, atol=1e-5)
    with pytest.raises(ValueError, match="2 networks and guidance"):
        denoise.phases(pipe.dits, inputs, denoise.Recipe(recipe.grid))
    with pytest.raises(ValueError, match="needs the rows of a negative prompt"):
        denoise.phases(pipe.dits, inputs._replace(negative=None), recipe)


def test_the_recorder_writes_what_memory_would_hold(pipe, tmp_path):
    """Two seeds at once, chosen steps; a seed's folder appears when it is finished."""
    settings = pipe.settings(**SMALL, guidance=1)
    inputs, seeds = pipe.prepare(PROMPT, settings), np.array([4, 2])
    noise = pipe.noise(settings, [4, 2])
    told = []
    kept = recorder.Recorder(
        tmp_path / "t",
        grid=settings.recipe.grid,
        steps=(0, 2),
        fields=("x0", "x", "v", "next"),
        shape=pipe.latent_shape(settings),
        on_step=lambda seed, step: told.append((seed, step)),
    )
    finals = pipe.program(settings, record=kept.record)(pipe.dits, inputs, noise, seeds).final
    jax.effects_barrier()
    assert not list((tmp_path / "t").glob("seed-*")) and sorted(told) == [(s, i) for s in (2, 4) for i in range(3)]
    memory = pipe.program(settings, record=flow.Record(steps=(0, 2), fields=("x0", "x", "v", "next")))(
        pipe.dits, inputs, noise, seeds
    )
    np.testing.assert_allclose(finals, memory.final, atol=1e-6)
    for row, seed in enumerate((4, 2)):
        found = recorder.read(kept.finish(seed, finals[row]))
        assert found["steps"] == [0, 2] and found["sigma"].shape == (4,)
        for name in ("x0", "x", "v", "next"):
            np.testing.assert_allclose(found[name], getattr(memory, name)[row], atol=1e-5)
        np.testing.assert_array_equal(found["final"], finals[row])
    assert kept.bytes_per_seed == sum(f.stat().st_size - 128 for f in (tmp_path / "t/seed-4").glob("[xvn]*.npy"))
    with pytest.raises(RuntimeError, match="told nothing of steps"):
        kept.finish(9)
    with pytest.raises(ValueError, match="unknown fields"):
        recorder.Recorder(tmp_path, grid=settings.recipe.grid, steps=(0,), fields=("y",), shape=(1,))
    with pytest.raises(ValueError, match="out of range"):
        recorder.Recorder(tmp_path, grid=settings.recipe.grid, steps=(3,), fields=("x",), shape=(1,))
    with pytest.raises(FileNotFoundError, match="no recorded seed"):
        recorder.read(tmp_path)


def test_first_frame_imposed_at_every_step(tmp_path):
    pipe = pipeline.open(tiny_wan.build(tmp_path / "m", "ti2v"), cache=False)
    options = {"size": (32, 64), "frames": 5, "steps": 3, "guidance": 2.0}
    traj = pipe.sample(PROMPT, image=picture(), **options)
    first = pipe.conditions(picture(), frames=5, size=(32, 64)).first
    np.testing.assert_allclose(traj.final[0, 0], first, atol=1e-5)
    np.testing.assert_allclose(traj.x0[0, :, 0], np.broadcast_to(first, (3, *first.shape)), atol=1e-4)
    free = pipe.sample(PROMPT, **options)
    assert np.abs(free.final[0, 0] - first).max() > 0.1


def test_clip_rows_of_both_pictures(tmp_path):
    pipe = pipeline.open(tiny_wan.build(tmp_path / "m", "flf2v", clip=True), cache=False)
    given = pipe.conditions(picture(0), picture(1), frames=5, size=(16, 32))
    assert given.image.clip.shape == (20, 16) and given.image.channels[-1, ..., 3].all()
    traj = pipe.sample(PROMPT, image=picture(0), last_image=picture(1), guidance=1, **SMALL)
    other = pipe.sample(PROMPT, image=picture(0), last_image=picture(2), guidance=1, **SMALL)
    assert np.isfinite(traj.final).all() and np.abs(traj.final - other.final).max() > 1e-3


@pytest.mark.parametrize("experts", [1, 2])
def test_wans_own_layout(experts, tmp_path):
    """Its grid, its boundary of T2V-A14B and its experts' folders."""
    pipe = pipeline.open(tiny_wan.build_original(tmp_path, experts=experts), cache=False)
    assert pipe.defaults.grid == "wan_unipc" and pipe.folder.boundary == (None if experts == 1 else 0.875)
    options = {"guidance": 1, "size": (16, 32), "frames": 5, "steps": 3}
    settings = pipe.settings(**options)
    assert settings.shift == (8.0 if experts == 1 else 12.0)
    noise, text = pipe.noise(settings, [1]), pipe.text([PROMPT])[0]
    traj = pipe.sample(PROMPT, seeds=[1], **options)
    grid = flow.grids.wan_unipc(3, shift=settings.shift)
    velocities = [dit.velocity(text) for dit in pipe.dits]
    stop = int((grid.times >= 875).sum())
    phases = (flow.Phase(stop, velocities[0]), flow.Phase(3, velocities[1])) if experts == 2 else velocities[0]
    assert experts == 1 or 0 < stop < 3
    expected = flow.sample(phases, noise[0], grid, solver=flow.unipc()).final
    np.testing.assert_allclose(traj.final[0], expected, atol=1e-5)


def test_compiled_once(pipe, monkeypatch):
    """Another prompt, other seeds, other networks of the same shape: the same program."""
    traced = chex.assert_max_traces(denoise.phases, n=1)
    monkeypatch.setattr(denoise, "phases", traced)
    options = SMALL | {"guidance": 1.5}
    first = pipe.sample(PROMPT, seeds=[3, 8], **options)
    for prompt, seeds in (("another maze", [3, 8]), (PROMPT, [1, 2**32 - 1])):
        assert np.abs(pipe.sample(prompt, seeds=seeds, **options).final - first.final).max() > 1e-3
    doubled = jax.tree.map(lambda a: 2 * a, pipe.dits)
    assert np.abs(pipe.sample(PROMPT, seeds=[3, 8], dits=doubled, **options).final - first.final).max() > 1e-3


def test_what_decides_the_numbers(root, tmp_path):
    """Every weight counts, also those of files that an index names."""
    about = pipeline.open(root).about
    assert about == pipeline.open(root).about and about["dtype"] == "float32"
    other = shutil.copytree(root, tmp_path / "m")
    (file,) = (other / "transformer").glob("*.safetensors")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert pipeline.open(other).about["weights"] != about["weights"]
    index, found = tmp_path / "x.safetensors.index.json", []
    index.write_text(json.dumps({"weight_map": {"a": "part.safetensors"}}))
    for value in (b"1", b"2"):
        (tmp_path / "part.safetensors").write_bytes(value)
        found.append(files.fingerprint(index))
    assert found[0] != found[1]


# ---------------------------------------------------------------------------------------------------------- embedded


def test_an_embedded_model(tmp_path):
    """A clip of a task, or its prompt, picture and length; the same numbers as the network by hand; on a mesh."""
    folder = tmp_path / "model"
    tiny.save_base(folder)
    (folder / "training.json").write_text(json.dumps({"config": {"name": "small", "data": {"mix": {"maze": 1.0}}}}))
    pipe = pipeline.open(folder)
    assert isinstance(pipe, pipeline.EmbeddedPipeline) and pipe.name == "small" and pipe.folder.tasks == ("maze",)
    assert (pipe.defaults.size, pipe.defaults.frames, pipe.settings().steps) == ((40, 40), 9, 20)
    clip = tasks.get("maze").make(0, "test")
    options = {"seeds": [5, 6], "steps": 2, "record": flow.Record(fields=("x0",))}
    found = pipe.sample(clip, **options)
    given = conditions_of.example(clip, text_len=16, text_dim=8)
    velocity = pipe.dit.velocity(given["text"], given["image"])
    run = lambda key: flow.sample(
        velocity, jax.random.normal(key, given["latent"].shape), flow.grids.shifted(2, shift=3.0)
    )
    expected = jax.vmap(run)(jax.vmap(jax.random.key)(np.array([5, 6])))
    np.testing.assert_allclose(found.x0, expected.x0, rtol=0, atol=1e-5 * np.abs(expected.x0).max())
    picture = np.round((clip.first_frame + 1) * 127.5).astype(np.uint8)
    again = pipe.sample(clip.prompt, image=picture, frames=9, **options)  # 8-bit: another first frame by a rounding
    np.testing.assert_allclose(again.x0, found.x0, rtol=0, atol=0.02 * np.abs(expected.x0).max())
    videos = pipe.decode(found.final)
    assert videos.shape == (2, 9, 40, 40, 3) and isinstance(videos, np.ndarray)
    there = pipeline.open(folder, mesh=parallel.mesh({"seed": 2, "tensor": 2}, devices=jax.devices()[:4]))
    final = there.sample(clip, **options).final
    np.testing.assert_allclose(final, found.final, rtol=0, atol=1e-5 * np.abs(expected.final).max())
    guided = pipe.sample(clip, **options | {"guidance": 2.0}).final
    assert np.abs(guided - found.final).max() > 1e-3
    with pytest.raises(ValueError, match="small needs a picture to start from"):
        pipe.sample(clip.prompt)
    with pytest.raises(ValueError, match=r"image: shape \(20, 30, 3\), expected \(40, 40, 3\)"):
        pipe.sample(clip.prompt, image=np.zeros((20, 30, 3), np.uint8), size=(40, 40))
    with pytest.raises(ValueError, match="expected an object with the field 'config'"):
        (folder / "training.json").write_text("{}")
        pipeline.open(folder)


# -------------------------------------------------------------------------------------------------------------- LoRA


def lora_file(path, cfg, seed):
    """A LoRA of rank 2 on one matrix of block 0."""
    rng = np.random.default_rng(seed)
    key = "diffusion_model.blocks.0.self_attn.q"
    down, up = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, cfg.dim), (cfg.dim, 2)))
    save_file({f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}, path)
    return path


def test_loras_of_two_experts(pair, tmp_path):
    cfg = tiny_wan.config("i2v")
    files = [lora_file(tmp_path / f"vbvr_{name}_noise.safetensors", cfg, i) for i, name in enumerate(("high", "low"))]
    plain = pipeline.open(pair).dits
    found = pipeline.open(pair, loras=[pipeline.Lora(files[0]), pipeline.Lora(files[1], 0.5, "low")]).dits
    for dit, base, file, weight in zip(found, plain, files, (1.0, 0.5), strict=True):
        expected = lora_files.merge(base, [(wan.load_lora(file), weight)])
        chex.assert_trees_all_equal(dit, expected)
        assert np.abs(dit.blocks.self_attn.q.kernel[...] - base.blocks.self_attn.q.kernel[...]).max() > 0.1
    with pytest.raises(ValueError, match="given to the low expert, but its name speaks of the high one"):
        pipeline.open(pair, loras=[pipeline.Lora(files[0], 1.0, "low")])
    for name in ("slow_highway", "low_poly", "vbvr_HIGH", "high-contrast"):  # a style, or it must be said
        nameless = lora_file(tmp_path / f"{name}.safetensors", cfg, 5)
        with pytest.raises(ValueError, match="say which expert"):
            pipeline.open(pair, loras=[pipeline.Lora(nameless)])
        assert pipeline.open(pair, loras=[pipeline.Lora(nameless, 1.0, "low")]).loras[0].expert == "low"
    with pytest.raises(FileNotFoundError, match="no such LoRA file"):
        pipeline.open(pair, loras=[pipeline.Lora(tmp_path / "gone.safetensors")])


def test_a_lora_whose_keys_name_experts(pair, root, tmp_path):
    """One file for both; what chose is said; a file for the low-noise one alone goes there and nowhere else."""
    arrays = {}
    for i, part in enumerate(("transformer", "transformer_2")):
        for ab, shape in (("A", (2, 24)), ("B", (24, 2))):
            arrays[f"{part}.blocks.0.attn1.to_q.lora_{ab}.weight"] = np.full(shape, i + 1, np.float32)
    arrays["transformer.blocks.0.attn2.add_k_proj.lora_B.bias"] = np.ones(24, np.float32)
    save_file(arrays, tmp_path / "style.safetensors")
    with pytest.raises(ValueError, match="add_k_proj.* which this model does not have .*left out"):
        pipeline.open(pair, loras=[pipeline.Lora(tmp_path / "style.safetensors")])
    found = pipeline.open(pair, loras=[(tmp_path / "style.safetensors", 0.5, None, True)])
    assert found.notes == (
        "LoRA style.safetensors: weight 0.5, both experts (by its keys), 1 changes of image attention left out",
    )
    plain = pipeline.open(pair).dits
    for i, (dit, base) in enumerate(zip(found.dits, plain, strict=True)):
        change = dit.blocks.self_attn.q.kernel[...][0] - base.blocks.self_attn.q.kernel[...][0]
        np.testing.assert_allclose(change, 0.5 * 2 * (i + 1) ** 2, rtol=1e-5)
    save_file({k: v for k, v in arrays.items() if "transformer_2" in k}, tmp_path / "high_noise.safetensors")
    with pytest.raises(ValueError, match="given to the high expert, but its keys speaks of the low one"):
        pipeline.open(pair, loras=[pipeline.Lora(tmp_path / "high_noise.safetensors", 1.0, "high")])
    with pytest.raises(ValueError, match="its keys name the low expert of a pair, .* has one network"):
        pipeline.open(root, loras=[pipeline.Lora(tmp_path / "high_noise.safetensors")])


def test_a_lora_for_an_expert_needs_experts(root, tmp_path):
    file = lora_file(tmp_path / "a.safetensors", tiny_wan.config("t2v"), 0)
    with pytest.raises(ValueError, match="has one network"):
        pipeline.open(root, loras=[pipeline.Lora(file, 1.0, "high")])


def test_the_tokenizer_is_needed(tmp_path):
    other = tiny_wan.build(tmp_path / "m")
    (other / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no tokenizer\.json"):
        pipeline.open(other, cache=False).text(["a"])
    written(other / "google/umt5-xxl")  # where Wan's own folders have it
    assert pipeline.open(other, cache=False).text(["a"]).shape == (1, 16, tiny_wan.TEXT)
