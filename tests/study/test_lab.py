"""A model and its tasks in one hand: what the lab samples is what the pipeline samples, and survives the disk."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vrjax
from vrjax import tasks
from vrjax.flow import Record
from vrjax.models import pipeline
from vrjax.models.embedded import shipped
from vrjax.study import Lab, Sampled


@pytest.fixture(scope="module")
def lab():
    return vrjax.load("worlds")


@pytest.fixture(scope="module")
def run(lab):
    taps = {"block.*": lambda h: {"size": jnp.abs(h).mean(), "most": h.max()}, "block.0.ffn": lambda h: h.mean()}
    return lab.sample("maze", clip=7, seeds=2, steps=4, taps=taps)


def test_what_a_lab_knows(lab):
    taught = tuple(name for name in tasks.names() if name != "entrant")
    assert isinstance(lab, Lab) and lab.tasks() == taught
    assert {"embed", "block.*", "block.5.ffn"} <= set(lab.sites())
    assert repr(lab) == f"Lab(worlds: {', '.join(taught)})"


def test_samples_what_the_pipeline_samples(run):
    pipe = pipeline.open(shipped.path("worlds"))
    clip = tasks.get("maze").make(7, "test")
    wanted = pipe.sample(clip, seeds=(0, 1), steps=4)
    np.testing.assert_allclose(run.trajectory.x0, wanted.x0, atol=2e-5)
    np.testing.assert_allclose(run.decode(), pipe.decode(wanted.final), atol=2e-5)
    assert run.decode().shape == (2, *clip.video.shape) and run.trajectory.taps["block.*"]["size"].shape == (2, 4, 6)


def test_verdicts_are_the_verifiers(run):
    rows = run.verdicts()
    assert [(row["seed"], row["step"]) for row in rows] == [(m, s) for m in (0, 1) for s in range(4)]
    task, last = tasks.get("maze"), [row for row in rows if row["step"] == 3]
    for row, film in zip(last, run.decode(), strict=True):  # Euler's last step lands on its own estimate
        assert row["solved"] == task.solved(run.clip, film) and row["score"] == pytest.approx(
            task.score(run.clip, film)
        )
        assert (row["answer"] == run.clip.answer) == row["solved"]
    assert repr(run) == f"Sampled(maze test 7: {sum(row['solved'] for row in last)} of 2 seeds solved)"


def test_survives_the_disk(run, tmp_path):
    again = Sampled.load(run.save(tmp_path / "maze.npz"))
    for a, b in zip(jax.tree.leaves(run.trajectory), jax.tree.leaves(again.trajectory), strict=True):
        np.testing.assert_array_equal(a, b)
    assert again.verdicts() == run.verdicts() and again.trajectory.taps.keys() == run.trajectory.taps.keys()
    with pytest.raises(FileNotFoundError):
        Sampled.load(tmp_path / "nothing.npz")


def test_seeds_may_be_coupled_and_few_steps_kept(lab):
    together = {"block.*": lambda h: jax.lax.pmean(h, "seed")}
    kept = lab.sample("pick", seeds=(3, 5), steps=4, edits=together, record=Record(steps=(0, 3), fields=("x0",)))
    alone = lab.sample("pick", seeds=(3, 5), steps=4, record=Record(steps=(0, 3), fields=("x0",)))
    assert kept.steps == (0, 3) and len(kept.verdicts()) == 4
    assert np.abs(kept.trajectory.x0 - alone.trajectory.x0).max() > 1e-3


def test_mistakes(lab, tmp_path):
    with pytest.raises(FileNotFoundError, match="no model nowhere"):
        vrjax.load("nowhere")
    with pytest.raises(ValueError, match="unknown"):
        lab.sample("maze", split="exam")
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        vrjax.lode  # noqa: B018


def test_importing_the_package_brings_no_jax():
    code = "import sys, vrjax; print('jax' in sys.modules, 'flax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == ["False"] * 2
