"""LoRA files: every key style gives the same change, which is the one that the formula says; errors name the key."""

import dataclasses
import functools
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from vrjax.models import wan
from vrjax.models.wan import lora_files, lora_keys
from vrjax.models.wan.lora_files import merge

CFG = wan.WanConfig(
    dim=12, ffn_dim=20, heads=1, layers=2, in_channels=3, out_channels=2, text_dim=5, freq_dim=8, image_dim=6
)
RANK, ALPHA = 3, 1.5
RNG = np.random.default_rng(0)
TARGETS = {  # original module -> (out, in); both blocks
    "self_attn.q": (12, 12),
    "self_attn.o": (12, 12),
    "cross_attn.k_img": (12, 12),
    "ffn.0": (20, 12),
    "ffn.2": (12, 20),
}
DIFFUSERS = {
    "self_attn.q": "attn1.to_q",
    "self_attn.o": "attn1.to_out.0",
    "cross_attn.k_img": "attn2.add_k_proj",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
}
normal = lambda *shape: RNG.standard_normal(shape).astype(np.float32)
PAIRS = {
    (block, name): (normal(RANK, n_in), normal(n_out, RANK))
    for block in range(2)
    for name, (n_out, n_in) in TARGETS.items()
}


@functools.cache
def model():
    leaves, tree = jax.tree.flatten(wan.abstract(CFG))
    rng = np.random.default_rng(1)
    return jax.tree.unflatten(tree, [jnp.asarray(rng.standard_normal(a.shape), a.dtype) for a in leaves])


def files_weights(dit, folder):
    """The weights under the original's keys."""
    wan.save_dit(dit, folder / "dit.safetensors", layout="original")
    return load_file(folder / "dit.safetensors")


def style(make, alpha=True):
    """A file's tensors: `make(block, module)` gives the start of a key and its two endings."""
    out = {}
    for (block, name), (a, b) in PAIRS.items():
        start, down, up = make(block, name)
        out |= {start + down: a, start + up: b}
        if alpha:
            out[start + ".alpha"] = np.array(ALPHA, np.float32)
    return out


