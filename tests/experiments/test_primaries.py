"""The registered primaries on tables whose numbers are known."""

import json
import pathlib

import numpy as np
import pytest

from experiments.chain_of_steps import primaries
from vrjax.models.embedded import shipped
from vrjax.study import subjects

REGISTERED = pathlib.Path(primaries.__file__).with_name("claims_next.json")
STEPS = np.arange(12)


@pytest.fixture(scope="module")
def mazes():
    return subjects.suite("maze", "test", 8, 1, shipped.load("worlds").cfg)


def perturbed(rates, step=0.0, frame=0.0):
    """Tables of 40 clips of which given shares of answers turn, by third of the steps; by noise at steps and frames."""
    clean = np.zeros(40, int)
    turned = np.repeat(rates, 4)[None] > (np.arange(40) / 40)[:, None]
    table = {"cka": np.zeros((40, 12, 13)), "steps": STEPS, "clean_answer": clean, "renoise_answer": turned.astype(int)}
    changed = lambda rate: np.tile((np.arange(40) < rate * 40).astype(int)[:, None], (1, 6))
    return table | {"step_equal_answer": changed(step), "frame_minus_answer": changed(frame)}


@pytest.fixture(scope="module")
def one(mazes):
    right = np.zeros((8, 1, 6), bool)
    right[:4, :, -1] = True
    ink = np.zeros((8, 1, 6, 5, 5))
    arms = [arm.name for arm in primaries.doses(8, 6)]
    solved = np.zeros((len(arms), 8, 3))
    solved[arms.index("hidden mean, middle blocks, first 2")] = 1
    solved[arms.index("temperature 1/sqrt(M)"), :2] = 1
    looks = np.tile(np.arange(12), 3)
    entrant = {"colours": np.arange(12) // 2, "solved": np.ones((36, 2), bool), "clean_exit": looks}
    entrant |= {"donor_exit": np.roll(looks, 2)}
    new = np.roll(looks, 4)[:, None]
    for edit, seen in (("emptied", new), ("hidden", looks[:, None]), ("ends", np.roll(looks, 2)[:, None])):
        entrant |= {f"{edit}_entrance": seen, f"{edit}_exit": seen}
    flip = np.tile([0, 1, 0, 1, 1, 0, 0, 0], (10, 1)).astype(bool)
    return {
        "maze/paths": {"right": right, "believer_right": ~right, "planted_right": right, "ink": ink, "doubt_ink": ink},
        "entrant/memory": entrant,
        "maze_goals/perturbations": perturbed([0.5, 0.75, 0.25], step=0.5, frame=0.25),
        "maze/goals": {"flip": flip, "usable": np.arange(10) < 9},
        "maze/ensembles": {"arms": np.array(arms), "solved": solved},
        "null": {"maze_goals/perturbations": perturbed([0.6, 0.3, 0.0], step=0.25, frame=0.25)},
        "causal": {"maze_goals/perturbations": perturbed([0, 0, 0], step=0.1, frame=0.4)},
    }


def test_every_primary_is_read_as_registered(one, mazes):
    dose = primaries.best_dose([one["maze/ensembles"]])
    assert dose == "hidden mean, middle blocks, first 2"
    found = primaries.contrasts(one, mazes, dose)
    claims = json.loads(REGISTERED.read_text())["claims"]
    assert [c["id"] for c in claims] == list(found) and all(c["role"] == "primary" for c in claims)
    for claim in claims:
        count = len(claim["measure"]) if isinstance(claim["measure"], list) else 1
        smallest = claim["smallest"] if count > 1 else [claim["smallest"]]
        assert len(found[claim["id"]]) == count == len(smallest)
        for field in ("statement", "statistic", "null", "control", "gate", "unit", "direction"):
            assert claim[field], field
    means = {name: [float(np.nanmean(values)) for values in both] for name, both in found.items()}
    assert means.pop("cos.correction") == [0.5, 1.0]
    assert means.pop("cos.multi_path") == [0.0]
    assert np.allclose(means.pop("cos.memory"), [1 - 5 / 35, 1.0])
    assert np.allclose(means.pop("cos.step_over_frame"), [0.25])
    assert np.allclose(means.pop("cos.peak"), [0.25 + 0.3, 0.5 - 0.3])
    assert means.pop("cos.layer") == [1.0]
    assert means.pop("cos.ensemble") == [1.0, 0.75]
    assert not means


def test_controls(one, mazes):
    found = primaries.controls(one, mazes)
    assert set(found) == {c["id"] for c in json.loads(REGISTERED.read_text())["claims"]}
    met = {name: [rule(value, bound) for _, value, rule, bound in rows] for name, rows in found.items()}
    assert met["cos.memory"] == [True, True] and met["cos.layer"] == [True, True]
    assert met["cos.peak"] == met["cos.step_over_frame"] == [True]
    assert met["cos.correction"] == met["cos.multi_path"] == met["cos.ensemble"] == [False]


def test_unreadable_answers_are_not_turned():
    table = perturbed([0.5, 0.5, 0.5])
    table["renoise_answer"] = np.where(table["renoise_answer"] == 1, -1, 0)
    assert not primaries.turned(table).any()
