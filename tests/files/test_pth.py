"""PyTorch's files: every dtype and view that torch wrote, and nothing of what a hostile one asks for."""

import collections
import io
import os
import pathlib
import pickle
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from vrjax.files import pickles, pth, tensors

FOLDER = pathlib.Path(__file__).parent / "fixtures"


@pytest.mark.parametrize("container", ["zip", "stream"])
def test_values(container):
    """All of torch's dtypes, strided and shared views, parameters, scalars; nothing is copied."""
    file = tensors.read(FOLDER / f"{container}.pth")
    with np.load(FOLDER / "pth.npz") as expected:
        assert file.shapes == {key: expected[key].shape for key in expected.files}
        for key in expected.files:
            found = file[key]
            assert not found.flags.writeable or not found.size
            np.testing.assert_array_equal(found.astype(np.float32), expected[key], err_msg=key)
    assert file["generator.bfloat16"].dtype == jnp.bfloat16 and file["generator.float16"].dtype == np.float16
    assert file["generator.int8"].dtype == np.int8 and file["generator.bool"].dtype == np.bool_
    assert file["generator.transposed"].strides == (4, 16) and file["generator.expanded"].strides[1] == 0


def archive(path, data, members=(), compress=zipfile.ZIP_STORED, root="archive"):
    """A zip as torch writes it, with `data` as its pickle."""
    with zipfile.ZipFile(path, "w", compress) as file:
        file.writestr(f"{root}/data.pkl", data)
        for name, content in members:
            file.writestr(f"{root}/{name}", content)
    return path


class Ref:
    """Pickles as a tensor of storage "0"."""

    def __init__(self, shape=(2,), strides=(1,), offset=0, size=2, kind="FloatStorage", key="0"):
        self.storage, self.view = (kind, key, size), (offset, shape, strides, False)


class Global:
    def __init__(self, module, name):
        self.module, self.name = module, name


class Writer(pickle._Pickler):
    """Python's own pickler, writing globals by name without having them, as protocol 2."""

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Global):
            self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Ref):
            kind, key, size = obj.storage
            self.save(Global("torch._utils", "_rebuild_tensor_v2"))
            self.write(b"(")
            self.save(("storage", Global("torch", kind), key, "cpu", size))
            self.write(b"Q")
            for part in (*obj.view, {}):
                self.save(part)
            self.write(b"tR")
        else:
            super().save(obj, save_persistent_id)

    def memoize(self, obj):
        pass  # Ref's parts have no identity to remember


def pickled(obj):
    buffer = io.BytesIO()
    Writer(buffer, 2).dump(obj)
    return buffer.getvalue()


DATA = (("data/0", np.array([1.5, -2], np.float32).tobytes()),)


def test_written_by_hand(tmp_path):
    """The helper of the tests below makes sound files."""
    file = tensors.read(archive(tmp_path / "a.pt", pickled({"w": Ref()}), DATA))
    assert file["w"].tolist() == [1.5, -2] and file.shapes == {"w": (2,)}


