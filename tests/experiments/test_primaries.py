"""The registered primaries on tables whose numbers are known."""

import numpy as np
import pytest

from experiments.chain_of_steps import doses, primaries, verdicts
from vrjax.study import registration


def noised(rates, step=0.0, frame=0.0):
    """Tables of 40 clips of which given shares of answers turn, by third of the steps; by noise at steps and frames."""
    rank = (np.arange(40) / 40)[:, None]
    changed = lambda rate, sites: np.tile(rank < rate, (1, sites)).astype(np.int8)
    turned = (np.repeat(rates, 4)[None] > rank).astype(np.int8)
    return {"clean": np.zeros(40, np.int8), "step": changed(step, 12), "frame": changed(frame, 8), "renoise": turned}


@pytest.fixture(scope="module")
def one():
    """Tables of a seed, part by part."""
    right = np.zeros((8, 1, 6), bool)
    right[:4, :, -1] = right[6:] = True
    ink = np.full((8, 1, 6), 0.25, np.float16)
    paths = {"right": right, "believer_right": ~right, "planted_right": right}
    paths |= {"branch_ink": ink, "placebo_ink": ink * 0, "doubt_branch_ink": ink, "doubt_placebo_ink": ink}
    arms = [dose.name for dose in doses.doses(6)]
    solved = np.zeros((len(arms), 8, 3), bool)
    solved[arms.index("hidden mean, middle blocks, first 2")] = True
    solved[arms.index(doses.COOL), :2] = True
    ensembles = {"arms": np.array(arms), "solved": solved}
    looks = np.tile(np.arange(12), 3)
    entrant = {"colours": np.arange(12) // 2, "solved": np.ones((36, 2), bool), "clean_exit": looks}
    entrant |= {"donor_exit": np.roll(looks, 2)}
    new = np.roll(looks, 4)[:, None]
    for edit, seen in (("emptied", new), ("hidden", looks[:, None]), ("ends", np.roll(looks, 2)[:, None])):
        entrant |= {f"{edit}_entrance": seen, f"{edit}_exit": seen}
    flip = np.tile([0, 1, 0, 1, 1, 0, 0, 0], (10, 1)).astype(bool)
    return {
        "maze/paths": paths,
        "entrant/memory": entrant,
        "maze_goals/disturbed": noised([0.5, 0.75, 0.25], step=0.5, frame=0.25),
        "maze/goals": {"flip": flip, "usable": np.arange(10) < 9},
        "maze/ensembles": ensembles,
        "maze/doses": ensembles,
    }


@pytest.fixture(scope="module")
def measured(one):
    null = {"maze_goals/disturbed": noised([0.6, 0.3, 0.0], step=0.25, frame=0.25)}
    causal = {"maze_goals/disturbed": noised([0, 0, 0], step=0.1, frame=0.4)}
    one = {**one, "dose": doses.best([one["maze/doses"]])}
    of = {"model": [one, one], "null": [null, null], "causal": [{**causal, "model": one}]}
    return verdicts.Measured(of, {"maze: solved": [0.8, 0.9]}, one["dose"])


def test_every_primary_is_read_as_registered(measured):
    assert measured.dose == "hidden mean, middle blocks, first 2"
    found = {}
    for claim in registration.read(primaries.__file__).claims:
        if claim["role"] == "primary":
            read = claim["how"]["measure"]
            several = read.values() if isinstance(read, dict) else [read]
            values = [verdicts._values(measured, name, claim["how"].get("minus")) for name in several]
            assert all(value.shape[0] == 2 and value.ndim == 3 for value in values)
            found[claim["id"]] = [float(value.mean()) for value in values]
    assert found.pop("cos.correction") == [0.5, 1.0]
    assert found.pop("cos.multi_path") == [0.25]
    assert np.allclose(found.pop("cos.memory"), [1 - 5 / 35, 1.0])
    assert np.allclose(found.pop("cos.step_over_frame"), [0.25])
    assert np.allclose(found.pop("cos.peak"), [0.25 + 0.3, 0.5 - 0.3])
    assert found.pop("cos.layer") == [1.0]
    assert found.pop("cos.ensemble") == [1.0, 0.75]
    assert not found


def test_controls(measured):
    found = {**verdicts.controls(measured), **measured.gates}
    met = {}
    for claim in registration.read(primaries.__file__).claims:
        met[claim["id"]] = [check.passed for check in registration.checks(claim, "control", found)]
    assert met["cos.memory"] == [True, True] and met["cos.layer"] == [True, True]
    assert met["cos.peak"] == met["cos.step_over_frame"] == [True]
    assert met["cos.correction"] == met["cos.multi_path"] == met["cos.ensemble"] == [False]
    assert found["noise at a frame: frame-causal reasoners minus reasoners"] == [pytest.approx(0.4 - 0.25)]


def test_what_was_not_measured_has_no_number(one, measured):
    few = verdicts.Measured({"model": [one, one]}, {}, "")
    assert not {what for what, (who, _) in verdicts.CONTROLS.items() if who == "causal"} & set(verdicts.controls(few))
    how = {"minus": "null"}
    beside = verdicts._beside(measured, "a", "step_over_frame", how)
    assert set(beside) == {"a, model, not minus null", "a, null model", "a, frame-causal"}
    assert beside["a, null model"] == 0 and beside["a, frame-causal"] == pytest.approx(-0.3)
