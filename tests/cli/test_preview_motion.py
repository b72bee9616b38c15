"""`vrjax preview` of motion files: every kind comes to the page as it is, and what does not fit is one line."""

import base64
import json
import re

import jax
import numpy as np
import pytest

from vrjax import cli, motion
from vrjax.cli import preview_motion
from vrjax.motion import axes, program, representations


@pytest.fixture(scope="module")
def clip():
    return jax.jit(lambda key: program.perform(key, program.script("walk", upper="wave"), 31))(jax.random.key(3)).motion


@pytest.fixture(scope="module")
def folder(clip, tmp_path_factory):
    """One walk in every kind of file, and a shorter one at 40 frames a second."""
    folder, joints = tmp_path_factory.mktemp("motions"), np.asarray(clip.joints)
    np.save(folder / "joints.npy", joints)
    np.save(folder / "y_up.npy", np.asarray(axes.y_up(joints)))
    np.save(folder / "rows.npy", np.pad(np.asarray(motion.to_276(*clip)), ((0, 0), (0, 150))))  # columns beyond 276
    np.save(folder / "humanml3d.npy", np.asarray(representations.get("humanml3d").encode(clip)))
    np.savez(folder / "fast.npz", joints=np.repeat(joints[:11], 2, 0)[:21].astype(np.float32), fps=np.float32(40))
    motion.write_bvh(folder / "walk.bvh", clip)
    return folder


def call(*argv):
    try:
        cli.main([str(a) for a in argv])
    except SystemExit as stop:
        return stop.code
    return 0


def shape_of(joints):
    """A motion without place and direction: distances of all joints from each other in each frame."""
    return np.linalg.norm(joints[:, :, None] - joints[:, None], axis=-1)


def test_every_kind_of_file_holds_the_same_walk(folder, clip):
    joints = np.asarray(clip.joints)
    read = lambda name, *up: preview_motion.joints(folder / name, *up)
    np.testing.assert_array_equal(read("joints.npy"), joints)
    np.testing.assert_allclose(read("y_up.npy", 1), joints, atol=1e-6)
    np.testing.assert_allclose(read("walk.bvh"), joints, atol=1e-4)
    np.testing.assert_allclose(shape_of(read("rows.npy")), shape_of(joints[:-1]), atol=2e-5)
    assert read("humanml3d.npy").shape == (30, 22, 3)
    np.testing.assert_allclose(shape_of(read("humanml3d.npy")), shape_of(joints[:-1]), atol=2e-4)
    np.testing.assert_allclose(read("fast.npz"), joints[:11], atol=1e-6)  # 40 a second come to 20


def test_a_page_has_all_motions_each_on_its_own_floor(folder, clip, tmp_path, capsys):
    out = tmp_path / "walks.html"
    assert call("preview", folder / "joints.npy", folder / "fast.npz", "--out", out) == 0
    assert f"2 motions: {out}" in capsys.readouterr().out
    text = out.read_text()
    sent = json.loads(re.search(r'<script type="application/json" id="payload">(.*?)</script>', text, re.S)[1])
    (case,) = sent["scrubbers"][0]["cases"]
    assert case["seeds"] == ["joints.npy", "fast.npz"] and case["fps"] == 20 and case["frames"] == 31
    assert case["note"] == "fast.npz is over at frame 11" and "under one clock" in text
    numbers = np.frombuffer(base64.b64decode(case["joints"]), "<i2").reshape(2, 31, 22, 3)
    shown = np.asarray(case["middle"]) + case["unit"] * numbers
    joints = np.asarray(clip.joints)
    floor = np.median(joints[..., 2].min(-1))
    np.testing.assert_allclose(shown[0], joints - [0, 0, floor], atol=case["unit"])
    short = joints[:11] - [0, 0, np.median(joints[:11, :, 2].min(-1))]
    np.testing.assert_allclose(
        shown[1], np.concatenate([short, np.repeat(short[-1:], 20, 0)]), atol=case["unit"] + 1e-6
    )


def test_one_file_is_one_page_beside_the_previews(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("preview", folder / "y_up.npy", "--up-axis", "1") == 0
    page = (tmp_path / "runs" / "preview" / "y_up.html").read_text()
    assert "<title>y_up.npy</title>" in page and 'data-ref="view"' in page


@pytest.mark.parametrize(
    "argv, said",
    [
        (["none.npy"], "none.npy: no such file"),
        (["wide.npy"], "wide.npy: holds an array (4, 50), expected (frames, 22, 3) or (frames, 263) or (frames, 276)"),
        (["few.npy"], "few.npy: holds an array (4, 21, 3), expected"),
        (["nan.npy"], "is nan, expected finite numbers"),
        (["bad.bvh"], "bad.bvh: "),
        (["nan.npy", "maze"], "preview: maze among motion files"),
        (["nan.npy", "--seeds", "1"], "--split and --seeds are of tasks"),
        (["nan.npy", "--out", "a.png"], "--out: a.png, expected a page"),
        (["maze", "tictactoe"], "2 tasks, maze, tictactoe, expected one"),
        (["maze", "--up-axis", "1"], "--up-axis is of motion files"),
    ],
)
def test_what_does_not_fit_is_one_line(argv, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("wide.npy", np.zeros((4, 50), np.float32))
    np.save("few.npy", np.zeros((4, 21, 3), np.float32))
    np.save("nan.npy", np.full((4, 22, 3), np.nan, np.float32))
    (tmp_path / "bad.bvh").write_text("HIERARCHY\nROOT a\n{\n")
    assert call("preview", *argv) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1
    assert not (tmp_path / "runs").exists()
