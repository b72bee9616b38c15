"""VBVR's folders: what is written can be read back, what is torn is named, what is hostile stays where it is."""

import json
import os
import pathlib
import shutil
import struct

import av
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vrjax import tasks
from vrjax.data import mp4, vbvr

FILES = {"first_frame.png", "final_frame.png", "prompt.txt", "ground_truth.mp4", "metadata.json"}


def tiny(frames=6, size=(16, 24), **fields):
    """A smooth clip that costs nothing, with frames that can be told apart."""
    t, h, w = np.meshgrid(*(np.linspace(0, 1, n) for n in (frames, *size)), indexing="ij")
    video = np.stack([2 * t - 1, h - w, 0 * t], -1).astype(np.float32)
    return tasks.Clip(video, video[0], "move it", "", {})._replace(**fields)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """One written sample; tests that damage it work on a copy."""
    return vbvr.write(
        tiny(), vbvr.bench_folder(tmp_path_factory.mktemp("bench"), vbvr.SPLITS[0], "G-1_move", 3), upscale=2
    )


@pytest.fixture
def copy(sample, tmp_path):
    return pathlib.Path(shutil.copytree(sample, tmp_path / "G-1_move_data-generator" / "00003"))


PLACES = {
    "generator": lambda root, name, i: vbvr.sample_folder(root, name, i),
    "factory": lambda root, name, i: vbvr.sample_folder(root, name, i, generator=f"G-7_{name}"),
    "no task level": lambda root, name, i: root / f"G-7_{name}_data-generator" / f"{i:08d}",
    "bench": lambda root, name, i: vbvr.bench_folder(root, "Out-of-Domain_50", f"G-7_{name}", i),
}
TASK = {name: "{}" if name == "generator" else "G-7_{}_data-generator" for name in PLACES}


@pytest.mark.parametrize("place", PLACES)
def test_round_trip_at_every_depth(place, tmp_path):
    """Worlds survive the codec: read back at their own size, the exact verifier still gives full marks."""
    clips = {name: tasks.get(name).make(5, split="test") for name in ("maze", "tictactoe")}
    for i, (name, clip) in enumerate(clips.items()):
        folder = vbvr.write(clip, PLACES[place](tmp_path, name, i))
        assert set(os.listdir(folder)) == FILES
        with Image.open(folder / "first_frame.png") as first, Image.open(folder / "final_frame.png") as final:
            assert first.size == final.size == (320, 320)
            lossless = np.asarray(final)[::8, ::8] / 127.5 - 1
        np.testing.assert_allclose(lossless, clip.video[-1], atol=0.5 / 127.5 + 1e-6)
    assert all(not name.startswith(".") for _, below, files in os.walk(tmp_path) for name in below + files)
    found = list(vbvr.read(tmp_path, size=40))
    assert len(found) == 2
    for i, (clip, (name, original)) in enumerate(zip(found, clips.items(), strict=True)):
        assert clip.prompt == original.prompt and clip.answer == original.answer
        assert clip.video.shape == original.video.shape and clip.video.dtype == np.float32
        np.testing.assert_allclose(clip.first_frame, original.first_frame, atol=0.5 / 127.5 + 1e-6)
        np.testing.assert_allclose(clip.video, original.video, atol=0.1)
        assert tasks.get(name).score(clip, clip.video) == 1.0
        assert {k: clip.meta[k] for k in original.meta} == json.loads(json.dumps(original.meta))
        info = clip.meta["vbvr"]
        assert (info["index"], info["frames"], info["length"], info["fps"], info["size"]) == (i, 9, 9, 16.0, [320, 320])
        assert info["task"] == TASK[place].format(name)
        assert info["split"] == ("Out-of-Domain_50" if place == "bench" else None)
        json.dumps(clip.meta, allow_nan=False)


def test_any_root_finds_the_same_sample(sample):
    for root in (sample, *list(sample.parents)[:3]):
        (clip,) = vbvr.read(root)
        info = clip.meta["vbvr"]
        assert (info["task"], info["split"], info["index"]) == ("G-1_move_data-generator", "In-Domain_50", 3)
    (clip,) = vbvr.read(str(sample))
    assert clip.video.shape == (6, 32, 48, 3)
    np.testing.assert_allclose(clip.video, mp4.enlarge(tiny().video, 2), atol=0.12)


