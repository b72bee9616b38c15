"""BVH: what is written, by another parser; what is read, against a file written by hand; a torn file is one line."""

import pathlib

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.motion.motion_oracles import random_rotations, recorded
from vrjax import motion
from vrjax.motion import bvh, kinematics

TURN = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]])  # z-up to y-up
# A triangle of joints in centimetres, with what other programs write: tabs, channels in another order, positions in a
# joint, lower case, Windows' line ends, spaces in a name, a brace on the line of its name.
HAND = """HIERARCHY
ROOT Hips
{
\tOFFSET 1 2 3
\tCHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
\tJOINT Left Arm {
\t\toffset 10.0 0.0 0.0
\t\tCHANNELS 4 Zrotation Xposition Yrotation Xrotation
\t\tEnd Site
\t\t{
\t\t\tOFFSET 0 1 0
\t\t}
\t}
\tJOINT Head
\t{
\t\tOFFSET 0 5 0
\t\tCHANNELS 1 Yrotation
\t\tEnd Site
\t\t{
\t\t\tOFFSET 0 1 0
\t\t}
\t}
}
MOTION
Frames:\t2
Frame Time: 0.0333333
0 100 0 0 0 0 0 10 0 0 0
5 100 7 90 0 0 30 12 20
-40 15
""".replace("\n", "\r\n")


