"""The UMT5 encoder: values against transformers' (fixture and live), padding, keys of both layouts, errors."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from vrjax.models import wan
from vrjax.models.wan import umt5

FOLDER = pathlib.Path(__file__).parent / "fixtures"
RUN = jax.jit(lambda encoder, ids, mask: encoder(ids, mask))


@functools.cache
def fixture():
    with np.load(FOLDER / "umt5.npz") as file:
        return dict(file)


def weights():
    return {key[2:]: value.astype(np.float32) for key, value in fixture().items() if key.startswith("w.")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "text_encoder"
    path.mkdir()
    save_file(weights(), path / "model.safetensors")
    return path


@pytest.fixture(scope="module")
def encoder(folder):
    return wan.load_text_encoder(folder.parent)


def test_values(encoder):
    io = fixture()
    rows = RUN(encoder, io["ids"], io["mask"])
    assert rows.shape == (40, 12) and 1 < np.abs(io["rows"]).max() < 10
    assert np.abs(rows[:33] - io["rows"]).max() <= 5e-5
    assert (rows[33:] == 0).all()


def test_padding_changes_nothing(encoder):
    """Nor do the ids in it."""
    io = fixture()
    ids = io["ids"].copy()
    ids[33:] = 7
    assert (RUN(encoder, ids, io["mask"]) == RUN(encoder, io["ids"], io["mask"])).all()


def test_buckets():
    """Of every distance, at float32's rounding of the logarithm, and their symmetry."""
    table = umt5.relative_buckets(601, 32, 128)
    assert (table[0] == fixture()["buckets"][600:]).all() and (table[:, 0] == fixture()["buckets"][600::-1]).all()
    assert (np.diff(table[0]) >= 0).all() and table[0].max() == 31 and table[:, 0].max() == 15


def original():
    cfg = umt5.UMT5Config(40, 12, 20, 3, 5, 2)
    slots = (umt5.NETWORK.slots(cfg, "original"), umt5.NETWORK.slots(cfg, "transformers"))
    pairs = [pair for a, b in zip(*slots, strict=True) for pair in zip(a.keys, b.keys, strict=True)]
    return {ours: weights()[theirs] for ours, theirs in pairs}


def test_layouts(encoder, tmp_path):
    """The original's keys, a single file that brings its tokenizer, the token table under its other name."""
    same = lambda other: all(
        np.array_equal(np.asarray(a), np.asarray(b))
        for a, b in zip(jax.tree.leaves(encoder), jax.tree.leaves(other), strict=True)
    )
    save_file(original(), tmp_path / "enc_umt5.safetensors")
    assert same(wan.load_text_encoder(tmp_path))
    both = weights() | {
        "spiece_model": np.zeros(9, np.uint8),
        "encoder.embed_tokens.weight": weights()["shared.weight"],
    }
    save_file(both, tmp_path / "both.safetensors")
    assert same(wan.load_text_encoder(tmp_path / "both.safetensors"))
    del both["shared.weight"]
    save_file(both, tmp_path / "tied.safetensors")
    assert same(wan.load_text_encoder(tmp_path / "tied.safetensors"))


def test_key_table():
    """Rows of the public table."""
    for name, block, ours, theirs in (
        ("tokens", None, "token_embedding.weight", "shared.weight"),
        ("positions", 5, "blocks.5.pos_embedding.embedding.weight",
         "encoder.block.5.layer.0.SelfAttention.relative_attention_bias.weight"),
        ("gate", 0, "blocks.0.ffn.gate.0.weight", "encoder.block.0.layer.1.DenseReluDense.wi_0.weight"),
        ("up", 0, "blocks.0.ffn.fc1.weight", "encoder.block.0.layer.1.DenseReluDense.wi_1.weight"),
        ("down", 0, "blocks.0.ffn.fc2.weight", "encoder.block.0.layer.1.DenseReluDense.wo.weight"),
        ("norm2", 1, "blocks.1.norm2.weight", "encoder.block.1.layer.1.layer_norm.weight"),
        ("norm", None, "norm.weight", "encoder.final_layer_norm.weight"),
    ):  # fmt: skip
        path = (name,) if block is None else ("blocks", name)
        assert umt5.key_of(path, "original", block) == ours and umt5.key_of(path, "transformers", block) == theirs