def test_files_are_what_others_expect(sample):
    """Read with PyAV and json alone, as strangers would."""
    with av.open(str(sample / "ground_truth.mp4")) as container:
        (stream,) = container.streams
        assert (stream.codec_context.name, stream.codec_context.codec_tag) == ("mpeg4", "mp4v")
        assert stream.frames == 6 and stream.average_rate == 16
        assert sum(1 for _ in container.decode(stream)) == 6
    meta = json.loads((sample / "metadata.json").read_text())
    assert set(meta) == {"task_id", "generator", "timestamp", "parameters", "param_hash", "generation"}
    assert meta["task_id"] == sample.name and set(meta["generation"]) >= {"seed", "git"}
    assert len(meta["param_hash"]) == 16 and set(meta["param_hash"]) <= set("0123456789abcdef")


def test_param_hash_ignores_the_seed_only(tmp_path):
    def digest(name, meta):
        vbvr.write(tiny(meta=meta), tmp_path / name, upscale=1)
        return json.loads((tmp_path / name / "metadata.json").read_text())["param_hash"]

    a, b, c = digest("a", {"seed": 1, "n": 1}), digest("b", {"seed": 2, "n": 1}), digest("c", {"seed": 1, "n": 2})
    assert a == b != c


def test_equal_clips_give_equal_bytes(tmp_path):
    for name in "ab":
        vbvr.write(tiny(), tmp_path / name / "x", upscale=1, timestamp="2026-01-01T00:00:00+00:00")
    for file in FILES:
        assert (tmp_path / "a" / "x" / file).read_bytes() == (tmp_path / "b" / "x" / file).read_bytes(), file


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
@pytest.mark.parametrize("frames", [1, 2, 17])
def test_frame_counts(tmp_path, codec, frames):
    vbvr.write(tiny(frames), tmp_path / "x", upscale=1, codec=codec)
    (clip,) = vbvr.read(tmp_path)
    assert clip.video.shape == (frames, 16, 24, 3)
    np.testing.assert_allclose(
        clip.video[..., 0].mean((1, 2)), np.linspace(-1, 1, frames) if frames > 1 else -1, atol=0.06
    )