AB, DU = (".lora_A.weight", ".lora_B.weight"), (".lora_down.weight", ".lora_up.weight")
DEFAULT = (".lora_A.default.weight", ".lora_B.default.weight")
METADATA = {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": ALPHA, "transformer.r": RANK})}
STYLES = {
    "kijai": (style(lambda i, n: (f"diffusion_model.blocks.{i}.{n}", *DU)), None),
    "comfy": (style(lambda i, n: (f"diffusion_model.blocks.{i}.{n}", *AB)), None),
    "diffusers": (style(lambda i, n: (f"transformer.blocks.{i}.{DIFFUSERS[n]}", *AB), alpha=False), METADATA),
    "peft": (style(lambda i, n: (f"base_model.model.blocks.{i}.{n}", *AB)), None),
    "diffsynth": (style(lambda i, n: (f"pipe.dit.blocks.{i}.{n}", *DEFAULT)), None),
    "bare": (style(lambda i, n: (f"blocks.{i}.{n}", *DEFAULT)), None),
    "musubi": (style(lambda i, n: (f"lora_unet_blocks_{i}_{n.replace('.', '_')}", *DU)), None),
    "dotted": (style(lambda i, n: (f"lora_unet_blocks_{i}.{n}", *DU)), None),
    "transformer": (style(lambda i, n: (f"lora_transformer_blocks_{i}_{DIFFUSERS[n].replace('.', '_')}", *DU)), None),
    "low_noise": (
        style(lambda i, n: (f"transformer_2.blocks.{i}.{DIFFUSERS[n]}", *AB), alpha=False),
        {"lora_adapter_metadata": json.dumps({"transformer_2.lora_alpha": ALPHA, "transformer.lora_alpha": 77})},
    ),
    "musubi_diffusers": (style(lambda i, n: (f"lora_unet__blocks_{i}_{DIFFUSERS[n].replace('.', '_')}", *DU)), None),
}


@pytest.mark.parametrize("name", STYLES)
def test_styles(name, tmp_path):
    """All give the adapter of the formula, stacked over blocks."""
    arrays, metadata = STYLES[name]
    save_file(arrays, tmp_path / "lora.safetensors", metadata=metadata)
    adapter = wan.load_lora(tmp_path / "lora.safetensors").adapter(CFG)
    assert sorted(adapter) == [
        "blocks.cross_attn.k_img.kernel",
        "blocks.ffn_in.kernel",
        "blocks.ffn_out.kernel",
        "blocks.self_attn.o.kernel",
        "blocks.self_attn.q.kernel",
    ]
    ours = dict(
        zip(sorted(TARGETS), ("cross_attn.k_img", "ffn_in", "ffn_out", "self_attn.o", "self_attn.q"), strict=True)
    )
    for (block, module), (a, b) in PAIRS.items():
        found = adapter[f"blocks.{ours[module]}.kernel"]
        np.testing.assert_allclose(
            found["a"][block] @ found["b"][block], ALPHA / RANK * (b @ a).T, rtol=1e-5, atol=1e-6
        )


def test_merge_and_train_adapters_agree(tmp_path):
    """Merging here, and through the trainer's adapters; only the named weights change."""
    from vrjax.train import lora as train_lora

    save_file(STYLES["kijai"][0], tmp_path / "lora.safetensors")
    lora = wan.load_lora(tmp_path / "lora.safetensors")
    before, after = files_weights(model(), tmp_path), files_weights(merge(model(), lora), tmp_path)
    for (block, module), (a, b) in PAIRS.items():
        key = f"blocks.{block}.{module}.weight"
        np.testing.assert_allclose(after[key], before[key] + ALPHA / RANK * b @ a, rtol=1e-5, atol=1e-5)
    changed = {key for key in before if (before[key] != after[key]).any()}
    assert changed == {f"blocks.{block}.{module}.weight" for block, module in PAIRS}

    kernels = {"blocks": {"ffn_in": {"kernel": model().blocks.ffn_in.kernel[...]}}}
    part = {key: value for key, value in lora.adapter(CFG).items() if "ffn_in" in key}
    apart = train_lora.merge(kernels, part)["blocks"]["ffn_in"]["kernel"]
    np.testing.assert_allclose(apart, merge(model(), lora).blocks.ffn_in.kernel[...], rtol=1e-5, atol=1e-5)


def test_several_files_with_weights(tmp_path):
    """Differences add up with their weights; ranks and blocks may differ."""
    first = {k: v for k, v in STYLES["kijai"][0].items() if ".blocks.1." in k and "ffn.0" in k}
    second = {"blocks.1.ffn.0.lora_A.weight": normal(1, 12), "blocks.1.ffn.0.lora_B.weight": normal(20, 1)}
    second |= {"blocks.0.ffn.0.lora_A.weight": normal(5, 12), "blocks.0.ffn.0.lora_B.weight": normal(20, 5)}
    save_file(first, tmp_path / "a.safetensors")
    save_file(second, tmp_path / "b.safetensors")
    loras = [(wan.load_lora(tmp_path / "a.safetensors"), 0.5), (wan.load_lora(tmp_path / "b.safetensors"), -2.0)]
    before, after = files_weights(model(), tmp_path), files_weights(merge(model(), loras), tmp_path)
    a, b = PAIRS[1, "ffn.0"]
    change = [second[f"blocks.{i}.ffn.0.lora_B.weight"] @ second[f"blocks.{i}.ffn.0.lora_A.weight"] for i in range(2)]
    for i, expected in enumerate((-2 * change[0], 0.5 * ALPHA / RANK * b @ a - 2 * change[1])):
        key = f"blocks.{i}.ffn.0.weight"
        np.testing.assert_allclose(after[key] - before[key], expected, rtol=1e-4, atol=1e-5)


FULL = {  # key of a full difference -> original key that it changes
    "diffusion_model.blocks.1.self_attn.q.diff_b": "blocks.1.self_attn.q.bias",
    "diffusion_model.blocks.0.self_attn.norm_k.diff": "blocks.0.self_attn.norm_k.weight",
    "diffusion_model.blocks.0.norm3.diff": "blocks.0.norm3.weight",
    "diffusion_model.blocks.0.norm3.diff_b": "blocks.0.norm3.bias",
    "diffusion_model.blocks.1.diff_m": "blocks.1.modulation",
    "diffusion_model.head.head.diff": "head.head.weight",
    "diffusion_model.head.diff_m": "head.modulation",
    "diffusion_model.patch_embedding.diff": "patch_embedding.weight",
    "diffusion_model.time_projection.1.diff_b": "time_projection.1.bias",
    "transformer.condition_embedder.text_embedder.linear_1.lora_B.bias": "text_embedding.0.bias",
    "diffusion_model.img_emb.proj.0.diff": "img_emb.proj.0.weight",
}


def test_full_differences(tmp_path):
    """Every kind of parameter, beside a low-rank convolution."""
    before = files_weights(model(), tmp_path)
    arrays = {key: normal(*before[target].shape) for key, target in FULL.items()}
    del arrays["diffusion_model.patch_embedding.diff"]
    a, b = normal(2, 3, 1, 2, 2), normal(12, 2, 1, 1, 1)
    arrays |= {"patch_embedding.lora_A.weight": a, "patch_embedding.lora_B.weight": b}
    save_file(arrays, tmp_path / "lora.safetensors")
    lora = wan.load_lora(tmp_path / "lora.safetensors")
    after = files_weights(merge(model(), [(lora, 0.5)]), tmp_path)
    expected = {FULL[key]: value for key, value in arrays.items() if key in FULL}
    expected["patch_embedding.weight"] = np.einsum("ocxyz,cipqr->oipqr", b, a)
    for key in before:
        np.testing.assert_allclose(after[key], before[key] + 0.5 * expected.get(key, 0), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="10 full differences .* fit no adapter: use merge"):
        lora.adapter(CFG)


def test_merging_in_place(tmp_path):
    """The same weights, in the arrays that were there; without `donate` the module is left as it was."""
    full = {key: v for key, v in FULL.items() if "lora_B" not in key}
    before = files_weights(model(), tmp_path)
    arrays = STYLES["kijai"][0] | {key: normal(*before[target].shape) for key, target in full.items()}
    save_file(arrays, tmp_path / "lora.safetensors")
    lora = wan.load_lora(tmp_path / "lora.safetensors")
    wanted = merge(model(), lora)
    assert all((before[key] == v).all() for key, v in files_weights(model(), tmp_path).items())
    own = jax.tree.map(jnp.copy, model())
    places = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(own)]
    found = merge(own, lora, donate=True)
    assert [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(found)] == places
    chex.assert_trees_all_equal(found, wanted)


