"""Kept results are reused only when everything they came from is the same."""

import importlib
import json
import sys

import numpy as np
import pytest

from vrjax import files
from vrjax.files import kept


def test_each_ingredient_alone_leads_to_measuring_again(tmp_path, monkeypatch):
    """Options, weights, LoRAs, inputs, steps, size, seed and the instrument's code, one at a time."""
    monkeypatch.syspath_prepend(tmp_path)
    for name, text in (("model/config.json", "{}"), ("model/w.bin", "w" * 99), ("lora.bin", "l"), ("clip.mp4", "c")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    package = tmp_path / "kept_paper"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "measure.py").write_text("from kept_paper import helper\nvalue = helper.two() + 1\n")
    (package / "helper.py").write_text("def two():\n    return 2\n")
    options = {"steps": 4, "size": (16, 16), "seed": 0, "guidance": {"scale": 5.0}}
    runs, said = [], []

    def measure():
        about = {
            "options": options,
            "model": files.fingerprint(tmp_path / "model"),
            "lora": files.fingerprint(tmp_path / "lora.bin"),
            "clip": files.fingerprint(tmp_path / "clip.mp4"),
            "code": kept.source("kept_paper.measure"),
        }
        make = lambda: runs.append(1) or {"n": np.float32(len(runs)), "of": np.arange(3)}
        table = kept.arrays(tmp_path / "out" / "table.npz", about, make, say=said.append)
        kept.file(tmp_path / "out" / "film.mp4", about, lambda p: p.write_text(f"{len(runs)}"), say=said.append)
        assert (tmp_path / "out" / "film.mp4").read_text() == str(len(runs)) and table["n"] == len(runs)
        assert table["n"].dtype == np.float32 and table["of"].tolist() == [0, 1, 2]

    def edit(name, text):
        return lambda: (tmp_path / name).write_text(text)

    measure()
    measure()
    assert len(runs) == 1 and not said
    changes = {
        "options.steps": lambda: options.update(steps=5),
        "options.size": lambda: options.update(size=(16, 24)),
        "options.seed": lambda: options.update(seed=1),
        "options.guidance.scale": lambda: options.update(guidance={"scale": 5.5}),
        "options.more": lambda: options.update(more=0),
        "model": edit("model/w.bin", "w" * 98 + "x"),
        "lora": edit("lora.bin", "m"),
        "clip": edit("clip.mp4", "d"),
        "code": edit("kept_paper/helper.py", "def two():\n    return 3\n"),
    }
    for count, (name, change) in enumerate(changes.items(), 2):
        change()
        said.clear()
        measure()
        assert len(runs) == count, name
        assert len(said) == 2 and all(line.endswith(f"made with another {name}") for line in said), said
        said.clear()
        measure()
        assert len(runs) == count and not said, name
    edit("kept_paper/helper.py", '"""Words."""\n\n\ndef two():\n    """More."""\n    return (3)  # three\n')()
    measure()
    assert len(runs) == len(changes) + 1  # words are no code


def test_source_follows_imports(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    root = tmp_path / "kept_tree"
    (root / "parts").mkdir(parents=True)
    texts = {
        "__init__.py": "import numpy\n",
        "a.py": "from kept_tree.b import x\n",
        "b.py": "def x():\n    from . import c\n    return c\n",
        "c.py": "from .parts import find\n",
        "parts/__init__.py": "import importlib\ndef find(name):\n    return importlib.import_module(name)\n",
        "parts/found.py": "y = 1\n",
        "other.py": "z = 1\n",
    }
    for name, text in texts.items():
        (root / name).write_text(text)
    first = kept.source("kept_tree.a")
    for name, text in texts.items():
        (root / name).write_text(text + "more = 1\n")
        assert (kept.source("kept_tree.a") != first) == (name != "other.py"), name
        (root / name).write_text(text)
    assert kept.source("kept_tree.a") == first
    module = importlib.import_module("kept_tree.a")

    assert kept.source(module) == first != kept.source("kept_tree.a", "kept_tree.other")
    with pytest.raises(ValueError, match="kept_tree.none: no source"):
        kept.source("kept_tree.none")


def test_a_run_of_hours_is_made_of_what_it_has_loaded(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(kept, "OURS", ("kept_long",))
    (tmp_path / "kept_long.py").write_text("x = 1\n")
    importlib.import_module("kept_long")
    first = kept.source("kept_long")
    kept.as_loaded()
    (tmp_path / "kept_long.py").write_text("x = 2\n")  # pulled meanwhile
    assert kept.source("kept_long") == first
    monkeypatch.delitem(sys.modules, "kept_long")  # the next process
    assert kept.source("kept_long") != first


@pytest.mark.parametrize("how", ["torn", "foreign", "empty"])
def test_torn_or_foreign_archives_are_errors(tmp_path, how):
    path = tmp_path / "table.npz"
    kept.arrays(path, {"n": 1}, lambda: {"a": np.arange(1000)})
    if how == "torn":
        path.write_bytes(path.read_bytes()[:-20])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        with open(path, "wb") as file:
            np.savez(file, a=np.arange(3))
    before = path.read_bytes()
    for about in ({"n": 1}, {"n": 2}):
        with pytest.raises(ValueError, match="table.npz: torn, or not a result kept here"):
            kept.arrays(path, about, lambda: pytest.fail("measured"))
    assert path.read_bytes() == before


def test_files_of_others_are_not_overwritten(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_text("mine")
    make = lambda scratch: scratch.write_text("ours")
    with pytest.raises(ValueError, match="film.mp4: not made here"):
        kept.file(path, {"n": 1}, make)
    path.unlink()
    assert kept.file(path, {"n": 1}, make) and not kept.file(path, {"n": 1}, make)
    path.write_text("edited")
    with pytest.raises(ValueError, match="film.mp4: changed since it was made"):
        kept.file(path, {"n": 1}, make)
    assert path.read_text() == "edited"


@pytest.mark.parametrize("after", ["unlink", "json"])
def test_a_kill_while_a_file_is_replaced(tmp_path, monkeypatch, after):
    path = tmp_path / "film.mp4"
    kept.file(path, {"n": 1}, lambda scratch: scratch.write_text("one"))

    class Kill(BaseException):
        pass

    def die(*args, **options):
        raise Kill

    with monkeypatch.context() as patch:
        patch.setattr(kept.writing, "json", die) if after == "unlink" else patch.setattr(
            kept.writing.os, "replace", die
        )
        with pytest.raises(Kill):
            kept.file(path, {"n": 2}, lambda scratch: scratch.write_text("two"), say=lambda _: None)
    assert kept.file(path, {"n": 2}, lambda scratch: scratch.write_text("two"), say=lambda _: None)
    assert path.read_text() == "two" and json.loads((tmp_path / ".film.mp4.made").read_text())["made_of"] == {"n": 2}


def test_what_cannot_be_kept_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        kept.arrays(tmp_path / "a.npz", {"n": float("nan")}, dict)
    with pytest.raises(ValueError, match="'a' is object"):
        kept.arrays(tmp_path / "a.npz", {}, lambda: {"a": np.array([{}], object)})
    assert not list(tmp_path.iterdir())
