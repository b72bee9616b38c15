"""A motion network in the rooms that speak to families: it trains, aligns with its own samples, and is planned."""

import dataclasses
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from vrjax import flow, parallel
from vrjax.align import step as align_step
from vrjax.align.config import AlignConfig, Preference, Rollout
from vrjax.data import motions
from vrjax.data.motions import Motions
from vrjax.files import records, writing
from vrjax.models import family
from vrjax.models import motion as models
from vrjax.models.pipeline import denoise
from vrjax.plan import single
from vrjax.plan.jobs import sampling
from vrjax.train import state as states
from vrjax.train import step as train_step
from vrjax.train.config import Data, Objective, Optim, TrainConfig, Validate

LATENT = (6, 12)
MODEL = models.MotionConfig(
    dim=16, ffn_dim=24, heads=4, layers=2, channels=12, reference_channels=8, text_dim=6, freq_dim=8, text_len=5,
    mode="mixed", gate_init=1.0,
)  # fmt: skip
COMMON = {
    "name": "motion",
    "model": MODEL,
    "steps": 20,
    "data": Data(batch=8),
    "validate": Validate(every=0, final_clips=0),
    "dtype": "float32",
}
TRAIN = TrainConfig(
    **COMMON, optim=Optim(kind="adamw", lr=1e-2, warmup=1, final=1.0), objective=Objective(drop_others=0.5)
)
ALIGN = AlignConfig(
    **COMMON, optim=Optim(kind="adamw", lr=1e-3, warmup=0, final=1.0), preference=Preference(beta=20.0),
    rollout=Rollout(source="policy", steps=2),
)  # fmt: skip


@pytest.fixture(scope="module")
def batch():
    """Motions with their texts, and a reference that is the motion's first channels."""
    normal = lambda seed, *shape: np.asarray(jax.random.normal(jax.random.key(seed), shape))
    text = normal(0, 8, 5, 6)
    latent = 0.3 * normal(1, 8, *LATENT) + text[:, :1, :1]
    return {"latent": latent, "text": text, "reference": latent[..., :8], "pair": np.arange(8, dtype=np.int32)}


def updates(config, batch, make, extended=lambda config, *made: made, count=1):
    """Metrics of the first updates, and the state after them."""
    mesh = parallel.run_mesh(config.mesh)
    network, *made = states.make(config, mesh)
    state, shardings = extended(config, *made)
    update = make(network, mesh, shardings)
    key = jax.device_put(states.run_key(config, states.STEP), shardings.step)
    rows = jax.device_put(batch, states.batch_sharding(config, mesh))
    out = []
    for _ in range(count):
        state, metrics = update(state, network.base, rows, key)
        out.append(jax.device_get(metrics))
    return out, jax.device_get(state)


def test_it_trains_on_both_branches(batch):
    """Withheld references take the text: both branches learn in one program, and the loss falls."""
    found, after = updates(TRAIN, batch, train_step.make, count=20)
    assert found[-1]["loss"] < 0.9 * found[0]["loss"] and np.isfinite([row["loss"] for row in found]).all()
    start = states.fresh_weights(TRAIN)["blocks"]
    for name in ("cross_attn", "reference_attn"):
        assert np.abs(after.params["blocks"][name]["q"]["kernel"] - start[name]["q"]["kernel"]).max() > 1e-3, name


def test_a_preference_step_is_the_same_on_a_mesh(batch):
    """Losers are its own samples, drawn inside of the update, in one program over eight devices."""
    own = dataclasses.replace(ALIGN, model=dataclasses.replace(MODEL, mode="text", reference_channels=None))
    mesh = dataclasses.replace(own, mesh={"data": 2, "fsdp": 2, "context": 2})
    (plain,), alone = updates(own, batch, align_step.make, align_step.extended)
    (spread,), there = updates(mesh, batch, align_step.make, align_step.extended)
    assert plain["loss"] == pytest.approx(np.log(2), rel=1e-4)  # policy and reference start equal
    for name in ("loss", "relative", "grad_norm", "lose_motion"):
        np.testing.assert_allclose(spread[name], plain[name], rtol=2e-5, err_msg=name)
    tiny.same_updates([there], [alone])


