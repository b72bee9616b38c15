"""Wan's VAE: values against diffusers' (fixtures), pieces against the whole, tiles, keys and errors."""

import dataclasses
import functools
import json
import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from vrjax.files.weights import attributes
from vrjax.models import wan
from vrjax.models.wan import conditions, vae, vae_layers

FOLDER = pathlib.Path(__file__).parent / "fixtures"
CASES = ("21", "22")


@functools.cache
def fixture(case):
    with np.load(FOLDER / f"vae_{case}.npz") as file:
        return dict(file)


def weights(case):
    return {key[2:]: value.astype(np.float32) for key, value in fixture(case).items() if key.startswith("w.")}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """Name, the loaded model, and the fixture's arrays."""
    name = request.param
    folder = tmp_path_factory.mktemp(name) / "vae"
    folder.mkdir()
    save_file(weights(name), folder / "diffusion_pytorch_model.safetensors")
    (folder / "config.json").write_text(str(fixture(name)["config"]))
    return name, wan.load_vae(folder.parent), fixture(name)


@functools.partial(jax.jit, static_argnames=("chunk", "tile"))
def encode(model, video, chunk=None, tile=None):
    return model.encode(video, chunk=chunk, tile=tile)


@functools.partial(jax.jit, static_argnames=("chunk", "tile"))
def decode(model, latent, chunk=None, tile=None):
    return model.decode(latent, chunk=chunk, tile=tile)


def test_values(case):
    """Whole clips, against diffusers' chunked machine."""
    _, model, io = case
    latent, pixels = encode(model, io["video"].astype(np.float32)), decode(model, io["z"])
    assert latent.dtype == pixels.dtype == jnp.float32
    assert np.abs(io["latent"]).max() > 0.5 and 0.2 < np.abs(io["pixels"]).max()
    assert np.abs(latent - io["latent"]).max() <= 5e-5
    assert np.abs(pixels - io["pixels"]).max() <= 5e-5
    assert (np.abs(io["pixels"]) < 1).mean() > 0.9  # else clipping would hide errors


def test_pieces_equal_the_whole(case):
    """A scan over latent frames gives the same numbers."""
    _, model, io = case
    assert np.abs(encode(model, io["video"].astype(np.float32), chunk=1) - io["latent"]).max() <= 5e-5
    assert np.abs(decode(model, io["z"], chunk=1) - io["pixels"]).max() <= 5e-5


def test_streams_of_every_length():
    """Pieces of any size, with and without a rest, against the whole: a running sum with doubling after the first."""

    def run(x, contexts):
        total = jnp.cumsum(jnp.concatenate([jnp.zeros_like(x[:1]) if contexts is None else contexts[0], x]), 0)
        out = jnp.repeat(total[1:], 2, 0)
        return out[1:] if contexts is None else out, (total[-1:],)

    for length, chunk in ((1, 3), (7, 2), (6, 2), (6, 9)):
        x = jnp.arange(length * 3.0).reshape(length, 3)
        assert (vae_layers.in_pieces(run, x, 1, chunk) == run(x, None)[0]).all(), (length, chunk)


def test_causal_to_the_bit(case):
    """The first latent frame sees the first pixel frame only, and decodes to the first frame alone."""
    _, model, io = case
    video = io["video"].astype(np.float32)
    changed = video.copy()
    changed[5:] += 0.5
    a, b = encode(model, video), encode(model, changed)
    assert (a[:2] == b[:2]).all() and (a[2] != b[2]).any()
    z = io["z"].copy()
    z[1:] += 1
    assert (decode(model, io["z"])[0] == decode(model, z)[0]).all()


def test_tile_weights():
    """Starts cover everything with the overlap asked for, and weights sum to one."""
    for size, length, overlap, up in ((4, 11, 1, 8), (5, 5, 2, 3), (6, 7, 3, 1), (3, 9, 0, 2)):
        starts = vae_layers._starts(size, length, overlap)
        weights = vae_layers._weights(starts, size, length, overlap, up)
        assert starts[0] == 0 and starts[-1] + size == length
        assert all(a + size - b >= overlap for a, b in zip(starts, starts[1:], strict=False))
        total = np.zeros(length * up)
        for start, row in zip(starts, weights, strict=True):
            total[start * up : (start + size) * up] += row
        np.testing.assert_allclose(total, 1, rtol=1e-6)


@pytest.mark.parametrize("overlap", [0, 1])
def test_tiles_of_a_local_model(overlap):
    """Tiles change nothing where outputs depend on their own place alone: here a resampling without a network."""
    x = np.random.default_rng(0).standard_normal((2, 10, 14, 3)).astype(np.float32)
    up = lambda a: jnp.repeat(jnp.repeat(a, 4, 1), 4, 2)
    down = lambda a: a[:, ::2, ::2]
    tile = vae.Tile(4, 3, overlap)
    np.testing.assert_allclose(vae_layers.in_tiles(up, jnp.asarray(x), tile, 1, 4), up(x), atol=1e-6)
    np.testing.assert_allclose(vae_layers.in_tiles(down, jnp.asarray(x), tile, 2, 1), down(x), atol=1e-6)


