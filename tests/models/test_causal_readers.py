"""Files of causal Wan models as they were published: wrappers in their names, several networks in one, folders."""

import json
import pathlib
import shutil

import chex
import jax
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

from vrjax.files import pth_writer
from vrjax.models import causal, wan

HERE = pathlib.Path(__file__).parent / "fixtures" / "causal"


@pytest.fixture(scope="module")
def weights():
    return load_file(HERE / "model.safetensors")


def torch_file(path: pathlib.Path, networks: dict[str, dict[str, np.ndarray]]) -> pathlib.Path:
    """As torch.save writes a dict of state dicts, and the public config beside it."""
    every = {prefix + name: array for prefix, held in networks.items() for name, array in held.items()}
    shapes = {name: (array.shape, array.dtype) for name, array in every.items()}
    pth_writer.write(path, shapes, iter(every.values()))
    shutil.copyfile(HERE / "config.json", path.parent / "config.json")
    return path


def moved(weights, by: float):
    return {name: array + np.float32(by) for name, array in weights.items()}


PREFIXES = (
    ("generator_ema.model.", "generator.model."),
    ("generator_ema.model._fsdp_wrapped_module.", "critic.model."),
    ("generator.model.", "critic.model."),
    ("model.", "critic."),
    ("module.", "critic.model."),
    ("", None),
)


@pytest.mark.parametrize("taken, other", PREFIXES)
def test_names_are_stripped_and_the_average_is_preferred(tmp_path, weights, taken, other):
    path = torch_file(tmp_path / "some.pt", ({} if other is None else {other: moved(weights, 1)}) | {taken: weights})
    chex.assert_trees_all_equal(jax.tree.leaves(causal.load_dit(path)), jax.tree.leaves(causal.load_dit(HERE)))


def test_another_network_of_the_file_by_its_name(tmp_path, weights):
    held = {"generator_ema.model.": weights, "generator.model.": moved(weights, 1)}
    path = torch_file(tmp_path / "some.pt", held)
    own, average = (causal.load_dit(path, network=name) for name in ("generator", "generator_ema"))
    np.testing.assert_allclose(own.head.bias[...] - average.head.bias[...], 1, rtol=1e-6)
    with pytest.raises(ValueError, match="expected Wan's tensors under critic, found them under 'generator.model.', "):
        causal.load_dit(path, network="critic")


def test_wrappers_within_names(tmp_path, weights):
    """FSDP that wraps by size leaves its name in the middle, too."""
    within = {name.replace("blocks.1.", "blocks.1._fsdp_wrapped_module."): array for name, array in weights.items()}
    path = torch_file(tmp_path / "some.pt", {"generator_ema.model._fsdp_wrapped_module.": within})
    chex.assert_trees_all_equal(jax.tree.leaves(causal.load_dit(path)), jax.tree.leaves(causal.load_dit(HERE)))


def test_all_keys_are_required(tmp_path, weights):
    less = {name: array for name, array in weights.items() if name != "blocks.2.ffn.0.bias"}
    path = torch_file(tmp_path / "some.pt", {"model._fsdp_wrapped_module.": less})
    with pytest.raises(ValueError, match=r"some\.pt: .*1 missing tensors \(blocks\.2\.ffn\.0\.bias\)"):
        causal.load_dit(path)
    path = torch_file(tmp_path / "more.pt", {"model.": weights | {"blocks.0.extra.weight": np.zeros(3, np.float32)}})
    with pytest.raises(ValueError, match=r"more\.pt: .*1 unexpected tensors \(blocks\.0\.extra\.weight\)"):
        causal.load_dit(path)
    path = torch_file(tmp_path / "critic.pt", {"critic.": weights})
    with pytest.raises(ValueError, match="expected Wan's tensors under generator_ema, .*found them under 'critic.'"):
        causal.load_dit(path)


def test_which_file_of_a_folder(tmp_path, weights):
    torch_file(tmp_path / "a.pt", {"": weights})
    np.testing.assert_array_equal(causal.load_dit(tmp_path).head.bias[...], causal.load_dit(HERE).head.bias[...])
    torch_file(tmp_path / "b.pt", {"": weights})
    with pytest.raises(ValueError, match=r"expected model\.safetensors or one file of weights, found a\.pt, b\.pt"):
        causal.load_dit(tmp_path)
    shutil.copyfile(HERE / "model.safetensors", tmp_path / "diffusion_pytorch_model.safetensors")
    causal.load_dit(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="found none"):
        causal.load_dit(tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        causal.load_dit(tmp_path / "missing.pt")


def test_sizes_without_a_config(tmp_path, weights):
    """Heads of 128, as of the public models; a narrower one has to be told."""
    path = torch_file(tmp_path / "some.pt", {"": weights})
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match="pass heads="):
        causal.load_dit(path)
    assert causal.load_dit(path, heads=4).cfg == causal.load_dit(HERE).cfg


def test_the_pipelines_for_whole_clips_do_not_take_them_for_their_own():
    with pytest.raises(ValueError, match="_class_name is 'CausalWanModel'"):
        wan.load_dit(HERE)


def test_other_kinds_are_refused(tmp_path):
    cfg = wan.WanConfig(dim=24, heads=2, ffn_dim=8, layers=1, in_channels=6, out_channels=2, text_dim=4, freq_dim=8)
    wan.save_dit(wan.WanDiT(cfg, rngs=nnx.Rngs(0)), tmp_path / "m" / "model.safetensors", layout="original")
    with pytest.raises(ValueError, match="6 channels in, 2 out, expected text-to-video"):
        causal.load_dit(tmp_path / "m")
    assert json.loads((HERE / "config.json").read_text())["_class_name"] == "CausalWanModel"
