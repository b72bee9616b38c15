"""Damaged and hostile weight files: a clear error that names the file, or a sound reading; never a crash or a hang.

No format but zip carries checksums, so a changed number may go unseen: then every array must still have the shape that
was announced, and lie inside the file.
"""

import io
import json
import os
import pathlib
import signal
import sys

import numpy as np
import pytest
from safetensors.numpy import save

from vrjax.files import tensors
from vrjax.models import wan

FOLDER = pathlib.Path(__file__).parent / "fixtures"
PTH = FOLDER.parents[1] / "files" / "fixtures"
rng = np.random.default_rng(0)
ARRAYS = {f"blocks.{i}.w": rng.standard_normal((3, i + 1)).astype(np.float32) for i in range(4)} | {
    "bias": np.arange(6, dtype=np.int64),
    "half": np.ones((2, 2), np.float16),
}
WORDS = [
    b"0",
    b"-1",
    b"9" * 30,
    b"1e999",
    b"null",
    b"[]",
    b"{}",
    b'"x"',
    b"NaN",
    b"true",
    b"[" * 3000,
    b'"\\ud800"',
    b"\xff\xfe",
]
GLOBALS = [
    b"cos\nsystem\n",
    b"cbuiltins\neval\n",
    b"(S'x'\nios\nsystem\n",
    b"\x93",
    b"\x82\x01",
    b"\x92",
    b"\x81",
    b"R",
    b"b",
    b"Q",
]


def mutated(data: bytes, seed: int, words: list[bytes]) -> bytes:
    """One to four random changes: a flipped bit, a byte, a cut, a doubled or moved part, zeros, or a planted word."""
    rng = np.random.default_rng(seed)
    out = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        if not out:
            break
        at, size = int(rng.integers(len(out))), int(rng.integers(1, 40))
        match rng.integers(8):
            case 0:
                out[at] ^= 1 << int(rng.integers(8))
            case 1:
                out[at] = int(rng.integers(256))
            case 2:
                del out[at:]
            case 3:
                del out[at : at + size]
            case 4:
                out[at:at] = out[max(0, at - size) : at]
            case 5:
                out[at : at + size] = bytes(min(size, len(out) - at))
            case 6:
                out[at : at + 8] = rng.integers(0, 256, 8, np.uint8).tobytes()
            case _:
                word = words[int(rng.integers(len(words)))]
                out[at : at + int(rng.integers(0, len(word) + 1))] = word
    return bytes(out)


class Limits:
    """Ends a test where one reading takes over 5 seconds, and refuses processes and files being written."""

    def __enter__(self):
        self.old = signal.signal(signal.SIGALRM, self.late)
        signal.alarm(5)
        return self

    def late(self, *_):
        raise AssertionError("hangs")

    def __exit__(self, *_):
        signal.alarm(0)
        signal.signal(signal.SIGALRM, self.old)


def forbidden(event, args):
    """An audit hook: no reader starts a process, imports by name from a file, or writes."""
    if not forbidden.on:
        return
    writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
    if writes or event.startswith(("os.system", "os.exec", "os.spawn", "subprocess", "pickle.find_class", "ctypes")):
        forbidden.seen.append((event, args))


forbidden.on, forbidden.seen, forbidden.installed = False, [], False


def outcome(read, path) -> str:
    """ "error" or "read"; fails where anything else happens."""
    if not forbidden.installed:
        sys.addaudithook(forbidden)
        forbidden.installed = True
    forbidden.on = True
    try:
        with Limits():
            found = read(path)
            for name, shape in found.shapes.items():
                if np.prod(shape, dtype=object) < 10**6:
                    array = found[name]
                    assert array.shape == shape and array.tobytes() is not None
    except (ValueError, FileNotFoundError) as error:
        assert path.stem in str(error), error
        assert len(str(error)) < 2000
        return "error"
    finally:
        forbidden.on = False
        assert not forbidden.seen
    return "read"


def seeds(kind: int, count: int):
    """Batches of ten, so that a failure names its batch; the message names the seed."""
    return [range(kind * 10_000 + start, kind * 10_000 + start + 10) for start in range(0, count, 10)]


