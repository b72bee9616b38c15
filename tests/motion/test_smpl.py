"""SMPL's parameters: to matrices and back, out of every file in use, and into files that others open."""

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.motion.motion_oracles import random_rotations, recorded
from vrjax.files import pth_writer
from vrjax.motion import kinematics, smpl


def clip():
    data = recorded("clip_zup")
    return {name: data[name] for name in ("global_orient", "body_pose", "transl")}, data


rotations, parameters = jax.jit(smpl.rotations), jax.jit(smpl.parameters)


def test_matrices_and_back():
    parts, data = clip()
    root, body = rotations(smpl.Smpl(**parts))
    np.testing.assert_allclose(root, Rotation.from_rotvec(parts["global_orient"]).as_matrix(), atol=1e-6)
    np.testing.assert_allclose(body[3, 7], Rotation.from_rotvec(parts["body_pose"][3, 21:24]).as_matrix(), atol=1e-6)
    place = jax.jit(kinematics.forward)
    joints = place(root, body, data["transl"], data["offsets"], rest_pelvis=data["smplx_root"])
    np.testing.assert_allclose(joints, data["joints"], atol=1e-5)
    found = parameters(root, body, data["transl"])
    again = rotations(found)
    np.testing.assert_allclose(again[0], root, atol=2e-6)
    np.testing.assert_allclose(again[1], body, atol=2e-6)
    np.testing.assert_array_equal(found.transl, data["transl"])
    root, bodies, still = random_rotations(0, 31), random_rotations(1, 31, 22), np.zeros((31, 3), np.float32)
    whole = parameters(np.float32(root), np.float32(bodies[:, 1:]), still)
    assert np.linalg.norm(whole.body_pose.reshape(31, 21, 3), axis=-1).max() <= np.pi + 1e-5
    with pytest.raises(ValueError, match=r"body has shape \(31, 22, 3, 3\), expected \(31, 21, 3, 3\)"):
        smpl.parameters(np.float32(root), np.float32(bodies), still)


def save(path, parts):
    if path.suffix == ".npz":
        np.savez(path, **parts)
    else:
        parts = {name: np.asarray(value) for name, value in parts.items()}
        pth_writer.write(path, {name: (value.shape, value.dtype) for name, value in parts.items()}, parts.values())
    return path


@pytest.mark.parametrize("kind", ["amass", "smplx", "recovered", "smpl"])
def test_every_file_in_use(kind, tmp_path):
    parts, _ = clip()
    orient, pose, transl = parts.values()
    frames = len(transl)
    hands = np.random.default_rng(0).normal(size=(frames, 90))
    files = {
        "amass": (".npz", {"poses": np.concatenate([orient, pose, hands], 1), "trans": transl, "gender": b"female",
                           "mocap_framerate": 20.0, "betas": np.arange(16.0), "dmpls": np.array([None, {}])}),
        "smplx": (".npz", {"root_orient": orient, "pose_body": pose, "trans": transl, "gender": "male",
                           "mocap_frame_rate": np.int64(20)}),
        "recovered": (".pt", {**parts, "focal_length": np.full(frames, 1200.0), "width": np.float32(720),
                              "height": np.float32(1280)}),
        "smpl": (".npz", {"global_orient": orient[:, None], "transl": transl,
                          "body_pose": np.concatenate([pose, hands[:, :6]], 1).reshape(frames, 23, 3)}),
    }  # fmt: skip
    found = smpl.read(save(tmp_path / f"a{files[kind][0]}", files[kind][1]))
    np.testing.assert_array_equal(found.global_orient, orient)
    np.testing.assert_array_equal(found.body_pose, pose)
    np.testing.assert_array_equal(found.transl, transl)
    about = (found.fps, found.gender, found.focal_length, found.width, found.height)
    expected = {
        "amass": (20, "female", None, None, None),
        "smplx": (20, "male", None, None, None),
        "recovered": (None, None, 1200, 720, 1280),
        "smpl": (None,) * 5,
    }
    assert about == expected[kind]
    assert (found.betas is None) == (kind != "amass")


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_round_trip(suffix, tmp_path):
    parts, _ = clip()
    given = smpl.Smpl(**parts, fps=20.0, focal_length=900.0, width=640.0, height=480.0)
    smpl.write(tmp_path / f"a{suffix}", given)
    found = smpl.read(tmp_path / f"a{suffix}")
    for name in parts:
        np.testing.assert_array_equal(getattr(found, name), parts[name])
    assert found.fps == 20 and (found.focal_length == 900) == (suffix == ".pt")
    if suffix == ".npz":  # what Blender's add-on for SMPL-X asks for
        with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
            assert file["poses"].shape == (31, 165) and not file["poses"][:, 66:].any()
            assert (
                file["gender"] == "neutral" and file["surface_model_type"] == "smplx" and file["betas"].shape == (16,)
            )
    smpl.write(tmp_path / f"b{suffix}", given._replace(fps=30.0))
    with pytest.raises(ValueError, match=f"b{suffix}: 30 frames a second, expected 20: read it with fps=None"):
        smpl.read(tmp_path / f"b{suffix}")
    assert smpl.read(tmp_path / f"b{suffix}", fps=None).fps == 30


def test_wrong_files_are_one_line(tmp_path):
    parts, _ = clip()
    wrong = {
        "holds body_pose, transl, expected global_orient or root_orient": {"global_orient": None},
        r"body_pose has shape \(31, 72\), expected \(frames, 63\)": {"body_pose": np.zeros((31, 72))},
        r"transl has shape \(30, 3\), expected \(31, 3\)": {"transl": np.zeros((30, 3))},
        r"transl\[2, 1\] is nan, expected finite": {"transl": np.where(np.arange(93).reshape(31, 3) == 7, np.nan, 0)},
        "global_orient holds int64, expected floating": {"global_orient": np.zeros((31, 3), int)},
        r"poses has shape \(31, 60\), expected \(frames, 66 or more\)": {"poses": np.zeros((31, 60))},
        "mocap_framerate is -1": {"mocap_framerate": -1},
        r"focal_length is \[900.0, 1000.0\], expected one positive": {"focal_length": np.array([900.0, 1000])},
        "Object arrays cannot be loaded": {"transl": np.array([None])},
    }
    for said, change in wrong.items():
        values = {name: value for name, value in (parts | change).items() if value is not None}
        np.savez(tmp_path / "bad.npz", **values)
        with pytest.raises(ValueError, match=said) as error:
            smpl.read(tmp_path / "bad.npz")
        assert str(error.value).startswith(f"{tmp_path}/bad.npz: ") and "\n" not in str(error.value)
    for said, file in {"unknown kind of file '.pkl'": "a.pkl", "expected .npz or .pt": "a.npy"}.items():
        with pytest.raises(ValueError, match=said):
            smpl.read(tmp_path / file) if file == "a.pkl" else smpl.write(tmp_path / file, smpl.Smpl(**parts))
