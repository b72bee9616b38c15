"""WanDiT beside diffusers' WanTransformer3DModel with the same random weights, in float32, values and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vrjax.models import wan
from vrjax.models.blocks import conditioned
from vrjax.models.wan import dit as dit_file

pytestmark = pytest.mark.parity

BASE = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 3,
    "attention_head_dim": 26,  # splits into t 10, h 8, w 8 channels: no axis a multiple of another's
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 20,
    "freq_dim": 32,
    "ffn_dim": 100,
    "num_layers": 2,
}
IMAGE = {"image_dim": 12, "added_kv_proj_dim": 78, "in_channels": 9}
# name -> config, text rows, CLIP rows, one time per token. diffusers splits the context at 512 text rows, so the image
# branch can only be compared there.
CASES = {
    "t2v": ({}, 9, None, False),
    "i2v_concat": ({"in_channels": 9}, 7, None, False),
    "per_token_time": ({}, 9, None, True),
    "image_branch": (IMAGE, 512, 7, False),
    "first_last_frame": (IMAGE | {"pos_embed_seq_len": 14}, 512, 14, False),
    "no_cross_norm_patch_2": ({"cross_attn_norm": False, "patch_size": (2, 2, 1), "eps": 1e-5}, 3, None, False),
}
GRID = (4, 6, 4)


def tolerance(time: float) -> float:
    """The sinusoid of a large time rounds: the two float32 implementations may differ there by more."""
    return 2e-5 if time <= 2 else 1.2e-4


@functools.cache
def models(case: str, tmp: str):
    """diffusers' model with every tensor randomised, and ours loaded from what it saved."""
    import torch
    from diffusers import WanTransformer3DModel

    torch.manual_seed(0)
    theirs = WanTransformer3DModel(**BASE | CASES[case][0]).eval()
    with torch.no_grad():
        for p in theirs.parameters():  # norms start at one and biases at zero: move them too
            p.add_(torch.randn_like(p) * (0.3 if p.ndim < 2 else 0.03))
        theirs.proj_out.weight.mul_(3)
    theirs.save_pretrained(f"{tmp}/{case}")
    return theirs, wan.load_dit(f"{tmp}/{case}")


@functools.cache
def inputs(case: str):
    config, rows, clip, per_token = CASES[case]
    config, rng = BASE | config, np.random.default_rng(1)
    normal = lambda *shape: rng.standard_normal(shape).astype(np.float32)
    x = normal(*GRID, config["in_channels"])
    return x, normal(rows, 20), None if clip is None else normal(clip, 12)


def times(case: str, time: float):
    """The time argument: the first frame's tokens at 0 where times are per token."""
    if not CASES[case][3]:
        return np.float32(time)
    return np.repeat(np.array([0] + [time] * 3, np.float32), 6)


def run_theirs(model, case, time, x, text, clip):
    """x, text, clip as torch tensors of one example -> (t, h, w, c)."""
    import torch

    time = torch.as_tensor(times(case, time))[None]
    if clip is not None:
        # With learned positions diffusers takes the two images as a batch of two.
        clip = clip.reshape(2, -1, 12) if "pos_embed_seq_len" in CASES[case][0] else clip[None]
    out = model(x.permute(3, 0, 1, 2)[None], time, text[None], clip, return_dict=False)[0]
    return out[0].permute(1, 2, 3, 0)


@jax.jit
def run_ours(dit, time, x, text, clip):
    return dit(x, time, text, image=wan.Image(clip=clip)).v


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("wan"))


@pytest.mark.parametrize("case", CASES)
def test_values(case, folder):
    import torch

    theirs, ours = models(case, folder)
    arrays = inputs(case)
    torched = [None if a is None else torch.as_tensor(a) for a in arrays]
    for time in (0.0, 1.5, 41.5, 873.25, 999.0):
        with torch.no_grad():
            expected = run_theirs(theirs, case, time, *torched).numpy()
        found = np.asarray(run_ours(ours, times(case, time), *arrays))
        assert 3 < np.abs(expected).max() < 20  # the tolerances are meant for outputs of order 6
        assert np.abs(found - expected).max() <= tolerance(time), time