def run(tmp_path, name, data, words, batch, read=tensors.read):
    results = []
    for seed in batch:
        path = tmp_path / name
        path.write_bytes(mutated(data, seed, words))
        try:
            results.append(outcome(read, path))
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
    return results


def test_safetensors(tmp_path):
    """300 mutations of the header, 60 of the whole file."""
    data = save(ARRAYS)
    header = 8 + int.from_bytes(data[:8], "little")
    assert outcome(tensors.read, _written(tmp_path / "weights.safetensors", data)) == "read"
    results = []
    for batch in seeds(1, 300):
        for seed in batch:
            changed = mutated(data[8:header], seed, WORDS)
            length = len(changed).to_bytes(8, "little") if seed % 3 else data[:8]
            results.append(
                outcome(tensors.read, _written(tmp_path / "weights.safetensors", length + changed + data[header:]))
            )
    for batch in seeds(2, 60):
        results += run(tmp_path, "weights.safetensors", data, WORDS, batch)
    assert results.count("error") > 250 and results.count("read") > 5


@pytest.mark.parametrize("container", ["zip", "stream"])
def test_pth(container, tmp_path):
    """200 mutations of each of torch's containers."""
    data = (PTH / f"{container}.pth").read_bytes()
    assert outcome(tensors.read, _written(tmp_path / "weights.pth", data)) == "read"
    results = []
    for batch in seeds(3, 200):
        results += run(tmp_path, "weights.pth", data, GLOBALS, batch)
    assert results.count("error") > 120 and results.count("read") > 3


def test_pickles_inside_sound_archives(tmp_path):
    """200 mutations of the pickle alone, in an archive whose checksums are right."""
    import zipfile

    with zipfile.ZipFile(PTH / "zip.pth") as file:
        members = {info.filename: file.read(info) for info in file.infolist()}
    name = next(name for name in members if name.endswith("data.pkl"))
    results = []
    for batch in seeds(4, 200):
        for seed in batch:
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as file:
                for member, content in members.items():
                    file.writestr(member, mutated(content, seed, GLOBALS) if member == name else content)
            results.append(outcome(tensors.read, _written(tmp_path / "weights.pth", buffer.getvalue())))
    assert results.count("error") > 120


def test_index(tmp_path):
    """100 mutations of an index over two shards."""
    names = list(ARRAYS)
    for i in range(2):
        _written(tmp_path / f"weights-{i}.safetensors", save({k: ARRAYS[k] for k in names[i::2]}))
    index = {
        "metadata": {"total_size": 1},
        "weight_map": {k: f"weights-{i}.safetensors" for i in range(2) for k in names[i::2]},
    }
    data = json.dumps(index).encode()
    words = [*WORDS, b"../", b"/etc/passwd", b"weights-1", b"\\u0000", b"a" * 5000]
    path = tmp_path / "weights.json"
    assert outcome(tensors.read, _written(path, data)) == "read"
    results = []
    for batch in seeds(5, 100):
        results += run(tmp_path, "weights.json", data, words, batch)
    assert results.count("error") > 60


def _written(path, data):
    path.write_bytes(data)
    return path


LOADERS = {
    "vae": (wan.load_vae, "vae.safetensors"),
    "text encoder": (wan.load_text_encoder, "text.safetensors"),
    "image encoder": (wan.load_image_encoder, "image.safetensors"),
    "dit": (wan.load_dit, "dit.safetensors"),
    "lora": (wan.load_lora, "lora.safetensors"),
}