def test_max_frames_padding_and_trimming(copy):
    for limit, kept in ((None, 6), (3, 3), (4, 4), (5, 5), (99, 6), (1, 1)):
        (clip,) = vbvr.read(copy, max_frames=limit, pad=True, size=(8, 12))
        info = clip.meta["vbvr"]
        assert (info["frames"], info["length"]) == (6, kept)
        assert clip.video.shape[1:] == (8, 12, 3) and len(clip.video) == 4 * ((kept + 2) // 4) + 1
        assert len(vbvr.trim(clip.video, clip)) == kept
        np.testing.assert_array_equal(
            clip.video[kept:], np.repeat(clip.video[kept - 1 : kept], len(clip.video) - kept, 0)
        )
        brightness = clip.video[:kept, ..., 0].mean((1, 2))
        picked = np.linspace(0, 5, kept).round() if kept > 1 else np.zeros(1)
        np.testing.assert_allclose(brightness, 2 * picked / 5 - 1, atol=0.06)


def test_only_two_files_are_required(copy):
    for name in FILES - {"first_frame.png", "prompt.txt"}:
        (copy / name).unlink()
    (clip,) = vbvr.read(copy, pad=True)
    assert clip.video.shape == (1, 32, 48, 3) and clip.meta["vbvr"]["frames"] == 0
    assert clip.meta["vbvr"]["final_frame"] is None and clip.meta["vbvr"]["metadata"] == {}
    np.testing.assert_array_equal(clip.video[0], clip.first_frame)
    (copy / "question_metadata.json").write_text('{"task_id": "7"}')
    (clip,) = vbvr.read(copy)
    assert clip.meta["vbvr"]["metadata"] == {"task_id": "7"}


def test_reading_is_lazy_and_in_order(copy):
    for name in ("00010", "00004"):
        shutil.copytree(copy, copy.parent / name)
    (copy.parent / "00010" / "prompt.txt").write_text(" ")
    clips = vbvr.read(copy.parent.parent)
    assert [next(clips).meta["vbvr"]["index"] for _ in range(2)] == [3, 4]
    with pytest.raises(ValueError, match="00010.prompt.txt: the prompt is empty"):
        next(clips)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def swallow(path):
    """An mp4 whose index is whole and whose last frames are not there (a copy that broke off)."""
    data = path.read_bytes()
    size, at = int.from_bytes(data[data.index(b"mdat") - 4 :][:4], "big"), data.index(b"mdat") + 4
    middle = at + (size - 8) // 2
    path.write_bytes(data[:middle] + bytes(at + size - 8 - middle) + data[at + size - 8 :])


def scratch(path):
    """A run of wrong bytes in the middle of the pictures, which a player would conceal."""
    data = bytearray(path.read_bytes())
    at = data.index(b"mdat") + 4
    size = int.from_bytes(data[at - 8 : at - 4], "big") - 8
    data[at + size // 3 : at + size // 2] = np.random.default_rng(0).bytes(size // 2 - size // 3)
    path.write_bytes(data)


DAMAGE = [
    ("ground_truth.mp4", scratch, ValueError, "frame . is damaged|cannot be read as a video"),
    ("first_frame.png", pathlib.Path.unlink, FileNotFoundError, "missing"),
    ("prompt.txt", pathlib.Path.unlink, FileNotFoundError, "missing"),
    ("prompt.txt", lambda p: p.write_text("\n \n"), ValueError, "the prompt is empty"),
    ("prompt.txt", lambda p: p.write_bytes(b"\xff\xfe\x00"), ValueError, "not UTF-8"),
    ("prompt.txt", lambda p: p.write_bytes(b"a" * (1 << 20) + b"a"), ValueError, "1048577 bytes"),
    ("first_frame.png", cut, ValueError, "cannot be read as a PNG"),
    ("first_frame.png", lambda p: p.write_bytes(b""), ValueError, "the file is empty"),
    ("first_frame.png", lambda p: Image.new("RGB", (48, 32)).save(p, "JPEG"), ValueError, "cannot be read as a PNG"),
    (
        "first_frame.png",
        lambda p: Image.new("RGB", (24, 32)).save(p),
        ValueError,
        r"final_frame.png: \(32, 48\) pixels",
    ),
    ("final_frame.png", cut, ValueError, "cannot be read as a PNG"),
    ("ground_truth.mp4", cut, ValueError, "no video stream|cannot be read as a video"),
    ("ground_truth.mp4", swallow, ValueError, "breaks off|is damaged|cannot be read"),
    ("ground_truth.mp4", lambda p: p.write_bytes(b""), ValueError, "the file is empty"),
    ("ground_truth.mp4", lambda p: p.write_text("no video"), ValueError, "cannot be read as a video"),
    ("metadata.json", cut, ValueError, "not readable as JSON"),
    ("metadata.json", lambda p: p.write_text("[" * 100_000), ValueError, "not readable as JSON"),
    ("metadata.json", lambda p: p.write_text("[1]"), ValueError, "holds a list"),
]


@pytest.mark.parametrize("name, damage, kind, words", DAMAGE, ids=[f"{n}-{w[:12]}" for n, _, _, w in DAMAGE])
def test_damage_is_named(copy, name, damage, kind, words):
    damage(copy / name)
    with pytest.raises(kind, match=words) as error:
        list(vbvr.read(copy.parent))
    assert str(copy) in str(error.value)


def test_wrong_roots(tmp_path, copy):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        vbvr.read(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match="is a file"):
        vbvr.read(copy / "prompt.txt")
    (copy.parent / "00009").mkdir()
    with pytest.raises(FileNotFoundError, match="00009: holds no sample"):  # an empty folder is not skipped
        list(vbvr.read(tmp_path))
    with pytest.raises(FileNotFoundError, match="00009: holds no sample"):
        vbvr.read(copy.parent / "00009")
    (copy.parent / "00009").rmdir()
    (copy.parent / ".00009").mkdir()  # a writer at work, or one that was killed
    (copy.parent / "metadata.json").write_text("{}")  # of the whole task
    assert len(list(vbvr.read(tmp_path))) == 1
    (copy.parent / "link").symlink_to(copy.parent)
    with pytest.raises(ValueError, match="link: a symbolic link leads back"):
        list(vbvr.read(tmp_path))
    for wrong, words in (({"max_frames": 0}, "max_frames=0"), ({"size": 0}, "size=0"), ({"size": (4, -1)}, "size=")):
        with pytest.raises(ValueError, match=words):
            vbvr.read(copy, **wrong)


def test_metadata_names_no_path_and_overrides_nothing(copy):
    evil = {"task_id": "../../../x", "generator": "vrjax", "generation": {"seed": "../y"}}
    evil["parameters"] = {"answer": {"a": 1}, "meta": {"vbvr": {"folder": "/etc"}, "world": "/etc/passwd", "length": 0}}
    (copy / "metadata.json").write_text(json.dumps(evil))
    (copy / "prompt.txt").write_text("<script>alert(1)</script> ../../etc\n\x00\u202e", encoding="utf-8")
    (clip,) = vbvr.read(copy)
    assert clip.meta["vbvr"]["folder"] == str(copy) and clip.meta["vbvr"]["length"] == 6
    assert clip.prompt == "<script>alert(1)</script> ../../etc\n\x00\u202e" and isinstance(clip.answer, str)
    again = vbvr.write(clip, copy.parent / "00004", upscale=1)
    assert set(os.listdir(copy.parent)) == {"00003", "00004"} and set(os.listdir(again)) == FILES


@settings(max_examples=15, deadline=None)
@given(prompt=st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip))
def test_any_prompt_survives(tmp_path_factory, prompt):
    folder = vbvr.write(tiny(1, prompt=prompt), tmp_path_factory.mktemp("p") / "x", upscale=1)
    assert next(vbvr.read(folder)).prompt == prompt.strip()


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"prompt": " \n"}, "prompt is empty"),
        ({"prompt": "\ud800"}, "surrogates not allowed"),
        ({"video": np.full((2, 16, 24, 3), np.nan, np.float32)}, "video reaches nan"),
        ({"video": np.full((2, 16, 24, 3), 255, np.uint8)}, "video reaches 255"),
        ({"video": np.zeros((2, 16, 24, 3), np.uint8)}, "found uint8"),
        ({"video": np.zeros((2, 16, 25, 3), np.float32)}, r"\(2, 16, 25, 3\) and first frame \(16, 24, 3\)"),
        ({"video": np.zeros((0, 16, 24, 3), np.float32)}, r"\(0, 16, 24, 3\)"),
        ({"meta": {"x": object()}}, "not JSON-able"),
        ({"meta": {"x": float("nan")}}, "not JSON-able"),
    ],
)
def test_wrong_clips_leave_nothing(tmp_path, wrong, words):
    with pytest.raises(ValueError, match=words):
        vbvr.write(tiny()._replace(**wrong), tmp_path / "x", upscale=1)
    assert os.listdir(tmp_path) == []


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mp4, "encode", full_disk)
    with pytest.raises(OSError, match="not written: no space left on the disk"):
        vbvr.write(tiny(), tmp_path / "x")
    with pytest.raises(OSError, match="not written: no space left on the disk"):
        vbvr.write_prediction(tmp_path / "m", "In-Domain_50", "t", 0, tiny().video)
    assert [name for _, _, files in os.walk(tmp_path) for name in files] == [] and os.listdir(tmp_path) == ["m"]


