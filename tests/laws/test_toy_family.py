"""A toy family of its own goes through the rooms unchanged: it trains, resumes, aligns, samples and is planned."""

import dataclasses
import json
import pathlib
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import Cut

import vrjax.models
from vrjax import flow, parallel
from vrjax.align import step as align_step
from vrjax.align.config import AlignConfig, Preference, Rollout
from vrjax.data import batches
from vrjax.files import tensors
from vrjax.models import family
from vrjax.models.pipeline import denoise
from vrjax.plan import single, slices
from vrjax.plan.jobs.sampling import SampleConfig
from vrjax.train import config as configs
from vrjax.train import loop
from vrjax.train import step as train_step
from vrjax.train.config import Checkpoint, Data, Lora, Optim, TrainConfig, Validate

vrjax.models.__path__.append(str(pathlib.Path(__file__).parent))
Toy = family.get("toy").Config


class Clips:
    """Rows of a data set of its own: latents, and the goal that they show."""

    def __len__(self):
        return 8

    def __getitem__(self, i):
        goal = np.random.default_rng(i).normal(size=5).astype(np.float32)
        return {"latent": np.broadcast_to(goal[:3], (2, 4, 4, 3)), "goal": goal}


def prepare(update, extended=lambda config, *made: made, left=99):
    """A run's parts, with `Clips` instead of the procedural worlds."""

    def parts(made):
        config = made.network.config
        clips = batches.Shuffled(Clips(), config.seed, "clips")
        data = batches.pipeline(clips, batch=config.data.batch, rows=made.rows)
        state, shardings = extended(config, made.state, made.shardings)
        return loop.Parts(state, update(made.network, made.mesh, shardings), Cut(data, left))

    return parts


COMMON: dict[str, Any] = {
    "name": "toy",
    "model": Toy(),
    "steps": 4,
    "data": Data(batch=4),
    "checkpoint": Checkpoint(every=2),
    "validate": Validate(every=0, final_clips=0),
    "dtype": "float32",
}
TRAIN = TrainConfig(**COMMON, optim=Optim(lr=0.03, warmup=1))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    loop.run(TRAIN, root=root, prepare=prepare(train_step.make))
    return root / "toy"


def losses(run):
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_toy_trains_and_its_config_is_read_back(trained):
    found = losses(trained)
    assert len(found) == 4 and found[-1] < 0.9 * found[0]
    assert configs.load(trained / "config.json") == TRAIN
    assert family.get("toy").load(trained / "model").cfg == TRAIN.model


def test_toy_resumes_bitwise(trained, tmp_path):
    """Broken off behind a checkpoint and gone on with: the same bits."""
    with pytest.raises(OSError, match="the power is gone"):
        loop.run(TRAIN, root=tmp_path, prepare=prepare(train_step.make, left=3))
    loop.run(TRAIN, root=tmp_path, prepare=prepare(train_step.make))
    assert losses(tmp_path / "toy") == losses(trained)
    load = family.get("toy").load
    chex.assert_trees_all_equal(load(tmp_path / "toy" / "model"), load(trained / "model"))


def test_toy_aligns(trained, tmp_path):
    """DPO with a LoRA against losers that the base samples inside the update."""
    made: dict[str, Any] = {
        "start": str(trained / "model"),
        "lora": Lora(rank=2),
        "rollout": Rollout(source="base", steps=2),
    }
    made["preference"] = Preference(beta=100.0)  # errors that differ by their last bit stay within the bound below
    config = AlignConfig(**COMMON, **made, optim=Optim(kind="adamw", lr=0.01, warmup=1))
    loop.run(config, root=tmp_path, prepare=prepare(align_step.make, align_step.extended))
    rows = [json.loads(line) for line in (tmp_path / "toy" / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["loss"] == pytest.approx(np.log(2), rel=1e-5)  # policy and reference start equal
    assert rows[-1]["accuracy"] > 0.5 and rows[-1]["loss"] < rows[0]["loss"]
    assert len(tensors.read(tmp_path / "toy" / "adapter.safetensors").shapes) == 6


def test_toy_samples(trained):
    """Guided, with an edit over the seeds, by the program of pipelines and evaluation; compiled once."""
    dit = family.get("toy").load(trained / "model")
    goal = jnp.asarray(Clips()[0]["goal"])
    recipe = denoise.Recipe(flow.grids.shifted(6, shift=1.0), "euler", (1.5,))
    inputs = denoise.Inputs({"goal": goal}, {"goal": jnp.zeros_like(goal)})
    run = denoise.run(recipe, edits={"block.*": lambda h: jax.lax.pmean(h, "seed")})
    run = jax.jit(chex.assert_max_traces(run, n=1))
    noise = jax.random.normal(jax.random.key(0), (2, *Toy().latent))
    traj = run((dit,), inputs, noise, jnp.arange(2))
    again = run((dit,), inputs, noise[::-1], jnp.arange(2))
    assert traj.x0.shape == (2, 6, *Toy().latent)
    np.testing.assert_allclose(traj.v[0] - traj.v[1], 0, atol=1e-5)  # all seeds see the mean of all
    np.testing.assert_allclose(again.final[0], traj.final[1], rtol=1e-4, atol=1e-5)


def test_toy_is_planned():
    """By account, without a compiler; and what a slice would need, from shapes alone."""
    config = SampleConfig(name="toy", model=Toy(), latent=Toy().latent, seeds=2, steps=4)
    found = single.account(config, "gpu:16")
    assert found.fits and found.tokens == 32 and found.flops == 2 * 2 * family.get("toy").flops(Toy(), Toy().latent)
    update, arguments = train_step.abstract(TRAIN, parallel.mesh({}, devices=jax.devices()[:1]), Toy().latent)
    assert set(arguments[2]) == {"latent", "goal"}
    assert update.lower(*arguments).out_info[1]["loss"].shape == ()


@pytest.mark.plan
@pytest.mark.parametrize("kind", ["training", "sampling"])
def test_toy_is_compiled_for_a_slice(kind):
    config = dataclasses.replace(TRAIN, mesh={"fsdp": 4})
    if kind == "sampling":
        config = SampleConfig(name="toy", model=Toy(), latent=Toy().latent, seeds=4, steps=4, mesh={"data": 4})
    plan = slices.make(config, "v5e:2x2", latent=Toy().latent)
    assert plan.fits and plan.chips == 4 and 0 < plan.flops["formula"] <= 4 * plan.flops["compiled"]
