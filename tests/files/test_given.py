"""What stands in place of a file, captions with any character, and files that hold more or less than weights."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.files.test_pth import DATA, Ref, archive, pickled
from vrjax import files
from vrjax.align import pairs
from vrjax.data import mp4, vbvr
from vrjax.files import given, tensors

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
STRANGERS = {
    "Git LFS pointer": LFS,
    "a web page": b"\n<!DOCTYPE html>\n<html><body>404</body></html>",
    "AppleDouble": b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ",
    "GGUF": b"GGUF\x03\x00\x00\x00" + bytes(40),
    "an error that a server sent": b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code></Error>',
    "the file is empty": b"",
}
READERS = {
    "safetensors": ("a.safetensors", tensors.read),
    "index": ("a.safetensors.index.json", tensors.read),
    "torch": ("a.pth", tensors.read),
    "json": ("a.json", tensors.read_json),
    "picture": ("a.png", files.read_image),
    "clip": ("a.mp4", mp4.decode),
    "captions": ("a.txt", given.lines),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("what", STRANGERS)
def test_what_stands_there_is_named(what, reader, tmp_path):
    """By every reader, whatever the name says."""
    name, read = READERS[reader]
    (tmp_path / name).write_bytes(STRANGERS[what])
    with pytest.raises(ValueError, match=f"^{tmp_path / name}: .*{what}"):
        read(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(tmp_path / "blobs" / "4d7a")
    with pytest.raises(FileNotFoundError, match=f"{name}: a link to .*4d7a, which is not there"):
        read(tmp_path / name)


def test_captions_keep_their_lines(tmp_path):
    """The k-th caption belongs to the k-th clip: separators inside of a line, a mark before the first, any line end."""
    captions = ["a cat\u2028on a mat", "b\u0085c", "d\x0ce\x1cf", "ünï"]
    for end in ("\n", "\r\n", "\r"):
        (tmp_path / "p.txt").write_bytes(("\ufeff" + end.join(captions) + end).encode())
        assert given.lines(tmp_path / "p.txt") == captions
    (tmp_path / "p.txt").write_bytes("a cat".encode("utf-16"))
    with pytest.raises(ValueError, match="p.txt: not UTF-8 text"):
        given.lines(tmp_path / "p.txt")


def test_pairs_of_a_folder_that_a_mac_has_copied(tmp_path):
    (tmp_path / "prompt.txt").write_text("\ufeffone\u2028two\nthree\n", "utf-8")
    (tmp_path / "video.txt").write_text("videos/a.mp4\nvideos/b.mp4\n")
    for name in ("a", "b"):
        folder = tmp_path / "negative_samples" / name
        folder.mkdir(parents=True)
        (tmp_path / "videos").mkdir(exist_ok=True)
        for file in (tmp_path / "videos" / f"{name}.mp4", folder / "0.mp4", folder / "._0.mp4"):
            file.write_bytes(b"x")
    found = pairs.read(tmp_path)
    assert [(pair.prompt, len(pair.lose)) for pair in found] == [("one\u2028two", 1), ("three", 1)]


def test_a_prompt_with_a_byte_order_mark(tmp_path):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "first_frame.png")
    (tmp_path / "prompt.txt").write_bytes("\ufeffgo".encode())
    (tmp_path / "metadata.json").write_bytes(b"\xef\xbb\xbf{}")
    (clip,) = vbvr.read(tmp_path)
    assert clip.prompt == "go"


WEIGHTS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b.weight": np.ones(2, np.float32)}


def test_which_file_of_a_folder(tmp_path):
    """The plain one beside a variant, a variant alone (also in parts), nothing of macOS's; else all are named."""
    name = "model.safetensors"
    save_file(WEIGHTS, tmp_path / name)
    (tmp_path / f"._{name}").write_bytes(STRANGERS["AppleDouble"])
    save_file({"other": np.zeros(1)}, tmp_path / "model.fp16.safetensors")
    assert tensors.read(tmp_path).shapes.keys() == WEIGHTS.keys()
    (tmp_path / name).unlink()
    assert [*tensors.read(tmp_path).shapes] == ["other"]
    (tmp_path / "model.fp16.safetensors").unlink()
    parts = [f"model.fp16-0000{i}-of-00002.safetensors" for i in (1, 2)]
    for part, key in zip(parts, WEIGHTS, strict=True):
        save_file({key: WEIGHTS[key]}, tmp_path / part)
    with pytest.raises(FileNotFoundError, match="fp16-00001-of-00002.safetensors is a part, whose .index.json is mis"):
        tensors.read(tmp_path)
    table = {"weight_map": dict(zip(WEIGHTS, parts, strict=True))}
    (tmp_path / f"{name}.index.fp16.json").write_text(json.dumps(table))
    assert tensors.read(tmp_path).shapes.keys() == WEIGHTS.keys()
    for other in ("one", "two"):
        save_file(WEIGHTS, tmp_path / f"{other}.safetensors")
    with pytest.raises(ValueError, match="2 candidates, expected one: one.safetensors, two.safetensors"):
        tensors.read(tmp_path)


