"""Stage 1 ends as it must; chains round-trip through the paper's files; broken and hostile folders are refused."""

import csv
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vrjax.files import pixels
from vrjax.reasoning.thoughts import files as thought_files
from vrjax.reasoning.thoughts import keyframes, pictures
from vrjax.reasoning.thoughts.keyframes import FirstThought, NextThought, VisualThoughts, think


def frame(seed, h=4, w=6):
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), np.uint8)


def chain(n=3, name="duck"):
    captions = tuple(f"{name} is at place {i}" for i in range(1, n))
    return VisualThoughts(
        f"A {name} falls", "it sinks", "wet", "a long view", f"A {name}", captions, tuple(map(frame, range(n)))
    )


def same(a, b):
    assert a[:6] == b[:6]
    assert len(a.frames) == len(b.frames)
    for x, y in zip(a.frames, b.frames, strict=True):
        np.testing.assert_array_equal(x, y)


class Script:
    """Answers from a list; notes what it is asked."""

    def __init__(self, *answers):
        self.answers, self.asked, self.drawn = list(answers), [], []

    def first(self, prompt):
        return FirstThought("hm", "it melts", "a cone, whole", "A cone.")

    def next(self, prompt, consequences, frames):
        self.asked.append((prompt, consequences, len(frames)))
        return self.answers[len(self.asked) - 1]

    def generate(self, text):
        self.drawn.append((0, text))
        return frame(0)

    def edit(self, frames, instruction):
        self.drawn.append((len(frames), instruction))
        return frame(len(frames))


# The loop ------------------------------------------------------------------------------------------------------------


def test_the_loop_is_the_papers():
    script = Script(NextThought("It drips.", False), NextThought("A puddle", True), NextThought("never", True))
    thinking = think("Ice cream in the sun", script, script)
    assert (thinking.stopped, thinking.calls) == ("last", 2)
    assert script.asked == [("Ice cream in the sun", "it melts", 1), ("Ice cream in the sun", "it melts", 2)]
    # the rich context is drawn, the concise prompt is the caption; the frame called last is drawn too
    assert script.drawn == [(0, "a cone, whole"), (1, "It drips."), (2, "A puddle")]
    assert thinking.thoughts.captions == ("A cone.", "It drips.", "A puddle")
    assert thinking.thoughts.story == "A cone. Then It drips. Then A puddle."
    same(thinking.thoughts, keyframes.check(thinking.thoughts))


@pytest.mark.parametrize("limit", [0, 1, 4])
def test_a_reasoner_that_never_ends_is_stopped(limit):
    script = Script(*[NextThought("more", False)] * 9)
    thinking = think("p", script, script, limit=limit)
    assert (thinking.stopped, thinking.calls, len(thinking.thoughts.frames)) == ("limit", limit, limit + 1)
    assert len(script.drawn) == limit + 1


def test_last_without_an_instruction_draws_nothing():
    script = Script(NextThought("It drips", False), NextThought(" ", True))
    thinking = think("p", script, script)
    assert thinking.stopped == "last" and thinking.thoughts.key_frames == ("It drips",)


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (NextThought("", False), "thought 1: the text is empty"),
        (NextThought("x" * (keyframes.MAX_TEXT + 1), False), "characters, expected at most"),
        (NextThought("half \ud800", False), "UTF-8"),
    ],
)
def test_bad_answers_are_named(answer, match):
    script = Script(answer)
    with pytest.raises(ValueError, match=match):
        think("p", script, script)


def test_bad_arguments_and_frames_are_named():
    script = Script(NextThought("go", True))
    with pytest.raises(ValueError, match="limit is -1"):
        think("p", script, script, limit=-1)
    with pytest.raises(ValueError, match="prompt: the text is empty"):
        think("  ", script, script)
    script.edit = lambda frames, text: frame(1).astype(np.float32)
    with pytest.raises(ValueError, match=r"imager's keyframe 1: found float32 \(4, 6, 3\)"):
        think("p", script, script)
    with pytest.raises(ValueError, match="2 frames for 2 key_frames captions"):
        keyframes.check(chain(3)._replace(frames=chain(2).frames))


