"""Files of ViMoGen's weights: the public names, what is reported, a start from Wan, and what is refused."""

import dataclasses
import json
import shutil

import chex
import jax
import numpy as np
import pytest
from flax import nnx

from tests.models.test_motion_dit import FIXTURES, SMALL, SPLIT, build, draw
from vrjax.files import pth_writer, tensors
from vrjax.models import family, wan
from vrjax.models import motion as models
from vrjax.train import lora

PE = ("motion_pos_embedding.pe", "ref_motion_pos_embedding.pe")
WAN = wan.WanConfig(
    dim=24, ffn_dim=16, heads=4, layers=3, in_channels=3, out_channels=3, text_dim=6, freq_dim=8, image_dim=5
)


def arrays(path):
    source = tensors.read(path)
    return {name: np.array(source[name]) for name in source.shapes}


def write(path, values):
    """A file of torch.save's kind or safetensors, by its suffix."""
    shapes = {name: (value.shape, value.dtype) for name, value in values.items()}
    if path.suffix == ".pt":
        pth_writer.write(path, shapes, values.values())
    else:
        tensors.write(path, shapes, values.values(), {})
    return path


@pytest.fixture(scope="module")
def public():
    return arrays(FIXTURES / "model.pt")


@pytest.fixture
def folder(tmp_path):
    """A folder with the public config alone."""
    shutil.copy(FIXTURES / "config.json", tmp_path)
    return tmp_path


def test_the_public_file(public, folder):
    """By its path, by its folder, and as safetensors without the tables; every tensor arrives where it belongs."""
    dit = models.load_dit(FIXTURES / "model.pt")
    assert (dit.cfg.dim, dit.cfg.heads, dit.cfg.layers, dit.cfg.reference_layers) == (18, 3, 4, 2)
    assert dit.report.ignored == PE and not dit.report.missing and not dit.report.unexpected
    assert all(name in str(dit.report) for name in PE)
    of_block = public["blocks.2.ref_motion_cross_attn.k.weight"].T
    np.testing.assert_array_equal(dit.blocks.reference_attn.k.kernel[2], of_block)
    np.testing.assert_array_equal(dit.reference_encoder.modulation[1], public["ref_motion_encoder.1.modulation"][0])
    assert sum(leaf.size for leaf in jax.tree.leaves(dit)) == sum(v.size for k, v in public.items() if k not in PE)
    chex.assert_trees_all_equal(models.load_dit(FIXTURES), dit)
    write(folder / "model.safetensors", {name: value for name, value in public.items() if name not in PE})
    (folder / "model.pt").write_bytes(b"not read")  # safetensors win
    again = models.load_dit(folder)
    chex.assert_trees_all_equal(again, dit)
    assert again.report.ignored == () and "every tensor" in str(again.report)


def test_the_tables_of_the_file_are_the_ones_that_are_computed(public):
    from vrjax.models.motion import blocks

    for name in PE:
        np.testing.assert_allclose(blocks.positions(200, 18), public[name][:200, 0], atol=6e-6)
    with pytest.raises(ValueError, match="5001 frames, expected at most 5000"):
        blocks.positions(5001, 18)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_half_precision_files(public, folder, suffix):
    """What the public trainer saves: bfloat16 throughout; norms and modulation are float32 here all the same."""
    half = {name: value.astype(jax.numpy.bfloat16) for name, value in public.items()}
    dit = models.load_dit(write(folder / f"model{suffix}", half), param_dtype="bfloat16", dtype="bfloat16")
    assert dit.motion_embedding.kernel.dtype == jax.numpy.bfloat16 and dit.blocks.modulation.dtype == np.float32
    np.testing.assert_array_equal(dit.blocks.ffn_in.kernel[0], half["blocks.0.ffn.0.weight"].T)
    assert np.isfinite(jax.jit(lambda d: d(draw(4, 276), 3.0, draw(226, 28)).v)(dit)).all()


