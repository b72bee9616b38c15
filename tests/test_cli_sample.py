"""`vrjax sample --prompt`: the run folder of a tiny model, going on with a run, and misuse in one line."""

import json

import numpy as np
import pytest

from tests.models import tiny_wan
from vrjax import cli
from vrjax.cli import common, sample
from vrjax.data import mp4
from vrjax.files import pixels
from vrjax.models import pipeline
from vrjax.models.pipeline import recorder
from vrjax.models.wan import folders
from vrjax.report import claims

PROMPT = "a maze seen from above"
SMALL = ["--size", "16x32", "--frames", 5, "--steps", 3]


def call(*argv):
    """Exit status of a command line."""
    try:
        cli.main(["sample", *map(str, argv)])
    except SystemExit as end:
        return end.code or 0
    return 0


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_wan.build(tmp_path_factory.mktemp("t2v") / "model")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return tiny_wan.build(tmp_path_factory.mktemp("pair") / "model", "i2v", experts=2)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("VRJAX_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def test_a_run_and_more_of_it(model, tmp_path, capsys):
    out = tmp_path / "run"
    given = ["--model", model, "--prompt", PROMPT, *SMALL, "--guidance", 3, "--out", out]
    given += ["--record", "0,2", "--record-fields", "x0", "x", "v", "--seed", 5]
    assert call(*given, "--seeds", 2, "--together", 2) == 0
    said = capsys.readouterr().out
    assert "2 videos of 5 frames, 16x32; 3 unipc steps on diffusers_unipc, shift 5; guidance 3" in said
    names = {p.name for p in out.iterdir() if not p.name.startswith(".")}
    assert names == {"config.json", "results.json", "report.html", "seed-5.mp4", "seed-6.mp4", "trajectory", "x0"}
    assert mp4.decode(out / "seed-5.mp4")[0].shape == (5, 16, 32, 3)
    assert {p.name for p in (out / "x0" / "seed-6").iterdir()} == {"step-000.mp4", "step-002.mp4"}

    # what was written is what the library returns
    pipe = pipeline.open(model)
    traj = pipe.sample(PROMPT, seeds=[5, 6], size=(16, 32), frames=5, steps=3, guidance=3)
    for row, seed in enumerate((5, 6)):
        kept = recorder.read(out / "trajectory" / f"seed-{seed}")
        np.testing.assert_allclose(kept["final"], traj.final[row], atol=1e-5)
        for name in ("x0", "x", "v"):
            np.testing.assert_allclose(kept[name], np.asarray(getattr(traj, name))[row][[0, 2]], atol=1e-5)
        shown = pixels.to_float(mp4.decode(out / f"seed-{seed}.mp4")[0])
        assert np.abs(shown - pipe.decode(traj.final[row])).mean() < 0.15  # mp4 is lossy
    config = json.loads((out / "config.json").read_text())
    assert config["config"]["negative"] == folders.NEGATIVE and config["config"]["seeds"] == [5, 6]
    assert config["versions"]["jax"] and claims.read_details(out)["kind"] == "sample"
    assert PROMPT in (out / "report.html").read_text()

    # the same command with a third seed computes that one alone
    before = (out / "seed-5.mp4").stat().st_mtime_ns
    (out / "trajectory" / ".seed-7.part").mkdir()  # left by a kill
    assert call(*given, "--seeds", 3) == 0
    assert "2 of 3 seeds are there" in capsys.readouterr().out
    assert (out / "seed-5.mp4").stat().st_mtime_ns == before and (out / "seed-7.mp4").exists()
    assert not list((out / "trajectory").glob(".*")) and "seed 7" in (out / "report.html").read_text()

    assert call(*given, "--shift", 4) == 2
    assert "holds a run with another config: shift (was 5.0, now 4.0)" in capsys.readouterr().err
    assert call(*given, "--shift", 4, "--fresh") == 0
    assert not (out / "seed-6.mp4").exists() and (out / "seed-5.mp4").stat().st_mtime_ns != before


def test_two_experts_a_picture_and_a_step_list(pair, tmp_path, capsys):
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8)).save(tmp_path / "a.png")
    given = ["--model", pair, "--prompt", PROMPT, "--image", tmp_path / "a.png", "--frames", 5, "--size", "16x32"]
    assert call(*given, "--preset", "lightx2v", "--record", "none", "--out", tmp_path / "few") == 0
    said = capsys.readouterr().out
    assert "4 euler steps on few_step, shift 5, 2 of them by the high-noise expert; guidance 1, 1" in said
    listed = ["--steps-list", "1000,750,500,250", "--shift", 5, "--guidance", 1, "--out", tmp_path / "list"]
    assert call(*given, *listed) == 0
    finals = [recorder.read(tmp_path / name / "trajectory" / "seed-0")["final"] for name in ("few", "list")]
    np.testing.assert_array_equal(*finals)
    assert recorder.read(tmp_path / "few" / "trajectory" / "seed-0")["fields"] == []
    assert not (tmp_path / "few" / "x0").exists() and (tmp_path / "few" / "report.html").exists()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "give either --prompt (with --model) or the name of a world"),
        (["maze", "--prompt", "a"], "give either --prompt"),
        (["--prompt", "a"], "--prompt needs --model"),
        (["maze", "--seeds", "3", "--solver", "euler"], "--solver, --seeds cannot be used with a world"),
        (["--model", "MODEL", "--prompt", "a", "--noise", "3"], "--noise cannot be used with --prompt"),
        (["--model", "nowhere", "--prompt", "a"], "nowhere: no such folder"),
        (["--model", ".", "--prompt", "a"], "not a folder of Wan weights"),
        (["--model", "PAIR", "--prompt", "a"], "needs a picture to start from"),
        (["--model", "PAIR", "--prompt", "a", "--image", "gone.png"], "gone.png: no such picture"),
        (["--model", "MODEL", "--prompt", "a", "--image", "a.png"], "takes no picture"),
        (["--model", "MODEL", "--prompt", "a", "--frames", "8"], "frames: found 8, expected 4 n + 1"),
        (["--model", "MODEL", "--prompt", "a", "--size", "16x40"], "width 40, expected a multiple of 16"),
        (["--model", "MODEL", "--prompt", "a", "--lora-without-image"], "--lora-without-image: there is no --lora"),
        (["--model", "MODEL", "--prompt", "a", "--record", "none", "--record-fields", "x"], "give one of them"),
        (["--model", "MODEL", "--prompt", "a", "--guidance", "0"], "below 1 the video is drawn to the negative prompt"),
        (["--model", "MODEL", "--prompt", "a", "--solver", "magic"], "unknown solver 'magic'"),
        (["--model", "MODEL", "--prompt", "a", "--guidance", "4,3"], "expected 1 finite scales"),
        (["--model", "MODEL", "--prompt", "a", "--record", "0-50"], "step 50, the run has steps 0 to 49"),
        (["--model", "MODEL", "--prompt", "a", "--record", "many"], "--record: 'many': expected numbers"),
        (["--model", "MODEL", "--prompt", "a", "--record-fields", "y"], "--record-fields: unknown y"),
        (["--model", "MODEL", "--prompt", "a", "--preset", "causvid"], "unknown 'causvid', expected one of lightx2v"),
        (["--model", "MODEL", "--prompt", "a", "--lora", "gone.safetensors:0.5"], "gone.safetensors: no such LoRA"),
        (["--model", "MODEL", "--prompt", "a", "--lora", "high=a.png"], "has one network"),
        (["--model", "MODEL", "--prompt", "a", "--mesh", "fsdp"], "--mesh fsdp: expected axes and sizes"),
        (["--model", "MODEL", "--prompt", "a", "--seed", "-1"], "--seed: found -1"),
        (["--model", "MODEL", "--prompt", "a", "--dtype", "int8"], "dtype: found 'int8'"),
        (["--model", "MODEL", "--prompt", "a", "--out", "full"], "full exists and is not a run"),
    ],
)
def test_misuse_is_one_line(argv, said, model, pair, tmp_path, monkeypatch, capsys):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (32, 16)).save("a.png")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    argv = [{"MODEL": model, "PAIR": pair}.get(part, part) for part in argv]
    assert call(*argv) == 2
    shown = capsys.readouterr()
    assert said in shown.err and shown.err.count("\n") == 1 and shown.err.startswith("vrjax: ")
    assert {p.name for p in tmp_path.iterdir()} <= {"a.png", "full"}