def test_importing_the_loop_needs_neither_jax_nor_pillow_nor_openai():
    code = (
        "import sys, vrjax.reasoning.thoughts.keyframes, vrjax.reasoning.thoughts.files\n"
        "import vrjax.reasoning.thoughts.reasoners.http\n"
        "print(sorted({'jax', 'PIL', 'openai', 'httpx2'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# Pictures ------------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_fit_covers_and_keeps_a_plain_colour(h, w, high, wide):
    plain = np.full((h, w, 3), (10, 200, 77), np.uint8)
    np.testing.assert_array_equal(pictures.fit(plain, (high, wide)), np.full((high, wide, 3), (10, 200, 77), np.uint8))
    picture = frame(1, h, w)
    np.testing.assert_array_equal(pictures.fit(picture, (h, w)), picture)
    np.testing.assert_array_equal(pictures.decode(pictures.png(picture), "x"), picture)


def test_fit_crops_about_the_centre():
    wide = np.zeros((4, 8, 3), np.uint8)
    wide[:, 2:6] = frame(3, 4, 4)
    np.testing.assert_array_equal(pictures.fit(wide, (4, 4)), frame(3, 4, 4))
    np.testing.assert_array_equal(pictures.fit(wide.swapaxes(0, 1), (4, 4)), frame(3, 4, 4).swapaxes(0, 1))


def test_stitch_puts_frames_in_order_at_one_height():
    row = pictures.stitch([frame(0), frame(1, 8, 12), frame(2)], gap=2)
    assert row.shape == (4, 6 + 2 + 6 + 2 + 6, 3)
    np.testing.assert_array_equal(row[:, :6], frame(0))
    np.testing.assert_array_equal(row[:, 16:], frame(2))
    assert (row[:, [6, 7, 14, 15]] == 255).all()


def test_pixels_survive_the_way_to_floats_and_back():
    every = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, -1)
    floats = pictures.to_float(every)
    assert floats.min() == -1 and floats.max() == 1
    np.testing.assert_array_equal(pictures.to_uint8(floats), every)


def test_bombs_and_torn_images_are_refused(monkeypatch):
    data = pictures.png(frame(0, 40, 60))
    for bad in (b"", b"no image", data[: len(data) // 2], b"%!PS-Adobe-3.0 EPSF-3.0\n"):
        with pytest.raises(ValueError, match="duck_0.png: cannot be read as an image"):
            pictures.decode(bad, "duck_0.png")
    monkeypatch.setattr(pixels, "MAX_PIXELS", 2399)
    with pytest.raises(ValueError, match="60 x 40 pixels, expected at most 2399"):
        pictures.decode(data, "duck_0.png")


# Files ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    return thought_files.write(tmp_path / "thoughts", {"duck": chain(3), "egg 2_1": chain(1, "egg")})


def test_the_files_are_the_papers(folder):
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*")) == [
        "metadata.csv",
        "reasoning.json",
        "train",
        "train/duck_0.png",
        "train/duck_1.png",
        "train/duck_2.png",
        "train/egg 2_1_0.png",
    ]
    lines = (folder / "metadata.csv").read_bytes().decode().splitlines()
    assert lines == [
        '"file_name","text"',
        '"duck_0.png","A duck"',
        '"duck_1.png","duck is at place 1"',
        '"duck_2.png","duck is at place 2"',
        '"egg 2_1_0.png","A egg"',
    ]
    assert json.loads((folder / "reasoning.json").read_text())["duck"] == {
        "input_prompt": "A duck falls",
        "thoughts": "it sinks",
        "consequences": "wet",
        "context_frame": "a long view",
        "concise_prompt": "A duck",
        "key_frames": ["duck is at place 1", "duck is at place 2"],
    }
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "train" / "duck_1.png")), frame(1))