def test_half_precision(folder, tmp_path):
    """Matrices keep the file's dtype, norms and positions are float32; products follow `dtype`."""
    save_file({k: v.astype(np.float16) for k, v in weights().items()}, tmp_path / "half.safetensors")
    half = wan.load_text_encoder(tmp_path / "half.safetensors", dtype="bfloat16")
    assert half.cfg.param_dtype == "float16" and half.tokens[...].dtype == half.blocks.gate[...].dtype == jnp.float16
    assert half.norm[...].dtype == half.blocks.norm1[...].dtype == half.blocks.positions[...].dtype == jnp.float32
    io = fixture()
    rows = RUN(half, io["ids"], io["mask"])
    assert rows.dtype == jnp.bfloat16
    error = np.asarray(rows[:33], np.float32) - io["rows"]
    assert 1e-4 < np.sqrt(np.mean(error**2)) < 0.05 * np.sqrt(np.mean(io["rows"] ** 2))


def test_public_shape():
    """UMT5-XXL: 5.68 billion parameters in 24 blocks, under 242 keys."""
    cfg = umt5.UMT5Config(param_dtype="bfloat16")
    leaves = jax.tree.leaves(umt5.abstract(cfg))
    assert sum(np.prod(leaf.shape) for leaf in leaves) == 256384 * 4096 + 24 * 192_948_224 + 4096 == 5_680_910_336
    for layout in ("original", "transformers"):
        assert sum(len(slot.keys) for slot in umt5.NETWORK.slots(cfg, layout)) == 2 + 24 * 10
    ids = jax.ShapeDtypeStruct((512,), jnp.int32)
    assert jax.eval_shape(lambda e, i, m: e(i, m), umt5.abstract(cfg), ids, ids).shape == (512, 4096)


def test_errors(encoder, folder, tmp_path):
    ids = np.zeros(4, np.int32)
    with pytest.raises(ValueError, match="ids"):
        encoder(ids, ids[:3])
    with pytest.raises(ValueError, match="integers"):
        encoder(ids.astype(np.float32), ids)
    with pytest.raises(ValueError, match="ids: from 0 to 40, expected 0 to 39"):
        encoder(np.array([0, 40]), np.ones(2))
    broken = weights()
    broken["more"] = broken.pop("encoder.block.1.layer.0.SelfAttention.o.weight")
    save_file(broken, tmp_path / "a.safetensors")
    with pytest.raises(
        ValueError, match=r"a.safetensors: .*1 missing tensors \(encoder.block.1.*SelfAttention.o.*more"
    ):
        wan.load_text_encoder(tmp_path / "a.safetensors")
    broken = weights()
    broken["encoder.block.0.layer.1.DenseReluDense.wi_0.weight"] = np.zeros((20, 11), np.float32)
    save_file(broken, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"wi_0.weight has shape \(20, 11\), expected \(20, 12\)"):
        wan.load_text_encoder(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="not a UMT5 config: .*buckets must be"):
        wan.load_text_encoder(folder, buckets=30)
    with pytest.raises(ValueError, match="unexpected keyword argument 'head'"):
        wan.load_text_encoder(folder, head=4)
    save_file({"norm.weight": np.ones(3, np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="a.safetensors: not a UMT5 encoder: neither"):
        wan.load_text_encoder(tmp_path / "a.safetensors")


@pytest.mark.parity
def test_against_transformers(tmp_path):
    """Another shape, loaded from what transformers saves; rows that are not padding."""
    from tests.models import make_text_fixtures as make

    config = {"vocab_size": 64, "d_model": 16, "d_kv": 8, "num_heads": 4, "d_ff": 24, "num_layers": 3}
    theirs = make.randomised(config, seed=3)
    theirs.save_pretrained(tmp_path / "text_encoder")
    ours = wan.load_text_encoder(tmp_path)
    assert ours.cfg == umt5.UMT5Config(64, 16, 24, 4, 8, 3)
    ids, mask = np.random.default_rng(1).integers(1, 64, 150), np.ones(150, np.int32)
    mask[141:] = 0
    expected = make.run(theirs, ids, mask)[:141]
    assert np.abs(RUN(ours, ids, mask)[:141] - expected).max() <= 5e-5 and np.abs(expected).max() > 1


@pytest.mark.parity
def test_public_keys_and_shapes():
    """UMT5-XXL as transformers builds it, without memory."""
    import torch
    from transformers import UMT5Config, UMT5EncoderModel

    config = {"vocab_size": 256384, "d_model": 4096, "d_kv": 64, "num_heads": 64, "d_ff": 10240, "num_layers": 24}
    with torch.device("meta"):
        state = UMT5EncoderModel(UMT5Config(**config)).state_dict()
    slots = umt5.NETWORK.slots(umt5.UMT5Config(), "transformers")
    ours = {key: slot.shape for slot in slots for key in slot.keys}
    assert ours == {k: tuple(v.shape) for k, v in state.items() if k != "encoder.embed_tokens.weight"}
