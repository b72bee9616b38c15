"""Bodies without a browser: what their records refuse and complete, the view, the feet, what the page is sent."""

import base64
import io
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import report_samples as samples
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_html import HOSTILE, Reader

from vrjax import motion
from vrjax.motion import constraints, program
from vrjax.report import _payload, figures, html, notebook, skeletons


def pinhole(points, azimuth, elevation, centre, radius, wide, tall, zoom=1.0):
    """The view in float64, from the eye's place and what it looks at: an oracle for Python and for the page."""
    a, e = np.radians([azimuth, elevation])
    eye = np.asarray(centre) + 5 * radius * np.array([np.sin(a) * np.cos(e), np.cos(a) * np.cos(e), np.sin(e)])
    ahead = (centre - eye) / np.linalg.norm(centre - eye)
    right = np.cross(ahead, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    local = (np.asarray(points, np.float64) - eye) @ np.stack([right, np.cross(right, ahead), ahead], 1)
    focal = zoom * min(wide, tall) / (2 * radius) * 5 * radius
    return np.stack(
        [wide / 2 + focal * local[..., 0] / local[..., 2], tall / 2 - focal * local[..., 1] / local[..., 2]], -1
    )


@settings(max_examples=60, deadline=None)
@given(st.floats(-180, 180), st.floats(-80, 80), st.floats(0.5, 20), st.integers(0, 10_000))
def test_the_view_is_a_pinhole_camera(azimuth, elevation, radius, seed):
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=3)
    points = centre + radius * rng.uniform(-1, 1, (22, 3))
    found = skeletons.project(points, skeletons.View(centre, radius, azimuth, elevation), 320, 200)
    np.testing.assert_allclose(found, pinhole(points, azimuth, elevation, centre, radius, 320, 200), atol=1e-6)


def test_from_the_front_the_left_hand_is_on_the_right_and_from_above_the_nose_points_down():
    wrists = samples.REST[[20, 21]]
    front = skeletons.project(wrists, skeletons.View(samples.REST[0], 1.0, 0, 0), 100, 100)
    assert front[0, 0] > 59 > 41 > front[1, 0]
    above = skeletons.project(
        np.array([[0, 0, 0.9], [0, 1, 0.9]]), skeletons.View(samples.REST[0], 1.0, 0, 90), 100, 100
    )
    assert above[1, 1] > above[0, 1] + 30 and abs(above[1, 0] - above[0, 0]) < 1e-6
    behind = skeletons.project(np.array([0, 60.0, 1]), skeletons.View(samples.REST[0], 1.0, 0, 0), 100, 100)
    assert np.isnan(behind).all()


def test_bones_are_the_tree_of_vrjax_motion():
    tree = skeletons.bones()
    assert [(joint, parent) for joint, parent, _ in tree] == list(enumerate(motion.PARENTS))[1:]
    assert {motion.JOINTS[joint] for joint, _, side in tree if side == "left"} == {
        name for name in motion.JOINTS if name.startswith("left")
    }


def test_feet_stand_where_they_are_low_or_nearly_so_and_still_and_slide_where_they_move():
    joints = samples.walk(40, speed=0.7)
    stands = skeletons.standing(joints, 0.0, 20.0)
    does = skeletons.feet(joints, stands, 20.0)
    for t in range(39):
        for foot, toe in enumerate((10, 11)):
            here, there = joints[t, toe].astype(float), joints[t + 1, toe].astype(float)
            speed = sum((there - here) ** 2) ** 0.5 * 20
            assert stands[t, foot] == (here[2] < 0.02 or (here[2] < 0.05 and speed <= 0.2))
            slides = stands[t, foot] and stands[t + 1, foot] and speed > 0.2
            assert does[t, foot] == (2 if slides else int(stands[t, foot]))
    assert set(does.ravel()) == {0, 1, 2}
    still = np.repeat(samples.REST[None], 5, 0) + np.float32([0, 0, 0.015])  # toes at 3 cm
    feet = lambda motion: skeletons.feet(motion, skeletons.standing(motion, 0.0, 20.0), 20.0)
    assert (feet(still) == 1).all() and (feet(still[:1]) == 1).all() and (feet(still + [0, 0, 0.03]) == 0).all()
    assert (feet(still + 0.1 * np.arange(5)[:, None, None] * [1, 0, 0]) == 0).all()  # passes low at 2 m/s


