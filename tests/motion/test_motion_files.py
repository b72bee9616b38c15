"""Motion files: every form in which they come, and every bad one as one line."""

import pickle
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from tests.files.test_pth import Ref, Touch, archive, pickled
from tests.motion.motion_oracles import recorded
from vrjax.files import pth_writer
from vrjax.motion import files

ROWS = recorded("clip_zup")["rep_floor"]


def stored(path, dtype, tree, **arrays):
    """A `.pt` as torch writes it, of whatever tree, whose `Ref`s are its arrays one after the other."""
    members = [(f"data/{i}", np.asarray(a, dtype).tobytes()) for i, a in enumerate(arrays.values())]
    kind = {np.float32: "FloatStorage", jnp.bfloat16: "BFloat16Storage", np.float64: "DoubleStorage"}[dtype]
    refs = {}
    for i, (name, a) in enumerate(arrays.items()):
        strides = tuple(int(np.prod(a.shape[k + 1 :])) for k in range(a.ndim))
        refs[name] = Ref(a.shape, strides, size=a.size, kind=kind, key=str(i))
    return archive(path, pickled(tree(refs)), members)


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16, np.float64])
@pytest.mark.parametrize("form", ["alone", "plain", "ordered"])
def test_every_form_of_pt(form, dtype, tmp_path):
    """The rows alone (optical mocap) or in a dictionary (video); more columns are cut, as in ViMoGen's own sample."""
    camera = {"extrinsic": np.ones((30, 9)), "intrinsic": np.eye(3)}
    wide = np.concatenate([ROWS, np.full((30, 150), 7.0)], 1)
    if form == "ordered":  # the writer's own, an OrderedDict
        if dtype is np.float64:
            files.write(tmp_path / "a.pt", ROWS.astype(dtype), **camera)
        else:
            parts = {name: np.asarray(a, dtype) for name, a in {"motion": wide, **camera}.items()}
            pth_writer.write(tmp_path / "a.pt", {n: (a.shape, a.dtype) for n, a in parts.items()}, parts.values())
    elif form == "plain":
        stored(tmp_path / "a.pt", dtype, lambda refs: refs | {"fps": 20, "name": "walk"}, motion=wide, **camera)
    else:
        stored(tmp_path / "a.pt", dtype, lambda refs: refs["motion"], motion=wide)
    found = files.read(tmp_path / "a.pt")
    assert found.motion.dtype == np.float32 and found.motion.flags.writeable and found.motion.shape == (30, 276)
    np.testing.assert_array_equal(found.motion, np.asarray(ROWS, dtype).astype(np.float32))
    assert found.fps == (20 if form == "plain" else None)
    if form == "alone":
        assert found.extrinsic is None and found.intrinsic is None
    else:
        np.testing.assert_array_equal(found.extrinsic, camera["extrinsic"])
        np.testing.assert_array_equal(found.intrinsic, camera["intrinsic"])


@pytest.mark.parametrize("name", ["a.pt", "a.npy"])
def test_round_trip(name, tmp_path):
    files.write(tmp_path / name, ROWS)
    np.testing.assert_array_equal(files.read(tmp_path / name).motion, ROWS)
    if name == "a.npy":
        np.testing.assert_array_equal(np.load(tmp_path / name, allow_pickle=False), ROWS)
        with pytest.raises(ValueError, match="one array, expected .pt"):
            files.write(tmp_path / name, ROWS, intrinsic=np.eye(3))
    with pytest.raises(ValueError, match=r"motion\[3, 5\] is inf"):
        files.write(tmp_path / "b.pt", np.where(np.arange(8280).reshape(30, 276) == 3 * 276 + 5, np.inf, ROWS))
    with pytest.raises(ValueError, match=r"extrinsic has shape \(29, 9\), expected \(30, 9\)"):
        files.write(tmp_path / "b.pt", ROWS, extrinsic=np.zeros((29, 9)))
    assert not (tmp_path / "b.pt").exists()


def test_joints_and_embeddings(tmp_path):
    joints = recorded("clip_zup")["mbench_joints_yup"]
    np.save(tmp_path / "17.npy", joints.astype(np.float64))
    np.testing.assert_array_equal(files.read_joints(tmp_path / "17.npy"), joints)
    stored(tmp_path / "17.pt", np.float32, dict, joints=joints, other=joints[:, :, :1])
    np.testing.assert_array_equal(files.read_joints(tmp_path / "17.pt"), joints)
    text = np.zeros((226, 8))
    text[0] = np.arange(8)  # the null context: one row, padded
    stored(tmp_path / "null.pth", jnp.bfloat16, lambda refs: refs["text"], text=text)
    found = files.read_embedding(tmp_path / "null.pth")
    assert found.dtype == np.float32 and np.abs(found).sum(1).nonzero()[0].tolist() == [0]
    with pytest.raises(ValueError, match="expected one text's rows"):
        files.read_embedding(tmp_path / "17.pt")


def changed(**of):
    return lambda path: stored(path, np.float32, dict, **({"motion": ROWS} | of))


def npy(value):
    return lambda path: np.save(path.with_suffix(".npy"), value, allow_pickle=True)


