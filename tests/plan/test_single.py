"""The account of one device: its parts by hand, what it proposes, and that it bounds what XLA asks for."""

import dataclasses
import runpy

import jax
import pytest

from vrjax import parallel
from vrjax.models import wan
from vrjax.plan import single
from vrjax.plan.jobs import sampling
from vrjax.plan.jobs.sampling import SampleConfig
from vrjax.plan.topology import GIB
from vrjax.train.config import TrainConfig

A14B = runpy.run_path("configs/pods/wan_a14b_i2v_sample.py")["config"]


def test_the_pair_of_14b_experts_on_one_gpu():
    """Fits 80 GB with one video; the parameters are the sheet's 14.289 B, twice, in bfloat16 (norms in float32)."""
    config = dataclasses.replace(A14B(), seeds=1)
    found = single.account(config, "gpu:80")
    assert found.fits and not found.changes and found.hbm == 0.95 * 80 * GIB
    weights = found.memory["parameters of both experts"]
    assert 2 * 2 * 14.288e9 < weights < 2 * 2 * 14.288e9 * 1.03
    assert found.memory["keys and values of the conditions"] == 2 * 2 * 2 * 40 * 512 * 5120 * 2
    assert found.memory["recorded: x, v of 40 steps"] == 40 * 2 * 4 * 21 * 60 * 104 * 16
    stream = 2 * 32760 * 5120 * 2
    assert found.memory["activations of one block"] == max(9 * stream, 4 * stream + 2 * stream * 13824 // 5120)
    assert found.needed == found.moments["denoising"] == sum(found.memory.values())
    assert "fits" in found.table() and "wan-a14b-i2v-sample" in found.table() and found.to_dict()["fits"]


def test_what_it_proposes():
    """Streamed recording first, then one expert at a time; with neither it says that it does not fit."""
    config = dataclasses.replace(A14B(), seeds=1, steps=1000, record_fields=("x", "v", "x0"))
    long = single.account(config, "gpu:80")
    assert long.fits and long.changes == {"record": "disk"} and "23.43 GiB of files" in long.table()
    half = single.account(dataclasses.replace(config, steps=40), "gpu:48")
    assert half.fits and half.changes == {"experts": "one at a time"} and "host's memory: 27.0 GiB" in half.table()
    small = single.account(dataclasses.replace(config, steps=40), "gpu:24")
    assert not small.fits and "DOES NOT FIT" in small.table()
    assert not single.account(config, "gpu:80", record="device", experts="both").fits
    assert single.account(config, "gpu:141", record="disk", experts="one at a time").changes == {
        "record": "disk",
        "experts": "one at a time",
    }


def test_what_cannot_be_accounted():
    for wrong in ("gpu:", "gpu:big", "gpu:0"):
        with pytest.raises(ValueError, match="expected a device and its GiB, such as gpu:80"):
            single.account(A14B(), wrong)
    config = TrainConfig(name="a", model=wan.WanConfig(dim=24, heads=2, ffn_dim=8, layers=1), steps=1)
    with pytest.raises(ValueError, match="only guided runs .* not TrainConfig"):
        single.account(config, "gpu:80")
    assert single.is_single("gpu:80") and not single.is_single("v5p:4x4x4")


def test_it_bounds_what_a_compiler_asks_for():
    """The same run, compiled here: XLA's temporaries stay below the account's, and are not a small part of it."""
    model = wan.WanConfig(dim=128, ffn_dim=512, heads=2, layers=4, text_len=32, text_dim=16, freq_dim=16)
    config = SampleConfig(name="a", model=model, latent=(4, 32, 32, 16), steps=2, dtype="float32")
    found = single.account(config, "gpu:80")
    run, arguments = sampling.make(config, parallel.mesh({}, devices=jax.devices()[:1]))
    stats = run.lower(*arguments).compile().memory_analysis()
    asked = sum(size for name, size in found.memory.items() if not name.startswith(("parameters", "VAE", "recorded")))
    assert asked / 3 < stats.temp_size_in_bytes < 1.15 * asked
    recorded = next(size for name, size in found.memory.items() if name.startswith("recorded"))
    assert recorded <= stats.output_size_in_bytes <= recorded * 1.6