text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(str.strip)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_text_round_trips(tmp_path_factory, data):
    captions = tuple(data.draw(st.lists(text, max_size=2)))
    free = st.text(st.characters(codec="utf-8"), max_size=20)
    fields = [data.draw(s) for s in (text, free, free, free, text)]
    thoughts = VisualThoughts(*fields, captions, tuple(frame(i, 1 + i, 2) for i in range(1 + len(captions))))
    name = data.draw(
        st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_.-]?[A-Za-z0-9_-])*", fullmatch=True).filter(lambda n: len(n) < 60)
    )
    found = thought_files.read(thought_files.write(tmp_path_factory.mktemp("t") / "a", {name: thoughts}))
    assert list(found) == [name]
    same(found[name], thoughts)


def test_others_folders_are_read(folder):
    """Images beside the files and as JPEG, lists for texts, no metadata.csv, a byte order mark, Windows line ends."""
    for path in (folder / "train").iterdir():
        path.rename(folder / path.name)
    (folder / "train").rmdir()
    Image.fromarray(frame(1)).save(folder / "duck_1.jpg")
    (folder / "duck_1.png").unlink()
    entries = json.loads((folder / "reasoning.json").read_text())
    entries["duck"]["consequences"] = ["wet", "round"]
    (folder / "reasoning.json").write_text("\ufeff" + json.dumps(entries))
    table = (folder / "metadata.csv").read_text()
    for content in ("\ufeff" + table.replace("duck_1.png", "duck_1.jpg").replace("\n", "\r\n"), None):
        (folder / "metadata.csv").unlink() if content is None else (folder / "metadata.csv").write_text(content)
        duck = thought_files.read(folder)["duck"]
        assert duck.consequences == "wet\nround"
        np.testing.assert_array_equal(duck.frames[2], frame(2))
        assert duck.frames[1].shape == frame(1).shape


def edit_json(change):
    def edit(folder):
        path = folder / "reasoning.json"
        entries = json.loads(path.read_text())
        change(entries)
        path.write_text(json.dumps(entries))

    return edit


def edit_csv(change):
    def edit(folder):
        path = folder / "metadata.csv"
        rows = list(csv.reader(path.read_text().splitlines()))
        rows = change(rows) or rows
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(rows)

    return edit


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