def test_what_skates_by_kimodos_rule_and_stands_here_is_said_to_slide():
    """On a sole that never leaves the floor both rules are one: the share is foot_skate_ratio, code of its own."""
    joints = samples.walk(40, speed=0.7)
    joints[:, [10, 11], 2] = 0.01
    does = skeletons.feet(joints, skeletons.standing(joints, 0.0, 20.0), 20.0)
    wanted = float(constraints.foot_skate_ratio(jnp.asarray(joints)))
    assert 0.2 < wanted < 1 and (does[:-1] == 2).mean() == pytest.approx(wanted, abs=1e-6)


def test_contacts_that_are_known_are_shown():
    clip = samples.walk(20)
    planted = np.zeros((1, 1, 20, 2), bool)
    planted[..., 4:8, 0] = True
    body = html.Body("b", "p", clip[None, None], contacts=planted)
    sent = _payload.case(body)
    does = np.frombuffer(base64.b64decode(sent["feet"]), np.uint8).reshape(1, 1, 20, 2)
    np.testing.assert_array_equal(does > 0, planted)


def test_feet_of_the_procedural_program_stand_as_it_says_and_never_slide():
    clip = jax.jit(lambda key: program.perform(key, program.script("walk", upper="wave"), 30))(jax.random.key(3))
    body = html.Body("b", "p", clip.motion.joints[None, None], contacts=clip.contacts[None, None])
    does = skeletons.feet(body.joints, body.contacts, 20.0)
    np.testing.assert_array_equal(does[0, 0], np.asarray(clip.contacts, int))
    assert 0.3 < body.contacts.mean() < 1
    guessed = replace(body, contacts=None).contacts
    assert (guessed == body.contacts).mean() > 0.8 and (guessed | ~body.contacts).all()  # a foot that stands is low


def test_the_floor_is_the_lowest_joint():
    joints = samples.walk(9)[None, None] - [0, 0, 0.93]
    assert html.Body("b", "p", joints).floor == pytest.approx(0.015 - 0.93, abs=0.02)
    assert html.Body("b", "p", joints, truth=samples.walk(9) + [0, 0, 1.0]).floor == pytest.approx(1.015, abs=1e-5)
    assert html.Body("b", "p", joints, floor=-0.5).floor == -0.5


def test_a_y_up_world_is_turned():
    joints = samples.walk(6)
    turned = html.Body("b", "p", np.asarray(motion.axes.y_up(joints))[None, None], up_axis=1)
    np.testing.assert_allclose(turned.joints[0, 0], joints, atol=1e-6)
    assert turned.up_axis == 2 and replace(turned, name="c").joints is not None
    np.testing.assert_array_equal(replace(turned, name="c").joints, turned.joints)


def unpacked(sent, key, shape):
    numbers = np.frombuffer(base64.b64decode(sent[key]), "<i2").reshape(shape)
    return np.asarray(sent["middle"]) + sent["unit"] * numbers


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-3, 1e3), st.integers(0, 10_000))
def test_every_joint_comes_back_within_half_a_step_of_its_extent(scale, seed):
    rng = np.random.default_rng(seed)
    joints = (scale * rng.normal(size=(2, 2, 3, 22, 3)) + rng.normal(size=3)).astype(np.float32)
    truth = (scale * rng.normal(size=(3, 22, 3))).astype(np.float32)
    sent = _payload.case(html.Body("b", "p", joints, truth=truth))
    span = max(float(np.ptp(np.concatenate([joints.reshape(-1, 3), truth.reshape(-1, 3)]), 0).max()), 1e-9)
    assert sent["unit"] == pytest.approx(span / 65534, rel=1e-5)
    for key, wanted in (("joints", joints), ("truth", truth)):
        assert np.abs(unpacked(sent, key, wanted.shape) - wanted).max() <= 0.5001 * sent["unit"]


def test_a_page_of_four_seeds_and_twenty_steps_stays_under_two_megabytes():
    rng = np.random.default_rng(0)
    page = html.Page("t", scrubbers=[html.Scrubber([html.Body("b", "p", rng.normal(size=(4, 20, 60, 22, 3)))])])
    assert 6e5 < len(html.render(page)) < 2e6