def cut(path):
    whole = changed()(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def cut_member(path):
    """The zip's directory is whole and says less than the pickle does."""
    archive(path, pickled({"motion": Ref((30, 276), (276, 1), size=30 * 276)}), [("data/0", ROWS.tobytes()[:-8])])


def outside(name):
    def make(path):
        changed()(path)
        with zipfile.ZipFile(path, "a") as file:
            file.writestr(name, b"x")

    return make


NAN = ROWS.copy()
NAN[12, 5] = np.nan
BAD = {
    "damaged zip archive": cut,
    "needs 8280 numbers of storage '0', which has 33112 bytes": cut_member,
    "the file is empty": lambda path: path.write_bytes(b""),
    "Git LFS pointer": lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
    "member '/etc/passwd' is a path out of the archive": outside("/etc/passwd"),
    "member 'archive/../../x' is a path out": outside("archive/../../x"),
    r"member 'C:..Windows..x' is a path out": outside("C:\\Windows\\x"),
    "asks for posix.system, .*nothing was run": lambda path: archive(path, pickle.dumps(Touch(path.parent / "ran"), 2)),
    "neither a zip archive nor a stream": lambda path: path.write_bytes(pickle.dumps(Touch(path.parent / "ran"))),
    r"motion\[12, 5\] is nan, expected finite numbers": changed(motion=NAN),
    r"motion has shape \(30, 263\), expected \(frames, 276\)": changed(motion=ROWS[:, :263]),
    r"motion has shape \(0, 276\)": changed(motion=ROWS[:0]),
    r"motion has shape \(1, 30, 276\)": changed(motion=ROWS[None]),
    r"extrinsic has 29 frames, expected 30": changed(extrinsic=np.zeros((29, 9))),
    r"intrinsic has shape \(4, 4\), expected \(3, 3\)": changed(intrinsic=np.eye(4)),
    "holds extrinsic, expected motion": lambda path: stored(path, np.float32, dict, extrinsic=np.zeros((30, 9))),
    "30 frames a second, expected 20: read it with fps=None": changed(fps=np.array([30.0])),
    "29.97 frames a second, expected 20": lambda path: stored(
        path, np.float32, lambda refs: refs | {"fps": 29.97}, motion=ROWS
    ),
    "fps is fast, expected frames a second": lambda path: stored(
        path, np.float32, lambda refs: refs | {"fps": "fast"}, motion=ROWS
    ),
    "a list, expected a tensor": lambda path: stored(path, np.float32, lambda refs: {"motion": [refs["m"]]}, m=ROWS),
    "motion holds int64, expected floating": npy(np.ones((30, 276), int)),
    "Python objects": npy(np.array([{"motion": 1}], object)),
    "not read as .npy": lambda path: path.with_suffix(".npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'"),
}


@pytest.mark.parametrize("said", BAD)
def test_bad_files_are_one_line_and_nothing_runs(said, tmp_path):
    file = tmp_path / "bad.pt"
    BAD[said](file)
    file = file if file.exists() else file.with_suffix(".npy")
    with pytest.raises(ValueError, match=said) as error:
        files.read(file)
    assert str(error.value).startswith(f"{file}: ") and "\n" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == [file.name]  # nothing was run, nothing was unpacked


def test_a_cut_npy_and_wrong_joints(tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-4])
    with pytest.raises(ValueError, match="a.npy: not read as .npy"):
        files.read(tmp_path / "a.npy")
    for shape in ((30, 24, 3), (30, 66), (0, 22, 3)):
        np.save(tmp_path / "b.npy", np.zeros(shape))
        with pytest.raises(ValueError, match=r"b.npy: joints has shape .*, expected \(frames, 22, 3\)"):
            files.read_joints(tmp_path / "b.npy")
    with pytest.raises(FileNotFoundError, match="c.pt: no such file"):
        files.read(tmp_path / "c.pt")
    with pytest.raises(ValueError, match="unknown kind of file '.pkl', expected one of .pt, .pth, .npy, .npz"):
        files.read(tmp_path / "c.pkl")
    assert files.read_joints(npz(tmp_path / "d.npz", joints=np.ones((4, 22, 3)), fps=30), fps=None).shape == (4, 22, 3)
    with pytest.raises(ValueError, match="d.npz: 30 frames a second"):
        files.read_joints(tmp_path / "d.npz")
    with zipfile.ZipFile(tmp_path / "d.npz", "a") as file:
        file.writestr("../e.npy", b"x")
    with pytest.raises(ValueError, match="d.npz: .*member '../e.npy' is a path out"):
        files.read_joints(tmp_path / "d.npz")


def npz(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parity
def test_against_torch(tmp_path):
    """What torch writes is read, and what is written torch reads."""
    import torch

    rows = torch.from_numpy(ROWS)
    for name, value in {
        "alone": rows.bfloat16(),
        "dict": {"motion": rows, "extrinsic": rows[:, :9], "fps": 20},
    }.items():
        torch.save(value, tmp_path / f"{name}.pt")
        found = files.read(tmp_path / f"{name}.pt").motion
        np.testing.assert_array_equal(found, (value if name == "alone" else value["motion"]).float().numpy())
    files.write(tmp_path / "ours.pt", ROWS, intrinsic=np.eye(3))
    back = torch.load(tmp_path / "ours.pt", weights_only=True)
    np.testing.assert_array_equal(back["motion"].numpy(), ROWS)