BROKEN = {
    "no json": (lambda f: (f / "reasoning.json").unlink(), FileNotFoundError, "reasoning.json: missing"),
    "torn json": (write("reasoning.json", b'{"duck": {'), ValueError, "reasoning.json: not readable as JSON"),
    "deep json": (write("reasoning.json", b"[" * 10**5), ValueError, "reasoning.json: not readable as JSON"),
    "latin json": (write("reasoning.json", b'{"\xe9": 1}'), ValueError, "reasoning.json: not UTF-8"),
    "list": (write("reasoning.json", b"[]"), ValueError, "holds a list, expected an object"),
    "empty": (write("reasoning.json", b"{}"), ValueError, "holds an empty object"),
    "twice": (write("reasoning.json", b'{"a": {}, "a": {}}'), ValueError, "occur twice: ['a']"),
    "case": (edit_json(lambda e: e.update(duck=3)), ValueError, "case 'duck': holds a int"),
    "entry missing": (edit_json(lambda e: e["duck"].pop("thoughts")), ValueError, "missing entries ['thoughts']"),
    "entry unknown": (edit_json(lambda e: e["duck"].update(x=1)), ValueError, "unknown entries ['x']"),
    "captions": (edit_json(lambda e: e["duck"].update(key_frames="ab")), ValueError, "key_frames is a str"),
    "number": (edit_json(lambda e: e["duck"].update(concise_prompt=1)), ValueError, "concise_prompt is a int"),
    "surrogate": (edit_json(lambda e: e["duck"].update(thoughts="\ud800")), ValueError, "UTF-8 can hold"),
    "blank": (edit_json(lambda e: e["duck"].update(input_prompt=" ")), ValueError, "input_prompt: the text is empty"),
    "up": (edit_json(lambda e: e.update({"../up": e.pop("duck")})), ValueError, "plain name"),
    "root": (edit_json(lambda e: e.update({"/etc/x": e.pop("duck")})), ValueError, "plain name"),
    "windows": (edit_json(lambda e: e.update({"c:\\x": e.pop("duck")})), ValueError, "plain name"),
    "header": (edit_csv(lambda r: [["file", "text"], *r[1:]]), ValueError, "metadata.csv: the header is"),
    "no csv rows": (write("metadata.csv", b""), ValueError, "the header is missing"),
    "quotes": (write("metadata.csv", b'"file_name","text"\n"a"b,c\n'), ValueError, "not readable as CSV"),
    "columns": (edit_csv(lambda r: r[1].append("x")), ValueError, "row 1 has 3 columns"),
    "row missing": (edit_csv(lambda r: r[:-1]), ValueError, "no row for the keyframes"),
    "row twice": (edit_csv(lambda r: r.append(r[1])), ValueError, "is there twice"),
    "row unknown": (edit_csv(lambda r: r.append(["duck_9.png", "x"])), ValueError, "is no keyframe of a case"),
    "disagrees": (edit_csv(lambda r: r[2].__setitem__(1, "other")), ValueError, "but reasoning.json says"),
    "csv up": (edit_csv(lambda r: r[1].__setitem__(0, "../duck_0.png")), ValueError, "row 1 is '../duck_0.png'"),
    "csv root": (edit_csv(lambda r: r[1].__setitem__(0, "/duck_0.png")), ValueError, "plain name"),
    "csv kind": (edit_csv(lambda r: r[1].__setitem__(0, "duck_0.svg")), ValueError, "expected one of .png"),
    "no image": (lambda f: (f / "train/duck_1.png").unlink(), FileNotFoundError, "duck_1.png: missing keyframe"),
    "torn image": (write("train/duck_1.png", b"\x89PNG"), ValueError, "duck_1.png: cannot be read as an image"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_folders_are_named(folder, name):
    harm, error, match = BROKEN[name]
    harm(folder)
    with pytest.raises(error, match=re.escape(match)) as caught:
        thought_files.read(folder)
    assert str(folder) in str(caught.value)


def test_links_out_of_the_folder_are_refused(folder, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(pictures.png(frame(9)))
    inside = folder / "train" / "duck_1.png"
    inside.unlink()
    inside.symlink_to(folder / "train" / "duck_2.png")
    np.testing.assert_array_equal(thought_files.read(folder)["duck"].frames[1], frame(2))
    inside.unlink()
    inside.symlink_to(secret)
    with pytest.raises(ValueError, match="duck_1.png: a link that leads out"):
        thought_files.read(folder)
    os.remove(inside)
    inside.write_bytes(pictures.png(frame(1)))
    (folder / "train").rename(tmp_path / "elsewhere")
    (folder / "train").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="leads out of the folder"):
        thought_files.read(folder)


def test_writing_is_whole_or_not_at_all(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        thought_files.read(tmp_path / "none")
    for cases, match in (
        ({}, "no cases"),
        ({"../a": chain()}, "plain name"),
        ({"a" * 101: chain()}, "plain name"),
        ({"a": chain(), "A": chain()}, "upper and lower case"),
        ({"a": chain()._replace(concise_prompt="")}, "case 'a': concise_prompt: the text is empty"),
    ):
        with pytest.raises(ValueError, match=match):
            thought_files.write(tmp_path / "new", cases)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(OSError("disk")))
        with pytest.raises(OSError, match="disk"):
            thought_files.write(tmp_path / "new", {"a": chain()})
    assert list(tmp_path.iterdir()) == []
    thought_files.write(tmp_path / "new", {"a" * 100: chain()})
    assert list(thought_files.read(tmp_path / "new")) == ["a" * 100]
    with pytest.raises(FileExistsError):
        thought_files.write(tmp_path / "new", {"a": chain()})
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError):
        thought_files.read(tmp_path / "file")
