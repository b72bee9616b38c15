"""`vrjax sample --causal`: the run folder of a tiny model, a kill in the middle, a picture in front, misuse."""

import json
import shutil

import jax
import numpy as np
import pytest

from vrjax import cli, files
from vrjax.cli import progress
from vrjax.data import mp4
from vrjax.models import pipeline, wan
from vrjax.models.causal import published
from vrjax.report import live

PROMPT = "a red ball <b>on</b> the maze"
SIZE = ["--size", "16x32"]


def call(*argv):
    """Exit status of a command line."""
    try:
        cli.main(["sample", *map(str, argv)])
    except SystemExit as end:
        return end.code or 0
    return 0


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A public folder, and the causal weights that would have been trained from it."""
    root = tmp_path_factory.mktemp("causal")
    folder = wan.tiny(root / "tiny")
    for name in ("diffusion_pytorch_model.safetensors", "config.json"):
        shutil.copyfile(folder / "transformer" / name, root / name)
    return root


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("VRJAX_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def asked(root):
    weights = root / "diffusion_pytorch_model.safetensors"
    return ["--model", root / "tiny", "--causal", weights, "--prompt", PROMPT, *SIZE]


@pytest.fixture(scope="module")
def pipe(root):
    return pipeline.open(root / "tiny", causal=root / "diffusion_pytorch_model.safetensors")


def content(out):
    return {p.relative_to(out): p.read_bytes() for pattern in ("*.png", "*.npz") for p in sorted(out.rglob(pattern))}


def test_a_run_its_frames_and_a_kill(asked, pipe, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    assert call(*asked, "--frames", 33, "--out", out) == 0
    said = capsys.readouterr().out
    assert "1 x 33 frames, 16x32; chunks of 3 latent frames, 4 steps each" in said and "live.html" in said
    names = {p.name for p in out.iterdir() if not p.name.startswith(".")}
    assert names == {
        "config.json",
        "results.json",
        "report.html",
        "live.html",
        "seed-0.mp4",
        "trajectory",
        "frames",
        "x0",
    }
    assert len(list((out / "frames" / "seed-0").iterdir())) == 33
    assert {p.name for p in (out / "x0" / "seed-0").iterdir()} == {f"step-{k:03d}.mp4" for k in range(4)}
    config = json.loads((out / "config.json").read_text())["config"]
    assert config["stream"]["steps"] == [1000, 750, 500, 250] and config["like"] == "self_forcing"

    # What was written is what the library gives, chunk by chunk; frames are those of the whole latent.
    parts = list(pipe.stream(PROMPT, seed=0, frames=33, size=(16, 32)))
    assert [part.start for part in parts] == [0, 9, 21] and [len(part.frames) for part in parts] == [9, 12, 12]
    whole = np.concatenate([part.chunk.latents for part in parts])
    np.testing.assert_allclose(np.concatenate([part.frames for part in parts]), pipe.decode(whole), atol=1e-5)
    for i, part in enumerate(parts):
        with np.load(out / "trajectory" / "seed-0" / f"chunk-{i:04d}.npz") as kept:
            np.testing.assert_array_equal(kept["latents"], part.chunk.latents)
            np.testing.assert_array_equal(kept["x0"], part.chunk.trajectory.x0)
    shown = files.read_image(live.frame(out, 0, 20)) / 127.5 - 1
    np.testing.assert_allclose(shown, parts[1].frames[11], atol=0.01)
    assert mp4.decode(out / "seed-0.mp4")[0].shape == (33, 16, 32, 3)
    page = (out / "live.html").read_text()
    assert "&lt;b&gt;on&lt;/b&gt;" in page and "<b>on" not in page and '"frames": 33' in page
    assert PROMPT not in (out / "report.html").read_text()

    # A kill behind the first chunk: the same command makes the rest, bit for bit.
    step_done = progress.Progress.step

    def cut(self, seed, step):
        step_done(self, seed, step)
        raise KeyboardInterrupt

    again = tmp_path / "again"
    monkeypatch.setattr(progress.Progress, "step", cut)
    assert call(*asked, "--frames", 33, "--out", again) == 130
    assert "vrjax: interrupted" in capsys.readouterr().err
    monkeypatch.undo()
    assert len(list(again.rglob("chunk-*.npz"))) == 1
    monkeypatch.setenv("VRJAX_CACHE", str(tmp_path / "cache"))
    assert call(*asked, "--frames", 33, "--out", again) == 0
    assert "1 of 3 chunks are there" in capsys.readouterr().out
    assert content(again) == content(out)


def test_a_picture_in_front_and_another_first_list(root, asked, tmp_path):
    from vrjax.files import pixels, writing

    picture = np.full((32, 48, 3), [200, 30, 30], np.uint8)
    writing.chunks(tmp_path / "red.png", [pixels.png(picture)])
    out = tmp_path / "run"
    how = [
        "--like",
        "causal_forcing_2",
        "--window",
        3,
        "--sink",
        1,
        "--image",
        tmp_path / "red.png",
        "--record",
        "none",
    ]
    assert call(*asked, "--frames", 13, *how, "--seeds", 2, "--seed", 5, "--out", out) == 0
    kept = sorted((out / "trajectory" / "seed-6").iterdir())
    assert [p.name for p in kept] == ["chunk-0000.npz", "chunk-0001.npz", "chunk-0002.npz"]
    rows = [np.load(p) for p in kept]
    assert [len(row["x0"]) for row in rows] == [4, 2, 2] and [int(row["start"]) for row in rows] == [1, 2, 3]
    assert len(list((out / "frames" / "seed-6").iterdir())) == 13 and not (out / "x0").exists()
    weights = root / "diffusion_pytorch_model.safetensors"
    pipe = pipeline.CausalPipeline(root / "tiny", weights, like="causal_forcing_2")
    given = pipe.picture(picture, pipe.settings(frames=13, size=(16, 32), guidance=1.0))
    whole = pipe.decode(np.concatenate([given, *(row["latents"] for row in rows)]))
    for n in (0, 12):
        np.testing.assert_allclose(files.read_image(live.frame(out, 6, n)) / 127.5 - 1, whole[n], atol=0.01)


def test_pieces_of_a_latent_are_decoded_as_the_whole(pipe):
    z = np.random.default_rng(0).normal(size=(5, 2, 2, 4)).astype(np.float32)
    piece = jax.jit(lambda vae, z, contexts: vae.decode_next(z, contexts))
    first, contexts = piece(pipe.vae, z[:2], None)
    second, _ = piece(pipe.vae, z[2:], contexts)
    assert len(first) == 5 and len(second) == 12
    np.testing.assert_allclose(np.concatenate([first, second]), pipe.decode(z), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match=r"latent: shape \(5, 2, 2, 3\)"):
        pipe.vae.decode_next(z[..., :3])


def test_published_ways():
    assert published.get("causvid").options["steps"] == (1000, 757, 522) and not published.get("causvid").warp
    assert published.get("causal_forcing").network == "generator" and published.get("self_forcing").network is None
    assert published.get("causal_forcing_1").options["first_steps"] == (1000, 750, 500, 250)
    with pytest.raises(ValueError, match="unknown causal model 'self_forcng', .*self_forcing"):
        published.get("self_forcng")


@pytest.mark.parametrize(
    "more, message",
    [
        (["--frames", 17], "frames: found 17, expected whole chunks, such as 9 or 21"),
        (["--frames", 21, "--like", "self_forcng"], "unknown causal model 'self_forcng'"),
        (["--frames", 21, "--window", 2], "window: 2 frames cannot hold"),
        (["--frames", 21, "--sink", 1], "sink: found 1 with window None"),
        (["--frames", 21, "--guidance", 3], "--guidance cannot be used with --causal"),
        (["--frames", 21, "--lora", "a.safetensors"], "--lora cannot be used with --causal"),
        (["--frames", 21, "--record", "0,1"], "--record: found '0,1', expected all or none"),
        (["--frames", 21, "--steps-list", "1000,0.5"], "whole numbers"),
        (["--frames", 21, "--image", "missing.png"], "image: self_forcing works in chunks of 3, and a picture is"),
        (["--frames", 21, "--image", "missing.png", "--like", "causal_forcing_2"], "missing.png"),
    ],
)
def test_misuse_is_one_line(asked, tmp_path, capsys, more, message):
    assert call(*asked, *more, "--out", tmp_path / "run") == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "run").exists() or not any(
        p for p in (tmp_path / "run").iterdir() if not p.name.startswith(".")
    )


def test_other_misuse(root, capsys, tmp_path):
    weights = root / "diffusion_pytorch_model.safetensors"
    assert call("--model", root / "tiny", "--prompt", "a", "--window", 3) == 2
    assert "--window: there is no --causal" in capsys.readouterr().err
    assert call("--causal", weights, "--prompt", "a") == 2
    assert "--causal needs --model" in capsys.readouterr().err
    other = wan.tiny(tmp_path / "pictures", pictures=True)
    assert call("--model", other, "--causal", weights, "--prompt", "a") == 2
    assert "expected a text-to-video model of one network" in capsys.readouterr().err
    with pytest.raises(ValueError, match="call stream"):
        pipeline.open(root / "tiny", causal=weights).sample("a")
    with pytest.raises(ValueError, match="like: there is no causal network"):
        pipeline.open(root / "tiny", like="causvid")
