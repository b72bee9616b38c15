"""The metrology of motion: defects of known size, and what metrics make of them."""

import pathlib

import jax
import numpy as np
import pytest

from experiments.vimogen import metrology
from tests.laws.test_representations import clip
from vrjax.motion import representations
from vrjax.report import tables


@pytest.fixture(scope="module")
def found():
    return metrology.measure(metrology.walks())


@pytest.fixture(scope="module")
def verdicts(found):
    return {verdict.metric: verdict for verdict in metrology.judge(found)}


def feet_and_standing(walk):
    """The toes, and where each stands for the step to the next frame, from how a walk was made."""
    t = np.arange(walk.frames) / metrology.FPS
    part = np.mod(t[:, None] / (2 * metrology.STEP) + walk.phase + np.array([0, 0.5]), 1)
    stands = part >= metrology.SWING
    return metrology.joints(walk)[:, [10, 11]], stands[:-1] & stands[1:]


@pytest.mark.parametrize("walk", metrology.walks())
def test_walks_stand_still_on_the_floor_and_go_where_they_should(walk):
    toes, standing = feet_and_standing(walk)
    steps = np.linalg.norm(np.diff(toes, axis=0), axis=-1)
    assert standing.mean() > 0.4 and np.abs(steps[standing]).max() < 1e-12
    assert toes[..., 2].min() == 0.0
    x = metrology.joints(walk)
    way = x[-1, 0, :2] - x[0, 0, :2]
    assert np.hypot(*way) == pytest.approx(walk.speed * (walk.frames - 1) / metrology.FPS, rel=0.01)
    for hip, knee, ankle in ((1, 4, 7), (2, 5, 8)):
        for a, b in ((hip, knee), (knee, ankle)):
            np.testing.assert_allclose(np.linalg.norm(x[:, a] - x[:, b], axis=-1), metrology.THIGH, atol=1e-9)


def test_a_planted_slide_and_a_planted_depth_are_read_as_they_were_planted(found):
    """A slide is what every standing foot does in a frame; a depth what a standing toe lies under the floor.

    The metric takes lifting and landing toes under 2 cm for standing ones: it reads about four fifths of the slide, on
    top of what it reads of feet that do not slide at all.
    """
    slides = found["slide"]["Foot_Sliding"] - found["none"]["Foot_Sliding"]
    np.testing.assert_allclose(slides, metrology.DEFECTS["slide"][1], rtol=0.25)
    assert found["none"]["Foot_Sliding"][0] > 0.005
    depth = found["sink"]["Ground_Penetration"]
    assert all(0.5 * d < value <= d for d, value in zip(metrology.DEFECTS["sink"][1], depth, strict=True))
    walk = metrology.walks()[0]
    angle = np.radians(metrology.DEFECTS["heading"][1])
    offs = [np.linalg.norm(metrology.joints(w)[:, 0, :2], axis=-1).mean() for w in metrology.walks()]
    np.testing.assert_allclose(found["heading"]["path error"], 2 * np.sin(angle / 2) * np.mean(offs), rtol=1e-4)
    assert walk.frames == 60


def test_a_rate_that_is_wrong_makes_motion_slower_and_smoother(found):
    """Read at 20, a file of r frames a second is r / 20 slower, and has that squared less jitter."""
    ratio = np.array(metrology.DEFECTS["rate"][1]) / metrology.FPS
    np.testing.assert_allclose(found["rate"]["Dynamic_Degree"] * ratio, found["none"]["Dynamic_Degree"][0], rtol=0.05)
    np.testing.assert_allclose(found["rate"]["Jitter_Degree"] * ratio**2, found["none"]["Jitter_Degree"][0], rtol=0.15)


def test_a_turned_walk_is_the_same_to_all_five_and_not_to_its_path(found, verdicts):
    for metric in ("Jitter_Degree", "Dynamic_Degree", "Foot_Sliding", "Ground_Penetration", "Foot_Floating"):
        np.testing.assert_allclose(found["heading"][metric], found["none"][metric][0], atol=1e-12)
    assert verdicts["path error"].monotone and verdicts["path error"].values[0] == 0.0


def test_what_the_table_says(verdicts):
    """The findings that the page prints: they are facts of the public definitions, and of no model."""
    monotone = {name for name, verdict in verdicts.items() if verdict.monotone}
    assert monotone >= {"Jitter_Degree", "Dynamic_Degree", "Foot_Sliding", "Ground_Penetration", "path error"}
    assert monotone >= {"keyframe error", "end-effector error"}
    assert not verdicts["Ground_Penetration, official path"].monotone
    assert verdicts["foot skate ratio"].values[0] == verdicts["foot skate ratio"].values[2]  # blind under 0.2 m/s
    wins = {name for name, verdict in verdicts.items() if verdict.frozen_wins}
    assert {"Jitter_Degree", "Foot_Sliding"} <= wins and not wins & {"Dynamic_Degree", "path error", "keyframe error"}
    assert verdicts["Jitter_Degree"].reacts.get("rate") == "better"
    floating, sliding = verdicts["Foot_Floating"], verdicts["Foot_Sliding"]
    assert floating.values == (0.0,) * 4 and floating.reacts.get("glide") == "worse"  # a hovering body is not floating
    assert sliding.reacts.get("hover") == "better" and sliding.reacts.get("sink") == "worse"
    assert not verdicts["end-effector error"].reacts.get("sink") == "better"


def test_every_metric_meets_every_defect_and_the_table_has_them_all(found, verdicts):
    assert set(found) == {*metrology.DEFECTS, metrology.BASE, metrology.FROZEN}
    for name, values in found.items():
        assert set(values) == set(metrology.OWN)
        for value in values.values():
            assert value.shape == ((3,) if name in metrology.DEFECTS else (1,)) and np.isfinite(value).all()


def test_the_readme_has_this_table(verdicts):
    page = pathlib.Path(metrology.__file__).with_name("README.md").read_text("utf-8")
    assert tables.markdown(*metrology.cells(list(verdicts.values()))) in page
    for name, (unit, strengths, _) in metrology.DEFECTS.items():
        assert f"| {name} | {unit} | {', '.join(map(str, strengths))} |" in page


def test_representations_keep_motions_and_their_dynamics():
    """What reads heights may change: HumanML3D's rows put the lowest joint on the floor."""
    found = metrology.round_trips(jax.tree.map(lambda x: x[None], clip()))
    assert set(found) == set(representations.names())
    for changes in found.values():
        assert changes["joints"] < 1e-4 and changes["Jitter_Degree"] < 1e-4 and changes["Dynamic_Degree"] < 1e-4
    assert max(found["vimogen"].values()) < 1e-4
