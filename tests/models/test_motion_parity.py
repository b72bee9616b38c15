"""MotionDiT beside a plain PyTorch statement of the public network with the same random weights, and its sampler."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vrjax import flow
from vrjax.files import tensors
from vrjax.flow import grids
from vrjax.models import motion as models
from vrjax.models.blocks import conditioned, layers

pytestmark = pytest.mark.parity

CFG = models.MotionConfig(
    dim=40, ffn_dim=72, heads=4, layers=4, channels=30, reference_channels=14, text_dim=22, freq_dim=32
)
SPLIT = dataclasses.replace(CFG, layers=3, reference_channels=None, local_channels=13)
T = 14
# name -> config, attends to text, rows of text, frames that count, the reference's mask
HOLES = np.array([1, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0])
CASES = {
    "text": (CFG, True, 226, T, None),
    "long_text": (CFG, True, 251, T, None),
    "text_shorter": (CFG, True, 226, 9, None),
    "motion": (CFG, False, 226, T, np.ones(T)),
    "motion_shorter": (CFG, False, 226, 11, np.arange(T) < 11),
    "motion_holes": (CFG, False, 226, 13, HOLES),
    "split_head": (SPLIT, True, 226, 12, None),
}


def tolerance(time):
    """The sinusoid of a large time rounds: the two float32 implementations may differ there by more."""
    return 3e-5 if time <= 2 else 2e-4


@functools.cache
def network(cfg, folder):
    """Random parameters by public names, as torch has them and as we read them."""
    import torch

    from tests.models import torch_vimogen

    rng, held = np.random.default_rng(7), {}
    gains = ("norm_q.weight", "norm_k.weight", "norm3.weight", "norm4.weight")
    for name, shape in torch_vimogen.shapes(cfg).items():
        spread = 0.3 if len(shape) < 2 else (3.0 if "head." in name else 1.2) / np.sqrt(shape[-1])
        held[name] = (spread * rng.standard_normal(shape) + name.endswith(gains)).astype(np.float32)
    file = f"{folder}/{cfg.local_channels}.safetensors"
    tensors.write(file, {name: (a.shape, a.dtype) for name, a in held.items()}, held.values(), {})
    return {name: torch.tensor(a) for name, a in held.items()}, models.load_dit(file, heads=cfg.heads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("vimogen"))


def inputs(case):
    """x, text with zero rows behind, reference."""
    cfg, _, rows, _, mask = CASES[case]
    normal = lambda *shape: np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)
    text = normal(rows, cfg.text_dim) * (np.arange(rows) < rows - 17)[:, None]
    reference = normal(T, cfg.reference_channels or 1) * (1 if mask is None else mask[:, None])
    return normal(T, cfg.channels), text.astype(np.float32), reference.astype(np.float32)


def lengths(case):
    _, _, _, frames, mask = CASES[case]
    return frames, frames if mask is None else int(np.sum(mask))  # holes shorten the end


def theirs(case, p, time, x, text, reference):
    from tests.models import torch_vimogen

    return torch_vimogen.forward(p, CASES[case][0], x, time, text, reference, CASES[case][1], *lengths(case))


def answer(dit, time, x, text, reference, case, mode=None):
    """By the case's own mode, or by the one given."""
    (frames, seen), (cfg, attends, *_) = lengths(case), CASES[case]
    mode = mode or ("text" if attends else "motion")
    given = {"reference": reference} if cfg.reference_channels else {}
    more = {"attend_to_text": attends, "length": jnp.int32(frames), "reference_length": jnp.int32(seen)}
    return dit(x, time, text, mode=mode, **given, **more).v


ours = jax.jit(answer, static_argnames=("case", "mode"))


@pytest.mark.parametrize("case", CASES)
def test_values(case, folder):
    import torch

    p, dit = network(CASES[case][0], folder)
    arrays = inputs(case)
    for time in (0.0, 1.5, 66.28788, 500.0, 921.0526, 1000.0):
        with torch.no_grad():
            expected = theirs(case, p, np.float32(time), *map(torch.tensor, arrays)).numpy()
        assert 3 < np.abs(expected).max() < 20  # the tolerances are meant for outputs of order 7
        modes = [None] if CASES[case][0].reference_channels is None else [None, "mixed"]
        for mode in modes:
            found = np.asarray(ours(dit, np.float32(time), *arrays, case=case, mode=mode))
            assert np.abs(found - expected).max() <= tolerance(time), (time, mode)


