"""Weights in and out: both layouts, prefixes, shards, and every way a file can be wrong."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from vrjax.files import tensors
from vrjax.models import wan
from vrjax.models.wan.readers import key_of

CFG = wan.WanConfig(
    dim=24,
    ffn_dim=36,
    heads=3,
    layers=2,
    in_channels=7,
    out_channels=2,
    patch=(1, 2, 2),
    text_dim=5,
    freq_dim=8,
    image_dim=6,
    image_positions=4,
    causal=True,
    eps=1e-5,
)


@pytest.fixture(scope="module")
def dit():
    model = wan.WanDiT(CFG, rngs=nnx.Rngs(0))
    leaves, tree = jax.tree.flatten(model)
    rng = np.random.default_rng(0)
    return jax.tree.unflatten(tree, [jnp.asarray(rng.standard_normal(a.shape), a.dtype) for a in leaves])


def same(a, b):
    """Equal weights; the configs may differ."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(x.dtype == y.dtype and x.shape == y.shape and bool((x == y).all()) for x, y in pairs)


@pytest.mark.parametrize("layout", ["diffusers", "original"])
def test_round_trip(dit, layout, tmp_path):
    """Folder and file; our own metadata keeps the options that public configs do not know."""
    wan.save_dit(dit, tmp_path / "folder", layout=layout)
    wan.save_dit(dit, tmp_path / "file.safetensors", layout=layout)
    assert sorted(p.name for p in (tmp_path / "folder").iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    for name in ("folder", "file.safetensors"):
        again = wan.load_dit(tmp_path / name)
        assert again.cfg == CFG and same(dit, again)
    assert wan.load_dit(tmp_path / "folder", remat="full", dtype="bfloat16").cfg == dataclasses.replace(
        CFG, remat="full", dtype="bfloat16"
    )


@pytest.mark.parametrize("layout", ["diffusers", "original"])
def test_public_config_alone(dit, layout, tmp_path):
    """Without our metadata the public config.json says the same, but for options it has no word for."""
    wan.save_dit(dit, tmp_path, layout=layout)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    save_file({k: np.array(v) for k, v in load_file(file).items()}, file)
    again = wan.load_dit(tmp_path)
    assert again.cfg == dataclasses.replace(CFG, causal=False) and same(dit, again)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match="pass heads="):
        wan.load_dit(file)
    bare = wan.load_dit(file, heads=3, eps=1e-5)
    assert bare.cfg == again.cfg and same(dit, bare)