@pytest.mark.parametrize("cfg", [SMALL, SPLIT, dataclasses.replace(SMALL, reference_channels=None)])
def test_round_trip(cfg, tmp_path):
    """With our metadata, and by the public config and shapes alone; which public class it is, tensors tell."""
    dit = build(cfg)
    models.save_dit(dit, tmp_path / "model")
    chex.assert_trees_all_equal(models.load_dit(tmp_path / "model"), dit)
    said = json.loads((tmp_path / "model" / "config.json").read_text())
    assert said["_class_name"] == ("WanModelT2M" if cfg.reference_channels is None else "WanModelTM2M")
    held = arrays(tmp_path / "model")
    write(tmp_path / "model" / "model.safetensors", held)  # without metadata
    bare = models.load_dit(tmp_path / "model", text_len=cfg.text_len)
    chex.assert_trees_all_equal(bare, dit)
    assert bare.cfg == cfg
    alone = write(tmp_path / "other.pt", held)
    with pytest.raises(ValueError, match="other.pt: no config.json states its heads, and dim 16 .* pass heads="):
        models.load_dit(alone)
    chex.assert_trees_all_equal(models.load_dit(alone, heads=4, text_len=cfg.text_len), dit)


def test_what_is_predicted_stands_beside_the_weights(tmp_path):
    """A file without vrjax's own metadata is still not read as a network of velocities."""
    models.save_dit(build(dataclasses.replace(SMALL, predicts="clean")), tmp_path)
    write(tmp_path / "model.safetensors", arrays(tmp_path / "model.safetensors"))
    assert models.load_dit(tmp_path).cfg.predicts == "clean"
    said = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(said | {"predicts": "noise"}))
    with pytest.raises(ValueError, match="predicts='noise', expected one of velocity, clean"):
        models.load_dit(tmp_path)
    models.save_dit(build(SMALL), tmp_path / "public")
    assert "predicts" not in json.loads((tmp_path / "public" / "config.json").read_text())


def test_missing_and_unexpected_tensors(public, folder):
    less = {name: value for name, value in public.items() if name != "blocks.1.norm4.weight"}
    file = write(folder / "model.pt", less | {"blocks.0.extra.weight": np.ones(3, np.float32)})
    with pytest.raises(
        ValueError, match=r"1 missing tensors .blocks.1.norm4.weight.; 1 unexpected tensors .blocks.0.ex"
    ):
        models.load_dit(file)
    dit = models.load_dit(file, strict=False)
    assert dit.report == models.Report() and hash(dit.report) == hash(models.Report())  # no reason to compile again
    assert dit.report.missing == ("blocks.1.norm4.weight",) and dit.report.unexpected == ("blocks.0.extra.weight",)
    whole = models.load_dit(FIXTURES)
    np.testing.assert_array_equal(dit.blocks.norm4.scale[1], np.ones(18))  # as it starts
    others = jax.tree.map(lambda a, b: bool((a == b).all()), dit, whole)
    assert jax.tree.leaves(others).count(False) == 1
    wrong = write(folder / "wrong.pt", public | {"blocks.0.norm3.weight": np.ones(17, np.float32)})
    with pytest.raises(ValueError, match=r"blocks.0.norm3.weight has shape .17,., expected .18,."):
        models.load_dit(wrong, strict=False)


