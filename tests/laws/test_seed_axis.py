"""The signature move: an edit that takes `lax.pmean(h, "seed")` gives the same numbers through every front door."""

import functools
import pathlib

import jax
import numpy as np
import pytest
from jax import lax

from tests import tiny
from tests.models import tiny_wan
from vrjax import cli, parallel, tasks
from vrjax.align import rollouts
from vrjax.align.config import Rollout
from vrjax.flow import Record, grids, sample
from vrjax.models import causal, pipeline, wan
from vrjax.models.embedded import conditions
from vrjax.models.pipeline import recorder
from vrjax.parallel import Layout, over_seeds
from vrjax.train.evaluate import Evaluator

STEPS, SHIFT, SEEDS, PROMPT = 2, 3.0, (0, 1, 2, 3), "a maze seen from above"
OPTIONS = {"size": (32, 32), "frames": 5, "steps": STEPS, "shift": SHIFT, "solver": "euler", "guidance": 1}
EDITS = {"block.0": lambda h: lax.pmean(h, "seed")}
MESHES = {
    "one": {},
    "seed": {"seed": 4},
    "data": {"data": 4},
    "fsdp": {"fsdp": 4},
    "context": {"context": 2},
    "tensor": {"tensor": 2},
    "seed-data": {"seed": 2, "data": 2},
    "seed-fsdp-context": {"seed": 2, "fsdp": 2, "context": 2},
    "seed-context-tensor": {"seed": 2, "context": 2, "tensor": 2},
    "data-fsdp-tensor": {"data": 2, "fsdp": 2, "tensor": 2},
}


def mesh_of(name):
    axes = MESHES[name]
    return parallel.mesh(axes, devices=jax.devices()[: int(np.prod(list(axes.values())))]) if axes else None


class Scene:
    """One tiny model on disk with one prompt, and what coupled and uncoupled runs of four seeds make of it."""

    def __init__(self, root):
        self.root = tiny_wan.build(root)
        self.pipe = self.open("one")
        self.settings = self.pipe.settings(**OPTIONS)
        self.inputs = self.pipe.prepare(PROMPT, self.settings)
        self.noise = self.pipe.noise(self.settings, SEEDS)
        self.text = self.inputs.given["text"]
        both = [jax.jit(functools.partial(self.vmapped, edits=edits))(self.pipe.dit) for edits in (EDITS, {})]
        self.coupled, self.alone = (np.asarray(found) for found in both)

    def open(self, name):
        return pipeline.open(self.root, cache=self.root / "cache", mesh=mesh_of(name))

    def one(self, x, dit, edits=EDITS):
        velocity = dit.velocity(self.text, edits=edits)
        return sample(velocity, x, self.settings.recipe.grid, record=Record(steps=())).final

    def vmapped(self, dit, edits):
        return jax.vmap(lambda x: self.one(x, dit, edits), axis_name="seed")(self.noise)

    # ---------------------------------------------------------------------------------------------------------- doors

    def mapped(self, how, name):
        think = lambda key, dit: self.one(jax.random.normal(key, self.noise.shape[1:]), dit)
        keys = jax.vmap(jax.random.key)(np.array(SEEDS))
        return over_seeds(think, keys, how, args=(self.open(name).dit,), mesh=mesh_of(name) if how == "mesh" else None)

    def sampled(self, name):
        return self.open(name).sample(PROMPT, seeds=SEEDS, edits=EDITS, record=Record(steps=()), **OPTIONS).final

    def streamed(self, name, folder, edits=EDITS):
        """What `vrjax sample` calls."""
        pipe = self.open(name)
        shape, grid = pipe.latent_shape(self.settings), self.settings.recipe.grid
        kept = recorder.Recorder(folder, grid=grid, steps=(STEPS - 1,), fields=("next",), shape=shape)
        rows = list(kept.stream(pipe, self.settings, self.inputs, SEEDS, edits=edits))
        for _, path, final in rows:  # each seed's callback wrote its own row
            np.testing.assert_array_equal(recorder.read(path)["next"][0], final)
        return np.stack([final for _, _, final in rows])

    def rolled_out(self, name):
        dit = self.open(name).dit
        rollout = Rollout(steps=STEPS, shift=SHIFT, guidance=1.0)
        twice = lambda a: np.stack([a, a])
        image = np.zeros((2, *self.noise.shape[1:-1], 0), np.float32)
        run = jax.jit(lambda dit, *a: rollouts.sample_batch(dit, *a, rollout, dit.layout, edits=EDITS))
        found = run(dit, twice(self.noise), {"text": twice(self.text), "image": image})
        np.testing.assert_allclose(found[1], found[0], atol=1e-6)
        return found[0]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return Scene(tmp_path_factory.mktemp("seeds") / "model")


def test_the_mean_couples(scene):
    assert np.abs(scene.coupled - scene.alone).max() > 1e-2 and np.ptp(scene.coupled, axis=0).max() > 1e-2


@pytest.mark.parametrize(("how", "name"), [("map", "one"), ("pmap", "one"), ("mesh", "seed-data")])
def test_over_seeds(how, name, scene):
    np.testing.assert_allclose(scene.mapped(how, name), scene.coupled, atol=1e-5)


CAUSAL_MODEL = pathlib.Path(__file__).parents[1] / "models" / "fixtures" / "causal"
CAUSAL_STEPS = {"chunk": 1, "window": 2, "steps": (1000, 500)}