@pytest.mark.parametrize("flag", [["--size", "480"], ["--size", "0x16"], ["--guidance", "a,b"], ["--seeds", "0"]])
def test_wrong_usage(flag, model, capsys):
    assert call("--model", model, "--prompt", "a", *flag) == 2
    assert "usage: vrjax" in capsys.readouterr().err


def test_words_of_the_command_line():
    assert common.lora("a.safetensors") == ("a.safetensors", 1.0, None)
    assert common.lora("high=/x/a.safetensors:0.8") == ("/x/a.safetensors", 0.8, "high")
    assert common.lora("both=c:d.safetensors") == ("c:d.safetensors", 1.0, "both")
    assert common.lora("rank=32.safetensors:2") == ("rank=32.safetensors", 2.0, None)
    assert common.size("480x832") == (480, 832) and common.floats("4,3.5") == [4.0, 3.5]
    assert sample.recorded("all", 4) == (0, 1, 2, 3) and sample.recorded("none", 4) == ()
    assert sample.recorded("3,0-1", 4) == (0, 1, 3) and sample.recorded(None, 4) == (0, 1, 2, 3)
    spread = sample.recorded(None, 50)
    assert len(spread) == sample.RECORDED and (spread[0], spread[-1]) == (0, 49)
    assert sample.recorded(None, 1) == (0,)


def test_a_page_stays_small():
    frames = np.zeros((81, 480, 832, 3), np.uint8)
    assert sample.smaller(frames).shape == (25, 120, 208, 3)
    assert sample.smaller(frames[:5, :16, :32]).shape == (5, 16, 32, 3)
