"""Noise grids: published values, diffusers' own, and what every grid must be."""

import json

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.flow.flow_oracles import FIXTURES, GRIDS, diffusers_grids
from vrjax.flow import Grid, experts, grids

NAMED = [grids.shifted, grids.vimogen, grids.wan_unipc, grids.wan_dpmpp, grids.diffusers_unipc, grids.diffusers_euler]


def compare(theirs):
    for steps, shift in GRIDS:
        for name in ("diffusers_unipc", "diffusers_euler"):
            sigmas, times = theirs[f"{name} {steps} {shift}"]
            grid = getattr(grids, name)(steps, shift)
            np.testing.assert_allclose(grid.sigmas, sigmas, rtol=0, atol=6e-8)  # theirs are float32
            np.testing.assert_allclose(grid.times, times, rtol=0, atol=0 if name == "diffusers_unipc" else 1e-4)


def test_diffusers_grids_as_recorded():
    compare(json.loads(FIXTURES.read_text())["grids"])


@pytest.mark.parity
def test_diffusers_grids_live():
    compare(diffusers_grids())


def test_published_times():
    ends = lambda grid: [*grid.times[:3], *grid.times[-2:]]
    assert ends(grids.wan_unipc(50, 5.0)) == [999, 995, 991, 172, 92]
    assert ends(grids.diffusers_unipc(50, 5.0)) == [999, 995, 991, 175, 96]
    assert ends(grids.wan_dpmpp(50, 5.0))[:2] == [1000, 995]
    np.testing.assert_allclose(ends(grids.diffusers_euler(50, 5.0))[-2:], [114.819, 24.414], atol=1e-3)
    assert grids.wan_unipc(50, 5.0).sigmas[0] == pytest.approx(0.9998, abs=1e-6)
    np.testing.assert_allclose(grids.shifted(4, 3.0).sigmas, [1, 0.9, 0.75, 0.5, 0], atol=1e-15)


def test_the_grids_of_two_pipelines_differ_as_measured():
    gap = lambda n, shift: np.abs(grids.wan_unipc(n, shift).sigmas - grids.diffusers_unipc(n, shift).sigmas).max()
    assert gap(50, 5.0) == pytest.approx(0.0043, abs=5e-5) and gap(40, 12.0) == pytest.approx(0.0073, abs=5e-5)


def test_few_step_lists():
    np.testing.assert_allclose(
        grids.few_step(grids.LIGHTX2V, shift=5.0).times, [1000, 937.5, 2500 / 3, 625], rtol=1e-12
    )
    causvid = grids.few_step(grids.CAUSVID)
    assert causvid.steps == 9 and causvid.times[1] == 934 and causvid.sigmas[-2] == 0.074 and causvid.sigmas[-1] == 0


def test_times_are_cut_where_the_pipelines_cut_them_and_sigmas_never():
    for make in (grids.wan_unipc, grids.wan_dpmpp, grids.diffusers_unipc):
        grid = make(37, 5.0)
        np.testing.assert_array_equal(grid.times, np.floor(1000 * grid.sigmas[:-1]))
        assert np.any(1000 * grid.sigmas[:-1] != grid.times)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(NAMED), st.integers(2, 120), st.floats(1.0, 17.0))
def test_every_grid_falls_from_noise_to_data(make, steps, shift):
    grid = make(steps, shift)
    assert grid.steps == steps and grid.sigmas.dtype == grid.times.dtype == np.float64
    assert 0.99 < grid.sigmas[0] <= 1 and grid.sigmas[-1] == 0 and np.all(np.diff(grid.sigmas) < 0)
    assert np.all(np.abs(grid.times - 1000 * grid.sigmas[:-1]) < 1)
    assert grid == make(steps, shift) and hash(grid) == hash(make(steps, shift)) and grid != make(steps + 1, shift)


@pytest.mark.parametrize("steps, shift, boundary, high", [(40, 5.0, 0.9, 15), (40, 12.0, 0.875, 26)])
def test_expert_switch_of_wan(steps, shift, boundary, high):
    phases = experts(grids.wan_unipc(steps, shift), abs, abs, boundary)
    assert [p.stop for p in phases] == [high, steps]
    assert [p.stop for p in experts(grids.wan_unipc(steps, shift), abs, abs, 1.0)] == [steps]
    assert [p.stop for p in experts(grids.wan_unipc(steps, shift), abs, abs, 0.0)] == [steps]


def test_vimogen():
    """The public start at 0.7 and times in bfloat16 are flags, each off by default."""
    assert grids.vimogen(50) == grids.shifted(50, 5.0)
    public = grids.vimogen(50, sigma_start=0.7)
    said = {0: 0.92105263, 1: 0.91613248, 2: 0.91106291, 25: 0.72916667, 48: 0.12589928, 49: 0.06628788, 50: 0.0}
    np.testing.assert_allclose(public.sigmas[list(said)], list(said.values()), atol=5e-9)
    assert public.times[0] == pytest.approx(921.0526, abs=5e-5)
    rounded = grids.vimogen(50, sigma_start=0.7, bf16_times=True)
    np.testing.assert_array_equal(rounded.sigmas, public.sigmas)  # the solver steps with exact ones
    assert rounded.times[0] == 920 and rounded.times[49] == 66.5
    assert (np.abs(rounded.times / public.times - 1) <= 2**-8).all()


def test_a_grid_is_static():
    seen = []

    @jax.jit
    def run(x):
        seen.append(Grid(grids.shifted(3).sigmas))
        return x

    run(1.0)
    assert seen[0] == grids.shifted(3)
    with pytest.raises(ValueError, match="read-only"):
        seen[0].sigmas[0] = 0.5


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: grids.shifted(0), "steps must be a whole number of at least 1, found 0"),
        (lambda: grids.wan_unipc(4, -1.0), "shift must be positive and finite, found -1.0"),
        (lambda: grids.few_step([]), "at least one time"),
        (lambda: grids.few_step([500, 750]), "must fall strictly"),
        (lambda: grids.vimogen(4, sigma_start=1.2), "sigma_start must lie above 0 and be at most 1, found 1.2"),
    ],
)
def test_bad_grids(call, message):
    with pytest.raises(ValueError, match=message):
        call()