def test_dtypes(tmp_path):
    """bfloat16 files and float8 alphas are read; the model's dtype stays."""
    arrays = {k: v.astype(jnp.bfloat16) for k, v in STYLES["comfy"][0].items()}
    save_file(arrays, tmp_path / "lora.safetensors")
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), model())
    merged = merge(half, wan.load_lora(tmp_path / "lora.safetensors"))
    assert all(a.dtype == jnp.bfloat16 for a in jax.tree.leaves(merged))
    a, b = (p.astype(jnp.bfloat16).astype(np.float32) for p in PAIRS[1, "self_attn.q"])
    expected = np.asarray(half.blocks.self_attn.q.kernel[...][1], np.float32) + 0.5 * (b @ a).T
    found = np.asarray(merged.blocks.self_attn.q.kernel[...][1], np.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-2)


def test_alpha(tmp_path):
    """The file's tensor first, then PEFT's config, then the argument, else the rank."""
    arrays = {k: v for k, v in STYLES["peft"][0].items() if "blocks.0.ffn.0" in k}
    file, place = tmp_path / "adapter_model.safetensors", ("blocks.ffn_in.kernel", 0)
    factor = lambda **options: wan.load_lora(tmp_path, **options).pairs[place].factor
    save_file(arrays, file)
    assert factor(alpha=99) == pytest.approx(ALPHA / RANK)
    save_file({k: v for k, v in arrays.items() if "alpha" not in k}, file)
    assert factor() == 1 and factor(alpha=6) == 2
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 12, "r": 3}')
    assert factor(alpha=6) == 4
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 12, "r": 3, "use_rslora": true}')
    assert factor() == pytest.approx(12 / 3**0.5)
    for text in ('{"lora_alpha": "x"}', '{"lora_alpha": NaN}', '{"lora_alpha": 1, "alpha_pattern": {"q": 2}}', "["):
        (tmp_path / "adapter_config.json").write_text(text)
        with pytest.raises(ValueError, match="adapter_config.json: "):
            factor()


