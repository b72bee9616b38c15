"""The bench: its statistics, its refusals, and (live) a whole row beside diffusers."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.bench import cases, command, paired, sides, timing

TINY = cases.Case(
    "tiny", "guided", heads=2, head_dim=12, ffn_dim=32, layers=2, latent=(2, 4, 4, 4), text=(3, 8), steps=3, axis="data"
)


@given(st.integers(6, 60))
def test_order_interval_is_the_narrowest_that_covers(n):
    low, high = timing.order_interval(np.arange(n, dtype=float))
    covered = lambda k: 1 - 2 * stats.binom.cdf(k, n, 0.5)  # of the k-th from below to the k-th from above, from 0
    assert low + high == n - 1 and covered(low) >= 0.95
    assert covered(low + 1) < 0.95


def test_results_that_differ_are_no_number():
    ours = np.ones((1, 2, 3))
    assert paired.compare(TINY, ours, ours * (1 + 1e-4)) < 2e-4
    for theirs in (ours * 1.01, ours[..., :2], ours * np.nan):
        with pytest.raises(sides.Failed):
            paired.compare(TINY, ours, theirs)


@pytest.mark.parametrize(
    "options, message",
    [
        (["--rows", "nothing"], "unknown ['nothing']"),
        (["--pairs", "2", "--rounds", "3"], "pairs >= rounds"),
        (["--devices", "999"], "--devices 999"),
        (["--cores", "998"], "not all among"),
        (["--profile", "memory"], "unknown 'memory'"),
    ],
)
def test_misuse(options, message, capsys, tmp_path):
    assert command.main([*options, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_pairs_alternate_after_a_warm_up():
    called = []
    timer = lambda name, wall: lambda: called.append(name) or (wall, 2 * wall)
    found = timing.pairs(timer("a", 3.0), timer("b", 1.5), 3)
    assert called == ["a", "b", *"ab", *"ba", *"ab"]
    np.testing.assert_array_equal(found["wall"], [[3.0, 1.5]] * 3)
    np.testing.assert_array_equal(found["cpu"], [[6.0, 3.0]] * 3)


@pytest.mark.parity
def test_a_row_beside_diffusers(monkeypatch):
    monkeypatch.setitem(paired.GEMM, "sgemm", (64, "float32", 1))
    monkeypatch.setattr(sides, "PAUSE", 0.0)
    monkeypatch.delenv("XLA_FLAGS", raising=False)  # each core a device, not eight
    available = sorted(os.sched_getaffinity(0))[:2]
    rows = {r["name"]: r for r in paired.measure([TINY], available, 3, rounds=2, devices=len(available))}
    assert rows["tiny"]["pairs"] == 3 and len(rows["tiny"]["rounds"]) == 2
    assert rows["tiny"]["ratio"] > 0 and 0 <= rows["tiny"]["difference"] < 1e-4


@pytest.mark.parity
@pytest.mark.parametrize("work", ["encode", "decode"])
def test_the_vae_beside_diffusers(work, tmp_path):
    """The same numbers from the sides that are timed, on a clip that vrjax takes a frame at a time."""
    from experiments.bench import torch_side, vrjax_side

    case = cases.Case(f"vae_{work}", work, video=(9, 16, 32), width=8)
    torch_side.initialise(case, tmp_path)
    ours, theirs = (side.build(case, tmp_path, False)() for side in (vrjax_side, torch_side))
    assert ours.shape == ((1, 3, 2, 4, 16) if work == "encode" else (1, 9, 16, 32, 3))
    assert 0 <= paired.compare(case, ours, theirs) < 1e-4 and {c.name for c in cases.vae()} == {
        "vae_encode",
        "vae_decode",
    }


@pytest.mark.parity
@pytest.mark.parametrize("mode", ["text", "motion"])
def test_motions_beside_pytorch(mode, tmp_path):
    """The same numbers from the sides that are timed; a batch of three does not divide over eight devices, eight do."""
    from experiments.bench import torch_side, vrjax_side

    small = dict(heads=2, head_dim=8, ffn_dim=24, layers=2, motion=(5, 6), reference_layers=1, text=(3, 6), steps=3)
    case = cases.Case("motion", "motion", batch=3 if mode == "text" else 8, mode=mode, shift=5.0, axis="seed", **small)
    torch_side.initialise(case, tmp_path / "model")
    ours, theirs = (side.build(case, tmp_path / "model", False)() for side in (vrjax_side, torch_side))
    assert ours.shape == (case.batch, 5, 6) and 0 <= paired.compare(case, ours, theirs) < 1e-5
    assert np.abs(ours - case.arrays()["noise"]).max() > 0.1


@pytest.mark.parity
def test_attention_is_compared_before_a_gpu_is_timed(monkeypatch):
    from experiments.bench import torch_side, vrjax_side

    class Here:
        def __init__(self, module, scale=1.0):
            self.module, self.scale = module, scale

        def ask(self, name, *arguments):
            return [x * self.scale for x in getattr(self.module, name)(*arguments)]

    monkeypatch.setattr(cases, "ATTENTION", ((64, 40, 2, 16),))
    paired.check_attention((Here(vrjax_side), Here(torch_side)), "float32", ("tiled", "xla"))
    paired.check_attention((Here(vrjax_side), Here(torch_side)), "bfloat16", ("xla",))
    with pytest.raises(sides.Failed, match="tiled"):
        paired.check_attention((Here(vrjax_side, 1.02), Here(torch_side)), "float32", ("tiled",))