def test_winners_are_made_inside_the_preference_step():
    """What an update makes of numbers of motions is what it makes of the motions."""
    spec = Motions(rows=6, corrupted=False)
    sizes = {"channels": 276, "layers": 1, "reference_channels": None, "reference_layers": None, "text_len": 24}
    model = dataclasses.replace(MODEL, mode="text", predicts="clean", **sizes)
    own = dataclasses.replace(ALIGN, model=model, data=Data(motions=spec, batch=8))
    numbers = {"seed": np.full(8, 3, np.uint32), "number": np.arange(8, dtype=np.uint32)}
    (found,), after = updates(own, numbers, align_step.make, align_step.extended)
    batch = jax.jit(lambda numbers: motions.make(spec, **numbers, text=(24, 6)))(numbers)
    given = dataclasses.replace(own, data=Data(batch=8))
    (same,), there = updates(given, {name: np.asarray(batch[name]) for name in ("latent", "text")}, align_step.make,
                             align_step.extended)  # fmt: skip
    for name in ("loss", "grad_norm", "win_motion", "lose_motion"):
        np.testing.assert_allclose(found[name], same[name], rtol=2e-5, err_msg=name)
    tiny.same_updates([after], [there])
    for other in ({"shortest": 4}, {"told_by_text": (0.8,)}, {"noisy": ("S",)}):
        with pytest.raises(ValueError, match="preferences on motions have no use for"):
            dataclasses.replace(own, data=Data(motions=dataclasses.replace(spec, **other), batch=8))


def test_it_samples_by_the_program_of_pipelines():
    """Guided, seeds coupled by an edit, on one device and on a mesh; the reference by the branch of the config."""
    dit = jax.jit(models.init, static_argnums=0)(MODEL, jax.random.key(0))
    recipe = denoise.Recipe(flow.grids.vimogen(3), "euler", (1.5,))
    text = jax.random.normal(jax.random.key(1), (5, 6))
    given = {"text": text, "reference": jnp.zeros((6, 8))}
    run = jax.jit(denoise.run(recipe, edits={"block.1": lambda h: jax.lax.pmean(h, "seed")}))
    noise = jax.random.normal(jax.random.key(2), (4, *LATENT))
    ask = lambda dit: run((dit,), denoise.Inputs(given, {"text": 0 * text}), noise, jnp.arange(4))
    plain = ask(dit)
    np.testing.assert_allclose(plain.v[0] - plain.v[1], 0, atol=1e-5)  # all seeds see the mean of all
    placed = family.shard(dit, parallel.mesh({"seed": 2, "fsdp": 2, "context": 2}))
    np.testing.assert_allclose(ask(placed).x, plain.x, atol=1e-5)


def test_a_config_for_slices():
    """What a slice would need is read from shapes; the true sizes, and the account of one device."""
    config = runpy.run_path("configs/pods/vimogen_sample.py")["config"]()
    found = single.account(config, "gpu:24")
    assert found.fits and found.tokens == 100
    assert found.memory["parameters"] == pytest.approx(2 * 2_258_214_420, rel=1e-2)  # bfloat16, few float32
    model = dataclasses.replace(config.model, mode="mixed", remat="attention")
    trained = TrainConfig(name="motions", model=model, steps=9)
    assert records.from_dict(TrainConfig, writing.to_dict(trained)) == trained
    small = dataclasses.replace(config, model=MODEL, latent=LATENT, seeds=2, steps=2, mesh={"fsdp": 2})
    run, arguments = sampling.make(small, parallel.mesh({"fsdp": 2}, devices=jax.devices()[:2]))
    assert run.lower(*arguments).out_info.x.shape == (2, 3, *LATENT)
    assert set(arguments[1].given) == {"text", "reference"}