class Touch:
    """What a hostile file does: unpickling it calls os.system."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("wrap", ["alone", "value", "key", "hidden"])
def test_no_code_runs(protocol, wrap, tmp_path):
    """A call is an error that names the function, whatever the protocol and wherever it hides."""
    mark = tmp_path / "ran"
    touch = Touch(mark)
    tree = {"alone": touch, "value": {"w": touch}, "key": {("a", touch): 1}, "hidden": [{"x": (1, [touch])}]}[wrap]
    data = pickle.dumps(tree, protocol)
    for file in (archive(tmp_path / "bad.pth", data), tmp_path / "raw.pth"):
        if file.name == "raw.pth":
            file.write_bytes(data)
        with pytest.raises(ValueError, match=rf"{file.name}: .*(posix.system|opcode|neither a zip)") as error:
            tensors.read(file)
        assert not mark.exists() and "nothing was run" in str(error.value) or file.name == "raw.pth"
    assert not mark.exists()
    pickle.loads(data)  # the file is as bad as it looks
    assert mark.exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins.eval",
        "builtins.getattr",
        "os.system",
        "torch.load",
        "torch.nn.Module",
        "numpy.load",
        "collections.Counter",
    ],
)
def test_other_globals_are_named(name, tmp_path):
    """Even without a call."""
    data = pickled({"w": Ref(), "x": Global(*name.rsplit(".", 1))})
    with pytest.raises(ValueError, match=f"bad.pth: asks for {name}, .* nothing was run"):
        tensors.read(archive(tmp_path / "bad.pth", data, DATA))


WRONG = {
    "reaches beyond": {"w": Ref(shape=(3,))},
    "reaches beyond the 2": {"w": Ref(shape=(2, 2), strides=(1, 1), size=2, offset=1)},
    "impossible shape": {"w": Ref(strides=(-1,))},
    "without shape or strides": {"w": Ref(strides=(1, 1))},
    "tensor 'w' needs 2 numbers of storage '7', which has 0 bytes": {"w": Ref(key="7")},
    "tensor 'w' needs 9 numbers of storage '0', which has 8 bytes": {"w": Ref(size=9)},
    "storage of type torch.QInt8Storage|asks for torch.QInt8Storage": {"w": Ref(kind="QInt8Storage")},
    "'b.c' is a list, expected a tensor": {"b": {"c": [Ref()]}},
    "key 3.5 is not a string|neither text nor a number": {3.5: Ref()},
    "holds a list, expected a dictionary of tensors": [Ref()],
    "tensor 'a.b' is there twice": {"a.b": Ref(), "a": {"b": Ref()}},
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_trees(message, tmp_path):
    with pytest.raises(ValueError, match=f"^{tmp_path}/bad.pth: .*({message})"):
        tensors.read(archive(tmp_path / "bad.pth", pickled(WRONG[message]), DATA))


def test_wrong_containers(tmp_path):
    good = pickled({"w": Ref()})
    file = tmp_path / "bad.pth"
    with pytest.raises(ValueError, match="'archive/data.pkl' is compressed"):
        tensors.read(archive(file, good * 99, DATA, zipfile.ZIP_DEFLATED))
    with pytest.raises(ValueError, match="not little-endian"):
        tensors.read(archive(file, good, (*DATA, ("byteorder", b"big"))))
    with pytest.raises(ValueError, match="0 members named"):
        tensors.read(archive(file, good, DATA, root="a/b"))
    for content in (
        b"",
        b"PK",
        b"PK\3\4" + bytes(40),
        b"\x80\x02}q\x00.",
        os.urandom(64),
        (FOLDER / "stream.pth").read_bytes()[:-3],
    ):
        file.write_bytes(content)
        with pytest.raises(ValueError, match="bad.pth: "):
            tensors.read(file)
    with pytest.raises(FileNotFoundError, match="none.pth"):
        tensors.read(tmp_path / "none.pth")
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises((ValueError, FileNotFoundError), match="folder.pth"):
        pth.read(tmp_path / "folder.pth")


BOMBS = {
    "huge memo index": b"\x80\x02}r\xff\xff\xff\xffs.",
    "billion laughs": b"\x80\x02]q\x00" + b"".join(b"(h%ch%ce]q%c(" % (i, i, i + 1) for i in range(60)) + b".",
    "huge string": b"\x80\x02X\xff\xff\xff\x7fabc.",
    "endless marks": b"\x80\x02" + b"(" * 100_000 + b".",
    "deep tuple": b"\x80\x02)" + b"\x85" * 100_000 + b".",
    "deep key": b"\x80\x02})" + b"\x85" * 200_000 + b"K\x01s.",  # from 150,000 on its hash overflows a stack of 8 MiB
    "long shape": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nK\x01(" + b"K\x01" * 100_000 + b"tq\x00h\x00R.",
    "copies": b"\x80\x02ccollections\nOrderedDict\n](" + b"]" * 1000 + b"e\x85R.",
    "self": b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
    "long number": b"\x80\x02I" + b"9" * 100_000 + b"\n.",
    "build on a class": b"\x80\x02ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01sb.",
    "extension registry": b"\x80\x02\x82\x01.",
    "call of a number": b"\x80\x02K\x01)R.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name, tmp_path):
    """Small files that would take much memory, time or stack."""
    with pytest.raises(ValueError, match="bad.pth: "):
        tensors.read(archive(tmp_path / "bad.pth", BOMBS[name]))


def test_deep_things_in_a_stream(tmp_path):
    """Where a message would print them."""
    start = (FOLDER / "stream.pth").read_bytes()
    start = start[: start.index(b".") + 1]  # the magic number
    deep = b"\x80\x02)" + b"\x85" * 100_000 + b"."
    for data in (start + deep + deep, start + b"\x80\x02M\xe9\x03." + deep, deep):
        (tmp_path / "bad.pth").write_bytes(data)
        with pytest.raises(ValueError, match="bad.pth: "):
            tensors.read(tmp_path / "bad.pth")


def test_dictionaries_that_multiply(tmp_path):
    """Few bytes, 20^8 entries: each level holds the next one twenty times. And a name of a megabyte."""
    data = b"\x80\x02}q\x00"
    for level in range(8):
        items = b"".join(b"X\x01\x00\x00\x00%ch%c" % (97 + i, level) for i in range(20))
        data += b"}q%c(" % (level + 1) + items + b"u"
    with pytest.raises(ValueError, match="bad.pth: holds more than"):
        tensors.read(archive(tmp_path / "bad.pth", data + b"."))
    with pytest.raises(ValueError, match="bad.pth: a key of 1000000 characters"):
        tensors.read(archive(tmp_path / "bad.pth", pickled({"a" * 1_000_000: Ref()}), DATA))


def test_interpreter_agrees_with_pickle():
    """On plain data, in every protocol, the interpreter finds what Python does."""
    data = {"a": [1, -2, 3.5, None, True], "b": ({"c": "é" * 300}, b"xy"), "d": 2**70, "e": (), "f": (1, 2, 3, 4)}
    data["again"] = data["a"]
    for protocol in (1, 2, 3, 4, 5):
        calls = {
            "_codecs.encode": lambda text, code: text.encode(code),
            "collections.OrderedDict": collections.OrderedDict,
        }
        assert pickles.load(io.BytesIO(pickle.dumps(data, protocol)), calls, lambda _: None) == data


@pytest.mark.parametrize("container", ["zip", "stream"])
def test_a_tensor_alone(container, tmp_path):
    """Taken where it is asked for; what else a dictionary holds are notes."""
    file = tmp_path / "a.pt"
    if container == "zip":
        archive(file, pickled(Ref()), DATA)
    else:
        machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
        parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, machine)]
        storage = (2).to_bytes(8, "little") + DATA[0][1]
        file.write_bytes(b"".join([*parts, pickled(Ref()), pickle.dumps(["0"], 2), storage]))
    (found,) = pth.read(file, bare=True).items()
    assert found[0] == "" and found[1][1:] == (np.float32, (2,), (1,)) and pth.notes(file) == {}
    assert np.fromfile(file, np.float32, 2, offset=found[1][0]).tolist() == [1.5, -2]
    with pytest.raises(ValueError, match="a.pt: holds a tensor, expected a dictionary"):
        tensors.read(file)
    archive(file, pickled({"a": {"w": Ref(), "fps": 30, "by": ["x", 2.5]}}), DATA)
    assert list(pth.read(file, bare=True)) == ["a.w"] and pth.notes(file) == {"a.fps": 30, "a.by": ["x", 2.5]}


@pytest.mark.parametrize("name", ["/etc/x", "\\\\host\\x", "C:/x", "c:\\x", "archive/../../x", "..", "a\\..\\x"])
def test_paths_out_of_the_archive(name, tmp_path):
    archive(tmp_path / "bad.pt", pickled({"w": Ref()}), DATA)
    with zipfile.ZipFile(tmp_path / "bad.pt", "a") as file:
        file.writestr(name, b"x")
    with pytest.raises(ValueError, match="bad.pt: member .* is a path out of the archive"):
        tensors.read(tmp_path / "bad.pt")


def test_names_that_stay_inside(tmp_path):
    """Dots, spaces and colons in a root's name, which is the file's."""
    for root in ("..a", "a..", "step 2:1", "c"):
        assert tensors.read(archive(tmp_path / "a.pt", pickled({"w": Ref()}), DATA, root=root)).shapes == {"w": (2,)}


@pytest.mark.parity
def test_against_torch(tmp_path):
    """A module's state dict in bfloat16, as torch writes it today."""
    import torch

    state = torch.nn.TransformerEncoderLayer(8, 2, 16).to(torch.bfloat16).state_dict()
    torch.save(state, tmp_path / "a.pth")
    file = tensors.read(tmp_path / "a.pth")
    assert list(file.shapes) == list(state)
    for key, value in state.items():
        np.testing.assert_array_equal(file[key].view(np.int16), value.view(torch.int16).numpy())
        assert file[key].dtype == jnp.bfloat16