def test_nothing_is_overwritten(copy):
    before = (copy / "metadata.json").read_bytes()
    with pytest.raises(FileExistsError, match="00003: exists already"):
        vbvr.write(tiny(), copy)
    assert (copy / "metadata.json").read_bytes() == before
    with pytest.raises(ValueError, match="codec='h265'"):
        vbvr.write(tiny(), copy.parent / "1", codec="h265")
    with pytest.raises(ValueError, match="even sides"):
        vbvr.write(tiny(size=(15, 24)), copy.parent / "1", codec="libx264", upscale=1)
    with pytest.raises(ValueError, match="upscale=0"):
        vbvr.write(tiny(), copy.parent / "1", upscale=0)
    assert os.listdir(copy.parent) == ["00003"]


def test_predictions_stand_where_the_evaluation_looks(copy, tmp_path):
    (clip,) = vbvr.read(copy, pad=True)
    info, video = clip.meta["vbvr"], jnp.asarray(1.5 * clip.video)  # a model overshoots
    for _ in range(2):  # a second run replaces the first
        path = vbvr.write_prediction(
            tmp_path / "model", "In-Domain_50", info["task"], info["index"], vbvr.trim(video, clip)
        )
    assert path == tmp_path / "model" / "In-Domain_50" / "G-1_move_data-generator" / "00003.mp4"
    assert [p for p in (tmp_path / "model").rglob("*") if p.is_file()] == [path]
    pixels, frames, fps = mp4.decode(path)
    assert pixels.shape == (6, 256, 384, 3) and (frames, fps) == (6, 16.0)
    bright = video.astype(jnp.bfloat16)
    assert vbvr.write_prediction(tmp_path, "In-Domain_50", "t", 0, bright, upscale=1).stat().st_size > 0