def another_parser(path):
    """Joints by name of a BVH file, y-up; a recursive descent over all words, matrices of scipy's Euler angles."""
    words = iter(pathlib.Path(path).read_text().split())
    joints = []

    def block(parent, name):
        assert next(words) == "{"
        entry = {"name": name, "parent": parent}
        joints.append(entry)
        while (word := next(words)) != "}":
            if word == "OFFSET":
                entry["offset"] = np.array([float(next(words)) for _ in range(3)])
            elif word == "CHANNELS":
                entry["channels"] = [next(words) for _ in range(int(next(words)))]
            elif word == "End":
                assert [next(words) for _ in range(3)] == ["Site", "{", "OFFSET"]
                entry["tip"] = np.array([float(next(words)) for _ in range(3)])
                assert next(words) == "}"
            else:
                assert word == "JOINT"
                block(entry, next(words))

    assert [next(words), next(words)] == ["HIERARCHY", "ROOT"]
    block(None, next(words))
    assert [next(words), next(words)] == ["MOTION", "Frames:"]
    frames = int(next(words))
    assert [next(words), next(words)] == ["Frame", "Time:"]
    seconds = float(next(words))
    numbers = np.array(list(words), float).reshape(frames, -1)
    for entry in joints:
        own, numbers = numbers[:, : len(entry["channels"])], numbers[:, len(entry["channels"]) :]
        turns = [c[0] for c in entry["channels"] if c.endswith("rotation")]
        place = entry["offset"]
        if len(turns) < len(entry["channels"]):
            assert entry["channels"][:3] == ["Xposition", "Yposition", "Zposition"]
            place = own[:, :3]
        local = Rotation.from_euler("".join(turns), own[:, -3:], degrees=True)
        up = entry["parent"]
        entry["turn"] = up["turn"] * local if up else local
        entry["at"] = (
            up["at"] + up["turn"].apply(np.tile(place, (frames // len(np.atleast_2d(place)), 1))) if up else place
        )
    assert not numbers.size
    return {entry["name"]: entry for entry in joints}, seconds


def clip():
    """The recorded clip as a Motion by exact rotations."""
    data = recorded("clip_zup")
    matrices = lambda v: Rotation.from_rotvec(v.reshape(-1, 3)).as_matrix().reshape(len(v), -1, 3, 3)
    root, body = matrices(data["global_orient"])[:, 0], matrices(data["body_pose"])
    return motion.Motion(data["joints"], root, body, data["transl"]), data["offsets"]


def test_another_parser_finds_the_same_joints(tmp_path):
    moving, offsets = clip()
    motion.write_bvh(tmp_path / "a.bvh", moving)
    found, seconds = another_parser(tmp_path / "a.bvh")
    assert seconds == 0.05 and set(found) == set(motion.JOINTS)
    joints = np.stack([found[name]["at"] for name in motion.JOINTS], 1)
    np.testing.assert_allclose(joints, moving.joints @ TURN.T, atol=1e-5)
    for joint, name in enumerate(motion.JOINTS[1:], start=1):
        assert found[name]["parent"]["name"] == motion.JOINTS[motion.PARENTS[joint]]
        np.testing.assert_allclose(found[name]["offset"], offsets[joint], atol=1e-5)
        assert found[name].get("tip") is None or np.linalg.norm(found[name]["tip"]) == pytest.approx(0.1, abs=1e-5)


@pytest.mark.parametrize("up_axis", [2, 1])
def test_round_trip(up_axis, tmp_path):
    """Any rotations, gimbal locks among them, and a skeleton of one's own choosing."""
    offsets = recorded("clip_zup")["offsets"]
    root, body = random_rotations(0, 4), random_rotations(1, 4, 21)
    root[0] = Rotation.from_euler("ZXY", [40, 90, 20], degrees=True).as_matrix()
    transl = np.float32(np.random.default_rng(2).normal(size=(4, 3)))
    joints = kinematics.forward(np.float32(root), np.float32(body), transl, offsets)
    moving = motion.Motion(joints, root, body, transl)
    motion.write_bvh(tmp_path / "a.bvh", moving, offsets=offsets, fps=30, up_axis=up_axis)
    found = motion.read_bvh(tmp_path / "a.bvh", up_axis=up_axis)
    assert found.names == motion.JOINTS and found.parents == motion.PARENTS and found.fps == pytest.approx(30)
    for name in ("joints", "root", "body", "transl"):
        np.testing.assert_allclose(getattr(found, name), getattr(moving, name), atol=1e-5, err_msg=name)
    np.testing.assert_allclose(found.offsets[1:], offsets[1:], atol=1e-6)
    with pytest.raises(ValueError, match="30 frames a second, expected 20"):
        bvh.to_motion(found)
    with pytest.raises(ValueError, match="a.bvh: 30 frames a second, expected 20"):
        motion.read_bvh(tmp_path / "a.bvh", fps=20)


def test_joints_that_drift_are_brought_onto_one_skeleton(tmp_path):
    """What a model makes: bones that change their length. The rotations and the root stay as they were."""
    moving, offsets = clip()
    noise = np.random.default_rng(0).normal(scale=0.02, size=moving.joints.shape) * (np.arange(22) > 0)[:, None]
    motion.write_bvh(tmp_path / "a.bvh", moving._replace(joints=moving.joints + noise))
    found = motion.read_bvh(tmp_path / "a.bvh")
    np.testing.assert_allclose(found.body, moving.body, atol=1e-5)
    np.testing.assert_allclose(found.joints[:, 0], moving.joints[:, 0], atol=1e-5)
    np.testing.assert_allclose(found.offsets[1:], offsets[1:], atol=0.02)


def test_a_file_written_by_hand(tmp_path):
    """Any channels in any order; a position channel takes the place of its part of OFFSET; centimetres to metres."""
    (tmp_path / "a.bvh").write_bytes(b"\xef\xbb\xbf" + HAND.encode())
    found = motion.read_bvh(tmp_path / "a.bvh", scale=0.01, up_axis=1)
    assert found.names == ("Hips", "Left Arm", "Head") and found.parents == (-1, 0, 0)
    assert found.fps == pytest.approx(30, abs=1e-3)
    np.testing.assert_allclose(found.joints[0], [[0, 1, 0], [0.1, 1, 0], [0, 1.05, 0]], atol=1e-6)
    # The root turns a quarter about z: x becomes y, y becomes -x. The arm's own position of 12 is along the root's x.
    np.testing.assert_allclose(found.joints[1], [[0.05, 1, 0.07], [0.05, 1.12, 0.07], [0, 1, 0.07]], atol=1e-6)
    arm = Rotation.from_euler("ZYX", [30, 20, -40], degrees=True).as_matrix()
    np.testing.assert_allclose(found.body[1, 0], arm, atol=1e-6)
    np.testing.assert_allclose(found.body[1, 1], Rotation.from_euler("Y", 15, degrees=True).as_matrix(), atol=1e-6)
    with pytest.raises(ValueError, match="no joints .*pelvis"):
        bvh.to_motion(found, fps=None)


def test_other_names_for_the_same_tree(tmp_path):
    """As other programs call the joints; fingers and the like are left out."""
    moving, _ = clip()
    names, parents = [f"mixamorig:{name}" for name in motion.JOINTS] + ["thumb"], (*motion.PARENTS, 20)
    more = np.concatenate([moving.body, moving.body[:, :1]], 1)
    whole = moving._replace(joints=np.concatenate([moving.joints, moving.joints[:, 20:21] + 0.01], 1), body=more)
    motion.write_bvh(tmp_path / "a.bvh", whole, names=names, parents=parents)
    found = motion.read_bvh(tmp_path / "a.bvh")
    assert set(found.names) == set(names)
    back = bvh.to_motion(found, names=names[:22])
    np.testing.assert_allclose(back.joints, moving.joints, atol=1e-5)
    np.testing.assert_allclose(back.body, moving.body, atol=1e-5)
    swapped = [*names[:4], names[7], *names[5:7], names[4], *names[8:22]]
    with pytest.raises(ValueError, match="left_ankle hangs on mixamorig:left_knee, expected"):
        bvh.to_motion(found, names=swapped)


WRONG = {
    "not a BVH file": ("HIERARCHY", "SKELETON"),
    "expected HIERARCHY, and MOTION": ("MOTION", ""),
    "a brace is open": ("\r\n}\r\nMOTION", "\r\nMOTION"),
    "has no OFFSET": ("\tOFFSET 1 2 3\r\n", ""),
    "'ROOT Head' in the hierarchy": ("JOINT Head", "ROOT Head"),
    "'JOINT x' in the hierarchy": ("\r\nMOTION", "\r\nJOINT x\r\n{\r\nOFFSET 0 0 0\r\n}\r\nMOTION"),
    "CHANNELS 3 Yrotation, expected": ("CHANNELS 1", "CHANNELS 3"),
    "out of Xposition": ("Xrotation\r\n\t\tEnd", "Wrotation\r\n\t\tEnd"),
    "two joints have one name": ("Left Arm", "Head"),
    "'1e999', expected a number": ("0 5 0", "0 1e999 0"),
    "expected three numbers": ("0 5 0", "0 5"),
    "after MOTION": ("Frame Time", "Frame Rate"),
    "Frame Time: -0.0333333, expected seconds": ("0.0333", "-0.0333"),
    "21 numbers, expected 2 frames of 11": (" 15\r\n", "\r\n"),
    "22 numbers, expected 3 frames": ("Frames:\t2", "Frames:\t3"),
    "expected at most .* of both": ("Frames:\t2", "Frames:\t999999999"),
    "could not convert string to float": ("-40", "left"),
    "number 9 of frame 1 is nan": ("-40", "nan"),
}


@pytest.mark.parametrize("said", WRONG)
def test_torn_files_are_one_line(said, tmp_path):
    old, new = WRONG[said]
    assert old in HAND
    (tmp_path / "bad.bvh").write_text(HAND.replace(old, new, 1))
    with pytest.raises(ValueError, match=said) as error:
        motion.read_bvh(tmp_path / "bad.bvh")
    assert str(error.value).startswith(f"{tmp_path}/bad.bvh: ") and "\n" not in str(error.value)


def test_wrong_motions_are_one_line(tmp_path):
    moving, _ = clip()
    file = tmp_path / "a.bvh"
    wrong = {
        r"body has shape \(31, 20, 3, 3\), expected \(31, 21": (moving._replace(body=moving.body[:, 1:]), {}),
        "joints has shape .* of one motion": (moving._replace(joints=moving.joints[None]), {}),
        "root holds numbers that are not finite": (moving._replace(root=moving.root * np.nan), {}),
        "offsets has shape": (moving, {"offsets": np.zeros((21, 3))}),
        "fps=0, expected": (moving, {"fps": 0}),
        "up_axis=0, expected": (moving, {"up_axis": 0}),
        "parents .* each before its own": (moving, {"parents": motion.PARENTS[::-1]}),
        "names .* expected words": (moving, {"names": ["}\nROOT x", *motion.JOINTS[1:]]}),
    }
    for said, (value, options) in wrong.items():
        with pytest.raises(ValueError, match=said):
            motion.write_bvh(file, value, **options)
    assert not file.exists()
    with pytest.raises(FileNotFoundError, match="a.bvh"):
        motion.read_bvh(file)