def _anchor(name):
    """Tensors with which a loader takes the file for its own, most of them missing or of nonsensical shapes."""
    shapes = {
        "vae": {
            "encoder.middle.0.residual.0.gamma": (2,),
            "encoder.conv1.weight": (2, 3, 3, 3, 3),
            "decoder.conv1.weight": (8, 16, 3, 3, 3),
            "conv2.weight": (16, 16, 1, 1, 1),
        },
        "text encoder": {
            "encoder.final_layer_norm.weight": (4,),
            "shared.weight": (5, 4),
            "encoder.block.0.layer.0.SelfAttention.q.weight": (4, 4),
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (32, 2),
            "encoder.block.0.layer.1.DenseReluDense.wi_0.weight": (6, 4),
        },
        "image encoder": {
            "embeddings.class_embedding": (80,),
            "embeddings.patch_embedding.weight": (80, 3, 2, 2),
            "embeddings.position_embedding.weight": (5, 80),
            "encoder.layers.1.mlp.fc1.weight": (3, 80),
            "encoder.layers.0.mlp.fc1.weight": (3, 80),
        },
        "dit": {
            "time_projection.1.weight": (768, 128),
            "patch_embedding.weight": (128, 16, 1, 2, 2),
            "blocks.0.ffn.0.weight": (8, 128),
            "head.head.weight": (64, 128),
            "time_embedding.0.weight": (128, 8),
            "text_embedding.0.weight": (128, 8),
        },
        "lora": {
            "blocks.0.self_attn.q.lora_A.weight": (2, 4),
            "blocks.0.self_attn.q.lora_B.weight": (4, 2),
            "blocks.0.self_attn.q.alpha": (),
            "head.head.diff": (3, 4),
        },
    }
    return shapes[name]


@pytest.mark.parametrize("name", LOADERS)
def test_loaders(name, tmp_path):
    """20 files per loader that are sound as files: shapes of other rank or size, keys lost or renamed."""
    load, file = LOADERS[name]
    for seed in range(20):
        rng = np.random.default_rng(seed)
        arrays = {}
        for key, shape in _anchor(name).items():
            change = rng.integers(6)
            shape = {0: (), 1: shape[:-1], 2: (0, *shape), 3: tuple(n + 1 for n in shape)}.get(int(change), shape)
            arrays[key + (".x" if rng.integers(8) == 0 else "")] = np.ones(shape, np.float32)
        path = _written(tmp_path / file, save(arrays))
        try:
            with Limits():
                load(path)
        except ValueError as error:
            assert file in str(error), (seed, error)
        else:
            assert name == "lora", seed


HUGE = {
    "vae": '{"_class_name": "AutoencoderKLWan", "z_dim": 16, "num_res_blocks": 1000000000}',
    "dit": '{"_class_name": "WanModel", "dim": 128, "num_heads": 1, "num_layers": 1000000000}',
}


@pytest.mark.parametrize("name", HUGE)
def test_configs_beyond_the_file(name, tmp_path):
    """A small config that asks for a billion blocks is refused before they are listed."""
    load, file = LOADERS[name]
    _written(tmp_path / file, save({key: np.ones(shape, np.float32) for key, shape in _anchor(name).items()}))
    (tmp_path / "config.json").write_text(HUGE[name])
    with Limits(), pytest.raises(ValueError, match=rf"{file}: the config says .*1000000000"):
        load(tmp_path / file)


@pytest.mark.parametrize("name", ["text encoder", "image encoder", "dit"])
def test_block_numbers_beyond_the_file(name, tmp_path):
    """So is a key with a block number that leaves a gap."""
    load, file = LOADERS[name]
    shapes = _anchor(name)
    start = {"text encoder": "encoder.block.", "image encoder": "encoder.layers.", "dit": "blocks."}[name]
    for number in ("999999", "9" * 5000):
        arrays = {key: np.ones(shape, np.float32) for key, shape in shapes.items()}
        _written(tmp_path / file, save(arrays | {f"{start}{number}.x": np.ones(1, np.float32)}))
        with Limits(), pytest.raises(ValueError, match=file):
            load(tmp_path / file)


def test_the_harness_sees(tmp_path):
    """A reader that ends by another error, reads beyond the file, writes, or starts a process."""

    class Reader:
        def __init__(self, shapes, array=None):
            self.shapes, self.array = shapes, array

        def __getitem__(self, name):
            return self.array

    def careless(path):
        return Reader(json.loads(path.read_bytes())["weight_map"])

    def wrong_shape(path):
        return Reader({"a": (2, 3)}, np.ones(2))

    def writes(path):
        path.with_suffix(".tmp").write_text("")
        return Reader({})

    def runs(path):
        os.system("true")
        return Reader({})

    path = _written(tmp_path / "weights.json", b"{}")
    for read in (careless, wrong_shape, writes, runs):
        with pytest.raises((AssertionError, KeyError)):
            outcome(read, path)
        forbidden.seen.clear()