Q = "diffusion_model.blocks.0.self_attn.q"
PAIR = {f"{Q}.lora_down.weight": np.ones((2, 12), np.float32), f"{Q}.lora_up.weight": np.ones((12, 2), np.float32)}
WRONG = {
    "half": ({f"{Q}.lora_down.weight": PAIR[f"{Q}.lora_down.weight"]}, "1 keys without their partner .*q.lora_down"),
    "lone alpha": (PAIR | {"blocks.0.ffn.0.alpha": np.ones(())}, "1 keys without their partner .*ffn.0.alpha"),
    "unknown module": ({"blocks.0.attn7.q.diff": np.ones(3)}, "blocks.0.attn7.q.diff belongs to no part"),
    "unknown ending": (PAIR | {f"{Q}.dora_scale": np.ones(3)}, "a file of DoRA .*q.dora_scale.*which is not read"),
    "peft's DoRA": (PAIR | {f"{Q}.lora_magnitude_vector.weight": np.ones(12)}, "a file of DoRA"),
    "LoKr": ({f"{Q}.lokr_w1": np.ones((2, 2)), f"{Q}.lokr_w2": np.ones((6, 6))}, "a file of LoKr .*q.lokr_w"),
    "LoHa": ({f"{Q}.hada_w1_a": np.ones((2, 2))}, "a file of LoHa"),
    "nan": (
        PAIR | {f"{Q}.lora_up.weight": np.full((12, 2), np.nan)},
        "lora_up.weight has 24 values of 24 that",
    ),
    "infinite": ({f"{Q}.diff_b": np.array([1, np.inf])}, "q.diff_b has 1 values of 2 that are not finite"),
    "int8": (PAIR | {f"{Q}.lora_up.weight": np.ones((12, 2), np.int8)}, "holds int8 weights without scales"),
    "no kernel": ({"blocks.0.norm3.lora_A.weight": np.ones((1, 3))}, "norm3.lora_A.weight belongs to no part"),
    "ranks": (
        PAIR | {f"{Q}.lora_up.weight": np.ones((12, 3))},
        r"lora_down.weight \(2, 12\) and .*lora_up.*do not fit",
    ),
    "twice": (PAIR | {"blocks.0.attn1.to_q.lora_A.weight": np.ones((2, 12))}, "change the same parameter"),
    "modulation twice": (
        {"blocks.0.diff_m": np.ones((1, 6, 12)), "blocks.0.modulation.diff": np.ones((1, 6, 12))},
        "same",
    ),
    "alpha shape": (PAIR | {f"{Q}.alpha": np.ones(2)}, r"q.alpha has shape \(2,\), expected one number"),
    "alpha nan": (PAIR | {f"{Q}.alpha": np.array(np.nan)}, r"q.alpha"),
    "empty": ({}, "no LoRA tensors"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files(name, tmp_path):
    arrays, match = WRONG[name]
    save_file(arrays, tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match=f"bad.safetensors: .*{match}"):
        wan.load_lora(tmp_path / "bad.safetensors")


UNFIT = {
    "block": {"blocks.2.self_attn.q.diff_b": np.ones(12)},
    "shape": {"blocks.0.self_attn.q.diff_b": np.ones(11)},
    "width": {k.replace("q.", "v."): v[..., :9] if "down" in k else v for k, v in PAIR.items()},
    "positions": {"img_emb.emb_pos.diff": np.ones((1, 4, 6))},
}


@pytest.mark.parametrize("name", UNFIT)
def test_other_models(name, tmp_path):
    """A file of another model is refused by merge and by adapter, before anything is added."""
    save_file({k: v.astype(np.float32) for k, v in UNFIT[name].items()}, tmp_path / "bad.safetensors")
    lora = wan.load_lora(tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match="bad.safetensors: .*(which this model does not have|the model's .* has)"):
        merge(model(), lora)


@pytest.mark.parametrize("prefixes", [("transformer", "transformer_2"), ("pipe.dit", "pipe.dit2")])
def test_a_file_of_both_experts(prefixes, tmp_path):
    """Each expert gets its own part, with its own strength; which one must be said."""
    arrays = {}
    for i, prefix in enumerate(prefixes):
        for ab, x in zip("AB", PAIRS[0, "ffn.0"], strict=True):
            arrays[f"{prefix}.blocks.0.ffn.0.lora_{ab}.weight"] = (i + 1) * x
    about = {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 6, "transformer_2.lora_alpha": 12})}
    save_file(arrays, tmp_path / "a.safetensors", metadata=about)
    a, b = PAIRS[0, "ffn.0"]
    for expert, scale, factor in (("high", 1, 6 / RANK), ("low", 2, 12 / RANK)):
        found = wan.load_lora(tmp_path / "a.safetensors", expert=expert).pairs["blocks.ffn_in.kernel", 0]
        np.testing.assert_array_equal(found.a, scale * a.T)
        assert found.factor == factor
    assert lora_keys.experts(tmp_path / "a.safetensors") == ("high", "low")
    with pytest.raises(ValueError, match="holds parts of both experts.*say expert='high' or 'low'"):
        wan.load_lora(tmp_path / "a.safetensors")
    save_file({k: v for k, v in arrays.items() if k.startswith(prefixes[1])}, tmp_path / "b.safetensors")
    assert wan.load_lora(tmp_path / "b.safetensors").pairs.keys() == {("blocks.ffn_in.kernel", 0)}
    with pytest.raises(ValueError, match="its keys name the low expert, asked for is the high one"):
        wan.load_lora(tmp_path / "b.safetensors", expert="high")


