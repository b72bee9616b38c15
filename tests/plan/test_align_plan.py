"""Plans of preference updates: costs by hand, arguments that are those of the real update, one real compilation."""

import jax
import numpy as np
import pytest
import tiny

from vrjax import parallel
from vrjax.align import step
from vrjax.align.config import Preference, Reference, Rollout
from vrjax.models.wan import flops
from vrjax.plan import slices as plans
from vrjax.plan import topology
from vrjax.plan.jobs import preference as plan
from vrjax.train import state as states
from vrjax.train.config import Lora

LORA = Lora(rank=2, patterns=(r"ffn_.*kernel$",))
LATENT = (4, 10, 10, 3)


@pytest.mark.parametrize(
    ("config", "cost"),
    [
        (tiny.align(preference=Preference(losers=1)), 8),  # 2 clips, 3 for the policy and 1 for the reference
        (tiny.align(preference=Preference(losers=3)), 16),
        (tiny.align(preference=Preference(losers=1), reference=Reference(kind="precomputed", draws=2)), 6),
        (tiny.align(preference=Preference(loss="sft")), 3),
        (tiny.align(preference=Preference(loss="reference_free"), reference=Reference(kind="none")), 6),
        (tiny.online(preference=Preference(losers=1), rollout=Rollout(source="policy", steps=20)), 28),
        (tiny.online(rollout=Rollout(source="policy", steps=5, guidance=6.0, candidates=4)), 12 + 40),
    ],
)
def test_cost_in_forwards(config, cost):
    config_losers = config.preference.losers
    assert config.clips == (1 if config.preference.loss == "sft" else 1 + config_losers)
    assert plan.forwards(config) == cost


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lora": LORA, "start": "base", "reference": Reference(kind="lora_off")},
        {"reference": Reference(kind="precomputed", draws=3)},
        {"reference": Reference(kind="ema")},
    ],
    ids=["frozen", "lora_off", "precomputed", "ema"],
)
def test_abstract_arguments_are_those_of_the_run(changes, tmp_path):
    """Shapes, dtypes and shardings of `abstract` equal those of the state that a run really makes."""
    if "start" in changes:
        changes = {**changes, "start": tiny.save_base(tmp_path / "base")}
    config = tiny.align(mesh={"data": 4, "fsdp": 2}, **changes)
    mesh = parallel.run_mesh(config.mesh)
    network, *made = states.make(config, mesh)
    state, _ = step.extended(config, *made)
    _, (found, base, batch, _) = step.abstract(config, mesh, LATENT)
    same = lambda a, b: (a.shape, a.dtype, a.sharding) == (b.shape, b.dtype, b.sharding)
    assert jax.tree.all(jax.tree.map(same, found, state)) and jax.tree.all(jax.tree.map(same, base, network.base))
    expected = tiny.batch() | {"reference_win": np.zeros((8, 3)), "reference_lose": np.zeros((8, 3, 2))}
    assert {"latent", "lose", "image", "text"} <= set(batch)
    assert all(leaf.shape == expected[name].shape for name, leaf in batch.items())
    assert ("reference_lose" in batch) == (config.reference.kind == "precomputed")


def test_online_runs_are_given_no_losers_and_parts_are_refused():
    config = tiny.online()
    _, (_, _, batch, _) = step.abstract(config, parallel.mesh({}, devices=jax.devices()[:1]), LATENT)
    assert "lose" not in batch
    with pytest.raises(ValueError, match="the masks of local_dpo come with its pairs"):
        step.abstract(tiny.align(preference=Preference(loss="local_dpo")), parallel.run_mesh(config.mesh), LATENT)


def test_estimates_count_the_losers():
    guess = lambda losers: plan.estimate(
        tiny.align(preference=Preference(losers=losers), mesh={"fsdp": 8}),
        {"fsdp": 8},
        topology.CHIPS["v5e"],
        (4, 160, 160, 3),  # 4096 tokens
    )
    assert guess(3).bytes > guess(1).bytes and guess(3).seconds > 1.8 * guess(1).seconds


@pytest.mark.plan
def test_a_real_preference_plan():
    config = tiny.align(
        data=tiny.Data(batch=4), mesh={"fsdp": 4}, preference=Preference(losers=1), reference=Reference(kind="frozen")
    )
    found = plans.make(config, "v5e:2x2", latent=LATENT)
    assert found.fits and "preference, dpo, 1 losers, reference frozen" in found.kind
    assert found.memory["reference"] == found.memory["parameters"]
    assert found.flops["formula"] == pytest.approx(8 * flops.forward(config.model, 16, 16) * 4 / 4)
    assert found.collectives["all-gather"][1] > 0