class Rolled:
    """Causal rollouts of four seeds, chunk by chunk from a cache, each of its own noise."""

    def __init__(self):
        self.dit = causal.load_dit(CAUSAL_MODEL)
        self.text = np.random.default_rng(0).normal(size=(9, 20)).astype(np.float32)
        self.noise = np.random.default_rng(1).normal(size=(4, 2, 4, 4, 16)).astype(np.float32)
        self.keys = jax.random.split(jax.random.key(0), len(self.noise))
        self.coupled = self.through("vmap", "one")

    def think(self, key, dit, noise):
        own = noise[lax.axis_index("seed")]
        return causal.rollout(dit, self.text, own, key=key, edits=EDITS, **CAUSAL_STEPS).latents

    def through(self, how, name):
        mesh = mesh_of(name) if how == "mesh" else None
        return np.asarray(over_seeds(self.think, self.keys, how, args=(self.dit, self.noise), mesh=mesh))


@pytest.fixture(scope="module")
def rolled():
    return Rolled()


def test_causal_rollouts_are_coupled_in_every_step(rolled):
    alone = causal.rollout(rolled.dit, rolled.text, rolled.noise[0], key=rolled.keys[0], **CAUSAL_STEPS).latents
    assert np.abs(rolled.coupled[0] - alone).max() > 1e-2


@pytest.mark.parametrize(("how", "name"), [("map", "one"), ("pmap", "one"), ("mesh", "seed-data")])
def test_causal_rollouts(how, name, rolled):
    tolerance = 1e-5 * np.abs(rolled.coupled).max()
    np.testing.assert_allclose(rolled.through(how, name), rolled.coupled, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", MESHES)
def test_pipeline(name, scene):
    np.testing.assert_allclose(scene.sampled(name), scene.coupled, atol=1e-5)


@pytest.mark.parametrize("name", ["one", "seed", "seed-data", "seed-fsdp-context"])
def test_command_line(name, scene, tmp_path):
    np.testing.assert_allclose(scene.streamed(name, tmp_path), scene.coupled, atol=1e-5)


def test_the_command_divides_seeds(scene, tmp_path):
    """`vrjax sample --mesh`: seeds over devices, each with its own record."""
    argv = ["sample", "--model", scene.root, "--prompt", PROMPT, "--size", "32x32", "--frames", 5, "--steps", STEPS]
    argv += ["--shift", SHIFT, "--solver", "euler", "--guidance", 1, "--seeds", len(SEEDS)]
    argv += ["--record", "none", "--no-cache"]
    cli.main([str(part) for part in [*argv, "--out", tmp_path / "run", "--mesh", "seed", 2, "data", 2, "tensor", 2]])
    kept = [recorder.read(tmp_path / "run" / "trajectory" / f"seed-{seed}")["final"] for seed in SEEDS]
    np.testing.assert_allclose(np.stack(kept), scene.alone, atol=1e-5)


@pytest.mark.parametrize("name", ["one", "seed", "seed-data", "seed-fsdp-context", "data-fsdp-tensor"])
def test_rollouts(name, scene):
    np.testing.assert_allclose(scene.rolled_out(name), scene.coupled, atol=1e-5)


def evaluated(name):
    """Two clips, and what an evaluation on a mesh makes of four seeds of each, whose layer is averaged in a clip."""
    clips = [tasks.get("maze").make(i, "test") for i in range(2)]
    layout = None if name == "one" else Layout.of(mesh_of(name), parallel.as_rules({}))
    dit = tiny.dit() if layout is None else wan.shard(tiny.dit(), layout.mesh)
    options = {"steps": STEPS, "group": 2, "layout": layout, "edits": EDITS}
    return clips, Evaluator(lambda dit: dit, dit.cfg, **options).videos(dit, clips, seeds=SEEDS)


@pytest.fixture(scope="module")
def on_one_device():
    return evaluated("one")


def test_evaluation_during_training(on_one_device):
    dit = tiny.dit()
    clips, found = on_one_device
    rows = [conditions.example(clip, text_len=dit.cfg.text_len, text_dim=dit.cfg.text_dim) for clip in clips]
    grid = grids.shifted(STEPS, shift=3.0)

    def one(x, row):
        velocity = dit.velocity(row["text"], row["image"], edits=EDITS)
        return sample(velocity, x, grid, record=Record(steps=())).final

    for clip, row, video in zip(clips, rows, found, strict=True):
        noise = np.stack([conditions.clip_noise(clip, row["latent"].shape, seed) for seed in SEEDS])
        final = jax.jit(jax.vmap(functools.partial(one, row=row), axis_name="seed"))(noise)
        np.testing.assert_allclose(video[..., ::4, ::4, :], final, atol=1e-5 * np.abs(final).max())


@pytest.mark.parametrize("name", ["seed-data", "seed-context-tensor"])
def test_evaluation_during_training_on_a_mesh(name, on_one_device):
    for video, expected in zip(evaluated(name)[1], on_one_device[1], strict=True):
        np.testing.assert_allclose(video, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_seeds_that_edits_couple_are_whole_groups(scene, tmp_path):
    grid = scene.settings.recipe.grid
    kept = recorder.Recorder(tmp_path, grid=grid, steps=(), fields=(), shape=scene.noise.shape[1:])
    with pytest.raises(ValueError, match="together=3 does not divide the 4 seeds that edits may couple"):
        next(kept.stream(scene.pipe, scene.settings, scene.inputs, SEEDS, together=3, edits=EDITS))