@pytest.mark.parametrize("case", ["t2v", "per_token_time", "image_branch"])
def test_gradients(case, folder):
    """Of a random projection of the output, with respect to the inputs and to weights of every kind."""
    import torch

    theirs, ours = models(case, folder)
    arrays = inputs(case)
    weight = np.random.default_rng(2).standard_normal((*GRID, 4)).astype(np.float32)

    torched = [None if a is None else torch.tensor(a, requires_grad=True) for a in arrays]
    (run_theirs(theirs, case, 1.5, *torched) * torch.as_tensor(weight)).sum().backward()
    expected = {f"input {i}": t.grad.numpy() for i, t in enumerate(torched) if t is not None}
    expected |= {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    theirs.zero_grad()

    def loss(dit, inputs):
        return jnp.sum(run_ours(dit, times(case, 1.5), *inputs) * weight)

    grads, inputs_grads = jax.jit(jax.grad(loss, argnums=(0, 1)))(ours, arrays)
    found = {f"input {i}": g for i, g in enumerate(inputs_grads) if g is not None}
    wan.save_dit(grads, f"{folder}/grads.safetensors")  # a gradient is a WanDiT too: the reader's table names it
    from safetensors.numpy import load_file

    found |= load_file(f"{folder}/grads.safetensors")
    assert found.keys() == expected.keys()
    for name, e in expected.items():
        # A key's bias shifts all scores of a query alike before the norm only; nothing here is identically zero.
        assert np.abs(found[name] - e).max() <= 1e-4 * np.abs(e).max(), name


def test_diffusers_loads_what_we_save(folder, tmp_path):
    import torch
    from diffusers import WanTransformer3DModel
    from safetensors.torch import load_file

    theirs, ours = models("first_last_frame", folder)
    wan.save_dit(ours, tmp_path / "saved")
    config = WanTransformer3DModel.load_config(tmp_path / "saved")
    again = WanTransformer3DModel.from_config(config)
    again.load_state_dict(load_file(tmp_path / "saved" / "diffusion_pytorch_model.safetensors"), strict=True)
    before, after = theirs.state_dict(), again.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)
    for key, value in theirs.config.items():
        if not key.startswith("_"):
            assert again.config[key] == value or list(again.config[key]) == list(value), key


# Each row breaks one thing that a careless port gets wrong; the comparison must see it.
BUGS = {
    "gelu_erf": ("t2v", lambda m: m.setattr(jax.nn, "gelu", functools.partial(_erf, jax.nn.gelu))),
    "image_norm_eps": ("image_branch", lambda m: m.setattr(dit_file, "IMAGE_EPS", 1e-6)),
    "sinusoid_sin_first": (
        "t2v",
        lambda m: m.setattr(conditioned, "sinusoid", lambda t, w: jnp.roll(_sinusoid(t, w), w // 2, -1)),
    ),
    "rotary_rounded": ("t2v", lambda m: m.setattr(dit_file, "rotary_angles", _half_rotary)),
}
_sinusoid, _rotary = conditioned.sinusoid, dit_file.rotary_angles


def _erf(gelu, x, approximate=True):
    del approximate
    return gelu(x, approximate=False)


def _half_rotary(grid, head_dim):
    return tuple(a.astype(np.float16).astype(np.float32) for a in _rotary(grid, head_dim))


@pytest.mark.parametrize("bug", BUGS)
def test_the_tolerance_sees(bug, folder, monkeypatch):
    import torch

    case, plant = BUGS[bug]
    theirs, ours = models(case, folder)
    arrays = inputs(case)
    with torch.no_grad():
        torched = [None if a is None else torch.as_tensor(a) for a in arrays]
        expected = run_theirs(theirs, case, 1.5, *torched).numpy()
    plant(monkeypatch)
    if bug == "image_norm_eps":
        ours = wan.load_dit(f"{folder}/{case}")  # eps is read when the module is built
    fresh = jax.jit(lambda *args: run_ours.__wrapped__(*args))  # jit would reuse the sound program of run_ours
    found = fresh(ours, times(case, 1.5), *arrays)
    assert np.abs(found - expected).max() > tolerance(1.5)
