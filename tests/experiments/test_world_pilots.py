"""Pilots: a world that is the exact one is off by nothing; words of a search."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.world_model import names, pilots
from experiments.world_model.config import Search
from tests.world.world_toys import SPEC, untrained

KEY = jax.random.key(1)


def test_how_far_off_a_shoved_block_is():
    """An untrained world is off by more than a trained one, and by less than the plane is wide."""
    near, far = pilots.contact(untrained(), KEY, count=4, steps=16)
    assert 0.5 < near < 16 and 0.5 < far < 16


def test_chance_of_a_walk():
    """An untrained world is off the law; one without chance has none."""
    slippery = dataclasses.replace(SPEC, options=(*SPEC.options, ("stay", 0.5)))
    first, *_, last = pilots.chances_of(untrained(spec=slippery), KEY, count=2)
    assert set(first) == set(last) and first["bias"] > 0.1 and 0 <= last["coverage"] <= 1
    with pytest.raises(ValueError, match="agent stays with probability 0"):
        pilots.chances_of(untrained(), KEY, count=2)


def test_plans_through_the_exact_world(capsys):
    words = ["plans", "--layouts", "4", "--steps", "24", "--search", "horizon=6", "candidates=24", "elites=4"]
    assert pilots.main(words) == 0
    told = capsys.readouterr().out
    assert told.startswith(names.EXACT) and "288 model calls a plan" in told
    assert float(told.split(": ")[1].split(" ")[0]) >= 0.5
    one = Search(horizon=3, candidates=2, iterations=1, elites=1)
    found = pilots.reached(None, one, KEY, layouts=3, steps=3, act=3)
    assert found.shape == (3, 2) and np.all(found[:, 0] >= found[:, 1])


def test_words_of_a_search(capsys):
    assert pilots.searched(["method=gradient+cem", "rate=0.2", "horizon=3"]) == Search(
        method="gradient+cem", rate=0.2, horizon=3
    )
    for word in ("horizons=3", "horizon"):
        with pytest.raises(ValueError, match=f"--search: found '{word}', expected FIELD=VALUE"):
            pilots.searched([word])
    assert pilots.main(["contact", "/nowhere"]) == 2
    assert capsys.readouterr().err.startswith("world_model: no learned world /nowhere")
