"""WanVAE beside diffusers' AutoencoderKLWan with the same random weights, live; keys and shapes of the public ones."""

import functools

import jax
import numpy as np
import pytest

from vrjax.models import wan
from vrjax.models.wan import vae

pytestmark = pytest.mark.parity

BASE = {"base_dim": 6, "z_dim": 3, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 1} | {
    "temperal_downsample": [True, False, True],
    "latents_mean": [0.1, -0.4, 0.2],
    "latents_std": [1.5, 0.7, 2.0],
}
# 2.2's shortcuts, with other widths and another place of the temporal resampling than the public model's.
CASES = {
    "21": BASE,
    "22": BASE
    | {"is_residual": True, "patch_size": 2, "in_channels": 12, "out_channels": 12, "decoder_base_dim": 4}
    | {"scale_factor_spatial": 16},
}
ENCODE = jax.jit(lambda model, video: model.encode(video))
DECODE = jax.jit(lambda model, latent: model.decode(latent))


@functools.cache
def models(case: str, tmp: str):
    from tests.models import make_vae_fixtures as make

    theirs = make.randomised(CASES[case], seed=5)
    theirs.save_pretrained(f"{tmp}/{case}/vae")
    return theirs, wan.load_vae(f"{tmp}/{case}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("vae"))


@pytest.mark.parametrize("frames", [1, 9])
@pytest.mark.parametrize("case", CASES)
def test_values(case, frames, folder):
    """Encoding and decoding of a single frame and of a clip, against the machine with its caches."""
    from tests.models import make_vae_fixtures as make

    theirs, ours = models(case, folder)
    rng, factor = np.random.default_rng(frames), ours.cfg.space_factor
    video = rng.uniform(-1, 1, (frames, 2 * factor, 3 * factor, 3)).astype(np.float32)
    latent = rng.standard_normal((1 + (frames - 1) // 4, 2, 3, 3)).astype(np.float32)
    for found, expected in (
        (ENCODE(ours, video), make.encode(theirs, video)),
        (DECODE(ours, latent), make.decode(theirs, latent)),
    ):
        assert found.shape == expected.shape and expected.std() > 0.05
        assert np.abs(np.asarray(found) - expected).max() <= 5e-5


def meta_shapes(config):
    import torch
    from diffusers import AutoencoderKLWan

    with torch.device("meta"):
        return {k: tuple(v.shape) for k, v in AutoencoderKLWan(**config).state_dict().items()}


PUBLIC_22 = {
    "base_dim": 160,
    "decoder_base_dim": 256,
    "z_dim": 48,
    "is_residual": True,
    "patch_size": 2,
    "in_channels": 12,
    "out_channels": 12,
    "latents_mean": [0.0] * 48,
    "latents_std": [1.0] * 48,
}


@pytest.mark.parametrize("cfg, config", [(vae.WAN_21, {}), (vae.WAN_22, PUBLIC_22)], ids=["21", "22"])
def test_public_keys_and_shapes(cfg, config):
    slots = vae.NETWORK.slots(cfg, "diffusers")
    assert {slot.keys[0]: slot.shape for slot in slots} == meta_shapes(config)


@pytest.mark.parametrize("cfg, config", [(vae.WAN_21, {}), (vae.WAN_22, PUBLIC_22)], ids=["21", "22"])
def test_original_keys(cfg, config):
    """diffusers' own conversion of the original's keys gives its own; it does not know 2.2's nested stages."""
    from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

    staged = lambda key: cfg.shortcuts and ("samples." in key or "_blocks." in key)
    original = {slot.keys[0]: slot.shape for slot in vae.NETWORK.slots(cfg, "original") if not staged(slot.keys[0])}
    expected = {key: shape for key, shape in meta_shapes(config).items() if not staged(key)}
    assert convert_wan_vae_to_diffusers(dict(original)) == expected and len(expected) >= 46


def test_torch_file_of_the_original(folder, tmp_path):
    """A root folder with Wan2.1_VAE.pth, as torch writes it, under the original's keys: the same parameters."""
    import torch

    theirs, ours = models("21", folder)
    state = theirs.state_dict()
    slots = zip(vae.NETWORK.slots(ours.cfg, "original"), vae.NETWORK.slots(ours.cfg, "diffusers"), strict=True)
    torch.save({a.keys[0]: state[b.keys[0]] for a, b in slots}, tmp_path / "Wan2.1_VAE.pth")
    cfg = ours.cfg
    options = {"multipliers": cfg.multipliers, "blocks": cfg.blocks, "temporal": cfg.temporal}
    again = wan.load_vae(tmp_path, **options, mean=cfg.mean, std=cfg.std)
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(again), strict=True)
    assert again.cfg == cfg and all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)
