"""The bench: its statistics, its refusals, and (live) a whole row beside diffusers."""

import dataclasses
import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.bench import cases, command, numpy_side, paired, posteriors, sides, timing

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
        (["--profile", "darcy_splu"], "unknown 'darcy_splu'"),
        (["--gpu", "--rows", "mixture_loop"], "unknown ['mixture_loop']"),
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


POSTERIORS = {case.name: case for case in posteriors.table()}
QUICK = {"mixture": dict(chains=16, steps=300), "darcy": dict(chains=4, steps=60, cells=8, latent=12)}


def quick(name):
    return dataclasses.replace(POSTERIORS[name], **QUICK[POSTERIORS[name].work])


@pytest.mark.parametrize("name", POSTERIORS)
def test_posteriors_beside_numpy(name):
    """The same posterior from the sides that are timed, chains over eight devices where they divide; each beside the
    exact one, or the two beside each other."""
    from experiments.bench import vrjax_side

    case = quick(name)
    ours, theirs = (side.build(case, None, False)() for side in (vrjax_side, numpy_side))
    assert case.units == ours["z"].shape[0] * ours["z"].shape[1] == theirs["z"].shape[0] * theirs["z"].shape[1]
    assert 0 < paired.compare(case, ours, theirs) < posteriors.SCORE
    # another posterior is no number: so few draws moved by three of their deviations, one lost, one not finite
    for z in (ours["z"] + 3 * ours["z"].std((0, 1)), ours["z"][:, 1:], np.where(ours["z"] > 1, np.nan, ours["z"])):
        with pytest.raises(sides.Failed, match=name):
            paired.compare(case, ours | {"z": z}, theirs)
    if case.work == "darcy":
        with pytest.raises(sides.Failed, match="mode differs"):
            paired.compare(case, ours | {"mode": 1.02 * ours["mode"]}, theirs)


@pytest.mark.parametrize("plain", ["splu", "banded"])
def test_the_plain_plate_is_the_equation(plain):
    """Its solves beside a dense matrix made face by face, its Jacobian beside difference quotients."""
    from tests.inverse.inverse_elliptic import cells_matrix

    plate = numpy_side.Plate(posteriors.darcy(8, 12), 8, plain)
    z, d = np.random.default_rng(1).normal(size=(2, 12))
    dense = np.linalg.solve(cells_matrix(plate.field(z)), plate.inflow)
    np.testing.assert_allclose(plate.solver(plate.field(z))(plate.inflow), dense, rtol=1e-10)
    residual, jacobian = plate.linearised(z)
    assert plate.log_likelihood(z) == pytest.approx(-0.5 * residual @ residual, rel=1e-10)
    near, far = ((plate.linearised(z + h * d)[0] - plate.linearised(z - h * d)[0]) / (2 * h) for h in (1e-4, 2e-4))
    np.testing.assert_allclose(jacobian @ d, (4 * near - far) / 3, rtol=1e-7, atol=1e-8)


def test_the_plain_mixture_against_quadrature():
    """The moments in closed form, from which the sides' draws may not be far."""
    weights, means, std, y, noise_std = posteriors.mixture().values()
    at = np.linspace(-3, 3, 601)
    x = np.stack(np.meshgrid(at, at, indexing="ij"), -1)
    density = np.exp(-0.5 * np.square(x[..., None, :] - means).sum(-1) / std**2) @ weights
    density = density * np.exp(-0.5 * (y - x[..., 0]) ** 2 / noise_std**2)
    told = np.concatenate([x, x**2, x[..., 1:] > 0], -1)
    found = np.einsum("ij,ijk->k", density / density.sum(), told)
    np.testing.assert_allclose(found, posteriors.exactly(posteriors.mixture()), atol=1e-3)


def test_a_row_beside_numpy(monkeypatch, tmp_path, capsys):
    """Through the command: processes of their own, two rounds, what is written."""
    monkeypatch.setattr(sides, "PAUSE", 0.0)
    monkeypatch.setattr(posteriors, "table", lambda: (quick("mixture_vectorised"),))
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    words = ["--rows", "mixture_vectorised", "--pairs", "2", "--rounds", "2", "--out", str(tmp_path)]
    assert command.main(words) == 0
    (row,) = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert row["name"] == "mixture_vectorised" and row["pairs"] == 2 and len(row["rounds"]) == 2
    assert row["ratio"] > 0 and row["numpy_s"] > 0 and 0 < row["difference"] < posteriors.SCORE
    assert "mixture_vectorised" in capsys.readouterr().out


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