@pytest.mark.parametrize("case", ["21"], indirect=True)  # 2.2 has the same code
def test_tiles(case):
    """One tile is the whole frame; several stay near it, and are not it, as the middle attends within a tile."""
    _, model, io = case
    z = np.tile(io["z"][:1], (1, 2, 3, 1))
    whole, near = decode(model, z), decode(model, z, tile=vae.Tile(3, 2, 1))
    assert near.shape == whole.shape and 1e-4 < np.abs(near - whole).mean() < 0.3 * np.abs(whole).mean()
    one = jax.eval_shape(lambda z: model.decode(z, tile=vae.Tile(9, 9, 2)), z)
    assert one.shape == whole.shape


PUBLIC = {"21": (vae.WAN_21, 126_892_531, 194), "22": (vae.WAN_22, 704_688_668, 196)}


@pytest.mark.parametrize("name", CASES)
def test_public_shapes(name):
    """Parameter and tensor counts of the public models, and what comes out of them."""
    cfg, parameters, tensors = PUBLIC[name]
    model = vae.abstract(cfg)
    leaves = jax.tree.leaves(model)
    assert sum(np.prod(leaf.shape) for leaf in leaves) == parameters and len(leaves) == tensors
    s, z = (8, 16) if name == "21" else (16, 48)
    video = jax.ShapeDtypeStruct((81, 480, 832, 3), jnp.float32)
    latent = jax.eval_shape(lambda m, v: m.encode(v, chunk=1), model, video)
    assert latent.shape == (21, 480 // s, 832 // s, z)
    assert jax.eval_shape(lambda m, v: m.decode(v, chunk=2), model, latent).shape == video.shape


@pytest.mark.parametrize("name", CASES)
def test_half_precision_is_one_dtype(name):
    """In bfloat16 activations and contexts keep their dtype from piece to piece; results are float32."""
    cfg = dataclasses.replace(PUBLIC[name][0], dtype="bfloat16")
    model = vae.abstract(cfg)
    s, z = cfg.space_factor, cfg.latent_channels
    video = jax.eval_shape(
        lambda m, x: m.decode(x, chunk=1, tile=vae.Tile(2, 2, 1)),
        model,
        jax.ShapeDtypeStruct((4, 3, 2, z), jnp.float32),
    )
    assert video.shape == (13, 3 * s, 2 * s, 3) and video.dtype == jnp.float32
    contexts = jax.eval_shape(
        lambda m, x: m._decode(x, None)[1], model, jax.ShapeDtypeStruct((1, 1, 1, z), jnp.float32)
    )
    assert {c.dtype for c in contexts} == {jnp.dtype("bfloat16")}
    latent = jax.eval_shape(lambda m, v: m.encode(v, chunk=2), model, video)
    assert latent.shape == (4, 3, 2, z) and latent.dtype == jnp.float32


def test_normalisation_tables():
    """The sheet's numbers, spot-checked, and their sums."""
    assert vae.WAN_21.mean[:2] == (-0.7571, -0.7089) and vae.WAN_21.std[-1] == 1.916
    assert vae.WAN_22.mean[-1] == -0.0667 and vae.WAN_22.std[:2] == (0.4765, 1.0364)
    assert len(vae.WAN_22.mean) == len(vae.WAN_22.std) == 48


ROWS = [
    ("21", ("encoder", "conv_in", "kernel"), "encoder.conv1.weight", "encoder.conv_in.weight"),
    ("21", ("quant", "bias"), "conv1.bias", "quant_conv.bias"),
    ("21", ("encoder", "stages", 1, "blocks", 0, "shortcut", "kernel"),
     "encoder.downsamples.3.shortcut.weight", "encoder.down_blocks.3.conv_shortcut.weight"),
    ("21", ("encoder", "stages", 2, "resample", "time_conv", "kernel"),
     "encoder.downsamples.8.time_conv.weight", "encoder.down_blocks.8.time_conv.weight"),
    ("21", ("decoder", "stages", 1, "blocks", 0, "shortcut", "kernel"),
     "decoder.upsamples.4.shortcut.weight", "decoder.up_blocks.1.resnets.0.conv_shortcut.weight"),
    ("21", ("decoder", "stages", 3, "blocks", 2, "norm2", "gamma"),
     "decoder.upsamples.14.residual.3.gamma", "decoder.up_blocks.3.resnets.2.norm2.gamma"),
    ("21", ("decoder", "stages", 2, "resample", "conv", "bias"),
     "decoder.upsamples.11.resample.1.bias", "decoder.up_blocks.2.upsamplers.0.resample.1.bias"),
    ("22", ("encoder", "stages", 1, "resample", "conv", "kernel"),
     "encoder.downsamples.1.downsamples.2.resample.1.weight", "encoder.down_blocks.1.downsampler.resample.1.weight"),
    ("22", ("decoder", "stages", 0, "blocks", 2, "conv2", "bias"),
     "decoder.upsamples.0.upsamples.2.residual.6.bias", "decoder.up_blocks.0.resnets.2.conv2.bias"),
    ("22", ("decoder", "middle", "attention", "to_qkv", "kernel"),
     "decoder.middle.1.to_qkv.weight", "decoder.mid_block.attentions.0.to_qkv.weight"),
]  # fmt: skip


def test_key_table():
    """Rows of the public conversion tables, in both directions of nesting."""
    for name, path, original, diffusers in ROWS:
        names = vae.names(PUBLIC[name][0])
        assert names.key(path, "original") == original
        assert names.key(path, "diffusers") == diffusers


def renamed(name):
    """The fixture's weights under the original's keys."""
    config = json.loads(str(fixture(name)["config"]))
    cfg = vae.VAEConfig(
        dim=4, decoder_dim=config.get("decoder_base_dim", 4), latent_channels=2, multipliers=(1, 1, 2, 2), blocks=1,
        shortcuts=name == "22", patch=2 if name == "22" else 1, mean=(0.3, -0.2), std=(1.7, 0.6),
    )  # fmt: skip
    paths = [attributes(p) for p, _ in jax.tree_util.tree_leaves_with_path(vae.abstract(cfg))]
    key = vae.names(cfg).key
    return {key(p, "original"): weights(name)[key(p, "diffusers")] for p in paths}


def test_original_layout(case, tmp_path):
    """Original keys and a bundle's prefix, without a config: shapes and options say the rest."""
    name, model, _ = case
    bundle = {f"first_stage_model.{k}": v for k, v in renamed(name).items()} | {"other.weight": np.ones(2, np.float32)}
    save_file(bundle, tmp_path / "Wan_vae.safetensors")
    options = {"multipliers": (1, 1, 2, 2), "blocks": 1, "mean": (0.3, -0.2), "std": (1.7, 0.6)}
    again = wan.load_vae(tmp_path, **options)
    assert again.cfg == model.cfg
    chex.assert_trees_all_equal(again, model)
    with pytest.raises(ValueError, match="2 latent channels are neither 16 nor 48"):
        wan.load_vae(tmp_path, multipliers=(1, 1, 2, 2), blocks=1)


def test_errors(case, tmp_path):
    name, model, io = case
    with pytest.raises(ValueError, match=r"\(8, 32, 32\), expected t = 1 \+ 4n"):
        model.encode(np.zeros((8, 32, 32, 3), np.float32))
    with pytest.raises(ValueError, match="multiples of (8|16)"):
        model.encode(np.zeros((1, 32, 36, 3), np.float32))
    with pytest.raises(ValueError, match=r"expected \(t, h, w, 2\)"):
        model.decode(np.zeros((1, 4, 4, 3), np.float32))
    with pytest.raises(ValueError, match="chunk: found 0"):
        model.decode(io["z"], chunk=0)
    with pytest.raises(ValueError, match="twice the overlap"):
        model.decode(io["z"], tile=vae.Tile(4, 4, 3))
    broken = weights(name)
    key = "decoder.conv_out.weight"
    broken["encoder.extra"] = broken.pop(key)
    save_file(broken, tmp_path / "a.safetensors")
    (tmp_path / "config.json").write_text(str(io["config"]))
    with pytest.raises(
        ValueError, match=rf"a.safetensors: .*1 missing tensors \({key}\); 1 unexpected .*encoder.extra"
    ):
        wan.load_vae(tmp_path / "a.safetensors")
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKLWan", "latents_mean": [1.0]}')
    with pytest.raises(ValueError, match="config.json: not a VAE config: VAEConfig: mean has 1"):
        wan.load_vae(tmp_path / "a.safetensors")
    save_file({"a": np.ones(1, np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="a.safetensors: not a Wan VAE: neither"):
        wan.load_vae(tmp_path / "a.safetensors")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        wan.load_vae(tmp_path / "nowhere")


def test_how_many_frames_at_a_time(case, monkeypatch):
    """By shapes alone: all of a clip whose widest array stays in a cache, else a latent frame; the same video."""
    of = lambda frames, h, w, cfg=vae.WAN_21: conditions.chunk_of(
        ((frames - 1) // 4 + 1, h // cfg.space_factor, w // cfg.space_factor, cfg.latent_channels), cfg
    )
    assert of(5, 64, 64) is None and of(33, 128, 128) == of(81, 480, 832) == of(81, 480, 832, vae.WAN_22) == 1
    _, model, io = case
    assert conditions.chunk_of(io["z"].shape, model.cfg) is None
    monkeypatch.setattr(conditions, "CACHE", 0)
    assert conditions.chunk_of(io["z"].shape, model.cfg) == 1
    np.testing.assert_allclose(decode(model, io["z"]), decode(model, io["z"], chunk=1), atol=1e-5)