@pytest.mark.parametrize(
    "split, task, index, words",
    [
        ("test", "t", 0, "split='test'"),
        ("In-Domain_50", "../t", 0, "name '../t'"),
        ("In-Domain_50", "a/b", 0, "name 'a/b'"),
        ("In-Domain_50", "..", 0, r"name '\.\.'"),
        ("In-Domain_50", "", 0, "name ''"),
        ("In-Domain_50", "t\n", 0, "name 't.n'"),
        ("In-Domain_50", "t", -1, "index=-1"),
        ("In-Domain_50", "t", 100_000, "index=100000"),
    ],
)
def test_wrong_predictions(tmp_path, split, task, index, words):
    with pytest.raises(ValueError, match=words):
        vbvr.write_prediction(tmp_path, split, task, index, tiny().video)
    assert os.listdir(tmp_path) == []
    if split in vbvr.SPLITS and index == 0:
        for path in (
            lambda: vbvr.bench_folder(tmp_path, split, task, 0),
            lambda: vbvr.sample_folder(tmp_path, task, 0),
        ):
            with pytest.raises(ValueError, match=words):
                path()


@pytest.mark.parametrize("codec", ["mpeg4", mp4.PLAYED])
def test_a_clip_is_read_as_players_show_it(codec, tmp_path):
    """Cut without encoding anew (an edit list hides the frames before), turned by a camera's note, and torn."""
    film = np.zeros((32, 32, 48, 3), np.uint8)
    film += (7 * np.arange(32, dtype=np.uint8))[:, None, None, None]
    film[:, :8, :8] = (255, 0, 0)
    mp4.encode(tmp_path / "a.mp4", film, fps=16, codec=codec)
    data = (tmp_path / "a.mp4").read_bytes()

    at = data.find(b"elst") + 12
    length, start = struct.unpack(">Ii", data[at : at + 8])
    clock = data.find(b"mdhd") + 16
    later = start + 6 * struct.unpack(">I", data[clock : clock + 4])[0] // 16
    cut = data[:at] + struct.pack(">Ii", length * 20 // 32, later) + data[at + 8 :]
    (tmp_path / "cut.mp4").write_bytes(cut)
    shown, count, _ = mp4.decode(tmp_path / "cut.mp4")
    assert count == len(shown) == 20
    np.testing.assert_allclose(shown[:, 20, 20, 0], 7 * np.arange(6, 26), atol=4)

    at = data.find(b"tkhd") + 44
    quarter = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 32 << 16, 0, 1 << 30)  # clockwise
    (tmp_path / "turned.mp4").write_bytes(data[:at] + quarter + data[at + 36 :])
    shown, _, _ = mp4.decode(tmp_path / "turned.mp4")
    assert shown.shape == (32, 48, 32, 3)
    assert shown[0, 2, -3, 0] > 200 and shown[0, 2, 2, 0] < 60

    with pytest.raises(ValueError, match="torn.mp4"):
        (tmp_path / "torn.mp4").write_bytes(cut[: len(cut) - 400])
        mp4.decode(tmp_path / "torn.mp4")