@pytest.mark.parametrize("case", ["text_shorter", "motion_holes", "split_head"])
def test_gradients(case, folder):
    """Of a random projection of the output, with respect to the inputs and to every parameter."""
    import torch

    cfg, attends, *_ = CASES[case]
    p, dit = network(cfg, folder)
    arrays = inputs(case)
    weight = np.random.default_rng(2).standard_normal((T, cfg.channels)).astype(np.float32)
    leaves = {name: a.clone().requires_grad_() for name, a in p.items()}
    torched = [torch.tensor(a, requires_grad=True) for a in arrays]
    (theirs(case, leaves, 1.5, *torched) * torch.tensor(weight)).sum().backward()
    gradient = lambda a: np.zeros(a.shape, np.float32) if a.grad is None else a.grad.numpy()

    for mode in ["text" if attends else "motion", *(["mixed"] if cfg.reference_channels else [])]:
        loss = lambda dit, arrays, mode=mode: jnp.sum(answer(dit, 1.5, *arrays, case, mode) * weight)
        d_dit, d_arrays = jax.jit(jax.grad(loss, argnums=(0, 1)))(dit, arrays)
        models.save_dit(d_dit, f"{folder}/grads.safetensors")  # a gradient is a MotionDiT too: the table names it
        source = tensors.read(f"{folder}/grads.safetensors")
        assert set(source.shapes) == set(p)
        pairs = [(name, source[name], gradient(leaves[name])) for name in p]
        pairs += [(f"input {i}", a, gradient(b)) for i, (a, b) in enumerate(zip(d_arrays, torched, strict=True))]
        for name, found, expected in pairs:
            if not expected.any():
                assert not np.asarray(found).any(), name  # the branch that is not taken
            else:
                assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max(), name


def run_ours(dit, grid, noise, text, null, reference, frames, seen, mode):
    given = {"mode": mode, "length": frames, "reference": reference, "reference_length": seen}
    if mode == "motion":
        return flow.sample(dit.velocity(**given), noise, grid).x[1:]
    return flow.sample(dit.guided(*models.padded(text, null), 5.0, **given), noise, grid).x[1:]


@pytest.mark.parametrize("flags", [{}, {"sigma_start": 0.7, "bf16_times": True}], ids=["plain", "public"])
@pytest.mark.parametrize("case", ["text", "motion_holes", "text_shorter"])
def test_whole_runs(case, flags, folder):
    """From text with guidance 5, from a reference without, and padded; every step, with and without the quirks."""
    import torch

    from tests.models import torch_vimogen

    cfg, attends, *_ = CASES[case]
    p, dit = network(cfg, folder)
    noise, text, reference = inputs(case)
    null = np.eye(1, cfg.text_dim, dtype=np.float32)
    zeros = np.zeros_like(text)
    zeros[:1] = null

    def velocity(x, time):
        cond = theirs(case, p, time, x, torch.tensor(text), torch.tensor(reference))
        if not attends:
            return cond
        other = theirs(case, p, time, x, torch.tensor(zeros), torch.tensor(reference))
        return other + 5.0 * (cond - other)

    old = {"start": flags.get("sigma_start", 1.0), "rounded": flags.get("bf16_times", False)}
    with torch.no_grad():
        expected = torch_vimogen.sample(velocity, torch.tensor(noise), 8, **old).numpy()
    frames, seen = lengths(case)
    run = jax.jit(run_ours, static_argnames=("grid", "mode"))
    rest = (noise, text, null, reference, frames, seen, "text" if attends else "motion")
    assert np.abs(run(dit, grids.vimogen(8, **flags), *rest) - expected).max() <= 5e-4
    others = {} if flags else {"bf16_times": True}
    assert np.abs(run(dit, grids.vimogen(8, **others), *rest) - expected).max() > 5e-3  # the flags are heard


# Each row breaks one thing that a careless port gets wrong; the comparison must see it.
BUGS = {
    "gelu_erf": ("text", jax.nn, "gelu", lambda gelu: lambda x, approximate: gelu(x, approximate=False)),
    "sinusoid_sin_first": ("text", conditioned, "sinusoid", lambda wave: lambda t, w: jnp.roll(wave(t, w), w // 2, -1)),
    "positions_in_halves": ("motion", models.dit, "positions", lambda table: lambda n, d: _halves(table(n, d))),
    "rotary_too": ("motion", layers.Attention, "within", lambda within: functools.partialmethod(_rotated, within)),
    "reference_keys_by_its_own_length": ("motion_holes", models.MotionDiT, "encode_reference", lambda encode: (
        lambda self, context, *rest: encode(self, context._replace(length=context.rows), *rest))),
}  # fmt: skip


def _halves(table):
    return np.concatenate([table[:, 0::2], table[:, 1::2]], -1)


def _rotated(self, within, cfg, x, rope, *rest):
    return within(self, cfg, x, layers.rotary_angles((len(x), 1, 1), cfg.head_dim), *rest)


@pytest.mark.parametrize("bug", BUGS)
def test_the_tolerance_sees(bug, folder, monkeypatch):
    import torch

    case, where, name, broken = BUGS[bug]
    p, dit = network(CASES[case][0], folder)
    arrays = inputs(case)
    with torch.no_grad():
        expected = theirs(case, p, 1.5, *map(torch.tensor, arrays)).numpy()
    monkeypatch.setattr(where, name, broken(getattr(where, name)))
    fresh = jax.jit(lambda *args: answer(*args, case))  # `ours` would take its sound program
    assert np.abs(fresh(dit, np.float32(1.5), *arrays) - expected).max() > tolerance(1.5)
