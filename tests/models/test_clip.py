"""The CLIP image encoder: values and preprocessing against transformers' (fixture and live), keys, errors."""

import functools
import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from vrjax.models import wan
from vrjax.models.wan import clip

FOLDER = pathlib.Path(__file__).parent / "fixtures"
RUN = jax.jit(lambda encoder, pixels: encoder(pixels))
CFG = clip.CLIPConfig(dim=16, ffn_dim=24, heads=2, layers=3, image_size=12, patch=4)


@functools.cache
def fixture():
    with np.load(FOLDER / "clip.npz") as file:
        return dict(file)


def weights():
    return {key[2:]: value.astype(np.float32) for key, value in fixture().items() if key.startswith("w.")}


def public():
    """The names of public files, which begin with the tower's."""
    return {f"vision_model.{key.removeprefix('vision_model.')}": value for key, value in weights().items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "image_encoder"
    path.mkdir()
    save_file(public() | {"visual_projection.weight": np.ones((2, 16), np.float32)}, path / "model.safetensors")
    (path / "config.json").write_text('{"hidden_size": 16, "num_attention_heads": 2, "hidden_act": "gelu"}')
    return path


@pytest.fixture(scope="module")
def encoder(folder):
    return wan.load_image_encoder(folder.parent)


def test_values(encoder):
    assert encoder.cfg == CFG
    rows = RUN(encoder, fixture()["pixels"])
    assert rows.shape == (10, 16) and np.abs(fixture()["rows"]).max() > 1
    assert np.abs(rows - fixture()["rows"]).max() <= 5e-5


def test_preprocessing():
    """Both styles; 8-bit and float images are the same image."""
    image = fixture()["image"]
    floats = image.astype(np.float32) / 127.5 - 1
    for style, key, tolerance in (("original", "squeezed", 2e-5), ("transformers", "centred", 1e-5)):
        for given in (image, floats):
            found = np.asarray(clip.preprocess(given, size=12, style=style))
            assert found.dtype == np.float32 and np.abs(found - fixture()[key]).max() <= tolerance, (style, given.dtype)
    tall = clip.preprocess(image.transpose(1, 0, 2), size=12, style="transformers")
    assert tall.shape == (12, 12, 3)
    jitted = jax.jit(lambda x: clip.preprocess(x, size=12))(floats)
    assert np.abs(jitted - fixture()["squeezed"]).max() <= 2e-5


def original():
    """The weights under the original's keys, with queries, keys and values in one matrix."""
    w = {key.removeprefix("vision_model."): value for key, value in weights().items()}
    out = {
        "visual.patch_embedding.weight": w["embeddings.patch_embedding.weight"],
        "visual.cls_embedding": w["embeddings.class_embedding"][None, None],
        "visual.pos_embedding": w["embeddings.position_embedding.weight"][None],
        "visual.head": np.ones((16, 2), np.float32),
        "log_scale": np.ones((), np.float32),
        "textual.norm.weight": np.ones(3, np.float32),
    }
    for leaf in ("weight", "bias"):
        out |= {
            f"visual.pre_norm.{leaf}": w[f"pre_layrnorm.{leaf}"],
            f"visual.post_norm.{leaf}": w[f"post_layernorm.{leaf}"],
        }
        for i in range(3):
            block = lambda name, i=i, leaf=leaf: w[f"encoder.layers.{i}.{name}.{leaf}"]
            start = f"visual.transformer.{i}."
            out[f"{start}attn.to_qkv.{leaf}"] = np.concatenate([block(f"self_attn.{p}_proj") for p in "qkv"])
            out[f"{start}attn.proj.{leaf}"] = block("self_attn.out_proj")
            for j in (1, 2):
                out |= {
                    f"{start}norm{j}.{leaf}": block(f"layer_norm{j}"),
                    f"{start}mlp.{2 * j - 2}.{leaf}": block(f"mlp.fc{j}"),
                }
    return out


def test_original_layout(encoder, tmp_path):
    """The joint file of Wan's repository, whose text tower is left alone."""
    save_file(original(), tmp_path / "model_clip_vision.safetensors")
    with pytest.raises(ValueError, match="pass heads="):
        wan.load_image_encoder(tmp_path)
    again = wan.load_image_encoder(tmp_path, heads=2)
    assert again.cfg == CFG
    chex.assert_trees_all_equal(again, encoder)


def test_half_precision(tmp_path):
    save_file({k: v.astype(np.float16) for k, v in public().items()}, tmp_path / "a.safetensors")
    half = wan.load_image_encoder(tmp_path / "a.safetensors", heads=2)
    assert half.cfg.param_dtype == "float16" and half.blocks.fc1.kernel[...].dtype == jnp.float16
    assert half.norm.scale[...].dtype == half.positions[...].dtype == jnp.float32
    assert np.abs(RUN(half, fixture()["pixels"]) - fixture()["rows"]).max() <= 5e-5  # the fixture's weights are float16


def test_public_shape():
    """ViT-H/14 without its last block and head: 611,086,080 parameters, rows as Wan's transformers expect them."""
    cfg = clip.CLIPConfig()
    leaves = jax.tree.leaves(clip.abstract(cfg))
    assert sum(np.prod(leaf.shape) for leaf in leaves) == 31 * 19_677_440 + 1_085_440 == 611_086_080
    pixels = jax.ShapeDtypeStruct((224, 224, 3), jnp.float32)
    assert jax.eval_shape(lambda e, p: e(p), clip.abstract(cfg), pixels).shape == (257, 1280)


def test_errors(encoder, folder, tmp_path):
    with pytest.raises(ValueError, match=r"\(12, 14, 3\), expected \(12, 12, 3\)"):
        encoder(np.zeros((12, 14, 3), np.float32))
    with pytest.raises(ValueError, match=r"image: shape \(4, 4, 1\)"):
        clip.preprocess(np.zeros((4, 4, 1), np.float32))
    with pytest.raises(ValueError, match="style: found 'other'"):
        clip.preprocess(np.zeros((4, 4, 3), np.float32), style="other")
    broken = public()
    broken["vision_model.more"] = broken.pop("vision_model.encoder.layers.1.mlp.fc2.bias")
    save_file(broken, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"a.safetensors: .*1 missing tensors \(encoder.layers.1.mlp.fc2.bias.*more"):
        wan.load_image_encoder(tmp_path / "a.safetensors", heads=2)
    save_file(public(), tmp_path / "a.safetensors")
    (tmp_path / "config.json").write_text('{"hidden_size": 16, "num_attention_heads": 2, "hidden_act": "quick_gelu"}')
    with pytest.raises(ValueError, match="config.json: hidden_act is 'quick_gelu'"):
        wan.load_image_encoder(tmp_path)
    with pytest.raises(ValueError, match="not a CLIP config: .*multiple of heads=3"):
        wan.load_image_encoder(folder, heads=3)


@pytest.mark.parity
def test_against_transformers(tmp_path):
    """Another shape, loaded from what transformers saves."""
    from tests.models import make_clip_fixtures as make

    config = make.CONFIG | {"hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": 4, "image_size": 16}
    theirs = make.randomised(config, seed=3)
    theirs.save_pretrained(tmp_path / "image_encoder")
    ours = wan.load_image_encoder(tmp_path)
    pixels = np.random.default_rng(1).standard_normal((16, 16, 3)).astype(np.float32)
    expected = make.run(theirs, pixels)
    assert np.abs(RUN(ours, pixels) - expected).max() <= 5e-5 and np.abs(expected).max() > 1


@pytest.mark.parity
def test_public_keys_and_shapes():
    """ViT-H/14 as transformers builds it, without memory: ours and the parts that are not read make it up."""
    import re

    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModel

    config = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16}
    with torch.device("meta"):
        state = CLIPVisionModel(CLIPVisionConfig(**config, image_size=224, patch_size=14)).state_dict()
    theirs = {key.removeprefix("vision_model."): tuple(value.shape) for key, value in state.items()}
    ours = {key: slot.shape for slot in clip.NETWORK.slots(clip.CLIPConfig(), "transformers") for key in slot.keys}
    unused = {key for key in theirs if re.fullmatch(r"post_layernorm\.(weight|bias)|encoder\.layers\.31\..*", key)}
    assert len(unused) == 18 and ours == {key: shape for key, shape in theirs.items() if key not in unused}
    assert sum(np.prod(shape) for shape in theirs.values()) == 630_766_080