def test_one_frame_of_a_body_that_is_a_point_is_drawn():
    body = html.Body("b", "p", np.zeros((1, 1, 1, 22, 3)))
    sent = _payload.case(body)
    np.testing.assert_array_equal(unpacked(sent, "joints", (22, 3)), np.zeros((22, 3)))
    html.render(html.Page("t", scrubbers=[html.Scrubber([body])]))


def near_bones(picture, pose, floor=0.0):
    """Whether all the strong colours of a picture lie on the bones of a pose, and all of its joints are coloured."""
    size = picture.shape[0]
    places = pinhole(
        pose,
        skeletons.AZIMUTH,
        skeletons.ELEVATION,
        [*pose[0, :2], floor + skeletons.MIDDLE],
        skeletons.NEAR,
        size,
        size,
    )
    strong = np.abs(picture.astype(int) - np.array([228, 232, 237])).max(-1) > 90
    return everywhere(strong, places, 0.06 * size), at_joints(strong, places)


def everywhere(strong, places, reach):
    """Every strong pixel is within `reach` of a bone."""
    ys, xs = np.nonzero(strong)
    pixels = np.stack([xs, ys], -1) + 0.5
    gaps = np.full(len(pixels), np.inf)
    for joint, parent in list(enumerate(motion.PARENTS))[1:]:
        a, b = places[parent], places[joint]
        along = np.clip(((pixels - a) @ (b - a)) / max(1e-9, (b - a) @ (b - a)), 0, 1)
        gaps = np.minimum(gaps, np.linalg.norm(pixels - a - along[:, None] * (b - a), axis=-1))
    return len(pixels) > 50 and bool((gaps <= reach).all())


def at_joints(strong, places):
    """Share of the joints that have a strong pixel within one pixel of them."""
    found = []
    for x, y in np.floor(places).astype(int):
        found.append(bool(strong[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].any()))
    return float(np.mean(found))


def test_a_still_picture_is_the_pose_that_was_given():
    poses = samples.walk(12)
    drawn = skeletons.pictures(poses[[2, 9]], 0.0, 160)
    assert drawn.shape == (2, 160, 160, 3) and drawn.dtype == np.uint8
    for picture, pose in zip(drawn, poses[[2, 9]], strict=True):
        assert near_bones(picture, pose) == (True, 1.0)
    bent = poses[2].copy()
    bent[[18, 20, 19, 21], 2] += 0.9  # arms up
    clear, share = near_bones(drawn[0], bent)
    assert not clear and share < 1


def test_a_reader_without_scripts_sees_the_bodies():
    body = samples.body(0, steps=10, frames=12)
    sheet = _payload.contact(body, compare=False)
    image = np.asarray(Image.open(_bytes(sheet["uri"])).convert("RGB"))
    assert image.shape[:2] == (8 * (96 + 6), 9 * (96 + 6)) and image.std() > 10
    frames = np.linspace(0, 11, 9).round().astype(int)
    drawn = skeletons.pictures(body.joints[0, -1, frames], body.floor)
    last = image[-102:-6].reshape(96, 9, 102, 3)[:, :, :96].swapaxes(0, 1)
    off = np.abs(last.astype(int) - drawn)  # fewer colours are kept: shades at the lines' edges change a little
    assert off.mean() < 1 and (off.max(-1) > 30).mean() < 0.01
    rows = [row.split(":")[0] for row in sheet["rows"]]
    assert rows[0] == "step 0" and rows[-1] == "step 9" and "right, to the goal" in sheet["rows"][-1]
    arms = _payload.contact(replace(body, seeds=["a", "b", "c"]), compare=True)
    assert arms["rows"] == ["a: solved", "b: not solved", "c: solved"]
    files = _payload.contact(html.Body("b", "", samples.walk(4)[None, None].repeat(2, 0), seeds=["a", "b"]), False)
    assert files["rows"] == ["a", "b"] and "Rows: the motions, from above" in files["caption"]


def _bytes(uri):
    return io.BytesIO(base64.b64decode(uri.split(",")[1]))


def hostile_body_page(words):
    body = samples.body(
        0, seeds=2, steps=3, frames=4, prompt=words, name=words, world=words, note=words, truth_label=words,
        other=words, outcomes=[words, words], events=[html.Event(1, words)],
    )  # fmt: skip
    return html.Page("t", scrubbers=[html.Scrubber([replace(body, seeds=[words, words])], words, words)])


