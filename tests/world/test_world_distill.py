"""Distilling a learned world: nothing moves while the critic is the teacher; what comes out takes few steps."""

import dataclasses
import json
from typing import Any

import chex
import jax
import numpy as np
import pytest

from tests.world.world_toys import NETWORK, untrained
from vrjax.models import family
from vrjax.train.config import Checkpoint, Data, Ema, Optim
from vrjax.world import learned
from vrjax.world.learned import distill


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worlds") / "world"
    learned.save(untrained(), folder)
    return folder


def config(home, **options):
    made: dict[str, Any] = {
        "name": "few", "model": NETWORK, "world": str(home), "steps": 2, "frames": 3, "measured": 0, "critic_steps": 2,
        "data": Data(batch=2), "checkpoint": Checkpoint(every=2), "dtype": "float32", "ema": Ema(decay=0.0),
        "optim": Optim(kind="adamw", lr=1e-3, warmup=1, weight_decay=0.0),
    }  # fmt: skip
    return distill.DistillConfig(**made | options)


def rows(folder):
    return [json.loads(line) for line in (folder / "few" / "metrics.jsonl").read_text().splitlines()]


def test_while_the_critic_is_the_teacher_nothing_moves(home, tmp_path):
    w = distill.run(config(home, critic_lr=1e-30), root=tmp_path)
    assert all(row["loss"] == 0 and row["grad_norm"] == 0 for row in rows(tmp_path))
    first = learned.load(home)
    chex.assert_trees_all_equal(jax.tree.leaves(w.network), jax.tree.leaves(first.network))
    assert w.spec == dataclasses.replace(first.spec, steps=2, solver="renoise")
    kept = json.loads((tmp_path / "few" / "config.json").read_text())["config"]
    assert kept["start"] == str(home / "network")  # of whatever world it is, unless another start is given
    assert dataclasses.replace(config(home), world="other").start is None


def test_the_critic_learns_and_the_student_moves(home, tmp_path):
    """With a teacher that sees a film as a whole: its one chunk behind the first frame."""
    whole = dataclasses.replace(NETWORK, first=1, chunk=2, window=None, positions="absolute")
    of = family.of(whole)
    of.save(of.init(whole, jax.random.key(8)), tmp_path / "teacher")
    made = config(home, teacher=str(tmp_path / "teacher"), critic_lr=1e-2, steps=3)
    w = distill.run(made, root=tmp_path)
    told = rows(tmp_path)
    assert told[-1]["critic"] < told[0]["critic"]
    assert all(np.isfinite(row["loss"]) and row["loss"] > 0 and row["grad_norm"] > 0 for row in told[1:])
    first = learned.load(home)
    away = [
        np.abs(a - b).max() for a, b in zip(jax.tree.leaves(w.network), jax.tree.leaves(first.network), strict=True)
    ]
    assert max(away) > 1e-4 and int(w.mark) != int(first.mark)
    state = w.step(w.make(jax.random.key(0)), np.zeros(2, np.float32), jax.random.key(1))
    assert np.isfinite(state.latent).all()


@pytest.mark.parametrize(
    "options, message",
    [({"few": 0}, "few=0"), ({"accumulate": 2}, "found lora or accumulate"), ({"critic_lr": 0.0}, "critic_lr=0.0")],
)
def test_runs_that_are_refused(home, options, message):
    with pytest.raises(ValueError, match=message):
        config(home, **options)


def test_a_teacher_must_begin_with_the_given_frame(home, tmp_path):
    pairs = dataclasses.replace(NETWORK, chunk=3)
    of = family.of(pairs)
    of.save(of.init(pairs, jax.random.key(8)), tmp_path / "teacher")
    with pytest.raises(ValueError, match=r"a teacher of chunks \(3,\), expected the first to be one frame"):
        distill.run(config(home, teacher=str(tmp_path / "teacher")), root=tmp_path)
