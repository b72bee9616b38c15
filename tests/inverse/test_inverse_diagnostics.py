"""R-hat, effective sizes and khat against arviz's numbers, recorded and live; the gate."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.inverse import inverse_arviz
from vrjax.inverse import latent

CHAINS, TOLD = inverse_arviz.chains(), json.loads(inverse_arviz.FILE.read_text("utf-8"))


def ours():
    """What `inverse_arviz.say` says, of ours."""
    told, ratios = {}, {}
    with jax.enable_x64(True):
        for rows in (400, 401):
            some = {name: z for name, z in CHAINS.items() if z.shape[1] == rows}
            stacked = np.stack(list(some.values()), -1)
            both = zip(latent.rhat(stacked), latent.ess(stacked), strict=True)
            told |= {name: {"rhat": float(r), "ess": float(e)} for name, (r, e) in zip(some, both, strict=True)}
        for name, ratio in inverse_arviz.ratios().items():
            # ratios that are given: a proposal of normal draws, and a likelihood that looks them up
            found = latent.importance(jax.random.key(0), _looked_up, 1, len(ratio), args=(jnp.asarray(ratio),))
            ratios[name] = {"khat": float(found.khat), "ess": float(found.ess)}
    return told, ratios


def _looked_up(z, ratio):
    draws = jax.random.normal(jax.random.key(0), (ratio.size, 1))
    return ratio[jnp.argmin(jnp.abs(draws[:, 0] - z[0]))]


def compare(recorded):
    told, ratios = ours()
    for name, numbers in recorded["chains"].items():
        assert told[name] == pytest.approx(numbers, rel=1e-9), name
    for name, numbers in recorded["ratios"].items():
        assert ratios[name]["khat"] == pytest.approx(numbers["khat"], abs=1e-9), name
        # arviz smooths every tail, the paper (and blackjax) those of khat >= 1/3
        assert ratios[name]["ess"] == pytest.approx(numbers["ess"], rel=1e-9 if numbers["khat"] > 1 / 3 else 2e-3)


def test_equals_recorded_arviz():
    compare(TOLD)


@pytest.mark.parity
def test_equals_live_arviz():
    compare(inverse_arviz.say())


def test_entries_keep_their_shape_and_precision():
    z = np.stack([CHAINS["slow"], CHAINS["scale"], CHAINS["heavy"], np.ones((4, 400))], -1)
    z = np.concatenate([z, z[..., :2]], -1).reshape(4, 400, 3, 2)
    z[0, 0, 2, 1] = np.nan
    for diagnose, name, of_constant in ((latent.rhat, "rhat", np.nan), (latent.ess, "ess", 0)):
        told = np.asarray(diagnose(jnp.asarray(z, jnp.float32)))
        expected = [TOLD["chains"][n][name] for n in ("slow", "scale", "heavy")]
        expected = np.array([*expected, of_constant, expected[0], np.nan]).reshape(3, 2)
        np.testing.assert_allclose(told, expected, rtol=1e-4)
    assert latent.ess(z[..., :1, :1]).shape == (1, 1) and latent.ess(z[..., 0, 0]).shape == ()


def replaced(draws, third):
    draws = draws.copy()
    draws[..., 3] = third
    return draws


def test_gate():
    good = np.random.default_rng(0).normal(size=(4, 400, 6))
    told = latent.gate(good)
    assert told.passed and not told.why and told.rhat < 1.01 and 1000 < told.ess < 2500
    assert not latent.gate(good, ess=2500).passed
    # What the R-hat of 1992 does not see: a common trend, a chain of another scale.
    for name in ("trend", "scale"):
        bad = latent.gate(replaced(good, CHAINS[name]))
        assert not bad.passed and "R-hat" in bad.why and "entry 3" in bad.why and "\n" not in bad.why
    slow = latent.gate(replaced(good, CHAINS["slow"]), rhat=1.2)
    assert not slow.passed and slow.why == f"effective sample size {slow.ess:.0f} of entry 3, expected at least 400"
    spoilt, stuck = replaced(good, np.where(np.arange(400) == 3, np.nan, CHAINS["independent"])), replaced(good, 1.0)
    for bad, why in (
        (spoilt, "R-hat nan of entry 3"),
        (good[:1], "at least 2 chains"),
        (stuck, "R-hat nan of entry 3"),
    ):
        assert not latent.gate(bad).passed and why in latent.gate(bad).why
    chain = latent.Chain(good, np.full((4, 400), -np.inf), latent.Info())
    assert "log-density" in latent.gate(chain).why and latent.gate(chain._replace(log_density=good[..., 0])).passed
    with pytest.raises(ValueError, match=r"z: found shape \(4, 3\)"):
        latent.rhat(good[:, :3, 0])