def test_image_attention_is_left_out_when_asked(tmp_path):
    """Of a model without it; counted. A model that has it gets it all."""
    save_file(STYLES["kijai"][0] | {"diffusion_model.img_emb.proj.1.diff_b": np.ones(6)}, tmp_path / "a.safetensors")
    lora, text = wan.load_lora(tmp_path / "a.safetensors"), dataclasses.replace(CFG, image_dim=None)
    with pytest.raises(ValueError, match="k_img.* of block 0, which this model does not have .*can be left out"):
        lora.check(text)
    kept, left = lora.without_image(text)
    assert left == 3 and len(kept.pairs) == len(PAIRS) - 2  # two blocks' k_img, and the embedding's bias
    kept.check(text)
    assert lora.without_image(CFG) == (lora, 0)


@pytest.mark.parametrize("rows", [False, True])
def test_scaled_fp8(rows, tmp_path):
    fp8 = jnp.float8_e4m3fn
    a, b = PAIRS[0, "ffn.0"]
    scale = np.full((len(b), 1) if rows else (), 0.25, np.float32)
    arrays = {"blocks.0.ffn.0.lora_down.weight": a.astype(fp8)}
    arrays |= {"blocks.0.ffn.0.lora_up.weight": b.astype(fp8)}
    arrays |= {"blocks.0.ffn.0.lora_up.scale_weight": scale, "scaled_fp8": np.zeros(2, fp8)}
    save_file(arrays, tmp_path / "a.safetensors")
    found = wan.load_lora(tmp_path / "a.safetensors").pairs["blocks.ffn_in.kernel", 0]
    np.testing.assert_array_equal(found.b, (b.astype(fp8).astype(np.float32) * 0.25).T)
    np.testing.assert_array_equal(found.a.astype(np.float32), a.astype(fp8).T.astype(np.float32))


@pytest.mark.parity
def test_against_diffusers_conversion(tmp_path):
    """diffusers' own conversions of Kijai's and musubi's files give the same adapters."""
    import torch
    from diffusers.loaders import lora_conversion_utils as theirs

    for name, convert in (
        ("kijai", theirs._convert_non_diffusers_wan_lora_to_diffusers),
        ("musubi", theirs._convert_musubi_wan_lora_to_diffusers),
    ):
        start = "diffusion_model.blocks.{}.{}" if name == "kijai" else "lora_unet_blocks_{}_{}"
        arrays = {}
        for i in range(2):
            for module in [f"{a}.{p}" for a in ("self_attn", "cross_attn") for p in "qkvo"] + ["ffn.0", "ffn.2"]:
                n_out, n_in = {"ffn.0": (20, 12), "ffn.2": (12, 20)}.get(module, (12, 12))
                key = start.format(i, module if name == "kijai" else module.replace(".", "_"))
                arrays |= {f"{key}.lora_down.weight": normal(4, n_in), f"{key}.lora_up.weight": normal(n_out, 4)}
                arrays[f"{key}.alpha"] = np.array(0.5, np.float32)
        save_file(arrays, tmp_path / "ours.safetensors")
        converted = convert({k: torch.as_tensor(v) for k, v in arrays.items()})
        save_file({k: v.numpy() for k, v in converted.items()}, tmp_path / "theirs.safetensors")
        a, b = (wan.load_lora(tmp_path / f"{who}.safetensors").adapter(CFG) for who in ("ours", "theirs"))
        assert a.keys() == b.keys() and len(a) == 10
        for key in a:
            np.testing.assert_allclose(a[key]["a"] @ a[key]["b"], b[key]["a"] @ b[key]["b"], rtol=1e-5, atol=1e-6)


def test_every_weight_can_change():
    """The table of names reaches every parameter of the largest config in both layouts."""
    reached = set(lora_keys._known().values())
    full = wan.WanConfig(dim=12, ffn_dim=12, heads=1, layers=1, freq_dim=2, image_dim=1, image_positions=1)
    paths = [lora_files.weights.attributes(path) for path, _ in jax.tree_util.tree_leaves_with_path(wan.abstract(full))]
    assert reached == set(paths) and isinstance(wan.abstract(full), nnx.Module)