@pytest.mark.parametrize("words", HOSTILE)
def test_strings_of_bodies_stay_strings(words):
    plain, reader = (Reader(html.render(hostile_body_page(one))) for one in ("plain", words))
    outline = lambda r: [(tag, sorted(attributes)) for tag, attributes in r.tags]
    assert outline(reader) == outline(plain) and reader.raw["script"][1] == plain.raw["script"][1]
    assert reader.payload()["scrubbers"][0]["cases"][0]["prompt"] == words


JOINTS = np.zeros((2, 3, 4, 22, 3), np.float32)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: html.Body("walk", "p", JOINTS[0]), r"body 'walk': joints: expected a non-empty array with 5 axes"),
        (lambda: html.Body("b", "p", JOINTS[..., :21, :]), r"22 joints of 3 coordinates as last axes, found .*21, 3"),
        (lambda: html.Body("b", "p", JOINTS + np.nan), "joints: 1584 of 1584 values are not finite"),
        (lambda: html.Body("b", "p", JOINTS, truth=JOINTS[0, 0, 1:]), "truth has 3 frames, expected 4 as in joints"),
        (lambda: html.Body("b", "p", JOINTS, contacts=np.ones((2, 3, 4))), r"contacts must be \(2, 3, 4, 2\)"),
        (lambda: html.Body("b", "p", JOINTS, contacts=np.full((2, 3, 4, 2), 0.5)), "true or false"),
        (lambda: html.Body("b", "p", JOINTS, up_axis=0), "up_axis must be 1 or 2, found 0"),
        (lambda: html.Body("b", "p", JOINTS, fps=0), "fps must be a positive number, found 0"),
        (lambda: html.Body("b", "p", JOINTS, floor=np.nan), "floor must be a finite height"),
        (lambda: html.Body("b", "p", JOINTS, solved=[True]), "body 'b': 1 solved for 2 seeds"),
        (lambda: html.Body("b", "p", JOINTS, steps=[2, 1, 0]), "3 increasing integers"),
        (lambda: html.Scrubber([html.Body("b", "p", JOINTS), html.Case("c", "p", np.zeros((1, 1, 1, 4, 4, 3)))]),
         "videos and motions in one"),
        (lambda: figures.bodies(html.Body("b", "p", JOINTS), seed=2), "seed"),
        (lambda: figures.bodies(html.Body("b", "p", JOINTS), frames=[9]), "frames"),
    ],
)  # fmt: skip
def test_bad_bodies_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_film_strip_of_skeletons(tmp_path):
    body = samples.body(0, steps=6, frames=16)
    strip = figures.bodies(body, steps=[0, 3, -1], frames=[0, 5, 15], title="A walk", size=64)
    axis = strip.axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0", "5", "15"]
    rows = [label.get_text() for label in axis.get_yticklabels()]
    assert rows[0].startswith("step 0") and rows[2].startswith("5") and rows[3] == "truth"
    picture = np.asarray(axis.images[0].get_array())
    gap = max(1, 64 // 20)
    cell = picture[64 + gap : 2 * 64 + gap, 64 + gap : 2 * 64 + gap]
    np.testing.assert_array_equal(cell, skeletons.pictures(body.joints[0, 3, 5], body.floor, 64))
    assert figures.save(strip, tmp_path / "strip.png").stat().st_size > 4000


def test_a_notebook_shows_motions_and_keeps_them_small():
    joints = jnp.asarray(samples.walk(10))
    eye = jnp.broadcast_to(jnp.eye(3), (10, 3, 3))
    one = motion.Motion(joints, eye, jnp.broadcast_to(jnp.eye(3), (10, 21, 3, 3)), joints[:, 0])
    assert "data-ref=&quot;view&quot;" in notebook.shown(one)
    both = motion.Motion(*(jnp.stack([part, part]) for part in one))
    assert "motion 1" in notebook.shown(both)
    bad = one._replace(joints=joints.at[0].set(jnp.nan))
    assert "(10, 22, 3)" in notebook.shown(bad) and "iframe" not in notebook.shown(bad)
    large = samples.body(0, seeds=6, steps=40, frames=100)
    small, said = notebook.bounded(large)
    assert small.joints.shape == (6, 37, 100, 22, 3) and "37 of 40 steps" in said
    np.testing.assert_array_equal(small.joints[:, -1], large.joints[:, -1])
    assert small.steps[-1] == 39 and len(small.guesses[0]) == 37
    assert notebook.bounded(samples.body(0))[1] == ""