@pytest.mark.parametrize("name", ["scale_weight", "weight_scale"])
@pytest.mark.parametrize("rows", [False, True])
def test_scaled_fp8_is_read_as_its_products(name, rows, tmp_path):
    """A scale of the tensor, or of each row; and what others need beside it is no tensor of the file's."""
    weight = WEIGHTS["a.weight"].astype(jnp.float8_e4m3fn)
    scale = np.float32([[0.5], [4]]) if rows else np.float32(0.5)
    beside = {"scaled_fp8": np.zeros(2, jnp.float8_e4m3fn), "a.input_scale": np.ones((), np.float32)}
    save_file({"a.weight": weight, f"a.{name}": np.asarray(scale), **beside}, tmp_path / "a.safetensors")
    source = tensors.read(tmp_path / "a.safetensors")
    assert source.shapes == {"a.weight": (2, 3)} and source.places["a.weight"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(source["a.weight"], WEIGHTS["a.weight"] * scale)
    turned = source.view("a.weight", slice(None), (2, 3), True)
    np.testing.assert_array_equal(turned, (WEIGHTS["a.weight"] * scale).T)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"a.weight": np.ones((2, 3), np.int8)}, "a.weight holds int8 weights without scales"),
        ({"a.weight": np.ones((2, 3), np.int8), "a.weight_scale": np.ones((2, 1), np.float32)}, "with scales, quantis"),
        ({"a.weight": np.ones((2, 3), np.float32), "a.weight_scale": np.ones(2, np.float32)}, "float32 weights with"),
        ({"a.weight": np.ones((2, 3), jnp.float8_e4m3fn), "a.weight_scale": np.ones(3, np.float32)}, "expected one sc"),
    ],
)
def test_other_quantised_weights_are_refused(arrays, words, tmp_path):
    save_file(arrays, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=f"a.safetensors: .*{words}"):
        tensors.read(tmp_path / "a.safetensors")


def test_checkpoints_of_training(tmp_path):
    """Steps, rates and an optimiser's numbered states beside the weights are no weights."""
    save_file({**WEIGHTS, "step": np.array(7), "ema.num_updates": np.array([7])}, tmp_path / "a.safetensors")
    assert tensors.read(tmp_path / "a.safetensors").shapes.keys() == WEIGHTS.keys()
    tree = {"model": {"w": Ref()}, "step": 7, "lr": [1e-4, None], "optimizer": {"state": {0: {"step": 7, "m": Ref()}}}}
    found = tensors.read(archive(tmp_path / "a.pth", pickled(tree), DATA))
    assert sorted(found.shapes) == ["model.w", "optimizer.state.0.m"]


@pytest.mark.parametrize("flag", ["neg", "conj"])
def test_a_view_that_was_saved_lazily_is_refused(flag, tmp_path):
    """Its numbers in the file have the other sign."""
    lazy = Ref()
    lazy.view = (*lazy.view, {}, {flag: True})
    with pytest.raises(ValueError, match=f"a.pth: a lazy view \\({flag}\\), expected plain numbers"):
        tensors.read(archive(tmp_path / "a.pth", pickled({"w": lazy}), DATA))
