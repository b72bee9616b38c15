"""VChain's three stages on a whole tiny Wan model: what is written, what is kept, and who is refused."""

import shutil

import numpy as np
import pytest
from PIL import Image

from experiments.vchain import study as vchain
from tests.models import tiny_wan
from vrjax.files import kept
from vrjax.models.wan import lora_files
from vrjax.reasoning.thoughts import files as thought_files
from vrjax.reasoning.thoughts.keyframes import VisualThoughts

SMALL = ["--frames", "5", "--size", "16x16", "--updates", "3", "--steps", "2"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_wan.build(tmp_path_factory.mktemp("t2v"), "t2v")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rng = np.random.default_rng(0)
    picture = lambda: rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
    chain = lambda n: VisualThoughts(
        f"case {n}", "why", "it falls", "a table", "A cup stands.", tuple(f"It falls {i}." for i in range(n)),
        tuple(picture() for _ in range(n + 1)),
    )  # fmt: skip
    root = tmp_path_factory.mktemp("stage1") / "thoughts"
    thought_files.write(root, {"cup": chain(1), "egg": chain(2)})
    return root


def call(*words):
    return vchain.main([str(word) for word in words])


def test_three_stages_and_a_kill(model, folder, tmp_path, capsys):
    words = ["--model", model, "--thoughts", folder, "--out", tmp_path, *SMALL]
    assert call(*words) == 0
    (out,) = tmp_path.glob("vchain-*")  # --out is where run folders are, here as everywhere
    videos = {p.relative_to(out): p.read_bytes() for p in out.glob("*/*.mp4")}
    assert len(videos) == 6 and {p.parent.name for p in videos} == {"t2v", "text", "vchain"}
    adapters = {p.stem: lora_files.load_lora(p) for p in out.glob("adapters/*.safetensors")}
    assert set(adapters) == {"cup", "egg"}
    changed = [videos[p] != videos[p.parent.parent / "text" / p.name] for p in videos if p.parent.name == "vchain"]
    assert all(changed)

    (out / "vchain" / "egg.mp4").unlink()  # as after a kill
    (out / "adapters" / "egg.safetensors").unlink()
    before = (out / "vchain" / "cup.mp4").stat().st_mtime_ns
    assert call(*words) == 0
    assert {p.relative_to(out): p.read_bytes() for p in out.glob("*/*.mp4")} == videos
    assert (out / "vchain" / "cup.mp4").stat().st_mtime_ns == before
    capsys.readouterr()
    assert call(*words[:-1], "3") == 2 and "with another config: steps" in capsys.readouterr().err


def test_adapters_and_videos_of_something_else_are_made_again(model, folder, tmp_path, monkeypatch, capsys):
    """A case's keyframes, the code, the autoencoder's bytes: each remakes what it went into, and no more."""
    weights, told = tmp_path / "model", tmp_path / "thoughts"
    shutil.copytree(model, weights)
    shutil.copytree(folder, told)
    words = ["--model", weights, "--thoughts", told, "--out", tmp_path / "runs", *SMALL]

    def made_again():
        assert call(*words) == 0
        (out,) = (tmp_path / "runs").glob("vchain-*")
        files = [*out.glob("*/*.mp4"), *out.glob("adapters/*.safetensors")]
        now = {str(p.relative_to(out).with_suffix("")): p.stat().st_mtime_ns for p in files}
        changed = {name for name, at in now.items() if before.get(name) != at}
        before.update(now)
        return changed

    before: dict[str, int] = {}
    everything = made_again()
    assert len(everything) == 8 and made_again() == set()

    for picture in [p for p in told.rglob("*.png") if "egg" in str(p)]:
        Image.fromarray(255 - np.asarray(Image.open(picture))).save(picture)
    assert made_again() == {"adapters/egg", "vchain/egg"}
    assert "thoughts" in capsys.readouterr().out

    source = kept.source
    monkeypatch.setattr(kept, "source", lambda *modules: source(*modules) + "x")
    assert made_again() == everything

    (vae,) = weights.glob("vae/*.safetensors")
    held = bytearray(vae.read_bytes())
    held[-1] ^= 1
    vae.write_bytes(held)
    assert made_again() == everything

    (out,) = (tmp_path / "runs").glob("vchain-*")
    adapter = out / "adapters" / "cup.safetensors"
    adapter.write_bytes(adapter.read_bytes()[:-1] + b"x")
    assert call(*words) == 2 and "changed since it was made" in capsys.readouterr().err


def test_misuse(model, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "cases.json").write_text('{"a": "A ball falls."}')
    image_model = tiny_wan.build(tmp_path / "i2v", "i2v")
    base = ["--model", model, "--out", tmp_path / "out", *SMALL]
    for words, said in (
        (base, "needs --thoughts"),
        ([*base, "--thoughts", tmp_path / "none"], "reasoning.json"),
        ([*base, "--thoughts", tmp_path / "t", "--prompts", tmp_path / "cases.json"], "needs --server"),
        (["--model", image_model, "--thoughts", folder, "--out", tmp_path / "o", *SMALL], "text-to-video"),
    ):
        assert call(*words) == 2
        assert said in capsys.readouterr().err


def test_thoughts_are_asked_for_once(tmp_path, monkeypatch, folder):
    """Whole cases survive a failure between them, and a finished folder asks nobody."""
    from rich.console import Console

    from experiments.vchain import real
    from vrjax.reasoning.thoughts.reasoners import http as reasoner_http
    from vrjax.reasoning.thoughts.reasoners.replay import Replay

    told = thought_files.read(folder)
    asked = []

    class Server:
        """Replays the case whose prompt it is asked about."""

        case: Replay

        def __init__(self, *models, **endpoint):
            pass

        def first(self, prompt):
            asked.append(prompt)
            if prompt == "case 2" and asked.count(prompt) == 1:
                raise ConnectionError("gone")
            Server.case = next(Replay(t) for t in told.values() if t.input_prompt == prompt)
            return Server.case.first(prompt)

        def next(self, prompt, consequences, frames):
            return Server.case.next(prompt, consequences, frames)

        def generate(self, text):
            return Server.case.generate(text)

        def edit(self, frames, instruction):
            return Server.case.edit(frames, instruction)

    monkeypatch.setattr(reasoner_http, "ChatReasoner", Server)
    monkeypatch.setattr(reasoner_http, "ImageMaker", Server)
    (tmp_path / "cases.json").write_text('{"cup": "case 1", "egg": "case 2"}')
    again = lambda: real.ask(tmp_path / "cases.json", tmp_path / "t", server={"base_url": "x"}, console=Console())
    with pytest.raises(ConnectionError):
        again()
    again()
    again()
    assert asked == ["case 1", "case 2", "case 2"]
    found = thought_files.read(tmp_path / "t")
    assert {c: t.captions for c, t in found.items()} == {c: t.captions for c, t in told.items()}
    (tmp_path / "cases.json").write_text('{"other": "case 3"}')
    with pytest.raises(ValueError, match="lacks other"):
        again()