def test_other_peoples_files(dit, tmp_path):
    """ComfyUI's prefix beside another network, a matrix as patch embedding, an unused tensor, shards."""
    wan.save_dit(dit, tmp_path / "o.safetensors", layout="original")
    original = {k: np.array(v) for k, v in load_file(tmp_path / "o.safetensors").items()}
    original["patch_embedding.weight"] = original["patch_embedding.weight"].reshape(24, -1)
    bundle = {f"model.diffusion_model.{k}": v for k, v in original.items()} | {
        "vae.conv.weight": np.ones(2, np.float32)
    }
    save_file(bundle, tmp_path / "comfy.safetensors")
    assert same(dit, wan.load_dit(tmp_path / "comfy.safetensors", heads=3))

    wan.save_dit(dit, tmp_path / "d")
    file = tmp_path / "d" / "diffusion_pytorch_model.safetensors"
    arrays = {k: np.array(v) for k, v in load_file(file).items()}
    arrays["blocks.0.attn2.norm_added_q.weight"] = np.ones(24, np.float32)
    file.unlink()
    halves = [dict(list(arrays.items())[i::2]) for i in range(2)]
    for i, half in enumerate(halves):
        save_file(half, tmp_path / "d" / f"m-{i}.safetensors")
    index = tmp_path / "d" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {k: f"m-{i}.safetensors" for i, h in enumerate(halves) for k in h}}))
    assert same(dit, wan.load_dit(tmp_path / "d"))
    assert same(dit, wan.load_dit(index))
    (tmp_path / "d" / "m-1.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="m-1.safetensors"):
        wan.load_dit(tmp_path / "d")
    index.write_text(json.dumps({"weight_map": {"a": "../m-0.safetensors"}}))
    with pytest.raises(ValueError, match="outside the folder"):
        wan.load_dit(tmp_path / "d")


def test_training_checkpoints(dit, tmp_path):
    """A torch file with two copies of the transformer under names of their own: one must be chosen."""
    import pathlib
    import zipfile

    wan.save_dit(dit, tmp_path / "o.safetensors", layout="original")
    original = {k: np.array(v) for k, v in load_file(tmp_path / "o.safetensors").items()}
    one = {f"generator_ema.model.{k}": v for k, v in original.items()}
    save_file(one, tmp_path / "one.safetensors")
    assert same(dit, wan.load_dit(tmp_path / "one.safetensors", heads=3, eps=1e-5))
    save_file(one | {f"generator.model.{k}": v + 1 for k, v in original.items()}, tmp_path / "two.safetensors")
    with pytest.raises(ValueError, match="two.safetensors: holds a Wan transformer more than once: 'generator"):
        wan.load_dit(tmp_path / "two.safetensors", heads=3)
    chosen = wan.load_dit(tmp_path / "two.safetensors", prefix="generator_ema.model.", heads=3)
    assert same(dit, chosen)
    torch_file = pathlib.Path(__file__).parents[1] / "files" / "fixtures" / "zip.pth"
    assert zipfile.is_zipfile(torch_file)
    with pytest.raises(ValueError, match="zip.pth: not a Wan transformer: neither .* among its 17 tensors"):
        wan.load_dit(torch_file)


def test_half_precision_weights(dit, tmp_path):
    """Matrices are stored in param_dtype, norms and modulation stay float32; both directions."""
    wan.save_dit(dit, tmp_path / "a.safetensors")
    half = wan.load_dit(tmp_path / "a.safetensors", param_dtype="bfloat16")
    assert half.blocks.ffn_in.kernel[...].dtype == jnp.bfloat16
    assert half.blocks.modulation[...].dtype == half.blocks.norm3.scale[...].dtype == jnp.float32
    wan.save_dit(half, tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").stat().st_size < 0.75 * (tmp_path / "a.safetensors").stat().st_size
    again = wan.load_dit(tmp_path / "b.safetensors")
    assert again.cfg.param_dtype == "bfloat16" and same(half, again)
    back = wan.load_dit(tmp_path / "b.safetensors", param_dtype="float32")
    expected = dit.blocks.ffn_in.kernel[...].astype(jnp.bfloat16).astype(jnp.float32)
    assert (back.blocks.ffn_in.kernel[...] == expected).all()


def spoil(file, change):
    arrays, metadata = {k: np.array(v) for k, v in load_file(file).items()}, tensors.read(file).metadata
    change(arrays)
    save_file(arrays, file, metadata=metadata)


KEY = "blocks.1.attn2.to_q.weight"
WRONG = {
    "missing": (lambda a: a.pop(KEY), rf"1 missing tensors \({KEY}\)"),
    "unexpected": (lambda a: a.update(extra=np.ones(1, np.float32)), r"1 unexpected tensors \(extra\)"),
    "shape": (lambda a: a.update({KEY: a[KEY][:3]}), rf"{KEY} has shape \(3, 24\), expected \(24, 24\)"),
    "layers": (lambda a: [a.pop(k) for k in list(a) if k.startswith("blocks.1.")], r"32 missing tensors"),
    "another model": (lambda a: [a.pop(k) for k in list(a) if "time_proj" in k], "not a Wan transformer"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_tensors(dit, name, tmp_path):
    change, match = WRONG[name]
    file = tmp_path / "model.safetensors"
    wan.save_dit(dit, file)
    spoil(file, change)
    with pytest.raises(ValueError, match=match) as error:
        wan.load_dit(file)
    assert "model.safetensors" in str(error.value)


def test_torn_files(dit, tmp_path):
    file = tmp_path / "model.safetensors"
    wan.save_dit(dit, file)
    data = file.read_bytes()
    header = int.from_bytes(data[:8], "little")
    for torn in (
        b"",
        data[:5],
        data[: header // 2],
        data[:-1],
        data + b"\0",
        b"\xff" * 64,
        data[:8] + b"[" + data[9:],
        data.replace(b'"F32"', b'"F99"', 1),
        data.replace(b'"data_offsets":[0,', b'"data_offsets":[4,', 1),
    ):
        file.write_bytes(torn)
        with pytest.raises(ValueError, match="model.safetensors"):
            wan.load_dit(file)
    with pytest.raises(FileNotFoundError, match="nothing_here"):
        wan.load_dit(tmp_path / "nothing_here")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no .*safetensors"):
        wan.load_dit(tmp_path / "empty")
    (tmp_path / "config.json").write_text("{")
    save_file({k: np.array(v) for k, v in tensors_of(dit, tmp_path).items()}, file)
    with pytest.raises(ValueError, match="config.json: not valid JSON"):
        wan.load_dit(file)
    (tmp_path / "config.json").write_text('{"_class_name": "WanModel", "num_heads": 5, "dim": 24}')
    with pytest.raises(ValueError, match="config.json: not a WanDiT config.*heads=5"):
        wan.load_dit(file)


def tensors_of(dit, folder):
    wan.save_dit(dit, folder / "other" / "x.safetensors")
    return load_file(folder / "other" / "x.safetensors")


def test_failed_save_leaves_the_old_file(dit, tmp_path, monkeypatch):
    """A full disk in the middle of a save: the former file is whole, and nothing else is left."""
    file = tmp_path / "model.safetensors"
    wan.save_dit(dit, file)
    before = file.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensors.os, "fsync", full)
    with pytest.raises(OSError, match="no space left on the disk"):
        wan.save_dit(jax.tree.map(lambda a: a + 1, dit), file)
    assert file.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    with pytest.raises(ValueError, match="unknown layout 'torch'.*diffusers"):
        wan.save_dit(dit, file, layout="torch")


def test_key_table():
    """Spot checks of the sheet's table, the norm swap among them."""
    rows = [
        (("blocks", "norm3", "scale"), "blocks.7.norm3.weight", "blocks.7.norm2.weight"),
        (("blocks", "self_attn", "o", "bias"), "blocks.7.self_attn.o.bias", "blocks.7.attn1.to_out.0.bias"),
        (
            ("blocks", "cross_attn", "norm_k_img"),
            "blocks.7.cross_attn.norm_k_img.weight",
            "blocks.7.attn2.norm_added_k.weight",
        ),
        (("blocks", "modulation"), "blocks.7.modulation", "blocks.7.scale_shift_table"),
        (("head_modulation",), "head.modulation", "scale_shift_table"),
        (("image_embedding", "positions"), "img_emb.emb_pos", "condition_embedder.image_embedder.pos_embed"),
        (("time_projection", "kernel"), "time_projection.1.weight", "condition_embedder.time_proj.weight"),
    ]
    for attributes, original, diffusers in rows:
        assert key_of(attributes, "original", 7) == original
        assert key_of(attributes, "diffusers", 7) == diffusers