def test_bad_files(public, folder):
    """One line each, that names the file; nothing in them is run."""
    whole = (FIXTURES / "model.pt").read_bytes()
    (folder / "torn.pt").write_bytes(whole[: len(whole) // 2])
    write(folder / "other.safetensors", {"patch_embedding.weight": np.ones((2, 2), np.float32)})
    lone = {name: value for name, value in public.items() if not name.startswith("blocks.2.")}
    write(folder / "gap.pt", lone)
    for name, message in (("torn.pt", "torn.pt"), ("other.safetensors", "not a ViMoGen transformer"),
                          ("gap.pt", "no tensors of block blocks.2")):  # fmt: skip
        with pytest.raises(ValueError, match=message) as error:
            models.load_dit(folder / name)
        assert "\n" not in str(error.value) and name in str(error.value)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        models.load_dit(folder / "nowhere")
    (folder / "other.safetensors").unlink()
    with pytest.raises(ValueError, match=r"2 candidates, expected one: gap.pt, torn.pt"):
        models.load_dit(folder)
    shutil.copy(FIXTURES / "model.pt", folder)
    said = json.loads((folder / "config.json").read_text())
    for change, message in (({"num_heads": "3"}, "num_heads"), ({"num_layers": 9}, "9 layers|missing"),
                            ({"dim": 20}, "config"), ({"num_heads": 0}, "num_heads")):  # fmt: skip
        (folder / "config.json").write_text(json.dumps(said | change))
        with pytest.raises(ValueError, match=message):
            models.load_dit(folder / "model.pt")


# ----------------------------------------------------------------------------------------------------------- starts


@pytest.fixture(scope="module")
def video():
    return wan.WanDiT(WAN, rngs=nnx.Rngs(0))


def test_a_start_from_wan(video, tmp_path):
    """The parts of the same name are the video network's, the others random, and the report says which by key."""
    wan.save_dit(video, tmp_path / "wan")  # read from files in diffusers' layout
    dit = models.from_wan(tmp_path / "wan", jax.random.key(0), channels=10, reference_channels=7, text_len=5)
    assert dit.cfg.layers == 3 and dit.cfg.reference_layers == 1
    for part in ("self_attn", "norm3", "ffn_in", "ffn_out", "modulation"):
        chex.assert_trees_all_equal(getattr(dit.blocks, part), getattr(video.blocks, part))
    chex.assert_trees_all_equal(dit.blocks.cross_attn.k, video.blocks.cross_attn.k)
    chex.assert_trees_all_equal(dit.time_projection, video.time_projection)
    report = dit.report
    assert "blocks.2.cross_attn.norm_k.weight" in report.transferred and "text_embedding.2.bias" in report.transferred
    random = {"blocks.0.norm4.weight", "motion_head.head.weight", "ref_motion_encoder.0.ffn.2.bias"}
    assert random <= set(report.missing)
    assert {"patch_embedding.weight", "head.modulation", "blocks.1.cross_attn.k_img.weight"} <= set(report.ignored)
    models.save_dit(dit, tmp_path / "motion")
    assert set(report.transferred) | set(report.missing) == set(arrays(tmp_path / "motion"))
    assert not set(report.transferred) & set(report.missing)
    chex.assert_trees_all_equal(models.from_wan(video, jax.random.key(0), dit.cfg), dit)


def test_the_random_part_is_the_public_one():
    """No layer of zeros; Xavier's bound; the text's and the time's embeddings are small, as Wan's are."""
    cfg = models.MotionConfig(dim=64, ffn_dim=96, heads=4, layers=2, text_dim=48)
    dit = jax.jit(models.init, static_argnums=0)(cfg, jax.random.key(1))
    kernel = np.abs(dit.motion_head.head.kernel[...])
    assert 0.9 < kernel.max() / np.sqrt(6 / (64 + 276)) <= 1 and not np.asarray(dit.motion_head.head.bias).any()
    assert np.std(dit.reference_encoder.modulation[...]) == pytest.approx(1 / 8, rel=0.15)
    assert np.std(dit.text_in.kernel[...]) == pytest.approx(0.02, rel=0.1)
    assert not np.array_equal(dit.blocks.reference_attn.q.kernel[0], dit.blocks.cross_attn.q.kernel[0])


def test_a_start_that_does_not_fit(video):
    with pytest.raises(ValueError, match=r"from_wan: \S+ has shape .*, expected .*, and \d+ more"):
        models.from_wan(video, jax.random.key(0), text_dim=7, ffn_dim=20)


def test_adapters_of_both_stacks(tmp_path):
    """PEFT's names over the public keys; merged by hand they are the merged network."""
    of, dit = family.get("motion"), build()
    params = nnx.to_pure_dict(nnx.state(dit))
    adapters = lora.init(params, jax.random.key(0), rank=2, patterns=dit.cfg.TARGETS)
    adapters = jax.tree.map(lambda a: a + 0.1, adapters)
    of.save_adapters(adapters, tmp_path / "a.safetensors", alpha=4.0)
    found = arrays(tmp_path / "a.safetensors")
    merged = lora.merge(params, adapters, alpha=4.0)
    pairs = {
        "ref_motion_encoder.0.ffn.0": "reference_encoder.ffn_in",
        "blocks.0.ref_motion_cross_attn.v": "blocks.reference_attn.v",
    }
    for key, kernel in pairs.items():
        change = (found[f"{key}.lora_B.weight"] @ found[f"{key}.lora_A.weight"]).T
        a, b = params, merged
        for part in kernel.split("."):
            a, b = a[part], b[part]
        np.testing.assert_allclose(b["kernel"][0] - a["kernel"][0], change, atol=1e-5)
